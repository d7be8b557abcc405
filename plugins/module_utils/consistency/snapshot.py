# SPDX-License-Identifier: BSD-2-Clause
"""A primary and one replica at exactly the same GTID, for as long as they are compared: nothing is in flight.

The replica's applier is stopped; then the primary's commits are held for an instant (FLUSH TABLES WITH READ LOCK), in
which a snapshot is opened and gtid_executed read; then the replica applies up to just that, and stops; then a snapshot
is opened there, too, and the applier runs again. Both snapshots hold the same transactions and no others, so what
differs, differs. The replica never ceases to receive and to acknowledge.

The lock is asked for with a short patience: a statement that runs for long on the primary would make it wait, and while
it waits nobody else can write.

A transaction keeps the definition of each table that it has read from being changed; and behind the one who waits for
that, everybody waits: an application's reads and writes, and the replica's applier. So it goes back to a savepoint
after each range: that lets go of the tables, and the snapshot stays (as mysqldump does it; seen on 9.7). Who reads a
table that was changed since gets an error.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Mapping, Sequence

from ..errors import HaError
from ..gtid import GtidSet
from ..replication import repoint
from ..server.executed import executed, wait_executed
from ..server.session import Session, StatementFailed
from ..server.state import ON
from . import signals
from .masked import masked

LOCK_PATIENCE = 2
"""Seconds that the lock may wait for statements that run (``lock_wait_timeout``), each time."""
_LOCK_PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0)
_LOCK_REFUSED = 1205
_DENIED = 1227
""""You need (at least one of) the ... privilege(s)": nothing was done."""
_LONG = (
    "SELECT COUNT(*) AS number FROM performance_schema.processlist WHERE COMMAND IN ('Query', 'Execute') AND TIME >= 1"
    " AND ID <> CONNECTION_ID() AND USER NOT IN ('system user', 'event_scheduler')"
)
_TABLES = (
    "SELECT NAME AS name, TABLE_ID AS id FROM information_schema.INNODB_TABLES"
    " WHERE NAME NOT LIKE 'mysql/%' AND NAME NOT LIKE 'sys/%'"
)
_SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
_POLL_EVERY = 0.05
_RESTART_PATIENCE = 120.0
_RESTART_EVERY = 1.0
_SAID = frozenset({"error", "applier_error", "receiver_error"})
"""Evidence that is a server's message."""


class Held:
    """Two snapshots that hold ``gtids`` and nothing else.

    :param sessions: those in which they are, with what ``_tables`` said there before.
    """

    def __init__(self, gtids: str, sessions: Sequence[tuple[Session, Mapping[str, int]]], statement: float) -> None:
        self.gtids = gtids
        self._sessions = sessions
        self._statement = statement

    def let_tables_go(self) -> None:
        """Who waits to change the definition of a table that was read may do so.

        :raises HaError: a connection is lost, and its snapshot with it.
        """
        for session, _tables in self._sessions:
            session.execute("ROLLBACK TO SAVEPOINT nothing_read", within=self._statement)

    def changed(self) -> set[str]:
        """Tables, as InnoDB names them, that are on either server no longer those that they were.

        A snapshot is of rows. Who exchanges two tables by their names, or drops a partition, is seen in it at once, and
        no statement fails.

        :raises HaError: a server does not say.
        """
        found: set[str] = set()
        for session, before in self._sessions:
            now = _innodb_tables(session, self._statement)
            found |= {name for name in {**before, **now} if before.get(name) != now.get(name)}
        return found


def _innodb_tables(session: Session, statement: float) -> dict[str, int]:
    """By InnoDB's name, its number of a table or partition: of now, also inside of a snapshot."""
    return {str(row["name"]): int(row["id"]) for row in session.query(_TABLES, within=statement)}


@contextmanager
def at_one_gtid(
    primary: Session,
    replica: Session,
    primary_admin: Session,
    replica_admin: Callable[[], Session],
    *,
    statement: float,
    catch_up: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Held]:
    """Both at the same GTID set, as long as this lasts.

    :param primary: isolated by REPEATABLE READ; reads from then on what was committed until then, and nothing newer.
        ``replica``: the same there.
    :param primary_admin: may lock (RELOAD).
    :param replica_admin: opens a session that may stop the applier (REPLICATION_SLAVE_ADMIN), or gives the one that is
        open.
    :param catch_up: seconds for the replica to get there.
    :raises HaError: ``snapshot_not_locked``, ``errant_transactions``, ``replica_late``, ``replica_stands_still``,
        ``applier_still_on``, ``replica_moved``; the applier runs again then, as it did before.
        ``applier_left_stopped``, ``applier_broken``: it does not run.
    """
    try:
        # Before the snapshots: what is changed in between is then told, and nothing is missed.
        there = _innodb_tables(primary, statement)
        with _applier_stopped(
            primary, replica_admin, statement=statement, catch_up=catch_up, clock=clock, sleep=sleep
        ) as ran:
            here = _innodb_tables(replica, statement)
            gtids = _open(primary, primary_admin, statement, sleep)
            _advance(replica_admin(), gtids, statement, catch_up, clock, sleep, ran=ran)
            replica.execute(_SNAPSHOT, within=statement)
            _stood_still(replica_admin(), gtids, statement)
        for session in (primary, replica):
            session.execute("SAVEPOINT nothing_read", within=statement)
        yield Held(gtids, ((primary, there), (replica, here)), statement)
    finally:
        for session in (primary, replica):
            _let_go(session, "ROLLBACK", statement)


@contextmanager
def _applier_stopped(
    primary: Session,
    replica_admin: Callable[[], Session],
    *,
    statement: float,
    catch_up: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Iterator[bool]:
    """Yields whether it ran; afterwards it runs again, whatever happens. One that is off is left alone."""
    if repoint.read_threads(replica_admin(), within=statement).applier != ON:
        yield False
        return
    # It stands still as briefly as can be, and is not told to stop while it is at work on something long.
    if not wait_executed(replica_admin(), executed(primary, within=statement), patience=catch_up, statement=statement):
        raise _late(replica_admin().name, f"what the primary had executed, within {catch_up:g} s")
    denied = False
    with signals.as_exit():
        try:
            try:
                repoint.stop_applier(replica_admin(), within=statement)
            except StatementFailed as error:
                denied = error.errno == _DENIED
                raise
            yield True
        finally:
            if not denied:
                with signals.held_back():
                    _as_it_was(replica_admin, statement, clock, sleep)


def _late(name: str, what: str, **evidence: Any) -> HaError:
    return HaError(
        "replica_late",
        f"{name} did not execute {what}",
        evidence={"member": name, **evidence},
        next_step="See why its receiver or applier is late; then run again.",
    )


def _stood_still(replica: Session, gtids: str, statement: float) -> None:
    """Somebody else may have started the applier before the snapshot was there. A commit is seen a moment before its
    GTID is told: so an applier that runs is enough."""
    threads = repoint.read_threads(replica, within=statement)
    moved = threads.executed - GtidSet.parse(gtids)
    if moved or threads.applier == ON:
        raise HaError(
            "replica_moved",
            f"{replica.name} was to stand still for a moment, and somebody started its applier",
            evidence={"member": replica.name, "gtids": str(moved), "applier": threads.applier},
            next_step="See who did; then run again.",
        )


def _as_it_was(
    replica_admin: Callable[[], Session],
    statement: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """The applier runs without an end again, whatever became of the connection meanwhile."""
    ends = clock() + _RESTART_PATIENCE
    while True:
        try:
            # Also one that did not stop in time, and will: what is started before that is not started.
            repoint.stop_applier(replica_admin(), within=statement)
            repoint.start_applier(replica_admin(), within=statement)
            return
        except HaError as error:
            said = masked(error.message, int(error.evidence.get("errno", 0)))
            evidence = {name: masked(str(value)) if name in _SAID else value for name, value in error.evidence.items()}
            if error.code == "applier_broken":
                raise HaError(error.code, said, evidence=evidence, next_step=error.next_step) from error
            if clock() >= ends:
                raise HaError(
                    "applier_left_stopped",
                    f"the applier that was stopped for the snapshot could not be started again: {said}",
                    evidence={"error": error.code, **evidence},
                    next_step="START REPLICA SQL_THREAD there, at once: the replica applies nothing until then.",
                ) from error
        sleep(_RESTART_EVERY)


def _open(primary: Session, admin: Session, statement: float, sleep: Callable[[float], None]) -> str:
    """Open the snapshot while nothing commits; returns what it holds."""
    admin.execute(f"SET SESSION lock_wait_timeout = {LOCK_PATIENCE}", within=statement)
    for pause in _LOCK_PAUSES:
        sleep(pause)
        # The lock would wait for it, everybody who writes would wait for the lock, and whoever then wants to read the
        # same table would wait until the statement ends, even when the lock is given up.
        if int(admin.one(_LONG, within=statement)["number"]):
            continue
        try:
            admin.execute("FLUSH TABLES WITH READ LOCK", within=LOCK_PATIENCE + statement)
            primary.execute(_SNAPSHOT, within=statement)
            return str(admin.one("SELECT @@GLOBAL.gtid_executed AS gtids", within=statement)["gtids"])
        except StatementFailed as error:
            if error.errno != _LOCK_REFUSED:
                raise
        finally:
            # Also when it was refused: of the locks that it is made of, it keeps those that it has got (seen on 9.7).
            _let_go(admin, "UNLOCK TABLES", statement)
    raise HaError(
        "snapshot_not_locked",
        f"{admin.name}: statements that run for long did not let commits be held for an instant",
        evidence={"member": admin.name, "attempts": len(_LOCK_PAUSES), "patience": LOCK_PATIENCE},
        next_step="Run again when no long statement runs there (SHOW PROCESSLIST), or compare without a snapshot.",
    )


def _let_go(session: Session, sql: str, statement: float) -> None:
    try:
        if session.usable:
            session.execute(sql, within=statement)
    except HaError:
        session.close()  # the server lets go of what a connection held


def _advance(
    replica: Session,
    gtids: str,
    statement: float,
    catch_up: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    *,
    ran: bool,
) -> None:
    """The replica executes all of these, and nothing beyond. ``ran``: its applier was stopped for this."""
    wanted = GtidSet.parse(gtids)
    executed_there = repoint.read_threads(replica, within=statement).executed
    if executed_there - wanted:
        raise HaError(
            "errant_transactions",
            f"{replica.name} has {executed_there - wanted}, which the primary lacks",
            evidence={"member": replica.name, "gtids": str(executed_there - wanted)},
            next_step="Archive them (mysql_binlog_archive), and bring the server back (playbook rejoin).",
        )
    if wanted - executed_there and not ran:
        raise HaError(
            "replica_stands_still",
            f"{replica.name} lacks {wanted - executed_there}, and its applier is off",
            evidence={"member": replica.name, "gtids": str(wanted - executed_there)},
            next_step="Start its applier, or compare while nobody writes.",
        )
    if wanted - executed_there:
        replica.execute(
            "START REPLICA SQL_THREAD UNTIL SQL_AFTER_GTIDS = %s FOR CHANNEL ''", (gtids,), within=statement
        )
    ends = clock() + catch_up
    while True:
        threads = repoint.read_threads(replica, within=statement)
        if threads.executed == wanted and threads.applier != ON:
            return
        if clock() >= ends or (threads.applier_error and threads.applier != ON):
            lacks = f"{wanted - threads.executed} of the snapshot within {catch_up:g} s"
            told = masked(threads.applier_message)
            why = f" (error {threads.applier_error}: {told})" if threads.applier_error else ""
            raise _late(replica.name, lacks + why, applier=threads.applier, receiver=threads.receiver)
        sleep(_POLL_EVERY)
