# SPDX-License-Identifier: BSD-2-Clause
"""What the modes that look at recent rows need once in each run: the primary's activity, and what its log touched.

Both are found out when the first table asks.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from typing import Callable, Optional, Sequence

from ..binlog.files import BinlogFile, read_index
from ..binlog.key_rows import KeyValue
from ..binlog.statement_objects import Named
from ..errors import HaError
from ..gtid import EMPTY, GtidSet
from ..server.session import Session
from . import touched
from .activity import activity
from .layout import ColumnFacts
from .memory import Remembered
from .questions import Key
from .touched import Touched
from .window import Activity, Policy

_CASCADES = (
    "SELECT CONSTRAINT_SCHEMA AS `schema`, TABLE_NAME AS `table` FROM information_schema.REFERENTIAL_CONSTRAINTS"
    " WHERE DELETE_RULE IN ('CASCADE', 'SET NULL') OR UPDATE_RULE IN ('CASCADE', 'SET NULL')"
)
_IN_THE_ENGINE = (
    "SELECT VARIABLE_VALUE AS value FROM performance_schema.global_variables"
    " WHERE VARIABLE_NAME = 'innodb_native_foreign_keys'"
)


@dataclasses.dataclass(frozen=True)
class Wish:
    """
    :param time_column: empty: it is detected. ``time_zone``: of DATETIME columns; empty: the primary's own.
    :param binlog_index: the index of the binary log files, on this host. ``binlog_within``: seconds that a first run
        looks back.
    """

    time_column: str = ""
    time_zone: str = ""
    policy: Policy = Policy()
    binlog_index: str = ""
    binlog_within: float = 3600.0
    directory: str = ""


class Recent:
    """For one run. ``close`` it: it removes the files that keys were written to. ``primary`` gives the connection."""

    def __init__(
        self,
        wish: Wish,
        remembered: Remembered,
        primary: Callable[[], Session],
        *,
        statement: float,
        now: float,
        sleep: Callable[[float], None],
    ) -> None:
        self.wish = wish
        self.remembered = remembered
        self._primary = primary
        self._statement = statement
        self._now = now
        self._sleep = sleep
        self._activity: Optional[Activity] = None
        self._touched: Optional[Touched] = None
        self._to_remember = EMPTY
        self._all_same = True

    @property
    def activity(self) -> Activity:
        """:raises HaError: as ``activity.activity``."""
        if self._activity is None:
            self._activity = activity(self._primary(), within=self._statement, sleep=self._sleep)
        return self._activity

    @property
    def touched(self) -> Touched:
        """
        :raises HaError: ``binlog_index_needed``; what reading the files raises.
        """
        if self._touched is None:
            if not self.wish.binlog_index:
                raise HaError(
                    "binlog_index_needed",
                    "the mode recent_binlog reads the binary log's files, and nobody said where they are",
                    next_step="Give binlog_index, and run where the files are: on the primary's host, or on an"
                    " archive's.",
                )
            known = self.remembered.read
            # Read before the index, so that the files hold all of it. What they hold beyond it is for the next run.
            executed = self._to_remember = self._executed()
            self._touched = touched.scan(
                self._newest(),
                executed - known if known else None,
                directory=self.wish.directory or tempfile.gettempdir(),
                always_whole=self._cascades(),
            )
        return self._touched

    def last_writers(self, named: Named, columns: Sequence[ColumnFacts], keys: Sequence[Key]) -> list[str]:
        """The transaction that last wrote each of these rows, in the files that this run looks at; empty where they do
        not tell, or where nobody said where they are.

        :raises HaError: what reading the files raises.
        """
        if not keys or not self.wish.binlog_index:
            return [""] * len(keys)
        logged = [_as_logged(columns, key) for key in keys]
        found = touched.last_writer(self._newest(), named.schema, named.table, logged)
        return [found.get(key, "") for key in logged]

    def _newest(self) -> list[str]:
        """The files to look at, oldest first."""
        known = self.remembered.read
        paths = read_index(self.wish.binlog_index)
        return since(paths, known) if known else younger(paths, self._now - self.wish.binlog_within)

    def differs(self) -> None:
        """A touched row is not known to be the same: the next run has to look at these transactions again."""
        self._all_same = False

    def finished(self) -> None:
        """Every table was looked at on every replica: the next run begins where this one ended, if all was the same."""
        if self._touched is not None and self._all_same:
            self.remembered.keep_read(self._to_remember)

    def close(self) -> None:
        """:raises HaError: ``state_unwritable``."""
        self.remembered.save()
        if self._touched is not None:
            self._touched.close()
            self._touched = None

    def _executed(self) -> GtidSet:
        row = self._primary().one("SELECT @@GLOBAL.gtid_executed AS gtids", within=self._statement)
        return GtidSet.parse(str(row["gtids"]))

    def _cascades(self) -> list[Named]:
        """The children of foreign keys whose rows the storage engine changes by itself: no log tells of these."""
        told = self._primary().one(_IN_THE_ENGINE, within=self._statement)
        if str(told.get("value", "ON")).upper() in ("OFF", "0"):
            return []
        return [
            Named(str(row["schema"]), str(row["table"]))
            for row in self._primary().query(_CASCADES, within=self._statement)
        ]


_CODECS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "ascii": "ascii", "latin1": "cp1252"}


def _as_logged(columns: Sequence[ColumnFacts], key: Key) -> KeyValue:
    """A key as it is read from a server, in the form that it has in the log: texts are text."""
    return tuple(
        value.decode(_CODECS[column.charset], "backslashreplace")
        if isinstance(value, bytes) and column.charset in _CODECS
        else value
        for column, value in zip(columns, key)
    )


def younger(paths: Sequence[str], moment: float) -> list[str]:
    """The files that were written to after a moment; at least the last one.

    :raises HaError: ``binlog_unreadable``.
    """
    try:
        return [path for path in paths if os.path.getmtime(path) >= moment] or list(paths[-1:])
    except OSError as error:
        raise HaError(
            "binlog_unreadable",
            f"cannot look at {error.filename}: {error.strerror or error}",
            evidence={"path": error.filename, "errno": error.errno},
            next_step="Run where the binary log's files are, as a user who may read them.",
        ) from error


def before(path: str) -> GtidSet:
    """What all files before this one held. Errors as ``BinlogFile.open``."""
    with BinlogFile.open(path) as file:
        return file.prelude().previous_gtids or EMPTY


def since(paths: Sequence[str], known: GtidSet) -> list[str]:
    """The newest files that together hold everything beyond ``known``, oldest first.

    :raises HaError: as ``BinlogFile.open``.
    """
    found: list[str] = []
    for path in reversed(paths):
        found.insert(0, path)
        if before(path) <= known:
            break
    return found
