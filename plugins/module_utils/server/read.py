# SPDX-License-Identifier: BSD-2-Clause
"""Reading one server's state: five statements on one connection, none of which changes anything."""

from __future__ import annotations

import time
from typing import Any, Mapping, Optional

from ..gtid import GtidSet
from . import dialect, schema, settings
from .session import Row, Session, StatementFailed
from .state import Applier, Heartbeat, Receiver, SemiSync, ServerState, TermRow

_IDENTITY = (
    "server_uuid",
    "server_id",
    "version",
    "version_comment",
    "gtid_executed",
    "gtid_purged",
    "read_only",
    "super_read_only",
    "offline_mode",
)

_VARIABLES = (
    "SELECT LOWER(VARIABLE_NAME) AS name, VARIABLE_VALUE AS value FROM performance_schema.global_variables"
    " WHERE VARIABLE_NAME IN ({names}) OR VARIABLE_NAME LIKE 'rpl\\_semi\\_sync\\_%%'"
    " UNION ALL SELECT LOWER(VARIABLE_NAME), VARIABLE_VALUE FROM performance_schema.global_status"
    " WHERE VARIABLE_NAME LIKE 'Rpl\\_semi\\_sync\\_%%' OR VARIABLE_NAME = 'Uptime'"
    " UNION ALL SELECT '@clock', UNIX_TIMESTAMP(NOW(6))"
    " UNION ALL SELECT CONCAT('@persisted.', LOWER(VARIABLE_NAME)), VARIABLE_VALUE"
    " FROM performance_schema.persisted_variables"
)
_CONNECTION = """SELECT SERVICE_STATE AS state, RECEIVED_TRANSACTION_SET AS retrieved,
    COUNT_RECEIVED_HEARTBEATS AS heartbeats, UNIX_TIMESTAMP(LAST_HEARTBEAT_TIMESTAMP) AS last_heartbeat_at,
    UNIX_TIMESTAMP(LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP) AS last_queued_at,
    UNIX_TIMESTAMP(LAST_QUEUED_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP) AS last_queued_committed_at,
    c.HEARTBEAT_INTERVAL AS heartbeat_period
    FROM performance_schema.replication_connection_status s
    JOIN performance_schema.replication_connection_configuration c USING (CHANNEL_NAME)
    WHERE CHANNEL_NAME = ''"""

_NO_SUCH_THING = frozenset({1049, 1146})


def read_state(session: Session, *, within: float) -> ServerState:
    """Everything the deciders need to know about one server.

    :param within: seconds for all statements together.
    :raises StatementFailed: see ``Session.query``.
    """
    started = time.monotonic()

    def left() -> float:
        return max(within - (time.monotonic() - started), 0.001)

    names = _IDENTITY + settings.NAMES
    placeholders = ", ".join(["%s"] * len(names))
    rows = session.query(_VARIABLES.format(names=placeholders), names, within=left())
    values = {str(row["name"]): str(row["value"]) for row in rows}
    session.dialect = dialect.probe(session.version, values)
    channels = session.query("SHOW REPLICA STATUS", within=left())
    connection = session.one(_CONNECTION, within=left()) if channels else {}
    term, heartbeats = _own_rows(session, left)
    status = next((row for row in channels if row.get("Channel_Name", "") == ""), None)
    return ServerState(
        name=session.name,
        server_uuid=values["server_uuid"].lower(),
        server_id=int(values["server_id"]),
        version=values["version"],
        version_comment=values["version_comment"],
        executed=GtidSet.parse(values["gtid_executed"]),
        purged=GtidSet.parse(values["gtid_purged"]),
        read_only=_on(values["read_only"]),
        super_read_only=_on(values["super_read_only"]) and _on(values["read_only"]),
        offline_mode=_on(values["offline_mode"]),
        uptime=int(values.get("uptime", 0)),
        clock=float(values["@clock"]),
        receiver=_receiver(status, connection) if status else None,
        applier=_applier(status) if status else None,
        channels=tuple(str(row.get("Channel_Name", "")) for row in channels),
        semi_sync=_semi_sync(values, session.dialect),
        term=term,
        heartbeats=heartbeats,
        settings={name: value for name, value in values.items() if name not in _IDENTITY},
        asked_at=started,
        answered_at=time.monotonic(),
    )


def _own_rows(session: Session, left: Any) -> tuple[Optional[TermRow], tuple[Heartbeat, ...]]:
    """The rows of our own schema; a server that has none yet is no error."""
    try:
        term = session.one(schema.SELECT_TERM, within=left())
        beats = session.query(schema.SELECT_HEARTBEATS, within=left())
    except StatementFailed as error:
        if error.errno in _NO_SUCH_THING:
            return None, ()
        raise
    return (
        schema.term_from_row(term) if term else None,
        tuple(schema.heartbeat_from_row(row) for row in beats),
    )


def _on(value: str) -> bool:
    return value.upper() in ("ON", "1", "YES")


def _receiver(status: Row, connection: Mapping[str, Any]) -> Receiver:
    running = str(status["Replica_IO_Running"])
    state = {"Yes": "ON", "Connecting": "CONNECTING"}.get(running, "OFF")
    return Receiver(
        state=state,
        source_host=str(status["Source_Host"]),
        source_port=int(status["Source_Port"]),
        source_uuid=str(status["Source_UUID"]).lower(),
        user=str(status["Source_User"]),
        retrieved=GtidSet.parse(str(connection.get("retrieved") or status["Retrieved_Gtid_Set"] or "")),
        auto_position=bool(int(status["Auto_Position"])),
        ssl=str(status["Source_SSL_Allowed"]) == "Yes",
        ssl_verify=str(status["Source_SSL_Verify_Server_Cert"]) == "Yes",
        connect_retry=int(status["Connect_Retry"]),
        heartbeat_period=float(connection.get("heartbeat_period") or 0.0),
        heartbeats=int(connection.get("heartbeats") or 0),
        last_heartbeat_at=float(connection.get("last_heartbeat_at") or 0.0),
        last_queued_at=float(connection.get("last_queued_at") or 0.0),
        last_queued_committed_at=float(connection.get("last_queued_committed_at") or 0.0),
        error_number=int(status["Last_IO_Errno"]),
        error=str(status["Last_IO_Error"]),
    )


def _applier(status: Row) -> Applier:
    filters = (
        "Replicate_Do_DB",
        "Replicate_Ignore_DB",
        "Replicate_Do_Table",
        "Replicate_Ignore_Table",
        "Replicate_Wild_Do_Table",
        "Replicate_Wild_Ignore_Table",
        "Replicate_Rewrite_DB",
    )
    return Applier(
        state="ON" if str(status["Replica_SQL_Running"]) == "Yes" else "OFF",
        delay=int(status["SQL_Delay"]),
        error_number=int(status["Last_SQL_Errno"]),
        error=str(status["Last_SQL_Error"]),
        filtered=any(str(status.get(name) or "") for name in filters),
    )


def _semi_sync(values: Mapping[str, str], names: dialect.Dialect) -> SemiSync:
    def value(name: str, default: str = "0") -> str:
        return values.get(names.semi_sync_variable(f"rpl_semi_sync_{name}"), default)

    return SemiSync(
        source_installed=names.semi_sync_variable("rpl_semi_sync_source_enabled") in values,
        source_enabled=_on(value("source_enabled", "OFF")),
        source_active=_on(value("source_status", "OFF")),
        clients=int(value("source_clients")),
        wait_count=int(value("source_wait_for_replica_count")),
        timeout_ms=int(value("source_timeout")),
        wait_point=value("source_wait_point", ""),
        wait_no_replica=_on(value("source_wait_no_replica", "OFF")),
        no_tx=int(value("source_no_tx")),
        yes_tx=int(value("source_yes_tx")),
        wait_sessions=int(value("source_wait_sessions")),
        replica_installed=names.semi_sync_variable("rpl_semi_sync_replica_enabled") in values,
        replica_enabled=_on(value("replica_enabled", "OFF")),
        replica_active=_on(value("replica_status", "OFF")),
    )
