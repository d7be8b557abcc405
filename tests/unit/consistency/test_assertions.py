# SPDX-License-Identifier: GPL-3.0-or-later
"""What people write wrong is told at once, with the assertion's name; what they write right is read exactly."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.assertions import (
    Assertion,
    Tolerance,
    parse,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "roles/consistency/files/assertions/examples.yml"


def one(**changes: Any) -> dict[str, Any]:
    entry = {"name": "orders", "sql": "SELECT 1", "expect": "equal", **changes}
    return {key: value for key, value in entry.items() if value is not ...}


def near(value: Any) -> dict[str, Any]:
    return one(expect="tolerance", tolerance=value)


def refused(listed: Any) -> HaError:
    with pytest.raises(HaError) as caught:
        parse(listed)
    return caught.value


def test_defaults() -> None:
    assert parse([one(sql=" SELECT 1 ")]) == (
        Assertion("orders", "SELECT 1", "SELECT 1", "equal", "critical", 30.0, 1000, None),
    )


def test_everything_given() -> None:
    entry = one(
        sql=..., sql_primary="SELECT 1", sql_replica="SELECT 2", severity="info", timeout=2, max_rows=7,
        expect="tolerance", tolerance="0.5%",
    )  # fmt: skip
    assert parse((entry,)) == (
        Assertion("orders", "SELECT 1", "SELECT 2", "tolerance", "info", 2.0, 7, Tolerance(percent=Decimal("0.5"))),
    )


@pytest.mark.parametrize(
    ("given", "tolerance"),
    [
        (5, Tolerance(absolute=Decimal(5))),
        (0.01, Tolerance(absolute=Decimal("0.01"))),  # and not the binary fraction next to it
        (1e-7, Tolerance(absolute=Decimal("0.0000001"))),
        ("0.01", Tolerance(absolute=Decimal("0.01"))),
        (" 12 % ", Tolerance(percent=Decimal(12))),
        ("0.5%", Tolerance(percent=Decimal("0.5"))),
        (10**400, Tolerance(absolute=Decimal(10**400))),
    ],
)
def test_tolerances(given: Any, tolerance: Tolerance) -> None:
    assert parse([near(given)])[0].tolerance == tolerance


BAD: list[tuple[dict[str, Any], str, str]] = [
    (one(name=...), "number 1: name", "missing"),
    (one(name=5), "number 1: name", "text"),
    (one(name=" "), "number 1: name", "empty"),
    (one(name="a\nb"), "name", "printed"),
    (one(name="x" * 101), "name", "longer"),
    (one(nane="x"), "nane", "unknown key"),
    (one(sql=...), "sql", "either sql"),
    (one(sql=""), "sql", "empty"),
    (one(sql=" \n"), "sql", "empty"),
    (one(sql="-- x"), "sql", "no statement"),
    (one(sql=5), "sql", "text"),
    (one(sql=None), "sql", "text"),
    (one(sql=["SELECT 1"]), "sql", "text"),
    (one(sql="DELETE FROM t"), "sql", "does not begin"),
    (one(sql_primary="SELECT 1"), "sql", "either sql"),
    (one(sql=..., sql_primary="SELECT 1"), "sql", "either sql"),
    (one(sql=..., sql_replica="SELECT 1"), "sql", "either sql"),
    (one(sql=..., sql_primary="SELECT 1", sql_replica="DROP TABLE t"), "sql_replica", "does not begin"),
    (one(expect=...), "expect", "missing"),
    (one(expect="same"), "expect", "one of equal"),
    (one(expect=True), "expect", "one of"),
    (one(expect=["equal"]), "expect", "one of"),
    (one(severity="fatal"), "severity", "one of critical"),
    (one(severity=1), "severity", "one of"),
    (one(severity=None), "severity", "missing"),
    (one(timeout=0), "timeout", "above 0"),
    (one(timeout=-1), "timeout", "above 0"),
    (one(timeout=3601), "timeout", "3600"),
    (one(timeout=True), "timeout", "number"),
    (one(timeout="30"), "timeout", "number"),
    (one(timeout=float("nan")), "timeout", "number"),
    (one(max_rows=0), "max_rows", "whole number"),
    (one(max_rows=1.5), "max_rows", "whole number"),
    (one(max_rows=True), "max_rows", "whole number"),
    (one(max_rows=100_001), "max_rows", "100000"),
    (one(expect="tolerance"), "tolerance", "missing"),
    (one(tolerance=5), "tolerance", "belongs to"),
    (near(0), "tolerance", "above 0"),
    (near(-1), "tolerance", "above 0"),
    (near("0%"), "tolerance", "above 0"),
    (near("-1"), "tolerance", "above 0"),
    (near("5 EUR"), "tolerance", "above 0"),
    (near("1e3"), "tolerance", "above 0"),
    (near(True), "tolerance", "above 0"),
    (near(None), "tolerance", "above 0"),
    (near(float("inf")), "tolerance", "above 0"),
    (near(float("nan")), "tolerance", "above 0"),
    (one(sql="SELECT a FROM t LIMIT 1"), "sql", "LIMIT"),
]


@pytest.mark.parametrize(("entry", "where", "why"), BAD, ids=[f"{number}" for number, _entry in enumerate(BAD)])
def test_what_is_wrong_is_told_with_its_name(entry: dict[str, Any], where: str, why: str) -> None:
    error = refused([entry])
    assert error.code == ("assertion_not_a_read" if why in ("does not begin", "no statement", "LIMIT") else error.code)
    assert f"{where}: " in error.message and why in error.message
    if isinstance(entry.get("name"), str) and entry["name"] == "orders":
        assert "assertion 'orders'" in error.message
    assert error.next_step
    json.dumps(error.as_result())


@pytest.mark.parametrize(("listed", "why"), [([], "empty"), (None, "not a list"), ({}, "not a list"), ("x", "a list")])
def test_nothing_is_no_pass(listed: Any, why: str) -> None:
    error = refused(listed)
    assert error.code == "assertions_empty" and why in error.message


def test_all_problems_at_once() -> None:
    listed = [one(name="a", expect="x"), "b", one(name="c", sql="DROP TABLE t", timeout=0), one(name="d")]
    error = refused(listed)
    told = [(reason["evidence"]["assertion"], reason["evidence"]["key"]) for reason in error.evidence["reasons"]]
    assert told == [
        ("assertion 'a'", "expect"),
        ("assertion number 2", ""),
        ("assertion 'c'", "timeout"),
        ("assertion 'c'", "sql"),
    ]


def test_a_name_that_is_there_twice() -> None:
    error = refused([one(), one(name="other"), one(name=" orders ")])
    assert "assertion 'orders': name: assertion number 1 has the same name" in error.message
    assert len(error.evidence["reasons"]) == 1


def test_too_many() -> None:
    assert "more than 1000" in refused([one(name=f"n{number}") for number in range(1001)]).message


def test_a_limit_is_right_where_no_rows_are_expected() -> None:
    assert parse([one(sql="SELECT a FROM t WHERE a < 0 LIMIT 1", expect="zero_rows")])


# --- the worked examples ---------------------------------------------------------------------------------------------
def test_the_examples_are_sound() -> None:
    found = parse(yaml.safe_load(EXAMPLES.read_text(encoding="utf-8")))
    assert {each.expect for each in found} == {"equal", "zero_rows", "tolerance"}
    assert len(found) >= 3


def test_the_page_shows_assertions_that_are_sound() -> None:
    page = (ROOT / "docs/consistency-assertions.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in page.split("```yaml\n")[1:]]
    assert blocks
    for block in blocks:
        assert parse(yaml.safe_load(block))
