"""The drill: its cases one after the other, and everything compared in the end; a report at the end, and after each."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import manager
from benchmarks.cluster import Cluster
from benchmarks.machine import Watch
from benchmarks.progress import say
from drills.comeback import report
from drills.comeback.judge import trouble
from drills.comeback.stage import TROUBLE, told
from drills.reconcile import cases, judge, page
from drills.reconcile.cases import CASES, Options
from drills.reconcile.mutants import MUTANTS
from drills.reconcile.stage import Stage
from drills.two_phase.run import RESULTS

NAME = "reconcile"
DESCRIPTION = (
    "Differences planted on a replica behind replication's back while an application writes: all of them found, by"
    " their keys, and nothing else reported"
)
AFTERWARDS = "afterwards"
_AFTERWARDS_SAID = "every table of every schema, with nobody writing: the replicas are what the primary is"


def run(cluster: Cluster, names: Sequence[str], options: Options, mutant: str = "") -> int:
    """:param names: cases; empty: all, or with a mutant the one that has to notice it.
    :returns: an exit status: 0 when everything holds.
    """
    asked = list(names or ([MUTANTS[mutant].case] if mutant else CASES))
    rounds: list[dict[str, Any]] = []
    found: dict[str, Any] = {"checks": [], "verdict": "fail"}
    began_at = time.time()
    version = cluster.primary().version
    say(f"{NAME}: {', '.join(asked)}" + (f"; with the mutant {mutant}: {MUTANTS[mutant].said}" if mutant else ""))
    with manager.kept_out(cluster):
        for name in (*asked, AFTERWARDS):
            if name == AFTERWARDS:
                rounds.append(_one(name, _AFTERWARDS_SAID, functools.partial(_everything, cluster)))
            else:
                go = functools.partial(_case, cluster, name, options, mutant)
                rounds.append(_one(name, CASES[name].said, go))
            told(rounds[-1])
            found = report.document(
                rounds,
                scenario=NAME,
                description=DESCRIPTION,
                asked=asked,
                all_cases=list(CASES),
                titles=judge.TITLES,
                settings={"delay": options.delay, "minutes": options.minutes, "rounds_of_clean": options.rounds},
                mutant=mutant,
                server_version=version,
                began_at=began_at,
                ended_at=time.time(),
            )
            report.write(found, RESULTS, page.render)
    for one in found["checks"]:
        say(f"{'holds ' if one['holds'] else 'BROKEN'} {one['name']}: {one['said'][:400]}")
    say(f"{found['verdict']}; written: {RESULTS / 'report.json'} and report.html")
    return 0 if found["verdict"] == "pass" else 1


def _case(cluster: Cluster, name: str, options: Options, mutant: str) -> dict[str, Any]:
    return cases.go(Stage(cluster, mutant), name, options)


def _everything(cluster: Cluster) -> dict[str, Any]:
    whole = Stage(cluster).truth(())
    facts = {
        "comparisons": 1,
        "compared_in": whole["seconds"],
        "rows": whole["counts"]["rows"],
        "rechecked": whole["counts"]["rechecked"],
        "verdicts": whole["counts"]["by_verdict"],
    }
    return {"checks": [judge.restored(whole)], "facts": facts}


def _one(name: str, said: str, go: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    began = time.monotonic()
    with Watch() as watch:
        try:
            found = go()
        except TROUBLE as error:
            evidence = getattr(error, "evidence", None)
            why = f"{type(error).__name__}: {error}" + (f" {str(evidence)[:2000]}" if evidence else "")
            found = {"checks": [trouble(why)], "facts": {}}
    return {
        "case": name,
        "said": said,
        "seconds": round(time.monotonic() - began, 1),
        "condition": watch.condition.as_dict(),
        **found,
    }
