# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys without rows, against what the full decoder makes of the same bytes."""

from __future__ import annotations

import dataclasses
import decimal
import gzip
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import values
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.events import Kind
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.key_rows import (
    KeyNotLogged,
    KeyPlan,
    rows_header,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.rows import Change, Decoder
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.tables import (
    Column,
    ColumnType,
    KeyPart,
    Table,
    decode_table,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from hypothesis import given, settings
from hypothesis import strategies as st

from . import rowsmith as smith
from .samples import FIXTURES, opened, whole

DATA = gzip.decompress((FIXTURES / "types.binlog.gz").read_bytes())
UTF8 = smith.optional(2, smith.packed(255))


def plain(value: Any, column: Column) -> Any:
    """As keys have it."""
    if column.members is not None and column.type is ColumnType.ENUM:
        return column.members.index(value) + 1 if value else 0
    if column.members is not None and column.type is ColumnType.SET:
        return sum(1 << column.members.index(name) for name in value.split(",") if name)
    return format(value, "f") if isinstance(value, decimal.Decimal) else value


def keys_of(plan: KeyPlan, kind: int, body: bytes) -> list[tuple[Any, ...]]:
    header = rows_header(kind, body, 0, smith.FORM)
    return [plan.values(key) for some in plan.keys(kind, header, body) for key in some.keys]


def keys_of_changes(table: Table, changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    """The same by whole rows: the key before, and the key after where that is another."""
    columns = [table.columns[part.column] for part in table.key]
    found = []
    for change in changes:
        images = [change.before, {**(change.before or {}), **(change.after or {})}]
        keys = [tuple(plain(image[column.name], column) for column in columns) for image in images if image]
        found += [keys[0], *(key for key in keys[1:] if key != keys[0])]
    return found


# Every type, as mysqld wrote it


def real_events() -> list[tuple[Table, int, bytes, Any, list[Change]]]:
    """Of the fixture with every type: the table, a row event, and its changes decoded."""
    file = opened(DATA)
    found = []
    for transaction in whole(DATA):
        if transaction.compression:
            continue
        decoder = Decoder()
        table: Table | None = None
        for kind, body, form in file.contents(transaction.start, transaction.end):
            changes = list(decoder.feed(kind, body, form))
            if kind == Kind.TABLE_MAP:
                table = decode_table(body, form)
            elif changes and table is not None:
                found.append((table, kind, body, form, [each for each in changes if isinstance(each, Change)]))
    return found


REAL = real_events()


@pytest.mark.parametrize("place", range(len(REAL[0][0].columns)))
def test_each_column_of_the_server_as_the_key(place: int) -> None:
    compared = 0
    for table, kind, body, form, changes in REAL:
        if not table.key:
            continue  # minimal metadata
        for parts in ((place,), (0, place), (place, 0)):
            keyed = dataclasses.replace(table, key=tuple(KeyPart(part) for part in dict.fromkeys(parts)))
            plan = KeyPlan(keyed)
            header = rows_header(kind, body, 0, form)
            rows = [change.before or change.after or {} for change in changes]
            if any(row[column.name] is None for row in rows for column in plan.columns):
                with pytest.raises(HaError, match="NULL in a primary key"):
                    list(plan.keys(kind, header, body))
                continue
            found = [plan.values(key) for some in plan.keys(kind, header, body) for key in some.keys]
            expected = [tuple(plain(row[column.name], column) for column in plan.columns) for row in rows]
            assert found == expected
            assert [type(value) for key in found for value in key] == [type(value) for key in expected for value in key]
            compared += len(found)
    assert compared > 10 or table.columns[place].nullable


def test_the_fixture_has_every_type_and_some_of_each_are_compared() -> None:
    table = REAL[0][0]
    assert {column.type for column in table.columns} == set(ColumnType) - {
        ColumnType.TIMESTAMP, ColumnType.TIME, ColumnType.DATETIME,
    }  # fmt: skip
    seen: set[ColumnType] = set()
    for each, _kind, _body, _form, changes in REAL:
        for column in each.columns:
            rows = [change.before or change.after or {} for change in changes]
            if each.key and all(row[column.name] is not None for row in rows):
                seen.add(column.type)
    assert seen == {column.type for column in table.columns}


def test_a_value_is_as_long_for_who_steps_over_it_as_for_who_reads_it() -> None:
    """Each value of the server's alone, and no byte less or more."""
    for table, _kind, body, _form, changes in REAL:
        assert len(body) > 100 and changes
        for column in table.columns:
            fixed, counted = values.extent(column)
            read = values.reader(column)
            for filler in (b"\1", b"\3"):
                data = (filler * counted).ljust(300, b"\0") if counted else b"\0" * 300
                if column.type in (ColumnType.JSON, ColumnType.VECTOR):
                    continue  # their contents are looked at too
                _value, end = read(data, 0)
                assert end == (fixed or counted + int.from_bytes(data[:counted], "little"))


def test_types_that_are_not_known_are_not_stepped_over() -> None:
    for kind in (ColumnType.TIMESTAMP, ColumnType.TIME, ColumnType.DATETIME):
        with pytest.raises(HaError, match="binlog_rows_unsupported"):
            values.extent(Column("x", kind))
    for kind in (ColumnType.BLOB, ColumnType.JSON):
        with pytest.raises(HaError, match="binlog_event_malformed"):
            values.extent(Column("x", kind, 0))


# Any table


@dataclasses.dataclass(frozen=True)
class Sort:
    field: smith.Field
    values: st.SearchStrategy[Any]


MOMENTS = st.tuples(
    st.integers(0, 9999), st.integers(1, 12), st.integers(1, 28), st.integers(0, 23), st.integers(0, 59),
    st.integers(0, 59), st.just(0),
)  # fmt: skip
TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
SORTS = (
    Sort(smith.integer(1, 1), st.integers(-128, 127)),
    Sort(smith.integer(2, 2), st.integers(-(1 << 15), (1 << 15) - 1)),
    Sort(smith.integer(9, 3), st.integers(-(1 << 23), (1 << 23) - 1)),
    Sort(smith.integer(3, 4), st.integers(-(1 << 31), (1 << 31) - 1)),
    Sort(smith.integer(8, 8), st.integers(-(1 << 63), (1 << 63) - 1)),
    Sort(smith.DOUBLE, st.floats(allow_nan=False, allow_infinity=False)),
    Sort(smith.YEAR, st.integers(1901, 2155)),
    Sort(smith.bit(13), st.integers(0, 8191)),
    Sort(smith.DATE, st.tuples(st.integers(0, 9999), st.integers(1, 12), st.integers(1, 28))),
    Sort(smith.datetime2(0), MOMENTS),
    Sort(smith.datetime2(5), MOMENTS),
    Sort(smith.timestamp2(3), st.tuples(st.integers(0, 1 << 31), st.just(5000))),
    Sort(smith.time2(1), st.tuples(st.sampled_from([1, -1]), st.integers(1, 800), st.just(1), st.just(2), st.just(0))),
    Sort(smith.number(19, 4), st.integers(-(10**19) + 1, 10**19 - 1)),
    Sort(smith.number(40, 30), st.integers(-(10**40) + 1, 10**40 - 1)),
    Sort(smith.varchar(60), TEXT.map(lambda text: text[:15])),
    Sort(smith.varchar(300), TEXT),
    Sort(smith.char(70), TEXT.map(lambda text: text[:15])),
    Sort(smith.blob(1), st.binary(max_size=255)),
    Sort(smith.blob(2), st.binary(max_size=400)),
    Sort(smith.blob(3), st.binary(max_size=400)),
    Sort(smith.blob(4), st.binary(max_size=400)),
    Sort(smith.JSON, st.dictionaries(st.text("abc", max_size=3), st.integers(0, 9), max_size=3)),
    Sort(smith.ENUM, st.integers(1, 3)),
    Sort(smith.SET, st.integers(0, 7)),
)


@st.composite
def row_events(draw: st.DrawFn) -> tuple[bytes, int, bytes, bytes, int]:
    """A TABLE_MAP body; a row event's kind and body; the body as it is without options of the rows; how many rows."""
    sorts = draw(st.lists(st.sampled_from(SORTS), min_size=1, max_size=20))
    width = len(sorts)
    fields = [sort.field for sort in sorts]
    key = draw(st.lists(st.integers(0, width - 1), min_size=1, max_size=3, unique=True))
    more = smith.names(*(f"c{n}" for n in range(width))) + smith.optional(8, b"".join(map(smith.packed, key))) + UTF8
    kind = draw(st.sampled_from([Kind.WRITE_ROWS, Kind.UPDATE_ROWS, Kind.DELETE_ROWS, Kind.PARTIAL_UPDATE_ROWS]))
    update = kind in (Kind.UPDATE_ROWS, Kind.PARTIAL_UPDATE_ROWS)
    before = [place in key or draw(st.booleans()) for place in range(width)]
    held = [before]
    if update:
        held.append([draw(st.booleans()) for _place in range(width)])
    rows = draw(st.integers(1, 5))
    images = whole = b""
    json_bytes = (sum(field is smith.JSON for field in fields) + 7) // 8
    for _row in range(rows):
        for number, columns in enumerate(held):
            if number and kind == Kind.PARTIAL_UPDATE_ROWS:
                differences = draw(st.booleans())
                images += b"\1" + draw(st.binary(min_size=json_bytes, max_size=json_bytes)) if differences else b"\0"
            row = [
                draw(sort.values) if place in key or draw(st.booleans()) else None for place, sort in enumerate(sorts)
            ]
            images += smith.image(fields, row, columns)
            whole += smith.image(fields, row, columns)
    extra = draw(st.sampled_from([b"", b"\0\1x"]))
    body, plain_body = (smith.rows(width, each, held=held, extra=extra) for each in (images, whole))
    return smith.table_map(fields, more), int(kind), body, plain_body, rows


@settings(max_examples=600)
@given(row_events())
def test_the_same_keys_as_by_whole_rows(event: tuple[bytes, int, bytes, bytes, int]) -> None:
    table_map, kind, body, plain_body, rows = event
    table = decode_table(table_map, smith.FORM)
    header = rows_header(kind, body, 0, smith.FORM)
    plan = KeyPlan(table)
    assert sum(some.rows for some in plan.keys(kind, header, body)) == rows
    found = keys_of(plan, kind, body)
    decoder = Decoder()
    list(decoder.feed(Kind.TABLE_MAP, table_map, smith.FORM))
    # The full decoder does not read JSON as a difference, but the same rows without.
    plain_kind = Kind.UPDATE_ROWS if kind == Kind.PARTIAL_UPDATE_ROWS else kind
    changes = [each for each in decoder.feed(plain_kind, plain_body, smith.FORM) if isinstance(each, Change)]
    assert found == keys_of_changes(table, changes)
    for change in changes:
        key = change.key or {}
        assert tuple(plain(key[column.name], column) for column in plan.columns) in found


@settings(max_examples=600)
@given(row_events(), st.data())
def test_broken_bytes_are_refused_and_nothing_else_happens(
    event: tuple[bytes, int, bytes, bytes, int], data: st.DataObject
) -> None:
    table_map, kind, body, _plain_body, _rows = event
    broken = bytearray(body)
    for _flip in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(broken)))
    for given_body in (bytes(broken), bytes(broken[:cut])):
        try:
            keys_of(KeyPlan(decode_table(table_map, smith.FORM)), kind, given_body)
        except KeyNotLogged:
            continue
        except HaError as error:
            assert error.code in ("binlog_event_malformed", "binlog_rows_unsupported")


# Forms of events

PAIR = [smith.integer(3, 4), smith.varchar(20), smith.integer(3, 4)]


def pair_plan(*key: int) -> KeyPlan:
    more = smith.names("a", "b", "c") + smith.optional(8, bytes(key)) + UTF8
    return KeyPlan(decode_table(smith.table_map(PAIR, more), smith.FORM))


def test_of_an_update_both_keys() -> None:
    images = smith.image(PAIR, [1, "x", 5]) + smith.image(PAIR, [2, "x", 5])
    images += smith.image(PAIR, [3, "x", 5]) + smith.image(PAIR, [3, None, 6])
    body = smith.rows(3, images, held=[[True] * 3] * 2)
    assert keys_of(pair_plan(0), Kind.UPDATE_ROWS, body) == [(1,), (2,), (3,)]


def test_a_key_that_was_logged_in_part_after_the_change() -> None:
    """binlog_row_image=MINIMAL: the key before, and after only what was set."""
    key, changed = [True, True, False], [False, True, True]
    images = smith.image(PAIR, [1, "old", 0], key) + smith.image(PAIR, [0, "new", 9], changed)
    body = smith.rows(3, images, held=[key, changed])
    assert keys_of(pair_plan(1, 0), Kind.UPDATE_ROWS, body) == [("old", 1), ("new", 1)]
    other = [False, False, True]
    body = smith.rows(
        3, smith.image(PAIR, [1, "old", 0], key) + smith.image(PAIR, [0, "", 9], other), held=[key, other]
    )
    assert keys_of(pair_plan(1, 0), Kind.UPDATE_ROWS, body) == [("old", 1)]


@pytest.mark.parametrize("kind", [Kind.WRITE_ROWS, Kind.DELETE_ROWS, Kind.UPDATE_ROWS])
def test_a_key_that_was_not_logged(kind: Kind) -> None:
    held = [[True, False, True]] * (2 if kind == Kind.UPDATE_ROWS else 1)
    images = b"".join(smith.image(PAIR, [1, "x", 2], each) for each in held)
    with pytest.raises(KeyNotLogged):
        keys_of(pair_plan(0, 1), kind, smith.rows(3, images, held=held))


def test_json_as_a_difference_is_stepped_over() -> None:
    """Before the image after the change: options, and a bit for each JSON column of the table, held or not."""
    fields = [smith.integer(3, 4), *[smith.JSON] * 9, smith.varchar(20)]
    more = smith.names(*"abcdefghijk") + smith.optional(8, b"\0") + UTF8
    plan = KeyPlan(decode_table(smith.table_map(fields, more), smith.FORM))
    held = [True, *[False] * 8, True, True]
    difference = smith.Field(245, b"\4", lambda value: smith.counted(4, value))
    changed = [fields[0], *[difference] * 9, fields[10]]
    images = b""
    for number in (1, 2):
        images += smith.image(fields, [number, *[None] * 8, {"a": 1}, "x"])
        images += b"\1" + b"\0\1" + smith.image(changed, [number + 10, *[None] * 8, b"\0\1$.a\1", "y"], held)
    body = smith.rows(11, images, held=[[True] * 11, held])
    assert keys_of(plan, Kind.PARTIAL_UPDATE_ROWS, body) == [(1,), (11,), (2,), (12,)]
    unknown = smith.rows(11, smith.image(fields, [1, *[None] * 9, "x"]) + b"\2" + bytes(40), held=[[True] * 11, held])
    with pytest.raises(HaError, match="binlog_rows_unsupported"):
        keys_of(plan, Kind.PARTIAL_UPDATE_ROWS, unknown)


def test_many_rows_come_in_portions() -> None:
    images = b"".join(smith.image(PAIR, [number, "x", 0]) for number in range(10000))
    body = smith.rows(3, images)
    header = rows_header(Kind.WRITE_ROWS, body, 0, smith.FORM)
    plan = pair_plan(0)
    portions = list(plan.keys(Kind.WRITE_ROWS, header, body))
    assert len(portions) == 3 and sum(some.rows for some in portions) == 10000
    assert [plan.values(key) for some in portions for key in some.keys] == [(number,) for number in range(10000)]


def test_many_updates_come_in_portions() -> None:
    images = b"".join(
        smith.image(PAIR, [number, "x", 0]) + smith.image(PAIR, [number + 1, "x", 0]) for number in range(9000)
    )
    body = smith.rows(3, images, held=[[True] * 3] * 2)
    header = rows_header(Kind.UPDATE_ROWS, body, 0, smith.FORM)
    plan = pair_plan(0)
    portions = list(plan.keys(Kind.UPDATE_ROWS, header, body))
    assert [some.rows for some in portions] == [4096, 4096, 9000 - 8192]
    assert keys_of(plan, Kind.UPDATE_ROWS, body) == [(n + more,) for n in range(9000) for more in (0, 1)]


def test_a_table_without_a_key_has_no_plan() -> None:
    with pytest.raises(ValueError, match="no key"):
        KeyPlan(decode_table(smith.table_map(PAIR), smith.FORM))


def test_more_combinations_of_nulls_than_are_kept() -> None:
    fields = [smith.integer(3, 4), *[smith.varchar(20)] * 12]
    more = smith.names(*(f"c{n}" for n in range(13))) + smith.optional(8, b"\0") + UTF8
    plan = KeyPlan(decode_table(smith.table_map(fields, more), smith.FORM))
    rows = [[n, *("x" * (n % 7) if n >> bit & 1 else None for bit in range(12))] for n in range(4096)]
    body = smith.rows(13, b"".join(smith.image(fields, row) for row in rows))
    assert keys_of(plan, Kind.WRITE_ROWS, body) == [(n,) for n in range(4096)]


def test_other_columns_than_the_table_has() -> None:
    with pytest.raises(HaError, match="binlog_event_malformed"):
        keys_of(pair_plan(0), Kind.WRITE_ROWS, smith.rows(2, b"\0" * 9))
    with pytest.raises(HaError, match="binlog_event_malformed"):
        rows_header(Kind.WRITE_ROWS, smith.rows(3, b"")[:11], 0, smith.FORM)
    with pytest.raises(HaError, match="binlog_event_malformed"):
        pair_plan(0).values(b"\1\0\0\0\0")
    with pytest.raises(HaError, match="binlog_event_malformed"):
        pair_plan(1).values(b"")


CP1251 = 51
"""cp1251_general_ci, which is not decoded here."""


@pytest.mark.parametrize("collation", [CP1251, 255])
def test_members_are_numbers_in_a_key_and_names_in_a_row_where_they_are_decoded(collation: int) -> None:
    """A name of a character set that is not decoded would find no row, and no row on both servers is the same."""
    labels = ["да".encode("cp1251" if collation == CP1251 else "utf-8"), b"no", b""]
    members = smith.packed(3) + b"".join(smith.packed(len(label)) + label for label in labels)
    more = smith.names("e", "s", "v") + smith.optional(8, b"\1\0") + UTF8
    more += smith.optional(10, smith.packed(collation)) + smith.optional(6, members) + smith.optional(5, members)
    fields = [smith.ENUM, smith.SET, smith.integer(3, 4)]
    table_map = smith.table_map(fields, more)
    written = [(1, 0), (2, 3), (3, 7), (0, 1)]
    body = smith.rows(3, b"".join(smith.image(fields, [e, s, 9]) for e, s in written))
    plan = KeyPlan(decode_table(table_map, smith.FORM))
    assert keys_of(plan, Kind.WRITE_ROWS, body) == [(s, e) for e, s in written]
    assert [column.members for column in plan.columns] == [plan.table.columns[0].members] * 2
    decoder = Decoder()
    list(decoder.feed(Kind.TABLE_MAP, table_map, smith.FORM))
    second = [each for each in decoder.feed(Kind.WRITE_ROWS, body, smith.FORM) if isinstance(each, Change)][1]
    known = collation == 255
    assert second.after == {"e": "no" if known else 2, "s": "да,no" if known else 3, "v": 9}


def test_a_plan_says_what_its_keys_mean() -> None:
    assert pair_plan(0).signature == pair_plan(0).signature
    assert len({plan.signature for plan in (pair_plan(0), pair_plan(1), pair_plan(0, 1), pair_plan(1, 0))}) == 4
