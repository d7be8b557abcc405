# SPDX-License-Identifier: BSD-2-Clause
"""The rows of one table that were written lately, by the date that they carry themselves.

The window (see ``window``) is read in the order of date and key, range by range, like a whole table: a digest of each
range from both servers, and where they differ, their rows. Both sides are asked, so a row that has a date in the window
on either of them is compared: one that changed, one that the replica lacks, one that it has alone, one whose update was
lost on the replica and has its old date there. Each such row is looked at again by its key, whatever its date is then.

It is blind to deletes, to changes that leave the date as it was, and to rows that the replica changed by itself and
that have an old date on both sides: other modes see these.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from typing import Callable, Mapping, Optional

from ..errors import HaError
from ..server.session import Session
from . import findings
from .chunks import Counter
from .findings import TableResult
from .lookup import Bound
from .questions import Table
from .recent_questions import RecentTable
from .time_column import TimeColumn, blind, span
from .whole import Compared, Limits, Reached, WholeTable
from .window import SECOND, Window

GLOBAL_ZONE = "@@GLOBAL.time_zone"
_OFFSET = "TIMESTAMPDIFF(SECOND, FROM_UNIXTIME({0}), CONVERT_TZ(FROM_UNIXTIME({0}), '+00:00', {1}))"
_EPOCH = datetime.datetime(1970, 1, 1)


class RecentByTime(WholeTable):
    """One table with a key and a column that ``time_column`` found, on the primary and its replicas.

    All sessions are under ``barrier.reading``. What ``Window.remember`` gives is kept for each table and replica, and
    is ``finished`` after a pass only: one replica that is late keeps its window. The other parameters are those of
    ``WholeTable``; ``after`` is for the same window only.

    :param window: made from the primary's activity before this.
    :param time_zone: of a DATETIME column: what MySQL takes for one, ``+02:00`` or a name; empty: the primary's own.
    """

    mode = findings.RECENT_TIME

    def __init__(
        self,
        table: Table,
        column: TimeColumn,
        window: Window,
        primary: Session,
        replicas: Mapping[str, Session],
        limits: Limits,
        *,
        time_zone: str = "",
        reveal: bool = False,
        after: Bound = None,
        before_range: Callable[[], None] = lambda: None,
        reached: Callable[[Reached], bool] = lambda reached: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(
            table,
            primary,
            replicas,
            limits,
            reveal=reveal,
            after=after,
            before_range=before_range,
            reached=self._step,
            clock=clock,
            sleep=sleep,
        )
        self._plain = table
        self._column = column
        self._window = window
        self._zone = time_zone
        self._told = reached
        self._edges = (window.low, window.high)

    def _all(self) -> str:
        if self._column.zoned:
            self._edges = span(*self._edges, self._offsets())
        self._table = RecentTable(self._plain, self._column, *self._edges)
        return super()._all()

    def _offsets(self) -> tuple[int, int]:
        """Of the zone at both ends of the window, in seconds.

        :raises HaError: ``time_zone_unknown``.
        """
        values: list[object] = []
        for edge in self._edges:
            values += [edge // SECOND, edge // SECOND, *([self._zone] if self._zone else [])]
        shown = _OFFSET.format("%s", "%s" if self._zone else GLOBAL_ZONE)
        row = self._ask(self._primary, (f"SELECT {shown} AS low, {shown} AS high", tuple(values)))
        if row["low"] is None or row["high"] is None:
            # With NULL for an edge no row would be found on either side, and nothing equals nothing.
            raise HaError(
                "time_zone_unknown",
                f"{self._primary.name} does not know the time zone {self._zone or 'of its own'}",
                evidence={"member": self._primary.name, "time_zone": self._zone},
                next_step="Load the time zones (mysql_tzinfo_to_sql), or give the zone as an offset like +02:00.",
            )
        return int(row["low"]), int(row["high"])

    def _counter(self) -> Optional[Counter]:
        return None

    def _step(self, reached: Reached) -> bool:
        if reached.upto is not None:
            at = datetime.datetime.fromisoformat(str(reached.upto[0])[:19])
            low, high = self._edges
            seconds = (at - _EPOCH).total_seconds() - low / SECOND
            self._covered = min(max(seconds / max((high - low) / SECOND, 1.0), 0.0), 1.0)
        return self._told(dataclasses.replace(reached, covered=self._covered))

    def _said(self, name: str, verdict: str, code: str = "", why: str = "", next_step: str = "") -> TableResult:
        if verdict == findings.PASS and self._window.cut:
            return super()._said(
                name,
                findings.SKIPPED,
                "look_back_exceeded",
                f"the window would have to begin at {_shown(self._window.wanted)}, further back than a run looks;"
                f" since {_shown(self._window.low)} all is the same. {self._scope}",
                "Look for a transaction that is open for long, a clock that was set back, or a difference that stayed;"
                " compare the whole table (mode whole), then begin anew.",
            )
        return super()._said(name, verdict, code, f"{why}. {self._scope}" if why else self._scope, next_step)

    @property
    def _scope(self) -> str:
        return f"[{_shown(self._window.low)}, {_shown(self._window.high)}): {blind(self._column)}"

    def _result(self, name: str, replica: Compared, stopped: str, seconds: float) -> TableResult:
        said = super()._result(name, replica, stopped, seconds)
        return dataclasses.replace(said, covered=round(said.covered * self._window.covered, 4))


def _shown(moment: int) -> str:
    return f"{(_EPOCH + datetime.timedelta(microseconds=moment)).isoformat(timespec='seconds')}Z"
