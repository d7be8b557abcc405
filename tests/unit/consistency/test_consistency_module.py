# SPDX-License-Identifier: GPL-3.0-or-later
"""The module: what it is given reaches the run, and only a pass does not fail."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import run as room
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.simulated_run import Held, World, keyed

pytest.importorskip("ansible.module_utils.basic")
module = importlib.import_module("ansible_collections.lossless.mysql_ha.plugins.modules.mysql_consistency")
OPTIONS: dict[str, Any] = {name: each.get("default") for name, each in module.SPEC.items()}


def given(**more: Any) -> dict[str, Any]:
    members = [{"name": name, "host": name} for name in ("p", "r1", "r2")]
    return {**OPTIONS, "cluster": "c", "members": members, "login_user": "reader", "login_password": "canary-1",
            "primary": "p", **more}  # fmt: skip


class Kept:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.request: room.Request | None = None
        monkeypatch.setattr(module, "run", self.run)

    def run(self, request: room.Request) -> dict[str, Any]:
        self.request = request
        return {"verdict": "pass", "finished": True, "under_way": None}


def test_every_option_reaches_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one changes what is asked for, so none is for nothing."""
    kept = Kept(monkeypatch)
    others: dict[str, Any] = {
        "primary": "r1", "replicas": ["r2"], "modes": ["snapshot"], "include": ["a"], "exclude": ["b"], "reveal": True,
        "assertions": [{"name": "x"}], "state_directory": "/x", "statement_timeout": 1.5, "catch_up_timeout": 2.5,
        "within": 3.5, "lock_timeout": 4.5, "max_threads_running": 5, "max_latency": 6.5, "max_differences": 7,
        "listed": 8, "max_rows_without_key": 9, "admin_password": "canary-2", "login_user": "u", "login_password": "w",
        "ca_cert": "/ca", "client_cert": "/cert", "client_key": "/key", "connect_timeout": 9.5, "cluster": "other",
        "members": [{"name": "p", "host": "elsewhere"}],
        "time_column": "c", "time_zone": "+01:00", "look_back": 10.5, "first_window": 11.5, "binlog_index": "/b",
        "pause_after": 12.5, "under_way": {"a": 1},
    }  # fmt: skip

    def asked(**more: Any) -> room.Request:
        module.compare(given(**more), False, lambda text: None)
        assert kept.request is not None
        return dataclasses.replace(kept.request, now=0.0)

    before = asked()
    for name, value in others.items():
        assert asked(**{name: value}) != before, name
    # The account itself only counts beside its password.
    assert asked(admin_password="x", admin_user="one") != asked(admin_password="x", admin_user="two")
    assert set(OPTIONS) - set(others) == {*("admin_user", "fail_on_difference", "report_directory", "progress_every")}


def test_defaults_are_those_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(monkeypatch)
    module.compare(given(), True, lambda text: None)
    assert kept.request is not None
    assert kept.request.limits == room.Limits()
    assert kept.request.admin is None
    assert kept.request.modes == ("whole",)


def compared(made: World, **more: Any) -> Any:
    with made.standing_in():
        return module.compare(given(**more), False, lambda text: None)


def test_a_pass_does_not_fail_and_changes_nothing() -> None:
    outcome = compared(World({"t": keyed(1)}))
    assert outcome.changed is False
    assert outcome.values["verdict"] == "pass"


def test_anything_else_fails_unless_it_is_not_to() -> None:
    made = World({"t": keyed(1), "bag": Held({1: "x"}, keyed=False)})
    made.held("r1", "t").rows[10_000] = "other"
    with pytest.raises(HaError) as raised:
        compared(made)
    assert raised.value.code == "not_the_same"
    assert raised.value.evidence["report"]["verdict"] == "different"
    assert "canary" not in str(raised.value.as_result())
    assert compared(made, fail_on_difference=False).values["verdict"] == "different"
    with pytest.raises(HaError) as raised:
        compared(made, include=["s.bag"], max_rows_without_key=0)
    assert raised.value.code == "not_compared"


def test_what_can_not_be_begun_fails_however_it_is_asked() -> None:
    for more in ({"primary": "p9"}, {"include": ["nothing"]}, {"members": []}):
        with pytest.raises(HaError):
            compared(World({"t": keyed(1)}), fail_on_difference=False, **more)


def test_passwords_are_secrets() -> None:
    assert all(each.get("no_log") for name, each in module.SPEC.items() if name.endswith("password"))
