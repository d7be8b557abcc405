# SPDX-License-Identifier: GPL-3.0-or-later
"""When a difference means something."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.settle import CONFIRMED_BY, Settling
from hypothesis import given
from hypothesis import strategies as st


def test_the_same_once_is_settled_for_good() -> None:
    settling = Settling()
    settling.see({"a": "1", "b": "1"}, {"a": "1", "b": "0"})
    assert not settling.settled and settling.open is not None and set(settling.open) == {"b"}
    settling.see({"a": "2", "b": "2"}, {"a": "1", "b": "2"})
    assert settling.settled and not settling.different and not settling.restless


def test_a_difference_counts_when_the_primarys_row_rests() -> None:
    settling = Settling()
    for number in range(CONFIRMED_BY):
        assert not settling.settled and not settling.different
        settling.see({"a": "1"}, {"a": str(number + 2)})
    assert settling.settled and settling.different["a"].there == "1"


def test_a_row_that_never_rests_is_no_difference() -> None:
    settling = Settling()
    for number in range(20):
        settling.see({"a": str(number)}, {"a": str(number - 1)})
    assert not settling.settled and not settling.different and len(settling.restless) == 1


@pytest.mark.parametrize("there", [{}, {"a": "1"}])
def test_a_row_that_only_one_has_differs(there: dict[str, str]) -> None:
    settling = Settling()
    for _number in range(CONFIRMED_BY):
        settling.see(there, {} if there else {"a": "1"})
    assert set(settling.different) == {"a"}


ANSWERS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("012"), max_size=3)


@given(st.lists(st.tuples(ANSWERS, ANSWERS), min_size=1, max_size=8))
def test_what_is_open_was_never_the_same_and_what_is_different_rested(rounds: list[tuple[Any, Any]]) -> None:
    settling = Settling()
    for there, here in rounds:
        settling.see(there, here)
    assert settling.open is not None
    for identity in {*rounds[0][0], *rounds[0][1]}:
        never_same = all(there.get(identity) != here.get(identity) for there, here in rounds)
        assert (identity in settling.open) == never_same
    for identity in settling.different:
        assert len({there.get(identity) for there, _here in rounds[-CONFIRMED_BY:]}) == 1
