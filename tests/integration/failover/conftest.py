# SPDX-License-Identifier: GPL-3.0-or-later
"""A lossless cluster of scratch servers with a stand-in for the keeper, and failovers run as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.faults import VARIABLE
from heart import Heart

_ROOT = Path(__file__).resolve().parents[3]
MODULE = _ROOT / "plugins" / "modules" / "mysql_failover.py"


class Failover:
    """The module, run as Ansible runs it: a process with its arguments on standard input."""

    def __init__(self, cluster: Any, scratch: Any, journal: Path) -> None:
        self.cluster = cluster
        self.scratch = scratch
        self.journal = journal

    def arguments(self, **options: Any) -> dict[str, Any]:
        given = self.cluster.arguments("mysql_failover", journal_directory=str(self.journal))
        return {**given, **options}

    def start(self, *, fault: str = "", check: bool = False, **options: Any) -> subprocess.Popen[str]:
        given = self.arguments(**options)
        given["_ansible_check_mode"] = check
        environment = dict(os.environ, PYTHONPATH=str(_ROOT / "build" / "collections"))
        environment.pop(VARIABLE, None)
        if fault:
            environment[VARIABLE] = fault
        process = subprocess.Popen(
            [sys.executable, str(MODULE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert process.stdin
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": given}))
        process.stdin.close()
        process.stdin = None
        return process

    def result(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        out, err = process.communicate(timeout=60)
        assert self.scratch.ADMIN_PASSWORD not in out + err
        assert self.scratch.REPLICATION_PASSWORD not in out + err
        assert out, err
        return dict(json.loads(out))

    def __call__(self, **options: Any) -> dict[str, Any]:
        return self.result(self.start(**options))


@pytest.fixture
def lossless(fresh: Any, tmp_path: Path) -> Iterator[Any]:
    """``lossless(3)``: a cluster with a beating heart on s1, as ``(cluster, failover)``."""
    hearts: list[Heart] = []

    def make(count: int = 3, **wish: Any) -> tuple[Any, Failover]:
        import scratch

        cluster = fresh(count)
        cluster.converge(**wish)
        hearts.append(Heart(cluster, 1, 1))
        cluster.heart = hearts[-1]
        cluster.new_heart = lambda number, term: hearts.append(Heart(cluster, number, term))
        return cluster, Failover(cluster, scratch, tmp_path / "journal")

    yield make
    for heart in hearts:
        heart.stop()
