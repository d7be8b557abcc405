# SPDX-License-Identifier: GPL-3.0-or-later
"""Three of the fault matrix's gate scenarios, by the manager, on the lab that test_deploy_and_drill.py deployed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from . import playbooks

UNIT = "lossless-mysql-ha-manager"
SCENARIOS = ("primary_crash", "only_acknowledger_hangs", "commits_wait_at_crash")


@pytest.fixture
def manager() -> Iterator[None]:
    """It runs for these alone: drills by playbook fail over by themselves, and it would be faster."""
    done = playbooks.playbook("manager")
    assert done.returncode == 0, playbooks.end(done.stdout)
    yield
    playbooks.on_host("control1", "systemctl", "disable", "--now", UNIT)


@pytest.mark.usefixtures("manager")
def test_three_of_the_gate() -> None:
    done = playbooks.run("python", "-m", "drills", "matrix", *SCENARIOS, "--driver", "manager")
    assert done.returncode == 0, playbooks.end(done.stdout)
    report = json.loads((playbooks.ROOT / "build" / "drills" / "report.json").read_text())
    assert [row["name"] for row in report["scenarios"]] == list(SCENARIOS)
    assert all(row["lost"] == 0 and row["violations"] == 0 for row in report["scenarios"])
    assert report["scenarios"][1]["outcome"] == "refuse, then fail over"
