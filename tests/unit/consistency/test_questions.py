# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a table, as SQL."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import Layout
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.lookup import Range, Statement, Unfit
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Named, Table
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column

AWKWARD = Layout(
    (column("k0", "int"), column("x%s`", "varchar", charset="latin1", collation="latin1_bin"), column("content")),
    (("x%s`", "k0"),),
)
KEYED = Table(Named("s%", "t`%"), AWKWARD)
KEYLESS = Table(Named("s", "t"), Layout((column("identity"), column("bucket", nullable=True)), ()))
EVERYTHING = Range(None, None)


def sent(question: Statement) -> str:
    """As the driver sends it."""
    sql, values = question
    return sql % tuple(repr(value) for value in values) if values else sql


def test_names_reach_the_server_as_they_are() -> None:
    for question in (
        KEYED.aggregate(EVERYTHING),
        KEYED.aggregate(Range((b"a", 1), (b"b", 2))),
        KEYED.rows_of(EVERYTHING, 5),
        KEYED.boundary(Range((b"a", 1), None), 5),
        KEYED.rows_at([(b"a", 1)], lock=True),
        KEYED.details_at([(b"a", 1)], reveal=True),
    ):
        said = sent(question)
        assert "FROM `s%`.`t``%`" in said and "`x%s```" in said and "%%" not in said


def test_an_order_is_of_the_tables_columns() -> None:
    """An ORDER BY takes our names first: a column k0 would be ordered by what we call so."""
    said = sent(KEYED.boundary(EVERYTHING, 10))
    assert said.endswith("ORDER BY `t``%`.`x%s```, `t``%`.`k0` LIMIT 1 OFFSET 9")
    assert sent(KEYED.boundary(EVERYTHING, 0)).endswith("OFFSET 0")


def test_groups_are_of_what_is_asked() -> None:
    """A GROUP BY takes the table's names first: rows of the same identity column would be counted as one."""
    for question in (KEYLESS.buckets(["ab"], 2), KEYLESS.digests(["ab"], 7)):
        assert " GROUP BY 1" in sent(question) and "GROUP BY identity" not in sent(question)
    assert sent(KEYLESS.digests(["ab"], 7)).endswith("GROUP BY 1 LIMIT 8")
    assert " LEFT(" in sent(KEYLESS.multiset("ab")) and "WHERE" not in sent(KEYLESS.multiset())


def test_many_parts_are_asked_for_at_once() -> None:
    """And by letters more than they have, without another question for each."""
    said = sent(KEYLESS.buckets(["ab", "cd"], 1))
    assert ", 2) IN ('ab', 'cd') GROUP BY 1" in said and ", 3) AS bucket" in said
    assert ", 3) AS bucket" in sent(KEYLESS.buckets([], 3)) and "WHERE" not in sent(KEYLESS.buckets([], 3))
    whole = ["0" * 64, "f" * 64]
    assert f", 64) IN ('{whole[0]}', '{whole[1]}') GROUP BY 1 LIMIT 3" in sent(KEYLESS.digests(whole, 2))
    said = sent(KEYLESS.shown_with(whole, 5))
    assert " AS identity, LEFT(" in said and " AS v1 FROM `s`.`t` WHERE " in said
    assert said.endswith(f" IN ('{whole[0]}', '{whole[1]}') LIMIT 5")
    for question in (KEYLESS.buckets(["ab"], 1), KEYLESS.digests(whole, 2), KEYLESS.shown_with(whole, 5)):
        assert question[0].count("%s") == len(question[1])


def test_a_look_under_a_lock_is_short() -> None:
    assert sent(KEYED.rows_at([(b"a", 1)], lock=True)).endswith(" FOR SHARE")
    said = sent(KEYED.rows_at([(b"a", 1)], within=1.5))
    assert said.startswith("SELECT /*+ MAX_EXECUTION_TIME(1500) */ HEX(") and "FOR SHARE" not in said
    assert "MAX_EXECUTION_TIME(1)" in sent(KEYED.rows_at([(b"a", 1)], within=0.0001))  # 0 would be no limit
    assert "MAX_EXECUTION_TIME" not in sent(KEYED.rows_at([(b"a", 1)]))


def test_rows_are_read_by_their_key() -> None:
    rows: list[dict[str, Any]] = [{"k0": "61", "k1": 1, "content": "x"}, {"k0": "62", "k1": 1, "content": "y"}]
    assert KEYED.read(rows) == {(b"a", 1): "x", (b"b", 1): "y"}
    with pytest.raises(Unfit, match="damaged"):
        KEYED.read([*rows, rows[0]])


def test_what_differs_is_told_by_column() -> None:
    there: dict[str, Any] = {"d0": "1", "d1": "2", "d2": "3", "n0": "a", "n1": 1, "v2": None}
    here = {**there, "d2": "-"}
    assert [one.name for one in KEYED.differing(there, here)] == ["content"] and KEYED.differing(there, there) == ()
    assert KEYED.key_text(there) == {"x%s`": "a", "k0": "1"}
    assert KEYED.values(there, KEYED.differing(there, here)) == {"content": None}
