# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server computes as a row's digest tells rows apart that a checker may take for the same."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

import pytest
import scratch
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import canonical
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.barrier import reading
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import (
    COLUMNS,
    UNIQUE_KEYS,
    Layout,
    layout_difference,
    layout_of,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.lookup import Range
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Named, Table
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login, Session, StatementFailed
from ansible_collections.lossless.mysql_ha.tests.integration.consistency.collisions import LAYOUTS, PAIRS, Pair
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.row_text import parse, text

SCHEMA = "collisions"
WITHIN = 20.0
CHARSETS = {"utf-8": "utf8mb4", "utf-16-be": "utf16", "latin-1": "latin1"}


@contextmanager
def opened(server: scratch.Server, name: str) -> Iterator[Session]:
    login = Login("root", "", ca=str(server.farm.files / "ca.pem"))
    session = Session.connect(name, server.address, 33062, login, within=5.0)
    try:
        yield session
    finally:
        session.close()


@pytest.fixture(scope="module")
def server(farm: scratch.Farm) -> scratch.Server:
    made = farm.fresh(1)[0]
    made.sql("SET GLOBAL super_read_only=OFF", "SET GLOBAL read_only=OFF", f"CREATE DATABASE {SCHEMA}")
    return made


@pytest.fixture(scope="module")
def session(server: scratch.Server) -> Iterator[Session]:
    """It reads as a comparison does, and also writes zero dates and what no member of an ENUM is."""
    with opened(server, "s") as made:
        made.execute(f"USE {SCHEMA}", within=WITHIN)
        with reading(made, statement=WITHIN):
            yield made


def make(session: Session, name: str, columns: str, *rows: str) -> None:
    session.execute(f"DROP TABLE IF EXISTS {name}", within=WITHIN)
    session.execute(f"CREATE TABLE {name} ({columns})", within=WITHIN)
    for row in rows:
        session.execute(f"INSERT INTO {name} ({names(columns)}) VALUES ({row})", within=WITHIN)


def names(columns: str) -> str:
    """The columns' names, for an INSERT that names invisible ones too."""
    depth, parts, at = 0, [], 0
    for place, letter in enumerate(columns):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            parts.append(columns[at:place])
            at = place + 1
    return ", ".join(part.split()[0] for part in [*parts, columns[at:]])


def layout(session: Session, name: str) -> Layout:
    found = layout_of(
        session.query(COLUMNS, (SCHEMA, name), within=WITHIN), session.query(UNIQUE_KEYS, (SCHEMA, name), within=WITHIN)
    )
    assert found is not None
    return found


def value(session: Session, expression: str, name: str) -> Any:
    return session.one(f"SELECT {expression} AS v FROM {name}", within=WITHIN)["v"]


def naive(session: Session, name: str) -> str:
    shown = [column["Field"] for column in session.query(f"SHOW COLUMNS FROM {name}", within=WITHIN)
             if "INVISIBLE" not in column["Extra"]]  # fmt: skip
    try:
        return str(value(session, f"SHA2(CONCAT_WS('#', {', '.join(shown)}), 256)", name))
    except StatementFailed as error:
        # It takes no VECTOR, and no letter that another column's character set lacks.
        assert error.errno in (1210, 3854), error
        return f"no answer for {name}"


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_pair_of_rows_is_told_apart(session: Session, pair: Pair) -> None:
    make(session, "one", pair.columns, pair.one)
    make(session, "other", pair.columns, pair.other)
    facts = layout(session, "one")
    assert facts == layout(session, "other")
    compared = canonical.compared(facts)
    assert value(session, canonical.digest(compared), "one") != value(session, canonical.digest(compared), "other")
    assert (naive(session, "one") == naive(session, "other")) == pair.missed
    differ = [
        column.name
        for column in compared
        if value(session, canonical.column_digest(column), "one")
        != value(session, canonical.column_digest(column), "other")
    ]
    assert differ


@pytest.mark.parametrize(("name", "one", "other"), LAYOUTS, ids=[name for name, _one, _other in LAYOUTS])
def test_tables_that_are_not_the_same_are_told_apart(session: Session, name: str, one: str, other: str) -> None:
    make(session, "one", one)
    make(session, "other", other)
    assert layout_difference(layout(session, "one"), layout(session, "other"))[0] == "columns"


def test_rows_that_are_there_twice_do_not_cancel_each_other(session: Session) -> None:
    make(session, "one", "a INT NOT NULL", "1", "1", "3")
    make(session, "other", "a INT NOT NULL", "2", "2", "3")
    compared = canonical.compared(layout(session, "one"))
    plain, whole = (
        [session.one(f"SELECT {canonical.aggregate(compared, multiset=multiset)} FROM {name}", within=WITHIN)
         for name in ("one", "other")]
        for multiset in (False, True)
    )  # fmt: skip
    assert plain[0] == plain[1], "the exclusive or alone does not see it"
    assert whole[0] != whole[1]


def test_a_timestamp_is_the_same_in_every_time_zone(server: scratch.Server, session: Session) -> None:
    make(session, "one", "a TIMESTAMP NOT NULL", "'2026-06-01 12:00:00'")
    digest = canonical.digest(canonical.compared(layout(session, "one")))
    with opened(server, "far") as far:
        far.execute(f"USE {SCHEMA}", within=WITHIN)
        far.execute("SET time_zone = '+09:00'", within=WITHIN)
        assert value(far, digest, "one") != value(session, digest, "one")
        with reading(far, statement=WITHIN):
            assert value(far, digest, "one") == value(session, digest, "one")


def test_a_session_that_shows_some_rows_only_shows_all(server: scratch.Server, session: Session) -> None:
    make(session, "one", "a INT PRIMARY KEY", *map(str, range(9)))
    table = Table(Named(SCHEMA, "one"), layout(session, "one"))
    question = table.rows_at([(number,) for number in range(9)])
    with opened(server, "few") as few:
        few.execute("SET sql_select_limit = 2", within=WITHIN)
        assert len(few.query(*question, within=WITHIN)) == 2
        with reading(few, statement=WITHIN):
            assert len(few.query(*question, within=WITHIN)) == 9


def test_what_is_larger_than_a_server_may_build_is_an_error(server: scratch.Server, session: Session) -> None:
    """NULL would be left out of a range's digest; a JSON text that is too large comes back empty."""
    make(session, "one", "a JSON NOT NULL, b MEDIUMTEXT NOT NULL")
    limit = int(value(session, "@@max_allowed_packet", "DUAL"))
    asked = canonical.aggregate(canonical.compared(layout(session, "one")))
    for letters in ("x", "y"):
        filled = f"JSON_ARRAY(REPEAT(CHAR(1 USING utf8mb4), {limit // 5}), '{letters}'), ''"
        session.execute("DELETE FROM one", within=WITHIN)
        session.execute(f"INSERT INTO one VALUES ({filled})", within=WITHIN)
        with pytest.raises(StatementFailed, match="larger than max_allowed_packet"):
            session.one(f"SELECT {asked} FROM one", within=WITHIN)
    large = f"SHA2(CONCAT_WS(_binary'#', REPEAT('a', {limit - 10}), REPEAT('b', {limit - 10})), 256)"
    assert value(session, large, "DUAL") is None


def test_a_bound_that_is_no_text_is_an_error(session: Session) -> None:
    """Converted it would be NULL, and NULL finds nothing on either server."""
    make(session, "one", "a VARCHAR(9) CHARACTER SET utf8mb4 PRIMARY KEY", "'a'")
    table = Table(Named(SCHEMA, "one"), layout(session, "one"))
    assert len(session.query(*table.rows_at([(b"a",)]), within=WITHIN)) == 1
    with pytest.raises(StatementFailed) as caught:
        session.query(*table.rows_at([(b"\xff",)]), within=WITHIN)
    assert caught.value.errno == 1300


def test_what_a_server_does_not_show_of_json_is_known(session: Session) -> None:
    """A limit: of JSON only its text can be asked for, and a date in it shows as a text does."""
    make(session, "one", "a JSON NOT NULL", "CAST(CAST('2026-01-01' AS DATE) AS JSON)")
    make(session, "other", "a JSON NOT NULL", "JSON_QUOTE('2026-01-01')")
    digest = canonical.digest(canonical.compared(layout(session, "one")))
    assert value(session, "JSON_TYPE(a)", "one") != value(session, "JSON_TYPE(a)", "other")
    assert value(session, digest, "one") == value(session, digest, "other")


def literal(said: Optional[bytes], what: str) -> str:
    if said is None:
        return "NULL"
    if what == "real":
        return f"{struct.unpack('<IBI2d', said)[3]:.17e}"
    if what in ("number", "bytes"):
        return said.decode() if what == "number" else f"x'{said.hex()}'"
    return f"_{CHARSETS[what]} x'{said.hex()}'"


@pytest.mark.parametrize("with_bytes", [True, False])
def test_a_server_builds_the_text_as_the_model_does(session: Session, with_bytes: bool) -> None:
    """So the proof that it can be taken apart again (tests/unit/consistency/test_canonical.py) holds for servers."""
    kinds = [
        ("VARBINARY(40)", "bytes"),
        ("BIGINT", "number"),
        ("LONGBLOB", "bytes"),
        ("VARCHAR(40) CHARACTER SET utf8mb4", "utf-8"),
        ("VARCHAR(40) CHARACTER SET utf16", "utf-16-be"),
        ("VARCHAR(40) CHARACTER SET latin1", "latin-1"),
        ("DOUBLE", "real"),
    ]
    if not with_bytes:
        kinds = [kind for kind in kinds if kind[1] != "bytes"]
    columns = [(f"c{number}", *kinds[number % len(kinds)], number % 3 != 0) for number in range(200)]
    table = ", ".join(f"{name} {kind}{'' if nullable else ' NOT NULL'}" for name, kind, _what, nullable in columns)
    dice = random.Random(17)
    for _row in range(10):
        row: list[Optional[bytes]] = []
        for _name, _kind, what, nullable in columns:
            if nullable and dice.random() < 0.5:
                row.append(None)
            elif what == "number":
                row.append(str(dice.randrange(-(1 << 63), 1 << 63)).encode())
            elif what == "real":
                row.append(struct.pack("<IBI2d", 0, 1, 1, dice.choice([0.1, -0.0, 1e300, dice.random()]), 0.0))
            elif what == "bytes":
                row.append(bytes(dice.choice(b"#0a\xff") for _place in range(dice.randrange(6))))
            else:
                row.append("".join(dice.choice("#0aé ") for _place in range(dice.randrange(6))).encode(what))
        shown = [literal(said, what) for said, (_name, _kind, what, _null) in zip(row, columns, strict=True)]
        make(session, "one", table, ", ".join(shown))
        facts = canonical.compared(layout(session, "one"))
        built = bytes.fromhex(value(session, f"HEX({canonical.text(facts)})", "one"))
        assert built == text(facts, row)
        assert parse(facts, built) == row


def test_a_range_of_a_composite_key_reads_no_other_rows(session: Session) -> None:
    make(session, "one", "a INT NOT NULL, b VARCHAR(9) NOT NULL, c INT NOT NULL, PRIMARY KEY (a, b, c)")
    rows = ", ".join(f"(1, 'b{number % 2}', {number})" for number in range(2000))
    session.execute(f"INSERT INTO one VALUES {rows}", within=WITHIN)
    table = Table(Named(SCHEMA, "one"), layout(session, "one"))
    bounds = [
        table.key_of(session.one(*table.boundary(Range(None, None), number), within=WITHIN)) for number in (900, 950)
    ]
    session.execute("FLUSH STATUS", within=WITHIN)
    assert session.one(*table.aggregate(Range(bounds[0], bounds[1])), within=WITHIN)["number"] == 50
    read = session.query("SHOW SESSION STATUS LIKE 'Handler_read%'", within=WITHIN)
    assert sum(int(row["Value"]) for row in read) < 100
