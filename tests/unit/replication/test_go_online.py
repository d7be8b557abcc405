# SPDX-License-Identifier: GPL-3.0-or-later
"""Lifting a fence: every guard, on the connection that acts, each of which must be able to stop it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.procedure import Means, Procedure
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.steps import GoOnline
from world import lossless, uuid, wish


class Server:
    """Both what a pool gives and what it gives it for. It says what its fields say."""

    def __init__(self, number: int) -> None:
        self.name = f"s{number}"
        self.uuid = uuid(number)
        self.read_only = self.super_read_only = 1
        self.receiver, self.source, self.revision = "ON", uuid(1), 1
        self.said: list[str] = []

    def session(self, name: str) -> Server:
        assert name == self.name
        return self

    def one(self, sql: str, values: Any = (), *, within: float) -> dict[str, Any]:
        return {
            "server_uuid": self.uuid.upper(),
            "read_only": self.read_only,
            "super_read_only": self.super_read_only,
            "host": "h1",
            "receiver": self.receiver,
            "source_uuid": self.source,
            "applier": "ON",
            "executed": "",
            "tables": 1,
            "revision": self.revision,
        }

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self.said.append(sql)


def lift(server: Server, number: int, **fields: Any) -> None:
    world = lossless(3)
    world.hosts[number].offline = True
    world.hosts[number].writable = False
    for name, value in fields.items():
        setattr(server, name, value)
    wanted = wish((1, 2, 3))
    procedure = Procedure(server, wanted, Means())  # type: ignore[arg-type]
    procedure.do(GoOnline(server.name, uuid(number), "s1"), world.look(wanted))


@pytest.mark.parametrize("number", [1, 2])
def test_a_closed_server_is_let_go(number: int) -> None:
    server = Server(number)
    lift(server, number)
    assert server.said == ["SET GLOBAL offline_mode = OFF"]


@pytest.mark.parametrize(
    ("number", "fields", "code"),
    [
        (2, {"uuid": uuid(3)}, "another_server"),
        (2, {"super_read_only": 0}, "server_is_writable"),
        (2, {"receiver": "CONNECTING"}, "situation_changed"),
        (2, {"source": uuid(3)}, "situation_changed"),
        (2, {"source": ""}, "situation_changed"),
        (1, {"uuid": uuid(2)}, "another_server"),
        (1, {"read_only": 0, "super_read_only": 0}, "situation_changed"),
        (1, {"revision": 2}, "situation_changed"),
    ],
)
def test_what_changed_meanwhile_stops_it(number: int, fields: dict[str, Any], code: str) -> None:
    server = Server(number)
    with pytest.raises(HaError) as caught:
        lift(server, number, **fields)
    assert caught.value.code == code
    assert server.said == []
