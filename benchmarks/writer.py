"""The application: the drill's writer, a process of its own that writes through the virtual address."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.access import Access
from benchmarks.errors import BenchmarkError
from benchmarks.paths import WORK
from lab.config import CHECKOUT

_PREFIX = "writer-"
PROGRAM = CHECKOUT / "roles" / "drill" / "files" / "writer.py"
KEPT, FRESH, PAUSE_MS = 8, 2, 50
"""Connections that are kept, and that are made for each transaction; pause of each between two transactions. At most
200 transactions a second: a load under which an applier has nothing left to do."""

_STOP_SECONDS = 15.0


def forget() -> None:
    """Remove what the writers of earlier sessions left."""
    for directory in WORK.glob(f"{_PREFIX}*"):
        shutil.rmtree(directory)


class Writer:
    """``with Writer(access) as writer: ...``; its log can be read while it runs and afterwards."""

    def __init__(self, reach: Access) -> None:
        if not reach.address:
            raise BenchmarkError("the cluster has no virtual address (mysql_ha_vip_addresses): deploy site.yml first")
        self._directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=WORK))
        self._log = self._directory / "log.jsonl"
        self._config = {
            "address": reach.address,
            "user": reach.writer.user,
            "password": reach.writer.password,
            "tls_ca": reach.ca,
            "log": str(self._log),
            "connections": KEPT,
            "fresh_connections": FRESH,
            "pause_ms": PAUSE_MS,
        }

    def __enter__(self) -> Writer:
        path = self._directory / "config.json"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self._config, file)
        self._errors = (self._directory / "stderr").open("w")
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "--config", str(path)], stdin=subprocess.DEVNULL, stderr=self._errors
        )
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def acknowledged(self, server_uuid: str) -> list[dict[str, Any]]:
        """Outcomes of transactions that this server acknowledged, so far, in the order in which they ended."""
        found = [
            line
            for line in self._lines()
            if line["type"] == "outcome" and line["outcome"] == "acknowledged" and line["server_uuid"] == server_uuid
        ]
        return sorted(found, key=lambda line: float(line["ended"]))

    def wait(self, server_uuid: str, count: int, within: float) -> list[dict[str, Any]]:
        """Wait until that server has acknowledged so many transactions.

        :raises BenchmarkError: not in that time, or the writer has ended.
        """
        ends = time.monotonic() + within
        while True:
            found = self.acknowledged(server_uuid)
            if len(found) >= count:
                return found
            if self._process.poll() is not None or time.monotonic() > ends:
                raise BenchmarkError(
                    f"{len(found)} of {count} transactions were acknowledged by {server_uuid} within {within:g} s;"
                    f" the writer's log is in {self._directory}"
                )
            time.sleep(0.05)

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self._log.exists():
            return
        with self._log.open() as file:
            for text in file:
                if text.endswith("\n"):
                    yield json.loads(text)
