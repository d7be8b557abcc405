# SPDX-License-Identifier: GPL-3.0-or-later
"""What the manager shows of a cluster, by tables: who acknowledges, who is attached, how old the heartbeat is."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.hands import ReplicationLogin
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import board, metrics, page
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.config import ClusterConfig
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.policy import Rest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.sample import Sample, Silence
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.verdict import Mark, Verdict, Watched
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import TIMED_OUT, Member, TermRow

from .peer import uuid_of

NOW = 1000.0
"""By the manager's monotonic clock. The primary's own clock says 50 at the same moment, that of the others 90."""


def sample(number: int, **changes: Any) -> Sample:
    """A healthy answer, half a second ago; the primary's heartbeat row was written 0.2 s before that."""
    primary = number == 1
    values: dict[str, Any] = {
        "server_uuid": uuid_of(number),
        "clock": 49.5 if primary else 89.5,
        "beat_term": 2,
        "beat_sequence": 7,
        "beat_written_at": 49.3,
        "receiver": "" if primary else "ON",
        "source_uuid": "" if primary else uuid_of(1),
        "replica_enabled": not primary,
        "source_enabled": primary,
        "clients": 2 if primary else None,
    }
    return Sample(f"db{number}", NOW - 0.6, NOW - 0.5, writable=primary, **{**values, **changes})


def shown(*marks: Mark, term: bool = True, registered: tuple[int, ...] = (1, 2, 3)) -> dict[str, Any]:
    """The cluster's status as the face gets it."""
    members = tuple(Member(f"db{n}", f"10.0.0.{n}") for n in (1, 2, 3))
    row = TermRow(
        3,
        2,
        uuid_of(1),
        tuple(dataclasses.replace(m, server_uuid=uuid_of(n)) for n, m in enumerate(members, 1) if n in registered),
        1,
    )
    config = ClusterConfig("ledger", members, Login("x"), ReplicationLogin("r", ""))
    watched = Watched({m.answer.name: m for m in marks}, row if term else None)
    view = board.View(config, watched, Verdict("healthy", (), "db1", uuid_of(1)), Rest(), 0.0, 0.0)
    return board.cluster_status(view, None, None, (), 1_763_700_000.0, NOW)


def mark(number: int, **changes: Any) -> Mark:
    found = sample(number, **changes)
    return Mark(found, found)


def silent(number: int, **changes: Any) -> Mark:
    """It answered once, and does not any more."""
    return Mark(Silence(f"db{number}", NOW - 0.4, NOW - 0.1, TIMED_OUT, "no answer"), sample(number, **changes))


def never(number: int) -> Mark:
    return Mark(Silence(f"db{number}", NOW - 0.4, NOW - 0.1, TIMED_OUT, "no answer"))


ALL = (mark(1), mark(2), mark(3))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (shown(*ALL), [None, True, True]),
        (shown(mark(1), mark(2), mark(3, replica_enabled=False)), [None, True, False]),
        (shown(*ALL, registered=(1, 2)), [None, True, False]),
        (shown(mark(1), mark(2), mark(3, server_uuid=uuid_of(9))), [None, True, False]),
        (shown(mark(1), mark(2), silent(3)), [None, True, None]),
        (shown(mark(1), mark(2)), [None, True, None]),
        (shown(*ALL, term=False), [None, None, None]),
    ],
    ids=["all", "switched off", "not registered", "another server", "no answer", "not asked", "no term row"],
)
def test_who_acknowledges(status: dict[str, Any], expected: list[Any]) -> None:
    assert [m["acknowledges"] for m in status["members"].values()] == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (shown(*ALL), 2),
        (shown(mark(1, clients=0), mark(2)), 0),
        (shown(mark(1, clients=None), mark(2)), None),
        (shown(silent(1), mark(2)), None),
        (shown(never(1), mark(2)), None),
        (shown(), None),
    ],
    ids=["both", "none", "semi-sync is off", "no answer", "never an answer", "nobody asked"],
)
def test_how_many_are_attached_is_what_the_primary_says_now(status: dict[str, Any], expected: Any) -> None:
    assert status["semi_sync_clients"] == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (shown(*ALL), 0.7),
        (shown(mark(2), mark(1), mark(3)), 0.7),
        (shown(mark(1, beat_sequence=8, beat_written_at=49.4), mark(2)), 0.6),
        # What a replica shows of a primary that is silent, by the replica's clock, which is 40 s ahead.
        (shown(silent(1), mark(2, beat_sequence=8, beat_written_at=49.9)), 40.1),
        # A new primary's term counts from the start, and its rows with it.
        (shown(silent(1, beat_sequence=900), mark(2, beat_term=3, beat_sequence=1, beat_written_at=89.4)), 0.6),
        # A clock that is behind the one that wrote the row makes no age below what has passed since the answer.
        (shown(mark(2, beat_written_at=95.0)), 0.5),
        (shown(mark(1, beat_sequence=-1), mark(2, beat_sequence=-1)), None),
        (shown(never(1)), None),
        (shown(), None),
    ],
)
def test_how_old_the_newest_heartbeat_is(status: dict[str, Any], expected: Any) -> None:
    assert status["heartbeat_age_s"] == expected


def test_the_face_shows_what_the_core_delivers() -> None:
    found = shown(mark(1), mark(2), mark(3, replica_enabled=False))
    text = metrics.render({"manager": {"tick_duration_s": 0.03}, "clusters": {"ledger": found}}, [], NOW)
    assert 'mysql_ha_cluster_semi_sync_clients{cluster="ledger"} 2\n' in text
    assert 'mysql_ha_cluster_heartbeat_age_seconds{cluster="ledger"} 0.7\n' in text
    assert "mysql_ha_tick_duration_seconds 0.03\n" in text
    drawn = page._topology(found)
    assert drawn.count("acknowledger") == 1 and drawn.count("does not acknowledge") == 1
