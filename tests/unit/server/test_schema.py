# SPDX-License-Identifier: GPL-3.0-or-later
"""Our own rows, written and read back without a server."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import schema
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed
from ansible_collections.lossless.mysql_ha.tests.unit.topology.situations import beat, term, uuid


class Writing:
    """A session that keeps what was written; a statement with ``fails`` in it fails, and may break the connection."""

    def __init__(self, fails: str = "", *, usable: bool = True) -> None:
        self.fails = fails
        self.usable = usable
        self.statements: list[tuple[str, Sequence[Any], float]] = []

    def execute(self, sql: str, values: Sequence[Any] = (), *, within: float, secret: bool = False) -> None:
        self.statements.append((sql, values, within))
        if self.fails and self.fails in sql:
            raise StatementFailed("sql_error", "duplicate", errno=1062)

    @property
    def inserted(self) -> dict[str, Any]:
        sql, values, _within = next(each for each in self.statements if each[0] == schema.INSERT_TERM)
        return dict(zip(columns(sql), values, strict=True))


def columns(insert: str) -> list[str]:
    match = re.search(r"\(([^)]*)\)", insert)
    assert match
    return [name.strip() for name in match.group(1).split(",")]


def test_a_term_is_read_back_as_it_was_written() -> None:
    row = dataclasses.replace(
        term(4, 2), acknowledgement="memory", no_tx_base=3, proof="unproven", run_id="r-1", reason="planned: a to b"
    )
    session = Writing()
    schema.write_term(session, row, within=2.5)  # type: ignore[arg-type]
    assert {within for _sql, _values, within in session.statements} == {2.5}
    assert schema.term_from_row({**session.inserted, "written_at": "0"}) == row
    assert set(session.inserted) | {"written_at"} == {field.name for field in dataclasses.fields(row)}


def test_a_term_begins_with_its_own_testimony_in_one_transaction() -> None:
    session = Writing()
    schema.write_term(session, term(term=7), within=1.0)  # type: ignore[arg-type]
    statements = [sql for sql, _values, _within in session.statements]
    assert statements == ["START TRANSACTION", schema.INSERT_TERM, schema.WRITE_HEARTBEAT, "COMMIT"]
    assert tuple(session.statements[2][1]) == (7,)


@pytest.mark.parametrize("fails", ["lossless_ha.term", "lossless_ha.heartbeat"])
def test_half_a_term_is_rolled_back(fails: str) -> None:
    session = Writing(fails)
    with pytest.raises(StatementFailed):
        schema.write_term(session, term(), within=1.0)  # type: ignore[arg-type]
    assert session.statements[-1][0] == "ROLLBACK"
    assert "COMMIT" not in [sql for sql, _values, _within in session.statements]


def test_on_a_broken_connection_nothing_is_said_any_more() -> None:
    session = Writing("lossless_ha.term", usable=False)
    with pytest.raises(StatementFailed):
        schema.write_term(session, term(), within=1.0)  # type: ignore[arg-type]
    assert session.statements[-1][0] == schema.INSERT_TERM


def test_members_of_an_older_row_get_what_is_new_by_default() -> None:
    """A field that a later version adds is absent in rows that are there already."""
    session = Writing()
    schema.write_term(session, term(), within=1.0)  # type: ignore[arg-type]
    written = session.inserted
    written["members"] = '[{"name": "db1", "host": "10.0.0.1", "later": 1}]'
    (member,) = schema.term_from_row({**written, "written_at": "0"}).members
    assert (member.name, member.host, member.acknowledges, member.priority) == ("db1", "10.0.0.1", True, 100)


def test_a_heartbeat_is_read_as_it_stands() -> None:
    given = beat(term(), source_active=False)
    row = {**dataclasses.asdict(given), "source_active": 0, "written_at": str(given.written_at)}
    assert schema.heartbeat_from_row(row) == given


def test_a_heartbeat_says_of_itself_what_the_same_statement_commits() -> None:
    session = Writing()
    schema.write_heartbeat(session, 7, within=1.0)  # type: ignore[arg-type]
    ((sql, values, _within),) = session.statements
    assert tuple(values) == (7,)
    assert columns(sql) == [field.name for field in dataclasses.fields(beat(term()))]


def test_a_revision_follows_the_one_before() -> None:
    row = dataclasses.replace(term(), revision=4, written_at=9.0)
    revised = schema.revised(row, k=2, primary_uuid=uuid(2))
    assert (revised.revision, revised.term, revised.k, revised.primary_uuid) == (5, row.term, 2, uuid(2))
    assert revised.written_at == 0.0


def test_creating_what_is_there_is_harmless() -> None:
    session = Writing()
    schema.create(session, within=1.0)  # type: ignore[arg-type]
    assert len(session.statements) == 1 + len(schema.TABLES)
    assert all("IF NOT EXISTS" in sql for sql, _values, _within in session.statements)
