# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts: their grants, how they may be changed, and that a server which replicates is left alone."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import accounts
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.dialect import Dialect
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import (
    ConnectFailed,
    Login,
    StatementFailed,
)
from ansible_collections.lossless.mysql_ha.plugins.modules import mysql_account

NEW = Dialect((9, 7, 4))
OLD = Dialect((8, 0, 26))
CANARY = "canary'\\%s"
ACCOUNT = accounts.Account("keeper", "%", accounts.KEEPER)


def shown(account: accounts.Account, names: Dialect = NEW) -> list[str]:
    """SHOW GRANTS as the server prints it: static and dynamic privileges apart, the schema quoted."""
    lines = []
    for privileges, subject in accounts.grants_of(account.duty, names):
        schema, _dot, table = subject.partition(".")
        quoted = subject if schema == "*" else f"`{schema}`." + (table if table == "*" else f"`{table}`")
        parts = privileges.replace("ALL", "ALL PRIVILEGES").split(", ")
        for some in (parts[::2], parts[1::2]):
            if some:
                lines.append(f"GRANT {','.join(some)} ON {quoted} TO `{account.user}`@`%`")
    return lines


class Server:
    """A pretended server: what it is asked is kept, and what it is told changes its account."""

    def __init__(self, *, super_read_only: int = 1, channels: int = 0, exists: bool = False, ssl: str = "ANY") -> None:
        self.facts = {
            "super_read_only": super_read_only,
            "channels": channels,
            "admin_address": "10.0.0.1",
            "admin_port": 33062,
            "port": 3306,
        }
        self.exists = exists
        self.ssl = ssl
        self.grants = shown(ACCOUNT) if exists else []
        self.said: list[str] = []
        self.version = "9.7.4"
        self.dialect = NEW
        self.usable = True
        self.fail_on: Optional[str] = None
        self.lose_connection = False

    def query(self, sql: str, values: Any = (), *, within: float, secret: bool = False) -> list[dict[str, Any]]:
        if sql.startswith("SHOW GRANTS"):
            return [{"g": line} for line in self.grants]
        raise AssertionError(sql)

    def one(self, sql: str, values: Any = (), *, within: float) -> dict[str, Any]:
        if "super_read_only" in sql:
            return self.facts
        return {"ssl_type": self.ssl} if self.exists else {}

    def execute(self, sql: str, values: Any = (), *, within: float, secret: bool = False) -> None:
        if values:
            assert secret, "a statement with a password must be marked"
            assert sql % tuple("x" for _value in values), "percent signs beside a bound value are written twice"
        self.said.append(sql)
        if self.fail_on and self.fail_on in sql:
            self.usable = not self.lose_connection
            raise StatementFailed("sql_error", "broken", errno=1)

    def close(self) -> None:
        pass


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(server: Server, password_right: bool = True) -> Server:
        monkeypatch.setattr(accounts.Session, "connect", lambda *a, **k: server)
        monkeypatch.setattr(accounts, "password_works", lambda *a, **k: password_right)
        return server

    return install


def converge(password: str = CANARY, dry: bool = False, account: accounts.Account = ACCOUNT) -> accounts.Converged:
    return accounts.converge(Login("root"), account, password, accounts.LoginTry(""), dry=dry, within=1)


@pytest.mark.parametrize(
    ("super_read_only", "follows", "expected"),
    [
        (False, False, accounts.LOGGED),
        (True, False, accounts.UNLOGGED),
        (True, True, accounts.REPLICATED),
        (False, True, accounts.REPLICATED),
    ],
)
def test_the_servers_role_decides_the_way(super_read_only: bool, follows: bool, expected: str) -> None:
    assert accounts.route(super_read_only=super_read_only, follows=follows) == expected


@pytest.mark.parametrize("duty", accounts.DUTIES)
@pytest.mark.parametrize("names", [OLD, NEW])
def test_what_a_duty_grants_compares_equal_with_itself(duty: str, names: Dialect) -> None:
    account = accounts.Account("u", "%", duty)
    assert not accounts.difference(accounts.grants_of(duty, names), shown(account, names))


def test_the_definer_privilege_is_the_versions_own() -> None:
    def everything(names: Dialect) -> str:
        return ", ".join(privileges for privileges, _subject in accounts.grants_of(accounts.ADMIN, names))

    assert "SET_USER_ID" in everything(OLD) and "SET_ANY_DEFINER" not in everything(OLD)
    assert "SET_ANY_DEFINER" in everything(NEW) and "SET_USER_ID" not in everything(NEW)


def test_no_duty_may_grant_or_read_everything() -> None:
    for duty in accounts.DUTIES:
        for privileges, subject in accounts.grants_of(duty, NEW):
            held = {each.strip() for each in privileges.split(",")}
            assert not held & {"SUPER", "GRANT OPTION", "SYSTEM_USER", "ROLE_ADMIN", "FILE"}
            if subject == "*.*":
                may = {"SELECT"} if duty == accounts.RECONCILE else set()
                assert not held & ({"ALL", "SELECT", "INSERT", "UPDATE", "DELETE"} - may)


@pytest.mark.parametrize("names", [OLD, NEW])
def test_who_reads_everything_changes_nothing(names: Dialect) -> None:
    wanted = "SELECT, SHOW VIEW, PROCESS, REPLICATION CLIENT, SERVICE_CONNECTION_ADMIN"
    assert accounts.grants_of(accounts.RECONCILE, names) == ((wanted, "*.*"),)


def test_columns_are_compared_however_the_server_gathers_them() -> None:
    manager = accounts.Account("manager", "%", accounts.MANAGER)
    wanted = accounts.grants_of(accounts.MANAGER, NEW)
    others = [line for line in shown(manager) if "mysql" not in line]

    def differs(columns: str) -> accounts.Difference:
        return accounts.difference(wanted, [*others, f"GRANT {columns} ON `mysql`.`user` TO `manager`@`%`"])

    assert not differs("SELECT (`Host`, `User`, `account_locked`)")
    assert differs("SELECT (`Host`, `User`)").lacking
    assert differs("SELECT (`Host`, `User`, `account_locked`, `authentication_string`)").excess == (
        ("SELECT (AUTHENTICATION_STRING)", "mysql.user"),
    )
    assert differs("SELECT, UPDATE (`account_locked`)").excess == (("SELECT, UPDATE (ACCOUNT_LOCKED)", "mysql.user"),)


def test_the_manager_holds_nothing_that_the_administrator_does_not_and_less() -> None:
    def held(duty: str) -> set[str]:
        return {
            p
            for privileges, subject in accounts.grants_of(duty, NEW)
            if subject == "*.*"
            for p in privileges.split(", ")
        }

    assert held(accounts.MANAGER) < held(accounts.ADMIN)
    assert held(accounts.ADMIN) - held(accounts.MANAGER) == {
        "BACKUP_ADMIN", "CLONE_ADMIN", "SESSION_VARIABLES_ADMIN", "SHOW VIEW",
    }  # fmt: skip
    own = {subject: privileges for privileges, subject in accounts.grants_of(accounts.MANAGER, NEW)}
    assert own["lossless_ha.term"] == "INSERT", "a term is appended, never changed"


def test_grants_beyond_the_duty_are_found() -> None:
    more = ["GRANT SELECT ON `bank`.* TO `keeper`@`%` WITH GRANT OPTION", "GRANT `r`@`%` TO `keeper`@`%`"]
    lines = [*shown(ACCOUNT), *more]
    found = accounts.difference(accounts.grants_of(accounts.KEEPER, NEW), lines)
    assert found.lacking == ()
    assert found.excess == (("GRANT OPTION, SELECT", "bank.*"),)


def test_a_fresh_server_gets_no_transaction_and_is_closed_again(on: Any) -> None:
    server = on(Server())
    done = converge()
    assert (done.changed, done.via) == (True, accounts.UNLOGGED)
    assert server.said[:3] == [
        "SET SESSION sql_log_bin = 0",
        "SET GLOBAL read_only = ON",
        "SET GLOBAL super_read_only = OFF",
    ]
    assert "SET GLOBAL super_read_only = ON" in server.said[-2:]
    assert not any("SET GLOBAL read_only = OFF" in each for each in server.said)


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("where", ["CREATE USER", "GRANT", "super_read_only = OFF"])
def test_the_server_is_read_only_again_even_after_a_failure(on: Any, where: str, lost: bool) -> None:
    server = on(Server())
    server.fail_on, server.lose_connection = where, lost
    with pytest.raises(HaError):
        converge()
    assert any("super_read_only = ON" in each for each in server.said[server.said.index("SET GLOBAL read_only = ON") :])


def test_a_server_that_stays_writable_is_named(on: Any) -> None:
    server = on(Server())
    server.fail_on = "super_read_only = ON"
    with pytest.raises(HaError) as caught:
        converge()
    assert caught.value.code == "left_writable"
    assert "SET GLOBAL super_read_only=ON" in caught.value.next_step


def test_a_primary_logs_the_change(on: Any) -> None:
    server = on(Server(super_read_only=0))
    assert converge().via == accounts.LOGGED
    assert not any("sql_log_bin" in each or "read_only" in each for each in server.said)


def test_a_replica_is_left_alone_whatever_differs(on: Any) -> None:
    server = on(Server(channels=1), password_right=False)
    done = converge()
    assert (done.changed, done.via, server.said) == (False, accounts.REPLICATED, [])


@pytest.mark.parametrize("read_only", [0, 1])
def test_a_right_account_is_not_touched(on: Any, read_only: int) -> None:
    server = on(Server(super_read_only=read_only, exists=True))
    done = converge()
    assert (done.changed, done.changes, server.said, done.before) == (False, (), [], done.after)


def test_a_wrong_password_is_the_only_thing_that_is_mended(on: Any) -> None:
    server = on(Server(super_read_only=0, exists=True), password_right=False)
    assert converge().changes == ("set the password",)
    assert server.said == ["ALTER USER `keeper`@`%%` IDENTIFIED BY %s"]


def test_a_missing_tls_requirement_does_not_touch_the_password(on: Any) -> None:
    server = on(Server(super_read_only=0, exists=True, ssl=""))
    assert converge(password="").changes == ("change the TLS requirement",)
    assert server.said == ["ALTER USER `keeper`@`%` REQUIRE SSL"]


def test_an_account_of_a_table_that_is_not_there_yet(on: Any) -> None:
    server = on(Server(super_read_only=0))
    converge()
    table = [each for each in server.said if "`heartbeat`" in each]
    assert table == [
        "GRANT INSERT, UPDATE, CREATE ON `lossless_ha`.`heartbeat` TO `keeper`@`%`",
        "REVOKE CREATE ON `lossless_ha`.`heartbeat` FROM `keeper`@`%`",
    ]


@pytest.mark.parametrize("exists", [False, True])
def test_check_mode_says_the_same_and_does_nothing(on: Any, exists: bool) -> None:
    real = on(Server(super_read_only=0, exists=exists), password_right=False)
    said = converge()
    dry = on(Server(super_read_only=0, exists=exists), password_right=False)
    assert converge(dry=True) == said
    assert real.said and not dry.said


def test_no_secret_in_result_or_statement(on: Any) -> None:
    server = on(Server(super_read_only=0, exists=True), password_right=False)
    done = converge()
    assert CANARY not in repr(done) + repr(server.said)


def test_a_new_account_needs_a_password_in_check_mode_too(on: Any) -> None:
    on(Server())
    with pytest.raises(HaError) as caught:
        converge(password="", dry=True)
    assert caught.value.code == "password_missing"


@pytest.mark.parametrize(
    ("errno", "kind", "works"),
    [
        (1045, "login_failed", False),
        (3118, "login_failed", True),
        (1227, "failed", True),
        (3032, "failed", True),
    ],
)
def test_what_a_failed_login_says_of_the_password(
    monkeypatch: pytest.MonkeyPatch, errno: int, kind: str, works: bool
) -> None:
    def connect(*_a: Any, **_k: Any) -> Any:
        raise ConnectFailed(kind, "no", errno=errno)

    monkeypatch.setattr(accounts.Session, "connect", connect)
    assert accounts.password_works("h", 1, ACCOUNT, Login("u"), within=1) is works


@pytest.mark.parametrize(("errno", "kind"), [(1040, "failed"), (3955, "login_failed"), (0, "timed_out")])
def test_a_login_that_was_not_tried_is_no_answer(monkeypatch: pytest.MonkeyPatch, errno: int, kind: str) -> None:
    def connect(*_a: Any, **_k: Any) -> Any:
        raise ConnectFailed(kind, "no", errno=errno)

    monkeypatch.setattr(accounts.Session, "connect", connect)
    with pytest.raises(ConnectFailed):
        accounts.password_works("h", 1, ACCOUNT, Login("u"), within=1)


def test_every_privilege_is_explained_in_the_modules_documentation() -> None:
    for duty in accounts.DUTIES:
        note = next(line for line in mysql_account.DOCUMENTATION.split("\n  - ") if f"V({duty})" in line)
        for names in (OLD, NEW):
            for privileges, _subject in accounts.grants_of(duty, names):
                for privilege in privileges.split(", "):
                    assert privilege in note, f"{duty}: {privilege}"


def test_the_modules_choices_are_the_duties() -> None:
    assert tuple(mysql_account.SPEC["duty"]["choices"]) == accounts.DUTIES
