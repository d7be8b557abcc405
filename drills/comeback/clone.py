"""``clone_rejoin``: started past the gate, so its surplus is committed: archived and cloned, whatever breaks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError

from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from drills.comeback import clients, judge, work
from drills.comeback.rewind import PROVEN, ROW_CHANGED, VERIFIED, change_a_row, compared, facts, waiting
from drills.comeback.stage import AFTERWARDS, Stage
from drills.errors import DrillError

NAME = "clone_rejoin"
DESCRIPTION = (
    "The old primary was started past its gate and has committed what nobody acknowledged: what only it has is"
    " archived, and it is cloned by the playbook rejoin. Where the donor dies at half, or its disk fills, that is said,"
    " nothing is reported as done, and a second run ends well"
)
TO_BE_CLONED = "to_be_cloned"
_A_FEW = 20
_MEBIBYTES_A_SECOND = 8
_HALF = 0.5
_HALF_WITHIN = 300.0
_LOOK_EVERY = 0.1
_FILLED = 2
"""Times 50 MiB of acknowledged data, where a clone has to take a while."""

MUTANTS = (ROW_CHANGED,)

_PROGRESS = (
    "SELECT COALESCE(SUM(DATA), 0) AS data, COALESCE(SUM(ESTIMATE), 0) AS estimate"
    " FROM performance_schema.clone_progress WHERE STAGE = 'FILE COPY'"
)
_SOURCE = "SELECT SOURCE AS source, STATE AS state FROM performance_schema.clone_status"


@dataclass(frozen=True)
class Case:
    """``breaks``: what is done at half of the clone; returns what was broken, in words. ``codes``: how it is said."""

    said: str
    breaks: Callable[[Stage, str], str] | None = None
    codes: tuple[str, ...] = ()


def _donor_dies(stage: Stage, donor: str) -> str:
    # systemd starts it again: of one that stays dead the recipient's server itself waits for five minutes.
    stage.hosts.inject(donor, "mysqld_kill")
    return f"mysqld of the donor {donor} was killed"


def _disk_fills(stage: Stage, _donor: str) -> str:
    stage.hosts.inject(stage.old.name, "disk_full")
    return f"the disk of {stage.old.name} is full"


CASES: Mapping[str, Case] = {
    "started": Case("started past the gate: archived and cloned by one run of the playbook"),
    "donor_dies": Case("the donor's mysqld dies at half of the clone", _donor_dies, ("clone_failed", "lock_lost")),
    "disk_fills": Case("the recipient's disk fills at half of the clone", _disk_fills, ("clone_failed",)),
}


def go(cluster: Cluster, name: str, *, commits: int, mutant: str) -> dict[str, Any]:
    """One round; as ``rewind.go``."""
    stage = Stage(cluster)
    try:
        return _round(stage, CASES[name], mutant)
    finally:
        stage.clean()


def _round(stage: Stage, case: Case, mutant: str) -> dict[str, Any]:
    before = stage.prepare(filled=_FILLED if case.breaks else 0)
    seen = waiting(stage, [*work.inserts(_A_FEW), *work.changes()])
    report = stage.fail_over()
    stage.heal()
    with stage.past_the_gate():
        stage.start()
    stage.hosts.run(stage.old.name, "systemctl", "restart", "--no-block", AFTERWARDS)
    row = stage.until_decided()
    surplus = row.get("gtids", "")
    checks = [
        judge.waited(seen.asked, seen.number, seen.told, seen.errors),
        judge.promoted(report["zero_loss"], PROVEN, stage.new),
        judge.way(row, TO_BE_CLONED),
        judge.archived(surplus, stage.manifest(row.get("archive", "")), seen.asked),
    ]
    known = facts(stage, seen, row)
    if case.breaks is not None:
        checks += _broken(stage, case)
    status, said, _result = stage.rejoin()
    checks += [judge.ended_well(status, said), judge.registered(stage.until_lossless())]
    checks.append(judge.way(stage.row(), VERIFIED, cloned=True))
    if mutant == ROW_CHANGED:
        change_a_row(stage)
    return {"checks": [*checks, *compared(stage, before)], "facts": {**known, "journal": stage.gate_said()}}


def _broken(stage: Stage, case: Case) -> list[judge.Check]:
    """The first run, which something breaks. What was broken is whole again afterwards."""
    with clients.cursor(stage.socket(stage.old.name)) as cursor:
        cursor.execute("SET GLOBAL clone_max_data_bandwidth = %s", (_MEBIBYTES_A_SECOND,))
    ended: list[tuple[int, str, dict[str, Any]]] = []
    playbook = threading.Thread(target=lambda: ended.append(stage.rejoin()), daemon=True)
    playbook.start()
    share, donor = _half(stage, playbook)
    broke = case.breaks(stage, donor) if case.breaks else ""
    playbook.join()
    status, said, result = ended[0]
    state = stage.row().get("state", "")
    stage.hosts.heal()
    for member in stage.cluster.access.members:
        stage.until(lambda name=member.name: stage.answers(name), 180.0, f"{member.name} answers")  # type: ignore[misc]
    _writable(stage)
    code, message = str(result.get("code", "")), str(result.get("msg", said[-400:]))
    checks = [judge.broke(broke, share), judge.not_done(status, code, message, case.codes)]
    if state == VERIFIED:
        checks.append(judge.check("not_done", ["the primary's table says verified after a clone that broke"], ""))
    return checks


def _half(stage: Stage, playbook: threading.Thread) -> tuple[float, str]:
    """Until half of the data is copied: the share, and the donor's name."""
    ends = time.monotonic() + _HALF_WITHIN
    while playbook.is_alive() and time.monotonic() < ends:
        with contextlib.suppress(DrillError, OSError), clients.cursor(stage.socket(stage.old.name)) as cursor:
            cursor.execute(_SOURCE)
            row = cursor.fetchone() or {}
            cursor.execute(_PROGRESS)
            seen = cursor.fetchone()
            share = float(seen["data"]) / float(seen["estimate"] or 1)
            if row.get("state") == "In Progress" and share >= _HALF:
                return share, _named(stage, str(row["source"]))
        time.sleep(_LOOK_EVERY)
    raise DrillError("no clone was seen at half")


def _named(stage: Stage, source: str) -> str:
    host = source.rpartition(":")[0]
    return next(str(member.name) for member in stage.cluster.access.members if member.host == host)


def _writable(stage: Stage) -> None:
    """A primary that was the donor, and died, takes writes again once its acknowledgers hold what it has. The returning
    server is not touched by that."""

    def open_again() -> bool:
        observation, _diagnosis = stage.cluster.look()
        state = observation.states.get(stage.new)
        if state is not None and state.writable:
            return True
        with contextlib.suppress(HaError, BenchmarkError):
            stage.cluster.converge(frozenset())
        return False

    stage.until(open_again, 180.0, f"{stage.new} takes writes")
