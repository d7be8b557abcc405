# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of two servers, and what their answers mean."""

from __future__ import annotations

import dataclasses
import decimal
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.statement_objects import Named, Unfit
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin import compare_plan as plan
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.compare_plan import (
    ColumnFacts,
    Layout,
    Lookup,
    Settling,
)
from hypothesis import given
from hypothesis import strategies as st


def column(name: str, data_type: str = "int", **more: Any) -> ColumnFacts:
    facts: dict[str, Any] = {"charset": "", "collation": "", "nullable": False, "generated": ""}
    return ColumnFacts(name, data_type, data_type, **{**facts, **more})


KEYED = Layout((column("id", "bigint"), column("owner", "varchar", charset="utf8mb4")), (("id",),))
KEYLESS = Layout((column("a"), column("b", "varchar", charset="utf8mb4"), column("j", "json")), ())


# Layouts


def test_a_layout_says_what_may_name_a_row() -> None:
    columns = [
        {"name": name, "data_type": "int", "type": "int unsigned", "charset": None, "collation": None, "nullable": "NO",
         "formula": ""}
        for name in ("a", "b", "c")
    ]  # fmt: skip

    def part(name: str, of: str | None, prefix: int | None = None, nullable: str = "") -> dict[str, Any]:
        return {"name": name, "part": of, "prefix": prefix, "nullable": nullable}

    unique = [
        part("PRIMARY", "b"), part("PRIMARY", "a"), part("expression", "a"), part("expression", None),
        part("null", "c", nullable="YES"), part("null", "a"), part("prefix", "c", 3), part("second", "c"),
    ]  # fmt: skip
    found = plan.layout_of(columns, unique)
    assert found is not None and found.keys == (("b", "a"), ("c",)) and found.key == ("b", "a")
    assert plan.layout_of([], []) is None


def test_a_key_that_cannot_be_named_is_none() -> None:
    assert Layout((column("g", "point"), column("n")), (("g",), ("n",))).key == ("n",)
    assert Layout((column("g", "point"),), (("g",),)).key == ()


def test_layouts_differ_in_words() -> None:
    other = Layout((column("id", "int"), KEYED.columns[1], column("more")), KEYED.keys)
    assert plan.layout_difference(KEYED, KEYED) == ("", ())
    assert plan.layout_difference(None, None) == ("", ())
    assert plan.layout_difference(None, KEYED) == ("only_on_returning", ())
    assert plan.layout_difference(KEYED, None) == ("only_on_primary", ())
    assert plan.layout_difference(KEYED, other) == ("columns", ("id", "more"))
    assert plan.layout_difference(KEYED, Layout(KEYED.columns[::-1], KEYED.keys)) == ("columns", ("id", "owner"))
    assert plan.layout_difference(KEYED, Layout(KEYED.columns, ())) == ("keys", ())


# Where to look


def change(before: Any = None, after: Any = None) -> dict[str, Any]:
    return {"before": before, "after": after}


def test_a_row_is_looked_for_as_it_was_and_as_it_became() -> None:
    one, two = {"id": 1, "owner": "a"}, {"id": 2, "owner": "a"}
    assert plan.lookups(change(one, two), KEYED) == [Lookup(("id",), (1,)), Lookup(("id",), (2,))]
    assert plan.lookups(change(one, {"id": 1, "owner": "b"}), KEYED) == [Lookup(("id",), (1,))]
    assert plan.lookups(change(None, two), KEYED) == [Lookup(("id",), (2,))]
    assert plan.lookups(change(one), KEYED) == [Lookup(("id",), (1,))]
    assert plan.lookups(change({"id": 1}, {"owner": "b"}), KEYED) == [Lookup(("id",), (1,))], "a partial image"
    image = {"a": 1, "b": {"base64": "/w=="}, "j": "{}"}
    assert plan.lookups(change(image), KEYLESS) == [Lookup(("a", "b", "j"), (1, b"\xff", "{}"))]


def test_columns_without_names_are_counted() -> None:
    assert plan.lookups(change({"@1": 7, "@2": "a"}), KEYED) == [Lookup(("id",), (7,))]
    with pytest.raises(Unfit, match="3 columns"):
        plan.lookups(change({"@1": 7, "@2": "a", "@3": 0}), KEYED)


def test_what_is_not_archived_cannot_be_looked_for() -> None:
    for broken in (change({"owner": "a"}), change(), change({"@1": 1})):
        with pytest.raises(Unfit):
            plan.lookups(broken, KEYED)
    with pytest.raises(Unfit, match="do not hold b, j"):
        plan.lookups(change({"a": 1}), KEYLESS)


@pytest.mark.parametrize(
    ("data_type", "value", "term", "bound"),
    [
        ("bigint", 1, "`c` = %s", 1),
        ("bit", 1, "`c` = %s", 1),
        ("year", 2026, "`c` = %s", 2026),
        ("double", 1, "`c` = %s", 1.0),
        ("float", 0.10000000149011612, "`c` = %s", 0.10000000149011612),
        ("decimal", "1.20", "`c` = %s", decimal.Decimal("1.20")),
        ("datetime", "2026-11-27 00:00:00", "`c` = %s", "2026-11-27 00:00:00"),
        ("varchar", "a", "`c` = %s", "a"),
        ("varchar", b"\xff", "`c` = CONVERT(%s USING gbk)", b"\xff"),
        ("binary", b"\xff", "`c` = %s", b"\xff"),
        ("enum", "a", "`c` = %s", "a"),
        ("set", 3, "`c` = %s", 3),
    ],
)
def test_a_value_is_named_as_its_type_wants(data_type: str, value: Any, term: str, bound: Any) -> None:
    found = plan._term(column("c", data_type, charset="gbk"), value, "=")
    assert found == (term, (bound,)) and found is not None and type(found[1][0]) is type(bound)


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
        plan._term(column("c", data_type), value, "=")


def test_rows_by_key() -> None:
    sql, values = plan.rows_query("ba`nk", "t%", KEYED, [Lookup(("id",), (1,)), Lookup(("id",), (2,))])
    assert sql == (
        "SELECT SHA2(CONCAT_WS('/', IFNULL(CAST(`id` AS CHAR), '-')), 256) AS identity,"
        " SHA2(CONCAT_WS('/', IFNULL(CAST(`id` AS CHAR), '-'), IFNULL(SHA2(`owner`, 256), '-')), 256) AS content"
        " FROM `ba``nk`.`t%%` WHERE (`id` = %s) OR (`id` = %s) LIMIT 5001"
    )
    assert values == (1, 2)


def test_rows_without_a_key_are_counted() -> None:
    sql, values = plan.rows_query("s", "t", KEYLESS, [Lookup(("a", "b", "j"), (1, None, "{}"))])
    assert sql.endswith(
        " COUNT(*) AS content FROM `s`.`t` WHERE (`a` <=> %s AND `b` <=> NULL) GROUP BY identity LIMIT 5001"
    )
    assert "CAST(`j` AS CHAR)" in sql and values == (1,)


def test_a_percent_sign_is_one_for_the_server() -> None:
    layout = Layout((column("a%", "varchar"),), ())
    for value in ("x", None):
        sql, values = plan.rows_query("s%", "t", layout, [Lookup(("a%",), (value,))])
        sent = sql % values if values else sql
        assert "`a%`" in sent and "`s%`" in sent and "%%" not in sent


def test_what_no_predicate_can_name_is_not_compared() -> None:
    layout = Layout((column("j", "json"),), ())
    with pytest.raises(Unfit):
        plan.fits(layout, Lookup(("j",), ("{}",)))
    big = Layout((column("b", "longblob"),), ())
    with pytest.raises(Unfit):
        plan.fits(big, Lookup(("b",), (b"x" * (plan.LARGEST_BOUND + 1),)))


def test_details_show_values_only_when_asked() -> None:
    wanted = [Lookup(("id",), (1,))]
    masked = plan.details_query("s", "t", KEYED, wanted, reveal=False)[0]
    shown = plan.details_query("s", "t", KEYED, wanted, reveal=True)[0]
    assert "LEFT(" not in masked and "AS d1" in masked
    assert "LEFT(CAST(`owner` AS CHAR), 200) AS v1" in shown


# What answers mean


def test_a_digest_that_is_none_is_no_answer() -> None:
    assert plan.answer([{"identity": "k", "content": 2}]) == {"k": "2"}
    for row in ({"identity": None, "content": "x"}, {"identity": "k", "content": None}):
        with pytest.raises(Unfit):
            plan.answer([row])
    with pytest.raises(Unfit):
        plan.answer([{"identity": str(number), "content": ""} for number in range(plan.MOST_GROUPS + 1)])


def test_the_same_once_is_settled_for_good() -> None:
    settling = Settling()
    settling.see({"a": "1", "b": "1"}, {"a": "1", "b": "0"})
    assert not settling.settled and settling.open is not None and set(settling.open) == {"b"}
    settling.see({"a": "2", "b": "2"}, {"a": "1", "b": "2"})
    assert settling.settled and not settling.different and not settling.restless


def test_a_difference_counts_when_the_primarys_row_rests() -> None:
    settling = Settling()
    for number in range(plan.CONFIRMED_BY):
        assert not settling.settled and not settling.different
        settling.see({"a": "1"}, {"a": str(number + 2)})
    assert settling.settled and settling.different["a"].there == "1"


def test_a_row_that_never_rests_is_no_difference() -> None:
    settling = Settling()
    for number in range(20):
        settling.see({"a": str(number)}, {"a": str(number - 1)})
    assert not settling.settled and not settling.different and settling.restless == 1


@pytest.mark.parametrize("there", [{}, {"a": "1"}])
def test_a_row_that_only_one_has_differs(there: dict[str, str]) -> None:
    settling = Settling()
    for _number in range(plan.CONFIRMED_BY):
        settling.see(there, {} if there else {"a": "1"})
    assert set(settling.different) == {"a"}


ANSWERS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("012"), max_size=3)


@given(st.lists(st.tuples(ANSWERS, ANSWERS), min_size=1, max_size=8))
def test_what_is_open_was_never_the_same_and_what_is_different_rested(rounds: list[tuple[Any, Any]]) -> None:
    settling = Settling()
    for there, here in rounds:
        settling.see(there, here)
    assert settling.open is not None
    for identity in {*rounds[0][0], *rounds[0][1]}:
        never_same = all(there.get(identity) != here.get(identity) for there, here in rounds)
        assert (identity in settling.open) == never_same
    for identity in settling.different:
        assert len({there.get(identity) for there, _here in rounds[-plan.CONFIRMED_BY :]}) == 1


# Definitions


def test_definitions_are_the_same_but_for_the_counter() -> None:
    assert plan.definition("CREATE TABLE `t` (...) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4") == (
        "CREATE TABLE `t` (...) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    )
    assert plan.definition(None) is None


def test_named_and_lookups_are_plain_values() -> None:
    assert Named("s", "t") == ("s", "t")
    assert dataclasses.replace(KEYED, keys=()).key == ()
