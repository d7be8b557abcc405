# SPDX-License-Identifier: GPL-3.0-or-later
"""The drills of the way back: every check holds where it should, and fails where it should."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drills.comeback import clone, judge, refused, report, rewind, run, work
from drills.comeback.judge import Check
from drills.comeback.stage import failed_result
from drills.two_phase.contents import Contents, Table

A, B = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4f22fa47-71ca-11e1-9e33-c80aa9429562"
ROW = {"state": "verified", "detail": "3 rows compared", "gtids": f"{A}:5-6", "archive": "/x"}
CLONED = {**ROW, "detail": "cloned from db3"}
MANIFEST = {"found": f"{A}:5-6", "transactions": 2}
BEFORE = Contents(f"{A}:1-4", {"s.kept": Table("CREATE", 500, "aa")})


def tables(**changes: Any) -> Contents:
    return Contents("", {"s.kept": Table(**{"definition": "CREATE", "rows": 500, "checksum": "aa", **changes})})


GOOD: list[Check] = [
    judge.waited(20, 21, 0, ()),
    judge.told_all(20, 20),
    judge.promoted("proven", "proven", "db2"),
    judge.died("cut:after", "exit status 137", True),
    judge.way(ROW, "verified"),
    judge.way(CLONED, "verified", cloned=True),
    judge.archived(f"{A}:5-6", MANIFEST, 2),
    judge.kept(["/r/x.cut"], ".cut"),
    judge.refused(("promotion_not_proven", "more"), ("promotion_not_proven",)),
    judge.refused(("may_be_acknowledged",), ("may_be_acknowledged",), f"{A}:5-6", f"{A}:5-6"),
    judge.harmless(True, ""),
    judge.not_counted(False),
    judge.ended_well(0, ""),
    judge.broke("the donor was killed", 0.5),
    judge.not_done(2, "clone_failed", "the donor is gone", ("clone_failed",)),
    judge.registered(""),
    judge.undone(BEFORE, tables()),
    judge.equal("db2", {"db1": tables(), "db2": tables()}),
    judge.gtids({"db1": (f"{A}:1-4", f"{A}:1-5", f"{A}:1-6")}),
]

BROKEN: list[tuple[str, Check]] = [
    ("too few waited", judge.waited(20, 19, 0, ())),
    ("told OK", judge.waited(20, 20, 1, ())),
    ("an error", judge.waited(20, 20, 0, ("read only",))),
    ("not all were told", judge.told_all(20, 19)),
    ("unproven", judge.promoted("unproven", "proven", "db2")),
    ("nobody", judge.promoted("proven", "proven", "")),
    ("lived on", judge.died("cut:after", "exit status 0", False)),
    ("nothing written", judge.way({}, "verified")),
    ("pending", judge.way({**ROW, "state": "pending"}, "verified")),
    ("cloned, not rewound", judge.way(CLONED, "verified")),
    ("rewound, not cloned", judge.way(ROW, "verified", cloned=True)),
    ("archive lacks one", judge.archived(f"{A}:5-7", MANIFEST, 2)),
    ("archive has more", judge.archived(f"{A}:5", MANIFEST, 1)),
    ("fewer than waited", judge.archived(f"{A}:5-6", MANIFEST, 3)),
    ("manifest lists fewer", judge.archived(f"{A}:5-6", {**MANIFEST, "transactions": 1}, 2)),
    ("nothing kept", judge.kept([], ".cut")),
    ("something else kept", judge.kept(["/r/x.kept"], ".cut")),
    ("not refused", judge.refused((), ("may_be_acknowledged",))),
    ("names others", judge.refused(("may_be_acknowledged",), ("may_be_acknowledged",), f"{A}:5-6", f"{A}:5")),
    ("names none", judge.refused(("may_be_acknowledged",), ("may_be_acknowledged",), f"{A}:5-6", "")),
    ("writable", judge.harmless(False, "")),
    ("follows", judge.harmless(True, "db2")),
    ("counted", judge.not_counted(True)),
    ("playbook failed", judge.ended_well(2, "fatal")),
    ("nothing broke", judge.broke("", 0.5)),
    ("reported as done", judge.not_done(0, "clone_failed", "", ("clone_failed",))),
    ("no code", judge.not_done(2, "", "MODULE FAILURE", ("clone_failed",))),
    ("not lossless", judge.registered("degraded: db1 does not acknowledge")),
    ("a table is new", judge.undone(BEFORE, Contents("", {**tables().tables, "s.created": Table("C", 0, "0")}))),
    ("a table is gone", judge.undone(BEFORE, Contents("", {}))),
    ("a definition", judge.undone(BEFORE, tables(definition="CREATE more"))),
    ("a row more", judge.undone(BEFORE, tables(rows=501))),
    ("a value", judge.equal("db2", {"db1": tables(checksum="ab"), "db2": tables()})),
    ("lacks one", judge.gtids({"db1": (f"{A}:1-4", f"{A}:1-3", f"{A}:1-4")})),
    ("has one besides", judge.gtids({"db1": (f"{A}:1-4", f"{A}:1-4,{B}:1", f"{A}:1-4")})),
    ("trouble", judge.trouble("it could not be done")),
]

UNSEEN: list[Check] = [
    judge.waited(0, 0, 0, ()),
    judge.told_all(0, 0),
    judge.archived("", {"found": "", "transactions": 0}, 0),
    judge.refused((), ()),
    judge.undone(Contents("", {}), Contents("", {})),
    judge.equal("db2", {}),
    judge.equal("db2", {"db2": tables()}),
    judge.gtids({}),
]


@pytest.mark.parametrize("check", GOOD, ids=lambda check: check["name"])
def test_holds(check: Check) -> None:
    assert check["holds"] is True, check


@pytest.mark.parametrize(("why", "check"), BROKEN, ids=[why for why, _check in BROKEN])
def test_is_broken(why: str, check: Check) -> None:
    assert check["holds"] is False and check["said"]


@pytest.mark.parametrize("check", UNSEEN, ids=lambda check: check["name"])
def test_of_nothing_nothing_is_said(check: Check) -> None:
    assert check["holds"] is None


def test_every_check_is_shown_holding_and_failing() -> None:
    assert {check["name"] for check in GOOD} | {"round"} == set(judge.TITLES)
    assert {check["name"] for _why, check in BROKEN} == set(judge.TITLES)


def one(case: str = "one", *checks: Check) -> dict[str, Any]:
    facts = {
        "asked": 20,
        "waited": 21,
        "largest": 52_000_000,
        "back_in": 1.5,
        "state": "verified",
        "detail": "<3 rows>",
    }
    condition = {"load": 1.0, "busy": 0.5, "steal": 0.0, "seconds": 3.0}
    return {"case": case, "said": "x", "seconds": 3.0, "checks": list(checks), "facts": facts, "condition": condition}


def made(*rounds: dict[str, Any], asked: tuple[str, ...] = ("one",)) -> dict[str, Any]:
    return report.document(
        rounds,
        scenario="rewind",
        description="d",
        asked=asked,
        all_cases=["one", "hundred"],
        settings={"commits": 5000},
        mutant="",
        server_version="9.7.4",
        began_at=0.0,
        ended_at=1.0,
    )


def test_a_report_passes_only_when_everything_was_seen_and_holds() -> None:
    assert made(one("one", *GOOD))["verdict"] == "pass"
    assert made(one("one", *GOOD, BROKEN[0][1]))["verdict"] == "fail"
    assert made(one("one", *GOOD, UNSEEN[0]))["verdict"] == "fail"
    assert made()["verdict"] == "fail"
    assert made(one("one", *GOOD), asked=("one", "hundred"))["verdict"] == "fail"
    assert made(one("one", *GOOD))["not_run"] == ["hundred"]


@pytest.mark.parametrize("checks", [GOOD, [check for _why, check in BROKEN], UNSEEN], ids=["good", "broken", "unseen"])
def test_the_page_says_it(checks: list[Check]) -> None:
    found = made(one("one", *checks))
    html = report.render(found)
    assert ("PASS" if found["verdict"] == "pass" else "FAIL") in html and "&lt;3 rows&gt;" in html
    assert json.loads(json.dumps(found)) == found


def test_a_round_that_could_not_be_done_has_a_page() -> None:
    found = {**one("one", judge.trouble("DrillError: no")), "facts": {}}
    assert "DrillError: no" in report.render(made(found))


def test_what_waits() -> None:
    assert len(work.inserts(5000)) == 5000
    last = [statements[-1] for statements in (*work.inserts(3), *work.changes(), *work.definitions(), *work.large())]
    assert len(set(last)) == len(last) - 1  # two end with COMMIT
    assert work.distributed()[0][-1].startswith("XA PREPARE")


def test_what_the_gate_said() -> None:
    mark = "lossless-mysql-ha restart gate: "
    lines = [f"{mark}not rewound, promotion_not_proven: term 4, ...", f"{mark}start, harmless. x", "other"]
    assert refused.said_by_the_gate(lines) == ("promotion_not_proven",)


def test_what_failed_is_read_from_a_playbook() -> None:
    said = 'TASK [x] ***\nfatal: [db1]: FAILED! => {"code": "may_be_acknowledged", "evidence": {"gtids": "x"}}\nPLAY'
    assert failed_result(said)["code"] == "may_be_acknowledged"
    assert failed_result("fatal: [db1]: FAILED! => {broken") == {}
    assert failed_result("ok: [db1]") == {}


@pytest.mark.parametrize("scenario", list(run.DRILLS))
def test_each_drill_has_cases_and_mutants(scenario: str) -> None:
    drill: Any = run.DRILLS[scenario]
    go: Callable[..., Any] = drill.go
    assert callable(go) and drill.cases and drill.mutants


def test_make_knows_them() -> None:
    makefile = (Path(__file__).resolve().parents[3] / "Makefile").read_text()
    own = re.search(r"^OWN_DRILLS := (.+)$", makefile, re.MULTILINE)
    assert own and set(own[1].split()) == {"two_phase_commit", "reconcile", *run.DRILLS}


def test_every_point_of_the_rewind_is_a_case() -> None:
    dies = {case.dies for case in rewind.CASES.values()}
    assert {*rewind.POINTS, "verify:before"} <= dies
    assert clone.CASES["donor_dies"].breaks and clone.CASES["disk_fills"].breaks
