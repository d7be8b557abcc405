# SPDX-License-Identifier: GPL-3.0-or-later
"""The figure that says whether a rewind takes longer with more data."""

from __future__ import annotations

from benchmarks import rewind
from benchmarks.figures import Series


def test_growth_is_of_the_largest_over_the_smallest() -> None:
    assert rewind.growth({800: [3.0, 2.0, 9.0], 50: [2.0, 1.0, 2.0], 200: [7.0]}) == (1.5,)


def test_a_time_that_grows_with_the_data_misses_its_target() -> None:
    same, grows = rewind.growth({50: [2.0], 800: [2.2]}), rewind.growth({50: [2.0], 800: [4.0]})
    assert Series("1", same).meets(rewind.GROWTH) and not Series("1", grows).meets(rewind.GROWTH)
