# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on a member that a person asks the manager for: what is written down, and what has to wait for them."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.hands import ReplicationLogin
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import board, maintenance, policy, verdict
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.config import ClusterConfig
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.history import History
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.maintenance import Asked, Maintenance
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.policy import Rules, decide
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.recover import Cause
from ansible_collections.lossless.mysql_ha.plugins.module_utils.refusal import Reason, Refusal
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.converge import Report
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.member import Request, consequences
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member
from ansible_collections.lossless.mysql_ha.tests.unit.topology import situations

from .peer import uuid_of
from .story import Story
from .test_watch import PATIENCE, Site

CAUSE = Cause("healthy", (), "db1", uuid_of(1), 4)
ASKED = Asked("db3", "take_out", "ann", "new disk")


def config() -> ClusterConfig:
    members = tuple(Member(f"db{n}", f"10.0.0.{n}") for n in (1, 2, 3))
    return ClusterConfig("ledger", members, Login("admin", "canary"), ReplicationLogin("repl_", "canary", "/ca.pem"))


def report(*warnings: str, changed: bool = True) -> Report:
    found: Any = SimpleNamespace(term=situations.term(2, 1))
    steps = ({"step": "LockOut", "member": "db1", "sentence": "lock repl_3 on db1", "seconds": 0.1},) if changed else ()
    wish: Any = None
    return Report(changed, "db1", steps, found, found, wish, warnings)


class Done:
    """Called instead of the plans."""

    def __init__(self, error: HaError | None = None) -> None:
        self.error = error
        self.calls: list[Request] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, _config: ClusterConfig, request: Request) -> Report:
        self.calls.append(request)
        assert self.go_on.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return report("db4 did not answer either", *consequences(situations.term(2, 1)))


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    made = History(str(tmp_path / "state"))
    yield made
    made.close()


def refusal(**evidence: Any) -> HaError:
    error = Refusal((Reason("too_few_acknowledgers", "1 of 2 acknowledge", {}, "Bring db2 back."),)).as_error()
    error.evidence.update(evidence)
    return error


# --- what is written down --------------------------------------------------------------------------------------------
def test_what_was_done_stands_in_the_history_with_who_asked_and_why(history: History) -> None:
    do = Done()
    entry = Maintenance(config(), history, do=do).run(ASKED, CAUSE)
    assert do.calls == [Request("take_out", "db3", "new disk (ann)")]
    assert history.entries("ledger") == [entry]
    wanted = {
        "trigger": "maintenance",
        "outcome": "done",
        "member": "db3",
        "operation": "take_out",
        "by": "ann",
        "reason": "new disk",
        "changed": True,
        "old_primary": "db1",
        "new_primary": None,
        "plan": ["lock repl_3 on db1"],
    }
    assert {key: entry[key] for key in wanted} == wanted
    assert entry["survives"][0] == "k=1 of n=1 acknowledgements, on disk"
    assert any("no failover can be completed" in line for line in entry["survives"])
    assert entry["notes"] == ["db4 did not answer either"], "what is said already is not said again"
    assert entry["ended_at"] >= entry["at"]
    json.dumps(entry)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (refusal(), "refused"),
        (refusal(steps=[{"step": "LockOut"}]), "failed"),
        (HaError("lock_lost", "gone", next_step="Run again."), "failed"),
    ],
)
def test_a_refusal_and_a_failure_are_written_down_and_raised(history: History, error: HaError, outcome: str) -> None:
    with pytest.raises(HaError) as caught:
        Maintenance(config(), history, do=Done(error)).run(ASKED, CAUSE)
    assert caught.value is error
    (entry,) = history.entries("ledger")
    assert (entry["outcome"], entry["codes"], entry["next_step"]) == (outcome, [error.code], error.next_step)
    assert entry["refusal"]


def test_what_can_not_be_written_down_is_not_begun(history: History, monkeypatch: Any) -> None:
    def full(_entry: Any) -> None:
        raise HaError("history_unwritable", "disk full")

    monkeypatch.setattr(history, "begin", full)
    do = Done()
    with pytest.raises(HaError) as caught:
        Maintenance(config(), history, do=do).run(ASKED, CAUSE)
    assert (caught.value.code, do.calls) == ("history_unwritable", [])


def test_what_was_done_and_can_not_be_written_down_is_returned(history: History, monkeypatch: Any) -> None:
    def full(*_given: Any, **_values: Any) -> None:
        raise HaError("history_unwritable", "disk full")

    monkeypatch.setattr(history, "change", full)
    assert Maintenance(config(), history, do=Done()).run(ASKED, CAUSE)["outcome"] == "done"


def test_without_a_reason_it_is_maintenance_and_by_whom() -> None:
    assert Asked("db3", "take_out", "ann").request.reason == "maintenance (ann)"


def test_the_plans_are_given_what_the_configuration_says_and_no_long_wait(monkeypatch: Any) -> None:
    given: dict[str, Any] = {}

    def plans(members: Any, login: Any, request: Any, wish: Any, means: Any, **options: Any) -> Report:
        given.update(options, members=members, login=login, request=request, wish=wish, means=means)
        return report()

    monkeypatch.setattr(maintenance, "maintain", plans)
    own = dataclasses.replace(config(), effect_deadline=1.25, stall_timeout=7.0)
    maintenance.by_plan(own, ASKED.request)
    assert (given["cluster"], given["connect_timeout"], given["members"]) == ("ledger", 1.25, own.members)
    assert (given["wish"].user_prefix, given["wish"].ca) == ("repl_", "/ca.pem")
    means = given["means"]
    assert (means.replication_password, means.stall) == ("canary", 7.0)
    assert max(means.statement, means.connect, means.stall, means.receive_within) <= 30
    assert "canary" not in repr(means)


# --- one at a time, and no failover is held against it ---------------------------------------------------------------
class Tended(Site):
    """``test_watch.Site`` with operations that only say that they were called."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.done = Done()

    def start(self) -> None:
        super().start()
        self.manager._tend = self.done


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Tended]:
    made = Tended(tmp_path)
    yield made
    made.end()


def test_a_failover_that_is_due_waits_for_the_operation_and_is_done_then(site: Tended) -> None:
    site.start()
    site.all_well()
    site.done.go_on.clear()
    results: list[Any] = []
    other = threading.Thread(
        target=lambda: results.append(site.manager.maintain("ledger", "db3", "take_out", "ann", "new disk"))
    )
    other.start()
    site.until(lambda: site.done.calls, "the operation")
    assert site.status()["last_recovery"]["trigger"] == "maintenance"
    for again in (
        lambda: site.manager.maintain("ledger", "db2", "stop", "bob", ""),
        lambda: site.manager.switchover("ledger", "db2", "bob"),
    ):
        with pytest.raises(HaError) as caught:
            again()
        assert caught.value.code == "recovery_running"
    site.kill()
    time.sleep(0.7)
    assert not site.failover.calls, "a failover beside an operation"
    site.done.go_on.set()
    other.join(PATIENCE)
    assert results[0]["outcome"] == "done"
    site.until(lambda: site.failover.calls, "the failover that was due")
    assert any("take_out of db3, asked for by ann: new disk" in line for line in site.lines)


def test_a_name_that_is_no_members_and_a_cluster_that_is_none(site: Tended) -> None:
    site.start()
    for cluster, member, code in (("ledger", "db9", "unknown_member"), ("nope", "db3", "unknown_cluster")):
        with pytest.raises(HaError) as caught:
            site.manager.maintain(cluster, member, "stop", "ann", "")
        assert caught.value.code == code
    assert not site.manager.recoveries()


def test_an_interrupted_operation_is_no_failover_to_be_taken_up(site: Tended) -> None:
    state = History(site.config.state_directory)
    begun = {**maintenance.entry(site.config.clusters[0], CAUSE, "maintenance", "running", 1.0)}
    state.begin({**begun, **dataclasses.asdict(ASKED)})
    state.close()
    site.start()
    site.all_well()
    time.sleep(0.7)
    assert not site.failover.calls
    (entry,) = site.manager.recoveries()
    assert (entry["outcome"], entry["codes"]) == ("failed", ["interrupted"])
    assert any("take_out of db3" in line and "ask for it again" in line for line in site.lines)


@pytest.mark.parametrize("outcome", ["done", "refused", "failed", "running"])
@pytest.mark.parametrize("code", ["locked", "lock_lost", "too_few_acknowledgers"])
def test_the_policy_does_not_count_operations(outcome: str, code: str) -> None:
    now = 1e9
    found = verdict.Verdict(verdict.DEAD, ("because",), "db1", "uuid-1")
    attempts = [policy.Attempt("maintenance", outcome, "uuid-1", 4, now - 0.1, codes=(code,)) for _number in range(10)]
    given = policy.Situation(attempts=attempts, term=4)
    assert decide(found, Rules(), given, now) == decide(found, Rules(), policy.Situation(term=4), now)
    assert isinstance(decide(found, Rules(), given, now), policy.Act)
    assert policy.cooldown(Rules(), attempts) is None


def test_the_policy_would_count_the_same_had_the_manager_begun_it() -> None:
    now = 1e9
    found = verdict.Verdict(verdict.DEAD, ("because",), "db1", "uuid-1")
    attempt = policy.Attempt("automatic", "failed", "uuid-1", 4, now - 0.1, codes=("lock_lost",))
    assert not isinstance(decide(found, Rules(), policy.Situation(attempts=[attempt], term=4), now), policy.Act)


# --- who is out of service -------------------------------------------------------------------------------------------
def taken_out(story: Story, name: str) -> None:
    assert story.term is not None
    members = tuple(
        dataclasses.replace(m, acknowledges=False, out="new disk (ann)") if m.name == name else m
        for m in story.term.members
    )
    story.term = dataclasses.replace(story.term, revision=story.term.revision + 1, members=members)


@pytest.mark.parametrize(
    ("out", "n", "required", "expected"),
    [(True, 2, 1, verdict.DEAD_OR_ISOLATED), (False, 3, 2, verdict.CONTROLLER_CUT)],
)
def test_a_member_out_of_service_is_no_acknowledger_for_the_verdict(
    out: bool, n: int, required: int, expected: str
) -> None:
    """db4 is silent all the time, and db3 when the primary hangs: had db4 been counted, db2 alone would be too few."""
    story = Story(size=4, k=2)
    if out:
        taken_out(story, "db4")
    story.replicas["db4"].reachable = False
    for _turn in range(4):
        story.advance(0.5)
        story.tick()
    assert story.verdict.verdict == verdict.HEALTHY
    assert set(verdict.acknowledgers(story.watched)) == {"db2", "db3"}
    story.hang()
    story.replicas["db3"].reachable = False
    for _turn in range(8):
        story.advance(0.5)
        story.tick()
    assert story.verdict.verdict == expected, story.verdict
    assert (story.verdict.evidence["n"], story.verdict.evidence["required"]) == (n, required)


@pytest.mark.parametrize("reachable", [True, False])
def test_the_status_says_who_is_out_of_service_and_why(reachable: bool) -> None:
    story = Story(size=3)
    story.advance(0.5)
    story.tick()
    taken_out(story, "db3")
    story.replicas["db3"].reachable = reachable
    story.advance(0.5)
    story.tick()
    assert story.term is not None
    own = ClusterConfig("ledger", story.term.members, Login("x"), ReplicationLogin("r", ""))
    view = board.View(own, story.watched, story.verdict, policy.Rest(), 0.0, 0.0)
    members = board.cluster_status(view, None, None, (), 0.0, story.now)["members"]
    out = {name: member["out_of_service"] for name, member in members.items()}
    assert out == {"db1": "", "db2": "", "db3": "new disk (ann)"}
