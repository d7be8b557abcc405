"""The clients: threads that write until they are told to end, or their server is gone."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql

from drills.errors import DrillError
from drills.two_phase import load
from drills.two_phase.server import Server

_GONE = frozenset({0, 2002, 2003, 2006, 2013, 1053, 1290, 1836})
"""The server is gone, is going, or takes no writes."""
_END_SECONDS = 90.0


@dataclass(frozen=True)
class Fate:
    """A client's numbers when its server was gone. ``sent``: the last COMMIT that left it; ``acknowledged``: the last
    that was answered with OK. They differ by one when the outcome of the last is unknown."""

    sent: int
    acknowledged: int

    @property
    def unknown(self) -> bool:
        return self.sent != self.acknowledged


class Client:
    """One client of one round. It goes on from the number that it had."""

    def __init__(self, server: Server, number: int, seed: int, fate: Fate) -> None:
        self.number = number
        self.connection_id = 0
        self.trouble: Exception | None = None
        self._server = server
        self._rng = random.Random(seed)
        self._sent, self._acknowledged = fate.sent, fate.acknowledged
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"client-{number}", daemon=True)

    @property
    def fate(self) -> Fate:
        return Fate(self._sent, self._acknowledged)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def join(self) -> None:
        """:raises DrillError: it does not end, or ended of something else than its server."""
        self._thread.join(_END_SECONDS)
        if self._thread.is_alive():
            raise DrillError(f"client {self.number} does not end")
        if self.trouble is not None:
            raise DrillError(f"client {self.number} ended: {self.trouble}") from self.trouble

    def _run(self) -> None:
        try:
            connection = self._server.connect(load.SCHEMA)
        except pymysql.err.MySQLError as error:
            self.trouble = error
            return
        try:
            self.connection_id = connection.thread_id()
            with connection.cursor() as cursor:
                while not self._stop.is_set():
                    self._one(connection, cursor)
        except (pymysql.err.MySQLError, OSError) as error:
            if not gone(error):
                self.trouble = error
        finally:
            with contextlib.suppress(pymysql.err.Error, OSError):
                connection.close()

    def _one(self, connection: Any, cursor: Any) -> None:
        transaction = load.draw(self._rng, self.number)
        try:
            if transaction.alone:
                for step in transaction.steps:
                    cursor.execute(step.statement, step.values)
                return
            connection.begin()
            for step in transaction.steps:
                cursor.execute(step.statement, step.values)
            if not transaction.commits:
                connection.rollback()
                return
            cursor.execute(load.PROGRESS, (self.number, self._sent + 1, transaction.kind))
        except (pymysql.err.MySQLError, OSError) as error:
            if gone(error):
                raise
            # A deadlock, a table that is not there: part of the game.
            connection.rollback()
            return
        self._sent += 1
        connection.commit()
        self._acknowledged = self._sent


def gone(error: Exception) -> bool:
    """Whether it says that the server is gone."""
    if isinstance(error, pymysql.err.InterfaceError) or not isinstance(error, pymysql.err.MySQLError):
        return True
    return bool(error.args) and error.args[0] in _GONE


@contextmanager
def writing(server: Server, fates: Sequence[Fate], seed: int) -> Iterator[list[Client]]:
    """The clients at work; they end with their server, or are told to."""
    clients = [Client(server, number, seed * 1000 + number, fate) for number, fate in enumerate(fates)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.stop()
        for client in clients:
            client.join()


class Doing:
    """Something that one more connection does meanwhile, again and again, until its server is gone or it is stopped.

    :param statements: one after the other, from the beginning again; what fails is part of the game.
    """

    def __init__(self, server: Server, statements: Iterator[load.Step]) -> None:
        self.done = 0
        self._stop = threading.Event()
        self._server = server
        self._statements = statements
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Doing:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        with contextlib.suppress(pymysql.err.MySQLError, OSError), self._server.session(load.SCHEMA) as cursor:
            for step in self._statements:
                if self._stop.is_set():
                    return
                try:
                    cursor.execute(step.statement, step.values)
                except (pymysql.err.MySQLError, OSError) as error:
                    if gone(error):
                        return
                self.done += 1


def beyond(fates: Mapping[int, Fate], found: Mapping[int, int]) -> tuple[list[str], int, int]:
    """What became of the clients' transactions. Pure.

    :param found: each client's number in ``progress`` after the crash.
    :returns: sentences about what is wrong; of the unknown outcomes how many are there, and how many are not.
    """
    wrong, there, absent = [], 0, 0
    for client, fate in sorted(fates.items()):
        number = found.get(client, 0)
        if number < fate.acknowledged:
            wrong.append(
                f"client {client}: {fate.acknowledged} was acknowledged and {number} is the last that is there"
            )
        elif number > fate.sent:
            wrong.append(f"client {client}: {number} is there and {fate.sent} is the last that was sent")
        elif fate.unknown:
            there += number == fate.sent
            absent += number == fate.acknowledged
    return wrong, there, absent
