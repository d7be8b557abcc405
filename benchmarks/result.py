"""One figure and everything that is needed to judge it: as a JSON file, and as a line of the table."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Series
from benchmarks.machine import Condition, summary

HEADINGS = ("name", "unit", "runs", "median", "p90", "worst", "target", "met", "load", "steal")


@dataclasses.dataclass
class Result:
    """``conditions``: of each sample, in their order. ``phases``: parts of the figure, or what explains it.

    ``target``: for nine of ten samples. ``target_median``: for the median (lower is better), where that has its own.
    """

    name: str
    series: Series
    conditions: list[Condition]
    server_version: str
    target: float | None = None
    phases: Mapping[str, Series] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()
    started_at: float = dataclasses.field(default_factory=time.time)
    target_median: float | None = None
    must: bool = False

    @property
    def met(self) -> bool | None:
        """None without a target, or without a sample. With a target for the median both count."""
        if self.target is None or not self.series.samples:
            return None
        median_met = self.target_median is None or self.series.median <= self.target_median
        return median_met and self.series.meets(self.target)

    @property
    def failed(self) -> bool:
        """A promise was broken; where nothing ``must`` be met, a target that was missed is only said."""
        return self.must and self.met is False

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            **self.series.as_dict(),
            "better": self.series.better,
            "target": self.target,
            "target_median": self.target_median,
            "met": self.met,
            "phases": {name: series.as_dict() for name, series in self.phases.items() if series.samples},
            "machine": summary(self.conditions, self.server_version),
            "conditions": [condition.as_dict() for condition in self.conditions],
            "started_at": time.strftime("%FT%TZ", time.gmtime(self.started_at)),
            "notes": list(self.notes),
        }

    def write(self, directory: Path) -> Path:
        """Replace the file as a whole: whoever reads it sees the old one or the new one."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.name}.json"
        fresh = path.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_text(json.dumps(self.as_dict(), indent=2) + "\n")
        fresh.replace(path)
        return path


def table(documents: Sequence[Mapping[str, Any]]) -> str:
    """The results as lines of equal columns."""
    rows = [HEADINGS, *(_cells(document) for document in documents)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(_aligned(row, widths)).rstrip() for row in rows)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Words (the first two columns) to the left, numbers to the right."""
    cells = list(zip(row, widths, strict=True))
    return [cell.ljust(width) for cell, width in cells[:2]] + [cell.rjust(width) for cell, width in cells[2:]]


def _cells(document: Mapping[str, Any]) -> tuple[str, ...]:
    machine = document["machine"]
    return (
        document["name"],
        document["unit"],
        str(len(document["samples"])),
        *(_number(document[key]) for key in ("median", "p90", "worst")),
        _targets(document.get("target_median"), document["target"]),
        {True: "yes", False: "no", None: "-"}[document["met"]],
        f"{machine['load']:.1f}",
        f"{machine['steal'] * 100:.1f}%",
    )


def _targets(median: float | None, p90: float | None) -> str:
    """One number, or that for the median and that for nine of ten."""
    return _number(p90) if median is None else f"{_number(median)}/{_number(p90)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
