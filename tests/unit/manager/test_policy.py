# SPDX-License-Identifier: GPL-3.0-or-later
"""When the manager acts, waits, and holds."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import policy, verdict
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.policy import (
    ACTING,
    AUTOMATIC,
    FAILED,
    HELD,
    NONE,
    PROMOTED,
    REFUSED,
    SWITCHOVER,
    WAITING,
    WOULD_ACT,
    YIELDED,
    Act,
    Attempt,
    Pause,
    Rules,
    Situation,
    Window,
    decide,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.verdict import Verdict
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_763_700_000.0
RULES = Rules()


def seen(what: str, **changes: Any) -> Verdict:
    return Verdict(what, ("because",), "db1", "uuid-1", **changes)


def attempt(outcome: str, ago: float = 30.0, **changes: Any) -> Attempt:
    values: dict[str, Any] = {"trigger": AUTOMATIC, "old_primary_uuid": "uuid-1", "term": 2, "zero_loss": ""}
    if outcome == PROMOTED:
        values.update(old_primary_uuid="uuid-0", term=1, zero_loss="proven")
    return Attempt(outcome=outcome, ended_at=NOW - ago, **{**values, **changes})


def asked(what: str = verdict.DEAD, rules: Rules = RULES, **situation: Any) -> policy.Decision:
    return decide(seen(what), rules, Situation(**{"term": 2, **situation}), NOW)


@pytest.mark.parametrize(
    ("what", "action"),
    [
        (verdict.HEALTHY, NONE),
        (verdict.DEAD, ACTING),
        (verdict.DEAD_OR_ISOLATED, ACTING),
        (verdict.REPLICATION_CUT, ACTING),
        (verdict.CONTROLLER_CUT, NONE),
        (verdict.DEGRADED, NONE),
        (verdict.UNKNOWN, NONE),
    ],
)
def test_what_each_verdict_leads_to(what: str, action: str) -> None:
    assert asked(what).action == action


def test_every_verdict_is_in_that_table() -> None:
    assert len(verdict.VERDICTS) == 7


@pytest.mark.parametrize(
    ("closed", "turned", "attempts", "action"),
    [
        (True, True, [], ACTING),
        (True, False, [], NONE),
        (False, True, [], NONE),
        (True, False, [attempt(FAILED, codes=("lock_lost",))], ACTING),
        (True, False, [attempt(FAILED, codes=("lock_lost",), ago=0.5)], WAITING),
        (True, False, [attempt(REFUSED, codes=("too_few_frozen",))], NONE),
        (True, False, [attempt(FAILED, codes=("lock_lost",), term=1)], NONE),
        (False, False, [attempt(FAILED, codes=("lock_lost",))], NONE),
    ],
)
def test_a_failover_that_was_left_half_done_is_brought_to_its_end(
    closed: bool, turned: bool, attempts: list[Attempt], action: str
) -> None:
    """Its old primary answers again, or still, and is neither dead nor cut off."""
    found = seen(verdict.DEGRADED, closed=closed, turned=turned)
    assert decide(found, RULES, Situation(attempts=attempts, term=2), NOW).action == action
    held = Situation(attempts=attempts, term=2, pause=Pause("ann", "upgrade", NOW - 5))
    assert decide(found, RULES, held, NOW).action == (NONE if action == NONE else HELD)


WEEKLY = Window("night", 22 * 3600.0, 2 * 3600.0, (4,))
HOLDS: dict[str, tuple[Rules, dict[str, Any], str]] = {
    "paused": (RULES, {"pause": Pause("ann", "upgrade", NOW - 5)}, "paused by ann"),
    "not automatic": (Rules(automatic=False), {}, "automatic failover is off"),
    "maintenance": (Rules(maintenance=(Window("disks", NOW - 1, NOW + 1),)), {}, "maintenance: disks"),
    "can not write": (RULES, {"unwritable": "disk full"}, "disk full"),
    "an unproven one before": (RULES, {"attempts": [attempt(PROMOTED, zero_loss="unproven")]}, "not proven"),
    "a failed one before": (RULES, {"attempts": [attempt(FAILED, term=1, codes=("lock_lost",))]}, "failed"),
}


@pytest.mark.parametrize("why", HOLDS)
def test_holds_and_each_says_why(why: str) -> None:
    rules, situation, says = HOLDS[why]
    found = asked(rules=rules, **situation)
    assert found.action == HELD and any(says in reason for reason in found.reasons), found
    assert asked(verdict.CONTROLLER_CUT, rules, **situation).action == NONE


def test_all_holds_are_said_at_once() -> None:
    found = asked(
        verdict.REPLICATION_CUT,
        Rules(automatic=False, act_on_cut=False, maintenance=(Window("m", 0, 2 * NOW),)),
        pause=Pause("a", "b", 0),
        unwritable="full",
    )
    assert len(found.reasons) == 5


def test_what_has_ended_does_not_hold() -> None:
    assert asked(pause=Pause("ann", "x", NOW - 5, NOW - 1)).action == ACTING
    assert asked(rules=Rules(maintenance=(Window("disks", NOW - 9, NOW - 1),))).action == ACTING


@pytest.mark.parametrize("what", [verdict.DEAD, verdict.DEAD_OR_ISOLATED])
@pytest.mark.parametrize("ago", [0.0, 1.0, 599.0, 601.0])
def test_a_second_death_after_a_proven_failover_is_acted_on_at_once(what: str, ago: float) -> None:
    assert asked(what, attempts=[attempt(PROMOTED, ago)]).action == ACTING


def test_after_a_proven_failover_a_cut_has_to_wait_for_the_cooldown() -> None:
    assert asked(verdict.REPLICATION_CUT, attempts=[attempt(PROMOTED, 599.0)]).action == HELD
    assert asked(verdict.REPLICATION_CUT, attempts=[attempt(PROMOTED, 601.0)]).action == ACTING
    assert asked(verdict.REPLICATION_CUT, attempts=[attempt(PROMOTED, 5.0, acknowledged=True)]).action == ACTING
    assert policy.cooldown(RULES, [attempt(PROMOTED, 5.0)]) == NOW + 595.0
    assert policy.cooldown(RULES, [attempt(PROMOTED, 5.0, trigger=SWITCHOVER)]) is None


@pytest.mark.parametrize("bad", [attempt(PROMOTED, 9e6, zero_loss="unproven"), attempt(FAILED, 9e6, term=1)])
def test_after_one_that_was_not_proven_or_failed_only_an_acknowledgement_helps(bad: Attempt) -> None:
    assert asked(attempts=[bad]).action == HELD
    assert asked(attempts=[dataclasses.replace(bad, acknowledged=True)]).action == ACTING
    assert asked(attempts=[bad, attempt(PROMOTED)]).action == ACTING, "a proven one has come after it"


def test_a_refusal_is_tried_again_later_and_later() -> None:
    refused = [attempt(REFUSED, ago, codes=("too_few_acknowledgers",)) for ago in (100.0, 50.0, 3.0)]
    assert asked(attempts=refused[:1]).action == ACTING
    found = asked(attempts=refused)
    assert isinstance(found, policy.Wait) and found.until == NOW - 3.0 + 8.0
    assert asked(attempts=refused * 10).action == WAITING
    assert asked(attempts=[*refused * 10, attempt(REFUSED, 31.0)]).action == ACTING, "never longer than 30 s"


def test_an_interrupted_one_says_nothing() -> None:
    assert asked(attempts=[attempt(FAILED, 0.1, codes=("interrupted",))] * 9).action == ACTING
    assert asked(attempts=[attempt(FAILED, 0.1, codes=("interrupted",), term=1)]).action == ACTING


def test_a_failure_is_tried_again_a_few_times() -> None:
    failed = [attempt(FAILED, 200.0 - 10 * n, codes=("elected_lost",)) for n in range(policy.ATTEMPTS)]
    assert asked(attempts=failed[:-1]).action == ACTING
    found = asked(attempts=failed)
    assert found.action == HELD and "acknowledge" in found.reasons[0]
    assert asked(attempts=[*failed[:-1], dataclasses.replace(failed[-1], acknowledged=True)]).action == ACTING


def test_who_holds_the_lock_is_left_to_it() -> None:
    locked = attempt(YIELDED, 1.0, codes=("locked",))
    assert asked(attempts=[locked]).action == WAITING
    assert asked(attempts=[dataclasses.replace(locked, ended_at=NOW - 3.1)]).action == ACTING
    assert asked(attempts=[dataclasses.replace(locked, ended_at=NOW - 3.1)] * 20).action == ACTING
    assert asked(attempts=[dataclasses.replace(locked, term=1)]).action == ACTING, "another one's success is no failure"


def test_a_clock_that_was_set_back_does_not_make_it_wait_for_longer() -> None:
    assert asked(attempts=[attempt(REFUSED, -86400.0)]).action == ACTING
    assert asked(attempts=[attempt(YIELDED, -86400.0, codes=("locked",))]).action == ACTING


def test_a_recovery_that_runs_is_waited_for() -> None:
    for found in (asked(running=True), decide(seen(verdict.HEALTHY), RULES, Situation(running=True), NOW)):
        assert found.action == ACTING and not isinstance(found, Act)
    assert asked(busy=True).action == WAITING
    assert decide(seen(verdict.UNKNOWN, suspected=verdict.DEAD_OR_ISOLATED), RULES, Situation(), NOW).action == WAITING


def test_a_dry_run_says_it_once() -> None:
    rules = Rules(dry_run=True)
    found = asked(rules=rules)
    assert isinstance(found, Act) and found.only_say
    assert asked(rules=rules, attempts=[attempt(WOULD_ACT)]).action == NONE
    assert asked(rules=rules, attempts=[attempt(WOULD_ACT, term=1)]).action == ACTING, "another incident"
    assert asked(attempts=[attempt(WOULD_ACT)]).action == ACTING, "it is no dry run any more"


@pytest.mark.parametrize(
    ("name", "broken", "situation"),
    [
        ("_DEATHS", (), {"attempts": [attempt(PROMOTED, 1.0)]}),
        ("_same_incident", lambda *_a: False, {"attempts": [attempt(FAILED, 300.0, codes=("elected_lost",))]}),
        ("INTERRUPTED", "", {"attempts": [attempt(FAILED, 300.0, term=1, codes=("interrupted",))]}),
    ],
)
def test_mutant_a_rule_that_is_broken_is_seen(
    name: str, broken: Any, situation: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked(**situation).action == ACTING
    monkeypatch.setattr(policy, name, broken)
    assert asked(**situation).action != ACTING


@pytest.mark.parametrize(
    ("at", "inside"),
    [
        # 2025-11-21 is a Friday; the window begins at 22:00 and ends at 02:00 on Saturday.
        (1763762399.0, False),
        (1763762400.0, True),
        (1763776799.0, True),
        (1763776800.0, False),
        (1763762400.0 - 86400, False),
        (1763762400.0 + 7 * 86400, True),
    ],
)
def test_a_weekly_window(at: float, inside: bool) -> None:
    assert (WEEKLY.until(at) is not None) == inside
    if inside:
        until = WEEKLY.until(at)
        assert until is not None and WEEKLY.began(until) <= at < until and until - WEEKLY.began(until) == 4 * 3600


OUTCOMES = st.builds(
    Attempt,
    trigger=st.sampled_from([AUTOMATIC, SWITCHOVER]),
    outcome=st.sampled_from([PROMOTED, REFUSED, FAILED, WOULD_ACT]),
    old_primary_uuid=st.sampled_from(["uuid-0", "uuid-1"]),
    term=st.integers(1, 2),
    ended_at=st.floats(NOW - 2000, NOW),
    zero_loss=st.sampled_from(["proven", "unproven"]),
    codes=st.sampled_from([(), ("locked",), ("elected_lost",)]),
    acknowledged=st.booleans(),
)


@given(st.lists(OUTCOMES, max_size=6), st.sampled_from(verdict.VERDICTS), st.booleans(), st.booleans())
def test_nothing_is_ever_done_without_a_verdict_against_a_pause_or_unwritten(
    attempts: list[Attempt], what: str, paused: bool, unwritable: bool
) -> None:
    found = asked(
        what,
        attempts=attempts,
        pause=Pause("ann", "x", NOW) if paused else None,
        unwritable="full" if unwritable else "",
    )
    if isinstance(found, Act):
        assert what in (verdict.DEAD, verdict.DEAD_OR_ISOLATED, verdict.REPLICATION_CUT)
        assert not paused and not unwritable
        last = [a for a in attempts if a.trigger == AUTOMATIC and a.outcome in (PROMOTED, FAILED)][-1:]
        assert all(a.zero_loss == "proven" or a.acknowledged for a in last if a.outcome == PROMOTED)
