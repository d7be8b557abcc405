# SPDX-License-Identifier: BSD-2-Clause
"""What the manager knows, in the shapes of ``desk.Desk``. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, Optional, Sequence, Union

from ..failover import plan
from ..failover.plan import Request, Start
from ..refusal import Refusal
from ..server.state import CONNECTING, ON, REFUSED, NoAnswer, Observation
from ..topology import durability
from ..topology.diagnose import diagnose
from .config import ClusterConfig
from .policy import Decision, Pause, cooldown
from .recover import Cause, request_for
from .sample import Sample
from .verdict import Verdict, Watched

PRIMARY, REPLICA, NO_ROLE = "primary", "replica", "none"


@dataclasses.dataclass(frozen=True)
class View:
    """One cluster at one moment. ``since`` and ``updated_at`` in epoch seconds."""

    config: ClusterConfig
    watched: Watched
    verdict: Verdict
    decision: Decision
    since: float
    updated_at: float


def cluster_status(
    view: View, pause: Optional[Pause], last: Optional[Mapping[str, Any]], attempts: Any, now: float, monotonic: float
) -> dict[str, Any]:
    """A cluster as in ``desk.status()``. ``now`` (epoch) and ``monotonic`` are the same moment."""
    term = view.watched.term
    acting = view.decision.action
    return {
        "verdict": view.verdict.verdict,
        "reasons": [*view.verdict.reasons, *view.verdict.notes],
        "since": view.since,
        "action": acting,
        "held_by": list(view.decision.reasons) if acting in ("held", "waiting") else [],
        "primary": view.verdict.primary or None,
        "primary_uuid": term.primary_uuid if term else None,
        "term": term.term if term else None,
        "n": term.n if term else None,
        "k": term.k if term else None,
        "semi_sync_clients": _clients(view),
        "heartbeat_age_s": _heartbeat_age(view, monotonic),
        "paused": dataclasses.asdict(pause) if pause else None,
        "maintenance": _maintenance(view.config, now),
        "heard_by": view.verdict.evidence.get("heard_by"),
        "cooldown_until": cooldown(view.config.rules, attempts),
        "members": {m.name: _member(view, m.name, now, monotonic) for m in view.config.members},
        "last_recovery": last,
        "updated_at": view.updated_at,
    }


def _maintenance(config: ClusterConfig, now: float) -> Optional[dict[str, Any]]:
    for window in config.rules.maintenance:
        until = window.until(now)
        if until is not None:
            return {"reason": window.reason, "from": window.began(until), "until": until}
    return None


def _member(view: View, name: str, now: float, monotonic: float) -> dict[str, Any]:
    member = next(m for m in view.config.members if m.name == name)
    mark = view.watched.marks.get(name)
    sample = mark.sample if mark else None
    answer = mark.answer if mark else None
    silent = answer is None or not isinstance(answer, Sample)
    role = PRIMARY if name == view.verdict.primary else REPLICA if sample and sample.receiver else NO_ROLE
    message = getattr(answer, "message", "") if silent else (sample.error if sample else "")
    return {
        "address": f"{member.host}:{member.port}",
        "zone": member.zone,
        "city": member.city,
        "role": role,
        "answer": getattr(answer, "kind", "timed_out") if silent else "ok",
        "answered_at": now - (monotonic - sample.answered_at) if sample else None,
        "writable": sample.writable if sample and not silent else None,
        "receiver": sample.receiver if sample and not silent else "",
        "source": _source(view, sample) if sample and not silent else "",
        "lag_s": _lag(view, name, sample) if not silent else None,
        "acknowledges": _acknowledges(view, name, sample) if sample and not silent else None,
        "message": message,
        "out_of_service": _out_of_service(view, name, sample),
    }


def _out_of_service(view: View, name: str, sample: Optional[Sample]) -> str:
    """Why a person took this member out of service, as the newest term row says; empty while it is in service."""
    term = view.watched.term
    if term is None:
        return ""
    uuid = sample.server_uuid if sample else next((m.server_uuid for m in term.members if m.name == name), "")
    return term.out_of_service.get(uuid, "")


def _source(view: View, sample: Sample) -> str:
    """The name of the member it follows, else its server_uuid."""
    for name, mark in view.watched.marks.items():
        if sample.source_uuid and mark.sample and mark.sample.server_uuid == sample.source_uuid:
            return name
    return sample.source_uuid


def _lag(view: View, name: str, sample: Optional[Sample]) -> Optional[float]:
    """By how much this member's heartbeat row is older than the primary's; both times are of the primary's clock."""
    primary = view.watched.marks.get(view.verdict.primary)
    if sample is None or primary is None or primary.sample is None or sample.beat_sequence < 0:
        return None
    if name == view.verdict.primary:
        return None
    return round(max(primary.sample.beat_written_at - sample.beat_written_at, 0.0), 3)


def _acknowledges(view: View, name: str, sample: Sample) -> Optional[bool]:
    """Whether the acknowledgements of this server count, and are given. The primary gives none, and none is missed."""
    if view.watched.term is None or name == view.verdict.primary:
        return None
    registered = {m.server_uuid for m in view.watched.term.acknowledgers}
    return sample.server_uuid in registered and sample.replica_enabled


def _clients(view: View) -> Optional[int]:
    """How many acknowledgers the primary says are attached to it, in its newest answer."""
    mark = view.watched.marks.get(view.verdict.primary)
    return mark.answer.clients if mark and isinstance(mark.answer, Sample) else None


def _heartbeat_age(view: View, monotonic: float) -> Optional[float]:
    """How old the newest heartbeat row is that anybody has shown.

    At the moment of that answer by the server's own clock, and from there by the manager's. The primary's answer comes
    before an equal one: its clock has written the row.
    """
    shown = [
        (mark.sample.beat, name == view.verdict.primary, mark.sample)
        for name, mark in view.watched.marks.items()
        if mark.sample is not None and mark.sample.beat_sequence >= 0
    ]
    if not shown:
        return None
    _beat, _own, sample = max(shown, key=lambda each: each[:2])
    return round(max(sample.clock - sample.beat_written_at, 0.0) + max(monotonic - sample.answered_at, 0.0), 3)


# --- explaining ------------------------------------------------------------------------------------------------------
def without_primary(observation: Observation, primary: str, primary_uuid: str) -> Observation:
    """The same cluster, had its primary just died: nothing listens there, and the receivers have fallen from it."""
    answers: dict[str, Any] = {}
    for name, answer in observation.answers.items():
        receiver = getattr(answer, "receiver", None)
        if receiver is not None and receiver.source_uuid == primary_uuid and receiver.state == ON:
            answer = dataclasses.replace(answer, receiver=dataclasses.replace(receiver, state=CONNECTING))
        answers[name] = answer
    if primary in answers:
        answers[primary] = NoAnswer(primary, REFUSED, "as if it had died")
    return dataclasses.replace(observation, answers=answers)


def _may_end(config: ClusterConfig, request: Request, start: Start, then: Observation) -> Union[Start, Refusal]:
    """Whether enough would be left to acknowledge behind whichever of them is elected."""
    elected, *following = start.acknowledgers
    uuids = {name: state.server_uuid for name, state in then.states.items()}
    term = plan.next_term(
        start, elected, uuids[elected], following, config.candidates, uuids, request, proof="", run_id=""
    )
    return term if isinstance(term, Refusal) else start


def explain(view: View, observation: Observation, held_by: Sequence[str]) -> dict[str, Any]:
    """``desk.explain()``, from a fresh observation and the verdict of the last tick."""
    now = diagnose(observation, acknowledgement=view.config.acknowledgement)
    then = without_primary(observation, now.primary or "", now.primary_uuid)
    request = request_for(view.config, Cause())
    decided = plan.may_start(request, then, diagnose(then, acknowledgement=view.config.acknowledgement))
    if isinstance(decided, Start):
        decided = _may_end(view.config, request, decided, then)
    refused = isinstance(decided, Refusal)
    sentences = plan.sentences(decided, then) if isinstance(decided, Start) else []
    if refused:
        would = "nothing would be promoted"
    elif held_by:
        would = "nothing would be done by itself: " + "; ".join(held_by)
    else:
        would = "one of the acknowledgers would be promoted"
    return {
        "cluster": view.config.name,
        "verdict": view.verdict.verdict,
        "reasons": [*view.verdict.reasons, *view.verdict.notes],
        "would": would,
        "plan": sentences,
        "obstacles": [
            {"code": r.code, "message": r.message, "next_step": r.next_step}
            for r in (decided.reasons if isinstance(decided, Refusal) else ())
        ],
        "durability": durability.sentences(now.durability) if now.durability else [],
    }
