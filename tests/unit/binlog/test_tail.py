# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a log from its end finds what reading it from its beginning finds, wherever the other server stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import tail
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.files import BinlogFile
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import union

from .samples import content, opened, whole

NAMES = ("plain", "killed", "xa", "special", "tagged")


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def written(tmp_path: Path, name: str) -> str:
    path = tmp_path / f"{name}.binlog"
    path.write_bytes(content(name))
    return str(path)


@pytest.mark.parametrize("window", [64, 300, 1 << 16])
def test_everything_behind_what_the_other_server_has(
    name: str, window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "_FIRST_WINDOW", window)
    path, everything = written(tmp_path, name), whole(content(name))
    for kept in range(len(everything) + 1):
        has = {str(each.gtid) for each in everything[:kept]}
        found = tail.read_tail(path, lambda gtid, has=has: str(gtid) in has)  # type: ignore[misc]
        assert [each for each in found.transactions if str(each.gtid) not in has] == everything[kept:]
        assert found.transactions == tuple(everything[-len(found.transactions) :])


def test_a_small_tail_of_a_large_log_is_all_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "_FIRST_WINDOW", 512)
    everything = whole(content("plain"))
    has = union(each.gtid.as_set() for each in everything[:-1] if each.gtid)
    found = tail.read_tail(written(tmp_path, "plain"), lambda gtid: gtid.as_set() <= has)
    assert found.begin > everything[0].start
    assert len(found.transactions) < len(everything)


def test_how_the_file_ends_is_said_the_same_way(name: str, tmp_path: Path) -> None:
    file = opened(content(name))
    everything = list(file.transactions())
    found = tail.read_tail(written(tmp_path, name), lambda gtid: gtid == everything[-1].gtid)
    assert found.ending == file.ending
    assert found.previous == opened(content(name)).prelude().previous_gtids


def test_bytes_of_a_row_that_look_like_an_event_are_none(tmp_path: Path) -> None:
    """A whole GTID event, copied to another place: its checksum is right, and it names another place."""
    data = content("plain")
    first = whole(data)[0]
    event = data[first.start : first.start + 200]
    file = opened(data + event)
    file.prelude()
    assert file.transaction_after(len(data)) is None
    assert file.transaction_after(first.start) == (first.start, first.gtid)


def test_a_torn_file_is_read_to_its_last_whole_transaction(tmp_path: Path) -> None:
    everything = whole(content("killed"))
    path = tmp_path / "torn.binlog"
    path.write_bytes(content("killed")[:-7])
    found = tail.read_tail(str(path), lambda gtid: False)
    assert found.transactions == tuple(everything[:-1])
    assert found.ending.how == "torn"


def test_in_use_says_who_did_not_end_by_itself(tmp_path: Path) -> None:
    assert tail.in_use(written(tmp_path, "killed")) is True
    assert tail.in_use(written(tmp_path, "plain")) is False
    empty = tmp_path / "empty.binlog"
    empty.write_bytes(content("plain")[:10])
    assert tail.in_use(str(empty)) is None


def test_statements_that_the_engine_prepared_have_an_xid() -> None:
    """CREATE TABLE does (atomic DDL), CREATE DATABASE does, a row transaction does; a MyISAM one does not."""
    plain = [each for each in whole(content("plain")) if each.ends == "query"]
    assert plain
    assert all(each.xid for each in plain), [(each.xid, each.statements) for each in plain]
    assert all(each.xid for each in whole(content("killed")))
    assert [each for each in whole(content("special")) if each.ends == "commit" and not each.xid]


def test_the_reader_can_begin_at_every_transaction(name: str, tmp_path: Path) -> None:
    everything = whole(content(name))
    with BinlogFile.open(written(tmp_path, name)) as file:
        file.prelude()
        for number, each in enumerate(everything):
            assert [t for t in file.transactions(begin=each.start) if t.complete] == everything[number:]
