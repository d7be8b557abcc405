# SPDX-License-Identifier: GPL-3.0-or-later
"""Deciding a failover: every refusal has a situation, and no election loses what was received."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from itertools import combinations
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover import plan
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.plan import (
    EMERGENCY,
    PLANNED,
    TO_REMAINING,
    Elected,
    NextTerm,
    Request,
    Start,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet, union
from ansible_collections.lossless.mysql_ha.plugins.module_utils.refusal import Reason, Refusal
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    CONNECTING,
    LOGIN_FAILED,
    NOT_SUPPORTED,
    OFF,
    ON,
    TIMED_OUT,
    TLS_FAILED,
    Applier,
    Observation,
    SemiSync,
    ServerState,
    TermRow,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology import durability
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology import proof as proofs
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.diagnose import (
    Diagnosis,
    ServerVerdict,
    diagnose,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.testimony import judge
from ansible_collections.lossless.mysql_ha.tests.unit.topology.situations import (
    after_crash,
    bare,
    cut,
    frozen,
    gtids,
    healthy,
    member,
    no_answer,
    observe,
    primary,
    receiver,
    replaced,
    replica,
    term,
    uuid,
)
from hypothesis import given
from hypothesis import strategies as st

T = term(3, 1)
H = healthy(T)
DEAD = after_crash(T)
LATE = {"applier": Applier(ON, delay=3600)}
STOPPED = {"receiver": receiver(state=OFF)}
NO_ROWS = {"term": None, "heartbeats": ()}


def ask(mode: str, seen: Observation, **request: Any) -> Start | Refusal:
    return plan.may_start(Request(mode, **request), seen, diagnose(seen))


def begun(mode: str = EMERGENCY, row: TermRow = T, **changes: Any) -> Start:
    """A failover that may start, all acknowledgers answering."""
    seen = after_crash(row) if mode == EMERGENCY else healthy(row)
    start = ask(mode, seen)
    assert isinstance(start, Start), start
    return dataclasses.replace(start, **changes)


# --- may it start ----------------------------------------------------------------------------------------------------
REFUSED: list[tuple[str, str, Observation, dict[str, Any], tuple[str, ...]]] = [
    # what, mode, seen, request, all the codes
    ("no member of that name", PLANNED, H, {"primary": "db9"}, ("unknown_primary",)),
    ("no member of that name, in an emergency", EMERGENCY, DEAD, {"primary": "db9"}, ("unknown_primary",)),
    (
        "nobody answers",
        EMERGENCY,
        observe(no_answer(1, TIMED_OUT), no_answer(2, TIMED_OUT)),
        {},
        ("topology_no_answer",),
    ),
    ("fresh servers", PLANNED, observe(bare(1), bare(2)), {}, ("topology_fresh", "acknowledgers_unknown")),
    (
        "nothing names a primary",
        EMERGENCY,
        observe(bare(1, executed=gtids("1:1-5")), bare(2)),
        {},
        ("topology_no_primary", "acknowledgers_unknown"),
    ),
    ("several writable", PLANNED, replaced(H, primary(T, 3)), {}, ("topology_several_writable",)),
    ("several writable, in an emergency", EMERGENCY, replaced(H, primary(T, 3)), {}, ("topology_several_writable",)),
    (
        "no term row",
        EMERGENCY,
        observe(no_answer(1), cut(replica(T, 2, **NO_ROWS))),
        {},
        ("acknowledgers_unknown",),
    ),
    # planned
    ("the primary is dead", PLANNED, DEAD, {}, ("not_lossless_primary_dead",)),
    (
        "the primary may be dead",
        PLANNED,
        after_crash(T, TIMED_OUT),
        {},
        ("not_lossless_primary_dead_uncertain",),
    ),
    (
        "the primary waits for nobody",
        PLANNED,
        replaced(H, primary(T, semi_sync=dataclasses.replace(primary(T).semi_sync, source_active=False))),
        {},
        ("not_lossless_asynchronous",),
    ),
    ("no heartbeat", PLANNED, replaced(H, primary(T, heartbeats=())), {}, ("not_lossless_lossless_uncertain",)),
    ("writes are blocked", PLANNED, replaced(H, primary(T, read_only=True)), {}, ("not_lossless_no_writes",)),
    (
        "the target is no acknowledger",
        PLANNED,
        observe(primary(term(2)), replica(term(2), 2), bare(3)),
        {"primary": "db3"},
        ("not_an_acknowledger",),
    ),
    (
        "the target is silent",
        PLANNED,
        replaced(healthy(term(4, 2)), no_answer(3)),
        {"primary": "db3"},
        ("not_an_acknowledger",),
    ),
    (
        "a member is no MySQL",
        PLANNED,
        observe(primary(T), replica(T, 2), replica(T, 3), no_answer(4, NOT_SUPPORTED)),
        {},
        ("connect_not_supported",),
    ),
    (
        "the primary does not let us in",
        PLANNED,
        replaced(H, no_answer(1, TLS_FAILED)),
        {},
        ("not_lossless_primary_unreachable_from_here",),
    ),
    (
        "the target is stopped",
        PLANNED,
        replaced(H, replica(T, 3, **STOPPED)),
        {"primary": "db3"},
        ("target_not_healthy",),
    ),
    ("the target is delayed", PLANNED, replaced(H, replica(T, 3, **LATE)), {"primary": "db3"}, ("target_delayed",)),
    (
        "no target fits",
        PLANNED,
        replaced(H, replica(T, 2, **STOPPED), replica(T, 3, **LATE)),
        {},
        ("target_not_healthy", "target_delayed"),
    ),
    (
        "no acknowledger answers",
        PLANNED,
        replaced(H, no_answer(2), no_answer(3)),
        {},
        ("no_candidate", "too_few_acknowledgers"),
    ),
    ("one of two acknowledgers is away", PLANNED, replaced(H, no_answer(3)), {}, ("too_few_acknowledgers",)),
    # emergency
    ("the primary answers", EMERGENCY, H, {}, ("primary_alive",)),
    ("the primary answers, read-only", EMERGENCY, replaced(H, primary(T, read_only=True)), {}, ("primary_alive",)),
    ("it does not let us in", EMERGENCY, replaced(H, no_answer(1, LOGIN_FAILED)), {}, ("primary_alive_no_login",)),
    ("its certificate expired", EMERGENCY, replaced(H, no_answer(1, TLS_FAILED)), {}, ("primary_alive_no_login",)),
    ("too few answer", EMERGENCY, replaced(DEAD, no_answer(3)), {}, ("too_few_acknowledgers",)),
    (
        "enough to prove it, and another run could do the same with the other half",
        EMERGENCY,
        replaced(after_crash(term(5, 3)), no_answer(4), no_answer(5)),
        {"lower_k": plan.TO_REMAINING},
        ("too_few_acknowledgers",),
    ),
    (
        "nobody who may have acknowledged answers, and a person would accept the loss",
        EMERGENCY,
        observe(no_answer(1), no_answer(2), no_answer(3), bare(4, executed=gtids("1:1-5"), term=T)),
        {"accept_data_loss": "M. Mustermann"},
        ("no_candidate",),
    ),
    # all at once
    (
        "several things at once",
        EMERGENCY,
        replaced(H, no_answer(2), no_answer(3)),
        {"primary": "nobody"},
        ("unknown_primary", "primary_alive", "too_few_acknowledgers", "no_candidate"),
    ),
    (
        "several things at once, planned",
        PLANNED,
        replaced(H, no_answer(2), replica(T, 3, **LATE)),
        {},
        ("target_delayed", "too_few_acknowledgers"),
    ),
]


@pytest.mark.parametrize(
    ("mode", "seen", "request_", "codes"), [row[1:] for row in REFUSED], ids=[f"{r[1]}: {r[0]}" for r in REFUSED]
)
def test_what_may_not_start(mode: str, seen: Observation, request_: dict[str, Any], codes: tuple[str, ...]) -> None:
    refusal = ask(mode, seen, **request_)
    assert isinstance(refusal, Refusal)
    assert refusal.codes == codes
    assert all(reason.message and reason.next_step for reason in refusal.reasons)


ALLOWED: list[tuple[str, str, Observation, dict[str, Any], dict[str, Any]]] = [
    ("healthy", PLANNED, H, {}, {"acknowledgers": ("db2", "db3"), "required": 2, "locks": 2, "needs_silence": ()}),
    ("to a named server", PLANNED, H, {"primary": "db3"}, {"mode": PLANNED, "old_primary": "db1"}),
    (
        "at risk, and enough are left",
        PLANNED,
        replaced(healthy(term(4, 2)), no_answer(4)),
        {},
        {"acknowledgers": ("db2", "db3"), "required": 2, "locks": 2},
    ),
    ("one target fits", PLANNED, replaced(H, replica(T, 3, **LATE)), {}, {}),
    ("dead", EMERGENCY, DEAD, {}, {"old_primary": "db1", "old_primary_uuid": uuid(1), "needs_silence": ()}),
    (
        "hung: its replicas seem connected",
        EMERGENCY,
        replaced(H, no_answer(1, TIMED_OUT)),
        {},
        {"needs_silence": ("db2", "db3")},
    ),
    ("frozen by a run that died", EMERGENCY, replaced(DEAD, frozen(T, 2), frozen(T, 3)), {}, {"required": 2}),
    ("half promoted", EMERGENCY, replaced(DEAD, primary(T, 2)), {}, {"acknowledgers": ("db2", "db3")}),
    (
        "too few answer, and a person takes it upon themselves",
        EMERGENCY,
        replaced(DEAD, no_answer(3)),
        {"accept_data_loss": "M. Mustermann"},
        {"acknowledgers": ("db2",), "required": 2, "locks": 1},
    ),
    ("five servers, k=3", EMERGENCY, after_crash(term(5, 3)), {}, {"required": 2, "locks": 3}),
]


NEXT_STEPS: list[tuple[str, str, Observation, dict[str, Any], str, str]] = [
    # what, mode, seen, request, what the next step says, what it must not say
    ("wrong password", PLANNED, observe(no_answer(1, LOGIN_FAILED)), {}, "its password", "network"),
    ("nobody answers", PLANNED, observe(no_answer(1, TIMED_OUT)), {}, "control host's own network", "password"),
    ("expired", PLANNED, replaced(H, no_answer(1, TLS_FAILED)), {}, "certificate's dates", "use mode emergency"),
    ("dead", PLANNED, DEAD, {}, "use mode emergency", "certificate"),
    ("no login", EMERGENCY, replaced(H, no_answer(1, LOGIN_FAILED)), {}, "its password", "mode planned"),
    (
        "the target's certificate",
        PLANNED,
        replaced(healthy(term(4, 2)), no_answer(3, TLS_FAILED)),
        {"primary": "db3"},
        "certificate's dates",
        "Converge",
    ),
]


@pytest.mark.parametrize(
    ("mode", "seen", "request_", "says", "not_"), [row[1:] for row in NEXT_STEPS], ids=[row[0] for row in NEXT_STEPS]
)
def test_the_next_step_follows_from_the_kind_of_silence(
    mode: str, seen: Observation, request_: dict[str, Any], says: str, not_: str
) -> None:
    refusal = ask(mode, seen, **request_)
    assert isinstance(refusal, Refusal)
    next_step = refusal.as_error().next_step
    assert says in next_step
    assert not_ not in next_step


@pytest.mark.parametrize(
    ("mode", "seen", "request_", "fields"), [row[1:] for row in ALLOWED], ids=[f"{r[1]}: {r[0]}" for r in ALLOWED]
)
def test_what_may_start(mode: str, seen: Observation, request_: dict[str, Any], fields: dict[str, Any]) -> None:
    start = ask(mode, seen, **request_)
    assert isinstance(start, Start), start
    assert {name: getattr(start, name) for name in fields} == fields
    assert plan.sentences(dataclasses.replace(start, target="db2"), seen)


@pytest.mark.parametrize("row", [term(3, 0), dataclasses.replace(T, members=T.members[:1])])
@pytest.mark.parametrize("mode", [PLANNED, EMERGENCY])
def test_a_term_that_waits_for_nobody_ends_in_words_and_not_in_a_traceback(row: TermRow, mode: str) -> None:
    for seen in (healthy(row), after_crash(row)):
        assert isinstance(ask(mode, seen), (Start, Refusal))
        assert isinstance(ask(mode, seen, accept_data_loss="M. Mustermann"), (Start, Refusal))


def test_one_server_under_two_names_is_not_two_acknowledgers() -> None:
    twin = dataclasses.replace(cut(replica(T, 2)), name="db22")
    seen = observe(no_answer(1), cut(replica(T, 2)), twin, no_answer(3))
    refusal = ask(EMERGENCY, seen)
    assert isinstance(refusal, Refusal)
    assert refusal.codes == ("too_few_acknowledgers",)
    held = observe(frozen(T, 2), dataclasses.replace(frozen(T, 2), name="db22"), members=(member(2), member(22)))
    assert plan.enough_held(begun(), held, Request(EMERGENCY)) is not None


def test_every_refusal_code_has_a_situation() -> None:
    """The codes are read from the source, so that a new one without a row here fails."""
    in_source = set()
    for node in ast.walk(ast.parse(inspect.getsource(plan))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_reason":
            code = node.args[0]
            if isinstance(code, ast.Constant):
                in_source.add(code.value)
            else:
                assert isinstance(code, ast.JoinedStr)
                assert isinstance(code.values[0], ast.Constant)
                in_source.add(f"{code.values[0].value}*")
    shown = {code for row in REFUSED for code in row[4]}
    families = {code for code in in_source if code.endswith("*")}
    assert all(any(code.startswith(family[:-1]) for code in shown) for family in families)
    assert in_source - families - shown == LATER_CODES


# These come up after the start; each has a test below that names it.
LATER_CODES = {
    "replication_not_cut",
    "primary_alive_elsewhere",
    "too_few_frozen",
    "too_few_followers",
    "every_candidate_errant",
    "diverged",
    "no_able_candidate",
    "named_server_lacks_transactions",
    "too_few_acknowledgers_left",
    "long_transactions",
}


def test_every_verdict_without_a_primary_says_what_to_do() -> None:
    codes = {code for row in REFUSED for code in row[4]}
    assert {f"topology_{verdict}" for verdict in plan._NEXT_BY_VERDICT} <= codes


# --- silence ---------------------------------------------------------------------------------------------------------
HUNG = replaced(H, no_answer(1, TIMED_OUT))


@pytest.mark.parametrize(
    ("what", "after", "alive"),
    [
        ("connections that only look alive", HUNG, False),
        ("the receivers noticed", DEAD, False),
        ("a heartbeat came", replaced(HUNG, replica(T, 3, receiver=receiver(heartbeats=11))), True),
        ("a transaction came", replaced(HUNG, replica(T, 3, receiver=receiver(retrieved=gtids("1:1-101")))), True),
        ("it answers again", H, True),
    ],
)
def test_the_second_look(what: str, after: Observation, alive: bool) -> None:
    start = ask(EMERGENCY, HUNG)
    assert isinstance(start, Start)
    refusal = plan.silence(start, HUNG, after)
    assert (refusal is not None) is alive
    if refusal:
        assert refusal.codes == ("primary_alive_elsewhere",)


@pytest.mark.parametrize(("periods", "window"), [((0.5, 0.5), 1.2), ((0.5, 2.0), 4.2), ((0.0, 0.0), 2.2)])
def test_silence_has_to_last_for_more_than_two_heartbeats(periods: tuple[float, float], window: float) -> None:
    seen = observe(
        no_answer(1), *(replica(T, i, receiver=receiver(heartbeat_period=p)) for i, p in enumerate(periods, 2))
    )
    assert plan.silence_window(begun(), seen) == pytest.approx(window)


# --- held ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("what", "changes", "held"),
    [
        ("stopped", {"receiver": receiver(state=OFF)}, True),
        ("without a source", {"receiver": None, "applier": None}, True),
        ("still attached", {"receiver": receiver()}, False),
        (
            "connecting: it would acknowledge as soon as the old primary wakes",
            {"receiver": receiver(state=CONNECTING)},
            False,
        ),
        ("attached to another server, for it could not be stopped", {"receiver": receiver(3)}, False),
        ("connecting to another server: whoever answers there", {"receiver": receiver(3, state=CONNECTING)}, False),
        ("stopped, of another server", {"receiver": receiver(3, state=OFF)}, True),
        ("attached, and it does not say to whom", {"receiver": receiver(source_uuid="")}, False),
        ("connecting, and it was never connected", {"receiver": receiver(source_uuid="", state=CONNECTING)}, False),
        ("stopped, beside another channel", {"receiver": receiver(state=OFF), "channels": ("", "x")}, False),
        ("another channel alone", {"receiver": None, "applier": None, "channels": ("x",)}, False),
    ],
)
def test_who_is_held(what: str, changes: dict[str, Any], held: bool) -> None:
    seen = replaced(DEAD, replica(T, 2, **changes))
    assert [s.name for s in plan.held(begun(), seen)] == (["db2"] if held else [])


def test_what_is_held_is_what_the_proof_counts() -> None:
    """The plan and the proof must not disagree about what frozen means."""
    start = begun()
    for state in (ON, OFF, CONNECTING):
        for source in ("", uuid(1), uuid(3), uuid(9)):
            server = replica(T, 2, receiver=receiver(state=state, source_uuid=source))
            held = bool(plan.held(start, replaced(DEAD, server)))
            facts = proofs.gather(T, server, [server], judge(T, server, [server]), at=0.0)
            assert held == any(fact.claim == "frozen" for fact in facts), (state, source)


def test_servers_that_may_not_acknowledge_are_not_held() -> None:
    seen = replaced(DEAD, frozen(T, 2), frozen(T, 9))
    seen = dataclasses.replace(seen, members=(*seen.members, member(9)))
    assert [s.name for s in plan.held(begun(), seen)] == ["db2"]


@pytest.mark.parametrize(
    ("count", "accepted", "enough"), [(2, "", True), (1, "", False), (1, "me", True), (0, "", False), (0, "me", False)]
)
def test_enough_are_held_or_a_person_accepts_less_but_never_none(count: int, accepted: str, enough: bool) -> None:
    servers = [frozen(T, number) for number in range(2, 2 + count)]
    refusal = plan.enough_held(begun(), observe(*servers), Request(EMERGENCY, accept_data_loss=accepted))
    assert (refusal is None) is enough
    if refusal:
        assert refusal.codes == ("too_few_frozen",)


def test_who_is_not_held_is_named_with_the_reason() -> None:
    seen = observe(frozen(T, 2, channels=("", "audit")))
    refusal = plan.enough_held(begun(), seen, Request(EMERGENCY))
    assert refusal is not None
    assert refusal.reasons[0].evidence["not_held"] == {
        "db2": "it has further replication channels: audit",
        "db3": "it does not answer",
    }


@pytest.mark.parametrize(("following", "k", "enough"), [((), 1, False), (("db3",), 1, True), (("db3",), 2, False)])
def test_nobody_is_promoted_with_fewer_than_k_behind_it(following: tuple[str, ...], k: int, enough: bool) -> None:
    elected = plan.Elected("db2", uuid(2), gtids("1:1"), ())
    refusal = plan.enough_follow(elected, dataclasses.replace(T, k=k), following, {"db4": "access denied"})
    assert (refusal is None) is enough
    if refusal:
        assert refusal.codes == ("too_few_followers",)
        assert "db4: access denied" in refusal.reasons[0].message


# --- election --------------------------------------------------------------------------------------------------------
def elect(*servers: ServerState, **options: Any) -> Elected | Refusal:
    request = Request(EMERGENCY, primary=options.pop("primary", plan.AUTO))
    members = options.pop("members", tuple(member(number) for number in range(1, 10)))
    return plan.elect(request, begun(), servers, members, options.pop("errant", {}), **options)


def at(number: int, received: int, executed: int | None = None, **changes: Any) -> ServerState:
    """A held server by how far it received and executed."""
    executed = received if executed is None else executed
    return frozen(
        T,
        number,
        **{
            "executed": gtids(f"1:1-{executed}"),
            "receiver": receiver(state=OFF, retrieved=gtids(f"1:1-{received}")),
            **changes,
        },
    )


OPEN = {"read_only": False, "super_read_only": False}
PRIORITIES = (member(2, priority=10), member(3, priority=200), member(4, priority=100))


@pytest.mark.parametrize(
    ("what", "servers", "options", "winner"),
    [
        ("the most advanced by what it received, not by what it executed", [at(2, 100, 50), at(3, 90, 90)], {}, "db2"),
        ("equal: the higher priority", [at(2, 100), at(3, 100), at(4, 100)], {"members": PRIORITIES}, "db3"),
        ("priority never beats transactions", [at(2, 101), at(3, 100)], {"members": PRIORITIES}, "db2"),
        ("equal priority: less to apply", [at(2, 100, 10), at(3, 100, 90)], {}, "db3"),
        ("all equal: the name", [at(4, 100), at(3, 100), at(2, 100)], {}, "db2"),
        ("the one asked for", [at(2, 100), at(3, 100)], {"primary": "db3"}, "db3"),
        (
            "the one asked for beats priority",
            [at(2, 100), at(3, 100)],
            {"primary": "db2", "members": PRIORITIES},
            "db2",
        ),
        (
            "one that is promoted half-way beats the one asked for",
            [at(2, 100), at(3, 100, **OPEN)],
            {"primary": "db2"},
            "db3",
        ),
        ("an errant server is left out", [at(2, 100), at(3, 100)], {"errant": {"db2": gtids("2:1")}}, "db3"),
        (
            "an errant server's surplus is nobody's lack",
            [at(2, 120), at(3, 100)],
            {"errant": {"db2": gtids("2:1")}},
            "db3",
        ),
        ("a delayed server is left out", [at(2, 100, **LATE), at(3, 100)], {}, "db3"),
        ("one whose applier failed is left out", [at(2, 100), at(3, 100)], {"excluded": ["db2"]}, "db3"),
        ("an unknown priority is the lowest", [at(2, 100), at(3, 100)], {"members": PRIORITIES[1:]}, "db3"),
    ],
)
def test_who_is_elected(what: str, servers: list[ServerState], options: dict[str, Any], winner: str) -> None:
    for order in (servers, servers[::-1]):
        elected = elect(*order, **options)
        assert isinstance(elected, Elected), elected
        assert (elected.name, elected.server_uuid) == (winner, uuid(int(winner[2:])))
        assert elected.reasons


@pytest.mark.parametrize(
    ("what", "servers", "options", "code"),
    [
        ("all are errant", [at(2, 100)], {"errant": {"db2": gtids("2:1")}}, "every_candidate_errant"),
        ("none is held", [], {}, "every_candidate_errant"),
        ("two went apart", [frozen(T, 2, executed=gtids("1:1-100,7:1")), at(3, 101)], {}, "diverged"),
        ("the only complete one is delayed", [at(2, 101, **LATE), at(3, 100)], {}, "no_able_candidate"),
        ("the only complete one can not apply", [at(2, 101), at(3, 100)], {"excluded": ["db2"]}, "no_able_candidate"),
        (
            "the one asked for is behind",
            [at(2, 101), at(3, 100)],
            {"primary": "db3"},
            "named_server_lacks_transactions",
        ),
        ("the one asked for was not held", [at(2, 101)], {"primary": "db3"}, "named_server_lacks_transactions"),
    ],
)
def test_when_nobody_is_elected(what: str, servers: list[ServerState], options: dict[str, Any], code: str) -> None:
    refusal = elect(*servers, **options)
    assert isinstance(refusal, Refusal)
    assert refusal.codes == (code,)
    assert refusal.reasons[0].next_step


gtid_sets = st.dictionaries(
    st.sampled_from([(uuid(1), ""), (uuid(1), "nightly"), (uuid(7), "")]),
    st.tuples(st.integers(1, 4), st.integers(0, 4)).map(lambda p: [(p[0], p[0] + p[1])]),
    max_size=3,
).map(GtidSet)
held_servers = st.builds(
    lambda number, executed, retrieved, delay, writable: frozen(
        T,
        number,
        executed=executed,
        receiver=receiver(state=OFF, retrieved=retrieved),
        applier=Applier(ON, delay=delay),
        read_only=not writable,
        super_read_only=not writable,
    ),
    st.integers(2, 7),
    gtid_sets,
    gtid_sets,
    st.sampled_from([0, 0, 0, 60]),
    st.booleans(),
)
sequences = st.integers(1, 30).flatmap(
    lambda last: st.lists(
        st.builds(at, st.integers(2, 7), st.integers(1, last), st.integers(1, last)), min_size=1, max_size=5
    )
)


@given(
    servers=st.one_of(
        st.lists(held_servers, min_size=1, max_size=5, unique_by=lambda s: s.name),
        sequences.map(lambda found: list({s.name: s for s in found}.values())),
    ),
    stray=st.sets(st.integers(2, 7), max_size=2),
    excluded=st.sets(st.integers(2, 7), max_size=2),
    asked=st.sampled_from(["auto", "db2", "db3", "db9"]),
    priorities=st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
def test_the_elected_server_received_everything_and_is_fit(
    servers: list[ServerState], stray: set[int], excluded: set[int], asked: str, priorities: list[int]
) -> None:
    errant = {f"db{n}": gtids(f"{n}:1") for n in stray if f"db{n}" in {s.name for s in servers}}
    out = {f"db{n}" for n in excluded}
    members = tuple(member(n, priority=p) for n, p in enumerate(priorities, 2))
    outcome = elect(*servers, primary=asked, errant=errant, excluded=sorted(out), members=members)
    sound = [s for s in servers if s.name not in errant]
    everything = union(s.received for s in sound)
    able = [s for s in sound if everything <= s.received and s.name not in out and not (s.applier and s.applier.delay)]
    if isinstance(outcome, Refusal):
        assert not able or asked not in ("auto", *(s.name for s in able))
        return
    winner = next(s for s in servers if s.name == outcome.name)
    assert winner in able
    assert everything <= winner.received
    assert outcome.received == everything
    if asked != "auto" and not any(s.writable for s in able):
        assert outcome.name == asked
    if asked == "auto" and not any(s.writable for s in able):
        best = max(priorities[int(s.name[2:]) - 2] for s in able)
        assert priorities[int(winner.name[2:]) - 2] == best
    if any(s.writable for s in able):
        assert winner.writable


# --- the next term ---------------------------------------------------------------------------------------------------
def after(
    following: list[str], row: TermRow = T, *, elected: int = 2, answered: list[int] | None = None, **options: Any
) -> NextTerm | Refusal:
    members = options.pop("members", tuple(member(i) for i in range(1, len(row.members) + 1)))
    uuids = {f"db{n}": uuid(n) for n in (range(2, len(row.members) + 1) if answered is None else answered)}
    request = Request(EMERGENCY, **options)
    start = dataclasses.replace(begun(), term=row, required=1)
    return plan.next_term(
        start, f"db{elected}", uuid(elected), following, members, uuids, request, proof="proven", run_id="run-1"
    )


def test_the_next_term_names_the_new_primary_and_who_may_acknowledge() -> None:
    row = dataclasses.replace(term(4, 2), term=7, revision=12, acknowledgement="memory", no_tx_base=99)
    decided = after(["db3", "db4"], row)
    assert isinstance(decided, NextTerm)
    new = decided.row
    assert (new.term, new.revision, new.primary_uuid, new.k, new.n) == (8, 13, uuid(2), 2, 2)
    assert (new.wait_point, new.acknowledgement, new.no_tx_base) == ("AFTER_SYNC", "memory", 0)
    assert (new.proof, new.run_id, new.reason) == ("proven", "run-1", "emergency: db1 to db2")
    assert [m.name for m in new.acknowledgers] == ["db3", "db4"]
    assert decided.notes == ()


def test_who_does_not_follow_may_not_acknowledge() -> None:
    """Neither the dead primary nor a server that was not repointed: n is a fact, not a guess."""
    decided = after(["db3"], term(4, 1))
    assert isinstance(decided, NextTerm)
    acknowledges = {m.name: m.acknowledges for m in decided.row.members}
    assert acknowledges == {"db1": False, "db2": True, "db3": True, "db4": False}
    assert decided.row.n == 1


def test_who_is_out_of_service_is_to_be_brought_back_before_a_switchover_to_it() -> None:
    row = term(3, 1)
    out = tuple(dataclasses.replace(m, acknowledges=False, out="disk") if m.name == "db3" else m for m in row.members)
    row = dataclasses.replace(row, members=out)
    seen = observe(primary(row), replica(row, 2), replica(row, 3, semi_sync=SemiSync()))
    decided = plan.may_start(Request(PLANNED, primary="db3"), seen, diagnose(seen))
    assert isinstance(decided, Refusal)
    assert decided.codes == ("not_an_acknowledger",)
    assert "Bring it back into service" in decided.reasons[0].next_step


def test_who_is_out_of_service_stays_out_over_a_failover() -> None:
    row = term(4, 1)
    out = tuple(dataclasses.replace(m, acknowledges=False, out="disk") if m.name == "db4" else m for m in row.members)
    decided = after(["db3"], dataclasses.replace(row, members=out))
    assert isinstance(decided, NextTerm)
    assert decided.row.out_of_service == {uuid(4): "disk"}
    decided = after(["db3", "db4"], dataclasses.replace(row, members=out))
    assert isinstance(decided, NextTerm)
    assert not decided.row.out_of_service, "who is let in is in service"


def test_a_registered_server_that_is_no_longer_a_member_is_kept_as_one_that_may_not_acknowledge() -> None:
    decided = after(["db3"], term(4, 1), members=(member(2), member(3)))
    assert isinstance(decided, NextTerm)
    assert {m.name: m.acknowledges for m in decided.row.members} == {
        "db2": True,
        "db3": True,
        "db1": False,
        "db4": False,
    }
    assert len({m.server_uuid for m in decided.row.members}) == 4


def test_a_member_that_was_never_seen_has_no_place_in_a_term() -> None:
    decided = after(["db3"], members=tuple(member(i) for i in (1, 2, 3, 9)))
    assert isinstance(decided, NextTerm)
    assert {m.name for m in decided.row.members} == {"db1", "db2", "db3"}
    assert all(m.server_uuid for m in decided.row.members)


def test_a_new_address_of_a_member_is_taken_into_the_term() -> None:
    decided = after(["db3"], members=(member(1), member(2), member(3, host="10.9.9.9", zone="b")))
    assert isinstance(decided, NextTerm)
    (third,) = [m for m in decided.row.members if m.name == "db3"]
    assert (third.host, third.zone, third.server_uuid) == ("10.9.9.9", "b", uuid(3))


def test_a_rebuilt_server_of_the_same_name_is_another_server() -> None:
    start = dataclasses.replace(begun(), term=T)
    uuids = {"db2": uuid(2), "db3": uuid(33)}
    decided = plan.next_term(
        start,
        "db2",
        uuid(2),
        ["db3"],
        tuple(member(i) for i in (1, 2, 3)),
        uuids,
        Request(EMERGENCY),
        proof="proven",
        run_id="r",
    )
    assert isinstance(decided, NextTerm)
    assert {m.server_uuid: m.acknowledges for m in decided.row.members} == {
        uuid(1): False,
        uuid(2): True,
        uuid(33): True,
        uuid(3): False,
    }


@pytest.mark.parametrize(
    ("size", "k", "following", "lower", "result"),
    [
        (3, 1, 1, "never", 1),
        (4, 2, 2, "never", 2),
        (4, 2, 1, "never", None),
        (4, 2, 1, TO_REMAINING, 1),
        (5, 3, 2, TO_REMAINING, 2),
        (5, 3, 3, TO_REMAINING, 3),
        (3, 1, 0, "never", None),
        (3, 1, 0, TO_REMAINING, None),
        (4, 2, 0, TO_REMAINING, None),
    ],
)
def test_k_is_lowered_by_policy_only_and_never_to_nothing(
    size: int, k: int, following: int, lower: str, result: int | None
) -> None:
    decided = after([f"db{i}" for i in range(3, 3 + following)], term(size, k), lower_k=lower)
    if result is None:
        assert isinstance(decided, Refusal)
        assert decided.codes == ("too_few_acknowledgers_left",)
        return
    assert isinstance(decided, NextTerm)
    assert decided.row.k == result <= decided.row.n
    assert bool(decided.notes) is (result < k), "a lowered k is said"


@given(size=st.integers(2, 6), data=st.data())
def test_the_next_term_can_always_be_written_and_failed_over_from(size: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, size - 1))
    elected = data.draw(st.integers(2, size))
    following = data.draw(st.sets(st.integers(2, size)))
    lower = data.draw(st.sampled_from(["never", TO_REMAINING]))
    decided = after([f"db{n}" for n in sorted(following)], term(size, k), elected=elected, lower_k=lower)
    followers = following - {elected}
    if isinstance(decided, Refusal):
        assert len(followers) < k
        return
    row = decided.row
    assert {m.server_uuid for m in row.acknowledgers} == {uuid(n) for n in followers}
    assert 1 <= row.k <= row.n
    assert row.k == k or (lower == TO_REMAINING and row.k == row.n)
    assert durability.freeze_required(row.n, row.k) <= row.n


# --- promotion -------------------------------------------------------------------------------------------------------
def proof(*, holds: bool) -> proofs.Proof:
    servers = (frozen(T, 2), frozen(T, 3)) if holds else (frozen(T, 2, heartbeats=(), settings={}),)
    testimony = judge(T, servers[0], servers)
    return proofs.prove(T, servers[0], servers, testimony, proofs.gather(T, servers[0], servers, testimony, at=0.0))


def test_a_proven_promotion_needs_no_name() -> None:
    assert plan.may_promote(proof(holds=True), Request(EMERGENCY)) is None


def test_an_unproven_promotion_needs_one_and_says_everything_that_is_missing() -> None:
    refusal = plan.may_promote(proof(holds=False), Request(EMERGENCY))
    assert refusal is not None
    assert set(refusal.codes) == {"too_few_frozen", "unsafe_settings", "semi_sync_unobserved"}
    assert all(reason.evidence["claim"] and reason.next_step for reason in refusal.reasons)
    assert plan.may_promote(proof(holds=False), Request(EMERGENCY, accept_data_loss="M. Mustermann")) is None


def test_a_refusal_names_all_its_reasons() -> None:
    refusal = Refusal.of([Reason("a", "one", {"x": 1}, "do this"), Reason("b", "two", {}, "do that")])
    result = refusal.as_result()
    assert (result["code"], result["msg"], result["next_step"]) == ("a", "one (and 1 more)", "do this")
    assert [r["code"] for r in result["reasons"]] == ["a", "b"]
    error = refusal.as_error()
    assert (error.code, error.next_step) == ("a", "do this do that")
    assert "one" in error.message
    assert "two" in error.message
    with pytest.raises(ValueError, match="without a reason"):
        Refusal(())


# --- planned ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("seen", "asked", "target"),
    [
        (H, "db3", "db3"),
        (H, "auto", "db2"),
        (replaced(H, replica(T, 2, **LATE)), "auto", "db3"),
        (replaced(H, replica(T, 2, executed=gtids("1:1-50"))), "auto", "db3"),
        (dataclasses.replace(H, members=(member(1), member(2), member(3, priority=101))), "auto", "db3"),
    ],
)
def test_the_target_of_a_switchover(seen: Observation, asked: str, target: str) -> None:
    start = ask(PLANNED, seen)
    assert isinstance(start, Start)
    assert plan.choose_target(Request(PLANNED, primary=asked), start, seen, diagnose(seen)) == target


def test_without_a_fit_target_there_is_none() -> None:
    seen = replaced(H, replica(T, 2, **LATE), replica(T, 3, **STOPPED))
    refusal = plan.choose_target(Request(PLANNED), begun(PLANNED), seen, diagnose(seen))
    assert isinstance(refusal, Refusal)
    assert refusal.codes == ("no_candidate",)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
def test_whoever_is_moved_ahead_k_that_acknowledge_stay_with_the_old_primary(size: int) -> None:
    """Brute force over every k, every set of acknowledgers that are attached, and every target among them."""
    names = [f"db{i}" for i in range(2, size + 1)]
    for k in range(1, size):
        row = term(size, k)
        for count in range(1, size):
            for attached in combinations(names, count):
                idle = [replica(row, int(name[2:]), **STOPPED) for name in names if name not in attached]
                seen = replaced(healthy(row), *idle)
                start = begun(PLANNED, row, acknowledgers=tuple(names))
                for target in attached:
                    ahead = plan.moved_ahead(start, seen, target)
                    assert target not in ahead
                    assert set(ahead) <= set(attached), "one that acknowledges nothing is no help to move"
                    staying = len(attached) - len(ahead)
                    assert staying >= min(k, len(attached))
                    if len(attached) >= k:
                        assert staying == k, "whoever need not stay is moved while writes go on"


def test_long_transactions_are_named_before_anything_is_touched() -> None:
    start = begun(PLANNED)
    assert plan.quick_enough(start, []) is None
    refusal = plan.quick_enough(start, [{"thread": 7, "seconds": 90}])
    assert refusal is not None
    assert refusal.codes == ("long_transactions",)
    assert refusal.reasons[0].evidence["transactions"] == [{"thread": 7, "seconds": 90}]


# --- what somebody else has ended ------------------------------------------------------------------------------------
def later(term: int) -> TermRow:
    return dataclasses.replace(T, term=term, revision=term + 10, run_id="other")


@pytest.mark.parametrize(
    ("what", "request_", "begun_terms", "change", "ended"),
    [
        ("promoted after it had begun", {}, (1,), {}, True),
        ("several runs, all overtaken", {}, (1, 2), {}, True),
        ("nothing was taken up", {}, (), {}, False),
        ("the run went by the term in force", {}, (3,), {}, False),
        ("one of the runs did", {}, (1, 3), {}, False),
        ("a journal that does not say", {}, (0,), {}, False),
        ("a certain server is wanted", {"primary": "db3"}, (1,), {}, False),
        ("a switchover is wanted", {"mode": PLANNED}, (1,), {}, False),
        ("the new primary is dead", {}, (1,), {"server": "dead"}, False),
        ("the new primary takes no writes", {}, (1,), {"server": "primary_read_only"}, False),
        ("its replication is cut", {}, (1,), {"whole": "blocked"}, False),
        ("the old primary woke up", {}, (1,), {"whole": "several_writable"}, True),
        ("no term row", {}, (1,), {"term": None}, False),
    ],
)
def test_when_nothing_is_left_to_do(
    what: str, request_: dict[str, Any], begun_terms: tuple[int, ...], change: dict[str, Any], ended: bool
) -> None:
    row = change.get("term", later(3))
    server = ServerVerdict("db2", change.get("server", "primary"))
    seen = Diagnosis(change.get("whole", "lossless"), (), "db2", T.primary_uuid, row, {"db2": server}, None)
    found = plan.ended_elsewhere(Request(**{"mode": EMERGENCY, **request_}), begun_terms, seen)
    assert found == (row if ended else None), what
