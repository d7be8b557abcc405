# SPDX-License-Identifier: GPL-3.0-or-later
"""``mysql_account`` on the database host, through its socket: what SHOW GRANTS says, and who can log in."""

from __future__ import annotations

import re
from typing import Any

import pymysql
import pytest
import scratch
from playing import Call, play
from waiting import eventually

MODULE = "mysql_account"
PASSWORD = "first'\\canary%s"
NEW = 'second"\\canary{}'
ALL = "*.*"
GRANTS: dict[str, dict[str, str]] = {
    "admin": {
        ALL: "PROCESS, RELOAD, EVENT, SHOW VIEW, REPLICATION CLIENT, CREATE USER, REPLICATION_SLAVE_ADMIN,"
        " SYSTEM_VARIABLES_ADMIN, SESSION_VARIABLES_ADMIN, CONNECTION_ADMIN, SERVICE_CONNECTION_ADMIN, BACKUP_ADMIN,"
        " CLONE_ADMIN, SET_ANY_DEFINER",
        "performance_schema.*": "SELECT",
        "mysql.*": "SELECT",
        "lossless_ha.*": "ALL PRIVILEGES",
    },
    "manager": {
        ALL: "PROCESS, RELOAD, EVENT, REPLICATION CLIENT, CREATE USER, REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN,"
        " CONNECTION_ADMIN, SERVICE_CONNECTION_ADMIN, SET_ANY_DEFINER",
        "performance_schema.*": "SELECT",
        "mysql.user": "SELECT (Host, User, account_locked)",
        "lossless_ha.*": "SELECT",
        "lossless_ha.term": "INSERT",
        "lossless_ha.heartbeat": "INSERT, UPDATE",
    },
    "monitor": {
        ALL: "PROCESS, REPLICATION CLIENT, SERVICE_CONNECTION_ADMIN",
        "performance_schema.*": "SELECT",
        "lossless_ha.*": "SELECT",
    },
    "reconcile": {ALL: "SELECT, SHOW VIEW, PROCESS, REPLICATION CLIENT, SERVICE_CONNECTION_ADMIN"},
    "keeper": {
        ALL: "REPLICATION CLIENT, SERVICE_CONNECTION_ADMIN, CONNECTION_ADMIN, SYSTEM_VARIABLES_ADMIN",
        "performance_schema.*": "SELECT",
        "lossless_ha.*": "SELECT",
        "lossless_ha.heartbeat": "INSERT, UPDATE",
        "lossless_ha.rejoin": "INSERT, UPDATE",
    },
    "clone": {ALL: "BACKUP_ADMIN"},
    "replication": {ALL: "REPLICATION SLAVE"},
    "drill": {"lossless_drill.*": "SELECT, INSERT, UPDATE, CREATE"},
}


def call(server: scratch.Server, duty: str, check: bool = False, **options: Any) -> Call:
    given = {"user": f"t_{duty}", "duty": duty, "login_unix_socket": "/tmp/mysqld.sock", "ca_cert": "/scratch/ca.pem"}
    return Call(MODULE, {**given, **options}, check, server.container)


def exists(server: scratch.Server, duty: str) -> bool:
    return bool(server.value(f"(SELECT COUNT(*) FROM mysql.user WHERE User = 't_{duty}')"))


def apart(privileges: str) -> set[str]:
    """Not at the commas between columns."""
    return {each.strip() for each in re.split(r",(?![^(]*\))", privileges.replace("`", ""))}


def granted(server: scratch.Server, duty: str) -> dict[str, set[str]]:
    """What SHOW GRANTS says, by object."""
    held: dict[str, set[str]] = {}
    for row in server.sql(f"SHOW GRANTS FOR t_{duty}@'%'"):
        line = next(iter(row.values()))
        assert "GRANT OPTION" not in line
        privileges, _on, subject = line.removeprefix("GRANT ").rpartition(" TO ")[0].partition(" ON ")
        held.setdefault(subject.replace("`", ""), set()).update(apart(privileges))
    held[ALL].discard("USAGE")
    return {subject: privileges for subject, privileges in held.items() if privileges}


def wanted(duty: str) -> dict[str, set[str]]:
    return {subject: apart(privileges) for subject, privileges in GRANTS[duty].items()}


def logs_in(server: scratch.Server, duty: str, password: str, *, tls: bool = True) -> bool:
    secured: dict[str, Any] = {"ssl": {"ca": str(server.farm.files / "ca.pem")}} if tls else {"ssl_disabled": True}
    try:
        pymysql.connect(host=server.address, port=3306, user=f"t_{duty}", password=password, **secured).close()
    except pymysql.err.OperationalError as error:
        assert error.args[0] in (1045, 2061), error
        return False
    return True


@pytest.fixture
def servers(lossless: Any) -> Any:
    """Without accounts of a test before."""
    for duty in GRANTS:
        lossless.servers[0].sql(f"DROP USER IF EXISTS t_{duty}@'%'")
    return lossless.servers


def test_each_duty_gets_exactly_its_grants_and_a_second_run_changes_nothing(servers: Any) -> None:
    primary, replica = servers[:2]
    untouched = scratch.everything(servers)
    planned, _printed = play(*(call(primary, duty, True, password=PASSWORD) for duty in GRANTS))
    assert scratch.everything(servers) == untouched
    calls = [call(primary, duty, password=PASSWORD) for duty in GRANTS]
    results, printed = play(*calls, *calls, call(primary, "monitor"))
    made, again = results[: len(GRANTS)], results[len(GRANTS) : -1]
    assert "canary" not in printed
    assert not results[-1]["failed"] and not results[-1]["changed"], "without a password the one it has is left alone"
    for duty, plan, done, second in zip(GRANTS, planned, made, again, strict=True):
        assert plan["changed"] and done["changed"], (duty, done)
        assert (plan["via"], plan["changes"]) == (done["via"], done["changes"]) == ("primary", ["create the account"])
        assert plan["diff"] == done["diff"]
        assert done["diff"]["before"] == "" and f"duty: {duty}" in done["diff"]["after"]
        assert not second["failed"] and not second["changed"], second
        assert granted(primary, duty) == wanted(duty)
        assert logs_in(primary, duty, PASSWORD)
        assert not logs_in(primary, duty, PASSWORD, tls=False), "TLS is required"
        assert not logs_in(primary, duty, "wrong")
    eventually(lambda: all(exists(replica, duty) for duty in GRANTS))
    assert granted(replica, "drill") == wanted("drill")


def test_a_password_is_changed_grants_are_mended_and_a_removed_account_comes_back(servers: Any) -> None:
    primary = servers[0]
    play(call(primary, "monitor", password=PASSWORD))
    primary.sql("GRANT SELECT ON *.* TO t_monitor@'%'", "REVOKE PROCESS ON *.* FROM t_monitor@'%'")
    primary.sql("ALTER USER t_monitor@'%' REQUIRE NONE ACCOUNT LOCK")
    untouched = scratch.everything(servers)
    (planned,), _printed = play(call(primary, "monitor", True, password=NEW))
    assert scratch.everything(servers) == untouched
    (done, again), printed = play(*[call(primary, "monitor", password=NEW)] * 2)
    assert planned["changes"] == done["changes"]
    assert {"change the TLS requirement", "revoke SELECT on *.*"} < set(done["changes"])
    assert any(change.startswith("grant PROCESS") for change in done["changes"])
    assert not again["changed"]
    assert granted(primary, "monitor") == wanted("monitor")
    locked = primary.sql("SELECT account_locked AS l, ssl_type AS t FROM mysql.user WHERE User = 't_monitor'")[0]
    assert locked["l"] == "Y", "a lock is left alone"
    assert locked["t"], "TLS is required again"
    assert "canary" not in printed

    primary.sql("ALTER USER t_monitor@'%' ACCOUNT UNLOCK")
    (done, again), printed = play(*[call(primary, "monitor", password="third'canary")] * 2)
    assert done["changes"] == ["set the password"] and "password: changed" in done["diff"]["after"]
    assert not again["changed"] and "canary" not in printed
    assert logs_in(primary, "monitor", "third'canary")
    assert not logs_in(primary, "monitor", NEW)

    primary.sql("DROP USER t_monitor@'%'")
    (missing, refused, back), _printed = play(
        call(primary, "monitor"),
        call(primary, "monitor", password=NEW, state="absent"),
        call(primary, "monitor", password=NEW),
    )
    assert (missing["failed"], missing["code"]) == (True, "password_missing") and missing["next_step"]
    assert refused["failed"] and "state" in refused["msg"], "removing is left to a person"
    assert back["changes"] == ["create the account"] and logs_in(primary, "monitor", NEW)


def test_a_replica_is_left_to_its_source_and_a_new_server_gets_no_transaction(
    servers: Any, stray: scratch.Server
) -> None:
    replica = servers[1]
    untouched = scratch.everything([*servers, stray])
    logged = stray.sql("SHOW BINARY LOG STATUS")
    (left, planned), _printed = play(
        call(replica, "clone", password=PASSWORD), call(stray, "clone", True, password=PASSWORD)
    )
    assert (left["changed"], left["via"], left["changes"]) == (False, "replication", [])
    assert (planned["changed"], planned["via"]) == (True, "local")
    assert scratch.everything([*servers, stray]) == untouched
    (made, again), _printed = play(*[call(stray, "clone", password=PASSWORD)] * 2)
    assert made["changed"] and not again["changed"]
    assert stray.sql("SHOW BINARY LOG STATUS") == logged, "it was logged"
    assert (stray.variable("super_read_only"), stray.variable("read_only")) == ("ON", "ON")
    assert granted(stray, "clone") == wanted("clone") and logs_in(stray, "clone", PASSWORD)
    assert not exists(replica, "clone")
