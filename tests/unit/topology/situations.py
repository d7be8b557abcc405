# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters as values: a healthy one, and the changes that make it ill. Used by the tests of every pure room.

``db1`` is the primary of term 1, revision 1; the others acknowledge. A test names the one thing it changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import settings
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    CONNECTING,
    OFF,
    ON,
    REFUSED,
    Answer,
    Applier,
    Heartbeat,
    Member,
    NoAnswer,
    Observation,
    Receiver,
    SemiSync,
    ServerState,
    TermRow,
)

NOW = 1_790_000_000.0
GOOD_SETTINGS: Mapping[str, str] = {s.name: s.expected for s in (*settings.SETTINGS, settings.SYNC_RELAY_LOG)}


def uuid(number: int) -> str:
    """The server_uuid of ``db<number>``."""
    return f"{number:08d}-aaaa-11ef-8000-000000000000"


def gtids(text: str) -> GtidSet:
    """A set in short: ``1:1-5,2:7`` is transactions 1 to 5 of db1 and 7 of db2."""
    parts = [part.partition(":") for part in text.split(",") if part]
    return GtidSet.parse(",".join(f"{uuid(int(number))}:{rest}" for number, _colon, rest in parts))


def member(number: int, **changes: Any) -> Member:
    """As configured: it has not been seen yet, so it has no server_uuid."""
    return dataclasses.replace(Member(name=f"db{number}", host=f"10.0.0.{number}"), **changes)


def registered(number: int, **changes: Any) -> Member:
    """As it stands in a term row."""
    return member(number, **{"server_uuid": uuid(number), **changes})


def term(size: int = 3, k: int = 1, *, primary: int = 1, **changes: Any) -> TermRow:
    row = TermRow(1, 1, uuid(primary), tuple(registered(i) for i in range(1, size + 1)), k)
    return dataclasses.replace(row, **changes)


def beat(row: TermRow, **changes: Any) -> Heartbeat:
    """What the primary of that term says of itself when all is well."""
    said = Heartbeat(
        server_uuid=row.primary_uuid,
        term=row.term,
        sequence=100,
        written_at=NOW - 0.2,
        source_active=True,
        no_tx=row.no_tx_base,
        wait_count=row.k,
        wait_point="AFTER_SYNC",
        timeout_ms=settings.MAXIMUM_TIMEOUT_MS,
        clients=row.n,
        wait_no_replica=True,
    )
    return dataclasses.replace(said, **changes)


def receiver(source: int = 1, **changes: Any) -> Receiver:
    return dataclasses.replace(
        Receiver(
            state=ON,
            source_host=f"10.0.0.{source}",
            source_port=3306,
            source_uuid=uuid(source),
            user="lossless_repl_2",
            retrieved=gtids("1:1-100"),
            auto_position=True,
            connect_retry=1,
            heartbeat_period=0.5,
            heartbeats=10,
            last_heartbeat_at=NOW - 0.1,
            last_queued_at=NOW - 0.2,
            last_queued_committed_at=NOW - 0.2,
        ),
        **changes,
    )


def primary(row: TermRow, number: int = 1, **changes: Any) -> ServerState:
    semi = SemiSync(
        source_installed=True,
        source_enabled=True,
        source_active=True,
        clients=row.n,
        wait_count=row.k,
        timeout_ms=settings.MAXIMUM_TIMEOUT_MS,
        wait_point="AFTER_SYNC",
        wait_no_replica=True,
        no_tx=row.no_tx_base,
        replica_installed=True,
    )
    state = ServerState(
        name=f"db{number}",
        server_uuid=uuid(number),
        server_id=number,
        version="9.7.4",
        executed=gtids("1:1-100"),
        clock=NOW,
        semi_sync=semi,
        term=row,
        heartbeats=(beat(row),),
        settings=GOOD_SETTINGS,
    )
    return dataclasses.replace(state, **changes)


def replica(row: TermRow, number: int, **changes: Any) -> ServerState:
    state = ServerState(
        name=f"db{number}",
        server_uuid=uuid(number),
        server_id=number,
        version="9.7.4",
        executed=gtids("1:1-100"),
        read_only=True,
        super_read_only=True,
        clock=NOW,
        receiver=receiver(),
        applier=Applier(ON),
        channels=("",),
        semi_sync=SemiSync(source_installed=True, replica_installed=True, replica_enabled=True, replica_active=True),
        term=row,
        heartbeats=(beat(row),),
        settings=GOOD_SETTINGS,
    )
    return dataclasses.replace(state, **changes)


def frozen(row: TermRow, number: int, **changes: Any) -> ServerState:
    """A replica whose receiver was stopped, a moment after it last heard its source."""
    return replica(row, number, **{"receiver": receiver(state=OFF), **changes})


def bare(number: int, **changes: Any) -> ServerState:
    """A server that was installed and nothing else: read-only, no transactions, no source."""
    state = ServerState(
        name=f"db{number}",
        server_uuid=uuid(number),
        server_id=number,
        version="9.7.4",
        executed=GtidSet(),
        read_only=True,
        super_read_only=True,
        clock=NOW,
        settings=GOOD_SETTINGS,
    )
    return dataclasses.replace(state, **changes)


def no_answer(number: int, kind: str = REFUSED, message: str = "connection refused", errno: int = 0) -> NoAnswer:
    return NoAnswer(f"db{number}", kind, message, errno)


def cut(state: ServerState) -> ServerState:
    """Its source is gone: the receiver tries to connect."""
    assert state.receiver is not None
    return dataclasses.replace(state, receiver=dataclasses.replace(state.receiver, state=CONNECTING))


def observe(*answers: Answer, members: tuple[Member, ...] = ()) -> Observation:
    """What was answered; the members are those that were asked, unless given."""
    asked = members or tuple(member(int(a.name.removeprefix("db"))) for a in answers)
    return Observation(asked, {a.name: a for a in answers}, started=10.0, wall=NOW, elapsed=0.01)


def healthy(row: TermRow) -> Observation:
    return observe(primary(row), *(replica(row, i) for i in range(2, len(row.members) + 1)))


def after_crash(row: TermRow, kind: str = REFUSED) -> Observation:
    """The primary is gone, all others answer and try to reach it."""
    return observe(no_answer(1, kind), *(cut(replica(row, i)) for i in range(2, len(row.members) + 1)))


def replaced(observation: Observation, *answers: Answer) -> Observation:
    """The same observation with other answers of these servers."""
    return dataclasses.replace(observation, answers={**observation.answers, **{a.name: a for a in answers}})
