# SPDX-License-Identifier: GPL-3.0-or-later
"""Rounds at random: each can be carried out and replayed, and expects what arithmetic says."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from drills import soak
from drills.steps import EITHER, FAIL_OVER, MANAGER, NOTHING, PRIMARY, PROCEDURE, REFUSE, Expect, Heal, Inject
from tests.unit.drills_matrix.conftest import found
from tests.unit.drills_matrix.test_scenarios import problems


@settings(max_examples=300)
@given(some.integers(0, 2**32))
def test_every_round_can_be_carried_out_and_replayed(seed: int) -> None:
    scenario = soak.draw(seed, "soak-1")
    assert scenario == soak.draw(seed, "soak-1")
    assert problems(scenario) == []
    replicas = [step.on for step in scenario.steps if isinstance(step, Inject) and step.on != PRIMARY]
    assert len(replicas) == len(set(replicas)), "a second fault on a host that is gone could not be made"
    for index, step in enumerate(scenario.steps):
        if isinstance(step, Heal):
            assert any(
                isinstance(one, Inject) and (one.fault, one.on) == (step.fault, step.on)
                for one in scenario.steps[:index]
            )


def test_everything_that_may_be_drawn_is_drawn() -> None:
    drawn = Counter(
        step.fault for seed in range(400) for step in soak.draw(seed, "x").steps if isinstance(step, Inject)
    )
    assert set(drawn) == {one.fault for one in (*soak.DEATHS, *soak.TROUBLES)}
    outcomes = Counter(
        step.outcome for seed in range(400) for step in soak.draw(seed, "x").steps if isinstance(step, Expect)
    )
    assert set(outcomes) == {FAIL_OVER, REFUSE, EITHER, NOTHING}
    assert outcomes[EITHER] < 250, "a round that accepts everything shows the invariants alone"


KILL, LOST, UNSURE, HARMLESS = (
    soak.DEATHS[0],
    soak.Choice("hang", soak.REPLICAS, fatal=True),
    soak.Choice("cut", unsure=True),
    soak.Choice("local_clients"),
)


@pytest.mark.parametrize(
    ("troubles", "death", "wanted"),
    [
        ((), KILL, FAIL_OVER),
        ((HARMLESS,), KILL, FAIL_OVER),
        ((UNSURE,), KILL, EITHER),
        ((LOST,), KILL, REFUSE),
        ((LOST, UNSURE), KILL, REFUSE),
        ((), soak.Choice("mysqld_stop", fatal=True), FAIL_OVER),
        ((LOST,), None, NOTHING),
        ((UNSURE,), None, NOTHING),
        ((soak.Choice("replication_cut", unsure=True),), None, EITHER),
    ],
)
def test_what_has_to_come_of_it(troubles: tuple[soak.Choice, ...], death: soak.Choice | None, wanted: str) -> None:
    assert soak.expected(troubles, death) == wanted


def test_of_a_silent_death_that_can_not_be_proven_a_manager_says_nothing_and_a_procedure_no() -> None:
    seen = set()
    for seed in range(400):
        scenario = soak.draw(seed, "x")
        faults = [step.fault for step in scenario.steps if isinstance(step, Inject) and step.on == PRIMARY]
        due = next(step for step in scenario.steps if isinstance(step, Expect))
        if due.of(PROCEDURE) == REFUSE:
            silent = bool({"hang", "host_gone", "isolate_all"} & set(faults))
            assert due.of(MANAGER) == (NOTHING if silent else REFUSE)
            seen.add(silent)
    assert seen == {False, True}


def test_the_document_names_the_violation() -> None:
    good, bad = found(description="hang"), found(description="cut", violations=["lost"], lost=1)
    said = soak.document([good, bad], 5, "procedure")
    assert (said["rounds"], said["lost"], said["seed"]) == (2, 1, 5)
    assert said["violations"] == [bad]
