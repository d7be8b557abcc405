# SPDX-License-Identifier: BSD-2-Clause
"""One table in one mode, on the primary and its replicas: is it the same table, and does it hold the same."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, Callable, Mapping, Optional, Sequence

from ..binlog.statement_names import Named
from ..errors import HaError
from ..server.executed import executed, wait_executed
from ..server.session import Session, StatementFailed
from . import findings, multiset, recheck, repair, time_column, whole, window
from .checkpoint import Place, State, name_of
from .chunks import ordered
from .failures import CHANGED, DROPPED, said_of
from .findings import TableResult
from .layout import Layout, layout_difference
from .lookup import Unfit
from .questions import Table
from .recent import Recent
from .recent_binlog import RecentByBinlog
from .recent_time import RecentByTime
from .tables import INNODB, Listed, layout
from .time_column import Skip
from .whole import Reached, WholeTable

_SAVE_EVERY = 10.0
"""Seconds between two checkpoints within a table."""
_LAYOUT_PAUSES = (0.0, 0.5, 2.0)
"""Seconds before each look at a table that is not the same on both: its definition may be on its way."""


@dataclasses.dataclass(frozen=True)
class How:
    """What is the same for all tables of a run: limits, the clock, and whom to tell. See ``run.Limits``.

    ``pause``: whether this part of the run is over; ``until``: when all of it is, by the clock.
    """

    rechecking: recheck.Limits
    differences: int
    rows_without_key: int
    recent: Recent
    until: float
    reveal: bool
    before_range: Callable[[], None]
    pause: Callable[[], bool]
    save: Callable[[State], None]
    say: Callable[[str], None]
    clock: Callable[[], float]
    sleep: Callable[[float], None]


class OneTable:
    """``compare`` it once. ``repair``: what a person may do afterwards, for each replica on which it differs."""

    def __init__(self, listed: Listed, mode: str, there: Session, how: How, state: State) -> None:
        self._named = listed.named
        self._listed = listed
        self._mode = mode
        self._there = there
        self._how = how
        self._state = state
        self._rechecking = dataclasses.replace(how.rechecking, exact=mode == findings.SNAPSHOT)
        self.repair: list[dict[str, Any]] = []
        self._windows: dict[str, window.Window] = {}

    def compare(self, sessions: Mapping[str, Session]) -> dict[str, TableResult]:
        """By replica. Never raises for what a server does: that is its verdict, or everybody's for the primary."""
        named, mode, how = self._named, self._mode, self._how
        if how.clock() >= how.until:
            return {name: _unread(named, name, mode) for name in sessions}
        if self._rechecking.exact and self._listed.engine != INNODB:
            return {name: _without_snapshot(self._listed, name, mode) for name in sessions}
        results: dict[str, TableResult] = {}
        layouts: dict[str, Layout] = {}
        for name, session in sessions.items():
            try:
                said, found = self._layout(session)
            except StatementFailed as error:
                said, found = self._failed(name, error), None
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
            found = self._in_mode(table, sessions)
        except (HaError, Unfit) as error:
            found = {name: self._failed(name, error) for name in sessions}
        found = {name: self._still_so(table, sessions[name], result) for name, result in found.items()}
        while self._windows:
            name, wanted = self._windows.popitem()
            after = wanted.remember(finished=found[name].verdict == findings.PASS)
            self._how.recent.remembered.keep_window(self._named, name, after)
        return found

    def _failed(self, name: str, error: Exception) -> TableResult:
        return _said(self._named, name, self._mode, *said_of(error, exact=self._rechecking.exact))

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
            return self._failed(here.name, error)
        return said or _said(self._named, here.name, self._mode, *CHANGED)

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
        if limits.exact:
            # Inside of a snapshot the definitions are those of now, and a change may be on its way to the replica.
            if not wait_executed(here, executed(there, within=within), patience=limits.catch_up, statement=within):
                return _late(named, here.name, mode, limits.catch_up), None
            if not layout_difference(layout(there, named, within=within), layout(here, named, within=within))[0]:
                return _said(named, here.name, mode, *CHANGED), None
        told = {
            "only_on_primary": f"{here.name} has no such table",
            "only_on_returning": f"only {here.name} has this table",
            "keys": "its unique keys are not the same",
        }.get(what, f"columns that are not the same: {', '.join(columns)}")
        step = "Compare SHOW CREATE TABLE on both; clone the replica."
        return _said(named, here.name, mode, findings.SCHEMA_DIFFERS, what, told, step), None

    def _in_mode(self, table: Table, sessions: Mapping[str, Session]) -> dict[str, TableResult]:
        if self._mode == findings.RECENT_TIME:
            return self._recent_time(table, sessions)
        if self._mode == findings.RECENT_BINLOG:
            return self._recent_binlog(table, sessions)
        return self._whole(table, sessions)

    # --- recent rows -------------------------------------------------------------------------------------------------
    def _recent_time(self, table: Table, sessions: Mapping[str, Session]) -> dict[str, TableResult]:
        how, named = self._how, self._named
        recent = how.recent
        within = self._rechecking.statement
        column = time_column.time_column(
            named,
            table.layout,
            on_update=self._there.query(time_column.ON_UPDATE, named, within=within),
            indexes=[
                each.query(time_column.INDEXES, named, within=within) for each in (self._there, *sessions.values())
            ],
            given=recent.wish.time_column,
        )
        if isinstance(column, Skip):
            return {
                name: _said(named, name, self._mode, findings.SKIPPED, column.code, column.why, column.next_step)
                for name in sessions
            }
        found = {}
        for name, session in sessions.items():
            # Each replica's window is its own: one that was late begins earlier.
            wanted = window.window(recent.remembered.window(named, name), recent.activity, recent.wish.policy)
            comparing = RecentByTime(
                table,
                column,
                wanted,
                self._there,
                {name: session},
                self._limits,
                time_zone=recent.wish.time_zone,
                reveal=how.reveal,
                before_range=how.before_range,
                clock=how.clock,
                sleep=how.sleep,
            )
            found.update(self._told(table, comparing))
            self._windows[name] = wanted
        return found

    def _recent_binlog(self, table: Table, sessions: Mapping[str, Session]) -> dict[str, TableResult]:
        how, named = self._how, self._named
        reasons = how.recent.reasons(named)
        its = how.recent.touched.tables.get(named)
        if its is not None and its.columns != table.layout.key:
            reasons = (*reasons, "another_key")
        if reasons:
            found = self._whole(table, sessions)
            said = f"compared as a whole, for the log does not tell which rows ({', '.join(reasons)})"
            found = {
                name: dataclasses.replace(each, why=f"{each.why}; {said}" if each.why else said)
                for name, each in found.items()
            }
        else:
            comparing = RecentByBinlog(
                table,
                its or (),
                its.keys if its else 0,
                self._there,
                sessions,
                self._limits,
                reveal=how.reveal,
                before_range=how.before_range,
                clock=how.clock,
                sleep=how.sleep,
            )
            found = self._told(table, comparing)
        return found

    # --- whole tables ------------------------------------------------------------------------------------------------
    @property
    def _limits(self) -> whole.Limits:
        return whole.Limits(self._rechecking, differences=self._how.differences, until=self._how.until)

    def _whole(self, table: Table, sessions: Mapping[str, Session]) -> dict[str, TableResult]:
        how = self._how
        if ordered(table.layout):
            return self._by_ranges(table, sessions)
        bounds = multiset.Limits(self._rechecking, how.rows_without_key, how.differences, how.until)
        found = {}
        for name, session in sessions.items():
            comparing = multiset.Multiset(
                table,
                self._there,
                session,
                bounds,
                reveal=how.reveal,
                before_question=how.before_range,
                clock=how.clock,
                sleep=how.sleep,
            )
            found[name] = comparing.run(self._listed.estimate)
        return found

    def _by_ranges(self, table: Table, sessions: Mapping[str, Session]) -> dict[str, TableResult]:
        how, state = self._how, self._state
        resumable = self._mode in (findings.WHOLE, findings.RECENT_BINLOG)
        name = name_of(self._mode, *self._named)
        kind = hashlib.sha256(repr(table.layout).encode()).hexdigest()
        place = state.place if resumable else None
        if place is not None and (place.table != name or place.layout != kind or {*sessions} - {*place.replicas}):
            place = None  # of another table, or not of all these replicas
        saved = how.clock()

        def reached(how_far: Reached) -> bool:
            nonlocal saved
            pauses = False
            if how_far.clean and resumable and how_far.upto is not None:
                state.place = Place(name, kind, sorted(sessions), _kept(how_far.upto), how_far.rows)
                pauses = how.pause()
            if pauses or how.clock() - saved >= _SAVE_EVERY:
                saved = how.clock()
                state.line = f"{table}: {how_far.rows} rows, {how_far.covered:.0%}"
                how.say(state.line)
                how.save(state)
            return pauses

        comparing = WholeTable(
            table,
            self._there,
            sessions,
            self._limits,
            reveal=how.reveal,
            after=_bound(place.after) if place else None,
            rows=place.rows if place else 0,
            before_range=how.before_range,
            reached=reached,
            clock=how.clock,
            sleep=how.sleep,
        )
        return self._told(table, comparing)

    def _told(self, table: Table, comparing: WholeTable) -> dict[str, TableResult]:
        """What it finds, with who last wrote the rows that differ, where the log's files are at hand."""
        found = comparing.run()
        for name, result in found.items():
            if self._how.clock() >= self._how.until:
                break  # who wrote is the least that this run owes
            try:
                writers = self._how.recent.last_writers(self._named, table.key, comparing.keys[name])
            except HaError as error:
                self._how.say(f"who last wrote the rows of {table} is not known: {error.message}")
                continue
            told = tuple(
                dataclasses.replace(each, last_writer=writer) for each, writer in zip(result.differences, writers)
            )
            found[name] = dataclasses.replace(result, differences=told)
        return found


def _kept(key: Sequence[Any]) -> list[Any]:
    """A key as JSON has it."""
    return [{"hex": value.hex()} if isinstance(value, bytes) else value for value in key]


def _bound(kept: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(bytes.fromhex(value["hex"]) if isinstance(value, dict) else value for value in kept)


def _said(
    named: Named, replica: str, mode: str, verdict: str, code: str = "", why: str = "", next_step: str = ""
) -> TableResult:
    """Of a table that was not compared."""
    return TableResult(named.schema, named.table, replica, mode, verdict, code, why, next_step, covered=0.0)


def _unread(named: Named, replica: str, mode: str) -> TableResult:
    why = "the time for this run is over"
    return _said(named, replica, mode, findings.SKIPPED, "not_finished", why, "Run again: it goes on from there.")


def _without_snapshot(listed: Listed, replica: str, mode: str) -> TableResult:
    why = f"a table of {listed.engine or 'no engine'} goes on while it is read"
    step = "Compare it as a whole while nobody writes to it; or convert it (ALTER TABLE ... ENGINE=InnoDB)."
    return _said(listed.named, replica, mode, findings.SKIPPED, "no_snapshot", why, step)


def _late(named: Named, replica: str, mode: str, patience: float) -> TableResult:
    why = f"it did not catch up within {patience:g} s"
    return _said(
        named, replica, mode, findings.LAGGING, "replica_late", why, "See why its applier is late; then run again."
    )


def _gone(named: Named, replica: str, mode: str) -> TableResult:
    return dataclasses.replace(_said(named, replica, mode, *DROPPED), covered=1.0)
