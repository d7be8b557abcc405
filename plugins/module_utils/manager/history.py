# SPDX-License-Identifier: BSD-2-Clause
"""What was done, and what people said, on disk before anything rests on it.

One file of JSON lines, only ever appended to, each line on disk (fsync) before the call returns: recoveries begin,
change and end, people acknowledge, pause and resume. A line that a crash cut off never happened. A manager that can
not write does not act: ``unwritable`` says why, until a write succeeds again.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from typing import Any, Callable, Mapping, Optional, Sequence

from .. import durable_file
from ..durable_file import DurableFile
from ..errors import HaError, defect
from .policy import FAILED, INTERRUPTED, MAINTENANCE, RUNNING, Attempt, Pause

FILE = "history.jsonl"

KEEP = 1000
"""Recoveries that are kept; older ones are left out when the file is written anew: at a start, and at twice as many."""

PROBE_EVERY = 10.0
"""Seconds between two attempts to write, while the last one failed."""


class History:
    """For several threads. ``clock``: wall time, an argument for tests."""

    def __init__(self, directory: str, *, clock: Callable[[], float] = time.time) -> None:
        """
        :raises HaError: ``history_unwritable``, ``history_damaged``, ``manager_runs_already``.
        """
        self.path = os.path.join(directory, FILE)
        self.unwritable = ""
        self._probed_at = -PROBE_EVERY
        self._clock = clock
        self._lock = threading.RLock()
        self._entries: dict[str, dict[str, Any]] = {}
        self._of_cluster: dict[str, list[dict[str, Any]]] = {}
        self._pauses: dict[str, Pause] = {}
        self._file: Optional[DurableFile] = None
        self._guard = -1
        try:
            durable_file.make_directory(directory)
            self._guard = durable_file.lock_file(os.path.join(directory, "lock"))
        except BlockingIOError as error:
            self.close()
            raise HaError(
                "manager_runs_already",
                f"another manager on this host uses {directory}",
                evidence={"path": directory},
                next_step="Stop that one first; a second manager belongs on another host.",
            ) from error
        except OSError as error:
            self.close()
            raise _unwritable(directory, error) from error
        try:
            self._read()
            self._write_anew()
        except HaError:
            self.close()
            raise

    # --- reading -----------------------------------------------------------------------------------------------------
    def _read(self) -> None:
        try:
            lines = durable_file.whole_lines(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC))
            for number, line in enumerate(lines, 1):
                try:
                    self._apply(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise HaError(
                        "history_damaged",
                        f"line {number} of {self.path} is no record",
                        evidence={"path": self.path, "line": number},
                        next_step="Move the file away and start again: only the past is in it. Pauses have to be"
                        " given again.",
                    ) from error
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _apply(self, record: Mapping[str, Any]) -> None:
        what = record["what"]
        if what in ("recovery", "change"):
            self._enter(record["values"])
        elif what == "pause":
            self._pauses[record["cluster"]] = Pause(record["by"], record["reason"], record["at"], record["until"])
        elif what == "resume":
            if record["cluster"]:
                self._pauses.pop(record["cluster"], None)
            else:
                self._pauses.clear()

    def _enter(self, values: Mapping[str, Any]) -> None:
        known = self._entries.get(values["id"])
        if known is not None:
            known.update(values)
            return
        entry = self._entries[values["id"]] = dict(values)
        self._of_cluster.setdefault(entry["cluster"], []).append(entry)

    def _write_anew(self) -> None:
        """A file of what still counts, in the place of the old one."""
        kept = list(self._entries.values())[-KEEP:]
        self._entries.clear()
        self._of_cluster.clear()
        for entry in kept:
            self._enter(entry)
        lines = [{"what": "recovery", "values": entry} for entry in self._entries.values()]
        lines += [_pause_record(cluster, pause) for cluster, pause in self._pauses.items()]
        try:
            file = durable_file.replace(self.path, "".join(_line(record) for record in lines))
        except OSError as error:
            raise _unwritable(self.path, error) from error
        if self._file is not None:
            self._file.close()
        self._file = file

    # --- writing -----------------------------------------------------------------------------------------------------
    def _append(self, record: Mapping[str, Any]) -> None:
        """
        :raises HaError: ``history_unwritable``; nothing was changed.
        """
        if self._file is None:
            raise defect("a history that was closed is written to")
        try:
            self._file.append(_line(record))
        except OSError as error:
            self.unwritable = f"{self.path}: {error.strerror}"
            raise _unwritable(self.path, error) from error
        self.unwritable = ""
        self._apply(record)
        if len(self._entries) > 2 * KEEP:
            self._write_anew()

    def writable(self) -> bool:
        """Whether the last write succeeded; while it did not, it is tried again from time to time."""
        with self._lock:
            if self.unwritable and abs(time.monotonic() - self._probed_at) >= PROBE_EVERY:
                self._probed_at = time.monotonic()
                try:
                    self._append({"what": "probe", "at": self._clock()})
                except HaError:
                    return False
            return not self.unwritable

    def begin(self, entry: Mapping[str, Any]) -> None:
        """A recovery begins (or is only said). ``entry`` as in ``desk.recoveries()``, with an ``id``."""
        with self._lock:
            self._append({"what": "recovery", "values": dict(entry)})

    def change(self, recovery: str, **values: Any) -> None:
        """Something about a recovery has become known, or it has ended."""
        with self._lock:
            self._append({"what": "change", "values": {"id": recovery, **values}})

    def note(self, recovery: str, **values: Any) -> None:
        """``change``, about something that is done already, so whoever did it goes on also when this can not be
        written: ``unwritable`` says so, and keeps the next recovery from being begun."""
        with contextlib.suppress(HaError):
            self.change(recovery, **values)

    def acknowledge(self, recovery: str, by: str) -> Mapping[str, Any]:
        """
        :raises HaError: ``unknown_recovery``.
        """
        with self._lock:
            entry = self._entries.get(recovery)
            if entry is None:
                raise HaError(
                    "unknown_recovery",
                    f"there is no recovery {recovery!r}",
                    next_step="mysql-ha history lists them with their ids.",
                )
            self.change(recovery, acknowledged={"by": by, "at": self._clock()})
            return dict(self._entries[recovery])

    def pause(self, clusters: Sequence[str], by: str, reason: str, until: Optional[float]) -> None:
        with self._lock:
            for cluster in clusters:
                self._append(_pause_record(cluster, Pause(by, reason, self._clock(), until)))

    def resume(self, cluster: str, by: str) -> None:
        """An empty name: all clusters."""
        with self._lock:
            self._append({"what": "resume", "cluster": cluster, "by": by, "at": self._clock()})

    def close_interrupted(self) -> list[Mapping[str, Any]]:
        """The recoveries that were running when an earlier manager ended: closed here, and returned, oldest first."""
        with self._lock:
            found = [entry for entry in self._entries.values() if entry.get("outcome") == RUNNING]
            for entry in found:
                self.change(
                    entry["id"],
                    outcome=FAILED,
                    ended_at=self._clock(),
                    codes=[INTERRUPTED],
                    refusal=["the manager ended while it ran"],
                    next_step="Ask for it again: it goes on from what is there."
                    if entry["trigger"] == MAINTENANCE
                    else "The journal is taken up by the next run.",
                )
            return [dict(entry) for entry in found]

    # --- asking ------------------------------------------------------------------------------------------------------
    def entries(self, cluster: str = "", limit: int = 100) -> list[dict[str, Any]]:
        """Newest first."""
        with self._lock:
            found = self._of_cluster.get(cluster, []) if cluster else list(self._entries.values())
            return [dict(e) for e in found[::-1][: max(limit, 0)]]

    def last(self, cluster: str) -> Optional[dict[str, Any]]:
        """The newest recovery or switchover; an operation on a member only while it runs."""
        with self._lock:
            for entry in reversed(self._of_cluster.get(cluster, [])):
                if entry["trigger"] != MAINTENANCE or entry["outcome"] == RUNNING:
                    return dict(entry)
        return None

    def attempts(self, cluster: str) -> tuple[Attempt, ...]:
        """What the policy looks at, oldest first."""
        with self._lock:
            return tuple(
                Attempt(
                    trigger=e["trigger"],
                    outcome=e["outcome"],
                    old_primary_uuid=e.get("old_primary_uuid") or "",
                    term=int(e.get("old_term") or 0),
                    ended_at=float(e.get("ended_at") or e["at"]),
                    zero_loss=e.get("zero_loss") or "",
                    codes=tuple(e.get("codes") or ()),
                    acknowledged=bool(e.get("acknowledged")),
                )
                for e in self._of_cluster.get(cluster, ())
            )

    def pause_of(self, cluster: str) -> Optional[Pause]:
        """The pause of a cluster that still holds, or None."""
        with self._lock:
            found = self._pauses.get(cluster)
        return found if found is not None and found.holds(self._clock()) else None

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
            if self._guard >= 0:
                os.close(self._guard)
            self._file, self._guard = None, -1


def _pause_record(cluster: str, pause: Pause) -> dict[str, Any]:
    return {
        "what": "pause",
        "cluster": cluster,
        "by": pause.by,
        "reason": pause.reason,
        "at": pause.at,
        "until": pause.until,
    }


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, default=str) + "\n"


def _unwritable(path: str, error: OSError) -> HaError:
    return HaError(
        "history_unwritable",
        f"{path}: {error.strerror}",
        evidence={"path": path, "errno": error.errno},
        next_step="Make room, or mend its permissions: a manager that can not write does not act.",
    )
