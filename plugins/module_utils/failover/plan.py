# SPDX-License-Identifier: BSD-2-Clause
"""Deciding a failover: may it start, whom to freeze, whom to elect, who acknowledges next, may it be promoted.

Every function is pure: observations in, a decision or a ``Refusal`` with all its reasons out. ``procedure.py`` does
what is decided here and asks again with what it then sees.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, Optional, Sequence, Union

from ..gtid import GtidSet, union
from ..refusal import Reason, Refusal
from ..server.state import NOT_SUPPORTED, ON, Member, Observation, ServerState, TermRow
from ..topology import diagnose as verdicts
from ..topology import durability
from ..topology.diagnose import Diagnosis
from ..topology.proof import PROVEN, Proof, not_held

PLANNED, EMERGENCY = "planned", "emergency"
AUTO = "auto"
NEVER, TO_REMAINING = "never", "to_remaining"


@dataclasses.dataclass(frozen=True)
class Request:
    """What was asked for. Durations in seconds.

    ``primary``: a member's name, or ``auto``. ``lower_k``: ``never`` refuses when fewer than k acknowledgers are left;
    ``to_remaining`` lowers k to what is left, and says so. ``accept_data_loss``: the name of the person who takes an
    unproven promotion upon themselves; empty for nobody. ``block_budget``: how long a planned switchover may block
    writes. ``stall_timeout``: how long the elected server may make no progress applying.

    ``never``: members that are promoted only when asked for by name. ``quiet``: the acknowledgers that a watcher
    has seen hear nothing of the primary for long enough, as heartbeats received by server_uuid: who has still not heard
    more is not listened to again. ``cut``: the primary may answer here, if fewer than k acknowledgers hear it.
    """

    mode: str
    primary: str = AUTO
    accept_data_loss: str = ""
    lower_k: str = NEVER
    block_budget: float = 2.0
    stall_timeout: float = 10.0
    deadline: float = 1.5
    lock_wait: float = 0.0
    never: tuple[str, ...] = ()
    quiet: Mapping[str, int] = dataclasses.field(default_factory=dict)
    cut: bool = False


@dataclasses.dataclass(frozen=True)
class Start:
    """A failover that may start: from whom, under which term, with which acknowledgers answering.

    ``needs_silence``: a second look is due, because a replica still seems to be connected to the primary; these are
    the names of those replicas. ``cut``: the primary answers, and its acknowledgers do not hear it.
    """

    mode: str
    old_primary: str
    old_primary_uuid: str
    term: TermRow
    acknowledgers: tuple[str, ...]
    required: int
    locks: int
    target: str = ""
    needs_silence: tuple[str, ...] = ()
    cut: bool = False


@dataclasses.dataclass(frozen=True)
class Elected:
    """Who is promoted, and why that one. ``received`` is what all held servers together received."""

    name: str
    server_uuid: str
    received: GtidSet
    reasons: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class NextTerm:
    """The term row to write, and what it changes besides the primary."""

    row: TermRow
    notes: tuple[str, ...]


def _refuse(*reasons: Reason) -> Refusal:
    return Refusal(tuple(reasons))


def _reason(code: str, message: str, next_step: str, **evidence: Any) -> Reason:
    return Reason(code, message, evidence, next_step)


def registered_names(term: TermRow, observation: Observation) -> dict[str, str]:
    """server_uuid of each registered acknowledger that answered, by its name here.

    One server can answer under two names (two addresses): it is frozen under both, and counts once.
    """
    uuids = {m.server_uuid for m in term.acknowledgers}
    return {s.name: s.server_uuid for s in observation.states.values() if s.server_uuid in uuids}


def may_start(request: Request, observation: Observation, diagnosis: Diagnosis) -> Union[Start, Refusal]:
    """Whether, on this evidence, the failover may begin. All reasons against it are given at once."""
    reasons: list[Reason] = []
    names = [m.name for m in observation.members]
    if request.primary != AUTO and request.primary not in names:
        reasons.append(
            _reason(
                "unknown_primary",
                f"{request.primary!r} is not a member of this cluster",
                "Name one of the members, or auto.",
                members=names,
            )
        )
    if diagnosis.verdict == verdicts.NO_ANSWER:
        # That no term row was seen says nothing more.
        return Refusal((*reasons, _nobody_answers(observation)))
    if diagnosis.verdict in _NEXT_BY_VERDICT:
        reasons.append(
            _reason(
                f"topology_{diagnosis.verdict}",
                "; ".join(diagnosis.reasons) or diagnosis.verdict,
                _NEXT_BY_VERDICT[diagnosis.verdict],
                verdict=diagnosis.verdict,
            )
        )
    term = diagnosis.term
    if term is None:
        reasons.append(
            _reason(
                "acknowledgers_unknown",
                "no server that answered holds a term row, so nobody knows who may have acknowledged",
                "Run the replication role while the primary lives; for a cluster that never had it, fail over by hand.",
                verdict=diagnosis.verdict,
            )
        )
        return Refusal(tuple(reasons))
    answering = registered_names(term, observation)
    required = durability.freeze_required(term.n, term.k) if term.n and term.k else 1
    locks = _locks(request, term, answering)
    check = _planned if request.mode == PLANNED else _emergency
    # In an emergency such a member is no reason to leave the cluster without a primary: it acknowledges nothing.
    reasons += _not_ours(observation) if request.mode == PLANNED else []
    reasons += check(request, observation, diagnosis, term, answering, max(required, locks))
    if reasons:
        return Refusal(tuple(reasons))
    hearing = verdicts.heard_by(observation, diagnosis.primary_uuid) if request.mode == EMERGENCY else []
    hearing = [name for name in hearing if not _quiet(request, observation.states[name])]
    return Start(
        mode=request.mode,
        old_primary=diagnosis.primary or "",
        old_primary_uuid=diagnosis.primary_uuid,
        term=term,
        acknowledgers=tuple(sorted(answering)),
        required=required,
        locks=locks,
        needs_silence=tuple(hearing),
        cut=request.mode == EMERGENCY and observation.by_uuid(diagnosis.primary_uuid) is not None,
    )


def ended_elsewhere(request: Request, begun: Sequence[int], diagnosis: Diagnosis) -> Optional[TermRow]:
    """The term in force, when it is the end of all that interrupted runs set out for, and nothing is left to be done.

    Terms are counted by promotions, so a later one than theirs says, without anybody's clock, that somebody was
    promoted after they had begun, or by them. Somebody who serves: one that died since, or waits for acknowledgements
    that do not come, is the next failover's business.

    :param begun: the terms by which those runs went; 0 for one that did not say.
    :returns: None when there is something to decide: also for who wants a certain server, or a switchover.
    """
    term = diagnosis.term
    anybody = request.mode == EMERGENCY and request.primary == AUTO
    if not anybody or term is None or not begun or not all(0 < went_by < term.term for went_by in begun):
        return None
    primary = diagnosis.servers.get(diagnosis.primary or "")
    serves = primary is not None and primary.verdict == verdicts.PRIMARY and diagnosis.verdict != verdicts.BLOCKED
    return term if serves else None


def _locks(request: Request, term: TermRow, answering: Mapping[str, str]) -> int:
    """How many acknowledgers to lock: so many that no other run can lock as many.

    A person who accepts a loss because acknowledgers are missing answers for that, too: those that are left are locked.
    """
    locks = min(durability.locks_required(term.n, term.k), term.n) if term.n and term.k else 1
    return min(locks, len(answering)) if request.accept_data_loss else locks


def _not_ours(observation: Observation) -> list[Reason]:
    return [
        _reason("connect_not_supported", a.message, f"{a.next_step} Or take it out of the members.", member=a.name)
        for a in observation.silent.values()
        if a.kind == NOT_SUPPORTED
    ]


def _nobody_answers(observation: Observation) -> Reason:
    silent = observation.silent
    here = "" if any(s.alive for s in silent.values()) else "Check the control host's own network first. "
    return _reason(
        "topology_no_answer",
        "no member answers: " + "; ".join(s.message for s in silent.values()),
        f"{here}{observation.next_step}",
        verdict=verdicts.NO_ANSWER,
        kinds={name: s.kind for name, s in silent.items()},
    )


def _quiet(request: Request, state: ServerState) -> bool:
    """Whether this server has heard nothing since the watcher looked, and nothing for a while before that.

    The watcher's count of heartbeats vouches for idle times; under traffic none are sent, and the time of the last
    transaction that came (by the server's one clock) does.
    """
    receiver = state.receiver
    if receiver is None or request.quiet.get(state.server_uuid) != receiver.heartbeats:
        return False
    return state.clock - receiver.last_queued_at >= _window((state,))


_NEXT_BY_VERDICT = {
    verdicts.FRESH: "Deploy replication first (site.yml).",
    verdicts.NO_PRIMARY: "Find out by hand which server was primary; then run the replication role with it.",
    verdicts.SEVERAL_WRITABLE: "Make all but the right one read-only by hand after comparing their GTID sets.",
}


def _planned(
    request: Request,
    observation: Observation,
    diagnosis: Diagnosis,
    term: TermRow,
    answering: Mapping[str, str],
    required: int,
) -> list[Reason]:
    if diagnosis.verdict in _NEXT_BY_VERDICT:
        return []
    if diagnosis.verdict not in (verdicts.LOSSLESS, verdicts.LOSSLESS_AT_RISK):
        silent = observation.silent.get(diagnosis.primary or "")
        return [
            _reason(
                f"not_lossless_{diagnosis.verdict}",
                f"a planned switchover starts from a healthy cluster; this one is {diagnosis.verdict}: "
                + "; ".join(diagnosis.reasons),
                f"{silent.next_step} It is not dead: there is no case for mode emergency."
                if silent is not None and silent.alive
                else "Mend it first (site.yml converges it); if the primary is dead, use mode emergency.",
                verdict=diagnosis.verdict,
            )
        ]
    reasons = []
    if request.primary not in (AUTO, diagnosis.primary) and request.primary in observation.answers:
        reasons += _fit(request.primary, observation, diagnosis, term, answering)
    elif request.primary == AUTO and not any(
        not _fit(name, observation, diagnosis, term, answering) for name in answering
    ):
        every = [reason for name in answering for reason in _fit(name, observation, diagnosis, term, answering)]
        reasons += every or [
            _reason("no_candidate", "no registered acknowledger answers", "Bring one back, then run again.")
        ]
    if len(set(answering.values())) < required:
        reasons.append(_too_few(term, answering, required))
    return reasons


def _fit(
    name: str, observation: Observation, diagnosis: Diagnosis, term: TermRow, answering: Mapping[str, str]
) -> list[Reason]:
    """What speaks against this server as the target of a planned switchover."""
    verdict = diagnosis.servers[name]
    if name not in answering:
        silent = observation.silent.get(name)
        state = observation.states.get(name)
        out = state is not None and state.server_uuid in term.out_of_service
        return [
            _reason(
                "not_an_acknowledger",
                f"{name} is not a registered acknowledger that answers ({verdict.verdict})"
                + (f": {silent.message}" if silent else ""),
                f"{silent.next_step} Or name another server."
                if silent
                else "Bring it back into service first (mysql_member, or mysql-ha member bring-back)."
                if out
                else "Converge it with the replication role, then run again.",
                verdict=verdict.verdict,
                reasons=list(verdict.reasons),
            )
        ]
    if verdict.verdict != verdicts.REPLICA:
        return [
            _reason(
                "target_not_healthy",
                f"{name} is {verdict.verdict}: {'; '.join(verdict.reasons)}",
                "Mend it, or name another server.",
                verdict=verdict.verdict,
            )
        ]
    state = observation.states[name]
    if state.applier and state.applier.delay:
        return [
            _reason(
                "target_delayed",
                f"{name} applies {state.applier.delay} s late on purpose",
                "Name another server.",
                delay=state.applier.delay,
            )
        ]
    return []


def _emergency(
    request: Request,
    observation: Observation,
    diagnosis: Diagnosis,
    term: TermRow,
    answering: Mapping[str, str],
    required: int,
) -> list[Reason]:
    reasons = []
    silent = observation.silent.get(diagnosis.primary or "")
    answers = diagnosis.verdict not in _NEXT_BY_VERDICT and observation.by_uuid(diagnosis.primary_uuid)
    if answers and not request.cut:
        reasons.append(
            _reason(
                "primary_alive",
                f"{diagnosis.primary} answers ({diagnosis.verdict}): an emergency failover is for a primary that is"
                " dead or cut off",
                "Use mode planned.",
                primary=diagnosis.primary,
                verdict=diagnosis.verdict,
            )
        )
    elif silent is not None and silent.alive:
        reasons.append(
            _reason(
                "primary_alive_no_login",
                f"{diagnosis.primary} answers and does not let us in: {silent.message}",
                f"{silent.next_step} It is not dead.",
                primary=diagnosis.primary,
                kind=silent.kind,
                errno=silent.errno,
            )
        )
    if request.primary not in (AUTO, *answering) and request.primary in observation.answers:
        reasons.append(
            _reason(
                "not_an_acknowledger",
                f"{request.primary} is not a registered acknowledger that answers"
                f" ({diagnosis.servers[request.primary].verdict})",
                "Use primary: auto, or name one that is.",
                answering=sorted(answering),
            )
        )
    if len(set(answering.values())) < required and not request.accept_data_loss:
        reasons.append(_too_few(term, answering, required))
    if not answering:
        reasons.append(
            _reason(
                "no_candidate",
                "no registered acknowledger answers",
                "Check the control host's own network; bring an acknowledger back.",
                registered=[m.name for m in term.acknowledgers],
            )
        )
    return reasons


def _too_few(term: TermRow, answering: Mapping[str, str], required: int) -> Reason:
    absent = [m.name for m in term.acknowledgers if m.server_uuid not in answering.values()]
    return _reason(
        "too_few_acknowledgers",
        f"{len(set(answering.values()))} of {term.n} registered acknowledgers answer; with k={term.k}, {required} have"
        " to be held and locked so that nothing acknowledged can be missing, the old primary can acknowledge nothing"
        " more, and no second run can promote another server",
        f"Bring back {' or '.join(absent)}; or name yourself in accept_data_loss.",
        n=term.n,
        k=term.k,
        required=required,
        answering=sorted(answering),
        absent=absent,
    )


def silence(start: Start, before: Observation, after: Observation) -> Optional[Refusal]:
    """The second look: a replica that is connected and hears the primary speaks for its life.

    None when nothing was heard: the receivers only seem connected, because a hung host closes no connection.
    """
    heard = verdicts.progressed(before, after, start.old_primary_uuid)
    if start.cut:
        return _not_cut(start, heard) if len(heard) >= start.term.k else None
    lively = after.by_uuid(start.old_primary_uuid)
    if not heard and lively is None:
        return None
    return _refuse(
        _reason(
            "primary_alive_elsewhere",
            f"{start.old_primary} does not answer here, and {', '.join(heard) or 'a second look'} still hears it",
            "Check the network between the control host and the primary; nothing was changed.",
            heard_by=heard,
        )
    )


def _not_cut(start: Start, heard: Sequence[str]) -> Refusal:
    return _refuse(
        _reason(
            "replication_not_cut",
            f"{', '.join(heard)} hear {start.old_primary}, which waits for {start.term.k}: it can acknowledge",
            "Nothing was changed. If its writes still hang, look at its disk and its locks.",
            heard_by=list(heard),
            k=start.term.k,
        )
    )


def silence_window(start: Start, observation: Observation) -> float:
    """Seconds of silence that say something: more than two of the replication heartbeats that a replica expects."""
    return _window(tuple(observation.states.values()))


def _window(states: Sequence[ServerState]) -> float:
    periods = [s.receiver.heartbeat_period for s in states if s.receiver and s.receiver.heartbeat_period]
    return 2 * max(periods, default=1.0) + 0.2


def held(start: Start, observation: Observation) -> tuple[ServerState, ...]:
    """The registered acknowledgers that can not receive or acknowledge anything of the old primary any more."""
    names = registered_names(start.term, observation)
    return tuple(state for name, state in sorted(observation.states.items()) if name in names and not not_held(state))


def still_fenced(start: Start, elected: Elected, observation: Observation) -> bool:
    """Whether the old primary still can not acknowledge: n - k + 1 of its acknowledgers are held, or follow the elected
    server, or are that server."""
    names = registered_names(start.term, observation)
    turned = {
        s.server_uuid
        for name, s in observation.states.items()
        if name in names and (s.follows(elected.server_uuid) or s.server_uuid == elected.server_uuid)
    }
    return len(turned | {s.server_uuid for s in held(start, observation)}) >= start.required


def enough_held(start: Start, observation: Observation, request: Request) -> Optional[Refusal]:
    """Whether at least n - k + 1 of the registered acknowledgers are held; who is not, and why, is said."""
    servers = held(start, observation)
    count = len({s.server_uuid for s in servers})
    if count >= start.required or (servers and request.accept_data_loss):
        return None
    return _refuse(
        _reason(
            "too_few_frozen",
            f"{count} of {start.term.n} registered acknowledgers could be held; {start.required} are needed",
            "Nothing was promoted and the receivers run again. Bring back one more acknowledger, then run again.",
            held=[s.name for s in servers],
            not_held={
                name: not_held(observation.states[name]) if name in observation.states else "it does not answer"
                for name in start.acknowledgers
                if name not in {s.name for s in servers}
            },
            required=start.required,
        )
    )


def elect(
    request: Request,
    start: Start,
    servers: Sequence[ServerState],
    members: Sequence[Member],
    errant: Mapping[str, GtidSet],
    *,
    excluded: Sequence[str] = (),
) -> Union[Elected, Refusal]:
    """Choose among the held servers by what they *received*.

    A server with errant transactions is neither candidate nor source of truth. Among those that received everything:
    a server that is already promoted half-way (writable), then the one asked for, then the higher priority, then the
    one with less left to apply, then the name.

    :param excluded: servers whose applier failed on the way.
    """
    sound = [s for s in servers if not errant.get(s.name)]
    if not sound:
        return _refuse(
            _reason(
                "every_candidate_errant",
                "every held server has transactions of its own",
                "Compare their GTID sets by hand.",
                errant={name: str(gtids) for name, gtids in errant.items()},
            )
        )
    received = union(s.received for s in sound)
    complete = [s for s in sound if received <= s.received]
    if not complete:
        return _refuse(
            _reason(
                "diverged",
                "no held server received all that the others received",
                "Compare the sets in the evidence; no server can be promoted without losing one side.",
                lacks={s.name: str(received - s.received) for s in sound},
            )
        )
    able = [
        s
        for s in complete
        if s.name not in excluded and not (s.applier and s.applier.delay) and _promotable(request, s.name)
    ]
    if not able:
        return _refuse(
            _reason(
                "no_able_candidate",
                "the servers that received everything can not apply it, or are never to be promoted",
                "Mend the applier's error, or ask for one by name, then run again. Nothing was promoted.",
                candidates=[s.name for s in complete],
                errors={s.name: s.applier.error for s in complete if s.applier and s.applier.error},
                never=[s.name for s in complete if not _promotable(request, s.name)],
            )
        )
    if request.primary not in (AUTO, *(s.name for s in able)):
        return _refuse(
            _reason(
                "named_server_lacks_transactions",
                f"{request.primary} did not receive everything, is excluded or was not held",
                "Use primary: auto.",
                complete=[s.name for s in able],
                lacks={s.name: str(received - s.received) for s in sound if s.name == request.primary},
            )
        )
    priority = {m.name: m.priority for m in members}
    best = min(
        able,
        key=lambda s: (
            not s.writable,
            s.name != request.primary,
            -priority.get(s.name, 0),
            len(s.lacks_applied),
            s.name,
        ),
    )
    why = [f"received everything that {len(sound)} held servers received"]
    if best.lacks_applied:
        why.append(f"{len(best.lacks_applied)} transactions left to apply")
    return Elected(best.name, best.server_uuid, received, tuple(why))


def _promotable(request: Request, name: str) -> bool:
    """A rule that keeps a server from being chosen does not keep a person from naming it."""
    return name not in request.never or name == request.primary


def next_term(
    start: Start,
    elected: str,
    elected_uuid: str,
    following: Sequence[str],
    members: Sequence[Member],
    uuids: Mapping[str, str],
    request: Request,
    *,
    proof: str,
    run_id: str,
) -> Union[NextTerm, Refusal]:
    """The term row of the new primary: who may acknowledge from now on, and k.

    :param following: the names of the servers that are made to follow the elected one and may acknowledge.
    :param uuids: server_uuid by name, of the servers that answered.
    """
    old = {m.server_uuid: m for m in start.term.members}
    rows = []
    for member in members:
        uuid = uuids.get(member.name) or next((m.server_uuid for m in start.term.members if m.name == member.name), "")
        if not uuid:
            continue
        acknowledges = member.name in following or uuid == elected_uuid
        # Who was taken out of service stays out: it is nobody's follower here.
        out = old[uuid].out if uuid in old and not acknowledges else ""
        rows.append(dataclasses.replace(member, server_uuid=uuid, acknowledges=acknowledges, out=out))
    kept = {m.server_uuid for m in rows}
    rows += [dataclasses.replace(m, acknowledges=False) for uuid, m in old.items() if uuid not in kept]
    n = len([m for m in rows if m.acknowledges and m.server_uuid != elected_uuid])
    notes = []
    k = start.term.k
    if n < k:
        if request.lower_k != TO_REMAINING or not n:
            return _refuse(
                _reason(
                    "too_few_acknowledgers_left",
                    f"{elected} would have {n} acknowledgers and waits for {k}: it could acknowledge nothing",
                    "Bring an acknowledger back; or allow lower_k: to_remaining when at least one is left.",
                    n=n,
                    k=k,
                    following=list(following),
                )
            )
        notes.append(f"k lowered from {k} to {n} by policy lower_k={TO_REMAINING}")
        k = n
    row = TermRow(
        revision=start.term.revision + 1,
        term=start.term.term + 1,
        primary_uuid=elected_uuid,
        members=tuple(rows),
        k=k,
        wait_point="AFTER_SYNC",
        acknowledgement=start.term.acknowledgement,
        no_tx_base=0,
        proof=proof,
        run_id=run_id,
        reason=f"{start.mode}: {start.old_primary} to {elected}",
    )
    return NextTerm(row, tuple(notes))


def enough_follow(
    elected: Elected, row: TermRow, following: Sequence[str], ill: Mapping[str, str]
) -> Optional[Refusal]:
    """Before the elected server takes writes: with fewer than k behind it, it could acknowledge nothing.

    Nothing has to be undone: who follows it already received no more than it did, and a later run begins with a freeze.

    :param ill: why the others do not follow, by name.
    """
    if len(following) >= row.k:
        return None
    return _refuse(
        _reason(
            "too_few_followers",
            f"{len(following)} servers follow {elected.name}, which waits for {row.k}: it was not promoted"
            + "".join(f"; {name}: {why}" for name, why in ill.items()),
            "Mend what keeps them from following, then run again: what was begun is in the journal.",
            following=list(following),
            ill=dict(ill),
            k=row.k,
        )
    )


def may_promote(proof: Proof, request: Request) -> Optional[Refusal]:
    """An unproven promotion needs a person's name."""
    if proof.zero_loss == PROVEN or request.accept_data_loss:
        return None
    return Refusal(
        tuple(Reason(item.code, item.message, {"claim": item.claim}, item.next_step) for item in proof.missing)
    )


def sentences(start: Start, observation: Observation) -> list[str]:
    """The plan in words, for check mode and the report."""
    who = ", ".join(start.acknowledgers)
    if start.mode == EMERGENCY:
        return [
            f"lock {start.locks} of the acknowledgers {who}",
            f"freeze: stop the receivers of {who}; at least {start.required} of {start.term.n} must stop",
            "elect the server that received everything",
            "apply what it received, then prove that nothing acknowledged is missing",
            "let the other held servers follow and acknowledge it",
            f"promote it in term {start.term.term + 1}: semi-sync first, then writable, then the term row",
            "the keeper on the new primary takes the virtual address",
        ]
    return [
        f"lock {start.locks} of the acknowledgers {who}",
        f"let the other acknowledgers follow {start.target}",
        f"block writes on {start.old_primary} within its budget",
        f"wait until {start.target} has executed everything",
        f"promote {start.target} in term {start.term.term + 1}: semi-sync first, then writable, then the term row",
        f"{start.old_primary} follows {start.target} and acknowledges",
        "the keeper on the new primary takes the virtual address",
    ]


def choose_target(
    request: Request, start: Start, observation: Observation, diagnosis: Diagnosis
) -> Union[str, Refusal]:
    """The target of a planned switchover. ``may_start`` has made sure that one fits."""
    if request.primary != AUTO:
        return request.primary
    answering = registered_names(start.term, observation)
    fit = [
        n
        for n in start.acknowledgers
        if not _fit(n, observation, diagnosis, start.term, answering) and _promotable(request, n)
    ]
    priority = {m.name: m.priority for m in observation.members}
    if not fit:
        return _refuse(_reason("no_candidate", "no acknowledger is fit to take over", "Converge the cluster first."))
    return min(fit, key=lambda n: (-priority.get(n, 0), len(observation.states[n].lacks_applied), n))


def moved_ahead(start: Start, observation: Observation, target: str) -> tuple[str, ...]:
    """The acknowledgers that may follow the target before writes are blocked.

    k of those that acknowledge now, the target included, have to stay with the old primary so that its commits go on;
    one that is registered and stopped helps nobody, and is left for later.
    """
    attached = [name for name in start.acknowledgers if _attached(observation.states[name], start.old_primary_uuid)]
    others = [name for name in attached if name != target]
    spare = len(attached) - start.term.k
    return tuple(others[: max(spare, 0)])


def _attached(state: ServerState, primary_uuid: str) -> bool:
    receiver = state.receiver
    return bool(
        state.semi_sync.replica_enabled and receiver and receiver.state == ON and receiver.source_uuid == primary_uuid
    )


def quick_enough(start: Start, blockers: Sequence[Mapping[str, Any]]) -> Optional[Refusal]:
    """Long transactions would hold up the block of a planned switchover: say which, before anything is touched."""
    if not blockers:
        return None
    return _refuse(
        _reason(
            "long_transactions",
            f"{len(blockers)} transactions on {start.old_primary} are older than the time that writes may be blocked",
            "Wait for them, or end them, then run again.",
            transactions=[dict(b) for b in blockers],
        )
    )
