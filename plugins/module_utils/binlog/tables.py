# SPDX-License-Identifier: BSD-2-Clause
"""What a TABLE_MAP event says of its table: columns with types, names, character sets, members, key. Pure.

Types and signedness are always there. Names, the primary key, the members of ENUM and SET and the visibility are only
there with ``binlog_row_metadata=FULL``; ``Table.unknown`` says what an event does not tell.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, Optional, Sequence

from ..errors import HaError
from . import charsets
from .events import Cursor, FormatDescription, Kind, malformed

_WHAT = "TABLE_MAP event"


class ColumnType(enum.IntEnum):
    """Types as the binary log numbers them, CHAR and its relatives told apart."""

    TINY = 1
    SHORT = 2
    LONG = 3
    FLOAT = 4
    DOUBLE = 5
    TIMESTAMP = 7
    LONGLONG = 8
    INT24 = 9
    DATE = 10
    TIME = 11
    DATETIME = 12
    YEAR = 13
    VARCHAR = 15
    BIT = 16
    TIMESTAMP2 = 17
    DATETIME2 = 18
    TIME2 = 19
    VECTOR = 242
    JSON = 245
    NEWDECIMAL = 246
    ENUM = 247
    SET = 248
    BLOB = 252
    STRING = 254
    GEOMETRY = 255


_NUMERIC = frozenset(
    {
        ColumnType.TINY,
        ColumnType.SHORT,
        ColumnType.INT24,
        ColumnType.LONG,
        ColumnType.LONGLONG,
        ColumnType.NEWDECIMAL,
        ColumnType.FLOAT,
        ColumnType.DOUBLE,
        ColumnType.YEAR,
    }
)
"""Types that have a bit of signedness; YEAR is one of them."""
_CHARACTER = frozenset({ColumnType.VARCHAR, ColumnType.BLOB, ColumnType.STRING, ColumnType.VECTOR})
"""Types that have a collation; VECTOR is one of them, GEOMETRY and JSON are not."""
_LISTED = frozenset({ColumnType.ENUM, ColumnType.SET})
_OLD_TEMPORAL = frozenset({ColumnType.TIMESTAMP, ColumnType.TIME, ColumnType.DATETIME})
_ONE_BYTE_OF_METADATA = frozenset(
    {
        ColumnType.FLOAT,
        ColumnType.DOUBLE,
        ColumnType.BLOB,
        ColumnType.JSON,
        ColumnType.GEOMETRY,
        ColumnType.VECTOR,
        ColumnType.TIMESTAMP2,
        ColumnType.DATETIME2,
        ColumnType.TIME2,
    }
)
_ALIASES = {253: ColumnType.VARCHAR, 249: ColumnType.BLOB, 250: ColumnType.BLOB, 251: ColumnType.BLOB}
"""VAR_STRING and the blobs by size, which the log does not use and MySQL's readers understand."""


class _Field(enum.IntEnum):
    """Fields of optional metadata."""

    SIGNEDNESS = 1
    DEFAULT_CHARSET = 2
    COLUMN_CHARSET = 3
    COLUMN_NAME = 4
    SET_STR_VALUE = 5
    ENUM_STR_VALUE = 6
    GEOMETRY_TYPE = 7
    SIMPLE_PRIMARY_KEY = 8
    PRIMARY_KEY_WITH_PREFIX = 9
    ENUM_AND_SET_DEFAULT_CHARSET = 10
    ENUM_AND_SET_COLUMN_CHARSET = 11
    COLUMN_VISIBILITY = 12


@dataclasses.dataclass(frozen=True)
class Column:
    """One column.

    :param name: ``@1`` for the first, and so on, when the event does not tell names.
    :param size: by type: bytes at most (CHAR, VARCHAR), bytes of the length (BLOB, JSON, GEOMETRY, VECTOR) or of the
        value (ENUM, SET), bits (BIT), digits (DECIMAL), digits of the fraction (TIME, DATETIME, TIMESTAMP).
    :param scale: digits after the point of a DECIMAL.
    :param collation: MySQL's number of the collation; None when not told, or not a text.
    :param members: of an ENUM or SET; None when not told, or told in a character set that is not decoded.
    :param geometry: MySQL's number of the geometry type (0: any).
    """

    name: str
    type: ColumnType
    size: int = 0
    scale: int = 0
    nullable: bool = True
    unsigned: bool = False
    collation: Optional[int] = None
    members: Optional[tuple[str, ...]] = None
    geometry: int = 0
    visible: bool = True


@dataclasses.dataclass(frozen=True)
class KeyPart:
    """A column of the primary key, by its place from 0. ``prefix``: how many characters of it; 0 for the whole."""

    column: int
    prefix: int = 0


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as one TABLE_MAP event describes it.

    :param key: the primary key; empty when there is none or the event does not tell.
    :param unknown: what the event does not tell and a reader may want: ``names`` (and with them the key and the
        visibility), ``signedness`` (taken as signed), ``charsets`` (texts stay bytes), ``members``.
    """

    table_id: int
    schema: str
    table: str
    columns: tuple[Column, ...]
    key: tuple[KeyPart, ...] = ()
    unknown: tuple[str, ...] = ()


def unsupported(what: str, why: str) -> HaError:
    """Bytes that are not broken, and of a kind that is not decoded."""
    return HaError(
        "binlog_rows_unsupported",
        f"rows that cannot be decoded: {what}: {why}",
        evidence={"what": what, "why": why},
        next_step="Read these rows with mysqlbinlog --verbose of the server's version.",
    )


def decode_table(body: bytes, format_: FormatDescription) -> Table:
    """Takes the whole body of the event.

    :raises HaError: ``binlog_event_malformed``; ``binlog_rows_unsupported`` for a column type that is not known, and
        for TIME, DATETIME and TIMESTAMP of before MySQL 5.6.
    """
    field = Cursor(body, _WHAT)
    table_id = field.unsigned(4 if format_.post_header_length(Kind.TABLE_MAP) == 6 else 6)
    field.take(2)
    names = []
    for _number in range(2):
        names.append(field.take(field.packed()).decode("utf-8", "backslashreplace"))
        field.take(1)
    types = field.take(field.packed())
    metadata = Cursor(field.take(field.packed()), _WHAT)
    columns = [_column(number, code, metadata) for number, code in enumerate(types)]
    if metadata.left:
        raise malformed(_WHAT, f"{metadata.left} bytes of metadata too many")
    nullable = field.take((len(types) + 7) // 8)
    columns = [
        dataclasses.replace(column, nullable=bool(nullable[number >> 3] >> (number & 7) & 1))
        for number, column in enumerate(columns)
    ]
    described, key, unknown = _described(columns, _fields(field))
    return Table(table_id, names[0], names[1], described, key, unknown)


def _column(number: int, code: int, metadata: Cursor) -> Column:
    name = f"@{number + 1}"
    code = _ALIASES.get(code, code)
    if code not in ColumnType._value2member_map_:
        raise unsupported(f"column {number + 1}", f"type {code}")
    kind = ColumnType(code)
    if kind in _OLD_TEMPORAL:
        raise unsupported(f"column {number + 1}", f"{kind.name} in the format of before MySQL 5.6")
    if kind in _ONE_BYTE_OF_METADATA:
        return Column(name, kind, metadata.unsigned(1))
    if kind is ColumnType.VARCHAR:
        return Column(name, kind, metadata.unsigned(2))
    if kind is ColumnType.NEWDECIMAL:
        digits, scale = metadata.unsigned(1), metadata.unsigned(1)
        if not 1 <= digits <= 65 or scale > digits:
            raise malformed(_WHAT, f"DECIMAL({digits},{scale})")
        return Column(name, kind, digits, scale)
    if kind is ColumnType.BIT:
        bits, whole = metadata.unsigned(1), metadata.unsigned(1)
        if not 1 <= whole * 8 + bits <= 64:
            raise malformed(_WHAT, f"BIT({whole * 8 + bits})")
        return Column(name, kind, whole * 8 + bits)
    if kind in _LISTED or kind is ColumnType.STRING:
        return _string(name, metadata.unsigned(1), metadata.unsigned(1))
    return Column(name, kind)


def _string(name: str, real: int, size: int) -> Column:
    """CHAR, BINARY, ENUM and SET share one type; two bits of the real type hold the high bits of a long CHAR's size."""
    if real in (ColumnType.ENUM, ColumnType.SET):
        if not 1 <= size <= (2 if real == ColumnType.ENUM else 8):
            raise malformed(_WHAT, f"{ColumnType(real).name} of {size} bytes")
        return Column(name, ColumnType(real), size)
    if real | 0x30 != ColumnType.STRING:
        raise malformed(_WHAT, f"a CHAR that is of type {real}")
    return Column(name, ColumnType.STRING, size | ((real & 0x30) ^ 0x30) << 4)


def _fields(field: Cursor) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while field.left:
        kind = field.unsigned(1)
        found[kind] = field.take(field.packed())
    return found


def _described(
    columns: Sequence[Column], fields: dict[int, bytes]
) -> tuple[tuple[Column, ...], tuple[KeyPart, ...], tuple[str, ...]]:
    """The columns with what the optional metadata adds, the key, and what is not told."""
    changes: list[dict[str, Any]] = [{} for _column_ in columns]
    unknown = []

    def of(kinds: frozenset[ColumnType]) -> list[int]:
        return [number for number, column in enumerate(columns) if column.type in kinds]

    numeric = of(_NUMERIC)
    if _Field.SIGNEDNESS in fields:
        for number, bit in zip(numeric, _bits(fields[_Field.SIGNEDNESS], len(numeric))):
            changes[number]["unsigned"] = bit
    elif numeric:
        unknown.append("signedness")
    texts, listed = of(_CHARACTER), of(_LISTED)
    told = _collations(fields, _Field.DEFAULT_CHARSET, _Field.COLUMN_CHARSET, len(texts))
    if texts and told is None:
        unknown.append("charsets")
    for number, collation in zip(texts, told or ()):
        changes[number]["collation"] = collation
    told = _collations(fields, _Field.ENUM_AND_SET_DEFAULT_CHARSET, _Field.ENUM_AND_SET_COLUMN_CHARSET, len(listed))
    collations = dict(zip(listed, told or ()))
    for kind, which in ((_Field.ENUM_STR_VALUE, ColumnType.ENUM), (_Field.SET_STR_VALUE, ColumnType.SET)):
        places = of(frozenset({which}))
        if places and kind not in fields:
            unknown.append("members")
            continue
        values = Cursor(fields.get(kind, b""), _WHAT)
        for number in places:
            count = values.packed()
            of_labels = collations.get(number)
            codec = charsets.UTF8 if of_labels is None else charsets.codec_of(of_labels)
            changes[number]["collation"] = of_labels
            labels = [values.take(values.packed()) for _member in range(_within(count, values.left))]
            members = tuple(charsets.text(label, codec) for label in labels)
            # What would stand for bytes that are not decoded is no label of the table; its number is.
            changes[number]["members"] = None if None in members else members
    if _Field.GEOMETRY_TYPE in fields:
        values = Cursor(fields[_Field.GEOMETRY_TYPE], _WHAT)
        for number in of(frozenset({ColumnType.GEOMETRY})):
            changes[number]["geometry"] = values.packed()
    if _Field.COLUMN_NAME in fields:
        values = Cursor(fields[_Field.COLUMN_NAME], _WHAT)
        for change in changes:
            change["name"] = values.take(values.packed()).decode("utf-8", "backslashreplace")
    elif columns:
        unknown.append("names")
    if _Field.COLUMN_VISIBILITY in fields:
        for change, bit in zip(changes, _bits(fields[_Field.COLUMN_VISIBILITY], len(changes))):
            change["visible"] = bit
    whole = tuple(dataclasses.replace(column, **change) for column, change in zip(columns, changes))
    return whole, _key(fields, len(columns)), tuple(dict.fromkeys(unknown))


def _within(count: int, left: int) -> int:
    if count > left:
        raise malformed(_WHAT, f"{count} members in {left} bytes")
    return count


def _bits(data: bytes, count: int) -> list[bool]:
    """A bitmap whose first bit is the highest of the first byte."""
    if len(data) < (count + 7) // 8:
        raise malformed(_WHAT, f"{len(data)} bytes for {count} bits")
    return [bool(data[number >> 3] << (number & 7) & 0x80) for number in range(count)]


def _collations(fields: dict[int, bytes], default: int, each: int, count: int) -> Optional[list[int]]:
    """One collation for each of ``count`` columns: a default and the exceptions by place, or all of them."""
    if default in fields:
        values = Cursor(fields[default], _WHAT)
        found = [values.packed()] * count
        while values.left:
            place, collation = values.packed(), values.packed()
            if place >= count:
                raise malformed(_WHAT, f"a character set for text {place + 1} of {count}")
            found[place] = collation
        return found
    if each in fields:
        values = Cursor(fields[each], _WHAT)
        return [values.packed() for _number in range(count)]
    return None


def _key(fields: dict[int, bytes], count: int) -> tuple[KeyPart, ...]:
    parts = []
    simple, prefixed = fields.get(_Field.SIMPLE_PRIMARY_KEY), fields.get(_Field.PRIMARY_KEY_WITH_PREFIX)
    values = Cursor(simple or prefixed or b"", _WHAT)
    while values.left:
        part = KeyPart(values.packed(), values.packed() if simple is None else 0)
        if part.column >= count:
            raise malformed(_WHAT, f"column {part.column + 1} of {count} in the key")
        parts.append(part)
    return tuple(parts)
