# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows that a log touched, and what the recent modes need and remember from run to run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.statement_names import Named
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import findings, recent, recheck, whole
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.memory import Remembered
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.recent_binlog import RecentByBinlog
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.window import Memory
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from ansible_collections.lossless.mysql_ha.tests.unit.binlog.samples import content
from ansible_collections.lossless.mysql_ha.tests.unit.binlog.samples import whole as transactions
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.simulated_pair import NUMBERED, Asked, Replica, World

T = Named("s", "t")
UUID = "00000001-0000-0000-0000-000000000000"


def touched(world: World, keys: list[tuple[Any, ...]], **more: Any) -> Any:
    limits = whole.Limits(recheck.Limits(listed=10), **more)
    return RecentByBinlog(
        Asked(T, NUMBERED), iter(keys), len(keys), world.primary, dict(world.replicas), limits,
        clock=world.clock, sleep=world.sleep,
    )  # fmt: skip


def rows(count: int) -> dict[tuple[Any, ...], str]:
    return {(number,): f"v{number}" for number in range(count)}


def test_the_rows_that_were_touched_are_compared_and_no_others() -> None:
    world = World(rows(500))
    Replica(world, "r1", rows(500), planted={(7,): "other", (8,): None, (400,): "not touched"})
    Replica(world, "r2", rows(500))
    found = touched(world, [(number,) for number in range(300)]).run()
    assert found["r2"].verdict == findings.PASS and found["r2"].rows == 300 and found["r2"].covered == 1.0
    said = found["r1"]
    assert (said.verdict, said.difference_count, said.mode) == (findings.DIFFERENT, 2, findings.RECENT_BINLOG)
    assert {(each.key["id"], each.kind) for each in said.differences} == {("7", "value"), ("8", "missing")}


def test_a_row_that_is_gone_on_the_primary_alone_is_found() -> None:
    world = World(rows(5))
    Replica(world, "r1", rows(9))
    said = touched(world, [(6,), (2,)]).run()["r1"]
    assert [(each.key["id"], each.kind) for each in said.differences] == [("6", "extra")]


def test_nothing_touched_is_a_pass_and_no_time_is_none() -> None:
    world = World(rows(5))
    Replica(world, "r1", rows(5))
    assert touched(world, []).run()["r1"].verdict == findings.PASS
    late = touched(world, [(1,)], until=world.now).run()["r1"]
    assert (late.verdict, late.code) == (findings.SKIPPED, "not_finished")


def test_mutant_that_looks_at_the_first_batch_only() -> None:
    first = "ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.recent_binlog._batches"
    with mock.patch(first, lambda keys: iter([list(keys)[:3]])), pytest.raises(AssertionError):
        test_the_rows_that_were_touched_are_compared_and_no_others()


# --- the files -------------------------------------------------------------------------------------------------------
def test_files_by_their_age(tmp_path: Path) -> None:
    paths = []
    for number in range(3):
        path = tmp_path / f"binlog.{number}"
        path.write_bytes(b"")
        os.utime(path, (number * 100.0, number * 100.0))
        paths.append(str(path))
    assert recent.younger(paths, 100.0) == paths[1:]
    assert recent.younger(paths, 999.0) == paths[2:], "the last one is always looked at"
    with pytest.raises(HaError, match="cannot look at"):
        recent.younger([str(tmp_path / "gone")], 1.0)


def test_files_by_what_is_known_already(tmp_path: Path) -> None:
    path = tmp_path / "binlog.000001"
    path.write_bytes(content("plain"))
    before = recent.before(str(path))
    held = [each.gtid.as_set() for each in transactions(content("plain")) if each.gtid]
    assert held and recent.since([str(path)], before) == [str(path)]
    # The newest file in front of which everything is known, and what is behind it.
    assert recent.since([str(tmp_path / "older"), str(path)], before | held[0]) == [str(path)]


def test_a_key_of_a_server_in_the_form_of_the_log() -> None:
    columns = (column("a", "varchar", charset="utf8mb4"), column("b", "varbinary"), column("c", "int"))
    assert recent._as_logged(columns, ("ä".encode(), b"\xff", 3)) == ("ä", b"\xff", 3)


# --- what is remembered ----------------------------------------------------------------------------------------------
TABLES = {"include": ["s"], "exclude": []}
A, B, C = "a", "b", "c"


def read(*transactions: int) -> GtidSet:
    return GtidSet.parse(",".join(f"{UUID}:{number}" for number in transactions))


def test_windows_and_what_was_read_are_there_in_the_next_run(tmp_path: Path) -> None:
    first = Remembered(str(tmp_path), "ledger", TABLES)
    assert first.read([A, B]) is None and first.window(T, "r1") is None
    memory = Memory(now=9, high=8, bound=7, floor=6)
    first.keep_window(T, "r1", memory)
    first.keep_read([A, B], read(1, 2, 3))
    assert Remembered(str(tmp_path), "ledger", TABLES).read([A]) is None, "only what was saved"
    first.save()
    again = Remembered(str(tmp_path), "ledger", TABLES)
    assert again.window(T, "r1") == memory and again.window(T, "r2") is None
    assert again.read([A, B]) == read(1, 2, 3)
    other = Remembered(str(tmp_path), "ledger", {**TABLES, "exclude": ["s.x"]})
    assert other.read([A, B]) is None, "of other tables nothing is known"
    assert other.window(T, "r1") == memory


def test_a_server_that_was_away_or_differed_is_not_taken_for_compared(tmp_path: Path) -> None:
    kept = Remembered(str(tmp_path), "ledger", TABLES)
    kept.keep_read([A, B, C], read(1))
    kept.keep_read([A, B], read(1, 2, 3))
    assert kept.read([A, B, C]) == read(1) and kept.read([A, B]) == read(1, 2, 3)
    assert kept.read([C, B]) == read(1), "whoever is the primary"
    assert kept.read([A, "new"]) == read(1, 2, 3) and kept.unknown([A, "new"]) == ["new"]
    kept.forget_read()
    assert kept.read([A, B, C]) is None


def test_a_run_that_keeps_windows_alone_leaves_what_was_read(tmp_path: Path) -> None:
    kept = Remembered(str(tmp_path), "ledger", TABLES)
    kept.keep_read([A, B, C], read(1))
    kept.save()
    without = Remembered(str(tmp_path), "ledger", TABLES)
    without.keep_window(T, "r1", Memory(now=9, high=8, bound=7, floor=6))
    without.save()
    assert Remembered(str(tmp_path), "ledger", TABLES).read([A, B, C]) == read(1)


def test_names_with_dots_have_windows_of_their_own(tmp_path: Path) -> None:
    kept = Remembered(str(tmp_path), "ledger", TABLES)
    kept.keep_window(Named("a.b", "c"), "r1", Memory(now=9, high=8, bound=7, floor=6))
    assert kept.window(Named("a", "b.c"), "r1") is None


@pytest.mark.parametrize("broken", ["", "[]", "{", '{"format": 9}', '{"format": 2, "windows": 3, "read": "x"}'])
def test_what_can_not_be_read_is_compared_again(broken: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.recent.json").write_text(broken)
    found = Remembered(str(tmp_path), "ledger", TABLES)
    assert found.read([A]) is None and found.window(T, "r1") is None


def test_without_a_directory_nothing_is_kept() -> None:
    found = Remembered("", "ledger", TABLES)
    found.keep_read([A], read(1))
    found.save()
    assert Remembered("", "ledger", TABLES).read([A]) is None


def test_a_place_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = Remembered(str(tmp_path / "file" / "below"), "ledger", TABLES)
    found.keep_read([A], read(1))
    with pytest.raises(HaError) as refused:
        found.save()
    assert refused.value.code == "state_unwritable"
