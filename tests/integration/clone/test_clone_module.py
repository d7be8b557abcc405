# SPDX-License-Identifier: GPL-3.0-or-later
"""mysql_clone on real servers, as Ansible runs it: idempotence, refusals, and everything that can go wrong half way.

The servers hold little; where something is to happen in the middle, the copy is slowed down.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
import pytest
import scratch
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.progress import STANDS_STILL
from playing import run_module
from waiting import eventually

SLOW = {"data_bandwidth": 6, "progress_every": 1}
"""MiB a second, of some 80 MiB and what is added."""
LARGE = 160
"""Megabytes."""


class Seeded:
    """s1 to s3 are a lossless cluster with data; s4 is new and empty."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.s1, self.s2, self.s3, self.s4 = cluster.servers

    def clone(self, *, check: bool = False, fails: bool = False, **options: Any) -> tuple[dict[str, Any], str]:
        given = {"recipient": "s4", **options}
        return run_module("mysql_clone", self.cluster.arguments("mysql_clone", **given), check=check, fails=fails)

    def holds_everything(self) -> bool:
        """s4 has, row by row, what the primary has."""
        wanted = self.s1.sql("SELECT id, v FROM app.t ORDER BY id")
        ends = time.monotonic() + 15
        while self.s4.sql("SELECT id, v FROM app.t ORDER BY id") != wanted:
            if time.monotonic() > ends:
                return False
            time.sleep(0.2)
        return True

    def is_empty_again(self) -> None:
        """As the role leaves a new server."""
        self.s4.create()
        self.s4.wait()


@pytest.fixture(scope="module")
def made(farm: scratch.Farm, new_cluster: Any) -> Seeded:
    cluster = new_cluster(farm, farm.fresh(4))
    cluster.converge(cluster.servers[:3])
    s1 = cluster.servers[0]
    s1.sql("CREATE DATABASE app", "CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v CHAR(64))")
    s1.sql("INSERT INTO app.t (v) VALUES ('a'), ('b'), ('c')")
    # The first second of a copy is not throttled, whatever the limit: so little would be over by then.
    s1.sql("CREATE TABLE app.large (id INT AUTO_INCREMENT PRIMARY KEY, body LONGBLOB)")
    for _time in range(LARGE // 8):
        s1.sql("INSERT INTO app.large (body) VALUES " + ", ".join(["(REPEAT('x', 1000000))"] * 8))
    return Seeded(cluster)


@pytest.fixture
def seeded(made: Seeded) -> Seeded:
    """With s4 empty, whatever the test before left."""
    if not made.s4.container or made.s4.replica() or _executed(made.s4):
        made.is_empty_again()
    return made


def _executed(server: scratch.Server) -> str:
    try:
        return str(server.value("@@GLOBAL.gtid_executed"))
    except pymysql.err.Error:  # it is made anew then, whatever it was
        return "unknown"


def _clone_state(server: scratch.Server) -> str:
    return str(server.sql("SELECT STATE AS state FROM performance_schema.clone_status")[0]["state"])


@contextmanager
def once_copying(server: scratch.Server, then: Any) -> Iterator[None]:
    """Do something once files are being copied to that server."""

    def watch() -> None:
        ends = time.monotonic() + 40
        while time.monotonic() < ends:
            try:
                rows = server.sql(
                    "SELECT DATA AS d FROM performance_schema.clone_progress"
                    " WHERE STAGE = 'FILE COPY' AND STATE = 'In Progress' AND DATA > 2000000"
                )
            except pymysql.err.Error:  # not up yet
                rows = []
            if rows:
                then()
                return
            time.sleep(0.1)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive(), "the copy was never seen at work"


def lines(printed: str) -> list[str]:
    return re.findall(r"^clone: \[[^]]+\]: (.*)$", printed, re.MULTILINE)


# --- the way it should go --------------------------------------------------------------------------------------------
def test_it_is_planned_done_shown_and_done_once(seeded: Seeded) -> None:
    planned, _printed = seeded.clone(check=True, replicate=True)
    assert planned["changed"] and planned["donor"] in ("s2", "s3")
    assert not _executed(seeded.s4)
    done, printed = seeded.clone(replicate=True, **SLOW)
    assert done["changed"] and done["finished"] and done["following"] and done["donor"] == planned["donor"]
    assert done["plan"][0] == planned["plan"][0] and len(done["plan"]) == 2
    shown = lines(printed)
    assert len(shown) >= 2 and any(re.search(r"MiB of .* \(\d+ %\), .*/s, about .* left", text) for text in shown), (
        shown
    )
    position = done["position"]
    assert position["gtid_executed"] and position["binlog_file"] and position["bytes"] > 20_000_000
    assert seeded.holds_everything()
    assert seeded.s4.variable("rpl_semi_sync_replica_enabled") == "OFF"
    assert seeded.s4.variable("clone_max_data_bandwidth") == "0", "the limit was for this clone only"
    assert "s4" not in json.dumps(seeded.s1.sql("SELECT members FROM lossless_ha.term ORDER BY revision DESC LIMIT 1"))
    again, _printed = seeded.clone(replicate=True)
    assert not again["changed"] and "follows" in again["why"]
    named, _printed = seeded.clone(expendable=["s4"])
    assert not named["changed"], "who needs no clone is left as it is"


def test_without_following_it_is_a_clone_all_the_same_and_convergence_registers_it(seeded: Seeded) -> None:
    done, _printed = seeded.clone(donor="s1")
    assert done["changed"] and not done["following"] and not seeded.s4.replica()
    again, _printed = seeded.clone(donor="s1")
    assert not again["changed"] and "cloned" in again["why"]
    report = seeded.cluster.converge()
    assert report.after.term is not None and report.after.term.n == 3
    assert not [s for s in report.steps if s["step"] == "Clone"]
    refused, _printed = seeded.clone(expendable=["s4"], fails=False)
    assert not refused["changed"]
    seeded.cluster.maintain("take_out", "s4")
    seeded.cluster.converge(seeded.cluster.servers[:3])


# --- refusals --------------------------------------------------------------------------------------------------------
def test_data_are_refused_unless_named_and_all_reasons_come_at_once(seeded: Seeded) -> None:
    seeded.s4.sql(
        "SET GLOBAL super_read_only = OFF", "CREATE DATABASE mine", "CREATE TABLE mine.t (id INT PRIMARY KEY)"
    )
    seeded.s4.sql("SET GLOBAL max_allowed_packet = 1048576", "SET GLOBAL collation_server = 'utf8mb4_bin'")
    refused, _printed = seeded.clone(fails=True, free_bytes=1000, clone_password="wrong")
    codes = {reason["code"] for reason in refused["evidence"]["reasons"]}
    assert codes >= {
        "server_is_writable",
        "recipient_has_data",
        "max_allowed_packet_small",
        "clone_settings_differ",
        "disk_space_short",
        "clone_account_unfit",
    }, refused["msg"]
    assert seeded.s4.sql("SELECT COUNT(*) AS n FROM mine.t")[0]["n"] == 0
    seeded.s4.sql(
        "SET GLOBAL max_allowed_packet = DEFAULT",
        "SET GLOBAL collation_server = DEFAULT",
        "SET GLOBAL super_read_only = ON",
    )
    done, _printed = seeded.clone(expendable=["s4"], replicate=True)
    assert done["changed"] and seeded.holds_everything()
    assert "mine" not in [next(iter(row.values())) for row in seeded.s4.sql("SHOW DATABASES")]


def test_a_registered_acknowledger_and_the_primary_are_never_wiped(seeded: Seeded) -> None:
    seeded.s3.sql("STOP REPLICA")
    seeded.s1.sql("INSERT INTO app.t (v) VALUES ('s3 lacks this')")
    try:
        refused, _printed = seeded.clone(recipient="s3", expendable=["s3"], fails=True)
        assert "member_registered" in [r["code"] for r in refused["evidence"]["reasons"]]
    finally:
        seeded.s3.sql("START REPLICA")
    refused, _printed = seeded.clone(recipient="s1", expendable=["s1"], fails=True)
    assert {"member_is_primary", "server_is_writable"} <= {r["code"] for r in refused["evidence"]["reasons"]}


def test_running_ddl_is_refused_instead_of_waited_for(seeded: Seeded) -> None:
    with seeded.s4.connected() as connection, connection.cursor() as cursor:
        cursor.execute("LOCK INSTANCE FOR BACKUP")
        refused, _printed = seeded.clone(fails=True)
        assert [r["code"] for r in refused["evidence"]["reasons"]] == ["backup_lock_held"]
    assert not _executed(seeded.s4)


# --- what goes wrong half way ----------------------------------------------------------------------------------------
@pytest.mark.long
def test_a_connection_that_is_lost_and_a_run_that_is_killed_are_taken_up(seeded: Seeded) -> None:
    def cut() -> None:
        """Every connection of ours to the recipient, the one of the statement too if it were there; and once more."""
        for row in seeded.s4.sql(
            f"SELECT ID AS id FROM performance_schema.processlist WHERE USER = '{scratch.ADMIN}' AND COMMAND = 'Sleep'"
        ):
            seeded.s4.sql(f"KILL {row['id']}")

    with once_copying(seeded.s4, cut):
        done, _printed = seeded.clone(**SLOW)
    assert done["changed"] and done["finished"]


@pytest.mark.long
def test_a_donor_that_dies_is_no_clone_and_the_next_run_takes_another(seeded: Seeded) -> None:
    with once_copying(seeded.s4, seeded.s2.kill):
        failed, _printed = seeded.clone(donor="s2", fails=True, clone_timeout=60, **SLOW)
    try:
        assert failed["code"] in ("clone_failed", "clone_timed_out"), failed["msg"]
        if failed["code"] == "clone_timed_out":
            thread = seeded.s4.sql("SELECT PID AS pid FROM performance_schema.clone_status")[0]["pid"]
            seeded.s4.sql(f"KILL QUERY {thread}")
            eventually(lambda: _clone_state(seeded.s4) != "In Progress")
        done, _printed = seeded.clone(replicate=True)
        assert done["changed"] and done["donor"] != "s2" and seeded.holds_everything()
    finally:
        seeded.s2.start()
        seeded.cluster.converge(seeded.cluster.servers[:3])


@pytest.mark.long
def test_a_recipient_that_is_killed_is_a_wreck_and_is_cloned_again_without_being_named(seeded: Seeded) -> None:
    seeded.clone(replicate=True)
    seeded.s4.sql("STOP REPLICA", "RESET REPLICA ALL")
    seeded.s4.sql(
        "SET GLOBAL super_read_only = OFF", "INSERT INTO app.t (v) VALUES ('mine')", "SET GLOBAL super_read_only = ON"
    )

    def kill_and_start() -> None:
        seeded.s4.kill()
        seeded.s4.start()

    with once_copying(seeded.s4, kill_and_start):
        failed, _printed = seeded.clone(expendable=["s4"], fails=True, **SLOW)
    assert failed["code"] == "clone_failed" and failed["evidence"]["dropped"], failed["msg"]
    # A convergence must not take its gtid_executed for data.
    report = seeded.cluster.converge(check=True)
    assert "Clone" in [s["step"] for s in report.steps]
    done, _printed = seeded.clone(replicate=True)
    assert done["changed"] and seeded.holds_everything()


@pytest.mark.long
def test_a_server_that_nothing_supervises_is_waited_for(seeded: Seeded) -> None:
    seeded.s4.create(supervised=False)
    seeded.s4.wait()

    def start_again() -> None:
        ends = time.monotonic() + 60
        while (
            time.monotonic() < ends
            and scratch.docker("inspect", "-f", "{{.State.Running}}", seeded.s4.container) == "true"
        ):
            time.sleep(0.3)
        # Nobody starts it before being told to.
        time.sleep(STANDS_STILL + 2 * float(SLOW["progress_every"]))
        seeded.s4.start()

    with once_copying(seeded.s4, start_again):
        done, printed = seeded.clone(replicate=True, **SLOW)
    assert done["changed"] and done["following"] and seeded.holds_everything()
    assert any("start it now" in text or "start mysqld there now" in text for text in lines(printed)), lines(printed)
    again, _printed = seeded.clone(replicate=True)
    assert not again["changed"]


# --- into a directory ------------------------------------------------------------------------------------------------
@pytest.mark.long
def test_a_directory_is_made_once_and_starts_as_what_its_record_says(seeded: Seeded) -> None:
    s3 = seeded.s3
    scratch.docker("exec", s3.container, "install", "-d", "-o", "mysql", "/srv/copies")
    given = seeded.cluster.arguments("mysql_clone", donor="s3", directory="/srv/copies/one", ca_cert="/scratch/ca.pem")
    for secret in ("replication_password", "clone_password", "replication_ca"):
        given.pop(secret)

    def run(**options: Any) -> Any:
        return run_module("mysql_clone", {**given, **options.pop("more", {})}, host=s3.container, **options)

    planned, _printed = run(check=True)
    assert planned["changed"] and planned["plan"]
    here = {**given, "ca_cert": str(seeded.cluster.farm.files / "ca.pem")}
    elsewhere, _printed = run_module("mysql_clone", here, fails=True)
    assert "not_on_donors_host" in [r["code"] for r in elsewhere["evidence"]["reasons"]]
    done, _printed = run()
    record = done["record"]
    assert done["changed"] and record["state"] == "complete" and record["donor_uuid"] == s3.uuid()
    again, _printed = run()
    assert not again["changed"] and again["record"] == record
    scratch.docker("exec", s3.container, "sh", "-c", "echo x >> /srv/copies/one/ibdata1")
    refused, _printed = run(fails=True)
    assert [r["code"] for r in refused["evidence"]["reasons"]] == ["clone_changed"]
    foreign, _printed = run(fails=True, more={"directory": "/srv/copies"})
    assert [r["code"] for r in foreign["evidence"]["reasons"]] == ["directory_not_a_clone"]
