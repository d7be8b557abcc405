# SPDX-License-Identifier: GPL-3.0-or-later
"""Percentiles: of samples that were seen, and for figures where more is better the other way round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import HIGHER, Series, percentile, rounded

SAMPLES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(20, 0.9, 18), (10, 0.9, 9), (3, 0.9, 3), (1, 0.9, 1), (20, 0.0, 1), (20, 1.0, 20), (100, 0.99, 99)],
)
def test_nearest_rank(count: int, share: float, expected: int) -> None:
    assert percentile(range(count, 0, -1), share) == expected


@pytest.mark.parametrize(("samples", "share"), [([], 0.5), ([1.0], 1.1), ([1.0], -0.1)])
def test_nonsense_is_refused(samples: list[float], share: float) -> None:
    with pytest.raises(ValueError):
        percentile(samples, share)


@given(SAMPLES, st.floats(0, 1))
def test_a_percentile_was_seen_and_is_not_exceeded_by_that_share(samples: list[float], share: float) -> None:
    found = percentile(samples, share)
    assert found in samples
    assert sum(sample <= found for sample in samples) >= share * len(samples) - 1e-6


@given(SAMPLES)
def test_worse_is_never_better(samples: list[float]) -> None:
    low, high = Series("s", tuple(samples)), Series("1/s", tuple(samples), HIGHER)
    assert low.p90 <= low.worst
    assert high.p90 >= high.worst
    mirrored = Series("s", tuple(-sample for sample in samples))
    assert (high.p90, high.worst) == (-mirrored.p90, -mirrored.worst)


def test_a_target_is_met_by_nine_of_ten() -> None:
    series = Series("s", (0.1,) * 18 + (0.9, 0.9))
    assert series.meets(0.6)
    assert not Series("s", (0.1,) * 17 + (0.9,) * 3).meets(0.6)
    assert not Series("1/s", (10.0,) * 17 + (1.0,) * 3, HIGHER).meets(5)


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.0), (0.123456, 0.1235), (1234567.0, 1234567), (99.999, 100.0)])
def test_rounding_keeps_what_is_known(value: float, expected: float) -> None:
    assert rounded(value) == expected
