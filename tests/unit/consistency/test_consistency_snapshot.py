# SPDX-License-Identifier: GPL-3.0-or-later
"""One GTID for two servers: what is held is let go of, and what was stopped runs again, whatever happens."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, nullcontext
from typing import Any, Iterator
from unittest import mock

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import snapshot
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Named
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication import repoint
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import OFF, ON
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.simulated_run import ADMIN, LOGIN, Sim, World, keyed

T = Named("s", "t")


class Pair:
    """A primary and a replica, and the sessions that a snapshot is made with."""

    def __init__(self) -> None:
        self.world = World({"t": keyed(1, 2)}, replicas=1)
        self.replica = self.world.nodes["r1"]
        self.primary_session = Sim(self.world.primary, LOGIN.user)
        self.replica_session = Sim(self.replica, LOGIN.user)
        self.primary_admin = Sim(self.world.primary, ADMIN.user)
        self.opened: list[Sim] = []

    def replica_admin(self) -> Any:
        if not self.opened or not self.opened[-1].usable:
            self.opened.append(self.world.connect("r1", "", 0, ADMIN))
        return self.opened[-1]

    @contextmanager
    def at_one_gtid(self, **limits: float) -> Iterator[snapshot.Held]:
        given = {"statement": 5.0, "catch_up": 2.0, **limits}
        with (
            mock.patch.object(repoint.time, "sleep", self.world.sleep),
            snapshot.at_one_gtid(
                self.primary_session,  # type: ignore[arg-type]
                self.replica_session,  # type: ignore[arg-type]
                self.primary_admin,  # type: ignore[arg-type]
                self.replica_admin,
                clock=self.world.clock,
                sleep=self.world.sleep,
                **given,
            ) as held,
        ):
            yield held

    def as_before(self) -> None:
        assert self.world.primary.locked_by is None
        for session in (self.primary_session, self.replica_session):
            assert session.snapshot is None and not session.holds
        assert (self.replica.applier, self.replica.until) == (ON, None)


def test_both_hold_the_same_while_both_go_on() -> None:
    pair = Pair()
    pair.world.writer = lambda world: world.commit(T, 20_000, f"v{world.count}")
    with pair.at_one_gtid() as held:
        assert pair.replica.applier == ON
        there, here = pair.primary_session.snapshot, pair.replica_session.snapshot
        assert there is not None and here is not None
        seen = dict(there[T].rows)
        assert seen == here[T].rows
        pair.world.commit(T, 10_000, "later")
        assert pair.replica.executed == pair.world.primary.executed != held.gtids
        assert pair.replica.tables[T].rows[10_000] == "later"
        assert there[T].rows == here[T].rows == seen
        assert pair.world.primary.locked_by is None
    pair.as_before()
    assert pair.replica.executed == pair.world.primary.executed


def test_tables_that_were_read_may_be_changed_and_the_snapshots_stay() -> None:
    pair = Pair()
    with pair.at_one_gtid() as held:
        sessions = (pair.primary_session, pair.replica_session)
        for session in sessions:
            session.query("edges", (T,), within=1.0)
            assert session.holds == {T}
        held.let_tables_go()
        assert all(session.snapshot is not None and not session.holds for session in sessions)
    pair.as_before()


@pytest.mark.parametrize("stays", [True, False], ids=["it goes on", "it stopped again"])
def test_an_applier_that_somebody_else_starts_before_the_snapshot_is_there_makes_it_none(stays: bool) -> None:
    pair = Pair()

    def before(sql: str) -> None:
        if sql.startswith("START TRANSACTION"):
            pair.replica.applier, pair.replica.until = ON, None
            if not stays:
                pair.world.commit(T, 10_000, "in flight")
                pair.replica.apply()
                pair.replica.applier = OFF

    pair.replica.before = before
    with pytest.raises(HaError) as raised, pair.at_one_gtid():
        pytest.fail("there is none")
    assert raised.value.code == "replica_moved"
    pair.as_before()


@pytest.mark.parametrize("fault", ["error", "lost"])
def test_whatever_breaks_everything_is_as_before(fault: str) -> None:
    whole = Pair()
    with whole.at_one_gtid():
        pass
    failed = 0
    for number in range(1, whole.world.count + 1):
        pair = Pair()
        pair.world.faults[number] = fault
        try:
            with pair.at_one_gtid():
                pass
        except HaError:
            failed += 1
        pair.as_before()
    assert failed > 5


@pytest.mark.parametrize("error", [HaError("x", "x"), KeyboardInterrupt(), RuntimeError()])
def test_what_breaks_in_the_comparison_leaves_everything_as_before(error: BaseException) -> None:
    pair = Pair()
    with pytest.raises(type(error)), pair.at_one_gtid():
        raise error
    pair.as_before()


def test_an_applier_that_stops_late_is_not_started_before_it_has_stopped() -> None:
    """What is started before is not started at all, and then it stops."""
    pair = Pair()
    pair.world.slow_stop = 6
    over = mock.patch.object(repoint.Deadline, "over", property(lambda self: True))
    with over, pytest.raises(HaError) as raised, pair.at_one_gtid():
        pass
    assert raised.value.code == "applier_still_on"
    pair.as_before()


def test_an_account_that_may_not_stop_an_applier_has_stopped_none() -> None:
    pair = Pair()

    def before(sql: str) -> None:
        if "REPLICA SQL_THREAD" in sql:
            raise StatementFailed("sql_error", "you need a privilege", errno=1227, evidence={"member": "r1"})

    pair.replica.before = before
    with pytest.raises(StatementFailed) as raised, pair.at_one_gtid():
        pass
    assert raised.value.errno == 1227
    assert pair.world.now < 1001.0
    pair.as_before()


def test_an_applier_that_was_off_stays_off() -> None:
    pair = Pair()
    pair.replica.applier = OFF
    with pair.at_one_gtid():
        pass
    assert pair.replica.applier == OFF
    assert not any("REPLICA SQL_THREAD" in sql for sql in pair.replica.log)
    # Nor does it execute anything: whoever stopped it had a reason.
    pair = Pair()
    pair.replica.applier = OFF
    pair.world.commit(T, 20_000, "new")
    with pytest.raises(HaError) as raised, pair.at_one_gtid():
        pass
    assert raised.value.code == "replica_stands_still"
    assert not any("REPLICA SQL_THREAD" in sql for sql in pair.replica.log)


def test_one_that_is_late_is_not_stopped() -> None:
    pair = Pair()
    pair.world.commit(T, 20_000, "new")
    pair.replica.apply = lambda: None  # type: ignore[method-assign]
    with pytest.raises(HaError) as raised, pair.at_one_gtid():
        pass
    assert raised.value.code == "replica_late"
    assert not any("REPLICA SQL_THREAD" in sql for sql in pair.replica.log)
    pair.as_before()


def test_transactions_of_its_own_are_refused() -> None:
    pair = Pair()
    pair.replica.errant = "ffffffff-0000-0000-0000-000000000000:1-3"
    with pytest.raises(HaError) as raised, pair.at_one_gtid():
        pass
    assert raised.value.code == "errant_transactions"
    assert "ffffffff-0000-0000-0000-000000000000:1-3" in raised.value.message
    pair.as_before()


def test_a_lock_that_is_not_to_be_had_keeps_nobody_waiting_for_long() -> None:
    for refused, fails in ((1, False), (4, False), (5, True)):
        pair = Pair()
        pair.world.primary.lock_refused = refused
        if fails:
            with pytest.raises(HaError) as raised, pair.at_one_gtid():
                pass
            assert raised.value.code == "snapshot_not_locked"
        else:
            with pair.at_one_gtid():
                pass
        pair.as_before()
        log = pair.world.primary.log
        patience = log.index(f"SET SESSION lock_wait_timeout = {snapshot.LOCK_PATIENCE}")
        assert patience < log.index("FLUSH TABLES WITH READ LOCK")
        assert snapshot.LOCK_PATIENCE <= 2


def test_a_lock_that_is_refused_is_let_go_of_before_the_next_attempt() -> None:
    """MySQL keeps the locks that it has got until then, and nobody could write during the pause."""
    pair = Pair()
    pair.world.primary.lock_refused = 2
    held: list[bool] = []
    real = pair.world.sleep

    def sleep(seconds: float) -> None:
        held.append(pair.world.primary.locked_by is not None)
        real(seconds)

    pair.world.sleep = sleep  # type: ignore[method-assign]
    with pair.at_one_gtid():
        pass
    assert len(held) >= 3 and not any(held)


def test_where_a_statement_runs_for_long_the_lock_is_not_asked_for() -> None:
    pair = Pair()
    pair.world.primary.long_statements = 5
    with pytest.raises(HaError) as raised, pair.at_one_gtid():
        pass
    assert raised.value.code == "snapshot_not_locked"
    assert not any("FLUSH" in sql for sql in pair.world.primary.log)
    pair.as_before()
    pair.world.primary.long_statements = 4
    with pair.at_one_gtid():
        pass
    pair.as_before()


def test_what_is_told_of_tables_that_are_others_now() -> None:
    pair = Pair()
    with pair.at_one_gtid() as held:
        assert held.changed() == set()
        pair.replica.exchanged = {"s/t"}
        assert held.changed() == {"s/t"}
        pair.world.primary.tables[Named("s", "new")] = keyed(1)
        assert held.changed() == {"s/t", "s/new"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_that_moment_is_an_end_like_any_other(number: int) -> None:
    pair = Pair()

    def before(sql: str) -> None:
        if sql.startswith("START TRANSACTION"):
            os.kill(os.getpid(), number)

    pair.replica.before = before
    with pytest.raises(SystemExit) as raised, pair.at_one_gtid():
        pytest.fail("it goes on")
    assert raised.value.code == 128 + number
    pair.as_before()
    assert signal.getsignal(number) == signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("word", ["STOP REPLICA", "START REPLICA"])
def test_a_signal_while_the_applier_is_started_again_waits_for_that(word: str, number: int) -> None:
    pair = Pair()
    sent: list[str] = []

    def before(sql: str) -> None:
        opened = any(each.startswith("START TRANSACTION") for each in pair.replica.log)
        if opened and sql.startswith(word) and not sent:
            sent.append(sql)
            os.kill(os.getpid(), number)

    pair.replica.before = before
    with pytest.raises(SystemExit), pair.at_one_gtid():
        pytest.fail("it goes on")
    assert sent
    pair.as_before()


def test_mutant_a_signal_is_not_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot.signals, "held_back", nullcontext)
    with pytest.raises(AssertionError):
        test_a_signal_while_the_applier_is_started_again_waits_for_that("START REPLICA", signal.SIGTERM)


def test_the_lock_is_held_for_two_statements() -> None:
    pair = Pair()
    with pair.at_one_gtid():
        log = list(pair.world.primary.log)
    assert log[log.index("FLUSH TABLES WITH READ LOCK") :] == [
        "FLUSH TABLES WITH READ LOCK",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        "SELECT @@GLOBAL.gtid_executed AS gtids",
        "UNLOCK TABLES",
        "SAVEPOINT nothing_read",
    ]


def test_an_unlock_that_fails_closes_the_connection_that_holds_the_lock() -> None:
    pair = Pair()

    def before(sql: str) -> None:
        if sql == "UNLOCK TABLES":
            raise StatementFailed("sql_error", "no", errno=1, evidence={"member": "p"})

    pair.world.primary.before = before
    with pair.at_one_gtid():
        assert not pair.primary_admin.usable
        assert pair.world.primary.locked_by is None
    pair.as_before()


def gone(pair: Pair) -> None:
    """The replica is gone when its snapshot is to be opened."""

    def before(sql: str) -> None:
        pair.replica.down = sql.startswith("START TRANSACTION")

    pair.replica.before = before


def test_a_server_that_is_gone_is_told_of_and_waited_for_no_longer_than_that() -> None:
    pair = Pair()
    gone(pair)
    with pytest.raises(HaError) as raised, pair.at_one_gtid():
        pass
    assert raised.value.code == "applier_left_stopped"
    assert "START REPLICA" in raised.value.next_step
    assert pair.world.now < 1000 + 2 * snapshot._RESTART_PATIENCE


def test_a_server_that_comes_back_is_started() -> None:
    pair = Pair()
    gone(pair)
    real = pair.world.sleep

    def sleep(seconds: float) -> None:
        real(seconds)
        if pair.world.now > 1030.0:
            pair.replica.down = False

    pair.world.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(HaError) as raised, pair.at_one_gtid():
        pass
    assert raised.value.code == "connection_lost"
    pair.as_before()


SAID = (
    "Worker 1 failed executing transaction 'ANONYMOUS' at source log b.1, end_log_pos 9; Could not execute Write_rows"
    " event on table s.t; Duplicate entry 'alice-canary' for key 't.PRIMARY', Error_code: 1062"
)


def broken(pair: Pair, until: str) -> None:
    """Its applier stops at the first thing that it is given, until it is told so."""

    def before(sql: str) -> None:
        if sql.startswith("FLUSH"):
            pair.world.commit(T, 20_000, "new")

    def on_replica(sql: str) -> None:
        if sql == until:
            pair.replica.breaks = ""

    pair.replica.breaks = SAID
    pair.world.primary.before, pair.replica.before = before, on_replica


def told(pair: Pair) -> HaError:
    with pytest.raises(HaError) as raised, pair.at_one_gtid():
        pytest.fail("it goes on")
    assert "canary" not in str(raised.value.as_result())
    return raised.value


def test_what_a_replica_says_that_breaks_has_no_values() -> None:
    pair = Pair()
    broken(pair, "START REPLICA SQL_THREAD FOR CHANNEL ''")
    late = told(pair)
    assert late.code == "replica_late"
    assert "error 1062" in late.message and "on table s.t" in late.message
    pair.as_before()
    pair = Pair()
    broken(pair, "")
    stopped = told(pair)
    assert stopped.code == "applier_broken" and stopped.next_step
    assert stopped.message.endswith("(1062)") and "on table s.t" in stopped.message
    assert stopped.evidence["errno"] == 1062 and "on table s.t" in stopped.evidence["error"]


def test_what_a_server_says_that_does_not_start_an_applier_has_no_values() -> None:
    pair = Pair()

    def before(sql: str) -> None:
        if sql.startswith("START REPLICA"):
            evidence = {"member": "r1", "errno": 1290, "applier_error": SAID}
            raise StatementFailed("sql_error", "r1: no 'canary' (1290)", errno=1290, evidence=evidence)

    pair.replica.before = before
    left = told(pair)
    assert left.code == "applier_left_stopped" and "no '...' (1290)" in left.message
    assert "on table s.t" in left.evidence["applier_error"]


def test_mutant_the_connection_is_not_opened_again() -> None:
    pair = Pair()
    first = pair.replica_admin()
    pair.replica_admin = lambda: first  # type: ignore[method-assign]

    def before(sql: str) -> None:
        if sql.startswith("START TRANSACTION"):
            first.close()

    pair.replica.before = before
    with pytest.raises(HaError) as raised, pair.at_one_gtid():
        pass
    assert raised.value.code == "applier_left_stopped"
    with pytest.raises(AssertionError):
        pair.as_before()


def test_mutant_nobody_looks_whether_it_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_stood_still", lambda *given: None)
    for stays in (True, False):
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            test_an_applier_that_somebody_else_starts_before_the_snapshot_is_there_makes_it_none(stays)


def test_mutant_nobody_unlocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_let_go", lambda *given: None)
    with pytest.raises(AssertionError):
        test_whatever_breaks_everything_is_as_before("error")
