# SPDX-License-Identifier: GPL-3.0-or-later
"""Business assertions on a primary and a replica that are real: the worked examples, and each guard by itself.

The replica is changed behind replication's back (sql_log_bin=0), by statements of the test's own.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import assertions as parsing
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.assertions import Assertion
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.business import Limits, Report, run
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.executed import wait_executed
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login, Session
from pair import PASSWORD, Pair
from scratch import Server

EXAMPLES = Path(__file__).resolve().parents[3] / "roles" / "consistency" / "files" / "assertions"
LIMITS = Limits(within=60, catch_up=10, grace=5)
SETTINGS = (
    "time_zone",
    "sql_mode",
    "transaction_isolation",
    "max_execution_time",
    "lock_wait_timeout",
    "sql_select_limit",
)


def statements(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [statement for statement in "\n".join(lines).split(";") if statement.strip()]


class Both(Pair):
    """A primary with the examples' tables, and its replica."""

    def session(self, server: Server, user: str = "lossless_reconcile", password: str = PASSWORD) -> Session:
        login = Login(user, password, ca=str(server.farm.files / "ca.pem"))
        return Session.connect(server.name, server.address, 33062, login, within=5)

    def run(self, assertions: Sequence[Assertion], *, limits: Limits = LIMITS, **how: Any) -> Report:
        primary, replica = self.session(self.primary), self.session(self.replica)
        shown = "SELECT " + ", ".join(f"@@SESSION.{name} AS {name}" for name in SETTINGS)
        own = [session.one(shown, within=5) for session in (primary, replica)]

        def barrier(name: str, gtids: str, within: float) -> bool:
            assert name == "s2"
            return wait_executed(replica, gtids, patience=within, statement=5)

        try:
            report = run(
                assertions, primary, {"s2": replica}, barrier,
                clock=time.monotonic, sleep=time.sleep, limits=limits, **how,
            )  # fmt: skip
            for session, before in zip((primary, replica), own, strict=True):
                assert session.one(shown, within=5) == before
            return report
        finally:
            primary.close()
            replica.close()


def of(sql: str, expect: str = "equal", **more: Any) -> tuple[Assertion, ...]:
    return parsing.parse([{"name": "one", "sql": sql, "expect": expect, **more}])


def examples() -> tuple[Assertion, ...]:
    return parsing.parse(yaml.safe_load((EXAMPLES / "examples.yml").read_text(encoding="utf-8")))


def failing(report: Report) -> set[tuple[str, str, str]]:
    return {(each.assertion, each.side, each.verdict) for each in report.verdicts if each.verdict != "pass"}


@pytest.fixture(scope="module")
def both(farm: Any) -> Both:
    made = Both(farm.fresh(2))
    made.make(*statements((EXAMPLES / "examples.sql").read_text(encoding="utf-8")))
    return made


def test_the_examples_hold(both: Both) -> None:
    report = both.run(examples())
    assert report.passed, report.as_result()
    assert len(report.verdicts) == 5 + 3, "each on the replica, and what no rows are expected of on the primary"


BREAKS = [
    (
        "DELETE FROM shop.ledger WHERE id IN (1, 2)",
        {("ledger has the same sums on both sides", "replica", "different")},
    ),
    (
        "DELETE FROM shop.ledger WHERE id = 2",
        {
            ("ledger balances on every day", "replica", "different"),
            ("ledger has the same sums on both sides", "replica", "different"),
        },
    ),
    ("UPDATE shop.account SET balance = -1 WHERE id = 1", {("no negative balance", "replica", "different")}),
    (
        "UPDATE shop.orders SET total = total + 0.01 WHERE id = 1",
        {("order totals are the sums of their lines", "replica", "different")},
    ),
    ("UPDATE shop.orders SET state = 'sent' WHERE state = 'paid'", {("orders by state", "replica", "different")}),
]
TABLES = "account", "ledger", "orders", "order_line"


@pytest.fixture
def put_back(both: Both) -> Iterator[None]:
    """What a test changes on the replica is undone, from copies."""
    for table in TABLES:
        both.behind_its_back(f"CREATE TABLE shop.{table}_kept AS SELECT * FROM shop.{table}")
    yield
    for table in TABLES:
        both.behind_its_back(
            f"DELETE FROM shop.{table}",
            f"INSERT INTO shop.{table} SELECT * FROM shop.{table}_kept",
            f"DROP TABLE shop.{table}_kept",
        )


@pytest.mark.usefixtures("put_back")
@pytest.mark.parametrize(("change", "expected"), BREAKS, ids=[change for change, _expected in BREAKS])
def test_what_is_changed_on_the_replica_is_found(both: Both, change: str, expected: Any) -> None:
    both.behind_its_back(change)
    assert failing(both.run(examples())) == expected


def test_a_violation_on_the_primary_is_told_of_both(both: Both) -> None:
    both.primary.sql("UPDATE shop.account SET balance = -1 WHERE id = 1")
    try:
        assert failing(both.run(examples())) == {
            ("no negative balance", "primary", "different"),
            ("no negative balance", "replica", "different"),
        }
    finally:
        both.primary.sql("UPDATE shop.account SET balance = 100 WHERE id = 1")


def test_a_replica_that_stands_still_is_lagging(both: Both) -> None:
    both.replica.sql("STOP REPLICA SQL_THREAD")
    try:
        both.primary.sql("UPDATE shop.account SET balance = balance + 1 WHERE id = 3")
        report = both.run(of("SELECT SUM(balance) FROM shop.account"), limits=Limits(60, 1, 5))
        assert [each.verdict for each in report.verdicts] == ["lagging"]
    finally:
        both.replica.sql("START REPLICA SQL_THREAD")
        both.caught_up()


def test_a_busy_primary_makes_no_difference_and_hides_none(both: Both) -> None:
    stop = threading.Event()

    def write() -> None:
        with both.primary.connected() as connection, connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("UPDATE shop.account SET balance = balance + 1 WHERE id = 3")
                time.sleep(0.003)  # more than a replica of this size applies would let it fall behind for good

    busy = of("SELECT id, balance FROM shop.account")
    resting = of("SELECT id, balance FROM shop.account WHERE id < 3")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _number in range(5):
            assert {each.verdict for each in both.run(busy).verdicts} <= {"pass", "unstable", "lagging"}
        both.behind_its_back("UPDATE shop.account SET balance = balance + 1 WHERE id = 2")
        assert [each.verdict for each in both.run(resting).verdicts] == ["different"]
        assert {each.verdict for each in both.run(busy).verdicts} <= {"different", "unstable", "lagging"}
        both.behind_its_back("UPDATE shop.account SET balance = balance - 1 WHERE id = 2")
    finally:
        stop.set()
        writer.join()
        both.caught_up()


def test_now_is_one_moment_for_both_sides(both: Both) -> None:
    assert both.run(of("SELECT NOW(6) AS n, CURDATE() AS d, UNIX_TIMESTAMP() AS u")).passed


def test_settings_of_a_server_do_not_make_a_difference(both: Both) -> None:
    asked = of(
        "SELECT FROM_UNIXTIME(0) AS epoch, 1 / 3 AS third, WEEK('2026-01-01') AS week,"
        " MONTHNAME('2026-01-01') AS month, 'a' = 'á' AS same, \"text\" AS text,"
        " LENGTH(GROUP_CONCAT(REPEAT('x', 900) ORDER BY id)) AS joined FROM shop.account"
    )
    names = {
        "time_zone": "'+05:00'", "sql_mode": "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", "div_precision_increment": "9",
        "default_week_format": "3", "lc_time_names": "'cs_CZ'", "group_concat_max_len": "100", "sql_select_limit": "1",
    }  # fmt: skip
    both.replica.sql(*(f"SET GLOBAL {name} = {value}" for name, value in names.items()))
    try:
        assert both.run(asked).passed
        assert both.run(of("SELECT id FROM shop.ledger")).passed
    finally:
        both.replica.sql(*(f"SET GLOBAL {name} = DEFAULT" for name in names))


def test_the_server_ends_what_takes_too_long(both: Both) -> None:
    endless = (
        "SELECT COUNT(*) FROM information_schema.COLUMNS a, information_schema.COLUMNS b, information_schema.COLUMNS c"
    )
    report = both.run((*of(endless, timeout=0.5), *examples()))
    slow, waiting, *others = report.verdicts
    assert (slow.side, slow.verdict, slow.errno) == ("primary", "error", 3024), slow
    assert waiting.verdict == "skipped"
    assert all(each.verdict == "pass" for each in others), "the session is usable afterwards"


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM shop.account", "SELECT * FROM shop.account FOR UPDATE", "CREATE TABLE shop.x (a INT)", "SET @a = 1"],
)
def test_what_gets_past_the_check_meets_the_account(both: Both, sql: str) -> None:
    """A statement that the check never saw. SET harms nobody, and has no rows."""
    past = Assertion("past", sql, sql, "zero_rows")
    before = both.primary.sql("CHECKSUM TABLE shop.account")
    verdicts = {each.side: each.verdict for each in both.run((past,)).verdicts}
    # Where the primary could not be read, nothing is known of its replicas.
    refused = {"primary": "error", "replica": "skipped"}
    assert verdicts == ({"primary": "pass", "replica": "pass"} if sql.startswith("SET") else refused)
    assert both.primary.sql("CHECKSUM TABLE shop.account") == before
    assert both.primary.sql("SHOW TABLES IN shop LIKE 'x'") == []


def test_without_the_account_the_transaction_refuses(both: Both) -> None:
    primary, replica = (both.session(server, "root", "") for server in (both.primary, both.replica))
    sql = "DELETE FROM shop.account"
    try:
        report = run(
            (Assertion("past", sql, sql, "zero_rows"),), primary, {"s2": replica}, lambda *_asked: True,
            clock=time.monotonic, sleep=time.sleep, limits=LIMITS,
        )  # fmt: skip
    finally:
        primary.close()
        replica.close()
    assert (report.verdicts[0].verdict, report.verdicts[0].errno) == ("error", 1792)


def test_errors_keep_their_number_and_lose_their_values(both: Both) -> None:
    report = both.run((*of("SELECT a FROM shop.nowhere"), *of("SELECT JSON_EXTRACT('secret-42', '$') AS a")))
    missing, _skipped, broken, _skipped_too = report.verdicts
    assert (missing.verdict, missing.errno) == ("error", 1146) and "shop.nowhere" in missing.reason
    assert (broken.verdict, broken.errno) == ("error", 3141) and "secret" not in broken.reason


def test_raw_values_are_what_the_server_has(both: Both) -> None:
    session = both.session(both.primary)
    try:
        found = session.query_exact(
            "SELECT 1 AS a, 1.10 AS a, 1e0 AS b, NULL AS c, '' AS d, X'FF' AS e, DATE '2026-01-02' AS f,"
            " TIME '-00:00:01.5' AS g, 18446744073709551615 AS h, CAST('{\"a\": 1}' AS JSON) AS i",
            within=5,
            most=10,
        )
        many = session.query_exact("SELECT id FROM shop.ledger ORDER BY id", within=5, most=2)
        assert session.one("SELECT 1 AS one", within=5) == {"one": 1}, "what was not wanted is out of the way"
    finally:
        session.close()
    assert found.columns == ("a", "a", "b", "c", "d", "e", "f", "g", "h", "i")
    assert found.rows == (
        (
            1, Decimal("1.10"), 1.0, None, "", b"\xff", datetime.date(2026, 1, 2), datetime.timedelta(seconds=-1.5),
            18446744073709551615, '{"a": 1}',
        ),
    )  # fmt: skip
    assert (many.rows, many.more, found.more) == (((1,), (2,)), True, False)
