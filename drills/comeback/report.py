"""What the rounds came to: build/drill/report.json, and from it report.html. Pure but for ``write``.

verdict             pass or fail
scenario            rewind, rewind_refused, clone_rejoin or reconcile; description
rounds              [{case, said, seconds, checks [{name, holds, said}], facts {...}, condition}]
checks              [{name, title, holds, said}] over all rounds: False when one is broken, None when one saw nothing
reasons             of what does not hold
not_run             cases that were not asked for
mutant, server_version, conditions, began_at, ended_at; and what else the drill was told (commits)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import Condition, summary
from drills.comeback import judge
from drills.comeback.page import render
from drills.programs import drill_common


def document(
    rounds: Sequence[Mapping[str, Any]],
    *,
    scenario: str,
    description: str,
    asked: Sequence[str],
    all_cases: Sequence[str],
    settings: Mapping[str, Any],
    mutant: str,
    server_version: str,
    began_at: float,
    ended_at: float,
    titles: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The whole report.

    :param settings: whatever else the drill was told.
    :param titles: of the checks, in the order in which they are shown; by default those of the way back.
    """
    broken = [
        f"{one['case']}, {found['name']}: {found['said']}"
        for one in rounds
        for found in one["checks"]
        if found["holds"] is not True
    ]
    missing = [name for name in asked if name not in {one["case"] for one in rounds}]
    broken += [f"{name} was not carried out" for name in missing]
    return {
        "scenario": scenario,
        "description": description,
        "verdict": "pass" if rounds and not broken else "fail",
        "rounds": [dict(one) for one in rounds],
        "checks": _over_all(rounds, titles or judge.TITLES),
        "reasons": broken or ([] if rounds else ["nothing was carried out"]),
        "not_run": [name for name in all_cases if name not in asked],
        **settings,
        "mutant": mutant,
        "server_version": server_version,
        "conditions": summary([Condition(**one["condition"]) for one in rounds], server_version),
        "began_at": began_at,
        "ended_at": ended_at,
    }


def _over_all(rounds: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> list[dict[str, Any]]:
    found = []
    for name, title in titles.items():
        of = [(one["case"], each) for one in rounds for each in one["checks"] if each["name"] == name]
        if not of:
            continue
        wrong = [(case, each) for case, each in of if each["holds"] is not True]
        holds = True if not wrong else False if any(each["holds"] is False for _case, each in wrong) else None
        said = (
            "; ".join(f"{case}: {each['said']}" for case, each in wrong)
            or f"in {len({case for case, _each in of})} rounds"
        )
        found.append({"name": name, "title": title, "holds": holds, "said": said})
    return found


def write(report: Mapping[str, Any], directory: Path, shown: Callable[[Mapping[str, Any]], str] = render) -> None:
    """report.json and report.html, each as a whole."""
    directory.mkdir(parents=True, exist_ok=True)
    drill_common.write_file(str(directory / "report.json"), json.dumps(report, indent=2, default=str) + "\n")
    drill_common.write_file(str(directory / "report.html"), shown(report))
