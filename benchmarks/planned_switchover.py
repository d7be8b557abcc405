"""A planned switchover: how long nobody could write, as the application saw it and as the servers did.

``planned_switchover``: from the last acknowledgement by the old primary to the first by the new one, through the
virtual address. ``planned_switchover_blocked``: from the moment writes are refused on the old primary to the term row
that opens the new one, without keeper and clients.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.plan import PLANNED
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.procedure import Report

from benchmarks.cluster import Cluster
from benchmarks.figures import Series
from benchmarks.phases import Phases
from benchmarks.repeat import repeat
from benchmarks.result import Result
from benchmarks.writer import Writer

NAME = "planned_switchover"
TARGET = 150.0
LEAST_BEFORE, LEAST_AFTER = 100, 20


def run(cluster: Cluster, runs: int, quick: bool) -> Sequence[Result]:
    seen: list[float] = []
    blocked: list[float] = []
    phases = Phases()
    started_at = time.time()

    def once() -> str:
        gap, block = _sample(cluster, phases)
        seen.append(gap)
        blocked.append(block)
        return f"{gap:.0f} ms, blocked {block:.0f} ms ({phases.last()})"

    conditions, notes = repeat(cluster, NAME, runs, once)
    version = cluster.primary().version
    return [
        Result(NAME, Series("ms", tuple(seen)), conditions, version, TARGET, phases.series(), notes, started_at),
        Result(
            f"{NAME}_blocked",
            Series("ms", tuple(blocked)),
            conditions,
            version,
            TARGET,
            {name: series for name, series in phases.series().items() if name in BLOCKED},
            notes,
            started_at,
        ),
    ]


BLOCKED = ("block", "drain", "arm", "open", "term")


def _sample(cluster: Cluster, phases: Phases) -> tuple[float, float]:
    old = cluster.primary()
    with Writer(cluster.access) as writer:
        writer.wait(old.server_uuid, LEAST_BEFORE, 60)
        began = time.time()
        report = cluster.fail_over(PLANNED)
        ended = time.time()
        first = writer.wait(report.new_primary_uuid, LEAST_AFTER, 30)[0]
    last = writer.acknowledged(old.server_uuid)[-1]
    phases.add(
        report,
        began=began,
        ended=ended,
        taking=cluster.address_taking(report.new_primary, began),
        first_at=first["ended_wall"],
    )
    return (first["ended"] - last["ended"]) * 1000, blocked_ms(report)


def blocked_ms(report: Report) -> float:
    """From the beginning of the phase ``block`` to the end of the phase ``term``."""
    phases = {phase["name"]: phase for phase in report.phases}
    term = phases["term"]
    return float(term["start_ms"] + term["duration_ms"] - phases["block"]["start_ms"])
