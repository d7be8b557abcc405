# SPDX-License-Identifier: BSD-2-Clause
"""Row events to row changes, and the statements between them. Pure: events in, changes out.

A TABLE_MAP event says what a table looks like and gives it a number; the row events behind it name that number and hold
images: which columns, which of them are NULL, then the values one after the other. How a table's rows are read is made
once for each different TABLE_MAP, for a log repeats the same ones for every statement.
"""

from __future__ import annotations

import re
import struct
from typing import Any, Iterator, Mapping, NamedTuple, Optional, Sequence, Union

from . import events
from .events import Cursor, FormatDescription, Kind, malformed
from .tables import Table, decode_table, unsupported
from .values import Reader, reader

_WHAT = "row event"
_STATEMENT_ENDS = 1
_MOST_PLANS = 1000
"""Tables whose plan is kept; a schema with more makes some anew."""

Image = Mapping[str, Any]
"""Values by column name; a column that the event does not hold (``binlog_row_image``) is not in it."""


class Change(NamedTuple):
    """One row that was written, updated or deleted.

    :param operation: ``write``, ``update`` or ``delete``.
    :param before: the row as it was; None for a write.
    :param after: the row as it became; None for a delete.
    """

    table: Table
    operation: str
    before: Optional[Image]
    after: Optional[Image]

    @property
    def key(self) -> Optional[dict[str, Any]]:
        """The primary key's columns of the row as it was (as it became, for a write).

        None when the table has no primary key, or the log does not tell it or does not hold all of its columns.
        """
        image = self.after if self.before is None else self.before
        names = [self.table.columns[part.column].name for part in self.table.key]
        if not names or image is None or not all(name in image for name in names):
            return None
        return {name: image[name] for name in names}


class Logged(NamedTuple):
    """A statement that the log holds as text: DDL, or what ran with ``binlog_format=STATEMENT``.

    :param schema: the schema that names without one mean.
    :param verb: its first two words; INCIDENT for the event that says that something is not in the log.
    :param text: empty when it may hold a password's hash.
    """

    schema: str
    verb: str
    text: str


# How rows of one table are read

_Columns = tuple[tuple[str, Reader], ...]


class _Part(NamedTuple):
    """The columns of an image, and how many bytes say which of them are NULL."""

    columns: _Columns
    null_bytes: int


class _Plan:
    """How the rows of one table are read."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._columns = tuple((column.name, reader(column)) for column in table.columns)
        self._parts: dict[bytes, _Part] = {}

    @property
    def width(self) -> int:
        return len(self._columns)

    def part(self, bitmap: bytes) -> _Part:
        """The columns whose bit is set: the same few bitmaps come again and again."""
        part = self._parts.get(bitmap)
        if part is None:
            present = int.from_bytes(bitmap, "little")
            held = tuple(column for number, column in enumerate(self._columns) if present >> number & 1)
            part = self._parts[bitmap] = _Part(held, (len(held) + 7) // 8)
        return part


def _image(data: bytes, position: int, part: _Part) -> tuple[Image, int]:
    """One image at the position, and the position behind it, which may be beyond the end (see ``values``)."""
    columns, null_bytes = part
    start = position + null_bytes
    nulls = int.from_bytes(data[position:start], "little")
    position = start
    values: dict[str, Any] = {}
    if not nulls:
        for name, read in columns:
            values[name], position = read(data, position)
        return values, position
    for name, read in columns:
        if nulls & 1:
            values[name] = None
        else:
            values[name], position = read(data, position)
        nulls >>= 1
    return values, position


def _changes(table: Table, operation: str, data: bytes, position: int, parts: Sequence[_Part]) -> Iterator[Change]:
    end = len(data)
    while position < end:
        images: list[Image] = []
        begun = position
        try:
            for part in parts:
                image, position = _image(data, position, part)
                images.append(image)
        except (IndexError, struct.error, ValueError, OverflowError) as error:
            raise malformed(_WHAT, f"a row at {begun}: {error}") from error
        if position > end or position == begun:
            raise malformed(_WHAT, f"a row at {begun} that ends at {position} of {end}")
        if operation == "update":
            yield Change(table, operation, images[0], images[1])
        elif operation == "write":
            yield Change(table, operation, None, images[0])
        else:
            yield Change(table, operation, images[0], None)


# Events


_WITHOUT_OBJECT = frozenset({"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "XA START", "XA END"})
"""Statements that say where transactions and parts of them begin and end."""

_OF_ACCOUNTS = re.compile(
    r"\s*(?:/\*.*?\*/\s*|(?:--\s|#)[^\n]*\n\s*)*(?:(?:CREATE|ALTER)\s+(?:USER|SERVER)|SET\s+PASSWORD|GRANT|REVOKE)\b",
    re.IGNORECASE | re.DOTALL,
)
_SECRET = re.compile(r"\b(?:IDENTIFIED|PASSWORD)\b", re.IGNORECASE)
_ANYWHERE = re.compile(r"\bIDENTIFIED\s+(?:BY|WITH|VIA)\b", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """The statement, or nothing if it may say a password or its hash."""
    secret = _ANYWHERE.search(text) or (_OF_ACCOUNTS.match(text) and _SECRET.search(text))
    return "" if secret else text


class Decoder:
    """The row changes and statements of a log's events, which are fed in their order.

    One for each transaction or for many: TABLE_MAP events stand in the same transaction as the rows they are about.
    """

    def __init__(self) -> None:
        self._plans: dict[bytes, _Plan] = {}
        self._maps: dict[int, _Plan] = {}

    def feed(self, kind: int, body: bytes, format_: FormatDescription) -> Iterator[Union[Change, Logged]]:
        """What one event says; mostly of a TABLE_MAP or a row event.

        :param body: the whole body, without header and checksum.
        :raises HaError: ``binlog_event_malformed``; ``binlog_rows_unsupported`` for rows in a form that is not
            decoded: JSON as the difference to what was (``binlog_row_value_options=PARTIAL_JSON``), column types of
            before MySQL 5.6 or that are not known.
        """
        if kind == Kind.TABLE_MAP:
            self._map(body, format_)
        elif kind in events.ROWS_KINDS:
            yield from self._rows(kind, body, format_)
        elif kind in (Kind.QUERY, Kind.EXECUTE_LOAD_QUERY):
            yield from _statement(kind, body, format_)
        elif kind == Kind.INCIDENT:
            yield Logged("", "INCIDENT", "")

    def _map(self, body: bytes, format_: FormatDescription) -> None:
        width = 4 if format_.post_header_length(Kind.TABLE_MAP) == 6 else 6
        plan = self._plans.get(body[width:])
        table_id = int.from_bytes(body[:width], "little")
        if plan is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            plan = self._plans[body[width:]] = _Plan(decode_table(body, format_))
        self._maps[table_id] = plan

    def _rows(self, kind: int, body: bytes, format_: FormatDescription) -> Iterator[Change]:
        if kind == Kind.PARTIAL_UPDATE_ROWS:
            raise unsupported("PARTIAL_UPDATE_ROWS event", "JSON is logged as a difference")
        field = Cursor(body, _WHAT)
        header = format_.post_header_length(kind)
        table_id = field.unsigned(4 if header == 6 else 6)
        flags = field.unsigned(2)
        if header == 10:
            extra = field.unsigned(2)
            if extra < 2:
                raise malformed(_WHAT, f"{extra} bytes of extra data, with their length")
            field.take(extra - 2)
        width = field.packed()
        size = (width + 7) // 8
        bitmaps = [field.take(size)]
        operation = events.ROWS_KINDS[Kind(kind)]
        if operation == "update":
            bitmaps.append(field.take(size))
        plan = self._maps.get(table_id)
        if plan is None:
            if field.left:
                raise malformed(_WHAT, f"rows of table number {table_id}, which no TABLE_MAP event named")
            return  # the dummy event that ends a statement which changed nothing
        if width != plan.width:
            raise malformed(_WHAT, f"{width} columns, and {plan.width} in the TABLE_MAP event")
        yield from _changes(plan.table, operation, body, field.position, [plan.part(bitmap) for bitmap in bitmaps])
        if flags & _STATEMENT_ENDS:
            self._maps.clear()


def _statement(kind: int, body: bytes, format_: FormatDescription) -> Iterator[Logged]:
    query = events.decode_query(body, format_, kind)
    verb = events.statement_verb(query.text)
    if verb in _WITHOUT_OBJECT or verb.startswith("SAVEPOINT"):
        return
    yield Logged(query.schema, verb, without_secrets(query.text))
