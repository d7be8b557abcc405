# SPDX-License-Identifier: GPL-3.0-or-later
"""What a primary is at, from what it answers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.activity import activity
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.window import Transaction
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError

OWN = 7


def trx(session: int, *, written: int = 1, reader: int = 0, number: int = 1500, began: int = 100) -> dict[str, Any]:
    shown = "2026-11-28 02:03:25"
    told = {"written": written, "reader": reader, "shown": shown, "began": began}
    return {"id": number, "session": session, "own": int(session == OWN), **told}


class Server:
    """Answers; ``stale``: how often INNODB_TRX comes from before our transaction."""

    name = "db1"
    usable = True

    def __init__(self, statements: list[tuple[int, int]], rows: list[dict[str, Any]], *, stale: int = 0) -> None:
        self.statements = [{"session": OWN, "own": 1, "began": 999}]
        self.statements += [{"session": session, "own": 0, "began": began} for session, began in statements]
        self.rows = rows
        self.stale = stale
        self.log: list[str] = []

    def one(self, sql: str, values: Any = (), *, within: float) -> dict[str, Any]:
        self.log.append("now")
        return {"server": "3e11fa47-71ca-11e1-9e33-c80aa9429562", "now": 1_000_000_123}

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self.log.append(sql.split()[0].lower())

    def query(self, sql: str, values: Any = (), *, within: float) -> list[dict[str, Any]]:
        if "performance_schema.threads" in sql:
            self.log.append("statements")
            return self.statements
        self.log.append("transactions")
        self.stale -= 1
        return self.rows if self.stale >= 0 else [*self.rows, trx(OWN, written=0, reader=1)]


def seen(server: Server) -> Any:
    return activity(server, within=1.0, sleep=lambda _seconds: server.log.append("slept"))  # type: ignore[arg-type]


def test_nothing_is_open() -> None:
    server = Server([], [])
    found = seen(server)
    assert (found.now, found.statement, found.transactions) == (1_000_000_123, None, ())
    # The clock first: what begins after it has a later date. The transactions last: statements may become some.
    assert server.log == ["now", "statements", "set", "start", "transactions", "rollback"]


def test_writers_count_and_readers_do_not() -> None:
    rows = [trx(1), trx(2, written=0), trx(3, written=0, reader=1), trx(0, number=99)]
    found = seen(Server([(2, 500), (3, 10), (4, 700)], rows))
    assert found.statement == 500_000_000, "the dump of session 3 keeps nothing open"
    assert found.transactions == (
        Transaction("3e11fa47:1@2026-11-28 02:03:25", 100_000_000, False),
        Transaction("3e11fa47:x99", 100_000_000, True),
    )


def test_a_cached_answer_is_not_believed() -> None:
    server = Server([], [trx(1)], stale=3)
    assert len(seen(server).transactions) == 1 and server.log.count("slept") == 3
    with pytest.raises(HaError, match="cache") as caught:
        seen(Server([], [], stale=1000))
    assert caught.value.code == "activity_unknown"


def test_a_server_that_hides_its_statements_is_not_believed() -> None:
    server = Server([], [])
    server.statements = []
    with pytest.raises(HaError) as caught:
        seen(server)
    assert caught.value.code == "activity_unknown"
