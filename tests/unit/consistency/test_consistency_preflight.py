# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a replica from passing before a row of it was read."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import preflight
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.preflight import errant, look
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    CONNECTING,
    NEXT_STEP,
    OFF,
    ON,
    Applier,
    NoAnswer,
    Receiver,
    ServerState,
)

P = "00000001-0000-0000-0000-000000000000"
R = "00000002-0000-0000-0000-000000000000"
OLD = "00000003-0000-0000-0000-000000000000"


def server(uuid: str, executed: str, **more: Any) -> ServerState:
    return ServerState(uuid[7], uuid, 1, "9.7.4", GtidSet.parse(executed), **more)


def replica(executed: str, receiver: str = ON, applier: str = ON, **more: Any) -> ServerState:
    return server(R, executed, receiver=Receiver(receiver, source_uuid=P), applier=Applier(applier, **more))


PRIMARY = server(P, f"{P}:1-10,{OLD}:1-5")
ALL = f"{P}:1-10,{OLD}:1-5"
BEHIND = f"{P}:1-9,{OLD}:1-5"
AHEAD = f"{P}:1-12,{OLD}:1-5"
CASES = (
    ("has everything", replica(ALL), []),
    ("has more, committed since the primary was asked", replica(AHEAD), []),
    ("is behind and applies", replica(BEHIND), []),
    ("has everything and replicates from nobody", server(R, ALL), []),
    ("has everything, and its threads stand still", replica(ALL, OFF, OFF), []),
    ("replicates from nobody", server(R, BEHIND), [("lagging", "replica_stands_still", True, "from nobody")]),
    ("its applier is off", replica(BEHIND, applier=OFF), [("lagging", "replica_stands_still", True, "applier")]),
    ("its applier broke", replica(BEHIND, applier=OFF, error="duplicate key"),
     [("lagging", "replica_stands_still", True, "duplicate key")]),
    ("its receiver is off", replica(BEHIND, OFF), [("lagging", "replica_stands_still", True, "receiver")]),
    ("its receiver only tries", replica(BEHIND, CONNECTING), [("lagging", "replica_stands_still", True, "receiver")]),
    ("has its own", replica(f"{ALL},{R}:1"), [("different", "errant_transactions", False, f"{R}:1")]),
    ("has those of an old primary", replica(f"{P}:1-10,{OLD}:1-6"),
     [("different", "errant_transactions", False, f"{OLD}:6")]),
    ("filters", replica(ALL, filtered=True), [("different", "replication_filters", False, "filter")]),
    ("all of it", replica(f"{BEHIND},{R}:1", applier=OFF, filtered=True),
     [("different", "errant_transactions", False, R), ("different", "replication_filters", False, "filter"),
      ("lagging", "replica_stands_still", True, "applier")]),
    ("is the primary", server(P, ALL), [("error", "same_server", True, "same server")]),
    ("is silent", NoAnswer("r", "refused", "r: refused"), [("error", "no_answer", True, "refused")]),
)  # fmt: skip


@pytest.mark.parametrize(("answer", "expected"), [each[1:] for each in CASES], ids=[each[0] for each in CASES])
def test_findings(answer: Any, expected: list[tuple[str, str, bool, str]]) -> None:
    found = look(PRIMARY, "r", answer)
    assert [(each.verdict, each.code, each.stops) for each in found] == [each[:3] for each in expected]
    for each, (_verdict, _code, _stops, why) in zip(found, expected, strict=True):
        assert why in each.why
        assert each.next_step
        assert each.replica == "r"
        assert each.verdict != "pass"
        assert "stops" not in each.as_result()


def test_what_an_applier_says_has_no_values() -> None:
    """Neither the key that is there twice nor a statement; the table and the number stay."""
    event = (
        "Could not execute Write_rows event on table bank.customer; Duplicate entry 'alice-canary' for key"
        " 'customer.PRIMARY', Error_code: 1062; handler error HA_ERR_FOUND_DUPP_KEY; the event's source log b.1,"
        " end_log_pos 9"
    )
    query = "Error 'no' on query. Default database: 'bank'. Query: 'INSERT INTO customer VALUES (4711, canary"
    for said, shown in ((event, "bank.customer; Duplicate entry '...', Error_code: 1062;"), (query, "Error '...'")):
        (found,) = look(PRIMARY, "r", replica(BEHIND, applier=OFF, error=said, error_number=1062))
        assert shown in found.why and "(1062)" in found.why
        assert "canary" not in str(found.as_result()) and "4711" not in found.why


def test_what_a_silent_server_needs_is_what_its_silence_needs() -> None:
    for kind, step in NEXT_STEP.items():
        (found,) = look(PRIMARY, "r", NoAnswer("r", kind, "no"))
        assert found.next_step == step


def test_mutant_what_the_primary_committed_meanwhile_is_errant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not errant(PRIMARY, replica(AHEAD))
    monkeypatch.setattr(preflight, "errant", lambda primary, other: other.executed - primary.executed)
    with pytest.raises(AssertionError):
        test_findings(replica(AHEAD), [])


def test_mutant_nobody_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_stopped", lambda primary, other: None)
    for _name, answer, expected in CASES:
        if any(each[1] == "replica_stands_still" for each in expected):
            with pytest.raises(AssertionError):
                test_findings(answer, expected)
