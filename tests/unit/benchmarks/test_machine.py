# SPDX-License-Identifier: GPL-3.0-or-later
"""Load and steal from the text of /proc/stat."""

from __future__ import annotations

import pytest

from benchmarks.machine import Condition, Watch, shares, summary, ticks

#        user nice system idle iowait irq softirq steal guest guest_nice
BEFORE = "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5 0 0\nbtime 1\n"
AFTER = "cpu  130 0 60 840 60 0 0 10 30 0\n"


def test_steal_is_a_share_of_all_time() -> None:
    busy, steal = shares(ticks(BEFORE), ticks(AFTER))
    assert (busy, steal) == (0.4, 0.1)


def test_guests_are_not_counted_twice() -> None:
    without = shares(ticks(BEFORE), ticks(AFTER.replace(" 30 0\n", " 0 0\n")))
    assert without == shares(ticks(BEFORE), ticks(AFTER))


def test_a_kernel_without_steal() -> None:
    assert shares(ticks("cpu 1 0 0 1 0 0 0\n"), ticks("cpu 2 0 0 2 0 0 0\n")) == (0.5, 0.0)


def test_no_time_passed() -> None:
    assert shares(ticks(BEFORE), ticks(BEFORE)) == (0.0, 0.0)


def test_a_counter_that_went_back_counts_as_no_time() -> None:
    busy, steal = shares((10, 0, 0, 100, 0, 0, 0, 0), (20, 0, 0, 90, 0, 0, 0, 0))
    assert (busy, steal) == (1.0, 0.0)


def test_no_such_line() -> None:
    with pytest.raises(ValueError, match="cpu"):
        ticks("intr 1 2 3\n")


def test_this_machine_can_be_read() -> None:
    with Watch() as watch:
        sum(range(10000))
    assert 0 <= watch.condition.steal <= 1 and 0 <= watch.condition.busy <= 1


def test_steal_is_weighted_by_time() -> None:
    found = summary([Condition(1.0, 0.5, 0.0, 3.0), Condition(4.0, 1.0, 0.4, 1.0)], "9.7.4")
    assert (found["steal"], found["steal_worst"], found["load_worst"]) == (0.1, 0.4, 4.0)
    assert found["server_version"] == "9.7.4"
    assert found["cores"] >= 1


def test_without_a_sample_there_is_still_a_machine() -> None:
    assert summary([], "")["load"] == 0.0
