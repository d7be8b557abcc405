# SPDX-License-Identifier: GPL-3.0-or-later
"""What a table is like, and whether two are the same."""

from __future__ import annotations

from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import (
    Layout,
    layout_difference,
    layout_of,
)
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import KEYED, column


def test_a_layout_says_what_may_name_a_row() -> None:
    columns = [
        {"name": name, "data_type": "int", "type": "int unsigned", "charset": None, "collation": None, "nullable": "NO",
         "formula": ""}
        for name in ("a", "b", "c")
    ]  # fmt: skip

    def part(name: str, of: str | None, prefix: int | None = None, nullable: str = "") -> dict[str, Any]:
        return {"name": name, "part": of, "prefix": prefix, "nullable": nullable}

    unique = [
        part("PRIMARY", "b"), part("PRIMARY", "a"), part("expression", "a"), part("expression", None),
        part("null", "c", nullable="YES"), part("null", "a"), part("prefix", "c", 3), part("second", "c"),
    ]  # fmt: skip
    found = layout_of(columns, unique)
    assert found is not None and found.keys == (("b", "a"), ("c",)) and found.key == ("b", "a")
    assert layout_of([], []) is None


def test_a_key_that_cannot_be_named_is_none() -> None:
    assert Layout((column("g", "point"), column("n")), (("g",), ("n",))).key == ("n",)
    assert Layout((column("g", "point"),), (("g",),)).key == ()


def test_layouts_differ_in_words() -> None:
    other = Layout((column("id", "int"), KEYED.columns[1], column("more")), KEYED.keys)
    assert layout_difference(KEYED, KEYED) == ("", ())
    assert layout_difference(None, None) == ("", ())
    assert layout_difference(None, KEYED) == ("only_on_returning", ())
    assert layout_difference(KEYED, None) == ("only_on_primary", ())
    assert layout_difference(KEYED, other) == ("columns", ("id", "more"))
    assert layout_difference(KEYED, Layout(KEYED.columns[::-1], KEYED.keys)) == ("columns", ("id", "owner"))
    assert layout_difference(KEYED, Layout(KEYED.columns, ())) == ("keys", ())
