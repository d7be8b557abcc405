# SPDX-License-Identifier: GPL-3.0-or-later
"""What the application was told, and by whom."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.writer import Writer


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    login = SimpleNamespace(user="drill", password="x")
    reach: Any = SimpleNamespace(address="10.0.0.100", writer=login, ca="/ca.pem")
    found = Writer(reach, tmp_path)
    outcomes = [
        ("a", 1.0, "acknowledged"),
        ("a", 3.0, "unknown"),
        ("b", 6.0, "acknowledged"),
        ("b", 5.0, "acknowledged"),
    ]
    lines = [
        {"type": "outcome", "outcome": outcome, "server_uuid": uuid, "ended": at, "ended_wall": 1000 + at}
        for uuid, at, outcome in outcomes
    ]
    found.program.lines_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return found


def test_elsewhere_is_by_anybody_else_in_order(writer: Writer) -> None:
    assert [line["ended"] for line in writer.elsewhere("a")] == [5.0, 6.0]
    assert [line["ended"] for line in writer.acknowledged("a")] == [1.0]
    assert writer.wait_elsewhere("a", 2, 0.0)[0]["ended"] == 5.0


def test_too_few_elsewhere_is_said(writer: Writer) -> None:
    with pytest.raises(BenchmarkError, match="2 of 3 transactions were acknowledged by others than a"):
        writer.wait_elsewhere("a", 3, 0.0)
