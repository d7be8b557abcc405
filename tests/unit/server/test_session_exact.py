# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw values for comparing: none is made plain, few are held, and rows that do not end do not hold the caller."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import session as sessions
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Exact, Session, StatementFailed


class Unbuffered:
    """What ``query_exact`` uses of pymysql's SSCursor. One that is thrown away while active would read on."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.description: Any = None
        self._result: Any = None
        self.rows: Iterator[Any] = iter(())

    def execute(self, sql: str) -> None:
        self.connection.statements.append(sql)
        if isinstance(self.connection.answer, BaseException):
            raise self.connection.answer
        self._result = self.connection.result = SimpleNamespace(unbuffered_active=True)
        self.description = [(name, 3, None, None, None, None, 1) for name in self.connection.columns]
        self.rows = iter(self.connection.answer)

    def fetchone(self) -> Any:
        row = next(self.rows, None)
        if isinstance(row, BaseException):
            self._result.unbuffered_active = isinstance(row, OSError)
            raise row
        return row

    def close(self) -> None:
        self._result.unbuffered_active = False
        self.connection.closed_cursors += 1


class Connection:
    def __init__(self, answer: Any, columns: tuple[str, ...] = ("a",)) -> None:
        self.answer = answer
        self.columns = columns
        self.statements: list[str] = []
        self.result: Any = None
        self.closed_cursors = 0
        self.open = True

    def cursor(self, kind: Any) -> Unbuffered:
        assert kind is pymysql.cursors.SSCursor
        return Unbuffered(self)

    def _force_close(self) -> None:
        self.open = False


def session(answer: Any, columns: tuple[str, ...] = ("a",)) -> tuple[Session, Connection]:
    connection = Connection(answer, columns)
    return Session(connection, "db1", "9.7.4", ""), connection


def test_values_come_as_they_are() -> None:
    row = (Decimal("1.10"), 1.5, None, "", b"\xff", datetime.timedelta(seconds=1), datetime.date(2026, 1, 1), 2**64)
    names = ("a", "a", "a", "b", "c", "d", "e", "f")
    asked, connection = session([row], names)
    assert asked.query_exact("SELECT 100%", within=5, most=1) == Exact(names, (row,), False)
    assert connection.statements == ["SELECT 100%"] and connection.closed_cursors == 1


@pytest.mark.parametrize(("count", "more"), [(0, False), (2, False), (3, False), (4, True), (9, True)])
def test_no_more_than_asked_for_are_held(count: int, more: bool) -> None:
    asked, _connection = session((number,) for number in range(count))
    found = asked.query_exact("SELECT a", within=5, most=3)
    assert (found.rows, found.more) == (tuple((number,) for number in range(min(count, 3))), more)


@pytest.mark.parametrize("where", ["at once", "between rows"])
def test_an_error_of_the_server_leaves_the_session_usable(where: str) -> None:
    error = pymysql.err.OperationalError(3024, "maximum statement execution time exceeded")
    asked, connection = session(error if where == "at once" else [(1,), error])
    with pytest.raises(StatementFailed) as caught:
        asked.query_exact("SELECT a", within=5, most=10)
    assert (caught.value.code, caught.value.errno, asked.usable) == ("sql_error", 3024, True)
    if connection.result:
        assert not connection.result.unbuffered_active


def test_a_connection_that_breaks_between_rows() -> None:
    asked, connection = session([(1,), ConnectionResetError(104, "reset")])
    with pytest.raises(StatementFailed) as caught:
        asked.query_exact("SELECT a", within=50, most=10)
    assert caught.value.code == "connection_lost" and not asked.usable and not connection.open
    assert not connection.result.unbuffered_active, "it would be read to its end when it is thrown away"


def test_rows_that_do_not_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row comes in time, and there is always another one."""
    now = [0.0]
    monkeypatch.setattr(sessions, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def rows() -> Iterator[Any]:
        while True:
            now[0] += 1
            yield (1,)

    asked, connection = session(rows())
    with pytest.raises(StatementFailed) as caught:
        asked.query_exact("SELECT a", within=10, most=2)
    assert caught.value.code == "deadline_exceeded" and not asked.usable and now[0] == 10
    assert not connection.result.unbuffered_active


def test_it_waits_for_its_turn_and_gives_it_back() -> None:
    asked, connection = session([(1,)])
    asked._turn.acquire()
    started = time.monotonic()
    with pytest.raises(StatementFailed) as caught:
        asked.query_exact("SELECT a", within=0.05, most=1)
    assert caught.value.code == "deadline_exceeded" and asked.usable and connection.statements == []
    assert time.monotonic() - started >= 0.05
    asked._turn.release()
    assert asked.query_exact("SELECT a", within=5, most=1).rows == ((1,),)
    assert not asked._turn.locked()


def test_a_session_that_is_closed_says_so() -> None:
    asked, _connection = session([])
    asked.close()
    with pytest.raises(StatementFailed) as caught:
        asked.query_exact("SELECT a", within=5, most=1)
    assert caught.value.code == "connection_lost"
