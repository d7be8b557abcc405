# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs on a cluster in memory: only a pass is a pass, nobody's trouble is anybody else's, and a run that is cut
off ends as it would have.

The last tests take parts of the run away and show that these tests would see it.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import (
    barrier,
    checkpoint,
    chunks,
    findings,
    one_table,
    run,
    sides,
    summary,
    tables,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Named
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.recent import Wish
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.window import Policy
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import OFF
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.simulated_run import (
    ADMIN,
    COLUMNS,
    LOGIN,
    Held,
    Killed,
    Sim,
    World,
    keyed,
    lasting,
    verdicts,
)

TABLES = {"a": keyed(1, 2, 3), "bag": Held({1: "x", 2: "x", 3: "y"}, keyed=False), "z": keyed(5)}
OTHER_TYPE = (COLUMNS[0], {**COLUMNS[1], "type": "varchar(50)"})
OTHER_COLLATION = (COLUMNS[0], {**COLUMNS[1], "collation": "utf8mb4_0900_ai_ci"})
FAULTS = ("error", "lost", "dies")


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two rows each: a run has many, and can be cut off between them."""
    for name, value in (("_FIRST", 2), ("LEAST", 2), ("_GROWTH", 1.0)):
        monkeypatch.setattr(chunks, name, value)
    monkeypatch.setattr(run, "_SAVE_EVERY", 0.0)


def world(**how: Any) -> World:
    return World(TABLES, **how)


def same() -> World:
    return world()


def different() -> World:
    """Every table differs on every replica."""
    made = world()
    for name in ("r1", "r2"):
        made.held(name, "a").rows[20_000] = f"other {name}"
        made.held(name, "bag").rows[2] = "z"
        del made.held(name, "z").rows[50_000]
    return made


def test_servers_that_hold_the_same_pass() -> None:
    report = same().run()
    assert report["verdict"] == "pass"
    assert report["finished"]
    assert set(verdicts(report).values()) == {("pass", "")}
    assert len(report["tables"]) == 6
    assert report["counts"] == {
        "tables": 3, "rows": 16, "rechecked": 0, "differences": 0, "by_verdict": {"pass": 6}
    }  # fmt: skip


def test_servers_that_do_not_are_told_apart_row_by_row() -> None:
    report = different().run(reveal=True)
    assert report["verdict"] == "different"
    assert set(verdicts(report).values()) == {("different", "rows_differ")}
    (a,) = [each for each in report["tables"] if (each["table"], each["replica"]) == ("a", "r1")]
    assert a["differences"] == [
        {"key": {"id": "20000"}, "kind": "value", "columns": ["c"], "primary": {"c": "v2"},
         "replica": {"c": "other r1"}, "last_writer": ""}
    ]  # fmt: skip
    assert {(each["table"], each["replica"], each["way"]) for each in report["repair"]} == {
        (f"s.{table}", replica, "clone" if table == "bag" else "rows") for table in TABLES for replica in ("r1", "r2")
    }


# --- bad input -------------------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class Bad:
    """``spoil``: the world; ``tables``: those of ``r1`` it is about, each with that verdict (all others pass)."""

    name: str
    spoil: Callable[[World], None]
    verdict: str
    code: str
    tables: tuple[str, ...] = ()
    server: str = ""
    asked: dict[str, Any] = dataclasses.field(default_factory=dict)


def held(name: str, **changes: Any) -> Callable[[World], None]:
    def spoil(made: World) -> None:
        made.nodes["r1"].tables[Named("s", name)] = dataclasses.replace(made.held("r1", name), **changes)

    return spoil


def lacks(server: str, name: str) -> Callable[[World], None]:
    return lambda made: made.nodes[server].tables.pop(Named("s", name)) and None


def on_r1(**changes: Any) -> Callable[[World], None]:
    def spoil(made: World) -> None:
        for name, value in changes.items():
            setattr(made.nodes["r1"], name, value)

    return spoil


def stands_still(made: World) -> None:
    made.nodes["r1"].applier = OFF
    made.commit(Named("s", "a"), 70_000, "v7")


def only_on_r1(made: World) -> None:
    made.nodes["r1"].tables[Named("s", "more")] = keyed(1)


def dies_in_the_middle(made: World) -> None:
    """The replica goes when its second table is read; of the first there are three ranges."""
    seen = [0]

    def before(sql: str) -> None:
        seen[0] += sql == "aggregate"
        made.nodes["r1"].down = seen[0] >= 4

    made.nodes["r1"].before = before


BAD = (
    Bad("no such table on the replica", lacks("r1", "z"), "schema_differs", "only_on_primary", ("z",)),
    Bad("a table only on the replica", only_on_r1, "schema_differs", "only_on_returning", ("more",)),
    Bad("a column of another type", held("a", columns=OTHER_TYPE), "schema_differs", "columns", ("a",)),
    Bad("another collation", held("a", columns=OTHER_COLLATION), "schema_differs", "columns", ("a",)),
    Bad("a column more", held("a", columns=(*COLUMNS, {**COLUMNS[1], "name": "d"})), "schema_differs", "columns",
        ("a",)),
    Bad("no key", held("a", keyed=False), "schema_differs", "keys", ("a",)),
    Bad("a view in its place", held("bag", kind="VIEW"), "schema_differs", "only_on_primary", ("bag",)),
    Bad("too large without a key", held("bag", estimate=11), "skipped", "no_key", ("bag",),
        asked={"limits": run.Limits(rows_without_key=10)}),
    Bad("filters", on_r1(filtered=True), "different", "replication_filters", server="r1"),
    Bad("transactions of its own", on_r1(errant="ffffffff-0000-0000-0000-000000000000:1"), "different",
        "errant_transactions", server="r1"),
    Bad("an applier that stands still", stands_still, "lagging", "replica_stands_still", ("a", "bag", "z"), "r1"),
    Bad("no answer", on_r1(down=True), "error", "no_answer", ("a", "bag", "z"), "r1"),
    Bad("the primary by another name", on_r1(uuid="00000001-0000-0000-0000-000000000000"), "error", "same_server",
        ("a", "bag", "z"), "r1"),
)  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
@pytest.mark.parametrize("mode", ["whole", "snapshot"])
def test_what_is_wrong_has_its_verdict_and_stops_nothing_else(bad: Bad, mode: str) -> None:
    made = same()
    bad.spoil(made)
    report = made.run(modes=(mode,), **bad.asked)
    if mode == "snapshot" and bad.code == "errant_transactions":
        bad = dataclasses.replace(bad, tables=("a", "bag", "z"))  # there is no GTID at which both could be
    assert report["verdict"] == bad.verdict
    found = verdicts(report)
    expected = dict.fromkeys(bad.tables, (bad.verdict, bad.code))
    assert {table: said for (table, replica), said in found.items() if replica == "r1"} == {
        **dict.fromkeys(TABLES, ("pass", "")),
        **expected,
    }
    on_r2 = {table: said[0] for (table, replica), said in found.items() if replica == "r2"}
    # A table that only r1 has is not on the primary, and so nothing that r2 could lack.
    expected_on_r2 = "skipped" if bad.code == "no_key" and mode == "whole" else "pass"
    assert {on_r2[name] for name in TABLES if name != "bag"} == {"pass"}
    assert on_r2["bag"] == expected_on_r2
    assert {each["replica"] for each in report["servers"]} == ({bad.server} if bad.server else set())
    assert {each["code"] for each in report["servers"]} == ({bad.code} if bad.server else set())
    assert all(each["why"] and each["next_step"] for each in report["tables"] if each["verdict"] != "pass")


def test_a_replica_that_dies_in_the_middle_is_an_error_from_there_on() -> None:
    made = same()
    dies_in_the_middle(made)
    found = verdicts(made.run())
    assert {said[0] for (_table, replica), said in found.items() if replica == "r2"} == {"pass"}
    assert [found[(name, "r1")][0] for name in TABLES] == ["pass", "error", "error"]


def test_a_primary_that_dies_in_the_middle_is_an_error_of_what_was_not_compared() -> None:
    made = same()

    def before(sql: str) -> None:
        made.primary.down = made.now > 1000.66

    made.primary.before = before
    report = made.run()
    said = [each["verdict"] for each in report["tables"]]
    assert said[:2] == ["pass", "pass"]
    assert set(said[2:]) == {"error"}
    assert report["verdict"] == "error"


def test_a_replica_that_is_late_lags_and_is_waited_for_once_a_table() -> None:
    made = same()
    behind = made.nodes["r1"]

    def before(sql: str) -> None:
        if behind.applier != OFF:
            behind.applier = OFF
            made.commit(Named("s", "a"), 70_000, "v7")

    behind.before = before
    found = verdicts(made.run(limits=run.Limits(catch_up=3.0)))
    assert {said for (_table, replica), said in found.items() if replica == "r1"} == {("lagging", "replica_late")}
    assert {said[0] for (_table, replica), said in found.items() if replica == "r2"} == {"pass"}


def test_so_many_differences_end_a_table_and_are_counted() -> None:
    made = same()
    made.held("r1", "a").rows.update({number * 10_000: "x" for number in range(1, 1000)})
    report = made.run(limits=run.Limits(differences=20, listed=5), include=("s.a",))
    (a,) = [each for each in report["tables"] if each["replica"] == "r1"]
    assert (a["verdict"], a["code"]) == ("different", "rows_differ")
    assert a["difference_count"] >= 20
    assert len(a["differences"]) == 5
    assert report["finished"]


def left(directory: Path) -> list[str]:
    """What a run has left for the next, besides the lock."""
    return [path.name for path in directory.iterdir() if path.suffix != ".lock"]


def test_the_time_for_a_run_is_all_that_it_takes_and_it_says_what_is_left(tmp_path: Path) -> None:
    for within in (0.05, 0.3, 0.45, 0.6, 0.75, 0.9):
        made = same()
        report = made.run(limits=run.Limits(within=within))
        assert report["verdict"] == "skipped", within
        assert not report["finished"]
        assert set(verdicts(report).values()) <= {("pass", ""), ("skipped", "not_finished")}
        assert len(report["tables"]) == 6
        assert made.now - 1000.0 < within + 0.3
    # And with a place to keep it, run after run gets further, however short they are.
    made, runs = same(), 0
    while not (report := made.run(limits=run.Limits(within=0.36), state_directory=str(tmp_path)))["finished"]:
        runs += 1
        assert runs < 30
    assert runs > 2
    assert lasting(report) == lasting(same().run())
    assert left(tmp_path) == []


# --- nothing compared ------------------------------------------------------------------------------------------------
NOTHING: tuple[tuple[str, Callable[[], World], dict[str, Any]], ...] = (
    ("no tables", lambda: World({}), {}),
    ("all are left out", same, {"exclude": ("s",)}),
    ("a pattern that nothing fits", same, {"include": ("s", "leger.*")}),
    ("no replicas", lambda: world(replicas=0), {}),
    ("the primary alone", same, {"replicas": ("p",)}),
)


@pytest.mark.parametrize(("made", "asked"), [each[1:] for each in NOTHING], ids=[each[0] for each in NOTHING])
def test_a_run_without_a_comparison_is_refused(made: Callable[[], World], asked: dict[str, Any]) -> None:
    for mode in ("whole", "snapshot"):
        with pytest.raises(HaError) as raised:
            made().run(**{"modes": (mode,), **asked})
        assert raised.value.code == "nothing_to_compare"
        assert raised.value.next_step


def test_no_mode_at_all_is_no_pass() -> None:
    assert same().run(modes=())["verdict"] == "skipped"


def test_a_run_in_which_everything_was_skipped_is_no_pass() -> None:
    made = World({"bag": TABLES["bag"]})
    report = made.run(limits=run.Limits(rows_without_key=0))
    assert report["verdict"] == "skipped"


REFUSED: tuple[tuple[str, Callable[[World], None], dict[str, Any]], ...] = (
    ("unknown_mode", lambda made: None, {"modes": ("wholly",)}),
    ("unknown_member", lambda made: None, {"primary": "p9"}),
    ("unknown_member", lambda made: None, {"replicas": ("r1", "r9")}),
    ("primary_silent", lambda made: setattr(made.primary, "down", True), {}),
    ("primary_unknown", lambda made: setattr(made.primary, "down", True), {"primary": ""}),
    ("assertions_empty", lambda made: None, {"modes": ("whole", "business")}),
    ("admin_login_needed", lambda made: None, {"modes": ("snapshot",), "admin": None}),
)


@pytest.mark.parametrize(("code", "spoil", "asked"), REFUSED, ids=[f"{each[0]} {each[2]}" for each in REFUSED])
def test_what_can_not_be_begun_is_refused(code: str, spoil: Callable[[World], None], asked: dict[str, Any]) -> None:
    made = same()
    spoil(made)
    with pytest.raises(HaError) as raised:
        made.run(**asked)
    assert raised.value.code == code


# --- a fault at every statement --------------------------------------------------------------------------------------
def statements(make: Callable[[], World], **asked: Any) -> list[tuple[str, str]]:
    made = make()
    made.run(**asked)
    return list(made.trace)


def with_fault(make: Callable[[], World], number: int, fault: str, **asked: Any) -> tuple[World, dict[str, Any] | None]:
    made = make()
    made.faults[number] = fault
    try:
        return made, made.run(**asked)
    except HaError as error:
        assert error.next_step or error.code == "sql_error"
        return made, None


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "modes",
    [("whole",), ("snapshot",), pytest.param(("whole", "snapshot"), marks=pytest.mark.long)],
    ids="+".join,
)
def test_whatever_breaks_wherever_what_differs_never_passes(fault: str, modes: tuple[str, ...]) -> None:
    for number in range(1, len(statements(different, modes=modes)) + 1):
        _made, report = with_fault(different, number, fault, modes=modes)
        if report is not None:
            assert report["verdict"] != "pass", number
            assert "pass" not in {each["verdict"] for each in report["tables"]}, number


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("mode", ["whole", "snapshot"])
def test_what_breaks_on_one_replica_is_nothing_to_the_other(fault: str, mode: str) -> None:
    asked = {"modes": (mode,), "limits": run.Limits(threads_running=50)}
    for number, (server, sql) in enumerate(statements(same, **asked), 1):
        _made, report = with_fault(same, number, fault, **asked)
        if server == "p":
            continue
        assert report is not None, (number, sql)
        other = "r2" if server == "r1" else "r1"
        assert {each["verdict"] for each in report["tables"] if each["replica"] == other} == {"pass"}, (number, sql)
        assert len(verdicts(report)) == 6, (number, sql)


def test_a_connection_that_breaks_over_a_table_costs_only_that_table() -> None:
    trace = statements(same)
    for number, (server, sql) in enumerate(trace, 1):
        if sql.startswith(("SET ", "SELECT @@SESSION", "SHOW GRANTS")) or "TABLE_TYPE = 'BASE TABLE'" in sql:
            continue  # not of a table
        _made, report = with_fault(same, number, "lost")
        assert report is not None, sql
        broken = {(each["table"], each["replica"]) for each in report["tables"] if each["verdict"] != "pass"}
        assert len({table for table, _replica in broken}) <= 1, (number, sql)
        if server != "p":
            assert {replica for _table, replica in broken} <= {server}, (number, sql)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_snapshot_leaves_appliers_and_locks_as_they_were_whatever_breaks(fault: str) -> None:
    for number, (_server, sql) in enumerate(statements(same, modes=("snapshot",)), 1):
        made, _report = with_fault(same, number, fault, modes=("snapshot",))
        assert made.primary.locked_by is None, (number, sql)
        for name in ("r1", "r2"):
            node = made.nodes[name]
            assert node.down or (node.applier, node.until) == ("ON", None), (number, sql, name)


def test_no_secret_is_in_a_report_or_in_an_error() -> None:
    for fault in FAULTS:
        for number in range(1, len(statements(different, modes=("whole", "snapshot"))) + 1, 5):
            made = different()
            made.faults[number] = fault
            said: list[str] = []
            with made.standing_in():
                try:
                    request = made.request(modes=("whole", "snapshot"), reveal=True)
                    report = run.run(request, say=said.append, clock=made.clock, sleep=made.sleep)
                except HaError as error:
                    report = error.as_result()
            for text in (json.dumps(report), repr(request), *said):
                assert LOGIN.password not in text
                assert ADMIN.password not in text


def test_values_are_in_a_report_only_when_they_may_be() -> None:
    made = different()
    made.held("r1", "a").rows[20_000] = "value-canary"
    assert "value-canary" not in json.dumps(made.run())
    assert "value-canary" in json.dumps(made.run(reveal=True))


# --- a run that was cut off ------------------------------------------------------------------------------------------
def mixed() -> World:
    """Something of everything."""
    made = World({**TABLES, "big": keyed(*range(1, 6))})
    made.held("r1", "bag").rows[2] = "z"
    made.held("r2", "big").rows[50_000] = "other"
    made.nodes["r2"].tables.pop(Named("s", "z"))
    return made


def test_a_run_killed_at_any_statement_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    expected = lasting(mixed().run(reveal=True))
    total = len(statements(mixed, reveal=True))
    saved = 0
    for number in range(1, total + 1):
        made = mixed()
        directory = tmp_path / str(number)
        made.faults[number] = "killed"
        with pytest.raises(Killed):
            made.run(reveal=True, state_directory=str(directory))
        before = made.count
        report = made.run(reveal=True, state_directory=str(directory))
        assert lasting(report) == expected, number
        assert left(directory) == []
        saved += total - (made.count - before)
    assert saved > total * total / 4, "what was compared is compared again"


def test_a_run_killed_again_and_again_ends_the_same(tmp_path: Path) -> None:
    expected = lasting(mixed().run())
    made = mixed()
    for _time in range(60):
        made.faults = {made.count + 153: "killed"}
        try:
            report = made.run(state_directory=str(tmp_path))
            break
        except Killed:
            continue
    assert lasting(report) == expected


def cut(made: World, directory: Path, table: str = "big", key: str = "aggregate", times: int = 6, **asked: Any) -> None:
    """Kill a run within a table, after some of its ranges."""
    seen = [0]

    def before(sql: str) -> None:
        seen[0] += sql == key
        if seen[0] > times:
            made.killed = True
            raise Killed

    made.nodes["r1"].before = before
    with pytest.raises(Killed):
        made.run(include=(f"s.{table}",), state_directory=str(directory), **asked)
    made.nodes["r1"].before = lambda sql: None
    assert json.loads(next(directory.glob("*.run.json")).read_text())["place"]["after"]


def big() -> World:
    return World({"big": keyed(*range(1, 9))})


def test_a_replica_that_was_not_there_before_the_cut_is_compared_from_the_beginning(tmp_path: Path) -> None:
    made = big()
    lost = made.nodes["r2"].tables.pop(Named("s", "big"))
    cut(made, tmp_path)
    lost.rows[10_000] = "other"
    made.nodes["r2"].tables[Named("s", "big")] = lost
    report = made.run(include=("s.big",), state_directory=str(tmp_path))
    assert report["resumed"]
    assert verdicts(report)[("big", "r2")] == ("different", "rows_differ")


def other_key(made: World) -> None:
    for node in made.nodes.values():
        node.tables[Named("s", "big")].columns = OTHER_TYPE


def another_server(made: World) -> None:
    made.nodes["r1"].uuid = "00000077-0000-0000-0000-000000000000"
    made.held("r1", "big").rows[10_000] = "other"


@pytest.mark.parametrize("change", [other_key, another_server])
def test_a_table_or_server_that_is_another_one_is_compared_from_the_beginning(
    change: Callable[[World], None], tmp_path: Path
) -> None:
    made = big()
    cut(made, tmp_path)
    change(made)
    report = made.run(include=("s.big",), state_directory=str(tmp_path))
    assert lasting(report) == lasting(made.run(include=("s.big",)))
    assert report["counts"]["rows"] == 18
    first = [arguments for arguments in made.nodes["r2"].log if arguments == "aggregate"]
    assert len(first) > 2 * 9


def test_another_limit_is_another_question(tmp_path: Path) -> None:
    made = mixed()
    made.faults[len(statements(mixed)) // 2] = "killed"
    with pytest.raises(Killed):
        made.run(state_directory=str(tmp_path), limits=run.Limits(rows_without_key=0))
    made.faults = {}
    report = made.run(state_directory=str(tmp_path))
    assert "no_key" not in {code for _verdict, code in verdicts(report).values()}


def test_schemas_and_tables_with_dots_are_not_taken_for_each_other() -> None:
    made = World({"a": keyed(1)})
    for name, node in made.nodes.items():
        node.tables = {Named("a", "b.c"): keyed(1), Named("a.b", "c"): keyed(1, 2)}
        if name != "p":
            node.tables[Named("a.b", "c")].rows[20_000] = "other"
        node.done = 0
    made.committed.clear()
    report = made.run()
    said = {(each["schema"], each["table"], each["verdict"]) for each in report["tables"]}
    assert said == {("a", "b.c", "pass"), ("a.b", "c", "different")}
    assert report["counts"]["tables"] == 2


def test_a_table_that_is_changed_while_it_is_read_does_not_pass() -> None:
    made = big()

    def before(sql: str) -> None:
        if sql == "edges":
            for node in made.nodes.values():
                node.tables[Named("s", "big")].columns = (*COLUMNS, {**COLUMNS[1], "name": "d"})

    made.primary.before = before
    assert set(verdicts(made.run()).values()) == {("unstable", "definition_changed")}


def test_a_table_that_is_dropped_while_it_is_read_is_nothing_to_compare() -> None:
    made = World(TABLES)

    def before(sql: str) -> None:
        if sql == "edges":
            for node in made.nodes.values():
                node.tables.pop(Named("s", "a"), None)

    made.primary.before = before
    report = made.run()
    assert verdicts(report)[("a", "r1")] == ("pass", "dropped_meanwhile")
    assert report["verdict"] == "pass"


# --- snapshots -------------------------------------------------------------------------------------------------------
def test_a_snapshot_is_exact_while_somebody_writes() -> None:
    """Each statement sees another value on the primary; the snapshot does not."""
    made = same()
    made.writer = lambda each: each.commit(Named("s", "a"), 20_000, f"v{each.count}")
    report = made.run(modes=("snapshot",))
    assert report["verdict"] == "pass"
    made.held("r1", "z").rows[50_000] = "planted"
    found = verdicts(made.run(modes=("snapshot",)))
    assert {key for key, said in found.items() if said[0] != "pass"} == {("z", "r1")}


def test_an_applier_that_somebody_starts_before_the_snapshot_is_there_makes_it_none() -> None:
    made = same()
    made.writer = lambda each: each.commit(Named("s", "a"), 20_000, f"v{each.count}")

    def before(sql: str) -> None:
        if sql.startswith("START TRANSACTION"):
            made.nodes["r1"].applier, made.nodes["r1"].until = "ON", None

    made.nodes["r1"].before = before
    report = made.run(modes=("snapshot",), limits=run.Limits(catch_up=0.5))
    found = verdicts(report)
    assert {said for (_table, replica), said in found.items() if replica == "r1"} == {("error", "replica_moved")}
    assert {said for (_table, replica), said in found.items() if replica == "r2"} == {("pass", "")}
    assert not report["repair"]


def test_a_snapshot_lets_go_of_a_table_before_it_waits_and_before_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever would change its definition waits, and behind him everybody else."""
    read: list[int] = []
    real = Sim.answer

    def answer(self: Sim, sql: str, values: Any) -> Any:
        if "Threads_running" in sql or "information_schema" in sql or sql == "ROLLBACK":
            assert not self.holds, sql
        read.append(len(self.holds))
        return real(self, sql, values)

    monkeypatch.setattr(Sim, "answer", answer)
    report = same().run(modes=("snapshot",), limits=run.Limits(threads_running=50))
    assert report["verdict"] == "pass" and 1 in read


@pytest.mark.parametrize("where", ["p", "r1"])
def test_a_table_that_was_exchanged_for_another_one_has_no_verdict_of_its_rows(where: str) -> None:
    """No statement fails; and to the snapshot it is the other one at once, on one server or on both."""
    made = same()
    made.held("r1", "a").rows[20_000] = "of the other table"

    def before(sql: str) -> None:
        if sql.startswith("ROLLBACK TO"):
            made.nodes[where].exchanged = {"s/a"}

    made.nodes[where].before = before
    report = made.run(modes=("snapshot",))
    found = verdicts(report)
    assert found[("a", "r1")] == ("unstable", "definition_changed")
    assert {said for (table, _replica), said in found.items() if table != "a"} == {("pass", "")}
    assert not report["repair"]


def test_what_a_server_does_not_say_of_its_tables_is_no_pass() -> None:
    made = same()
    compared = []

    def before(sql: str) -> None:
        if "INNODB_TABLES" in sql and compared:
            raise StatementFailed("sql_error", "no", errno=1, evidence={"member": "r1"})
        compared.extend([sql] if sql == "aggregate" else [])

    made.nodes["r1"].before = before
    found = verdicts(made.run(modes=("snapshot",)))
    assert {said[0] for (_table, replica), said in found.items() if replica == "r1"} == {"error"}
    assert {said for (_table, replica), said in found.items() if replica == "r2"} == {("pass", "")}


@pytest.mark.parametrize("where", ["p", "r1"])
def test_a_table_that_no_snapshot_holds_is_not_called_different(where: str) -> None:
    made = same()
    made.held(where, "a").engine = "MyISAM"
    made.held("r1", "a").rows[20_000] = "in flight"
    found = verdicts(made.run(modes=("snapshot",)))
    replicas = ("r1", "r2") if where == "p" else ("r1",)
    assert {key for key, said in found.items() if said == ("skipped", "no_snapshot")} == {
        ("a", name) for name in replicas
    }
    assert {said for (table, _replica), said in found.items() if table != "a"} == {("pass", "")}
    assert verdicts(made.run())[("a", "r1")] == ("different", "rows_differ")


@pytest.mark.parametrize("where", ["p", "r1"])
def test_a_table_that_is_changed_after_the_snapshot_was_opened_is_not_compared(where: str) -> None:
    made = same()
    made.nodes[where].changed = {Named("s", "bag"), Named("s", "z")}
    found = verdicts(made.run(modes=("snapshot",)))
    replicas = ("r1", "r2") if where == "p" else ("r1",)
    changed = {(table, replica) for table in ("bag", "z") for replica in replicas}
    assert {key for key, said in found.items() if said == ("unstable", "definition_changed")} == changed
    assert {said for key, said in found.items() if key not in changed} == {("pass", "")}


# --- mutants: these tests see what is taken away ---------------------------------------------------------------------
def fails(test: Callable[..., None], *arguments: Any) -> None:
    with pytest.raises((AssertionError, HaError, StopIteration)):
        test(*arguments)


def test_mutant_results_by_names_that_others_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "name_of", lambda *parts: ".".join(parts))
    fails(test_schemas_and_tables_with_dots_are_not_taken_for_each_other)


def test_mutant_a_place_that_holds_for_everybody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = one_table.Place
    monkeypatch.setattr(one_table, "Place", lambda *given: real(given[0], given[1], ["r1", "r2"], *given[3:]))
    fails(test_a_replica_that_was_not_there_before_the_cut_is_compared_from_the_beginning, tmp_path)


def test_mutant_a_question_without_servers_and_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "question", lambda **asked: "always the same")
    fails(test_another_limit_is_another_question, tmp_path / "limit")
    fails(
        test_a_table_or_server_that_is_another_one_is_compared_from_the_beginning, another_server, tmp_path / "server"
    )


def test_mutant_a_checkpoint_that_keeps_no_plans(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = checkpoint.Checkpoint.save

    def save(self: Any, state: Any) -> None:
        real(self, dataclasses.replace(copy.deepcopy(state), repair=[]))

    monkeypatch.setattr(checkpoint.Checkpoint, "save", save)
    fails(test_a_run_killed_at_any_statement_goes_on_and_ends_the_same, tmp_path)


def test_mutant_connections_that_are_never_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sides.Sides.session

    def once(self: Any, name: str, *settings: Any) -> Any:
        return self._ready[name] if name in self._ready else real(self, name, *settings)

    monkeypatch.setattr(sides.Sides, "session", once)
    fails(test_a_connection_that_breaks_over_a_table_costs_only_that_table)


def test_mutant_no_look_at_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "look", lambda *given, **more: ())
    for bad in BAD:
        if bad.server:
            fails(test_what_is_wrong_has_its_verdict_and_stops_nothing_else, bad, "whole")


def test_mutant_layouts_that_are_never_different(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_table, "layout_difference", lambda there, here: ("", ()))
    for bad in BAD:
        if bad.verdict == "schema_differs":
            fails(test_what_is_wrong_has_its_verdict_and_stops_nothing_else, bad, "whole")


def test_mutant_views_are_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_IS_TABLE", "SELECT 'BASE TABLE' FROM information_schema.STATISTICS, TABLE_NAME = %s")
    (view,) = [bad for bad in BAD if "view" in bad.name]
    fails(test_what_is_wrong_has_its_verdict_and_stops_nothing_else, view, "whole")


def test_mutant_a_skipped_table_is_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def worst(verdicts: list[str]) -> str:
        return max((each for each in verdicts if each != "skipped"), key=findings.GRAVITY.index, default="pass")

    monkeypatch.setattr(summary, "worst", worst)
    fails(test_a_run_in_which_everything_was_skipped_is_no_pass)
    fails(test_no_mode_at_all_is_no_pass)


def test_mutant_patterns_that_may_fit_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "idle", lambda *given: [])
    (spelt,) = [each for each in NOTHING if "pattern" in each[0]]
    with pytest.raises(pytest.fail.Exception):
        test_a_run_without_a_comparison_is_refused(*spelt[1:])


def test_mutant_definitions_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_table.OneTable, "_still_so", lambda self, table, here, result: result)
    fails(test_a_table_that_is_changed_while_it_is_read_does_not_pass)
    fails(test_a_table_that_is_dropped_while_it_is_read_is_nothing_to_compare)


def test_mutant_nobody_asks_whether_tables_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.snapshot.Held, "changed", lambda self: set())
    fails(test_a_table_that_was_exchanged_for_another_one_has_no_verdict_of_its_rows, "p")


def test_mutant_a_snapshot_keeps_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.snapshot.Held, "let_tables_go", lambda self: None)
    with pytest.MonkeyPatch.context() as other, pytest.raises(AssertionError):
        test_a_snapshot_lets_go_of_a_table_before_it_waits_and_before_the_next_one(other)


def test_mutant_a_snapshot_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.lossless.mysql_ha.tests.unit.consistency import simulated_run

    real = simulated_run.Sim.answer

    def answer(self: Any, sql: str, values: Any) -> Any:
        return [] if sql.startswith("START TRANSACTION") else real(self, sql, values)

    monkeypatch.setattr(simulated_run.Sim, "answer", answer)
    fails(test_a_snapshot_is_exact_while_somebody_writes)


@pytest.mark.parametrize("fault", FAULTS[:2])
def test_mutant_an_applier_is_started_with_the_connection_that_is_there(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether an idle connection is still there is only seen when it is used."""
    real = run.snapshot._as_it_was

    def once(replica_admin: Any, statement: float, *clocks: Any) -> None:
        monkeypatch.setattr(run.snapshot, "_RESTART_PATIENCE", 0.0)
        real(replica_admin, statement, *clocks)

    monkeypatch.setattr(run.snapshot, "_as_it_was", once)
    fails(test_a_snapshot_leaves_appliers_and_locks_as_they_were_whatever_breaks, fault)


# --- assertions ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("side", "told"),
    [
        ("0f3a", {"digest": "0f3a"}),
        ([{"column": "total", "value": "60.50"}], {"total": "60.50"}),
        ([{"column": "a", "value": "1"}, {"column": "a", "value": None}], {"a": "1", "a (2)": None}),
        (["id", "sum"], {"column 1": "id", "column 2": "sum"}),
    ],
)
def test_the_rows_of_an_assertion_are_told_by_column(side: Any, told: dict[str, Any]) -> None:
    evidence = {"kind": "value", "columns": ["a"], "primary": side}
    assert summary._sides_of(evidence) == {"kind": "value", "columns": ["a"], "primary": told}


# --- packets ---------------------------------------------------------------------------------------------------------
def test_a_server_that_may_show_nothing_of_a_text_never_passes() -> None:
    """Of two texts that are larger than its packets a server shows two empty ones, and these are the same."""
    made = same()
    made.nodes["r1"].packet = 1 << 20
    report = made.run()
    said = verdicts(report)
    assert {said[name, "r1"] for name in TABLES} == {("error", "packet_too_small")}
    assert {said[name, "r2"][0] for name in TABLES} == {"pass"}
    made.primary.packet, made.nodes["r1"].packet = 1 << 20, 64 << 20
    with pytest.raises(HaError) as caught:
        made.run()
    assert caught.value.code == "packet_too_small"


def test_mutant_that_does_not_look_at_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barrier, "_look", lambda session, statement: False)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_a_server_that_may_show_nothing_of_a_text_never_passes()


def test_a_table_that_gets_another_name_before_its_turn_is_compared_under_that() -> None:
    made = World({"a": keyed(1, 2), "m": keyed(1, 2), "z": keyed(1, 2)})
    made.held("r1", "m").rows[20_000] = "other"
    renamed = []

    def rename(sql: str) -> None:
        if sql == "aggregate" and not renamed:
            renamed.append(sql)
            for node in made.nodes.values():
                node.tables[Named("s", "m_2025")] = node.tables.pop(Named("s", "m"))

    made.primary.before = rename
    found = verdicts(made.run())
    assert found["m", "r1"] == ("pass", "dropped_meanwhile")
    assert found["m_2025", "r1"][0] == "different" and found["m_2025", "r2"][0] == "pass"


def test_a_table_that_came_in_alone_is_of_the_next_run() -> None:
    made = World({"a": keyed(1, 2)})

    def create(sql: str) -> None:
        if sql == "aggregate":
            for node in made.nodes.values():
                node.tables.setdefault(Named("s", "b"), keyed(1))

    made.primary.before = create
    assert {table for table, _replica in verdicts(made.run())} == {"a"}


@pytest.mark.parametrize("policy", [Policy(first=0.0), Policy(first=1.0), Policy(look_back=30.0)])
@pytest.mark.parametrize("mode", ["recent_time", "recent_binlog"])
def test_a_window_that_holds_nothing_is_refused(mode: str, policy: Policy) -> None:
    with pytest.raises(HaError) as raised:
        World({"a": keyed(1)}).run(modes=(mode,), recent=Wish(policy=policy))
    assert raised.value.code == "window_too_short"


@pytest.mark.parametrize(("written", "modes", "passes"), [
    ("ROW", ("whole",), True), ("row", ("whole",), True), ("MIXED", ("whole",), False),
    ("STATEMENT", ("whole", "snapshot"), False), ("MIXED", ("snapshot",), True),
])  # fmt: skip
def test_statements_in_the_log_make_no_proof(written: str, modes: tuple[str, ...], passes: bool) -> None:
    made = World({"a": keyed(1)})
    made.settings = {"binlog_format": written}
    report = made.run(modes=modes)
    assert (report["verdict"] == "pass") == passes
    assert {each["code"] for each in report["servers"]} == (set() if passes else {"not_row_format"})


def test_a_definition_that_is_on_its_way_is_no_other_table_of_a_snapshot() -> None:
    """information_schema shows the definitions of now; INSTANT changes leave the table's number as it is."""
    made = World({"a": keyed(1, 2)}, replicas=1)
    more = (*COLUMNS, {**COLUMNS[1], "name": "d"})
    changed: list[str] = []

    def alter(sql: str) -> None:
        if "information_schema.COLUMNS" in sql and not changed:
            changed.append(sql)
            made.held("p", "a").columns = more

    def arrives(sql: str) -> None:
        if changed and "WAIT_FOR_EXECUTED_GTID_SET" in sql:
            made.held("r1", "a").columns = more

    made.primary.before, made.nodes["r1"].before = alter, arrives
    found = verdicts(made.run(modes=("snapshot",)))
    assert found["a", "r1"] == ("unstable", "definition_changed")


def test_a_replica_that_was_rebuilt_is_compared_again_when_a_run_goes_on(tmp_path: Path) -> None:
    """What was found of it is told again after a mere interruption, and is of other data once it was started anew."""
    made = World({"a": keyed(1, 2), "big": keyed(*range(1, 6))})
    made.held("r1", "a").rows[20_000] = "other"

    def cut_off(sql: str) -> None:
        if sql == "aggregate" and len(made.primary.log) > 60:
            made.killed = True
            raise Killed

    made.primary.before = cut_off
    with pytest.raises(Killed):
        made.run(state_directory=str(tmp_path))
    made.primary.before = lambda sql: None
    made.held("r1", "a").rows[20_000] = made.held("p", "a").rows[20_000]
    kept = next(tmp_path.glob("*.run.json")).read_text()
    assert verdicts(made.run(state_directory=str(tmp_path)))["a", "r1"][0] == "different", "of the run before"
    (tmp_path / "simulated.run.json").write_text(kept)
    made.nodes["r1"].started = 500.0
    assert set(verdicts(made.run(state_directory=str(tmp_path))).values()) == {("pass", "")}


def test_mutant_a_rebuilt_replica_keeps_its_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "of_these_servers", lambda state, *_given: state)
    with pytest.raises(AssertionError):
        test_a_replica_that_was_rebuilt_is_compared_again_when_a_run_goes_on(tmp_path)
