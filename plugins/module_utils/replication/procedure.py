# SPDX-License-Identifier: BSD-2-Clause
"""Doing one step of convergence: its guard again, on the connection that acts; the effect; and a look at it.

What is decided is decided in ``plan.py``. A step whose guard fails raises; the next run looks and decides anew.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Callable, Optional

from ..clone.copy import CloneLogin, clone, close_wreck
from ..errors import HaError
from ..gtid import GtidSet
from ..server import schema
from ..server.dialect import SUPER_READ_ONLY
from ..server.session import Row, Session
from ..server.state import OFF, PENDING, ServerState
from ..topology.observe import Members, in_parallel
from . import repoint, semi_sync, steps
from .facts import DUMP_THREADS
from .situation import Situation, Wish, find_primary
from .steps import Step


@dataclasses.dataclass(frozen=True)
class Means:
    """Passwords (secrets) and deadlines, in seconds.

    ``statement``: one statement. ``connect``: a receiver to connect. ``stall``: receiving without any progress.
    ``clone``: the copy itself. ``restart``: a cloned server to come back. ``receive_within``: receiving in all.
    """

    replication_password: str = dataclasses.field(repr=False, default="")
    clone: CloneLogin = CloneLogin("lossless_clone", "")
    statement: float = 15.0
    connect: float = 10.0
    stall: float = 60.0
    clone_within: float = 86400.0
    restart: float = 300.0
    receive_within: float = 86400.0


class Procedure:
    """The doer. ``before_restart`` is told the name of a server that is about to restart.

    ``still_locked`` raises ``lock_lost``; it is asked after each wait that may have been long, before anything else is
    changed.
    """

    def __init__(
        self,
        pool: Members,
        wish: Wish,
        means: Means,
        *,
        run_id: str = "",
        before_restart: Callable[[str], None] = lambda name: None,
        still_locked: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._wish = wish
        self._means = means
        self._run_id = run_id
        self._before_restart = before_restart
        self._still_locked = still_locked

    def do(self, step: Step, situation: Situation) -> None:
        """Do one step. ``situation`` is what it was decided on.

        :raises HaError: its guard failed, or it did not have its effect.
        """
        session = self._pool.session(step.name)
        state = situation.observation.states[step.name]
        self._same_server(session, step.server_uuid)
        doer: Callable[[Any, Session, ServerState, Situation], None] = getattr(self, f"_do_{type(step).__name__}")
        doer(step, session, state, situation)

    # --- guards ------------------------------------------------------------------------------------------------------
    def _same_server(self, session: Session, server_uuid: str) -> Row:
        seen = session.one(
            "SELECT @@GLOBAL.server_uuid AS server_uuid, @@GLOBAL.read_only AS read_only,"
            f" {SUPER_READ_ONLY} AS super_read_only",
            within=self._means.statement,
        )
        if str(seen["server_uuid"]).lower() != server_uuid:
            raise HaError(
                "another_server",
                f"{session.name}: another server answers than the one that was observed",
                evidence={"member": session.name, "expected": server_uuid, "seen": seen["server_uuid"]},
                next_step="Run again.",
            )
        return seen

    def _guard(self, holds: bool, session: Session, what: str, **evidence: Any) -> None:
        if not holds:
            raise HaError(
                "situation_changed",
                f"{session.name}: {what}, other than when it was looked at; nothing was done",
                evidence=dict(evidence, member=session.name),
                next_step="Run again: it is decided anew.",
            )

    def _primary_still(self, session: Session, state: ServerState) -> None:
        """As writable as observed, and the term row in force as observed."""
        seen = self._same_server(session, state.server_uuid)
        flags = (bool(int(seen["read_only"])), bool(int(seen["super_read_only"])))
        self._guard(flags == (state.read_only, state.super_read_only), session, "read_only changed", flags=list(flags))
        revision = self._revision(session)
        expected = state.term.revision if state.term else 0
        self._guard(revision == expected, session, "the term row changed", seen=revision, expected=expected)

    def _revision(self, session: Session) -> int:
        if not self._own_schema(session):
            return 0
        row = session.one(schema.SELECT_TERM, within=self._means.statement)
        return int(row["revision"]) if row else 0

    def _own_schema(self, session: Session) -> bool:
        row = session.one(
            "SELECT COUNT(*) AS tables FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = 'term'",
            (schema.SCHEMA,),
            within=self._means.statement,
        )
        return bool(row["tables"])

    # --- the primary -------------------------------------------------------------------------------------------------
    def _do_OpenForAdministration(
        self, step: steps.OpenForAdministration, session: Session, state: ServerState, situation: Situation
    ) -> None:
        self._primary_still(session, state)
        threads = repoint.read_threads(session, within=self._means.statement)
        self._guard(threads.receiver == OFF, session, "it follows a source")
        session.execute("SET GLOBAL read_only = ON", within=self._means.statement)
        session.execute("SET GLOBAL super_read_only = OFF", within=self._means.statement)

    def _do_CreateSchema(
        self, step: steps.CreateSchema, session: Session, state: ServerState, situation: Situation
    ) -> None:
        self._primary_still(session, state)
        schema.create(session, within=self._means.statement)

    def _do_Arm(self, step: steps.Arm, session: Session, state: ServerState, situation: Situation) -> None:
        self._primary_still(session, state)
        semi_sync.arm(session, step.k, active_within=self._means.connect, within=self._means.statement)

    def _do_LockOut(self, step: steps.LockOut, session: Session, state: ServerState, situation: Situation) -> None:
        self._primary_still(session, state)
        for account in step.accounts:
            self._lock(session, account, "LOCK")
        prefix = self._wish.user_prefix

        def dumps() -> list[Row]:
            rows = session.query(DUMP_THREADS, (prefix, prefix), within=self._means.statement)
            return [row for row in rows if row["user"] in step.accounts]

        for row in dumps():
            session.execute(f"KILL {int(row['id'])}", within=self._means.statement)
        self._until(session, lambda: not dumps(), "dump_thread_left", "a dump thread that was ended is still there")

    def _do_Readmit(self, step: steps.Readmit, session: Session, state: ServerState, situation: Situation) -> None:
        self._primary_still(session, state)
        self._lock(session, step.account, "UNLOCK")

    def _lock(self, session: Session, account: str, how: str) -> None:
        rows = session.query(
            "SELECT Host AS host FROM mysql.user WHERE User = %s", (account,), within=self._means.statement
        )
        for row in rows:
            # IF EXISTS: it replicates, and a replica without that account must not stop over it.
            session.execute(
                f"ALTER USER IF EXISTS %s@%s ACCOUNT {how}", (account, row["host"]), within=self._means.statement
            )

    def _do_WriteTerm(self, step: steps.WriteTerm, session: Session, state: ServerState, situation: Situation) -> None:
        self._primary_still(session, state)
        counted = self._no_tx(session)
        executed = self._executed(session)
        self.wait_received(step.holders, executed)
        self._still_locked()
        again = self._no_tx(session)
        self._guard(counted == again, session, "commits went unacknowledged meanwhile", before=counted, after=again)
        row = dataclasses.replace(step.row, no_tx_base=again, run_id=self._run_id)
        self._guard(self._revision(session) == row.revision - 1, session, "the term row changed")
        schema.write_term(session, row, within=self._means.statement)
        self._guard(self._revision(session) == row.revision, session, "another term row is in force")

    def _do_AllowWrites(
        self, step: steps.AllowWrites, session: Session, state: ServerState, situation: Situation
    ) -> None:
        self._primary_still(session, state)
        term = situation.term
        row = session.one(schema.SELECT_TERM, within=self._means.statement)
        in_force = bool(term and row and int(row["revision"]) == term.revision)
        self._guard(in_force and row["primary_uuid"] == step.server_uuid, session, "the term names another primary")
        armed = semi_sync.armed_for(session, within=self._means.statement) >= max(int(row["k"]), 1)
        self._guard(armed, session, "it does not wait for its acknowledgements")
        session.execute("SET GLOBAL super_read_only = OFF", within=self._means.statement)
        session.execute("SET GLOBAL read_only = OFF", within=self._means.statement)

    # --- replicas ----------------------------------------------------------------------------------------------------
    def _do_Disarm(self, step: steps.Disarm, session: Session, state: ServerState, situation: Situation) -> None:
        seen = self._same_server(session, step.server_uuid)
        self._guard(bool(int(seen["super_read_only"])), session, "it takes writes")
        semi_sync.disarm(session, applier_may_wait=True, within=self._means.statement)

    def _do_StopAcknowledging(
        self, step: steps.StopAcknowledging, session: Session, state: ServerState, situation: Situation
    ) -> None:
        semi_sync.set_acknowledge(session, False, within=self._means.statement)
        threads = repoint.read_threads(session, within=self._means.statement)
        if not threads.configured or threads.receiver == OFF:
            return
        repoint.stop_receiver(session, within=self._means.connect)
        if step.restart:
            repoint.start(session, within=self._means.statement)

    def _do_Clone(self, step: steps.Clone, session: Session, state: ServerState, situation: Situation) -> None:
        donor = self._pool.session(step.donor)
        self._same_server(donor, step.donor_uuid)
        if step.wipes == "":
            if situation.facts_of(step.name).wrecked:
                close_wreck(session, within=self._means.statement)
            else:
                executed = self._executed(session)
                self._guard(not executed, session, "it is not empty", executed=str(executed))
        self._before_restart(step.name)
        clone(
            session,
            step.server_uuid,
            donor,
            (step.donor_host, step.donor_port),
            self._means.clone,
            reconnect=lambda: self._pool.session(step.name),
            statement_within=self._means.statement,
            clone_within=self._means.clone_within,
            restart_within=self._means.restart,
            progress=self._still_locked,
        )
        term = situation.term
        primary = situation.observation.by_uuid(term.primary_uuid) if term else None
        if primary is not None and step.server_uuid in situation.facts_of(primary.name).returns:
            there = self._pool.session(primary.name)
            schema.was_cloned(there, step.server_uuid, step.donor, within=self._means.statement)

    def _do_Repoint(self, step: steps.Repoint, session: Session, state: ServerState, situation: Situation) -> None:
        repoint.repoint(
            session,
            state,
            situation.observation.member(step.primary),
            step.user,
            self._means.replication_password,
            ca=self._wish.ca,
            connect_retry=self._wish.connect_retry,
            heartbeat_period=self._wish.heartbeat_period,
            acknowledge=step.acknowledge,
            still_locked=self._still_locked,
            within=self._means.stall,
        )
        self._connected(session, situation)

    def _do_GoOnline(self, step: steps.GoOnline, session: Session, state: ServerState, situation: Situation) -> None:
        seen = self._same_server(session, step.server_uuid)
        if step.name == step.primary:
            self._primary_still(session, state)
            self._guard(bool(int(seen["read_only"])), session, "it takes writes")
        else:
            repoint.guard(session, step.server_uuid, within=self._means.statement)
            threads = repoint.read_threads(session, within=self._means.statement)
            follows = (
                threads.connected and threads.source_uuid == situation.observation.states[step.primary].server_uuid
            )
            self._guard(follows, session, f"it does not follow {step.primary}")
        session.execute("SET GLOBAL offline_mode = OFF", within=self._means.statement)

    def _do_StartThreads(
        self, step: steps.StartThreads, session: Session, state: ServerState, situation: Situation
    ) -> None:
        repoint.guard(session, step.server_uuid, within=self._means.statement)
        repoint.start_applier(session, within=self._means.statement)
        repoint.start(session, within=self._means.statement)
        self._connected(session, situation)

    def _do_StopThreads(
        self, step: steps.StopThreads, session: Session, state: ServerState, situation: Situation
    ) -> None:
        repoint.guard(session, step.server_uuid, within=self._means.statement)
        if step.clients:
            primary = self._pool.session(step.primary)
            self._primary_still(primary, situation.observation.states[step.primary])
            attached = int(self._status(primary, "rpl_semi_sync_source_clients"))
            self._guard(attached >= step.clients, session, "too few others acknowledge", attached=attached)
        # The applier first, as STOP REPLICA does it: without a receiver it may wait for the rest of a transaction.
        repoint.stop_applier(session, within=self._means.connect)
        repoint.stop_receiver(session, within=self._means.connect)

    def _do_WaitConnected(
        self, step: steps.WaitConnected, session: Session, state: ServerState, situation: Situation
    ) -> None:
        self._connected(session, situation)

    def _do_WaitReceived(
        self, step: steps.WaitReceived, session: Session, state: ServerState, situation: Situation
    ) -> None:
        self.wait_received((step.name,), step.gtids, applied=step.applied)

    def _do_WaitVerified(
        self, step: steps.WaitVerified, session: Session, state: ServerState, situation: Situation
    ) -> None:
        there = self._pool.session(step.primary)
        self._until(
            session,
            lambda: schema.read_returns(there, within=self._means.statement).get(step.server_uuid) != PENDING,
            "not_verified",
            "it was rewound, and nobody has compared it with the primary yet (lossless-mysql-ha-rejoin)",
        )

    def _do_Acknowledge(
        self, step: steps.Acknowledge, session: Session, state: ServerState, situation: Situation
    ) -> None:
        term = situation.term
        if term is not None:
            registered = {m.server_uuid for m in term.acknowledgers}
            self._guard(step.server_uuid in registered, session, "it is not registered")
        repoint.guard(session, step.server_uuid, within=self._means.statement)
        semi_sync.set_acknowledge(session, True, within=self._means.statement)
        repoint.stop_receiver(session, within=self._means.connect)
        repoint.start(session, within=self._means.statement)
        self._connected(session, situation)
        self._until(
            session,
            lambda: self._status(session, "rpl_semi_sync_replica_status") == "ON",
            "does_not_acknowledge",
            "the receiver runs and does not acknowledge",
        )

    def _connected(self, session: Session, situation: Situation) -> None:
        primary = find_primary(situation, self._wish)
        repoint.wait_connected(session, primary.server_uuid if primary else "", within=self._means.connect)

    # --- waiting -----------------------------------------------------------------------------------------------------
    def wait_received(self, names: tuple[str, ...], gtids: GtidSet, *, applied: bool = False) -> None:
        """Wait until each of these servers holds the set, or has applied it; as long as it makes progress.

        :raises HaError: ``not_received``, ``not_applied``.
        """

        def late(name: str, what: str, next_step: str, **evidence: Any) -> HaError:
            return HaError(
                "not_applied" if applied else "not_received",
                f"{name} has not {'applied' if applied else 'received'} {what}",
                evidence=dict(evidence, member=name),
                next_step=next_step,
            )

        def wait(session: Session) -> bool:
            best: Optional[int] = None
            ends = time.monotonic() + self._means.stall
            while True:
                threads = repoint.read_threads(session, within=self._means.statement)
                lacking = gtids - (threads.executed if applied else threads.retrieved | threads.executed)
                if not lacking:
                    return True
                if best is None or len(lacking) < best:
                    best, ends = len(lacking), time.monotonic() + self._means.stall
                if time.monotonic() > ends:
                    raise late(
                        session.name,
                        f"{lacking}, and makes no progress",
                        f"See why its {'applier' if applied else 'receiver'} does not go on; then run again.",
                        lacks=str(lacking),
                        receiver=threads.receiver,
                        applier=threads.applier,
                        error=threads.receiver_message or threads.applier_message,
                    )
                time.sleep(repoint.POLL_EVERY)

        work = {name: (lambda n=name: wait(self._pool.session(n))) for name in names}
        for name, outcome in in_parallel(work, within=self._means.receive_within).items():
            if isinstance(outcome, HaError):
                raise outcome
            if outcome is None:
                whole = f"everything within {self._means.receive_within:g} s, and goes on"
                raise late(name, whole, "Run again a little later.")

    def _until(self, session: Session, holds: Callable[[], bool], code: str, what: str) -> None:
        ends = time.monotonic() + self._means.connect
        while not holds():
            if time.monotonic() > ends:
                raise HaError(
                    code,
                    f"{session.name}: {what}",
                    evidence={"member": session.name},
                    next_step="Look at that server, then run again.",
                )
            time.sleep(repoint.POLL_EVERY)

    # --- reading and setting -----------------------------------------------------------------------------------------
    def _status(self, session: Session, name: str) -> str:
        return semi_sync.status(session, name, within=self._means.statement)

    def _no_tx(self, session: Session) -> int:
        return int(self._status(session, "rpl_semi_sync_source_no_tx"))

    def _executed(self, session: Session) -> GtidSet:
        row = session.one("SELECT @@GLOBAL.gtid_executed AS gtids", within=self._means.statement)
        return GtidSet.parse(str(row["gtids"]))
