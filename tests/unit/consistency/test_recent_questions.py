# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of the recent rows of a table."""

from __future__ import annotations

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import Layout
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.lookup import Range
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Named, Table
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.recent_questions import RecentTable
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.time_column import TimeColumn
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.window import SECOND
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column

CHANGED = column("changed", "timestamp")
COLUMNS = (column("branch"), column("id"), CHANGED)


def recent(*key: str) -> RecentTable:
    table = Table(Named("bank", "100%"), Layout(COLUMNS, (key,)))
    return RecentTable(table, TimeColumn(CHANGED, "by_time", True), 100 * SECOND, 200 * SECOND)


WITHIN = (
    "FROM `bank`.`100%%` FORCE INDEX (`by_time`)"
    " WHERE `changed` >= FROM_UNIXTIME(%s) AND `changed` < FROM_UNIXTIME(%s) AND"
)


def test_each_question_is_of_the_window_and_by_its_index() -> None:
    table, everything = recent("branch", "id"), Range(None, None)
    for sql, values in (table.aggregate(everything), table.rows_of(everything, 5), table.boundary(everything, 5)):
        assert f"{WITHIN} TRUE" in sql and values == (100, 200)


def test_a_range_is_of_the_date_and_then_of_the_key() -> None:
    bound = ("2026-11-28 02:03:25", 1, 2)
    sql, values = recent("branch", "id").boundary(Range(bound, None), 10)
    assert f"{WITHIN} (`changed` > %s OR (`changed` = %s AND (`branch` > %s OR (`branch` = %s AND `id` > %s))))" in sql
    assert sql.endswith("ORDER BY `100%%`.`changed`, `100%%`.`branch`, `100%%`.`id` LIMIT 1 OFFSET 9")
    assert values == (100, 200, bound[0], bound[0], 1, 1, 2)


def test_a_key_that_has_the_date_in_it_names_it_once() -> None:
    table = recent("branch", "changed")
    assert [each.name for each in table.key] == ["changed", "branch"]
    # The rows still have the key as the table has it: that is what they are looked up by.
    rows = [{"k0": 5, "k1": "2026-11-28 02:03:25", "content": "x"}]
    assert table.read(rows) == {(5, "2026-11-28 02:03:25"): "x"}


def test_rows_have_their_own_key_and_boundaries_the_date() -> None:
    table = recent("branch", "id")
    assert table.read([{"k0": 1, "k1": 2, "content": "x"}]) == {(1, 2): "x"}
    assert table.key_of({"k0": "2026-11-28 02:03:25", "k1": 1, "k2": 2}) == ("2026-11-28 02:03:25", 1, 2)
    assert "`branch` AS k0, `id` AS k1, IFNULL(SHA2" in table.rows_of(Range(None, None), 5)[0]
    assert "CAST(`changed` AS CHAR) AS k0, `branch` AS k1, `id` AS k2 FROM" in table.boundary(Range(None, None), 5)[0]
