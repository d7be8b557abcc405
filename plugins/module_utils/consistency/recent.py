# SPDX-License-Identifier: BSD-2-Clause
"""What the modes that look at recent rows need once in each run: the primary's activity, and what its log touched.

Both are found out when the first table asks.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from typing import Callable, Collection, Optional, Sequence

from ..binlog.files import BinlogFile, read_index
from ..binlog.key_rows import KeyValue
from ..binlog.statement_names import Named
from ..errors import HaError
from ..gtid import EMPTY, GtidSet
from ..server.executed import executed
from ..server.session import Session, StatementFailed
from . import touched
from .activity import activity
from .checkpoint import State
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


GTIDS_RESET = "gtids_reset"
"""Why every table is looked at as a whole: the primary lacks transactions that were compared."""
_WRITERS_WITHIN = 15.0
"""Seconds of a run for which files are searched for who wrote last; that takes as long for each table that differs."""


class Recent:
    """For one run. ``close`` it: it removes the files that keys were written to. ``primary`` gives the connection.

    :param servers: UUIDs of all that are compared, the primary's with them.
    :param state: of the run; keeps up to where its results are about the log, for its later parts.
    """

    def __init__(
        self,
        wish: Wish,
        remembered: Remembered,
        primary: Callable[[], Session],
        *,
        servers: Collection[str],
        state: State,
        statement: float,
        now: float,
        clock: Callable[[], float] = time.monotonic,
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
        self._unreadable: Optional[HaError] = None
        self._servers = servers
        self._state = state
        self._clock = clock
        self._reset = False
        self._executed: Optional[GtidSet] = None
        self.scan_seconds = 0.0
        self._writers_seconds = 0.0

    @property
    def activity(self) -> Activity:
        """:raises HaError: as ``activity.activity``."""
        if self._activity is None:
            self._activity = activity(self._primary(), within=self._statement, sleep=self._sleep)
        return self._activity

    @property
    def touched(self) -> Touched:
        """
        :raises HaError: ``binlog_index_needed``, ``log_behind``; what reading the files raises.
        """
        if self._touched is None:
            if not self.wish.binlog_index:
                raise HaError(
                    "binlog_index_needed",
                    "the mode recent_binlog reads the binary log's files, and nobody said where they are",
                    next_step="Give binlog_index, and run where the files are: on the primary's host, or on an"
                    " archive's.",
                )
            if self._unreadable is not None:
                raise self._unreadable  # it takes as long for the next table
            began = self._clock()
            try:
                self._touched = self._scan()
            except StatementFailed:
                raise
            except HaError as error:
                self._unreadable = error
                raise
            self.scan_seconds = self._clock() - began
        return self._touched

    def begin(self) -> GtidSet:
        """The transactions that this run is about. Called before the tables are listed: one that comes in later is of a
        later run, with all that touched it. A later part of a run is about those of the first, whose results it keeps.

        :raises HaError: the primary does not answer.
        """
        if self._executed is None:
            told = self._state.executed or executed(self._primary(), within=self._statement)
            self._executed = GtidSet.parse(told)
        return self._executed

    def _scan(self) -> Touched:
        wanted = self.begin()
        known = self.remembered.read(self._servers)
        self._reset = known is not None and not known <= wanted
        paths = self._newest()
        start = before(paths[0])
        if known is not None:
            start = start & known if self.remembered.unknown(self._servers) else known
        # Copies of the files may be a little behind, and what they lack is for the next run.
        lately = wanted - before(paths[-1])
        found = touched.scan(
            paths,
            wanted - start,
            directory=self.wish.directory or tempfile.gettempdir(),
            always_whole=self._cascades(),
            lately=lately,
        )
        try:
            self._refuse_old(paths, found.missing & lately)
        except HaError:
            found.close()
            raise
        self._state.executed = str(wanted - (found.missing & lately))
        return found

    def _refuse_old(self, paths: Sequence[str], missing: GtidSet) -> None:
        """Files that nobody brings up to date tell of nothing, and nothing is always the same.

        :raises HaError: ``log_behind``.
        """
        if not missing:
            return
        age = self._now - _written(paths[-1])
        if age > self.wish.binlog_within:
            raise HaError(
                "log_behind",
                f"{paths[-1]} was last written {age:.0f} s ago, and lacks {missing}",
                evidence={"path": paths[-1], "seconds": round(age), "missing": str(missing)},
                next_step="See why the log's files are not copied any more; or compare whole tables.",
            )

    def reasons(self, named: Named) -> tuple[str, ...]:
        """Why all rows of a table have to be looked at. Errors as ``touched``."""
        reasons = self.touched.reasons(*named)
        return (*reasons, GTIDS_RESET) if self._reset else reasons

    def last_writers(self, named: Named, columns: Sequence[ColumnFacts], keys: Sequence[Key]) -> list[str]:
        """The transaction that last wrote each of these rows, in the files that this run looks at; empty where they do
        not tell, or where nobody said where they are.

        :raises HaError: what reading the files raises.
        """
        if not keys or not self.wish.binlog_index or self._writers_seconds > _WRITERS_WITHIN:
            return [""] * len(keys)
        logged = [_as_logged(columns, key) for key in keys]
        began = self._clock()
        try:
            found = touched.last_writer(self._newest(), named.schema, named.table, logged)
        finally:
            self._writers_seconds += self._clock() - began
        return [found.get(key, "") for key in logged]

    def _newest(self) -> list[str]:
        """The files to look at, oldest first."""
        paths = read_index(self.wish.binlog_index)
        known = self.remembered.read(self._servers)
        young = younger(paths, self._now - self.wish.binlog_within)
        if known is None:
            return young
        found = since(paths, known)
        # A server that was never compared is looked at as far back as in a first run.
        return max(found, young, key=len) if self.remembered.unknown(self._servers) else found

    def finished(self, same: Collection[str]) -> None:
        """Every table was looked at on every server.

        :param same: the servers on which all was the same, the primary with them; empty: on none.
        """
        if not self._state.executed or not same:
            return
        if self._reset:
            if {*same} != {*self._servers}:
                return  # everything is looked at as a whole until all of them are the same
            self.remembered.forget_read()
        self.remembered.keep_read(same, GtidSet.parse(self._state.executed))

    def close(self) -> None:
        """:raises HaError: ``state_unwritable``."""
        self.remembered.save()
        if self._touched is not None:
            self._touched.close()
            self._touched = None

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
    return [path for path in paths if _written(path) >= moment] or list(paths[-1:])


def _written(path: str) -> float:
    """When it was last written to. Errors as ``younger``."""
    try:
        return os.path.getmtime(path)
    except OSError as error:
        raise HaError(
            "binlog_unreadable",
            f"cannot look at {path}: {error.strerror or error}",
            evidence={"path": path, "errno": error.errno},
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
