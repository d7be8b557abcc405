# SPDX-License-Identifier: BSD-2-Clause
"""What convergence is asked for, and everything it is decided from, as values."""

from __future__ import annotations

import dataclasses
from typing import Mapping, Optional

from ..server.accounts import replication_user
from ..server.state import Member, Observation, ServerState, TermRow
from ..topology.diagnose import primary_of_record


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a person asked for.

    ``members``: the servers that shall be in the cluster. ``primary``: used only when nothing names one. ``survive``:
    the disaster levels that must be survived without loss. ``expendable``: servers whose data may be wiped. ``ca``: on
    the replicas. Seconds throughout.
    """

    members: tuple[Member, ...]
    k: int = 1
    acknowledgement: str = "disk"
    survive: tuple[str, ...] = ("host",)
    primary: str = ""
    expendable: frozenset[str] = frozenset()
    user_prefix: str = "lossless_repl_"
    ca: str = ""
    connect_retry: int = 1
    heartbeat_period: float = 0.5

    @property
    def names(self) -> frozenset[str]:
        return frozenset(m.name for m in self.members)

    def member(self, name: str) -> Optional[Member]:
        return next((m for m in self.members if m.name == name), None)


@dataclasses.dataclass(frozen=True)
class ServerFacts:
    """What is read besides the state.

    ``without_primary_key``, ``not_innodb``: tables, ``schema.table``. ``user_tables``: how many tables hold data that
    is not ours. ``own_schema``: our tables exist. ``replication_accounts``: those with the prefix, and whether each is
    locked. ``dump_users``: the accounts of the replicas attached here. ``filters``: replication filters of any kind.
    ``clone_active``: the clone plugin works. ``cloning``: where the clone comes from that is at work here. ``wrecked``:
    a clone that failed has thrown its data away, whatever gtid_executed says. ``applier_error``: what the applier's
    worker says; the state holds only
    that some worker stopped. ``returns``: of each server that was deposed once, how its last return ended
    (``schema.Rejoin.state``), by server_uuid.
    """

    without_primary_key: tuple[str, ...] = ()
    not_innodb: tuple[str, ...] = ()
    user_tables: int = 0
    own_schema: bool = False
    replication_accounts: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    dump_users: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    clone_active: bool = True
    cloning: str = ""
    wrecked: bool = False
    applier_error: str = ""
    returns: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Situation:
    """One look at everything. ``observation`` may hold registered servers that are not wanted any more."""

    observation: Observation
    facts: Mapping[str, ServerFacts]

    @property
    def term(self) -> Optional[TermRow]:
        return self.observation.term

    def state(self, name: str) -> Optional[ServerState]:
        return self.observation.states.get(name)

    def facts_of(self, name: str) -> ServerFacts:
        return self.facts.get(name, ServerFacts())


@dataclasses.dataclass(frozen=True)
class Primary:
    """The server that everything is arranged around, and why it."""

    name: str
    server_uuid: str
    why: str


def find_primary(situation: Situation, wish: Wish) -> Optional[Primary]:
    """Who is primary: by observation; only where nothing names one, by the wish.

    By the newest term row, else the one that takes writes, else the one that is followed; else the one that holds
    everything that anybody holds, among equals the one asked for, then the highest priority, then the first.
    """
    observation = situation.observation
    name, uuid = primary_of_record(observation)
    if observation.term:
        return Primary(name, uuid, "the term row in force names it") if name else None
    if any(s.writable for s in observation.states.values()) or any(
        s.receiver and s.receiver.source_host for s in observation.states.values()
    ):
        if not name:
            return None
        state = observation.states.get(name)
        return Primary(name, uuid, "it takes writes" if state and state.writable else "the replicas follow it")
    states = {m.name: observation.states[m.name] for m in wish.members if m.name in observation.states}
    full = [n for n, s in states.items() if all(other.received <= s.executed for other in states.values())]
    if not full:
        return None
    order = [m.name for m in wish.members]
    priority = {m.name: m.priority for m in wish.members}
    chosen = min(full, key=lambda n: (n != wish.primary, -priority[n], order.index(n)))
    why = "all servers are empty" if not states[chosen].executed else "it holds everything that anybody holds"
    return Primary(chosen, states[chosen].server_uuid, why)


def respecting(wish: Wish, situation: Situation) -> Wish:
    """The wish, but for what a person decided since: who was taken out of service stays out until brought back."""
    out = situation.term.out_of_service if situation.term else {}
    uuids = {m.name: m.server_uuid for m in situation.term.members} if situation.term else {}

    def why(member: Member) -> str:
        state = situation.state(member.name)
        return out.get(state.server_uuid if state else uuids.get(member.name, ""), "")

    members = tuple(dataclasses.replace(m, acknowledges=False, out=why(m)) if why(m) else m for m in wish.members)
    return dataclasses.replace(wish, members=members)


def account_of(wish: Wish, state: ServerState) -> str:
    """The replication account of a server."""
    return replication_user(wish.user_prefix, state.server_id)
