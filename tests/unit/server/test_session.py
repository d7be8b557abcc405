# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection: what each failure is called, what never leaks, and what never hangs. No server needed."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import errno
import json
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import session as sessions
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import (
    ConnectFailed,
    Login,
    Session,
    StatementFailed,
    _kind_of,
    _plain,
    identifier,
)

PASSWORD = "correct-horse'battery\\staple"
SECRET = "correct-horse"
"""A part of it that neither repr nor JSON writes in another way: looking for the whole would find nothing for ever."""
LOGIN = Login("lossless_admin", PASSWORD)


# --- a pymysql connection that answers what it is told ---------------------------------------------------------------
class Cursor:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rows: list[dict[str, Any]] = []

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def execute(self, sql: str, values: tuple[Any, ...] | None) -> None:
        self.connection.statements.append((sql, values))
        for part, answer in self.connection.answers.items():
            if part in sql:
                if isinstance(answer, BaseException):
                    raise answer
                self.rows = answer
                return

    def fetchall(self) -> list[dict[str, Any]]:
        return self.rows


class Connection:
    """What ``Session`` uses of pymysql's, and nothing that could wait."""

    def __init__(self, version: str = "9.7.4", comment: str = "(Debian)", **answers: Any) -> None:
        self.answers: dict[str, Any] = {"@@version": [{"version": version, "comment": comment}], **answers}
        self.statements: list[tuple[str, Any]] = []
        self.open = True
        self.forced = 0
        self.dialled: Any = None

    def connect(self, dialled: Any) -> None:
        self.dialled = dialled

    def cursor(self) -> Cursor:
        return Cursor(self)

    def get_server_info(self) -> str:
        return "as greeted"

    def thread_id(self) -> int:
        return 42

    def _force_close(self) -> None:
        self.open = False
        self.forced += 1

    def close(self) -> None:
        raise AssertionError("close() says farewell, which can block")


class Connect:
    """Stands for ``pymysql.connect``."""

    def __init__(self) -> None:
        self.outcome: Any = Connection()
        self.arguments: dict[str, Any] = {}

    def __call__(self, **arguments: Any) -> Any:
        self.arguments = arguments
        if isinstance(self.outcome, BaseException):
            raise self.outcome  # pylint: disable=raising-non-exception
        return self.outcome


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    stand_in = Connect()
    monkeypatch.setattr(pymysql, "connect", stand_in)
    monkeypatch.setattr(sessions, "_dial", lambda host, port, within: f"{host}:{port}")
    return stand_in


def opened(**changes: Any) -> Session:
    return Session.connect("db1", "10.0.0.1", 33062, LOGIN, within=1.0, **changes)


def wrapped(cause: BaseException, number: int = 2003) -> pymysql.err.OperationalError:
    """As pymysql hands on what went wrong before the greeting."""
    error = pymysql.err.OperationalError(number, f"Can't connect to MySQL server on '10.0.0.1' ({cause})")
    error.original_exception = cause
    return error


def during_query(cause: BaseException) -> BaseException:
    """As pymysql hands on what went wrong while it read: as the context of its own error."""
    try:
        try:
            raise cause
        except type(cause):
            raise pymysql.err.OperationalError(2013, f"Lost connection to MySQL server during query ({cause})")  # noqa: B904
    except pymysql.err.OperationalError as error:
        return error


# --- what a failed connection is called ------------------------------------------------------------------------------
KINDS = [
    (wrapped(ConnectionRefusedError(111, "Connection refused")), "refused"),
    (wrapped(TimeoutError("timed out")), "timed_out"),
    (wrapped(TimeoutError(errno.ETIMEDOUT, "Connection timed out")), "timed_out"),
    (during_query(TimeoutError("timed out")), "timed_out"),
    (during_query(TimeoutError("The handshake operation timed out")), "timed_out"),
    (wrapped(socket.gaierror(-2, "Name or service not known")), "unreachable"),
    (wrapped(OSError(errno.EHOSTUNREACH, "No route to host")), "unreachable"),
    (wrapped(OSError(errno.ENETUNREACH, "Network is unreachable")), "unreachable"),
    (wrapped(FileNotFoundError(2, "No such file or directory")), "unreachable"),
    (wrapped(ssl.SSLCertVerificationError("certificate verify failed: certificate has expired")), "tls_failed"),
    (wrapped(ssl.SSLError("WRONG_VERSION_NUMBER")), "tls_failed"),
    (ssl.SSLError("no certificate or crl found"), "tls_failed"),
    (FileNotFoundError(2, "No such file or directory", "/etc/ca.pem"), "tls_failed"),
    (PermissionError(13, "Permission denied", "/etc/client-key.pem"), "tls_failed"),
    (pymysql.err.OperationalError(2026, "SSL connection error"), "tls_failed"),
    (pymysql.err.OperationalError(1045, "Access denied"), "login_failed"),
    (pymysql.err.OperationalError(1044, "Access denied to database"), "login_failed"),
    (pymysql.err.OperationalError(1130, "Host is not allowed to connect"), "login_failed"),
    (pymysql.err.OperationalError(1862, "password has expired"), "login_failed"),
    (pymysql.err.OperationalError(3118, "Account is locked"), "login_failed"),
    (pymysql.err.OperationalError(3159, "Connections using insecure transport are prohibited"), "login_failed"),
    # it closed the connection before it said anything: it goes down, or comes up
    (pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query"), "refused"),
    (during_query(ConnectionResetError(104, "Connection reset by peer")), "refused"),
    (wrapped(ConnectionResetError(104, "Connection reset by peer")), "refused"),
    (wrapped(BrokenPipeError(32, "Broken pipe")), "refused"),
    (wrapped(ConnectionAbortedError(103, "Software caused connection abort")), "refused"),
    # it speaks MySQL, and is alive
    (pymysql.err.OperationalError(1040, "Too many connections"), "failed"),
    (pymysql.err.OperationalError(1129, "Host is blocked because of many connection errors"), "failed"),
    (pymysql.err.OperationalError(1203, "User already has more than max_user_connections"), "failed"),
    (RuntimeError("cryptography is required"), "failed"),
    (pymysql.err.InternalError("Packet sequence number wrong"), "failed"),
]


@pytest.mark.parametrize(("error", "kind"), KINDS, ids=[f"{kind}-{error}" for error, kind in KINDS])
def test_kinds_of_failed_connections(error: BaseException, kind: str, connect: Connect) -> None:
    assert _kind_of(error) == kind
    connect.outcome = error
    with pytest.raises(ConnectFailed) as caught:
        opened()
    assert (caught.value.kind, caught.value.code) == (kind, f"connect_{kind}")
    assert "db1 (10.0.0.1:33062)" in caught.value.message
    assert caught.value.next_step
    assert caught.value.evidence["member"] == "db1"


def test_the_number_of_the_server_is_kept(connect: Connect) -> None:
    connect.outcome = pymysql.err.OperationalError(1045, "Access denied")
    with pytest.raises(ConnectFailed) as caught:
        opened()
    assert (caught.value.errno, caught.value.evidence["errno"]) == (1045, 1045)


def test_a_chain_of_causes_that_bites_its_tail_ends() -> None:
    first, second = pymysql.err.OperationalError(1, "a"), OSError("b")
    first.__context__, second.__context__ = second, first
    assert _kind_of(first) == "unreachable"


def test_a_failure_of_our_own_is_not_hidden(connect: Connect) -> None:
    connect.outcome = KeyError("a defect")
    with pytest.raises(KeyError):
        opened()


def test_real_sockets_that_refuse_and_that_say_nothing() -> None:
    with socket.socket() as unbound:
        unbound.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectFailed) as refused:
            Session.connect("db1", "127.0.0.1", unbound.getsockname()[1], LOGIN, within=1.0)
    assert refused.value.kind == "refused"
    with socket.create_server(("127.0.0.1", 0)) as hung:
        began = time.monotonic()
        with pytest.raises(ConnectFailed) as timed_out:
            Session.connect("db1", "127.0.0.1", hung.getsockname()[1], LOGIN, within=0.1)
    assert timed_out.value.kind == "timed_out"
    assert time.monotonic() - began < 1.0


def test_a_server_that_hangs_up_before_its_greeting_is_going_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(ConnectFailed) as caught:
            Session.connect("db1", "127.0.0.1", server.getsockname()[1], LOGIN, within=1.0)
        thread.join()
    assert caught.value.kind == "refused"


@pytest.mark.parametrize(
    ("version", "kind", "says"),
    [
        ("5.5.5-10.11.6-MariaDB", "not_supported", "MariaDB"),
        ("5.7.44-log", "not_supported", "5.7.44"),
        ("8.0.25", "not_supported", "8.0.26 and later"),
        ("8.0.36", "login_failed", "Access denied"),
    ],
)
def test_a_server_that_is_none_of_ours_says_so_in_its_greeting(version: str, kind: str, says: str) -> None:
    """It refuses the login, which would send a person looking for a password."""
    greeting = b"\x0a" + version.encode() + b"\0" + bytes(4) + b"12345678\0" + b"\x05\xa2\x21\x02\0\x08\0\x15"
    greeting += bytes(10) + b"123456789012\0" + b"mysql_native_password\0"
    denied = b"\xff\x15\x04#28000Access denied"

    def packet(number: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "little") + bytes([number]) + payload

    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            client = server.accept()[0]
            with client:
                client.sendall(packet(0, greeting))
                client.recv(4096)
                client.sendall(packet(2, denied))

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(ConnectFailed) as caught:
            Session.connect("db1", "127.0.0.1", server.getsockname()[1], LOGIN, within=1.0)
        thread.join()
    assert caught.value.kind == kind
    assert says in caught.value.message


def test_a_connection_that_met_itself_is_nobodys_answer_and_leaves_the_port_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    met = socket.socket()
    met.bind(("127.0.0.1", 0))
    port = met.getsockname()[1]
    met.connect(("127.0.0.1", port))
    assert met.getsockname() == met.getpeername(), "what the kernel does by chance is done on purpose here"
    monkeypatch.setattr(socket, "create_connection", lambda *_arguments, **_more: met)
    began = time.monotonic()
    with pytest.raises(ConnectFailed) as caught:
        Session.connect("db1", "127.0.0.1", port, LOGIN, within=5.0)
    assert caught.value.kind == "refused"
    assert time.monotonic() - began < 1.0, "nobody is going to greet"
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))  # as mysqld does, and fails while a TIME_WAIT is left


def test_without_pymysql_a_person_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PYMYSQL_IMPORT_ERROR", "Traceback")
    with pytest.raises(HaError) as caught:
        opened()
    assert caught.value.code == "pymysql_missing"


# --- connecting ------------------------------------------------------------------------------------------------------
def test_the_deadline_bounds_every_part_of_connecting(connect: Connect) -> None:
    opened()
    given = connect.arguments
    assert (given["connect_timeout"], given["read_timeout"], given["write_timeout"]) == (1.0, 1.0, 1.0)
    Session.connect("db1", "10.0.0.1", 33062, LOGIN, within=0.0)
    assert connect.arguments["connect_timeout"] > 0, "pymysql takes 0 for no time-out or an error"


def test_with_a_ca_the_server_is_verified_by_name(connect: Connect) -> None:
    Session.connect("db1", "10.0.0.1", 33062, Login("u", "p", ca="/ca", cert="/cert", key="/key"), within=1.0)
    given = connect.arguments
    assert (given["ssl_ca"], given["ssl_cert"], given["ssl_key"]) == ("/ca", "/cert", "/key")
    assert given["ssl_verify_cert"] is True
    assert given["ssl_verify_identity"] is True
    Session.connect("db1", "10.0.0.1", 33062, Login("u", "p", ca="/ca"), within=1.0)
    assert (connect.arguments["ssl_cert"], connect.arguments["ssl_key"]) == (None, None)


def test_a_socket_takes_the_place_of_host_and_port(connect: Connect) -> None:
    Session.connect("db1", "10.0.0.1", 33062, Login("u", unix_socket="/run/mysqld.sock", ca="/ca"), within=1.0)
    assert connect.arguments["unix_socket"] == "/run/mysqld.sock"
    assert not {"host", "port", "ssl_ca"} & set(connect.arguments)


def test_session_variables_are_set_with_bound_values(connect: Connect) -> None:
    session = opened(settings={"wait_timeout": 8, "lock_wait_timeout": 1}, program="a drill")
    assert connect.outcome.statements[-1] == (
        "SET SESSION `wait_timeout` = %s, SESSION `lock_wait_timeout` = %s",
        (8, 1),
    )
    assert connect.arguments["program_name"] == "a drill"
    assert (session.version, session.version_comment, session.thread_id) == ("9.7.4", "(Debian)", 42)


@pytest.mark.parametrize(
    ("version", "comment"), [("8.0.25", ""), ("5.5.5-10.11.6-MariaDB", "Debian n/a"), ("5.7.44-log", ""), ("", "")]
)
def test_a_server_that_is_not_served_is_refused_and_left(connect: Connect, version: str, comment: str) -> None:
    connect.outcome = Connection(version, comment)
    with pytest.raises(ConnectFailed) as caught:
        opened(settings={"wait_timeout": 8})
    assert (caught.value.kind, caught.value.evidence["version"]) == ("not_supported", version)
    assert (connect.outcome.open, connect.outcome.forced) == (False, 1)
    assert len(connect.outcome.statements) == 1, "nothing is set on a server that is not ours"


def test_a_connection_that_breaks_while_it_is_identified_is_closed(connect: Connect) -> None:
    connect.outcome.answers["@@version"] = pymysql.err.OperationalError(1820, "You must reset your password")
    with pytest.raises(HaError):
        opened()
    assert not connect.outcome.open


# --- statements ------------------------------------------------------------------------------------------------------
def failing(connect: Connect, error: BaseException, **options: Any) -> StatementFailed:
    session = opened()
    connect.outcome.answers["DO SOMETHING"] = error
    with pytest.raises(StatementFailed) as caught:
        session.query("DO SOMETHING %s", ("x",), **{"within": 1.0, **options})
    return caught.value


def test_the_servers_own_error_leaves_the_connection_open(connect: Connect) -> None:
    failed = failing(connect, pymysql.err.ProgrammingError(1146, "Table 'a.b' doesn't exist"))
    assert (failed.code, failed.errno) == ("sql_error", 1146)
    assert "Table 'a.b' doesn't exist (1146)" in failed.message
    assert failed.evidence["statement"] == "DO SOMETHING %s"
    assert connect.outcome.open


@pytest.mark.parametrize(
    "error",
    [
        pymysql.err.OperationalError(2013, "Lost connection"),
        pymysql.err.OperationalError(2006, "Gone away"),
        pymysql.err.OperationalError(2014, "Command Out of Sync"),
        pymysql.err.InterfaceError(0, ""),
        pymysql.err.InternalError("Packet sequence number wrong - got 5 expected 1"),
        ConnectionResetError(104, "Connection reset by peer"),
        BrokenPipeError(32, "Broken pipe"),
    ],
    ids=str,
)
def test_a_broken_connection_has_an_unknown_outcome(connect: Connect, error: BaseException) -> None:
    failed = failing(connect, error)
    assert failed.code == "connection_lost"
    assert "observe the server again" in failed.next_step
    assert not connect.outcome.open, "nothing that follows may pretend otherwise"


@pytest.mark.parametrize(
    "error", [TimeoutError("timed out"), pymysql.err.OperationalError(2013, "Lost connection (timed out)")], ids=str
)
def test_a_statement_that_outlives_its_deadline_closes_the_connection(connect: Connect, error: BaseException) -> None:
    failed = failing(connect, error, within=0.0)
    assert failed.code == "deadline_exceeded"
    assert not connect.outcome.open


def test_an_error_in_time_is_an_error_however_late(connect: Connect) -> None:
    failed = failing(connect, pymysql.err.OperationalError(1205, "Lock wait timeout exceeded"), within=0.0)
    assert (failed.code, failed.errno) == ("sql_error", 1205)
    assert connect.outcome.open


def test_every_statement_gets_its_own_deadline(connect: Connect) -> None:
    session = opened()
    session.execute("DO 1", within=0.25)
    assert (connect.outcome._read_timeout, connect.outcome._write_timeout) == (0.25, 0.25)
    session.execute("DO 1", within=-5.0)
    assert connect.outcome._read_timeout > 0


def test_after_it_broke_no_statement_is_sent(connect: Connect) -> None:
    session = opened()
    session.close()
    sent = len(connect.outcome.statements)
    with pytest.raises(StatementFailed) as caught:
        session.execute("DO 1", within=1.0)
    assert (caught.value.code, session.usable, len(connect.outcome.statements)) == ("connection_lost", False, sent)


def test_a_defect_of_ours_is_not_taken_for_the_servers(connect: Connect) -> None:
    session = opened()
    connect.outcome.answers["DO 1"] = TypeError("a defect")
    with pytest.raises(TypeError):
        session.execute("DO 1", within=1.0)


def test_rows_come_as_plain_values(connect: Connect) -> None:
    session = opened()
    connect.outcome.answers["SELECT a"] = [{"a": decimal.Decimal("1.000"), "b": b"x", "c": None}]
    assert session.query("SELECT a", within=1.0) == [{"a": 1, "b": "x", "c": None}]
    assert session.one("SELECT a", within=1.0)["a"] == 1
    connect.outcome.answers["SELECT a"] = []
    assert session.one("SELECT a", within=1.0) == {}


def test_without_values_a_percent_sign_is_a_percent_sign(connect: Connect) -> None:
    session = opened()
    session.execute("SELECT 'a%'", within=1.0)
    assert connect.outcome.statements[-1] == ("SELECT 'a%'", None)


# --- one statement at a time -----------------------------------------------------------------------------------------
class Slow(Connection):
    """Its answers come when ``answer`` is set. Two statements at once are what PyMySQL can not bear."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = threading.Event()
        self.at_work = threading.Event()
        self.together = 0

    def cursor(self) -> Cursor:
        connection = self

        class Waiting(Cursor):
            def execute(self, sql: str, values: tuple[Any, ...] | None) -> None:
                connection.together += connection.at_work.is_set()
                connection.at_work.set()
                if "SLOW" in sql:
                    connection.answer.wait(5)
                super().execute(sql, values)
                connection.at_work.clear()

        return Waiting(self)


@pytest.fixture
def busy(connect: Connect) -> Iterator[tuple[Session, Slow]]:
    """A session on which another thread's statement is at work."""
    connection = connect.outcome = Slow()
    session = opened()
    thread = threading.Thread(target=lambda: session.execute("SLOW", within=5))
    thread.start()
    assert connection.at_work.wait(5)
    yield session, connection
    connection.answer.set()
    thread.join(5)


def test_a_statement_waits_for_the_end_of_another_threads(busy: tuple[Session, Slow]) -> None:
    session, connection = busy
    threading.Timer(0.05, connection.answer.set).start()
    session.execute("DO 1", within=5)
    assert [sql for sql, _values in connection.statements[-2:]] == ["SLOW", "DO 1"]
    assert connection.together == 0


def test_a_statement_whose_turn_does_not_come_is_not_sent_and_breaks_nothing(busy: tuple[Session, Slow]) -> None:
    session, connection = busy
    with pytest.raises(StatementFailed) as caught:
        session.execute("DO 1", within=0.05)
    assert caught.value.code == "deadline_exceeded" and "nothing was sent" in caught.value.message
    assert session.usable
    connection.answer.set()
    session.execute("DO 2", within=5)
    assert "DO 1" not in [sql for sql, _values in connection.statements]


def test_what_wants_an_idle_connection_does_without_a_busy_one(busy: tuple[Session, Slow]) -> None:
    session, connection = busy
    assert session.when_idle("DO 1", within=5) is None
    connection.answer.set()
    session.execute("DO 2", within=5)
    assert session.when_idle("DO 1", within=5) == []
    assert connection.together == 0


def test_a_failed_statement_leaves_the_turn_to_the_next(connect: Connect) -> None:
    session = opened()
    connect.outcome.answers["DO BAD"] = pymysql.err.ProgrammingError(1064, "syntax")
    for call in (session.query, session.when_idle):
        with pytest.raises(StatementFailed):
            call("DO BAD", within=1.0)
    session.execute("DO 1", within=1.0)


# --- closing ---------------------------------------------------------------------------------------------------------
def test_close_can_be_called_twice_and_says_no_farewell(connect: Connect) -> None:
    session = opened()
    session.close()
    session.close()
    assert connect.outcome.forced == 1


@contextlib.contextmanager
def full_socket() -> Iterator[socket.socket]:
    """A socket whose other end reads nothing any more, with full buffers: a farewell would wait for ever."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(b"x" * 65536)
        ours.setblocking(True)
        yield ours


def test_close_does_not_wait_for_a_server_that_hangs() -> None:
    connection = pymysql.Connection(user="u", defer_connect=True)
    with full_socket() as sock:
        connection._sock, connection._rfile = sock, sock.makefile("rb")
        connection._closed = False
        session = Session(connection, "db1", "9.7.4", "")
        assert session.usable
        began = time.monotonic()
        session.close()
        assert time.monotonic() - began < 0.5
        assert not session.usable


# --- secrets ---------------------------------------------------------------------------------------------------------
def test_a_login_does_not_show_its_password() -> None:
    assert SECRET not in repr(LOGIN)
    assert SECRET not in str(LOGIN)
    assert "lossless_admin" in repr(LOGIN)


def told(error: HaError) -> str:
    """Everything of an error that may reach a result, a journal, a log or a screen."""
    shown = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return shown + json.dumps(error.as_result()) + str(error) + repr(error)


def test_no_password_in_the_error_of_a_failed_login(connect: Connect) -> None:
    for error, _kind in KINDS:
        connect.outcome = error
        with pytest.raises(ConnectFailed) as caught:
            opened()
        assert SECRET not in told(caught.value)
        assert SECRET not in json.dumps(caught.value.as_result())


def test_a_secret_statement_hides_what_the_server_quotes(connect: Connect) -> None:
    quoted = f"You have an error in your SQL syntax near '{PASSWORD}'"
    failed = failing(connect, pymysql.err.ProgrammingError(1064, quoted), secret=True)
    assert failed.message == "db1: error 1064"
    assert failed.__cause__ is None
    assert SECRET not in told(failed)
    assert "battery" not in told(failed)


@pytest.mark.parametrize("within", [0.0, 1.0])
def test_a_secret_statement_that_breaks_off_hides_it_too(connect: Connect, within: float) -> None:
    failed = failing(
        connect, pymysql.err.OperationalError(2013, f"Lost connection near {PASSWORD}"), secret=True, within=within
    )
    assert SECRET not in told(failed)


def test_other_statements_keep_their_cause(connect: Connect) -> None:
    error = pymysql.err.ProgrammingError(1064, "syntax")
    assert failing(connect, error).__cause__ is error


def test_bound_values_are_no_evidence(connect: Connect) -> None:
    session = opened()
    connect.outcome.answers["SET x"] = pymysql.err.ProgrammingError(1193, "Unknown system variable")
    with pytest.raises(StatementFailed) as caught:
        session.execute("SET x = %s", (PASSWORD,), within=1.0)
    assert SECRET not in json.dumps(caught.value.as_result())


# --- small things ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "quoted"), [("a", "`a`"), ("a`b", "`a``b`"), ("`", "````"), ("a b;--", "`a b;--`"), ("", "``")]
)
def test_identifiers_are_quoted(name: str, quoted: str) -> None:
    assert identifier(name) == quoted


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (7, 7),
        (1.5, 1.5),
        ("text", "text"),
        (decimal.Decimal("12"), 12),
        (decimal.Decimal("12.0"), 12),
        (decimal.Decimal("1790000000.123456"), "1790000000.123456"),
        (decimal.Decimal("0.000000"), 0),
        (datetime.timedelta(minutes=1, milliseconds=500), 60.5),
        (datetime.datetime(2026, 11, 21, 3, 4, 5, 6), "2026-11-21 03:04:05.000006"),
        (datetime.date(2026, 11, 21), "2026-11-21"),
        (b"abc", "abc"),
        (bytearray(b"abc"), "abc"),
        (b"\xff\x00", "ff00"),
        ("grün".encode(), "grün"),
    ],
)
def test_values_become_something_that_json_knows(value: Any, plain: Any) -> None:
    assert _plain(value) == plain
    assert type(_plain(value)) is type(plain)
    json.dumps(_plain(value))


def test_a_missing_ca_file_is_called_a_matter_of_tls(tmp_path: Path) -> None:
    login = Login("u", "p", ca=str(tmp_path / "absent.pem"))
    with pytest.raises(ConnectFailed) as caught:
        Session.connect("db1", "127.0.0.1", 9, login, within=0.5)
    assert caught.value.kind == "tls_failed"
    assert caught.value.evidence["ca"] == login.ca
