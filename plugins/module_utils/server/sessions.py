# SPDX-License-Identifier: BSD-2-Clause
"""The sessions of clients on one server: who is there, and how one of them is ended."""

from __future__ import annotations

import dataclasses

from .session import Session, StatementFailed

ENDED, GONE, REFUSED = "ended", "gone", "refused"
"""What became of an attempt to end a session: it was killed, it was not there any more, or this account may not."""

_NO_SUCH_THREAD = 1094
_MAY_NOT_KILL = 1095

SERVERS_OWN = frozenset(
    {"system user", "event_scheduler", "unauthenticated user", "mysql.session", "mysql.sys", "mysql.infoschema"}
)

# Not the dump threads: with one of them an acknowledgement may still come. That a session was killed is in the old
# process list alone: performance_schema says Query for as long as its commit waits (seen in 9.7.4).
_CLIENTS = """SELECT t.PROCESSLIST_ID AS id, t.PROCESSLIST_USER AS user, COALESCE(p.COMMAND = 'Killed', 0) AS killed
    FROM performance_schema.threads t LEFT JOIN information_schema.PROCESSLIST p ON p.ID = t.PROCESSLIST_ID
    WHERE t.TYPE = 'FOREGROUND' AND t.PROCESSLIST_ID IS NOT NULL AND t.PROCESSLIST_ID <> CONNECTION_ID()
    AND t.PROCESSLIST_USER IS NOT NULL AND t.NAME NOT LIKE 'thread/sql/event%'
    AND COALESCE(t.PROCESSLIST_COMMAND, '') NOT IN ('Binlog Dump', 'Binlog Dump GTID', 'Daemon')"""


@dataclasses.dataclass(frozen=True)
class Client:
    """``killed``: its connection is shut already, and the statement that it ran has not ended yet: a commit that waits
    for its acknowledgement goes on waiting, and nobody will be told how it ended."""

    id: int
    user: str
    killed: bool


def clients(session: Session, *, within: float) -> list[Client]:
    """Every session but this one, those of the server itself, and those that send a binary log."""
    rows = session.query(_CLIENTS, within=within)
    found = [Client(int(row["id"]), str(row["user"]), bool(row["killed"])) for row in rows]
    return [client for client in found if client.user not in SERVERS_OWN]


def end(session: Session, client: int, *, within: float) -> str:
    """Shut a session's connection, and end what it does where that can be ended.

    :returns: ``ENDED``, ``GONE`` or ``REFUSED``.
    """
    try:
        session.execute(f"KILL CONNECTION {int(client)}", within=within)
    except StatementFailed as error:
        if error.errno == _MAY_NOT_KILL:
            return REFUSED
        if error.errno == _NO_SUCH_THREAD:
            return GONE
        raise
    return ENDED
