# SPDX-License-Identifier: BSD-2-Clause
"""What a run found, as its report: see docs/consistency.md for the shape. Pure."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any, Iterable, Mapping, Optional, Sequence

from . import assertions, findings, repair
from .assertion_verdict import Verdict
from .findings import TableResult, worst
from .preflight import ServerFinding


@dataclasses.dataclass(frozen=True)
class Outcome:
    """:param started_at: seconds since the epoch. ``seconds``: that this part took.

    :param finished: nothing is left to do. ``resumed``: it went on with what another run had left.
    :param under_way: what the caller has to hand over to the next part; None where there is none.
    :param line: how far it is, for a person. ``plans``: as ``checkpoint.State`` keeps them.
    :param asserted: as ``asserted`` has them.
    """

    cluster: str
    primary: str
    replicas: Sequence[str]
    modes: Sequence[str]
    started_at: float
    seconds: float
    finished: bool
    resumed: bool
    under_way: Optional[Mapping[str, Any]]
    line: str
    servers: Sequence[ServerFinding]
    results: Sequence[TableResult]
    asserted: Sequence[Mapping[str, Any]]
    plans: Sequence[Mapping[str, Any]]


def of(outcome: Outcome) -> dict[str, Any]:
    results = outcome.results
    verdicts = [*(each.verdict for each in outcome.servers), *(each.verdict for each in results)]
    verdicts += [each["verdict"] for each in outcome.asserted if each["severity"] == assertions.CRITICAL]
    return {
        "cluster": outcome.cluster,
        "primary": outcome.primary,
        "replicas": list(outcome.replicas),
        "modes": list(outcome.modes),
        "verdict": worst(verdicts),
        "started_at": outcome.started_at,
        "seconds": round(outcome.seconds, 3),
        "finished": outcome.finished,
        "under_way": outcome.under_way,
        "progress": {"line": outcome.line},
        "resumed": outcome.resumed,
        "servers": [each.as_result() for each in outcome.servers],
        "tables": [each.as_result() for each in results],
        "assertions": list(outcome.asserted),
        "repair": _plans(outcome.plans),
        "counts": {
            "tables": len({(each.schema, each.table) for each in results}),
            "rows": sum(each.rows for each in results),
            "rechecked": sum(each.rechecked for each in results),
            "differences": sum(each.difference_count for each in results),
            "by_verdict": dict(Counter(each.verdict for each in results)),
        },
    }


def _plans(kept: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One for each table and replica; of what several modes found, a clone before statements, then the most rows."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for each in kept:
        plan = {name: value for name, value in each.items() if name != "mode"}
        known = found.setdefault((each["table"], each["replica"]), plan)
        if _weight(plan) > _weight(known):
            found[each["table"], each["replica"]] = plan
    return list(found.values())


def _weight(plan: Mapping[str, Any]) -> tuple[bool, int]:
    return plan["way"] == repair.CLONE, plan["rows"]


def _sides_of(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """A difference of two results, its rows by column as those of tables are; a name that is there twice is counted."""
    told = dict(evidence)
    for side in ("primary", "replica"):
        row = told.get(side)
        if isinstance(row, str):
            told[side] = {"digest": row}
        elif isinstance(row, list):
            cells: dict[str, Any] = {}
            for place, cell in enumerate(row, 1):
                name, value = (
                    (cell["column"], cell["value"]) if isinstance(cell, Mapping) else (f"column {place}", cell)
                )
                cells[f"{name} ({place})" if name in cells else str(name)] = value
            told[side] = cells
    return told


def asserted(verdict: Verdict) -> dict[str, Any]:
    """As the report has it."""
    return {
        "name": verdict.assertion,
        "expect": verdict.expect,
        "severity": verdict.severity,
        "side": verdict.side,
        "replica": verdict.member,
        "verdict": verdict.verdict,
        "code": "" if verdict.verdict == findings.PASS else f"assertion_{verdict.verdict}",
        "why": verdict.reason,
        "rows_primary": verdict.rows.get("primary"),
        "rows_replica": verdict.rows.get("replica"),
        "difference_count": verdict.count,
        "differences": [_sides_of(each) for each in verdict.evidence],
        "rounds": verdict.rounds,
        "errno": verdict.errno,
    }
