"""``python -m benchmarks``: see --help and README.md."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import (
    binlog_keys,
    clone,
    consistency,
    emergency_failover,
    false_failover,
    group_replication,
    manager,
    manager_clusters,
    manager_failover,
    manager_watch,
    planned_switchover,
    price_of_safety,
    rewind,
    session,
    topology_info,
)
from benchmarks.cluster import Cluster
from benchmarks.result import Result

Benchmark = Callable[[Cluster, int, bool], Iterable[Result]]


@dataclass(frozen=True)
class Entry:
    """``unasked``: samples at most when it was not asked for by its name, since it takes long; 0: not at all then.

    ``alone``: it fails over by itself, so a manager that is deployed is kept out.
    """

    run: Benchmark
    text: str
    unasked: int | None = None
    alone: bool = False


BENCHMARKS: Mapping[str, Entry] = {
    emergency_failover.NAME: Entry(
        emergency_failover.run, "crash of the primary to the first write through the address", alone=True
    ),
    planned_switchover.NAME: Entry(planned_switchover.run, "how long a planned switchover blocks writes", alone=True),
    topology_info.names(3): Entry(topology_info.over(3), "asking 3 members over the slowest single answer"),
    topology_info.names(50): Entry(topology_info.over(50), "the same over 50 members"),
    manager_watch.NAME: Entry(manager_watch.run, "one manager process, 300 clusters: share of a core, memory, latency"),
    manager_clusters.NAME: Entry(manager_clusters.run, "the same with the lab's servers as 300 clusters", 1),
    manager_failover.NAME: Entry(
        manager_failover.run, "the manager by itself: write outage, five faults and the switchover", 3
    ),
    group_replication.NAME: Entry(
        group_replication.run, "the same, in turn with Group Replication's own failover (only by its name)", 0
    ),
    false_failover.NAME: Entry(
        false_failover.run, "full load on all cores: no failover, and how far that was from one"
    ),
    clone.NAME: Entry(clone.run, "mysql_clone's copy over a bare CLONE statement, in pairs", 5),
    consistency.NAME: Entry(consistency.run, "comparing tables: beside bare checksums and pt-table-checksum", 5),
    rewind.NAME: Entry(rewind.run, "the old primary's start to rewound and verified, at three sizes of data", 2),
    binlog_keys.NAME: Entry(binlog_keys.run, "keys that a binary log touched, rows a second at four widths", 5),
    price_of_safety.NAME: Entry(
        price_of_safety.run, "throughput and latency: async, acknowledged in memory, on disk", alone=True
    ),
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
        for name, entry in BENCHMARKS.items():
            print(f"{name:20} {entry.text}")
        return 0
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser().error(f"there is no {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    if options.runs is not None and options.runs < 1:
        parser().error("--runs: at least 1")
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    return session.hold(
        [_bound(BENCHMARKS[name], number, options.quick) for name, number in chosen(options.names, runs).items()]
    )


def chosen(names: Sequence[str], runs: int) -> dict[str, int]:
    """How many samples of which benchmarks."""
    if names:
        return dict.fromkeys(names, runs)
    most = {name: runs if entry.unasked is None else min(runs, entry.unasked) for name, entry in BENCHMARKS.items()}
    return {name: number for name, number in most.items() if number}


def _bound(entry: Entry, runs: int, quick: bool) -> session.Benchmark:
    def benchmark(cluster: Cluster) -> Iterator[Result]:
        with manager.kept_out(cluster) if entry.alone else contextlib.nullcontext():
            yield from entry.run(cluster, runs, quick)

    return benchmark


if __name__ == "__main__":
    sys.exit(main())
