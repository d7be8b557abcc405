# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what a program writes while it writes."""

from __future__ import annotations

from pathlib import Path

from benchmarks.program import Program


def test_only_whole_lines_are_read_and_each_once(tmp_path: Path) -> None:
    program = Program("writer", tmp_path, {}, output="log")
    assert program.new_lines() == []
    with program.lines_file.open("w") as file:
        file.write('{"a": 1}\n{"a": 2}\n{"a"')
        file.flush()
        assert program.new_lines() == [{"a": 1}, {"a": 2}]
        assert program.new_lines() == []
        file.write(": 3}\n")
        file.flush()
    assert program.new_lines() == [{"a": 3}]


def test_one_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    program = Program("writer", tmp_path, {}, output="log")
    program.stop()
    assert program.ended
