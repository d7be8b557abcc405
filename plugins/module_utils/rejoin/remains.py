# SPDX-License-Identifier: BSD-2-Clause
"""Reading what a stopped server left behind: its binary log, its identity, its persisted settings."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Mapping, Optional

from ..binlog import tail
from ..binlog.archive import server_uuid
from ..binlog.files import membership, read_index
from ..errors import HaError
from ..gtid import GtidSet
from .plan import Remains

AUTO = "mysqld-auto.cnf"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the files lie. ``index``: of the binary log; ``data_directory``: what relative names start from."""

    data_directory: str
    index: str


def last_file(place: Place) -> str:
    """The newest file of the binary log.

    :raises HaError: ``binlog_index_unreadable``, ``binlog_index_empty``.
    """
    return read_index(place.index, place.data_directory)[-1]


def ended_by_itself(place: Place) -> Optional[bool]:
    """Whether mysqld closed its log when it ended; None where there is no log yet.

    :raises HaError: the log cannot be read.
    """
    if not os.path.exists(place.index):
        return None
    return tail.in_use(last_file(place)) is False


def read(place: Place, has: GtidSet) -> Remains:
    """The log's end, as far back as to something that ``has`` holds.

    :raises HaError: the log cannot be read; ``server_unknown`` without ``auto.cnf``.
    """
    own = server_uuid(place.data_directory)
    if not own:
        raise HaError(
            "server_unknown",
            f"{place.data_directory} has no auto.cnf: whose transactions these are is not known",
            evidence={"path": place.data_directory},
            next_step="Put auto.cnf back, or clone this server.",
        )
    return Remains(own, tail.read_tail(last_file(place), membership(has)), persisted(place.data_directory))


def persisted(data_directory: str) -> Mapping[str, str]:
    """The variables of ``mysqld-auto.cnf``, which win over the option file.

    :raises HaError: ``persisted_unreadable``.
    """
    path = Path(data_directory, AUTO)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise HaError(
            "persisted_unreadable",
            f"cannot read {path}: {error}",
            evidence={"path": str(path)},
            next_step="Run on the database host as root, and look at the file.",
        ) from error
    found: dict[str, str] = {}
    _collect(content, found)
    return found


def _collect(value: object, found: dict[str, str]) -> None:
    """Variables stand at several depths, which differ between versions: each is an object with a ``Value``."""
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if isinstance(inner, dict) and "Value" in inner:
            found[str(name)] = str(inner["Value"])
        else:
            _collect(inner, found)
