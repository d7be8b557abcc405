# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives: the raw bytes of what was asked, named exactly, made once, whole or not at all."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import archive as room
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import archive_rows, files
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.archive import Archived, Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.files import BinlogFile
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet

from .samples import SERIES, UUID, content, whole

NOW = 1795230600.0


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    """A data directory with six files of one server, and a place for archives."""
    data = tmp_path / "data"
    data.mkdir()
    for number, name in enumerate(SERIES, 1):
        (data / f"binlog.{number:06}").write_bytes(content(name))
    (data / "binlog.index").write_text("".join(f"./binlog.{number:06}\n" for number in range(1, 7)))
    (data / "auto.cnf").write_text(f"[auto]\nserver-uuid={UUID}\n")
    return Request(
        wanted=GtidSet.parse(f"{UUID}:5:13:mytag:1:3"),
        index=str(data / "binlog.index"),
        directory=str(tmp_path / "kept"),
        cluster="ledger",
    )


def run(request: Request, *, apply: bool = True) -> Archived:
    return room.archive(request, apply=apply, now=NOW, host="db1")


def asking(request: Request, gtids: str, **other: Any) -> Request:
    return dataclasses.replace(request, wanted=GtidSet.parse(gtids), **other)


def code_of(request: Request, *, apply: bool = True) -> HaError:
    with pytest.raises(HaError) as caught:
        run(request, apply=apply)
    assert caught.value.next_step
    json.dumps(caught.value.as_result())
    return caught.value


def tree(place: str) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in Path(place).rglob("*")) if os.path.exists(place) else []


def test_the_bytes_are_those_of_the_log(request_: Request) -> None:
    done = run(request_)
    assert done.changed
    target = Path(done.path)
    raw = (target / room.LOG_NAME).read_bytes()
    manifest = json.loads((target / room.MANIFEST_NAME).read_text())
    sources = {
        str(each.gtid): content(name)[each.start : each.end]
        for name in SERIES
        for each in whole(content(name))
        if each.gtid is not None and each.gtid.as_set() <= request_.wanted
    }
    assert [each["gtid"] for each in manifest["transactions"]] == list(sources)
    for each in manifest["transactions"]:
        piece = raw[each["archive_start"] : each["archive_start"] + each["end"] - each["start"]]
        assert piece == sources[each["gtid"]]
        assert hashlib.sha256(piece).hexdigest() == each["sha256"]
    assert manifest["archive"] == {
        "file": room.LOG_NAME,
        "size": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }
    assert manifest["server_uuid"] == UUID
    assert manifest["asked"] == manifest["found"] == str(request_.wanted)
    assert [Path(each["path"]).name for each in manifest["sources"]] == [
        "binlog.000001",
        "binlog.000002",
        "binlog.000005",
    ]
    assert manifest["missing"] == []
    assert done.values["tables"] == [
        {"schema": "bank", "table": "account", "write": 0, "update": 2, "delete": 1},
        {"schema": "bank", "table": "entry", "write": 4, "update": 0, "delete": 0},
    ]
    with BinlogFile.open(str(target / room.LOG_NAME)) as file:
        assert [str(each.gtid) for each in file.transactions()] == list(sources)


def test_the_description_changes_where_the_format_does(request_: Request) -> None:
    """The last transaction comes from a file without checksums, and is read without."""
    raw = (Path(run(request_).path) / room.LOG_NAME).read_bytes()
    with BinlogFile.open(str(Path(run(request_).path) / room.LOG_NAME)) as file:
        assert [each.kind for each in file.events()].count(15) == 2
    assert raw.startswith(content("plain")[:127])


def test_nobody_else_may_read_it(request_: Request) -> None:
    before = os.umask(0)
    try:
        target = Path(run(request_).path)
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o700
    assert target.parent.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in target.iterdir()} == {0o600}


def test_the_second_run_changes_nothing(request_: Request) -> None:
    first = run(request_)
    again = run(request_)
    assert (again.changed, again.path, again.values) == (False, first.path, first.values)
    assert again.before == again.after == first.after
    assert not run(request_, apply=False).changed


def test_it_stays_when_the_log_has_been_cut(request_: Request) -> None:
    first = run(request_)
    for path in Path(request_.index).parent.glob("binlog.0*"):
        path.unlink()
    assert run(request_).values == first.values


def test_check_mode_writes_nothing_and_says_the_same(request_: Request) -> None:
    planned = run(request_, apply=False)
    assert planned.changed
    assert not os.path.exists(request_.directory)
    done = run(request_)
    assert planned.path == done.path
    assert planned.after == done.after
    for key in ("found", "missing", "tables", "transaction_count"):
        assert planned.values[key] == done.values[key]


def test_nothing_asked_is_nothing_done(request_: Request) -> None:
    done = run(asking(request_, ""))
    assert (done.changed, done.path) == (False, "")
    assert set(done.values) == set(run(request_).values)


def test_missing_ones_are_named_with_the_reason_and_nothing_is_written(request_: Request) -> None:
    data = Path(request_.index).parent
    (data / "binlog.index").write_text("".join(f"./binlog.{number:06}\n" for number in range(2, 7)))
    last = content("special")
    final = whole(last)[-1]
    (data / "binlog.000006").write_bytes(last[: final.end - 1])
    error = code_of(asking(request_, f"{UUID}:1:13:33:500,{UUID}:mytag:9"))
    assert error.code == "gtids_not_in_binlog"
    assert error.evidence["missing"] == [
        {"gtids": f"{UUID}:1", "why": "older_than_the_oldest_file"},
        {"gtids": f"{UUID}:33", "why": "incomplete"},
        {"gtids": f"{UUID}:500:mytag:9", "why": "unknown_here"},
    ]
    assert error.evidence["found"] == f"{UUID}:13"
    assert not os.path.exists(request_.directory)


def test_what_stands_behind_damage_is_missing(request_: Request) -> None:
    path = Path(request_.index).parent / "binlog.000002"
    data = bytearray(path.read_bytes())
    data[whole(bytes(data))[2].end - 1] ^= 1
    path.write_bytes(bytes(data))
    error = code_of(asking(request_, f"{UUID}:13-14:mytag:1-2"))
    assert error.evidence["missing"] == [{"gtids": f"{UUID}:14:mytag:2", "why": "damaged"}]
    assert error.evidence["files_read"][str(path)]["how"] == "damaged"


def test_executed_and_never_logged(request_: Request) -> None:
    """The next file says it came before, but it did not (gtid_purged was set)."""
    Path(request_.index).write_text("./binlog.000001\n./binlog.000003\n")
    error = code_of(asking(request_, f"{UUID}:13"))
    assert error.evidence["missing"] == [{"gtids": f"{UUID}:13", "why": "not_in_the_log"}]


def test_what_there_is_when_allowed(request_: Request) -> None:
    request = asking(request_, f"{UUID}:5:900", allow_missing=True)
    done = run(request)
    assert done.values["found"] == f"{UUID}:5"
    assert done.values["missing"] == [{"gtids": f"{UUID}:900", "why": "unknown_here"}]
    assert not run(request).changed
    assert code_of(dataclasses.replace(request, allow_missing=False)).code == "gtids_not_in_binlog"
    (Path(request.index).parent / "binlog.000001").write_bytes(content("plain")[:1170])
    assert not run(request).changed  # less is found now; the archive has it


def test_an_incomplete_archive_is_not_written_over_when_more_is_found(request_: Request) -> None:
    request = asking(request_, f"{UUID}:5:13", allow_missing=True)
    path = Path(request.index).parent / "binlog.000002"
    path.write_bytes(content("tagged")[:300])
    first = run(request)
    assert first.values["missing"] == [{"gtids": f"{UUID}:13", "why": "incomplete"}]
    before = tree(request.directory)
    path.write_bytes(content("tagged"))
    assert code_of(request).code == "archive_exists"
    assert tree(request.directory) == before
    assert run(dataclasses.replace(request, name="second")).changed


def test_an_archive_of_nothing_is_evidence_too(request_: Request) -> None:
    done = run(asking(request_, f"{UUID}:900", allow_missing=True))
    assert done.values["found"] == ""
    with BinlogFile.open(str(Path(done.path) / room.LOG_NAME)) as file:
        assert list(file.transactions()) == []
        assert file.ending.how == "open"


@pytest.mark.parametrize(
    "other", [{"cluster": "other"}, {"wanted": GtidSet.parse(f"{UUID}:6")}], ids=["cluster", "gtids"]
)
def test_the_same_name_for_something_else(request_: Request, other: dict[str, Any]) -> None:
    run(dataclasses.replace(request_, name="incident"))
    assert code_of(dataclasses.replace(request_, name="incident", **other)).code == "archive_exists"


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", "", "-x", "x" * 200])
def test_a_name_is_a_name(request_: Request, name: str) -> None:
    if name:
        assert code_of(dataclasses.replace(request_, name=name)).code == "archive_name_invalid"
    else:
        assert Path(run(request_).path).name.startswith("ledger-816c2795-")


@pytest.mark.parametrize(
    "spoil",
    ["flip", "no manifest", "no log", "empty", "file", "link", "other format", "flip rows", "no rows", "rows untold"],
)
def test_a_spoilt_archive_is_not_taken_for_one(request_: Request, spoil: str, tmp_path: Path) -> None:
    target = Path(run(request_).path)
    log, manifest, rows = target / room.LOG_NAME, target / room.MANIFEST_NAME, target / room.ROWS_NAME
    if spoil == "flip":
        log.write_bytes(log.read_bytes()[:-1] + b"!")
    elif spoil == "no manifest":
        manifest.unlink()
    elif spoil == "no log":
        log.unlink()
    elif spoil == "flip rows":
        rows.write_bytes(rows.read_bytes().replace(b"-5", b"-6"))
    elif spoil == "no rows":
        rows.unlink()
    elif spoil == "rows untold":
        told = json.loads(manifest.read_text())
        del told["rows"]
        manifest.write_text(json.dumps(told))
    elif spoil == "other format":
        manifest.write_text(json.dumps({"format": 2}))
    else:
        log.unlink()
        rows.unlink()
        manifest.unlink()
        if spoil != "empty":
            target.rmdir()
        if spoil == "file":
            target.write_text("x")
        if spoil == "link":
            target.symlink_to(tmp_path)
    assert code_of(request_).code == "archive_damaged"


def test_without_space_nothing_is_begun(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs
    full = os.statvfs_result([*real("/")[:4], 1000, *real("/")[5:]])
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    for apply in (False, True):
        assert code_of(request_, apply=apply).code == "no_space"
    assert not os.path.exists(request_.directory)


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "no_space"), (errno.EIO, "archive_unwritable")])
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_disk_that_fails_leaves_nothing(
    request_: Request, monkeypatch: pytest.MonkeyPatch, number: int, code: str, call: str
) -> None:
    def fail(*_arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    os.mkdir(request_.directory, 0o700)
    with monkeypatch.context() as broken:
        broken.setattr(os, call, fail)
        assert code_of(request_).code == code
    assert tree(request_.directory) == [".lock"]
    assert run(request_).changed


class Killed(BaseException):
    """The end of the process, as far as the code can see it."""


def test_a_run_that_is_killed_anywhere_and_run_again_converges(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each call that changes the disk; what it left must not be taken for an archive."""
    calls = ("mkdir", "open", "fsync", "rename")
    for moment in range(100):
        request = dataclasses.replace(request_, directory=f"{request_.directory}-{moment}")
        left = [moment]

        def counting(real: Any, left: list[int] = left) -> Any:  # pylint: disable=dangerous-default-value
            def call(*arguments: Any, **named: Any) -> Any:
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                return real(*arguments, **named)

            return call

        died = False
        with monkeypatch.context() as mortal:
            for name in calls:
                mortal.setattr(os, name, counting(getattr(os, name)))
            mortal.setattr(room.shutil, "rmtree", lambda *_a, **_k: None)  # the dead do not tidy up
            try:
                run(request)
            except Killed:
                died = True
        again = run(request)
        assert not run(request).changed
        assert tree(request.directory) == sorted(
            [".lock", Path(again.path).name]
            + [f"{Path(again.path).name}/{name}" for name in (room.LOG_NAME, room.MANIFEST_NAME, room.ROWS_NAME)]
        )
        if not died:
            assert moment > 8
            return
    raise AssertionError


def test_of_two_that_archive_the_same_the_slower_one_finds_it_done(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = room._check_space

    def faster(directory: str, result: Any) -> None:
        monkeypatch.setattr(room, "_check_space", check)
        assert run(request_).changed
        check(directory, result)

    monkeypatch.setattr(room, "_check_space", faster)
    found = run(request_)
    assert not found.changed
    assert found.path == run(request_).path


def test_two_at_once(request_: Request) -> None:
    os.mkdir(request_.directory, 0o700)
    with open(os.path.join(request_.directory, ".lock"), "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert code_of(request_).code == "archive_busy"
    assert run(request_).changed


def test_a_directory_that_others_may_write_in(request_: Request) -> None:
    os.mkdir(request_.directory)
    os.chmod(request_.directory, 0o777)
    assert code_of(request_).code == "archive_directory_unsafe"


def test_a_source_that_changes_under_the_copy(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(request_.index).parent / "binlog.000001"
    real = room._write

    def change(*arguments: Any) -> Any:
        path.write_bytes(content("plain")[:1500] + b"!" + content("plain")[1501:])
        return real(*arguments)

    monkeypatch.setattr(room, "_write", change)
    assert code_of(request_).code == "archive_damaged"
    assert tree(request_.directory) == [".lock"]


def test_no_secret_and_no_value_in_the_manifest(request_: Request) -> None:
    """CREATE USER carries a password hash, the rows carry money; the manifest names neither."""
    target = Path(run(asking(request_, f"{UUID}:1-12")).path)
    assert b"caching_sha2_password" in (target / room.LOG_NAME).read_bytes()
    text = (target / room.MANIFEST_NAME).read_text()
    assert "CREATE USER" in text
    assert "canary" not in text
    assert "$A$" not in text


def test_a_server_without_auto_cnf(request_: Request) -> None:
    (Path(request_.index).parent / "auto.cnf").unlink()
    assert run(request_).values["server_uuid"] == ""


def test_a_torn_log_as_a_crash_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "binlog.000001").write_bytes(content("torn"))
    (tmp_path / "binlog.index").write_text("./binlog.000001\n")
    request = Request(GtidSet.parse(f"{UUID}:105-106"), str(tmp_path / "binlog.index"), str(tmp_path / "kept"))
    assert code_of(request).evidence["missing"] == [{"gtids": f"{UUID}:106", "why": "incomplete"}]
    done = run(dataclasses.replace(request, allow_missing=True))
    assert done.values["found"] == f"{UUID}:105"
    manifest = json.loads(Path(done.values["manifest"]).read_text())
    assert manifest["sources"][0]["ending"]["whole"] == 824
    assert manifest["sources"][0]["ending"]["unfinished"] == f"{UUID}:106"


# Rows


def lines_of(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(path) / room.ROWS_NAME).read_text().splitlines()]


def test_the_rows_are_those_of_the_log(request_: Request) -> None:
    done = run(asking(request_, f"{UUID}:2:5"))
    text = (Path(done.path) / room.ROWS_NAME).read_bytes()
    five = {"gtid": f"{UUID}:5", "kind": "row", "schema": "bank"}
    assert lines_of(done.path) == [
        {
            "gtid": f"{UUID}:2",
            "kind": "statement",
            "schema": "bank",
            "verb": "CREATE TABLE",
            "text": "CREATE TABLE account(id INT PRIMARY KEY, owner VARCHAR(32), cents BIGINT NOT NULL)",
        },
        *(
            {**five, "table": table, "operation": operation, "key": {"id": key}, "before": before, "after": after}
            for table, operation, key, before, after in (
                ("account", "update", 1, {"id": 1, "owner": "a", "cents": 100}, {"id": 1, "owner": "a", "cents": 95}),
                ("account", "update", 2, {"id": 2, "owner": "b", "cents": 200}, {"id": 2, "owner": "b", "cents": 205}),
                ("entry", "write", 1, None, {"id": 1, "account": 1, "cents": -5}),
                ("entry", "write", 2, None, {"id": 2, "account": 2, "cents": 5}),
                ("account", "delete", 1, {"id": 1, "owner": "a", "cents": 95}, None),
            )
        ),
    ]
    expected = {
        "file": room.ROWS_NAME,
        "size": len(text),
        "sha256": hashlib.sha256(text).hexdigest(),
        "rows": 5,
        "statements": 1,
        "undecoded": [],
    }
    manifest = room.load(done.path)
    assert manifest["rows"] == done.values["rows"] == expected
    assert [each["lines"] for each in manifest["transactions"]] == [1, 5]
    assert list(room.objects(done.path, manifest)) == lines_of(done.path)


def test_no_hash_in_the_rows(request_: Request) -> None:
    target = run(asking(request_, f"{UUID}:1-12")).path
    (created,) = [each for each in lines_of(target) if each.get("verb") == "CREATE USER"]
    assert created["text"] == ""
    text = (Path(target) / room.ROWS_NAME).read_text()
    assert "caching_sha2_password" not in text and "$A$" not in text


def test_what_cannot_be_decoded_is_named_and_the_rest_is_there(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 is compressed, 31 holds a difference of JSON; both are archived all the same."""
    monkeypatch.setattr(files, "_zstd", None)
    done = run(asking(request_, f"{UUID}:5:16:30-31:33"))
    assert done.values["found"] == f"{UUID}:5:16:30-31:33"
    assert [(each["gtid"], each["code"]) for each in done.values["rows"]["undecoded"]] == [
        (f"{UUID}:16", "binlog_compressed"),
        (f"{UUID}:31", "binlog_rows_unsupported"),
    ]
    assert all(each["why"] for each in done.values["rows"]["undecoded"])
    assert {each["gtid"] for each in lines_of(done.path)} == {f"{UUID}:5", f"{UUID}:30", f"{UUID}:33"}
    assert [each["lines"] for each in room.load(done.path)["transactions"]] == [5, -1, 1, -1, 1]
    assert not run(asking(request_, f"{UUID}:5:16:30-31:33")).changed


def test_half_a_transaction_is_taken_back(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second row of the first transaction cannot be written; the others are there, and checksums are right."""
    real, seen = archive_rows.line_of, []

    def once(gtid: str, item: Any) -> bytes:
        seen.append(gtid)
        if len(seen) == 2:
            raise HaError("binlog_event_malformed", "broken")
        return real(gtid, item)

    monkeypatch.setattr(archive_rows, "line_of", once)
    done = run(request_)
    assert [each["gtid"] for each in done.values["rows"]["undecoded"]] == [f"{UUID}:5"]
    assert [each["gtid"] for each in lines_of(done.path)] == [f"{UUID}:13", f"{UUID}:mytag:1", f"{UUID}:mytag:3"]
    assert room.load(done.path)["rows"]["rows"] == 3


def test_the_rows_never_take_the_reserve(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for the raw events and 300 bytes more: the first transaction's rows need 700."""
    real = os.statvfs
    exact = room.RESERVE + room._MANIFEST_AT_MOST + 4 * 4096 + 300

    def little(path: Any) -> os.statvfs_result:
        if room._PARTIAL not in str(path):
            return real(path)
        return os.statvfs_result([1, 1, 10**9, exact, exact, *real("/")[5:]])

    monkeypatch.setattr(os, "statvfs", little)
    done = run(request_)
    assert [each["code"] for each in done.values["rows"]["undecoded"]][:1] == ["no_space"]
    assert 0 < done.values["rows"]["size"] <= 300
    assert done.values["found"] == str(request_.wanted)


@pytest.mark.parametrize("spoil", ["short", "torn", "other"])
def test_rows_that_do_not_read_back(request_: Request, monkeypatch: pytest.MonkeyPatch, spoil: str) -> None:
    real = archive_rows.reads_back

    def spoilt(path: str, written: Any) -> str:
        raw = Path(path).read_bytes()
        changed = {
            "short": raw[: raw.index(b"\n") + 1],
            "torn": raw[:-5],
            "other": raw.replace(b"-5", b"-6"),
        }[spoil]
        Path(path).write_bytes(changed)
        return real(path, written)

    monkeypatch.setattr(archive_rows, "reads_back", spoilt)
    error = code_of(request_)
    assert error.code == "archive_damaged" and error.evidence["why"]
    assert tree(request_.directory) == [".lock"]


def test_rows_that_were_counted_wrong(request_: Request) -> None:
    done = run(request_)
    path = str(Path(done.path) / room.ROWS_NAME)
    told = {key: value for key, value in done.values["rows"].items() if key != "file"}
    assert archive_rows.reads_back(path, archive_rows.Written(**told)) == ""
    assert "rows" in archive_rows.reads_back(path, archive_rows.Written(**{**told, "rows": told["rows"] + 1}))
    assert "statements" in archive_rows.reads_back(path, archive_rows.Written(**{**told, "statements": 1}))


def test_an_archive_of_format_1_stays_good(request_: Request) -> None:
    """Made before there were decoded rows: accepted as it is, and its rows are decoded when they are asked for."""
    done = run(request_)
    expected = lines_of(done.path)
    manifest = json.loads((Path(done.path) / room.MANIFEST_NAME).read_text())
    manifest["format"] = 1
    del manifest["rows"]
    (Path(done.path) / room.MANIFEST_NAME).write_text(json.dumps(manifest))
    (Path(done.path) / room.ROWS_NAME).unlink()
    again = run(request_)
    assert not again.changed
    assert again.values["rows"] == {"file": "", "size": 0, "sha256": "", "rows": 0, "statements": 0, "undecoded": []}
    assert list(room.objects(done.path, room.load(done.path))) == expected


def test_rows_that_were_spoilt_later_are_not_read_on(request_: Request) -> None:
    done = run(request_)
    manifest = room.load(done.path)
    rows = Path(done.path) / room.ROWS_NAME
    for broken in (b"{\n", b"[]\n", b"\xff\n"):
        rows.write_bytes(broken)
        with pytest.raises(HaError, match="rows_unreadable"):
            list(room.objects(done.path, manifest))
    rows.unlink()
    with pytest.raises(HaError, match="rows_unreadable"):
        list(room.objects(done.path, manifest))


def test_what_is_no_archive_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(HaError, match="archive_damaged"):
        room.load(str(tmp_path / "none"))
