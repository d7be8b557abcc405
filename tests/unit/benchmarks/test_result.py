# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of a figure's file, and the table."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks.figures import HIGHER, Series
from benchmarks.machine import Condition
from benchmarks.result import Result, table

KEYS = {
    "name",
    "unit",
    "samples",
    "median",
    "p90",
    "worst",
    "better",
    "target",
    "target_median",
    "met",
    "phases",
    "machine",
    "conditions",
    "started_at",
    "notes",
}
CONDITION = Condition(2.5, 0.5, 0.01, 1.0)


def result(**changes: object) -> Result:
    values: dict[str, object] = {
        "name": "emergency_failover",
        "series": Series("s", (0.4, 0.5, 0.9)),
        "conditions": [CONDITION] * 3,
        "server_version": "9.7.4",
        "target": 0.6,
        "phases": {"freeze": Series("ms", (12.0, 13.0, 14.0)), "silence": Series("ms", ())},
        "notes": ("quick",),
        "started_at": 0.0,
        **changes,
    }
    return Result(**values)  # type: ignore[arg-type]


def test_the_file_holds_what_is_promised(tmp_path: Path) -> None:
    path = result().write(tmp_path / "bench")
    assert path.name == "emergency_failover.json"
    found = json.loads(path.read_text())
    assert set(found) == KEYS
    assert (found["median"], found["p90"], found["worst"], found["met"]) == (0.5, 0.9, 0.9, False)
    assert set(found["machine"]) >= {"load", "steal", "cores", "server_version"}
    assert found["phases"]["freeze"]["median"] == 13.0
    assert "silence" not in found["phases"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["started_at"])
    assert len(found["conditions"]) == len(found["samples"])


def test_writing_again_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    result().write(tmp_path)
    result(series=Series("s", (0.1,))).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["emergency_failover.json"]
    assert json.loads((tmp_path / "emergency_failover.json").read_text())["median"] == 0.1


def test_without_a_target_nothing_is_met_or_missed() -> None:
    assert result(target=None).as_dict()["met"] is None


def test_the_table_says_whether_the_target_was_met() -> None:
    price = result(name="price", series=Series("commits/s", (100.0, 90.0), HIGHER), target=None)
    lines = table([result().as_dict(), price.as_dict()]).splitlines()
    assert lines[0].split() == ["name", "unit", "runs", "median", "p90", "worst", "target", "met", "load", "steal"]
    assert lines[1].split() == ["emergency_failover", "s", "3", "0.5", "0.9", "0.9", "0.6", "no", "2.5", "1.0%"]
    assert lines[2].split() == ["price", "commits/s", "2", "95", "90", "90", "-", "-", "2.5", "1.0%"]


def test_a_target_for_the_median_stands_before_the_other() -> None:
    both = result(series=Series("s", (0.4, 0.5, 0.6)), target_median=0.5)
    assert both.met is True
    assert table([both.as_dict()]).splitlines()[1].split()[6:8] == ["0.5/0.6", "yes"]
    assert result(series=Series("s", (0.4, 0.55, 0.6)), target_median=0.5).met is False


def test_only_what_must_be_met_fails() -> None:
    assert result(must=True).failed and not result().failed
    assert not result(must=True, target=1.0).failed and not result(must=True, target=None).failed
