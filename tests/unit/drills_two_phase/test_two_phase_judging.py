# SPDX-License-Identifier: GPL-3.0-or-later
"""What the drill calls wrong: differences, fates of clients, what recovery left, and the report of it all."""

from __future__ import annotations

import configparser
import contextlib
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymysql
import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.settings import SETTINGS

from drills.errors import DrillError
from drills.two_phase import aims, clients, load, recovery, report
from drills.two_phase import run as two_phase
from drills.two_phase.binlog import Scan
from drills.two_phase.clients import Fate, beyond
from drills.two_phase.contents import Contents, Table, differences
from drills.two_phase.run import BROKEN, instants, released
from drills.two_phase.server import PLACE, REPLAY, SUBJECT, configuration
from lab.errors import LabError

TABLE = Table("CREATE TABLE t", 3, "abc")
SERVER = Contents("u:1-5", {"t": TABLE})


@pytest.mark.parametrize(
    ("replayed", "said"),
    [
        (SERVER, ""),
        (replace(SERVER, gtids="u:1-4"), "gtid_executed: u:1-5 on the server, u:1-4 replayed"),
        (Contents("u:1-5", {}), "t is there on the server only"),
        (Contents("u:1-5", {"t": TABLE, "x": TABLE}), "x is there on the replay only"),
        (Contents("u:1-5", {"t": replace(TABLE, rows=2, checksum="x")}), "3 rows on the server, 2 replayed"),
        (Contents("u:1-5", {"t": replace(TABLE, checksum="x")}), "their contents differ"),
        (Contents("u:1-5", {"t": replace(TABLE, definition="CREATE VIEW t")}), "is defined as"),
    ],
)
def test_every_way_to_differ_is_said(replayed: Contents, said: str) -> None:
    found = differences(SERVER, replayed)
    assert (len(found) == 1 and said in found[0]) if said else found == []


@pytest.mark.parametrize(
    ("number", "wrong", "there", "absent"),
    [(7, "", 1, 0), (6, "", 0, 1), (5, "6 was acknowledged", 0, 0), (8, "7 is the last that was sent", 0, 0)],
)
def test_what_was_acknowledged_is_there_and_what_was_not_sent_is_not(
    number: int, wrong: str, there: int, absent: int
) -> None:
    found = beyond({1: Fate(sent=7, acknowledged=6)}, {1: number})
    assert found[1:] == (there, absent)
    assert (len(found[0]) == 1 and wrong in found[0][0]) if wrong else found[0] == []


def test_a_client_without_an_open_commit_has_no_unknown_outcome() -> None:
    assert beyond({1: Fate(7, 7)}, {1: 7}) == ([], 0, 0)
    assert beyond({1: Fate(0, 0)}, {}) == ([], 0, 0)


def test_a_waiting_commit_has_to_be_there_and_to_have_been_answered_by_nobody() -> None:
    fates = {0: Fate(7, 6), 1: Fate(7, 6), 2: Fate(7, 7)}
    assert released([0], fates, {0: 7}) == []
    assert "it is not there" in released([1], fates, {1: 6})[0]
    assert "was told OK" in released([2], fates, {2: 7})[0]


def test_recovery_may_cut_the_tail_and_nothing_else() -> None:
    torn = Scan(size=150, whole=100, transactions=4, largest=30, last_began=70)
    cut = replace(torn, size=100)
    assert recovery.left_wrong({"b.1": torn}, {"b.1": cut}) == []
    just_made = Scan(0, 0, 0, 0, 0)
    assert recovery.left_wrong({"b.2": just_made}, {}) == []
    assert "is gone" in recovery.left_wrong({"b.1": torn}, {})[0]
    assert "50 bytes of no whole transaction" in recovery.left_wrong({"b.1": torn}, {"b.1": torn})[0]
    less = Scan(70, 70, 3, 30, 40)
    assert "4 whole transactions, and 3" in recovery.left_wrong({"b.1": torn}, {"b.1": less})[0]


ENGINE = "2026-11-27T22:57:51Z 0 [Note] [MY-013911] [Server] Crash recovery finished in InnoDB engine. "


@pytest.mark.parametrize(
    ("said", "committed", "rolled_back"),
    [
        ("No attempts to commit, rollback or prepare any transactions.", 0, 0),
        ("Successfully committed 6 internal transaction(s). ", 6, 0),
        ("Successfully rolled back 5 internal transaction(s). ", 0, 5),
        ("Successfully committed 2, rolled back 4 internal transaction(s). ", 2, 4),
    ],
)
def test_what_recovery_did_is_read_from_its_log(said: str, committed: int, rolled_back: int) -> None:
    """As MySQL 9.7.4 says it."""
    trimmed = (
        "2026-11-27T22:57:51Z 0 [Note] [MY-010858] [Server] Crashed binlog file ./binlog.000051 size is 26714112,"
        " but recovered up to 3222118. Binlog trimmed to 3222118 bytes.\n"
    )
    other = "Crash recovery finished in binlog engine. Successfully committed 9 internal transaction(s).\n"
    assert recovery.read_log(other + ENGINE + said + "\n") == recovery.Recovered(committed, rolled_back)
    assert recovery.read_log(trimmed + ENGINE + said + "\n").trimmed == 23491994
    assert recovery.read_log("ready for connections") == recovery.Recovered()


def test_what_recovery_could_not_do_is_no_success() -> None:
    said = "Successfully committed 2 internal transaction(s). Failed to rolled back 1 internal transaction(s)."
    found = recovery.read_log(ENGINE + said + "\n")
    assert (found.committed, found.rolled_back, found.failed) == (2, 0, (said,))


# --- what is drawn ---------------------------------------------------------------------------------------------------
def test_a_session_is_drawn_from_its_seed_and_a_round_from_its_own() -> None:
    assert instants(50, 5) == instants(50, 5) != instants(50, 6)
    for instant in instants(50, 5):
        (again,) = instants(1, 99, instant.seed)
        assert replace(again, number=instant.number) == instant


@pytest.mark.parametrize("rounds", [6, 7, 50, 120])
def test_every_aim_is_taken_when_there_are_rounds_enough(rounds: int) -> None:
    found = [instant.aim for instant in instants(rounds, 11)]
    assert len(found) == rounds and set(found) == set(aims.SAID)


def test_every_kind_of_transaction_is_drawn_and_binds_its_values() -> None:
    rng = random.Random(3)
    seen = set()
    for _number in range(3000):
        drawn = load.draw(rng, 4)
        seen.add(drawn.kind)
        for step in drawn.steps:
            marks = step.statement.count("%s")
            assert marks == len(step.values or ()), step
    assert seen == set(load.KINDS)


@pytest.mark.parametrize(
    ("error", "is_gone"),
    [
        (pymysql.err.OperationalError(2013, "Lost connection"), True),
        (pymysql.err.InterfaceError(0, ""), True),
        (ConnectionResetError(), True),
        (pymysql.err.OperationalError(1213, "Deadlock"), False),
        (pymysql.err.ProgrammingError(1146, "no such table"), False),
    ],
)
def test_a_server_that_is_gone_is_told_from_a_statement_that_failed(error: Exception, is_gone: bool) -> None:
    assert clients.gone(error) is is_gone


# --- the servers -----------------------------------------------------------------------------------------------------
def options(own: Any) -> configparser.SectionProxy:
    parser = configparser.ConfigParser()
    parser.read_string(configuration(f"{PLACE}/x", own))
    return parser["mysqld"]


def test_the_server_that_is_killed_carries_what_every_server_carries() -> None:
    found = options(SUBJECT)
    for setting in SETTINGS:
        name = f"loose_{setting.name}" if setting.optional else setting.name
        expected = "binlog" if setting.name == "log_bin" else setting.expected
        assert found[name] == expected
    assert found["loose_rpl_semi_sync_source_enabled"] == "OFF" and found["super_read_only"] == "ON"
    assert "innodb_doublewrite" not in found


def test_neither_server_has_a_network_or_a_file_of_the_clusters() -> None:
    for found in (options(SUBJECT), options(REPLAY)):
        assert found["skip_networking"] == "ON"
        assert all(found[name].startswith(PLACE) for name in ("datadir", "socket", "pid_file", "log_error"))
    assert "log_bin" not in options(REPLAY)


# --- the report ------------------------------------------------------------------------------------------------------
def one(number: int = 1, aim: str = aims.UNDER_LOAD, **changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        **aims.draw(number, aims.seed_of(1, number, aim)).as_dict(),
        "transactions": 100,
        "largest": 4000,
        "seen": {},
        "torn": 50 if aim == aims.WRITING else 0,
        "committed": 1,
        "rolled_back": 0,
        "trimmed": 0,
        "waiting": [2] if aim == aims.NO_ACKNOWLEDGER else [],
        "there": 1,
        "absent": 1,
        **{key: [] for key in BROKEN},
        "seconds": {"recovery": 1.0, "replay": 0.5, "compare": 0.1},
        "condition": {"load": 1.0, "busy": 0.5, "steal": 0.0, "seconds": 3.0},
    }
    return {**good, **changes}


def judged(history: list[dict[str, Any]], asked: int | None = None, indexes: list[str] | None = None) -> dict[str, Any]:
    return report.document(
        history,
        asked=len(history) if asked is None else asked,
        seed=1,
        mutant="",
        server_version="9.7.4",
        index_trouble=[] if indexes is None else indexes,
        began_at=0.0,
        ended_at=9.0,
    )


def every() -> list[dict[str, Any]]:
    return [one(number, aim) for number, aim in enumerate(aims.SAID, 1)]


def test_a_good_session_passes_and_counts() -> None:
    found = judged(every())
    assert (found["verdict"], found["reasons"]) == ("pass", [])
    assert (found["rounds"], found["transactions"], found["torn_tails"], found["waiting_commits"]) == (6, 600, 1, 1)
    assert [row["rounds"] for row in found["instants"]] == [1] * 6
    assert {check["name"] for check in found["checks"]} == set(report.TITLES)


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("rows", {"differences": ["t has 3 rows on the server, 2 replayed"]}),
        ("log", {"left_wrong": ["binlog.000002 is gone"]}),
        ("acknowledged", {"beyond": ["client 1: 6 was acknowledged"]}),
        ("waiting", {"released": ["client 1 was told OK"]}),
        ("rounds", {"transactions": 0}),
    ],
)
def test_each_check_can_fail_and_says_which_round(check: str, change: dict[str, Any]) -> None:
    history = every()
    history[3].update(change)
    found = judged(history)
    assert found["verdict"] == "fail"
    (reason,) = found["reasons"]
    assert reason.startswith(f"{check}: ") and "round 4" in reason


def test_what_was_not_done_or_not_met_is_no_pass() -> None:
    assert judged([], 0)["verdict"] == "fail"
    assert judged(every(), 7)["reasons"] == ["rounds: 6 of 7 rounds were done"]
    assert judged(every(), indexes=["entry: Corrupt"])["reasons"] == ["indexes: entry: Corrupt"]
    whole = every()
    whole[list(aims.SAID).index(aims.WRITING)]["torn"] = 0
    assert judged(whole)["reasons"] == ["stages: no binary log was torn while it was written"]
    calm = every()
    calm[list(aims.SAID).index(aims.NO_ACKNOWLEDGER)]["waiting"] = []
    assert {reason.partition(":")[0] for reason in judged(calm)["reasons"]} == {"waiting", "stages"}
    same = [one(number) for number in range(1, 7)]
    assert "no round was aimed at" in judged(same)["reasons"][0]


def test_the_report_and_its_page_are_written_and_nothing_in_them_is_markup(tmp_path: Path) -> None:
    history = every()
    history[0]["differences"] = ["<b>t</b> differs"]
    report.write(judged(history), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;t&lt;/b&gt; differs" in page and "<b>t</b>" not in page
    assert "FAIL" in page and "while the log is written" in page
    assert (tmp_path / "report.json").read_text().startswith("{")


@pytest.mark.parametrize("trouble", [LabError("mysqld did not start"), pymysql.err.OperationalError(2013, "lost")])
def test_a_round_that_can_not_be_done_leaves_no_earlier_report_and_keeps_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    kept: list[Path] = []

    class Rounds:
        def __init__(self, *_arguments: Any) -> None: ...

        def go(self, _instant: Any) -> dict[str, Any]:
            raise trouble

        def keep(self, directory: Path) -> None:
            kept.append(directory)

    monkeypatch.setattr(two_phase, "RESULTS", tmp_path)
    monkeypatch.setattr(two_phase, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(two_phase, "Rounds", Rounds)
    monkeypatch.setattr(two_phase, "_servers", lambda _hosts: contextlib.nullcontext((None, None)))
    (tmp_path / "report.json").write_text('{"verdict": "pass"}')
    hosts: Any = None
    with pytest.raises(DrillError, match=r"round 1 \(.*, seed \d+\) could not be done: .*(start|lost)"):
        two_phase.drill(hosts, instants(3, 1), 1)
    assert kept == [tmp_path / "kept"] and not (tmp_path / "report.json").exists()
