# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a server's state from what servers answer (``answers/``), without a server."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import EMPTY, GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import read, schema
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.settings import NAMES, drift
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import ServerState

ANSWERS = Path(__file__).parent / "answers"
A = "73f86016-978b-11ee-ade5-8d2a2a562feb"
B = "84a97127-978b-11ee-ade5-8d2a2a562feb"


class Answering:
    """A session to a server that gives those answers, and to those variables only that were asked for."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.name = "db2"
        self.answers = answers
        self.version = next(row["value"] for row in answers["variables"] if row["name"] == "version")
        self.dialect = None
        self.statements: list[str] = []
        self.deadlines: list[float] = []

    def query(self, sql: str, values: Sequence[Any] = (), *, within: float, secret: bool = False) -> list[Any]:
        self.statements.append(sql)
        self.deadlines.append(within)
        if "global_variables" in sql:
            assert sql.count("%s") == len(values)
            return [row for row in self.answers["variables"] if self._asked_for(row["name"], sql, values)]
        which = {
            "SHOW REPLICA STATUS": "replica_status",
            read._CONNECTION: "connection",
            schema.SELECT_TERM: "term",
            schema.SELECT_HEARTBEATS: "heartbeats",
        }[sql]
        answer = self.answers[which]
        if isinstance(answer, dict):
            raise StatementFailed("sql_error", "no", errno=answer["errno"])
        return list(answer)

    def one(self, sql: str, values: Sequence[Any] = (), *, within: float) -> Any:
        rows = self.query(sql, values, within=within)
        return rows[0] if rows else {}

    @staticmethod
    def _asked_for(name: str, sql: str, values: Sequence[str]) -> bool:
        if name == "@clock":
            return "UNIX_TIMESTAMP(NOW(6))" in sql
        if name.startswith("@persisted."):
            return "persisted_variables" in sql
        return name in values or name == "uptime" or name.startswith("rpl_semi_sync_")


def load(name: str) -> dict[str, Any]:
    answers = json.loads((ANSWERS / f"{name}.json").read_text())
    assert answers["source"].startswith(("put together from the MySQL", "recorded from MySQL"))
    return answers


def state_of(answers: dict[str, Any]) -> ServerState:
    return read.read_state(Answering(answers), within=1.0)  # type: ignore[arg-type]


def test_a_replica_of_8_0_with_the_old_plugins() -> None:
    state = state_of(load("documented-8.0.36-replica-old-plugins"))
    assert (state.name, state.server_uuid, state.server_id) == ("db2", B, 2)
    assert (state.version, state.uptime, state.clock) == ("8.0.36-28", 4711, 1790000000.25)
    assert state.executed == GtidSet.parse(f"{A}:1-15")
    assert not state.writable
    assert state.super_read_only
    assert state.receiver is not None
    assert (state.receiver.state, state.receiver.source_host, state.receiver.source_port) == ("ON", "10.0.0.1", 3306)
    assert (state.receiver.source_uuid, state.receiver.user) == (A, "lossless_repl_2")
    assert state.receiver.retrieved == GtidSet.parse(f"{A}:6-15")
    assert (state.receiver.auto_position, state.receiver.ssl, state.receiver.ssl_verify) == (True, True, True)
    assert (state.receiver.connect_retry, state.receiver.heartbeat_period, state.receiver.heartbeats) == (1, 0.5, 12)
    assert state.receiver.last_heartbeat_at == 1790000000.1
    assert state.receiver.last_queued_at == 1789999999.9
    assert state.receiver.last_queued_committed_at == 1789999999.8
    assert (state.receiver.error_number, state.receiver.error) == (0, "")
    assert state.applier is not None
    assert (state.applier.state, state.applier.delay, state.applier.filtered) == ("ON", 0, False)
    semi = state.semi_sync
    assert (semi.source_installed, semi.source_enabled, semi.source_active) == (True, False, False)
    assert (semi.replica_installed, semi.replica_enabled, semi.replica_active) == (True, True, True)
    assert (semi.wait_count, semi.timeout_ms, semi.wait_point) == (1, 4294967295, "AFTER_SYNC")
    assert semi.wait_no_replica
    assert drift(state.settings) == ()


def test_a_replica_of_8_4_whose_threads_failed() -> None:
    state = state_of(load("documented-8.4.3-replica"))
    assert state.receiver is not None
    assert (state.receiver.state, state.receiver.error_number) == ("CONNECTING", 2003)
    assert "error connecting" in state.receiver.error
    assert state.receiver.retrieved == GtidSet.parse(f"{A}:6-15:nightly:2-3")
    assert state.lacks_applied == GtidSet.parse(f"{A}:13-15")
    assert state.applier is not None
    assert (state.applier.state, state.applier.error_number, state.applier.delay) == ("OFF", 1062, 30)
    assert state.applier.filtered
    assert state.channels == ("", "reporting")


def test_a_primary_of_8_4() -> None:
    state = state_of(load("documented-8.4.3-primary"))
    assert (state.server_uuid, state.writable) == (A, True)
    assert state.purged == GtidSet.parse(f"{A}:1-5")
    assert (state.receiver, state.applier, state.channels) == (None, None, ())
    semi = state.semi_sync
    assert (semi.source_enabled, semi.source_active, semi.clients) == (True, True, 1)
    assert (semi.yes_tx, semi.no_tx, semi.wait_sessions) == (15, 2, 4)
    assert not semi.replica_enabled
    assert [d.name for d in drift(state.settings)] == ["persisted super_read_only"]


def test_a_primary_of_9_7_as_recorded() -> None:
    state = state_of(load("recorded-9.7.4-primary"))
    assert (state.version, state.version_comment, state.writable) == ("9.7.4-2", "(Debian)", True)
    assert state.executed == GtidSet.parse(f"{state.server_uuid}:1-4243")
    assert (state.receiver, state.channels) == (None, ())
    semi = state.semi_sync
    assert (semi.source_installed, semi.source_enabled, semi.source_active) == (True, True, True)
    assert (semi.clients, semi.wait_count, semi.timeout_ms, semi.no_tx, semi.yes_tx) == (2, 1, 4294967295, 0, 1019)
    assert (semi.wait_point, semi.wait_no_replica, semi.replica_enabled) == ("AFTER_SYNC", True, False)
    assert state.term is not None
    assert (state.term.primary_uuid, state.term.n, state.term.k) == (state.server_uuid, 2, 1)
    assert [(m.name, m.zone, m.city) for m in state.term.acknowledgers] == [("db2", "b", "one"), ("db3", "c", "one")]
    assert [beat.server_uuid for beat in state.heartbeats] == [state.server_uuid]
    assert 0 < state.clock - state.term.written_at < 3600
    assert drift(state.settings) == ()


def test_a_replica_of_9_7_as_recorded() -> None:
    primary, state = state_of(load("recorded-9.7.4-primary")), state_of(load("recorded-9.7.4-replica"))
    assert state.receiver is not None
    assert (state.receiver.state, state.receiver.source_host) == ("ON", "10.213.1.11")
    assert state.follows(primary.server_uuid)
    assert (state.receiver.auto_position, state.receiver.ssl, state.receiver.ssl_verify) == (True, True, True)
    assert state.receiver.user == f"lossless_repl_{state.server_id}"
    assert (state.receiver.connect_retry, state.receiver.heartbeat_period, state.receiver.heartbeats) == (1, 0.5, 1391)
    assert (
        0 < state.receiver.last_queued_committed_at < state.receiver.last_queued_at < state.receiver.last_heartbeat_at
    )
    assert state.clock - state.receiver.last_heartbeat_at < 1.0
    assert (state.lacks_applied, state.received) == (EMPTY, primary.executed)
    assert state.applier is not None
    assert (state.applier.state, state.applier.delay, state.applier.filtered) == ("ON", 0, False)
    semi = state.semi_sync
    assert (semi.source_enabled, semi.replica_enabled, semi.replica_active) == (False, True, True)
    assert (state.term, state.heartbeats) == (primary.term, primary.heartbeats)
    assert (state.writable, drift(state.settings)) == (False, ())


def test_the_rows_of_our_own_schema() -> None:
    state = state_of(load("documented-8.4.3-primary"))
    term = state.term
    assert term is not None
    assert (term.revision, term.term, term.primary_uuid, term.k, term.n) == (3, 2, A, 1, 1)
    assert (term.wait_point, term.acknowledgement, term.proof) == ("AFTER_SYNC", "disk", "proven")
    assert (term.run_id, term.reason, term.written_at) == ("r-1", "planned: db2 to db1", 1789990000.5)
    (other,) = term.acknowledgers
    assert (other.name, other.server_uuid, other.zone, other.city, other.priority) == ("db2", B, "b", "berlin", 50)
    (beat,) = state.heartbeats
    assert (beat.server_uuid, beat.term, beat.sequence, beat.written_at) == (A, 2, 77, 1789999999.8)
    assert (beat.source_active, beat.no_tx, beat.wait_count, beat.clients) == (True, 0, 1, 1)
    assert (beat.wait_point, beat.timeout_ms, beat.wait_no_replica) == ("AFTER_SYNC", 4294967295, True)


def test_a_bare_server_has_no_plugins_no_source_and_no_rows() -> None:
    state = state_of(load("documented-8.4.3-bare"))
    assert (state.term, state.heartbeats, state.executed, state.offline_mode) == (None, (), EMPTY, True)
    assert not state.semi_sync.source_installed
    assert not state.semi_sync.replica_installed


@pytest.mark.parametrize("number", [1049, 1146])
def test_a_missing_schema_is_no_error(number: int) -> None:
    answers = {**load("documented-8.4.3-primary"), "heartbeats": {"errno": number}}
    assert (state_of(answers).term, state_of(answers).heartbeats) == (None, ())


def test_rows_that_may_not_be_read_are_an_error() -> None:
    """Not the same as no rows: who has no right to see the term must not conclude that there is none."""
    with pytest.raises(StatementFailed):
        state_of({**load("documented-8.4.3-primary"), "term": {"errno": 1142}})


def test_empty_tables_are_no_rows() -> None:
    state = state_of({**load("documented-8.4.3-primary"), "term": [], "heartbeats": []})
    assert (state.term, state.heartbeats) == (None, ())


def test_a_channel_with_a_name_is_not_ours() -> None:
    answers = load("documented-8.4.3-replica")
    state = state_of({**answers, "replica_status": answers["replica_status"][1:]})
    assert (state.receiver, state.applier, state.channels) == (None, None, ("reporting",))


@pytest.mark.parametrize(
    ("running", "state"), [("Yes", "ON"), ("Connecting", "CONNECTING"), ("No", "OFF"), ("Preparing", "OFF")]
)
def test_the_states_of_a_receiver(running: str, state: str) -> None:
    answers = load("documented-8.4.3-replica")
    status = dict(answers["replica_status"][0], Replica_IO_Running=running)
    read_back = state_of({**answers, "replica_status": [status]}).receiver
    assert read_back is not None
    assert read_back.state == state


@pytest.mark.parametrize(
    "name",
    [f"Replicate_{what}" for what in ("Do_DB", "Ignore_DB", "Do_Table", "Ignore_Table", "Wild_Do_Table")]
    + ["Replicate_Wild_Ignore_Table", "Replicate_Rewrite_DB"],
)
def test_any_filter_is_seen(name: str) -> None:
    answers = load("documented-8.0.36-replica-old-plugins")
    status = dict(answers["replica_status"][0], **{name: "scratch"})
    applier = state_of({**answers, "replica_status": [status]}).applier
    assert applier is not None
    assert applier.filtered


def test_never_is_never_and_not_1970() -> None:
    """Timestamps that were never set come as zero; a server that never heard its source is no witness."""
    answers = load("documented-8.0.36-replica-old-plugins")
    zero = dict(answers["connection"][0], last_heartbeat_at=0, last_queued_at=0, last_queued_committed_at=None)
    receiver = state_of({**answers, "connection": [zero]}).receiver
    assert receiver is not None
    assert (receiver.last_heartbeat_at, receiver.last_queued_at, receiver.last_queued_committed_at) == (0.0, 0.0, 0.0)


def test_reading_changes_nothing_and_takes_five_statements() -> None:
    asked = Answering(load("documented-8.4.3-replica"))
    read.read_state(asked, within=1.0)  # type: ignore[arg-type]
    assert len(asked.statements) == 5
    assert all(re.match(r"\s*(SELECT|SHOW)\b", sql) for sql in asked.statements)


def test_all_statements_share_one_deadline() -> None:
    asked = Answering(load("documented-8.4.3-replica"))
    read.read_state(asked, within=0.5)  # type: ignore[arg-type]
    assert asked.deadlines == sorted(asked.deadlines, reverse=True)
    assert min(asked.deadlines) > 0
    assert max(asked.deadlines) <= 0.5


def test_the_percent_signs_survive_the_binding_of_values() -> None:
    assert not re.search(r"(?<!%)%(?!%)", read._VARIABLES.replace("%%", ""))


@pytest.mark.parametrize("path", sorted(ANSWERS.glob("*.json")), ids=lambda p: p.stem)
def test_every_answer_is_understood(path: Path) -> None:
    state = state_of(load(path.stem))
    assert state.server_uuid
    assert set(NAMES) <= set(state.settings)
