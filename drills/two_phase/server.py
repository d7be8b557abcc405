"""A mysqld of the drill's own on a host of the lab: a transient unit, a data directory, a socket, no network.

It has the settings that every server of the collection carries. It is reached from this machine through the root of
the host's first process, so that a file can be watched and a process killed within microseconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.settings import SETTINGS

from benchmarks.hosts import Hosts
from drills.errors import DrillError
from lab.process import wait_until

PLACE = "/var/lib/lab-two-phase-commit"
UNIT = "lab-two-phase-commit"
BINLOG = "binlog"
START_SECONDS, END_SECONDS, STATEMENT_SECONDS = 300.0, 60.0, 180.0

_OWN = {"log_bin": BINLOG}
"""Where the file says more than ON."""

_CONFIGURATION = """[mysqld]
user = mysql
datadir = {place}/data
socket = {place}/mysqld.sock
pid_file = {place}/mysqld.pid
log_error = {place}/error.log
log_error_verbosity = 3
auto_generate_certs = OFF
caching_sha2_password_auto_generate_rsa_keys = OFF
skip_networking = ON
mysqlx = OFF
secure_file_priv = NULL
max_allowed_packet = 1G
innodb_buffer_pool_size = 128M
innodb_redo_log_capacity = 256M
"""

SUBJECT: Mapping[str, str] = {
    "server_id": "1",
    # Rotates by itself now and then, under load.
    "max_binlog_size": "24M",
    "plugin_load_add": "semisync_source.so",
    "loose_rpl_semi_sync_source_enabled": "OFF",
    "loose_rpl_semi_sync_source_timeout": "4294967295",
    "loose_rpl_semi_sync_source_wait_point": "AFTER_SYNC",
    "loose_rpl_semi_sync_source_wait_no_replica": "ON",
    # A server that starts, starts harmless.
    "super_read_only": "ON",
}
"""The server that is killed, beside what every server carries."""

REPLAY: Mapping[str, str] = {
    "server_id": "2",
    "skip_log_bin": "ON",
    "log_replica_updates": "OFF",
    "sync_binlog": "0",
    # Nobody kills this one.
    "innodb_flush_log_at_trx_commit": "0",
    "innodb_doublewrite": "OFF",
}
"""The server that the binary logs are replayed into."""


def configuration(place: str, own: Mapping[str, str]) -> str:
    """The option file. ``own``: what differs from, or comes beside, the settings that every server carries."""
    carried = {("loose_" if one.optional else "") + one.name: _OWN.get(one.name, one.expected) for one in SETTINGS}
    if "skip_log_bin" in own:
        del carried["log_bin"]
    lines = {**carried, **own}
    return _CONFIGURATION.format(place=place) + "".join(f"{name} = {value}\n" for name, value in lines.items())


class Server:
    """:raises LabError: from every method that runs something on the host. ``name``: subject, or replay."""

    def __init__(self, hosts: Hosts, host: str, name: str, own: Mapping[str, str]) -> None:
        self.host = host
        self.name = name
        self.place = f"{PLACE}/{name}"
        self._unit = f"{UNIT}-{name}"
        self._hosts = hosts
        self._own = own
        self._init = hosts.pid(host)
        self.root = Path(f"/proc/{self._init}/root{self.place}")
        """Its directory as this machine sees it."""

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def socket(self) -> str:
        """As the host sees it."""
        return f"{self.place}/mysqld.sock"

    # --- its life ----------------------------------------------------------------------------------------------------
    def create(self) -> None:
        """An empty server, not started. Whatever was there is gone."""
        self.remove()
        self.shell(f"mkdir -p {self.place} && chown mysql: {PLACE} {self.place} && chmod 0750 {PLACE} {self.place}")
        self._hosts.put(self.host, self.place, "my.cnf", configuration(self.place, self._own))
        self.shell(
            f"chown mysql: {self.place}/my.cnf"
            f" && mysqld --defaults-file={self.place}/my.cnf --initialize-insecure || {self._say_why}"
        )

    def remove(self) -> None:
        self.shell(
            f"systemctl kill --signal=KILL {self._unit} 2>/dev/null; systemctl stop {self._unit} 2>/dev/null;"
            f" systemctl reset-failed {self._unit} 2>/dev/null; rm -rf {self.place}; rmdir {PLACE} 2>/dev/null; true"
        )

    def start(self) -> float:
        """Start, and wait until it is ready: crash recovery is over. Returns how many seconds that took."""
        began = time.monotonic()
        self.shell(f"{self._command()} || {self._say_why}")
        return time.monotonic() - began

    def begin_start(self) -> None:
        """Start, without waiting for anything."""
        self.shell(self._command("--no-block"))

    def _command(self, *options: str) -> str:
        return (
            f"systemd-run --quiet --collect {' '.join(options)} --unit={self._unit} --property=Type=notify"
            f" --property=TimeoutStartSec={START_SECONDS:.0f} --property=LimitNOFILE=10000 --uid=mysql --gid=mysql"
            f" /usr/sbin/mysqld --defaults-file={self.place}/my.cnf"
        )

    @property
    def _say_why(self) -> str:
        return f"{{ tail -n 5 {self.place}/error.log; exit 1; }}"

    def pid(self, within: float = END_SECONDS) -> int:
        """Its process, by the number that it has on this machine."""
        ends = time.monotonic() + within
        while True:
            inner = self.shell(f"systemctl show -P MainPID {self._unit}")
            found = outer_pid(self._init, inner) if inner not in ("", "0") else None
            if found is not None:
                return found
            if time.monotonic() > ends:
                raise DrillError(f"mysqld ({self.name}) has no process")

    def kill(self, pid: int) -> None:
        """kill -9, at once; returns when the process is gone and systemd has seen it."""
        os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: not Path(f"/proc/{pid}").exists() and self._state() == "inactive",
            deadline=END_SECONDS,
            what=f"mysqld ({self.name}) ends after kill -9",
            hint="see: make lab-status",
            every=0.02,
        )

    def _state(self) -> str:
        return self.shell(f"systemctl is-active {self._unit} || true")

    # --- talking to it -----------------------------------------------------------------------------------------------
    def connect(self, schema: str | None = None) -> Any:
        """A connection as root, autocommit; its rows are dictionaries.

        :raises pymysql.err.OperationalError: it does not answer.
        """
        return pymysql.connect(
            unix_socket=str(self.root / "mysqld.sock"),
            user="root",
            database=schema,
            autocommit=True,
            cursorclass=pymysql.cursors.DictCursor,
            connect_timeout=5,
            read_timeout=STATEMENT_SECONDS,
            max_allowed_packet=1 << 30,
        )

    @contextmanager
    def session(self, schema: str | None = None) -> Iterator[Any]:
        """A cursor on a connection of its own."""
        connection = self.connect(schema)
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            with contextlib.suppress(pymysql.err.Error):
                connection.close()

    def open_writes(self) -> None:
        with self.session() as cursor:
            cursor.execute("SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF")

    def shell(self, script: str) -> str:
        return self._hosts.run(self.host, "bash", "-c", script)

    # --- its files ---------------------------------------------------------------------------------------------------
    def binlogs(self) -> list[Path]:
        """Its binary log files, the oldest first: those that are there."""
        return sorted(path for path in self.data.glob(f"{BINLOG}.[0-9]*") if path.suffix[1:].isdigit())

    def indexed(self) -> list[Path]:
        """Its binary log files by its own index, the oldest first; of a server that runs."""
        return [self.data / Path(line).name for line in (self.data / f"{BINLOG}.index").read_text().splitlines()]

    def inside(self, path: Path) -> str:
        """A file of its data directory by the name that it has on the host."""
        return f"{self.place}/data/{path.name}"

    def log_size(self) -> int:
        return (self.root / "error.log").stat().st_size

    def log_since(self, offset: int) -> str:
        with (self.root / "error.log").open("rb") as file:
            file.seek(offset)
            return file.read().decode(errors="replace")


def outer_pid(init: int, inner: str) -> int | None:
    """The number on this machine of the process that has that number beside the process ``init``, or None."""
    namespace = os.readlink(f"/proc/{init}/ns/pid")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            numbers = next(line for line in (entry / "status").read_text().splitlines() if line.startswith("NSpid:"))
            if numbers.split()[-1] == inner and os.readlink(entry / "ns/pid") == namespace:
                return int(entry.name)
        except (OSError, StopIteration):
            continue  # it has ended meanwhile
    return None
