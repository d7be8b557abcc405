# SPDX-License-Identifier: BSD-2-Clause
"""The journal of one run: what it is about to do, on disk before it does it.

One file a run, ``<directory>/<cluster>/<run_id>.jsonl``; one JSON object a line; each line is on disk (fsync) before
the call returns. A run has ended when its last record is ``end``. A run that was killed leaves a journal without one:
the next run reads it, for two things that can not be seen on the servers any more: which receivers were stopped by us,
and the evidence of the proof that the promotion itself wipes out.

Two runs on one host are kept apart by a lock on a file; runs on several hosts by the locks on the servers.

Runs on one host may be of different users: the manager has one of its own, and a module runs as whoever Ansible
becomes. What one of them left is taken up by the other, so a directory with the setgid bit is shared with its group,
and so is all that is made below it. Without that bit it is of its owner alone.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import socket
import stat
import time
from typing import Any, Mapping, Optional

from .. import durable_file
from ..durable_file import DurableFile
from ..errors import HaError, defect

BEGIN = "begin"
END = "end"
TESTIMONY = "testimony"
LOCK = "lock"
SUFFIX = ".jsonl"


@dataclasses.dataclass(frozen=True)
class Unfinished:
    """A run that was interrupted. ``records`` in the order they were written."""

    run_id: str
    path: str
    records: tuple[Mapping[str, Any], ...]

    def last(self, what: str) -> Optional[Mapping[str, Any]]:
        return next((r for r in reversed(self.records) if r["what"] == what), None)

    @property
    def request(self) -> Mapping[str, Any]:
        begin = self.last(BEGIN)
        return begin["request"] if begin else {}

    @property
    def term(self) -> int:
        """The term that it set out to end; 0 when the journal does not say."""
        begin = self.last(BEGIN)
        return int(begin.get("term", 0)) if begin else 0

    def stopped_receivers(self) -> tuple[str, ...]:
        """The members whose receivers that run meant to stop."""
        names: set[str] = set()
        for record in self.records:
            if record["what"] == "freeze":
                names.update(record["names"])
        return tuple(sorted(names))


class Journal:
    """Use as ``with Journal.open(...) as journal``. Not for two threads."""

    def __init__(self, directory: str, cluster: str, run_id: str) -> None:
        self._top = directory
        self.directory = place_of(directory, cluster)
        self.run_id = run_id
        self._name = f"{_file_name(run_id)}{SUFFIX}"
        self.path = os.path.join(self.directory, self._name)
        self._place: Optional[int] = None
        self._lock: Optional[int] = None
        self._file: Optional[DurableFile] = None
        self._mode = 0o600
        self._group: Optional[int] = None

    def acquire(self) -> None:
        """Make the directory, and keep other runs on this host out.

        :raises HaError: ``journal_unwritable``, or ``locked_here`` with who holds it.
        """
        path = os.path.join(self.directory, LOCK)
        try:
            durable_file.make_directory(self.directory)
            # What is opened in it later is in this directory, whatever is put in its place meanwhile.
            self._place = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._share()
            self._lock = durable_file.open_file(
                LOCK, os.O_RDWR | os.O_CREAT, mode=self._mode, group=self._group, directory=self._place
            )
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            since = time.strftime("%FT%TZ", time.gmtime())
            note = f"run {self.run_id} pid {os.getpid()} on {socket.gethostname()} since {since}"
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, note.encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(self._lock, 500, 0).decode("utf-8", "replace").strip() if self._lock is not None else ""
            self.release()
            raise HaError(
                "locked_here",
                f"another run on this host is at work on this cluster: {holder or 'unknown'}",
                evidence={"holder": holder, "path": path},
                next_step="Wait for it to end, then run again.",
            ) from error
        except OSError as error:
            self.release()
            raise HaError(
                "journal_unwritable",
                f"the journal directory {self.directory} can not be used: {error.strerror}",
                evidence={"path": self.directory, "errno": error.errno},
                next_step="Make room, or mend its permissions; without a journal nothing is touched.",
            ) from error

    def _share(self) -> None:
        """With the group, where the directory of all journals is shared."""
        top = os.stat(self._top)
        if self._place is None or not top.st_mode & stat.S_ISGID:
            return
        self._mode, self._group = 0o660, top.st_gid
        if os.fstat(self._place).st_uid == os.geteuid():
            durable_file.give(self._place, 0o770, self._group)

    def unfinished(self) -> Optional[Unfinished]:
        """The newest interrupted run of this cluster, if any. Run ids sort by time.

        :raises HaError: ``journal_damaged``, ``journal_unreadable``.
        """
        for name in self._others():
            found = read_run(self.directory, name)
            if found is not None:
                return found
        return None

    def testimony(self) -> Optional[Mapping[str, Any]]:
        """What the last run before this one had been told of the old primary, however that run ended.

        A refused run goes back on all that it did, but who testified may have forgotten it since.
        """
        records = [r for name in self._others()[:1] for r in _read(os.path.join(self.directory, name))]
        return next((r for r in reversed(records) if r["what"] == TESTIMONY), None)

    def _others(self) -> list[str]:
        """The journals of the other runs on this cluster, newest first."""
        return [name for name in names_of_runs(self.directory) if name != self._name]

    def write(self, what: str, **values: Any) -> None:
        """Append one record and put it on disk.

        :raises HaError: ``journal_unwritable``: the caller must not act.
        """
        place = self._opened()
        record = json.dumps({"what": what, "at": time.time(), **values}, sort_keys=True, default=str) + "\n"
        try:
            if self._file is None:
                self._file = DurableFile.open(self._name, mode=self._mode, group=self._group, directory=place)
            self._file.append(record)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close_other(self, unfinished: Unfinished, how: str) -> None:
        """Mark an interrupted run as dealt with by this one.

        :raises HaError: ``journal_unwritable``.
        """
        place = self._opened()
        line = json.dumps({"what": END, "at": time.time(), "how": how, "by": self.run_id}) + "\n"
        try:
            other = DurableFile.open(os.path.basename(unfinished.path), create=False, directory=place)
            try:
                other.append(line)
            finally:
                other.close()
        except OSError as error:
            raise unwritable(unfinished.path, error) from error

    @property
    def begun(self) -> bool:
        """Whether this run has written anything."""
        return self._file is not None

    def _opened(self) -> int:
        if self._place is None:
            raise defect("a journal that was not acquired is written to")
        return self._place

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
        for handle in (self._lock, self._place):
            if handle is not None:
                os.close(handle)
        self._file = self._lock = self._place = None


def place_of(directory: str, cluster: str) -> str:
    """Where the journals of one cluster are."""
    return os.path.join(directory, _file_name(cluster))


def names_of_runs(place: str) -> list[str]:
    """The journals in a cluster's directory, newest first.

    :raises HaError: ``journal_unreadable``.
    """
    try:
        return sorted((name for name in os.listdir(place) if name.endswith(SUFFIX)), reverse=True)
    except OSError as error:
        raise unreadable(place, error) from error


def read_run(place: str, name: str) -> Optional[Unfinished]:
    """The run of that journal, or None when it has ended, or never begun.

    :raises HaError: ``journal_damaged``, ``journal_unreadable``.
    """
    path = os.path.join(place, name)
    records = _read(path)
    if not records or records[-1]["what"] == END:
        return None
    return Unfinished(name[: -len(SUFFIX)], path, records)


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text) or "_"


def unwritable(path: str, error: OSError) -> HaError:
    """What an ``OSError`` at writing means."""
    return HaError(
        "journal_unwritable",
        f"the journal {path} can not be written: {error.strerror}",
        evidence={"path": path, "errno": error.errno},
        next_step="Make room on that file system, or mend its permissions, then run again.",
    )


def unreadable(path: str, error: OSError) -> HaError:
    """What an ``OSError`` on a journal of another run means."""
    return HaError(
        "journal_unreadable",
        f"the journal {path} can not be read: {error.strerror}",
        evidence={"path": path, "errno": error.errno},
        next_step="What that run did is not known without it. Mend its permissions (the role manager shares the"
        " directory with its group), then run again.",
    )


def _read(path: str) -> tuple[Mapping[str, Any], ...]:
    """The whole records of a journal; a last line that was cut off by a crash never happened.

    :raises HaError: ``journal_damaged``, ``journal_unreadable``: what that run did is not known.
    """
    records = []
    try:
        for line in durable_file.whole_lines(durable_file.open_file(path, os.O_RDONLY)):
            try:
                records.append(json.loads(line))
            except ValueError as error:
                raise HaError(
                    "journal_damaged",
                    f"line {len(records) + 1} of the journal {path} is no record",
                    evidence={"path": path, "line": len(records) + 1},
                    next_step="See by hand how far that run came, then move the file away and run again.",
                ) from error
    except OSError as error:
        raise unreadable(path, error) from error
    return tuple(records)
