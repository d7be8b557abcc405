"""Killing mysqld, and undoing that: the lab's fault ``mysqld_kill_no_restart``."""

from __future__ import annotations

from benchmarks.errors import BenchmarkError
from lab import config, faults, hosts
from lab.errors import LabError

_FAULT = "mysqld_kill_no_restart"


class Hosts:
    """The hosts of the lab, past the network."""

    def __init__(self) -> None:
        try:
            self._lab = faults.open_lab(config.load())
        except LabError as error:
            raise BenchmarkError(str(error)) from error

    def kill(self, name: str) -> None:
        """kill -9; returns when the process is gone. systemd does not start it again."""
        faults.inject(faults.Target(self._lab, name), _FAULT)

    def heal(self) -> None:
        """Start every mysqld that was killed, on any host."""
        for name in self._lab.config.db_names:
            faults.heal(self._lab, name, _FAULT)

    def run(self, name: str, *command: str) -> str:
        """Run a command on a host; returns what it said."""
        return hosts.execute(hosts.container(self._lab.client, self._lab.config, name), list(command))
