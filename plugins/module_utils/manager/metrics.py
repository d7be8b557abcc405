# SPDX-License-Identifier: BSD-2-Clause
"""Prometheus metrics of the manager, text format 0.0.4. Pure.

A value that is not known gives no sample: an absent sample can be alerted on, a zero that is none can not.
"""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Optional, Sequence

from ..plain_words import mapping, real
from . import glance

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]
Sample = tuple[Labels, Optional[float]]
Family = tuple[str, str, str, Iterable[Sample]]
"""Name, type, help, samples."""


def render(status: glance.Fields, recoveries: Sequence[glance.Fields], now: float) -> str:
    """The whole answer to ``GET /metrics``: ``status()``, ``recoveries()``, and the time."""
    return "".join(_family(*family) for family in _families(status, recoveries, now))


def _families(status: glance.Fields, recoveries: Sequence[glance.Fields], now: float) -> Iterator[Family]:
    yield from _manager(status, now)
    rows = glance.rows(status, now)
    yield from _clusters(rows, now)
    yield from _members(rows)
    yield from _recoveries(rows, recoveries)


def _manager(status: glance.Fields, now: float) -> Iterator[Family]:
    manager = mapping(status.get("manager"))
    about = (("version", str(manager.get("version") or "")), ("host", str(manager.get("host") or "")))
    yield "mysql_ha_manager_info", "gauge", "The manager that answers; always 1.", [(about, 1.0)]
    yield (
        "mysql_ha_manager_up",
        "gauge",
        "1 while the manager's loop ticks in time, as /health says.",
        [((), float(not glance.trouble(status, now)))],
    )
    for name, kind, about_it, value in (
        ("mysql_ha_manager_start_time_seconds", "gauge", "When it was started, since the epoch.", "started_at"),
        ("mysql_ha_manager_dry_run", "gauge", "1 when it only says what it would do.", "dry_run"),
        ("mysql_ha_manager_clusters", "gauge", "Clusters that it watches.", "clusters"),
        ("mysql_ha_manager_members", "gauge", "Members of all of them.", "members"),
        ("mysql_ha_tick_interval_seconds", "gauge", "Time between two looks at each member.", "tick_s"),
        ("mysql_ha_tick_duration_seconds", "gauge", "How long the last tick took.", "tick_duration_s"),
        ("mysql_ha_process_cpu_seconds_total", "counter", "Processor time of the manager's process.", "cpu_s"),
    ):
        yield name, kind, about_it, [((), _number(manager.get(value)))]
    yield (
        "mysql_ha_tick_late_seconds",
        "gauge",
        "How much later than due the last tick ended, or the next is by now.",
        [((), glance.lateness(status, now))],
    )


def _clusters(rows: Sequence[glance.Row], now: float) -> Iterator[Family]:
    yield (
        "mysql_ha_cluster_verdict",
        "gauge",
        "The verdict on a cluster: 1 for the one that holds.",
        _one_hot(rows, "verdict", glance.VERDICTS, "unknown"),
    )
    yield (
        "mysql_ha_cluster_action",
        "gauge",
        "What the manager does about it: 1 for what holds.",
        _one_hot(rows, "action", glance.ACTIONS, "none"),
    )
    yield (
        "mysql_ha_cluster_needs_attention",
        "gauge",
        "1 when somebody should look: a person is needed, the manager acts, or something is not well.",
        [(_of(row), float(row.look.needs_attention)) for row in rows],
    )
    yield (
        "mysql_ha_cluster_needs_person",
        "gauge",
        "1 when a person is needed now: the primary is lost and the manager does not act.",
        [(_of(row), float(row.look.level == glance.PERSON)) for row in rows],
    )
    for name, about, key in (
        ("mysql_ha_cluster_verdict_start_time_seconds", "When this verdict began, since the epoch.", "since"),
        (
            "mysql_ha_cluster_updated_time_seconds",
            "When the cluster was last looked at, since the epoch.",
            "updated_at",
        ),
        ("mysql_ha_cluster_term", "The term: promotions add one.", "term"),
        ("mysql_ha_cluster_acknowledgers", "n: members that may acknowledge.", "n"),
        ("mysql_ha_cluster_acknowledgements_required", "k: acknowledgements that a commit waits for.", "k"),
        ("mysql_ha_cluster_semi_sync_clients", "Acknowledgers attached to the primary.", "semi_sync_clients"),
        ("mysql_ha_cluster_heartbeat_age_seconds", "Age of the newest heartbeat row seen.", "heartbeat_age_s"),
    ):
        yield name, "gauge", about, [(_of(row), _number(row.cluster.get(key))) for row in rows]
    for name, about, key in (
        ("mysql_ha_cluster_paused", "1 when somebody paused automatic failover.", "paused"),
        ("mysql_ha_cluster_maintenance", "1 during a maintenance window.", "maintenance"),
    ):
        yield name, "gauge", about, [(_of(row), float(bool(row.cluster.get(key)))) for row in rows]
    yield (
        "mysql_ha_cluster_cooldown",
        "gauge",
        "1 while a second automatic failover is held back.",
        [(_of(row), float((real(row.cluster.get("cooldown_until")) or 0.0) > now)) for row in rows],
    )
    yield (
        "mysql_ha_cluster_members",
        "gauge",
        "Members of a cluster.",
        [(_of(row), float(len(glance.members(row.cluster)))) for row in rows],
    )
    yield (
        "mysql_ha_cluster_members_answering",
        "gauge",
        "Members that answered in the last tick.",
        [(_of(row), float(sum(glance.answers(m) for _name, m in glance.members(row.cluster)))) for row in rows],
    )


def _members(rows: Sequence[glance.Row]) -> Iterator[Family]:
    every = [
        ((("cluster", row.name), ("member", name)), member, row.cluster.get("primary") == name)
        for row in rows
        for name, member in glance.members(row.cluster)
    ]
    yield (
        "mysql_ha_member_up",
        "gauge",
        "1 when the member answered in the last tick.",
        [(labels, float(glance.answers(member))) for labels, member, _primary in every],
    )
    yield (
        "mysql_ha_member_primary",
        "gauge",
        "1 for the primary of record.",
        [(labels, float(primary)) for labels, _member, primary in every],
    )
    yield (
        "mysql_ha_member_writable",
        "gauge",
        "1 when the member takes writes, as it said last.",
        [(labels, _number(member.get("writable"))) for labels, member, _primary in every],
    )
    yield (
        "mysql_ha_member_attached",
        "gauge",
        "1 when a replica's receiver runs and follows the primary of record.",
        [(labels, float(glance.link(member, cluster)[0] == "on")) for labels, member, cluster in _replicas(rows)],
    )
    yield (
        "mysql_ha_member_out_of_service",
        "gauge",
        "1 while a person has the member out of service.",
        [(labels, float(glance.is_out(member))) for labels, member, _primary in every],
    )
    yield (
        "mysql_ha_member_lag_seconds",
        "gauge",
        "How far a member's data is behind.",
        [(labels, _number(member.get("lag_s"))) for labels, member, _primary in every],
    )


def _replicas(rows: Sequence[glance.Row]) -> Iterator[tuple[Labels, glance.Fields, glance.Fields]]:
    for row in rows:
        for name, member in glance.members(row.cluster):
            if name != row.cluster.get("primary") and glance.answers(member):
                yield (("cluster", row.name), ("member", name)), member, row.cluster


def _recoveries(rows: Sequence[glance.Row], recoveries: Sequence[glance.Fields]) -> Iterator[Family]:
    counted = {(row.name, outcome): 0 for row in rows for outcome in glance.OUTCOMES}
    for recovery in recoveries:
        if glance.is_maintenance(recovery):
            continue
        place = (str(recovery.get("cluster")), str(recovery.get("outcome")))
        counted[place] = counted.get(place, 0) + 1
    yield (
        "mysql_ha_recoveries",
        "gauge",
        "Recoveries in the manager's history, by outcome.",
        [
            ((("cluster", cluster), ("outcome", outcome)), float(number))
            for (cluster, outcome), number in counted.items()
        ],
    )
    last = [(_of(row), mapping(row.cluster.get("last_recovery"))) for row in rows]
    yield (
        "mysql_ha_last_recovery_time_seconds",
        "gauge",
        "When the last recovery began, since the epoch.",
        [(labels, _number(recovery.get("at"))) for labels, recovery in last],
    )
    yield (
        "mysql_ha_last_recovery_outage_seconds",
        "gauge",
        "How long the last recovery interrupted writes.",
        [(labels, _thousandth(recovery.get("outage_ms"))) for labels, recovery in last],
    )
    yield (
        "mysql_ha_last_recovery_unacknowledged",
        "gauge",
        "1 when nobody has acknowledged the last recovery.",
        [(labels, float(glance.is_open(recovery))) for labels, recovery in last if recovery],
    )


# --- the format ------------------------------------------------------------------------------------------------------
def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> str:
    """A family with its head, or nothing when it has no sample."""
    lines = [f"{name}{_labels(labels)} {_value(value)}\n" for labels, value in samples if value is not None]
    if not lines:
        return ""
    escaped = about.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {name} {escaped}\n# TYPE {name} {kind}\n{''.join(lines)}"


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _value(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _number(value: Any) -> Optional[float]:
    """A number, or a truth as 0 or 1."""
    return float(value) if isinstance(value, bool) else real(value)


def _thousandth(value: Any) -> Optional[float]:
    number = real(value)
    return None if number is None else number / 1000


def _of(row: glance.Row) -> Labels:
    return (("cluster", row.name),)


def _one_hot(rows: Sequence[glance.Row], field: str, values: Sequence[str], otherwise: str) -> Iterator[Sample]:
    """One sample for each value of the field, of which exactly one is 1: ``otherwise`` stands for what is not known."""
    for row in rows:
        given = row.cluster.get(field)
        holds = given if given in values else otherwise
        for value in values:
            yield (("cluster", row.name), (field, value)), float(value == holds)
