# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module says in the log of the host that it runs on: how it was called, and nothing of anybody's rows."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils import ansible as glue

basic = pytest.importorskip("ansible.module_utils.basic")
testing = pytest.importorskip("ansible.module_utils.testing")

MODULES = Path(__file__).resolve().parents[2] / "plugins" / "modules"
ROOM = "ansible_collections.lossless.mysql_ha.plugins.modules"
CANARY = "canary-of-a-row"
STATE = {"tables": {"bank.account": {"after": [CANARY], "differences": [{"key": {"id": CANARY}}]}}}
MEMBERS = [{"name": "db1", "host": "10.0.0.11"}, {"name": "db2", "host": "10.0.0.12"}]
NEEDED: dict[str, dict[str, Any]] = {
    "mysql_clone": {"members": MEMBERS, "recipient": "db2"},
    "mysql_consistency": {"members": MEMBERS},
}
"""Modules that go on from part to part, and the arguments that they can not do without."""


def module(name: str) -> Any:
    return importlib.import_module(f"{ROOM}.{name}")


@pytest.fixture(params=["syslog", "journal"])
def logged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that reaches the host's log, as the text of each call."""
    found: list[str] = []

    def keep(*given: Any, **fields: Any) -> None:
        found.append(repr((given, fields)))

    monkeypatch.setattr(basic, "has_journal", request.param == "journal")
    monkeypatch.setattr(basic, "journal", SimpleNamespace(send=keep), raising=False)
    monkeypatch.setattr(basic.syslog, "syslog", keep)
    return found


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_what_is_handed_over_is_not_logged_and_is_in_the_result(
    name: str, logged: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = glue.run

    def run(spec: Any, _work: Any, **relations: Any) -> None:
        def work(params: Any, _check: bool, _warn: Any) -> glue.Outcome:
            return glue.Outcome(False, {"under_way": params["under_way"]})

        real(spec, work, **relations)

    monkeypatch.setattr(glue, "run", run)
    given = {**NEEDED[name], "cluster": "ledger", "pause_after": 7.25, "under_way": STATE}
    with testing.patch_module_args(given), pytest.raises(SystemExit):
        module(name).main()
    assert json.loads(capsys.readouterr().out)["under_way"] == STATE
    everything = "\n".join(logged)
    assert "Invoked with" in everything and "cluster=ledger" in everything and "pause_after=7.25" in everything
    assert CANARY not in everything and "under_way" not in everything.lower()


def test_every_module_that_is_handed_something_is_looked_at_here() -> None:
    every = {path.stem for path in MODULES.glob("mysql_*.py")}
    assert {name for name in every if not glue.HANDED_OVER.isdisjoint(getattr(module(name), "SPEC", {}))} == set(NEEDED)


def test_other_lines_are_logged_as_they_are(logged: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def work(_params: Any, _check: bool, _warn: Any) -> glue.Outcome:
        return glue.Outcome(False, {})

    with testing.patch_module_args({"members": MEMBERS}), pytest.raises(SystemExit):
        glue.run(glue.MEMBERS_SPEC, work)
    assert json.loads(capsys.readouterr().out)["changed"] is False
    assert len(logged) == 1 and "Invoked with" in logged[0] and "10.0.0.12" in logged[0]
