# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration that is not understood is refused, with the line and the reason, and without a secret."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import config
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.policy import Window

from .samples import cluster_file, manager_file


def parsed(values: dict[str, Any]) -> config.Config:
    return config.parse(json.dumps(values, indent=1))


def test_a_good_file_is_read() -> None:
    found = parsed(manager_file())
    (cluster,) = found.clusters
    assert found.cluster("ledger") is cluster and found.cluster("other") is None
    assert (cluster.login.password, cluster.replication.password) == ("canary-login", "canary-replication")
    assert (cluster.members[0].port, cluster.never, cluster.rules.automatic) == (33062, ("db3",), True)
    assert cluster.before[0].run == ("/bin/true",) and cluster.after[0].url.startswith("https://")
    assert cluster.rules.maintenance == (
        Window("disks", 1795298400.0, 1795312800.0),
        Window("nightly", 79200.0, 7200.0, (4, 5)),
    )
    assert "canary" not in repr(found)


def test_the_preferred_zone_comes_before_every_priority() -> None:
    cluster = parsed(manager_file(clusters=[cluster_file(preferred_zone="a")])).clusters[0]
    by_name = {m.name: m.priority for m in cluster.candidates}
    assert by_name["db1"] > by_name["db2"] and by_name["db1"] == by_name["db3"]
    assert [m.priority for m in cluster.members] == [100, 200, 100]


def test_a_dry_run_of_the_manager_is_one_of_every_cluster() -> None:
    assert parsed(manager_file(dry_run=True)).clusters[0].rules.dry_run
    assert parsed(manager_file(clusters=[cluster_file(dry_run=True)])).clusters[0].rules.dry_run


def members(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": f"db{n}", "host": f"h{n}", **change} for n, change in enumerate(changes, 1)]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"nonsense": 1}, '"nonsense"', "unknown key 'nonsense'"),
    ({"clusters": []}, '"clusters"', "nothing to watch"),
    ({"clusters": [cluster_file(), cluster_file()]}, "", "'ledger' is there twice"),
    ({"listen_port": 70000}, '"listen_port"', "between 1 and 65535"),
    ({"recoveries_at_once": 0}, '"recoveries_at_once"', "at least 1"),
    ({"tick": 0.1}, '"name": "ledger"', "deadline (0.4 s) must be shorter"),
    ({"tick": "fast"}, '"tick"', "must be a number"),
    ({"dry_run": 1}, '"dry_run"', "true or false"),
]
WRONG_CLUSTER: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ""}, '"name": ""', "name is empty"),
    ({"user": None}, "", "the key 'user' is missing"),
    ({"members": []}, '"members"', "members is empty"),
    ({"members": ["db1"]}, '"db1"', "members must be an object"),
    ({"members": members({}, {"name": "db1"})}, "", "'db1' is there twice"),
    ({"members": members({}, {"host": "h1"})}, "", "one address"),
    ({"members": members({"port": 0})}, '"port"', "between 1 and 65535"),
    ({"members": members({"never": True})}, '"members"', "every member is never"),
    ({"members": members({"never": "yes"})}, '"never"', "true or false"),
    ({"members": members({"prio": 1})}, '"prio"', "unknown key"),
    ({"thresholds": {"silence": 0.5}}, '"silence"', "at least three ticks"),
    ({"thresholds": {"tick": 1.0}}, '"tick"', "unknown key"),
    ({"thresholds": {"stall": -1}}, '"stall"', "greater than 0"),
    ({"replication_cut": {"after": 1.0}}, '"after"', "shorter than stall"),
    ({"replication_cut": {"act": "yes"}}, '"act"', "true or false"),
    ({"lower_k": "always"}, '"lower_k"', "one of never, to_remaining"),
    ({"acknowledgement": "tape"}, '"acknowledgement"', "one of disk, memory"),
    ({"cooldown": -1}, '"cooldown"', "greater than 0"),
    ({"stall_timeout": 0}, '"stall_timeout"', "greater than 0"),
    ({"preferred_zone": "z"}, '"preferred_zone"', "no member"),
    ({"password_file": "/nowhere"}, '"password_file"', "one of password and password_file"),
    ({"hooks": {"during": []}}, '"during"', "unknown key"),
    ({"hooks": {"before": [{"name": "x"}]}}, "", "one of run and url"),
    ({"hooks": {"before": [{"name": "x", "run": ["rm -rf"]}]}}, '"run"', "absolute path"),
    ({"hooks": {"before": [{"name": "x", "run": ["/bin/x", 1]}]}}, "", "run must be a text"),
    ({"hooks": {"after": [{"name": "x", "url": "file:///canary-url"}]}}, '"url"', "http"),
    ({"hooks": {"after": [{"name": "x", "url": "http://x", "timeout": 0}]}}, '"timeout"', "greater than 0"),
    ({"maintenance": [{"reason": "x", "from": "today", "until": "later"}]}, '"from"', "a time in UTC"),
    ({"maintenance": [{"reason": "x", "from": "25:00", "until": "02:00", "days": ["mon"]}]}, '"from"', "of day"),
    ({"maintenance": [{"reason": "x", "from": "22:00", "until": "02:00", "days": ["monday"]}]}, '"days"', "mon"),
    (
        {"maintenance": [{"reason": "x", "from": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}]},
        '"until"',
        "after from",
    ),
    ({"replication": {"pasword": "canary-typo"}}, '"pasword"', "unknown key"),
]
ALL = [*WRONG, *(({"clusters": [cluster_file(**changes)]}, mark, why) for changes, mark, why in WRONG_CLUSTER)]


@pytest.mark.parametrize(("changes", "mark", "why"), ALL)
def test_what_is_wrong_is_said_with_its_line(changes: dict[str, Any], mark: str, why: str) -> None:
    text = json.dumps(manager_file(**changes), indent=1)
    with pytest.raises(HaError) as caught:
        config.parse(text, "/manager.json")
    error = caught.value
    assert error.code == "config_invalid"
    assert why in error.message
    assert "canary" not in str(error.as_result())
    if mark:
        lines = [n for n, line in enumerate(text.splitlines(), 1) if mark in line]
        said = int(error.message.split("line ")[1].split(":")[0])
        # What is not given has the line of what would hold it: the cluster's first.
        assert said in lines or said + 1 in lines, (error.message, lines)


def test_every_key_is_documented() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "manager.md").read_text()
    documented = set()
    for line in text.split("## Configuration")[1].split("## What it costs")[0].splitlines():
        if line.startswith("|"):
            documented |= set(re.findall(r"`([^`]+)`", line.split("|")[1]))
    known: set[str] = set()
    for name in ("TOP", "CLUSTER", "MEMBER", "REPLICATION", "HOOK", "WINDOW"):
        for kind in ("REQUIRED", "OPTIONAL"):
            known |= set(getattr(config, f"_{name}_{kind}", {}))
    assert documented == known, documented ^ known
    thresholds = text.split("### Thresholds")[1].split("## ")[0]
    for name, (_kind, default) in {**config._THRESHOLDS, "tick": (None, config.Timing.tick)}.items():
        assert f"| `{name}` | {default} |" in thresholds, name


def test_passwords_in_files_of_their_own(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("from-a-file\n")
    secret.chmod(0o600)
    values = manager_file(clusters=[cluster_file(password=None, password_file=str(secret))], token="")
    values["token_file"] = str(secret)
    found = parsed(values)
    assert (found.clusters[0].login.password, found.token) == ("from-a-file", "from-a-file")
    secret.chmod(0o644)
    with pytest.raises(HaError) as caught:
        parsed(values)
    assert caught.value.code == "config_not_private"


def test_a_file_that_is_not_there_or_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manager.json"
    with pytest.raises(HaError) as caught:
        config.load(str(path))
    assert caught.value.code == "config_unreadable"
    path.write_text(json.dumps(manager_file()))
    path.chmod(0o640)
    with pytest.raises(HaError) as caught:
        config.load(str(path))
    assert caught.value.code == "config_not_private"
    path.chmod(0o600)
    assert config.load(str(path)).clusters
