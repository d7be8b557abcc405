# SPDX-License-Identifier: BSD-2-Clause
"""A run's connections, set up for reading. One that broke over a table is opened again for the next one.

They are thrown away between two stages of a run (``close``), so nothing is put back, and nothing can fail that way.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping, Optional

from ..errors import HaError
from ..server.session import Session
from ..topology.observe import Members
from .barrier import prepare

_AGAIN_AFTER = 15.0
"""Seconds for which a server that did not answer is not asked again: each attempt keeps the others waiting."""


class Sides:
    """By name, the connections of one pool."""

    def __init__(self, pool: Members, *, statement: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._statement = statement
        self._clock = clock
        self._ready: dict[str, Session] = {}
        self._failed: dict[str, tuple[float, HaError]] = {}

    def session(self, name: str, settings: Optional[Mapping[str, Any]] = None) -> Session:
        """The connection to a server; ``settings``: of a new one, besides those of every comparison.

        :raises HaError: there is none, and none can be opened.
        """
        current = self._ready.get(name)
        if current is not None and current.usable:
            return current
        at, error = self._failed.get(name, (0.0, None))
        if error is not None and self._clock() - at < _AGAIN_AFTER:
            raise error
        try:
            session = self._pool.session(name)
            prepare(session, statement=self._statement, settings=settings)
        except HaError as problem:
            self._failed[name] = (self._clock(), problem)
            raise
        self._failed.pop(name, None)
        self._ready[name] = session
        return session

    def close(self) -> None:
        """Drop them all; the servers roll back what is open."""
        self._ready.clear()
        self._failed.clear()
        self._pool.close()
