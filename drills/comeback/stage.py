"""The cluster of one round: the primary's commits wait, it dies, another one is promoted, it comes back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.plan import EMERGENCY, Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.run import fail_over
from ansible_collections.lossless.mysql_ha.plugins.module_utils.fault_points import VARIABLE
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.diagnose import LOSSLESS

from benchmarks import access
from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from benchmarks.hosts import KILLED
from benchmarks.paths import WORK
from benchmarks.progress import say
from drills.comeback import clients, work
from drills.comeback.clients import Clients, Statements
from drills.errors import DrillError
from drills.recovery import LIBRARY
from drills.two_phase import contents
from drills.two_phase.contents import Contents
from lab import faults
from lab.config import CHECKOUT
from lab.errors import LabError

CUT = "replication_cut"
GATE = "ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.gate"
CONFIG = "/etc/lossless-mysql-ha/rejoin.json"
RECORDS = "/var/lib/lossless-mysql-ha/rejoin"
AFTERWARDS = "lossless-mysql-ha-rejoin"
_DROP_IN = f"/run/systemd/system/{AFTERWARDS}.service.d"
WAITING_WITHIN = 240.0
DECIDED_WITHIN = 300.0
LOSSLESS_WITHIN = 240.0
_PLAYBOOK_WITHIN = 900
_LOOK_AGAIN = 0.1
_OURS = frozenset({"mysql", "sys", "performance_schema", "information_schema", "lossless_ha"})

_IN_THE_LOG = """
import json, sys
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import tail
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.files import membership, read_index
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
has = GtidSet.parse(sys.argv[1])
found = tail.read_tail(read_index("/var/lib/mysql/binlog.index", "/var/lib/mysql")[-1], membership(has))
lacking = [each for each in found.transactions if each.gtid and not each.gtid.as_set() <= has
           and not any(table.schema == "lossless_ha" for table in each.tables)]
print(json.dumps({"number": len(lacking), "largest": max((each.end - each.start for each in lacking), default=0)}))
"""


@dataclass(frozen=True)
class Waiting:
    """What stood in the log and nobody had acknowledged: ``number`` of transactions, ``largest`` in bytes; how many
    clients were ``told`` OK for them, and the errors that others got."""

    asked: int
    number: int
    largest: int
    told: int
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Gtids:
    """``server``: of a replica, between two looks at the primary's."""

    before: str
    server: str
    after: str


class Stage:
    """One round. ``old``: who is primary now; afterwards ``new`` is."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.hosts = cluster.hosts
        self.old = cluster.primary()
        self.new = ""
        self.term = 0
        self.began = time.time()
        self.started = 0.0

    # --- before ------------------------------------------------------------------------------------------------------
    def socket(self, name: str) -> str:
        return f"/proc/{self.hosts.pid(name)}/root/run/mysqld/mysqld.sock"

    def prepare(self, filled: int = 0) -> Contents:
        """The application's rows, acknowledged; what the primary holds now.

        :param filled: times 50 MiB of them.
        """
        self.rows(filled)
        return self.contents(self.old.name)

    def rows(self, filled: int = 0) -> None:
        with clients.cursor(self.socket(self.old.name)) as cursor:
            for statement in [*work.prepare(), *(each for _one in range(filled) for each in work.large()[0])]:
                cursor.execute(statement)
            cursor.execute("COMMIT")
            cursor.execute("FLUSH BINARY LOGS")

    def write(self, name: str, statements: Sequence[str]) -> None:
        """On a primary, each committed and acknowledged."""
        with clients.cursor(self.socket(name)) as cursor:
            for statement in statements:
                cursor.execute(statement)

    @contextmanager
    def clients(self, wanted: Sequence[Statements]) -> Iterator[Clients]:
        socket = self.socket(self.old.name)
        with clients.cursor(socket) as cursor:
            cursor.execute("SELECT GREATEST(@@GLOBAL.max_connections, %s) AS wanted", (len(wanted) + 200,))
            # Until its next start, which is soon.
            cursor.execute(f"SET GLOBAL max_connections = {int(cursor.fetchone()['wanted'])}")
        with clients.connected(socket, wanted) as found:
            yield found

    def cut(self) -> None:
        self.hosts.inject(self.old.name, CUT)

    def until_all_wait(self, asked: int) -> tuple[int, int]:
        """Until so many stand in the log and are not committed; how many do, and the largest one."""
        with clients.cursor(self.socket(self.old.name)) as cursor:
            cursor.execute("SELECT REPLACE(@@GLOBAL.gtid_executed, '\\n', '') AS gtids")
            executed = str(cursor.fetchone()["gtids"])
        ends = time.monotonic() + WAITING_WITHIN
        found = {"number": 0, "largest": 0}
        while found["number"] < asked and time.monotonic() < ends:
            time.sleep(_LOOK_AGAIN)
            found = self.in_the_log(self.old.name, executed)
        return found["number"], found["largest"]

    def in_the_log(self, name: str, executed: str) -> dict[str, int]:
        """Of the last file of its binary log: how many whole transactions of the application are not in a GTID set, the
        largest one."""
        said = self.python(name, "-c", _IN_THE_LOG, executed)
        try:
            return dict(json.loads(said.splitlines()[-1]))
        except (ValueError, IndexError) as error:
            raise DrillError(f"{name}: its log cannot be read: {said[-300:]}") from error

    def python(self, name: str, *arguments: str, **environment: str) -> str:
        given = [f"{key}={value}" for key, value in environment.items()]
        return self.hosts.run(name, "env", f"PYTHONPATH={LIBRARY}", *given, "python3", *arguments)

    def kill(self) -> None:
        self.hosts.kill(self.old.name)

    # --- the failover ------------------------------------------------------------------------------------------------
    def fail_over(self, accept: str = "", within: float = 60.0) -> dict[str, Any]:
        """Until somebody is promoted; a refusal is tried again for so many seconds.

        :returns: ``Report.as_result``.
        :raises HaError: it was refused to the end.
        """
        reach = self.cluster.access
        ends = time.monotonic() + within
        while True:
            try:
                report: dict[str, Any] = fail_over(
                    reach.members,
                    reach.admin,
                    reach.replication,
                    Request(EMERGENCY, accept_data_loss=accept, deadline=10.0),
                    cluster=reach.cluster,
                    journal_directory=str(WORK / "journal"),
                    acknowledgement=reach.acknowledgement,
                ).as_result()
            except HaError:
                if time.monotonic() > ends:
                    raise
                time.sleep(1.0)
                continue
            self.new, self.term = str(report["new_primary"]), int(report["term"])
            return report

    def refusal(self) -> tuple[str, ...]:
        """The codes with which the failover is refused; none when it promoted somebody."""
        try:
            self.fail_over(within=5.0)
        except HaError as error:
            reasons = error.evidence.get("reasons") or [{"code": error.code}]
            return tuple(str(reason["code"]) for reason in reasons)
        return ()

    # --- it comes back -----------------------------------------------------------------------------------------------
    def heal(self) -> None:
        self.hosts.heal(self.old.name, CUT)

    def start(self) -> None:
        """mysqld is told to start; the gate is before it."""
        self.started = time.time()
        self.hosts.heal(self.old.name, KILLED)

    def restart(self) -> None:
        """As somebody who looks after it would; until what lets it follow has ended."""
        self.hosts.run(self.old.name, "systemctl", "restart", faults.UNIT)
        # It has been started already: this joins it, and returns when it has ended.
        self.hosts.run(self.old.name, "systemctl", "start", AFTERWARDS, check=False)

    def gate_dies_at(self, point: str) -> int:
        """Run by hand, as the unit runs it; the exit status."""
        script = f"env PYTHONPATH={LIBRARY} {VARIABLE}={point} python3 -m {GATE} --config {CONFIG}; echo status $?"
        # The shell says "Killed" besides, before or after.
        said = self.hosts.run(self.old.name, "sh", "-c", script)
        found = re.search(r"^status (\d+)$", said, re.MULTILINE)
        if found is None:
            raise DrillError(f"how the gate ended is not known: {said[-300:]}")
        return int(found[1])

    @contextmanager
    def past_the_gate(self) -> Iterator[None]:
        """Its configuration is not there, so whatever starts meanwhile is asked nothing."""
        self.hosts.run(self.old.name, "mv", CONFIG, f"{CONFIG}.aside")
        try:
            yield
        finally:
            self.hosts.run(self.old.name, "sh", "-c", f"test ! -e {CONFIG}.aside || mv {CONFIG}.aside {CONFIG}")

    @contextmanager
    def afterwards_dies_at(self, point: str) -> Iterator[None]:
        """What lets it follow dies at that point, each time it is started."""
        text = f"[Service]\\nEnvironment={VARIABLE}={point}\\n"
        script = f"mkdir -p {_DROP_IN} && printf '{text}' >{_DROP_IN}/drill.conf && systemctl daemon-reload"
        self.hosts.run(self.old.name, "sh", "-c", script)
        try:
            yield
        finally:
            self.hosts.run(self.old.name, "sh", "-c", f"rm -f {_DROP_IN}/drill.conf && systemctl daemon-reload")

    def restarts_afterwards(self) -> int:
        """How often systemd has started again what lets it follow."""
        return int(self.hosts.run(self.old.name, "systemctl", "show", "-P", "NRestarts", AFTERWARDS) or 0)

    def row(self) -> dict[str, str]:
        """What the new primary's table says of the return; empty: nothing yet."""
        ask = (
            "SELECT state, gtids, archive, detail, UNIX_TIMESTAMP(written_at) AS at FROM lossless_ha.rejoin"
            " WHERE server_uuid = %s AND term = %s"
        )
        with clients.cursor(self.socket(self.new)) as cursor:
            cursor.execute(ask, (self.old.server_uuid, self.term))
            found = cursor.fetchone() or {}
        return {key: str(value) for key, value in found.items()}

    def until_decided(self, *, past: Sequence[str] = ("", "pending"), within: float = DECIDED_WITHIN) -> dict[str, str]:
        """The row, once its state is none of ``past``, or time is up."""
        ends = time.monotonic() + within
        while True:
            found = self.row()
            if found.get("state", "") not in past or time.monotonic() > ends:
                return found
            time.sleep(_LOOK_AGAIN)

    def until(self, condition: Callable[[], bool], within: float, what: str) -> None:
        """:raises DrillError: not in time."""
        ends = time.monotonic() + within
        while not condition():
            if time.monotonic() > ends:
                raise DrillError(f"{what}: not within {within:g} s")
            time.sleep(_LOOK_AGAIN)

    def answers(self, name: str) -> bool:
        try:
            with clients.cursor(self.socket(name)) as cursor:
                return bool(cursor.execute("SELECT 1"))
        except DrillError:
            return False

    def until_lossless(self, within: float = LOSSLESS_WITHIN) -> str:
        """Everybody is registered and acknowledges again; nothing is cloned for it. Empty, or what it is instead.

        A cluster is lossless as soon as enough acknowledge: that is not yet everybody.
        """
        ends = time.monotonic() + within
        why = ""
        while time.monotonic() < ends:
            try:
                observation, diagnosis = self.cluster.look()
                missing = self.cluster.not_acknowledging(observation)
                if diagnosis.verdict == LOSSLESS and not missing:
                    return ""
                why = f"{', '.join(missing)} not registered; " if missing else ""
                why += f"{diagnosis.verdict}: {'; '.join(diagnosis.reasons)}"
                if diagnosis.errant:
                    return why
                self.cluster.converge(frozenset())
            except (HaError, BenchmarkError) as error:
                why = str(error)
            time.sleep(_LOOK_AGAIN)
        return why or "nobody answered"

    def acknowledges(self) -> bool:
        """Whether the old primary is registered, or sends acknowledgements."""
        observation, _diagnosis = self.cluster.look()
        state = observation.states.get(self.old.name)
        registered = observation.term.acknowledgers if observation.term else ()
        return any(one.server_uuid == self.old.server_uuid for one in registered) or bool(
            state and state.semi_sync.replica_enabled
        )

    def rejoin(self, given_up: str = "") -> tuple[int, str, dict[str, Any]]:
        """The playbook: its exit status, all it said, and the failed module's result."""
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "lossless.mysql_ha.rejoin"]
        command += ["-e", f"mysql_ha_returning={self.old.name}"]
        command += ["-e", f"mysql_ha_given_up={given_up}"] if given_up else []
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=_PLAYBOOK_WITHIN,
            cwd=CHECKOUT,
            env=access.environment(),
        )
        return done.returncode, done.stdout + done.stderr, failed_result(done.stdout)

    # --- evidence ----------------------------------------------------------------------------------------------------
    def gate_said(self) -> list[str]:
        """What the gate and what follows it wrote to the journal since the round began."""
        command = ("journalctl", "-u", "mysql", "-u", AFTERWARDS, "--since", f"@{int(self.began)}", "-o", "cat")
        lines = self.hosts.run(self.old.name, *command).splitlines()
        return [
            line for line in lines if line.startswith(("lossless-mysql-ha restart gate:", "lossless-mysql-ha rejoin:"))
        ]

    def manifest(self, path: str) -> dict[str, Any]:
        """Of an archive on the old primary's host; empty when there is none."""
        text = self.hosts.run(self.old.name, "sh", "-c", f"cat '{path}/manifest.json' 2>/dev/null || echo '{{}}'")
        found: dict[str, Any] = json.loads(text)
        return {"found": found.get("found", ""), "transactions": len(found.get("transactions") or [])}

    def kept(self) -> list[str]:
        """Files beside the record that hold what was cut, or the log's end, since the round began."""
        since = f"@{int(self.began)}"
        # Nobody has made the directory yet where nothing was ever kept.
        find = f"test ! -e {RECORDS} || find {RECORDS} -name '{self.old.server_uuid}-*' -newermt {since} -size +0"
        return self.hosts.run(self.old.name, "sh", "-c", find).splitlines()

    def contents(self, name: str) -> Contents:
        """Every table of the application, on one server; names with their schema."""
        tables: dict[str, contents.Table] = {}
        gtids = ""
        with clients.cursor(self.socket(name)) as cursor:
            cursor.execute("SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA")
            for schema in sorted({str(row["name"]) for row in cursor.fetchall()} - _OURS):
                found = contents.read(cursor, schema)
                gtids = found.gtids
                tables.update({f"{schema}.{table}": one for table, one in found.tables.items()})
        return Contents(gtids, tables)

    def everybody(self) -> dict[str, tuple[Contents, Gtids | None]]:
        """The primary's contents, and every other server's once it has executed what the primary had."""
        primary = self.new or self.old.name
        found: dict[str, tuple[Contents, Gtids | None]] = {primary: (self.contents(primary), None)}
        for member in self.cluster.access.members:
            if member.name == primary:
                continue
            before = self._executed(primary)
            with clients.cursor(self.socket(member.name)) as cursor:
                cursor.execute("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 60) AS late", (before,))
                cursor.fetchall()
            own = self._executed(member.name)
            found[member.name] = (self.contents(member.name), Gtids(before, own, self._executed(primary)))
        return found

    def _executed(self, name: str) -> str:
        with clients.cursor(self.socket(name)) as cursor:
            cursor.execute("SELECT REPLACE(@@GLOBAL.gtid_executed, '\\n', '') AS gtids")
            return str(cursor.fetchone()["gtids"])

    def clean(self) -> None:
        """Whatever happened: nothing stays broken, and nothing of the application's stays."""
        self.hosts.run(self.old.name, "sh", "-c", f"test ! -e {CONFIG}.aside || mv {CONFIG}.aside {CONFIG}")
        # The network first: what starts now asks its peers.
        self.heal()
        self.hosts.heal()
        self.cluster.mend()
        with clients.cursor(self.socket(self.cluster.primary().name)) as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {work.SCHEMA}")


def failed_result(said: str) -> dict[str, Any]:
    """The result of the task that failed, from what ansible-playbook wrote; empty when none did. Pure."""
    for line in said.splitlines():
        if line.startswith("fatal: ") and "=> {" in line:
            try:
                return dict(json.loads(line[line.index("=> {") + 3 :]))
            except ValueError:
                continue
    return {}


def told(what: Mapping[str, Any]) -> None:
    """One line of a round, for a person who waits."""
    broken = [f"{one['name']}: {one['said']}" for one in what["checks"] if one["holds"] is not True]
    say(f"{what['case']}: {'pass' if not broken else 'FAIL ' + '; '.join(broken)[:600]} ({what['seconds']:.0f} s)")


TROUBLE = (BenchmarkError, DrillError, HaError, LabError)
