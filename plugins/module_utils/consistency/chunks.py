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
SPARSE = 4
"""Numbers for each row, from which on counting them says little about how many rows there are."""


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
    """Cuts a whole number key between its smallest and its greatest value, by how densely its numbers are used.

    So many numbers are never more than so many rows. Where they are used sparsely a range of many numbers could hold
    a few rows or all of the table, so its end is asked for. So it is behind the greatest value, where rows come in.
    """

    least: int
    most: int
    _from: Optional[int] = None
    _at: Optional[int] = None
    _density: float = 1.0

    def start(self, after: Bound) -> None:
        """A range ends there, and the next one begins."""
        self._from = self._position
        self._at = int(after[0]) if after is not None else self.least - 1

    def next(self, wanted: int) -> Bound:
        """Where the next range ends so that it has about ``wanted`` rows; None: it is to be asked for."""
        if self._density * SPARSE < 1:
            return None
        upto = self._position + max(1, int(wanted / self._density))
        if upto >= self.most:
            return None
        self.start((upto,))
        return (upto,)

    def beyond(self, after: Bound, wanted: int) -> tuple[Bound, int]:
        """Behind which key to ask for the row of which number, with which the next range ends.

        Up to the greatest value it is known about how many rows there are. A server that is asked from ``after`` on
        would read them all, the whole of a small table, to say that nothing has come in behind them.
        """
        numbers = self.most - self._position
        if numbers <= 0 or self._density * SPARSE < 1:
            return after, wanted
        return (self.most,), max(1, wanted - int(numbers * self._density))

    def found(self, rows: int) -> None:
        """The last range had so many rows."""
        if self._from is not None:
            self._density = min(1.0, rows / max(self._position - self._from, 1))

    def covered(self) -> float:
        """0 to 1."""
        return min(1.0, max(0.0, (self._position - self.least + 1) / max(self.most - self.least + 1, 1)))

    @property
    def _position(self) -> int:
        return self.least - 1 if self._at is None else self._at
