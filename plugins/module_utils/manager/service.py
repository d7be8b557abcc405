# SPDX-License-Identifier: BSD-2-Clause
"""The manager as a process: ``python3 -m ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.service``.

``--check`` reads the configuration and says what is wrong with it. Otherwise it runs until SIGTERM; SIGHUP, or a change
of the file, makes it read the file again. A file that is wrong is said, and the old settings stay in force.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import threading
from typing import Any, Callable, Optional, Protocol, Sequence

from ..errors import HaError
from . import config, http
from .config import Config
from .desk import Desk
from .history import History
from .watch import ERROR, INFO, Manager, Say

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: the unit does not start it again, for it would fail again."""

LOOK_AT_FILE_EVERY = 2.0
"""Seconds."""


OPEN_FILES = 65536
"""At most, where the system allows it: the usual 1024 is enough for 300 clusters of 3 and no more."""


class Face(Protocol):
    """What ``serve`` returns: the running HTTP service."""

    def close(self) -> None: ...


Serve = Callable[[Desk, Config, Say], Face]
"""Starts the HTTP service on what the configuration says, in threads of its own. Raises ``HaError``."""

# What is read once, at the start.
_FIXED = ("listen_address", "listen_port", "listen_socket", "token", "state_directory", "recoveries_at_once")


def say(priority: int, text: str) -> None:
    """One readable line for the journal; journald reads the priority from its ``<6>``."""
    sys.stderr.write(f"<{priority}>{text}\n")
    sys.stderr.flush()


class Reloader:
    """Reads the configuration again when it is asked to, or when the file is another one. In a thread of its own."""

    def __init__(self, path: str, current: Config, manager: Manager, say_line: Say) -> None:
        self._path = path
        self._current = current
        self._manager = manager
        self._say = say_line
        self._wanted = threading.Event()
        self._end = threading.Event()
        self._seen = _stamp(path)
        self._thread = threading.Thread(target=self._run, name="reloader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self) -> None:
        """Read it now. From any thread, and from a signal."""
        self._wanted.set()

    def stop(self) -> None:
        self._end.set()
        self._wanted.set()

    def _run(self) -> None:
        while not self._end.is_set():
            asked = self._wanted.wait(LOOK_AT_FILE_EVERY)
            self._wanted.clear()
            if not self._end.is_set():
                self.look(asked)

    def look(self, asked: bool) -> None:
        """Take the file over if it has changed, or if that was asked for."""
        stamp = _stamp(self._path)
        if stamp == self._seen and not asked:
            return
        self._seen = stamp
        try:
            fresh = config.load(self._path)
        except HaError as error:
            self._say(ERROR, f"the old settings stay in force: {error}")
            return
        if fresh == self._current:
            return
        fixed = [name for name in _FIXED if getattr(fresh, name) != getattr(self._current, name)]
        if fixed:
            self._say(ERROR, f"{', '.join(fixed)}: changed in {self._path}, in force after a restart")
        self._current = fresh
        self._manager.reload(fresh)
        self._say(INFO, f"{self._path} was read again: {len(fresh.clusters)} clusters")


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def run(path: str, settings: Config, serve: Serve) -> None:
    """Watch until SIGTERM or SIGINT.

    :raises HaError: it can not begin: ``history_unwritable``, ``manager_runs_already``, or what ``serve`` raises.
    """
    _allow_files()
    history = History(settings.state_directory)
    try:
        manager = Manager(settings, history, say)
        reloader = Reloader(path, settings, manager, say)

        def on_stop(_number: int, _frame: Any) -> None:
            manager.stop()

        def on_reload(_number: int, _frame: Any) -> None:
            reloader.ask()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_stop)
        signal.signal(signal.SIGHUP, on_reload)
        served: Optional[Face] = None
        try:
            served = serve(manager, settings, say)
            reloader.start()
            members = sum(len(c.members) for c in settings.clusters)
            say(INFO, f"watching {len(settings.clusters)} clusters, {members} members")
            manager.run()
            say(INFO, "ending")
        finally:
            reloader.stop()
            if served is not None:
                served.close()
            manager.close()
    finally:
        history.close()


def face(desk: Desk, settings: Config, say_line: Say) -> Face:
    """The HTTP service as configured."""
    return http.serve(
        desk,
        address=settings.listen_address,
        port=settings.listen_port,
        socket_path=settings.listen_socket,
        token=settings.token,
        say=say_line,
    )


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main(arguments: Optional[Sequence[str]] = None, serve: Serve = face) -> int:
    parser = argparse.ArgumentParser(prog="mysql-ha-manager", description="Watches MySQL clusters and fails over.")
    parser.add_argument("--config", default=config.PATH, help=f"the configuration file (default {config.PATH})")
    parser.add_argument("--check", action="store_true", help="only check the configuration")
    options = parser.parse_args(arguments)
    try:
        settings = config.load(options.config)
        if not options.check:
            run(options.config, settings, serve)
    except HaError as error:
        say(ERROR, str(error))
        return EXIT_CONFIG if error.code.startswith("config_") else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
