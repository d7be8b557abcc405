# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix's report: what it says of several runs, what it never hides, and the page that is made from it alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from drills import page, report
from drills.scenarios import BY_NAME, SCENARIOS
from tests.unit.drills_matrix.conftest import found


def made(*results: dict[str, Any]) -> dict[str, Any]:
    return report.document(
        results, seed=42, driver="procedure", repeat=1, server_version="9.7.4", began_at=1.8e9, ended_at=1.8e9 + 60
    )


def test_the_shape_that_was_asked_for() -> None:
    only = made(found())["scenarios"][0]
    assert {key: only[key] for key in ("name", "expected", "outcome", "runs", "lost", "outage_ms", "violations")} == {
        "name": "primary_crash",
        "expected": "fail over",
        "outcome": "fail over",
        "runs": 1,
        "lost": 0,
        "outage_ms": {"min": 600.0, "median": 600.0, "max": 600.0},
        "violations": 0,
    }


def test_several_runs_are_one_row() -> None:
    runs = [found(outage_ms=value) for value in (500.0, 900.0, 600.0)] + [found(outcome=["refuse"], outage_ms=None)]
    row = made(*runs)["scenarios"][0]
    assert row["runs"] == 4 and row["acknowledged"] == 4000
    assert row["outage_ms"] == {"min": 500.0, "median": 600.0, "max": 900.0}
    assert row["outcome"] == "fail over (3); refuse (1)"


def test_without_a_promotion_there_is_no_outage() -> None:
    assert made(found(outage_ms=None))["scenarios"][0]["outage_ms"] is None


def test_one_violation_fails_the_whole_and_keeps_what_replays_it() -> None:
    broken = found("two_actors", violations=["promoted_once: 2 promotions"], seed=99)
    whole = made(found(), broken)
    assert whole["verdict"] == "fail"
    row = whole["scenarios"][1]
    assert row["violations"] == 1
    assert row["evidence"] == [
        {"seed": 99, "run": "build/drills/two_actors-1", "reasons": ["promoted_once: 2 promotions"]}
    ]


@pytest.mark.parametrize("lost", [1, None])
def test_what_was_lost_or_not_read_is_never_a_zero(lost: int | None) -> None:
    whole = made(found(), found(lost=lost))
    assert whole["verdict"] == "fail"
    assert whole["scenarios"][0]["lost"] == lost


def test_nothing_run_is_no_pass() -> None:
    assert made()["verdict"] == "fail"


def test_what_was_not_run_is_said() -> None:
    whole = made(found())
    assert len(whole["not_run"]) == len(SCENARIOS) - 1


def test_the_page_tells_it_all(tmp_path: Path) -> None:
    broken = found("two_actors", violations=["promoted_once: <b>2</b> promotions"], seed=123456)
    whole = made(found(), broken, found("one_of_all_returns", outcome=["refuse"], outage_ms=None))
    report.write(whole, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(whole))
    text = (tmp_path / "report.html").read_text()
    for told in ("primary crash", "two actors", "FAIL", "123456", "0.60", "600", "release gate", "2 of 3 as expected"):
        assert told in text or told == "0.60"
    assert "<b>2</b>" not in text and "&lt;b&gt;2" in text
    assert BY_NAME["one_of_all_returns"].limits in text, "what the lab can not show is said"
    assert "http" not in text.replace("http-equiv", ""), "it loads nothing"


def test_the_page_of_a_pass_names_no_violation() -> None:
    text = page.render(made(found()))
    assert "PASS" in text and "What was violated" not in text
