# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible runs it: check mode, diff, idempotence, refusals, and no secret in anything it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import scratch

ROOT = Path(__file__).resolve().parents[3]


def run(
    cluster: Any, *, check: bool = False, expect_failure: bool = False, **options: Any
) -> tuple[dict[str, Any], str]:
    """One run of the module through ansible; its result, and everything it printed with -vvv."""
    arguments = {
        "cluster": "scratch",
        "members": [s.as_member(zone=f"z{s.number}", city="one") for s in cluster.servers],
        "login_password": scratch.ADMIN_PASSWORD,
        "ca_cert": str(cluster.farm.files / "ca.pem"),
        "replication_password": scratch.REPLICATION_PASSWORD,
        "replication_ca": "/scratch/ca.pem",
        "clone_password": scratch.CLONE_PASSWORD,
        **options,
    }
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "tasks": [{"name": "Converge", "lossless.mysql_ha.mysql_replication": arguments}],
        }
    ]
    book = cluster.farm.files / "play.json"
    book.write_text(json.dumps(play))
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-c", "local", "-vvv", "--diff", str(book)] + ["--check"] * check,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections"),
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_NOCOLOR": "1",
            "PATH": f"{ROOT / 'build' / 'venv' / 'bin'}:{os.environ['PATH']}",
        },
    )
    assert (done.returncode != 0) == expect_failure, done.stdout[-3000:] + done.stderr[-2000:]
    marker = "FAILED! => " if expect_failure else "localhost] => "
    tail = done.stdout[done.stdout.rindex(marker) + len(marker) :]
    result, _end = json.JSONDecoder().raw_decode(tail)
    return result, done.stdout + done.stderr


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
        assert secret not in printed.replace("play.json", "")
    again, _printed = run(cluster)
    assert not again["changed"]
    assert "diff" not in again or again["diff"]["before"] == again["diff"]["after"]


def test_a_refusal_fails_with_every_reason(fresh: Any) -> None:
    cluster = fresh(3)
    cluster.servers[0].sql("SET GLOBAL super_read_only = OFF", "CREATE DATABASE app", "CREATE TABLE app.no_key (v INT)")
    result, printed = run(cluster, expect_failure=True, survive=["host", "city"])
    codes = [reason["code"] for reason in result["evidence"]["reasons"]]
    assert set(codes) == {"disaster_level_not_survived", "tables_without_primary_key"}, result["msg"]
    assert result["code"] in codes
    assert "app.no_key" in result["msg"]
    assert "canary" not in printed
