# SPDX-License-Identifier: BSD-2-Clause
"""What was done to this server's log, on this host: written before it is done, and kept until it is verified.

One file, replaced as a whole. It outlives mysqld and the data directory, so a rewind that was interrupted anywhere is
known to have been begun, and the server does not count before it was compared with its successor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from typing import Optional

from .. import durable_file
from ..errors import HaError

NAME = "rejoin.json"
DIRECTORY = "/var/lib/lossless-mysql-ha/rejoin"

CUTTING = "cutting"


@dataclasses.dataclass(frozen=True)
class Record:
    """``state``: ``cutting`` (begun; whether it was cut, the log shows), or how it ended (``server/state.Rejoin``).

    :param gtids: the surplus. ``archive``: where its events are. ``kept``: the bytes that were cut off, as they stood.
    :param sha256: of ``kept``.
    """

    state: str
    server_uuid: str
    successor_uuid: str
    term: int
    gtids: str
    file: str
    offset: int
    size: int
    archive: str
    kept: str
    sha256: str
    at: float
    why: str = ""

    @property
    def pending(self) -> bool:
        return self.state == CUTTING


def read(directory: str = DIRECTORY) -> Optional[Record]:
    """The record, or None when nothing was ever done.

    :raises HaError: ``record_unreadable``.
    """
    path = os.path.join(directory, NAME)
    try:
        with open(path, encoding="utf-8") as stream:
            return Record(**json.load(stream))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise HaError(
            "record_unreadable",
            f"cannot read {path}: {error}",
            evidence={"path": path},
            next_step="It says what was cut from this server's log. Keep it aside, and clone the server.",
        ) from error


def write(record: Record, directory: str = DIRECTORY) -> None:
    """Returns when it is on disk.

    :raises HaError: ``record_unwritable``.
    """
    path = os.path.join(directory, NAME)
    try:
        durable_file.make_directory(directory)
        with contextlib.closing(durable_file.replace(path, json.dumps(dataclasses.asdict(record)) + "\n")):
            pass
    except OSError as error:
        raise HaError(
            "record_unwritable",
            f"cannot write {path}: {error.strerror or error}",
            evidence={"path": path, "errno": error.errno},
            next_step="Make room on that file system; nothing was cut.",
        ) from error
