# SPDX-License-Identifier: BSD-2-Clause
"""What is asked of two servers to compare the rows that an archive names, and what the answers mean. Pure.

The servers are asked for digests, not for values: of each row that a predicate finds, the digest of its key and the
digest of all its columns; where a table has no key, the digest of all columns and how many rows have it. Either way an
answer is a mapping from an identity to what must be the same, and the two servers' mappings are compared. Nothing is
matched with the archive's own values: these only say where to look.
"""

from __future__ import annotations

import dataclasses
import decimal
import re
from typing import Any, Mapping, NamedTuple, Optional, Sequence

from ..binlog.rows_json import value_of
from ..binlog.statement_objects import Unfit
from ..server.session import identifier

CONFIRMED_BY = 3
"""How often a row must differ, with the primary's unchanged in between, before it counts as different."""
LARGEST_BOUND = 1 << 16
"""Bytes of a value that a predicate names; a larger one is left to the digest."""
MOST_GROUPS = 5000
"""Rows of a server's answer at most."""

_WHOLE = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"})
_TIMES = frozenset({"date", "time", "datetime", "timestamp"})
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_GEOMETRIES = frozenset(
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
_NEVER_NAMED = _GEOMETRIES | {"json", "vector"}
"""Types whose values a predicate cannot name exactly."""

Statement = tuple[str, tuple[Any, ...]]
"""SQL and the values bound to it."""


@dataclasses.dataclass(frozen=True)
class ColumnFacts:
    """A column as a server has it now; ``type`` is the whole type, ``data_type`` its first word."""

    name: str
    data_type: str
    type: str
    charset: str
    collation: str
    nullable: bool
    generated: str


@dataclasses.dataclass(frozen=True)
class Layout:
    """A table as a server has it now.

    :param keys: unique keys whose columns are whole and never NULL, the primary key first.
    """

    columns: tuple[ColumnFacts, ...]
    keys: tuple[tuple[str, ...], ...]

    @property
    def key(self) -> tuple[str, ...]:
        """What names a row: the first key whose values a predicate can name; empty when there is none."""
        types = {column.name: column.data_type for column in self.columns}
        for key in self.keys:
            if not any(types[name] in _NEVER_NAMED for name in key):
                return key
        return ()

    def column(self, name: str) -> ColumnFacts:
        return next(column for column in self.columns if column.name == name)


COLUMNS = (
    "SELECT COLUMN_NAME AS name, DATA_TYPE AS data_type, COLUMN_TYPE AS type, CHARACTER_SET_NAME AS charset,"
    " COLLATION_NAME AS collation, IS_NULLABLE AS nullable, GENERATION_EXPRESSION AS formula"
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
                charset=str(column["charset"] or ""),
                collation=str(column["collation"] or ""),
                nullable=str(column["nullable"]).upper() == "YES",
                generated=str(column["formula"] or ""),
            )
            for column in columns
        ),
        tuple(tuple(parts) for parts in keys.values() if parts),
    )


def layout_difference(there: Optional[Layout], here: Optional[Layout]) -> tuple[str, tuple[str, ...]]:
    """What is different between the primary's table and the returning server's: a word and the columns concerned."""
    if there == here:
        return "", ()
    if there is None or here is None:
        return ("only_on_returning" if there is None else "only_on_primary"), ()
    theirs = {column.name: (place, column) for place, column in enumerate(there.columns)}
    ours = {column.name: (place, column) for place, column in enumerate(here.columns)}
    names = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
    return ("columns" if names else "keys"), tuple(names)


# Where to look


class Lookup(NamedTuple):
    """One row to look for: columns and values, in the order of the key, or of the table where there is none."""

    columns: tuple[str, ...]
    values: tuple[Any, ...]


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


def _term(column: ColumnFacts, value: Any, operator: str) -> Optional[Statement]:
    """``column = value``, exactly; None when that cannot be said of this type.

    :raises Unfit: the value is not of the column's type, or it is the NULL of a key, which ``=`` would never find.
    """
    name = _name(column.name)
    kind = column.data_type
    plain = f"{name} {operator} %s"
    if value is None:
        if operator == "=":
            raise Unfit(f"archived rows have no {column.name}, which is part of the key now")
        return f"{name} {operator} NULL", ()
    if kind in _NEVER_NAMED or (isinstance(value, (str, bytes)) and len(value) > LARGEST_BOUND):
        return None
    if isinstance(value, int):
        if kind in _WHOLE or kind in ("enum", "set"):
            return plain, (value,)
        if kind in ("float", "double"):
            return plain, (float(value),)
    elif isinstance(value, float):
        if kind in ("float", "double"):
            return plain, (value,)
    elif isinstance(value, bytes):
        if kind in _BYTES:
            return plain, (value,)
        if kind in _TEXTS and re.fullmatch(r"\w+", column.charset):
            return f"{name} {operator} CONVERT(%s USING {column.charset})", (value,)
    elif isinstance(value, str):
        if kind in _TIMES or kind in _TEXTS or kind in ("enum", "set"):
            return plain, (value,)
        if kind == "decimal" and re.fullmatch(r"-?\d+(\.\d*)?", value):
            # As text it would be compared as a double.
            return plain, (decimal.Decimal(value),)
    raise Unfit(f"archived values of {column.name} are not of its type now ({column.type})")


def _name(name: str) -> str:
    """Beside bound values a percent sign is written twice."""
    return identifier(name).replace("%", "%%")


def _predicate(layout: Layout, wanted: Sequence[Lookup], operator: str) -> Statement:
    facts = {column.name: column for column in layout.columns}
    parts: list[str] = []
    values: list[Any] = []
    for lookup in wanted:
        terms = []
        for name, value in zip(lookup.columns, lookup.values):
            term = _term(facts[name], value, operator)
            if term is not None:
                terms.append(term[0])
                values.extend(term[1])
        if not terms:
            raise Unfit("no column by which its rows could be looked for")
        parts.append(f"({' AND '.join(terms)})")
    return " OR ".join(parts), tuple(values)


def fits(layout: Layout, lookup: Lookup) -> None:
    """:raises Unfit: the row cannot be looked for."""
    _predicate(layout, [lookup], "<=>")


# What is asked


def _fingerprint(column: ColumnFacts) -> str:
    """An expression that is the same for two values exactly if these are; ``-`` for NULL, which no value is."""
    name = _name(column.name)
    kind = column.data_type
    if kind in _TEXTS or kind in _BYTES or kind in ("enum", "set", "vector"):
        shown = f"SHA2({name}, 256)"
    elif kind == "json":
        shown = f"SHA2(CAST({name} AS CHAR), 256)"
    elif kind in _GEOMETRIES:
        shown = f"CONCAT(ST_SRID({name}), ':', SHA2(ST_AsBinary({name}), 256))"
    elif kind in ("float", "double"):
        # As text a FLOAT is rounded to six digits and a DOUBLE to 22 letters; a point holds all bits of it.
        shown = f"HEX(ST_AsBinary(POINT({name}, 0)))"
    elif kind == "bit":
        shown = f"CAST({name} + 0 AS CHAR)"
    else:
        shown = f"CAST({name} AS CHAR)"
    return f"IFNULL({shown}, '-')"


def _digest(columns: Sequence[ColumnFacts]) -> str:
    return f"SHA2(CONCAT_WS('/', {', '.join(_fingerprint(column) for column in columns)}), 256)"


def rows_query(schema: str, table: str, layout: Layout, wanted: Sequence[Lookup]) -> Statement:
    """Answers ``identity`` and ``content`` of each row found; ``answer`` reads it.

    :raises Unfit: they cannot be looked for.
    """
    if layout.key:
        predicate, values = _predicate(layout, wanted, "=")
        shown = f"{_digest(_key_columns(layout))} AS identity, {_digest(layout.columns)} AS content"
        return _select(shown, schema, table, predicate, values)
    predicate, values = _predicate(layout, wanted, "<=>")
    shown = f"{_digest(layout.columns)} AS identity, COUNT(*) AS content"
    return _select(shown, schema, table, f"{predicate} GROUP BY identity", values)


def details_query(schema: str, table: str, layout: Layout, wanted: Sequence[Lookup], *, reveal: bool) -> Statement:
    """Answers of each row found ``identity``, the digest ``d0``, ``d1`` of each column, and with ``reveal`` also its
    beginning, ``v0``, ``v1``. Only for a table with a key."""
    predicate, values = _predicate(layout, wanted, "=")
    shown = [f"{_digest(_key_columns(layout))} AS identity"]
    shown += [f"{_fingerprint(column)} AS d{place}" for place, column in enumerate(layout.columns)]
    if reveal:
        shown += [f"{_shown(column)} AS v{place}" for place, column in enumerate(layout.columns)]
    return _select(", ".join(shown), schema, table, predicate, values)


def _key_columns(layout: Layout) -> list[ColumnFacts]:
    return [layout.column(name) for name in layout.key]


def _shown(column: ColumnFacts) -> str:
    name = _name(column.name)
    if column.data_type in _BYTES or column.data_type in _GEOMETRIES or column.data_type == "vector":
        return f"LEFT(HEX({name}), 200)"
    return f"LEFT(CAST({name} AS CHAR), 200)"


def _select(shown: str, schema: str, table: str, condition: str, values: tuple[Any, ...]) -> Statement:
    sql = f"SELECT {shown} FROM {_name(schema)}.{_name(table)} WHERE {condition} LIMIT {MOST_GROUPS + 1}"
    return sql if values else sql.replace("%%", "%"), values


# What the answers mean

Answer = Mapping[str, str]


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


class Open(NamedTuple):
    """An identity whose content differs: on the primary, on the returning server, and how often in a row."""

    there: Optional[str]
    here: Optional[str]
    times: int


class Settling:
    """The identities of one batch, round by round. One that was the same once is settled.

    A difference is confirmed once it was seen ``CONFIRMED_BY`` times with the primary's content unchanged: see
    ``compare`` for why that means something, and why once means nothing.
    """

    def __init__(self) -> None:
        self.open: Optional[dict[str, Open]] = None

    def see(self, there: Answer, here: Answer) -> None:
        """One round: the primary's answer, and the returning server's of after it had caught up with that."""
        left = {}
        for identity in {*there, *here} if self.open is None else self.open:
            theirs, ours = there.get(identity), here.get(identity)
            if theirs != ours:
                earlier = (self.open or {}).get(identity)
                times = earlier.times + 1 if earlier and earlier.there == theirs else 1
                left[identity] = Open(theirs, ours, times)
        self.open = left

    @property
    def settled(self) -> bool:
        return self.open is not None and all(each.times >= CONFIRMED_BY for each in self.open.values())

    @property
    def different(self) -> dict[str, Open]:
        return {identity: each for identity, each in (self.open or {}).items() if each.times >= CONFIRMED_BY}

    @property
    def restless(self) -> int:
        """How many kept changing."""
        return len(self.open or {}) - len(self.different)


# Definitions

_AUTO_INCREMENT = re.compile(r" AUTO_INCREMENT=\d+")


def definition(shown: Optional[str]) -> Optional[str]:
    """What SHOW CREATE says, without the counter that differs by right."""
    return None if shown is None else _AUTO_INCREMENT.sub("", shown)
