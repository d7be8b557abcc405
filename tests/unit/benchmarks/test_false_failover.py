# SPDX-License-Identifier: GPL-3.0-or-later
"""Gaps beside their thresholds: which percentile, which ratio, and what makes the command fail."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.false_failover import COARSE, FINE, Quantity, lines, quantities, ratio_result, said
from benchmarks.figures import Series
from benchmarks.machine import Condition
from benchmarks.result import Result
from benchmarks.standstill import Seen

CONDITION = Condition(2.0, 1.0, 0.0, 600.0)


def seen(**changes: Any) -> dict[str, Any]:
    values = {
        "silence_counted": [0.1],
        "silence_gaps": [0.2],
        "heartbeat_counted": [0.3],
        "heartbeat_gaps": [0.5],
        "lateness": [0.01],
        "answers": [0.004],
        "unanswered": 0,
        "verdicts": {"healthy": 1},
    }
    return {**values, **changes}


def test_each_quantity_is_beside_its_own_threshold() -> None:
    found = {one.name: one for one in quantities({COARSE: seen(silence_gaps=[9.0]), FINE: seen(lateness=[9.0])})}
    assert {name: one.threshold for name, one in found.items()} == {
        "silence_counted": 1.85,
        "silence_gaps": 1.85,
        "heartbeat_counted": 2.0,
        "heartbeat_gaps": 2.0,
        "heartbeat_gaps_cut": 3.0,
        "lateness": 0.25,
        "answers": 0.4,
    }
    # Gaps are of the fine watcher, ticks and what is counted in them of the one that is as the manager.
    assert found["silence_gaps"].samples == [0.2] and found["lateness"].samples == [0.01]
    assert [name for name, one in found.items() if not one.judged] == ["answers"]


def test_the_percentile_is_the_one_of_a_thousand() -> None:
    samples = [0.1] * 1998 + [0.5, 3.0]
    one = Quantity("silence_gaps", samples, 2.0, "silence")
    assert one.p999 == 0.1
    assert Quantity("silence_gaps", [*samples, 3.0], 2.0, "silence").p999 == 0.5
    assert Quantity("silence_gaps", [0.1] * 99 + [0.8], 2.0, "silence").ratio == pytest.approx(2.5)


def test_where_nothing_stood_still_the_ratio_is_still_a_number_of_json() -> None:
    one = Quantity("silence_counted", [0.0] * 10, 1.85, "silence")
    result = ratio_result(one, CONDITION, "9.7.4", 0.0, ["a note"])
    assert one.ratio == float("inf") and result.series.median == 1e6 and result.met


@pytest.mark.parametrize(("gap", "met"), [(0.9, True), (0.925, True), (0.93, False)])
def test_twice_is_asked_for(gap: float, met: bool) -> None:
    result = ratio_result(Quantity("silence_gaps", [gap], 1.85, "silence"), CONDITION, "9.7.4", 0.0, [])
    assert result.met is met
    assert result.phases["p999"].samples == (gap * 1000,)


def test_a_quantity_without_a_sample_is_left_out() -> None:
    found = quantities({COARSE: seen(), FINE: seen(heartbeat_gaps=[])})
    assert not {"heartbeat_gaps", "heartbeat_gaps_cut"} & {one.name for one in found}


def test_the_table_has_a_line_for_each() -> None:
    table = lines(quantities({COARSE: seen(), FINE: seen()})).splitlines()
    assert len(table) == 8
    assert table[2].split() == ["silence_gaps", "1", "200", "ms", "200", "ms", "1850", "ms", "silence", "9.2"]


def test_any_death_is_a_failure_and_a_missed_ratio_is_not() -> None:
    def deaths(number: float) -> Result:
        return Result("deaths", Series("1", (number,)), [CONDITION], "9.7.4", 0.0, must=True)

    assert deaths(1.0).failed and not deaths(0.0).failed
    missed = ratio_result(Quantity("silence_gaps", [1.8], 1.85, "silence"), CONDITION, "9.7.4", 0.0, [])
    assert missed.met is False and not missed.failed


def test_what_the_second_watcher_says_has_every_list() -> None:
    found = said(Seen())
    assert set(found) == set(seen())
