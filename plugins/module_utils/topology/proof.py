# SPDX-License-Identifier: BSD-2-Clause
"""The proof that a promotion loses nothing: a list of facts, each with its evidence, none of which may be missing.

A fact is something one server said at one time. The proof holds when, for the term row in force, every claim below has
its facts. Take any one away and the result is ``unproven``, and ``missing`` says which claim and what would make it
provable.

    registered  the term row with n members that may acknowledge, and k: the newest one that the elected server holds
                when it has applied everything, so no later row can exist that was acknowledged
    frozen      at least n - k + 1 of those have a stopped receiver          (revocation and containment: durability)
    kept        each of them still holds what it acknowledged               (relay_log_recovery=OFF and the other
                                                                             settings that safety rests on)
    testified   the primary still waited for k acknowledgements             (testimony)
    contains    the elected server received all that any of them received   (checks that received sets are ordered)
    applied     the elected server has executed all it received

Pure.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, Sequence

from ..server.settings import drift
from ..server.state import OFF, Heartbeat, ServerState, TermRow
from . import durability
from .testimony import Testimony

PROVEN, UNPROVEN, VIOLATED = "proven", "unproven", "violated"

CLAIMS = ("registered", "frozen", "kept", "testified", "contains", "applied")

_REMEDY = {
    "registered": "Run the replication role while the primary lives: it registers who may acknowledge.",
    "frozen": "Bring back one more registered acknowledger, then run again.",
    "kept": "Restore the settings named in the evidence; until then this server's acknowledgements prove nothing.",
    "testified": "Keep the keeper running on the primary and semi-sync on; for this failure compare the old primary's"
    " binary log by hand, or bring the old primary back.",
    "contains": "The servers diverged: compare the GTID sets in the evidence and decide by hand.",
    "applied": "Mend the applier's error on the elected server, then run again.",
}


@dataclasses.dataclass(frozen=True)
class Fact:
    """``claim`` is one of ``CLAIMS``; ``value`` what that server said; ``at`` epoch seconds of the observer's clock."""

    claim: str
    server_uuid: str
    value: Any
    at: float


@dataclasses.dataclass(frozen=True)
class Missing:
    """A claim that could not be shown: why (a code and a sentence), and what would make it provable."""

    claim: str
    code: str
    message: str
    next_step: str


@dataclasses.dataclass(frozen=True)
class Proof:
    zero_loss: str
    n: int
    k: int
    required: int
    frozen: tuple[str, ...]
    facts: tuple[Fact, ...]
    missing: tuple[Missing, ...]
    testimony: Testimony

    def as_result(self) -> dict[str, Any]:
        """For results, journal and report: {n, k, frozen, required, testimony, evidence, missing}."""
        return {
            "n": self.n,
            "k": self.k,
            "required": self.required,
            "frozen": list(self.frozen),
            "testimony": testimony_as_result(self.testimony),
            "evidence": [dataclasses.asdict(fact) for fact in self.facts],
            "missing": [dataclasses.asdict(item) for item in self.missing],
        }


def testimony_as_result(testimony: Testimony) -> dict[str, Any]:
    """JSON-able; ``testimony_from_result`` reads it back."""
    return dataclasses.asdict(testimony)


def testimony_from_result(values: Mapping[str, Any]) -> Testimony:
    """What ``testimony_as_result`` wrote into a journal."""
    beat = values["heartbeat"]
    return Testimony(**dict(values, reasons=tuple(values["reasons"]), heartbeat=Heartbeat(**beat) if beat else None))


def gather(
    term: TermRow, elected: ServerState, held: Sequence[ServerState], testimony: Testimony, *, at: float
) -> tuple[Fact, ...]:
    """The facts that the frozen servers give. A fact that does not hold is not gathered.

    :param held: the registered acknowledgers whose receiver is stopped (or follows nobody), the elected one included.
    """
    registered = {m.server_uuid for m in term.acknowledgers}
    facts = []
    if elected.term and elected.term.revision == term.revision:
        seen = {"term": term.term, "revision": term.revision, "n": term.n, "k": term.k}
        facts.append(Fact("registered", elected.server_uuid, seen, at))
    for server in held:
        if server.server_uuid not in registered:
            continue
        uuid = server.server_uuid
        if not not_held(server):
            state = server.receiver.state if server.receiver else "NONE"
            facts.append(Fact("frozen", uuid, {"receiver": state, "received": str(server.received)}, at))
        if not _unsafe(server, term):
            facts.append(Fact("kept", uuid, {"relay_log_recovery": "OFF", "drift": []}, at))
        if server.received <= elected.received:
            facts.append(Fact("contains", uuid, {"elected_lacks": ""}, at))
    if testimony.holds and testimony.heartbeat:
        said = {"sequence": testimony.heartbeat.sequence, "no_tx": testimony.heartbeat.no_tx}
        facts.append(Fact("testified", testimony.heartbeat.server_uuid, said, at))
    if not elected.lacks_applied:
        facts.append(Fact("applied", elected.server_uuid, {"executed": str(elected.executed)}, at))
    return tuple(facts)


def not_held(server: ServerState) -> str:
    """Why this server may still receive and acknowledge something; empty when it can not.

    A receiver that is only connecting may: whoever answers at that address next may be the old primary. So may one that
    is connected to a third server, as long as nobody has stopped it. Further channels are not ours: what they received
    is not looked at, so a server that has any is not counted.
    """
    if server.other_channels:
        return f"it has further replication channels: {', '.join(server.other_channels)}"
    receiver = server.receiver
    if receiver is not None and receiver.state != OFF:
        return f"its receiver is {receiver.state}"
    return ""


def _unsafe(server: ServerState, term: TermRow) -> list[str]:
    return [f"{d.name}={d.actual}" for d in drift(server.settings, term.acknowledgement) if d.safety]


def prove(
    term: TermRow,
    elected: ServerState,
    held: Sequence[ServerState],
    testimony: Testimony,
    facts: Sequence[Fact],
) -> Proof:
    """Weigh the facts. ``held`` only serves to say what is wrong with a server whose fact is missing."""
    required = durability.freeze_required(term.n, term.k) if term.n and term.k else 1
    by_claim = {claim: {fact.server_uuid for fact in facts if fact.claim == claim} for claim in CLAIMS}
    missing: list[Missing] = []

    def lacking(claim: str, code: str, message: str) -> None:
        missing.append(Missing(claim, code, message, _REMEDY[claim]))

    names = {s.server_uuid: s.name for s in held}
    frozen = by_claim["frozen"] & {m.server_uuid for m in term.acknowledgers}
    if not term.n or not term.k or elected.server_uuid not in by_claim["registered"]:
        lacking("registered", "acknowledgers_unknown", f"{elected.name} does not hold the term row that was gone by")
    if len(frozen) < required:
        lacking(
            "frozen",
            "too_few_frozen",
            f"{len(frozen)} of {term.n} acknowledgers are held; with k={term.k}, {required} are needed",
        )
    for uuid in sorted(frozen):
        server = next((s for s in held if s.server_uuid == uuid), None)
        name = names.get(uuid, uuid)
        if uuid not in by_claim["kept"]:
            what = ", ".join(_unsafe(server, term)) if server else "unknown"
            lacking("kept", "unsafe_settings", f"{name} may not have kept what it acknowledged: {what}")
        if uuid not in by_claim["contains"]:
            surplus = server.received - elected.received if server else ""
            lacking("contains", "diverged", f"{name} received what {elected.name} did not: {surplus}")
    if not by_claim["testified"]:
        for reason in testimony.reasons or ("semi_sync_unobserved",):
            lacking("testified", reason, _TESTIMONY_SENTENCES.get(reason, reason))
    if elected.server_uuid not in by_claim["applied"]:
        lacking("applied", "not_applied", f"{elected.name} has not executed {elected.lacks_applied}")
    return Proof(
        zero_loss=UNPROVEN if missing else PROVEN,
        n=term.n,
        k=term.k,
        required=required,
        frozen=tuple(sorted(names.get(uuid, uuid) for uuid in frozen)),
        facts=tuple(facts),
        missing=tuple(missing),
        testimony=testimony,
    )


_TESTIMONY_SENTENCES = {
    "semi_sync_unobserved": "no fresh heartbeat says that the primary still waited for acknowledgements",
    "semi_sync_testimony_of_another_term": "the last heartbeat belongs to another term",
    "semi_sync_was_off": "the primary's last heartbeat says that semi-sync was off",
    "semi_sync_had_degraded": "the primary had committed without waiting for an acknowledgement",
    "semi_sync_waited_for_fewer": "the primary waited for fewer acknowledgements than the term says",
    "semi_sync_wait_point": "the primary did not wait AFTER_SYNC",
    "semi_sync_time_out_too_short": "the primary's semi-sync time-out would let it stop waiting by itself",
    "semi_sync_gives_up_without_replicas": "the primary would have stopped waiting once too few replicas were attached",
    "semi_sync_unregistered_acknowledger": "more servers acknowledged than are registered, so n is not known",
}
