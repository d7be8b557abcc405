# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill's writer: an application that moves money through the virtual address and remembers every answer.

Input: `--config FILE`, a JSON object (mode 0600; times in seconds unless the key says otherwise):

    address, port=3306      the virtual address that applications use
    user, password          an account with SELECT, INSERT, UPDATE (and CREATE) on lossless_drill.*
    log                     path of the JSON lines that are written; must not exist yet
    connections=8           threads that keep their connection
    fresh_connections=2     threads that open a connection for every transaction: they see a moved address at once
    pause_ms=10             pause of each thread between two transactions
    accounts=64             number of accounts that the ledger's rows are spread over
    run=null                number of this run (1 to 2097151); null: one more than the ledger knows
    create_schema=true      create lossless_drill and its tables when they are missing
    prepare_timeout=30      time in which the schema and the accounts have to be ready
    duration=null           end after this time; null: at SIGTERM
    stop_timeout=null       time for transactions in flight at the end; null: read_timeout + 1
    flush_interval_ms=10    longest time (20 at most) that an outcome waits for the log's next fsync
    connect_timeout=0.3, handshake_timeout=1, read_timeout=5, tls, tls_ca, tls_verify_identity   see drill_mysql.py

Output: JSON lines. `monotonic` times are CLOCK_MONOTONIC of this host, `wall` times are Unix time; both in seconds.

    {"type": "start", "run", "accounts", "connections", "fresh_connections", "monotonic", "wall"}
    {"type": "outcome", "id", "writer", "started", "started_wall", "commit_started", "ended", "ended_wall",
     "outcome", "server_uuid", "error"}         started, commit_started (null: COMMIT was not sent), ended: monotonic
    {"type": "connected", "writer", "server_uuid", "monotonic", "wall"}      when a thread's server changed or is back
    {"type": "no_connection", "writer", "attempts", "monotonic", "wall", "error"}    at most ten a second and thread
    {"type": "summary", "acknowledged", "failed", "unknown", "slowest_flush_ms", "monotonic", "wall"}  ended cleanly

Outcomes: `acknowledged`, COMMIT returned OK; `failed`, certainly not committed; `unknown`, everything else. An
outcome counts when its line is on disk: one thread writes and fsyncs them in batches. No id is ever tried twice.

Exit status: 0 after SIGTERM or `duration`; 1 when it could not prepare or not log; 2 for a bad configuration.
"""

from __future__ import annotations

import itertools
import os
import queue
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Callable, TextIO

import pymysql
from drill_common import (
    EXIT_BAD_CONFIG,
    EXIT_COULD_NOT,
    EXIT_DONE,
    MAX_RUN,
    MAX_WRITERS,
    ConfigError,
    account_id,
    config_path,
    entry_of,
    json_line,
    load_config,
    positive,
    reject_unknown,
    required,
    row_id,
    run_of,
)
from drill_mysql import CONNECTION_KEYS, Access, access_from, discard, error_document, error_number, open_session

ACKNOWLEDGED, FAILED, UNKNOWN = "acknowledged", "failed", "unknown"

ROLLED_BACK_BY_COMMIT = frozenset(
    {
        1205,  # ER_LOCK_WAIT_TIMEOUT: COMMIT did not get its metadata lock, before the engine prepared anything
        1213,  # ER_LOCK_DEADLOCK: the transaction was chosen as victim and rolled back
        1290,  # ER_OPTION_PREVENTS_STATEMENT: (super_)read_only was found ON before the engine prepared anything
        3101,  # ER_TRANSACTION_ROLLBACK_DURING_COMMIT: Group Replication's certification said no
    }
)
"""Answers to COMMIT itself after which nothing is committed (1205 and 1290: also tried on 9.7.4). Errors such as
1180 (error during COMMIT), 1053 (shutdown), 1317 (interrupted) or 3100 (a hook failed) can come after the binary log
was written: not in here."""

SESSION_SURVIVES = frozenset({1205, 1213, 3101})
"""Errors that are the transaction's own business. After every other the connection is thrown away: it may lead to
a server that is read-only, shutting down or deposed (1290, 1836, 1053, 3032), or to nobody."""

CONNECT_REPORT_INTERVAL = 0.1
BACKOFF_SECONDS = (0.01, 0.05)
LONGEST_FLUSH_INTERVAL_MS = 20.0

KNOWN_KEYS = CONNECTION_KEYS + (
    "address",
    "port",
    "log",
    "connections",
    "fresh_connections",
    "pause_ms",
    "accounts",
    "run",
    "create_schema",
    "prepare_timeout",
    "duration",
    "stop_timeout",
    "flush_interval_ms",
)

DATABASE_ERRORS = (pymysql.err.Error, OSError)
"""What a database operation raises when the world is at fault; anything else is a bug and ends the thread loudly."""

SCHEMA = (
    "CREATE DATABASE IF NOT EXISTS lossless_drill",
    """CREATE TABLE IF NOT EXISTS lossless_drill.account (
         id BIGINT NOT NULL PRIMARY KEY,
         balance DECIMAL(18,2) NOT NULL DEFAULT 0,
         movements BIGINT NOT NULL DEFAULT 0,
         last_modify_date DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
       ) ENGINE=InnoDB""",
    """CREATE TABLE IF NOT EXISTS lossless_drill.ledger (
         id BIGINT NOT NULL PRIMARY KEY,
         writer INT NOT NULL,
         sequence BIGINT NOT NULL,
         account BIGINT NOT NULL,
         amount DECIMAL(18,2) NOT NULL,
         note VARCHAR(64) NOT NULL,
         last_modify_date DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
       ) ENGINE=InnoDB""",
)

HIGHEST_ID = (
    "SELECT GREATEST(COALESCE((SELECT MAX(id) FROM lossless_drill.ledger), 0),"
    " COALESCE((SELECT MAX(id) FROM lossless_drill.account), 0))"
)
INSERT_ACCOUNT = "INSERT IGNORE INTO lossless_drill.account (id) VALUES (%s)"
INSERT_ENTRY = (
    "INSERT INTO lossless_drill.ledger (id, writer, sequence, account, amount, note) VALUES (%s, %s, %s, %s, %s, %s)"
)
UPDATE_BALANCE = "UPDATE lossless_drill.account SET balance = balance + %s, movements = movements + 1 WHERE id = %s"


@dataclass(frozen=True)
class Settings:
    """The configuration, checked. Times in seconds."""

    address: str
    port: int
    log: str
    access: Access
    connections: int
    fresh_connections: int
    pause: float
    accounts: int
    run: int | None
    create_schema: bool
    prepare_timeout: float
    duration: float | None
    stop_timeout: float
    flush_interval: float


@dataclass
class Attempt:
    """One transaction that was begun. Its outcome is settled exactly once, by its thread or by the one that stops."""

    identifier: int
    writer: int
    started: float
    started_wall: float
    server_uuid: str | None = None
    commit_started: float | None = None
    _settled: bool = field(default=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def settle(self) -> bool:
        """True for the first caller only."""
        with self._lock:
            first, self._settled = not self._settled, True
            return first

    def line(self, outcome: str, error: dict[str, Any] | None) -> dict[str, Any]:
        """The log's line for this transaction, ended now."""
        return {
            "type": "outcome",
            "id": self.identifier,
            "writer": self.writer,
            "started": self.started,
            "started_wall": self.started_wall,
            "commit_started": self.commit_started,
            "ended": time.monotonic(),
            "ended_wall": time.time(),
            "outcome": outcome,
            "server_uuid": self.server_uuid,
            "error": error,
        }


def classify(commit_sent: bool, error: BaseException | None) -> str:
    """What is known of a transaction that ended with `error` (None: with OK).

    Before COMMIT was sent an error is definite: the session never asked for the commit and is rolled back or
    closed. From the moment COMMIT may have left this host only the server's own word counts, and only where it
    means "rolled back"; a lost connection, a time-out or an error that can follow the write of the binary log
    leaves the outcome unknown.
    """
    if error is None:
        return ACKNOWLEDGED if commit_sent else FAILED
    if not commit_sent:
        return FAILED
    return FAILED if error_number(error) in ROLLED_BACK_BY_COMMIT else UNKNOWN


class OutcomeLog:
    """The one thread that writes lines and fsyncs them in batches. When it cannot, it sets `stop` and keeps `error`."""

    def __init__(self, file: TextIO, flush_interval: float, stop: threading.Event) -> None:
        self.counts = {ACKNOWLEDGED: 0, FAILED: 0, UNKNOWN: 0}
        self.error: OSError | None = None
        self.slowest_flush = 0.0
        self._file = file
        self._flush_interval = flush_interval
        self._stop = stop
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="outcome-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, line: dict[str, Any]) -> None:
        """Hand over a line; it is on disk at most one flush interval and one fsync later."""
        self._queue.put(line)

    def close(self, timeout: float) -> None:
        """Write everything handed over so far, and end. Raises the OSError that kept lines from the disk."""
        self._queue.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.error = self.error or OSError("the log could not be flushed in time")
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            for batch in self._batches():
                self._write(batch)
        except OSError as error:
            self.error = error
            self._stop.set()

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        """Lists of lines, each collected for at most the flush interval after its first line came."""
        while True:
            line = self._queue.get()
            batch: list[dict[str, Any]] = []
            deadline = time.monotonic() + self._flush_interval
            while line is not None:
                batch.append(line)
                try:
                    line = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    break
            yield batch
            if line is None:
                return

    def _write(self, batch: list[dict[str, Any]]) -> None:
        begun = time.monotonic()
        self._file.write("".join(json_line(line) for line in batch))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.slowest_flush = max(self.slowest_flush, time.monotonic() - begun)
        for line in batch:
            if line["type"] == "outcome":
                self.counts[line["outcome"]] += 1


class Writer:
    """One thread: transactions one after the other, over a connection that is kept or (`fresh`) made for each."""

    def __init__(
        self,
        number: int,
        run: int,
        settings: Settings,
        log: OutcomeLog,
        stop: threading.Event,
        connect: Callable[[], Any],
        fresh: bool = False,
    ) -> None:
        self.number = number
        self.current: Attempt | None = None
        self._run_number = run
        self._settings = settings
        self._log = log
        self._stop = stop
        self._connect = connect
        self._fresh = fresh
        self._session: Any | None = None
        self._server_uuid: str | None = None
        self._announced_uuid: str | None = None
        self._unreported_attempts = 0
        self._reported_at = float("-inf")

    def run(self) -> None:
        """Write until told to stop; the transaction in flight is finished first."""
        for sequence in itertools.count():
            if self._stop.is_set() or not self._connected():
                break
            pause = self._settings.pause if self._transaction(sequence) else random.uniform(*BACKOFF_SECONDS)
            if self._fresh:
                self._drop()
            self._stop.wait(pause)
        self._drop()

    def _connected(self) -> bool:
        """Have a session, however long it takes; False when told to stop before."""
        while self._session is None and not self._stop.is_set():
            session = None
            try:
                session = self._connect()
                self._server_uuid = self._prepare_session(session)
            except DATABASE_ERRORS as error:
                discard(session)
                self._report_no_connection(error)
                self._stop.wait(random.uniform(*BACKOFF_SECONDS))
            else:
                self._session = session
                self._report_connected()
        return self._session is not None

    def _prepare_session(self, session: Any) -> str:
        """Ask who answers, and have lock waits end with a definite error before this client gives up. Raises."""
        with session.cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", (self._lock_wait_timeout(),))
            cursor.execute("SELECT @@global.server_uuid")
            return str(cursor.fetchone()[0])

    def _lock_wait_timeout(self) -> int:
        return max(1, int(self._settings.access.read_timeout) - 1)

    def _transaction(self, sequence: int) -> bool:
        """One transaction and its outcome in the log; False when the connection was no good any more."""
        attempt = Attempt(
            row_id(self._run_number, self.number, sequence),
            self.number,
            time.monotonic(),
            time.time(),
            self._server_uuid,
        )
        self.current = attempt
        error: BaseException | None = None
        try:
            self._move_money(attempt, sequence)
            attempt.commit_started = time.monotonic()
            self._session.commit()  # type: ignore[union-attr]
        except DATABASE_ERRORS as caught:
            error = caught
        self._settle(attempt, error)
        return error is None or self._recovered(error)

    def _move_money(self, attempt: Attempt, sequence: int) -> None:
        """The statements of the transaction, all but COMMIT. Raises."""
        entry = entry_of(attempt.identifier, self._settings.accounts)
        note = f"writer {self.number} sequence {sequence}"
        session: Any = self._session
        session.begin()
        with session.cursor() as cursor:
            cursor.execute(INSERT_ENTRY, (attempt.identifier, self.number, sequence, entry.account, entry.amount, note))
            if cursor.execute(UPDATE_BALANCE, (entry.amount, entry.account)) != 1:
                raise pymysql.err.DataError(f"account {entry.account} is not there")

    def _settle(self, attempt: Attempt, error: BaseException | None) -> None:
        outcome = classify(attempt.commit_started is not None, error)
        document = None if error is None else error_document(error, self._settings.access)
        if attempt.settle():
            self._log.put(attempt.line(outcome, document))

    def _recovered(self, error: BaseException) -> bool:
        """Keep the session only where the error was the transaction's own and it can be rolled back."""
        if error_number(error) in SESSION_SURVIVES:
            try:
                self._session.rollback()  # type: ignore[union-attr]
                return True
            except DATABASE_ERRORS:
                pass  # then the connection is gone as well: fall through and throw it away
        self._drop()
        return False

    def _drop(self) -> None:
        discard(self._session)
        self._session = None

    def _report_connected(self) -> None:
        """A line when the server is another one than before, or back after it could not be reached."""
        if self._server_uuid == self._announced_uuid and not self._unreported_attempts:
            return
        self._announced_uuid, self._unreported_attempts = self._server_uuid, 0
        self._log.put(
            {
                "type": "connected",
                "writer": self.number,
                "server_uuid": self._server_uuid,
                "monotonic": time.monotonic(),
                "wall": time.time(),
            }
        )

    def _report_no_connection(self, error: BaseException) -> None:
        self._unreported_attempts += 1
        self._announced_uuid = None
        now = time.monotonic()
        if now - self._reported_at < CONNECT_REPORT_INTERVAL:
            return
        self._log.put(
            {
                "type": "no_connection",
                "writer": self.number,
                "attempts": self._unreported_attempts,
                "monotonic": now,
                "wall": time.time(),
                "error": error_document(error, self._settings.access),
            }
        )
        self._reported_at, self._unreported_attempts = now, 0


def prepare(settings: Settings, connect: Callable[[], Any], stop: threading.Event) -> int:
    """Have schema and accounts ready and return the run's number. Raises the last error when time is up."""
    deadline = time.monotonic() + settings.prepare_timeout
    while True:
        session = None
        try:
            session = connect()
            return _prepare_once(settings, session)
        except DATABASE_ERRORS:
            # Every step can be repeated: what half an attempt left behind belongs to a run that never wrote.
            if stop.is_set() or time.monotonic() >= deadline:
                raise
            stop.wait(random.uniform(*BACKOFF_SECONDS))
        finally:
            discard(session)


def _prepare_once(settings: Settings, session: Any) -> int:
    with session.cursor() as cursor:
        for statement in SCHEMA if settings.create_schema else ():
            cursor.execute(statement)
        run = settings.run
        if run is None:
            cursor.execute(HIGHEST_ID)
            run = run_of(int(cursor.fetchone()[0])) + 1
        cursor.executemany(INSERT_ACCOUNT, [(account_id(run, number),) for number in range(settings.accounts)])
    session.commit()
    return run


def stop_writers(writers: list[Writer], threads: list[threading.Thread], timeout: float, log: OutcomeLog) -> None:
    """Wait for transactions in flight; those that do not end within `timeout` seconds are logged as unknown."""
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for writer in writers:
        attempt = writer.current
        if attempt is not None and attempt.settle():
            # Its thread still runs and may yet send COMMIT: nothing about it is definite.
            log.put(attempt.line(UNKNOWN, {"number": None, "text": "still in flight when the writer had to end"}))


def settings_from(config: dict[str, Any]) -> Settings:
    """Check a configuration. Raises ConfigError, or OSError when the CA cannot be read."""
    reject_unknown(config, KNOWN_KEYS)
    required(config, "address", "log")
    access = access_from(config)
    connections, fresh = int(config.get("connections", 8)), int(config.get("fresh_connections", 2))
    if connections < 0 or fresh < 0 or not 0 < connections + fresh <= MAX_WRITERS:
        raise ConfigError(f"connections and fresh_connections have to be 1 to {MAX_WRITERS} together")
    run = config.get("run")
    if run is not None and not 0 < int(run) <= MAX_RUN:
        raise ConfigError(f"run has to be between 1 and {MAX_RUN}")
    flush_ms = positive(config, "flush_interval_ms", 10)
    if flush_ms > LONGEST_FLUSH_INTERVAL_MS:
        raise ConfigError(f"flush_interval_ms may be {LONGEST_FLUSH_INTERVAL_MS:.0f} at most")
    return Settings(
        address=str(config["address"]),
        port=int(config.get("port", 3306)),
        log=str(config["log"]),
        access=access,
        connections=connections,
        fresh_connections=fresh,
        pause=positive(config, "pause_ms", 10) / 1000,
        accounts=int(positive(config, "accounts", 64)),
        run=None if run is None else int(run),
        create_schema=bool(config.get("create_schema", True)),
        prepare_timeout=positive(config, "prepare_timeout", 30),
        duration=None if config.get("duration") is None else positive(config, "duration", 1),
        stop_timeout=positive(config, "stop_timeout", 1) if config.get("stop_timeout") else access.read_timeout + 1,
        flush_interval=flush_ms / 1000,
    )


def write(settings: Settings, stop: threading.Event, connect: Callable[[], Any]) -> None:
    """Prepare, write until `stop` or the duration's end, settle, summarise. Raises DATABASE_ERRORS."""
    with open(settings.log, "x", encoding="ascii") as file:
        log = OutcomeLog(file, settings.flush_interval, stop)
        log.start()
        try:
            run = prepare(settings, connect, stop)
            log.put(
                {
                    "type": "start",
                    "run": run,
                    "accounts": settings.accounts,
                    "connections": settings.connections,
                    "fresh_connections": settings.fresh_connections,
                    "monotonic": time.monotonic(),
                    "wall": time.time(),
                }
            )
            _run_writers(settings, run, log, stop, connect)
        finally:
            log.close(timeout=30)
        # Counted by the log's thread, so the summary says what is on disk, not what was hoped for.
        file.write(
            json_line(
                {
                    "type": "summary",
                    **log.counts,
                    "slowest_flush_ms": round(log.slowest_flush * 1000, 1),
                    "monotonic": time.monotonic(),
                    "wall": time.time(),
                }
            )
        )
        file.flush()
        os.fsync(file.fileno())


def _run_writers(
    settings: Settings, run: int, log: OutcomeLog, stop: threading.Event, connect: Callable[[], Any]
) -> None:
    writers = [
        Writer(number, run, settings, log, stop, connect, fresh=number >= settings.connections)
        for number in range(settings.connections + settings.fresh_connections)
    ]
    threads = [threading.Thread(target=writer.run, name=f"writer-{writer.number}", daemon=True) for writer in writers]
    for thread in threads:
        thread.start()
    stop.wait(settings.duration)
    stop.set()
    stop_writers(writers, threads, settings.stop_timeout, log)


def main() -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        settings = settings_from(load_config(config_path("Write through the virtual address; log every outcome.")))
    except (ConfigError, OSError) as error:
        print(f"writer: {error}", file=sys.stderr)
        return EXIT_BAD_CONFIG
    try:
        write(settings, stop, lambda: open_session(settings.address, settings.port, settings.access))
    except DATABASE_ERRORS as error:
        print(f"writer: {error_document(error, settings.access)['text']}", file=sys.stderr)
        return EXIT_COULD_NOT
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
