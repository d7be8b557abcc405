# SPDX-License-Identifier: GPL-3.0-or-later
"""``mysql_topology_info`` on a real cluster, whole and hurt: what it says is what the servers say when asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import scratch
from heart import Heart
from playing import Call, play
from waiting import eventually

MODULE = "mysql_topology_info"


def seen(cluster: Any) -> dict[str, Any]:
    """What the module says. Check mode says the same, and neither reports nor makes a change."""
    before = settings(cluster)
    arguments = cluster.arguments(MODULE)
    (result, checked), _printed = play(Call(MODULE, arguments), Call(MODULE, arguments, check=True))
    assert settings(cluster) == before
    for each in (result, checked):
        assert not each["failed"] and each["changed"] is False, each
    same = ("verdict", "primary", "primary_uuid", "term", "durability", "errant")
    assert {name: result[name] for name in same} == {name: checked[name] for name in same}
    return result


def settings(cluster: Any) -> list[Any]:
    """What reading must not change. Heartbeats go on meanwhile, so GTID sets are compared by who made them."""
    return [
        [server.split(":")[0] for server in str(what[0]).split(",")] + list(what[1:])
        for what in scratch.everything([s for s in cluster.servers if s.name not in cluster.paused])
    ]


@contextmanager
def paused(cluster: Any, server: scratch.Server) -> Iterator[None]:
    """Hung: it keeps its connections and says nothing."""
    cluster.paused = {server.name}
    scratch.docker("pause", server.container)
    try:
        yield
    finally:
        scratch.docker("unpause", server.container)
        cluster.paused = set()


def test_it_says_what_the_servers_say_whole_and_hurt(lossless: Any) -> None:
    lossless.paused = set()
    s1, s2, s3 = lossless.servers
    number = int(s1.value("(SELECT MAX(term) FROM lossless_ha.term)"))
    heart = Heart(lossless, 1, number)
    try:
        whole(lossless, seen(lossless), number)

        s2.sql("STOP REPLICA")
        hurt = seen(lossless)
        assert hurt["verdict"] == "lossless_at_risk"
        assert hurt["servers"]["s2"]["verdict"] == "replica_stopped"
        assert any("s2" in reason for reason in hurt["reasons"])
        assert hurt["servers"]["s2"]["lag_s"] > hurt["servers"]["s3"]["lag_s"]
        s2.sql("START REPLICA")
        eventually(lambda: s1.status("Rpl_semi_sync_source_clients") == "2")

        with paused(lossless, s3):
            hurt = seen(lossless)
        assert hurt["verdict"] == "lossless_at_risk"
        silent = hurt["servers"]["s3"]
        assert (silent["verdict"], silent["answered"], silent["kind"]) == ("silent", False, "timed_out")
        assert s3.address in silent["error"] and "network" in silent["next_step"]
        assert [hurt["servers"][name]["verdict"] for name in ("s1", "s2")] == ["primary", "replica"]

        s1.sql("SET GLOBAL sync_binlog = 0")
        hurt = seen(lossless)
        s1.sql("SET GLOBAL sync_binlog = 1")
        assert hurt["verdict"] == "lossless_uncertain"
        assert [(d["name"], d["actual"]) for d in hurt["servers"]["s1"]["drift"]] == [("sync_binlog", "0")]
        assert any("sync_binlog is 0, not 1" in reason for reason in hurt["reasons"])
    finally:
        heart.stop()

    age = "(SELECT TIMESTAMPDIFF(MICROSECOND, MAX(written_at), NOW(6)) FROM lossless_ha.heartbeat)"
    eventually(lambda: int(s1.value(age)) > 3_100_000)
    alone = seen(lossless)
    assert alone["verdict"] == "lossless_uncertain"
    assert ["s1 writes no heartbeat" in reason for reason in alone["reasons"]] == [True]
    assert [alone["servers"][s.name]["lag_s"] for s in lossless.servers] == [None, None, None]


def whole(cluster: Any, result: dict[str, Any], number: int) -> None:
    s1, s2, s3 = cluster.servers
    assert (result["verdict"], result["reasons"], result["errant"]) == ("lossless", [], {})
    assert (result["primary"], result["primary_uuid"]) == ("s1", s1.uuid())
    assert (result["term"]["term"], result["term"]["n"], result["term"]["k"]) == (number, 2, 1)
    durability = result["durability"]
    assert (durability["n"], durability["k"], durability["freeze_required"]) == (2, 1, 2)
    assert {level["level"]: level["survived"] for level in durability["levels"]} == {
        "host": True,
        "zone": True,
        "city": False,
    }
    for server in cluster.servers:
        said = result["servers"][server.name]
        assert said["answered"] and said["server_uuid"] == server.uuid() and said["drift"] == []
        assert said["version"] == server.value("@@version")
        assert said["super_read_only"] == (server.variable("super_read_only") == "ON")
        executed = server.value("@@GLOBAL.gtid_executed")
        assert server.value(f"GTID_SUBSET('{said['gtid_executed']}', '{executed}')") == 1
        assert said["gtid_executed"]
    assert result["servers"]["s1"]["writable"] and result["servers"]["s1"]["lag_s"] is None
    assert result["servers"]["s1"]["semi_sync"]["clients"] == 2
    for server in (s2, s3):
        said = result["servers"][server.name]
        assert (said["verdict"], said["writable"]) == ("replica", False)
        assert said["receiver"]["source_host"] == server.replica()["Source_Host"] == s1.address
        assert 0 <= said["lag_s"] < 3
