# SPDX-License-Identifier: GPL-3.0-or-later
"""The guarded stop: no path to a clean shutdown without a fact that says that no commit waits."""

from __future__ import annotations

import itertools
from typing import Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import stop_guard
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.stop_guard import (
    CLOSE,
    END_SESSIONS,
    KILL,
    LEAVE,
    Budget,
    Look,
    decide,
)
from hypothesis import given
from hypothesis import strategies as st

BUDGET = Budget(patience=5, whole=15)

looks = st.builds(
    Look,
    answered=st.booleans(),
    elapsed=st.floats(0, 30),
    super_read_only=st.booleans(),
    source_enabled=st.booleans(),
    waiting=st.integers(0, 3),
    sessions_ended=st.booleans(),
)


@given(looks)
def test_a_clean_stop_only_on_a_fact(look: Look) -> None:
    if decide(look, BUDGET) == LEAVE:
        assert look.answered
        assert not look.source_enabled or (look.super_read_only and look.waiting == 0)


@given(looks)
def test_it_always_ends(look: Look) -> None:
    if look.elapsed >= BUDGET.whole:
        assert decide(look, BUDGET) in (LEAVE, KILL)


@given(looks)
def test_it_never_kills_early(look: Look) -> None:
    if look.elapsed < BUDGET.whole:
        assert decide(look, BUDGET) != KILL


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (Look(True, 0, super_read_only=True, source_enabled=False), LEAVE),
        (Look(True, 0, source_enabled=False), LEAVE),
        (Look(True, 0, source_enabled=True), CLOSE),
        (Look(True, 6, source_enabled=True, waiting=2), END_SESSIONS),
        (Look(True, 7, source_enabled=True, waiting=2, sessions_ended=True), CLOSE),
        (Look(True, 15, source_enabled=True, waiting=2, sessions_ended=True), KILL),
        (Look(True, 15, source_enabled=True, waiting=0, sessions_ended=True), KILL),
        (Look(True, 16, super_read_only=True, source_enabled=True), LEAVE),
        (Look(False, 3), CLOSE),
        (Look(False, 15), KILL),
    ],
)
def test_decisions(look: Look, expected: str) -> None:
    assert decide(look, BUDGET) == expected


class Pretended(stop_guard.Server):
    """A server whose commits are acknowledged at one time, or never; that answers until a time, or always."""

    def __init__(self, *, acknowledged_at: Optional[float], silent_from: float = 1e9, applications: int = 2) -> None:
        self.now = 0.0
        self.acknowledged_at = acknowledged_at
        self.silent_from = silent_from
        self.applications = applications
        self.read_only = self.offline = False
        self.killed_at: Optional[float] = None

    @property
    def waiting(self) -> int:
        return 0 if self.acknowledged_at is not None and self.now >= self.acknowledged_at else 1

    def _answer(self) -> None:
        if self.now >= self.silent_from:
            self.now += 2
            raise HaError("connect_timed_out", "no answer")

    def running(self) -> bool:
        return self.killed_at is None

    def look(self) -> Look:
        self._answer()
        return Look(True, 0, self.read_only, True, self.waiting)

    def close(self) -> None:
        self._answer()
        if self.waiting:
            self.now += 1
            raise HaError("sql_error", "Lock wait timeout exceeded (1205)")
        self.read_only = True

    def let_go(self) -> None:
        assert self.read_only and self.waiting == 0, "replicas thrown out while their acknowledgements are waited for"
        self._answer()
        self.offline = True

    def end_sessions(self) -> int:
        self._answer()
        ended, self.applications = self.applications, 0
        return ended

    def kill(self) -> None:
        self.killed_at = self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def run(server: Pretended) -> tuple[str, list[str]]:
    said: list[str] = []
    outcome = stop_guard.guard(server, BUDGET, said.append, clock=lambda: server.now, sleep=server.sleep)
    return outcome, said


def test_nothing_waits() -> None:
    server = Pretended(acknowledged_at=0)
    assert run(server)[0] == LEAVE
    assert server.now < 1 and server.applications == 2 and server.offline


def test_a_late_acknowledgement_is_waited_for() -> None:
    server = Pretended(acknowledged_at=3)
    assert run(server)[0] == LEAVE
    assert server.applications == 2 and server.read_only


def test_an_acknowledgement_after_the_sessions_ended_still_counts() -> None:
    server = Pretended(acknowledged_at=9)
    assert run(server)[0] == LEAVE
    assert server.applications == 0 and server.read_only


def test_a_commit_that_nobody_acknowledges_is_never_released() -> None:
    server = Pretended(acknowledged_at=None)
    outcome, said = run(server)
    assert outcome == KILL and not server.read_only and not server.offline and server.applications == 0
    assert server.killed_at is not None and server.killed_at <= BUDGET.whole + 3
    assert "killing mysqld" in said[-1]


@pytest.mark.parametrize("silent_from", [0, 4, 8])
def test_a_server_that_does_not_answer_is_killed(silent_from: float) -> None:
    server = Pretended(acknowledged_at=None, silent_from=silent_from)
    assert run(server)[0] == KILL
    assert server.killed_at is not None and server.killed_at <= BUDGET.whole + 3


@given(st.one_of(st.none(), st.floats(0, 40)), st.floats(0, 40))
def test_no_clean_stop_while_a_commit_waits(acknowledged_at: Optional[float], silent_from: float) -> None:
    server = Pretended(acknowledged_at=acknowledged_at, silent_from=silent_from)
    outcome, _said = run(server)
    if outcome == LEAVE:
        assert server.read_only and server.waiting == 0
    assert server.now <= BUDGET.whole + 5


def test_a_primary_that_can_not_be_taken_offline_is_stopped_all_the_same() -> None:
    class Hindered(Pretended):
        def let_go(self) -> None:
            raise HaError("sql_error", "denied")

    outcome, said = run(Hindered(acknowledged_at=0))
    assert outcome == LEAVE and "denied" in said[-1]


def test_a_server_that_ended_by_itself() -> None:
    server = Pretended(acknowledged_at=None)
    server.killed_at = 0.0
    assert run(server)[0] == LEAVE


@pytest.mark.parametrize("pid", ["", "0", "1", "${MAINPID}"])
def test_no_process_to_guard(pid: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert stop_guard.main(["--pid", pid]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_budgets_are_in_order() -> None:
    assert all(a < b for a, b in itertools.pairwise((0, Budget().patience, Budget().whole)))
