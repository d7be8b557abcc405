# SPDX-License-Identifier: GPL-3.0-or-later
"""A lossless cluster of scratch servers with a stand-in for the keeper, and failovers run as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[3]

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError  # noqa: E402
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.faults import VARIABLE  # noqa: E402
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import schema  # noqa: E402
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Session  # noqa: E402

MODULE = _ROOT / "plugins" / "modules" / "mysql_failover.py"


class Heart:
    """Commits the heartbeat row on one server until that server is gone: what the keeper does, and nothing else."""

    def __init__(self, cluster: Any, number: int, term: int) -> None:
        self._stop = threading.Event()
        self._first = threading.Event()
        member = cluster.members()[number - 1]
        self._thread = threading.Thread(target=self._beat, args=(cluster, member, term), daemon=True)
        self._thread.start()
        assert self._first.wait(10), "no heartbeat was acknowledged"

    def _beat(self, cluster: Any, member: Any, term: int) -> None:
        session = Session.connect(member.name, member.host, member.port, cluster.login, within=5)
        while not self._stop.is_set():
            try:
                schema.write_heartbeat(session, term, within=30)
            except HaError:
                if not session.usable:
                    return
            else:
                self._first.set()
            self._stop.wait(0.3)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(40)


class Failover:
    """The module, run as Ansible runs it: a process with its arguments on standard input."""

    def __init__(self, cluster: Any, scratch: Any, journal: Path) -> None:
        self.cluster = cluster
        self.scratch = scratch
        self.journal = journal

    def arguments(self, **options: Any) -> dict[str, Any]:
        members = [{"name": m.name, "host": m.host, "zone": m.zone, "city": m.city} for m in self.cluster.members()]
        return {
            "cluster": "scratch",
            "members": members,
            "login_user": self.scratch.ADMIN,
            "login_password": self.scratch.ADMIN_PASSWORD,
            "ca_cert": str(self.cluster.farm.files / "ca.pem"),
            "replication_password": self.scratch.REPLICATION_PASSWORD,
            "replication_ca": "/scratch/ca.pem",
            "journal_directory": str(self.journal),
            **options,
        }

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
