# SPDX-License-Identifier: GPL-3.0-or-later
"""One clone from the outside: what is held while, in which order, and how a run goes on where another one left."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.copy import Begun, Cloned
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.plan import (
    CloneFacts,
    Ready,
    Running,
    Unchanged,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.progress import Progress
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import EMPTY, GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.refusal import Reason, Refusal
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication import seed
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.procedure import Means
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.situation import Wish
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member, Observation, ServerState

MEMBERS = (Member("db1", "h1"), Member("db2", "h2"), Member("db4", "h4"))
READY = Ready("db2", "", 1 << 30, ("a warning",), {"db3": "no TLS"})
BEGUN = Begun("db2", "yesterday", "")
SESSION = SimpleNamespace(close=lambda: None)


class Stage:
    """Everything that ``seed`` uses, writing down what it is asked. ``verdicts``: by turns, the last one for ever.
    ``ends``: whether ``follow`` sees the end, by turns."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *verdicts: Any, ends: Any = (True,), wrecked: bool = False
    ) -> None:
        self.log: list[str] = []
        self.verdicts = list(verdicts)
        self.ends = list(ends)
        states = {m.name: ServerState(m.name, f"u{m.name}", 1, "8.4.6", EMPTY) for m in MEMBERS}
        self.observation = Observation(MEMBERS, states)
        facts = CloneFacts(clone=Progress("Failed")) if wrecked else CloneFacts()
        if wrecked:
            monkeypatch.setattr(CloneFacts, "wrecked", property(lambda _self: True))
        self.facts = {name: facts for name in states}  # noqa: C420 - one for each
        monkeypatch.setattr(seed, "Members", self.pool)
        monkeypatch.setattr(seed, "_Locked", self.locked)
        monkeypatch.setattr(seed._Seeding, "_look", lambda _self: (self.observation, self.facts))
        monkeypatch.setattr(seed._Seeding, "_connect", lambda _self: SESSION)
        monkeypatch.setattr(seed.clone_plan, "decide", lambda *_given: self.decide())
        monkeypatch.setattr(seed, "prepare", lambda *_given, **_options: self.noted("prepare", BEGUN))
        monkeypatch.setattr(seed, "close_wreck", lambda *_given, **_options: self.noted("close"))
        monkeypatch.setattr(
            seed, "from_donor", lambda *_given, **_options: SimpleNamespace(start=lambda: self.noted("start"))
        )
        monkeypatch.setattr(seed, "follow", self.follow)
        cloned = Cloned(SESSION, "db2", GtidSet.parse(""), "b.7", 4, 10, 12)  # type: ignore[arg-type]
        monkeypatch.setattr(seed, "finish", lambda *_given, **_options: self.noted("finish", cloned))
        monkeypatch.setattr(seed, "read_progress", lambda *_given, **_options: Progress("Completed"))
        monkeypatch.setattr(seed, "converge", self.converge)

    def pool(self, *_given: Any, **_options: Any) -> Any:
        return SimpleNamespace(
            member=lambda name: next(m for m in MEMBERS if m.name == name),
            session=lambda name: SESSION,
            observe=lambda *_names, within: self.observation,
            close=lambda: None,
        )

    def locked(self, *_given: Any) -> Any:
        stage = self

        class Held:
            def __enter__(self) -> None:
                stage.log.append("lock")

            def __exit__(self, *_exception: object) -> None:
                stage.log.append("unlock")

        return Held()

    def noted(self, what: str, result: Any = None) -> Any:
        self.log.append(what)
        return result

    def decide(self) -> Any:
        self.log.append("decide")
        return self.verdicts[0] if len(self.verdicts) == 1 else self.verdicts.pop(0)

    def follow(self, name: str, begun: Begun, connect: Any, *, leave: Any, say: Any, **_options: Any) -> Any:
        self.log.append("follow")
        say("a line", Progress("In Progress", "today"))
        ended = self.ends[0] if len(self.ends) == 1 else self.ends.pop(0)
        return SESSION if ended else begun

    def converge(self, *_given: Any, check_only: bool, **_options: Any) -> Any:
        self.log.append("attach" + (" (check)" if check_only else ""))
        return SimpleNamespace(steps=({"sentence": "db4 follows db1"},))

    def run(self, *, check_only: bool = False, **request: Any) -> seed.SeedReport:
        return seed.seed(
            MEMBERS,
            Login("a"),
            seed.Request("db4", **request),
            Wish(MEMBERS),
            Means(),
            cluster="c",
            check_only=check_only,
        )


def test_the_lock_is_held_while_it_begins_and_not_while_it_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, READY, ends=(False, True))
    report = stage.run(replicate=True)
    assert stage.log == [
        *("decide", "lock", "decide", "prepare", "start", "follow", "unlock"),
        *("follow", "finish", "attach"),
    ]
    assert report.changed and report.plan == (READY.sentence("db4"), "db4 follows db1")
    assert report.warnings == READY.warnings and report.passed_over == READY.passed_over
    assert report.as_result()["position"]["binlog_file"] == "b.7"


def test_what_has_changed_until_the_lock_was_there_is_decided_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    no = Refusal((Reason("member_registered", "no", {}, "wait"),))
    stage = Stage(monkeypatch, READY, no)
    with pytest.raises(HaError) as caught:
        stage.run()
    assert caught.value.code == "member_registered" and "prepare" not in stage.log
    stage = Stage(monkeypatch, READY, Unchanged("it follows"))
    stage.run(replicate=True)
    assert "prepare" not in stage.log
    assert stage.log.index("unlock") < stage.log.index("attach"), "attaching takes the lock itself"


def test_check_mode_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, READY)
    report = stage.run(check_only=True, replicate=True)
    assert stage.log == ["decide"] and report.changed and report.donor == "db2" and len(report.plan) == 2
    assert report.before != report.after
    stage = Stage(monkeypatch, Unchanged("it follows"))
    assert stage.run(check_only=True, replicate=True).plan == ("db4 follows db1",)
    assert stage.log == ["decide", "attach (check)"]
    assert not Stage(monkeypatch, Unchanged("it follows")).run(check_only=True).changed


def test_it_returns_while_it_goes_on_and_is_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, READY, ends=(False,))
    report = stage.run(pause_after=5.0)
    assert report.under_way == BEGUN and report.line == "a line" and "finish" not in stage.log
    result = report.as_result()
    assert not result["finished"] and result["progress"]["line"] == "a line"
    stage = Stage(monkeypatch, READY)
    done = stage.run(under_way=Begun.of(result["under_way"]), pause_after=5.0)
    assert stage.log == ["follow", "finish"] and done.under_way is None and done.changed


def test_a_clone_that_somebody_else_started_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, Running("db2"))
    assert stage.run().changed
    assert stage.log == ["decide", "follow", "finish"]


def test_what_a_failed_clone_left_open_is_closed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, READY, wrecked=True)
    stage.run()
    assert stage.log.index("close") < stage.log.index("prepare")
    stage = Stage(monkeypatch, READY)
    monkeypatch.setattr(CloneFacts, "wrecked", property(lambda _self: False))
    stage.run()
    assert "close" not in stage.log


def test_no_password_is_in_what_is_handed_on() -> None:
    report = seed.SeedReport(True, "db2", (), under_way=dataclasses.replace(BEGUN))
    assert set(report.as_result()["under_way"]) == {"donor", "before", "held", "settings", "opened", "seen"}
