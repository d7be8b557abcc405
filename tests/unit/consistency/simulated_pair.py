# SPDX-License-Identifier: GPL-3.0-or-later
"""A primary and its replicas in memory: rows, a log with GTIDs, lag, locks, writers, and errors where they are wanted.

Time is a number: each statement takes some, and waiting lets it pass. The questions are not SQL but what they ask.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional
from unittest import mock

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import recheck, whole
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import TableResult
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import Layout
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.lookup import Range, Statement
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Key, Named, Table
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.recheck import Recheck
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column

STATEMENT = 0.02
"""Seconds that a statement takes."""
NUMBERED = Layout((column("id", "bigint"), column("c", "varchar", octets=40)), (("id",),))
PAIRED = Layout((column("a", "int"), column("b", "int"), column("c", "varchar", octets=40)), (("a", "b"),))
UUID, HANGS = "00000001-0000-0000-0000-000000000000", "00000001-0000-0000-0000-000000000000:hangs:1"
TICK = 0.01
POLL = 0.1
"""How often a replica looks whether it has executed what somebody waits for."""

Contents = dict[Key, str]


class Asked(Table):
    """A table whose questions are what they ask: a word and its arguments."""

    def aggregate(self, range_: Range) -> Statement:
        return "aggregate", (range_,)

    def rows_of(self, range_: Range, most: int) -> Statement:
        return "rows_of", (range_, most)

    def boundary(self, after: Range, number: int) -> Statement:
        return "boundary", (after, number)

    def edges(self) -> Statement:
        return "edges", ()

    def rows_at(self, keys: Sequence[Key], *, lock: bool = False, within: float = 0.0) -> Statement:
        return "rows_at", (tuple(keys), lock)

    def details_at(self, keys: Sequence[Key], *, reveal: bool) -> Statement:
        return "details_at", (tuple(keys),)


@dataclasses.dataclass
class Commit:
    number: int
    at: float
    changes: Mapping[Key, Optional[str]]
    before: frozenset[Key]
    """Which of these rows were there before."""


class World:
    """:param writer: called before every statement: may ``commit``.
    :param unseen: seconds for which a commit is visible before its GTID is in gtid_executed."""

    def __init__(self, rows: Contents, *, writer: Callable[[World], None] = lambda world: None, unseen: float = 0.0):
        self.now = 0.0
        self.rows = dict(rows)
        self.log: list[Commit] = []
        self.locked: frozenset[Key] = frozenset()
        self.longest_lock = 0.0
        self._locked_at = 0.0
        self.unseen = unseen
        self.writer = writer
        self.waiting: list[Mapping[Key, Optional[str]]] = []
        self.hanging: Mapping[Key, Optional[str]] = {}
        """A transaction that replicas have already (``Replica.ahead``); the primary shows it at ``hangs_until``."""
        self.hangs_until = float("inf")
        self.longest_answer = 0
        self.primary = Server(self, "p")
        self.replicas: dict[str, Replica] = {}

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Writers go on meanwhile."""
        ends = self.now + seconds
        while self.now < ends:
            self.now = min(ends, self.now + TICK)
            self.writer(self)

    def commit(self, changes: Mapping[Key, Optional[str]]) -> None:
        """On the primary; waits while one of the rows is locked. Changes that change nothing are none."""
        if self.locked & set(changes):
            self.waiting.append(changes)
            return
        changed = {key: value for key, value in changes.items() if self.rows.get(key) != value}
        if changed:
            self.log.append(Commit(len(self.log) + 1, self.now, changed, frozenset(changed) & set(self.rows)))
            apply(self.rows, changed)

    def lock(self, keys: frozenset[Key]) -> None:
        self.locked, self._locked_at = keys, self.now

    def release(self) -> None:
        if self.locked:
            self.longest_lock = max(self.longest_lock, self.now - self._locked_at)
        self.locked = frozenset()
        waiting, self.waiting = self.waiting, []
        for changes in waiting:
            self.commit(changes)

    def acknowledge(self) -> None:
        """The transaction that hangs commits, when it is time."""
        if self.hanging and self.now >= self.hangs_until:
            apply(self.rows, self.hanging)
            self.hanging = {}

    def executed(self) -> str:
        self.acknowledge()
        return gtids(sum(each.at + self.unseen <= self.now for each in self.log), hung=not self.hanging)


def gtids(number: int, *, hung: bool) -> str:
    """So many commits, and the one that hangs."""
    return ",".join([*([f"{UUID}:1-{number}"] if number else []), *([HANGS] if hung else [])])


def apply(rows: Contents, changes: Mapping[Key, Optional[str]]) -> None:
    for key, value in changes.items():
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value


class Server:
    """A session on the primary."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.usable = True
        self.statements = 0
        self.fails_at: Optional[int] = None
        self.fails_with = StatementFailed("sql_error", f"{name}: broken", errno=1290, evidence={"member": name})
        self.closes = False
        self.damaged = False

    @property
    def rows(self) -> Contents:
        return self.world.rows

    @property
    def executed(self) -> str:
        return self.world.executed()

    def _waited(self, wanted: str, patience: float) -> list[Any]:
        ends = self.world.now + patience
        while GtidSet.parse(wanted) - GtidSet.parse(self.executed):
            if self.world.now >= ends:
                return [{"late": 1}]
            self.world.sleep(min(POLL, ends - self.world.now))
        return [{"late": 0}]

    def query(self, sql: str, values: Sequence[Any] = (), *, within: float, secret: bool = False) -> list[Any]:
        if not self.usable:
            raise StatementFailed("connection_lost", f"{self.name}: gone", evidence={"member": self.name})
        self.statements += 1
        self.world.now += STATEMENT
        self.world.writer(self.world)
        self.world.acknowledge()
        if self.fails_at is not None and self.statements >= self.fails_at:
            self.fails_at = None
            if self.closes:
                self.close()
            raise self.fails_with
        answer = self.answer(sql, values)
        self.world.longest_answer = max(self.world.longest_answer, len(answer))
        return answer

    def close(self) -> None:
        """The server rolls back what a connection leaves behind."""
        self.usable = False
        self.world.release()

    def one(self, sql: str, values: Sequence[Any] = (), *, within: float) -> Any:
        rows = self.query(sql, values, within=within)
        return rows[0] if rows else {}

    def execute(self, sql: str, values: Sequence[Any] = (), *, within: float) -> None:
        self.query(sql, values, within=within)

    def answer(self, sql: str, values: Sequence[Any]) -> list[Any]:
        if sql == "aggregate":
            inside = [(key, value) for key, value in self.rows.items() if _holds(values[0], key)]
            digest = 0
            for item in inside:
                digest ^= hash(item)
            return [{"number": len(inside), "digest": digest}]
        if sql == "rows_of":
            found = [self._row(key) for key in sorted(self.rows) if _holds(values[0], key)][: values[1] + 1]
            return found * 2 if self.damaged else found
        if sql == "boundary":
            keys = [key for key in sorted(self.rows) if _holds(values[0], key)]
            return [self._row(keys[values[1] - 1])] if len(keys) >= values[1] else []
        if sql == "edges":
            numbers = [key[0] for key in self.rows]
            return [{"least": min(numbers, default=None), "most": max(numbers, default=None)}]
        if sql == "rows_at":
            found = [self._row(key) for key in values[0] if key in self.rows]
            if values[1]:
                self.world.lock(frozenset(key for key in values[0] if key in self.rows))
            return found * 2 if self.damaged else found
        if sql == "details_at":
            return [self._row(key) for key in values[0] if key in self.rows]
        if "gtid_executed" in sql:
            return [{"gtids": self.executed}]
        if "WAIT_FOR_EXECUTED_GTID_SET" in sql:
            return self._waited(str(values[0]), values[1])
        if "wait_timeout" in sql:
            return [{"seconds": 28800}]
        if sql.startswith("START TRANSACTION"):
            return []
        assert sql == "ROLLBACK", sql
        self.world.release()
        return []

    def _row(self, key: Key) -> dict[str, Any]:
        parts = {f"k{place}": part for place, part in enumerate(key)}
        names = {f"n{place}": str(part) for place, part in enumerate(key)}
        values = {f"d{place}": part for place, part in enumerate((*key, self.rows[key]))}
        return {**parts, **names, **values, "content": self.rows[key]}


class Replica(Server):
    """:param lag: seconds, or a function of the time.
    :param planted: what was changed there behind replication's back."""

    def __init__(
        self,
        world: World,
        name: str,
        rows: Contents,
        *,
        lag: float = 0.0,
        planted: Optional[Mapping[Key, Optional[str]]] = None,
    ) -> None:
        super().__init__(world, name)
        self._rows = dict(rows)
        apply(self._rows, planted or {})
        self.lag = lag
        self.done = 0
        self.stands_still = False
        self.overwrites = True
        """Or what it executes changes nothing."""
        self.ahead = False
        world.replicas[name] = self

    @property
    def rows(self) -> Contents:
        return self._rows

    @property
    def executed(self) -> str:
        self.apply()
        return gtids(self.done, hung=self.ahead or not self.world.hanging)

    def apply(self) -> None:
        if self.world.hanging and not self.ahead:
            self.ahead = True
            apply(self._rows, self.world.hanging)
        while self.done < len(self.world.log) and not self.stands_still:
            commit = self.world.log[self.done]
            if commit.at + self.lag > self.world.now:
                return
            if any((key in commit.before) != (key in self._rows) for key in commit.changes):
                self.stands_still = True  # no such row (1032), or one that is there already (1062)
                return
            if self.overwrites:
                apply(self._rows, commit.changes)
            self.done += 1

    def answer(self, sql: str, values: Sequence[Any]) -> list[Any]:
        self.apply()
        return super().answer(sql, values)


def _holds(range_: Range, key: Key) -> bool:
    return (range_.after is None or key > range_.after) and (range_.upto is None or key <= range_.upto)


def serially(work: Mapping[str, Callable[[], Any]], *, within: float) -> dict[str, Any]:
    """As ``in_parallel``, in an order that is always the same."""
    found: dict[str, Any] = {}
    for name, function in work.items():
        try:
            found[name] = function()
        except HaError as error:
            found[name] = error
    return found


def compare(world: World, layout: Layout = NUMBERED, **limits: Any) -> dict[str, TableResult]:
    """A run of the whole-table mode."""
    patience = limits.pop("catch_up", 60.0)
    lock, listed = limits.pop("lock", 2.0), limits.pop("listed", 100)
    given = whole.Limits(recheck.Limits(catch_up=patience, lock=lock, listed=listed), **limits)
    with mock.patch.object(whole, "in_parallel", serially):
        return whole.WholeTable(
            Asked(Named("s", "t"), layout),
            world.primary,  # type: ignore[arg-type]
            world.replicas,  # type: ignore[arg-type]
            given,
            reveal=False,
            clock=world.clock,
            sleep=world.sleep,
        ).run()


def rechecking(world: World, replica: Replica, layout: Layout = NUMBERED, **limits: Any) -> Recheck:
    return Recheck(
        Asked(Named("s", "t"), layout),
        world.primary,  # type: ignore[arg-type]
        replica,  # type: ignore[arg-type]
        recheck.Limits(**limits),
        reveal=False,
        clock=world.clock,
        sleep=world.sleep,
    )
