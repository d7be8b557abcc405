"""What the matrix found, as one document: build/drills/report.json, and from it report.html. Pure but for ``write``.

verdict             pass or fail
scenarios           [{name, number, gate, description, expected, outcome, runs, acknowledged, unknown, lost,
                      outage_ms {min, median, max} (null where nobody was promoted), violations (how many runs),
                      evidence [{seed, run, reasons}] of those, limits}]
not_run             [{name, number, description}]
seed, driver, repeat
conditions          of the machine meanwhile (benchmarks/machine.py), and server_version
began_at, ended_at  seconds since the epoch
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import Condition, summary
from drills.page import render
from drills.programs import drill_common
from drills.scenarios import SCENARIOS
from drills.steps import Scenario


def in_words(outcomes: Sequence[str]) -> str:
    """One run's outcomes, in their order."""
    return ", then ".join(outcomes).replace("_", " ") or "none"


def row(scenario: Scenario, results: Sequence[Mapping[str, Any]], driver: str) -> dict[str, Any]:
    """One scenario over all its runs."""
    outcomes = Counter(in_words(found["outcome"]) for found in results)
    broken = [found for found in results if found["violations"]]
    lost = [found["lost"] for found in results if found["lost"] is not None]
    return {
        "name": scenario.name,
        "number": scenario.number,
        "gate": scenario.gate,
        "description": scenario.description,
        "expected": in_words(scenario.expected(driver)),
        "outcome": "; ".join(
            name if count == len(results) else f"{name} ({count})" for name, count in outcomes.most_common()
        ),
        "runs": len(results),
        "acknowledged": sum(found["acknowledged"] or 0 for found in results),
        "unknown": sum(found["unknown"] or 0 for found in results),
        # A run whose rows were not read has lost nobody knows how much: that is a violation, never a 0.
        "lost": sum(lost) if len(lost) == len(results) else None,
        "outage_ms": spread([found["outage_ms"] for found in results]),
        "violations": len(broken),
        "evidence": [
            {"seed": found["seed"], "run": found["directory"], "reasons": found["violations"]} for found in broken
        ],
        "limits": scenario.limits,
    }


def spread(samples: Sequence[float | None]) -> dict[str, float] | None:
    """Of the runs in which somebody was promoted; None when in none."""
    seen = [sample for sample in samples if sample is not None]
    if not seen:
        return None
    return {"min": min(seen), "median": round(statistics.median(seen), 1), "max": max(seen)}


def document(
    results: Sequence[Mapping[str, Any]],
    *,
    seed: int,
    driver: str,
    repeat: int,
    server_version: str,
    began_at: float,
    ended_at: float,
    scenarios: Sequence[Scenario] = SCENARIOS,
) -> dict[str, Any]:
    """The whole report, of runs in any order."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for found in results:
        by_name.setdefault(found["scenario"], []).append(found)
    rows = [row(scenario, by_name[scenario.name], driver) for scenario in scenarios if scenario.name in by_name]
    bad = any(one["violations"] or one["lost"] != 0 for one in rows)
    conditions = [Condition(**found["condition"]) for found in results]
    return {
        "verdict": "fail" if bad or not rows else "pass",
        "scenarios": rows,
        "not_run": [
            {"name": one.name, "number": one.number, "description": one.description}
            for one in scenarios
            if one.name not in by_name
        ],
        "seed": seed,
        "driver": driver,
        "repeat": repeat,
        "conditions": summary(conditions, server_version),
        "began_at": began_at,
        "ended_at": ended_at,
    }


def write(report: Mapping[str, Any], directory: Path) -> None:
    """report.json and report.html, each as a whole."""
    directory.mkdir(parents=True, exist_ok=True)
    drill_common.write_file(str(directory / "report.json"), json.dumps(report, indent=2) + "\n")
    drill_common.write_file(str(directory / "report.html"), render(report))
