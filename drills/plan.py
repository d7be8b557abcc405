"""One run, drawn from its seed: every moment is a number, every part has a host. Pure, so that it can be replayed."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drills.steps import (
    APPLICATION,
    CONTROL,
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

SETTLE = (0.2, 2.0)
"""Seconds of load before the first fault, after enough was acknowledged."""


@dataclass(frozen=True)
class Plan:
    """``steps``: the scenario's, each ``Pause`` with one moment, each ``Act`` with its share of the fault points."""

    scenario: Scenario
    seed: int
    driver: str
    settle: float
    steps: tuple[Step, ...]
    order: tuple[int, ...]

    @property
    def expected(self) -> tuple[str, ...]:
        return self.scenario.expected(self.driver)

    @property
    def out_of_reach(self) -> bool:
        """Whether nobody who could depose the primary reaches it when that is due, though others do."""
        cut = False
        for step in self.steps:
            if isinstance(step, Act):
                break
            if isinstance(step, (Inject, Heal)) and (step.fault, step.on) == ("cut", PRIMARY):
                cut = isinstance(step, Inject) and (cut or step.options.get("peer") == CONTROL)
        return cut

    def parts(self, primary: str, replicas: Sequence[str]) -> Mapping[str, str]:
        """Which host plays which part.

        :raises ValueError: there are fewer hosts than parts.
        """
        others = sorted(replicas)
        if len(others) < len(self.order):
            raise ValueError(f"{self.scenario.name} needs {len(self.order)} replicas; there are {len(others)}")
        first, second = (others[index] for index in self.order)
        return {PRIMARY: primary, REPLICA_1: first, REPLICA_2: second, CONTROL: "control1", APPLICATION: "app1"}

    def document(self) -> dict[str, Any]:
        """For a person who replays it."""
        return {
            "scenario": self.scenario.name,
            "seed": self.seed,
            "driver": self.driver,
            "settle_s": self.settle,
            "expected": list(self.expected),
            "steps": [{type(step).__name__: dataclasses.asdict(step)} for step in self.steps],
        }

    def __str__(self) -> str:
        return json.dumps(self.document())


def draw(scenario: Scenario, seed: int, *, driver: str = PROCEDURE, number: int = 0, runs: int = 1) -> Plan:
    """The plan of run ``number`` (from 0) of ``runs``."""
    chance = random.Random(seed)
    order = (0, 1) if chance.random() < 0.5 else (1, 0)
    settle = round(chance.uniform(*SETTLE), 3)
    steps = tuple(_drawn(step, chance, number, runs) for step in scenario.steps if _meant_for(step, driver))
    return Plan(scenario, seed, driver, settle, steps, order)


def _meant_for(step: Step, driver: str) -> bool:
    return not isinstance(step, (Heal, Fenced)) or step.driver in ("", driver)


def _drawn(step: Step, chance: random.Random, number: int, runs: int) -> Step:
    if isinstance(step, Pause):
        moment = round(chance.uniform(step.low, step.high), 3)
        return Pause(moment, moment)
    if isinstance(step, Act) and len(step.points) > 1:
        return dataclasses.replace(step, points=step.points[number % runs :: runs])
    return step


def seed_of(session: int, scenario: str, number: int) -> int:
    """The seed of one run of a session. Of the names alone, so that one scenario can be replayed without the others."""
    return random.Random(f"{session}/{scenario}/{number}").randrange(1 << 32)
