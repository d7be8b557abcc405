"""A crash of the primary: from the procedure's first action to the first write acknowledged through the address.

kill -9 of mysqld with no automatic restart, a light load, so that the applier of the elected server has next to nothing
left. How long it takes to notice the crash is not in it, nor the start of Ansible: the procedure runs in this process,
as it does in the manager. All clocks are of this machine: procedure, writer and the containers' keepers share one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.plan import EMERGENCY

from benchmarks.cluster import Cluster
from benchmarks.figures import Series
from benchmarks.phases import Phases
from benchmarks.repeat import repeat
from benchmarks.result import Result
from benchmarks.writer import Writer

NAME = "emergency_failover"
TARGET = 0.6
LEAST_BEFORE, LEAST_AFTER = 100, 20
"""Acknowledged transactions before the crash and after the failover."""

NOTICED_WITHIN = 1.0
"""The procedure starts at a random moment within so many seconds after the crash: receivers that try to connect again
every second, and keepers that tick, must not be met at always the same moment."""


def run(cluster: Cluster, runs: int, quick: bool) -> Sequence[Result]:
    samples: list[float] = []
    phases = Phases()
    unproven: list[str] = []
    started_at = time.time()
    chance = random.Random(1)

    def once() -> str:
        samples.append(_sample(cluster, chance.uniform(0, NOTICED_WITHIN), phases, unproven))
        return f"{samples[-1]:.3f} s ({phases.last()})"

    conditions, notes = repeat(cluster, NAME, runs, once)
    version = cluster.primary().version
    series = Series("s", tuple(samples))
    return [Result(NAME, series, conditions, version, TARGET, phases.series(), notes + unproven, started_at)]


def _sample(cluster: Cluster, noticed_after: float, phases: Phases, unproven: list[str]) -> float:
    old = cluster.primary()
    with Writer(cluster.access) as writer:
        writer.wait(old.server_uuid, LEAST_BEFORE, 60)
        cluster.hosts.kill(old.name)
        time.sleep(noticed_after)
        began = time.time()
        report = cluster.fail_over(EMERGENCY)
        ended = time.time()
        acknowledged = writer.wait(report.new_primary_uuid, LEAST_AFTER, 30)
    first = acknowledged[0]["ended_wall"]
    phases.add(
        report,
        began=began,
        ended=ended,
        taking=cluster.address_taking(report.new_primary, began),
        first_at=first,
    )
    if report.zero_loss != "proven":
        unproven.append(f"{report.run_id}: {report.zero_loss}")
    return float(first - began)
