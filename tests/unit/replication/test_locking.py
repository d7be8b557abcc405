# SPDX-License-Identifier: GPL-3.0-or-later
"""A convergence acts on other connections than those that hold its locks: when it asks for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import EMPTY
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication import converge, procedure, steps
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.plan import Settled
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.situation import Situation
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member, Observation

STEPS = [steps.StartThreads(name, f"uuid of {name}", "receiver") for name in ("s1", "s2", "s3")]


class Locked:
    """``converge._Locked``, which writes down what it is asked, and loses the lock at a given question."""

    def __init__(self, log: list[str], lost_at: int = -1) -> None:
        self.log = log
        self.lost_at = lost_at
        self.asked = 0

    def regain(self) -> None:
        self.log.append("regain")

    def forgo(self, name: str) -> None:
        self.log.append(f"forgo {name}")

    def check(self) -> None:
        self.log.append("check")
        self.asked += 1
        if self.asked - 1 == self.lost_at:
            raise HaError("lock_lost", "gone")


def act(monkeypatch: pytest.MonkeyPatch, locked: Locked) -> Any:
    left = list(STEPS)

    class Doer:
        def __init__(self, *_given: Any, **_options: Any) -> None:
            """Nothing to remember."""

        def do(self, step: Any, _situation: Any) -> None:
            locked.log.append(step.sentence)
            left.remove(step)

    monkeypatch.setattr(converge, "Procedure", Doer)
    monkeypatch.setattr(converge, "_advice", lambda situation: [])
    monkeypatch.setattr(converge, "next_step", lambda situation, wish: left[0] if left else Settled("s1", ()))
    looker = SimpleNamespace(look=lambda: locked.log.append("look"), pool=None)
    return converge._act(looker, None, None, None, locked)  # type: ignore[arg-type]


def test_the_lock_is_asked_for_right_before_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    assert act(monkeypatch, Locked(log)).changed
    assert log == [*(word for step in STEPS for word in ("regain", "look", "check", step.sentence)), "regain", "look"]


@pytest.mark.parametrize("place", range(len(STEPS)))
def test_without_the_lock_no_further_step_is_done(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    log: list[str] = []
    with pytest.raises(HaError) as caught:
        act(monkeypatch, Locked(log, place))
    assert caught.value.code == "lock_lost"
    assert [s["sentence"] for s in caught.value.evidence["steps"]] == [s.sentence for s in STEPS[:place]]
    assert [word for word in log if word not in ("regain", "look", "check")] == [s.sentence for s in STEPS[:place]]


def test_the_term_row_is_not_written_when_the_lock_went_while_the_acknowledgers_were_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[str] = []

    def lost() -> None:
        raise HaError("lock_lost", "gone")

    doer: Any = procedure.Procedure(None, None, procedure.Means(), still_locked=lost)  # type: ignore[arg-type]
    monkeypatch.setattr(doer, "_primary_still", lambda *_given: None)
    monkeypatch.setattr(doer, "_no_tx", lambda session: 0)
    monkeypatch.setattr(doer, "_executed", lambda session: EMPTY)
    monkeypatch.setattr(doer, "wait_received", lambda names, gtids: log.append("waited"))
    monkeypatch.setattr(procedure.schema, "write_term", lambda *_given, **_options: log.append("written"))
    step = SimpleNamespace(holders=("s2",), row=None)
    with pytest.raises(HaError) as caught:
        doer._do_WriteTerm(step, None, None, None)
    assert caught.value.code == "lock_lost" and log == ["waited"]


def test_a_clone_gives_up_waiting_for_the_restart_when_the_lock_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(procedure, "clone", lambda *_given, **options: given.update(options))
    log: list[str] = []
    locked = Locked(log)
    pool = SimpleNamespace(session=lambda name: None)
    doer: Any = procedure.Procedure(
        pool,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        procedure.Means(),
        before_restart=locked.forgo,
        still_locked=locked.check,
    )
    monkeypatch.setattr(doer, "_same_server", lambda *_given: None)
    step = steps.Clone("s2", "uuid2", "s3", "uuid3", "h3", 3306, wipes="everything")
    doer._do_Clone(step, None, None, Situation(Observation((), {}), {}))
    assert log == ["forgo s2"]
    given["progress"]()
    assert log == ["forgo s2", "check"]


# --- on all that answer ----------------------------------------------------------------------------------------------
class Locks:
    """``topology.locks.Locks``."""

    refuses = ""

    def __init__(self, pool: Any, cluster: str, *, within: float) -> None:
        self.log: list[Any] = []
        LOCKS.append(self)

    def take(self, names: Any, required: int, *, wait: int = 0) -> None:
        self.log.append(("take", tuple(names), required, wait))
        if self.refuses in names:
            raise HaError("locked", "another run")

    def forgo(self, name: str) -> None:
        self.log.append(("forgo", name))

    def check(self) -> None:
        self.log.append("check")

    def release(self) -> None:
        self.log.append("release")


LOCKS: list[Locks] = []


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Any:
    LOCKS.clear()
    monkeypatch.setattr(converge, "Locks", Locks)
    monkeypatch.setattr(Locks, "refuses", "")
    looker = SimpleNamespace(pool=SimpleNamespace(members=[Member(f"s{n}", f"h{n}") for n in (1, 2, 3)]))
    situation = SimpleNamespace(observation=SimpleNamespace(states={"s1": None, "s2": None}))
    return lambda: converge._Locked(looker, "ledger", situation, Login("u"), 1.0)  # type: ignore[arg-type]


def test_a_convergence_locks_all_that_answer_and_lets_go_at_the_end(locked: Any) -> None:
    with locked() as mine:
        mine.check()
    assert LOCKS[0].log == [("take", ("s1", "s2"), 2, converge.LOCK_WAIT), "check", "release"]


def test_a_server_that_restarted_is_locked_again_before_the_next_step(locked: Any) -> None:
    with locked() as mine:
        mine.forgo("s2")
        mine.regain()
        mine.regain()
    assert LOCKS[0].log[1:] == [("forgo", "s2"), ("take", ("s2",), 1, converge.REGAIN_SECONDS), "release"]


def test_a_convergence_that_is_locked_out_leaves_nothing_behind(locked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Locks, "refuses", "s2")
    with pytest.raises(HaError) as caught, locked():
        raise AssertionError("it went on")
    assert caught.value.code == "locked" and LOCKS[0].log[-1] == "release"
