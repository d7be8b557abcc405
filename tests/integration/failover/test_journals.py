# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run left that was killed is taken up by whoever runs next on that host: manager and module share journals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scratch
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.faults import VARIABLE
from test_failover import TABLE, rows, writable
from test_manager_account import MANAGER, PASSWORD, Watching, make_account
from waiting import eventually

_ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def journalled(lossless: Any) -> tuple[Any, Any]:
    cluster, failover = lossless(3)
    s1 = cluster.servers[0]
    make_account(s1)
    s1.sql(*TABLE)
    return cluster, failover


@pytest.fixture
def watch(journalled: Any, tmp_path: Path) -> Iterator[Any]:
    """A manager that keeps its journals where the module does."""
    made: list[Watching] = []

    def start() -> Watching:
        made.append(Watching(journalled[0], tmp_path))
        return made[-1]

    yield start
    for each in made:
        each.close()


def killed(failover: Any, point: str, **options: Any) -> str:
    """A run of the module that dies there. Its journal's name."""
    process = failover.start(fault=point, **options)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    (left,) = (failover.journal / "scratch").glob("*.jsonl")
    return str(left.stem)


def taken_up(found: Watching, run_id: str) -> dict[str, Any]:
    return dict(
        eventually(
            lambda: [r for r in found.manager.recoveries() if r["ended_at"] and run_id in " ".join(r["reasons"])],
        )[0]
    )


def ended(failover: Any, run_id: str) -> bool:
    last = (failover.journal / "scratch" / f"{run_id}.jsonl").read_text().splitlines()[-1]
    return bool(json.loads(last)["what"] == "end")


def test_the_manager_undoes_a_switchover_of_a_module_that_was_killed(journalled: Any, watch: Any) -> None:
    cluster, failover = journalled
    s1, s2, s3 = cluster.servers
    run_id = killed(failover, "block:after", mode="planned", primary="s2")
    assert not writable(s1)
    entry = taken_up(watch(), run_id)
    # It would not replace a primary that lives: it put things right, and says so.
    assert (entry["outcome"], entry["codes"]) == ("refused", ["primary_alive"])
    assert [writable(s) for s in (s1, s2, s3)] == [True, False, False] and ended(failover, run_id)
    s1.sql("INSERT INTO app.ledger VALUES (3, 30)")
    eventually(lambda: rows(s2) == rows(s3) == [1, 2, 3])


def test_the_manager_brings_a_promotion_of_a_module_to_its_end(journalled: Any, watch: Any) -> None:
    cluster, failover = journalled
    s1, s2, s3 = cluster.servers
    run_id = killed(failover, "demote:before", mode="planned", primary="s2")
    entry = taken_up(watch(), run_id)
    assert ended(failover, run_id), entry
    assert [writable(s) for s in (s1, s2, s3)] == [False, True, False]
    s2.sql("INSERT INTO app.ledger VALUES (3, 30)")
    eventually(lambda: rows(s1) == rows(s2) == rows(s3) == [1, 2, 3])


@pytest.mark.parametrize("point", ["freeze:after", "arm:after"])
def test_a_module_goes_on_where_the_manager_was_killed(journalled: Any, tmp_path: Path, point: str) -> None:
    cluster, failover = journalled
    s1, s2, s3 = cluster.servers
    config = tmp_path / "manager.json"
    config.touch(0o600)
    config.write_text(
        json.dumps(
            {
                "listen_address": "",
                "listen_socket": "",
                "state_directory": str(tmp_path / "state"),
                "journal_directory": str(failover.journal),
                "clusters": [
                    {
                        "name": "scratch",
                        "user": MANAGER,
                        "password": PASSWORD,
                        "ca": str(cluster.farm.files / "ca.pem"),
                        "members": [s.as_member() for s in cluster.servers],
                        "replication": {"password": scratch.REPLICATION_PASSWORD, "ca": "/scratch/ca.pem"},
                    }
                ],
            }
        )
    )
    service = "ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.service"
    environment = dict(os.environ, PYTHONPATH=str(_ROOT / "build" / "collections"), **{VARIABLE: point})
    manager = subprocess.Popen(
        [sys.executable, "-m", service, "--config", str(config)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert manager.stdout
    for line in manager.stdout:
        if "healthy" in line:
            break
    s1.kill()
    printed, _none = manager.communicate(timeout=60)
    assert manager.returncode == -signal.SIGKILL, printed
    (left,) = (failover.journal / "scratch").glob("*.jsonl")

    done = failover(mode="emergency", lock_wait=10)
    assert not done.get("failed") and done["zero_loss"] == "proven", done
    assert done["resumed"] == left.stem and ended(failover, left.stem)
    assert sorted([writable(s2), writable(s3)]) == [False, True]
    new = s2 if writable(s2) else s3
    new.sql("INSERT INTO app.ledger VALUES (3, 30)")
    eventually(lambda: rows(s2) == rows(s3) == [1, 2, 3])
