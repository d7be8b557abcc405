"""Samples and what is said of them: the median, the 90th percentile, the worst."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LOWER, HIGHER = "lower", "higher"
"""Which way is better."""


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least this share of the samples does not exceed (nearest rank): one that was seen.

    :raises ValueError: without samples, or for a share outside 0 to 1.
    """
    if not samples:
        raise ValueError("no samples")
    if not 0 <= share <= 1:
        raise ValueError(f"{share} is no share")
    # The product may lie a hair above a whole number: 0.9 * 20 has to be rank 18.
    rank = max(math.ceil(round(share * len(samples), 9)), 1)
    return sorted(samples)[rank - 1]


@dataclass(frozen=True)
class Series:
    """One quantity, measured repeatedly. ``p90``: nine of ten samples are at least that good."""

    unit: str
    samples: tuple[float, ...]
    better: str = LOWER

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def p90(self) -> float:
        if self.better == HIGHER:
            return -percentile([-sample for sample in self.samples], 0.9)
        return percentile(self.samples, 0.9)

    @property
    def worst(self) -> float:
        return min(self.samples) if self.better == HIGHER else max(self.samples)

    def meets(self, target: float) -> bool:
        """Whether nine of ten samples meet it: a median says nothing about the day on which it matters."""
        return self.p90 >= target if self.better == HIGHER else self.p90 <= target

    def as_dict(self) -> dict[str, Any]:
        if not self.samples:
            return {"unit": self.unit, "samples": [], "median": None, "p90": None, "worst": None}
        return {
            "unit": self.unit,
            "samples": [rounded(sample) for sample in self.samples],
            "median": rounded(self.median),
            "p90": rounded(self.p90),
            "worst": rounded(self.worst),
        }


def rounded(value: float, digits: int = 4) -> float:
    """To so many significant digits: more would be noise."""
    if not value or not math.isfinite(value):
        return value
    return round(value, max(digits - 1 - math.floor(math.log10(abs(value))), 0))
