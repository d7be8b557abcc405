# SPDX-License-Identifier: GPL-3.0-or-later
"""GTID sets against a model: plain Python sets of (uuid, tag, number)."""

from __future__ import annotations

import copy
import pickle
import time

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import EMPTY, GtidSet, union
from hypothesis import given
from hypothesis import strategies as st

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "4e11fa47-71ca-11e1-9e33-c80aa9429562"
C = "5e11fa47-71ca-11e1-9e33-c80aa9429562"
LAST = 2**63 - 2

Model = frozenset[tuple[str, str, int]]

origins = st.tuples(st.sampled_from([A, B, C]), st.sampled_from(["", "day", "_n1"]))
ranges = st.tuples(st.integers(1, 40), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1]))
raw_sets = st.dictionaries(origins, st.lists(ranges, max_size=6), max_size=5)


def model(raw: dict[tuple[str, str], list[tuple[int, int]]]) -> Model:
    return frozenset(
        (uuid, tag, number)
        for (uuid, tag), intervals in raw.items()
        for first, last in intervals
        for number in range(first, last + 1)
    )


def members(gtids: GtidSet) -> Model:
    return model({origin: [i for o, i in gtids if o == origin] for origin, _interval in gtids})


@given(raw_sets, raw_sets)
def test_algebra_is_that_of_sets_of_transactions(one: dict, other: dict) -> None:
    left, right = GtidSet(one), GtidSet(other)
    a, b = model(one), model(other)
    assert members(left | right) == a | b
    assert members(left - right) == a - b
    assert members(left & right) == a & b
    assert (left <= right) == (a <= b)
    assert (left < right) == (a < b)
    assert (left >= right) == (a >= b)
    assert (left > right) == (a > b)
    assert (left == right) == (a == b)
    assert len(left) == len(a)
    assert bool(left) == bool(a)
    assert left.uuids == {uuid for uuid, _tag, _number in a}
    assert members(left.of([A.upper(), C])) == {g for g in a if g[0] in (A, C)}


@given(raw_sets, raw_sets)
def test_equal_sets_have_one_text_and_one_hash(one: dict, other: dict) -> None:
    left, right = GtidSet(one), GtidSet(other)
    rebuilt = (left | right) - (right - left)
    assert rebuilt == left
    assert str(rebuilt) == str(left)
    assert hash(rebuilt) == hash(left)


@given(raw_sets)
def test_text_and_set_turn_into_each_other(raw: dict) -> None:
    gtids = GtidSet(raw)
    assert GtidSet.parse(str(gtids)) == gtids
    assert eval(repr(gtids), {"GtidSet": GtidSet}) == gtids  # noqa: S307 - repr promises to be this
    assert pickle.loads(pickle.dumps(gtids)) == gtids
    assert copy.deepcopy(gtids) == gtids


@given(raw_sets, st.randoms(use_true_random=False))
def test_text_in_any_order_case_and_spacing_is_the_same_set(raw: dict, random: object) -> None:
    parts = [
        f"{uuid.upper()}:{tag}:{first}-{last}" if tag else f"{uuid.replace('-', '')}:{first}-{last}"
        for (uuid, tag), intervals in raw.items()
        for first, last in intervals
    ]
    random.shuffle(parts)  # type: ignore[attr-defined]
    assert GtidSet.parse(" ,\n".join(parts) + ",\t") == GtidSet(raw)


@given(st.lists(raw_sets, max_size=5))
def test_union_of_many_is_the_union_of_all(raws: list) -> None:
    assert members(union(GtidSet(raw) for raw in raws)) == frozenset().union(*(model(raw) for raw in raws))


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", ""),
        (" \n ,, ", ""),
        (f"{A}:1", f"{A}:1"),
        (f"{A}:1-1", f"{A}:1"),
        (f"{A}:5:1-3:4", f"{A}:1-5"),
        (f"{A}:1-3:7-9:5", f"{A}:1-3:5:7-9"),
        (f"{A.upper()}:1-5", f"{A}:1-5"),
        (A.replace("-", "") + ":1-5", f"{A}:1-5"),
        (f"{A}:1-5,\n{B}:1-7", f"{A}:1-5,{B}:1-7"),
        (f"{B}:1,{A}:1", f"{A}:1,{B}:1"),
        (f"{A}:1-3:Tag:1-5", f"{A}:1-3:tag:1-5"),
        (f"{A}:tag:1-5:1-3", f"{A}:tag:1-5"),
        (f"{A}:zulu:2:alpha:1:7", f"{A}:alpha:1:7:zulu:2"),
        (f"{A}:alpha:1,{A}:4,{A}:alpha:2", f"{A}:4:alpha:1-2"),
        (f"{A}:5-3", ""),
        (f"{A}:5-3:8", f"{A}:8"),
        (f"{A}:{LAST}", f"{A}:{LAST}"),
        (f"{A}:1-{LAST}", f"{A}:1-{LAST}"),
    ],
)
def test_text_is_read_and_printed_as_the_server_does(text: str, printed: str) -> None:
    assert str(GtidSet.parse(text)) == printed


@pytest.mark.parametrize(
    "text",
    [
        "garbage",
        "1-5",
        ":1-5",
        A,
        f"{A}:",
        f"{A}::1",
        f"{A}:0",
        f"{A}:0-5",
        f"{A}:-5",
        f"{A}:1-",
        f"{A}:1-2-3",
        f"{A}:1--2",
        f"{A}:+1",
        f"{A}:1.5",
        f"{A}:{LAST + 1}",
        f"{A}:1-{LAST + 1}",
        f"{A}:{'9' * 5000}",
        f"{A}:tag",
        f"{A}:1:tag",
        f"{A}:one:two:1",
        f"{A}:1tag:1",
        f"{A}:{'t' * 33}:1",
        f"{A}:ta-g:1",
        f"{A[:-1]}:1",
        f"{A}0:1",
        f"g{A[1:]}:1",
        f"{A}:1;{B}:1",
        f"{A}:\u0661",
    ],
)
def test_what_is_no_gtid_set_is_an_error_with_a_code(text: str) -> None:
    with pytest.raises(HaError) as caught:
        GtidSet.parse(text)
    assert caught.value.code == "gtid_set_invalid"
    assert caught.value.next_step
    assert len(str(caught.value.evidence)) < 600, "a result is no place for a megabyte of text"


@given(st.text(alphabet="0123456789abcdef:-, \nxT_", max_size=60))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    for candidate in (text, f"{A}:{text}"):
        try:
            gtids = GtidSet.parse(candidate)
        except HaError as error:
            assert error.code == "gtid_set_invalid"
        else:
            assert GtidSet.parse(str(gtids)) == gtids


def test_a_set_is_not_equal_to_its_text() -> None:
    assert GtidSet.parse(f"{A}:1") != f"{A}:1"


def test_the_empty_set_is_false_and_contained_in_every_set() -> None:
    assert not EMPTY
    assert GtidSet.parse("") == EMPTY
    assert GtidSet.parse("") >= EMPTY
    assert not GtidSet.parse("") > EMPTY  # pylint: disable=unnecessary-negation
    assert GtidSet.parse(f"{A}:1") > EMPTY


def test_an_origin_without_intervals_is_no_origin() -> None:
    assert GtidSet({(A, ""): []}) == EMPTY


def _seconds(count: int) -> float:
    """The fastest of three: every operation on two interleaved sets of ``count`` intervals."""
    left = GtidSet({(A, ""): [(n, n) for n in range(1, 4 * count, 4)]})
    right = GtidSet({(A, ""): [(n, n + 1) for n in range(2, 4 * count, 4)]})
    text = str(left)

    def once() -> float:
        began = time.process_time()
        assert len(left | right) == 3 * count
        assert left - right == left
        assert not left & right
        assert GtidSet.parse(text) == left
        return time.process_time() - began

    return min(once() for _attempt in range(3))


def test_sets_of_many_intervals_cost_in_proportion() -> None:
    """Ten times the intervals may cost ten times the time, with room for a busy machine; squared it would be 100."""
    assert _seconds(20_000) < 40 * max(_seconds(2_000), 0.002)
