# SPDX-License-Identifier: BSD-2-Clause
"""What a failover does to the servers: one effect each, every one with a deadline, all on the connections that hold
the locks.

``procedure.py`` knows only these verbs; the unit tests put a simulated cluster behind the same verbs and interrupt
the procedure between any two of them. Nothing here decides.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from typing import Any, Callable, Optional, Sequence

from ..errors import HaError, defect
from ..gtid import GtidSet
from ..replication import repoint
from ..server import schema
from ..server.accounts import replication_user
from ..server.session import Session, StatementFailed, identifier
from ..server.settings import MAXIMUM_TIMEOUT_MS
from ..server.state import Member, Observation, ServerState, TermRow
from ..topology.locks import lock_name
from ..topology.observe import Members, in_parallel

FREEZE_SECONDS = 8.0
"""STOP REPLICA waits for an attempt to connect that is under way; that ends after replica_net_timeout at the latest
(``server/settings.py`` allows 8). A receiver whose source is gone without a trace is mostly in such an attempt."""

CONNECT_SECONDS = 5.0
"""For a receiver to connect: a first attempt may fail, and the next one comes a second later (connect_retry)."""

LOCK_SECONDS = 15
"""Session wait_timeout of the connections that hold the locks: a dead holder's lock is free after that."""

SILENT_SECONDS = 0.25
"""For the answer of a server that a watcher has seen give none: it is asked once more, and not waited for."""

_TIMED_OUT_LOCK = 1205
_INTERRUPTED = 1317


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
        self._silent = silent
        self._lock_name = lock_name(cluster)
        self._locked: list[str] = []

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
        """Let time pass, for a window in which silence is evidence. The locks stay alive."""
        ends = time.monotonic() + seconds
        while True:
            left = ends - time.monotonic()
            if left <= 0:
                return
            self.keep_locks()
            time.sleep(min(left, LOCK_SECONDS / 4))

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
        """Take the cluster's advisory lock on these members.

        :param wait: seconds to wait for it, whole.
        :raises HaError: ``locked`` with who holds it, when fewer than ``required`` could be taken; those taken are
            released.
        """

        def take(session: Session) -> tuple[bool, str]:
            row = session.one("SELECT GET_LOCK(%s, %s) AS got", (self._lock_name, int(wait)), within=wait + 2)
            return int(row.get("got") or 0) == 1, "" if row.get("got") else self._holder(session)

        outcome = self._members.on_each(names, take, within=wait + 2)
        holders: dict[str, str] = {}
        for name, result in outcome.items():
            if isinstance(result, tuple):
                if result[0]:
                    self._locked.append(name)
                else:
                    holders[name] = result[1]
        if len(self._locked) >= required:
            return list(self._locked)
        self.release_locks()
        raise HaError(
            "locked",
            f"another run is at work on this cluster: {'; '.join(f'{n}: {h}' for n, h in sorted(holders.items()))}"
            if holders
            else "too few members could be locked",
            evidence={"lock": self._lock_name, "required": required, "holders": holders},
            next_step="Wait for the other run to end (its lock falls some seconds after it dies), then run again.",
        )

    def _holder(self, session: Session) -> str:
        row = session.one(
            "SELECT p.ID AS thread, p.USER AS user, p.HOST AS host, a.ATTR_VALUE AS program"
            " FROM performance_schema.processlist p LEFT JOIN performance_schema.session_account_connect_attrs a"
            " ON a.PROCESSLIST_ID = p.ID AND a.ATTR_NAME = 'program_name'"
            " WHERE p.ID = IS_USED_LOCK(%s)",
            (self._lock_name,),
            within=self._deadline,
        )
        if not row:
            return "released meanwhile"
        return f"{row['program'] or 'unknown program'} as {row['user']} from {row['host']} (thread {row['thread']})"

    def keep_locks(self) -> None:
        """Prove that every lock is still held; the connection is its holder.

        :raises HaError: ``lock_lost``.
        """

        def mine(session: Session) -> bool:
            row = session.one(
                "SELECT IS_USED_LOCK(%s) = CONNECTION_ID() AS mine", (self._lock_name,), within=self._deadline
            )
            return bool(row.get("mine"))

        work = {n: (lambda n=n: mine(self._members.session(n, reconnect=False))) for n in self._locked}
        lost = [name for name, kept in in_parallel(work, within=self._deadline).items() if kept is not True]
        if lost:
            raise HaError(
                "lock_lost",
                f"the lock on {', '.join(lost)} is gone",
                evidence={"members": lost},
                next_step="Run again: what was begun is in the journal and will be taken up.",
            )

    def release_locks(self) -> None:
        """Let the locks go. A connection that is gone has let go already."""
        self._members.on_each(
            self._locked,
            lambda s: s.execute("DO RELEASE_LOCK(%s)", (self._lock_name,), within=self._deadline),
            within=self._deadline,
        )
        self._locked.clear()

    def _session(self, name: str) -> Session:
        """A member's connection; the one that holds its lock, if it holds one."""
        return self._members.session(name, reconnect=name not in self._locked)

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
        row = session.one(
            "SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s) AS late", (str(gtids), wait), within=wait + self._deadline
        )
        if int(row.get("late") or 0) == 0:
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
        repoint.set_acknowledge(session, False, within=within)

    def arm(self, name: str, k: int) -> None:
        """The source side of semi-sync, complete, before any write is possible.

        What it came to is said by the heartbeat that is committed with the term row.
        """
        session = self._session(name)
        names = session.dialect
        if names is None:
            raise AssertionError("a session that is open knows its dialect")
        values = (
            ("rpl_semi_sync_source_wait_for_replica_count", k),
            ("rpl_semi_sync_source_timeout", MAXIMUM_TIMEOUT_MS),
            ("rpl_semi_sync_source_wait_no_replica", 1),
            ("rpl_semi_sync_source_wait_point", "AFTER_SYNC"),
            ("rpl_semi_sync_source_enabled", 1),
        )
        assignments = ", ".join(f"GLOBAL {names.semi_sync_variable(variable)} = %s" for variable, _value in values)
        session.execute(f"SET {assignments}", tuple(value for _variable, value in values), within=self._deadline)

    def disarm(self, name: str) -> None:
        """Turn the source side off, on a server that is read-only and where no commit waits.

        Turning it off releases waiting commits to their clients as if they had been acknowledged: never while one
        waits.

        :raises HaError: ``commits_wait``.
        """
        session = self._session(name)
        names = session.dialect
        if names is None:
            raise AssertionError("a session that is open knows its dialect")
        row = session.one(
            "SELECT @@GLOBAL.super_read_only AS read_only, VARIABLE_VALUE AS waiting FROM"
            " performance_schema.global_status WHERE VARIABLE_NAME = %s",
            (names.semi_sync_variable("rpl_semi_sync_source_wait_sessions").replace("rpl", "Rpl", 1),),
            within=self._deadline,
        )
        if not int(row["read_only"]) or int(row["waiting"]):
            raise HaError(
                "commits_wait",
                f"{name}: {row['waiting']} commits wait for their acknowledgement; semi-sync stays on",
                evidence={"member": name, **row},
                next_step="Let its acknowledgers return, or end its application sessions first.",
            )
        variable = names.semi_sync_variable("rpl_semi_sync_source_enabled")
        session.execute(f"SET GLOBAL {variable} = OFF", within=self._deadline)

    def open_writes(self, name: str) -> None:
        session = self._session(name)
        session.execute("SET GLOBAL super_read_only = OFF", within=self._deadline)
        session.execute("SET GLOBAL read_only = OFF", within=self._deadline)

    def close_writes(self, name: str, budget: float) -> None:
        """Take no more writes, within the budget or not at all.

        The statement waits for every running commit and metadata lock. ``lock_wait_timeout`` counts whole seconds, so
        a shorter budget is kept by killing the statement from another connection.

        :raises HaError: ``writes_not_blocked``; both flags are off again.
        """
        session = self._session(name)
        session.execute("SET SESSION lock_wait_timeout = %s", (max(int(budget + 0.999), 1),), within=self._deadline)
        member = self._members.member(name)
        thread = session.thread_id
        done = threading.Event()

        def interrupt() -> None:
            if done.wait(budget):
                return
            killer = Session.connect(name, member.host, member.port, self._members.login, within=self._deadline)
            try:
                killer.execute(f"KILL QUERY {int(thread)}", within=self._deadline)
            finally:
                killer.close()

        watch = threading.Thread(target=interrupt, name="block-budget", daemon=True)
        watch.start()
        try:
            session.execute("SET GLOBAL super_read_only = ON", within=budget + self._deadline)
        except StatementFailed as error:
            done.set()
            if error.errno not in (_TIMED_OUT_LOCK, _INTERRUPTED):
                raise
            self.open_writes(name)
            raise HaError(
                "writes_not_blocked",
                f"{name}: writes could not be blocked within {budget:g} s; nothing was changed",
                evidence={"member": name, "budget_s": budget, "errno": error.errno},
                next_step="Look for a commit that waits, a long transaction or a metadata lock (SHOW PROCESSLIST).",
            ) from error
        finally:
            done.set()

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
