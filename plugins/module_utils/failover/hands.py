# SPDX-License-Identifier: BSD-2-Clause
"""What a failover does to the servers: one effect each, every one with a deadline; on a member that is locked, on the
connection that holds its lock.

``procedure.py`` knows only these verbs; the unit tests put a simulated cluster behind the same verbs and interrupt
the procedure between any two of them. Nothing here decides.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any, Callable, Optional, Sequence

from ..errors import HaError, defect, together
from ..gtid import GtidSet
from ..replication import repoint, semi_sync
from ..server import budget as budgets
from ..server import schema, sessions
from ..server.accounts import replication_user
from ..server.executed import wait_executed
from ..server.session import Session, StatementFailed, identifier
from ..server.state import Member, Observation, ServerState, TermRow
from ..topology.locks import KEEP_EVERY, Locks
from ..topology.observe import Members, in_parallel

FREEZE_SECONDS = 8.0
"""STOP REPLICA waits for an attempt to connect that is under way; that ends after replica_net_timeout at the latest
(``server/settings.py`` allows 8). A receiver whose source is gone without a trace is mostly in such an attempt."""

CONNECT_SECONDS = 5.0
"""For a receiver to connect: a first attempt may fail, and the next one comes a second later (connect_retry)."""

SILENT_SECONDS = 0.1
"""For the answer of a server that a watcher has seen give none for seconds: it is asked once more, and not waited for.
A look at the lab's members, connecting included, took 15 to 50 ms on a quiet machine (``observe`` in benchmarks)."""

_TIMED_OUT_LOCK = 1205


@dataclasses.dataclass(frozen=True)
class ReplicationLogin:
    """How replicas log in at their source. ``password`` is a secret. ``ca``: a path on the replicas."""

    user_prefix: str
    password: str = dataclasses.field(repr=False)
    ca: str = repoint.DEFAULT_CA
    connect_retry: int = 1
    heartbeat_period: float = 0.5


class Hands:
    """The effects on one cluster. ``deadline``: seconds for one effect on one server. ``silent``: a member that is not
    expected to answer."""

    def __init__(
        self, members: Members, cluster: str, login: ReplicationLogin, *, deadline: float, silent: str = ""
    ) -> None:
        self._members = members
        self._login = login
        self._deadline = deadline
        self._locks = Locks(members, cluster, within=deadline)
        self._silent = silent

    # --- seeing ------------------------------------------------------------------------------------------------------
    def clock(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def observe(self, names: Optional[Sequence[str]] = None) -> Observation:
        asked = [m.name for m in self._members.members] if names is None else list(names)
        if self._silent not in asked:
            return self._members.observe(asked, within=self._deadline)
        others = [name for name in asked if name != self._silent]
        work = {
            "others": functools.partial(self._members.observe, others, within=self._deadline),
            "silent": functools.partial(self._members.observe, [self._silent], within=SILENT_SECONDS),
        }
        seen = in_parallel(work, within=self._deadline * 1.5)
        parts = [part for part in seen.values() if isinstance(part, Observation)]
        for part in seen.values():
            if isinstance(part, HaError):
                raise part
        if len(parts) != len(work):
            raise defect("an observation that did not end at its own deadline")
        answers = {**parts[0].answers, **parts[1].answers}
        return dataclasses.replace(
            parts[0], members=tuple(m for m in self._members.members if m.name in answers), answers=answers
        )

    def wait(self, seconds: float) -> None:
        """Let time pass, for a window in which silence is evidence; as long as the locks are held.

        :raises HaError: ``lock_lost``.
        """
        ends = time.monotonic() + seconds
        while True:
            left = ends - time.monotonic()
            if left <= 0:
                return
            self.keep_locks()
            time.sleep(min(left, KEEP_EVERY))

    def blockers(self, name: str, older_than: float) -> list[dict[str, Any]]:
        """Transactions of applications that have been open for longer than that many seconds."""
        rows = self._session(name).query(
            "SELECT t.trx_mysql_thread_id AS thread, p.USER AS user, p.HOST AS host,"
            " TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) AS seconds, t.trx_rows_modified AS rows_modified"
            " FROM information_schema.innodb_trx t JOIN performance_schema.processlist p"
            " ON p.ID = t.trx_mysql_thread_id"
            " WHERE t.trx_started < NOW() - INTERVAL %s SECOND AND p.USER NOT IN ('system user', 'event_scheduler')"
            " ORDER BY t.trx_started LIMIT 20",
            (max(int(older_than), 1),),
            within=self._deadline,
        )
        return [dict(row) for row in rows]

    # --- locks -------------------------------------------------------------------------------------------------------
    def lock(self, names: Sequence[str], required: int, wait: float) -> list[str]:
        """Take the cluster's advisory lock on these members. From here on, all that is done to one of them is done on
        the connection that holds its lock.

        :param wait: seconds to wait for it, whole.
        :raises HaError: ``locked`` with who holds it, when fewer than ``required`` could be taken; those taken are
            released.
        """
        return self._locks.take(names, required, wait=int(wait))

    def keep_locks(self) -> None:
        """Prove that every lock is still held.

        :raises HaError: ``lock_lost``.
        """
        self._locks.check()

    def release_locks(self) -> None:
        """Let the locks go. A connection that is gone has let go already."""
        self._locks.release()

    def _session(self, name: str) -> Session:
        """A member's connection; the one that holds its lock, if it is locked, and no other.

        :raises StatementFailed: ``lock_lost`` when that one is gone.
        """
        return self._members.session(name)

    def _another(self, name: str) -> Session:
        """A further connection to a member, for what has to be done beside a statement that waits."""
        member = self._members.member(name)
        return Session.connect(name, member.host, member.port, self._members.login, within=self._deadline)

    def _each(
        self, names: Sequence[str], work: Callable[[Session], Any], within: Optional[float] = None
    ) -> dict[str, Optional[HaError]]:
        """Run on each in parallel. None for a success, the error otherwise."""
        within = within or self._deadline

        def run(name: str) -> Any:
            return work(self._session(name))

        outcome = in_parallel({n: functools.partial(run, n) for n in names}, within=within * 1.5)
        result: dict[str, Optional[HaError]] = {}
        for name in names:
            value = outcome[name]
            if value is None:
                value = HaError("deadline_exceeded", f"{name}: not done in time", evidence={"member": name})
            result[name] = value if isinstance(value, HaError) else None
        return result

    # --- freezing ----------------------------------------------------------------------------------------------------
    def stop_receivers(self, names: Sequence[str]) -> dict[str, Optional[HaError]]:
        """Freeze, in parallel: receiver off, also when it is only connecting; applier on."""

        def freeze(session: Session) -> bool:
            repoint.stop_receiver(session, within=FREEZE_SECONDS)
            return True

        return self._each(names, freeze, FREEZE_SECONDS)

    def start_receivers(self, names: Sequence[str]) -> dict[str, Optional[HaError]]:
        """Undo a freeze."""

        def thaw(session: Session) -> bool:
            repoint.start(session, within=self._deadline)
            return True

        return self._each(names, thaw)

    def start_appliers(self, names: Sequence[str]) -> dict[str, Optional[HaError]]:
        def apply(session: Session) -> bool:
            repoint.start_applier(session, within=self._deadline)
            return True

        return self._each(names, apply)

    # --- applying ----------------------------------------------------------------------------------------------------
    def applied(self, name: str, gtids: GtidSet, wait: float) -> tuple[bool, GtidSet, str]:
        """Wait up to that many seconds until the server has executed the set.

        :returns: whether it has, what it has executed, and the applier's error if it stopped.
        """
        session = self._session(name)
        if wait_executed(session, str(gtids), patience=wait, statement=self._deadline):
            return True, gtids, ""
        threads = repoint.read_threads(session, within=self._deadline)
        return gtids <= threads.executed, threads.executed, threads.applier_message if threads.applier_error else ""

    # --- following ---------------------------------------------------------------------------------------------------
    def follow(
        self, states: Sequence[ServerState], target: Member, *, acknowledge: bool
    ) -> dict[str, Optional[HaError]]:
        """Make these servers follow the target, in parallel, without losing a relay log."""

        def one(state: ServerState) -> Callable[[Session], bool]:
            def work(session: Session) -> bool:
                repoint.repoint(
                    session,
                    state,
                    target,
                    replication_user(self._login.user_prefix, state.server_id),
                    self._login.password,
                    ca=self._login.ca,
                    connect_retry=self._login.connect_retry,
                    heartbeat_period=self._login.heartbeat_period,
                    acknowledge=acknowledge,
                    within=self._deadline,
                )
                return True

            return work

        work = {s.name: (lambda s=s: one(s)(self._session(s.name))) for s in states}
        outcome = in_parallel(work, within=self._deadline * 1.5)
        late = HaError("deadline_exceeded", "not done in time")
        return {n: (v if isinstance(v, HaError) else None if v else late) for n, v in outcome.items()}

    def connected(self, names: Sequence[str], enough: Optional[int] = None) -> dict[str, Optional[HaError]]:
        """Wait until the receivers of these servers are connected to whom they follow.

        :param enough: of how many; all of them by default. Who is late or ill does not hold up the others.
        :returns: None for who is connected, what is in the way for the others.
        """
        deadline = repoint.Deadline(CONNECT_SECONDS)

        def look(session: Session) -> bool:
            repoint.require_connected(session, within=self._deadline)
            return True

        while True:
            outcome = self._each(names, look)
            count = len([error for error in outcome.values() if error is None])
            if count >= (len(names) if enough is None else enough) or deadline.over:
                return outcome
            time.sleep(repoint.POLL_EVERY)

    # --- promoting ---------------------------------------------------------------------------------------------------
    def leave_source(self, state: ServerState) -> None:
        """Stop following for good. Refuses while anything received is not executed: it would be thrown away."""
        session = self._session(state.name)
        within = self._deadline
        threads = repoint.stop_receiver(session, within=within)
        if threads.unapplied:
            raise HaError(
                "not_applied",
                f"{state.name} still has to execute {threads.unapplied}",
                evidence={"member": state.name, "unapplied": str(threads.unapplied)},
                next_step="Run again.",
            )
        if threads.configured:
            session.execute("STOP REPLICA FOR CHANNEL ''", within=within)
            session.execute("RESET REPLICA ALL FOR CHANNEL ''", within=within)
        semi_sync.set_acknowledge(session, False, within=within)

    def arm(self, name: str, k: int) -> None:
        """The source side of semi-sync, complete, before any write is possible. It is not looked at: see there."""
        semi_sync.arm(self._session(name), k, active_within=None, within=self._deadline)

    def disarm(self, name: str) -> None:
        """Turn the source side off, on a server that is read-only and where no commit waits.

        :raises HaError: ``commits_wait``.
        """
        semi_sync.disarm(self._session(name), within=self._deadline)

    def fence(self, name: str) -> list[str]:
        """Take an old primary that answers offline, and end the sessions of those who are let in all the same.

        Commits that wait there go on waiting, with nobody left who could be told: semi-sync stays on, and
        ``super_read_only`` is not asked for, since it waits for them. So they are not committed in the engine, and can
        still be rolled back.

        :returns: the accounts whose sessions this one may not end.
        :raises HaError: it could not be taken offline, or not asked who is there.
        """
        session = self._another(name)
        try:
            session.execute("SET GLOBAL offline_mode = ON", within=self._deadline)
            others = [
                client
                for client in sessions.clients(session, within=self._deadline)
                if not client.killed and client.user != self._members.login.user
            ]
            came = {client: sessions.end(session, client.id, within=self._deadline) for client in others}
            return sorted({client.user for client, what in came.items() if what == sessions.REFUSED})
        finally:
            session.close()

    def open_writes(self, name: str) -> None:
        """Take writes. Each flag is tried, whatever became of the other.

        Applications are let in last, and not where commits wait for nobody: who undoes a switchover may be late, and
        another run may have deposed and disarmed that server meanwhile. Disarming asks for super_read_only, so it can
        not begin between that look and the flag.

        :raises HaError: what failed, together; ``situation_changed`` when it is not armed.
        """
        failed: list[HaError] = []
        for flag, armed in (("super_read_only", False), ("read_only", True)):
            try:
                session = self._session(name)
                if armed:
                    self._require_armed(session)
                session.execute(f"SET GLOBAL {flag} = OFF", within=self._deadline)
            except HaError as error:
                failed.append(error)
        if failed:
            raise together(failed)

    def _require_armed(self, session: Session) -> None:
        if semi_sync.armed_for(session, within=self._deadline):
            return
        session.execute("SET GLOBAL super_read_only = ON", within=self._deadline)
        raise HaError(
            "situation_changed",
            f"{session.name} does not wait for acknowledgements, so it takes no writes",
            evidence={"member": session.name},
            next_step="Run again: it is decided anew.",
        )

    def close_writes(self, name: str, budget: float) -> None:
        """Take no more writes, within the budget or not at all.

        The statement waits for every running commit and metadata lock. ``lock_wait_timeout`` counts whole seconds, so
        a shorter budget is kept by killing the statement from another connection.

        :raises HaError: ``writes_not_blocked``; it was tried to switch both flags off again.
        """
        session = self._session(name)
        session.execute("SET SESSION lock_wait_timeout = %s", (max(int(budget + 0.999), 1),), within=self._deadline)
        try:
            budgets.execute(
                session,
                "SET GLOBAL super_read_only = ON",
                budget=budget,
                within=self._deadline,
                connect=functools.partial(self._another, name),
            )
        except StatementFailed as error:
            if error.errno not in (_TIMED_OUT_LOCK, budgets.INTERRUPTED):
                raise
            raise self._not_blocked(name, budget, error) from error

    def _not_blocked(self, name: str, budget: float, error: StatementFailed) -> HaError:
        undone = "; nothing was changed"
        try:
            self.open_writes(name)
        except HaError:
            # Whoever asked for the block undoes more than this, tries it again, and says what became of it.
            undone = ""
        return HaError(
            "writes_not_blocked",
            f"{name}: writes could not be blocked within {budget:g} s{undone}",
            evidence={"member": name, "budget_s": budget, "errno": error.errno},
            next_step="Look for a commit that waits, a long transaction or a metadata lock (SHOW PROCESSLIST).",
        )

    def executed(self, name: str) -> GtidSet:
        row = self._session(name).one("SELECT @@GLOBAL.gtid_executed AS gtids", within=self._deadline)
        return GtidSet.parse(str(row["gtids"]))

    def write_term(self, name: str, row: TermRow, wait: float) -> None:
        """The first transaction of the new primary. That it returns means that k acknowledgers have it."""
        schema.write_term(self._session(name), row, within=wait)

    def testify(self, name: str, term: int) -> None:
        """Commit the primary's heartbeat row. That it returns means that k acknowledgers follow it."""
        schema.write_heartbeat(self._session(name), term, within=CONNECT_SECONDS)

    def enable_events(self, name: str) -> tuple[list[str], list[str]]:
        """Events came here disabled by replication; their home is here now. Their definers are kept.

        :returns: the events that were enabled, and a sentence for each that could not be: no reason to fail over back.
        """
        session = self._session(name)
        rows = session.query(
            "SELECT EVENT_SCHEMA AS s, EVENT_NAME AS e, DEFINER AS d FROM information_schema.EVENTS"
            " WHERE STATUS IN ('REPLICA_SIDE_DISABLED', 'SLAVESIDE_DISABLED')",
            within=self._deadline,
        )
        enabled, failures = [], []
        for row in rows:
            user, _at, host = str(row["d"]).rpartition("@")
            event = f"{row['s']}.{row['e']}"
            try:
                session.execute(
                    f"ALTER DEFINER = {identifier(user)}@{identifier(host)}"
                    f" EVENT {identifier(str(row['s']))}.{identifier(str(row['e']))} ENABLE",
                    within=self._deadline,
                )
            except StatementFailed as error:
                if error.code != "sql_error":
                    raise
                failures.append(f"event {event} stays disabled: {error.message}")
            else:
                enabled.append(event)
        return enabled, failures
