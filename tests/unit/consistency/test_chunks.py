# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges: together they are everything, none twice; few when there is little to read, none too large."""

from __future__ import annotations

import bisect
import itertools
from typing import Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.chunks import (
    LEAST,
    MOST,
    SPARSE,
    Counter,
    Size,
    counted,
    ordered,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import Layout
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.lookup import Bound
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column
from hypothesis import given
from hypothesis import strategies as st

SIGNED, UNSIGNED = (-(1 << 63), (1 << 63) - 1), (0, (1 << 64) - 1)


def cut(
    keys: list[int], wanted: int, *, after: Optional[int] = None, known: Optional[int] = None
) -> list[tuple[Optional[int], Optional[int], int]]:
    """The ranges of a sorted list of keys, as the whole-table mode cuts it, and how many rows each has.

    :param known: so many of the keys were there when the smallest and the greatest were asked for.
    """
    counter = Counter(keys[0], keys[:known][-1])
    start: Bound = None if after is None else (after,)
    counter.start(start)
    ranges = []
    while True:
        upto = counter.next(wanted)
        if upto is None:
            behind, number = counter.beyond(start, wanted)
            place = (bisect.bisect_right(keys, behind[0]) if behind else 0) + number - 1
            upto = (keys[place],) if place < len(keys) else None
            if upto is not None:
                counter.start(upto)
        low = bisect.bisect_right(keys, start[0]) if start else 0
        high = bisect.bisect_right(keys, upto[0]) if upto else len(keys)
        counter.found(high - low)
        ranges.append((start[0] if start else None, upto[0] if upto else None, high - low))
        assert 0.0 <= counter.covered() <= 1.0
        if upto is None:
            return ranges
        start = upto


@st.composite
def keys(draw: st.DrawFn) -> list[int]:
    """Clusters with gaps between them, anywhere between the smallest and the greatest number of BIGINT."""
    least, most = draw(st.sampled_from([SIGNED, UNSIGNED, (-50, 50)]))
    found: set[int] = set()
    for _cluster in range(draw(st.integers(1, 5))):
        start = draw(st.one_of(st.integers(least, most), st.sampled_from([least, most, 0])))
        step = draw(st.sampled_from([1, 1, 2, 3, 7, 1000, 1 << 40]))
        found |= {
            number for number in range(start, start + step * draw(st.integers(1, 200)), step) if least <= number <= most
        }
    return sorted(found)


@given(keys(), st.integers(1, 50))
def test_ranges_follow_each_other_cover_everything_and_are_of_the_size_wanted(keys: list[int], wanted: int) -> None:
    ranges = cut(keys, wanted)
    assert ranges[0][0] is None and ranges[-1][1] is None
    for (_start, upto, _rows), (start, _upto, _more) in itertools.pairwise(ranges):
        assert upto == start and upto is not None
    bounds = [upto for _start, upto, _rows in ranges[:-1]]
    assert bounds == sorted(set(bounds)) and all(UNSIGNED[1] >= bound >= SIGNED[0] for bound in bounds if bound)
    assert sum(rows for _start, _upto, rows in ranges) == len(keys)
    assert max(rows for _start, _upto, rows in ranges) <= max(wanted * SPARSE, 1)
    # A counted range that is nearly empty is followed by one that was asked for, and that is full.
    assert len(ranges) <= 2 * (len(keys) // wanted) * SPARSE + 2 * SPARSE + 4


@given(keys(), st.integers(1, 50), st.data())
def test_rows_that_came_in_behind_the_greatest_value_are_in_a_range_too(
    keys: list[int], wanted: int, data: st.DataObject
) -> None:
    ranges = cut(keys, wanted, known=data.draw(st.integers(1, len(keys))))
    assert ranges[0][0] is None and ranges[-1][1] is None
    assert all(upto == start for (_start, upto, _rows), (start, *_more) in itertools.pairwise(ranges))
    assert sum(rows for *_bounds, rows in ranges) == len(keys)
    # The row that was asked for is one more than those that were counted.
    assert max(rows for *_bounds, rows in ranges) <= wanted * SPARSE + 1


def test_of_a_dense_key_only_what_is_behind_the_greatest_value_is_asked_for() -> None:
    """A server reads all rows between the key that it is asked from and the one that it answers."""
    counter = Counter(1, 10_000)
    counter.start((9_000,))
    assert counter.beyond((9_000,), 4_000) == ((10_000,), 3_000)
    assert counter.beyond((9_000,), 500) == ((10_000,), 1)
    counter.found(100)  # of 9,000 numbers: they say little
    assert counter.beyond((9_000,), 4_000) == ((9_000,), 4_000)
    counter.start((10_000,))
    counter.found(1_000)
    assert counter.beyond((10_000,), 4_000) == ((10_000,), 4_000)


@pytest.mark.parametrize("sentinel", [-(1 << 63), -1, (1 << 63) - 1])
def test_a_number_far_away_does_not_make_one_range_of_the_table(sentinel: int) -> None:
    """Counting alone doubles its steps in the gap, and then takes all that lies behind it."""
    ranges = cut(sorted({sentinel, *range(10_000)}), 100)
    assert max(rows for _start, _upto, rows in ranges) <= 100 * SPARSE and len(ranges) < 120


def test_dense_numbers_are_not_asked_for() -> None:
    counter = Counter(1, 10_000)
    ends = []
    while (upto := counter.next(1000)) is not None:
        counter.found(1000)
        ends.append(upto[0])
    assert ends == list(range(1000, 10_000, 1000)) and counter.covered() == 0.9


def test_a_run_goes_on_from_where_it_got_to() -> None:
    ranges = cut(list(range(1000)), 100, after=499)
    assert ranges[0][:2] == (499, 599) and sum(rows for _start, _upto, rows in ranges) == 500
    assert [rows for *_bounds, rows in cut([1, 2, 3], 100, after=50)] == [0]


@given(st.lists(st.tuples(st.integers(0, 200_000), st.floats(0, 100)), max_size=30), st.sampled_from([1, 500, MOST]))
def test_a_size_stays_within_its_limits(ranges: list[tuple[int, float]], most: int) -> None:
    size = Size(0.4, most)
    for rows, seconds in ranges:
        size.took(rows, seconds)
        assert min(LEAST, most) <= size.rows <= most


def test_a_size_follows_the_speed() -> None:
    size = Size(0.4)
    for _range in range(20):
        size.took(size.rows, size.rows / 50_000)  # rows a second
    assert 19_000 <= size.rows <= 21_000
    size.took(size.rows // 10, 0.01)  # a small one says little
    assert 19_000 <= size.rows <= 21_000
    size.took(size.rows // 10, 4.0)  # one that is small and slow does not
    assert size.rows == LEAST


@pytest.mark.parametrize(
    ("columns", "is_counted", "is_ordered"),
    [
        ([column("k", "bigint")], True, True),
        ([column("k", "year")], True, True),
        ([column("k", "bit")], False, True),
        ([column("k", "decimal")], False, True),
        ([column("k", "enum")], False, False),
        ([column("k", "int"), column("l", "int")], False, True),
        ([column("k", "int"), column("l", "set")], False, False),
        ([], False, False),
    ],
)
def test_which_keys_are_counted(columns: list, is_counted: bool, is_ordered: bool) -> None:
    layout = Layout((*columns, column("c")), (tuple(one.name for one in columns),) if columns else ())
    assert (counted(layout), ordered(layout)) == (is_counted, is_ordered)
