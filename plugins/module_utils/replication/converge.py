# SPDX-License-Identifier: BSD-2-Clause
"""One convergence from the outside: members, login and a wish in, a report out. What the module calls.

Look, decide one step, do it, look again; until nothing is left, or it must not go on.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import socket
import time
import uuid
from typing import Any, Optional, Sequence

from ..errors import HaError
from ..refusal import Refusal
from ..server import settings
from ..server.session import PROGRAM, Login, Session
from ..server.state import ON, Member, ServerState
from ..topology import durability
from ..topology.locks import Locks
from ..topology.observe import Members
from . import predict
from .facts import read_facts
from .plan import Decide, Settled, next_step
from .procedure import Means, Procedure
from .situation import ServerFacts, Situation, Wish, find_primary

REPEATS = 3
"""How often the very same step is tried: more often means that it has no effect."""

REGAIN_SECONDS = 5
"""To wait for the lock on a server that has restarted."""

LOCK_WAIT = 10
"""Seconds to wait for whoever holds a lock: a server that has just started takes its own while it attaches itself."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What was, or in check mode would be, done; and what it looks like then."""

    changed: bool
    primary: str
    steps: tuple[dict[str, Any], ...]
    before: Situation
    after: Situation
    wish: Wish
    warnings: tuple[str, ...] = ()

    @property
    def durability(self) -> Optional[durability.DurabilityStatement]:
        """What the cluster survives then; None without a term row."""
        return _durability(self.after)

    def as_result(self) -> dict[str, Any]:
        term = self.after.term
        statement = self.durability
        return {
            "primary": self.primary,
            "primary_uuid": term.primary_uuid if term else "",
            "term": term.term if term else 0,
            "revision": term.revision if term else 0,
            "n": term.n if term else 0,
            "k": term.k if term else 0,
            "durability": dataclasses.asdict(statement) if statement else None,
            "plan": [step["sentence"] for step in self.steps],
            "steps": list(self.steps),
        }


def converge(
    members: Sequence[Member],
    login: Login,
    wish: Wish,
    means: Means,
    *,
    cluster: str,
    connect_timeout: float = 2.0,
    check_only: bool = False,
    decide: Optional[Decide] = None,
) -> Report:
    """Make replication what was wished for.

    :param decide: another plan than that of convergence; it knows nothing of tables, for they are not read then.
    :raises HaError: refused, with all reasons in its evidence; or a step failed: running again goes on from there.
    """
    looker = _Looker(members, login, wish, means, connect_timeout, tables=decide is None)
    decide = decide or next_step
    try:
        before = looker.look()
        planned, end, predicted = predict.plan(before, wish, decide)
        if not planned and isinstance(end, Refusal):
            raise end.as_error()
        if check_only:
            # A refusal that is only met on the way would stop the real run there.
            if isinstance(end, Refusal):
                raise _with_steps(end.as_error(), [_as_dict(step, 0.0) for step in planned])
            return Report(
                bool(planned),
                end.primary,
                tuple(_as_dict(step, 0.0) for step in planned),
                before,
                predicted,
                wish,
                (*end.warnings, *_advice(predicted)),
            )
        if isinstance(end, Settled) and not planned:
            return Report(False, end.primary, (), before, before, wish, (*end.warnings, *_advice(before)))
        with _Locked(looker, cluster, before, login, connect_timeout) as locked:
            return _act(looker, wish, means, before, locked, decide)
    finally:
        looker.close()


def _act(
    looker: _Looker, wish: Wish, means: Means, before: Situation, locked: _Locked, decide: Optional[Decide] = None
) -> Report:
    decide = decide or next_step
    done: list[dict[str, Any]] = []
    seen: collections.Counter[Any] = collections.Counter()
    run_id = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:8]}"
    try:
        while True:
            locked.regain()
            situation = looker.look()
            decision = decide(situation, wish)
            if isinstance(decision, Refusal):
                raise decision.as_error()
            if isinstance(decision, Settled):
                return Report(
                    bool(done),
                    decision.primary,
                    tuple(done),
                    before,
                    situation,
                    wish,
                    (*decision.warnings, *_advice(situation)),
                )
            seen[decision] += 1
            if seen[decision] > REPEATS:
                raise HaError(
                    "no_progress",
                    f"{decision.sentence}: done {REPEATS} times without effect",
                    evidence={"step": type(decision).__name__, "member": decision.name},
                    next_step="Look at that server: something undoes it.",
                )
            locked.check()
            started = time.monotonic()
            procedure = Procedure(
                looker.pool, wish, means, run_id=run_id, before_restart=locked.forgo, still_locked=locked.check
            )
            procedure.do(decision, situation)
            done.append(_as_dict(decision, time.monotonic() - started))
    except HaError as error:
        raise _with_steps(error, done) from error


def _with_steps(error: HaError, done: list[dict[str, Any]]) -> HaError:
    error.evidence.setdefault("steps", done)
    return error


def _as_dict(step: Any, seconds: float) -> dict[str, Any]:
    return {
        "step": type(step).__name__,
        "member": step.name,
        "sentence": step.sentence,
        "seconds": round(seconds, 3),
    }


class _Looker:
    """Looks at all members, and at registered servers that are not among them any more."""

    def __init__(
        self,
        members: Sequence[Member],
        login: Login,
        wish: Wish,
        means: Means,
        connect_timeout: float,
        *,
        tables: bool = True,
    ) -> None:
        self._login = login
        self._tables = tables
        self._wish = wish
        self._means = means
        self._connect_timeout = connect_timeout
        self.pool = self._pool(members)

    def _pool(self, members: Sequence[Member]) -> Members:
        return Members(members, self._login, settings={"lock_wait_timeout": 5}, connect_within=self._connect_timeout)

    def look(self) -> Situation:
        observation = self.pool.observe(within=self._means.statement)
        term = observation.term
        if term is not None:
            known = {(m.host, m.port) for m in self.pool.members}
            names = {m.name for m in self.pool.members}
            gone = [m for m in term.acknowledgers if (m.host, m.port) not in known]
            if gone:
                extra = [m if m.name not in names else dataclasses.replace(m, name=f"{m.name} (former)") for m in gone]
                self.pool.close()
                self.pool = self._pool((*self.pool.members, *extra))
                return self.look()

        def facts(session: Session) -> ServerFacts:
            return read_facts(session, self._wish.user_prefix, within=self._means.statement, tables=self._tables)

        outcome = self.pool.on_each(list(observation.states), facts, within=self._means.statement * 1.5)
        read: dict[str, ServerFacts] = {}
        for name, result in outcome.items():
            if isinstance(result, HaError):
                raise result
            if result is None:
                raise HaError(
                    "deadline_exceeded",
                    f"{name}: its tables could not be listed within {self._means.statement:g} s",
                    evidence={"member": name},
                    next_step="Raise statement_timeout, or look at what that server is busy with.",
                )
            read[name] = result
        return Situation(observation, read)

    def close(self) -> None:
        self.pool.close()


class _Locked:
    """The cluster's lock for one run, on all members that answer: so no failover can hold enough of them meanwhile.

    On connections of its own. Those that act are replaced when a clone restarts a server, and closed when a look is not
    answered in time; neither must cost the lock of a server that is well. What acts without the lock's connection asks
    for the lock right before each step, and again after each long wait.
    """

    def __init__(
        self, looker: _Looker, cluster: str, situation: Situation, login: Login, connect_timeout: float
    ) -> None:
        members = [m for m in looker.pool.members if m.name in situation.observation.states]
        self._pool = Members(
            members,
            login,
            connect_within=connect_timeout,
            program=f"{PROGRAM} convergence on {socket.gethostname()} pid {os.getpid()}",
        )
        self._locks = Locks(self._pool, cluster, within=connect_timeout + 1)
        self._names = [m.name for m in members]
        self._forgone: list[str] = []

    def __enter__(self) -> _Locked:
        try:
            self._locks.take(self._names, len(self._names), wait=LOCK_WAIT)
        except HaError:
            self._close()
            raise
        return self

    def check(self) -> None:
        """:raises HaError: ``lock_lost``."""
        self._locks.check()

    def forgo(self, name: str) -> None:
        """That server restarts, and its lock with it."""
        self._locks.forgo(name)
        self._forgone.append(name)

    def regain(self) -> None:
        """Lock the servers that have restarted, before the next look: the next step may make acknowledgers of them.

        :raises HaError: ``locked``.
        """
        if self._forgone:
            # Another run that tries, and finds the other members locked, holds it for a moment.
            self._locks.take(self._forgone, len(self._forgone), wait=REGAIN_SECONDS)
        self._forgone = []

    def __exit__(self, *_exception: object) -> None:
        self._close()

    def _close(self) -> None:
        self._locks.release()
        self._pool.close()


def _durability(situation: Situation) -> Optional[durability.DurabilityStatement]:
    term = situation.term
    own = next((m for m in term.members if m.server_uuid == term.primary_uuid), None) if term else None
    if term is None or own is None:
        return None
    return durability.state(own, term.acknowledgers, term.k, term.acknowledgement)


def _advice(situation: Situation) -> list[str]:
    """Drift that no safety rests on."""
    found = []
    for state in situation.observation.states.values():
        found += [
            f"{state.name}: {d.name} is {d.actual}, not {d.expected}: {d.why}"
            for d in settings.drift(state.settings)
            if not d.safety
        ]
    return found


def text(situation: Situation, wish: Wish) -> str:
    """The topology in a few lines that change only when it does; for diffs."""
    primary = find_primary(situation, wish)
    term = situation.term
    head = f"primary: {primary.name if primary else '(none)'}"
    if term:
        head += f", term {term.term}.{term.revision}, k={term.k} of n={term.n}, acknowledged on {term.acknowledgement}"
    lines = [head]
    registered = {m.server_uuid for m in term.acknowledgers} if term else set()
    for member in situation.observation.members:
        state = situation.state(member.name)
        line = _line(state, primary.server_uuid if primary else "", registered)
        out = next((m.out for m in term.members if m.name == member.name), "") if term else ""
        lines.append(f"{member.name}: {line}" + (f", out of service: {out}" if out else ""))
    statement = _durability(situation)
    for level in statement.levels if statement else ():
        lines.append(f"loss of the {level.level}: {'survived' if level.survived else 'NOT survived'} without loss")
    return "\n".join(lines) + "\n"


def _line(state: Optional[ServerState], primary_uuid: str, registered: set[str]) -> str:
    if state is None:
        return "does not answer"
    parts = ["writable" if state.writable else "read-only"]
    if state.fenced:
        parts.append("offline (fenced)")
    semi = state.semi_sync
    if semi.source_enabled:
        parts.append(f"waits for {semi.wait_count} acknowledgements")
    seen = state.receiver
    if state.server_uuid != primary_uuid:
        if seen is None or not seen.source_host:
            parts.append("follows nobody" + ("" if state.executed else ", empty"))
        else:
            running = seen.state == ON and state.applier is not None and state.applier.state == ON
            parts.append(f"follows {seen.source_host}:{seen.source_port}" + ("" if running else " (not running)"))
        if state.server_uuid in registered:
            parts.append("registered")
        if semi.replica_enabled:
            parts.append("acknowledges")
    return ", ".join(parts)
