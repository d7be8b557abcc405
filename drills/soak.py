"""Faults, targets, moments and combinations at random from one seed, until the time is up or something is violated.

Each round is a scenario of its own, drawn from a seed of its own, so that a violation can be replayed alone. What has
to come of it follows from who is left: with k = 1 and two acknowledgers, somebody is promoted only where the primary
alone is lost.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.cluster import Cluster
from benchmarks.progress import say
from drills import plan
from drills.drivers import choose
from drills.paths import JOURNALS, RESULTS
from drills.programs import drill_common
from drills.report import in_words
from drills.run import Run, tell
from drills.steps import (
    CONTROL,
    EITHER,
    FAIL_OVER,
    NEW,
    NOTHING,
    PRIMARY,
    REFUSE,
    REPLICA_1,
    REPLICA_2,
    Acknowledged,
    Act,
    Expect,
    Heal,
    Inject,
    Pause,
    Scenario,
    Step,
)

REPLICAS = (REPLICA_1, REPLICA_2)
HEALED_BEFORE_ACTING = 0.4
"""How often a trouble that may pass by itself does."""
NO_DEATH = 0.15


@dataclass(frozen=True)
class Choice:
    """A fault that may be drawn.

    :param fatal: whom it strikes answers nobody any more.
    :param unsure: with it promoting and refusing may both be right: it depends on what had been received when.
    :param passes: it may be healed before anybody acts.
    :param silent: its host says nothing, so a manager that reaches too few does not know whose fault it is.
    :param ends: it has to end before a server that was promoted in spite of it can be used.
    """

    fault: str
    on: tuple[str, ...] = (PRIMARY,)
    peers: tuple[str, ...] = ()
    fatal: bool = False
    unsure: bool = False
    passes: bool = False
    ends: bool = False
    silent: bool = False


DEATHS = (
    Choice("mysqld_kill_no_restart", fatal=True),
    Choice("hang", fatal=True, silent=True),
    Choice("host_gone", fatal=True, silent=True),
    Choice("isolate_all", fatal=True, silent=True),
    Choice("mysqld_stop", fatal=True),
)
TROUBLES = (
    Choice("mysqld_kill_no_restart", REPLICAS, fatal=True),
    Choice("hang", REPLICAS, fatal=True),
    Choice("isolate_all", REPLICAS, fatal=True),
    Choice("cut", peers=REPLICAS, unsure=True, passes=True),
    Choice("cut", peers=(CONTROL,), unsure=True, passes=True),
    Choice("replication_cut", unsure=True, passes=True),
    Choice("applier_held", REPLICAS, unsure=True, passes=True, ends=True),
    Choice("slow_applier", REPLICAS, unsure=True, ends=True),
    Choice("mysqld_kill", REPLICAS, unsure=True),
    Choice("authentication_cache_cold", REPLICAS),
    Choice("local_clients"),
)


def expected(troubles: Sequence[Choice], death: Choice | None) -> str:
    """What may come of it. Pure arithmetic on who is left (safety.md): n = 2, k = 1, both have to be held."""
    if death is None:
        return EITHER if any(one.fault == "replication_cut" for one in troubles) else NOTHING
    if any(one.fatal for one in troubles):
        return REFUSE
    return EITHER if any(one.unsure for one in (*troubles, death)) else FAIL_OVER


def draw(seed: int, name: str) -> Scenario:
    """One round: a death of the primary, or none, and up to two troubles before it, one on each host at most."""
    chance = random.Random(seed)
    wanted = chance.sample(TROUBLES, chance.choice((0, 1, 1, 2)))
    death = None if wanted and chance.random() < NO_DEATH else chance.choice(DEATHS)
    steps: list[Step] = []
    troubles: list[Choice] = []
    last: list[Step] = []
    struck: set[str] = set()
    for one in wanted:
        free = [part for part in one.on if part == PRIMARY or part not in struck]
        if not free:
            continue
        on = chance.choice(free)
        struck.add(on)
        troubles.append(one)
        options = {"peer": chance.choice(one.peers)} if one.peers else {}
        steps += [Inject(one.fault, on, options), Pause(0.1, 1.5)]
        if one.passes and chance.random() < HEALED_BEFORE_ACTING:
            steps += [Heal(one.fault, on), Pause(0.1, 0.8)]
        elif one.ends:
            last.append(Heal(one.fault, on))
    if death is not None:
        steps += [Inject(death.fault), Pause(0.0, 0.6)]
    outcome = expected(troubles, death)
    due = Expect(outcome)
    if outcome == REFUSE and death is not None and death.silent:
        # A procedure that is called has to say no; a manager does not call it (controller_cut).
        due = Expect(NOTHING, by_procedure=REFUSE)
    steps += [Act(), due, *last]
    if outcome in (FAIL_OVER, EITHER):
        steps.append(Acknowledged(NEW))
    story = ", then ".join(f"{step.fault} on {step.on}" for step in steps if isinstance(step, Inject)) or "nothing"
    return Scenario(name, 0, story, tuple(steps))


def run(cluster: Cluster, minutes: float, seed: int, wanted: str, round_seed: int | None = None) -> int:
    """:returns: an exit status: 0 when the time was up and nothing was violated."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    driver = choose(wanted, cluster, RESULTS, JOURNALS)
    say(f"soak for {minutes:g} minutes; seed {seed}; driver {driver.name}")
    began = time.monotonic()
    results: list[dict[str, Any]] = []
    while True:
        number = len(results) + 1
        one_seed = plan.seed_of(seed, "soak", number) if round_seed is None else round_seed
        scenario = draw(one_seed, f"soak-{number}")
        say(f"round {number}: {scenario.description}")
        drawn = plan.draw(scenario, one_seed, driver=driver.name)
        found = Run(cluster, driver, drawn, RESULTS / scenario.name).go()
        tell(found, again=f"make soak ROUND_SEED={one_seed}")
        results.append({**found, "description": scenario.description})
        drill_common.write_file(str(RESULTS / "soak.json"), json.dumps(document(results, seed, driver.name)) + "\n")
        if found["violations"]:
            say(f"the plan, in full: {drawn}")
            return 1
        shutil.rmtree(RESULTS / scenario.name)
        if round_seed is not None or time.monotonic() - began > minutes * 60:
            break
    say(f"{len(results)} rounds, no violation; seed {seed}; {document(results, seed, driver.name)['outcomes']}")
    return 0


def document(results: Sequence[dict[str, Any]], seed: int, driver: str) -> dict[str, Any]:
    """build/drills/soak.json."""
    return {
        "seed": seed,
        "driver": driver,
        "rounds": len(results),
        "acknowledged": sum(found["acknowledged"] or 0 for found in results),
        "lost": sum(found["lost"] or 0 for found in results),
        "outcomes": dict(Counter(in_words(found["outcome"]) for found in results).most_common()),
        "violations": [found for found in results if found["violations"]],
        "runs": [
            {key: found[key] for key in ("description", "seed", "expected", "outcome", "outage_ms", "seconds")}
            for found in results
        ],
    }
