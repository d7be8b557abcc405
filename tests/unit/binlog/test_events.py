# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoders: numbers of both encodings, GTID sets with and without tags, and bytes that are no event."""

from __future__ import annotations

import struct
import uuid

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import events
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.events import Cursor, Kind
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from hypothesis import given, settings
from hypothesis import strategies as st

from .samples import NAMES, content, opened


def varlen(value: int) -> bytes:
    """mysql::serialization's unsigned integer, written the slow way: from its description."""
    for length in range(1, 9):
        if value < 1 << 7 * length:
            return (value << length | (1 << length - 1) - 1).to_bytes(length, "little")
    return b"\xff" + value.to_bytes(8, "little")


@given(st.integers(0, 2**64 - 1))
def test_variable_length_integers_come_back(value: int) -> None:
    field = Cursor(varlen(value), "number")
    assert field.varlen_unsigned() == value
    assert field.left == 0


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_variable_length_integers_come_back(value: int) -> None:
    raw = value << 1 if value >= 0 else (-(value + 1) << 1) | 1
    assert Cursor(varlen(raw), "number").varlen_signed() == value


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("fbff07", 65535),  # the example of the library's readme
        ("00", 0),
        ("fe", 127),
        ("0102", 128),
    ],
)
def test_variable_length_integers_of_the_documentation(data: str, value: int) -> None:
    assert Cursor(bytes.fromhex(data), "number").varlen_unsigned() == value


@pytest.mark.parametrize(("data", "value"), [("f3ff0f", 65535), ("ebff0f", -65535), ("fbff0f", -65536)])
def test_signed_integers_of_the_documentation(data: str, value: int) -> None:
    assert Cursor(bytes.fromhex(data), "number").varlen_signed() == value


@pytest.mark.parametrize(
    ("data", "value"), [("fa", 250), ("fcfb00", 251), ("fdffff01", 131071), ("fe0000000000000080", 2**63)]
)
def test_length_encoded_integers(data: str, value: int) -> None:
    assert Cursor(bytes.fromhex(data), "number").packed() == value


def encoded(gtids: GtidSet) -> bytes:
    origins: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for origin, interval in gtids:
        origins.setdefault(origin, []).append(interval)
    tagged = any(tag for _uuid, tag in origins)
    count = len(origins)
    data = struct.pack("<Q", 1 << 56 | count << 8 | 1 if tagged else count)
    for (server, tag), intervals in origins.items():
        data += uuid.UUID(server).bytes
        if tagged:
            data += varlen(len(tag)) + tag.encode()
        data += struct.pack("<Q", len(intervals))
        data += b"".join(struct.pack("<qq", first, last + 1) for first, last in intervals)
    return data


numbers = st.integers(1, 2**63 - 3)
sets = st.dictionaries(
    st.tuples(
        st.sampled_from([str(uuid.UUID(int=number)) for number in (1, 2**127, 2**128 - 1)]),
        st.sampled_from(["", "a", "_", "other_tag_that_is_32_chars_long_"]),
    ),
    st.lists(numbers.flatmap(lambda first: st.tuples(st.just(first), st.integers(first, 2**63 - 2))), min_size=1),
    max_size=5,
).map(GtidSet)


@settings(max_examples=100)
@given(sets)
def test_gtid_sets_come_back(gtids: GtidSet) -> None:
    assert events.decode_gtid_set(encoded(gtids)) == gtids


@settings(max_examples=100)
@given(sets, st.data())
def test_a_gtid_set_cut_off_is_an_error(gtids: GtidSet, data: st.DataObject) -> None:
    whole = encoded(gtids)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(HaError, match="binlog_event_malformed"):
        events.decode_gtid_set(whole[:cut])


def test_a_gtid_set_of_an_unknown_format_is_an_error() -> None:
    with pytest.raises(HaError, match="format 2"):
        events.decode_gtid_set(struct.pack("<Q", 2 << 56))


@given(st.binary(max_size=200), st.integers(0, 255))
def test_any_bytes_are_decoded_or_refused_cleanly(body: bytes, kind: int) -> None:
    form = opened(content("plain")).prelude().format
    assert form is not None
    try:
        events.decode(kind, body, form)
    except HaError as error:
        assert error.code == "binlog_event_malformed"


@pytest.mark.parametrize("name", NAMES)
def test_every_event_of_the_fixtures_is_decoded(name: str) -> None:
    file = opened(content(name))
    form = file.prelude().format
    assert form is not None
    assert form.server_version == "9.7.4-2"
    assert form.post_header_length(Kind.TABLE_MAP) == 8
    assert form.checksum is (events.ChecksumAlgorithm.OFF if name == "nochecksum" else events.ChecksumAlgorithm.CRC32)
    for event in file.events():
        assert event.kind in Kind._value2member_map_
        facts = events.decode(event.kind, event.body, form)
        quiet = (Kind.FORMAT_DESCRIPTION, Kind.INTVAR, Kind.RAND, Kind.USER_VAR, Kind.ROWS_QUERY, Kind.STOP)
        assert (facts is None) == (event.kind in quiet)
        if event.kind in (Kind.ROTATE, Kind.XA_PREPARE, Kind.QUERY):
            assert facts


def test_the_description_of_an_open_file_can_be_closed() -> None:
    prelude = opened(content("killed")).prelude()
    assert prelude.format_event[17] & events.Flag.IN_USE
    closed = events.format_not_in_use(prelude.format_event)
    assert not closed[17] & events.Flag.IN_USE
    assert events.decode_format_description(closed) == prelude.format


def tagged_body(*fields: tuple[int, bytes], must_know: int = 0, version: int = 1) -> bytes:
    inner = varlen(must_know) + b"".join(varlen(number) + data for number, data in fields)
    for size in range(len(inner), len(inner) + 12):
        head = varlen(version) + varlen(size)
        if len(head) + len(inner) == size:
            return head + inner
    raise AssertionError


UUID_FIELD = b"".join(varlen(byte) for byte in uuid.UUID("ffeeddcc-bbaa-9988-7766-554433221100").bytes)
NEEDED = ((0, varlen(0)), (1, UUID_FIELD), (2, varlen(7 << 1)), (3, varlen(2) + b"ab"))


def test_a_tagged_gtid_with_fields_of_a_newer_version() -> None:
    event = events.decode_gtid_tagged(tagged_body(*NEEDED, (8, varlen(300)), (40, b"whatever")))
    assert str(event.gtid) == "ffeeddcc-bbaa-9988-7766-554433221100:ab:7"
    assert event.transaction_length == 300


@pytest.mark.parametrize(
    "body",
    [
        tagged_body(*NEEDED, must_know=40),
        tagged_body(*NEEDED, version=2),
        tagged_body(*NEEDED[:2]),
        tagged_body(*reversed(NEEDED)),
        tagged_body(NEEDED[1], (2, varlen(0))),
        tagged_body(*NEEDED)[:-1],
    ],
)
def test_a_tagged_gtid_that_cannot_be_understood_is_an_error(body: bytes) -> None:
    with pytest.raises(HaError, match="binlog_event_malformed"):
        events.decode_gtid_tagged(body)


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        ("CREATE USER 'x'@'%' IDENTIFIED WITH 'y' AS 'secret'", "CREATE USER"),
        ("SET PASSWORD='secret'", "SET"),
        ("insert into t values('secret')", "INSERT INTO"),
        ("/* secret */ DROP TABLE t", ""),
        ("XA COMMIT X'6f',X'',1", "XA COMMIT"),
        ("", ""),
    ],
)
def test_a_statement_is_named_without_its_values(text: str, verb: str) -> None:
    assert events.statement_verb(text) == verb
