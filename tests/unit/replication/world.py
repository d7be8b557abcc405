# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated cluster: what MySQL does when a step is done, in small effects between which a run can be killed.

It knows nothing of the planner's predictions. Time does not pass; the adversary does: between any two effects an
application commits, and the commit reaches as few replicas as it may.

A transaction is its number in the primary's binary log. A replica holds a prefix of it: it receives in that order.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import EMPTY, GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication import steps
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.situation import (
    ServerFacts,
    Situation,
    Wish,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.settings import MAXIMUM_TIMEOUT_MS, SETTINGS
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    DIFFERENT,
    PENDING,
    TO_BE_CLONED,
    VERIFIED,
    Answer,
    Applier,
    Member,
    NoAnswer,
    Observation,
    Receiver,
    SemiSync,
    ServerState,
    TermRow,
)

GOOD = {s.name: s.expected for s in SETTINGS} | {"sync_relay_log": "1", "lower_case_table_names": "0"}


def uuid(number: int) -> str:
    return f"0000000{number}-0000-0000-0000-000000000000"


def account(number: int) -> str:
    return f"lossless_repl_{number}"


@dataclasses.dataclass
class Host:
    """One server. ``got``: how much of the primary's log it holds. ``errant``: transactions of its own."""

    number: int
    got: int = 0
    errant: int = 0
    writable: bool = False
    half_open: bool = False
    offline: bool = False
    source: int = 0
    login: str = ""
    retry: int = 1
    receiver: str = "OFF"
    applier: str = "OFF"
    replica_enabled: bool = False
    replica_active: bool = False
    source_enabled: bool = False
    wait_count: int = 1
    timeout: int = MAXIMUM_TIMEOUT_MS
    no_tx: int = 0
    silent: bool = False
    silence: str = "timed_out"
    broken: bool = False
    restarted: bool = False

    @property
    def name(self) -> str:
        return f"s{self.number}"


class Blocked(AssertionError):
    """A commit of ours would wait for ever: the planner must not get there."""


class World:
    """``log``: the primary's binary log; each entry is None or the term row that it holds. ``acknowledged``: the length
    of the log up to which clients were told OK. ``choose``: the adversary's choice among n."""

    def __init__(self, hosts: list[Host], primary: int, choose: Callable[[int], int] = lambda n: 0) -> None:
        self.hosts = {h.number: h for h in hosts}
        self.primary = primary
        self.log: list[TermRow | None] = []
        self.acknowledged = 0
        self.armed_at: int | None = None
        self.purged = 0
        self.user_tables = 0
        self.own_schema = False
        self.locked: set[str] = set()
        self.returns: dict[str, str] = {}
        """How servers returned after they were deposed, by server_uuid."""
        self.counted_unverified = False
        self.choose = choose
        self.wiped_registered = False
        self.opened_unarmed = False
        self.served_astray = False
        self.blocked = False
        """A client's commit waits for ever."""
        self.former: dict[str, Member] = {}
        """Registered servers that are not wanted; one run goes on looking at them, another one knows only the row."""

    # --- what is ------------------------------------------------------------------------------------------------------
    @property
    def p(self) -> Host:
        return self.hosts[self.primary]

    def replicas(self) -> list[Host]:
        return [h for h in self.hosts.values() if h.number != self.primary]

    def attached(self) -> list[Host]:
        return [
            h
            for h in self.replicas()
            if h.receiver == "ON" and h.source == self.primary and h.login not in self.locked and not self.p.offline
        ]

    def active(self) -> list[Host]:
        return [h for h in self.attached() if h.replica_active]

    def row_of(self, host: Host) -> TermRow | None:
        rows = [row for row in self.log[: host.got] if row]
        return rows[-1] if rows else None

    # --- commits ------------------------------------------------------------------------------------------------------
    def commit(self, row: TermRow | None = None) -> bool:
        """One transaction on the primary, acknowledged by as few as it takes. False when it would wait for ever."""
        end = len(self.log) + 1
        if self.p.source_enabled:
            able = self.active()
            if len(able) < self.p.wait_count:
                return False
            order = list(itertools.permutations(able, self.p.wait_count))
            chosen = order[self.choose(len(order))]
            for host in chosen:
                host.got = end
        self.log.append(row)
        self.p.got = end
        self.acknowledged = end
        return True

    def application(self) -> None:
        if self.p.writable and not self.p.silent and not self.commit():
            self.blocked = True

    # --- the promise --------------------------------------------------------------------------------------------------
    def check(self) -> None:
        """Whoever could be promoted as proven, were the primary to die now, has everything acknowledged."""
        assert not self.wiped_registered, "a registered acknowledger was wiped"
        assert not self.served_astray, "a fence was lifted where data were not the primary's"
        assert not self.counted_unverified, "a rewound server acknowledges before it was compared"
        assert not self.opened_unarmed, "applications may write where nothing is acknowledged"
        replicas = self.replicas()
        for size in range(1, len(replicas) + 1):
            for frozen in itertools.combinations(replicas, size):
                self._check_frozen(frozen)

    def _check_frozen(self, frozen: tuple[Host, ...]) -> None:
        rows = [row for row in map(self.row_of, frozen) if row]
        if not rows:
            return
        row = max(rows, key=lambda r: r.revision)
        registered = {m.server_uuid for m in row.acknowledgers}
        held = [h for h in frozen if uuid(h.number) in registered]
        if not row.n or len(held) < row.n - row.k + 1:
            return
        best = max(h.got for h in held)
        # Testimony: a commit made since the primary was armed, and its counter as the row has it.
        if self.armed_at is None or best <= self.armed_at or self.p.no_tx > row.no_tx_base:
            return
        assert best >= self.acknowledged, (
            f"acknowledged {self.acknowledged}, the best of {[h.name for h in held]} has {best};"
            f" row {row.revision} with n={row.n}, k={row.k}"
        )
        still = [h for h in self.active() if h not in frozen]
        assert len(still) < self.p.wait_count, (
            f"{[h.name for h in still]} could still acknowledge after {[h.name for h in frozen]} were frozen;"
            f" row {row.revision} with n={row.n}, k={row.k}, the primary waits for {self.p.wait_count}"
        )

    # --- doing --------------------------------------------------------------------------------------------------------
    def effects(self, step: steps.Step, wish: Wish) -> Iterator[None]:
        """Do a step; yields between its effects."""
        (host,) = (h for h in self.hosts.values() if h.name == step.name)
        yield from getattr(self, f"_{type(step).__name__}")(step, host, wish)
        self._note_arming()

    def _note_arming(self) -> None:
        armed = self.p.source_enabled and self.p.timeout == MAXIMUM_TIMEOUT_MS
        if not armed:
            self.armed_at = None
        elif self.armed_at is None:
            self.armed_at = len(self.log)

    def _OpenForAdministration(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        host.half_open = True
        yield

    def _CreateSchema(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        for _statement in range(3):
            if not self.commit():
                raise Blocked("creating the schema")
            yield
        self.own_schema = True

    def _Disarm(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        host.source_enabled = False
        yield

    def _StopAcknowledging(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        host.replica_enabled = False
        yield
        if host.receiver != "OFF":
            host.receiver, host.replica_active = "OFF", False
            yield
            if step.restart:
                yield from self._start(host)

    def _LockOut(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        for _account in step.accounts:
            if not self.commit():
                raise Blocked("locking an account")
            # The connection that exists goes on until its dump thread is ended.
            yield
        self.locked |= set(step.accounts)
        for other in self.replicas():
            if other.login in self.locked and other.receiver == "ON":
                other.receiver = "CONNECTING"
        yield

    def _Readmit(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        if not self.commit():
            raise Blocked("unlocking an account")
        self.locked.discard(step.account)
        for other in self.replicas():
            if other.login == step.account and other.receiver == "CONNECTING":
                other.receiver = "ON"
        yield

    def _Clone(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        row = self.row_of(self.p)
        if row and uuid(host.number) in {m.server_uuid for m in row.acknowledgers}:
            self.wiped_registered = True
        (donor,) = (h for h in self.hosts.values() if h.name == step.donor)
        host.receiver = host.applier = "OFF"
        yield
        host.offline = False
        host.got, host.errant, host.broken = donor.got, 0, False
        host.source, host.login = 0, ""
        host.replica_enabled = host.replica_active = False
        yield
        if uuid(host.number) in self.returns:
            self.returns[uuid(host.number)] = VERIFIED
            yield

    def _Repoint(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        host.receiver, host.replica_active = "OFF", False
        yield
        host.source, host.login, host.retry = self.primary, step.user, wish.connect_retry
        yield
        host.replica_enabled = step.acknowledge
        yield
        yield from self._start(host)

    def _GoOnline(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        follows = host in self.attached()
        if host.writable or host.half_open or not (follows or host.number == self.primary):
            self.served_astray = True
        host.offline = False
        yield

    def _StartThreads(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        yield from self._start(host)

    def _start(self, host: Host) -> Iterator[None]:
        host.applier = "ON"
        host.receiver = "CONNECTING" if host.login in self.locked or self.p.offline else "ON"
        host.replica_active = host.replica_enabled
        yield

    def _StopThreads(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        if step.clients and len(self.active()) < step.clients:
            raise Blocked("the guard of the step would not let it happen")
        host.applier = "OFF"
        yield
        host.receiver, host.replica_active = "OFF", False
        yield

    def _WaitConnected(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        assert host.login not in self.locked, "waits for a server that is locked out"
        assert not self.p.offline, "waits for a primary that lets nobody in"
        host.receiver = "ON"
        yield

    def _WaitVerified(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        assert host.number != self.primary
        assert host.source == self.primary, "nobody compares a server that does not follow"
        self.returns[uuid(host.number)] = VERIFIED
        yield

    def _WaitReceived(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        host.got = len(self.log)
        yield

    def _Acknowledge(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        self.counted_unverified |= self.returns.get(uuid(host.number)) in (PENDING, DIFFERENT, TO_BE_CLONED)
        host.replica_enabled = True
        yield
        host.receiver, host.replica_active = "OFF", False
        yield
        yield from self._start(host)

    def _Arm(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        host.wait_count = step.k
        yield
        host.timeout = MAXIMUM_TIMEOUT_MS
        host.source_enabled = True
        yield

    def _WriteTerm(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        row = self.row_of(self.p)
        assert step.row.revision == (row.revision if row else 0) + 1
        everything = len(self.log)
        for other in self.replicas():
            if other.name in step.holders:
                assert other in self.attached(), f"waits for {other.name}, which is not attached"
                other.got = max(other.got, everything)
        yield
        if not self.commit(dataclasses.replace(step.row, no_tx_base=host.no_tx)):
            raise Blocked("the term row")
        host.restarted = False
        yield

    def _AllowWrites(self, step: Any, host: Host, wish: Wish) -> Iterator[None]:
        row = self.row_of(host)
        if not host.source_enabled or not row or row.primary_uuid != uuid(host.number) or host.wait_count < row.k:
            self.opened_unarmed = True
        host.half_open = True
        yield
        host.writable = True
        yield

    # --- looking ------------------------------------------------------------------------------------------------------
    def look(self, wish: Wish) -> Situation:
        members = list(wish.members)
        row = self.row_of(self.p)
        if row:
            self.former.update({m.name: m for m in row.acknowledgers if m.name not in wish.names})
        members += self.former.values()
        answers: dict[str, Answer] = {}
        facts = {}
        for member in members:
            host = next(h for h in self.hosts.values() if h.name == member.name)
            if host.silent:
                answers[host.name] = NoAnswer(host.name, host.silence, f"{host.name}: no answer")
                continue
            answers[host.name] = self._state(host)
            facts[host.name] = ServerFacts(
                user_tables=self.user_tables,
                own_schema=self.own_schema and host.number == self.primary,
                replication_accounts={account(n): account(n) in self.locked for n in self.hosts},
                dump_users=tuple(h.login for h in self.attached()) if host.number == self.primary else (),
                returns=dict(self.returns),
            )
        return Situation(Observation(tuple(members), answers), facts)

    def _gtids(self, host: Host) -> GtidSet:
        text = [f"{uuid(self.primary)}:1-{host.got}"] if host.got else []
        if host.errant:
            text.append(f"{uuid(host.number)}:1-{host.errant}")
        return GtidSet.parse(",".join(text))

    def _state(self, host: Host) -> ServerState:
        own = host.number == self.primary
        receiver = applier = None
        if host.source:
            receiver = Receiver(
                host.receiver,
                source_host=f"h{host.source}",
                source_port=3306,
                source_uuid=uuid(host.source),
                user=host.login,
                retrieved=EMPTY,
                auto_position=True,
                ssl=True,
                ssl_verify=True,
                connect_retry=host.retry,
                heartbeat_period=0.5,
            )
            applier = Applier(
                "OFF" if host.broken else host.applier, error_number=1062 if host.broken else 0, error="duplicate"
            )
        row = self.row_of(host)
        clock = 1000.0
        return ServerState(
            name=host.name,
            server_uuid=uuid(host.number),
            server_id=host.number,
            version="9.7.4",
            executed=self._gtids(host),
            purged=GtidSet.parse(f"{uuid(self.primary)}:1-{self.purged}") if own and self.purged else EMPTY,
            read_only=not host.writable,
            super_read_only=not (host.writable or host.half_open),
            offline_mode=host.offline,
            uptime=10,
            clock=clock,
            receiver=receiver,
            applier=applier,
            channels=("",) if host.source else (),
            semi_sync=SemiSync(
                source_installed=True,
                source_enabled=host.source_enabled,
                source_active=host.source_enabled,
                clients=len(self.active()) if own else 0,
                wait_count=host.wait_count,
                timeout_ms=host.timeout,
                wait_point="AFTER_SYNC",
                wait_no_replica=True,
                no_tx=host.no_tx,
                replica_installed=True,
                replica_enabled=host.replica_enabled,
                replica_active=host.replica_active,
            ),
            # A row written before the primary was restarted, or after.
            term=dataclasses.replace(row, written_at=clock - (20.0 if self.p.restarted else 5.0)) if row else None,
            settings=GOOD,
        )


def member(number: int, **more: Any) -> Member:
    return Member(f"s{number}", f"h{number}", zone=f"z{number}", city="c", **more)


def wish(numbers: Any, **more: Any) -> Wish:
    return Wish(tuple(member(n) for n in numbers), ca="/ca.pem", **more)


def lossless(count: int, k: int = 1, *, members: Any = None, choose: Callable[[int], int] = lambda n: 0) -> World:
    """A converged cluster of these servers, s1 primary."""
    numbers = list(members or range(1, count + 1))
    world = World([Host(n) for n in range(1, count + 1)], 1, choose)
    world.own_schema = True
    world.user_tables = 1
    world.p.writable = True
    for host in world.replicas():
        if host.number in numbers:
            host.source, host.login, host.receiver, host.applier = 1, account(host.number), "ON", "ON"
            host.replica_enabled = host.replica_active = True
    world.p.source_enabled, world.p.wait_count = True, k
    rows = tuple(dataclasses.replace(member(n), server_uuid=uuid(n)) for n in numbers)
    world._note_arming()
    assert world.commit(TermRow(1, 1, uuid(1), rows, k))
    assert world.commit()
    for host in world.attached():
        host.got = len(world.log)
    return world
