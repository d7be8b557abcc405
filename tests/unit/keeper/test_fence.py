# SPDX-License-Identifier: GPL-3.0-or-later
"""Must sessions end, must the server be fenced? By tables, by invariants over everything hypothesis can think of, and
by mutants: copies of the decision that are broken on purpose, each of which the invariants must catch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper import fence, lease
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.fence import (
    ASK_PEERS,
    END_SESSIONS,
    FENCE,
    NOTHING,
    Decision,
    Facts,
    Heard,
    Stand,
    decide,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.lease import Beat, Seen, Timing
from hypothesis import example, given, settings
from hypothesis import strategies as st

TIMING = Timing()
NOW = 1000.0
ME, NEW, THIRD = "me", "new", "third"
SEEN = Seen(NOW - 0.02, ME, True, term=7, revision=9, primary_uuid=ME, k=1)
YOUNG, OLD = Beat(NOW - 0.1, ME, 7, 3), Beat(NOW - 5.0, ME, 7, 3)
LONG = Stand(NOW - 60.0, ME, 7)
SAME = Heard("db2", NEW, NOW - 0.1, 7, 9, ME, "proven", "ON", ME)
SAME3 = Heard("db3", THIRD, NOW - 0.1, 7, 9, ME, "proven", "ON", ME)
NEWER = Heard("db2", NEW, NOW - 0.1, 8, 10, NEW, "proven", "OFF", ME)
OFF2 = dataclasses.replace(SAME, receiver="OFF", off_since=NOW - 2.0)
OFF3 = dataclasses.replace(SAME3, receiver="OFF", off_since=NOW - 2.0)
BASE = Facts(lease.Facts(NOW, SEEN, OLD), LONG, frozenset({NEW, THIRD}), (SAME, SAME3))


def local(**changes: object) -> Facts:
    return dataclasses.replace(BASE, local=dataclasses.replace(BASE.local, **changes))


def seen(**changes: object) -> Facts:
    return local(seen=dataclasses.replace(SEEN, **changes))


def heard(*answers: Heard, facts: Facts = BASE) -> Facts:
    return dataclasses.replace(facts, heard=answers)


OFFLINE = {"writable": False, "offline": True}
TABLE = [
    ("a young lease", local(beat=YOUNG), NOTHING, "lease_young"),
    ("a young lease, and a newer term", heard(NEWER, facts=local(beat=YOUNG)), NOTHING, "lease_young"),
    (
        "a newer term was there before a heartbeat that was acknowledged",
        heard(dataclasses.replace(NEWER, asked_at=NOW - 0.2), facts=local(beat=YOUNG)),
        NOTHING,
        "contradiction",
    ),
    ("the keeper stops", local(stopping=True), NOTHING, "stopping"),
    ("mysqld is gone", local(gone="refused"), NOTHING, "server_gone"),
    ("never answered", local(seen=None), NOTHING, "starting"),
    ("no term row", seen(term=None), NOTHING, "no_term"),
    ("a replica", seen(primary_uuid=NEW, writable=False), NOTHING, "not_primary"),
    ("it is being promoted: open before its row", heard(NEWER, facts=seen(primary_uuid=NEW)), NOTHING, "not_primary"),
    ("read-only", seen(writable=False), NOTHING, "read_only"),
    ("read-only, and deposed", heard(NEWER, facts=seen(writable=False)), NOTHING, "read_only"),
    ("it hangs", seen(asked_at=NOW - 9.0), ASK_PEERS, "server_silent"),
    ("it hangs, and is deposed", heard(NEWER, facts=seen(asked_at=NOW - 9.0)), ASK_PEERS, "server_silent"),
    ("a replica that hangs", seen(asked_at=NOW - 9.0, primary_uuid=NEW), NOTHING, "server_silent"),
    ("a read-only server that hangs", seen(asked_at=NOW - 9.0, writable=False), NOTHING, "server_silent"),
    ("the lease ran out", BASE, END_SESSIONS, "lease_expired"),
    ("no heartbeat for a whole lease", local(beat=None), END_SESSIONS, "no_lease"),
    ("it answers again", dataclasses.replace(BASE, stand=Stand(NOW - 1.4, ME, 7)), ASK_PEERS, "lease_expired"),
    ("the keeper started", dataclasses.replace(local(beat=None), stand=None), ASK_PEERS, "no_lease"),
    ("a stand from the future", dataclasses.replace(BASE, stand=Stand(NOW + 5, ME, 7)), ASK_PEERS, "lease_expired"),
    ("nobody answers", heard(), END_SESSIONS, "peers_silent"),
    ("they answered long ago", heard(dataclasses.replace(SAME, asked_at=NOW - 9)), END_SESSIONS, "peers_silent"),
    ("k=1: all but one stopped", heard(OFF2, SAME3), END_SESSIONS, "lease_expired"),
    ("k=1: all stopped", heard(OFF2, OFF3), END_SESSIONS, "frozen"),
    ("k=2 of 2: one stopped", heard(OFF2, SAME3, facts=seen(k=2)), END_SESSIONS, "frozen"),
    (
        "stopped a moment ago",
        heard(OFF2, dataclasses.replace(OFF3, off_since=NOW - 0.5)),
        END_SESSIONS,
        "lease_expired",
    ),
    ("connecting", heard(OFF2, dataclasses.replace(SAME3, receiver="CONNECTING")), END_SESSIONS, "lease_expired"),
    (
        "stopped, and not registered",
        dataclasses.replace(heard(OFF2, OFF3), acknowledgers=frozenset({NEW, "fourth"})),
        END_SESSIONS,
        "lease_expired",
    ),
    ("nobody is registered", dataclasses.replace(heard(OFF2, OFF3), acknowledgers=frozenset()), END_SESSIONS, None),
    ("deposed", heard(NEWER, SAME3), FENCE, "deposed"),
    ("deposed by a revision", heard(dataclasses.replace(NEWER, term=7)), FENCE, "deposed"),
    ("deposed, said long ago", heard(dataclasses.replace(NEWER, asked_at=NOW - 99)), FENCE, "deposed"),
    ("deposed, and it has just woken up", dataclasses.replace(heard(NEWER), stand=None), FENCE, "deposed"),
    (
        "deposed, and commits wait for nobody",
        heard(NEWER, facts=local(beat=dataclasses.replace(YOUNG, source_active=False))),
        FENCE,
        "deposed",
    ),
    ("deposed and offline", heard(NEWER, facts=seen(**OFFLINE)), FENCE, "deposed"),
    ("deposed, offline, read-only", heard(NEWER, facts=seen(**OFFLINE, super_read_only=True)), FENCE, "deposed"),
    ("offline, and not deposed", seen(**OFFLINE), ASK_PEERS, "offline"),
    (
        "a newer row that names us",
        heard(dataclasses.replace(NEWER, primary_uuid=ME)),
        END_SESSIONS,
        "lease_expired",
    ),
    (
        "a newer row that names another, and a yet newer one that names us",
        heard(NEWER, dataclasses.replace(SAME3, term=9, revision=11)),
        END_SESSIONS,
        "lease_expired",
    ),
    ("our own row, naming another", heard(dataclasses.replace(NEWER, term=7, revision=9)), END_SESSIONS, None),
    ("an older row, naming another", heard(dataclasses.replace(NEWER, term=6, revision=8)), END_SESSIONS, None),
    ("a peer without a term row", heard(Heard("db2", NEW, NOW - 0.1)), END_SESSIONS, "lease_expired"),
    (
        "semi-sync was switched off",
        local(beat=dataclasses.replace(YOUNG, source_active=False)),
        ASK_PEERS,
        "not_acknowledged",
    ),
]


@pytest.mark.parametrize(("facts", "action", "code"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_decision_table(facts: Facts, action: str, code: str | None) -> None:
    decision = decide(facts, TIMING)
    assert decision.action == action
    assert code is None or decision.code == code
    assert decision.text


def test_a_deposition_says_by_whom_and_in_which_term() -> None:
    decision = decide(heard(NEWER, SAME3), TIMING)
    assert decision.deposed_by == NEWER
    assert "db2 holds term 8.10, which names new" in decision.text
    assert (decision.term, decision.revision) == (7, 9)


def test_frozen_says_who_is_stopped() -> None:
    assert "db2, db3 are stopped" in decide(heard(OFF2, OFF3), TIMING).text


def test_how_long_it_stands() -> None:
    started = fence.stand(lease.Facts(NOW, SEEN, None), TIMING, None)
    assert started == Stand(NOW, ME, 7)
    later = lease.Facts(NOW + 0.5, dataclasses.replace(SEEN, asked_at=NOW + 0.5), OLD)
    assert fence.stand(later, TIMING, started) == started
    hung = lease.Facts(NOW + 3.0, SEEN, OLD)
    assert fence.stand(hung, TIMING, started) is None
    closed = dataclasses.replace(later, seen=dataclasses.replace(SEEN, asked_at=NOW + 0.5, writable=False))
    assert fence.stand(closed, TIMING, started) is None
    for other in ({"term": 8}, {"server_uuid": NEW, "primary_uuid": NEW}):
        facts = dataclasses.replace(later, seen=dataclasses.replace(SEEN, asked_at=NOW + 0.5, **other))
        found = fence.stand(facts, TIMING, started)
        assert found is not None and found.since == NOW + 0.5


@pytest.mark.parametrize(
    ("action", "changes", "holds"),
    [
        (END_SESSIONS, {}, True),
        (END_SESSIONS, {"revision": 10}, False),
        (END_SESSIONS, {"term": 8}, False),
        (END_SESSIONS, {"primary_uuid": NEW}, False),
        (END_SESSIONS, {"writable": False}, False),
        (END_SESSIONS, OFFLINE, False),
        (FENCE, {}, True),
        (FENCE, OFFLINE, True),
        (FENCE, {"writable": False, "super_read_only": True}, False),
        (FENCE, {"revision": 10, "term": 8, "primary_uuid": NEW}, False),
    ],
)
def test_who_acts_looks_again(action: str, changes: dict[str, object], holds: bool) -> None:
    decision = Decision(action, "x", "x", 7, 9)
    assert fence.still_holds(decision, dataclasses.replace(SEEN, **changes)) is holds


# --- invariants ------------------------------------------------------------------------------------------------------
uuids = st.sampled_from([ME, ME, ME, NEW])
times = st.sampled_from([NOW, NOW - 0.1, NOW - 1.4, NOW - 1.6, NOW - 60, NOW + 1])
all_seen = st.builds(
    Seen,
    asked_at=times,
    server_uuid=uuids,
    writable=st.sampled_from([True, True, False]),
    term=st.sampled_from([7, 7, 7, 8, None]),
    revision=st.integers(8, 11),
    primary_uuid=uuids,
    k=st.integers(0, 2),
    offline=st.booleans(),
    super_read_only=st.booleans(),
)
all_beats = st.builds(
    Beat,
    sent_at=times,
    server_uuid=uuids,
    term=st.sampled_from([7, 7, 8]),
    source_active=st.sampled_from([True, True, False]),
)
all_heard = st.lists(
    st.builds(
        Heard,
        name=st.sampled_from(["db2", "db3"]),
        server_uuid=st.sampled_from([NEW, THIRD]),
        asked_at=times,
        term=st.integers(6, 9),
        revision=st.integers(8, 12),
        primary_uuid=st.sampled_from([ME, NEW, THIRD, ""]),
        receiver=st.sampled_from(["ON", "CONNECTING", "OFF"]),
        off_since=st.one_of(st.none(), times),
    ),
    max_size=3,
).map(tuple)
cases = st.builds(
    Facts,
    local=st.builds(
        lease.Facts,
        now=st.just(NOW),
        seen=st.one_of(st.none(), all_seen, all_seen, all_seen),
        beat=st.one_of(st.none(), all_beats, all_beats),
        gone=st.sampled_from(["", "", "", "refused"]),
        stopping=st.sampled_from([False, False, False, True]),
    ),
    stand=st.one_of(st.none(), st.builds(Stand, times, st.just(ME), st.just(7))),
    acknowledgers=st.sampled_from([frozenset(), frozenset({NEW}), frozenset({NEW, THIRD})]),
    heard=all_heard,
)


def violated(facts: Facts, decision: Decision) -> str:
    """Which promise the decision breaks. Written anew from the promises, not from the code."""
    s, b, now = facts.local.seen, facts.local.beat, facts.local.now
    if not decision.code or not decision.text:
        return "gave no reason"
    if decision.action not in (NOTHING, ASK_PEERS, END_SESSIONS, FENCE):
        return "did what there is no word for"
    if decision.action == NOTHING:
        return ""
    if facts.local.stopping or facts.local.gone or s is None:
        return "acted on a server that nobody can reach"
    if s.term is None or s.primary_uuid != s.server_uuid:
        return "acted on a server that its own row does not name"
    if not s.writable and not s.offline:
        return "acted on a server that is closed"
    leased = (
        b is not None
        and (b.server_uuid, b.term) == (s.server_uuid, s.term)
        and 0 <= now - b.sent_at <= TIMING.lease
        and (s.k == 0 or (b.source_active and b.wait_count >= s.k))
        and s.writable
        and 0 <= now - s.asked_at <= TIMING.lease
    )
    if leased:
        return "acted with a young lease"
    if decision.action == ASK_PEERS:
        return ""
    if not 0 <= now - s.asked_at <= TIMING.lease:
        return "acted on a server that does not answer"
    newest = max((h for h in facts.heard), key=lambda h: (h.term, h.revision), default=None)
    deposed = (
        newest is not None
        and (newest.term, newest.revision) > (s.term, s.revision)
        and newest.primary_uuid not in ("", s.server_uuid)
    )
    if decision.action == FENCE:
        return "" if deposed else "fenced a server that nobody deposed"
    if deposed:
        return "left a deposed server open"
    if not s.writable:
        return "ended sessions where nobody writes"
    if facts.stand is None or not now - facts.stand.since >= TIMING.lease:
        return "gave the heartbeat no chance"
    return ""


Decide = Callable[[Facts, Timing], Decision]


@settings(max_examples=1000)
@given(cases)
@example(BASE)
@example(heard(NEWER))
def test_no_decision_breaks_a_promise(facts: Facts) -> None:
    assert violated(facts, decide(facts, TIMING)) == ""


def _changed(change: Callable[[Facts], Facts]) -> Decide:
    return lambda facts, timing: decide(change(facts), timing)


def _seen(facts: Facts, **changes: object) -> Facts:
    now = facts.local.seen and dataclasses.replace(facts.local.seen, **changes)
    return dataclasses.replace(facts, local=dataclasses.replace(facts.local, seen=now))


def _instead(action: str, other: str, code: str = "") -> Decide:
    def mutant(facts: Facts, timing: Timing) -> Decision:
        decision = decide(facts, timing)
        hit = decision.action == action and code in ("", decision.code)
        return dataclasses.replace(decision, action=other) if hit else decision

    return mutant


MUTANTS: dict[str, Decide] = {
    "the lease is not looked at": _changed(
        lambda f: dataclasses.replace(f, local=dataclasses.replace(f.local, beat=None))
    ),
    "a stop is not noticed": _changed(
        lambda f: dataclasses.replace(f, local=dataclasses.replace(f.local, stopping=False))
    ),
    "a dead mysqld is not noticed": _changed(
        lambda f: dataclasses.replace(f, local=dataclasses.replace(f.local, gone=""))
    ),
    "an old answer is as good as a new one": _changed(lambda f: _seen(f, asked_at=NOW)),
    "who the row names is not looked at": _changed(
        lambda f: _seen(f, primary_uuid=f.local.seen.server_uuid) if f.local.seen else f
    ),
    "a closed server is fenced, too": _changed(lambda f: _seen(f, writable=True)),
    "any newer row deposes": _changed(
        lambda f: dataclasses.replace(f, heard=tuple(dataclasses.replace(h, primary_uuid=NEW) for h in f.heard))
    ),
    "any row deposes": _changed(
        lambda f: dataclasses.replace(f, heard=tuple(dataclasses.replace(h, term=h.term + 5) for h in f.heard))
    ),
    "the first peer is believed": _changed(lambda f: dataclasses.replace(f, heard=f.heard[:1])),
    "no peer is believed": _changed(lambda f: dataclasses.replace(f, heard=())),
    "the heartbeat gets no chance": _changed(lambda f: dataclasses.replace(f, stand=LONG)),
    "stopped receivers depose": _instead(END_SESSIONS, FENCE, "frozen"),
    "silence deposes": _instead(END_SESSIONS, FENCE, "peers_silent"),
    "a server that is offline by hand is fenced": _instead(ASK_PEERS, FENCE, "offline"),
    "a lease in contradiction is fenced": _instead(NOTHING, FENCE, "contradiction"),
    "a fenced server is opened": _instead(FENCE, "open"),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS.keys())
def test_the_invariants_catch_a_broken_decision(mutant: Decide) -> None:
    caught = {violated(facts, mutant(facts, TIMING)) for _name, facts, *_expected in TABLE} - {""}
    assert caught, "the invariants do not notice this mutant"


def test_the_right_decision_is_not_caught() -> None:
    for _name, facts, *_expected in TABLE:
        assert violated(facts, decide(facts, TIMING)) == ""
