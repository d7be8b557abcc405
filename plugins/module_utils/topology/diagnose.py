# SPDX-License-Identifier: BSD-2-Clause
"""What an observation means: who is primary, what each server is, and a verdict for the whole. Pure.

Verdicts are named by what is known. An ``_uncertain`` twin says that the evidence allows the name and does not force
it: a hung host and a cut network look alike from one place.
"""

from __future__ import annotations

import dataclasses
from typing import Optional

from ..gtid import EMPTY, GtidSet, union
from ..server import settings
from ..server.settings import Drift
from ..server.state import CONNECTING, OFF, ON, REFUSED, Member, NoAnswer, Observation, ServerState, TermRow
from . import durability
from .durability import DurabilityStatement
from .testimony import FRESH_WITHIN

# --- verdicts for one server -----------------------------------------------------------------------------------------
PRIMARY = "primary"
PRIMARY_READ_ONLY = "primary_read_only"
"""The term names it, it answers, and it takes no writes."""
REPLICA = "replica"
REPLICA_CONNECTING = "replica_connecting"
"""Its receiver wants to, and does not, reach its source."""
REPLICA_STOPPED = "replica_stopped"
"""Configured, no error, receiver or applier off."""
REPLICA_BROKEN = "replica_broken"
"""Receiver or applier stopped with an error."""
REPLICA_ASTRAY = "replica_astray"
"""It follows a server that is not the primary."""
ERRANT = "errant"
"""It holds transactions that the primary does not have and did not make."""
FENCED = "fenced"
"""It is not the primary, and offline: its keeper found it deposed. Nobody is served."""
WRITABLE_STRANGER = "writable_stranger"
"""It takes writes and is not the primary."""
EMPTY_SERVER = "empty"
"""No transactions, no source: to be seeded."""
STANDALONE = "standalone"
"""Transactions, no source, not the primary."""
DEAD = "dead"
"""The host answers and no mysqld listens, and no replica hears it."""
DEAD_UNCERTAIN = "dead_uncertain"
"""No answer, and no replica hears it: dead, hung or cut off."""
UNREACHABLE_FROM_HERE = "unreachable_from_here"
"""No answer here, and a replica hears it: the cut is ours."""
SILENT = "silent"
"""A server that nobody depends on gives no answer."""
ALIVE_NO_LOGIN = "alive_no_login"
"""It answers, and does not let us in."""

# --- verdicts for the whole ------------------------------------------------------------------------------------------
LOSSLESS = "lossless"
"""A primary, semi-sync armed with k, every registered acknowledger attached, no drift that safety rests on."""
LOSSLESS_AT_RISK = "lossless_at_risk"
"""Nothing acknowledged can be lost now; something is missing that the next fault would need."""
LOSSLESS_UNCERTAIN = "lossless_uncertain"
"""It works, and a failover now could not be proven."""
ASYNCHRONOUS = "asynchronous"
"""A primary that does not wait for acknowledgements."""
BLOCKED = "blocked"
"""The primary waits for acknowledgements that do not come: writes hang."""
PRIMARY_DEAD = "primary_dead"
PRIMARY_DEAD_UNCERTAIN = "primary_dead_uncertain"
PRIMARY_UNREACHABLE_FROM_HERE = "primary_unreachable_from_here"
NO_WRITES = "no_writes"
"""The primary of the term answers and is read-only."""
SEVERAL_WRITABLE = "several_writable"
NO_PRIMARY = "no_primary"
FRESH = "fresh"
"""Only empty servers."""
NO_ANSWER = "no_answer"


@dataclasses.dataclass(frozen=True)
class ServerVerdict:
    """One server: ``verdict`` as above, ``reasons`` for a person, ``lag`` in seconds by heartbeat (None: not known)."""

    name: str
    verdict: str
    reasons: tuple[str, ...] = ()
    errant: GtidSet = EMPTY
    drift: tuple[Drift, ...] = ()
    lag: Optional[float] = None


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """The whole: ``primary`` is the name of the primary of record, also when it is dead; None when there is none."""

    verdict: str
    reasons: tuple[str, ...]
    primary: Optional[str]
    primary_uuid: str
    term: Optional[TermRow]
    servers: dict[str, ServerVerdict]
    durability: Optional[DurabilityStatement]

    @property
    def errant(self) -> dict[str, GtidSet]:
        return {name: s.errant for name, s in self.servers.items() if s.errant}


def primary_of_record(observation: Observation) -> tuple[Optional[str], str]:
    """Name and server_uuid of the primary: by the newest term row, else by who is writable, else by who is followed.

    The name is None when nothing names one server alone.
    """
    term = observation.term
    if term:
        state = observation.by_uuid(term.primary_uuid)
        if state:
            return state.name, term.primary_uuid
        registered = next((m for m in term.members if m.server_uuid == term.primary_uuid), None)
        for member in observation.members:
            if registered and member.name not in observation.states and _same_server(member, registered):
                return member.name, term.primary_uuid
        return (registered.name if registered else None), term.primary_uuid
    writable = [s for s in observation.states.values() if s.writable and not s.receiver]
    if len(writable) == 1:
        return writable[0].name, writable[0].server_uuid
    if not writable:
        replicas = [s for s in observation.states.values() if s.receiver and s.receiver.source_host]
        followed = {_followed(s, observation) for s in replicas}
        if len(followed) == 1:
            return followed.pop()
    return None, ""


def _followed(server: ServerState, observation: Observation) -> tuple[Optional[str], str]:
    """Name and server_uuid of the member that a server follows. A receiver that has just started knows no uuid yet."""
    receiver = server.receiver
    if receiver is None:
        raise AssertionError("who follows somebody has a receiver")
    for member in observation.members:
        state = observation.states.get(member.name)
        address = (member.host, member.replication_port) == (receiver.source_host, receiver.source_port)
        if address or (state and receiver.source_uuid == state.server_uuid):
            return member.name, state.server_uuid if state else receiver.source_uuid
    return None, ""


def _same_server(member: Member, registered: Member) -> bool:
    return member.name == registered.name or (member.host, member.port) == (registered.host, registered.port)


def errant(server: ServerState, observation: Observation, primary: Optional[ServerState], primary_uuid: str) -> GtidSet:
    """Transactions that only this server has, and should not.

    A replica of an AFTER_SYNC primary is allowed to be ahead of it with the primary's own transactions: they wait for
    their acknowledgement there. So with the primary's answer at hand, what the primary itself made is not errant.
    Without it, what this server made itself and nobody else received is errant. Where nothing names a primary, nothing
    is errant.
    """
    if not primary_uuid or server.server_uuid == primary_uuid:
        return EMPTY
    if primary:
        surplus = server.executed - primary.executed
        return surplus - surplus.of([primary_uuid])
    others = union(s.received for s in observation.states.values() if s.server_uuid != server.server_uuid)
    return server.executed.of([server.server_uuid]) - others


def lag(server: ServerState, primary: Optional[ServerState], primary_uuid: str) -> Optional[float]:
    """Seconds between the primary's newest heartbeat and the newest one this server has applied; both by one clock.

    None when it is not known: also when no keeper writes heartbeats any more, for then equal rows say nothing.
    """

    def beat(state: Optional[ServerState]) -> Optional[float]:
        rows = state.heartbeats if state else ()
        return next((b.written_at for b in rows if b.server_uuid == primary_uuid), None)

    ours, theirs = beat(server), beat(primary)
    if primary is None or ours is None or theirs is None or primary.clock - theirs > FRESH_WITHIN:
        return None
    return round(max(theirs - ours, 0.0), 3)


def heard_by(observation: Observation, primary_uuid: str) -> list[str]:
    """The servers whose receiver is connected to the primary."""
    return [
        s.name
        for s in observation.states.values()
        if s.receiver and s.receiver.state == ON and s.receiver.source_uuid == primary_uuid
    ]


def progressed(before: Observation, after: Observation, primary_uuid: str) -> list[str]:
    """The servers that heard something of the primary between two observations: heartbeats, or transactions."""
    names = []
    for name, now in after.states.items():
        was = before.states.get(name)
        if not was or not now.receiver or not was.receiver or now.receiver.source_uuid != primary_uuid:
            continue
        if now.receiver.heartbeats > was.receiver.heartbeats or was.receiver.retrieved < now.receiver.retrieved:
            names.append(name)
    return names


def diagnose(observation: Observation, *, acknowledgement: str = "disk") -> Diagnosis:
    """Judge every server and the whole.

    :param acknowledgement: what the cluster is meant to promise, when no term row says it yet.
    """
    term = observation.term
    name, uuid = primary_of_record(observation)
    primary = observation.by_uuid(uuid) if uuid else None
    wanted = term.acknowledgement if term else acknowledgement
    servers = {
        member.name: _server(member.name, observation, name, uuid, primary, wanted) for member in observation.members
    }
    statement = None
    if term:
        own = next((m for m in term.members if m.server_uuid == term.primary_uuid), None)
        if own:
            statement = durability.state(own, term.acknowledgers, term.k, term.acknowledgement)
    verdict, reasons = _whole(observation, servers, name, uuid, primary, term)
    return Diagnosis(verdict, tuple(reasons), name, uuid, term, servers, statement)


def _server(
    name: str,
    observation: Observation,
    primary_name: Optional[str],
    primary_uuid: str,
    primary: Optional[ServerState],
    acknowledgement: str,
) -> ServerVerdict:
    answer = observation.answers[name]
    if isinstance(answer, NoAnswer):
        return _silent(answer, observation, name == primary_name, primary_uuid)
    drifted = settings.drift(answer.settings, acknowledgement)
    surplus = errant(answer, observation, primary, primary_uuid)
    late = lag(answer, primary, primary_uuid) if answer.server_uuid != primary_uuid else None
    verdict, reasons = _answered(answer, primary_uuid, surplus)
    term = observation.term
    if term and answer.server_uuid in term.out_of_service:
        reasons.append(f"out of service: {term.out_of_service[answer.server_uuid]}")
    return ServerVerdict(name, verdict, tuple(reasons), surplus, drifted, late)


def _silent(answer: NoAnswer, observation: Observation, is_primary: bool, primary_uuid: str) -> ServerVerdict:
    reasons: list[str] = [answer.message]
    if answer.alive:
        return ServerVerdict(answer.name, ALIVE_NO_LOGIN, tuple(reasons))
    if not is_primary:
        return ServerVerdict(answer.name, SILENT, tuple(reasons))
    hearing = heard_by(observation, primary_uuid)
    if hearing:
        reasons.append(f"still connected to it: {', '.join(hearing)}")
        return ServerVerdict(answer.name, UNREACHABLE_FROM_HERE, tuple(reasons))
    reasons.append("no replica that answered is connected to it")
    return ServerVerdict(answer.name, DEAD if answer.kind == REFUSED else DEAD_UNCERTAIN, tuple(reasons))


def _answered(server: ServerState, primary_uuid: str, surplus: GtidSet) -> tuple[str, list[str]]:
    if server.server_uuid == primary_uuid:
        if server.fenced:
            return PRIMARY_READ_ONLY, ["the term names it primary and it is offline"]
        if server.writable:
            return PRIMARY, []
        return PRIMARY_READ_ONLY, ["the term names it primary and it is read-only"]
    if server.fenced:
        waits = "; commits still wait there, restart mysqld" if server.writable else ""
        return FENCED, [f"it is offline (fenced): nobody is served{waits}"]
    if server.writable:
        return WRITABLE_STRANGER, ["it takes writes and is not the primary"]
    if surplus:
        return ERRANT, [f"only this server has {surplus}"]
    receiver, applier = server.receiver, server.applier
    if receiver is None or applier is None or not (receiver.source_host or receiver.source_uuid):
        if not server.executed:
            return EMPTY_SERVER, []
        return STANDALONE, ["it has transactions and follows nobody"]
    if receiver.error_number and receiver.state != ON:
        broken = f"receiver: {receiver.error} ({receiver.error_number})"
        if receiver.state == CONNECTING:
            return REPLICA_CONNECTING, [broken]
        return REPLICA_BROKEN, [broken]
    if applier.error_number:
        return REPLICA_BROKEN, [f"applier: {applier.error} ({applier.error_number})"]
    if primary_uuid and receiver.source_uuid and receiver.source_uuid != primary_uuid:
        return REPLICA_ASTRAY, [f"it follows {receiver.source_host} ({receiver.source_uuid})"]
    if receiver.state == OFF or applier.state == OFF:
        stopped = [what for what, state in (("receiver", receiver.state), ("applier", applier.state)) if state == OFF]
        return REPLICA_STOPPED, [f"stopped: {' and '.join(stopped)}"]
    if receiver.state == CONNECTING:
        return REPLICA_CONNECTING, ["the receiver is connecting"]
    return REPLICA, []


def _whole(
    observation: Observation,
    servers: dict[str, ServerVerdict],
    primary_name: Optional[str],
    primary_uuid: str,
    primary: Optional[ServerState],
    term: Optional[TermRow],
) -> tuple[str, list[str]]:
    if not observation.states:
        return NO_ANSWER, [answer.message for answer in observation.silent.values()]
    strangers = [s.name for s in servers.values() if s.verdict == WRITABLE_STRANGER]
    writable = strangers + ([primary.name] if primary and primary.writable and not primary.fenced else [])
    if len(writable) > 1:
        return SEVERAL_WRITABLE, [f"writable at the same time: {', '.join(sorted(writable))}"]
    if not primary_uuid and primary_name is None:
        if all(s.verdict == EMPTY_SERVER for s in servers.values() if s.name in observation.states):
            return FRESH, ["the servers that answered are all empty"]
        return NO_PRIMARY, ["nothing names one server as primary"]
    if primary is None:
        silent = servers.get(primary_name or "")
        verdict = {
            DEAD: PRIMARY_DEAD,
            DEAD_UNCERTAIN: PRIMARY_DEAD_UNCERTAIN,
            UNREACHABLE_FROM_HERE: PRIMARY_UNREACHABLE_FROM_HERE,
            ALIVE_NO_LOGIN: PRIMARY_UNREACHABLE_FROM_HERE,
        }.get(silent.verdict if silent else "", PRIMARY_DEAD_UNCERTAIN)
        return verdict, list(silent.reasons) if silent else ["the primary of record is not among the members"]
    if primary.fenced or not primary.writable:
        how = "offline" if primary.fenced else "read-only"
        return NO_WRITES, [f"{primary.name} is the primary of record and {how}"]
    return _alive(observation, servers, primary, term)


def _alive(
    observation: Observation, servers: dict[str, ServerVerdict], primary: ServerState, term: Optional[TermRow]
) -> tuple[str, list[str]]:
    semi = primary.semi_sync
    if term is None:
        return ASYNCHRONOUS, ["no term row: nobody is registered to acknowledge"]
    if not (semi.source_enabled and semi.source_active):
        return ASYNCHRONOUS, [f"{primary.name} does not wait for acknowledgements: semi-sync is off"]
    if semi.wait_sessions and semi.clients < semi.wait_count:
        return BLOCKED, [
            f"{semi.wait_sessions} commits wait; {semi.clients} acknowledgers attached, {semi.wait_count} needed"
        ]
    doubts = uncertain(observation, servers, primary, term)
    if doubts:
        return LOSSLESS_UNCERTAIN, doubts
    risks = [f"{s.name}: {'; '.join(s.reasons) or s.verdict}" for s in servers.values() if _risky(s, term)]
    registered = {m.server_uuid for m in term.acknowledgers}
    attached = [s for s in observation.states.values() if s.server_uuid in registered and _acknowledging(s, primary)]
    if len(attached) < term.n:
        absent = [m.name for m in term.acknowledgers if m.server_uuid not in {s.server_uuid for s in attached}]
        risks.append(f"registered and not acknowledging: {', '.join(absent)}")
    out = {m.name for m in term.members} - _serving(term)
    risks += [
        f"{s.name}: {d.name} is {d.actual}, not {d.expected}"
        for s in servers.values()
        for d in s.drift
        if s.name not in out
    ]
    return (LOSSLESS_AT_RISK, risks) if risks else (LOSSLESS, [])


def _risky(server: ServerVerdict, term: TermRow) -> bool:
    return server.verdict not in (PRIMARY, REPLICA) and server.name in _serving(term)


def _serving(term: TermRow) -> frozenset[str]:
    """The members that the cluster counts on: not those that a person took out of service."""
    return frozenset(m.name for m in term.members if m.server_uuid not in term.out_of_service)


def _acknowledging(server: ServerState, primary: ServerState) -> bool:
    return bool(
        server.semi_sync.replica_enabled
        and server.receiver
        and server.receiver.state == ON
        and server.receiver.source_uuid == primary.server_uuid
    )


def uncertain(
    observation: Observation, servers: dict[str, ServerVerdict], primary: ServerState, term: TermRow
) -> list[str]:
    """What would keep a failover from being proven, were the primary to die now."""
    semi = primary.semi_sync
    doubts = []
    if semi.wait_count < term.k:
        doubts.append(f"{primary.name} waits for {semi.wait_count} acknowledgements; the term says {term.k}")
    if semi.wait_point != "AFTER_SYNC":
        doubts.append(f"{primary.name} waits at {semi.wait_point}, not AFTER_SYNC")
    if semi.no_tx > term.no_tx_base:
        doubts.append(f"{primary.name} committed {semi.no_tx - term.no_tx_base} transactions without acknowledgement")
    if semi.timeout_ms < settings.MAXIMUM_TIMEOUT_MS:
        doubts.append(f"{primary.name} would stop waiting after {semi.timeout_ms} ms")
    if not semi.wait_no_replica:
        doubts.append(f"{primary.name} would stop waiting when its acknowledgers are gone")
    if semi.clients > term.n:
        doubts.append(f"{semi.clients} servers acknowledge, {term.n} are registered")
    doubts += [
        f"{s.name} has further replication channels: {', '.join(s.other_channels)}"
        for s in observation.states.values()
        if s.other_channels and s.server_uuid in {m.server_uuid for m in term.acknowledgers}
    ]
    strangers = [
        s.name
        for s in observation.states.values()
        if s.server_uuid not in {m.server_uuid for m in term.acknowledgers}
        and s.server_uuid != primary.server_uuid
        and _acknowledging(s, primary)
    ]
    if strangers:
        doubts.append(f"not registered, and acknowledging: {', '.join(strangers)}")
    doubts += [
        f"{s.name}: {d.name} is {d.actual}, not {d.expected}: {d.why}"
        for s in servers.values()
        for d in s.drift
        if d.safety and s.name in _serving(term)
    ]
    beat = next((b for b in primary.heartbeats if b.server_uuid == primary.server_uuid), None)
    if beat is None or primary.clock - beat.written_at > FRESH_WITHIN:
        doubts.append(f"{primary.name} writes no heartbeat: its keeper does not run, or commits hang")
    return doubts
