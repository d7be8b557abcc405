# SPDX-License-Identifier: BSD-2-Clause
"""An observation and its diagnosis as JSON-able values, and as the few lines that a person reads at a glance. Pure."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional

from ..server.state import NoAnswer, Observation, ServerState
from .diagnose import Diagnosis, ServerVerdict
from .durability import DurabilityStatement


def as_result(observation: Observation, diagnosis: Diagnosis) -> dict[str, Any]:
    """The return values of ``mysql_topology_info``."""
    return {
        "verdict": diagnosis.verdict,
        "reasons": list(diagnosis.reasons),
        "primary": diagnosis.primary,
        "primary_uuid": diagnosis.primary_uuid,
        "term": _term(diagnosis),
        "durability": durability_as_result(diagnosis.durability),
        "servers": {name: _server(observation.answers[name], verdict) for name, verdict in diagnosis.servers.items()},
        "errant": {name: str(gtids) for name, gtids in diagnosis.errant.items()},
        "summary": summary(observation, diagnosis),
        "observed_at": observation.wall,
        "elapsed_ms": round(observation.elapsed * 1000, 1),
        "slowest_ms": round(
            max(((a.answered_at - a.asked_at) for a in observation.answers.values()), default=0.0) * 1000, 1
        ),
    }


def _term(diagnosis: Diagnosis) -> Optional[dict[str, Any]]:
    if diagnosis.term is None:
        return None
    values = dataclasses.asdict(diagnosis.term)
    values["n"] = diagnosis.term.n
    return values


def durability_as_result(statement: Optional[DurabilityStatement]) -> Optional[dict[str, Any]]:
    return dataclasses.asdict(statement) if statement else None


def _server(answer: Any, verdict: ServerVerdict) -> dict[str, Any]:
    common = {
        "verdict": verdict.verdict,
        "reasons": list(verdict.reasons),
        "answered": isinstance(answer, ServerState),
        "answer_ms": round((answer.answered_at - answer.asked_at) * 1000, 1),
    }
    if isinstance(answer, NoAnswer):
        return dict(common, kind=answer.kind, errno=answer.errno, error=answer.message, next_step=answer.next_step)
    return dict(
        common,
        server_uuid=answer.server_uuid,
        server_id=answer.server_id,
        version=answer.version,
        writable=answer.writable,
        read_only=answer.read_only,
        super_read_only=answer.super_read_only,
        offline_mode=answer.offline_mode,
        gtid_executed=str(answer.executed),
        gtid_purged=str(answer.purged),
        gtid_retrieved=str(answer.receiver.retrieved) if answer.receiver else "",
        unapplied=str(answer.lacks_applied),
        receiver=_receiver(answer),
        applier=dataclasses.asdict(answer.applier) if answer.applier else None,
        semi_sync=dataclasses.asdict(answer.semi_sync),
        lag_s=verdict.lag,
        errant=str(verdict.errant),
        drift=[dataclasses.asdict(d) for d in verdict.drift],
        uptime_s=answer.uptime,
    )


def _receiver(state: ServerState) -> Optional[dict[str, Any]]:
    if state.receiver is None:
        return None
    values = dataclasses.asdict(dataclasses.replace(state.receiver))
    values["retrieved"] = str(state.receiver.retrieved)
    return values


def summary(observation: Observation, diagnosis: Diagnosis) -> list[str]:
    """One line for the whole, one for each server, one for each disaster level, one for each reason."""
    term = diagnosis.term
    head = f"{diagnosis.verdict}: primary {diagnosis.primary or '(none)'}"
    if term:
        head += f", term {term.term}.{term.revision}, k={term.k} of n={term.n}, acknowledged on {term.acknowledgement}"
    lines = [head]
    width = max((len(name) for name in diagnosis.servers), default=0)
    for name, verdict in diagnosis.servers.items():
        lines.append(
            f"  {name:<{width}}  {verdict.verdict:<20} {_details(observation.answers[name], verdict)}".rstrip()
        )
    if diagnosis.durability:
        for level in diagnosis.durability.levels:
            answer = "survived without loss" if level.survived else f"NOT survived (needs k={level.k_required})"
            lines.append(f"  loss of the primary's {level.level}: {answer}")
    lines += [f"  ! {reason}" for reason in diagnosis.reasons]
    return lines


def _details(answer: Any, verdict: ServerVerdict) -> str:
    if isinstance(answer, NoAnswer):
        return "; ".join(verdict.reasons)
    parts = []
    semi = answer.semi_sync
    if verdict.lag is not None:
        parts.append(f"lag {verdict.lag:.1f} s")
    if semi.source_enabled:
        parts.append(f"waits for {semi.wait_count} of {semi.clients} attached")
    if semi.replica_enabled and answer.receiver:
        parts.append("acknowledges" if answer.receiver.state == "ON" else "does not acknowledge")
    if answer.lacks_applied:
        parts.append(f"{len(answer.lacks_applied)} to apply")
    if verdict.drift:
        parts.append(f"{len(verdict.drift)} settings drifted")
    parts += verdict.reasons
    return "; ".join(parts)
