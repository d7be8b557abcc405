"""The samples of one figure, as they come: with the machine's condition during each, and what was not counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Series
from benchmarks.machine import Condition, Watch
from benchmarks.progress import say
from benchmarks.result import Result
from lab.errors import LabError

TROUBLE = (BenchmarkError, HaError, LabError)


@dataclass
class Collected:
    """``target`` is for nine of ten samples, ``target_median`` for the median. ``runs``: how many there will be."""

    name: str
    unit: str
    runs: int
    target: float | None = None
    target_median: float | None = None
    samples: list[float] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: int = 0
    started_at: float = field(default_factory=time.time)

    def take(self, once: Callable[[], tuple[float, str]], afterwards: Callable[[], None]) -> None:
        """One more sample. What failed is noted, and tried again.

        :param once: measures; returns the sample, and a line for a person who waits.
        :param afterwards: whole again, whatever came of it.
        :raises BenchmarkError, HaError, LabError: more than a quarter as many failures as runs.
        :raises KeyboardInterrupt: as it came, also when the cluster could not be made whole after it.
        """
        while True:
            began = time.monotonic()
            interrupted = False
            try:
                try:
                    with Watch() as watch:
                        value, said = once()
                except KeyboardInterrupt:
                    interrupted = True
                    raise
                finally:
                    afterwards()
            except TROUBLE as error:
                if interrupted:
                    raise KeyboardInterrupt from error
                self.failures += 1
                self.notes.append(f"not counted: {error}")
                say(f"{self.name}: {self.notes[-1]}")
                if self.failures > max(self.runs // 4, 1):
                    raise
                continue
            self.samples.append(value)
            self.conditions.append(watch.condition)
            say(
                f"{self.name} {len(self.samples)}/{self.runs}: {value:.4g} {self.unit} ({said});"
                f" load {watch.condition.load:.1f}, {time.monotonic() - began:.0f} s"
            )
            return

    def result(self, version: str, phases: Mapping[str, Series] | None = None) -> Result:
        series = Series(self.unit, tuple(self.samples))
        return Result(
            self.name,
            series,
            self.conditions,
            version,
            self.target,
            phases or {},
            self.notes,
            self.started_at,
            target_median=self.target_median,
        )


@contextmanager
def told_at_the_end() -> Iterator[list[BaseException]]:
    """What goes wrong inside, or ends it, is kept, to be raised when the samples that were taken have been written.

    What goes wrong is said at once; an interruption by whoever holds the session, when everything was put back.
    """
    troubles: list[BaseException] = []
    try:
        yield troubles
    except KeyboardInterrupt as interruption:
        troubles.append(interruption)
    except TROUBLE as error:
        say(f"{type(error).__name__}: {error}")
        troubles.append(error)
