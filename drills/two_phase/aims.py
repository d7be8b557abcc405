"""Instants at which the server is killed: some anywhere under load, some aimed at a stage of a commit."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pymysql

from drills.errors import DrillError
from drills.two_phase import load
from drills.two_phase.clients import Client, Doing
from drills.two_phase.server import STATEMENT_SECONDS, Server

UNDER_LOAD, NO_ACKNOWLEDGER, WRITING = "under_load", "no_acknowledger", "while_the_log_is_written"
ALTERING, ROTATING, RECOVERING = "while_a_table_is_altered", "while_the_log_is_rotated", "again_while_it_recovers"

SAID = {
    UNDER_LOAD: "anywhere",
    NO_ACKNOWLEDGER: "commits wait for an acknowledgement that nobody gives: in the binary log, not in the engine",
    WRITING: "a large transaction is being copied into the binary log",
    ALTERING: "a table that all clients write to is being altered",
    ROTATING: "the binary log is rotated again and again",
    RECOVERING: "anywhere, and once more while it recovers from that",
}
_SHARES = {UNDER_LOAD: 18, WRITING: 9, NO_ACKNOWLEDGER: 8, ALTERING: 6, RECOVERING: 5, ROTATING: 4}
"""Of fifty."""

_WAITS = "Waiting for semi-sync ACK%"
_SOON = 30.0


@dataclass(frozen=True)
class Instant:
    """When, drawn from a seed. ``load``: seconds of load before; ``delay``: seconds from what is aimed at to the kill;
    ``share``: of what is being written; ``rows``: of the large transaction."""

    number: int
    seed: int
    aim: str
    load: float
    delay: float
    share: float
    rows: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def seed_of(session: int, number: int, aim: str) -> int:
    """The seed of one round. Its aim can be read from it, so that one number replays a round."""
    names = list(SAID)
    return random.Random(f"{session} {number}").randrange(1 << 28) * len(names) + names.index(aim)


def aim_of(seed: int) -> str:
    names = list(SAID)
    return names[seed % len(names)]


def order(session: int, rounds: int) -> list[str]:
    """The aims of so many rounds: each by its share, the order at random. With six rounds or more all of them occur."""
    weighted = [aim for aim, share in _SHARES.items() for _each in range(share)]
    chance = random.Random(session)
    chance.shuffle(weighted)
    first = list(_SHARES) if rounds >= len(_SHARES) else []
    for aim in first:
        weighted.remove(aim)
    chosen = list(itertools.islice(itertools.chain(first, itertools.cycle(weighted)), rounds))
    chance.shuffle(chosen)
    return chosen


def draw(number: int, seed: int) -> Instant:
    chance = random.Random(seed)
    return Instant(
        number,
        seed,
        aim_of(seed),
        load=round(chance.uniform(0.4, 2.4), 3),
        delay=round(chance.uniform(0.0, 0.4), 4),
        share=round(chance.uniform(0.02, 0.98), 4),
        rows=chance.randrange(12, 40),
    )


def strike(server: Server, pid: int, instant: Instant, clients: Sequence[Client]) -> dict[str, Any]:
    """Kill it, at that instant. The clients are at work.

    :returns: what was seen of it: ``waiting`` (numbers of clients whose commit waited), ``written`` (bytes).
    """
    time.sleep(instant.load)
    if instant.aim == NO_ACKNOWLEDGER:
        return _no_acknowledger(server, pid, instant, clients)
    if instant.aim == WRITING:
        return _writing(server, pid, instant)
    if instant.aim in (ALTERING, ROTATING):
        return _meanwhile(server, pid, instant)
    server.kill(pid)
    return {}


def strike_again(server: Server, instant: Instant) -> float:
    """Let it start, and kill it while it recovers, or right after. Returns after how many seconds."""
    began = time.monotonic()
    server.begin_start()
    pid = server.pid()
    time.sleep(instant.delay * 2)
    took = time.monotonic() - began
    server.kill(pid)
    return took


def _no_acknowledger(server: Server, pid: int, instant: Instant, clients: Sequence[Client]) -> dict[str, Any]:
    with server.session() as cursor:
        cursor.execute("SET GLOBAL rpl_semi_sync_source_enabled = ON")
        ends = time.monotonic() + _SOON
        while not _waiting(cursor):
            if time.monotonic() > ends:
                raise DrillError(f"no commit waits {_SOON:g} s after semi-sync was switched on")
            time.sleep(0.005)
        time.sleep(instant.delay)
        waiting = _waiting(cursor)
        server.kill(pid)
    # One whose commit has begun since it was counted waits as well; one that was counted can not have ended.
    return {"waiting": sorted(client.number for client in clients if client.connection_id in waiting)}


def _waiting(cursor: Any) -> set[int]:
    cursor.execute(
        "SELECT PROCESSLIST_ID AS id FROM performance_schema.threads WHERE PROCESSLIST_STATE LIKE %s", (_WAITS,)
    )
    return {int(row["id"]) for row in cursor.fetchall()}


def _writing(server: Server, pid: int, instant: Instant) -> dict[str, Any]:
    """When a share of the large transaction is in the file: seen by its size, from outside of the server."""
    connection = server.connect(load.SCHEMA)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE TABLE bulk")
        connection.begin()
        for number in range(instant.rows):
            step = load.bulk_row(number)
            cursor.execute(step.statement, step.values)
    wanted = int(instant.share * instant.rows * load.BULK_ROW)
    first = server.binlogs()[-1]
    before = _written(server, first)
    committing = threading.Thread(target=_commit, args=(connection,), daemon=True)
    committing.start()
    ends = time.monotonic() + _SOON
    written = 0
    while written < wanted and committing.is_alive() and time.monotonic() < ends:
        written = _written(server, first) - before
    late = not committing.is_alive()
    server.kill(pid)
    committing.join(STATEMENT_SECONDS)
    return {"written": written, "wanted": wanted, "late": late}


def _written(server: Server, first: Path) -> int:
    """Bytes of the binary log from that file on; it may be rotated meanwhile."""
    return sum(file.stat().st_size for file in server.binlogs() if file.name >= first.name)


def _commit(connection: Any) -> None:
    with contextlib.suppress(pymysql.err.MySQLError, OSError):
        connection.commit()


def _meanwhile(server: Server, pid: int, instant: Instant) -> dict[str, Any]:
    chance = random.Random(instant.seed)
    alterations = (load.Step(load.alteration(chance)) for _each in itertools.count())
    rotations = itertools.repeat(load.Step("FLUSH BINARY LOGS"))
    with Doing(server, alterations if instant.aim == ALTERING else rotations) as doing:
        time.sleep(instant.delay + (0.3 if instant.aim == ALTERING else 0.0))
        server.kill(pid)
    return {"done": doing.done}
