# SPDX-License-Identifier: BSD-2-Clause
"""A primary and one replica at exactly the same GTID, for as long as they are compared: nothing is in flight.

The replica's applier is stopped; then the primary's commits are held for an instant (FLUSH TABLES WITH READ LOCK), in
which a snapshot is opened and gtid_executed read; then the replica applies up to just that, and stops. From then on
the snapshot and the replica hold the same transactions and no others, so what differs, differs. The replica goes on
receiving and acknowledging; it applies again when the comparison ends.

The lock is asked for with a short patience: a statement that runs for long on the primary would make it wait, and while
it waits nobody else can write.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Callable, Iterator

from ..errors import HaError
from ..gtid import GtidSet
from ..replication import repoint
from ..server.session import Session, StatementFailed
from ..server.state import ON

LOCK_PATIENCE = 2
"""Seconds that the lock may wait for statements that run (``lock_wait_timeout``), each time."""
_LOCK_PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0)
_LOCK_REFUSED = 1205
_DENIED = 1227
""""You need (at least one of) the ... privilege(s)": nothing was done."""
_POLL_EVERY = 0.05
_RESTART_PATIENCE = 120.0
_RESTART_EVERY = 1.0


@contextmanager
def at_one_gtid(
    primary: Session,
    primary_admin: Session,
    replica_admin: Callable[[], Session],
    *,
    statement: float,
    catch_up: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[str]:
    """Yields the GTID set at which both are.

    :param primary: isolated by REPEATABLE READ; reads from then on what was committed until then, and nothing newer.
    :param primary_admin: may lock (RELOAD).
    :param replica_admin: opens a session that may stop the applier (REPLICATION_SLAVE_ADMIN), or gives the one that is
        open: a comparison may last for longer than an idle connection does.
    :param catch_up: seconds for the replica to get there.
    :raises HaError: ``snapshot_not_locked``, ``errant_transactions``, ``replica_late``, ``applier_still_on``; the
        applier runs again then, as it did before. ``replica_moved``: it did not stand still.
        ``applier_left_stopped``, ``applier_broken``: it does not run.
    """
    ran = repoint.read_threads(replica_admin(), within=statement).applier == ON
    denied = False
    try:
        if ran:
            try:
                repoint.stop_applier(replica_admin(), within=statement)
            except StatementFailed as error:
                denied = error.errno == _DENIED
                raise
        try:
            gtids = _open(primary, primary_admin, statement, sleep)
            _advance(replica_admin(), gtids, statement, catch_up, clock, sleep)
            yield gtids
            _still_there(replica_admin, gtids, statement)
        finally:
            _let_go(primary, "ROLLBACK", statement)
    finally:
        if not denied:
            _as_it_was(replica_admin, ran, statement, clock, sleep)


def _still_there(replica_admin: Callable[[], Session], gtids: str, statement: float) -> None:
    """Somebody else may have started the applier meanwhile: then what was compared was in flight."""
    try:
        executed = repoint.read_threads(replica_admin(), within=statement).executed
    except StatementFailed:
        # That a connection was idle for too long is only seen when it is used.
        executed = repoint.read_threads(replica_admin(), within=statement).executed
    replica = replica_admin()
    wanted = GtidSet.parse(gtids)
    if executed != wanted:
        raise HaError(
            "replica_moved",
            f"{replica.name} was to stand still, and executed {executed - wanted} meanwhile",
            evidence={"member": replica.name, "gtids": str(executed - wanted)},
            next_step="See who started its applier; then run again.",
        )


def _as_it_was(
    replica_admin: Callable[[], Session],
    ran: bool,
    statement: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """The applier runs without an end again, or is off again, whatever became of the connection meanwhile."""
    ends = clock() + _RESTART_PATIENCE
    while True:
        try:
            # Also one that did not stop in time, and will: what is started before that is not started.
            repoint.stop_applier(replica_admin(), within=statement)
            if ran:
                repoint.start_applier(replica_admin(), within=statement)
            return
        except HaError as error:
            if error.code == "applier_broken":
                raise
            if clock() >= ends:
                raise HaError(
                    "applier_left_stopped",
                    f"the applier that was stopped for the snapshot could not be started again: {error.message}",
                    evidence={"error": error.code, **error.evidence},
                    next_step="START REPLICA SQL_THREAD there, at once: the replica applies nothing until then.",
                ) from error
        sleep(_RESTART_EVERY)


def _open(primary: Session, admin: Session, statement: float, sleep: Callable[[float], None]) -> str:
    """Open the snapshot while nothing commits; returns what it holds."""
    admin.execute(f"SET SESSION lock_wait_timeout = {LOCK_PATIENCE}", within=statement)
    for pause in _LOCK_PAUSES:
        sleep(pause)
        try:
            admin.execute("FLUSH TABLES WITH READ LOCK", within=LOCK_PATIENCE + statement)
        except StatementFailed as error:
            if error.errno != _LOCK_REFUSED:
                raise
            continue
        try:
            primary.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", within=statement)
            return str(admin.one("SELECT @@GLOBAL.gtid_executed AS gtids", within=statement)["gtids"])
        finally:
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
) -> None:
    """The replica executes all of these, and nothing beyond."""
    wanted = GtidSet.parse(gtids)
    executed = repoint.read_threads(replica, within=statement).executed
    if not executed <= wanted:
        raise HaError(
            "errant_transactions",
            f"{replica.name} has {executed - wanted}, which the primary lacks",
            evidence={"member": replica.name, "gtids": str(executed - wanted)},
            next_step="Archive them (mysql_binlog_archive), and bring the server back (playbook rejoin).",
        )
    if wanted - executed:
        replica.execute(
            "START REPLICA SQL_THREAD UNTIL SQL_AFTER_GTIDS = %s FOR CHANNEL ''", (gtids,), within=statement
        )
    ends = clock() + catch_up
    while True:
        threads = repoint.read_threads(replica, within=statement)
        if threads.executed == wanted and threads.applier != ON:
            return
        if clock() >= ends or (threads.applier_error and threads.applier != ON):
            raise HaError(
                "replica_late",
                f"{replica.name} did not get to the snapshot within {catch_up:g} s: it lacks"
                f" {wanted - threads.executed}" + (f" ({threads.applier_message})" if threads.applier_error else ""),
                evidence={"member": replica.name, "applier": threads.applier, "receiver": threads.receiver},
                next_step="See why its receiver or applier is late; then run again.",
            )
        sleep(_POLL_EVERY)
