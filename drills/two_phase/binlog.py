"""How far a binary log file is whole: read by its framing alone, without a line of the collection. Pure.

A transaction begins with a GTID event. It ends with its XID (or XA) event, or with a statement that is a transaction of
its own: DDL. What follows the last whole transaction was being written when the server was killed; crash recovery has
to cut it off.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"\xfebin"
_HEADER = struct.Struct("<IBIIIH")
"""timestamp, type, server_id, length, end position, flags"""
_QUERY = struct.Struct("<IIBHH")
"""thread, seconds, length of the schema's name, error, length of the variables"""
QUERY, ROTATE, XID, GTID, ANONYMOUS_GTID, XA_PREPARE, GTID_TAGGED = 2, 4, 16, 33, 34, 38, 42
CHECKSUM = 4


@dataclass(frozen=True)
class Scan:
    """``whole``: where the last whole event outside of a transaction, or the last whole transaction, ends.

    ``largest``: bytes of the largest whole transaction; ``last_began``: where the last whole one begins, 0 without one.
    """

    size: int
    whole: int
    transactions: int
    largest: int
    last_began: int

    @property
    def torn(self) -> int:
        """Bytes that belong to no whole transaction."""
        return self.size - self.whole


def scan(content: bytes) -> Scan:
    """Of a file that was just being made, nothing may be there yet.

    :raises ValueError: no binary log file.
    """
    if MAGIC.startswith(content):
        return Scan(len(content), 0, 0, 0, 0)
    whole = len(MAGIC)
    began = last_began = transactions = largest = 0
    for position, kind, body in events(content):
        end = position + _HEADER.size + len(body)
        if kind in (GTID, GTID_TAGGED, ANONYMOUS_GTID):
            began = position
        elif not began:
            whole = end
        elif kind in (XID, XA_PREPARE) or (kind == QUERY and _stands_alone(body)):
            whole, transactions = end, transactions + 1
            largest, last_began = max(largest, end - began), began
            began = 0
    return Scan(len(content), whole, transactions, largest, last_began)


def events(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Where it begins, its type and its body, of each event that is there as a whole.

    :raises ValueError: no binary log file.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise ValueError("no binary log file")
    position = len(MAGIC)
    while position + _HEADER.size <= len(content):
        _at, kind, _server, length, _end, _flags = _HEADER.unpack_from(content, position)
        if length < _HEADER.size or position + length > len(content):
            return
        yield position, kind, content[position + _HEADER.size : position + length]
        position += length


def _stands_alone(body: bytes) -> bool:
    """Whether a statement is a transaction of its own, or ends one: it neither begins one nor goes on with it."""
    _thread, _seconds, schema, _error, variables = _QUERY.unpack_from(body)
    statement = body[_QUERY.size + variables + schema + 1 : -CHECKSUM].strip().upper()
    inside = statement == b"BEGIN" or statement.startswith((b"XA START", b"XA END", b"SAVEPOINT", b"ROLLBACK TO"))
    # CREATE TABLE ... SELECT is one transaction with the rows that follow it.
    return not inside and not statement.endswith(b"START TRANSACTION")
