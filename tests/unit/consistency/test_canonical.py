# SPDX-License-Identifier: GPL-3.0-or-later
"""A row's text can be taken apart again in one way only: a parser gets the columns back.

That a server builds the same bytes as the model is shown in tests/integration/consistency/test_collisions.py.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import canonical
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.canonical import plan
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import ColumnFacts, Layout
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.row_text import (
    Mutant,
    Values,
    digest_of,
    parse,
    shows,
    text,
)
from hypothesis import given
from hypothesis import strategies as st

# Random tables

ANY_BYTES = st.one_of(st.sampled_from([b"", b"#", b"##", b"1", b"-", b"-1", b"#1#", b"0#0"]), st.binary(max_size=12))
TOO_LONG = st.sampled_from([b"#" * (canonical.LARGEST_SHORT + 1), b"x#-1#" * canonical.LARGEST_SHORT])
NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1).map(lambda number: str(number).encode())
STAMPS = st.sampled_from([b"0000-00-00", b"2026-11-28 02:00:00.000001", b"-838:59:59", b"1.50", b"-0.10"])
POINTS = st.builds(
    lambda srid, x, y: struct.pack("<IBI2d", srid, 1, 1, x, y),
    st.sampled_from([0, 4326, 0x2D232D23]),
    *[st.floats(allow_nan=False, allow_infinity=False)] * 2,
)
REAL_BYTES = st.floats(allow_nan=False, allow_infinity=False).map(lambda real: struct.pack("<IBI2d", 0, 1, 1, real, 0))
ATOMS = st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from(["", "#", '"#', "-", "\\", "\u00e9#"]))
NESTED = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a#", max_size=2), inner, max_size=2),
    max_leaves=4,
)
JSON = (NESTED | st.just("#" * canonical.LARGEST_JSON)).map(
    lambda value: json.dumps(value, ensure_ascii=False).encode()
)


@dataclasses.dataclass(frozen=True)
class Kind:
    data_type: str
    octets: tuple[int, ...]
    values: st.SearchStrategy[bytes]


KINDS = (
    Kind("char", (4, 40), ANY_BYTES),
    Kind("varchar", (4, 40, 3072, 1 << 16), ANY_BYTES),
    Kind("varbinary", (4, 255, 1 << 16), ANY_BYTES),
    Kind("binary", (4,), st.one_of(st.sampled_from([b"####", b"-#-#", b"-1#0"]), st.binary(min_size=4, max_size=4))),
    Kind("text", (65535,), ANY_BYTES),
    Kind("longblob", ((1 << 32) - 1,), st.one_of(ANY_BYTES, TOO_LONG)),
    Kind("bigint", (0,), NUMBERS),
    Kind("bit", (0,), NUMBERS),
    Kind("enum", (0,), NUMBERS),
    Kind("datetime", (0,), STAMPS),
    Kind("double", (0,), REAL_BYTES),
    Kind("json", (0,), JSON),
    Kind("point", (0,), POINTS),
    Kind("geometry", (0,), st.one_of(ANY_BYTES, TOO_LONG)),
    Kind("vector", (16,), st.binary(max_size=4).map(lambda value: value.hex().encode())),
)


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[ColumnFacts], list[Optional[bytes]]]:
    columns: list[ColumnFacts] = []
    values: list[Optional[bytes]] = []
    # Mostly few columns; sometimes so many that not all of them have room in a row's text.
    repeated = draw(st.sampled_from([1, 1, 1, 2, 35]))
    kinds = draw(st.lists(st.tuples(st.sampled_from(KINDS), st.booleans(), st.integers(0, 3)), min_size=1, max_size=6))
    for number in range(repeated):
        for place, (kind, nullable, which) in enumerate(kinds):
            octets = kind.octets[which % len(kind.octets)]
            columns.append(column(f"c{number}_{place}", kind.data_type, nullable=nullable, octets=octets))
            values.append(None if nullable and draw(st.booleans()) else draw(kind.values))
    return columns, values


@given(rows())
def test_the_columns_come_back_from_the_text(row: tuple[list[ColumnFacts], list[Optional[bytes]]]) -> None:
    columns, values = row
    forms = {one.name: form for one, form in plan(columns).shown}
    shown = [
        None if value is None else shows(one, forms.get(one.name, canonical.WHOLE_VALUE), value)
        for one, value in zip(columns, values, strict=True)
    ]
    assert parse(columns, text(columns, values)) == shown


def test_many_texts_do_not_all_stand_in_the_text() -> None:
    """Or it would be larger than a server may build."""
    many = [column(f"c{number}", "text", octets=65535) for number in range(100)]
    planned = plan([*many, column("small", "varchar", octets=10), column("large", "longtext", octets=1 << 32)])
    whole = [one for one, form in planned.shown if form == canonical.WHOLE_VALUE]
    by_digest = [one for one, form in planned.shown if form == canonical.DIGEST]
    assert planned.last is not None and planned.last.octets + sum(one.octets for one in whole) <= canonical.LARGEST_TEXT
    assert by_digest and whole[-1].name == "small"
    assert [form for one, form in planned.shown if one.name == "large"] == [canonical.SHORT]


def test_the_last_one_is_that_whose_length_is_dearest() -> None:
    columns = [column("a", "char", octets=40), column("b", "varchar", octets=4000), column("c", "char", octets=240)]
    planned = plan(columns)
    assert planned.last == columns[2] and planned.lengths == (columns[0], columns[1])
    large = column("l", "longtext", octets=1 << 32)  # without its length nobody knows whether it is a digest
    assert plan([large]).last is None and plan([large]).lengths == (large,)


# Mutants: each makes two different rows the same

A, B, C = (column(name, "varchar", octets=40) for name in "abc")
M = column("m", "varchar", nullable=True, octets=4)
NUMBER, OTHER = (column(name, nullable=True) for name in "ij")


@pytest.mark.parametrize(
    ("mutant", "columns", "one", "other"),
    [
        (Mutant(lengths=1), [A, B], [b"c", b"a#b"], [b"b#c", b"a"]),
        (Mutant(lengths=1), [A, B, C], [b"w", b"x#y", b"z"], [b"z#w", b"x", b"y"]),
        (Mutant(null_in_place=True), [NUMBER, OTHER], [b"5", None], [None, b"5"]),
        (Mutant(null_by_length=True), [A, M], [b"x", b""], [b"#x", None]),
        (Mutant(null_of_the_last=True), [M], [b""], [None]),
    ],
)
def test_without_any_part_two_rows_are_the_same(
    mutant: Mutant, columns: list[ColumnFacts], one: Values, other: Values
) -> None:
    assert text(columns, one, mutant) == text(columns, other, mutant)
    assert text(columns, one) != text(columns, other)


def test_a_large_value_is_told_from_the_digest_that_stands_for_it() -> None:
    large = column("l", "longblob", octets=1 << 32)
    value = b"x" * (canonical.LARGEST_SHORT + 1)
    assert shows(large, canonical.SHORT, value) == shows(large, canonical.SHORT, digest_of(value))
    assert text([large], [value]) != text([large], [digest_of(value)])


# The SQL


def test_the_sql_is_made_of_the_plan() -> None:
    columns = [
        column("i", "int", nullable=True),
        A,
        column("f", "float", nullable=True),
        column("j", "json"),
        column("e", "enum"),
        column("b", "bit"),
        column("g", "point"),
        column("l", "longtext", nullable=True, octets=1 << 32),
        column("h", "binary", octets=16),
        M,
    ]
    fail = "BIN_TO_UUID('larger than max_allowed_packet')"
    assert canonical.text(columns) == (
        "CONCAT_WS(_binary'#' COLLATE `binary`, IFNULL(`i`, _binary'-'), IFNULL(POINT(`f`, 0), _binary'-'),"
        " IF(JSON_STORAGE_SIZE(`j`) > 32768 AND LENGTH(`j`) NOT BETWEEN 1 AND 262144,"
        f" CONCAT('s', IFNULL(SHA2(NULLIF(CAST(`j` AS CHAR), ''), 256), {fail})), `j`),"
        " CAST(`e` AS UNSIGNED), `b` + 0, `g`,"
        f" IF(LENGTH(`l`) > 8192, IFNULL(SHA2(`l`, 256), {fail}), `l`),"
        " `h`, `m`, `a`, IFNULL(LENGTH(`l`), -1), IFNULL(LENGTH(`m`), -1))"
    )
    assert (
        canonical.text([M, NUMBER])
        == "CONCAT_WS(_binary'#' COLLATE `binary`, IFNULL(`i`, _binary'-'), `m`, ISNULL(`m`))"
    )
    assert canonical.digest(columns) == f"IFNULL(SHA2({canonical.text(columns)}, 256), {fail})"


def test_what_has_no_room_goes_by_its_digest() -> None:
    many = [column(f"j{number}", "json", nullable=True) for number in range(9)]
    said = canonical.text(many)
    assert said.count("JSON_STORAGE_SIZE") == canonical.LARGEST_TEXT // canonical.LARGEST_JSON
    assert said.count("IFNULL(IF(`j8` IS NULL, NULL, IFNULL(SHA2(NULLIF(CAST(`j8` AS CHAR), ''), 256), ") == 1


def test_a_table_of_virtual_columns_has_a_digest() -> None:
    virtual = column("v", generated="1", stored=False)
    assert canonical.compared(Layout((virtual, A), ())) == (A,)
    assert canonical.text([]) == "''" and "CONCAT_WS" not in canonical.digest([])


def test_a_columns_own_digest_tells_null() -> None:
    assert canonical.column_digest(M).startswith("IF(`m` IS NULL, '-', IFNULL(SHA2(")
    assert canonical.column_digest(A) == canonical.digest([A])


# Keys

KEYS = [
    (column("k", "bigint"), 5, 5),
    (column("k", "varchar"), "61FF", b"a\xff"),
    (column("k", "binary"), "00", b"\0"),
    (column("k", "double"), struct.pack("<BI2d", 1, 1, -0.1, 0.0).hex(), -0.1),
    (column("k", "decimal"), "-1.50", "-1.50"),
    (column("k", "datetime"), "2026-01-01 00:00:00.1", "2026-01-01 00:00:00.1"),
    (column("k", "enum"), 3, 3),
]


@pytest.mark.parametrize(("one", "said", "value"), KEYS)
def test_a_key_is_read_exactly(one: ColumnFacts, said: object, value: object) -> None:
    found = canonical.key_of([one], {"k0": said})
    assert found == (value,) and type(found[0]) is type(value)


@pytest.mark.parametrize(
    ("data_type", "said"),
    [
        ("bit", "LEFT(CAST(`c` + 0 AS CHAR), 200)"),  # its bytes are no text
        ("float", "LEFT(CAST(CAST(`c` AS DOUBLE) AS CHAR), 200)"),  # six digits hide what differs
        ("varbinary", "LEFT(HEX(`c`), 200)"),
        ("varchar", "LEFT(CAST(`c` AS CHAR), 200)"),
    ],
)
def test_what_differs_can_be_seen(data_type: str, said: str) -> None:
    assert canonical.shown_value(column("c", data_type)) == said
