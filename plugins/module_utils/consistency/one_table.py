# SPDX-License-Identifier: BSD-2-Clause
"""One table in one mode, on the primary and its replicas: is it the same table, and does it hold the same."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, Callable, Mapping, Optional, Sequence

from ..errors import HaError
from ..server.session import Session, StatementFailed
from . import findings, multiset, recheck, repair, whole
from .barrier import executed, wait_executed
from .checkpoint import Place, State, name_of
from .chunks import ordered
from .findings import TableResult
from .layout import Layout, layout_difference
from .lookup import Unfit
from .questions import Named, Table
from .tables import Listed, layout
from .whole import Reached, WholeTable

_SAVE_EVERY = 10.0
"""Seconds between two checkpoints within a table."""
_LAYOUT_PAUSES = (0.0, 0.5, 2.0)
"""Seconds before each look at a table that is not the same on both: its definition may be on its way."""


@dataclasses.dataclass(frozen=True)
class How:
    """What is the same for all tables of a run: limits, the clock, and whom to tell. See ``run.Limits``."""

    rechecking: recheck.Limits
    differences: int
    rows_without_key: int
    until: float
    reveal: bool
    before_range: Callable[[], None]
    save: Callable[[State], None]
    say: Callable[[str], None]
    clock: Callable[[], float]
    sleep: Callable[[float], None]


class OneTable:
    """``compare`` it once. ``repair``: what a person may do afterwards, for each replica on which it differs."""

    def __init__(self, listed: Listed, mode: str, there: Session, how: How, state: State) -> None:
        self._named = listed.named
        self._estimate = listed.estimate
        self._mode = mode
        self._there = there
        self._how = how
        self._state = state
        self._rechecking = dataclasses.replace(how.rechecking, exact=mode == findings.SNAPSHOT)
        self.repair: list[dict[str, Any]] = []

    def compare(self, sessions: Mapping[str, Session]) -> dict[str, TableResult]:
        """By replica. Never raises for what a server does: that is its verdict, or everybody's for the primary."""
        named, mode, how = self._named, self._mode, self._how
        if how.clock() >= how.until:
            return {name: _unread(named, name, mode) for name in sessions}
        results: dict[str, TableResult] = {}
        layouts: dict[str, Layout] = {}
        for name, session in sessions.items():
            try:
                said, found = self._layout(session)
            except StatementFailed as error:
                said, found = _failed(named, name, mode, error), None
            if said is not None:
                results[name] = said
            elif found is not None:
                layouts[name] = found
        # Of more than one kind only when it was changed between two looks.
        for kind in dict.fromkeys(layouts.values()):
            table = Table(named, kind)
            same = {name: sessions[name] for name in layouts if layouts[name] == kind}
            for name, result in self._rows(table, same).items():
                results[name] = dataclasses.replace(result, mode=mode)
                plan = repair.plan(results[name], kind)
                if plan is not None:
                    self.repair.append(plan)
        return results

    def _rows(self, table: Table, sessions: Mapping[str, Session]) -> dict[str, TableResult]:
        """By replica, what was found of its rows, unless the table became another one meanwhile."""
        try:
            found = self._whole(table, sessions)
        except StatementFailed as error:
            found = {name: _failed(self._named, name, self._mode, error) for name in sessions}
        except Unfit as error:
            unfit = HaError("rows_unreadable", str(error), next_step="Check the table (CHECK TABLE).")
            found = {name: _failed(self._named, name, self._mode, unfit) for name in sessions}
        return {name: self._still_so(table, sessions[name], result) for name, result in found.items()}

    def _still_so(self, table: Table, here: Session, result: TableResult) -> TableResult:
        """Rows that are the same by columns of before are not known to be the same now; and an error may only say that
        the table is no more."""
        if self._rechecking.exact or result.verdict not in (findings.PASS, findings.ERROR) or not here.usable:
            return result
        try:
            if layout(self._there, self._named, within=self._rechecking.statement) == table.layout:
                return result
            said, _same = self._layout(here)
        except StatementFailed as error:
            return _failed(self._named, here.name, self._mode, error)
        return said or _changed(self._named, here.name, self._mode)

    def _layout(self, here: Session) -> tuple[Optional[TableResult], Optional[Layout]]:
        """The table as both have it; else the verdict that they do not have the same."""
        named, mode, there = self._named, self._mode, self._there
        limits = self._rechecking
        within = limits.statement
        what = ""
        columns: tuple[str, ...] = ()
        for pause in _LAYOUT_PAUSES[: 1 if limits.exact else None]:
            self._how.sleep(pause)
            theirs = layout(there, named, within=within)
            if not limits.exact:
                gtids = executed(there, within=within)
                if not wait_executed(here, gtids, patience=limits.catch_up, statement=within):
                    return _late(named, here.name, mode, limits.catch_up), None
            ours = layout(here, named, within=within)
            what, columns = layout_difference(theirs, ours)
            if not what:
                # Dropped meanwhile on both: there is nothing to compare, and nothing that differs.
                return (None, theirs) if theirs else (_gone(named, here.name, mode), None)
        told = {
            "only_on_primary": f"{here.name} has no such table",
            "only_on_returning": f"only {here.name} has this table",
            "keys": "its unique keys are not the same",
        }.get(what, f"columns that are not the same: {', '.join(columns)}")
        step = "Compare SHOW CREATE TABLE on both; clone the replica."
        said = TableResult(
            named.schema, named.table, here.name, mode, findings.SCHEMA_DIFFERS, what, told, step, covered=0.0
        )
        return said, None

    def _whole(self, table: Table, sessions: Mapping[str, Session]) -> dict[str, TableResult]:
        how = self._how
        if ordered(table.layout):
            return self._by_ranges(table, sessions)
        bounds = multiset.Limits(self._rechecking, how.rows_without_key, how.differences, how.until)
        found = {}
        for name, session in sessions.items():
            how.before_range()
            comparing = multiset.Multiset(
                table, self._there, session, bounds, reveal=how.reveal, clock=how.clock, sleep=how.sleep
            )
            found[name] = comparing.run(self._estimate)
        return found

    def _by_ranges(self, table: Table, sessions: Mapping[str, Session]) -> dict[str, TableResult]:
        how, state = self._how, self._state
        resumable = not self._rechecking.exact
        name = name_of(self._mode, *self._named)
        kind = hashlib.sha256(repr(table.layout).encode()).hexdigest()
        place = state.place if resumable else None
        if place is not None and (place.table != name or place.layout != kind or {*sessions} - {*place.replicas}):
            place = None  # of another table, or not of all these replicas
        rows_before = place.rows if place else 0
        saved = how.clock()

        def reached(how_far: Reached) -> None:
            nonlocal saved
            rows = rows_before + how_far.rows
            if how_far.clean and resumable and how_far.upto is not None:
                state.place = Place(name, kind, sorted(sessions), _kept(how_far.upto), rows)
            if how.clock() - saved < _SAVE_EVERY:
                return
            saved = how.clock()
            how.say(f"{table}: {rows} rows, {how_far.covered:.0%}")
            how.save(state)

        found = WholeTable(
            table,
            self._there,
            sessions,
            whole.Limits(self._rechecking, differences=how.differences, until=how.until),
            reveal=how.reveal,
            after=_bound(place.after) if place else None,
            before_range=how.before_range,
            reached=reached,
            clock=how.clock,
            sleep=how.sleep,
        ).run()
        return {name: dataclasses.replace(each, rows=rows_before + each.rows) for name, each in found.items()}


def _kept(key: Sequence[Any]) -> list[Any]:
    """A key as JSON has it."""
    return [{"hex": value.hex()} if isinstance(value, bytes) else value for value in key]


def _bound(kept: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(bytes.fromhex(value["hex"]) if isinstance(value, dict) else value for value in kept)


def _unread(named: Named, replica: str, mode: str) -> TableResult:
    return TableResult(
        named.schema, named.table, replica, mode, findings.SKIPPED, "not_finished", "the time for this run is over",
        "Run again: it goes on from there.", covered=0.0,
    )  # fmt: skip


def _late(named: Named, replica: str, mode: str, patience: float) -> TableResult:
    return TableResult(
        named.schema, named.table, replica, mode, findings.LAGGING, "replica_late",
        f"it did not catch up within {patience:g} s", "See why its applier is late; then run again.", covered=0.0,
    )  # fmt: skip


def _changed(named: Named, replica: str, mode: str) -> TableResult:
    return TableResult(
        named.schema, named.table, replica, mode, findings.UNSTABLE, "definition_changed",
        "its definition was changed while it was read", "Run again.", covered=0.0,
    )  # fmt: skip


def _gone(named: Named, replica: str, mode: str) -> TableResult:
    return TableResult(
        named.schema, named.table, replica, mode, findings.PASS, "dropped_meanwhile", "it was dropped meanwhile on both"
    )


def _failed(named: Named, replica: str, mode: str, error: HaError) -> TableResult:
    return TableResult(
        named.schema, named.table, replica, mode, findings.ERROR, error.code, error.message, error.next_step,
        covered=0.0,
    )  # fmt: skip
