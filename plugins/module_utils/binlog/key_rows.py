# SPDX-License-Identifier: BSD-2-Clause
"""The primary keys of the rows in row events, without decoding the rows. Pure: bytes in, bytes out.

Of a row only the bytes of its key's columns are taken; the others are stepped over by their lengths
(``values.extent``). How, depends on the table, on which columns the event holds and on which of them are NULL in this
row; it is worked out once for each such combination. A row's key is handed out as the bytes that the log has of it, its
columns in the order of the table: each is as long as its type says, or says itself how long it is, so two keys are the
same exactly if their bytes are. ``KeyPlan.values`` makes values of them, once for each distinct key instead of once for
each row.
"""

from __future__ import annotations

import dataclasses
import decimal
import struct
from typing import Any, Callable, Iterator, NamedTuple, Sequence

from . import events
from .events import Cursor, FormatDescription, Kind, malformed
from .tables import Column, ColumnType, Table, unsupported
from .values import extent, reader

_WHAT = "row event"
_MOST_LAYOUTS = 1000
"""Combinations of NULLs that are kept for each form of a table's rows."""
_AT_ONCE = 4096
"""Rows whose keys are handed out together."""
_PARTIAL_JSON = 1
"""The only option of a row in a PARTIAL_UPDATE_ROWS event: its JSON columns may be logged as differences."""

KeyValue = tuple[Any, ...]
"""Of a key, the values of its columns in the key's order: int; float; str; bytes; DECIMAL as text with all its digits,
dates and times as text, TIMESTAMP in UTC (``values``); ENUM and SET as their numbers: a member's name may be in a
character set that is not decoded, and the number finds the row in any."""

_Take = Callable[[bytes, int], "tuple[bytes, int]"]
_Hops = tuple[tuple[int, int], ...]
"""Bytes to step over, then a value behind its length of so many bytes; and so on."""


class RowsHeader(NamedTuple):
    """What stands before the rows. ``images``: bitmaps of the columns that each image of a row holds."""

    table_id: int
    statement_ends: bool
    width: int
    images: tuple[bytes, ...]
    position: int


def rows_header(kind: int, data: bytes, base: int, format_: FormatDescription) -> RowsHeader:
    """:raises HaError: ``binlog_event_malformed``."""
    header = format_.post_header_length(kind)
    middle = base + (4 if header == 6 else 6)
    table_id = int.from_bytes(data[base:middle], "little")
    position = middle + 2
    flags = int.from_bytes(data[middle:position], "little")
    if header == 10:
        extra = int.from_bytes(data[position : position + 2], "little")
        if extra < 2:
            raise malformed(_WHAT, f"{extra} bytes of extra data, with their length")
        position += extra
    field = Cursor(data, _WHAT, position)
    width = field.packed()
    size = (width + 7) // 8
    images = [field.take(size)]
    if events.ROWS_KINDS[Kind(kind)] == "update":
        images.append(field.take(size))
    return RowsHeader(table_id, bool(flags & 1), width, tuple(images), field.position)


class KeyNotLogged(Exception):
    """The event does not hold all columns of the key."""


class _Run(NamedTuple):
    """Neighbouring columns that are all of the key, or none of them."""

    of_key: bool
    hops: _Hops
    tail: int


class _Image:
    """How images with these columns are read."""

    def __init__(self, columns: Sequence[Column], bitmap: bytes, key: frozenset[int]) -> None:
        present = int.from_bytes(bitmap, "little")
        self._columns = [(place, column) for place, column in enumerate(columns) if present >> place & 1]
        self._key = key
        self.key_places = [place for place, _column in self._columns if place in key]
        self.null_bytes = (len(self._columns) + 7) // 8
        self.layouts: dict[bytes, _Take] = {}

    @property
    def holds_key(self) -> bool:
        return len(self.key_places) == len(self._key)

    def layout(self, nulls: bytes) -> _Take:
        """How a row with these NULLs is read: a function from data and position to the key's bytes and the row's end.

        :raises HaError: ``binlog_event_malformed``: a column of the key is NULL.
        """
        if len(self.layouts) >= _MOST_LAYOUTS:
            self.layouts.clear()
        take = self.layouts[nulls] = _taker(self.runs(nulls, apart=False))
        return take

    def runs(self, nulls: bytes, *, apart: bool) -> list[_Run]:
        """``apart``: each column of the key in a run of its own."""
        null = int.from_bytes(nulls, "little")
        runs: list[_Run] = []
        for number, (place, column) in enumerate(self._columns):
            of_key = place in self._key
            if null >> number & 1:
                if of_key:
                    raise malformed(_WHAT, "NULL in a primary key")
                continue
            last = runs.pop() if runs and runs[-1].of_key == of_key and not (apart and of_key) else None
            hops, tail = (last.hops, last.tail) if last else ((), 0)
            fixed, counted = extent(column)
            runs.append(_Run(of_key, (*hops, (tail, counted)), 0) if counted else _Run(of_key, hops, tail + fixed))
        return runs


def _over(data: bytes, position: int, hops: _Hops, tail: int) -> int:
    for fixed, width in hops:
        position += fixed
        if width == 1:
            position += data[position] + 1
        elif width == 2:
            position += (data[position] | data[position + 1] << 8) + 2
        else:
            position += int.from_bytes(data[position : position + width], "little") + width
    return position + tail


def _taker(runs: Sequence[_Run]) -> _Take:
    """The plainest function that reads these runs."""
    places = [number for number, run in enumerate(runs) if run.of_key]
    if len(places) != 1:
        return _scattered(tuple(runs))
    number = places[0]
    before = runs[0] if number else _Run(False, (), 0)
    key = runs[number]
    after = runs[number + 1] if number + 1 < len(runs) else _Run(False, (), 0)
    if before.hops or key.hops:
        return _anywhere(before, key, after)
    return _at_fixed_place(before.tail, before.tail + key.tail, after.hops, after.tail)


def _at_fixed_place(begin: int, end: int, hops: _Hops, tail: int) -> _Take:
    if not hops:
        size = end + tail

        def take_fixed(data: bytes, position: int) -> tuple[bytes, int]:
            return data[position + begin : position + end], position + size

        return take_fixed

    def take(data: bytes, position: int) -> tuple[bytes, int]:
        key = data[position + begin : position + end]
        position += end
        for fixed, width in hops:
            position += fixed
            if width == 1:
                position += data[position] + 1
            elif width == 2:
                position += (data[position] | data[position + 1] << 8) + 2
            else:
                position += int.from_bytes(data[position : position + width], "little") + width
        return key, position + tail

    return take


def _anywhere(before: _Run, key: _Run, after: _Run) -> _Take:
    def take(data: bytes, position: int) -> tuple[bytes, int]:
        begin = _over(data, position, before.hops, before.tail)
        end = _over(data, begin, key.hops, key.tail)
        return data[begin:end], _over(data, end, after.hops, after.tail)

    return take


def _scattered(runs: tuple[_Run, ...]) -> _Take:
    def take(data: bytes, position: int) -> tuple[bytes, int]:
        parts, position = _parts(runs, data, position)
        return b"".join(parts), position

    return take


def _parts(runs: Sequence[_Run], data: bytes, position: int) -> tuple[list[bytes], int]:
    parts = []
    for of_key, hops, tail in runs:
        end = _over(data, position, hops, tail)
        if of_key:
            parts.append(data[position:end])
        position = end
    return parts, position


class Keys(NamedTuple):
    """Of some rows of one event: how many rows, and their keys; of an update both keys of a row, if it has two."""

    rows: int
    keys: list[bytes]


class KeyPlan:
    """How the keys of one table's rows are found.

    :raises HaError: ``binlog_rows_unsupported``, ``binlog_event_malformed``: a column of a type that is not known.
    """

    def __init__(self, table: Table) -> None:
        if not table.key:
            raise ValueError(f"{table.table} has no key")
        self.table = table
        self.columns = tuple(table.columns[part.column] for part in table.key)
        self._key = frozenset(part.column for part in table.key)
        for column in table.columns:
            extent(column)
        places = sorted(self._key)
        self._readers = tuple(reader(dataclasses.replace(table.columns[place], members=None)) for place in places)
        self._order = tuple(places.index(part.column) for part in table.key)
        self._json_bytes = (sum(column.type is ColumnType.JSON for column in table.columns) + 7) // 8
        self._images: dict[bytes, _Image] = {}

    @property
    def signature(self) -> tuple[Any, ...]:
        """Two plans that have the same give keys whose bytes mean the same."""
        return self._order, tuple(
            (c.name, c.type, c.size, c.scale, c.unsigned, c.collation, c.members) for c in self.columns
        )

    def keys(self, kind: int, header: RowsHeader, data: bytes) -> Iterator[Keys]:
        """The keys of an event's rows, some thousand at a time.

        :param data: ends where the event's body ends.
        :raises KeyNotLogged: before anything else.
        :raises HaError: ``binlog_event_malformed``, perhaps only behind the last keys; ``binlog_rows_unsupported``.
        """
        if header.width != len(self.table.columns):
            raise malformed(_WHAT, f"{header.width} columns, and {len(self.table.columns)} in the TABLE_MAP event")
        images = [self._image(bitmap) for bitmap in header.images]
        if not images[0].holds_key:
            raise KeyNotLogged
        try:
            if len(images) == 2:
                yield from self._updated(images[0], images[1], header.position, data, kind == Kind.PARTIAL_UPDATE_ROWS)
            else:
                yield from _single(images[0], header.position, data)
        except IndexError as error:
            raise malformed(_WHAT, "a row that ends beyond the event") from error

    def _image(self, bitmap: bytes) -> _Image:
        image = self._images.get(bitmap)
        if image is None:
            if len(self._images) >= _MOST_LAYOUTS:
                self._images.clear()
            image = self._images[bitmap] = _Image(self.table.columns, bitmap, self._key)
        return image

    def _updated(self, before: _Image, after: _Image, position: int, data: bytes, partial: bool) -> Iterator[Keys]:
        """What an image after the change does not hold (``binlog_row_image``) is as it was."""
        end = len(data)
        found: list[bytes] = []
        rows = 0
        whole = after.holds_key
        old_bytes, old_layouts = before.null_bytes, before.layouts
        new_bytes, new_layouts = after.null_bytes, after.layouts
        while position < end:
            start = position + old_bytes
            old_nulls = data[position:start]
            old, position = (old_layouts.get(old_nulls) or before.layout(old_nulls))(data, start)
            old_start = start
            if partial:
                position = self._behind_options(data, position)
            start = position + new_bytes
            nulls = data[position:start]
            new, position = (new_layouts.get(nulls) or after.layout(nulls))(data, start)
            found.append(old)
            if not whole:
                new = self._mixed(before, old_nulls, old_start, after, nulls, start, data) if new else old
            if new != old:
                found.append(new)
            rows += 1
            if rows == _AT_ONCE:
                _check_end(position, end)
                yield Keys(rows, found)
                found, rows = [], 0
        _check_end(position, end)
        yield Keys(rows, found)

    def _behind_options(self, data: bytes, position: int) -> int:
        """Before the image after a change: options, and which of *all* JSON columns are differences. These lie, like
        whole documents, behind their length."""
        field = Cursor(data, _WHAT, position)
        options = field.packed()
        if options & ~_PARTIAL_JSON:
            raise unsupported("PARTIAL_UPDATE_ROWS event", f"option {options} of a row")
        return field.position + (self._json_bytes if options else 0)

    def _mixed(
        self, before: _Image, old_nulls: bytes, old: int, after: _Image, nulls: bytes, new: int, data: bytes
    ) -> bytes:
        """The key after a change of some of its columns, of which only these were logged."""
        parts, _end = _parts(before.runs(old_nulls, apart=True), data, old)
        changed, _end = _parts(after.runs(nulls, apart=True), data, new)
        by_place = dict(zip(before.key_places, parts))
        by_place.update(zip(after.key_places, changed))
        return b"".join(by_place[place] for place in before.key_places)

    def values(self, key: bytes) -> KeyValue:
        """:raises HaError: ``binlog_event_malformed``: bytes that are no value of their type."""
        position = 0
        found: list[Any] = []
        try:
            for read in self._readers:
                value, position = read(key, position)
                found.append(format(value, "f") if isinstance(value, decimal.Decimal) else value)
        except (IndexError, struct.error, ValueError, OverflowError) as error:
            raise malformed(_WHAT, f"a key: {error}") from error
        if position != len(key):
            raise malformed(_WHAT, f"a key of {len(key)} bytes that ends at {position}")
        return tuple(found[place] for place in self._order)


def _single(image: _Image, position: int, data: bytes) -> Iterator[Keys]:
    end = len(data)
    found: list[bytes] = []
    null_bytes, layouts = image.null_bytes, image.layouts
    while position < end:
        start = position + null_bytes
        nulls = data[position:start]
        key, position = (layouts.get(nulls) or image.layout(nulls))(data, start)
        found.append(key)
        if len(found) == _AT_ONCE:
            _check_end(position, end)
            yield Keys(len(found), found)
            found = []
    _check_end(position, end)
    yield Keys(len(found), found)


def _check_end(position: int, end: int) -> None:
    if position > end:
        raise malformed(_WHAT, f"a row that ends at {position} of {end}")
