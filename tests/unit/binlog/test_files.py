# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading files: the same as mysqlbinlog, cut anywhere, with any bit flipped, skipped through, and chosen among."""

from __future__ import annotations

import dataclasses
import shutil
import tracemalloc
import zlib
from pathlib import Path

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import events, files
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.events import Kind
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.files import (
    BinlogFile,
    choose_files,
    membership,
    read_index,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from hypothesis import given
from hypothesis import strategies as st

from .samples import EXPECTED, NAMES, SERIES, UUID, content, event_offsets, opened, read, whole

ENDS = {
    "Xid": {"xid"},
    "Query": {"query", "commit", "xa_commit", "xa_rollback"},
    "XA PREPARE": {"xa_prepare", "xa_commit_one_phase"},
}


@pytest.mark.parametrize("name", NAMES)
def test_as_mysqlbinlog_reads_it(name: str) -> None:
    transactions, ending = read(content(name))
    expected = EXPECTED[name]["transactions"]
    assert [str(each.gtid) for each in transactions] == [each["gtid"] for each in expected]
    for each, other in zip(transactions, expected, strict=True):
        assert each.complete
        assert each.start == other["start"]
        assert each.length == each.announced_length == other["length"]
        assert each.original_commit_timestamp == other["original_commit_timestamp"]
        if each.contents_known:
            tables = {
                f"{table.schema}.{table.table}": [table.write, table.update, table.delete] for table in each.tables
            }
            assert tables == other["tables"]
            assert each.ends in ENDS[other["last"]]
        else:
            assert each.ends == "payload"
            assert each.compression == "zstd"
    assert str(opened(content(name)).prelude().previous_gtids) == EXPECTED[name]["previous_gtids"]
    assert ending.how == ("open" if name == "killed" else "closed")
    assert ending.whole == ending.size == len(content(name))


def test_xa_is_told_apart() -> None:
    ends = [(each.ends, each.xid) for each in whole(content("xa")) if each.compression == ""]
    assert ends == [
        ("xa_prepare", "X'6f6e65',X'6272616e6368',7"),
        ("xa_commit", "X'6f6e65',X'6272616e6368',7"),
        ("xa_prepare", "X'74776f',X'',1"),
        ("xa_rollback", "X'74776f',X'',1"),
        ("xa_commit_one_phase", "X'7468726565',X'',1"),
        ("xa_commit", "X'666f7572',X'',1"),
    ]


def test_compressed_and_looked_into_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_zstd", None)
    transactions = whole(content("compressed"))
    assert [each.contents_known for each in transactions] == [False, False, False, True, True]
    assert transactions[0].tables == ()


def uncompressed_payload() -> bytes:
    """A file whose payload is not compressed (``none``): made by hand, for Pythons without zstd."""
    data = bytearray(content("nochecksum"))
    offsets = event_offsets(bytes(data))
    first = next(at for at in offsets[:-1] if data[at + 4] == Kind.GTID)
    begin = offsets[offsets.index(first) + 1]
    end = next(at for at in offsets if at > begin and data[at + 4] == Kind.GTID_TAGGED)
    inner = bytes(data[begin:end])
    body = b"\x02\x03\xfc\xff\x00\x01\x03\xfc" + len(inner).to_bytes(2, "little") + b"\x00" + inner
    header = data[begin : begin + 4] + bytes([Kind.TRANSACTION_PAYLOAD]) + data[begin + 5 : begin + 9]
    length = 19 + len(body)
    header += length.to_bytes(4, "little") + (begin + length).to_bytes(4, "little") + b"\0\0"
    return bytes(data[:begin]) + bytes(header) + body + bytes(data[end:])


def test_a_payload_is_looked_into() -> None:
    first, second = whole(uncompressed_payload())
    plain, _ending = whole(content("nochecksum"))
    assert first.compression == "none"
    assert first.contents_known
    assert (first.tables, first.ends, first.xid) == (plain.tables, plain.ends, plain.xid)
    assert second.complete


def test_the_torn_tail_of_a_killed_server() -> None:
    """mysqld 9.7.4 cut this very file at 824 when it started again."""
    transactions, ending = read(content("torn"))
    assert [(each.complete, each.start, each.end) for each in transactions] == [(True, 509, 824), (False, 824, 1183)]
    assert (ending.how, ending.whole, ending.size) == ("torn", 824, 262144)
    assert ending.unfinished == transactions[1]
    assert transactions[1].announced_length == 32000547


@pytest.mark.parametrize("name", NAMES)
def test_cut_at_any_byte(name: str) -> None:
    data = content(name)
    complete = whole(data)
    offsets = set(event_offsets(data))
    prelude_end = opened(data).prelude().end
    for cut in range(len(data)):
        transactions, ending = read(data[:cut])
        inside = [each for each in complete if each.end <= cut]
        assert [each for each in transactions if each.complete] == inside, cut
        assert ending.size == cut
        assert ending.how == ("open" if cut > 4 and ending.whole == cut else "torn"), cut
        begun = [each.start for each in complete if each.start < cut < each.end]
        if begun:
            assert ending.whole == begun[0], cut
        elif cut > prelude_end:
            assert ending.whole == max(each for each in offsets if each <= cut), cut
        partial = [each for each in transactions if not each.complete]
        assert len(partial) <= 1
        if partial:
            assert partial[0].start == ending.whole
            assert ending.unfinished == partial[0]
        opened(data[:cut]).prelude()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "nochecksum"])
def test_any_flipped_bit_is_found(name: str) -> None:
    data = content(name)
    complete = whole(data)
    for place in range(len(data)):
        bit = 1 << place % 8
        if place == 4 + 17 and bit == events.Flag.IN_USE:
            continue  # not part of the checksum: set while the file is open
        flipped = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
        if place < 4:
            with pytest.raises(HaError, match="binlog_"):
                read(flipped)
            continue
        try:
            transactions, ending = read(flipped)
        except HaError as error:
            raise AssertionError(place) from error
        assert ending.how in ("torn", "damaged"), place
        assert [each for each in transactions if each.complete] == [each for each in complete if each.end <= place]
        offsets = event_offsets(data)
        last = offsets[-2] if data[offsets[-2] + 4] == Kind.ROTATE else complete[-1].start
        assert ending.how == ("damaged" if place < last else "torn"), place


def test_damage_without_checksums_is_still_told_from_a_torn_tail() -> None:
    data = bytearray(content("nochecksum"))
    data[448 + 9] = 3  # the length of the first GTID event
    transactions, ending = read(bytes(data))
    assert transactions == []
    assert ending.how == "damaged"
    assert "743" in ending.why


@given(st.sampled_from(NAMES), st.binary(max_size=300), st.data())
def test_whatever_stands_behind_a_cut(name: str, garbage: bytes, data: st.DataObject) -> None:
    source = content(name)
    cut = data.draw(st.integers(4, len(source)))
    complete = [each for each in whole(source) if each.end <= cut]
    transactions, ending = read(source[:cut] + garbage)
    assert [each for each in transactions if each.complete][: len(complete)] == complete
    assert ending.whole <= len(source) + len(garbage)


def test_zero_bytes_after_a_power_loss() -> None:
    data = content("killed") + bytes(5000)
    _transactions, ending = read(data)
    assert (ending.how, ending.whole) == ("torn", 1123)
    assert "zero bytes" in ending.why


def test_only_wanted_ones_and_the_rest_unread() -> None:
    data = bytearray(content("plain"))
    wanted = GtidSet.parse(f"{UUID}:4:12")
    unwanted = whole(bytes(data))[8]
    data[unwanted.end - 1] ^= 1  # in what is skipped
    transactions, ending = read(bytes(data), wanted=wanted)
    assert [str(each.gtid) for each in transactions] == [f"{UUID}:4", f"{UUID}:12"]
    assert ending.how == "closed"


@pytest.mark.parametrize("name", NAMES)
def test_wanted_ones_are_the_same_as_all_ones(name: str) -> None:
    data = content(name)
    everything = whole(data)
    for each in everything:
        assert each.gtid is not None
        assert read(data, wanted=each.gtid.as_set())[0] == [each]
    assert read(data, wanted=GtidSet())[0] == []


def test_a_length_that_leads_nowhere_is_not_believed() -> None:
    """Without checksums a wrong announced length would go unnoticed; the reader then reads everything."""
    data = content("nochecksum")
    first, second = whole(data)
    at = data.index(first.announced_length.to_bytes(2, "little"), first.start)
    wrong = data[:at] + (first.announced_length - 5).to_bytes(2, "little") + data[at + 2 :]
    assert second.gtid is not None
    assert [each.gtid for each in read(wrong, wanted=second.gtid.as_set())[0]] == [second.gtid]


def test_reading_elsewhere_between_two_transactions() -> None:
    data = content("plain")
    file = opened(data)
    for each in file.transactions():
        assert b"".join(file.raw(each.start, each.end)) == data[each.start : each.end]


def test_a_relay_log_and_a_transaction_that_was_sent_twice() -> None:
    """After a reconnect the source sends the unfinished transaction again, after its own description."""
    data = content("relay")
    first, second = whole(data)
    again = data[: first.end - 31] + data[first.start :]
    transactions, ending = read(again)
    assert [each.complete for each in transactions] == [False, True, True]
    assert [each.gtid for each in transactions] == [first.gtid, first.gtid, second.gtid]
    assert ending.how == "closed"


def test_a_relay_log_that_begins_within_a_transaction() -> None:
    data = content("relay")
    first, second = whole(data)
    begin = data.index(b"BEGIN", first.start)
    headless = data[: first.start] + data[first.start + 79 :]
    assert begin > first.start + 79
    transactions, _ending = read(headless)
    assert (transactions[0].gtid, transactions[0].ends) == (None, "xid")
    assert transactions[1].gtid == second.gtid


def another_version() -> bytes:
    data = content("plain")
    event = data[4:23] + b"\x05" + data[24:123]
    return data[:4] + event + zlib.crc32(event).to_bytes(4, "little") + data[127:]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xfdbin" + bytes(600), "binlog_encrypted"),
        (b"./binlog.000001\n", "binlog_not_a_binlog"),
        (b"\xfebiX", "binlog_not_a_binlog"),
        (another_version(), "binlog_version_unsupported"),
    ],
)
def test_files_that_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(HaError) as caught:
        read(data)
    assert caught.value.code == code
    assert caught.value.next_step


def test_a_large_event_is_not_held_in_memory(tmp_path: Path) -> None:
    """A row event of 64 MiB, with its checksum, in a file that is mostly a hole."""
    data = content("killed")
    first = whole(data)[0]
    at = event_offsets(data)
    rows = next(offset for offset in at[:-1] if data[offset + 4] == Kind.WRITE_ROWS and offset > first.start)
    after = at[at.index(rows) + 1]
    size = 64 << 20
    head = data[rows : rows + 9] + size.to_bytes(4, "little") + data[rows + 13 : rows + 29]
    checksum = zlib.crc32(head)
    for _number in range(63):
        checksum = zlib.crc32(bytes(1 << 20), checksum)
    checksum = zlib.crc32(bytes((1 << 20) - len(head) - 4), checksum)
    path = tmp_path / "binlog.000001"
    with path.open("wb") as stream:
        stream.write(data[:rows] + head)
        stream.seek(rows + size - 4)
        stream.write(checksum.to_bytes(4, "little") + data[after:])
    tracemalloc.start()
    try:
        with BinlogFile.open(str(path)) as file:
            transactions = list(file.transactions())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(each.complete, each.tables) for each in transactions] == [(True, first.tables)] * 2
    assert transactions[0].length > size
    assert peak < 4 << 20


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(HaError, match="binlog_unreadable"), BinlogFile.open(str(place)):
            pass


@given(st.lists(st.integers(1, 40), max_size=20), st.integers(1, 41))
def test_membership_is_containment(numbers: list[int], asked: int) -> None:
    gtids = GtidSet({(UUID, ""): [(number, number) for number in numbers]})
    gtid = events.Gtid(UUID, "", asked)
    assert membership(gtids)(gtid) == (gtid.as_set() <= gtids)
    assert not membership(gtids)(events.Gtid(UUID, "tag", asked))
    assert not membership(gtids)(None)


# The index, and the choice


@pytest.fixture
def series(tmp_path: Path) -> list[str]:
    for number, name in enumerate(SERIES, 1):
        (tmp_path / f"binlog.{number:06}").write_bytes(content(name))
    (tmp_path / "binlog.index").write_text("".join(f"./binlog.{number:06}\n" for number in range(1, 7)))
    return read_index(str(tmp_path / "binlog.index"))


def test_the_index_names_files_relative_to_the_data_directory(tmp_path: Path, series: list[str]) -> None:
    assert series[0] == str(tmp_path / "binlog.000001")
    index = tmp_path / "elsewhere.index"
    index.write_text("./a.000001\n/logs/a.000002\n")
    assert read_index(str(index), "/data") == ["/data/a.000001", "/logs/a.000002"]
    index.write_text("\n")
    with pytest.raises(HaError, match="binlog_index_empty"):
        read_index(str(index))
    with pytest.raises(HaError, match="binlog_index_unreadable"):
        read_index(str(tmp_path / "none"))


def chosen(paths: list[str], wanted: str) -> list[int]:
    return [int(each.path[-6:]) for each in choose_files(paths, GtidSet.parse(wanted)).candidates]


def test_files_are_chosen_by_what_was_before_them(series: list[str]) -> None:
    assert chosen(series, f"{UUID}:1") == [1]
    assert chosen(series, f"{UUID}:12-13") == [1, 2]
    assert chosen(series, f"{UUID}:mytag:1") == [2]
    assert chosen(series, f"{UUID}:mytag:3") == [5]
    assert chosen(series, f"{UUID}:33:zipped:1") == [3, 6]
    assert chosen(series, "00000000-0000-0000-0000-000000000001:1") == [6]
    assert chosen(series[2:], f"{UUID}:1:15") == [3]
    assert str(choose_files(series[2:], GtidSet.parse(f"{UUID}:1:15")).older) == f"{UUID}:1"


def test_every_file_holds_what_it_was_chosen_for(series: list[str]) -> None:
    for number, name in enumerate(SERIES, 1):
        for each in whole(content(name)):
            assert chosen(series, str(each.gtid)) == [number]


def test_a_file_that_does_not_say_is_searched(series: list[str]) -> None:
    Path(series[5]).write_bytes(b"")
    assert chosen(series, f"{UUID}:26") == [5, 6]
    shutil.copy(series[0], series[5])
    Path(series[5]).write_bytes(content("plain")[:127])
    assert chosen(series, f"{UUID}:26") == [5, 6]


def test_a_transaction_is_plain_data() -> None:
    (first, *_rest) = whole(content("special"))
    assert first.ends == "commit"
    assert dataclasses.asdict(first)["gtid"] == {
        "uuid": "aaaaaaaa-0000-0000-0000-000000000001",
        "tag": "",
        "number": 5,
    }


# Whole bodies


def test_contents_are_whole_whatever_their_size() -> None:

    for name in ("plain", "tagged", "nochecksum", "xa"):
        data = content(name)
        file = opened(data)
        expected = [(each.kind, each.body) for each in file.events() if each.kind != Kind.FORMAT_DESCRIPTION]
        plain = [each for each in expected if each[0] != Kind.TRANSACTION_PAYLOAD]
        found = [(each.kind, each.body) for each in opened(data).contents(4, len(data))]
        assert [each for each in plain if each not in found] == []


def test_a_large_body_is_whole() -> None:
    data = content("nochecksum")
    body = b"\0" * 8 + b"\4" + b"\0" * 4 + b"bank\0" + b"x" * 1_000_000
    length = 19 + len(body)
    event = b"\0\0\0\0\x02" + b"\7\0\0\0" + length.to_bytes(4, "little") + b"\0" * 6 + body
    file = opened(data + event)
    ((kind, whole_body, _form),) = file.contents(len(data), len(data) + length)
    assert (kind, whole_body) == (Kind.QUERY, body)


def test_contents_of_a_file_that_changed() -> None:
    data = content("plain")
    (first, *_rest) = whole(data)
    for broken in (
        data[: first.end - 1],
        data[: first.end - 1] + bytes([data[first.end - 1] ^ 1]) + data[first.end :],
    ):
        with pytest.raises(HaError, match="binlog_unreadable"):
            list(opened(broken).contents(first.start, first.end))
    with pytest.raises(HaError, match="binlog_unreadable"):
        list(opened(data).contents(first.start, first.end - 1))


def test_contents_of_a_payload() -> None:
    data = uncompressed_payload()
    first, _second = whole(data)
    inside = [each.kind for each in opened(data).contents(first.start, first.end)]
    assert inside == [Kind.GTID, Kind.QUERY, Kind.TABLE_MAP, Kind.WRITE_ROWS, Kind.XID]
