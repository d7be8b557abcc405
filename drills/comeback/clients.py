"""Clients on the primary's own socket, whose last statement is sent and not waited for: commits that wait for an
acknowledgement, one for each connection."""

from __future__ import annotations

import contextlib
import resource
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql
from pymysql.constants import COMMAND

from drills.errors import DrillError

Statements = Sequence[str]
"""Of one client. All but the last are answered before anything is cut."""

_OK, _ERROR = 0x00, 0xFF
_HEAD = 4


class Clients:
    """Connected. ``send`` sends what is to wait; ``answers`` says what came back."""

    def __init__(self, socket: str, work: Sequence[Statements]) -> None:
        self._last = [statements[-1] for statements in work]
        self._connections: list[Any] = []
        for statements in work:
            connection = _connect(socket)
            self._connections.append(connection)
            with connection.cursor() as cursor:
                for statement in statements[:-1]:
                    cursor.execute(statement)

    def send(self) -> None:
        for connection, statement in zip(self._connections, self._last, strict=True):
            connection._execute_command(COMMAND.COM_QUERY, statement)

    def answers(self, within: float) -> tuple[int, list[str]]:
        """How many were told OK, and the errors of the others that were answered.

        :param within: seconds until the last one has been answered; those that wait are not an error.
        """
        told, errors = 0, []
        left = {connection._sock.fileno(): connection for connection in self._connections if connection._sock}
        watch = select.poll()
        for number in left:
            watch.register(number, select.POLLIN)
        ends = time.monotonic() + within
        while left and time.monotonic() < ends:
            for number, _event in watch.poll(200):
                watch.unregister(number)
                packet = left.pop(number)._sock.recv(4096)
                if len(packet) > _HEAD and packet[_HEAD] == _OK:
                    told += 1
                elif len(packet) > _HEAD and packet[_HEAD] == _ERROR:
                    errors.append(packet[_HEAD + 9 :].decode(errors="replace"))
        return told, errors

    def close(self) -> None:
        for connection in self._connections:
            with contextlib.suppress(pymysql.err.Error, OSError):
                connection._force_close()


@contextmanager
def connected(socket: str, work: Sequence[Statements]) -> Iterator[Clients]:
    """:raises DrillError: more clients than this machine or that server lets in."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < len(work) + 500:
        raise DrillError(
            f"{len(work)} clients need as many files; this machine allows {hard} (COMMITS= asks for fewer)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = Clients(socket, work)
    try:
        yield clients
    finally:
        clients.close()


@contextmanager
def cursor(socket: str) -> Iterator[Any]:
    """Of root, on that server; rows are dictionaries."""
    connection = _connect(socket)
    try:
        with connection.cursor(pymysql.cursors.DictCursor) as found:
            yield found
    finally:
        with contextlib.suppress(pymysql.err.Error):
            connection.close()


def _connect(socket: str) -> Any:
    # A context for TLS would be made, and take a megabyte and 50 ms, for each of thousands of connections.
    try:
        return pymysql.connect(
            unix_socket=socket,
            user="root",
            autocommit=None,
            charset="utf8mb4",
            ssl_disabled=True,
            connect_timeout=60,
            read_timeout=300,
        )
    except pymysql.err.Error as error:
        raise DrillError(f"no connection to {socket}: {error}") from error
