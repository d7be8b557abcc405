# SPDX-License-Identifier: BSD-2-Clause
"""What a person may do about differences: a plan to read, never run by us. Pure.

The remedy is to rebuild the replica by a clone: whatever made one row differ may have made others, of tables that were
not compared. Where few rows differ and somebody knows why, the statements that bring the replica to what the primary
has are shown, to be run on the replica by a person: without the binary log, without cascades of foreign keys, and with
the settings under which the values were read.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional

from ..server.session import identifier
from .canonical import SHOWN
from .findings import COUNT, DIFFERENT, EXTRA, MISSING, VALUE, Difference, TableResult
from .layout import BYTES, NAMED, TEXTS, TIMES, ColumnFacts, Layout

CLONE, ROWS = "clone", "rows"
"""Ways to mend a table: rebuild the whole replica, or the statements for its rows."""

FEW = 20
"""Rows up to which statements are shown."""

FIRST = (
    "SET NAMES utf8mb4",
    "SET SESSION sql_log_bin = 0, foreign_key_checks = 0, time_zone = '+00:00',"
    " sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'",
)
"""What the statements rest on: nothing is cut off or replaced, a zero is a zero, a TIMESTAMP is in UTC."""
_NUMBERS = frozenset({"decimal", "tinyint", "smallint", "mediumint", "int", "bigint", "year"})
_QUOTED = TEXTS | TIMES | NAMED
"""Types whose value, as it is shown to a person, is the whole value. A FLOAT's is not, nor that of JSON, which knows
dates and decimals that its text does not."""
_LOSSLESS = frozenset({"", "utf8mb4", "utf8mb3", "utf8", "ascii", "latin1", "ucs2", "utf16", "utf16le", "utf32"})
"""Character sets in which a text is the same after it was shown in utf8mb4 and put back."""
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_PLAIN = re.compile(r"[^\x00-\x1f\x7f]*")
_ORDER = {EXTRA: 0, VALUE: 1, MISSING: 2}
"""What is too much goes first: it may hold a unique value that a row needs."""


def plan(result: TableResult, layout: Layout) -> Optional[dict[str, Any]]:
    """``{table, replica, way, rows, sql, why}`` for a table that differs; None for any other.

    ``way``: ``clone``, or ``rows`` where the statements for all rows are shown.
    """
    if result.verdict != DIFFERENT:
        return None
    few = 0 < result.difference_count <= FEW and len(result.differences) == result.difference_count
    ordered = sorted(result.differences, key=lambda each: _ORDER.get(each.kind, 0))
    statements = [_statement(result, layout, each) for each in ordered] if few else []
    found = {"table": result.name, "replica": result.replica, "rows": result.difference_count}
    if few and all(statements):
        why = "few rows; find out first what changed them (and that no trigger would run), or clone the replica"
        return {**found, "way": ROWS, "sql": [*FIRST, *statements], "why": why}
    why = "rows can not be named, or their values are not shown (reveal)" if few else f"{result.difference_count} rows"
    return {**found, "way": CLONE, "sql": [], "why": f"{why}: rebuild {result.replica} (playbook replace_server)"}


def _statement(result: TableResult, layout: Layout, difference: Difference) -> str:
    """What brings the replica's row to the primary's; empty when it can not be said."""
    if difference.kind == COUNT or not difference.key:
        return ""
    table = f"{identifier(result.schema)}.{identifier(result.table)}"
    where = _assigned(layout, difference.key)
    if difference.kind == EXTRA:
        return f"DELETE FROM {table} WHERE {' AND '.join(where)} LIMIT 1" if where else ""
    written = _written(layout, difference)
    values = _assigned(layout, written)
    if not where or not values:
        return ""
    if difference.kind == MISSING:
        return f"INSERT INTO {table} SET {', '.join(values)}"
    values += _kept(layout, written)
    return f"UPDATE {table} SET {', '.join(values)} WHERE {' AND '.join(where)} LIMIT 1"


def _written(layout: Layout, difference: Difference) -> Mapping[str, Optional[str]]:
    """What has to be written: the columns that differ, or all; the server computes those that are generated."""
    values = difference.primary or {}
    wanted = difference.columns or tuple(values)
    return {name: values[name] for name in wanted if name in values and not layout.column(name).generated}


def _kept(layout: Layout, written: Mapping[str, Optional[str]]) -> list[str]:
    """``column = column`` of those that are the same, and that the server would set to the time of the repair."""
    kept = [column.name for column in layout.columns if column.on_update and column.name not in written]
    return [f"{identifier(name)} = {identifier(name)}" for name in kept]


def _assigned(layout: Layout, values: Mapping[str, Optional[str]]) -> list[str]:
    """``column = value`` of each; nothing if one of them is not wholly known."""
    found = []
    for name, value in values.items():
        literal = _literal(layout.column(name), value)
        if not literal:
            return []
        found.append(f"{identifier(name)} = {literal}")
    return found


def _literal(column: ColumnFacts, value: Optional[str]) -> str:
    kind = column.data_type
    if value is None:
        return "NULL"
    if len(value) >= SHOWN:
        return ""  # perhaps not all of it
    if kind in BYTES:
        return f"X'{value}'" if re.fullmatch(r"([0-9A-Fa-f]{2})*", value) else ""
    if kind in _NUMBERS:
        # As text it would be compared as a double.
        return value if _NUMBER.fullmatch(value) else ""
    if kind not in _QUOTED or column.charset not in _LOSSLESS:
        return ""
    if not _PLAIN.fullmatch(value):
        return f"_utf8mb4 X'{value.encode().hex().upper()}'"
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
