"""The same thing again and again, each time on a cluster that is whole; what was refused is said, not hidden."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError

from benchmarks.cluster import Cluster
from benchmarks.machine import Condition, Watch
from benchmarks.progress import say


def repeat(cluster: Cluster, name: str, runs: int, once: Callable[[], str]) -> tuple[list[Condition], list[str]]:
    """Call ``once``, which says what it measured in a line, until it has succeeded so many times.

    :returns: the machine's condition during each success, and a note for each failure.
    :raises HaError: more than a quarter as many failures as runs.
    """
    conditions: list[Condition] = []
    notes: list[str] = []
    while len(conditions) < runs:
        cluster.mend()
        try:
            with Watch() as watch:
                measured = once()
        except HaError as error:
            notes.append(f"not counted: {error}")
            say(f"{name}: {notes[-1]}")
            if len(notes) > max(runs // 4, 1):
                raise
            cluster.end_applications()
            continue
        finally:
            cluster.hosts.revive()
        conditions.append(watch.condition)
        say(f"{name} {len(conditions)}/{runs}: {measured}; load {watch.condition.load:.1f}")
    cluster.mend()
    return conditions, notes
