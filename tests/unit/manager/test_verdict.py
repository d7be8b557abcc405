# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts: each situation has its own, none is given too early, and none for a reason that is this process's own."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import verdict as verdicts
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.sample import Sample
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.verdict import (
    CONTROLLER_CUT,
    DEAD,
    DEAD_OR_ISOLATED,
    DEGRADED,
    HEALTHY,
    REPLICATION_CUT,
    UNKNOWN,
    Timing,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    CONNECTING,
    FAILED,
    LOGIN_FAILED,
    OFF,
    ON,
    REFUSED,
    TLS_FAILED,
)
from hypothesis import given
from hypothesis import strategies as st

from .peer import uuid_of
from .story import Story

DEATHS = (DEAD, DEAD_OR_ISOLATED)
ACTED_ON = (*DEATHS, REPLICATION_CUT)


def well(size: int = 3, k: int = 1, **options: Any) -> Story:
    """A cluster that has been watched for a while."""
    story = Story(size, k, **options)
    assert set(story.watch(3.0)) == {HEALTHY}
    return story


# --- each situation has its verdict ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("size", "k"), [(2, 1), (3, 1), (3, 2), (4, 2), (6, 3)])
def test_a_crash_is_seen_in_the_first_look_after_it(size: int, k: int) -> None:
    story = well(size, k)
    story.advance(0.13)
    story.kill()
    assert story.tick().verdict == DEAD
    assert story.verdict.primary == "db1" and story.verdict.primary_uuid == uuid_of(1)


def test_receivers_that_have_not_noticed_yet_are_looked_at_soon() -> None:
    story = well()
    story.kill()
    story.replicas["db3"].receiver = ON
    found = story.tick()
    assert (found.verdict, found.look_again) == (UNKNOWN, Timing().fallen)
    story.replicas["db3"].receiver = CONNECTING
    story.advance(0.05)
    assert story.tick().verdict == DEAD


def test_a_receiver_that_fell_before_is_not_one_that_fell_with_the_primary() -> None:
    story = well(4, 1)
    story.replicas["db4"].receiver = OFF
    story.watch(1.0)
    story.kill()
    assert story.tick().verdict == UNKNOWN, "two of three fell, three have to"
    assert story.until(DEAD_OR_ISOLATED, 4.0) >= 1.85


@pytest.mark.parametrize("how", ["hang", "isolated", "refused, and the receivers seem connected"])
@pytest.mark.parametrize(("size", "k"), [(2, 1), (3, 1), (4, 2)])
def test_a_hang_is_seen_after_the_silence_and_not_before(size: int, k: int, how: str) -> None:
    for offset in range(10):
        story = well(size, k)
        story.advance(offset * 0.05)
        last = max(r.heard_at for r in story.replicas.values())
        story.hang()
        if how == "isolated":
            story.reachable = False
        if how.startswith("refused"):
            story.kind = REFUSED
        story.until(DEAD_OR_ISOLATED, 4.0)
        at = next(at for at, what in story.seen if what == DEAD_OR_ISOLATED)
        assert 2.0 <= at - last <= 3.0, f"{at - last} after the last heartbeat"
        assert HEALTHY not in story.watch(2.0)


def test_a_crash_that_a_manager_finds_when_it_starts_is_seen_after_the_silence() -> None:
    story = Story()
    story.kill()
    assert 2.0 <= story.until(DEAD_OR_ISOLATED, 4.0) <= 3.0


@pytest.mark.parametrize("hearing", [1, 2, 3])
def test_a_cut_between_manager_and_primary_is_never_acted_on(hearing: int) -> None:
    story = well(4, 2)
    story.reachable = False
    for name in list(story.replicas)[hearing:]:
        story.cut_replication(name)
    seen = story.watch(60.0)
    assert not set(seen) & set(ACTED_ON)
    assert CONTROLLER_CUT in seen[:6] and seen[-1] == CONTROLLER_CUT
    assert "heard it meanwhile" in story.verdict.reasons[1]
    assert len(story.verdict.evidence["heard_by"]) == hearing


def test_a_manager_that_is_cut_off_from_everybody_says_so() -> None:
    story = well()
    story.reachable = False
    for replica in story.replicas.values():
        replica.reachable = False
    assert set(story.watch(60.0)) == {CONTROLLER_CUT}


@pytest.mark.parametrize(
    ("size", "k", "gone", "verdict"), [(3, 1, 1, CONTROLLER_CUT), (4, 2, 1, DEAD), (4, 2, 2, CONTROLLER_CUT)]
)
def test_too_few_acknowledgers_are_no_proof(size: int, k: int, gone: int, verdict: str) -> None:
    story = well(size, k)
    for name in list(story.replicas)[:gone]:
        story.replicas[name].reachable = False
    story.tick()
    story.kill()
    assert story.tick().verdict == verdict
    for replica in list(story.replicas.values())[gone:]:
        replica.receiver = ON
    assert verdict == DEAD or not set(story.watch(20.0)) & set(DEATHS)


def test_a_primary_whose_host_says_that_it_is_down_is_dead_though_too_few_answer_to_replace_it() -> None:
    """The failover will be refused, with a reason for a person; nobody would be told of a cut that seems to be ours."""
    story = well()
    story.replicas["db2"].reachable = False
    story.tick()
    story.kill()
    first = story.tick()
    assert (first.verdict, first.look_again) == (CONTROLLER_CUT, Timing().fallen)
    story.advance(0.05)
    assert story.tick().verdict == DEAD
    assert "1 of 2 acknowledgers answer, 2 are needed" in " ".join(story.verdict.reasons)
    silent = well()
    silent.replicas["db2"].reachable = False
    silent.tick()
    silent.hang()
    assert not set(silent.watch(20.0)) & set(DEATHS), "no answer at all may be our own cut"
    assert silent.verdict.evidence["heard_by"] == []


@pytest.mark.parametrize("kind", [LOGIN_FAILED, TLS_FAILED, FAILED])
def test_a_primary_that_does_not_let_us_in_lives(kind: str) -> None:
    story = well()
    story.hang()
    story.kind = kind
    assert set(story.watch(20.0)) == {UNKNOWN}


@pytest.mark.parametrize("receivers", [CONNECTING, ON])
def test_a_cut_replication_is_seen_after_its_time(receivers: str) -> None:
    story = well(4, 2)
    story.cut_replication()
    for replica in story.replicas.values():
        replica.receiver = receivers
    assert 3.0 <= story.until(REPLICATION_CUT, 7.0) + 0.5 <= 4.5
    assert "wait" in story.verdict.reasons[0] and story.verdict.evidence["wait_sessions"] == 3


def test_the_policy_says_how_long() -> None:
    story = well(cut_after=10.0)
    story.cut_replication()
    assert REPLICATION_CUT not in story.watch(9.0)
    assert REPLICATION_CUT in story.watch(3.0)


def test_one_that_still_hears_it_is_not_enough_for_k_of_two() -> None:
    story = well(4, 2)
    story.cut_replication("db3", "db4")
    story.until(REPLICATION_CUT, 7.0)
    story = well(5, 2)
    story.cut_replication("db4", "db5")
    assert set(story.watch(20.0)) == {HEALTHY}


def test_stopped_receivers_are_no_cut() -> None:
    story = well()
    for replica in story.replicas.values():
        replica.receiver = OFF
    seen = story.watch(20.0)
    assert REPLICATION_CUT not in seen and seen[-1] == DEGRADED
    assert "bring back" in story.verdict.reasons[0]


def test_stopped_receivers_can_not_say_whether_it_lives() -> None:
    story = well()
    for replica in story.replicas.values():
        replica.receiver = OFF
    story.hang()
    assert not set(story.watch(20.0)) & set(DEATHS)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda s: setattr(s, "disk", False), "disk"),
        (lambda s: setattr(s, "writable", False), "read-only"),
    ],
)
def test_a_primary_that_does_not_do_its_work_is_degraded(damage: Callable[[Story], None], says: str) -> None:
    story = well()
    damage(story)
    seen = story.watch(20.0)
    assert not set(seen) & set(ACTED_ON) and seen[-1] == DEGRADED
    assert says in story.verdict.reasons[0]


def test_a_primary_that_does_not_wait_is_degraded(monkeypatch: pytest.MonkeyPatch) -> None:
    story = well()
    look = story.look

    def without() -> dict[str, Any]:
        answers = look()
        return {**answers, "db1": dataclasses.replace(answers["db1"], source_enabled=False)}

    monkeypatch.setattr(story, "look", without)
    assert story.tick().verdict == DEGRADED


def test_a_member_that_has_become_another_server_is_said_and_is_not_the_primary() -> None:
    story = well()
    story.uuids["db1"] = uuid_of(77)
    found = story.tick()
    assert found.verdict == UNKNOWN
    assert any("db1 is another server than before" in note for note in found.notes)
    assert set(story.watch(10.0)) == {UNKNOWN}
    story = well()
    story.uuids["db2"] = uuid_of(78)
    story.kill()
    assert story.tick().verdict == CONTROLLER_CUT, "a stranger was counted as an acknowledger"


def test_a_second_server_that_takes_writes_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    story = well()
    assert story.verdict.notes == ()
    look = story.look
    monkeypatch.setattr(story, "look", lambda: {**look(), "db3": dataclasses.replace(look()["db3"], writable=True)})
    found = story.tick()
    assert found.verdict == HEALTHY and found.notes == ("db3 takes writes, and is not the primary of term 2",)


def test_without_a_term_row_nobody_is_primary() -> None:
    story = Story()
    story.term = None
    assert set(story.watch(5.0)) == {UNKNOWN}
    story.reachable = False
    for replica in story.replicas.values():
        replica.reachable = False
    assert story.tick().verdict == CONTROLLER_CUT


def test_after_a_failover_the_new_primary_is_judged() -> None:
    story = well()
    story.kill()
    story.tick()
    assert story.term is not None
    story.term = dataclasses.replace(story.term, revision=4, term=3, primary_uuid=uuid_of(2))
    assert story.tick().primary == "db2"
    assert not story.watched.attached


# --- a failover that somebody else began -----------------------------------------------------------------------------
def test_a_failover_that_began_and_whose_maker_is_gone_is_still_due() -> None:
    story = well()
    story.hang()
    story.until(DEAD_OR_ISOLATED, 10.0)
    for replica in story.replicas.values():
        replica.receiver = OFF
    assert set(story.watch(5.0)) == {DEAD_OR_ISOLATED}
    assert story.tick(late=True).verdict == UNKNOWN
    assert set(story.watch(5.0)) == {UNKNOWN}, "what was measured before a late tick counted after it"


def test_who_was_made_to_follow_another_server_does_not_speak_for_the_primary() -> None:
    story = well()
    story.hang()
    story.replicas["db2"].receiver = OFF
    story.replicas["db3"].source = uuid_of(2)
    assert story.until(DEAD_OR_ISOLATED, 10.0) < 4.0


@pytest.mark.parametrize(
    ("offline", "receivers", "sources", "turned"),
    [
        (True, (OFF, OFF), (1, 1), True),
        (True, (OFF, ON), (1, 2), True),
        (False, (OFF, ON), (1, 2), True),
        (False, (OFF, OFF), (1, 1), False),
        (True, (OFF, ON), (1, 1), False),
        (True, (CONNECTING, CONNECTING), (1, 1), False),
    ],
)
def test_a_closed_primary_from_which_a_failover_was_begun(
    offline: bool, receivers: tuple[str, str], sources: tuple[int, int], turned: bool
) -> None:
    story = well()
    story.writable, story.offline = False, offline
    story.cut_replication()
    for replica, receiver, source in zip(story.replicas.values(), receivers, sources, strict=True):
        replica.receiver, replica.source = receiver, uuid_of(source)
    found = story.tick()
    assert (found.verdict, found.closed, found.turned) == (DEGRADED, True, turned)
    assert ("a failover was begun" in found.reasons[0]) == turned


# --- reasons of our own are none -------------------------------------------------------------------------------------
def test_a_manager_that_was_frozen_begins_anew() -> None:
    story = well()
    story.hang()
    story.watch(1.0)
    # It sleeps; what it asked before was answered before, and is read now.
    answers = story.look()
    story.advance(30.0)
    story.look = lambda: answers  # type: ignore[method-assign]
    assert story.tick(late=True).verdict == UNKNOWN
    del story.look  # type: ignore[method-assign]
    assert story.until(DEAD_OR_ISOLATED, 4.0) >= 1.8


def test_a_frozen_manager_and_a_primary_that_lives() -> None:
    story = well()
    for seconds in (0.9, 3.0, 60.0):
        story.advance(seconds)
        assert story.tick(late=True).verdict == HEALTHY
        assert set(story.watch(2.0)) == {HEALTHY}


def test_a_primary_that_hung_and_goes_on_is_not_cut_off() -> None:
    story = well()
    story.hang()
    story.reachable = False
    story.watch(1.0)
    story.advance(20.0)
    story.revive()
    story.reachable = True
    assert not set(story.watch(3.0)) & set(ACTED_ON)


@pytest.mark.parametrize("jump", [-86400.0, -3.0, 3.0, 86400.0])
def test_clocks_of_servers_that_jump_mean_nothing(jump: float) -> None:
    story = well()
    story.wall += jump
    assert set(story.watch(5.0)) == {HEALTHY}
    story.hang()
    story.wall -= 2 * jump
    assert story.until(DEAD_OR_ISOLATED, 4.0) >= 1.4


def test_a_replica_that_hung_itself_does_not_count_its_own_silence() -> None:
    story = well(2, 1)
    story.replicas["db2"].hung = True
    story.watch(5.0)
    story.reachable = False
    story.replicas["db2"].hung = False
    assert story.tick().verdict not in DEATHS
    assert not set(story.watch(5.0)) & set(DEATHS), "it hears the primary, which only we do not"


# --- for every history -----------------------------------------------------------------------------------------------
def wrong(story: Story, late: bool) -> str:
    """What speaks against the last verdict, by what truly happened."""
    found = story.verdict.verdict
    if found not in ACTED_ON or story.term is None:
        return ""
    if late:
        return f"{found} in a late tick"
    answering = {n: r for n, r in story.replicas.items() if isinstance(story.answers[n], Sample)}
    required = story.term.n - story.term.k + 1
    if found == REPLICATION_CUT:
        if not isinstance(story.answers["db1"], Sample):
            return "a cut, and the primary gives no answer"
        hearing = [n for n, r in answering.items() if r.receiver == ON and story.now - r.heard_at < 1.0]
        return f"a cut, and {hearing} hear it" if len(hearing) >= story.term.k else ""
    if isinstance(story.answers["db1"], Sample):
        return f"{found}, and the primary answers"
    seen_to_fall = found == DEAD and answering and not any(r.receiver == ON for r in answering.values())
    if len(answering) < required and not (seen_to_fall and story.answers["db1"].kind == REFUSED):
        return f"{found} with {len(answering)} of {required} acknowledgers"
    for name, replica in answering.items():
        fallen = replica.receiver != ON
        if story.now - replica.heard_at < story.timing.silence and not (found == DEAD and fallen):
            return f"{found}, and {name} heard it {story.now - replica.heard_at:.2f} s ago"
    return ""


def happen(story: Story, chance: random.Random) -> bool:
    """Something happens, and a look follows. Whether that look was late."""
    replica = chance.choice(list(story.replicas.values()))
    what = chance.randrange(16)
    if what == 0:
        story.kill()
    elif what == 1:
        story.hang()
    elif what in (2, 3, 4):
        story.revive()
    elif what == 5:
        story.reachable = not story.reachable
        story.kind = chance.choice([REFUSED, "timed_out"])
    elif what == 6:
        replica.path = not replica.path
    elif what == 7:
        replica.reachable = not replica.reachable
    elif what == 8:
        replica.hung = not replica.hung
    elif what == 9:
        replica.receiver = chance.choice([OFF, CONNECTING, ON])
    elif what == 10:
        story.disk = not story.disk
    elif what == 11:
        story.wall += chance.uniform(-1e5, 1e5)
    late = what == 12
    if late:
        answers = story.look()
        story.advance(chance.uniform(0.3, 20.0))
        if chance.random() < 0.5:
            story.look = lambda: answers  # type: ignore[method-assign]
    story.tick(late=late)
    if late and "look" in vars(story):
        del story.look  # type: ignore[method-assign]
    return late


def violations(seed: int, steps: int = 120) -> str:
    chance = random.Random(seed)
    size = chance.choice([2, 3, 4, 5])
    story = Story(size, chance.randint(1, size - 1))
    for _step in range(steps):
        late = happen(story, chance)
        found = wrong(story, late)
        if found:
            return found
        for _look in range(chance.choice([0, 0, 1, 6])):
            story.advance(chance.choice([0.05, 0.15, 0.5, 0.5]))
            story.tick()
            found = wrong(story, False)
            if found:
                return found
        story.advance(chance.choice([0.05, 0.5, 0.5]))
    return ""


@given(st.integers(0, 2**32))
def test_no_history_leads_to_a_verdict_that_is_not_so(seed: int) -> None:
    assert violations(seed) == ""


def test_deaths_do_happen_in_those_histories() -> None:
    """A property that never meets what it is about says nothing."""
    seen: set[str] = set()
    for seed in range(60):
        chance = random.Random(seed)
        story = Story(3, 1)
        for _step in range(120):
            happen(story, chance)
            for _look in range(chance.choice([0, 0, 1, 6])):
                story.advance(0.5)
                story.tick()
            story.advance(0.5)
        seen |= {what for _at, what in story.seen}
    assert seen == set(verdicts.VERDICTS)


MUTANTS: dict[str, tuple[str, Any]] = {
    "silence is measured from the last answer of any kind": ("_quiet", lambda mark: 99.0),
    "one acknowledger is enough": ("_required", lambda term: 1),
    "nobody has to have been attached": ("_on", lambda mark, term: False),
    "stopped receivers testify": ("_tries", lambda mark: True),
}


@pytest.mark.parametrize("mutant", list(MUTANTS)[:3])
def test_mutant_histories_show_a_broken_rule(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, function = MUTANTS[mutant]
    monkeypatch.setattr(verdicts, name, function)
    assert any(violations(seed) for seed in range(200)), f"nobody noticed: {mutant}"


def test_mutant_late_ticks_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    note = verdicts.note
    monkeypatch.setattr(verdicts, "note", lambda watched, tick: note(watched, dataclasses.replace(tick, late=False)))
    assert any("late" in violations(seed) for seed in range(300))


def test_mutant_stopped_receivers_that_testify(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "_tries", lambda mark: True)
    story = well()
    for replica in story.replicas.values():
        replica.receiver = OFF
    story.hang()
    assert set(story.watch(20.0)) & set(DEATHS)


# --- timing ----------------------------------------------------------------------------------------------------------
def test_the_defaults_fit_together_and_what_does_not_is_said() -> None:
    assert verdicts.problems(Timing()) == ()
    for changes, begins in [
        ({"deadline": 0.5}, "deadline"),
        ({"silence": 1.4}, "silence"),
        ({"stall": 1.0}, "stall"),
        ({"confirm": 0.6}, "confirm"),
        ({"fallen": 0.6}, "fallen"),
        ({"tick": 0.0}, "tick"),
        ({"late": float("nan")}, "late"),
    ]:
        found = verdicts.problems(dataclasses.replace(Timing(), **changes))
        assert found and found[0].startswith(f"{begins} "), (changes, found)


def test_what_was_heard_is_handed_to_the_failover() -> None:
    story = well()
    assert verdicts.heard_before(story.watched, story.timing) == {}
    story.hang()
    story.until(DEAD_OR_ISOLATED, 4.0)
    heard = verdicts.heard_before(story.watched, story.timing)
    assert heard == {uuid_of(i): story.replicas[f"db{i}"].heartbeats for i in (2, 3)}
