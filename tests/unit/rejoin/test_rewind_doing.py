# SPDX-License-Identifier: GPL-3.0-or-later
"""The cut itself, on a log that mysqld wrote and was killed over."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.files import BinlogFile
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import union
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin import record, remains, rewind
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.plan import (
    Nothing,
    Rewind,
    Successor,
    plan_rewind,
)
from ansible_collections.lossless.mysql_ha.tests.unit.binlog.samples import UUID, content, whole
from ansible_collections.lossless.mysql_ha.tests.unit.topology.situations import beat, term, uuid

KILLED = whole(content("killed"))
LAST = KILLED[-1]


@pytest.fixture(name="place")
def place_(tmp_path: Path) -> remains.Place:
    """A data directory with one log file, of which the successor lacks the last transaction."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "binlog.000001").write_bytes(content("killed"))
    (data / "binlog.index").write_text("./binlog.000001\n")
    (data / "auto.cnf").write_text(f"[auto]\nserver-uuid={UUID}\n")
    (data / "ibdata1").write_bytes(b"\0" * 4096)
    return remains.Place(str(data), str(data / "binlog.index"))


@pytest.fixture(name="evidence")
def evidence_(tmp_path: Path) -> rewind.Evidence:
    return rewind.Evidence("ledger", "db1", str(tmp_path / "archive"), str(tmp_path / "rejoin"))


def successor() -> Successor:
    with BinlogFile.open(str(Path(__file__).parents[1] / "binlog" / "fixtures" / "killed.binlog")) as file:
        before = file.prelude().previous_gtids
    has = union(each.gtid.as_set() for each in KILLED[:-1] if each.gtid)
    row = term(3, 1)
    return Successor("db2", uuid(2), term(3, 1, primary=2), has | before if before else has, row, beat(row))


def plan(place: remains.Place) -> Any:
    knows = successor()
    return plan_rewind(remains.read(place, knows.executed), knows)


def log(place: remains.Place) -> bytes:
    return Path(place.data_directory, "binlog.000001").read_bytes()


def do(place: remains.Place, evidence: rewind.Evidence, **how: Any) -> record.Record:
    way = plan(place)
    assert isinstance(way, Rewind)
    return rewind.rewind(way, UUID, place, evidence, now=1.0, **how)


def test_what_is_cut_is_archived_kept_and_written_down(place: remains.Place, evidence: rewind.Evidence) -> None:
    done = do(place, evidence)
    assert log(place) == content("killed")[: LAST.start]
    assert Path(done.kept).read_bytes() == content("killed")[LAST.start :]
    assert done.sha256 == hashlib.sha256(content("killed")[LAST.start :]).hexdigest()
    manifest = json.loads(Path(done.archive, "manifest.json").read_text())
    assert manifest["found"] == done.gtids == str(LAST.gtid)
    assert record.read(evidence.records) == done
    assert done.pending
    assert oct(os.stat(done.kept).st_mode & 0o777) == "0o600"
    assert plan(place) == Nothing()


def test_what_was_kept_can_be_put_back(place: remains.Place, evidence: rewind.Evidence) -> None:
    done = do(place, evidence)
    with open(done.file, "ab") as stream:
        stream.write(Path(done.kept).read_bytes())
    assert log(place) == content("killed")


class Killed(Exception):
    pass


@pytest.mark.parametrize("point", rewind.POINTS)
def test_killed_anywhere_and_run_again_it_ends_the_same(
    point: str, place: remains.Place, evidence: rewind.Evidence
) -> None:
    def reach(here: str) -> None:
        if here == point:
            raise Killed

    with pytest.raises(Killed):
        do(place, evidence, reach=reach)
    if point == "cut:after":
        assert plan(place) == Nothing()
    else:
        assert log(place) == content("killed")
        do(place, evidence)
    assert log(place) == content("killed")[: LAST.start]
    written = record.read(evidence.records)
    assert written is not None
    assert written.pending
    assert Path(written.kept).read_bytes() == content("killed")[LAST.start :]


def test_before_the_cut_everything_is_on_disk(
    place: remains.Place, evidence: rewind.Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order: whatever stops it, nothing is cut that is not archived, kept and written down."""
    seen = []

    def cut(path: str, offset: int, size: int) -> None:
        written = record.read(evidence.records)
        assert written is not None
        assert Path(written.kept).exists()
        assert Path(written.archive, "manifest.json").exists()
        seen.append(offset)

    monkeypatch.setattr(rewind, "cut", cut)
    do(place, evidence)
    assert seen == [LAST.start]


def test_nothing_is_cut_under_a_server_that_runs(place: remains.Place, evidence: rewind.Evidence) -> None:
    holder = (
        "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, os.path.join(place.data_directory, "ibdata1")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(HaError) as error:
            do(place, evidence)
        other.communicate(b"\n")
    assert error.value.code == "server_runs"
    assert log(place) == content("killed")
    assert record.read(evidence.records) is None


def test_mysqld_could_not_start_meanwhile(place: remains.Place, evidence: rewind.Evidence) -> None:
    attempts = []

    def reach(_point: str) -> None:
        path = os.path.join(place.data_directory, "ibdata1")
        code = f"import fcntl; fcntl.lockf(open({path!r}, 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        attempts.append(subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode)

    do(place, evidence, reach=reach)
    assert attempts == [1] * len(rewind.POINTS)


def test_a_log_that_changed_is_not_cut(place: remains.Place, evidence: rewind.Evidence) -> None:
    def reach(point: str) -> None:
        if point == "record:after":
            with open(os.path.join(place.data_directory, "binlog.000001"), "ab") as stream:
                stream.write(b"x")

    with pytest.raises(HaError) as error:
        do(place, evidence, reach=reach)
    assert error.value.code == "log_changed"
    assert log(place) == content("killed") + b"x"


def test_without_space_nothing_is_cut(
    place: remains.Place, evidence: rewind.Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewind.shutil, "disk_usage", lambda _path: types.SimpleNamespace(free=10))
    with pytest.raises(HaError) as error:
        do(place, evidence)
    assert error.value.code == "no_space"
    assert log(place) == content("killed")


def test_persisted_settings_are_found_at_any_depth(place: remains.Place) -> None:
    text = {"Version": 2, "mysql_dynamic_parse_early_variables": {"sync_binlog": {"Value": "0", "Metadata": {}}}}
    Path(place.data_directory, "mysqld-auto.cnf").write_text(json.dumps(text))
    assert remains.persisted(place.data_directory) == {"sync_binlog": "0"}
    Path(place.data_directory, "mysqld-auto.cnf").write_text("{")
    with pytest.raises(HaError) as error:
        remains.persisted(place.data_directory)
    assert error.value.code == "persisted_unreadable"


def test_who_ended_by_itself(place: remains.Place) -> None:
    assert remains.ended_by_itself(place) is False
    Path(place.data_directory, "binlog.000001").write_bytes(content("plain"))
    assert remains.ended_by_itself(place) is True
    os.unlink(place.index)
    assert remains.ended_by_itself(place) is None


def test_without_its_identity_nothing_is_read(place: remains.Place) -> None:
    os.unlink(os.path.join(place.data_directory, "auto.cnf"))
    with pytest.raises(HaError) as error:
        plan(place)
    assert error.value.code == "server_unknown"
