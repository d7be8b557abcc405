# SPDX-License-Identifier: GPL-3.0-or-later
"""May the address be held? By tables, by invariants over everything hypothesis can think of, and by mutants: copies of
the decision that are broken on purpose, each of which the invariants must catch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper import lease
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.lease import (
    HOLD,
    NOTHING,
    PROBE,
    PROBE_COUNTS_FOR,
    RELEASE,
    RENEW,
    TAKE,
    WAIT,
    AddressState,
    Beat,
    Decision,
    Facts,
    Probe,
    Seen,
    Timing,
    decide,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

TIMING = Timing()
NOW = 1000.0
ME, OTHER = "me", "other"
SEEN = Seen(asked_at=NOW - 0.02, server_uuid=ME, writable=True, term=7, revision=9, primary_uuid=ME, k=1)
BEAT = Beat(sent_at=NOW - 0.1, server_uuid=ME, term=7, sequence=3)
FACTS = Facts(now=NOW, seen=SEEN, beat=BEAT)
CLEAN = Probe(started_at=NOW - 0.07)
FREE, HELD = AddressState(probe=CLEAN), AddressState(held=True, rests_on=BEAT.sent_at)


def seen(**changes: object) -> Facts:
    return dataclasses.replace(FACTS, seen=dataclasses.replace(SEEN, **changes))


def beat(**changes: object) -> Facts:
    return dataclasses.replace(FACTS, beat=dataclasses.replace(BEAT, **changes))


TABLE = [
    ("the keeper stops", dataclasses.replace(FACTS, stopping=True), "stopping", NOTHING, RELEASE),
    ("mysqld is gone", dataclasses.replace(FACTS, gone="refused"), "server_gone", NOTHING, RELEASE),
    ("never answered", Facts(now=NOW), "starting", NOTHING, RELEASE),
    ("silent for longer than the lease", seen(asked_at=NOW - 1.51), "server_silent", NOTHING, RELEASE),
    ("answered in the future", seen(asked_at=NOW + 0.01), "server_silent", NOTHING, RELEASE),
    ("no term row", seen(term=None), "no_term", NOTHING, RELEASE),
    ("the term names another", seen(primary_uuid=OTHER), "not_primary", NOTHING, RELEASE),
    ("read-only", seen(writable=False), "read_only", NOTHING, RELEASE),
    ("no heartbeat yet", dataclasses.replace(FACTS, beat=None), "no_lease", WAIT, RELEASE),
    ("heartbeat of an older term", beat(term=6), "no_lease", WAIT, RELEASE),
    ("heartbeat of a newer term", beat(term=8), "no_lease", WAIT, RELEASE),
    ("heartbeat of another server", beat(server_uuid=OTHER), "no_lease", WAIT, RELEASE),
    ("lease expired", beat(sent_at=NOW - 1.51), "lease_expired", WAIT, RELEASE),
    ("lease from the future", beat(sent_at=NOW + 0.01), "lease_expired", WAIT, RELEASE),
    ("semi-sync off", beat(source_active=False), "not_acknowledged", WAIT, RELEASE),
    ("waited for fewer than k", dataclasses.replace(seen(k=2)), "not_acknowledged", WAIT, RELEASE),
    ("entitled", FACTS, "lease_young", TAKE, HOLD),
    ("entitled, and the next heartbeat is nearly overdue", beat(sent_at=NOW - 1.0), "lease_young", TAKE, HOLD),
    (
        "k=0 asks for no acknowledgement",
        dataclasses.replace(seen(k=0), beat=dataclasses.replace(BEAT, source_active=False)),
        "lease_young",
        TAKE,
        HOLD,
    ),
]


@pytest.mark.parametrize(("facts", "code", "free", "held"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_decision_table(facts: Facts, code: str, free: str, held: str) -> None:
    without, with_it = decide(facts, FREE, TIMING), decide(facts, HELD, TIMING)
    assert (without.code, without.action, with_it.code, with_it.action) == (code, free, code, held)
    assert without.text and with_it.text


@pytest.mark.parametrize(
    ("address", "action", "code"),
    [
        (AddressState(), PROBE, "lease_young"),
        (AddressState(probe=Probe(NOW - 0.02)), WAIT, "lease_young"),
        (AddressState(probe=Probe(NOW - 0.061)), TAKE, "lease_young"),
        (AddressState(probe=Probe(NOW - 0.17)), PROBE, "lease_young"),
        (AddressState(probe=Probe(NOW + 5.0)), PROBE, "lease_young"),
        (AddressState(probe=Probe(NOW - 0.02, "02:00"), strange_since=NOW), WAIT, "lease_young"),
        (AddressState(probe=Probe(NOW - 0.061, "02:00"), strange_since=NOW - 0.1), PROBE, "stranger"),
        (AddressState(probe=Probe(NOW - 0.061, "02:00"), strange_since=NOW - 3.6), WAIT, "stranger_stays"),
        (AddressState(probe=Probe(NOW - 0.51, "02:00"), strange_since=NOW - 3.6), PROBE, "stranger_stays"),
        (AddressState(held=True, rests_on=NOW - 0.6), RENEW, "lease_young"),
        (AddressState(held=True, rests_on=BEAT.sent_at, rival_at=NOW), HOLD, "lease_young"),
    ],
)
def test_entitled(address: AddressState, action: str, code: str) -> None:
    decision = decide(FACTS, address, TIMING)
    assert (decision.action, decision.code) == (action, code)


@pytest.mark.parametrize(
    ("rival_at", "sent_at", "action"),
    [
        (NOW, NOW - 1.2, RELEASE),
        (NOW, NOW - 0.9, HOLD),
        (NOW - 1.3, NOW - 1.2, HOLD),
    ],
    ids=["our heartbeat is overdue", "it is not overdue", "it was acknowledged after the rival spoke"],
)
def test_a_rival_wins_against_a_lease_in_doubt_only(rival_at: float, sent_at: float, action: str) -> None:
    address = AddressState(held=True, rests_on=sent_at, rival_at=rival_at, rival="02:00")
    facts = beat(sent_at=sent_at)
    assert decide(facts, address, TIMING).action == action
    free = dataclasses.replace(address, held=False, probe=CLEAN)
    assert action == HOLD or decide(facts, free, TIMING).action == WAIT, "nor is it taken back"


def test_an_overdue_lease_is_good_enough_to_keep_and_not_to_take() -> None:
    facts = beat(sent_at=NOW - 1.4)
    assert decide(facts, HELD, TIMING).action == HOLD
    decision = decide(facts, FREE, TIMING)
    assert (decision.action, decision.code) == (WAIT, "lease_overdue")


def test_a_candidate_probes_once_while_its_heartbeat_is_under_way() -> None:
    facts = dataclasses.replace(FACTS, beat=None)
    assert decide(facts, AddressState(), TIMING).action == PROBE
    assert decide(facts, AddressState(probe=Probe(NOW - 100)), TIMING).action == WAIT


@pytest.mark.parametrize(
    ("facts", "term"),
    [(FACTS, 7), (seen(writable=False), None), (seen(primary_uuid=OTHER), None), (seen(asked_at=NOW - 2), None)],
)
def test_only_the_primary_writes_heartbeats(facts: Facts, term: int | None) -> None:
    assert lease.heartbeat_term(facts, TIMING) == term


@given(age=st.floats(-10, 1.5), lease_s=st.floats(0.2, 30))
def test_the_kernel_never_ends_before_the_lease_and_at_most_a_second_after_it(age: float, lease_s: float) -> None:
    timing = Timing(lease=lease_s)
    seconds = lease.kernel_lifetime(NOW, NOW - age, timing)
    assert seconds >= 1
    elapsed = max(age, 0.0)
    if elapsed <= lease_s:
        assert lease_s - 1e-6 <= elapsed + seconds <= lease_s + 1.0 + 1e-6
        assert elapsed + seconds + lease.KERNEL_LATENESS <= timing.kernel_bound + 1e-6


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"tick": 0.0}, "tick"),
        ({"lease": math.nan}, "lease"),
        ({"tick": 0.6}, "tick"),
        ({"heartbeat_interval": 0.75}, "one late heartbeat"),
        ({"failover_notice": 1.52}, "failover_notice"),
        ({"probe_wait": 1.1}, "probe_wait"),
    ],
)
def test_durations_that_do_not_fit_are_refused(changes: dict[str, float], word: str) -> None:
    found = lease.problems(dataclasses.replace(TIMING, **changes))
    assert found
    assert any(word in problem for problem in found)


def test_the_defaults_fit() -> None:
    assert lease.problems(TIMING) == ()
    assert (TIMING.bound, TIMING.kernel_bound) == (1.52, 3.5)


# --- invariants -------------------------------------------------------------------------------------------------------
times = st.one_of(
    st.floats(NOW - 4, NOW + 2),
    st.sampled_from([NOW, NOW - 1.5, NOW - 1.51, NOW + 1e-6, -math.inf, math.inf, NOW - 1e9, NOW + 1e9]),
)
uuids = st.sampled_from([ME, OTHER])
macs = st.sampled_from(["", "02:00:00:00:00:01"])
all_seen = st.builds(
    Seen,
    asked_at=times,
    server_uuid=uuids,
    writable=st.booleans(),
    term=st.one_of(st.none(), st.integers(6, 8)),
    revision=st.integers(0, 3),
    primary_uuid=uuids,
    k=st.integers(0, 2),
)
all_beats = st.builds(
    Beat,
    sent_at=times,
    server_uuid=uuids,
    term=st.integers(6, 8),
    source_active=st.booleans(),
    wait_count=st.integers(0, 2),
)
all_facts = st.builds(
    Facts,
    now=st.just(NOW),
    seen=st.one_of(st.none(), all_seen),
    beat=st.one_of(st.none(), all_beats),
    gone=st.sampled_from(["", "", "refused"]),
    stopping=st.booleans(),
)
# Half of them nearly right: broken decisions hide where everything but one thing is in order.
nearly = st.builds(
    lambda s, b, stopping, gone: Facts(NOW, s, b, gone, stopping),
    st.builds(
        lambda at, uuid, writable, term, primary, k: Seen(at, uuid, writable, term, 1, primary, k),
        st.one_of(st.just(NOW), times),
        st.sampled_from([ME, ME, ME, OTHER]),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([7, 7, 7, 8, None]),
        st.sampled_from([ME, ME, ME, OTHER]),
        st.sampled_from([1, 1, 2]),
    ),
    st.builds(
        lambda at, uuid, term, active, count: Beat(at, uuid, term, 1, active, count),
        st.one_of(st.just(NOW), times),
        st.sampled_from([ME, ME, ME, OTHER]),
        st.sampled_from([7, 7, 7, 6]),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([2, 2, 1, 0]),
    ),
    st.sampled_from([False, False, False, True]),
    st.sampled_from(["", "", "", "refused"]),
)
probes = st.one_of(st.none(), st.builds(Probe, st.one_of(st.floats(NOW - 0.3, NOW + 0.1), times), macs))
addresses = st.builds(
    AddressState,
    held=st.booleans(),
    rests_on=times,
    probe=probes,
    rival_at=st.one_of(st.none(), times),
    rival=macs,
    strange_since=st.one_of(st.none(), times),
)
cases = st.tuples(st.one_of(nearly, all_facts), addresses)


def violated(facts: Facts, address: AddressState, decision: Decision) -> str:
    """Which promise the decision breaks. Written anew from the promises, not from the code."""
    action, s, b, now = decision.action, facts.seen, facts.beat, facts.now
    if action in (TAKE, HOLD, RENEW):
        if facts.stopping or facts.gone or s is None or b is None:
            return "held without an answer or a heartbeat"
        if not 0 <= now - b.sent_at <= TIMING.lease:
            return "held with an expired lease"
        if not 0 <= now - s.asked_at <= TIMING.lease:
            return "held on an answer that is too old"
        if s.term is None or s.primary_uuid != s.server_uuid:
            return "held though the newest term names another"
        if b.term != s.term or b.server_uuid != s.server_uuid:
            return "held for another term or server"
        if not s.writable:
            return "held while not writable"
        if s.k and not (b.source_active and b.wait_count >= s.k):
            return "held though nobody acknowledged"
    if action == TAKE and b is not None:
        probe = address.probe
        if address.held or probe is None or probe.stranger:
            return "taken without asking, or from a stranger"
        if not TIMING.probe_wait - 1e-9 <= now - probe.started_at <= TIMING.probe_wait + PROBE_COUNTS_FOR:
            return "taken on a probe that is not over, or too old"
        if not now - b.sent_at <= TIMING.doubt_after:
            return "taken on a lease that is overdue"
    if address.held and action not in (HOLD, RENEW, RELEASE):
        return "forgot that it holds the address"
    if not address.held and action in (HOLD, RENEW, RELEASE):
        return "released what it does not hold"
    if not decision.code or not decision.text:
        return "gave no reason"
    return ""


Decide = Callable[[Facts, AddressState, Timing], Decision]


@settings(max_examples=600)
@given(cases)
@example((FACTS, HELD))
@example((FACTS, FREE))
def test_no_decision_breaks_a_promise(case: tuple[Facts, AddressState]) -> None:
    facts, address = case
    assert violated(facts, address, decide(facts, address, TIMING)) == ""


def _with_facts(change: Callable[[Facts], Facts]) -> Decide:
    return lambda facts, address, timing: decide(change(facts), address, timing)


def _with_address(change: Callable[[AddressState], AddressState]) -> Decide:
    return lambda facts, address, timing: decide(facts, change(address), timing)


def _beat(facts: Facts, **changes: object) -> Facts:
    return dataclasses.replace(facts, beat=facts.beat and dataclasses.replace(facts.beat, **changes))


def _seen(facts: Facts, **changes: object) -> Facts:
    return dataclasses.replace(facts, seen=facts.seen and dataclasses.replace(facts.seen, **changes))


# Everything in order, and everything but one thing in order: that is where a broken decision shows.
ONE_WRONG = [FACTS, beat(sent_at=NOW - 2.5), *(row[1] for row in TABLE)]
ADDRESSES = [
    FREE,
    HELD,
    AddressState(),
    AddressState(probe=Probe(NOW - 0.01)),
    AddressState(probe=Probe(NOW - 0.07, "02:00:00:00:00:01")),
    AddressState(probe=Probe(NOW - 9.0)),
]

MUTANTS: dict[str, Decide] = {
    "the lease never ends": _with_facts(lambda f: _beat(f, sent_at=f.now)),
    "the lease is counted from the commit's return": _with_facts(
        lambda f: _beat(f, sent_at=min(f.beat.sent_at + 1, f.now) if f.beat else 0)
    ),
    "a lease from the future is young": _with_facts(
        lambda f: _beat(f, sent_at=min(f.beat.sent_at, f.now) if f.beat else 0)
    ),
    "an old answer is as good as a new one": _with_facts(lambda f: _seen(f, asked_at=f.now)),
    "the heartbeat's term is not looked at": _with_facts(
        lambda f: _beat(f, term=f.seen.term) if f.seen and f.seen.term else f
    ),
    "the heartbeat's server is not looked at": _with_facts(
        lambda f: _beat(f, server_uuid=f.seen.server_uuid) if f.seen else f
    ),
    "who the term names is not looked at": _with_facts(
        lambda f: _seen(f, primary_uuid=f.seen.server_uuid) if f.seen else f
    ),
    "writability is not looked at": _with_facts(lambda f: _seen(f, writable=True)),
    "semi-sync is not looked at": _with_facts(lambda f: _beat(f, source_active=True)),
    "the count of acknowledgements is not looked at": _with_facts(lambda f: _beat(f, wait_count=9)),
    "a dead mysqld is not noticed": _with_facts(lambda f: dataclasses.replace(f, gone="")),
    "a stop is not noticed": _with_facts(lambda f: dataclasses.replace(f, stopping=False)),
    "strangers are fought": _with_address(
        lambda a: dataclasses.replace(a, probe=a.probe and dataclasses.replace(a.probe, stranger=""))
    ),
    "a probe is always over": _with_address(
        lambda a: dataclasses.replace(a, probe=a.probe and dataclasses.replace(a.probe, started_at=NOW - 0.07))
    ),
    "what is held is forgotten": _with_address(lambda a: dataclasses.replace(a, held=False)),
    "everything is held": _with_address(lambda a: dataclasses.replace(a, held=True)),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS.keys())
def test_the_invariants_catch_a_broken_decision(mutant: Decide) -> None:
    caught = {
        violated(facts, address, mutant(facts, address, TIMING)) for facts in ONE_WRONG for address in ADDRESSES
    } - {""}
    assert caught, "the invariants do not notice this mutant"


def test_the_right_decision_is_not_caught() -> None:
    for facts in ONE_WRONG:
        for address in ADDRESSES:
            assert violated(facts, address, decide(facts, address, TIMING)) == ""


@given(st.lists(st.floats(-5, 5), max_size=30), st.floats(0, 3))
def test_a_clock_that_jumps_never_prolongs_a_lease(jumps: list[float], start: float) -> None:
    """Whatever the clock does, what is held rests on a heartbeat that is young by that very clock."""
    now, address = NOW + start, HELD
    for jump in jumps:
        now += jump
        decision = decide(dataclasses.replace(FACTS, now=now), address, TIMING)
        assert (decision.action == RELEASE) == address.held or 0 <= now - BEAT.sent_at <= TIMING.lease
        if decision.action == RELEASE:
            address = dataclasses.replace(address, held=False, probe=None)
