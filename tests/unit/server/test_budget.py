# SPDX-License-Identifier: GPL-3.0-or-later
"""A statement with a budget: the kill hits it, or nothing. Played on a server on which every order can be made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import budget as budgets
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import ConnectFailed, StatementFailed

BLOCK = "SET GLOBAL super_read_only = ON"
THREAD = 42


class Server:
    """One connection that acts, thread 42, and those that kill.

    ``running``: what it executes now. ``mark``: a kill that came too late for its statement, and ends the next one.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.running = ""
        self.killed = False
        self.mark = False
        self.log: list[str] = []

    def interrupt(self, mark: bool = False) -> None:
        with self.changed:
            if self.running:
                self.killed = True
            elif mark:
                self.mark = True
            self.changed.notify_all()


class Acting:
    """The session that acts. A statement lasts until it is killed, or until ``ends`` is set."""

    name = "db1"
    thread_id = THREAD

    def __init__(self, server: Server) -> None:
        self.server = server
        self.usable = True
        self.ends = threading.Event()
        self.late: Optional[Callable[[], None]] = None
        """Called between the end on the server and the answer's arrival here."""

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        server = self.server
        with server.changed:
            server.log.append(sql)
            if server.mark:
                server.mark = False
                raise StatementFailed("sql_error", "interrupted", errno=budgets.INTERRUPTED)
            if sql == BLOCK:
                server.running = sql
                limit = time.monotonic() + within
                while not server.killed and not self.ends.is_set() and time.monotonic() < limit:
                    server.changed.wait(0.005)
            killed, server.killed, server.running = server.killed, False, ""
        if self.late and sql == BLOCK:
            self.late()
        if killed:
            raise StatementFailed("sql_error", "interrupted", errno=budgets.INTERRUPTED)
        if sql == BLOCK and not self.ends.is_set():
            self.close()
            raise StatementFailed("deadline_exceeded", "no answer")

    def close(self) -> None:
        self.usable = False


class Killer:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.usable = True
        self.sending = threading.Event()
        self.deliver = threading.Event()
        self.deliver.set()
        self.answers: list[StatementFailed] = []
        self.marks = False
        self.closed = 0

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self.sending.set()
        self.deliver.wait(5)
        self.server.log.append(sql)
        for answer in self.answers:
            self.usable = answer.code == "sql_error"
            raise answer
        self.server.interrupt(self.marks)

    def close(self) -> None:
        self.usable = False
        self.closed += 1


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> tuple[Server, Acting, Killer]:
    """One kill, unless a test asks for more: how many there are by the clock says nothing on a busy machine."""
    monkeypatch.setattr(budgets, "AGAIN_EVERY", 60)
    server = Server()
    return server, Acting(server), Killer(server)


def block(acting: Acting, killer: Killer, budget: float = 0.05, within: float = 0.2) -> Optional[HaError]:
    try:
        budgets.execute(acting, BLOCK, budget=budget, within=within, connect=lambda: killer)  # type: ignore[arg-type]
    except HaError as error:
        return error
    finally:
        assert killer.closed == 1
    return None


def kills(server: Server) -> list[str]:
    return [sql for sql in server.log if sql.startswith("KILL")]


def test_in_time_nothing_is_killed_and_nothing_is_left_behind(played: tuple[Server, Acting, Killer]) -> None:
    server, acting, killer = played
    acting.ends.set()
    assert block(acting, killer, budget=5) is None
    time.sleep(0.05)
    assert server.log == [BLOCK]
    assert not [t for t in threading.enumerate() if t.name == "budget"]


def test_when_the_budget_is_over_the_statement_is_interrupted_and_the_connection_goes_on(
    played: tuple[Server, Acting, Killer],
) -> None:
    server, acting, killer = played
    began = time.monotonic()
    error = block(acting, killer, within=5)
    assert isinstance(error, StatementFailed) and error.errno == budgets.INTERRUPTED
    assert time.monotonic() - began < 2
    assert acting.usable and kills(server) == [f"KILL QUERY {THREAD}"]
    acting.execute("SET GLOBAL super_read_only = OFF", within=1)


def test_a_kill_that_comes_before_the_statement_is_followed_by_another(
    played: tuple[Server, Acting, Killer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, acting, killer = played
    monkeypatch.setattr(budgets, "AGAIN_EVERY", 0.05)
    begin = acting.execute

    def late(sql: str, values: Any = (), *, within: float) -> None:
        if sql == BLOCK:
            assert killer.sending.wait(5)
            time.sleep(0.01)
        begin(sql, values, within=within)

    acting.execute = late  # type: ignore[method-assign]
    error = block(acting, killer, budget=0.01, within=5)
    assert isinstance(error, StatementFailed) and error.errno == budgets.INTERRUPTED
    first = server.log.index(BLOCK)
    assert kills(server) == [f"KILL QUERY {THREAD}"] * len(kills(server))
    assert first >= 1 and len(kills(server)) > first, "none came after it"


def test_the_connection_is_not_used_again_while_a_kill_is_on_its_way(played: tuple[Server, Acting, Killer]) -> None:
    """The statement ends in the moment in which the kill is sent: the kill finds nobody, and not the next statement."""
    server, acting, killer = played
    killer.deliver.clear()

    def end_while_it_is_sent() -> None:
        assert killer.sending.wait(5)
        acting.ends.set()
        time.sleep(0.05)
        assert server.log == [BLOCK], "something was sent while the kill was on its way"
        killer.deliver.set()

    thread = threading.Thread(target=end_while_it_is_sent)
    thread.start()
    assert block(acting, killer, within=5) is None, "it ended well"
    thread.join(5)
    assert server.log == [BLOCK, f"KILL QUERY {THREAD}", "DO 0"]
    acting.execute("the next statement", within=1)


def test_no_kill_is_sent_once_the_end_is_known(played: tuple[Server, Acting, Killer]) -> None:
    """The budget is over between the end of the statement and the word of it: whoever is first holds the mutex."""
    for _attempt in range(50):
        server = Server()
        acting, killer = Acting(server), Killer(server)
        acting.ends.set()
        killer.marks = True
        acting.late = lambda: time.sleep(0.002)
        error = block(acting, killer, budget=0.002)
        # On a busy machine the kill may even come before the statement.
        assert error is None or (isinstance(error, StatementFailed) and error.errno == budgets.INTERRUPTED)
        acting.execute("the next statement", within=1)
        assert server.log[-1] == "the next statement" and not server.mark
        assert (server.log[-2] == "DO 0") == bool(kills(server))


def test_the_mark_of_a_kill_that_came_too_late_is_taken_by_an_empty_statement(
    played: tuple[Server, Acting, Killer],
) -> None:
    server, acting, killer = played
    killer.marks = True
    acting.ends.set()
    acting.late = lambda: killer.sending.wait(5) and None  # type: ignore[func-returns-value]
    assert block(acting, killer, budget=0.2, within=5) is None
    assert server.log == [BLOCK, f"KILL QUERY {THREAD}", "DO 0"] and not server.mark
    acting.execute("the next statement", within=1)


@pytest.mark.parametrize("code", ["deadline_exceeded", "connection_lost"])
def test_a_kill_without_an_answer_may_still_arrive_and_must_find_nobody(
    played: tuple[Server, Acting, Killer], code: str
) -> None:
    _server, acting, killer = played
    killer.answers = [StatementFailed(code, "no answer")]
    acting.ends.set()
    acting.late = lambda: killer.sending.wait(5) and None  # type: ignore[func-returns-value]
    assert block(acting, killer, budget=0.2) is None
    assert not acting.usable


def test_a_connection_that_was_gone_when_the_kill_came_needs_no_closing(played: tuple[Server, Acting, Killer]) -> None:
    server, acting, killer = played
    killer.answers = [StatementFailed("sql_error", "no such thread", errno=budgets.NO_SUCH_THREAD)]
    acting.ends.set()
    acting.late = lambda: killer.sending.wait(5) and None  # type: ignore[func-returns-value]
    assert block(acting, killer, budget=0.2) is None
    assert acting.usable and server.log[-1] == "DO 0"


def test_a_statement_without_an_answer_is_ended_on_the_server_so_that_it_takes_no_effect_later(
    played: tuple[Server, Acting, Killer],
) -> None:
    server, acting, killer = played
    server.interrupt = lambda mark=False: None  # type: ignore[method-assign]
    error = block(acting, killer, within=0.1)
    assert error is not None and error.code == "deadline_exceeded"
    assert kills(server) == [f"KILL QUERY {THREAD}", f"KILL CONNECTION {THREAD}"]


def test_without_a_connection_to_kill_from_nothing_is_begun(played: tuple[Server, Acting, Killer]) -> None:
    server, acting, _killer = played

    def connect() -> Any:
        raise ConnectFailed("refused", "refused")

    with pytest.raises(ConnectFailed):
        budgets.execute(acting, BLOCK, budget=1, within=1, connect=connect)  # type: ignore[arg-type]
    assert server.log == []
