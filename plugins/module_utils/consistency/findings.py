# SPDX-License-Identifier: BSD-2-Clause
"""What a comparison finds, and what it is called. Pure. Only ``pass`` is pass.

* ``pass``: everything that was to be compared was compared, and is the same;
* ``different``: rows, a table or a result differ, and it was confirmed;
* ``unstable``: something kept changing faster than it could be compared;
* ``lagging``: the replica did not catch up in time, or its applier stands still;
* ``skipped``: not compared, and why (no key and too large, not asked for by a limit of this run);
* ``schema_differs``: the table is not the same table on both, so its rows were not compared;
* ``error``: a server answered with an error.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Iterable, Mapping, Optional, Sequence

PASS, DIFFERENT, UNSTABLE, LAGGING = "pass", "different", "unstable", "lagging"
SKIPPED, SCHEMA_DIFFERS, ERROR = "skipped", "schema_differs", "error"
GRAVITY = (PASS, SKIPPED, LAGGING, UNSTABLE, ERROR, SCHEMA_DIFFERS, DIFFERENT)
"""From the best to the worst."""

MISSING, EXTRA, VALUE, COUNT = "missing", "extra", "value", "count"
"""Kinds of a difference, as seen on the replica: it lacks the row; it has one that the primary lacks; another value; in
a table without a key, another number of rows that are the same."""

WHOLE, SNAPSHOT, RECENT_TIME, RECENT_BINLOG, BUSINESS = "whole", "snapshot", "recent_time", "recent_binlog", "business"
MODES = (RECENT_TIME, RECENT_BINLOG, WHOLE, SNAPSHOT, BUSINESS)


def worst(verdicts: Iterable[str]) -> str:
    """The gravest of these; ``skipped`` when there is none, for nothing compared is no pass."""
    return max(verdicts, key=GRAVITY.index, default=SKIPPED)


@dataclasses.dataclass(frozen=True)
class Difference:
    """One row that is not the same.

    :param key: the columns of its key, as text; empty for a table without one.
    :param kind: ``missing``, ``extra``, ``value`` or ``count``.
    :param columns: which columns differ (``value``).
    :param primary: the row there, columns as text or None for NULL; only when values may be shown. None: no such row.
    :param last_writer: the GTID that last wrote the row, where it is known.
    """

    key: Mapping[str, Optional[str]]
    kind: str
    columns: tuple[str, ...] = ()
    primary: Optional[Mapping[str, Optional[str]]] = None
    replica: Optional[Mapping[str, Optional[str]]] = None
    last_writer: str = ""

    def as_result(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "columns": list(self.columns)}


@dataclasses.dataclass(frozen=True)
class TableResult:
    """What one mode found of one table on one replica.

    :param code: stable, why it is not a pass; empty when there is nothing to say. ``why``: the sentence.
    :param rows: rows that were compared; ``rechecked``: those of them that were looked at again one by one.
    :param difference_count: all that were found; ``differences`` are the first of them.
    :param covered: how much of the table was compared, 0 to 1.
    """

    schema: str
    table: str
    replica: str
    mode: str
    verdict: str
    code: str = ""
    why: str = ""
    next_step: str = ""
    rows: int = 0
    rechecked: int = 0
    difference_count: int = 0
    differences: tuple[Difference, ...] = ()
    covered: float = 1.0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table}"

    def as_result(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "differences": [each.as_result() for each in self.differences]}


def result_from(kept: Mapping[str, Any]) -> TableResult:
    """A result of ``as_result``, read again."""
    differences = tuple(Difference(**{**each, "columns": tuple(each["columns"])}) for each in kept["differences"])
    return TableResult(**{**kept, "differences": differences})


def merged(results: Sequence[TableResult]) -> str:
    """The verdict of several results."""
    return worst(result.verdict for result in results)
