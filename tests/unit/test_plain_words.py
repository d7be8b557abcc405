# SPDX-License-Identifier: GPL-3.0-or-later
"""What pages and terminals say of values that may be anything."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.plain_words import mapping, real, sequence, utc
from hypothesis import given
from hypothesis import strategies as st


@given(st.floats(min_value=-6.2e10, max_value=2e11))
def test_utc_is_what_the_system_says(moment: float) -> None:
    assert utc(moment) == time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment // 1)).zfill(23)


@pytest.mark.parametrize(
    "value", [None, "", "soon", float("nan"), float("inf"), True, 1e300, 10**400, -(10**400), 3e11, [], {}]
)
def test_what_is_no_time_is_a_dash(value: Any) -> None:
    assert utc(value) == "-"


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), (0.5, 0.5), (-0.0, 0.0), (True, None), ("1", None), (10**400, None), (float("nan"), None), (None, None)],
)
def test_only_a_finite_number_is_one(value: Any, number: Any) -> None:
    assert real(value) == number


@pytest.mark.parametrize("value", [None, 1, "text", b"octets", {1, 2}])
def test_what_is_of_another_kind_is_empty(value: Any) -> None:
    assert not mapping(value) and not sequence(value)
    assert mapping({"a": value}) == {"a": value} and sequence([value]) == [value]
