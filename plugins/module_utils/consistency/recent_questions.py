# SPDX-License-Identifier: BSD-2-Clause
"""What is asked of the recent rows of one table, as SQL. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping

from . import canonical
from .lookup import Range, Statement, quoted
from .questions import Key, Table
from .time_column import TimeColumn
from .window import SECOND


class RecentTable(Table):
    """The rows of a table whose date is in ``low <= date < high``, in the order of date and key.

    Its ranges are of that order. The rows that it reads have the table's own key: a row whose date is another one on
    the other server is the same row.

    :param low: as the column shows it, as if that were UTC: microseconds since 1970, whole seconds. The sessions are
        under ``barrier.reading``, in UTC.
    """

    def __init__(self, table: Table, column: TimeColumn, low: int, high: int) -> None:
        time = column.facts
        others = tuple(name for name in table.layout.key if name != time.name)
        super().__init__(table.named, dataclasses.replace(table.layout, keys=((time.name, *others),)))
        self._time = column
        self._own = table
        self._edges = (low // SECOND, high // SECOND)

    @property
    def _from(self) -> str:
        # A plan of its own could read the whole table.
        return f"{super()._from} FORCE INDEX ({quoted(self._time.index)})"

    def _within(self, range_: Range) -> Statement:
        condition, values = super()._within(range_)
        name = quoted(self._time.facts.name)
        between = f"{name} >= FROM_UNIXTIME(%s) AND {name} < FROM_UNIXTIME(%s)"
        return f"{between} AND {condition}", (*self._edges, *values)

    def _rows(self) -> str:
        shown = f"{canonical.key_values(self._own.key)}, {canonical.digest(self.columns)} AS content"
        return f"SELECT {shown} {self._from}"

    def _row_key(self, row: Mapping[str, Any]) -> Key:
        return self._own.key_of(row)
