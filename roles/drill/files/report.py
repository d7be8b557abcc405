# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill's report: puts together what was seen, has it judged (report_findings.py), writes it down.

Input: `--config FILE`, a JSON object:

    input                   path of the drill's document (below)
    output_directory        where report.json and report.html are written; must exist
    minimum_acknowledgements=1000   fewer prove nothing
    minimum_samples=50      of the observer; fewer prove nothing
    largest_hole_ms=1000    longest time without a sample that still counts as having watched
    writable_overlap_ms=0   time for which two reachable servers may be writable; anything but 0 needs a reason

The drill's document, a JSON object; a key that is absent is an observation that was not made:

    scenario, description, server_version   text
    expectation             "failover" (also for a planned switchover), "refuse" or "unproven" (a person overrode)
    fault                   {"description", "at"}             at: wall-clock seconds
    topology                {"before", "after", "final"}      free-form
    failover                {"zero_loss", "proof" {n, k, frozen, required, testimony {holds, ...},
                             evidence [{claim, server_uuid, value, at}], missing},
                             "phases" [{name, start_ms, duration_ms}], "started_at", "promoted_at" (wall-clock seconds),
                             "old_primary", "new_primary", "old_primary_uuid", "new_primary_uuid",
                             "mode" ("planned" or not), "errant" (text or {server: text}), "refused" (bool),
                             "reasons" [text or {code, message}], "override_by" or "accepted_by"}
    checker                 the checker's output, or "checker_file", its path
    observer_file           path of the observer's JSON lines
    rejoin                  {"how", "errant" (GTID set, "" for none), "archive" {"path", "manifest" {"found", ...}}}
                             found: GTID set that the archive's own manifest names
    address_lease_ms        the stated bound for two holders of one address

Output: report.json (and report.html, made from it alone). Times end in _ms; those of `timeline` and `observation`
count from the writer's start.

    verdict "pass"|"fail", reasons [text], scenario, description, expectation, mode, server_version,
    acknowledged, unknown, failed, lost, write_outage_ms, old_primary, new_primary,
    zero_loss "proven"|"unproven"|"violated"|null, proof {n, k, frozen, required, testimony, evidence}, errant,
    phases, invariants and conditions [{name, holds true|false|null (not observed), evidence}],
    refusal {refused, reasons},
    archive {path, manifest, how}, topology {before, after, final}, timeline {...},
    observation {samples, hosts, addresses, two_writable}

The verdict is `pass` when every invariant and every condition holds. One that was not observed fails: a check that
saw nothing proves nothing. One exception: where a person overrode and the result honestly says `unproven`, a lost
transaction does not fail the drill, for nothing else was promised.

Exit status: 0 when the report was written, whatever its verdict; 1 when it could not be; 2 for a bad configuration.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, Callable

from drill_common import (
    EXIT_BAD_CONFIG,
    EXIT_COULD_NOT,
    EXIT_DONE,
    ConfigError,
    config_path,
    load_config,
    moment,
    positive,
    read_json_lines,
    reject_unknown,
    required,
    write_file,
    write_json,
)
from report_findings import (
    CONDITIONS,
    INVARIANTS,
    Drill,
    Limits,
    Sample,
    count_of,
    dig,
    gtid_text,
    reasons_to_fail,
    sentences,
    zero_loss,
)
from report_page import render

KNOWN_KEYS = (
    "input",
    "output_directory",
    "minimum_acknowledgements",
    "minimum_samples",
    "largest_hole_ms",
    "writable_overlap_ms",
)


# --- putting it together --------------------------------------------------------------------------------------


def assemble(drill: Drill) -> dict[str, Any]:
    """The report as report.json holds it."""
    invariants = [evaluate(drill) for evaluate in INVARIANTS]
    conditions = [evaluate(drill) for evaluate in CONDITIONS]
    reasons = reasons_to_fail(drill, [*invariants, *conditions])
    result, proof = drill.failover, drill.failover.get("proof") or {}
    return {
        "verdict": "fail" if reasons else "pass",
        "reasons": reasons,
        "scenario": drill.document.get("scenario"),
        "description": drill.document.get("description"),
        "expectation": drill.expectation,
        "mode": result.get("mode"),
        "server_version": drill.document.get("server_version") or drill.primary.get("version"),
        "acknowledged": dig(drill.checker, "counts", "acknowledged"),
        "unknown": dig(drill.checker, "counts", "unknown"),
        "failed": dig(drill.checker, "counts", "failed"),
        "lost": drill.lost,
        "write_outage_ms": dig(drill.checker, "outage", "write_outage_ms"),
        "old_primary": result.get("old_primary"),
        "new_primary": result.get("new_primary"),
        "zero_loss": zero_loss(drill),
        "proof": {key: proof.get(key) for key in ("n", "k", "frozen", "required", "testimony", "evidence")},
        "errant": gtid_text(drill.rejoin.get("errant") if "errant" in drill.rejoin else result.get("errant")),
        "phases": result.get("phases") or [],
        "invariants": [finding.document() for finding in invariants],
        "conditions": [finding.document() for finding in conditions],
        "refusal": {"refused": bool(result.get("refused")), "reasons": sentences(result.get("reasons"))},
        "archive": {**(drill.rejoin.get("archive") or {}), "how": drill.rejoin.get("how")},
        "topology": {key: dig(drill.document, "topology", key) for key in ("before", "after", "final")},
        "unknown_outcomes": {key: count_of(drill.primary, f"{key}_unknown") for key in ("present", "absent")},
        "timeline": timeline(drill),
        "observation": observation(drill),
    }


def _origin(drill: Drill) -> float | None:
    """Wall-clock time that the page's milliseconds count from."""
    origin = dig(drill.checker, "rate", "origin_wall")
    return origin if origin is not None else (drill.samples[0].wall if drill.samples else None)


def timeline(drill: Drill) -> dict[str, Any]:
    """Bins of the write rate, and marks, in milliseconds since the writer's start; null marks were not seen."""
    origin = _origin(drill)
    rate, gap = drill.checker.get("rate") or {}, drill.checker.get("outage") or {}

    def since_start(wall: Any) -> float | None:
        at = moment(wall)
        return None if at is None or origin is None else round((at - origin) * 1000, 1)

    return {
        "origin_wall": origin,
        "bin_ms": rate.get("bin_ms"),
        **{outcome: rate.get(outcome) or [] for outcome in ("acknowledged", "failed", "unknown")},
        "fault_ms": since_start(dig(drill.document, "fault", "at")),
        "fault": dig(drill.document, "fault", "description"),
        "failover_started_ms": since_start(drill.failover.get("started_at")),
        "promoted_ms": since_start(drill.failover.get("promoted_at")),
        "last_before_ms": since_start(dig(gap, "last_before", "wall")),
        "first_after_ms": since_start(dig(gap, "first_after", "wall")),
    }


def observation(drill: Drill) -> dict[str, Any]:
    """Who was what, as stretches [from_ms, to_ms, state] for each host, each address and all hosts together."""
    origin = _origin(drill)
    if origin is None or not drill.samples:
        return {"samples": 0, "hosts": {}, "addresses": {}, "two_writable": []}
    hosts = sorted({name for sample in drill.samples for name in sample.hosts})
    addresses = sorted({name for sample in drill.samples for name in sample.addresses})
    return {
        "samples": len(drill.samples),
        "hosts": {name: stretches(drill.samples, origin, _state_of_host(name)) for name in hosts},
        "addresses": {name: stretches(drill.samples, origin, _holder_of(name)) for name in addresses},
        "two_writable": stretches(drill.samples, origin, _two_writable),
    }


def _two_writable(sample: Sample) -> str:
    """The names of the hosts that were writable together; nothing when there was one at most."""
    names = sample.writable()
    return "+".join(names) if len(names) > 1 else ""


def _state_of_host(name: str) -> Callable[[Sample], str]:
    return lambda sample: state_of(sample.hosts.get(name) or {})


def _holder_of(address: str) -> Callable[[Sample], str]:
    return lambda sample: "+".join(sample.addresses.get(address, ())) or "nobody"


def state_of(host: dict[str, Any]) -> str:
    """One word for a host in one sample."""
    if not host.get("reachable"):
        return "unreachable"
    if host.get("offline_mode"):
        return "offline"
    return "writable" if host.get("writable") else "read-only"


def stretches(samples: Iterable[Sample], origin: float, state: Callable[[Sample], str]) -> list[list[Any]]:
    """Run-length encoding of a state over time; a stretch ends where the next begins."""
    found: list[list[Any]] = []
    for sample in samples:
        at, now = round((sample.wall - origin) * 1000), state(sample)
        if found:
            found[-1][1] = at
        if not found or found[-1][2] != now:
            found.append([at, at, now])
    return found


# --- reading and writing --------------------------------------------------------------------------------------


def read_samples(lines: Iterable[dict[str, Any]]) -> tuple[Sample, ...]:
    """The observer's samples. A line that is not a whole sample is left out: it shows as a hole, which is judged."""
    samples = []
    for line in lines:
        if line.get("type") != "sample":
            continue
        try:
            samples.append(
                Sample(
                    float(line["monotonic"]),
                    float(line["wall"]),
                    dict(line["hosts"]),
                    {address: tuple(answer["macs"]) for address, answer in line["addresses"].items()},
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return tuple(samples)


def read_drill(config: dict[str, Any]) -> Drill:
    """Everything a configuration names. Raises ConfigError for a file that is named and cannot be read."""
    reject_unknown(config, KNOWN_KEYS)
    required(config, "input", "output_directory")
    document = load_config(str(config["input"]))
    checker = document.get("checker") or {}
    if document.get("checker_file"):
        checker = load_config(str(document["checker_file"]))
    samples: tuple[Sample, ...] = ()
    if document.get("observer_file"):
        try:
            samples = read_samples(read_json_lines(str(document["observer_file"])))
        except OSError as error:
            raise ConfigError(f"cannot read the observer's file: {error}") from error
    limits = Limits(
        acknowledgements=int(positive(config, "minimum_acknowledgements", 1000)),
        samples=int(positive(config, "minimum_samples", 50)),
        largest_hole_ms=positive(config, "largest_hole_ms", 1000),
        writable_overlap_ms=float(config.get("writable_overlap_ms", 0)),
    )
    return Drill(document, checker, samples, limits)


def main() -> int:
    try:
        config = load_config(config_path("Evaluate a drill and write report.json and report.html."))
        report = assemble(read_drill(config))
        directory = str(config["output_directory"])
        write_json(os.path.join(directory, "report.json"), report)
        write_file(os.path.join(directory, "report.html"), render(report))
    except ConfigError as error:
        print(f"report: {error}", file=sys.stderr)
        return EXIT_BAD_CONFIG
    except OSError as error:
        print(f"report: {error}", file=sys.stderr)
        return EXIT_COULD_NOT
    print(f"{report['verdict']}: {report['scenario']}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
