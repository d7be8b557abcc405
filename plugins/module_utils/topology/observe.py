# SPDX-License-Identifier: BSD-2-Clause
"""Asking all members at once, under one deadline.

The slowest member does not delay what is known of the others: after the deadline it counts as ``timed_out`` and its
late answer is dropped.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import threading
import time
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence, TypeVar

from ..errors import HaError
from ..server.read import read_state
from ..server.session import PROGRAM, ConnectFailed, Login, Session, StatementFailed
from ..server.state import FAILED, REFUSED, TIMED_OUT, Answer, Member, NoAnswer, Observation

Result = TypeVar("Result")


def in_parallel(work: Mapping[str, Callable[[], Result]], *, within: float) -> dict[str, Result | HaError | None]:
    """Run one function for each name, in threads of their own.

    :returns: for each name its result, the ``HaError`` it raised, or ``None`` when it had not ended by the deadline.
        Any other exception is a defect and is raised here.
    """
    futures: dict[str, concurrent.futures.Future[Result]] = {}
    for name, function in work.items():
        future: concurrent.futures.Future[Result] = concurrent.futures.Future()
        # Daemon threads, not an executor: leaving must not wait for a thread that is stuck in a dead connection.
        threading.Thread(target=_settle, args=(future, function), name=f"member-{name}", daemon=True).start()
        futures[name] = future
    concurrent.futures.wait(futures.values(), timeout=within)
    outcome: dict[str, Result | HaError | None] = {}
    for name, future in futures.items():
        if not future.done():
            outcome[name] = None
            continue
        error = future.exception()
        if error is None:
            outcome[name] = future.result()
        elif isinstance(error, HaError):
            outcome[name] = error
        else:
            raise error
    return outcome


def _settle(future: concurrent.futures.Future[Any], function: Callable[[], Any]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - handed on to whoever asks the future
        future.set_exception(error)


class Members:
    """The members of one cluster and the open connections to them.

    A connection is opened when it is first needed and kept. It is replaced after it broke, unless it is pinned: one
    that holds a lock is never replaced, not by a look at that member either, or what follows would run without the
    lock.
    """

    def __init__(
        self,
        members: Sequence[Member],
        login: Login,
        *,
        settings: Optional[Mapping[str, Any]] = None,
        connect_within: float = 1.0,
        program: str = PROGRAM,
    ) -> None:
        self.members = tuple(members)
        self.login = login
        self._settings = dict(settings or {})
        self._connect_within = connect_within
        self._program = program
        self._sessions: dict[str, Session] = {}
        self._pinned: set[str] = set()

    def member(self, name: str) -> Member:
        for member in self.members:
            if member.name == name:
                return member
        raise HaError(
            "unknown_member",
            f"there is no member {name!r}",
            evidence={"members": [m.name for m in self.members]},
            next_step="Name one of the members.",
        )

    def add(self, members: Iterable[Member]) -> bool:
        """Ask these from now on, too, but for those whose address is known. Whether there was one to add."""
        known = {(m.host, m.port) for m in self.members}
        names = {m.name for m in self.members}
        fresh = [
            m if m.name not in names else dataclasses.replace(m, name=f"{m.name} (registered)")
            for m in members
            if (m.host, m.port) not in known
        ]
        self.members += tuple(fresh)
        return bool(fresh)

    def session(self, name: str) -> Session:
        """The connection to a member.

        :raises ConnectFailed: when there is none and none can be opened.
        :raises StatementFailed: ``lock_lost`` when it broke and is pinned.
        """
        current = self._sessions.get(name)
        if current is not None and current.usable:
            return current
        if name in self._pinned:
            raise StatementFailed(
                "lock_lost",
                f"{name}: the connection that held the lock is gone",
                evidence={"member": name},
                next_step="Run again: another run may have acted meanwhile.",
            )
        member = self.member(name)
        opened = Session.connect(
            name,
            member.host,
            member.port,
            self.login,
            within=self._connect_within,
            settings=self._settings,
            program=self._program,
        )
        self._sessions[name] = opened
        return opened

    def pin(self, name: str) -> None:
        """The connection holds a lock now."""
        self._pinned.add(name)

    def unpin(self, name: str) -> None:
        """The lock was let go, or given up."""
        self._pinned.discard(name)

    def on_each(
        self, names: Sequence[str], work: Callable[[Session], Result], *, within: float
    ) -> dict[str, Result | HaError | None]:
        """Run ``work`` with each named member's connection, in parallel. Results as ``in_parallel``."""

        def run(name: str) -> Result:
            return work(self.session(name))

        return in_parallel({name: functools.partial(run, name) for name in names}, within=within)

    def observe(self, names: Optional[Sequence[str]] = None, *, within: float = 2.0) -> Observation:
        """Ask the members, all or those named, for their state."""
        asked = [m.name for m in self.members] if names is None else list(names)
        started = time.monotonic()
        wall = time.time()

        def ask(name: str) -> Answer:
            asked_at = time.monotonic()
            try:
                state = read_state(self.session(name), within=max(started + within - time.monotonic(), 0.001))
                # Connecting is part of the answer.
                return dataclasses.replace(state, asked_at=asked_at)
            except (ConnectFailed, StatementFailed) as error:
                return no_answer(name, error, asked_at)

        outcome = in_parallel({name: functools.partial(ask, name) for name in asked}, within=within)
        ended = time.monotonic()
        answers: dict[str, Answer] = {}
        for name, answer in outcome.items():
            if isinstance(answer, HaError):
                raise answer
            if answer is None:
                member = self.member(name)
                said = f"{name} ({member.host}:{member.port}): no answer within {within:g} s"
                answer = NoAnswer(name, TIMED_OUT, said, asked_at=started, answered_at=ended)
            answers[name] = answer
        return Observation(
            members=tuple(m for m in self.members if m.name in answers),
            answers=answers,
            started=started,
            wall=wall,
            elapsed=ended - started,
        )

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()


def no_answer(name: str, error: ConnectFailed | StatementFailed, asked_at: float) -> NoAnswer:
    """What a failed attempt says about a member."""
    if isinstance(error, ConnectFailed):
        kind = error.kind
    else:
        kind = {"deadline_exceeded": TIMED_OUT, "connection_lost": REFUSED}.get(error.code, FAILED)
    return NoAnswer(name, kind, error.message, error.errno, asked_at, time.monotonic())
