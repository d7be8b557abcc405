# SPDX-License-Identifier: BSD-2-Clause
"""One run: the servers, their tables, the modes asked for, and a report. What the module and the service call.

Nothing that one table or one replica does stops the others: it is their verdict.
"""

from __future__ import annotations

import dataclasses
import time
from contextlib import closing
from typing import Any, Callable, Collection, Iterable, Mapping, Optional, Sequence

from ..binlog.statement_names import Named
from ..errors import HaError
from ..gtid import GtidSet
from ..server.executed import wait_executed
from ..server.session import Login, Session
from ..server.state import Member, Observation, ServerState
from ..topology.observe import Members
from . import (
    assertions,
    business,
    failures,
    findings,
    innodb_names,
    privileges,
    recheck,
    snapshot,
    state_file,
    summary,
    window,
)
from .assertion_verdict import Verdict
from .checkpoint import Checkpoint, State, name_of, of_these_servers, question
from .findings import MODES, TableResult
from .memory import Remembered
from .one_table import How, OneTable
from .pace import Bounds, Pace
from .preflight import ServerFinding, errant, look
from .recent import Recent, Wish
from .sides import Sides
from .tables import Listed, chosen, idle, tables
from .whole import PAUSED

_LOOK_WITHIN = 10.0
_SAVE_EVERY = 5.0
"""Seconds between two checkpoints."""
_SCANS = 5
"""A part of a run takes so many times as long as reading the log's files, besides."""
RECENT = frozenset({findings.RECENT_TIME, findings.RECENT_BINLOG})
_NO_FINDING_DEPENDS_ON = ("within", "threads_running", "latency")


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
    :param admin: for mode ``snapshot``: may lock the primary for an instant, and stop a replica's applier for a moment.
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
    :raises HaError: nothing could be compared: ``unknown_mode``, ``window_too_short``, ``admin_login_needed``,
        ``unknown_member``, ``primary_unknown``, ``primary_silent``, ``nothing_to_compare``, ``already_running``,
        ``state_unwritable``.
    """
    unknown = [mode for mode in request.modes if mode not in MODES]
    if unknown:
        raise HaError("unknown_mode", f"no such mode: {', '.join(unknown)}", next_step=f"Use {', '.join(MODES)}.")
    policy = request.recent.policy
    if RECENT & {*request.modes} and min(policy.first, policy.look_back) < window.LEAST:
        raise HaError(
            "window_too_short",
            f"a window of {min(policy.first, policy.look_back):g} s holds nothing, and nothing is always the same",
            evidence={"first_window": policy.first, "look_back": policy.look_back, "least": window.LEAST},
            next_step=f"Give first_window and look_back, in seconds: {window.LEAST:g} at least.",
        )
    if findings.SNAPSHOT in request.modes and request.admin is None:
        raise HaError(
            "admin_login_needed",
            "a snapshot holds commits, and the replica's applier, for a moment, which this account may not",
            evidence={"user": request.login.user},
            next_step="Give admin_user and admin_password, or use another mode.",
        )
    with state_file.alone(request.state_directory, request.cluster):
        pool = Members(request.members, request.login, connect_within=request.connect_timeout)
        with closing(pool):
            return _Run(request, pool, say, clock, sleep).run()


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
        self._saved = 0.0
        self._servers: list[ServerFinding] = []
        self._results: list[TableResult] = []
        self._checkpoint = Checkpoint(request.state_directory, request.cluster, request.state)
        self._resumed = False
        self._state: State
        self._recent: Recent
        self._asserted: list[dict[str, Any]] = []
        self._sides = Sides(pool, statement=request.limits.statement, clock=clock)
        self._primary_name = ""
        self._listed: dict[Named, Listed] = {}
        self._errant: dict[str, GtidSet] = {}
        self._seen: set[str] = set()
        self._assertions = assertions.parse(request.assertions) if findings.BUSINESS in request.modes else ()

    def run(self) -> dict[str, Any]:
        request = self._request
        observation = self._pool.observe(within=_LOOK_WITHIN)
        primary = self._primary(observation)
        replicas = self._replicas(primary)
        for name in replicas:
            self._servers += look(primary, name, observation.answers[name], live=bool(self._live_modes))
            state = observation.states.get(name)
            if state is not None:
                self._errant[name] = errant(primary, state)
        uuids = {name: state.server_uuid for name, state in observation.states.items()}
        self._begin(primary, replicas, observation.states)
        self._primary_name = primary.name
        stopped = {each.replica: each for each in self._servers if each.stops}
        names = [name for name in replicas if name not in stopped]
        self._recent = Recent(
            request.recent,
            Remembered(
                request.state_directory,
                request.cluster,
                {"include": sorted(request.include), "exclude": sorted(request.exclude)},
            ),
            lambda: self._sides.session(primary.name),
            servers=[primary.server_uuid, *(uuids[name] for name in names if name in uuids)],
            state=self._state,
            statement=self._limits.statement,
            now=request.now,
            clock=self._clock,
            sleep=self._sleep,
        )
        if self._live_modes:
            with closing(self._recent):
                if findings.RECENT_BINLOG in self._live_modes:
                    self._recent.begin()
                self._tables(names, stopped, self._live_modes, self._sides.session)
                if not self._paused:
                    same = [uuids[name] for name in names if self._all_same(name, findings.RECENT_BINLOG)]
                    self._recent.finished([primary.server_uuid, *same] if same else [])
        if self._assertions and not self._paused:
            self._business(names, stopped)
        if findings.SNAPSHOT in request.modes and request.admin is not None and not self._paused:
            self._snapshots(request.admin, names, stopped)
        report = summary.of(self._outcome(primary.name, replicas))
        if report["finished"]:
            self._checkpoint.forget()
        else:
            self._keep(self._state)
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
        wanted = [name for name in dict.fromkeys(self._request.replicas or names) if name != primary.name]
        if not wanted:
            raise HaError(
                "nothing_to_compare",
                f"there is no member besides {primary.name}",
                evidence={"members": names},
                next_step="Name at least one replica.",
            )
        return wanted

    def _begin(self, primary: ServerState, replicas: Sequence[str], states: Mapping[str, ServerState]) -> None:
        request = self._request
        started = {name: state.clock - state.uptime for name, state in states.items()}
        bounds = dataclasses.asdict(request.limits)
        asked = question(
            primary=primary.server_uuid,
            replicas=sorted((name, states[name].server_uuid if name in states else "") for name in replicas),
            modes=sorted(request.modes),
            include=sorted(request.include),
            exclude=sorted(request.exclude),
            time_column=request.recent.time_column,
            reveal=request.reveal,
            # What another limit found (too large without a key, late) is not what this run would find.
            limits={name: value for name, value in bounds.items() if name not in _NO_FINDING_DEPENDS_ON},
        )
        kept = self._checkpoint.load(asked, request.now)
        kept = kept and of_these_servers(kept, started, primary.name)
        self._resumed = kept is not None
        self._state = kept or State(asked, request.now, started=started)
        if request.limits.within:
            # Of a run that was cut off long ago only the results count.
            spent = max(request.now - self._state.started_at, 0.0) if request.state else 0.0
            self._until = self._began + request.limits.within - spent
        if self._resumed:
            self._say(f"goes on with a run that was cut off: {len(self._state.done)} results are there")

    def _all_same(self, replica: str, mode: str) -> bool:
        """Whatever made a result: one that is no pass says that rows were not compared, or differ."""
        found = [each.verdict for each in self._results if (each.replica, each.mode) == (replica, mode)]
        return bool(found) and all(verdict == findings.PASS for verdict in found)

    # --- tables ------------------------------------------------------------------------------------------------------
    def _tables(
        self,
        names: Sequence[str],
        stopped: Mapping[str, ServerFinding],
        modes: Sequence[str],
        session: Callable[[str], Session],
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        """Compare every table on these replicas.

        :param session: the connection to a server; raises ``HaError``. ``let_go``: of what was read, after each range.
        """
        stopped = {**stopped, **self._list(names, session)}
        going = [name for name in names if name not in stopped]
        pace = Pace(
            [self._primary_name, *going],
            session,
            Bounds(self._limits.threads_running, self._limits.latency),
            statement=self._limits.statement,
            until=self._until,
            before=let_go,
            say=self._say,
            clock=self._clock,
            sleep=self._sleep,
        )
        wanted = sorted(self._listed)
        while wanted:
            for number, named in enumerate(wanted, 1):
                if self._paused:
                    return
                self._state.line = f"{number} of {len(wanted)}: {named.schema}.{named.table}"
                self._say(self._state.line)
                self._all_as_the_server(stopped.values(), [named], modes)
                for mode in modes:
                    self._table(named, mode, going, session, pace)
                    let_go()
            wanted = [] if findings.SNAPSHOT in modes else self._came_in(modes)

    def _list(self, names: Sequence[str], session: Callable[[str], Session]) -> dict[str, ServerFinding]:
        """Which tables there are, anywhere. :returns: the replicas that do not say."""
        request, within = self._request, self._limits.statement
        silent: dict[str, ServerFinding] = {}
        everywhere: dict[Named, Listed] = {}
        for name in (self._primary_name, *names):
            try:
                listed = tables(session(name), within=within)
                self._may_read(name, session(name))
            except HaError as error:
                if name == self._primary_name:
                    raise
                silent[name] = ServerFinding(name, findings.ERROR, error.code, error.message, error.next_step)
                continue
            for named, each in listed.items():
                everywhere[named] = everywhere[named].and_there(each) if named in everywhere else each
        self._servers += silent.values()
        wanted = chosen(everywhere, request.include, request.exclude)
        nothing = idle(everywhere, request.include)
        if nothing or not wanted:
            raise HaError(
                "nothing_to_compare",
                f"no table fits {', '.join(nothing)}" if nothing else "no table fits",
                evidence={"include": list(request.include), "exclude": list(request.exclude)},
                next_step="Correct the patterns; a schema's name alone stands for all its tables.",
            )
        self._listed = {named: everywhere[named] for named in wanted}
        return silent

    def _may_read(self, name: str, session: Session) -> None:
        """What the account may not see is as if it were not there, on both sides."""
        if name in self._seen:
            return
        told = privileges.grants(session, within=self._limits.statement)
        self._seen.add(name)
        hidden = privileges.unseen(told, self._request.include, self._request.exclude)
        if hidden:
            self._servers.append(
                ServerFinding(
                    name,
                    findings.ERROR,
                    "account_sees_part",
                    f"{self._request.login.user} may not read {hidden} there, so tables or columns can be hidden",
                    "GRANT SELECT ON *.* to it (mysql_account, duty reconcile); or include only what it may read.",
                )
            )

    def _came_in(self, modes: Sequence[str]) -> list[Named]:
        """Tables of the primary that were not there when all were listed, if any of those is gone: it may have been
        renamed, and holds the rows of which none was compared."""
        if not any(each.code == failures.DROPPED.code and each.mode in modes for each in self._results):
            return []
        try:
            now = tables(self._sides.session(self._primary_name), within=self._limits.statement)
        except HaError as error:
            self._servers.append(
                ServerFinding(self._primary_name, findings.ERROR, error.code, error.message, error.next_step)
            )
            return []
        wanted = chosen(now, self._request.include, self._request.exclude)
        fresh = [named for named in wanted if named not in self._listed]
        self._listed.update({named: now[named] for named in fresh})
        return fresh

    def _all_as_the_server(self, found: Iterable[ServerFinding], wanted: Iterable[Named], modes: Sequence[str]) -> None:
        """What keeps a whole replica from being compared, of each of its tables that was not."""
        said = {(each.schema, each.table, each.replica, each.mode) for each in self._results}
        for finding in found:
            self._results += [
                _as_the_server(named, mode, finding)
                for named in wanted
                for mode in modes
                if (*named, finding.replica, mode) not in said
            ]

    @property
    def _live_modes(self) -> list[str]:
        """Those that compare tables while both servers go on."""
        return [mode for mode in self._request.modes if mode not in (findings.BUSINESS, findings.SNAPSHOT)]

    def _table(
        self, named: Named, mode: str, names: Sequence[str], session: Callable[[str], Session], pace: Pace
    ) -> None:
        kept: dict[str, TableResult] = {}
        left: list[str] = []
        for name in names:
            done = self._state.done.get(name_of(mode, *named, name))
            if done is None:
                left.append(name)
            else:
                kept[name] = findings.result_from(done)
        found = self._compared(named, mode, left, session, pace) if left else {}
        for name in names:
            result = kept.get(name) or found[name]
            if result.code == "not_finished" and result.why == PAUSED:
                self._paused = True
                continue
            self._results.append(result)
            # Of a snapshot nothing is kept: another one holds other transactions.
            if mode != findings.SNAPSHOT and not self._cut_off(result):
                self._state.done[name_of(mode, *named, name)] = result.as_result()
        self._save()
        # Each part gets on by a table, or by a range of one.
        self._paused |= bool(left) and mode in self._live_modes and self._part_is_over()

    def _save(self) -> None:
        """Now and then: with thousands of tables the file is large."""
        if self._clock() - self._saved >= _SAVE_EVERY or not self._saved:
            self._keep(self._state)

    def _keep(self, state: State) -> None:
        self._saved = self._clock()
        state.saved_at = self._request.now + self._saved - self._began
        self._checkpoint.save(state)

    def _part_is_over(self) -> bool:
        # Each part reads the log's files once more: a fifth of its time, at most.
        part = self._request.part + _SCANS * self._recent.scan_seconds
        return bool(self._request.part) and part <= self._clock() - self._began

    def _compared(
        self, named: Named, mode: str, names: Sequence[str], session: Callable[[str], Session], pace: Pace
    ) -> dict[str, TableResult]:
        """By replica. A connection that can not be had is the verdict of those that need it."""
        there, sessions, silent = self._connected(names, session)
        found = {name: _as_the_server(named, mode, finding) for name, finding in silent.items()}
        if there is None or not sessions:
            return found
        one = OneTable(self._listed[named], mode, there, self._how(pace), self._state)
        found.update(one.compare(sessions))
        for plan in one.repair:
            if not self._cut_off(found[plan["replica"]]):
                self._state.repair.append({**plan, "mode": mode})
        return found

    def _connected(
        self, names: Sequence[str], session: Callable[[str], Session]
    ) -> tuple[Optional[Session], dict[str, Session], dict[str, ServerFinding]]:
        """The primary's connection, those of the replicas, and the replicas for which there is none."""
        sessions: dict[str, Session] = {}
        silent: dict[str, ServerFinding] = {}
        there = None
        for name in names:
            try:
                there = session(self._primary_name)
                sessions[name] = session(name)
            except HaError as error:
                silent[name] = ServerFinding(name, findings.ERROR, error.code, error.message, error.next_step)
        return there, sessions, silent

    def _cut_off(self, result: TableResult) -> bool:
        """Whether it was ended by the time for this run: the next one goes on with it."""
        timed = result.verdict == findings.DIFFERENT and result.covered < 1.0 and self._clock() >= self._until
        return result.code == "not_finished" or timed

    def _how(self, pace: Pace) -> How:
        limits = self._limits
        return How(
            rechecking=recheck.Limits(
                limits.statement, limits.catch_up, limits.lock, limits.listed, errant=self._errant
            ),
            differences=limits.differences,
            rows_without_key=limits.rows_without_key,
            recent=self._recent,
            until=self._until,
            reveal=self._request.reveal,
            before_range=pace.wait,
            pause=self._part_is_over,
            save=self._keep,
            say=self._say,
            clock=self._clock,
            sleep=self._sleep,
        )

    def _snapshots(self, admin: Login, names: Sequence[str], stopped: Mapping[str, ServerFinding]) -> None:
        """One replica after the other, each at one GTID with the primary."""
        request = self._request
        found = list(stopped.values())
        admins = Members(request.members, admin, connect_within=request.connect_timeout)
        try:
            for name in names:
                try:
                    self._snapshot(name, admins)
                except HaError as error:
                    if error.code == "nothing_to_compare":
                        raise
                    finding = ServerFinding(name, _verdict_of(error), error.code, error.message, error.next_step)
                    self._servers.append(finding)
                    found.append(finding)
                finally:
                    # The snapshot was of these connections, and whatever they hold ends with them.
                    self._sides.close()
                    admins.close()
        finally:
            admins.close()
        if not self._listed:
            try:
                self._list([], self._sides.session)
            except HaError as error:
                if error.code == "nothing_to_compare":
                    raise
                return  # what was found of the servers says so
        self._all_as_the_server(found, sorted(self._listed), [findings.SNAPSHOT])

    def _snapshot(self, name: str, admins: Members) -> None:
        self._sides.close()
        isolated = {"transaction_isolation": "REPEATABLE-READ"}
        # These two and no others: a connection that was opened again would be outside of the snapshot.
        fixed = {each: self._sides.session(each, isolated) for each in (self._primary_name, name)}
        with snapshot.at_one_gtid(
            fixed[self._primary_name],
            fixed[name],
            admins.session(self._primary_name),
            lambda: admins.session(name),
            statement=self._limits.statement,
            catch_up=self._limits.catch_up,
            clock=self._clock,
            sleep=self._sleep,
        ) as held:
            self._say(f"{name} is looked at where {self._primary_name} was: {held.gtids}")
            try:
                self._tables([name], {}, [findings.SNAPSHOT], fixed.__getitem__, held.let_tables_go)
                changed = held.changed()
            except HaError:
                self._forget_snapshot(name, self._listed)  # nobody knows of which tables it was
                raise
        for named in innodb_names.meant(changed, self._listed) if changed else ():
            self._forget_snapshot(name, [named])
            self._results.append(
                TableResult(named.schema, named.table, name, findings.SNAPSHOT, *failures.CHANGED, covered=0.0)
            )

    def _forget_snapshot(self, name: str, tables: Collection[Named]) -> None:
        its = (findings.SNAPSHOT, name)
        shown = {f"{named.schema}.{named.table}" for named in tables}
        self._results = [
            each
            for each in self._results
            if (each.mode, each.replica) != its or Named(each.schema, each.table) not in tables
        ]
        self._state.repair = [
            each for each in self._state.repair if (each["mode"], each["replica"]) != its or each["table"] not in shown
        ]

    # --- assertions --------------------------------------------------------------------------------------------------
    def _business(self, names: Sequence[str], stopped: Mapping[str, ServerFinding]) -> None:
        there, sessions, silent = self._connected(names, self._sides.session)
        self._servers += silent.values()
        if there is not None and sessions:
            self._assert(there, sessions)
        for name, finding in {**stopped, **silent}.items():
            for each in self._assertions:
                verdict = Verdict(each.name, each.expect, each.severity, "replica", name, finding.verdict)
                told = {**summary.asserted(verdict), "code": finding.code, "why": finding.why}
                self._asserted.append(told)

    def _assert(self, there: Session, sessions: Mapping[str, Session]) -> None:
        def barrier(name: str, gtids: str, patience: float) -> bool:
            return wait_executed(sessions[name], gtids, patience=patience, statement=self._limits.statement)

        def ahead(name: str, patience: float) -> bool:
            limits = recheck.Limits(self._limits.statement, errant=self._errant)
            return recheck.is_ahead(there, sessions[name], limits, patience)

        left = self._until - self._clock()
        within = min(left, business.Limits.within * max(len(self._assertions), 1)) if left > 0 else 0.001
        said = business.run(
            self._assertions,
            there,
            sessions,
            barrier,
            ahead=ahead,
            clock=self._clock,
            sleep=self._sleep,
            limits=business.Limits(within, self._limits.catch_up),
            reveal=self._request.reveal,
        )
        for verdict in said.verdicts:
            self._asserted.append(summary.asserted(verdict))

    def _outcome(self, primary: str, replicas: Sequence[str]) -> summary.Outcome:
        state = self._state
        return summary.Outcome(
            cluster=self._request.cluster,
            primary=primary,
            replicas=replicas,
            modes=self._request.modes,
            started_at=state.started_at,
            seconds=self._clock() - self._began,
            finished=not self._paused and not any(self._cut_off(result) for result in self._results),
            resumed=self._resumed,
            under_way=state.as_kept() if self._paused else None,
            line=state.line,
            servers=self._servers,
            results=self._results,
            asserted=self._asserted,
            plans=state.repair,
        )


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
