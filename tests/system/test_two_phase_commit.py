# SPDX-License-Identifier: GPL-3.0-or-later
"""The two-phase commit by kill -9, short; and its mutants, which the same drill has to notice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drills.two_phase import aims, mutants
from drills.two_phase.server import PLACE

from . import playbooks

pytestmark = pytest.mark.long


def drilled(*arguments: str) -> tuple[int, dict[str, Any]]:
    """How it ended, and its report; nothing of it is left on the host."""
    done = playbooks.run("python", "-m", "drills", "two_phase_commit", *arguments)
    left = playbooks.on_host(
        "db1", "sh", "-c", f"ls -d {PLACE}; systemctl list-units --all --no-legend 'lab-two-phase*'"
    )
    assert left.strip() == "", playbooks.end(done.stdout)
    return done.returncode, json.loads((playbooks.ROOT / "build" / "drill" / "report.json").read_text())


def test_after_any_instant_the_rows_equal_the_binary_log() -> None:
    code, report = drilled("--rounds", str(len(aims.SAID)), "--seed", "20261127")
    assert code == 0 and report["verdict"] == "pass", report["reasons"]
    assert all(row["rounds"] == 1 for row in report["instants"])
    assert report["torn_tails"] >= 1 and report["waiting_commits"] >= 1 and report["transactions"] > 100


@pytest.mark.parametrize("mutant", mutants.NAMES)
def test_mutant(mutant: str) -> None:
    code, report = drilled("--rounds", "1", "--seed", "7", "--mutant", mutant)
    assert code == 1 and report["verdict"] == "fail"
    broken = [check["name"] for check in report["checks"] if check["holds"] is False]
    assert broken == ["rows"], report["reasons"]
