# SPDX-License-Identifier: BSD-2-Clause
"""Rows that looked different, looked at again one by one, until each is the same, different, or will not rest.

**Why "the same once" is enough.** In each round the rows are read on the primary first (at t1), then the primary's
gtid_executed (at t2), then the replica executes all of that, and only then its rows are read (at t3). Equal means: the
replica's row at t3 is the primary's row at t1. At t3 it has executed everything that the primary had at t1, and maybe
more. If nothing that came since touched the row, the two were compared at the same state. If something did, the
replica's row is what that change wrote: binlog_row_image is FULL, so the primary's whole row. (Reading the other way
round would compare with a primary of later, and waiting for nothing with a replica of earlier: then a row that is yet
to be overwritten could look the same, and be judged before it was.)

**Why "different once" means nothing**, and when it does: see ``settle``.

A replica may also be *ahead*: it can hold a transaction that waits on the primary for its acknowledgements, or one of a
new primary. So before anything is called different, the primary executes what the replica had, and the rows are read
once more.

A row that changes faster than that is looked at under a short shared lock, which the primary's writers wait for: nobody
can change it meanwhile, so once the replica has executed everything of before the lock it has to be equal. What is not
there cannot be locked (a lock of the gap would stop inserts of other rows): of such a key only "the same" counts. Nor
can the replica be ahead in a row that is locked on a primary: a commit that waits there holds the row, so we wait.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any, Callable, Mapping, Optional, Sequence

from ..gtid import EMPTY, GtidSet
from ..server.executed import executed, wait_executed
from ..server.session import Session, StatementFailed
from .findings import EXTRA, MISSING, VALUE, Difference
from .layout import BYTES, ColumnFacts
from .questions import Key, Rows, Table
from .settle import Open, Settling

BATCH = 200
PAUSES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.05, 0.08, 0.08, 0.13, 0.13, 0.21, 0.21, 0.34, 0.34)
"""Seconds before each round of a batch: at no steady pace, which a writer could keep as well."""
CONFIRMED_BY = 12
"""Rounds, a second from the first to the last: of 17 million rows that go back and forth between two states all the
time, about one would look different at rest."""
_AHEAD_AGAIN = 0.1
"""Seconds for which a replica that was found ahead is given the time not to be."""
_LOCK_ROUNDS = (0.0, 0.05, 0.2, 0.5)
_UNDECIDED = frozenset({1205, 3572, 1213, 3024})
"""Errors of a row whose lock is held by somebody else (the time-out, NOWAIT, a deadlock), and of a look that took
longer than ours may be held."""
_HELD_OVER = 1.0
"""Seconds for which a server that does not answer at all keeps the lock held longer."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds: ``statement`` for one; ``catch_up`` for the replica to be where the primary was, each time; ``lock`` for
    which a restless row may be locked at most, 0 for never. ``listed``: differences that are told in full.

    ``exact``: both servers are seen at the same GTID (``snapshot``), so that what differs once, differs.
    ``errant``: by replica, what it alone had when the run began: the primary will never execute that.
    """

    statement: float = 30.0
    catch_up: float = 60.0
    lock: float = 2.0
    listed: int = 100
    exact: bool = False
    errant: Mapping[str, GtidSet] = dataclasses.field(default_factory=dict)


class Lagging(Exception):
    """The replica did not catch up in time."""


class Recheck:
    """The doubtful rows of one table, between the primary and one replica. ``add`` keys, then ``flush``."""

    def __init__(
        self,
        table: Table,
        primary: Session,
        replica: Session,
        limits: Limits,
        *,
        reveal: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table = table
        self._primary = primary
        self._replica = replica
        self._limits = limits
        self._reveal = reveal
        self._clock = clock
        self._sleep = sleep
        self._pending: dict[Key, None] = {}
        self.differences: list[Difference] = []
        self.keys: list[Key] = []
        self.difference_count = 0
        self.rows = 0
        self.restless = 0
        self.ahead = 0
        """Rows that differ, on a replica that has transactions which the primary has not."""

    @property
    def pending(self) -> int:
        """Keys that are not judged yet."""
        return len(self._pending)

    def add(self, keys: Sequence[Key]) -> None:
        """
        :raises Lagging: the replica did not catch up; the keys of that batch are not judged.
        :raises StatementFailed: a server did not answer.
        """
        for key in keys:
            self._pending[key] = None
            if len(self._pending) >= BATCH:
                self.flush()

    def flush(self) -> None:
        """Judge what is pending. Errors as ``add``."""
        keys = list(self._pending)
        self._pending.clear()
        if not keys:
            return
        self.rows += len(keys)
        settling: Settling[Key] = Settling(CONFIRMED_BY)
        self._rounds(keys, settling)
        different = dict(settling.different)
        if different and not self._limits.exact:
            different = self._once_more(different)
        if settling.restless:
            restless = self._under_lock(list(settling.restless))
            different.update({key: each for key, each in restless.items() if each is not None})
            self.restless += sum(each is None for each in restless.values())
        if different:
            self._tell(different)

    def _rounds(self, keys: Sequence[Key], settling: Settling[Key]) -> None:
        left = list(keys)
        if self._limits.exact:
            there, here = self._read(self._primary, left), self._read(self._replica, left)
            for _time in range(CONFIRMED_BY):
                settling.see(there, here)
            return
        for pause in PAUSES:
            if pause:
                self._sleep(pause)
            there = self._read(self._primary, left)
            self._catch_up(self._limits.catch_up, self._limits.statement)
            settling.see(there, self._read(self._replica, left))
            if settling.settled:
                return
            left = list(settling.open or ())

    def _read(self, session: Session, keys: Sequence[Key]) -> Rows:
        sql, values = self._table.rows_at(keys)
        return self._table.read(session.query(sql, values, within=self._limits.statement))

    def _catch_up(self, patience: float, statement: float) -> None:
        gtids = executed(self._primary, within=statement)
        if not wait_executed(self._replica, gtids, patience=patience, statement=statement):
            raise Lagging(f"{self._replica.name} did not catch up within {patience:g} s")

    def _once_more(self, different: dict[Key, Open]) -> dict[Key, Open]:
        """Those that still differ when the primary has executed what the replica had."""
        patience = _AHEAD_AGAIN if self.ahead else self._limits.catch_up
        if is_ahead(self._primary, self._replica, self._limits, patience):
            self.ahead += len(different)
            return {}
        keys = list(different)
        there = self._read(self._primary, keys)
        self._catch_up(self._limits.catch_up, self._limits.statement)
        here = self._read(self._replica, keys)
        left = {}
        for key, seen in different.items():
            if there.get(key) == here.get(key):
                continue
            if there.get(key) == seen.there:
                left[key] = seen
            else:
                self.restless += 1
        return left

    # --- rows that will not rest -------------------------------------------------------------------------------------
    def _under_lock(self, keys: Sequence[Key]) -> dict[Key, Optional[Open]]:
        """By key: how the row differs while it is locked; None: not known. What is equal is left out.

        One row at a time: a writer waits for one row, and for no more than ``limits.lock`` seconds.
        """
        found: dict[Key, Optional[Open]] = {}
        for key in keys:
            if self._limits.lock <= 0:
                found[key] = None
                continue
            try:
                said = self._locked(key)
            except Lagging:
                found[key] = None
                continue
            except StatementFailed as error:
                if error.errno not in _UNDECIDED:
                    raise
                found[key] = None
                continue
            if said is not None:
                found[key] = said
        return found

    def _locked(self, key: Key) -> Optional[Open]:
        """
        :raises Lagging: not known: the lock was held as long as it may be, or the primary has no row to lock.
        """
        primary, statement = self._primary, self._limits.statement
        kept = primary.one("SELECT @@SESSION.wait_timeout AS seconds", within=statement)["seconds"]
        # If this process stands still, the server itself ends the transaction.
        primary.execute("SET SESSION wait_timeout = %s", (math.ceil(self._limits.lock + _HELD_OVER),), within=statement)
        try:
            primary.execute("START TRANSACTION READ ONLY", within=statement)
            return self._while_locked(key)
        finally:
            if primary.usable:
                primary.execute("ROLLBACK", within=statement)
                primary.execute("SET SESSION wait_timeout = %s", (kept,), within=statement)

    def _while_locked(self, key: Key) -> Optional[Open]:
        sql, values = self._table.rows_at([key], lock=True)
        there = self._table.read(self._primary.query(sql, values, within=self._limits.statement))
        ends = self._clock() + self._limits.lock
        here: Rows = {}
        for pause in _LOCK_ROUNDS:
            if pause:
                self._sleep(pause)
            # A commit of before the lock may not have been in gtid_executed yet: it is read again in each round.
            self._catch_up(self._left(ends), _HELD_OVER)
            left = self._left(ends)
            sql, values = self._table.rows_at([key], within=left)
            here = self._table.read(self._replica.query(sql, values, within=left + _HELD_OVER))
            if here.get(key) == there.get(key):
                return None
        if key not in there:
            raise Lagging("the primary has no row that could be locked")
        return Open(there.get(key), here.get(key), len(_LOCK_ROUNDS))

    def _left(self, ends: float) -> float:
        left = ends - self._clock()
        if left <= 0:
            raise Lagging("the lock was held as long as it may be")
        return left

    # --- what differs ------------------------------------------------------------------------------------------------
    def _tell(self, different: dict[Key, Open]) -> None:
        self.difference_count += len(different)
        room = self._limits.listed - len(self.differences)
        if room <= 0:
            return
        keys = list(different)[:room]
        sql, values = self._table.details_at(keys, reveal=self._reveal)
        there, here = (
            {self._table.key_of(row): row for row in session.query(sql, values, within=self._limits.statement)}
            for session in (self._primary, self._replica)
        )
        self.keys += keys
        for key in keys:
            self.differences.append(self._difference(key, different[key], there.get(key), here.get(key)))

    def _difference(self, key: Key, seen: Open, there: Any, here: Any) -> Difference:
        kind = MISSING if seen.here is None else EXTRA if seen.there is None else VALUE
        shown = there or here
        name = self._table.key_text(shown) if shown else _plain(self._table, key)
        columns = self._table.differing(there, here) if there and here else ()
        told = columns if kind == VALUE else self._table.columns
        return Difference(
            name,
            kind,
            tuple(column.name for column in columns) if kind == VALUE else (),
            self._table.values(there, told) if self._reveal and there else None,
            self._table.values(here, told) if self._reveal and here else None,
        )


def is_ahead(primary: Session, replica: Session, limits: Limits, patience: float) -> bool:
    """Whether the primary has not executed, within ``patience`` seconds, what the replica has: that may be newer than
    what the primary shows.

    :raises StatementFailed: a server did not answer.
    """
    theirs = GtidSet.parse(executed(replica, within=limits.statement))
    wanted = theirs - limits.errant.get(replica.name, EMPTY)
    return not wait_executed(primary, str(wanted), patience=patience, statement=limits.statement)


def _plain(table: Table, key: Key) -> dict[str, Optional[str]]:
    """A key whose row has gone since, as ``Table.key_text`` shows one."""

    def shown(column: ColumnFacts, value: Any) -> str:
        if not isinstance(value, bytes):
            return str(value)
        return value.hex().upper() if column.data_type in BYTES else value.decode("utf-8", "backslashreplace")

    return {column.name: shown(column, value) for column, value in zip(table.key, key)}
