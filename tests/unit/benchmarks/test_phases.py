# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the time of a failover went: the parts add up to the whole."""

from __future__ import annotations

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.procedure import Report

from benchmarks.keeper import Taking
from benchmarks.phases import Phases
from benchmarks.planned_switchover import blocked_ms


def phase(name: str, start: float, duration: float) -> dict[str, object]:
    return {"name": name, "start_ms": start, "duration_ms": duration}


def test_parts_add_up() -> None:
    report = Report("run", "planned", started_at=1000.0, promoted_at=1000.25)
    report.phases = [
        phase("observe", 5, 40),
        phase("apply", 50, 10),
        phase("apply", 60, 20),
        phase("term", 200, 45),
        phase("demote", 251, 1000),
        phase("verify", 1251, 400),
    ]
    phases = Phases()
    phases.add(report, began=1000.0, ended=1001.7, taking=Taking(1000.3125, 1000.375), first_at=1000.4375)
    found = {name: series.samples[0] for name, series in phases.series().items()}
    assert found["apply"] == 30
    parts = ("observe", "apply", "term", "between", "noticed", "address", "client")
    assert sum(found[name] for name in parts) == pytest.approx(437.5)
    assert (found["promoted"], found["procedure"]) == (pytest.approx(250), pytest.approx(1700))


def test_an_address_that_is_not_known_leaves_its_parts_out() -> None:
    phases = Phases()
    phases.add(Report("run", "planned", promoted_at=1.1), began=1.0, ended=2.0, taking=None, first_at=1.5)
    assert not {"noticed", "address", "client"} & set(phases.series())


def test_blocked_is_from_block_to_term() -> None:
    report = Report("run", "planned")
    report.phases = [phase("prepare", 0, 50), phase("block", 60, 10), phase("arm", 80, 5), phase("term", 100, 25)]
    assert blocked_ms(report) == 65


def test_what_came_before_stands_first() -> None:
    report = Report("run", "emergency", started_at=1.0, promoted_at=1.1)
    report.phases = [phase("observe", 5, 40)]
    phases = Phases()
    phases.add(report, began=1.0, ended=2.0, taking=None, first_at=1.5, more={"verdict": 136.0})
    assert phases.last().startswith("verdict 136, observe 40")
