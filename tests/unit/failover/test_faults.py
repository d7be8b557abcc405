# SPDX-License-Identifier: GPL-3.0-or-later
"""Fault points: inert unless asked for; then no clean-up runs."""

from __future__ import annotations

import ast
import inspect
import os
import signal
import subprocess
import sys

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover import faults, procedure

SCRIPT = """
import atexit, sys
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.faults import POINTS, reach
atexit.register(print, "cleaned up")
try:
    for point in POINTS:
        print(point, flush=True)
        reach(point)
finally:
    print("finally", flush=True)
"""


def run(point: str | None) -> subprocess.CompletedProcess[str]:
    """Walk over all points in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k != faults.VARIABLE}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    if point is not None:
        environment[faults.VARIABLE] = point
    return subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.parametrize("point", [faults.POINTS[0], "freeze:after", "silence:before", faults.POINTS[-1]])
def test_the_process_dies_at_the_point_asked_for_and_cleans_nothing_up(point: str) -> None:
    done = run(point)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == list(faults.POINTS[: faults.POINTS.index(point) + 1])


@pytest.mark.parametrize("point", [None, "", "freeze", "freeze:", "FREEZE:AFTER", "nowhere:before"])
def test_without_a_point_that_is_reached_nothing_happens(point: str | None) -> None:
    done = run(point)
    assert done.returncode == 0
    assert done.stdout.split() == [*faults.POINTS, "finally", "cleaned", "up"]


def test_inert_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(faults.VARIABLE, raising=False)
    for point in faults.POINTS:
        faults.reach(point)


def phases_of_the_procedure() -> list[str]:
    """The names in ``with self._phase("...")``, in the order of the source."""
    tree = ast.parse(inspect.getsource(procedure))
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_phase"
    ]
    assert calls
    assert all(isinstance(call.args[0], ast.Constant) for call in calls), "a phase's name has to be seen in the source"
    return [call.args[0].value for call in calls]  # type: ignore[attr-defined]


def test_every_phase_of_the_procedure_can_be_interrupted_before_and_after() -> None:
    assert set(phases_of_the_procedure()) == set(faults.PHASES)
    assert set(faults.POINTS) == {f"{phase}:{moment}" for phase in faults.PHASES for moment in ("before", "after")}
    assert len(set(faults.PHASES)) == len(faults.PHASES)
