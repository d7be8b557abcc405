# SPDX-License-Identifier: BSD-2-Clause
"""Whether every row that an archive names is the same on a returning server and on the primary.

An archive names rows by their images; here each is looked for on both servers, as it was before and after each change:
by a key where the table has one, else by all of its columns. Of DDL the definitions are compared. What cannot be
compared makes the verdict ``unknown``, never ``equal``.

In each round the rows are read on the primary first, then the returning server executes all that the primary had
executed, and only then its rows are read. When a row is the same, when it differs, and why: ``consistency/recheck.py``,
whose rounds these are. A row that never rests is ``unknown``: nobody is kept waiting for it by a lock.

The servers answer with digests (``compare_plan``); values are only read of rows that differ, and only when asked for.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from contextlib import ExitStack
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

from ..binlog import archive, statement_objects
from ..binlog.rows_json import ROW
from ..binlog.statement_names import Named
from ..binlog.statement_objects import objects_of
from ..consistency.barrier import reading
from ..consistency.layout import COLUMNS, UNIQUE_KEYS, Layout, layout_difference, layout_of
from ..consistency.lookup import Lookup, Unfit, fits
from ..consistency.recheck import CONFIRMED_BY, PAUSES
from ..consistency.settle import Answer, Open, Settling
from ..errors import HaError
from ..server.executed import executed, wait_executed
from ..server.session import Session, StatementFailed, identifier
from . import compare_plan as plan

EQUAL, DIFFERENT, UNKNOWN = "equal", "different", "unknown"

KEYED_BATCH = 200
COUNTED_BATCH = 20
MOST_PENDING = 4000
MOST_SEEN = 200_000
MOST_LISTED = 100
_NO_SUCH = frozenset({1049, 1146})
_INTERRUPTED = 3024


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds. ``within``: for everything; ``statement``: for one; ``catch_up``: for the replica to be where the
    primary was, each time."""

    within: float = 600.0
    statement: float = 30.0
    catch_up: float = 60.0


@dataclasses.dataclass(frozen=True)
class Difference:
    """Something that is not the same.

    :param what: ``row`` (both have it), ``only_on_primary``, ``only_on_returning`` (a row, a table, a schema),
        ``count`` (rows of a table without a key), ``columns``, ``keys`` or ``definition`` (of a table).
    :param row: the digest of the row's key, by which the same row has the same name everywhere; empty for a table.
    :param columns: which columns differ.
    :param values: by column, ``{"primary", "returning"}``, the beginning of each; only when asked for.
    """

    schema: str
    table: str
    what: str
    row: str = ""
    columns: tuple[str, ...] = ()
    values: Mapping[str, Mapping[str, Optional[str]]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What came of it.

    :param verdict: ``equal``: everything that the archive names was compared, and is the same; ``different``;
        ``unknown``: no difference, and something was not compared.
    :param changes: row changes of the archive; ``statements``: statements.
    :param rows: different rows that were looked for on both servers.
    :param found: how many of the primary's rows answered. 0 is right where all that was archived were inserts.
    :param tables: tables that rows were looked for in.
    :param difference_count: all differences; ``differences`` lists at most ``MOST_LISTED``.
    :param not_compared: what could not be compared, and how often.
    :param for_good: some of that can never be compared, however often it is tried.
    """

    verdict: str
    changes: int
    statements: int
    rows: int
    found: int
    tables: int
    difference_count: int
    differences: tuple[Difference, ...]
    not_compared: Mapping[str, int]
    for_good: bool
    seconds: float

    @property
    def why(self) -> str:
        """In a sentence, without a value."""
        done = f"{self.rows} rows of {self.tables} tables and {self.statements} statements compared"
        if self.verdict == EQUAL:
            return f"{done}, all the same"
        if self.verdict == DIFFERENT:
            first = self.differences[0]
            where = f"{first.schema}.{first.table}".rstrip(".")
            return f"{done}, {self.difference_count} differences, the first in {where}: {first.what}"
        return f"{done}, not all of them: {'; '.join(self.not_compared)}"

    def as_result(self) -> dict[str, Any]:
        return {
            **dataclasses.asdict(self),
            "differences": [dataclasses.asdict(each) for each in self.differences],
            "why": self.why,
        }


class _Stopped(Exception):
    """The comparison cannot go on; the message says why."""


def compare(
    directory: str,
    returning: Session,
    primary: Session,
    *,
    limits: Limits = Limits(),
    reveal: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Comparison:
    """Compare every row that the archive in ``directory`` names.

    The returning server must replicate from the primary. The account needs SELECT on the tables (duty ``reconcile``).

    :param reveal: read the values of rows that differ, too.
    :raises HaError: ``archive_damaged``, ``rows_unreadable``. What a server does not answer makes ``unknown``.
    """
    manifest = archive.load(directory)
    told = archive.objects(directory, manifest)
    undecoded = len((manifest.get("rows") or {}).get("undecoded", ()))
    work = _Comparing(returning, primary, limits, reveal, clock, sleep)
    return work.run(told, undecoded)


class _Table:
    """A table that is compared: as both servers have it, and the rows that are looked for next."""

    def __init__(self, named: Named, layout: Layout) -> None:
        self.named = named
        self.layout = layout
        self.pending: dict[Lookup, None] = {}
        self.seen: set[bytes] = set()

    @property
    def batch(self) -> int:
        return KEYED_BATCH if self.layout.key else COUNTED_BATCH

    def want(self, lookup: Lookup) -> bool:
        """Whether it is new. Rows that change often are named often; of the last many, each is looked for once."""
        digest = hashlib.blake2b(repr(lookup.values).encode("utf-8", "backslashreplace"), digest_size=16).digest()
        if digest in self.seen:
            return False
        if len(self.seen) >= MOST_SEEN:
            self.seen.clear()
        self.seen.add(digest)
        self.pending[lookup] = None
        return True


class _Comparing:
    def __init__(
        self,
        returning: Session,
        primary: Session,
        limits: Limits,
        reveal: bool,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._returning = returning
        self._primary = primary
        self._limits = limits
        self._reveal = reveal
        self._clock = clock
        self._sleep = sleep
        self._started = clock()
        self._tables: dict[Named, Optional[_Table]] = {}
        self._definitions: set[Named] = set()
        self._differences: list[Difference] = []
        self._difference_count = 0
        self._not_compared: dict[str, int] = {}
        self._for_good = False
        self._changes = self._statements = self._rows = self._found = 0

    def run(self, told: Iterable[Mapping[str, Any]], undecoded: int) -> Comparison:
        if undecoded:
            self._never("transactions whose rows could not be decoded", undecoded)
        try:
            with ExitStack() as stack:
                for session in (self._primary, self._returning):
                    stack.enter_context(reading(session, statement=self._limits.statement))
                self._all(told)
        except _Stopped as error:
            self._lack(str(error))
        except StatementFailed as error:
            self._lack(f"a server did not answer: {error.code} {error.errno or ''}".rstrip())
        except HaError as error:
            if error.code == "rows_unreadable":
                raise
            if error.code == "packet_too_small":
                self._lack(error.message)
                return self._result()
            # An archive of before there were decoded rows is decoded now, and could not be to its end.
            self._never(f"rows behind one that could not be decoded: {error.code}")
        return self._result()

    def _result(self) -> Comparison:
        verdict = DIFFERENT if self._difference_count else UNKNOWN if self._not_compared else EQUAL
        return Comparison(
            verdict=verdict,
            changes=self._changes,
            statements=self._statements,
            rows=self._rows,
            found=self._found,
            tables=sum(table is not None for table in self._tables.values()),
            difference_count=self._difference_count,
            differences=tuple(self._differences),
            not_compared=dict(self._not_compared),
            for_good=self._for_good,
            seconds=round(self._clock() - self._started, 3),
        )

    def _all(self, told: Iterable[Mapping[str, Any]]) -> None:
        for each in told:
            if each.get("kind") == ROW:
                self._changes += 1
                self._row(each)
            else:
                self._statements += 1
                self._statement(each)
        for table in self._tables.values():
            if table is not None:
                self._flush(table)

    # Asking

    def _left(self) -> float:
        return self._started + self._limits.within - self._clock()

    def _within(self) -> float:
        left = self._left()
        if left <= 0:
            raise _Stopped(f"not done within {self._limits.within:g} s")
        return min(left, self._limits.statement)

    def _query(self, session: Session, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        return session.query(sql, values, within=self._within())

    def _catch_up(self) -> None:
        """The returning server executes what the primary has executed by now."""
        gtids = executed(self._primary, within=self._within())
        patience = min(self._limits.catch_up, self._left())
        if not wait_executed(self._returning, gtids, patience=patience, statement=self._limits.statement):
            raise _Stopped(f"{self._returning.name} did not catch up within {patience:g} s")

    def _rounds(self, read: Callable[[Session], Answer], settling: Settling[str]) -> None:
        """Rounds until each difference is confirmed or gone; see the module's docstring for the order of reading."""
        for pause in PAUSES:
            if pause:
                self._pause(pause)
            there = read(self._primary)
            self._catch_up()
            settling.see(there, read(self._returning))
            if settling.settled:
                return

    def _pause(self, seconds: float) -> None:
        if self._left() < seconds:
            raise _Stopped(f"not done within {self._limits.within:g} s")
        self._sleep(seconds)

    # Rows

    def _row(self, change: Mapping[str, Any]) -> None:
        named = Named(str(change["schema"]), str(change["table"]))
        if change.get("masked"):
            self._never(f"rows of {named.schema}.{named.table}, whose values are not archived")
            return
        if named not in self._tables:
            self._tables[named] = self._table(named)
        table = self._tables[named]
        if table is None:
            return
        try:
            for lookup in plan.lookups(change, table.layout):
                fits(table.layout, lookup)
                self._rows += table.want(lookup)
        except Unfit as error:
            self._never(f"{named.schema}.{named.table}: {error}")
        if len(table.pending) >= table.batch:
            self._flush(table)
        elif sum(len(each.pending) for each in self._tables.values() if each) >= MOST_PENDING:
            for each in self._tables.values():
                if each is not None:
                    self._flush(each)

    def _table(self, named: Named) -> Optional[_Table]:
        """The table, if both servers have the same one; what else there is is noted."""
        seen: dict[str, Optional[Layout]] = {}

        def read(session: Session) -> Answer:
            columns = self._query(session, COLUMNS, named)
            found = layout_of(columns, self._query(session, UNIQUE_KEYS, named))
            seen["there" if session is self._primary else "here"] = found
            return {"layout": repr(found)}

        settling: Settling[str] = Settling(CONFIRMED_BY)
        self._rounds(read, settling)
        there, here = seen["there"], seen["here"]
        what, columns = layout_difference(there, here)
        if what and settling.different:
            self._differ(Difference(named.schema, named.table, what, columns=columns))
        elif what:
            self._lack(f"{named.schema}.{named.table}: its definition keeps changing")
        elif there is not None:
            return _Table(named, there)
        # Neither has it: a table that the archive made, and that was undone.
        return None

    def _flush(self, table: _Table) -> None:
        wanted = list(table.pending)
        table.pending.clear()
        for start in range(0, len(wanted), table.batch):
            self._batch(table, wanted[start : start + table.batch])

    def _batch(self, table: _Table, wanted: Sequence[Lookup]) -> None:
        named = table.named
        settling: Settling[str] = Settling(CONFIRMED_BY)
        try:
            sql, values = plan.rows_query(named.schema, named.table, table.layout, wanted)
            first = True

            def read(session: Session) -> Answer:
                nonlocal first
                found = plan.answer(self._query(session, sql, values))
                if first:
                    self._found += len(found)
                    first = False
                return found

            self._rounds(read, settling)
        except Unfit as error:
            self._lack(f"{named.schema}.{named.table}: {error}")
            return
        except StatementFailed as error:
            if error.code != "sql_error":
                raise
            why = "took too long to read" if error.errno == _INTERRUPTED else f"error {error.errno} when it was read"
            self._lack(f"{named.schema}.{named.table}: {why}")
            return
        if settling.restless:
            self._lack(f"{named.schema}.{named.table}: rows that kept changing", len(settling.restless))
        if settling.different:
            self._tell(table, wanted, settling.different)

    def _tell(self, table: _Table, wanted: Sequence[Lookup], different: Mapping[str, Open]) -> None:
        there, here = self._details(table, wanted)
        for identity, each in different.items():
            if not table.layout.key:
                what = "count"
            elif each.there is None or each.here is None:
                what = "only_on_returning" if each.there is None else "only_on_primary"
            else:
                what = "row"
            theirs, ours = there.get(identity, {}), here.get(identity, {})
            places = [
                place for place in range(len(table.layout.columns)) if theirs.get(f"d{place}") != ours.get(f"d{place}")
            ]
            names = [table.layout.columns[place].name for place in places]
            shown = {
                name: {"primary": theirs.get(f"v{place}"), "returning": ours.get(f"v{place}")}
                for name, place in zip(names, places)
                if self._reveal
            }
            columns = tuple(names) if what == "row" else ()
            self._differ(Difference(table.named.schema, table.named.table, what, identity[:32], columns, shown))

    def _details(
        self, table: _Table, wanted: Sequence[Lookup]
    ) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
        """The columns of these rows on the primary and on the returning server; a difference counts without them."""
        if not table.layout.key or len(self._differences) >= MOST_LISTED:
            return {}, {}
        sql, values = plan.details_query(
            table.named.schema, table.named.table, table.layout, wanted, reveal=self._reveal
        )
        try:
            there, here = (
                {str(row["identity"]): row for row in self._query(session, sql, values)}
                for session in (self._primary, self._returning)
            )
        except (StatementFailed, _Stopped):
            return {}, {}
        return there, here

    # Statements

    def _statement(self, statement: Mapping[str, Any]) -> None:
        try:
            for named in objects_of(statement):
                if named not in self._definitions:
                    self._definitions.add(named)
                    self._definition(named)
        except statement_objects.Unfit as error:
            self._never(str(error))

    def _definition(self, named: Named) -> None:
        what = f"TABLE {identifier(named.schema)}.{identifier(named.table)}"
        if not named.table:
            what = f"DATABASE {identifier(named.schema)}"

        def read(session: Session) -> Answer:
            shown = plan.definition(self._shown(session, f"SHOW CREATE {what}"))
            return {} if shown is None else {"definition": shown}

        settling: Settling[str] = Settling(CONFIRMED_BY)
        self._rounds(read, settling)
        for each in settling.different.values():
            kind = "definition"
            if each.there is None or each.here is None:
                kind = "only_on_returning" if each.there is None else "only_on_primary"
            self._differ(Difference(named.schema, named.table, kind))
        if settling.restless:
            self._lack(f"{named.schema}.{named.table}: its definition keeps changing")

    def _shown(self, session: Session, sql: str) -> Optional[str]:
        try:
            row = self._query(session, sql)[0]
        except StatementFailed as error:
            if error.errno in _NO_SUCH:
                return None
            raise
        return next(str(value) for name, value in row.items() if name.startswith("Create "))

    # Noting

    def _never(self, why: str, count: int = 1) -> None:
        self._for_good = True
        self._lack(why, count)

    def _lack(self, why: str, count: int = 1) -> None:
        if why in self._not_compared or len(self._not_compared) < MOST_LISTED:
            self._not_compared[why] = self._not_compared.get(why, 0) + count

    def _differ(self, difference: Difference) -> None:
        self._difference_count += 1
        if len(self._differences) < MOST_LISTED:
            self._differences.append(difference)
