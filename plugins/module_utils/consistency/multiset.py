# SPDX-License-Identifier: BSD-2-Clause
"""A table without a key that could name its rows: compared as a set in which a row may be several times.

There is nothing by which such a table could be read in pieces, so it is read as a whole, and refused beyond a size.
Where the sums differ, the rows are sorted into 256 buckets by their digests, and of the buckets that differ the digests
are listed, each with the number of rows that have it.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Callable, Mapping, Optional

from ..server.executed import executed, wait_executed
from ..server.session import Row, Session, StatementFailed
from . import findings, recheck
from .failures import said_of
from .findings import COUNT, Difference, TableResult
from .lookup import Statement
from .questions import Table
from .recheck import CONFIRMED_BY, PAUSES, Lagging
from .settle import Settling

_MOST_DIGESTS = 20_000
"""Different rows of a bucket that are listed."""
_LETTERS = 2


class _TooMany(Exception):
    """There is no room for so many rows."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """``rows``: of a table at most, as the server estimates them. ``differences``: after so many it is not read to its
    end. ``until``: the clock's time at which the run ends."""

    rechecking: recheck.Limits = recheck.Limits()
    rows: int = 1_000_000
    differences: int = 10_000
    until: float = float("inf")


class Multiset:
    """One table without a key, between the primary and one replica.

    :param before_question: called before each question, of which one reads all of the table.
    """

    def __init__(
        self,
        table: Table,
        primary: Session,
        replica: Session,
        limits: Limits,
        *,
        reveal: bool = False,
        before_question: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table = table
        self._primary = primary
        self._replica = replica
        self._limits = limits
        self._reveal = reveal
        self._before_question = before_question
        self._clock = clock
        self._sleep = sleep
        self._rows = 0

    def run(self, estimate: int) -> TableResult:
        """Never raises for what a server does: that is its verdict. ``estimate``: rows, as the server has it."""
        began = self._clock()
        try:
            said = self._run(estimate)
        except Lagging as error:
            said = self._said(
                findings.LAGGING, "replica_late", str(error), "See why its applier is late; then run again."
            )
        except StatementFailed as error:
            said = self._said(*said_of(error, exact=self._limits.rechecking.exact))
        return dataclasses.replace(said, rows=self._rows, seconds=round(self._clock() - began, 3))

    def _run(self, estimate: int) -> TableResult:
        if estimate > self._limits.rows:
            return self._said(
                findings.SKIPPED,
                "no_key",
                f"about {estimate} rows without a key that could name them; {self._limits.rows} are allowed",
                f"Give {self._table} a primary key, or allow more rows without one.",
            )
        settling: Settling[str] = Settling()
        self._rounds(settling, "all", self._table.multiset())
        if not settling.open:
            return self._said(findings.PASS)
        if not settling.settled:
            return self._restless()
        return self._differs()

    def _differs(self) -> TableResult:
        found: list[Difference] = []
        number = restless = 0
        stopped = ""
        capped = False
        buckets: Settling[str] = Settling()
        self._rounds(buckets, "bucket", self._table.buckets("", _LETTERS))
        for bucket in sorted(buckets.open or ()):
            stopped = self._enough(number)
            if stopped:
                break
            rows: Settling[str] = Settling(CONFIRMED_BY)
            try:
                self._rounds(rows, "identity", self._table.digests(bucket, _MOST_DIGESTS))
            except _TooMany as error:
                stopped, capped = str(error), True
                break
            restless += len(rows.restless)
            number += len(rows.different)
            for identity, each in sorted(rows.different.items()):
                if len(found) < self._limits.rechecking.listed:
                    found.append(self._difference(identity, each.there, each.here))
        if not number and not stopped:
            return self._restless()
        # Where it was stopped before a row was found, the sums of all rows have differed all the same, at rest.
        counted = f"{number} different rows are not there equally often" if number else "its rows are not the same"
        return dataclasses.replace(
            self._said(
                findings.DIFFERENT,
                "too_many_rows" if capped else "rows_differ",
                counted + (f"; {restless} kept changing" if restless else "") + (f"; {stopped}" if stopped else ""),
                "See the differences; clone the replica, and give the table a primary key.",
            ),
            difference_count=max(number, 1),
            differences=tuple(found),
            covered=0.0 if stopped else 1.0,
        )

    def _enough(self, number: int) -> str:
        if number >= self._limits.differences:
            return "so much differs that it was not read to its end"
        return "the time for this run is over" if self._clock() >= self._limits.until else ""

    def _difference(self, identity: str, there: Optional[str], here: Optional[str]) -> Difference:
        times = {"rows": there or "0"}, {"rows": here or "0"}
        if self._reveal:
            side = self._primary if there else self._replica
            row = side.one(*self._table.shown_with(identity), within=self._limits.rechecking.statement)
            shown = self._table.values(row, self._table.columns) if row else {}
            times = {**shown, **times[0]}, {**shown, **times[1]}
        return Difference({"digest": identity[:32]}, COUNT, (), *times)

    def _restless(self) -> TableResult:
        return self._said(
            findings.UNSTABLE,
            "rows_restless",
            "it kept changing while it was read",
            "Run again when it is written less often, or give it a primary key.",
        )

    def _rounds(self, settling: Settling[str], identity: str, question: Statement) -> None:
        self._before_question()
        limits = self._limits.rechecking
        if limits.exact:
            there, here = (self._answer(each, identity, question) for each in (self._primary, self._replica))
            for _time in range(CONFIRMED_BY):
                settling.see(there, here)
            return
        for pause in PAUSES:
            if pause:
                self._sleep(pause)
            there = self._answer(self._primary, identity, question)
            gtids = executed(self._primary, within=limits.statement)
            if not wait_executed(self._replica, gtids, patience=limits.catch_up, statement=limits.statement):
                raise Lagging(f"it did not catch up within {limits.catch_up:g} s")
            settling.see(there, self._answer(self._replica, identity, question))
            if settling.settled:
                return

    def _answer(self, session: Session, identity: str, question: Statement) -> Mapping[str, str]:
        rows = session.query(*question, within=self._limits.rechecking.statement)
        if identity == "all":
            self._rows = int(rows[0]["number"])
        elif identity == "identity" and len(rows) > _MOST_DIGESTS:
            raise _TooMany(f"more than {_MOST_DIGESTS} different rows in one of 256 parts")
        return {str(row.get(identity, "")): _content(row) for row in rows}

    def _said(self, verdict: str, code: str = "", why: str = "", next_step: str = "") -> TableResult:
        named = self._table.named
        return TableResult(named.schema, named.table, self._replica.name, findings.WHOLE, verdict, code, why, next_step)


def _content(row: Row) -> str:
    if "content" in row:
        return str(row["content"])
    return f"{row['number']} rows, {row.get('digest', '')} {row['total']}"
