# SPDX-License-Identifier: BSD-2-Clause
"""One table in one mode, on the primary and its replicas: is it the same table, and does it hold the same."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Mapping, Optional, Sequence

from ..binlog.statement_objects import Named
from ..errors import HaError
from ..server.session import Session, StatementFailed
from . import findings, multiset, recheck, repair, whole
from .barrier import executed, wait_executed
from .checkpoint import State
from .chunks import ordered
from .findings import TableResult
from .layout import Layout, layout_difference
from .questions import Table
from .tables import Listed, layout
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
                for name, result in self._whole(table, same).items():
                    results[name] = dataclasses.replace(result, mode=mode)
                for name in same:
                    plan = repair.plan(results[name], table.layout)
                    if plan is not None:
                        self.repair.append(plan)
        except StatementFailed as error:
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
        said = TableResult(
            named.schema, named.table, here.name, mode, findings.SCHEMA_DIFFERS, what, told, step, covered=0.0
        )
        return said, None

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
        resumable = not self._rechecking.exact
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
            whole.Limits(self._rechecking, differences=how.differences, until=how.until),
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


def _late(named: Named, replica: str, mode: str, patience: float) -> TableResult:
    return TableResult(
        named.schema, named.table, replica, mode, findings.LAGGING, "replica_late",
        f"it did not catch up within {patience:g} s", "See why its applier is late; then run again.", covered=0.0,
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
