"""The application: clients that write to the primary all the time, each in its own part of the tables."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pymysql

from drills.comeback import clients
from drills.errors import DrillError
from drills.reconcile.tables import LONG, RESTS, SCHEMA

_JOIN_WITHIN = 60.0
_UNDER_WAY_WITHIN = 60.0
_KEPT = 200
"""Rows that an inserting client leaves; older ones it deletes."""
HOT_PAUSE = 0.01
"""A row that is updated 100 times a second, where a commit does not take longer."""
_PAUSE = 0.1
_FIRST = 10_000
"""Numbers of rows that writers insert start here."""


class Row:
    """What a client of its own remembers: its chance, and how many turns it had."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.turn = 0

    def existing(self, rows: int = 400) -> int:
        """The number of a row that writers may change."""
        while True:
            number = self.chance.randint(1, rows)
            if number % RESTS not in (0, LONG):
                return number

    @property
    def new(self) -> int:
        """The number of the row that this turn inserts: not one that rests."""
        return _FIRST + self.turn * RESTS + 1

    @property
    def old(self) -> int:
        return self.new - _KEPT * RESTS


Work = Callable[[Any, Row], None]
"""One turn: statements on a cursor, all of them committed."""


def _accounts(cursor: Any, row: Row) -> None:
    """Money goes from one account to another; always in the order of their numbers, so that nobody waits in a ring."""
    low, high = sorted((row.existing(), row.existing()))
    cursor.execute("BEGIN")
    for number, amount in ((low, 1), (high, 2)):
        cursor.execute(
            f"UPDATE {SCHEMA}.account SET balance = balance + %s, last_modify_date = NOW(6) WHERE id = %s",
            (amount, number),
        )
    cursor.execute("COMMIT")


def _ledger(cursor: Any, row: Row) -> None:
    branch = "SELECT CONCAT('Praha#', %s), CONCAT('w#', %s), 1, 'new', NOW(6)"
    cursor.execute(f"INSERT INTO {SCHEMA}.ledger {branch}", (row.turn % 7, row.new))
    cursor.execute(
        f"UPDATE {SCHEMA}.ledger SET note = CONCAT('turn ', %s), last_modify_date = NOW(6) WHERE branch ="
        " CONCAT('Praha#', %s MOD 7) AND number = CONCAT('č#', %s)",
        (row.turn, *(row.existing(),) * 2),
    )
    cursor.execute(
        f"DELETE FROM {SCHEMA}.ledger WHERE branch = CONCAT('Praha#', %s) AND number = CONCAT('w#', %s)",
        ((row.turn - _KEPT) % 7, row.old),
    )


def _payments(cursor: Any, row: Row) -> None:
    """Rows come, change their partition, and go."""
    table = f"{SCHEMA}.payment"
    cursor.execute(f"INSERT INTO {table} VALUES (%s, '2026-01-15' + INTERVAL %s DAY, 5)", (row.new, row.turn % 300))
    cursor.execute(
        f"UPDATE {table} SET paid_on = DATE'2026-01-01' + INTERVAL %s DAY WHERE id = %s",
        (row.chance.randint(0, 299), row.existing()),
    )
    cursor.execute(f"DELETE FROM {table} WHERE id = %s", (row.old,))


def _wide(cursor: Any, row: Row) -> None:
    cursor.execute(
        f"UPDATE {SCHEMA}.wide SET ti = %s, fl = RAND(), db = RAND(), vc = UUID(), bb = UNHEX(SHA2(UUID(), 256)),"
        " js = JSON_OBJECT('turn', %s), ts = NOW(6), hi = %s, en = IF(RAND() < 0.5, NULL, 'b') WHERE id = %s",
        (row.turn % 100, row.turn, row.turn, row.existing()),
    )


def _stream(cursor: Any, row: Row) -> None:
    cursor.execute("BEGIN")
    cursor.execute(f"INSERT INTO {SCHEMA}.stream VALUES (%s, UUID(), NOW(6))", (row.new,))
    cursor.execute(f"DELETE FROM {SCHEMA}.stream WHERE id = %s", (row.old,))
    cursor.execute("COMMIT")


def _pairs(cursor: Any, row: Row) -> None:
    cursor.execute(f"UPDATE {SCHEMA}.pairs SET a = UUID(), f = RAND() WHERE id = %s", (row.existing(),))


def _keyless(cursor: Any, row: Row) -> None:
    cursor.execute(f"INSERT INTO {SCHEMA}.keyless_busy VALUES (%s, 'written', NULL)", (row.turn % 20,))
    cursor.execute(f"DELETE FROM {SCHEMA}.keyless_busy WHERE b = 'written' AND a = %s", ((row.turn + 10) % 20,))


def _hot(number: int) -> Work:
    """One row, always the same."""

    def work(cursor: Any, row: Row) -> None:
        cursor.execute(
            f"UPDATE {SCHEMA}.hot SET counter = counter + 1, last_modify_date = NOW(6) WHERE id = %s", (number,)
        )

    return work


@dataclass(frozen=True)
class Client:
    """``pause``: seconds from the beginning of a turn to that of the next."""

    work: Work
    pause: float = _PAUSE


CLIENTS: Mapping[str, Client] = {
    "accounts": Client(_accounts),
    "more accounts": Client(_accounts),
    "ledger": Client(_ledger),
    "payments": Client(_payments),
    "wide": Client(_wide),
    "stream": Client(_stream),
    "pairs": Client(_pairs),
    "keyless": Client(_keyless, 0.5),
    "hot": Client(_hot(1), HOT_PAUSE),
}
HAMMERS: Mapping[str, Client] = {f"hammer {number}": Client(_hot(number), 0.0) for number in (2, 3, 4)}
"""Rows that are updated as fast as a client can: sooner or later one has to be looked at under a lock."""


PACED: Mapping[str, Client] = {f"row {number}": Client(_hot(number), HOT_PAUSE) for number in (1, 2)}
"""Rows that are updated 100 times a second, each."""

STORM: Mapping[str, Client] = {
    name: Client(work, 0.02)
    for name, work in (("storm of accounts", _accounts), ("storm of wide rows", _wide), ("storm of pairs", _pairs))
}
"""Many more rows in flight than the usual clients make."""


@dataclass
class Told:
    """Of one client, since the last ``mark``: turns, and the longest in seconds."""

    turns: int = 0
    longest: float = 0.0


@dataclass
class Writers:
    """What the clients say. ``errors``: of clients that ended because of one."""

    told: dict[str, Told] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def tell(self, name: str, seconds: float) -> None:
        with self._news:
            told = self.told.setdefault(name, Told())
            told.turns += 1
            told.longest = max(told.longest, seconds)
            self._news.notify_all()

    def ended(self, name: str, error: Exception) -> None:
        with self._news:
            self.errors.append(f"{name}: {error}")
            self._news.notify_all()

    def until(self, names: Collection[str], *, turns: int = 1, within: float = _UNDER_WAY_WITHIN) -> None:
        """Until each of these has had so many turns since the last ``mark``.

        :raises DrillError: a client ended, or not within so many seconds.
        """

        def late() -> list[str]:
            return [name for name in names if name not in self.told or self.told[name].turns < turns]

        with self._news:
            self._news.wait_for(lambda: self.errors or not late(), within)
            if self.errors or late():
                why = "; ".join(self.errors) or f"not within {within:g} s: {', '.join(late())}"
                raise DrillError(f"the clients do not write: {why}")

    def mark(self) -> dict[str, Told]:
        """What was told until now; everything begins again."""
        with self._news:
            found, self.told, self.began = self.told, {}, time.monotonic()
            return found


@contextmanager
def writing(socket: str, everybody: Mapping[str, Client], *, long: float = 20.0) -> Iterator[Writers]:
    """Everybody writes as long as this lasts.

    :param long: seconds for which a transaction stays open; its rows carry the date at which it began.
    :raises DrillError: a client did not end.
    """
    stop = threading.Event()
    writers = Writers()
    work: dict[str, Callable[[], None]] = {
        name: partial(_write, writers, name, socket, each, seed, stop)
        for seed, (name, each) in enumerate(everybody.items())
    }
    work["long"] = partial(_long, socket, long, stop)
    threads = [threading.Thread(target=_guarded, args=(writers, *each), daemon=True) for each in work.items()]
    for thread in threads:
        thread.start()
    try:
        yield writers
    finally:
        stop.set()
        for thread in threads:
            thread.join(_JOIN_WITHIN)
    if any(thread.is_alive() for thread in threads):
        raise DrillError("a writer did not end")


def _guarded(writers: Writers, name: str, function: Callable[[], None]) -> None:
    try:
        function()
    except (pymysql.err.Error, DrillError) as error:
        writers.ended(name, error)


def _write(writers: Writers, name: str, socket: str, client: Client, seed: int, stop: threading.Event) -> None:
    row = Row(seed)
    with clients.cursor(socket) as cursor:
        due = time.monotonic()
        while not stop.is_set():
            began = time.monotonic()
            client.work(cursor, row)
            ended = time.monotonic()
            writers.tell(name, ended - began)
            row.turn += 1
            # Late turns are made up for, but for those that are more than a second late.
            due = max(due + client.pause, ended - 1.0)
            stop.wait(max(0.0, due - ended))


def _long(socket: str, seconds: float, stop: threading.Event) -> None:
    with clients.cursor(socket) as cursor:
        turn = 0
        while not stop.is_set():
            cursor.execute("BEGIN")
            cursor.execute("SELECT NOW(6) AS now")
            date = cursor.fetchone()["now"]
            for number in range(LONG, 400, RESTS):
                cursor.execute(
                    f"UPDATE {SCHEMA}.account SET note = %s, last_modify_date = %s WHERE id = %s",
                    (f"turn {turn}", date, number),
                )
            stop.wait(seconds)
            cursor.execute("COMMIT")
            turn += 1
