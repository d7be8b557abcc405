# SPDX-License-Identifier: GPL-3.0-or-later
"""Convergence on real mysqld: act, then ask the servers by queries of the test's own."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from typing import Any

import pymysql
import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from scratch import everything
from waiting import eventually


def executed(server: Any) -> GtidSet:
    return GtidSet.parse(server.value("@@GLOBAL.gtid_executed"))


def term(server: Any) -> dict[str, Any]:
    rows = server.sql("SELECT * FROM lossless_ha.term ORDER BY revision DESC LIMIT 1")
    return rows[0] if rows else {}


def acknowledgers(server: Any) -> set[str]:
    row = term(server)
    return {
        m["name"] for m in json.loads(row["members"]) if m["acknowledges"] and m["server_uuid"] != row["primary_uuid"]
    }


def caught_up(primary: Any, replica: Any) -> None:
    eventually(lambda: executed(primary) <= executed(replica))


def assert_lossless(primary: Any, replicas: list[Any], k: int = 1) -> None:
    assert primary.variable("read_only") == "OFF"
    assert primary.variable("rpl_semi_sync_source_enabled") == "ON"
    assert primary.status("Rpl_semi_sync_source_status") == "ON"
    assert primary.variable("rpl_semi_sync_source_wait_point") == "AFTER_SYNC"
    assert primary.variable("rpl_semi_sync_source_timeout") == "4294967295"
    assert primary.variable("rpl_semi_sync_source_wait_no_replica") == "ON"
    assert int(primary.variable("rpl_semi_sync_source_wait_for_replica_count")) == k
    assert primary.variable("rpl_semi_sync_replica_enabled") == "OFF"
    row = term(primary)
    assert row["primary_uuid"] == primary.uuid()
    assert row["k"] == k
    assert row["no_tx_base"] == int(primary.status("Rpl_semi_sync_source_no_tx"))
    assert acknowledgers(primary) == {r.name for r in replicas}
    for replica in replicas:
        assert replica.variable("super_read_only") == "ON"
        assert replica.variable("rpl_semi_sync_source_enabled") == "OFF"
        assert replica.status("Rpl_semi_sync_replica_status") == "ON"
        seen = replica.replica()
        assert (seen["Replica_IO_Running"], seen["Replica_SQL_Running"]) == ("Yes", "Yes")
        assert seen["Source_UUID"] == primary.uuid()
        assert seen["Source_User"] == f"lossless_repl_{replica.number}"
        assert seen["Source_SSL_Verify_Server_Cert"] == "Yes"
        caught_up(primary, replica)


def refusal(call: Any) -> dict[str, Any]:
    with pytest.raises(HaError) as caught:
        call()
    assert "reasons" in caught.value.evidence, caught.value
    return {reason["code"]: reason for reason in caught.value.evidence["reasons"]}


class Writer:
    """An application: inserts numbered rows and knows which of them were acknowledged."""

    def __init__(self, server: Any) -> None:
        self.server = server
        server.sql(
            "CREATE DATABASE IF NOT EXISTS app", "CREATE TABLE IF NOT EXISTS app.t (id INT PRIMARY KEY, v CHAR(40))"
        )
        self.acknowledged: list[int] = []
        self.longest = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with self.server.connected() as connection, connection.cursor() as cursor:
            number = 0
            while not self._end.is_set():
                number += 1
                started = time.monotonic()
                try:
                    cursor.execute("INSERT INTO app.t VALUES (%s, UUID())", (number,))
                except pymysql.err.MySQLError:
                    return
                self.longest = max(self.longest, time.monotonic() - started)
                self.acknowledged.append(number)
                time.sleep(0.002)

    def __enter__(self) -> Writer:
        self._thread.start()
        eventually(lambda: len(self.acknowledged) > 20)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._end.set()
        self._thread.join(10)


# --- from nothing ----------------------------------------------------------------------------------------------------
def test_three_empty_servers_become_lossless_and_a_second_run_changes_nothing(fresh: Any) -> None:
    cluster = fresh(3)
    s1, s2, s3 = cluster.servers
    untouched = everything(cluster.servers)
    planned = cluster.converge(check=True)
    assert planned.changed
    assert everything(cluster.servers) == untouched
    report = cluster.converge()
    assert [s["sentence"] for s in report.steps] == [s["sentence"] for s in planned.steps]
    assert_lossless(s1, [s2, s3])
    settled = everything(cluster.servers)
    again = cluster.converge()
    assert not again.changed
    assert not cluster.converge(check=True).changed
    assert everything(cluster.servers) == settled
    s1.sql("CREATE DATABASE after", "CREATE TABLE after.t (id INT PRIMARY KEY)", "INSERT INTO after.t VALUES (1)")
    assert s1.status("Rpl_semi_sync_source_no_tx") == "0"
    assert int(s1.status("Rpl_semi_sync_source_yes_tx")) >= 3


def test_a_fresh_cluster_takes_the_primary_asked_for_and_refuses_while_a_member_is_silent(fresh: Any) -> None:
    cluster = fresh(3)
    s1, s2, s3 = cluster.servers
    s3.kill()
    assert "member_does_not_answer" in refusal(lambda: cluster.converge(primary="s2"))
    s3.start()
    cluster.converge(primary="s2")
    assert_lossless(s2, [s1, s3])
    assert not cluster.converge(primary="s1").changed, "the wish moved a primary that observation names"


def test_killed_after_any_step_it_converges_when_run_again(fresh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication import procedure

    cluster = fresh(3)
    s1, s2, s3 = cluster.servers
    real = procedure.Procedure.do
    runs = 0

    class Killed(BaseException):
        pass

    def once(self: Any, step: Any, situation: Any) -> None:
        real(self, step, situation)
        raise Killed

    monkeypatch.setattr(procedure.Procedure, "do", once)
    while True:
        runs += 1
        try:
            report = cluster.converge()
        except Killed:
            assert runs < 30
            continue
        break
    assert not report.changed
    assert runs > 8
    assert_lossless(s1, [s2, s3])


# --- from an asynchronous pair ---------------------------------------------------------------------------------------
def asynchronous_pair(s1: Any, s2: Any) -> None:
    s1.sql("SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF")
    s2.sql(
        f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{s1.address}', SOURCE_USER='lossless_repl_2',"
        " SOURCE_PASSWORD='repl\\'\\\\canary%s', SOURCE_SSL=1, SOURCE_AUTO_POSITION=1",
        "START REPLICA",
    )


def test_an_asynchronous_pair_under_writes_is_taken_over_and_an_empty_third_is_cloned(fresh: Any) -> None:
    cluster = fresh(3)
    s1, s2, s3 = cluster.servers
    asynchronous_pair(s1, s2)
    with Writer(s1) as writer:
        report = cluster.converge()
        assert len(writer.acknowledged) > 20
        count = len(writer.acknowledged)
        eventually(lambda: len(writer.acknowledged) > count + 20)
        assert not cluster.converge().changed
    assert "Clone" in {s["step"] for s in report.steps}
    donors = [s["sentence"] for s in report.steps if s["step"] == "Clone"]
    assert donors == ["clone s3 from s2"], "the primary was the donor although a replica could"
    assert_lossless(s1, [s2, s3])
    assert writer.longest < 3
    for server in cluster.servers:
        present = {row["id"] for row in server.sql("SELECT id FROM app.t")}
        assert set(writer.acknowledged) <= present


# --- replicas that stopped or drifted --------------------------------------------------------------------------------
def test_stopped_replicas_are_started_and_lose_no_relay_log(fresh: Any) -> None:
    cluster = fresh(3)
    s1, s2, s3 = cluster.servers
    cluster.converge()
    s1.sql("CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY)")
    caught_up(s1, s2)
    s2.sql("STOP REPLICA SQL_THREAD")
    s1.sql("INSERT INTO app.t VALUES (1), (2)")
    s2.sql("STOP REPLICA IO_THREAD")
    s3.sql("STOP REPLICA IO_THREAD")
    untouched = everything(cluster.servers)
    assert {s["step"] for s in cluster.converge(check=True).steps} == {"StartThreads"}
    assert everything(cluster.servers) == untouched
    cluster.converge()
    assert_lossless(s1, [s2, s3])
    assert s2.value("(SELECT COUNT(*) FROM app.t)") == 2


def test_a_drifted_replica_with_unapplied_relay_logs_is_configured_anew_without_losing_them(fresh: Any) -> None:
    cluster = fresh(3)
    s1, s2, s3 = cluster.servers
    cluster.converge()
    s1.sql("CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY)")
    caught_up(s1, s2)
    s2.sql("STOP REPLICA IO_THREAD", "CHANGE REPLICATION SOURCE TO SOURCE_CONNECT_RETRY=60, SOURCE_HEARTBEAT_PERIOD=30")
    s2.sql("START REPLICA IO_THREAD")
    eventually(lambda: s2.replica()["Replica_IO_Running"] == "Yes")
    # The applier cannot apply while a global read lock is held: the relay log stays full during the change.
    with s2.connected() as connection, connection.cursor() as cursor:
        cursor.execute("FLUSH TABLES WITH READ LOCK")
        s1.sql("INSERT INTO app.t VALUES (1), (2), (3)")
        files = s2.replica()["Retrieved_Gtid_Set"]
        cluster.converge()
        assert GtidSet.parse(files) <= GtidSet.parse(s2.replica()["Retrieved_Gtid_Set"])
        assert s2.value("(SELECT COUNT(*) FROM app.t)") == 0
        cursor.execute("UNLOCK TABLES")
    assert_lossless(s1, [s2, s3])
    assert s2.value("(SELECT COUNT(*) FROM app.t)") == 3
    assert s2.replica()["Connect_Retry"] == 1


@pytest.mark.parametrize(
    ("server", "drift"),
    [
        (1, "SET GLOBAL rpl_semi_sync_source_enabled = OFF"),
        (1, "SET GLOBAL rpl_semi_sync_source_timeout = 100"),
        (1, "SET GLOBAL rpl_semi_sync_source_wait_no_replica = OFF"),
        (1, "SET GLOBAL rpl_semi_sync_source_wait_point = AFTER_COMMIT"),
        (1, "SET GLOBAL rpl_semi_sync_source_wait_for_replica_count = 2"),
        (1, "SET GLOBAL rpl_semi_sync_replica_enabled = ON"),
        (2, "SET GLOBAL rpl_semi_sync_source_enabled = ON"),
        (2, "SET GLOBAL rpl_semi_sync_replica_enabled = OFF"),
    ],
)
def test_a_semi_sync_setting_that_was_changed_by_hand_is_put_right(lossless: Any, server: int, drift: str) -> None:
    s1, s2, s3 = lossless.servers
    lossless.servers[server - 1].sql(drift)
    assert lossless.converge(check=True).changed
    assert lossless.converge().changed
    assert_lossless(s1, [s2, s3])
    assert not lossless.converge().changed


def test_commits_that_went_unacknowledged_are_proven_before_the_term_says_so(lossless: Any) -> None:
    s1, s2, s3 = lossless.servers
    before = int(s1.status("Rpl_semi_sync_source_no_tx"))
    s1.sql("SET GLOBAL rpl_semi_sync_source_timeout = 10")
    for server in (s2, s3):
        server.sql("STOP REPLICA IO_THREAD")
    s1.sql("CREATE DATABASE IF NOT EXISTS unacknowledged")
    assert int(s1.status("Rpl_semi_sync_source_no_tx")) > before
    lossless.converge()
    assert_lossless(s1, [s2, s3])
    assert term(s1)["no_tx_base"] > before


# --- n and k ---------------------------------------------------------------------------------------------------------
def test_k_is_raised_and_lowered(fresh: Any) -> None:
    cluster = fresh(3)
    s1, s2, s3 = cluster.servers
    cluster.converge()
    raised = [s["step"] for s in cluster.converge(k=2).steps]
    assert raised == ["Arm", "WriteTerm"]
    assert_lossless(s1, [s2, s3], k=2)
    lowered = [s["step"] for s in cluster.converge(k=1).steps]
    assert lowered == ["WriteTerm", "Arm"]
    assert_lossless(s1, [s2, s3], k=1)


def test_the_cluster_grows_and_shrinks_under_writes(fresh: Any) -> None:
    cluster = fresh(4)
    s1, s2, s3, s4 = cluster.servers
    cluster.converge([s1, s2])
    with Writer(s1) as writer:
        grown = cluster.converge([s1, s2, s3, s4], k=2)
        assert_lossless(s1, [s2, s3, s4], k=2)
        shrunk = cluster.converge([s1, s2, s4], k=2)
        kinds = [s["step"] for s in shrunk.steps]
        assert kinds.index("LockOut") < kinds.index("WriteTerm") < kinds.index("StopAcknowledging")
        assert s1.value("(SELECT account_locked FROM mysql.user WHERE User = 'lossless_repl_3')") == "Y"
        assert s3.variable("rpl_semi_sync_replica_enabled") == "OFF"
        assert s3.replica()["Replica_IO_Running"] == "No"
        dumps = s1.sql("SELECT USER FROM information_schema.processlist WHERE COMMAND LIKE 'Binlog Dump%'")
        assert {row["USER"] for row in dumps} == {"lossless_repl_2", "lossless_repl_4"}
        assert not cluster.converge([s1, s2, s4], k=2).changed
        cluster.converge([s1, s2, s3, s4], k=2)
        assert s1.value("(SELECT account_locked FROM mysql.user WHERE User = 'lossless_repl_3')") == "N"
    assert_lossless(s1, [s2, s3, s4], k=2)
    assert [s["step"] for s in grown.steps].count("Clone") == 2
    assert set(writer.acknowledged) <= {row["id"] for row in s3.sql("SELECT id FROM app.t")}


def test_a_dead_server_is_taken_out_and_with_k_equal_n_nobody_is(fresh: Any) -> None:
    cluster = fresh(3)
    s1, s2, s3 = cluster.servers
    cluster.converge(k=2)
    s3.kill()
    reasons = refusal(lambda: cluster.converge([s1, s2], k=1))
    assert set(reasons) == {"too_few_acknowledgers"}
    s3.start()
    cluster.converge(k=1)
    s3.kill()
    cluster.converge([s1, s2], k=1)
    assert_lossless(s1, [s2])
    s3.start()
    assert s3.replica()["Replica_IO_Running"] == "No"
    cluster.converge([s1, s2, s3], k=1)
    assert_lossless(s1, [s2, s3])


# --- restarts and returns --------------------------------------------------------------------------------------------
def test_the_primary_is_armed_again_after_its_crash_with_a_commit_that_nobody_acknowledged(fresh: Any) -> None:
    cluster = fresh(3)
    s1, s2, s3 = cluster.servers
    cluster.converge()
    s1.sql("CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY)", "INSERT INTO app.t VALUES (1)")
    for server in (s2, s3):
        server.sql("STOP REPLICA IO_THREAD")

    def insert_that_nobody_acknowledges() -> None:
        with pytest.raises(pymysql.err.MySQLError):
            s1.sql("INSERT INTO app.t VALUES (101)")

    waiting = threading.Thread(target=insert_that_nobody_acknowledges)
    waiting.start()
    eventually(lambda: s1.status("Rpl_semi_sync_source_wait_sessions") == "1")
    s1.kill()
    waiting.join(5)
    s1.start()
    assert s1.variable("super_read_only") == "ON"
    revision = term(s1)["revision"]
    s2.kill()
    s3.kill()
    assert "quorum_not_reached" in refusal(cluster.converge)
    s2.start()
    assert "quorum_not_reached" in refusal(cluster.converge), "1 of 2 with k=1 does not prove that none was promoted"
    s3.start()
    planned = cluster.converge(check=True)
    assert s1.variable("super_read_only") == "ON"
    report = cluster.converge()
    assert planned.changed
    assert_lossless(s1, [s2, s3])
    assert term(s1)["revision"] > revision
    kinds = [s["step"] for s in report.steps]
    assert kinds[-1] == "AllowWrites"
    assert kinds.index("Arm") < kinds.index("WriteTerm") < kinds.index("AllowWrites")
    # 101 is on the primary after crash recovery, so it has to be everywhere before anybody reads on.
    for server in cluster.servers:
        assert {row["id"] for row in server.sql("SELECT id FROM app.t")} == {1, 101}
    assert not cluster.converge().changed


def test_errant_transactions_are_refused_with_the_set_and_cloned_away_when_expendable(fresh: Any) -> None:
    cluster = fresh(4)
    s1, s2, s3, s4 = cluster.servers
    cluster.converge()
    s1.sql("CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY)", "INSERT INTO app.t VALUES (1)")
    caught_up(s1, s3)
    s3.sql("SET GLOBAL super_read_only = OFF", "INSERT INTO app.t VALUES (666)", "SET GLOBAL super_read_only = ON")
    untouched = everything(cluster.servers)
    reasons = refusal(cluster.converge)
    assert s3.uuid() in reasons["errant_transactions"]["evidence"]["gtids"]
    assert "expendable" in reasons["errant_transactions"]["next_step"]
    refusal(lambda: cluster.converge(check=True))
    assert everything(cluster.servers) == untouched
    assert cluster.converge(check=True, expendable=frozenset({"s3"})).changed
    assert everything(cluster.servers) == untouched
    report = cluster.converge(expendable=frozenset({"s3"}))
    kinds = [s["step"] for s in report.steps]
    assert kinds.index("LockOut") < kinds.index("WriteTerm") < kinds.index("Clone"), "wiped while registered"
    assert_lossless(s1, [s2, s3, s4])
    assert {row["id"] for row in s3.sql("SELECT id FROM app.t")} == {1}
    assert not cluster.converge(expendable=frozenset({"s3"})).changed, "expendable wiped a server that needed nothing"


def test_a_broken_applier_is_reported_and_never_skipped(fresh: Any) -> None:
    cluster = fresh(3)
    s1, s2, s3 = cluster.servers
    cluster.converge()
    s1.sql("CREATE DATABASE app", "CREATE TABLE app.t (id INT PRIMARY KEY)")
    caught_up(s1, s2)
    s2.sql("SET GLOBAL super_read_only = OFF", "SET sql_log_bin = 0", "INSERT INTO app.t VALUES (1)")
    s2.sql("SET GLOBAL super_read_only = ON")
    s1.sql("INSERT INTO app.t VALUES (1)")
    eventually(lambda: s2.replica()["Replica_SQL_Running"] == "No")
    reasons = refusal(cluster.converge)
    assert "Duplicate entry" in reasons["applier_broken"]["message"]
    cluster.converge(expendable=frozenset({"s2"}))
    assert_lossless(s1, [s2, s3])


def test_a_dead_primary_is_not_converged(lossless: Any) -> None:
    s1, s2, _s3 = lossless.servers
    s1.kill()
    try:
        reasons = refusal(lossless.converge)
        assert "mysql_failover" in reasons["primary_does_not_answer"]["next_step"]
        assert s2.variable("super_read_only") == "ON"
    finally:
        s1.start()
        lossless.converge()


# --- refusals --------------------------------------------------------------------------------------------------------
def test_all_reasons_are_listed_at_once(fresh: Any) -> None:
    cluster = fresh(3, extra={2: "replicate-ignore-db=secret", 3: "sync_binlog=0"})
    s1, _s2, _s3 = cluster.servers
    s1.sql(
        "SET GLOBAL super_read_only = OFF",
        "CREATE DATABASE app",
        "CREATE TABLE app.no_key (v INT)",
        "CREATE TABLE app.old (id INT PRIMARY KEY) ENGINE=MyISAM",
        "SET GLOBAL super_read_only = ON",
    )
    untouched = everything(cluster.servers)
    reasons = refusal(lambda: cluster.converge(survive=("city",)))
    assert set(reasons) == {
        "tables_without_primary_key",
        "tables_not_innodb",
        "replication_filters",
        "settings_drift",
        "disaster_level_not_survived",
    }
    assert reasons["tables_without_primary_key"]["evidence"]["tables"] == ["app.no_key"]
    assert reasons["tables_not_innodb"]["evidence"]["tables"] == ["app.old (MyISAM)"]
    level = reasons["disaster_level_not_survived"]["evidence"]
    assert (level["k_required"], level["possible"]) == (3, False)
    assert reasons["settings_drift"]["evidence"]["drift"][0]["name"] == "sync_binlog"
    assert everything(cluster.servers) == untouched


def test_duplicate_identities_are_refused(fresh: Any) -> None:
    cluster = fresh(3, extra={3: "server_id=2"})
    s1, s2, _s3 = cluster.servers
    reasons = refusal(cluster.converge)
    assert reasons["duplicate_server_id"]["evidence"]["members"] == ["s2", "s3"]
    twice = cluster.members([s1, s2]) + tuple(dataclasses.replace(m, name="again") for m in cluster.members([s2]))
    assert "duplicate_server_uuid" in refusal(lambda: cluster.converge(members=twice))


# --- two at once -----------------------------------------------------------------------------------------------------
def test_two_runs_exclude_each_other_and_a_dead_holder_lets_go(lossless: Any) -> None:
    s1, s2, s3 = lossless.servers
    s2.sql("STOP REPLICA IO_THREAD")
    with s3.connected() as other, other.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('lossless_ha:scratch', 0)")
        with pytest.raises(HaError) as caught:
            lossless.converge()
        assert caught.value.code == "locked"
        assert caught.value.evidence["members"] == ["s3"]
        assert s2.replica()["Replica_IO_Running"] == "No"
    lossless.converge()
    assert_lossless(s1, [s2, s3])


def test_a_server_of_nobody_that_acknowledges_on_an_account_of_ours_is_locked_out(fresh: Any) -> None:
    cluster = fresh(4)
    s1, s2, s3, s4 = cluster.servers
    cluster.converge([s1, s2, s3])
    s4.sql(
        "SET GLOBAL rpl_semi_sync_replica_enabled = ON",
        f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{s1.address}', SOURCE_USER='lossless_repl_4',"
        " SOURCE_PASSWORD='repl\\'\\\\canary%s', SOURCE_SSL=1, SOURCE_AUTO_POSITION=1",
        "START REPLICA",
    )
    eventually(lambda: s1.status("Rpl_semi_sync_source_clients") == "3")
    assert cluster.converge([s1, s2, s3]).changed
    eventually(lambda: s1.status("Rpl_semi_sync_source_clients") == "2")
    assert not cluster.converge([s1, s2, s3]).changed
    cluster.converge([s1, s2, s3, s4])
    assert_lossless(s1, [s2, s3, s4])
