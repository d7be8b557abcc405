# SPDX-License-Identifier: GPL-3.0-or-later
"""Row events decoded: every column type, every form of event, and bytes that are none."""

from __future__ import annotations

import datetime
import decimal
import json
import struct
import time
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import charsets, json_binary, rows_json, tables
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.events import Kind
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.rows import (
    Change,
    Decoder,
    Logged,
    without_secrets,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from hypothesis import given, settings
from hypothesis import strategies as st

from . import rowsmith as smith

UNSIGNED = smith.optional(1, b"\x80")
UTF8 = smith.optional(2, smith.packed(255))
BINARY = smith.optional(2, smith.packed(63))
LATIN1 = smith.optional(2, smith.packed(8))


def decoded(table: bytes, *row_events: tuple[int, bytes]) -> list[Change | Logged]:
    decoder = Decoder()
    found = list(decoder.feed(Kind.TABLE_MAP, table, smith.FORM))
    for kind, body in row_events:
        found += decoder.feed(kind, body, smith.FORM)
    return found


def after_of(fields: list[smith.Field], values: list[Any], more: bytes = b"") -> dict[str, Any]:
    (change,) = decoded(
        smith.table_map(fields, more), (Kind.WRITE_ROWS, smith.rows(len(fields), smith.image(fields, values)))
    )
    assert isinstance(change, Change)
    return dict(change.after or {})


def only(field: smith.Field, value: Any, more: bytes = b"") -> Any:
    """One value, between two others that show where it began and ended."""
    fence = smith.integer(3, 4)
    found = after_of([fence, field, fence], [-1, value, 2], more)
    assert (found["@1"], found["@3"]) == (-1, 2)
    return found["@2"]


INT24 = smith.integer(9, 3)
MIDDLE_UNSIGNED = smith.optional(1, smith.high_first([False, True, False]))


@pytest.mark.parametrize(
    ("field", "value", "more", "expected"),
    [
        (smith.integer(1, 1), -128, b"", -128),
        (smith.integer(1, 1, signed=False), 255, MIDDLE_UNSIGNED, 255),
        (smith.integer(2, 2), -32768, b"", -32768),
        (smith.integer(2, 2, signed=False), 65535, MIDDLE_UNSIGNED, 65535),
        (INT24, -8388608, b"", -8388608),
        (smith.integer(9, 3, signed=False), 16777215, MIDDLE_UNSIGNED, 16777215),
        (smith.integer(3, 4, signed=False), 4294967295, MIDDLE_UNSIGNED, 4294967295),
        (smith.integer(8, 8), -(1 << 63), b"", -(1 << 63)),
        (smith.integer(8, 8, signed=False), (1 << 64) - 1, MIDDLE_UNSIGNED, (1 << 64) - 1),
        (smith.DOUBLE, 0.1, b"", 0.1),
        (smith.FLOAT, 0.1, b"", struct.unpack("<f", struct.pack("<f", 0.1))[0]),
        (smith.YEAR, 0, b"", 0),
        (smith.YEAR, 2155, b"", 2155),
        (smith.bit(1), 1, b"", 1),
        (smith.bit(64), (1 << 64) - 1, b"", (1 << 64) - 1),
        (smith.bit(10), 0x2FF, b"", 0x2FF),
        (smith.DATE, (0, 0, 0), b"", "0000-00-00"),
        (smith.DATE, (9999, 12, 31), b"", "9999-12-31"),
        (smith.datetime2(0), (1000, 1, 1, 0, 0, 0, 0), b"", "1000-01-01 00:00:00"),
        (smith.datetime2(0), (0, 0, 0, 0, 0, 0, 0), b"", "0000-00-00 00:00:00"),
        (smith.datetime2(1), (2026, 11, 27, 23, 59, 58, 900000), b"", "2026-11-27 23:59:58.9"),
        (smith.datetime2(3), (2026, 11, 27, 23, 59, 58, 7000), b"", "2026-11-27 23:59:58.007"),
        (smith.datetime2(6), (9999, 12, 31, 23, 59, 59, 999999), b"", "9999-12-31 23:59:59.999999"),
        (smith.timestamp2(0), (0, 0), b"", "0000-00-00 00:00:00"),
        (smith.timestamp2(0), (1, 0), b"", "1970-01-01 00:00:01"),
        (smith.timestamp2(2), (2147483647, 990000), b"", "2038-01-19 03:14:07.99"),
        (smith.time2(0), (1, 838, 59, 59, 0), b"", "838:59:59"),
        (smith.time2(0), (-1, 838, 59, 59, 0), b"", "-838:59:59"),
        (smith.time2(6), (-1, 0, 0, 0, 1), b"", "-00:00:00.000001"),
        (smith.time2(1), (-1, 1, 2, 3, 400000), b"", "-01:02:03.4"),
        (smith.time2(3), (1, 1, 2, 3, 45000), b"", "01:02:03.045"),
        (smith.varchar(10), "žluť", UTF8, "žluť"),
        (smith.varchar(300), "x" * 299, UTF8, "x" * 299),
        (smith.varchar(10), "abc", b"", b"abc"),
        (smith.varchar(10), "abc", BINARY, b"abc"),
        (smith.varchar(10, "latin-1"), "a\x81b", LATIN1, "a\x81b"),
        (smith.varchar(10, "cp1252"), "€", LATIN1, "€"),
        (smith.char(40), "abc", UTF8, "abc"),
        (smith.char(1000), "y" * 900, UTF8, "y" * 900),
        (smith.binary(4), b"a\0\0\0", BINARY, b"a\0\0\0"),
        (smith.blob(1), b"\xff", BINARY, b"\xff"),
        (smith.blob(3), b"z" * 70000, BINARY, b"z" * 70000),
        (smith.blob(4, 255), b"\0\0\0\0wkb", b"", b"\0\0\0\0wkb"),
        (smith.blob(4, 242), b"\0\0\x80?", b"", b"\0\0\x80?"),
        (smith.JSON, {"a": [1, None, "x"]}, b"", '{"a": [1, null, "x"]}'),
        (smith.ENUM, 2, b"", 2),
        (smith.SET, 5, b"", 5),
        (smith.ENUM, 2, smith.optional(6, b"\2" + smith.text("no") + smith.text("yes")), "yes"),
        (smith.ENUM, 0, smith.optional(6, b"\1" + smith.text("no")), ""),
        (smith.SET, 5, smith.optional(5, b"\3" + smith.text("a") + smith.text("b") + smith.text("ç")), "a,ç"),
        (smith.SET, 0, smith.optional(5, b"\1" + smith.text("a")), ""),
        (smith.integer(1, 1), None, b"", None),
    ],
)
def test_each_type(field: smith.Field, value: Any, more: bytes, expected: Any) -> None:
    found = only(field, value, more)
    assert found == expected and type(found) is type(expected)


@given(st.integers(1, 0xFFFFFFFF))
def test_every_moment(epoch: int) -> None:
    expected = datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    assert only(smith.timestamp2(0), (epoch, 0)) == expected


def test_a_text_that_is_none_stays_bytes() -> None:
    field = smith.Field(15, b"\x0a\0", lambda value: smith.counted(1, value))
    assert only(field, b"\xff\xfe", UTF8) == b"\xff\xfe"
    assert only(smith.varchar(10), "abc", smith.optional(2, smith.packed(28))) == b"abc", "gbk is not decoded"


@given(
    st.integers(1, 65).flatmap(lambda digits: st.tuples(st.just(digits), st.integers(0, min(30, digits)))), st.data()
)
def test_every_decimal(form: tuple[int, int], data: st.DataObject) -> None:
    digits, scale = form
    value = data.draw(st.integers(-(10**digits) + 1, 10**digits - 1))
    found = only(smith.number(digits, scale), value)
    with decimal.localcontext(prec=80):
        assert found == decimal.Decimal(value).scaleb(-scale)
    assert len(format(found, "f").partition(".")[2]) == scale


@pytest.mark.parametrize("digits", range(1, 66))
def test_the_edges_of_every_decimal(digits: int) -> None:
    for scale in range(min(30, digits) + 1):
        for value in (10**digits - 1, -(10**digits) + 1, 10 ** (digits - 1), 1, -1, 0):
            with decimal.localcontext(prec=80):
                expected = format(decimal.Decimal(value).scaleb(-scale), f".{scale}f")
            assert format(only(smith.number(digits, scale), value), "f") == expected


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(JSON_VALUES, st.booleans())
def test_every_json_document(value: Any, large: bool) -> None:
    assert smith.same_json(json_binary.text_of(smith.json_document(value, large=large)), value)


@pytest.mark.parametrize(
    ("opaque", "expected"),
    [
        (b"\xf6\x04\x02" + smith.number(4, 2).write(-1230), "-12.30"),
        (b"\x0c" + ((2026 * 13 + 11 << 22 | 27 << 17 | 1 << 12 | 2 << 6 | 3) << 24 | 4).to_bytes(8, "little"),
         '"2026-11-27 01:02:03.000004"'),
        (b"\x0a" + ((2026 * 13 + 1 << 22 | 2 << 17) << 24).to_bytes(8, "little"), '"2026-01-02"'),
        (b"\x0b" + (-((1 << 12 | 2 << 6 | 3) << 24 | 4)).to_bytes(8, "little", signed=True), '"-01:02:03.000004"'),
        (b"\xfcabc", '"base64:type252:YWJj"'),
    ],
)  # fmt: skip
def test_what_json_has_no_word_for(opaque: bytes, expected: str) -> None:
    assert json_binary.text_of(smith.json_document(opaque)) == expected


def test_numbers_of_json_are_what_they_are() -> None:
    assert json_binary.text_of(smith.json_document([1.0, 1e300, -0.0])) == "[1.0, 1e300, -0.0]"
    assert json_binary.text_of(b"") == "null"


@pytest.mark.parametrize(
    "document",
    [
        b"\x0c\x05abc",
        b"\x0c\x84\x80\x80\x80\x80\x00abc",
        b"\x0c\x01\xff",
        b"\x0b\0\0",
        b"\x05\0",
        b"\x04\x07",
        b"\x03",
        b"\x0d",
        b"\x02\x01\0\x08\0\x05",
        b"\x02\x05\0\x07\0\x05\0\0",
        b"\x00\x01\0\x0b\0\x0b\0\x09\0\x04\0\0",
        b"\x0f\xf6\x02\x42\0",
        b"\x0f\x0c\x02\0\0",
    ],
    ids=[
        "text", "length", "utf-8", "double", "integer", "literal", "nothing", "type", "size", "count", "key", "decimal",
        "time",
    ],
)  # fmt: skip
def test_json_that_is_none(document: bytes) -> None:
    with pytest.raises(HaError, match="binlog_event_malformed"):
        json_binary.text_of(document)


def test_a_json_that_holds_itself_ends() -> None:
    """Two entries, each the array itself: without a bound 2**100 values."""
    itself = b"\x02" + (2).to_bytes(2, "little") + (10).to_bytes(2, "little") + b"\x02\0\0" * 2
    started = time.monotonic()
    with pytest.raises(HaError, match="binlog_event_malformed"):
        json_binary.text_of(itself + bytes(20000))
    assert time.monotonic() - started < 1


# Tables


def test_what_full_metadata_tells() -> None:
    fields = [smith.integer(8, 8), smith.varchar(40), smith.ENUM, smith.char(10), smith.integer(3, 4), smith.blob(2)]
    more = (
        smith.optional(1, smith.high_first([True, False]))
        + smith.optional(2, smith.packed(255) + smith.packed(2) + smith.packed(63))
        + smith.names("id", "näme", "state", "code", "n", "raw")
        + smith.optional(10, smith.packed(255))
        + smith.optional(6, b"\2" + smith.text("on") + smith.text("off"))
        + smith.optional(9, b"\0\0\1\5")
        + smith.optional(12, smith.high_first([True, True, True, False, True, True]))
        + smith.optional(200, b"of a later version")
    )
    table = tables.decode_table(smith.table_map(fields, more), smith.FORM)
    assert [c.name for c in table.columns] == ["id", "näme", "state", "code", "n", "raw"]
    assert [c.unsigned for c in table.columns] == [True, False, False, False, False, False]
    assert [c.collation for c in table.columns] == [None, 255, 255, 255, None, 63]
    assert [c.visible for c in table.columns] == [True, True, True, False, True, True]
    assert table.columns[2].members == ("on", "off")
    assert table.key == (tables.KeyPart(0, 0), tables.KeyPart(1, 5))
    assert table.unknown == ()
    assert (table.schema, table.table, table.table_id) == ("bank", "t", 7)


def test_what_is_not_told_is_said() -> None:
    fields = [smith.integer(8, 8), smith.varchar(40), smith.ENUM]
    assert tables.decode_table(smith.table_map(fields), smith.FORM).unknown == (
        "signedness", "charsets", "members", "names",
    )  # fmt: skip
    minimal = UNSIGNED + UTF8
    assert tables.decode_table(smith.table_map(fields, minimal), smith.FORM).unknown == ("members", "names")


def test_each_column_may_have_its_own_collation() -> None:
    fields = [smith.varchar(5), smith.integer(3, 4), smith.varchar(5)]
    table = tables.decode_table(smith.table_map(fields, smith.optional(3, b"\x08" + smith.packed(255))), smith.FORM)
    assert [c.collation for c in table.columns] == [8, None, 255]


def test_which_columns_have_a_signedness_and_a_collation() -> None:
    """As mysqld 9.7.4 counts them: YEAR has a sign, VECTOR a collation; JSON, GEOMETRY and BIT have neither."""
    fields = [
        smith.integer(3, 4), smith.YEAR, smith.bit(3), smith.DATE, smith.JSON, smith.blob(4, 255), smith.ENUM,
        smith.integer(3, 4), smith.blob(4, 242), smith.varchar(5),
    ]  # fmt: skip
    more = smith.optional(1, smith.high_first([True, True, False])) + smith.optional(3, b"\x3f\x08")
    table = tables.decode_table(smith.table_map(fields, more), smith.FORM)
    assert [c.unsigned for c in table.columns] == [True, True, *[False] * 8]
    assert [c.collation for c in table.columns] == [*[None] * 8, 63, 8]


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ([smith.Field(3, b"\0", bytes)], b""),
        ([smith.Field(246, b"\x42\0", bytes)], b""),
        ([smith.Field(246, b"\5\6", bytes)], b""),
        ([smith.Field(16, b"\1\x08", bytes)], b""),
        ([smith.Field(254, b"\x0a\5", bytes)], b""),
        ([smith.Field(254, b"\xf7\3", bytes)], b""),
        ([smith.Field(252, b"\5", bytes)], b""),
        ([smith.Field(245, b"\0", bytes)], b""),
        ([smith.Field(18, b"\7", bytes)], b""),
        ([smith.varchar(5)], smith.optional(2, b"\x08\1\x08")),
        ([smith.integer(3, 4)], smith.optional(8, b"\1")),
        ([smith.integer(3, 4)], smith.optional(1, b"")),
        ([smith.ENUM], smith.optional(6, b"\x09\1a")),
        ([smith.integer(3, 4)], b"\4\x09ab"),
    ],
    ids=[
        "metadata left", "digits", "scale", "bits", "no char", "enum", "blob", "json", "fraction", "charset", "key",
        "signedness", "members", "cut",
    ],
)  # fmt: skip
def test_a_table_that_is_none(fields: list[smith.Field], more: bytes) -> None:
    with pytest.raises(HaError, match="binlog_event_malformed"):
        decoded(smith.table_map(fields, more))


@pytest.mark.parametrize("code", [7, 11, 12])
def test_times_of_before_5_6_are_refused(code: int) -> None:
    with pytest.raises(HaError, match=r"before MySQL 5\.6.*binlog_rows_unsupported"):
        decoded(smith.table_map([smith.Field(code, b"", bytes)]))


def test_no_codec_is_named_twice_and_all_exist() -> None:
    for number in range(1, 400):
        codec = charsets.codec_of(number)
        assert codec is None or charsets.decoder(codec)(b"") == ""
    assert charsets.codec_of(63) is None and charsets.codec_of(None) is None


# Events

PAIR = [smith.integer(3, 4), smith.varchar(20)]
PAIR_MAP = smith.table_map(PAIR, UTF8 + smith.names("id", "v") + smith.optional(8, b"\0"))


def pair(*values: Any, held: list[bool] | None = None) -> bytes:
    return smith.image(PAIR, list(values), held)


def test_each_operation_and_many_rows_in_one_event() -> None:
    found = decoded(
        PAIR_MAP,
        (Kind.WRITE_ROWS, smith.rows(2, pair(1, "a") + pair(2, None), flags=0)),
        (Kind.UPDATE_ROWS, smith.rows(2, pair(1, "a") + pair(3, "b"), held=[[True] * 2] * 2, flags=0)),
        (Kind.DELETE_ROWS, smith.rows(2, pair(2, None))),
    )
    assert [(c.operation, c.key, c.before, c.after) for c in found if isinstance(c, Change)] == [
        ("write", {"id": 1}, None, {"id": 1, "v": "a"}),
        ("write", {"id": 2}, None, {"id": 2, "v": None}),
        ("update", {"id": 1}, {"id": 1, "v": "a"}, {"id": 3, "v": "b"}),
        ("delete", {"id": 2}, {"id": 2, "v": None}, None),
    ]


def test_an_older_form_and_extra_data() -> None:
    expected = {"id": 1, "v": "a"}
    for kind, extra in ((Kind.WRITE_ROWS_V1, None), (Kind.WRITE_ROWS, b"\0\3abc"), (Kind.WRITE_ROWS, b"")):
        (found,) = decoded(PAIR_MAP, (kind, smith.rows(2, pair(1, "a"), extra=extra)))
        assert isinstance(found, Change) and found.after == expected


def test_columns_that_are_not_logged_are_not_there() -> None:
    """binlog_row_image=MINIMAL: the key before, what was set after."""
    (found,) = decoded(
        PAIR_MAP,
        (
            Kind.UPDATE_ROWS,
            smith.rows(
                2,
                pair(1, "x", held=[True, False]) + pair(1, None, held=[False, True]),
                held=[[True, False], [False, True]],
            ),
        ),
    )
    assert isinstance(found, Change)
    assert (found.before, found.after, found.key) == ({"id": 1}, {"v": None}, {"id": 1})
    (found,) = decoded(
        PAIR_MAP, (Kind.DELETE_ROWS, smith.rows(2, pair(1, "x", held=[False, True]), held=[[False, True]]))
    )
    assert isinstance(found, Change) and found.key is None


def test_the_event_that_ends_an_empty_statement_is_nothing() -> None:
    assert decoded(PAIR_MAP, (Kind.WRITE_ROWS, smith.rows(0, b"", number=0xFFFFFF, held=[[]]))) == []


def test_a_table_number_is_what_it_was_last() -> None:
    """Table numbers are given anew; what one meant before must not be read with."""
    decoder = Decoder()
    other = smith.table_map([smith.integer(8, 8)], smith.names("n"), table="other")
    body = smith.rows(2, pair(1, "a"))
    for _number in range(2):
        list(decoder.feed(Kind.TABLE_MAP, PAIR_MAP, smith.FORM))
        (found,) = decoder.feed(Kind.WRITE_ROWS, body, smith.FORM)
        assert isinstance(found, Change) and found.table.table == "t"
        list(decoder.feed(Kind.TABLE_MAP, other, smith.FORM))
        (found,) = decoder.feed(Kind.WRITE_ROWS, smith.rows(1, smith.image([smith.integer(8, 8)], [5])), smith.FORM)
        assert isinstance(found, Change) and (found.table.table, found.after) == ("other", {"n": 5})


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Kind.WRITE_ROWS, smith.rows(2, pair(1, "a"), number=8)),
        (Kind.WRITE_ROWS, smith.rows(3, pair(1, "a"))),
        (Kind.WRITE_ROWS, smith.rows(2, pair(1, "a")[:-1])),
        (Kind.WRITE_ROWS, smith.rows(2, pair(1, "a") + b"\0")),
        (Kind.UPDATE_ROWS, smith.rows(2, pair(1, "a"), held=[[True] * 2] * 2)),
        (Kind.WRITE_ROWS, smith.rows(2, b"x", held=[[False] * 2])),
        (Kind.WRITE_ROWS, smith.rows(2, b"", extra=b"")[:8]),
    ],
    ids=["no map", "width", "short", "long", "half an update", "no column", "cut"],
)
def test_rows_that_are_none(kind: int, body: bytes) -> None:
    with pytest.raises(HaError, match="binlog_event_malformed"):
        decoded(PAIR_MAP, (kind, body))


def test_a_set_beyond_its_members() -> None:
    with pytest.raises(HaError, match="binlog_event_malformed"):
        only(smith.SET, 4, smith.optional(5, b"\1" + smith.text("a")))
    with pytest.raises(HaError, match="binlog_event_malformed"):
        only(smith.ENUM, 4, smith.optional(6, b"\1" + smith.text("a")))


def test_a_difference_of_json_is_refused() -> None:
    with pytest.raises(HaError, match="binlog_rows_unsupported"):
        decoded(PAIR_MAP, (Kind.PARTIAL_UPDATE_ROWS, smith.rows(2, b"")))


EVERYTHING = [
    *(smith.integer(code, size) for code, size in ((1, 1), (2, 2), (9, 3), (3, 4), (8, 8))),
    smith.DOUBLE, smith.FLOAT, smith.YEAR, smith.bit(10), smith.DATE, smith.datetime2(3), smith.timestamp2(6),
    smith.time2(2), smith.varchar(300), smith.char(20), smith.binary(4), smith.blob(2), smith.blob(4, 255),
    smith.JSON, smith.ENUM, smith.SET, smith.number(30, 12), smith.number(18, 2),
]  # fmt: skip
VALUES: list[Any] = [
    1, 2, 3, 4, 5, 0.5, 0.25, 1999, 7, (2026, 1, 2), (2026, 1, 2, 3, 4, 5, 6000), (1, 2), (-1, 2, 3, 4, 50000), "text",
    "char", b"ab\0\0", b"blob", b"\0\0\0\0wkb", {"k": [1, "x", {"y": 2.5}]}, 1, 3, 10**20, -12345,
]  # fmt: skip
EVERYTHING_MAP = smith.table_map(
    EVERYTHING,
    smith.optional(1, b"\0\0")
    + smith.optional(2, smith.packed(255) + b"\2\x3f\3\x3f")
    + smith.names(*(f"c{number}" for number in range(len(EVERYTHING))))
    + smith.optional(6, b"\1" + smith.text("m"))
    + smith.optional(5, b"\2" + smith.text("m") + smith.text("n"))
    + smith.optional(8, b"\0"),
)
EVERYTHING_ROWS = smith.rows(len(EVERYTHING), smith.image(EVERYTHING, VALUES) * 2)


@settings(max_examples=2000, deadline=None)
@given(st.data())
def test_broken_bytes_are_refused_and_nothing_else_happens(data: st.DataObject) -> None:
    bodies = [bytearray(EVERYTHING_MAP), bytearray(EVERYTHING_ROWS)]
    assert len(decoded(bytes(bodies[0]), (Kind.WRITE_ROWS, bytes(bodies[1])))) == 2
    for _number in range(data.draw(st.integers(1, 4))):
        body = bodies[data.draw(st.integers(0, 1))]
        how = data.draw(st.integers(0, 2))
        place = data.draw(st.integers(0, len(body) - 1))
        if how == 0:
            body[place] = data.draw(st.integers(0, 255))
        elif how == 1:
            del body[place:]
            body += b"\0"
        else:
            body[place:place] = data.draw(st.binary(max_size=5))
    try:
        decoded(bytes(bodies[0]), (data.draw(st.sampled_from([30, 31, 32, 23])), bytes(bodies[1])))
    except HaError as error:
        assert error.code in ("binlog_event_malformed", "binlog_rows_unsupported")


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_never_were_json(data: bytes) -> None:
    try:
        json_binary.text_of(data)
    except HaError as error:
        assert error.code == "binlog_event_malformed"


# Statements


def query(text: str, kind: int = Kind.QUERY) -> list[Change | Logged]:
    head = b"\0" * 8 + b"\4" + b"\0" * 4 + (b"\0" * 13 if kind == Kind.EXECUTE_LOAD_QUERY else b"")
    return list(Decoder().feed(kind, head + b"bank\0" + text.encode(), smith.FORM))


def test_statements_are_told_by_their_text() -> None:
    assert query("CREATE TABLE t (a INT)") == [Logged("bank", "CREATE TABLE", "CREATE TABLE t (a INT)")]
    assert query("LOAD DATA INFILE 'x'", Kind.EXECUTE_LOAD_QUERY) == [
        Logged("bank", "LOAD DATA", "LOAD DATA INFILE 'x'")
    ]
    for control in ("BEGIN", "COMMIT", "SAVEPOINT `a`", "XA START X'61',X'',1", "XA END X'61',X'',1"):
        assert query(control) == []
    assert [each.verb for each in query("ROLLBACK TO `a`") if isinstance(each, Logged)] == ["ROLLBACK TO"]
    assert list(Decoder().feed(Kind.INCIDENT, b"\1\0", smith.FORM)) == [Logged("", "INCIDENT", "")]


@pytest.mark.parametrize(
    "text",
    [
        "CREATE USER 'u'@'%' IDENTIFIED WITH 'caching_sha2_password' AS '$A$canary'",
        "ALTER USER IF EXISTS u IDENTIFIED BY 'canary'",
        "/* who */ create  user u identified by 'canary'",
        "-- who\n create user u identified by 'canary'",
        "SET PASSWORD FOR u = 'canary'",
        "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (PASSWORD 'canary')",
        "GRANT ALL ON *.* TO u IDENTIFIED BY PASSWORD 'canary'",
        "CREATE PROCEDURE p() ALTER USER u IDENTIFIED BY 'canary'",
    ],
)
def test_no_hash_is_passed_on(text: str) -> None:
    assert without_secrets(text) == ""
    (found,) = query(text)
    assert isinstance(found, Logged) and "canary" not in repr(found) and found.verb is not None


@pytest.mark.parametrize("text", ["CREATE TABLE t (password TEXT)", "DROP USER u", "GRANT SELECT ON *.* TO u"])
def test_what_is_no_secret_is_kept(text: str) -> None:
    assert without_secrets(text) == text


def test_json_of_a_line_is_json() -> None:
    (change,) = decoded(EVERYTHING_MAP, (Kind.WRITE_ROWS, smith.rows(len(EVERYTHING), smith.image(EVERYTHING, VALUES))))
    held = json.loads(rows_json.line_of("u:1", change))
    assert held["gtid"] == "u:1" and held["kind"] == "row" and held["key"] == {"c0": 1} and held["before"] is None
    assert held["after"]["c15"] == {"base64": "YWIAAA=="}
    assert rows_json.value_of(held["after"]["c15"]) == b"ab\0\0"
    assert held["after"]["c21"] == "100000000.000000000000" and held["after"]["c22"] == "-123.45"
    secret = smith.table_map(EVERYTHING, smith.names(*(f"c{n}" for n in range(len(EVERYTHING)))), table="user")
    (change,) = decoded(
        secret.replace(b"\4bank", b"\5mysql"),
        (Kind.WRITE_ROWS, smith.rows(len(EVERYTHING), smith.image(EVERYTHING, VALUES))),
    )
    assert json.loads(rows_json.line_of("u:1", change)) == {
        "gtid": "u:1", "kind": "row", "schema": "mysql", "table": "user", "operation": "write", "masked": True,
        "key": None, "before": None, "after": None,
    }  # fmt: skip
    with pytest.raises(HaError, match="rows_unreadable"):
        rows_json.value_of({"base65": ""})
