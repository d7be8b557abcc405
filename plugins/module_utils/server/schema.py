# SPDX-License-Identifier: BSD-2-Clause
"""The collection's own schema on the servers: its tables, and reading and writing their rows.

``term`` is append-only: the row with the highest revision is in force, the others are its history. ``heartbeat`` holds
one row for each server that ever was primary. ``rejoin`` holds one row for each return of a deposed server in a term:
what it had alone, where that is archived, and whether it was compared with the primary afterwards.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Mapping

from .session import Session, StatementFailed
from .state import VERIFIED, Heartbeat, Member, Rejoin, TermRow

SCHEMA = "lossless_ha"

CREATE = (
    f"CREATE DATABASE IF NOT EXISTS {SCHEMA} CHARACTER SET utf8mb4",
    f"""CREATE TABLE IF NOT EXISTS {SCHEMA}.term (
        revision BIGINT UNSIGNED NOT NULL PRIMARY KEY,
        term BIGINT UNSIGNED NOT NULL,
        primary_uuid CHAR(36) CHARACTER SET ascii NOT NULL,
        members JSON NOT NULL,
        k INT UNSIGNED NOT NULL,
        wait_point VARCHAR(16) CHARACTER SET ascii NOT NULL,
        acknowledgement VARCHAR(16) CHARACTER SET ascii NOT NULL,
        no_tx_base BIGINT UNSIGNED NOT NULL,
        proof VARCHAR(16) CHARACTER SET ascii NOT NULL,
        run_id VARCHAR(64) CHARACTER SET ascii NOT NULL,
        reason VARCHAR(255) NOT NULL,
        written_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
    ) ENGINE=InnoDB""",
    f"""CREATE TABLE IF NOT EXISTS {SCHEMA}.heartbeat (
        server_uuid CHAR(36) CHARACTER SET ascii NOT NULL PRIMARY KEY,
        term BIGINT UNSIGNED NOT NULL,
        sequence BIGINT UNSIGNED NOT NULL,
        written_at TIMESTAMP(6) NOT NULL,
        source_active BOOLEAN NOT NULL,
        no_tx BIGINT UNSIGNED NOT NULL,
        wait_count INT UNSIGNED NOT NULL,
        wait_point VARCHAR(16) CHARACTER SET ascii NOT NULL,
        timeout_ms BIGINT UNSIGNED NOT NULL,
        clients INT UNSIGNED NOT NULL,
        wait_no_replica BOOLEAN NOT NULL
    ) ENGINE=InnoDB""",
    f"""CREATE TABLE IF NOT EXISTS {SCHEMA}.rejoin (
        server_uuid CHAR(36) CHARACTER SET ascii NOT NULL,
        term BIGINT UNSIGNED NOT NULL,
        state VARCHAR(16) CHARACTER SET ascii NOT NULL,
        gtids LONGTEXT NOT NULL,
        archive VARCHAR(1024) NOT NULL,
        detail VARCHAR(1024) NOT NULL,
        written_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
        PRIMARY KEY (server_uuid, term)
    ) ENGINE=InnoDB""",
)

TABLES = ("term", "heartbeat", "rejoin")

SELECT_TERM = f"""SELECT revision, term, primary_uuid, members, k, wait_point, acknowledgement, no_tx_base, proof,
    run_id, reason, UNIX_TIMESTAMP(written_at) AS written_at
    FROM {SCHEMA}.term ORDER BY revision DESC LIMIT 1"""

SELECT_HEARTBEATS = f"""SELECT server_uuid, term, sequence, UNIX_TIMESTAMP(written_at) AS written_at, source_active,
    no_tx, wait_count, wait_point, timeout_ms, clients, wait_no_replica FROM {SCHEMA}.heartbeat"""

# One statement reads the semi-sync state and commits it, so a row can not testify to an older moment than its commit.
WRITE_HEARTBEAT = f"""INSERT INTO {SCHEMA}.heartbeat
    (server_uuid, term, sequence, written_at, source_active, no_tx, wait_count, wait_point, timeout_ms, clients,
        wait_no_replica)
    SELECT @@GLOBAL.server_uuid, %s, 1, NOW(6),
        MAX(IF(VARIABLE_NAME = 'Rpl_semi_sync_source_status', VARIABLE_VALUE = 'ON', 0)),
        MAX(IF(VARIABLE_NAME = 'Rpl_semi_sync_source_no_tx', CAST(VARIABLE_VALUE AS UNSIGNED), 0)),
        @@GLOBAL.rpl_semi_sync_source_wait_for_replica_count, @@GLOBAL.rpl_semi_sync_source_wait_point,
        @@GLOBAL.rpl_semi_sync_source_timeout,
        MAX(IF(VARIABLE_NAME = 'Rpl_semi_sync_source_clients', CAST(VARIABLE_VALUE AS UNSIGNED), 0)),
        @@GLOBAL.rpl_semi_sync_source_wait_no_replica
    FROM performance_schema.global_status
    WHERE VARIABLE_NAME IN
        ('Rpl_semi_sync_source_status', 'Rpl_semi_sync_source_no_tx', 'Rpl_semi_sync_source_clients')
    ON DUPLICATE KEY UPDATE term = VALUES(term), sequence = sequence + 1, written_at = VALUES(written_at),
        source_active = VALUES(source_active), no_tx = VALUES(no_tx), wait_count = VALUES(wait_count),
        wait_point = VALUES(wait_point), timeout_ms = VALUES(timeout_ms), clients = VALUES(clients),
        wait_no_replica = VALUES(wait_no_replica)"""

INSERT_TERM = f"""INSERT INTO {SCHEMA}.term
    (revision, term, primary_uuid, members, k, wait_point, acknowledgement, no_tx_base, proof, run_id, reason)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""

_MEMBER_FIELDS = (
    *("name", "server_uuid", "host", "port", "replication_port", "zone", "city", "priority", "acknowledges", "out"),
)


def member_as_dict(member: Member) -> dict[str, Any]:
    return {field: getattr(member, field) for field in _MEMBER_FIELDS}


def term_from_row(row: Mapping[str, Any]) -> TermRow:
    """A row of ``SELECT_TERM``."""
    members = tuple(
        Member(**{field: entry[field] for field in _MEMBER_FIELDS if field in entry})
        for entry in json.loads(row["members"])
    )
    return TermRow(
        revision=int(row["revision"]),
        term=int(row["term"]),
        primary_uuid=row["primary_uuid"],
        members=members,
        k=int(row["k"]),
        wait_point=row["wait_point"],
        acknowledgement=row["acknowledgement"],
        no_tx_base=int(row["no_tx_base"]),
        proof=row["proof"],
        run_id=row["run_id"],
        reason=row["reason"],
        written_at=float(row["written_at"]),
    )


def heartbeat_from_row(row: Mapping[str, Any]) -> Heartbeat:
    """A row of ``SELECT_HEARTBEATS``."""
    return Heartbeat(
        server_uuid=row["server_uuid"],
        term=int(row["term"]),
        sequence=int(row["sequence"]),
        written_at=float(row["written_at"]),
        source_active=bool(row["source_active"]),
        no_tx=int(row["no_tx"]),
        wait_count=int(row["wait_count"]),
        wait_point=row["wait_point"],
        timeout_ms=int(row["timeout_ms"]),
        clients=int(row["clients"]),
        wait_no_replica=bool(row["wait_no_replica"]),
    )


def create(session: Session, *, within: float) -> None:
    """Create what is missing. On the primary only: it replicates from there."""
    for statement in CREATE:
        session.execute(statement, within=within)


def write_term(session: Session, row: TermRow, *, within: float) -> None:
    """Append a revision, and in the same transaction the primary's first testimony under it.

    Its commit waits for k acknowledgements like any other: that it returns proves progress. Two writers of one
    revision collide on the primary key: the second is refused by the server.
    """
    members = json.dumps([member_as_dict(m) for m in row.members], sort_keys=True)
    session.execute("START TRANSACTION", within=within)
    try:
        session.execute(
            INSERT_TERM,
            (
                row.revision,
                row.term,
                row.primary_uuid,
                members,
                row.k,
                row.wait_point,
                row.acknowledgement,
                row.no_tx_base,
                row.proof,
                row.run_id,
                row.reason,
            ),
            within=within,
        )
        session.execute(WRITE_HEARTBEAT, (row.term,), within=within)
    except StatementFailed:
        if session.usable:
            session.execute("ROLLBACK", within=within)
        raise
    session.execute("COMMIT", within=within)


def write_heartbeat(session: Session, term: int, *, within: float) -> None:
    """Commit this server's heartbeat row. Returns when k acknowledgers have it."""
    session.execute(WRITE_HEARTBEAT, (term,), within=within)


_WRITE_REJOIN = f"""INSERT INTO {SCHEMA}.rejoin (server_uuid, term, state, gtids, archive, detail)
    VALUES (%s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE state = VALUES(state), gtids = VALUES(gtids),
        archive = VALUES(archive), detail = VALUES(detail)"""

_SELECT_RETURNS = f"SELECT server_uuid, state FROM {SCHEMA}.rejoin ORDER BY term"
_NO_SUCH_THING = frozenset({1049, 1146})


def read_returns(session: Session, *, within: float) -> dict[str, str]:
    """How each server's last return ended, by server_uuid; nothing where the table is not there yet."""
    try:
        rows = session.query(_SELECT_RETURNS, within=within)
    except StatementFailed as error:
        if error.errno in _NO_SUCH_THING:
            return {}
        raise
    return {str(row["server_uuid"]): str(row["state"]) for row in rows}


def was_cloned(session: Session, server_uuid: str, donor: str, *, within: float) -> None:
    """Whatever its return had come to: its data are a donor's now. On the primary."""
    session.execute(
        f"UPDATE {SCHEMA}.rejoin SET state = %s, detail = %s WHERE server_uuid = %s AND state <> %s",
        (VERIFIED, f"cloned from {donor}", server_uuid, VERIFIED),
        within=within,
    )


def write_rejoin(session: Session, row: Rejoin, *, within: float) -> None:
    """On the primary only: it replicates from there."""
    values = (row.server_uuid, row.term, row.state, row.gtids, row.archive[:1024], row.detail[:1024])
    session.execute(_WRITE_REJOIN, values, within=within)


def revised(row: TermRow, **changes: Any) -> TermRow:
    """The next revision of a term row."""
    return dataclasses.replace(row, revision=row.revision + 1, written_at=0.0, **changes)
