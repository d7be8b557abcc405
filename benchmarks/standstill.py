"""For how long what the manager watches stood still, tick by tick. Pure.

Two measures of the same. *Counted*: what a verdict compares with its threshold, from the answer that showed the last
progress to the question whose answer shows the same. A missing answer starts it anew, as it does for the manager.
*Gap*: from the first answer that showed one state to the first that showed the next, so that no standstill was longer;
a missing answer ends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.sample import Sample, Silence
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.verdict import (
    Mark,
    Watched,
    acknowledgers,
    primary_of,
)


@dataclass
class Standstill:
    """Of one quantity of one member. Seconds."""

    counted: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    _state: object = None
    _since: float = 0.0

    def note(self, state: object, answered_at: float, counted: float) -> None:
        self.counted.append(max(counted, 0.0))
        if self._state is None:
            self._state, self._since = state, answered_at
        elif state != self._state:
            self.gaps.append(answered_at - self._since)
            self._state, self._since = state, answered_at


@dataclass
class Seen:
    """``note`` each tick. ``answers``: seconds from question to answer; ``unanswered``: how many there were."""

    silence: dict[str, Standstill] = field(default_factory=dict)
    heartbeat: Standstill = field(default_factory=Standstill)
    answers: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    verdicts: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0

    def note(self, watched: Watched, verdict: str, lateness: float) -> None:
        """
        :param watched: after this tick was folded in.
        :param lateness: of this tick, in seconds.
        """
        self.lateness.append(lateness)
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1
        for mark in watched.marks.values():
            if isinstance(mark.answer, Silence):
                self.unanswered += 1
            else:
                self.answers.append(mark.answer.answered_at - mark.answer.asked_at)
        primary = primary_of(watched)
        for name, mark in acknowledgers(watched).items():
            if name != primary and isinstance(mark.answer, Sample):
                found = self.silence.setdefault(name, Standstill())
                found.note(mark.answer.progress, mark.answer.answered_at, mark.answer.asked_at - mark.quiet_from)
        self._heartbeat(watched.marks, primary)

    def _heartbeat(self, marks: Mapping[str, Mark], primary: str) -> None:
        mark = marks.get(primary)
        if mark is not None and isinstance(mark.answer, Sample):
            self.heartbeat.note(mark.answer.beat, mark.answer.answered_at, mark.answer.asked_at - mark.beat_from)
