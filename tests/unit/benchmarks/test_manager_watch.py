# SPDX-License-Identifier: GPL-3.0-or-later
"""The manager's benchmark works at all, and measures what it says."""

from __future__ import annotations

from benchmarks import manager_watch


def test_a_small_one() -> None:
    core, memory, latency = manager_watch.results(3, 1.0, 1, clear=True)
    assert 0 < core.series.median < 100 and 0 < core.phases["cpu_ms_per_tick"].median < 50
    assert 10 < memory.series.median < 300
    assert 0 < latency.series.median < 5000
