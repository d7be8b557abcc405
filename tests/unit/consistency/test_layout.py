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


def one_column(**more: Any) -> Layout:
    """A table whose only column is as information_schema says."""
    column = {"name": "c", "data_type": "varchar", "type": "varchar(9)", "charset": None, "collation": None,
              "nullable": "NO", "formula": "", "extra": ""}  # fmt: skip
    found = layout_of([{**column, **more}], [])
    assert found is not None
    return found


def test_the_two_names_of_a_character_set_are_one() -> None:
    """Up to 8.0.29 information_schema says utf8; the replica may be newer than the primary."""
    for old, middle, new, collation in (
        ("utf8_general_ci", "utf8_general_ci", "utf8mb3_general_ci", "utf8mb3_general_ci"),
        ("utf8_unicode_520_ci", "utf8_unicode_520_ci", "utf8mb3_unicode_520_ci", "utf8mb3_unicode_520_ci"),
    ):
        layouts = [
            one_column(charset="utf8", collation=old),
            one_column(charset="utf8mb3", collation=middle),
            one_column(charset="utf8mb3", collation=new),
        ]
        for there in layouts:
            assert all(layout_difference(there, here) == ("", ()) for here in layouts)
            assert repr(there) == repr(layouts[0])
            assert (there.columns[0].charset, there.columns[0].collation) == ("utf8mb3", collation)
    other = one_column(charset="utf8mb3", collation="utf8mb3_bin")
    wide = one_column(charset="utf8mb4", collation="utf8mb4_general_ci")
    for there in (other, wide):
        assert layout_difference(there, one_column(charset="utf8", collation="utf8_general_ci"))[0] == "columns"


def test_what_the_server_sets_by_itself_is_known_and_makes_no_difference() -> None:
    plain = one_column(data_type="timestamp", type="timestamp")
    for extra in ("on update CURRENT_TIMESTAMP", "DEFAULT_GENERATED on update CURRENT_TIMESTAMP(6)"):
        stamped = one_column(data_type="timestamp", type="timestamp", extra=extra)
        assert stamped.columns[0].on_update and not plain.columns[0].on_update
        assert layout_difference(plain, stamped) == ("", ())
        assert (repr(plain), hash(plain)) == (repr(stamped), hash(stamped))
    assert not one_column(extra="DEFAULT_GENERATED").columns[0].on_update
    assert not one_column(extra="VIRTUAL GENERATED").columns[0].on_update


def test_layouts_differ_in_words() -> None:
    other = Layout((column("id", "int"), KEYED.columns[1], column("more")), KEYED.keys)
    assert layout_difference(KEYED, KEYED) == ("", ())
    assert layout_difference(None, None) == ("", ())
    assert layout_difference(None, KEYED) == ("only_on_returning", ())
    assert layout_difference(KEYED, None) == ("only_on_primary", ())
    assert layout_difference(KEYED, other) == ("columns", ("id", "more"))
    assert layout_difference(KEYED, Layout(KEYED.columns[::-1], KEYED.keys)) == ("columns", ("id", "owner"))
    assert layout_difference(KEYED, Layout(KEYED.columns, ())) == ("keys", ())
