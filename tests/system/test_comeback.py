# SPDX-License-Identifier: GPL-3.0-or-later
"""The old primary comes back: each drill's shortest rounds; and its mutants, which the same drill has to notice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from . import playbooks

pytestmark = pytest.mark.long

BROKEN = {
    ("rewind", "one", "gate_absent"): {"way", "kept", "archived", "registered", "gtids", "equal"},
    ("rewind", "one", "row_changed"): {"equal"},
    ("rewind_refused", "degraded", "given_up_at_once"): {"refused"},
    ("rewind_refused", "earlier_file", "row_changed"): {"equal"},
    ("clone_rejoin", "started", "row_changed"): {"equal"},
}


def drilled(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = playbooks.run("python", "-m", "drills", *arguments)
    report = playbooks.ROOT / "build" / "drill" / "report.json"
    return done.returncode, json.loads(report.read_text())


@pytest.mark.parametrize(
    "arguments",
    [
        ("rewind", "hundred", "definitions", "died_cut_after", "died_verify_before"),
        ("rewind_refused", "degraded", "distributed"),
        ("clone_rejoin", "started"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_server_is_equal_afterwards(arguments: tuple[str, ...]) -> None:
    code, report = drilled(*arguments)
    assert code == 0 and report["verdict"] == "pass", report["reasons"]
    assert len(report["rounds"]) == len(arguments) - 1


@pytest.mark.parametrize(("scenario", "case", "mutant"), list(BROKEN))
def test_mutant(scenario: str, case: str, mutant: str) -> None:
    code, report = drilled(scenario, case, "--mutant", mutant)
    assert code == 1 and report["verdict"] == "fail"
    broken = {check["name"] for check in report["checks"] if check["holds"] is False}
    assert broken and broken <= BROKEN[scenario, case, mutant], report["reasons"]
    assert "equal" in broken or mutant == "given_up_at_once"
