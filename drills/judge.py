"""What a run showed, judged: the single drill's own functions, and what only the matrix asks. Pure.

Every finding can fail: tests/unit/drills_matrix shows each failing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drills.programs import findings, single
from drills.steps import EITHER, FAIL_OVER, KILLED, MANAGER, NOTHING, REFUSE

Finding = findings.Finding

LEAST_SEEN = 0.8
"""Share of the samples before the first fault in which the primary has to be seen writable: the observer works."""
LIMITS = findings.Limits(acknowledgements=200, samples=25, largest_hole_ms=1500)
"""A refusal can be had within a second: such a run is seen for two or three."""
WAKE_MS = 5000.0
"""How long a deposed primary that woke up, or is reachable again, may still seem writable. It can not acknowledge."""

OUT_OF_REACH_MS = 600_000.0
"""Longer than any run."""


@dataclass(frozen=True)
class Seen:
    """One expectation of the plan, and what came of it. ``promotions``: who promoted for it, and how often."""

    expected: str
    outcome: str
    promotions: int = 0
    said: tuple[str, ...] = ()


RIGHT: Mapping[str, frozenset[str]] = {
    FAIL_OVER: frozenset({FAIL_OVER}),
    REFUSE: frozenset({REFUSE}),
    NOTHING: frozenset({NOTHING, REFUSE}),
    EITHER: frozenset({FAIL_OVER, REFUSE, NOTHING}),
    KILLED: frozenset({KILLED}),
}


def outcomes_as_expected(seen: Sequence[Seen], expected: Sequence[str]) -> Any:
    """Each expectation was awaited and met."""
    name = "outcomes_as_expected"
    if len(seen) < len(expected):
        return Finding(name, None, f"only {len(seen)} of {len(expected)} expected outcomes were awaited")
    wrong = [one for one in seen if one.outcome not in RIGHT[one.expected]]
    told = "; ".join(f"expected {one.expected}, saw {one.outcome} ({'; '.join(one.said)})" for one in wrong or seen)
    return Finding(name, not wrong and bool(seen), told or "nothing was expected")


def promoted_once(seen: Sequence[Seen]) -> Any:
    """However many acted, and however often they were killed: one promotion at most comes of one fault."""
    name = "promoted_once"
    total = sum(one.promotions for one in seen)
    return Finding(name, total <= 1, f"{total} promotions: {'; '.join(text for one in seen for text in one.said)}")


def primary_was_seen(samples: Sequence[Any], primary: str, fault_at: float | None) -> Any:
    """The observer saw the healthy primary writable before the fault: what it does not see later is not there."""
    name = "primary_was_seen"
    before = [sample for sample in samples if fault_at is None or sample.wall < fault_at]
    if not before:
        return Finding(name, None, "there is no sample from before the fault")
    share = sum(primary in sample.writable() for sample in before) / len(before)
    told = f"{primary} was seen writable in {share:.0%} of {len(before)} samples before the fault"
    return Finding(name, share >= LEAST_SEEN or None, told)


def errant_archived(errant: Mapping[str, str], archives: Mapping[str, Mapping[str, Any]]) -> Any:
    """Whatever any server had of its own is in an archive whose manifest names it."""
    name = "errant_archived"
    normal = findings.normal_gtid_set
    missing = [
        f"{server}: {gtids}"
        for server, gtids in errant.items()
        if normal(str(findings.dig(archives.get(server, {}), "manifest", "found"))) != normal(gtids)
    ]
    told = f"not in an archive: {'; '.join(missing)}" if missing else f"archived: {'; '.join(errant) or 'nothing to'}"
    return Finding(name, not missing, told)


def surplus_came_back(wanted: bool, promoted: bool, errant: Mapping[str, str], old: str) -> Any:
    """Where commits waited when the primary went, it comes back with them: otherwise the run showed nothing."""
    name = "surplus_came_back"
    if not wanted or not promoted:
        return Finding(name, True, "not expected in this run")
    return Finding(name, bool(errant.get(old)), f"{old} had {errant.get(old) or 'nothing of its own'}")


def local_clients_lose_nothing(acknowledged: Sequence[int] | None, present: Sequence[int]) -> Any:
    """Clients on the host itself, which no network ends: what they were told is true on the surviving primary.

    :param acknowledged: None when there were none.
    """
    name = "local_clients_lose_nothing"
    if acknowledged is None:
        return Finding(name, True, "there were none")
    lost = sorted(set(acknowledged) - set(present))
    told = f"{len(lost)} of {len(acknowledged)} acknowledged are missing: {', '.join(map(str, lost[:5]))}"
    return Finding(name, not lost, told if lost else f"all {len(acknowledged)} acknowledged are there")


def expectation_of(promoted: bool) -> str:
    """What the single drill's functions are to hold the run against: which outcome was right is judged above."""
    return str(findings.FAILOVER if promoted else findings.REFUSE)


def refused(reasons: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The single drill's ``failover`` where nobody was promoted."""
    return {"refused": True, "zero_loss": "unproven", "reasons": list(reasons)}


def verdict(drill: Any, extra: Sequence[Any]) -> dict[str, Any]:
    """report.json of one run: the single drill's, with the matrix's findings among its conditions."""
    report: dict[str, Any] = single.assemble(drill)
    broken = findings.reasons_to_fail(drill, extra)
    report["conditions"] += [finding.document() for finding in extra]
    report["reasons"] += broken
    report["verdict"] = "fail" if report["reasons"] else "pass"
    return report


def overlap_allowed(driver: str, waits_for_fence: bool, out_of_reach: bool) -> float:
    """ms for which two servers that somebody reaches may be writable: none, but while a woken one is being fenced, and
    where nobody who deposes the old one can tell it. It acknowledges nothing, which is judged as everywhere."""
    if out_of_reach:
        return OUT_OF_REACH_MS
    return WAKE_MS if driver == MANAGER and waits_for_fence else 0.0
