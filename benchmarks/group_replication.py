"""The manager and Group Replication's own failover side by side: the same hosts, faults, load and clock, in turn.

``python -m benchmarks group_replication``: in each round every fault of ``manager_failover``; in every fourth round,
right after kill -9, SIGSTOP and isolation, the same fault for a group of three extra mysqld on the same hosts
(``group.py``), once with MySQL's defaults and once with ``group_replication_member_expel_timeout = 0``. A run of the
defaults takes half a minute, so there are fewer of them; they are spread over the whole time.

The group's clients have no address that moves: they try the members in turn, with the same time-outs. The group runs
only while it is measured, and so that the fault of its host leaves the cluster's primary alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cluster import Cluster
from benchmarks.collected import Collected, told_at_the_end
from benchmarks.group import PORT, Group
from benchmarks.interleave import interleaved
from benchmarks.manager import APPLICATION_HOST
from benchmarks.manager_failover import (
    ISOLATED,
    KINDS,
    LEAST_AFTER,
    LEAST_BEFORE,
    MOMENT,
    READ_TIMEOUT,
    WITHIN,
    Outages,
)
from benchmarks.result import Result
from benchmarks.writer import Writer

NAME = "group_replication"
EVERY = 4
"""The group is measured in one of so many rounds."""

SCRIPT = Path(__file__).with_name("group_writer.py")


@dataclass(frozen=True)
class Variant:
    name: str
    settings: Mapping[str, str] = field(default_factory=dict, hash=False)


VARIANTS = (
    Variant("group_default"),
    Variant("group_tuned", {"group_replication_member_expel_timeout": "0"}),
)
BESIDE = {"manager_kill": "KILL", "manager_hang": "STOP", "manager_isolated": ISOLATED}
"""Kinds of ``manager_failover`` that a group is put through as well, and how."""


def name_of(variant: Variant, kind: str) -> str:
    """``group_default_kill``"""
    return f"{variant.name}_{kind.removeprefix('manager_')}"


class GroupOutages:
    """``take`` as often as wanted; then ``results``."""

    def __init__(self, cluster: Cluster, group: Group, runs: int) -> None:
        self._cluster = cluster
        self._group = group
        self._chance = random.Random(2)
        self._prefix = cluster.hosts.network_of(APPLICATION_HOST)
        self._version = cluster.primary().version
        self._collected = {
            (variant, kind): Collected(name_of(variant, kind), "s", runs) for kind in BESIDE for variant in VARIANTS
        }

    def take(self, variant: Variant, kind: str) -> None:
        def afterwards() -> None:
            self._cluster.hosts.heal(None, ISOLATED)
            self._cluster.mend()

        self._collected[variant, kind].take(lambda: self._once(variant, BESIDE[kind]), afterwards)

    def results(self) -> list[Result]:
        """Also of an interrupted session, whose cluster is still to be mended: nobody is asked for this."""
        return [one.result(self._version) for one in self._collected.values()]

    def _once(self, variant: Variant, how: str) -> tuple[float, str]:
        untouched = self._cluster.primary().name
        primary = self._chance.choice([server.name for server in self._group.servers if server.name != untouched])
        members = [[server.address, PORT] for server in self._group.servers]
        load = {"read_timeout": READ_TIMEOUT, "members": members}
        with (
            self._group.running(primary, variant.settings) as uuids,
            Writer(self._cluster.access, prefix=self._prefix, load=load, script=SCRIPT) as writer,
        ):
            writer.wait(uuids[primary], LEAST_BEFORE, 60)
            time.sleep(self._chance.uniform(0, MOMENT))
            if how == ISOLATED:
                self._cluster.hosts.inject(primary, ISOLATED)
            else:
                self._group.strike(primary, how)
            first = writer.wait_elsewhere(uuids[primary], LEAST_AFTER, WITHIN)[0]
            last = writer.acknowledged(uuids[primary])[-1]
        new = next(name for name, uuid in uuids.items() if uuid == first["server_uuid"])
        return float(first["ended"] - last["ended"]), f"{primary} to {new}"


def rounds_of_the_group(runs: int) -> list[int]:
    """In which of so many rounds the group is measured: the first, and every so often."""
    return list(range(0, runs, EVERY))


def run(cluster: Cluster, runs: int, quick: bool) -> Iterator[Result]:
    outages = Outages(cluster, runs)
    chosen = rounds_of_the_group(runs)
    with Group(cluster.hosts, cluster.access).prepared() as group:
        beside = GroupOutages(cluster, group, len(chosen))
        with told_at_the_end() as troubles:
            for number, kind in interleaved(KINDS, runs):
                outages.take(kind)
                if number in chosen and kind.name in BESIDE:
                    for variant in VARIANTS:
                        beside.take(variant, kind.name)
    yield from side_by_side([*outages.results(), *beside.results()])
    for trouble in troubles:
        raise trouble


def side_by_side(results: Sequence[Result]) -> list[Result]:
    """Each fault's figures next to each other."""
    order = [name for kind in KINDS for name in (kind.name, *(name_of(variant, kind.name) for variant in VARIANTS))]
    return sorted(results, key=lambda result: order.index(result.name))
