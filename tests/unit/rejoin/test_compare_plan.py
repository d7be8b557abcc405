# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of two servers, and what their answers mean."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import ColumnFacts, Layout
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.lookup import Lookup, Unfit
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin import compare_plan as plan


def column(name: str, data_type: str = "int", **more: Any) -> ColumnFacts:
    facts: dict[str, Any] = {"charset": "", "collation": "", "nullable": False, "generated": ""}
    return ColumnFacts(name, data_type, data_type, **{**facts, **more})


KEYED = Layout((column("id", "bigint"), column("owner", "varchar", charset="utf8mb4")), (("id",),))
KEYLESS = Layout((column("a"), column("b", "varchar", charset="utf8mb4"), column("j", "json")), ())


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


def test_rows_by_key() -> None:
    sql, values = plan.rows_query("ba`nk", "t%", KEYED, [Lookup(("id",), (1,)), Lookup(("id",), (2,))])
    assert sql == (
        "SELECT IFNULL(SHA2(CONCAT_WS(_binary'#' COLLATE `binary`, `id`), 256),"
        " BIN_TO_UUID('larger than max_allowed_packet')) AS identity,"
        " IFNULL(SHA2(CONCAT_WS(_binary'#' COLLATE `binary`, `id`, `owner`), 256),"
        " BIN_TO_UUID('larger than max_allowed_packet')) AS content"
        " FROM `ba``nk`.`t%%` WHERE (`id` = %s) OR (`id` = %s) LIMIT 5001"
    )
    assert values == (1, 2)


def test_rows_without_a_key_are_counted() -> None:
    sql, values = plan.rows_query("s", "t", KEYLESS, [Lookup(("a", "b", "j"), (1, None, "{}"))])
    assert sql.endswith(" COUNT(*) AS content FROM `s`.`t` WHERE (`a` <=> %s AND `b` <=> NULL) GROUP BY 1 LIMIT 5001")
    assert "CAST(`j` AS CHAR)" in sql and values == (1,)


def test_a_percent_sign_is_one_for_the_server() -> None:
    layout = Layout((column("a%", "varchar"),), ())
    for value in ("x", None):
        sql, values = plan.rows_query("s%", "t", layout, [Lookup(("a%",), (value,))])
        sent = sql % values if values else sql
        assert "`a%`" in sent and "`s%`" in sent and "%%" not in sent


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


# Definitions


def test_definitions_are_the_same_but_for_the_counter() -> None:
    assert plan.definition("CREATE TABLE `t` (...) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4") == (
        "CREATE TABLE `t` (...) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    )
    assert plan.definition(None) is None


def test_lookups_are_plain_values() -> None:
    assert dataclasses.replace(KEYED, keys=()).key == ()
