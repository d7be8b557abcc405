# SPDX-License-Identifier: BSD-2-Clause
"""Looking for runs that were interrupted, from outside: who watches wants to know, and changes nothing by looking."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from typing import Callable, Optional

from .. import durable_file
from . import journal
from .journal import Unfinished

QUIET = 10.0
"""Seconds for which a journal was not written to, before it is asked whether its run is alive. Somebody who starts a
run may find the lock taken in the moment of asking; and who interrupted a run may be about to run it again."""


class Interrupted:
    """The journals on this host, of whatever user. Not for two threads. ``wall``: an argument for tests.

    A journal that has ended is read once: it does not change any more.
    """

    def __init__(self, directory: str, *, wall: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._wall = wall
        self._ended: set[tuple[str, int, int]] = set()

    def of(self, cluster: str) -> Optional[Unfinished]:
        """The newest run of that cluster that has not ended, and that nobody is at work on.

        :raises HaError: ``journal_damaged``, ``journal_unreadable``, ``journal_unwritable``: every run will be refused
            because of it.
        """
        place = journal.place_of(self._directory, cluster)
        if not _usable(place):
            return None
        for name in journal.names_of_runs(place):
            stamp, written_at = _stamp(os.path.join(place, name))
            if stamp in self._ended:
                continue
            run = journal.read_run(place, name)
            if run is None:
                # Of one that has not begun more may come.
                if abs(self._wall() - written_at) >= QUIET:
                    self._ended.add(stamp)
                continue
            if abs(self._wall() - written_at) < QUIET or _alive(os.path.join(place, journal.LOCK)):
                return None
            return run
        return None


def _usable(place: str) -> bool:
    """Whether a cluster's directory is there. If not, a run has to be able to make it.

    :raises HaError: ``journal_unwritable``.
    """
    there = os.path.abspath(place)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    found = there == os.path.abspath(place)
    lock = os.path.join(place, journal.LOCK)
    for path in (there, *([lock] if found and os.path.lexists(lock) else [])):
        if not os.access(path, os.R_OK | os.W_OK | (0 if path == lock else os.X_OK)):
            raise journal.unwritable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return found


def _stamp(path: str) -> tuple[tuple[str, int, int], float]:
    try:
        about = os.stat(path, follow_symlinks=False)
    except OSError as error:
        raise journal.unreadable(path, error) from error
    return (path, about.st_mtime_ns, about.st_size), about.st_mtime


def _alive(path: str) -> bool:
    """Whether a run holds the lock of this host."""
    try:
        handle = durable_file.open_file(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise journal.unreadable(path, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
