# SPDX-License-Identifier: GPL-3.0-or-later
"""The page: shows what the report says, escapes everything, loads nothing, survives a report with nothing in it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import report
import report_findings
import report_page
import samples

VOID = {"meta", "br", "rect", "line", "path"}


class Balance(HTMLParser):
    """Fails on a tag that is closed out of order or never."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def assembled(document: dict[str, Any], seen: list[dict[str, Any]]) -> dict[str, Any]:
    return report.assemble(report_findings.Drill(document, document["checker"], report.read_samples(seen)))


def page_of(document: dict[str, Any], seen: list[dict[str, Any]]) -> str:
    return report_page.render(assembled(document, seen))


@pytest.mark.parametrize("drill", [lambda: (samples.document(), samples.samples()), samples.refusal, samples.loss])
def test_the_page_is_well_formed_and_self_contained(drill: Any) -> None:
    page = page_of(*drill())
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://", page)


def test_the_page_shows_the_verdict_numbers_and_every_check() -> None:
    page = page_of(samples.document(), samples.samples())
    assert "<b>PASS</b>" in page and "1.02&#8239;s" in page and "12&#8239;309" in page
    for name in (*report_findings.INVARIANTS, *report_findings.CONDITIONS):
        assert report_page.text(report_page.TITLES[name.__name__]) in page
    assert "fault: host of db1 killed" in page and "redirect replicas" in page
    assert "no acknowledgement for" in page


def test_a_failing_page_says_why() -> None:
    page = page_of(*samples.loss())
    assert "<b>FAIL</b>" in page and "Why it fails" in page and "violated" in page


def test_every_text_is_escaped() -> None:
    """Put markup into every string of the input and into its keys: none of it may reach the page as markup."""
    evil = "<script>alert('x')</script>\"&"

    def poison(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: poison(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [poison(item) for item in value]
        return evil + value if isinstance(value, str) else value

    poisoned = poison(assembled(*samples.loss()))
    poisoned["topology"]["before"][evil] = {evil: [1]}
    poisoned["observation"]["hosts"][evil] = [[0, 20000, evil]]
    page = report_page.render(poisoned)
    assert "<script" not in page and "alert(&#x27;x&#x27;)" in page
    parser = Balance()
    parser.feed(page)
    assert parser.open == []


def test_a_report_with_nothing_in_it_still_renders() -> None:
    page = report_page.render(report.assemble(report_findings.Drill({})))
    assert "<b>FAIL</b>" in page and "not observed" in page


def test_the_page_of_a_planned_change_speaks_of_no_frozen_server() -> None:
    document = samples.document()
    document["fault"] = None
    document["failover"]["mode"] = "planned"
    page = page_of(document, samples.samples())
    assert "A planned change" in page and "Around the change" in page and "had to be frozen. " not in page


def test_two_holders_late_in_the_run_are_inside_the_detailed_chart() -> None:
    result = assembled(*samples.loss())
    window = report_page._window(result["timeline"], 26_000, result["phases"], result["observation"])
    assert window.begin <= 12_000 and window.end >= 21_000


def test_the_program_writes_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    document = samples.document()
    checker = document.pop("checker")
    (tmp_path / "checker.json").write_text(json.dumps(checker))
    (tmp_path / "observer.jsonl").write_text("".join(json.dumps(one) + "\n" for one in samples.samples()) + "{torn")
    document.update(checker_file=str(tmp_path / "checker.json"), observer_file=str(tmp_path / "observer.jsonl"))
    (tmp_path / "drill.json").write_text(json.dumps(document))
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"input": str(tmp_path / "drill.json"), "output_directory": str(tmp_path)}))
    monkeypatch.setattr("sys.argv", ["report.py", "--config", str(config)])
    assert report.main() == 0
    result = json.loads((tmp_path / "report.json").read_text())
    assert result["verdict"] == "pass", result["reasons"]
    assert (tmp_path / "report.html").read_text() == report_page.render(result)
    assert capsys.readouterr().out.startswith("pass:")


def test_a_misspelt_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"input": "x", "output_directory": "x", "minimum_acknowledgement": 1}))
    monkeypatch.setattr("sys.argv", ["report.py", "--config", str(config)])
    assert report.main() == 2
