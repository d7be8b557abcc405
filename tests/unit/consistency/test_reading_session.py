# SPDX-License-Identifier: GPL-3.0-or-later
"""How a session reads while tables are compared; and rows that are asked for by a whole number."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.statement_names import Named
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.barrier import prepare, reading
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.canonical import LARGEST_TEXT
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import Layout
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Table
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import KEYED, column


class Server:
    name = "r1"

    def __init__(self, packet: int, fails_at: int = 0) -> None:
        self.packet = packet
        self.fails_at = fails_at
        self.usable = True
        self.said: list[tuple[Any, ...]] = []

    def close(self) -> None:
        self.usable = False

    def one(self, sql: str, values: Any = (), *, within: float) -> dict[str, Any]:
        shown = [part.rpartition(" AS ")[2] for part in sql[len("SELECT ") :].split(", ")]
        return {name: self.packet if name == "packet" else f"own {name}" for name in shown}

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self.said.append(tuple(values))
        if len(self.said) == self.fails_at:
            raise StatementFailed("sql_error", "no", errno=1231)


def test_a_session_reads_in_one_way_and_gets_its_own_back() -> None:
    server: Any = Server(2 * LARGEST_TEXT)
    with reading(server, statement=10.0):
        assert "+00:00" in server.said[0] and 9000 in server.said[0]
    assert all(str(value).startswith("own ") for value in server.said[1]) and len(server.said) == 2


def test_a_server_that_may_show_nothing_of_a_text_is_refused() -> None:
    """Below max_allowed_packet a JSON text of that size is shown as an empty one, on both servers alike."""
    server: Any = Server(2 * LARGEST_TEXT - 1)
    with pytest.raises(HaError) as caught, reading(server, statement=10.0):
        raise AssertionError("it reads all the same")
    assert caught.value.code == "packet_too_small" and server.said == []
    with pytest.raises(HaError, match="max_allowed_packet"):
        prepare(server, statement=10.0)
    assert server.said == [] and server.usable


def test_a_session_that_does_not_get_its_own_back_is_closed_and_what_was_found_stays() -> None:
    server: Any = Server(2 * LARGEST_TEXT, fails_at=2)
    with reading(server, statement=10.0):
        pass
    assert not server.usable


def test_rows_with_a_whole_number_are_asked_for_in_one_list() -> None:
    sql, values = Table(Named("s", "t"), KEYED).rows_at([(5,), (-7,)])
    assert sql.endswith("WHERE `id` IN (%s, %s)") and values == (5, -7)


@pytest.mark.parametrize(
    ("layout", "key", "said"),
    [
        (Layout((column("a"), column("b")), (("a", "b"),)), (1, 2), "(`a` = %s AND `b` = %s)"),
        (Layout((column("d", "decimal"),), (("d",),)), ("1.5",), "(`d` = %s)"),
    ],
)
def test_other_rows_are_asked_for_one_by_one(layout: Layout, key: tuple[Any, ...], said: str) -> None:
    sql, _values = Table(Named("s", "t"), layout).rows_at([key, key])
    assert sql.endswith(f"WHERE {said} OR {said}")
