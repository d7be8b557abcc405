"""What the keepers did with the virtual address, by their own journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

UNIT = "lossless-mysql-ha-keeper"


@dataclass(frozen=True)
class Line:
    """One line of a keeper's journal, and when journald had it (seconds since the epoch)."""

    at: float
    text: str


@dataclass(frozen=True)
class Taking:
    """``candidate_at``: when the keeper knew that its server is the primary; ``taken_at``: when it had the address."""

    candidate_at: float
    taken_at: float


def command(since: float) -> tuple[str, ...]:
    """The command that prints a keeper's journal, for ``lines``."""
    fields = "--output-fields=MESSAGE"
    return ("journalctl", "--no-pager", "-o", "json", fields, "-u", UNIT, "--since", f"@{since:.3f}")


def lines(text: str) -> list[Line]:
    """The output of ``command``."""
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [Line(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, str(entry["MESSAGE"])) for entry in found]


def taking(journal: Sequence[Line], address: str) -> Taking | None:
    """How an address was taken for the first time in this part of a journal; None when it was not."""
    candidate_at = None
    for line in journal:
        if line.text.startswith("candidate:") and candidate_at is None:
            candidate_at = line.at
        if line.text.startswith(f"{address} taken"):
            return Taking(line.at if candidate_at is None else candidate_at, line.at)
    return None
