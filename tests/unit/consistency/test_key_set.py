# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of keys that do not fit into memory: each key once, nothing lost, nothing left."""

from __future__ import annotations

import errno
import os
import stat
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import key_set
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.key_set import KeyStore
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 2), st.lists(st.binary(min_size=1, max_size=6), max_size=30)), max_size=30),
    st.integers(0, 3000),
)
def test_as_python_s_own_sets(tmp_path: Path, steps: list[tuple[int, list[bytes]]], most_bytes: int) -> None:
    with KeyStore(str(tmp_path / "keys"), most_bytes) as store:
        sets = [store.new() for _number in range(3)]
        plain: list[set[bytes]] = [set(), set(), set()]
        for number, keys in steps:
            sets[number].add(keys)
            plain[number].update(keys)
            assert sets[number].at_most >= len(plain[number])
            assert store.in_memory <= most_bytes
        for ours, theirs in zip(sets, plain, strict=True):
            assert list(ours) == sorted(theirs)
            assert ours.settle() == len(theirs) == ours.at_most
            assert list(ours) == sorted(theirs) and not ours.failed
    assert files(tmp_path) == [] and list((tmp_path / "keys").glob("*")) == []


def test_memory_is_bounded(tmp_path: Path) -> None:
    """These keys would take more than 18 MB; allowed are 8."""
    most = 8 << 20
    tracemalloc.start()
    try:
        with KeyStore(str(tmp_path), most) as store:
            found = store.new()
            for base in range(0, 200_000, 1000):
                found.add([number.to_bytes(20, "big") for number in range(base, base + 1000)])
            assert sum(1 for _key in found) == found.settle() == 200_000
            _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * most
    whole = 200_000 * 90
    assert whole > 2 * most, "or nothing had to be written"


def test_what_a_key_weighs_is_not_less_than_what_it_takes() -> None:
    tracemalloc.start()
    try:
        with KeyStore("/nonexistent", 1 << 40) as store:
            found = store.new()
            before, _peak = tracemalloc.get_traced_memory()
            for base in range(0, 100_000, 1000):
                found.add([number.to_bytes(8, "big") for number in range(base, base + 1000)])
            after, _peak = tracemalloc.get_traced_memory()
            assert after - before <= store.in_memory <= 2 * (after - before)
    finally:
        tracemalloc.stop()


def test_a_set_that_has_the_same_keys_again_is_not_written(tmp_path: Path) -> None:
    """What was guessed too high is weighed before anything is written."""
    with KeyStore(str(tmp_path), 40_000) as store:
        found = store.new()
        for number in range(100):
            found.add([*(bytes([number, other]) for other in range(100)), b"new%d" % number][-2:] * 50)
        assert files(tmp_path) == [] and found.at_most == 200


def test_the_files_are_for_nobody_else_and_gone_afterwards(tmp_path: Path) -> None:
    place = tmp_path / "keys"
    with KeyStore(str(place), 0) as store:
        found = store.new()
        found.add([b"a"])
        (path,) = files(place)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == stat.S_IMODE(place.stat().st_mode) == 0o700
        store.forget(found)
        assert files(place) == [] and list(found) == []
        (path.parent / "left over").write_bytes(b"")
    assert list(place.iterdir()) == []


def test_not_too_many_files(tmp_path: Path) -> None:
    with KeyStore(str(tmp_path), 0) as store:
        found = store.new()
        for number in range(100):
            found.add([b"%d" % number, b"x"])
            assert len(files(tmp_path)) <= key_set._MOST_RUNS + 1
        assert len(list(found)) == 101


def test_no_room_is_said_and_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with KeyStore(str(tmp_path), 0) as store:
        found, other = store.new(), store.new()
        found.add([b"a"])

        def full(*_arguments: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(key_set, "_put", full)
            found.add([b"b"])
        assert found.failed == "No space left on device"
        assert files(tmp_path) == [] and list(found) == [] and found.at_most == 0
        found.add([b"c"])
        assert found.at_most == found.settle() == 0
        other.add([b"a"])
        assert list(other) == [b"a"] and not other.failed


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with KeyStore(str(tmp_path / "file" / "keys"), 0) as store:
        found = store.new()
        found.add([b"a"])
        assert found.failed


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_file_that_is_not_what_was_written(tmp_path: Path, damage: str) -> None:
    with KeyStore(str(tmp_path), 0) as store:
        found = store.new()
        found.add([b"aaa", b"bbb"])
        (path,) = files(tmp_path)
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(HaError, match="keys_unreadable"):
            list(found)
        found.add([b"c"])
        found.settle()
        assert found.failed, "it is of no use any more, and says so"
