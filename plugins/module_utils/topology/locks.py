# SPDX-License-Identifier: BSD-2-Clause
"""The cluster's advisory lock: it keeps runs in order. Safety does not rest on it.

Held on connections of its own, which are kept alive and never reopened: a holder that dies loses it after
``LOCK_SECONDS``. The name is the same for every kind of run, so that a convergence and a failover exclude each other.
"""

from __future__ import annotations

import threading
from typing import Optional, Sequence

from ..errors import HaError
from ..server.session import Session
from ..server.state import TermRow
from . import durability
from .observe import Members, in_parallel

LOCK_SECONDS = 8


def lock_name(cluster: str) -> str:
    return f"lossless_ha:{cluster}"[:64]


def required(term: Optional[TermRow], members: int) -> int:
    """How many acknowledgers to lock so that this set meets every set a failover may take (``locks_required``).

    Without a term row: all members.
    """
    if term is None or not term.n or not term.k:
        return members
    return max(term.n - durability.locks_required(term.n, term.k) + 1, 1)


class Locks:
    """The lock on several members. Use as a context manager."""

    def __init__(self, pool: Members, cluster: str, *, within: float) -> None:
        self._pool = pool
        self._name = lock_name(cluster)
        self._within = within
        self._held: list[str] = []
        self._lost: list[str] = []
        self._end = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def take(self, names: Sequence[str]) -> list[str]:
        """Try each, once. Returns those taken; ``holders`` of the others is for the caller to report."""
        outcome = self._pool.on_each(names, self._get, within=self._within)
        self._held = [name for name, got in outcome.items() if got is True]
        self._thread = threading.Thread(target=self._keep, name="locks", daemon=True)
        self._thread.start()
        return list(self._held)

    def _get(self, session: Session) -> bool:
        return session.one("SELECT GET_LOCK(%s, 0) AS got", (self._name,), within=self._within).get("got") == 1

    def _keep(self) -> None:
        while not self._end.wait(LOCK_SECONDS / 4):
            self._ping()

    def _ping(self) -> None:
        def mine(session: Session) -> bool:
            row = session.one("SELECT IS_USED_LOCK(%s) = CONNECTION_ID() AS mine", (self._name,), within=self._within)
            return row.get("mine") == 1

        work = {n: (lambda n=n: mine(self._pool.session(n, reconnect=False))) for n in self._held}
        outcome = in_parallel(work, within=self._within)
        self._lost += [n for n, kept in outcome.items() if kept is not True and n not in self._lost]

    def forgo(self, name: str) -> None:
        """A member whose server is about to restart: its lock goes with it."""
        self._held = [n for n in self._held if n != name]

    def check(self, enough: int, counted: Sequence[str]) -> None:
        """Enough of the counted members are still locked.

        :raises HaError: ``lock_lost``.
        """
        left = [n for n in self._held if n not in self._lost and n in counted]
        if len(left) < enough:
            raise HaError(
                "lock_lost",
                f"the cluster's lock is held on {len(left)} members, {enough} are needed",
                evidence={"held": left, "lost": sorted(set(self._lost))},
                next_step="Run again: another run may have acted meanwhile.",
            )

    def release(self) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join(self._within + 1)
        self._pool.close()
