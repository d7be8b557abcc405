# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server's two tables say, and the line for the screen that is made of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone import progress as clone_progress
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.progress import (
    Meter,
    Progress,
    Stage,
    away_line,
    duration,
    from_rows,
    line,
    size,
)

GIB = 1 << 30
NAMES = ("DROP DATA", "FILE COPY", "PAGE COPY", "REDO COPY", "FILE SYNC", "RESTART", "RECOVERY")


def at(stage: str, data: int = 0, estimate: int = 4 * GIB, state: str = "In Progress") -> Progress:
    place = NAMES.index(stage)
    stages = [Stage(name, "Completed") for name in NAMES[:place]]
    stages.append(Stage(stage, state, estimate, data, data))
    stages += [Stage(name, "Not Started") for name in NAMES[place + 1 :]]
    return Progress("In Progress" if state == "In Progress" else state, "2026", "10.0.0.2:3306", stages=tuple(stages))


def test_the_rows_of_the_server_become_values() -> None:
    status: dict[str, Any] = {
        "state": "Completed",
        "began": "2026-11-27 22:00:00.123",
        "source": "10.0.0.2:3306",
        "thread": 0,
        "error_number": 0,
        "error": "",
        "executed": "a:1-5,\nb:1",
        "binlog_file": "binlog.000007",
        "binlog_position": 1183,
    }
    stages = [{"stage": "FILE COPY", "state": "Completed", "estimate": 10, "data": 10, "network": 12}]
    found = from_rows(status, stages)
    assert (found.executed, found.binlog_file, found.binlog_position) == ("a:1-5,b:1", "binlog.000007", 1183)
    assert (found.data, found.network, found.stage) == (10, 12, "FILE COPY")
    assert from_rows({}, ()) == Progress()


def test_the_stage_is_the_one_at_work_or_the_last_one_done() -> None:
    assert Progress().stage == ""
    assert at("PAGE COPY").stage == "PAGE COPY"
    assert at("FILE SYNC", state="Completed").stage == "FILE SYNC"
    assert at("FILE COPY", state="Failed").stage == "FILE COPY"


@pytest.mark.parametrize(
    ("progress", "dropped", "handed_over"),
    [
        (Progress("Failed", stages=(Stage("DROP DATA", "Not Started"),)), False, False),
        (at("DROP DATA"), True, False),
        (at("FILE COPY"), True, False),
        (at("FILE SYNC"), True, False),
        (at("RESTART"), True, True),
    ],
)
def test_what_is_gone_and_what_is_there(progress: Progress, dropped: bool, handed_over: bool) -> None:
    assert (progress.has_dropped, progress.handed_over) == (dropped, handed_over)


def test_the_line_says_stage_bytes_rate_and_what_is_left() -> None:
    text = line("db4", "db2", at("FILE COPY", GIB), 96 * (1 << 20), 0.0)
    assert text == "db4 from db2: copying files, 1.0 GiB of 4.0 GiB (25 %), 96.0 MiB/s, about 32 s left"


def test_what_stands_still_is_said_and_promises_no_end() -> None:
    text = line("db4", "db2", at("FILE COPY", GIB), 96 * (1 << 20), 7.0)
    assert "nothing has moved for 7 s" in text and "left" not in text
    assert "nothing has moved" not in line("db4", "db2", at("RECOVERY", GIB), 0.0, 70.0)


def test_while_it_is_away_the_line_says_what_to_do() -> None:
    assert "start mysqld there now" in away_line("db4", "db2", True, 3, True)
    assert "start it now" not in away_line("db4", "db2", True, 3, False)
    assert "start it now" in away_line("db4", "db2", True, 30, False)
    assert "start it now" not in away_line("db4", "db2", False, 3, False)
    assert "start it now" in away_line("db4", "db2", False, 30, False)
    assert "goes on without us" in away_line("db4", "db2", False, 3, False)


def test_the_rate_is_of_the_last_seconds() -> None:
    meter = Meter()
    assert meter.rate == 0.0
    for second in range(60):
        # Fast at first, then slow.
        done = 100 * second if second < 30 else 3000 + 10 * (second - 30)
        meter.take(float(second), at("FILE COPY", done))
    assert meter.rate == pytest.approx(10, rel=0.2)
    meter.take(60.0, at("FILE COPY", 0))
    assert meter.rate == 0.0, "another clone began"


def test_any_movement_ends_a_standstill() -> None:
    meter = Meter()
    meter.take(0.0, at("FILE COPY", 5))
    meter.take(8.0, at("FILE COPY", 5))
    assert meter.still_for(8.0) == 8.0
    meter.take(9.0, at("PAGE COPY", 5))
    assert meter.still_for(9.0) == 0.0


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1536, "1.5 KiB"), (5 * GIB, "5.0 GiB"), (2000 * GIB, "2.0 TiB")]
)
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0 s"), (59.4, "59 s"), (425, "7 min 05 s"), (7800, "2 h 10 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_every_stage_of_the_server_has_a_word() -> None:
    assert set(clone_progress._WORDS) == set(NAMES)
