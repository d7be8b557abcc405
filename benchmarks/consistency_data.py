"""The tables that are compared, and the statements that ours is measured beside. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import REALS, WHOLE, ColumnFacts
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import identifier

SYSBENCH, WIDE, SMALL, PAIR = "sysbench", "wide", "small", "pair"
AT_ONCE = 10_000
"""Rows of an INSERT."""

_LIKE_SYSBENCH = (
    "CREATE TABLE {table} (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0,"
    " c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', KEY k_1 (k))"
)
_CREATE = {
    SYSBENCH: _LIKE_SYSBENCH,
    SMALL: _LIKE_SYSBENCH,
    # Every type, and nearly every column may be NULL: what is dearest to tell exactly.
    WIDE: (
        "CREATE TABLE {table} (id BIGINT UNSIGNED PRIMARY KEY, ti TINYINT, si SMALLINT UNSIGNED, mi MEDIUMINT,"
        " i INT NOT NULL, bi BIGINT, d DECIMAL(20, 6), f FLOAT, db DOUBLE NOT NULL, b BIT(17), y YEAR, da DATE,"
        " t TIME(6), dt DATETIME(6) NOT NULL, ts TIMESTAMP(6) NULL, ch CHAR(20) CHARACTER SET latin1,"
        " vc VARCHAR(60) NOT NULL, tt TINYTEXT, tx TEXT, mt MEDIUMTEXT, lt LONGTEXT, bn BINARY(16), vb VARBINARY(60),"
        " tb TINYBLOB, bl BLOB, mb MEDIUMBLOB, lb LONGBLOB, e ENUM('small', 'medium', 'large'),"
        " s SET('a', 'b', 'c', 'd'), j JSON, p POINT NOT NULL SRID 4326, g GEOMETRY, v VECTOR(8),"
        " gs INT GENERATED ALWAYS AS (i * 2) STORED, gv INT GENERATED ALWAYS AS (i + 1) VIRTUAL,"
        " hid VARCHAR(20) INVISIBLE)"
    ),
    PAIR: "CREATE TABLE {table} (id INT PRIMARY KEY, c VARCHAR(9) NOT NULL, pad VARCHAR(9) NOT NULL)",
}
_GROUP = "LPAD(FLOOR(RAND() * 1e11), 11, '0')"
_SYSBENCH_ROW = (
    "(id, k, c, pad)",
    f"i, FLOOR(RAND() * 1000000), CONCAT_WS('-', {', '.join([_GROUP] * 10)}),"
    f" CONCAT_WS('-', {', '.join([_GROUP] * 5)})",
)
_ROWS = {
    SYSBENCH: _SYSBENCH_ROW,
    SMALL: _SYSBENCH_ROW,
    WIDE: (
        "(id, ti, si, mi, i, bi, d, f, db, b, y, da, t, dt, ts, ch, vc, tt, tx, mt, lt, bn, vb, tb, bl, mb, lb, e, s,"
        " j, p, g, v, hid)",
        "i, i % 100, i % 60000, i % 8000000, i, i * 100003, i / 7, i / 3, i / 11, i % 131072, 1970 + i % 100,"
        " DATE'2000-01-01' + INTERVAL i % 9000 DAY, SEC_TO_TIME(i % 80000) + INTERVAL i % 1000000 MICROSECOND,"
        " TIMESTAMP'2001-01-01 00:00:00' + INTERVAL i * 37 % 600000000 SECOND + INTERVAL i % 1000000 MICROSECOND,"
        " TIMESTAMP'2002-01-01 00:00:00' + INTERVAL i * 31 % 600000000 SECOND, CONCAT('ch', i),"
        " CONCAT('Müller#', i, '-', LEFT(SHA2(i, 224), 40)), CONCAT('tiny ', i), REPEAT(CONCAT('text ', i), 5),"
        " IF(i % 10 = 0, NULL, CONCAT('medium ', i)), IF(i % 3 = 0, NULL, CONCAT('long ', i)),"
        " UNHEX(LEFT(SHA2(i, 256), 32)), UNHEX(SHA2(i, 256)), UNHEX(SHA2(i + 1, 256)), UNHEX(SHA2(i + 2, 512)),"
        " IF(i % 5 = 0, NULL, UNHEX(SHA2(i + 3, 512))), IF(i % 7 = 0, NULL, 'lb'),"
        " ELT(1 + i % 3, 'small', 'medium', 'large'), i % 16,"
        " JSON_OBJECT('n', i, 'list', JSON_ARRAY(1, 2.5, NULL, 'x'), 'name', CONCAT('n', i)),"
        " ST_SRID(POINT(i % 179, i % 89), 4326), IF(i % 2 = 0, NULL, POINT(i, i)),"
        " STRING_TO_VECTOR(CONCAT('[', i % 10, ',2,3,4,5,6,7,8]')), IF(i % 4 = 0, NULL, CONCAT('hid', i))",
    ),
}


def create(schema: str, name: str) -> str:
    return _CREATE[name].format(table=qualified(schema, name))


def fill(schema: str, name: str, rows: int) -> Iterator[str]:
    """INSERT statements, for keys from 1 to ``rows``."""
    columns, values = _ROWS[name]
    for after in range(0, rows, AT_ONCE):
        upto = min(after + AT_ONCE, rows)
        yield (
            f"INSERT INTO {qualified(schema, name)} {columns} WITH RECURSIVE n (i) AS (SELECT {after + 1}"
            f" UNION ALL SELECT i + 1 FROM n WHERE i < {upto}) SELECT /*+ SET_VAR(cte_max_recursion_depth={AT_ONCE}) */"
            f" {values} FROM n"
        )


def qualified(schema: str, name: str) -> str:
    return f"{identifier(schema)}.{identifier(name)}"


def bare_checksum(schema: str, name: str, columns: Sequence[ColumnFacts]) -> str:
    """The statement of the issue, with every column that holds a value. CONCAT_WS refuses a VECTOR: in hexadecimal."""
    shown = ", ".join(
        f"HEX({identifier(column.name)})" if column.data_type == "vector" else identifier(column.name)
        for column in columns
    )
    digest = f"HEX(BIT_XOR(UNHEX(SHA2(CONCAT_WS('#', {shown}), 256))))"
    return f"SELECT COUNT(*) AS number, {digest} AS digest FROM {qualified(schema, name)}"


def bare_read(schema: str, name: str, columns: Sequence[ColumnFacts]) -> str:
    """Reads every column, and says next to nothing of it."""

    def touched(column: ColumnFacts) -> str:
        quoted = identifier(column.name)
        if column.data_type in WHOLE or column.data_type in REALS:
            return f"SUM({quoted})"
        return f"SUM(JSON_LENGTH({quoted}))" if column.data_type == "json" else f"SUM(LENGTH({quoted}))"

    return f"SELECT COUNT(*), {', '.join(touched(column) for column in columns)} FROM {qualified(schema, name)}"


def percona_checksum(schema: str, name: str, condition: str = "1=1") -> str:
    """What pt-table-checksum 3.7.1 asks of a table like sysbench's, as ``--explain`` shows it."""
    return (
        "SELECT COUNT(*) AS cnt, COALESCE(LOWER(CONV(BIT_XOR(CAST(CRC32(CONCAT_WS('#', "
        + ("`id`, `k`, " if name != PAIR else "")
        + "convert(`c` using utf8mb4), convert(`pad` using utf8mb4))) AS UNSIGNED)), 10, 16)), 0) AS crc"
        f" FROM {qualified(schema, name)} WHERE ({condition})"
    )
