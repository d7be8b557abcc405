# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on one member, against the simulated cluster and an adversary who commits and kills at will."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from ansible_collections.lossless.mysql_ha.plugins.module_utils.refusal import Refusal
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication import member as operations
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication import plan, predict, steps
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.member import (
    BRING_BACK,
    OPERATIONS,
    REPOINT,
    START,
    STOP,
    TAKE_OUT,
    Request,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.plan import Settled
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import TermRow
from world import World, account, lossless, uuid, wish

Adversary = Callable[[int], int]
Decide = Callable[[Request, Any, Any], Any]


def in_force(world: World) -> TermRow:
    row = world.row_of(world.p)
    assert row is not None
    return row


def check(world: World) -> None:
    """The promise, and what an operation on a member has to keep at every moment besides."""
    world.check()
    row = in_force(world)
    registered = {m.server_uuid for m in row.acknowledgers}
    able = {uuid(h.number) for h in world.active()}
    assert able <= registered, f"row {row.revision} counts {row.n}, and {able - registered} can acknowledge besides"
    held = sorted((h.got for h in world.replicas() if uuid(h.number) in registered), reverse=True)
    assert held[row.k - 1] >= world.acknowledged, (
        f"acknowledged {world.acknowledged}, the registered of row {row.revision} hold {held}, k={row.k}"
    )
    assert not world.blocked, "a client waits for an acknowledgement that nobody can give"


def run(
    world: World, request: Request, kills: Any = (), decide: Decide = operations.next_step, wanted: Any = None
) -> Any:
    """Do it; between any two effects a client commits and the invariants are checked. ``kills``: see test_plan.run."""
    wanted = wanted or wish(world.hosts)
    count = 0
    done: list[Any] = []
    for _turn in range(60):
        decision = decide(request, world.look(wanted), wanted)
        if isinstance(decision, (Settled, Refusal)):
            return decision, done
        done.append(decision)
        for _effect in world.effects(decision, wanted):
            check(world)
            world.application()
            check(world)
            count += 1
            if count in kills:
                break
        check(world)
    raise AssertionError(f"no end: {[s.sentence for s in done[-6:]]}")


def codes(decision: Any) -> set[str]:
    assert isinstance(decision, Refusal), decision
    return set(decision.codes)


def taken_out(count: int, k: int, number: int, choose: Adversary = lambda n: 0) -> World:
    world = lossless(count, k, choose=choose)
    decision, _done = run(world, Request(TAKE_OUT, f"s{number}", "new disk"))
    assert isinstance(decision, Settled), decision
    return world


# --- situations: a world, the operation, and what holds afterwards ---------------------------------------------------
def _out(world: World, number: int, n: int) -> None:
    row = in_force(world)
    entry = next(m for m in row.members if m.server_uuid == uuid(number))
    assert (row.n, entry.acknowledges, entry.out) == (n, False, "new disk")
    assert world.hosts[number] not in world.active()


def _in(world: World, number: int, n: int) -> None:
    row = in_force(world)
    assert row.n == n
    assert not row.out_of_service
    assert world.hosts[number] in world.active()


def out_attached(choose: Adversary) -> Any:
    world = lossless(4, 2, choose=choose)

    def holds() -> None:
        _out(world, 3, 2)
        assert world.hosts[3] in world.attached(), "it follows on, without acknowledging"
        assert account(3) not in world.locked

    return world, Request(TAKE_OUT, "s3", "new disk"), holds


def out_unreachable(choose: Adversary) -> Any:
    """Only we do not reach it: it is attached and acknowledges."""
    world = lossless(4, 2, choose=choose)
    world.hosts[3].silent = True

    def holds() -> None:
        _out(world, 3, 2)
        assert account(3) in world.locked
        assert world.locked == {account(3)}

    return world, Request(TAKE_OUT, "s3", "new disk"), holds


def out_dead(choose: Adversary) -> Any:
    world, request, holds = out_unreachable(choose)
    dead = world.hosts[3]
    dead.receiver, dead.replica_active, dead.replica_enabled = "OFF", False, False
    return world, request, holds


def out_of_two(choose: Adversary) -> Any:
    world = lossless(3, 1, choose=choose)
    return world, Request(TAKE_OUT, "s2", "new disk"), lambda: _out(world, 2, 1)


def out_while_another_is_silent(choose: Adversary) -> Any:
    world = lossless(5, 2, choose=choose)
    world.hosts[4].silent = True

    def holds() -> None:
        _out(world, 3, 3)
        assert world.locked == set(), "the account of who stays is not touched"

    return world, Request(TAKE_OUT, "s3", "new disk"), holds


def back_attached(choose: Adversary) -> Any:
    world = taken_out(4, 2, 3, choose)
    return world, Request(BRING_BACK, "s3"), lambda: _in(world, 3, 3)


def back_after_a_restart(choose: Adversary) -> Any:
    """It was taken out while it was silent; it is back, and locked out, and lacks much."""
    world = lossless(4, 1, choose=choose)
    lost = world.hosts[3]
    lost.silent, lost.receiver = True, "OFF"
    run(world, Request(TAKE_OUT, "s3", "new disk"))
    for _number in range(200):
        assert world.commit()
    lost.silent, lost.applier, lost.replica_enabled, lost.replica_active = False, "OFF", False, False
    return world, Request(BRING_BACK, "s3"), lambda: _in(world, 3, 3)


def back_that_never_knew(choose: Adversary) -> Any:
    """It was cut off from us alone: it is locked out and still believes that it acknowledges."""
    world = lossless(4, 1, choose=choose)
    world.hosts[3].silent = True
    run(world, Request(TAKE_OUT, "s3", "new disk"))
    world.hosts[3].silent = False
    return world, Request(BRING_BACK, "s3"), lambda: _in(world, 3, 3)


def repointed(choose: Adversary) -> Any:
    world = lossless(4, 1, choose=choose)
    world.hosts[3].source = 2

    def holds() -> None:
        assert world.hosts[3] in world.active()

    return world, Request(REPOINT, "s3"), holds


def repointed_from_nowhere(choose: Adversary) -> Any:
    """Nobody's replica any more, and never registered to acknowledge."""
    world = taken_out(4, 1, 3, choose)
    lost = world.hosts[3]
    lost.source, lost.login, lost.receiver, lost.applier, lost.replica_enabled = 0, "", "OFF", "OFF", True
    lost.replica_active = False

    def holds() -> None:
        assert lost in world.attached()
        _out(world, 3, 2)

    return world, Request(REPOINT, "s3"), holds


def started(choose: Adversary) -> Any:
    """After a restart: no thread runs, and its file says that it does not acknowledge."""
    world = lossless(4, 1, choose=choose)
    host = world.hosts[3]
    host.receiver, host.applier, host.replica_enabled, host.replica_active = "OFF", "OFF", False, False

    def holds() -> None:
        assert host in world.active()

    return world, Request(START, "s3"), holds


def started_out_of_service(choose: Adversary) -> Any:
    world = taken_out(4, 1, 3, choose)
    host = world.hosts[3]
    host.receiver = host.applier = "OFF"

    def holds() -> None:
        assert host in world.attached()
        _out(world, 3, 2)

    return world, Request(START, "s3"), holds


def stopped(choose: Adversary) -> Any:
    world = lossless(4, 2, choose=choose)

    def holds() -> None:
        assert (world.hosts[3].receiver, world.hosts[3].applier) == ("OFF", "OFF")
        assert in_force(world).n == 3

    return world, Request(STOP, "s3"), holds


def stopped_out_of_service(choose: Adversary) -> Any:
    world = taken_out(3, 1, 3, choose)
    return world, Request(STOP, "s3"), lambda: _out(world, 3, 1)


SITUATIONS = (
    out_attached,
    out_unreachable,
    out_dead,
    out_of_two,
    out_while_another_is_silent,
    back_attached,
    back_after_a_restart,
    back_that_never_knew,
    repointed,
    repointed_from_nowhere,
    started,
    started_out_of_service,
    stopped,
    stopped_out_of_service,
)


@pytest.mark.parametrize("start", SITUATIONS, ids=lambda s: s.__name__)
def test_it_is_done_keeps_the_promise_at_every_effect_and_a_second_run_changes_nothing(start: Any) -> None:
    world, request, holds = start(lambda n: 0)
    decision, done = run(world, request)
    assert isinstance(decision, Settled), decision
    assert done
    holds()
    assert run(world, request) == (decision, [])


@pytest.mark.parametrize("start", SITUATIONS, ids=lambda s: s.__name__)
def test_killed_after_every_single_effect_it_converges_by_running_again(start: Any) -> None:
    kill = effects = 1
    while kill <= effects:
        world, request, holds = start(lambda n: n - 1)
        decision, done = run(world, request, [kill])
        assert isinstance(decision, Settled), (kill, decision)
        holds()
        effects = max(effects, 5 * len(done))
        kill += 1


@pytest.mark.parametrize("start", SITUATIONS, ids=lambda s: s.__name__)
@settings(max_examples=15)
@given(data=st.data())
def test_killed_anywhere_by_an_adversary_it_ends_in_the_same_place(start: Any, data: Any) -> None:
    world, request, holds = start(lambda n: data.draw(st.integers(0, n - 1)) if n > 1 else 0)
    decision, _done = run(world, request, data.draw(st.lists(st.integers(1, 25), max_size=4)))
    assert isinstance(decision, Settled), decision
    holds()


@settings(max_examples=60)
@given(data=st.data())
def test_any_operations_one_after_the_other_each_killed_anywhere_keep_the_promise(data: Any) -> None:
    count = data.draw(st.integers(3, 5))
    world = lossless(count, data.draw(st.integers(1, count - 2)))
    world.choose = lambda n: data.draw(st.integers(0, n - 1)) if n > 1 else 0
    for _turn in range(data.draw(st.integers(1, 6))):
        request = Request(data.draw(st.sampled_from(OPERATIONS)), f"s{data.draw(st.integers(1, count))}", "new disk")
        world.hosts[data.draw(st.integers(2, count))].silent = data.draw(st.booleans())
        decision, done = run(world, request, data.draw(st.lists(st.integers(1, 25), max_size=2)))
        if isinstance(decision, Settled):
            assert run(world, request) == (decision, []), [s.sentence for s in done]
        else:
            expected = {"too_few_acknowledgers", "member_is_primary", "member_does_not_answer"}
            assert set(decision.codes) <= expected, decision
    row = in_force(world)
    assert row.n >= row.k


@pytest.mark.parametrize("start", SITUATIONS, ids=lambda s: s.__name__)
def test_check_mode_predicts_the_steps_that_a_quiet_cluster_needs(start: Any) -> None:
    world, request, _holds = start(lambda n: 0)
    wanted = wish(world.hosts)
    decide = functools.partial(operations.next_step, request)
    predicted, end, _after = predict.plan(world.look(wanted), wanted, decide)
    assert isinstance(end, Settled)
    world.application = lambda: None  # type: ignore[method-assign]
    _decision, done = run(world, request)

    def said(taken: Any) -> list[str]:
        # How soon a receiver connects is not foreseen.
        return [f"{type(s).__name__} {s.name}" for s in taken if not isinstance(s, steps.WaitConnected)]

    assert said(predicted) == said(done)


@pytest.mark.parametrize("start", SITUATIONS, ids=lambda s: s.__name__)
def test_nobody_but_the_member_and_the_primary_is_touched(start: Any) -> None:
    world, request, _holds = start(lambda n: 0)
    _decision, done = run(world, request)
    assert {s.name for s in done} <= {request.member, "s1"}
    before, after = lossless(len(world.hosts), in_force(world).k), in_force(world)
    others = {m for m in in_force(before).members if m.name != request.member}
    assert {m for m in after.members if m.name != request.member} == others


# --- mutants: each leaves out one check, and must be caught ----------------------------------------------------------
def mutated(**methods: Any) -> Decide:
    look = type("Mutant", (operations._MemberLook,), methods)

    def decide(request: Request, situation: Any, wanted: Any) -> Any:
        known = operations._as_registered(request, situation, wanted)
        primary = plan.find_primary(situation, known)
        assert primary is not None
        found = look(request, situation, known, primary)
        reasons = tuple(found.reasons())
        return Refusal(reasons) if reasons else found.decide()

    return decide


def _row_first(self: Any, stay: Any, what: str) -> Any:
    return self._row(stay, self._k, what) if len(stay) < len(self.registered) else None


def _readmit_first(self: Any) -> Any:
    state = self.target
    return (
        self._readmit(state, account(state.server_id)) if state and self._is_locked(account(state.server_id)) else None
    )


def _acknowledge_first(self: Any) -> Any:
    return None if self._acknowledging(self._state) else steps.Acknowledge(self._state.name, self._state.server_uuid)


def _stop_at_once(self: Any) -> Any:
    state = self._state
    if state.receiver.state == state.applier.state == "OFF":
        return None
    return steps.StopThreads(state.name, state.server_uuid, self.primary.name)


def out_at_k(choose: Adversary) -> Any:
    world = lossless(3, 2, choose=choose)
    return world, Request(TAKE_OUT, "s3", "new disk"), None


def stopped_at_k(choose: Adversary) -> Any:
    world = lossless(3, 2, choose=choose)
    return world, Request(STOP, "s3"), None


def _leave_whoever_stays(self: Any, stay: Any, what: str) -> Any:
    """Without the look at how many are left."""
    if len(stay) == len(self.registered):
        return None
    accounts = self._unclaimed(stay)
    if accounts:
        return steps.LockOut(self.primary.name, self.primary.server_uuid, accounts, (self.request.member,))
    return self._row(stay, self._k, what)


MUTANTS = {
    "leaves the row while it can still acknowledge": (out_unreachable, {"_without": _row_first}),
    "is unlocked while it may still acknowledge": (back_that_never_knew, {"_follow": _readmit_first}),
    "acknowledges before the row counts it": (back_attached, {"_catch_up_applied": _acknowledge_first}),
    "is taken out though fewer than k remain": (out_at_k, {"_without": _leave_whoever_stays}),
    "is stopped though fewer than k remain attached": (stopped_at_k, {"_stop": _stop_at_once}),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_plan_that_leaves_out_a_check_is_caught(name: str) -> None:
    start, methods = MUTANTS[name]

    def caught(choose: Adversary) -> bool:
        world, request, _holds = start(choose)
        try:
            run(world, request, decide=mutated(**methods))
        except AssertionError as error:
            return "no end" not in str(error)
        return False

    assert any(caught(choose) for choose in (lambda n: 0, lambda n: n - 1, lambda n: n // 2)), "the mutant survived"


@pytest.mark.parametrize("start", [out_at_k, stopped_at_k], ids=lambda s: s.__name__)
def test_what_would_hold_the_writes_is_refused_and_nothing_is_done(start: Any) -> None:
    world, request, _holds = start(lambda n: 0)
    decision, done = run(world, request)
    assert (codes(decision), done) == ({"too_few_acknowledgers"}, [])


def test_the_row_waits_for_all_acknowledgers_that_stay_and_for_a_locked_account() -> None:
    world, request, _holds = out_while_another_is_silent(lambda n: 0)
    _decision, done = run(world, request)
    assert [type(s).__name__ for s in done] == ["LockOut", "WriteTerm", "StopAcknowledging", "Readmit"]
    assert done[0].accounts == (account(3),)
    assert done[1].holders == ("s2", "s5")
    assert done[1].row.reason == "s3 out of service: new disk"


def test_it_is_brought_back_only_when_it_has_applied_what_the_primary_committed() -> None:
    world, request, _holds = back_after_a_restart(lambda n: 0)
    _decision, done = run(world, request)
    waits = [s for s in done if isinstance(s, steps.WaitReceived)]
    assert [s.applied for s in waits] == [True]
    assert "has applied" in waits[0].sentence


# --- refusals --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("operation", [TAKE_OUT, REPOINT, START, STOP])
def test_the_primary_is_no_replica(operation: str) -> None:
    decision, done = run(lossless(3), Request(operation, "s1"))
    assert (codes(decision), done) == ({"member_is_primary"}, [])
    assert "Switch over first" in decision.as_error().next_step


def test_the_primary_is_in_service_already() -> None:
    decision, done = run(lossless(3), Request(BRING_BACK, "s1"))
    assert isinstance(decision, Settled)
    assert done == []


@pytest.mark.parametrize("operation", [BRING_BACK, REPOINT, START, STOP])
def test_only_a_member_that_answers_can_be_changed(operation: str) -> None:
    world = lossless(4)
    world.hosts[3].silent = True
    decision, done = run(world, Request(operation, "s3"))
    assert (codes(decision), done) == ({"member_does_not_answer"}, [])


@pytest.mark.parametrize("operation", [BRING_BACK, REPOINT, START])
def test_a_member_with_a_surplus_is_not_let_in(operation: str) -> None:
    world = taken_out(4, 1, 3)
    world.hosts[3].errant = 2
    world.hosts[3].receiver = "OFF"
    decision, done = run(world, Request(operation, "s3"))
    assert (codes(decision), done) == ({"errant_transactions"}, [])


@pytest.mark.parametrize(("operation", "expected"), [(BRING_BACK, True), (REPOINT, True), (START, False)])
def test_a_broken_applier_is_started_again_and_nothing_else(operation: str, expected: bool) -> None:
    world = taken_out(4, 1, 3)
    world.hosts[3].broken = True
    decision = operations.next_step(Request(operation, "s3"), world.look(wish(world.hosts)), wish(world.hosts))
    if expected:
        assert codes(decision) == {"applier_broken"}
    else:
        assert isinstance(decision, steps.StartThreads)


def test_a_member_that_lacks_what_is_purged_is_not_let_in() -> None:
    world = taken_out(4, 1, 3)
    world.hosts[3].got, world.hosts[3].receiver, world.purged = 1, "OFF", 2
    assert codes(run(world, Request(BRING_BACK, "s3"))[0]) == {"purged_transactions_needed"}


def test_an_empty_member_is_for_the_convergence() -> None:
    world = taken_out(4, 1, 3)
    lost = world.hosts[3]
    lost.got, lost.source, lost.receiver, lost.applier = 0, 0, "OFF", "OFF"
    assert codes(run(world, Request(BRING_BACK, "s3"))[0]) == {"member_is_empty"}


def test_start_does_not_fetch_from_a_stranger() -> None:
    world = lossless(4)
    world.hosts[3].source, world.hosts[3].receiver = 2, "OFF"
    assert codes(run(world, Request(START, "s3"))[0]) == {"not_following_primary"}


def test_a_member_that_shares_a_login_can_not_be_locked_out_alone() -> None:
    world = lossless(4)
    world.hosts[3].login = "repl"
    assert codes(run(world, Request(TAKE_OUT, "s3"))[0]) == {"login_not_its_own"}


def test_a_member_that_no_row_counts_is_for_the_convergence() -> None:
    world = lossless(4, members=(1, 2, 3))
    assert codes(run(world, Request(TAKE_OUT, "s4"))[0]) == {"member_not_registered"}


def test_a_name_that_is_no_members() -> None:
    assert codes(run(lossless(3), Request(STOP, "s9"))[0]) == {"unknown_member"}


def test_without_a_row_there_is_nobody_to_take_out() -> None:
    world = lossless(3)
    world.log = [None] * len(world.log)
    assert "acknowledgers_unknown" in codes(run(world, Request(TAKE_OUT, "s3"))[0])


def _silent_primary(world: World) -> None:
    world.p.silent = True


def _read_only(world: World) -> None:
    world.p.writable = False


def _disarmed(world: World) -> None:
    world.p.source_enabled = False


def _fewer(world: World) -> None:
    world.p.wait_count = 1


def _stranger(world: World) -> None:
    world.hosts[5].source, world.hosts[5].login, world.hosts[5].receiver = 1, account(5), "ON"
    world.hosts[5].applier, world.hosts[5].replica_enabled, world.hosts[5].replica_active = "ON", True, True


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_silent_primary, "primary_does_not_answer"),
        (_read_only, "not_as_registered"),
        (_disarmed, "not_as_registered"),
        (_fewer, "not_as_registered"),
        (_stranger, "not_as_registered"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_only_beside_a_primary_that_is_as_its_row_says(operation: str, spoil: Any, expected: str) -> None:
    world = lossless(5, 2, members=(1, 2, 3, 4))
    spoil(world)
    wanted = wish(world.hosts)
    assert codes(operations.next_step(Request(operation, "s3"), world.look(wanted), wanted)) == {expected}


# --- what it leaves to say -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("count", "k", "expected"),
    [
        (5, 2, ()),
        (4, 2, ("stops writes: 2 of 2", "would have 1 acknowledgers and wait for 2, unless lower_k allows 1")),
        (3, 1, ("stops writes: 1 of 1", "would have 0 acknowledgers and wait for 1")),
        (4, 1, ()),
    ],
)
def test_what_the_cluster_can_no_longer_bear_is_said(count: int, k: int, expected: tuple[str, ...]) -> None:
    decision, _done = run(lossless(count, k), Request(TAKE_OUT, "s3"))
    assert len(decision.warnings) == len(expected)
    for warning, part in zip(decision.warnings, expected, strict=True):
        assert part in warning


def test_that_an_account_of_another_may_be_locked_is_said() -> None:
    world = lossless(5, 1)
    world.hosts[3].silent = world.hosts[4].silent = True
    decision, _done = run(world, Request(TAKE_OUT, "s3"))
    assert "s4 did not answer either" in decision.warnings[-1]


def test_the_first_reason_stays_and_an_empty_one_is_maintenance() -> None:
    world = taken_out(4, 1, 3)
    decision, done = run(world, Request(TAKE_OUT, "s3", "another reason"))
    assert (isinstance(decision, Settled), done) == (True, [])
    assert in_force(world).out_of_service == {uuid(3): "new disk"}
    world = lossless(4)
    run(world, Request(TAKE_OUT, "s3"))
    assert in_force(world).out_of_service == {uuid(3): "maintenance"}


def test_a_member_that_is_configured_not_to_acknowledge_is_brought_back_as_that() -> None:
    world = lossless(4)
    wanted = wish(world.hosts)
    kept = tuple(dataclasses.replace(m, acknowledges=m.name != "s3") for m in wanted.members)
    wanted = dataclasses.replace(wanted, members=kept)
    run(world, Request(TAKE_OUT, "s3"), wanted=wanted)
    decision, done = run(world, Request(BRING_BACK, "s3"), wanted=wanted)
    assert isinstance(decision, Settled)
    assert [type(s).__name__ for s in done] == ["WriteTerm"]
    assert (in_force(world).n, in_force(world).out_of_service) == (2, {})


# --- convergence respects it -----------------------------------------------------------------------------------------
def converge(world: World, wanted: Any) -> tuple[Any, list[Any]]:
    def decide(_request: Request, situation: Any, wanted: Any) -> Any:
        return plan.next_step(situation, wanted)

    return run(world, Request(STOP, ""), decide=decide, wanted=wanted)


@pytest.mark.parametrize("errant", [0, 2])
def test_a_convergence_leaves_who_was_taken_out_as_it_is_and_says_so(errant: int) -> None:
    world = taken_out(4, 1, 3)
    run(world, Request(STOP, "s3"))
    world.hosts[3].errant = errant
    world.hosts[2].receiver = "OFF"
    decision, done = converge(world, wish(world.hosts))
    assert isinstance(decision, Settled), decision
    assert {s.name for s in done} == {"s2"}
    assert any("s3 is out of service (new disk)" in warning for warning in decision.warnings)
    _out(world, 3, 2)


def test_a_convergence_that_changes_k_or_places_keeps_the_mark() -> None:
    world = taken_out(4, 1, 3)
    decision, _done = converge(world, wish(world.hosts, k=2))
    assert isinstance(decision, Settled), decision
    _out(world, 3, 2)
    assert in_force(world).k == 2


def test_another_server_under_the_name_is_not_out_of_service() -> None:
    world = taken_out(4, 1, 3)
    new = dataclasses.replace(world.look(wish(world.hosts)).observation.states["s3"], server_uuid=uuid(9))
    situation = world.look(wish(world.hosts))
    answers = dict(situation.observation.answers, s3=new)
    situation = dataclasses.replace(situation, observation=dataclasses.replace(situation.observation, answers=answers))
    assert not [m for m in plan.respecting(wish(world.hosts), situation).members if m.out]
