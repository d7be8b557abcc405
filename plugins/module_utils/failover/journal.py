# SPDX-License-Identifier: BSD-2-Clause
"""The journal of one run: what it is about to do, on disk before it does it.

One file a run, ``<directory>/<cluster>/<run_id>.jsonl``; one JSON object a line; each line is on disk (fsync) before
the call returns. A run has ended when its last record is ``end``. A run that was killed leaves a journal without one:
the next run reads it, for two things that can not be seen on the servers any more: which receivers were stopped by us,
and the evidence of the proof that the promotion itself wipes out.

Two runs on one host are kept apart by a lock on a file; runs on several hosts by the locks on the servers.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import socket
import time
from typing import Any, Mapping, Optional

from .. import durable_file
from ..durable_file import DurableFile
from ..errors import HaError

BEGIN = "begin"
END = "end"
TESTIMONY = "testimony"


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
        self.directory = os.path.join(directory, _file_name(cluster))
        self.run_id = run_id
        self.path = os.path.join(self.directory, f"{_file_name(run_id)}.jsonl")
        self._lock: Optional[int] = None
        self._file: Optional[DurableFile] = None

    def acquire(self) -> None:
        """Make the directory, and keep other runs on this host out.

        :raises HaError: ``journal_unwritable``, or ``locked_here`` with who holds it.
        """
        path = os.path.join(self.directory, "lock")
        try:
            durable_file.make_directory(self.directory)
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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

    def unfinished(self) -> Optional[Unfinished]:
        """The newest interrupted run of this cluster, if any. Run ids sort by time."""
        for path in self._others():
            records = _read(path)
            if records and records[-1]["what"] != END:
                return Unfinished(os.path.basename(path)[: -len(".jsonl")], path, records)
        return None

    def testimony(self) -> Optional[Mapping[str, Any]]:
        """What the last run before this one had been told of the old primary, however that run ended.

        A refused run goes back on all that it did, but who testified may have forgotten it since.
        """
        for path in self._others():
            told = [record for record in _read(path) if record["what"] == TESTIMONY]
            return told[-1] if told else None
        return None

    def _others(self) -> list[str]:
        """The journals of the other runs on this cluster, newest first."""
        names = (name for name in os.listdir(self.directory) if name.endswith(".jsonl"))
        paths = (os.path.join(self.directory, name) for name in sorted(names, reverse=True))
        return [path for path in paths if path != self.path]

    def write(self, what: str, **values: Any) -> None:
        """Append one record and put it on disk.

        :raises HaError: ``journal_unwritable``: the caller must not act.
        """
        record = json.dumps({"what": what, "at": time.time(), **values}, sort_keys=True, default=str) + "\n"
        try:
            if self._file is None:
                self._file = DurableFile.open(self.path)
            self._file.append(record)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def close_other(self, unfinished: Unfinished, how: str) -> None:
        """Mark an interrupted run as dealt with by this one.

        :raises HaError: ``journal_unwritable``.
        """
        line = json.dumps({"what": END, "at": time.time(), "how": how, "by": self.run_id}) + "\n"
        try:
            other = DurableFile.open(unfinished.path, create=False)
            try:
                other.append(line)
            finally:
                other.close()
        except OSError as error:
            raise _unwritable(unfinished.path, error) from error

    @property
    def begun(self) -> bool:
        """Whether this run has written anything."""
        return self._file is not None

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._lock is not None:
            os.close(self._lock)
        self._file = self._lock = None


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text) or "_"


def _unwritable(path: str, error: OSError) -> HaError:
    return HaError(
        "journal_unwritable",
        f"the journal {path} can not be written: {error.strerror}",
        evidence={"path": path, "errno": error.errno},
        next_step="Make room on that file system, then run again.",
    )


def _read(path: str) -> tuple[Mapping[str, Any], ...]:
    """The whole records of a journal; a last line that was cut off by a crash never happened.

    :raises HaError: ``journal_damaged``: what that run did is not known.
    """
    records = []
    for line in durable_file.whole_lines(os.open(path, os.O_RDONLY | os.O_CLOEXEC)):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise HaError(
                "journal_damaged",
                f"line {len(records) + 1} of the journal {path} is no record",
                evidence={"path": path, "line": len(records) + 1},
                next_step="See by hand how far that run came, then move the file away and run again.",
            ) from error
    return tuple(records)
