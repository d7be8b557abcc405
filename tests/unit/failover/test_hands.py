# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hands do when half of it fails."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover import hands as room
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.hands import Hands, ReplicationLogin
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.dialect import Dialect
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login, StatementFailed
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member

SUPER, READ_ONLY = "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF"
ARMED = "is it armed?"
BLOCK = "SET GLOBAL super_read_only = ON"


class Session:
    """Answers statements with the error that is said for them, or with nothing."""

    name = "db1"

    def __init__(self, **_where: Any) -> None:
        self.log: list[str] = []
        self.errors: dict[str, HaError] = {}
        self.usable = True
        self.thread_id = 42
        self.dialect = Dialect((9, 7, 4))
        self.armed = 1

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self.log.append(sql)
        error = self.errors.get(sql)
        if error:
            self.usable = error.code == "sql_error"
            raise error

    def one(self, sql: str, values: Any = (), *, within: float) -> dict[str, Any]:
        assert "rpl_semi_sync_source_enabled" in sql
        self.execute(ARMED, within=within)
        return {"armed": self.armed, "k": 1}

    def close(self) -> None:
        self.usable = False


class Pool:
    """Opens a new session when the last one broke."""

    login = Login("u")

    def __init__(self) -> None:
        self.opened = [Session()]

    def member(self, name: str) -> Member:
        return Member(name, name)

    def session(self, _name: str) -> Session:
        if not self.opened[-1].usable:
            self.opened.append(Session())
        return self.opened[-1]

    @property
    def log(self) -> list[str]:
        return [sql for session in self.opened for sql in session.log]


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    monkeypatch.setattr(room.Session, "connect", lambda *_where, **_how: Session())
    return Pool()


def hands(pool: Pool) -> Hands:
    return Hands(pool, "ledger", ReplicationLogin("lossless_repl_", ""), deadline=0.5)  # type: ignore[arg-type]


def failed(errno: int = 1045) -> StatementFailed:
    return StatementFailed("sql_error", f"error {errno}", errno=errno)


@pytest.mark.parametrize("flag", [SUPER, READ_ONLY])
def test_both_flags_are_tried_whatever_becomes_of_the_other(pool: Pool, flag: str) -> None:
    pool.opened[0].errors = {flag: failed()}
    with pytest.raises(StatementFailed) as caught:
        hands(pool).open_writes("db1")
    assert caught.value.errno == 1045
    assert pool.log == [SUPER, ARMED, READ_ONLY]


def test_a_connection_that_breaks_on_the_first_flag_is_replaced_for_the_second(pool: Pool) -> None:
    pool.opened[0].errors = {SUPER: StatementFailed("connection_lost", "gone")}
    with pytest.raises(HaError):
        hands(pool).open_writes("db1")
    assert [session.log for session in pool.opened] == [[SUPER], [ARMED, READ_ONLY]]


def test_when_both_flags_fail_both_are_said(pool: Pool) -> None:
    pool.opened[0].errors = {SUPER: failed(1), READ_ONLY: failed(2)}
    with pytest.raises(HaError) as caught:
        hands(pool).open_writes("db1")
    assert caught.value.code == "sql_error" and "error 1" in caught.value.message and "error 2" in caught.value.message
    assert len(caught.value.evidence["failures"]) == 2


class Crowded(Session):
    """The old primary of a cut replication, with a client that this account may not end, and one that is gone."""

    def query(self, sql: str, values: Any = (), *, within: float) -> list[dict[str, Any]]:
        assert "performance_schema.threads" in sql and "offline_mode" in self.log[0]
        there = {11: "app", 12: "root", 13: "lossless_keeper", 14: "u", 15: "dba", 16: "late"}
        return [{"id": number, "user": user, "killed": int(user == "late")} for number, user in there.items()]


def test_a_fence_lets_nobody_in_ends_who_is_left_and_releases_nothing(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Crowded()
    session.errors = {"KILL CONNECTION 12": failed(1095), "KILL CONNECTION 15": failed(1094)}
    monkeypatch.setattr(room.Session, "connect", lambda *_where, **_how: session)
    assert hands(pool).fence("db1") == ["root"]
    assert session.log == ["SET GLOBAL offline_mode = ON", *(f"KILL CONNECTION {n}" for n in (11, 12, 13, 15))]
    assert not session.usable and pool.log == [], "not a connection of its own"


def test_applications_are_not_let_in_where_commits_wait_for_nobody(pool: Pool) -> None:
    pool.opened[0].armed = 0
    with pytest.raises(HaError) as caught:
        hands(pool).open_writes("db1")
    assert caught.value.code == "situation_changed"
    assert pool.log == [SUPER, ARMED, BLOCK]


def test_without_an_answer_whether_it_is_armed_applications_are_not_let_in(pool: Pool) -> None:
    pool.opened[0].errors = {ARMED: failed()}
    with pytest.raises(HaError):
        hands(pool).open_writes("db1")
    assert pool.log == [SUPER, ARMED]


@pytest.mark.parametrize("errno", [1205, 1317])
def test_a_block_that_takes_too_long_switches_both_flags_off_again(pool: Pool, errno: int) -> None:
    pool.opened[0].errors = {BLOCK: failed(errno)}
    with pytest.raises(HaError) as caught:
        hands(pool).close_writes("db1", 5)
    assert caught.value.code == "writes_not_blocked" and "nothing was changed" in caught.value.message
    assert pool.log[-3:] == [SUPER, ARMED, READ_ONLY]


def test_a_block_that_can_not_be_undone_does_not_say_that_nothing_was_changed(pool: Pool) -> None:
    pool.opened[0].errors = {BLOCK: failed(1317), SUPER: failed()}
    with pytest.raises(HaError) as caught:
        hands(pool).close_writes("db1", 5)
    assert caught.value.code == "writes_not_blocked" and "nothing was changed" not in caught.value.message
    assert pool.log[-3:] == [SUPER, ARMED, READ_ONLY]


def test_another_error_of_the_block_is_left_to_the_caller(pool: Pool) -> None:
    pool.opened[0].errors = {BLOCK: failed(1227)}
    with pytest.raises(StatementFailed) as caught:
        hands(pool).close_writes("db1", 5)
    assert caught.value.errno == 1227
