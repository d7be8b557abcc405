"""What it costs to ask many: the time for all answers together over the time of the slowest single answer.

Both of the same look, with new connections, as ``mysql_topology_info`` does it. A single answer is all that is done for
one member: connecting with TLS, logging in, the statements of ``read_state``. Asked side by side the ratio is near 1;
asked one after the other it would be about the number of members.

``slowest_alone`` and ``over_slowest_alone`` compare with members asked while nobody else is: there the processor time
of this process and of the servers shows, which on one small machine grows with the number of members.
"""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Session
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member, ServerState
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.observe import Members

from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Series
from benchmarks.machine import Condition, Watch
from benchmarks.progress import say
from benchmarks.result import Result

TARGET = 2.0
_WITHIN = 30.0


def names(count: int) -> str:
    return f"topology_info_{count}"


def multiplied(members: Sequence[Member], count: int) -> tuple[Member, ...]:
    """That many members: the given ones again and again, under names of their own."""
    return tuple(dataclasses.replace(members[number % len(members)], name=f"m{number + 1}") for number in range(count))


def over(count: int) -> Callable[[Cluster, int, bool], Sequence[Result]]:
    """The benchmark over so many members."""

    def run(cluster: Cluster, runs: int, quick: bool) -> Sequence[Result]:
        members = multiplied(cluster.access.members, count)
        measured: dict[str, list[float]] = defaultdict(list)
        conditions: list[Condition] = []
        started_at = time.time()
        _ask(cluster, members)  # the first one pays for imports
        for _number in range(runs):
            with Watch() as watch:
                alone = max(_ask(cluster, (member,)).elapsed for member in cluster.access.members)
                look = _ask(cluster, members)
            measured["ratio"].append(look.elapsed / look.slowest)
            measured["elapsed"].append(look.elapsed * 1000)
            measured["slowest"].append(look.slowest * 1000)
            measured["slowest_alone"].append(alone * 1000)
            measured["over_slowest_alone"].append(look.elapsed / alone)
            conditions.append(watch.condition)
        ratios = Series("ratio", tuple(measured.pop("ratio")))
        say(f"{names(count)}: {ratios.median:.2f}")
        phases = {
            name: Series("ratio" if name == "over_slowest_alone" else "ms", tuple(samples))
            for name, samples in measured.items()
        }
        notes = (f"{count} members on {len(cluster.access.members)} servers",)
        version = cluster.primary().version
        return [Result(names(count), ratios, conditions, version, TARGET, phases, notes, started_at)]

    return run


@dataclasses.dataclass(frozen=True)
class _Look:
    """Seconds: of all answers together, and of the slowest one, connecting included."""

    elapsed: float
    slowest: float


class _Timed(Members):
    """Notes when each member was first turned to."""

    def __init__(self, members: Sequence[Member], cluster: Cluster) -> None:
        super().__init__(members, cluster.access.monitor, connect_within=_WITHIN)
        self.turned_to: dict[str, float] = {}

    def session(self, name: str) -> Session:
        self.turned_to.setdefault(name, time.monotonic())
        return super().session(name)


def _ask(cluster: Cluster, members: Sequence[Member]) -> _Look:
    pool = _Timed(members, cluster)
    try:
        observation = pool.observe(within=_WITHIN)
    finally:
        pool.close()
    silent = [name for name, answer in observation.answers.items() if not isinstance(answer, ServerState)]
    if silent:
        raise BenchmarkError(f"no answer from {', '.join(silent)}")
    slowest = max(answer.answered_at - pool.turned_to[name] for name, answer in observation.answers.items())
    return _Look(observation.elapsed, slowest)
