# SPDX-License-Identifier: GPL-3.0-or-later
"""Each finding of the matrix holds, fails, and says when it saw nothing."""

from __future__ import annotations

from typing import Any

import pytest

from drills import judge
from drills.judge import Seen
from drills.programs import findings
from drills.steps import EITHER, FAIL_OVER, KILLED, MANAGER, NOTHING, PROCEDURE, REFUSE

OLD, NEW = "9122f0ec-ea7d-11f1-94ec-02420ad5010b", "912a4ad4-ea7d-11f1-8658-02420ad5010c"


# --- the outcome against the expectation -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("expected", "right"),
    [
        (FAIL_OVER, {FAIL_OVER}),
        (REFUSE, {REFUSE}),
        (NOTHING, {NOTHING, REFUSE}),
        (EITHER, {FAIL_OVER, REFUSE, NOTHING}),
        (KILLED, {KILLED}),
    ],
)
def test_outcomes_are_held_against_what_was_expected(expected: str, right: set[str]) -> None:
    for outcome in (FAIL_OVER, REFUSE, NOTHING, KILLED):
        finding = judge.outcomes_as_expected([Seen(expected, outcome)], [expected])
        assert finding.holds is (outcome in right), f"expected {expected}, saw {outcome}"


def test_one_wrong_outcome_of_several_is_enough() -> None:
    seen = [Seen(REFUSE, REFUSE), Seen(FAIL_OVER, REFUSE, said=("locked: by whom",))]
    finding = judge.outcomes_as_expected(seen, [REFUSE, FAIL_OVER])
    assert finding.holds is False and "locked: by whom" in finding.evidence


def test_an_expectation_that_was_never_awaited_is_not_met() -> None:
    assert judge.outcomes_as_expected([Seen(REFUSE, REFUSE)], [REFUSE, FAIL_OVER]).holds is None
    assert judge.outcomes_as_expected([], []).holds is False


@pytest.mark.parametrize(
    ("promotions", "holds"), [((), True), ((1,), True), ((1, 0), True), ((2,), False), ((1, 1), False)]
)
def test_two_promotions_are_one_too_many(promotions: tuple[int, ...], holds: bool) -> None:
    seen = [Seen(FAIL_OVER, FAIL_OVER, count) for count in promotions]
    assert judge.promoted_once(seen).holds is holds


# --- the observer ----------------------------------------------------------------------------------------------------
def sample(wall: float, writable: bool, reachable: bool = True) -> Any:
    return findings.Sample(wall, wall, {"db1": {"reachable": reachable, "writable": writable}}, {})


def test_an_observer_that_does_not_see_a_healthy_primary_has_seen_nothing() -> None:
    good = [sample(at, True) for at in range(10)]
    assert judge.primary_was_seen(good, "db1", 8.0).holds is True
    holes = [sample(at, True, reachable=at % 2 == 0) for at in range(10)]
    assert judge.primary_was_seen(holes, "db1", 8.0).holds is None
    assert judge.primary_was_seen(good, "db2", 8.0).holds is None
    assert judge.primary_was_seen(good, "db1", 0.0).holds is None, "no sample from before the fault"


def test_what_it_missed_after_the_fault_is_judged_elsewhere() -> None:
    late = [sample(at, at < 8) for at in range(20)]
    assert judge.primary_was_seen(late, "db1", 8.0).holds is True


# --- what only one server had ----------------------------------------------------------------------------------------
def test_a_surplus_without_an_archive_that_names_it_is_found() -> None:
    errant = {"db1": f"{OLD}:11-13", "db3": f"{NEW}:2"}
    whole = {"db1": {"manifest": {"found": f"{OLD}:11:12-13"}}, "db3": {"manifest": {"found": f"{NEW}:2"}}}
    assert judge.errant_archived(errant, whole).holds is True
    assert judge.errant_archived({}, {}).holds is True
    assert judge.errant_archived(errant, {"db1": whole["db1"]}).holds is False
    less = {**whole, "db1": {"manifest": {"found": f"{OLD}:11-12"}}}
    finding = judge.errant_archived(errant, less)
    assert finding.holds is False and "db1" in finding.evidence and "db3" not in finding.evidence


@pytest.mark.parametrize(
    ("wanted", "promoted", "errant", "holds"),
    [
        (True, True, {"db1": f"{OLD}:7"}, True),
        (True, True, {"db2": f"{OLD}:7"}, False),
        (True, True, {}, False),
        (True, False, {}, True),
        (False, True, {}, True),
    ],
)
def test_a_run_that_was_to_leave_a_surplus_and_left_none_showed_nothing(
    wanted: bool, promoted: bool, errant: dict[str, str], holds: bool
) -> None:
    assert judge.surplus_came_back(wanted, promoted, errant, "db1").holds is holds


def test_what_clients_on_the_host_were_told_has_to_be_there() -> None:
    assert judge.local_clients_lose_nothing(None, []).holds is True
    assert judge.local_clients_lose_nothing([1, 2], [1, 2, 3]).holds is True
    finding = judge.local_clients_lose_nothing([1, 2], [2])
    assert finding.holds is False and "1 of 2" in finding.evidence


# --- the verdict -----------------------------------------------------------------------------------------------------
def drill() -> Any:
    """Of a refusal in which all is well, but for what the tests take away."""
    samples = tuple(
        findings.Sample(at, at, {"db1": {"reachable": True, "writable": True}}, {"192.0.2.1": ("02:42:00:00:00:01",)})
        for at in [number / 10 for number in range(100)]
    )
    document = {
        "expectation": judge.expectation_of(promoted=False),
        "fault": {"at": 5.0},
        "failover": judge.refused([{"code": "not_enough_frozen", "message": "1 of 2"}]),
        "address_lease_ms": 3500,
    }
    rows = {"count": 0, "ids": []}
    server = {
        "role": "primary",
        "server_uuid": OLD,
        "rows": 300,
        "caught_up": True,
        "balances": {"accounts": 4, "mismatches": rows},
        **dict.fromkeys(("lost", "phantom", "alien", "altered", "not_on_primary"), rows),
    }
    checker = {
        "counts": {"acknowledged": 300, "unknown": 2, "failed": 0},
        "log": {"complete": True, "malformed": 0, "ids_logged_twice": 0},
        "acknowledged_by_server": {OLD: {}},
        "duplicate_acknowledgements": rows,
        "servers": [{**server, "name": "db1"}, {**server, "name": "db2", "role": "replica"}],
    }
    return findings.Drill(document, checker, samples, judge.LIMITS)


def test_a_refusal_that_was_right_passes() -> None:
    report = judge.verdict(drill(), [judge.outcomes_as_expected([Seen(REFUSE, REFUSE)], [REFUSE])])
    assert report["reasons"] == [] and report["verdict"] == "pass"


def test_any_finding_of_the_matrix_fails_the_run() -> None:
    for extra in (
        judge.outcomes_as_expected([Seen(REFUSE, NOTHING)], [REFUSE]),
        judge.promoted_once([Seen(REFUSE, FAIL_OVER, 2)]),
        judge.primary_was_seen([], "db1", 1.0),
    ):
        report = judge.verdict(drill(), [extra])
        assert report["verdict"] == "fail" and extra.name in report["reasons"][0]
        assert extra.document() in report["conditions"]


def test_an_invariant_of_the_single_drill_fails_it_as_well() -> None:
    broken = drill()
    broken.checker["servers"][0]["lost"] = {"count": 1, "ids": [5]}
    report = judge.verdict(broken, [])
    assert report["lost"] == 1
    assert any("no_acknowledged_transaction_lost" in reason for reason in report["reasons"])


def test_only_a_woken_primary_may_seem_writable_for_a_while() -> None:
    assert judge.overlap_allowed(PROCEDURE, True, False) == 0
    assert judge.overlap_allowed(MANAGER, False, False) == 0
    assert judge.overlap_allowed(MANAGER, True, False) == judge.WAKE_MS
    assert judge.overlap_allowed(MANAGER, False, True) == judge.OUT_OF_REACH_MS
