# SPDX-License-Identifier: GPL-3.0-or-later
"""Closing an old primary that answers: no client of it is ever told OK."""

from __future__ import annotations

import threading
from typing import Any, Callable

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover import fence
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.fence import (
    DISARM,
    DONE,
    END_SESSIONS,
    WAIT,
    Look,
    next_step,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import dialect
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed
from hypothesis import given
from hypothesis import strategies as st

ONE, TWO = frozenset({1}), frozenset({1, 2})


@pytest.mark.parametrize(
    ("look", "step"),
    [
        (Look(closed=True, pending=False, alive=TWO), DONE),
        (Look(closed=False, pending=True, alive=TWO), END_SESSIONS),
        (Look(closed=False, pending=False, alive=ONE), END_SESSIONS),
        (Look(closed=False, pending=True), DISARM),
        (Look(closed=False, pending=True, disarmed=True), WAIT),
        # Not yet asked for, or given up: a write could begin after this look.
        (Look(closed=False, pending=False), WAIT),
        # Somebody is left who would be told.
        (Look(closed=False, pending=True, alive=ONE, unkillable=ONE), WAIT),
        (Look(closed=False, pending=True, alive=TWO, unkillable=ONE), END_SESSIONS),
    ],
)
def test_what_is_done_next(look: Look, step: str) -> None:
    assert next_step(look) == step


class Old:
    """An old primary with clients whose commits wait, in one object for all connections to it."""

    def __init__(self, *, unkillable: frozenset[int] = frozenset(), stubborn: bool = False) -> None:
        self.guard = threading.Condition()
        self.alive = {11: "app", 12: "root", 13: "lossless_keeper", 14: "lossless_admin"}
        self.waiting = {11, 12, 13}
        self.unkillable = unkillable
        self.stubborn = stubborn
        self.armed = True
        self.offline = self.closed = self.pending = False
        self.told: set[int] = set()
        self.said: list[str] = []
        self.interrupted = False

    def connect(self) -> Any:
        return Connection(self)

    def disarm(self) -> None:
        with self.guard:
            self.armed = False
            self.told |= self.waiting & self.alive.keys()
            self.waiting = set(range(1)) if self.stubborn else set()
            self.guard.notify_all()

    def close(self, budget: float) -> None:
        with self.guard:
            self.pending = True
            done = self.guard.wait_for(lambda: not self.waiting or self.interrupted, budget)
            self.pending = False
            if self.interrupted or not done:
                raise StatementFailed("sql_error", "writes were not blocked", errno=1317)
            self.closed = True


class Connection:
    thread_id = 99
    usable = True
    version = "9.7.0"
    name = "db1"

    def __init__(self, old: Old) -> None:
        self.old = old
        self.dialect = dialect.probe("9.7.0", {"rpl_semi_sync_source_enabled": ""})

    def close(self) -> None:
        pass

    def query(self, sql: str, values: Any = (), *, within: float) -> list[dict[str, Any]]:
        with self.old.guard:
            return [{"id": n, "user": u, "killed": 0} for n, u in sorted(self.old.alive.items())]

    def one(self, sql: str, values: Any = (), *, within: float) -> dict[str, Any]:
        with self.old.guard:
            state = "Waiting for global read lock" if self.old.pending else ""
            return {"closed": int(self.old.closed), "user": "lossless_admin", "state": state}

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self.old.said.append(sql)
        if "offline_mode" in sql:
            self.old.offline = True
            self.old.alive.pop(11, None)
        elif sql.startswith("KILL QUERY"):
            with self.old.guard:
                self.old.interrupted = True
                self.old.guard.notify_all()
        elif sql.startswith("KILL"):
            number = int(sql.split()[-1])
            if number in self.old.unkillable:
                raise StatementFailed("sql_error", "no", errno=1095)
            self.old.alive.pop(number, None)
        elif "super_read_only" in sql:
            self.old.close(within)
        elif "semi_sync" in sql:
            self.old.disarm()


def closed(old: Old, budget: float = 1.0) -> str:
    return fence.close(old.connect, budget=budget, within=0.3)


def test_offline_first_then_read_only_and_nobody_is_told() -> None:
    old = Old()
    assert closed(old) == ""
    assert (old.offline, old.closed, old.armed, old.told) == (True, True, False, set())
    assert list(old.alive) == [14], "a session of its own account was ended"
    assert "offline_mode" in old.said[0]


def test_a_session_that_can_not_be_ended_keeps_semi_sync_on() -> None:
    old = Old(unkillable=frozenset({12}))
    assert closed(old, 0.3) == "sessions 12 can not be ended by this account"
    assert (old.offline, old.closed, old.armed, old.told) == (True, False, True, set())


def test_what_goes_on_waiting_is_said() -> None:
    old = Old(stubborn=True)
    assert "writes were not blocked" in closed(old, 0.3)
    assert (old.offline, old.closed, old.told) == (True, False, set())


def test_that_it_could_not_be_taken_offline_is_an_error() -> None:
    old = Old()

    class Refusing(Connection):
        def execute(self, sql: str, values: Any = (), *, within: float) -> None:
            raise StatementFailed("sql_error", "denied", errno=1227)

    with pytest.raises(StatementFailed):
        fence.close(lambda: Refusing(old), budget=1.0, within=0.3)  # type: ignore[arg-type,return-value]
    assert old.armed and old.told == set()


def impatient(look: Look) -> str:
    return DISARM if not look.closed and not look.disarmed else next_step(look)


def hasty(look: Look) -> str:
    return DISARM if not look.closed and not look.alive and not look.disarmed else next_step(look)


@pytest.mark.parametrize("mutant", [impatient])
def test_mutant_disarming_before_the_clients_are_gone_tells_them(
    monkeypatch: pytest.MonkeyPatch, mutant: Callable[[Look], str]
) -> None:
    monkeypatch.setattr(fence, "next_step", mutant)
    old = Old()
    closed(old)
    assert old.told, "nobody noticed"


def told_too_early(step: Callable[[Look], str], look: Look) -> bool:
    """Semi-sync would go off while a client is left, or while one may still begin."""
    return step(look) == DISARM and (bool(look.alive) or not look.pending)


LOOKS = st.builds(
    Look,
    closed=st.booleans(),
    pending=st.booleans(),
    alive=st.frozensets(st.integers(1, 3)),
    unkillable=st.frozensets(st.integers(1, 3)),
    disarmed=st.booleans(),
)


@given(LOOKS)
def test_whatever_is_seen_nobody_is_told_too_early(look: Look) -> None:
    assert not told_too_early(next_step, look)


@pytest.mark.parametrize("mutant", [impatient, hasty])
def test_mutants_of_the_decision_show(mutant: Callable[[Look], str]) -> None:
    looks = [Look(False, pending, alive) for pending in (False, True) for alive in (frozenset(), ONE)]
    assert any(told_too_early(mutant, look) for look in looks)
