# SPDX-License-Identifier: GPL-3.0-or-later
"""When a report fails a play, and what it says then."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import report as room
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import GRAVITY, worst
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.report import failure
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
        "finished": True, "tables": tables, "servers": servers, "assertions": assertions,
        "counts": {"rows": 7, "tables": len(tables)},
    }  # fmt: skip


def test_a_pass_is_no_failure() -> None:
    passed = report([table("pass")], assertions=[asserted("pass"), asserted("different", "info")])
    assert failure(passed) is None
    unfinished = failure({**passed, "finished": False})
    assert unfinished is not None and unfinished.code == "not_compared"


@pytest.mark.parametrize("verdict", [each for each in GRAVITY if each != "pass"])
def test_everything_else_is_one(verdict: str) -> None:
    for bad in (report([table("pass"), table(verdict)]), report([table("pass")], [server(verdict)]),
                report([table("pass")], assertions=[asserted(verdict)])):  # fmt: skip
        error = failure(bad)
        assert error is not None
        assert error.code == ("not_the_same" if verdict == "different" else "not_compared")
        assert error.evidence["report"] == bad
        assert error.next_step
        assert verdict in error.message and "Everything compared is the same" not in error.message


def test_nothing_at_all_is_no_pass() -> None:
    error = failure(report())
    assert error is not None
    assert error.code == "not_compared"


def test_it_is_short() -> None:
    error = failure(report([table("different", f"t{number}", why="w" * 50) for number in range(99)]))
    assert error is not None
    assert error.message.endswith("more lines, in the report") and len(error.message) < 1500


@given(st.lists(st.sampled_from(GRAVITY)), st.lists(st.sampled_from(GRAVITY), max_size=3))
def test_no_report_with_anything_else_passes(tables: list[str], servers: list[str]) -> None:
    made = report([table(each) for each in tables], [server(each) for each in servers])
    assert (failure(made) is None) == (bool(tables or servers) and {*tables, *servers} == {"pass"})


def test_mutant_skipped_is_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "passed", lambda report: report["verdict"] in ("pass", "skipped"))
    with pytest.raises(AssertionError):
        test_everything_else_is_one("skipped")
