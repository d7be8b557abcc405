# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker: the comparison of rows with the log, the outage, and what a deposed primary must not have done."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import checker
import drill_common
import pymysql
import pytest
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW, OTHER = "old-uuid", "new-uuid", "other-uuid"
ACCOUNTS = 8


def identifier(sequence: int) -> int:
    return drill_common.row_id(1, 0, sequence)


def row(sequence: int, amount: Any = None) -> tuple[int, int, Decimal]:
    entry = drill_common.entry_of(identifier(sequence), ACCOUNTS)
    return identifier(sequence), entry.account, entry.amount if amount is None else Decimal(amount)


def outcome(sequence: int, kind: str = "acknowledged", uuid: str | None = OLD, ended: float = 1.0, **more: Any) -> Any:
    values = {"started": ended - 0.02, "commit_started": ended - 0.01, "ended_wall": 1000 + ended, **more}
    return checker.Outcome(identifier(sequence), kind, uuid, ended=ended, **values)


def line(one: Any) -> dict[str, Any]:
    return {
        "type": "outcome",
        "id": one.identifier,
        "writer": 0,
        "started": one.started,
        "started_wall": one.started + 1000,
        "commit_started": one.commit_started,
        "ended": one.ended,
        "ended_wall": one.ended_wall,
        "outcome": one.outcome,
        "server_uuid": one.server_uuid,
        "error": None,
    }


START = {"type": "start", "run": 1, "accounts": ACCOUNTS, "monotonic": 0.0, "wall": 1000.0}
SUMMARY = {"type": "summary"}


def test_every_kind_of_row_is_told_apart() -> None:
    expected = {
        identifier(0): "acknowledged",
        identifier(1): "acknowledged",
        identifier(2): "unknown",
        identifier(3): "unknown",
        identifier(4): "failed",
        identifier(5): "failed",
        identifier(6): "acknowledged",
    }
    found = checker.compare(expected, [row(0), row(2), row(4), row(6, "0.001"), row(9)], ACCOUNTS)
    assert found.rows == 5
    assert found.lost == [identifier(1)]
    assert (found.present_unknown, found.absent_unknown) == ([identifier(2)], [identifier(3)])
    assert found.phantom == [identifier(4)]
    assert found.alien == [identifier(9)]
    assert found.altered == [identifier(6)]


def test_a_row_in_the_wrong_account_is_altered() -> None:
    number, account, amount = row(0)
    found = checker.compare({number: "acknowledged"}, [(number, account + 1, amount)], ACCOUNTS)
    assert found.altered == [number] and found.lost == []


@given(
    st.dictionaries(st.integers(0, 60), st.sampled_from(checker.OUTCOMES)),
    st.sets(st.integers(0, 80)),
)
def test_every_id_lands_where_it_belongs(logged: dict[int, str], present: set[int]) -> None:
    expected = {identifier(sequence): kind for sequence, kind in logged.items()}
    found = checker.compare(expected, [row(sequence) for sequence in present], ACCOUNTS)

    def ids(kind: str, there: bool) -> set[int]:
        return {identifier(s) for s, k in logged.items() if k == kind and (s in present) is there}

    assert set(found.lost) == ids("acknowledged", False)
    assert set(found.present_unknown) == ids("unknown", True)
    assert set(found.absent_unknown) == ids("unknown", False)
    assert set(found.phantom) == ids("failed", True)
    assert set(found.alien) == {identifier(s) for s in present - set(logged)}
    assert found.altered == []


def test_balances_are_the_sums_of_the_ledger() -> None:
    right = {1: Decimal("1.00"), 2: Decimal("0.00")}
    assert checker.compare_balances({1: Decimal("1.00")}, right, 9)["mismatches"]["count"] == 0
    wrong = checker.compare_balances({1: Decimal("1.01"), 3: Decimal("2")}, right, 9)
    assert wrong["mismatches"]["ids"] == [
        {"account": 1, "balance": "1.00", "ledger": "1.01"},
        {"account": 3, "balance": None, "ledger": "2"},
    ]


def test_lists_are_capped_and_counts_are_not() -> None:
    expected = {identifier(sequence): "acknowledged" for sequence in range(50)}
    reading = checker.Reading(checker.Server("a", "a", 3306, "primary"), comparison=checker.compare(expected, [], 8))
    lost = reading.document(None, 3)["lost"]
    assert lost["count"] == 50 and lost["ids"] == [identifier(0), identifier(1), identifier(2)]


def test_an_id_that_was_logged_twice_counts_as_its_strongest_promise() -> None:
    log = [
        outcome(0, "unknown"),
        outcome(0),
        outcome(0, "failed"),
        outcome(1),
        outcome(1),
        outcome(2, "unknown"),
        outcome(2, "failed"),
    ]
    expected, duplicates = checker.expected_outcomes(log)
    assert expected == {identifier(0): "acknowledged", identifier(1): "acknowledged", identifier(2): "unknown"}
    assert duplicates == [identifier(1)]


ALONG = [outcome(0, ended=1.0), outcome(1, ended=2.0), outcome(2, uuid=NEW, ended=3.5), outcome(3, uuid=NEW, ended=3.6)]


@pytest.mark.parametrize(
    ("log", "old", "new", "expected"),
    [
        (ALONG, OLD, NEW, 1500.0),
        (ALONG, None, NEW, 1500.0),
        (ALONG, OLD, None, None),
        (ALONG, OLD, OTHER, None),
        (ALONG, OTHER, NEW, None),
        (ALONG[:2], OLD, NEW, None),
        (ALONG[2:], OLD, NEW, None),
        ([], OLD, NEW, None),
        # A deposed server's late acknowledgement must not make the outage look shorter than it was.
        ([*ALONG, outcome(4, ended=3.55)], OLD, NEW, 1500.0),
        # A third server's acknowledgement is neither the old primary's nor the new one's.
        ([*ALONG, outcome(4, uuid=OTHER, ended=3.0)], OLD, NEW, 1500.0),
    ],
)
def test_the_write_outage(log: list[Any], old: str | None, new: str | None, expected: float | None) -> None:
    acknowledgements = sorted(log, key=lambda one: one.ended)
    assert checker.outage(acknowledgements, old, new)["write_outage_ms"] == expected


def test_the_largest_gap_needs_no_promotion() -> None:
    gap = checker.outage(ALONG, None, None)
    assert (gap["largest_gap_ms"], gap["largest_gap_started_wall"]) == (1500.0, 1002.0)
    assert checker.outage(ALONG[:1], None, None)["largest_gap_ms"] is None


def test_a_commit_begun_on_the_deposed_server_after_the_new_primary_answered_is_found() -> None:
    late = outcome(4, ended=4.0, commit_started=3.51)
    early = outcome(5, ended=4.0, commit_started=3.49)
    found = checker.deposed(sorted([*ALONG, late, early], key=lambda one: one.ended), OLD, NEW, 1005.0, 0, 9)
    assert found["started_after_new_primary"] == {"count": 1, "ids": [identifier(4)]}
    assert found["acknowledged_after_promotion"]["count"] == 0


def test_an_acknowledgement_after_the_promotion_is_found_beyond_the_clocks_tolerance() -> None:
    log = [outcome(0, ended=2.000), outcome(1, ended=2.030), outcome(2, ended=2.200)]
    strict = checker.deposed(log, OLD, NEW, 1002.01, 0, 9)["acknowledged_after_promotion"]
    assert strict["ids"] == [identifier(1), identifier(2)]
    tolerant = checker.deposed(log, OLD, NEW, 1002.01, 50, 9)["acknowledged_after_promotion"]
    assert tolerant["ids"] == [identifier(2)]


def test_what_could_not_be_observed_of_a_deposed_server_is_null() -> None:
    assert checker.deposed(ALONG, None, NEW, 1003.0, 0, 9)["started_after_new_primary"] is None
    assert checker.deposed(ALONG, OLD, OTHER, 1003.0, 0, 9)["started_after_new_primary"] is None
    assert checker.deposed(ALONG, OLD, NEW, None, 0, 9)["acknowledged_after_promotion"] is None


def test_the_rate_puts_every_outcome_into_its_bin() -> None:
    log = checker.WriterLog(
        1,
        ACCOUNTS,
        10.0,
        1000.0,
        outcomes=[
            outcome(0, ended=10.0),
            outcome(1, ended=10.0999),
            outcome(2, "failed", ended=10.1),
            outcome(3, "unknown", ended=10.35),
        ],
    )
    rate = checker.write_rate(log, 100)
    assert (rate["acknowledged"], rate["failed"], rate["unknown"]) == ([2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1])
    assert (rate["origin_monotonic"], rate["origin_wall"]) == (10.0, 1000.0)


def test_the_log_is_read_in_any_order_and_bad_lines_are_counted() -> None:
    good = line(outcome(1, ended=2.0))
    lacking = {key: value for key, value in good.items() if key != "ended"}
    lines = [
        {"type": "connected"},
        good,
        {"type": "malformed"},
        START,
        line(outcome(0)),
        lacking,
        {**good, "outcome": "perhaps"},
        {"type": "no_connection", "writer": 1, "attempts": 2, "wall": 5.0},
    ]
    log = checker.read_log(lines)
    assert [one.identifier for one in log.outcomes] == [identifier(0), identifier(1)]
    assert (log.malformed, log.complete) == (3, False)
    assert log.no_connection == [{"writer": 1, "attempts": 2, "wall": 5.0, "error": None}]
    assert checker.read_log([START, SUMMARY]).complete


def test_a_log_without_a_start_is_no_log() -> None:
    with pytest.raises(checker.CheckError):
        checker.read_log([line(outcome(0)), SUMMARY])


class FakeServer:
    """A connection to a server that holds rows and balances; `fails` maps a statement's first words to an error."""

    def __init__(
        self,
        rows: list[Any],
        balances: list[Any],
        uuid: str = NEW,
        caught_up: bool = True,
        fails: dict[str, BaseException] | None = None,
    ) -> None:
        self.rows, self.balances, self.uuid, self.caught_up, self.fails = rows, balances, uuid, caught_up, fails or {}
        self.open = True
        self.statements: list[str] = []

    def cursor(self, _kind: Any = None) -> FakeServer:
        return self

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def close(self) -> None:
        self.open = False

    def execute(self, statement: str, arguments: Any = ()) -> None:
        self.statements.append(statement)
        for beginning, failure in self.fails.items():
            if statement.startswith(beginning):
                raise failure

    def fetchone(self) -> tuple[Any, ...]:
        if "WAIT_FOR" in self.statements[-1]:
            return (0 if self.caught_up else 1,)
        return self.uuid, "9.7.4", "u:1-7"

    def fetchall_unbuffered(self) -> Any:
        return iter(self.rows if "ledger" in self.statements[-1] else self.balances)


def config_for(tmp_path: Path, log: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    path = tmp_path / "writer.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in log))
    return {
        "writer_log": str(path),
        "output": str(tmp_path / "out.json"),
        "user": "u",
        "password": "p",
        "servers": [
            {"name": "db2", "address": "db2", "role": "primary"},
            {"name": "db3", "address": "db3", "role": "replica"},
        ],
        **more,
    }


def whole() -> tuple[list[dict[str, Any]], list[Any], list[Any]]:
    """(log, rows, balances) of three acknowledged transactions."""
    rows = [row(sequence) for sequence in range(3)]
    sums: dict[int, Decimal] = {}
    for _id, account, amount in rows:
        sums[account] = sums.get(account, Decimal(0)) + amount
    log = [START, *(line(outcome(sequence, ended=float(sequence))) for sequence in range(3)), SUMMARY]
    return log, rows, list(sums.items())


def test_a_whole_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, rows, balances = whole()
    servers = {"db2": FakeServer(rows[:2], balances), "db3": FakeServer([*rows], balances, caught_up=False)}
    monkeypatch.setattr(checker, "open_session", lambda address, *_more, **_kind: servers[address])
    result = checker.check(config_for(tmp_path, log, old_primary_uuid=OLD, fault_at=1000.5))
    primary, replica = result["servers"]
    assert result["counts"] == {"attempts": 3, "acknowledged": 3, "failed": 0, "unknown": 0}
    assert result["acknowledged_after_fault"] == 2
    assert result["log"] == {"complete": True, "malformed": 0, "ids_logged_twice": 0}
    assert primary["lost"]["ids"] == [identifier(2)] and primary["caught_up"] is None
    assert replica["lost"]["count"] == 0 and replica["caught_up"] is False
    assert replica["not_on_primary"]["ids"] == [identifier(2)]
    assert primary["balances"]["mismatches"]["count"] == 1
    assert not servers["db2"].open and not servers["db3"].open
    for server in servers.values():
        assert any("CONSISTENT SNAPSHOT" in statement for statement in server.statements)


def test_a_replica_that_can_not_be_read_is_an_error_in_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, rows, balances = whole()
    gone = pymysql.err.OperationalError(2013, "Lost connection")
    servers = {"db2": FakeServer(rows, balances), "db3": FakeServer(rows, balances, fails={"SELECT id, account": gone})}
    monkeypatch.setattr(checker, "open_session", lambda address, *_more, **_kind: servers[address])
    replica = checker.check(config_for(tmp_path, log))["servers"][1]
    assert replica["error"]["number"] == 2013
    assert replica["lost"] is None and replica["rows"] is None and replica["balances"] is None


def test_a_primary_that_can_not_be_read_ends_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_all: Any, **_more: Any) -> Any:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(checker, "open_session", refuse)
    with pytest.raises(checker.CheckError):
        checker.check(config_for(tmp_path, whole()[0]))


@pytest.mark.parametrize("roles", [["replica"], ["primary", "primary"], ["boss"]])
def test_exactly_one_primary_has_to_be_named(tmp_path: Path, roles: list[str]) -> None:
    servers = [{"name": str(index), "address": "a", "role": role} for index, role in enumerate(roles)]
    with pytest.raises(drill_common.ConfigError):
        checker.check(config_for(tmp_path, whole()[0], servers=servers))
