# SPDX-License-Identifier: GPL-3.0-or-later
"""A report in words: what comes first, what counts as a pass, and that no line shows a value or breaks."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import findings, report_words
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import GRAVITY
from hypothesis import given
from hypothesis import strategies as st

from . import reports


@pytest.mark.parametrize(
    ("changes", "is_pass"),
    [
        ({}, True),
        ({"finished": False}, False),
        ({"finished": None}, False),
        ({"finished": 1}, False),
        *(({"verdict": verdict}, False) for verdict in (*GRAVITY[1:], "", None, "PASS")),
    ],
)
def test_only_a_whole_pass_is_a_pass(changes: dict[str, Any], is_pass: bool) -> None:
    assert report_words.passed(reports.passing(**changes)) is is_pass
    told = report_words.headline(reports.passing(**changes))
    assert told.startswith("Everything compared is the same") is is_pass
    assert ("no pass" in told) is not is_pass


def with_table(verdict: str, **more: Any) -> dict[str, Any]:
    return reports.counted(reports.passing(tables=[reports.table("a.b", "db2", verdict, **more)], assertions=[]))


@pytest.mark.parametrize(
    ("report", "headline", "advice"),
    [
        (reports.passing(), "Everything compared is the same on db1, db2 and db3.", ""),
        (
            with_table(findings.DIFFERENT, difference_count=1),
            "db2 is not the same as the primary db1: 1 row in 1 table.",
            "let nobody promote db2,",
        ),
        (
            with_table(findings.SCHEMA_DIFFERS),
            "db2 is not the same as the primary db1: 1 table with another definition.",
            "let nobody promote db2,",
        ),
        (
            with_table(findings.LAGGING, next_step="See why."),
            "No difference was found, but 1 thing could not be compared. This is no pass.",
            "See why.",
        ),
        (with_table(findings.ERROR), "No difference was found, but 1 thing", "Mend what is named below"),
        (reports.counted(reports.passing(tables=[], assertions=[])), "Nothing was compared. This is no pass.", "again"),
        (
            reports.counted(reports.passing(assertions=[reports.assertion("x", "db1", findings.DIFFERENT)])),
            "1 assertion does not hold on db1.",
            "Show the rows to those who own the assertion",
        ),
    ],
)
def test_the_whole_in_a_sentence_and_what_to_do(report: dict[str, Any], headline: str, advice: str) -> None:
    assert report_words.headline(report).startswith(headline)
    said = report_words.advice(report)
    assert advice in said and bool(said) == bool(advice)


def test_a_row_that_two_modes_found_is_counted_once() -> None:
    tables = [
        reports.table("a.b", "db2", findings.DIFFERENT, mode=mode, difference_count=count)
        for mode, count in ((findings.WHOLE, 5), (findings.RECENT_TIME, 2))
    ]
    assert "5 rows in 1 table" in report_words.headline(reports.counted(reports.passing(tables=tables)))


def test_findings_come_by_gravity_and_none_is_lost() -> None:
    every = report_words.found(reports.rich())
    order = [(not each.counts, -report_words.gravity(each.verdict)) for each in every]
    assert order == sorted(order)
    assert len(every) == sum(
        entry["verdict"] != findings.PASS
        for key in ("servers", "tables", "assertions")
        for entry in reports.rich()[key]
    )
    assert len(report_words.lines(reports.rich())) == len(every) + 1


def test_lines_are_bounded_and_say_how_many_there_are() -> None:
    tables = [reports.table(f"a.t{n}", verdict=findings.ERROR) for n in range(report_words.MOST_LINES + 5)]
    lines = report_words.lines(reports.counted(reports.passing(tables=tables)))
    assert len(lines) == report_words.MOST_LINES + 2
    assert lines[-1] == "and 5 findings more, in the report"


def test_no_line_has_a_value_of_a_row() -> None:
    said = "\n".join(report_words.lines(reports.rich()))
    for entry in reports.rich()["tables"]:
        for difference in entry["differences"]:
            values = [*difference["key"].values()]
            for image in (difference["primary"], difference["replica"]):
                values += [value for value in (image or {}).values() if value and len(value) > 3]
            assert not [value for value in values if value and len(value) > 3 and value in said]


def test_one_finding_is_one_line_whatever_a_table_is_called() -> None:
    lines = report_words.lines(reports.hostile())
    assert len(lines) == len(report_words.found(reports.hostile())) + 1
    for line in lines:
        assert line.isprintable() and len(line.splitlines()) == 1
        line.encode("utf-8")


@given(st.text())
def test_any_text_is_one_printable_line(given_text: str) -> None:
    said = report_words.one_line(given_text)
    assert len(said.splitlines()) <= 1 and "\x1b" not in said
    said.encode("utf-8")


@pytest.mark.parametrize(
    ("part", "shown"),
    [(1.0, "100 %"), (0.99999, "99.9 %"), (0.0, "0.0 %"), (0.5, "50.0 %"), (-1, "0.0 %"), (None, "-")],
)
def test_nearly_all_is_not_all(part: Any, shown: str) -> None:
    assert report_words.percent(part) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (3599.6, "60 min 0 s"),
        (3661, "1 h 1 min"),
        (None, "-"),
        (-1, "-"),
    ],
)
def test_durations(seconds: Any, shown: str) -> None:
    assert report_words.duration(seconds) == shown.replace("60 min 0 s", "1 h 0 min")


def test_an_assertion_that_is_not_critical_is_told_and_does_not_count() -> None:
    lesser = reports.assertion("orders by state", "db2", findings.DIFFERENT, severity="warning")
    report = reports.passing(assertions=[lesser])
    assert report_words.passed(report) and report_words.advice(report) == ""
    headline, line = report_words.lines(report)
    assert headline.startswith("Everything compared is the same on db1, db2 and db3. 1 assertion that is not critical")
    assert line == "different: assertion orders by state on db2 (does not count)"
    grave = reports.counted(reports.passing(assertions=[lesser], tables=[reports.table(verdict=findings.ERROR)]))
    assert [each.about for each in report_words.found(grave)] == [report_words.TABLE, report_words.ASSERTION]
    assert "1 thing could not be compared" in report_words.headline(grave)


def test_what_a_whole_server_is_is_not_said_again_of_each_table() -> None:
    server = {
        "replica": "db2",
        "verdict": findings.LAGGING,
        "code": "replica_stands_still",
        "why": "x",
        "next_step": "y",
    }
    tables = [
        reports.table(f"a.t{n}", "db2", findings.LAGGING, code="replica_stands_still", covered=0.0) for n in range(300)
    ]
    other = reports.table("a.t1", "db3", findings.LAGGING, code="replica_late")
    report = reports.counted(reports.passing(tables=[*tables, other], servers=[server], assertions=[]))
    assert [(each.about, each.on) for each in report_words.found(report)] == [("server", "db2"), ("table", "db3")]
    assert "x (so none of its 300 results could be had)" in report_words.lines(report)[1]
    # A server's finding hides nothing that is another one.
    differs = reports.table("a.t1", "db2", findings.DIFFERENT, code="rows_differ")
    assert len(report_words.found({**report, "tables": [*tables, differs]})) == 2
