# SPDX-License-Identifier: BSD-2-Clause
"""What a step would lead to. Pure: check mode decides on one predicted situation after the other.

Nothing else rests on a prediction: a run that acts looks at the servers again after every step.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, Union

from ..refusal import Refusal
from ..server.settings import MAXIMUM_TIMEOUT_MS
from ..server.state import OFF, ON, VERIFIED, Answer, Applier, Receiver, SemiSync, ServerState
from . import steps
from .plan import Decide, Settled, next_step
from .situation import ServerFacts, Situation, Wish
from .steps import Step

MANY = 1000
"""More steps than any cluster needs: a planner that does not end is a defect."""


def plan(
    situation: Situation, wish: Wish, decide: Decide = next_step
) -> tuple[tuple[Step, ...], Union[Settled, Refusal], Situation]:
    """All steps from here to the end, how it ends, and what it looks like then."""
    taken: list[Step] = []
    for _turn in range(MANY):
        decision = decide(situation, wish)
        if isinstance(decision, (Settled, Refusal)):
            return tuple(taken), decision, situation
        taken.append(decision)
        situation = after(situation, wish, decision)
    raise AssertionError(f"no end after {MANY} steps; the last ones: {taken[-3:]}")


def after(situation: Situation, wish: Wish, step: Step) -> Situation:
    """The situation that the step is expected to leave."""
    state = situation.observation.states[step.name]
    facts = dict(situation.facts)
    if isinstance(step, steps.CreateSchema):
        facts[step.name] = dataclasses.replace(situation.facts_of(step.name), own_schema=True)
    elif isinstance(step, steps.LockOut):
        facts[step.name] = _locked(situation.facts_of(step.name), dict.fromkeys(step.accounts, True))
    elif isinstance(step, steps.Readmit):
        facts[step.name] = _locked(situation.facts_of(step.name), {step.account: False})
    elif isinstance(step, steps.WaitVerified):
        facts = {name: _verified(each, step.server_uuid) for name, each in facts.items()}
    elif isinstance(step, steps.Clone):
        facts = {name: _verified(each, step.server_uuid) for name, each in facts.items()}
        facts[step.name] = dataclasses.replace(facts.get(step.name, ServerFacts()), wrecked=False)
    changed = _state(situation, wish, step, state)
    answers: dict[str, Answer] = dict(situation.observation.answers)
    answers[step.name] = changed
    observation = dataclasses.replace(situation.observation, answers=answers)
    return Situation(observation, facts)


def _verified(facts: ServerFacts, server_uuid: str) -> ServerFacts:
    if server_uuid not in facts.returns:
        return facts
    return dataclasses.replace(facts, returns={**facts.returns, server_uuid: VERIFIED})


def _locked(facts: ServerFacts, accounts: Mapping[str, bool]) -> ServerFacts:
    merged = dict(facts.replication_accounts, **accounts)
    attached = tuple(user for user in facts.dump_users if not accounts.get(user))
    return dataclasses.replace(facts, replication_accounts=merged, dump_users=attached)


def _semi(state: ServerState, **changes: Any) -> SemiSync:
    return dataclasses.replace(state.semi_sync, **changes)


def _state(situation: Situation, wish: Wish, step: Step, state: ServerState) -> ServerState:
    change = dataclasses.replace
    if isinstance(step, steps.OpenForAdministration):
        return change(state, super_read_only=False, read_only=True)
    if isinstance(step, steps.AllowWrites):
        return change(state, super_read_only=False, read_only=False)
    if isinstance(step, steps.GoOnline):
        return change(state, offline_mode=False)
    if isinstance(step, steps.Disarm):
        return change(state, semi_sync=_semi(state, source_enabled=False, source_active=False))
    if isinstance(step, steps.Arm):
        semi = _semi(
            state,
            source_enabled=True,
            source_active=True,
            wait_count=step.k,
            timeout_ms=MAXIMUM_TIMEOUT_MS,
            wait_point="AFTER_SYNC",
            wait_no_replica=True,
        )
        return change(state, semi_sync=semi)
    if isinstance(step, steps.WriteTerm):
        return change(state, term=change(step.row, written_at=state.clock))
    if isinstance(step, steps.StopAcknowledging):
        receiver = state.receiver
        if receiver and not step.restart:
            receiver = change(receiver, state=OFF)
        return change(state, receiver=receiver, semi_sync=_semi(state, replica_enabled=False, replica_active=False))
    if isinstance(step, steps.Acknowledge):
        return change(state, semi_sync=_semi(state, replica_enabled=True, replica_active=True))
    if isinstance(step, steps.Clone):
        donor = situation.observation.states[step.donor]
        return change(
            state,
            executed=donor.executed,
            purged=donor.executed,
            receiver=None,
            applier=None,
            channels=(),
            super_read_only=True,
            read_only=True,
            offline_mode=False,
            term=donor.term,
            semi_sync=_semi(state, replica_enabled=False, replica_active=False),
        )
    if isinstance(step, steps.Repoint):
        return _following(situation, wish, step, state)
    if isinstance(step, steps.StopThreads):
        if state.receiver is None or state.applier is None:
            raise AssertionError("threads are stopped where a channel is")
        return change(
            state,
            receiver=change(state.receiver, state=OFF),
            applier=change(state.applier, state=OFF),
            semi_sync=_semi(state, replica_active=False),
        )
    if isinstance(step, (steps.StartThreads, steps.WaitConnected)):
        if state.receiver is None or state.applier is None:
            raise AssertionError("threads are started where a channel is")
        receiver = change(
            state.receiver, state=ON, error_number=0, error="", source_uuid=_source_uuid(situation, state.receiver)
        )
        active = state.semi_sync.replica_enabled
        return change(
            state,
            receiver=receiver,
            applier=change(state.applier, state=ON),
            semi_sync=_semi(state, replica_active=active),
        )
    if isinstance(step, steps.WaitReceived):
        if state.receiver is None:
            raise AssertionError("who waits to receive has a receiver")
        executed = state.executed | step.gtids if step.applied else state.executed
        receiver = change(state.receiver, retrieved=state.receiver.retrieved | step.gtids)
        return change(state, receiver=receiver, executed=executed)
    return state


def _source_uuid(situation: Situation, receiver: Receiver) -> str:
    for member in situation.observation.members:
        seen = situation.observation.states.get(member.name)
        if seen and (member.host, member.replication_port) == (receiver.source_host, receiver.source_port):
            return seen.server_uuid
    return receiver.source_uuid


def _following(situation: Situation, wish: Wish, step: steps.Repoint, state: ServerState) -> ServerState:
    primary = situation.observation.states[step.primary]
    member = situation.observation.member(step.primary)
    receiver = dataclasses.replace(
        state.receiver or Receiver(ON),
        state=ON,
        source_host=member.host,
        source_port=member.replication_port,
        source_uuid=primary.server_uuid,
        user=step.user,
        auto_position=True,
        ssl=True,
        ssl_verify=bool(wish.ca),
        connect_retry=wish.connect_retry,
        heartbeat_period=wish.heartbeat_period,
        error_number=0,
        error="",
        retrieved=(state.receiver.retrieved if state.receiver else primary.executed - state.executed)
        | (primary.executed - state.executed),
    )
    return dataclasses.replace(
        state,
        receiver=receiver,
        applier=dataclasses.replace(state.applier or Applier(ON), state=ON),
        channels=("",),
        semi_sync=_semi(state, replica_enabled=step.acknowledge, replica_active=step.acknowledge),
    )
