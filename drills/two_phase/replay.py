"""The second server: empty at first, it gets every binary log file of the first one, each once, as it is on disk."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from drills.two_phase.server import Server
from lab.errors import LabError

_PACKET = "--max-allowed-packet=1G"


class Replay:
    """Follows file by file: what was replayed in one round is not replayed again in the next."""

    def __init__(self, source: Server, target: Server) -> None:
        self._source = source
        self._target = target
        self._done: set[str] = set()

    def take(self) -> list[str]:
        """Replay the files that are new and closed: all but the last, which the running server has just begun.

        :returns: what could not be replayed, as sentences.
        """
        new = [path for path in self._source.indexed()[:-1] if path.name not in self._done]
        if not new:
            return []
        self._done |= {path.name for path in new}
        names = " ".join(shlex.quote(self._source.inside(path)) for path in new)
        # The client's own commands are off by default; DELIMITER is one of them.
        command = (
            f"set -o pipefail; mysqlbinlog --no-defaults --verify-binlog-checksum {names}"
            f" | mysql --no-defaults --commands {_PACKET} --binary-mode -u root -S {self._target.socket}"
        )
        try:
            self._target.shell(command)
        except LabError as error:
            return [f"the binary log can not be replayed: {error}"]
        return []

    @property
    def files(self) -> Sequence[str]:
        return sorted(self._done)
