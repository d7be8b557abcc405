# SPDX-License-Identifier: GPL-3.0-or-later
"""Situations and what they are called: a verdict for each server and one for the whole."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import EMPTY
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.settings import MAXIMUM_TIMEOUT_MS
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    CONNECTING,
    FAILED,
    LOGIN_FAILED,
    NOT_SUPPORTED,
    OFF,
    TIMED_OUT,
    TLS_FAILED,
    UNREACHABLE,
    Applier,
    Observation,
    SemiSync,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology import diagnose as verdicts
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology import render
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.diagnose import diagnose

from .situations import (
    GOOD_SETTINGS,
    NOW,
    after_crash,
    bare,
    beat,
    cut,
    frozen,
    gtids,
    healthy,
    member,
    no_answer,
    observe,
    primary,
    receiver,
    replaced,
    replica,
    term,
    uuid,
)

T = term(3, 1)
H = healthy(T)
DEAD = after_crash(T)
NO_ROWS = {"term": None, "heartbeats": ()}


def semi(**changes: Any) -> dict[str, SemiSync]:
    """The primary's semi-sync, with something else."""
    return {"semi_sync": dataclasses.replace(primary(T).semi_sync, **changes)}


def drifted(**values: str) -> dict[str, dict[str, str]]:
    return {"settings": {**GOOD_SETTINGS, **values}}


def mute(number: int, **changes: Any) -> dict[str, SemiSync]:
    """A replica whose acknowledgement side is off."""
    return {"semi_sync": dataclasses.replace(replica(T, number).semi_sync, replica_enabled=False, **changes)}


def attached_stranger() -> Observation:
    two = term(2, 1)
    return observe(primary(two), replica(two, 2), replica(two, 3))


@dataclasses.dataclass(frozen=True)
class Row:
    """A situation, the verdict for the whole, the name of the primary, and the verdicts that are worth a look."""

    what: str
    seen: Observation
    verdict: str
    primary: str | None
    servers: dict[str, str] = dataclasses.field(default_factory=dict)


ROWS = [
    Row("healthy", H, "lossless", "db1", {"db1": "primary", "db2": "replica", "db3": "replica"}),
    Row("healthy, by name of an old run", healthy(term(5, 2)), "lossless", "db1", {"db5": "replica"}),
    # --- at risk: works, and the next fault may not be survived ---
    Row("a replica is silent", replaced(H, no_answer(3)), "lossless_at_risk", "db1", {"db3": "silent"}),
    Row(
        "a replica does not let us in",
        replaced(H, no_answer(3, LOGIN_FAILED)),
        "lossless_at_risk",
        "db1",
        {"db3": "alive_no_login"},
    ),
    Row(
        "a receiver is stopped",
        replaced(H, replica(T, 3, receiver=receiver(state=OFF))),
        "lossless_at_risk",
        "db1",
        {"db3": "replica_stopped"},
    ),
    Row(
        "an applier is stopped",
        replaced(H, replica(T, 3, applier=Applier(OFF))),
        "lossless_at_risk",
        "db1",
        {"db3": "replica_stopped"},
    ),
    Row(
        "an applier failed",
        replaced(H, replica(T, 3, applier=Applier(OFF, error_number=1062, error="Duplicate entry"))),
        "lossless_at_risk",
        "db1",
        {"db3": "replica_broken"},
    ),
    Row(
        "a receiver failed",
        replaced(H, replica(T, 3, receiver=receiver(state=OFF, error_number=13114, error="purged"))),
        "lossless_at_risk",
        "db1",
        {"db3": "replica_broken"},
    ),
    Row(
        "a receiver can not log in",
        replaced(H, replica(T, 3, receiver=receiver(state=CONNECTING, error_number=1045, error="denied"))),
        "lossless_at_risk",
        "db1",
        {"db3": "replica_connecting"},
    ),
    Row(
        "a receiver is connecting",
        replaced(H, cut(replica(T, 3))),
        "lossless_at_risk",
        "db1",
        {"db3": "replica_connecting"},
    ),
    Row(
        "an error that is over",
        replaced(H, replica(T, 3, receiver=receiver(error_number=2003, error="was away"))),
        "lossless",
        "db1",
        {"db3": "replica"},
    ),
    Row(
        "a replica follows a replica",
        replaced(H, replica(T, 3, receiver=receiver(2))),
        "lossless_at_risk",
        "db1",
        {"db3": "replica_astray"},
    ),
    Row(
        "a replica lost its source",
        replaced(H, replica(T, 3, receiver=None, applier=None)),
        "lossless_at_risk",
        "db1",
        {"db3": "standalone"},
    ),
    Row(
        "a replica was reset and keeps an empty channel",
        replaced(H, replica(T, 3, receiver=receiver(source_host="", source_uuid="", state=OFF), applier=Applier(OFF))),
        "lossless_at_risk",
        "db1",
        {"db3": "standalone"},
    ),
    Row("a registered server was wiped", replaced(H, bare(3)), "lossless_at_risk", "db1", {"db3": "empty"}),
    Row(
        "an acknowledger is switched off",
        replaced(H, replica(T, 3, **mute(3))),
        "lossless_at_risk",
        "db1",
        {"db3": "replica"},
    ),
    Row(
        "a replica has transactions of its own",
        replaced(H, replica(T, 3, executed=gtids("1:1-100,3:1-2"))),
        "lossless_at_risk",
        "db1",
        {"db3": "errant"},
    ),
    Row(
        "a setting that no proof rests on drifted",
        replaced(H, replica(T, 3, **drifted(replica_net_timeout="60"))),
        "lossless_at_risk",
        "db1",
        {"db3": "replica"},
    ),
    # --- uncertain: works, and a failover now could not be proven ---
    Row("the primary waits for fewer", replaced(H, primary(T, **semi(wait_count=0))), "lossless_uncertain", "db1"),
    Row("AFTER_COMMIT", replaced(H, primary(T, **semi(wait_point="AFTER_COMMIT"))), "lossless_uncertain", "db1"),
    Row("commits went unacknowledged", replaced(H, primary(T, **semi(no_tx=1))), "lossless_uncertain", "db1"),
    Row(
        "a time-out a millisecond short",
        replaced(H, primary(T, **semi(timeout_ms=MAXIMUM_TIMEOUT_MS - 1))),
        "lossless_uncertain",
        "db1",
    ),
    Row(
        "stops waiting without replicas",
        replaced(H, primary(T, **semi(wait_no_replica=False))),
        "lossless_uncertain",
        "db1",
    ),
    Row("more acknowledge than registered", replaced(H, primary(T, **semi(clients=3))), "lossless_uncertain", "db1"),
    Row("a stranger acknowledges", attached_stranger(), "lossless_uncertain", "db1", {"db3": "replica"}),
    Row("no heartbeat", replaced(H, primary(T, heartbeats=())), "lossless_uncertain", "db1"),
    Row(
        "the heartbeat is of another server",
        replaced(H, primary(T, heartbeats=(beat(T, server_uuid=uuid(2)),))),
        "lossless_uncertain",
        "db1",
    ),
    Row(
        "the heartbeat is old",
        replaced(H, primary(T, heartbeats=(beat(T, written_at=NOW - 3.1),))),
        "lossless_uncertain",
        "db1",
    ),
    Row(
        "relay logs would be thrown away",
        replaced(H, replica(T, 3, **drifted(relay_log_recovery="ON"))),
        "lossless_uncertain",
        "db1",
    ),
    Row(
        "the primary's disk may forget",
        replaced(H, primary(T, **drifted(sync_binlog="0"))),
        "lossless_uncertain",
        "db1",
    ),
    Row(
        "a persisted variable would win over the file",
        replaced(H, replica(T, 3, settings={**GOOD_SETTINGS, "@persisted.super_read_only": "OFF"})),
        "lossless_uncertain",
        "db1",
    ),
    # --- the primary lives and does not do its work ---
    Row(
        "semi-sync is off",
        replaced(H, primary(T, **semi(source_enabled=False, source_active=False))),
        "asynchronous",
        "db1",
    ),
    Row("semi-sync gave up", replaced(H, primary(T, **semi(source_active=False))), "asynchronous", "db1"),
    Row(
        "no term row, one is writable",
        observe(primary(T, **NO_ROWS), replica(T, 2, **NO_ROWS)),
        "asynchronous",
        "db1",
        {"db1": "primary"},
    ),
    Row(
        "acknowledgers are gone and commits wait",
        replaced(H, primary(T, **semi(clients=0, wait_sessions=5))),
        "blocked",
        "db1",
    ),
    Row("commits wait for a moment", replaced(H, primary(T, **semi(wait_sessions=2))), "lossless", "db1"),
    Row(
        "the primary is read-only",
        replaced(H, primary(T, super_read_only=True, read_only=True)),
        "no_writes",
        "db1",
        {"db1": "primary_read_only"},
    ),
    Row(
        "an interrupted switchover: the target is open, the old one closed",
        replaced(H, primary(T, super_read_only=True), primary(T, 2)),
        "no_writes",
        "db1",
        {"db1": "primary_read_only", "db2": "writable_stranger"},
    ),
    # --- several ---
    Row(
        "the primary and another take writes",
        replaced(H, replica(T, 3, read_only=False, super_read_only=False)),
        "several_writable",
        "db1",
        {"db1": "primary", "db3": "writable_stranger"},
    ),
    Row(
        "two take writes, and the primary does not",
        replaced(H, primary(T, read_only=True), primary(T, 2), primary(T, 3)),
        "several_writable",
        "db1",
        {"db1": "primary_read_only", "db2": "writable_stranger"},
    ),
    Row(
        "two take writes, and the primary is dead",
        replaced(DEAD, primary(T, 2), primary(T, 3)),
        "several_writable",
        "db1",
    ),
    Row(
        "two take writes, and nobody is registered",
        observe(primary(T, 1, **NO_ROWS), primary(T, 2, **NO_ROWS)),
        "several_writable",
        None,
        {"db1": "writable_stranger"},
    ),
    # --- fenced ---
    Row(
        "a deposed primary that its keeper fenced: no second server takes writes",
        replaced(H, replica(T, 3, read_only=False, super_read_only=False, offline_mode=True)),
        "lossless_at_risk",
        "db1",
        {"db1": "primary", "db3": "fenced"},
    ),
    Row(
        "fenced and read-only",
        replaced(H, replica(T, 3, offline_mode=True)),
        "lossless_at_risk",
        "db1",
        {"db3": "fenced"},
    ),
    Row(
        "the primary is offline",
        replaced(H, primary(T, offline_mode=True)),
        "no_writes",
        "db1",
        {"db1": "primary_read_only"},
    ),
    # --- the primary is gone ---
    Row("dead", DEAD, "primary_dead", "db1", {"db1": "dead", "db2": "replica_connecting"}),
    Row("hung", after_crash(T, TIMED_OUT), "primary_dead_uncertain", "db1", {"db1": "dead_uncertain"}),
    Row("no route", after_crash(T, UNREACHABLE), "primary_dead_uncertain", "db1", {"db1": "dead_uncertain"}),
    Row(
        "cut off from here only",
        replaced(H, no_answer(1, TIMED_OUT)),
        "primary_unreachable_from_here",
        "db1",
        {"db1": "unreachable_from_here"},
    ),
    Row(
        "one replica hears it",
        replaced(DEAD, replica(T, 3)),
        "primary_unreachable_from_here",
        "db1",
        {"db1": "unreachable_from_here"},
    ),
    Row("refused here, heard there", replaced(H, no_answer(1)), "primary_unreachable_from_here", "db1"),
    Row(
        "frozen by a run that died",
        replaced(DEAD, frozen(T, 2), frozen(T, 3)),
        "primary_dead",
        "db1",
        {"db2": "replica_stopped"},
    ),
    Row(
        "half promoted: writable before the term row",
        replaced(DEAD, primary(T, 2)),
        "primary_dead",
        "db1",
        {"db2": "writable_stranger"},
    ),
    *(
        Row(
            f"the primary answers: {kind}",
            replaced(H, no_answer(1, kind)),
            "primary_unreachable_from_here",
            "db1",
            {"db1": "alive_no_login"},
        )
        for kind in (LOGIN_FAILED, TLS_FAILED, NOT_SUPPORTED, FAILED)
    ),
    Row("the primary is not among the members", observe(replica(T, 2), replica(T, 3)), "primary_dead_uncertain", "db1"),
    Row(
        "no term row, dead, all followed it",
        observe(no_answer(1), cut(replica(T, 2, **NO_ROWS)), cut(replica(T, 3, **NO_ROWS))),
        "primary_dead",
        "db1",
    ),
    # --- no primary at all ---
    Row(
        "no term row, followers of two",
        observe(no_answer(1), cut(replica(T, 2, **NO_ROWS)), replica(T, 3, receiver=receiver(4), **NO_ROWS)),
        "no_primary",
        None,
        {"db1": "silent"},
    ),
    Row(
        "read-only, with data, alone",
        observe(bare(1, executed=gtids("1:1-5")), bare(2)),
        "no_primary",
        None,
        {"db1": "standalone", "db2": "empty"},
    ),
    Row("fresh", observe(bare(1), bare(2), bare(3)), "fresh", None, {"db1": "empty"}),
    Row("fresh, one not up yet", observe(bare(1), bare(2), no_answer(3)), "fresh", None, {"db3": "silent"}),
    Row(
        "nobody answers",
        observe(no_answer(1, TIMED_OUT), no_answer(2, TIMED_OUT)),
        "no_answer",
        None,
        {"db1": "silent", "db2": "silent"},
    ),
    # --- after a failover ---
    Row(
        "the deposed primary is back with transaction 101",
        observe(
            bare(1, executed=gtids("1:1-101"), term=T),
            primary(term(primary=2, term=2, revision=2), 2, executed=gtids("1:1-100,2:1-9")),
        ),
        "lossless_at_risk",
        "db2",
        {"db1": "errant", "db2": "primary"},
    ),
    Row(
        "the deposed primary is back and writable",
        observe(
            primary(T, executed=gtids("1:1-101")),
            primary(term(primary=2, term=2, revision=2), 2, executed=gtids("1:1-100,2:1-9")),
        ),
        "several_writable",
        "db2",
        {"db1": "writable_stranger", "db2": "primary"},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_verdicts(row: Row) -> None:
    diagnosis = diagnose(row.seen)
    assert (diagnosis.verdict, diagnosis.primary) == (row.verdict, row.primary), diagnosis.reasons
    assert {name: diagnosis.servers[name].verdict for name in row.servers} == row.servers
    assert diagnosis.reasons or diagnosis.verdict == verdicts.LOSSLESS, "a verdict that is not good has its reasons"
    assert set(diagnosis.servers) == {m.name for m in row.seen.members}


def test_every_verdict_has_a_situation() -> None:
    """Read from the source: a verdict that is added without a row here fails."""
    names = {
        target.id
        for node in ast.parse(inspect.getsource(verdicts)).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    produced = {row.verdict for row in ROWS}
    for row in ROWS:
        produced |= {server.verdict for server in diagnose(row.seen).servers.values()}
    assert {getattr(verdicts, name) for name in names} == produced


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_every_situation_can_be_shown_and_written_as_json(row: Row) -> None:
    diagnosis = diagnose(row.seen)
    result = json.loads(json.dumps(render.as_result(row.seen, diagnosis)))
    assert result["verdict"] == row.verdict
    assert set(result["servers"]) == set(diagnosis.servers)
    lines = render.summary(row.seen, diagnosis)
    assert lines[0].startswith(f"{row.verdict}: primary {row.primary or '(none)'}")
    assert all(any(name in line for line in lines) for name in diagnosis.servers)
    assert all(any(reason in line for line in lines) for reason in diagnosis.reasons)


def test_reasons_name_the_server_and_the_fact() -> None:
    diagnosis = diagnose(replaced(H, primary(T, **semi(no_tx=3)), replica(T, 3, **drifted(relay_log_recovery="ON"))))
    text = " ".join(diagnosis.reasons)
    assert "db1 committed 3 transactions without acknowledgement" in text
    assert "db3: relay_log_recovery is ON, not OFF" in text


def test_an_absent_acknowledger_is_named() -> None:
    assert "registered and not acknowledging: db3" in diagnose(replaced(H, replica(T, 3, **mute(3)))).reasons


def test_drift_of_a_server_that_is_not_registered_makes_no_proof_uncertain() -> None:
    two = term(2, 1)
    extra = replica(two, 3, **mute(3), **drifted(relay_log_recovery="ON"))
    assert diagnose(observe(primary(two), replica(two, 2), extra)).verdict == verdicts.LOSSLESS_AT_RISK


def test_what_the_term_promises_decides_what_is_drift() -> None:
    loose = drifted(sync_relay_log="10000")
    row = term(acknowledgement="memory")
    assert diagnose(observe(primary(row), replica(row, 2, **loose), replica(row, 3))).verdict == verdicts.LOSSLESS
    row = term(acknowledgement="disk")
    seen = observe(primary(row), replica(row, 2, **loose), replica(row, 3))
    assert diagnose(seen, acknowledgement="memory").verdict == verdicts.LOSSLESS_UNCERTAIN


def test_what_the_primary_could_not_know_was_harmless_when_it_was_armed() -> None:
    row = term(no_tx_base=4)
    seen = observe(primary(row, **semi(no_tx=4)), replica(row, 2), replica(row, 3))
    assert diagnose(seen).verdict == verdicts.LOSSLESS


# --- who is primary --------------------------------------------------------------------------------------------------
def test_the_newest_term_row_names_the_primary_whoever_holds_it() -> None:
    newer = term(primary=2, term=2, revision=2)
    seen = observe(primary(T), primary(newer, 2), replica(T, 3))
    assert diagnose(seen).primary == "db2"
    assert seen.term == newer


def test_a_revision_of_the_same_term_replaces_the_older_one() -> None:
    assert observe(primary(T), replica(term(revision=2, k=2), 2)).term == term(revision=2, k=2)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ((member(1), member(2)), "db1"),
        ((member(2), member(9, host="10.0.0.1")), "db9"),
        ((member(2), member(1, host="elsewhere")), "db1"),
        ((member(2), member(9, host="10.0.0.1", port=3306)), "db1"),
    ],
)
def test_a_silent_primary_is_known_by_its_name_or_its_address(asked: tuple, name: str) -> None:
    silent = [dataclasses.replace(no_answer(1), name=m.name) for m in asked if m.name != "db2"]
    seen = observe(cut(replica(T, 2)), *silent, members=asked)
    assert verdicts.primary_of_record(seen) == (name, uuid(1))


def test_without_a_term_a_writable_replica_is_not_taken_for_the_primary() -> None:
    astray = replica(T, 2, read_only=False, super_read_only=False, **NO_ROWS)
    assert verdicts.primary_of_record(observe(primary(T, **NO_ROWS), astray))[0] == "db1"


def test_without_a_term_a_read_only_server_that_all_follow_is_the_primary() -> None:
    seen = observe(bare(1, executed=gtids("1:1-9")), replica(T, 2, **NO_ROWS), replica(T, 3, **NO_ROWS))
    assert verdicts.primary_of_record(seen) == ("db1", uuid(1))
    assert diagnose(seen).verdict == verdicts.NO_WRITES


def test_the_statement_of_durability_goes_by_the_term_row() -> None:
    statement = diagnose(healthy(term(5, 2))).durability
    assert statement is not None
    assert (statement.n, statement.k, statement.freeze_required) == (4, 2, 3)
    assert diagnose(observe(bare(1))).durability is None


# --- errant transactions ---------------------------------------------------------------------------------------------
DEPOSED = term(primary=2, term=2, revision=2)


@pytest.mark.parametrize(
    ("what", "executed", "surplus"),
    [
        ("the same as the primary", "1:1-100,2:1-9", ""),
        ("behind", "1:1-90", ""),
        ("ahead with what waits for its acknowledgement at the primary", "1:1-100,2:1-12", ""),
        ("what it made itself", "1:1-100,2:1-9,3:1", "3:1"),
        ("what the deposed primary left there", "1:1-101,2:1-9", "1:101"),
        ("both at once", "1:1-101,2:1-12,3:4-5", "1:101,3:4-5"),
    ],
)
def test_errant_with_the_answer_of_the_primary(what: str, executed: str, surplus: str) -> None:
    new = primary(DEPOSED, 2, executed=gtids("1:1-100,2:1-9"))
    server = replica(DEPOSED, 3, executed=gtids(executed), receiver=receiver(2))
    assert verdicts.errant(server, observe(new, server), new, uuid(2)) == gtids(surplus)


@pytest.mark.parametrize(
    ("what", "executed", "others", "surplus"),
    [
        ("transactions of the silent primary", "1:1-105", "1:1-100", ""),
        ("its own, and nobody else has them", "1:1-100,3:1-2", "1:1-100", "3:1-2"),
        ("its own, and another one has some", "1:1-100,3:1-2", "1:1-100,3:1", "3:2"),
        ("its own, from a time when it was primary", "1:1-100,3:1-2", "1:1-100,3:1-9", ""),
    ],
)
def test_errant_without_the_answer_of_the_primary(what: str, executed: str, others: str, surplus: str) -> None:
    server = cut(replica(T, 3, executed=gtids(executed)))
    other = cut(replica(T, 2, executed=gtids(others)))
    assert verdicts.errant(server, observe(no_answer(1), other, server), None, uuid(1)) == gtids(surplus)


def test_what_another_received_and_has_not_executed_is_not_errant() -> None:
    server = cut(replica(T, 3, executed=gtids("1:1-100,3:1")))
    other = cut(replica(T, 2, receiver=receiver(retrieved=gtids("3:1"))))
    assert verdicts.errant(server, observe(no_answer(1), other, server), None, uuid(1)) == EMPTY


def test_the_primary_itself_is_never_errant() -> None:
    alone = primary(T, executed=gtids("1:1-200,9:1"))
    assert verdicts.errant(alone, observe(alone, replica(T, 2)), alone, uuid(1)) == EMPTY


def test_without_a_primary_nothing_is_errant() -> None:
    lone, other = bare(1, executed=gtids("1:1-5")), bare(2, executed=gtids("2:1-5"))
    assert diagnose(observe(lone, other)).errant == {}


def test_errant_transactions_are_listed_by_server() -> None:
    diagnosis = diagnose(replaced(H, replica(T, 3, executed=gtids("1:1-100,3:1-2"))))
    assert diagnosis.errant == {"db3": gtids("3:1-2")}


# --- lag -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("ours", "theirs", "lag"),
    [(NOW - 5.0, NOW, 5.0), (NOW, NOW, 0.0), (NOW + 1.0, NOW, 0.0), (None, NOW, None), (NOW, None, None)],
)
def test_lag_is_the_distance_between_heartbeat_rows(ours: Any, theirs: Any, lag: Any) -> None:
    """Both rows bear the primary's clock, so the replica's clock does not matter."""

    def rows(at: Any) -> tuple:
        return () if at is None else (beat(T, server_uuid=uuid(7)), beat(T, written_at=at))

    server = replica(T, 2, heartbeats=rows(ours), clock=NOW - 10**6)
    assert verdicts.lag(server, primary(T, heartbeats=rows(theirs)), uuid(1)) == lag


def test_lag_is_unknown_when_heartbeats_have_ended() -> None:
    old = NOW - verdicts.FRESH_WITHIN
    rows = (beat(T, written_at=old),)
    assert verdicts.lag(replica(T, 2, heartbeats=rows), primary(T, heartbeats=rows, clock=NOW), uuid(1)) == 0.0
    assert verdicts.lag(replica(T, 2, heartbeats=rows), primary(T, heartbeats=rows, clock=NOW + 0.1), uuid(1)) is None


def test_lag_is_unknown_without_the_primary() -> None:
    assert verdicts.lag(replica(T, 2), None, uuid(1)) is None
    assert diagnose(DEAD).servers["db2"].lag is None
    assert diagnose(H).servers["db2"].lag == 0.0
    assert diagnose(H).servers["db1"].lag is None


# --- signs of life ---------------------------------------------------------------------------------------------------
def test_only_connected_receivers_of_the_primary_hear_it() -> None:
    seen = observe(no_answer(1), replica(T, 2), cut(replica(T, 3)), replica(T, 4, receiver=receiver(2)))
    assert verdicts.heard_by(seen, uuid(1)) == ["db2"]


@pytest.mark.parametrize(
    ("what", "now", "heard"),
    [
        ("nothing", {}, []),
        ("a heartbeat", {"heartbeats": 11}, ["db2"]),
        ("a transaction", {"retrieved": gtids("1:1-101")}, ["db2"]),
        ("a heartbeat of another source", {"heartbeats": 11, "source_uuid": uuid(3)}, []),
    ],
)
def test_progress_between_two_looks(what: str, now: dict[str, Any], heard: list[str]) -> None:
    before = observe(no_answer(1, TIMED_OUT), replica(T, 2))
    after = observe(no_answer(1, TIMED_OUT), replica(T, 2, receiver=receiver(**now)))
    assert verdicts.progressed(before, after, uuid(1)) == heard


def test_a_server_seen_once_shows_no_progress() -> None:
    seen = observe(replica(T, 2, receiver=None), no_answer(3))
    later = observe(replica(T, 2), replica(T, 3))
    assert verdicts.progressed(seen, later, uuid(1)) == []
    assert verdicts.progressed(later, seen, uuid(1)) == []


# --- out of service --------------------------------------------------------------------------------------------------
def without_db3(**changes: Any) -> Any:
    row = term(3, 1)
    members = tuple(
        dataclasses.replace(m, acknowledges=m.name != "db3", **changes) if m.name == "db3" else m for m in row.members
    )
    return dataclasses.replace(row, members=members)


@pytest.mark.parametrize(
    "answer",
    [
        lambda row: no_answer(3),
        lambda row: replica(row, 3, receiver=receiver(state=OFF), applier=Applier(OFF)),
        lambda row: replica(row, 3, settings={**GOOD_SETTINGS, "sync_binlog": "0"}, semi_sync=SemiSync()),
        lambda row: bare(3),
    ],
)
def test_who_was_taken_out_of_service_is_no_risk_and_no_doubt(answer: Any) -> None:
    row = without_db3(out="new disk")
    found = diagnose(observe(primary(row), replica(row, 2), answer(row)))
    assert found.verdict == "lossless", found.reasons
    row = without_db3()
    assert diagnose(observe(primary(row), replica(row, 2), answer(row))).verdict != "lossless"


def test_that_a_server_is_out_of_service_is_said() -> None:
    row = without_db3(out="new disk")
    found = diagnose(observe(primary(row), replica(row, 2), replica(row, 3, semi_sync=SemiSync())))
    assert "out of service: new disk" in found.servers["db3"].reasons


def test_the_primary_is_never_out_of_service() -> None:
    row = term(3, 1)
    members = tuple(dataclasses.replace(m, out="by mistake") if m.name == "db1" else m for m in row.members)
    assert dataclasses.replace(row, members=members).out_of_service == {}
