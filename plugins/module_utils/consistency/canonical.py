# SPDX-License-Identifier: BSD-2-Clause
"""The digest of a row, computed by the server: the same for two rows exactly if all their columns are. Pure.

Checkers that put a separator between columns take ``('a#b', 'c')`` for ``('a', 'b#c')``. Here the text under the digest
can be taken apart again in one way only::

    column # column # ... # the last one # lengths # null

``lengths`` are those of the columns that may show any bytes, but for one of them, the last; -1 stands for NULL. They
are numbers, so from the right end they can be taken off. ``null`` says whether the last one is NULL, if it may be: then
it is left out. Then the columns are taken off from the left: what others show never holds a ``#`` (numbers, dates,
digests; ``-`` stands for NULL), is always of the same length, or ends by itself, as JSON does. What is left in the
middle is the last one. The proof is a test: a parser (tests/unit/consistency/test_canonical.py) gets the columns back.

Lengths and NULLs are most of what this costs a server beyond a checksum without them, so there are as few as can be:
the last column is one whose length is dear, and NULL is shown by what is there anyway.

How a type is shown, so that nothing is lost and no conversion comes between (a separator with a binary collation of its
own makes all of it bytes; of a mere ``_binary'#'`` beside a text column the server makes text of that column's set):

* texts, bytes and geometries (with their SRID) as they are stored, texts in their own character set; values that are
  large by a digest of their own, for a result is limited by ``max_allowed_packet``;
* FLOAT and DOUBLE as the eight bytes of a point's coordinate: as text a FLOAT is rounded to six digits;
* ENUM and SET by their number, BIT as a number, vectors in hexadecimal;
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

LARGEST_WHOLE = 1 << 16
"""Bytes of the largest column whose values always stand in the text themselves."""
LARGEST_SHORT = 1 << 13
"""Bytes of the largest value of a larger column, or of a geometry, that does."""
LARGEST_JSON = 1 << 18
"""Bytes of the largest JSON text that does."""
LARGEST_TEXT = 1 << 21
"""Bytes of a row's text at most; of a table whose rows could be larger, more columns go by their digests."""
POINT_BYTES = 25
_JSON_GROWTH = 8
"""A text of JSON has fewer than so many bytes for each that is stored: six for one in a string (``\\u0001``), and less
for numbers."""

_BETWEEN = "_binary'#' COLLATE `binary`"
_FAIL = "BIN_TO_UUID('larger than max_allowed_packet')"
"""SQL: fails, and its message quotes this text."""


def compared(layout: Layout) -> tuple[ColumnFacts, ...]:
    """The columns that have values of their own."""
    return tuple(column for column in layout.columns if column.stored)


PLAIN, FIXED, WHOLE_VALUE, SHORT, JSON_TEXT, DIGEST = "plain", "fixed", "whole", "short", "json", "digest"
"""How a column is shown: without any ``#``; always of the same length; any bytes; any bytes, but the digest of a value
that is too long, as its length says; JSON, but the digest after an ``s`` of one that is too long; by its digest. A
FLOAT's bytes never begin with ``-``, which stands for NULL; nor does a JSON text that ends there."""


class Plan(NamedTuple):
    """What a row's text is made of, in this order.

    :param shown: columns but for the last, and how each is shown.
    :param last: of any bytes, and left out where it is NULL.
    :param lengths: columns whose length follows; -1 where they are NULL.
    """

    shown: tuple[tuple[ColumnFacts, str], ...]
    last: Optional[ColumnFacts]
    lengths: tuple[ColumnFacts, ...]


def plan(columns: Sequence[ColumnFacts]) -> Plan:
    forms = _forms(columns)
    whole = [column for column in columns if forms[column.name] == WHOLE_VALUE]
    # A CHAR has to be read through to tell where it ends: nobody asks for that length who need not.
    last = max(whole, key=lambda column: (column.data_type == "char", column.octets), default=None)
    shown = tuple((column, forms[column.name]) for column in columns if column is not last)
    lengths = tuple(column for column, form in shown if form in (WHOLE_VALUE, SHORT))
    return Plan(shown, last, lengths)


def text(columns: Sequence[ColumnFacts]) -> str:
    """SQL: the bytes of which ``digest`` is the digest."""
    planned = plan(columns)
    fields = [_shown(column, form) for column, form in planned.shown]
    if planned.last is not None:
        fields.append(quoted(planned.last.name))
    for column in planned.lengths:
        length = f"LENGTH({quoted(column.name)})"
        fields.append(f"IFNULL({length}, -1)" if column.nullable else length)
    if planned.last is not None and planned.last.nullable:
        fields.append(f"ISNULL({quoted(planned.last.name)})")
    # A table may have virtual columns only.
    return f"CONCAT_WS({_BETWEEN}, {', '.join(fields)})" if fields else "''"


def digest(columns: Sequence[ColumnFacts]) -> str:
    """SQL: the digest of these columns, 64 letters; never NULL."""
    return f"IFNULL(SHA2({text(columns)}, 256), {_FAIL})"


def column_digest(column: ColumnFacts) -> str:
    """SQL: the digest of one column; ``-`` for NULL."""
    own = digest([column])
    return f"IF({quoted(column.name)} IS NULL, '-', {own})" if column.nullable else own


def _forms(columns: Sequence[ColumnFacts]) -> dict[str, str]:
    """By name. Columns of which a row has no room go by their digest: the smallest come first."""
    forms = {}
    left = LARGEST_TEXT
    for column in sorted(columns, key=_most):
        left -= _most(column)
        forms[column.name] = _form(column) if left >= 0 or not _most(column) else DIGEST
    return forms


def _form(column: ColumnFacts) -> str:
    kind = column.data_type
    if kind in REALS or (kind in ("binary", "point") and not column.nullable):
        return FIXED
    if kind in TEXTS or kind in BYTES:
        return WHOLE_VALUE if column.octets <= LARGEST_WHOLE else SHORT
    if kind in GEOMETRIES:
        return SHORT
    return JSON_TEXT if kind == "json" else PLAIN


def _most(column: ColumnFacts) -> int:
    """Bytes of its text at most, when it is not shown by its digest; 0: a few."""
    kind = column.data_type
    if kind in TEXTS or kind in BYTES:
        return column.octets if column.octets <= LARGEST_WHOLE else LARGEST_SHORT
    if kind in GEOMETRIES:
        return LARGEST_SHORT
    if kind == "vector":
        return 2 * (column.octets or LARGEST_WHOLE)
    return LARGEST_JSON if kind == "json" else 0


def _shown(column: ColumnFacts, form: str) -> str:
    """What stands for a column."""
    name = quoted(column.name)
    if form == WHOLE_VALUE:
        return name
    if form == SHORT:
        return f"IF(LENGTH({name}) > {LARGEST_SHORT}, IFNULL(SHA2({name}, 256), {_FAIL}), {name})"
    shown = _plain(column)
    if form == JSON_TEXT:
        shown = (
            # The text's length decides, which is the same on two servers; what is stored may not be. But the text is
            # made for that, so it is not asked for where it cannot matter. A text that is too large comes back empty.
            f"IF(JSON_STORAGE_SIZE({name}) > {LARGEST_JSON // _JSON_GROWTH}"
            f" AND LENGTH({name}) NOT BETWEEN 1 AND {LARGEST_JSON}, CONCAT('s', {_digest_of(column)}), {name})"
        )
    elif form == DIGEST:
        shown = f"IF({name} IS NULL, NULL, {_digest_of(column)})" if column.nullable else _digest_of(column)
    return f"IFNULL({shown}, _binary'-')" if column.nullable else shown


def _plain(column: ColumnFacts) -> str:
    name = quoted(column.name)
    kind = column.data_type
    if kind in REALS:
        return f"POINT({name}, 0)"
    if kind in NAMED:
        return f"CAST({name} AS UNSIGNED)"
    if kind == "bit":
        return f"{name} + 0"
    return f"HEX({name})" if kind == "vector" else name


def _digest_of(column: ColumnFacts) -> str:
    """Of a value that is not NULL."""
    name = quoted(column.name)
    # A text that is too large comes back empty, as no JSON text is.
    shown = f"NULLIF(CAST({name} AS CHAR), '')" if column.data_type == "json" else name
    return f"IFNULL(SHA2({shown}, 256), {_FAIL})"


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
