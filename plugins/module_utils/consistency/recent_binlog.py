# SPDX-License-Identifier: BSD-2-Clause
"""The rows of one table that a binary log touched, looked at one by one on both servers.

Which rows these are was read from the log's files (``touched``), so it costs the servers nothing to find out, and it
finds deletes. It is blind to what a replica changed by itself in rows that the log did not touch.
"""

from __future__ import annotations

import functools
import time
from typing import Callable, Iterable, Iterator, Mapping

from ..server.session import Session
from . import findings
from .questions import Key, Table
from .recheck import BATCH
from .whole import Limits, WholeTable


class RecentByBinlog(WholeTable):
    """One table with a key, on the primary and its replicas.

    :param keys: of the rows, each once, in the order of the table's key; ``number`` of them.
    """

    mode = findings.RECENT_BINLOG

    def __init__(
        self,
        table: Table,
        keys: Iterable[Key],
        number: int,
        primary: Session,
        replicas: Mapping[str, Session],
        limits: Limits,
        *,
        reveal: bool = False,
        before_range: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(
            table, primary, replicas, limits, reveal=reveal, before_range=before_range, clock=clock, sleep=sleep
        )
        self._keys = keys
        self._number = number

    def _all(self) -> str:
        for batch in _batches(self._keys):
            if self._clock() >= self._limits.until:
                return "the time for this run is over"
            if all(self._enough(replica) for replica in self._replicas.values()):
                return "so much differs that it was not read to its end"
            self._before_range()
            for replica in self._replicas.values():
                if not self._enough(replica):
                    self._guarded(replica, functools.partial(replica.recheck.add, batch))
            self._rows += len(batch)
            self._covered = self._rows / max(self._number, 1)
        self._covered = 1.0
        return ""


def _batches(keys: Iterable[Key]) -> Iterator[list[Key]]:
    batch: list[Key] = []
    for key in keys:
        batch.append(key)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
