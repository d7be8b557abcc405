# SPDX-License-Identifier: BSD-2-Clause
"""What the modes that look at recent rows remember from run to run: where the next one has to begin.

One small file for a cluster. Without a directory nothing is remembered, and each run looks back as far as a first one.

Of the binary log it is remembered by server which transactions were compared there. All servers that have one in their
sets agreed on the rows that it touched, so what all servers of a run have in theirs need not be looked at again,
whichever of them is the primary now. For one that was away, or differed, the others look at theirs again.
"""

from __future__ import annotations

import os
from typing import Any, Collection, Mapping, Optional

from ..binlog.statement_names import Named
from ..errors import HaError
from ..gtid import GtidSet
from . import state_file
from .checkpoint import name_of, question
from .window import Memory

FORMAT = 2


class Remembered:
    """``window``: where it ended, by table and replica (mode ``recent_time``). ``read``: the transactions of which
    every touched row was found the same (mode ``recent_binlog``), by server.

    :param tables: which tables are compared (``include``, ``exclude``); ``read`` counts for these only.
    """

    def __init__(self, directory: str, cluster: str, tables: Mapping[str, Any]) -> None:
        self._tables = question(**tables)
        self._changed = False
        self._path = os.path.join(directory, f"{cluster}.recent.json") if directory else ""
        kept = state_file.read(self._path)
        if kept.get("format") != FORMAT:
            kept = {}
        windows = kept.get("windows")
        self._windows: dict[str, Any] = dict(windows) if isinstance(windows, dict) else {}
        read = kept.get("read")
        self._read = dict(read) if isinstance(read, dict) and kept.get("tables") == self._tables else {}

    def window(self, named: Named, replica: str) -> Optional[Memory]:
        """Where that table's window ended on that replica; None: it is the first."""
        try:
            return Memory.from_state(self._windows[_key(named, replica)])
        except (KeyError, ValueError):
            return None

    def keep_window(self, named: Named, replica: str, memory: Memory) -> None:
        self._windows[_key(named, replica)] = memory.as_state()
        self._changed = True

    def read(self, servers: Collection[str]) -> Optional[GtidSet]:
        """The transactions whose rows are the same on all of these servers that are not ``unknown``; None: all are.

        :param servers: their UUIDs.
        """
        common: Optional[GtidSet] = None
        for uuid in servers:
            known = self._of(uuid)
            if known is not None:
                common = known if common is None else common & known
        return common

    def unknown(self, servers: Collection[str]) -> list[str]:
        """Those that were never compared."""
        return [uuid for uuid in servers if self._of(uuid) is None]

    def _of(self, uuid: str) -> Optional[GtidSet]:
        try:
            return GtidSet.parse(str(self._read[uuid]))
        except (KeyError, HaError):
            return None

    def forget_read(self) -> None:
        """The transactions' numbers began again: those that are remembered are others now."""
        self._read.clear()

    def keep_read(self, servers: Collection[str], gtids: GtidSet) -> None:
        """They hold the same rows, as far as these transactions touched them."""
        self._read.update(dict.fromkeys(servers, str(gtids)))
        self._changed = True

    def save(self) -> None:
        """What was kept since the last time. Without it the next run begins where this one did.

        :raises HaError: ``state_unwritable``.
        """
        if self._changed:
            self._changed = False
            kept = {"format": FORMAT, "windows": self._windows, "tables": self._tables, "read": self._read}
            state_file.write(self._path, kept)


def _key(named: Named, replica: str) -> str:
    return name_of(*named, replica)
