# SPDX-License-Identifier: GPL-3.0-or-later
"""``mysql_consistency`` as Ansible runs it, on a primary and a replica that are real: all modes together, what a person
gets wrong, and a replica that was changed behind replication's back.

Each run is checked for passwords in what is printed (``playing``). What is planted is planted by the test's own
statements (sql_log_bin=0), and put back by the plan that the module proposes where it proposes one.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pymysql
import pytest
import scratch
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import run
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member
from pair import PASSWORD, Pair
from playing import run_module
from waiting import eventually

MODULE = "mysql_consistency"
ODD = 'it\'s \\ 100% "odd" `x` 😀'
TYPES = (
    "CREATE TABLE run.types (id INT AUTO_INCREMENT PRIMARY KEY, t VARCHAR(60), b VARBINARY(20), n DECIMAL(30,10),"
    " day DATE, at TIMESTAMP(6) NULL, e ENUM('a','b'), y YEAR, f FLOAT, bits BIT(9), place POINT, j JSON)"
)
ASSERTIONS = [
    {"name": "as many accounts", "sql": "SELECT COUNT(*) FROM run.account", "expect": "equal"},
    {"name": "no debts", "sql": "SELECT id FROM run.account WHERE balance < 0", "expect": "zero_rows"},
]
TABLES = (
    "CREATE DATABASE run",
    "CREATE TABLE run.account (id INT PRIMARY KEY, balance DECIMAL(20,2) NOT NULL)",
    "INSERT INTO run.account WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 900)"
    " SELECT n, n * 10 FROM s",
    "CREATE TABLE run.journal (day DATE, what VARCHAR(20))",
    "INSERT INTO run.journal VALUES ('2024-01-01', 'a'), ('2024-01-01', 'a'), (NULL, 'b')",
    TYPES,
    "SET SESSION time_zone = '+05:00'",
    "INSERT INTO run.types VALUES (1, 'x', x'00ff27', 1.5, '2024-02-29', '2024-02-29 10:00:00.000001', 'b',"
    " 2024, 0.1, b'101', POINT(1, 2), '{\"a\": 1.50}'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
    " NULL, NULL, NULL)",
)


class Reconciled(Pair):
    """A pair that the module is asked about."""

    def given(self, **more: Any) -> dict[str, Any]:
        return {
            "cluster": "scratch",
            "members": [self.primary.as_member(), self.replica.as_member()],
            "login_user": "lossless_reconcile",
            "login_password": PASSWORD,
            "ca_cert": str(self.primary.farm.files / "ca.pem"),
            "primary": self.primary.name,
            "include": ["run"],
            "statement_timeout": 10.0,
            "catch_up_timeout": 3.0,
            **more,
        }

    def request(self, **more: Any) -> run.Request:
        """As ``given``, in this process."""
        ca = str(self.primary.farm.files / "ca.pem")
        return run.Request(
            "scratch",
            tuple(Member(each.name, each.address, 33062) for each in (self.primary, self.replica)),
            Login("lossless_reconcile", PASSWORD, ca=ca),
            primary=self.primary.name,
            include=("run",),
            admin=Login(scratch.ADMIN, scratch.ADMIN_PASSWORD, ca=ca),
            now=time.time(),
            **more,
        )

    def compare(self, *, check: bool = False, **more: Any) -> dict[str, Any]:
        """What the module returns, whatever it found."""
        return run_module(MODULE, self.given(fail_on_difference=False, **more), check=check)[0]

    def refused(self, **more: Any) -> dict[str, Any]:
        return run_module(MODULE, self.given(**more), fails=True)[0]


def verdicts(result: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["table"]: (each["verdict"], each["code"]) for each in result["tables"]}


_SLEEPS = "SELECT MAX(ID) FROM performance_schema.processlist WHERE INFO LIKE 'SELECT SLEEP(600)%'"
PASSED = dict.fromkeys(("account", "journal", "types"), ("pass", ""))


@pytest.fixture(scope="module")
def pair(farm: Any) -> Reconciled:
    made = Reconciled(farm.fresh(2))
    made.make(*TABLES)
    return made


def test_all_modes_together_pass_and_change_nothing(pair: Reconciled) -> None:
    before = scratch.everything([pair.primary, pair.replica])
    asked = {"modes": ["whole", "snapshot", "business"], "assertions": ASSERTIONS, "admin_user": scratch.ADMIN,
             "admin_password": scratch.ADMIN_PASSWORD}  # fmt: skip
    for check in (False, True):
        result = pair.compare(check=check, **asked)
        assert (result["verdict"], result["changed"], result["finished"]) == ("pass", False, True), result
        assert {(each["table"], each["mode"]) for each in result["tables"]} == {
            (table, mode) for table in PASSED for mode in ("whole", "snapshot")
        }
        assert {each["name"] for each in result["assertions"]} == {each["name"] for each in ASSERTIONS}
        assert result["counts"]["rows"] == 2 * (900 + 3 + 2)
    assert scratch.everything([pair.primary, pair.replica]) == before
    assert pair.replica.replica()["Replica_SQL_Running"] == "Yes"
    pair.primary.sql("UPDATE run.account SET balance = balance + 1 WHERE id = 1")
    pair.caught_up()


# --- planted behind replication's back -------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class Planted:
    """``sql`` on the replica; what is found: table, kind, key, columns; ``way`` of the plan."""

    sql: str
    table: str
    kind: str
    key: dict[str, str]
    columns: tuple[str, ...] = ()
    way: str = "rows"


PLANTED = (
    Planted("UPDATE run.account SET balance = 0.01 WHERE id = 77", "account", "value", {"id": "77"}, ("balance",)),
    Planted("DELETE FROM run.account WHERE id = 900", "account", "missing", {"id": "900"}),
    Planted("INSERT INTO run.account VALUES (-5, 1)", "account", "extra", {"id": "-5"}),
    Planted("INSERT INTO run.account VALUES (2000000000, 1)", "account", "extra", {"id": "2000000000"}),
    Planted("UPDATE run.types SET t = '' WHERE id = 2", "types", "value", {"id": "2"}, ("t",)),
    Planted("UPDATE run.types SET t = 'X' WHERE id = 1", "types", "value", {"id": "1"}, ("t",)),
    Planted("UPDATE run.types SET b = x'00ff28', n = 1.4999999999, day = NULL, e = 'a', y = 2023 WHERE id = 1",
            "types", "value", {"id": "1"}, ("b", "n", "day", "e", "y")),
    Planted("UPDATE run.types SET at = at + INTERVAL 1 MICROSECOND WHERE id = 1", "types", "value", {"id": "1"},
            ("at",)),
    Planted("UPDATE run.types SET f = 0.10000001 WHERE id = 1", "types", "value", {"id": "1"}, ("f",), "clone"),
    Planted("UPDATE run.types SET bits = b'100' WHERE id = 1", "types", "value", {"id": "1"}, ("bits",), "clone"),
    Planted("UPDATE run.types SET place = ST_SRID(place, 4326) WHERE id = 1", "types", "value", {"id": "1"},
            ("place",), "clone"),
    Planted("UPDATE run.types SET j = '{\"a\": 2}' WHERE id = 1", "types", "value", {"id": "1"}, ("j",), "clone"),
)  # fmt: skip


@pytest.fixture
def put_back(pair: Reconciled) -> Iterator[None]:
    tables = ("account", "types", "journal")
    pair.behind_its_back("CREATE DATABASE kept", *(f"CREATE TABLE kept.{t} AS SELECT * FROM run.{t}" for t in tables))
    yield
    zero = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'"
    back = [part for t in tables for part in (f"DELETE FROM run.{t}", f"INSERT INTO run.{t} SELECT * FROM kept.{t}")]
    pair.behind_its_back(zero, *back, "DROP DATABASE kept")


def first_of(every: Sequence[Any], few: int) -> list[Any]:
    """The first of them in each run of the tests, the others in the long one."""
    return [each if place < few else pytest.param(each, marks=pytest.mark.long) for place, each in enumerate(every)]


@pytest.mark.usefixtures("put_back")
@pytest.mark.parametrize("planted", first_of(PLANTED, 3), ids=lambda planted: planted.sql)
def test_what_is_planted_is_found_and_the_plan_puts_it_back(pair: Reconciled, planted: Planted) -> None:
    pair.behind_its_back(planted.sql)
    result = pair.compare(reveal=True)
    assert result["verdict"] == "different"
    assert {name: said for name, said in verdicts(result).items() if said[0] != "pass"} == {
        planted.table: ("different", "rows_differ")
    }
    (table,) = [each for each in result["tables"] if each["table"] == planted.table]
    (found,) = table["differences"]
    assert (found["kind"], found["key"], tuple(found["columns"])) == (planted.kind, planted.key, planted.columns)
    (plan,) = result["repair"]
    assert plan["way"] == planted.way
    if planted.way == "rows":
        pair.replica.sql(*plan["sql"])
        assert pair.compare()["verdict"] == "pass"


@pytest.mark.usefixtures("put_back")
def test_a_row_of_a_table_without_a_key_is_counted(pair: Reconciled) -> None:
    pair.behind_its_back("DELETE FROM run.journal WHERE what = 'a' LIMIT 1")
    result = pair.compare()
    assert verdicts(result) == {**PASSED, "journal": ("different", "rows_differ")}
    (plan,) = result["repair"]
    assert plan["way"] == "clone"


@pytest.mark.usefixtures("put_back")
def test_many_rows_of_a_table_without_a_key_are_counted_and_shown(pair: Reconciled) -> None:
    """All of them in one question, by many beginnings of digests and then by many digests."""
    pair.behind_its_back(
        "INSERT INTO run.journal WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 300)"
        " SELECT '2024-01-02', CONCAT('row ', n) FROM s",
        "DELETE FROM run.journal WHERE what = 'a' LIMIT 1",
    )
    (table,) = [each for each in pair.compare(reveal=True)["tables"] if each["table"] == "journal"]
    assert (table["verdict"], table["code"], table["difference_count"]) == ("different", "rows_differ", 301)
    for each in table["differences"]:
        there, here = each["primary"], each["replica"]
        assert (there["day"], there["what"]) == (here["day"], here["what"])
        told = (here["day"], there["rows"], here["rows"])
        assert told == (("2024-01-01", "2", "1") if here["what"] == "a" else ("2024-01-02", "0", "1"))
    assert len({each["replica"]["what"] for each in table["differences"]}) == len(table["differences"]) > 50


@pytest.mark.usefixtures("put_back")
def test_values_are_shown_only_when_they_may_be(pair: Reconciled) -> None:
    pair.behind_its_back("UPDATE run.types SET t = 'value-canary' WHERE id = 1")
    hidden, printed = run_module(MODULE, pair.given(), fails=True)
    assert hidden["code"] == "not_the_same"
    assert hidden["evidence"]["report"]["verdict"] == "different"
    assert "value-canary" not in printed
    assert "value-canary" in json.dumps(pair.compare(reveal=True))


@pytest.mark.usefixtures("put_back")
def test_a_text_of_every_kind_is_put_back(pair: Reconciled) -> None:
    quoted = pymysql.converters.escape_string(ODD + "\n")
    pair.primary.sql(f"UPDATE run.types SET t = '{quoted}' WHERE id = 1")
    pair.caught_up()
    pair.behind_its_back("UPDATE run.types SET t = 'gone' WHERE id = 1")
    (plan,) = pair.compare(reveal=True)["repair"]
    pair.replica.sql(*plan["sql"])
    assert pair.replica.value("(SELECT t FROM run.types WHERE id = 1)") == ODD + "\n"
    pair.primary.sql("UPDATE run.types SET t = 'x' WHERE id = 1")
    pair.caught_up()


# --- bad input -------------------------------------------------------------------------------------------------------
REFUSED: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("wrong password", {"login_password": "wrong'canary"}, "primary_silent", "Access denied"),
    ("unknown primary", {"primary": "s9"}, "unknown_member", "'s9'"),
    ("unknown replica", {"replicas": ["s2", "s9"]}, "unknown_member", "'s9'"),
    ("the primary alone", {"replicas": ["s1"]}, "nothing_to_compare", "s1"),
    ("no members", {"members": []}, "no_members", "empty"),
    ("a misspelt pattern", {"include": ["run", "rum"]}, "nothing_to_compare", "rum"),
    ("all left out", {"exclude": ["run"]}, "nothing_to_compare", "no table fits"),
    ("no assertions", {"modes": ["business"]}, "assertions_empty", "assertion"),
    ("an assertion that writes", {"modes": ["business"], "assertions": [
        {"name": "x", "sql": "DELETE FROM run.account", "expect": "zero_rows"}]}, "assertion_not_a_read", "x"),
    ("a snapshot without an admin", {"modes": ["snapshot"]}, "admin_login_needed", "snapshot"),
    ("a primary that is not there", {"primary": "", "members": [{"name": "s1", "host": "127.0.0.1", "port": 1}]},
     "primary_unknown", "s1"),
)  # fmt: skip


@pytest.mark.parametrize(("more", "code", "says"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED])
def test_what_can_not_be_begun(pair: Reconciled, more: dict[str, Any], code: str, says: str) -> None:
    result = pair.refused(**more)
    assert result["code"] == code, result
    assert says in result["msg"]
    assert result["next_step"]


def test_a_mode_that_there_is_not(pair: Reconciled) -> None:
    assert "value of modes must be one" in pair.refused(modes=["wholly"])["msg"]


def test_an_admin_that_may_not(pair: Reconciled) -> None:
    """The account that compares instead of one that may stop an applier: an error of the snapshot, and no change."""
    result = pair.compare(modes=["snapshot"], admin_user="lossless_reconcile", admin_password=PASSWORD)
    assert result["verdict"] == "error"
    assert {each["code"] for each in result["servers"]} == {"sql_error"}
    assert set(verdicts(result).values()) == {("error", "sql_error")}
    assert pair.replica.replica()["Replica_SQL_Running"] == "Yes"


SPOILT: tuple[tuple[str, str, str, dict[str, tuple[str, str]]], ...] = (
    ("a table only on the primary", "CREATE DATABASE aside; RENAME TABLE run.journal TO aside.kept",
     "RENAME TABLE aside.kept TO run.journal; DROP DATABASE aside",
     {"journal": ("schema_differs", "only_on_primary")}),
    ("a table only on the replica", "CREATE TABLE run.more (id INT PRIMARY KEY)", "DROP TABLE run.more",
     {"more": ("schema_differs", "only_on_returning")}),
    ("a view in its place", "CREATE DATABASE aside; RENAME TABLE run.journal TO aside.kept; CREATE VIEW run.journal AS"
     " SELECT * FROM aside.kept", "DROP VIEW run.journal; RENAME TABLE aside.kept TO run.journal; DROP DATABASE aside",
     {"journal": ("schema_differs", "only_on_primary")}),
    ("a column more", "ALTER TABLE run.account ADD COLUMN x INT", "ALTER TABLE run.account DROP COLUMN x",
     {"account": ("schema_differs", "columns")}),
    ("another collation", "ALTER TABLE run.journal MODIFY what VARCHAR(20) COLLATE utf8mb4_bin",
     "ALTER TABLE run.journal MODIFY what VARCHAR(20)", {"journal": ("schema_differs", "columns")}),
    ("another key", "ALTER TABLE run.account DROP PRIMARY KEY", "ALTER TABLE run.account ADD PRIMARY KEY (id)",
     {"account": ("schema_differs", "keys")}),
)  # fmt: skip


@pytest.mark.parametrize("spoilt", first_of(SPOILT, 2), ids=lambda spoilt: spoilt[0])
def test_a_schema_that_differs(pair: Reconciled, spoilt: tuple[Any, ...]) -> None:
    _name, spoil, mend, wrong = spoilt
    pair.behind_its_back(*spoil.split("; "))
    try:
        result = pair.compare()
        failed = pair.refused()
    finally:
        pair.behind_its_back(*mend.split("; "))
    assert result["verdict"] == "schema_differs"
    assert verdicts(result) == {**PASSED, **wrong}
    assert failed["code"] == "not_compared"
    assert pair.compare()["verdict"] == "pass"


def test_a_table_without_a_key_beyond_the_limit(pair: Reconciled) -> None:
    result = pair.compare(max_rows_without_key=1)
    assert verdicts(result) == {**PASSED, "journal": ("skipped", "no_key")}
    assert result["verdict"] == "skipped"
    assert pair.refused(max_rows_without_key=1)["code"] == "not_compared"


@pytest.mark.parametrize(
    ("spoil", "mend", "verdict", "code"),
    [
        ("STOP REPLICA SQL_THREAD", "START REPLICA SQL_THREAD", "lagging", "replica_stands_still"),
        ("STOP REPLICA IO_THREAD", "START REPLICA IO_THREAD", "lagging", "replica_stands_still"),
        (
            "STOP REPLICA SQL_THREAD; CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE = (run.none);"
            " START REPLICA SQL_THREAD",
            "STOP REPLICA SQL_THREAD; CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE = (); START REPLICA SQL_THREAD",
            "different",
            "replication_filters",
        ),
    ],
    ids=["the applier stands still", "the receiver stands still", "filters"],
)
def test_a_replica_that_does_not_replicate(pair: Reconciled, spoil: str, mend: str, verdict: str, code: str) -> None:
    pair.replica.sql(*(part.strip() for part in spoil.split(";")))
    try:
        pair.primary.sql("UPDATE run.account SET balance = balance + 1 WHERE id = 3")
        result = pair.compare()
    finally:
        pair.replica.sql(*(part.strip() for part in mend.split(";")))
    pair.caught_up()
    assert (result["verdict"], [each["code"] for each in result["servers"]]) == (verdict, [code])
    assert pair.compare()["verdict"] == "pass"


def test_a_replica_that_is_late_for_longer_than_a_statement_may_run_is_waited_for(pair: Reconciled) -> None:
    delay = "STOP REPLICA SQL_THREAD; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {}; START REPLICA SQL_THREAD"
    pair.replica.sql(*(part.strip() for part in delay.format(5).split(";")))
    try:
        pair.primary.sql("UPDATE run.account SET balance = balance + 1 WHERE id = 3")
        report = run.run(pair.request(limits=run.Limits(statement=1.0, catch_up=60.0)))
    finally:
        pair.replica.sql(*(part.strip() for part in delay.format(0).split(";")))
    pair.caught_up()
    assert verdicts(report) == PASSED


# --- runs that are cut off, and writers ------------------------------------------------------------------------------
def test_a_run_that_is_out_of_time_goes_on(pair: Reconciled, tmp_path: Path) -> None:
    kept = str(tmp_path / "state")
    first = pair.compare(within=0.001, state_directory=kept)
    assert (first["verdict"], first["finished"]) == ("skipped", False)
    assert set(verdicts(first).values()) == {("skipped", "not_finished")}
    assert {each.name: oct(each.stat().st_mode & 0o777) for each in Path(kept).iterdir()} == {
        "scratch.run.json": "0o600",
        "scratch.lock": "0o644",
    }
    again = pair.compare(state_directory=kept)
    assert (again["verdict"], again["finished"], again["resumed"]) == ("pass", True, True)
    assert [each.name for each in Path(kept).iterdir()] == ["scratch.lock"]


@pytest.fixture
def writing(pair: Reconciled) -> Iterator[Callable[[], int]]:
    """Somebody writes on the primary all the time; how often so far."""
    over = threading.Event()
    written = [0]

    def write() -> None:
        with pair.primary.connected() as connection, connection.cursor() as cursor:
            while not over.wait(0.01):
                written[0] += 1
                cursor.execute("UPDATE run.account SET balance = balance + 1 WHERE id IN (1, %s)", (written[0] % 900,))
                cursor.execute("INSERT INTO run.journal VALUES (NULL, %s)", (str(written[0]),))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield lambda: written[0]
    finally:
        over.set()
        writer.join()
        pair.caught_up()


def test_nothing_in_flight_is_a_difference(pair: Reconciled, writing: Callable[[], int]) -> None:
    before = writing()
    asked = {"modes": ["whole", "snapshot"], "admin_user": scratch.ADMIN, "admin_password": scratch.ADMIN_PASSWORD}
    result = pair.compare(**asked)
    assert {each["verdict"] for each in result["tables"]} <= {"pass", "unstable"}
    assert {each["verdict"] for each in result["tables"] if each["mode"] == "snapshot"} == {"pass"}
    assert writing() > before + 10


def test_a_snapshot_keeps_nobody_from_altering_a_table(pair: Reconciled) -> None:
    """Neither the application nor the applier, when the table was read already; and of one that was not it says so."""
    altered: list[str] = []

    def say(line: str) -> None:
        if line.endswith("run.types") and not altered:
            for table in ("account", "types"):
                altered.append(table)
                pair.primary.sql("SET SESSION lock_wait_timeout = 2", f"ALTER TABLE run.{table} ADD COLUMN more INT")
            pair.caught_up()

    report = run.run(pair.request(modes=("snapshot",)), say=say)
    assert altered == ["account", "types"]
    assert verdicts(report) == {**PASSED, "types": ("unstable", "definition_changed")}
    pair.primary.sql(*(f"ALTER TABLE run.{table} DROP COLUMN more" for table in altered))
    pair.caught_up()
    assert verdicts(run.run(pair.request(modes=("snapshot",)))) == PASSED


def test_tables_that_become_others_during_a_snapshot_have_no_verdict_of_their_rows(pair: Reconciled) -> None:
    """To a snapshot they are the others at once, and no statement fails."""
    made = (
        "CREATE TABLE run.exchanged (id INT PRIMARY KEY)",
        "INSERT INTO run.exchanged VALUES (1)",
        "CREATE TABLE run.shadow (id INT PRIMARY KEY)",
        "CREATE TABLE run.`tr\u017ebov\u00e9 pr\u00e1vo` (id INT PRIMARY KEY) PARTITION BY RANGE (id)"
        " (PARTITION a VALUES LESS THAN (10), PARTITION b VALUES LESS THAN (20))",
        "INSERT INTO run.`tr\u017ebov\u00e9 pr\u00e1vo` VALUES (1), (11)",
    )
    pair.primary.sql(*made)
    pair.caught_up()
    done: list[str] = []

    def say(line: str) -> None:
        if line.endswith("run.account") and not done:
            done.append(line)
            pair.primary.sql(
                "RENAME TABLE run.exchanged TO run.old, run.shadow TO run.exchanged",
                "ALTER TABLE run.`tr\u017ebov\u00e9 pr\u00e1vo` DROP PARTITION b",
            )
            pair.caught_up()

    report = run.run(pair.request(modes=("snapshot",)), say=say)
    found = verdicts(report)
    changed = ("unstable", "definition_changed")
    assert (
        done and found.pop("exchanged") == found.pop("tr\u017ebov\u00e9 pr\u00e1vo") == found.pop("shadow") == changed
    )
    assert found == PASSED
    pair.primary.sql("DROP TABLE run.exchanged, run.old, run.`tr\u017ebov\u00e9 pr\u00e1vo`")
    pair.caught_up()


def test_where_a_statement_runs_for_long_no_lock_is_asked_for_and_everybody_writes(pair: Reconciled) -> None:
    begun = threading.Event()
    ended: list[str] = []

    def long() -> None:
        with pair.primary.connected() as connection, connection.cursor() as cursor:
            begun.set()
            try:
                cursor.execute("SELECT SLEEP(600) FROM run.account")
            except pymysql.err.OperationalError as error:
                ended.append(str(error))

    reader = threading.Thread(target=long)
    reader.start()
    assert begun.wait(30)
    eventually(lambda: pair.primary.value(f"({_SLEEPS} AND TIME >= 1)"))
    written: list[float] = []

    def sleep(seconds: float) -> None:
        pair.primary.sql("SET SESSION lock_wait_timeout = 1", "UPDATE run.account SET balance = balance WHERE id = 1")
        written.append(seconds)
        time.sleep(seconds)

    try:
        report = run.run(pair.request(modes=("snapshot",)), sleep=sleep)
    finally:
        pair.primary.sql(f"KILL {pair.primary.value(f'({_SLEEPS})')}")
        reader.join()
    assert len(ended) == 1, "it ran all the time"
    assert set(verdicts(report).values()) == {("error", "snapshot_not_locked")}
    assert len(written) >= 4
    assert pair.replica.replica()["Replica_SQL_Running"] == "Yes"


# --- what only real servers can show ---------------------------------------------------------------------------------
def test_a_commit_that_waits_for_acknowledgements_is_no_difference_of_the_replica(pair: Reconciled) -> None:
    """With AFTER_SYNC a replica shows a row before the primary does, for as long as acknowledgements are missing."""
    primary, replica = pair.primary, pair.replica
    replica.sql("SET GLOBAL rpl_semi_sync_replica_enabled = ON", "STOP REPLICA IO_THREAD", "START REPLICA IO_THREAD")
    primary.sql(
        "SET GLOBAL rpl_semi_sync_source_wait_for_replica_count = 2", "SET GLOBAL rpl_semi_sync_source_enabled = ON"
    )
    eventually(lambda: primary.status("Rpl_semi_sync_source_clients") == "1", what="the replica acknowledges")
    waiting = threading.Thread(target=primary.sql, args=("INSERT INTO run.account VALUES (9001, 1)",))
    waiting.start()
    try:
        there = "(SELECT COUNT(*) FROM run.account WHERE id = 9001)"
        eventually(lambda: replica.value(there) == 1, what="the replica has the row")
        assert primary.value(there) == 0
        result = pair.compare(modes=["whole", "business"], assertions=ASSERTIONS[:1])
        assert verdicts(result)["account"] == ("unstable", "replica_ahead"), result
        assert [each["verdict"] for each in result["assertions"]] == ["unstable"]
        assert not result["repair"]
    finally:
        primary.sql("SET GLOBAL rpl_semi_sync_source_enabled = OFF")
        waiting.join(30)
        primary.sql("SET GLOBAL rpl_semi_sync_source_wait_for_replica_count = 1")
        replica.sql(
            "SET GLOBAL rpl_semi_sync_replica_enabled = OFF", "STOP REPLICA IO_THREAD", "START REPLICA IO_THREAD"
        )
    pair.caught_up()
    assert verdicts(pair.compare())["account"] == ("pass", "")
    primary.sql("DELETE FROM run.account WHERE id = 9001")
    pair.caught_up()


def test_keys_that_the_server_made_and_hides_are_compared(pair: Reconciled) -> None:
    hides = "SET GLOBAL show_gipk_in_create_table_and_information_schema = %s"
    pair.primary.sql(
        "SET SESSION sql_generate_invisible_primary_key = ON", "CREATE TABLE run.hidden (c INT)",
        "INSERT INTO run.hidden VALUES (7), (8)",
    )  # fmt: skip
    pair.caught_up()
    try:
        for server in (pair.primary, pair.replica):
            server.sql(hides % "OFF")
        assert verdicts(pair.compare(include=["run.hidden"])) == {"hidden": ("pass", "")}
        pair.behind_its_back(
            "DELETE FROM run.hidden WHERE c = 7", "INSERT INTO run.hidden (my_row_id, c) VALUES (99, 7)"
        )
        found = pair.compare(include=["run.hidden"])
        assert verdicts(found) == {"hidden": ("different", "rows_differ")}
        keys = {each["key"]["my_row_id"] for table in found["tables"] for each in table["differences"]}
        assert keys == {"1", "99"}
    finally:
        for server in (pair.primary, pair.replica):
            server.sql(hides % "ON")
        pair.primary.sql("DROP TABLE run.hidden")
        pair.caught_up()


def test_an_account_that_sees_a_part_is_no_pass(pair: Reconciled) -> None:
    who = "`lossless_reconcile`@`%`"
    # What it needs to look at the servers themselves, and SHOW VIEW and the others, stay.
    parts = ("run", "lossless_ha", "performance_schema")
    pair.primary.sql(f"REVOKE SELECT ON *.* FROM {who}", *(f"GRANT SELECT ON {part}.* TO {who}" for part in parts))
    pair.caught_up()
    try:
        assert pair.compare(include=["run"])["verdict"] == "pass", "all that was asked for"
        result = pair.compare(include=[])
        assert result["verdict"] == "error" and {each["code"] for each in result["servers"]} == {"account_sees_part"}
        assert set(verdicts(result)) >= set(PASSED), "what it sees is compared"
    finally:
        pair.primary.sql(f"GRANT SELECT ON *.* TO {who}", *(f"REVOKE SELECT ON {part}.* FROM {who}" for part in parts))
        pair.caught_up()
    pair.primary.sql("CREATE DATABASE hr", "CREATE TABLE hr.people (id INT PRIMARY KEY)")
    for server in (pair.primary, pair.replica):
        server.sql("SET GLOBAL partial_revokes = ON")
    pair.primary.sql(f"REVOKE SELECT ON hr.* FROM {who}")
    pair.caught_up()
    try:
        result = pair.compare(include=[])
        assert {each["code"] for each in result["servers"]} == {"account_sees_part"} and "hr" in str(result["servers"])
    finally:
        pair.primary.sql(f"GRANT SELECT ON hr.* TO {who}", "DROP DATABASE hr")
        pair.caught_up()
        for server in (pair.primary, pair.replica):
            server.sql("SET GLOBAL partial_revokes = OFF")


def test_a_primary_that_logs_statements_makes_no_proof(pair: Reconciled) -> None:
    pair.primary.sql("SET GLOBAL binlog_format = MIXED")
    try:
        result = pair.compare()
        assert result["verdict"] == "error" and {each["code"] for each in result["servers"]} == {"not_row_format"}
    finally:
        pair.primary.sql("SET GLOBAL binlog_format = ROW")
    assert pair.compare()["verdict"] == "pass"


# At the end, for what the replica has of its own does not go away.
def test_transactions_of_its_own(pair: Reconciled) -> None:
    pair.replica.sql("CREATE DATABASE its_own")
    result = pair.compare()
    assert (result["verdict"], [each["code"] for each in result["servers"]]) == ("different", ["errant_transactions"])
    assert verdicts(result) == PASSED
    failed = pair.refused()
    assert failed["code"] == "not_the_same"
    assert pair.replica.uuid() in failed["msg"]
    refused = pair.compare(modes=["snapshot"], admin_user=scratch.ADMIN, admin_password=scratch.ADMIN_PASSWORD)
    assert set(verdicts(refused).values()) == {("different", "errant_transactions")}
    assert pair.replica.replica()["Replica_SQL_Running"] == "Yes"
