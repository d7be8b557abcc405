"""How fast the keys that a binary log touched are read from its files. No lab is needed.

    python -m benchmarks.binlog_keys [--rows 150000] [--samples 5] [--profile]

Each width is a file that is made here, with full metadata and checksums as mysqld writes them, in a temporary
directory: row events of 8 KiB (``binlog_row_event_max_size``), inserts, updates and deletes in turn, a new key in each
row, which is the dearest for what keeps the keys; and once a transaction for every single row. One process reads the
file, keeps the keys (with a quarter of the memory that they need, so most go to disk and come back), and reads out
every distinct key with its values. The figure is rows over the seconds of processor time that this took.
"""

from __future__ import annotations

import argparse
import cProfile
import dataclasses
import itertools
import pstats
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.events import Kind
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import touched
from ansible_collections.lossless.mysql_ha.tests.unit.binlog import filesmith, rowsmith

from benchmarks.errors import BenchmarkError
from benchmarks.figures import HIGHER, Series
from benchmarks.machine import Condition, Watch
from benchmarks.progress import say
from benchmarks.result import Result, table

NAME = "binlog_keys"
ROWS, QUICK_ROWS = 150_000, 20_000
TARGET = 40_000.0
"""Rows a second."""
_EVENT = 8192
_KEY_BYTES = 150
"""Memory of one key, about."""
_OPERATIONS = (Kind.WRITE_ROWS, Kind.UPDATE_ROWS, Kind.DELETE_ROWS)
_UTF8 = rowsmith.optional(2, rowsmith.packed(255))


@dataclasses.dataclass(frozen=True)
class Shape:
    """A table, its key by the columns' places, its rows by their number, and whether each is a transaction."""

    fields: Sequence[rowsmith.Field]
    key: Sequence[int]
    row: Callable[[int], Sequence[Any]]
    single: bool = False


def _narrow(number: int) -> Sequence[Any]:
    return number, number % 1000, number * 7, (2026, 11, 28, 1, 2, number % 60, 0)


_NARROW = (rowsmith.integer(8, 8), rowsmith.integer(3, 4), rowsmith.number(18, 2), rowsmith.datetime2(0))
_ACCOUNT = rowsmith.varchar(34)
_TWENTY = (
    _ACCOUNT,
    rowsmith.integer(3, 4),
    *(rowsmith.integer(8, 8) for _number in range(5)),
    *(rowsmith.number(18, 2) for _number in range(3)),
    *(rowsmith.datetime2(6) for _number in range(3)),
    *(rowsmith.varchar(60) for _number in range(5)),
    rowsmith.ENUM,
    rowsmith.integer(1, 1),
)


def _twenty(number: int) -> Sequence[Any]:
    moment = (2026, 11, 28, 1, 2, number % 60, number % 1000000)
    note = None if number % 3 else "a note of some letters"
    return (
        f"CZ65{number % 5000:020d}", number, *range(number, number + 5), number, -number, 0, moment, moment,
        None if number % 2 else moment, note, "EUR", "card", f"merchant {number % 977}", None, 1, 1,
    )  # fmt: skip


_WIDE = (
    rowsmith.integer(8, 8),
    rowsmith.varchar(255),
    rowsmith.varchar(1000),
    rowsmith.blob(2),
    rowsmith.integer(8, 8),
    rowsmith.JSON,
)


def _wide(number: int) -> Sequence[Any]:
    return number, "x" * 200, "y" * 500, b"z" * (300 + number % 1000), number, {"amount": number, "note": "n" * 100}


SHAPES = {
    "narrow": Shape(_NARROW, (0,), _narrow),
    "20_columns": Shape(_TWENTY, (0, 1), _twenty),
    "wide": Shape(_WIDE, (0,), _wide),
    "narrow_single": Shape(_NARROW, (0,), _narrow, single=True),
}


@dataclasses.dataclass(frozen=True)
class Measured:
    """One reading: seconds of processor time for reading the file, and for reading out the keys."""

    rows: int
    size: int
    keys: int
    scan: float
    out: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / (self.scan + self.out)

    @property
    def mb_per_second(self) -> float:
        return self.size / (self.scan + self.out) / 1e6


def write(path: Path, shape: Shape, rows: int) -> None:
    """The file. An update is of a row's other columns: its key stays."""
    width = len(shape.fields)
    named = rowsmith.names(*(f"column_{number}" for number in range(width)))
    key = rowsmith.optional(8, b"".join(rowsmith.packed(place) for place in shape.key))
    table_map = (int(Kind.TABLE_MAP), rowsmith.table_map(shape.fields, _UTF8 + named + key))
    log = filesmith.Log()
    kinds = itertools.cycle(_OPERATIONS)
    numbers = iter(range(rows))
    with path.open("wb") as stream:
        while True:
            kind = next(kinds)
            body, count = _event(shape, kind, numbers)
            if not count:
                break
            log.transaction(table_map, (int(kind), body))
            stream.write(log.data)
            log.data.clear()
        log.rotate()
        stream.write(log.data)


def _event(shape: Shape, kind: int, numbers: Iterator[int]) -> tuple[bytes, int]:
    images, count = bytearray(), 0
    update = kind == Kind.UPDATE_ROWS
    for number in numbers:
        image = rowsmith.image(shape.fields, shape.row(number))
        images += image * 2 if update else image
        count += 1
        if shape.single or len(images) > _EVENT:
            break
    width = len(shape.fields)
    return rowsmith.rows(width, bytes(images), held=[[True] * width] * (2 if update else 1)), count


def read(path: Path, rows: int) -> Measured:
    """One reading.

    :raises BenchmarkError: it did not find every key.
    """
    before = time.process_time()
    with touched.scan([str(path)], directory=str(path.parent), most_bytes=rows * _KEY_BYTES // 4) as found:
        between = time.process_time()
        keys = sum(1 for entry in found.tables.values() for _key in entry)
        after = time.process_time()
        changes = sum(entry.changes for entry in found.tables.values())
        if not found.complete or found.handed_over or (keys, changes) != (rows, rows):
            raise BenchmarkError(f"{keys} keys of {changes} changes, and {rows} rows: {found.everything}")
    return Measured(rows, path.stat().st_size, keys, between - before, after - between)


def results(rows: int, samples: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix=NAME) as directory:
        for name, shape in SHAPES.items():
            path = Path(directory) / "binlog.000001"
            write(path, shape, rows)
            size = path.stat().st_size
            say(f"{NAME}_{name}: {rows} rows, {size / 1e6:.0f} MB")
            found: list[Measured] = []
            conditions: list[Condition] = []
            for _sample in range(samples):
                with Watch() as watch:
                    found.append(read(path, rows))
                conditions.append(watch.condition)
            path.unlink()
            yield Result(
                name=f"{NAME}_{name}",
                series=Series("rows/s", tuple(each.rows_per_second for each in found), HIGHER),
                conditions=conditions,
                server_version="none",
                target=TARGET,
                phases={
                    "throughput": Series("MB/s", tuple(each.mb_per_second for each in found), HIGHER),
                    "scan": Series("s", tuple(each.scan for each in found)),
                    "out": Series("s", tuple(each.out for each in found)),
                },
                notes=[f"{size / rows:.0f} bytes of log a row, {len(shape.fields)} columns"],
            )


def run(_cluster: object, runs: int, quick: bool) -> Iterator[Result]:
    """As ``benchmarks.__main__`` calls it; the lab is not used."""
    yield from results(QUICK_ROWS if quick else ROWS, runs)


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="where the time goes")
    options = parser.parse_args()
    profile = cProfile.Profile()
    if options.profile:
        profile.enable()
    found = [result.as_dict() for result in results(options.rows, options.samples)]
    if options.profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    print(table(found))
    for each in found:
        print(f"{each['name']}: {each['phases']['throughput']['median']} MB/s, {each['notes'][0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
