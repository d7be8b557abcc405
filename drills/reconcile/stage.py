"""The cluster of one case: the application's tables, what is done to a replica behind its back, the comparison."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import recheck
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import run as comparing
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import SNAPSHOT, WHOLE
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.recent import Wish

from benchmarks.cluster import Cluster
from drills.comeback import clients
from drills.errors import DrillError
from drills.reconcile import mutants, tables
from drills.reconcile.tables import SCHEMA

CAUGHT_UP_WITHIN = 120.0
_BEHIND_WITHIN = 30.0
LIMITS = comparing.Limits()
RECENT = Wish()
_LOOK_AGAIN = 0.1


class Stage:
    """``replica``: the one that something is done to; ``others``: those to which nothing is. ``locks``: seconds for
    which rows were looked at under a lock, in all comparisons."""

    def __init__(self, cluster: Cluster, mutant: str = "") -> None:
        self.cluster = cluster
        self.mutant = mutant
        self.primary = cluster.primary().name
        replicas = [member.name for member in cluster.access.members if member.name != self.primary]
        self.replica, *self.others = replicas
        self.locks: list[float] = []

    def socket(self, name: str) -> str:
        return f"/proc/{self.cluster.hosts.pid(name)}/root/run/mysqld/mysqld.sock"

    # --- the application's tables ------------------------------------------------------------------------------------
    def prepare(self, more: Sequence[str] = ()) -> None:
        """All tables on all servers. ``more``: statements on the primary after that."""
        with clients.cursor(self.socket(self.primary)) as cursor:
            for statement in (*tables.prepare(), *more):
                cursor.execute(statement)
        self.caught_up()

    def caught_up(self) -> None:
        """:raises DrillError: a replica is late."""
        with clients.cursor(self.socket(self.primary)) as cursor:
            cursor.execute("SELECT REPLACE(@@GLOBAL.gtid_executed, '\\n', '') AS gtids")
            gtids = str(cursor.fetchone()["gtids"])
        for name in (self.replica, *self.others):
            with clients.cursor(self.socket(name)) as cursor:
                cursor.execute("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s) AS late", (gtids, CAUGHT_UP_WITHIN))
                if cursor.fetchone()["late"]:
                    raise DrillError(f"{name} did not catch up within {CAUGHT_UP_WITHIN:g} s")

    def clean(self) -> None:
        """Whatever happened: the replica replicates as before, and nothing of the drill's stays."""
        with clients.cursor(self.socket(self.replica)) as cursor:
            cursor.execute("SET GLOBAL read_only = ON")
            cursor.execute("SET GLOBAL super_read_only = ON")
        with clients.cursor(self.socket(self.primary)) as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {SCHEMA}")
        self.cluster.mend()
        self.caught_up()

    def clone(self) -> None:
        """The replica, which has transactions of its own: what only it has goes.

        A cluster that has tables without a key is not converged.
        """
        with clients.cursor(self.socket(self.primary)) as cursor:
            for table in tables.TABLES:
                if not table.key:
                    cursor.execute(f"DROP TABLE {table.full_name}")
        self.cluster.mend()

    # --- behind replication's back -----------------------------------------------------------------------------------
    def behind_its_back(self, statements: Sequence[str], *, logged: bool = False) -> None:
        """On the replica. ``logged``: as a transaction of its own, with a GTID that nobody else has.

        Each statement has to change something: otherwise nothing was planted.
        """
        with clients.cursor(self.socket(self.replica)) as cursor:
            cursor.execute("SET GLOBAL super_read_only = OFF")
            try:
                cursor.execute("SET SESSION sql_log_bin = %s", (int(logged),))
                for statement in statements:
                    rows = cursor.execute(statement)
                    if not rows and statement.startswith(("INSERT", "UPDATE", "DELETE")):
                        raise DrillError(f"{self.replica}: nothing was changed by {statement}")
            finally:
                cursor.execute("SET GLOBAL super_read_only = ON")

    @contextmanager
    def delayed(self, seconds: int) -> Iterator[None]:
        """The replica applies that much later."""
        self._delay(seconds)
        try:
            yield
        finally:
            self._delay(0)

    def _delay(self, seconds: int) -> None:
        with clients.cursor(self.socket(self.replica)) as cursor:
            cursor.execute("STOP REPLICA SQL_THREAD")
            cursor.execute(f"CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {int(seconds)}")
            cursor.execute("START REPLICA SQL_THREAD")

    @contextmanager
    def open_transaction(self, statements: Sequence[str]) -> Iterator[None]:
        """On the primary; it is committed when this ends."""
        with clients.cursor(self.socket(self.primary)) as cursor:
            cursor.execute("BEGIN")
            for statement in statements:
                cursor.execute(statement)
            yield
            cursor.execute("COMMIT")

    @property
    def binlog_index(self) -> str:
        """The primary's, as this machine sees it."""
        return f"/proc/{self.cluster.hosts.pid(self.primary)}/root/var/lib/mysql/binlog.index"

    @contextmanager
    def applier_stopped(self) -> Iterator[None]:
        """The replica receives, and applies nothing; until it lacks something."""
        with clients.cursor(self.socket(self.replica)) as cursor:
            cursor.execute("STOP REPLICA SQL_THREAD")
        try:
            self._until_behind()
            yield
        finally:
            with clients.cursor(self.socket(self.replica)) as cursor:
                cursor.execute("START REPLICA SQL_THREAD")

    def _until_behind(self) -> None:
        ends = time.monotonic() + _BEHIND_WITHIN
        while True:
            with clients.cursor(self.socket(self.replica)) as cursor:
                cursor.execute(
                    "SELECT GTID_SUBTRACT(RECEIVED_TRANSACTION_SET, @@GLOBAL.gtid_executed) AS waiting"
                    " FROM performance_schema.replication_connection_status"
                )
                if any(row["waiting"] for row in cursor.fetchall()):
                    return
            if time.monotonic() > ends:
                raise DrillError(f"{self.replica} lacks nothing, though its applier stands still")
            time.sleep(_LOOK_AGAIN)

    # --- the comparison ----------------------------------------------------------------------------------------------
    def compare(
        self,
        modes: Sequence[str] = (WHOLE,),
        *,
        include: Sequence[str] = (SCHEMA,),
        limits: comparing.Limits = LIMITS,
        assertions: Sequence[Mapping[str, Any]] = (),
        rounds: int = len(recheck.PAUSES),
        recent: Wish = RECENT,
        state_directory: str = "",
    ) -> dict[str, Any]:
        """The report; with the mutant, if there is one.

        :param rounds: in which a row may come to rest; whatever has not is locked, where there are fewer, sooner.
        """
        fewer = mock.patch.object(recheck, "PAUSES", recheck.PAUSES[:rounds])
        with mutants.applied(self.mutant), self._locks_timed(), fewer:
            return comparing.run(
                self._request(
                    modes,
                    include,
                    limits=limits,
                    assertions=tuple(assertions),
                    recent=recent,
                    state_directory=state_directory,
                )
            )

    def truth(self, include: Sequence[str] = (SCHEMA,)) -> dict[str, Any]:
        """The report of a comparison that nothing breaks."""
        return comparing.run(self._request((WHOLE,), include))

    def _request(self, modes: Sequence[str], include: Sequence[str], **more: Any) -> comparing.Request:
        reach = self.cluster.access
        return comparing.Request(
            reach.cluster,
            reach.members,
            reach.reconcile,
            modes=tuple(modes),
            include=tuple(include),
            reveal=True,
            now=time.time(),
            admin=reach.admin if SNAPSHOT in modes else None,
            **more,
        )

    @contextmanager
    def _locks_timed(self) -> Iterator[None]:
        """A stopwatch around each row that is looked at under a lock."""
        original = recheck.Recheck._locked

        def locked(asking: recheck.Recheck, key: Any) -> Any:
            began = time.monotonic()
            try:
                return original(asking, key)
            finally:
                self.locks.append(time.monotonic() - began)

        with mock.patch.object(recheck.Recheck, "_locked", locked):
            yield
