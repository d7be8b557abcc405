"""What the rounds came to, as one document: build/drill/report.json, and from it report.html. Pure but for ``write``.

verdict             pass or fail
scenario            two_phase_commit
rounds, asked       done, and asked for
transactions        in the binary log, over all rounds; largest_transaction in bytes
torn_tails          files that ended in the middle of a transaction, and torn_bytes of them
committed_by_recovery, rolled_back_by_recovery
waiting_commits     that no acknowledger had answered when the server was killed
unknown_outcomes    {there, absent}
checks              [{name, holds, said}]: holds is None when it could not be seen
reasons             of what does not hold
instants            [{aim, said, rounds, torn, committed, rolled_back, waiting}]
history             [{number, seed, aim, ..., differences [sentence], seconds {...}}] of each round
seed, mutant, server_version, conditions, began_at, ended_at
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import Condition, summary
from drills.programs import drill_common
from drills.two_phase import aims
from drills.two_phase.page import render

SCENARIO = "two_phase_commit"
DESCRIPTION = (
    "kill -9 under load; after crash recovery the rows of the server equal a replay of its binary log into an empty one"
)
AT_ALL = 6
"""Rounds from which on every aim has to have met what it aims at, or the drill has shown less than it says."""

TITLES = {
    "rows": "Rows, definitions and GTIDs equal the replay",
    "log": "Recovery cuts what is torn off the binary log, all of it, and nothing else",
    "acknowledged": "Nothing that was acknowledged is missing, and nothing is there that was not sent",
    "waiting": "Commits that waited for an acknowledgement are in the binary log and are committed",
    "indexes": "Every index agrees with its table",
    "stages": "The instants met what they were aimed at",
    "rounds": "Every round that was asked for was done, under load",
}


def document(
    history: Sequence[Mapping[str, Any]],
    *,
    asked: int,
    seed: int,
    mutant: str,
    server_version: str,
    index_trouble: Sequence[str] | None,
    began_at: float,
    ended_at: float,
) -> dict[str, Any]:
    """The whole report. ``index_trouble``: what CHECK TABLE found, None when it was not asked."""
    checks = _checks(history, asked, index_trouble)
    return {
        "scenario": SCENARIO,
        "description": DESCRIPTION,
        "rounds": len(history),
        "asked": asked,
        "transactions": _sum(history, "transactions"),
        "largest_transaction": max((one["largest"] for one in history), default=0),
        "torn_tails": sum(one["torn"] > 0 for one in history),
        "torn_bytes": _sum(history, "torn"),
        "committed_by_recovery": _sum(history, "committed"),
        "rolled_back_by_recovery": _sum(history, "rolled_back"),
        "waiting_commits": sum(len(one["waiting"]) for one in history),
        "unknown_outcomes": {"there": _sum(history, "there"), "absent": _sum(history, "absent")},
        "checks": checks,
        "reasons": [f"{one['name']}: {one['said']}" for one in checks if one["holds"] is not True],
        "instants": [_instants(history, aim) for aim in aims.SAID],
        "history": [dict(one) for one in history],
        "seed": seed,
        "mutant": mutant,
        "server_version": server_version,
        "conditions": summary([Condition(**one["condition"]) for one in history], server_version),
        "began_at": began_at,
        "ended_at": ended_at,
        "verdict": "pass" if checks and all(one["holds"] is True for one in checks) else "fail",
    }


def _sum(history: Sequence[Mapping[str, Any]], key: str) -> int:
    return sum(int(one[key]) for one in history)


def _instants(history: Sequence[Mapping[str, Any]], aim: str) -> dict[str, Any]:
    of = [one for one in history if one["aim"] == aim]
    return {
        "aim": aim,
        "said": aims.SAID[aim],
        "rounds": len(of),
        "torn": sum(one["torn"] > 0 for one in of),
        "committed": _sum(of, "committed"),
        "rolled_back": _sum(of, "rolled_back"),
        "waiting": sum(len(one["waiting"]) for one in of),
        "transactions": _sum(of, "transactions"),
    }


# --- judging ---------------------------------------------------------------------------------------------------------
def _checks(
    history: Sequence[Mapping[str, Any]], asked: int, index_trouble: Sequence[str] | None
) -> list[dict[str, Any]]:
    compared = sum(one["transactions"] for one in history)
    waited = sum(len(one["waiting"]) for one in history)
    return [
        _check("rows", _of(history, "differences"), f"{compared} transactions of {len(history)} rounds", bool(history)),
        _check("log", _of(history, "left_wrong"), f"{len(history)} recoveries", bool(history)),
        _check("acknowledged", _of(history, "beyond"), f"{len(history)} times all clients", bool(history)),
        _check("waiting", _of(history, "released"), f"{waited} commits waited", _saw_waiting(history)),
        _check("indexes", index_trouble or [], "CHECK TABLE of every table", index_trouble is not None),
        _check("stages", _missed(history), "each of them, at least once", bool(history)),
        _check("rounds", _too_few(history, asked), f"{asked} of {asked}", True),
    ]


def _check(name: str, wrong: Sequence[str], said: str, seen: bool) -> dict[str, Any]:
    """``seen``: whether there was anything to be looked at."""
    if wrong:
        return {"name": name, "holds": False, "said": "; ".join(wrong)}
    return {"name": name, "holds": True if seen else None, "said": said if seen else "there was nothing to look at"}


def _of(history: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    return [f"round {one['number']} (seed {one['seed']}): {said}" for one in history for said in one[key]]


def _saw_waiting(history: Sequence[Mapping[str, Any]]) -> bool:
    """Of few rounds none need be aimed at that."""
    return any(one["waiting"] for one in history) or all(one["aim"] != aims.NO_ACKNOWLEDGER for one in history)


def _missed(history: Sequence[Mapping[str, Any]]) -> list[str]:
    if len(history) < AT_ALL:
        return []
    found = {one["aim"]: one for one in (_instants(history, aim) for aim in aims.SAID)}
    wrong = [f"no round was aimed at {aim}" for aim, one in found.items() if not one["rounds"]]
    if found[aims.WRITING]["rounds"] and not found[aims.WRITING]["torn"]:
        wrong.append("no binary log was torn while it was written")
    if found[aims.NO_ACKNOWLEDGER]["rounds"] and not found[aims.NO_ACKNOWLEDGER]["waiting"]:
        wrong.append("no commit waited for an acknowledgement")
    return wrong


def _too_few(history: Sequence[Mapping[str, Any]], asked: int) -> list[str]:
    wrong = [] if len(history) == asked else [f"{len(history)} of {asked} rounds were done"]
    return wrong + [f"round {one['number']}: no transaction" for one in history if not one["transactions"]]


def write(report: Mapping[str, Any], directory: Path) -> None:
    """report.json and report.html, each as a whole."""
    directory.mkdir(parents=True, exist_ok=True)
    drill_common.write_file(str(directory / "report.json"), json.dumps(report, indent=2) + "\n")
    drill_common.write_file(str(directory / "report.html"), render(report, TITLES))
