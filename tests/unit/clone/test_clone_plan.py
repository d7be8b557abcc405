# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is cloned from whom, and everything that speaks against it, by tables. Each rule is shown failing once."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone import plan as clone_plan
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.plan import (
    EQUAL,
    CloneFacts,
    Ready,
    Running,
    Unchanged,
    Wanted,
    decide,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.progress import Progress, Stage
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import EMPTY, GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.refusal import Refusal
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    Applier,
    Member,
    NoAnswer,
    Observation,
    Receiver,
    SemiSync,
    ServerState,
    TermRow,
)


def uuid(number: int) -> str:
    return f"0000000{number}-0000-0000-0000-000000000000"


def gtids(last: int, number: int = 1, first: int = 1) -> GtidSet:
    return GtidSet.parse(f"{uuid(number)}:{first}-{last}")


VARIABLES = dict.fromkeys(EQUAL, "same") | {"max_allowed_packet": str(64 << 20), "mysqlx_port": "33060"}
FACTS = CloneFacts(
    variables=VARIABLES, plugins=frozenset({"clone", "InnoDB"}), data=1 << 30, user_tables=5, free=1 << 40
)
DB4 = Wanted("db4")
EMPTY_FACTS = dataclasses.replace(FACTS, data=0, user_tables=0)


def member(number: int) -> Member:
    return Member(f"db{number}", f"10.0.0.{number}", server_uuid=uuid(number))


class World:
    """db1 is primary with k of the acknowledgers, db4 is new and empty. What a test changes is there to be changed."""

    def __init__(self, acknowledgers: tuple[int, ...] = (2, 3), k: int = 1) -> None:
        row = TermRow(1, 1, uuid(1), tuple(member(n) for n in (1, *acknowledgers)), k, no_tx_base=0, written_at=1.0)
        self.states: dict[str, ServerState] = {
            "db1": ServerState(
                "db1",
                uuid(1),
                1,
                "8.4.6",
                gtids(100),
                semi_sync=SemiSync(True, True, True, wait_count=k, replica_installed=True),
                term=row,
            )
        }
        for n in acknowledgers:
            self.states[f"db{n}"] = self.replica(n, row, acknowledges=True)
        self.states["db4"] = ServerState("db4", uuid(4), 4, "8.4.6", EMPTY, read_only=True, super_read_only=True)
        self.facts = dict.fromkeys(self.states, FACTS) | {"db4": EMPTY_FACTS}
        self.silent: dict[str, NoAnswer] = {}

    @staticmethod
    def replica(number: int, row: TermRow, *, acknowledges: bool, executed: int = 100) -> ServerState:
        return ServerState(
            f"db{number}",
            uuid(number),
            number,
            "8.4.6",
            gtids(executed),
            read_only=True,
            super_read_only=True,
            receiver=Receiver("ON", "10.0.0.1", 3306, uuid(1), auto_position=True, retrieved=gtids(100)),
            applier=Applier("ON"),
            channels=("",),
            semi_sync=SemiSync(replica_installed=True, replica_enabled=acknowledges, replica_active=acknowledges),
            term=row,
        )

    def state(self, name: str, **changes: Any) -> World:
        self.states[name] = dataclasses.replace(self.states[name], **changes)
        return self

    def fact(self, name: str, **changes: Any) -> World:
        self.facts[name] = dataclasses.replace(self.facts[name], **changes)
        return self

    def gone(self, name: str) -> World:
        del self.states[name]
        self.silent[name] = NoAnswer(name, "timed_out", f"{name} says nothing")
        return self

    def decide(self, wanted: Wanted = DB4) -> clone_plan.Verdict:
        members = tuple(member(n) for n in range(1, 5))
        answers = {**self.states, **self.silent}
        return decide(wanted, Observation(members, answers), self.facts)


def codes(verdict: clone_plan.Verdict) -> set[str]:
    assert isinstance(verdict, Refusal), verdict
    assert all(reason.next_step for reason in verdict.reasons)
    return set(verdict.codes)


# --- the donor -------------------------------------------------------------------------------------------------------
def donor(world: World, wanted: Wanted = DB4) -> str:
    verdict = world.decide(wanted)
    assert isinstance(verdict, Ready), verdict
    return verdict.donor


def test_an_acknowledger_is_the_donor_only_while_k_others_acknowledge() -> None:
    assert donor(World((2, 3), k=1)) == "db2"
    assert donor(World((2, 3), k=2)) == "db1", "k of k: a slow donor would slow every commit"
    assert donor(World((2,), k=1)) == "db1"
    world = World((2, 3), k=2)
    assert codes(world.decide(Wanted("db4", "db2"))) == {"donor_is_last_acknowledger"}


def test_the_primary_that_waits_for_more_than_the_row_says_counts() -> None:
    world = World((2, 3), k=1)
    world.state("db1", semi_sync=dataclasses.replace(world.states["db1"].semi_sync, wait_count=2))
    assert donor(world) == "db1"


def test_a_replica_that_does_not_acknowledge_comes_first_and_then_who_lags_least() -> None:
    world = World((2, 3), k=1)
    quiet = dataclasses.replace(world.states["db3"].semi_sync, replica_enabled=False, replica_active=False)
    row = dataclasses.replace(
        world.states["db1"].term, members=(member(1), member(2), dataclasses.replace(member(3), acknowledges=False))
    )
    for name in ("db1", "db2", "db3"):
        world.state(name, term=row)
    world.state("db3", semi_sync=quiet, executed=gtids(50))
    assert donor(world) == "db3", "it lags, and holds up nobody"
    world = World((2, 3), k=1).state("db2", executed=gtids(90))
    assert donor(world) == "db3"


def test_with_a_replica_to_spare_the_primary_is_not_the_donor() -> None:
    world = World((2, 3), k=1)
    verdict = world.fact("db2", plugins=frozenset()).decide()
    assert isinstance(verdict, Ready) and verdict.donor == "db3"
    assert "plugin" in verdict.passed_over["db2"]


def test_a_given_donor_is_taken_or_refused_and_never_exchanged() -> None:
    assert donor(World(), Wanted("db4", "db3")) == "db3"
    assert donor(World(), Wanted("db4", "db1")) == "db1"
    world = World().fact("db3", tls=False)
    assert codes(world.decide(Wanted("db4", "db3"))) == {"donor_without_tls"}
    assert codes(World().decide(Wanted("db4", "db4"))) == {"donor_is_recipient"}
    assert codes(World().decide(Wanted("db4", "db9"))) == {"unknown_member"}
    assert codes(World().gone("db3").decide(Wanted("db4", "db3"))) == {"member_does_not_answer"}


def test_without_a_donor_everybody_is_named() -> None:
    world = World()
    for name in ("db1", "db2", "db3"):
        world.fact(name, tls=False)
    verdict = world.decide()
    assert codes(verdict) == {"donor_without_tls", "clone_not_possible"}
    assert isinstance(verdict, Refusal)
    assert set(verdict.reasons[-1].evidence["donors"]) == {"db1", "db2", "db3"}


def test_with_no_primary_the_fullest_server_is_copied() -> None:
    world = World()
    for name in ("db1", "db2", "db3"):
        world.state(name, term=None, receiver=None, read_only=True, super_read_only=True)
    world.state("db2", executed=gtids(120))
    verdict = world.decide()
    assert isinstance(verdict, Ready) and verdict.donor == "db2" and any("primary" in w for w in verdict.warnings)


# --- what speaks against it ------------------------------------------------------------------------------------------
SURPLUS = gtids(3, number=4)

AGAINST: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    # code: (which server, changes of its state, changes of its facts)
    "server_is_writable": ("db4", {"super_read_only": False}, {}),
    "still_acknowledges": ("db4", {"semi_sync": SemiSync(replica_active=True)}, {}),
    "is_a_source": ("db4", {}, {"sources_of": ("lossless_repl_9",)}),
    "recipient_has_data": ("db4", {}, {"user_tables": 3}),
    "clone_privilege_missing": ("db4", {}, {"may_clone": False}),
    "backup_lock_held": ("db4", {}, {"backup_locks": ("connection 7 of app: ALTER TABLE t",)}),
    "plugins_missing": ("db4", {}, {"plugins": frozenset({"clone"})}),
    "clone_settings_differ": ("db4", {}, {"variables": VARIABLES | {"collation_server": "utf8mb4_bin"}}),
    "disk_space_short": ("db4", {}, {"free": 1 << 30}),
    "versions_differ": ("db4", {"version": "8.0.40"}, {}),
    "max_allowed_packet_small": ("db4", {}, {"variables": VARIABLES | {"max_allowed_packet": "1048576"}}),
    "clone_plugin_missing": ("db1", {}, {"plugins": frozenset({"InnoDB"})}),
    "tables_not_innodb": ("db1", {}, {"not_innodb": ("app.old (MyISAM)",)}),
    "clone_account_unfit": ("db1", {}, {"account": "lossless_clone does not exist"}),
    "donor_without_tls": ("db1", {}, {"tls": False}),
    "keyring_missing": ("db1", {}, {"encrypted": 2}),
    "donor_offline": ("db1", {"offline_mode": True}, {}),
    "clone_in_progress": ("db1", {}, {"lends": True}),
    "donor_port_is_mysqlx": ("db1", {}, {"variables": VARIABLES | {"mysqlx_port": "3306"}}),
    "clone_incomplete": (
        "db1",
        {},
        {"user_tables": 0, "clone": Progress("Failed", stages=(Stage("DROP DATA", "Completed"),))},
    ),
}


@pytest.mark.parametrize("code", AGAINST)
def test_each_reason_alone(code: str) -> None:
    name, state, facts = AGAINST[code]
    world = World().state(name, **state).fact(name, **facts)
    assert codes(world.decide(Wanted("db4", "db1"))) == {code}


def test_all_reasons_at_once() -> None:
    world = World()
    for name, state, facts in AGAINST.values():
        for key, value in facts.items():
            if key == "variables":
                value = {**world.facts[name].variables, **{k: v for k, v in value.items() if v != VARIABLES[k]}}
            world.fact(name, **{key: value})
        world.state(name, **state)
    # These two exclude others: a plugin that is missing on both, and a wreck that has tables.
    expected = set(AGAINST) - {"plugins_missing", "clone_incomplete"}
    assert codes(world.decide(Wanted("db4", "db1"))) >= expected - {"clone_in_progress"}
    assert len(codes(world.decide(Wanted("db4", "db1")))) >= 17


def test_the_primary_and_a_registered_acknowledger_are_never_wiped() -> None:
    world = World().state("db3", applier=Applier("OFF", error_number=1062))
    assert "member_registered" in codes(world.decide(Wanted("db3", expendable=True)))
    assert "member_is_primary" in codes(World().decide(Wanted("db1", expendable=True)))


def test_a_donor_with_a_surplus_or_a_gap_is_none() -> None:
    world = World().state("db2", executed=gtids(100) | gtids(2, number=2))
    assert codes(world.decide(Wanted("db4", "db2"))) == {"errant_transactions"}
    verdict = world.decide()
    assert isinstance(verdict, Ready) and verdict.donor == "db3"
    world = World().state("db1", purged=gtids(95)).state("db2", executed=gtids(90))
    assert codes(world.decide(Wanted("db4", "db2"))) == {"purged_transactions_needed"}
    world = World().state("db2", applier=Applier("OFF", error_number=1062))
    assert codes(world.decide(Wanted("db4", "db2"))) == {"applier_broken"}


def test_the_disk_needs_the_donors_data_and_a_margin_less_what_is_dropped() -> None:
    needed = int((1 << 30) * (1 + clone_plan.MARGIN)) + clone_plan.SPARE
    assert codes(World().fact("db4", free=needed - 1).decide()) >= {"disk_space_short"}
    assert isinstance(World().fact("db4", free=needed).decide(), Ready)
    world = World().fact("db4", free=needed - (1 << 20), data=1 << 20)
    assert isinstance(world.decide(), Ready)
    unknown = World().fact("db4", free=None).decide()
    assert isinstance(unknown, Ready) and any("free space" in warning for warning in unknown.warnings)


# --- expendable ------------------------------------------------------------------------------------------------------
def test_data_go_only_when_they_are_named() -> None:
    world = World().state("db4", executed=SURPLUS).fact("db4", user_tables=3)
    verdict = world.decide()
    assert codes(verdict) == {"recipient_has_data"}
    assert isinstance(verdict, Refusal) and str(SURPLUS) in verdict.reasons[0].evidence["only_here"]
    ready = world.decide(Wanted("db4", expendable=True))
    assert isinstance(ready, Ready) and str(SURPLUS) in ready.wipes
    assert "expendable" in ready.sentence("db4")


def test_who_could_follow_as_it_is_is_told_so() -> None:
    verdict = World().state("db4", executed=gtids(50)).fact("db4", user_tables=3).decide()
    assert codes(verdict) == {"recipient_has_data"}
    assert isinstance(verdict, Refusal) and "mysql_replication" in verdict.reasons[0].next_step


def test_what_a_failed_clone_left_is_cloned_again_without_being_named() -> None:
    """Its gtid_executed may still claim what is gone."""
    wreck = Progress("Failed", stages=(Stage("DROP DATA", "Completed"), Stage("FILE COPY", "Failed")))
    world = World().state("db4", executed=gtids(100)).fact("db4", clone=wreck)
    verdict = world.decide()
    assert isinstance(verdict, Ready) and not verdict.wipes
    half_open = world.state("db4", super_read_only=False)
    assert isinstance(half_open.decide(), Ready), "as it was opened for the clone that failed"
    assert codes(half_open.state("db4", read_only=False).decide()) == {"server_is_writable"}
    world.state("db4", read_only=True, super_read_only=True)
    # The mutant that believes gtid_executed would call it unchanged.
    assert isinstance(World().state("db4", executed=gtids(100)).decide(), Unchanged)
    # Who has filled it since did so by other means.
    assert not isinstance(world.fact("db4", user_tables=1).decide(), Ready)
    untouched = Progress("Failed", stages=(Stage("DROP DATA", "Not Started"),))
    world = World().state("db4", executed=SURPLUS).fact("db4", clone=untouched, user_tables=0)
    assert codes(world.decide()) == {"recipient_has_data"}


# --- nothing to do ---------------------------------------------------------------------------------------------------
def done(source: str) -> Progress:
    return Progress("Completed", "2026-11-27 10:00:00", source, executed=str(gtids(90)))


@pytest.mark.parametrize("wanted", [Wanted("db4"), Wanted("db4", expendable=True), Wanted("db4", "db2")])
def test_who_follows_or_was_cloned_or_holds_everything_is_left_as_it_is(wanted: Wanted) -> None:
    row = World().states["db1"].term
    assert row is not None
    follows = World()
    follows.states["db4"] = World.replica(4, row, acknowledges=False, executed=80)
    cloned = World().state("db4", executed=gtids(90)).fact("db4", clone=done("10.0.0.2:3306"), user_tables=5)
    holds = World().state("db4", executed=gtids(100)).fact("db4", user_tables=5)
    for world in (follows, cloned, holds):
        assert isinstance(world.decide(wanted), Unchanged)


CHANGED = {
    "cloned from somebody else": lambda: (
        World().state("db4", executed=gtids(90)).fact("db4", clone=done("10.9.9.9:3306"), user_tables=5)
    ),
    "cloned long ago, and the binary logs since are gone": lambda: (
        World()
        .state("db1", purged=gtids(95))
        .state("db4", executed=gtids(90))
        .fact("db4", clone=done("10.0.0.2:3306"), user_tables=5)
    ),
    "it has transactions of its own": lambda: (
        World().state("db4", executed=gtids(100) | SURPLUS).fact("db4", clone=done("10.0.0.2:3306"), user_tables=5)
    ),
    "its applier stopped": lambda: (
        World()
        .state("db4", executed=gtids(100), applier=Applier("OFF", error_number=1062), receiver=Receiver("OFF"))
        .fact("db4", user_tables=5)
    ),
}


@pytest.mark.parametrize("what", CHANGED)
def test_it_is_not_left_as_it_is_when(what: str) -> None:
    assert isinstance(CHANGED[what]().decide(Wanted("db4", "db2", expendable=True)), Ready)


def test_a_clone_that_is_at_work_is_waited_for_or_refused() -> None:
    at_work = Progress("In Progress", "2026", "10.0.0.2:3306", thread=9)
    world = World().fact("db4", clone=at_work, running=True)
    assert world.decide() == Running("db2") == world.decide(Wanted("db4", "db2"))
    assert codes(world.decide(Wanted("db4", "db3"))) == {"clone_in_progress"}
    stranger = dataclasses.replace(at_work, source="10.9.9.9:3306")
    assert codes(world.fact("db4", clone=stranger).decide()) == {"clone_in_progress"}


def test_a_recipient_that_is_silent_is_refused() -> None:
    assert codes(World().gone("db4").decide()) == {"member_does_not_answer"}
