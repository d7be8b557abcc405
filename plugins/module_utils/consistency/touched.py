# SPDX-License-Identifier: BSD-2-Clause
"""Which tables and which keys a binary log touched: read from its files, with no query to any server.

Of each table the distinct primary keys of the rows that were written, updated (the key before and the key after) or
deleted. Where the log does not tell that, the table is *handed over*: somebody has to look at all of it. Nothing is
left out in silence: an event either touches known keys, or it hands over the tables that it may have touched (by name,
by schema, or every one), or it is known to touch no row. What the files themselves lack, or what cannot be read at all,
is a *problem*, and a result with a problem hands over every table. So there is one question to ask of each table that
exists: ``Touched.reasons``; if there is none, its keys are everything.

Rows that a foreign key's ON DELETE or ON UPDATE changed are not in the log (before 9.6): name such children in
``always_whole``. Rows of transactions that were rolled back, or are only prepared, are touched all the same: too many
keys do no harm.

Keys are kept as the log's bytes (``binlog.key_rows``) in a ``KeyStore`` of bounded memory. One event is held at a time.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import Callable, Collection, Iterable, Iterator, Mapping, NamedTuple, Optional, Sequence, Union

from ..binlog import events
from ..binlog.events import CONTROL_KINDS, GTID_KINDS, Flag, FormatDescription, Gtid, Kind
from ..binlog.files import BinlogFile, Ending, membership
from ..binlog.key_rows import KeyNotLogged, KeyPlan, KeyValue, rows_header
from ..binlog.statement_names import Named
from ..binlog.sweep import Sweep, Swept
from ..binlog.tables import Column, decode_table
from ..errors import HaError
from ..gtid import EMPTY, GtidSet, Interval, Origin
from .key_set import KeySet, KeyStore
from .statement_reach import reach_of

MOST_KEYS = 1_000_000
"""Of one table: above that, looking at the whole table is cheaper."""
MOST_BYTES = 32 << 20
_MOST_PLANS = 1000
_MOST_HANDED_OVER = 10_000
"""Tables that are handed over one by one; more than that is everything."""
_MOST_INTERVALS = 4096
_MOST_MEMORIES = 100_000

NO_KEY, NO_METADATA, KEY_NOT_LOGGED = "no_key", "no_key_metadata", "key_not_logged"
TOO_MANY_KEYS, NO_ROOM, KEY_CHANGED = "too_many_keys", "no_room", "key_changed"
UNSUPPORTED, UNDECODABLE, ALWAYS = "unsupported", "undecodable", "always_whole"
XA_EARLIER, TOO_MANY_TABLES, COMPRESSED = "xa_prepared_earlier", "too_many_tables", "compressed"
"""Reasons why a table is handed over, beside ``statement`` and ``ddl``."""
INCIDENT, UNKNOWN_EVENT = "incident", "unknown_event"
GAP, TORN, DAMAGED, MISSING = "gap", "torn", "damaged", "missing_transactions"
"""Problems."""

_APPEND_BLOCK, _DELETE_FILE = 9, 11
"""Parts of a LOAD DATA that is logged as a statement; what it is about stands in its EXECUTE_LOAD_QUERY event."""
_WITHOUT_ROWS = frozenset(
    {
        *CONTROL_KINDS,
        Kind.XID,
        Kind.INTVAR,
        Kind.RAND,
        Kind.USER_VAR,
        Kind.BEGIN_LOAD_QUERY,
        Kind.IGNORABLE,
        Kind.ROWS_QUERY,
        Kind.TRANSACTION_CONTEXT,
        Kind.VIEW_CHANGE,
        _APPEND_BLOCK,
        _DELETE_FILE,
    }
)
_QUERY_HEADER = 13
_BOUNDS = frozenset({b"BEGIN", b"COMMIT"})

Source = Union[str, BinlogFile]
"""A binary log file: its path, or the open file."""


class HandedOver(NamedTuple):
    """Tables whose rows somebody else has to look at.

    :param table: empty for each table of the schema; with an empty schema, for each table.
    :param reason: a stable word, above.
    :param detail: what it was, without values.
    :param gtid: the first transaction that is the reason; empty where it is none, or anonymous.
    """

    schema: str
    table: str
    reason: str
    detail: str = ""
    gtid: str = ""


class Problem(NamedTuple):
    """Why the result is not complete. ``path``: the file; empty where it is about none."""

    reason: str
    detail: str
    path: str = ""


class TouchedTable:
    """A table with the keys that were touched.

    ``key`` are the columns of its primary key in their order; a TIMESTAMP among them is in UTC. ``changes``: how many
    rows were written, updated or deleted. ``keys``: how many distinct keys. Iterating gives each key once, its values
    in the order of ``key``, as long as the ``Touched`` is not closed.
    """

    def __init__(self, named: Named, plan: KeyPlan, found: KeySet) -> None:
        self.schema, self.table = named
        self.key: tuple[Column, ...] = plan.columns
        self.changes = 0
        self.first_gtid = ""
        self.last_gtid = ""
        self.keys = 0
        self._plan = plan
        self._found = found

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.key)

    def __iter__(self) -> Iterator[KeyValue]:
        """:raises HaError: ``keys_unreadable``; ``binlog_event_malformed``: bytes that are no value of their type."""
        values = self._plan.values
        return (values(key) for key in self._found)


class Touched:
    """What a log touched. A context manager: closing it removes the files with keys.

    ``tables``: those that were touched, with their keys, also where a whole schema or everything is handed over.
    ``handed_over``, ``problems``: see there. ``seen``: the transactions that were read. ``missing``: those that were
    wanted and are in none of the files. ``unfinished``: the transaction that the last file ends within.
    """

    def __init__(
        self,
        tables: Mapping[Named, TouchedTable],
        handed_over: tuple[HandedOver, ...],
        problems: tuple[Problem, ...],
        seen: GtidSet,
        missing: GtidSet,
        unfinished: str,
        store: KeyStore,
    ) -> None:
        self.tables = tables
        self.handed_over = handed_over
        self.problems = problems
        self.seen = seen
        self.missing = missing
        self.unfinished = unfinished
        self._store = store
        self._by_name: dict[tuple[str, str], list[str]] = {}
        for each in handed_over:
            self._by_name.setdefault(_folded(each.schema, each.table), []).append(each.reason)

    @property
    def complete(self) -> bool:
        """Whether the files hold all that was asked for, and all of it was understood."""
        return not self.problems

    @property
    def everything(self) -> tuple[str, ...]:
        """Why every table is handed over; empty when that is not so."""
        found = [*self._by_name.get(("", ""), ()), *(problem.reason for problem in self.problems)]
        return tuple(dict.fromkeys(found))

    def reasons(self, schema: str, table: str) -> tuple[str, ...]:
        """Why all rows of this table have to be looked at; empty when its touched keys are all there is.

        Upper and lower case count as the same: a statement may name a table otherwise than its server does.
        """
        named = self._by_name.get(_folded(schema, table), [])
        return tuple(dict.fromkeys([*named, *self._by_name.get(_folded(schema, ""), []), *self.everything]))

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Touched:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _folded(schema: str, table: str) -> tuple[str, str]:
    return schema.casefold(), table.casefold()


def scan(
    files: Sequence[Source],
    wanted: Optional[GtidSet] = None,
    *,
    directory: str,
    most_keys: int = MOST_KEYS,
    most_bytes: int = MOST_BYTES,
    tables: Optional[Callable[[str, str], bool]] = None,
    always_whole: Collection[Named] = (),
    lately: GtidSet = EMPTY,
) -> Touched:
    """Read binary log files, oldest first, and say what they touched.

    :param wanted: only these transactions, and anonymous ones; those that the files lack are a problem, gaps between
        files are none. None: all of them, and the files have to follow each other without a gap.
    :param directory: where keys go that have no room in memory, in a directory of their own.
    :param most_keys: of one table; one with more is handed over.
    :param most_bytes: of memory for keys, all tables together, about.
    :param tables: whether a table (schema, name) is of interest; the keys of others are not looked for. What statements
        name is in ``handed_over`` all the same, for they may name it otherwise.
    :param always_whole: tables to be handed over in any case.
    :param lately: transactions that may be behind the end of the last file, which is no problem.
    :raises HaError: ``binlog_unreadable``, ``binlog_encrypted``, ``binlog_not_a_binlog``,
        ``binlog_version_unsupported``.
    """
    with ExitStack() as undo:
        store = undo.enter_context(KeyStore(directory, most_bytes))
        found = _Scan(store, wanted, most_keys, tables or _any_table, lately)
        for named in always_whole:
            found.hand_over(named, ALWAYS, "")
        _read(files, found)
        result = found.result()
        undo.pop_all()
        return result


def _any_table(_schema: str, _table: str) -> bool:
    return True


def last_writer(
    files: Sequence[Source], schema: str, table: str, keys: Iterable[KeyValue], *, wanted: Optional[GtidSet] = None
) -> dict[KeyValue, str]:
    """Of each of these keys the last transaction in the files that touched it; keys that none did are not in it.

    The GTID is empty for an anonymous transaction. Reads newer files first, and no further than it has to; nor further
    back than to something that may have touched the table in a way that the log does not tell. Meant for the few keys
    that differ.

    :param files: oldest first.
    :raises HaError: as ``scan``.
    """
    found: dict[KeyValue, str] = {}
    asked = set(keys)
    for file in reversed(files):
        if not asked:
            break
        search = _Search(Named(schema, table), asked, wanted)
        _read([file], search)
        found.update(search.found)
        asked -= search.found.keys()
        if search.blind:
            break
    return found


# Reading


class _Table(NamedTuple):
    """What a number in row events means: a plan, or none where the rows do not matter."""

    named: Named
    plan: Optional[KeyPlan]


_NO_TABLE = _Table(Named("", ""), None)


class _Origin:
    """The transactions of one origin that were seen."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.intervals: list[Interval] = []

    def add(self, number: int) -> None:
        held = self.intervals
        if held and held[-1][1] + 1 == number:
            held[-1] = (held[-1][0], number)
            return
        held.append((number, number))
        if len(held) > _MOST_INTERVALS:
            self.intervals = [interval for _origin, interval in GtidSet({self.origin: held})]


def _touches_no_row(_kind: int, _data: bytes, _base: int, _form: FormatDescription) -> None:
    """An event that is known, and left out."""


class _Reader(ABC):
    """Feeds on the events of files; a subclass says what happens with keys, statements and what is not understood."""

    def __init__(self, wanted: Optional[GtidSet]) -> None:
        self.wanted = wanted
        self._is_wanted = membership(wanted) if wanted is not None else None
        self._origins: dict[Union[bytes, Origin], _Origin] = {}
        self._pending: Optional[tuple[_Origin, int]] = None
        self._gtid: Optional[tuple[_Origin, int]] = None
        self._text: Optional[str] = None
        self._active = True
        self._plans: dict[bytes, _Table] = {}
        self._maps: dict[int, _Table] = {}
        self._prepared: set[str] = set()
        self.anonymous = False
        self.begun = 0
        self.previous: Optional[GtidSet] = None
        self.rotated_to = ""
        self._feed: dict[int, Callable[[int, bytes, int, FormatDescription], None]] = {
            Kind.TABLE_MAP: self._map,
            Kind.QUERY: self._query,
            Kind.EXECUTE_LOAD_QUERY: self._query,
            Kind.XA_PREPARE: self._xa_prepare,
            Kind.INCIDENT: self._incident,
            **dict.fromkeys(events.ROWS_KINDS, self._rows),
            **dict.fromkeys(_WITHOUT_ROWS, _touches_no_row),
        }

    # What a subclass does

    @abstractmethod
    def of_interest(self, named: Named) -> bool:
        """Whether the rows of a table have to be read."""

    @abstractmethod
    def put(self, table: _Table, plan: KeyPlan, rows: int, keys: list[bytes]) -> None:
        """These keys of so many rows were touched."""

    @abstractmethod
    def hand_over(self, named: Named, reason: str, detail: str) -> None:
        """``named`` may be a schema, or everything."""

    @abstractmethod
    def problem(self, reason: str, detail: str, path: str = "") -> None:
        """The result is not complete."""

    @abstractmethod
    def mapped(self, table: _Table) -> None:
        """A TABLE_MAP event with a plan that is new to the reader."""

    # Files

    def begin_file(self) -> None:
        self._maps.clear()
        self._gtid = self._pending = self._text = None
        self._active = self.wanted is None
        self.begun = 0
        self.previous = None
        self.rotated_to = ""

    def end_file(self, *, whole: bool) -> None:
        """``whole``: it ends with a whole transaction."""
        if whole:
            self._count()
        self._pending = None

    @property
    def seen(self) -> GtidSet:
        found: dict[Origin, list[Interval]] = {}
        for each in self._origins.values():
            found.setdefault(each.origin, []).extend(each.intervals)
        return GtidSet(found)

    @property
    def gtid(self) -> str:
        """Of the transaction that is read."""
        if self._text is None:
            self._text = "" if self._gtid is None else str(Gtid(*self._gtid[0].origin, self._gtid[1]))
        return self._text

    def event(self, event: Swept, sweep: Sweep, form: FormatDescription) -> None:
        kind = event.kind
        if kind in GTID_KINDS:
            self._begin(event, sweep)
            return
        if kind == Kind.PREVIOUS_GTIDS or kind == Kind.ROTATE:
            self._of_file(event)
            return
        if not self._active and self.begun:
            return
        # Before a file's first GTID event there may be the rest of a transaction that began in an earlier one.
        if kind == Kind.TRANSACTION_PAYLOAD:
            self._payload(event, sweep)
            return
        feed = self._feed.get(kind)
        if feed is not None:
            self._guarded(feed, kind, event.data, event.base, form)
        elif not event.flags & Flag.IGNORABLE:
            self._unknown(kind)

    def _payload(self, event: Swept, sweep: Sweep) -> None:
        try:
            for kind, body, form in sweep.contents(event):
                feed = self._feed.get(kind)
                if feed is not None:
                    self._guarded(feed, kind, body, 0, form)
                else:
                    self._unknown(kind)
        except HaError as error:
            if error.code == "binlog_unreadable":
                raise
            reason = COMPRESSED if error.code == "binlog_compressed" else UNDECODABLE
            self.hand_over(_NO_TABLE.named, reason, error.message)

    def _guarded(
        self,
        feed: Callable[[int, bytes, int, FormatDescription], None],
        kind: int,
        data: bytes,
        base: int,
        form: FormatDescription,
    ) -> None:
        """What an event does; if it can not be decoded, everything is handed over."""
        try:
            feed(kind, data, base, form)
        except HaError as error:
            self.hand_over(_NO_TABLE.named, UNDECODABLE, error.message)

    def _unknown(self, kind: int) -> None:
        self.problem(UNKNOWN_EVENT, f"an event of {events.kind_name(kind)}")

    # Transactions

    def _begin(self, event: Swept, sweep: Sweep) -> None:
        self._count()
        self.begun = event.offset
        self._text = None
        self._maps.clear()
        kind, data, base = event.kind, event.data, event.base
        if kind == Kind.GTID and len(data) >= base + 25:
            raw = data[base + 1 : base + 17]
            number = int.from_bytes(data[base + 17 : base + 25], "little", signed=True)
            if number < 1:
                raise events.malformed("GTID event", f"transaction number {number}")
            origin = self._origins.get(raw)
            if origin is None:
                begin = events.decode_gtid(data[base:], kind).gtid
                if begin is None:
                    raise AssertionError("a GTID event without a GTID")
                origin = self._origins[raw] = _Origin((begin.uuid, ""))
        elif kind == Kind.GTID_TAGGED:
            tagged = events.decode_gtid_tagged(data[base:]).gtid
            if tagged is None:
                raise AssertionError("a GTID_TAGGED event without a GTID")
            number = tagged.number
            where = (tagged.uuid, tagged.tag)
            origin = self._origins.get(where)
            if origin is None:
                origin = self._origins[where] = _Origin(where)
        else:
            events.decode_gtid(data[base:], kind)
            self.anonymous = True
            self._gtid = None
            self._active = True
            return
        self._gtid = (origin, number)
        if self._is_wanted is not None:
            self._active = self._is_wanted(Gtid(*origin.origin, number))
            if not self._active:
                self._pass_over(event, sweep)
                return
        self._pending = self._gtid

    def _pass_over(self, event: Swept, sweep: Sweep) -> None:
        body = event.data[event.base :]
        if event.kind == Kind.GTID_TAGGED:
            length = events.decode_gtid_tagged(body).transaction_length
        else:
            length = events.decode_gtid(body, event.kind).transaction_length
        if length:
            sweep.skip_to(event.offset + length)

    def _count(self) -> None:
        """The transaction before is over."""
        if self._pending is not None:
            origin, number = self._pending
            origin.add(number)
            self._pending = None

    def _of_file(self, event: Swept) -> None:
        try:
            if event.kind == Kind.ROTATE:
                if not event.flags & Flag.ARTIFICIAL:
                    self.rotated_to = events.decode_rotate(event.data[event.base :]).file
            elif self.previous is None:
                self.previous = events.decode_gtid_set(event.data[event.base :])
        except HaError as error:
            self.problem(GAP, f"where the file stands among others is not known: {error.message}")

    # Events

    def _incident(self, kind: int, data: bytes, base: int, form: FormatDescription) -> None:
        self.problem(INCIDENT, "the server says that something is not in its log")

    def _map(self, kind: int, data: bytes, base: int, form: FormatDescription) -> None:
        middle = base + (4 if form.post_header_length(Kind.TABLE_MAP) == 6 else 6)
        described = data[middle:]
        table = self._plans.get(described)
        if table is None:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            table = self._plans[described] = self._table(data[base:], form)
        self._maps[int.from_bytes(data[base:middle], "little")] = table

    def _table(self, body: bytes, form: FormatDescription) -> _Table:
        short = events.decode_table_map(body, form)
        named = Named(short.schema, short.table)
        if not self.of_interest(named):
            return _Table(named, None)
        try:
            table = decode_table(body, form)
            if table.key:
                found = _Table(named, KeyPlan(table))
                self.mapped(found)
                return found
            self.hand_over(named, NO_METADATA if "names" in table.unknown else NO_KEY, "")
        except HaError as error:
            unsupported = error.code == "binlog_rows_unsupported"
            self.hand_over(named, UNSUPPORTED if unsupported else UNDECODABLE, error.message)
        return _Table(named, None)

    def _rows(self, kind: int, data: bytes, base: int, form: FormatDescription) -> None:
        header = rows_header(kind, data, base, form)
        table = self._maps.get(header.table_id)
        if table is None:
            if header.position < len(data):
                raise events.malformed("row event", "rows of a table that no TABLE_MAP event named")
            return  # the dummy event that ends a statement which changed nothing
        plan = table.plan
        if not self.of_interest(table.named):
            pass
        elif plan is None:
            self.hand_over(table.named, NO_KEY, "")
        else:
            try:
                for rows, keys in plan.keys(kind, header, data):
                    self.put(table, plan, rows, keys)
            except KeyNotLogged:
                self.hand_over(table.named, KEY_NOT_LOGGED, "")
            except HaError as error:
                unsupported = error.code == "binlog_rows_unsupported"
                self.hand_over(table.named, UNSUPPORTED if unsupported else UNDECODABLE, error.message)
        if header.statement_ends:
            self._maps.clear()

    def _query(self, kind: int, data: bytes, base: int, form: FormatDescription) -> None:
        if kind == Kind.QUERY and form.post_header_length(kind) == _QUERY_HEADER and len(data) > base + _QUERY_HEADER:
            variables = data[base + 11] | data[base + 12] << 8
            if data[base + _QUERY_HEADER + variables + data[base + 8] + 1 :] in _BOUNDS:
                return
        query = events.decode_query(data[base:], form, kind)
        words = query.text.split(None, 2)
        if [word.upper() for word in words[:2]] == ["XA", "COMMIT"]:
            self._xa_commit(words[2].strip() if len(words) > 2 else "")
            return
        reach = reach_of(query)
        for named in reach.named:
            self.hand_over(named, reach.why, reach.verb)
        if reach.everything:
            self.hand_over(_NO_TABLE.named, reach.why, reach.verb)

    def _xa_prepare(self, kind: int, data: bytes, base: int, form: FormatDescription) -> None:
        self._prepared.add(events.decode_xa_prepare(data[base:]).xid)

    def _xa_commit(self, xid: str) -> None:
        """Its rows were logged when it was prepared: before these files, or in a transaction that is not wanted."""
        if xid not in self._prepared:
            self.hand_over(_NO_TABLE.named, XA_EARLIER, "XA COMMIT")
        self._prepared.discard(xid)


class _Scan(_Reader):
    """Everything that is touched."""

    def __init__(
        self,
        store: KeyStore,
        wanted: Optional[GtidSet],
        most_keys: int,
        tables: Callable[[str, str], bool],
        lately: GtidSet,
    ) -> None:
        super().__init__(wanted)
        self._lately = lately
        self._store = store
        self._most_keys = most_keys
        self._wants = tables
        self._found: dict[Named, tuple[TouchedTable, KeySet]] = {}
        self._gone: set[Named] = set()
        self._handed_over: dict[tuple[str, str, str], HandedOver] = {}
        self._problems: dict[Problem, None] = {}
        self.unfinished = ""

    def of_interest(self, named: Named) -> bool:
        return named not in self._gone and self._wants(*named)

    def mapped(self, table: _Table) -> None:
        held = self._found.get(table.named)
        if held is not None and table.plan is not None and held[0]._plan.signature != table.plan.signature:
            self.hand_over(table.named, KEY_CHANGED, "its key is not what it was")

    def put(self, table: _Table, plan: KeyPlan, rows: int, keys: list[bytes]) -> None:
        held = self._found.get(table.named)
        if held is None:
            if table.named in self._gone:
                return
            fresh = self._store.new()
            held = self._found[table.named] = (TouchedTable(table.named, plan, fresh), fresh)
            held[0].first_gtid = self.gtid
        entry, found = held
        entry.changes += rows
        entry.last_gtid = self.gtid
        found.add(keys)
        if found.failed:
            self.hand_over(table.named, NO_ROOM, found.failed)
        elif found.at_most > self._most_keys and found.settle() > self._most_keys:
            self.hand_over(table.named, TOO_MANY_KEYS, f"more than {self._most_keys}")

    def hand_over(self, named: Named, reason: str, detail: str) -> None:
        if len(self._handed_over) >= _MOST_HANDED_OVER:
            named, reason, detail = _NO_TABLE.named, TOO_MANY_TABLES, f"more than {_MOST_HANDED_OVER}"
        self._handed_over.setdefault((*named, reason), HandedOver(*named, reason, detail, self.gtid))
        if named.table:
            self._gone.add(named)
            held = self._found.pop(named, None)
            if held is not None:
                self._store.forget(held[1])

    def problem(self, reason: str, detail: str, path: str = "") -> None:
        self._problems.setdefault(Problem(reason, detail, path))

    def result(self) -> Touched:
        for named, (entry, found) in list(self._found.items()):
            entry.keys = found.settle()
            if found.failed:
                self.hand_over(named, NO_ROOM, found.failed)
        seen = self.seen
        missing = EMPTY if self.wanted is None else self.wanted - seen
        if missing - self._lately:
            self.problem(MISSING, str(missing - self._lately))
        return Touched(
            {named: entry for named, (entry, _found) in self._found.items()},
            tuple(self._handed_over.values()),
            tuple(self._problems),
            seen,
            missing,
            self.unfinished,
            self._store,
        )


class _Search(_Reader):
    """Who touched some keys of one table last."""

    def __init__(self, named: Named, keys: Collection[KeyValue], wanted: Optional[GtidSet]) -> None:
        super().__init__(wanted)
        self._named = named
        self._keys = keys
        self._values: dict[tuple[KeyPlan, bytes], Optional[KeyValue]] = {}
        self.found: dict[KeyValue, str] = {}
        self.blind = False

    def hand_over(self, named: Named, reason: str, detail: str) -> None:
        schema, table = _folded(*named)
        if schema in ("", self._named.schema.casefold()) and table in ("", self._named.table.casefold()):
            self._lose_sight()

    def problem(self, reason: str, detail: str, path: str = "") -> None:
        self._lose_sight()

    def _lose_sight(self) -> None:
        """Whatever was found before is perhaps not the last any more."""
        self.found.clear()
        self.blind = True

    def mapped(self, table: _Table) -> None:
        """Values are told apart by the plan that they were read with."""

    def of_interest(self, named: Named) -> bool:
        return named == self._named

    def put(self, table: _Table, plan: KeyPlan, rows: int, keys: list[bytes]) -> None:
        values = self._values
        for key in keys:
            known = (plan, key)
            if known not in values:
                if len(values) >= _MOST_MEMORIES:
                    values.clear()
                value = plan.values(key)
                values[known] = value if value in self._keys else None
            asked = values[known]
            if asked is not None:
                self.found[asked] = self.gtid


def _read(files: Sequence[Source], reader: _Reader) -> None:
    reached: Optional[GtidSet] = None
    rotated_to = ""
    for number, source in enumerate(files):
        with ExitStack() as stack:
            file = source if isinstance(source, BinlogFile) else stack.enter_context(BinlogFile.open(source))
            if number:
                rotated_to = reader.rotated_to
            ending = _read_file(file, reader)
            if reader.wanted is None:
                _succeeds(file.path, reader, reached, rotated_to, first=not number)
                reached = (reached or EMPTY) | (reader.previous or EMPTY) | reader.seen
            last = number == len(files) - 1
            if ending.how == "damaged" or (ending.how == "torn" and not last):
                reader.problem(TORN if ending.how == "torn" else DAMAGED, ending.why, file.path)
            if last and isinstance(reader, _Scan) and ending.unfinished is not None:
                reader.unfinished = str(ending.unfinished.gtid or "")


def _succeeds(path: str, reader: _Reader, reached: Optional[GtidSet], rotated_to: str, *, first: bool) -> None:
    """Whether the file that was just read follows what was read before it."""
    if first:
        return
    previous = reader.previous
    if previous is None:
        reader.problem(GAP, "it does not say what was before it", path)
        return
    before = reached or EMPTY
    if not previous <= before:
        reader.problem(GAP, f"not in the files before it: {previous - before}", path)
    elif not before <= previous:
        reader.problem(GAP, f"it does not follow the file before it: it lacks {before - previous}", path)
    elif reader.anonymous and rotated_to and os.path.basename(rotated_to) != os.path.basename(path):
        reader.problem(GAP, f"the file before it goes on in {os.path.basename(rotated_to)}", path)


def _read_file(file: BinlogFile, reader: _Reader) -> Ending:
    """All events of a file, and how it ends.

    What the end looks like is judged from the last transaction on, by the code that knows what a crash leaves.
    """
    prelude = file.prelude()
    reader.begin_file()
    sweep = Sweep(file)
    broken = ""
    for event in sweep:
        if sweep.form is None:
            raise AssertionError("an event before the file's description")
        try:
            reader.event(event, sweep, sweep.form)
        except HaError as error:
            if error.code == "binlog_unreadable":
                raise
            broken = error.message
            break
    if broken:
        reader.problem(DAMAGED, broken, file.path)
    for _transaction in file.transactions(begin=reader.begun or prelude.end):
        continue
    ending = file.ending
    reader.end_file(whole=not broken and ending.unfinished is None)
    return ending
