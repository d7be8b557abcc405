# SPDX-License-Identifier: BSD-2-Clause
"""One connection to one MySQL server, every statement with a deadline.

The only file that imports PyMySQL. Values are always bound; identifiers go through ``identifier``. A statement that
outlives its deadline closes the connection: its outcome is unknown, and nothing that follows may pretend otherwise.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import errno
import socket
import ssl
import struct
import threading
import time
import traceback
from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Optional, Sequence

from ..errors import HaError
from . import dialect
from .state import FAILED, LOGIN_FAILED, NEXT_STEP, NOT_SUPPORTED, REFUSED, TIMED_OUT, TLS_FAILED, UNREACHABLE

try:
    import pymysql
    import pymysql.cursors

    PYMYSQL_IMPORT_ERROR: Optional[str] = None
except ImportError:
    PYMYSQL_IMPORT_ERROR = traceback.format_exc()

Row = dict[str, Any]

PROGRAM = "lossless.mysql_ha"
"""What the server shows as this connection's program name."""

_LOGIN_ERRORS = frozenset({1044, 1045, 1130, 1131, 1698, 1862, 3118, 3159, 3955, 4059})
_LOST = frozenset({2006, 2013, 2014, 2055})


@dataclasses.dataclass(frozen=True)
class Login:
    """How the collection logs in: one account and, with ``ca``, verified TLS (the server's name or address included).

    ``password`` is a secret and hidden from ``repr``.
    """

    user: str
    password: str = dataclasses.field(repr=False, default="")
    ca: str = ""
    cert: str = ""
    key: str = ""
    unix_socket: str = ""


@dataclasses.dataclass(frozen=True)
class Exact:
    """An answer with nothing made plain: what two servers say can be compared by it.

    :param columns: their names, in order. The same name may be there twice.
    :param rows: int, Decimal, float, str, bytes, date, datetime, timedelta and None; a date that Python does not know
        (``0000-00-00``) as text.
    :param more: there were more rows than asked for; they were read and thrown away.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool


class StatementFailed(HaError):
    """The server answered a statement with an error. ``errno`` is MySQL's number, 0 when there was none."""

    def __init__(self, code: str, message: str, *, errno: int = 0, **details: Any) -> None:
        super().__init__(code, message, **details)
        self.errno = errno


class ConnectFailed(HaError):
    """No usable connection. ``kind`` is one of the kinds of ``NoAnswer``."""

    def __init__(self, kind: str, message: str, *, errno: int = 0, **details: Any) -> None:
        super().__init__(f"connect_{kind}", message, **details)
        self.kind = kind
        self.errno = errno


def identifier(name: str) -> str:
    """Quote an identifier for SQL."""
    return "`" + name.replace("`", "``") + "`"


def _plain(value: Any) -> Any:
    """A column's value as something JSON knows: Decimal to int or text, times to text or seconds, bytes to text."""
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat(sep=" ") if isinstance(value, datetime.datetime) else value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            return bytes(value).hex()
    return value


def _kind_of(error: BaseException) -> str:
    """What a failed connection attempt says, by its root cause."""
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)):
        # PyMySQL wraps what the network says; bare, it is about a file: the CA, the certificate or the key.
        return TLS_FAILED
    seen: Optional[BaseException] = error
    chain = []
    while seen is not None and seen not in chain:
        chain.append(seen)
        seen = getattr(seen, "original_exception", None) or seen.__cause__ or seen.__context__
    for cause in chain:
        if isinstance(cause, ssl.SSLError):
            return TLS_FAILED
        if isinstance(cause, ConnectionRefusedError):
            return REFUSED
        if isinstance(cause, (socket.timeout, TimeoutError)):
            return TIMED_OUT
        if isinstance(cause, (socket.gaierror, OSError)) and not isinstance(cause, ConnectionError):
            return UNREACHABLE
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if number in _LOGIN_ERRORS:
        return LOGIN_FAILED
    if number == 2026:
        return TLS_FAILED
    # A connection that is closed before the login is done: a server that goes down or comes up.
    broke = number in _LOST or any(isinstance(cause, ConnectionError) for cause in chain)
    return REFUSED if broke else FAILED


def _dial(host: str, port: int, within: float) -> socket.socket:
    """A TCP connection to a server that listens, never one to itself.

    Where nobody listens on a port of this host, and the kernel picks that very port as the caller's own (33062 lies
    in the range it picks from), TCP connects the socket to itself. Kept, or closed as usual (TIME_WAIT), it would keep
    mysqld from listening there for a minute: so it is reset at once, and nobody has answered.

    :raises pymysql.err.OperationalError: as PyMySQL itself raises it.
    """
    try:
        dialled = socket.create_connection((host, port), within)
        if dialled.getsockname()[:2] == dialled.getpeername()[:2]:
            dialled.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            dialled.close()
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens there")
    except OSError as error:
        failed = pymysql.err.OperationalError(2003, f"Can't connect to MySQL server on {host!r} ({error})")
        failed.original_exception = error  # type: ignore[attr-defined]
        raise failed from error
    dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    dialled.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return dialled


class Session:
    """A connection: ``Session.connect``, then ``query``/``execute``, then ``close``.

    Several threads may use it, one statement at a time: PyMySQL would mix up the answers of two. A statement waits for
    its turn; ``when_idle`` does without it.
    """

    def __init__(self, connection: Any, name: str, version: str, comment: str) -> None:
        self._connection = connection
        self._turn = threading.Lock()
        self.name = name
        self.version = version
        self.version_comment = comment
        self.dialect: Optional[dialect.Dialect] = None

    @classmethod
    def connect(
        cls,
        name: str,
        host: str,
        port: int,
        login: Login,
        *,
        within: float,
        settings: Optional[Mapping[str, Any]] = None,
        program: str = PROGRAM,
        sock: Optional[socket.socket] = None,
        context: Optional[ssl.SSLContext] = None,
    ) -> Session:
        """Open a connection and identify the server.

        :param within: seconds for connecting and logging in.
        :param settings: session variables to set, for example ``{"wait_timeout": 4}``.
        :param program: how the connection names itself to whoever looks at the server.
        :param sock: a socket that is connected to the server already; it is closed when this fails.
        :param context: what TLS is spoken with, instead of one of the login's own; for whoever opens many connections.
        :raises ConnectFailed: with ``kind``; a server that the collection does not serve is ``not_supported``.
        """
        if PYMYSQL_IMPORT_ERROR:
            raise HaError(
                "pymysql_missing",
                "the Python that runs this has no PyMySQL",
                next_step="Install python3-pymysql (and python3-cryptography) on that host.",
            )
        arguments: dict[str, Any] = {
            "user": login.user,
            "password": login.password,
            "connect_timeout": max(within, 0.001),
            "read_timeout": max(within, 0.001),
            "write_timeout": max(within, 0.001),
            "charset": "utf8mb4",
            "autocommit": True,
            "cursorclass": pymysql.cursors.DictCursor,
            "program_name": program,
        }
        if login.unix_socket:
            arguments["unix_socket"] = login.unix_socket
        else:
            arguments.update(host=host, port=port)
            if context is not None:
                arguments["ssl"] = context
            elif login.ca:
                arguments.update(
                    ssl_ca=login.ca,
                    ssl_cert=login.cert or None,
                    ssl_key=login.key or None,
                    ssl_verify_cert=True,
                    ssl_verify_identity=True,
                )
        evidence = {"member": name, "host": host, "port": port, "user": login.user, "ca": login.ca}
        connection = None
        try:
            connection = pymysql.connect(defer_connect=True, **arguments)
            if sock is None and not login.unix_socket:
                sock = _dial(host, port, arguments["connect_timeout"])
            connection.connect(sock)
        except (pymysql.err.MySQLError, OSError, RuntimeError) as error:
            kind, text = _kind_of(error), _text(error)
            number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
            # A server that is none of ours mostly fails at the login or at TLS, and has said before what it is.
            greeted = str(getattr(connection, "server_version", ""))
            problem = dialect.unsupported(greeted, "") if greeted else None
            if problem:
                kind, text, evidence["version"] = NOT_SUPPORTED, problem, greeted
            raise ConnectFailed(
                kind,
                f"{name} ({host}:{port}): {text}",
                errno=number,
                evidence=dict(evidence, errno=number),
                next_step=NEXT_STEP[kind],
            ) from error
        session = cls(connection, name, connection.get_server_info(), "")  # type: ignore[no-untyped-call]
        try:
            row = session.one("SELECT @@version AS version, @@version_comment AS comment", within=within)
            session.version, session.version_comment = str(row["version"]), str(row["comment"])
            problem = dialect.unsupported(session.version, session.version_comment)
            if problem:
                raise ConnectFailed(
                    NOT_SUPPORTED,
                    f"{name} ({host}:{port}): {problem}",
                    evidence=dict(evidence, version=session.version, version_comment=session.version_comment),
                    next_step=NEXT_STEP[NOT_SUPPORTED],
                )
            if settings:
                assignments = ", ".join(f"SESSION {identifier(key)} = %s" for key in settings)
                session.execute(f"SET {assignments}", tuple(settings.values()), within=within)
        except HaError:
            session.close()
            raise
        return session

    @property
    def usable(self) -> bool:
        return self._connection is not None and self._connection.open

    @property
    def thread_id(self) -> int:
        """The server's number for this connection, for ``KILL QUERY`` from another one."""
        return int(self._connection.thread_id())

    def query(self, sql: str, values: Sequence[Any] = (), *, within: float, secret: bool = False) -> list[Row]:
        """Run one statement and return its rows, columns as plain values.

        :param within: seconds until the connection is given up, from when the statement is sent; it waits as long at
            most for the end of another thread's statement.
        :param secret: the bound values hold a secret: the server's message, which may quote the statement, is not
            passed on.
        :raises StatementFailed: ``sql_error`` with ``errno``; ``deadline_exceeded`` or ``connection_lost`` when there
            is no answer, and the outcome is unknown. When its turn did not come: ``deadline_exceeded``, the connection
            is still ``usable``, and nothing was sent.
        """
        with self._my_turn(sql, within):
            return self._query(sql, values, within, secret)

    def query_exact(self, sql: str, *, within: float, most: int) -> Exact:
        """As ``query``, for comparing: raw values, and at most ``most`` rows are held in memory.

        :param within: seconds for all of it, the rows that are not wanted included.
        """
        with self._my_turn(sql, within):
            return self._query_exact(sql, within, most)

    @contextmanager
    def _my_turn(self, sql: str, within: float) -> Iterator[None]:
        if not self._turn.acquire(timeout=max(within, 0.001)):
            raise StatementFailed(
                "deadline_exceeded",
                f"{self.name}: another statement of this run was not done within {within:g} s; nothing was sent",
                evidence={"member": self.name, "statement": sql},
                next_step="Observe the server again.",
            )
        try:
            yield
        finally:
            self._turn.release()

    def when_idle(self, sql: str, values: Sequence[Any] = (), *, within: float) -> Optional[list[Row]]:
        """As ``query``; ``None`` at once, and nothing is sent, while another thread's statement runs."""
        if not self._turn.acquire(blocking=False):
            return None
        try:
            return self._query(sql, values, within, False)
        finally:
            self._turn.release()

    def _ready(self, within: float) -> Any:
        """The connection, which gives up after ``within`` seconds."""
        # Another thread may close the session meanwhile: what was looked at is what is used.
        connection = self._connection
        if connection is None or not connection.open:
            raise StatementFailed(
                "connection_lost",
                f"{self.name}: the connection is gone",
                evidence={"member": self.name},
                next_step="Observe the server again before doing anything.",
            )
        # PyMySQL fixes its time-outs when it connects; these are the attributes that it reads before every packet.
        connection._read_timeout = max(within, 0.001)
        connection._write_timeout = max(within, 0.001)
        return connection

    def _query(self, sql: str, values: Sequence[Any], within: float, secret: bool) -> list[Row]:
        connection = self._ready(within)
        started = time.monotonic()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, tuple(values) or None)
                rows = cursor.fetchall()
        except (pymysql.err.MySQLError, OSError) as error:
            raise self._failure(error, sql, time.monotonic() - started, within, secret) from (None if secret else error)
        return [{key: _plain(value) for key, value in row.items()} for row in rows]

    def _query_exact(self, sql: str, within: float, most: int) -> Exact:
        connection = self._ready(within)
        started = time.monotonic()
        rows: list[tuple[Any, ...]] = []
        more = False
        cursor = connection.cursor(pymysql.cursors.SSCursor)
        try:
            cursor.execute(sql)
            columns = tuple(str(column[0]) for column in cursor.description or ())
            while True:
                row = cursor.fetchone()
                if row is None:
                    break
                if len(rows) < most:
                    rows.append(row)
                else:
                    more = True
                # Each packet may take as long as it likes by itself; together they may not.
                left = within - (time.monotonic() - started)
                if left <= 0:
                    raise TimeoutError("the rows did not end")
                connection._read_timeout = left
            cursor.close()
        except (pymysql.err.MySQLError, OSError) as error:
            # A cursor that is thrown away reads what is left of its answer, from a connection that is gone.
            if cursor._result is not None:
                cursor._result.unbuffered_active = False
            raise self._failure(error, sql, time.monotonic() - started, within, False) from error
        return Exact(columns, tuple(rows), more)

    def execute(self, sql: str, values: Sequence[Any] = (), *, within: float, secret: bool = False) -> None:
        """Run one statement whose rows do not matter. Errors as ``query``."""
        self.query(sql, values, within=within, secret=secret)

    def one(self, sql: str, values: Sequence[Any] = (), *, within: float) -> Row:
        """The first row, or an empty dict."""
        rows = self.query(sql, values, within=within)
        return rows[0] if rows else {}

    def _failure(self, error: Exception, sql: str, took: float, within: float, secret: bool) -> StatementFailed:
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        evidence = {"member": self.name, "statement": sql, "errno": number, "took_ms": round(took * 1000, 1)}
        lost = number in _LOST or number == 0 or isinstance(error, OSError)
        if not lost:
            text = f"error {number}" if secret else _text(error)
            return StatementFailed(
                "sql_error",
                f"{self.name}: {text}",
                errno=number,
                evidence=evidence,
                next_step="See the server's error log.",
            )
        self.close()
        if took >= within * 0.9:
            return StatementFailed(
                "deadline_exceeded",
                f"{self.name}: no answer within {within:g} s",
                evidence=evidence,
                next_step="The outcome is unknown: observe the server again.",
            )
        return StatementFailed(
            "connection_lost",
            f"{self.name}: the connection broke",
            errno=number,
            evidence=evidence,
            next_step="The outcome is unknown: observe the server again.",
        )

    def take_socket(self) -> socket.socket:
        """The connection's socket, for whoever speaks the protocol on it from now on. This session is closed by that.

        :raises StatementFailed: ``connection_lost``.
        """
        connection, self._connection = self._connection, None
        if connection is None or not connection.open:
            raise StatementFailed("connection_lost", f"{self.name}: the connection is gone")
        # PyMySQL closes at its end what these attributes hold.
        taken: socket.socket = connection._sock
        connection._sock = connection._rfile = None
        return taken

    def close(self) -> None:
        """Drop the connection at once, without a farewell that could block."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.open:
            connection._force_close()


def _text(error: Exception) -> str:
    if len(error.args) >= 2:
        return f"{error.args[1]} ({error.args[0]})"
    return str(error) or type(error).__name__
