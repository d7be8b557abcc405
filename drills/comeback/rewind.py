"""``rewind``: the gate undoes by itself what waited, whatever it was, and wherever the rewind is killed once more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.rewind import POINTS

from benchmarks.cluster import Cluster
from drills.comeback import clients, judge, work
from drills.comeback.clients import Statements
from drills.comeback.stage import DECIDED_WITHIN, Stage, Waiting

NAME = "rewind"
DESCRIPTION = (
    "The primary dies (kill -9) with commits that nobody has acknowledged, another server is promoted, and the old one"
    " is started: its restart gate rewinds it, it follows, and is compared. No hand on it"
)
COMMITS = 5000
PROVEN = "proven"
VERIFIED, TO_BE_CLONED = "verified", "to_be_cloned"
_VERIFY = "verify:before"
_KILLED = 137
_NOT_COMPARED = "is not compared"
_A_FEW = 20

GATE_ABSENT, ROW_CHANGED = "gate_absent", "row_changed"
MUTANTS = (GATE_ABSENT, ROW_CHANGED)
"""The server is started past its gate; a row of the returned server is changed behind the log."""


@dataclass(frozen=True)
class Case:
    """``work``: what waits. ``dies``: where the rewind is killed before it is let through. ``comparable``: else it
    does not count until the playbook has cloned it."""

    said: str
    work: Callable[[int], Sequence[Statements]]
    dies: str = ""
    comparable: bool = True


def _few(_commits: int) -> list[Statements]:
    return [*work.inserts(_A_FEW), *work.changes(), *work.definitions()]


CASES: Mapping[str, Case] = {
    "one": Case("one commit waits", lambda _commits: work.inserts(1)),
    "hundred": Case("100 commits wait, each of its own connection", lambda _commits: work.inserts(100)),
    "definitions": Case(
        "DDL waits: CREATE, CREATE ... SELECT, ALTER (at once, and rebuilt), DROP of tables with rows; UPDATE, DELETE",
        lambda _commits: [*work.definitions(), *work.changes()],
    ),
    "not_comparable": Case(
        "TRUNCATE and CREATE TRIGGER wait: undone, and not called the same; it does not count until it was cloned",
        lambda _commits: [*work.not_comparable(), *work.inserts(1)],
        comparable=False,
    ),
    "large": Case("a transaction of 50 MiB waits", lambda _commits: work.large()),
    **{
        "died_" + point.replace(":", "_"): Case(
            f"the rewind is killed at {point}, with rows and DDL waiting", _few, point
        )
        for point in (*POINTS, _VERIFY)
    },
    "thousands": Case("thousands of commits wait, each of its own connection", work.inserts),
}


def go(cluster: Cluster, name: str, *, commits: int, mutant: str) -> dict[str, Any]:
    """One round.

    :returns: {checks, facts}; the facts are for the report.
    """
    case = CASES[name]
    stage = Stage(cluster)
    try:
        return _round(stage, case, case.work(commits), mutant)
    finally:
        stage.clean()


def waiting(stage: Stage, wanted: Sequence[Statements]) -> Waiting:
    """These commits wait; then the primary is dead."""
    with stage.clients(wanted) as there:
        stage.cut()
        there.send()
        number, largest = stage.until_all_wait(len(wanted))
        stage.kill()
        told, errors = there.answers(5.0)
    # A connection that ends without an answer is an unknown outcome, as it has to be.
    return Waiting(len(wanted), number, largest, told, tuple(errors))


def _round(stage: Stage, case: Case, wanted: Sequence[Statements], mutant: str) -> dict[str, Any]:
    before = stage.prepare()
    seen = waiting(stage, wanted)
    report = stage.fail_over()
    stage.heal()
    checks = [
        judge.waited(seen.asked, seen.number, seen.told, seen.errors),
        judge.promoted(report["zero_loss"], PROVEN, stage.new),
    ]
    if case.dies and case.dies != _VERIFY:
        status = stage.gate_dies_at(case.dies)
        checks.append(judge.died(case.dies, f"exit status {status}", status == _KILLED))
    if not case.comparable:
        return _not_comparable(stage, seen, before, checks)
    row = _come_back(stage, case, mutant, checks)
    why = stage.until_lossless() if row.get("state") == VERIFIED else f"it is {row.get('state') or 'undecided'}"
    if mutant == ROW_CHANGED:
        change_a_row(stage)
    checks += [
        judge.way(row, VERIFIED),
        judge.archived(row.get("gtids", ""), stage.manifest(row.get("archive", "")), seen.asked),
        judge.kept(stage.kept(), ".cut"),
        judge.registered(why),
        *compared(stage, before),
    ]
    return {"checks": checks, "facts": facts(stage, seen, row)}


def _not_comparable(stage: Stage, seen: Waiting, before: Any, checks: list[judge.Check]) -> dict[str, Any]:
    """It says why it can not be compared, and convergence does not register it; the rows are equal all the same."""
    stage.start()
    stage.until(lambda: _NOT_COMPARED in stage.row().get("detail", ""), DECIDED_WITHIN, "the table says why")
    row = stage.row()
    checks += [
        judge.way(row, TO_BE_CLONED),
        judge.archived(row.get("gtids", ""), stage.manifest(row.get("archive", "")), seen.asked),
        judge.kept(stage.kept(), ".cut"),
        judge.not_counted(stage.acknowledges()),
        *compared(stage, before),
    ]
    known = facts(stage, seen, row)
    status, said, _result = stage.rejoin()
    again = compared(stage, before)
    checks += [
        judge.ended_well(status, said),
        judge.registered(stage.until_lossless()),
        judge.way(stage.row(), VERIFIED, cloned=True),
        *again,
    ]
    # What it was rewound for is over with the clone, at every start from now on.
    stage.restart()
    checks += [judge.registered(stage.until_lossless()), judge.way(stage.row(), VERIFIED, cloned=True)]
    return {"checks": checks, "facts": known}


def _come_back(stage: Stage, case: Case, mutant: str, checks: list[judge.Check]) -> dict[str, str]:
    if mutant == GATE_ABSENT:
        with stage.past_the_gate():
            stage.start()
        stage.hosts.run(stage.old.name, "systemctl", "restart", "--no-block", "lossless-mysql-ha-rejoin")
        return stage.until_decided()
    if case.dies == _VERIFY:
        with stage.afterwards_dies_at(_VERIFY):
            stage.start()
            stage.until(lambda: stage.restarts_afterwards() > 0, 120.0, f"killed at {_VERIFY}")
            state = stage.row().get("state", "")
            checks.append(judge.died(_VERIFY, f"the table says {state or 'nothing'}", state == "pending"))
            # And mysqld with it: the host lost its power.
            stage.kill()
    stage.start()
    return stage.until_decided()


def change_a_row(stage: Stage) -> None:
    """On the server that came back, and no log is told."""
    with clients.cursor(stage.socket(stage.old.name)) as cursor:
        cursor.execute("SET GLOBAL super_read_only = OFF")
        cursor.execute("SET SESSION sql_log_bin = 0")
        cursor.execute(f"UPDATE {work.SCHEMA}.kept SET value = 'mutant' WHERE id = 100")
        cursor.execute("SET GLOBAL super_read_only = ON")


def compared(stage: Stage, before: Any) -> list[judge.Check]:
    """All servers, and the primary with what was there before."""
    found = stage.everybody()
    primary = found[stage.new][0]
    sets = {name: (seen.before, seen.server, seen.after) for name, (_contents, seen) in found.items() if seen}
    return [
        judge.undone(before, primary),
        judge.gtids(sets),
        judge.equal(stage.new, {name: contents for name, (contents, _seen) in found.items()}),
    ]


def facts(stage: Stage, seen: Waiting, row: Mapping[str, str]) -> dict[str, Any]:
    """``back_in``: seconds from the moment mysqld was told to start until the primary's table said how it came back."""
    decided = float(row["at"]) if row.get("at") else None
    return {
        "asked": seen.asked,
        "waited": seen.number,
        "largest": seen.largest,
        "old": stage.old.name,
        "new": stage.new,
        "surplus": row.get("gtids", ""),
        "archive": row.get("archive", ""),
        "state": row.get("state", ""),
        "detail": row.get("detail", ""),
        "back_in": round(decided - stage.started, 2) if decided else None,
        "journal": stage.gate_said(),
        "at": time.time(),
    }
