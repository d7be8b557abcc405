# SPDX-License-Identifier: BSD-2-Clause
"""MySQL's binary JSON, as a JSON column holds it, to JSON text. Pure.

A document is a byte of type and a value. Objects and arrays are a count, their size, a table of entries that name
offsets from their own beginning (small numbers and literals stand in the entry itself), then keys and values; with two
bytes for each number in the small form and four in the large one.

The text says what the value is, as the server's own does: DECIMAL as a number with all its digits, dates and times as
text, other opaque values as ``base64:type252:...``. It is the same JSON as the server's, though not always letter by
letter: of doubles it writes the shortest form that reads back the same.

Source: ``sql-common/json_binary.h`` of MySQL.
"""

from __future__ import annotations

import base64
import json
import struct
from typing import Callable

from ..errors import HaError
from .decimals import decimal_size, decode_decimal
from .events import Cursor, malformed

_DEEPEST = 101
"""The server refuses documents deeper than 100."""

_SMALL_OBJECT, _LARGE_OBJECT, _LARGE_ARRAY, _LITERAL = 0, 1, 3, 4
_STRING, _OPAQUE = 0x0C, 0x0F
_LITERALS = {0: "null", 1: "true", 2: "false"}
_NUMBERS = {
    0x05: struct.Struct("<h"),
    0x06: struct.Struct("<H"),
    0x07: struct.Struct("<i"),
    0x08: struct.Struct("<I"),
    0x09: struct.Struct("<q"),
    0x0A: struct.Struct("<Q"),
    0x0B: struct.Struct("<d"),
}
_DECIMAL, _DATE, _TIME, _DATETIME, _TIMESTAMP = 246, 10, 11, 12, 7


def text_of(data: bytes) -> str:
    """The document as JSON text. No bytes at all are ``null``, as the server reads them.

    :raises HaError: ``binlog_event_malformed``.
    """
    if not data:
        return "null"
    try:
        return _Document(data).value(data[0], 1, len(data), 1)
    except (IndexError, struct.error, ValueError) as error:
        raise _broken(str(error)) from error


def _broken(why: str) -> HaError:
    return malformed("JSON value", why)


class _Document:
    def __init__(self, data: bytes) -> None:
        self._data = data
        # Broken offsets could let every array hold itself several times; no document has more values than bytes.
        self._left = len(data)

    def value(self, kind: int, start: int, end: int, depth: int) -> str:
        """The value of that type in ``data[start:end]``."""
        data = self._data
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise _broken("more values than it can hold")
        number = _NUMBERS.get(kind)
        if number is not None:
            if start + number.size > end:
                raise _broken("a number beyond its end")
            value = number.unpack_from(data, start)[0]
            return repr(value).replace("e+", "e") if kind == 0x0B else str(value)
        if kind == _LITERAL:
            return _literal(data[start])
        if kind == _STRING:
            length, start = self._length(start)
            return json.dumps(self._bytes(start, length, end).decode("utf-8"), ensure_ascii=False)
        if kind == _OPAQUE:
            of_type = data[start]
            length, start = self._length(start + 1)
            return _opaque(of_type, self._bytes(start, length, end))
        if kind <= _LARGE_ARRAY:
            return self._container(kind, start, end, depth)
        raise _broken(f"type {kind}")

    def _bytes(self, start: int, length: int, end: int) -> bytes:
        if start + length > end:
            raise _broken(f"{length} bytes at {start}, and {end} is the end")
        return self._data[start : start + length]

    def _length(self, position: int) -> tuple[int, int]:
        """Seven bits a byte, the lowest first."""
        length = 0
        for number in range(5):
            byte = self._data[position + number]
            length |= (byte & 0x7F) << 7 * number
            if not byte & 0x80:
                return length, position + number + 1
        raise _broken("a length of more than five bytes")

    def _container(self, kind: int, start: int, end: int, depth: int) -> str:
        large = kind in (_LARGE_OBJECT, _LARGE_ARRAY)
        is_object = kind in (_SMALL_OBJECT, _LARGE_OBJECT)
        width = 4 if large else 2
        field = Cursor(self._data, "JSON value", start)
        count, size = field.unsigned(width), field.unsigned(width)
        if start + size > end or count * (1 + width) > size:
            raise _broken(f"{count} values in {size} bytes at {start}, and {end} is the end")
        end = start + size
        names = []
        if is_object:
            for _number in range(count):
                offset, length = field.unsigned(width), field.unsigned(2)
                name = self._bytes(start + offset, length, end).decode("utf-8")
                names.append(json.dumps(name, ensure_ascii=False) + ": ")
        values = []
        for _number in range(count):
            of_type = field.unsigned(1)
            inlined = _INLINED.get(of_type)
            place = field.position
            offset = field.unsigned(width)
            if inlined is not None and inlined <= width:
                values.append(self.value(of_type, place, place + width, depth + 1))
            else:
                values.append(self.value(of_type, start + offset, end, depth + 1))
        if is_object:
            return "{" + ", ".join(name + value for name, value in zip(names, values)) + "}"
        return "[" + ", ".join(values) + "]"


_INLINED = {_LITERAL: 1, 0x05: 2, 0x06: 2, 0x07: 4, 0x08: 4}
"""Bytes of the values that stand in the entry, if the entry is wide enough."""


def _literal(byte: int) -> str:
    if byte not in _LITERALS:
        raise _broken(f"literal {byte}")
    return _LITERALS[byte]


def _opaque(of_type: int, data: bytes) -> str:
    show = _OPAQUES.get(of_type)
    if show is None:
        return f'"base64:type{of_type}:{base64.b64encode(data).decode()}"'
    return show(data)


def _decimal(data: bytes) -> str:
    digits, scale = data[0], data[1]
    if not 1 <= digits <= 65 or scale > digits or len(data) != 2 + decimal_size(digits, scale):
        raise _broken(f"DECIMAL({digits},{scale}) of {len(data)} bytes")
    return format(decode_decimal(data[2:], digits, scale), "f")


def _packed(data: bytes) -> int:
    if len(data) != 8:
        raise _broken(f"a time of {len(data)} bytes")
    return int.from_bytes(data, "little", signed=True)


def _date(data: bytes) -> str:
    whole = abs(_packed(data)) >> 24
    month = whole >> 22
    return f'"{month // 13:04d}-{month % 13:02d}-{whole >> 17 & 31:02d}"'


def _datetime(data: bytes) -> str:
    raw = abs(_packed(data))
    whole, part = raw >> 24, raw & 0xFFFFFF
    month = whole >> 22
    return (
        f'"{month // 13:04d}-{month % 13:02d}-{whole >> 17 & 31:02d}'
        f' {whole >> 12 & 31:02d}:{whole >> 6 & 63:02d}:{whole & 63:02d}.{part:06d}"'
    )


def _time(data: bytes) -> str:
    raw = _packed(data)
    whole, part = abs(raw) >> 24, abs(raw) & 0xFFFFFF
    sign = "-" if raw < 0 else ""
    return f'"{sign}{whole >> 12 & 1023:02d}:{whole >> 6 & 63:02d}:{whole & 63:02d}.{part:06d}"'


_OPAQUES: dict[int, Callable[[bytes], str]] = {
    _DECIMAL: _decimal,
    _DATE: _date,
    _TIME: _time,
    _DATETIME: _datetime,
    _TIMESTAMP: _datetime,
}
