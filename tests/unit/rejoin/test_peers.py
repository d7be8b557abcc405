# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a returning server asks, and what it asks the primary."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin import peers
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.verdict import Patience, Replica
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.schema import member_as_dict
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Observation, TermRow
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.observe import Members
from ansible_collections.lossless.mysql_ha.tests.unit.topology.situations import (
    beat,
    member,
    primary,
    replica,
    term,
    uuid,
)

BEFORE = term(4, 1)
NOW = dataclasses.replace(term(4, 1, primary=4), term=3, revision=9)


def test_a_member_that_this_hosts_file_does_not_know_is_asked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """db4 came later and is primary: db1's file names db2 and db3 alone."""
    pool = Members([member(2), member(3)], Login("u"))
    states = {f"db{n}": replica(NOW, n) for n in (2, 3)} | {"db4": primary(NOW, 4)}
    looks: list[tuple[str, ...]] = []

    def observe(*, within: float) -> Observation:
        looks.append(tuple(m.name for m in pool.members))
        return Observation(pool.members, {m.name: states[m.name] for m in pool.members})

    monkeypatch.setattr(pool, "observe", observe)
    found = peers.ask(pool, uuid(1), Patience(30, 3), lambda line: None, sleep=lambda seconds: None)
    assert isinstance(found, Replica)
    assert found.primary.name == "db4"
    assert looks == [("db2", "db3"), ("db2", "db3", "db4")]


class Asked:
    """The primary's table of terms."""

    name = "db4"

    def __init__(self, rows: list[TermRow]) -> None:
        self._rows = sorted(rows, key=lambda row: row.revision)

    def one(self, sql: str, values: Any, *, within: float) -> dict[str, Any]:
        if "primary_uuid = %s" in sql:
            found = [row for row in reversed(self._rows) if row.primary_uuid == values[0]]
        else:
            assert "term > %s AND proof <> %s ORDER BY revision LIMIT 1" in " ".join(sql.split())
            found = [row for row in self._rows if row.term > values[0] and row.proof != values[1]]
        if not found:
            return {}
        members = json.dumps([member_as_dict(m) for m in found[0].members])
        return {**dataclasses.asdict(found[0]), "members": members}


@pytest.mark.parametrize(
    ("middle", "unproven"), [("proven", None), ("unproven", 2)], ids=["all were proven", "one between was not"]
)
def test_every_promotion_since_is_looked_at(middle: str, unproven: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        dataclasses.replace(term(4, 1, primary=3), term=0, revision=0, proof="unproven"),
        BEFORE,
        dataclasses.replace(term(4, 1, primary=2), term=2, revision=5, proof=middle),
        NOW,
    ]
    pool = Members([member(4)], Login("u"))
    monkeypatch.setattr(pool, "session", lambda name: Asked(rows))
    there = primary(NOW, 4, heartbeats=(beat(BEFORE),))
    knows = peers.successor(pool, Replica(NOW, there), uuid(1), within=1.0)
    assert knows.before is not None and knows.before.term == BEFORE.term
    assert knows.heartbeat == beat(BEFORE)
    assert (knows.unproven.term if knows.unproven else None) == unproven
