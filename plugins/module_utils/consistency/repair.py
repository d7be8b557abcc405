# SPDX-License-Identifier: BSD-2-Clause
"""What a person may do about differences: a plan to read, never run by us. Pure.

The remedy is to rebuild the replica by a clone: whatever made one row differ may have made others, of tables that were
not compared. Where few rows differ and somebody knows why, the statements that bring the replica to what the primary
has are shown, to be run on the replica by a person, with the binary log off.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ..server.session import identifier
from .canonical import SHOWN
from .findings import COUNT, DIFFERENT, EXTRA, MISSING, Difference, TableResult
from .layout import BYTES, NAMED, TEXTS, TIMES, Layout

FEW = 20
"""Rows up to which statements are shown."""

_AS_SHOWN = TEXTS | TIMES | NAMED | {"decimal", "tinyint", "smallint", "mediumint", "int", "bigint", "year", "json"}
"""Types whose value, as it is shown to a person, is the whole value. A FLOAT's is not."""


def plan(result: TableResult, layout: Layout) -> Optional[dict[str, Any]]:
    """``{table, replica, way, rows, sql, why}`` for a table that differs; None for any other.

    ``way``: ``clone``, or ``rows`` where the statements for all rows are shown.
    """
    if result.verdict != DIFFERENT:
        return None
    few = 0 < result.difference_count <= FEW and len(result.differences) == result.difference_count
    statements = [_statement(result, layout, each) for each in result.differences] if few else []
    found = {"table": result.name, "replica": result.replica, "rows": result.difference_count}
    if few and all(statements):
        why = "few rows; find out first what changed them, or clone the replica"
        return {**found, "way": "rows", "sql": ["SET SESSION sql_log_bin = 0", *statements], "why": why}
    why = "rows can not be named, or their values are not shown (reveal)" if few else f"{result.difference_count} rows"
    return {**found, "way": "clone", "sql": [], "why": f"{why}: rebuild {result.replica} (playbook replace_server)"}


def _statement(result: TableResult, layout: Layout, difference: Difference) -> str:
    """What brings the replica's row to the primary's; empty when it can not be said."""
    if difference.kind == COUNT or not difference.key:
        return ""
    table = f"{identifier(result.schema)}.{identifier(result.table)}"
    where = _assigned(layout, difference.key)
    if difference.kind == EXTRA:
        return f"DELETE FROM {table} WHERE {' AND '.join(where)} LIMIT 1" if where else ""
    values = _assigned(layout, _written(layout, difference))
    if not where or not values:
        return ""
    if difference.kind == MISSING:
        return f"INSERT INTO {table} SET {', '.join(values)}"
    return f"UPDATE {table} SET {', '.join(values)} WHERE {' AND '.join(where)} LIMIT 1"


def _written(layout: Layout, difference: Difference) -> Mapping[str, Optional[str]]:
    """What has to be written: the columns that differ, or all; the server computes those that are generated."""
    values = difference.primary or {}
    wanted = difference.columns or tuple(values)
    return {name: values[name] for name in wanted if name in values and not layout.column(name).generated}


def _assigned(layout: Layout, values: Mapping[str, Optional[str]]) -> list[str]:
    """``column = value`` of each; nothing if one of them is not wholly known."""
    found = []
    for name, value in values.items():
        literal = _literal(layout.column(name).data_type, value)
        if not literal:
            return []
        found.append(f"{identifier(name)} = {literal}")
    return found


def _literal(data_type: str, value: Optional[str]) -> str:
    if value is None:
        return "NULL"
    if len(value) >= SHOWN:
        return ""  # perhaps not all of it
    if data_type in BYTES:
        return f"X'{value}'"
    if data_type not in _AS_SHOWN:
        return ""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
