# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on one member of real servers, under writes; then asked with queries of the test's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.maintain import as_result
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.member import (
    BRING_BACK,
    REPOINT,
    START,
    STOP,
    TAKE_OUT,
)
from playing import Call, play
from scratch import docker, everything
from test_converge import Writer, acknowledgers, caught_up, executed, refusal, term
from waiting import eventually


def refused(cluster: Any, operation: str, name: str) -> set[str]:
    return set(refusal(lambda: cluster.maintain(operation, name)))


def locked(primary: Any, number: int) -> bool:
    rows = primary.sql(f"SELECT account_locked AS locked FROM mysql.user WHERE User = 'lossless_repl_{number}'")
    return str(rows[0]["locked"]) == "Y"


def out(primary: Any) -> dict[str, str]:
    return {m["name"]: m["out"] for m in json.loads(term(primary)["members"]) if m["out"]}


def threads(server: Any) -> tuple[str, str]:
    seen = server.replica()
    return seen["Replica_IO_Running"], seen["Replica_SQL_Running"]


@contextmanager
def paused(server: Any) -> Iterator[None]:
    """The server's process stands still: its host answers, and it says nothing."""
    docker("pause", server.container)
    try:
        yield
    finally:
        docker("unpause", server.container)


def assert_whole(cluster: Any) -> None:
    s1, s2, s3 = cluster.servers
    assert acknowledgers(s1) == {"s2", "s3"}
    assert out(s1) == {}
    # A dump thread of an earlier connection may take a moment to end.
    eventually(lambda: s1.status("Rpl_semi_sync_source_clients") == "2")
    assert s1.status("Rpl_semi_sync_source_no_tx") == "0"
    assert not locked(s1, 2)
    assert not locked(s1, 3)
    for replica in (s2, s3):
        assert threads(replica) == ("Yes", "Yes")
        caught_up(s1, replica)


def test_taken_out_stopped_and_brought_back_under_writes(lossless: Any) -> None:
    s1, _s2, s3 = lossless.servers
    with Writer(s1) as writer:
        report = lossless.maintain(TAKE_OUT, "s3", "new disk")
        done = as_result(report)
        assert [step["step"] for step in done["steps"]] == ["LockOut", "WriteTerm", "StopAcknowledging", "Readmit"]
        assert (done["n"], done["k"], done["out_of_service"]) == (1, 1, {"s3": "new disk"})
        assert any("no failover can be completed" in warning for warning in report.warnings)
        assert acknowledgers(s1) == {"s2"}
        assert out(s1) == {"s3": "new disk"}
        assert term(s1)["reason"] == "s3 out of service: new disk"
        eventually(lambda: threads(s3) == ("Yes", "Yes"))
        assert s3.variable("rpl_semi_sync_replica_enabled") == "OFF"
        assert s3.status("Rpl_semi_sync_replica_status") == "OFF"
        assert s1.status("Rpl_semi_sync_source_clients") == "1"
        assert not locked(s1, 3)
        assert not lossless.maintain(TAKE_OUT, "s3", "another").changed
        settled = lossless.converge()
        assert not settled.changed
        assert any("out of service (new disk)" in warning for warning in settled.warnings)
        assert refused(lossless, TAKE_OUT, "s2") == {"too_few_acknowledgers"}
        assert lossless.maintain(STOP, "s3").changed
        assert threads(s3) == ("No", "No")
        assert not lossless.converge().changed
        back = lossless.maintain(BRING_BACK, "s3")
        assert [step["step"] for step in back.steps][-2:] == ["WriteTerm", "Acknowledge"]
        assert not lossless.maintain(BRING_BACK, "s3").changed
    assert_whole(lossless)
    kept = {row["id"] for row in s3.sql("SELECT id FROM app.t")}
    assert set(writer.acknowledged) <= kept
    s1.sql("DROP DATABASE app")


def test_a_member_that_gives_no_answer_is_taken_out_and_can_not_acknowledge_when_it_wakes_up(lossless: Any) -> None:
    s1, _s2, s3 = lossless.servers
    with paused(s3):
        lossless.maintain(TAKE_OUT, "s3", "it hangs")
        assert acknowledgers(s1) == {"s2"}
        assert locked(s1, 3)
        assert refused(lossless, BRING_BACK, "s3") == {"member_does_not_answer"}
    # Its replica side is still on, and it tries; the lock keeps it away.
    eventually(lambda: s3.replica()["Last_IO_Errno"] != 0)
    assert s3.variable("rpl_semi_sync_replica_enabled") == "ON"
    assert s1.status("Rpl_semi_sync_source_clients") == "1"
    assert lossless.maintain(BRING_BACK, "s3").changed
    assert_whole(lossless)


def test_what_would_hold_writes_or_lose_something_is_refused_and_nothing_is_changed(lossless: Any) -> None:
    s1, s2, s3 = lossless.servers
    before = everything(lossless.servers)
    for operation in (TAKE_OUT, STOP, REPOINT, START):
        assert refused(lossless, operation, "s1") == {"member_is_primary"}
    assert everything(lossless.servers) == before
    s2.sql("STOP REPLICA")
    eventually(lambda: s1.status("Rpl_semi_sync_source_clients") == "1")
    for operation in (TAKE_OUT, STOP):
        assert refused(lossless, operation, "s3") == {"too_few_acknowledgers"}
    assert lossless.maintain(START, "s2").changed
    s3.sql("STOP REPLICA", "SET GLOBAL super_read_only=OFF", "CREATE DATABASE mine", "SET GLOBAL super_read_only=ON")
    (surplus,) = str(executed(s3) - executed(s1)).splitlines()
    for operation in (BRING_BACK, REPOINT, START):
        assert refused(lossless, operation, "s3") == {"errant_transactions"}
    # A person decides about it: its effect goes there, and the others take its name for nothing.
    s3.sql("SET GLOBAL super_read_only=OFF", "SET sql_log_bin=0", "DROP DATABASE mine", "SET GLOBAL super_read_only=ON")
    s1.sql(f"SET gtid_next='{surplus}'", "BEGIN", "COMMIT", "SET gtid_next=AUTOMATIC")
    assert lossless.maintain(START, "s3").changed
    assert_whole(lossless)


def test_a_lost_replica_is_pointed_at_the_primary_and_keeps_what_it_received(lossless: Any) -> None:
    s1, s2, s3 = lossless.servers
    s1.sql("CREATE DATABASE lost", "CREATE TABLE lost.t (id INT PRIMARY KEY)")
    caught_up(s1, s3)
    with s3.connected() as holder, holder.cursor() as cursor:
        # The applier waits for a lock, so that what comes is received and not applied.
        cursor.execute("LOCK TABLES lost.t READ")
        s1.sql("INSERT INTO lost.t VALUES (1), (2)")
        eventually(lambda: executed(s1) <= executed(s3) | GtidSet.parse(s3.replica()["Retrieved_Gtid_Set"]))
        s3.sql(
            "STOP REPLICA IO_THREAD",
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{s2.address}'",
            "START REPLICA IO_THREAD",
        )
        eventually(lambda: s3.replica()["Source_UUID"] == s2.uuid())
        assert refused(lossless, START, "s3") == {"not_following_primary"}
        assert lossless.maintain(REPOINT, "s3").changed
        assert executed(s1) - executed(s3), "it is received, and the lock keeps it from being applied"
    assert s3.replica()["Source_UUID"] == s1.uuid()
    assert not lossless.maintain(REPOINT, "s3").changed
    assert_whole(lossless)
    s1.sql("DROP DATABASE lost")


def test_the_module_says_in_check_mode_what_it_does_then(lossless: Any) -> None:
    before = everything(lossless.servers)

    def call(state: str, *, check: bool = False) -> Call:
        given = lossless.arguments("mysql_member", name="s3", state=state, reason="new disk")
        return Call("mysql_member", given, check)

    planned, done, again, back = play(
        call("out_of_service", check=True), call("out_of_service"), call("out_of_service"), call("in_service")
    )[0]
    assert planned["changed"]
    assert planned["plan"] == done["plan"]
    assert planned["diff"]["before"].splitlines()[0].endswith("k=1 of n=2, acknowledged on disk")
    assert "out of service: new disk" in planned["diff"]["after"]
    assert done["survives"][0] == "k=1 of n=1 acknowledgements, on disk"
    assert done["out_of_service"] == {"s3": "new disk"}
    assert again["changed"] is False
    assert back["changed"]
    assert_whole(lossless)
    assert [row[1:] for row in everything(lossless.servers)] == [row[1:] for row in before]
