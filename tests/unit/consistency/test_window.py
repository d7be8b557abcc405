# SPDX-License-Identifier: GPL-3.0-or-later
"""No committed change is in no window: transactions as a server has them, scanned at any times."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import NamedTuple, Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import window as room
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.window import (
    SECOND,
    Activity,
    Memory,
    Policy,
    Transaction,
    Window,
)
from hypothesis import given
from hypothesis import strategies as st

TICK = SECOND // 4
POLICY = Policy(settle=1, skew=0, first=1000, look_back=1_000_000)
START = 10_000 * SECOND


class Write(NamedTuple):
    """A statement that begins, writes its row (until then it waits), and ends."""

    begins: int
    writes: int
    ends: int


@dataclasses.dataclass(frozen=True)
class Change:
    """A transaction. InnoDB begins it when its first statement writes. ``prepared``: since when it is in no session."""

    name: str
    statements: tuple[Write, ...]
    commits: int
    prepared: Optional[int] = None


class Scan(NamedTuple):
    at: int
    finished: bool = True


def activity(changes: list[Change], now: int, restarts: tuple[int, ...] = ()) -> Activity:
    """What the server shows."""
    began = [each.begins for change in changes for each in change.statements if each.begins <= now < each.ends]
    transactions = []
    for change in changes:
        started = change.statements[0].writes
        if not started <= now < change.commits:
            continue
        detached = change.prepared is not None and change.prepared <= now
        if detached:
            started = max([started, *(each for each in restarts if each <= now)])
        transactions.append(
            Transaction(f"{'x' if detached else ''}{change.name}", started // SECOND * SECOND, detached)
        )
    return Activity(now, min(began, default=None), tuple(transactions))


Chooser = Callable[[Optional[Memory], Activity, Policy], Window]


def missed(
    changes: list[Change],
    scans: list[Scan],
    choose: Chooser = room.window,
    *,
    unit: int = SECOND,
    policy: Policy = POLICY,
) -> list[tuple[str, int]]:
    """The rows that no window had after their commit. ``unit``: the fraction of a second that the column keeps."""
    memory: Optional[Memory] = None
    seen = set()
    earliest = None
    for scan in scans:
        chosen = choose(memory, activity(changes, scan.at), policy)
        assert not chosen.cut and chosen.low % SECOND == 0 and chosen.high % SECOND == 0
        earliest = chosen.low if earliest is None else earliest
        if scan.finished:
            for change in changes:
                for place, each in enumerate(change.statements):
                    date = each.begins // unit * unit
                    if change.commits <= scan.at and chosen.low <= date < chosen.high:
                        seen.add((change.name, place))
        memory = Memory.from_state(json.loads(json.dumps(chosen.remember(finished=scan.finished).as_state())))
    return [
        (change.name, place)
        for change in changes
        for place, each in enumerate(change.statements)
        if earliest is not None and each.begins >= earliest and (change.name, place) not in seen
    ]


SHORT = st.integers(0, 12).map(lambda ticks: ticks * TICK)


@st.composite
def a_change(draw: st.DrawFn, name: str) -> Change:
    at = START + draw(st.integers(0, 200)) * TICK
    statements = []
    for _number in range(draw(st.integers(1, 3))):
        begins = at + draw(SHORT)
        writes = begins + draw(st.sampled_from([0, 1, TICK, 9 * SECOND, 20 * SECOND]))
        at = writes + draw(SHORT)
        statements.append(Write(begins, writes, at))
    prepared = at + draw(SHORT) if draw(st.booleans()) else None
    commits = (at if prepared is None else prepared) + draw(st.sampled_from([0, TICK, 7 * SECOND, 40 * SECOND]))
    return Change(name, tuple(statements), commits, prepared)


CHANGES = (
    st.integers(1, 5).flatmap(lambda number: st.tuples(*(a_change(f"t{each}") for each in range(number)))).map(list)
)
SCANS = st.lists(st.tuples(st.integers(-8, 500), st.integers(0, 4)), min_size=1, max_size=12).map(
    lambda drawn: [Scan(START + at * TICK, luck > 0) for at, luck in sorted(drawn)]
)


@given(CHANGES, SCANS, st.sampled_from([1, TICK, SECOND]), st.sampled_from([1, 2, 1000]))
def test_every_committed_row_is_in_a_window(
    changes: list[Change], scans: list[Scan], unit: int, remembered: int
) -> None:
    last = max([scans[-1].at, *(change.commits for change in changes)]) + 3 * SECOND
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "REMEMBERED", remembered)
        assert not missed(changes, [*scans, Scan(last)], unit=unit)


@given(CHANGES, SCANS)
def test_a_window_with_nothing_open_begins_where_the_last_one_ended(changes: list[Change], scans: list[Scan]) -> None:
    """Being safe is no excuse for reading everything each time."""
    over = max([scans[-1].at, *(change.commits for change in changes)])
    memory: Optional[Memory] = None
    for scan in (*(Scan(scan.at) for scan in scans), Scan(over + SECOND), Scan(over + 9 * SECOND)):
        memory = room.window(memory, activity(changes, scan.at), POLICY).remember(finished=True)
    last = room.window(memory, activity(changes, over + 60 * SECOND), POLICY)
    assert memory is not None and last.low == memory.high


# --- each part is needed ---------------------------------------------------------------------------------------------
def at(seconds: float) -> int:
    return START + int(seconds * SECOND)


LONG = Change("long", (Write(at(1), at(1), at(1)),), at(50))
WAITS = Change("waits", (Write(at(1), at(9), at(9)),), at(10))
WAITED = Change("waited", (Write(at(6), at(12), at(12)),), at(50))
PREPARED = Change("prepared", (Write(at(1), at(1), at(1)),), at(50), at(15))
SCANNED = [Scan(at(0)), *(Scan(at(each)) for each in (5, 15, 25, 35, 55, 65))]


def without_watermark(previous: Optional[Memory], seen: Activity, policy: Policy) -> Window:
    chosen = room.window(previous, seen, policy)
    end = chosen.after.high
    return dataclasses.replace(chosen, after=Memory(seen.now, end, end, end))


def without_statements(previous: Optional[Memory], seen: Activity, policy: Policy) -> Window:
    return room.window(previous, dataclasses.replace(seen, statement=None), policy)


def by_start(previous: Optional[Memory], seen: Activity, policy: Policy) -> Window:
    """The start of the oldest open transaction as its bound, which is what one would do."""
    chosen = room.window(previous, seen, policy)
    bound = min([chosen.after.floor, *(each.started for each in seen.transactions)])
    return dataclasses.replace(chosen, after=dataclasses.replace(chosen.after, bound=bound))


def as_if_attached(previous: Optional[Memory], seen: Activity, policy: Policy) -> Window:
    sessions = tuple(each._replace(detached=False) for each in seen.transactions)
    return room.window(previous, dataclasses.replace(seen, transactions=sessions), policy)


def forgetting_the_rest(previous: Optional[Memory], seen: Activity, policy: Policy) -> Window:
    chosen = room.window(previous, seen, policy)
    return dataclasses.replace(chosen, after=dataclasses.replace(chosen.after, open={}, whole=True))


@pytest.mark.parametrize(
    ("mutant", "change"),
    [
        (without_watermark, LONG),
        (without_statements, WAITS),
        (by_start, WAITED),
        (as_if_attached, PREPARED),
        (forgetting_the_rest, LONG),
    ],
)
def test_without_it_a_row_is_missed(mutant: Chooser, change: Change) -> None:
    assert not missed([change], SCANNED)
    assert missed([change], SCANNED, mutant) == [(change.name, 0)]


def test_what_was_not_compared_is_compared_by_the_next_run() -> None:
    first = room.window(None, Activity(at(0)), POLICY)
    second = room.window(first.remember(finished=False), Activity(at(60)), POLICY)
    assert (second.low, second.high) == (first.low, at(59))
    third = room.window(second.remember(finished=True), Activity(at(120)), POLICY)
    assert (third.low, third.high) == (second.high, at(119))


def test_clocks_that_are_apart_by_less_than_the_skew() -> None:
    policy = dataclasses.replace(POLICY, skew=10)
    first = room.window(None, Activity(at(0)), policy)
    second = room.window(first.remember(finished=True), Activity(at(-9)), policy)
    assert not second.cut and second.low == at(-11) and second.high == first.high
    set_back = room.window(first.remember(finished=True), Activity(at(-11)), policy)
    assert set_back.cut and set_back.remember(finished=True).high < set_back.low


def test_a_window_that_would_be_too_long_is_cut_and_stays_so() -> None:
    policy = Policy(settle=0, skew=0, first=10, look_back=100)
    began = room.window(None, Activity(at(0), transactions=(Transaction("t", at(0)),)), policy)
    memory = began.remember(finished=True)
    held = Activity(at(200), transactions=(Transaction("t", at(0)),))
    cut = room.window(memory, held, policy)
    assert cut.cut and cut.low == at(100) and cut.wanted == at(-10) and 0.4 < cut.covered < 0.5
    after = room.window(cut.remember(finished=True), Activity(at(210)), policy)
    assert after.cut and after.wanted == at(-10), "what was never compared is not forgotten"


def test_a_first_run_takes_the_start_of_what_is_open() -> None:
    policy = Policy(settle=0, skew=0, first=10, look_back=1000)
    seen = Activity(at(0), transactions=(Transaction("t", at(-300)),))
    memory = room.window(None, seen, policy).remember(finished=True)
    assert room.window(memory, Activity(at(5)), policy).low == at(-300)


@pytest.mark.parametrize("state", [{}, {"now": 1}, {"now": 1, "high": 1, "bound": 1, "floor": None, "open": {}}, []])
def test_a_memory_that_is_none(state: object) -> None:
    with pytest.raises(ValueError, match="memory"):
        Memory.from_state(state)  # type: ignore[arg-type]
