# SPDX-License-Identifier: GPL-3.0-or-later
"""A clone in a directory: what counts as one, what speaks against it, and the record that is on disk first."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone import directory as clone_directory
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone import directory_plan as clone_directory_plan
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.directory import (
    look,
    read_record,
    record_path,
    write_record,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.directory_plan import (
    Join,
    Make,
    Place,
    Present,
    decide,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.plan import CloneFacts
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.progress import Progress, Stage
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.refusal import Refusal
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import ServerState

UUID = "00000003-0000-0000-0000-000000000000"
DONOR = ServerState("db3", UUID, 3, "8.4.6", GtidSet.parse(f"{UUID}:1-9"))
FACTS = CloneFacts(
    variables={"max_allowed_packet": str(64 << 20), "datadir": "/d"}, plugins=frozenset({"clone"}), data=1
)
RECORD = {"format": 1, "state": "complete", "donor": "db3", "donor_uuid": UUID, "files": 4, "bytes": 100}
FREE = Place(server_uuid=UUID, free=1 << 40)
THERE = Place(server_uuid=UUID, exists=True, record=RECORD, files=4, bytes=100)
PATH = "/srv/copy"


def test_it_is_made_once() -> None:
    assert decide(DONOR, FACTS, PATH, FREE) == Make(1)
    assert decide(DONOR, FACTS, PATH, THERE) == Present(RECORD)


REFUSED: dict[str, tuple[dict[str, Any], Place, str]] = {
    "not_on_donors_host": ({}, dataclasses.replace(FREE, server_uuid="another"), PATH),
    "directory_not_absolute": ({}, FREE, "srv/copy"),
    "directory_in_datadir": ({}, dataclasses.replace(FREE, inside=True), PATH),
    "directory_parent_missing": ({}, dataclasses.replace(FREE, parent=False), PATH),
    "clone_plugin_missing": ({"plugins": frozenset()}, FREE, PATH),
    "clone_in_progress": ({"running": True}, FREE, PATH),
    "max_allowed_packet_small": ({"variables": {"max_allowed_packet": "1024"}}, FREE, PATH),
    "tables_not_innodb": ({"not_innodb": ("a.b (CSV)",)}, FREE, PATH),
    "clone_incomplete": ({"clone": Progress("Failed", stages=(Stage("DROP DATA", "Completed"),))}, FREE, PATH),
    "disk_space_short": ({}, dataclasses.replace(FREE, free=1), PATH),
    "directory_not_a_clone": ({}, dataclasses.replace(THERE, record=None), PATH),
    "clone_unfinished": ({}, dataclasses.replace(THERE, record=dict(RECORD, state="begun")), PATH),
    "directory_of_another_donor": ({}, dataclasses.replace(THERE, record=dict(RECORD, donor_uuid="x")), PATH),
    "clone_changed": ({}, dataclasses.replace(THERE, bytes=101), PATH),
}


@pytest.mark.parametrize("code", REFUSED)
def test_each_reason_alone(code: str) -> None:
    facts, place, path = REFUSED[code]
    verdict = decide(DONOR, dataclasses.replace(FACTS, **facts), path, place)
    assert isinstance(verdict, Refusal) and verdict.codes == (code,)
    assert all(reason.next_step for reason in verdict.reasons)


def test_all_reasons_at_once() -> None:
    facts = dataclasses.replace(FACTS, plugins=frozenset(), running=True, not_innodb=("a.b (CSV)",))
    verdict = decide(DONOR, facts, "copy", Place(parent=False, inside=True))
    assert isinstance(verdict, Refusal) and len(verdict.codes) == 7


def test_one_that_is_at_work_is_waited_for_if_it_is_this_one() -> None:
    at_work = dataclasses.replace(FACTS, local_running=True)
    begun = dataclasses.replace(THERE, record=dict(RECORD, state="begun"))
    assert decide(DONOR, at_work, PATH, begun) == Join()
    other = decide(DONOR, at_work, PATH, FREE)
    assert isinstance(other, Refusal) and other.codes == ("clone_in_progress",)


# --- files -----------------------------------------------------------------------------------------------------------
def test_the_record_is_whole_private_and_read_back(tmp_path: Path) -> None:
    path = str(tmp_path / "copy")
    write_record(path, RECORD)
    write_record(path, dict(RECORD, files=5))
    assert read_record(path) == dict(RECORD, files=5)
    assert (tmp_path / "copy.clone.json").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["copy.clone.json"], "nothing half is left"
    assert record_path(path + "/") == record_path(path)


def test_what_is_no_record_is_none(tmp_path: Path) -> None:
    path = str(tmp_path / "copy")
    assert read_record(path) is None
    for text in ("{", "[]", json.dumps({"format": 99})):
        Path(record_path(path)).write_text(text)
        assert read_record(path) is None


def test_a_record_that_does_not_reach_the_disk_is_an_error_and_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "copy")
    write_record(path, RECORD)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(clone_directory.os, "fsync", full)
    with pytest.raises(HaError) as caught:
        write_record(path, dict(RECORD, files=5))
    assert caught.value.code == "record_unwritable" and read_record(path) == RECORD
    assert [p.name for p in tmp_path.iterdir()] == ["copy.clone.json"]


def test_a_look_at_the_place(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "auto.cnf").write_text(f"[auto]\nserver-uuid={UUID.upper()}\n")
    copy = tmp_path / "copy"
    empty = look(str(copy), str(data))
    assert (empty.server_uuid, empty.parent, empty.exists, empty.inside) == (UUID, True, False, False)
    assert empty.free > 0
    copy.mkdir()
    (copy / "ibdata1").write_bytes(b"x" * 7)
    write_record(str(copy), RECORD)
    seen = look(str(copy), str(data))
    assert (seen.exists, seen.files, seen.bytes, seen.record) == (True, 1, 7, RECORD)
    assert look(str(data / "sub"), str(data)).inside
    assert look(str(tmp_path / "no" / "copy"), str(data)).parent is False
    assert look(str(copy), str(tmp_path / "elsewhere")).server_uuid == ""


def test_formats_agree() -> None:
    assert RECORD["format"] == clone_directory_plan.FORMAT and RECORD["state"] == clone_directory_plan.COMPLETE
