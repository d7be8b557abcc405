"""What is planted on a replica behind replication's back, as data: the statements, their undoing, and exactly what has
to be reported of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import (
    COUNT,
    EXTRA,
    MISSING,
    RECENT_BINLOG,
    RECENT_TIME,
    SNAPSHOT,
    VALUE,
    WHOLE,
)

from drills.reconcile.tables import (
    ACCOUNT,
    EVERY_TYPE,
    FOLLOWS,
    HOT,
    KEYLESS,
    LEDGER,
    PAIRS,
    PAYMENT,
    RESTS,
    SCHEMA,
    SHAPES,
    STREAM,
    WIDE,
    Table,
)

Identity = tuple[str, ...]
"""What a difference is known by: table, kind, key or row, columns, and how often it is there."""

NEW = 1_000_000
"""The number of a row that nobody but the drill inserts."""


@dataclass(frozen=True)
class Plant:
    """One difference. ``do`` and ``undo``: statements on the replica.

    :param key: as it has to be told; of a table without a key: the whole row.
    :param columns: that have to be told (``value``).
    :param times: how often the row is there on the primary, and on the replica (``count``).
    :param before: on the primary, before anything is planted.
    :param modes: that have to find it.
    """

    name: str
    table: str
    kind: str
    do: tuple[str, ...]
    undo: tuple[str, ...]
    key: Mapping[str, str | None]
    columns: tuple[str, ...] = ()
    times: tuple[int, int] = (0, 0)
    before: tuple[str, ...] = ()
    modes: tuple[str, ...] = (WHOLE, SNAPSHOT)

    @property
    def identity(self) -> Identity:
        return identity(f"{SCHEMA}.{self.table}", self.kind, self.key, self.columns, self.times)


def identity(
    table: str,
    kind: str,
    key: Mapping[str, str | None],
    columns: tuple[str, ...],
    times: tuple[int, int] = (0, 0),
) -> Identity:
    named = ", ".join(f"{name}={'NULL' if value is None else repr(value)}" for name, value in sorted(key.items()))
    often = f"{times[0]} there, {times[1]} here" if kind == COUNT else ""
    return (table, kind, named, ", ".join(sorted(columns)), often)


# --- statements ------------------------------------------------------------------------------------------------------
def _where(key: Mapping[str, str]) -> str:
    return " AND ".join(f"{name} = {value}" for name, value in key.items())


def _insert(table: Table, row: Mapping[str, str]) -> str:
    return f"INSERT INTO {table.full_name} ({', '.join(row)}) SELECT {', '.join(row.values())}"


def _delete(table: Table, key: Mapping[str, str]) -> str:
    return f"DELETE FROM {table.full_name} WHERE {_where(key)}"


def _update(table: Table, key: Mapping[str, str], change: Mapping[str, str]) -> str:
    values = ", ".join(f"{name} = {value}" for name, value in change.items())
    return f"UPDATE {table.full_name} SET {values} WHERE {_where(key)}"


def changed(
    table: Table,
    number: int,
    told: Mapping[str, str],
    change: Mapping[str, str],
    *,
    also: tuple[str, ...] = (),
    name: str = "",
    row: Mapping[str, str] | None = None,
    rewritten: bool = False,
) -> Plant:
    """A row has another value.

    :param row: what it is on the primary, if not what its number says.
    :param rewritten: by DELETE and INSERT, where the server takes the two values for the same.
    """
    key = table.key_of(number)
    original = table.row(number) if row is None else row
    before = {column: value for column, value in original.items() if value != table.row(number)[column]}
    return Plant(
        name or f"UPDATE of {', '.join(change)}",
        table.name,
        VALUE,
        (_delete(table, key), _insert(table, {**original, **change})) if rewritten else (_update(table, key, change),),
        # The whole row again: what was written is what its number says, whatever was there meanwhile.
        (_delete(table, key), _insert(table, original)),
        told,
        (*change, *also),
        before=(_update(table, key, before),) if before else (),
    )


def removed(table: Table, number: int, told: Mapping[str, str]) -> Plant:
    key = table.key_of(number)
    return Plant("DELETE", table.name, MISSING, (_delete(table, key),), (_insert(table, table.row(number)),), told)


def added(table: Table, number: int, told: Mapping[str, str]) -> Plant:
    key = table.key_of(number)
    return Plant("INSERT", table.name, EXTRA, (_insert(table, table.row(number)),), (_delete(table, key),), told)


def _ledger(number: int) -> dict[str, str]:
    return {"branch": f"Praha#{number % 7}", "number": f"č#{number}"}


def _id(number: int) -> dict[str, str]:
    return {"id": str(number)}


_K = KEYLESS.full_name


PLANTED: tuple[Plant, ...] = (
    changed(ACCOUNT, 50, _id(50), {"balance": "balance + 0.0001"}),
    changed(ACCOUNT, 80, _id(80), {"note": "IF(note IS NULL, '', NULL)"}),
    removed(ACCOUNT, 100, _id(100)),
    added(ACCOUNT, NEW, _id(NEW)),
    changed(LEDGER, 20, _ledger(20), {"note": "CONCAT(note, ' ')"}),
    removed(LEDGER, 30, _ledger(30)),
    added(LEDGER, NEW, _ledger(NEW)),
    changed(PAYMENT, 40, {"id": "40", "paid_on": "2026-02-10"}, {"amount": "amount + 1"}),
    removed(PAYMENT, 110, {"id": "110", "paid_on": "2026-04-21"}),
    removed(PAYMENT, 250, {"id": "250", "paid_on": "2026-09-08"}),
    added(PAYMENT, NEW, {"id": str(NEW), "paid_on": "2026-04-11"}),
    added(STREAM, NEW, _id(NEW)),
    removed(STREAM, 10, _id(10)),
    changed(HOT, 10, _id(10), {"counter": "1"}),
    *(
        changed(
            WIDE,
            RESTS * place,
            _id(RESTS * place),
            {each.name: each.other},
            also=(FOLLOWS[each.name],) if each.name in FOLLOWS else (),
        )
        for place, each in enumerate(EVERY_TYPE, 1)
    ),
    removed(WIDE, 390, _id(390)),
    added(WIDE, NEW, _id(NEW)),
    Plant(
        "INSERT of a row that is there already",
        KEYLESS.name,
        COUNT,
        (f"INSERT INTO {_K} SELECT 10, 'b10', NULL",),
        (f"DELETE FROM {_K} WHERE a = 10 LIMIT 1",),
        {"a": "10", "b": "b10", "c": None},
        times=(1, 2),
    ),
    Plant(
        "DELETE of a row without a key",
        KEYLESS.name,
        COUNT,
        (f"DELETE FROM {_K} WHERE a = 20",),
        (f"INSERT INTO {_K} SELECT 20, 'b20', NULL",),
        {"a": "20", "b": "b20", "c": None},
        times=(1, 0),
    ),
)


# --- pairs that others take for the same -----------------------------------------------------------------------------
@dataclass(frozen=True)
class Pair:
    """SQL of the columns of ``pairs``: on the primary, and what the replica's are changed to, by an UPDATE, or where
    UPDATE sees no difference ``rewritten``."""

    name: str
    there: Mapping[str, str]
    here: Mapping[str, str]
    rewritten: bool = False


PAIRS_OF_VALUES = (
    Pair("separator inside: ('a#b', 'c'), ('a', 'b#c')", {"a": "'a#b'", "b": "'c'"}, {"a": "'a'", "b": "'b#c'"}),
    Pair("boundary moved: ('ab', 'c'), ('a', 'bc')", {"a": "'ab'", "b": "'c'"}, {"a": "'a'", "b": "'bc'"}),
    Pair("columns exchanged", {"a": "'x'", "b": "'y'"}, {"a": "'y'", "b": "'x'"}),
    Pair("NULL in the other column", {"b": "'x'"}, {"a": "'x'", "b": "NULL"}),
    Pair("NULL and '' exchanged", {"b": "''"}, {"a": "''", "b": "NULL"}),
    Pair("NULL, ''", {}, {"a": "''"}),
    Pair("'', NULL", {"a": "''"}, {"a": "NULL"}),
    Pair("'', the separator", {"a": "''"}, {"a": "'#'"}),
    Pair("NULL, the word NULL", {}, {"a": "'NULL'"}),
    Pair("NULL, 0", {}, {"i": "0"}),
    Pair("'0', ''", {"a": "'0'"}, {"a": "''"}),
    Pair("0.0, NULL", {"f": "0e0"}, {"f": "NULL"}),
    Pair("NULL, 0.0", {}, {"d": "0e0"}),
    Pair("the lowest bit of a FLOAT", {"f": "16777215"}, {"f": "16777214"}),
    Pair("the lowest bit of a small FLOAT", {"f": "1"}, {"f": "1.00000012"}),
    Pair("the lowest bit of a DOUBLE", {"d": "1e0"}, {"d": "1.0000000000000002e0"}),
    Pair("trailing space", {"a": "'a'"}, {"a": "'a '"}),
    Pair("trailing space, PAD SPACE", {"c": "'a'"}, {"c": "'a '"}),
    Pair("case only", {"a": "'Bank'"}, {"a": "'bank'"}),
    Pair("accent only", {"c": "'uver'"}, {"c": "'úver'"}),
    Pair("composed, decomposed", {"a": "_utf8mb4 X'C3A9'"}, {"a": "_utf8mb4 X'65CC81'"}),
    Pair("not UTF-8 in a BLOB", {"x": "X'FF41'"}, {"x": "X'FE41'"}),
    Pair("a zero byte at the end of a BLOB", {"x": "X'41'"}, {"x": "X'4100'"}),
    Pair("JSON 1, 1.0", {"j": "JSON_OBJECT('a', 1)"}, {"j": "JSON_OBJECT('a', 1e0)"}, True),
    Pair("JSON 1, the text 1", {"j": "JSON_OBJECT('a', 1)"}, {"j": "JSON_OBJECT('a', '1')"}),
    Pair("NULL, JSON null", {}, {"j": "CAST('null' AS JSON)"}),
)

COLLISIONS: tuple[Plant, ...] = (
    *(
        changed(
            PAIRS,
            RESTS * place,
            _id(RESTS * place),
            each.here,
            name=each.name,
            row={**PAIRS.row(RESTS * place), **each.there},
            rewritten=each.rewritten,
        )
        for place, each in enumerate(PAIRS_OF_VALUES, 1)
    ),
    Plant(
        "a row twice, without a key",
        KEYLESS.name,
        COUNT,
        (f"INSERT INTO {_K} SELECT 10, 'b10', NULL",),
        (f"DELETE FROM {_K} WHERE a = 10 LIMIT 1",),
        {"a": "10", "b": "b10", "c": None},
        times=(1, 2),
    ),
)

# Rows that are there twice cancel each other in an exclusive or, on both sides: no number of rows, no such sum differs.
TWINS: tuple[Plant, ...] = (
    Plant(
        "twins for other twins, without a key",
        KEYLESS.name,
        COUNT,
        (f"UPDATE {_K} SET b = 'other' WHERE a = 1000",),
        (f"UPDATE {_K} SET b = 'twin' WHERE a = 1000",),
        {"a": "1000", "b": "twin", "c": None},
        times=(2, 0),
        before=(f"INSERT INTO {_K} VALUES (1000, 'twin', NULL), (1000, 'twin', NULL)",),
    ),
    Plant(
        "and what they are instead",
        KEYLESS.name,
        COUNT,
        (),
        (),
        {"a": "1000", "b": "other", "c": None},
        times=(0, 2),
    ),
)


# --- rows that were written lately ---------------------------------------------------------------------------------
_A = ACCOUNT.full_name
_BY_TIME = (WHOLE, RECENT_TIME)
# All of one statement have the same date, so that it can be written again.
_LATELY = f"(SELECT a.last_modify_date FROM {_A} a WHERE a.id = 110)"
_WRITTEN_LATELY = f"UPDATE {_A} SET last_modify_date = NOW(6) - INTERVAL 60 SECOND WHERE id IN (110, 120, 130, 140)"

RECENT: tuple[Plant, ...] = (
    Plant(
        "UPDATE of a row that was written a minute ago",
        ACCOUNT.name,
        VALUE,
        (f"UPDATE {_A} SET balance = balance + 1 WHERE id = 120",),
        (f"UPDATE {_A} SET balance = balance - 1 WHERE id = 120",),
        _id(120),
        ("balance",),
        before=(_WRITTEN_LATELY,),
        modes=_BY_TIME,
    ),
    Plant(
        "an UPDATE of a minute ago was lost, and with it the date",
        ACCOUNT.name,
        VALUE,
        (f"UPDATE {_A} SET owner = 'as before', last_modify_date = '2026-01-01' WHERE id = 130",),
        (
            f"DELETE FROM {_A} WHERE id = 130",
            _insert(ACCOUNT, {**ACCOUNT.row(130), "last_modify_date": _LATELY}),
        ),
        _id(130),
        ("last_modify_date", "owner"),
        modes=_BY_TIME,
    ),
    Plant(
        "a row of a minute ago was lost",
        ACCOUNT.name,
        MISSING,
        (f"DELETE FROM {_A} WHERE id = 140",),
        (_insert(ACCOUNT, {**ACCOUNT.row(140), "last_modify_date": _LATELY}),),
        _id(140),
        modes=_BY_TIME,
    ),
    Plant(
        "INSERT of a row with a date of a minute ago",
        STREAM.name,
        EXTRA,
        (f"INSERT INTO {STREAM.full_name} SELECT {NEW}, 'extra', NOW(6) - INTERVAL 60 SECOND",),
        (f"DELETE FROM {STREAM.full_name} WHERE id = {NEW}",),
        _id(NEW),
        modes=_BY_TIME,
    ),
)

# What a transaction writes that is open for long has the date of its statement, not of its commit.
OPEN = (f"UPDATE {_A} SET balance = balance + 1, last_modify_date = NOW(6) WHERE id = 150",)
LOST_LATER: tuple[Plant, ...] = (
    Plant(
        "what the long transaction wrote was lost; its date is of before the last run",
        ACCOUNT.name,
        VALUE,
        (f"UPDATE {_A} SET balance = balance - 1 WHERE id = 150",),
        (f"UPDATE {_A} SET balance = balance + 1 WHERE id = 150",),
        _id(150),
        ("balance",),
        modes=(RECENT_TIME,),
    ),
)

_BY_LOG = (WHOLE, RECENT_BINLOG)
# In a file of its own: of a table that the same file creates, the log does not tell which rows.
_NEXT_FILE = "FLUSH BINARY LOGS"
TOUCHED: tuple[Plant, ...] = (
    Plant(
        "a DELETE was lost",
        ACCOUNT.name,
        EXTRA,
        (_insert(ACCOUNT, ACCOUNT.row(160)),),
        (f"DELETE FROM {_A} WHERE id = 160",),
        _id(160),
        before=(_NEXT_FILE, f"DELETE FROM {_A} WHERE id = 160"),
        modes=_BY_LOG,
    ),
    Plant(
        "an UPDATE was lost",
        LEDGER.name,
        VALUE,
        (_update(LEDGER, LEDGER.key_of(40), {"amount": LEDGER.row(40)["amount"]}),),
        (_update(LEDGER, LEDGER.key_of(40), {"amount": "7"}),),
        _ledger(40),
        ("amount",),
        before=(_update(LEDGER, LEDGER.key_of(40), {"amount": "7"}),),
        modes=_BY_LOG,
    ),
    Plant(
        "an INSERT was lost",
        PAYMENT.name,
        MISSING,
        (_delete(PAYMENT, PAYMENT.key_of(NEW)),),
        (_insert(PAYMENT, PAYMENT.row(NEW)),),
        {"id": str(NEW), "paid_on": "2026-04-11"},
        before=(_insert(PAYMENT, PAYMENT.row(NEW)),),
        modes=_BY_LOG,
    ),
)


# --- tables that are not the same ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Shape:
    """A table that is another one on the replica. ``code``: of the verdict; ``column``: that has to be named."""

    name: str
    table: str
    do: tuple[str, ...]
    undo: tuple[str, ...]
    code: str
    column: str = ""


def _shape(name: str) -> str:
    return SHAPES[name].full_name


SHAPED: tuple[Shape, ...] = (
    Shape(
        "a column that only the replica has",
        "shape_column",
        (f"ALTER TABLE {_shape('column')} ADD COLUMN more INT NOT NULL DEFAULT 7",),
        (f"ALTER TABLE {_shape('column')} DROP COLUMN more",),
        "columns",
        "more",
    ),
    Shape(
        "another type",
        "shape_type",
        (f"ALTER TABLE {_shape('type')} MODIFY v VARCHAR(40) NULL",),
        (f"ALTER TABLE {_shape('type')} MODIFY v VARCHAR(30) NULL",),
        "columns",
        "v",
    ),
    Shape(
        "another collation",
        "shape_collation",
        (f"ALTER TABLE {_shape('collation')} MODIFY v VARCHAR(30) COLLATE utf8mb4_bin NULL",),
        (f"ALTER TABLE {_shape('collation')} MODIFY v VARCHAR(30) NULL",),
        "columns",
        "v",
    ),
    Shape(
        "a unique key that the replica lacks",
        "shape_key",
        (f"ALTER TABLE {_shape('key')} DROP INDEX v",),
        (f"ALTER TABLE {_shape('key')} ADD UNIQUE KEY v (v)",),
        "keys",
    ),
    Shape(
        "a table that the replica lacks",
        "shape_missing",
        (f"DROP TABLE {_shape('missing')}",),
        (SHAPES["missing"].create(), SHAPES["missing"].fill()),
        "only_on_primary",
    ),
    Shape(
        "a table that only the replica has",
        "shape_extra",
        (f"CREATE TABLE {SCHEMA}.shape_extra (id INT PRIMARY KEY)",),
        (f"DROP TABLE {SCHEMA}.shape_extra",),
        "only_on_returning",
    ),
)
