"""What is planted on a replica behind replication's back, as data: the statements, their undoing, and exactly what has
to be reported of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import (
    COUNT,
    EXTRA,
    MISSING,
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
    modes: tuple[str, ...] = field(default=(WHOLE,))

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
