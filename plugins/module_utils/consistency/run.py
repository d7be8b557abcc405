# SPDX-License-Identifier: BSD-2-Clause
"""One run: the servers, their tables, the modes asked for, and a report. What the module and the service call.

Nothing that one table or one replica does stops the others: it is their verdict.
"""

from __future__ import annotations

import dataclasses
import time
from contextlib import ExitStack
from typing import Any, Callable, Mapping, Optional, Sequence

from ..errors import HaError
from ..server.session import Login, Session, StatementFailed
from ..server.state import Member, Observation, ServerState
from ..topology.observe import Members
from . import assertions, business, findings, multiset, recheck, repair, whole
from .assertion_verdict import Verdict
from .barrier import executed, reading, wait_executed
from .checkpoint import Checkpoint, State, question
from .chunks import ordered
from .findings import MODES, TableResult, worst
from .layout import Layout, layout_difference
from .pace import Bounds, Pace
from .preflight import ServerFinding, look
from .questions import Named, Table
from .tables import Listed, chosen, layout, tables
from .whole import Reached, WholeTable

_LOOK_WITHIN = 10.0
_SAVE_EVERY = 10.0
"""Seconds between two checkpoints within a table."""
_LAYOUT_PAUSES = (0.0, 0.5, 2.0)
"""Seconds before each look at a table that is not the same on both: its definition may be on its way."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds, but for counts. ``within``: for the whole run, 0 for no limit; the others as in ``recheck.Limits``,
    ``whole.Limits``, ``multiset.Limits`` and ``pace.Bounds``."""

    statement: float = 30.0
    catch_up: float = 60.0
    within: float = 0.0
    lock: float = 2.0
    threads_running: int = 0
    latency: float = 0.0
    differences: int = 10_000
    listed: int = 100
    rows_without_key: int = 1_000_000

    @property
    def rechecking(self) -> recheck.Limits:
        return recheck.Limits(self.statement, self.catch_up, self.lock, self.listed)


@dataclasses.dataclass(frozen=True)
class Request:
    """What is compared.

    :param primary: empty: the member that the newest term row names, else the only one that takes writes.
    :param replicas: empty: all other members.
    :param include: patterns ``schema.table`` or ``schema``; empty: every table. ``exclude``: those not.
    :param assertions: for mode ``business``.
    :param reveal: show values of rows that differ.
    :param state_directory: where an unfinished run is kept; empty: nowhere.
    :param now: seconds since the epoch.
    """

    cluster: str
    members: tuple[Member, ...]
    login: Login
    primary: str = ""
    replicas: tuple[str, ...] = ()
    modes: tuple[str, ...] = (findings.WHOLE,)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    time_column: str = ""
    assertions: tuple[Mapping[str, Any], ...] = ()
    limits: Limits = Limits()
    reveal: bool = False
    state_directory: str = ""
    now: float = 0.0
    connect_timeout: float = 2.0


Say = Callable[[str], None]


def run(
    request: Request,
    *,
    say: Say = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Compare, and report: see docs/consistency.md for the report's shape.

    :param say: takes a line about how far it is.
    :raises HaError: nothing could be compared: ``unknown_mode``, ``unknown_member``, ``primary_unknown``,
        ``primary_silent``, ``nothing_to_compare``, ``state_unwritable``.
    """
    unknown = [mode for mode in request.modes if mode not in MODES]
    if unknown:
        raise HaError("unknown_mode", f"no such mode: {', '.join(unknown)}", next_step=f"Use {', '.join(MODES)}.")
    pool = Members(request.members, request.login, connect_within=request.connect_timeout)
    try:
        return _Run(request, pool, say, clock, sleep).run()
    finally:
        pool.close()


class _Run:
    def __init__(
        self, request: Request, pool: Members, say: Say, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._request = request
        self._limits = request.limits
        self._pool = pool
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self._began = clock()
        self._until = self._began + request.limits.within if request.limits.within else float("inf")
        self._servers: list[ServerFinding] = []
        self._results: list[TableResult] = []
        self._repair: list[dict[str, Any]] = []
        self._checkpoint = Checkpoint(request.state_directory, request.cluster)
        self._resumed = False
        self._state: State
        self._asserted: list[dict[str, Any]] = []
        self._assertions = assertions.parse(request.assertions) if findings.BUSINESS in request.modes else ()

    def run(self) -> dict[str, Any]:
        observation = self._pool.observe(within=_LOOK_WITHIN)
        primary = self._primary(observation)
        replicas = self._replicas(primary)
        for name in replicas:
            self._servers += look(primary, name, observation.answers[name])
        stopped = {each.replica: each for each in self._servers if each.stops}
        sessions = {name: self._pool.session(name) for name in replicas if name not in stopped}
        self._begin(primary, replicas)
        there = self._pool.session(primary.name)
        with ExitStack() as stack:
            for session in (there, *sessions.values()):
                stack.enter_context(reading(session, statement=self._limits.statement))
            if self._table_modes:
                self._tables(there, sessions, stopped)
            if self._assertions:
                self._business(there, sessions, stopped)
        report = self._report(primary.name, replicas)
        if report["finished"]:
            self._checkpoint.forget()
        return report

    # --- the servers -------------------------------------------------------------------------------------------------
    def _primary(self, observation: Observation) -> ServerState:
        name = self._request.primary
        if not name:
            term = observation.term
            named = observation.by_uuid(term.primary_uuid) if term else None
            writable = [state for state in observation.states.values() if state.writable]
            found = named or (writable[0] if len(writable) == 1 and not term else None)
            if found is None:
                silent = "; ".join(answer.message for answer in observation.silent.values())
                raise HaError(
                    "primary_unknown",
                    "no member that answers is known to be the primary" + (f": {silent}" if silent else ""),
                    evidence={"writable": [state.name for state in writable], "term": term.term if term else None},
                    next_step="Name it (primary), or bring it back.",
                )
            return found
        self._pool.member(name)
        answer = observation.answers[name]
        if not isinstance(answer, ServerState):
            raise HaError(
                "primary_silent",
                answer.message,
                evidence={"member": name, "kind": answer.kind},
                next_step=answer.next_step,
            )
        return answer

    def _replicas(self, primary: ServerState) -> list[str]:
        names = [member.name for member in self._pool.members]
        for name in self._request.replicas:
            self._pool.member(name)
        wanted = [name for name in (self._request.replicas or names) if name != primary.name]
        if not wanted:
            raise HaError(
                "nothing_to_compare",
                f"there is no member besides {primary.name}",
                evidence={"members": names},
                next_step="Name at least one replica.",
            )
        return wanted

    def _begin(self, primary: ServerState, replicas: Sequence[str]) -> None:
        request = self._request
        asked = question(
            primary=primary.server_uuid,
            replicas=sorted(replicas),
            modes=sorted(request.modes),
            include=sorted(request.include),
            exclude=sorted(request.exclude),
            time_column=request.time_column,
            reveal=request.reveal,
        )
        kept = self._checkpoint.load(asked, request.now)
        self._resumed = kept is not None
        self._state = kept or State(asked, request.now)
        if self._resumed:
            self._say(f"goes on with a run that was cut off: {len(self._state.done)} results are there")

    # --- tables ------------------------------------------------------------------------------------------------------
    def _tables(self, there: Session, sessions: Mapping[str, Session], stopped: Mapping[str, ServerFinding]) -> None:
        within = self._limits.statement
        listed = tables(there, within=within)
        lists = {name: tables(session, within=within) for name, session in sessions.items()}
        every = {*listed, *(named for each in lists.values() for named in each)}
        wanted = chosen(every, self._request.include, self._request.exclude)
        if not wanted:
            raise HaError(
                "nothing_to_compare",
                "no table fits",
                evidence={"include": list(self._request.include), "exclude": list(self._request.exclude)},
                next_step="Correct the patterns; a schema's name alone stands for all its tables.",
            )
        pace = Pace(
            {there.name: there, **sessions},
            Bounds(self._limits.threads_running, self._limits.latency),
            statement=within,
            say=self._say,
            clock=self._clock,
            sleep=self._sleep,
        )
        for number, named in enumerate(wanted, 1):
            self._say(f"{number} of {len(wanted)}: {named.schema}.{named.table}")
            for name, finding in stopped.items():
                self._everywhere(named, {name: finding})
            largest = max((each[named].estimate for each in (listed, *lists.values()) if named in each), default=0)
            self._table(Listed(named, "", largest), there, sessions, pace)

    def _everywhere(self, named: Named, why: Mapping[str, ServerFinding]) -> None:
        for name, finding in why.items():
            for mode in self._table_modes:
                self._results.append(
                    TableResult(
                        named.schema, named.table, name, mode, finding.verdict, finding.code, finding.why,
                        finding.next_step, covered=0.0,
                    )
                )  # fmt: skip

    @property
    def _table_modes(self) -> list[str]:
        return [mode for mode in self._request.modes if mode != findings.BUSINESS]

    def _table(self, listed: Listed, there: Session, sessions: Mapping[str, Session], pace: Pace) -> None:
        named = listed.named
        for mode in self._table_modes:
            kept, left = {}, {}
            for name, session in sessions.items():
                done = self._state.done.get(_key(mode, named, name))
                if done is None:
                    left[name] = session
                else:
                    kept[name] = findings.result_from(done)
            found = self._compare(mode, listed, there, left, pace) if left else {}
            for name, result in {**kept, **found}.items():
                self._results.append(result)
                if result.code != "not_finished":
                    self._state.done[_key(mode, named, name)] = result.as_result()
            self._checkpoint.save(self._state)

    def _compare(
        self, mode: str, listed: Listed, there: Session, sessions: Mapping[str, Session], pace: Pace
    ) -> dict[str, TableResult]:
        """One mode of one table. What the primary or all of them do wrong is the verdict of each."""
        named = listed.named
        results: dict[str, TableResult] = {}
        try:
            layouts = {}
            for name, session in sessions.items():
                said, found = self._layout(named, there, session, mode)
                if said is not None:
                    results[name] = said
                elif found is not None:
                    layouts[name] = found
            if layouts:
                table = Table(named, next(iter(layouts.values())))
                same = {name: sessions[name] for name in layouts}
                results.update(self._whole(table, listed, there, same, pace))
                for name in same:
                    plan = repair.plan(results[name], table.layout)
                    if plan is not None:
                        self._repair.append(plan)
        except StatementFailed as error:
            for name in sessions:
                if name not in results:
                    results[name] = _failed(named, name, mode, error)
        return results

    def _layout(
        self, named: Named, there: Session, here: Session, mode: str
    ) -> tuple[Optional[TableResult], Optional[Layout]]:
        """The table as both have it; else the verdict that they do not have the same."""
        within = self._limits.statement
        what = ""
        columns: tuple[str, ...] = ()
        for pause in _LAYOUT_PAUSES:
            self._sleep(pause)
            theirs = layout(there, named, within=within)
            gtids = executed(there, within=within)
            if not wait_executed(here, gtids, patience=self._limits.catch_up, statement=within):
                return _late(named, here.name, mode, self._limits.catch_up), None
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

    def _whole(
        self, table: Table, listed: Listed, there: Session, sessions: Mapping[str, Session], pace: Pace
    ) -> dict[str, TableResult]:
        limits = self._limits
        if not ordered(table.layout):
            bounds = multiset.Limits(limits.rechecking, limits.rows_without_key)
            found = {}
            for name, session in sessions.items():
                pace.wait()
                comparing = multiset.Multiset(
                    table, there, session, bounds, reveal=self._request.reveal, clock=self._clock, sleep=self._sleep
                )
                found[name] = comparing.run(listed.estimate)
            return found
        name = str(table)
        goes_on = self._state.table == name and self._state.after is not None
        after = _bound(self._state.after) if goes_on else None
        saved = self._clock()

        def reached(how_far: Reached) -> None:
            nonlocal saved
            if how_far.clean and self._clock() - saved >= _SAVE_EVERY:
                saved = self._clock()
                self._state.table, self._state.after = name, _kept(how_far.upto)
                self._checkpoint.save(self._state)
                self._say(f"{name}: {how_far.rows} rows, {how_far.covered:.0%}")

        return WholeTable(
            table,
            there,
            sessions,
            whole.Limits(limits.rechecking, differences=limits.differences, until=self._until),
            reveal=self._request.reveal,
            after=after,
            before_range=pace.wait,
            reached=reached,
            clock=self._clock,
            sleep=self._sleep,
        ).run()

    # --- assertions --------------------------------------------------------------------------------------------------
    def _business(self, there: Session, sessions: Mapping[str, Session], stopped: Mapping[str, ServerFinding]) -> None:
        def barrier(name: str, gtids: str, patience: float) -> bool:
            return wait_executed(sessions[name], gtids, patience=patience, statement=self._limits.statement)

        left = self._until - self._clock()
        within = min(left, business.Limits.within * max(len(self._assertions), 1)) if left > 0 else 0.001
        said = business.run(
            self._assertions,
            there,
            sessions,
            barrier,
            clock=self._clock,
            sleep=self._sleep,
            limits=business.Limits(within, self._limits.catch_up),
            reveal=self._request.reveal,
        )
        for verdict in said.verdicts:
            self._asserted.append(_asserted(verdict))
        for name, finding in stopped.items():
            for each in self._assertions:
                self._asserted.append(
                    {
                        **_asserted(Verdict(each.name, each.expect, each.severity, "replica", name, finding.verdict)),
                        "code": finding.code,
                        "why": finding.why,
                    }
                )

    # --- the report --------------------------------------------------------------------------------------------------
    def _report(self, primary: str, replicas: Sequence[str]) -> dict[str, Any]:
        request = self._request
        verdicts = [*(each.verdict for each in self._servers), *(each.verdict for each in self._results)]
        verdicts += [each["verdict"] for each in self._asserted if each["severity"] == assertions.CRITICAL]
        by_verdict: dict[str, int] = {}
        for result in self._results:
            by_verdict[result.verdict] = by_verdict.get(result.verdict, 0) + 1
        return {
            "cluster": request.cluster,
            "primary": primary,
            "replicas": list(replicas),
            "modes": list(request.modes),
            "verdict": worst(verdicts),
            "started_at": self._state.started_at,
            "seconds": round(self._clock() - self._began, 3),
            "finished": not any(result.code == "not_finished" for result in self._results),
            "resumed": self._resumed,
            "servers": [each.as_result() for each in self._servers],
            "tables": [each.as_result() for each in self._results],
            "assertions": self._asserted,
            "repair": self._repair,
            "counts": {
                "tables": len({each.name for each in self._results}),
                "rows": sum(each.rows for each in self._results),
                "rechecked": sum(each.rechecked for each in self._results),
                "differences": sum(each.difference_count for each in self._results),
                "by_verdict": by_verdict,
            },
        }


def _key(mode: str, named: Named, replica: str) -> str:
    return f"{mode} {named.schema}.{named.table} {replica}"


def _kept(bound: Optional[Sequence[Any]]) -> Optional[list[Any]]:
    """A key as JSON has it."""
    return None if bound is None else [{"hex": v.hex()} if isinstance(v, bytes) else v for v in bound]


def _bound(kept: Optional[Sequence[Any]]) -> Optional[tuple[Any, ...]]:
    return None if kept is None else tuple(bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for v in kept)


def _asserted(verdict: Verdict) -> dict[str, Any]:
    """As the report has it."""
    return {
        "name": verdict.assertion,
        "expect": verdict.expect,
        "severity": verdict.severity,
        "side": verdict.side,
        "replica": verdict.member,
        "verdict": verdict.verdict,
        "code": "" if verdict.verdict == findings.PASS else f"assertion_{verdict.verdict}",
        "why": verdict.reason,
        "rows_primary": verdict.rows.get("primary"),
        "rows_replica": verdict.rows.get("replica"),
        "difference_count": verdict.count,
        "differences": [dict(each) for each in verdict.evidence],
        "rounds": verdict.rounds,
        "errno": verdict.errno,
    }


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
