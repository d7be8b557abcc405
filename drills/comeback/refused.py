"""``rewind_refused``: what forbids a rewind is seen; nothing that a client may have been told OK for goes by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.proof import UNPROVEN

from benchmarks.cluster import Cluster
from drills.comeback import clients, judge, work
from drills.comeback.clients import Statements
from drills.comeback.rewind import PROVEN, VERIFIED, change_a_row, compared, facts, waiting
from drills.comeback.stage import Stage, Waiting

NAME = "rewind_refused"
DESCRIPTION = (
    "What forbids a rewind: the gate keeps the end of the log and lets the server start, harmless; mysql_rejoin"
    " archives what only it has, names what a client may have been told OK for, and clones it only when that was given"
    " up"
)
TO_BE_CLONED = "to_be_cloned"
_A_FEW = 20
_HEARD = 30.0
"""Seconds in which the testimony that semi-sync is off has to reach the replicas."""
_BY = "the drill rewind_refused"

GIVEN_UP_AT_ONCE, ROW_CHANGED = "given_up_at_once", "row_changed"
MUTANTS = (GIVEN_UP_AT_ONCE, ROW_CHANGED)


@dataclass(frozen=True)
class Case:
    """``gate``: why it does not rewind. ``degraded``: semi-sync is off, so all are told OK. ``started``: mysqld has
    been started before, past the gate. ``before`` runs when nothing is wrong yet, ``after`` on the new primary before
    the old one is cloned."""

    said: str
    gate: Sequence[str]
    work: Callable[[], Sequence[Statements]]
    degraded: bool = False
    started: bool = False
    before: Sequence[str] = ()
    after: Sequence[str] = ()


CASES: Mapping[str, Case] = {
    "degraded": Case(
        "semi-sync was switched off before it died: clients were told OK for what nobody else has; accepted",
        ("promotion_not_proven", "semi_sync_degraded"),
        lambda: work.inserts(_A_FEW),
        degraded=True,
    ),
    "earlier_file": Case(
        "mysqld was started once without the gate, and killed again: the surplus is committed, in an earlier file",
        ("surplus_in_earlier_file",),
        lambda: work.inserts(_A_FEW),
        started=True,
    ),
    "distributed": Case(
        "an XA transaction is prepared among what waits: crash recovery does not undo it",
        ("not_only_prepared",),
        lambda: [*work.inserts(5), *work.distributed()],
    ),
    "not_transactional": Case(
        "a row of MyISAM is among what waits: it is there already, and crash recovery does not take it away",
        ("not_only_prepared",),
        lambda: [*work.inserts(5), *work.not_transactional()],
        before=work.flat_table(),
        after=work.no_flat_table(),
    ),
}


def go(cluster: Cluster, name: str, *, commits: int, mutant: str) -> dict[str, Any]:
    """One round; as ``rewind.go``."""
    case = CASES[name]
    stage = Stage(cluster)
    try:
        return _round(stage, case, mutant)
    finally:
        stage.clean()


def _round(stage: Stage, case: Case, mutant: str) -> dict[str, Any]:
    before = stage.prepare()
    stage.write(stage.old.name, [*work.no_flat_table(), *case.before])
    wanted = case.work()
    checks = []
    if case.degraded:
        seen = _told(stage, wanted)
        codes = stage.refusal()
        checks += [
            judge.told_all(seen.asked, seen.told),
            judge.refused(codes, ("semi_sync_was_off",)),
        ]
        report = stage.fail_over(accept=_BY)
    else:
        seen = waiting(stage, wanted)
        checks.append(judge.waited(seen.asked, seen.number, seen.told, seen.errors))
        report = stage.fail_over()
    checks.append(judge.promoted(report["zero_loss"], UNPROVEN if case.degraded else PROVEN, stage.new))
    stage.heal()
    if case.started:
        with stage.past_the_gate():
            stage.start()
            stage.until(lambda: stage.answers(stage.old.name), 120.0, f"{stage.old.name} answers")
            stage.kill()
    stage.start()
    row = stage.until_decided()
    surplus = row.get("gtids", "")
    checks += [
        judge.refused(said_by_the_gate(stage.gate_said()), case.gate),
        judge.kept(stage.kept(), ".kept"),
        judge.way(row, TO_BE_CLONED),
        judge.harmless(*harmless(stage)),
        judge.archived(surplus, stage.manifest(row.get("archive", "")), seen.asked),
    ]
    known = facts(stage, seen, row)
    _let_go_of_locks(stage)
    stage.write(stage.new, case.after)
    checks += _cloned(stage, case, surplus, mutant)
    if mutant == ROW_CHANGED:
        change_a_row(stage)
    return {"checks": [*checks, *compared(stage, before)], "facts": {**known, "journal": stage.gate_said()}}


def _told(stage: Stage, wanted: Sequence[Statements]) -> Waiting:
    """Semi-sync is off, the replicas know, and then they are cut off; the primary says OK, and dies."""
    stage.hosts.inject(stage.old.name, "semi_sync_off")
    stage.until(lambda: _testified(stage), _HEARD, "the replicas hear that semi-sync is off")
    with stage.clients(wanted) as there:
        stage.cut()
        there.send()
        told, errors = there.answers(60.0)
        stage.kill()
    return Waiting(len(wanted), told, 0, told, tuple(errors))


def _testified(stage: Stage) -> bool:
    ask = f"SELECT source_active FROM lossless_ha.heartbeat WHERE server_uuid = '{stage.old.server_uuid}'"
    replicas = [member.name for member in stage.cluster.access.members if member.name != stage.old.name]
    return all(stage.hosts.run(name, "mysql", "-N", "-B", "-e", ask).strip() == "0" for name in replicas)


def _let_go_of_locks(stage: Stage) -> None:
    """What a person has to do (docs/rejoin.md): a prepared XA transaction holds its tables, and a clone drops them."""
    with clients.cursor(stage.socket(stage.old.name)) as cursor:
        cursor.execute("XA RECOVER CONVERT XID")
        found = [str(row["data"]) for row in cursor.fetchall()]
        if not found:
            return
        cursor.execute("SET GLOBAL super_read_only = OFF")
        cursor.execute("SET SESSION sql_log_bin = 0")
        for xid in found:
            cursor.execute(f"XA ROLLBACK {xid}")
        cursor.execute("SET GLOBAL super_read_only = ON")


def _cloned(stage: Stage, case: Case, surplus: str, mutant: str) -> list[judge.Check]:
    checks = []
    if case.degraded:
        _status, _said, result = stage.rejoin(surplus if mutant == GIVEN_UP_AT_ONCE else "")
        named = str((result.get("evidence") or {}).get("gtids", ""))
        code = str(result.get("code", ""))
        checks.append(judge.refused({code} - {""}, ("may_be_acknowledged",), surplus, named))
    status, said, _result = stage.rejoin(surplus if case.degraded else "")
    why = stage.until_lossless()
    checks.append(judge.ended_well(status, said))
    checks.append(judge.way(stage.row(), VERIFIED, cloned=True))
    checks.append(judge.registered(why))
    return checks


def harmless(stage: Stage) -> tuple[bool, str]:
    """Whether it is read-only, and whom it follows."""
    with clients.cursor(stage.socket(stage.old.name)) as cursor:
        cursor.execute("SELECT @@GLOBAL.super_read_only AS closed")
        closed = bool(cursor.fetchone()["closed"])
        cursor.execute(
            "SELECT c.HOST AS host FROM performance_schema.replication_connection_configuration c"
            " JOIN performance_schema.replication_connection_status s USING (CHANNEL_NAME) WHERE s.SERVICE_STATE = 'ON'"
        )
        return closed, ", ".join(str(row["host"]) for row in cursor.fetchall())


def said_by_the_gate(lines: Sequence[str]) -> tuple[str, ...]:
    """The codes of its reasons. Pure."""
    mark = "restart gate: not rewound, "
    return tuple(line.partition(mark)[2].partition(":")[0] for line in lines if mark in line)
