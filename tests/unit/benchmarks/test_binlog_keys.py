# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark of keys works at all, and reads every key of what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import binlog_keys
from benchmarks.errors import BenchmarkError


def test_a_small_one() -> None:
    found = list(binlog_keys.results(300, 1))
    assert [each.name for each in found] == [f"{binlog_keys.NAME}_{name}" for name in binlog_keys.SHAPES]
    assert all(each.series.median > 0 and each.phases["throughput"].median > 0 for each in found)
    assert all(each.target == 40_000 for each in found)


def test_a_row_that_is_not_found_is_no_result(tmp_path: Path) -> None:
    path = tmp_path / "binlog.000001"
    binlog_keys.write(path, binlog_keys.SHAPES["narrow"], 50)
    assert binlog_keys.read(path, 50).keys == 50
    with pytest.raises(BenchmarkError, match="50 keys of 50 changes, and 51 rows"):
        binlog_keys.read(path, 51)


@pytest.mark.parametrize(
    ("name", "least", "most"), [("narrow", 20, 50), ("20_columns", 100, 300), ("wide", 1000, 2500)]
)
def test_how_wide_the_rows_are(tmp_path: Path, name: str, least: int, most: int) -> None:
    """Bytes of one image; updates hold two."""
    shape: Any = binlog_keys.SHAPES[name]
    path = tmp_path / "binlog.000001"
    binlog_keys.write(path, shape, 500)
    assert least < path.stat().st_size / 500 / 1.33 < most
