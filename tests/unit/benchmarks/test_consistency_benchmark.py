# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of the reconciliation: what is asked, in which order, and what is made of it."""

from __future__ import annotations

import pytest
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column

from benchmarks import consistency
from benchmarks import consistency_data as data
from benchmarks.consistency_memory import high_water
from benchmarks.consistency_servers import Place
from benchmarks.errors import BenchmarkError
from benchmarks.figures import HIGHER, Series
from benchmarks.interleave import there_and_back
from benchmarks.percona import Checksummed, mirror, parse


def test_none_is_always_the_one_after_the_other() -> None:
    assert "".join(way for _round, way in there_and_back("ab", 4)) == "abbaabba"
    assert [number for number, _way in there_and_back("ab", 2)] == [0, 0, 1, 1]


def test_speeds_are_of_pairs_and_slower_than_wanted_misses() -> None:
    found = consistency.over([0.8, 1.0], [1.0, 1.0])
    assert found == (0.8, 1.0) and Series("1", found, HIGHER).meets(consistency.WHOLE)
    assert not Series("1", consistency.over([0.7], [1.0]), HIGHER).meets(consistency.WHOLE)


@pytest.mark.parametrize(
    ("planted", "clean", "rows", "ratio"),
    [(3.0, 1.0, 1_000_000, 1.2), (3.0, 1.0, 10_000_000, 3.0), (6.0, 4.0, 20_000_000, 1.5)],
)
def test_what_differences_cost_is_reckoned_for_ten_million_rows(
    planted: float, clean: float, rows: int, ratio: float
) -> None:
    assert consistency.reckoned([planted], [clean], rows) == (pytest.approx(ratio),)


def test_all_rows_are_filled_once() -> None:
    said = list(data.fill("s", data.SYSBENCH, 25_000))
    bounds = [(int(one.split("SELECT ")[1].split(" ")[0]), int(one.split("i < ")[1].split(")")[0])) for one in said]
    assert bounds == [(1, 10_000), (10_001, 20_000), (20_001, 25_000)]
    assert all("cte_max_recursion_depth=10000" in one for one in said)


def test_the_statements_beside_read_every_column() -> None:
    columns = [column("a"), column("t", "text"), column("v", "vector"), column("j", "json"), column("d", "double")]
    assert data.bare_checksum("s", "t", columns) == (
        "SELECT COUNT(*) AS number, HEX(BIT_XOR(UNHEX(SHA2(CONCAT_WS('#', `a`, `t`, HEX(`v`), `j`, `d`), 256))))"
        " AS digest FROM `s`.`t`"
    )
    assert data.bare_read("s", "t", columns) == (
        "SELECT COUNT(*), SUM(`a`), SUM(LENGTH(`t`)), SUM(LENGTH(`v`)), SUM(JSON_LENGTH(`j`)), SUM(`d`) FROM `s`.`t`"
    )


def test_chunks_are_of_what_half_a_second_reads() -> None:
    chunks = consistency.Chunks(0.5)
    assert chunks.rows == 1000
    chunks.took(1000, 0.001)
    assert chunks.rows == 500_000
    chunks.took(500_000, 1.0)  # it got slower: 500750 rows in 1.00075 s
    assert chunks.rows == 250_187


def test_the_table_of_pt_table_checksum_is_read() -> None:
    said = (
        "Checking if all tables can be checksummed ...\nStarting checksum ...\n"
        "            TS ERRORS  DIFFS     ROWS  DIFF_ROWS  CHUNKS SKIPPED    TIME TABLE\n"
        "11-28T02:10:12      0      0   300000          0       1       0   0.293 h_bench.sb\n"
        "11-28T02:10:12      2      0        0          0       1       0   0.001 h_bench.wide\n"
    )
    assert parse(said) == [Checksummed(0, 300000, 1, 0.293, "h_bench.sb"), Checksummed(2, 0, 1, 0.001, "h_bench.wide")]
    assert parse("Cannot connect to MySQL") == []


def test_the_mirror_is_that_of_the_machine() -> None:
    assert mirror(["", "Types: deb\nURIs: http://mirror.invalid/debian\nSuites: bookworm\n"]) == (
        "http://mirror.invalid/debian"
    )
    assert mirror(["deb [arch=amd64] http://mirror.invalid/debian/ sid main\n"]) == "http://mirror.invalid/debian/"
    assert mirror(["deb http://mirror.invalid/debian-security x\n", "deb http://other.invalid/debian x\n"]) == (
        "http://other.invalid/debian"
    )
    with pytest.raises(BenchmarkError, match="no Debian mirror"):
        mirror(["deb http://mirror.invalid/cloud x main\n"])


def test_memory_is_the_most_that_was_resident() -> None:
    assert high_water("VmPeak:\t  99 kB\nVmHWM:\t   1234 kB\nVmRSS:\t  7 kB\n") == 1234 * 1024


def test_an_address_has_a_port() -> None:
    assert consistency.address("10.0.0.1:3306") == ("10.0.0.1", 3306)
    for wrong in ("10.0.0.1", ":3306", "h:", "h:x"):
        with pytest.raises(ValueError, match="is not HOST:PORT"):
            consistency.address(wrong)


def test_a_password_is_not_shown() -> None:
    assert "geheim" not in repr(Place("p", "h", 1, "u", "geheim"))
