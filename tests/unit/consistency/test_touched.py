# SPDX-License-Identifier: GPL-3.0-or-later
"""What a log touched: keys where it tells them, whole tables where it does not, and nothing left out in silence."""

from __future__ import annotations

import decimal
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import changes, events, files, key_rows
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.events import Kind
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.files import BinlogFile
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.rows import Change
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.statement_names import Named
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import (
    canonical,
    key_set,
    statement_reach,
    touched,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.lookup import term
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.touched import Touched, last_writer, scan
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import EMPTY, GtidSet
from ansible_collections.lossless.mysql_ha.tests.unit.binlog import filesmith
from ansible_collections.lossless.mysql_ha.tests.unit.binlog import rowsmith as smith
from ansible_collections.lossless.mysql_ha.tests.unit.binlog.filesmith import OTHER, UUID, Event, Log
from ansible_collections.lossless.mysql_ha.tests.unit.binlog.samples import FIXTURES, SERIES, content, opened, whole
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

needs_zstd = pytest.mark.skipif(files._zstd is None, reason="neither libzstd.so.1 nor Python 3.14")
UTF8 = smith.optional(2, smith.packed(255))
FIELDS = [smith.integer(8, 8), smith.varchar(40)]
T, U = Named("bank", "t"), Named("bank", "u")


def table_map(table: str = "t", *, key: bytes | None = b"\0", names: bool = True, number: int = 7) -> Event:
    more = UTF8 + (smith.names("id", "v") if names else b"")
    if key is not None:
        more += smith.optional(8, key)
    return int(Kind.TABLE_MAP), smith.table_map(FIELDS, more, table=table, number=number)


def write(*ids: int, number: int = 7) -> Event:
    images = b"".join(smith.image(FIELDS, [each, "x"]) for each in ids)
    return int(Kind.WRITE_ROWS), smith.rows(2, images, number=number)


def delete(*ids: int) -> Event:
    return int(Kind.DELETE_ROWS), write(*ids)[1]


def update(before: int, after: int) -> Event:
    images = smith.image(FIELDS, [before, "x"]) + smith.image(FIELDS, [after, "y"])
    return int(Kind.UPDATE_ROWS), smith.rows(2, images, held=[[True] * 2] * 2)


def file_of(log: Log, name: str = "binlog.000001") -> BinlogFile:
    return BinlogFile(name, io.BytesIO(bytes(log.data)))


@pytest.fixture(name="look")
def _look(tmp_path: Path) -> Callable[..., Touched]:
    """``scan`` of logs made here, or of other files."""

    def look(*logs: Any, **how: Any) -> Touched:
        opened_files = [
            file_of(each, f"binlog.{n:06}") if isinstance(each, Log) else each for n, each in enumerate(logs, 1)
        ]
        return scan(opened_files, how.pop("wanted", None), directory=str(tmp_path / "keys"), **how)

    return look


Look = Callable[..., Touched]


def keys(found: Touched, named: Named = T) -> list[tuple[Any, ...]]:
    return sorted(found.tables[named]) if named in found.tables else []


# What real servers wrote


def of_rows_only(data: bytes) -> tuple[GtidSet, dict[Named, set[tuple[Any, ...]]], dict[Named, int]]:
    """By the full decoder: the transactions that hold nothing but decoded rows of tables with keys, and these keys."""
    file = opened(data)
    wanted, found, counts = EMPTY, {}, {}
    for each in whole(data):
        if not each.gtid:
            continue
        try:
            items = list(changes.changes(file, each.start, each.end))
        except HaError as error:
            assert error.code == "binlog_rows_unsupported"
            continue
        if not all(isinstance(item, Change) and item.table.key for item in items):
            continue
        wanted |= each.gtid.as_set()
        for item in items:
            assert isinstance(item, Change)
            names = [item.table.columns[part.column].name for part in item.table.key]
            named = Named(item.table.schema, item.table.table)
            counts[named] = counts.get(named, 0) + 1
            for image in (item.before, {**(item.before or {}), **item.after} if item.after else None):
                if image:
                    key = (image[name] for name in names)
                    found.setdefault(named, set()).add(
                        tuple(format(value, "f") if isinstance(value, decimal.Decimal) else value for value in key)
                    )
    return wanted, found, counts


@needs_zstd
@pytest.mark.parametrize("name", [*SERIES, "killed", "torn", "relay", "types"])
def test_the_same_keys_as_by_whole_rows(look: Look, name: str) -> None:
    data = gzip.decompress((FIXTURES / "types.binlog.gz").read_bytes()) if name == "types" else content(name)
    wanted, expected, counts = of_rows_only(data)
    with look(opened(data), wanted=wanted) as found:
        assert found.complete and found.seen == wanted and not found.missing and not found.handed_over
        assert {named: set(entry) for named, entry in found.tables.items()} == expected
        assert {named: entry.changes for named, entry in found.tables.items()} == counts
        assert {named: entry.keys for named, entry in found.tables.items()} == {n: len(k) for n, k in expected.items()}
    assert expected


@needs_zstd
def test_consecutive_files_of_a_server(look: Look) -> None:
    series = [opened(content(name)) for name in SERIES]
    with look(*series) as found:
        assert found.complete
        everything = EMPTY
        for name in SERIES:
            for each in whole(content(name)):
                everything |= each.gtid.as_set() if each.gtid else EMPTY
        assert found.seen == everything
        assert "statement" in found.reasons("bank", "entry") and "ddl" in found.reasons("bank", "account")
    with look(series[0], *series[2:]) as found:
        assert [problem.reason for problem in found.problems] == ["gap"]
        assert found.reasons("any", "table") == ("ddl", "gap")


def test_json_as_a_difference_by_a_real_server(look: Look) -> None:
    """The row was made with key 1, and the full decoder does not read its change."""
    only = [each for each in whole(content("special")) if any(t.table == "j" and t.update for t in each.tables)]
    assert len(only) == 1 and only[0].gtid is not None
    with look(opened(content("special")), wanted=only[0].gtid.as_set()) as found:
        assert found.complete and keys(found, Named("bank", "j")) == [(1,)] and not found.handed_over


@needs_zstd
def test_a_file_that_was_torn_by_a_crash(look: Look) -> None:
    with look(opened(content("torn"))) as found:
        assert found.complete and found.unfinished
        assert found.unfinished not in str(found.seen)


# Keys


def test_each_operation_and_each_key_once(look: Look) -> None:
    log = Log()
    first = log.transaction(table_map(), write(1, 2, 3), table_map(), update(3, 4))
    last = log.transaction(table_map(), delete(1), table_map(), update(2, 2))
    with look(log) as found:
        entry = found.tables[T]
        assert keys(found) == [(1,), (2,), (3,), (4,)]
        assert (entry.changes, entry.keys, entry.first_gtid, entry.last_gtid) == (6, 4, first, last)
        assert (entry.columns, found.reasons(*T), found.everything) == (("id",), (), ())
        assert str(found.seen) == f"{UUID}:1-2"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.lists(st.lists(st.tuples(st.sampled_from("tuv"), st.integers(0, 300)), max_size=40), max_size=12),
    st.integers(0, 20_000),
)
def test_however_little_memory_there_is(look: Look, transactions: list[list[tuple[str, int]]], most_bytes: int) -> None:
    log = Log()
    expected: dict[str, set[tuple[int]]] = {}
    for each in transactions:
        body = []
        for table, key in each:
            body += [table_map(table), write(key)]
            expected.setdefault(table, set()).add((key,))
        log.transaction(*body)
    with look(log, most_bytes=most_bytes) as found:
        assert {named.table: set(entry) for named, entry in found.tables.items()} == expected
        assert all(entry.keys == len(list(entry)) == len(set(entry)) for entry in found.tables.values())


def test_nothing_stays_on_disk(look: Look, tmp_path: Path) -> None:
    log = Log()
    log.transaction(table_map(), write(*range(1000)))
    with look(log, most_bytes=10) as found:
        assert [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(keys(found)) == 1000
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    log.data += b"x" * 200
    with pytest.raises(HaError, match="binlog_not_a_binlog"):
        look(log, str(Path(__file__)), most_bytes=10)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], "nor after an error"


def test_too_many_keys(look: Look) -> None:
    log = Log()
    for base in range(0, 100, 10):
        log.transaction(table_map(), write(*range(base, base + 10)), table_map("u"), write(*range(10)))
    for most_bytes in (1 << 20, 0):
        with look(log, most_keys=99, most_bytes=most_bytes) as found:
            assert found.reasons(*T) == ("too_many_keys",) and T not in found.tables
            assert (found.reasons(*U), len(keys(found, U))) == ((), 10)
        with look(log, most_keys=100, most_bytes=most_bytes) as found:
            assert found.reasons(*T) == () and len(keys(found)) == 100


def test_too_many_keys_in_one_event(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touched, "_MOST_PLANS", 1)
    log = Log()
    log.transaction(table_map(), write(*range(10_000)), table_map("u"), write(1), table_map(), write(1))
    with look(log, most_keys=5000) as found:
        assert found.reasons(*T) == ("too_many_keys",) and set(found.tables) == {U}


def test_a_disk_that_is_full_at_the_end(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    log.transaction(table_map(), write(1, 2))
    log.transaction(table_map(), write(3))
    put = key_set._put

    def full_when_merging(stream: Any, given: Any) -> int:
        if not isinstance(given, list):
            raise OSError(28, "No space left on device")
        return put(stream, given)

    monkeypatch.setattr(key_set, "_put", full_when_merging)
    with look(log, most_bytes=0) as found:
        assert found.reasons(*T) == ("no_room",) and not found.tables


def test_no_room_for_keys(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any) -> int:
        raise OSError(28, "No space left on device")

    log = Log()
    log.transaction(table_map(), write(1), table_map("u"), write(2))
    monkeypatch.setattr(key_set, "_put", full)
    with look(log, most_bytes=0) as found:
        assert found.reasons(*T) == found.reasons(*U) == ("no_room",) and not found.tables
        assert {each.detail for each in found.handed_over} == {"No space left on device"}


def test_only_tables_of_interest(look: Look) -> None:
    log = Log()
    log.transaction(table_map(), write(1), table_map("u", key=None), write(2))
    with look(log, tables=lambda _schema, table: table == "t") as found:
        assert keys(found) == [(1,)] and not found.handed_over and set(found.tables) == {T}
    log.statement("DROP TABLE v, U")
    with look(log, tables=lambda _schema, table: table == "u") as found:
        assert found.reasons(*U) == ("no_key", "ddl"), "whatever case the statement has"
    with look(log, always_whole=[Named("bank", "child"), T]) as found:
        assert found.reasons("bank", "child") == found.reasons(*T) == ("always_whole",) and T not in found.tables
        assert found.reasons("bank", "v") == ("ddl",)


# Tables that are handed over


def rows_of(kind: Kind, *held: list[bool]) -> Event:
    images = b"".join(smith.image(FIELDS, [1, "x"], each) for each in held)
    return int(kind), smith.rows(2, images, held=held)


OLD = smith.Field(12, b"", bytes)
PARTLY = [True, False]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([table_map(key=None), write(1)], "no_key"),
        ([table_map(key=None, names=False), write(1)], "no_key_metadata"),
        ([table_map(key=b"\1"), rows_of(Kind.WRITE_ROWS, PARTLY)], "key_not_logged"),
        ([table_map(key=b"\1"), rows_of(Kind.UPDATE_ROWS, PARTLY, [True, True])], "key_not_logged"),
        ([(19, smith.table_map([OLD], smith.names("a") + smith.optional(8, b"\0")))], "unsupported"),
        ([table_map(), (int(Kind.WRITE_ROWS), write(1)[1] + b"x")], "undecodable"),
        ([table_map(), (int(Kind.WRITE_ROWS), smith.rows(3, b"\0" * 20))], "undecodable"),
        ([(19, table_map()[1] + b"\xff\xff\xff")], "undecodable"),
        ([table_map(), write(1), table_map(key=b"\1"), write(1)], "key_changed"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_table_whose_keys_the_log_does_not_tell(look: Look, body: list[Event], reason: str, compressed: bool) -> None:
    log = Log()
    log.transaction(
        table_map("u"), write(5), *([filesmith.payload(*body)] if compressed else body), table_map("u"), write(6)
    )
    with look(log) as found:
        assert found.reasons(*T) == (reason,) and T not in found.tables
        assert found.handed_over[0].gtid == f"{UUID}:1"
        assert found.complete and found.reasons(*U) == () and keys(found, U) == [(5,), (6,)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([write(1)], "undecodable"),
        ([(19, b"\7")], "undecodable"),
        ([(int(Kind.TRANSACTION_PAYLOAD), b"\1\1\5\2\1\377\0abcde")], "undecodable"),
        ([(int(Kind.TRANSACTION_PAYLOAD), b"\1\1\5\2\1\7\0abcde")], "compressed"),
        ([filesmith.query("CALL p()")], "statement"),
        ([filesmith.query("UPDATE t SET v = 1")], "statement"),
        ([filesmith.query("TRUNCATE 'x'")], "ddl"),
        ([filesmith.query("XA COMMIT X'61',X'',1")], "xa_prepared_earlier"),
        ([(int(Kind.QUERY), b"\0\0")], "undecodable"),
    ],
)
def test_everything_where_it_cannot_be_told(look: Look, body: list[Event], reason: str) -> None:
    log = Log()
    log.transaction(table_map("u"), write(5), *body)
    with look(log) as found:
        assert found.everything == found.reasons("any", "table") == (reason,)
        assert found.complete, "whoever looks at everything has seen it all"


@pytest.mark.parametrize("kind", [Kind.QUERY, Kind.EXECUTE_LOAD_QUERY])
def test_rows_that_a_statement_wrote(look: Look, kind: Kind) -> None:
    """binlog_format=STATEMENT: the table, and all of the schemas that it or its triggers used."""
    text = "LOAD DATA INFILE 'x' INTO TABLE `t`" if kind == Kind.EXECUTE_LOAD_QUERY else "INSERT INTO t VALUES (1)"
    log = Log()
    log.transaction(
        (int(Kind.INTVAR), bytes(9)), (int(Kind.BEGIN_LOAD_QUERY), bytes(4)), (9, bytes(4)), (11, bytes(4)),
        filesmith.query(text, databases=("bank", "audit"), kind=kind),
    )  # fmt: skip
    log.transaction(table_map("u"), write(1))
    with look(log) as found:
        assert found.complete and found.everything == ()
        assert found.reasons(*T) == found.reasons(*U) == found.reasons("audit", "any") == ("statement",)
        assert found.reasons("other", "t") == ()
        assert [(each.schema, each.table, each.detail) for each in found.handed_over] == [
            ("bank", "t", text.split()[0]), ("bank", "", text.split()[0]), ("audit", "", text.split()[0]),
        ]  # fmt: skip


def test_definitions(look: Look) -> None:
    log = Log()
    log.transaction(table_map(), write(1), table_map("u"), write(1))
    log.statement("ALTER TABLE `T` RENAME TO x")
    log.statement("CREATE USER u IDENTIFIED BY 'canary'")
    with look(log) as found:
        assert found.reasons(*T) == found.reasons("bank", "X") == ("ddl",), "lower_case_table_names"
        assert found.reasons(*U) == () and keys(found, U) == [(1,)]
        assert "canary" not in repr(found.handed_over)


def test_very_many_tables_handed_over_are_everything(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touched, "_MOST_HANDED_OVER", 5)
    log = Log()
    for number in range(20):
        log.statement(f"DROP TABLE t{number}")
    with look(log) as found:
        assert found.reasons("bank", "t19") == ("too_many_tables",) and len(found.handed_over) == 6


# Transactions


@pytest.mark.parametrize("earlier", [False, True])
def test_an_xa_transaction_s_rows_are_in_its_first_phase(look: Look, earlier: bool) -> None:
    log = Log()
    log.transaction(
        filesmith.query("XA START X'61',X'',1"), table_map(), write(1), filesmith.xa_prepare("a"), end=False
    )
    log.statement("XA COMMIT X'61',X'',1")
    wanted = GtidSet.parse(f"{UUID}:2") if earlier else None
    with look(log, wanted=wanted) as found:
        assert found.complete and found.everything == (("xa_prepared_earlier",) if earlier else ())
        assert keys(found) == ([] if earlier else [(1,)])


def test_only_the_wanted_ones(look: Look) -> None:
    log = Log()
    for number in range(1, 11):
        log.transaction(table_map(), write(number), tag="tag" if number % 2 else "", number=number)
    log.transaction(table_map(), write(99), origin=OTHER, number=5)
    wanted = GtidSet.parse(f"{UUID}:2-4:tag:7,{OTHER}:5-6")
    with look(log, wanted=wanted) as found:
        assert keys(found) == [(2,), (4,), (7,), (99,)]
        missing = found.missing
        assert missing == GtidSet.parse(f"{UUID}:3,{OTHER}:6")
        assert not found.complete and found.reasons(*T) == ("missing_transactions",)
    with look(log, wanted=wanted - missing) as found:
        assert found.complete and found.seen == wanted - missing


def test_what_is_not_wanted_is_not_read(look: Look) -> None:
    """A transaction that nobody wants may hold anything."""
    log = Log()
    log.transaction((int(Kind.QUERY), b"\0\0"), (200, b""), (int(Kind.INCIDENT), b"\1\0\0"))
    log.transaction(table_map(), write(1))
    with look(log, wanted=GtidSet.parse(f"{UUID}:2")) as found:
        assert found.complete and not found.handed_over and keys(found) == [(1,)]


def test_anonymous_transactions_are_always_read(look: Look) -> None:
    log = Log()
    log.anonymous(table_map(), write(1))
    for wanted in (None, EMPTY):
        with look(log, wanted=wanted) as found:
            assert found.complete and keys(found) == [(1,)] and found.tables[T].first_gtid == ""


def test_the_rest_of_a_transaction_that_began_in_an_earlier_file(look: Look) -> None:
    log = Log()
    for event in (table_map(), write(1)):
        log.put(*event)
    log.put(Kind.XID, bytes(8))
    for wanted in (None, EMPTY):
        with look(log, wanted=wanted) as found:
            assert keys(found) == [(1,)]


def test_a_table_number_means_nothing_in_the_next_transaction(look: Look) -> None:
    log = Log()
    log.transaction(table_map(), (int(Kind.WRITE_ROWS), smith.rows(2, smith.image(FIELDS, [1, "x"]), flags=0)))
    log.transaction(write(2))
    with look(log) as found:
        assert found.everything == ("undecodable",)


def test_the_event_that_ends_an_empty_statement_is_nothing(look: Look) -> None:
    log = Log()
    log.transaction(table_map(), (int(Kind.WRITE_ROWS), smith.rows(0, b"", number=0xFFFFFF, held=[[]])))
    with look(log) as found:
        assert not found.handed_over and not found.tables


def test_out_of_order_and_very_many_intervals(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touched, "_MOST_INTERVALS", 3)
    log = Log()
    numbers = [5, 4, 9, 1, 3, 2, 8, 6, 7, 20]
    for number in numbers:
        log.transaction(number=number)
    with look(log) as found:
        assert found.seen == GtidSet.parse(f"{UUID}:1-9:20")


# What the files lack


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([(200, b"what is this")], "unknown_event"),
        ([(int(Kind.LARGE_TRANSACTION_HEADER), b"")], "unknown_event"),
        ([filesmith.payload((200, b""))], "unknown_event"),
        ([(int(Kind.INCIDENT), b"\1\0\0")], "incident"),
    ],
)
def test_what_is_not_understood_is_a_problem(look: Look, body: list[Event], reason: str) -> None:
    log = Log()
    log.transaction(table_map(), write(1), *body)
    with look(log) as found:
        assert not found.complete and found.everything == found.reasons("any", "table") == (reason,)
        assert keys(found) == [(1,)]


def test_an_event_that_may_be_ignored(look: Look) -> None:
    log = Log()
    log.put(200, b"of a newer version", flags=int(events.Flag.IGNORABLE))
    log.transaction(table_map(), write(1))
    with look(log) as found:
        assert found.complete and not found.everything


def two_files(previous: str) -> tuple[Log, Log]:
    first, second = Log(), Log(previous)
    first.transaction(table_map(), write(1))
    first.rotate()
    second.transaction(table_map(), write(2), number=9)
    return first, second


@pytest.mark.parametrize(
    ("previous", "complete"),
    [(f"{UUID}:1", True), (f"{UUID}:1-2", False), ("", False), (f"{UUID}:1,{OTHER}:1", False)],
)
def test_files_have_to_follow_each_other(look: Look, previous: str, complete: bool) -> None:
    with look(*two_files(previous)) as found:
        assert found.complete == complete and found.everything == (() if complete else ("gap",))
        assert keys(found) == [(1,), (2,)]
    wanted = GtidSet.parse(f"{UUID}:1:9")
    with look(*two_files(previous), wanted=wanted) as found:
        assert found.complete, "all that is wanted is there"
    if complete:
        with look(*reversed(two_files(previous))) as found:
            assert not found.complete


def test_a_file_that_does_not_say_what_was_before_it(look: Look) -> None:
    first, second = two_files(f"{UUID}:1")
    second.data = second.data[:4] + second.data[4 : 4 + int.from_bytes(second.data[13:17], "little")]
    with look(first, second) as found:
        assert [problem.reason for problem in found.problems] == ["gap"]


def test_anonymous_files_follow_by_their_names(look: Look) -> None:
    first, second = Log(), Log()
    first.anonymous(table_map(), write(1))
    second.anonymous(table_map(), write(2))
    with look(first.rotate(), second) as found:
        assert found.complete
    first.rotate("binlog.000007")
    with look(first, second) as found:
        assert found.everything == ("gap",)


@pytest.mark.parametrize("last", [True, False])
def test_a_torn_file(look: Look, last: bool) -> None:
    first, second = Log(), Log(f"{UUID}:1")
    first.transaction(table_map(), write(1))
    first.transaction(table_map(), write(2))
    del first.data[-3:]
    second.transaction(table_map(), write(3), number=2)
    with look(first, *([] if last else [second])) as found:
        assert found.complete == last
        assert found.everything == (() if last else ("torn",))
        if last:
            assert found.unfinished == f"{UUID}:2" and str(found.seen) == f"{UUID}:1"
    with look(first, wanted=GtidSet.parse(f"{UUID}:1-2")) as found:
        assert found.everything == ("missing_transactions",) and str(found.missing) == f"{UUID}:2"


def test_a_damaged_file(look: Look) -> None:
    log = Log()
    log.transaction(table_map(), write(1))
    broken = log.put(*table_map())
    log.data[broken + 30] ^= 1
    log.transaction(table_map(), write(2), number=2)
    with look(log) as found:
        assert not found.complete and found.everything == ("damaged",) and keys(found) == [(1,)]
        assert found.problems[0].path == "binlog.000001"


def test_a_gtid_that_is_none(look: Look) -> None:
    for body in (filesmith.plain(0, UUID, "", 0), b"\1"):
        log = Log()
        log.transaction(table_map(), write(1))
        log.put(Kind.GTID, body)
        with look(log) as found:
            assert not found.complete and "damaged" in found.everything


@pytest.mark.parametrize("data", [b"", b"\xfebin", bytes(Log().data)])
def test_files_with_nothing_in_them(look: Look, data: bytes) -> None:
    with look(BinlogFile("x", io.BytesIO(data))) as found:
        assert found.complete and not found.tables and not found.seen
    with look() as found:
        assert not found.tables


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.data())
def test_whatever_byte_is_wrong_no_other_error_comes_out(look: Look, data: st.DataObject) -> None:
    """Without checksums, so that wrong bytes get as far as they can."""
    log = Log(checksum=False)
    for number in range(4):
        log.transaction(table_map(), update(number, number + 10), table_map("u"), write(number))
    log.rotate()
    place = data.draw(st.integers(4, len(log.data) - 1))
    log.data[place] = data.draw(st.integers(0, 255))
    try:
        found = look(log)
    except HaError as error:
        assert error.code in ("binlog_version_unsupported", "binlog_not_a_binlog")
        return
    with found:
        for entry in found.tables.values():
            try:
                list(entry)
            except HaError as error:
                assert error.code == "binlog_event_malformed"


def test_paths_and_files(tmp_path: Path) -> None:
    log = Log()
    log.transaction(table_map(), write(1))
    path = tmp_path / "binlog.000001"
    path.write_bytes(log.data)
    with scan([str(path)], directory=str(tmp_path)) as found:
        assert keys(found) == [(1,)]
    with pytest.raises(HaError, match="binlog_unreadable"):
        scan([str(tmp_path / "nothing")], directory=str(tmp_path))
    path.write_bytes(b"\xfdbin" + bytes(100))
    with pytest.raises(HaError, match="binlog_encrypted"):
        scan([str(path)], directory=str(tmp_path))


# Who wrote it last


def test_the_last_writer_of_each_key() -> None:
    first, second = two_files(f"{UUID}:1")
    third = second.transaction(table_map(), write(1), table_map("u"), write(2))
    logs = [file_of(first), file_of(second)]
    assert last_writer(logs, "bank", "t", [(1,), (2,), (3,)]) == {(1,): third, (2,): f"{UUID}:9"}
    assert last_writer(logs, "bank", "t", [(1,)], wanted=GtidSet.parse(f"{UUID}:1")) == {(1,): f"{UUID}:1"}
    assert last_writer(logs, "bank", "nothing", [(1,)]) == {}


def test_the_last_writer_by_a_key_that_changed_and_with_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touched, "_MOST_MEMORIES", 2)
    log = Log()
    for number in range(20):
        log.transaction(table_map(), update(number, number + 1))
    found = last_writer([file_of(log)], "bank", "t", [(number,) for number in range(21)])
    assert found == {(0,): f"{UUID}:1", **{(number,): f"{UUID}:{min(number + 1, 20)}" for number in range(1, 21)}}


def test_a_member_of_a_list_is_found_by_its_number_as_a_server_tells_it(look: Look) -> None:
    """Whatever its name is: this one is in cp1251, which is not decoded here."""
    name = "да".encode("cp1251")
    members = smith.packed(2) + smith.packed(2) + name + smith.packed(2) + b"no"
    more = smith.names("e", "v") + smith.optional(8, b"\0") + smith.optional(10, smith.packed(51))
    fields = [smith.ENUM, smith.integer(3, 4)]
    mapped = (int(Kind.TABLE_MAP), smith.table_map(fields, more + smith.optional(6, members)))
    log = Log()
    for number in (1, 2, 1):
        log.transaction(mapped, (int(Kind.WRITE_ROWS), smith.rows(2, smith.image(fields, [number, 5]))))
    with look(log) as found:
        assert keys(found) == [(1,), (2,)] and found.tables[T].columns == ("e",)
    enum = column("e", "enum", charset="cp1251")
    asked = [canonical.key_of([enum], {"k0": number}) for number in (1, 2)]
    assert last_writer([file_of(log)], "bank", "t", asked) == {(1,): f"{UUID}:3", (2,): f"{UUID}:2"}
    assert term(enum, asked[0][0], "=") == ("`e` = %s", (1,))


@pytest.mark.parametrize(
    "blinding",
    [
        [filesmith.query("INSERT INTO t VALUES (1)", databases=("bank",))],
        [filesmith.query("CALL p()")],
        [(200, b"")],
        [table_map(key=None), write(1)],
        [filesmith.query("ALTER TABLE T ADD x INT")],
    ],
)
def test_no_last_writer_is_named_where_another_may_have_come_after(blinding: list[Event]) -> None:
    first, second = two_files(f"{UUID}:1")
    second.transaction(*blinding)
    after = second.transaction(table_map(), write(5))
    logs = [file_of(first), file_of(second)]
    assert last_writer(logs, "bank", "t", [(1,), (2,), (5,)]) == {(5,): after}


# The checks can fail


def everything_is_found(look: Look) -> None:
    """Of one log with a compressed transaction, a key that changed, and a statement."""
    log = Log()
    log.transaction(filesmith.payload(table_map(), write(1)))
    log.transaction(table_map(), update(2, 3))
    log.transaction(filesmith.query("DELETE FROM u", databases=("other",)))
    with look(log) as found:
        assert keys(found) == [(1,), (2,), (3,)]
        assert found.reasons(*U) == ("statement",) and found.reasons("other", "x") == ("statement",)


def test_what_the_mutants_are_measured_by(look: Look) -> None:
    everything_is_found(look)


def _without_before(plan: Any, before: Any, after: Any, position: int, data: bytes, partial: bool) -> Any:
    for some in _UPDATED(plan, before, after, position, data, partial):
        yield key_rows.Keys(some.rows, some.keys[1::2])


_UPDATED = key_rows.KeyPlan._updated


@pytest.mark.parametrize(
    ("where", "name", "mutant"),
    [
        (touched._Reader, "_payload", lambda *_arguments: None),
        (key_rows.KeyPlan, "_updated", _without_before),
        (touched, "reach_of", lambda _query: statement_reach.NOTHING),
    ],
    ids=["compressed transactions dropped", "keys before an update dropped", "statements dropped"],
)
def test_a_mutant_is_noticed(
    look: Look, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, mutant: Callable[..., Any]
) -> None:
    monkeypatch.setattr(where, name, mutant)
    with pytest.raises((AssertionError, KeyError)):
        everything_is_found(look)
