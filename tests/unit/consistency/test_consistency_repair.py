# SPDX-License-Identifier: GPL-3.0-or-later
"""Repair plans: each statement says exactly one row and exactly its values, and what can not be said so is not said."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import findings, repair
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import Difference, TableResult
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import ColumnFacts, Layout
from hypothesis import given
from hypothesis import strategies as st


def column(name: str, kind: str, charset: str = "", **more: Any) -> ColumnFacts:
    return ColumnFacts(name, kind, kind, charset, **more)


LAYOUT = Layout(
    (
        column("id", "bigint"),
        column("t", "varchar", "utf8mb4"),
        column("b", "varbinary"),
        column("d", "decimal"),
        column("day", "date"),
        column("at", "timestamp"),
        column("e", "enum", "utf8mb4"),
        column("y", "year"),
        column("f", "float"),
        column("bits", "bit"),
        column("place", "point"),
        column("j", "json"),
        column("old", "varchar", "sjis"),
        column("sum", "int", generated="`id` + 1"),
        column("we`ird", "int"),
    ),
    (("id",),),
)
BY_TEXT = Layout((column("k", "varchar", "utf8mb4"), column("n", "int")), (("k",),))


def result(*differences: Difference, count: int | None = None, verdict: str = findings.DIFFERENT) -> TableResult:
    number = len(differences) if count is None else count
    return TableResult(
        "s", "t`1", "r1", findings.WHOLE, verdict, difference_count=number, differences=tuple(differences)
    )


def value(columns: dict[str, str | None], key: str = "1") -> Difference:
    return Difference({"id": key}, findings.VALUE, tuple(columns), columns, dict.fromkeys(columns, "replica"))


def statements(*differences: Difference, layout: Layout = LAYOUT) -> list[str]:
    plan = repair.plan(result(*differences), layout)
    assert plan is not None
    if plan["way"] == "clone":
        assert plan["sql"] == []
        return []
    assert plan["way"] == "rows"
    assert plan["sql"][: len(repair.FIRST)] == list(repair.FIRST)
    return list(plan["sql"][len(repair.FIRST) :])


LITERALS = (
    ("t", "plain", "'plain'"),
    ("t", "", "''"),
    ("t", "it's", "'it''s'"),
    ("t", 'a "b" `c` %s', "'a \"b\" `c` %s'"),
    ("t", "back\\slash\\'", r"'back\\slash\\'''"),
    ("t", "Grüße 😀", "'Grüße 😀'"),
    ("t", "two\nlines", "_utf8mb4 X'74776F0A6C696E6573'"),
    ("t", "nul\0", "_utf8mb4 X'6E756C00'"),
    ("t", "NULL", "'NULL'"),
    ("t", None, "NULL"),
    ("b", "00FF27", "X'00FF27'"),
    ("b", "", "X''"),
    ("b", None, "NULL"),
    ("d", "-12345678901234567890.10", "-12345678901234567890.10"),
    ("day", "0000-00-00", "'0000-00-00'"),
    ("day", "2024-02-29", "'2024-02-29'"),
    ("at", "2024-02-29 01:02:03.000001", "'2024-02-29 01:02:03.000001'"),
    ("e", "it's", "'it''s'"),
    ("y", "0000", "0000"),
    ("we`ird", "7", "7"),
)


@pytest.mark.parametrize(("name", "shown", "literal"), LITERALS, ids=[f"{each[0]} {each[1]!r}" for each in LITERALS])
def test_a_value_is_written_as_it_is(name: str, shown: str | None, literal: str) -> None:
    quoted = "`we``ird`" if name == "we`ird" else f"`{name}`"
    assert statements(value({name: shown})) == [f"UPDATE `s`.`t``1` SET {quoted} = {literal} WHERE `id` = 1 LIMIT 1"]


NOT_SAID = (
    ("a float", value({"f": "0.1"})),
    ("bits", value({"bits": "5"})),
    ("a geometry", value({"place": "0000000001"})),
    ("a document, which knows dates and decimals", value({"j": '{"a": 1.10}'})),
    ("a character set that does not come back", value({"old": "~"})),
    ("one of two that can be said", value({"t": "x", "f": "0.1"})),
    ("perhaps the beginning of a value", value({"t": "x" * 200})),
    ("bytes that are not", value({"b": "XY"})),
    ("a number that is not", value({"d": "1; DROP TABLE t"})),
    ("only what the server computes", value({"sum": "3"})),
    ("a row of a table without a key", Difference({"digest": "ab"}, findings.COUNT)),
    ("a row whose values are not shown", Difference({"id": "1"}, findings.MISSING)),
    ("a key that is perhaps not whole", Difference({"id": "1" * 200}, findings.EXTRA)),
    ("a key that is unknown", Difference({"id": None}, findings.EXTRA)),
)


@pytest.mark.parametrize("difference", [each[1] for each in NOT_SAID], ids=[each[0] for each in NOT_SAID])
def test_what_can_not_be_said_exactly_is_cloned(difference: Difference) -> None:
    if difference.key == {"id": None}:
        # No row has it: it can not be part of a key.
        assert statements(difference) in ([], ["DELETE FROM `s`.`t``1` WHERE `id` = NULL LIMIT 1"])
        return
    assert statements(difference) == []
    # And neither are the others of that table: half a repair is none.
    assert statements(value({"t": "x"}, "2"), difference) == []


def test_rows_that_are_missing_or_too_many() -> None:
    row = {"id": "7", "t": "a", "b": None, "sum": "8"}
    missing = Difference({"id": "7"}, findings.MISSING, (), row, None)
    extra = Difference({"id": "8"}, findings.EXTRA, (), None, {"id": "8"})
    # Too many first: it may hold a unique value that the missing row needs.
    assert statements(missing, value({"t": "x"}), extra) == [
        "DELETE FROM `s`.`t``1` WHERE `id` = 8 LIMIT 1",
        "UPDATE `s`.`t``1` SET `t` = 'x' WHERE `id` = 1 LIMIT 1",
        "INSERT INTO `s`.`t``1` SET `id` = 7, `t` = 'a', `b` = NULL",
    ]


STAMPED = Layout(
    (
        column("id", "bigint"),
        column("n", "int"),
        column("made", "timestamp"),
        column("changed", "timestamp", on_update=True),
        column("se`en", "datetime", on_update=True),
    ),
    (("id",),),
)


def test_what_the_server_would_set_by_itself_stays_as_it_is() -> None:
    assert statements(value({"n": "2"}), layout=STAMPED) == [
        "UPDATE `s`.`t``1` SET `n` = 2, `changed` = `changed`, `se``en` = `se``en` WHERE `id` = 1 LIMIT 1"
    ]
    assert statements(value({"n": "2", "changed": "2024-02-29 01:02:03"}), layout=STAMPED) == [
        "UPDATE `s`.`t``1` SET `n` = 2, `changed` = '2024-02-29 01:02:03', `se``en` = `se``en` WHERE `id` = 1 LIMIT 1"
    ]
    row = {"id": "7", "n": "1", "made": None, "changed": None, "se`en": None}
    (inserted,) = statements(Difference({"id": "7"}, findings.MISSING, (), row, None), layout=STAMPED)
    assert "= `" not in inserted


def test_keys_that_differ_in_case_only() -> None:
    missing = Difference({"k": "a"}, findings.MISSING, (), {"k": "a", "n": "1"}, None)
    extra = Difference({"k": "A"}, findings.EXTRA, (), None, {"k": "A", "n": "1"})
    assert statements(missing, extra, layout=BY_TEXT) == [
        "DELETE FROM `s`.`t``1` WHERE `k` = 'A' LIMIT 1",
        "INSERT INTO `s`.`t``1` SET `k` = 'a', `n` = 1",
    ]


def test_many_rows_or_rows_that_are_not_all_named_are_cloned() -> None:
    rows = [value({"t": "x"}, str(number)) for number in range(repair.FEW + 1)]
    assert len(statements(*rows[:-1])) == repair.FEW
    assert statements(*rows) == []
    plan = repair.plan(result(rows[0], count=2), LAYOUT)
    assert plan is not None
    assert plan["way"] == "clone"
    assert "playbook replace_server" in plan["why"]


@pytest.mark.parametrize("verdict", [each for each in findings.GRAVITY if each != findings.DIFFERENT])
def test_only_what_differs_has_a_plan(verdict: str) -> None:
    assert repair.plan(result(value({"t": "x"}), verdict=verdict), LAYOUT) is None


def test_the_settings_it_rests_on() -> None:
    first = " ".join(repair.FIRST)
    for needed in (
        "sql_log_bin = 0", "foreign_key_checks = 0", "time_zone = '+00:00'", "NAMES utf8mb4", "NO_AUTO_VALUE_ON_ZERO",
        "STRICT_ALL_TABLES", "ALLOW_INVALID_DATES",
    ):  # fmt: skip
        assert needed in first
    assert "NO_BACKSLASH_ESCAPES" not in first


# --- read again by a reader of SQL literals that is not ours ---------------------------------------------------------
_LITERAL = re.compile(
    r"= (?:(?P<intro>_utf8mb4 )?X'(?P<hex>[0-9A-F]*)'|'(?P<text>(?:[^'\\]|''|\\.)*)') WHERE", re.DOTALL
)


def read(statement: str) -> str:
    found = _LITERAL.search(statement)
    assert found is not None, statement
    if found["hex"] is not None:
        return bytes.fromhex(found["hex"]).decode()
    escapes = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "Z": "\x1a"}
    return re.sub(
        r"''|\\(.)", lambda each: "'" if each[0] == "''" else escapes.get(each[1], each[1]), found["text"], flags=re.S
    )


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60) | st.text("'\\\"%`n0\n\0\x1a", max_size=12)


@given(texts)
def test_any_text_comes_back(text: str) -> None:
    (statement,) = statements(value({"t": text}))
    assert read(statement) == text


def test_mutant_backslashes_that_are_not_doubled() -> None:
    (statement,) = statements(value({"t": "a\\n"}))
    assert read(statement.replace("\\\\", "\\")) != "a\\n"


def test_mutant_numbers_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "_QUOTED", repair._QUOTED | repair._NUMBERS)
    monkeypatch.setattr(repair, "_NUMBERS", frozenset())
    with pytest.raises(AssertionError):
        test_a_value_is_written_as_it_is("d", "-12345678901234567890.10", "-12345678901234567890.10")


def test_mutant_floats_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "_QUOTED", repair._QUOTED | {"float", "json"})
    for name, difference in NOT_SAID:
        if name.startswith(("a float", "a document")):
            with pytest.raises(AssertionError):
                test_what_can_not_be_said_exactly_is_cloned(difference)
