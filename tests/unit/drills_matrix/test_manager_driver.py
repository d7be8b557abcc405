# SPDX-License-Identifier: GPL-3.0-or-later
"""What the runner takes from a manager's answers (shapes of ``module_utils/manager/desk.py``), without one."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from drills import drivers
from drills.drivers import Done, Manager
from drills.steps import FAIL_OVER, KILLED, NOTHING, PLANNED, REFUSE, Act


class Hosts:
    """The control host: a manager whose history grows by one answer at each look."""

    def __init__(self) -> None:
        self.histories: list[list[dict[str, Any]]] = [[]]
        self.verdict = "healthy"
        self.active = ["active"]
        self.commands: list[tuple[str, ...]] = []
        self.switchover: Any = {"outcome": "promoted"}

    def run(self, _name: str, *command: str, check: bool = True) -> str:
        self.commands.append(command)
        if command[:3] == ("mysql-ha", "--json", "history"):
            now = self.histories.pop(0) if len(self.histories) > 1 else self.histories[0]
            return json.dumps({"recoveries": now})
        if command[:3] == ("mysql-ha", "--json", "status"):
            return json.dumps({"clusters": {"lab": {"verdict": self.verdict, "reasons": ["it answers"]}}})
        if command[:3] == ("mysql-ha", "--json", "switchover"):
            return self.switchover if isinstance(self.switchover, str) else json.dumps(self.switchover)
        if command[:3] == ("mysql-ha", "--json", "ack"):
            return "{}"
        if command[0] == "cat":
            return '{"what": "begin"}\n{"what": "end", "report": {"new_primary": "db2", "zero_loss": "proven"}}\n'
        if command[:2] == ("systemctl", "is-active"):
            return self.active.pop(0) if len(self.active) > 1 else self.active[0]
        return ""


def recovery(number: int, outcome: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"r{number}",
        "outcome": outcome,
        "verdict": "dead",
        "refusal": [],
        "journal": "/journal",
        "acknowledged": None,
        **more,
    }


class Beside:
    """The other actor."""

    done = Done(REFUSE, said=("locked: by the manager",))

    def ready(self, act: Act) -> None: ...
    def begin(self, act: Act) -> None: ...
    def close(self) -> None: ...

    def end(self, within: float, awaited: str) -> Done:
        return self.done


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    monkeypatch.setattr(drivers, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(drivers, "_SECOND_LOOK", 0.05)
    return Hosts()


def driver(hosts: Hosts, beside: Any = None) -> Manager:
    cluster: Any = SimpleNamespace(hosts=hosts, access=SimpleNamespace(cluster="lab"))
    return Manager(cluster, beside or Beside())


def acted(hosts: Hosts, awaited: str, act: Act | None = None, within: float = 0.1, beside: Any = None) -> Done:
    one = driver(hosts, beside)
    one.ready(act or Act())
    one.begin(act or Act())
    return one.end(within, awaited)


def test_a_new_recovery_is_awaited_and_its_report_read_from_the_journal(hosts: Hosts) -> None:
    old = recovery(1, "promoted")
    hosts.histories = [[old], [old], [recovery(2, "running"), old], [recovery(2, "promoted"), old]]
    done = acted(hosts, FAIL_OVER, within=5.0)
    assert (done.outcome, done.promotions, done.report["new_primary"]) == (FAIL_OVER, 1, "db2")


def test_an_old_one_is_nobodys_answer(hosts: Hosts) -> None:
    hosts.histories = [[recovery(1, "promoted")]]
    done = acted(hosts, NOTHING)
    assert done.outcome == NOTHING and "verdict is healthy" in done.reasons[0]["message"]


def test_a_manager_that_was_done_before_anybody_asked_is_not_missed(hosts: Hosts) -> None:
    one = driver(hosts)
    one.ready(Act())
    hosts.histories = [[recovery(1, "promoted")]]
    one.begin(Act())
    assert one.end(5.0, FAIL_OVER).outcome == FAIL_OVER


def test_each_recovery_answers_once(hosts: Hosts) -> None:
    one = driver(hosts)
    one.ready(Act())
    one.begin(Act())
    hosts.histories = [[recovery(1, "refused", refusal=["1 of 2"])]]
    assert one.end(5.0, REFUSE).outcome == REFUSE
    one.begin(Act())
    hosts.histories = [hosts.histories[0], [recovery(2, "promoted"), *hosts.histories[0]]]
    done = one.end(5.0, FAIL_OVER)
    assert done.outcome == FAIL_OVER and len(done.said) == 1


def test_one_refusal_is_waited_out_where_a_promotion_is_due(hosts: Hosts) -> None:
    refused = recovery(1, "refused", refusal=["1 of 2 frozen"])
    hosts.histories = [[], [refused], [recovery(2, "promoted"), refused]]
    assert acted(hosts, FAIL_OVER, within=5.0).outcome == FAIL_OVER


def test_where_a_refusal_is_due_the_first_one_ends_it(hosts: Hosts) -> None:
    hosts.histories = [[], [recovery(1, "refused", refusal=["1 of 2 frozen"])]]
    done = acted(hosts, REFUSE, within=60.0)
    assert done.outcome == REFUSE and done.reasons == ({"message": "1 of 2 frozen"},)


def test_a_promotion_where_nothing_was_due_is_not_missed(hosts: Hosts) -> None:
    hosts.histories = [[], [recovery(1, "promoted")]]
    assert acted(hosts, NOTHING).outcome == FAIL_OVER


def test_two_promotions_are_counted(hosts: Hosts) -> None:
    hosts.histories = [[], [recovery(2, "promoted"), recovery(1, "promoted")]]
    assert acted(hosts, FAIL_OVER, within=5.0).promotions == 2
    hosts.histories = [[], [recovery(2, "promoted"), recovery(1, "promoted")]]
    assert acted(hosts, NOTHING).promotions == 2


@pytest.mark.parametrize(
    "answer", ["mysql-ha: target_behind: it lags", {"outcome": "refused", "refusal": ["target_behind: it lags"]}]
)
def test_a_refused_switchover_is_a_refusal(hosts: Hosts, answer: Any) -> None:
    hosts.switchover = answer
    done = acted(hosts, REFUSE, Act(PLANNED), within=5.0)
    assert done.outcome == REFUSE and "target_behind" in done.said[0]


def test_a_manager_that_is_starting_is_asked_again(hosts: Hosts) -> None:
    one = driver(hosts)
    one.ready(Act())
    one.begin(Act())
    answers = ["mysql-ha: nobody answers", json.dumps({"recoveries": [recovery(1, "promoted")]})]
    ordinary = hosts.run

    def run(name: str, *command: str, check: bool = True) -> str:
        if "history" in command:
            return answers.pop(0) if len(answers) > 1 else answers[0]
        return ordinary(name, *command, check=check)

    hosts.run = run  # type: ignore[method-assign]
    assert one.end(5.0, FAIL_OVER).outcome == FAIL_OVER


def test_it_is_armed_before_the_fault_killed_and_left_down(hosts: Hosts) -> None:
    one = driver(hosts)
    act = Act(points=("open:before",), finish=False)
    one.ready(act)
    assert any("LOSSLESS_MYSQL_HA_FAULT=open:before" in " ".join(command) for command in hosts.commands)
    hosts.active = ["active", "failed"]
    one.begin(act)
    assert one.end(5.0, KILLED).outcome == KILLED
    restarts = sum("restart" in command for command in hosts.commands)
    one.begin(Act())
    assert sum("restart" in command for command in hosts.commands) == restarts + 1, "then it goes on"


def test_of_two_actors_one_promotes(hosts: Hosts) -> None:
    hosts.histories = [[], [recovery(1, "promoted")]]
    assert acted(hosts, FAIL_OVER, Act(actors=2), within=5.0).promotions == 1
    first = Beside()
    first.done = Done(FAIL_OVER, {"new_primary": "db3"}, (), 1, ("promoted db3",))
    hosts.histories = [[], [recovery(1, "refused", refusal=["locked"])]]
    done = acted(hosts, FAIL_OVER, Act(actors=2), beside=first)
    assert (done.outcome, done.promotions, done.report["new_primary"]) == (FAIL_OVER, 1, "db3")
    hosts.histories = [[], [recovery(1, "promoted")]]
    assert acted(hosts, FAIL_OVER, Act(actors=2), beside=first).promotions == 2, "which is one too many"


def test_of_two_actors_the_report_is_of_the_one_that_promoted(hosts: Hosts) -> None:
    late = Beside()
    late.done = Done(FAIL_OVER, {"new_primary": "db3", "changed": False}, (), 0, ("nothing left to do",))
    hosts.histories = [[], [recovery(1, "promoted")]]
    done = acted(hosts, FAIL_OVER, Act(actors=2), beside=late)
    assert done.promotions == 1
    assert done.report.get("new_primary") != "db3"


def test_what_an_earlier_run_left_is_acknowledged(hosts: Hosts) -> None:
    hosts.histories = [[recovery(2, "running"), recovery(1, "promoted")]]
    driver(hosts).ready(Act())
    acknowledged = [command for command in hosts.commands if command[2:3] == ("ack",)]
    assert acknowledged == [("mysql-ha", "--json", "ack", "r1", "--by", "drills")]
