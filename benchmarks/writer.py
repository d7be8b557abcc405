"""The application: the drill's writer, a process of its own that writes through the virtual address."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.access import Access
from benchmarks.errors import BenchmarkError
from benchmarks.paths import WORK
from benchmarks.program import Program

_PREFIX = "writer-"
KEPT, FRESH, PAUSE_MS = 8, 2, 50
"""Connections that are kept, and that are made for each transaction; pause of each between two transactions. At most
200 transactions a second: a load under which an applier has nothing left to do."""


def forget() -> None:
    """Remove what the writers of earlier sessions left."""
    for directory in WORK.glob(f"{_PREFIX}*"):
        shutil.rmtree(directory)


class Writer:
    """``with Writer(access) as writer: ...``; its log can be read while it runs and afterwards.

    :param directory: where its files go; a temporary one, removed with the next session's start, when not given.
    :param prefix: see ``Program``.
    :param load: keys of the program's configuration that differ from the benchmarks' light load.
    :param script: another program that is called and says the same as the drill's writer.
    """

    def __init__(
        self,
        reach: Access,
        directory: Path | None = None,
        *,
        prefix: Sequence[str] = (),
        load: Mapping[str, Any] | None = None,
        script: Path | None = None,
    ) -> None:
        if not reach.address:
            raise BenchmarkError("the cluster has no virtual address (mysql_ha_vip_addresses): deploy site.yml first")
        config = {
            "address": reach.address,
            "user": reach.writer.user,
            "password": reach.writer.password,
            "tls_ca": reach.ca,
            "connections": KEPT,
            "fresh_connections": FRESH,
            "pause_ms": PAUSE_MS,
            **(load or {}),
        }
        place = directory or Path(tempfile.mkdtemp(prefix=_PREFIX, dir=WORK))
        self.program = Program("writer", place, config, output="log", prefix=prefix, script=script)
        self._acknowledged: dict[str, list[dict[str, Any]]] = {}

    def __enter__(self) -> Writer:
        self.program.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.program.stop()

    def acknowledged(self, server_uuid: str, after: float = 0.0) -> list[dict[str, Any]]:
        """Outcomes of transactions that this server acknowledged, so far, in the order in which they ended.

        :param after: only those that ended after this moment, in seconds since the epoch.
        """
        self._read()
        found = [line for line in self._acknowledged.get(server_uuid, []) if line["ended_wall"] > after]
        return sorted(found, key=lambda line: float(line["ended"]))

    def _read(self) -> None:
        for line in self.program.new_lines():
            if line["type"] == "outcome" and line["outcome"] == "acknowledged":
                self._acknowledged.setdefault(line["server_uuid"], []).append(line)

    def elsewhere(self, server_uuid: str) -> list[dict[str, Any]]:
        """As ``acknowledged``, by any server but this one."""
        self._read()
        found = [line for uuid, lines in self._acknowledged.items() if uuid != server_uuid for line in lines]
        return sorted(found, key=lambda line: float(line["ended"]))

    def last_acknowledgement(self) -> float:
        """When anybody acknowledged anything for the last time, in seconds since the epoch; 0 for never."""
        self.acknowledged("")
        return max((float(lines[-1]["ended_wall"]) for lines in self._acknowledged.values()), default=0.0)

    def wait(self, server_uuid: str, count: int, within: float, after: float = 0.0) -> list[dict[str, Any]]:
        """Wait until that server has acknowledged so many transactions.

        :raises BenchmarkError: not in that time, or the writer has ended.
        """
        return self._until(lambda: self.acknowledged(server_uuid, after), server_uuid, count, within)

    def wait_elsewhere(self, server_uuid: str, count: int, within: float) -> list[dict[str, Any]]:
        """As ``wait``, for any server but this one."""
        return self._until(lambda: self.elsewhere(server_uuid), f"others than {server_uuid}", count, within)

    def _until(
        self, look: Callable[[], list[dict[str, Any]]], by: str, count: int, within: float
    ) -> list[dict[str, Any]]:
        ends = time.monotonic() + within
        while True:
            found = look()
            if len(found) >= count:
                return found
            if self.program.ended or time.monotonic() > ends:
                raise BenchmarkError(
                    f"{len(found)} of {count} transactions were acknowledged by {by} within {within:g} s;"
                    f" the writer's log is in {self.program.directory}"
                )
            time.sleep(0.05)
