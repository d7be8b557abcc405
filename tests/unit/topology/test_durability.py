# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic that every promise rests on, proven by exhaustion for up to six acknowledgers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology import durability

from .situations import member

LARGEST = 6
SIZES = [(n, k) for n in range(1, LARGEST + 1) for k in range(1, n + 1)]


def contained(n: int, k: int, held: int) -> bool:
    """Whether every set of k acknowledgers meets every set of that many frozen ones."""
    return all(
        set(acknowledged) & set(frozen)
        for acknowledged in combinations(range(n), k)
        for frozen in combinations(range(n), held)
    )


def revoked(n: int, k: int, held: int) -> bool:
    """Whether no k acknowledgers are left among those that are not frozen."""
    return all(
        not any(True for _ks in combinations(set(range(n)) - set(frozen), k)) for frozen in combinations(range(n), held)
    )


def sound(rule: Callable[[int, int], int]) -> bool:
    """Whether freezing as many as the rule says proves both obligations."""
    return all(contained(n, k, min(rule(n, k), n)) and revoked(n, k, min(rule(n, k), n)) for n, k in SIZES)


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_freezing_what_is_required_contains_every_acknowledged_transaction(n: int, k: int) -> None:
    for held in range(durability.freeze_required(n, k), n + 1):
        assert contained(n, k, held)


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_freezing_what_is_required_revokes_the_old_primary(n: int, k: int) -> None:
    for held in range(durability.freeze_required(n, k), n + 1):
        assert revoked(n, k, held)


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_one_less_proves_neither(n: int, k: int) -> None:
    one_less = durability.freeze_required(n, k) - 1
    assert not contained(n, k, one_less)
    assert not revoked(n, k, one_less)


@pytest.mark.parametrize("rule", [lambda n, k: n - k, lambda n, k: n // 2 + 1, lambda n, k: k, lambda n, k: 1])
def test_the_exhaustion_would_catch_another_rule(rule: Callable[[int, int], int]) -> None:
    assert sound(durability.freeze_required)
    assert not sound(rule)


def test_waiting_for_more_than_there_are_still_holds_one() -> None:
    assert durability.freeze_required(1, 2) == 1
    assert durability.freeze_required(3, 9) == 1


@pytest.mark.parametrize(("n", "k"), [(0, 1), (1, 0), (0, 0), (-1, 1), (1, -1)])
def test_without_acknowledgers_or_waiting_nothing_is_provable(n: int, k: int) -> None:
    with pytest.raises(ValueError, match="nothing can be proven"):
        durability.freeze_required(n, k)
    with pytest.raises(ValueError, match="nothing can be proven"):
        durability.locks_required(n, k)


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_two_runs_cannot_both_hold_the_locks(n: int, k: int) -> None:
    locks = durability.locks_required(n, k)
    assert durability.freeze_required(n, k) <= locks <= n
    assert all(set(a) & set(b) for a in combinations(range(n), locks) for b in combinations(range(n), locks))


# --- disaster levels -------------------------------------------------------------------------------------------------
BERLIN_A = {"zone": "a", "city": "berlin"}
BERLIN_B = {"zone": "b", "city": "berlin"}
BONN_A = {"zone": "a", "city": "bonn"}


@pytest.mark.parametrize(
    ("places", "k", "host", "zone", "city"),
    [
        # the primary's place comes first
        ([BERLIN_A, BERLIN_B, BERLIN_B], 1, True, True, False),
        ([BERLIN_A, BERLIN_A, BERLIN_B], 1, True, False, False),
        ([BERLIN_A, BERLIN_A, BERLIN_B], 2, True, True, False),
        ([BERLIN_A, BERLIN_B, BONN_A], 1, True, True, False),
        ([BERLIN_A, BERLIN_B, BONN_A], 2, True, True, True),
        ([BERLIN_A, BERLIN_A, BERLIN_B, BONN_A], 2, True, True, False),
        ([BERLIN_A, BERLIN_A, BERLIN_B, BONN_A], 3, True, True, True),
        # a zone is named inside its city: two zones a are not one
        ([BERLIN_A, BONN_A, BONN_A], 1, True, True, True),
        # who did not say that two servers are apart may not count on it
        ([{}, {}, {}], 1, True, False, False),
        ([{"city": "berlin"}, {"city": "bonn"}, {"city": "bonn"}], 1, True, True, True),
        ([BERLIN_A, {}, {}], 1, True, True, True),
        # a lone primary survives nothing
        ([BERLIN_A], 1, False, False, False),
        # it waits for more than there are: it acknowledges nothing, so it promises nothing
        ([BERLIN_A, BONN_A], 2, False, False, False),
    ],
)
def test_levels_by_place(places: list[dict[str, str]], k: int, host: bool, zone: bool, city: bool) -> None:
    own, *others = [member(i, **place) for i, place in enumerate(places, 1)]
    statement = durability.state(own, others, k)
    assert [statement.level(name).survived for name in durability.LEVELS] == [host, zone, city]


def test_an_acknowledger_on_the_primarys_own_host_dies_with_it() -> None:
    statement = durability.state(
        member(1, **BERLIN_A), [member(2, host="10.0.0.1", **BERLIN_A), member(3, **BONN_A)], 1
    )
    level = statement.level("host")
    assert (level.lost_acknowledgers, level.survived, level.k_required) == (("db2",), False, 2)


PLACES = [("", ""), ("a", "x"), ("b", "x"), ("a", "y")]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_level_is_survived_exactly_when_no_acknowledged_set_lies_inside_it(size: int) -> None:
    """k > a against brute force: whoever is lost, some holder of every acknowledged transaction is left."""
    own = member(1, zone="a", city="x")
    for places in product(PLACES, repeat=size):
        others = [member(i, zone=zone, city=city) for i, (zone, city) in enumerate(places, 2)]
        names = {m.name for m in others}
        for k in range(1, size + 1):
            statement = durability.state(own, others, k)
            for level in statement.levels:
                left = names - set(level.lost_acknowledgers)
                provable = len(left) >= durability.freeze_required(size, k)
                held = all(set(acknowledged) & left for acknowledged in combinations(names, k))
                assert level.survived == provable == held
                assert level.survived == (k >= level.k_required)
                assert level.possible == (level.k_required <= size)
                assert level.survived == (len(level.lost_acknowledgers) <= level.may_be_lost)


@pytest.mark.parametrize("places", list(product(PLACES, repeat=3)))
def test_levels_nest(places: tuple[tuple[str, str], ...]) -> None:
    """What survives the loss of the city survives the loss of the zone, and that of the host."""
    own = member(1, zone="a", city="x")
    others = [member(i, zone=zone, city=city) for i, (zone, city) in enumerate(places, 2)]
    host, zone_, city_ = (set(level.lost_acknowledgers) for level in durability.state(own, others, 1).levels)
    assert host <= zone_ <= city_


@pytest.mark.parametrize(
    ("n", "k", "required", "may_be_lost"),
    # the table of the research notes, "proof obligations"
    [(2, 1, 2, 0), (2, 2, 1, 1), (3, 1, 3, 0), (3, 2, 2, 1), (4, 2, 3, 1), (5, 3, 3, 2)],
)
def test_the_documented_table(n: int, k: int, required: int, may_be_lost: int) -> None:
    statement = durability.state(member(1), [member(i) for i in range(2, n + 2)], k, "memory")
    assert (statement.n, statement.k, statement.acknowledgement) == (n, k, "memory")
    assert (statement.freeze_required, statement.may_be_lost_with_primary) == (required, may_be_lost)
    assert statement.writes_continue_with == k


def test_without_acknowledgers_the_statement_promises_nothing() -> None:
    statement = durability.state(member(1), [], 1)
    assert (statement.n, statement.freeze_required, statement.may_be_lost_with_primary) == (0, 0, 0)
    assert not any(level.survived or level.possible for level in statement.levels)
