# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server role asks of the server on its host: what differs from the file, and what that calls for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import EMPTY
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import local
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Receiver, SemiSync, ServerState

STATE = ServerState(
    "s", "u", 1, "9.7.4", EMPTY, super_read_only=True, semi_sync=SemiSync(source_installed=True), settings={}
)


def describe(state: ServerState = STATE, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "options": {"max_connections": "500"},
        "running": {"max_connections": "500"},
        "plugins": local.PLUGINS,
        "replicas": 0,
        "schemas": (),
        "file_changed_at": 200.0,
        "started_at": 100.0,
        "acknowledgement": "disk",
    }
    return local.describe(state, **dict(given, **changes))


@pytest.mark.parametrize(
    ("file", "running"),
    [("128M", "134217728"), ("ON", "1"), ("off", "OFF"), ("0.60", "0.6"), ("4G", "4294967296"), ("/a/b", "/a/b")],
)
def test_two_ways_of_writing_one_value(file: str, running: str) -> None:
    assert local.normal(file) == local.normal(running)


@pytest.mark.parametrize(("file", "running"), [("128M", "128"), ("ON", "OFF"), ("/a", "/A"), ("", "x")])
def test_two_values(file: str, running: str) -> None:
    assert local.normal(file) != local.normal(running)


def test_an_option_file_is_read_as_mysqld_reads_it() -> None:
    text = "[client]\nport=1\n[mysqld]\n# port = 2\nloose_clone-ssl-ca = /c\nport=3\nport = 4\nskip_x\n!includedir /\n"
    assert local.parse_option_file(text) == {"clone_ssl_ca": "/c", "port": "4", "skip_x": ""}


def test_what_is_given_at_run_time_is_no_difference() -> None:
    options = dict.fromkeys(local.RUNTIME, "OFF")
    assert local.pending(options, dict.fromkeys(local.RUNTIME, "ON")) == {}


def test_a_difference_calls_for_a_restart_only_when_the_file_is_younger_than_the_server() -> None:
    differs = {"running": {"max_connections": "151"}}
    assert describe(**differs)["restart"] is True
    assert describe(**differs, file_changed_at=50.0)["restart"] is False
    assert describe(**differs, file_changed_at=50.0)["pending"]
    assert describe()["restart"] is False


def test_a_missing_plugin_calls_for_a_restart() -> None:
    found = describe(plugins=("clone",))
    assert found["restart"] is True and "rpl_semi_sync_source" in found["missing_plugins"]


@pytest.mark.parametrize(
    ("state", "changes", "role", "serving"),
    [
        (STATE, {}, local.STANDALONE, False),
        (dataclasses.replace(STATE, channels=("",), receiver=Receiver("ON")), {}, local.REPLICA, False),
        (dataclasses.replace(STATE, super_read_only=False), {}, local.PRIMARY, False),
        (dataclasses.replace(STATE, super_read_only=False), {"replicas": 1}, local.PRIMARY, True),
        (dataclasses.replace(STATE, super_read_only=False), {"schemas": ("bank",)}, local.PRIMARY, True),
        (
            dataclasses.replace(STATE, super_read_only=False, semi_sync=SemiSync(source_enabled=True)),
            {},
            local.PRIMARY,
            True,
        ),
        (STATE, {"replicas": 1, "schemas": ("bank",)}, local.STANDALONE, False),
    ],
)
def test_who_may_be_restarted(state: ServerState, changes: dict[str, Any], role: str, serving: bool) -> None:
    found = describe(state, **changes)
    assert (found["role"], found["serving"]) == (role, serving)
