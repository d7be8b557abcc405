# SPDX-License-Identifier: BSD-2-Clause
"""The one statement that a member is asked in each tick, and its answer as a value.

What it costs the server is bounded by what it reads: global variables, the newest row of ``term`` and one row of
``heartbeat`` (both by primary key, from the buffer pool, so it is answered while the disk hangs), one row of
``replication_connection_status``. Two are dearer, and each is read only where it says something: ``global_status``,
which adds up the counters of all threads, on the primary (where the source side of semi-sync is on), and
``file_summary_by_event_name``, which goes through all open files, on replicas.

Bytes written to the relay log stand for its position, which performance_schema does not have: they grow while a single
large transaction is being received, when neither the heartbeat count nor the last queued GTID moves.
"""

from __future__ import annotations

from typing import AbstractSet, Mapping, Optional, Sequence

from ..server.dialect import Dialect
from ..server.schema import SCHEMA, term_from_row
from ..server.state import TermRow
from .sample import Sample

Row = Sequence[Optional[bytes]]
"""The columns of an answer as the server sent them; None for NULL."""

_STATUS = ("clients", "wait_sessions", "no_tx", "status")

_COLUMNS: tuple[tuple[str, str], ...] = (
    ("server_uuid", "@@GLOBAL.server_uuid"),
    ("read_only", "@@GLOBAL.read_only"),
    ("offline", "@@GLOBAL.offline_mode"),
    ("clock", "UNIX_TIMESTAMP(NOW(6))"),
    ("revision", "t.revision"),
    ("term", "t.term"),
    ("primary_uuid", "t.primary_uuid"),
    ("members", "t.members"),
    ("k", "t.k"),
    ("beat_term", "h.term"),
    ("beat_sequence", "h.sequence"),
    ("beat_written_at", "UNIX_TIMESTAMP(h.written_at)"),
    ("receiver", "c.SERVICE_STATE"),
    ("source_uuid", "c.SOURCE_UUID"),
    ("heartbeats", "c.COUNT_RECEIVED_HEARTBEATS"),
    ("last_queued", "c.LAST_QUEUED_TRANSACTION"),
    ("queueing", "c.QUEUEING_TRANSACTION"),
    ("error_number", "c.LAST_ERROR_NUMBER"),
    ("error", "c.LAST_ERROR_MESSAGE"),
    (
        "relay_bytes",
        "IF(c.SERVICE_STATE IS NULL, NULL, (SELECT SUM_NUMBER_OF_BYTES_WRITE"
        " FROM performance_schema.file_summary_by_event_name WHERE EVENT_NAME = 'wait/io/file/sql/relaylog'))",
    ),
    ("source_enabled", "{source_enabled}"),
    ("wait_count", "{wait_count}"),
    ("replica_enabled", "{replica_enabled}"),
    ("source_status", "{source_status}"),
)
NAMES = tuple(name for name, _expression in _COLUMNS)

_FROM = (
    " FROM (SELECT 1 AS one) AS one"
    f" LEFT JOIN {SCHEMA}.term AS t ON t.revision = (SELECT MAX(revision) FROM {SCHEMA}.term)"
    f" LEFT JOIN {SCHEMA}.heartbeat AS h ON h.server_uuid = t.primary_uuid"
    " LEFT JOIN performance_schema.replication_connection_status AS c ON c.CHANNEL_NAME = ''"
)


def statement(names: Dialect, known: AbstractSet[str]) -> str:
    """The statement for one server, in its words.

    :param known: its variables of semi-sync, in lower case: one that it does not have (a plugin is missing) is NULL.
    """

    def variable(name: str) -> str:
        own = names.semi_sync_variable(name)
        return f"@@GLOBAL.{own}" if own in known else "NULL"

    if variable("rpl_semi_sync_source_enabled") != "NULL":
        wanted = ", ".join(f"'{names.semi_sync_variable(f'Rpl_semi_sync_source_{name}')}'" for name in _STATUS)
        # A subquery in IF is evaluated only where it is wanted.
        status = (
            f"IF({variable('rpl_semi_sync_source_enabled')}, (SELECT GROUP_CONCAT(VARIABLE_NAME, '=', VARIABLE_VALUE)"
            f" FROM performance_schema.global_status WHERE VARIABLE_NAME IN ({wanted}, 'Uptime')), NULL)"
        )
    else:
        status = "NULL"
    values = {
        "source_enabled": variable("rpl_semi_sync_source_enabled"),
        "wait_count": variable("rpl_semi_sync_source_wait_for_replica_count"),
        "replica_enabled": variable("rpl_semi_sync_replica_enabled"),
        "source_status": status,
    }
    # Short names, for the server sends them with each answer.
    columns = ", ".join(f"{expression} AS c{number}" for number, (_name, expression) in enumerate(_COLUMNS))
    return "SELECT " + columns.format(**values) + _FROM


class Reader:
    """Makes samples of one member's rows. Keeps the last term row: its members are parsed once, not in each tick."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._key: tuple[Optional[bytes], ...] = ()
        self._term: Optional[TermRow] = None

    def read(self, row: Row, asked_at: float, answered_at: float) -> Sample:
        """
        :raises ValueError: a row that ``statement`` does not give.
        """
        if len(row) != len(_COLUMNS):
            raise ValueError(f"a row of {len(row)} columns, not {len(_COLUMNS)}")
        status = _status(row[23])
        return Sample(
            self._name,
            asked_at,
            answered_at,
            _text(row[0]),
            row[1] == b"0",
            row[2] == b"1",
            float(row[3] or 0.0),
            self._term_of(row),
            int(row[9] or 0),
            int(row[10]) if row[10] is not None else -1,
            float(row[11] or 0.0),
            _text(row[12]),
            _text(row[13]),
            int(row[14] or 0),
            _text(row[15]),
            _text(row[16]),
            int(row[17] or 0),
            _text(row[18]),
            int(row[19] or 0),
            row[20] == b"1",
            int(row[21] or 0),
            row[22] == b"1",
            status.get("status") == "ON",
            _number(status.get("clients")),
            _number(status.get("wait_sessions")),
            _number(status.get("no_tx")),
            _number(status.get("Uptime")),
        )

    def _term_of(self, row: Row) -> Optional[TermRow]:
        key = tuple(row[4:9])
        if key != self._key:
            try:
                self._term = _term(row)
            except (KeyError, TypeError) as error:
                raise ValueError("a term row that was not understood") from error
            self._key = key
        return self._term


def _term(row: Row) -> Optional[TermRow]:
    if row[4] is None:
        return None
    return term_from_row(
        {
            "revision": _text(row[4]),
            "term": _text(row[5]),
            "primary_uuid": _text(row[6]),
            "members": _text(row[7]),
            "k": _text(row[8]),
            # What a verdict does not need is not asked for in each tick.
            **_NOT_ASKED,
        }
    )


_NOT_ASKED = {
    "wait_point": "",
    "acknowledgement": "",
    "no_tx_base": 0,
    "proof": "",
    "run_id": "",
    "reason": "",
    "written_at": 0.0,
}


def _text(value: Optional[bytes]) -> str:
    return value.decode("utf-8", "replace") if value else ""


def _number(value: Optional[str]) -> Optional[int]:
    return int(value) if value is not None else None


def _status(value: Optional[bytes]) -> Mapping[str, str]:
    """``{"clients": "2", "Uptime": "17", ...}`` from ``Rpl_semi_sync_source_clients=2,Uptime=17,...``."""
    found = {}
    for pair in _text(value).split(",") if value else ():
        name, _equals, single = pair.partition("=")
        found[_SHORT.get(name.split("semi_sync_")[-1], name)] = single
    return found


_SHORT = {f"{side}_{name}": name for side in ("source", "master") for name in _STATUS}
