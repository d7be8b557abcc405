"""What the machine did meanwhile: its load, and the time that its hypervisor gave to others. From /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_IDLE, _IOWAIT, _STEAL, _GUEST = 3, 4, 7, 8


@dataclass(frozen=True)
class Condition:
    """During one sample. ``load``: runnable and blocked tasks, the kernel's average over a minute, at the end.

    ``busy`` and ``steal``: shares (0 to 1) of the time of all cores; ``seconds``: how long that was.
    """

    load: float
    busy: float
    steal: float
    seconds: float

    def as_dict(self) -> dict[str, float]:
        return {
            "load": round(self.load, 2),
            "busy": round(self.busy, 4),
            "steal": round(self.steal, 4),
            "seconds": round(self.seconds, 3),
        }


def ticks(text: str) -> tuple[int, ...]:
    """The counters of all cores together, from the text of /proc/stat.

    :raises ValueError: when there is no such line.
    """
    for line in text.splitlines():
        name, *counters = line.split()
        if name == "cpu":
            return tuple(int(counter) for counter in counters)
    raise ValueError("there is no line 'cpu' in /proc/stat")


def shares(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[float, float]:
    """Busy and stolen, as shares of the time between two readings. Guests are counted in user time already."""
    # The kernel's idle counters can go back a little between two readings.
    spent = [max(later - earlier, 0) for earlier, later in zip(before[:_GUEST], after[:_GUEST], strict=True)]
    total = sum(spent)
    if not total:
        return 0.0, 0.0
    steal = spent[_STEAL] if len(spent) > _STEAL else 0
    return (total - spent[_IDLE] - spent[_IOWAIT] - steal) / total, steal / total


class Watch:
    """``with Watch() as watch: ...``, then ``watch.condition``."""

    condition: Condition

    def __enter__(self) -> Watch:
        self._began = time.monotonic()
        self._before = ticks(Path("/proc/stat").read_text())
        return self

    def __exit__(self, *_exception: object) -> None:
        busy, steal = shares(self._before, ticks(Path("/proc/stat").read_text()))
        self.condition = Condition(os.getloadavg()[0], busy, steal, time.monotonic() - self._began)


def summary(conditions: list[Condition], server_version: str) -> dict[str, Any]:
    """The conditions of all samples in a few numbers. Shares are weighted by how long each sample took."""
    seconds = sum(one.seconds for one in conditions) or 1.0
    loads = sorted(one.load for one in conditions) or [0.0]
    return {
        "load": round(loads[len(loads) // 2], 2),
        "load_worst": round(loads[-1], 2),
        "steal": round(sum(one.steal * one.seconds for one in conditions) / seconds, 4),
        "steal_worst": round(max((one.steal for one in conditions), default=0.0), 4),
        "busy": round(sum(one.busy * one.seconds for one in conditions) / seconds, 4),
        "cores": os.cpu_count() or 1,
        "server_version": server_version,
    }
