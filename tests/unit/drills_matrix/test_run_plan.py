# SPDX-License-Identifier: GPL-3.0-or-later
"""A run is its seed: drawn twice it is the same, and everything random in it is drawn."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from drills import plan
from drills.scenarios import BY_NAME, EMERGENCY_POINTS, SCENARIOS
from drills.steps import (
    CONTROL,
    MANAGER,
    PRIMARY,
    PROCEDURE,
    REPLICA_1,
    REPLICA_2,
    Act,
    Fenced,
    Heal,
    Inject,
    Pause,
    Scenario,
    Step,
)


@given(some.integers(0, 2**32), some.sampled_from(SCENARIOS))
def test_the_same_seed_is_the_same_plan(seed: int, scenario: object) -> None:
    one, two = plan.draw(scenario, seed), plan.draw(scenario, seed)  # type: ignore[arg-type]
    assert one == two and str(one) == str(two)
    for drawn, meant in zip(one.steps, plan.draw(scenario, seed + 1).steps, strict=True):  # type: ignore[arg-type]
        if isinstance(drawn, Pause):
            assert drawn.low == drawn.high
            assert isinstance(meant, Pause)


def test_moments_lie_in_their_range_and_differ() -> None:
    scenario = BY_NAME["most_received_is_late"]
    ranges = [step for step in scenario.steps if isinstance(step, Pause)]
    drawn = [[step.low for step in plan.draw(scenario, seed).steps if isinstance(step, Pause)] for seed in range(50)]
    for moments in drawn:
        assert all(one.low <= moment <= one.high for one, moment in zip(ranges, moments, strict=True))
    assert len({tuple(moments) for moments in drawn}) == 50


def test_either_replica_can_be_the_first() -> None:
    orders = {plan.draw(SCENARIOS[0], seed).order for seed in range(30)}
    assert orders == {(0, 1), (1, 0)}
    parts = plan.draw(SCENARIOS[0], 1).parts("db2", ["db3", "db1"])
    assert parts[PRIMARY] == "db2" and {parts[REPLICA_1], parts[REPLICA_2]} == {"db1", "db3"}


def test_a_lab_that_is_too_small_is_said() -> None:
    with pytest.raises(ValueError, match="needs 2 replicas"):
        plan.draw(SCENARIOS[0], 1).parts("db1", ["db2"])


@given(some.integers(1, 25))
def test_all_runs_together_kill_at_every_point_once(runs: int) -> None:
    killed: list[str] = []
    for number in range(runs):
        drawn = plan.draw(BY_NAME["actor_killed"], 3, number=number, runs=runs)
        killed += [point for step in drawn.steps if isinstance(step, Act) for point in step.points]
    assert sorted(killed) == sorted(EMERGENCY_POINTS)


def test_the_one_point_of_a_scenario_is_in_every_run() -> None:
    drawn = plan.draw(BY_NAME["elected_dies"], 3, number=1, runs=5)
    assert next(step.points for step in drawn.steps if isinstance(step, Act)) == ("open:before",)


@pytest.mark.parametrize(("driver", "there"), [(MANAGER, True), (PROCEDURE, False)])
def test_a_woken_primary_is_fenced_by_those_who_live_long(driver: str, there: bool) -> None:
    drawn = plan.draw(BY_NAME["primary_hangs"], 1, driver=driver)
    assert any(isinstance(step, Fenced) for step in drawn.steps) is there
    assert ("Heal" in str(drawn)) is there, "nor is it woken where nobody would fence it"


def test_what_is_printed_says_everything() -> None:
    said = json.loads(str(plan.draw(BY_NAME["only_acknowledger_hangs"], 99)))
    assert said["seed"] == 99 and said["scenario"] == "only_acknowledger_hangs"
    assert {"Inject", "Pause", "Act", "Expect", "Heal"} <= {next(iter(step)) for step in said["steps"]}


def test_seeds_of_runs_hang_on_their_names_alone() -> None:
    assert plan.seed_of(1, "primary_crash", 0) == plan.seed_of(1, "primary_crash", 0)
    seeds = {plan.seed_of(session, name, number) for session in (1, 2) for name in BY_NAME for number in (0, 1)}
    assert len(seeds) == 4 * len(BY_NAME)


FROM_CONTROL = Inject("cut", options={"peer": CONTROL})


@pytest.mark.parametrize(
    ("steps", "out_of_reach"),
    [
        ((Inject("hang"),), False),
        ((Inject("cut", options={"peer": REPLICA_1}),), False),
        ((FROM_CONTROL,), True),
        ((FROM_CONTROL, Inject("cut", options={"peer": REPLICA_1})), True),
        ((FROM_CONTROL, Heal("cut")), False),
        ((FROM_CONTROL, Heal("hang")), True),
    ],
)
def test_whether_who_acts_can_reach_the_primary(steps: tuple[Step, ...], out_of_reach: bool) -> None:
    scenario = Scenario("x", 0, "x", (*steps, Act(), Heal("cut"), FROM_CONTROL))
    assert plan.draw(scenario, 1, driver=MANAGER).out_of_reach is out_of_reach
