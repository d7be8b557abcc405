# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill showed: the invariants of the design and the other conditions of a pass, one pure function each.

Every function takes the whole `Drill` and returns one `Finding`: true, false, or null where nothing was observed that
could say. None raises; an input that is absent or of another shape is an observation that was not made.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Callable

from drill_common import moment

FAILOVER, REFUSE, UNPROVEN = EXPECTATIONS = ("failover", "refuse", "unproven")
CLAIMS = ("registered", "frozen", "kept", "testified", "contains", "applied")
"""What a proof consists of; take the evidence of any one away and nothing is proven."""


@dataclass(frozen=True)
class Finding:
    """An answer to one question. `holds` is None when it was not observed; `evidence` is one sentence with values."""

    name: str
    holds: bool | None
    evidence: str

    def document(self) -> dict[str, Any]:
        return {"name": self.name, "holds": self.holds, "evidence": self.evidence}


@dataclass(frozen=True)
class Limits:
    """From which amount of observation on a check counts as made."""

    acknowledgements: int = 1000
    samples: int = 50
    largest_hole_ms: float = 1000
    writable_overlap_ms: float = 0


@dataclass(frozen=True)
class Sample:
    """One sample of the observer. Seconds; hosts and holders by name and MAC."""

    monotonic: float
    wall: float
    hosts: dict[str, dict[str, Any]]
    addresses: dict[str, tuple[str, ...]]

    def writable(self) -> list[str]:
        return sorted(name for name, host in self.hosts.items() if host.get("reachable") and host.get("writable"))


@dataclass(frozen=True)
class Drill:
    """Everything that was seen, and what counts as enough. Parts that were not delivered are empty."""

    document: dict[str, Any]
    checker: dict[str, Any] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    limits: Limits = Limits()

    @property
    def expectation(self) -> str | None:
        return self.document.get("expectation")

    @property
    def failover(self) -> dict[str, Any]:
        return self.document.get("failover") or {}

    @property
    def rejoin(self) -> dict[str, Any]:
        return self.document.get("rejoin") or {}

    @property
    def promoted(self) -> bool:
        return bool(self.failover.get("new_primary") or self.failover.get("new_primary_uuid"))

    @property
    def fault_at(self) -> float | None:
        return moment(dig(self.document, "fault", "at"))

    @property
    def promoted_at(self) -> float | None:
        return moment(self.failover.get("promoted_at"))

    @property
    def override_by(self) -> str | None:
        """The person who ordered a promotion that could not be proven."""
        return self.failover.get("override_by") or self.failover.get("accepted_by")

    @property
    def acknowledged(self) -> int:
        return int(dig(self.checker, "counts", "acknowledged") or 0)

    @property
    def primary(self) -> dict[str, Any]:
        """The checker's entry for the surviving primary."""
        return next((entry for entry in self.servers if entry.get("role") == "primary"), {})

    @property
    def servers(self) -> list[dict[str, Any]]:
        return self.checker.get("servers") or []

    @property
    def lost(self) -> int | None:
        return count_of(self.primary, "lost")


def dig(document: Any, *path: str) -> Any:
    """The value at a path of keys; None as soon as one is absent."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def clock(wall: float) -> str:
    """Unix time as a person reads it, in UTC."""
    return time.strftime("%H:%M:%S", time.gmtime(wall)) + f".{int(wall * 1000) % 1000:03d} UTC"


def count_of(entry: dict[str, Any], name: str) -> int | None:
    """The count of one of the checker's lists; None when it was not made."""
    count = dig(entry, name, "count")
    return None if count is None else int(count)


def sentences(reasons: Any) -> list[str]:
    """Reasons as sentences, whether they came as text or as {"code", "message"}."""
    return [
        ": ".join(str(reason[key]) for key in ("code", "message") if reason.get(key)) or str(reason)
        if isinstance(reason, dict)
        else str(reason)
        for reason in reasons or []
    ]


# --- the invariants, one function each ------------------------------------------------------------------------


def no_acknowledged_transaction_lost(drill: Drill) -> Finding:
    """1. No acknowledged transaction is missing on the surviving primary."""
    name = "no_acknowledged_transaction_lost"
    if drill.lost is None:
        return Finding(name, None, "the surviving primary's rows were not read")
    server = f"{drill.primary.get('name')} ({drill.primary.get('server_uuid')})"
    if drill.lost:
        first = ", ".join(str(identifier) for identifier in (dig(drill.primary, "lost", "ids") or [])[:5])
        return Finding(
            name, False, f"{drill.lost} of {drill.acknowledged} acknowledged are missing on {server}: {first}"
        )
    if drill.acknowledged < drill.limits.acknowledgements:
        return Finding(name, None, f"only {drill.acknowledged} transactions were acknowledged")
    return Finding(
        name,
        True,
        f"all {drill.acknowledged} acknowledged transactions are among {drill.primary.get('rows')} rows of {server}",
    )


def deposed_primary_never_acknowledges(drill: Drill) -> Finding:
    """2. A deposed primary never acknowledges another commit."""
    name = "deposed_primary_never_acknowledges"
    seen = drill.checker.get("deposed") or {}
    if not drill.promoted:
        return _nothing_promoted(drill, name, "so nobody was deposed")
    started, late = count_of(seen, "started_after_new_primary"), count_of(seen, "acknowledged_after_promotion")
    if started or late:
        return Finding(
            name,
            False,
            f"{seen.get('old_primary_uuid')} acknowledged {started or 0} commits begun after the new primary's "
            f"first acknowledgement, and {late or 0} after the promotion",
        )
    if started is None or late is None or not seen.get("acknowledged"):
        return Finding(
            name, None, "acknowledgements of both primaries, and the time of the promotion, were not all seen"
        )
    return Finding(
        name,
        True,
        f"{seen.get('old_primary_uuid')} acknowledged {seen['acknowledged']} commits, none of them begun after the "
        "new primary's first acknowledgement and none after the promotion",
    )


def at_most_one_reachable_writable(drill: Drill) -> Finding:
    """3. At most one reachable server is writable. One sample with two is enough to break it."""
    name = "at_most_one_reachable_writable"
    spans = spans_of(drill.samples, lambda sample: len(sample.writable()) > 1)
    if spans and max(spans) > drill.limits.writable_overlap_ms:
        both = next(sample for sample in drill.samples if len(sample.writable()) > 1)
        return Finding(
            name,
            False,
            f"{' and '.join(both.writable())} were writable at once, first at {clock(both.wall)}, "
            f"for up to {max(spans):.0f} ms",
        )
    gap = unwatched(drill)
    if gap is not None:
        return Finding(name, None, gap)
    if not any(sample.writable() for sample in drill.samples):
        return Finding(name, None, "no server was ever seen writable")
    return Finding(
        name, True, f"never more than one in {len(drill.samples)} samples of {len(drill.samples[0].hosts)} servers"
    )


def errant_found_archived_named(drill: Drill) -> Finding:
    """4. What only the old primary has is found, archived, named and removed: never kept or dropped silently."""
    name = "errant_found_archived_named"
    kept = [
        f"{entry['name']} ({entry['not_on_primary']['count']} rows)"
        for entry in drill.servers
        if count_of(entry, "not_on_primary")
    ]
    if kept:
        return Finding(name, False, "rows that the primary does not have are still on " + ", ".join(kept))
    if not drill.promoted:
        return _nothing_promoted(drill, name, "so nothing can be errant")
    errant = gtid_text(drill.rejoin.get("errant"))
    if errant is None:
        return Finding(name, None, "the old primary was not brought back, so what only it has was not looked for")
    if not errant:
        return Finding(name, True, "the old primary had no transaction of its own")
    archive = drill.rejoin.get("archive") or {}
    if not archive.get("path") or not archive.get("manifest"):
        return Finding(name, False, f"{errant} was found but not archived")
    named = gtid_text(dig(archive, "manifest", "found"))
    if named is None or normal_gtid_set(named) != normal_gtid_set(errant):
        return Finding(name, False, f"{errant} was found, the archive's manifest names {named or 'nothing'}")
    return Finding(name, True, f"{errant} is archived in {archive['path']} and named by its manifest")


def one_holder_of_the_address(drill: Drill) -> Finding:
    """5. Two hosts never hold an address beyond the stated bound. A span counts to the samples around it."""
    name = "one_holder_of_the_address"
    bound = drill.document.get("address_lease_ms")
    addresses = sorted({address for sample in drill.samples for address in sample.addresses})
    if bound is None or not addresses:
        return Finding(name, None, "no address was observed" if bound is not None else "no bound is stated")
    longest, told = 0.0, []
    for address in addresses:
        worst = max(spans_of(drill.samples, _two_hold(address)), default=0.0)
        if worst > float(bound):
            return Finding(name, False, f"{address} had two holders for up to {worst:.0f} ms; the bound is {bound} ms")
        longest = max(longest, worst)
        told.append(f"{address}: {' then '.join(holders_of(drill.samples, address)) or 'nobody'}")
    gap = unwatched(drill) or _unheld(drill, addresses)
    if gap is not None:
        return Finding(name, None, gap)
    return Finding(name, True, f"{'; '.join(told)}; two holders for {longest:.0f} ms at most, the bound is {bound} ms")


def nothing_promoted_unproven(drill: Drill) -> Finding:
    """6. When a promise cannot be proven, nothing is promoted; a person may override, by name, and that is said."""
    name = "nothing_promoted_unproven"
    result = drill.failover
    if not result:
        return Finding(name, None, "the failover's result is missing")
    if not drill.promoted:
        return _nothing_promoted(drill, name, "because: " + "; ".join(sentences(result.get("reasons"))))
    if result.get("zero_loss") == "proven":
        return _proof_is_whole(name, result)
    if result.get("zero_loss") == UNPROVEN and drill.override_by:
        return Finding(name, True, f"promoted unproven by order of {drill.override_by}, and the result says so")
    return Finding(name, False, f"promoted with zero_loss={result.get('zero_loss')} and no order of a person")


def _proof_is_whole(name: str, result: dict[str, Any]) -> Finding:
    """A promotion that was called proven has to bring its proof. A planned one rests on the old primary's own word."""
    proof, planned = result.get("proof") or {}, result.get("mode") == "planned"
    holes = holes_in_planned_proof(proof, result) if planned else holes_in_proof(proof)
    if holes:
        return Finding(name, False, "promoted as proven, but the proof lacks: " + "; ".join(holes))
    held = (
        "the old primary, read-only, said what it has"
        if planned
        else (f"{size(proof['frozen'])} frozen of {proof['required']} required")
    )
    told = f"promoted with a whole proof: n={proof['n']}, k={proof['k']}, {held}, {len(proof['evidence'])} facts"
    return Finding(name, True, told)


INVARIANTS: tuple[Callable[[Drill], Finding], ...] = (
    no_acknowledged_transaction_lost,
    deposed_primary_never_acknowledges,
    at_most_one_reachable_writable,
    errant_found_archived_named,
    one_holder_of_the_address,
    nothing_promoted_unproven,
)


def _nothing_promoted(drill: Drill, name: str, consequence: str) -> Finding:
    """Nothing was promoted: that too has to be seen, in the result and in who acknowledged."""
    if not drill.failover.get("refused") or not sentences(drill.failover.get("reasons")):
        return Finding(name, None, "neither a promotion nor a refusal with its reasons was reported")
    acknowledgers = sorted(drill.checker.get("acknowledged_by_server") or {})
    if len(acknowledgers) != 1:
        seen = ", ".join(acknowledgers) or "nobody"
        return Finding(name, False if acknowledgers else None, f"nothing was promoted, yet {seen} acknowledged writes")
    return Finding(name, True, f"nothing was promoted, {consequence}")


def _two_hold(address: str) -> Callable[[Sample], bool]:
    return lambda sample: len(sample.addresses.get(address, ())) > 1


def _unheld(drill: Drill, addresses: list[str]) -> str | None:
    """What is missing to say who held the addresses before the fault and, if somebody was promoted, at the end."""
    fault, taken = drill.fault_at, drill.promoted_at
    for address in addresses:
        if not any(sample.addresses.get(address) for sample in drill.samples if fault is None or sample.wall <= fault):
            return f"nobody answered for {address} before the fault"
        if drill.promoted and not any(
            sample.addresses.get(address) for sample in drill.samples if taken is not None and sample.wall > taken
        ):
            return f"nobody was seen to answer for {address} after the promotion"
    return None


def unwatched(drill: Drill) -> str | None:
    """Why the observer's samples are not enough to say that something never happened; None when they are."""
    samples, limits = drill.samples, drill.limits
    if len(samples) < limits.samples:
        return f"the observer took {len(samples)} samples, {limits.samples} are needed"
    hole = max(((b.monotonic - a.monotonic) * 1000 for a, b in zip(samples, samples[1:])), default=0.0)
    if hole > limits.largest_hole_ms:
        return f"the observer saw nothing for {hole:.0f} ms"
    for mark in (drill.fault_at, drill.promoted_at, moment(dig(drill.checker, "outage", "first_after", "wall"))):
        if mark is not None and not samples[0].wall < mark < samples[-1].wall:
            return "the observer did not watch from before the fault until after the promotion"
    return None


def spans_of(samples: Iterable[Sample], holds: Callable[[Sample], bool]) -> list[float]:
    """How long (ms) each unbroken run of samples for which `holds` is true can have lasted at most.

    It may have begun right after the sample before the run and ended right before the one after it.
    """
    spans: list[float] = []
    begun: float | None = None
    before: Sample | None = None
    for sample in samples:
        if holds(sample):
            begun = begun if begun is not None else (before or sample).monotonic
        elif begun is not None:
            spans.append((sample.monotonic - begun) * 1000)
            begun = None
        before = sample
    if begun is not None and before is not None:
        spans.append(max((before.monotonic - begun) * 1000, 1.0))
    return spans


def holders_of(samples: Iterable[Sample], address: str) -> list[str]:
    """The holders of an address in the order in which they appeared; two at once are joined by +."""
    holders: list[str] = []
    for sample in samples:
        answer = "+".join(sample.addresses.get(address, ()))
        if answer and (not holders or holders[-1] != answer):
            holders.append(answer)
    return holders


def holes_in_proof(proof: dict[str, Any]) -> list[str]:
    """What a proof lacks to be one: its arithmetic is done again here, and every fact has to name its evidence."""
    n, k, needed = proof.get("n"), proof.get("k"), proof.get("required")
    holes = _absent(proof, ("n", "k", "frozen", "required", "testimony", "evidence"))
    if isinstance(n, int) and isinstance(k, int) and needed != max(n - k + 1, 1):
        holes.append(f"required has to be {max(n - k + 1, 1)}, not {needed}")
    if isinstance(needed, int) and size(proof.get("frozen")) < needed:
        holes.append(f"{size(proof.get('frozen'))} are frozen, {needed} are required")
    testimony = proof.get("testimony")
    if isinstance(testimony, dict) and testimony.get("holds") is not True:
        holes.append("the testimony does not hold")
    held = {fact.get("server_uuid") for fact in facts_of(proof, "frozen")}
    if isinstance(needed, int) and len(held) < needed:
        holes.append(f"evidence that {needed} servers were frozen, there is some for {len(held)}")
    return holes + _holes_in_facts(proof, CLAIMS)


def holes_in_planned_proof(proof: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """What the proof of a planned change lacks: all that the old primary executed, executed by the new one as well.

    The old primary lives and is read-only, so its own word is the whole truth and nobody has to be frozen.
    """
    holes = _absent(proof, ("n", "k", "evidence")) + _holes_in_facts(proof, ("contains", "applied"))
    had = _told(proof, "contains", result.get("old_primary_uuid"), "executed_by_old_primary")
    has = _told(proof, "applied", result.get("new_primary_uuid"), "executed")
    if had is None or has is None:
        return [*holes, "what the old primary and the new one executed"]
    return holes if contained(normal_gtid_set(had), normal_gtid_set(has)) else [*holes, f"{had} is not within {has}"]


def facts_of(proof: dict[str, Any], claim: str) -> list[dict[str, Any]]:
    """The facts of a proof that speak for one claim."""
    return [fact for fact in proof.get("evidence") or [] if isinstance(fact, dict) and fact.get("claim") == claim]


def _absent(proof: dict[str, Any], keys: Iterable[str]) -> list[str]:
    return [key for key in keys if proof.get(key) in (None, [], {})]


def _holes_in_facts(proof: dict[str, Any], claims: Iterable[str]) -> list[str]:
    """Claims without a fact, facts without server, value or time, and what the proof itself says it misses."""
    holes = [f"evidence for {claim}" for claim in claims if not facts_of(proof, claim)]
    for fact in proof.get("evidence") or []:
        if not dig(fact, "server_uuid") or dig(fact, "value") is None or not (dig(fact, "at") or dig(fact, "time")):
            holes.append(f"server, value or time of the evidence for {dig(fact, 'claim')}")
    return holes + [str(dig(item, "message") or item) for item in proof.get("missing") or []]


def _told(proof: dict[str, Any], claim: str, server_uuid: Any, key: str) -> str | None:
    """What one server said for a claim; None when it did not."""
    values = [dig(fact, "value", key) for fact in facts_of(proof, claim) if fact.get("server_uuid") == server_uuid]
    return next((str(value) for value in values if value is not None), None)


def size(frozen: Any) -> int:
    """How many are frozen, given as a number or as a list of names."""
    return frozen if isinstance(frozen, int) else len(frozen or ())


def normal_gtid_set(text: str) -> dict[str, list[tuple[int, int]]]:
    """{"uuid" or "uuid:tag": merged intervals}: two texts of one GTID set give the same. Raises nothing: what is no
    interval becomes part of a key, and then equals only its own text."""
    intervals: dict[str, list[tuple[int, int]]] = {}
    for part in re.sub(r"\s", "", text).lower().split(","):
        key, tag = "", ""
        for piece in part.split(":"):
            numbers = re.fullmatch(r"(\d+)(?:-(\d+))?", piece)
            if not key:
                key = piece
            elif numbers is None:
                tag = ":" + piece
            else:
                span = (int(numbers[1]), int(numbers[2] or numbers[1]))
                intervals.setdefault(key + tag, []).append(span)
    return {key: _merged(spans) for key, spans in intervals.items()}


def contained(inner: dict[str, list[tuple[int, int]]], outer: dict[str, list[tuple[int, int]]]) -> bool:
    """True when every interval of one normal set lies within an interval of the other."""
    return all(
        any(low <= first and last <= high for low, high in outer.get(key, []))
        for key, spans in inner.items()
        for first, last in spans
    )


def gtid_text(errant: Any) -> str | None:
    """A GTID set as one text, given as text or as {server: set}; None when it was not looked for."""
    if isinstance(errant, dict):
        return ",".join(str(text) for text in errant.values() if text)
    return None if errant is None else str(errant)


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


# --- the conditions of the verdict that are no invariant, one function each -----------------------------------


def result_as_expected(drill: Drill) -> Finding:
    """The failover did what this drill is there to show."""
    name, result = "result_as_expected", drill.failover
    if drill.expectation not in EXPECTATIONS:
        return Finding(name, None, f"the expectation is {drill.expectation!r}")
    if not result:
        return Finding(name, None, "the failover's result is missing")
    did = "promoted " + str(result.get("new_primary")) if drill.promoted else "promoted nobody"
    refused = bool(result.get("refused"))
    holds = (refused and not drill.promoted) if drill.expectation == REFUSE else (drill.promoted and not refused)
    return Finding(name, holds, f"expected: {drill.expectation}; the failover {did}{' and refused' if refused else ''}")


def zero_loss_as_expected(drill: Drill) -> Finding:
    """The claim about loss is the expected one, and the rows bear it out."""
    name, claim = "zero_loss_as_expected", zero_loss(drill)
    if drill.expectation == REFUSE:
        return Finding(name, claim != "violated", f"nothing was to be promised; zero_loss is {claim or 'not claimed'}")
    wanted = UNPROVEN if drill.expectation == UNPROVEN else "proven"
    return Finding(name, None if claim is None else claim == wanted, f"zero_loss is {claim}, expected {wanted}")


def enough_acknowledgements(drill: Drill) -> Finding:
    """The writer wrote enough for an absence of loss to mean something."""
    return Finding(
        "enough_acknowledgements",
        drill.acknowledged >= drill.limits.acknowledgements if drill.checker else None,
        f"{drill.acknowledged} acknowledged, {drill.limits.acknowledgements} needed",
    )


def writer_log_whole(drill: Drill) -> Finding:
    """The writer ended cleanly and its log is what it wrote: otherwise acknowledgements may be unaccounted for."""
    log = drill.checker.get("log") or {}
    if not log:
        return Finding("writer_log_whole", None, "the writer's log was not checked")
    malformed, twice = log.get("malformed", 0), log.get("ids_logged_twice", 0)
    return Finding(
        "writer_log_whole",
        bool(log.get("complete")) and not malformed and not twice,
        f"summary line {'present' if log.get('complete') else 'absent'}, {malformed} malformed lines, "
        f"{twice} ids logged twice",
    )


def acknowledged_once(drill: Drill) -> Finding:
    """No transaction was acknowledged twice."""
    count = count_of(drill.checker, "duplicate_acknowledgements")
    return Finding("acknowledged_once", None if count is None else count == 0, f"{count} ids were acknowledged twice")


def writes_resumed(drill: Drill) -> Finding:
    """After a promotion the application wrote again, through the address, on the new primary."""
    if drill.expectation == REFUSE:
        return Finding("writes_resumed", True, "not expected: nothing was to be promoted")
    gap = dig(drill.checker, "outage", "write_outage_ms")
    first = dig(drill.checker, "outage", "first_after")
    if gap is None or first is None:
        return Finding(
            "writes_resumed", None, "no acknowledgement before the fault, or none by the new primary, was seen"
        )
    return Finding(
        "writes_resumed", True, f"{first.get('server_uuid')} acknowledged {gap} ms after the old primary's last"
    )


def replicas_complete(drill: Drill) -> Finding:
    """Every other server that was to be read has what the primary has."""
    others = [entry for entry in drill.servers if entry.get("role") != "primary"]
    if not others:
        return Finding("replicas_complete", None, "no replica was read")
    for entry in others:
        if entry.get("error"):
            return Finding(
                "replicas_complete", None, f"{entry.get('name')} could not be read: {dig(entry, 'error', 'text')}"
            )
        if not entry.get("caught_up"):
            return Finding("replicas_complete", False, f"{entry.get('name')} did not apply what the primary has")
        if (count_of(entry, "lost") or 0) > (drill.lost or 0):
            return Finding(
                "replicas_complete", False, f"{entry.get('name')} lacks {count_of(entry, 'lost')} acknowledged"
            )
    return Finding("replicas_complete", True, "complete: " + ", ".join(str(entry.get("name")) for entry in others))


def rows_explained(drill: Drill) -> Finding:
    """Every row on every server was written by the writer, not refused to it, and holds what was written."""
    if not drill.servers:
        return Finding("rows_explained", None, "no server's rows were read")
    wrong = [
        f"{count} {kind} on {entry.get('name')}"
        for entry in drill.servers
        for kind in ("phantom", "alien", "altered")
        if (count := count_of(entry, kind))
    ]
    return Finding("rows_explained", not wrong, "; ".join(wrong) or "no phantom, alien or altered row")


def balances_agree(drill: Drill) -> Finding:
    """Every account's balance is the sum of its ledger rows, on every server."""
    checked = [entry for entry in drill.servers if dig(entry, "balances", "accounts")]
    if not checked:
        return Finding("balances_agree", None, "no balances were read")
    wrong = [
        f"{count} on {entry.get('name')}" for entry in checked if (count := count_of(entry["balances"], "mismatches"))
    ]
    names = ", ".join(str(entry.get("name")) for entry in checked)
    told = f"accounts that differ: {', '.join(wrong)}" if wrong else f"all accounts agree on {names}"
    return Finding("balances_agree", not wrong, told)


CONDITIONS: tuple[Callable[[Drill], Finding], ...] = (
    result_as_expected,
    zero_loss_as_expected,
    enough_acknowledgements,
    writer_log_whole,
    acknowledged_once,
    writes_resumed,
    replicas_complete,
    rows_explained,
    balances_agree,
)


# --- the verdict ----------------------------------------------------------------------------------------------


def zero_loss(drill: Drill) -> str | None:
    """The failover's claim; `violated` when it claimed proof and something acknowledged is missing."""
    claim = drill.failover.get("zero_loss")
    return "violated" if claim == "proven" and drill.lost else claim


def tolerated(drill: Drill, finding: Finding) -> bool:
    """True for a loss in a drill that promised none: see report.py."""
    return (
        finding.name == "no_acknowledged_transaction_lost"
        and finding.holds is False
        and drill.expectation == UNPROVEN
        and zero_loss(drill) == UNPROVEN
    )


def reasons_to_fail(drill: Drill, findings: Iterable[Finding]) -> list[str]:
    """Why the verdict is fail, in the order of the findings; empty for pass."""
    return [
        f"{finding.name}: {'not observed: ' if finding.holds is None else ''}{finding.evidence}"
        for finding in findings
        if finding.holds is not True and not tolerated(drill, finding)
    ]
