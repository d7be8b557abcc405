"""``python -m benchmarks``: see --help and README.md."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence

from benchmarks import (
    emergency_failover,
    false_failover,
    group_replication,
    manager_clusters,
    manager_failover,
    manager_watch,
    planned_switchover,
    price_of_safety,
    session,
    topology_info,
)
from benchmarks.cluster import Cluster
from benchmarks.result import Result

Benchmark = Callable[[Cluster, int, bool], Sequence[Result]]

BENCHMARKS: Mapping[str, tuple[Benchmark, str]] = {
    emergency_failover.NAME: (emergency_failover.run, "crash of the primary to the first write through the address"),
    planned_switchover.NAME: (planned_switchover.run, "how long a planned switchover blocks writes"),
    topology_info.names(3): (topology_info.over(3), "asking 3 members over the slowest single answer"),
    topology_info.names(50): (topology_info.over(50), "the same over 50 members"),
    manager_watch.NAME: (manager_watch.run, "one manager process, 300 clusters: share of a core, memory, latency"),
    manager_failover.NAME: (manager_failover.run, "the manager by itself: write outage, five faults and the switchover"),
    group_replication.NAME: (group_replication.run, "the same, in turn with Group Replication's own failover"),
    manager_clusters.NAME: (manager_clusters.run, "one manager process, the lab's servers as 300 clusters"),
    false_failover.NAME: (false_failover.run, "full load on all cores: no failover, and how far the thresholds are away"),
    price_of_safety.NAME: (price_of_safety.run, "throughput and latency: async, acknowledged in memory, on disk"),
}
RUNS, QUICK_RUNS = 20, 3


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast the promises are kept.")
    command.add_argument("names", nargs="*", metavar="NAME", help="which ones; all without a name")
    command.add_argument("--runs", type=int, help=f"samples of each figure (default {RUNS})")
    command.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} short samples: does it work at all?")
    command.add_argument("--list", action="store_true", help="what there is")
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.list:
        for name, (_benchmark, text) in BENCHMARKS.items():
            print(f"{name:20} {text}")
        return 0
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser().error(f"there is no {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    if options.runs is not None and options.runs < 1:
        parser().error("--runs: at least 1")
    names = options.names or list(BENCHMARKS)
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    return session.hold([_bound(BENCHMARKS[name][0], runs, options.quick) for name in names])


def _bound(benchmark: Benchmark, runs: int, quick: bool) -> session.Benchmark:
    return lambda cluster: benchmark(cluster, runs, quick)


if __name__ == "__main__":
    sys.exit(main())
