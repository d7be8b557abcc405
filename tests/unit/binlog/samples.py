# SPDX-License-Identifier: GPL-3.0-or-later
"""Binary log files that mysqld 9.7.4 wrote (``fixtures/README.md``), and what mysqlbinlog says of them."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.files import BinlogFile, Ending
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.transactions import Transaction

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))
NAMES = tuple(EXPECTED)
SERIES = ("plain", "tagged", "compressed", "xa", "nochecksum", "special")
"""Consecutive files of one server, oldest first."""
UUID = "816c2795-e558-11f1-8e54-0242ac110002"


def content(name: str) -> bytes:
    if name == "torn":
        return gzip.decompress((FIXTURES / "torn.binlog.gz").read_bytes())
    return (FIXTURES / f"{name}.binlog").read_bytes()


def opened(data: bytes) -> BinlogFile:
    return BinlogFile("in memory", io.BytesIO(data))


def read(data: bytes, **how: Any) -> tuple[list[Transaction], Ending]:
    file = opened(data)
    return list(file.transactions(**how)), file.ending


def whole(data: bytes) -> list[Transaction]:
    return [each for each in read(data)[0] if each.complete]


def event_offsets(data: bytes) -> list[int]:
    """Where events begin, and the end: by their lengths alone."""
    offsets = [4]
    while offsets[-1] < len(data):
        offsets.append(offsets[-1] + int.from_bytes(data[offsets[-1] + 9 : offsets[-1] + 13], "little"))
    return offsets
