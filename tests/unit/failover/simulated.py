# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in memory behind the verbs of ``failover/hands.py``, which can be interrupted between any two effects.

It models what the safety argument rests on and nothing else: commits that wait for k acknowledgements of attached
receivers, receivers and appliers, relay logs that are lost by a wrong RESET, semi-sync on both sides, read-only flags,
locks that die with their holder or are lost before, and the rows of the collection's own schema travelling as
transactions.

``adversary`` is called at every boundary: it lets every server that believes itself writable try to commit, the old
primary included when it is only cut off from the control host. What gets acknowledged is remembered, and must be on the
final primary.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Optional, Sequence

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import EMPTY, GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import settings
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    CONNECTING,
    FAILED,
    OFF,
    ON,
    REFUSED,
    TIMED_OUT,
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


class Killed(BaseException):
    """The acting process died here. Not an Exception: nothing may catch it."""


GOOD_SETTINGS = {s.name: s.expected for s in (*settings.SETTINGS, settings.SYNC_RELAY_LOG)}


def uuid_of(number: int) -> str:
    return f"{number:08d}-0000-0000-0000-000000000000"


def one(uuid: str, number: int) -> GtidSet:
    return GtidSet({(uuid, ""): [(number, number)]})


@dataclasses.dataclass
class Server:
    name: str
    uuid: str
    mysqld: str = "running"
    """running, dead, or hung"""
    reachable: bool = True
    """from the control host"""
    writable: bool = False
    executed: GtidSet = EMPTY
    relay: GtidSet = EMPTY
    source: str = ""
    receiver: str = OFF
    configured: bool = False
    applier_error: str = ""
    applier_slow: bool = False
    source_enabled: bool = False
    wait_count: int = 1
    replica_enabled: bool = False
    locked_out: bool = False
    """no source lets its receiver in"""
    offline: bool = False
    no_tx: int = 0
    last_queued_at: float = 0.0
    last_queued_committed_at: float = 0.0
    last_heartbeat_at: float = 0.0
    heartbeats: int = 0
    prepared: list[GtidSet] = dataclasses.field(default_factory=list)
    settings: dict[str, str] = dataclasses.field(default_factory=lambda: dict(GOOD_SETTINGS))


class Cluster:
    """``size`` servers, the first is primary of term 1, all others acknowledge; k acknowledgements are waited for."""

    def __init__(self, size: int = 3, k: int = 1) -> None:
        self.now = 1000.0
        self.servers = {f"db{i}": Server(f"db{i}", uuid_of(i)) for i in range(1, size + 1)}
        self.members = tuple(Member(s.name, f"10.0.0.{i}") for i, s in enumerate(self.servers.values(), 1))
        self.payload: dict[tuple[str, int], Any] = {}
        self.acknowledged: list[tuple[str, int]] = []
        self.acknowledged_by: list[str] = []
        self.locks: dict[str, object] = {}
        """Who holds the advisory lock on a member: a ``Hands``, or any other object for another run."""
        # Servers that no receiver reaches, though they live and answer the control host.
        self.unheard: set[str] = set()
        self.beside: list[str] = []
        """Each time that a server was opened while another one that answers the control host took writes."""
        primary = self.servers["db1"]
        primary.writable = True
        primary.source_enabled = True
        primary.wait_count = k
        for server in list(self.servers.values())[1:]:
            server.source, server.receiver, server.configured = "db1", ON, True
            server.replica_enabled = True
        registered = tuple(
            dataclasses.replace(m, server_uuid=self.servers[m.name].uuid, acknowledges=True) for m in self.members
        )
        self.commit("db1", TermRow(1, 1, primary.uuid, registered, k))
        self.beat("db1")

    # --- what servers do ----------------------------------------------------------------------------------------------
    def followers(self, name: str) -> list[Server]:
        return [
            s
            for s in self.servers.values()
            if s.source == name and s.receiver == ON and s.mysqld == "running" and s.configured
            if name not in self.unheard
        ]

    def commit(self, name: str, payload: Any = "row") -> bool:
        """Whether the commit was acknowledged to its client."""
        server = self.servers[name]
        if server.mysqld != "running" or not server.writable or server.offline or server.prepared:
            return False
        number = 1 + max((last for (u, _t), (_f, last) in server.executed if u == server.uuid), default=0)
        gtid = one(server.uuid, number)
        self.payload[(server.uuid, number)] = payload
        attached = self.followers(name)
        acknowledgers = [s for s in attached if s.replica_enabled]
        for follower in attached:
            follower.relay = follower.relay | gtid
            follower.last_queued_at = follower.last_queued_committed_at = self.now
        enough = not server.source_enabled or len(acknowledgers) >= server.wait_count
        if enough:
            server.executed = server.executed | gtid
            self.acknowledged.append((server.uuid, number))
            self.acknowledged_by.append(name)
        else:
            server.prepared.append(gtid)
        for follower in attached:
            self.apply(follower)
        return enough

    def beat(self, name: str) -> bool:
        server = self.servers[name]
        term = self.term_of(server)
        beat = Heartbeat(
            server.uuid,
            term.term if term else 0,
            int(self.now),
            self.now,
            server.source_enabled,
            server.no_tx,
            server.wait_count,
            "AFTER_SYNC",
            settings.MAXIMUM_TIMEOUT_MS,
            len([s for s in self.followers(name) if s.replica_enabled]),
            True,
        )
        return self.commit(name, beat)

    def apply(self, server: Server, *, slow_too: bool = False) -> None:
        if server.mysqld == "running" and not server.applier_error and (slow_too or not server.applier_slow):
            server.executed = server.executed | server.relay

    def kill(self, name: str) -> None:
        self.servers[name].mysqld = "dead"
        for follower in self.servers.values():
            if follower.source == name and follower.receiver == ON:
                follower.receiver = CONNECTING

    def revive_receivers(self) -> None:
        """A receiver that tries to connect reaches its source when that lives."""
        for server in self.servers.values():
            source = self.servers.get(server.source)
            if server.receiver != CONNECTING or source is None or source.mysqld != "running" or server.locked_out:
                continue
            if source.name in self.unheard or source.offline:
                continue
            server.receiver = ON
            missing = source.executed
            for prepared in source.prepared:
                missing = missing | prepared
            server.relay = server.relay | missing
            self.apply(server)

    def settle_waiting(self) -> None:
        """Commits that waited are acknowledged once enough acknowledgers are attached."""
        for server in self.servers.values():
            attached = [s for s in self.followers(server.name) if s.replica_enabled]
            if server.prepared and server.mysqld == "running" and len(attached) >= server.wait_count:
                for gtid in server.prepared:
                    for follower in attached:
                        follower.relay = follower.relay | gtid
                        self.apply(follower)
                    server.executed = server.executed | gtid
                    ((uuid, _tag), (number, _last)) = next(iter(gtid))
                    self.acknowledged.append((uuid, number))
                    self.acknowledged_by.append(server.name)
                server.prepared = []

    # --- what an observer sees ----------------------------------------------------------------------------------------
    def term_of(self, server: Server) -> Optional[TermRow]:
        rows = [p for k, p in self.payload.items() if isinstance(p, TermRow) and one(*k) <= server.executed]
        return max(rows, key=lambda r: r.revision, default=None)

    def state(self, server: Server) -> ServerState:
        beats: dict[str, Heartbeat] = {}
        for key, payload in self.payload.items():
            if isinstance(payload, Heartbeat) and one(*key) <= server.executed:
                held = beats.get(payload.server_uuid)
                if held is None or held.sequence <= payload.sequence:
                    beats[payload.server_uuid] = payload
        receiver = applier = None
        if server.configured:
            receiver = Receiver(
                state=server.receiver,
                source_host=server.source,
                source_uuid=self.servers[server.source].uuid if server.source else "",
                retrieved=server.relay,
                auto_position=True,
                heartbeat_period=0.5,
                heartbeats=server.heartbeats,
                last_heartbeat_at=server.last_heartbeat_at,
                last_queued_at=server.last_queued_at,
                last_queued_committed_at=server.last_queued_committed_at,
            )
            applier = Applier(OFF if server.applier_error else ON, error=server.applier_error)
        return ServerState(
            name=server.name,
            server_uuid=server.uuid,
            server_id=int(server.name[2:]),
            version="9.7.4",
            executed=server.executed,
            offline_mode=server.offline,
            read_only=not server.writable,
            super_read_only=not server.writable,
            clock=self.now,
            receiver=receiver,
            applier=applier,
            semi_sync=SemiSync(
                source_installed=True,
                source_enabled=server.source_enabled,
                source_active=server.source_enabled,
                clients=len([s for s in self.followers(server.name) if s.replica_enabled]),
                wait_count=server.wait_count,
                timeout_ms=settings.MAXIMUM_TIMEOUT_MS,
                wait_point="AFTER_SYNC",
                wait_no_replica=True,
                no_tx=server.no_tx,
                wait_sessions=len(server.prepared),
                replica_installed=True,
                replica_enabled=server.replica_enabled,
            ),
            term=self.term_of(server),
            heartbeats=tuple(beats.values()),
            settings=server.settings,
        )

    def observe(self, names: Optional[Sequence[str]] = None) -> Observation:
        answers: dict[str, Any] = {}
        for member in self.members:
            if names is not None and member.name not in names:
                continue
            server = self.servers[member.name]
            if server.mysqld == "running" and server.reachable:
                answers[member.name] = self.state(server)
            elif server.mysqld == "dead" and server.reachable:
                answers[member.name] = NoAnswer(member.name, REFUSED, "connection refused")
            else:
                answers[member.name] = NoAnswer(member.name, TIMED_OUT, "no answer")
        asked = tuple(m for m in self.members if m.name in answers)
        return Observation(asked, answers, self.now, self.now, 0.01)

    def note_open(self, name: str) -> None:
        """Applications were let in: who else takes their writes at that moment, and could be told not to?"""
        self.beside += [
            f"{s.name} beside {name}" for s in self.open_primaries() if s.name != name and s.reachable and not s.offline
        ]

    # --- what must hold -----------------------------------------------------------------------------------------------
    def open_primaries(self) -> list[Server]:
        return [s for s in self.servers.values() if s.writable and s.mysqld == "running"]

    def lost(self, name: str) -> list[tuple[str, int]]:
        """Acknowledged transactions that this server does not have."""
        return [key for key in self.acknowledged if not one(*key) <= self.servers[name].executed]


class Hands:
    """The verbs, on a ``Cluster``. ``kill_at``: die at that boundary, counted from 0; ``None`` for never.

    ``lose_at``: from that boundary on, as soon as locks are held, those on the members ``loses`` (all by default) are
    lost, and with each the only connection that this run may use there.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        kill_at: Optional[int] = None,
        lose_at: Optional[int] = None,
        loses: Optional[Sequence[str]] = None,
        adversary: Optional[Callable[[Cluster], None]] = None,
    ) -> None:
        self.cluster = cluster
        self.kill_at = kill_at
        self.lose_at = lose_at
        self.loses = loses
        self.lost: set[str] = set()
        self.lost_after: Optional[int] = None
        """At which boundary the locks were lost."""
        self.adversary = adversary
        self.boundaries = 0
        self.trace: list[str] = []

    def _boundary(self, what: str) -> None:
        if self.adversary:
            self.adversary(self.cluster)
        self.trace.append(what)
        here = self.boundaries
        self.boundaries += 1
        if here == self.kill_at:
            self._drop(self.held)
            raise Killed(what)
        if self.lose_at is not None and here >= self.lose_at and self.lost_after is None:
            self._lose(here)

    # --- locks --------------------------------------------------------------------------------------------------------
    @property
    def held(self) -> list[str]:
        return [name for name, holder in self.cluster.locks.items() if holder is self]

    def _lose(self, here: int) -> None:
        gone = [name for name in self.held if self.loses is None or name in self.loses]
        if gone:
            self.lost_after = here
            self.lost.update(gone)
            self._drop(gone)

    def _drop(self, names: Sequence[str]) -> None:
        for name in names:
            del self.cluster.locks[name]

    def _server(self, name: str) -> Server:
        if name in self.lost:
            raise HaError("lock_lost", f"{name}: the connection that held the lock is gone")
        server = self.cluster.servers[name]
        if server.mysqld != "running" or not server.reachable:
            raise HaError("connection_lost", f"{name}: gone")
        return server

    def clock(self) -> float:
        return self.cluster.now

    def wall(self) -> float:
        return self.cluster.now

    def observe(self, names: Optional[Sequence[str]] = None) -> Observation:
        self._boundary("observe")
        seen = self.cluster.observe(names)
        lost = {n: NoAnswer(n, FAILED, "the connection that held the lock is gone") for n in self.lost}
        return dataclasses.replace(seen, answers={n: lost.get(n, answer) for n, answer in seen.answers.items()})

    def wait(self, seconds: float) -> None:
        self.cluster.now += max(seconds, 0.01)
        self._boundary("wait")
        self._require_locks()

    def blockers(self, name: str, older_than: float) -> list[dict[str, Any]]:
        return []

    def lock(self, names: Sequence[str], required: int, wait: float) -> list[str]:
        self._boundary("lock")
        locks = self.cluster.locks
        able = [name for name in names if self._answers(name)]
        others = sorted(name for name in able if locks.get(name, self) is not self)
        if len(able) - len(others) < required:
            raise HaError("locked", "another run is at work", evidence={"members": others})
        taken = [name for name in able if name not in others]
        locks.update(dict.fromkeys(taken, self))
        return taken

    def _answers(self, name: str) -> bool:
        server = self.cluster.servers[name]
        return server.mysqld == "running" and server.reachable and name not in self.lost

    def keep_locks(self) -> None:
        self._boundary("keep_locks")
        self._require_locks()

    def _require_locks(self) -> None:
        if self.lost:
            raise HaError("lock_lost", f"the lock on {', '.join(sorted(self.lost))} is gone")

    def release_locks(self) -> None:
        self._drop(self.held)
        self.lost.clear()

    def _on_each(self, names: Sequence[str], verb: str, work: Callable[[Server], None]) -> dict[str, Any]:
        """Each server is a boundary of its own: a run may die when half of them are done."""
        result: dict[str, Any] = {}
        for name in names:
            self._boundary(f"{verb} {name}")
            try:
                work(self._server(name))
                result[name] = None
            except HaError as error:
                result[name] = error
        return result

    def stop_receivers(self, names: Sequence[str]) -> dict[str, Any]:
        def stop(server: Server) -> None:
            server.receiver = OFF

        return self._on_each(names, "stop_receiver", stop)

    def start_receivers(self, names: Sequence[str]) -> dict[str, Any]:
        def start(server: Server) -> None:
            if server.configured:
                server.receiver = CONNECTING
                self.cluster.revive_receivers()

        return self._on_each(names, "start_receiver", start)

    def start_appliers(self, names: Sequence[str]) -> dict[str, Any]:
        return self._on_each(names, "start_applier", self.cluster.apply)

    def applied(self, name: str, gtids: GtidSet, wait: float) -> tuple[bool, GtidSet, str]:
        self._boundary(f"applied {name}")
        server = self._server(name)
        self.cluster.now += 0.01
        self.cluster.apply(server, slow_too=True)
        return gtids <= server.executed, server.executed, server.applier_error

    def follow(self, states: Sequence[ServerState], target: Member, *, acknowledge: bool) -> dict[str, Any]:
        def work(server: Server) -> None:
            assert not server.writable, "a writable server was made a replica"
            assert not server.source_enabled, "a replica with the source side on blocks its own applier"
            server.receiver = OFF
            server.configured, server.source = True, target.name
            server.replica_enabled = acknowledge
            server.last_queued_at = server.last_queued_committed_at = 0.0
            server.receiver = CONNECTING
            self.cluster.revive_receivers()
            self.cluster.settle_waiting()

        return self._on_each([s.name for s in states], f"follow {target.name}:", work)

    def connected(self, names: Sequence[str], enough: Optional[int] = None) -> dict[str, Any]:
        def look(server: Server) -> None:
            if server.receiver != ON or server.locked_out:
                raise HaError("receiver_not_connected", f"{server.name} is not connected")

        return self._on_each(names, "connected", look)

    def leave_source(self, state: ServerState) -> None:
        self._boundary(f"leave_source {state.name}")
        server = self._server(state.name)
        server.receiver = OFF
        if server.relay - server.executed:
            raise HaError("not_applied", f"{server.name} has unapplied transactions")
        server.configured, server.source, server.relay = False, "", EMPTY
        server.last_queued_at = server.last_queued_committed_at = 0.0
        server.replica_enabled = False
        self._boundary(f"left_source {state.name}")

    def arm(self, name: str, k: int) -> None:
        self._boundary(f"arm {name}")
        server = self._server(name)
        server.source_enabled, server.wait_count = True, k

    def fence(self, name: str) -> list[str]:
        self._boundary(f"fence {name}")
        self._server(name).offline = True
        for other in self.cluster.servers.values():
            if other.source == name and other.receiver == ON:
                other.receiver = CONNECTING
        self._boundary(f"fenced {name}")
        return []

    def disarm(self, name: str) -> None:
        self._boundary(f"disarm {name}")
        server = self._server(name)
        if server.writable or server.prepared:
            raise HaError("commits_wait", f"{name}: commits wait")
        server.source_enabled = False

    def open_writes(self, name: str) -> None:
        self._boundary(f"open_writes {name}")
        server = self._server(name)
        if not server.source_enabled:
            raise HaError("situation_changed", f"{name} does not wait for acknowledgements")
        server.writable = True
        self.cluster.note_open(name)

    def close_writes(self, name: str, budget: float) -> None:
        self._boundary(f"close_writes {name}")
        server = self._server(name)
        if server.prepared:
            raise HaError("writes_not_blocked", f"{name}: commits wait")
        server.writable = False

    def executed(self, name: str) -> GtidSet:
        self._boundary(f"executed {name}")
        return self._server(name).executed

    def write_term(self, name: str, row: TermRow, wait: float) -> None:
        self._boundary(f"write_term {name}")
        self._server(name)
        if not self.cluster.commit(name, row):
            self.cluster.settle_waiting()
            raise HaError("deadline_exceeded", f"{name}: the term row was not acknowledged")
        self.cluster.beat(name)  # the same transaction, in truth
        self._boundary(f"wrote_term {name}")

    def testify(self, name: str, term: int) -> None:
        self._boundary(f"testify {name}")
        self._server(name)
        if not self.cluster.beat(name):
            self.cluster.settle_waiting()

    def enable_events(self, name: str) -> tuple[list[str], list[str]]:
        self._boundary(f"enable_events {name}")
        self._server(name)
        return [], []
