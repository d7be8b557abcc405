# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in simulated time, seen by a manager: what happens is said, and what is seen of it follows."""

from __future__ import annotations

import dataclasses
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import verdict as verdicts
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.sample import Sample, Silence
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.verdict import (
    Cut,
    Tick,
    Timing,
    Verdict,
    Watched,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    CONNECTING,
    OFF,
    ON,
    REFUSED,
    TIMED_OUT,
    Member,
    TermRow,
)

from .peer import uuid_of

PERIOD = 0.5
"""Seconds between two replication heartbeats, and between two of the keeper's."""


@dataclasses.dataclass
class Replica:
    receiver: str = ON
    path: bool = True
    reachable: bool = True
    hung: bool = False
    heartbeats: int = 0
    heard_at: float = 0.0
    beat: int = 0
    source: str = uuid_of(1)


class Story:
    """db1 is primary; db2 and so on acknowledge. ``advance`` lets time pass, ``tick`` is a look of the manager."""

    def __init__(self, size: int = 3, k: int = 1, *, cut_after: float = Cut.after) -> None:
        self.now = 100.0
        self.timing = Timing()
        self.cut = Cut(cut_after)
        self.watched = Watched()
        self.verdict = Verdict("", ())
        self.state = "running"  # or killed, hung
        self.reachable = True
        self.kind = TIMED_OUT
        self.writable = True
        self.offline = False
        self.disk = True
        self.beat = 1
        self.wall = 1_763_700_000.0
        self.uuids = {f"db{i}": uuid_of(i) for i in range(1, size + 1)}
        members = tuple(Member(n, "127.0.0.1", server_uuid=u) for n, u in self.uuids.items())
        self.term: TermRow | None = TermRow(3, 2, uuid_of(1), members, k)
        self.replicas = {f"db{i}": Replica(heard_at=self.now) for i in range(2, size + 1)}
        self.seen: list[tuple[float, str]] = []
        self.answers: dict[str, Any] = {}

    # --- what happens ------------------------------------------------------------------------------------------------
    def kill(self) -> None:
        self.state = "killed"
        for replica in self.replicas.values():
            if replica.receiver == ON and replica.path:
                replica.receiver = CONNECTING

    def hang(self) -> None:
        self.state = "hung"

    def revive(self) -> None:
        self.state = "running"

    def cut_replication(self, *names: str) -> None:
        for name in names or self.replicas:
            self.replicas[name].path = False

    def advance(self, seconds: float) -> None:
        """Heartbeats come while the primary runs, the path is there and the replica runs."""
        end = self.now + seconds
        while True:
            following = (int(self.now / PERIOD + 1e-9) + 1) * PERIOD
            if following > end + 1e-9:
                break
            self.now = following
            self._beat()
        self.now = end

    def _beat(self) -> None:
        for replica in self.replicas.values():
            # Whoever else is followed lives.
            replica.heartbeats += replica.source != uuid_of(1)
        if self.state != "running":
            return
        hearing = [
            r for r in self.replicas.values() if r.path and not r.hung and r.receiver != OFF and r.source == uuid_of(1)
        ]
        for replica in hearing:
            replica.receiver = ON
            replica.heartbeats += 1
            replica.heard_at = self.now
        if self.writable and self.disk and self.term is not None and len(hearing) >= self.term.k:
            self.beat += 1
            for replica in hearing:
                replica.beat = self.beat

    # --- what is seen ------------------------------------------------------------------------------------------------
    def _sample(self, name: str, **values: Any) -> Sample:
        common = {"clock": self.wall + self.now, "term": self.term, "beat_term": 2}
        return Sample(name, self.now, self.now + 0.001, self.uuids[name], **{**common, **values})

    def _silence(self, name: str, kind: str) -> Silence:
        return Silence(name, self.now, self.now + 0.4, kind, f"{name}: {kind}")

    def look(self) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        if not self.reachable or self.state == "hung":
            answers["db1"] = self._silence("db1", self.kind)
        elif self.state == "killed":
            answers["db1"] = self._silence("db1", REFUSED)
        else:
            waiting = 0 if sum(r.path for r in self.replicas.values()) >= (self.term.k if self.term else 0) else 3
            answers["db1"] = self._sample(
                "db1",
                writable=self.writable,
                offline=self.offline,
                beat_sequence=self.beat,
                source_enabled=True,
                source_active=True,
                wait_sessions=waiting,
            )
        for name, replica in self.replicas.items():
            if replica.reachable and not replica.hung:
                answers[name] = self._sample(
                    name,
                    writable=False,
                    receiver=replica.receiver,
                    source_uuid=replica.source,
                    heartbeats=replica.heartbeats,
                    beat_sequence=replica.beat,
                )
            else:
                answers[name] = self._silence(name, TIMED_OUT)
        return answers

    def tick(self, *, late: bool = False) -> Verdict:
        self.answers = self.look()
        ended = max(self.now, *(a.answered_at for a in self.answers.values()))
        self.watched = verdicts.note(self.watched, Tick(self.now, ended, self.answers, late))
        self.verdict = verdicts.judge(self.watched, self.timing, self.cut)
        self.watched = verdicts.settle(self.watched, self.verdict)
        self.seen.append((self.now, self.verdict.verdict))
        return self.verdict

    def watch(self, seconds: float) -> list[str]:
        """Ticks for that long, with the extra ones that the verdicts ask for, as the loop does. What was seen."""
        end = self.now + seconds
        begun = len(self.seen)
        due = self.now
        while self.now <= end:
            verdict = self.tick()
            if self.now >= due:
                due += self.timing.tick
            following = due if verdict.look_again is None else min(due, self.now + max(verdict.look_again, 0.02))
            self.advance(following - self.now)
        return [what for _at, what in self.seen[begun:]]

    def until(self, wanted: str, seconds: float) -> float:
        """How long it took; fails when it was not seen."""
        began = self.now
        seen = self.watch(seconds)
        assert wanted in seen, f"{wanted} was not seen in {seconds} s: {seen[-6:]}, {self.verdict.reasons}"
        return next(at for at, what in self.seen if what == wanted and at >= began) - began
