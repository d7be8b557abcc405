"""The hosts of the lab, past the network: commands, faults and their way back."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from typing import Any

from benchmarks.errors import BenchmarkError
from lab import config, faults, hosts
from lab.errors import LabError

KILLED = "mysqld_kill_no_restart"


class Hosts:
    def __init__(self) -> None:
        try:
            self.lab = faults.open_lab(config.load())
        except LabError as error:
            raise BenchmarkError(str(error)) from error

    @property
    def names(self) -> list[str]:
        return hosts.names(self.lab.client, self.lab.config)

    def kill(self, name: str) -> None:
        """kill -9; returns when the process is gone. systemd does not start it again."""
        self.inject(name, KILLED)

    def inject(self, name: str, fault: str, options: Mapping[str, Any] | None = None) -> None:
        """:raises LabError: it had no effect."""
        faults.inject(faults.Target(self.lab, name, **(options or {})), fault)

    def heal(self, name: str | None = None, fault: str | None = None) -> None:
        """Undo one fault or all, on one host or on all."""
        faults.heal(self.lab, name, fault)

    def revive(self) -> None:
        """Start every mysqld that was killed, on any database host."""
        for name in self.lab.config.db_names:
            self.heal(name, KILLED)

    def run(self, name: str, *command: str, check: bool = True) -> str:
        """Run a command on a host; returns what it said.

        :raises LabError: with ``check``, when it failed.
        """
        return hosts.execute(hosts.container(self.lab.client, self.lab.config, name), list(command), check=check)

    def put(self, name: str, directory: str, file: str, text: str) -> None:
        """Write a file of root's that nobody else reads; not into a tmpfs."""
        content = text.encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            entry = tarfile.TarInfo(file)
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
        hosts.container(self.lab.client, self.lab.config, name).put_archive(directory, archive.getvalue())

    def runs(self, name: str) -> bool:
        """Whether the host itself runs: neither gone nor frozen."""
        return bool(hosts.container(self.lab.client, self.lab.config, name).status == "running")

    def mysqld_runs(self, name: str) -> bool:
        """Whether there is a mysqld process on that host, in whatever state."""
        return self.run(name, "systemctl", "show", "-P", "MainPID", faults.UNIT) != "0"

    def network_of(self, name: str) -> tuple[str, ...]:
        """The command that runs another one in that host's network, with everything else of this machine.

        :raises BenchmarkError: the host does not run.
        """
        return ("nsenter", "--net", f"--target={self.pid(name)}", "--")

    def pid(self, name: str) -> int:
        """The host's first process, as this machine numbers it.

        :raises BenchmarkError: the host does not run.
        """
        container = hosts.container(self.lab.client, self.lab.config, name)
        pid = int(container.attrs["State"]["Pid"])
        if not pid:
            raise BenchmarkError(f"{name} does not run")
        return pid
