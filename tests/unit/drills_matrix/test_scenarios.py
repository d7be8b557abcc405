# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix is whole and can be carried out: nothing is named that the lab does not have."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.faults import POINTS

from drills.scenarios import BY_NAME, EMERGENCY_POINTS, GATE, SCENARIOS
from drills.steps import (
    EITHER,
    FAIL_OVER,
    KILLED,
    MANAGER,
    NEW,
    NOTHING,
    PROCEDURE,
    REFUSE,
    Acknowledged,
    Act,
    Expect,
    Heal,
    Inject,
    Pause,
    Scenario,
)
from lab import faults

OUTCOMES = {FAIL_OVER, REFUSE, NOTHING, EITHER, KILLED}


def problems(scenario: Scenario) -> list[str]:
    """What can not be carried out as it is written."""
    wrong: list[str] = []
    injected: set[str] = set()
    acted = promoted = False
    for step in scenario.steps:
        if isinstance(step, Inject):
            injected.add(step.fault)
            fault = faults.FAULTS.get(step.fault)
            if fault is None:
                wrong.append(f"the lab has no fault {step.fault}")
            elif set(step.options) - set(fault.takes):
                wrong.append(f"{step.fault} does not take {set(step.options)}")
        elif isinstance(step, Heal) and step.fault not in injected:
            wrong.append(f"{step.fault} is healed and never made")
        elif isinstance(step, Pause) and not 0 <= step.low <= step.high:
            wrong.append(f"a pause from {step.low} to {step.high}")
        elif isinstance(step, Act):
            acted = True
            wrong += [f"there is no fault point {point}" for point in step.points if point not in POINTS]
        elif isinstance(step, Expect):
            if not acted:
                wrong.append("something is expected before anybody acts")
            if {step.outcome, step.by_procedure or step.outcome} - OUTCOMES:
                wrong.append(f"no such outcome: {step}")
            promoted = promoted or step.outcome in (FAIL_OVER, EITHER)
        elif isinstance(step, Acknowledged) and step.by == NEW and not promoted:
            wrong.append("the new primary acknowledges before there is one")
    if not any(isinstance(step, Expect) for step in scenario.steps):
        wrong.append("nothing is expected")
    return wrong


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_it_can_be_carried_out(scenario: Scenario) -> None:
    assert problems(scenario) == []


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ((Inject("no_such"), Act(), Expect(REFUSE)), "no fault no_such"),
        ((Inject("hang", options={"peer": "x"}), Act(), Expect(REFUSE)), "does not take"),
        ((Heal("hang"), Act(), Expect(REFUSE)), "never made"),
        ((Pause(2, 1), Act(), Expect(REFUSE)), "a pause"),
        ((Act(points=("freeze:during",)), Expect(REFUSE)), "no fault point"),
        ((Expect(REFUSE),), "before anybody acts"),
        ((Act(), Expect("perhaps")), "no such outcome"),
        ((Act(), Expect(REFUSE), Acknowledged(NEW)), "before there is one"),
        ((Act(),), "nothing is expected"),
    ],
)
def test_each_of_these_rules_can_fail(steps: tuple[object, ...], told: str) -> None:
    broken = dataclasses.replace(SCENARIOS[0], steps=steps)  # type: ignore[arg-type]
    assert any(told in problem for problem in problems(broken))


def test_all_twenty_eight_and_our_own_are_there_once() -> None:
    assert sorted(one.number for one in SCENARIOS) == list(range(1, 30))
    assert len(BY_NAME) == len(SCENARIOS)


def test_the_gate_is_the_one_that_was_asked_for() -> None:
    assert {one.number for one in GATE} == {1, 2, 3, 4, 5, 8, 9, 10, 11, 14, 15, 19, 20, 22}


def test_what_a_procedure_can_not_do_is_said_and_the_manager_has_to() -> None:
    cut = BY_NAME["replication_cut"]
    assert cut.expected(MANAGER) == (FAIL_OVER,)
    assert cut.expected(PROCEDURE) == (REFUSE,)


def test_every_boundary_of_a_failover_after_a_crash_is_a_point() -> None:
    assert {point.partition(":")[0] for point in EMERGENCY_POINTS} == {point.partition(":")[0] for point in POINTS} - {
        "silence",
        "fence",
        "prepare",
        "block",
        "drain",
        "demote",
    }
    assert list(EMERGENCY_POINTS) == [point for point in POINTS if point in EMERGENCY_POINTS], "in their order"
