"""The two-phase commit: kill -9 at random instants under load, and after crash recovery the rows equal the binary log.

A server with the collection's settings gets load from eight clients and is killed; it recovers; a second server, empty
at first, gets what is new in the first one's binary log; then both hold the same rows, definitions and GTIDs, or the
drill has failed and stops. Server, data and replay go on from round to round, so the last comparison is of all that was
ever done. Rewinding an old primary rests on just this: what is cut off the binary log is not in the engine either.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql

from benchmarks.hosts import Hosts
from benchmarks.machine import Watch
from benchmarks.progress import say
from drills.errors import DrillError
from drills.two_phase import aims, clients, contents, load, mutants, recovery, report
from drills.two_phase.aims import Instant
from drills.two_phase.binlog import scan
from drills.two_phase.clients import Fate
from drills.two_phase.replay import Replay
from drills.two_phase.server import REPLAY, SUBJECT, Server
from lab.config import CHECKOUT
from lab.errors import LabError

ROUNDS = 50
RESULTS = CHECKOUT / "build" / "drill"
KEPT = RESULTS / report.SCENARIO
"""Of a round that failed: the binary log files that it replayed, and the server's error log."""
BROKEN = ("differences", "left_wrong", "beyond", "released")

_SWITCH = 0.0002
"""Seconds after which Python lets another thread run: the one that watches a file shall not wait for eight clients."""


def run(hosts: Hosts, rounds: int, seed: int, *, round_seed: int | None = None, mutant: str = "") -> int:
    """:param round_seed: one round only, with the moments and transactions that it had; on a new server, so that what
        the clients did before is not there.
    :returns: an exit status: 0 when everything holds.
    """
    say(f"{report.SCENARIO}: {rounds} rounds, seed {seed}" + (f", with the mutant {mutant}" if mutant else ""))
    found = drill(hosts, instants(rounds, seed, round_seed), seed, mutant=mutant)
    report.write(found, RESULTS)
    for one in found["checks"]:
        say(f"{'holds ' if one['holds'] else 'BROKEN'} {one['name']}: {one['said'][:400]}")
    say(f"{found['verdict']}; written: {RESULTS / 'report.json'} and report.html")
    return 0 if found["verdict"] == "pass" else 1


def instants(rounds: int, seed: int, round_seed: int | None = None) -> list[Instant]:
    """When to kill."""
    if round_seed is not None:
        return [aims.draw(1, round_seed)]
    chosen = enumerate(aims.order(seed, rounds), 1)
    return [aims.draw(number, aims.seed_of(seed, number, aim)) for number, aim in chosen]


def drill(hosts: Hosts, planned: Sequence[Instant], seed: int, *, mutant: str = "") -> dict[str, Any]:
    """All rounds; the report's document. Nothing of it is left on the host.

    :raises DrillError: a round could not be done: mysqld did not come back, say. What there is of it is kept.
    """
    shutil.rmtree(KEPT, ignore_errors=True)
    for name in ("report.json", "report.html"):
        # Of whatever drill was before; nobody is to take it for this one's.
        (RESULTS / name).unlink(missing_ok=True)
    began_at = time.time()
    switch = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        with _servers(hosts) as (subject, target):
            one = Rounds(subject, target, mutant)
            for instant in planned:
                found = _gone(one, instant)
                _tell(found, len(planned))
                if any(found[key] for key in BROKEN):
                    one.keep(KEPT)
                    break
            trouble = one.index_trouble()
            version = one.version()
    finally:
        sys.setswitchinterval(switch)
    return report.document(
        one.history,
        asked=len(planned),
        seed=seed,
        mutant=mutant,
        server_version=version,
        index_trouble=trouble,
        began_at=began_at,
        ended_at=time.time(),
    )


def _gone(rounds: Rounds, instant: Instant) -> dict[str, Any]:
    try:
        return rounds.go(instant)
    except (DrillError, LabError, OSError, ValueError, pymysql.err.MySQLError) as error:
        rounds.keep(KEPT)
        raise DrillError(
            f"round {instant.number} ({instant.aim}, seed {instant.seed}) could not be done: {error}; kept: {KEPT}"
        ) from error


@contextmanager
def _servers(hosts: Hosts) -> Iterator[tuple[Server, Server]]:
    """The one that is killed and the one that is replayed into, both new, started and open."""
    host = hosts.lab.config.db_names[0]
    subject, target = Server(hosts, host, "subject", SUBJECT), Server(hosts, host, "replay", REPLAY)
    try:
        for server in (subject, target):
            server.create()
            server.start()
            server.open_writes()
        with subject.session() as cursor:
            cursor.execute(f"CREATE DATABASE {load.SCHEMA} CHARACTER SET utf8mb4")
            cursor.execute(f"USE {load.SCHEMA}")
            for statement in load.TABLES:
                cursor.execute(statement)
            cursor.execute(load.accounts().statement)
        yield subject, target
    finally:
        for server in (subject, target):
            server.remove()


class Rounds:
    """One after the other, on the same servers. ``history``: as ``report.document`` reads it."""

    def __init__(self, subject: Server, target: Server, mutant: str = "") -> None:
        self.history: list[dict[str, Any]] = []
        self._subject = subject
        self._target = target
        self._replay = Replay(subject, target)
        self._mutant = mutant
        self._fates = [Fate(0, 0) for _number in range(load.CLIENTS)]
        self._files: list[Path] = []

    def go(self, instant: Instant) -> dict[str, Any]:
        with Watch() as watch:
            found = self._round(instant)
        found["condition"] = watch.condition.as_dict()
        self.history.append(found)
        return found

    def _round(self, instant: Instant) -> dict[str, Any]:
        subject = self._subject
        with clients.writing(subject, self._fates, instant.seed) as writers:
            seen = self._struck(instant, writers)
        fates = {client.number: client.fate for client in writers}
        self._files = [path for path in subject.binlogs() if path.name not in self._replay.files]
        dead = {path.name: scan(path.read_bytes()) for path in self._files}
        offset = subject.log_size()
        if instant.aim == aims.RECOVERING:
            seen["again_after"] = round(aims.strike_again(subject, instant), 3)
        recovered_in = subject.start()
        alive = {path.name: scan(path.read_bytes()) for path in subject.binlogs() if path.name in dead}
        log = recovery.read_log(subject.log_since(offset))
        if self._mutant in mutants.AFTER_RECOVERY:
            subject.open_writes()
            mutants.AFTER_RECOVERY[self._mutant](subject)
        began = time.monotonic()
        troubles = self._replay.take()
        replayed_in = time.monotonic() - began
        began = time.monotonic()
        differences = troubles + self._compared()
        compared_in = time.monotonic() - began
        numbers = self._numbers()
        wrong, there, absent = clients.beyond(fates, numbers)
        waiting = set(seen.pop("waiting", []))
        if instant.aim == aims.NO_ACKNOWLEDGER:
            # Behind the one that waits others stand in the queue, in the binary log as well.
            waiting |= {number for number, fate in fates.items() if fate.unknown and numbers.get(number) == fate.sent}
        self._fates = [Fate(numbers.get(number, 0), numbers.get(number, 0)) for number in sorted(fates)]
        subject.open_writes()
        return {
            **instant.as_dict(),
            "transactions": sum(one.transactions for one in dead.values()),
            "largest": max((one.largest for one in dead.values()), default=0),
            "seen": seen,
            "torn": sum(one.torn for one in dead.values()),
            "committed": log.committed,
            "rolled_back": log.rolled_back,
            "trimmed": log.trimmed,
            "waiting": sorted(waiting),
            "there": there,
            "absent": absent,
            "differences": differences,
            "left_wrong": [*log.failed, *recovery.left_wrong(dead, alive)],
            "beyond": wrong,
            "released": released(sorted(waiting), fates, numbers),
            "seconds": {
                "recovery": round(recovered_in, 3),
                "replay": round(replayed_in, 3),
                "compare": round(compared_in, 3),
            },
        }

    def _struck(self, instant: Instant, writers: Sequence[clients.Client]) -> dict[str, Any]:
        subject = self._subject
        pid = subject.pid()
        if self._mutant != mutants.TRANSACTION_CUT:
            return aims.strike(subject, pid, instant, writers)
        time.sleep(instant.load)
        for client in writers:
            client.stop()
        for client in writers:
            client.join()
        mutants.commit_to_be_cut(subject)
        subject.kill(pid)
        mutants.cut_the_last_transaction(subject)
        return {}

    def _compared(self) -> list[str]:
        with self._subject.session() as ours, self._target.session() as theirs:
            server, replay = contents.read(ours, load.SCHEMA), contents.read(theirs, load.SCHEMA)
            found = contents.differences(server, replay)
            both = server.tables.keys() & replay.tables.keys()
            for name in sorted(both):
                if server.tables[name] != replay.tables[name]:
                    found += contents.rows_apart(ours, theirs, load.SCHEMA, name)
        return found

    def _numbers(self) -> dict[int, int]:
        with self._subject.session(load.SCHEMA) as cursor:
            cursor.execute("SELECT client, number FROM progress")
            return {int(row["client"]): int(row["number"]) for row in cursor.fetchall()}

    def index_trouble(self) -> list[str]:
        """What CHECK TABLE says that is not OK, of every table."""
        with self._subject.session(load.SCHEMA) as cursor:
            cursor.execute("SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'")
            names = ", ".join(f"`{next(iter(row.values()))}`" for row in cursor.fetchall())
            cursor.execute(f"CHECK TABLE {names} EXTENDED")
            return [f"{row['Table']}: {row['Msg_text']}" for row in cursor.fetchall() if row["Msg_text"] != "OK"]

    def version(self) -> str:
        with self._subject.session() as cursor:
            cursor.execute("SELECT VERSION() AS version")
            return str(cursor.fetchone()["version"])

    def keep(self, directory: Path) -> None:
        """What a person needs who has to find out why."""
        directory.mkdir(parents=True, exist_ok=True)
        new = [path for path in self._subject.binlogs() if path.name not in self._replay.files]
        for path in (*{*self._files, *new}, self._subject.root / "error.log"):
            shutil.copyfile(path, directory / path.name)


def released(waiting: Sequence[int], fates: Mapping[int, Fate], numbers: Mapping[int, int]) -> list[str]:
    """Of the clients whose commits waited, whose is not there, or was told OK. Pure."""
    found = []
    for client in waiting:
        if not fates[client].unknown:
            found.append(f"client {client} was told OK for a commit that nobody acknowledged")
        elif numbers.get(client, 0) < fates[client].sent:
            found.append(f"client {client}: its commit waited, so it stood in the binary log, and it is not there")
    return found


def _tell(found: Mapping[str, Any], rounds: int) -> None:
    seconds = found["seconds"]
    broken = [said for key in BROKEN for said in found[key]]
    say(
        f"{found['number']}/{rounds} {found['aim']}: {found['transactions']} transactions,"
        f" {found['torn']} bytes torn, recovery committed {found['committed']} and rolled back {found['rolled_back']}"
        f" ({seconds['recovery']:.1f} s); replayed in {seconds['replay']:.1f} s: "
        + ("equal" if not broken else f"BROKEN, seed {found['seed']}: {'; '.join(broken)}")
    )
