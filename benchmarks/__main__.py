"""``python -m benchmarks``: see --help and README.md."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError

from benchmarks import (
    emergency_failover,
    group_replication,
    manager_failover,
    manager_watch,
    planned_switchover,
    price_of_safety,
    topology_info,
)
from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from benchmarks.paths import RESULTS
from benchmarks.progress import say
from benchmarks.result import Result, table
from lab.errors import LabError

Benchmark = Callable[[Cluster, int, bool], Sequence[Result]]

BENCHMARKS: Mapping[str, tuple[Benchmark, str]] = {
    emergency_failover.NAME: (emergency_failover.run, "crash of the primary to the first write through the address"),
    planned_switchover.NAME: (planned_switchover.run, "how long a planned switchover blocks writes"),
    topology_info.names(3): (topology_info.over(3), "asking 3 members over the slowest single answer"),
    topology_info.names(50): (topology_info.over(50), "the same over 50 members"),
    manager_watch.NAME: (manager_watch.run, "one manager process, 300 clusters: share of a core, memory, latency"),
    manager_failover.NAME: (manager_failover.run, "the manager by itself: write outage, five faults and the switchover"),
    group_replication.NAME: (group_replication.run, "the same, in turn with Group Replication's own failover"),
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
    # A run that is told to end puts everything back, as on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return measure(names, runs, options.quick)
    except (BenchmarkError, HaError, LabError) as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; everything was put back")
        return 130


def measure(names: Sequence[str], runs: int, quick: bool) -> int:
    cluster = Cluster.open()
    documents: list[dict[str, Any]] = []
    try:
        for name in names:
            for result in BENCHMARKS[name][0](cluster, runs, quick):
                say(f"written: {result.write(RESULTS)}")
                documents.append(result.as_dict())
    finally:
        if documents:
            print(table(documents))
        cluster.mend()
    return 0


if __name__ == "__main__":
    sys.exit(main())
