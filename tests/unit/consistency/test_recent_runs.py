# SPDX-License-Identifier: GPL-3.0-or-later
"""What mode ``recent_binlog`` remembers from run to run: no transaction whose rows were not found the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional
from unittest import mock

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import chunks, recent, run
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.recent import Wish
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import EMPTY, GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.simulated_run import (
    Held,
    Killed,
    Named,
    World,
    verdicts,
)

BINLOG = "recent_binlog"
HOUR = 3600.0


class Log:
    """The primary's binary log, as it is on the host that compares: ``upto`` so many transactions, all of one file.

    ``scans``: what was asked for, each time.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.upto: Optional[int] = None
        self.written = world.now
        self.scans: list[GtidSet] = []
        self.seconds = 0.0

    def scan(self, _paths: Any, wanted: GtidSet, *, lately: GtidSet, **_more: Any) -> Any:
        self.scans.append(wanted)
        self.world.now += self.seconds
        there = self.world.committed if self.upto is None else self.world.committed[: self.upto]
        tables: dict[Named, list[int]] = {}
        seen = EMPTY
        for number, (named, key, _value) in enumerate(there, 1):
            gtid = GtidSet.parse(f"{self.world.primary.uuid}:{number}")
            seen |= gtid
            if gtid <= wanted:
                tables.setdefault(named, []).append(key)
        found = mock.Mock(missing=wanted - seen, problems=())
        found.tables = {named: Keys(sorted(set(keys))) for named, keys in tables.items()}
        found.reasons = lambda *_named: ("missing_transactions",) if found.missing - lately else ()
        return found

    @staticmethod
    def last_writer(*_given: Any) -> dict[Any, str]:
        return {}

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        with (
            mock.patch.object(recent.touched, "scan", self.scan),
            mock.patch.object(recent.touched, "last_writer", self.last_writer),
            mock.patch.object(recent, "read_index", lambda path: ["binlog.1"]),
            mock.patch.object(recent, "before", lambda path: EMPTY),
            mock.patch.object(recent, "_written", lambda path: self.written),
            mock.patch.object(recent.Recent, "_cascades", lambda self: []),
        ):
            yield


class Keys(list[int]):
    columns = ("id",)

    @property
    def keys(self) -> int:
        return len(self)

    def __iter__(self) -> Iterator[Any]:
        return ((key,) for key in super().__iter__())


def world(*, wrong: str = "b") -> tuple[World, Log]:
    """Three tables, a transaction in each; of ``wrong`` r1 holds another row, which nobody changed but r1."""
    made = World({name: Held({1: "v1", 2: "v2"}) for name in "abc"})
    for name in "abc":
        made.commit(Named("s", name), 2, "new")
    for node in made.nodes.values():
        node.apply()
    if wrong:
        made.held("r1", wrong).rows[2] = "LOST"
    return made, Log(made)


def go(made: World, log: Log, directory: Path, **asked: Any) -> dict[str, Any]:
    given = {"modes": (BINLOG,), "recent": Wish(binlog_index="index"), "state_directory": str(directory), **asked}
    log.written = made.now if log.upto is None else log.written
    with log.standing_in():
        return made.run(**given)


def in_parts(made: World, log: Log, directory: Path, **asked: Any) -> dict[str, Any]:
    """As the playbook does it."""
    state: Optional[Mapping[str, Any]] = None
    for _part in range(50):
        report = go(made, log, directory, part=0.001, state=state, **asked)
        state = report["under_way"]
        if not state:
            return report
    raise AssertionError("it does not end")


def test_a_clean_run_need_not_look_at_its_transactions_again(tmp_path: Path) -> None:
    made, log = world(wrong="")
    assert go(made, log, tmp_path)["verdict"] == "pass"
    assert go(made, log, tmp_path)["verdict"] == "pass"
    assert log.scans[0] and not log.scans[1]
    made.commit(Named("s", "a"), 1, "newer")
    assert go(made, log, tmp_path)["verdict"] == "pass"
    assert log.scans[2] == GtidSet.parse(f"{made.primary.uuid}:5")


@pytest.mark.parametrize("way", [go, in_parts])
def test_a_difference_is_told_until_it_is_gone(way: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    made, log = world(wrong="a")
    for _run in range(3):
        report = way(made, log, tmp_path)
        assert verdicts(report)["a", "r1"][0] == "different" and verdicts(report)["a", "r2"][0] == "pass"
        made.commit(Named("s", "c"), 1, "more")
    made.held("r1", "a").rows[2] = "new"
    assert way(made, log, tmp_path)["verdict"] == "pass"


@pytest.mark.parametrize("fault", ["error", "lost", "dies"])
@pytest.mark.parametrize(("way", "step"), [(go, 1), (in_parts, 4), pytest.param(in_parts, 1, marks=pytest.mark.long)])
def test_whatever_breaks_wherever_the_next_run_finds_it(
    fault: str, way: Callable[..., dict[str, Any]], step: int, tmp_path: Path
) -> None:
    made, log = world()
    way(made, log, tmp_path / "clean")
    for number in range(1, made.count + 1, step):
        made, log = world()
        made.faults[number] = fault
        try:
            way(made, log, tmp_path / str(number))
        except HaError as error:
            assert error.next_step or error.code == "sql_error"
        for node in made.nodes.values():
            node.down = False
        # One that was cut off goes on, and tells what was found before.
        assert verdicts(way(made, log, tmp_path / str(number)))["b", "r1"][0] != "pass", number
        assert verdicts(way(made, log, tmp_path / str(number)))["b", "r1"][0] == "different", number


def test_a_run_killed_anywhere_finds_it_when_it_goes_on_and_afterwards(tmp_path: Path) -> None:
    made, log = world()
    go(made, log, tmp_path / "clean")
    for number in range(1, made.count + 1):
        made, log = world()
        made.faults[number] = "killed"
        with pytest.raises(Killed):
            go(made, log, tmp_path / str(number))
        for _run in range(2):
            assert verdicts(go(made, log, tmp_path / str(number)))["b", "r1"][0] == "different", number


def test_tables_that_there_was_no_time_for_are_compared_by_the_next_run(tmp_path: Path) -> None:
    clean = world()
    go(*clean, tmp_path / "clean")
    for seconds in (0.001, *(0.05 * step for step in range(1, 40))):
        made, log = world()
        first = go(made, log, tmp_path / str(seconds), limits=run.Limits(within=seconds))
        for _run in range(2):
            found = verdicts(go(made, log, tmp_path / str(seconds)))
            assert found["b", "r1"][0] == "different", (seconds, verdicts(first))


def test_what_comes_between_two_parts_is_of_the_next_run(tmp_path: Path) -> None:
    made, log = world(wrong="")
    first = go(made, log, tmp_path, part=0.001)
    assert first["under_way"]["done"] and first["under_way"]["executed"]
    made.commit(Named("s", "a"), 2, "later")
    for node in made.nodes.values():
        node.apply()
    made.held("r1", "a").rows[2] = "LOST"
    report = first
    while report["under_way"]:
        report = go(made, log, tmp_path, part=0.001, state=report["under_way"])
    assert report["verdict"] == "pass", "table a was compared before"
    assert verdicts(in_parts(made, log, tmp_path))["a", "r1"][0] == "different"


def test_a_replica_that_was_away_is_compared_from_where_it_was(tmp_path: Path) -> None:
    made, log = world(wrong="")
    assert go(made, log, tmp_path)["verdict"] == "pass"
    made.commit(Named("s", "b"), 1, "while it is away")
    made.nodes["r2"].apply()
    made.nodes["r1"].down = True
    for _run in range(3):
        assert go(made, log, tmp_path)["verdict"] == "error"
        made.now += HOUR
    made.nodes["r1"].down = False
    made.nodes["r1"].apply()
    made.held("r1", "b").rows[1] = "LOST"
    assert verdicts(go(made, log, tmp_path))["b", "r1"][0] == "different"


def test_other_limits_and_values_shown_are_no_other_memory(tmp_path: Path) -> None:
    made, log = world()
    assert go(made, log, tmp_path)["verdict"] == "different"
    made.now += 2 * HOUR
    found = go(made, log, tmp_path, reveal=True, limits=run.Limits(listed=5))
    assert verdicts(found)["b", "r1"][0] == "different"


def test_a_table_that_comes_in_after_the_listing_is_of_the_next_run(tmp_path: Path) -> None:
    made, log = world(wrong="")
    named = Named("s", "d")

    def created(sql: str) -> None:
        if "WHERE TABLE_TYPE = 'BASE TABLE'" in sql and named not in made.primary.tables:
            for node in made.nodes.values():
                node.tables[named] = Held({})
            listed.append(sql)

    listed: list[str] = []
    made.nodes["r2"].before = created  # asked last
    go(made, log, tmp_path)
    assert listed
    made.commit(named, 1, "new")
    for node in made.nodes.values():
        node.apply()
    made.held("r1", "d").rows[1] = "LOST"
    assert verdicts(go(made, log, tmp_path))["d", "r1"][0] == "different"


def test_numbers_that_begin_again_are_no_transactions_that_were_compared(tmp_path: Path) -> None:
    made, log = world(wrong="")
    assert go(made, log, tmp_path)["verdict"] == "pass"
    kept = made.committed
    made.committed = []
    made.commit(Named("s", "b"), 1, "after the reset")
    for node in made.nodes.values():
        node.done = 0
        node.apply()
    assert len(kept) > len(made.committed)
    made.held("r1", "b").rows[1] = "LOST"
    for _run in range(2):
        report = go(made, log, tmp_path)
        assert verdicts(report)["b", "r1"][0] == "different"
        assert all("gtids_reset" in each["why"] for each in report["tables"])
    made.now += 2 * HOUR  # beyond what a first run looks at
    assert verdicts(go(made, log, tmp_path))["b", "r1"][0] == "different", "as long as one of them differs"
    made.held("r1", "b").rows[1] = "after the reset"
    assert go(made, log, tmp_path)["verdict"] == "pass"
    assert not any("gtids_reset" in each["why"] for each in go(made, log, tmp_path)["tables"])


def test_copies_that_lack_the_last_transactions_count_up_to_there(tmp_path: Path) -> None:
    made, log = world(wrong="")
    log.upto = 3  # without that of table c
    assert go(made, log, tmp_path)["verdict"] == "pass"
    made.held("r1", "c").rows[2] = "LOST"
    assert go(made, log, tmp_path)["verdict"] == "pass", "it is not in the log yet"
    log.upto = None
    assert verdicts(go(made, log, tmp_path))["c", "r1"][0] == "different"


def test_copies_that_nobody_brings_up_to_date_tell_nothing(tmp_path: Path) -> None:
    made, log = world(wrong="c")
    log.upto = 3
    made.now += 2 * HOUR
    report = go(made, log, tmp_path)
    assert {code for _verdict, code in verdicts(report).values()} == {"log_behind"} and report["verdict"] == "error"
    assert len(log.scans) == 1, "it is read once for all tables"


def test_a_part_takes_longer_than_reading_the_log(tmp_path: Path) -> None:
    made, log = world(wrong="")
    log.seconds = 5.0
    in_parts(made, log, tmp_path)
    assert len(log.scans) == 1


def test_mutant_everything_is_remembered(tmp_path: Path) -> None:
    with mock.patch.object(run._Run, "_all_same", lambda self, replica, mode: True), pytest.raises(AssertionError):
        test_a_difference_is_told_until_it_is_gone(in_parts, tmp_path)


def test_mutant_every_part_is_about_what_there_is_by_then(tmp_path: Path) -> None:
    def forgetful(self: Any) -> GtidSet:
        self._state.executed = ""
        self._state.executed = str(begin(self))
        return GtidSet.parse(self._state.executed)

    begin = recent.Recent.begin
    with mock.patch.object(recent.Recent, "begin", forgetful), pytest.raises(AssertionError):
        test_what_comes_between_two_parts_is_of_the_next_run(tmp_path)


def test_the_error_of_a_server_is_asked_for_again(tmp_path: Path) -> None:
    """What the files lack stays so for a run; what a server does not answer once, it may answer for the next table."""
    made, log = world(wrong="")
    calls = []

    def cascades(self: Any) -> list[Named]:
        calls.append(1)
        if len(calls) == 1:
            raise StatementFailed("sql_error", "no", errno=1290, evidence={"member": "p"})
        return []

    with log.standing_in(), mock.patch.object(recent.Recent, "_cascades", cascades):
        found = verdicts(
            made.run(modes=(BINLOG,), recent=Wish(binlog_index="index"), state_directory=os.fspath(tmp_path))
        )
    assert {verdict for verdict, _code in found.values()} == {"error", "pass"}


def test_a_table_that_is_looked_at_as_a_whole_goes_on_where_a_part_ended(tmp_path: Path) -> None:
    made, log = world(wrong="")
    named = Named("s", "b")
    for node in made.nodes.values():
        node.tables[named].rows.update({number: f"v{number}" for number in range(3, 9)})
    scan = log.scan

    def handed_over(*given: Any, **more: Any) -> Any:
        found = scan(*given, **more)
        found.reasons = lambda *asked: ("ddl",) if asked == named else ()
        return found

    log.scan = handed_over  # type: ignore[method-assign]
    places, state = [], None
    with mock.patch.object(chunks, "_FIRST", 1), mock.patch.object(chunks, "LEAST", 1):
        for _part in range(50):
            report = go(made, log, tmp_path, part=0.001, state=state)
            state = report["under_way"]
            if not state:
                break
            places.append(state["place"]["after"] if state["place"] else None)
    assert report["verdict"] == "pass" and len({str(each) for each in places}) > 3, places


def test_who_wrote_last_is_searched_for_no_longer_than_that(tmp_path: Path) -> None:
    made, log = world()
    for name in "ac":
        made.held("r1", name).rows[2] = "LOST"
    searched: list[Any] = []

    def last_writer(*given: Any) -> dict[Any, str]:
        searched.append(given)
        made.now += recent._WRITERS_WITHIN + 1
        return {}

    with mock.patch.object(Log, "last_writer", staticmethod(last_writer)):
        assert go(made, log, tmp_path)["verdict"] == "different"
    assert len(searched) == 1
