# SPDX-License-Identifier: BSD-2-Clause
"""Reading what a clone is decided from. Changes nothing."""

from __future__ import annotations

import configparser
import os
import time
from typing import Callable, Optional

from ..errors import HaError
from ..server import accounts
from ..server.schema import SCHEMA
from ..server.session import Login, Session, StatementFailed
from ..server.state import Member
from .plan import EQUAL, CloneFacts
from .progress import LOCAL, RUNNING, Progress, from_rows

_NO_SUCH_TABLE = 1146
_SYSTEM = "('mysql', 'sys', 'information_schema', 'performance_schema')"

_VARIABLES = (
    "SELECT LOWER(VARIABLE_NAME) AS name, VARIABLE_VALUE AS value FROM performance_schema.global_variables"
    " WHERE VARIABLE_NAME IN ({names})"
)
_PLUGINS = "SELECT PLUGIN_NAME AS name FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE'"
_SIZE = """SELECT COALESCE(SUM(ALLOCATED_SIZE), 0) AS data, COALESCE(SUM(ENCRYPTION = 'Y'), 0) AS encrypted
    FROM information_schema.INNODB_TABLESPACES"""
_TABLES = f"""SELECT
    (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN {_SYSTEM} AND TABLE_SCHEMA <> '{SCHEMA}')
        AS user_tables,
    (SELECT COUNT(*) FROM performance_schema.keyring_component_status
        WHERE STATUS_KEY = 'Component_status' AND STATUS_VALUE = 'Active')
    + (SELECT COUNT(*) FROM information_schema.PLUGINS WHERE PLUGIN_NAME LIKE 'keyring\\_%%'
        AND PLUGIN_STATUS = 'ACTIVE' AND PLUGIN_NAME <> 'keyring_udf') AS keyrings,
    (SELECT COUNT(*) FROM mysql.global_grants WHERE PRIV = 'CLONE_ADMIN' AND CONCAT(USER, '@', HOST) = CURRENT_USER())
        AS may_clone,
    (SELECT COUNT(*) FROM performance_schema.tls_channel_status
        WHERE CHANNEL = 'mysql_main' AND PROPERTY = 'Enabled' AND VALUE = 'Yes') AS tls"""
_NOT_INNODB = f"""SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME, ' (', COALESCE(ENGINE, '?'), ')') AS name
    FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN {_SYSTEM}
    AND (ENGINE IS NULL OR ENGINE <> 'InnoDB') ORDER BY name"""
# A DDL statement, LOCK INSTANCE FOR BACKUP, another clone: who holds the backup lock, or waits for it.
_BACKUP_LOCKS = """SELECT t.PROCESSLIST_ID AS id, t.PROCESSLIST_USER AS user, t.PROCESSLIST_TIME AS seconds,
        l.LOCK_STATUS AS status, LEFT(COALESCE(t.PROCESSLIST_INFO, ''), 60) AS statement
    FROM performance_schema.metadata_locks l JOIN performance_schema.threads t ON t.THREAD_ID = l.OWNER_THREAD_ID
    WHERE l.OBJECT_TYPE = 'BACKUP LOCK' AND t.PROCESSLIST_ID <> CONNECTION_ID()"""
_THREADS = """SELECT COALESCE(PROCESSLIST_USER, '') AS user, PROCESSLIST_COMMAND AS command
    FROM performance_schema.threads
    WHERE PROCESSLIST_COMMAND LIKE 'Binlog Dump%%' OR PROCESSLIST_COMMAND LIKE 'clone%%'"""
_ACCOUNT = """SELECT u.account_locked AS locked,
        (SELECT COUNT(*) FROM mysql.global_grants g
            WHERE g.USER = u.User AND g.HOST = u.Host AND g.PRIV = 'BACKUP_ADMIN') AS may
    FROM mysql.user u WHERE u.User = %s"""
_STATUS = """SELECT STATE AS state, BEGIN_TIME AS began, SOURCE AS source, PID AS thread, ERROR_NO AS error_number,
        ERROR_MESSAGE AS error, GTID_EXECUTED AS executed, BINLOG_FILE AS binlog_file,
        BINLOG_POSITION AS binlog_position FROM performance_schema.clone_status"""
_STAGES = """SELECT STAGE AS stage, STATE AS state, ESTIMATE AS estimate, DATA AS data, NETWORK AS network
    FROM performance_schema.clone_progress ORDER BY BEGIN_TIME IS NULL, BEGIN_TIME"""
# Its statement is not shown while it copies, and after a restart another connection may have that number.
_ALIVE = """SELECT (SELECT COUNT(*) FROM performance_schema.threads
        WHERE PROCESSLIST_ID = %s AND PROCESSLIST_COMMAND = 'Query' AND PROCESSLIST_ID <> CONNECTION_ID()) AS there,
    (SELECT TIMESTAMPADD(SECOND, -VARIABLE_VALUE, NOW(6)) FROM performance_schema.global_status
        WHERE VARIABLE_NAME = 'Uptime') < TIMESTAMPADD(SECOND, 2, %s) AS since"""


def read_progress(session: Session, *, within: float) -> Progress:
    """The server's last clone, running or not."""
    try:
        status = session.one(_STATUS, within=within)
        return from_rows(status, session.query(_STAGES, within=within) if status else ())
    except StatementFailed as error:
        if error.errno == _NO_SUCH_TABLE:  # the tables come with the plugin
            return Progress()
        raise


def is_alive(session: Session, progress: Progress, *, within: float) -> bool:
    """Whether that clone is at work: after a crash its row may still say so."""
    if progress.state != RUNNING:
        return False
    row = session.one(_ALIVE, (progress.thread, progress.began), within=within)
    return bool(row["there"]) and bool(row["since"])


def read_clone_facts(
    session: Session,
    clone_user: str,
    *,
    within: float,
    password_works: Optional[Callable[[], bool]] = None,
    free: Optional[int] = None,
) -> CloneFacts:
    """What one server says.

    :param password_works: tries the clone account's password on this server; see ``trying``.
    :param free: bytes left where its data lie, when somebody looked; else it is looked here, on the server's own host.
    :raises StatementFailed: see ``Session.query``.
    """
    ends = time.monotonic() + within

    def left() -> float:
        return max(ends - time.monotonic(), 0.001)

    names = (*EQUAL, "max_allowed_packet", "mysqlx_port", "datadir", "server_uuid")
    placeholders = ", ".join(["%s"] * len(names))
    rows = session.query(_VARIABLES.format(names=placeholders), names, within=left())
    variables = {str(row["name"]): str(row["value"]) for row in rows}
    plugins = frozenset(str(row["name"]) for row in session.query(_PLUGINS, within=left()))
    size = session.one(_SIZE, within=left())
    tables = session.one(_TABLES, within=left())
    threads = session.query(_THREADS, within=left())
    progress = read_progress(session, within=left())
    alive = is_alive(session, progress, within=left())
    return CloneFacts(
        variables=variables,
        plugins=plugins,
        data=int(size["data"]),
        user_tables=int(tables["user_tables"]),
        not_innodb=tuple(str(row["name"]) for row in session.query(_NOT_INNODB, within=left())),
        encrypted=int(size["encrypted"]),
        keyring=bool(tables["keyrings"]),
        lends=any(str(row["command"]).lower().startswith("clone") for row in threads),
        backup_locks=tuple(
            f"connection {row['id']} of {row['user']}, {row['status'].lower()}, {row['seconds']} s: {row['statement']}"
            for row in session.query(_BACKUP_LOCKS, within=left())
        ),
        sources_of=tuple(str(row["user"]) for row in threads if str(row["command"]).startswith("Binlog Dump")),
        clone=progress,
        running=alive and progress.source != LOCAL,
        local_running=alive and progress.source == LOCAL,
        may_clone=bool(tables["may_clone"]),
        tls=bool(tables["tls"]),
        account=_account(session, clone_user, left(), password_works),
        free=free if free is not None else free_here(variables),
    )


def _account(session: Session, user: str, within: float, password_works: Optional[Callable[[], bool]]) -> str:
    """What is wrong with the clone account."""
    rows = session.query(_ACCOUNT, (user,), within=within)
    if not rows:
        return f"{user} does not exist"
    if all(str(row["locked"]) == "Y" for row in rows):
        return f"{user} is locked"
    if not any(int(row["may"]) for row in rows):
        return f"{user} has no BACKUP_ADMIN"
    if password_works is not None and not password_works():
        return f"{user} is not let in with the password that was given"
    return ""


def trying(member: Member, login: Login, *, within: float) -> Callable[[], bool]:
    """Tries that login where the recipient will use it. A server that can not be asked is not the account's fault."""

    def try_it() -> bool:
        account = accounts.Account(login.user, "%", accounts.CLONE)
        try:
            return accounts.password_works(member.host, member.replication_port, account, login, within=within)
        except HaError:
            return True

    return try_it


def free_here(variables: dict[str, str]) -> Optional[int]:
    """Free bytes of the file system of that server's data directory, if this is its host: ``auto.cnf`` names it."""
    datadir = variables.get("datadir", "")
    if not datadir or server_uuid_of(datadir) != variables.get("server_uuid", "").lower():
        return None
    try:
        about = os.statvfs(datadir)
    except OSError:
        return None
    return about.f_bavail * about.f_frsize


def server_uuid_of(datadir: str) -> str:
    """The server_uuid that a data directory on this host belongs to; empty where there is none, or it is not ours to
    read."""
    parser = configparser.ConfigParser()
    try:
        with open(os.path.join(datadir, "auto.cnf"), encoding="utf-8") as file:
            parser.read_string(file.read())
    except (OSError, UnicodeDecodeError, configparser.Error):
        return ""
    return parser.get("auto", "server-uuid", fallback="").strip().lower()
