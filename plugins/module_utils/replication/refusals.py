# SPDX-License-Identifier: BSD-2-Clause
"""Why convergence would be refused: every reason at once, each with evidence and a next step. Pure.

Looked at before every step, so a reason that appears on the way stops the run where it is.
"""

from __future__ import annotations

import collections
from typing import Any, Iterator, Optional

from ..gtid import EMPTY, GtidSet
from ..refusal import Reason
from ..server import settings
from ..server.dialect import version_tuple
from ..server.state import DIFFERENT, NOT_SUPPORTED, OFF, TO_BE_CLONED, Member, NoAnswer, ServerState
from ..topology import diagnose, durability
from .situation import Primary, Situation, Wish, account_of

LISTED = 50
"""Tables named in a reason; the rest is counted."""


def _reason(code: str, message: str, next_step: str, **evidence: Any) -> Reason:
    return Reason(code, message, evidence, next_step)


def find(situation: Situation, wish: Wish, primary: Optional[Primary]) -> tuple[Reason, ...]:
    """Every reason against converging now."""
    reasons = [*_wishes(situation, wish), *_unusable(situation, wish), *_identities(situation, wish)]
    found = list(of_primary(situation, wish, primary))
    reasons += found
    if primary and not found:
        state = situation.state(primary.name)
        if state is None:
            raise AssertionError("the primary was found among the states")
        reasons += _levels(situation, wish, primary)
        reasons += _data(situation, wish, primary)
        for member in wish.members:
            seen = situation.state(member.name)
            if seen is not None and not member.out:
                reasons += of_server(situation, wish, member, seen)
                if seen.server_uuid != primary.server_uuid:
                    reasons += of_replica(situation, wish, seen, state)
    return tuple(reasons)


def _wishes(situation: Situation, wish: Wish) -> Iterator[Reason]:
    names = sorted(wish.names)
    if wish.primary and wish.primary not in wish.names:
        yield _reason("unknown_primary", f"{wish.primary!r} is not a member", "Name one of the members.", members=names)
    strangers = sorted(wish.expendable - wish.names)
    if strangers:
        yield _reason("unknown_expendable", f"not members: {', '.join(strangers)}", "Name members only.", members=names)
    possible = sum(m.acknowledges for m in wish.members) - 1
    if not 1 <= wish.k <= max(possible, 0):
        yield _reason(
            "acknowledgements_impossible",
            f"k={wish.k} of {max(possible, 0)} acknowledgers: a commit could never be acknowledged",
            "Choose k between 1 and the number of replicas that acknowledge, or add replicas.",
            k=wish.k,
            n=max(possible, 0),
        )


def _unusable(situation: Situation, wish: Wish) -> Iterator[Reason]:
    """Members that answer and can not become one: left as they are, they would stay outside without an end.

    One that is registered and does not let us in is like one that is away: the others go on meanwhile.
    """
    if situation.term is None:
        return  # then every member has to answer in any case
    registered = {m.name for m in situation.term.members}
    for name, silent in situation.observation.silent.items():
        if name in wish.names and silent.alive and (silent.kind == NOT_SUPPORTED or name not in registered):
            yield _reason(
                f"connect_{silent.kind}",
                silent.message,
                f"{silent.next_step} Or take it out of the members.",
                member=name,
                errno=silent.errno,
            )


def _identities(situation: Situation, wish: Wish) -> Iterator[Reason]:
    states = [situation.state(m.name) for m in wish.members]
    for what in ("server_uuid", "server_id"):
        groups: dict[str, list[str]] = collections.defaultdict(list)
        for state in states:
            if state:
                groups[str(getattr(state, what))].append(state.name)
        for value, names in groups.items():
            if len(names) > 1:
                fix = (
                    "Two names for one server, or a copied data directory: on a copy, remove auto.cnf and restart it."
                    if what == "server_uuid"
                    else "Give each server a server_id of its own."
                )
                yield _reason(
                    f"duplicate_{what}", f"{', '.join(names)} share {what} {value}", fix, members=names, value=value
                )


def of_primary(situation: Situation, wish: Wish, primary: Optional[Primary]) -> Iterator[Reason]:
    observation = situation.observation
    # Offline, a server takes no writes of applications: whether that can be lifted is judged server by server.
    writable = sorted(s.name for s in observation.states.values() if s.writable and not s.fenced)
    if len(writable) > 1:
        yield _reason(
            "several_writable",
            f"writable at the same time: {', '.join(writable)}",
            "Find out which one the applications used; restart mysqld on the others, so that they start read-only.",
            writable=writable,
        )
        return
    if situation.term is None:
        yield from _unregistered_silence(situation, wish)
    if primary is None and observation.states:
        yield _reason(
            "primary_not_determined",
            "nothing names one server as primary, and no server holds all that the others hold",
            "Look at the servers with mysql_topology_info; name a deposed server's data expendable once archived.",
            executed={name: str(s.executed) for name, s in observation.states.items()},
        )
    if primary is None:
        return
    if situation.state(primary.name) is None or primary.name not in wish.names:
        silent = observation.silent.get(primary.name)
        yield _reason(
            "primary_does_not_answer" if primary.name in wish.names else "primary_not_a_member",
            f"{primary.name} is the primary of record ({primary.why})"
            + (f" and does not answer: {silent.message}" if silent else " and is not among the members"),
            _without_primary(silent),
            primary=primary.name,
            server_uuid=primary.server_uuid,
        )
        return
    strangers = [name for name in writable if name != primary.name]
    if strangers:
        yield _reason(
            "writable_stranger",
            f"{', '.join(strangers)} takes writes and is not the primary ({primary.name}: {primary.why})",
            "Find out what was written there, fence it (super_read_only=ON), then run again.",
            writable=writable,
            primary=primary.name,
        )
    state = situation.state(primary.name)
    if state is None:
        raise AssertionError("the primary was found among the states")
    if state.fenced and state.writable:
        yield _reason(
            "primary_offline",
            f"{primary.name} is the primary ({primary.why}), and offline: nobody gets in, and no replica can follow it",
            "Find out who set offline_mode. Restart mysqld there: it starts read-only and online; then run again.",
            primary=primary.name,
            server_uuid=primary.server_uuid,
        )
    if state.receiver and state.receiver.state != OFF:
        yield _reason(
            "primary_follows",
            f"{primary.name} is the primary and follows {state.receiver.source_host}",
            "Stop its replication by hand once you know what it fetches.",
            source=state.receiver.source_host,
        )
    yield from _silence(situation, wish, primary, state)


def _without_primary(silent: Optional[NoAnswer]) -> str:
    if silent is None:
        return "Fail over to a member that stays, then remove this one."
    if silent.alive:
        return f"{silent.next_step} It is not dead: there is no case for a failover."
    return "An emergency is not converged: run mysql_failover (mode emergency), or bring the primary back."


def _unregistered_silence(situation: Situation, wish: Wish) -> Iterator[Reason]:
    observation = situation.observation
    evidence = {m.name: observation.silent[m.name].message for m in wish.members if m.name in observation.silent}
    if evidence and not observation.states:
        yield _reason(
            "member_does_not_answer",
            f"no member answers: {'; '.join(evidence.values())}",
            observation.next_step,
            silent=evidence,
        )
    elif evidence:
        yield _reason(
            "member_does_not_answer",
            f"nobody is registered yet, so every member must answer: {'; '.join(evidence.values())}",
            f"{observation.next_step} Or take it out of the members, once you know that it holds no data and takes no"
            " writes.",
            silent=evidence,
        )


def _silence(situation: Situation, wish: Wish, primary: Primary, state: ServerState) -> Iterator[Reason]:
    """Who must answer before this server may be treated as the primary."""
    observation, term = situation.observation, situation.term
    silent = sorted(m.name for m in wish.members if m.name in observation.silent)
    evidence = {name: observation.silent[name].message for name in silent}
    if term is None or (state.writable and not state.fenced):
        return
    answering = [m for m in term.acknowledgers if observation.by_uuid(m.server_uuid)]
    required = durability.freeze_required(term.n, term.k) if term.n else 0
    if len(answering) < required:
        yield _reason(
            "quorum_not_reached",
            f"{primary.name} is read-only; {len(answering)} of {term.n} acknowledgers answer, {required} must, to know"
            " that none was promoted",
            "Bring an acknowledger back; or fail over if the primary is not to be used again.",
            answering=[m.name for m in answering],
            required=required,
            silent=evidence,
        )
    ahead: dict[str, str] = {}
    for member in answering:
        seen = observation.by_uuid(member.server_uuid)
        lacking = seen.received.of([primary.server_uuid]) - state.executed if seen else EMPTY
        if lacking:
            ahead[member.name] = str(lacking)
    if ahead:
        yield _reason(
            "primary_lacks_transactions",
            f"{primary.name} lost transactions that it had sent to {', '.join(sorted(ahead))}",
            "It lost what it had committed: fail over to an acknowledger (mysql_failover, mode emergency).",
            lacks=ahead,
        )


def _levels(situation: Situation, wish: Wish, primary: Primary) -> Iterator[Reason]:
    own = wish.member(primary.name)
    if own is None:
        raise AssertionError("the primary was found among the wishes")
    others = [m for m in wish.members if m.name != primary.name and m.acknowledges]
    statement = durability.state(own, others, wish.k, wish.acknowledgement)
    for level in wish.survive:
        answer = statement.level(level)
        if not answer.survived:
            how = (
                f"Ask for acknowledgements: {answer.k_required}"
                if answer.possible
                else f"It needs k={answer.k_required} of at least as many acknowledgers: add replicas outside it"
            )
            yield _reason(
                "disaster_level_not_survived",
                f"the loss of {primary.name}'s {level} would not be survived without loss with k={wish.k}:"
                f" {len(answer.lost_acknowledgers)} of {statement.n} acknowledgers are inside it",
                f"{how}, or do not ask to survive the loss of a {level}.",
                level=level,
                k=wish.k,
                k_required=answer.k_required,
                possible=answer.possible,
                inside=list(answer.lost_acknowledgers),
            )


def _data(situation: Situation, wish: Wish, primary: Primary) -> Iterator[Reason]:
    facts = situation.facts_of(primary.name)
    for code, tables, message, fix in (
        (
            "tables_without_primary_key",
            facts.without_primary_key,
            "tables without a primary key",
            "Give each a primary key: without one replicas scan the table for every row, and rows cannot be compared.",
        ),
        (
            "tables_not_innodb",
            facts.not_innodb,
            "tables that are not InnoDB",
            "Convert them (ALTER TABLE ... ENGINE=InnoDB): others do not take part in two-phase commit.",
        ),
    ):
        if tables:
            shown = ", ".join(tables[:LISTED]) + (f" and {len(tables) - LISTED} more" if len(tables) > LISTED else "")
            yield _reason(code, f"{message}: {shown}", fix, tables=list(tables), count=len(tables))
    lacking = sorted(
        account_of(wish, s)
        for s in (situation.state(m.name) for m in wish.members)
        if s and account_of(wish, s) not in facts.replication_accounts
    )
    if lacking:
        yield _reason(
            "replication_account_missing",
            f"{primary.name} has no account {', '.join(lacking)}",
            "Run the server role on all members: it creates each replica's account on every server.",
            accounts=lacking,
        )


def of_server(situation: Situation, wish: Wish, member: Member, state: ServerState) -> Iterator[Reason]:
    drifted = [d for d in settings.drift(state.settings, wish.acknowledgement) if d.safety]
    if drifted:
        what = ", ".join(f"{d.name}={d.actual} (must be {d.expected})" for d in drifted)
        yield _reason(
            "settings_drift",
            f"{state.name}: {what}",
            "Run the server role on that host: these settings belong into its configuration file.",
            member=state.name,
            drift=[{"name": d.name, "expected": d.expected, "actual": d.actual, "why": d.why} for d in drifted],
        )
    if not (state.semi_sync.source_installed and state.semi_sync.replica_installed):
        yield _reason(
            "semi_sync_missing",
            f"{state.name}: a semi-sync plugin is not installed",
            "Run the server role on that host: both plugins are loaded by the configuration file.",
            member=state.name,
            source=state.semi_sync.source_installed,
            replica=state.semi_sync.replica_installed,
        )
    filters = situation.facts_of(state.name).filters
    if filters:
        yield _reason(
            "replication_filters",
            f"{state.name} filters what it replicates: {', '.join(filters)}",
            "Remove the filters: a filtered replica acknowledges what it does not keep.",
            member=state.name,
            filters=list(filters),
        )
    others = list(state.other_channels)
    if others:
        yield _reason(
            "other_channels",
            f"{state.name} has further replication channels: {', '.join(others)}",
            "Remove them (RESET REPLICA ALL FOR CHANNEL ...): the collection serves the default channel alone.",
            member=state.name,
            channels=others,
        )


def of_replica(situation: Situation, wish: Wish, state: ServerState, primary: ServerState) -> Iterator[Reason]:
    if version_tuple(state.version)[:2] < version_tuple(primary.version)[:2]:
        yield _reason(
            "replica_older_than_primary",
            f"{state.name} runs {state.version}, older than {primary.name} ({primary.version})",
            "Upgrade replicas first: an older server may not understand what a newer one logs.",
            member=state.name,
            versions={state.name: state.version, primary.name: primary.version},
        )
    names = "lower_case_table_names"
    if state.settings.get(names) != primary.settings.get(names):
        yield _reason(
            "lower_case_table_names_differ",
            f"{state.name} and {primary.name} differ in {names}",
            "It can only be chosen when a server is initialised: set it up anew.",
            member=state.name,
        )
    if state.fenced and state.writable:
        yield _reason(
            "fenced_not_read_only",
            f"{state.name} was deposed and is fenced (offline), and {state.semi_sync.wait_sessions} commits wait there",
            "Restart mysqld on it (systemctl restart): it starts read-only and online. Its keeper could not set"
            " super_read_only, for it waits for those commits; their clients are gone and read no OK.",
            member=state.name,
            wait_sessions=state.semi_sync.wait_sessions,
        )
        return
    if state.semi_sync.source_enabled and state.semi_sync.wait_sessions and not state.receiver:
        yield _reason(
            "commits_wait",
            f"{state.name} is not the primary, and {state.semi_sync.wait_sessions} commits wait there",
            "Switching semi-sync off would tell those clients OK: end their sessions first (fence it).",
            member=state.name,
            wait_sessions=state.semi_sync.wait_sessions,
        )
    source = situation.facts_of(state.name).cloning
    if source:
        yield _reason(
            "clone_in_progress",
            f"{state.name} is being cloned from {source}",
            "Wait for it (mysql_clone shows how far it is), then run again.",
            member=state.name,
            source=source,
        )
        return
    if state.name in wish.expendable or situation.facts_of(state.name).wrecked:
        return
    surplus = errant(situation, state, primary)
    if surplus:
        yield _reason(
            "errant_transactions",
            f"only {state.name} has {surplus}",
            f"Archive them from its binary logs and decide about the rows; then name {state.name} expendable.",
            member=state.name,
            gtids=str(surplus),
        )
        return
    returned = situation.facts_of(primary.name).returns.get(state.server_uuid)
    if returned in (DIFFERENT, TO_BE_CLONED):
        found = "its rows are not those of" if returned == DIFFERENT else "it can not be known to be the same as"
        yield _reason(
            "rewound_and_different" if returned == DIFFERENT else "has_to_be_cloned",
            f"{state.name} came back after a failover, and {found} {primary.name}",
            f"See lossless_ha.rejoin and the journal of lossless-mysql-ha-rejoin on {state.name}; then name it"
            " expendable: its data is then replaced by a clone.",
            member=state.name,
        )
        return
    gap = primary.purged - state.received
    if gap and state.executed:
        yield _reason(
            "purged_transactions_needed",
            f"{state.name} lacks {gap}, which {primary.name} no longer has in its binary logs",
            f"Name {state.name} expendable: its data is then replaced by a clone.",
            member=state.name,
            gtids=str(gap),
        )
    broken = state.applier
    if broken and broken.error_number and broken.state == OFF:
        error = situation.facts_of(state.name).applier_error or broken.error
        yield _reason(
            "applier_broken",
            f"{state.name}: the applier stopped: {error} ({broken.error_number})",
            f"Find out why its data differ; nothing is skipped. If they may go, name {state.name} expendable.",
            member=state.name,
            errno=broken.error_number,
            error=error,
        )


def errant(situation: Situation, state: ServerState, primary: ServerState) -> GtidSet:
    """What only this server has, received and not executed included."""
    surplus = diagnose.errant(state, situation.observation, primary, primary.server_uuid)
    waiting = state.received - state.executed - primary.executed
    return surplus | (waiting - waiting.of([primary.server_uuid]))
