# SPDX-License-Identifier: BSD-2-Clause
"""One run: the servers, their tables, the modes asked for, and a report. What the module and the service call.

Nothing that one table or one replica does stops the others: it is their verdict.
"""

from __future__ import annotations

import dataclasses
import time
from contextlib import ExitStack, closing
from typing import Any, Callable, Mapping, Optional, Sequence

from ..binlog.statement_objects import Named
from ..errors import HaError
from ..server.session import Login, Session
from ..server.state import Member, Observation, ServerState
from ..topology.observe import Members
from . import assertions, business, findings, recheck, snapshot
from .assertion_verdict import Verdict
from .barrier import reading, wait_executed
from .checkpoint import Checkpoint, State, question
from .findings import MODES, TableResult, worst
from .memory import Remembered
from .one_table import How, OneTable
from .pace import Bounds, Pace
from .preflight import ServerFinding, look
from .recent import Recent, Wish
from .tables import Listed, chosen, tables
from .whole import PAUSED

_LOOK_WITHIN = 10.0


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


@dataclasses.dataclass(frozen=True)
class Request:
    """What is compared.

    :param primary: empty: the member that the newest term row names, else the only one that takes writes.
    :param replicas: empty: all other members.
    :param include: patterns ``schema.table`` or ``schema``; empty: every table. ``exclude``: those not.
    :param recent: for the modes ``recent_time`` and ``recent_binlog``.
    :param assertions: for mode ``business``.
    :param reveal: show values of rows that differ.
    :param state_directory: where an unfinished run is kept; empty: nowhere.
    :param now: seconds since the epoch.
    :param admin: for mode ``snapshot``: may lock the primary for an instant, and stop a replica's applier.
    :param part: seconds after which the run returns where it is, with ``under_way`` in its report; called again with
        that, it goes on. 0: it runs to its end. A table in which something is open yet is finished first.
    :param state: what the part before has returned.
    """

    cluster: str
    members: tuple[Member, ...]
    login: Login
    primary: str = ""
    replicas: tuple[str, ...] = ()
    modes: tuple[str, ...] = (findings.WHOLE,)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    recent: Wish = Wish()
    assertions: tuple[Mapping[str, Any], ...] = ()
    limits: Limits = Limits()
    reveal: bool = False
    state_directory: str = ""
    now: float = 0.0
    connect_timeout: float = 2.0
    admin: Optional[Login] = None
    part: float = 0.0
    state: Optional[Mapping[str, Any]] = None


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
        self._until = float("inf")
        self._paused = False
        self._servers: list[ServerFinding] = []
        self._results: list[TableResult] = []
        self._checkpoint = Checkpoint(request.state_directory, request.cluster, request.state)
        self._resumed = False
        self._state: State
        self._recent: Recent
        self._asserted: list[dict[str, Any]] = []
        self._assertions = assertions.parse(request.assertions) if findings.BUSINESS in request.modes else ()

    def run(self) -> dict[str, Any]:
        request = self._request
        observation = self._pool.observe(within=_LOOK_WITHIN)
        primary = self._primary(observation)
        replicas = self._replicas(primary)
        for name in replicas:
            self._servers += look(primary, name, observation.answers[name])
        stopped = {each.replica: each for each in self._servers if each.stops}
        sessions = {name: self._pool.session(name) for name in replicas if name not in stopped}
        self._begin(primary, replicas)
        there = self._pool.session(primary.name)
        self._recent = Recent(
            request.recent,
            Remembered(request.state_directory, request.cluster, self._state.question),
            there,
            statement=self._limits.statement,
            now=request.now,
            sleep=self._sleep,
        )
        with ExitStack() as stack:
            for session in (there, *sessions.values()):
                stack.enter_context(reading(session, statement=self._limits.statement))
            if self._live_modes:
                with closing(self._recent):
                    self._tables(there, sessions, stopped, self._live_modes)
                    if not self._paused and not stopped:
                        self._recent.finished()
            if self._assertions and not self._paused:
                self._business(there, sessions, stopped)
        if findings.SNAPSHOT in request.modes and not self._paused:
            self._snapshots(there, sessions, stopped)
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
            time_column=request.recent.time_column,
            reveal=request.reveal,
        )
        kept = self._checkpoint.load(asked, request.now)
        self._resumed = kept is not None
        self._state = kept or State(asked, request.now)
        if request.limits.within:
            spent = max(request.now - self._state.started_at, 0.0)
            self._until = self._began + request.limits.within - spent
        if self._resumed:
            self._say(f"goes on with a run that was cut off: {len(self._state.done)} results are there")

    # --- tables ------------------------------------------------------------------------------------------------------
    def _tables(
        self,
        there: Session,
        sessions: Mapping[str, Session],
        stopped: Mapping[str, ServerFinding],
        modes: Sequence[str],
    ) -> None:
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
            if self._paused:
                return
            self._state.line = f"{number} of {len(wanted)}: {named.schema}.{named.table}"
            self._say(self._state.line)
            for finding in stopped.values():
                self._results += [_as_the_server(named, mode, finding) for mode in modes]
            largest = max((each[named].estimate for each in (listed, *lists.values()) if named in each), default=0)
            self._table(Listed(named, "", largest), there, sessions, pace, modes)

    @property
    def _live_modes(self) -> list[str]:
        """Those that compare tables while both servers go on."""
        return [mode for mode in self._request.modes if mode not in (findings.BUSINESS, findings.SNAPSHOT)]

    def _table(
        self, listed: Listed, there: Session, sessions: Mapping[str, Session], pace: Pace, modes: Sequence[str]
    ) -> None:
        named = listed.named
        for mode in modes:
            kept, left = {}, {}
            for name, session in sessions.items():
                done = self._state.done.get(_key(mode, named, name))
                if done is None:
                    left[name] = session
                else:
                    kept[name] = findings.result_from(done)
            one = OneTable(listed, mode, there, self._how(pace), self._state)
            found = one.compare(left) if left else {}
            planned = {(each["table"], each["replica"]) for each in self._state.repair}
            self._state.repair += [each for each in one.repair if (each["table"], each["replica"]) not in planned]
            for name, result in {**kept, **found}.items():
                if result.code == "not_finished" and result.why == PAUSED:
                    self._paused = True
                    continue
                self._results.append(result)
                if result.code != "not_finished":
                    self._state.done[_key(mode, named, name)] = result.as_result()
            self._checkpoint.save(self._state)
            # Each part gets on by a table, or by a range of one.
            self._paused |= bool(left) and mode in self._live_modes and self._part_is_over()

    def _part_is_over(self) -> bool:
        return 0 < self._request.part <= self._clock() - self._began

    def _how(self, pace: Pace) -> How:
        limits = self._limits
        return How(
            rechecking=recheck.Limits(limits.statement, limits.catch_up, limits.lock, limits.listed),
            differences=limits.differences,
            rows_without_key=limits.rows_without_key,
            recent=self._recent,
            until=self._until,
            reveal=self._request.reveal,
            before_range=pace.wait,
            pause=self._part_is_over,
            save=self._checkpoint.save,
            say=self._say,
            clock=self._clock,
            sleep=self._sleep,
        )

    def _snapshots(self, there: Session, sessions: Mapping[str, Session], stopped: Mapping[str, ServerFinding]) -> None:
        """One replica after the other, each paused where the primary's snapshot is."""
        request = self._request
        if request.admin is None:
            raise HaError(
                "admin_login_needed",
                "a snapshot holds commits for an instant and stops the replica's applier, which this account may not",
                evidence={"user": request.login.user},
                next_step="Give admin_user and admin_password, or use another mode.",
            )
        admins = Members(request.members, request.admin, connect_within=request.connect_timeout)
        try:
            for name, session in sessions.items():
                try:
                    self._snapshot(there, session, admins)
                except HaError as error:
                    finding = ServerFinding(name, _verdict_of(error), error.code, error.message, error.next_step)
                    self._servers.append(finding)
                    self._tables(there, {}, {name: finding}, [findings.SNAPSHOT])
        finally:
            admins.close()
        if stopped:
            self._tables(there, {}, stopped, [findings.SNAPSHOT])

    def _snapshot(self, there: Session, replica: Session, admins: Members) -> None:
        statement = self._limits.statement
        repeatable = {"transaction_isolation": "REPEATABLE-READ"}
        with ExitStack() as stack:
            stack.enter_context(reading(there, statement=statement, settings=repeatable))
            stack.enter_context(reading(replica, statement=statement))
            gtids = stack.enter_context(
                snapshot.at_one_gtid(
                    there,
                    admins.session(there.name),
                    admins.session(replica.name),
                    statement=statement,
                    catch_up=self._limits.catch_up,
                    clock=self._clock,
                    sleep=self._sleep,
                )
            )
            self._say(f"{replica.name} stands still where {there.name} was: {gtids}")
            self._tables(there, {replica.name: replica}, {}, [findings.SNAPSHOT])

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
            "finished": not self._paused and not any(result.code == "not_finished" for result in self._results),
            "under_way": self._state.as_kept() if self._paused else None,
            "progress": {"line": self._state.line},
            "resumed": self._resumed,
            "servers": [each.as_result() for each in self._servers],
            "tables": [each.as_result() for each in self._results],
            "assertions": self._asserted,
            "repair": self._state.repair,
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


def _as_the_server(named: Named, mode: str, finding: ServerFinding) -> TableResult:
    """What keeps a whole replica from being compared, of one table."""
    return TableResult(
        named.schema, named.table, finding.replica, mode, finding.verdict, finding.code, finding.why,
        finding.next_step, covered=0.0,
    )  # fmt: skip


def _verdict_of(error: HaError) -> str:
    """Of what kept a snapshot from being made."""
    if error.code == "errant_transactions":
        return findings.DIFFERENT
    return findings.LAGGING if error.code == "replica_late" else findings.ERROR
