"""The old primary is rewound: from the moment its mysqld is told to start until the primary's table says ``verified``.

Commits wait for their acknowledgement, the primary is killed (-9), another server is promoted; then the unit is
started. In the figure: the restart gate (asking the peers, archiving, cutting), crash recovery, following the new
primary, comparing the rows. At three sizes of data, the smallest first; ``rewind_growth`` is how much longer it takes
with the most than with the least data. What waits is the same each time. The actors are those of the drill ``rewind``.

    python -m benchmarks.rewind --sizes 500 2000 5000 --runs 10      # the issue's 5 GB
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

from benchmarks import ballast, manager
from benchmarks import session as benchmark_session
from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Series
from benchmarks.machine import Condition, Watch
from benchmarks.progress import say
from benchmarks.result import Result
from drills.comeback import rewind as drill
from drills.comeback import work
from drills.comeback.stage import Stage
from drills.errors import DrillError

NAME = "rewind"
SIZES: tuple[int, ...] = (50, 200, 800)
QUICK_SIZES = (20, 40, 80)
"""Megabytes."""
TARGET = 6.0
GROWTH = 1.25
"""More than a machine's own spread between two medians, far less than what a copy of the data would take."""
WAITING = 20


def run(cluster: Cluster, runs: int, quick: bool) -> Sequence[Result]:
    return measure(cluster, runs, QUICK_SIZES if quick else SIZES)


def measure(cluster: Cluster, runs: int, sizes: Sequence[int]) -> Sequence[Result]:
    """:param sizes: megabytes, the smallest first."""
    cluster.mend()
    version = cluster.primary().version
    found: dict[int, list[float]] = {}
    started: dict[int, list[float]] = {}
    conditions: dict[int, list[Condition]] = {}
    started_at = time.time()
    with manager.kept_out(cluster), ballast.gone_afterwards(cluster):
        for size in sorted(sizes):
            ballast.fill(cluster, size)
            for number in range(runs):
                with Watch() as watch:
                    seconds, up = _sample(cluster)
                found.setdefault(size, []).append(seconds)
                started.setdefault(size, []).append(up)
                conditions.setdefault(size, []).append(watch.condition)
                say(f"{NAME} {size} MB, {number + 1}/{runs}: verified after {seconds:.2f} s (mysqld ready {up:.2f} s)")
    results = [
        Result(
            f"{NAME}_{size}",
            Series("s", tuple(found[size])),
            conditions[size],
            version,
            target=TARGET,
            phases={"mysqld_ready": Series("s", tuple(started[size]))},
            notes=[f"{size} MB of data in one table; {WAITING} commits waited"],
            started_at=started_at,
        )
        for size in found
    ]
    return [*results, _growth(found, [one for each in conditions.values() for one in each], version, started_at)]


def _growth(found: dict[int, list[float]], conditions: list[Condition], version: str, started_at: float) -> Result:
    return Result(
        f"{NAME}_growth",
        Series("1", growth(found)),
        conditions,
        version,
        target=GROWTH,
        notes=[f"medians, {max(found)} MB over {min(found)} MB"],
        started_at=started_at,
    )


def growth(found: dict[int, list[float]]) -> tuple[float, ...]:
    """The median of the largest over that of the smallest: one number. Pure."""
    return (statistics.median(found[max(found)]) / statistics.median(found[min(found)]),)


def _sample(cluster: Cluster) -> tuple[float, float]:
    """Seconds until verified, and until systemd said that mysqld is ready; from the order to start."""
    stage = Stage(cluster)
    try:
        stage.rows()
        drill.waiting(stage, work.inserts(WAITING))
        stage.fail_over()
        stage.heal()
        stage.start()
        up = time.time() - stage.started
        row = stage.until_decided()
        if row.get("state") != drill.VERIFIED:
            raise BenchmarkError(f"{stage.old.name} was not rewound: {row or 'nothing was written'}")
        why = stage.until_lossless()
        if why:
            raise BenchmarkError(f"not lossless after the rewind: {why}")
        return float(row["at"]) - stage.started, up
    except DrillError as error:
        raise BenchmarkError(str(error)) from error
    finally:
        stage.clean()


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=list(SIZES), help=f"megabytes of data (default {SIZES})"
    )
    parser.add_argument("--runs", type=int, default=5, help="of each size (default 5)")
    options = parser.parse_args()
    return benchmark_session.hold([lambda cluster: measure(cluster, options.runs, options.sizes)])


if __name__ == "__main__":
    sys.exit(main())
