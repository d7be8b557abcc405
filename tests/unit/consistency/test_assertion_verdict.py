# SPDX-License-Identifier: GPL-3.0-or-later
"""What two results come to: tables of pairs that look alike, hypothesis for what must hold always, and mutants."""

from __future__ import annotations

import datetime
import json
import random
from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import assertion_verdict as judge
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.assertion_verdict import (
    Comparison,
    Repeated,
    Result,
    Settling,
    compare,
    digest,
    said,
    same,
    shown,
    violations,
    within,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.assertions import Assertion, Tolerance
from hypothesis import given
from hypothesis import strategies as st

EQUAL = Assertion("a", "SELECT 1", "SELECT 1", "equal")
NONE = Assertion("a", "SELECT 1", "SELECT 1", "zero_rows")


def near(absolute: Any = None, percent: Any = None) -> Assertion:
    tolerance = Tolerance(
        Decimal(absolute) if absolute is not None else None, Decimal(percent) if percent is not None else None
    )
    return Assertion("a", "SELECT 1", "SELECT 1", "tolerance", tolerance=tolerance)


def result(*rows: tuple[Any, ...], columns: tuple[str, ...] = (), more: bool = False) -> Result:
    width = len(rows[0]) if rows else 1
    return Result(columns or tuple(f"c{place}" for place in range(width)), rows, more)


# --- one value -------------------------------------------------------------------------------------------------------
UNLIKE: list[tuple[Any, Any]] = [
    (None, 0),
    (None, ""),
    (None, Decimal("0.00")),
    (None, b""),
    ("", 0),
    ("", b""),
    ("1", 1),
    ("NULL", None),
    ("a", "A"),
    ("a", "a "),
    ("a", "á"),
    ("á", "a\u0301"),
    (b"a", "a"),
    (b"\xff", b"\xfe"),
    (1, 2),
    (Decimal("0.1"), Decimal("0.10000000000000000000000000000001")),
    (Decimal("12345678901234567890123456789012345.00"), Decimal("12345678901234567890123456789012345.01")),
    (9007199254740993, 9007199254740992),
    (Decimal("9007199254740993"), Decimal("9007199254740992")),
    (0.1, 0.1000001),
    (1.0, -1.0),
    (datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1)),
    (datetime.date(2026, 1, 1), "2026-01-01"),
    (datetime.datetime(2026, 1, 1, 0, 0, 0, 1), datetime.datetime(2026, 1, 1)),
    (datetime.timedelta(seconds=1), 1),
    (datetime.timedelta(seconds=1), datetime.timedelta(seconds=-1)),
]
ALIKE: list[tuple[Any, Any]] = [
    (None, None),
    (1, Decimal("1.00")),
    (Decimal("1.0"), Decimal("1.00")),
    (Decimal("-0.0"), 0),
    (0.1 + 0.2, 0.3),
    (1e300, 1e300 * (1 + 1e-12)),
    (0.0, -0.0),
    (0.5, Decimal("0.5")),
    (0.1, Decimal("0.1")),
    ("a", "a"),
    (b"\xff", b"\xff"),
    (datetime.date(2026, 1, 1), datetime.date(2026, 1, 1)),
]


@pytest.mark.parametrize(("ours", "theirs"), UNLIKE)
def test_values_that_are_not_the_same(ours: Any, theirs: Any) -> None:
    for a, b in ((ours, theirs), (theirs, ours)):
        found = compare(EQUAL, result((a,)), result((b,)))
        assert found.count == 1 or (
            found.count == 2 and {each.kind for each in found.differences} == {"missing", "extra"}
        )
        assert digest((a,), b"") != digest((b,), b"")


@pytest.mark.parametrize(("ours", "theirs"), ALIKE)
def test_values_that_are_the_same(ours: Any, theirs: Any) -> None:
    assert compare(EQUAL, result((ours,)), result((theirs,))) == Comparison(0)
    assert compare(EQUAL, result((theirs,)), result((ours,))) == Comparison(0)


def test_columns_are_not_run_together() -> None:
    assert compare(EQUAL, result(("a#b", "c")), result(("a", "b#c"))).count
    assert digest(("a#b", "c"), b"") != digest(("a", "b#c"), b"")
    assert digest(("a", ""), b"") != digest(("", "a"), b"")
    assert digest((None, "a"), b"") != digest(("a", None), b"")


# --- rows ------------------------------------------------------------------------------------------------------------
def kinds(found: Comparison) -> list[str]:
    return sorted(each.kind for each in found.differences)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([], [], []),
        ([(1,), (2,)], [(2,), (1,)], []),
        ([("a", 1)], [("a", 2)], ["value"]),
        ([("a", 1), ("b", 2)], [("b", 2)], ["missing"]),
        ([("b", 2)], [("a", 1), ("b", 2)], ["extra"]),
        ([("a", 1), ("a", 1)], [("a", 1)], ["missing"]),
        ([("a", 1)], [("a", 1), ("a", 1), ("a", 1)], ["extra", "extra"]),
        ([("a", 1), ("b", 2)], [("a", 2), ("b", 1)], ["value", "value"]),
        ([("a", None)], [("a", 0)], ["value"]),
        ([(1, 2), (3, 4)], [(1, 3), (3, 5)], ["extra", "extra", "missing", "missing"]),
        ([("a", 0.1 + 0.2), ("a", 0.5)], [("a", 0.5), ("a", 0.3)], []),
        ([("a", 0.1 + 0.2)], [("a", 0.31)], ["value"]),
        ([(1, 0.3, 7.0), (1, 0.3, 8.0)], [(1, 0.1 + 0.2, 8.0), (1, 0.1 + 0.2, 7.0)], []),
        ([(1, 0.3)], [(2, 0.1 + 0.2)], ["value"]),
    ],
)
def test_rows_are_a_multiset(ours: list[Any], theirs: list[Any], expected: list[str]) -> None:
    columns = tuple(f"c{place}" for place in range(len((ours + theirs + [(1,)])[0])))
    found = compare(EQUAL, result(*ours, columns=columns), result(*theirs, columns=columns))
    assert (kinds(found), found.count) == (expected, len(expected))


def test_the_columns_that_differ_are_named() -> None:
    columns = ("day", "debit", "credit")
    found = compare(EQUAL, result(("mon", 1, 2), columns=columns), result(("mon", 1, 3), columns=columns))
    assert found.differences[0].columns == ("credit",)


@pytest.mark.parametrize("theirs", [("a",), ("a", "c"), ("b", "a"), ("a", "b", "c"), ("a", "B")])
def test_other_columns_are_a_difference_even_without_rows(theirs: tuple[str, ...]) -> None:
    for assertion in (EQUAL, near(5)):
        found = compare(assertion, Result(("a", "b"), ()), Result(theirs, ()))
        assert kinds(found) == ["columns"]
        assert "columns" in said(assertion, "different", found)


def test_what_was_not_read_to_its_end_is_not_compared() -> None:
    for ours, theirs in ((True, False), (False, True), (True, True)):
        for assertion in (EQUAL, near(5)):
            found = compare(assertion, result((1,), more=ours), result((1,), more=theirs))
            assert (found.verdict, found.count) == ("skipped", 0) and "1000" in found.incomparable
    assert not same(result((1,), more=True), result((1,), more=True))


def test_only_so_many_are_listed_and_all_are_counted() -> None:
    found = compare(EQUAL, result(*((number,) for number in range(100))), Result(("c0",), ()))
    assert (found.count, len(found.differences)) == (100, judge.MOST_LISTED)


# --- tolerance -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("ours", "theirs", "assertion", "ok"),
    [
        (100, 105, near(5), True),
        (100, 95, near(5), True),
        (100, 106, near(5), False),
        (Decimal("0.10"), Decimal("0.11"), near("0.01"), True),
        (Decimal("0.10"), Decimal("0.1100000000000000000000000000001"), near("0.01"), False),
        (0.1, Decimal("0.11"), near("0.010001"), True),
        (200, 202, near(percent=1), True),
        (200, 198, near(percent=1), True),
        (200, 203, near(percent=1), False),
        (-200, -202, near(percent=1), True),
        (-200, 200, near(percent=1), False),
        (0, 0, near(percent=50), True),
        (0, 1, near(percent=50), False),  # a percentage of nothing
        (1, 0, near(percent=50), False),
        (None, None, near(5), True),
        (None, 0, near(5), False),
        (0, None, near(5), False),
        (10**40, 10**40 + 1, near(1), True),
        (10**40, 10**40 + 2, near(1), False),
        ("5", 5, near(5), False),
    ],
)
def test_tolerance(ours: Any, theirs: Any, assertion: Assertion, ok: bool) -> None:
    assert (not compare(assertion, result((ours,)), result((theirs,))).count) is ok


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([("a", 1), ("b", 100)], [("b", 101), ("a", 2)], []),
        ([("a", 1), ("b", 100)], [("b", 1), ("a", 100)], ["value", "value"]),
        ([("a", 1)], [("a", 1), ("b", 1)], ["extra"]),
        ([("a", 1), ("b", 0)], [("a", 1)], ["missing"]),
        ([(None, 1), ("a", 1)], [("a", 2), (None, 2)], []),
        ([("a", None)], [("a", 1)], ["value"]),
        ([("a", None)], [("a", None)], []),
    ],
)
def test_with_tolerance_rows_are_paired_by_what_is_no_number(ours: Any, theirs: Any, expected: list[str]) -> None:
    assert kinds(compare(near(5), result(*ours), result(*theirs))) == expected


def test_rows_that_can_not_be_paired_are_an_error_and_no_pass() -> None:
    for ours, theirs in (([(1, 5), (2, 6)], [(1, 5), (2, 6)]), ([("a", 1), ("a", 2)], [("a", 1)])):
        found = compare(near(5), result(*ours), result(*theirs))
        assert (found.verdict, found.count) == ("error", 0) and "CAST(id AS CHAR)" in found.incomparable


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20))
def test_a_number_is_within_any_tolerance_of_itself(number: Decimal) -> None:
    assert within(number, number, Tolerance(percent=Decimal("0.0001")))
    assert within(number, number + Decimal("0.0001"), Tolerance(absolute=Decimal("0.0001")))
    assert not within(number, number + Decimal("0.0002"), Tolerance(absolute=Decimal("0.0001")))


# --- always ----------------------------------------------------------------------------------------------------------
VALUES = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.sampled_from(["", "a", "b", b"", b"a", Decimal("1.0"), Decimal("0.5"), 0.25, datetime.date(2026, 1, 1)]),
)
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=8)


@given(ROWS, st.randoms(use_true_random=False))
def test_order_never_matters(rows: list[Any], chance: random.Random) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert compare(EQUAL, Result(("a", "b"), tuple(rows)), Result(("a", "b"), tuple(shuffled))) == Comparison(0)


@given(ROWS, ROWS)
def test_equal_is_what_a_count_of_rows_says_and_is_symmetric(ours: list[Any], theirs: list[Any]) -> None:
    """Values that are the same have the same digest here: no two floats lie near each other."""
    left, right = Result(("a", "b"), tuple(ours)), Result(("a", "b"), tuple(theirs))
    expected = sorted(digest(row, b"") for row in ours) == sorted(digest(row, b"") for row in theirs)
    assert (not compare(EQUAL, left, right).count) is expected
    assert (not compare(EQUAL, right, left).count) is expected
    assert same(left, right) is expected


@given(ROWS, VALUES, VALUES)
def test_a_row_too_many_is_always_found(rows: list[Any], first: Any, second: Any) -> None:
    more = (*rows, (first, second))
    for assertion in (EQUAL, near(10**6)):
        found = compare(assertion, Result(("a", "b"), tuple(rows)), Result(("a", "b"), more))
        assert found.count or found.verdict == "error"


@given(ROWS, ROWS, st.sampled_from([EQUAL, near(2), near(percent=10)]))
def test_evidence_is_bounded_json_without_values(ours: list[Any], theirs: list[Any], assertion: Assertion) -> None:
    found = compare(assertion, Result(("a", "b"), tuple(ours)), Result(("a", "b"), tuple(theirs)))
    assert len(found.differences) <= judge.MOST_LISTED
    for each in found.differences:
        hidden = shown(each, reveal=False, salt=b"salt")
        assert all(len(hidden[side]) == 32 for side in ("primary", "replica") if side in hidden)
        json.dumps(shown(each, reveal=True, salt=b"salt"))


# --- evidence --------------------------------------------------------------------------------------------------------
def test_values_are_shown_only_when_asked_for() -> None:
    secret = "4111-1111"
    (each,) = compare(
        EQUAL, result((secret, 1), columns=("a", "b")), result((secret, 2), columns=("a", "b"))
    ).differences
    hidden, open_ = (shown(each, reveal=reveal, salt=b"salt") for reveal in (False, True))
    assert secret not in json.dumps(hidden) and hidden["columns"] == ["b"]
    assert open_["primary"] == [{"column": "a", "value": secret}, {"column": "b", "value": "1"}]
    assert open_["replica"][1]["value"] == "2"


def test_nobody_finds_a_value_by_trying_all() -> None:
    assert digest((100,), b"one run") != digest((100,), b"another run")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (Decimal("1.10"), "1.10"),
        (b"\xff", "ff"),
        ("x" * 999, "x" * 200),
        (datetime.date(2026, 1, 2), "2026-01-02"),
    ],
)
def test_how_a_value_is_shown(value: Any, text: Any) -> None:
    (each,) = violations(result((value,)), on_primary=True).differences
    assert shown(each, reveal=True, salt=b"")["primary"] == [{"column": "c0", "value": text}]


# --- rounds ----------------------------------------------------------------------------------------------------------
A, B, C = result(("x", 1)), result(("x", 2)), result(("x", 3))


def settle(*rounds: tuple[Result, Result, Result]) -> tuple[str, int]:
    settling = Settling(EQUAL)
    for before, replica, after in rounds:
        if settling.look(before, replica) or settling.confirm(before, replica, after):
            break
    return settling.verdict, settling.rounds


@pytest.mark.parametrize(
    ("rounds", "verdict", "took"),
    [
        ([(A, A, A)], "pass", 1),
        ([(A, A, B)], "pass", 1),
        ([(A, B, B)], "pass", 1),  # the replica had what came since
        ([(A, B, A)], "", 1),
        ([(A, B, A), (A, B, A)], "different", 2),
        ([(A, B, A), (A, A, A)], "pass", 2),
        ([(A, B, A), (B, B, B)], "pass", 2),
        ([(A, B, C), (C, B, A)], "", 2),  # the primary moves: nothing counts
        ([(A, B, A), (C, B, C)], "", 2),  # it rested in each, and not in between
        ([(A, B, A), (C, B, C), (C, B, C)], "different", 3),
        ([(A, B, A), (A, B, C), (A, B, A)], "", 3),  # not in a row
        ([(A, B, A), (A, C, A)], "different", 2),
    ],
)
def test_a_difference_counts_after_two_rounds_at_rest(rounds: Any, verdict: str, took: int) -> None:
    assert settle(*rounds) == (verdict, took)


def test_an_incomparable_result_is_settled_at_once() -> None:
    assert settle((result(("x", 1), more=True), B, A)) == ("skipped", 1)


@pytest.mark.parametrize(
    ("looks", "verdict"),
    [([0], "pass"), ([1], ""), ([1, 1], "different"), ([2, 5], "different"), ([1, 0], "unstable")],
)
def test_rows_that_should_not_be_there_count_when_they_stay(looks: list[int], verdict: str) -> None:
    repeated = Repeated(NONE)
    for count in looks:
        repeated.look(Result(("a",), tuple((number,) for number in range(count))))
    assert repeated.verdict == verdict


def test_every_verdict_but_pass_has_a_sentence() -> None:
    for assertion in (EQUAL, NONE, near(1)):
        for verdict in ("different", "unstable"):
            assert said(assertion, verdict, Comparison(2))
        assert said(assertion, "pass", Comparison(0)) == ""


# --- mutants ---------------------------------------------------------------------------------------------------------
def test_without_exact_arithmetic_a_cent_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge.fractions, "Fraction", float)
    assert compare(near(1), result((10**40,)), result((10**40 + 2,))) == Comparison(0)


def test_without_kinds_null_would_be_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "cell", lambda value: ("text", str(value)))
    assert compare(EQUAL, result((None,)), result(("None",))) == Comparison(0)


def test_with_one_round_a_commit_in_flight_would_be_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "CONFIRMED_BY", 1)
    assert settle((A, B, A)) == ("different", 1)


def test_without_reading_the_primary_again_a_busy_row_would_be_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "same", lambda _ours, _theirs: True)
    assert settle((A, B, C), (C, B, A)) == ("different", 2)
