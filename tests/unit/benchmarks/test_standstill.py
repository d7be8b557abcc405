# SPDX-License-Identifier: GPL-3.0-or-later
"""Standstills as the manager counts them, and the gaps themselves."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import verdict
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.sample import Sample, Silence
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.verdict import Tick, Watched
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import TIMED_OUT, Member, TermRow

from benchmarks.standstill import Seen, Standstill

UUIDS = {"db1": "uuid-1", "db2": "uuid-2", "db3": "uuid-3"}
TERM = TermRow(1, 1, "uuid-1", tuple(Member(name, name, server_uuid=uuid) for name, uuid in UUIDS.items()), k=1)


def answer(name: str, at: float, progress: int = 0, beat: int = 0) -> Sample:
    primary = name == "db1"
    return Sample(
        name,
        at,
        at + 0.01,
        UUIDS[name],
        primary,
        term=TERM,
        beat_term=1,
        beat_sequence=beat,
        receiver="" if primary else "ON",
        source_uuid="" if primary else "uuid-1",
        heartbeats=progress,
        source_enabled=primary,
    )


class Watcher:
    def __init__(self) -> None:
        self.watched = Watched()
        self.seen = Seen()

    def tick(self, at: float, beat: int, **progress: Any) -> None:
        """``db2=None``: it does not answer."""
        answers: dict[str, Any] = {"db1": answer("db1", at, beat=beat)}
        for name, value in progress.items():
            silent = Silence(name, at, at + 0.4, TIMED_OUT, "no answer")
            answers[name] = silent if value is None else answer(name, at, value)
        self.watched = verdict.note(self.watched, Tick(at, at + 0.02, answers))
        self.seen.note(self.watched, "healthy", 0.003)


def test_counted_is_what_a_verdict_compares_and_a_gap_is_never_shorter() -> None:
    watcher = Watcher()
    for number, (progress, beat) in enumerate([(1, 1), (2, 1), (2, 2), (2, 2), (3, 3)]):
        watcher.tick(10 + number * 0.5, beat, db2=progress, db3=number)
    db2 = watcher.seen.silence["db2"]
    # The answers at 10.5, 11.0 and 11.5 show the same: from 10.51 to 11.0, and to 11.5.
    assert db2.counted == pytest.approx([0, 0, 0.49, 0.99, 0])
    assert db2.gaps == pytest.approx([0.5, 1.5])
    assert watcher.seen.silence["db3"].counted == [0] * 5
    assert watcher.seen.heartbeat.counted == pytest.approx([0, 0.49, 0, 0.49, 0])
    assert watcher.seen.heartbeat.gaps == pytest.approx([1.0, 1.0])
    assert (watcher.seen.verdicts, watcher.seen.unanswered) == ({"healthy": 5}, 0)
    assert watcher.seen.answers == pytest.approx([0.01] * 15)
    assert watcher.seen.lateness == [0.003] * 5


def test_a_missing_answer_starts_the_count_anew_and_ends_no_gap() -> None:
    watcher = Watcher()
    for number, progress in enumerate([1, 1, None, 1, 1, 2]):
        watcher.tick(10 + number * 0.5, number, db2=progress, db3=number)
    db2 = watcher.seen.silence["db2"]
    assert db2.counted == pytest.approx([0, 0.49, 0, 0.49, 0])
    assert db2.gaps == pytest.approx([2.5])
    assert watcher.seen.unanswered == 1


def test_the_first_state_begins_no_gap() -> None:
    still = Standstill()
    still.note("a", 1.0, 0.0)
    still.note("a", 2.0, -0.1)
    assert (still.counted, still.gaps) == ([0.0, 0.0], [])
    still.note("b", 3.0, 0.0)
    assert still.gaps == [2.0]
