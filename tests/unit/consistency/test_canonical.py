# SPDX-License-Identifier: GPL-3.0-or-later
"""A row's text can be taken apart again in one way only: a parser gets the columns back.

That a server builds the same bytes as the model is shown in tests/integration/consistency/test_collisions.py.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from typing import Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import canonical
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.canonical import Plan, plan
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import ColumnFacts, Layout
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.row_text import Values, parse, shows, text
from hypothesis import given
from hypothesis import strategies as st

# Random tables

ANY_BYTES = st.one_of(st.sampled_from([b"", b"#", b"##", b"1", b"#1#", b"0#0"]), st.binary(max_size=12))
NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1).map(lambda number: str(number).encode())
STAMPS = st.sampled_from([b"0000-00-00", b"2026-11-28 02:00:00.000001", b"-838:59:59", b"1.50", b"-0.10"])
REAL_BYTES = st.floats(allow_nan=False, allow_infinity=False).map(lambda real: struct.pack("<BI2d", 1, 1, real, 0.0))
DIGEST_OF = st.binary(max_size=8)


@dataclasses.dataclass(frozen=True)
class Kind:
    data_type: str
    octets: tuple[int, ...]
    values: st.SearchStrategy[bytes]


KINDS = (
    Kind("varchar", (4, 40, 3072, 1 << 16), ANY_BYTES),
    Kind("varbinary", (4, 255, 1 << 16), ANY_BYTES),
    Kind("text", (65535,), ANY_BYTES),
    Kind("longblob", ((1 << 32) - 1,), DIGEST_OF),
    Kind("bigint", (0,), NUMBERS),
    Kind("bit", (0,), NUMBERS),
    Kind("enum", (0,), NUMBERS),
    Kind("datetime", (0,), STAMPS),
    Kind("double", (0,), REAL_BYTES),
    Kind("json", (0,), DIGEST_OF),
    Kind("point", (0,), DIGEST_OF),
)


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[ColumnFacts], list[Optional[bytes]]]:
    columns, values = [], []
    # Mostly few columns; sometimes so many that one number cannot say which are NULL, nor all texts stand in a row's.
    repeated = draw(st.sampled_from([1, 1, 1, 2, 35, 90]))
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
    planned = plan(columns)
    shown = [
        None if value is None else shows(one, one in planned.inline, value)
        for one, value in zip(columns, values, strict=True)
    ]
    assert parse(columns, text(planned, values)) == shown


def test_many_texts_do_not_all_stand_in_the_text() -> None:
    """Or it would be larger than a server may build."""
    many = [column(f"c{number}", "text", octets=65535) for number in range(100)]
    planned = plan([*many, column("small", "varchar", octets=10), column("large", "longtext", octets=1 << 32)])
    assert sum(one.octets for one in planned.inline) <= canonical.LARGEST_TEXT
    assert 0 < len(planned.inline) < len(many)
    assert planned.inline[-1].name == "small" and planned.lengths == planned.inline[:-1]


@pytest.mark.parametrize("count", [60, 61, 120, 300, 1017])
def test_what_is_null_is_told_by_numbers_that_a_server_computes_exactly(count: int) -> None:
    """A number of more than 65 digits is an error of its own, or a rounded one."""
    columns = [column(f"c{number}", nullable=True) for number in range(count)]
    said = canonical.text(columns)
    factors = [int(word) for word in said.replace("(", " ").replace(",", " ").split() if word.isdigit()]
    assert max(factors) == 1 << (canonical.FLAGS - 1) and sum(factors) < 1 << 70
    groups = plan(columns).nulls
    assert [one for group in groups for one in group] == columns
    assert all(sum(1 << place for place in range(len(group))) < 1 << 63 for group in groups)


# Mutants: each makes two different rows the same

A, B, C = (column(name, "varchar", octets=40) for name in "abc")
M = column("m", "varchar", nullable=True, octets=40)


Mutant = Callable[[Plan], Plan]


def no_lengths(planned: Plan) -> Plan:
    return planned._replace(lengths=())


def lengths_but_for_the_first(planned: Plan) -> Plan:
    return planned._replace(lengths=planned.inline[2:])


def no_nulls(planned: Plan) -> Plan:
    return planned._replace(nulls=())


def one_group_of_nulls(planned: Plan) -> Plan:
    return planned._replace(nulls=planned.nulls[:1])


MANY = [column(f"n{number}", nullable=True) for number in range(62)]


@pytest.mark.parametrize(
    ("mutant", "skip", "columns", "one", "other"),
    [
        (no_lengths, True, [A, B], [b"a#b", b"c"], [b"a", b"b#c"]),
        (lengths_but_for_the_first, True, [A, B, C], [b"a#b", b"c", b"d"], [b"a", b"b#c", b"d"]),
        (no_nulls, True, MANY[:2], [b"5", None], [None, b"5"]),
        (one_group_of_nulls, True, MANY, [*[None] * 60, b"5", None], [*[None] * 61, b"5"]),
        (no_nulls, False, [A, M], [b"x", None], [b"x", b""]),
    ],
)
def test_without_any_part_two_rows_are_the_same(
    mutant: Mutant, skip: bool, columns: list[ColumnFacts], one: Values, other: Values
) -> None:
    planned = plan(columns)
    assert text(mutant(planned), one, skip=skip) == text(mutant(planned), other, skip=skip)
    assert text(planned, one) != text(planned, other)


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
        column("l", "longtext", octets=1 << 32),
        B,
    ]
    assert canonical.text(columns) == (
        "CONCAT_WS(_binary'#' COLLATE `binary`, `i`, `a`, ST_AsBinary(POINT(`f`, 0)),"
        " IFNULL(SHA2(NULLIF(CAST(`j` AS CHAR), ''), 256),"
        " IF(`j` IS NULL, NULL, BIN_TO_UUID('larger than max_allowed_packet'))),"
        " CAST(`e` AS UNSIGNED), `b` + 0,"
        " IFNULL(SHA2(`g`, 256), IF(`g` IS NULL, NULL, BIN_TO_UUID('larger than max_allowed_packet'))),"
        " IFNULL(SHA2(`l`, 256), IF(`l` IS NULL, NULL, BIN_TO_UUID('larger than max_allowed_packet'))),"
        " `b`, LENGTH(`a`), ISNULL(`i`) + 2 * ISNULL(`f`))"
    )
    said = canonical.digest(columns)
    assert said == f"IFNULL(SHA2({canonical.text(columns)}, 256), BIN_TO_UUID('larger than max_allowed_packet'))"


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
