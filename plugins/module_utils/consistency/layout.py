# SPDX-License-Identifier: BSD-2-Clause
"""What a table is like on a server: its columns, its keys, and whether two servers have the same. Pure.

Rows are only compared between tables of the same layout: another collation orders keys differently, another type shows
the same value differently.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, Optional, Sequence

from ..server.dialect import charset_name

WHOLE = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"})
TIMES = frozenset({"date", "time", "datetime", "timestamp"})
TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
NAMED = frozenset({"enum", "set"})
REALS = frozenset({"float", "double"})
GEOMETRIES = frozenset(
    {
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geomcollection",
        "geometrycollection",
    }
)
NEVER_NAMED = GEOMETRIES | {"json", "vector"}
"""Types whose values a predicate cannot name exactly."""


@dataclasses.dataclass(frozen=True)
class ColumnFacts:
    """A column as a server has it now.

    :param data_type: the first word of ``type``, which is the whole type.
    :param charset: and ``collation``: by the names that every server knows; empty for other types.
    :param octets: the most bytes a text or bytes column holds; 0 for other types.
    :param generated: the expression of a generated column; ``stored``: whether its values are kept.
    :param on_update: the server sets it when a row changes and nobody else does. What the column holds does not depend
        on it: layouts that differ in it alone are the same.
    """

    name: str
    data_type: str
    type: str
    charset: str = ""
    collation: str = ""
    nullable: bool = False
    generated: str = ""
    stored: bool = True
    octets: int = 0
    on_update: bool = dataclasses.field(default=False, compare=False, repr=False)


@dataclasses.dataclass(frozen=True)
class Layout:
    """A table as a server has it now, invisible columns too.

    :param keys: unique keys whose columns are whole and never NULL, the primary key first.
    """

    columns: tuple[ColumnFacts, ...]
    keys: tuple[tuple[str, ...], ...]

    @property
    def key(self) -> tuple[str, ...]:
        """What names a row: the first key whose values a predicate can name; empty when there is none."""
        types = {column.name: column.data_type for column in self.columns}
        for key in self.keys:
            if not any(types[name] in NEVER_NAMED for name in key):
                return key
        return ()

    def column(self, name: str) -> ColumnFacts:
        return next(column for column in self.columns if column.name == name)

    @property
    def key_columns(self) -> tuple[ColumnFacts, ...]:
        return tuple(self.column(name) for name in self.key)


COLUMNS = (
    "SELECT COLUMN_NAME AS name, DATA_TYPE AS data_type, COLUMN_TYPE AS type, CHARACTER_SET_NAME AS charset,"
    " COLLATION_NAME AS collation, IS_NULLABLE AS nullable, GENERATION_EXPRESSION AS formula, EXTRA AS extra,"
    " CHARACTER_OCTET_LENGTH AS octets"
    " FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION"
)
UNIQUE_KEYS = (
    "SELECT INDEX_NAME AS name, COLUMN_NAME AS part, SUB_PART AS prefix, NULLABLE AS nullable"
    " FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND NON_UNIQUE = 0"
    " ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX"
)


def layout_of(columns: Sequence[Mapping[str, Any]], unique: Sequence[Mapping[str, Any]]) -> Optional[Layout]:
    """From the answers to ``COLUMNS`` and ``UNIQUE_KEYS``; None when there is no such table."""
    if not columns:
        return None
    keys: dict[str, Optional[list[str]]] = {}
    for part in unique:
        name = str(part["name"])
        parts = keys.setdefault(name, [])
        # No column: the key is of an expression. A prefix does not name a row, nor does what may be NULL.
        if part["part"] is None or part["prefix"] is not None or str(part["nullable"]).upper() == "YES":
            keys[name] = None
        elif parts is not None:
            parts.append(str(part["part"]))
    return Layout(
        tuple(
            ColumnFacts(
                name=str(column["name"]),
                data_type=str(column["data_type"]).lower(),
                type=str(column["type"]),
                charset=charset_name(str(column["charset"] or "")),
                collation=charset_name(str(column["collation"] or "")),
                nullable=str(column["nullable"]).upper() == "YES",
                generated=str(column["formula"] or ""),
                stored="VIRTUAL" not in str(column.get("extra") or "").upper(),
                octets=int(column.get("octets") or 0),
                on_update="ON UPDATE" in str(column.get("extra") or "").upper(),
            )
            for column in columns
        ),
        tuple(tuple(parts) for parts in keys.values() if parts),
    )


def layout_difference(there: Optional[Layout], here: Optional[Layout]) -> tuple[str, tuple[str, ...]]:
    """What is different between the primary's table and another server's: a word and the columns concerned.

    The word is empty, ``only_on_primary``, ``only_on_returning`` (the other server), ``columns`` or ``keys``.
    """
    if there == here:
        return "", ()
    if there is None or here is None:
        return ("only_on_returning" if there is None else "only_on_primary"), ()
    theirs = {column.name: (place, column) for place, column in enumerate(there.columns)}
    ours = {column.name: (place, column) for place, column in enumerate(here.columns)}
    names = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
    return ("columns" if names else "keys"), tuple(names)
