# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes TABLE_MAP and row events, as far as tests need them; knows nothing of the decoder."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.events import (
    ChecksumAlgorithm,
    FormatDescription,
    Kind,
)

_LENGTHS = [0] * 43
for _kind, _length in {
    Kind.QUERY: 13,
    Kind.EXECUTE_LOAD_QUERY: 26,
    Kind.TABLE_MAP: 8,
    **dict.fromkeys((Kind.WRITE_ROWS_V1, Kind.UPDATE_ROWS_V1, Kind.DELETE_ROWS_V1), 8),
    **dict.fromkeys((Kind.WRITE_ROWS, Kind.UPDATE_ROWS, Kind.DELETE_ROWS, Kind.PARTIAL_UPDATE_ROWS), 10),
}.items():
    _LENGTHS[_kind - 1] = _length
FORM = FormatDescription("9.7.4", 0, tuple(_LENGTHS), ChecksumAlgorithm.OFF)


class Field(NamedTuple):
    """A column: the type and metadata bytes of its TABLE_MAP, and how a value is written."""

    code: int
    metadata: bytes
    write: Callable[[Any], bytes]


def packed(number: int) -> bytes:
    if number < 251:
        return bytes([number])
    return b"\xfc" + number.to_bytes(2, "little") if number < 1 << 16 else b"\xfd" + number.to_bytes(3, "little")


def bitmap(bits: Sequence[bool]) -> bytes:
    return sum(bit << number for number, bit in enumerate(bits)).to_bytes((len(bits) + 7) // 8, "little")


def high_first(bits: Sequence[bool]) -> bytes:
    padded = [*bits, *[False] * (-len(bits) % 8)]
    return bytes(sum(bit << 7 - n for n, bit in enumerate(padded[at : at + 8])) for at in range(0, len(padded), 8))


def text(value: str) -> bytes:
    return packed(len(value.encode())) + value.encode()


def optional(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + packed(len(value)) + value


def names(*given: str) -> bytes:
    return optional(4, b"".join(text(each) for each in given))


def table_map(fields: Sequence[Field], more: bytes = b"", *, number: int = 7, table: str = "t") -> bytes:
    metadata = b"".join(field.metadata for field in fields)
    return (
        number.to_bytes(6, "little")
        + b"\1\0"
        + text("bank")
        + b"\0"
        + text(table)
        + b"\0"
        + packed(len(fields))
        + bytes(field.code for field in fields)
        + packed(len(metadata))
        + metadata
        + bitmap([True] * len(fields))
        + more
    )


def image(fields: Sequence[Field], values: Sequence[Any], held: Sequence[bool] | None = None) -> bytes:
    chosen = [(f, v) for n, (f, v) in enumerate(zip(fields, values, strict=True)) if held is None or held[n]]
    return bitmap([value is None for _field, value in chosen]) + b"".join(
        field.write(value) for field, value in chosen if value is not None
    )


def rows(
    width: int,
    images: bytes,
    *,
    held: Sequence[Sequence[bool]] = (),
    number: int = 7,
    extra: bytes | None = b"",
    flags: int = 1,
) -> bytes:
    """The body of a row event; ``held``: which columns each image has (one, or two of an update)."""
    chosen = held or [[True] * width]
    return (
        number.to_bytes(6, "little")
        + flags.to_bytes(2, "little")
        + (b"" if extra is None else (len(extra) + 2).to_bytes(2, "little") + extra)
        + packed(width)
        + b"".join(bitmap(each) for each in chosen)
        + images
    )


def integer(code: int, size: int, *, signed: bool = True) -> Field:
    return Field(code, b"", lambda value: value.to_bytes(size, "little", signed=signed))


def counted(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "little") + data


def varchar(size: int, codec: str = "utf-8") -> Field:
    width = 1 if size < 256 else 2
    return Field(15, size.to_bytes(2, "little"), lambda value: counted(width, value.encode(codec)))


def char(size: int) -> Field:
    """Long ones hide two bits of the size in the type."""
    return Field(
        254,
        bytes([0xFE ^ (size >> 8 & 3) << 4, size & 0xFF]),
        lambda value: counted(1 if size < 256 else 2, value.encode()),
    )


def binary(size: int) -> Field:
    return Field(254, bytes([0xFE, size]), lambda value: counted(1, value.rstrip(b"\0")))


def blob(width: int, code: int = 252) -> Field:
    return Field(code, bytes([width]), lambda value: counted(width, value))


def number(digits: int, scale: int) -> Field:
    """DECIMAL: the value as the digits without the point."""
    sizes = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
    before = digits - scale
    groups = [before % 9, *[9] * (before // 9), *[9] * (scale // 9), scale % 9]

    def write(value: int) -> bytes:
        shown, raw = f"{abs(value):0{digits}d}", b""
        for count in groups:
            raw += int(shown[:count] or "0").to_bytes(sizes[count], "big") if count else b""
            shown = shown[count:]
        if value < 0:
            raw = bytes(byte ^ 0xFF for byte in raw)
        return bytes([raw[0] ^ 0x80]) + raw[1:]

    return Field(246, bytes([digits, scale]), write)


def _part(micro: int, digits: int) -> bytes:
    return (micro // 10 ** (6 - digits - digits % 2)).to_bytes((digits + 1) // 2, "big") if digits else b""


def datetime2(digits: int) -> Field:
    def write(value: tuple[int, ...]) -> bytes:
        year, month, day, hour, minute, second, micro = value
        whole = (year * 13 + month) << 22 | day << 17 | hour << 12 | minute << 6 | second
        return (whole | 1 << 39).to_bytes(5, "big") + _part(micro, digits)

    return Field(18, bytes([digits]), write)


def timestamp2(digits: int) -> Field:
    return Field(17, bytes([digits]), lambda value: value[0].to_bytes(4, "big") + _part(value[1], digits))


def time2(digits: int) -> Field:
    """(sign, hours, minutes, seconds, microseconds)"""

    def write(value: tuple[int, ...]) -> bytes:
        sign, hour, minute, second, micro = value
        size = (digits + 1) // 2
        whole = (hour << 12 | minute << 6 | second) << 8 * size | int.from_bytes(_part(micro, digits), "big")
        return ((0x800000 << 8 * size) + sign * whole).to_bytes(3 + size, "big")

    return Field(19, bytes([digits]), write)


DATE = Field(10, b"", lambda value: (value[0] << 9 | value[1] << 5 | value[2]).to_bytes(3, "little"))
DOUBLE = Field(5, b"\x08", lambda value: struct.pack("<d", value))
FLOAT = Field(4, b"\x04", lambda value: struct.pack("<f", value))
YEAR = Field(13, b"", lambda value: bytes([value and value - 1900]))
ENUM = Field(254, b"\xf7\x01", lambda value: bytes([value]))
SET = Field(254, b"\xf8\x01", lambda value: bytes([value]))
JSON = Field(245, b"\x04", lambda value: counted(4, json_document(value)))


def bit(size: int) -> Field:
    return Field(16, bytes([size % 8, size // 8]), lambda value: value.to_bytes((size + 7) // 8, "big"))


# Binary JSON


def json_document(value: Any, *, large: bool = False) -> bytes:
    kind, data = _json(value, large)
    return bytes([kind]) + data


def _json(value: Any, large: bool) -> tuple[int, bytes]:
    if value is None or value is True or value is False:
        return 4, bytes([{None: 0, True: 1, False: 2}[value]])
    if isinstance(value, int):
        for kind, form in ((5, "<h"), (7, "<i"), (9, "<q"), (10, "<Q")):
            try:
                return kind, struct.pack(form, value)
            except struct.error:
                continue
        raise ValueError(value)
    if isinstance(value, float):
        return 11, struct.pack("<d", value)
    if isinstance(value, str):
        data = value.encode()
        return 12, _seven(len(data)) + data
    if isinstance(value, bytes):  # opaque: the type, then the bytes
        return 15, value[:1] + _seven(len(value) - 1) + value[1:]
    return _json_container(value, large)


def _seven(length: int) -> bytes:
    out = b""
    while length > 127:
        out += bytes([length & 127 | 128])
        length >>= 7
    return out + bytes([length])


def _json_container(value: Any, large: bool) -> tuple[int, bytes]:
    width = 4 if large else 2
    keys = [key.encode() for key in value] if isinstance(value, dict) else []
    values = list(value.values()) if isinstance(value, dict) else list(value)
    place = 2 * width + len(keys) * (width + 2) + len(values) * (width + 1)
    entries, body = b"", b""
    for key in keys:
        entries += (place + len(body)).to_bytes(width, "little") + len(key).to_bytes(2, "little")
        body += key
    for each in values:
        kind, data = _json(each, large)
        if kind in (4, 5, 6) or (large and kind in (7, 8)):
            entries += bytes([kind]) + data.ljust(width, b"\xff" if kind in (5, 7) and data[-1] & 128 else b"\0")
        else:
            entries += bytes([kind]) + (place + len(body)).to_bytes(width, "little")
            body += data
    whole = len(values).to_bytes(width, "little") + (place + len(body)).to_bytes(width, "little") + entries + body
    if not large and len(whole) > 65535:
        return _json_container(value, True)
    return (0 if isinstance(value, dict) else 2) + int(large), whole


def same_json(written: str, value: Any) -> bool:
    return bool(json.loads(written) == value)
