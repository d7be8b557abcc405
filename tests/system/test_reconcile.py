# SPDX-License-Identifier: GPL-3.0-or-later
"""Reconciliation under load: what was planted is found, and nothing else; and its mutants, which the drill notices.

The first test is short; the others take minutes. On the lab that test_deploy_and_drill.py deployed.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from drills.reconcile.cases import CASES
from drills.reconcile.mutants import MUTANTS

from . import playbooks

SHORT = ("--delay", "3", "--minutes", "1", "--rounds", "5")
MANY = (*SHORT[:-1], "20")
"""Rows have to be in flight where a mutant looks."""


def drilled(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = playbooks.run("python", "-m", "drills", "reconcile", *arguments)
    report = playbooks.ROOT / "build" / "drill" / "report.json"
    return done.returncode, json.loads(report.read_text())


def test_what_is_planted_is_found_and_nothing_else() -> None:
    code, report = drilled("planted")
    assert code == 0 and report["verdict"] == "pass", report["reasons"]
    planted = report["rounds"][0]["facts"]
    assert planted["found"] == planted["planted"] >= 40 and planted["writes"] > 100


@pytest.mark.long
@pytest.mark.parametrize("case", [case for case in CASES if case != "planted"])
def test_case(case: str) -> None:
    code, report = drilled(case, *SHORT)
    assert code == 0 and report["verdict"] == "pass", report["reasons"]


@pytest.mark.long
@pytest.mark.parametrize("mutant", list(MUTANTS))
def test_mutant(mutant: str) -> None:
    """Its own case notices it, by the checks that are about it; and what was done is undone all the same."""
    code, report = drilled("--mutant", mutant, *MANY)
    assert code == 1 and report["verdict"] == "fail"
    broken = {check["name"] for check in report["checks"] if check["holds"] is False}
    assert broken and broken <= MUTANTS[mutant].breaks, report["reasons"]
