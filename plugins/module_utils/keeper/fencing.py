# SPDX-License-Identifier: BSD-2-Clause
"""The two threads of self-fencing, so that neither the loop nor the heartbeat ever waits for them.

``Asker`` asks the peers while the loop wants to know what they say. ``Fencer`` ends sessions and takes the local server
offline while the loop orders it. Both leave what they learned in ``Orders``, where the loop finds it. What to do is
decided in ``fence``.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import Any, Callable, Mapping, Optional

from ..errors import HaError
from ..server import schema, sessions
from ..server.session import Login, Session, StatementFailed
from ..server.state import CONNECTING, OFF, ON, Member
from ..topology.observe import in_parallel
from . import fence
from .fence import Heard
from .heartbeat import NO_SUCH_THING, Clock, Open, Worker, read_seen

ASK_EVERY = 1.0
END_AGAIN_AFTER = 0.2
FENCE_AGAIN_AFTER = 2.0
WARM_EVERY = 5.0
CLOSE_WITHIN = 3.0

SETTINGS: Mapping[str, Any] = {"lock_wait_timeout": 1}
"""Of the connection that fences: super_read_only waits for commits, and must give up while one waits."""

_LOCK_TIMED_OUT = 1205

_PEER = f"""SELECT LOWER(@@GLOBAL.server_uuid) AS server_uuid,
    t.revision, t.term, LOWER(t.primary_uuid) AS primary_uuid, t.proof,
    c.SERVICE_STATE AS receiver, LOWER(c.SOURCE_UUID) AS source_uuid
    FROM (SELECT 1) one LEFT JOIN
    (SELECT revision, term, primary_uuid, proof FROM {schema.SCHEMA}.term ORDER BY revision DESC LIMIT 1) t ON TRUE
    LEFT JOIN performance_schema.replication_connection_status c ON c.CHANNEL_NAME = ''"""


@dataclasses.dataclass(frozen=True)
class Spared:
    """The accounts whose sessions are never ended: the collection's own. ``prefix``: of the replicas' accounts."""

    users: frozenset[str] = frozenset()
    prefix: str = ""

    def spares(self, user: str) -> bool:
        return user in self.users or bool(self.prefix and user.startswith(self.prefix))


@dataclasses.dataclass(frozen=True)
class Done:
    """What was done since the lease was lost. ``refused``: accounts whose sessions only an account with SYSTEM_USER
    could end. ``waits``: why the server is not read-only yet."""

    ended: int = 0
    refused: tuple[str, ...] = ()
    waits: str = ""


class Orders:
    """What the loop wants, and what the two threads know.

    :param wake: called after news, from the thread that brought it.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._condition = threading.Condition()
        self._decision = fence.Decision(fence.NOTHING, "starting", "")
        self._generation = 0
        self._members: tuple[Member, ...] = ()
        self._own_uuid = ""
        self._revision: Optional[int] = None
        self._heard: dict[str, Heard] = {}
        self._silent: dict[str, str] = {}
        self._done = Done()
        self._trouble = ""
        self._stopped = False

    # --- the loop ----------------------------------------------------------------------------------------------------
    def order(self, decision: fence.Decision) -> None:
        with self._condition:
            before, self._decision = self._decision, decision
            asked, asks = before.action != fence.NOTHING, decision.action != fence.NOTHING
            if asked and not asks:
                # What was heard belongs to the time without a lease; answers that are still under way are dropped.
                self._generation += 1
                self._heard, self._silent, self._done, self._trouble = {}, {}, Done(), ""
            if _key(before) != _key(decision):
                self._condition.notify_all()

    def heard(self) -> tuple[Heard, ...]:
        with self._condition:
            return tuple(self._heard.values())

    def silent(self) -> dict[str, str]:
        """Why peers said nothing."""
        with self._condition:
            return dict(self._silent)

    def done(self) -> Done:
        with self._condition:
            return self._done

    def trouble(self) -> tuple[str, ...]:
        with self._condition:
            return tuple(text for text in (self._trouble, self._done.waits) if text)

    def acknowledgers(self) -> frozenset[str]:
        """Who is registered to acknowledge the local server, by its newest row."""
        with self._condition:
            return frozenset(m.server_uuid for m in self._members if m.acknowledges and m.server_uuid != self._own_uuid)

    def stop(self) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    # --- the threads -------------------------------------------------------------------------------------------------
    @property
    def stopped(self) -> bool:
        with self._condition:
            return self._stopped

    def stands(self, decision: fence.Decision) -> bool:
        """Whether that is still what is to be done."""
        with self._condition:
            return not self._stopped and _key(self._decision) == _key(decision)

    def wait_for_work(self, within: float) -> Optional[fence.Decision]:
        """Wait until there is something to do on the local server: sessions, the fence, or a row that was not read."""

        def due() -> bool:
            decision = self._decision
            if decision.action in (fence.END_SESSIONS, fence.FENCE):
                return True
            return decision.action == fence.ASK_PEERS and decision.revision != self._revision

        with self._condition:
            self._condition.wait_for(lambda: self._stopped or due(), within)
            return self._decision if due() and not self._stopped else None

    def wait_for_question(self, within: float) -> Optional[tuple[int, tuple[Member, ...]]]:
        """Wait until the peers are to be asked. Returns the time without a lease this is (a number), and the peers."""

        def asks() -> bool:
            return self._decision.action != fence.NOTHING

        with self._condition:
            self._condition.wait_for(lambda: self._stopped or asks(), within)
            return None if self._stopped or not asks() else (self._generation, self._peers())

    def _peers(self) -> tuple[Member, ...]:
        return tuple(m for m in self._members if m.server_uuid not in ("", self._own_uuid))

    def wait_for_change(self, of: fence.Decision, within: float) -> None:
        """Wait until something else is to be done, or the time is over, or all is to stop."""
        if within > 0:
            with self._condition:
                self._condition.wait_for(lambda: self._stopped or _key(self._decision) != _key(of), within)

    def wait_for_other(self, question: tuple[int, tuple[Member, ...]], within: float) -> None:
        """Wait until that time without a lease has ended, or the peers are others, or the time is over."""
        if within > 0:
            with self._condition:
                self._condition.wait_for(lambda: self._stopped or (self._generation, self._peers()) != question, within)

    def put_row(self, own_uuid: str, revision: int, members: tuple[Member, ...]) -> None:
        with self._condition:
            self._own_uuid, self._revision, self._members = own_uuid, revision, members
            self._condition.notify_all()

    def put_heard(self, generation: int, heard: Heard) -> None:
        with self._condition:
            if generation != self._generation:
                return
            before = self._heard.get(heard.name)
            if heard.receiver == OFF:
                since = before.off_since if before is not None and before.receiver == OFF else None
                heard = dataclasses.replace(heard, off_since=heard.asked_at if since is None else since)
            self._heard[heard.name] = heard
            self._silent.pop(heard.name, None)
            news = before is None or dataclasses.replace(before, asked_at=heard.asked_at) != heard
        if news:
            self._wake()

    def put_silent(self, generation: int, name: str, why: str) -> None:
        with self._condition:
            if generation == self._generation:
                self._silent[name] = why

    def put_done(self, decision: fence.Decision, ended: int, refused: tuple[str, ...], waits: str) -> None:
        with self._condition:
            self._trouble = ""
            if self._decision.action != fence.NOTHING and decision.action != fence.NOTHING:
                self._done = Done(self._done.ended + ended, refused or self._done.refused, waits)

    def put_trouble(self, text: str) -> None:
        with self._condition:
            self._trouble = text


def _key(decision: fence.Decision) -> tuple[str, int, int]:
    """What the threads act on; the text of a decision changes with every tick."""
    return decision.action, decision.term, decision.revision


class Fencer(Worker):
    """Ends sessions, and takes the server offline, on a connection that is open before there is any need for it."""

    def __init__(self, orders: Orders, open_session: Open, clock: Clock, spared: Spared, *, deadline: float) -> None:
        super().__init__("fencer", open_session, clock)
        self.orders = orders
        self._spared = spared
        self._deadline = deadline
        self._killed: frozenset[int] = frozenset()

    def run(self) -> None:
        while not self.orders.stopped:
            order = self.orders.wait_for_work(WARM_EVERY)
            if order is None:
                self.warm()
                continue
            started = self._clock()
            self.obey(order)
            again = FENCE_AGAIN_AFTER if order.action == fence.FENCE else END_AGAIN_AFTER
            self.orders.wait_for_change(order, started + again - self._clock())

    def warm(self) -> None:
        """Keep the connection open, and know who the peers are before they have to be asked."""
        try:
            self._read_row(self.session())
        except HaError:
            # No trouble of its own: the observer talks to the same server and reports what is wrong with it.
            self._session = None

    def obey(self, order: fence.Decision) -> None:
        """Do once what is ordered; it is ordered again for as long as there is reason to."""
        try:
            session = self.session()
            self._read_row(session)
            if order.action == fence.ASK_PEERS:
                self.orders.put_done(order, 0, (), "")
                return
            seen = read_seen(session, self._clock(), within=self._deadline)
            if not fence.still_holds(order, seen) or not self.orders.stands(order):
                return
            if order.action == fence.END_SESSIONS:
                ended, refused = self._end_sessions(session, order)
                self.orders.put_done(order, ended, refused, "")
            elif order.action == fence.FENCE:
                waits = self._fence(session, seen.offline, seen.super_read_only)
                self.orders.put_done(order, 0, (), waits)
        except HaError as error:
            self.orders.put_trouble(f"self-fencing: {error.message}")

    def _read_row(self, session: Session) -> None:
        """Note who is registered.

        :raises HaError: ``term_row_not_understood``; and those of ``Session.query``.
        """
        own = session.one("SELECT LOWER(@@GLOBAL.server_uuid) AS server_uuid", within=self._deadline)
        try:
            row = session.one(schema.SELECT_TERM, within=self._deadline)
        except StatementFailed as error:
            if error.errno not in NO_SUCH_THING:
                raise
            row = {}
        try:
            term = schema.term_from_row(row) if row else None
        except (KeyError, TypeError, ValueError) as error:
            raise HaError(
                "term_row_not_understood",
                f"the newest term row (revision {row['revision']}) is not one of ours: {type(error).__name__}",
                evidence={"revision": row["revision"]},
                next_step="Somebody wrote it by hand: run site, which writes the next one.",
            ) from error
        self.orders.put_row(
            str(own["server_uuid"]),
            term.revision if term else 0,
            tuple(dataclasses.replace(m, server_uuid=m.server_uuid.lower()) for m in term.members) if term else (),
        )

    def _end_sessions(self, session: Session, order: fence.Decision) -> tuple[int, tuple[str, ...]]:
        """End those of applications. Returns how many, and the accounts whose sessions this account may not end."""
        there = {
            client.id: client.user
            for client in sessions.clients(session, within=self._deadline)
            if not self._spared.spares(client.user)
        }
        ended, refused = 0, set()
        for number, user in there.items():
            # The lease may be back: not one session more.
            if not self.orders.stands(order):
                break
            came = sessions.end(session, number, within=self._deadline)
            if came == sessions.REFUSED:
                refused.add(user)
            if came == sessions.ENDED:
                # A commit that waits stays in the list, though its client is gone.
                ended += number not in self._killed
                self._killed |= {number}
        self._killed &= there.keys()
        return ended, tuple(sorted(refused))

    def _fence(self, session: Session, offline: bool, super_read_only: bool) -> str:
        """Offline first, for it waits for nothing. Returns why the server is not read-only too."""
        if not offline:
            session.execute("SET GLOBAL offline_mode = ON", within=self._deadline)
        if super_read_only:
            return ""
        try:
            session.execute("SET GLOBAL super_read_only = ON", within=CLOSE_WITHIN)
        except StatementFailed as error:
            if error.errno != _LOCK_TIMED_OUT:
                raise
            return "commits still wait for an acknowledgement, so super_read_only cannot be set: restart mysqld"
        return ""


class Peer:
    """The connection to one peer; one question at a time."""

    def __init__(self, member: Member, login: Login, clock: Clock, deadline: float) -> None:
        self.member = member
        self._login = login
        self._clock = clock
        self._deadline = deadline
        self._busy = threading.Lock()
        self._session: Optional[Session] = None

    def ask(self, orders: Orders, generation: int) -> None:
        if not self._busy.acquire(blocking=False):
            return  # the last question still waits for its time-out
        try:
            asked_at = self._clock()
            if self._session is None or not self._session.usable:
                member = self.member
                self._session = Session.connect(
                    member.name, member.host, member.port, self._login, within=self._deadline
                )
            orders.put_heard(generation, read_peer(self._session, self.member, asked_at, within=self._deadline))
        except HaError as error:
            orders.put_silent(generation, self.member.name, error.message)
        finally:
            self._busy.release()

    def close(self) -> None:
        with self._busy:
            if self._session is not None:
                self._session.close()
            self._session = None


def read_peer(session: Session, member: Member, asked_at: float, *, within: float) -> Heard:
    """What a peer says of the term and of its receiver.

    :raises HaError: ``another_server`` when that is not the registered server; and those of ``Session.query``.
    """
    row = session.one(_PEER, within=within)
    if row["server_uuid"] != member.server_uuid:
        raise HaError(
            "another_server",
            f"{member.name}: another server answers ({row['server_uuid']}) than the registered one",
            evidence={"member": member.name, "expected": member.server_uuid, "seen": row["server_uuid"]},
            next_step="Check the addresses; run site.",
        )
    receiver = str(row["receiver"] or OFF)
    return Heard(
        name=member.name,
        server_uuid=member.server_uuid,
        asked_at=asked_at,
        term=int(row["term"] or 0),
        revision=int(row["revision"] or 0),
        primary_uuid=str(row["primary_uuid"] or ""),
        proof=str(row["proof"] or ""),
        receiver=receiver if receiver in (ON, CONNECTING) else OFF,
        source_uuid=str(row["source_uuid"] or ""),
    )


class Asker(threading.Thread):
    """Asks all peers at once, not more often than once a second, and only while there is no lease."""

    def __init__(self, orders: Orders, login: Login, clock: Clock, *, deadline: float) -> None:
        super().__init__(name="asker", daemon=True)
        self.orders = orders
        self._login = login
        self._clock = clock
        self._deadline = deadline
        self._peers: dict[Member, Peer] = {}

    def run(self) -> None:
        while not self.orders.stopped:
            question = self.orders.wait_for_question(WARM_EVERY)
            if question is None:
                self._forget(())
                continue
            generation, members = question
            started = self._clock()
            self.ask(generation, members)
            self.orders.wait_for_other(question, started + ASK_EVERY - self._clock())

    def ask(self, generation: int, members: tuple[Member, ...]) -> None:
        """One question to each. Answers are noted as they come; who is late is not waited for."""
        self._forget(members)
        for member in members:
            self._peers.setdefault(member, Peer(member, self._login, self._clock, self._deadline))
        work = {peer.member.name: (lambda p=peer: p.ask(self.orders, generation)) for peer in self._peers.values()}
        in_parallel(work, within=ASK_EVERY)

    def _forget(self, members: tuple[Member, ...]) -> None:
        for member in set(self._peers) - set(members):
            self._peers.pop(member).close()
