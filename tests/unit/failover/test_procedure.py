# SPDX-License-Identifier: GPL-3.0-or-later
"""The failover procedure on a simulated cluster, interrupted at every boundary.

The invariants are those of the design: no acknowledged transaction is missing on the final primary; a deposed primary
never acknowledges; a run that is killed anywhere and run again converges; an unprovable situation promotes nothing.
"""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Callable, Iterator, Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover import plan
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.journal import Journal
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.plan import EMERGENCY, PLANNED, Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.procedure import (
    LET_GO,
    Procedure,
    Refused,
    Report,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import union
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import CONNECTING, OFF, ON

from .simulated import Cluster, Hands, Killed

Adversary = Optional[Callable[[Cluster], None]]
RUNS = iter(range(10**9))


def run(cluster: Cluster, request: Request, directory: Path, **hands: object) -> Report:
    journal = Journal(str(directory), "ledger", f"run-{next(RUNS):09d}")
    return Procedure(Hands(cluster, **hands), cluster.members, request, journal).run()  # type: ignore[arg-type]


def boundaries(make: Callable[[], Cluster], request: Request, directory: Path) -> int:
    """How many places there are to be interrupted at."""
    journal = Journal(str(directory), "ledger", f"run-{next(RUNS):09d}")
    hands = Hands(make())
    Procedure(hands, hands.cluster.members, request, journal).run()
    return hands.boundaries


def everybody_commits(cluster: Cluster) -> None:
    """Whoever believes itself writable tries; commits that waited are answered when they can be."""
    cluster.revive_receivers()
    cluster.settle_waiting()
    for server in cluster.open_primaries():
        cluster.commit(server.name)


def after_crash(size: int = 3, k: int = 1) -> Cluster:
    cluster = Cluster(size, k)
    cluster.commit("db1")
    cluster.beat("db1")
    cluster.kill("db1")
    return cluster


def after_cut(size: int = 3, k: int = 1) -> Cluster:
    """The control host can not reach the primary, which is alive, and its replicas have lost it for now."""
    cluster = Cluster(size, k)
    cluster.beat("db1")
    cluster.servers["db1"].reachable = False
    for server in cluster.servers.values():
        if server.receiver == ON:
            server.receiver = CONNECTING
    return cluster


def check(cluster: Cluster, new_primary: str) -> None:
    assert cluster.lost(new_primary) == []
    writable = [s.name for s in cluster.open_primaries() if s.reachable]
    assert writable == [new_primary]
    term = cluster.term_of(cluster.servers[new_primary])
    assert term is not None and term.primary_uuid == cluster.servers[new_primary].uuid
    assert cluster.commit(new_primary), "the new primary acknowledges nothing"
    deposed_after = False
    for name in cluster.acknowledged_by:
        deposed_after = deposed_after or name == new_primary
        assert not (deposed_after and name != new_primary), f"{name} acknowledged after {new_primary} did"


def test_a_crash_is_failed_over_and_proven(tmp_path: Path) -> None:
    cluster = after_crash()
    report = run(cluster, Request(EMERGENCY), tmp_path)
    assert (report.zero_loss, report.new_primary, report.term, report.n, report.k) == ("proven", "db2", 2, 1, 1)
    assert report.proof["required"] == 2 and report.proof["frozen"] == ["db2", "db3"]
    check(cluster, "db2")


def test_the_server_that_received_most_is_elected(tmp_path: Path) -> None:
    cluster = Cluster()
    cluster.servers["db2"].receiver = CONNECTING
    cluster.commit("db1")
    cluster.beat("db1")
    cluster.kill("db1")
    report = run(cluster, Request(EMERGENCY), tmp_path)
    assert report.new_primary == "db3"
    check(cluster, "db3")


def test_a_slow_applier_is_waited_for(tmp_path: Path) -> None:
    cluster = Cluster()
    for name in ("db2", "db3"):
        cluster.servers[name].applier_slow = True
    for _attempt in range(20):
        cluster.commit("db1")
    cluster.beat("db1")
    cluster.kill("db1")
    check(cluster, run(cluster, Request(EMERGENCY), tmp_path).new_primary)


def test_a_broken_applier_gives_way_to_the_next_equal_server(tmp_path: Path) -> None:
    cluster = Cluster()
    cluster.servers["db2"].applier_error = "duplicate key"
    cluster.beat("db1")
    cluster.kill("db1")
    assert cluster.servers["db2"].relay - cluster.servers["db2"].executed
    report = run(cluster, Request(EMERGENCY), tmp_path)
    assert report.new_primary == "db3"


def test_nobody_takes_writes_with_fewer_than_k_behind_it_and_a_second_run_converges(tmp_path: Path) -> None:
    cluster = after_crash()
    cluster.servers["db3"].locked_out = True
    with pytest.raises(HaError) as stopped:
        run(cluster, Request(EMERGENCY), tmp_path)
    assert stopped.value.code == "too_few_followers"
    assert cluster.open_primaries() == []
    cluster.servers["db3"].locked_out = False
    check(cluster, run(cluster, Request(EMERGENCY), tmp_path).new_primary)


def test_a_writable_server_that_is_elected_leaves_its_source_too(tmp_path: Path) -> None:
    cluster = after_crash()
    cluster.servers["db3"].writable = True
    report = run(cluster, Request(EMERGENCY), tmp_path)
    assert not cluster.servers[report.new_primary].configured


def test_a_live_primary_is_not_deposed_by_an_emergency(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        run(Cluster(), Request(EMERGENCY), tmp_path)
    assert refused.value.code == "primary_alive"


def test_one_replica_missing_refuses_and_lets_the_other_run_again(tmp_path: Path) -> None:
    cluster = after_crash()
    cluster.servers["db3"].mysqld = "dead"
    with pytest.raises(Refused) as refused:
        run(cluster, Request(EMERGENCY), tmp_path)
    assert refused.value.code == "too_few_acknowledgers"
    assert cluster.servers["db2"].receiver == CONNECTING
    assert cluster.open_primaries() == []


def test_k_of_two_survives_one_more_loss(tmp_path: Path) -> None:
    cluster = after_crash(size=5, k=2)
    cluster.servers["db4"].mysqld = "dead"
    report = run(cluster, Request(EMERGENCY), tmp_path)
    assert report.zero_loss == "proven" and report.k == 2
    check(cluster, report.new_primary)


def test_accepted_loss_is_written_down(tmp_path: Path) -> None:
    cluster = after_crash(size=4, k=1)
    cluster.servers["db4"].mysqld = "dead"
    report = run(cluster, Request(EMERGENCY, accept_data_loss="a.person"), tmp_path)
    assert (report.zero_loss, report.accepted_by) == ("unproven", "a.person")
    term = cluster.term_of(cluster.servers[report.new_primary])
    assert term is not None and term.proof == "unproven"


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda c: setattr(c.servers["db1"], "source_enabled", False), "semi_sync_was_off"),
        (lambda c: setattr(c.servers["db1"], "no_tx", 7), "semi_sync_had_degraded"),
        (lambda c: c.servers["db2"].settings.update(relay_log_recovery="ON"), "unsafe_settings"),
        (lambda c: setattr(c, "now", c.now + 60), "semi_sync_unobserved"),
    ],
    ids=["semi-sync off", "degraded", "relay log thrown away at restarts", "keeper silent"],
)
def test_what_can_not_be_proven_is_not_promoted(tmp_path: Path, damage: Callable[[Cluster], None], code: str) -> None:
    cluster = Cluster()
    damage(cluster)
    if code != "semi_sync_unobserved":
        cluster.beat("db1")
    cluster.commit("db1")
    cluster.kill("db1")
    with pytest.raises(Refused) as refused:
        run(cluster, Request(EMERGENCY), tmp_path)
    assert code in refused.value.refusal.codes
    assert cluster.open_primaries() == []
    assert all(cluster.servers[n].receiver == CONNECTING for n in ("db2", "db3")), "the freeze was not undone"


def test_a_hung_primary_is_told_from_a_cut_controller(tmp_path: Path) -> None:
    hung = Cluster()
    hung.beat("db1")
    hung.servers["db1"].mysqld = "hung"
    check(hung, run(hung, Request(EMERGENCY), tmp_path / "hung").new_primary)

    cut = Cluster()
    cut.servers["db1"].reachable = False

    def primary_goes_on(cluster: Cluster) -> None:
        cluster.beat("db1")

    with pytest.raises(Refused) as refused:
        run(cut, Request(EMERGENCY), tmp_path / "cut", adversary=primary_goes_on)
    assert refused.value.code == "primary_alive_elsewhere"
    assert all(cut.servers[n].receiver == ON for n in ("db2", "db3"))


@pytest.mark.parametrize("ends", [CONNECTING, ON])
def test_what_a_dead_primary_had_sent_is_no_sign_of_life(tmp_path: Path, ends: str) -> None:
    """A replica reads what had reached it; then it sees the connection closed, or (the primary is hung) it does not."""
    cluster = Cluster()
    cluster.commit("db1")
    cluster.beat("db1")
    cluster.servers["db1"].mysqld = "hung"

    def reads_on(cluster: Cluster) -> None:
        server = cluster.servers["db3"]
        if server.heartbeats < 5:
            server.heartbeats += 1
        elif ends == CONNECTING:
            cluster.kill("db1")

    check(cluster, run(cluster, Request(EMERGENCY), tmp_path, adversary=reads_on).new_primary)


def test_a_planned_switchover_turns_the_old_primary_around(tmp_path: Path) -> None:
    cluster = Cluster()
    report = run(cluster, Request(PLANNED, primary="db3"), tmp_path)
    assert (report.new_primary, report.zero_loss, report.n) == ("db3", "proven", 2)
    old = cluster.servers["db1"]
    assert (old.source, old.receiver, old.replica_enabled, old.source_enabled) == ("db3", ON, True, False)
    check(cluster, "db3")


def test_the_old_primarys_keeper_may_see_that_it_is_read_only_before_semi_sync_is_turned_off(tmp_path: Path) -> None:
    began: dict[str, float] = {}

    class Noting(Hands):
        def _boundary(self, what: str) -> None:
            began.setdefault(what.split()[0], self.cluster.now)
            super()._boundary(what)

    cluster = Cluster()
    journal = Journal(str(tmp_path), "ledger", f"run-{next(RUNS):09d}")
    Procedure(Noting(cluster), cluster.members, Request(PLANNED), journal).run()
    assert began["disarm"] - began["write_term"] >= LET_GO


@pytest.mark.parametrize(("size", "k"), [(3, 1), (3, 2), (4, 2), (5, 3), (2, 1)])
def test_planned_switchovers_keep_k(tmp_path: Path, size: int, k: int) -> None:
    cluster = Cluster(size, k)
    report = run(cluster, Request(PLANNED), tmp_path)
    assert report.k == k
    check(cluster, report.new_primary)


def test_a_switchover_that_is_asked_for_twice_changes_nothing_the_second_time(tmp_path: Path) -> None:
    cluster = Cluster()
    assert run(cluster, Request(PLANNED, primary="db2"), tmp_path).changed
    assert not run(cluster, Request(PLANNED, primary="db2"), tmp_path).changed


def test_a_switchover_that_can_not_block_writes_is_rolled_back(tmp_path: Path) -> None:
    class Busy(Hands):
        def close_writes(self, name: str, budget: float) -> None:
            raise HaError("writes_not_blocked", "a commit waits")

    cluster = Cluster()
    journal = Journal(str(tmp_path), "ledger", "busy")
    with pytest.raises(HaError) as error:
        Procedure(Busy(cluster), cluster.members, Request(PLANNED, primary="db2"), journal).run()
    assert error.value.code == "writes_not_blocked"
    assert cluster.servers["db1"].writable
    assert cluster.servers["db3"].source == "db1"


def interrupted_switchover(cluster: Cluster, directory: Path, ill: type[Hands]) -> HaError:
    """A switchover that fails in its block, and whose undoing fails in part."""
    journal = Journal(str(directory), "ledger", f"run-{next(RUNS):09d}")
    with pytest.raises(HaError) as error:
        Procedure(ill(cluster), cluster.members, Request(PLANNED, primary="db2"), journal).run()
    return error.value


def test_what_can_not_be_undone_keeps_nothing_else_from_being_undone_and_the_next_run_undoes_it(tmp_path: Path) -> None:
    class Stuck(Hands):
        """The block takes effect and has no answer; then the primary can not be opened."""

        def close_writes(self, name: str, budget: float) -> None:
            super().close_writes(name, budget)
            raise HaError("deadline_exceeded", f"{name}: no answer")

        def open_writes(self, name: str) -> None:
            raise HaError("connect_timed_out", f"{name}: no connection")

    cluster = Cluster()
    error = interrupted_switchover(cluster, tmp_path, Stuck)
    assert error.code == "deadline_exceeded", "the reason is why it failed, not why it could not be undone"
    assert error.evidence["not_undone"] == ["db1: no connection"]
    assert cluster.servers["db3"].source == "db1", "the other undoing was not tried"
    assert not cluster.servers["db1"].writable
    report = run(cluster, Request(PLANNED, primary="db2"), tmp_path)
    assert report.resumed
    check(cluster, "db2")


def test_a_replica_that_does_not_turn_back_does_not_keep_the_primary_closed(tmp_path: Path) -> None:
    class Stubborn(Hands):
        def close_writes(self, name: str, budget: float) -> None:
            raise HaError("writes_not_blocked", "a commit waits")

        def follow(self, states, target, *, acknowledge):  # type: ignore[no-untyped-def]
            if target.name == "db1":
                return {s.name: HaError("deadline_exceeded", f"{s.name}: not done in time") for s in states}
            return super().follow(states, target, acknowledge=acknowledge)

    cluster = Cluster()
    error = interrupted_switchover(cluster, tmp_path, Stubborn)
    assert error.code == "writes_not_blocked" and error.evidence["not_undone"] == ["db3: not done in time"]
    assert cluster.servers["db1"].writable and cluster.servers["db3"].source == "db2"
    report = run(cluster, Request(PLANNED, primary="db2"), tmp_path)
    assert report.resumed
    check(cluster, "db2")


def test_a_plan_in_check_mode_touches_nothing(tmp_path: Path) -> None:
    cluster = after_crash()
    before = {n: vars(s).copy() for n, s in cluster.servers.items()}
    journal = Journal(str(tmp_path / "none"), "ledger", "check")
    report = Procedure(Hands(cluster), cluster.members, Request(EMERGENCY), journal, check_only=True).run()
    assert report.plan and report.changed
    assert before == {n: vars(s) for n, s in cluster.servers.items()}
    assert not (tmp_path / "none").exists()


# --- every interrupted prefix ---------------------------------------------------------------------------------------
SITUATIONS: dict[str, tuple[Callable[[], Cluster], Request, Adversary]] = {
    "crash, n=2 k=1": (after_crash, Request(EMERGENCY), everybody_commits),
    "crash, n=4 k=2": (lambda: after_crash(5, 2), Request(EMERGENCY), everybody_commits),
    "switchover, n=2 k=1": (Cluster, Request(PLANNED, primary="db2"), everybody_commits),
    "switchover, n=2 k=2": (lambda: Cluster(3, 2), Request(PLANNED, primary="db2"), everybody_commits),
    "switchover, n=4 k=2": (lambda: Cluster(5, 2), Request(PLANNED, primary="db4"), everybody_commits),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_run_killed_anywhere_and_run_again_converges(tmp_path: Path, situation: str) -> None:
    make, request, adversary = SITUATIONS[situation]
    count = boundaries(make, request, tmp_path / "count")
    assert count > 10
    for place in range(count):
        cluster = make()
        directory = tmp_path / str(place)
        with pytest.raises(Killed):
            run(cluster, request, directory, kill_at=place, adversary=adversary)
        report = run(cluster, request, directory, adversary=adversary)
        check(cluster, report.new_primary)


@pytest.mark.parametrize("situation", ["crash, n=2 k=1", "switchover, n=2 k=1"])
def test_a_run_killed_twice_converges(tmp_path: Path, situation: str) -> None:
    make, request, adversary = SITUATIONS[situation]
    count = boundaries(make, request, tmp_path / "count")
    for first in range(count):
        for second in range(0, count, 3):
            cluster = make()
            directory = tmp_path / f"{first}-{second}"
            with pytest.raises(Killed):
                run(cluster, request, directory, kill_at=first, adversary=adversary)
            try:
                report = run(cluster, request, directory, kill_at=second, adversary=adversary)
            except Killed:
                report = run(cluster, request, directory, adversary=adversary)
            check(cluster, report.new_primary)


# --- what another host's run has ended -------------------------------------------------------------------------------
def ended_by_another(directory: Path, place: int) -> Iterator[tuple[Cluster, Report]]:
    """A run that was killed there, and one from another host that promoted after it; none when that one could not."""
    cluster = after_crash()
    with pytest.raises(Killed):
        run(cluster, Request(EMERGENCY), directory / "first", kill_at=place, adversary=everybody_commits)
    with contextlib.suppress(Refused):
        yield cluster, run(cluster, Request(EMERGENCY), directory / "other", adversary=everybody_commits)


@pytest.mark.parametrize("woken", [False, True])
def test_what_another_host_has_ended_leaves_nothing_to_do_wherever_it_was_interrupted(
    tmp_path: Path, woken: bool
) -> None:
    """Also when the old primary is back and takes writes that nobody acknowledges."""
    superseded = 0
    for place in range(boundaries(after_crash, Request(EMERGENCY), tmp_path / "count")):
        directory = tmp_path / str(place)
        for cluster, other in ended_by_another(directory, place):
            if woken:
                cluster.servers["db1"].mysqld = "running"
            begun = Journal(str(directory / "first"), "ledger", "z").unfinished()
            try:
                report = run(cluster, Request(EMERGENCY), directory / "first", adversary=everybody_commits)
            except Refused as refused:
                assert begun is None, f"{place}: {refused}"
                continue
            if not report.changed:
                found = (report.ended_elsewhere, report.new_primary, report.term, report.zero_loss)
                assert found == (other.run_id, other.new_primary, other.term, "proven")
                assert "nothing left to do" in report.notes[-1]
                superseded += 1
            assert Journal(str(directory / "first"), "ledger", "z").unfinished() is None
            if not woken:
                check(cluster, other.new_primary)
    assert superseded > 5


def test_mutant_who_does_not_look_at_the_term_refuses_what_another_host_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "ended_elsewhere", lambda *_arguments: None)
    refusals = []
    for place in range(boundaries(after_crash, Request(EMERGENCY), tmp_path / "count")):
        for cluster, _other in ended_by_another(tmp_path / str(place), place):
            try:
                run(cluster, Request(EMERGENCY), tmp_path / str(place) / "first", adversary=everybody_commits)
            except Refused as refused:
                refusals.append(refused.code)
    assert "primary_alive" in refusals


def test_a_new_primary_that_has_died_since_is_failed_over_by_whoever_comes_back(tmp_path: Path) -> None:
    def make() -> Cluster:
        return after_crash(5, 2)

    cluster = make()
    place = boundaries(make, Request(EMERGENCY), tmp_path / "count") // 2
    with pytest.raises(Killed):
        run(cluster, Request(EMERGENCY), tmp_path / "first", kill_at=place)
    other = run(cluster, Request(EMERGENCY), tmp_path / "other")
    cluster.commit(other.new_primary)
    cluster.beat(other.new_primary)
    cluster.kill(other.new_primary)
    report = run(cluster, Request(EMERGENCY, lower_k="to_remaining"), tmp_path / "first")
    assert report.changed and not report.ended_elsewhere and report.new_primary != other.new_primary
    check(cluster, report.new_primary)


def test_the_primary_that_wakes_up_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    """Cut off from the control host, its replicas trying to reach it, it comes back at each boundary in turn."""
    for place in range(40):
        cluster = after_cut()
        seen = {"boundaries": 0}

        def wakes(  # pylint: disable=dangerous-default-value
            cluster: Cluster, place: int = place, seen: dict[str, int] = seen
        ) -> None:
            seen["boundaries"] += 1
            if seen["boundaries"] > place:
                everybody_commits(cluster)

        try:
            report = run(cluster, Request(EMERGENCY), tmp_path / str(place), adversary=wakes)
        except Refused:
            continue
        assert cluster.lost(report.new_primary) == []
        assert "db1" not in cluster.acknowledged_by[cluster.acknowledged_by.index(report.new_primary) :]


def test_an_elected_server_that_dies_at_any_moment_is_replaced(tmp_path: Path) -> None:
    """Scenario 21: the candidate is killed somewhere between its election and its first write, or right after."""
    request = Request(EMERGENCY)

    def make() -> Cluster:
        return after_crash(5, 2)

    replaced = 0
    for place in range(boundaries(make, request, tmp_path / "count")):
        cluster = make()
        directory = tmp_path / str(place)
        with pytest.raises(Killed):
            run(cluster, request, directory, kill_at=place, adversary=everybody_commits)
        cluster.revive_receivers()
        cluster.kill("db2")
        report = run(cluster, request, directory, adversary=everybody_commits)
        assert report.new_primary != "db2" and report.zero_loss == "proven"
        check(cluster, report.new_primary)
        replaced += 1
    assert replaced > 20


def old_primary_works_on(cluster: Cluster) -> None:
    """What site.yml or a person may do between two runs: the old primary lives, whoever still follows it does so."""
    old = cluster.servers["db1"]
    old.mysqld, old.writable, old.source_enabled = "running", True, True
    for server in cluster.servers.values():
        if server.source == "db1" and server.receiver == OFF:
            server.receiver = CONNECTING
    cluster.revive_receivers()
    cluster.settle_waiting()
    for _turn in range(3):
        cluster.commit("db1")
    cluster.beat("db1")


@pytest.mark.parametrize("dies_again", [True, False])
@pytest.mark.parametrize(("size", "k"), [(3, 1), (5, 2)])
def test_a_killed_run_is_not_trusted_after_the_old_primary_worked_on(
    tmp_path: Path, size: int, k: int, dies_again: bool
) -> None:
    def make() -> Cluster:
        return after_crash(size, k)

    request = Request(EMERGENCY)
    refusals = 0
    for place in range(boundaries(make, request, tmp_path / "count")):
        cluster = make()
        directory = tmp_path / str(place)
        with pytest.raises(Killed):
            run(cluster, request, directory, kill_at=place)
        old_primary_works_on(cluster)
        if dies_again:
            cluster.kill("db1")
        try:
            report = run(cluster, request if dies_again else Request(PLANNED), directory)
        except HaError:
            refusals += 1
            continue
        assert cluster.lost(report.new_primary) == [], f"killed at {place}"
        assert sum(bool(cluster.commit(s.name)) for s in cluster.open_primaries()) <= 1
    assert refusals < 20


# --- the cluster's lock ---------------------------------------------------------------------------------------------
def everything(cluster: Cluster) -> dict[str, dict[str, object]]:
    return {name: copy.deepcopy(vars(server)) for name, server in cluster.servers.items()}


@pytest.mark.parametrize("held", [("db2", "db3"), ("db3",)])
@pytest.mark.parametrize("situation", ["crash, n=2 k=1", "switchover, n=2 k=1"])
def test_a_run_that_meets_a_held_lock_changes_nothing(tmp_path: Path, situation: str, held: tuple[str, ...]) -> None:
    make, request, _adversary = SITUATIONS[situation]
    cluster = make()
    cluster.locks.update(dict.fromkeys(held, "another run"))
    before = everything(cluster)
    with pytest.raises(HaError) as refused:
        run(cluster, request, tmp_path)
    assert refused.value.code == "locked" and refused.value.evidence["members"] == list(held)
    assert everything(cluster) == before
    assert cluster.locks == dict.fromkeys(held, "another run"), "a lock was taken and not let go"
    cluster.locks.clear()
    check(cluster, run(cluster, request, tmp_path).new_primary)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_an_interrupted_run_is_not_taken_up_while_another_holds_the_lock(tmp_path: Path, situation: str) -> None:
    make, request, adversary = SITUATIONS[situation]
    locked = 0
    for place in range(boundaries(make, request, tmp_path / "count")):
        cluster = make()
        directory = tmp_path / str(place)
        with pytest.raises(Killed):
            run(cluster, request, directory, kill_at=place, adversary=adversary)
        assert cluster.locks == {}, "a lock outlived its holder"
        cluster.locks.update(dict.fromkeys(("db2", "db3", "db4", "db5"), "another run"))
        before = everything(cluster)
        with pytest.raises(HaError) as refused:
            run(cluster, request, directory)
        locked += refused.value.code == "locked"
        assert everything(cluster) == before, f"killed at {place}"
        cluster.locks.clear()
        check(cluster, run(cluster, request, directory, adversary=adversary).new_primary)
    assert locked > 10


@pytest.mark.parametrize("loses", [None, ("db2",), ("db3",)], ids=["all", "db2", "db3"])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_run_that_loses_its_lock_anywhere_stops_and_the_next_one_converges(
    tmp_path: Path, situation: str, loses: Optional[tuple[str, ...]]
) -> None:
    make, request, adversary = SITUATIONS[situation]
    codes: set[str] = set()
    for place in range(boundaries(make, request, tmp_path / "count")):
        cluster = make()
        directory = tmp_path / str(place)
        journal = Journal(str(directory), "ledger", f"run-{next(RUNS):09d}")
        hands = Hands(cluster, lose_at=place, loses=loses, adversary=adversary)
        try:
            report = Procedure(hands, cluster.members, request, journal).run()
        except HaError as error:
            codes.add(error.code)
            assert hands.lost_after is not None, f"stopped at {place} and had lost nothing"
            stops(hands)
            report = run(cluster, request, directory, adversary=adversary)
        assert cluster.locks == {}
        check(cluster, report.new_primary)
    assert "lock_lost" in codes


def stops(hands: Hands) -> None:
    """From the first look at the locks after the loss on, nothing is begun that leads to a promotion."""
    later = hands.trace[hands.lost_after or 0 :]
    if hands.lost_after is None or "keep_locks" not in later:
        return
    begins = ("close_writes", "leave_source", "arm", "open_writes", "write_term")
    begun = [what for what in later[later.index("keep_locks") :] if what.startswith(begins)]
    assert set(begun) <= {"open_writes db1"}, f"went on after the loss at {later[0]}"


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_lock_is_looked_at_right_before_writes_are_blocked_a_promotion_is_begun_and_writes_are_opened(
    tmp_path: Path, situation: str
) -> None:
    make, request, adversary = SITUATIONS[situation]
    hands = Hands(make(), adversary=adversary)
    Procedure(hands, hands.cluster.members, request, Journal(str(tmp_path), "ledger", "run")).run()
    moments = {PLANNED: ("close_writes", "leave_source", "open_writes"), EMERGENCY: ("follow", "open_writes")}
    for moment in moments[request.mode]:
        first = next(n for n, what in enumerate(hands.trace) if what.startswith(moment))
        assert hands.trace[first - 1] == "keep_locks", moment


def test_the_locks_of_a_run_that_takes_up_another_are_never_let_go_in_between(tmp_path: Path) -> None:
    class Watched(Hands):
        taken = False

        def _boundary(self, what: str) -> None:
            assert self.held or not self.taken, f"no lock at {what}"
            super()._boundary(what)
            self.taken = bool(self.held)

    for situation in SITUATIONS:
        make, request, adversary = SITUATIONS[situation]
        for place in range(0, boundaries(make, request, tmp_path / "count"), 3):
            cluster = make()
            directory = tmp_path / f"{situation}-{place}"
            with pytest.raises(Killed):
                run(cluster, request, directory, kill_at=place, adversary=adversary)
            journal = Journal(str(directory), "ledger", f"run-{next(RUNS):09d}")
            Procedure(Watched(cluster, adversary=adversary), cluster.members, request, journal).run()


def forgetful(cluster: Cluster, name: str) -> None:
    """A server that has restarted: it knows no more when it last heard anybody."""
    server = cluster.servers[name]
    server.mysqld, server.writable = "running", False
    server.last_queued_at = server.last_queued_committed_at = server.last_heartbeat_at = 0.0


def after_elected_died(directory: Path) -> Cluster:
    """Killed when db2 was about to be opened; then db2 dies as well, twice nothing can be done, and it comes back."""
    cluster = after_crash()
    hands = Hands(after_crash())
    Procedure(hands, cluster.members, Request(EMERGENCY), Journal(str(directory / "x"), "ledger", "run")).run()
    with pytest.raises(Killed):
        run(cluster, Request(EMERGENCY), directory, kill_at=hands.trace.index("open_writes db2"))
    cluster.kill("db2")
    for _attempt in range(2):
        with pytest.raises(Refused) as refused:
            run(cluster, Request(EMERGENCY), directory)
        assert "too_few_acknowledgers" in [reason.code for reason in refused.value.refusal.reasons]
    forgetful(cluster, "db2")
    return cluster


def test_what_the_dead_primary_testified_outlives_refused_runs(tmp_path: Path) -> None:
    cluster = after_elected_died(tmp_path)
    report = run(cluster, Request(EMERGENCY), tmp_path)
    assert report.zero_loss == "proven"
    check(cluster, report.new_primary)


def test_mutant_a_run_that_does_not_remember_can_not_prove_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = after_elected_died(tmp_path)
    monkeypatch.setattr(Journal, "testimony", lambda _self: None)
    with pytest.raises(Refused) as refused:
        run(cluster, Request(EMERGENCY), tmp_path)
    assert refused.value.code == "semi_sync_unobserved"


def test_a_run_that_touched_nothing_leaves_no_journal(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        run(Cluster(), Request(EMERGENCY), tmp_path)
    assert not list(tmp_path.rglob("*.jsonl"))


def test_an_old_primary_that_came_back_with_a_surplus_does_not_keep_a_half_promoted_server_from_its_end(
    tmp_path: Path,
) -> None:
    def crashed() -> Cluster:
        cluster = Cluster()
        cluster.beat("db1")
        cluster.unheard.add("db1")
        assert not cluster.commit("db1")
        cluster.unheard.clear()
        cluster.kill("db1")
        return cluster

    seen = 0
    for place in range(boundaries(crashed, Request(EMERGENCY), tmp_path / "count")):
        for turned_back in (False, True):
            cluster = crashed()
            directory = tmp_path / f"{place}-{turned_back}"
            with pytest.raises(Killed):
                run(cluster, Request(EMERGENCY), directory, kill_at=place)
            elected = next(iter(cluster.open_primaries()), None)
            term = cluster.term_of(elected) if elected else None
            if elected is None or term is None or term.term > 1:
                continue
            seen += 1
            old = cluster.servers["db1"]
            # Crash recovery commits what nobody acknowledged; it starts read-only, with semi-sync off.
            old.mysqld, old.writable, old.source_enabled = "running", False, False
            old.executed, old.prepared = old.executed | old.prepared[0], []
            if turned_back:
                other = next(s for s in cluster.servers.values() if s.name not in ("db1", elected.name))
                other.source, other.receiver = "db1", CONNECTING
                cluster.revive_receivers()
                with pytest.raises(Refused) as refused:
                    run(cluster, Request(EMERGENCY), directory)
                assert refused.value.code == "topology_several_writable"
            else:
                check(cluster, run(cluster, Request(EMERGENCY), directory).new_primary)
    assert seen, "the run was never killed with the elected server open"


# --- the replication alone is cut -------------------------------------------------------------------------------------
CUT = Request(EMERGENCY, cut=True)


def after_replication_cut(size: int = 3, k: int = 1, receivers: str = CONNECTING) -> Cluster:
    """The primary lives, answers the control host, and waits; no acknowledger reaches it."""
    cluster = Cluster(size, k)
    cluster.commit("db1")
    cluster.beat("db1")
    cluster.unheard.add("db1")
    for server in cluster.servers.values():
        if server.receiver == ON:
            server.receiver = receivers
    assert not cluster.commit("db1"), "it acknowledges all the same"
    return cluster


def check_cut(cluster: Cluster, new_primary: str) -> None:
    """As ``check``, and no two servers that answer took writes at once; then the cut heals, and the old primary still
    acknowledges nothing."""
    assert cluster.beside == []
    assert cluster.lost(new_primary) == []
    term = cluster.term_of(cluster.servers[new_primary])
    assert term is not None and term.primary_uuid == cluster.servers[new_primary].uuid
    assert cluster.commit(new_primary), "the new primary acknowledges nothing"
    cluster.unheard.clear()
    for _turn in range(3):
        everybody_commits(cluster)
    first = cluster.acknowledged_by.index(new_primary)
    assert "db1" not in cluster.acknowledged_by[first:], "the old primary acknowledged after the new one did"
    assert cluster.lost(new_primary) == []
    old = cluster.servers["db1"]
    assert old.offline and old.prepared and old.source_enabled, "a commit that waited was released"


class Unfenced(Hands):
    """Leaves the old primary as it is."""

    def fence(self, name: str) -> list[str]:
        return []


class Releasing(Hands):
    """Makes the old primary read-only, for which what waits has to be released."""

    def fence(self, name: str) -> list[str]:
        server = self.cluster.servers[name]
        server.executed, server.prepared = union([server.executed, *server.prepared]), []
        server.source_enabled = server.writable = False
        return super().fence(name)


@pytest.mark.parametrize("hands", [Unfenced, Releasing])
def test_mutants_an_old_primary_that_stays_open_or_whose_commits_are_released_shows(
    tmp_path: Path, hands: type[Hands]
) -> None:
    cluster = after_replication_cut()
    report = Procedure(hands(cluster), cluster.members, CUT, Journal(str(tmp_path), "ledger", "run")).run()
    with pytest.raises(AssertionError):
        check_cut(cluster, report.new_primary)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ([], ""),
        (["root"], "db1 is fenced, and the sessions of root could not be ended there"),
        (HaError("connect_refused", "gone"), "db1 is not fenced: gone"),
    ],
)
def test_an_old_primary_that_can_not_be_fenced_is_said_and_stops_nothing(
    tmp_path: Path, left: list[str] | HaError, said: str
) -> None:
    class Hindered(Hands):
        def fence(self, name: str) -> list[str]:
            if isinstance(left, HaError):
                raise left
            return left

    cluster = after_replication_cut()
    report = Procedure(Hindered(cluster), cluster.members, CUT, Journal(str(tmp_path), "ledger", "run")).run()
    assert report.zero_loss == "proven"
    assert [note for note in report.notes if note.startswith("db1 is")] == ([said] if said else [])


@pytest.mark.parametrize("receivers", [CONNECTING, ON])
@pytest.mark.parametrize(("size", "k"), [(3, 1), (4, 2), (5, 2)])
def test_a_cut_replication_is_failed_over_and_no_waiting_commit_is_released(
    tmp_path: Path, size: int, k: int, receivers: str
) -> None:
    cluster = after_replication_cut(size, k, receivers)
    report = run(cluster, CUT, tmp_path)
    assert report.zero_loss == "proven"
    check_cut(cluster, report.new_primary)


def test_without_being_asked_for_a_cut_is_no_reason(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        run(after_replication_cut(), Request(EMERGENCY), tmp_path)
    assert refused.value.code == "primary_alive"


@pytest.mark.parametrize(("hear", "code"), [(1, ""), (2, "replication_not_cut")])
def test_a_primary_that_k_acknowledgers_hear_is_not_deposed(tmp_path: Path, hear: int, code: str) -> None:
    cluster = after_replication_cut(5, 2)
    names = ["db2", "db3"][:hear]

    def some_hear(cluster: Cluster) -> None:
        for name in names:
            server = cluster.servers[name]
            if server.receiver in (CONNECTING, ON) and server.source == "db1":
                server.receiver = ON
                server.heartbeats += 1

    some_hear(cluster)
    if code:
        with pytest.raises(Refused) as refused:
            run(cluster, CUT, tmp_path, adversary=some_hear)
        assert refused.value.code == code
        assert all(cluster.servers[n].receiver != OFF for n in ("db2", "db3", "db4", "db5"))
    else:
        report = run(cluster, CUT, tmp_path, adversary=some_hear)
        check_cut(cluster, report.new_primary)


@pytest.mark.parametrize(("size", "k"), [(3, 1), (5, 2)])
def test_a_cut_that_heals_or_a_run_that_is_killed_at_any_moment_loses_nothing(
    tmp_path: Path, size: int, k: int
) -> None:
    """Killed at each boundary; the cut heals there, or stays; then the run is made again."""
    count = boundaries(lambda: after_replication_cut(size, k), CUT, tmp_path / "count")
    assert count > 10
    for heals in (False, True):
        moved = 0
        for place in range(count):
            cluster = after_replication_cut(size, k)
            directory = tmp_path / f"{heals}-{place}"
            with pytest.raises(Killed):
                run(cluster, CUT, directory, kill_at=place, adversary=everybody_commits)
            if heals:
                cluster.unheard.clear()
                everybody_commits(cluster)
            try:
                report = run(cluster, CUT, directory, adversary=everybody_commits)
            except Refused as refused:
                assert heals, refused
                everybody_commits(cluster)
                assert cluster.commit("db1"), "refused, and the old primary is left without acknowledgers"
                continue
            moved += 1
            if not heals:
                check_cut(cluster, report.new_primary)
            assert cluster.lost(report.new_primary) == []
            first = cluster.acknowledged_by.index(report.new_primary)
            assert "db1" not in cluster.acknowledged_by[first:]
        assert moved >= (count if not heals else 5)


def test_mutant_a_half_promoted_server_beside_a_primary_that_k_follow_again(tmp_path: Path) -> None:
    """Killed with the elected server open; its followers are taken back by hand: the run must not simply go on."""
    count = boundaries(after_replication_cut, CUT, tmp_path / "count")
    seen = 0
    for place in range(count):
        cluster = after_replication_cut()
        directory = tmp_path / str(place)
        with pytest.raises(Killed):
            run(cluster, CUT, directory, kill_at=place)
        elected = next((s for s in cluster.open_primaries() if s.name != "db1"), None)
        term = cluster.term_of(cluster.servers["db1"])
        if elected is None or (term_of := cluster.term_of(elected)) is None or term is None:
            continue
        if term_of.revision > term.revision:
            continue
        cluster.unheard.clear()
        other = next(s for s in cluster.servers.values() if s.name not in ("db1", elected.name))
        other.source, other.receiver = "db1", CONNECTING
        everybody_commits(cluster)
        seen += 1
        with pytest.raises(Refused) as refused:
            run(cluster, CUT, directory)
        assert refused.value.code == "topology_several_writable"
    assert seen, "the run was never killed with the elected server open"


def test_a_watcher_that_listened_saves_the_second_look(tmp_path: Path) -> None:
    def listens(quiet: dict[str, int]) -> float:
        hung = Cluster()
        hung.beat("db1")
        hung.servers["db1"].mysqld = "hung"
        hung.now += 2
        began = hung.now
        report = run(hung, Request(EMERGENCY, quiet=quiet), tmp_path / str(next(RUNS)))
        check(hung, report.new_primary)
        return hung.now - began

    uuids = [s.uuid for s in Cluster().servers.values()]
    assert listens(dict.fromkeys(uuids, 0)) < 0.5
    # One that heard more since, or that nobody watched, is listened to.
    assert listens({uuids[1]: 0, uuids[2]: 7}) > 1.0
    assert listens({uuids[1]: 0}) > 1.0


def test_a_server_that_is_never_to_be_promoted_is_not(tmp_path: Path) -> None:
    cluster = after_crash()
    assert run(cluster, Request(EMERGENCY, never=("db2",)), tmp_path / "1").new_primary == "db3"
    with pytest.raises(Refused) as refused:
        run(after_crash(), Request(EMERGENCY, never=("db2", "db3")), tmp_path / "2")
    assert refused.value.code == "no_able_candidate"
    assert run(after_crash(), Request(EMERGENCY, primary="db2", never=("db2",)), tmp_path / "3").new_primary == "db2"
    assert run(Cluster(), Request(PLANNED, never=("db2",)), tmp_path / "4").new_primary == "db3"
    with pytest.raises(Refused) as refused:
        run(Cluster(), Request(PLANNED, never=("db2", "db3")), tmp_path / "5")
    assert refused.value.code == "no_candidate"


# --- the checks can fail --------------------------------------------------------------------------------------------
def test_mutant_electing_without_freezing_loses_an_acknowledged_transaction(tmp_path: Path) -> None:
    class Careless(Hands):
        """One acknowledger is neither followed up nor kept frozen: what a receiver does that nobody really stopped."""

        def follow(self, states, target, *, acknowledge):  # type: ignore[no-untyped-def]
            self.forgotten = states[0].name
            return super().follow(states[1:], target, acknowledge=acknowledge)

        def leave_source(self, state):  # type: ignore[no-untyped-def]
            self.cluster.servers[self.forgotten].receiver = CONNECTING
            self.cluster.revive_receivers()
            self.cluster.commit("db1")
            super().leave_source(state)

    cluster = after_cut(4)
    journal = Journal(str(tmp_path), "ledger", "mutant")
    report = Procedure(Careless(cluster), cluster.members, Request(EMERGENCY), journal).run()
    assert cluster.lost(report.new_primary), "the check saw nothing"


def test_a_receiver_that_runs_again_while_the_elected_server_applies_voids_the_proof(tmp_path: Path) -> None:
    class Thawed(Hands):
        def applied(self, name, gtids, wait):  # type: ignore[no-untyped-def]
            answer = super().applied(name, gtids, wait)
            other = next(n for n in ("db2", "db3") if n != name)
            self.cluster.servers[other].receiver = CONNECTING
            self.cluster.revive_receivers()
            self.cluster.commit("db1")
            return answer

    cluster = after_cut()
    journal = Journal(str(tmp_path), "ledger", "thawed")
    with pytest.raises(Refused) as refused:
        Procedure(Thawed(cluster), cluster.members, Request(EMERGENCY), journal).run()
    assert refused.value.code == "too_few_frozen"


def test_mutant_opening_before_arming_acknowledges_without_an_acknowledger(tmp_path: Path) -> None:
    class Hasty(Hands):
        def arm(self, name, k):  # type: ignore[no-untyped-def]
            self.cluster.servers[name].writable = True
            self.cluster.commit(name)
            super().arm(name, k)

    cluster = after_crash()
    for server in cluster.servers.values():
        server.replica_enabled = False
    journal = Journal(str(tmp_path), "ledger", "mutant")
    Procedure(Hasty(cluster), cluster.members, Request(EMERGENCY), journal).run()
    unsafe = cluster.acknowledged[cluster.acknowledged_by.index("db2")]
    from .simulated import one

    assert not one(*unsafe) <= cluster.servers["db1"].executed
