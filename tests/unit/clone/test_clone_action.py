# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin: one line for each return of the module, and its last result as the task's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.action import mysql_clone
from ansible_collections.lossless.mysql_ha.plugins.plugin_utils import followed

LINE = "db4 from db2: copying files"
GOES_ON = {"changed": True, "under_way": {"donor": "db2"}, "progress": {"line": LINE}, "plan": []}
FIRST = {**GOES_ON, "plan": ["clone db4 from db2"], "diff": {"before": "a", "after": "b"}, "warnings": ["w"]}
LAST = {"changed": True, "finished": True, "plan": ["db4 follows db1"], "progress": {"line": ""}}


class Task:
    """One run of the plugin; the module answers by turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Any, **arguments: Any) -> None:
        self.answers = list(answers)
        self.given: list[dict[str, Any]] = []
        self.shown: list[str] = []
        monkeypatch.setattr(followed, "Display", lambda: SimpleNamespace(display=self.shown.append))
        self.plugin: Any = mysql_clone.ActionModule.__new__(mysql_clone.ActionModule)
        self.plugin._task = SimpleNamespace(args=arguments, async_val=0)
        monkeypatch.setattr(self.plugin, "_execute_module", self.execute)

    def execute(self, *, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        self.given.append(module_args)
        return dict(self.answers.pop(0))

    def run(self) -> Any:
        return self.plugin._followed({"inventory_hostname": "control1"})


def test_it_is_called_until_it_has_finished_and_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(monkeypatch, FIRST, GOES_ON, LAST, recipient="db4", progress_every=2)
    result = task.run()
    assert task.shown == [f"clone: [control1]: {LINE}"] * 2
    assert [given.get("under_way") for given in task.given] == [None, {"donor": "db2"}, {"donor": "db2"}]
    assert all(given["pause_after"] == 2.0 and given["recipient"] == "db4" for given in task.given)
    assert result["plan"] == ["clone db4 from db2", "db4 follows db1"] and result["finished"]
    assert result["diff"] == FIRST["diff"] and result["warnings"] == ["w"]


def test_what_ends_at_once_is_passed_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in (LAST, {"failed": True, "code": "recipient_has_data", "msg": "no"}):
        task = Task(monkeypatch, answer)
        assert task.run() == answer and not task.shown and len(task.given) == 1


def test_a_failure_on_the_way_is_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = {"failed": True, "code": "clone_failed", "msg": "donor is gone"}
    result = Task(monkeypatch, FIRST, failed).run()
    assert result["failed"] and result["code"] == "clone_failed" and "under_way" not in result


@pytest.mark.parametrize(
    ("given", "seconds"), [({}, 5.0), ({"progress_every": "x"}, 5.0), ({"progress_every": 0}, 0.0)]
)
def test_without_a_number_the_module_decides(monkeypatch: pytest.MonkeyPatch, given: Any, seconds: float) -> None:
    task = Task(monkeypatch, LAST, **given)
    task.run()
    assert task.given[0]["pause_after"] == seconds
