# SPDX-License-Identifier: GPL-3.0-or-later
"""What was done survives a restart; a manager that can not write says so."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import history
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.history import History


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[History]:
    made = History(str(tmp_path / "state"), clock=lambda: 1000.0)
    yield made
    made.close()


def entry(name: str, cluster: str = "ledger", outcome: str = "running") -> dict[str, Any]:
    return {"id": name, "cluster": cluster, "at": 900.0, "trigger": "automatic", "outcome": outcome, "old_term": 2}


def again(kept: History) -> History:
    """A restart."""
    kept.close()
    return History(os.path.dirname(kept.path), clock=lambda: 2000.0)


def maintenance(name: str, outcome: str) -> dict[str, Any]:
    more = {"trigger": "maintenance", "member": "db3", "operation": "take_out", "by": "ann", "reason": "disk"}
    return {**entry(name, outcome=outcome), **more}


def test_an_operation_on_a_member_is_the_last_recovery_only_while_it_runs(kept: History) -> None:
    kept.begin(entry("r1", outcome="promoted"))
    kept.begin(maintenance("r2", "running"))
    assert (kept.last("ledger") or {})["id"] == "r2"
    kept.change("r2", outcome="done")
    assert (kept.last("ledger") or {})["id"] == "r1"
    assert [e["id"] for e in kept.entries("ledger")] == ["r2", "r1"]


def test_an_interrupted_operation_is_to_be_asked_for_again(kept: History) -> None:
    kept.begin(maintenance("r1", "running"))
    kept.begin(entry("r2"))
    fresh = again(kept)
    try:
        fresh.close_interrupted()
        steps = [e["next_step"] for e in fresh.entries("ledger")]
        assert steps == ["The journal is taken up by the next run.", "Ask for it again: it goes on from what is there."]
    finally:
        fresh.close()


def test_everything_survives_a_restart(kept: History) -> None:
    kept.begin(entry("r1", outcome="promoted"))
    kept.change("r1", zero_loss="proven", ended_at=905.0)
    kept.begin(entry("r2", "other", "refused"))
    kept.acknowledge("r2", "ann")
    kept.pause(["ledger", "other"], "bob", "upgrade", None)
    kept.resume("other", "bob")
    kept.pause(["short"], "bob", "x", 1500.0)
    assert kept.pause_of("short") is not None
    after = again(kept)
    assert [e["id"] for e in after.entries()] == ["r2", "r1"]
    assert [e["id"] for e in after.entries("ledger")] == ["r1"]
    (attempt,) = after.attempts("ledger")
    assert (attempt.zero_loss, attempt.ended_at, attempt.term, attempt.acknowledged) == ("proven", 905.0, 2, False)
    assert after.attempts("other")[0].acknowledged
    pause = after.pause_of("ledger")
    assert pause is not None and (pause.by, pause.at) == ("bob", 1000.0)
    assert after.pause_of("other") is None and after.pause_of("short") is None
    after.resume("", "ann")
    assert after.pause_of("ledger") is None
    after.close()


def test_the_file_is_private_and_a_second_manager_is_kept_out(kept: History) -> None:
    assert stat.S_IMODE(os.stat(kept.path).st_mode) == 0o600
    with pytest.raises(HaError) as caught:
        History(os.path.dirname(kept.path))
    assert caught.value.code == "manager_runs_already"


def test_what_ran_when_the_manager_ended_is_closed_once(kept: History) -> None:
    kept.begin(entry("r1"))
    kept.begin(entry("r2", outcome="refused"))
    after = again(kept)
    (closed,) = after.close_interrupted()
    assert (closed["id"], closed["outcome"], closed["codes"]) == ("r1", "failed", ["interrupted"])
    assert after.close_interrupted() == []
    last = again(after)
    assert last.entries()[1]["outcome"] == "failed"
    last.close()


def test_a_line_that_was_cut_off_never_happened(kept: History) -> None:
    kept.begin(entry("r1"))
    with open(kept.path, "a", encoding="utf-8") as file:
        file.write('{"what": "recovery", "values": {"id": "r2"')
    after = again(kept)
    assert [e["id"] for e in after.entries()] == ["r1"]
    after.begin(entry("r3"))
    last = again(after)
    assert [e["id"] for e in last.entries()] == ["r3", "r1"]
    last.close()


@pytest.mark.parametrize("line", ["no json", "{}", '{"what": "change", "values": {}}', "[]"])
def test_a_damaged_file_is_said_with_its_line(kept: History, line: str) -> None:
    kept.begin(entry("r1"))
    kept.close()
    with open(kept.path, "a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(HaError) as caught:
        History(os.path.dirname(kept.path))
    assert caught.value.code == "history_damaged" and "line 2" in caught.value.message
    # The guard was let go: after the file was moved away, it starts.
    os.rename(kept.path, f"{kept.path}.damaged")
    History(os.path.dirname(kept.path)).close()


def test_a_full_disk_is_said_and_tried_again(kept: History, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.begin(entry("r1"))
    size = os.stat(kept.path).st_size
    real = os.write
    left = [10]

    def full(handle: int, data: bytes) -> int:
        if left[0]:
            count, left[0] = real(handle, data[: left[0]]), 0
            return count
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(history.os, "write", full)
    with pytest.raises(HaError) as caught:
        kept.begin(entry("r2"))
    assert caught.value.code == "history_unwritable"
    assert os.stat(kept.path).st_size == size, "a part of a line was left there"
    assert not kept.writable() and "No space left" in kept.unwritable
    assert [e["id"] for e in kept.entries()] == ["r1"], "what could not be written down has not begun"
    monkeypatch.setattr(history.os, "write", real)
    assert not kept.writable(), "not more often than from time to time"
    kept._probed_at -= history.PROBE_EVERY
    assert kept.writable() and kept.unwritable == ""
    with open(kept.path, encoding="utf-8") as file:
        assert [json.loads(line)["what"] for line in file] == ["recovery", "probe"]


def test_a_directory_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HaError) as caught:
        History(str(tmp_path / "file" / "state"))
    assert caught.value.code == "history_unwritable"


def test_old_recoveries_are_left_out(kept: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEEP", 3)
    for number in range(5):
        kept.begin(entry(f"r{number}", outcome="refused"))
    assert len(kept.entries()) == 5
    for number in range(5, 7):
        kept.begin(entry(f"r{number}", outcome="refused"))
    assert [e["id"] for e in kept.entries("ledger")] == ["r6", "r5", "r4"]
    kept.begin(entry("r7", outcome="refused"))
    after = again(kept)
    assert [e["id"] for e in after.entries()] == ["r7", "r6", "r5"]
    assert after.entries(limit=1)[0]["id"] == "r7" and after.entries(limit=0) == []
    after.close()


def test_only_what_is_there_is_acknowledged(kept: History) -> None:
    with pytest.raises(HaError) as caught:
        kept.acknowledge("r9", "ann")
    assert caught.value.code == "unknown_recovery"
