# SPDX-License-Identifier: GPL-3.0-or-later
"""``mysql_failover`` on real servers: it acts, its answer is asserted, then the servers are asked independently."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest
from waiting import eventually

TABLE = (
    "CREATE DATABASE app",
    "CREATE TABLE app.ledger (id INT PRIMARY KEY, amount INT NOT NULL)",
    "INSERT INTO app.ledger VALUES (1, 10), (2, 20)",
)


def writable(server: Any) -> bool:
    return not int(server.value("@@GLOBAL.read_only OR @@GLOBAL.super_read_only"))


def rows(server: Any) -> list[int]:
    return [row["id"] for row in server.sql("SELECT id FROM app.ledger ORDER BY id")]


def test_a_planned_switchover_and_back(lossless: Any) -> None:
    cluster, failover = lossless(3)
    s1, s2, s3 = cluster.servers
    s1.sql(*TABLE)
    done = failover(mode="planned", primary="s2")
    assert done["changed"] and done["zero_loss"] == "proven" and done["new_primary"] == "s2"
    assert [writable(s) for s in (s1, s2, s3)] == [False, True, False]
    assert s1.replica()["Source_Host"] == s2.address and s3.replica()["Source_Host"] == s2.address
    assert s2.replica() == {} and s2.variable("rpl_semi_sync_source_enabled") == "ON"
    assert s1.variable("rpl_semi_sync_source_enabled") == "OFF"
    eventually(lambda: s2.status("Rpl_semi_sync_source_clients") == "2")
    s2.sql("INSERT INTO app.ledger VALUES (3, 30)")
    eventually(lambda: rows(s1) == rows(s2) == rows(s3) == [1, 2, 3])
    term = s2.sql("SELECT term, primary_uuid, proof FROM lossless_ha.term ORDER BY revision DESC LIMIT 1")[0]
    assert term == {"term": 2, "primary_uuid": s2.uuid(), "proof": "proven"}

    again = failover(mode="planned", primary="s2")
    assert not again["changed"] and not again.get("failed")

    cluster.new_heart(2, 2)
    back = failover(mode="planned", primary="s1")
    assert back["changed"] and back["term"] == 3
    assert [writable(s) for s in (s1, s2, s3)] == [True, False, False]


def test_a_crash_is_proven_and_every_event_comes_along(lossless: Any) -> None:
    cluster, failover = lossless(3)
    s1, s2, s3 = cluster.servers
    s1.sql(*TABLE, "CREATE USER app_owner@localhost IDENTIFIED BY 'x'", "GRANT ALL ON app.* TO app_owner@localhost")
    s1.sql("CREATE DEFINER=app_owner@localhost EVENT app.tick ON SCHEDULE EVERY 1 HOUR DO DO 1")
    eventually(lambda: rows(s2) == rows(s3) == [1, 2])
    s1.kill()
    plan = failover(mode="emergency", check=True)
    assert plan["changed"] and len(plan["plan"]) > 4
    assert not writable(s2) and not writable(s3) and s2.replica()["Source_Host"] == s1.address, "check mode acted"

    done = failover(mode="emergency")
    assert done["zero_loss"] == "proven" and done["proof"]["required"] == 2
    assert sorted(done["proof"]["frozen"]) == ["s2", "s3"] and done["proof"]["testimony"]["holds"]
    new, other = (s2, s3) if done["new_primary"] == "s2" else (s3, s2)
    assert writable(new) and not writable(other) and rows(new) == [1, 2]
    event = new.sql("SELECT STATUS AS s, DEFINER AS d FROM information_schema.EVENTS WHERE EVENT_NAME = 'tick'")[0]
    assert event == {"s": "ENABLED", "d": "app_owner@localhost"}
    new.sql("INSERT INTO app.ledger VALUES (3, 30)")
    eventually(lambda: rows(other) == [1, 2, 3])


def test_one_acknowledger_missing_promotes_nothing_and_leaves_the_other_as_it_was(lossless: Any) -> None:
    cluster, failover = lossless(3)
    s1, s2, s3 = cluster.servers
    s3.kill()
    s1.kill()
    refused = failover(mode="emergency")
    assert refused["failed"] and refused["code"] == "too_few_acknowledgers" and "s3" in refused["next_step"]
    assert not writable(s2) and s2.replica()["Replica_IO_Running"] != "No"
    s3.start()
    s3.sql("START REPLICA")
    eventually(lambda: s3.replica()["Replica_SQL_Running"] == "Yes")
    s2.sql("SELECT 1")


def test_semi_sync_that_was_off_is_not_proven_and_a_person_may_override(lossless: Any) -> None:
    cluster, failover = lossless(3)
    s1, s2, s3 = cluster.servers
    s1.sql(*TABLE)
    s1.sql("SET GLOBAL rpl_semi_sync_source_enabled = OFF")
    before = int(s1.value("(SELECT sequence FROM lossless_ha.heartbeat)"))
    eventually(lambda: int(s2.value("(SELECT MAX(sequence) FROM lossless_ha.heartbeat)")) > before + 1)
    s1.kill()
    refused = failover(mode="emergency")
    assert refused["failed"] and "semi_sync_was_off" in [r["code"] for r in refused["evidence"]["reasons"]]
    assert not writable(s2) and not writable(s3)
    eventually(lambda: s2.replica()["Replica_IO_Running"] != "No" and s3.replica()["Replica_IO_Running"] != "No")
    taken = failover(mode="emergency", accept_data_loss="night.shift")
    assert taken["zero_loss"] == "unproven" and taken["accepted_by"] == "night.shift"
    new = s2 if taken["new_primary"] == "s2" else s3
    assert writable(new)
    assert new.value("(SELECT proof FROM lossless_ha.term ORDER BY revision DESC LIMIT 1)") == "unproven"


def test_a_live_primary_is_left_alone(lossless: Any) -> None:
    cluster, failover = lossless(3)
    refused = failover(mode="emergency")
    assert refused["failed"] and refused["code"] == "primary_alive"
    assert writable(cluster.servers[0])


def test_a_transaction_that_holds_up_the_block_leaves_writes_where_they_were(lossless: Any) -> None:
    cluster, failover = lossless(3)
    s1, s2, s3 = cluster.servers
    s1.sql(*TABLE)
    with s1.connected() as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLES app.ledger WRITE")
        refused = failover(mode="planned", primary="s2", block_budget=0.5)
        cursor.execute("UNLOCK TABLES")
    assert refused["failed"] and refused["code"] == "writes_not_blocked", refused
    assert writable(s1) and not writable(s2)
    assert s3.replica()["Source_Host"] == s1.address
    s1.sql("INSERT INTO app.ledger VALUES (3, 30)")
    eventually(lambda: rows(s2) == rows(s3) == [1, 2, 3])


def test_an_open_transaction_older_than_the_budget_is_named(lossless: Any) -> None:
    cluster, failover = lossless(3)
    s1 = cluster.servers[0]
    s1.sql(*TABLE)
    with s1.connected() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE app.ledger SET amount = 11 WHERE id = 1")
        eventually(
            lambda: s1.value("(SELECT MIN(trx_started) < NOW() - INTERVAL 2 SECOND FROM information_schema.innodb_trx)")
        )
        refused = failover(mode="planned", primary="s2", block_budget=1)
        cursor.execute("ROLLBACK")
    assert refused["code"] == "long_transactions" and "root" in str(refused["evidence"])
    assert writable(s1)


@pytest.mark.parametrize(
    "point",
    ["lock:after", "freeze:before", "freeze:after", "apply:after", "acknowledgers:after", "arm:after", "open:after"]
    + ["term:before", "term:after", "verify:before"],
)
def test_killed_in_an_emergency_and_run_again(lossless: Any, point: str) -> None:
    cluster, failover = lossless(3)
    s1, s2, s3 = cluster.servers
    s1.sql(*TABLE)
    s1.kill()
    killed = failover.start(fault=point, mode="emergency")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    done = failover(mode="emergency", lock_wait=10)
    assert not done.get("failed") and done["zero_loss"] == "proven", done
    assert sorted([writable(s2), writable(s3)]) == [False, True]
    new = s2 if writable(s2) else s3
    assert new.name == done["new_primary"] and rows(new) == [1, 2]
    new.sql("INSERT INTO app.ledger VALUES (3, 30)")
    eventually(lambda: rows(s2) == rows(s3) == [1, 2, 3])


@pytest.mark.parametrize(
    "point", ["prepare:after", "block:after", "drain:after", "arm:after", "term:after", "demote:before"]
)
def test_killed_in_a_switchover_and_run_again(lossless: Any, point: str) -> None:
    cluster, failover = lossless(3)
    s1, s2, s3 = cluster.servers
    s1.sql(*TABLE)
    killed = failover.start(fault=point, mode="planned", primary="s2")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    if writable(s1):
        eventually(lambda: int(s1.status("Rpl_semi_sync_source_clients")) >= 1)
    done = failover(mode="planned", primary="s2", lock_wait=10)
    assert not done.get("failed"), done
    assert [writable(s) for s in (s1, s2, s3)] == [False, True, False]
    s2.sql("INSERT INTO app.ledger VALUES (3, 30)")
    eventually(lambda: rows(s1) == rows(s2) == rows(s3) == [1, 2, 3])


def test_two_at_once_and_only_one_acts(lossless: Any) -> None:
    cluster, failover = lossless(3)
    other = type(failover)(cluster, failover.scratch, failover.journal.with_name("another-host"))
    cluster.servers[0].kill()
    results: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda run=run: results.append(run(mode="emergency"))) for run in (failover, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    acted = [r for r in results if not r.get("failed")]
    failed = [r for r in results if r.get("failed")]
    assert len(acted) == 1 and acted[0]["zero_loss"] == "proven", results
    assert failed[0]["code"] in ("locked", "primary_alive", "lock_lost", "term_changed"), failed
    if failed[0]["code"] == "locked":
        assert "lossless.mysql_ha" in failed[0]["msg"]
    assert sum(writable(s) for s in cluster.servers[1:]) == 1
