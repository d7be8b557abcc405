"""What a server holds, in a form that can be compared: GTIDs, definitions, a checksum of all rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SAMPLE = 10
"""Rows that differ, named in a finding."""

_BINARY = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit", "geometry"})
_COUNTER = re.compile(r" AUTO_INCREMENT=\d+")


@dataclass(frozen=True)
class Table:
    """``definition``: as SHOW CREATE says it, without the counter: an insert that was rolled back has used numbers up,
    and no replay knows of that. ``checksum`` over all columns of all rows; empty for a view."""

    definition: str
    rows: int
    checksum: str


@dataclass(frozen=True)
class Contents:
    gtids: str
    tables: Mapping[str, Table]


def differences(server: Contents, replay: Contents) -> list[str]:
    """Every way in which they differ, as sentences. Pure."""
    found = []
    if server.gtids != replay.gtids:
        found.append(f"gtid_executed: {server.gtids or 'nothing'} on the server, {replay.gtids or 'nothing'} replayed")
    for name in sorted(server.tables.keys() | replay.tables.keys()):
        ours, theirs = server.tables.get(name), replay.tables.get(name)
        if ours is None or theirs is None:
            found.append(f"{name} is there on {'the server' if theirs is None else 'the replay'} only")
            continue
        if ours.definition != theirs.definition:
            found.append(f"{name} is defined as {ours.definition!r} on the server, {theirs.definition!r} replayed")
        if ours.rows != theirs.rows:
            found.append(f"{name} has {ours.rows} rows on the server, {theirs.rows} replayed")
        elif ours.checksum != theirs.checksum:
            found.append(f"{name}: {ours.rows} rows each, and their contents differ")
    return found


def read(cursor: Any, schema: str) -> Contents:
    """:param cursor: of a connection whose rows are dictionaries."""
    cursor.execute("SELECT REPLACE(@@GLOBAL.gtid_executed, '\\n', '') AS gtids")
    gtids = str(cursor.fetchone()["gtids"])
    cursor.execute("SET SESSION information_schema_stats_expiry = 0")
    cursor.execute(
        "SELECT TABLE_NAME AS name, TABLE_TYPE AS kind FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s",
        (schema,),
    )
    found = {str(row["name"]): row["kind"] == "BASE TABLE" for row in cursor.fetchall()}
    return Contents(gtids, {name: _table(cursor, schema, name, base) for name, base in sorted(found.items())})


def _table(cursor: Any, schema: str, name: str, base: bool) -> Table:
    cursor.execute(f"SHOW CREATE TABLE {_quoted(schema)}.{_quoted(name)}")
    row = cursor.fetchone()
    definition = _COUNTER.sub("", str(row["Create Table" if base else "Create View"]))
    if not base:
        return Table(definition, 0, "")
    cursor.execute(
        f"SELECT COUNT(*) AS number, LOWER(HEX(BIT_XOR(UNHEX(SHA2({_framed(cursor, schema, name)}, 256))))) AS checksum"
        f" FROM {_quoted(schema)}.{_quoted(name)}"
    )
    row = cursor.fetchone()
    return Table(definition, int(row["number"]), str(row["checksum"]))


def rows_apart(server: Any, replay: Any, schema: str, table: str) -> list[str]:
    """Which rows, by the first column of the primary key: for a person who has to find out why.

    :param server: a cursor, as ``replay``.
    """
    first, second = _hashes(server, schema, table), _hashes(replay, schema, table)
    apart = sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))
    said = [
        f"{table} {key}: "
        + ("not replayed" if key not in second else "not on the server" if key not in first else "different")
        for key in apart[:SAMPLE]
    ]
    return said + ([f"{table}: {len(apart)} rows differ in all"] if len(apart) > SAMPLE else [])


def _hashes(cursor: Any, schema: str, table: str) -> dict[str, str]:
    cursor.execute(f"SHOW COLUMNS FROM {_quoted(schema)}.{_quoted(table)}")
    keys: Sequence[str] = [row["Field"] for row in cursor.fetchall() if row["Key"] == "PRI"]
    if not keys:
        return {}
    cursor.execute(
        f"SELECT CAST({_quoted(keys[0])} AS CHAR) AS one, SHA2({_framed(cursor, schema, table)}, 256) AS hash"
        f" FROM {_quoted(schema)}.{_quoted(table)}"
    )
    return {str(row["one"]): str(row["hash"]) for row in cursor.fetchall()}


def _framed(cursor: Any, schema: str, table: str) -> str:
    """An expression that is the same for two rows only when all their columns are: each value with its length."""
    cursor.execute(
        "SELECT COLUMN_NAME AS name, DATA_TYPE AS type FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
        (schema, table),
    )
    parts = []
    for row in cursor.fetchall():
        column = _quoted(row["name"])
        value = f"SHA2({column}, 256)" if row["type"] in _BINARY else f"CAST({column} AS CHAR CHARACTER SET utf8mb4)"
        parts.append(f"IF({column} IS NULL, '-', CONCAT(LENGTH({value}), ':', {value}))")
    return f"CONCAT({', '.join(parts)})"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
