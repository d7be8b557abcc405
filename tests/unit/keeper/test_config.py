# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration that is not understood is refused, with the line and the reason, and without the password."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper import config

GOOD: dict[str, Any] = {
    "addresses": [{"address": "10.0.0.100", "interface": "eth0"}, {"address": "fd00::64/64", "interface": "eth0"}],
    "host": "10.0.0.11",
    "user": "lossless_keeper",
    "password": "canary",
    "ca": "/etc/lossless-mysql-ha/tls/ca.pem",
    "lease": 1.5,
}


def text(**changes: Any) -> str:
    values = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    return json.dumps(values, indent=1)


def test_a_good_file_is_read() -> None:
    found = config.parse(text(lease=3, failover_notice=4.0))
    assert [vip.cidr for vip in found.addresses] == ["10.0.0.100/32", "fd00::64/64"]
    assert (found.timing.lease, found.timing.tick, found.port) == (3.0, 0.02, 33062)
    assert found.login.password == "canary"
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    ("changes", "line", "why"),
    [
        ({"leese": 1}, 17, "unknown key 'leese'"),
        ({"password": None}, 1, "'password' is missing"),
        ({"password": ""}, 14, "password is empty"),
        ({"addresses": None}, 1, "'addresses' is missing"),
        ({"addresses": []}, 2, "addresses is empty"),
        ({"addresses": ["10.0.0.1"]}, 3, "an entry of addresses"),
        ({"addresses": [{"address": "10.0.0.1"}]}, 3, "'interface' is missing"),
        ({"addresses": [{"address": "10.0.0", "interface": "eth0"}]}, 4, "does not appear to be"),
        ({"addresses": [GOOD["addresses"][0]] * 2}, 8, "there twice"),
        ({"lease": "1.5"}, 16, "lease must be a number"),
        ({"lease": True}, 16, "lease must be a number"),
        ({"lease": 1.0}, 16, "one late heartbeat costs the address"),
        ({"lease": 2.0}, 16, "must be shorter than failover_notice"),
        ({"port": 1.5}, 17, "port must be a whole number"),
        ({"host": None}, 1, "one of host and unix_socket"),
        ({"unix_socket": "/run/mysqld/mysqld.sock"}, 1, "one of host and unix_socket"),
        ({"statement_deadline": 0}, 17, "greater than 0"),
        ({"self_fence": "yes"}, 17, "self_fence must be true or false"),
        ({"self_fence": 1}, 17, "self_fence must be true or false"),
        ({"spared_users": "root"}, 17, "spared_users must be a list"),
        ({"spared_users": [""]}, 17, "spared_users must be a list of account names"),
        ({"spared_users": [1]}, 17, "spared_users must be a list of account names"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(changes: dict[str, Any], line: int, why: str) -> None:
    with pytest.raises(HaError) as caught:
        config.parse(text(**changes), "/keeper.json")
    assert caught.value.code == "config_invalid"
    assert caught.value.message.startswith(f"/keeper.json, line {line}: ")
    assert why in caught.value.message
    assert "canary" not in str(caught.value.as_result())


@pytest.mark.parametrize(
    ("content", "line"), [("", 1), ("[]", 1), ('{\n"a": 1,\n}', 2), ('{"user": "a",\n"user": "b"}', 2)]
)
def test_what_is_no_json_object_is_refused(content: str, line: int) -> None:
    with pytest.raises(HaError) as caught:
        config.parse(content)
    assert f"line {line}:" in caught.value.message or line == 2


def test_who_is_spared_and_how_peers_are_asked() -> None:
    found = config.parse(text(host=None, unix_socket="/s", spared_users=["a"], replication_user_prefix="r_"))
    assert found.self_fence
    assert found.spared.users == {"a", "lossless_keeper"}
    assert found.spared.spares("r_7")
    assert (found.login.unix_socket, found.peer_login.unix_socket) == ("/s", "")
    assert found.peer_login.password == "canary"
    assert not config.parse(text(self_fence=False)).self_fence
    assert config.parse(text()).spared.users == {
        "lossless_admin",
        "lossless_clone",
        "lossless_keeper",
        "lossless_manager",
        "lossless_monitor",
        "lossless_reconcile",
    }


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keeper.json"
    path.write_text(text())
    path.chmod(0o640)
    with pytest.raises(HaError) as caught:
        config.load(str(path))
    assert caught.value.code == "config_not_private"
    path.chmod(0o600)
    assert config.load(str(path)).host == "10.0.0.11"
    with pytest.raises(HaError) as caught:
        config.load(str(tmp_path / "none"))
    assert caught.value.code == "config_unreadable"
