# SPDX-License-Identifier: BSD-2-Clause
"""What the bytes of binary log events say. Pure: bytes in, values out.

An event is a header of 19 bytes, a post-header whose length the file's FORMAT_DESCRIPTION event names for each type,
a body, and, when the file says so, a CRC32 of all that. Decoders take the *body*: what follows the header, without the
checksum. Most of them need only its beginning, so that a reader need not hold a large event in memory.

Sources: MySQL internals documentation of ``libs/mysql/binlog/event`` and ``libs/mysql/serialization`` (readme), and
what mysqld 9.7.4 wrote (``tests/unit/binlog/fixtures``).
"""

from __future__ import annotations

import dataclasses
import enum
import struct
import uuid as uuids
import zlib
from typing import Mapping, Optional, Union

from ..errors import HaError
from ..gtid import GtidSet, Interval, Origin

MAGIC = b"\xfebin"
ENCRYPTED_MAGIC = b"\xfdbin"
HEADER_LENGTH = 19
CHECKSUM_LENGTH = 4


class Kind(enum.IntEnum):
    """Event types. A number not in this list is a type of another version; its flags say whether it may be ignored."""

    QUERY = 2
    STOP = 3
    ROTATE = 4
    INTVAR = 5
    RAND = 13
    USER_VAR = 14
    FORMAT_DESCRIPTION = 15
    XID = 16
    BEGIN_LOAD_QUERY = 17
    EXECUTE_LOAD_QUERY = 18
    TABLE_MAP = 19
    WRITE_ROWS_V1 = 23
    UPDATE_ROWS_V1 = 24
    DELETE_ROWS_V1 = 25
    INCIDENT = 26
    HEARTBEAT = 27
    IGNORABLE = 28
    ROWS_QUERY = 29
    WRITE_ROWS = 30
    UPDATE_ROWS = 31
    DELETE_ROWS = 32
    GTID = 33
    ANONYMOUS_GTID = 34
    PREVIOUS_GTIDS = 35
    TRANSACTION_CONTEXT = 36
    VIEW_CHANGE = 37
    XA_PREPARE = 38
    PARTIAL_UPDATE_ROWS = 39
    TRANSACTION_PAYLOAD = 40
    HEARTBEAT_V2 = 41
    GTID_TAGGED = 42
    LARGE_TRANSACTION_HEADER = 43


GTID_KINDS = frozenset({Kind.GTID, Kind.ANONYMOUS_GTID, Kind.GTID_TAGGED})
"""An event of these begins a transaction."""

CONTROL_KINDS = frozenset(
    {
        Kind.STOP,
        Kind.ROTATE,
        Kind.FORMAT_DESCRIPTION,
        Kind.PREVIOUS_GTIDS,
        Kind.HEARTBEAT,
        Kind.HEARTBEAT_V2,
    }
)
"""Events about the file or the connection; they belong to no transaction."""

ROWS_KINDS = {
    Kind.WRITE_ROWS: "write",
    Kind.WRITE_ROWS_V1: "write",
    Kind.UPDATE_ROWS: "update",
    Kind.UPDATE_ROWS_V1: "update",
    Kind.PARTIAL_UPDATE_ROWS: "update",
    Kind.DELETE_ROWS: "delete",
    Kind.DELETE_ROWS_V1: "delete",
}


class Flag(enum.IntFlag):
    """Header flags this package looks at."""

    IN_USE = 0x1
    """On the FORMAT_DESCRIPTION event of a file that is open, or was when the server died."""
    ARTIFICIAL = 0x20
    RELAY_LOG = 0x40
    IGNORABLE = 0x80


class ChecksumAlgorithm(enum.IntEnum):
    """``binlog_checksum`` as the file has it."""

    OFF = 0
    CRC32 = 1


def malformed(what: str, why: str) -> HaError:
    """The error of every decoder here."""
    return HaError(
        "binlog_event_malformed",
        f"a {what} that cannot be decoded: {why}",
        evidence={"what": what, "why": why},
        next_step="Look at the file with mysqlbinlog: it is damaged, or of a version that is not known here.",
    )


class Cursor:
    """Reads little-endian fields one after the other; running out of bytes is ``binlog_event_malformed``."""

    __slots__ = ("_data", "_what", "position")

    def __init__(self, data: bytes, what: str, position: int = 0) -> None:
        self._data = data
        self._what = what
        self.position = position

    @property
    def left(self) -> int:
        return len(self._data) - self.position

    def take(self, length: int) -> bytes:
        if length < 0 or length > self.left:
            raise malformed(self._what, f"{length} bytes wanted at {self.position}, {self.left} left")
        taken = self._data[self.position : self.position + length]
        self.position += length
        return taken

    def unsigned(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def signed(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little", signed=True)

    def packed(self) -> int:
        """MySQL's length-encoded integer (one, three, four or nine bytes)."""
        first = self.unsigned(1)
        if first <= 250:
            return first
        if first in (251, 255):
            raise malformed(self._what, f"{first} is no length")
        return self.unsigned({252: 2, 253: 3, 254: 8}[first])

    def varlen_unsigned(self) -> int:
        """``mysql::serialization``'s integer: as many trailing one bits as further bytes, then the value."""
        first = self.unsigned(1)
        more = 0
        while more < 8 and first >> more & 1:
            more += 1
        rest = self.unsigned(more)
        if more == 8:
            return rest
        return (first >> (more + 1)) | rest << (7 - more)

    def varlen_signed(self) -> int:
        """The sign is the lowest bit; a negative number n is stored as -(n + 1)."""
        raw = self.varlen_unsigned()
        return -(raw >> 1) - 1 if raw & 1 else raw >> 1


@dataclasses.dataclass(frozen=True)
class Header:
    """The common header. ``end_log_pos`` counts in the file the event was first written to, modulo 2**32."""

    timestamp: int
    kind: int
    server_id: int
    length: int
    end_log_pos: int
    flags: int


_HEADER = struct.Struct("<IBIIIH")


def decode_header(data: bytes) -> Header:
    """:raises HaError: ``binlog_event_malformed``: not 19 bytes, or a length that is shorter than a header."""
    if len(data) != HEADER_LENGTH:
        raise malformed("event header", f"{len(data)} bytes of {HEADER_LENGTH}")
    header = Header(*_HEADER.unpack(data))
    if header.length < HEADER_LENGTH:
        why = "nothing but zero bytes" if not any(data) else f"an event length of {header.length}"
        raise malformed("event header", why)
    if header.kind == 0:
        raise malformed("event header", "event type 0")
    return header


def kind_name(kind: int) -> str:
    """``query``; ``type 99`` for one that has no name here."""
    return Kind(kind).name.lower() if kind in Kind._value2member_map_ else f"type {kind}"


# FORMAT_DESCRIPTION


@dataclasses.dataclass(frozen=True)
class FormatDescription:
    """How this file is written."""

    server_version: str
    created: int
    post_header_lengths: tuple[int, ...]
    checksum: ChecksumAlgorithm

    def post_header_length(self, kind: int) -> int:
        """0 for a type the file's server did not know."""
        return self.post_header_lengths[kind - 1] if 0 < kind <= len(self.post_header_lengths) else 0

    @property
    def trailer(self) -> int:
        """How many bytes of checksum end each event."""
        return CHECKSUM_LENGTH if self.checksum is ChecksumAlgorithm.CRC32 else 0

    def same_format(self, other: FormatDescription) -> bool:
        """Whether events of one file can follow the description of the other."""
        return dataclasses.replace(self, created=0) == dataclasses.replace(other, created=0)


def decode_format_description(event: bytes) -> FormatDescription:
    """Takes the whole event, with its header: it always ends with the algorithm and four bytes of checksum.

    The checksum of *this* event is there and right whatever the algorithm; it was computed with the in-use flag off.

    :raises HaError: ``binlog_version_unsupported``, ``binlog_event_malformed``.
    """
    what = "FORMAT_DESCRIPTION event"
    body = Cursor(event[: -CHECKSUM_LENGTH - 1], what, HEADER_LENGTH)
    if not format_checksum_right(event):
        raise malformed(what, "its checksum is wrong")
    version = body.unsigned(2)
    if version != 4:
        raise HaError(
            "binlog_version_unsupported",
            f"binary log format {version}; only format 4 (MySQL 5.0 and later) can be read",
            evidence={"binlog_version": version},
            next_step="Give a binary log of MySQL 8.0.26 or later.",
        )
    server = body.take(50).split(b"\0", 1)[0].decode("ascii", "backslashreplace")
    created = body.unsigned(4)
    header_length = body.unsigned(1)
    if header_length != HEADER_LENGTH:
        raise malformed(what, f"event headers of {header_length} bytes")
    lengths = tuple(body.take(body.left))
    if len(lengths) < Kind.PREVIOUS_GTIDS:
        raise malformed(what, f"it knows {len(lengths)} event types only")
    algorithm = event[-CHECKSUM_LENGTH - 1]
    if algorithm not in (ChecksumAlgorithm.OFF, ChecksumAlgorithm.CRC32):
        raise malformed(what, f"checksum algorithm {algorithm} is unknown")
    return FormatDescription(server, created, lengths, ChecksumAlgorithm(algorithm))


def format_not_in_use(event: bytes) -> bytes:
    """The FORMAT_DESCRIPTION event as the server leaves it when it closes the file; its checksum stays right."""
    flags = int.from_bytes(event[17:19], "little") & ~int(Flag.IN_USE)
    return event[:17] + flags.to_bytes(2, "little") + event[19:]


def format_checksum_right(event: bytes) -> bool:
    closed = format_not_in_use(event)
    return zlib.crc32(closed[:-CHECKSUM_LENGTH]) == int.from_bytes(closed[-CHECKSUM_LENGTH:], "little")


# GTIDs


@dataclasses.dataclass(frozen=True)
class Gtid:
    """The name of one transaction."""

    uuid: str
    tag: str
    number: int

    def __str__(self) -> str:
        return f"{self.uuid}:{self.tag}:{self.number}" if self.tag else f"{self.uuid}:{self.number}"

    def as_set(self) -> GtidSet:
        return GtidSet({(self.uuid, self.tag): [(self.number, self.number)]})


@dataclasses.dataclass(frozen=True)
class GtidEvent:
    """The event before each transaction. ``gtid`` is None when the transaction is anonymous.

    Times are microseconds since the epoch, 0 where the writing server knew none. ``transaction_length`` counts the
    bytes of all events of the transaction, this one included; 0 when not told.
    """

    gtid: Optional[Gtid]
    last_committed: int = 0
    sequence_number: int = 0
    immediate_commit_timestamp: int = 0
    original_commit_timestamp: int = 0
    transaction_length: int = 0
    immediate_server_version: int = 0
    original_server_version: int = 0


_SEPARATE = 1 << 55


def decode_gtid(body: bytes, kind: int) -> GtidEvent:
    """GTID and ANONYMOUS_GTID: fixed places, then what newer versions appended.

    :raises HaError: ``binlog_event_malformed``.
    """
    field = Cursor(body, "GTID event")
    field.take(1)
    uuid = str(uuids.UUID(bytes=field.take(16)))
    number = field.signed(8)
    if kind == Kind.ANONYMOUS_GTID:
        gtid = None
    elif number < 1:
        raise malformed("GTID event", f"transaction number {number}")
    else:
        gtid = Gtid(uuid, "", number)
    if field.left < 17 or field.unsigned(1) != 2:
        return GtidEvent(gtid)
    last_committed, sequence_number = field.signed(8), field.signed(8)
    immediate = original = length = immediate_version = original_version = 0
    if field.left >= 7:
        immediate = original = field.unsigned(7)
        if immediate & _SEPARATE:
            immediate ^= _SEPARATE
            original = field.unsigned(7)
    if field.left:
        length = field.packed()
    if field.left >= 4:
        immediate_version = original_version = field.unsigned(4)
        if immediate_version & 1 << 31:
            immediate_version ^= 1 << 31
            original_version = field.unsigned(4)
    return GtidEvent(
        gtid, last_committed, sequence_number, immediate, original, length, immediate_version, original_version
    )


def decode_gtid_tagged(body: bytes) -> GtidEvent:
    """GTID_TAGGED (8.3 and later): one ``mysql::serialization`` message.

    Format version, size of the message, id of the last field that must be known, then fields, each after its id, in
    ascending order. The sixteen bytes of the UUID are sixteen variable-length integers.

    :raises HaError: ``binlog_event_malformed``.
    """
    what = "GTID_TAGGED event"
    field = Cursor(body, what)
    version = field.varlen_unsigned()
    if version != 1:
        raise malformed(what, f"serialization format {version}")
    size = field.varlen_unsigned()
    if size > len(body):
        raise malformed(what, f"a message of {size} bytes in a body of {len(body)}")
    field = Cursor(body[:size], what, field.position)
    must_know = field.varlen_unsigned()
    if must_know > 12:
        raise malformed(what, f"field {must_know} has to be understood and is unknown")
    uuid, tag, values = "", "", {}
    seen = -1
    while field.left:
        number = field.varlen_unsigned()
        if number <= seen:
            raise malformed(what, f"field {number} after field {seen}")
        seen = number
        if number == 1:
            raw = [field.varlen_unsigned() for _number in range(16)]
            if max(raw) > 255:
                raise malformed(what, "a byte of the UUID above 255")
            uuid = str(uuids.UUID(bytes=bytes(raw)))
        elif number == 3:
            tag = _tag(field, what)
        elif number in (2, 4, 5):
            values[number] = field.varlen_signed()
        elif number <= 11:
            values[number] = field.varlen_unsigned()
        else:
            break  # of a newer version, and it may be ignored; nothing after it is needed here
    if not uuid or values.get(2, 0) < 1:
        raise malformed(what, "no UUID, or no transaction number")
    immediate = values.get(6, 0)
    immediate_version = values.get(9, 0)
    return GtidEvent(
        gtid=Gtid(uuid, tag, values[2]),
        last_committed=values.get(4, 0),
        sequence_number=values.get(5, 0),
        immediate_commit_timestamp=immediate,
        original_commit_timestamp=values.get(7, immediate),
        transaction_length=values.get(8, 0),
        immediate_server_version=immediate_version,
        original_server_version=values.get(10, immediate_version),
    )


def _tag(field: Cursor, what: str) -> str:
    length = field.varlen_unsigned()
    if length > 32:
        raise malformed(what, f"a tag of {length} bytes")
    try:
        return field.take(length).decode("ascii").lower()
    except UnicodeDecodeError:
        raise malformed(what, "a tag that is not ASCII") from None


def decode_gtid_set(data: bytes) -> GtidSet:
    """The encoding of PREVIOUS_GTIDS.

    The first eight bytes hold the number of origins and, in the top byte, the format: 0, origins are UUIDs; 1 (as soon
    as the set holds a tag), each UUID is followed by a tag, empty for the plain origin, and the number of origins
    stands one byte higher, the format repeated below it. Intervals are half open.

    :raises HaError: ``binlog_event_malformed``.
    """
    what = "GTID set"
    field = Cursor(data, what)
    first = field.unsigned(8)
    form = first >> 56
    if form not in (0, 1):
        raise malformed(what, f"format {form} is unknown")
    count = first >> 8 & (1 << 48) - 1 if form else first
    origins: dict[Origin, list[Interval]] = {}
    for _number in range(count):
        uuid = str(uuids.UUID(bytes=field.take(16)))
        tag = _tag(field, what) if form else ""
        intervals = origins.setdefault((uuid, tag), [])
        for _number in range(field.unsigned(8)):
            begin, end = field.signed(8), field.signed(8)
            if not 1 <= begin < end:
                raise malformed(what, f"an interval from {begin} up to {end}")
            intervals.append((begin, end - 1))
    if field.left:
        raise malformed(what, f"{field.left} bytes too many")
    return GtidSet(origins)


# What is inside a transaction


@dataclasses.dataclass(frozen=True)
class Query:
    """A statement. ``text`` may be cut off when the body was.

    :param xid: the number under which the storage engine prepared an atomic DDL statement; None when it did not.
    :param databases: the schemas of every table that the statement used, also by triggers, views and functions; None
        when the event does not tell (there were more than 16, or the server does not say). An empty one among them:
        others too, which a foreign key or a temporary table leads to.
    :param client: MySQL's number of a collation of the client's character set, in which the text is; it was read as
        UTF-8 all the same, which is right for its ASCII letters.
    """

    thread_id: int
    error_code: int
    schema: str
    text: str
    xid: Optional[int] = None
    databases: Optional[tuple[str, ...]] = None
    client: Optional[int] = None


def decode_query(body: bytes, format_: FormatDescription, kind: int = Kind.QUERY) -> Query:
    """QUERY, and EXECUTE_LOAD_QUERY, which has more before the same.

    :raises HaError: ``binlog_event_malformed``.
    """
    field = Cursor(body, "QUERY event")
    thread_id = field.unsigned(4)
    field.take(4)
    schema_length = field.unsigned(1)
    error_code = field.unsigned(2)
    variables = field.unsigned(2)
    field.take(max(0, format_.post_header_length(kind) - field.position))
    status = _status(Cursor(field.take(variables), "status variables of a QUERY event"))
    schema = field.take(schema_length).decode("utf-8", "backslashreplace")
    field.take(1)
    text = field.take(field.left).decode("utf-8", "backslashreplace")
    return Query(thread_id, error_code, schema, text, *status)


# What follows the code of each status variable: a number of bytes. (MySQL source, statement_events.h)
_STATUS_LENGTHS: Mapping[int, int] = dict(
    zip((0, 1, 3, 7, 8, 9, 10, 13, 14, 15, 16, 18, 19, 20), (4, 8, 4, 2, 2, 8, 4, 3, 8, 8, 1, 2, 1, 1))
)
_STATUS_CATALOG, _STATUS_CHARSETS, _STATUS_INVOKER, _STATUS_DATABASES, _STATUS_DDL_XID = 2, 4, 11, 12, 17
_STATUS_TEXTS = frozenset({5, 6})
_TOO_MANY_DATABASES = 254


def _status(field: Cursor) -> tuple[Optional[int], Optional[tuple[str, ...]], Optional[int]]:
    """The number of an atomic DDL statement, the schemas that were used, and the client's character set.

    Variables stand in no fixed order, and only their code tells their length: an unknown one ends the reading.
    """
    xid: Optional[int] = None
    databases: Optional[tuple[str, ...]] = None
    client: Optional[int] = None
    while field.left:
        code = field.unsigned(1)
        if code == _STATUS_DDL_XID:
            xid = field.unsigned(8)
        elif code == _STATUS_CHARSETS:
            client = field.unsigned(2)
            field.take(4)
        elif code in _STATUS_LENGTHS:
            field.take(_STATUS_LENGTHS[code])
        elif code in _STATUS_TEXTS:
            field.take(field.unsigned(1))
        elif code == _STATUS_CATALOG:
            field.take(field.unsigned(1) + 1)
        elif code == _STATUS_INVOKER:
            field.take(field.unsigned(1))
            field.take(field.unsigned(1))
        elif code == _STATUS_DATABASES:
            count = field.unsigned(1)
            if count != _TOO_MANY_DATABASES:
                databases = tuple(_until_zero(field) for _number in range(count))
        else:
            break
    return xid, databases, client


def _until_zero(field: Cursor) -> str:
    found = bytearray()
    while (letter := field.take(1)) != b"\0":
        found += letter
    return found.decode("utf-8", "backslashreplace")


def statement_verb(text: str) -> str:
    """The first two words of a statement, without what follows: safe to show, for it holds no value and no secret.

    ``CREATE TABLE``, ``DROP USER``, ``INSERT INTO``, ``XA COMMIT``.
    """
    words = []
    for word in text[:200].split()[:2]:
        plain = "".join(letter for letter in word if letter.isascii() and (letter.isalpha() or letter == "_"))
        if plain != word:
            break
        words.append(word.upper())
    return " ".join(words)


@dataclasses.dataclass(frozen=True)
class TableMap:
    """Which table the following row events mean by ``table_id``."""

    table_id: int
    schema: str
    table: str


def decode_table_map(body: bytes, format_: FormatDescription) -> TableMap:
    """:raises HaError: ``binlog_event_malformed``."""
    field = Cursor(body, "TABLE_MAP event")
    table_id = _table_id(field, format_.post_header_length(Kind.TABLE_MAP))
    names = []
    for _number in range(2):
        names.append(field.take(field.packed()).decode("utf-8", "backslashreplace"))
        field.take(1)
    return TableMap(table_id, *names)


@dataclasses.dataclass(frozen=True)
class Rows:
    """A row event: what it does, to which table. The rows themselves are not decoded."""

    operation: str
    table_id: int
    statement_ends: bool


def decode_rows(body: bytes, kind: int, format_: FormatDescription) -> Rows:
    """:raises HaError: ``binlog_event_malformed``."""
    field = Cursor(body, "row event")
    wide = format_.post_header_length(kind)
    table_id = field.unsigned(4 if wide == 6 else 6)
    return Rows(ROWS_KINDS[Kind(kind)], table_id, bool(field.unsigned(2) & 1))


def _table_id(field: Cursor, post_header_length: int) -> int:
    number = field.unsigned(4 if post_header_length == 6 else 6)
    field.take(2)
    return number


def decode_xid(body: bytes) -> int:
    """The number that InnoDB's prepared transaction carries: crash recovery commits it when the log has this event."""
    return Cursor(body, "XID event").unsigned(8)


@dataclasses.dataclass(frozen=True)
class XaPrepare:
    """The end of the first phase of an XA transaction; with ``one_phase`` also of the second."""

    one_phase: bool
    xid: str


def decode_xa_prepare(body: bytes) -> XaPrepare:
    """:raises HaError: ``binlog_event_malformed``."""
    field = Cursor(body, "XA_PREPARE event")
    one_phase = field.unsigned(1) != 0
    format_id, gtrid, bqual = field.signed(4), field.unsigned(4), field.unsigned(4)
    return XaPrepare(one_phase, f"X'{field.take(gtrid).hex()}',X'{field.take(bqual).hex()}',{format_id}")


@dataclasses.dataclass(frozen=True)
class Payload:
    """A compressed transaction: where in the body its compressed events lie."""

    compression: str
    offset: int
    size: int
    uncompressed_size: int


def decode_payload(body: bytes) -> Payload:
    """TRANSACTION_PAYLOAD: fields of (type, length, value), then the events.

    :raises HaError: ``binlog_event_malformed``.
    """
    what = "TRANSACTION_PAYLOAD event"
    field = Cursor(body, what)
    values: dict[int, int] = {}
    while True:
        number = field.packed()
        if number == 0:
            break
        end = field.packed()
        end += field.position
        values[number] = field.packed()
        if end < field.position:
            raise malformed(what, f"field {number} is longer than it says")
        field.take(end - field.position)
    if 1 not in values:
        raise malformed(what, "it does not say its size")
    kind = values.get(2, 255)
    compression = {0: "zstd", 255: "none"}.get(kind, f"type {kind}")
    return Payload(compression, field.position, values[1], values.get(3, values[1]))


@dataclasses.dataclass(frozen=True)
class Rotate:
    """Where the log goes on."""

    position: int
    file: str


def decode_rotate(body: bytes) -> Rotate:
    """:raises HaError: ``binlog_event_malformed``."""
    field = Cursor(body, "ROTATE event")
    return Rotate(field.unsigned(8), field.take(field.left).decode("utf-8", "backslashreplace"))


Decoded = Union[GtidEvent, GtidSet, Query, TableMap, Rows, XaPrepare, Payload, Rotate, int, None]


def decode(kind: int, body: bytes, format_: FormatDescription) -> Decoded:
    """The event's facts, by its type; None for one that has none here (STOP, HEARTBEAT, unknown types).

    :raises HaError: ``binlog_event_malformed``.
    """
    if kind in (Kind.GTID, Kind.ANONYMOUS_GTID):
        return decode_gtid(body, kind)
    if kind == Kind.GTID_TAGGED:
        return decode_gtid_tagged(body)
    if kind == Kind.TABLE_MAP:
        return decode_table_map(body, format_)
    if kind in ROWS_KINDS:
        return decode_rows(body, kind, format_)
    if kind == Kind.QUERY:
        return decode_query(body, format_)
    if kind == Kind.XID:
        return decode_xid(body)
    if kind == Kind.XA_PREPARE:
        return decode_xa_prepare(body)
    if kind == Kind.TRANSACTION_PAYLOAD:
        return decode_payload(body)
    if kind == Kind.PREVIOUS_GTIDS:
        return decode_gtid_set(body)
    if kind == Kind.ROTATE:
        return decode_rotate(body)
    return None
