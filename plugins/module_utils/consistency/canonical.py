# SPDX-License-Identifier: BSD-2-Clause
"""The digest of a row, computed by the server: the same for two rows exactly if all their columns are. Pure.

Checkers that put a separator between columns take ``('a#b', 'c')`` for ``('a', 'b#c')``. Here the text under the digest
can be taken apart again in one way only::

    column # column # ... # lengths # nulls

``nulls`` is a number with a bit for each column that may be NULL; what is NULL is left out, so from the right end it is
known which columns are there. ``lengths`` are those of all columns that may hold any bytes, but the last of them. What
other columns show never holds a ``#`` (numbers, dates, digests), or is always of the same length. So columns are taken
off from both ends, and the last one that may hold anything is what is left in the middle. The proof is a test: a parser
(tests/unit/consistency/test_canonical.py) gets the columns back.

How a type is shown, so that nothing is lost and no conversion comes between (a separator with a binary collation of its
own makes all of it bytes; of a mere ``_binary'#'`` beside a text column the server makes text of that column's set):

* texts and bytes as they are stored, in their own character set; large ones by a digest of their own, for a result is
  limited by ``max_allowed_packet``;
* FLOAT and DOUBLE as the eight bytes of a point's coordinate: as text a FLOAT is rounded to six digits;
* ENUM and SET by their number, BIT as a number, geometries with their SRID;
* JSON as text, which is all that a server shows of it: a date in it and the same date as a string look the same.

Where a server cannot compute a digest (``max_allowed_packet`` limits what it may build), the statement fails: NULL
would be left out of a range's digest on both servers, and of JSON an empty text would be shown. Of virtual generated
columns nothing is stored; they follow from the others, and are left out.
"""

from __future__ import annotations

import struct
from typing import Any, Mapping, NamedTuple, Optional, Sequence

from .layout import BYTES, GEOMETRIES, NAMED, REALS, TEXTS, WHOLE, ColumnFacts, Layout
from .lookup import quoted

LARGEST_INLINE = 1 << 16
"""Bytes of the largest column that stands in the text itself."""
LARGEST_TEXT = 1 << 21
"""Bytes of a row's text at most; of a table whose rows could be larger, more columns go by their digests."""

FLAGS = 60
"""Columns of which one number says which are NULL: one of 64 bits, computed exactly."""
_BETWEEN = "_binary'#' COLLATE `binary`"
_FAIL = "BIN_TO_UUID('larger than max_allowed_packet')"
"""SQL: fails, and its message quotes this text."""


def compared(layout: Layout) -> tuple[ColumnFacts, ...]:
    """The columns that have values of their own."""
    return tuple(column for column in layout.columns if column.stored)


class Plan(NamedTuple):
    """What a row's text is made of, in this order.

    :param shown: columns; NULL is left out. ``inline``: those of them that may show any bytes.
    :param lengths: columns whose length follows; left out where they are NULL.
    :param nulls: columns that may be NULL, by the number that tells it.
    """

    shown: tuple[ColumnFacts, ...]
    inline: tuple[ColumnFacts, ...]
    lengths: tuple[ColumnFacts, ...]
    nulls: tuple[tuple[ColumnFacts, ...], ...]


def plan(columns: Sequence[ColumnFacts]) -> Plan:
    inline = tuple(_inline(columns))
    nullable = tuple(column for column in columns if column.nullable)
    nulls = tuple(nullable[start : start + FLAGS] for start in range(0, len(nullable), FLAGS))
    return Plan(tuple(columns), inline, inline[:-1], nulls)


def text(columns: Sequence[ColumnFacts]) -> str:
    """SQL: the bytes of which ``digest`` is the digest."""
    planned = plan(columns)
    fields = [_shown(column, column in planned.inline) for column in planned.shown]
    fields += [f"LENGTH({quoted(column.name)})" for column in planned.lengths]
    fields += [
        " + ".join(
            f"{1 << place} * ISNULL({quoted(column.name)})" if place else f"ISNULL({quoted(column.name)})"
            for place, column in enumerate(group)
        )
        for group in planned.nulls
    ]
    # A table may have virtual columns only.
    return f"CONCAT_WS({_BETWEEN}, {', '.join(fields)})" if fields else "''"


def digest(columns: Sequence[ColumnFacts]) -> str:
    """SQL: the digest of these columns, 64 letters; never NULL."""
    return f"IFNULL(SHA2({text(columns)}, 256), {_FAIL})"


def column_digest(column: ColumnFacts) -> str:
    """SQL: the digest of one column; ``-`` for NULL."""
    own = digest([column])
    return f"IF({quoted(column.name)} IS NULL, '-', {own})" if column.nullable else own


def _inline(columns: Sequence[ColumnFacts]) -> list[ColumnFacts]:
    """The columns of any bytes that stand in the text themselves: the smallest first, as long as a row has room."""
    found = [column for column in columns if column.data_type in TEXTS | BYTES and column.octets <= LARGEST_INLINE]
    left = LARGEST_TEXT
    room = set()
    for column in sorted(found, key=lambda column: column.octets):
        left -= column.octets
        if left < 0:
            break
        room.add(column.name)
    return [column for column in found if column.name in room]


def _shown(column: ColumnFacts, inline: bool) -> str:
    """What stands for a column; NULL for NULL."""
    name = quoted(column.name)
    kind = column.data_type
    if kind in REALS:
        return f"ST_AsBinary(POINT({name}, 0))"
    if kind in NAMED:
        return f"CAST({name} AS UNSIGNED)"
    if kind == "bit":
        return f"{name} + 0"
    if kind == "json":
        # A text that is too large comes back empty, as no JSON text is.
        return _large(f"NULLIF(CAST({name} AS CHAR), '')", name)
    if kind in GEOMETRIES or kind == "vector":
        return _large(name, name)
    if kind in TEXTS or kind in BYTES:
        return name if inline else _large(name, name)
    return name


def _large(shown: str, name: str) -> str:
    return f"IFNULL(SHA2({shown}, 256), IF({name} IS NULL, NULL, {_FAIL}))"


def aggregate(columns: Sequence[ColumnFacts], *, multiset: bool = False) -> str:
    """SQL: ``number`` and ``digest`` of the rows of a SELECT; with ``multiset`` also ``total``, a sum by which rows
    that are there twice do not cancel each other, as they do in the exclusive or."""
    row = digest(columns)
    shown = f"COUNT(*) AS number, HEX(BIT_XOR(UNHEX({row}))) AS digest"
    if multiset:
        shown += f", CAST(SUM(CAST(CONV(LEFT({row}, 16), 16, 10) AS DECIMAL(20))) AS CHAR) AS total"
    return shown


# Keys as values


def key_values(columns: Sequence[ColumnFacts]) -> str:
    """SQL: the key's columns as ``k0``, ``k1``, in a form that ``key_of`` reads exactly."""
    return ", ".join(f"{_exact(column)} AS k{place}" for place, column in enumerate(columns))


def _exact(column: ColumnFacts) -> str:
    name = quoted(column.name)
    kind = column.data_type
    if kind in TEXTS or kind in BYTES:
        return f"HEX({name})"
    if kind in REALS:
        return f"HEX(ST_AsBinary(POINT({name}, 0)))"
    if kind in NAMED:
        return f"CAST({name} AS UNSIGNED)"
    if kind == "bit":
        return f"{name} + 0"
    if kind in ("tinyint", "smallint", "mediumint", "int", "bigint", "year"):
        return name
    return f"CAST({name} AS CHAR)"


def key_of(columns: Sequence[ColumnFacts], row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The values of ``key_values``, as ``lookup.term`` takes them: numbers, bytes of texts, others as text."""
    return tuple(_read(column, row[f"k{place}"]) for place, column in enumerate(columns))


def _read(column: ColumnFacts, value: Any) -> Any:
    kind = column.data_type
    if kind in TEXTS or kind in BYTES:
        return bytes.fromhex(value)
    if kind in REALS:
        return struct.unpack_from("<d", bytes.fromhex(value), 5)[0]
    if kind in WHOLE or kind in NAMED:
        return int(value)
    return str(value)


SHOWN = 200
"""Letters of a value that are shown."""


def shown_value(column: ColumnFacts) -> str:
    """SQL: the beginning of a value, for a person to read; NULL for NULL."""
    name = quoted(column.name)
    if column.data_type in BYTES or column.data_type in GEOMETRIES or column.data_type == "vector":
        return f"LEFT(HEX({name}), {SHOWN})"
    if column.data_type == "bit":
        name = f"{name} + 0"
    elif column.data_type == "float":
        name = f"CAST({name} AS DOUBLE)"  # all of its digits
    return f"LEFT(CAST({name} AS CHAR), {SHOWN})"


def shown_columns(columns: Optional[Sequence[ColumnFacts]], prefix: str) -> list[str]:
    """SQL: the beginnings of these columns' values as ``<prefix>0``, ``<prefix>1``."""
    return [f"{shown_value(column)} AS {prefix}{place}" for place, column in enumerate(columns or ())]
