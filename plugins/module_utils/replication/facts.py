# SPDX-License-Identifier: BSD-2-Clause
"""Reading what convergence needs to know besides the state. Changes nothing.

The list of tables is read on servers that hold data and could become primary; everything is one statement a question.
"""

from __future__ import annotations

import time
from typing import Sequence

from ..clone.facts import is_alive, read_progress
from ..clone.plan import was_wrecked
from ..clone.progress import LOCAL
from ..server import schema
from ..server.schema import SCHEMA, TABLES
from ..server.session import Session, StatementFailed
from .situation import ServerFacts

_SYSTEM = "('mysql', 'sys', 'information_schema', 'performance_schema')"

_TABLES = f"""SELECT t.TABLE_SCHEMA AS s, t.TABLE_NAME AS t, t.ENGINE AS engine, c.CONSTRAINT_NAME IS NULL AS keyless
    FROM information_schema.TABLES t LEFT JOIN information_schema.TABLE_CONSTRAINTS c
        ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME AND c.CONSTRAINT_TYPE = 'PRIMARY KEY'
    WHERE t.TABLE_TYPE = 'BASE TABLE' AND t.TABLE_SCHEMA NOT IN {_SYSTEM} AND t.TABLE_SCHEMA <> '{SCHEMA}'
        AND (c.CONSTRAINT_NAME IS NULL OR t.ENGINE IS NULL OR t.ENGINE <> 'InnoDB')
    ORDER BY s, t"""

_COUNTS = f"""SELECT
    (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN {_SYSTEM} AND TABLE_SCHEMA <> '{SCHEMA}')
        AS user_tables,
    (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{SCHEMA}'
        AND TABLE_NAME IN {TABLES}) AS own_tables,
    (SELECT COUNT(*) FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone' AND PLUGIN_STATUS = 'ACTIVE')
        AS clone_active"""

_ACCOUNTS = """SELECT User AS user, MIN(account_locked) AS locked FROM mysql.user
    WHERE LEFT(User, CHAR_LENGTH(%s)) = %s GROUP BY User"""

# Accounts of the replicas attached here, by their dump threads.
DUMP_THREADS = """SELECT PROCESSLIST_ID AS id, PROCESSLIST_USER AS user FROM performance_schema.threads
    WHERE PROCESSLIST_COMMAND LIKE 'Binlog Dump%%' AND LEFT(PROCESSLIST_USER, CHAR_LENGTH(%s)) = %s"""

_FILTERS = """SELECT CONCAT(FILTER_NAME, '=', FILTER_RULE) AS rule
        FROM performance_schema.replication_applier_global_filters
    UNION SELECT CONCAT(FILTER_NAME, '=', FILTER_RULE) FROM performance_schema.replication_applier_filters"""

_WORKER = """SELECT LAST_ERROR_MESSAGE AS message FROM performance_schema.replication_applier_status_by_worker
    WHERE CHANNEL_NAME = '' AND LAST_ERROR_NUMBER <> 0 ORDER BY LAST_ERROR_TIMESTAMP DESC LIMIT 1"""


def read_facts(session: Session, prefix: str, *, within: float, tables: bool = True) -> ServerFacts:
    """What one server says.

    :param prefix: of the replication accounts' names.
    :param tables: also those that are not fit for lossless replication; of many, that takes its time.
    :raises StatementFailed: see ``Session.query``.
    """
    ends = time.monotonic() + within

    def left() -> float:
        return max(ends - time.monotonic(), 0.001)

    unfit = session.query(_TABLES, within=left()) if tables else ()
    counts = session.one(_COUNTS, within=left())
    accounts = session.query(_ACCOUNTS, (prefix, prefix), within=left())
    dumps = session.query(DUMP_THREADS, (prefix, prefix), within=left())
    clone = read_progress(session, within=left())
    cloning = clone.source if clone.source != LOCAL and is_alive(session, clone, within=left()) else ""
    return ServerFacts(
        without_primary_key=tuple(f"{row['s']}.{row['t']}" for row in unfit if row["keyless"]),
        not_innodb=tuple(f"{row['s']}.{row['t']} ({row['engine']})" for row in unfit if row["engine"] != "InnoDB"),
        user_tables=int(counts["user_tables"]),
        own_schema=int(counts["own_tables"]) == len(TABLES),
        replication_accounts={str(row["user"]): str(row["locked"]) == "Y" for row in accounts},
        dump_users=tuple(sorted({str(row["user"]) for row in dumps})),
        filters=(
            *(str(row["rule"]) for row in session.query(_FILTERS, within=left())),
            *_binlog_filters(session, left()),
        ),
        clone_active=bool(counts["clone_active"]),
        returns=schema.read_returns(session, within=left()),
        cloning=cloning,
        wrecked=was_wrecked(clone, int(counts["user_tables"])),
        applier_error=str(session.one(_WORKER, within=left()).get("message") or ""),
    )


def _binlog_filters(session: Session, within: float) -> Sequence[str]:
    """Databases that the server does not write into its binary log."""
    statement = session.dialect.binary_log_status if session.dialect else "SHOW BINARY LOG STATUS"
    try:
        row = session.one(statement, within=within)
    except StatementFailed as error:
        if error.errno == 1381:  # no binary log: that is drift, and refused as such
            return ()
        raise
    return [f"{name.lower()}={row[name]}" for name in ("Binlog_Do_DB", "Binlog_Ignore_DB") if str(row.get(name) or "")]
