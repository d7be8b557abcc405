# SPDX-License-Identifier: BSD-2-Clause
"""What a primary is at: the statements at work and the open transactions that have written rows, for ``window``.

Where it is read, as measured on MySQL 9.7:

* ``performance_schema.threads`` shows everybody's statements to whoever may SELECT. ``PROCESSLIST_TIME`` counts from
  what is CURRENT_TIMESTAMP to the statement, also while it waits for a metadata lock, when InnoDB knows of no
  transaction yet.
* ``information_schema.INNODB_TRX`` needs PROCESS. ``performance_schema.events_transactions_current`` does not, but it
  has sessions' transactions only, and whoever turns off a consumer makes it empty. A prepared XA transaction is in no
  session once its session has ended, or the server was restarted. In INNODB_TRX its session is 0 from XA PREPARE on.
* INNODB_TRX answers from a cache that is not made anew while anybody reads it more often than every 0.1 s: with a tool
  that asked each 20 ms, a new transaction did not appear at all. So a transaction of our own is begun before, and the
  answer counts once that is in it.
* ``trx_started`` is by the host's time zone, whatever the session's is.

What only reads is left out: a SELECT of hours, or a dump, keeps no window open. A statement in an open read-only
transaction writes nothing.
"""

from __future__ import annotations

import time
from typing import Callable

from ..errors import HaError
from ..server.session import Row, Session
from .window import SECOND, Activity, Transaction

_NOW = "SELECT @@server_uuid AS server, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED) AS now"
# Its seconds are whole, and so are the server's: one more.
_STATEMENTS = (
    "SELECT PROCESSLIST_ID AS session, PROCESSLIST_ID = CONNECTION_ID() AS own,"
    " CAST(UNIX_TIMESTAMP() AS SIGNED) - PROCESSLIST_TIME - 1 AS began"
    " FROM performance_schema.threads WHERE PROCESSLIST_ID IS NOT NULL AND PROCESSLIST_TIME IS NOT NULL"
    # What is at work for hours and writes no rows of this server's own.
    " AND PROCESSLIST_COMMAND NOT IN ('Sleep', 'Daemon', 'Binlog Dump', 'Binlog Dump GTID', 'Clone')"
    " AND NAME NOT LIKE 'thread/sql/replica%' AND NAME NOT LIKE 'thread/sql/slave%'"
    " AND NAME NOT LIKE 'thread/group_rpl/%'"
)
# In a time zone with two hours of the same name, the earlier one.
_TRANSACTIONS = (
    "SELECT trx_id AS id, trx_mysql_thread_id AS session, trx_mysql_thread_id = CONNECTION_ID() AS own,"
    " trx_rows_modified AS written, trx_is_read_only AS reader, CAST(trx_started AS CHAR) AS shown,"
    " CAST(UNIX_TIMESTAMP(CONVERT_TZ(trx_started, 'SYSTEM', '+00:00')) AS SIGNED)"
    " - IF(CONVERT_TZ(CONVERT_TZ(trx_started, 'SYSTEM', '+00:00') - INTERVAL 1 HOUR, '+00:00', 'SYSTEM') = trx_started,"
    " 3600, 0) AS began FROM information_schema.INNODB_TRX"
)
_TRIES = 20
_PAUSE = 0.11
"""The cache is made anew when nobody has read it for 0.1 s."""


def activity(primary: Session, *, within: float, sleep: Callable[[float], None] = time.sleep) -> Activity:
    """Ask the primary: once in each run, before its first table.

    The session is under ``barrier.reading`` and in no transaction; its account has SELECT on performance_schema, and
    PROCESS.

    :raises StatementFailed: it did not answer, or the account may not.
    :raises HaError: ``activity_unknown``.
    """
    now = primary.one(_NOW, within=within)
    statements = primary.query(_STATEMENTS, within=within)
    if not any(row["own"] for row in statements):
        raise _unknown(primary, "performance_schema does not show the statements at work", "Set performance_schema=ON.")
    rows = _transactions(primary, within, sleep)
    readers = {row["session"] for row in rows if row["reader"] and not row["written"]}
    began = [int(row["began"]) for row in statements if not row["own"] and row["session"] not in readers]
    return Activity(
        int(now["now"]),
        min(began) * SECOND if began else None,
        tuple(_transaction(str(now["server"]), row) for row in rows if row["written"]),
    )


def _transactions(primary: Session, within: float, sleep: Callable[[float], None]) -> list[Row]:
    primary.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", within=within)
    primary.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", within=within)
    try:
        for number in range(_TRIES):
            if number:
                sleep(_PAUSE)
            rows = primary.query(_TRANSACTIONS, within=within)
            if any(row["own"] for row in rows):
                return rows
    finally:
        if primary.usable:
            primary.execute("ROLLBACK", within=within)
    raise _unknown(
        primary,
        "information_schema.INNODB_TRX answers from its cache",
        "See who reads INNODB_TRX ten times a second and more, and let it ask less often.",
    )


def _transaction(server: str, row: Row) -> Transaction:
    detached = not int(row["session"] or 0)
    # Without a session it keeps its number, also over a restart; a session's only gets one when it writes.
    name = f"x{row['id']}" if detached else f"{row['session']}@{row['shown']}"
    return Transaction(f"{server[:8]}:{name}", int(row["began"] or 0) * SECOND, detached)


def _unknown(primary: Session, why: str, next_step: str) -> HaError:
    return HaError(
        "activity_unknown",
        f"{primary.name}: {why}, so no window of recent rows is safe",
        evidence={"member": primary.name},
        next_step=next_step,
    )
