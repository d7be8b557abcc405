# SPDX-License-Identifier: BSD-2-Clause
"""One table in one mode, on the primary and its replicas: is it the same table, and does it hold the same."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Mapping, Optional, Sequence

from ..binlog.statement_objects import Named
from ..errors import HaError
from ..server.session import Session
from . import findings, multiset, recheck, repair, time_column, whole, window
from .barrier import executed, wait_executed
from .checkpoint import State
from .chunks import ordered
from .findings import TableResult
from .layout import Layout, layout_difference
from .questions import Table
from .recent import Recent
from .recent_binlog import RecentByBinlog
from .recent_time import RecentByTime
from .tables import Listed, layout
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
        self._estimate = listed.estimate
        self._mode = mode
        self._there = there
        self._how = how
        self._state = state
        self._rechecking = dataclasses.replace(how.rechecking, exact=mode == findings.SNAPSHOT)
        self.repair: list[dict[str, Any]] = []

    def compare(self, sessions: Mapping[str, Session]) -> dict[str, TableResult]:
        """By replica. What the primary or all of them do wrong is the verdict of each."""
        named, mode = self._named, self._mode
        results: dict[str, TableResult] = {}
        try:
            layouts = {}
            for name, session in sessions.items():
                said, found = self._layout(session)
                if said is not None:
                    results[name] = said
                elif found is not None:
                    layouts[name] = found
            if layouts:
                table = Table(named, next(iter(layouts.values())))
                same = {name: sessions[name] for name in layouts}
                for name, result in self._in_mode(table, same).items():
                    results[name] = dataclasses.replace(result, mode=mode)
                for name in same:
                    plan = repair.plan(results[name], table.layout)
                    if plan is not None:
                        self.repair.append(plan)
        except HaError as error:
            for name in sessions:
                if name not in results:
                    results[name] = _failed(named, name, mode, error)
        return results

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
            found.update(
                RecentByTime(
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
                ).run()
            )
            finished = found[name].verdict == findings.PASS
            recent.remembered.keep_window(named, name, wanted.remember(finished=finished))
        return found

    def _recent_binlog(self, table: Table, sessions: Mapping[str, Session]) -> dict[str, TableResult]:
        how, named = self._how, self._named
        touched = how.recent.touched
        reasons = touched.reasons(*named)
        its = touched.tables.get(named)
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
            found = RecentByBinlog(
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
            ).run()
        if any(each.verdict != findings.PASS for each in found.values()):
            how.recent.differs()
        return found

    # --- whole tables ------------------------------------------------------------------------------------------------
    @property
    def _limits(self) -> whole.Limits:
        return whole.Limits(self._rechecking, differences=self._how.differences, until=self._how.until)

    def _whole(self, table: Table, sessions: Mapping[str, Session]) -> dict[str, TableResult]:
        how = self._how
        if ordered(table.layout):
            return self._by_ranges(table, sessions)
        bounds = multiset.Limits(self._rechecking, how.rows_without_key)
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
        name = str(table)
        resumable = self._mode == findings.WHOLE
        goes_on = resumable and state.table == name and state.after is not None
        saved = how.clock()

        def reached(how_far: Reached) -> bool:
            nonlocal saved
            may_pause = how_far.clean and resumable
            pauses = may_pause and how.pause()
            if how.clock() - saved < _SAVE_EVERY and not pauses:
                return False
            saved = how.clock()
            state.line = f"{name}: {how_far.rows} rows, {how_far.covered:.0%}"
            how.say(state.line)
            if may_pause:
                state.table, state.after, state.rows = name, _kept(how_far.upto), how_far.rows
                how.save(state)
            return pauses

        return WholeTable(
            table,
            self._there,
            sessions,
            self._limits,
            reveal=how.reveal,
            after=_bound(state.after) if goes_on else None,
            rows=state.rows if goes_on else 0,
            before_range=how.before_range,
            reached=reached,
            clock=how.clock,
            sleep=how.sleep,
        ).run()


def _kept(bound: Optional[Sequence[Any]]) -> Optional[list[Any]]:
    """A key as JSON has it."""
    return None if bound is None else [{"hex": v.hex()} if isinstance(v, bytes) else v for v in bound]


def _bound(kept: Optional[Sequence[Any]]) -> Optional[tuple[Any, ...]]:
    return None if kept is None else tuple(bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for v in kept)


def _said(
    named: Named, replica: str, mode: str, verdict: str, code: str = "", why: str = "", next_step: str = ""
) -> TableResult:
    """Of a table that was not compared."""
    return TableResult(named.schema, named.table, replica, mode, verdict, code, why, next_step, covered=0.0)


def _late(named: Named, replica: str, mode: str, patience: float) -> TableResult:
    why = f"it did not catch up within {patience:g} s"
    return _said(
        named, replica, mode, findings.LAGGING, "replica_late", why, "See why its applier is late; then run again."
    )


def _gone(named: Named, replica: str, mode: str) -> TableResult:
    why = "it was dropped meanwhile on both"
    return dataclasses.replace(_said(named, replica, mode, findings.PASS, "dropped_meanwhile", why), covered=1.0)


def _failed(named: Named, replica: str, mode: str, error: HaError) -> TableResult:
    return _said(named, replica, mode, findings.ERROR, error.code, error.message, error.next_step)
