# SPDX-License-Identifier: GPL-3.0-or-later
"""Every drill of playbooks/vars/drill_scenarios.yml on the lab, one after the other; and one that must fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.system import playbooks

SCENARIOS: dict[str, Any] = yaml.safe_load((playbooks.ROOT / "playbooks" / "vars" / "drill_scenarios.yml").read_text())[
    "drill_scenarios"
]
LEAVES_A_SURPLUS = {"primary_isolated"}
MUST_FAIL = {"semisync_off_on_purpose"}


@pytest.fixture(scope="module", autouse=True)
def deployed() -> None:
    done = playbooks.playbook("site")
    assert done.returncode == 0, playbooks.end(done.stdout)


def drill(scenario: str) -> tuple[int, dict[str, Any], str]:
    done = playbooks.playbook("failover_drill", "-e", f"drill_scenario={scenario}")
    report = json.loads((playbooks.ROOT / "build" / "drill" / "report.json").read_text())
    assert report["scenario"] == scenario, playbooks.end(done.stdout)
    return done.returncode, report, done.stdout


@pytest.mark.parametrize("scenario", sorted(set(SCENARIOS) - MUST_FAIL))
def test_drill(scenario: str) -> None:
    status, report, output = drill(scenario)
    assert status == 0 and report["verdict"] == "pass", playbooks.end(output)
    assert report["lost"] == 0
    if scenario in LEAVES_A_SURPLUS:
        assert report["errant"] and report["archive"]["manifest"]["found"], "commits were waiting when it was cut off"


@pytest.mark.parametrize("scenario", sorted(MUST_FAIL))
def test_a_drill_whose_ground_was_taken_away_fails(scenario: str) -> None:
    status, report, output = drill(scenario)
    assert status != 0 and report["verdict"] == "fail", playbooks.end(output)
    assert report["zero_loss"] != "proven"
