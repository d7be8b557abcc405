# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible runs it: check mode, diff, idempotence, refusals, and no secret in anything it prints."""

from __future__ import annotations

from typing import Any

from playing import run_module


def run(cluster: Any, *, check: bool = False, fails: bool = False, **options: Any) -> tuple[dict[str, Any], str]:
    name = "mysql_replication"
    return run_module(name, cluster.arguments(name, **options), check=check, fails=fails)


def test_check_mode_plans_diff_shows_and_the_second_run_changes_nothing(fresh: Any) -> None:
    cluster = fresh(3)
    s1, _s2, _s3 = cluster.servers
    planned, _printed = run(cluster, check=True)
    assert planned["changed"]
    assert s1.value("@@GLOBAL.gtid_executed") == ""
    assert planned["diff"]["before"].splitlines()[0] == "primary: s1"
    assert "waits for 1 acknowledgements" in planned["diff"]["after"]
    done, printed = run(cluster)
    assert done["changed"]
    assert done["plan"] == planned["plan"]
    assert (done["primary"], done["n"], done["k"], done["term"]) == ("s1", 2, 1, 1)
    assert {level["level"]: level["survived"] for level in done["durability"]["levels"]} == {
        "host": True,
        "zone": True,
        "city": False,
    }
    for secret in ("canary", "pass%s"):
        assert secret not in printed
    again, _printed = run(cluster)
    assert not again["changed"]
    assert "diff" not in again or again["diff"]["before"] == again["diff"]["after"]


def test_a_refusal_fails_with_every_reason(fresh: Any) -> None:
    cluster = fresh(3)
    cluster.servers[0].sql("SET GLOBAL super_read_only = OFF", "CREATE DATABASE app", "CREATE TABLE app.no_key (v INT)")
    result, printed = run(cluster, fails=True, survive=["host", "city"])
    codes = [reason["code"] for reason in result["evidence"]["reasons"]]
    assert set(codes) == {"disaster_level_not_survived", "tables_without_primary_key"}, result["msg"]
    assert result["code"] in codes
    assert "app.no_key" in result["msg"]
    assert "canary" not in printed
