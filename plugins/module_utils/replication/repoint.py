# SPDX-License-Identifier: BSD-2-Clause
"""Attaching a replica to a source without ever throwing away what it received and has not applied.

An acknowledgement means "in the relay log", so a relay log that is deleted before it was applied is a lost transaction.
CHANGE REPLICATION SOURCE TO deletes the relay logs when *both* threads are stopped; with the applier running, and with
options of the receiver only (no SOURCE_AUTO_POSITION, no RELAY_LOG_*, no SOURCE_DELAY), it keeps them (reference
manual, "CHANGE REPLICATION SOURCE TO"; tried on 9.7.4). So:

* a channel that uses auto-position already is changed with the receiver stopped, the applier running, receiver options
  only;
* SOURCE_AUTO_POSITION=1 is given only to a server that has no channel yet, or after everything it received is executed;
* RESET REPLICA is nowhere.

Everything that attaches a replica (convergence, failover, rejoin) comes through here. Default channel only.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Callable, Optional

from ..errors import HaError
from ..gtid import GtidSet
from ..server.dialect import SUPER_READ_ONLY
from ..server.session import Session, StatementFailed
from ..server.state import CONNECTING, OFF, ON, Member, ServerState
from . import semi_sync

DEFAULT_CA = "/etc/lossless-mysql-ha/tls/ca.pem"
POLL_EVERY = 0.05
_STOP_TIMED_OUT = frozenset({1875, 1876})
"""STOP REPLICA gave up waiting (rpl_stop_replica_timeout); the thread still goes down by itself."""


@dataclasses.dataclass(frozen=True)
class Threads:
    """Both threads of the default channel, and what they hold. ``configured`` is false when there is no channel.

    ``source_uuid``: of the last source that the receiver was connected to.
    """

    server_uuid: str
    configured: bool
    receiver: str
    applier: str
    auto_position: bool
    retrieved: GtidSet
    executed: GtidSet
    receiver_error: int
    receiver_message: str
    applier_error: int
    applier_message: str
    source_uuid: str = ""

    @property
    def unapplied(self) -> GtidSet:
        return self.retrieved - self.executed

    @property
    def connected(self) -> bool:
        """It reads ON a moment before it knows whom it reached."""
        return self.receiver == ON and bool(self.source_uuid)


class Deadline:
    """Seconds that are left of ``within``."""

    def __init__(self, within: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = clock() + within
        self.within = within

    @property
    def left(self) -> float:
        return max(self._ends - self._clock(), 0.001)

    @property
    def over(self) -> bool:
        return self._clock() >= self._ends


_THREADS = """SELECT @@GLOBAL.server_uuid AS server_uuid, c.HOST AS host, c.AUTO_POSITION AS auto_position,
    s.SERVICE_STATE AS receiver, s.SOURCE_UUID AS source_uuid, s.RECEIVED_TRANSACTION_SET AS retrieved,
    s.LAST_ERROR_NUMBER AS receiver_error, s.LAST_ERROR_MESSAGE AS receiver_message,
    a.SERVICE_STATE AS applier,
    GREATEST(IFNULL(k.LAST_ERROR_NUMBER, 0), IFNULL(w.number, 0)) AS applier_error,
    IF(IFNULL(w.number, 0) > 0, w.message, k.LAST_ERROR_MESSAGE) AS applier_message
    FROM performance_schema.replication_connection_configuration c
    JOIN performance_schema.replication_connection_status s USING (CHANNEL_NAME)
    JOIN performance_schema.replication_applier_status a USING (CHANNEL_NAME)
    LEFT JOIN performance_schema.replication_applier_status_by_coordinator k USING (CHANNEL_NAME)
    LEFT JOIN (SELECT CHANNEL_NAME, MAX(LAST_ERROR_NUMBER) AS number, MAX(LAST_ERROR_MESSAGE) AS message
        FROM performance_schema.replication_applier_status_by_worker GROUP BY CHANNEL_NAME) w USING (CHANNEL_NAME)
    WHERE CHANNEL_NAME = ''"""


def read_threads(session: Session, *, within: float) -> Threads:
    """Both threads now. What was received is read before what was executed, so the difference is never too small."""
    deadline = Deadline(within)
    row = session.one(_THREADS, within=deadline.left)
    after = session.one(
        "SELECT @@GLOBAL.server_uuid AS server_uuid, @@GLOBAL.gtid_executed AS executed", within=deadline.left
    )
    receiver = str(row.get("receiver") or OFF)
    return Threads(
        server_uuid=str(after["server_uuid"]).lower(),
        configured=bool(row.get("host")),
        receiver=receiver if receiver in (ON, CONNECTING) else OFF,
        applier=ON if row.get("applier") == "ON" else OFF,
        auto_position=str(row.get("auto_position") or "0") in ("1", "YES", "ON"),
        retrieved=GtidSet.parse(str(row.get("retrieved") or "")),
        executed=GtidSet.parse(str(after["executed"])),
        receiver_error=int(row.get("receiver_error") or 0),
        receiver_message=str(row.get("receiver_message") or ""),
        applier_error=int(row.get("applier_error") or 0),
        applier_message=str(row.get("applier_message") or ""),
        source_uuid=str(row.get("source_uuid") or "").lower(),
    )


def _until(
    session: Session, holds: Callable[[Threads], bool], deadline: Deadline, code: str, message: str, next_step: str
) -> Threads:
    """Read the threads until something holds.

    :raises HaError: ``code``, when the deadline passes before.
    """
    while True:
        threads = read_threads(session, within=deadline.left)
        if holds(threads):
            return threads
        if deadline.over:
            raise _not_so(session, threads, code, f"{message} within {deadline.within:g} s", next_step)
        time.sleep(POLL_EVERY)


def _not_so(session: Session, threads: Threads, code: str, message: str, next_step: str) -> HaError:
    return HaError(
        code,
        f"{session.name}: {message}",
        evidence={
            "member": session.name,
            "receiver": threads.receiver,
            "receiver_error": threads.receiver_message,
            "applier": threads.applier,
            "applier_error": threads.applier_message,
            "unapplied": str(threads.unapplied),
        },
        next_step=next_step,
    )


def stop_receiver(session: Session, *, within: float) -> Threads:
    """Freeze: stop the receiver, also one that only tries to connect, and see that it is off.

    :returns: the threads as read after the receiver was seen OFF: from then on ``retrieved`` cannot grow.
    :raises HaError: ``receiver_still_on``.
    """
    deadline = Deadline(within)
    threads = read_threads(session, within=deadline.left)
    if not threads.configured:
        return threads
    # Also when it reads OFF: a receiver that has just ended with an error, or is about to start, is stopped for sure.
    try:
        session.execute("STOP REPLICA IO_THREAD FOR CHANNEL ''", within=deadline.left)
    except StatementFailed as error:
        if error.errno not in _STOP_TIMED_OUT:
            raise
    return _until(
        session,
        lambda seen: seen.receiver == OFF,
        deadline,
        "receiver_still_on",
        "the receiver did not stop",
        "Look at the receiver thread of that server; it may still acknowledge.",
    )


def start_applier(session: Session, *, within: float) -> Threads:
    """Start the applier if it is off. What was received needs no receiver to be applied.

    :raises HaError: ``applier_broken`` when it does not run, or stops again at once.
    """
    deadline = Deadline(within)
    threads = read_threads(session, within=deadline.left)
    if threads.configured and threads.applier == OFF:
        session.execute("START REPLICA SQL_THREAD FOR CHANNEL ''", within=deadline.left)
        threads = read_threads(session, within=deadline.left)
    if threads.configured and threads.applier == OFF:
        raise applier_broken(session.name, threads.applier_error, threads.applier_message)
    return threads


def stop_applier(session: Session, *, within: float) -> Threads:
    """Stop the applier, and see that it is off. What was received stays.

    :raises HaError: ``applier_still_on``.
    """
    deadline = Deadline(within)
    threads = read_threads(session, within=deadline.left)
    if not threads.configured:
        return threads
    try:
        session.execute("STOP REPLICA SQL_THREAD FOR CHANNEL ''", within=deadline.left)
    except StatementFailed as error:
        if error.errno not in _STOP_TIMED_OUT:
            raise
    return _until(
        session,
        lambda seen: seen.applier == OFF,
        deadline,
        "applier_still_on",
        "the applier did not stop",
        "It ends with the transaction it is at; run again.",
    )


def applier_broken(name: str, number: int, message: str) -> HaError:
    return HaError(
        "applier_broken",
        f"{name}: the applier stopped: {message or 'without a message'} ({number})",
        evidence={"member": name, "errno": number, "error": message},
        next_step="Find out why the replica's data differ; nothing is skipped here. If the server's data may be thrown"
        " away, name it in expendable: it is then cloned again.",
    )


def wait_executed(session: Session, wanted: Optional[GtidSet] = None, *, within: float) -> Threads:
    """Wait until ``wanted``, or everything received, is executed.

    :raises HaError: ``not_applied``, ``applier_broken``.
    """

    def done(seen: Threads) -> bool:
        if (wanted if wanted is not None else seen.retrieved) <= seen.executed:
            return True
        if seen.applier == OFF:
            raise applier_broken(session.name, seen.applier_error, seen.applier_message)
        return False

    return _until(
        session,
        done,
        Deadline(within),
        "not_applied",
        "the applier was not done",
        "Wait until the replica has caught up, then run again.",
    )


def wait_connected(session: Session, source_uuid: str = "", *, within: float) -> Threads:
    """Wait until the receiver is connected.

    :param source_uuid: to that very server.
    :raises HaError: ``receiver_not_connected`` with the receiver's own error.
    """
    return _until(
        session,
        lambda seen: seen.connected and source_uuid in ("", seen.source_uuid),
        Deadline(within),
        "receiver_not_connected",
        "the receiver did not connect",
        _SEE_RECEIVER,
    )


def require_connected(session: Session, *, within: float) -> Threads:
    """Look once whether the receiver is connected.

    :raises HaError: ``receiver_not_connected`` with the receiver's own error.
    """
    threads = read_threads(session, within=within)
    if not threads.connected:
        raise _not_so(session, threads, "receiver_not_connected", "the receiver is not connected", _SEE_RECEIVER)
    return threads


_SEE_RECEIVER = "See the receiver's error in the evidence: account, password, TLS, network, or purged transactions."


def _clause(options: dict[str, Any]) -> tuple[str, tuple[Any, ...]]:
    return ", ".join(f"{name} = %s" for name in options), tuple(options.values())


def receiver_options(
    target: Member, user: str, password: str, *, ca: str, connect_retry: int, heartbeat_period: float
) -> dict[str, Any]:
    """The options that concern the receiver alone. Without a CA the connection is encrypted and not verified."""
    return {
        "SOURCE_HOST": target.host,
        "SOURCE_PORT": target.replication_port,
        "SOURCE_USER": user,
        "SOURCE_PASSWORD": password,
        "SOURCE_CONNECT_RETRY": connect_retry,
        "SOURCE_RETRY_COUNT": 0,
        "SOURCE_HEARTBEAT_PERIOD": heartbeat_period,
        "SOURCE_SSL": 1,
        "SOURCE_SSL_CA": ca,
        "SOURCE_SSL_VERIFY_SERVER_CERT": 1 if ca else 0,
    }


def repoint(
    session: Session,
    state: ServerState,
    target: Member,
    user: str,
    password: str,
    *,
    ca: str = DEFAULT_CA,
    connect_retry: int = 1,
    heartbeat_period: float = 0.5,
    acknowledge: Optional[bool] = None,
    still_locked: Callable[[], None] = lambda: None,
    within: float,
) -> Threads:
    """Make this replica follow ``target`` and start both threads. Does not wait for the connection: ``wait_connected``.

    :param state: what was observed; the server must still be the same one, and must still be read-only.
    :param acknowledge: switch the replica side of semi-sync while the receiver is stopped, so that it takes effect at
        the start; ``None`` leaves it as it is.
    :param still_locked: asked after a wait that may have been long; raises when the run is not to go on.
    :raises HaError: ``another_server``, ``server_is_writable``, ``receiver_still_on``, ``applier_broken``,
        ``not_applied``, ``relay_log_lost``.
    """
    deadline = Deadline(within)
    guard(session, state.server_uuid, within=deadline.left)
    before = stop_receiver(session, within=deadline.left)
    options = receiver_options(
        target, user, password, ca=ca, connect_retry=connect_retry, heartbeat_period=heartbeat_period
    )
    if before.configured and before.auto_position:
        # The applier must run while the source is changed: with both threads stopped the relay logs would be deleted.
        start_applier(session, within=deadline.left)
    else:
        if before.configured:
            # A channel by file and position: apply all of it first. Only then may the relay logs go.
            start_applier(session, within=deadline.left)
            before = wait_executed(session, within=deadline.left)
            still_locked()
            session.execute("STOP REPLICA SQL_THREAD FOR CHANNEL ''", within=deadline.left)
            before = read_threads(session, within=deadline.left)
            if before.unapplied or before.applier != OFF:
                raise _relay_log_lost(session.name, before, "would be thrown away")
        options["SOURCE_AUTO_POSITION"] = 1
    clause, values = _clause(options)
    session.execute(f"CHANGE REPLICATION SOURCE TO {clause} FOR CHANNEL ''", values, within=deadline.left, secret=True)
    after = read_threads(session, within=deadline.left)
    if before.retrieved - (after.retrieved | after.executed):
        # The applier ended by itself between the check and the change. The primary still has it all; say so loudly.
        raise _relay_log_lost(session.name, before, "was thrown away")
    if acknowledge is not None:
        semi_sync.set_acknowledge(session, acknowledge, within=deadline.left)
    start(session, within=deadline.left)
    return read_threads(session, within=deadline.left)


def guard(session: Session, server_uuid: str, *, within: float) -> None:
    """The same server as observed, and read-only: a server that takes writes is nobody's replica.

    :raises HaError: ``another_server``, ``server_is_writable``.
    """
    seen = session.one(
        f"SELECT @@GLOBAL.server_uuid AS server_uuid, {SUPER_READ_ONLY} AS super_read_only", within=within
    )
    if str(seen["server_uuid"]).lower() != server_uuid:
        raise HaError(
            "another_server",
            f"{session.name}: another server answers than the one that was observed",
            evidence={"member": session.name, "expected": server_uuid, "seen": seen["server_uuid"]},
            next_step="Run again.",
        )
    if not int(seen["super_read_only"]):
        raise HaError(
            "server_is_writable",
            f"{session.name} is writable and will not be made a replica",
            evidence={"member": session.name, "super_read_only": "OFF"},
            next_step="Fence it (super_read_only=ON) once you know that it is not the primary, then run again.",
        )


def start(session: Session, *, within: float) -> None:
    """Start both threads; those that run go on running."""
    session.execute("START REPLICA FOR CHANNEL ''", within=within)


def _relay_log_lost(name: str, threads: Threads, what: str) -> HaError:
    return HaError(
        "relay_log_lost",
        f"{name}: a relay log that was not applied {what}: {threads.unapplied}",
        evidence={"member": name, "unapplied": str(threads.unapplied), "applier_error": threads.applier_message},
        next_step="Mend the applier's error and let it apply what was received; the source still holds it.",
    )
