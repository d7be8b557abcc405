"""A table of so many megabytes, the same on every server, that no binary log carries.

Gigabytes through semi-sync would take longer than what is measured with them, and fill disks with logs. Its rows follow
from their numbers, so each server writes its own, with the log off, and all have the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from benchmarks.progress import say

TABLE = "lossless_drill.bench_ballast"
ROW_BYTES = 4096
_AT_ONCE = 5000
"""Rows of a transaction."""
_TURN = 50
"""Transactions of a line of progress."""
_CREATE = (
    "CREATE DATABASE IF NOT EXISTS lossless_drill",
    f"CREATE TABLE IF NOT EXISTS {TABLE} (id BIGINT PRIMARY KEY, body VARBINARY({ROW_BYTES}) NOT NULL)",
)
_UNLOGGED = "SET sql_log_bin = 0; SET cte_max_recursion_depth = 4294967295"


def rows_of(megabytes: int) -> int:
    """How many rows are that much data; at least one."""
    return max(megabytes * 1_000_000 // ROW_BYTES, 1)


def inserts(there: int, wanted: int) -> Iterator[str]:
    """The statements that bring a server from so many rows to so many. Pure."""
    for first in range(there + 1, wanted + 1, _AT_ONCE):
        last = min(first + _AT_ONCE - 1, wanted)
        yield (
            f"INSERT INTO {TABLE} (id, body) WITH RECURSIVE n (i) AS"
            f" (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
            f" SELECT i, REPEAT(UNHEX(SHA2(i, 512)), {ROW_BYTES // 64}) FROM n"
        )


def fill(cluster: Cluster, megabytes: int) -> None:
    """The table has that much data on every server. By root: a busy keeper ends sessions of applications.

    :raises BenchmarkError: a server has more of it already, or not the same in the end.
    """
    wanted = rows_of(megabytes)
    names = [member.name for member in cluster.access.members]
    with ThreadPoolExecutor(len(names)) as pool:
        found = list(pool.map(lambda name: _fill(cluster, name, wanted), names))
    if set(found) != {f"{wanted}\t{wanted}"}:
        told = ", ".join(f"{name}: {rows}" for name, rows in zip(names, found, strict=True))
        raise BenchmarkError(f"{TABLE} has not rows 1 to {wanted} everywhere (rows, last): {told}")


def _fill(cluster: Cluster, name: str, wanted: int) -> str:
    # Not read-only for root alone: read_only itself stays as it is.
    was = _ask(cluster, name, "SELECT @@GLOBAL.super_read_only")
    try:
        _ask(cluster, name, "; ".join(("SET GLOBAL super_read_only = 0", _UNLOGGED, *_CREATE)))
        there = int(_ask(cluster, name, f"SELECT COUNT(*) FROM {TABLE}"))
        statements = list(inserts(there, wanted))
        for done in range(0, len(statements), _TURN):
            _ask(cluster, name, "; ".join((_UNLOGGED, *statements[done : done + _TURN])))
            say(f"{name}: {min(wanted, there + (done + _TURN) * _AT_ONCE) * ROW_BYTES >> 20} MiB are written")
    finally:
        _ask(cluster, name, f"SET GLOBAL super_read_only = {was}")
    return _ask(cluster, name, f"SELECT COUNT(*), MAX(id) FROM {TABLE}")


def _ask(cluster: Cluster, name: str, sql: str) -> str:
    return cluster.hosts.run(name, "mysql", "-BN", "-e", sql)


@contextmanager
def gone_afterwards(cluster: Cluster) -> Iterator[None]:
    """Nothing of the table is left on any server, however it ends."""
    try:
        yield
    finally:
        cluster.hosts.run(cluster.primary().name, "mysql", "-e", f"DROP TABLE IF EXISTS {TABLE}")
