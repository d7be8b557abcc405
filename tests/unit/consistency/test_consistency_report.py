# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report says in a sentence, and when it fails a play."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import report as room
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import GRAVITY, worst
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.report import failure, sentence
from hypothesis import given
from hypothesis import strategies as st


def table(verdict: str, name: str = "t", replica: str = "r1", code: str = "c", why: str = "because") -> dict[str, Any]:
    return {"schema": "s", "table": name, "replica": replica, "verdict": verdict, "code": code, "why": why,
            "next_step": f"do {code}"}  # fmt: skip


def server(verdict: str, code: str = "no_answer") -> dict[str, Any]:
    return {"replica": "r1", "verdict": verdict, "code": code, "why": "refused", "next_step": f"do {code}"}


def asserted(verdict: str, severity: str = "critical") -> dict[str, Any]:
    return {"name": "sum", "expect": "equal", "severity": severity, "replica": "r1", "verdict": verdict, "code": "x",
            "why": "3 is not 4"}  # fmt: skip


def report(tables: Any = (), servers: Any = (), assertions: Any = ()) -> dict[str, Any]:
    counted = [*tables, *servers, *(each for each in assertions if each["severity"] == "critical")]
    return {
        "primary": "p", "replicas": ["r1", "r2"], "verdict": worst(each["verdict"] for each in counted),
        "tables": tables, "servers": servers, "assertions": assertions, "counts": {"rows": 7, "tables": len(tables)},
    }  # fmt: skip


def test_a_pass_is_no_failure() -> None:
    passed = report([table("pass")], assertions=[asserted("pass"), asserted("different", "info")])
    assert failure(passed) is None
    assert sentence(passed) == "7 rows of 1 tables and 1 assertions on r1, r2: the same as on p"


@pytest.mark.parametrize("verdict", [each for each in GRAVITY if each != "pass"])
def test_everything_else_is_one(verdict: str) -> None:
    for bad in (report([table("pass"), table(verdict)]), report([table("pass")], [server(verdict)]),
                report([table("pass")], assertions=[asserted(verdict)])):  # fmt: skip
        error = failure(bad)
        assert error is not None
        assert error.code == ("not_the_same" if verdict == "different" else "not_compared")
        assert error.evidence["report"] == bad
        assert error.next_step
        assert verdict in error.message
        assert ("NOT the same as" in error.message) == (verdict == "different")
        assert error.message[-16:] != "the same as on p"


def test_nothing_at_all_is_no_pass() -> None:
    error = failure(report())
    assert error is not None
    assert error.code == "not_compared"


def test_what_is_said_of_a_server_is_not_said_of_each_table() -> None:
    said = sentence(report([table("error", f"t{number}", code="no_answer") for number in range(9)], [server("error")]))
    assert said.endswith("not known to be the same as on p: r1: error (refused)")


def test_it_is_short() -> None:
    said = sentence(report([table("different", f"t{number}", why="w" * 500) for number in range(99)]))
    assert said.endswith("; and 94 more")
    assert len(said) < 1500


def test_the_next_step_is_that_of_the_gravest() -> None:
    error = failure(report([table("skipped", code="a"), table("different", code="b"), table("lagging", code="d")]))
    assert error is not None
    assert error.next_step == "do b"


@given(st.lists(st.sampled_from(GRAVITY)), st.lists(st.sampled_from(GRAVITY), max_size=3))
def test_no_report_with_anything_else_passes(tables: list[str], servers: list[str]) -> None:
    made = report([table(each) for each in tables], [server(each) for each in servers])
    assert (failure(made) is None) == (bool(tables or servers) and {*tables, *servers} == {"pass"})


def test_mutant_skipped_is_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PASS", "skipped")
    with pytest.raises(AssertionError):
        test_everything_else_is_one("skipped")
