"""The application's tables, and what each row of them holds: a function of its number. Pure.

Who may change a row follows from its number: the multiples of ``RESTS`` rest, and are the drill's own; those that leave
``LONG`` are the long transaction's; all others are the writers'. So nobody overwrites what was planted, and no applier
meets a row that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SCHEMA = "lab_reconcile"
RESTS = 10
LONG = 5
_ROWS = 400
_FEW = 60
_DATE = "TIMESTAMP'2026-01-01 00:00:00' + INTERVAL {n} SECOND"


@dataclass(frozen=True)
class Table:
    """``definition``: what stands between the brackets. ``options``: after them. ``values``: SQL of each column, with
    ``{n}`` for the row's number. ``key``: columns of the primary key. ``busy``: the writers change it. ``dated``: an
    index reads the date of its rows' last change."""

    name: str
    definition: str
    values: Mapping[str, str]
    key: tuple[str, ...] = ()
    options: str = ""
    rows: int = _ROWS
    busy: bool = True
    dated: bool = False

    @property
    def full_name(self) -> str:
        return f"{SCHEMA}.{self.name}"

    def create(self) -> str:
        return f"CREATE TABLE {self.full_name} ({self.definition}) {self.options}".rstrip()

    def fill(self) -> str:
        return self._insert(1, self.rows)

    def grow(self, rows: int) -> str:
        """So many rows more."""
        return self._insert(self.rows + 1, self.rows + rows)

    def _insert(self, first: int, last: int) -> str:
        numbers = f"SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}"
        shown = ", ".join(value.format(n="n") for value in self.values.values())
        return (
            f"INSERT /*+ SET_VAR(cte_max_recursion_depth = {last}) */ INTO {self.full_name} ({', '.join(self.values)})"
            f" WITH RECURSIVE numbers (n) AS ({numbers}) SELECT {shown} FROM numbers"
        )

    def row(self, number: int) -> dict[str, str]:
        """SQL of each column of one row."""
        return {name: value.format(n=number) for name, value in self.values.items()}

    def key_of(self, number: int) -> dict[str, str]:
        """SQL of each column of its key."""
        return {name: self.values[name].format(n=number) for name in self.key}


@dataclass(frozen=True)
class Column:
    """Of the table with every type. ``other``: what it is changed to."""

    name: str
    type: str
    value: str
    other: str


EVERY_TYPE = (
    Column("ti", "TINYINT", "{n} MOD 100", "ti + 1"),
    Column("su", "SMALLINT UNSIGNED", "{n} MOD 60000", "65535"),
    Column("mi", "MEDIUMINT", "-{n}", "mi - 1"),
    Column("bu", "BIGINT UNSIGNED", "18446744073709551615 - {n}", "bu - 1"),
    Column("de", "DECIMAL(30, 10)", "{n} * 1.0000000001", "de + 0.0000000001"),
    Column("fl", "FLOAT", "{n} + 0.1", "fl * 1.0000002"),
    Column("db", "DOUBLE", "{n} / 3e0", "db * 1.0000000000000002e0"),
    Column("bt", "BIT(13)", "{n} MOD 8000", "bt ^ 1"),
    Column("bo", "BOOLEAN", "{n} MOD 2", "NOT bo"),
    Column("ch", "CHAR(12) CHARACTER SET latin1", "CONCAT('é', {n})", "CONCAT(ch, 'x')"),
    Column("vc", "VARCHAR(200)", "CONCAT('text #', {n})", "CONCAT(vc, ' ')"),
    Column("tx", "TEXT", "REPEAT(CONCAT('t', {n}), 50)", "CONCAT(tx, '#')"),
    Column("ut", "MEDIUMTEXT CHARACTER SET utf16", "CONCAT('ž', {n})", "CONCAT('Ž', SUBSTRING(ut, 2))"),
    Column("lt", "LONGTEXT", "REPEAT('l', {n} MOD 500)", "CONCAT(lt, 'm')"),
    Column("bi", "BINARY(8)", "UNHEX(LPAD(HEX({n}), 16, '0'))", "UNHEX('FFFFFFFFFFFFFFFF')"),
    Column("vb", "VARBINARY(50)", "UNHEX(CONCAT('00FF', LPAD(HEX({n}), 8, '0')))", "CONCAT(vb, X'00')"),
    Column("bb", "BLOB", "UNHEX(CONCAT('FF00', LPAD(HEX({n}), 8, '0')))", "CONCAT(X'00', bb)"),
    Column("lb", "LONGBLOB", "UNHEX(SHA2({n}, 256))", "UNHEX(SHA2('other', 256))"),
    Column("en", "ENUM('a', 'a#', 'b')", "1 + {n} MOD 2", "'b'"),
    Column("se", "SET('x', 'y', 'z')", "{n} MOD 4", "'x,y,z'"),
    Column("da", "DATE", "DATE'2026-01-01' + INTERVAL {n} DAY", "da + INTERVAL 1 DAY"),
    Column("tm", "TIME(3)", "SEC_TO_TIME({n} + 0.25)", "ADDTIME(tm, '00:00:00.001')"),
    Column("dt", "DATETIME(6)", _DATE, "dt + INTERVAL 1 MICROSECOND"),
    Column("ts", "TIMESTAMP(6)", _DATE, "ts + INTERVAL 1 MICROSECOND"),
    Column("ye", "YEAR", "2000 + {n} MOD 100", "ye + 1"),
    Column("js", "JSON", "JSON_OBJECT('n', {n})", "JSON_OBJECT('n', id + 0.5)"),
    Column("po", "POINT SRID 4326", "ST_SRID(POINT({n} MOD 90, 1), 4326)", "ST_SRID(POINT(id MOD 90, 2), 4326)"),
    Column(
        "ge", "GEOMETRY", "ST_GeomFromText(CONCAT('LINESTRING(0 0, ', {n}, ' 1)'))", "ST_GeomFromText('POINT(0 0)')"
    ),
    Column("ve", "VECTOR(3)", "STRING_TO_VECTOR(CONCAT('[1, 2, ', {n}, ']'))", "STRING_TO_VECTOR('[3, 2, 1]')"),
    Column("hi", "INT INVISIBLE", "{n}", "hi + 1"),
)
FOLLOWS = {"hi": "gs"}
"""A stored generated column changes with the one that it is made of."""

ACCOUNT = Table(
    "account",
    "id BIGINT PRIMARY KEY, owner VARCHAR(64) NOT NULL, balance DECIMAL(20, 4) NOT NULL, note VARCHAR(100) NULL,"
    " last_modify_date TIMESTAMP(6) NOT NULL, KEY (last_modify_date)",
    {
        "id": "{n}",
        "owner": "CONCAT('owner ', {n})",
        "balance": "{n} * 1.25",
        "note": "IF({n} MOD 3, NULL, '')",
        "last_modify_date": _DATE,
    },
    ("id",),
    dated=True,
)
LEDGER = Table(
    "ledger",
    "branch VARCHAR(20) NOT NULL, number VARCHAR(30) COLLATE utf8mb4_bin NOT NULL, amount DECIMAL(20, 4) NOT NULL,"
    " note VARCHAR(200) NOT NULL, last_modify_date TIMESTAMP(6) NOT NULL, PRIMARY KEY (branch, number),"
    " KEY (last_modify_date)",
    {
        "branch": "CONCAT('Praha#', {n} MOD 7)",
        "number": "CONCAT('č#', {n})",
        "amount": "{n} * 1.01",
        "note": "CONCAT('note ', {n})",
        "last_modify_date": _DATE,
    },
    ("branch", "number"),
    dated=True,
)
PAYMENT = Table(
    "payment",
    "id BIGINT, paid_on DATE, amount DECIMAL(20, 4) NOT NULL, PRIMARY KEY (id, paid_on)",
    {"id": "{n}", "paid_on": "DATE'2026-01-01' + INTERVAL {n} MOD 300 DAY", "amount": "{n}"},
    ("id", "paid_on"),
    "PARTITION BY RANGE COLUMNS (paid_on) (PARTITION spring VALUES LESS THAN ('2026-04-01'),"
    " PARTITION summer VALUES LESS THAN ('2026-07-01'), PARTITION later VALUES LESS THAN (MAXVALUE))",
)
WIDE = Table(
    "wide",
    "id INT PRIMARY KEY, "
    + ", ".join(f"{each.name} {each.type} NULL" for each in EVERY_TYPE)
    + ", gs BIGINT GENERATED ALWAYS AS (hi * 2) STORED, gv BIGINT GENERATED ALWAYS AS (hi * 3) VIRTUAL",
    {"id": "{n}", **{each.name: each.value for each in EVERY_TYPE}},
    ("id",),
)
STREAM = Table(
    "stream",
    "id BIGINT PRIMARY KEY, body VARCHAR(200) NOT NULL, last_modify_date TIMESTAMP(6) NOT NULL, KEY (last_modify_date)",
    {"id": "{n}", "body": "CONCAT('body ', {n})", "last_modify_date": _DATE},
    ("id",),
    dated=True,
)
HOT = Table(
    "hot",
    "id INT PRIMARY KEY, counter BIGINT NOT NULL, last_modify_date TIMESTAMP(6) NOT NULL",
    {"id": "{n}", "counter": "0", "last_modify_date": _DATE},
    ("id",),
    rows=30,
)
PAIRS = Table(
    "pairs",
    "id INT PRIMARY KEY, a VARCHAR(40) NULL, b VARCHAR(40) NULL, c VARCHAR(40) COLLATE utf8mb4_general_ci NULL,"
    " i INT NULL, f FLOAT NULL, d DOUBLE NULL, x BLOB NULL, j JSON NULL",
    {"id": "{n}", **dict.fromkeys("abcifdxj", "NULL")},
    ("id",),
)
_KEYLESS = "a INT NULL, b VARCHAR(20) NULL, c VARCHAR(20) NULL"
_TRIPLE = {"a": "{n}", "b": "CONCAT('b', {n})", "c": "NULL"}
KEYLESS = Table("keyless", _KEYLESS, _TRIPLE, rows=_FEW, busy=False)
KEYLESS_BUSY = Table("keyless_busy", _KEYLESS, _TRIPLE, rows=_FEW)
_SHAPED = {"id": "{n}", "v": "CONCAT('v', {n})"}
_SHAPE = "id INT PRIMARY KEY, v VARCHAR(30) NULL"
_SHAPES = {
    "column": _SHAPE,
    "type": _SHAPE,
    "collation": _SHAPE,
    "key": "id INT PRIMARY KEY, v VARCHAR(30) NOT NULL, UNIQUE KEY v (v)",
    "missing": _SHAPE,
}
SHAPES = {
    name: Table(f"shape_{name}", definition, _SHAPED, ("id",), rows=_FEW, busy=False)
    for name, definition in _SHAPES.items()
}
TABLES = (ACCOUNT, LEDGER, PAYMENT, WIDE, STREAM, HOT, PAIRS, KEYLESS, KEYLESS_BUSY, *SHAPES.values())
RESTLESS = frozenset({HOT.name, KEYLESS_BUSY.name})
"""Tables that may keep changing faster than they can be compared."""


def prepare() -> list[str]:
    """All tables, filled."""
    made = [
        f"DROP DATABASE IF EXISTS {SCHEMA}",
        f"CREATE DATABASE {SCHEMA}",
        "SET SESSION sql_require_primary_key = 0, sql_generate_invisible_primary_key = 0",
    ]
    for table in TABLES:
        made += [table.create(), table.fill()]
    return made
