# SPDX-License-Identifier: GPL-3.0-or-later
"""One pass over a file: the same events as event by event, and the same places where it cannot go on."""

from __future__ import annotations

import io

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import files, sweep
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.events import Kind
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.files import BinlogFile
from hypothesis import given
from hypothesis import strategies as st

from . import filesmith
from .samples import NAMES, content, event_offsets, opened


def swept(data: bytes) -> tuple[list[sweep.Swept], sweep.Sweep]:
    one = sweep.Sweep(opened(data))
    return list(one), one


@pytest.mark.parametrize("name", NAMES)
def test_the_same_events_as_one_by_one(name: str) -> None:
    data = content(name)
    found, one = swept(data)
    expected = [(each.kind, each.offset, each.end, each.header.flags) for each in opened(data).events()]
    assert [(each.kind, each.offset, each.end, each.flags) for each in found] == expected
    assert one.whole == found[-1].end
    assert (one.stop is None) == (one.whole == len(data))
    if name == "torn":
        assert one.stop is not None and one.stop.offset == one.whole
    file = opened(data)
    file.prelude()
    plain = [each for each in found if each.kind not in (Kind.FORMAT_DESCRIPTION, Kind.TRANSACTION_PAYLOAD)]
    if name != "relay":  # where the description changes within
        for each in plain:
            ((kind, body, _form),) = file.contents(each.offset, each.end)
            assert (kind, body) == (each.kind, each.data[each.base :])


@pytest.mark.parametrize("piece", [7, 19, 64, 1000])
def test_events_across_pieces(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    data = content("plain")
    whole = [(each.kind, each.data) for each in swept(data)[0]]
    monkeypatch.setattr(files, "_PIECE", piece)
    assert [(each.kind, each.data) for each in swept(data)[0]] == whole


@given(st.data())
def test_a_file_that_ends_anywhere(data: st.DataObject) -> None:
    whole = content("tagged")
    offsets = event_offsets(whole)
    cut = data.draw(st.integers(4, len(whole)))
    found, one = swept(whole[:cut])
    assert [each.end for each in found] == [end for end in offsets[1:] if end <= cut]
    assert (one.stop is None) == (cut in offsets)


@given(st.data())
def test_a_bit_that_is_wrong_ends_it_there(data: st.DataObject) -> None:
    whole = bytearray(content("plain"))
    place = data.draw(st.integers(4, len(whole) - 1))
    offsets = event_offsets(bytes(whole))
    event = max(offset for offset in offsets if offset <= place)
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    found, one = swept(bytes(whole))
    assert event in (4, *(each.end for each in found))
    in_use = event == 4 and 21 <= place < 23  # a flag that the description's checksum leaves out
    assert in_use or (one.stop is not None and one.stop.offset == event)


def log(*, checksum: bool = True) -> filesmith.Log:
    made = filesmith.Log(checksum=checksum)
    for _number in range(50):
        made.transaction((int(Kind.ROWS_QUERY), b"\4text"))
    return made


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("piece", [40, 1 << 18])
def test_passing_over(monkeypatch: pytest.MonkeyPatch, checksum: bool, piece: int) -> None:
    """Where the next transaction begins it goes on; where none does, it goes on as it was."""
    monkeypatch.setattr(files, "_PIECE", piece)
    data = bytes(log(checksum=checksum).data)
    begins = [each.offset for each in swept(data)[0] if each.kind == Kind.GTID]
    for target, arrives in ((begins[30], True), (len(data), True), (begins[30] + 1, False), (len(data) + 1, False)):
        one = sweep.Sweep(opened(data))
        seen = []
        for each in one:
            seen.append(each.offset)
            if each.offset == begins[3]:
                one.skip_to(target)
        follows = seen[seen.index(begins[3]) + 1 :]
        if arrives:
            assert follows[:1] == ([target] if target < len(data) else [])
        else:
            assert begins[4] in follows and len(seen) == len(event_offsets(data)) - 1
        assert one.stop is None and one.whole == len(data)


def test_another_description_within() -> None:
    """As in a relay log, and in an archive of transactions from several files."""
    first, second = filesmith.Log(), filesmith.Log(checksum=False)
    first.transaction((int(Kind.ROWS_QUERY), b"\1a"))
    inner = filesmith.payload(filesmith.query("BEGIN"), (int(Kind.XID), bytes(8)))
    second.put(*inner)
    data = bytes(first.data + second.data[4:])
    one = sweep.Sweep(opened(data))
    insides = [list(one.contents(each)) for each in one if each.kind == Kind.TRANSACTION_PAYLOAD]
    assert one.stop is None
    assert [[kind for kind, _body, _form in inside] for inside in insides] == [[Kind.QUERY, Kind.XID]]


def test_reading_goes_on_behind_what_was_looked_into() -> None:
    made = filesmith.Log()
    for _number in range(3):
        made.put(*filesmith.payload(filesmith.query("BEGIN"), (int(Kind.XID), bytes(8))))
        made.transaction()
    one = sweep.Sweep(opened(bytes(made.data)))
    kinds = []
    for each in one:
        kinds.append(each.kind)
        if each.kind == Kind.TRANSACTION_PAYLOAD:
            assert len(list(one.contents(each))) == 2
    assert kinds == [each.kind for each in opened(bytes(made.data)).events()]


@pytest.mark.parametrize("checksum", [True, False])
def test_a_large_compressed_transaction_is_not_held_whole(monkeypatch: pytest.MonkeyPatch, checksum: bool) -> None:
    monkeypatch.setattr(sweep, "_LARGE", 100)
    made = filesmith.Log(checksum=checksum)
    inside = [filesmith.query("BEGIN"), (int(Kind.ROWS_QUERY), bytes(200)), (int(Kind.XID), bytes(8))]
    for _number in range(2):
        begin = made.put(*filesmith.payload(*inside))
        made.transaction()
    one = sweep.Sweep(opened(bytes(made.data)))
    found = [(each.kind, each.data, len(list(one.contents(each)))) for each in one if each.kind == 40]
    assert found == [(Kind.TRANSACTION_PAYLOAD, b"", 3)] * 2
    assert one.stop is None and one.whole == len(made.data)
    made.data[begin + 150] ^= 1
    seen, one = swept(bytes(made.data))
    assert (one.stop is not None and one.stop.offset == begin) == checksum
    assert [each.kind for each in seen].count(Kind.TRANSACTION_PAYLOAD) == (1 if checksum else 2)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (filesmith.Log(description=False).data + filesmith.header(16, 8) + bytes(8), "no FORMAT_DESCRIPTION"),
        (filesmith.Log().data + bytes(30), "type 0"),
        (filesmith.Log().data + filesmith.header(16, -10), "of type 16 and 9 bytes"),
        (filesmith.Log().data + filesmith.header(16, 2) + bytes(2), "too short for a checksum"),
        (filesmith.Log().data + b"abc", "3 bytes of an event header"),
    ],
)
def test_why_it_stops(data: bytearray, why: str) -> None:
    _found, one = swept(bytes(data))
    assert one.stop is not None and why in one.stop.why


def test_an_empty_file() -> None:
    for data in (b"", b"\xfe", b"\xfebin"):
        assert list(sweep.Sweep(BinlogFile("x", io.BytesIO(data)))) == []
