# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoded rows against what SELECT says, and the comparison against servers that differ; with real servers.

The values are read by statements of the test's own, as hexadecimal or as the server's text, never through the code
under test.
"""

from __future__ import annotations

import decimal
import io
import json
import random
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import archive, changes, charsets
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.files import BinlogFile
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.rows import Change
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.compare import Comparison, Limits, compare
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import accounts
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login, Session
from scratch import Server, docker, grants

NUMBER, TEXT, BYTES, FLOAT, JSON, MEMBERS = "number", "text", "bytes", "float", "json", "members"
CHAR = "as the server writes it"

# Each type: how it is compared, and values for it, as SQL. What is not possible everywhere is tried and left out.
TYPES: dict[str, tuple[str, list[str]]] = {
    "TINYINT": (NUMBER, ["-128", "127", "0"]),
    "TINYINT UNSIGNED": (NUMBER, ["0", "255", "128"]),
    "BOOLEAN": (NUMBER, ["TRUE", "FALSE"]),
    "SMALLINT": (NUMBER, ["-32768", "32767"]),
    "SMALLINT UNSIGNED": (NUMBER, ["65535", "0"]),
    "MEDIUMINT": (NUMBER, ["-8388608", "8388607", "-1"]),
    "MEDIUMINT UNSIGNED": (NUMBER, ["16777215"]),
    "INT": (NUMBER, ["-2147483648", "2147483647"]),
    "INT UNSIGNED": (NUMBER, ["4294967295"]),
    "BIGINT": (NUMBER, ["-9223372036854775808", "9223372036854775807"]),
    "BIGINT UNSIGNED": (NUMBER, ["18446744073709551615", "0"]),
    "DECIMAL(1,0)": (CHAR, ["-9", "0", "9"]),
    "DECIMAL(10,2)": (CHAR, ["-12345678.90", "0.01", "99999999.99", "-0.01"]),
    "DECIMAL(18,9)": (CHAR, ["-123456789.987654321", "1.000000001"]),
    "DECIMAL(27,0)": (CHAR, ["123456789012345678901234567"]),
    "DECIMAL(65,30)": (CHAR, ["-99999999999999999999999999999999999.123456789012345678901234567890", "0"]),
    "DECIMAL(20,20)": (CHAR, ["0.12345678901234567890", "-0.00000000000000000001"]),
    "FLOAT": (FLOAT, ["0.1", "-3.4e38", "1.17549435e-38", "16777217"]),
    "FLOAT UNSIGNED": (FLOAT, ["0.3"]),
    "DOUBLE": (FLOAT, ["0.1", "-1.7976931348623157e308", "2.2250738585072014e-308", "1e16"]),
    "BIT(1)": (NUMBER, ["b'1'", "b'0'"]),
    "BIT(10)": (NUMBER, ["b'1000000001'"]),
    "BIT(64)": (NUMBER, ["18446744073709551615"]),
    "YEAR": (NUMBER, ["1901", "2155", "0", "2026"]),
    "DATE": (CHAR, ["'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "'0000-00-00'", "'2024-00-00'"]),
    "TIME": (CHAR, ["'-838:59:59'", "'838:59:59'", "'00:00:00'", "'-00:00:01'"]),
    "TIME(1)": (CHAR, ["'-01:02:03.4'", "'01:02:03.9'", "'-00:00:00.1'"]),
    "TIME(3)": (CHAR, ["'-838:59:58.999'", "'00:00:00.001'", "'-12:00:00.5'"]),
    "TIME(6)": (CHAR, ["'-838:59:58.999999'", "'-00:00:00.000001'", "'23:59:59.000010'"]),
    "DATETIME": (CHAR, ["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'0000-00-00 00:00:00'"]),
    "DATETIME(2)": (CHAR, ["'2026-11-27 23:59:59.99'", "'2026-01-01 00:00:00.05'"]),
    "DATETIME(5)": (CHAR, ["'2026-11-27 23:59:59.00009'"]),
    "DATETIME(6)": (CHAR, ["'9999-12-31 23:59:59.999999'"]),
    "TIMESTAMP NULL": (CHAR, ["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2024-02-29 12:00:00'"]),
    "TIMESTAMP(3) NULL": (CHAR, ["'2026-11-27 23:59:59.005'"]),
    "TIMESTAMP(6) NULL": (CHAR, ["'2038-01-19 03:14:07.499999'"]),
    "CHAR(0)": (TEXT, ["''"]),
    "CHAR(10)": (TEXT, ["'abc'", "'žluťoučký'", "''", "'a  '"]),
    "CHAR(255)": (TEXT, ["REPEAT('ž', 255)", "'x'"]),
    "VARCHAR(20)": (TEXT, ["'ž🐬'", "''", "'trailing  '"]),
    "VARCHAR(63)": (TEXT, ["REPEAT('🐬', 63)"]),
    "VARCHAR(2000)": (TEXT, ["REPEAT('ž', 2000)", "'short'"]),
    "CHAR(100) CHARACTER SET latin1": (TEXT, ["'äöü€'", "''"]),
    "VARCHAR(100) CHARACTER SET latin1 COLLATE latin1_bin": (TEXT, ["'ÿ'", "CONVERT(X'8081FF' USING latin1)"]),
    "VARCHAR(100) CHARACTER SET ascii": (TEXT, ["'ascii'"]),
    "VARCHAR(100) CHARACTER SET utf8mb3": (TEXT, ["'ž€'"]),
    "VARCHAR(100) CHARACTER SET ucs2": (TEXT, ["'ž€'"]),
    "VARCHAR(100) CHARACTER SET utf16": (TEXT, ["'ž🐬'"]),
    "CHAR(50) CHARACTER SET utf16le": (TEXT, ["'ž🐬'", "'a'"]),
    "VARCHAR(100) CHARACTER SET utf32": (TEXT, ["'ž🐬'"]),
    "VARCHAR(100) CHARACTER SET gbk": (TEXT, ["'中文'"]),
    "VARCHAR(100) CHARACTER SET cp1251": (TEXT, ["'Привет'"]),
    "VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_cs_0900_as_cs": (TEXT, ["'Žluťoučký'"]),
    "TINYTEXT": (TEXT, ["'tiny'", "''"]),
    "TEXT": (TEXT, ["REPEAT('ž', 20000)", "'x'"]),
    "MEDIUMTEXT": (TEXT, ["REPEAT('m', 70000)"]),
    "LONGTEXT CHARACTER SET latin1": (TEXT, ["REPEAT('ä', 300000)", "''"]),
    "BINARY(4)": (BYTES, ["X'61000000'", "X'00000000'", "X'FFFFFFFF'", "'a'"]),
    "BINARY(255)": (BYTES, ["X'FF'"]),
    "VARBINARY(20)": (BYTES, ["X'0061FF00'", "''", "X'00'"]),
    "VARBINARY(300)": (BYTES, ["REPEAT(X'FF', 300)"]),
    "TINYBLOB": (BYTES, ["X'00FF'"]),
    "BLOB": (BYTES, ["REPEAT(X'FE', 65535)"]),
    "MEDIUMBLOB": (BYTES, ["X'01'"]),
    "LONGBLOB": (BYTES, ["REPEAT(X'00', 200000)"]),
    "ENUM('a','ž','it''s')": (MEMBERS, ["'a'", "'ž'", "'it''s'"]),
    "ENUM('x','y') CHARACTER SET latin1": (MEMBERS, ["'y'"]),
    "SET('a','ž','c')": (MEMBERS, ["'a,c'", "''", "'ž'", "'a,ž,c'"]),
    "JSON": (JSON, [
        "'{\"a\": [1, -70000, 5000000000, 18446744073709551615, true, null, \"ž\"], \"b\": {\"c\": 1.5}}'",
        "'[]'", "'null'", "'\"text\"'", "'-1'", "'32768'",
        "JSON_OBJECT('d', CAST('1.20' AS DECIMAL(5,2)), 't', CAST('2026-11-27 01:02:03.000004' AS DATETIME(6)),"
        " 'time', CAST('-01:02:03.000004' AS TIME(6)), 'date', CAST('2026-11-27' AS DATE), 'o', X'00FF')",
        "JSON_OBJECT('long', REPEAT('x', 70000), 'n', JSON_ARRAY(1, 100000, 1.5))",
    ]),
    "GEOMETRY": (BYTES, ["ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0,1 1)')"]),
    "POINT SRID 4326": (BYTES, ["ST_GeomFromText('POINT(50 14)', 4326)"]),
    "VECTOR(3)": (BYTES, ["STRING_TO_VECTOR('[1,2.5,-3]')"]),
}  # fmt: skip

MODES: dict[str, str] = {
    "full": "",
    "minimal metadata": "SET GLOBAL binlog_row_metadata = MINIMAL",
    "compressed": "SET SESSION binlog_transaction_compression = ON",
    "minimal image": "SET SESSION binlog_row_image = MINIMAL",
}
LOOSE = "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', SESSION time_zone = '+00:00'"


def shown(name: str, how: str) -> str:
    """The value in a form that the test understands."""
    if how == NUMBER:
        return f"CAST({name} + 0 AS CHAR)"
    if how == FLOAT:
        return f"HEX(ST_AsBinary(POINT(CAST({name} AS DOUBLE), 0)))"
    if how == TEXT:
        return f"CONCAT(HEX({name}), '/', HEX(CONVERT({name} USING utf8mb4)))"
    if how == BYTES:
        return f"HEX({name})"
    if how == MEMBERS:
        return f"CONCAT({name} + 0, '/', CONVERT({name} USING utf8mb4))"
    return f"CAST({name} AS CHAR)"


def same(how: str, decoded: Any, told: str | None) -> bool:
    if decoded is None or told is None:
        return decoded is None and told is None
    if how == NUMBER:
        return isinstance(decoded, int) and str(decoded) == told
    if how == FLOAT:
        return isinstance(decoded, float) and struct.pack("<d", decoded) == bytes.fromhex(told)[5:13]
    if how == TEXT:
        raw, utf8 = told.split("/")
        if isinstance(decoded, bytes):
            return decoded.hex().upper() == raw
        return isinstance(decoded, str) and decoded.encode().hex().upper() == utf8
    if how == BYTES:
        return isinstance(decoded, bytes) and decoded.hex().upper() == told
    if how == MEMBERS:
        number, _slash, name = told.partition("/")
        return decoded == (int(number) if isinstance(decoded, int) else name)
    if how == JSON:
        return isinstance(decoded, str) and bool(json.loads(decoded) == json.loads(told))
    if isinstance(decoded, decimal.Decimal):
        return format(decoded, "f") == told
    return isinstance(decoded, str) and decoded == told


class Primary:
    """A server with one table of every type."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.columns: dict[str, tuple[str, str]] = {}
        self.connection = pymysql.connect(
            host=server.address, port=33062, user="root", password="", autocommit=True,
            ssl={"ca": str(server.farm.files / "ca.pem")}, charset="utf8mb4", database=None,
        )  # fmt: skip

    def run(self, sql: str, values: Any = None) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()

    def make(self) -> None:
        self.run("SET GLOBAL super_read_only = OFF")
        self.run("SET GLOBAL read_only = OFF")
        self.run("CREATE DATABASE kinds")
        self.run("USE kinds")
        for number, kind in enumerate(TYPES):
            name = f"c{number}"
            try:
                self.run(f"CREATE TABLE probe (x {kind})")
            except pymysql.err.MySQLError:
                assert kind.startswith("VECTOR"), kind
                continue
            self.run("DROP TABLE probe")
            self.columns[name] = (kind, TYPES[kind][0])
        json_column = next(name for name, (kind, _how) in self.columns.items() if kind == "JSON")
        self.run(
            "CREATE TABLE every (id BIGINT AUTO_INCREMENT, `odd ``%% näme` VARCHAR(20) DEFAULT 'd', "
            + ", ".join(f"{name} {kind}" for name, (kind, _how) in self.columns.items())
            + ", twice BIGINT AS (c0 * 2) STORED, never BIGINT AS (c0 + 1) VIRTUAL, hidden INT INVISIBLE DEFAULT 5,"
            f" PRIMARY KEY (id), KEY many ((CAST({json_column}->'$.tags' AS UNSIGNED ARRAY))), KEY expr ((c0 * 3)))"
        )

    def fill(self, chance: random.Random) -> None:
        longest = max(len(TYPES[kind][1]) for kind, _how in self.columns.values())
        self.run("BEGIN")
        for place in range(longest + 8):
            picked = {}
            for name, (kind, _how) in self.columns.items():
                values = TYPES[kind][1]
                picked[name] = values[place] if place < len(values) else chance.choice([*values, "NULL"])
            self.run(f"INSERT INTO every ({', '.join(picked)}) VALUES ({', '.join(picked.values())})")
        self.run("COMMIT")

    def change(self, chance: random.Random) -> None:
        self.run("BEGIN")
        for (key,) in self.run("SELECT id FROM every ORDER BY id"):
            names = chance.sample(sorted(self.columns), 12)
            sets = ", ".join(f"{name} = {chance.choice([*TYPES[self.columns[name][0]][1], 'NULL'])}" for name in names)
            self.run(f"UPDATE every SET {sets}, hidden = hidden + 1 WHERE id = {key}")
        self.run("COMMIT")

    def snapshot(self) -> dict[int, dict[str, str | None]]:
        names = [*self.columns, "twice", "hidden", "odd ``%% näme"]
        hows = [*(how for _kind, how in self.columns.values()), NUMBER, NUMBER, TEXT]
        select = ", ".join(shown(f"`{name}`", how) for name, how in zip(names, hows, strict=True))
        names[-1] = "odd `%% näme"
        return {row[0]: dict(zip(names, row[1:], strict=True)) for row in self.run(f"SELECT id, {select} FROM every")}

    def how(self, name: str) -> str:
        return self.columns[name][1] if name in self.columns else (TEXT if name.startswith("odd") else NUMBER)

    def log(self) -> bytes:
        name = self.run("SHOW BINARY LOG STATUS")[0][0]
        return docker_bytes(self.server, f"/var/lib/mysql/{name}")

    def done(self, work: Any) -> list[Change]:
        """The row changes of what is done, as its binary log tells them."""
        before = GtidSet.parse(self.run("SELECT @@GLOBAL.gtid_executed")[0][0])
        work()
        made = GtidSet.parse(self.run("SELECT @@GLOBAL.gtid_executed")[0][0]) - before
        file = BinlogFile("the log", io.BytesIO(self.log()))
        found: list[Change] = []
        for transaction in file.transactions(made):
            assert transaction.complete and transaction.contents_known
            found += [
                item for item in changes.changes(file, transaction.start, transaction.end) if isinstance(item, Change)
            ]
        return found


def docker_bytes(server: Server, path: str) -> bytes:
    import base64

    return base64.b64decode(docker("exec", server.container, "base64", path))


@pytest.fixture(scope="module")
def primary(farm: Any) -> Iterator[Primary]:
    made = Primary(farm.fresh(1)[0])
    made.make()
    yield made
    made.connection.close()


def wrong(primary: Primary, image: Any, expected: dict[str, str | None], *, partial: bool) -> list[str]:
    """What differs between a decoded image and the row that the server showed."""
    if next(iter(image)).startswith("@"):
        names = ["id", "odd `%% näme", *primary.columns, "twice", "never", "hidden"]
        assert len(image) == len(names)
        image = {names[int(place[1:]) - 1]: value for place, value in image.items()}
    problems = [
        f"{name} {primary.columns.get(name)}: {image[name]!r:.80} instead of {told!r:.80}"
        for name, told in expected.items()
        if name in image and not same(primary.how(name), image[name], told)
    ]
    if not partial:
        problems += [f"{name} is not there" for name in expected if name not in image]
    return problems


@pytest.mark.parametrize("mode", MODES)
def test_decoded_rows_are_what_select_says(primary: Primary, mode: str) -> None:
    chance = random.Random(f"seed {mode}")
    primary.run("SET GLOBAL binlog_row_metadata = FULL")
    primary.run("SET SESSION binlog_transaction_compression = OFF, SESSION binlog_row_image = FULL")
    primary.run(LOOSE)
    if MODES[mode]:
        primary.run(MODES[mode])
    partial = mode == "minimal image"
    primary.run("DELETE FROM every")
    written = primary.done(lambda: primary.fill(chance))
    first = primary.snapshot()
    updated = primary.done(lambda: primary.change(chance))
    second = primary.snapshot()
    deleted = primary.done(lambda: primary.run("DELETE FROM every WHERE id % 2 = 0"))
    problems = []

    def key_of(change: Change) -> int:
        image = change.before or change.after
        assert image is not None
        key = image["@1"] if "@1" in image else image["id"]
        assert change.key == (None if "@1" in image else {"id": key})
        return int(key)

    assert len(written) == len(first) and len(updated) == len(second) == len(first)
    for change in written:
        assert change.operation == "write" and change.before is None and change.after is not None
        key = change.after["@1"] if "@1" in change.after else change.after["id"]
        problems += wrong(primary, change.after, first[int(key)], partial=partial)
    for change in updated:
        assert change.before is not None and change.after is not None
        problems += wrong(primary, change.before, first[key_of(change)], partial=partial)
        problems += wrong(primary, change.after, second[key_of(change)], partial=partial)
    assert {key_of(change) for change in deleted} == {key for key in second if key % 2 == 0}
    for change in deleted:
        problems += wrong(primary, change.before, second[key_of(change)], partial=partial)
    assert not problems, "\n".join(problems[:20])
    if mode == "full":
        table = written[0].table
        assert table.unknown == () and [table.columns[part.column].name for part in table.key] == ["id"]
        assert not next(column for column in table.columns if column.name == "hidden").visible
    if mode == "minimal metadata":
        assert set(written[0].table.unknown) == {"names", "members"}


def test_every_byte_of_a_character_set_is_the_servers(primary: Primary) -> None:
    """Texts of single-byte character sets that are decoded at all are decoded as the server does."""
    rows = primary.run("SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL")
    single = {
        name
        for (name,) in primary.run("SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS WHERE MAXLEN = 1")
    }
    seen = set()
    for number, name in rows:
        codec = charsets.codec_of(number)
        if codec is None or name not in single or name in seen:
            continue
        seen.add(name)
        for byte in range(128 if name == "ascii" else 256):
            told = primary.run(f"SELECT HEX(CONVERT(_{name} X'{byte:02X}' USING utf8mb4))")[0][0]
            text = charsets.decoder(codec)(bytes([byte]))
            assert isinstance(text, str) and text.encode().hex().upper() == told, (name, byte)
    assert seen == {"latin1", "ascii"}
    # A number stands for the character set that it has on the server.
    families = {"utf-8": {"utf8mb3", "utf8mb4"}, "ascii": {"ascii"}, charsets.LATIN1: {"latin1"},
                "utf-16-be": {"ucs2", "utf16"}, "utf-16-le": {"utf16le"}, "utf-32-be": {"utf32"}}  # fmt: skip
    for number, name in rows:
        codec = charsets.codec_of(number)
        assert (name in families[codec]) if codec else all(name not in family for family in families.values()), (
            number,
            name,
        )


# Comparing

KEY_TYPES = (
    "TINYINT UNSIGNED", "BIGINT", "BIGINT UNSIGNED", "DECIMAL(10,2)", "DECIMAL(65,30)", "FLOAT", "DOUBLE", "BIT(10)",
    "YEAR", "DATE", "TIME(3)", "DATETIME(6)", "TIMESTAMP(6) NULL", "CHAR(10)", "VARCHAR(20)", "BINARY(4)",
    "VARBINARY(20)", "VARCHAR(100) CHARACTER SET latin1 COLLATE latin1_bin", "VARCHAR(100) CHARACTER SET utf16",
    "VARCHAR(100) CHARACTER SET gbk", "VARCHAR(100) CHARACTER SET cp1251", "ENUM('a','ž','it''s')", "SET('a','ž','c')",
    "VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_cs_0900_as_cs",
)  # fmt: skip
PASSWORD = "reconcile'canary"


class Both:
    """A primary and its replica, and an archive of what the primary did."""

    def __init__(self, servers: list[Server], place: Path) -> None:
        self.servers = servers
        self.place = place
        self.primary = Primary(servers[0])
        self.returning = Primary(servers[1])

    def make(self) -> None:
        source = self.primary
        source.run("SET GLOBAL super_read_only = OFF")
        source.run("SET GLOBAL read_only = OFF")
        account = accounts.Account("lossless_reconcile", "%", accounts.RECONCILE)
        quoted = pymysql.converters.escape_string(PASSWORD)
        source.run(f"CREATE USER {account.sql_name} IDENTIFIED BY '{quoted}' REQUIRE SSL")
        for what, where in grants(account):
            source.run(f"GRANT {what} ON {where} TO {account.sql_name}")
        self.returning.run(
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{self.servers[0].address}', SOURCE_PORT=33062,"
            " SOURCE_USER='root', SOURCE_SSL=1, SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1"
        )
        self.returning.run("START REPLICA")
        self.returning.run("SET GLOBAL super_read_only = OFF")
        source.run("CREATE DATABASE tail")
        source.run("USE tail")
        source.run(LOOSE)
        self.caught_up()
        for server in (self.primary, self.returning):
            server.run("USE tail")
            server.run(LOOSE)
        self.returning.run("SET SESSION sql_log_bin = 0")

    def caught_up(self) -> None:
        executed = self.primary.run("SELECT @@GLOBAL.gtid_executed")[0][0]
        assert self.returning.run("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 20)", (executed,))[0][0] == 0

    def archive(self, name: str, work: Any) -> str:
        """The directory of an archive of what ``work`` does on the primary."""
        before = GtidSet.parse(self.primary.run("SELECT @@GLOBAL.gtid_executed")[0][0])
        work()
        made = GtidSet.parse(self.primary.run("SELECT @@GLOBAL.gtid_executed")[0][0]) - before
        data = self.place / f"{name}-data"
        data.mkdir()
        (data / "binlog.000001").write_bytes(self.primary.log())
        (data / "binlog.index").write_text("./binlog.000001\n")
        request = archive.Request(made, str(data / "binlog.index"), str(self.place / "kept"), name=name)
        done = archive.archive(request, apply=True, now=0.0, host="s1")
        assert done.values["rows"]["undecoded"] == []
        return done.path

    def session(self, server: Server) -> Session:
        login = Login("lossless_reconcile", PASSWORD, ca=str(server.farm.files / "ca.pem"))
        return Session.connect(server.name, server.address, 33062, login, within=5)

    def compare_at_rest(self, directory: str, **how: Any) -> Comparison:
        """Without the pauses between the rounds, which are for rows in flight."""
        return self.compare(directory, sleep=lambda _seconds: None, **how)

    def compare(self, directory: str, **how: Any) -> Comparison:
        returning, primary = self.session(self.servers[1]), self.session(self.servers[0])
        try:
            return compare(directory, returning, primary, limits=Limits(60, 10, 20), **how)
        finally:
            returning.close()
            primary.close()


@pytest.fixture(scope="module")
def both(farm: Any, tmp_path_factory: pytest.TempPathFactory) -> Both:
    made = Both(farm.fresh(2), tmp_path_factory.mktemp("archives"))
    made.make()
    return made


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_a_row_is_found_by_a_key_of_every_type(both: Both, kind: str) -> None:
    """Each row of each key: spoilt on the replica, it must be found; with nothing spoilt, nothing."""
    table = f"k{KEY_TYPES.index(kind)}"
    column = kind.replace(" NULL", " NOT NULL")
    both.primary.run(f"CREATE TABLE {table} (k {column}, v INT, PRIMARY KEY (k))")
    for value in TYPES[kind][1]:
        # Two values may be one as a key: X'61000000' and 'a' of BINARY(4).
        both.primary.run(f"INSERT IGNORE INTO {table} VALUES ({value}, 1)")
    rows = int(both.primary.run(f"SELECT COUNT(*) FROM {table}")[0][0])
    assert rows

    def work() -> None:
        both.primary.run("BEGIN")
        both.primary.run(f"UPDATE {table} SET v = v + 1")
        both.primary.run("COMMIT")

    directory = both.archive(table, work)
    both.caught_up()
    found = both.compare_at_rest(directory)
    assert (found.verdict, found.rows, found.found) == ("equal", rows, rows), found
    for spoilt in range(1, rows + 1):
        both.returning.run(f"UPDATE {table} SET v = -1 ORDER BY k LIMIT {spoilt}")
        found = both.compare_at_rest(directory)
        assert found.verdict == "different" and found.difference_count == spoilt, found
        assert {each.columns for each in found.differences} == {("v",)}
    both.returning.run(f"DELETE FROM {table}")
    found = both.compare_at_rest(directory, reveal=True)
    assert {each.what for each in found.differences} == {"only_on_primary"}
    assert found.difference_count == rows


@pytest.mark.parametrize("key", [True, False])
def test_every_type_is_compared(both: Both, key: bool) -> None:
    """One column after the other is spoilt on the replica; each time that column is named."""
    source = both.primary
    if not source.columns:
        for number, kind in enumerate(TYPES):
            source.columns[f"c{number}"] = (kind, TYPES[kind][0])
    table = f"every_{key}".lower()
    source.run(
        f"CREATE TABLE {table} (id BIGINT{' PRIMARY KEY' if key else ''}, "
        + ", ".join(f"{name} {kind}" for name, (kind, _how) in source.columns.items())
        + ")"
    )
    picked = {name: TYPES[kind][1][0] for name, (kind, _how) in source.columns.items()}

    def work() -> None:
        source.run(f"INSERT INTO {table} (id, {', '.join(picked)}) VALUES (1, {', '.join(picked.values())})")

    directory = both.archive(table, work)
    both.caught_up()
    found = both.compare_at_rest(directory)
    assert (found.verdict, found.found) == ("equal", 1), found
    for name in picked:
        both.returning.run("BEGIN")
        both.returning.run(f"UPDATE {table} SET {name} = NULL")
        both.returning.run("COMMIT")
        found = both.compare_at_rest(directory)
        assert found.verdict == "different", (name, source.columns[name], found)
        if key:
            assert [each.columns for each in found.differences] == [(name,)]
        both.returning.run(f"UPDATE {table} SET {name} = {picked[name]}")
    assert both.compare_at_rest(directory).verdict == "equal"


def test_what_is_left_of_a_tail_is_found(both: Both) -> None:
    source, replica = both.primary, both.returning
    source.run("CREATE TABLE ledger (id INT PRIMARY KEY, cents BIGINT) AUTO_INCREMENT=7")
    source.run("INSERT INTO ledger VALUES (1, 100), (2, 200), (4, 400)")

    def work() -> None:
        source.run("INSERT INTO ledger VALUES (3, 300)")
        source.run("UPDATE ledger SET cents = 95 WHERE id = 1")
        source.run("UPDATE ledger SET id = 5 WHERE id = 4")
        source.run("DELETE FROM ledger WHERE id = 2")
        source.run("ALTER TABLE ledger ADD COLUMN note TEXT")

    directory = both.archive("ledger", work)
    both.caught_up()
    found = both.compare(directory)
    assert (found.verdict, found.changes, found.statements) == ("equal", 4, 1), found
    for spoil, mend, what in (
        ("INSERT INTO ledger VALUES (2, 200, NULL)", "DELETE FROM ledger WHERE id = 2", "only_on_returning"),
        ("DELETE FROM ledger WHERE id = 3", "INSERT INTO ledger VALUES (3, 300, NULL)", "only_on_primary"),
        ("UPDATE ledger SET cents = 100 WHERE id = 1", "UPDATE ledger SET cents = 95 WHERE id = 1", "row"),
        ("INSERT INTO ledger VALUES (4, 400, NULL)", "DELETE FROM ledger WHERE id = 4", "only_on_returning"),
        ("ALTER TABLE ledger DROP COLUMN note", "ALTER TABLE ledger ADD COLUMN note TEXT", "columns definition"),
        ("ALTER TABLE ledger ADD KEY (cents)", "ALTER TABLE ledger DROP KEY cents", "definition"),
        ("RENAME TABLE ledger TO lost", "RENAME TABLE lost TO ledger", "only_on_primary"),
    ):
        replica.run(spoil)
        found = both.compare(directory)
        assert found.verdict == "different", spoil
        assert {each.what for each in found.differences} <= set(what.split()), found
        replica.run(mend)
    assert both.compare(directory).verdict == "equal"


def test_a_busy_primary_makes_no_difference(both: Both) -> None:
    """Writes on the very rows that are compared: never a difference that is none, and a real one is still found."""
    source = both.primary
    source.run("CREATE TABLE busy (id INT PRIMARY KEY, n BIGINT)")
    source.run("INSERT INTO busy VALUES " + ", ".join(f"({number}, 0)" for number in range(300)))
    directory = both.archive("busy", lambda: source.run("UPDATE busy SET n = 1"))
    both.caught_up()
    stop = threading.Event()

    def write() -> None:
        writer = Primary(both.servers[0])
        chance = random.Random(1)
        while not stop.is_set():
            writer.run("UPDATE tail.busy SET n = n + 1 WHERE id = %s", (chance.randrange(200),))
            time.sleep(0.003)  # more than a replica of this size applies would let it fall behind for good
        writer.connection.close()

    threads = [threading.Thread(target=write) for _number in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _number in range(5):
            found = both.compare(directory)
            assert found.verdict == "equal", found
        both.returning.run("UPDATE busy SET n = -1 WHERE id = 250")
        found = both.compare(directory)
        assert found.verdict == "different" and found.difference_count == 1, found
    finally:
        stop.set()
        for thread in threads:
            thread.join()
