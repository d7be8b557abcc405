# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill of reconciliation: every check holds where it should, and fails where it should; the mutants bite."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import canonical, recheck, settle
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import (
    BUSINESS,
    COUNT,
    EXTRA,
    MISSING,
    MODES,
    VALUE,
    WHOLE,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import ColumnFacts

from drills.comeback import report as reporting
from drills.comeback.judge import Check
from drills.errors import DrillError
from drills.reconcile import cases, judge, mutants, page, plants, tables, writers
from drills.reconcile.run import AFTERWARDS

A, B = "db2", "db3"
HERE = ("account", "ledger")
PLANTS = (plants.PLANTED[0], plants.PLANTED[2], plants.PLANTED[3])  # an UPDATE, a DELETE, an INSERT


def difference(plant: plants.Plant) -> dict[str, Any]:
    image = dict.fromkeys(plant.columns or ("id",), "1")
    if plant.kind == COUNT:
        there, here = ({**plant.key, "rows": str(number)} for number in plant.times)
        return {"key": {"digest": "ab"}, "kind": COUNT, "columns": [], "primary": there, "replica": here}
    return {
        "key": dict(plant.key),
        "kind": plant.kind,
        "columns": list(plant.columns),
        "primary": None if plant.kind == EXTRA else image,
        "replica": None if plant.kind == MISSING else image,
    }


def table(name: str, replica: str, verdict: str = "pass", **more: Any) -> dict[str, Any]:
    entry = {"schema": tables.SCHEMA, "table": name, "replica": replica, "mode": WHOLE, "verdict": verdict}
    return {**entry, "code": "", "why": "", "difference_count": 0, "differences": [], "covered": 1.0, **more}


def report(*planted: plants.Plant) -> dict[str, Any]:
    """Of two tables on two replicas; what is planted stands in the first table of the first."""
    found = [difference(plant) for plant in planted]
    first = table("account", A, "different" if found else "pass", differences=found, difference_count=len(found))
    return {
        "replicas": [A, B],
        "modes": [WHOLE],
        "verdict": "different" if found else "pass",
        "finished": True,
        "seconds": 1.0,
        "servers": [],
        "assertions": [],
        "tables": [first, table("ledger", A), table("account", B), table("ledger", B)],
        "counts": {"tables": 2, "rows": 800, "rechecked": 4, "differences": len(found), "by_verdict": {"pass": 4}},
    }


def changed(base: dict[str, Any], where: int | None = None, **more: Any) -> dict[str, Any]:
    """The same with something else in it: in the entry of a table, or in the whole."""
    found = copy.deepcopy(base)
    (found if where is None else found["tables"][where]).update(more)
    return found


FULL, NONE = report(*PLANTS), report()
ALLOWED = {("account", A): ("different",)}
LATE = changed(changed(NONE, 0, verdict="lagging", code="replica_late"), verdict="lagging")
ERRANT = (A, "different", "errant_transactions")
SERVER = [dict(zip(("replica", "verdict", "code", "why"), (*ERRANT, "it has more"), strict=True))]
ASKED = {"sums": "different"}
ANSWERS = [
    {"name": "sums", "replica": A, "verdict": "different", "why": ""},
    {"name": "sums", "replica": B, "verdict": "pass", "why": ""},
]
SHAPE = plants.SHAPED[0]
SHAPED = changed(NONE, 0, table=SHAPE.table, verdict="schema_differs", code=SHAPE.code, why=f"columns: {SHAPE.column}")
EXTRA_ELSEWHERE = changed(FULL, 2, differences=[difference(PLANTS[0])], difference_count=1)
WRONG_COLUMN = changed(FULL, 0, differences=[{**difference(PLANTS[0]), "columns": ["owner"]}])
WRONG_KEY = changed(FULL, 0, differences=[{**difference(PLANTS[0]), "key": {"id": "51"}}])
WRONG_KIND = changed(FULL, 0, differences=[{**difference(PLANTS[1]), "kind": EXTRA}])
NO_IMAGE = changed(FULL, 0, differences=[{**difference(each), "replica": None} for each in PLANTS])

GOOD: list[Check] = [
    judge.found(FULL, WHOLE, A, PLANTS),
    judge.nothing_else(FULL, WHOLE, A, PLANTS),
    judge.nothing_else(SHAPED, WHOLE, A, (), schemas={SHAPE.table}),
    judge.verdicts(FULL, WHOLE, HERE, ALLOWED),
    judge.verdict(FULL, "different"),
    judge.assertions(changed(NONE, assertions=ANSWERS), A, ASKED),
    judge.servers(NONE, ()),
    judge.servers(changed(NONE, servers=SERVER), [ERRANT]),
    judge.schema(SHAPED, WHOLE, A, [SHAPE]),
    judge.steady([NONE, LATE]),
    judge.patient([NONE]),
    judge.impatient([NONE, LATE], A),
    judge.locked([0.1]),
    judge.waited(2.9, 2.0, 1.0, 100, 98.0),
    judge.paced(91.0, 100.0),
    judge.in_flight(10, 10),
    judge.wrote({"a": 3}, (), ("a",)),
    judge.restored(NONE),
]

BROKEN: list[tuple[str, Check]] = [
    ("nothing found", judge.found(NONE, WHOLE, A, PLANTS)),
    ("on the other replica", judge.found(FULL, WHOLE, B, PLANTS)),
    ("another column", judge.found(WRONG_COLUMN, WHOLE, A, PLANTS[:1])),
    ("another key", judge.found(WRONG_KEY, WHOLE, A, PLANTS[:1])),
    ("another kind", judge.found(WRONG_KIND, WHOLE, A, PLANTS[1:2])),
    ("no image", judge.found(NO_IMAGE, WHOLE, A, PLANTS)),
    ("told twice", judge.nothing_else(report(PLANTS[0], *PLANTS), WHOLE, A, PLANTS)),
    ("not planted", judge.nothing_else(FULL, WHOLE, A, PLANTS[:2])),
    ("elsewhere", judge.nothing_else(EXTRA_ELSEWHERE, WHOLE, A, PLANTS)),
    ("counted and not told", judge.nothing_else(changed(NONE, 1, difference_count=1), WHOLE, A, ())),
    ("a schema on the other one", judge.nothing_else(SHAPED, WHOLE, B, (), schemas={SHAPE.table})),
    ("a schema that was not changed", judge.nothing_else(SHAPED, WHOLE, A, ())),
    ("unstable", judge.verdicts(changed(NONE, 3, verdict="unstable"), WHOLE, HERE, {})),
    ("a pass that should differ", judge.verdicts(NONE, WHOLE, HERE, ALLOWED)),
    ("half a pass", judge.verdicts(changed(NONE, 0, covered=0.5), WHOLE, HERE, {})),
    ("left out", judge.verdicts(NONE, WHOLE, (*HERE, "payment"), {})),
    ("a pass", judge.verdict(NONE, "different")),
    ("not finished", judge.verdict(changed(FULL, finished=False), "different")),
    ("an assertion that fails nowhere", judge.assertions(changed(NONE, assertions=ANSWERS[1:]), A, ASKED)),
    ("one that fails elsewhere", judge.assertions(changed(NONE, assertions=ANSWERS), B, ASKED)),
    ("one that passes", judge.assertions(changed(NONE, assertions=ANSWERS), A, {})),
    ("not said", judge.servers(NONE, [ERRANT])),
    ("said", judge.servers(changed(NONE, servers=SERVER), ())),
    ("another code", judge.schema(changed(SHAPED, 0, code="keys"), WHOLE, A, [SHAPE])),
    ("no column", judge.schema(changed(SHAPED, 0, why="columns"), WHOLE, A, [SHAPE])),
    ("a false difference", judge.steady([NONE, FULL])),
    ("an error", judge.steady([changed(NONE, 0, verdict="error")])),
    ("no end", judge.steady([changed(NONE, finished=False)])),
    ("it lags all the same", judge.patient([LATE])),
    ("it does not lag", judge.impatient([NONE], A)),
    ("the other one lags", judge.impatient([LATE], B)),
    ("too long", judge.waited(3.1, 2.0, 1.0, 100, 98.0)),
    ("never in flight", judge.in_flight(9, 10)),
    ("not so often", judge.paced(89.0, 100.0)),
    ("an error of a writer", judge.wrote({"a": 3}, ("b: gone",), ("a",))),
    ("nobody wrote", judge.wrote({}, (), ("a",))),
    ("still different", judge.restored(FULL)),
    ("the server", judge.restored(changed(NONE, servers=SERVER))),
]

NOTHING_SEEN = [
    judge.found(FULL, WHOLE, A, ()),
    judge.verdicts(changed(NONE, tables=[]), WHOLE, (), {}),
    judge.assertions(NONE, A, {}),
    judge.schema(NONE, WHOLE, A, ()),
    judge.steady([]),
    judge.patient([]),
    judge.impatient([], A),
    judge.locked([]),
    judge.waited(0.0, 2.0, 1.0, 0, 0.0),
    judge.wrote({}, (), ()),
    judge.restored(changed(NONE, counts={**NONE["counts"], "rows": 0})),
]


@pytest.mark.parametrize("found", GOOD, ids=lambda found: found["name"])
def test_holds(found: Check) -> None:
    assert found["holds"] is True, found["said"]


@pytest.mark.parametrize("found", [found for _why, found in BROKEN], ids=[why for why, _found in BROKEN])
def test_fails(found: Check) -> None:
    assert found["holds"] is False and found["said"]


@pytest.mark.parametrize("found", NOTHING_SEEN, ids=lambda found: found["name"])
def test_nothing_seen_is_no_pass(found: Check) -> None:
    assert found["holds"] is None


def test_every_check_has_a_title_and_was_seen_failing_or_empty() -> None:
    names = {found["name"] for found in (*GOOD, *(found for _why, found in BROKEN), *NOTHING_SEEN)}
    assert names | {"round"} == set(judge.TITLES)
    assert names == {found["name"] for _why, found in BROKEN} | {"locked"}


# --- what is planted -------------------------------------------------------------------------------------------------
EVERYTHING = (
    *(*plants.PLANTED, *plants.COLLISIONS, *plants.TWINS),
    *(*plants.RECENT, *plants.LOST_LATER, *plants.TOUCHED),
)


@pytest.mark.parametrize("case", [case for case in cases.CASES.values() if case.planted], ids=lambda case: case.said)
def test_no_two_plants_are_the_same(case: cases.Case) -> None:
    assert max(Counter(plant.identity for plant in case.planted).values()) == 1


@pytest.mark.parametrize("plant", EVERYTHING, ids=lambda plant: f"{plant.table} {plant.name}")
def test_a_plant_is_told_back_from_a_report(plant: plants.Plant) -> None:
    assert judge.told(f"{tables.SCHEMA}.{plant.table}", difference(plant)) == plant.identity


@pytest.mark.parametrize("plant", EVERYTHING, ids=lambda plant: f"{plant.table} {plant.name}")
def test_a_plant_is_of_a_row_that_nobody_else_writes(plant: plants.Plant) -> None:
    number = plant.key.get("id") or plant.key.get("a") or str(plant.key.get("number", "")).partition("#")[2]
    assert number and int(number) % tables.RESTS == 0
    assert plant.table in {each.name for each in tables.TABLES}


def test_every_type_is_changed_once_and_every_kind_is_planted() -> None:
    wide = [plant for plant in plants.PLANTED if plant.table == tables.WIDE.name and plant.kind == VALUE]
    assert [plant.columns[0] for plant in wide] == [column.name for column in tables.EVERY_TYPE]
    for name in ("account", "ledger", "payment", "wide"):
        assert {plant.kind for plant in plants.PLANTED if plant.table == name} == {VALUE, MISSING, EXTRA}
    assert {plant.times for plant in plants.PLANTED if plant.kind == COUNT} == {(1, 2), (1, 0)}


def test_every_pair_of_the_research_is_there() -> None:
    said = " ".join(pair.name for pair in plants.PAIRS_OF_VALUES)
    for words in ("'a#b'", "NULL, ''", "0.0, NULL", "lowest bit of a FLOAT", "trailing space", "case only", "BLOB"):
        assert words in said


def test_modes_exist() -> None:
    for case in cases.CASES.values():
        assert case.modes and set(case.modes) <= set(MODES)
        assert bool(case.assertions) == (BUSINESS in case.modes)


# --- the application -------------------------------------------------------------------------------------------------
CLIENTS = {**writers.CLIENTS, **writers.HAMMERS, **writers.STORM}


class Cursor:
    """Notes what is written, and with which values."""

    def __init__(self) -> None:
        self.said: list[tuple[str, tuple[Any, ...]]] = []

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> None:
        self.said.append((sql % tuple(repr(value) for value in values) if values else sql, values))


@pytest.mark.parametrize("name", list(CLIENTS))
def test_writers_leave_alone_what_rests(name: str) -> None:
    cursor, row = Cursor(), writers.Row(7)
    for _turn in range(300):
        CLIENTS[name].work(cursor, row)
        row.turn += 1
    numbers = [row.existing() for _number in range(500)] + [row.new, row.old]
    assert not [number for number in numbers if number % tables.RESTS in (0, tables.LONG)]
    assert all(sql.count("%s") == 0 for sql, _values in cursor.said)
    busy = {table.name for table in tables.TABLES if table.busy}
    written = {found for sql, _values in cursor.said for found in re.findall(rf"{tables.SCHEMA}\.(\w+)", sql)}
    assert written and written <= busy


@pytest.mark.parametrize(
    ("turns", "ended", "says"),
    [
        ({"a": 2, "b": 1}, "", "b"),
        ({"a": 2}, "", "b"),
        ({"a": 2, "b": 2}, "its connection broke", "its connection broke"),
    ],
)
def test_a_client_that_does_not_write_is_not_waited_for_in_vain(turns: dict[str, int], ended: str, says: str) -> None:
    told = writers.Writers()
    for name, number in turns.items():
        for _turn in range(number):
            told.tell(name, 0.1)
    if ended:
        told.ended("a", RuntimeError(ended))
    with pytest.raises(DrillError, match=says):
        told.until(("a", "b"), turns=2, within=0.01)


def test_once_every_client_has_written_there_is_nothing_to_wait_for() -> None:
    told = writers.Writers()
    for name in ("a", "b"):
        told.tell(name, 0.1)
    told.until(("a", "b"), within=0.0)


# --- mutants ---------------------------------------------------------------------------------------------------------
TEXT = [ColumnFacts(name, "varchar", "varchar(40)", "utf8mb4", nullable=True, octets=160) for name in ("a", "b")]


def digest() -> str:
    return canonical.digest(TEXT)


def extra_is_seen() -> bool:
    settling: settle.Settling[int] = settle.Settling()
    settling.see({}, {1: "x"})
    return bool(settling.open)


BITES: dict[str, Callable[[], Any]] = {
    "confirmed_at_once": lambda: settle.CONFIRMED_BY,
    "one_way": extra_is_seen,
    "no_barrier": lambda: recheck.wait_executed,
    "in_flight": lambda: recheck.wait_executed,
    "no_lengths": digest,
    "no_nulls": digest,
    "reals_as_text": lambda: canonical.digest([ColumnFacts("f", "float", "float")]),
    "xor_alone": lambda: canonical.aggregate(TEXT, multiset=True),
    "standstill_unseen": lambda: mutants.preflight._stopped,
    "errant_unseen": lambda: mutants.preflight.errant,
    "no_watermark": lambda: vars(mutants.recent)["activity"],
    "no_snapshot": lambda: mutants.snapshot._open,
    "one_way_by_time": extra_is_seen,
    "deletes_unseen": lambda: recheck.Recheck._read,
    "lock_kept": lambda: recheck.Recheck._while_locked,
    "layouts_unseen": lambda: mutants.one_table.layout_difference,
}


@pytest.mark.parametrize("name", list(mutants.MUTANTS))
def test_a_mutant_changes_something_and_puts_it_back(name: str) -> None:
    sound = BITES[name]()
    with mutants.applied(name):
        assert BITES[name]() != sound
    assert BITES[name]() == sound


def test_mutants_of_the_digest_take_away_what_they_say() -> None:
    assert "IFNULL(LENGTH(`b`), -1), ISNULL(`a`))" in digest()
    with mutants.applied("no_lengths"):
        assert "`b`, `a`, ISNULL(`a`))" in digest()
    with mutants.applied("no_nulls"):
        assert "`b`, `a`, IFNULL(LENGTH(`b`), 0))" in digest()
    with mutants.applied("xor_alone"):
        assert canonical.aggregate(TEXT, multiset=True).endswith(" AS digest, '0' AS total")


def test_every_case_has_a_mutant() -> None:
    assert {mutant.case for mutant in mutants.MUTANTS.values()} == set(cases.CASES)
    for mutant in mutants.MUTANTS.values():
        assert mutant.breaks and mutant.breaks <= set(judge.TITLES) - {"restored", "round"}


# --- the report ------------------------------------------------------------------------------------------------------
def a_round(name: str, checks: list[Check]) -> dict[str, Any]:
    condition = {"load": 1.0, "busy": 0.5, "steal": 0.0, "seconds": 3.0}
    facts = {"planted": 1, "found": 1, "plants": [{"name": "<UPDATE>", "identity": "a#b", "found": True}]}
    return {"case": name, "said": "s", "seconds": 3.0, "condition": condition, "checks": checks, "facts": facts}


def test_the_report_and_its_page(tmp_path: Path) -> None:
    rounds = [a_round("planted", GOOD), a_round(AFTERWARDS, [judge.restored(FULL)])]
    found = reporting.document(
        rounds,
        scenario="reconcile",
        description="d",
        asked=["planted"],
        all_cases=list(cases.CASES),
        settings={"delay": 3},
        mutant="",
        server_version="9.7.0",
        began_at=0.0,
        ended_at=1.0,
        titles=judge.TITLES,
    )
    assert found["verdict"] == "fail" and found["reasons"][0].startswith("afterwards, restored: ")
    assert found["delay"] == 3 and "clean" in found["not_run"]
    reporting.write(found, tmp_path, page.render)
    assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "fail"
    shown = (tmp_path / "report.html").read_text()
    assert "&lt;UPDATE&gt;" in shown and "<UPDATE>" not in shown and "Is the replica really the same?" in shown
