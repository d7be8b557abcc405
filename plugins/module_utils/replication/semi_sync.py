# SPDX-License-Identifier: BSD-2-Clause
"""Both sides of semi-sync on one server: switched, and looked at. The source side is *armed* or *disarmed*.

Armed means: a commit waits for k acknowledgements before the storage engine commits, without a time-out, also when
nobody is there to give one. Disarming lets commits that wait return to their clients as if they had been acknowledged:
it is refused where that could be a client's.
"""

from __future__ import annotations

import time
from typing import Optional

from ..errors import HaError
from ..server import dialect
from ..server.session import Session
from ..server.settings import MAXIMUM_TIMEOUT_MS

POLL_EVERY = 0.05


def variable(session: Session, name: str, *, within: float) -> str:
    """This server's name for one of the new names, for example ``rpl_semi_sync_source_enabled``.

    A session that nobody has observed through yet, one that replaced a broken one, does not know it: it asks.
    """
    if session.dialect is None:
        rows = session.query(
            "SELECT LOWER(VARIABLE_NAME) AS name FROM performance_schema.global_variables"
            " WHERE VARIABLE_NAME LIKE 'rpl\\_semi\\_sync\\_%'",
            within=within,
        )
        session.dialect = dialect.probe(session.version, {str(row["name"]): "" for row in rows})
    return session.dialect.semi_sync_variable(name)


def status(session: Session, name: str, *, within: float) -> str:
    """A status variable by its new name, for example ``rpl_semi_sync_source_status``; empty when there is none."""
    row = session.one(
        "SELECT VARIABLE_VALUE AS value FROM performance_schema.global_status WHERE VARIABLE_NAME = %s",
        (variable(session, name, within=within),),
        within=within,
    )
    return str(row.get("value", ""))


# --- the source side -------------------------------------------------------------------------------------------------
def arm(session: Session, k: int, *, active_within: Optional[float], within: float) -> None:
    """Let every commit wait for k acknowledgements. Enabled last: the server assigns in the order of the statement.

    :param active_within: seconds to wait until the server says that it waits; ``None`` does not look. A failover can
        not afford the look, for writes stand still meanwhile, and need not: the heartbeat that it commits with the term
        row says what arming came to, and goes to whoever judges the next failover.
    :raises HaError: ``semi_sync_not_active``.
    """
    values = {
        "rpl_semi_sync_source_wait_for_replica_count": k,
        "rpl_semi_sync_source_timeout": MAXIMUM_TIMEOUT_MS,
        "rpl_semi_sync_source_wait_no_replica": 1,
        "rpl_semi_sync_source_wait_point": "AFTER_SYNC",
        "rpl_semi_sync_source_enabled": 1,
    }
    assignments = ", ".join(f"GLOBAL {variable(session, name, within=within)} = %s" for name in values)
    session.execute(f"SET {assignments}", tuple(values.values()), within=within)
    if active_within is not None:
        _until_active(session, active_within, within)


def _until_active(session: Session, active_within: float, within: float) -> None:
    ends = time.monotonic() + active_within
    while status(session, "rpl_semi_sync_source_status", within=within) != "ON":
        if time.monotonic() > ends:
            raise HaError(
                "semi_sync_not_active",
                f"{session.name}: semi-sync is on and does not wait",
                evidence={"member": session.name},
                next_step="Look at that server, then run again.",
            )
        time.sleep(POLL_EVERY)


def armed_for(session: Session, *, within: float) -> int:
    """For how many acknowledgements a commit waits here; 0 when it does not wait."""
    row = session.one(
        f"SELECT @@GLOBAL.{variable(session, 'rpl_semi_sync_source_enabled', within=within)} AS armed,"
        f" @@GLOBAL.{variable(session, 'rpl_semi_sync_source_wait_for_replica_count', within=within)} AS k",
        within=within,
    )
    return int(row["k"]) if int(row["armed"]) else 0


def disarm(session: Session, *, applier_may_wait: bool = False, within: float) -> None:
    """Switch the source side off, on a server that takes no writes and where no commit of a client can wait.

    :param applier_may_wait: on a server that follows a source, what waits is its own applier: nobody is told OK, and it
        would wait for ever. A failover does not use this: it disarms a primary that has just been deposed, where what
        waits is a client's.
    :raises HaError: ``commits_wait``.
    """
    row = session.one(
        f"SELECT {dialect.SUPER_READ_ONLY} AS read_only, VARIABLE_VALUE AS waiting,"
        " (SELECT COUNT(*) FROM performance_schema.replication_connection_configuration"
        " WHERE CHANNEL_NAME = '' AND HOST <> '') AS follows"
        " FROM performance_schema.global_status WHERE VARIABLE_NAME = %s",
        (variable(session, "rpl_semi_sync_source_wait_sessions", within=within),),
        within=within,
    )
    waiting = int(row["waiting"])
    clients = waiting and not (applier_may_wait and int(row["follows"]))
    if not int(row["read_only"]) or clients:
        raise HaError(
            "commits_wait",
            f"{session.name}: {waiting} commits wait for their acknowledgement; semi-sync stays on"
            if clients
            else f"{session.name}: it takes writes; semi-sync stays on",
            evidence={"member": session.name, **row},
            next_step="Let its acknowledgers return, or end its application sessions first.",
        )
    name = variable(session, "rpl_semi_sync_source_enabled", within=within)
    session.execute(f"SET GLOBAL {name} = OFF", within=within)


# --- the replica side ------------------------------------------------------------------------------------------------
def set_acknowledge(session: Session, on: bool, *, within: float) -> None:
    """Whether this replica acknowledges. It takes effect when the receiver connects the next time."""
    name = variable(session, "rpl_semi_sync_replica_enabled", within=within)
    session.execute(f"SET GLOBAL {name} = {'ON' if on else 'OFF'}", within=within)
