# SPDX-License-Identifier: GPL-3.0-or-later
"""A line is on disk, whole, when ``append`` returns, or it is not in the file at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils import durable_file
from ansible_collections.lossless.mysql_ha.plugins.module_utils.durable_file import DurableFile
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lines")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """What was put on disk and given a name, in order, by the names of the files."""
    seen: list[tuple[str, str]] = []

    def named(handle: Any) -> str:
        return os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))

    for call in ("write", "fdatasync", "fsync"):
        real = getattr(os, call)

        def spy(handle: int, *more: Any, _call: str = call, _real: Any = real) -> Any:
            seen.append((_call, named(handle)))
            return _real(handle, *more)

        monkeypatch.setattr(durable_file.os, call, spy)
    rename = os.rename
    monkeypatch.setattr(
        durable_file.os,
        "rename",
        lambda old, new: (seen.append(("rename", os.path.basename(new))), rename(old, new)),
    )
    yield seen


def read(path: str) -> list[str]:
    return list(durable_file.whole_lines(os.open(path, os.O_RDONLY)))


def refuse(*_arguments: Any, **_options: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


# --- what is on disk -------------------------------------------------------------------------------------------------
def test_a_new_file_is_in_its_directory_before_a_line_is_in_it(path: str, calls: list[tuple[str, str]]) -> None:
    directory = os.path.basename(os.path.dirname(path))
    file = DurableFile.open(path)
    assert calls == [("fsync", directory)]
    file.append("one\n")
    file.append("two\n")
    assert calls[1:] == [("write", "lines"), ("fdatasync", "lines")] * 2
    file.close()
    calls.clear()
    DurableFile.open(path).close()
    assert calls == [], "a file that was there is in its directory already"
    assert read(path) == ["one", "two"]


def test_a_file_that_replaces_another_is_on_disk_before_it_has_the_name(
    path: str, calls: list[tuple[str, str]]
) -> None:
    directory = os.path.basename(os.path.dirname(path))
    Path(path).write_text("old\n")
    Path(f"{path}.new").write_text("of a run that was killed\n")
    file = durable_file.replace(path, "new\n")
    assert calls[-4:] == [("write", "lines.new"), ("fdatasync", "lines.new"), ("rename", "lines"), ("fsync", directory)]
    file.append("more\n")
    file.close()
    assert read(path) == ["new", "more"] and not os.path.exists(f"{path}.new")


@pytest.mark.parametrize("call", ["open", "write", "fdatasync", "rename"])
def test_a_file_that_can_not_be_replaced_is_as_it_was(path: str, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    Path(path).write_text("old\n")
    with monkeypatch.context() as patch:
        patch.setattr(durable_file.os, call, refuse)
        with pytest.raises(OSError, match="No space left"):
            durable_file.replace(path, "new\n")
    assert read(path) == ["old"]
    durable_file.replace(path, "new\n").close()
    assert read(path) == ["new"]


def test_every_directory_that_was_made_is_in_the_one_above_it(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    durable_file.make_directory(str(tmp_path / "a" / "b" / "c"))
    assert calls == [("fsync", tmp_path.name), ("fsync", "a"), ("fsync", "b")]
    calls.clear()
    durable_file.make_directory(str(tmp_path / "a" / "b" / "c"))
    durable_file.make_directory(str(tmp_path / "a" / "b" / "d"))
    assert calls == [("fsync", "b")]
    assert stat.S_IMODE(os.stat(tmp_path / "a" / "b" / "d").st_mode) == 0o700


def test_a_directory_whose_entry_can_not_be_synced_is_no_place_for_a_file(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_file.os, "fsync", refuse)
    for make in (lambda: durable_file.make_directory(str(tmp_path / "a")), lambda: DurableFile.open(path)):
        with pytest.raises(OSError, match="No space left"):
            make()


# --- torn lines ------------------------------------------------------------------------------------------------------
LONG = "x" * 9000


@pytest.mark.parametrize("torn", ["", "{", "t" * 4096, LONG, "\0\0\0"])
@pytest.mark.parametrize("before", ["", "one\n", f"one\n{LONG}\n"])
def test_what_a_crash_left_of_a_line_never_happened_and_nothing_is_glued_to_it(
    path: str, before: str, torn: str
) -> None:
    Path(path).write_text(before + torn)
    assert read(path) == before.splitlines()
    file = DurableFile.open(path)
    file.append("next\n")
    file.close()
    assert Path(path).read_text() == f"{before}next\n"


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))), st.integers(0, 10_000))
def test_a_crash_anywhere_leaves_the_lines_before_it(tmp_path_factory: Any, lines: list[str], cut: int) -> None:
    path = tmp_path_factory.mktemp("durable") / "lines"
    file = DurableFile.open(str(path))
    for line in lines:
        file.append(f"{line}\n")
    file.close()
    data = path.read_bytes()
    whole = data[: cut % (len(data) + 1)]
    path.write_bytes(whole)
    kept = whole.count(b"\n")
    assert read(str(path)) == lines[:kept]
    again = DurableFile.open(str(path))
    again.append("after\n")
    again.close()
    assert read(str(path)) == [*lines[:kept], "after"]


# --- no room ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_what_is_not_on_disk_is_not_in_the_file(path: str, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A line that only the cache took must not be read at the next start: its writer did not act on it."""
    file = DurableFile.open(path)
    file.append("one\n")
    with monkeypatch.context() as patch:
        patch.setattr(durable_file.os, call, refuse)
        with pytest.raises(OSError, match="No space left"):
            file.append("two\n")
    assert read(path) == ["one"]
    file.append("three\n")
    file.close()
    assert read(path) == ["one", "three"]


def test_half_a_line_that_could_not_be_taken_back_is_taken_back_before_the_next(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = DurableFile.open(path)
    file.append("one\n")
    real = os.write
    room = iter([2])

    def little(handle: int, data: bytes) -> int:
        left = next(room, 0)
        return real(handle, data[:left]) if left else refuse()

    with monkeypatch.context() as patch:
        patch.setattr(durable_file.os, "write", little)
        patch.setattr(durable_file.os, "ftruncate", refuse)
        with pytest.raises(OSError, match="No space left"):
            file.append("two\n")
        assert Path(path).read_text() == "one\ntw"
        with pytest.raises(OSError, match="No space left"):
            file.append("three\n")
    file.append("three\n")
    file.close()
    assert Path(path).read_text() == "one\nthree\n"


def test_a_line_that_is_taken_in_pieces_is_whole(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(durable_file.os, "write", lambda handle, data: real(handle, data[:3]))
    file = DurableFile.open(path)
    file.append("a long line\n")
    file.close()
    assert read(path) == ["a long line"]


# --- whose file it is ------------------------------------------------------------------------------------------------
def test_a_link_is_not_followed(path: str, tmp_path: Path) -> None:
    """Who may write in the directory could have it point anywhere, and the writer may be root."""
    target = tmp_path / "precious"
    target.write_text("precious")
    os.symlink(target, path)
    with pytest.raises(OSError):
        DurableFile.open(path)
    assert target.read_text() == "precious"


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_the_mode_is_what_was_asked_for_whatever_the_umask(path: str, mode: int) -> None:
    before = os.umask(0o077)
    try:
        DurableFile.open(path, mode=mode).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == mode


def test_a_file_is_opened_in_the_directory_that_was_opened(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    directory = os.open(tmp_path / "here", os.O_RDONLY | os.O_DIRECTORY)
    os.rename(tmp_path / "here", tmp_path / "there")
    DurableFile.open("lines", directory=directory).close()
    os.close(directory)
    assert (tmp_path / "there" / "lines").exists()


def test_a_file_that_must_be_there_is_not_made(path: str) -> None:
    with pytest.raises(FileNotFoundError):
        DurableFile.open(path, create=False)
    assert not os.path.exists(path)


def test_no_child_inherits_it(path: str) -> None:
    file = DurableFile.open(path)
    assert not os.get_inheritable(file.fileno())
    file.close()
