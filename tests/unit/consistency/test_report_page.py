# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a comparison: well-formed, self-contained, nothing unescaped, nothing told by colour alone."""

from __future__ import annotations

import html.parser
import re
from typing import Any, Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import (
    findings,
    report_page,
    report_style,
    report_words,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import Difference
from hypothesis import given
from hypothesis import strategies as st

from . import reports

VOID = {"meta", "link", "br"}
SHAPES = {"path", "circle", "rect", "use"}
KNOWN = {*VOID, *SHAPES, "html", "head", "title", "style", "body", "svg", "defs", "symbol", "main", "header", "footer"}
KNOWN |= {"div", "section", "article", "h1", "h2", "h3", "p", "span", "b", "i", "small", "mark", "code", "pre", "time"}
KNOWN |= {"dl", "dt", "dd", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}


class Reader(html.parser.HTMLParser):
    """Follows the tags; a tag that closes what is not open, or that the page has no use for, is an error."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text: list[str] = []
        self.tags: list[tuple[str, dict[str, Optional[str]]]] = []
        self.errors: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in KNOWN:
            self.errors.append(f"<{tag}>")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in SHAPES:
            self.errors.append(f"<{tag}/> closes nothing in HTML")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.errors.append(f"</{tag}> inside {self.open[-3:]}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.text).split())


def read(document: str) -> Reader:
    reader = Reader()
    reader.feed(document)
    reader.close()
    assert reader.errors == [] and reader.open == []
    return reader


def said(report: dict[str, Any]) -> str:
    return read(report_page.render(report)).said


PAGES = {
    "passing": reports.passing(),
    "rich": reports.rich(),
    "hostile": reports.hostile(),
    "unfinished": reports.passing(finished=False),
    "nothing": reports.counted(reports.passing(tables=[], assertions=[])),
    "empty": {},
    "of other types": dict.fromkeys(reports.rich(), 7),
    "lists of other types": {key: [7, None, "x"] for key in reports.rich()},
}


@pytest.mark.parametrize("name", PAGES)
def test_it_is_well_formed_and_loads_and_runs_nothing(name: str) -> None:
    document = report_page.render(PAGES[name])
    document.encode("utf-8")
    reader = read(document)
    for tag, attributes in reader.tags:
        assert not [key for key in attributes if key.startswith("on") or key == "style"], tag
        href = attributes.get("href")
        assert href is None or href.startswith(("#", "data:,"))
    assert not re.search(r"https?:|@import|url\(", document)


def test_the_reader_can_fail() -> None:
    for bad in ("<p><b></p></b>", "</p>", "<p>", "<div/>", "<script></script>"):
        with pytest.raises(AssertionError):
            read(bad)


@pytest.mark.parametrize("way", ["text", "_glyphs"])
def test_a_page_with_one_way_in_left_open_is_found(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant of the escaping: the hostile report catches both places where values enter."""
    monkeypatch.setattr(report_page, way, str)
    with pytest.raises(AssertionError):
        read(report_page.render(reports.hostile()))


# What a reader would not see, or would see elsewhere than it stands.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def test_nothing_on_the_page_is_hidden_or_turned_around() -> None:
    document = report_page.render(reports.hostile())
    assert "\\u202e" in document
    assert not _UNSEEN.search(document)


def test_that_can_fail_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_words, "hidden", lambda _character: False)
    assert _UNSEEN.search(report_page.render(reports.hostile()))


@given(st.text(), st.text())
def test_any_value_is_told_in_full_and_harmless(one: str, other: str) -> None:
    entry = reports.table(
        verdict=findings.DIFFERENT,
        differences=(Difference({"id": one}, findings.VALUE, ("a",), {"a": one}, {"a": other}),),
    )
    report = reports.counted(reports.passing(tables=[entry], assertions=[]))
    reader = read(report_page.render(report))
    assert not _UNSEEN.search(reader.said)


# --- what it says ----------------------------------------------------------------------------------------------------
def test_a_pass_says_so_and_what_it_did_not_look_for() -> None:
    told = said(reports.passing())
    assert "Everything compared is the same on db1, db2 and db3." in told
    assert "Not a pass" not in told and "Now:" not in told
    assert "Not asked for: recent by time, recent by binary log and snapshot." in told
    assert "What is wrong on both sides alike." in told


def test_what_is_wrong_comes_first_then_what_is_not_known_then_the_rest() -> None:
    told = said(reports.rich())
    order = [
        "Not a pass: different",
        "db2 and db3 are not the same as the primary db1",
        "let nobody promote db2 or db3",
        "What is wrong 6",
        "Server db3",
        "bank.ledger on db2, whole tables",
        "shop.customer",
        "Business assertions 4",
        "Not compared 5",
        "shop.counter",
        "Nothing of this was run.",
        "The same 3 tables",
    ]
    places = [told.index(each) for each in order]
    assert places == sorted(places)


@pytest.mark.parametrize("verdict", findings.GRAVITY)
def test_each_verdict_has_a_sign_and_a_word(verdict: str) -> None:
    report = reports.counted(reports.passing(tables=[reports.table("a.b", verdict=verdict)], assertions=[]))
    document = report_page.render(report)
    assert report_words.LABELS[verdict] in read(document).said
    assert f'<use href="#{verdict}"/>' in document and f'<symbol id="{verdict}"' in document
    assert ("Not a pass" in document) == (verdict != findings.PASS)


def test_every_verdict_has_a_colour_a_shape_and_a_label() -> None:
    assert set(report_style.TONES) == set(report_words.LABELS) == set(findings.GRAVITY)
    assert len({report_style._SHAPES[verdict] for verdict in findings.GRAVITY}) == len(findings.GRAVITY)
    assert set(report_words.MODES) == set(findings.MODES)


def test_a_verdict_of_a_later_version_is_no_pass() -> None:
    report = reports.passing(tables=[reports.table("a.b", verdict="sideways")], verdict="sideways")
    document = report_page.render(report)
    assert "Not a pass: sideways" in document and "What is wrong" in document


def test_a_pass_that_did_not_end_is_none() -> None:
    told = said(reports.passing(finished=False))
    assert "Not a pass" in told and "This run did not come to its end." in told


def test_images_stand_side_by_side_with_what_differs_marked() -> None:
    document = report_page.render(reports.rich())
    assert '<td class="side"><span class="value">12<mark>50</mark>.00</span></td>' in document
    assert '<td class="side"><span class="value">12<mark>05</mark>.00</span></td>' in document
    assert document.count("no such row") == 2
    assert '<span class="null">NULL</span>' in document and "empty text" in document


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("a", "a ", "a<mark> </mark>"),
        ("a", "a\n", "a<mark><i>\\n</i></mark>"),
        ("a\\n", "a\n", "a<mark><i>\\n</i></mark>"),
        ("\u00e9", "e\u0301", "<mark>e\u0301</mark></span> <small>U+0065 U+0301</small>"),
        ("a", "\u0430", "<mark>\u0430</mark></span> <small>U+0430</small>"),
        ("ab", "a\u200bb", "a<mark><i>\\u200b</i></mark>b"),
        (None, "", '<span class="absent">empty text</span>'),
        ("0", None, '<span class="null">NULL</span>'),
        ("NULL", "null", "<mark>null</mark>"),
        ("x" * 500 + "1", "x" * 500 + "2", "&hellip;" + "x" * report_page.BEFORE + "<mark>2</mark>"),
    ],
)
def test_a_difference_that_is_hard_to_see_is_seen(one: Optional[str], other: Optional[str], shown: str) -> None:
    difference = Difference({"id": "1"}, findings.VALUE, ("a",), {"a": one}, {"a": other})
    entry = reports.table("a.b", verdict=findings.DIFFERENT, differences=(difference,), difference_count=1)
    assert shown in report_page.render(reports.counted(reports.passing(tables=[entry])))


def test_without_leave_there_are_keys_and_columns_and_no_values() -> None:
    differences = (Difference({"id": "7"}, findings.VALUE, ("state",)), Difference({"id": "8"}, findings.EXTRA))
    entry = reports.table("a.b", verdict=findings.DIFFERENT, differences=differences, difference_count=900)
    told = said(reports.counted(reports.passing(tables=[entry])))
    assert "Values are not shown: this run was not allowed to reveal them." in told
    assert "state" in told and "only on db2" in told and "On db1 (primary)" not in told
    assert "Shown are the first 2 of 900 differences." in told


def test_a_wide_row_is_folded_and_a_storm_is_bounded() -> None:
    wide = Difference({"id": "1"}, findings.EXTRA, (), None, {f"c{n}": str(n) for n in range(40)})
    entry = reports.table("a.b", verdict=findings.DIFFERENT, differences=(wide,))
    assert "28 more columns" in said(reports.counted(reports.passing(tables=[entry])))
    narrow = Difference({"id": "1"}, findings.EXTRA)
    entry = reports.table("a.b", verdict=findings.DIFFERENT, differences=(narrow,) * 500)
    storm = [{**entry, "table": f"t{n}"} for n in range(3000)]
    storm += [reports.table(f"b.t{n}") for n in range(3000)]
    document = report_page.render(reports.counted(reports.passing(tables=storm)))
    assert document.count("<article") == report_page.OPENED
    assert "And 2,960 findings more:" in read(document).said
    assert len(document) < 5_000_000


def test_a_repair_is_for_reading() -> None:
    document = report_page.render(reports.rich())
    assert "<b>Nothing of this was run.</b>" in document
    assert "DELETE FROM `bank`.`ledger` WHERE `id` = 1000912;" in document


def test_a_table_is_the_same_only_when_no_replica_and_no_mode_says_otherwise() -> None:
    report = reports.passing(tables=[reports.table("a.b", "db2"), reports.table("a.b", "db3", findings.LAGGING)])
    assert "The same" not in said(reports.counted(report))


def test_whatever_is_not_known_is_a_dash() -> None:
    assert [report_page.text(value) for value in (None, "", "-", 0, False)] == ["&ndash;"] * 3 + ["0", "False"]
