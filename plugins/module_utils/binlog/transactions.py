# SPDX-License-Identifier: BSD-2-Clause
"""Which events make one transaction, and what it did. Pure: events in, ``Transaction`` out.

A transaction begins with a GTID event. If a ``BEGIN`` or ``XA START`` follows, it goes on to an XID, an XA_PREPARE, a
``COMMIT`` or a ``ROLLBACK``; otherwise its one statement (DDL, ``XA COMMIT``) is the whole of it. A compressed
transaction is one TRANSACTION_PAYLOAD event, whose contents obey the same grammar.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Optional

from . import events
from .events import Gtid, GtidEvent, Kind

MOST_STATEMENTS = 16
"""How many different statements a transaction's description keeps."""


@dataclasses.dataclass(frozen=True)
class TableTouched:
    """A table and how many row *events* of each kind (an event holds one row or many)."""

    schema: str
    table: str
    write: int = 0
    update: int = 0
    delete: int = 0


@dataclasses.dataclass(frozen=True)
class Statement:
    """A logged statement, by its default schema and its first words: no values, no secrets."""

    schema: str
    verb: str


@dataclasses.dataclass(frozen=True)
class Transaction:
    """One transaction of a file, at ``start`` (its GTID event) up to ``end``, not included.

    :param gtid: None when it is anonymous, or when its GTID event lies in an earlier file (a relay log may do that).
    :param announced_length: its length as the GTID event tells it; 0 when untold. Equal to ``end - start`` for every
        complete transaction of a binary log, also of a compressed one.
    :param ends: ``xid``, ``commit``, ``rollback``, ``query`` (one statement), ``xa_prepare``, ``xa_commit``,
        ``xa_commit_one_phase``, ``xa_rollback``, ``payload`` (compressed and not looked into), ``incident``, or empty
        when it is not complete.
    :param xid: the number, or for XA the name, under which the storage engine prepared it; empty when it did not, and
        then it cannot be rolled back by crash recovery.
    :param compression: ``zstd``, ``none`` or empty (not a payload).
    :param contents_known: False when it is compressed and this Python cannot decompress it: ``tables``,
        ``statements`` and ``ends`` do not tell the contents then.
    """

    gtid: Optional[Gtid]
    start: int
    end: int
    timestamp: int
    server_id: int
    original_commit_timestamp: int
    immediate_commit_timestamp: int
    announced_length: int
    events: int
    tables: tuple[TableTouched, ...]
    statements: tuple[Statement, ...]
    ends: str
    complete: bool
    xid: str
    compression: str
    contents_known: bool

    @property
    def length(self) -> int:
        return self.end - self.start

    def as_result(self) -> dict[str, Any]:
        """JSON-able, without the offsets: what it did, not where it lay."""
        return {
            "gtid": str(self.gtid) if self.gtid else "",
            "timestamp": self.timestamp,
            "server_id": self.server_id,
            "original_commit_timestamp": self.original_commit_timestamp,
            "immediate_commit_timestamp": self.immediate_commit_timestamp,
            "events": self.events,
            "tables": [dataclasses.asdict(table) for table in self.tables],
            "statements": [dataclasses.asdict(statement) for statement in self.statements],
            "ends": self.ends,
            "xid": self.xid,
            "compression": self.compression,
            "contents_known": self.contents_known,
        }


class Building:
    """A transaction whose events arrive one after the other."""

    def __init__(self, start: int, header: events.Header, begin: Optional[GtidEvent]) -> None:
        self._start = start
        self._end = start
        self._timestamp = header.timestamp
        self._server_id = header.server_id
        self._begin = begin
        self._in_block = begin is None
        self._events = 0
        self._maps: dict[int, tuple[str, str]] = {}
        self._tables: dict[tuple[str, str], dict[str, int]] = {}
        self._statements: dict[Statement, None] = {}
        self._ends = ""
        self._xid = ""
        self._compression = ""
        self._contents_known = True

    @property
    def ended(self) -> bool:
        return bool(self._ends)

    def reach(self, end: int) -> None:
        """The file's events up to here belong to it."""
        self._end = end
        self._events += 1

    def feed(self, kind: int, body: bytes, format_: events.FormatDescription) -> None:
        """Take in one event after the GTID event.

        :raises HaError: ``binlog_event_malformed``.
        """
        if kind == Kind.QUERY:
            self._query(events.decode_query(body, format_))
        elif kind == Kind.TABLE_MAP:
            self._in_block = True
            table = events.decode_table_map(body, format_)
            self._maps[table.table_id] = (table.schema, table.table)
        elif kind in events.ROWS_KINDS:
            rows = events.decode_rows(body, kind, format_)
            name = self._maps.get(rows.table_id)
            if name:  # without a map it is the dummy event that ends a statement which changed nothing
                counts = self._tables.setdefault(name, {"write": 0, "update": 0, "delete": 0})
                counts[rows.operation] += 1
        elif kind == Kind.XID:
            self._xid = str(events.decode_xid(body))
            self._ends = "xid"
        elif kind == Kind.XA_PREPARE:
            prepared = events.decode_xa_prepare(body)
            self._xid = prepared.xid
            self._ends = "xa_commit_one_phase" if prepared.one_phase else "xa_prepare"
        elif kind == Kind.INCIDENT:
            self._ends = "incident"
        elif kind == Kind.EXECUTE_LOAD_QUERY:
            self._in_block = True

    def payload(self, compression: str, contents_known: bool) -> None:
        """It was compressed; what could be seen inside has been fed. A payload is always the rest of a transaction."""
        self._compression = compression
        self._contents_known = contents_known
        self._ends = self._ends or "payload"

    def _query(self, query: events.Query) -> None:
        verb = events.statement_verb(query.text)
        if query.text == "BEGIN" or verb == "XA START":
            self._in_block = True
            return
        rollback = verb.startswith("ROLLBACK") and not verb.startswith("ROLLBACK TO")
        if verb == "XA ROLLBACK":
            self._ends = "xa_rollback"
        elif self._in_block and query.text == "COMMIT":
            self._ends = "commit"
        elif self._in_block and rollback:
            self._ends = "rollback"
        elif not self._in_block:
            self._ends = "xa_commit" if verb == "XA COMMIT" else "query"
            self._xid = "" if query.xid is None else str(query.xid)
        if verb in ("SAVEPOINT", "ROLLBACK TO", "XA END", "COMMIT", "ROLLBACK") or self._ends in ("commit", "rollback"):
            return
        if verb in ("XA COMMIT", "XA ROLLBACK"):
            self._xid = query.text[len(verb) :].strip()[:300]
        elif len(self._statements) < MOST_STATEMENTS:
            self._statements[Statement(query.schema, verb)] = None

    def done(self, *, complete: bool) -> Transaction:
        begin = self._begin or GtidEvent(None)
        return Transaction(
            gtid=begin.gtid,
            start=self._start,
            end=self._end,
            timestamp=self._timestamp,
            server_id=self._server_id,
            original_commit_timestamp=begin.original_commit_timestamp,
            immediate_commit_timestamp=begin.immediate_commit_timestamp,
            announced_length=begin.transaction_length,
            events=self._events,
            tables=tuple(TableTouched(schema, table, **counts) for (schema, table), counts in self._tables.items()),
            statements=tuple(self._statements),
            ends=self._ends if complete else "",
            complete=complete,
            xid=self._xid,
            compression=self._compression,
            contents_known=self._contents_known,
        )
