# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes whole binary log files, of the events that ``rowsmith`` writes the bodies of."""

from __future__ import annotations

import itertools
import struct
import uuid
import zlib
from collections.abc import Iterable, Sequence

from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.events import Kind

from .rowsmith import FORM, packed

UUID = "816c2795-e558-11f1-8e54-0242ac110002"
OTHER = "00000000-0000-0000-0000-00000000000b"

Event = tuple[int, bytes]
"""Kind and body."""
BEGIN_TEXT = "BEGIN"


class Log:
    """A file that grows event by event; ``data`` is what it holds. Checksums are CRC32, unless told otherwise."""

    def __init__(self, previous: str = "", *, checksum: bool = True, description: bool = True) -> None:
        self._checksum = checksum
        self.data = bytearray(b"\xfebin")
        self._numbers = itertools.count(1)
        if description:
            self.put(Kind.FORMAT_DESCRIPTION, _description(checksum), always=True)
            self.put(Kind.PREVIOUS_GTIDS, gtid_set(previous))

    def put(self, kind: int, body: bytes, *, flags: int = 0, always: bool = False) -> int:
        """Add one event; where it begins."""
        begin = len(self.data)
        trailer = 4 if self._checksum or always else 0
        event = header(kind, len(body) + trailer, begin, flags) + body
        self.data += event
        if trailer:
            self.data += zlib.crc32(event).to_bytes(4, "little")
        return begin

    def transaction(self, *events: Event, number: int = 0, origin: str = UUID, tag: str = "", end: bool = True) -> str:
        """GTID, BEGIN, these, XID; the GTID."""
        number = number or next(self._numbers)
        inside = [query(BEGIN_TEXT), *events, *([(int(Kind.XID), bytes(8))] if end else [])]
        self.begin(number, origin=origin, tag=tag, inside=inside)
        for kind, body in inside:
            self.put(kind, body)
        return f"{origin}:{tag}:{number}" if tag else f"{origin}:{number}"

    def statement(self, text: str, *, schema: str = "bank", databases: Sequence[str] | None = ("bank",)) -> str:
        """A transaction of one statement, as DDL is."""
        number = next(self._numbers)
        self.begin(number)
        self.put(*query(text, schema=schema, databases=databases))
        return f"{UUID}:{number}"

    def begin(self, number: int, *, origin: str = UUID, tag: str = "", inside: Iterable[Event] = ()) -> None:
        """The GTID event, with the length of the whole transaction."""
        trailer = 4 if self._checksum else 0
        length = sum(19 + len(body) + trailer for _kind, body in inside)
        kind = Kind.GTID_TAGGED if tag else Kind.GTID
        own = len((tagged if tag else plain)(number, origin, tag, 1 << 20)) + 19 + trailer
        self.put(kind, (tagged if tag else plain)(number, origin, tag, own + length))

    def anonymous(self, *events: Event) -> None:
        self.put(Kind.ANONYMOUS_GTID, bytes(25))
        for event in (query(BEGIN_TEXT), *events, (int(Kind.XID), bytes(8))):
            self.put(*event)

    def rotate(self, name: str = "binlog.000002") -> Log:
        self.put(Kind.ROTATE, (4).to_bytes(8, "little") + name.encode())
        return self


def header(kind: int, length: int, begin: int = 0, flags: int = 0) -> bytes:
    return struct.pack("<IBIIIH", 1, kind, 7, 19 + length, (begin + 19 + length) & 0xFFFFFFFF, flags)


def _description(checksum: bool) -> bytes:
    return (
        (4).to_bytes(2, "little")
        + FORM.server_version.encode().ljust(50, b"\0")
        + bytes(4)
        + bytes([19])
        + bytes(FORM.post_header_lengths)
        + bytes([int(checksum)])
    )


def gtid_set(text: str) -> bytes:
    """``uuid:1-5,uuid:7``: one interval each."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    data = len(parts).to_bytes(8, "little")
    for part in parts:
        origin, interval = part.split(":")
        first, _dash, last = interval.partition("-")
        data += uuid.UUID(origin).bytes + (1).to_bytes(8, "little")
        data += struct.pack("<qq", int(first), int(last or first) + 1)
    return data


def plain(number: int, origin: str, _tag: str, length: int) -> bytes:
    return (
        b"\1" + uuid.UUID(origin).bytes + struct.pack("<q", number) + b"\2" + bytes(16) + bytes(7)
        + b"\xfe" + length.to_bytes(8, "little")
    )  # fmt: skip


def tagged(number: int, origin: str, tag: str, length: int) -> bytes:
    """Every number in nine bytes, so that the length of the event is known beforehand."""

    def wide(value: int) -> bytes:
        return b"\xff" + value.to_bytes(8, "little")

    fields = (
        bytes([0 << 1]) + bytes([0])
        + bytes([1 << 1]) + b"".join(wide(byte) for byte in uuid.UUID(origin).bytes)
        + bytes([2 << 1]) + wide(number << 1)
        + bytes([3 << 1]) + bytes([len(tag) << 1]) + tag.encode()
        + bytes([8 << 1]) + wide(length)
    )  # fmt: skip
    size = 1 + 9 + 1 + len(fields)
    return bytes([1 << 1]) + wide(size) + bytes([0]) + fields


def query(text: str, *, schema: str = "bank", databases: Sequence[str] | None = None, kind: int = Kind.QUERY) -> Event:
    """The schemas of all tables used; None: not told."""
    status = b""
    if databases is not None:
        status = bytes([12, len(databases)]) + b"".join(name.encode() + b"\0" for name in databases)
    more = bytes(FORM.post_header_length(kind) - 13)
    body = struct.pack("<IIBHH", 1, 0, len(schema), 0, len(status)) + more + status + schema.encode() + b"\0"
    return int(kind), body + text.encode()


def payload(*events: Event) -> Event:
    """A TRANSACTION_PAYLOAD event whose contents are not compressed; events inside have no checksum."""
    inside = b"".join(header(kind, len(body)) + body for kind, body in events)
    fields = b""
    for number, value in ((1, len(inside)), (2, 255)):
        data = packed(value)
        fields += packed(number) + packed(len(data)) + data
    return int(Kind.TRANSACTION_PAYLOAD), fields + b"\0" + inside


def xa_prepare(name: str) -> Event:
    data = name.encode()
    return int(Kind.XA_PREPARE), b"\0" + struct.pack("<iII", 1, len(data), 0) + data
