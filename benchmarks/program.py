"""The drill's programs (roles/drill/files) as processes of this machine: a configuration in, JSON lines out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.config import CHECKOUT

FILES = CHECKOUT / "roles" / "drill" / "files"
_STOP_SECONDS = 15.0


class Program:
    """``start()``, then ``stop()``; its lines can be read while it runs and afterwards.

    :param output: the key of the configuration that names the file with its lines.
    :param prefix: a command that runs the program, such as one that enters a network name space.
    :param script: the program, when it is none of the drill's.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        config: Mapping[str, Any],
        *,
        output: str,
        prefix: Sequence[str] = (),
        script: Path | None = None,
    ) -> None:
        self.name = name
        self.directory = directory
        self.lines_file = directory / f"{name}.jsonl"
        self._config = {**config, output: str(self.lines_file)}
        self._prefix = prefix
        self._script = script or FILES / f"{name}.py"
        self._process: subprocess.Popen[bytes] | None = None
        self._read_to = 0

    def start(self) -> None:
        path = self.directory / f"{self.name}.json"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self._config, file)
        command = [*self._prefix, sys.executable, str(self._script), "--config", str(path)]
        with (self.directory / f"{self.name}.stderr").open("w") as errors:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=errors)

    def stop(self) -> None:
        """End it, and wait for that; killed if it takes too long. May be called again."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def ended(self) -> bool:
        """By itself, which it never should."""
        return self._process is None or self._process.poll() is not None

    def new_lines(self) -> list[dict[str, Any]]:
        """The whole lines that were written since this was called the last time."""
        if not self.lines_file.exists():
            return []
        with self.lines_file.open("rb") as file:
            file.seek(self._read_to)
            whole, newline, _rest = file.read().rpartition(b"\n")
        self._read_to += len(whole) + len(newline)
        return [json.loads(text) for text in whole.splitlines()]
