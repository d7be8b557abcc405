# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping a replica and waiting for one: the guard that keeps writes from hanging, and waits that have an end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication import repoint
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.procedure import Means, Procedure
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.steps import StopThreads, WaitReceived
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.dialect import Dialect
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed
from world import lossless, uuid, wish

MEANS = Means(statement=1.0, connect=0.2, stall=0.2, receive_within=5.0)


class Server:
    """A primary or a replica of the simulated cluster; it says what its fields say, and stops what it is told to."""

    version = "9.7.4"
    dialect = Dialect((9, 7, 4))

    def __init__(self, number: int) -> None:
        self.name = f"s{number}"
        self.uuid = uuid(number)
        self.closed = number != 1
        self.threads = {"IO_THREAD": "ON", "SQL_THREAD": "ON"}
        self.slow = 0
        """The error of a thread that takes its time to stop."""
        self.clients, self.revision = 3, 1
        self.retrieved = self.executed = ""
        self.said: list[str] = []

    def one(self, sql: str, values: Any = (), *, within: float) -> dict[str, Any]:
        return {
            "server_uuid": self.uuid,
            "read_only": self.closed,
            "super_read_only": self.closed,
            "value": self.clients,
            "host": "h1",
            "receiver": self.threads["IO_THREAD"],
            "applier": self.threads["SQL_THREAD"],
            "source_uuid": uuid(1),
            "retrieved": self.retrieved,
            "executed": self.executed,
            "tables": 1,
            "revision": self.revision,
        }

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self.said.append(sql)
        self.threads[sql.split()[2]] = "OFF"
        if self.slow:
            raise StatementFailed("sql_error", "it takes its time", errno=self.slow)


class Farm:
    def __init__(self) -> None:
        self.servers = {f"s{n}": Server(n) for n in (1, 2, 3, 4)}

    def session(self, name: str) -> Server:
        return self.servers[name]


def stop(farm: Farm, clients: int) -> list[str]:
    wanted = wish((1, 2, 3, 4))
    procedure = Procedure(farm, wanted, MEANS)  # type: ignore[arg-type]
    procedure.do(StopThreads("s3", uuid(3), "s1", clients), lossless(4, 2).look(wanted))
    return farm.servers["s3"].said


STOPPED = ["STOP REPLICA SQL_THREAD FOR CHANNEL ''", "STOP REPLICA IO_THREAD FOR CHANNEL ''"]


@pytest.mark.parametrize("clients", [0, 3])
def test_both_threads_are_stopped_the_applier_first(clients: int) -> None:
    assert stop(Farm(), clients) == STOPPED


@pytest.mark.parametrize("errno", [1875, 1876])
def test_a_thread_that_takes_its_time_is_waited_for(errno: int) -> None:
    farm = Farm()
    farm.servers["s3"].slow = errno
    assert stop(farm, 0) == STOPPED


def test_any_other_error_of_stopping_is_one() -> None:
    farm = Farm()
    farm.servers["s3"].slow = 1227
    with pytest.raises(StatementFailed):
        stop(farm, 0)


@pytest.mark.parametrize(
    ("which", "fields", "code"),
    [
        ("s1", {"clients": 2}, "situation_changed"),
        ("s1", {"revision": 2}, "situation_changed"),
        ("s1", {"uuid": uuid(2)}, "another_server"),
        ("s3", {"closed": False}, "server_is_writable"),
        ("s3", {"uuid": uuid(2)}, "another_server"),
    ],
)
def test_what_changed_meanwhile_keeps_it_from_being_stopped(which: str, fields: dict[str, Any], code: str) -> None:
    farm = Farm()
    for name, value in fields.items():
        setattr(farm.servers[which], name, value)
    with pytest.raises(HaError) as caught:
        stop(farm, 3)
    assert (caught.value.code, farm.servers["s3"].said) == (code, [])


@pytest.mark.parametrize(("thread", "code"), [("IO_THREAD", "receiver_still_on"), ("SQL_THREAD", "applier_still_on")])
def test_a_thread_that_does_not_stop_is_an_error(thread: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    farm = Farm()
    server = farm.servers["s3"]
    monkeypatch.setattr(server, "execute", lambda *_given, **_more: None)
    server.threads = {"IO_THREAD": "OFF", "SQL_THREAD": "OFF", thread: "ON"}
    with pytest.raises(HaError) as caught:
        stop(farm, 0)
    assert caught.value.code == code


def test_a_server_without_a_channel_has_nothing_to_stop() -> None:
    server: Any = Server(3)
    unconfigured = {**server.one("", within=1), "host": ""}
    server.one = lambda *_given, **_more: unconfigured
    assert not repoint.stop_applier(server, within=1).configured
    assert server.said == []


# --- waiting ---------------------------------------------------------------------------------------------------------
GTIDS = GtidSet.parse(f"{uuid(1)}:1-9")


def wait(server: Server, applied: bool, means: Means = MEANS) -> None:
    farm = Farm()
    farm.servers["s3"] = server
    wanted = wish((1, 2, 3, 4))
    procedure = Procedure(farm, wanted, means)  # type: ignore[arg-type]
    procedure.do(WaitReceived("s3", uuid(3), "s1", GTIDS, applied), lossless(4, 2).look(wanted))


@pytest.mark.parametrize(("applied", "code"), [(False, ""), (True, "not_applied")])
def test_what_was_received_is_not_applied_yet(applied: bool, code: str) -> None:
    server = Server(3)
    server.retrieved = str(GTIDS)
    if not code:
        wait(server, applied)
        return
    with pytest.raises(HaError) as caught:
        wait(server, applied)
    assert caught.value.code == code
    server.executed = str(GTIDS)
    wait(server, applied)


def test_nothing_received_is_a_stall() -> None:
    with pytest.raises(HaError) as caught:
        wait(Server(3), False)
    assert caught.value.code == "not_received"
    assert "no progress" in caught.value.message


def test_a_wait_that_only_takes_too_long_ends_as_one_and_not_as_done() -> None:
    slow = Means(statement=1.0, stall=60.0, receive_within=0.2)
    with pytest.raises(HaError) as caught:
        wait(Server(3), False, slow)
    assert (caught.value.code, caught.value.next_step) == ("not_received", "Run again a little later.")
