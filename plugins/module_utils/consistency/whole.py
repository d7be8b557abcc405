# SPDX-License-Identifier: BSD-2-Clause
"""A whole table, range by range: a digest of each from both servers; where they differ, down to the rows.

Each range is read on the primary, then every replica catches up and reads it. A range in which a replica differs is cut
into small ones, of which both list their rows; the keys that differ go to ``recheck``. On a busy table most ranges
differ at first, for rows are in flight.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Callable, Mapping, Optional

from ..errors import HaError
from ..server.executed import executed, wait_executed
from ..server.session import Row, Session, StatementFailed
from ..topology.observe import in_parallel
from . import findings, recheck
from .chunks import Counter, Size, counted
from .failures import AHEAD, said_of
from .findings import TableResult
from .lookup import Bound, Range, Statement, Unfit
from .questions import Key, Rows, Table
from .recheck import Lagging, Recheck

PAUSED = "it goes on in the next part of this run"
SMALL = 2_000
"""Rows of a range whose rows are listed."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """``rows`` and ``seconds`` of a range at most; ``differences``: a table with so many is not read to its end.
    ``until``: the clock's time at which the run ends."""

    rechecking: recheck.Limits = recheck.Limits()
    rows: int = 100_000
    seconds: float = 0.4
    differences: int = 10_000
    until: float = float("inf")


@dataclasses.dataclass
class Compared:
    """One replica, and what was found on it so far."""

    session: Session
    recheck: Recheck
    lagging: int = 0
    seconds: float = 0.0
    """How long it read the last range."""
    problem: Optional[TableResult] = None

    @property
    def done(self) -> bool:
        return self.problem is not None

    @property
    def doubtful(self) -> bool:
        """Something of what was read so far is not known to be the same."""
        again = self.recheck
        return bool(
            self.done or self.lagging or again.pending or again.difference_count or again.restless or again.ahead
        )


@dataclasses.dataclass(frozen=True)
class Reached:
    """How far a table was compared: everything up to ``upto``. ``clean``: and all of it was the same everywhere."""

    upto: Bound
    rows: int
    covered: float
    clean: bool


class WholeTable:
    """One table with a key, on the primary and its replicas.

    :param before_range: called before each range: holds the run back while the servers are busy.
    :param reached: called after each range; true: go no further, for the rest is for later (``PAUSED``).
    :param after: where an earlier run of the same table got to, and ``rows`` that it had compared.
    """

    mode = findings.WHOLE

    def __init__(
        self,
        table: Table,
        primary: Session,
        replicas: Mapping[str, Session],
        limits: Limits,
        *,
        reveal: bool = False,
        after: Bound = None,
        rows: int = 0,
        before_range: Callable[[], None] = lambda: None,
        reached: Callable[[Reached], bool] = lambda reached: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table = table
        self._primary = primary
        self._limits = limits
        self._after = after
        self._before_range = before_range
        self._reached = reached
        self._clock = clock
        self.keys: dict[str, list[Key]] = {}
        self._rows = rows
        self._covered = 0.0
        self._replicas = {
            name: Compared(
                session,
                Recheck(table, primary, session, limits.rechecking, reveal=reveal, clock=clock, sleep=sleep),
            )
            for name, session in replicas.items()
        }

    def run(self) -> dict[str, TableResult]:
        """By replica. Never raises for what one server does: that is its verdict.

        Afterwards ``keys`` are those of the differences that are listed, by replica.
        """
        started = self._clock()
        stopped = ""
        try:
            stopped = self._all()
            for replica in self._replicas.values():
                if not replica.done:
                    self._guarded(replica, replica.recheck.flush)
        except (HaError, Unfit) as error:
            self._everybody_fails(error)
        seconds = round(self._clock() - started, 3)
        return {name: self._result(name, replica, stopped, seconds) for name, replica in self._replicas.items()}

    # --- ranges ------------------------------------------------------------------------------------------------------
    def _all(self) -> str:
        """:returns: why it was not read to its end; empty when it was."""
        size = Size(self._limits.seconds, self._limits.rows)
        counter = self._counter()
        after = self._after
        while True:
            if self._clock() >= self._limits.until:
                return "the time for this run is over"
            if all(self._enough(replica) for replica in self._replicas.values()):
                return "so much differs that it was not read to its end"
            self._before_range()
            upto = self._end(counter, after, size.rows)
            rows, seconds = self._range(Range(after, upto))
            size.took(rows, seconds)
            if counter:
                counter.found(rows)
                self._covered = counter.covered()
            self._rows += rows
            if upto is None:
                self._covered = 1.0
                return ""
            after = upto
            clean = not any(replica.doubtful for replica in self._replicas.values())
            if self._reached(Reached(after, self._rows, self._covered, clean)):
                return PAUSED

    def _enough(self, replica: Compared) -> bool:
        return replica.done or replica.recheck.difference_count >= self._limits.differences

    def _counter(self) -> Optional[Counter]:
        if not counted(self._table.layout):
            return None
        row = self._ask(self._primary, self._table.edges())
        if row["least"] is None:
            return None
        counter = Counter(int(row["least"]), int(row["most"]))
        counter.start(self._after)
        return counter

    def _end(self, counter: Optional[Counter], after: Bound, rows: int) -> Bound:
        """Where the next range ends; None: behind everything."""
        upto = counter.next(rows) if counter else None
        if upto is None:
            behind, number = counter.beyond(after, rows) if counter else (after, rows)
            upto = self._boundary(Range(behind, None), number)
            if counter and upto is not None:
                counter.start(upto)
        return upto

    def _boundary(self, range_: Range, number: int) -> Bound:
        """The key of the row with that number; None when the range has not so many on the primary."""
        row = self._ask(self._primary, self._table.boundary(range_, number))
        return self._table.key_of(row) if row else None

    def _range(self, range_: Range) -> tuple[int, float]:
        """Compare a range with every replica.

        :returns: its rows on the primary, and how long the slowest server read it; waiting for a replica is no reason
            for smaller ranges.
        """
        question = self._table.aggregate(range_)
        began = self._clock()
        there = self._ask(self._primary, question)
        seconds = self._clock() - began
        gtids = self._executed()
        asked: dict[str, Callable[[], Optional[bool]]] = {
            name: functools.partial(self._same, replica, gtids, question, there)
            for name, replica in self._replicas.items()
            if not self._enough(replica)
        }
        patience = self._limits.rechecking.catch_up + 2 * self._statement
        for name, same in in_parallel(asked, within=patience).items():
            replica = self._replicas[name]
            if isinstance(same, HaError):
                replica.problem = self._failed(name, same)
            elif same is None:
                replica.lagging += 1
            elif not same:
                self._guarded(replica, functools.partial(self._narrow, replica, range_))
        return int(there["number"]), max([seconds, *(self._replicas[name].seconds for name in asked)])

    def _same(self, replica: Compared, gtids: str, question: Statement, there: Row) -> Optional[bool]:
        """None: it did not catch up."""
        limits = self._limits.rechecking
        if not limits.exact and not wait_executed(
            replica.session, gtids, patience=limits.catch_up, statement=limits.statement
        ):
            return None
        began = self._clock()
        same = self._ask(replica.session, question) == there
        replica.seconds = self._clock() - began
        return same

    # --- where a replica differs -------------------------------------------------------------------------------------
    def _narrow(self, replica: Compared, range_: Range) -> None:
        """Cut a range into small ones, and list the rows of those that differ."""
        after = range_.after
        while not self._enough(replica):
            if self._limits.rechecking.exact:
                self._before_range()
            boundary = self._boundary(Range(after, range_.upto), SMALL)
            self._small(replica, Range(after, boundary or range_.upto))
            if boundary is None:
                return
            after = boundary

    def _small(self, replica: Compared, range_: Range) -> None:
        question = self._table.aggregate(range_)
        there = self._ask(self._primary, question)
        gtids = self._executed()
        same = self._same(replica, gtids, question, there)
        if same:
            return
        if same is None:
            raise Lagging("it did not catch up")
        # Listed as they are now: whatever is in flight meanwhile is sorted out row by row.
        theirs, ours = self._list(self._primary, range_), self._list(replica.session, range_)
        replica.recheck.add([key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)])
        if max(len(theirs), len(ours)) > self._listed:
            replica.recheck.restless += 1  # rows came in faster than they could be listed, and not all were looked at

    @property
    def _listed(self) -> int:
        """Rows of a small range that are listed at most."""
        return self._limits.differences + SMALL

    def _list(self, session: Session, range_: Range) -> Rows:
        sql, values = self._table.rows_of(range_, self._listed)
        return self._table.read(session.query(sql, values, within=self._statement))

    # --- asking and telling ------------------------------------------------------------------------------------------
    @property
    def _statement(self) -> float:
        return self._limits.rechecking.statement

    def _executed(self) -> str:
        """What the replicas have to have executed before they are read."""
        return "" if self._limits.rechecking.exact else executed(self._primary, within=self._statement)

    def _ask(self, session: Session, question: Statement) -> Row:
        return session.one(*question, within=self._statement)

    def _guarded(self, replica: Compared, work: Callable[[], None]) -> None:
        """What goes wrong with one replica stops nothing but its own comparison."""
        try:
            work()
        except Lagging:
            replica.lagging += 1
        except StatementFailed as error:
            if error.evidence.get("member") == self._primary.name:
                raise
            replica.problem = self._failed(replica.session.name, error)
        except Unfit as error:
            replica.problem = self._failed(replica.session.name, error)

    def _everybody_fails(self, error: Exception) -> None:
        for name, replica in self._replicas.items():
            if not replica.done:
                replica.problem = self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> TableResult:
        return self._said(name, *said_of(error, exact=self._limits.rechecking.exact))

    def _said(self, name: str, verdict: str, code: str = "", why: str = "", next_step: str = "") -> TableResult:
        named = self._table.named
        return TableResult(named.schema, named.table, name, self.mode, verdict, code, why, next_step)

    def _result(self, name: str, replica: Compared, stopped: str, seconds: float) -> TableResult:
        again = replica.recheck
        self.keys[name] = list(again.keys)
        if again.difference_count:
            said = self._said(
                name,
                findings.DIFFERENT,
                "rows_differ",
                f"{again.difference_count} rows differ" + (f"; {stopped}" if stopped else ""),
                "See the differences and the repair plan; clone the replica when in doubt.",
            )
        elif replica.problem is not None:
            said = replica.problem
        elif again.ahead:
            said = self._said(name, *AHEAD)
        elif again.restless:
            said = self._said(
                name,
                findings.UNSTABLE,
                "rows_restless",
                f"{again.restless} rows kept changing faster than they could be compared",
                "Run again when they are written less often, or allow a longer lock.",
            )
        elif replica.lagging:
            said = self._said(
                name,
                findings.LAGGING,
                "replica_late",
                f"it did not catch up within {self._limits.rechecking.catch_up:g} s, {replica.lagging} times",
                "See why its applier is late; then run again.",
            )
        elif stopped:
            said = self._said(name, findings.SKIPPED, "not_finished", stopped, "Run again: it goes on from there.")
        else:
            said = self._said(name, findings.PASS)
        return dataclasses.replace(
            said,
            rows=self._rows,
            rechecked=again.rows,
            difference_count=again.difference_count,
            differences=tuple(again.differences),
            covered=round(self._covered, 4),
            seconds=seconds,
        )
