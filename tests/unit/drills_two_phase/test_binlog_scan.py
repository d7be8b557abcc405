# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a binary log file is whole, cut at every byte."""

from __future__ import annotations

import struct

import pytest

from drills.two_phase.binlog import GTID, GTID_TAGGED, MAGIC, QUERY, ROTATE, XA_PREPARE, XID, scan

FORMAT, PREVIOUS, TABLE_MAP, ROWS = 15, 35, 19, 30


def event(kind: int, body: bytes = b"1234") -> bytes:
    return struct.pack("<IBIIIH", 0, kind, 1, 19 + len(body), 0, 0) + body


def query(statement: str, schema: bytes = b"db", variables: bytes = b"\x01\x02\x03") -> bytes:
    head = struct.pack("<IIBHH", 9, 0, len(schema), 0, len(variables))
    return event(QUERY, head + variables + schema + b"\0" + statement.encode() + b"crc!")


def transaction(rows: int = 1, gtid: int = GTID) -> bytes:
    return event(gtid) + query("BEGIN") + event(TABLE_MAP) + event(ROWS, b"r" * 50) * rows + event(XID)


HEAD = MAGIC + event(FORMAT) + event(PREVIOUS)


@pytest.mark.parametrize(
    ("what", "content", "transactions"),
    [
        ("nothing", b"", 0),
        ("one", transaction(), 1),
        ("three, one of them with a tag", transaction() + transaction(3, GTID_TAGGED) + transaction(), 3),
        ("DDL stands alone", event(GTID) + query("CREATE TABLE t (id INT)"), 1),
        ("a table made of a query", event(GTID) + query("CREATE TABLE t START TRANSACTION") + event(XID), 1),
        ("a savepoint", event(GTID) + query("BEGIN") + query("SAVEPOINT `here`") + event(ROWS) + event(XID), 1),
        ("other engines end with a statement", event(GTID) + query("BEGIN") + event(ROWS) + query("COMMIT"), 1),
        ("prepared XA", event(GTID) + query("XA START X'61',X'',1") + event(ROWS) + event(XA_PREPARE), 1),
        ("the file goes on elsewhere", transaction() + event(ROTATE), 1),
    ],
)
def test_a_whole_file_has_no_tail(what: str, content: bytes, transactions: int) -> None:
    found = scan(HEAD + content)
    assert (found.transactions, found.torn, found.whole) == (transactions, 0, len(HEAD + content)), what


def test_wherever_the_last_transaction_is_cut_off_all_of_it_is_the_tail() -> None:
    first, second = transaction(2), transaction(4)
    whole = HEAD + first
    for length in range(1, len(second)):
        found = scan(whole + second[:length])
        assert (found.whole, found.transactions, found.torn) == (len(whole), 1, length)
        assert (found.largest, found.last_began) == (len(first), len(HEAD))
    found = scan(whole + second)
    assert (found.torn, found.largest, found.last_began) == (0, len(second), len(whole))


def test_a_header_that_promises_more_than_there_is_or_less_than_itself_is_torn() -> None:
    for length in (0, 18, 500):
        broken = struct.pack("<IBIIIH", 0, GTID, 1, length, 0, 0) + b"1234"
        assert scan(HEAD + broken).torn == len(broken)


def test_a_file_that_was_just_being_made_holds_nothing() -> None:
    assert [scan(MAGIC[:length]).torn for length in range(len(MAGIC) + 1)] == [0, 1, 2, 3, 4]


def test_what_is_no_binary_log_is_refused() -> None:
    with pytest.raises(ValueError, match="no binary log"):
        scan(b"\xfeboo" + transaction())
