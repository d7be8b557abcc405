# SPDX-License-Identifier: BSD-2-Clause
"""Seeding one member by CLONE from the outside: members, login and a request in, a report out. What the module calls.

The cluster's lock is held while it is decided and the copy is started, and again while the server is attached; not
during the copy, which may take hours: a failover must be possible meanwhile. What keeps others away from the recipient
then is the clone itself: a convergence refuses while one is at work (``refusals.py``), and MySQL runs one at a time.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from typing import Any, Callable, Mapping, Optional, Sequence, Union

from ..clone import plan as clone_plan
from ..clone.copy import Begun, Cloned, Statement, Throttle, close_wreck, finish, follow, from_donor, prepare
from ..clone.facts import read_clone_facts, read_progress, trying
from ..clone.plan import CloneFacts, Ready, Running, Unchanged, Verdict, Wanted
from ..clone.progress import Progress
from ..errors import HaError, defect
from ..refusal import Refusal
from ..server.session import PROGRAM, Login, Session
from ..server.state import Member, Observation
from ..topology.locks import Locks
from ..topology.observe import Members
from .attach import attaching
from .converge import Report, converge
from .procedure import Means
from .situation import Wish

START_SECONDS = 5.0
"""To see that the copy has begun, before the lock is let go."""


@dataclasses.dataclass(frozen=True)
class Request:
    """``replicate``: let it follow the primary afterwards. ``free``: bytes left where its data lie, if that is known.

    ``pause_after``: seconds after which to return while the copy goes on; 0: at its end. ``under_way``: what such a
    return said, to go on from there.
    """

    recipient: str
    donor: str = ""
    expendable: bool = False
    replicate: bool = False
    throttle: Throttle = Throttle()
    free: Optional[int] = None
    pause_after: float = 0.0
    under_way: Optional[Begun] = None


@dataclasses.dataclass(frozen=True)
class SeedReport:
    """What was, or in check mode would be, done. ``under_way``: the copy goes on; ``line`` says how far it is."""

    changed: bool
    donor: str
    plan: tuple[str, ...]
    why: str = ""
    warnings: tuple[str, ...] = ()
    passed_over: Mapping[str, str] = dataclasses.field(default_factory=dict)
    under_way: Optional[Begun] = None
    line: str = ""
    progress: Progress = Progress()
    cloned: Optional[Cloned] = None
    following: Optional[bool] = None
    before: str = ""
    after: str = ""

    def as_result(self) -> dict[str, Any]:
        return {
            "donor": self.donor,
            "finished": self.under_way is None,
            "why": self.why,
            "plan": list(self.plan),
            "passed_over": dict(self.passed_over),
            "progress": dict(self.progress.as_result(), line=self.line),
            "position": self.cloned.as_result() if self.cloned else _position(self.progress),
            "following": bool(self.following),
            **({"under_way": self.under_way.as_dict()} if self.under_way else {}),
        }


def _position(progress: Progress) -> dict[str, Any]:
    """Where the recipient's last clone ended."""
    return {
        "gtid_executed": progress.executed,
        "binlog_file": progress.binlog_file,
        "binlog_position": progress.binlog_position,
        "bytes": progress.data,
        "network_bytes": progress.network,
    }


def seed(
    members: Sequence[Member],
    login: Login,
    request: Request,
    wish: Wish,
    means: Means,
    *,
    cluster: str,
    connect_timeout: float = 2.0,
    check_only: bool = False,
) -> SeedReport:
    """Make the recipient a copy of a donor, unless it needs none; on request let it follow the primary.

    :raises HaError: refused, with all reasons in its evidence; or it failed: running again decides anew.
    """
    seeding = _Seeding(members, login, request, wish, means, cluster, connect_timeout)
    try:
        return seeding.check() if check_only else seeding.run()
    finally:
        seeding.close()


class _Seeding:
    def __init__(
        self,
        members: Sequence[Member],
        login: Login,
        request: Request,
        wish: Wish,
        means: Means,
        cluster: str,
        connect_timeout: float,
    ) -> None:
        self._members = tuple(members)
        self._login = login
        self._request = request
        self._wish = wish
        self._means = means
        self._cluster = cluster
        self._connect_timeout = connect_timeout
        self._pool = Members(members, login, settings={"lock_wait_timeout": 5}, connect_within=connect_timeout)
        self._line = ""
        self._seen = Progress()

    def close(self) -> None:
        self._pool.close()

    # --- looking -----------------------------------------------------------------------------------------------------
    def _look(self) -> tuple[Observation, dict[str, CloneFacts]]:
        within = self._means.statement
        observation = self._pool.observe(within=within)
        clone = self._means.clone
        its_login = Login(clone.user, clone.password, ca=self._login.ca)

        def facts(session: Session) -> CloneFacts:
            member = self._pool.member(session.name)
            recipient = member.name == self._request.recipient
            return read_clone_facts(
                session,
                clone.user,
                within=within,
                # Not on the recipient: there nobody logs in by that account.
                password_works=None if recipient else trying(member, its_login, within=self._connect_timeout),
                free=self._request.free if recipient else None,
            )

        read: dict[str, CloneFacts] = {}
        for name, result in self._pool.on_each(list(observation.states), facts, within=within * 1.5).items():
            if isinstance(result, HaError):
                raise result
            if result is None:
                raise HaError(
                    "deadline_exceeded",
                    f"{name} could not be asked within {within:g} s",
                    evidence={"member": name},
                    next_step="Raise statement_timeout, or look at what that server is busy with.",
                )
            read[name] = result
        return observation, read

    def _decide(self) -> tuple[Verdict, Observation, dict[str, CloneFacts]]:
        observation, facts = self._look()
        wanted = Wanted(self._request.recipient, self._request.donor, self._request.expendable)
        return clone_plan.decide(wanted, observation, facts), observation, facts

    def check(self) -> SeedReport:
        """What would be done."""
        verdict, observation, facts = self._decide()
        name = self._request.recipient
        if isinstance(verdict, Refusal):
            raise verdict.as_error()
        own = facts[name]
        if isinstance(verdict, Unchanged):
            attached = self._attach(check_only=True)
            plan = self._sentences(attached)
            return SeedReport(bool(plan), "", plan, verdict.why, progress=own.clone, following=self._is_following())
        if isinstance(verdict, Running):
            return SeedReport(True, verdict.donor, (f"wait for the clone from {verdict.donor}",), progress=own.clone)
        plan = (verdict.sentence(name), *((f"{name} follows the primary",) if self._request.replicate else ()))
        return SeedReport(
            True,
            verdict.donor,
            plan,
            warnings=verdict.warnings,
            passed_over=verdict.passed_over,
            before=self._text(observation, ""),
            after=self._text(observation, verdict.donor),
        )

    def _text(self, observation: Observation, donor: str) -> str:
        """One line that changes only when the recipient's data do."""
        name = self._request.recipient
        if donor:
            return f"{name}: a copy of {donor}{', following' if self._request.replicate else ''}\n"
        executed = observation.states[name].executed
        return f"{name}: {f'holds {executed}' if executed else 'empty'}\n"

    # --- doing -------------------------------------------------------------------------------------------------------
    def run(self) -> SeedReport:
        if self._request.under_way is not None:
            return self._go_on(self._request.under_way, None)
        verdict, observation, facts = self._decide()
        if isinstance(verdict, Ready):
            return self._do()
        return self._settled(verdict, observation, facts)

    def _settled(self, verdict: Verdict, observation: Observation, facts: Mapping[str, CloneFacts]) -> SeedReport:
        """Nothing has to be copied, or it may not be, or it is being copied already."""
        if isinstance(verdict, Refusal):
            raise verdict.as_error()
        own = facts[self._request.recipient]
        if isinstance(verdict, Unchanged):
            plan = self._sentences(self._attach(check_only=False))
            return SeedReport(bool(plan), "", plan, verdict.why, progress=own.clone, following=self._is_following())
        if isinstance(verdict, Running):
            return self._go_on(Begun(verdict.donor), None)
        raise defect("a verdict that nobody knows")

    def _do(self) -> SeedReport:
        """Look again under the lock, start the copy, and let the lock go once it has begun."""
        name = self._request.recipient
        with _Locked(self._members, self._login, self._cluster, self._connect_timeout, self._pool):
            verdict, observation, facts = self._decide()
            followed = self._start(verdict, observation, facts) if isinstance(verdict, Ready) else None
        if not isinstance(verdict, Ready) or followed is None:
            return self._settled(verdict, observation, facts)
        report = self._go_on(*followed)
        return dataclasses.replace(
            report,
            plan=(verdict.sentence(name), *report.plan),
            warnings=verdict.warnings,
            passed_over=verdict.passed_over,
            before=self._text(observation, ""),
            after=self._text(observation, verdict.donor),
        )

    def _start(
        self, verdict: Ready, observation: Observation, facts: Mapping[str, CloneFacts]
    ) -> tuple[Begun, Statement, Optional[Session]]:
        """Until the recipient says that it has begun, or that is over already."""
        name, within = self._request.recipient, self._means.statement
        donor = self._pool.member(verdict.donor)
        address = (donor.host, donor.replication_port)
        if facts[name].wrecked:
            close_wreck(self._pool.session(name), within=within)
        begun = prepare(
            self._pool.session(name),
            observation.states[name].server_uuid,
            self._pool.session(donor.name),
            address,
            self._means.clone,
            throttle=self._request.throttle,
            within=within,
        )
        statement = from_donor(self._connect(), address, self._means.clone, within=self._means.clone_within)
        statement.start()
        seen = self._follow(begun, statement, lambda seen, seconds: bool(seen.began) or seconds >= START_SECONDS)
        return begun, statement, None if isinstance(seen, Begun) else seen

    def _connect(self) -> Session:
        """A connection to the recipient that nobody else uses."""
        member = self._pool.member(self._request.recipient)
        return Session.connect(
            member.name, member.host, member.port, self._login, within=self._connect_timeout, program=f"{PROGRAM} clone"
        )

    def _follow(
        self, begun: Begun, statement: Optional[Statement], leave: Optional[Callable[[Progress, float], bool]]
    ) -> Union[Session, Begun]:
        def say(line: str, seen: Progress) -> None:
            self._line, self._seen = line, seen

        return follow(
            self._request.recipient,
            begun,
            self._connect,
            statement=statement,
            statement_within=self._means.statement,
            clone_within=self._means.clone_within,
            restart_within=self._means.restart,
            leave=leave,
            say=say,
        )

    def _go_on(self, begun: Begun, statement: Optional[Statement], session: Optional[Session] = None) -> SeedReport:
        pause = self._request.pause_after
        followed = session or self._follow(
            begun, statement, (lambda _seen, seconds: seconds >= pause) if pause else None
        )
        if isinstance(followed, Begun):
            return SeedReport(True, begun.donor, (), under_way=followed, line=self._line, progress=self._seen)
        session = followed
        try:
            cloned = finish(session, begun, within=self._means.statement)
            seen = read_progress(session, within=self._means.statement)
        finally:
            session.close()
        plan = self._sentences(self._attach(check_only=False))
        following = self._is_following() if self._request.replicate else False
        return SeedReport(True, begun.donor, plan, progress=seen, cloned=cloned, following=following)

    # --- following ---------------------------------------------------------------------------------------------------
    def _attach(self, *, check_only: bool) -> Optional[Report]:
        if not self._request.replicate:
            return None
        return converge(
            self._members,
            self._login,
            self._wish,
            self._means,
            cluster=self._cluster,
            connect_timeout=self._connect_timeout,
            check_only=check_only,
            decide=attaching(self._request.recipient),
        )

    @staticmethod
    def _sentences(report: Optional[Report]) -> tuple[str, ...]:
        return tuple(str(step["sentence"]) for step in report.steps) if report else ()

    def _is_following(self) -> bool:
        observation = self._pool.observe([self._request.recipient], within=self._means.statement)
        state = observation.states.get(self._request.recipient)
        return bool(state and state.receiver and state.receiver.source_host)


class _Locked:
    """The cluster's lock on every member that answers, on connections of its own."""

    def __init__(
        self, members: Sequence[Member], login: Login, cluster: str, connect_timeout: float, looked: Members
    ) -> None:
        self._pool = Members(
            members,
            login,
            connect_within=connect_timeout,
            program=f"{PROGRAM} clone on {socket.gethostname()} pid {os.getpid()}",
        )
        self._locks = Locks(self._pool, cluster, within=connect_timeout + 1)
        self._names = list(looked.observe(within=connect_timeout + 1).states)

    def __enter__(self) -> Callable[[], None]:
        try:
            self._locks.take(self._names, len(self._names))
        except HaError:
            self._pool.close()
            raise
        return self._locks.check

    def __exit__(self, *_exception: object) -> None:
        self._locks.release()
        self._pool.close()
