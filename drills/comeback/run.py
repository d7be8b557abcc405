"""One of these drills: its cases one after the other, on the deployed cluster; a report at the end, and after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import manager
from benchmarks.cluster import Cluster
from benchmarks.machine import Watch
from benchmarks.progress import say
from drills.comeback import clone, judge, refused, report, rewind
from drills.comeback.stage import TROUBLE, told
from drills.two_phase.run import RESULTS


@dataclass(frozen=True)
class Drill:
    """``go``: one round (``rewind.go``). ``cases``: what they are, in a sentence, by name. ``mutants``: each has to
    be noticed in the first case."""

    go: Callable[..., dict[str, Any]]
    description: str
    cases: Mapping[str, str]
    mutants: tuple[str, ...] = ()


DRILLS: Mapping[str, Drill] = {
    rewind.NAME: Drill(
        rewind.go, rewind.DESCRIPTION, {name: one.said for name, one in rewind.CASES.items()}, rewind.MUTANTS
    ),
    refused.NAME: Drill(
        refused.go, refused.DESCRIPTION, {name: one.said for name, one in refused.CASES.items()}, refused.MUTANTS
    ),
    clone.NAME: Drill(
        clone.go, clone.DESCRIPTION, {name: one.said for name, one in clone.CASES.items()}, clone.MUTANTS
    ),
}


def run(cluster: Cluster, scenario: str, names: Sequence[str], *, commits: int, mutant: str = "") -> int:
    """:returns: an exit status: 0 when everything holds."""
    drill = DRILLS[scenario]
    asked = list(names or drill.cases)
    rounds: list[dict[str, Any]] = []
    found: dict[str, Any] = {"checks": [], "verdict": "fail"}
    began_at = time.time()
    version = cluster.primary().version
    say(f"{scenario}: {len(asked)} rounds" + (f", with the mutant {mutant}" if mutant else ""))
    with manager.kept_out(cluster):
        for name in asked:
            rounds.append(_one(drill, cluster, name, commits, mutant))
            told(rounds[-1])
            found = report.document(
                rounds,
                scenario=scenario,
                description=drill.description,
                asked=asked,
                all_cases=list(drill.cases),
                settings={"commits": commits},
                mutant=mutant,
                server_version=version,
                began_at=began_at,
                ended_at=time.time(),
            )
            report.write(found, RESULTS)
    for one in found["checks"]:
        say(f"{'holds ' if one['holds'] else 'BROKEN'} {one['name']}: {one['said'][:400]}")
    say(f"{found['verdict']}; written: {RESULTS / 'report.json'} and report.html")
    return 0 if found["verdict"] == "pass" else 1


def _one(drill: Drill, cluster: Cluster, name: str, commits: int, mutant: str) -> dict[str, Any]:
    began = time.monotonic()
    with Watch() as watch:
        try:
            found = drill.go(cluster, name, commits=commits, mutant=mutant)
        except TROUBLE as error:
            evidence = getattr(error, "evidence", None)
            said = f"{type(error).__name__}: {error}" + (f" {str(evidence)[:2000]}" if evidence else "")
            found = {"checks": [judge.trouble(said)], "facts": {}}
    return {
        "case": name,
        "said": drill.cases[name],
        "seconds": round(time.monotonic() - began, 1),
        "condition": watch.condition.as_dict(),
        **found,
    }
