# SPDX-License-Identifier: BSD-2-Clause
"""The connections to all members of all clusters, asked and listened to by one thread.

A connection is made in steps of which none can hold up the others: the TCP connection and the wait for the server's
greeting are events of the loop, so a host that is gone, or hangs, costs no thread; only names are looked up, and
logins done, in a few workers. From then on the socket is this file's: a tick is one write, and one answer read when it
is there.

* Who has not answered by the deadline is ``timed_out`` in this tick. Its answer may still come: it is dropped, and only
  then the member is asked again, so that no answer is ever taken for that of a later question.
* A deadline passes only after everything that had come by then was read: a process that was frozen finds the answers.
* A connection that breaks wakes the loop, at once and once more when it is known what a new attempt meets. That is how
  the end of a mysqld is seen within milliseconds.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import errno
import functools
import heapq
import ipaddress
import itertools
import os
import selectors
import socket
import ssl
import time
from typing import Any, Callable, Mapping, Optional, Sequence, Union

from ..errors import HaError
from ..server import dialect
from ..server.session import ConnectFailed, Login, Session
from ..server.state import FAILED, LOGIN_FAILED, NOT_SUPPORTED, REFUSED, TIMED_OUT, TLS_FAILED, UNREACHABLE, Member
from . import packets, question
from .sample import Sample, Silence

REACH_SECONDS = 1.0
"""For TCP, and then for the server's greeting: a host that is well needs a few milliseconds."""

LOGIN_SECONDS = 3.0
"""For TLS and the login, in a worker: a server under load, or a full password hash, may take its time."""

RETRY_SECONDS = 1.0
"""Between two attempts at a member, by the start of the first one."""

RETRY_REFUSED_LOGIN_SECONDS = 10.0
"""After a login, a certificate or a version was not accepted: that does not mend itself, and servers lock accounts."""

STUCK_SECONDS = 3.0
"""For an answer that is late; then the connection is given up."""

RESOLVE_AGAIN_SECONDS = 60.0
"""For the addresses of a name. Old ones are used while new ones are looked up."""

WORKERS = 8

# What a session of ours may do to a server is bounded there, too.
SETTINGS = {"wait_timeout": 30, "lock_wait_timeout": 1, "max_execution_time": 2000}

_UNKNOWN_VARIABLE = 1193
_IN_PROGRESS = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)
_REFUSED = (errno.ECONNREFUSED, errno.ECONNRESET)

_SEMI_SYNC = (
    "SELECT LOWER(VARIABLE_NAME) AS name FROM performance_schema.global_variables"
    " WHERE VARIABLE_NAME LIKE 'rpl\\_semi\\_sync\\_%'"
)


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a member is asked, and as whom."""

    member: Member
    login: Login


@dataclasses.dataclass(frozen=True)
class Opened:
    """A connection that is ready: its socket, and what to send in each tick."""

    sock: socket.socket
    question: bytes


LogIn = Callable[[Target, socket.socket], Opened]


@functools.lru_cache(maxsize=100)
def _context(ca: str, cert: str, key: str, _changed: float) -> ssl.SSLContext:
    """One for all connections with the same files: each would hold the certificates once more."""
    context = ssl.create_default_context(cafile=ca)
    # The certificates that MySQL makes by itself are not strict enough for Python 3.13.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if cert:
        context.load_cert_chain(cert, key or None)
    return context


def log_in(target: Target, sock: socket.socket) -> Opened:
    """TLS, login, and what this server calls things. Runs in a worker.

    :raises HaError: ``ConnectFailed`` with its kind, or ``StatementFailed``.
    """
    login, member = target.login, target.member
    try:
        context = _context(login.ca, login.cert, login.key, os.stat(login.ca).st_mtime) if login.ca else None
    except (OSError, ssl.SSLError) as error:
        sock.close()
        raise ConnectFailed(TLS_FAILED, f"{member.name}: {login.ca}: {error}") from error
    session = Session.connect(
        member.name,
        member.host,
        member.port,
        login,
        within=LOGIN_SECONDS,
        settings=SETTINGS,
        program="lossless.mysql_ha manager",
        sock=sock,
        context=context,
    )
    try:
        names = {str(row["name"]): "" for row in session.query(_SEMI_SYNC, within=LOGIN_SECONDS)}
        asked = packets.query(question.statement(dialect.probe(session.version, names), names.keys()))
        taken = session.take_socket()
    finally:
        session.close()
    return Opened(taken, asked)


# --- what comes out --------------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class Round:
    """One tick of one cluster, ended."""

    cluster: str
    asked_at: float
    ended_at: float
    answers: Mapping[str, Union[Sample, Silence]]


@dataclasses.dataclass(frozen=True)
class Woken:
    """Something happened to a connection of this cluster: look now."""

    cluster: str
    member: str
    why: str


Event = Union[Round, Woken]


# --- inside ----------------------------------------------------------------------------------------------------------
_RESTING, _RESOLVING, _REACHING, _GREETING, _LOGGING_IN, _READY = range(6)


class _Open:
    """A round that is under way."""

    def __init__(self, cluster: str, asked_at: float) -> None:
        self.cluster = cluster
        self.asked_at = asked_at
        self.waiting = 0
        self.answers: dict[str, Union[Sample, Silence]] = {}


class _Link:
    """One member's connection. ``token`` makes timers and workers of an earlier attempt void."""

    def __init__(self, cluster: str, target: Target) -> None:
        self.cluster = cluster
        self.target = target
        self.name = target.member.name
        self.state = _RESTING
        self.token = 0
        self.sock: Optional[socket.socket] = None
        self.question = b""
        self.parser = packets.AnswerParser()
        self.reader = question.Reader(self.name)
        self.asked: Optional[_Open] = None
        self.asked_at = 0.0
        self.owes = False
        self.failure = (TIMED_OUT, f"{self.name}: connecting", 0)
        self.broke = False
        self.attempt_at = 0.0
        self.turn = 0


class Links:
    """All connections. For one thread, but for ``wake``. ``log_in`` is an argument for tests."""

    def __init__(self, *, log_in: LogIn = log_in, clock: Callable[[], float] = time.monotonic) -> None:
        self._log_in = log_in
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._workers = concurrent.futures.ThreadPoolExecutor(WORKERS, thread_name_prefix="login")
        self._done: collections.deque[tuple[_Link, int, concurrent.futures.Future[Any]]] = collections.deque()
        self._bell, self._ring = socket.socketpair()
        for end in (self._bell, self._ring):
            end.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, None)
        self._clusters: dict[str, list[_Link]] = {}
        self._open: dict[str, _Open] = {}
        self._timers: list[tuple[float, int, Union[_Link, _Open], int]] = []
        self._count = itertools.count()
        self._events: list[Event] = []
        self._addresses: dict[str, tuple[float, list[Any]]] = {}

    # --- for the owner -----------------------------------------------------------------------------------------------
    def set(self, cluster: str, targets: Sequence[Target]) -> None:
        """Watch these members of a cluster from now on; connections to unchanged ones stay."""
        kept = {link.target: link for link in self._clusters.get(cluster, [])}
        links = []
        for target in targets:
            link = kept.pop(target, None)
            if link is None:
                link = _Link(cluster, target)
                self._attempt(link)
            links.append(link)
        for link in kept.values():
            self._drop(link)
        self._forget_round(cluster)
        if links:
            self._clusters[cluster] = links
        else:
            self._clusters.pop(cluster, None)

    def _forget_round(self, cluster: str) -> None:
        """What is still to come of it is late."""
        if self._open.pop(cluster, None) is not None:
            for link in self._clusters.get(cluster, []):
                link.asked = None

    def ask(self, cluster: str, deadline: float) -> bool:
        """Begin a round. False when one is under way.

        :param deadline: seconds for its answers.
        """
        if cluster in self._open:
            return False
        now = self._clock()
        opened = _Open(cluster, now)
        self._open[cluster] = opened
        for link in self._clusters.get(cluster, ()):
            if link.state == _READY and not link.owes and self._send(link):
                link.asked, link.asked_at, link.owes = opened, now, True
                opened.waiting += 1
            elif link.state == _READY and link.owes:
                self._silence(opened, link, TIMED_OUT, f"{link.name}: still owes an answer", 0, now)
            else:
                self._silence(opened, link, *link.failure, now)
        if opened.waiting:
            self._at(now + deadline, opened, 0)
        else:
            self._finish(opened, now)
        return True

    def poll(self, until: float) -> list[Event]:
        """Wait for something to happen, at most until then, and deal with it. Returns what the owner has to know."""
        now = self._clock()
        if not self._events:
            first = self._timers[0][0] if self._timers else until
            ready = self._selector.select(max(min(first, until) - now, 0.0))
        else:
            ready = self._selector.select(0)
        for key, _mask in ready:
            if key.data is None:
                self._quiet()
            else:
                self._on_ready(key.data)
        while self._done:
            self._on_done(*self._done.popleft())
        # Only what was due before the sockets were read: whatever had come by then has been taken into account.
        while self._timers and self._timers[0][0] <= now:
            _when, _number, what, token = heapq.heappop(self._timers)
            if isinstance(what, _Open):
                self._expire(what)
            elif what.token == token:
                self._on_timer(what)
        events, self._events = self._events, []
        return events

    def wake(self) -> None:
        """Make ``poll`` return. From any thread, and from a signal."""
        try:
            self._ring.send(b"\0")
        except OSError:
            return  # it rings already, or nobody listens any more

    def close(self) -> None:
        for links in self._clusters.values():
            for link in links:
                self._drop(link)
        self._clusters.clear()
        self._workers.shutdown(wait=False)
        self._selector.close()
        self._bell.close()
        self._ring.close()

    # --- rounds ------------------------------------------------------------------------------------------------------
    def _silence(self, opened: _Open, link: _Link, kind: str, message: str, number: int, now: float) -> None:
        opened.answers[link.name] = Silence(link.name, opened.asked_at, now, kind, message, number)

    def _expire(self, opened: _Open) -> None:
        if self._open.get(opened.cluster) is not opened:
            return
        now = self._clock()
        for link in self._clusters.get(opened.cluster, ()):
            if link.asked is opened:
                link.asked = None
                self._silence(opened, link, TIMED_OUT, f"{link.name}: no answer in time", 0, now)
        self._finish(opened, now)

    def _finish(self, opened: _Open, now: float) -> None:
        del self._open[opened.cluster]
        self._events.append(Round(opened.cluster, opened.asked_at, now, opened.answers))

    def _answered(self, link: _Link, answer: Union[Sample, Silence], now: float) -> None:
        opened, link.asked = link.asked, None
        if opened is None:
            return  # late: dropped
        opened.answers[link.name] = answer
        opened.waiting -= 1
        if not opened.waiting:
            self._finish(opened, now)

    def _send(self, link: _Link) -> bool:
        """Whether the question is on its way. It fits: nothing else is under way on this connection."""
        sock = link.sock
        if sock is None:
            return False
        try:
            sent = sock.send(link.question)
        except (OSError, ValueError) as error:
            self._broken(link, str(error))
            return False
        if sent < len(link.question):
            self._broken(link, "the question did not fit into the socket")
            return False
        return True

    def _read(self, link: _Link) -> None:
        sock = link.sock
        if sock is None:
            return
        while True:
            try:
                data = sock.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except (OSError, ValueError) as error:
                self._broken(link, str(error))
                return
            if not data:
                self._broken(link, "the server closed it")
                return
            now = self._clock()
            try:
                answer = link.parser.feed(data)
                if answer is not None:
                    self._on_answer(link, answer, now)
            except ValueError as error:
                self._broken(link, str(error))
                return
            if link.sock is not sock or not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                return

    def _on_answer(self, link: _Link, answer: packets.Answer, now: float) -> None:
        """:raises ValueError: nobody asked, or it is no sample."""
        if not link.owes:
            raise ValueError(answer.message if isinstance(answer, packets.Failed) else "an answer to no question")
        link.owes = False
        if isinstance(answer, packets.Failed):
            silence = Silence(link.name, link.asked_at, now, FAILED, f"{link.name}: {answer.message}", answer.errno)
            self._answered(link, silence, now)
            if answer.errno == _UNKNOWN_VARIABLE:
                raise ValueError("its plugins have changed")
            return
        self._answered(link, link.reader.read(answer, link.asked_at, now), now)

    # --- connections -------------------------------------------------------------------------------------------------
    def _at(self, when: float, what: Union[_Link, _Open], token: int) -> None:
        heapq.heappush(self._timers, (when, next(self._count), what, token))

    def _next(self, link: _Link, state: int, within: Optional[float] = None) -> None:
        link.state = state
        link.token += 1
        if within is not None:
            self._at(self._clock() + within, link, link.token)

    def _close(self, link: _Link) -> None:
        sock, link.sock = link.sock, None
        if sock is not None:
            self._unregister(sock)
            sock.close()
        link.parser = packets.AnswerParser()
        link.owes = False

    def _unregister(self, sock: socket.socket) -> None:
        if sock in self._selector.get_map():
            self._selector.unregister(sock)

    def _drop(self, link: _Link) -> None:
        self._close(link)
        self._next(link, _RESTING)

    def _broken(self, link: _Link, why: str) -> None:
        """A connection that was ready is gone: say so, and see at once what is there now."""
        self._close(link)
        link.failure = (TIMED_OUT, f"{link.name}: the connection broke ({why}); connecting", 0)
        link.broke = True
        now = self._clock()
        if link.asked is not None:
            self._answered(link, Silence(link.name, link.asked_at, now, *link.failure), now)
        self._events.append(Woken(link.cluster, link.name, why))
        if now - link.attempt_at >= RETRY_SECONDS:
            self._attempt(link)
        else:
            self._next(link, _RESTING, RETRY_SECONDS - (now - link.attempt_at))

    def _failed(self, link: _Link, kind: str, message: str, number: int = 0) -> None:
        """An attempt has failed."""
        self._close(link)
        link.failure = (kind, message, number)
        if link.broke:
            link.broke = False
            self._events.append(Woken(link.cluster, link.name, message))
        patient = kind in (LOGIN_FAILED, TLS_FAILED, NOT_SUPPORTED)
        pause = RETRY_REFUSED_LOGIN_SECONDS if patient else RETRY_SECONDS
        self._next(link, _RESTING, max(link.attempt_at + pause - self._clock(), RETRY_SECONDS / 10))

    def _attempt(self, link: _Link) -> None:
        link.attempt_at = self._clock()
        host = link.target.member.host
        found = self._addresses_of(host, link.target.member.port)
        if found:
            self._reach(link, found[link.turn % len(found)])
        else:
            self._next(link, _RESOLVING)
            self._work(link, functools.partial(self._resolve, host, link.target.member.port))

    def _addresses_of(self, host: str, port: int) -> list[Any]:
        try:
            family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        except ValueError:
            at, found = self._addresses.get(host, (0.0, []))
            if found and self._clock() - at > RESOLVE_AGAIN_SECONDS:
                self._addresses[host] = (self._clock(), found)
                self._workers.submit(self._resolve, host, port)
            return [(kind, (address[0], port, *address[2:])) for kind, address in found]
        return [(family, (host, port))]

    def _resolve(self, host: str, port: int) -> None:
        """Runs in a worker.

        :raises OSError: the name is not known.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self._addresses[host] = (self._clock(), [(entry[0], entry[4]) for entry in found])

    def _reach(self, link: _Link, place: Any) -> None:
        family, address = place
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            number = sock.connect_ex(address)
        except OSError as error:
            self._failed(link, UNREACHABLE, f"{link.name}: {error.strerror or error}", error.errno or 0)
            return
        link.sock = sock
        if number not in _IN_PROGRESS:
            self._not_reached(link, number)
            return
        self._selector.register(sock, selectors.EVENT_WRITE, link)
        self._next(link, _REACHING, REACH_SECONDS)

    def _not_reached(self, link: _Link, number: int) -> None:
        link.turn += 1
        kind = REFUSED if number in _REFUSED else TIMED_OUT if number == errno.ETIMEDOUT else UNREACHABLE
        member = link.target.member
        self._failed(link, kind, f"{link.name} ({member.host}:{member.port}): {os.strerror(number)}", number)

    def _on_ready(self, link: _Link) -> None:
        sock = link.sock
        if sock is None:
            return  # closed by what was dealt with just before
        if link.state == _READY:
            self._read(link)
        elif link.state == _REACHING:
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self._not_reached(link, number)
                return
            self._selector.modify(sock, selectors.EVENT_READ, link)
            self._next(link, _GREETING, REACH_SECONDS)
        elif link.state == _GREETING:
            self._selector.unregister(sock)
            link.sock = None
            self._next(link, _LOGGING_IN)
            self._work(link, functools.partial(self._log_in, link.target, sock))

    def _on_timer(self, link: _Link) -> None:
        if link.state == _RESTING:
            self._attempt(link)
        elif link.state in (_REACHING, _GREETING):
            link.turn += 1
            what = "no connection" if link.state == _REACHING else "no greeting"
            member = link.target.member
            message = f"{link.name} ({member.host}:{member.port}): {what} within {REACH_SECONDS:g} s"
            self._failed(link, TIMED_OUT, message)
        elif link.state == _READY:
            if link.owes and self._clock() - link.asked_at >= STUCK_SECONDS:
                self._broken(link, f"no answer within {STUCK_SECONDS:g} s")
            else:
                self._next(link, _READY, STUCK_SECONDS)

    # --- workers -----------------------------------------------------------------------------------------------------
    def _work(self, link: _Link, work: Callable[[], Any]) -> None:
        token = link.token
        future = self._workers.submit(work)

        def hand_over(done: concurrent.futures.Future[Any]) -> None:
            self._done.append((link, token, done))
            self.wake()

        future.add_done_callback(hand_over)

    def _on_done(self, link: _Link, token: int, done: concurrent.futures.Future[Any]) -> None:
        error = done.exception()
        if link.token != token:
            if error is None and isinstance(done.result(), Opened):
                done.result().sock.close()
            return
        if error is not None:
            self._failed(link, *_what(link, error))
        elif link.state == _RESOLVING:
            found = self._addresses_of(link.target.member.host, link.target.member.port)
            self._reach(link, found[link.turn % len(found)])
        else:
            self._is_open(link, done.result())

    def _is_open(self, link: _Link, opened: Opened) -> None:
        sock = opened.sock
        sock.setblocking(False)
        link.sock, link.question = sock, opened.question
        link.parser = packets.AnswerParser()
        link.failure = (TIMED_OUT, f"{link.name}: not asked yet", 0)
        self._selector.register(sock, selectors.EVENT_READ, link)
        self._next(link, _READY, STUCK_SECONDS)
        self._events.append(Woken(link.cluster, link.name, "connected"))
        link.broke = False

    def _quiet(self) -> None:
        try:
            while self._bell.recv(4096):
                continue
        except BlockingIOError:
            return


def _what(link: _Link, error: BaseException) -> tuple[str, str, int]:
    """What a failed attempt says of a member. An error that nobody foresaw is said, too, and ends nothing else."""
    if isinstance(error, ConnectFailed):
        return error.kind, error.message, error.errno
    if isinstance(error, HaError):
        return FAILED, error.message, 0
    if isinstance(error, OSError):
        return UNREACHABLE, f"{link.name} ({link.target.member.host}): {error.strerror or error}", error.errno or 0
    return FAILED, f"{link.name}: {type(error).__name__}: {error}", 0
