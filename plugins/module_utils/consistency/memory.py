# SPDX-License-Identifier: BSD-2-Clause
"""What the modes that look at recent rows remember from run to run: where the next one has to begin.

One small file for a cluster. Without a directory nothing is remembered, and each run looks back as far as a first one.
What is forgotten is only ever compared again.
"""

from __future__ import annotations

import os
from typing import Any, Optional

from ..binlog.statement_objects import Named
from ..errors import HaError
from ..gtid import EMPTY, GtidSet
from . import state_file
from .window import Memory

FORMAT = 1


class Remembered:
    """``window``: where it ended, by table and replica (mode ``recent_time``). ``read``: the transactions of which
    every touched row was found the same on all replicas (mode ``recent_binlog``).

    :param question: what is asked, as a digest; ``read`` counts for that only.
    """

    def __init__(self, directory: str, cluster: str, question: str) -> None:
        self._question = question
        self._changed = False
        self._path = os.path.join(directory, f"{cluster}.recent.json") if directory else ""
        kept = state_file.read(self._path)
        if kept.get("format") != FORMAT:
            kept = {}
        windows = kept.get("windows")
        self._windows: dict[str, Any] = dict(windows) if isinstance(windows, dict) else {}
        try:
            self.read = GtidSet.parse(str(kept.get("read", "")) if kept.get("question") == question else "")
        except HaError:
            self.read = EMPTY

    def window(self, named: Named, replica: str) -> Optional[Memory]:
        """Where that table's window ended on that replica; None: it is the first."""
        try:
            return Memory.from_state(self._windows[_key(named, replica)])
        except (KeyError, ValueError):
            return None

    def keep_window(self, named: Named, replica: str, memory: Memory) -> None:
        self._windows[_key(named, replica)] = memory.as_state()
        self._changed = True

    def keep_read(self, gtids: GtidSet) -> None:
        self.read = gtids
        self._changed = True

    def save(self) -> None:
        """What was kept since the last time. Without it the next run begins where this one did.

        :raises HaError: ``state_unwritable``.
        """
        if self._changed:
            self._changed = False
            kept = {"format": FORMAT, "windows": self._windows, "question": self._question, "read": str(self.read)}
            state_file.write(self._path, kept)


def _key(named: Named, replica: str) -> str:
    return f"{named.schema}.{named.table} {replica}"
