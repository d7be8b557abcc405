# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: on disk before anything is done, readable after any death, and one run at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.durable_file import DurableFile
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover import journal as journals
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.journal import END, Journal


def opened(directory: Path, run_id: str = "run-1", cluster: str = "ledger") -> Journal:
    journal = Journal(str(directory), cluster, run_id)
    journal.acquire()
    return journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = opened(tmp_path)
    yield journal
    journal.release()


def later(directory: Path, run_id: str = "run-2") -> Journal:
    """The next run, after the first one died: its lock fell with its process."""
    return opened(directory, run_id)


def lines(journal: Journal) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(journal.path).read_text().splitlines()]


# --- writing ---------------------------------------------------------------------------------------------------------
def test_a_record_is_a_line_with_its_time(journal: Journal) -> None:
    journal.write("begin", request={"mode": "emergency"})
    journal.write("freeze", names=["db2", "db3"])
    first, second = lines(journal)
    assert (first["what"], first["request"], second["names"]) == ("begin", {"mode": "emergency"}, ["db2", "db3"])
    assert first["at"] <= second["at"]


def test_a_record_is_on_disk_before_the_call_returns(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written, then synced; and the new file's name is synced with its directory."""
    trace: list[str] = []

    def spy(name: str) -> None:
        real = getattr(os, name)

        def call(handle: int, *rest: Any) -> Any:
            trace.append(f"{name} {os.path.basename(os.readlink(f'/proc/self/fd/{handle}'))}")
            return real(handle, *rest)

        monkeypatch.setattr(os, name, call)

    for name in ("write", "fdatasync", "fsync"):
        spy(name)
    journal.write("begin")
    assert trace == ["fsync ledger", "write run-1.jsonl", "fdatasync run-1.jsonl"]
    trace.clear()
    journal.write("freeze")
    assert trace == ["write run-1.jsonl", "fdatasync run-1.jsonl"]


def test_only_its_owner_reads_it(journal: Journal) -> None:
    journal.write("begin")
    assert os.stat(journal.path).st_mode & 0o077 == 0
    assert os.stat(journal.directory).st_mode & 0o077 == 0


def test_names_can_not_leave_the_directory(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal", "../../run", "../ledger/eu")
    journal.write("begin")
    journal.release()
    assert (tmp_path / "journal") in Path(journal.path).resolve().parents
    assert sorted(p.name for p in tmp_path.iterdir()) == ["journal"]


# --- two at once -----------------------------------------------------------------------------------------------------
def test_two_runs_on_one_host_never_both_act(tmp_path: Path, journal: Journal) -> None:
    with pytest.raises(HaError) as caught:
        later(tmp_path)
    assert caught.value.code == "locked_here"
    assert f"run run-1 pid {os.getpid()}" in caught.value.evidence["holder"]
    assert "run-1" in caught.value.message


def test_two_clusters_do_not_wait_for_each_other(tmp_path: Path, journal: Journal) -> None:
    opened(tmp_path, cluster="other").release()


def test_the_lock_falls_with_its_process(tmp_path: Path) -> None:
    """SIGKILL leaves a journal and a lock file behind, and no lock."""
    script = (
        "import os, signal, sys\n"
        "from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.journal import Journal\n"
        "journal = Journal(sys.argv[1], 'ledger', 'run-1')\n"
        "journal.acquire()\n"
        "journal.write('begin', request={'mode': 'planned'})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, check=False, timeout=30)
    assert done.returncode == -9
    journal = later(tmp_path)
    unfinished = journal.unfinished()
    assert unfinished is not None
    assert (unfinished.run_id, unfinished.request) == ("run-1", {"mode": "planned"})
    journal.release()


def test_after_release_the_next_run_may_come(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.write("begin")
    first.release()
    first.release()
    later(tmp_path).release()


def test_no_child_inherits_the_lock(journal: Journal) -> None:
    journal.write("begin")
    for handle in (journal._lock, journal._file):
        assert handle is not None
        assert fcntl.fcntl(handle, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


# --- interrupted runs ------------------------------------------------------------------------------------------------
def test_a_run_without_an_end_is_unfinished(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.write("begin", request={"mode": "emergency"})
    first.write("freeze", names=["db3", "db2"])
    first.write("freeze", names=["db2", "db4"])
    first.release()
    second = later(tmp_path)
    unfinished = second.unfinished()
    assert unfinished is not None
    assert unfinished.stopped_receivers() == ("db2", "db3", "db4")
    assert unfinished.last("freeze") is not None
    assert unfinished.last("freeze")["names"] == ["db2", "db4"]  # type: ignore[index]
    assert unfinished.last("promote") is None
    second.release()


@pytest.mark.parametrize("how", ["refused", "promoted"])
def test_a_run_with_an_end_is_finished(tmp_path: Path, how: str) -> None:
    first = opened(tmp_path)
    first.write("begin", request={})
    first.write(END, how=how)
    first.release()
    second = later(tmp_path)
    assert second.unfinished() is None
    second.release()


def test_a_run_is_not_its_own_predecessor(journal: Journal) -> None:
    journal.write("begin")
    assert journal.unfinished() is None


def test_the_newest_interrupted_run_comes_first_and_an_older_one_is_not_forgotten(tmp_path: Path) -> None:
    """A finished run after an interrupted one does not hide it: its promotion may have begun."""
    for run_id, records in (("run-1", ["begin", "promote"]), ("run-2", ["begin"]), ("run-3", ["begin", END])):
        each = Journal(str(tmp_path), "ledger", run_id)
        each.acquire()
        for what in records:
            each.write(what)
        each.release()
    journal = opened(tmp_path, "run-4")
    seen = []
    while (unfinished := journal.unfinished()) is not None:
        seen.append(unfinished.run_id)
        journal.close_other(unfinished, "undone")
    assert seen == ["run-2", "run-1"]
    journal.release()


def test_another_cluster_s_journal_is_not_ours(tmp_path: Path) -> None:
    other = opened(tmp_path, cluster="other")
    other.write("begin")
    other.release()
    journal = opened(tmp_path)
    assert journal.unfinished() is None
    journal.release()


@pytest.mark.parametrize("torn", ["", "{", '{"what": "promote", "at": 17', '{"what": "end"}', "\0\0\0\0"])
def test_a_torn_last_line_never_happened(tmp_path: Path, torn: str) -> None:
    first = opened(tmp_path)
    first.write("begin", request={"mode": "emergency"})
    first.release()
    with open(first.path, "a") as out:
        out.write(torn)
    second = later(tmp_path)
    unfinished = second.unfinished()
    assert unfinished is not None
    assert [r["what"] for r in unfinished.records] == ["begin"]
    second.release()


@pytest.mark.parametrize("torn", ["", "{", '{"what": "promote", "at": 17'])
def test_an_interrupted_run_with_a_torn_line_can_be_closed(tmp_path: Path, torn: str) -> None:
    """Else the end would be glued to the torn line, and every later run would choke on it."""
    first = opened(tmp_path)
    first.write("begin", request={"mode": "emergency"})
    first.release()
    with open(first.path, "a") as out:
        out.write(torn)
    second = later(tmp_path)
    unfinished = second.unfinished()
    assert unfinished is not None
    second.close_other(unfinished, "undone")
    assert second.unfinished() is None
    assert [r["what"] for r in lines(first)] == ["begin", END]
    assert (lines(first)[-1]["how"], lines(first)[-1]["by"]) == ("undone", "run-2")
    second.release()


def test_a_journal_that_was_never_begun_is_nobodys(tmp_path: Path) -> None:
    first = opened(tmp_path)
    Path(first.path).write_text('{"what": "beg')
    first.release()
    second = later(tmp_path)
    assert second.unfinished() is None
    second.release()


def test_a_damaged_journal_is_named_and_not_skipped(tmp_path: Path) -> None:
    """A whole line that is no record was not torn by a crash: what that run did is not known."""
    first = opened(tmp_path)
    first.write("begin")
    first.release()
    with open(first.path, "a") as out:
        out.write("garbage\n")
    second = later(tmp_path)
    with pytest.raises(HaError) as caught:
        second.unfinished()
    assert (caught.value.code, caught.value.evidence["path"]) == ("journal_damaged", first.path)
    second.release()


# --- no room ---------------------------------------------------------------------------------------------------------
def full(*_arguments: Any, **_options: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["makedirs", "open", "ftruncate", "pwrite"])
def test_without_a_journal_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    journal = Journal(str(tmp_path), "ledger", "run-1")
    with monkeypatch.context() as patch:
        patch.setattr(journals.os, call, lambda *a, **k: full())
        with pytest.raises(HaError) as caught:
            journal.acquire()
    assert caught.value.code == "journal_unwritable"
    assert "No space left on device" in caught.value.message
    opened(tmp_path, "run-2").release()


def test_a_file_in_the_place_of_the_directory_is_unwritable(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("")
    with pytest.raises(HaError) as caught:
        opened(tmp_path / "journal")
    assert caught.value.code == "journal_unwritable"


@pytest.mark.parametrize("call", ["open", "write", "fdatasync"])
def test_a_record_that_is_not_on_disk_stops_the_run(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(journals.os, call, full)
        with pytest.raises(HaError) as caught:
            journal.write("promote")
    assert caught.value.code == "journal_unwritable"
    assert caught.value.evidence["errno"] == errno.ENOSPC


def test_a_disk_that_fills_in_the_middle_of_a_record_stops_the_run(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """write() takes what there is room for and says how much: that is not the record."""
    journal.write("begin")
    real = os.write
    room = iter([10])

    def little(handle: int, data: bytes) -> int:
        left = next(room, 0)
        return real(handle, data[:left]) if left else full()

    with monkeypatch.context() as patch:
        patch.setattr(journals.os, "write", little)
        with pytest.raises(HaError) as caught:
            journal.write("promote", elected="db2")
    assert caught.value.code == "journal_unwritable"
    journal.write(END, how="refused")
    assert [r["what"] for r in lines(journal)] == ["begin", END], "what was half written is gone"


def test_a_record_that_is_taken_in_pieces_is_whole(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(journals.os, "write", lambda handle, data: real(handle, data[:7]))
    journal.write("promote", elected="db2")
    assert lines(journal)[0]["elected"] == "db2"


def test_an_interrupted_run_that_can_not_be_closed_stops_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(tmp_path)
    first.write("begin")
    first.release()
    second = later(tmp_path)
    unfinished = second.unfinished()
    assert unfinished is not None
    with monkeypatch.context() as patch:
        patch.setattr(journals.os, "write", full)
        with pytest.raises(HaError) as caught:
            second.close_other(unfinished, "undone")
    assert caught.value.code == "journal_unwritable"
    assert second.unfinished() is not None
    second.release()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_really_full_device(journal: Journal) -> None:
    journal._file = DurableFile(os.open("/dev/full", os.O_RDWR))
    with pytest.raises(HaError) as caught:
        journal.write("begin")
    assert caught.value.code == "journal_unwritable"
