# SPDX-License-Identifier: BSD-2-Clause
"""Every event of a file with its whole body, in one pass over large pieces of the file.

``BinlogFile`` reads event by event and keeps the beginnings of large ones; this is for whoever wants all rows of a long
log: checksums are checked all the same, and one event costs a microsecond or two. One event at a time is held, twice;
of a large compressed transaction one of those inside it.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Iterator, NamedTuple, Optional

from ..errors import HaError
from . import events
from .events import CHECKSUM_LENGTH, CONTROL_KINDS, GTID_KINDS, HEADER_LENGTH, MAGIC, FormatDescription, Kind, malformed
from .files import BinlogFile, Content, contents_of

_HEADER = struct.Struct("<IBIIIH")
_LARGE = 1 << 20
"""Bytes of a compressed transaction that is not held as a whole: its contents are read piece by piece."""


class Swept(NamedTuple):
    """One event: its bytes without the checksum, and where in them the body begins. ``data`` is empty for a large
    TRANSACTION_PAYLOAD event; ``Sweep.contents`` has what is in it."""

    kind: int
    data: bytes
    base: int
    offset: int
    end: int
    flags: int


class Stop(NamedTuple):
    """Where reading could not go on, and why."""

    offset: int
    why: str


class Sweep:
    """The events of one file, in its order; read once.

    ``form`` is the format of the event that came last. ``stop`` says, at the end, what is wrong; None if nothing is.
    ``whole`` is where the last whole event ends.

    :raises HaError: ``binlog_unreadable``, ``binlog_version_unsupported``.
    """

    def __init__(self, file: BinlogFile) -> None:
        self._file = file
        self.form: Optional[FormatDescription] = None
        self.stop: Optional[Stop] = None
        self.whole = len(MAGIC)
        self._moved = False
        self._skip_to: Optional[int] = None

    def skip_to(self, offset: int) -> None:
        """Go on there, unless that is no place where a transaction begins or the file's own events stand."""
        self._skip_to = offset

    def contents(self, event: Swept) -> Iterator[Content]:
        """The events inside a TRANSACTION_PAYLOAD event.

        :raises HaError: as ``BinlogFile.contents``.
        """
        form = self.form
        if event.data and form is not None:
            payload = events.decode_payload(event.data[event.base :])
            if payload.offset + payload.size > len(event.data) - event.base:
                raise malformed("TRANSACTION_PAYLOAD event", "its contents are longer than it")
            packed = io.BytesIO(event.data)
            packed.seek(event.base + payload.offset)
            return contents_of(payload, packed.read, form)
        self._moved = True
        return self._file.contents(event.offset, event.end)

    def __iter__(self) -> Iterator[Swept]:
        size = self._file.size
        offset = len(MAGIC)
        buffer, at = b"", 0
        pieces = self._file.raw(offset, size) if size > offset else iter(())
        while offset < size:
            if len(buffer) - at < HEADER_LENGTH:
                buffer, at = _more(pieces, buffer, at, HEADER_LENGTH), 0
                if len(buffer) < HEADER_LENGTH:
                    self.stop = Stop(offset, f"{len(buffer)} bytes of an event header")
                    return
            _timestamp, kind, _server, length, _position, flags = _HEADER.unpack_from(buffer, at)
            end = offset + length
            description = kind == Kind.FORMAT_DESCRIPTION
            form = self.form
            if length < HEADER_LENGTH or kind == 0:
                self.stop = Stop(offset, f"an event of type {kind} and {length} bytes")
                return
            if end > size:
                self.stop = Stop(offset, f"{size - offset} bytes of an event of {length}")
                return
            if form is None and not description:
                self.stop = Stop(offset, "no FORMAT_DESCRIPTION event before it")
                return
            if kind == Kind.TRANSACTION_PAYLOAD and length > _LARGE:
                if form is not None and not self._sound(offset, end, form):
                    self.stop = Stop(offset, "the checksum of a transaction_payload event is wrong")
                    return
                self.whole = end
                yield Swept(kind, b"", 0, offset, end, flags)
                offset, buffer, at = end, b"", 0
                self._moved = False
                pieces = self._file.raw(offset, size) if offset < size else iter(())
                continue
            if len(buffer) - at < length:
                buffer, at = _more(pieces, buffer, at, length), 0
            data = buffer[at : at + length]
            at += length
            if description or form is None:
                try:
                    self.form = events.decode_format_description(data)
                except HaError as error:
                    if error.code != "binlog_event_malformed":
                        raise
                    self.stop = Stop(offset, error.message)
                    return
                if form is not None:
                    # A relay log has its source's description too: the file has to know it for what is compressed.
                    for _nothing in self._file.contents(offset, end):
                        raise AssertionError("a description has no contents")
                    self._moved = True
            elif form.trailer:
                if length < HEADER_LENGTH + CHECKSUM_LENGTH:
                    self.stop = Stop(offset, f"an event of {length} bytes, too short for a checksum")
                    return
                checksum = data[-CHECKSUM_LENGTH:]
                data = data[:-CHECKSUM_LENGTH]
                if zlib.crc32(data) != int.from_bytes(checksum, "little"):
                    self.stop = Stop(offset, f"the checksum of a {events.kind_name(kind)} event is wrong")
                    return
            self.whole = end
            yield Swept(kind, data, HEADER_LENGTH, offset, end, flags)
            offset = end
            if self._skip_to is not None:
                target, self._skip_to = self._skip_to, None
                ahead = at + target - end
                if end <= target and ahead + HEADER_LENGTH <= len(buffer):
                    if self._begins(buffer[ahead : ahead + HEADER_LENGTH], target):
                        offset, at = target, ahead
                elif end < target <= size and self._begins(self._bytes(target), target):
                    offset = target
                self.whole = offset
            if self._moved:
                self._moved = False
                buffer, at = b"", 0
                pieces = self._file.raw(offset, size) if offset < size else iter(())

    def _sound(self, offset: int, end: int, form: FormatDescription) -> bool:
        """Whether the checksum of a large event is right."""
        if not form.trailer:
            return True
        checksum = 0
        for piece in self._file.raw(offset, end - CHECKSUM_LENGTH):
            checksum = zlib.crc32(piece, checksum)
        return b"".join(self._file.raw(end - CHECKSUM_LENGTH, end)) == checksum.to_bytes(CHECKSUM_LENGTH, "little")

    def _bytes(self, offset: int) -> bytes:
        """A header's, read from elsewhere in the file."""
        self._moved = True
        end = min(offset + HEADER_LENGTH, self._file.size)
        return b"".join(self._file.raw(offset, end)) if offset < end else b""

    def _begins(self, header: bytes, offset: int) -> bool:
        if not header:
            return offset == self._file.size
        if len(header) < HEADER_LENGTH:
            return False
        _timestamp, kind, _server, length, _position, _flags = _HEADER.unpack(header)
        fits = kind in GTID_KINDS or kind in CONTROL_KINDS
        return fits and HEADER_LENGTH <= length <= self._file.size - offset


def _more(pieces: Iterator[bytes], buffer: bytes, at: int, wanted: int) -> bytes:
    """What is left of the buffer, and as many pieces more as are needed."""
    found = [buffer[at:]]
    have = len(found[0])
    for piece in pieces:
        found.append(piece)
        have += len(piece)
        if have >= wanted:
            break
    return b"".join(found)
