# SPDX-License-Identifier: BSD-2-Clause
"""Seeding a server by remote CLONE: its data are replaced by a donor's.

``choose_donor`` is pure; ``clone`` does it and returns when the recipient is back and holds everything the donor held
at the start. Whether the recipient's data may go is decided by the caller; here it is only checked that the server is
the one that was meant, read-only, and that it does not acknowledge anything.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Callable, Collection, Optional, Sequence, Union

from ..errors import HaError
from ..gtid import GtidSet
from ..refusal import Reason
from ..server.dialect import SUPER_READ_ONLY, Dialect, version_tuple
from ..server.session import ConnectFailed, Session, StatementFailed
from ..server.state import ServerState

NO_SUPERVISOR = 3707
POLL_EVERY = 0.5


@dataclasses.dataclass(frozen=True)
class CloneLogin:
    """The donor's account for CLONE. ``ca``: on the recipient, empty for an encrypted and unverified connection."""

    user: str
    password: str = dataclasses.field(repr=False)
    ca: str = ""


def choose_donor(
    recipient: ServerState,
    replicas: Sequence[ServerState],
    primary: ServerState,
    *,
    clone_active: Collection[str],
) -> Union[ServerState, Reason]:
    """The donor: the first replica that can, the primary only when there is none. Pure.

    :param replicas: those that may be used, best first. The last acknowledger is not among them: a donor is slow.
    :param clone_active: the names of the servers whose clone plugin works.
    """
    if recipient.name not in clone_active:
        return Reason(
            "clone_plugin_missing",
            f"{recipient.name} has to be cloned and its clone plugin is not active",
            {"member": recipient.name},
            "Run the server role on that host: the plugin is loaded by the configuration file.",
        )
    dialect = Dialect(version_tuple(recipient.version))
    versions = {}
    for donor in (*replicas, primary):
        versions[donor.name] = donor.version
        if donor.name in clone_active and dialect.clone_compatible(version_tuple(donor.version)):
            return donor
    return Reason(
        "clone_not_possible",
        f"{recipient.name} has to be cloned and nobody can be its donor",
        {"member": recipient.name, "version": recipient.version, "donors": versions},
        "CLONE needs the clone plugin and the same release series on both: restore a backup there instead.",
    )


def clone(
    recipient: Session,
    recipient_uuid: str,
    donor: Session,
    donor_address: tuple[str, int],
    login: CloneLogin,
    *,
    reconnect: Callable[[], Session],
    statement_within: float,
    clone_within: float,
    restart_within: float,
    progress: Optional[Callable[[], None]] = None,
) -> Session:
    """Replace the recipient's data by the donor's, wait for its restart, and leave it without a source.

    :param donor_address: host and port as the recipient reaches the donor.
    :param reconnect: opens a new connection to the recipient.
    :param progress: called while waiting for the restart; may raise to give up.
    :returns: the connection after the restart.
    :raises HaError: ``another_server``, ``server_is_writable``, ``still_acknowledges``, ``clone_failed``,
        ``no_supervisor``, ``not_back_after_clone``, ``clone_incomplete``.
    """
    _guard(recipient, recipient_uuid, statement_within)
    held = GtidSet.parse(str(donor.one("SELECT @@GLOBAL.gtid_executed AS gtids", within=statement_within)["gtids"]))
    host, port = donor_address
    _stop_replication(recipient, statement_within)
    recipient.execute("SET GLOBAL clone_valid_donor_list = %s", (f"{host}:{port}",), within=statement_within)
    if login.ca:
        recipient.execute("SET GLOBAL clone_ssl_ca = %s", (login.ca,), within=statement_within)
    # Dropping what is there is a write. read_only stays on, so only our account may; after the restart the
    # configuration file makes it read-only again.
    recipient.execute("SET GLOBAL read_only = ON", within=statement_within)
    recipient.execute("SET GLOBAL super_read_only = OFF", within=statement_within)
    started = time.monotonic()
    try:
        recipient.execute(
            "CLONE INSTANCE FROM %s@%s:%s IDENTIFIED BY %s REQUIRE SSL",
            (login.user, host, port, login.password),
            within=clone_within,
            secret=True,
        )
    except StatementFailed as error:
        _judge(error, recipient, donor.name, statement_within)
    recipient.close()
    session = _back(recipient.name, reconnect, restart_within, progress)
    status = session.one(
        "SELECT STATE AS state, ERROR_NO AS number, ERROR_MESSAGE AS message FROM performance_schema.clone_status",
        within=statement_within,
    )
    executed = GtidSet.parse(
        str(session.one("SELECT @@GLOBAL.gtid_executed AS gtids", within=statement_within)["gtids"])
    )
    if str(status.get("state")) != "Completed" or held - executed:
        raise HaError(
            "clone_incomplete",
            f"{session.name}: the clone from {donor.name} did not bring everything",
            evidence={
                "member": session.name,
                "clone_status": dict(status),
                "lacks": str(held - executed),
                "seconds": round(time.monotonic() - started, 1),
            },
            next_step="See the recipient's error log, then run again.",
        )
    # The donor's replication settings came along, with its account. No relay log did: nothing can be lost here.
    session.execute("RESET REPLICA ALL FOR CHANNEL ''", within=statement_within)
    return session


def _guard(recipient: Session, server_uuid: str, within: float) -> None:
    row = recipient.one(
        f"SELECT @@GLOBAL.server_uuid AS server_uuid, {SUPER_READ_ONLY} AS super_read_only", within=within
    )
    if str(row["server_uuid"]).lower() != server_uuid:
        raise HaError(
            "another_server",
            f"{recipient.name}: another server answers than the one that was observed",
            evidence={"member": recipient.name, "expected": server_uuid, "seen": row["server_uuid"]},
            next_step="Run again.",
        )
    if not int(row["super_read_only"]):
        raise HaError(
            "server_is_writable",
            f"{recipient.name} is writable and will not be wiped",
            evidence={"member": recipient.name, "super_read_only": "OFF"},
            next_step="Fence it (super_read_only=ON) once you know that it is not the primary, then run again.",
        )
    acknowledging = recipient.query(
        "SELECT VARIABLE_VALUE AS value FROM performance_schema.global_status WHERE VARIABLE_NAME IN"
        " ('Rpl_semi_sync_replica_status', 'Rpl_semi_sync_slave_status') AND VARIABLE_VALUE = 'ON'",
        within=within,
    )
    if acknowledging:
        raise HaError(
            "still_acknowledges",
            f"{recipient.name} acknowledges and will not be wiped: what it holds may be the only copy",
            evidence={"member": recipient.name},
            next_step="Take it out of the term row first (mysql_replication does).",
        )


def _stop_replication(recipient: Session, within: float) -> None:
    """CLONE refuses while a channel is active; its data are about to go anyway."""
    if recipient.query("SHOW REPLICA STATUS", within=within):
        recipient.execute("STOP REPLICA", within=within)


def _judge(error: StatementFailed, recipient: Session, donor: str, within: float) -> None:
    """A broken connection is how a clone normally ends: the server restarts under it."""
    if error.code == "connection_lost":
        return
    if error.errno == NO_SUPERVISOR:
        raise HaError(
            "no_supervisor",
            f"{recipient.name} was cloned and could not restart itself: nothing supervises its mysqld",
            evidence={"member": recipient.name, "errno": error.errno, "donor": donor},
            next_step="Start mysqld there (it is shut down, its data are complete), then run again; run it under"
            " systemd or set MYSQLD_PARENT_PID, as the packages do.",
        ) from error
    if error.code == "deadline_exceeded":
        raise HaError(
            "clone_failed",
            f"{recipient.name}: the clone from {donor} took longer than allowed",
            evidence=error.evidence,
            next_step="Raise clone_timeout, and look at performance_schema.clone_progress on that server.",
        ) from error
    recipient.execute("SET GLOBAL super_read_only = ON", within=within)
    status = recipient.one(
        "SELECT ERROR_NO AS number, ERROR_MESSAGE AS message FROM performance_schema.clone_status", within=within
    )
    raise HaError(
        "clone_failed",
        f"{recipient.name}: the clone from {donor} failed: {status.get('message') or error.message}",
        evidence={"member": recipient.name, "donor": donor, "errno": error.errno, "clone_status": dict(status)},
        next_step="Check the clone account on the donor, the plugins and the releases on both; then run again.",
    ) from error


def _back(
    name: str, reconnect: Callable[[], Session], within: float, progress: Optional[Callable[[], None]]
) -> Session:
    ends = time.monotonic() + within
    while True:
        if progress is not None:
            progress()
        try:
            return reconnect()
        except ConnectFailed as error:
            if time.monotonic() >= ends:
                raise HaError(
                    "not_back_after_clone",
                    f"{name} did not come back within {within:g} s after it was cloned",
                    evidence={"member": name, "last": error.message},
                    next_step="Look at its service and error log; run again when it is up.",
                ) from error
        time.sleep(POLL_EVERY)
