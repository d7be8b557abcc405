# SPDX-License-Identifier: BSD-2-Clause
"""Reading one binary log file as a stream, and choosing among many.

The reader never holds more than the beginning of an event; checksums are computed in pieces. What it says of the end
of a file decides later what may be cut, so it says it exactly:

* ``closed``: the server closed it (the last event is ROTATE or STOP).
* ``open``: it ends with a whole transaction, but was not closed: in use, or its server was killed.
* ``torn``: after ``whole`` there is an unfinished event or transaction and nothing readable behind it. That is what a
  crash leaves. The server cuts such a file at ``whole`` when it starts.
* ``damaged``: an event is broken and *good events follow it*. No crash does that. Nothing may be cut here.

A relay log has the same format and is read by the same code.
"""

from __future__ import annotations

import bisect
import dataclasses
import io
import os
import re
import zlib
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, Callable, Generator, Iterator, NamedTuple, Optional, Sequence

from ..errors import HaError
from ..gtid import EMPTY, GtidSet
from . import events
from .events import (
    CHECKSUM_LENGTH,
    CONTROL_KINDS,
    ENCRYPTED_MAGIC,
    GTID_KINDS,
    HEADER_LENGTH,
    MAGIC,
    FormatDescription,
    Gtid,
    GtidEvent,
    Header,
    Kind,
    Payload,
    malformed,
)
from .transactions import Building, Transaction
from .zstd import zstd as _zstd

_PIECE = 1 << 18
_HEAD = 1 << 17
"""How much of a body is kept for decoding: status variables (64 KiB at most) and the beginning of a statement."""
_LARGEST_GTID_EVENT = 4096
_LARGEST_PREVIOUS_GTIDS = 1 << 28

_KEPT_WHOLE = GTID_KINDS | {Kind.PREVIOUS_GTIDS}
_HEADER_AFTER = re.compile(
    rb"[\x21\x22\x2a](?=.{4}.[\x00-\x0f]\x00\x00)|\x04(?=.{4}.[\x00-\x02]\x00\x00)|\x03(?=.{4}[\x13\x17]\x00\x00\x00)",
    re.DOTALL,
)
"""The type byte of a GTID, ROTATE or STOP event; its length, mostly zero bytes, follows after the server id."""


@dataclasses.dataclass(frozen=True)
class Event:
    """One event of a file; ``body`` is only the beginning of a large one."""

    offset: int
    end: int
    header: Header
    body: bytes
    body_length: int

    @property
    def kind(self) -> int:
        return self.header.kind


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a file ends; see the module's docstring.

    :param whole: where whole transactions end. In a torn file everything before it is good.
    :param stopped_at: where reading stopped.
    :param size: the file's size when it was opened.
    :param why: what is wrong at ``stopped_at``, empty when nothing is.
    :param unfinished: the transaction that is not complete, if one had begun.
    """

    how: str
    whole: int
    stopped_at: int
    size: int
    why: str = ""
    unfinished: Optional[Transaction] = None

    def as_result(self) -> dict[str, Any]:
        return {
            "how": self.how,
            "whole": self.whole,
            "size": self.size,
            "why": self.why,
            "unfinished": str(self.unfinished.gtid) if self.unfinished and self.unfinished.gtid else "",
        }


@dataclasses.dataclass(frozen=True)
class Prelude:
    """The beginning of a file. ``format`` is None when the file is torn before its first event is whole.

    :param format_event: the FORMAT_DESCRIPTION event as it stands in the file.
    :param previous_gtids: what the earlier files held; None when the file does not say.
    :param end: where these events end.
    """

    format: Optional[FormatDescription]
    format_event: bytes
    previous_gtids: Optional[GtidSet]
    end: int


class Content(NamedTuple):
    """An event with its whole body, and the format that it is in."""

    kind: int
    body: bytes
    format: FormatDescription


class _Stop(Exception):
    """Reading cannot go on at this offset."""

    def __init__(self, offset: int, why: str) -> None:
        super().__init__(why)
        self.offset = offset
        self.why = why


def unreadable(path: str, error: OSError) -> HaError:
    return HaError(
        "binlog_unreadable",
        f"cannot read {path}: {error.strerror or error}",
        evidence={"path": path, "errno": error.errno},
        next_step="Run on the database host as root, and check the path.",
    )


class BinlogFile:
    """One file, open for reading.

    :param path: a binary log or relay log file; only for messages.
    :param stream: the open file, buffered and seekable.
    :raises HaError: ``binlog_unreadable``, ``binlog_encrypted``, ``binlog_not_a_binlog``,
        ``binlog_version_unsupported``.
    """

    def __init__(self, path: str, stream: BinaryIO) -> None:
        self.path = path
        self._stream = stream
        self._size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        self._format: Optional[FormatDescription] = None
        self._ending: Optional[Ending] = None
        self._check_magic()

    @classmethod
    @contextmanager
    def open(cls, path: str) -> Iterator[BinlogFile]:
        """The file, closed afterwards. Errors of the disk come out as ``binlog_unreadable``."""
        with ExitStack() as stack:
            try:
                stream = stack.enter_context(open(path, "rb", buffering=_PIECE))
            except OSError as error:
                raise unreadable(path, error) from error
            yield cls(path, stream)

    def _read(self, length: int) -> bytes:
        try:
            return self._stream.read(length)
        except OSError as error:
            raise unreadable(self.path, error) from error

    @property
    def size(self) -> int:
        """When it was opened. What a running server appends later is not read."""
        return self._size

    @property
    def ending(self) -> Ending:
        """Known once ``transactions`` has been read to its end."""
        if self._ending is None:
            raise HaError("binlog_not_read", f"{self.path} has not been read to its end")
        return self._ending

    def _check_magic(self) -> None:
        magic = self._read(len(MAGIC))
        if magic == ENCRYPTED_MAGIC:
            raise HaError(
                "binlog_encrypted",
                f"{self.path} is encrypted (binlog_encryption=ON)",
                evidence={"path": self.path},
                next_step="Read it through its server: mysqlbinlog --read-from-remote-server, with mysqld running.",
            )
        if magic != MAGIC[: len(magic)] or (len(magic) < len(MAGIC) and len(magic) < self._size):
            raise HaError(
                "binlog_not_a_binlog",
                f"{self.path} does not begin as a binary log file does",
                evidence={"path": self.path, "first_bytes": magic.hex()},
                next_step="Check the path; the index file, for one, is not a binary log.",
            )

    # Events

    def _event_at(self, offset: int) -> Event:
        """The whole, checked event at ``offset``, where the stream stands.

        :raises _Stop: there is none.
        """
        size = self._size
        raw = self._read(HEADER_LENGTH)
        if len(raw) < HEADER_LENGTH:
            raise _Stop(offset, f"{len(raw)} bytes of an event header")
        try:
            header = events.decode_header(raw)
        except HaError as error:
            raise _Stop(offset, error.evidence["why"]) from error
        end = offset + header.length
        if end > size:
            raise _Stop(offset, f"{size - offset} bytes of a {events.kind_name(header.kind)} event of {header.length}")
        description = header.kind == Kind.FORMAT_DESCRIPTION
        if not description and self._format is None:
            raise _Stop(offset, "no FORMAT_DESCRIPTION event before it")
        trailer = CHECKSUM_LENGTH if description or self._format is None else self._format.trailer
        body_length = header.length - HEADER_LENGTH - trailer
        if body_length < 0:
            raise _Stop(offset, f"an event of {header.length} bytes, too short for a checksum")
        keep = min(body_length, _LARGEST_PREVIOUS_GTIDS if header.kind in _KEPT_WHOLE else _HEAD)
        body = self._read(keep)
        got = len(body)
        if trailer and not description:
            checksum = zlib.crc32(body, zlib.crc32(raw))
            while got < body_length:
                piece = self._read(min(_PIECE, body_length - got))
                if not piece:
                    break
                got += len(piece)
                checksum = zlib.crc32(piece, checksum)
            if self._read(trailer) != checksum.to_bytes(trailer, "little"):
                raise _Stop(offset, f"the checksum of a {events.kind_name(header.kind)} event is wrong")
        elif description:
            event = raw + body + self._read(trailer)
            try:
                self._format = events.decode_format_description(event)
            except HaError as error:
                if error.code != "binlog_event_malformed":
                    raise
                raise _Stop(offset, error.message) from error
            body = event
            body_length = len(event)
        return Event(offset, end, header, body, body_length)

    def _walk(self, begin: int = 0) -> Generator[Event, Optional[int], None]:
        """Every event from the first, until the file ends; an offset that is sent in is where to go on.

        :param begin: of the first event; 0 for the file's first one. Elsewhere the format must be known.
        :raises _Stop: it does not end at the end of an event.
        """
        offset = begin or len(MAGIC)
        if not begin:
            self._format = None
        if self._size < offset:
            raise _Stop(0, f"{self._size} bytes of the file's first four")
        while offset < self._size or self._format is None:
            # The caller may have read elsewhere meanwhile; within the buffer this costs nothing.
            self._stream.seek(offset)
            event = self._event_at(offset)
            skip = yield event
            offset = skip or event.end

    def events(self) -> Iterator[Event]:
        """Every whole event. Ends quietly where they end; ``transactions`` says how and why.

        The body of a FORMAT_DESCRIPTION event is the whole event. Bodies longer than 128 KiB are cut off, except those
        of GTID events and PREVIOUS_GTIDS.
        """
        try:
            yield from self._walk()
        except _Stop:
            return

    def prelude(self) -> Prelude:
        """The file's description and what was before it; reads no further.

        In a relay log these are those of the file's own server.
        """
        description: Optional[Event] = None
        form: Optional[FormatDescription] = None
        for event in self.events():
            if event.kind == Kind.FORMAT_DESCRIPTION and description is None:
                description, form = event, self._format
            elif event.kind == Kind.PREVIOUS_GTIDS and description is not None:
                try:
                    previous = events.decode_gtid_set(event.body)
                except HaError:
                    break
                return Prelude(form, description.body, previous, event.end)
            else:
                break
        if description is None:
            return Prelude(None, b"", None, 0)
        return Prelude(form, description.body, None, description.end)

    # Transactions

    def transaction_after(self, offset: int) -> Optional[tuple[int, Optional[Gtid]]]:
        """The first transaction that begins at ``offset`` or after it, wherever that lies, and its GTID.

        Its GTID event is whole, its checksum is right, and it says itself where it lies; bytes of a row that look like
        one do not. Only in a binary log, where the prelude has been read: in a relay log events name other places.
        """
        for event in self._good_events_from(offset):
            if event.kind in GTID_KINDS and event.header.end_log_pos == event.end & 0xFFFFFFFF:
                return event.offset, _decode_begin(event).gtid
        return None

    def transactions(self, wanted: Optional[GtidSet] = None, *, begin: int = 0) -> Iterator[Transaction]:
        """The file's transactions in order, incomplete ones too (``complete`` is False).

        :param begin: where to begin, at an event that begins a transaction; the prelude must have been read.

        :param wanted: skip the others by the length that their GTID event tells, without reading them (and so without
            checking their checksums). Much faster on a large file.
        """
        self._ending = None
        building: Optional[Building] = None
        whole = begin or len(MAGIC)
        if self._size < whole:
            whole = 0
        closed = False
        walk = self._walk(begin)
        is_wanted = membership(wanted) if wanted is not None else None
        skip: Optional[int] = None
        offset = whole
        stop: Optional[_Stop] = None
        while True:
            try:
                event = walk.send(skip)
            except StopIteration:
                break
            except _Stop as error:
                stop = error
                break
            skip = None
            closed = _closes(event.header)
            offset = event.end
            if event.kind in CONTROL_KINDS:
                if building is None:
                    whole = event.end
                continue
            if event.kind in GTID_KINDS:
                if building is not None:
                    yield building.done(complete=False)
                    building = None
                try:
                    announced = _decode_begin(event)
                except HaError as error:
                    stop = _Stop(event.offset, error.message)
                    break
                if is_wanted is not None and not is_wanted(announced.gtid):
                    skip = self._skip_to(event, announced)
                    if skip is not None:
                        whole = offset = skip
                        continue
                building = Building(event.offset, event.header, announced)
                building.reach(event.end)
                continue
            if building is None:
                if event.kind not in _BELONGING:
                    whole = event.end
                    continue
                building = Building(event.offset, event.header, None)
            building.reach(event.end)
            try:
                self._feed(building, event)
            except HaError as error:
                stop = _Stop(event.offset, error.message)
                break
            if building.ended:
                done = building.done(complete=True)
                building = None
                whole = event.end
                if is_wanted is None or is_wanted(done.gtid):
                    yield done
        unfinished = building.done(complete=False) if building else None
        self._ending = self._conclude(stop, offset, whole, closed, unfinished)
        if unfinished is not None:
            yield unfinished

    def _conclude(
        self, stop: Optional[_Stop], offset: int, whole: int, closed: bool, unfinished: Optional[Transaction]
    ) -> Ending:
        if stop is None and unfinished is None:
            return Ending("closed" if closed else "open", whole, offset, self._size)
        if stop is None:
            # Whole events, but not their transaction: cut between two events.
            return Ending("torn", whole, offset, self._size, "the last transaction is not complete", unfinished)
        follows = self._first_good_after(stop.offset)
        if follows is None:
            return Ending("torn", whole, stop.offset, self._size, stop.why, unfinished)
        why = f"{stop.why}; but good events follow at {follows}"
        return Ending("damaged", whole, stop.offset, self._size, why, unfinished)

    def _skip_to(self, event: Event, begin: GtidEvent) -> Optional[int]:
        """Where the next transaction begins, if the announced length leads to something that looks like it."""
        target = event.offset + begin.transaction_length
        if target <= event.end or target > self._size:
            return None
        if target == self._size:
            return target
        self._stream.seek(target)
        raw = self._read(HEADER_LENGTH)
        try:
            header = events.decode_header(raw)
        except HaError:
            return None
        fits = header.kind in GTID_KINDS or header.kind in CONTROL_KINDS
        return target if fits and target + header.length <= self._size else None

    def _first_good_after(self, offset: int) -> Optional[int]:
        """Where, after a broken event, there is a whole GTID, ROTATE or STOP event: then this is no torn tail."""
        return next((event.offset for event in self._good_events_from(offset + 1)), None)

    def _good_events_from(self, offset: int) -> Iterator[Event]:
        """Whole GTID, ROTATE and STOP events at ``offset`` or after it, wherever they lie; some of them twice."""
        base = offset
        self._stream.seek(base)
        buffer = b""
        while True:
            piece = self._read(_PIECE)
            buffer += piece
            for match in _HEADER_AFTER.finditer(buffer):
                start = match.start() - 4
                event = self._good_event_in(buffer, start, base + start) if start >= 0 else None
                if event is not None:
                    yield event
            if not piece:
                return
            kept = min(len(buffer), _LARGEST_GTID_EVENT + HEADER_LENGTH)
            base += len(buffer) - kept
            buffer = buffer[-kept:]

    def _good_event_in(self, buffer: bytes, start: int, offset: int) -> Optional[Event]:
        raw = buffer[start : start + HEADER_LENGTH]
        if len(raw) < HEADER_LENGTH:
            return None
        header = Header(*events._HEADER.unpack(raw))
        whole = buffer[start : start + header.length]
        if not HEADER_LENGTH < header.length <= _LARGEST_GTID_EVENT or len(whole) < header.length:
            return None
        # If it is the file's description that is broken, checksums may be on or off.
        for trailer in (self._format.trailer,) if self._format else (CHECKSUM_LENGTH, 0):
            if trailer:
                good = zlib.crc32(whole[:-trailer]).to_bytes(trailer, "little") == whole[-trailer:]
            else:
                good = header.end_log_pos == (offset + header.length) & 0xFFFFFFFF
            body = whole[HEADER_LENGTH : len(whole) - trailer]
            event = Event(offset, offset + header.length, header, body, len(body))
            if good and _is_sound(event):
                return event
        return None

    def _feed(self, building: Building, event: Event) -> None:
        form = self._format
        if form is None:
            raise malformed("file", "no FORMAT_DESCRIPTION event")
        if event.kind != Kind.TRANSACTION_PAYLOAD:
            building.feed(event.kind, event.body, form)
            return
        payload = _payload_of(event)
        known = _can_unpack(payload)
        if known:
            read = _unpacked(payload, self._reader(event.offset + HEADER_LENGTH + payload.offset))
            _feed_contents(building, read, form)
        building.payload(payload.compression, known)

    def contents(self, start: int, end: int) -> Iterator[Content]:
        """Every event from ``start`` up to ``end``, with its whole body; instead of a payload, the events inside it.

        One event at a time is held in memory. Checksums are checked. The format is that of the last description read,
        here or by ``transactions``; of a file of which nothing was read yet, its first.

        :raises HaError: ``binlog_unreadable``: there is no whole, unbroken event where one should be;
            ``binlog_compressed``: a payload that cannot be decompressed here; ``binlog_event_malformed``.
        """
        if self._format is None:
            self._format = self.prelude().format
        offset = start
        while offset < end:
            self._stream.seek(offset)
            try:
                event = self._event_at(offset)
            except _Stop as stop:
                raise self._no_event(offset, stop.why) from stop
            offset = event.end
            if offset > end:
                raise self._no_event(event.offset, f"it ends at {offset}")
            if self._format is None:
                raise malformed("file", "no FORMAT_DESCRIPTION event")
            if event.kind == Kind.TRANSACTION_PAYLOAD:
                yield from self._inside(event, self._format)
            elif event.kind != Kind.FORMAT_DESCRIPTION:
                body = event.body
                if len(body) < event.body_length:
                    body = b"".join(
                        self.raw(event.offset + HEADER_LENGTH, event.offset + HEADER_LENGTH + event.body_length)
                    )
                yield Content(event.kind, body, self._format)

    def _no_event(self, offset: int, why: str) -> HaError:
        return HaError(
            "binlog_unreadable",
            f"{self.path} has no whole, unbroken event at {offset}: {why}",
            evidence={"path": self.path, "offset": offset, "why": why},
            next_step="Find out what changed the file; then run again.",
        )

    def _inside(self, event: Event, form: FormatDescription) -> Iterator[Content]:
        payload = _payload_of(event)
        return contents_of(payload, self._reader(event.offset + HEADER_LENGTH + payload.offset), form)

    def _reader(self, position: int) -> Callable[[int], bytes]:
        """Reads from there on, wherever others read meanwhile."""

        def read(length: int) -> bytes:
            nonlocal position
            self._stream.seek(position)
            data = self._read(length)
            position += len(data)
            return data

        return read

    def raw(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``end``, in pieces.

        :raises HaError: ``binlog_unreadable``: the file has become shorter.
        """
        self._stream.seek(start)
        left = end - start
        while left:
            piece = self._read(min(_PIECE, left))
            if not piece:
                raise HaError(
                    "binlog_unreadable",
                    f"{self.path} ended at {end - left} while it was read",
                    evidence={"path": self.path, "start": start, "end": end},
                    next_step="Find out what shortens the file; then run again.",
                )
            left -= len(piece)
            yield piece


def membership(wanted: GtidSet) -> Callable[[Optional[events.Gtid]], bool]:
    """Whether a GTID is in the set, in logarithmic time: asked once for each transaction of a file."""
    firsts: dict[tuple[str, str], list[int]] = {}
    lasts: dict[tuple[str, str], list[int]] = {}
    for origin, (first, last) in wanted:
        firsts.setdefault(origin, []).append(first)
        lasts.setdefault(origin, []).append(last)

    def contains(gtid: Optional[Gtid]) -> bool:
        if gtid is None:
            return False
        origin = (gtid.uuid, gtid.tag)
        position = bisect.bisect_right(firsts.get(origin, []), gtid.number) - 1
        return position >= 0 and gtid.number <= lasts[origin][position]

    return contains


_BELONGING = frozenset(
    {
        Kind.QUERY,
        Kind.INTVAR,
        Kind.RAND,
        Kind.USER_VAR,
        Kind.XID,
        Kind.BEGIN_LOAD_QUERY,
        Kind.EXECUTE_LOAD_QUERY,
        Kind.TABLE_MAP,
        Kind.ROWS_QUERY,
        Kind.VIEW_CHANGE,
        Kind.XA_PREPARE,
        Kind.TRANSACTION_PAYLOAD,
        *events.ROWS_KINDS,
    }
)
"""Events that are part of a transaction even if its GTID event was not seen."""


def _decode_begin(event: Event) -> GtidEvent:
    if event.kind == Kind.GTID_TAGGED:
        return events.decode_gtid_tagged(event.body)
    return events.decode_gtid(event.body, event.kind)


def _closes(header: Header) -> bool:
    """Whether this event says that the file is finished. (A relay log also keeps the source's artificial ROTATE.)"""
    if header.kind == Kind.ROTATE:
        return not header.flags & events.Flag.ARTIFICIAL and header.end_log_pos != 0
    return header.kind == Kind.STOP


def _is_sound(event: Event) -> bool:
    try:
        if event.kind in GTID_KINDS:
            _decode_begin(event)
        elif event.kind == Kind.ROTATE:
            events.decode_rotate(event.body)
    except HaError:
        return False
    return event.kind != Kind.STOP or not event.body


class _Section:
    """``read`` within the next ``length`` bytes of a stream."""

    def __init__(self, read: Callable[[int], bytes], length: int) -> None:
        self._read = read
        self._left = length

    def read(self, length: int) -> bytes:
        data = self._read(min(length, self._left))
        self._left -= len(data)
        return data


class _Unpacked(io.RawIOBase):
    """The decompressed bytes of a zstd frame, piece by piece; never more than were announced."""

    def __init__(self, packed: _Section, size: int) -> None:
        super().__init__()
        self._packed = packed
        self._left = size
        self._zstd: Any = _zstd
        self._decompressor = self._zstd.ZstdDecompressor()

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        room = min(len(target), self._left)
        while room and not self._decompressor.eof:
            more = self._packed.read(_PIECE) if self._decompressor.needs_input else b""
            if self._decompressor.needs_input and not more:
                break
            try:
                data = self._decompressor.decompress(more, room)
            except self._zstd.ZstdError as error:
                raise malformed("TRANSACTION_PAYLOAD event", f"zstd: {error}") from error
            if data:
                target[: len(data)] = data
                self._left -= len(data)
                return len(data)
        return 0


def _can_unpack(payload: Payload) -> bool:
    return payload.compression == "none" or (payload.compression == "zstd" and _zstd is not None)


def _unpacked(payload: Payload, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Reads the plain bytes of a payload whose packed ones ``read`` gives."""
    raw = _Section(read, payload.size)
    if payload.compression == "none":
        return raw.read
    return io.BufferedReader(_Unpacked(raw, payload.uncompressed_size), _PIECE).read


def _payload_of(event: Event) -> Payload:
    payload = events.decode_payload(event.body)
    if payload.offset + payload.size > event.body_length:
        raise malformed("TRANSACTION_PAYLOAD event", "its contents are longer than it")
    return payload


def contents_of(payload: Payload, read: Callable[[int], bytes], form: FormatDescription) -> Iterator[Content]:
    """The events inside a payload; they carry no checksum. It is decompressed piece by piece.

    :param read: gives the packed bytes.
    :raises HaError: ``binlog_compressed``: it cannot be decompressed here; ``binlog_event_malformed``.
    """
    if not _can_unpack(payload):
        raise HaError(
            "binlog_compressed",
            f"a transaction is compressed ({payload.compression}) and cannot be decompressed here",
            evidence={"compression": payload.compression},
            next_step="Read it with mysqlbinlog, or where there is libzstd.so.1 or Python 3.14.",
        )
    plain = _unpacked(payload, read)
    while True:
        raw = plain(HEADER_LENGTH)
        if not raw:
            return
        header = events.decode_header(raw)
        body = plain(header.length - HEADER_LENGTH)
        if len(body) < header.length - HEADER_LENGTH:
            raise malformed("TRANSACTION_PAYLOAD event", "its contents end within an event")
        yield Content(header.kind, body, form)


def _feed_contents(building: Building, read: Callable[[int], bytes], form: FormatDescription) -> None:
    """The events inside a payload; they carry no checksum."""
    what = "TRANSACTION_PAYLOAD event"
    while True:
        raw = read(HEADER_LENGTH)
        if not raw:
            return
        header = events.decode_header(raw)
        left = header.length - HEADER_LENGTH
        body = read(min(left, _HEAD))
        left -= len(body)
        while left:
            piece = read(min(left, _PIECE))
            if not piece:
                raise malformed(what, "its contents end within an event")
            left -= len(piece)
        building.feed(header.kind, body, form)


# Many files


def read_index(path: str, data_directory: str = "") -> list[str]:
    """The files that an index file (``binlog.index``) names, oldest first.

    :param data_directory: what relative names are relative to, as mysqld's working directory is; by default the
        directory of the index.
    :raises HaError: ``binlog_index_unreadable``, ``binlog_index_empty``.
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise HaError(
            "binlog_index_unreadable",
            f"cannot read the index {path}: {error.strerror or error}",
            evidence={"path": path, "errno": error.errno},
            next_step="Run on the database host as root and give log_bin_index as SELECT @@log_bin_index shows it.",
        ) from error
    names = [os.fsdecode(line) for line in content.split(b"\n") if line]
    if not names or any("\0" in name for name in names):
        raise HaError(
            "binlog_index_empty",
            f"the index {path} names no binary log file",
            evidence={"path": path, "bytes": len(content)},
            next_step="Check that it is the index of the binary log (SELECT @@log_bin_index).",
        )
    base = data_directory or os.path.dirname(os.path.abspath(path))
    return [os.path.normpath(os.path.join(base, name)) for name in names]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A file that may hold some of the wanted GTIDs, judged by PREVIOUS_GTIDS alone.

    :param may_hold: which of them. Exact for GTIDs that were logged; what was only *purged into* the set
        (``SET GLOBAL gtid_purged``) counts too, and is then not found.
    """

    path: str
    prelude: Prelude
    may_hold: GtidSet
    is_last: bool


@dataclasses.dataclass(frozen=True)
class Choice:
    """The candidates, oldest first, and the wanted GTIDs that are older than the oldest file."""

    candidates: tuple[Candidate, ...]
    older: GtidSet
    oldest: str
    newest: Candidate


def choose_files(paths: Sequence[str], wanted: GtidSet) -> Choice:
    """Which files to search: each file's transactions are what its successor's PREVIOUS_GTIDS adds to its own.

    Reads only the beginning of each file. A file that does not say (it is torn there) is a candidate for everything.

    :raises HaError: ``binlog_unreadable``, ``binlog_encrypted``, ``binlog_not_a_binlog``.
    """
    preludes = []
    for path in paths:
        with BinlogFile.open(path) as file:
            preludes.append(file.prelude())
    candidates = []
    newest = None
    for position, (path, prelude) in enumerate(zip(paths, preludes)):
        last = position == len(paths) - 1
        may_hold = wanted - (prelude.previous_gtids or EMPTY)
        following = None if last else preludes[position + 1].previous_gtids
        if following is not None:
            may_hold = may_hold & following
        newest = Candidate(path, prelude, may_hold, last)
        if may_hold:
            candidates.append(newest)
    if newest is None:
        raise HaError("binlog_index_empty", "no binary log file was given")
    older = wanted & (preludes[0].previous_gtids or EMPTY)
    return Choice(tuple(candidates), older, paths[0], newest)
