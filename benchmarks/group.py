"""A group of three extra mysqld (Group Replication, single primary) on the lab's database hosts, beside the cluster.

Each is a transient unit without a restart, with a data directory, a port and a configuration of its own. ``prepared``
makes an empty server of each once; every ``running`` begins with a copy of it, so no run is met by what an earlier one
left. ``removed`` leaves nothing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login

from benchmarks.access import Access
from benchmarks.errors import BenchmarkError
from benchmarks.hosts import Hosts
from lab.errors import LabError

PORT, GROUP_PORT = 33306, 33361
UNIT = "lab-group-replication"
PLACE = "/var/lib/lab-group-replication"
SOCKET = f"{PLACE}/mysqld.sock"
GROUP_NAME = "6f1a3c58-0000-4000-8000-6c61622d6772"
TLS = "/etc/lossless-mysql-ha/tls"
RECOVERY_USER = "lab_group_recovery"
ONLINE_SECONDS = 60.0
_LOOK_AGAIN = 0.2

# What costs or protects a commit is that of the cluster's servers, as the role ``server`` writes it.
_CONFIGURATION = """[mysqld]
user = mysql
server_id = {number}
report_host = {address}
port = {port}
bind_address = *
mysqlx = OFF
skip_name_resolve = ON
datadir = {place}/data
socket = {place}/mysqld.sock
pid_file = {place}/mysqld.pid
log_error = {place}/error.log
gtid_mode = ON
enforce_gtid_consistency = ON
log_bin = binlog
sync_binlog = 1
innodb_flush_log_at_trx_commit = 1
innodb_buffer_pool_size = 128M
innodb_redo_log_capacity = 128M
max_connections = 200
ssl_ca = {tls}/ca.pem
ssl_cert = {tls}/cert.pem
ssl_key = {tls}/key.pem
plugin_load_add = group_replication.so
loose_group_replication_group_name = {group}
loose_group_replication_start_on_boot = OFF
loose_group_replication_bootstrap_group = OFF
loose_group_replication_single_primary_mode = ON
loose_group_replication_local_address = {address}:{group_port}
loose_group_replication_group_seeds = {seeds}
loose_group_replication_recovery_get_public_key = ON
"""


@dataclass(frozen=True)
class Server:
    """One member. ``name``: of its host."""

    name: str
    address: str


def configuration(server: Server, servers: Sequence[Server], settings: Mapping[str, str]) -> str:
    """The option file. ``settings``: those of the group that differ from the defaults."""
    text = _CONFIGURATION.format(
        number=servers.index(server) + 1,
        address=server.address,
        port=PORT,
        place=PLACE,
        tls=TLS,
        group=GROUP_NAME,
        group_port=GROUP_PORT,
        seeds=",".join(f"{each.address}:{GROUP_PORT}" for each in servers),
    )
    return text + "".join(f"loose_{name} = {value}\n" for name, value in settings.items())


def accounts(writer: Login, recovery: Login) -> str:
    """The statements that make a member's accounts, in no binary log, and say how a joining member logs in."""
    return f"""SET SESSION sql_log_bin = 0;
CREATE USER '{recovery.user}'@'%' IDENTIFIED BY '{recovery.password}';
GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO '{recovery.user}'@'%';
CREATE USER '{writer.user}'@'%' IDENTIFIED BY '{writer.password}';
GRANT ALL ON lossless_drill.* TO '{writer.user}'@'%';
CHANGE REPLICATION SOURCE TO SOURCE_USER = '{recovery.user}', SOURCE_PASSWORD = '{recovery.password}'
  FOR CHANNEL 'group_replication_recovery';
"""


class Group:
    """:raises BenchmarkError, LabError: from every method."""

    def __init__(self, hosts: Hosts, access: Access) -> None:
        self._hosts = hosts
        self._access = access
        self._recovery = Login(RECOVERY_USER, secrets.token_hex(16))
        self.servers = tuple(Server(member.name, member.host) for member in access.members)

    # --- once --------------------------------------------------------------------------------------------------------
    @contextmanager
    def prepared(self) -> Iterator[Group]:
        """Empty servers with their accounts; nothing of it is left afterwards."""
        self.removed()
        try:
            self._everywhere(self._prepare)
            yield self
        finally:
            self.removed()

    def removed(self) -> None:
        self._everywhere(self._remove)

    def _prepare(self, server: Server) -> None:
        self._shell(server, f"mkdir -p {PLACE} && chown mysql: {PLACE} && chmod 0750 {PLACE}")
        self._configure(server, {})
        self._shell(server, f"mysqld --defaults-file={PLACE}/my.cnf --initialize-insecure")
        self._start(server)
        self._hosts.put(server.name, PLACE, "accounts.sql", accounts(self._access.writer, self._recovery))
        self._shell(
            server, f"mysql -u root -S {SOCKET} <{PLACE}/accounts.sql; said=$?; rm {PLACE}/accounts.sql; exit $said"
        )
        self._shell(server, f"systemctl stop {UNIT} && mv {PLACE}/data {PLACE}/empty")

    def _remove(self, server: Server) -> None:
        if self._hosts.runs(server.name):
            self._end(server)
            self._shell(server, f"rm -rf {PLACE}")

    # --- each time ---------------------------------------------------------------------------------------------------
    @contextmanager
    def running(self, primary: str, settings: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """A new group, all of it online, its primary on that host. Yields the server UUIDs by host."""
        (first,) = [server for server in self.servers if server.name == primary]
        others = [server for server in self.servers if server != first]
        try:
            self._everywhere(lambda server: self._begin(server, settings))
            self._sql(
                first,
                "SET GLOBAL group_replication_bootstrap_group = ON; START GROUP_REPLICATION;"
                " SET GLOBAL group_replication_bootstrap_group = OFF;",
            )
            for server in others:
                self._sql(server, "START GROUP_REPLICATION")
            self._until_online(first)
            yield {server.name: self._sql(server, "SELECT @@GLOBAL.server_uuid") for server in self.servers}
        finally:
            self._everywhere(self._end)

    def strike(self, name: str, signal: str) -> None:
        """Send mysqld of the group on that host a signal: KILL, STOP."""
        self._hosts.run(name, "systemctl", "kill", "--kill-whom=main", f"--signal={signal}", UNIT)

    def _begin(self, server: Server, settings: Mapping[str, str]) -> None:
        self._configure(server, settings)
        self._shell(server, f"rm -rf {PLACE}/data && cp -a {PLACE}/empty {PLACE}/data")
        self._start(server)

    def _end(self, server: Server) -> None:
        if self._hosts.runs(server.name):
            self._shell(
                server,
                f"systemctl kill --signal=KILL {UNIT} 2>/dev/null; systemctl stop {UNIT} 2>/dev/null;"
                f" systemctl reset-failed {UNIT} 2>/dev/null; true",
            )

    def _until_online(self, first: Server) -> None:
        ends = time.monotonic() + ONLINE_SECONDS
        while True:
            said = self._sql(first, "SELECT MEMBER_STATE FROM performance_schema.replication_group_members").split()
            if said == ["ONLINE"] * len(self.servers):
                return
            if time.monotonic() > ends:
                raise BenchmarkError(f"the group is not online after {ONLINE_SECONDS:g} s: {', '.join(said)}")
            time.sleep(_LOOK_AGAIN)

    # --- means -------------------------------------------------------------------------------------------------------
    def _configure(self, server: Server, settings: Mapping[str, str]) -> None:
        self._hosts.put(server.name, PLACE, "my.cnf", configuration(server, self.servers, settings))
        self._shell(server, f"chown mysql: {PLACE}/my.cnf")

    def _start(self, server: Server) -> None:
        self._shell(
            server,
            f"systemd-run --quiet --unit={UNIT} --property=Type=notify --property=TimeoutStartSec=60"
            " --property=LimitNOFILE=10000 --uid=mysql --gid=mysql"
            f" /usr/sbin/mysqld --defaults-file={PLACE}/my.cnf",
        )

    def _sql(self, server: Server, statement: str) -> str:
        return self._hosts.run(server.name, "mysql", "-u", "root", "-S", SOCKET, "-N", "-B", "-e", statement)

    def _shell(self, server: Server, script: str) -> str:
        return self._hosts.run(server.name, "sh", "-c", script)

    def _everywhere(self, work: Callable[[Server], None]) -> None:
        with ThreadPoolExecutor(len(self.servers)) as pool:
            outcomes = [pool.submit(work, server) for server in self.servers]
        for outcome in outcomes:
            try:
                outcome.result()
            except LabError as error:
                raise BenchmarkError(f"the group: {error}") from error
