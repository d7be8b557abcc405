# SPDX-License-Identifier: GPL-3.0-or-later
"""Running assertions on servers that are dictionaries: what is read, in which order, and what becomes of each failure.

The stand-ins refuse what a server would let pass silently: a read outside of a READ ONLY snapshot, a replica that is
read before its barrier. The SQL is tried on real servers in tests/integration/consistency.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import assertion_verdict as judge
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import business as room
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.assertions import Assertion, Tolerance
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.business import Limits, Report
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Exact, StatementFailed

SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
OWN: dict[str, Any] = {
    "time_zone": "SYSTEM", "sql_mode": "ANSI_QUOTES", "transaction_isolation": "READ-COMMITTED",
    "collation_connection": "utf8mb4_general_ci", "group_concat_max_len": 1024, "div_precision_increment": 9,
    "default_week_format": 3, "lc_time_names": "cs_CZ", "sql_auto_is_null": 1, "sql_select_limit": 10,
    "max_execution_time": 77, "lock_wait_timeout": 31536000, "innodb_lock_wait_timeout": 50,
    "completion_type": "CHAIN",
}  # fmt: skip

COUNT = Assertion("count", "SELECT COUNT(*) FROM t", "SELECT COUNT(*) FROM t", "equal")
NONE = Assertion("none", "SELECT a FROM bad", "SELECT a FROM bad", "zero_rows", severity="warning")
NEAR = dataclasses.replace(COUNT, name="near", expect="tolerance", tolerance=Tolerance(percent=Decimal(10)))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


def failure(errno: int, message: str, code: str = "sql_error") -> StatementFailed:
    return StatementFailed(code, message, errno=errno)


class Fake:
    """One server: what each statement answers. ``versions``: one answer for each read, the last one for ever."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.clock = clock
        self.usable = True
        self.settings = dict(OWN)
        self.log: list[str] = []
        self.inside = False
        self.answers: dict[str, list[Any]] = {}
        self.fails: dict[str, StatementFailed] = {}
        self.executed = 7
        self.within: list[tuple[str, float]] = []
        self.needs_barrier = False
        self.read_under: list[dict[str, Any]] = []
        self.takes = 0.0
        self.on_read: Callable[[], None] = lambda: None

    def says(self, sql: str, *versions: Any) -> None:
        """Each version: the rows, or an error."""
        self.answers[sql] = list(versions)

    def _begin(self, sql: str, within: float) -> None:
        assert within > 0, sql
        self.log.append(sql)
        self.within.append((sql, within))
        if not self.usable:
            raise failure(0, f"{self.name}: the connection is gone", "connection_lost")
        for part, error in self.fails.items():
            if part in sql:
                if error.code != "sql_error":
                    self.usable = False
                raise error

    def one(self, sql: str, values: Any = (), *, within: float) -> dict[str, Any]:
        self._begin(sql, within)
        if "@@GLOBAL.gtid_executed" in sql:
            assert not self.inside, "what came since the snapshot would not be in it"
            return {"value": f"uuid:1-{self.executed}"}
        if "UNIX_TIMESTAMP" in sql:
            return {"value": "1764291689.123456"}
        if "max_allowed_packet" in sql:
            return {"packet": 64 << 20}
        assert "@@SESSION" in sql
        return {name: value for name, value in self.settings.items() if f"AS {name}" in sql}

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self._begin(sql, within)
        if sql == SNAPSHOT:
            assert not self.inside
            self.inside = True
        elif sql == "ROLLBACK":
            self.inside = False
        elif sql.startswith("SET "):
            assert not self.inside
            names = [part.split(" = ")[0].strip() for part in sql[4:].split("SESSION ")[1:]]
            literals = [part.split(" = ")[1].strip(" ,") for part in sql[4:].split("SESSION ")[1:]]
            bound = iter(values)
            for name, literal in zip(names, literals, strict=True):
                self.settings[name] = next(bound) if literal == "%s" else literal
        else:
            raise AssertionError(sql)

    def query_exact(self, sql: str, *, within: float, most: int) -> Exact:
        self._begin(sql, within)
        assert self.inside, "an assertion was read outside of a READ ONLY snapshot"
        assert not self.needs_barrier, "the replica was read before it had what the primary had"
        self.read_under.append(dict(self.settings))
        self.clock.now += self.takes
        self.on_read()
        versions = self.answers[sql]
        rows = versions.pop(0) if len(versions) > 1 else versions[0]
        if isinstance(rows, BaseException):
            raise rows
        return Exact(("a",), tuple((value,) for value in rows[:most]), len(rows) > most)

    def close(self) -> None:
        self.usable = False


class Cluster:
    def __init__(self, replicas: int = 1) -> None:
        self.clock = Clock()
        self.primary = Fake("p", self.clock)
        self.replicas = {f"r{number}": Fake(f"r{number}", self.clock) for number in range(1, replicas + 1)}
        self.barriers: list[tuple[str, str, float]] = []
        self.late: set[str] = set()
        self.barrier_fails: dict[str, StatementFailed] = {}
        self.at_barrier: Callable[[], None] = lambda: None
        self.primary.on_read = self._primary_was_read

    def _primary_was_read(self) -> None:
        for replica in self.replicas.values():
            replica.needs_barrier = True

    @property
    def servers(self) -> list[Fake]:
        return [self.primary, *self.replicas.values()]

    def says(self, sql: str, *versions: Any) -> None:
        for server in self.servers:
            server.says(sql, *versions)

    def _barrier(self, name: str, gtids: str, within: float) -> bool:
        assert gtids == f"uuid:1-{self.primary.executed}"
        assert self.primary.log[-1].startswith("SELECT @@GLOBAL") or self.barriers, "the set is read after the rows"
        self.barriers.append((name, gtids, within))
        self.at_barrier()
        if name in self.barrier_fails:
            raise self.barrier_fails[name]
        self.replicas[name].needs_barrier = False
        return name not in self.late

    def run(self, *assertions: Assertion, **how: Any) -> Report:
        return room.run(
            assertions, self.primary, self.replicas, self._barrier,
            clock=self.clock, sleep=self.clock.sleep, salt=b"salt", **how,
        )  # fmt: skip


def verdicts(report: Report) -> dict[tuple[str, str], str]:
    return {(each.assertion, each.member): each.verdict for each in report.verdicts}


# --- what comes out --------------------------------------------------------------------------------------------------
def test_all_is_well() -> None:
    both = Cluster(2)
    both.says(COUNT.sql_primary, [5])
    both.says(NONE.sql_primary, [])
    report = both.run(COUNT, NONE, NEAR)
    assert verdicts(report) == {
        ("count", "r1"): "pass", ("count", "r2"): "pass",
        ("none", "p"): "pass", ("none", "r1"): "pass", ("none", "r2"): "pass",
        ("near", "r1"): "pass", ("near", "r2"): "pass",
    }  # fmt: skip
    assert report.passed and report.counts["pass"] == 7
    assert both.clock.slept == [], "a pass needs no second round"
    json.dumps(report.as_result())


def test_a_replica_that_differs() -> None:
    both = Cluster(2)
    both.says(COUNT.sql_primary, [5])
    both.replicas["r2"].says(COUNT.sql_primary, [4])
    report = both.run(COUNT)
    assert verdicts(report) == {("count", "r1"): "pass", ("count", "r2"): "different"}
    assert not report.passed
    found = report.verdicts[1]
    assert (found.rounds, found.count, found.rows) == (2, 1, {"primary": 1, "replica": 1})
    assert (found.side, found.severity, found.expect) == ("replica", "critical", "equal")
    assert len(found.evidence[0]["primary"]) == 32 and "1 row" in found.reason
    assert len([sql for sql in both.replicas["r1"].log if sql == SNAPSHOT]) == 1, "what passed is not read again"


def test_tolerance_is_used_and_has_its_end() -> None:
    for theirs, verdict in (([91], "pass"), ([89], "different")):
        both = Cluster()
        both.says(NEAR.sql_primary, [100])
        both.replicas["r1"].says(NEAR.sql_primary, theirs)
        assert verdicts(both.run(NEAR)) == {("near", "r1"): verdict}


def test_each_side_has_its_own_statement() -> None:
    both = Cluster()
    apart = dataclasses.replace(COUNT, sql_primary="SELECT 1", sql_replica="SELECT 2")
    both.primary.says("SELECT 1", [5])
    both.replicas["r1"].says("SELECT 2", [5])
    assert both.run(apart).passed


def test_a_commit_in_flight_is_no_difference() -> None:
    both = Cluster()
    both.primary.says(COUNT.sql_primary, [5])
    both.replicas["r1"].says(COUNT.sql_primary, [4], [5])
    report = both.run(COUNT)
    assert report.passed and report.verdicts[0].rounds == 2


def test_a_primary_that_never_rests_is_unstable() -> None:
    both = Cluster()
    both.primary.says(COUNT.sql_primary, *([number] for number in range(100)))
    both.replicas["r1"].says(COUNT.sql_primary, [-1])
    report = both.run(COUNT)
    assert verdicts(report) == {("count", "r1"): "unstable"}
    assert report.verdicts[0].rounds == len(room.PAUSES) and report.verdicts[0].count == 1
    assert both.clock.slept == list(room.PAUSES[1:])


def test_a_replica_that_is_ahead_passes() -> None:
    both = Cluster()
    both.primary.says(COUNT.sql_primary, [5], [6])
    both.replicas["r1"].says(COUNT.sql_primary, [6])
    assert both.run(COUNT).passed


def test_a_violation_on_the_primary_is_told_of_the_primary() -> None:
    both = Cluster()
    both.says(NONE.sql_primary, [1, 2])
    report = both.run(NONE)
    assert verdicts(report) == {("none", "p"): "different", ("none", "r1"): "different"}
    there, here = report.verdicts
    assert (there.side, there.count, there.rounds, here.side, here.rounds) == ("primary", 2, 1, "replica", 2)
    assert "2 rows where there should be none" in there.reason and there.severity == "warning"
    assert "primary" in there.evidence[0] and "replica" in here.evidence[0]


def test_a_violation_on_the_replica_alone() -> None:
    both = Cluster()
    both.primary.says(NONE.sql_primary, [])
    both.replicas["r1"].says(NONE.sql_primary, [1])
    assert verdicts(both.run(NONE)) == {("none", "p"): "pass", ("none", "r1"): "different"}


def test_a_violation_that_is_gone_again_is_unstable() -> None:
    both = Cluster()
    both.primary.says(NONE.sql_primary, [])
    both.replicas["r1"].says(NONE.sql_primary, [1], [])
    assert verdicts(both.run(NONE)) == {("none", "p"): "pass", ("none", "r1"): "unstable"}


def test_more_rows_than_are_compared() -> None:
    both = Cluster()
    both.says(COUNT.sql_primary, list(range(9)))
    both.says(NONE.sql_primary, list(range(9)))
    few = [dataclasses.replace(each, max_rows=5) for each in (COUNT, NONE)]
    report = both.run(*few)
    assert verdicts(report) == {("count", "r1"): "skipped", ("none", "p"): "different", ("none", "r1"): "different"}
    assert "more than 5 rows" in report.verdicts[0].reason and "6 rows" in report.verdicts[1].reason
    assert "or more" in report.verdicts[1].reason


# --- lagging, and errors ---------------------------------------------------------------------------------------------
def test_a_replica_that_lags_is_not_read() -> None:
    both = Cluster(2)
    both.says(COUNT.sql_primary, [5])
    both.late = {"r1"}
    report = both.run(COUNT, limits=Limits(catch_up=3))
    assert verdicts(report) == {("count", "r1"): "lagging", ("count", "r2"): "pass"}
    assert SNAPSHOT not in both.replicas["r1"].log
    assert both.barriers[0] == ("r1", "uuid:1-7", 3) and not report.passed


def test_a_replica_that_begins_to_lag_between_the_rounds() -> None:
    both = Cluster()
    both.primary.says(COUNT.sql_primary, [5])
    both.replicas["r1"].says(COUNT.sql_primary, [4])
    both.at_barrier = lambda: both.late.update({"r1"} if len(both.barriers) == 2 else ())
    report = both.run(COUNT)
    assert verdicts(report) == {("count", "r1"): "lagging"} and report.verdicts[0].rounds == 1


def test_an_error_stops_neither_the_other_replica_nor_the_other_assertions() -> None:
    both = Cluster(2)
    both.says(COUNT.sql_primary, [5])
    both.says(NEAR.sql_primary, [5])
    both.says("SELECT broken", [5])
    both.replicas["r1"].says("SELECT broken", failure(1146, "r1: Table 'shop.x' doesn't exist (1146)"))
    broken = dataclasses.replace(COUNT, name="broken", sql_primary="SELECT broken", sql_replica="SELECT broken")
    report = both.run(broken, COUNT)
    assert verdicts(report) == {
        ("broken", "r1"): "error", ("broken", "r2"): "pass", ("count", "r1"): "pass", ("count", "r2"): "pass",
    }  # fmt: skip
    assert (report.verdicts[0].errno, report.verdicts[0].reason) == (1146, "r1: Table 'shop.x' doesn't exist (1146)")
    assert not both.replicas["r1"].inside


def test_an_error_on_the_primary() -> None:
    both = Cluster()
    both.primary.says(COUNT.sql_primary, failure(3024, "p: Query execution was interrupted (3024)"))
    both.says(NONE.sql_primary, [])
    report = both.run(COUNT, NONE)
    assert verdicts(report) == {
        ("count", "p"): "error", ("count", "r1"): "skipped", ("none", "p"): "pass", ("none", "r1"): "pass",
    }  # fmt: skip
    assert report.verdicts[0].errno == 3024 and "3024" in report.verdicts[1].reason


def test_an_error_when_the_primary_is_read_again() -> None:
    both = Cluster()
    both.primary.says(COUNT.sql_primary, [5], failure(1317, "p: interrupted (1317)"))
    both.replicas["r1"].says(COUNT.sql_primary, [4])
    report = both.run(COUNT)
    assert verdicts(report) == {("count", "p"): "error", ("count", "r1"): "unstable"}
    assert "1317" in report.verdicts[1].reason and report.verdicts[1].count == 1


@pytest.mark.parametrize(
    ("number", "message", "told"),
    [
        (
            1292,
            "r1: Truncated incorrect DOUBLE value: 'IBAN-42' (1292)",
            "r1: Truncated incorrect DOUBLE value: '...' (1292)",
        ),
        (9999, "r1: it doesn't like 'IBAN-42' or \"IBAN-43\" (9999)", "r1: it doesn'...' (9999)"),
        (
            1054,
            "r1: Unknown column 'total' in 'field list' (1054)",
            "r1: Unknown column 'total' in 'field list' (1054)",
        ),
    ],
)
def test_messages_have_no_values(number: int, message: str, told: str) -> None:
    both = Cluster()
    both.primary.says(COUNT.sql_primary, [5])
    both.replicas["r1"].says(COUNT.sql_primary, failure(number, message))
    assert both.run(COUNT).verdicts[0].reason == told
    assert both.run(COUNT, reveal=True).verdicts[0].reason == message


def test_a_barrier_that_fails_is_an_error_of_its_replica() -> None:
    both = Cluster(2)
    both.says(COUNT.sql_primary, [5])
    both.barrier_fails = {"r1": failure(0, "r1: the connection broke", "connection_lost")}
    assert verdicts(both.run(COUNT)) == {("count", "r1"): "error", ("count", "r2"): "pass"}


@pytest.mark.parametrize(
    "statement", ["@@SESSION", "SET SESSION time_zone", SNAPSHOT, "SET SESSION max_execution_time = %s"]
)
def test_a_session_that_can_not_be_prepared_is_never_read(statement: str) -> None:
    both = Cluster(2)
    both.says(COUNT.sql_primary, [5])
    both.replicas["r1"].fails = {statement: failure(1227, "r1: Access denied (1227)")}
    assert verdicts(both.run(COUNT)) == {("count", "r1"): "error", ("count", "r2"): "pass"}
    assert COUNT.sql_primary not in both.replicas["r1"].log


def test_a_lost_primary_leaves_no_pass() -> None:
    both = Cluster()
    both.says(COUNT.sql_primary, [5])
    both.says(NONE.sql_primary, [])
    both.primary.fails = {COUNT.sql_primary: failure(0, "p: the connection broke", "connection_lost")}
    report = both.run(COUNT, NONE)
    assert verdicts(report) == {
        ("count", "p"): "error", ("count", "r1"): "skipped", ("none", "p"): "error", ("none", "r1"): "skipped",
    }  # fmt: skip


def test_without_the_right_to_hold_the_clock_it_goes_on() -> None:
    both = Cluster()
    both.says(COUNT.sql_primary, [5])
    for server in both.servers:
        server.fails = {"SET SESSION timestamp = %s": failure(1227, "Access denied (1227)")}
    assert both.run(COUNT).passed


# --- nothing to compare, and no time ---------------------------------------------------------------------------------
def test_without_a_replica_nothing_is_compared_and_nothing_passes() -> None:
    alone = Cluster(0)
    alone.says(COUNT.sql_primary, [5])
    alone.says(NONE.sql_primary, [])
    report = alone.run(COUNT, NONE)
    assert verdicts(report) == {("count", "p"): "skipped", ("none", "p"): "pass"} and not report.passed


def test_no_assertion_is_no_pass() -> None:
    assert not Cluster().run().passed


@pytest.mark.parametrize("replicas", [0, 1])
def test_what_was_not_begun_in_time_is_skipped(replicas: int) -> None:
    both = Cluster(replicas)
    both.says(COUNT.sql_primary, [5])
    both.says(NONE.sql_primary, [])
    both.primary.takes = 11
    first = dataclasses.replace(NONE, name="first")
    report = both.run(first, COUNT, NONE, limits=Limits(within=10))
    found = verdicts(report)
    assert found.pop(("first", "p")) == "pass"
    assert found and set(found.values()) == {"skipped"}
    assert {name for name, _member in found} >= {"count", "none"} and ("none", "p") in found
    assert all("10 s" in each.reason for each in report.verdicts[1:])


def test_what_differed_when_the_time_was_over_is_not_called_skipped() -> None:
    both = Cluster()
    both.primary.says(COUNT.sql_primary, [5])
    both.replicas["r1"].says(COUNT.sql_primary, [4])
    both.primary.takes = 4.95
    report = both.run(COUNT, limits=Limits(within=10))
    assert verdicts(report) == {("count", "r1"): "unstable"} and "not done within 10 s" in report.verdicts[0].reason


def test_every_statement_has_its_limits() -> None:
    both = Cluster()
    both.says(COUNT.sql_primary, [5])
    both.run(dataclasses.replace(COUNT, timeout=2.5), limits=Limits(grace=3))
    for server in both.servers:
        (within,) = [seconds for sql, seconds in server.within if sql == COUNT.sql_primary]
        assert within == 5.5, "the server ends it first"
        (under,) = server.read_under
        assert (under["max_execution_time"], under["lock_wait_timeout"]) == (2500, 3)
        assert all(seconds <= 5.5 for _sql, seconds in server.within)


def test_a_statement_gets_no_more_than_the_time_that_is_left() -> None:
    both = Cluster()
    both.says(COUNT.sql_primary, [5])
    both.primary.takes = 8
    both.run(COUNT, limits=Limits(within=10))
    assert both.replicas["r1"].read_under[0]["max_execution_time"] == 2000


# --- the sessions ----------------------------------------------------------------------------------------------------
def test_both_sides_read_under_the_same_settings_and_get_their_own_back() -> None:
    both = Cluster(2)
    both.says(COUNT.sql_primary, [5])
    both.run(COUNT)
    under = [server.read_under[0] for server in both.servers]
    assert under[0] == under[1] == under[2]
    assert (under[0]["time_zone"], under[0]["sql_mode"]) == ("+00:00", "ONLY_FULL_GROUP_BY")
    assert under[0]["timestamp"] == 1764291689.123456, "NOW() is the same moment"
    for server in both.servers:
        assert server.settings == {**OWN, "timestamp": "DEFAULT"} and server.usable and not server.inside


def test_settings_are_put_back_after_errors_too() -> None:
    both = Cluster()
    both.says(COUNT.sql_primary, failure(1146, "no such table (1146)"))
    both.run(COUNT)
    assert all(server.settings == {**OWN, "timestamp": "DEFAULT"} for server in both.servers)


def test_a_session_whose_settings_can_not_be_put_back_is_closed() -> None:
    both = Cluster()
    both.says(COUNT.sql_primary, [5])
    both.replicas["r1"].fails = {"SET SESSION timestamp = DEFAULT": failure(1231, "no (1231)")}
    both.run(COUNT)
    assert not both.replicas["r1"].usable and both.primary.usable


def test_a_barrier_on_the_same_session_is_not_ended_by_an_assertions_time_out() -> None:
    both = Cluster()
    both.says(COUNT.sql_primary, [5])
    seen: list[Any] = []
    both.at_barrier = lambda: seen.append(both.replicas["r1"].settings["max_execution_time"])
    both.run(COUNT, dataclasses.replace(COUNT, name="again"))
    assert seen[1] == "0"


def test_values_are_in_no_result_unless_revealed() -> None:
    both = Cluster()
    both.primary.says(COUNT.sql_primary, ["CZ6508000000192000145399"])
    both.replicas["r1"].says(COUNT.sql_primary, ["CZ6907101781240000004159"])
    hidden, shown = (json.dumps(both.run(COUNT, reveal=reveal).as_result()) for reveal in (False, True))
    assert "CZ6" not in hidden
    assert "CZ6508000000192000145399" in shown and "CZ6907101781240000004159" in shown


def test_digests_have_a_key_of_their_run() -> None:
    both = Cluster()
    both.primary.says(COUNT.sql_primary, [5])
    both.replicas["r1"].says(COUNT.sql_primary, [4])
    seen = set()
    for _number in range(2):
        report = room.run(
            (COUNT,), both.primary, both.replicas, both._barrier, clock=both.clock, sleep=both.clock.sleep
        )
        seen.add(report.verdicts[0].evidence[0]["primary"])
    assert len(seen) == 2


# --- mutants: what would be wrong without a part ---------------------------------------------------------------------
def test_without_the_second_round_a_commit_in_flight_would_be_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Cluster()
    both.primary.says(COUNT.sql_primary, [5])
    both.replicas["r1"].says(COUNT.sql_primary, [4], [5])
    monkeypatch.setattr(judge, "CONFIRMED_BY", 1)
    assert verdicts(both.run(COUNT)) == {("count", "r1"): "different"}


def test_with_a_single_round_nothing_could_be_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Cluster()
    both.primary.says(COUNT.sql_primary, [5])
    both.replicas["r1"].says(COUNT.sql_primary, [4])
    monkeypatch.setattr(room, "PAUSES", (0.0,))
    assert verdicts(both.run(COUNT)) == {("count", "r1"): "unstable"}


def test_without_the_tolerance_a_percent_would_be_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Cluster()
    both.primary.says(NEAR.sql_primary, [100])
    both.replicas["r1"].says(NEAR.sql_primary, [99])
    monkeypatch.setattr(judge, "within", lambda ours, theirs, _tolerance: ours == theirs)
    assert verdicts(both.run(NEAR)) == {("near", "r1"): "different"}


def test_without_reading_the_replica_a_difference_would_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Cluster()
    both.primary.says(COUNT.sql_primary, [5])
    both.replicas["r1"].says(COUNT.sql_primary, [4])
    monkeypatch.setattr(
        room._Run,
        "_replica",
        lambda run, case, _name, _executed: run._read(run.primary, COUNT.sql_primary, case.assertion),
    )
    assert both.run(COUNT).passed


def test_without_the_barrier_the_stand_in_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Cluster()
    both.says(COUNT.sql_primary, [5])
    monkeypatch.setattr(both, "_barrier", lambda *_asked: True)
    with pytest.raises(AssertionError, match="before it had"):
        both.run(COUNT)


def test_without_the_snapshot_the_stand_in_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Cluster()
    both.says(COUNT.sql_primary, [5])
    monkeypatch.setattr(both.primary, "execute", lambda *_arguments, **_named: None)
    with pytest.raises(AssertionError, match="READ ONLY snapshot"):
        both.run(COUNT)


# --- a replica that is ahead -----------------------------------------------------------------------------------------
def test_a_replica_with_transactions_that_the_primary_has_not_is_not_called_different() -> None:
    both = Cluster(2)
    both.says(COUNT.sql_primary, [5])
    both.replicas["r2"].says(COUNT.sql_primary, [6])
    asked: list[tuple[str, float]] = []

    def ahead(name: str, patience: float) -> bool:
        asked.append((name, patience))
        return True

    report = both.run(COUNT, ahead=ahead)
    assert verdicts(report) == {("count", "r1"): "pass", ("count", "r2"): "unstable"}
    assert "transactions that the primary has not" in report.verdicts[1].reason
    assert asked == [("r2", Limits().catch_up)], "who agrees is not asked"
    assert verdicts(both.run(COUNT, ahead=lambda name, patience: False))["count", "r2"] == "different"


def test_the_primary_is_read_again_only_when_it_has_what_the_replica_had() -> None:
    both = Cluster()
    both.says(COUNT.sql_primary, [5], [6])
    both.replicas["r1"].says(COUNT.sql_primary, [6])
    log: list[int] = []

    def ahead(name: str, patience: float) -> bool:
        log.append(both.primary.log.count(SNAPSHOT))
        return False

    assert verdicts(both.run(COUNT, ahead=ahead)) != {("count", "r1"): "different"}
    assert log[0] == 1


def test_a_server_that_does_not_say_what_it_has_is_an_error() -> None:
    both = Cluster()
    both.says(COUNT.sql_primary, [5])
    both.replicas["r1"].says(COUNT.sql_primary, [6])

    def ahead(name: str, patience: float) -> bool:
        raise failure(1290, "no")

    assert verdicts(both.run(COUNT, ahead=ahead)) == {("count", "r1"): "error"}
