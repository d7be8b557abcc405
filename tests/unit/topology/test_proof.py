# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof: complete it holds; without any one of its facts it does not, and says which claim is missing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    CONNECTING,
    OFF,
    ON,
    ServerState,
    TermRow,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology import proof as proofs
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.proof import (
    CLAIMS,
    PROVEN,
    UNPROVEN,
    Fact,
    Proof,
    gather,
    prove,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.testimony import Testimony as Judgement
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.testimony import judge

from .situations import GOOD_SETTINGS, NOW, beat, frozen, gtids, receiver, replica, term, uuid


@dataclasses.dataclass(frozen=True)
class Case:
    """A failover at the moment of the proof: as few frozen as are required, the elected one first."""

    row: TermRow
    held: tuple[ServerState, ...]

    @property
    def elected(self) -> ServerState:
        return self.held[0]

    @property
    def testimony(self) -> Judgement:
        return judge(self.row, self.elected, self.held)

    def facts(self) -> tuple[Fact, ...]:
        return gather(self.row, self.elected, self.held, self.testimony, at=NOW)

    def prove(self, facts: Sequence[Fact] | None = None) -> Proof:
        return prove(self.row, self.elected, self.held, self.testimony, self.facts() if facts is None else facts)

    def but(self, number: int, **changes: object) -> Case:
        """The same case with one server changed."""
        held = tuple(dataclasses.replace(s, **changes) if s.name == f"db{number}" else s for s in self.held)
        return dataclasses.replace(self, held=held)


def case(size: int = 3, k: int = 1) -> Case:
    row = term(size, k)
    required = row.n - k + 1
    return Case(row, tuple(frozen(row, number) for number in range(2, 2 + required)))


SIZES = [(2, 1), (3, 1), (3, 2), (4, 1), (4, 2), (4, 3), (5, 2)]
FACTS = [(size, k, index) for size, k in SIZES for index in range(len(case(size, k).facts()))]


@pytest.mark.parametrize(("size", "k"), SIZES)
def test_a_complete_situation_is_proven(size: int, k: int) -> None:
    proven = case(size, k).prove()
    assert (proven.zero_loss, proven.missing) == (PROVEN, ())
    assert (proven.n, proven.k, proven.required) == (size - 1, k, size - k)
    assert len(proven.frozen) == proven.required
    assert {fact.claim for fact in proven.facts} == set(CLAIMS)


@pytest.mark.parametrize(("size", "k", "index"), FACTS)
def test_without_any_one_fact_the_result_is_unproven_and_names_its_claim(size: int, k: int, index: int) -> None:
    facts = list(case(size, k).facts())
    taken = facts.pop(index)
    unproven = case(size, k).prove(facts)
    assert unproven.zero_loss == UNPROVEN
    assert taken.claim in {item.claim for item in unproven.missing}
    assert all(item.code and item.message and item.next_step for item in unproven.missing)


def test_every_fact_says_who_when_and_what() -> None:
    for fact in case(4, 2).facts():
        assert fact.server_uuid in {uuid(number) for number in range(1, 5)}
        assert fact.at == NOW
        assert fact.value


# For every claim a situation in which it does not hold: gather() must not produce it. The number says whose fact.
NOT_GATHERED: dict[str, dict[str, tuple[Callable[[], Case], int]]] = {
    "registered": {
        "the elected server holds no term row": (lambda: case().but(2, term=None), 2),
        "it holds another revision": (lambda: case().but(2, term=term(revision=2)), 2),
    },
    "frozen": {
        "its receiver runs": (lambda: case().but(3, receiver=receiver()), 3),
        "its receiver is only connecting, and would acknowledge when the old primary wakes": (
            lambda: case().but(3, receiver=receiver(state=CONNECTING)),
            3,
        ),
        "it tries to connect, and was never connected to say whereto": (
            lambda: case().but(3, receiver=receiver(state=CONNECTING, source_uuid="")),
            3,
        ),
        "it tries to connect to an address where another server was last": (
            lambda: case().but(3, receiver=receiver(state=CONNECTING, source_uuid=uuid(4))),
            3,
        ),
        "its receiver runs and nobody knows whom it follows": (
            lambda: case().but(3, receiver=receiver(state=ON, source_uuid="")),
            3,
        ),
    },
    "kept": {
        "it throws relay logs away at a restart": (
            lambda: case().but(3, settings={**GOOD_SETTINGS, "relay_log_recovery": "ON"}),
            3,
        ),
        "it acknowledged before the disk had it": (
            lambda: case().but(3, settings={**GOOD_SETTINGS, "sync_relay_log": "10000"}),
            3,
        ),
        "nothing is known of its settings": (lambda: case().but(3, settings={}), 3),
    },
    "testified": {
        "semi-sync was off": (lambda: case().but(2, heartbeats=(beat(term(), source_active=False),)), 1),
        "there is no heartbeat": (lambda: case().but(2, heartbeats=()), 1),
    },
    "contains": {
        "it received what the elected one did not": (
            lambda: case().but(3, receiver=receiver(state=OFF, retrieved=gtids("1:1-101"))),
            3,
        ),
        "it executed what the elected one did not": (lambda: case().but(3, executed=gtids("1:1-100,3:1")), 3),
    },
    "applied": {
        "the elected server has not executed all it received": (
            lambda: case().but(2, executed=gtids("1:1-99")),
            2,
        ),
    },
}


@pytest.mark.parametrize(
    ("claim", "why"), [(claim, why) for claim in CLAIMS for why in NOT_GATHERED.get(claim, {"(no situation)": None})]
)
def test_a_fact_that_does_not_hold_is_not_gathered(claim: str, why: str) -> None:
    assert claim in NOT_GATHERED, f"the claim {claim!r} has no situation here in which it fails"
    make, number = NOT_GATHERED[claim][why]
    ill = make()
    assert (claim, uuid(number)) in {(fact.claim, fact.server_uuid) for fact in case().facts()}
    assert (claim, uuid(number)) not in {(fact.claim, fact.server_uuid) for fact in ill.facts()}
    unproven = ill.prove()
    assert unproven.zero_loss == UNPROVEN
    assert claim in {item.claim for item in unproven.missing}


def test_every_claim_can_be_mended_and_has_words() -> None:
    assert set(proofs._REMEDY) == set(CLAIMS) == set(NOT_GATHERED)
    assert proofs.__doc__ is not None
    for claim in CLAIMS:
        assert f"\n    {claim} " in proofs.__doc__


def test_a_server_that_could_not_be_stopped_is_not_frozen_whomever_it_follows() -> None:
    assert case().but(3, receiver=receiver(4)).prove().zero_loss == UNPROVEN


def test_a_server_with_further_channels_is_not_frozen() -> None:
    """What it received and acknowledged there is not known here."""
    assert case().but(3, channels=("", "other")).prove().zero_loss == UNPROVEN


def test_a_server_without_a_source_is_frozen() -> None:
    assert case().but(3, receiver=None).prove().zero_loss == PROVEN


def test_memory_as_promise_leaves_the_relay_log_unsynced() -> None:
    relaxed = dict(GOOD_SETTINGS, sync_relay_log="10000")
    row = term(acknowledgement="memory")
    held = tuple(frozen(row, number, settings=relaxed) for number in (2, 3))
    assert Case(row, held).prove().zero_loss == PROVEN


@pytest.mark.parametrize("why", ["not registered", "registered as one that does not acknowledge", "the old primary"])
def test_servers_that_may_not_acknowledge_count_for_nothing(why: str) -> None:
    whole = case()
    members = list(whole.row.members)
    stranger = frozen(whole.row, 9)
    if why == "registered as one that does not acknowledge":
        members.append(dataclasses.replace(members[1], name="db9", server_uuid=uuid(9), acknowledges=False))
    if why == "the old primary":
        stranger = frozen(whole.row, 1)
    row = dataclasses.replace(whole.row, members=tuple(members))
    short = Case(row, (frozen(row, 2), dataclasses.replace(stranger, term=row)))
    assert stranger.server_uuid not in {f.server_uuid for f in short.facts() if f.claim == "frozen"}
    assert "too_few_frozen" in {item.code for item in short.prove().missing}


def test_a_fact_of_an_unregistered_server_proves_nothing_whoever_brings_it() -> None:
    """The proof weighs; it does not trust whoever gathered."""
    facts = [f for f in case().facts() if f.server_uuid != uuid(3)]
    forged = [Fact(claim, uuid(9), {"forged": True}, NOW) for claim in ("frozen", "kept", "contains")]
    unproven = case().prove([*facts, *forged])
    assert unproven.zero_loss == UNPROVEN
    assert "too_few_frozen" in {item.code for item in unproven.missing}


def test_one_server_counts_once_under_two_names() -> None:
    row = term(3, 1)
    held = (frozen(row, 2), dataclasses.replace(frozen(row, 2), name="db2-again"))
    assert "too_few_frozen" in {item.code for item in Case(row, held).prove().missing}


def test_a_fact_told_twice_counts_once() -> None:
    facts = case().facts()
    without = [f for f in facts if not (f.claim == "frozen" and f.server_uuid == uuid(3))]
    assert case().prove([*without, *without]).zero_loss == UNPROVEN


def test_more_frozen_than_required_may_lose_a_fact_and_no_more() -> None:
    row = term(4, 2)
    whole = Case(row, tuple(frozen(row, number) for number in (2, 3, 4)))
    facts = [f for f in whole.facts() if (f.claim, f.server_uuid) != ("frozen", uuid(4))]
    assert whole.prove(facts).zero_loss == PROVEN
    facts = [f for f in facts if (f.claim, f.server_uuid) != ("frozen", uuid(3))]
    assert whole.prove(facts).zero_loss == UNPROVEN


@pytest.mark.parametrize("changes", [{"k": 0}, {"members": ()}])
def test_a_term_that_waits_for_nobody_proves_nothing(changes: dict[str, object]) -> None:
    row = dataclasses.replace(term(3, 1), **changes)
    unproven = Case(row, (frozen(row, 2), frozen(row, 3))).prove()
    assert unproven.zero_loss == UNPROVEN
    assert "acknowledgers_unknown" in {item.code for item in unproven.missing}


def test_all_that_is_missing_is_named_at_once() -> None:
    row = term(3, 1)
    ill = Case(
        row,
        (
            frozen(row, 2, term=None, heartbeats=(), executed=gtids("1:1-90"), settings={}),
            replica(row, 3, executed=gtids("1:1-101")),
        ),
    )
    assert {item.claim for item in ill.prove().missing} == {"registered", "frozen", "kept", "testified", "applied"}


def test_the_surplus_of_a_diverged_server_is_named() -> None:
    unproven = case().but(3, executed=gtids("1:1-100,3:5")).prove()
    (item,) = unproven.missing
    assert (item.claim, item.code) == ("contains", "diverged")
    assert f"{uuid(3)}:5" in item.message


def test_a_setting_that_made_an_acknowledgement_worthless_is_named() -> None:
    unproven = case().but(3, settings={**GOOD_SETTINGS, "relay_log_recovery": "ON"}).prove()
    (item,) = unproven.missing
    assert (item.claim, item.code) == ("kept", "unsafe_settings")
    assert "relay_log_recovery=ON" in item.message


def test_each_reason_of_the_testimony_is_missing_by_its_own_name() -> None:
    unproven = case().but(2, heartbeats=(beat(term(), source_active=False, no_tx=3),)).prove()
    assert {item.code for item in unproven.missing} == {"semi_sync_was_off", "semi_sync_had_degraded"}


@pytest.mark.parametrize("ill", [False, True])
def test_the_result_can_be_written_as_json(ill: bool) -> None:
    proven = (case().but(2, heartbeats=()) if ill else case()).prove()
    result = json.loads(json.dumps(proven.as_result()))
    assert set(result) == {"n", "k", "frozen", "required", "testimony", "evidence", "missing"}
    assert bool(result["missing"]) is ill
    assert (result["testimony"]["heartbeat"] is None) is ill
    assert len(result["evidence"]) == len(proven.facts)


@pytest.mark.parametrize("ill", [False, True])
def test_a_testimony_survives_the_journal(ill: bool) -> None:
    given = (case().but(2, heartbeats=()) if ill else case()).testimony
    written = json.loads(json.dumps(proofs.testimony_as_result(given)))
    assert proofs.testimony_from_result(written) == given
