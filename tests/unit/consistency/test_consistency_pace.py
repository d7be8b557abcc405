# SPDX-License-Identifier: GPL-3.0-or-later
"""Holding back: for as long as a server is busy, and never for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.pace import Bounds, Load, Pace, busy
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed
from hypothesis import given
from hypothesis import strategies as st

BUSY = (
    ([], Bounds(1, 1.0), ""),
    ([Load("p", 5, 0.1)], Bounds(), ""),
    ([Load("p", 5, 0.1)], Bounds(threads_running=5), ""),
    ([Load("p", 6, 0.1)], Bounds(threads_running=5), "p: 6 threads run"),
    ([Load("p", 1, 0.1), Load("r", 9, 0.1)], Bounds(threads_running=5), "r: 9 threads run"),
    ([Load("p", 99, 0.2)], Bounds(latency=0.2), ""),
    ([Load("p", 0, 0.21)], Bounds(latency=0.2), "p: it took 0.210 s to answer"),
)


@pytest.mark.parametrize(("loads", "bounds", "said"), BUSY, ids=[str(number) for number in range(len(BUSY))])
def test_which_server_is_busy(loads: list[Load], bounds: Bounds, said: str) -> None:
    assert busy(loads, bounds) == said


class Fake:
    """Servers that say how many threads run, and how long it takes them."""

    def __init__(self, running: Callable[[float], int], takes: float = 0.0, fails: str = "") -> None:
        self.now = 0.0
        self.running = running
        self.takes = takes
        self.fails = fails
        self.asked: list[str] = []
        self.said: list[str] = []
        self.name = ""

    def session(self, name: str) -> Any:
        self.name = name
        return self

    def one(self, sql: str, *, within: float) -> dict[str, Any]:
        self.asked.append(self.name)
        self.now += self.takes
        if self.name == self.fails:
            raise StatementFailed("connection_lost", f"{self.name}: gone")
        return {"running": str(self.running(self.now) + 1)}

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def pace(self, bounds: Bounds, **how: Any) -> Pace:
        return Pace(["p", "r"], self.session, bounds, statement=5.0, say=self.said.append,
                    clock=lambda: self.now, sleep=self.sleep, **how)  # fmt: skip


def test_without_bounds_nobody_is_asked() -> None:
    fake = Fake(lambda now: 1000)
    fake.pace(Bounds()).wait()
    assert fake.asked == []


def test_it_goes_on_as_soon_as_nobody_is_busy() -> None:
    fake = Fake(lambda now: 0 if now > 3 else 50)
    pace = fake.pace(Bounds(threads_running=10))
    pace.wait()
    assert 3 < fake.now < 6
    assert (pace.held, pace.overrun) == (1, 0)
    assert pace.seconds == pytest.approx(fake.now)
    assert fake.said == ["waiting: p: 50 threads run"]
    pace.wait()
    assert pace.held == 1


def test_our_own_thread_is_not_counted() -> None:
    fake = Fake(lambda now: 10)
    fake.pace(Bounds(threads_running=10)).wait()
    assert fake.now == 0


@given(st.floats(0.1, 300), st.floats(0, 2), st.floats(0.01, 300))
def test_it_always_ends(patience: float, takes: float, until: float) -> None:
    fake = Fake(lambda now: 50, takes)
    pace = fake.pace(Bounds(10, 0.001, patience), until=until)
    pace.wait()
    assert pace.overrun == 1
    assert fake.now <= min(patience, until) + 1.6 + 2 * 2 * takes


def test_mutant_a_pace_that_does_not_know_when_the_run_ends() -> None:
    fake = Fake(lambda now: 50)
    fake.pace(Bounds(10, patience=60.0)).wait()
    assert fake.now > 59


def test_a_server_that_does_not_say_holds_nobody_back_and_is_told_of_once() -> None:
    fake = Fake(lambda now: 0, fails="r")
    pace = fake.pace(Bounds(threads_running=10))
    for _range in range(3):
        pace.wait()
    assert fake.now == 0
    assert fake.said == ["r does not say how busy it is: r: gone"]
    # The other one still does.
    fake.running = lambda now: 50 if now < 1 else 0
    pace.wait()
    assert fake.now >= 1
