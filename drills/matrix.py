"""All scenarios, one after the other, each as often as asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.cluster import Cluster
from benchmarks.progress import say
from drills import plan
from drills.drivers import choose
from drills.paths import JOURNALS, RESULTS
from drills.run import Run, tell
from drills.steps import Scenario


def run(
    cluster: Cluster, scenarios: Sequence[Scenario], repeat: int, seed: int, wanted: str, run_seed: int | None = None
) -> int:
    """:returns: an exit status: 0 when nothing was violated."""
    driver = choose(wanted, cluster, RESULTS, JOURNALS)
    say(f"{len(scenarios)} scenarios, {repeat} time(s) each; seed {seed}; driver {driver.name}")
    results: list[dict[str, Any]] = []
    for number in range(repeat):
        for scenario in scenarios:
            one_seed = plan.seed_of(seed, scenario.name, number) if run_seed is None else run_seed
            drawn = plan.draw(scenario, one_seed, driver=driver.name, number=number, runs=repeat)
            found = Run(cluster, driver, drawn, RESULTS / f"{scenario.name}-{number + 1}").go()
            tell(found)
            results.append(found)
            if found["violations"]:
                cluster.hosts.heal()
                cluster.mend()
    return 1 if any(found["violations"] for found in results) else 0
