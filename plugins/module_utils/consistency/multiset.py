# SPDX-License-Identifier: BSD-2-Clause
"""A table without a key that could name its rows: compared as a set in which a row may be several times.

There is nothing by which such a table could be read in pieces: each question reads all of it. So it is refused beyond a
size, and asked few questions, however much differs. Where the sums differ, the rows are divided into parts by the first
letters of their digests, and the parts that differ are divided again, as long as they are large. In those that are left
the digests are listed, as many at once as there is room for, each with the number of rows that have it; and the digests
that are not there equally often are counted again, all of them together, until they are settled.
"""

from __future__ import annotations

import dataclasses
import time
from contextlib import suppress
from typing import Any, Callable, Mapping, Sequence

from ..server.executed import executed, wait_executed
from ..server.session import Row, Session, StatementFailed
from . import findings, recheck, settle
from .failures import AHEAD, said_of
from .findings import COUNT, Difference, TableResult
from .lookup import Statement
from .questions import Table
from .recheck import CONFIRMED_BY, PAUSES, Lagging
from .settle import Open, Settling

_MOST_DIGESTS = 20_000
"""Different rows that are listed at once. Half as many are counted on: more may have come since."""
_LETTERS = 3
"""By so many letters a table is divided first, 4096 parts, and then by one at a time."""
_A_LETTER = 16
"""Parts that a letter more makes of one; and the rows of a part that is small."""
_OFTEN = 10
"""A row that is there so often is soon found."""


class _Stopped(Exception):
    """The table is not read to its end; the message says why."""


class _TooMany(_Stopped):
    """There is no room for so many rows."""


class _Ahead(Exception):
    """The replica has what the primary has not executed: nobody knows what is right."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """``rows``: of a table at most, as the server estimates them. ``differences``: after so many it is not read to its
    end. ``until``: the clock's time at which the run ends."""

    rechecking: recheck.Limits = recheck.Limits()
    rows: int = 1_000_000
    differences: int = 10_000
    until: float = float("inf")


@dataclasses.dataclass(frozen=True)
class Parts:
    """Parts of a table that are not the same on both, and which of them are looked at next. Pure.

    :param rows: how many there are in each part, by the first letters of their digests: as many for every part.
    :param shrinking: when they were divided the last time, they became smaller. Rows that are all the same do not.
    """

    rows: Mapping[str, int]
    shrinking: bool = True

    @property
    def number(self) -> int:
        """Rows of all these parts."""
        return sum(self.rows.values())

    @property
    def to_divide(self) -> bool:
        """Whether that saves more questions than it costs, before their rows are listed."""
        return self.shrinking and self.number > max(_MOST_DIGESTS // 2, _A_LETTER * len(self.rows))

    def cut(self, parts: int, rows: float = float("inf")) -> tuple[Parts, Parts]:
        """The first of them, so many with so many rows at most and one at least; and the others."""
        taken: dict[str, int] = {}
        number = 0
        for prefix, each in self.rows.items():
            number += each
            if taken and (len(taken) >= parts or number > rows):
                break
            taken[prefix] = each
        left = {prefix: each for prefix, each in self.rows.items() if prefix not in taken}
        return dataclasses.replace(self, rows=taken), dataclasses.replace(self, rows=left)

    def divided(self, rows: Mapping[str, int]) -> Parts:
        """What is left of them when these parts of them differ: ``rows`` as above, with more letters."""
        left = sum(rows.values())
        # Of the mean part, for many rows that differ leave many parts.
        return Parts(rows, shrinking=2 * left * len(self.rows) <= self.number * len(rows))


class Multiset:
    """One table without a key, between the primary and one replica.

    :param before_question: called before each time that both are asked something of all of the table.
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
        self._most = 0
        """Rows of the table, on the server that has more of them."""

    def run(self, estimate: int) -> TableResult:
        """Never raises for what a server does: that is its verdict. ``estimate``: rows, as the server has it."""
        began = self._clock()
        try:
            said = self._run(estimate)
        except Lagging as error:
            said = self._said(
                findings.LAGGING, "replica_late", str(error), "See why its applier is late; then run again."
            )
        except _Ahead:
            said = self._said(*AHEAD)
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
        # Without so many looks nothing at all would be known of it, however often the run is begun again.
        with suppress(_Stopped):
            self._rounds(settling, self._totals, self._table.multiset, always=settle.CONFIRMED_BY)
        if not settling.open:
            return self._said(findings.PASS)
        if not settling.settled:
            return self._restless()
        self._once_more(settling, self._totals, self._table.multiset)
        return self._differs() if settling.open else self._said(findings.PASS)

    def _differs(self) -> TableResult:
        found: dict[str, Open] = {}
        number = restless = 0
        stopped = ""
        capped = False
        parts = max(self._limits.differences, 1)
        try:
            waiting = _not_empty(self._divided(Parts({"": self._most}), _LETTERS))
            while waiting:
                if number >= self._limits.differences:
                    raise _Stopped("so much differs that it was not read to its end")
                rows = self._settled(self._doubtful(waiting, parts))
                number += len(rows.different)
                restless += len(rows.restless)
                room = self._limits.rechecking.listed - len(found)
                found.update(sorted(rows.different.items())[: max(room, 0)])
                # Where rows are in flight, a part that differs may hold none that does.
                parts *= 2
        except _Stopped as error:
            stopped, capped = str(error), isinstance(error, _TooMany)
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
            differences=self._differences(found),
            covered=0.0 if stopped else 1.0,
        )

    def _doubtful(self, waiting: list[Parts], parts: int) -> list[str]:
        """Digests of rows that are not there equally often, in one look.

        :param waiting: whose last are looked at next; what is looked at is taken away, what it is divided into added.
        :param parts: so many are listed, unless there is no room for more rows: each holds one that differs.
        """
        found: list[str] = []
        while waiting and parts > 0 and len(found) <= _MOST_DIGESTS // 2:
            its = waiting.pop()
            if its.to_divide:
                now, later = its.cut(_MOST_DIGESTS // _A_LETTER)
                waiting += _not_empty(later, self._divided(now, 1))
            else:
                now, later = its.cut(parts, _MOST_DIGESTS // 2)
                waiting += _not_empty(later)
                parts -= len(now.rows)
                found += self._unequal(now)
        return found

    def _divided(self, parts: Parts, letters: int) -> Parts:
        """What differs of these, by so many letters more."""
        prefixes = [prefix for prefix in parts.rows if prefix]
        there, here = self._look(self._table.buckets(prefixes, letters))
        looked: Settling[str] = Settling()
        looked.see(_contents(there, "bucket"), _contents(here, "bucket"))
        rows: dict[str, int] = dict.fromkeys(sorted(looked.open or ()), 0)
        for row in (*there, *here):
            if row["bucket"] in rows:
                rows[row["bucket"]] = max(rows[row["bucket"]], int(row["number"]))
        return parts.divided(rows)

    def _unequal(self, parts: Parts) -> list[str]:
        """Digests of the rows of these parts that are not there equally often, in one look.

        :raises _TooMany: there are more different rows than were counted before, and than there is room for.
        """
        there, here = self._look(self._table.digests(list(parts.rows), _MOST_DIGESTS))
        if max(len(there), len(here)) > _MOST_DIGESTS:
            raise _TooMany(f"more than {_MOST_DIGESTS} different rows in one of its parts")
        looked: Settling[str] = Settling()
        looked.see(_contents(there, "identity"), _contents(here, "identity"))
        return sorted(looked.open or ())

    def _settled(self, identities: Sequence[str]) -> Settling[str]:
        """Rows with these digests, counted until each is there equally often, or is not, or keeps changing."""
        rows: Settling[str] = Settling(CONFIRMED_BY)

        def question() -> Statement:
            left = identities if rows.open is None else list(rows.open)
            return self._table.digests(left, len(left))

        if identities:
            self._rounds(rows, _identities, question)
            if rows.different:
                self._once_more(rows, _identities, question)
        return rows

    def _once_more(
        self,
        settling: Settling[str],
        contents: Callable[[Sequence[Row]], Mapping[str, str]],
        question: Callable[[], Statement],
    ) -> None:
        """Another look, when the primary has executed what the replica had. Errors as ``_look``.

        :raises _Ahead: it has not, in time.
        """
        limits = self._limits.rechecking
        if limits.exact:
            return
        if recheck.is_ahead(self._primary, self._replica, limits, limits.catch_up):
            raise _Ahead
        there, here = self._look(question(), always=True)
        settling.see(contents(there), contents(here))

    def _differences(self, found: Mapping[str, Open]) -> tuple[Difference, ...]:
        shown = self._shown(found) if self._reveal else {}
        told = []
        for identity, each in found.items():
            values = shown.get(identity, {})
            there, here = {**values, "rows": each.there or "0"}, {**values, "rows": each.here or "0"}
            told.append(Difference({"digest": identity[:32]}, COUNT, (), there, here))
        return tuple(told)

    def _shown(self, found: Mapping[str, Open]) -> dict[str, dict[str, Any]]:
        """The values of rows, by their digests; a row that has gone since is left out.

        Each server is asked once, and by themselves for rows that are there often: their first one will do.
        """
        values: dict[str, dict[str, Any]] = {}
        primarys = {identity: int(each.there) for identity, each in found.items() if each.there}
        replicas = {identity: int(each.here) for identity, each in found.items() if each.here and not each.there}
        for side, its in ((self._primary, primarys), (self._replica, replicas)):
            few = {identity: times for identity, times in its.items() if times <= _OFTEN}
            # One more of each may have come since.
            questions = [self._table.shown_with(list(few), sum(few.values()) + len(few))] if few else []
            questions += [self._table.shown_with([identity], 1) for identity in its if identity not in few]
            for question in questions:
                self._before_question()
                for row in side.query(*question, within=self._limits.rechecking.statement):
                    values[str(row["identity"])] = self._table.values(row, self._table.columns)
        return values

    def _restless(self) -> TableResult:
        return self._said(
            findings.UNSTABLE,
            "rows_restless",
            "it kept changing while it was read",
            "Run again when it is written less often, or give it a primary key.",
        )

    def _rounds(
        self,
        settling: Settling[str],
        contents: Callable[[Sequence[Row]], Mapping[str, str]],
        question: Callable[[], Statement],
        *,
        always: int = 0,
    ) -> None:
        """Both asked in rounds, until it is settled. Errors as ``_look``.

        :param contents: what an answer says, by identity. ``question``: called for each round.
        :param always: so many rounds there are, if it is not settled before, whatever the time.
        """
        exact = self._limits.rechecking.exact
        for number, pause in enumerate(PAUSES[:1] if exact else PAUSES):
            if pause:
                self._sleep(pause)
            there, here = self._look(question(), always=number < always)
            for _time in range(CONFIRMED_BY if exact else 1):
                settling.see(contents(there), contents(here))
            if settling.settled:
                return

    def _look(self, question: Statement, *, always: bool = False) -> tuple[Sequence[Row], Sequence[Row]]:
        """What both answer, the replica once it has executed what the primary had.

        :param always: also when the time for this run is over.
        :raises _Stopped: it is over. ``Lagging``: the replica does not catch up.
        :raises StatementFailed: a server did not answer.
        """
        limits = self._limits.rechecking
        self._before_question()
        if self._clock() >= self._limits.until and not always:
            raise _Stopped("the time for this run is over")
        there = self._primary.query(*question, within=limits.statement)
        if not limits.exact:
            gtids = executed(self._primary, within=limits.statement)
            if not wait_executed(self._replica, gtids, patience=limits.catch_up, statement=limits.statement):
                raise Lagging(f"it did not catch up within {limits.catch_up:g} s")
        return there, self._replica.query(*question, within=limits.statement)

    def _totals(self, rows: Sequence[Row]) -> Mapping[str, str]:
        self._rows = int(rows[0]["number"])
        self._most = max(self._most, self._rows)
        return {"": _content(rows[0])}

    def _said(self, verdict: str, code: str = "", why: str = "", next_step: str = "") -> TableResult:
        named = self._table.named
        return TableResult(named.schema, named.table, self._replica.name, findings.WHOLE, verdict, code, why, next_step)


def _not_empty(*parts: Parts) -> list[Parts]:
    return [each for each in parts if each.rows]


def _identities(rows: Sequence[Row]) -> Mapping[str, str]:
    return _contents(rows, "identity")


def _contents(rows: Sequence[Row], name: str) -> dict[str, str]:
    """By what they are called so: what must be the same on both."""
    return {str(row[name]): _content(row) for row in rows}


def _content(row: Row) -> str:
    if "content" in row:
        return str(row["content"])
    return f"{row['number']} rows, {row.get('digest', '')} {row['total']}"
