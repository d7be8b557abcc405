# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of every type as mysqld 9.7.4 wrote them, against what its SELECT said (``fixtures/README.md``)."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import changes, files, rows_json, tables
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.events import Kind
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.rows import Change, Decoder
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from hypothesis import given, settings
from hypothesis import strategies as st

from .samples import FIXTURES, opened, whole

DATA = gzip.decompress((FIXTURES / "types.binlog.gz").read_bytes())
LINES = gzip.decompress((FIXTURES / "types.jsonl.gz").read_bytes()).splitlines(keepends=True)
PLAIN = [each for each in whole(DATA) if not each.compression]
"""Transactions with full and with minimal metadata; behind them the same compressed."""
needs_zstd = pytest.mark.skipif(files._zstd is None, reason="neither libzstd.so.1 nor Python 3.14")


def decoded(compressed: bool) -> list[Change]:
    file = opened(DATA)
    return [
        item
        for each in whole(DATA)
        if compressed or not each.compression
        for item in changes.changes(file, each.start, each.end)
        if isinstance(item, Change)
    ]


def test_every_value_is_what_the_server_said() -> None:
    found = [rows_json.line_of("", change) for change in decoded(False)]
    assert len(found) > 40 and len({json.loads(line)["operation"] for line in found}) == 2
    for line, expected in zip(found, LINES, strict=False):
        assert json.loads(line) == json.loads(expected)
        assert line == expected


@needs_zstd
def test_compressed_ones_too() -> None:
    assert [rows_json.line_of("", change) for change in decoded(True)] == LINES


def test_what_the_tables_say() -> None:
    seen = {change.table.unknown: change.table for change in decoded(False)}
    assert set(seen) == {(), ("members", "names")}
    full = seen[()]
    assert len(full.columns) > 70 and {column.type for column in full.columns} >= {
        tables.ColumnType.VECTOR, tables.ColumnType.JSON, tables.ColumnType.GEOMETRY, tables.ColumnType.SET,
        tables.ColumnType.TIME2, tables.ColumnType.BIT, tables.ColumnType.YEAR,
    }  # fmt: skip
    assert [full.columns[part.column].name for part in full.key] == ["id"]
    assert [column.name for column in full.columns if not column.visible] == ["hidden"]
    assert [change.key is None for change in decoded(False)] == [
        bool(change.table.unknown) for change in decoded(False)
    ]


def bodies() -> list[tuple[int, bytes, Any]]:
    first = PLAIN[0]
    wanted = {Kind.TABLE_MAP, Kind.WRITE_ROWS}
    return [each for each in opened(DATA).contents(first.start, first.end) if each.kind in wanted]


BODIES = bodies()


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_broken_bytes_of_a_real_server_are_refused_and_nothing_else_happens(data: st.DataObject) -> None:
    decoder = Decoder()
    broken = data.draw(st.integers(0, 1))
    try:
        for number, (kind, body, form) in enumerate(BODIES[:2]):
            given_body = bytearray(body)
            if number == broken:
                for _flip in range(data.draw(st.integers(1, 3))):
                    given_body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
            list(decoder.feed(kind, bytes(given_body), form))
    except HaError as error:
        assert error.code in ("binlog_event_malformed", "binlog_rows_unsupported")
