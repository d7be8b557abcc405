# SPDX-License-Identifier: BSD-2-Clause
"""The column that says when a row was written last, whether an index reads a window of it, and its time zone. Pure.

A TIMESTAMP is a moment, and is compared in UTC. A DATETIME is what a clock showed: the server sets it by the time zone
of the *session* that writes. Which zone that is only people know: ``time_zone``, by default ``@@GLOBAL.time_zone`` of
the primary, which may be the host's own (``SYSTEM``). If sessions write it in several zones, no window of it is safe;
use a TIMESTAMP. Where the clock is set back in autumn, an hour comes twice in a DATETIME: the window then has both, see
``span``.

A date that the server sets is that of the statement, and no window misses it. One that the application sets is older
than its statement, and by the application's clock: where that is more than ``Policy.skew``, the row is missed. So is
one whose old date somebody writes as a value, or by SET TIMESTAMP.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, NamedTuple, Sequence, Union

from ..binlog.statement_names import Named
from ..server.session import identifier
from .layout import ColumnFacts, Layout
from .window import SECOND

COMMON = (
    "last_modify_date",
    "last_modified_date",
    "last_modify_time",
    "last_modified",
    "last_modified_at",
    "last_update",
    "last_updated",
    "last_updated_at",
    "lastmodified",
    "lastupdated",
    "date_modified",
    "modified_at",
    "modified_on",
    "modified_date",
    "modify_time",
    "modify_date",
    "updated_at",
    "updated_on",
    "updated_date",
    "update_time",
    "update_date",
    "modified",
    "updated",
)
"""Names by which a column is found that the application sets, the best first. Case does not matter."""
KINDS = frozenset({"timestamp", "datetime"})

ON_UPDATE = (
    "SELECT COLUMN_NAME AS name FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    " AND EXTRA LIKE '%%on update CURRENT_TIMESTAMP%%' ORDER BY ORDINAL_POSITION"
)
"""Columns that the server sets."""
INDEXES = (
    "SELECT INDEX_NAME AS name, COLUMN_NAME AS part FROM information_schema.STATISTICS"
    " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND SEQ_IN_INDEX = 1 AND INDEX_TYPE = 'BTREE' AND IS_VISIBLE = 'YES'"
    " ORDER BY INDEX_NAME"
)
"""Indexes that may read a range, and their first column."""


class Skip(NamedTuple):
    """Why a table cannot be compared in this mode, as a ``TableResult`` says it."""

    code: str
    why: str
    next_step: str


@dataclasses.dataclass(frozen=True)
class TimeColumn:
    """The column and the index that begins with it. ``by_server``: the server sets it at each change of a row."""

    facts: ColumnFacts
    index: str
    by_server: bool

    @property
    def zoned(self) -> bool:
        """Whether it depends on a time zone."""
        return self.facts.data_type == "datetime"


def time_column(
    named: Named,
    layout: Layout,
    on_update: Sequence[Mapping[str, Any]],
    indexes: Sequence[Sequence[Mapping[str, Any]]],
    *,
    given: str = "",
) -> Union[TimeColumn, Skip]:
    """The column of a table by which its recent rows are found.

    :param on_update: the answer to ``ON_UPDATE``.
    :param indexes: the answers to ``INDEXES`` of every server that is to be compared.
    :param given: the name that people chose; empty: it is detected, first by what the server sets, then by its name.
        Of several, one with an index.
    :returns: a ``Skip`` with the code ``no_key``, ``no_time_column`` or ``no_index_on_time_column``.
    """
    if not layout.key:
        return Skip(
            "no_key",
            f"{named.schema}.{named.table} has no key that names a row, so rows of both servers cannot be paired",
            "Give it a primary key, or compare the whole table (mode whole).",
        )
    times = {column.name.lower(): column for column in layout.columns if column.data_type in KINDS}
    set_by_server = {str(row["name"]).lower() for row in on_update}
    if given:
        candidates = [given.lower()]
    else:
        candidates = [name for name in times if name in set_by_server] or [name for name in COMMON if name in times]
    found = [times[name] for name in candidates if name in times]
    if not found:
        what = f"no column {given} of type TIMESTAMP or DATETIME" if given else "no column that tells when rows changed"
        return Skip(
            "no_time_column",
            f"{named.schema}.{named.table} has {what}",
            "Name its column, or compare the table in another mode (recent_binlog, whole).",
        )
    for column in found:
        index = _index(column, indexes)
        if index:
            return TimeColumn(column, index, column.name.lower() in set_by_server)
    table, name = f"{identifier(named.schema)}.{identifier(named.table)}", identifier(found[0].name)
    return Skip(
        "no_index_on_time_column",
        f"no visible index that every server has begins with {found[0].name}: each run would read the whole table",
        f"Run on the primary: ALTER TABLE {table} ADD INDEX ({name});",
    )


def _index(column: ColumnFacts, indexes: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """One that all servers have: the answers come from the same question, so it is named by the same name."""
    wanted = column.name.lower()
    names = [{str(row["name"]) for row in rows if str(row["part"]).lower() == wanted} for rows in indexes]
    return min(set.intersection(*names), default="") if names else ""


def span(low: int, high: int, offsets: tuple[int, int]) -> tuple[int, int]:
    """The dates that a clock shows in ``[low, high)``, for a zone with these offsets from UTC (seconds) at both ends.

    A clock that is set back in between shows times before the first one; so the least and the greatest offset count. A
    clock that is set back and forward again within one window is left out: zones do that months apart.
    """
    return low + min(offsets) * SECOND, high + max(offsets) * SECOND


def blind(column: TimeColumn) -> str:
    """What this mode does not see, for people."""
    told = f"rows by {column.facts.name}: blind to deletes, and to changes that leave {column.facts.name} as it was"
    if column.facts.nullable:
        told += " or set it to NULL"
    if not column.by_server:
        told += "; the application sets it, so changes are missed whose date is older than their statement by the skew"
    return told
