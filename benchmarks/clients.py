"""Clients that insert as fast as the server lets them, in processes of their own, and what they cost.

As many processes as cores at most, each with its share of the connections in threads; a thread waits for the server
nearly all the time. Their own processor time is measured, so that a figure which is the client's limit shows as such.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import pymysql
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login

from benchmarks.errors import BenchmarkError

SCHEMA = "lossless_drill"
TABLE = f"{SCHEMA}.bench"
CREATE = (
    f"CREATE DATABASE IF NOT EXISTS {SCHEMA}",
    f"CREATE TABLE IF NOT EXISTS {TABLE}"
    " (id BIGINT NOT NULL PRIMARY KEY, client INT NOT NULL, note VARCHAR(64) NOT NULL) ENGINE=InnoDB",
)
NOTE = "a small row, as a ledger has"
IDS_A_MILLISECOND = 1_000_000
_LARGEST_CLIENTS = 1000
_ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """``latencies``: of every commit, in seconds. ``cpu``: cores that the busiest client process used."""

    commits: int
    seconds: float
    latencies: tuple[float, ...]
    cpu: float

    @property
    def throughput(self) -> float:
        return self.commits / self.seconds


def identifiers(client: int, now: float) -> range:
    """The ids of one client in one sample: nobody else's, before or after, as samples take longer than a second."""
    if not 0 <= client < _LARGEST_CLIENTS:
        raise ValueError(f"client {client}: 0 to {_LARGEST_CLIENTS - 1}")
    first = int(now * 1000) * IDS_A_MILLISECOND + client * IDS_A_MILLISECOND
    return range(first, first + IDS_A_MILLISECOND)


def divided(count: int, parts: int) -> list[range]:
    """0 to count - 1 in so many parts of nearly equal size; empty parts are left out."""
    edges = [count * part // parts for part in range(parts + 1)]
    return [range(low, high) for low, high in itertools.pairwise(edges) if high > low]


class Clients:
    """``with Clients(...) as clients:`` connects them all; ``clients.insert(seconds)`` as often as wanted."""

    def __init__(self, host: str, port: int, login: Login, count: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["benchmarks.clients"])
        self._workers: list[tuple[Any, Connection]] = []
        for numbers in divided(count, min(count, os.cpu_count() or 1)):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, host, port, login, list(numbers)), daemon=True)
            process.start()
            theirs.close()
            self._workers.append((process, ours))

    def __enter__(self) -> Clients:
        try:
            self._hear()
        except BenchmarkError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        for _process, pipe in self._workers:
            pipe.close()
        for process, _pipe in self._workers:
            process.join(_ANSWER_SECONDS)

    def insert(self, seconds: float) -> Outcome:
        """All of them, for so many seconds.

        :raises BenchmarkError: one failed.
        """
        now = time.time()
        for _process, pipe in self._workers:
            pipe.send((now, seconds))
        parts: list[Outcome] = self._hear()
        return Outcome(
            commits=sum(part.commits for part in parts),
            seconds=max(part.seconds for part in parts),
            latencies=tuple(latency for part in parts for latency in part.latencies),
            cpu=max(part.cpu for part in parts),
        )

    def _hear(self) -> list[Any]:
        """One message of each process; a text is an error."""
        heard = []
        for _process, pipe in self._workers:
            try:
                message = pipe.recv() if pipe.poll(_ANSWER_SECONDS) else "it says nothing"
            except EOFError:
                message = "it ended"
            if isinstance(message, str):
                raise BenchmarkError(f"a client failed: {message}")
            heard.append(message)
        return heard


def _work(pipe: Connection, host: str, port: int, login: Login, numbers: Sequence[int]) -> None:
    """One process: connect, say so, insert whenever told to, until the pipe is closed."""
    # Ctrl-C reaches the whole group of processes; the one that was asked decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        connections = [_connect(host, port, login) for _number in numbers]
        pipe.send(None)
        while True:
            now, seconds = pipe.recv()
            pipe.send(_insert(connections, numbers, now, seconds))
    except EOFError:
        return
    except (pymysql.err.Error, OSError) as error:
        with contextlib.suppress(OSError):
            pipe.send(f"{type(error).__name__}: {error}"[:300])


def _connect(host: str, port: int, login: Login) -> Any:
    return pymysql.connect(
        host=host,
        port=port,
        user=login.user,
        password=login.password,
        ssl_ca=login.ca,
        ssl_verify_cert=True,
        ssl_verify_identity=True,
        autocommit=True,
        read_timeout=30,
    )


def _insert(connections: Sequence[Any], numbers: Sequence[int], now: float, seconds: float) -> Outcome:
    latencies: list[list[float]] = [[] for _number in numbers]
    failures: list[Exception] = []
    cpu = time.process_time()
    began = time.perf_counter()
    ends = began + seconds

    def client(connection: Any, number: int, mine: list[float]) -> None:
        try:
            for identifier in identifiers(number, now):
                before = time.perf_counter()
                if before >= ends:
                    return
                connection.query(f"INSERT INTO {TABLE} VALUES ({identifier}, {number}, '{NOTE}')")
                mine.append(time.perf_counter() - before)
        except (pymysql.err.Error, OSError) as error:
            failures.append(error)

    threads = [
        threading.Thread(target=client, args=triple, daemon=True)
        for triple in zip(connections, numbers, latencies, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - began
    used = time.process_time() - cpu
    if failures:
        raise failures[0]
    every = tuple(latency for mine in latencies for latency in mine)
    return Outcome(len(every), elapsed, every, used / elapsed)
