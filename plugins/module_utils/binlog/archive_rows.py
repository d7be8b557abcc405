# SPDX-License-Identifier: BSD-2-Clause
"""``rows.jsonl`` of an archive: its transactions' row changes and statements (``rows_json`` says in what form).

The raw events are the evidence; the rows are that evidence made readable. So rows that cannot be decoded, or that the
disk has no room for, never keep an archive from being made: the transaction is named with the reason, and has no line.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import Any, BinaryIO, Iterator, Mapping, Sequence

from ..errors import HaError
from . import events
from .changes import all_changes, changes
from .files import BinlogFile
from .rows import Decoder, Logged
from .rows_json import ROW, line_of

ROWS_NAME = "rows.jsonl"


@dataclasses.dataclass(frozen=True)
class Written:
    """What stands in the file.

    :param rows: row changes; ``statements``: statements.
    :param undecoded: transactions without a line, ``{"gtid", "code", "why"}``.
    """

    size: int
    sha256: str
    rows: int
    statements: int
    undecoded: tuple[Mapping[str, str], ...]

    def as_result(self) -> dict[str, Any]:
        return {"file": ROWS_NAME, **dataclasses.asdict(self), "undecoded": [dict(each) for each in self.undecoded]}


NOTHING: Mapping[str, Any] = {"file": "", "size": 0, "sha256": "", "rows": 0, "statements": 0, "undecoded": []}
"""Of an archive that has no such file: one of format 1, or one that is not there yet."""


class _Writer:
    """Lines that can be taken back as far as the last mark."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._digest = hashlib.sha256()
        self._size = 0
        self._counts = {True: 0, False: 0}

    def put(self, line: bytes, *, is_row: bool) -> None:
        if self._size + len(line) > self._limit:
            raise HaError(
                "no_space",
                "the disk has no room for the decoded rows",
                evidence={"limit": self._limit},
                next_step="The raw events are archived; make room and read them with mysqlbinlog --verbose.",
            )
        self._stream.write(line)
        self._digest.update(line)
        self._size += len(line)
        self._counts[is_row] += 1

    def mark(self) -> tuple[Any, int, dict[bool, int]]:
        return self._digest.copy(), self._size, dict(self._counts)

    def back_to(self, mark: tuple[Any, int, dict[bool, int]]) -> None:
        self._digest, self._size, self._counts = mark
        self._stream.seek(self._size)
        self._stream.truncate()

    def done(self, undecoded: Sequence[Mapping[str, str]]) -> Written:
        counts = self._counts
        return Written(self._size, self._digest.hexdigest(), counts[True], counts[False], tuple(undecoded))


def write(
    stream: BinaryIO, log: BinlogFile, transactions: Sequence[Mapping[str, Any]], *, limit: int
) -> tuple[Written, tuple[int, ...]]:
    """Decode the transactions of an archive's log and write their lines.

    :param transactions: of the manifest: ``gtid``, ``archive_start``, and ``start`` and ``end`` in the source.
    :param limit: how many bytes may be written.
    :returns: what was written, and how many lines each transaction has (-1: could not be decoded).
    """
    writer = _Writer(stream, limit)
    decoder = Decoder()
    undecoded: list[Mapping[str, str]] = []
    lines: list[int] = []
    position = len(events.MAGIC)
    for each in transactions:
        start = each["archive_start"]
        end = start + each["end"] - each["start"]
        for _description in log.contents(position, start):
            pass
        position = end
        mark = writer.mark()
        count = 0
        try:
            for item in changes(log, start, end, decoder):
                writer.put(line_of(each["gtid"], item), is_row=not isinstance(item, Logged))
                count += 1
        except HaError as error:
            if error.code == "binlog_unreadable":
                raise
            writer.back_to(mark)
            decoder = Decoder()
            undecoded.append({"gtid": each["gtid"], "code": error.code, "why": error.message})
            count = -1
        lines.append(count)
    return writer.done(undecoded), tuple(lines)


def digest(path: str) -> tuple[str, int]:
    """SHA-256 and size."""
    found = hashlib.sha256()
    size = 0
    with open(path, "rb") as stream:
        while True:
            piece = stream.read(1 << 20)
            if not piece:
                return found.hexdigest(), size
            found.update(piece)
            size += len(piece)


def reads_back(path: str, written: Written) -> str:
    """Read what was written as a stranger would; what is wrong, empty when nothing is."""
    counts = {True: 0, False: 0}
    try:
        with open(path, "rb") as stream:
            for line in stream:
                counts[json.loads(line)["kind"] == ROW] += 1
    except (ValueError, KeyError, TypeError) as error:
        return f"a line that is no object of its kind: {error}"
    if (counts[True], counts[False]) != (written.rows, written.statements):
        return f"{counts[True]} rows and {counts[False]} statements, not {written.rows} and {written.statements}"
    if digest(path) != (written.sha256, written.size):
        return "its SHA-256 is not that of what was written"
    return ""


def objects(directory: str, manifest: Mapping[str, Any], log_name: str) -> Iterator[Mapping[str, Any]]:
    """The objects of an archive's ``rows.jsonl``, one after the other; of an archive without one, decoded now.

    :raises HaError: ``rows_unreadable``; for an archive of format 1 also what decoding raises.
    """
    if "rows" not in manifest:
        with BinlogFile.open(os.path.join(directory, log_name)) as log:
            for located in all_changes(log):
                yield json.loads(line_of(located.gtid, located.item))
        return
    path = os.path.join(directory, ROWS_NAME)
    try:
        with open(path, "rb") as stream:
            for line in stream:
                yield _object(line)
    except (OSError, ValueError) as error:
        raise HaError(
            "rows_unreadable",
            f"{path} cannot be read: {error}",
            evidence={"path": path},
            next_step="Check the archive's checksums; archive again from the binary log.",
        ) from error


def _object(line: bytes) -> Mapping[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("a line that is no object")
    return found
