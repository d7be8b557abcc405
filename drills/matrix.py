"""All scenarios, one after the other, each as often as asked. The report is written after every run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.cluster import Cluster
from benchmarks.progress import say
from drills import plan, report
from drills.drivers import choose
from drills.paths import JOURNALS, RESULTS
from drills.run import Run, tell
from drills.steps import Scenario


def run(
    cluster: Cluster, scenarios: Sequence[Scenario], repeat: int, seed: int, wanted: str, run_seed: int | None = None
) -> int:
    """:returns: an exit status: 0 when nothing was violated."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    driver = choose(wanted, cluster, RESULTS, JOURNALS)
    version = cluster.primary().version
    say(f"{len(scenarios)} scenarios, {repeat} time(s) each; seed {seed}; driver {driver.name}")
    results: list[dict[str, Any]] = []
    began_at = time.time()
    for number in range(repeat):
        for scenario in scenarios:
            one_seed = plan.seed_of(seed, scenario.name, number) if run_seed is None else run_seed
            drawn = plan.draw(scenario, one_seed, driver=driver.name, number=number, runs=repeat)
            found = Run(cluster, driver, drawn, RESULTS / f"{scenario.name}-{number + 1}").go()
            tell(found, again=f"make drills SCENARIO={scenario.name} RUN_SEED={one_seed}")
            results.append(found)
            found_so_far = report.document(
                results,
                seed=seed,
                driver=driver.name,
                repeat=repeat,
                server_version=version,
                began_at=began_at,
                ended_at=time.time(),
            )
            report.write(found_so_far, RESULTS)
            if found["violations"]:
                # Its evidence is kept; the next one starts from a whole cluster again.
                cluster.hosts.heal()
                cluster.mend()
    say(f"written: {RESULTS / 'report.json'} and report.html")
    return 1 if any(found["violations"] for found in results) else 0
