# SPDX-License-Identifier: BSD-2-Clause
"""What a cluster's ticks mean: one verdict a tick. Pure.

``note`` folds a tick into what is remembered of a cluster, which is of a bounded size; ``judge`` gives the verdict.

How silence is measured. A member's answer was true at some moment between ``asked_at`` and ``answered_at``, both by the
manager's own monotonic clock. When two answers show the same progress, nothing was heard of the primary from the first
one's ``answered_at`` to the second one's ``asked_at``, whatever happened to this process in between. Nothing else is
ever counted as silence: no server's clock is used, an answer that is missing starts the count anew, and so does a tick
that came late.

What holds for every input (``tests/unit/manager/test_verdict.py``):

1. no death while any acknowledger that answers was heard to progress within ``Timing.silence``, unless its receiver has
   fallen from the primary since, or was made to follow another server;
2. no death unless some registered acknowledgers answer and none of them hears the primary; and unless they are
   n - k + 1, or the primary's own host says that nothing listens there: then the failover will be refused, with a
   reason for a person, until enough of them answer;
3. no death while something that speaks MySQL answers at the primary's address;
4. no death, and no cut, in a tick that came late, nor from what was measured across it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Iterator, Mapping, Optional, Union

from ..server.state import CONNECTING, ON, REFUSED, TermRow
from ..topology.durability import freeze_required
from .sample import Sample, Silence

HEALTHY = "healthy"
"""The primary answers, takes writes, and its heartbeat is acknowledged."""
DEAD = "dead"
"""Nothing listens where the primary was, and the receivers of its acknowledgers have fallen from it."""
DEAD_OR_ISOLATED = "dead_or_isolated"
"""No answer, and its acknowledgers have heard nothing of it for too long: dead, hung or cut off."""
CONTROLLER_CUT = "controller_cut"
"""No answer here, and an acknowledger hears it, or too few members are reached: the cut is ours. Never acted on."""
REPLICATION_CUT = "replication_cut"
"""The primary answers, its commits wait, and too few acknowledgers reach it, for longer than the policy allows."""
DEGRADED = "degraded"
"""The primary answers and does not do its work: read-only, disk full, not waiting, waiting for acknowledgements."""
UNKNOWN = "unknown"
"""Not enough is known, or not for long enough."""

VERDICTS = (HEALTHY, DEAD, DEAD_OR_ISOLATED, CONTROLLER_CUT, REPLICATION_CUT, DEGRADED, UNKNOWN)


@dataclasses.dataclass(frozen=True)
class Timing:
    """The durations of a verdict, in seconds, with the reason for each default.

    ``tick``: two a second see a replication heartbeat (0.5 s) in each tick or the next one.
    ``deadline``: shorter than a tick, so that a tick has ended when the next one begins.
    ``silence``: of the acknowledgers, for a hang. More than three heartbeats, and at least twice the 99.9th percentile
    of the gaps under load (docs/manager.md).
    ``confirm``: how much longer it has to last for a second tick to confirm it; an answer that was held up is there
    by then. Both together are the keeper's ``failover_notice``: the old primary's host has let its address go.
    ``fallen``: how soon to look again after a refused connection, for receivers that have not noticed yet.
    ``stall``: how long the heartbeat row may stand still on a primary that answers; the keeper writes it twice a second
    and a commit under load may take its time.
    ``late``: by how much a tick may be late before it counts as late: more than a loaded machine, less than a tick.
    """

    tick: float = 0.5
    deadline: float = 0.4
    silence: float = 1.85
    confirm: float = 0.15
    fallen: float = 0.05
    stall: float = 2.0
    late: float = 0.25


def problems(timing: Timing) -> tuple[str, ...]:
    """Why these durations do not fit together, each beginning with the name of one of them; none if they do."""
    found = [
        f"{field.name} must be a number of seconds greater than 0"
        for field in dataclasses.fields(timing)
        if not (math.isfinite(getattr(timing, field.name)) and getattr(timing, field.name) > 0)
    ]
    if found:
        return tuple(found)
    if timing.deadline >= timing.tick:
        found.append(f"deadline ({timing.deadline:g} s) must be shorter than tick ({timing.tick:g} s)")
    for name in ("silence", "stall"):
        if getattr(timing, name) < 3 * timing.tick:
            found.append(f"{name} ({getattr(timing, name):g} s) must be at least three ticks ({3 * timing.tick:g} s)")
    for name in ("confirm", "fallen"):
        if getattr(timing, name) > timing.tick:
            found.append(f"{name} ({getattr(timing, name):g} s) must not be longer than tick ({timing.tick:g} s)")
    return tuple(found)


Answer = Union[Sample, Silence]


@dataclasses.dataclass(frozen=True)
class Tick:
    """The answers of all members of one cluster, asked at once. ``late``: this process was not there in time."""

    asked_at: float
    ended_at: float
    answers: Mapping[str, Answer]
    late: bool = False


@dataclasses.dataclass(frozen=True)
class Mark:
    """What is remembered of one member.

    ``answer``: the newest. ``sample``: the newest that was one. ``silent_from``: when the first of the unanswered
    questions in a row was asked, ``misses`` how many there are. ``quiet_from``: since when at the latest its progress
    stands still; ``heard_after``: the progress before that was still seen by a question asked then. ``beat_from``: the
    same as ``quiet_from`` for the primary's heartbeat row as this member has it. ``was_uuid``: the server that answered
    here before, when another one does now.
    """

    answer: Answer
    sample: Optional[Sample] = None
    silent_from: float = 0.0
    misses: int = 0
    quiet_from: float = 0.0
    heard_after: float = -math.inf
    beat_from: float = 0.0
    was_uuid: str = ""


@dataclasses.dataclass(frozen=True)
class Watched:
    """What is remembered of a cluster. ``attached``: whose receivers were on the primary in the last good tick.

    ``suspected``: what the last tick, were it confirmed, would have meant.
    """

    marks: Mapping[str, Mark] = dataclasses.field(default_factory=dict)
    term: Optional[TermRow] = None
    attached: frozenset[str] = frozenset()
    late: bool = False
    asked_at: float = -math.inf
    suspected: str = ""


@dataclasses.dataclass(frozen=True)
class Cut:
    """When a cut of the replication alone is one: ``after`` seconds.

    At least twice the 99.9th percentile of the time for which the heartbeat row stands still under load, and less than
    the time after which replicas give up a source that they do not hear (replica_net_timeout, 4 s): a receiver in the
    middle of an attempt to connect takes two seconds to stop.
    """

    after: float = 3.0


@dataclasses.dataclass(frozen=True)
class Verdict:
    """``reasons``: sentences. ``evidence``: JSON-able. ``look_again``: seconds until a look is due that can not wait
    for the next tick, or None. ``primary``: a member's name, or empty. ``suspected``: see ``Watched``. ``notes``: what
    else is wrong, whatever the verdict. ``closed``: the primary answers and takes no writes;
    ``turned``: and a failover that was begun has made it so."""

    verdict: str
    reasons: tuple[str, ...]
    primary: str = ""
    primary_uuid: str = ""
    evidence: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    look_again: Optional[float] = None
    suspected: str = ""
    notes: tuple[str, ...] = ()
    closed: bool = False
    turned: bool = False


# --- remembering -----------------------------------------------------------------------------------------------------
def note(watched: Watched, tick: Tick) -> Watched:
    """Fold a tick into what is remembered. A tick that is older than the last one is late, too."""
    late = tick.late or tick.asked_at < watched.asked_at
    began = tick.ended_at if late else None
    marks = {name: _mark(watched.marks.get(name), answer, began) for name, answer in tick.answers.items()}
    term = watched.term
    for mark in marks.values():
        sample = mark.answer
        if isinstance(sample, Sample) and sample.term is not None and _newer(sample.term, term):
            term = sample.term
    changed = term is not None and (watched.term is None or term.primary_uuid != watched.term.primary_uuid)
    result = dataclasses.replace(
        watched,
        marks=marks,
        term=term,
        late=late,
        asked_at=tick.asked_at,
        suspected="" if late or changed else watched.suspected,
        attached=frozenset() if changed else watched.attached,
    )
    primary = primary_of(result)
    if term is not None and primary and isinstance(marks[primary].answer, Sample):
        attached = frozenset(
            name
            for name, mark in marks.items()
            if isinstance(mark.answer, Sample) and mark.answer.attached_to(term.primary_uuid)
        )
        result = dataclasses.replace(result, attached=attached)
    return result


def _newer(row: TermRow, than: Optional[TermRow]) -> bool:
    return than is None or (row.term, row.revision) > (than.term, than.revision)


def _mark(was: Optional[Mark], answer: Answer, began: Optional[float]) -> Mark:
    """:param began: when everything that is measured begins anew, in a tick that came late."""
    late = began is not None
    if isinstance(answer, Silence):
        if was is None:
            return Mark(answer, silent_from=answer.asked_at, misses=1)
        going_on = was.misses and not late
        return dataclasses.replace(
            was,
            answer=answer,
            silent_from=was.silent_from if going_on else max(answer.asked_at, began or answer.asked_at),
            misses=was.misses + 1 if going_on else 1,
        )
    before = was.sample if was else None
    fresh = was is None or before is None or was.misses > 0 or late
    if fresh or was is None or before is None:
        quiet_from = beat_from = answer.answered_at if began is None else max(began, answer.answered_at)
        heard_after = -math.inf
    else:
        quiet_from, heard_after, beat_from = was.quiet_from, was.heard_after, was.beat_from
        if answer.progress != before.progress:
            quiet_from, heard_after = answer.answered_at, before.asked_at
        if answer.beat != before.beat:
            beat_from = answer.answered_at
    other = before.server_uuid if before is not None and before.server_uuid != answer.server_uuid else ""
    return Mark(
        answer=answer,
        sample=answer,
        quiet_from=quiet_from,
        heard_after=heard_after,
        beat_from=beat_from,
        was_uuid=other or (was.was_uuid if was else ""),
    )


def primary_of(watched: Watched) -> str:
    """The member that the newest term row names: by the server that answers there, else by its registered name."""
    if watched.term is None:
        return ""
    uuid = watched.term.primary_uuid
    for name, mark in watched.marks.items():
        if mark.sample is not None and mark.sample.server_uuid == uuid:
            return name
    registered = next((m for m in watched.term.members if m.server_uuid == uuid), None)
    if registered is not None and registered.name in watched.marks and watched.marks[registered.name].sample is None:
        return registered.name
    return ""


def acknowledgers(watched: Watched) -> dict[str, Mark]:
    """The marks of the registered acknowledgers that answered in the last tick, by name; each server once."""
    if watched.term is None:
        return {}
    wanted = {m.server_uuid for m in watched.term.acknowledgers}
    found: dict[str, Mark] = {}
    for name, mark in watched.marks.items():
        if isinstance(mark.answer, Sample) and mark.answer.server_uuid in wanted:
            wanted.discard(mark.answer.server_uuid)
            found[name] = mark
    return found


# --- judging ---------------------------------------------------------------------------------------------------------
def judge(watched: Watched, timing: Timing, cut: Cut = Cut()) -> Verdict:
    """The verdict of the last tick."""
    term = watched.term
    if term is None:
        return _without_term(watched)
    name = primary_of(watched)
    found = _judge(watched, timing, cut, term, name)
    return dataclasses.replace(found, primary=name, primary_uuid=term.primary_uuid, notes=tuple(_notes(watched, term)))


def _notes(watched: Watched, term: TermRow) -> Iterator[str]:
    for name, mark in watched.marks.items():
        sample = mark.sample
        if sample is None:
            continue
        if mark.was_uuid:
            yield f"{name} is another server than before: {mark.was_uuid} has become {sample.server_uuid}"
        if sample.writable and sample is mark.answer and sample.server_uuid != term.primary_uuid:
            yield f"{name} takes writes, and is not the primary of term {term.term}"


def settle(watched: Watched, verdict: Verdict) -> Watched:
    """Remember what the verdict suspects, for the next tick to confirm. Fold it in before the next ``note``."""
    if watched.suspected == verdict.suspected:
        return watched
    return dataclasses.replace(watched, suspected=verdict.suspected)


def _without_term(watched: Watched) -> Verdict:
    silent = [m.answer for m in watched.marks.values() if isinstance(m.answer, Silence)]
    if silent and len(silent) == len(watched.marks):
        return Verdict(CONTROLLER_CUT, ("no member answers: " + "; ".join(s.message for s in silent),))
    return Verdict(UNKNOWN, ("no member that answers holds a term row: nobody knows who is primary",))


def _judge(watched: Watched, timing: Timing, cut: Cut, term: TermRow, name: str) -> Verdict:
    if not name:
        return Verdict(
            UNKNOWN, (f"no member is the server that term {term.term} names as primary ({term.primary_uuid})",)
        )
    mark = watched.marks[name]
    if isinstance(mark.answer, Sample):
        return _answers(watched, timing, cut, term, name, mark)
    return _silent(watched, timing, term, name, mark.answer)


def _answers(watched: Watched, timing: Timing, cut: Cut, term: TermRow, name: str, mark: Mark) -> Verdict:
    sample = mark.sample
    if sample is None:
        return Verdict(UNKNOWN, (f"{name} was never heard",))
    if not sample.writable or sample.offline:
        how = "in offline mode" if sample.offline else "read-only"
        said = f"{name} is the primary, answers, and is {how}"
        turned = _turned(watched, term, offline=sample.offline)
        if turned:
            said += f"; {', '.join(turned)} were turned away from it: a failover was begun and has not ended"
        return Verdict(DEGRADED, (said,), closed=True, turned=bool(turned))
    still = sample.asked_at - mark.beat_from
    if still < timing.stall:
        if not sample.source_enabled:
            return Verdict(DEGRADED, (f"{name} does not wait for acknowledgements",))
        return Verdict(HEALTHY, ())
    acks = acknowledgers(watched)
    required = _required(term)
    hearing = [n for n, m in acks.items() if _hears(m, term, timing)]
    cut_off = [n for n, m in acks.items() if n not in hearing and _tries(m)]
    evidence = {
        "heartbeat_stands_still_s": round(still, 3),
        "wait_sessions": sample.wait_sessions,
        "hearing": hearing,
        "cut_off": cut_off,
        "k": term.k,
        "required": required,
    }
    if len(hearing) >= term.k:
        return Verdict(
            DEGRADED,
            (
                f"{name} answers and its heartbeat stands still for {still:.1f} s, though {', '.join(hearing)} hear it:"
                " a full disk, a read-only file system, or its keeper does not run",
            ),
            evidence=evidence,
        )
    waits = f"commits on {name} wait for {term.k} acknowledgements and {len(hearing)} acknowledgers hear it"
    if len(cut_off) < required:
        away = [m.name for m in term.acknowledgers if m.name not in hearing]
        return Verdict(DEGRADED, (f"{waits}: bring back {', '.join(away)}",), evidence=evidence)
    reason = f"{waits}; {', '.join(cut_off)} can not reach it, for {still:.1f} s"
    if watched.late:
        return Verdict(UNKNOWN, (reason, _LATE), evidence=evidence)
    if still < cut.after:
        return Verdict(DEGRADED, (reason,), evidence=evidence, look_again=cut.after - still)
    if watched.suspected != REPLICATION_CUT:
        return Verdict(DEGRADED, (reason,), evidence=evidence, look_again=timing.confirm, suspected=REPLICATION_CUT)
    return Verdict(REPLICATION_CUT, (reason,), evidence=evidence, suspected=REPLICATION_CUT)


def _turned(watched: Watched, term: TermRow, *, offline: bool) -> list[str]:
    """The acknowledgers that a failover has taken from the primary, if they are so many that nobody acknowledges it.

    A person who stops replicas and makes the primary read-only does not do this: one of them follows another server, or
    the primary is offline as well.
    """
    acks = acknowledgers(watched)
    gone = [n for n, m in acks.items() if not _tries(m) or _elsewhere(m, term)]
    enough = len(gone) >= _required(term) and (offline or any(_elsewhere(acks[n], term) for n in gone))
    return gone if enough else []


_LATE = "this manager was not running in time: nothing that was measured across that counts"


def _silent(watched: Watched, timing: Timing, term: TermRow, name: str, silence: Silence) -> Verdict:
    mark = watched.marks[name]
    acks = acknowledgers(watched)
    required = _required(term)
    said = f"{name} gives no answer ({silence.kind})"
    quiet = {n: _quiet(m) for n, m in acks.items()}
    evidence: dict[str, Any] = {
        "kind": silence.kind,
        "errno": silence.errno,
        "unanswered": mark.misses,
        "silent_for_s": round(silence.answered_at - mark.silent_from, 3),
        "n": term.n,
        "k": term.k,
        "required": required,
        "receivers": {n: m.answer.receiver for n, m in acks.items() if isinstance(m.answer, Sample)},
        "quiet_s": {n: round(seconds, 3) for n, seconds in quiet.items()},
    }

    def verdict(what: str, *reasons: str, **more: Any) -> Verdict:
        return Verdict(what, (said, *reasons), evidence=evidence, **more)

    if silence.alive:
        return Verdict(UNKNOWN, (f"{name} answers and does not let us in: {silence.message}",), evidence=evidence)
    if watched.late:
        return verdict(UNKNOWN, _LATE, look_again=timing.confirm)
    heard = [n for n, m in acks.items() if _hears(m, term, timing) and m.heard_after >= mark.silent_from]
    evidence["heard_by"] = heard
    if heard:
        return verdict(CONTROLLER_CUT, f"{', '.join(heard)} heard it meanwhile")
    if len(acks) < required:
        few = f"{len(acks)} of {term.n} acknowledgers answer, {required} are needed to replace it"
        if silence.kind != REFUSED or not acks or _attached(acks, term):
            return verdict(CONTROLLER_CUT, few)
        if mark.misses < 2:
            return verdict(CONTROLLER_CUT, few, look_again=timing.fallen)
        # Its own host says so: the cut is not ours. Acting on it ends in a refusal, which a person gets to see.
        return verdict(DEAD, f"{', '.join(acks)} fell from it, too", few, suspected=DEAD)
    fallen = [n for n, m in acks.items() if n in watched.attached and not _on(m, term)]
    if silence.kind == REFUSED and len(fallen) >= required and not _attached(acks, term):
        return verdict(DEAD, f"{', '.join(fallen)} fell from it", suspected=DEAD)
    # Who was made to follow another server hears that one.
    behind = [n for n, seconds in quiet.items() if seconds < timing.silence and not _elsewhere(acks[n], term)]
    if behind:
        left = min(timing.silence - quiet[n] for n in behind)
        soon = max(timing.silence - min(quiet.values()), timing.fallen)
        if silence.kind == REFUSED and silence.asked_at - mark.silent_from < 2 * timing.tick:
            soon = timing.fallen
        return verdict(
            UNKNOWN,
            f"{', '.join(behind)} heard it less than {timing.silence:g} s ago ({left:.1f} s left)",
            look_again=min(soon, timing.tick),
        )
    if not any(_tries(m) for m in acks.values()):
        if watched.suspected == DEAD_OR_ISOLATED:
            # Stopped since: by a failover, whose end nobody has seen yet.
            return verdict(DEAD_OR_ISOLATED, "its acknowledgers were stopped meanwhile", suspected=DEAD_OR_ISOLATED)
        return verdict(UNKNOWN, "no receiver runs: nobody can say whether it lives")
    shortest = min(
        (seconds for n, seconds in quiet.items() if not _elsewhere(acks[n], term)),
        default=silence.asked_at - mark.silent_from,
    )
    quietest = f"{', '.join(sorted(quiet))} heard nothing of it for {shortest:.1f} s"
    left = timing.silence + timing.confirm - shortest
    if watched.suspected != DEAD_OR_ISOLATED or mark.misses < 2 or left > 0:
        again = max(left, timing.fallen) if left > 0 else timing.confirm
        return verdict(UNKNOWN, quietest, "to be confirmed", look_again=again, suspected=DEAD_OR_ISOLATED)
    return verdict(DEAD_OR_ISOLATED, quietest, suspected=DEAD_OR_ISOLATED)


def _required(term: TermRow) -> int:
    """All members, where nothing can be proven."""
    return freeze_required(term.n, term.k) if term.n and term.k else len(term.members) + 1


def _quiet(mark: Mark) -> float:
    """For how long at least this member has heard nothing."""
    return mark.answer.asked_at - mark.quiet_from


def _on(mark: Mark, term: TermRow) -> bool:
    return isinstance(mark.answer, Sample) and mark.answer.attached_to(term.primary_uuid)


def _attached(acks: Mapping[str, Mark], term: TermRow) -> bool:
    return any(_on(m, term) for m in acks.values())


def _tries(mark: Mark) -> bool:
    """A receiver that was stopped says nothing about its source."""
    return isinstance(mark.answer, Sample) and mark.answer.receiver in (ON, CONNECTING)


def _elsewhere(mark: Mark, term: TermRow) -> bool:
    """Whether it was made to follow another server than the primary."""
    sample = mark.answer
    return isinstance(sample, Sample) and _tries(mark) and sample.source_uuid not in ("", term.primary_uuid)


def _hears(mark: Mark, term: TermRow, timing: Timing) -> bool:
    return _on(mark, term) and _quiet(mark) < timing.silence


def heard_before(watched: Watched, timing: Timing) -> dict[str, int]:
    """The acknowledgers that were quiet for ``silence``: heartbeats received, by server_uuid. For ``Request.quiet``."""
    return {
        m.answer.server_uuid: m.answer.heartbeats
        for m in acknowledgers(watched).values()
        if isinstance(m.answer, Sample) and _quiet(m) >= timing.silence
    }
