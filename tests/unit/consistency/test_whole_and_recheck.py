# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole tables and single rows, against servers in memory that write, lag, lock and fail.

Each thing that must hold is shown to fail by a mutant of the code that is to hold it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any, Optional
from unittest import mock

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import findings, recheck, settle, whole
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.lookup import Range, Unfit
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Key
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.simulated_pair import (
    HANGS,
    NUMBERED,
    PAIRED,
    STATEMENT,
    Contents,
    Replica,
    World,
    compare,
    rechecking,
)
from hypothesis import given, settings
from hypothesis import strategies as st

Writer = Callable[[World], None]
SMALL, BATCH = 5, 4


@pytest.fixture(autouse=True)
def _small_ranges() -> Iterator[None]:
    with mock.patch.object(whole, "SMALL", SMALL), mock.patch.object(recheck, "BATCH", BATCH):
        yield


def numbers(count: int) -> Contents:
    return {(number,): f"v{number}" for number in range(count)}


def writing(seed: int, keys: list[Key], rate: float, *, deletes: bool = False) -> Writer:
    """Rows that change so often a second, at times of their own."""
    dice = random.Random(seed)
    next_at = [dice.expovariate(rate)]
    count = [0]

    def write(world: World) -> None:
        while next_at[0] <= world.now:
            next_at[0] += dice.expovariate(rate)
            count[0] += 1
            gone = deletes and dice.random() < 0.4
            world.commit({dice.choice(keys): None if gone else f"w{count[0]}"})

    return write


def flipping(seed: int) -> Writer:
    """Keys that come and go, always with the same values, faster than anybody reads."""
    dice = random.Random(seed)

    def flip(world: World) -> None:
        for number in range(20):
            world.commit({(number,): dice.choice([None, "there"])})

    return flip


def toggling(seed: int) -> Writer:
    """Rows that go back and forth between two states."""
    dice = random.Random(seed)

    def toggle(world: World) -> None:
        for number in range(20):
            world.commit({(number,): dice.choice(["on", "off"])})

    return toggle


def churning(seed: int) -> Writer:
    """Rows that are never the same twice, and sometimes gone."""
    dice = random.Random(seed)

    def churn(world: World) -> None:
        for number in range(20):
            world.commit({(number,): None if dice.random() < 0.2 else str(dice.random())})

    return churn


def summary(world: World, **limits: Any) -> dict[str, tuple[str, set[tuple[Any, ...]]]]:
    """By replica: the verdict, and which keys differ in which way."""
    return {
        name: (said.verdict, {(*map(int, each.key.values()), each.kind) for each in said.differences})
        for name, said in compare(world, **{"rows": 10, **limits}).items()
    }


# What differs is found, and nothing else


@st.composite
def plants(draw: st.DrawFn) -> dict[Key, Optional[str]]:
    return draw(
        st.dictionaries(
            st.tuples(st.integers(-3, 63).filter(lambda number: number % 2)),
            st.one_of(st.none(), st.just("other")),
            min_size=1,
            max_size=12,
        )
    )


def kind(key: Key, value: Optional[str], rows: Contents) -> Optional[str]:
    if value is None:
        return findings.MISSING if key in rows else None
    return findings.VALUE if key in rows else findings.EXTRA


EVEN: list[Key] = [(number,) for number in range(0, 60, 2)]


@settings(max_examples=80)
@given(plants(), st.integers(0, 99), st.sampled_from([0.1, 5.0, 60.0]), st.sampled_from([0.0, 0.2, 3.0]))
def test_what_differs_at_rest_is_found_while_others_write(
    planted: dict[Key, Optional[str]], seed: int, rate: float, lag: float
) -> None:
    rows = numbers(60)
    world = World(rows, writer=writing(seed, EVEN, rate, deletes=True))
    Replica(world, "r1", rows, lag=lag, planted=planted)
    Replica(world, "r2", rows)
    wanted = {(*key, kind(key, value, rows)) for key, value in planted.items() if kind(key, value, rows)}
    said = summary(world)
    assert said["r1"] == (findings.DIFFERENT if wanted else said["r1"][0], wanted)
    assert said["r2"][0] in (findings.PASS, findings.UNSTABLE) and not said["r2"][1]


@settings(max_examples=60)
@given(
    st.integers(0, 999),
    st.sampled_from([1.0, 30.0, 200.0]),
    st.integers(1, 30),
    st.sampled_from([0.0, 0.02, 0.5, 5.0]),
    st.sampled_from([0.0, 0.02, 0.1]),
    st.booleans(),
)
def test_a_replica_that_only_lags_never_differs(
    seed: int, rate: float, hot: int, lag: float, unseen: float, deletes: bool
) -> None:
    rows = numbers(40)
    world = World(rows, writer=writing(seed, EVEN[:hot], rate, deletes=deletes), unseen=unseen)
    Replica(world, "r", rows, lag=lag)
    said = summary(world)["r"]
    assert said[0] in (findings.PASS, findings.UNSTABLE, findings.LAGGING) and not said[1]
    assert world.longest_lock <= 2.0 + 0.2 + 4 * STATEMENT


def hot(lag: float) -> World:
    rows = numbers(20)
    world = World(rows, writer=writing(1, [(3,)], 1000.0))
    Replica(world, "r", rows, lag=lag)
    return world


def test_a_row_that_never_rests_is_compared_under_a_lock() -> None:
    world = hot(0.05)
    assert summary(world)["r"] == (findings.PASS, set())
    assert 0 < world.longest_lock <= 2.0
    assert not world.locked and not world.waiting


def test_a_row_that_never_rests_and_differs_is_found() -> None:
    """What is written there is lost on the replica: it stands still at the first of it."""
    rows = numbers(20)
    world = World(rows, writer=writing(1, [(3,)], 1000.0))
    replica = Replica(world, "r", rows)
    replica.overwrites = False
    assert summary(world)["r"] == (findings.DIFFERENT, {(3, findings.VALUE)})


def test_a_restless_row_that_may_not_be_locked_is_unstable() -> None:
    world = hot(0.05)
    assert summary(world, lock=0.0)["r"] == (findings.UNSTABLE, set()) and not world.longest_lock


def test_a_restless_row_of_a_late_replica_is_unstable() -> None:
    """It can not be compared within the time for which the row may be locked."""
    world = hot(4.0)
    assert summary(world)["r"] == (findings.UNSTABLE, set())
    assert 0 < world.longest_lock <= 2.1


@pytest.mark.parametrize("make", [flipping, toggling, churning])
def test_a_row_that_comes_and_goes_is_no_difference(make: Callable[[int], Writer]) -> None:
    """It looks unchanged whenever it is back; and a row that is not there can not be locked."""
    for seed in range(4):
        rows = numbers(25)
        world = World(rows, writer=make(seed))
        Replica(world, "r", rows)
        found = summary(world)["r"]
        assert found[0] in (findings.PASS, findings.UNSTABLE) and not found[1], seed


def test_a_composite_key_is_cut_by_asking() -> None:
    rows: Contents = {(one, two): f"{one}" for one in range(7) for two in range(9)}
    world = World(rows)
    Replica(world, "r", rows, planted={(3, 3): None, (3, 99): "x", (6, 8): "y", (9, 0): "z"})
    said = compare(world, PAIRED, rows=10)["r"]
    assert said.verdict == findings.DIFFERENT and said.rows == 63 and said.covered == 1.0
    assert {(*each.key.values(), each.kind) for each in said.differences} == {
        ("3", "3", "missing"),
        ("3", "99", "extra"),
        ("6", "8", "value"),
        ("9", "0", "extra"),
    }


# A replica that does not follow


def test_a_replica_that_never_catches_up_lags() -> None:
    rows = numbers(30)
    world = World(rows, writer=writing(1, EVEN, 20.0))
    Replica(world, "still", rows).stands_still = True
    Replica(world, "r", rows)
    said = summary(world)
    assert said["still"] == (findings.LAGGING, set()) and said["r"][0] == findings.PASS


def test_a_replica_whose_applier_meets_a_difference_does_not_pass() -> None:
    """The row is missing there, the update fails, and it stands still from then on."""
    rows = numbers(30)
    world = World(rows, writer=writing(1, EVEN, 20.0))
    Replica(world, "r", rows, planted={(2,): None})
    assert summary(world)["r"][0] in (findings.LAGGING, findings.DIFFERENT)


# Errors at any statement

LOST = StatementFailed("connection_lost", "gone")


def broken(at: int, server: str, closes: bool) -> tuple[World, dict[str, str]]:
    rows = numbers(30)
    world = World(rows, writer=writing(3, [(2,)], 100.0))
    Replica(world, "r1", rows, planted={(5,): "other", (21,): None})
    Replica(world, "r2", rows, lag=0.05)
    target = world.primary if server == "p" else world.replicas[server]
    target.fails_at, target.closes = at, closes
    verdicts = {name: said.verdict for name, said in compare(world, rows=10).items()}
    return world, verdicts


@pytest.mark.parametrize("server", ["p", "r1", "r2"])
@pytest.mark.parametrize("closes", [False, True])
def test_an_error_at_any_statement_is_a_verdict(server: str, closes: bool) -> None:
    reached = 0
    for at in range(1, 400):
        world, verdicts = broken(at, server, closes)
        assert set(verdicts) == {"r1", "r2"}
        assert verdicts["r1"] in (findings.DIFFERENT, findings.ERROR)
        struck = (world.primary if server == "p" else world.replicas[server]).fails_at is None
        if struck and server != "r1":
            assert verdicts["r2"] == findings.ERROR, at
        else:
            assert verdicts["r2"] == findings.PASS, at
        assert world.longest_lock <= 2.1
        if not struck:
            break
        reached = at
    assert reached > 10


def test_a_damaged_index_of_one_replica_is_that_replicas_error() -> None:
    rows = numbers(30)
    world = World(rows)
    Replica(world, "r1", rows, planted={(5,): "other"}).damaged = True
    Replica(world, "r2", rows, planted={(6,): "other"})
    Replica(world, "r3", rows)
    said = {name: (each.verdict, each.code) for name, each in compare(world, rows=10).items()}
    assert said == {"r1": ("error", "rows_unreadable"), "r2": ("different", "rows_differ"), "r3": ("pass", "")}


# What a run keeps in memory, and what stops it


def test_a_run_keeps_a_bounded_number_of_rows() -> None:
    rows = numbers(400)
    world = World(rows)
    Replica(world, "r", dict.fromkeys(rows, "other"))
    said = compare(world, rows=50, differences=60, listed=7)["r"]
    assert said.verdict == findings.DIFFERENT and len(said.differences) == 7
    assert 60 <= said.difference_count < 60 + SMALL + BATCH and "not read to its end" in said.why and said.covered < 1
    assert world.longest_answer <= 60 + SMALL + 1


def test_what_could_not_be_listed_is_no_pass() -> None:
    """A range that was small when it was cut holds many rows when it is listed: some are not looked at."""
    rows = numbers(9)
    world = World(rows)
    replica = Replica(world, "r", rows, planted={(5,): "other"})
    real = world.primary.answer

    def answer(sql: str, values: Any) -> list[Any]:
        if sql == "rows_of" and not world.log:
            world.commit({(5,): "healed", **{(number,): "new" for number in range(1000, 1400)}})
            replica.apply()
            replica.rows.pop((1399,))
        return real(sql, values)

    with mock.patch.object(world.primary, "answer", answer):
        said = compare(world, rows=1000, differences=20)["r"]
    assert (said.verdict, said.difference_count) == (findings.UNSTABLE, 0)
    assert world.longest_answer <= 20 + SMALL + 1


def test_a_run_whose_time_is_over_says_so() -> None:
    rows = numbers(100)
    world = World(rows)
    Replica(world, "r", rows)
    said = compare(world, rows=10, until=0.05)["r"]
    assert (said.verdict, said.code) == (findings.SKIPPED, "not_finished") and 0 < said.covered < 1


def test_waiting_for_a_replica_does_not_make_ranges_small() -> None:
    """Or a table that a replica follows thirty seconds late would never be read to its end."""

    def ranges(lag: float) -> int:
        rows = numbers(60_000)
        world = World(rows, writer=writing(1, [(1,)], 1.0))
        Replica(world, "r", rows, lag=lag)
        world.sleep(5)
        found = 0

        def count(work: Any, *, within: float) -> Any:
            nonlocal found
            found += 1
            return {name: function() for name, function in work.items()}

        with mock.patch.object(whole, "in_parallel", count):
            whole.WholeTable(
                whole_table(), world.primary, dict(world.replicas), whole.Limits(), clock=world.clock, sleep=world.sleep  # type: ignore[arg-type]
            ).run()  # fmt: skip
        return found

    assert ranges(30.0) == ranges(0.0)


def whole_table() -> Any:
    from ansible_collections.lossless.mysql_ha.tests.unit.consistency.simulated_pair import Asked, Named

    return Asked(Named("s", "t"), NUMBERED)


def test_rows_that_come_in_behind_the_greatest_key_are_read_in_ranges_too() -> None:
    """An hour after the start the last range would hold an hour's rows."""
    rows = numbers(40)
    world = World(rows)
    last = [100]

    def append(world: World) -> None:
        if last[0] < 400:
            world.commit({(number,): "new" for number in range(last[0], last[0] + 10)})
            last[0] += 10

    world.writer = append
    Replica(world, "r", rows)
    sizes: list[int] = []
    real = whole.WholeTable._range

    def spy(self: whole.WholeTable, range_: Range) -> tuple[int, float]:
        found = real(self, range_)
        sizes.append(found[0])
        return found

    with mock.patch.object(whole.WholeTable, "_range", spy):
        assert compare(world, rows=20)["r"].verdict == findings.PASS
    assert max(sizes) <= 20 + 2 * 10


# Recheck alone


def test_what_is_equal_on_neither_server_is_equal() -> None:
    world = World({})
    again = rechecking(world, Replica(world, "r", {}))
    again.add([(1,), (2,)])
    again.flush()
    assert (again.rows, again.difference_count, again.restless) == (2, 0, 0)


def test_a_key_is_looked_at_once_however_often_it_is_added() -> None:
    world = World(numbers(3))
    again = rechecking(world, Replica(world, "r", numbers(3), planted={(1,): "x"}))
    again.add([(1,), (1,), (2,)])
    again.flush()
    again.flush()
    assert (again.rows, again.difference_count) == (2, 1)


def test_the_locks_of_a_process_that_stands_still_end() -> None:
    """The server itself ends the transaction after its wait_timeout."""
    world = World(numbers(3), writer=writing(1, [(1,)], 200.0))
    replica = Replica(world, "r", numbers(3), lag=0.05)
    said: list[tuple[str, Any]] = []
    real = world.primary.query

    def spy(sql: str, values: Any = (), **more: Any) -> Any:
        said.append((sql, tuple(values)))
        return real(sql, values, **more)

    with mock.patch.object(world.primary, "query", spy):
        again = rechecking(world, replica)
        again.add([(1,)])
        again.flush()
    words = [sql.split(" ")[0] + str(values if "wait_timeout = " in sql else "") for sql, values in said]
    begins, ends = words.index("START"), words.index("ROLLBACK")
    assert words[begins - 1] == "SET(3,)" and words[ends + 1] == "SET(28800,)" and begins < ends


# Mutants


@contextlib.contextmanager
def mutant(target: Any, name: str, value: Any) -> Iterator[None]:
    with mock.patch.object(target, name, value):
        yield


def restless(make: Callable[[int], Writer]) -> Callable[[int], World]:
    def world(seed: int) -> World:
        rows = numbers(25)
        made = World(rows, writer=make(seed))
        Replica(made, "r", rows)
        return made

    return world


def planted_world(**more: Any) -> World:
    rows = numbers(60)
    world = World(rows, writer=writing(1, EVEN, 20.0))
    Replica(world, "r", rows, planted={(5,): "other", (7,): None, (61,): "x"}, **more)
    return world


def busy(lag: float, unseen: float = 0.0) -> Callable[[int], World]:
    """Many rows, each written now and then, on a replica that is always behind."""

    def world(seed: int) -> World:
        rows = numbers(300)
        made = World(rows, writer=writing(seed, list(rows), 60.0), unseen=unseen)
        Replica(made, "r", rows, lag=lag)
        made.sleep(lag + 1)
        return made

    return world


def always(value: Any) -> Callable[..., Any]:
    return lambda *_arguments, **_more: value


def no_barrier(session: Any, gtids: str, *, patience: float, statement: float) -> bool:
    return True


def gtids_before(self: Any, key: Key) -> Any:
    """A mutant of the lock: what is not there counts as locked."""
    there = self._read(self._primary, [key])
    here = self._read(self._replica, [key])
    return None if there.get(key) == here.get(key) else settle.Open(there.get(key), here.get(key), 4)


def verdicts(make: Callable[[int], World]) -> set[str]:
    return {said[0] for seed in range(4) for said in summary(make(seed), rows=100).values()}


def test_the_right_code_passes_what_mutants_fail() -> None:
    assert summary(planted_world())["r"] == (
        findings.DIFFERENT,
        {(5, findings.VALUE), (7, findings.MISSING), (61, findings.EXTRA)},
    )
    for make in (busy(0.5, 0.1), busy(10.0), *map(restless, (flipping, toggling, churning))):
        assert verdicts(make) <= {findings.PASS, findings.UNSTABLE}


@pytest.mark.parametrize(
    ("target", "name", "value", "make"),
    [
        (recheck, "CONFIRMED_BY", 1, busy(2.0, 1.0)),  # one round is enough
        (recheck, "CONFIRMED_BY", settle.CONFIRMED_BY, restless(toggling)),  # three are
        (recheck, "CONFIRMED_BY", settle.CONFIRMED_BY, restless(flipping)),
        (recheck, "wait_executed", no_barrier, busy(10.0)),  # nobody waits for the replica
        (recheck, "executed", always(""), busy(10.0)),  # it waits for the wrong GTIDs
        (recheck.Recheck, "_while_locked", gtids_before, restless(churning)),  # what is not there counts as locked
    ],
)
def test_mutants_that_cry_wolf(target: Any, name: str, value: Any, make: Callable[[int], World]) -> None:
    # Without the look at the end, which makes up for some of them.
    with mutant(target, name, value), mutant(recheck.Recheck, "_once_more", lambda self, different: different):
        assert findings.DIFFERENT in verdicts(make)


def no_last_range(self: whole.WholeTable, counter: Any, after: Any, rows: int) -> Any:
    """The last range ends at the primary's greatest key."""
    if after is not None and after[0] >= counter.most:
        return None
    return (min((after[0] if after else counter.least - 1) + rows, counter.most),)


@pytest.mark.parametrize(
    ("target", "name", "value"),
    [
        (recheck.Recheck, "flush", always(None)),  # what is pending is never judged
        (whole.WholeTable, "_same", always(True)),  # every range is the same
        (whole.WholeTable, "_small", always(None)),  # a range that differs is not looked into
        (whole.WholeTable, "_list", always({})),  # rows of one side only are left out
        (recheck, "CONFIRMED_BY", 99),  # nothing is ever confirmed
    ],
)
def test_mutants_that_overlook(target: Any, name: str, value: Any) -> None:
    with mutant(target, name, value):
        assert summary(planted_world(), lock=0.0)["r"][0] != findings.DIFFERENT


def test_a_mutant_that_swallows_what_stops_it_passes() -> None:
    """So the errors of a replica are its verdict for a reason."""

    def swallow(self: whole.WholeTable, replica: Any, work: Callable[[], None]) -> None:
        with contextlib.suppress(StatementFailed, recheck.Lagging, Unfit):
            work()

    with mutant(whole.WholeTable, "_guarded", swallow), pytest.raises(AssertionError):
        for at in range(1, 60):
            _world, said = broken(at, "r2", False)
            assert said["r2"] in (findings.ERROR, findings.PASS)
            assert said["r2"] == findings.ERROR or at > 40


def test_a_mutant_that_measures_waiting_makes_small_ranges() -> None:
    size = whole.Size(0.4)
    for _range in range(9):
        size.took(size.rows, 30.0)
    assert size.rows == 1000


# --- a replica that is ahead -----------------------------------------------------------------------------------------
def hanging(until: float, **more: Any) -> World:
    """A row that waits on the primary for its acknowledgements, and that the replica has already."""
    world = World(numbers(10))
    world.hanging, world.hangs_until = {(77,): "in flight"}, until
    Replica(world, "r1", numbers(10), **more)
    return world


@pytest.mark.parametrize("planted", [{}, {(3,): "other"}], ids=["nothing else", "and a row that differs"])
def test_a_commit_that_hangs_on_the_primary_is_no_difference_of_a_replica(planted: dict[Key, Optional[str]]) -> None:
    said = compare(hanging(float("inf"), planted=planted), catch_up=5.0)["r1"]
    assert (said.verdict, said.code, said.difference_count) == (findings.UNSTABLE, "replica_ahead", 0)
    assert "repair nothing" in said.next_step


def test_when_it_commits_in_time_the_rest_is_judged() -> None:
    assert compare(hanging(3.0))["r1"].verdict == findings.PASS
    said = compare(hanging(3.0, planted={(3,): "other"}))["r1"]
    assert [each.key["id"] for each in said.differences] == ["3"]


def test_what_a_replica_alone_had_from_the_beginning_is_waited_for_by_nobody() -> None:
    world = hanging(float("inf"))
    errant = {"r1": GtidSet.parse(HANGS)}
    said = rechecking(world, world.replicas["r1"], errant=errant)
    said.add([(77,)])
    said.flush()
    assert said.difference_count == 1 and not said.ahead and world.now < 5.0


def test_mutant_nobody_asks_what_the_replica_has() -> None:
    with mock.patch.object(recheck, "is_ahead", lambda *_given: False), pytest.raises(AssertionError):
        test_a_commit_that_hangs_on_the_primary_is_no_difference_of_a_replica({})
