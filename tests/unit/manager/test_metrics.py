# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics, read by a parser that is stricter than Prometheus: what it does not expect, it refuses."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import glance, metrics
from hypothesis import given
from hypothesis import strategies as st

from .face_samples import HISTORY, NOW, STATES, cluster, maintenance, many, member, status

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"')
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")

Labels = tuple[tuple[str, str], ...]


class Malformed(Exception):
    """Text that is no exposition of format 0.0.4."""


def parse(text: str) -> dict[str, dict[Labels, float]]:
    """The samples by family. HELP, TYPE, then the samples of that family, each once, and nothing else."""
    if not text.endswith("\n"):
        raise Malformed("the last line does not end")
    found: dict[str, dict[Labels, float]] = {}
    helped, typed = "", ""
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            helped = line.split(" ")[2]
            if helped in found or not NAME.fullmatch(helped) or len(line.split(" ")) < 4:
                raise Malformed(line)
        elif line.startswith("# TYPE "):
            _hash, _type, typed, kind = line.split(" ")
            if typed != helped or kind not in ("gauge", "counter"):
                raise Malformed(line)
            if (kind == "counter") != typed.endswith("_total"):
                raise Malformed(f"{line}: a counter, and only a counter, ends with _total")
            found[typed] = {}
        else:
            name, labels, value = _sample(line)
            if name != typed or labels in found[name]:
                raise Malformed(f"{line}: out of place, or twice")
            found[name][labels] = value
    empty = [name for name, samples in found.items() if not samples]
    if empty:
        raise Malformed(f"no samples: {empty}")
    return found


def _sample(line: str) -> tuple[str, Labels, float]:
    name = NAME.match(line)
    if name is None:
        raise Malformed(line)
    rest = line[name.end() :]
    labels: list[tuple[str, str]] = []
    if rest.startswith("{"):
        rest = rest[1:]
        while not rest.startswith("}"):
            label = LABEL.match(rest)
            if label is None:
                raise Malformed(line)
            labels.append((label.group(1), _unescaped(label.group(2))))
            rest = rest[label.end() :]
            if rest.startswith(",") and not rest.startswith(",}"):
                rest = rest[1:]
            elif not rest.startswith("}"):
                raise Malformed(line)
        rest = rest[1:]
    if not rest.startswith(" ") or not NUMBER.fullmatch(rest[1:]) or len({n for n, _v in labels}) != len(labels):
        raise Malformed(line)
    return name.group(), tuple(labels), float(rest[1:])


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found.group(1), found.group(1)), value)


def of(found: dict[str, dict[Labels, float]], name: str, **labels: str) -> float:
    return found[name][tuple(labels.items())]


@pytest.mark.parametrize(
    "text",
    [
        "a 1",
        "a 1\n",
        "# HELP a x\n# TYPE a gauge\n",
        "# HELP a x\n# TYPE b gauge\nb 1\n",
        "# HELP a x\n# TYPE a histogram\na 1\n",
        "# HELP a x\n# TYPE a counter\na 1\n",
        "# HELP a_total x\n# TYPE a_total gauge\na_total 1\n",
        "# HELP a x\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a x\n# TYPE a gauge\na NaN\n",
        "# HELP a x\n# TYPE a gauge\na None\n",
        "# HELP a x\n# TYPE a gauge\nb 1\n",
        '# HELP a x\n# TYPE a gauge\na{b="c"d"} 1\n',
        '# HELP a x\n# TYPE a gauge\na{b="c",} 1\n',
        '# HELP a x\n# TYPE a gauge\na{b="c",b="d"} 1\n',
        '# HELP a x\n# TYPE a gauge\na{b="\\q"} 1\n',
        "# HELP a x\n# TYPE a gauge\n\na 1\n",
    ],
)
def test_the_parser_can_refuse(text: str) -> None:
    with pytest.raises(Malformed):
        parse(text)


def test_operations_on_members_are_no_recoveries() -> None:
    members = {"db1": member(1), "db2": member(2, "db1"), "db3": member(3, "db1", out_of_service="disk")}
    found = parse(metrics.render(status({"ledger": cluster(members=members)}), [maintenance(outcome="refused")], NOW))
    assert of(found, "mysql_ha_recoveries", cluster="ledger", outcome="refused") == 0
    assert of(found, "mysql_ha_member_out_of_service", cluster="ledger", member="db3") == 1
    assert of(found, "mysql_ha_member_out_of_service", cluster="ledger", member="db2") == 0
    assert of(found, "mysql_ha_cluster_needs_attention", cluster="ledger") == 0


def test_what_one_cluster_says() -> None:
    found = parse(metrics.render(status({"ledger": STATES["promoted"]}), HISTORY, NOW))
    assert of(found, "mysql_ha_cluster_members", cluster="ledger") == 3
    assert of(found, "mysql_ha_cluster_members_answering", cluster="ledger") == 2
    assert of(found, "mysql_ha_cluster_term", cluster="ledger") == 5
    assert of(found, "mysql_ha_cluster_cooldown", cluster="ledger") == 1
    assert of(found, "mysql_ha_cluster_needs_attention", cluster="ledger") == 1
    assert of(found, "mysql_ha_cluster_needs_person", cluster="ledger") == 0
    assert of(found, "mysql_ha_member_up", cluster="ledger", member="db1") == 0
    assert of(found, "mysql_ha_member_primary", cluster="ledger", member="db2") == 1
    assert of(found, "mysql_ha_member_attached", cluster="ledger", member="db3") == 1
    assert of(found, "mysql_ha_member_lag_seconds", cluster="ledger", member="db3") == 0.2
    assert of(found, "mysql_ha_recoveries", cluster="ledger", outcome="promoted") == 1
    assert of(found, "mysql_ha_recoveries", cluster="ledger", outcome="failed") == 0
    assert of(found, "mysql_ha_recoveries", cluster="shop-007", outcome="refused") == 1
    assert of(found, "mysql_ha_last_recovery_outage_seconds", cluster="ledger") == 0.742
    assert of(found, "mysql_ha_last_recovery_unacknowledged", cluster="ledger") == 1
    assert of(found, "mysql_ha_tick_late_seconds") == 0.004
    assert of(found, "mysql_ha_process_cpu_seconds_total") == 1234.5
    assert of(found, "mysql_ha_manager_up") == 1
    assert of(found, "mysql_ha_manager_info", version="0.2.0", host="ha1") == 1


def test_exactly_one_verdict_and_one_action_hold() -> None:
    for name, found in {**STATES, "odd": cluster(verdict="made_up", action=None)}.items():
        samples = parse(metrics.render(status({name: found}), [], NOW))
        for family, words in (("verdict", glance.VERDICTS), ("action", glance.ACTIONS)):
            values = samples[f"mysql_ha_cluster_{family}"]
            assert sorted(values.values()) == [0.0] * (len(words) - 1) + [1.0], name
    assert of(samples, "mysql_ha_cluster_verdict", cluster="odd", verdict="unknown") == 1


def test_what_is_not_known_gives_no_sample() -> None:
    found = parse(metrics.render(status({"a": STATES["unknown"]}, tick_late_s=None), [], NOW))
    for name in (
        "mysql_ha_cluster_term",
        "mysql_ha_cluster_heartbeat_age_seconds",
        "mysql_ha_cluster_semi_sync_clients",
        "mysql_ha_member_lag_seconds",
        "mysql_ha_last_recovery_outage_seconds",
        "mysql_ha_tick_duration_seconds",
    ):
        assert name not in found
    more = parse(metrics.render(status({"a": cluster(heartbeat_age_s=0.4, semi_sync_clients=2)}), [], NOW))
    assert of(more, "mysql_ha_cluster_heartbeat_age_seconds", cluster="a") == 0.4
    assert of(more, "mysql_ha_cluster_semi_sync_clients", cluster="a") == 2


def test_a_loop_that_stands_still_is_not_up() -> None:
    found = parse(metrics.render(status({"a": STATES["healthy"]}), [], NOW + 60))
    assert of(found, "mysql_ha_manager_up") == 0
    assert of(found, "mysql_ha_tick_late_seconds") > 59


def test_every_name_says_its_unit_and_its_collection() -> None:
    for name in parse(metrics.render(status(many(300)), HISTORY, NOW)):
        assert name.startswith("mysql_ha_")
        assert not re.search(r"_(ms|s|minutes|hours|bytes_seconds)$", name)


@given(st.text(), st.text(), st.floats() | st.integers() | st.none() | st.text())
def test_any_name_and_any_value_stays_parsable(name: str, member: str, value: Any) -> None:
    found = cluster(term=value, since=value)
    found["members"] = {member: {**found["members"]["db2"], "lag_s": value}}
    samples = parse(metrics.render(status({name: found}, cpu_s=value), [{"cluster": name, "outcome": member}], NOW))
    assert of(samples, "mysql_ha_member_up", cluster=name, member=member) == 1
    for values in samples.values():
        assert all(math.isfinite(number) for number in values.values())
