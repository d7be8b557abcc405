"""What the application has, and what waits for its acknowledgement when the primary dies. Pure."""

from __future__ import annotations

from drills.comeback.clients import Statements

SCHEMA = "lab_comeback"
FLAT = "lab_comeback_flat"
ACKNOWLEDGED = 500
"""Rows of ``kept`` that clients were told OK for."""
_ROWS = 200
_PIECE = 64 << 10
LARGE_PIECES = 800
"""Of 64 KiB each: 50 MiB in one transaction."""
_WAITING = 1_000_000
_DDL_TABLES = ("altered", "rebuilt", "dropped", "emptied", "renamed")

_NUMBERS = (
    "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) SELECT {what}"
    " FROM numbers"
)


def prepare() -> list[str]:
    """Everything that is acknowledged before."""
    columns = "id BIGINT PRIMARY KEY, value VARCHAR(64) NOT NULL"
    made = [
        f"DROP DATABASE IF EXISTS {SCHEMA}",
        f"CREATE DATABASE {SCHEMA}",
        "SET SESSION cte_max_recursion_depth = 10000",
    ]
    for table, count in (("kept", ACKNOWLEDGED), *((table, _ROWS) for table in _DDL_TABLES)):
        made.append(f"CREATE TABLE {SCHEMA}.{table} ({columns})")
        made.append(f"INSERT INTO {SCHEMA}.{table} " + _NUMBERS.format(count=count, what="n, CONCAT('before ', n)"))
    made.append(f"CREATE TABLE {SCHEMA}.large (id BIGINT AUTO_INCREMENT PRIMARY KEY, body MEDIUMBLOB NOT NULL)")
    return made


def inserts(count: int) -> list[Statements]:
    """One commit of one row for each client."""
    return [[f"INSERT INTO {SCHEMA}.kept VALUES ({_WAITING + number}, 'waits')"] for number in range(count)]


def changes() -> list[Statements]:
    """Of rows that were acknowledged: they have to be again what they were."""
    kept = f"{SCHEMA}.kept"
    return [
        [f"UPDATE {kept} SET value = 'changed' WHERE id BETWEEN 1 AND 20"],
        [f"DELETE FROM {kept} WHERE id BETWEEN 21 AND 40"],
        [
            "BEGIN",
            f"INSERT INTO {kept} VALUES ({_WAITING * 2}, 'many')",
            f"UPDATE {kept} SET id = -id WHERE id = 41",
            "COMMIT",
        ],
    ]


def definitions() -> list[Statements]:
    """DDL, each on a table of its own."""
    return [
        [f"CREATE TABLE {SCHEMA}.created (id BIGINT PRIMARY KEY)"],
        [f"CREATE TABLE {SCHEMA}.copied (PRIMARY KEY (id)) SELECT * FROM {SCHEMA}.renamed"],
        [f"ALTER TABLE {SCHEMA}.altered ADD COLUMN more INT NOT NULL DEFAULT 7"],
        [f"ALTER TABLE {SCHEMA}.rebuilt ENGINE = InnoDB, ADD INDEX (value), ALGORITHM = INPLACE"],
        [f"DROP TABLE {SCHEMA}.dropped"],
    ]


def not_comparable() -> list[Statements]:
    """What a rewind undoes like anything else, and no comparison of the archive's rows shows (docs/limits.md)."""
    return [
        [f"TRUNCATE TABLE {SCHEMA}.emptied"],
        [f"CREATE TRIGGER {SCHEMA}.watched BEFORE INSERT ON {SCHEMA}.renamed FOR EACH ROW SET @seen = 1"],
    ]


def large() -> list[Statements]:
    """One transaction of about 50 MiB."""
    what = f"CONCAT(REPEAT(CHAR(65 + n % 26), {_PIECE}), n)"
    insert = f"INSERT INTO {SCHEMA}.large (body) " + _NUMBERS.format(count=LARGE_PIECES, what=what)
    return [["SET SESSION cte_max_recursion_depth = 10000", "BEGIN", insert, "COMMIT"]]


def flat_table() -> list[str]:
    """A table of an engine without transactions, which no clone copies: in a schema of its own."""
    return [f"CREATE DATABASE {FLAT}", f"CREATE TABLE {FLAT}.rows (id BIGINT PRIMARY KEY) ENGINE = MyISAM"]


def no_flat_table() -> list[str]:
    return [f"DROP DATABASE IF EXISTS {FLAT}"]


def not_transactional() -> list[Statements]:
    """A row that is there before its commit is acknowledged, and that nothing takes away."""
    return [[f"INSERT INTO {FLAT}.rows VALUES ({_WAITING})"]]


def distributed() -> list[Statements]:
    """An XA transaction: prepared, in the log, and not undone by crash recovery."""
    return [
        [
            "XA START 'comeback'",
            f"INSERT INTO {SCHEMA}.kept VALUES ({_WAITING * 3}, 'xa')",
            "XA END 'comeback'",
            "XA PREPARE 'comeback'",
        ]
    ]
