# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables without a key: as many equal rows on both, and what is not so is counted, however much it is."""

from __future__ import annotations

import random
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import multiset, recheck
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import TableResult
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import layout_of
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Named
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import OFF
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.simulated_run import (
    COLUMNS,
    LOGIN,
    Asked,
    Held,
    Sim,
    World,
)
from hypothesis import given
from hypothesis import strategies as st

T = Named("s", "bag")


def bag(values: str) -> Held:
    return Held(dict(enumerate(values, 1)), keyed=False)


class Two:
    """The table on a primary and a replica."""

    def __init__(self, there: str, here: str) -> None:
        self.world = World({"bag": bag(there)}, replicas=1)
        self.world.committed.clear()
        for node, values in (("p", there), ("r1", here)):
            self.world.nodes[node].tables[T] = bag(values)
            self.world.nodes[node].done = 0

    def compare(self, estimate: int = 10, reveal: bool = False, exact: bool = False, **limits: Any) -> TableResult:
        layout = layout_of(COLUMNS, [])
        assert layout is not None
        given_limits = multiset.Limits(recheck.Limits(catch_up=2.0, exact=exact, listed=5), **limits)
        sessions: list[Any] = [Sim(self.world.nodes[name], LOGIN.user) for name in ("p", "r1")]
        compared = multiset.Multiset(
            Asked(T, layout), *sessions, given_limits, reveal=reveal, clock=self.world.clock, sleep=self.world.sleep
        )
        return compared.run(estimate)


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
