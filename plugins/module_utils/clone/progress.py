# SPDX-License-Identifier: BSD-2-Clause
"""How far a clone has come, in values and in one line for a person. Pure.

The server says it in ``performance_schema.clone_status`` and ``clone_progress``: one row for each stage. The last clone
is remembered there across restarts, so these rows also say how an earlier one ended.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, Mapping, Optional, Sequence

RUNNING, COMPLETED, FAILED = "In Progress", "Completed", "Failed"
DROP, RESTART, RECOVERY = "DROP DATA", "RESTART", "RECOVERY"
LOCAL = "LOCAL INSTANCE"
"""What the server calls the source of a clone into a directory."""

_WORDS = {
    DROP: "dropping what the recipient holds",
    "FILE COPY": "copying files",
    "PAGE COPY": "copying pages that changed meanwhile",
    "REDO COPY": "copying the redo log",
    "FILE SYNC": "syncing to disk",
    RESTART: "restarting the recipient",
    RECOVERY: "recovery after the restart",
}
_WINDOW = 15.0


@dataclasses.dataclass(frozen=True)
class Stage:
    """One row of ``clone_progress``. ``estimate``, ``data``, ``network`` in bytes; an estimate comes with its stage."""

    name: str
    state: str
    estimate: int = 0
    data: int = 0
    network: int = 0


@dataclasses.dataclass(frozen=True)
class Progress:
    """The last clone of one server, running or ended. ``state``: RUNNING, COMPLETED, FAILED; empty: there was none.

    ``began``: the server's time, as text; it tells one clone from another. ``source``: ``host:port`` of the donor.
    ``thread``: the connection that runs it. ``executed``, ``binlog_file``, ``binlog_position``: where the copy ends in
    the donor's binary log, known once it is complete.
    """

    state: str = ""
    began: str = ""
    source: str = ""
    thread: int = 0
    error_number: int = 0
    error: str = ""
    executed: str = ""
    binlog_file: str = ""
    binlog_position: int = 0
    stages: tuple[Stage, ...] = ()

    @property
    def stage(self) -> str:
        """The stage at work, or the last one that was done."""
        done = ""
        for each in self.stages:
            if each.state in (RUNNING, FAILED):
                return each.name
            if each.state == COMPLETED:
                done = each.name
        return done

    @property
    def data(self) -> int:
        """Bytes copied."""
        return sum(each.data for each in self.stages)

    @property
    def network(self) -> int:
        """Bytes that came over the network."""
        return sum(each.network for each in self.stages)

    @property
    def estimate(self) -> int:
        """Bytes to copy, as far as the stages that began have said."""
        return sum(max(each.estimate, each.data) for each in self.stages)

    @property
    def has_dropped(self) -> bool:
        """Whether it had begun to throw away what the recipient held."""
        return any(each.name == DROP and each.state not in ("", "Not Started") for each in self.stages)

    @property
    def could_not_drop(self) -> bool:
        """Whether throwing that away is what failed: some of it is still there."""
        return any(each.name == DROP and each.state == FAILED for each in self.stages)

    @property
    def handed_over(self) -> bool:
        """Everything is copied and synced: what is left is the restart."""
        return any(each.name == "FILE SYNC" and each.state == COMPLETED for each in self.stages)

    def as_result(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "stage": self.stage,
            "source": self.source,
            "began": self.began,
            "bytes": self.data,
            "estimate": self.estimate,
            "network_bytes": self.network,
            "error_number": self.error_number,
            "error": self.error,
        }


def from_rows(status: Mapping[str, Any], stages: Sequence[Mapping[str, Any]]) -> Progress:
    """What the two tables say; ``status`` is empty where no clone ever ran."""
    if not status:
        return Progress()
    return Progress(
        state=str(status["state"] or ""),
        began=str(status["began"] or ""),
        source=str(status["source"] or ""),
        thread=int(status["thread"] or 0),
        error_number=int(status["error_number"] or 0),
        error=str(status["error"] or ""),
        executed="".join(str(status["executed"] or "").split()),
        binlog_file=str(status["binlog_file"] or ""),
        binlog_position=int(status["binlog_position"] or 0),
        stages=tuple(
            Stage(
                str(row["stage"]),
                str(row["state"] or ""),
                int(row["estimate"] or 0),
                int(row["data"] or 0),
                int(row["network"] or 0),
            )
            for row in stages
        ),
    )


class Meter:
    """Bytes a second, over the last ``_WINDOW`` seconds; and how long nothing has moved.

    ``samples``: (moment, bytes) that an earlier one has taken, the first and the last; ``moved_at``: as it has seen it.
    """

    def __init__(self, samples: Sequence[tuple[float, int]] = (), moved_at: Optional[float] = None) -> None:
        self._samples: collections.deque[tuple[float, int]] = collections.deque(samples)
        self._moved_at = moved_at
        self._last: tuple[int, str] = (samples[-1][1] if samples else -1, "")

    def take(self, now: float, progress: Progress) -> None:
        data, stage = self._last
        if progress.data != data or stage not in ("", progress.stage):
            self._moved_at = now
        self._last = (progress.data, progress.stage)
        if self._samples and progress.data < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, progress.data))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW:
            self._samples.popleft()

    @property
    def oldest(self) -> Optional[tuple[float, int]]:
        """The moment from which the rate is counted, and how many bytes there were."""
        return self._samples[0] if self._samples else None

    @property
    def rate(self) -> float:
        """Bytes a second; 0.0 while it is not known."""
        if len(self._samples) < 2:
            return 0.0
        (began, before), (ended, after) = self._samples[0], self._samples[-1]
        return (after - before) / (ended - began) if ended > began else 0.0

    def still_for(self, now: float) -> float:
        """Seconds since anything moved."""
        return now - self._moved_at if self._moved_at is not None else 0.0


STANDS_STILL = 5.0
"""Seconds without movement that are worth a word."""


def line(recipient: str, donor: str, progress: Progress, rate: float, still: float) -> str:
    """One line for the screen.

    :param rate: bytes a second. :param still: seconds since anything moved.
    """
    head = f"{recipient} from {donor}: {_WORDS.get(progress.stage, progress.stage or 'beginning')}"
    parts = [head]
    if progress.data:
        total = progress.estimate
        share = f" ({100 * progress.data // total} %)" if total else ""
        parts.append(f"{size(progress.data)} of {size(total)}{share}")
    copying = progress.state == RUNNING and progress.stage.endswith("COPY")
    if copying and still >= STANDS_STILL:
        parts.append(f"nothing has moved for {still:.0f} s (the link, the donor or a disk; MySQL itself tries again)")
    elif copying and rate > 0:
        parts.append(f"{size(rate)}/s")
        left = (progress.estimate - progress.data) / rate
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


def away_line(recipient: str, donor: str, handed_over: bool, away: float, unsupervised: bool) -> str:
    """While the recipient gives no answer."""
    if unsupervised:
        return (
            f"{recipient} from {donor}: everything is copied, and nothing supervises its mysqld (3707):"
            f" start mysqld there now; waiting for {away:.0f} s"
        )
    if handed_over:
        hint = "; where nothing supervises mysqld, start it now" if away >= STANDS_STILL else ""
        return f"{recipient} from {donor}: everything is copied, restarting for {away:.0f} s{hint}"
    hint = " (where mysqld is down and nothing supervises it, start it now)" if away >= STANDS_STILL else ""
    return (
        f"{recipient} from {donor}: no answer for {away:.0f} s: it restarts once everything is copied{hint}, and until"
        " then the copy goes on without us"
    )


def size(number: float) -> str:
    """Bytes for a person: ``1.4 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def duration(seconds: float) -> str:
    """``42 s``, ``7 min 05 s``, ``2 h 10 min``."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
