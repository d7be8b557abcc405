# SPDX-License-Identifier: BSD-2-Clause
"""Column values as row events hold them. Pure.

``reader(column)`` gives a function that takes the event's bytes and a position and returns the value and the position
behind it. It is made once for each column of a table map and called for every row, so it does as little as it can: it
may read past the end (a slice is then shorter, and the position behind it is beyond the end), which whoever reads whole
rows notices; or raise IndexError, ``struct.error``, ValueError or ``binlog_event_malformed``.

What comes out, lossless: whole numbers, BIT and YEAR as int; DECIMAL as ``Decimal`` with all its digits; FLOAT and
DOUBLE as float; dates and times as text as the server writes them, TIMESTAMP in UTC; texts as str, and as bytes where
the character set is not known here (``charsets``); BINARY, BLOB, GEOMETRY (SRID and WKB) and VECTOR as bytes; ENUM and
SET as text, or as their number when the members are not told; JSON as text.
"""

from __future__ import annotations

import decimal
import functools
import struct
from typing import Any, Callable, NamedTuple, Optional

from . import charsets, json_binary
from .decimals import DIGIT_BYTES, decimal_size, decode_decimal
from .events import malformed
from .tables import Column, ColumnType, unsupported

Reader = Callable[[bytes, int], "tuple[Any, int]"]


def reader(column: Column) -> Reader:
    """:raises HaError: ``binlog_rows_unsupported``."""
    make = _MAKERS.get(column.type)
    if make is None:
        raise unsupported(column.name, f"type {column.type}")
    return make(column)


class Extent(NamedTuple):
    """How long a value is, for whoever only steps over it: ``fixed`` bytes, or, where that is 0, as many as the number
    in its first ``counted`` bytes says, and these."""

    fixed: int
    counted: int = 0


def extent(column: Column) -> Extent:
    """:raises HaError: ``binlog_rows_unsupported``."""
    kind, size = column.type, column.size
    if kind in _WIDTHS:
        return Extent(_WIDTHS[kind])
    if kind in (ColumnType.VARCHAR, ColumnType.STRING):
        return Extent(0, 1 if size < 256 else 2)
    if kind in (ColumnType.BLOB, ColumnType.GEOMETRY, ColumnType.VECTOR, ColumnType.JSON):
        if not 1 <= size <= 4:
            raise malformed("TABLE_MAP event", f"a {kind.name} whose length has {size} bytes")
        return Extent(0, size)
    if kind in (ColumnType.ENUM, ColumnType.SET):
        return Extent(size)
    if kind is ColumnType.BIT:
        return Extent((size + 7) // 8)
    if kind is ColumnType.NEWDECIMAL:
        return Extent(decimal_size(size, column.scale))
    if kind in _WHOLE_SECONDS:
        return Extent(_WHOLE_SECONDS[kind] + _fraction_bytes(size))
    raise unsupported(column.name, f"type {kind}")


_WIDTHS = {
    ColumnType.TINY: 1,
    ColumnType.SHORT: 2,
    ColumnType.INT24: 3,
    ColumnType.LONG: 4,
    ColumnType.LONGLONG: 8,
    ColumnType.FLOAT: 4,
    ColumnType.DOUBLE: 8,
    ColumnType.YEAR: 1,
    ColumnType.DATE: 3,
}
_WHOLE_SECONDS = {ColumnType.DATETIME2: 5, ColumnType.TIMESTAMP2: 4, ColumnType.TIME2: 3}
"""Bytes without those of the fraction."""


# Numbers


def _fixed(form: str) -> Reader:
    layout = struct.Struct(form)
    unpack, size = layout.unpack_from, layout.size

    def read(data: bytes, position: int) -> tuple[Any, int]:
        return unpack(data, position)[0], position + size

    return read


def _integer(signed: str, unsigned: str) -> Callable[[Column], Reader]:
    def make(column: Column) -> Reader:
        return _fixed(unsigned if column.unsigned else signed)

    return make


def _int24(column: Column) -> Reader:
    signed = not column.unsigned

    def read(data: bytes, position: int) -> tuple[int, int]:
        end = position + 3
        return int.from_bytes(data[position:end], "little", signed=signed), end

    return read


def _year(_column: Column) -> Reader:
    def read(data: bytes, position: int) -> tuple[int, int]:
        year = data[position]
        return year and year + 1900, position + 1

    return read


def _bit(column: Column) -> Reader:
    size = (column.size + 7) // 8

    def read(data: bytes, position: int) -> tuple[int, int]:
        end = position + size
        return int.from_bytes(data[position:end], "big"), end

    return read


def _decimal(column: Column) -> Reader:
    digits, scale = column.size, column.scale
    size = decimal_size(digits, scale)
    # Money is mostly the same few forms; the group's own loop costs more than all the rest of a row.
    if digits - scale <= 18 and scale <= 9:
        return _short_decimal(digits, scale)

    def read(data: bytes, position: int) -> tuple[decimal.Decimal, int]:
        end = position + size
        return decode_decimal(data[position:end], digits, scale), end

    return read


def _short_decimal(digits: int, scale: int) -> Reader:
    """At most two groups before the point and one after it."""
    size = decimal_size(digits, scale)
    bits = size * 8
    sign, all_bits = 1 << bits - 1, (1 << bits) - 1
    after = DIGIT_BYTES[scale] * 8
    after_mask = (1 << after) - 1
    nine = digits - scale >= 9
    make, ten = decimal.Decimal, 10**scale
    point = -scale
    exact = decimal.Context(prec=40)

    def read(data: bytes, position: int) -> tuple[decimal.Decimal, int]:
        end = position + size
        raw = int.from_bytes(data[position:end], "big") ^ sign
        negative = raw & sign
        if negative:
            raw ^= all_bits
        whole = raw >> after
        if nine:
            whole = (whole >> 32) * 1000000000 + (whole & 0xFFFFFFFF)
        number = whole * ten + (raw & after_mask)
        return make(-number if negative else number).scaleb(point, exact), end

    return read


# Dates and times


def _date(_column: Column) -> Reader:
    def read(data: bytes, position: int) -> tuple[str, int]:
        end = position + 3
        raw = int.from_bytes(data[position:end], "little")
        return f"{raw >> 9:04d}-{raw >> 5 & 15:02d}-{raw & 31:02d}", end

    return read


def _fraction_bytes(digits: int) -> int:
    if digits > 6:
        raise malformed("TABLE_MAP event", f"a fraction of {digits} digits")
    return (digits + 1) // 2


def _fraction(value: int, digits: int) -> str:
    """An odd number of digits is stored with one more, which is zero."""
    if not digits:
        return ""
    return "." + f"{value:0{digits + digits % 2}d}"[:digits]


def _datetime(column: Column) -> Reader:
    digits = column.size
    more = _fraction_bytes(digits)

    def read(data: bytes, position: int) -> tuple[str, int]:
        middle = position + 5
        end = middle + more
        raw = int.from_bytes(data[position:middle], "big") ^ 0x8000000000
        month = raw >> 22
        text = (
            f"{month // 13:04d}-{month % 13:02d}-{raw >> 17 & 31:02d}"
            f" {raw >> 12 & 31:02d}:{raw >> 6 & 63:02d}:{raw & 63:02d}"
        )
        if more:
            text += _fraction(int.from_bytes(data[middle:end], "big"), digits)
        return text, end

    return read


@functools.lru_cache(maxsize=1024)
def _second(epoch: int) -> str:
    """A moment in UTC. Rows of one statement mostly carry the same few seconds."""
    if not epoch:
        return "0000-00-00 00:00:00"
    days, seconds = divmod(epoch, 86400)
    # Years that begin in March: the leap day is then the last one.
    era, day = divmod(days + 719468, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    year += 400 * era + (month > 9)
    month += -9 if month > 9 else 3
    return f"{year:04d}-{month:02d}-{day + 1:02d} {seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _timestamp(column: Column) -> Reader:
    digits = column.size
    more = _fraction_bytes(digits)

    def read(data: bytes, position: int) -> tuple[str, int]:
        middle = position + 4
        end = middle + more
        text = _second(int.from_bytes(data[position:middle], "big"))
        if more:
            text += _fraction(int.from_bytes(data[middle:end], "big"), digits)
        return text, end

    return read


def _time(column: Column) -> Reader:
    """Sign, ten bits of hours, minutes, seconds and the fraction as one number; negative ones are its complement."""
    digits = column.size
    more = _fraction_bytes(digits)
    size, shift = 3 + more, more * 8
    zero = 0x800000 << shift

    def read(data: bytes, position: int) -> tuple[str, int]:
        end = position + size
        raw = int.from_bytes(data[position:end], "big") - zero
        sign = ""
        if raw < 0:
            sign, raw = "-", -raw
        seconds, part = raw >> shift, raw & (1 << shift) - 1
        text = f"{sign}{seconds >> 12 & 1023:02d}:{seconds >> 6 & 63:02d}:{seconds & 63:02d}"
        return text + _fraction(part, digits), end

    return read


# Texts and bytes


def _counted(width: int, convert: Optional[Callable[[bytes], Any]]) -> Reader:
    """Bytes behind their length."""
    if width == 1:

        def read_short(data: bytes, position: int) -> tuple[Any, int]:
            start = position + 1
            end = start + data[position]
            return (convert(data[start:end]) if convert else data[start:end]), end

        return read_short

    def read(data: bytes, position: int) -> tuple[Any, int]:
        start = position + width
        end = start + int.from_bytes(data[position:start], "little")
        return (convert(data[start:end]) if convert else data[start:end]), end

    return read


def _converter(column: Column) -> Optional[Callable[[bytes], Any]]:
    codec = charsets.codec_of(column.collation)
    return None if codec is None else charsets.decoder(codec)


def _varchar(column: Column) -> Reader:
    return _counted(1 if column.size < 256 else 2, _converter(column))


def _char(column: Column) -> Reader:
    """The server strips what pads a value: spaces, and of BINARY zero bytes, which belong to the value."""
    convert = _padder(column.size) if column.collation == charsets.BINARY else _converter(column)
    return _counted(1 if column.size < 256 else 2, convert)


def _padder(size: int) -> Callable[[bytes], bytes]:
    def pad(data: bytes) -> bytes:
        return data.ljust(size, b"\0")

    return pad


def _blob(column: Column) -> Reader:
    if not 1 <= column.size <= 4:
        raise malformed("TABLE_MAP event", f"a BLOB whose length has {column.size} bytes")
    return _counted(column.size, _converter(column))


def _json(column: Column) -> Reader:
    if not 1 <= column.size <= 4:
        raise malformed("TABLE_MAP event", f"a JSON whose length has {column.size} bytes")
    width = column.size

    def read(data: bytes, position: int) -> tuple[str, int]:
        start = position + width
        end = start + int.from_bytes(data[position:start], "little")
        return json_binary.text_of(data[start:end]), end

    return read


# Lists


def _enum(column: Column) -> Reader:
    members, size = column.members, column.size

    def read(data: bytes, position: int) -> tuple[Any, int]:
        end = position + size
        number = int.from_bytes(data[position:end], "little")
        if members is None:
            return number, end
        return members[number - 1] if number else "", end

    return read


def _set(column: Column) -> Reader:
    members, size = column.members, column.size

    def read(data: bytes, position: int) -> tuple[Any, int]:
        end = position + size
        bits = int.from_bytes(data[position:end], "little")
        if members is None:
            return bits, end
        if bits >> len(members):
            raise malformed("row event", f"a SET of {len(members)} members with bits {bits:#x}")
        return ",".join(member for number, member in enumerate(members) if bits >> number & 1), end

    return read


_MAKERS: dict[ColumnType, Callable[[Column], Reader]] = {
    ColumnType.TINY: _integer("<b", "<B"),
    ColumnType.SHORT: _integer("<h", "<H"),
    ColumnType.INT24: _int24,
    ColumnType.LONG: _integer("<i", "<I"),
    ColumnType.LONGLONG: _integer("<q", "<Q"),
    ColumnType.FLOAT: lambda _column: _fixed("<f"),
    ColumnType.DOUBLE: lambda _column: _fixed("<d"),
    ColumnType.NEWDECIMAL: _decimal,
    ColumnType.BIT: _bit,
    ColumnType.YEAR: _year,
    ColumnType.DATE: _date,
    ColumnType.DATETIME2: _datetime,
    ColumnType.TIMESTAMP2: _timestamp,
    ColumnType.TIME2: _time,
    ColumnType.VARCHAR: _varchar,
    ColumnType.STRING: _char,
    ColumnType.BLOB: _blob,
    ColumnType.GEOMETRY: _blob,
    ColumnType.VECTOR: _blob,
    ColumnType.JSON: _json,
    ColumnType.ENUM: _enum,
    ColumnType.SET: _set,
}
