# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run found, as its report."""

from __future__ import annotations

import itertools
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import repair, summary


def plan(way: str, rows: int, table: str = "s.t", mode: str = "whole") -> dict[str, Any]:
    return {"table": table, "replica": "r1", "way": way, "rows": rows, "sql": [], "why": "", "mode": mode}


def told(*kept: dict[str, Any]) -> list[tuple[str, str, int]]:
    outcome = summary.Outcome(
        "c", "p", ["r1"], [], 1.0, 2.0, True, False, None, "", servers=[], results=[], asserted=[], plans=kept
    )
    found = summary.of(outcome)["repair"]
    assert not any("mode" in each for each in found)
    return [(each["table"], each["way"], each["rows"]) for each in found]


def test_of_what_several_modes_found_the_gravest_plan_is_told() -> None:
    few, more = plan(repair.ROWS, 2, mode="recent_time"), plan(repair.ROWS, 9, mode="recent_binlog")
    some, many = plan(repair.CLONE, 1, mode="snapshot"), plan(repair.CLONE, 5000)
    for kept in itertools.permutations((few, more, some, many)):
        assert told(*kept) == [("s.t", repair.CLONE, 5000)]
    for kept in itertools.permutations((few, more)):
        assert told(*kept) == [("s.t", repair.ROWS, 9)]
    for kept in itertools.permutations((more, some)):
        assert told(*kept) == [("s.t", repair.CLONE, 1)]


def test_each_table_has_its_own_plan_in_the_order_in_which_they_were_found() -> None:
    kept = (plan(repair.ROWS, 2), plan(repair.ROWS, 3, "s.u"), plan(repair.CLONE, 40))
    assert told(*kept) == [("s.t", repair.CLONE, 40), ("s.u", repair.ROWS, 3)]
