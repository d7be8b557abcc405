# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner of convergence, against a simulated cluster and an adversary who commits and kills at will."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from ansible_collections.lossless.mysql_ha.plugins.module_utils.refusal import Refusal
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication import plan, predict, steps
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.plan import Settled, next_step
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import DIFFERENT, PENDING, TO_BE_CLONED
from world import Host, World, account, lossless, uuid, wish

MANY = 120
Adversary = Callable[[int], int]


def run(world: World, wanted: Any, kills: list[int] = (), decide: Any = next_step) -> Any:
    """Converge, checking the promise and committing between any two effects.

    :param kills: at these effects (counted over the whole run) the step is left half done and it is decided anew.
    """
    count = 0
    done: list[Any] = []
    for _turn in range(MANY):
        decision = decide(world.look(wanted), wanted)
        if isinstance(decision, (Settled, Refusal)):
            return decision, done
        done.append(decision)
        for _effect in world.effects(decision, wanted):
            world._note_arming()
            world.check()
            world.application()
            world.check()
            count += 1
            if count in kills:
                world.former.clear()
                break
        world.check()
    raise AssertionError(f"no end: {[s.sentence for s in done[-6:]]}")


def assert_converged(world: World, numbers: Any, k: int) -> None:
    assert not [h.name for h in world.hosts.values() if h.offline]
    row = world.row_of(world.p)
    assert row is not None
    assert row.k == k
    assert world.p.wait_count == k
    assert world.p.writable
    assert world.p.source_enabled
    wanted = {uuid(n) for n in numbers if n != world.primary}
    assert {m.server_uuid for m in row.acknowledgers} == wanted
    assert account(world.primary) not in world.locked, "the primary could not follow anybody later"
    for host in world.replicas():
        registered = uuid(host.number) in wanted
        assert (host in world.active()) == registered, host.name
        if registered:
            assert not host.source_enabled
            assert not host.errant
    world.application()
    world.check()


# --- starting situations ---------------------------------------------------------------------------------------------
def fresh(choose: Adversary) -> tuple[World, Any, Any, int]:
    return World([Host(n) for n in (1, 2, 3, 4)], 1, choose), wish((1, 2, 3, 4)), (1, 2, 3, 4), 1


def fresh_k2(choose: Adversary) -> tuple[World, Any, Any, int]:
    return World([Host(n) for n in (1, 2, 3)], 1, choose), wish((1, 2, 3), k=2), (1, 2, 3), 2


def asynchronous(choose: Adversary) -> tuple[World, Any, Any, int]:
    world = World([Host(n) for n in (1, 2, 3)], 1, choose)
    world.p.writable = True
    world.user_tables = 3
    world.hosts[2].source, world.hosts[2].login = 1, "repl"
    world.hosts[2].receiver = world.hosts[2].applier = "ON"
    for _number in range(5):
        world.commit()
    world.hosts[2].got = 3
    return world, wish((1, 2, 3)), (1, 2, 3), 1


def stopped(choose: Adversary) -> tuple[World, Any, Any, int]:
    world = lossless(3, choose=choose)
    world.hosts[2].receiver, world.hosts[2].replica_active = "OFF", False
    world.hosts[3].applier = "OFF"
    return world, wish((1, 2, 3)), (1, 2, 3), 1


def drifted(choose: Adversary) -> tuple[World, Any, Any, int]:
    world = lossless(4, members=(1, 2, 3), choose=choose)
    world.p.source_enabled, world.p.timeout, world.p.no_tx = False, 100, 3
    world.p.replica_enabled = True
    world.hosts[2].source_enabled = True
    world.hosts[3].retry = 60
    stray = world.hosts[4]
    stray.source, stray.login, stray.receiver, stray.applier, stray.replica_enabled = 1, account(4), "ON", "ON", True
    stray.got = 1
    world._note_arming()
    return world, wish((1, 2, 3)), (1, 2, 3), 1


def grown(choose: Adversary) -> tuple[World, Any, Any, int]:
    return lossless(5, 1, members=(1, 2, 3), choose=choose), wish((1, 2, 3, 4, 5), k=2), (1, 2, 3, 4, 5), 2


def shrunk(choose: Adversary) -> tuple[World, Any, Any, int]:
    return lossless(5, 2, choose=choose), wish((1, 2, 4), k=1), (1, 2, 4), 1


def shrunk_same_k(choose: Adversary) -> tuple[World, Any, Any, int]:
    return lossless(4, 2, choose=choose), wish((1, 2, 3), k=2), (1, 2, 3), 2


def shrunk_dead(choose: Adversary) -> tuple[World, Any, Any, int]:
    world = lossless(4, 1, choose=choose)
    dead = world.hosts[3]
    dead.silent, dead.receiver, dead.replica_active, dead.replica_enabled = True, "OFF", False, False
    return world, wish((1, 2, 4), k=1), (1, 2, 4), 1


def raised(choose: Adversary) -> tuple[World, Any, Any, int]:
    return lossless(4, 1, choose=choose), wish((1, 2, 3, 4), k=3), (1, 2, 3, 4), 3


def lowered(choose: Adversary) -> tuple[World, Any, Any, int]:
    return lossless(4, 3, choose=choose), wish((1, 2, 3, 4), k=1), (1, 2, 3, 4), 1


def restarted(choose: Adversary) -> tuple[World, Any, Any, int]:
    world = lossless(3, 1, choose=choose)
    own = world.p
    own.writable = own.source_enabled = False
    own.wait_count, own.restarted = 1, True
    # A commit that nobody acknowledged: crash recovery kept it, and no client was told OK.
    world.log.append(None)
    own.got = len(world.log)
    world.hosts[2].receiver = world.hosts[3].receiver = "CONNECTING"
    world._note_arming()
    return world, wish((1, 2, 3)), (1, 2, 3), 1


def expendable(choose: Adversary) -> tuple[World, Any, Any, int]:
    world = lossless(4, 1, choose=choose)
    world.hosts[3].errant = 2
    world.hosts[4].broken = True
    return world, wish((1, 2, 3, 4), expendable=frozenset({"s3", "s4"})), (1, 2, 3, 4), 1


def deposed(choose: Adversary) -> tuple[World, Any, Any, int]:
    """A former primary that its keeper fenced and could make read-only: no surplus, not registered, source side on."""
    world = lossless(4, 1, members=(1, 2, 3), choose=choose)
    former = world.hosts[4]
    former.got, former.offline, former.source_enabled = 1, True, True
    return world, wish((1, 2, 3, 4)), (1, 2, 3, 4), 1


def deposed_and_expendable(choose: Adversary) -> tuple[World, Any, Any, int]:
    world, _wanted, numbers, k = deposed(choose)
    world.hosts[4].errant = 3
    return world, wish((1, 2, 3, 4), expendable=frozenset({"s4"})), numbers, k


def rewound(choose: Adversary) -> tuple[World, Any, Any, int]:
    """A former primary that was rewound; its own host compares it with the primary once it follows."""
    world, wanted, numbers, k = deposed(choose)
    world.returns[uuid(4)] = PENDING
    return world, wanted, numbers, k


def rewound_and_different(choose: Adversary) -> tuple[World, Any, Any, int]:
    world, _wanted, numbers, k = deposed(choose)
    world.returns[uuid(4)] = DIFFERENT
    return world, wish((1, 2, 3, 4), expendable=frozenset({"s4"})), numbers, k


def to_be_cloned(choose: Adversary) -> tuple[World, Any, Any, int]:
    """What it was rewound for can not be compared."""
    world, wanted, numbers, k = rewound_and_different(choose)
    world.returns[uuid(4)] = TO_BE_CLONED
    return world, wanted, numbers, k


def offline(choose: Adversary) -> tuple[World, Any, Any, int]:
    """Everybody read-only and offline, the primary too."""
    world, wanted, numbers, k = restarted(choose)
    for host in world.hosts.values():
        host.offline = True
    return world, wanted, numbers, k


SITUATIONS = (
    deposed,
    deposed_and_expendable,
    rewound,
    rewound_and_different,
    to_be_cloned,
    offline,
    fresh,
    fresh_k2,
    asynchronous,
    stopped,
    drifted,
    grown,
    shrunk,
    shrunk_same_k,
    shrunk_dead,
    raised,
    lowered,
    restarted,
    expendable,
)


@pytest.mark.parametrize("start", SITUATIONS, ids=lambda s: s.__name__)
def test_it_converges_and_keeps_the_promise_at_every_effect(start: Any) -> None:
    world, wanted, numbers, k = start(lambda n: 0)
    decision, done = run(world, wanted)
    assert isinstance(decision, Settled), decision
    assert done
    assert_converged(world, numbers, k)
    assert run(world, wanted) == (decision, [])


@pytest.mark.parametrize("start", SITUATIONS, ids=lambda s: s.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_killed_anywhere_by_an_adversary_it_ends_in_the_same_place(start: Any, data: Any) -> None:
    world, wanted, numbers, k = start(lambda n: data.draw(st.integers(0, n - 1)) if n > 1 else 0)
    kills = data.draw(st.lists(st.integers(1, 60), max_size=6))
    decision, _done = run(world, wanted, kills)
    assert isinstance(decision, Settled), decision
    assert_converged(world, numbers, k)


@pytest.mark.parametrize("start", SITUATIONS, ids=lambda s: s.__name__)
def test_killed_after_every_single_effect(start: Any) -> None:
    kill = effects = 1
    while kill <= effects:
        world, wanted, numbers, k = start(lambda n: n - 1)
        decision, done = run(world, wanted, [kill])
        assert isinstance(decision, Settled), (kill, decision)
        assert_converged(world, numbers, k)
        # No step has more than five effects.
        effects = max(effects, 5 * len(done))
        kill += 1


@settings(max_examples=100)
@given(data=st.data())
def test_from_any_drift_it_settles_lossless_or_refuses_and_never_makes_it_worse(data: Any) -> None:
    flag = st.booleans()
    count = data.draw(st.integers(3, 5))
    registered = data.draw(st.integers(2, count))
    k = data.draw(st.integers(1, registered - 1))
    world = lossless(count, k, members=range(1, registered + 1))
    own = world.p
    if data.draw(flag):
        own.writable = own.source_enabled = False
        own.restarted, own.wait_count = True, 1
    else:
        own.source_enabled = data.draw(flag)
        own.wait_count = data.draw(st.integers(1, count))
        own.no_tx = data.draw(st.integers(0, 2))
    own.replica_enabled = data.draw(flag)
    for host in world.replicas():
        host.source_enabled = data.draw(flag)
        host.replica_enabled = data.draw(flag)
        host.receiver = data.draw(st.sampled_from(["ON", "OFF", "CONNECTING"])) if host.source else "OFF"
        host.replica_active = host.receiver == "ON" and data.draw(flag)
        host.applier = data.draw(st.sampled_from(["ON", "OFF"]))
        host.retry = data.draw(st.sampled_from([1, 60]))
        host.broken, host.errant = data.draw(flag) and data.draw(flag), int(data.draw(flag) and data.draw(flag))
        if data.draw(flag) and data.draw(flag):
            world.locked.add(account(host.number))
            host.receiver = "CONNECTING" if host.receiver == "ON" else host.receiver
            host.replica_active = False
    world._note_arming()
    world.choose = lambda n: data.draw(st.integers(0, n - 1)) if n > 1 else 0
    chosen = sorted({1, *data.draw(st.lists(st.integers(2, count), min_size=1, unique=True))})
    expendable = frozenset(f"s{n}" for n in chosen if data.draw(flag))
    wanted = wish(chosen, k=data.draw(st.integers(1, len(chosen) - 1)), expendable=expendable)
    try:
        world.check()
    except AssertionError:
        world.check, sound = (lambda: None), world.check  # type: ignore[method-assign]
        decision, _done = run(world, wanted)
        world.check = sound  # type: ignore[method-assign]
    else:
        decision, _done = run(world, wanted, data.draw(st.lists(st.integers(1, 40), max_size=3)))
    if isinstance(decision, Settled):
        assert_converged(world, chosen, wanted.k)
    else:
        assert set(decision.codes) <= {"too_few_acknowledgers", "errant_transactions", "applier_broken"}


@pytest.mark.parametrize("start", SITUATIONS, ids=lambda s: s.__name__)
def test_check_mode_predicts_the_steps_that_a_quiet_cluster_needs(start: Any) -> None:
    world, wanted, _numbers, _k = start(lambda n: 0)
    predicted, end, _after = predict.plan(world.look(wanted), wanted)
    assert isinstance(end, Settled)
    world.application = lambda: None  # type: ignore[method-assign]
    _decision, done = run(world, wanted)
    assert [type(s).__name__ + " " + s.name for s in predicted] == [type(s).__name__ + " " + s.name for s in done]


# --- mutants: each breaks one rule of order, and must be caught ------------------------------------------------------
class _Mutant(plan.Look):
    """Decides like the planner but for one rule."""


def mutated(**stages: Any) -> Any:
    look = type("Mutant", (_Mutant,), stages)

    def decide(situation: Any, wanted: Any) -> Any:
        primary = plan.find_primary(situation, wanted)
        assert primary is not None
        return look(situation, wanted, primary).decide()

    return decide


def _grow_flag_first(self: Any) -> Any:
    for state in self.acknowledgers:
        if state.server_uuid not in self.registered and self._follows(state) and not self._acknowledging(state):
            return steps.Acknowledge(state.name, state.server_uuid)
    return plan.Look._grow(self)


def _hygiene_blind(self: Any) -> Any:
    return None


def _shrink_without_lock(self: Any) -> Any:
    decision = plan.Look._shrink(self)
    if isinstance(decision, steps.LockOut):
        stay = {u for u, m in self.registered.items() if m.name not in decision.members}
        return self._row(stay, self._k, "without")
    return decision


def _lower_flag_first(self: Any) -> Any:
    if self.wish.k < self._k and self.primary.semi_sync.wait_count > self.wish.k:
        return steps.Arm(self.primary.name, self.primary.server_uuid, self.wish.k)
    return plan.Look._lower_k(self)


def _arm_never_again(self: Any, k: int) -> Any:
    return None if self.primary.semi_sync.source_enabled else plan.Look._arm(self, k)


def _raise_row_first(self: Any) -> Any:
    if self.wish.k > self._k:
        return self._row(set(self.registered), self.wish.k, "raise")
    return None


def _raise_arm_later(self: Any, k: int) -> Any:
    # The row is raised first; the commits between are acknowledged by fewer than it says.
    return None


def _open_first(self: Any) -> Any:
    if not self.primary.writable:
        return steps.AllowWrites(self.primary.name, self.primary.server_uuid)
    return plan.Look._hygiene(self)


def _never_must_go(self: Any, state: Any) -> bool:
    return False


def _clone_registered(self: Any, state: Any, wipes: str) -> Any:
    registered, self.registered = self.registered, {}
    try:
        return plan.Look._clone(self, state, wipes)
    finally:
        self.registered = registered


def _lift_at_once(self: Any) -> Any:
    for state in self.replicas:
        if state.fenced:
            return steps.GoOnline(state.name, state.server_uuid, self.primary.name)
    return None


def _fence_stays(self: Any, *_states: Any) -> Any:
    return None


def _hygiene_lifts(self: Any) -> Any:
    return _lift_at_once(self) or plan.Look._hygiene(self)


MUTANTS = {
    "a fence is lifted before the server follows": (deposed, {"_hygiene": _hygiene_lifts}),
    "the primary's fence is never lifted": (offline, {"_lift_own_fence": _fence_stays}),
    "acknowledges before it is registered": (
        grown,
        {"_grow": _grow_flag_first, "_hygiene": _hygiene_blind},
    ),
    "leaves the row while it can still acknowledge": (shrunk_same_k, {"_shrink": _shrink_without_lock}),
    "k lowered on the primary first": (
        lowered,
        {"_lower_k": _lower_flag_first, "_arm": _arm_never_again},
    ),
    "k raised in the row first": (raised, {"_raise_k": _raise_row_first, "_arm": _raise_arm_later}),
    "writable before it is armed": (restarted, {"_hygiene": _open_first}),
    "a registered acknowledger wiped": (
        expendable,
        {"_must_go": _never_must_go, "_clone": _clone_registered},
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planner_that_breaks_a_rule_of_order_is_caught(name: str) -> None:
    start, stages = MUTANTS[name]

    def caught(choose: Adversary) -> bool:
        world, wanted, _numbers, _k = start(choose)
        try:
            run(world, wanted, decide=mutated(**stages))
        except AssertionError as error:
            return "no end" not in str(error)
        return False

    assert any(caught(choose) for choose in (lambda n: 0, lambda n: n - 1, lambda n: n // 2)), "the mutant survived"


def test_a_planner_that_forgets_a_fence_is_caught() -> None:
    world, wanted, numbers, k = deposed(lambda n: 0)
    decision, _done = run(world, wanted, decide=mutated(_lift_fences=_fence_stays))
    assert isinstance(decision, Settled)
    with pytest.raises(AssertionError, match="s4"):
        assert_converged(world, numbers, k)


# --- details ---------------------------------------------------------------------------------------------------------
def codes(decision: Any) -> set[str]:
    assert isinstance(decision, Refusal), decision
    return set(decision.codes)


def test_the_last_acknowledger_is_neither_donor_nor_wiped() -> None:
    world = lossless(3, 2)
    world.hosts[3].errant = 1
    decision, done = run(world, wish((1, 2, 3), k=2, expendable=frozenset({"s3"})))
    assert codes(decision) == {"too_few_acknowledgers"}
    assert not done


def test_a_donor_that_holds_a_commit_up_is_not_chosen() -> None:
    world = lossless(4, 2, members=(1, 2, 3))
    decision, done = run(world, wish((1, 2, 3, 4), k=2))
    assert isinstance(decision, Settled)
    assert [s.donor for s in done if isinstance(s, steps.Clone)] == ["s1"], "k of k acknowledgers: none can be spared"
    world = lossless(4, 1, members=(1, 2, 3))
    _decision, done = run(world, wish((1, 2, 3, 4), k=1))
    assert [s.donor for s in done if isinstance(s, steps.Clone)] == ["s2"]


def test_with_fewer_than_k_attached_nothing_of_the_row_is_changed() -> None:
    world = lossless(3, 2)
    world.hosts[3].silent, world.hosts[3].receiver = True, "OFF"
    decision, done = run(world, wish((1, 2), k=1))
    assert codes(decision) == {"too_few_acknowledgers"}
    assert not done


def test_a_restarted_primary_stays_closed_until_enough_say_that_none_was_promoted() -> None:
    world, wanted, _numbers, _k = restarted(lambda n: 0)
    world.hosts[3].silent = True
    decision, done = run(world, wanted)
    assert codes(decision) == {"quorum_not_reached"}
    assert not done
    assert not world.p.writable


def test_a_primary_that_lost_what_it_had_sent_is_not_opened() -> None:
    world, wanted, _numbers, _k = restarted(lambda n: 0)
    world.log += [None, None]
    world.hosts[2].got = len(world.log)
    assert "primary_lacks_transactions" in codes(next_step(world.look(wanted), wanted))


def test_nothing_is_decided_while_nobody_is_registered_and_one_is_silent() -> None:
    world = World([Host(n) for n in (1, 2, 3)], 1)
    world.hosts[3].silent = True
    assert codes(next_step(world.look(wish((1, 2, 3))), wish((1, 2, 3)))) == {"member_does_not_answer"}


def test_when_nobody_answers_the_kind_of_silence_says_what_to_do() -> None:
    world = World([Host(n, silent=True, silence="login_failed") for n in (1, 2)], 1)
    decision = next_step(world.look(wish((1, 2))), wish((1, 2)))
    assert codes(decision) == {"member_does_not_answer"}
    assert isinstance(decision, Refusal)
    error = decision.as_error()
    assert "no member answers" in error.message
    assert "password" in error.next_step
    assert "take it out" not in error.next_step


@pytest.mark.parametrize(
    ("kind", "newcomer", "refused"),
    [
        ("not_supported", True, True),
        ("tls_failed", True, True),
        ("login_failed", True, True),
        ("timed_out", True, False),
        ("refused", True, False),
        ("not_supported", False, True),
        ("tls_failed", False, False),
        ("login_failed", False, False),
    ],
)
def test_a_member_that_answers_and_can_not_become_one_is_refused(kind: str, newcomer: bool, refused: bool) -> None:
    """A registered one that does not let us in is left as it is, like one that is away."""
    world = lossless(3)
    number = 4 if newcomer else 3
    world.hosts[number] = world.hosts.get(number) or Host(number)
    world.hosts[number].silent, world.hosts[number].silence = True, kind
    wanted = wish(tuple(world.hosts))
    decision = next_step(world.look(wanted), wanted)
    if refused:
        assert codes(decision) == {f"connect_{kind}"}
    else:
        assert not isinstance(decision, Refusal)


def test_a_primary_that_does_not_let_us_in_is_no_case_for_failover() -> None:
    world = lossless(3)
    world.p.silent, world.p.silence = True, "tls_failed"
    decision = next_step(world.look(wish((1, 2, 3))), wish((1, 2, 3)))
    assert codes(decision) == {"primary_does_not_answer"}
    assert isinstance(decision, Refusal)
    assert "certificate" in decision.as_error().next_step
    assert "mysql_failover" not in decision.as_error().next_step


def test_a_dead_primary_is_a_case_for_failover() -> None:
    world = lossless(3)
    world.p.silent = True
    decision = next_step(world.look(wish((1, 2, 3))), wish((1, 2, 3)))
    assert codes(decision) == {"primary_does_not_answer"}
    assert isinstance(decision, Refusal)
    assert "mysql_failover" in decision.as_error().next_step


def test_several_writable_servers_are_refused() -> None:
    world = lossless(3)
    world.hosts[2].writable = True
    assert codes(next_step(world.look(wish((1, 2, 3))), wish((1, 2, 3)))) == {"several_writable"}


def test_a_fenced_server_on_which_commits_wait_has_to_be_restarted() -> None:
    world, wanted, numbers, k = deposed(lambda n: 0)
    former = world.hosts[4]
    former.writable = former.half_open = True
    decision, done = run(world, wanted)
    assert codes(decision) == {"fenced_not_read_only"}
    assert not done
    assert "Restart mysqld" in decision.as_error().next_step
    former.writable = former.half_open = former.offline = former.source_enabled = False
    decision, _done = run(world, wanted)
    assert isinstance(decision, Settled)
    assert_converged(world, numbers, k)


def test_a_fenced_server_with_a_surplus_is_refused_like_any_other() -> None:
    world, wanted, _numbers, _k = deposed(lambda n: 0)
    world.hosts[4].errant = 2
    assert codes(next_step(world.look(wanted), wanted)) == {"errant_transactions"}


def test_a_rewound_server_is_not_counted_before_it_was_compared() -> None:
    world, wanted, _numbers, _k = rewound(lambda n: 0)
    decision, done = run(world, wanted)
    assert isinstance(decision, Settled)
    kinds = [type(step) for step in done if step.name == "s4" or isinstance(step, steps.WriteTerm)]
    assert kinds.index(steps.WaitVerified) < kinds.index(steps.WriteTerm) < kinds.index(steps.Acknowledge)
    assert not world.counted_unverified


@pytest.mark.parametrize(
    ("situation", "code"), [(rewound_and_different, "rewound_and_different"), (to_be_cloned, "has_to_be_cloned")]
)
def test_one_that_was_not_found_equal_is_refused_until_its_data_may_go(situation: Any, code: str) -> None:
    world, wanted, _numbers, _k = situation(lambda n: 0)
    named = dataclasses.replace(wanted, expendable=frozenset())
    assert codes(next_step(world.look(named), named)) == {code}
    decision, done = run(world, wanted)
    assert isinstance(decision, Settled)
    assert [step.name for step in done if isinstance(step, steps.Clone)] == ["s4"]
    assert not world.counted_unverified


def test_an_open_primary_that_is_offline_is_not_touched() -> None:
    world = lossless(3)
    world.p.offline = True
    wanted = wish((1, 2, 3))
    assert codes(next_step(world.look(wanted), wanted)) == {"primary_offline"}


def test_a_primary_that_is_offline_is_let_go_only_when_enough_say_that_none_was_promoted() -> None:
    world, wanted, _numbers, _k = offline(lambda n: 0)
    world.hosts[3].silent = True
    assert codes(next_step(world.look(wanted), wanted)) == {"quorum_not_reached"}


@pytest.mark.parametrize(
    ("numbers", "k", "survive", "expected"),
    [
        ((1, 2, 3), 1, ("host", "zone"), set()),
        ((1, 2, 3), 1, ("city",), {"disaster_level_not_survived"}),
        ((1, 2, 3), 3, ("host",), {"acknowledgements_impossible", "disaster_level_not_survived"}),
        ((1, 2, 3), 0, ("host",), {"acknowledgements_impossible", "disaster_level_not_survived"}),
    ],
)
def test_k_is_checked_against_the_disasters_asked_for(numbers: Any, k: int, survive: Any, expected: Any) -> None:
    wanted = wish(numbers, k=k, survive=survive)
    decision = next_step(lossless(3).look(wanted), wanted)
    assert (set(decision.codes) if isinstance(decision, Refusal) else set()) == expected


def test_expendable_is_no_order_to_wipe() -> None:
    world = lossless(3)
    decision, done = run(world, wish((1, 2, 3), expendable=frozenset({"s2", "s3"})))
    assert isinstance(decision, Settled)
    assert done == []


def test_the_first_primary_is_the_one_asked_for_else_the_highest_priority() -> None:
    world = World([Host(n) for n in (1, 2, 3)], 1)
    situation = world.look(wish((1, 2, 3)))
    assert plan.find_primary(situation, wish((1, 2, 3), primary="s3")).name == "s3"  # type: ignore[union-attr]
    wanted = wish((1, 2, 3))
    preferred = dataclasses.replace(wanted.members[1], priority=200)
    wanted = dataclasses.replace(wanted, members=(wanted.members[0], preferred, wanted.members[2]))
    assert plan.find_primary(situation, wanted).name == "s2"  # type: ignore[union-attr]
