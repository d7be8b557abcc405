# SPDX-License-Identifier: GPL-3.0-or-later
"""What the entries of many clusters come to, and what a process has spent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.manager_clusters import CLUSTERS, latencies, processor_time


def test_latencies_are_sorted_milliseconds() -> None:
    entries = [[100.25, "would_act", "dead"], [100.05, "would_act", "dead"]]
    assert latencies(entries, 100.0, 2) == pytest.approx((50, 250))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([[100.0, "would_act", "dead"]], "1 of 2"),
        ([[100.0, "would_act", "dead"], [100.0, "running", "dead"]], "running after dead"),
    ],
)
def test_a_cluster_without_an_entry_or_with_another_one_is_an_error(entries: list[list[object]], said: str) -> None:
    with pytest.raises(BenchmarkError, match=said):
        latencies(entries, 100.0, 2)


def test_processor_time_is_user_and_system_even_with_a_strange_name() -> None:
    tick = os.sysconf("SC_CLK_TCK")
    text = f"17 (my) sql d) S 1 17 17 0 -1 4194560 100 0 0 0 {3 * tick} {tick} 0 0 20 0 40 0 100 1 1"
    assert processor_time(text) == 4.0
    assert processor_time(Path("/proc/self/stat").read_text()) > 0


def test_as_many_as_the_issue_says() -> None:
    assert CLUSTERS == 300
