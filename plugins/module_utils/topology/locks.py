# SPDX-License-Identifier: BSD-2-Clause
"""The cluster's advisory lock: it keeps runs in order. Safety does not rest on it.

One name for every kind of run, so that a convergence and a failover exclude each other; this is its only
implementation. A lock lives as long as its connection, so that connection is pinned in its pool (never replaced), and
gets a short ``wait_timeout``: the server lets go of a dead holder's lock after ``LOCK_SECONDS``. A live holder keeps it
alive from a thread of its own, whatever the run is waiting for. A connection on which a statement of the run is at work
is left out there: the server counts no idle time meanwhile.
"""

from __future__ import annotations

import functools
import threading
from typing import Mapping, Optional, Sequence, Union

from ..errors import HaError
from ..server.session import Session
from .observe import Members, in_parallel

LOCK_SECONDS = 8
"""``wait_timeout`` of a connection that holds a lock: a dead holder's lock is free after that."""

KEEP_EVERY = LOCK_SECONDS / 4
"""Seconds between two rounds of keeping alive. A round waits as long at most for its slowest member, so a connection is
never idle for more than half of ``LOCK_SECONDS``."""


def lock_name(cluster: str) -> str:
    return f"lossless_ha:{cluster}"[:64]


class Locks:
    """One run's lock on several members, on the connections of ``pool``. ``within``: seconds for one statement.

    ``take``, ``check`` before each step, ``release`` at the end, also after an error.
    """

    def __init__(self, pool: Members, cluster: str, *, within: float) -> None:
        self._pool = pool
        self._name = lock_name(cluster)
        self._within = within
        self._mutex = threading.Lock()
        self._held: dict[str, Session] = {}
        self._lost: dict[str, str] = {}
        self._end = threading.Event()
        self._thread: Optional[threading.Thread] = None

    @property
    def held(self) -> tuple[str, ...]:
        """The members whose lock was taken and not let go; ``check`` says whether it is still there."""
        with self._mutex:
            return tuple(sorted(self._held))

    # --- taking ------------------------------------------------------------------------------------------------------
    def take(self, names: Sequence[str], required: int, *, wait: int = 0) -> list[str]:
        """Take the lock on these members. Those that are held already count.

        The first of them by name that answers decides: of two runs that begin at once one gets it there, and the other
        one stops before it is in the way elsewhere. The rest is taken in parallel.

        :param required: how many of them it takes.
        :param wait: whole seconds to wait for each; 0 tries once.
        :returns: those that are held now.
        :raises HaError: ``locked`` with who holds it where; those that were taken are released.
        """
        before = self.held
        wanted = [name for name in names if name not in before]
        over = threading.Event()
        self._keep_alive()
        outcome: dict[str, Union[str, HaError, None]] = {}
        left = sorted(wanted)
        while left:
            first = left.pop(0)
            outcome.update(self._get_on([first], wait, over))
            if isinstance(outcome[first], str):
                outcome.update({} if outcome[first] else self._get_on(left, wait, over))
                break
        with self._mutex:
            # Whoever gets it later than this lets it go again.
            over.set()
            taken = [name for name in wanted if name in self._held]
        held = [name for name in names if name in before or name in taken]
        if len(held) >= required:
            return held
        self._let_go(taken)
        holders = {name: by for name, by in outcome.items() if isinstance(by, str) and by}
        errors = {
            name: error.message if isinstance(error, HaError) else "no answer in time"
            for name, error in outcome.items()
            if not isinstance(error, str)
        }
        raise HaError(
            "locked",
            f"another run is at work on this cluster: {_listed(holders)}"
            if holders
            else f"{len(held)} members could be locked, {required} have to be"
            + (f": {_listed(errors)}" if errors else ", and no more answer"),
            evidence={
                "lock": self._name,
                "required": required,
                "members": [name for name in names if name not in held],
                "holders": holders,
                "errors": errors,
            },
            next_step=f"Wait for the other run to end (its lock falls {LOCK_SECONDS} s after it dies), then run again.",
        )

    def _get_on(self, names: Sequence[str], wait: int, over: threading.Event) -> dict[str, Union[str, HaError, None]]:
        return self._pool.on_each(names, functools.partial(self._get, wait, over), within=wait + 2 * self._within)

    def _get(self, wait: int, over: threading.Event, session: Session) -> str:
        """The empty text when the lock was taken, otherwise who holds it."""
        session.execute("SET SESSION wait_timeout = %s", (LOCK_SECONDS,), within=self._within)
        row = session.one("SELECT GET_LOCK(%s, %s) AS got", (self._name, wait), within=wait + self._within)
        if int(row.get("got") or 0) != 1:
            holder = self._holder(session)
            session.execute("SET SESSION wait_timeout = DEFAULT", within=self._within)
            return holder
        with self._mutex:
            if not over.is_set():
                self._pool.pin(session.name)
                self._held[session.name] = session
                return ""
        self._drop(session)
        return "free, but it could not be taken in time"

    def _holder(self, session: Session) -> str:
        row = session.one(
            "SELECT p.ID AS thread, p.USER AS user, p.HOST AS host, a.ATTR_VALUE AS program"
            " FROM performance_schema.processlist p LEFT JOIN performance_schema.session_account_connect_attrs a"
            " ON a.PROCESSLIST_ID = p.ID AND a.ATTR_NAME = 'program_name'"
            " WHERE p.ID = IS_USED_LOCK(%s)",
            (self._name,),
            within=self._within,
        )
        if not row:
            return "released meanwhile"
        return f"{row['program'] or 'unknown program'} as {row['user']} from {row['host']} (thread {row['thread']})"

    # --- keeping -----------------------------------------------------------------------------------------------------
    def _keep_alive(self) -> None:
        if self._thread is None:
            self._end = threading.Event()
            self._thread = threading.Thread(target=self._keep, args=(self._end,), name="locks", daemon=True)
            self._thread.start()

    def _keep(self, end: threading.Event) -> None:
        while not end.wait(KEEP_EVERY):
            self.keep()

    def keep(self) -> None:
        """One round of keeping alive. What is busy, or late, is not known to be lost."""
        with self._mutex:
            held = {name: session for name, session in self._held.items() if name not in self._lost}

        def look(session: Session) -> Optional[bool]:
            # Patient: giving up would close the connection, and the lock of a server that was only slow would be gone.
            rows = session.when_idle(*self._mine, within=LOCK_SECONDS)
            return None if rows is None else bool(rows and rows[0].get("mine"))

        outcome = in_parallel({n: functools.partial(look, s) for n, s in held.items()}, within=KEEP_EVERY)
        for name, session in held.items():
            seen = outcome[name]
            if isinstance(seen, HaError):
                self._lose(name, session, seen.message)
            elif seen is False:
                self._lose(name, session, "its connection does not hold it any more")

    @property
    def _mine(self) -> tuple[str, tuple[str]]:
        return "SELECT IS_USED_LOCK(%s) = CONNECTION_ID() AS mine", (self._name,)

    def _lose(self, name: str, session: Session, why: str) -> None:
        with self._mutex:
            if self._held.get(name) is session:
                self._lost.setdefault(name, why)

    def check(self) -> None:
        """Ask every member now whether this run still holds its lock. What can not be seen in time counts as lost.

        :raises HaError: ``lock_lost``; it stays so.
        """
        with self._mutex:
            held = {name: session for name, session in self._held.items() if name not in self._lost}

        def look(session: Session) -> bool:
            return bool(session.one(*self._mine, within=self._within).get("mine"))

        outcome = in_parallel({n: functools.partial(look, s) for n, s in held.items()}, within=self._within)
        for name, session in held.items():
            seen = outcome[name]
            if seen is not True:
                self._lose(name, session, seen.message if isinstance(seen, HaError) else "not seen in time")
        with self._mutex:
            lost = dict(self._lost)
        if lost:
            raise HaError(
                "lock_lost",
                f"the cluster's lock is gone: {_listed(lost)}",
                evidence={"lock": self._name, "members": sorted(lost), "why": lost},
                next_step="Run again: what was begun is taken up, unless another run has acted meanwhile.",
            )

    # --- letting go --------------------------------------------------------------------------------------------------
    def forgo(self, name: str) -> None:
        """Give up the lock on a member whose server is about to restart. ``take`` it again when it is back."""
        with self._mutex:
            session = self._held.pop(name, None)
            self._lost.pop(name, None)
        self._pool.unpin(name)
        if session is not None:
            session.close()

    def release(self) -> None:
        """Let every lock go. The connections stay open, and may be replaced again."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(KEEP_EVERY + 1)
            self._thread = None
        self._let_go(self.held)

    def _let_go(self, names: Sequence[str]) -> None:
        with self._mutex:
            sessions = {name: self._held.pop(name) for name in names}
            for name in names:
                self._lost.pop(name, None)
        outcome = in_parallel(
            {n: functools.partial(self._drop, s) for n, s in sessions.items()}, within=2 * self._within
        )
        for name, session in sessions.items():
            if outcome[name] is not True:
                session.close()
            self._pool.unpin(name)

    def _drop(self, session: Session) -> bool:
        """Release the lock. A connection that does not answer is closed: its lock goes with it."""
        try:
            session.execute("DO RELEASE_LOCK(%s)", (self._name,), within=self._within)
            session.execute("SET SESSION wait_timeout = DEFAULT", within=self._within)
        except HaError:
            session.close()
        return True


def _listed(why: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {text}" for name, text in sorted(why.items()))
