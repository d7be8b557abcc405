# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables without a key: as many equal rows on both, and what is not so is counted, however much it is."""

from __future__ import annotations

import random
from typing import Any
from unittest import mock

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import multiset, recheck
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import TableResult
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import layout_of
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Named
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import OFF
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.simulated_run import (
    COLUMNS,
    LOGIN,
    STATEMENT,
    Asked,
    Held,
    Sim,
    World,
    digest,
)
from hypothesis import given
from hypothesis import strategies as st

T = Named("s", "bag")
SCANS = frozenset({"aggregate", "buckets", "digests", "shown_with"})


def bag(values: str) -> Held:
    return Held(dict(enumerate(values, 1)), keyed=False)


class Two:
    """The table on a primary and a replica."""

    def __init__(self, there: str, here: str) -> None:
        self.world = World({"bag": bag(there)}, replicas=1)
        self.world.committed.clear()
        self.held: list[int] = []
        """Scans that there were each time that the run could be held back."""
        for node, values in (("p", there), ("r1", here)):
            self.world.nodes[node].tables[T] = bag(values)
            self.world.nodes[node].done = 0

    def compare(
        self, estimate: int = 10, reveal: bool = False, exact: bool = False, listed: int = 5, **limits: Any
    ) -> TableResult:
        layout = layout_of(COLUMNS, [])
        assert layout is not None
        given_limits = multiset.Limits(recheck.Limits(catch_up=2.0, exact=exact, listed=listed), **limits)
        sessions: list[Any] = [Sim(self.world.nodes[name], LOGIN.user) for name in ("p", "r1")]
        compared = multiset.Multiset(
            Asked(T, layout),
            *sessions,
            given_limits,
            reveal=reveal,
            before_question=lambda: self.held.append(self.scans("p", "r1")),
            clock=self.world.clock,
            sleep=self.world.sleep,
        )
        return compared.run(estimate)

    def scans(self, *names: str) -> int:
        """How often these servers have read all of the table."""
        return sum(name in names and sql in SCANS for name, sql in self.world.trace)


@given(st.text("abc", max_size=8), st.text("abc", max_size=8), st.booleans())
def test_it_passes_exactly_if_every_row_is_there_equally_often(there: str, here: str, exact: bool) -> None:
    said = Two(there, here).compare(exact=exact)
    wrong = {each for each in "abc" if there.count(each) != here.count(each)}
    assert (said.verdict == "pass") == (not wrong)
    assert said.difference_count == len(wrong)
    assert len(said.differences) == len(wrong)
    assert {each.kind for each in said.differences} <= {"count"}


def test_how_often_is_told_and_the_row_only_when_it_may_be() -> None:
    (hidden,) = Two("xxy", "xy").compare().differences
    assert (hidden.primary, hidden.replica) == ({"rows": "2"}, {"rows": "1"})
    (missing,) = Two("xy", "x").compare(reveal=True).differences
    assert missing.primary is not None
    assert missing.replica is not None
    assert missing.primary["c"] == "y"
    assert (missing.primary["rows"], missing.replica["rows"]) == ("1", "0")


def test_too_large_a_table_is_not_read() -> None:
    two = Two("xy", "xz")
    said = two.compare(estimate=11, rows=10)
    assert (said.verdict, said.code) == ("skipped", "no_key")
    assert "primary key" in said.next_step
    assert two.world.count == 0


MANY = [chr(number) for number in range(0x4E00, 0x4E00 + 300)]


def test_so_much_that_differs_is_counted_as_far_as_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Two("", "".join(MANY)).compare(differences=20)
    assert (said.verdict, said.code) == ("different", "rows_differ")
    assert 20 <= said.difference_count < 300
    assert len(said.differences) == 5
    assert "not read to its end" in said.why
    assert said.covered < 1


def test_so_many_rows_in_one_part_are_a_difference_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiset, "_MOST_DIGESTS", 0)
    said = Two("x", "y").compare()
    assert (said.verdict, said.code) == ("different", "too_many_rows")
    assert said.difference_count >= 1


def test_the_time_for_the_run_ends_it() -> None:
    two = Two("", "".join(MANY))
    said = two.compare(until=two.world.now + 1.0)
    assert said.verdict == "different"
    assert "the time for this run is over" in said.why
    assert two.world.now < 1002.0


def text_of(number: int, first: int = 0x20000) -> str:
    """So many rows that are all different."""
    return "".join(chr(first + place) for place in range(number))


@pytest.mark.parametrize("exact", [False, True])
def test_the_number_of_scans_does_not_grow_with_what_differs(exact: bool) -> None:
    """A table of a million rows takes seconds for each, on both."""
    as_many_scans(exact, 1, 250, 2500)


def as_many_scans(exact: bool, *numbers_of_rows: int) -> None:
    numbers = []
    for differing in numbers_of_rows:
        both = text_of(3000, 0x30000)
        two = Two(both + text_of(differing), both)
        said = two.compare(exact=exact)
        parts = {digest(each)[:2] for each in text_of(differing)}
        assert len(parts) >= min(differing, 150)
        assert (said.verdict, said.code, said.difference_count) == ("different", "rows_differ", differing)
        assert said.covered == 1
        numbers.append(two.scans("p", "r1"))
    assert set(numbers) == {numbers[0]}
    # Three rounds of the sums; parts, and what is in them; twelve rounds of those. And the first and the last once
    # more, when the primary has what the replica had.
    assert numbers[0] == (8 if exact else 2 * (4 + 1 + 1 + 13))


def test_mutant_one_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = multiset.Parts.cut
    monkeypatch.setattr(multiset.Parts, "cut", lambda parts, *_limits: cut(parts, 1))
    with pytest.raises(AssertionError):
        as_many_scans(True, 1, 30)


def test_values_of_many_rows_are_read_at_once() -> None:
    theirs, ours = text_of(100), text_of(100, 0x28000)
    often = "o" * 30
    two = Two(theirs + often, ours)
    plain = Two(theirs + often, ours)
    plain.compare(listed=500)
    said = two.compare(reveal=True, listed=500)
    shown = [(each.primary or {}, each.replica or {}) for each in said.differences]
    assert {there["c"] for there, _here in shown} == {*theirs, *ours, "o"}
    assert all(there["c"] == here["c"] for there, here in shown)
    assert {there["rows"] for there, _here in shown if there["c"] == "o"} == {"30"}
    assert two.scans("p", "r1") == plain.scans("p", "r1") + 3


@given(
    st.integers(0, 10_000),
    st.integers(1, 400),
    st.sampled_from([0.01, 0.2, 1.0]),
    st.sampled_from([64, 200, 4096]),
    st.sampled_from([1, 2, 3]),
    st.booleans(),
)
def test_no_room_for_all_of_it_is_no_reason_to_overlook_a_row(
    seed: int, size: int, share: float, room: int, letters: int, twice: bool
) -> None:
    """Divided once or often, listed at once or a few parts at a time."""
    chance = random.Random(seed)
    there = text_of(size) * (1 + twice)
    here = "".join(each for each in there if chance.random() >= share)
    longest = 0

    def answer(session: Sim, sql: str, values: Any) -> list[Any]:
        nonlocal longest
        rows = real(session, sql, values)
        longest = max(longest, len(rows) if sql in SCANS else 0)
        return rows

    real = Sim.answer
    two = Two(there, here)
    with (
        mock.patch.object(multiset, "_MOST_DIGESTS", room),
        mock.patch.object(multiset, "_LETTERS", letters),
        mock.patch.object(Sim, "answer", answer),
    ):
        said = two.compare(exact=True, listed=1000)
    wrong = {each for each in there if there.count(each) != here.count(each)}
    assert said.verdict == ("different" if wrong else "pass"), said.why
    assert (said.difference_count, said.covered) == (len(wrong), 1)
    assert {each.key["digest"] for each in said.differences} == {digest(each)[:32] for each in wrong}
    assert longest <= max(room, 16**letters)


def test_a_few_differences_are_not_looked_for_a_part_at_a_time() -> None:
    """Where more must not be read than holds one, and what has differed is written on both meanwhile."""
    two = Two(text_of(300), text_of(300, 0x28000))

    def writer(world: World) -> None:
        if two.scans("p") > 4 and not world.committed:
            for key in range(1, 301):
                world.commit(T, key, f"v{key}")

    two.world.writer = writer
    said = two.compare(differences=1)
    assert (said.verdict, said.code) == ("unstable", "rows_restless")
    assert two.scans("p") <= 3 + 1 + 10


def test_rows_that_are_all_the_same_are_not_divided_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiset, "_MOST_DIGESTS", 100)
    two = Two("x" * 3000, "x" * 2999)
    said = two.compare(exact=True)
    assert [(each.primary, each.replica) for each in said.differences] == [({"rows": "3000"}, {"rows": "2999"})]
    assert two.scans("p", "r1") == 8


def test_parts_are_divided_as_long_as_that_saves_questions() -> None:
    large = multiset.Parts({"aa": 90_000, "bb": 90_000})
    assert large.to_divide
    assert large.divided({"aa0": 6000, "bb7": 6000}).to_divide
    assert not large.divided({"aa0": 900, "bb7": 900}).to_divide, "all of them can be listed"
    assert not large.divided({"aa0": 80_000, "bb7": 80_000}).to_divide, "they do not become smaller"
    assert not multiset.Parts({str(number): 16 for number in range(5000)}).to_divide, "they are small"
    assert multiset.Parts({str(number): 17 for number in range(5000)}).to_divide
    first, others = large.cut(5, 100_000)
    assert (first.rows, others.rows) == ({"aa": 90_000}, {"bb": 90_000})
    assert large.cut(5, 1)[0].rows == {"aa": 90_000}
    assert large.cut(1)[1].rows == {"bb": 90_000} and large.cut(2)[1].rows == {}


def test_it_is_held_back_before_each_time_that_both_read_the_table() -> None:
    two = Two("xyz" + text_of(50), "xyzz")
    two.compare(reveal=True)
    twice = [2 * number for number in range(4 + 1 + 1 + 13)]
    assert two.held[:-1] == twice
    assert two.held[-1] == twice[-1] + 2


@pytest.mark.parametrize("exact", [False, True])
def test_the_time_for_the_run_is_looked_at_in_every_round(exact: bool) -> None:
    whole = Two("xyz", "xyy")
    whole.compare(exact=exact)
    began, ended = 1000.0, whole.world.now
    look = (2 if exact else 4) * STATEMENT
    for part in range(30):  # what has begun by then is read to its end
        two = Two("xyz", "xyy")
        until = began + (ended - began) * part / 40
        said = two.compare(exact=exact, until=until)
        sums = began + look * (1 if exact else 3) + sum(recheck.PAUSES[:3])
        assert two.world.now <= max(until, sums) + look + max(recheck.PAUSES)
        assert (said.verdict, said.code, said.covered) == ("different", "rows_differ", 0)
        assert "its rows are not the same; the time for this run is over" in said.why


def test_however_short_a_run_is_it_gets_to_know_something_of_a_table() -> None:
    """Else one run after the other would begin with it, and never say anything of it."""
    for there, here, verdict in (("xyz", "xyz", "pass"), ("xyz", "xyy", "different")):
        two = Two(there, here)
        assert two.compare(until=two.world.now).verdict == verdict
    restless = Two("xyz", "xyy")
    restless.world.writer = lambda world: world.commit(T, 2, f"v{world.count}")
    said = restless.compare(until=restless.world.now)
    assert (said.verdict, said.code) == ("unstable", "rows_restless")
    assert restless.scans("p") == 3


def test_rows_that_keep_changing_are_counted_beside_those_that_differ() -> None:
    """What was at rest while the sums were taken is written from then on, between the looks at both."""
    for seed in range(10):
        two, chance, value = Two("xyz", "xyy"), random.Random(seed), "a"

        def writer(world: World, two: Two = two, chance: random.Random = chance) -> None:
            nonlocal value
            name, sql = world.trace[-1]
            if sql in SCANS and two.scans("p") > 3:
                value = chance.choice("ab") if name == "p" else "ab".replace(value, "")
                world.commit(T, 1, value)

        two.world.writer = writer
        said = two.compare()
        assert (said.verdict, said.difference_count) == ("different", 2)
        assert {each.key["digest"] for each in said.differences} == {digest(each)[:32] for each in "yz"}
        assert "; 2 kept changing" in said.why


def test_what_differed_at_rest_and_is_written_since_is_not_known() -> None:
    two = Two("xyz", "wyz")
    two.world.writer = lambda world: world.commit(T, 1, f"v{world.count}") if two.scans("p") > 3 else None
    said = two.compare()
    assert (said.verdict, said.code) == ("unstable", "rows_restless")


def test_rows_in_flight_are_no_difference() -> None:
    two = Two("xyz", "xyz")
    generator = random.Random(5)
    two.world.writer = lambda world: world.commit(T, 2, generator.choice("ab"))
    said = two.compare()
    assert said.verdict in ("pass", "unstable")
    two.world.writer = lambda world: None
    assert two.compare().verdict == "pass"


def test_a_replica_that_does_not_catch_up_lags() -> None:
    two = Two("xyz", "xyz")
    two.world.nodes["r1"].applier = OFF
    two.world.commit(T, 2, "new")
    said = two.compare()
    assert (said.verdict, said.code) == ("lagging", "replica_late")


@pytest.mark.parametrize("fault", ["error", "lost", "dies"])
def test_what_breaks_is_its_verdict(fault: str) -> None:
    whole = Two("xy", "xz")
    whole.compare()
    for number in range(1, whole.world.count + 1):
        two = Two("xy", "xz")
        two.world.faults[number] = fault
        said = two.compare()
        assert (said.verdict, said.code) == ("error", "sql_error" if fault == "error" else "connection_lost")


def test_mutant_an_exclusive_or_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are there twice cancel each other."""
    monkeypatch.setattr(multiset, "_content", lambda row: str(int(row.get("number", row.get("content", 0))) % 2))
    with pytest.raises(AssertionError):
        test_how_often_is_told_and_the_row_only_when_it_may_be()


# --- a replica that is ahead -----------------------------------------------------------------------------------------
HANGS = "0000000a-0000-0000-0000-000000000000:7"


def test_what_waits_on_the_primary_is_no_difference() -> None:
    two = Two("xy", "xyz")
    two.world.nodes["r1"].errant = HANGS
    said = two.compare()
    assert (said.verdict, said.code, said.difference_count) == ("unstable", "replica_ahead", 0)


def test_when_the_primary_has_it_too_the_rows_are_judged() -> None:
    two = Two("xy", "xyz")
    two.world.nodes["r1"].errant = HANGS

    def commits(sql: str) -> None:
        if "WAIT_FOR" in sql:
            two.world.nodes["p"].errant = HANGS
            two.world.held("p", "bag").rows[3] = "z"

    two.world.nodes["p"].before = commits
    assert two.compare().verdict == "pass"


def test_mutant_nobody_asks_what_the_replica_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recheck, "is_ahead", lambda *_given: False)
    with pytest.raises(AssertionError):
        test_what_waits_on_the_primary_is_no_difference()
