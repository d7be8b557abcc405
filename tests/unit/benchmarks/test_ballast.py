# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the table that is only there to be large."""

from __future__ import annotations

import re

import pytest

from benchmarks import ballast

_RANGE = re.compile(r"SELECT (\d+) UNION ALL .* i < (\d+)\)")


@pytest.mark.parametrize(
    ("there", "wanted"), [(0, 1), (0, 5000), (0, 5001), (4999, 5000), (5000, 17_321), (9, 9), (9, 3)]
)
def test_every_row_that_lacks_is_written_once(there: int, wanted: int) -> None:
    written: list[int] = []
    for statement in ballast.inserts(there, wanted):
        found = _RANGE.search(statement)
        assert found, statement
        written += range(int(found[1]), int(found[2]) + 1)
    assert written == list(range(there + 1, wanted + 1))


def test_a_row_is_what_its_number_makes_it_so_servers_are_the_same() -> None:
    (statement,) = ballast.inserts(0, 1)
    assert "RAND" not in statement.upper() and "UUID" not in statement.upper() and "AUTO_INCREMENT" not in statement


@pytest.mark.parametrize(("megabytes", "rows"), [(0, 1), (1, 244), (5000, 1_220_703)])
def test_megabytes_in_rows(megabytes: int, rows: int) -> None:
    assert ballast.rows_of(megabytes) == rows
