# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift: each difference is found, and nothing else."""

from __future__ import annotations

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.settings import (
    MUST_NOT_PERSIST,
    NAMES,
    SETTINGS,
    SYNC_RELAY_LOG,
    Setting,
    drift,
)

GOOD = {setting.name: setting.expected for setting in (*SETTINGS, SYNC_RELAY_LOG)}
OTHER = {"ON": "OFF", "OFF": "ON", "1": "2", "ROW": "MIXED", "FULL": "MINIMAL", "CRC32": "NONE"}
EXACT = [s for s in (*SETTINGS, SYNC_RELAY_LOG) if s.at_least is None and s.at_most is None]
BOUNDED = [s for s in SETTINGS if s.at_least is not None or s.at_most is not None]


def test_a_server_that_carries_everything_has_no_drift() -> None:
    assert drift(GOOD) == ()
    assert drift(GOOD, "memory") == ()


@pytest.mark.parametrize("setting", EXACT, ids=lambda s: s.name)
def test_another_value_is_drift(setting: Setting) -> None:
    wrong = OTHER[setting.expected]
    (found,) = drift({**GOOD, setting.name: wrong})
    assert (found.name, found.expected, found.actual) == (setting.name, setting.expected, wrong)
    assert (found.why, found.safety) == (setting.why, setting.safety)
    assert found.why


@pytest.mark.parametrize("setting", [*EXACT, *BOUNDED], ids=lambda s: s.name)
def test_an_absent_value_is_drift_unless_it_is_optional(setting: Setting) -> None:
    found = drift({name: value for name, value in GOOD.items() if name != setting.name})
    assert [d.name for d in found] == ([] if setting.optional else [setting.name])
    assert all(d.actual == "(absent)" for d in found)


@pytest.mark.parametrize("setting", BOUNDED, ids=lambda s: s.name)
def test_bounds_are_part_of_what_is_allowed(setting: Setting) -> None:
    assert setting.at_least is not None
    assert setting.at_most is not None
    for value, ok in (
        (setting.at_least - 1, False),
        (setting.at_least, True),
        (setting.at_most, True),
        (setting.at_most + 1, False),
    ):
        assert (drift({**GOOD, setting.name: str(value)}) == ()) is ok
    assert setting.holds(setting.expected)


@pytest.mark.parametrize(("at_least", "at_most", "value", "holds"), [(2, None, "99", True), (None, 2, "0", True)])
def test_one_bound_is_enough(at_least: int | None, at_most: int | None, value: str, holds: bool) -> None:
    assert Setting("x", "2", "why", at_least=at_least, at_most=at_most).holds(value) is holds


@pytest.mark.parametrize("word", ["on", "ON ", "1", "YES", "yes"])
def test_the_words_for_on_are_one(word: str) -> None:
    assert drift({**GOOD, "gtid_mode": word}) == ()


@pytest.mark.parametrize("word", ["ON_PERMISSIVE", "OFF_PERMISSIVE", "0", "NO", ""])
def test_words_that_only_look_like_on_are_drift(word: str) -> None:
    assert [d.name for d in drift({**GOOD, "gtid_mode": word})] == ["gtid_mode"]


def test_an_acknowledgement_in_memory_needs_no_synced_relay_log() -> None:
    loose = {**GOOD, "sync_relay_log": "10000"}
    assert [d.name for d in drift(loose, "disk")] == ["sync_relay_log"]
    assert drift(loose, "memory") == ()
    assert drift({k: v for k, v in GOOD.items() if k != "sync_relay_log"}, "memory") == ()


@pytest.mark.parametrize("name", MUST_NOT_PERSIST)
@pytest.mark.parametrize("value", ["ON", "OFF", "0", ""])
def test_a_persisted_variable_is_drift_whatever_its_value(name: str, value: str) -> None:
    (found,) = drift({**GOOD, f"@persisted.{name}": value})
    assert (found.name, found.actual, found.safety) == (f"persisted {name}", value, True)


def test_other_persisted_variables_are_nobodys_business() -> None:
    assert drift({**GOOD, "@persisted.max_connections": "500"}) == ()


def test_all_drift_is_reported_at_once() -> None:
    found = drift({"@persisted.read_only": "ON"})
    assert len(found) == len([s for s in SETTINGS if not s.optional]) + 2


def test_what_is_asserted_is_read() -> None:
    assert set(GOOD) <= set(NAMES)
    assert len(NAMES) == len(set(NAMES))


# One setting that is not a safety setting by mistake turns a false proof into "proven".
def test_what_a_proof_rests_on() -> None:
    assert {s.name for s in (*SETTINGS, SYNC_RELAY_LOG) if s.safety} == {
        "gtid_mode",
        "enforce_gtid_consistency",
        "log_bin",
        "log_replica_updates",
        "binlog_format",
        "sync_binlog",
        "innodb_flush_log_at_trx_commit",
        "relay_log_recovery",
        "replica_preserve_commit_order",
        "skip_replica_start",
        "binlog_checksum",
        "sync_relay_log",
    }
