# SPDX-License-Identifier: GPL-3.0-or-later
"""Three of the fault matrix's fourteen gate scenarios on the lab that test_deploy_and_drill.py deployed."""

from __future__ import annotations

import json

from . import playbooks

SCENARIOS = ("primary_crash", "only_acknowledger_hangs", "commits_wait_at_crash")


def test_three_of_the_gate() -> None:
    done = playbooks.run("python", "-m", "drills", "matrix", *SCENARIOS)
    assert done.returncode == 0, playbooks.end(done.stdout)
    report = json.loads((playbooks.ROOT / "build" / "drills" / "report.json").read_text())
    assert [row["name"] for row in report["scenarios"]] == list(SCENARIOS)
    assert all(row["lost"] == 0 and row["violations"] == 0 for row in report["scenarios"])
    assert report["scenarios"][1]["outcome"] == "refuse, then fail over"
