"""What a comparison costs: whole tables beside bare statements and pt-table-checksum, single rows, differences, memory.

* ``consistency_whole_TABLE``: how fast a table is compared on one thread, over the bare checksum of the same table
  (``BIT_XOR(UNHEX(SHA2(CONCAT_WS('#', ...), 256)))``, which collides). One server at a time: the primary is compared
  with itself over a second session, so it reads every range twice, with all questions and barriers between; half of
  that time is one server's. In pairs, ours first in every second one.
* ``consistency_percona``: the same beside pt-table-checksum, on the primary alone.
* ``consistency_rows``: rows that are looked at again one by one, a second and pair of servers.
* ``consistency_find``: ten rows that differ, over the clean run on the same two servers.
* ``consistency_memory_ROWS``: of the comparing process, beyond what the interpreter took before it began.

    python -m benchmarks.consistency --rows 10000000
    python -m benchmarks.consistency --primary HOST:PORT --replica HOST:PORT --user USER --password-file FILE
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import canonical
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import DIFFERENT, PASS
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Session
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member

from benchmarks import consistency_data as data
from benchmarks import session as benchmark_session
from benchmarks.cluster import Cluster
from benchmarks.consistency_servers import STATEMENT, Place, Servers, compare, look_again, timed
from benchmarks.errors import BenchmarkError
from benchmarks.figures import HIGHER, Series
from benchmarks.interleave import there_and_back
from benchmarks.machine import Condition, Watch
from benchmarks.paths import RESULTS, WORK
from benchmarks.percona import PtTableChecksum
from benchmarks.progress import say
from benchmarks.result import Result, table
from lab.config import CHECKOUT

NAME = "consistency"
ROWS, QUICK_ROWS = 1_000_000, 50_000
SCHEMA = "lossless_bench"
ACCOUNT = "lossless_bench"

WHOLE, PERCONA, LOOKED_AT, FIND, MEMORY = 0.8, 1.0, 5_000.0, 1.5, 64.0
"""The targets: shares of the bare statement's and of pt-table-checksum's speed, rows a second, a share of the clean
run's time, MiB."""
DIFFERING = 10
FIND_ROWS = 10_000_000
"""The target is for so many."""
WIDE_SHARE, SMALL_SHARE = 4, 10
"""The larger table has so many times the rows of the one of every type, and of the small one."""
_STATEMENTS = "/var/lib/lossless_bench.sql"
_CHECKED_ROWS = 20_000
_PERCONA_SECONDS = 0.5
_CAUGHT_UP = 600.0

OURS, BARE, READ, THEIRS = "ours", "bare", "read", "percona"


def run(cluster: Cluster, runs: int, quick: bool) -> Iterator[Result]:
    yield from in_lab(cluster, runs, QUICK_ROWS if quick else ROWS)


def in_lab(cluster: Cluster, runs: int, rows: int) -> Iterator[Result]:
    cluster.mend()
    name = cluster.primary().name
    (primary,) = [member for member in cluster.access.members if member.name == name]
    replica = [member for member in cluster.access.members if member.name != name][-1]
    password = secrets.token_urlsafe(24)

    def place(member: Member) -> Place:
        return Place(member.name, member.host, member.replication_port, ACCOUNT, password, cluster.access.ca)

    def as_root(*statements: str) -> None:
        # The password is in a file that only root reads, and in no argument.
        directory, _slash, file = _STATEMENTS.rpartition("/")
        cluster.hosts.put(name, directory, file, ";\n".join(statements) + ";\n")
        cluster.hosts.run(name, "sh", "-c", f"mysql < {_STATEMENTS}; status=$?; rm {_STATEMENTS}; exit $status")

    as_root(
        f"DROP USER IF EXISTS '{ACCOUNT}'@'%'",
        f"CREATE USER '{ACCOUNT}'@'%' IDENTIFIED BY '{password}'",
        f"GRANT ALL ON {SCHEMA}.* TO '{ACCOUNT}'@'%'",
        # Differences are planted by statements that are not logged. REPLICATION CLIENT, PROCESS: pt-table-checksum.
        f"GRANT PROCESS, REPLICATION CLIENT, SESSION_VARIABLES_ADMIN ON *.* TO '{ACCOUNT}'@'%'",
    )
    try:
        yield from measure(Servers(place(primary), place(replica), SCHEMA), runs, rows)
    finally:
        as_root(f"DROP USER IF EXISTS '{ACCOUNT}'@'%'")


def measure(servers: Servers, runs: int, rows: int) -> Iterator[Result]:
    """:param rows: of the table like sysbench's."""
    with filled(servers, rows):
        for name, number in ((data.SYSBENCH, rows), (data.WIDE, rows // WIDE_SHARE)):
            with servers.open():
                yield whole(servers, name, number, runs)
        with servers.open():
            yield percona(servers, rows, runs)
        with servers.open():
            yield rows_again(servers, rows, runs)
        with servers.open():
            yield find(servers, rows, runs)
        for name, number in ((data.SMALL, rows // SMALL_SHARE), (data.SYSBENCH, rows)):
            yield memory(servers, name, number, runs)


@contextmanager
def filled(servers: Servers, rows: int) -> Iterator[None]:
    """All tables, on both servers; none of them afterwards."""
    writer = servers.places[0].connect()
    sizes = ((data.SYSBENCH, rows), (data.WIDE, rows // WIDE_SHARE), (data.SMALL, rows // SMALL_SHARE))

    def execute(sql: str) -> None:
        writer.execute(sql, within=STATEMENT)

    try:
        execute("SET time_zone = '+00:00'")
        execute(f"DROP DATABASE IF EXISTS {servers.schema}")
        execute(f"CREATE DATABASE {servers.schema}")
        for name, number in sizes:
            execute(data.create(servers.schema, name))
            for statement in data.fill(servers.schema, name, number):
                execute(statement)
            say(f"{NAME}: table {name} has {number} rows")
        execute(f"ANALYZE TABLE {', '.join(data.qualified(servers.schema, n) for n in (data.SYSBENCH, data.WIDE))}")
        _caught_up(servers, writer)
        yield
    finally:
        if writer.usable:
            execute(f"DROP DATABASE IF EXISTS {servers.schema}")
        writer.close()


def _caught_up(servers: Servers, writer: Session) -> None:
    gtids = str(writer.one("SELECT @@GLOBAL.gtid_executed AS gtids", within=STATEMENT)["gtids"])
    replica = servers.places[1].connect()
    try:
        asked = "SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s) AS late"
        if replica.one(asked, (gtids, _CAUGHT_UP), within=_CAUGHT_UP + 10)["late"] != 0:
            raise BenchmarkError(f"the replica did not catch up within {_CAUGHT_UP:g} s")
    finally:
        replica.close()


# The figures


def whole(servers: Servers, name: str, rows: int, runs: int) -> Result:
    asked = servers.table(name)
    bare = data.bare_checksum(servers.schema, name, asked.columns)
    read = data.bare_read(servers.schema, name, asked.columns)
    ways: dict[str, Callable[[], float]] = {
        BARE: lambda: servers.seconds(bare),
        OURS: lambda: itself(servers, name, rows),
        READ: lambda: servers.seconds(read),
    }
    found, conditions = in_pairs(f"{NAME}_whole_{name}", ways, runs)
    return Result(
        f"{NAME}_whole_{name}",
        Series("1", over(found[BARE], found[OURS]), HIGHER),
        conditions,
        servers.primary.version,
        target=WHOLE,
        phases={
            **{f"{way}_seconds": Series("s", tuple(seconds)) for way, seconds in found.items()},
            "rows_per_second": Series("1/s", tuple(rows / seconds for seconds in found[OURS]), HIGHER),
            "over_bare_read": Series("1", over(found[READ], found[OURS]), HIGHER),
        },
        notes=[
            f"{rows} rows of {len(asked.columns)} columns; speed over the bare statement's, one server, one thread",
            "the primary is compared with itself: half of the time, with every range, question and barrier",
        ],
    )


def itself(servers: Servers, name: str, rows: int) -> float:
    """Seconds for which one server is busy, of the comparison of its table with itself."""
    result = None

    def work() -> None:
        nonlocal result
        result = compare(servers, name, servers.second)

    seconds = timed(work)
    if result is None or result.verdict != PASS or result.rows != rows:
        raise BenchmarkError(f"{name}: {result}")
    return seconds / 2


def percona(servers: Servers, rows: int, runs: int) -> Result:
    with tempfile.TemporaryDirectory(dir=_work()) as directory:
        theirs, notes = _their_way(servers, rows, _option_file(servers.places[0], Path(directory)))
        ways = {THEIRS: theirs, OURS: lambda: itself(servers, data.SYSBENCH, rows)}
        found, conditions = in_pairs(f"{NAME}_percona", ways, runs)
    return Result(
        f"{NAME}_percona",
        Series("1", over(found[THEIRS], found[OURS]), HIGHER),
        conditions,
        servers.primary.version,
        target=PERCONA,
        phases={f"{way}_seconds": Series("s", tuple(seconds)) for way, seconds in found.items()},
        notes=[f"{rows} rows; our speed over that of pt-table-checksum on one server", *notes, *collision(servers)],
    )


def _option_file(place: Place, directory: Path) -> Path:
    path = directory / "client.cnf"
    path.touch(mode=0o600)
    authority = f"ssl-ca={place.ca}\n" if place.ca else ""
    path.write_text(f"[client]\nuser={place.user}\npassword={place.password}\n{authority}")
    return path


def _their_way(servers: Servers, rows: int, defaults: Path) -> tuple[Callable[[], float], list[str]]:
    """Itself where it runs, or its statement in chunks; and what there is to say of that."""
    try:
        tool = PtTableChecksum.fetched(_work() / "percona")
        _theirs(tool, servers, defaults)
    except BenchmarkError as error:
        why = f"pt-table-checksum: {error}; so its statement, in chunks of {_PERCONA_SECONDS:g} s by its rule"
        return functools.partial(chunked, servers, rows), [why]
    notes = [
        f"{tool.version()}, its own time of each run (Perl's start is not in it), --recursion-method=none",
        _wide(tool, servers, defaults),
    ]
    return functools.partial(_theirs, tool, servers, defaults), notes


def _theirs(tool: PtTableChecksum, servers: Servers, defaults: Path) -> float:
    place = servers.places[0]
    found, said = tool.run((place.host, place.port), defaults, servers.schema, data.SYSBENCH)
    if len(found) != 1 or found[0].errors:
        raise BenchmarkError(f"it failed: {said[-400:]}")
    return found[0].seconds


def _wide(tool: PtTableChecksum, servers: Servers, defaults: Path) -> str:
    place = servers.places[0]
    found, said = tool.run((place.host, place.port), defaults, servers.schema, data.WIDE)
    if found and not found[0].errors:
        return f"the wide table: {found[0].seconds:g} s for {found[0].rows} rows"
    why = next((line.split("failed: ")[-1][:60] for line in said.splitlines() if "failed: " in line), said[-60:])
    return f"it does not check the wide table: {why}"


def chunked(servers: Servers, rows: int) -> float:
    """pt-table-checksum's statement, in chunks of its size. Returns seconds."""
    chunks = Chunks(_PERCONA_SECONDS)
    seconds = 0.0
    after = 0
    while after < rows:
        size = chunks.rows
        condition = f"(`id` >= {after + 1}) AND (`id` <= {after + size})"
        took = servers.seconds(data.percona_checksum(servers.schema, data.SYSBENCH, condition))
        chunks.took(size, took)
        seconds += took
        after += size
    return seconds


class Chunks:
    """How many rows pt-table-checksum takes next: what it reads in ``seconds`` at the rate so far, older chunks
    weighing three quarters of the one after them; a thousand at first. Pure."""

    def __init__(self, seconds: float) -> None:
        self.rows = 1000
        self._wanted = seconds
        self._rows = self._seconds = 0.0

    def took(self, rows: int, seconds: float) -> None:
        self._rows = self._rows * 0.75 + rows
        self._seconds = self._seconds * 0.75 + seconds
        self.rows = max(int(self._rows / max(self._seconds, 1e-6) * self._wanted), 1)


def collision(servers: Servers) -> list[str]:
    """What each says of two rows that differ, as notes."""
    writer = servers.places[0].connect()
    try:
        writer.execute(data.create(servers.schema, data.PAIR), within=STATEMENT)
        said: dict[str, list[str]] = {}
        for c, pad in (("a#b", "c"), ("a", "b#c")):
            writer.execute(
                f"REPLACE INTO {data.qualified(servers.schema, data.PAIR)} VALUES (1, %s, %s)",
                (c, pad),
                within=STATEMENT,
            )
            asked = servers.table(data.PAIR)
            columns = [column for column in asked.columns if column.name != "id"]
            source = data.qualified(servers.schema, data.PAIR)
            ways = {
                "pt-table-checksum": (data.percona_checksum(servers.schema, data.PAIR), "crc"),
                "the bare statement": (data.bare_checksum(servers.schema, data.PAIR, columns), "digest"),
                "ours": (f"SELECT {canonical.aggregate(columns)} FROM {source}", "digest"),
            }
            for way, (sql, field) in ways.items():
                said.setdefault(way, []).append(str(writer.one(sql, within=STATEMENT)[field]).lower()[:12])
        return [
            f"('a#b', 'c') and ('a', 'b#c') are {'the same' if one == other else 'different'} to {way}: {one}, {other}"
            for way, (one, other) in said.items()
        ]
    finally:
        if writer.usable:
            writer.execute(f"DROP TABLE IF EXISTS {data.qualified(servers.schema, data.PAIR)}", within=STATEMENT)
        writer.close()


def rows_again(servers: Servers, rows: int, runs: int) -> Result:
    keys = [(key,) for key in random.Random(1).sample(range(1, rows + 1), min(_CHECKED_ROWS, rows))]
    fewer = rows // WIDE_SHARE
    wide = [(key,) for key in random.Random(2).sample(range(1, fewer + 1), min(_CHECKED_ROWS, fewer))]

    def rate(name: str, chosen: Sequence[tuple[int]]) -> float:
        seconds, again = look_again(servers, name, chosen)
        if again.difference_count or again.restless or again.rows != len(chosen):
            raise BenchmarkError(f"{name}: {again.difference_count} differ, {again.restless} are restless")
        return len(chosen) / seconds

    ways = {data.SYSBENCH: lambda: rate(data.SYSBENCH, keys), data.WIDE: lambda: rate(data.WIDE, wide)}
    found, conditions = in_pairs(f"{NAME}_rows", ways, runs)
    return Result(
        f"{NAME}_rows",
        Series("1/s", tuple(found[data.SYSBENCH]), HIGHER),
        conditions,
        servers.primary.version,
        target=LOOKED_AT,
        phases={data.WIDE: Series("1/s", tuple(found[data.WIDE]), HIGHER)},
        notes=[f"{len(keys)} rows at random of each table, none differs; both servers share this machine"],
    )


def find(servers: Servers, rows: int, runs: int) -> Result:
    """Rows are changed on the primary by statements that are not logged, and changed back. They are far apart, so no
    two of them are found in one range: what they cost is the same in a table of any size."""
    chosen = [rows * (2 * number + 1) // (2 * DIFFERING) for number in range(DIFFERING)]
    writer = servers.places[0].connect()

    def shift(by: int) -> None:
        marks = ", ".join(["%s"] * len(chosen))
        sql = f"UPDATE {data.qualified(servers.schema, data.SYSBENCH)} SET k = k + %s WHERE id IN ({marks})"
        writer.execute(sql, (by, *chosen), within=STATEMENT)

    def seconds(differing: int) -> float:
        began = time.perf_counter()
        result = compare(servers, data.SYSBENCH, servers.replica)
        took = time.perf_counter() - began
        if result.verdict != (DIFFERENT if differing else PASS) or result.difference_count != differing:
            raise BenchmarkError(f"{differing} rows differ, and it said: {result.verdict}, {result.difference_count}")
        return took

    def planted() -> float:
        shift(1)
        try:
            return seconds(DIFFERING)
        finally:
            shift(-1)

    try:
        writer.execute("SET SESSION sql_log_bin = OFF", within=STATEMENT)
        ways: dict[str, Callable[[], float]] = {"clean": lambda: seconds(0), "planted": planted}
        found, conditions = in_pairs(f"{NAME}_find", ways, runs)
    finally:
        writer.close()
    return Result(
        f"{NAME}_find",
        Series("1", reckoned(found["planted"], found["clean"], rows)),
        conditions,
        servers.primary.version,
        target=FIND,
        phases={
            **{f"{way}_seconds": Series("s", tuple(seconds)) for way, seconds in found.items()},
            "as_measured": Series("1", over(found["planted"], found["clean"])),
        },
        notes=[f"{DIFFERING} rows that differ among {rows}", *_reckoning(rows)],
    )


def _reckoning(rows: int) -> list[str]:
    if rows >= FIND_ROWS:
        return []
    return [f"reckoned for {FIND_ROWS}: what they cost is the same there, and the clean run takes longer"]


def reckoned(planted: Sequence[float], clean: Sequence[float], rows: int) -> tuple[float, ...]:
    """Of each pair, the run with differences over the clean one, if the table had FIND_ROWS. Pure."""
    factor = max(FIND_ROWS / rows, 1.0)
    return tuple(1 + (one - other) / (other * factor) for one, other in zip(planted, clean, strict=True))


def memory(servers: Servers, name: str, rows: int, runs: int) -> Result:
    asked = json.dumps(
        {
            "primary": dataclasses.asdict(servers.places[0]),
            "replica": dataclasses.asdict(servers.places[1]),
            "schema": servers.schema,
            "table": name,
        }
    )
    beyond, whole_process = [], []
    conditions: list[Condition] = []
    version = ""
    for number in range(min(runs, 3)):
        with Watch() as watch:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.consistency_memory"],
                check=False, input=asked, capture_output=True, text=True, timeout=_CAUGHT_UP, cwd=CHECKOUT,
            )  # fmt: skip
        if done.returncode:
            raise BenchmarkError(f"the comparing process failed: {done.stderr[-400:]}")
        found = json.loads(done.stdout)
        if found["verdict"] != PASS or found["rows"] != rows:
            raise BenchmarkError(f"{name}: {found}")
        conditions.append(watch.condition)
        beyond.append((found["most"] - found["began"]) / (1 << 20))
        whole_process.append(found["most"] / (1 << 20))
        say(f"{NAME}_memory_{rows} {number + 1}: {beyond[-1]:.1f} MiB beyond the interpreter's own")
    return Result(
        f"{NAME}_memory_{rows}",
        Series("MiB", tuple(beyond)),
        conditions,
        version,
        target=MEMORY,
        phases={"process": Series("MiB", tuple(whole_process))},
        notes=["resident at most, beyond what the interpreter had before the collection was imported"],
    )


def in_pairs(
    figure: str, ways: dict[str, Callable[[], float]], runs: int
) -> tuple[dict[str, list[float]], list[Condition]]:
    """Each way once to warm up, then in turn, there and back."""
    for once in ways.values():
        once()
    found: dict[str, list[float]] = {way: [] for way in ways}
    conditions: list[Condition] = []
    for number, way in there_and_back(list(ways), runs):
        with Watch() as watch:
            value = ways[way]()
        found[way].append(value)
        conditions.append(watch.condition)
        say(f"{figure} {number + 1}/{runs} {way}: {value:.3f}")
    return found, conditions


def over(ones: Sequence[float], others: Sequence[float]) -> tuple[float, ...]:
    """Of each pair, the one over the other. Pure."""
    return tuple(one / other for one, other in zip(ones, others, strict=True))


def _work() -> Path:
    WORK.mkdir(mode=0o700, parents=True, exist_ok=True)
    return WORK


# On its own


def address(text: str) -> tuple[str, int]:
    """HOST:PORT. Pure.

    :raises ValueError: it is not.
    """
    host, found, port = text.rpartition(":")
    if not (found and host and port.isdigit()):
        raise ValueError(f"{text} is not HOST:PORT")
    return host, int(port)


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    command.add_argument("--rows", type=int, default=ROWS, help=f"of the larger table (default {ROWS})")
    command.add_argument("--runs", type=int, default=5, help="pairs of each figure (default 5)")
    command.add_argument("--primary", type=address, metavar="HOST:PORT", help="instead of the lab's servers")
    command.add_argument("--replica", type=address, metavar="HOST:PORT", help="it follows the primary")
    command.add_argument("--user", help="may do everything there")
    command.add_argument("--password-file", type=Path)
    command.add_argument("--schema", default=SCHEMA, help=f"is dropped and made (default {SCHEMA})")
    return command


def main() -> int:
    options = parser().parse_args()
    own = (options.primary, options.replica, options.user, options.password_file)
    if not any(own):
        return benchmark_session.hold([lambda cluster: in_lab(cluster, options.runs, options.rows)])
    if not all(own):
        parser().error("--primary, --replica, --user and --password-file belong together")
    password = options.password_file.read_text().rstrip("\n")
    primary, replica = (
        Place(name, where[0], where[1], options.user, password)
        for name, where in (("primary", options.primary), ("replica", options.replica))
    )
    documents = []
    try:
        for result in measure(Servers(primary, replica, options.schema), options.runs, options.rows):
            say(f"written: {result.write(RESULTS)}")
            documents.append(result.as_dict())
            for note in result.notes:
                say(note)
    finally:
        if documents:
            print(table(documents))
    return 0


if __name__ == "__main__":
    sys.exit(main())
