# SPDX-License-Identifier: GPL-3.0-or-later
"""One statement, in each server's words, and its row as a sample."""

from __future__ import annotations

import re

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import question
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.dialect import Dialect

from .peer import columns, uuid_of

VARIABLES = (
    "rpl_semi_sync_source_enabled",
    "rpl_semi_sync_source_wait_for_replica_count",
    "rpl_semi_sync_replica_enabled",
)


def asked(names: Dialect, known: set[str] | None = None) -> str:
    own = {names.semi_sync_variable(name) for name in VARIABLES} if names.semi_sync_generation else set()
    return question.statement(names, own if known is None else known)


NEW, OLD, NONE = Dialect((9, 7, 4), "source"), Dialect((8, 0, 26), "master"), Dialect((9, 7, 4), "")


def row(number: int, **changes: str | None) -> list[bytes | None]:
    values = columns(number, **changes)
    return [None if values[name] is None else str(values[name]).encode() for name in question.NAMES]


@pytest.mark.parametrize("names", [NEW, OLD, NONE])
def test_it_is_one_statement_that_changes_nothing(names: Dialect) -> None:
    sql = asked(names)
    assert sql.startswith("SELECT ") and ";" not in sql
    assert not re.search(r"\b(INSERT|UPDATE|DELETE|SET|CALL|FOR UPDATE|LOCK|GET_LOCK|SLEEP|SHOW)\b", sql)
    columns_of_it = sql.split(" FROM (SELECT 1 AS one)")[0]
    assert [int(n) for n in re.findall(r" AS c(\d+)", columns_of_it)] == list(range(len(question.NAMES)))
    assert len(sql) < 3000


def test_each_server_is_asked_in_its_words() -> None:
    assert "@@GLOBAL.rpl_semi_sync_source_wait_for_replica_count" in asked(NEW)
    assert "'Rpl_semi_sync_source_wait_sessions'" in asked(NEW)
    old = asked(OLD)
    assert "@@GLOBAL.rpl_semi_sync_master_wait_for_slave_count" in old and "'Rpl_semi_sync_master_clients'" in old
    assert "semi_sync_source" not in old and "semi_sync_replica" not in old
    assert "semi_sync" not in asked(NONE)
    assert "global_status" not in asked(NONE)


def test_tables_that_cost_are_read_by_their_keys() -> None:
    """Every table has a condition on its key; global_status is read behind the switch of the source side only."""
    sql = asked(NEW)
    assert re.search(r"IF\(@@GLOBAL\.rpl_semi_sync_source_enabled, \(SELECT .*global_status.*\), NULL\)", sql)
    for table in ("lossless_ha.term AS t ON t.revision =", "heartbeat AS h ON h.server_uuid ="):
        assert table in sql
    assert "c.CHANNEL_NAME = ''" in sql
    assert re.search(
        r"IF\(c\.SERVICE_STATE IS NULL, NULL, \(SELECT .*file_summary_by_event_name WHERE EVENT_NAME = ", sql
    )


def test_a_plugin_that_is_missing_is_not_asked() -> None:
    sql = asked(NEW, {"rpl_semi_sync_replica_enabled"})
    assert "@@GLOBAL.rpl_semi_sync_replica_enabled" in sql
    assert "semi_sync_source" not in sql and "global_status" not in sql


def test_rows_become_samples() -> None:
    reader = question.Reader("db1")
    sample = reader.read(row(1), 5.0, 5.1)
    assert (sample.name, sample.asked_at, sample.answered_at, sample.server_uuid) == ("db1", 5.0, 5.1, uuid_of(1))
    assert (sample.writable, sample.offline, sample.clock) == (True, False, 1763700000.25)
    assert (sample.receiver, sample.heartbeats, sample.source_enabled, sample.wait_count) == ("", 0, True, 1)
    assert (sample.clients, sample.no_tx, sample.wait_sessions, sample.source_active) == (2, 0, 1, True)
    old = "Uptime=9,Rpl_semi_sync_master_clients=3,Rpl_semi_sync_master_status=OFF"
    sample = reader.read(row(1, source_status=old), 6.0, 6.1)
    assert (sample.clients, sample.source_active, sample.uptime, sample.wait_sessions) == (3, False, 9, None)
    nothing = reader.read(row(1, **dict.fromkeys(question.NAMES[4:])), 7.0, 7.1)
    assert (nothing.term, nothing.beat, nothing.receiver, nothing.progress) == (None, (0, -1), "", ("", 0, "", "", 0))


@pytest.mark.parametrize("change", ["heartbeats", "last_queued", "queueing", "relay_bytes", "source_uuid"])
def test_everything_that_shows_that_the_source_was_heard_is_progress(change: str) -> None:
    reader = question.Reader("db2")
    before = reader.read(row(2), 1.0, 1.1)
    assert reader.read(row(2, **{change: "8888"}), 2.0, 2.1).progress != before.progress
    same = reader.read(row(2, clock="1763709999.0", beat_sequence="18"), 2.0, 2.1)
    assert same.progress == before.progress and same.beat != before.beat


def test_the_term_row_is_parsed_when_it_changes() -> None:
    reader = question.Reader("db2")
    first = reader.read(row(2), 1.0, 1.1).term
    assert reader.read(row(2), 2.0, 2.1).term is first
    changed = reader.read(row(2, revision="4", k="2"), 3.0, 3.1).term
    assert first is not None and changed is not None and (first.k, changed.k, changed.revision) == (1, 2, 4)


@pytest.mark.parametrize(
    "bad",
    [
        [],
        row(1)[:-1],
        [*row(1)[:3], b"soon", *row(1)[4:]],
        [*row(1)[:7], b"{", *row(1)[8:]],
        [*row(1)[:7], b"[7]", *row(1)[8:]],
        [*row(1)[:7], b"[{}]", *row(1)[8:]],
    ],
)
def test_a_row_that_is_none_is_a_value_error(bad: list[bytes | None]) -> None:
    """Then the connection is given up, and nothing is made of it."""
    with pytest.raises(ValueError):
        question.Reader("db1").read(bad, 1.0, 1.1)
