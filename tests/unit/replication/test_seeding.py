# SPDX-License-Identifier: GPL-3.0-or-later
"""A member that is seeded by mysql_clone: what convergence makes of it meanwhile, and how it is attached afterwards."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ansible_collections.lossless.mysql_ha.plugins.module_utils.refusal import Refusal
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication import (
    attach,
    member,
    plan,
    predict,
    procedure,
    steps,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.plan import Settled, next_step
from world import World, account, lossless, wish

WANTED = wish((1, 2, 3, 4))


def seeded(**changes: Any) -> World:
    """db1 to db3 are a cluster under writes; s4 holds everything and follows nobody."""
    world = lossless(4, 1, members=(1, 2, 3))
    host = world.hosts[4]
    host.got = len(world.log)
    for name, value in changes.items():
        setattr(host, name, value)
    return world


def seen(world: World, **facts: Any) -> Any:
    """A look, with something else among the facts about s4."""
    situation = world.look(WANTED)
    read = dict(situation.facts)
    read["s4"] = dataclasses.replace(read["s4"], **facts)
    return dataclasses.replace(situation, facts=read)


# --- convergence -----------------------------------------------------------------------------------------------------
def test_a_convergence_leaves_a_server_alone_that_is_being_cloned() -> None:
    decision = next_step(seen(seeded(), cloning="10.0.0.2:3306"), WANTED)
    assert isinstance(decision, Refusal) and decision.codes == ("clone_in_progress",)
    assert not isinstance(next_step(seen(seeded()), WANTED), Refusal), "without it the refusal says nothing"


def test_also_one_that_is_named_expendable() -> None:
    wanted = dataclasses.replace(WANTED, expendable=frozenset({"s4"}))
    decision = next_step(seen(seeded(), cloning="10.0.0.2:3306"), wanted)
    assert isinstance(decision, Refusal) and decision.codes == ("clone_in_progress",)


def test_what_a_failed_clone_left_is_cloned_whatever_its_gtids_say() -> None:
    steps_, end, _after = predict.plan(seen(seeded(), wrecked=True), WANTED)
    clones = [step for step in steps_ if isinstance(step, steps.Clone)]
    assert isinstance(end, Settled) and [(c.name, c.wipes) for c in clones] == [("s4", "")]
    steps_, _end, _after = predict.plan(seen(seeded()), WANTED)
    assert not [step for step in steps_ if isinstance(step, steps.Clone)], "it holds everything, without that"


def test_nobody_brings_a_wreck_back() -> None:
    world = lossless(4, 1)
    situation = seen(world, wrecked=True)
    request = member.Request(member.BRING_BACK, "s4")
    decision = member.next_step(request, situation, WANTED)
    assert isinstance(decision, Refusal) and "member_is_empty" in decision.codes
    assert not isinstance(member.next_step(request, seen(world), WANTED), Refusal)


def test_a_wreck_is_no_empty_server_and_yet_may_be_cloned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its gtid_executed is not empty: the guard of an empty recipient must not stop the one thing that mends it."""

    class Pool:
        def session(self, _name: str) -> None:
            """None is looked at."""

    cloned: list[str] = []
    monkeypatch.setattr(procedure, "close_wreck", lambda *_given, **_options: cloned.append("closed"))
    monkeypatch.setattr(procedure, "clone", lambda *_given, **_options: cloned.append("cloned"))
    doer: Any = procedure.Procedure(Pool(), WANTED, procedure.Means())  # type: ignore[arg-type]
    monkeypatch.setattr(doer, "_same_server", lambda *_given: None)
    monkeypatch.setattr(doer, "_executed", lambda session: {"something"})
    monkeypatch.setattr(doer, "_guard", lambda holds, *_given, **_evidence: cloned.append("") if holds else 1 / 0)
    step = steps.Clone("s4", "u", "s2", "u", "h", 3306, wipes="")
    doer._do_Clone(step, None, None, seen(seeded(), wrecked=True))
    assert cloned == ["closed", "cloned"]
    with pytest.raises(ZeroDivisionError):
        doer._do_Clone(step, None, None, seen(seeded()))


# --- attaching -------------------------------------------------------------------------------------------------------
def attached(world: World) -> tuple[Any, list[Any]]:
    done: list[Any] = []
    for _turn in range(20):
        decision = attach.next_step("s4", world.look(WANTED), WANTED)
        if isinstance(decision, (Settled, Refusal)):
            return decision, done
        done.append(decision)
        for _effect in world.effects(decision, WANTED):
            world.application()
            world.check()
    raise AssertionError("no end")


def test_it_follows_and_neither_acknowledges_nor_is_registered() -> None:
    world = seeded()
    rows = [row for row in world.log if row]
    decision, done = attached(world)
    host = world.hosts[4]
    assert isinstance(decision, Settled) and [type(step) for step in done] == [steps.Repoint]
    assert (host.receiver, host.login, host.replica_enabled) == ("ON", account(4), False)
    assert [row for row in world.log if row] == rows, "who is only attached changes no row"
    assert attached(world) == (decision, []), "a second run changes nothing"


def test_an_account_that_is_locked_is_unlocked_for_it() -> None:
    world = seeded()
    world.locked.add(account(4))
    decision, done = attached(world)
    assert isinstance(decision, Settled) and [type(step) for step in done] == [steps.Readmit, steps.Repoint]


def test_one_that_acknowledged_stops_doing_so_first() -> None:
    decision, done = attached(seeded(replica_enabled=True))
    assert isinstance(decision, Settled) and isinstance(done[0], steps.StopAcknowledging)


def test_a_surplus_is_refused_and_the_others_are_left_as_they_are() -> None:
    world = seeded(errant=1)
    decision, done = attached(world)
    assert isinstance(decision, Refusal) and decision.codes == ("errant_transactions",) and not done
    world = seeded()
    world.hosts[3].receiver = "OFF"
    _decision, done = attached(world)
    assert {step.name for step in done} == {"s4"}


def test_it_is_never_cloned_again_by_being_attached(monkeypatch: pytest.MonkeyPatch) -> None:
    world = seeded(got=0)
    world.user_tables = 3
    decision, done = attached(world)
    assert isinstance(decision, Settled) and not [s for s in done if isinstance(s, steps.Clone)]
    # The mutant: the stages of a convergence as they are would clone it.
    monkeypatch.setattr(attach._AttachLook, "_to_be_cloned", plan.Look._to_be_cloned)
    decision = attach.next_step("s4", seeded_empty(), WANTED)
    assert isinstance(decision, steps.Clone)


def seeded_empty() -> Any:
    world = seeded(got=0)
    world.user_tables = 3
    return world.look(WANTED)
