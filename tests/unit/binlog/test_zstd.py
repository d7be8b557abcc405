# SPDX-License-Identifier: GPL-3.0-or-later
"""Decompressing by the system's library, as Python's own does from 3.14 on."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import changes, files, zstd
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.events import Payload, decode_payload
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.rows import Change
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from hypothesis import given, settings
from hypothesis import strategies as st

from .samples import content, opened, whole

LIBRARY = zstd._library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no libzstd.so.1 on this system")


@pytest.fixture(autouse=True)
def by_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_zstd", zstd.LibraryZstd(LIBRARY))


def frame() -> tuple[Payload, bytes]:
    """The payload of a transaction that mysqld compressed."""
    first = whole(content("compressed"))[0]
    for event in opened(content("compressed")).events():
        if event.offset > first.start and event.kind == 40:
            return decode_payload(event.body), event.body
    raise AssertionError


def unpacked(data: bytes, size: int, piece: int) -> bytes:
    payload = Payload("zstd", 0, len(data), size)
    read: Callable[[int], bytes] = files._unpacked(payload, io.BytesIO(data).read)
    out = b""
    while True:
        more = read(piece)
        if not more:
            return out
        out += more


def test_what_mysqld_compressed_is_read_in_pieces_of_any_size() -> None:
    payload, body = frame()
    packed = body[payload.offset : payload.offset + payload.size]
    plain = unpacked(packed, payload.uncompressed_size, 1 << 20)
    assert len(plain) == payload.uncompressed_size > payload.size
    for piece in (1, 7, 100):
        assert unpacked(packed, payload.uncompressed_size, piece) == plain


def test_input_that_comes_byte_by_byte() -> None:
    payload, body = frame()
    packed = body[payload.offset : payload.offset + payload.size]
    decompressor = zstd.LibraryZstd(LIBRARY).ZstdDecompressor()
    out = b""
    for byte in packed:
        assert decompressor.needs_input and not decompressor.eof
        out += decompressor.decompress(bytes([byte]), 1 << 16)
    assert decompressor.eof and out == unpacked(packed, payload.uncompressed_size, 1 << 20)
    assert decompressor.decompress(b"more", 10) == b""


def test_output_that_comes_little_by_little() -> None:
    """All of the input is in, and there is no room for what comes of it: then none is asked for."""
    payload, body = frame()
    packed = body[payload.offset : payload.offset + payload.size]
    decompressor = zstd.LibraryZstd(LIBRARY).ZstdDecompressor()
    out = decompressor.decompress(packed, 10)
    while not decompressor.eof:
        assert not decompressor.needs_input
        more = decompressor.decompress(b"", 10)
        assert 0 < len(more) <= 10
        out += more
    assert out == unpacked(packed, payload.uncompressed_size, 1 << 20)


def test_rows_inside_are_decoded() -> None:
    file = opened(content("compressed"))
    first = next(each for each in file.transactions() if each.compression == "zstd")
    found = [each for each in changes.changes(file, first.start, first.end) if isinstance(each, Change)]
    assert found and {(c.table.schema, c.table.table) for c in found} <= {("bank", "entry"), ("bank", "account")}
    assert first.contents_known and {(t.schema, t.table) for t in first.tables} == {
        (c.table.schema, c.table.table) for c in found
    }


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_broken_frames_are_refused_and_nothing_else_happens(data: Any) -> None:
    payload, body = frame()
    packed = bytearray(body[payload.offset : payload.offset + payload.size])
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert len(unpacked(bytes(packed), payload.uncompressed_size, 1000)) <= payload.uncompressed_size
    except HaError as error:
        assert error.code == "binlog_event_malformed"


def test_where_there_is_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zstd, "_LIBRARY", "libno-such-thing.so.1")
    assert zstd._library() is None
