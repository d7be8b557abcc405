# SPDX-License-Identifier: GPL-3.0-or-later
"""Arming and disarming: what is sent, what is looked at, and when it is refused."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication import semi_sync
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.dialect import Dialect
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.settings import MAXIMUM_TIMEOUT_MS


class Session:
    """A server's semi-sync. ``status``: what it says of itself, answer by answer; the last one stays."""

    name = "db1"
    version = "9.7.4"

    def __init__(self, generation: str = "source", *, probed: bool = True, **row: int) -> None:
        self.generation = generation
        self.dialect: Optional[Dialect] = Dialect((9, 7, 4), generation) if probed else None
        self.row = {"read_only": 1, "waiting": 0, "follows": 0, **row}
        self.status = ["ON"]
        self.log: list[tuple[str, tuple[Any, ...]]] = []
        self.asked = 0

    def query(self, sql: str, values: Any = (), *, within: float) -> list[dict[str, Any]]:
        assert "global_variables" in sql
        return [{"name": f"rpl_semi_sync_{self.generation}_enabled"}]

    def one(self, sql: str, values: Any = (), *, within: float) -> dict[str, Any]:
        if values and values[0].endswith("_status"):
            self.asked += 1
            return {"value": self.status.pop(0) if len(self.status) > 1 else self.status[0]}
        if "AS armed" in sql:
            return {"armed": self.row["armed"], "k": self.row["k"]}
        assert values == (f"rpl_semi_sync_{self.generation}_wait_sessions",)
        return dict(self.row)

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self.log.append((sql, tuple(values)))


def arm(session: Session, active_within: Optional[float]) -> None:
    semi_sync.arm(session, 2, active_within=active_within, within=1)  # type: ignore[arg-type]


def disarm(session: Session, **how: bool) -> None:
    semi_sync.disarm(session, within=1, **how)  # type: ignore[arg-type]


def test_arming_is_one_statement_that_enables_last() -> None:
    session = Session()
    arm(session, None)
    ((sql, values),) = session.log
    assert [part.split()[1] for part in sql.removeprefix("SET ").split(", ")] == [
        "rpl_semi_sync_source_wait_for_replica_count",
        "rpl_semi_sync_source_timeout",
        "rpl_semi_sync_source_wait_no_replica",
        "rpl_semi_sync_source_wait_point",
        "rpl_semi_sync_source_enabled",
    ]
    assert values == (2, MAXIMUM_TIMEOUT_MS, 1, "AFTER_SYNC", 1)
    assert session.asked == 0, "a failover can not afford the look"


def test_who_can_afford_it_waits_until_it_is_active() -> None:
    session = Session()
    session.status = ["OFF", "OFF", "ON"]
    arm(session, 5)
    assert session.asked == 3


def test_semi_sync_that_does_not_become_active_is_an_error() -> None:
    session = Session()
    session.status = ["OFF"]
    with pytest.raises(HaError) as caught:
        arm(session, 0.1)
    assert caught.value.code == "semi_sync_not_active"


@pytest.mark.parametrize("probed", [True, False])
def test_the_old_plugins_go_by_their_own_names_also_on_a_new_connection(probed: bool) -> None:
    session = Session("master", probed=probed)
    arm(session, 1)
    disarm(session)
    armed, disarmed = (sql for sql, _values in session.log)
    assert "rpl_semi_sync_master_wait_for_slave_count" in armed and "source" not in armed
    assert disarmed == "SET GLOBAL rpl_semi_sync_master_enabled = OFF"


@pytest.mark.parametrize(
    ("row", "applier_may_wait", "allowed"),
    [
        ({}, False, True),
        ({}, True, True),
        ({"follows": 1}, False, True),
        ({"waiting": 1}, False, False),
        ({"waiting": 1}, True, False),
        ({"waiting": 1, "follows": 1}, False, False),
        ({"waiting": 1, "follows": 1}, True, True),
        ({"read_only": 0}, False, False),
        ({"read_only": 0}, True, False),
        ({"read_only": 0, "waiting": 1, "follows": 1}, True, False),
    ],
)
def test_disarming_releases_no_commit_of_a_client(row: dict[str, int], applier_may_wait: bool, allowed: bool) -> None:
    session = Session(**row)
    if allowed:
        disarm(session, applier_may_wait=applier_may_wait)
        assert session.log == [("SET GLOBAL rpl_semi_sync_source_enabled = OFF", ())]
    else:
        with pytest.raises(HaError) as caught:
            disarm(session, applier_may_wait=applier_may_wait)
        assert caught.value.code == "commits_wait" and session.log == []


@pytest.mark.parametrize(("armed", "k", "count"), [(1, 2, 2), (0, 2, 0)])
def test_for_how_many_a_commit_waits(armed: int, k: int, count: int) -> None:
    assert semi_sync.armed_for(Session(armed=armed, k=k), within=1) == count  # type: ignore[arg-type]


@pytest.mark.parametrize("on", [True, False])
def test_the_replica_side(on: bool) -> None:
    session = Session("master")
    semi_sync.set_acknowledge(session, on, within=1)  # type: ignore[arg-type]
    assert session.log == [(f"SET GLOBAL rpl_semi_sync_slave_enabled = {'ON' if on else 'OFF'}", ())]
