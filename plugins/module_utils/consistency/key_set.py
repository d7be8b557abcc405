# SPDX-License-Identifier: BSD-2-Clause
"""Sets of keys (bytes) of many tables in a bounded memory: what has no room goes to sorted files.

A set is what stands in memory and some *runs*, files of sorted keys; a key may stand in several of them. Reading merges
them and hands out each key once, in the order of the bytes. The files lie in a directory of their own that only this
user can enter (keys are data of customers), and are gone after ``KeyStore.close``; nothing needs them after a crash.

Where the disk has no room a set *fails*: it is empty then and says why, and whoever asks must look at its whole table.
"""

from __future__ import annotations

import heapq
import os
import tempfile
from typing import BinaryIO, Iterable, Iterator, Optional

from ..errors import HaError

_OVERHEAD = 130
"""Bytes of memory that a key takes besides its own: the object, and its place in a set that has just grown."""
_LENGTH = 4
_PIECE = 1 << 18
_MOST_RUNS = 16
"""Runs of one set; more are merged into one, so that not too many files are open at once."""


class KeyStore:
    """The memory and the directory that sets share.

    :param directory: where the directory for the files is made, once it is needed; made itself where it is not there.
    :param most_bytes: of all sets in memory together, about.
    """

    def __init__(self, directory: str, most_bytes: int) -> None:
        self._directory = directory
        self._most_bytes = most_bytes
        self._sets: dict[KeySet, None] = {}
        self._weight = 0
        self._place = ""
        self._files = 0

    def __enter__(self) -> KeyStore:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def new(self) -> KeySet:
        made = KeySet(self)
        self._sets[made] = None
        return made

    @property
    def in_memory(self) -> int:
        """Bytes, about."""
        return self._weight

    def weigh(self, more: int) -> None:
        """A set has become heavier by so much, or lighter."""
        self._weight += more
        if more > 0 and self._weight > self._most_bytes:
            self._relieve()

    def _relieve(self) -> None:
        """Write the largest sets to files until there is half of the room again."""
        for each in self._sets:
            each.weigh()
        if self._weight <= self._most_bytes:
            return
        for each in sorted(self._sets, key=lambda one: -one.weight):
            if self._weight <= self._most_bytes // 2:
                return
            each.spill()

    def path(self) -> str:
        """A new file's.

        :raises OSError: the directory cannot be made.
        """
        if not self._place:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            self._place = tempfile.mkdtemp(prefix="touched-keys-", dir=self._directory)
        self._files += 1
        return os.path.join(self._place, f"{self._files}.run")

    def forget(self, gone: KeySet) -> None:
        """A set that is not wanted any more."""
        if gone in self._sets:
            gone.drop()
            del self._sets[gone]

    def close(self) -> None:
        """Remove the files. The sets are empty then."""
        for each in self._sets:
            each.drop()
        self._sets = {}
        if self._place:
            _remove(os.path.join(self._place, name) for name in os.listdir(self._place))
            os.rmdir(self._place)
            self._place = ""


class KeySet:
    """The keys of one table. Made by ``KeyStore.new``.

    ``failed`` says why it is of no use any more; empty as long as it is.
    """

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._keys: set[bytes] = set()
        self._runs: list[tuple[str, int]] = []
        self.weight = 0
        self.failed = ""

    def add(self, keys: list[bytes]) -> None:
        """Some thousand at most at once, for the memory."""
        if self.failed:
            return
        held = self._keys
        before = len(held)
        held.update(keys)
        more = len(held) - before
        if more:
            # More than it is where keys come again; weighed exactly before anything is decided by it.
            self._weighs(self.weight + more * _OVERHEAD + sum(map(len, keys)))

    def weigh(self) -> None:
        """Exactly, as far as this is exact at all."""
        self._weighs(len(self._keys) * _OVERHEAD + sum(map(len, self._keys)))

    def _weighs(self, weight: int) -> None:
        more, self.weight = weight - self.weight, weight
        self._store.weigh(more)

    @property
    def at_most(self) -> int:
        """How many keys it has at most: one that stands in two places is counted twice."""
        return len(self._keys) + sum(count for _path, count in self._runs)

    def spill(self) -> None:
        """Write what is in memory to a new run."""
        if not self._keys:
            return
        keys = self._taken()
        keys.sort()
        self._write(keys)
        if len(self._runs) > _MOST_RUNS:
            self.settle()

    def settle(self) -> int:
        """How many keys it has, exactly; everything that is on disk is in one run after that."""
        if self.failed or not self._runs:
            return len(self._keys)
        if self._keys or len(self._runs) > 1:
            runs, self._runs = self._runs, []
            self._write(_distinct(runs, sorted(self._taken())))
            _remove(path for path, _count in runs)
        return self.at_most

    def _taken(self) -> list[bytes]:
        """What is in memory, which is not there any more."""
        keys, self._keys = list(self._keys), set()
        self._weighs(0)
        return keys

    def _write(self, keys: Iterable[bytes]) -> None:
        path = ""
        try:
            path = self._store.path()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb", buffering=_PIECE) as stream:
                self._runs.append((path, _put(stream, keys)))
        except OSError as error:
            self._fail(error.strerror or str(error), path)
        except HaError as error:
            self._fail(error.message, path)

    def _fail(self, why: str, path: str) -> None:
        """``path``: of the run that is not whole."""
        _remove([path] if path else [])
        self.drop()
        self.failed = why

    def __iter__(self) -> Iterator[bytes]:
        """Each key once, in the order of the bytes.

        :raises HaError: ``keys_unreadable``.
        """
        return _distinct(list(self._runs), sorted(self._keys))

    def drop(self) -> None:
        """Nothing is left of it, in memory or on disk."""
        _remove(path for path, _count in self._runs)
        self._runs = []
        self._taken()


def _remove(paths: Iterable[str]) -> None:
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue


def _put(stream: BinaryIO, keys: Iterable[bytes]) -> int:
    count = 0
    for key in keys:
        stream.write(len(key).to_bytes(_LENGTH, "little") + key)
        count += 1
    return count


def _distinct(runs: list[tuple[str, int]], keys: list[bytes]) -> Iterator[bytes]:
    if not runs:
        yield from keys
        return
    last: Optional[bytes] = None
    for key in heapq.merge(keys, *(_read(path, count) for path, count in runs)):
        if key != last:
            yield key
            last = key


def _read(path: str, count: int) -> Iterator[bytes]:
    try:
        with open(path, "rb", buffering=_PIECE) as stream:
            for number in range(count):
                length = int.from_bytes(stream.read(_LENGTH), "little")
                key = stream.read(length)
                if not length or len(key) < length:
                    raise _unreadable(path, f"it ends at key {number} of {count}")
                yield key
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def _unreadable(path: str, why: str) -> HaError:
    return HaError(
        "keys_unreadable",
        f"the keys that were written to {path} cannot be read: {why}",
        evidence={"path": path, "why": why},
        next_step="Look at the disk; then run again.",
    )
