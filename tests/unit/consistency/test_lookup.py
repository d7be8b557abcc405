# SPDX-License-Identifier: GPL-3.0-or-later
"""Where rows are: conditions with exact, bound values."""

from __future__ import annotations

import decimal
import sqlite3
from typing import Any, Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import Layout, layout_of
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.lookup import (
    LARGEST_BOUND,
    Lookup,
    Range,
    Unfit,
    fits,
    predicate,
    term,
    within,
)
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("data_type", "value", "said", "bound"),
    [
        ("bigint", 1, "`c` = %s", 1),
        ("bit", 1, "`c` = %s", 1),
        ("year", 2026, "`c` = %s", 2026),
        ("double", 1, "`c` = %s", 1.0),
        ("float", 0.10000000149011612, "`c` = %s", 0.10000000149011612),
        ("decimal", "1.20", "`c` = %s", decimal.Decimal("1.20")),
        ("datetime", "2026-11-27 00:00:00", "`c` = %s", "2026-11-27 00:00:00"),
        ("varchar", "a", "`c` = %s", "a"),
        ("varchar", b"\xff", "`c` = _gbk X%s COLLATE gbk_bin", "ff"),
        ("binary", b"\xff", "`c` = %s", b"\xff"),
        ("enum", "a", "`c` = %s", "a"),
        ("set", 3, "`c` = %s", 3),
    ],
)
def test_a_value_is_named_as_its_type_wants(data_type: str, value: Any, said: str, bound: Any) -> None:
    found = term(column("c", data_type, charset="gbk", collation="gbk_bin"), value, "=")
    assert found == (said, (bound,)) and found is not None and type(found[1][0]) is type(bound)


@pytest.mark.parametrize(
    ("data_type", "value"),
    [
        ("int", "1"),
        ("varchar", 1),
        ("decimal", 1.5),
        ("decimal", "abc"),
        ("binary", "text"),
        ("date", 1),
        ("int", None),
    ],
)
def test_a_value_that_is_not_of_the_columns_type_is_not_looked_for(data_type: str, value: Any) -> None:
    """It would find nothing, on both servers, and nothing equals nothing."""
    with pytest.raises(Unfit):
        term(column("c", data_type), value, "=")


def test_a_key_is_named_by_names_that_an_older_and_a_newer_server_know() -> None:
    """The same statement goes to both, whichever of them said what the table is like."""
    said = {"name": "k", "data_type": "char", "type": "char(9)", "nullable": "NO", "formula": ""}
    key = [{"name": "PRIMARY", "part": "k", "prefix": None, "nullable": ""}]
    for charset, collation in (("utf8", "utf8_general_ci"), ("utf8mb3", "utf8mb3_general_ci")):
        layout = layout_of([{**said, "charset": charset, "collation": collation}], key)
        assert layout is not None
        found = within(layout, Range((b"a",), None))
        assert found == ("`k` > _utf8mb3 X%s COLLATE utf8mb3_general_ci", ("61",))


def test_what_no_predicate_can_name_is_not_compared() -> None:
    layout = Layout((column("j", "json"),), ())
    with pytest.raises(Unfit):
        fits(layout, Lookup(("j",), ("{}",)))
    big = Layout((column("b", "longblob"),), ())
    with pytest.raises(Unfit):
        fits(big, Lookup(("b",), (b"x" * (LARGEST_BOUND + 1),)))


# Ranges: a database evaluates the condition, and tuples are ordered by Python

NUMBERS = st.integers(-3, 3)


def composite(parts: int) -> Layout:
    names = tuple(f"k{place}" for place in range(parts))
    return Layout((column("other"), *(column(name) for name in names)), (names,))


def rows_that_hold(condition: str, values: tuple[Any, ...], keys: list[tuple[int, ...]]) -> set[tuple[int, ...]]:
    database = sqlite3.connect(":memory:")
    names = ", ".join(f"k{place}" for place in range(len(keys[0])))
    database.execute(f"CREATE TABLE t ({names})")
    database.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(keys[0]))})", keys)
    return set(database.execute(f"SELECT * FROM t WHERE {condition.replace('%s', '?')}", values))


@st.composite
def ranges(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], Optional[tuple[int, ...]], Optional[tuple[int, ...]]]:
    key = st.tuples(*[NUMBERS] * draw(st.integers(1, 4)))
    keys = draw(st.lists(key, min_size=1, max_size=30, unique=True))
    bound = st.one_of(st.none(), st.sampled_from(keys))
    return keys, draw(bound), draw(bound)


@given(ranges())
def test_a_range_is_what_lies_between_its_bounds(
    drawn: tuple[list[tuple[int, ...]], Optional[tuple[int, ...]], Optional[tuple[int, ...]]],
) -> None:
    keys, after, upto = drawn
    condition, values = within(composite(len(keys[0])), Range(after, upto))
    wanted = {key for key in keys if (after is None or key > after) and (upto is None or key <= upto)}
    assert rows_that_hold(condition, values, keys) == wanted
    assert condition.count("%s") == len(values)


def test_the_optimizer_can_make_a_range_of_the_whole_key() -> None:
    """Or each range of a table whose first column is the same in all rows reads the whole table."""
    condition, values = within(composite(2), Range((1, 2), (4, 5)))
    assert condition == (
        "(`k0` > %s OR (`k0` = %s AND `k1` > %s)) AND (`k0` < %s OR (`k0` = %s AND `k1` <= %s))"
    ) and values == (1, 1, 2, 4, 4, 5)
    assert within(composite(1), Range((1,), (2,))) == ("`k0` > %s AND `k0` <= %s", (1, 2))
    assert within(composite(2), Range(None, None)) == ("TRUE", ())


def test_mutants_of_a_range_are_seen() -> None:
    keys = [(one, two) for one in range(4) for two in range(4)]
    after = (1, 2)
    wanted = {key for key in keys if key > after}
    for mutant in ("`k0` > %s AND `k1` > %s", "`k0` >= %s AND (`k0` > %s OR (`k1` >= %s))", "`k0` > %s OR `k1` > %s"):
        values = (1, 1, 2) if mutant.count("%s") == 3 else (1, 2)
        assert rows_that_hold(mutant, values, keys) != wanted
    condition, bound = within(composite(2), Range(after, None))
    assert rows_that_hold(condition, bound, keys) == wanted


def test_a_bound_is_of_the_keys_types() -> None:
    for bad in (("1", 2), (None, 2), (1, b"x")):
        with pytest.raises(Unfit):
            within(composite(2), Range(bad, None))
    text = Layout((column("k", "varchar", charset="utf8mb4", collation="utf8mb4_bin"),), (("k",),))
    with pytest.raises(Unfit, match="too large"):
        within(text, Range((b"x" * (LARGEST_BOUND + 1),), None))
    condition, values = within(text, Range((b"\xff",), None))
    assert (condition, values) == ("`k` > _utf8mb4 X%s COLLATE utf8mb4_bin", ("ff",))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20, unique=True), st.data())
def test_rows_are_found_by_their_whole_key(keys: list[tuple[int, ...]], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=5))
    layout = composite(2)
    condition, values = predicate(layout, [Lookup(layout.key, key) for key in wanted], "=")
    assert rows_that_hold(condition, values, keys) == set(keys) & set(wanted)
