# SPDX-License-Identifier: GPL-3.0-or-later
"""The manager's own account: enough for all that it does, nothing more, and nothing of it in vain.

The manager itself, with its loop and its connections, watches real servers by that account, takes a member out and
brings it back, switches over, and replaces a primary that dies. What the account can not do is tried as well, and each
of its privileges is taken away once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
import scratch
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.hands import ReplicationLogin
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.config import ClusterConfig, Config
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.history import History
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.watch import Manager
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import accounts, schema
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.dialect import Dialect
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login, Session
from waiting import PATIENCE, eventually

MANAGER, PASSWORD = "lossless_manager", "manager'\\canary%s"
ACCOUNT = accounts.Account(MANAGER, "%", accounts.MANAGER)
DENIED = {1044, 1045, 1142, 1143, 1227, 1370, 1410}
"""Access denied, to a database, a table, a column, for want of a privilege; no right to create users by GRANT."""


def make_account(server: scratch.Server) -> None:
    """As the role does, on a primary."""
    login = Login("root", "", ca=str(server.farm.files / "ca.pem"))
    session = Session.connect(server.name, server.address, 33062, login, within=5)
    for expected in (True, False):
        assert accounts.ensure(session, ACCOUNT, PASSWORD, set_password=False, dry=False, within=5) is expected
    session.close()


class Watching:
    """The manager, in a thread of this process, on one cluster."""

    def __init__(self, cluster: Any, place: Path) -> None:
        login = Login(MANAGER, PASSWORD, ca=str(cluster.farm.files / "ca.pem"))
        replication = ReplicationLogin(scratch.REPLICATION_PREFIX, scratch.REPLICATION_PASSWORD, "/scratch/ca.pem")
        watched = ClusterConfig("scratch", cluster.members(), login, replication)
        config = Config((watched,), state_directory=str(place / "state"), journal_directory=str(place / "journal"))
        self.lines: list[str] = []
        self.history = History(config.state_directory)
        self.manager = Manager(config, self.history, lambda _priority, line: self.lines.append(line))
        self._thread = threading.Thread(target=self.manager.run, daemon=True)
        self._thread.start()

    def verdict(self) -> str:
        return str(self.manager.status()["clusters"]["scratch"]["verdict"])

    def close(self) -> None:
        self.manager.stop()
        self._thread.join(PATIENCE)
        self.manager.close()
        self.history.close()


@pytest.fixture
def watching(lossless: Any, tmp_path: Path) -> Iterator[tuple[Any, Watching]]:
    cluster, _failover = lossless(3)
    make_account(cluster.servers[0])
    found = Watching(cluster, tmp_path)
    yield cluster, found
    found.close()


def test_the_manager_switches_over_and_replaces_a_dead_primary_by_its_own_account(
    watching: tuple[Any, Watching],
) -> None:
    cluster, found = watching
    s1, s2, s3 = cluster.servers
    s1.sql("CREATE DATABASE app", "CREATE TABLE app.ledger (id INT PRIMARY KEY)", "INSERT INTO app.ledger VALUES (1)")
    s1.sql("CREATE USER app_owner@localhost IDENTIFIED BY 'x'", "GRANT ALL ON app.* TO app_owner@localhost")
    s1.sql("CREATE DEFINER=app_owner@localhost EVENT app.tick ON SCHEDULE EVERY 1 HOUR DO DO 1")
    eventually(lambda: found.verdict() == "healthy")
    explained = found.manager.explain("scratch")
    assert explained["plan"] and not explained["obstacles"], explained

    taken = found.manager.maintain("scratch", "s3", "take_out", "ann", "new disk")
    assert (taken["outcome"], taken["changed"]) == ("done", True)
    out = eventually(lambda: found.manager.status()["clusters"]["scratch"]["members"]["s3"]["out_of_service"])
    assert out == "new disk (ann)"
    for operation in ("stop", "repoint", "bring_back"):
        assert found.manager.maintain("scratch", "s3", operation, "ann", "")["changed"], operation
    eventually(lambda: s1.status("Rpl_semi_sync_source_clients") == "2")

    switched = found.manager.switchover("scratch", "s2", "ann")
    assert (switched["outcome"], switched["zero_loss"], switched["new_primary"]) == ("promoted", "proven", "s2")
    assert not [note for note in switched["notes"] if "event" in note and "disabled" in note], switched["notes"]
    cluster.new_heart(2, 2)
    eventually(lambda: found.verdict() == "healthy")
    s2.sql("INSERT INTO app.ledger VALUES (2)")

    s2.kill()
    ended = eventually(lambda: [r for r in found.manager.recoveries() if r["old_primary"] == "s2" and r["ended_at"]])[0]
    assert (ended["trigger"], ended["outcome"], ended["zero_loss"]) == ("automatic", "promoted", "proven"), ended
    new, other = (s1, s3) if ended["new_primary"] == "s1" else (s3, s1)
    new.sql("INSERT INTO app.ledger VALUES (3)")
    eventually(lambda: other.value("(SELECT COUNT(*) FROM app.ledger)") == 3)
    event = new.sql("SELECT STATUS AS s, DEFINER AS d FROM information_schema.EVENTS WHERE EVENT_NAME = 'tick'")[0]
    assert event == {"s": "ENABLED", "d": "app_owner@localhost"}
    assert "canary" not in "".join(found.lines) + str(found.manager.status()) + str(found.manager.recoveries())


# --- its limits, on one server ---------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def server(farm: scratch.Farm) -> scratch.Server:
    """A writable server with the collection's schema and an application."""
    (made,) = farm.fresh(1)
    made.sql("SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF", *schema.CREATE)
    make_account(made)
    made.sql("CREATE DATABASE app", "CREATE TABLE app.ledger (id INT PRIMARY KEY)", "INSERT INTO app.ledger VALUES (1)")
    made.sql("CREATE USER app_owner@localhost IDENTIFIED BY 'x'", "GRANT ALL ON app.* TO app_owner@localhost")
    made.sql("CREATE DEFINER=app_owner@localhost EVENT app.tick ON SCHEDULE EVERY 1 HOUR DO DO 1")
    return made


def attempt(server: scratch.Server, *statements: str, port: int = 33062) -> int:
    """The number of the error that these statements end in, 0 when they succeed; nothing of them is committed."""
    try:
        with server.connected(MANAGER, PASSWORD, port) as connection, connection.cursor() as cursor:
            connection.autocommit(False)
            for statement in statements:
                cursor.execute(statement)
            connection.rollback()
    except pymysql.err.MySQLError as error:
        return int(error.args[0])
    return 0


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE DATABASE other",
        "DROP DATABASE app",
        "CREATE TABLE app.other (id INT)",
        "SELECT * FROM app.ledger",
        "INSERT INTO app.ledger VALUES (9)",
        "DELETE FROM app.ledger",
        "GRANT SELECT ON app.* TO lossless_manager@'%'",
        "GRANT PROCESS ON *.* TO app_owner@localhost",
        "GRANT SYSTEM_USER ON *.* TO lossless_manager@'%'",
        "REVOKE ALL ON app.* FROM app_owner@localhost",
        "ALTER USER root@'%' ACCOUNT LOCK",
        "DROP USER root@'%'",
        "SELECT authentication_string FROM mysql.user",
        "UPDATE mysql.user SET account_locked = 'Y'",
        "CREATE TABLE lossless_ha.other (id INT)",
        "DROP TABLE lossless_ha.term",
        "UPDATE lossless_ha.term SET k = 0",
        "DELETE FROM lossless_ha.term",
        "DELETE FROM lossless_ha.heartbeat",
        "ALTER TABLE lossless_ha.term ADD COLUMN more INT",
        "PURGE BINARY LOGS TO 'binlog.000001'",
        "CLONE LOCAL DATA DIRECTORY '/tmp/clone'",
        "LOCK INSTANCE FOR BACKUP",
        "INSTALL PLUGIN rpl SONAME 'semisync_source.so'",
        "UNINSTALL PLUGIN clone",
        "SHUTDOWN",
        "SELECT LOAD_FILE('/etc/passwd') INTO OUTFILE '/tmp/passwd'",
        "SELECT * FROM sys.session",
    ],
)
def test_it_can_not(server: scratch.Server, statement: str) -> None:
    assert attempt(server, statement) in DENIED


@pytest.mark.parametrize(
    "statement", ["SET SESSION sql_log_bin = 0", "ALTER USER app_owner@localhost IDENTIFIED BY 'y'"]
)
def test_what_mysql_gives_with_what_it_needs_is_documented(server: scratch.Server, statement: str) -> None:
    """Why the documentation says to guard its password like the administrator's."""
    assert attempt(server, statement) == 0


TERM = (
    "INSERT INTO lossless_ha.term (revision, term, primary_uuid, members, k, wait_point, acknowledgement, no_tx_base,"
    " proof, run_id, reason) VALUES (9, 9, 'u', '[]', 1, 'AFTER_SYNC', 'disk', 0, 'proven', 'r', 'x')"
)
BEAT = schema.WRITE_HEARTBEAT.replace("%s", "9")
EVENT = "EVENT app.tick ENABLE"
ON_ALL, BEATS = "*.*", "lossless_ha.heartbeat"
NEEDED = {
    ("PROCESS", ON_ALL): "SELECT COUNT(*) FROM information_schema.innodb_trx",
    ("RELOAD", ON_ALL): "RESET REPLICA ALL FOR CHANNEL ''",
    ("EVENT", ON_ALL): f"ALTER {EVENT}",
    ("SET_ANY_DEFINER", ON_ALL): f"ALTER DEFINER = app_owner@localhost {EVENT}",
    ("REPLICATION CLIENT", ON_ALL): "SHOW REPLICA STATUS",
    ("CREATE USER", ON_ALL): "ALTER USER IF EXISTS lossless_repl_5@'%' ACCOUNT LOCK",
    ("REPLICATION_SLAVE_ADMIN", ON_ALL): "STOP REPLICA FOR CHANNEL ''",
    ("SYSTEM_VARIABLES_ADMIN", ON_ALL): "SET GLOBAL rpl_semi_sync_replica_enabled = OFF",
    ("CONNECTION_ADMIN", ON_ALL): "SET GLOBAL offline_mode = OFF",
    ("SERVICE_CONNECTION_ADMIN", ON_ALL): "SELECT 1",
    ("SELECT", "performance_schema.*"): "SELECT COUNT(*) FROM performance_schema.replication_connection_status",
    ("SELECT (User)", "mysql.user"): "SELECT User FROM mysql.user",
    ("SELECT (Host)", "mysql.user"): "SELECT Host FROM mysql.user",
    ("SELECT (account_locked)", "mysql.user"): "SELECT account_locked FROM mysql.user",
    ("SELECT", "lossless_ha.*"): schema.SELECT_TERM,
    ("INSERT", "lossless_ha.term"): TERM,
    ("INSERT", BEATS): BEAT,
    ("UPDATE", BEATS): BEAT,
}


def test_every_privilege_is_looked_at() -> None:
    held = {
        (privilege, subject)
        for privileges, subject in accounts.grants_of(accounts.MANAGER, Dialect((9, 7, 4)))
        for privilege in privileges.split(", ")
    }
    assert held == set(NEEDED)


@pytest.mark.parametrize(("privilege", "subject"), NEEDED)
def test_it_needs(server: scratch.Server, privilege: str, subject: str) -> None:
    """Without that one privilege something fails that a failover, or taking a member out, does."""
    statement = NEEDED[privilege, subject]
    assert attempt(server, statement) == 0
    server.sql(f"REVOKE {privilege} ON {subject} FROM {MANAGER}@'%'")
    try:
        assert attempt(server, statement) in DENIED
    finally:
        server.sql(f"GRANT {privilege} ON {subject} TO {MANAGER}@'%'")
    assert attempt(server, statement) == 0


def test_it_may_end_the_session_of_an_application_and_is_let_in_while_the_server_is_offline(
    server: scratch.Server,
) -> None:
    server.sql("CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'x'")
    with server.connected("app", "x", 3306) as application:
        assert attempt(server, f"KILL CONNECTION {application.thread_id()}") == 0
        with pytest.raises(pymysql.err.MySQLError):
            application.ping(reconnect=False)
    assert attempt(server, "SET GLOBAL offline_mode = ON") == 0
    try:
        assert attempt(server, "SELECT 1") == 0
        with pytest.raises(pymysql.err.MySQLError), server.connected("app", "x", 3306):
            pass
    finally:
        assert attempt(server, "SET GLOBAL offline_mode = OFF") == 0
    assert attempt(server, "SET GLOBAL super_read_only = ON") == 0
    assert attempt(server, "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = ON", TERM) == 0
    assert attempt(server, "SET GLOBAL read_only = OFF") == 0
