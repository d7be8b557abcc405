# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tables are compared: all that are asked for, and no pattern is for nothing."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import tables as room
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import COLUMNS, UNIQUE_KEYS
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Named
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.tables import chosen, idle, layout, tables

THERE = [
    Named(*each.split("/"))
    for each in ("bank/account", "bank/log_1", "bank/log_2", "bank2/account", "a.b/c", "odd/t[1]", "odd/t1", "odd/50%")
]
CHOSEN = (
    ([], [], {"bank/account", "bank/log_1", "bank/log_2", "bank2/account", "a.b/c", "odd/t[1]", "odd/t1", "odd/50%"}),
    (["bank"], [], {"bank/account", "bank/log_1", "bank/log_2"}),
    (["bank*"], [], {"bank/account", "bank/log_1", "bank/log_2", "bank2/account"}),
    (["bank.*"], ["bank.log_?"], {"bank/account"}),
    (["bank", "odd"], ["bank"], {"odd/t[1]", "odd/t1", "odd/50%"}),
    (["odd.t[1]"], [], {"odd/t[1]"}),
    (["odd.50%"], [], {"odd/50%"}),
    (["a.b.c"], [], {"a.b/c"}),
    (["*.account"], [], {"bank/account", "bank2/account"}),
    (["Bank"], [], set()),
)


@pytest.mark.parametrize(("include", "exclude", "expected"), CHOSEN, ids=[f"{each[0]} {each[1]}" for each in CHOSEN])
def test_patterns(include: list[str], exclude: list[str], expected: set[str]) -> None:
    found = chosen(reversed(THERE), include, exclude)
    assert {"/".join(each) for each in found} == expected
    assert found == sorted(found)


def test_a_pattern_that_nothing_fits_is_named() -> None:
    assert idle(THERE, ["bank", "leger", "bank.acount", "*.account"]) == ["leger", "bank.acount"]
    assert idle(THERE, []) == []
    assert idle([], ["bank"]) == ["bank"]


def test_mutant_brackets_are_a_class_of_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        room, "_fits", lambda each, patterns: any(room.fnmatch.fnmatchcase(".".join(each), one) for one in patterns)
    )
    with pytest.raises(AssertionError):
        test_patterns(["odd.t[1]"], [], {"odd/t[1]"})


class Fake:
    def __init__(self, answers: dict[str, list[dict[str, Any]]]) -> None:
        self.answers = answers
        self.values: list[Any] = []

    def query(self, sql: str, values: Any, *, within: float) -> list[dict[str, Any]]:
        self.values.append(tuple(values))
        return self.answers[sql]

    def one(self, sql: str, values: Any, *, within: float) -> dict[str, Any]:
        rows = self.query(sql, values, within=within)
        return rows[0] if rows else {}


COLUMN = {"name": "id", "data_type": "int", "type": "int", "charset": None, "collation": None, "nullable": "NO",
          "formula": "", "extra": "", "octets": None}  # fmt: skip
KEY = {"name": "PRIMARY", "part": "id", "prefix": None, "nullable": ""}


@pytest.mark.parametrize(
    ("kind", "there"), [("BASE TABLE", True), ("VIEW", False), ("SYSTEM VIEW", False), (None, False)]
)
def test_only_a_table_is_a_table(kind: str | None, there: bool) -> None:
    rows = [{"kind": kind}] if kind else []
    fake = Fake({room._IS_TABLE: rows, COLUMNS: [COLUMN], UNIQUE_KEYS: [KEY]})
    found = layout(fake, Named("s", "t"), within=1.0)  # type: ignore[arg-type]
    assert (found is not None) is there
    assert found is None or found.key == ("id",)
    assert set(fake.values) == {("s", "t")}


def test_what_belongs_to_one_server_is_not_listed() -> None:
    answer = [
        {"schema": "s", "table": "t", "engine": "InnoDB", "estimate": 7},
        {"schema": "s", "table": "broken", "engine": None, "estimate": None},
    ]
    fake = Fake({room._TABLES: answer})
    found = tables(fake, within=1.0)  # type: ignore[arg-type]
    assert {named.table: each.estimate for named, each in found.items()} == {"t": 7, "broken": 0}
    assert fake.values == [room.SYSTEM]
    assert {"mysql", "sys", "information_schema", "performance_schema"} <= set(room.SYSTEM)
