# SPDX-License-Identifier: BSD-2-Clause
"""The manager's HTTP service: sockets, threads and deadlines. What is asked and answered: ``routes.py``.

It shares its process with the loop that watches the clusters, so it may never grow: a bounded number of threads, a
deadline for each request as a whole, one request for each connection. Who comes when all threads are taken is told so.
"""

from __future__ import annotations

import http
import http.server
import io
import ipaddress
import os
import socket
import socketserver
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, NoReturn, Optional

from ..errors import HaError
from . import routes
from .desk import Desk

THREADS, SOCKET_THREADS = 16, 8
"""At once over TCP, and through the unix socket, so that strangers can not keep the operator out."""

READ_S, WRITE_S, DRAIN_S = 5.0, 10.0, 1.0
"""Seconds for the whole request to arrive, for the reply to leave, and for a body that is not read."""
DRAIN_LIMIT = 1 << 20

POLL_S = 0.2
"""How soon a listener notices that it is to end."""

EXPLAINED_S = 10.0
"""For how long what was explained over TCP is given again. The operator's socket gets a fresh answer each time."""

Say = Callable[[int, str], None]


class _Deadline(io.RawIOBase):
    """Reads from a socket until a moment, however slowly the bytes come."""

    def __init__(self, connection: socket.socket, within: float) -> None:
        self._connection = connection
        self._until = time.monotonic() + within

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise socket.timeout("the request took too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection, one request."""

    protocol_version = "HTTP/1.1"
    server: _Bounded

    def setup(self) -> None:
        super().setup()
        self.close_connection = True
        self.rfile = io.BufferedReader(_Deadline(self.connection, self.server.read_s))

    def handle(self) -> None:
        # What parse_request does not get to set and a reply reads.
        self.command, self.request_version, self.requestline = "", self.protocol_version, ""
        try:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline:
                return
            if len(self.raw_requestline) > 65536:
                self._fail("request_too_large", "the first line of the request is too long")
            elif self.parse_request():
                self._reply(routes.answer(self.server.front, self._request(), time.time()))
        except HaError as error:
            self._reply(routes.failure(error))
            self._drain()
        except socket.timeout:
            self._fail("request_timed_out", "the request did not arrive in time")
        except ConnectionError:
            return  # nobody is there to be told

    def _request(self) -> routes.Request:
        return routes.Request(
            method=self.command,
            target=self.path,
            host=self.headers.get("Host", ""),
            authorization=self.headers.get("Authorization", ""),
            body=self._body(),
            trusted=self.server.trusted,
        )

    def _body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            raise HaError(
                "request_invalid", "the body needs a Content-Length", next_step="Send it whole, not in chunks."
            )
        given = self.headers.get("Content-Length", "0").strip()
        if not (given.isascii() and given.isdigit()):
            raise HaError("request_invalid", "the Content-Length is no number", next_step="Correct it.")
        if len(given) > 9 or int(given) > routes.BODY_LIMIT:
            raise HaError(
                "request_too_large",
                f"a body has at most {routes.BODY_LIMIT} bytes",
                next_step="Send who, why and until when, nothing more.",
            )
        body = self.rfile.read(int(given))
        if len(body) < int(given):
            raise HaError("request_invalid", "the body is shorter than its Content-Length", next_step="Send all of it.")
        return body

    def _reply(self, reply: routes.Reply) -> None:
        # Without it a request of no known version would be answered without a head.
        self.request_version = self.protocol_version
        self.connection.settimeout(WRITE_S)
        self.send_response(reply.status)
        for name, value in (*routes.HEADERS.items(), *reply.headers):
            self.send_header(name, value)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _fail(self, code: str, message: str) -> None:
        try:
            self._reply(routes.failure(HaError(code, message, next_step="Send the request again, as HTTP/1.1.")))
        except OSError:
            return  # the client is gone, or does not read either

    def _drain(self) -> None:
        """Read what is left of the request: a connection closed on unread bytes loses the reply on its way."""
        self.connection.shutdown(socket.SHUT_WR)
        rest = _Deadline(self.connection, DRAIN_S)
        buffer = bytearray(65536)
        left = DRAIN_LIMIT
        while left > 0:
            got = rest.readinto(buffer)
            if not got:
                return
            left -= got

    def send_error(self, code: int, message: Optional[str] = None, explain: Optional[str] = None) -> None:
        """What the standard library finds wrong with a request, in our form."""
        self._fail("request_too_large" if code in (414, 431) else "request_invalid", str(message or explain or code))

    def version_string(self) -> str:
        return "lossless-mysql-ha"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: changes are logged where they are made, and reads are many."""


class _Bounded(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A server that has at most so many threads, and answers 503 beyond them."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self, address: Any, front: routes.Front, *, trusted: bool, threads: int, read_s: float, family: int
    ) -> None:
        self.front = front
        self.trusted = trusted
        self.read_s = read_s
        self.address_family = family
        self._free = threading.BoundedSemaphore(threads)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self._send(request, HaError("too_busy", "all threads are taken", next_step="Ask again in a moment."))
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self._free.release()  # no thread could be started
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A request ended in an error that nobody expected. Type and place only: its text may hold anything."""
        error = sys.exc_info()[1]
        if error is None or isinstance(error, OSError):
            return  # the client went away
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
        self.front.say(3, f"HTTP: a defect: {type(error).__name__}{place}")
        self._send(request, HaError("defect", "the request met a defect of the manager", next_step="See its log."))

    def _send(self, connection: socket.socket, error: HaError) -> None:
        """A short reply without a thread: it fits into the socket's buffer, or it is not sent."""
        reply = routes.failure(error)
        head = (
            f"HTTP/1.1 {reply.status} {http.HTTPStatus(reply.status).phrase}\r\nContent-Type: {reply.content_type}\r\n"
            f"Content-Length: {len(reply.body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        try:
            connection.settimeout(0.0)
            connection.sendall(head.encode() + reply.body)
            connection.recv(65536)  # closed on unread bytes, the connection would lose the reply on its way
        except OSError:
            return


class Server:
    """The running service. ``port``: where it listens, 0 without TCP."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._listening: list[tuple[_Bounded, threading.Thread]] = []
        self._socket: Optional[tuple[str, int, int]] = None
        self.port = 0

    def _add(self, listener: _Bounded, name: str) -> None:
        thread = threading.Thread(target=listener.serve_forever, args=(POLL_S,), name=name, daemon=True)
        self._listening.append((listener, thread))
        thread.start()

    def listen_tcp(self, desk: Desk, address: str, port: int, token: str, read_s: float) -> None:
        try:
            family, _type, _proto, _name, target = socket.getaddrinfo(
                address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            loopback = ipaddress.ip_address(str(target[0]).partition("%")[0]).is_loopback
            front = routes.Front(desk, token, loopback, self._say, routes.Explainer(desk, EXPLAINED_S))
            listener = _Bounded(target, front, trusted=False, threads=THREADS, read_s=read_s, family=family)
        except OSError as error:
            _not_listening(f"{address}, port {port}", error.strerror or str(error))
        self.port = int(listener.server_address[1])
        self._add(listener, "http")
        self._say(6, f"HTTP on {address}, port {self.port}" + ("" if token else ", read-only: no token is configured"))

    def listen_socket(self, desk: Desk, path: str, read_s: float) -> None:
        front = routes.Front(desk, "", False, self._say, routes.Explainer(desk, 0.0))
        _clear(path)
        # The mode has to be there with the file: who may connect is decided when somebody does.
        mask = os.umask(0o177)
        try:
            listener = _Bounded(path, front, trusted=True, threads=SOCKET_THREADS, read_s=read_s, family=socket.AF_UNIX)
        except OSError as error:
            _not_listening(path, error.strerror or str(error))
        finally:
            os.umask(mask)
        found = os.stat(path)
        self._socket = (path, found.st_dev, found.st_ino)
        self._add(listener, "http-socket")
        self._say(6, f"HTTP on {path}")

    def close(self) -> None:
        """Listen no longer. Requests under way are not waited for."""
        while self._listening:
            listener, thread = self._listening.pop()
            listener.shutdown()
            listener.server_close()
            thread.join()
        if self._socket is not None:
            path, device, inode = self._socket
            self._socket = None
            try:
                found = os.stat(path)
                if (found.st_dev, found.st_ino) == (device, inode):
                    os.unlink(path)
            except FileNotFoundError:
                return


def serve(
    desk: Desk,
    *,
    address: str = "127.0.0.1",
    port: int = 0,
    socket_path: str = "",
    token: str = "",
    say: Say,
    read_s: float = READ_S,
) -> Server:
    """Listen on TCP (not with an empty ``address``) and on a unix socket (not with an empty path), in threads.

    :param port: 0 for any that is free: see ``Server.port``.
    :param token: what a change over TCP has to bring; empty: TCP is read-only.
    :param say: a priority as syslog counts them, and a line.
    :param read_s: seconds in which a request has to arrive.
    :raises HaError: ``listen_failed``.
    """
    server = Server(say)
    try:
        if socket_path:
            server.listen_socket(desk, socket_path, read_s)
        if address:
            server.listen_tcp(desk, address, port, token, read_s)
    except HaError:
        server.close()
        raise
    return server


def _clear(path: str) -> None:
    """Remove the socket of a manager that is gone. Never anything else."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            _not_listening(path, "there is a file that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            _not_listening(path, error.strerror or str(error))
    _not_listening(path, "another manager listens there")


def _not_listening(where: str, why: str) -> NoReturn:
    raise HaError(
        "listen_failed",
        f"the HTTP service can not listen on {where}: {why}",
        evidence={"where": where},
        next_step="Stop what listens there, or give another address, port or path.",
    )
