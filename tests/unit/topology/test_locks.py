# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's lock on servers that are played: who gets it, who is told what, how it is kept, and how it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login, StatementFailed
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import FAILED, Member, NoAnswer
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology import locks, observe
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.locks import LOCK_SECONDS, Locks
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.observe import Members

NAMES = ("db1", "db2", "db3")
NAME = "lossless_ha:ledger"


class Server:
    """One server's lock. ``answers``: clear while it hangs."""

    def __init__(self) -> None:
        self.holder: Optional[Connection] = None
        self.connections = 0
        self.refuses = False
        self.answers = threading.Event()
        self.answers.set()
        self.freed = threading.Condition()

    def get(self, connection: Connection, wait: float) -> int:
        with self.freed:
            if not self.freed.wait_for(lambda: self.holder in (None, connection), timeout=wait):
                return 0
            self.holder = connection
            return 1

    def free(self, connection: Optional[Connection] = None) -> None:
        with self.freed:
            if connection is None or self.holder is connection:
                self.holder = None
                self.freed.notify_all()


class Connection:
    """What ``Locks`` uses of a session."""

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self.server = server
        self.usable = True
        self.patient = False
        self.wait_timeout = 28800
        self.statements: list[str] = []
        self._turn = threading.Lock()
        server.connections += 1

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self.query(sql, values, within=within)

    def one(self, sql: str, values: Any = (), *, within: float) -> dict[str, Any]:
        return (self.query(sql, values, within=within) or [{}])[0]

    def query(self, sql: str, values: Any = (), *, within: float) -> list[dict[str, Any]]:
        if not self._turn.acquire(timeout=within):
            raise StatementFailed("deadline_exceeded", f"{self.name}: busy")
        try:
            return self._answer(sql, values, within)
        finally:
            self._turn.release()

    def when_idle(self, sql: str, values: Any = (), *, within: float) -> Optional[list[dict[str, Any]]]:
        if not self._turn.acquire(blocking=False):
            return None
        try:
            return self._answer(sql, values, within)
        finally:
            self._turn.release()

    def _answer(self, sql: str, values: Any, within: float) -> list[dict[str, Any]]:
        self.statements.append(sql)
        if not self.usable:
            raise StatementFailed("connection_lost", f"{self.name}: the connection is gone")
        if not self.server.answers.wait(5 if self.patient else within):
            self.close()
            raise StatementFailed("deadline_exceeded", f"{self.name}: no answer")
        if "GET_LOCK" in sql:
            return [{"got": self.server.get(self, values[1])}]
        if "wait_timeout" in sql:
            self.wait_timeout = values[0] if values else 28800
        elif "RELEASE_LOCK" in sql:
            self.server.free(self)
        elif "CONNECTION_ID" in sql:
            return [{"mine": int(self.server.holder is self)}]
        elif "processlist" in sql and self.server.holder is not None:
            return [{"thread": 7, "user": "lossless_admin", "host": "10.0.0.9:1", "program": "lossless.mysql_ha run-1"}]
        return []

    def close(self) -> None:
        self.usable = False
        self.server.free(self)

    def busy(self) -> Any:
        """A statement of the run that is at work on this connection."""
        return self._turn


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Server]]:
    played = {name: Server() for name in NAMES}

    def connect(name: str, *_where: Any, **_how: Any) -> Connection:
        if played[name].refuses:
            raise observe.ConnectFailed("refused", f"{name}: refused")
        return Connection(name, played[name])

    monkeypatch.setattr(observe.Session, "connect", connect)
    yield played
    for server in played.values():
        server.answers.set()


def pool() -> Members:
    return Members([Member(name, name) for name in NAMES], Login("lossless_admin", "x"))


def taken(members: Optional[Members] = None, within: float = 0.5) -> Locks:
    mine = Locks(members or pool(), "ledger", within=within)
    mine.take(NAMES, 3)
    return mine


def test_of_two_runs_that_begin_at_once_one_gets_it(servers: dict[str, Server]) -> None:
    """Each would have got it somewhere, and both would have been refused: they meet at the first member."""

    def run(names: tuple[str, ...], begin: threading.Barrier, outcomes: list[str]) -> None:
        mine = Locks(pool(), "ledger", within=2.0)
        begin.wait()
        try:
            mine.take(names, 3)
            outcomes.append("taken")
        except HaError as error:
            outcomes.append(error.code)
        begin.wait()
        mine.release()

    for _attempt in range(20):
        begin = threading.Barrier(2)
        outcomes: list[str] = []
        threads = [threading.Thread(target=run, args=(names, begin, outcomes)) for names in (NAMES, NAMES[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert sorted(outcomes) == ["locked", "taken"]
        assert all(server.holder is None for server in servers.values())


def test_a_member_that_does_not_answer_decides_nothing(servers: dict[str, Server]) -> None:
    servers["db1"].refuses = True
    mine = Locks(pool(), "ledger", within=0.5)
    assert mine.take(NAMES, 2) == ["db2", "db3"]
    mine.release()


def eventually(holds: Callable[[], Any]) -> None:
    ends = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < ends, "it did not come true"
        time.sleep(0.005)


def error(call: Callable[[], Any]) -> HaError:
    with pytest.raises(HaError) as caught:
        call()
    return caught.value


def stranger(server: Server) -> Connection:
    other = Connection("other", server)
    assert other.one("SELECT GET_LOCK(%s, %s) AS got", (NAME, 0), within=1)["got"] == 1
    return other


# --- taking ----------------------------------------------------------------------------------------------------------
def test_the_lock_is_taken_with_a_short_wait_timeout_and_let_go_without(servers: dict[str, Server]) -> None:
    members = pool()
    mine = taken(members)
    sessions = [members.session(name) for name in NAMES]
    assert mine.held == NAMES
    assert [s.wait_timeout for s in sessions] == [LOCK_SECONDS] * 3  # type: ignore[attr-defined]
    mine.check()
    mine.release()
    assert all(server.holder is None for server in servers.values())
    assert [s.wait_timeout for s in sessions] == [28800] * 3  # type: ignore[attr-defined]
    assert [members.session(name) for name in NAMES] == sessions, "the connections stay open"
    assert mine.held == ()


def test_enough_is_enough(servers: dict[str, Server]) -> None:
    stranger(servers["db3"])
    mine = Locks(pool(), "ledger", within=0.5)
    assert mine.take(NAMES, 2) == ["db1", "db2"]
    mine.check()
    mine.release()


def test_who_holds_it_is_said_and_what_was_taken_is_released(servers: dict[str, Server]) -> None:
    other = stranger(servers["db3"])
    refused = error(lambda: Locks(pool(), "ledger", within=0.5).take(NAMES, 3))
    assert refused.code == "locked"
    assert "db3: lossless.mysql_ha run-1 as lossless_admin from 10.0.0.9:1 (thread 7)" in refused.message
    assert refused.evidence["members"] == ["db3"] and set(refused.evidence["holders"]) == {"db3"}
    assert [servers[name].holder for name in NAMES] == [None, None, other]


def test_a_member_that_does_not_answer_is_no_other_run(servers: dict[str, Server]) -> None:
    servers["db2"].refuses = True
    refused = error(lambda: Locks(pool(), "ledger", within=0.5).take(NAMES, 3))
    assert refused.code == "locked" and "another run" not in refused.message and "db2: refused" in refused.message
    assert refused.evidence["members"] == ["db2"] and refused.evidence["holders"] == {}
    assert servers["db1"].holder is None


def test_it_is_waited_for(servers: dict[str, Server]) -> None:
    other = stranger(servers["db2"])
    threading.Timer(0.1, other.close).start()
    mine = Locks(pool(), "ledger", within=0.5)
    assert mine.take(NAMES, 3, wait=3) == list(NAMES)
    mine.release()


def test_while_one_is_waited_for_the_others_are_kept_alive(
    servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "KEEP_EVERY", 0.02)
    other = stranger(servers["db2"])
    members = pool()
    mine = Locks(members, "ledger", within=0.5)
    run = threading.Thread(target=lambda: mine.take(NAMES, 3, wait=5))
    run.start()
    eventually(lambda: "db1" in mine.held)
    session: Any = members.session("db1")
    eventually(lambda: len([s for s in session.statements if "CONNECTION_ID" in s]) > 2)
    other.close()
    run.join(5)
    assert mine.held == NAMES
    mine.release()


def test_one_that_comes_too_late_is_let_go_again(servers: dict[str, Server]) -> None:
    members = pool()
    late: Any = members.session("db3")
    servers["db3"].answers.clear()
    mine = Locks(members, "ledger", within=0.1)
    late.patient = True
    assert error(lambda: mine.take(NAMES, 3)).evidence["members"] == ["db3"]
    servers["db3"].answers.set()
    eventually(lambda: any("RELEASE_LOCK" in s for s in late.statements))
    assert servers["db3"].holder is None and mine.held == ()


def test_more_locks_than_members_is_said_so(servers: dict[str, Server]) -> None:
    refused = error(lambda: Locks(pool(), "ledger", within=0.5).take(NAMES, 4))
    assert refused.code == "locked"
    assert refused.message == "3 members could be locked, 4 have to be, and no more answer"


# --- keeping ---------------------------------------------------------------------------------------------------------
def test_a_lock_is_kept_alive_while_the_run_waits_for_something_else(
    servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "KEEP_EVERY", 0.02)
    members = pool()
    mine = taken(members)
    busy: Any = members.session("db2")
    with busy.busy():
        at_work = len(busy.statements)
        others: list[Any] = [members.session(name) for name in ("db1", "db3")]
        before = [len(s.statements) for s in others]
        eventually(lambda: all(len(s.statements) > n + 3 for s, n in zip(others, before, strict=True)))
        assert len(busy.statements) == at_work, "a second statement on a connection that is at work"
    eventually(lambda: len(busy.statements) > at_work)
    mine.check()
    mine.release()
    after = len(busy.statements)
    time.sleep(0.1)
    assert len(busy.statements) == after, "kept alive after it was let go"


def test_one_member_that_hangs_does_not_cost_the_locks_of_the_others(
    servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "KEEP_EVERY", 0.02)
    members = pool()
    mine = taken(members)
    servers["db3"].answers.clear()
    well: Any = members.session("db1")
    before = len(well.statements)
    eventually(lambda: len(well.statements) > before + 4)
    servers["db3"].answers.set()
    mine.check()
    mine.release()


# --- losing ----------------------------------------------------------------------------------------------------------
def test_a_connection_that_lost_its_lock_is_never_replaced(servers: dict[str, Server]) -> None:
    members = pool()
    mine = taken(members)
    opened = servers["db2"].connections
    members.session("db2").close()
    assert error(lambda: members.session("db2")).code == "lock_lost"
    seen = members.observe(["db2"], within=0.5).answers["db2"]
    assert isinstance(seen, NoAnswer) and seen.kind == FAILED, "that our connection broke does not say that it is dead"
    lost = error(mine.check)
    assert lost.code == "lock_lost" and lost.evidence["members"] == ["db2"] and "db2" in lost.message
    assert error(mine.check).code == "lock_lost", "it stays lost"
    assert servers["db2"].connections == opened
    mine.release()
    members.session("db2")
    assert servers["db2"].connections == opened + 1


def test_a_lock_that_another_holds_by_now_is_lost(servers: dict[str, Server]) -> None:
    mine = taken()
    servers["db1"].free()
    stranger(servers["db1"])
    assert error(mine.check).evidence["members"] == ["db1"]
    mine.release()
    assert servers["db1"].holder is not None, "released what was not ours"


def test_what_the_keeping_thread_saw_is_not_forgotten(servers: dict[str, Server]) -> None:
    mine = taken()
    servers["db1"].free()
    mine.keep()
    servers["db1"].get(mine._held["db1"], 0)  # type: ignore[arg-type]
    assert error(mine.check).code == "lock_lost", "another run may have held it in between"
    mine.release()


def test_what_can_not_be_seen_in_time_counts_as_lost(servers: dict[str, Server]) -> None:
    mine = taken(within=0.1)
    servers["db3"].answers.clear()
    assert error(mine.check).evidence["members"] == ["db3"]
    servers["db3"].answers.set()
    mine.release()


def test_a_lock_that_can_not_be_let_go_goes_with_its_connection(servers: dict[str, Server]) -> None:
    members = pool()
    mine = taken(members, within=0.1)
    session = members.session("db2")
    servers["db2"].answers.clear()
    mine.release()
    assert not session.usable
    assert [servers[name].holder for name in NAMES] == [None] * 3


def test_a_server_that_restarts_is_forgone_and_locked_again(servers: dict[str, Server]) -> None:
    members = pool()
    mine = taken(members)
    mine.forgo("db2")
    assert servers["db2"].holder is None and mine.held == ("db1", "db3")
    mine.check()
    assert mine.take(["db2"], 1) == ["db2"]
    assert mine.held == NAMES
    mine.check()
    mine.forgo("db2")
    stranger(servers["db2"])
    assert error(lambda: mine.take(["db2"], 1)).code == "locked"
    assert mine.held == ("db1", "db3"), "what was held before stays so until the run ends"
    mine.release()
