# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server does after its start, with servers that are values."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.refusal import Reason
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin import compare, config, follow, peers, record
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.verdict import (
    Replica,
    StillPrimary,
    Unknown,
    Verdict,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member, SemiSync, ServerState
from ansible_collections.lossless.mysql_ha.tests.unit.rejoin.test_gate import given_
from ansible_collections.lossless.mysql_ha.tests.unit.topology.situations import (
    bare,
    gtids,
    primary,
    receiver,
    registered,
    replica,
    term,
    uuid,
)

DEPOSED = term(3, 1, primary=2, members=(registered(1, acknowledges=False), registered(2), registered(3)))
COUNTED = term(3, 1, primary=2)
assert given_, "the fixture of that name"


class Scene:
    """The returning server db1 and the new primary db2. ``log``: what was done, in order."""

    def __init__(self, settings: dict[str, Any], tmp_path: Path) -> None:
        self.own: ServerState = bare(1, executed=gtids("1:1-100"), term=DEPOSED)
        self.there: ServerState = primary(DEPOSED, 2, executed=gtids("1:1-100,2:1-5"))
        self.found: list[Verdict] = [Replica(DEPOSED, self.there)]
        self.verdict = compare.EQUAL
        self.for_good = False
        self.just_cloned = False
        self.log: list[Any] = []
        self.said: list[str] = []
        self.records = settings["record_directory"]

    def pending(self) -> None:
        record.write(
            record.Record(
                record.CUTTING, uuid(1), uuid(2), 2, str(gtids("1:101")), "f", 1, 2, "/archive", "/kept", "", 1.0
            ),
            self.records,
        )


@pytest.fixture(name="scene")
def scene_(given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    scene = Scene(given, tmp_path)

    class Pool:
        def __init__(self, members: Any, *_given: Any, **_how: Any) -> None:
            self.members = tuple(members)

        def session(self, name: str) -> Any:
            return SimpleNamespace(name=name)

        def member(self, name: str) -> Member:
            return next(m for m in self.members if m.name == name)

        def close(self) -> None:
            pass

    class Locks:
        def __init__(self, *_given: Any, **_how: Any) -> None:
            pass

        def take(self, *_given: Any, **_how: Any) -> None:
            scene.log.append("lock")

        def release(self) -> None:
            scene.log.append("release")

    def read_state(session: Any, **_how: Any) -> ServerState:
        found: ServerState = scene.own if session.name == "db1" else scene.there
        return found

    def ask(*_given: Any, **_how: Any) -> Verdict:
        return scene.found.pop(0) if len(scene.found) > 1 else scene.found[0]

    def repoint(_session: Any, _state: Any, target: Member, user: str, *_given: Any, **how: Any) -> None:
        scene.log.append(("repoint", target.name, user, how["acknowledge"]))

    monkeypatch.setattr(follow, "Members", Pool)
    monkeypatch.setattr(follow, "Locks", Locks)
    monkeypatch.setattr(peers, "ask", ask)
    monkeypatch.setattr(
        follow, "read_state", lambda session, **_how: scene.own if session.name == "db1" else scene.there
    )
    monkeypatch.setattr(follow, "_just_cloned", lambda *_given: scene.just_cloned)
    monkeypatch.setattr(follow, "_cloned_at", lambda *_given: 0.0)
    monkeypatch.setattr(
        follow, "_executed", lambda session: scene.own.executed if session.name == "db1" else scene.there.executed
    )
    for name in ("wait_connected", "wait_executed"):
        monkeypatch.setattr(follow.repoint, name, lambda *_given, **_how: None)
    monkeypatch.setattr(follow.repoint, "stop_receiver", lambda *_given, **_how: scene.log.append("stop receiver"))
    monkeypatch.setattr(follow.repoint, "repoint", repoint)
    monkeypatch.setattr(
        follow,
        "compare",
        lambda *_given: SimpleNamespace(
            verdict=scene.verdict, why=f"rows are {scene.verdict}", for_good=scene.for_good
        ),
    )
    monkeypatch.setattr(
        follow,
        "announce",
        lambda row, there, _login, **_how: scene.log.append((there.name, row.state, row.gtids)),
    )
    monkeypatch.setattr(follow, "archive_surplus", lambda *_given, **_how: "/archive/made")
    loaded = config.parse(json.dumps(given))
    scene.returning = follow.Returning(loaded, scene.said.append, now=lambda: 1.0, host="db1")
    return scene


def test_with_nothing_extra_it_follows_and_does_not_acknowledge(scene: Any) -> None:
    assert scene.returning.run() == 0
    assert scene.log == ["lock", ("repoint", "db2", "lossless_repl_1", False), "release"]


def test_a_registered_replica_acknowledges_again(scene: Any) -> None:
    scene.found = [Replica(COUNTED, scene.there)]
    assert scene.returning.run() == 0
    assert ("repoint", "db2", "lossless_repl_1", True) in scene.log


def test_one_that_follows_already_is_left_alone(scene: Any) -> None:
    row = COUNTED
    scene.found = [Replica(row, scene.there)]
    scene.own = replica(row, 1, receiver=receiver(2), executed=gtids("1:1-100"))
    assert scene.returning.run() == 0
    assert scene.log == ["lock", "release"]


@pytest.mark.parametrize(
    ("verdict", "state", "code"),
    [(compare.EQUAL, "verified", 0), (compare.DIFFERENT, "different", 0), (compare.UNKNOWN, "pending", 75)],
)
def test_a_rewound_one_is_compared_without_the_lock(scene: Any, verdict: str, state: str, code: int) -> None:
    scene.pending()
    scene.verdict = verdict
    scene.found = [Replica(COUNTED, scene.there)]
    assert scene.returning.run() == code
    surplus = str(gtids("1:101"))
    assert scene.log[:4] == [
        "lock",
        ("db2", "pending", surplus),
        ("repoint", "db2", "lossless_repl_1", False),
        "release",
    ]
    assert scene.log[-1] == ("db2", state, surplus)
    assert ("stop receiver" in scene.log) == (verdict == compare.DIFFERENT)
    written = record.read(scene.records)
    assert written is not None
    assert written.pending == (code != 0)


def test_a_rewound_one_that_can_never_be_compared_has_to_be_cloned_and_is_not_asked_again(scene: Any) -> None:
    scene.pending()
    scene.verdict, scene.for_good = compare.UNKNOWN, True
    assert scene.returning.run() == 0
    assert scene.log[-1] == ("db2", "to_be_cloned", str(gtids("1:101")))
    assert "clone it" in scene.said[-1]
    written = record.read(scene.records)
    assert written is not None
    assert not written.pending


def test_a_rewound_one_that_a_convergence_has_attached_is_compared_while_that_holds_the_lock(scene: Any) -> None:
    """The convergence waits for the verdict: this must not wait for its lock."""
    scene.pending()
    quiet = SemiSync(source_installed=True, replica_installed=True)
    scene.own = replica(DEPOSED, 1, receiver=receiver(2), executed=gtids("1:1-100"), semi_sync=quiet)
    assert scene.returning.run() == 0
    assert scene.log == [("db2", "verified", str(gtids("1:101")))]


def test_a_rewound_one_that_has_committed_its_surplus_is_different_or_stays_alone(scene: Any) -> None:
    """A start that died before it had begun a new file: the cut came too late, and GTIDs show it."""
    scene.pending()
    scene.own = dataclasses.replace(scene.own, executed=gtids("1:1-101"))
    assert scene.returning.run() == 0
    assert scene.log == ["lock", ("db2", "to_be_cloned", str(gtids("1:101"))), "release"]


def test_with_surplus_it_is_archived_and_follows_nobody(scene: Any) -> None:
    scene.own = dataclasses.replace(scene.own, executed=gtids("1:1-102"))
    assert scene.returning.run() == 0
    assert scene.log == ["lock", ("db2", "to_be_cloned", str(gtids("1:101-102"))), "release"]
    assert "archived in /archive/made" in scene.said[-1]


def test_what_comes_from_the_primary_is_no_surplus(scene: Any) -> None:
    scene.own = dataclasses.replace(scene.own, executed=gtids("1:1-100,2:1-6"))
    assert scene.returning.run() == 0
    assert any(step[0] == "repoint" for step in scene.log)


def test_without_the_binary_logs_that_it_needs_it_waits_for_a_clone(scene: Any) -> None:
    scene.there = dataclasses.replace(scene.there, purged=gtids("2:1-3"))
    assert scene.returning.run() == 0
    assert scene.log == ["lock", "release"]
    assert "has to be cloned" in scene.said[-1]


LEFT_ALONE: list[tuple[str, dict[str, Any]]] = [
    ("takes writes", {"own": primary(DEPOSED, 1)}),
    ("no other server is primary", {"found": [StillPrimary(DEPOSED)]}),
    ("not in the term row", {"own": bare(9, executed=GtidSet())}),
    ("cloned a moment ago", {"just_cloned": True}),
]


@pytest.mark.parametrize(("says", "change"), LEFT_ALONE, ids=[says for says, _change in LEFT_ALONE])
def test_what_is_not_its_business_is_left_alone(says: str, change: dict[str, Any], scene: Any) -> None:
    for name, value in change.items():
        setattr(scene, name, value)
    assert scene.returning.run() == 0
    assert scene.log == []
    assert says in scene.said[-1]


def test_nobody_answers_it_asks_again_later(scene: Any) -> None:
    scene.found = [Unknown(Reason("too_few_peers_answer", "0 of 2 peers answer"))]
    assert scene.returning.run() == follow.EXIT_AGAIN
    assert scene.log == []


def test_a_failover_between_the_look_and_the_lock_is_seen(scene: Any) -> None:
    later = dataclasses.replace(COUNTED, term=3, revision=9, primary_uuid=uuid(3))
    scene.found = [Replica(COUNTED, scene.there), Replica(later, primary(later, 3))]
    assert scene.returning.run() == follow.EXIT_AGAIN
    assert scene.log == ["lock", "release"]


def test_the_lock_is_let_go_when_something_fails(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_given: Any, **_how: Any) -> None:
        raise HaError("receiver_still_on", "it does not stop")

    monkeypatch.setattr(follow.repoint, "repoint", fails)
    with pytest.raises(HaError):
        scene.returning.run()
    assert scene.log == ["lock", "release"]
