# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is connected to a server, and how one of them is ended."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import sessions
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed


class Server:
    """A session that answers with these rows, and fails with that number."""

    def __init__(self, *users: str, errno: int = 0) -> None:
        self.users = users
        self.errno = errno
        self.said: list[str] = []

    def query(self, sql: str, values: Any = (), *, within: float) -> list[dict[str, Any]]:
        return [{"id": 10 + i, "user": user, "killed": i % 2} for i, user in enumerate(self.users)]

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self.said.append(sql)
        if self.errno:
            raise StatementFailed("sql_error", "no", errno=self.errno)


def test_the_server_s_own_threads_are_no_clients() -> None:
    server: Any = Server("app", "app", "system user", "event_scheduler", "mysql.session", "unauthenticated user")
    assert sessions.clients(server, within=1.0) == [
        sessions.Client(10, "app", False),
        sessions.Client(11, "app", True),
    ]


@pytest.mark.parametrize(("errno", "came"), [(0, "ended"), (1094, "gone"), (1095, "refused")])
def test_what_becomes_of_a_session_that_is_to_end(errno: int, came: str) -> None:
    server: Any = Server(errno=errno)
    assert sessions.end(server, 12, within=1.0) == came
    assert server.said == ["KILL CONNECTION 12"]


def test_another_error_is_not_swallowed() -> None:
    server: Any = Server(errno=1227)
    with pytest.raises(StatementFailed):
        sessions.end(server, 12, within=1.0)
