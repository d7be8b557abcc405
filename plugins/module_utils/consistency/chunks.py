# SPDX-License-Identifier: BSD-2-Clause
"""How a table is cut into ranges of its key, each of as many rows as a server reads in the time wanted. Pure.

The first range begins before everything and the last one ends behind everything, so a row that only one server has lies
in one of them wherever it is. A key that is one whole number is cut by counting: that costs nothing. Of any other key
the boundary is asked for.
"""

from __future__ import annotations

import dataclasses
from typing import Optional

from .layout import NAMED, WHOLE, Layout
from .lookup import Bound

LEAST, MOST = 1_000, 100_000
"""Rows of a range."""
_FIRST = 10_000
_GROWTH = 4.0


def counted(layout: Layout) -> bool:
    """Whether its key can be cut by counting."""
    key = layout.key_columns
    return len(key) == 1 and key[0].data_type in WHOLE and key[0].data_type != "bit"


def ordered(layout: Layout) -> bool:
    """Whether its index can read ranges of its key: not those of ENUM and SET, which are compared by number."""
    key = layout.key_columns
    return bool(key) and not any(column.data_type in NAMED for column in key)


class Size:
    """How many rows the next range is to have, so that reading it takes ``seconds``."""

    def __init__(self, seconds: float, most: int = MOST) -> None:
        self.rows = min(_FIRST, most)
        self._seconds = seconds
        self._most = most

    def took(self, rows: int, seconds: float) -> None:
        """A range of so many rows took so long."""
        if rows * 2 < self.rows and seconds <= self._seconds:
            return  # a small one says little
        factor = self._seconds / max(seconds, 0.001)
        wanted = max(rows, 1) * min(max(factor, 1 / _GROWTH), _GROWTH)
        self.rows = int(min(max(wanted, min(LEAST, self._most)), self._most))


@dataclasses.dataclass
class Counter:
    """Cuts a whole number key between its smallest and its greatest value, by how densely its numbers are used."""

    least: int
    most: int
    step: int = _FIRST
    _at: Optional[int] = None

    def start(self, after: Bound) -> None:
        self._at = int(after[0]) if after is not None else self.least - 1

    def next(self) -> Bound:
        """Where the next range ends; None: behind everything."""
        at = self.least - 1 if self._at is None else self._at
        upto = at + self.step
        if upto >= self.most:
            return None
        self._at = upto
        return (upto,)

    def found(self, rows: int, wanted: int) -> None:
        """The last range had so many rows, and the next one is to have ``wanted``."""
        density = wanted / max(rows, 1)
        self.step = max(1, int(self.step * min(max(density, 1 / _GROWTH), _GROWTH**2)))

    def covered(self) -> float:
        """0 to 1."""
        at = self.least - 1 if self._at is None else self._at
        return min(1.0, (at - self.least + 1) / max(self.most - self.least + 1, 1))
