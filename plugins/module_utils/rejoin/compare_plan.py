# SPDX-License-Identifier: BSD-2-Clause
"""What is asked of two servers to compare the rows that an archive names, and what the answers mean. Pure.

The servers are asked for digests, not for values: of each row that a predicate finds, the digest of its key and the
digest of all its columns; where a table has no key, the digest of all columns and how many rows have it. Either way an
answer is a mapping from an identity to what must be the same, and the two servers' mappings are compared. Nothing is
matched with the archive's own values: these only say where to look.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional, Sequence

from ..binlog.rows_json import value_of
from ..consistency.canonical import column_digest, digest, shown_value
from ..consistency.layout import Layout
from ..consistency.lookup import Lookup, Statement, Unfit, predicate, quoted
from ..consistency.settle import Answer

MOST_GROUPS = 5000
"""Rows of a server's answer at most."""


# Where to look


def lookups(change: Mapping[str, Any], layout: Layout) -> list[Lookup]:
    """Where a row change of an archive says that rows are or were: as before it, and as after it.

    :raises Unfit: it names columns that the table does not have, or not enough of them.
    """
    before, after = change.get("before"), change.get("after")
    images = [image for image in (before, {**(before or {}), **after} if after else None) if image]
    if not images:
        raise Unfit("an archived row without its values")
    found: list[Lookup] = []
    for image in images:
        named = _by_name(image, layout)
        columns = layout.key or tuple(column.name for column in layout.columns if not column.generated)
        lacking = [name for name in columns if name not in named]
        if lacking:
            raise Unfit(f"archived rows do not hold {', '.join(lacking)}")
        lookup = Lookup(columns, tuple(value_of(named[name]) for name in columns))
        if lookup not in found:
            found.append(lookup)
    return found


def _by_name(image: Mapping[str, Any], layout: Layout) -> Mapping[str, Any]:
    """``@1`` is the first column: right as long as the table has as many as the log had."""
    if not all(re.fullmatch(r"@\d+", name) for name in image):
        return image
    if len(image) != len(layout.columns):
        raise Unfit(f"archived rows have {len(image)} columns without names, and the table has {len(layout.columns)}")
    return {column.name: image[f"@{place}"] for place, column in enumerate(layout.columns, 1)}


# What is asked


def rows_query(schema: str, table: str, layout: Layout, wanted: Sequence[Lookup]) -> Statement:
    """Answers ``identity`` and ``content`` of each row found; ``answer`` reads it.

    :raises Unfit: they cannot be looked for.
    """
    if layout.key:
        condition, values = predicate(layout, wanted, "=")
        shown = f"{digest(layout.key_columns)} AS identity, {digest(layout.columns)} AS content"
        return _select(shown, schema, table, condition, values)
    condition, values = predicate(layout, wanted, "<=>")
    shown = f"{digest(layout.columns)} AS identity, COUNT(*) AS content"
    return _select(shown, schema, table, f"{condition} GROUP BY 1", values)


def details_query(schema: str, table: str, layout: Layout, wanted: Sequence[Lookup], *, reveal: bool) -> Statement:
    """Answers of each row found ``identity``, the digest ``d0``, ``d1`` of each column, and with ``reveal`` also its
    beginning, ``v0``, ``v1``. Only for a table with a key."""
    condition, values = predicate(layout, wanted, "=")
    shown = [f"{digest(layout.key_columns)} AS identity"]
    shown += [f"{column_digest(column)} AS d{place}" for place, column in enumerate(layout.columns)]
    if reveal:
        shown += [f"{shown_value(column)} AS v{place}" for place, column in enumerate(layout.columns)]
    return _select(", ".join(shown), schema, table, condition, values)


def _select(shown: str, schema: str, table: str, condition: str, values: tuple[Any, ...]) -> Statement:
    sql = f"SELECT {shown} FROM {quoted(schema)}.{quoted(table)} WHERE {condition} LIMIT {MOST_GROUPS + 1}"
    return sql if values else sql.replace("%%", "%"), values


# What the answers mean


def answer(rows: Sequence[Mapping[str, Any]]) -> Answer:
    """:raises Unfit: too many rows, or one that the server could not make a digest of."""
    if len(rows) > MOST_GROUPS:
        raise Unfit(f"more than {MOST_GROUPS} rows answer")
    found = {}
    for row in rows:
        if row["identity"] is None or row["content"] is None:
            raise Unfit("a row is too large for its digest")
        found[str(row["identity"])] = str(row["content"])
    return found


# Definitions

_AUTO_INCREMENT = re.compile(r" AUTO_INCREMENT=\d+")


def definition(shown: Optional[str]) -> Optional[str]:
    """What SHOW CREATE says, without the counter that differs by right."""
    return None if shown is None else _AUTO_INCREMENT.sub("", shown)
