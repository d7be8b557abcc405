# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last heartbeat row may testify, and when it is worth nothing."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.settings import MAXIMUM_TIMEOUT_MS
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import ServerState
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology import proof, testimony
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.testimony import (
    FRESH_WITHIN,
    SMALLEST_TIMEOUT_MS,
    judge,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.testimony import (
    Testimony as Judgement,
)
from hypothesis import given
from hypothesis import strategies as st

from .situations import NOW, beat, frozen, gtids, receiver, term, uuid

TERM = term(4, 2, no_tx_base=7)


def witness(number: int = 2, **changes: Any) -> ServerState:
    return frozen(TERM, number, receiver=receiver(state="OFF", **changes))


def said(**changes: Any) -> Judgement:
    """The judgement when the row says something else."""
    return judge(TERM, frozen(TERM, 2, heartbeats=(beat(TERM, **changes),)), [witness()])


def test_a_fresh_row_of_an_armed_primary_holds() -> None:
    judged = judge(TERM, witness(), [witness(), witness(3)])
    assert judged.holds
    assert judged.reasons == ()
    assert judged.heartbeat == beat(TERM)
    assert judged.heard_by in (uuid(2), uuid(3))


DEGRADED = [
    ({"term": 2}, "semi_sync_testimony_of_another_term"),
    ({"term": 0}, "semi_sync_testimony_of_another_term"),
    ({"source_active": False}, "semi_sync_was_off"),
    ({"no_tx": 8}, "semi_sync_had_degraded"),
    ({"wait_count": 1}, "semi_sync_waited_for_fewer"),
    ({"wait_point": "AFTER_COMMIT"}, "semi_sync_wait_point"),
    ({"wait_point": ""}, "semi_sync_wait_point"),
    ({"timeout_ms": 10_000}, "semi_sync_time_out_too_short"),
    ({"timeout_ms": SMALLEST_TIMEOUT_MS - 1}, "semi_sync_time_out_too_short"),
    ({"wait_no_replica": False}, "semi_sync_gives_up_without_replicas"),
    ({"clients": 4}, "semi_sync_unregistered_acknowledger"),
]


@pytest.mark.parametrize(("change", "reason"), DEGRADED)
def test_a_row_that_speaks_against_semi_sync_testifies_nothing(change: dict[str, Any], reason: str) -> None:
    judged = said(**change)
    assert not judged.holds
    assert judged.reasons == (reason,)
    assert judged.heartbeat is not None, "the row is evidence, also when it does not hold"


@pytest.mark.parametrize(
    "change",
    [
        {"no_tx": 7},
        {"no_tx": 0},
        {"wait_count": 3},
        {"timeout_ms": SMALLEST_TIMEOUT_MS},
        {"timeout_ms": MAXIMUM_TIMEOUT_MS},
        {"clients": 0},
        {"clients": 3},
    ],
)
def test_what_does_not_weaken_semi_sync_is_no_reason(change: dict[str, Any]) -> None:
    assert said(**change).holds


def test_all_reasons_are_given_at_once() -> None:
    judged = said(
        term=9,
        source_active=False,
        no_tx=99,
        wait_count=0,
        wait_point="",
        timeout_ms=1,
        wait_no_replica=False,
        clients=9,
        written_at=NOW - 99,
    )
    assert set(judged.reasons) == {reason for _change, reason in DEGRADED} | {"semi_sync_unobserved"}


def test_no_row_of_this_primary_is_no_testimony() -> None:
    for rows in ((), (beat(TERM, server_uuid=uuid(3)),)):
        judged = judge(TERM, frozen(TERM, 2, heartbeats=rows), [witness()])
        assert (judged.holds, judged.reasons, judged.heartbeat) == (False, ("semi_sync_unobserved",), None)


NOBODY_HEARD = {
    "nobody was frozen": [],
    "it follows another server": [witness(source_uuid=uuid(4))],
    "it has no source": [frozen(TERM, 2, receiver=None)],
    "it never queued a transaction": [witness(last_queued_at=0.0)],
    "it received less than the elected server": [witness(retrieved=gtids("1:1-99"))],
}


@pytest.mark.parametrize("why", NOBODY_HEARD)
def test_without_a_witness_there_is_no_testimony(why: str) -> None:
    elected = frozen(TERM, 2)
    less = [dataclasses.replace(w, executed=gtids("1:1-99")) for w in NOBODY_HEARD[why]]
    judged = judge(TERM, elected, less if "less" in why else NOBODY_HEARD[why])
    assert (judged.holds, judged.reasons) == (False, ("semi_sync_unobserved",))


@pytest.mark.parametrize(
    ("gap", "holds"),
    [(0.0, True), (FRESH_WITHIN - 0.01, True), (FRESH_WITHIN + 0.01, False), (60.0, False)],
)
def test_freshness_by_the_primarys_clock(gap: float, holds: bool) -> None:
    """Transactions went on for that long after the last row: the keeper had stopped."""
    row = beat(TERM, written_at=NOW - gap)
    judged = judge(
        TERM,
        frozen(TERM, 2, heartbeats=(row,)),
        [witness(last_queued_committed_at=NOW, last_queued_at=NOW, last_heartbeat_at=NOW)],
    )
    assert judged.holds is holds
    assert judged.gap_primary == pytest.approx(gap, abs=0.001)


@pytest.mark.parametrize(
    ("gap", "holds"),
    [(0.0, True), (FRESH_WITHIN - 0.01, True), (FRESH_WITHIN + 0.01, False), (60.0, False)],
)
def test_freshness_by_the_replicas_clock(gap: float, holds: bool) -> None:
    """The primary was heard for that long after the last transaction, the row: it no longer committed rows."""
    judged = judge(TERM, frozen(TERM, 2), [witness(last_queued_at=NOW - gap, last_heartbeat_at=NOW)])
    assert judged.holds is holds
    assert judged.gap_replica == pytest.approx(gap, abs=0.001)


def test_a_heartbeat_before_the_last_transaction_is_no_gap() -> None:
    judged = judge(TERM, witness(), [witness(last_queued_at=NOW, last_heartbeat_at=NOW - 900)])
    assert (judged.holds, judged.gap_replica) == (True, 0.0)


@given(primary=st.integers(-(10**6), 10**6), replica=st.integers(-(10**6), 10**6), stale=st.booleans())
def test_clocks_that_disagree_change_nothing(primary: int, replica: int, stale: bool) -> None:
    """Each gap is measured within one clock, so moving either clock as a whole moves no gap."""
    late = 10.0 if stale else 1.0
    heard = witness(
        last_queued_committed_at=NOW - 0.2 + primary,
        last_queued_at=NOW - 0.2 + replica,
        last_heartbeat_at=NOW - 0.2 + late + replica,
    )
    elected = frozen(TERM, 2, heartbeats=(beat(TERM, written_at=NOW - 0.3 + primary),))
    judged = judge(TERM, elected, [heard])
    assert judged.holds is not stale
    assert (judged.gap_primary, judged.gap_replica) == (pytest.approx(0.1, abs=0.01), pytest.approx(late, abs=0.01))


@pytest.mark.parametrize("order", [(2, 3, 4), (4, 3, 2), (3, 4, 2)])
def test_the_worst_witness_counts(order: tuple[int, ...]) -> None:
    """One that heard the primary long after the row shows that the row was stale, whoever else did not."""
    late = {2: NOW, 3: NOW + 30, 4: NOW + 1}
    judged = judge(TERM, witness(), [witness(number, last_heartbeat_at=late[number]) for number in order])
    assert (judged.holds, judged.reasons, judged.heard_by) == (False, ("semi_sync_unobserved",), uuid(3))


def test_a_witness_that_is_ahead_of_the_elected_server_is_heard() -> None:
    """It received everything the elected one did, and heard the primary for longer."""
    ahead = witness(3, retrieved=gtids("1:1-101"), last_queued_committed_at=NOW + 30)
    assert not judge(TERM, witness(), [witness(), ahead]).holds


def test_how_fresh_is_fresh_is_the_callers_choice() -> None:
    old = witness(last_heartbeat_at=NOW + 5)
    assert not judge(TERM, witness(), [old]).holds
    assert judge(TERM, witness(), [old], fresh_within=10.0).holds


def test_every_reason_has_a_sentence_for_a_person() -> None:
    reasons = {reason for _change, reason in DEGRADED} | {"semi_sync_unobserved"}
    assert reasons == set(proof._TESTIMONY_SENTENCES)
    source = inspect.getsource(testimony)
    assert all(f'"{reason}"' in source for reason in reasons)
