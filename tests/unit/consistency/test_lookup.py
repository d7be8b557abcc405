# SPDX-License-Identifier: GPL-3.0-or-later
"""Where rows are: conditions with exact, bound values."""

from __future__ import annotations

import decimal
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import Layout
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.lookup import (
    LARGEST_BOUND,
    Lookup,
    Unfit,
    fits,
    term,
)
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column


@pytest.mark.parametrize(
    ("data_type", "value", "said", "bound"),
    [
        ("bigint", 1, "`c` = %s", 1),
        ("bit", 1, "`c` = %s", 1),
        ("year", 2026, "`c` = %s", 2026),
        ("double", 1, "`c` = %s", 1.0),
        ("float", 0.10000000149011612, "`c` = %s", 0.10000000149011612),
        ("decimal", "1.20", "`c` = %s", decimal.Decimal("1.20")),
        ("datetime", "2026-11-27 00:00:00", "`c` = %s", "2026-11-27 00:00:00"),
        ("varchar", "a", "`c` = %s", "a"),
        ("varchar", b"\xff", "`c` = _gbk X%s COLLATE gbk_bin", "ff"),
        ("binary", b"\xff", "`c` = %s", b"\xff"),
        ("enum", "a", "`c` = %s", "a"),
        ("set", 3, "`c` = %s", 3),
    ],
)
def test_a_value_is_named_as_its_type_wants(data_type: str, value: Any, said: str, bound: Any) -> None:
    found = term(column("c", data_type, charset="gbk", collation="gbk_bin"), value, "=")
    assert found == (said, (bound,)) and found is not None and type(found[1][0]) is type(bound)


@pytest.mark.parametrize(
    ("data_type", "value"),
    [
        ("int", "1"),
        ("varchar", 1),
        ("decimal", 1.5),
        ("decimal", "abc"),
        ("binary", "text"),
        ("date", 1),
        ("int", None),
    ],
)
def test_a_value_that_is_not_of_the_columns_type_is_not_looked_for(data_type: str, value: Any) -> None:
    """It would find nothing, on both servers, and nothing equals nothing."""
    with pytest.raises(Unfit):
        term(column("c", data_type), value, "=")


def test_what_no_predicate_can_name_is_not_compared() -> None:
    layout = Layout((column("j", "json"),), ())
    with pytest.raises(Unfit):
        fits(layout, Lookup(("j",), ("{}",)))
    big = Layout((column("b", "longblob"),), ())
    with pytest.raises(Unfit):
        fits(big, Lookup(("b",), (b"x" * (LARGEST_BOUND + 1),)))
