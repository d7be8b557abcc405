# SPDX-License-Identifier: BSD-2-Clause
"""Holding the comparison back while a server has better things to do.

Asked before each range: how many threads work on each server, and how long it took to say so. Deciding is pure.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Callable, Sequence

from ..errors import HaError
from ..server.session import Session

_ASK = "SELECT VARIABLE_VALUE AS running FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Threads_running'"
_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)


@dataclasses.dataclass(frozen=True)
class Bounds:
    """A server is busy when more threads run there, ours not counted, or when it takes longer to say so (seconds).
    0: no bound. ``patience``: seconds after which the next range is read all the same, so that a run ends."""

    threads_running: int = 0
    latency: float = 0.0
    patience: float = 60.0


@dataclasses.dataclass(frozen=True)
class Load:
    """What a server said of itself. ``latency`` in seconds."""

    server: str
    threads_running: int
    latency: float


def busy(loads: Sequence[Load], bounds: Bounds) -> str:
    """Which server is too busy, and how; empty when none is."""
    for load in loads:
        if bounds.threads_running and load.threads_running > bounds.threads_running:
            return f"{load.server}: {load.threads_running} threads run"
        if bounds.latency and load.latency > bounds.latency:
            return f"{load.server}: it took {load.latency:.3f} s to answer"
    return ""


class Pace:
    """Waits before each range as long as a server is busy. One that does not say how busy it is holds nobody back: what
    becomes of it is its comparison's finding.

    :param session: the connection to a server, by its name.
    :param until: the clock's time at which the run ends.
    :param before: called first each time: nothing is to be held on a server while it is waited for.

    ``held``: how often and for how many seconds it had to wait; ``overrun``: how often patience ended first.
    """

    def __init__(
        self,
        names: Sequence[str],
        session: Callable[[str], Session],
        bounds: Bounds,
        *,
        statement: float,
        until: float = float("inf"),
        before: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._names = tuple(names)
        self._session = session
        self._until = until
        self._before = before
        self._mute: set[str] = set()
        self._bounds = bounds
        self._statement = statement
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self.held = 0
        self.seconds = 0.0
        self.overrun = 0

    def wait(self) -> None:
        """Return when no server is busy, or when patience ends.

        :raises HaError: from ``before``.
        """
        self._before()
        if not (self._bounds.threads_running or self._bounds.latency):
            return
        began = self._clock()
        ends = min(began + self._bounds.patience, self._until)
        said = ""
        for number in range(1_000_000):
            why = busy([self._load(name) for name in self._names], self._bounds)
            if not why:
                break
            if self._clock() >= ends:
                self.overrun += 1
                break
            if not said:
                said = why
                self._say(f"waiting: {why}")
            self._sleep(_PAUSES[min(number, len(_PAUSES) - 1)])
        if said:
            self.held += 1
            self.seconds += self._clock() - began

    def _load(self, name: str) -> Load:
        began = self._clock()
        try:
            row = self._session(name).one(_ASK, within=self._statement)
        except HaError as error:
            if name not in self._mute:
                self._mute.add(name)
                self._say(f"{name} does not say how busy it is: {error.message}")
            return Load(name, 0, 0.0)
        return Load(name, max(int(row["running"]) - 1, 0), self._clock() - began)
