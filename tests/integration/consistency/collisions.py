# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of rows that a checker may take for the same, and which of them the usual one does.

``missed``: SHA2(CONCAT_WS('#', ...)) over the columns of SELECT * is the same for both.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Pair:
    """:param columns: of the table. ``one``, ``other``: the values of the rows, as SQL."""

    name: str
    columns: str
    one: str
    other: str
    missed: bool = False


TWO = "a VARCHAR(20) NOT NULL, b VARCHAR(20) NOT NULL"
TWO_NULL = "a VARCHAR(20), b VARCHAR(20)"


def text(collation: str) -> str:
    return f"a VARCHAR(20) COLLATE {collation} NOT NULL"


PAIRS = (
    Pair("the separator within a value", TWO, "'a#b', 'c'", "'a', 'b#c'", missed=True),
    Pair("separators only", "a TEXT NOT NULL, b TEXT NOT NULL", "'#', ''", "'', '#'", missed=True),
    Pair("a value like a length", "a BLOB NOT NULL, b BLOB NOT NULL", "'1#1', ''", "'', '1#1'"),
    Pair("columns swapped", TWO, "'a', 'b'", "'b', 'a'"),
    Pair("NULL and the empty text", "a VARCHAR(20)", "NULL", "''", missed=True),
    Pair("NULL and the word", "a VARCHAR(20)", "NULL", "'NULL'"),
    Pair("NULL in the other column", TWO_NULL, "NULL, 'x'", "'x', NULL", missed=True),
    Pair("NULL and empty, swapped", TWO_NULL, "NULL, ''", "'', NULL", missed=True),
    Pair("zero and the empty text", "a VARCHAR(20) NOT NULL", "'0'", "''"),
    Pair("zero and NULL", "a INT, b INT", "0, NULL", "NULL, 0", missed=True),
    Pair("FLOAT zero and NULL", "a FLOAT, b FLOAT", "0.0, NULL", "NULL, 0.0", missed=True),
    Pair("the lowest bit of a FLOAT", "a FLOAT NOT NULL", "0.1", "0.100000009", missed=True),
    Pair("a FLOAT of seven digits", "a FLOAT NOT NULL", "16777216", "16777214", missed=True),
    Pair("the lowest bit of a DOUBLE", "a DOUBLE NOT NULL", "0.1e0", "0.10000000000000002e0"),
    Pair(
        "the lowest bit of a DOUBLE beside a text",
        "a DOUBLE NOT NULL, b VARCHAR(9) NOT NULL",
        "0.1e0, 'x'",
        "0.10000000000000002e0, 'x'",
    ),
    Pair(
        "letters that another character set lacks",
        "a VARCHAR(9) CHARACTER SET gbk NOT NULL, b VARCHAR(9) CHARACTER SET utf8mb4 NOT NULL",
        "_gbk x'a2ab', 'x'",
        "_gbk x'a140', 'x'",
    ),
    Pair("minus zero", "a DOUBLE NOT NULL", "-0e0", "0e0"),
    Pair("minus zero, FLOAT", "a FLOAT NOT NULL", "-0e0", "0e0"),
    Pair("the smallest DOUBLE and zero", "a DOUBLE NOT NULL", "4.9406564584124654e-324", "0e0"),
    Pair("a space at the end, NO PAD", text("utf8mb4_0900_ai_ci"), "'a'", "'a '"),
    Pair("a space at the end, PAD SPACE", text("utf8mb4_general_ci"), "'a'", "'a '"),
    Pair("case alone", text("utf8mb4_0900_ai_ci"), "'a'", "'A'"),
    Pair("an accent alone", text("utf8mb4_0900_ai_ci"), "'e'", "'é'"),
    Pair("composed and decomposed", text("utf8mb4_0900_ai_ci"), "'é'", "CONCAT('e', _utf8mb4 x'cc81')"),
    Pair("bytes that are no text", "a BLOB NOT NULL", "x'ff'", "x'fe'"),
    Pair("a byte zero at the end", "a VARBINARY(9) NOT NULL", "'a'", "x'6100'"),
    Pair("a byte zero in the middle", "a VARCHAR(9) NOT NULL", "'ab'", "CONCAT('a', x'00', 'b')"),
    Pair("BIT", "a BIT(8) NOT NULL", "b'0'", "b'1'"),
    Pair("BIT(64), its highest bit", "a BIT(64) NOT NULL", "~0", "~0 >> 1"),
    Pair("a BIT that is the separator", "a BIT(8), b BIT(8), c BIT(8)", "35, 35, NULL", "35, NULL, 35", missed=True),
    Pair("ENUM, an invalid value and the empty one", "a ENUM('', 'x') NOT NULL", "'nothing'", "''", missed=True),
    Pair("ENUM of digits", "a ENUM('2', '1') NOT NULL", "'1'", "1"),
    Pair("SET", "a SET('a', 'b') NOT NULL", "'a'", "'a,b'"),
    Pair("SET, its 64th member", f"a SET({', '.join(f'{n!r}' for n in map(str, range(64)))}) NOT NULL", "'63'", "'0'"),
    Pair("JSON, a whole number and a real one", "a JSON NOT NULL", "'1'", "'1.0'"),
    Pair("JSON, a number and a text", "a JSON NOT NULL", "'1'", "'\"1\"'"),
    Pair("JSON null and NULL", "a JSON", "'null'", "NULL"),
    Pair("JSON, deep inside", "a JSON NOT NULL", '\'{"a": [1, {"b": 1}]}\'', '\'{"a": [1, {"b": 2}]}\''),
    Pair("the zero date and NULL", "a DATE, b DATE", "'0000-00-00', NULL", "NULL, '0000-00-00'", missed=True),
    Pair("impossible dates", "a DATE NOT NULL", "'2026-02-30'", "'2026-02-31'"),
    Pair("a date without a day", "a DATE NOT NULL", "'2026-02-00'", "'2026-00-00'"),
    Pair("microseconds", "a DATETIME(6) NOT NULL", "'2026-01-01 00:00:00.000001'", "'2026-01-01 00:00:00.000002'"),
    Pair("TIMESTAMP, an hour", "a TIMESTAMP NOT NULL", "'2026-01-01 00:00:00'", "'2026-01-01 01:00:00'"),
    Pair("TIME, its sign", "a TIME(3) NOT NULL", "'-00:00:00.001'", "'00:00:00.001'"),
    Pair("YEAR zero and 2000", "a YEAR NOT NULL", "0", "2000"),
    Pair(
        "the last digit of a DECIMAL",
        "a DECIMAL(65, 30) NOT NULL",
        "'12345678901234567890123456789012345.000000000000000000000000000001'",
        "'12345678901234567890123456789012345.000000000000000000000000000002'",
    ),
    Pair("BIGINT, beyond a double", "a BIGINT UNSIGNED NOT NULL", "18446744073709551615", "18446744073709551614"),
    Pair("the SRID of a point", "a POINT NOT NULL", "POINT(1, 2)", "ST_SRID(POINT(1, 2), 3857)"),
    Pair("the axes of a point", "a POINT NOT NULL", "ST_SRID(POINT(1, 2), 4326)", "ST_SRID(POINT(2, 1), 4326)"),
    Pair("a polygon, its last bit", "a GEOMETRY NOT NULL", "LINESTRING(POINT(0, 0), POINT(0.1, 1))",
         "LINESTRING(POINT(0, 0), POINT(0.10000000000000002, 1))"),
    Pair("VECTOR, its lowest bit", "a VECTOR(2) NOT NULL", "TO_VECTOR('[0.1, 2]')", "TO_VECTOR('[0.100000009, 2]')"),
    Pair("an invisible column", "a INT NOT NULL, b INT NOT NULL INVISIBLE", "1, 2", "1, 3", missed=True),
    Pair("a stored generated column", "a INT NOT NULL, g INT AS (a DIV 2) STORED", "2, DEFAULT", "4, DEFAULT"),
    Pair("a virtual generated column", "a INT NOT NULL, g INT AS (a DIV 2) VIRTUAL", "2, DEFAULT", "3, DEFAULT"),
    Pair("a large text", "a LONGTEXT NOT NULL, b LONGTEXT NOT NULL", "'a#b', 'c'", "'a', 'b#c'", missed=True),
    Pair(
        "texts of three character sets",
        "a VARCHAR(9) CHARACTER SET utf16 NOT NULL, b VARCHAR(9) CHARACTER SET latin1 NOT NULL,"
        " c VARCHAR(9) CHARACTER SET utf8mb4 NOT NULL",
        "'é', 'e', 'é#'",
        "'é', 'e#é', ''",
        missed=True,
    ),
    Pair(
        "a separator beside UTF-16",
        "a VARCHAR(9) CHARACTER SET utf16 NOT NULL, b VARCHAR(9) CHARACTER SET utf16 NOT NULL",
        "'a#b', 'c'",
        "'a', 'b#c'",
        missed=True,
    ),
    Pair("the 61st of many that may be NULL", ", ".join(f"n{n} TINYINT" for n in range(62)),
         ", ".join(["NULL"] * 60 + ["5", "NULL"]), ", ".join(["NULL"] * 61 + ["5"]), missed=True),
    Pair("the 300th of many that may be NULL", ", ".join(f"n{n} TINYINT" for n in range(302)),
         ", ".join(["NULL"] * 300 + ["5", "NULL"]), ", ".join(["NULL"] * 301 + ["5"]), missed=True),
)  # fmt: skip

LAYOUTS = (
    ("the same text in another character set", "a VARCHAR(9) CHARACTER SET utf16", "a VARCHAR(9) CHARACTER SET latin1"),
    ("the same number with another scale", "a DECIMAL(5, 1)", "a DECIMAL(5, 2)"),
    ("another collation", "a VARCHAR(9) COLLATE utf8mb4_bin", "a VARCHAR(9) COLLATE utf8mb4_0900_bin"),
    ("members in another order", "a ENUM('x', 'y')", "a ENUM('y', 'x')"),
    ("signed and unsigned", "a INT", "a INT UNSIGNED"),
    ("may be NULL", "a INT", "a INT NOT NULL"),
    ("columns in another order", "a INT, b INT", "b INT, a INT"),
)
"""Tables whose rows may show the same and are not compared, because they are not the same tables."""
