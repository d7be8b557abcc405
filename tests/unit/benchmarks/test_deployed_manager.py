# SPDX-License-Identifier: GPL-3.0-or-later
"""The deployed manager, asked by its command line: when it is ready, when it is kept out, what it did."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.plan import Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.procedure import Report
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.verdict import Verdict

from benchmarks import manager
from benchmarks.errors import BenchmarkError
from benchmarks.manager import BY, Manager, kept_out, reported


class Hosts:
    """The control host. ``seen``: what the manager's status says, one look after the other."""

    def __init__(self, *seen: dict[str, Any], active: bool = True) -> None:
        self.seen = list(seen) or [status()]
        self.active = active
        self.history: list[dict[str, Any]] = []
        self.commands: list[tuple[str, ...]] = []

    def run(self, _name: str, *command: str, check: bool = True) -> str:
        if command[0] == "systemctl":
            return "active" if self.active else "inactive"
        self.commands.append(command[2:])
        if command[2] == "status":
            return json.dumps({"clusters": {"lab": self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]}})
        if command[2] == "history":
            return json.dumps({"recoveries": self.history})
        return "{}"


def status(verdict: str = "healthy", primary: str = "db1", paused_by: str = "") -> dict[str, Any]:
    paused = {"by": paused_by, "reason": "r"} if paused_by else None
    return {"verdict": verdict, "primary": primary, "reasons": ["so it is"], "paused": paused}


def cluster(hosts: Hosts) -> Any:
    return SimpleNamespace(hosts=hosts, access=SimpleNamespace(cluster="lab"))


def test_ready_is_healthy_with_that_primary_and_nothing_that_holds_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "_LOOK_AGAIN", 0.0)
    hosts = Hosts(status("unknown"), status(primary="db2"), status())
    hosts.history = [{"id": "r1", "ended_at": 1.0, "acknowledged": None}, {"id": "r2", "ended_at": None}]
    Manager(cluster(hosts)).ready("db1")
    assert ("ack", "r1", "--by", BY) in hosts.commands
    assert not [command for command in hosts.commands if command[:2] == ("ack", "r2")]
    assert hosts.commands.count(("status",)) == 3


def test_not_ready_in_time_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "READY_SECONDS", 0.0)
    with pytest.raises(BenchmarkError, match="sees db1 as degraded: so it is"):
        Manager(cluster(Hosts(status("degraded")))).ready("db1")


def test_one_that_is_just_starting_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "_LOOK_AGAIN", 0.0)
    hosts = Hosts()
    answers = ['{"message": "starting"}', "no JSON", '{"recoveries": []}']
    later = hosts.run

    def run(name: str, *command: str, check: bool = True) -> str:
        return answers.pop(0) if answers and "history" in command else later(name, *command)

    monkeypatch.setattr(hosts, "run", run)
    Manager(cluster(hosts)).ready("db1")
    assert answers == []


def test_what_an_earlier_session_paused_is_resumed_and_what_a_person_paused_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manager, "_LOOK_AGAIN", 0.0)
    hosts = Hosts(status(paused_by=BY), status())
    Manager(cluster(hosts)).ready("db1")
    assert ("resume", "lab", "--by", BY) in hosts.commands
    monkeypatch.setattr(manager, "READY_SECONDS", 0.0)
    with pytest.raises(BenchmarkError, match="anna has paused"):
        Manager(cluster(Hosts(status(paused_by="anna")))).ready("db1")


def test_it_is_kept_out_and_let_in_again_whatever_happens() -> None:
    hosts = Hosts()
    with pytest.raises(RuntimeError), kept_out(cluster(hosts)):
        raise RuntimeError
    assert [command[0] for command in hosts.commands] == ["pause", "resume"]
    none = Hosts(active=False)
    with kept_out(cluster(none)):
        pass
    assert none.commands == []


def test_without_a_manager_there_is_nothing_to_measure() -> None:
    with pytest.raises(BenchmarkError, match="deploy"):
        Manager(cluster(Hosts(active=False)))


def test_recoveries_since_are_new_ended_and_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = Hosts()
    hosts.history = [{"id": name, "ended_at": 2.0} for name in ("c", "b", "a")]
    assert [entry["id"] for entry in Manager(cluster(hosts)).since(["a"])] == ["b", "c"]
    hosts.history[0]["ended_at"] = None
    monkeypatch.setattr(manager, "READY_SECONDS", 0.0)
    with pytest.raises(BenchmarkError, match="has not ended"):
        Manager(cluster(hosts)).since(["a"])


def test_the_report_is_at_the_end_of_the_journal() -> None:
    report = Report("run", "emergency", new_primary="db2", promoted_at=5.0).as_result()
    text = f'{{"what": "begin"}}\n{json.dumps({"what": "end", "report": report})}\n'
    assert reported(text) == report
    with pytest.raises(BenchmarkError, match="how the failover ended"):
        reported('{"what": "begin"}\n')


def test_a_manager_that_only_watches_can_not_act() -> None:
    access: Any = SimpleNamespace(members=(), admin=None, replication=None)
    config = manager.watching(access, "c001")
    assert config.rules.dry_run and config.timing.tick == 0.5
    assert manager.watching(access, "fine", 0.1).timing.tick == 0.1
    with pytest.raises(HaError, match="never acts"):
        manager.never(config, Request("emergency"), "", "", "")


def test_who_watches_waits_until_every_cluster_was_seen_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "_LOOK_AGAIN", 0.0)
    seen = [Verdict("unknown", ("not looked yet",)), Verdict("healthy", ())]
    looks = [seen[0], seen[0]]

    class Late:
        @property
        def view(self) -> Any:
            return SimpleNamespace(verdict=looks.pop() if looks else seen[1])

    early = SimpleNamespace(view=SimpleNamespace(verdict=seen[1]))
    watching: Any = SimpleNamespace(_clusters={"early": early, "late": Late()})
    manager.until_healthy(watching, 2, 5.0)
    assert not looks
    watching._clusters["late"] = SimpleNamespace(view=SimpleNamespace(verdict=seen[0]))
    with pytest.raises(BenchmarkError, match="unknown: not looked yet"):
        manager.until_healthy(watching, 2, 0.0)
