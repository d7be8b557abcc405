"""What a comparison said, against what it had to say. Pure. Every check can fail: tests/unit/drills_reconcile.

A check: {name, holds, said}, as in ``drills/comeback/judge.py``. A report: that of ``consistency/run.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import (
    COUNT,
    EXTRA,
    LAGGING,
    MISSING,
    PASS,
    SCHEMA_DIFFERS,
    UNSTABLE,
)

from drills.comeback.judge import Check, check
from drills.reconcile.plants import Identity, Plant, Shape, identity
from drills.reconcile.tables import RESTLESS, SCHEMA

TITLES = {
    "found": "Every difference that was planted is found, with its exact key and kind",
    "nothing_else": "Nothing else is reported, on no server",
    "verdicts": "Each table has the verdict that it has to have",
    "verdict": "The whole run has the verdict that it has to have",
    "assertions": "Business assertions say what they have to say",
    "servers": "What is wrong with a whole server is said",
    "schema": "A table that is not the same table is told, with a code",
    "steady": "No false difference, in any comparison; each came to its end",
    "patient": "Who waits longer than the delay finds everything the same",
    "impatient": "Who does not wait as long says that the replica lags",
    "locked": "Rows that would not rest were looked at under a lock",
    "waited": "No writer waited longer than the lock may last, and a margin",
    "paced": "The row was written as often as the case says",
    "in_flight": "A row was in flight when it was compared, often enough",
    "wrote": "The application wrote all the time",
    "restored": "What was done is undone: in the end everything is the same everywhere",
    "round": "The round was carried out",
}
_SHOWN = 5
HEALTHY = frozenset({PASS, UNSTABLE, LAGGING})

Verdicts = Mapping[tuple[str, str], Collection[str]]
"""By table (without its schema) and replica: what is allowed instead of a pass."""


def found_in(report: Mapping[str, Any], mode: str) -> list[tuple[str, Identity]]:
    """Every difference that is told: the replica, and what it is known by."""
    return [
        (str(table["replica"]), told(f"{table['schema']}.{table['table']}", each))
        for table in report["tables"]
        if table["mode"] == mode
        for each in table["differences"]
    ]


def told(table: str, difference: Mapping[str, Any]) -> Identity:
    """What a difference of a report is known by."""
    if difference["kind"] != COUNT:
        return identity(table, difference["kind"], difference["key"], tuple(difference["columns"]))
    there, here = dict(difference["primary"]), dict(difference["replica"])
    times = int(there.pop("rows")), int(here.pop("rows"))
    return identity(table, COUNT, there, (), times)


def found(report: Mapping[str, Any], mode: str, replica: str, plants: Sequence[Plant]) -> Check:
    """Every one; the images of keyed rows too: of the side that has the row."""
    wanted = Counter(plant.identity for plant in plants if mode in plant.modes)
    seen = Counter(each for where, each in found_in(report, mode) if where == replica)
    wrong = [f"not found: {text(each)}" for each in sorted((wanted - seen).elements())]
    for table in report["tables"]:
        for each in table["differences"] if table["replica"] == replica and table["mode"] == mode else ():
            if each["kind"] != COUNT and (bool(each["primary"]), bool(each["replica"])) != _sides(each["kind"]):
                wrong.append(f"the images are not those of {each['kind']}: {text(told(table['table'], each))}")
    return check("found", _few(wrong), f"{sum(wanted.values())} of {sum(wanted.values())}", seen=bool(wanted))


def _sides(kind: str) -> tuple[bool, bool]:
    return kind != EXTRA, kind != MISSING


def nothing_else(
    report: Mapping[str, Any], mode: str, replica: str, plants: Sequence[Plant], *, schemas: Collection[str] = ()
) -> Check:
    """``schemas``: tables (without their schema) whose definition differs on the replica."""
    wanted = Counter(plant.identity for plant in plants)
    seen = found_in(report, mode)
    wrong = [f"{where}: {text(each)}" for where, each in seen if where != replica]
    mine = Counter(each for where, each in seen if where == replica)
    wrong += [f"{replica}: {text(each)}" for each in sorted((mine - wanted).elements())]
    for table in report["tables"]:
        if table["mode"] != mode:
            continue
        name = f"{table['table']} on {table['replica']}"
        if table["difference_count"] != len(table["differences"]):
            wrong.append(f"{name}: {table['difference_count']} counted, {len(table['differences'])} told")
        expected = table["replica"] == replica and table["table"] in schemas
        if table["verdict"] == SCHEMA_DIFFERS and not expected:
            wrong.append(f"{name}: {table['code']}")
    return check("nothing_else", _few(wrong), f"{len(seen)} differences, all of them planted")


def verdicts(report: Mapping[str, Any], mode: str, tables: Collection[str], allowed: Verdicts) -> Check:
    """Each of these tables on each replica is a pass, or what is allowed instead of it; and nothing is left out."""
    said = {(str(each["table"]), str(each["replica"])): each for each in report["tables"] if each["mode"] == mode}
    wanted = {*allowed, *((table, replica) for table in tables for replica in report["replicas"])}
    wrong = [f"{table} on {replica}: not compared" for table, replica in sorted(wanted - set(said))]
    for (table, replica), each in sorted(said.items()):
        may = allowed.get((table, replica), (PASS,))
        if each["verdict"] not in may:
            wrong.append(f"{table} on {replica}: {each['verdict']} ({each['code']}), not {' or '.join(sorted(may))}")
        elif each["verdict"] == PASS and each["covered"] < 1:
            wrong.append(f"{table} on {replica}: a pass, and {each['covered']:.0%} was compared")
    counts = Counter(each["verdict"] for each in said.values())
    shown = ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items()))
    return check("verdicts", _few(wrong), shown, seen=bool(said))


def verdict(report: Mapping[str, Any], *wanted: str) -> Check:
    wrong = [] if report["verdict"] in wanted else [f"{report['verdict']}, not {' or '.join(wanted)}"]
    wrong += [] if report["finished"] else ["it did not come to its end"]
    return check("verdict", wrong, str(report["verdict"]))


def assertions(report: Mapping[str, Any], replica: str, wanted: Mapping[str, str]) -> Check:
    """:param wanted: the verdict of each on that replica; everywhere else it has to be a pass."""
    said = report["assertions"]
    wrong = []
    for each in said:
        may = wanted.get(each["name"], PASS) if each["replica"] == replica else PASS
        if each["verdict"] != may:
            wrong.append(f"{each['name']} on {each['replica']}: {each['verdict']} ({each['why']}), not {may}")
    there = {each["name"] for each in said if each["replica"] == replica}
    wrong += [f"{name} was not asked on {replica}" for name in wanted if name not in there]
    return check("assertions", _few(wrong), f"{len(said)} answers", seen=bool(said))


def servers(report: Mapping[str, Any], wanted: Sequence[tuple[str, str, str]]) -> Check:
    """:param wanted: replica, verdict and code of each finding."""
    seen = [(each["replica"], each["verdict"], each["code"]) for each in report["servers"]]
    wrong = [f"not said: {' '.join(each)}" for each in wanted if each not in seen]
    wrong += [f"said: {' '.join(each)}" for each in seen if each not in wanted]
    return check("servers", wrong, "; ".join(f"{name}: {code}" for name, _verdict, code in seen) or "nothing")


def schema(report: Mapping[str, Any], mode: str, replica: str, shapes: Sequence[Shape]) -> Check:
    said = {each["table"]: each for each in report["tables"] if each["replica"] == replica and each["mode"] == mode}
    wrong = []
    for shape in shapes:
        each = said.get(shape.table, {"verdict": "nothing", "code": "", "why": ""})
        if (each["verdict"], each["code"]) != (SCHEMA_DIFFERS, shape.code) or shape.column not in each["why"]:
            wrong.append(f"{shape.name}: {each['verdict']} {each['code']} ({each['why']}), not {shape.code}")
    shown = "; ".join(f"{shape.name}: {shape.code}" for shape in shapes)
    return check("schema", _few(wrong), shown, seen=bool(shapes))


def steady(reports: Sequence[Mapping[str, Any]]) -> Check:
    """Whatever lags or moves: nothing is called different, nothing fails, and each comparison ends."""
    wrong = []
    for number, report in enumerate(reports, 1):
        wrong += [] if report["finished"] else [f"comparison {number} did not come to its end"]
        for each in (*report["servers"], *report["tables"]):
            if each["verdict"] not in HEALTHY:
                where = f"{each.get('table', 'server')} on {each['replica']}"
                wrong.append(f"comparison {number}, {where}: {each['verdict']} ({each['why']})")
    rows = sum(report["counts"]["rows"] for report in reports)
    again = sum(report["counts"]["rechecked"] for report in reports)
    said = f"{len(reports)} comparisons, {rows} rows, {again} of them looked at one by one"
    return check("steady", _few(wrong), said, seen=bool(reports) and rows > 0)


def patient(reports: Sequence[Mapping[str, Any]]) -> Check:
    """Everything passes but what never rests, which may be called so."""
    wrong = [
        f"{each['table']} on {each['replica']}: {each['verdict']} ({each['why']})"
        for report in reports
        for each in report["tables"]
        if each["verdict"] != PASS and not (each["table"] in RESTLESS and each["verdict"] == UNSTABLE)
    ]
    passed = sum(each["verdict"] == PASS for report in reports for each in report["tables"])
    return check("patient", _few(wrong), f"{passed} passed in {len(reports)} comparisons", seen=passed > 0)


def impatient(reports: Sequence[Mapping[str, Any]], replica: str) -> Check:
    late = Counter(each["verdict"] for report in reports for each in report["tables"] if each["replica"] == replica)
    wrong = [] if late[LAGGING] or not late else [f"nothing on {replica} lags: {dict(late)}"]
    return check("impatient", wrong, f"{late[LAGGING]} of {sum(late.values())} tables lag", seen=bool(late))


def locked(held: Sequence[float]) -> Check:
    longest = max(held, default=0.0)
    return check("locked", [], f"{len(held)} times, {longest * 1000:.0f} ms at most", seen=bool(held))


def waited(longest: float, lock: float, margin: float, turns: int, a_second: float) -> Check:
    """Seconds that one statement of a writer took at most, in that many.

    :param a_second: updates of the row that has a pace.
    """
    wrong = [f"{longest:.2f} s, and {lock:g} s and {margin:g} s are allowed"] if longest > lock + margin else []
    return check(
        "waited",
        wrong,
        f"{longest * 1000:.0f} ms at most in {turns} updates, {a_second:.0f} a second of one row",
        seen=turns > 0,
    )


def paced(a_second: float, wanted: float) -> Check:
    """A client that makes up for late turns is within a tenth of its pace, or this machine cannot keep it."""
    wrong = [f"only {a_second:.0f} updates a second of the row, not {wanted:.0f}"] if a_second < 0.9 * wanted else []
    return check("paced", wrong, f"{a_second:.0f} updates a second of one row")


def in_flight(again: int, wanted: int) -> Check:
    """Rows that had to be looked at again, in all comparisons."""
    wrong = [f"only {again} rows were looked at again, not {wanted}"] if again < wanted else []
    return check("in_flight", wrong, f"{again} rows were looked at again")


def wrote(turns: Mapping[str, int], errors: Sequence[str], everybody: Collection[str]) -> Check:
    wrong = [*errors, *(f"{name} wrote nothing" for name in everybody if not turns.get(name))]
    return check("wrote", _few(wrong), f"{sum(turns.values())} turns of {len(turns)} clients", seen=bool(everybody))


def restored(report: Mapping[str, Any]) -> Check:
    """Of a comparison after everything was undone, with nobody writing."""
    wrong = [] if report["verdict"] == PASS else [f"the whole run: {report['verdict']}"]
    wrong += [
        f"{each.get('table', 'server')} on {each['replica']}: {each['verdict']} ({each['why']})"
        for each in (*report["servers"], *report["tables"])
        if each["verdict"] != PASS
    ]
    rows = report["counts"]["rows"]
    said = f"{report['counts']['tables']} tables, {rows} rows, on {', '.join(report['replicas'])}"
    return check("restored", _few(wrong), said, seen=rows > 0)


def text(each: Identity) -> str:
    return " ".join(part for part in each if part).replace(f"{SCHEMA}.", "")


def _few(wrong: Sequence[str]) -> list[str]:
    more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
    return [*wrong[:_SHOWN], *more]
