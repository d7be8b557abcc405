# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill that passes, whole and realistic; tests (and the page's screenshots) change one thing in it."""

from __future__ import annotations

import copy
import random
from typing import Any

OLD = "11111111-aaaa-11ef-8000-000000000001"
NEW = "22222222-aaaa-11ef-8000-000000000002"
THIRD = "33333333-aaaa-11ef-8000-000000000003"
ADDRESS = "192.0.2.10"
OLD_MAC, NEW_MAC = "02:00:5e:00:00:01", "02:00:5e:00:00:02"
ORIGIN = 1_790_000_000.0
FAULT, STARTED, PROMOTED, END = 12.0, 12.31, 12.84, 26.0
LAST_BEFORE, FIRST_AFTER = 12.004, 13.021
NAMES = {OLD: "db1", NEW: "db2", THIRD: "db3"}


def listed(*identifiers: Any) -> dict[str, Any]:
    return {"count": len(identifiers), "ids": list(identifiers)}


def server(uuid: str, role: str) -> dict[str, Any]:
    empty = {name: listed() for name in ("lost", "phantom", "alien", "altered", "not_on_primary")}
    return {
        "name": NAMES[uuid],
        "role": role,
        "server_uuid": uuid,
        "version": "9.7.4",
        "error": None,
        "caught_up": None if role == "primary" else True,
        "rows": 12_310,
        **empty,
        "present_unknown": listed(4294967999),
        "absent_unknown": listed(*range(4294968000, 4294968007)),
        "balances": {"accounts": 64, "mismatches": listed()},
    }


def rate() -> dict[str, Any]:
    noise = random.Random(7)
    bins = int(END * 10)
    acknowledged = [
        0 if LAST_BEFORE * 10 < index < FIRST_AFTER * 10 - 1 else noise.randint(44, 56) for index in range(bins)
    ]
    failed, unknown = [0] * bins, [0] * bins
    for index in range(121, 130):
        failed[index] = noise.randint(0, 3)
    unknown[120], unknown[130] = 6, 2
    return {
        "bin_ms": 100.0,
        "origin_monotonic": 500.0,
        "origin_wall": ORIGIN,
        "acknowledged": acknowledged,
        "failed": failed,
        "unknown": unknown,
    }


def moment(identifier: int, uuid: str, at: float) -> dict[str, Any]:
    return {"id": identifier, "server_uuid": uuid, "monotonic": 500 + at, "wall": ORIGIN + at}


def checker() -> dict[str, Any]:
    before, after = moment(4294973000, OLD, LAST_BEFORE), moment(4294973100, NEW, FIRST_AFTER)
    return {
        "run": 1,
        "log": {"complete": True, "malformed": 0, "ids_logged_twice": 0},
        "counts": {"attempts": 12_331, "acknowledged": 12_309, "failed": 14, "unknown": 8},
        "acknowledged_by_server": {
            OLD: {"count": 6012, "first": moment(4294967296, OLD, 0.1), "last": before},
            NEW: {"count": 6297, "first": after, "last": moment(4294999000, NEW, END)},
        },
        "acknowledged_after_fault": 6298,
        "duplicate_acknowledgements": listed(),
        "outage": {
            "write_outage_ms": 1017.0,
            "last_before": before,
            "first_after": after,
            "largest_gap_ms": 1017.0,
            "largest_gap_started_wall": ORIGIN + LAST_BEFORE,
        },
        "deposed": {
            "old_primary_uuid": OLD,
            "acknowledged": 6012,
            "started_after_new_primary": listed(),
            "acknowledged_after_promotion": listed(),
        },
        "rate": rate(),
        "no_connection": [],
        "servers": [server(NEW, "primary"), server(THIRD, "replica"), server(OLD, "replica")],
    }


def evidence() -> list[dict[str, Any]]:
    facts = []
    for uuid in (NEW, THIRD):
        received = f"{OLD}:1-24988"
        facts += [
            {"claim": "registered", "server_uuid": uuid, "value": {"term": 4, "revision": 11}, "at": ORIGIN + 12.5},
            {
                "claim": "frozen",
                "server_uuid": uuid,
                "value": {"receiver": "OFF", "received": received},
                "at": ORIGIN + 12.52,
            },
            {
                "claim": "kept",
                "server_uuid": uuid,
                "value": {"relay_log_recovery": "OFF", "drift": []},
                "at": ORIGIN + 12.52,
            },
            {"claim": "contains", "server_uuid": uuid, "value": {"elected_lacks": ""}, "at": ORIGIN + 12.53},
        ]
    return facts + [
        {"claim": "testified", "server_uuid": OLD, "value": {"sequence": 4410, "no_tx": 0}, "at": ORIGIN + 12.53},
        {"claim": "applied", "server_uuid": NEW, "value": {"executed": f"{OLD}:1-24988"}, "at": ORIGIN + 12.7},
    ]


def failover() -> dict[str, Any]:
    phases = (
        ("observe", 0, 96),
        ("freeze", 96, 41),
        ("prove", 137, 12),
        ("apply", 149, 188),
        ("promote", 337, 193),
        ("redirect replicas", 530, 210),
    )
    return {
        "zero_loss": "proven",
        "proof": {
            "n": 2,
            "k": 1,
            "required": 2,
            "frozen": [NEW, THIRD],
            "testimony": {"holds": True, "reasons": [], "heard_by": "db2", "gap_primary_s": 0.5, "gap_replica_s": 0.41},
            "evidence": evidence(),
            "missing": [],
        },
        "phases": [{"name": name, "start_ms": start, "duration_ms": length} for name, start, length in phases],
        "started_at": ORIGIN + STARTED,
        "promoted_at": ORIGIN + PROMOTED,
        "old_primary": "db1",
        "new_primary": "db2",
        "old_primary_uuid": OLD,
        "new_primary_uuid": NEW,
        "errant": "",
        "refused": False,
        "reasons": [],
        "override_by": None,
    }


def topology(primary: str, down: str = "") -> dict[str, Any]:
    return {
        "verdict": "primary_dead" if down else "healthy",
        "primary": NAMES[primary],
        "term": 4 if primary == OLD else 5,
        "servers": [
            {
                "name": name,
                "role": "unreachable" if uuid == down else "primary" if uuid == primary else "replica",
                "zone": f"z{name[-1]}",
                "super_read_only": uuid != primary,
                "lag_s": 0.0,
            }
            for uuid, name in NAMES.items()
        ],
        "durability": {"n": 2, "k": 1, "freeze_required": 2},
    }


def document() -> dict[str, Any]:
    return {
        "scenario": "The primary's host stops without a word",
        "description": "The container of db1 is killed while ten connections write through the virtual address.",
        "server_version": "9.7.4",
        "expectation": "failover",
        "fault": {"description": "host of db1 killed", "at": ORIGIN + FAULT},
        "topology": {"before": topology(OLD), "after": topology(NEW)},
        "failover": failover(),
        "checker": checker(),
        "rejoin": {
            "how": "rewind",
            "errant": f"{OLD}:24989-24990",
            "archive": {
                "path": "/var/lib/lossless/archive/db1-term-4",
                "manifest": {"found": f"{OLD}:24989-24990", "missing_gtids": "", "cluster": "ledger"},
            },
        },
        "address_lease_ms": 1500,
    }


def host(uuid: str, writable: bool) -> dict[str, Any]:
    return {
        "reachable": True,
        "writable": writable,
        "server_uuid": uuid,
        "read_only": not writable,
        "super_read_only": not writable,
        "offline_mode": False,
        "error": None,
        "latency_ms": 0.6,
    }


def silent_host() -> dict[str, Any]:
    return {
        "reachable": False,
        "writable": None,
        "server_uuid": None,
        "read_only": None,
        "super_read_only": None,
        "offline_mode": None,
        "error": {"number": 2003, "text": "no route"},
        "latency_ms": None,
    }


def sample(tick: int, at: float) -> dict[str, Any]:
    """What the observer saw `at` seconds after the writer's start: db1 dies, db2 takes over, db1 comes back at 20 s."""
    old_there, promoted = at < FAULT or at > 20, at > PROMOTED
    holders = [OLD_MAC] if at < FAULT else [NEW_MAC] if promoted else []
    return {
        "type": "sample",
        "tick": tick,
        "monotonic": 500 + at,
        "wall": ORIGIN + at,
        "hosts": {
            "db1": host(OLD, at < FAULT) if old_there else silent_host(),
            "db2": host(NEW, promoted),
            "db3": host(THIRD, False),
        },
        "addresses": {ADDRESS: {"macs": holders, "error": None}},
    }


def samples() -> list[dict[str, Any]]:
    return [sample(tick, tick / 10) for tick in range(int(END * 10))]


def refusal() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(document, samples) of a drill in which one of two acknowledgers is gone as well: nothing may be promoted."""
    drill = copy.deepcopy(document())
    drill.update(scenario="Primary and one acknowledger stop together", expectation="refuse", rejoin=None)
    drill["description"] = (
        "db1 and db3 are killed at once; with k=1 of 2, db2 alone can not prove that it has everything."
    )
    drill["topology"]["after"] = topology(OLD, OLD)
    drill["failover"].update(
        zero_loss=None,
        refused=True,
        new_primary=None,
        new_primary_uuid=None,
        promoted_at=None,
        errant=None,
        phases=drill["failover"]["phases"][:2],
        reasons=[
            {
                "code": "too_few_frozen",
                "message": "1 of 2 acknowledgers is frozen, 2 are required: db3 may hold "
                "acknowledged transactions that db2 lacks. Bring db3 or db1 back, then run again.",
            }
        ],
        proof={
            "n": 2,
            "k": 1,
            "required": 2,
            "frozen": [NEW],
            "testimony": {"holds": True},
            "evidence": [fact for fact in evidence() if fact["server_uuid"] == NEW],
            "missing": [],
        },
    )
    found = drill["checker"]
    found["servers"] = [server(OLD, "primary"), server(NEW, "replica"), server(THIRD, "replica")]
    found["acknowledged_by_server"].pop(NEW)
    found["counts"].update(attempts=6040, acknowledged=6012, failed=20)
    found["outage"].update(write_outage_ms=None, last_before=None, first_after=None)
    found["deposed"].update(started_after_new_primary=None, acknowledged_after_promotion=None)
    found["rate"]["acknowledged"][121:] = [0] * len(found["rate"]["acknowledged"][121:])
    seen = samples()
    for one in seen:
        at = one["wall"] - ORIGIN
        gone = at >= FAULT
        one["hosts"] = {
            "db1": silent_host() if gone else host(OLD, True),
            "db2": host(NEW, False),
            "db3": silent_host() if gone else host(THIRD, False),
        }
        one["addresses"] = {ADDRESS: {"macs": [] if gone else [OLD_MAC], "error": None}}
    return drill, seen


def loss() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(document, samples) of a drill that fails in several ways: loss, two writable servers, two holders."""
    drill, seen = copy.deepcopy(document()), samples()
    missing = range(4294972990, 4294973007)
    for entry in drill["checker"]["servers"]:
        entry["lost"] = listed(*missing)
    drill["checker"]["deposed"]["acknowledged_after_promotion"] = listed(4294973150, 4294973151)
    drill["rejoin"]["archive"]["manifest"]["found"] = f"{OLD}:24989"
    for one in seen:
        if 18 < one["wall"] - ORIGIN < 21:
            one["addresses"][ADDRESS]["macs"] = [OLD_MAC, NEW_MAC]
            one["hosts"]["db1"] = host(OLD, True)
    return drill, seen
