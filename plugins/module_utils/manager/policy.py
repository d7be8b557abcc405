# SPDX-License-Identifier: BSD-2-Clause
"""What is done about a verdict: nothing, act, wait (for a time), or hold (for a person). Pure.

A cooldown keeps a site from being moved to and fro by a network that flaps. It never stands between a death and the
failover that a proven one before it has made possible: a cluster whose last failover was proven is as sound as one that
never had any.
"""

from __future__ import annotations

import dataclasses
from typing import Optional, Sequence, Union

from . import verdict as verdicts
from .verdict import Verdict

NONE, WAITING, ACTING, HELD = "none", "waiting", "acting", "held"
"""The words of ``desk.status()`` for what is done."""

RUNNING, PROMOTED, REFUSED, FAILED, WOULD_ACT = "running", "promoted", "refused", "failed", "would_act"
YIELDED = "yielded"
"""Another run holds the cluster's lock: that one acts."""
SUPERSEDED = "superseded"
"""Another run had ended what was taken up: nothing was left to do."""
"""How a recovery ended, or that it has not."""

DONE = "done"
"""How an operation on a member ended well."""

AUTOMATIC, SWITCHOVER, MAINTENANCE = "automatic", "switchover", "maintenance"
"""Only what the manager begins by itself is counted against what it does next."""

PROVEN = "proven"

RETRY_FIRST, RETRY_LONGEST = 2.0, 30.0
"""Seconds until a refused or failed attempt at the same incident is made again; doubled each time up to the longest."""

ATTEMPTS = 5
"""Failed (not refused) attempts at one incident before a person is asked."""

OTHERS_LOCK = 3.0
"""Seconds to leave a cluster to whoever holds its lock; long enough for a failover, and for its result to be seen."""

INTERRUPTED = "interrupted"
"""The code of a recovery that was running when its manager ended. It says nothing about the cluster."""

OTHERS = frozenset({"locked", "locked_here"})
"""The codes of a recovery that was left to another run."""


@dataclasses.dataclass(frozen=True)
class Window:
    """A time of maintenance, in UTC. Either ``start`` and ``end`` (epoch seconds), or ``days`` (0 is Monday) with
    ``start`` and ``end`` in seconds since midnight; an ``end`` that is not after ``start`` is on the next day."""

    reason: str
    start: float
    end: float
    days: tuple[int, ...] = ()

    def until(self, now: float) -> Optional[float]:
        """The end of this window, if ``now`` is inside of it."""
        if not self.days:
            return self.end if self.start <= now < self.end else None
        today = int(now // _DAY)
        for day in (today, today - 1):
            begins = day * _DAY + self.start
            ends = day * _DAY + self.end + (_DAY if self.end <= self.start else 0)
            # The epoch began on a Thursday.
            if (day + 3) % 7 in self.days and begins <= now < ends:
                return ends
        return None

    def began(self, until: float) -> float:
        """When the window that ends then began."""
        if not self.days:
            return self.start
        length = self.end - self.start
        return until - (length if length > 0 else length + _DAY)


_DAY = 86400


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a cluster's configuration says about acting. ``cooldown`` in seconds."""

    automatic: bool = True
    cooldown: float = 600.0
    act_on_cut: bool = True
    maintenance: tuple[Window, ...] = ()
    dry_run: bool = False


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A recovery, as far as the policy looks at it. Times in epoch seconds; ``codes``: why it was refused or failed.

    ``old_primary_uuid`` and ``term``: whom it was to replace, in which term: the incident.
    """

    trigger: str
    outcome: str
    old_primary_uuid: str
    term: int
    ended_at: float
    zero_loss: str = ""
    codes: tuple[str, ...] = ()
    acknowledged: bool = False


@dataclasses.dataclass(frozen=True)
class Pause:
    by: str
    reason: str
    at: float
    until: Optional[float] = None

    def holds(self, now: float) -> bool:
        return self.until is None or now < self.until


@dataclasses.dataclass(frozen=True)
class Situation:
    """What else is known. ``attempts``: oldest first. ``unwritable``: why nothing can be written down, or empty.

    ``busy``: as many recoveries run as may run at once. ``term``: the one in force.
    """

    attempts: Sequence[Attempt] = ()
    pause: Optional[Pause] = None
    running: bool = False
    busy: bool = False
    unwritable: str = ""
    term: int = 0


@dataclasses.dataclass(frozen=True)
class Act:
    """Do it, or with ``only_say`` write down that it would be done."""

    reasons: tuple[str, ...]
    only_say: bool = False
    action = ACTING


@dataclasses.dataclass(frozen=True)
class Wait:
    """Not now. ``until``: epoch seconds, None for until something changes."""

    reasons: tuple[str, ...]
    until: Optional[float] = None
    action = WAITING


@dataclasses.dataclass(frozen=True)
class Hold:
    """Not before a person, or the end of a window, allows it."""

    reasons: tuple[str, ...]
    action = HELD


@dataclasses.dataclass(frozen=True)
class Rest:
    """There is nothing to be done by this process."""

    reasons: tuple[str, ...] = ()
    action = NONE


@dataclasses.dataclass(frozen=True)
class Doing:
    """It is being done."""

    reasons: tuple[str, ...] = ("a recovery is running",)
    action = ACTING


Decision = Union[Act, Doing, Wait, Hold, Rest]

_DEATHS = (verdicts.DEAD, verdicts.DEAD_OR_ISOLATED)


def decide(verdict: Verdict, rules: Rules, situation: Situation, now: float) -> Decision:
    """What to do about this verdict now. ``now`` in epoch seconds."""
    if situation.running:
        return Doing()
    if verdict.verdict == verdicts.UNKNOWN and verdict.suspected:
        return Wait(verdict.reasons)
    if verdict.verdict not in (*_DEATHS, verdicts.REPLICATION_CUT) and not _left_half_done(verdict, situation):
        return Rest()
    held = list(_held(verdict, rules, situation, now))
    if held:
        return Hold(tuple(held))
    same = [a for a in situation.attempts if _same_incident(a, verdict, situation)]
    later = _later(same, now)
    if later is not None:
        return later
    if rules.dry_run:
        said = any(a.outcome == WOULD_ACT for a in same)
        return Rest(("dry run: it was said what would be done",)) if said else Act(("dry run",), only_say=True)
    if situation.busy:
        return Wait(("as many recoveries as may run at once are running",))
    return Act(verdict.reasons)


def _held(verdict: Verdict, rules: Rules, situation: Situation, now: float) -> Sequence[str]:
    """Every reason not to act; a person mends them in one go."""
    found = []
    if situation.unwritable:
        found.append(f"nothing can be written down, so nothing is done: {situation.unwritable}")
    if not rules.automatic:
        found.append("automatic failover is off for this cluster")
    if verdict.verdict == verdicts.REPLICATION_CUT and not rules.act_on_cut:
        found.append("replication_cut only alarms here")
    pause = situation.pause
    if pause is not None and pause.holds(now):
        found.append(f"paused by {pause.by}: {pause.reason}")
    found += [f"maintenance: {window.reason}" for window in rules.maintenance if window.until(now) is not None]
    cooling = cooldown(rules, situation.attempts)
    # After a proven failover only a death counts; a cut that comes and goes would move the primary to and fro.
    if cooling is not None and now < cooling and verdict.verdict not in _DEATHS:
        found.append("cooldown: the last failover is not long ago, and this primary is alive")
    last = _last_automatic(situation.attempts)
    if last is not None and not last.acknowledged and not _same_incident(last, verdict, situation):
        if last.outcome == PROMOTED and last.zero_loss != PROVEN:
            found.append("the last failover was not proven: a person has to acknowledge it first")
        if last.outcome == FAILED and INTERRUPTED not in last.codes:
            found.append("the last failover failed: a person has to acknowledge it first")
    return found


def cooldown(rules: Rules, attempts: Sequence[Attempt]) -> Optional[float]:
    """Until when the cooldown of the last failover lasts, None without one."""
    last = next((a for a in reversed(attempts) if a.trigger == AUTOMATIC and a.outcome == PROMOTED), None)
    return None if last is None or last.acknowledged else last.ended_at + rules.cooldown


def _last_automatic(attempts: Sequence[Attempt]) -> Optional[Attempt]:
    relevant = (PROMOTED, FAILED)
    return next((a for a in reversed(attempts) if a.trigger == AUTOMATIC and a.outcome in relevant), None)


def _same_incident(attempt: Attempt, verdict: Verdict, situation: Situation) -> bool:
    return (
        attempt.trigger == AUTOMATIC
        and attempt.outcome != PROMOTED
        and attempt.old_primary_uuid == verdict.primary_uuid
        and attempt.term == situation.term
    )


def _left_half_done(verdict: Verdict, situation: Situation) -> bool:
    """Whether a failover from this primary was begun and has not ended, and that one answers and serves nobody: closed
    by that failover, or back after its death. It is no longer dead or cut off, and only going on helps."""
    if verdict.verdict != verdicts.DEGRADED or not verdict.closed:
        return False
    last = next((a for a in reversed(situation.attempts) if a.trigger == AUTOMATIC), None)
    ours = last is not None and last.outcome == FAILED and _same_incident(last, verdict, situation)
    return ours or verdict.turned


def _later(same: Sequence[Attempt], now: float) -> Optional[Decision]:
    """What earlier attempts at this incident say against one now."""
    tried = [a for a in same if a.outcome in (REFUSED, FAILED, YIELDED) and INTERRUPTED not in a.codes]
    if not tried:
        return None
    last = tried[-1]
    if last.outcome == YIELDED:
        until = last.ended_at + OTHERS_LOCK
        return Wait(("another run holds this cluster's lock",), until) if _before(now, until, OTHERS_LOCK) else None
    failed = [a for a in tried if a.outcome == FAILED and not a.acknowledged]
    if len(failed) >= ATTEMPTS:
        return Hold((f"{len(failed)} attempts failed: a person has to acknowledge the last one",))
    pause = min(RETRY_FIRST * 2 ** (len(tried) - 1), RETRY_LONGEST)
    until = last.ended_at + pause
    if _before(now, until, pause):
        return Wait((f"the last attempt was {last.outcome} ({', '.join(last.codes)}); the next one follows",), until)
    return None


def _before(now: float, until: float, longest: float) -> bool:
    """Whether that time is still to come. A clock that was set back does not make it longer than it is."""
    return until - longest <= now < until
