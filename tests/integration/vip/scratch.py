# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of these tests' own: containers of the lab's image with mysqld, the keeper and an application host.

Their network, addresses and names are theirs alone, so addresses can be stolen, hosts frozen and keepers killed without
disturbing the lab. Nothing here uses the code under test but the keeper itself, run as a process.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import subprocess
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import waiting

CHECKOUT = Path(__file__).resolve().parents[3]
NAME = os.environ.get("VIP_SCRATCH", "vipscratch")
LIBRARY = "/usr/lib/lossless-mysql-ha"
SERVICE = "ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.service"
V6 = ipaddress.IPv6Network((0xFD5A7C1E << 96 | zlib.crc32(NAME.encode()) << 64, 64))
DATABASES = ("db1", "db2", "db3")

MYSQLD = """[mysqld]
user=mysql
datadir=/var/lib/mysql
socket=/tmp/mysqld.sock
pid_file=/tmp/mysqld.pid
log_error=/var/lib/mysql/error.log
secure_file_priv=NULL
server_id={number}
mysqlx=OFF
skip_name_resolve=ON
innodb_buffer_pool_size=32M
innodb_redo_log_capacity=32M
gtid_mode=ON
enforce_gtid_consistency=ON
sync_relay_log=1
super_read_only=ON
skip_replica_start=ON
replica_net_timeout=4
plugin_load_add=semisync_source.so
plugin_load_add=semisync_replica.so
loose_rpl_semi_sync_source_timeout=4294967295
loose_rpl_semi_sync_source_wait_no_replica=ON
"""

WATCHER = r"""
import json, select, socket, sys, time
address, family = sys.argv[1], socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
last = None
while not select.select([sys.stdin], [], [], 0)[0]:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(0.1)
    try:
        sock.connect((address, 3306))
        sock.settimeout(2)
        sock.recv(1)
        seen = "served"
    except OSError:
        seen = "nothing"
        time.sleep(0.002)
    finally:
        sock.close()
    if seen != last:
        print(json.dumps({"at": time.time(), "what": seen}), flush=True)
        last = seen
    time.sleep(0.003)
"""
"""Says when an address begins and ceases to serve, as new connections see it."""


CLAIM = r"""
import socket, sys
interface, address = sys.argv[1:]
mac = bytes.fromhex(open(f"/sys/class/net/{interface}/address").read().strip().replace(":", ""))
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind((interface, 0))
own = socket.inet_aton(address)
arp = bytes.fromhex("0001080006040001") + mac + own + bytes(6) + own
sock.send(b"\xff" * 6 + mac + bytes.fromhex("0806") + arp)
"""
"""Says once that an IPv4 address is here, without having it."""


BUYER = r"""
import json, select, sys, time, pymysql
address, number, connection = sys.argv[1], int(sys.argv[2]), None
def say(what, error=None):
    print(json.dumps({"at": time.time(), "what": what, "error": error, "number": number}), flush=True)
while not select.select([sys.stdin], [], [], 0.02)[0]:
    try:
        if connection is None:
            connection = pymysql.connect(host=address, user="app", password="app", connect_timeout=1, autocommit=True)
            say("connected")
        number += 1
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO shop.bought VALUES (%s)", (number,))
        say("acknowledged")
    except (pymysql.err.MySQLError, OSError) as error:
        say("error" if connection else "refused", error.args[0] if error.args else str(error))
        connection = None
"""
"""An application that writes through one server's own address, one transaction after the other."""


def docker(*arguments: str, check: bool = True, stdin: str | None = None) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, input=stdin)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)[:300]}: {(done.stderr or done.stdout)[-600:]}")
    return done.stdout.strip()


def image() -> str:
    found = docker("images", "mysql-ha-lab", "--format", "{{.Repository}}:{{.Tag}}", check=False).split()
    return found[0] if found else ""


def eventually(what: str, holds: Callable[[], Any], within: float = 30.0) -> None:
    waiting.eventually(holds, within, what)


class Client:
    """A program on the application host, from now until ``end``; what it has met so far is in ``events``.

    How long a test takes depends on the machine, so a client ends when the test has seen what it waited for.
    """

    def __init__(self, host: Host, program: str, *arguments: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            ["docker", "exec", "-i", host.container, "python3", "-uc", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.append(json.loads(line))

    def first(self, what: str, after: float = 0.0, error: int | None = None) -> float | None:
        """When it met that first, in seconds since the epoch; None: not yet."""
        return next(
            (
                event["at"]
                for event in list(self.events)
                if event["what"] == what and event["at"] >= after and error in (None, event.get("error"))
            ),
            None,
        )

    def meets(self, what: str, after: float = 0.0, error: int | None = None) -> float:
        """Wait until it has met that."""
        eventually(f"the client meets {what} {error or ''}", lambda: self.first(what, after, error) is not None)
        found = self.first(what, after, error)
        assert found is not None
        return found

    def goes_on(self, times: int = 50) -> None:
        """Wait until it has met so much more, whatever that is."""
        before = len(self.events)
        eventually("the client goes on", lambda: len(self.events) >= before + times)

    def end(self) -> list[dict[str, Any]]:
        """Let it end, and return all that it has met."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=180)
        self._reader.join(timeout=30)
        return self.events


class Host:
    """One container."""

    def __init__(self, site: Site, name: str, number: int) -> None:
        self.site = site
        self.name = name
        self.number = number
        self.container = f"{NAME}-{name}"
        self.address = str(site.v4[10 + number])

    def create(self) -> None:
        docker("rm", "-f", "-v", self.container, check=False)
        docker(
            *("run", "-d", "--init", "--name", self.container, "--hostname", self.name, "--network", NAME),
            *("--ip", self.address, "--ip6", str(V6[10 + self.number]), "--tmpfs", "/run", "-v", "/var/lib/mysql"),
            *("--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW", "--cap-add", "SYS_NICE"),
            # A database host does not forward. Where it does, what comes for an address that has left finds its way.
            *("--sysctl", "net.ipv4.ip_forward=0", "--sysctl", "net.ipv6.conf.all.forwarding=0"),
            *("-v", f"{CHECKOUT / 'plugins'}:{LIBRARY}/ansible_collections/lossless/mysql_ha/plugins:ro"),
            *("--entrypoint", "tail", image(), "-f", "/dev/null"),
        )

    def run(self, *command: str, check: bool = True, stdin: str | None = None) -> str:
        return docker(
            "exec", *(("-i",) if stdin is not None else ()), self.container, *command, check=check, stdin=stdin
        )

    def start(self, name: str, *command: str, log: str = "/dev/null") -> None:
        """Start something that stays, under a name for ``signal``."""
        docker(
            *("exec", "-d", self.container, "bash", "-c"),
            *(f'echo $$ >/run/{name}.pid; exec "$@" >>{log} 2>&1', "-", *command),
        )

    def signal(self, signal: str, name: str) -> None:
        """Send a signal to what ``start`` started."""
        self.run("bash", "-c", f"kill -{signal} $(cat /run/{name}.pid)")

    def runs(self, name: str) -> bool:
        return not self.run("bash", "-c", f"kill -0 $(cat /run/{name}.pid) || echo no", check=False).endswith("no")

    def put(self, path: str, text: str, mode: str = "0600") -> None:
        self.run("bash", "-c", f"umask 077; cat >{path}; chmod {mode} {path}", stdin=text)

    def mac(self) -> str:
        return self.run("cat", "/sys/class/net/eth0/address")

    def has(self, address: str) -> bool:
        found = json.loads(self.run("ip", "-j", "addr", "show", "dev", "eth0"))
        return any(info["local"] == address for info in found[0]["addr_info"])

    # --- mysqld ---------------------------------------------------------------------------------------------------
    def initialise(self) -> None:
        self.put("/etc/my-vip.cnf", MYSQLD.format(number=self.number), "0644")
        self.run("chown", "mysql:mysql", "/var/lib/mysql")
        self.run("mysqld", "--defaults-file=/etc/my-vip.cnf", "--initialize-insecure")

    def start_mysqld(self) -> None:
        self.start("mysqld", "mysqld", "--defaults-file=/etc/my-vip.cnf")

    def answers(self) -> bool:
        ping = ("mysqladmin", "-uroot", "-S/tmp/mysqld.sock", "ping")
        return self.run("timeout", "-s", "KILL", "3", *ping, check=False) == "mysqld is alive"

    def sql(self, text: str) -> str:
        return self.run("mysql", "-uroot", "-S/tmp/mysqld.sock", "-BN", stdin=text)

    # --- keeper ---------------------------------------------------------------------------------------------------
    def start_keeper(self) -> None:
        vips = [{"address": vip, "interface": "eth0"} for vip in self.site.vips]
        settings = {
            "addresses": vips,
            "unix_socket": "/tmp/mysqld.sock",
            "user": "lossless_keeper",
            "password": "k'\"\\%",
        }
        self.put("/etc/keeper.json", json.dumps(settings, indent=1))
        self.start("keeper", *self.keeper("--config", "/etc/keeper.json"), log="/var/log/keeper.log")

    @staticmethod
    def keeper(*arguments: str) -> tuple[str, ...]:
        return ("env", f"PYTHONPATH={LIBRARY}", "PYTHONDONTWRITEBYTECODE=1", "python3", "-m", SERVICE, *arguments)

    def stop_keeper(self) -> None:
        if self.runs("keeper"):
            self.signal("CONT", "keeper")
            self.signal("TERM", "keeper")
            eventually("the keeper ends", lambda: not self.runs("keeper"))

    def watch_addresses(self) -> None:
        """Let the kernel say when addresses come and go: exact, where `docker exec` takes its time."""
        self.run("bash", "-c", "exec >/var/log/addresses.log; rm -f /var/log/addresses.log", check=False)
        self.start("monitor", "stdbuf", "-oL", "ip", "-ts", "-o", "monitor", "address", log="/var/log/addresses.log")

    def dropped_at(self, vip: str, after: float) -> float:
        """When the kernel removed the address, in seconds since the epoch."""
        for line in self.run("cat", "/var/log/addresses.log").splitlines():
            stamp, _bracket, what = line.partition("] ")
            at = datetime.datetime.fromisoformat(stamp[1:]).replace(tzinfo=datetime.UTC).timestamp()
            if at > after and what.startswith("Deleted") and f" {vip}/" in what:
                return at
        raise AssertionError(f"{self.name} did not drop {vip}")

    def status(self) -> dict[str, Any]:
        text = self.run("cat", "/run/lossless-mysql-ha/keeper.json", check=False)
        return dict(json.loads(text)) if text else {}

    def journal(self) -> str:
        return self.run("cat", "/var/log/keeper.log", check=False)


class Site:
    """Three database hosts that replicate with semi-sync, k=1, and an application host."""

    def __init__(self) -> None:
        self.close()
        self.v4 = self._network()
        self.vips = [str(self.v4[100]), str(V6[100])]
        self.hosts = {name: Host(self, name, number) for number, name in enumerate((*DATABASES, "app1"), start=1)}
        self.app = self.hosts["app1"]
        self.databases = [self.hosts[name] for name in DATABASES]
        self.term = 0
        self.bought = 0
        self._uuids: dict[str, str] = {}
        self._clients: list[Client] = []

    def _network(self) -> ipaddress.IPv4Network:
        for third in range(60, 90):
            subnet = f"10.232.{third}.0/24"
            made = docker("network", "create", "--ipv6", "--subnet", str(V6), "--subnet", subnet, NAME, check=False)
            if made:
                return ipaddress.IPv4Network(subnet)
        raise AssertionError("no subnet is free")

    def up(self) -> None:
        for host in self.hosts.values():
            host.create()
        for host in self.databases:
            host.initialise()
            host.start_mysqld()
        for host in self.databases:
            eventually(f"{host.name} answers", host.answers, 60)
            host.sql(
                "SET sql_log_bin=0; SET GLOBAL super_read_only=0;"
                "CREATE USER repl@'%' IDENTIFIED BY 'repl'; GRANT REPLICATION SLAVE ON *.* TO repl@'%';"
                "CREATE USER lossless_keeper@'%' IDENTIFIED BY 'k\\'\"\\\\%';"
                "GRANT REPLICATION CLIENT, SERVICE_CONNECTION_ADMIN, CONNECTION_ADMIN, SYSTEM_VARIABLES_ADMIN ON *.*"
                " TO lossless_keeper@'%';"
                "GRANT SELECT ON performance_schema.* TO lossless_keeper@'%';"
                "CREATE USER app@'%' IDENTIFIED BY 'app'; GRANT ALL ON shop.* TO app@'%';"
                "SET GLOBAL super_read_only=1;"
            )
        self.promote(self.databases[0], create=True)
        for host in self.databases:
            host.sql(
                "SET sql_log_bin=0; SET GLOBAL super_read_only=0;"
                "GRANT SELECT ON lossless_ha.* TO lossless_keeper@'%';"
                "GRANT INSERT, UPDATE ON lossless_ha.heartbeat TO lossless_keeper@'%';"
                + ("" if host is self.databases[0] else "SET GLOBAL super_read_only=1;")
            )

    def uuid(self, host: Host) -> str:
        if host.name not in self._uuids:
            self._uuids[host.name] = host.sql("SELECT @@server_uuid")
        return self._uuids[host.name]

    def members(self) -> str:
        """The members of a term row. These servers have no admin port."""
        return json.dumps(
            [
                {"name": host.name, "host": host.address, "port": 3306, "server_uuid": self.uuid(host)}
                for host in self.databases
            ]
        )

    def follow(self, replica: Host, source: Host) -> None:
        replica.sql(
            "STOP REPLICA; SET GLOBAL rpl_semi_sync_source_enabled=0, GLOBAL rpl_semi_sync_replica_enabled=1;"
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{source.address}', SOURCE_USER='repl', SOURCE_PASSWORD='repl',"
            " SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, GET_SOURCE_PUBLIC_KEY=1, SOURCE_HEARTBEAT_PERIOD=0.5;"
            "START REPLICA;"
        )

    def promote(self, host: Host, *, create: bool = False) -> float:
        """Make a host primary by hand, in the order of the procedure. Returns when its term row was acknowledged."""
        others = [other for other in self.databases if other is not host]
        if not create:
            host.sql("STOP REPLICA; SET GLOBAL rpl_semi_sync_replica_enabled=0;")
        for other in others:
            if other.answers():
                self.follow(other, host)
        tables = ""
        if create:
            from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import schema

            tables = "".join(f"{statement};" for statement in schema.CREATE)
            tables += "CREATE DATABASE shop; CREATE TABLE shop.bought (n INT PRIMARY KEY);"
        self.term += 1
        answer = host.sql(
            "SET GLOBAL rpl_semi_sync_source_enabled=1, GLOBAL super_read_only=0;SET GLOBAL read_only=0;"
            + tables
            + "INSERT INTO lossless_ha.term (revision, term, primary_uuid, members, k, wait_point, acknowledgement,"
            f" no_tx_base, proof, run_id, reason) VALUES ({self.term}, {self.term}, @@server_uuid,"
            f" '{self.members()}', 1, 'AFTER_SYNC', 'disk', 0, 'proven', 'test', 'test');"
            " SELECT UNIX_TIMESTAMP(NOW(6));"
        )
        return float(answer.splitlines()[-1])

    def holders(self, vip: str) -> list[str]:
        return [host.name for host in self.databases if host.has(vip)]

    def watch(self, vip: str) -> Client:
        """On the application host: ``served`` and ``nothing``, as new connections to the address see it."""
        return self._client(WATCHER, vip)

    def buy(self, host: Host) -> Client:
        """On the application host: writing to that server's own address."""
        self.bought += 100_000
        return self._client(BUYER, host.address, str(self.bought))

    def _client(self, program: str, *arguments: str) -> Client:
        client = Client(self.app, program, *arguments)
        self._clients.append(client)
        return client

    def end_clients(self) -> None:
        while self._clients:
            self._clients.pop().end()

    def close(self) -> None:
        for name in (*DATABASES, "app1", "thief"):
            docker("rm", "-f", "-v", f"{NAME}-{name}", check=False)
        docker("network", "rm", NAME, check=False)
