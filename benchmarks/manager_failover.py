"""The manager by itself: for how long an application can not write, fault by fault, and in a switchover by command.

    python -m benchmarks.manager_failover [KIND ...] [--runs 20]

The figure is from the last transaction that the old primary acknowledged to the first one that another server did, as
clients on the application host saw it through the virtual address. The service on the control host sees the fault and
acts; nobody helps it, and nobody asks it anything meanwhile.

``phases``: ``verdict`` (from the last acknowledgement to the beginning of the recovery in the manager's history, which
is how long it took to be sure), those of the procedure, and ``noticed``, ``address``, ``client`` as everywhere.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import session
from benchmarks.cluster import Cluster
from benchmarks.collected import Collected, told_at_the_end
from benchmarks.errors import BenchmarkError
from benchmarks.hosts import KILLED
from benchmarks.interleave import interleaved
from benchmarks.manager import APPLICATION_HOST, BY, PROMOTED, Manager
from benchmarks.phases import Phases
from benchmarks.result import Result
from benchmarks.writer import Writer

NAME = "manager_failover"
RUNS = 20
LEAST_BEFORE, LEAST_AFTER = 100, 20
"""Acknowledged transactions before the fault and after the failover."""

WITHIN = 60.0
ISOLATED = "isolate_all"
MOMENT = 1.0
"""The fault comes at a random moment of so many seconds: ticks and heartbeats come every half second."""

READ_TIMEOUT = 3.0
"""Seconds until a client that waits for an answer gives up. The kept ones wait; the fresh ones see the new holder."""


@dataclass(frozen=True)
class Kind:
    """``faults`` of the lab, on the primary's host, one after the other; none: a switchover.

    ``median`` and ``p90``: targets for the median, and for nine of ten.
    """

    name: str
    faults: tuple[str, ...]
    unit: str
    median: float | None
    p90: float


KINDS = (
    Kind("manager_kill", (KILLED,), "s", 0.7, 1.2),
    # A container's kernel lives on and ends its connections; of a host that lost its power nothing comes any more.
    Kind("manager_host_gone", (ISOLATED, "host_gone"), "s", 3.0, 4.0),
    Kind("manager_hang", ("hang",), "s", 3.0, 4.0),
    Kind("manager_isolated", (ISOLATED,), "s", 3.0, 4.0),
    Kind("manager_replication_cut", ("replication_cut",), "s", 6.0, 8.0),
    Kind("manager_switchover", (), "ms", None, 150.0),
)


class Outages:
    """``take`` a kind as often as wanted, in any order; then ``results``."""

    def __init__(self, cluster: Cluster, runs: int, kinds: Sequence[Kind] = KINDS) -> None:
        self._cluster = cluster
        self._manager = Manager(cluster)
        self._chance = random.Random(1)
        self._prefix = cluster.hosts.network_of(APPLICATION_HOST)
        self._version = cluster.primary().version
        self._collected = {kind: Collected(kind.name, kind.unit, runs, kind.p90, kind.median) for kind in kinds}
        self._phases = {kind: Phases() for kind in kinds}

    def take(self, kind: Kind) -> None:
        """One run, on a cluster that is whole before and after.

        :raises BenchmarkError: as ``Collected.take``.
        """

        def afterwards() -> None:
            for fault in reversed(kind.faults):
                self._cluster.hosts.heal(None, fault)
            self._cluster.mend()

        self._collected[kind].take(lambda: self._once(kind), afterwards)

    def results(self) -> list[Result]:
        """Also of an interrupted session, whose cluster is still to be mended: nobody is asked for this."""
        return [one.result(self._version, self._phases[kind].series()) for kind, one in self._collected.items()]

    def _once(self, kind: Kind) -> tuple[float, str]:
        cluster, manager = self._cluster, self._manager
        old = cluster.primary()
        manager.ready(old.name)
        known = [entry["id"] for entry in manager.history()]
        with Writer(cluster.access, prefix=self._prefix, load={"read_timeout": READ_TIMEOUT}) as writer:
            writer.wait(old.server_uuid, LEAST_BEFORE, 60)
            time.sleep(self._chance.uniform(0, MOMENT))
            for fault in kind.faults:
                cluster.hosts.inject(old.name, fault)
            if not kind.faults:
                manager.ask("switchover", cluster.access.cluster, "--by", BY)
            try:
                first = writer.wait_elsewhere(old.server_uuid, LEAST_AFTER, WITHIN)[0]
            except BenchmarkError as error:
                raise BenchmarkError(f"{error}; {_told(manager.since(known))}") from error
            last = writer.acknowledged(old.server_uuid)[-1]
            if kind.faults:
                self._fence(old.name, kind.faults)
        entries = manager.since(known)
        promoted = [entry for entry in entries if entry["outcome"] == PROMOTED]
        if len(promoted) != 1:
            raise BenchmarkError(f"{len(promoted)} promotions: {_told(entries)}")
        report = manager.report(promoted[0])
        phases = self._phases[kind]
        phases.add(
            report,
            began=promoted[0]["at"],
            ended=promoted[0]["ended_at"],
            taking=cluster.address_taking(report.new_primary, promoted[0]["at"]),
            first_at=first["ended_wall"],
            more={"verdict": (promoted[0]["at"] - last["ended_wall"]) * 1000} if kind.faults else {},
        )
        notes = self._collected[kind].notes
        if report.zero_loss != "proven":
            notes.append(f"{report.run_id}: {report.zero_loss}")
        if len(entries) > 1:
            notes.append(f"{report.run_id}: {_told(entries)}")
        outage = float(first["ended"] - last["ended"])
        return outage * (1000 if kind.unit == "ms" else 1), phases.last()

    def _fence(self, old: str, faults: Sequence[str]) -> None:
        """A deposed primary with waiting commits is killed before anything reaches it again; only that ends them."""
        hosts = self._cluster.hosts
        if KILLED not in faults and hosts.runs(old) and hosts.mysqld_runs(old):
            hosts.kill(old)
        for fault in reversed(faults):
            hosts.heal(old, fault)


def _told(entries: Sequence[dict[str, object]]) -> str:
    said = [f"{entry['outcome']} after {entry['verdict']}: {entry['refusal']}" for entry in entries]
    return f"the manager: {'; '.join(said) or 'nothing'}"


def measure(cluster: Cluster, kinds: Sequence[Kind], runs: int) -> Iterator[Result]:
    outages = Outages(cluster, runs, kinds)
    with told_at_the_end() as troubles:
        for _number, kind in interleaved(kinds, runs):
            outages.take(kind)
    yield from outages.results()
    for trouble in troubles:
        raise trouble


def run(cluster: Cluster, runs: int, quick: bool) -> Iterator[Result]:
    return measure(cluster, KINDS, runs)


def main() -> int:
    names = [kind.name for kind in KINDS]
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"all without one; there are: {', '.join(names)}")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each (default {RUNS})")
    options = parser.parse_args()
    unknown = [name for name in options.kinds if name not in names]
    if unknown or options.runs < 1:
        parser.error(f"there is no {', '.join(unknown)}" if unknown else "--runs: at least 1")
    kinds = [kind for kind in KINDS if not options.kinds or kind.name in options.kinds]
    return session.hold([lambda cluster: measure(cluster, kinds, options.runs)])


if __name__ == "__main__":
    sys.exit(main())
