# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters in every state, recoveries of every outcome, and a desk that serves them: the shapes of ``desk.py``."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError

NOW = 1_769_829_124.0
"""2026-01-31 03:12:04 UTC."""

Fields = dict[str, Any]


def member(number: int, primary: str = "", **changes: Any) -> Fields:
    """A member that follows ``primary``, or the primary itself without one."""
    return {
        "address": f"10.0.0.{10 + number}:33062",
        "zone": "abc"[(number - 1) % 3],
        "city": "one",
        "role": "replica" if primary else "primary",
        "answer": "ok",
        "answered_at": NOW - 0.1,
        "writable": not primary,
        "receiver": "ON" if primary else "",
        "source": primary,
        "lag_s": 0.2 if primary else None,
        "message": "",
        **changes,
    }


def cluster(**changes: Any) -> Fields:
    """One that is well: db1 with db2 and db3."""
    return {
        "verdict": "healthy",
        "reasons": [],
        "since": NOW - 3 * 86400,
        "action": "none",
        "held_by": [],
        "primary": "db1",
        "primary_uuid": "11111111-0000-0000-0000-000000000001",
        "term": 4,
        "n": 2,
        "k": 1,
        "paused": None,
        "maintenance": None,
        "cooldown_until": None,
        "members": {"db1": member(1), "db2": member(2, "db1"), "db3": member(3, "db1")},
        "last_recovery": None,
        "updated_at": NOW - 0.2,
        **changes,
    }


def recovery(**changes: Any) -> Fields:
    """A promotion that nobody has acknowledged."""
    return {
        "id": "r-41",
        "cluster": "ledger",
        "at": NOW - 600,
        "ended_at": NOW - 599.2,
        "trigger": "automatic",
        "verdict": "dead",
        "reasons": ["db1 refuses connections.", "The receivers of db2 and db3 fell after the last good tick."],
        "outcome": "promoted",
        "old_primary": "db1",
        "new_primary": "db2",
        "term": 5,
        "zero_loss": "proven",
        "run_id": "20260131-030204-77",
        "outage_ms": 742.0,
        "phases": [
            {"name": "detect", "start_ms": 0.0, "duration_ms": 310.0},
            {"name": "freeze", "start_ms": 310.0, "duration_ms": 21.0},
            {"name": "elect", "start_ms": 331.0, "duration_ms": 4.0},
            {"name": "promote", "start_ms": 335.0, "duration_ms": 74.0},
            {"name": "address", "start_ms": 409.0, "duration_ms": 333.0},
        ],
        "refusal": [],
        "next_step": "",
        "journal": "/var/lib/lossless-mysql-ha/journal/ledger-77.jsonl",
        "hooks": [{"name": "awx", "when": "after", "ok": True, "message": "", "duration_ms": 120.0}],
        "acknowledged": None,
        **changes,
    }


def refused(**changes: Any) -> Fields:
    return recovery(
        **{
            "id": "r-42",
            "outcome": "refused",
            "new_primary": None,
            "zero_loss": None,
            "outage_ms": None,
            "phases": [],
            "refusal": ["Fewer acknowledgers answer than have to be held: 1 of 2. db3 is silent."],
            "next_step": "Bring back db3, then run mysql-ha explain.",
            **changes,
        }
    )


def maintenance(**changes: Any) -> Fields:
    """db3 was taken out of service."""
    return recovery(
        **{
            "id": "r-60",
            "trigger": "maintenance",
            "verdict": "healthy",
            "reasons": [],
            "outcome": "done",
            "old_primary": "db1",
            "new_primary": None,
            "term": 4,
            "zero_loss": None,
            "outage_ms": None,
            "phases": [],
            "hooks": [],
            "journal": None,
            "member": "db3",
            "operation": "take_out",
            "by": "anna",
            "reason": "new disk",
            "changed": True,
            "plan": ["lock lossless_repl_3 on db1, so that db3 cannot acknowledge"],
            "survives": ["k=1 of n=1 acknowledgements, on disk"],
            **changes,
        }
    )


STATES: Mapping[str, Fields] = {
    "healthy": cluster(),
    "dead": cluster(
        verdict="dead",
        reasons=["db1 refuses connections.", "The receivers of db2 and db3 fell after the last good tick."],
        since=NOW - 1.2,
        action="waiting",
        members={
            "db1": member(1, answer="refused", writable=None, message="10.0.0.11: connection refused"),
            "db2": member(2, "db1", receiver="CONNECTING"),
            "db3": member(3, "db1", receiver="CONNECTING"),
        },
    ),
    "acting": cluster(
        verdict="dead_or_isolated",
        reasons=["No change of heartbeat, queued GTID or relay position on 2 of 2 members in two ticks."],
        since=NOW - 3.1,
        action="acting",
        members={
            "db1": member(1, answer="timed_out", writable=None, message="no answer within 0.5 s"),
            "db2": member(2, "db1", receiver="OFF"),
            "db3": member(3, "db1", receiver="OFF"),
        },
        last_recovery=recovery(id="r-43", outcome="running", new_primary=None, at=NOW - 0.4, ended_at=None),
    ),
    "held": cluster(
        verdict="dead",
        reasons=["db1 refuses connections."],
        since=NOW - 95,
        action="held",
        held_by=["Paused by anna until 2026-01-31 04:00:00 UTC: storage migration."],
        paused={"by": "anna", "reason": "storage migration", "at": NOW - 3600, "until": NOW + 2876},
        members={
            "db1": member(1, answer="refused", writable=None, message="10.0.0.11: connection refused"),
            "db2": member(2, "db1", receiver="CONNECTING"),
            "db3": member(3, "db1", receiver="CONNECTING"),
        },
    ),
    "paused": cluster(
        paused={"by": "anna", "reason": "kernel upgrade", "at": NOW - 600, "until": None},
        held_by=["Paused by anna until resumed: kernel upgrade."],
    ),
    "refused": cluster(
        verdict="dead_or_isolated",
        reasons=["db1 gives no answer, and db3 neither."],
        since=NOW - 640,
        action="held",
        held_by=["The last recovery was refused, and nothing has changed since."],
        members={
            "db1": member(1, answer="timed_out", writable=None, message="no answer within 0.5 s"),
            "db2": member(2, "db1", receiver="CONNECTING"),
            "db3": member(3, "db1", answer="timed_out", receiver="", source=None, lag_s=None, writable=None),
        },
        last_recovery=refused(),
    ),
    "promoted": cluster(
        verdict="degraded",
        reasons=["db1 does not answer; 1 of 2 acknowledgers is attached."],
        since=NOW - 598,
        primary="db2",
        term=5,
        members={
            "db1": member(1, "db2", answer="refused", receiver="", source=None, lag_s=None, writable=None),
            "db2": member(2, role="primary"),
            "db3": member(3, "db2"),
        },
        cooldown_until=NOW + 3000,
        last_recovery=recovery(),
    ),
    "replication_cut": cluster(
        verdict="replication_cut",
        reasons=["db1 answers, and none of its acknowledgers hears it."],
        since=NOW - 4,
        action="waiting",
        members={
            "db1": member(1),
            "db2": member(2, "db1", receiver="CONNECTING"),
            "db3": member(3, "db1", receiver="CONNECTING"),
        },
    ),
    "controller_cut": cluster(
        verdict="controller_cut",
        reasons=["No member answers: this manager's own network is the likeliest cause."],
        since=NOW - 30,
        members={
            name: member(number, answer="timed_out", writable=None, receiver="", source=None, lag_s=None)
            for number, name in enumerate(("db1", "db2", "db3"), 1)
        },
    ),
    "lagging": cluster(
        verdict="degraded",
        reasons=["The heartbeat row of db1 shows that its disk is full."],
        members={
            "db1": member(1),
            "db2": member(2, "db1", lag_s=312.0),
            "db3": member(3, "db2", message="follows db2, which is not the primary"),
        },
    ),
    "unknown": cluster(
        verdict="unknown", reasons=["There is no term row."], primary=None, term=None, n=None, k=None, members={}
    ),
    "would_act": cluster(last_recovery=recovery(id="r-9", outcome="would_act", new_primary="db2", outage_ms=None)),
}


def status(clusters: Mapping[str, Any], **changes: Any) -> Fields:
    return {
        "manager": {
            "version": "0.2.0",
            "host": "ha1",
            "pid": 4711,
            "started_at": NOW - 9 * 86400,
            "now": NOW,
            "dry_run": False,
            "clusters": len(clusters),
            "members": sum(len(entry["members"]) for entry in clusters.values()),
            "tick_s": 0.5,
            "tick_late_s": 0.004,
            "cpu_s": 1234.5,
            **changes,
        },
        "clusters": dict(clusters),
    }


def many(number: int) -> dict[str, Fields]:
    """So many clusters, most of them well."""
    odd = {7: "refused", 21: "held", 44: "acting", 60: "lagging", 61: "promoted", 80: "paused", 81: "paused"}
    return {f"shop-{place:03d}": STATES[odd.get(place, "healthy")] for place in range(1, number + 1)}


HISTORY: tuple[Fields, ...] = (
    refused(cluster="shop-007", at=NOW - 600),
    recovery(cluster="ledger"),
    recovery(
        id="r-40",
        cluster="orders",
        at=NOW - 4 * 86400,
        trigger="switchover",
        verdict="healthy",
        reasons=[],
        outage_ms=96.0,
        acknowledged={"by": "ben", "at": NOW - 4 * 86400 + 60},
    ),
    recovery(
        id="r-39",
        cluster="orders",
        at=NOW - 40 * 86400,
        outcome="failed",
        new_primary=None,
        zero_loss=None,
        outage_ms=None,
        refusal=["The lock is gone: its connection broke."],
        next_step="Run again.",
        acknowledged={"by": "anna", "at": NOW - 40 * 86400 + 300},
    ),
)

EXPLAINED: Fields = {
    "cluster": "ledger",
    "verdict": "healthy",
    "reasons": [],
    "would": "db2 would become primary, about 0.7 s after db1 falls.",
    "plan": ["Freeze db2 and db3 (n-k+1 = 2).", "Elect the most advanced of them.", "Promote it, and begin term 5."],
    "obstacles": [
        {
            "code": "too_few_acknowledgers",
            "message": "db3 is 312 s behind.",
            "next_step": "Wait until it has caught up.",
        }
    ],
    "durability": ["The loss of one host loses nothing."],
}


class FakeDesk:
    """A desk with given answers that writes down what it was asked to change."""

    def __init__(self, clusters: Optional[Mapping[str, Any]] = None, history: Sequence[Fields] = HISTORY) -> None:
        self.said = status(copy.deepcopy(dict({"ledger": STATES["healthy"]} if clusters is None else clusters)))
        self.history = list(history)
        self.calls: list[tuple[Any, ...]] = []

    def status(self) -> Fields:
        return copy.deepcopy(self.said)

    def recoveries(self, cluster: str = "", limit: int = 100) -> Sequence[Fields]:
        found = [entry for entry in self.history if cluster in ("", entry["cluster"])]
        return found[:limit]

    def _known(self, cluster: str) -> None:
        if cluster and cluster not in self.said["clusters"]:
            raise HaError("unknown_cluster", f"no cluster {cluster}", next_step="mysql-ha clusters lists them.")

    def pause(self, cluster: str, by: str, reason: str, until: Optional[float]) -> Fields:
        self._known(cluster)
        self.calls.append(("pause", cluster, by, reason, until))
        return {"by": by, "reason": reason, "at": NOW, "until": until}

    def resume(self, cluster: str, by: str) -> Fields:
        self._known(cluster)
        self.calls.append(("resume", cluster, by))
        return {"cluster": cluster}

    def acknowledge(self, recovery: str, by: str) -> Fields:
        self.calls.append(("ack", recovery, by))
        for entry in self.history:
            if entry["id"] == recovery:
                return {**entry, "acknowledged": {"by": by, "at": NOW}}
        raise HaError("unknown_recovery", f"no recovery {recovery}", next_step="mysql-ha history lists them.")

    def switchover(self, cluster: str, to: str, by: str) -> Fields:
        self._known(cluster)
        self.calls.append(("switchover", cluster, to, by))
        if to == "db3":
            raise HaError(
                "target_not_healthy",
                "refused: db3 does not replicate soundly",
                evidence={"reasons": [{"code": "target_not_healthy", "message": "db3 does not replicate soundly"}]},
                next_step="Mend db3, or name another.",
            )
        return recovery(id="r-50", cluster=cluster, trigger="switchover", outage_ms=96.0, verdict="healthy", reasons=[])

    def maintain(self, cluster: str, member: str, operation: str, by: str, reason: str) -> Fields:
        self._known(cluster)
        self.calls.append(("maintain", cluster, member, operation, by, reason))
        if member == "db1":
            raise HaError(
                "member_is_primary",
                "refused: db1 is the primary",
                evidence={"reasons": [{"code": "member_is_primary", "message": "db1 is the primary"}]},
                next_step="Switch over first.",
            )
        return maintenance(cluster=cluster, member=member, operation=operation, by=by, reason=reason)

    def explain(self, cluster: str) -> Fields:
        self._known(cluster)
        return {**EXPLAINED, "cluster": cluster}
