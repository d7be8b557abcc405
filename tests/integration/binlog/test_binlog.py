# SPDX-License-Identifier: GPL-3.0-or-later
"""The reader and the archive against a real server: mysqlbinlog as the judge, kill -9 as the crash.

One container of the lab's image with a mysqld of its own; the lab's hosts are not touched.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playing import run_module

CHECKOUT = Path(__file__).resolve().parents[3]
CONFIG = """[mysqld]
user=mysql
datadir=/data/mysql
socket=/tmp/s.sock
pid_file=/tmp/s.pid
log_error=/tmp/err.log
server_id=7
skip_networking=ON
mysqlx=OFF
innodb_buffer_pool_size=32M
innodb_redo_log_capacity=32M
gtid_mode=ON
enforce_gtid_consistency=ON
log_bin=binlog
sync_binlog=1
max_binlog_size=65536
"""
READER = """
import json, sys
sys.path.insert(0, "/tmp/collections")
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.files import BinlogFile
with BinlogFile.open(sys.argv[1]) as file:
    transactions = [[str(t.gtid), t.start, t.length, t.complete, t.contents_known,
                     {f"{x.schema}.{x.table}": [x.write, x.update, x.delete] for x in t.tables}]
                    for t in file.transactions()]
    print(json.dumps([transactions, file.ending.as_result()]))
"""

ASSASSIN = """
import os, signal, sys, time
path, server = sys.argv[1], int(sys.argv[2])
before = os.stat(path).st_size
until = time.monotonic() + 60
while os.stat(path).st_size == before and time.monotonic() < until:
    pass
os.kill(server, signal.SIGKILL)
"""


def docker(*arguments: str, given: str = "", check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], input=given, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)[:200]}: {done.stderr[-600:]}")
    return done.stdout


class Host:
    """A container with a mysqld that can be started, killed and asked."""

    def __init__(self, name: str) -> None:
        self.name = name

    def sh(self, script: str, check: bool = True) -> str:
        return docker("exec", "-i", self.name, "bash", given=script, check=check)

    def sql(self, statements: str, check: bool = True) -> str:
        script = f"mysql -S /tmp/s.sock --max-allowed-packet=64M -N <<'SQL'\n{statements}\nSQL\n"
        return self.sh(script, check=check)

    def start(self) -> None:
        assert self.sh("pgrep -x mysqld", check=False) == ""
        self.sh("nohup mysqld --defaults-file=/tmp/my.cnf >/tmp/out 2>&1 &")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if "alive" in self.sh("mysqladmin -S /tmp/s.sock ping 2>/dev/null", check=False):
                return
            time.sleep(0.3)
        raise AssertionError(self.sh("tail -20 /tmp/err.log"))

    def wait_dead(self) -> None:
        until = time.monotonic() + 60
        while self.sh("pgrep -x mysqld", check=False):
            assert time.monotonic() < until
            time.sleep(0.2)

    def files(self) -> list[str]:
        return self.sh("cd /data/mysql; cat binlog.index").split()

    def read(self, name: str) -> Any:
        return json.loads(self.sh(f"cd /data/mysql; python3 -B /tmp/read.py {name}"))

    def size(self, name: str) -> int:
        return int(self.sh(f"stat -c %s /data/mysql/{name}"))


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    try:
        images = docker("images", "mysql-ha-lab", "--format", "{{.Repository}}:{{.Tag}}", check=False).split()
    except FileNotFoundError:
        images = []
    if not images:
        pytest.skip("needs Docker and the lab's image: make lab-up")
    name = f"binlog-{uuid.uuid4().hex[:8]}"
    docker("run", "-d", "--init", "--name", name, "-v", "/data", "--entrypoint", "sleep", images[0], "3600")
    try:
        server = Host(name)
        room = "/tmp/collections/ansible_collections/lossless/mysql_ha/plugins/module_utils"
        server.sh(f"mkdir -p {room} /data/mysql; chown mysql /data/mysql; touch {room}/__init__.py")
        for part in ("errors.py", "gtid.py", "binlog"):
            docker("cp", str(CHECKOUT / "plugins" / "module_utils" / part), f"{name}:{room}/{part}")
        server.sh(f"cat >/tmp/my.cnf <<'E'\n{CONFIG}E\nchmod 644 /tmp/my.cnf\ncat >/tmp/read.py <<'E'\n{READER}E\n")
        server.sh(f"cat >/tmp/assassin.py <<'E'\n{ASSASSIN}E\n")
        server.sh("mysqld --defaults-file=/tmp/my.cnf --initialize-insecure")
        server.start()
        server.sql(WORKLOAD)
        yield server
    finally:
        docker("rm", "-f", "-v", name, check=False)


WORKLOAD = """
CREATE DATABASE bank; USE bank;
CREATE TABLE entry(id INT AUTO_INCREMENT PRIMARY KEY, account INT, cents BIGINT, note TEXT);
CREATE TABLE big(id INT AUTO_INCREMENT PRIMARY KEY, t LONGTEXT);
DELIMITER //
CREATE PROCEDURE work(n INT)
BEGIN
  DECLARE i INT DEFAULT 0;
  WHILE i < n DO
    START TRANSACTION;
    INSERT INTO entry(account, cents, note) VALUES(i, i * 3, REPEAT('n', i % 300));
    IF i % 3 = 0 THEN UPDATE entry SET cents = cents + 1 WHERE account = i - 1; END IF;
    IF i % 7 = 0 THEN DELETE FROM entry WHERE account = i - 3; END IF;
    COMMIT;
    SET i = i + 1;
  END WHILE;
END//
DELIMITER ;
CALL work(300);
SET gtid_next = 'AUTOMATIC:mytag';
INSERT INTO entry(account, cents) VALUES(1, 1);
INSERT INTO entry(account, cents) VALUES(2, 2);
CREATE TABLE tagged(id INT PRIMARY KEY);
SET gtid_next = 'AUTOMATIC';
SET SESSION binlog_transaction_compression = ON;
CALL work(200);
INSERT INTO entry(account, cents, note) SELECT account, cents, REPEAT(note, 5) FROM entry;
INSERT INTO big(t) SELECT REPEAT(MD5X.n, 2000000) FROM (SELECT 'abc' AS n UNION SELECT 'def') AS MD5X;
SET SESSION binlog_transaction_compression = OFF;
INSERT INTO entry(account, cents, note) SELECT account, cents, REPEAT('w', 500) FROM entry;
XA START 'one'; INSERT INTO entry(account, cents) VALUES(3, 3); XA END 'one'; XA PREPARE 'one'; XA COMMIT 'one';
XA START 'two'; INSERT INTO entry(account, cents) VALUES(4, 4); XA END 'two'; XA PREPARE 'two'; XA ROLLBACK 'two';
XA START 'three'; INSERT INTO entry(account, cents) VALUES(5, 5); XA END 'three'; XA COMMIT 'three' ONE PHASE;
SET GLOBAL binlog_checksum = NONE;
CALL work(30);
SET GLOBAL binlog_checksum = CRC32;
CALL work(30);
"""

_AT = re.compile(r"# at (\d+)")
_EVENT = re.compile(r"#\d{6} +\d+:\d\d:\d\d server id \d+  end_log_pos \d+(?: CRC32 0x[0-9a-f]+)? \t(.*)")
_NEXT = re.compile(r"SET @@SESSION.GTID_NEXT= '([^']+)'")
_MAP = re.compile(r"Table_map: `(.*)`\.`(.*)` mapped to number (\d+)")
_ROWS = re.compile(r"(Write|Update|Delete)_rows: table id (\d+)")


def as_mysqlbinlog_says(host: Host, path: str) -> list[Any]:
    text = host.sh(
        f"cd /data/mysql; mysqlbinlog --force-if-open --verify-binlog-checksum --base64-output=decode-rows {path}"
    )
    transactions: list[Any] = []
    maps: dict[str, str] = {}
    at = 0
    for line in text.splitlines():
        if found := _AT.match(line):
            at = int(found[1])
        elif found := _NEXT.match(line):
            if found[1] != "AUTOMATIC":
                transactions[-1][0] = found[1]
        elif found := _EVENT.match(line):
            what = found[1]
            if what.startswith("GTID"):
                length = re.search(r"transaction_length=(\d+)", what)
                assert length
                transactions.append(["", at, int(length[1]), {}])
            elif table := _MAP.match(what):
                maps[table[3]] = f"{table[1]}.{table[2]}"
            elif rows := _ROWS.match(what):
                counts = transactions[-1][3].setdefault(maps[rows[2]], [0, 0, 0])
                counts[("Write", "Update", "Delete").index(rows[1])] += 1
    return transactions


def test_every_file_as_mysqlbinlog_reads_it(host: Host) -> None:
    host.sql("FLUSH BINARY LOGS")
    names = host.files()
    assert len(names) > 5
    total = 0
    for name in names:
        transactions, ending = host.read(name)
        expected = as_mysqlbinlog_says(host, name)
        assert [each[:3] for each in transactions] == [each[:3] for each in expected], name
        for each, other in zip(transactions, expected, strict=True):
            assert each[3]
            assert each[4], "this Python has zstd"
            assert each[5] == other[3], (name, each)
        assert ending["whole"] == ending["size"] == host.size(name)
        assert ending["how"] == ("open" if name == names[-1] else "closed")
        total += len(transactions)
    assert total > 550


def test_a_torn_tail_ends_where_the_server_cuts_it(host: Host) -> None:
    """Killed while a large transaction is being written: what we call whole is what mysqld keeps when it starts."""
    torn = 0
    large = ",".join("(REPEAT('x',16000000))" for _turn in range(6))
    for _turn in range(12):
        host.sql("FLUSH BINARY LOGS; INSERT INTO bank.entry(account, cents) VALUES(9, 9)")
        name = host.files()[-1]
        host.sh(
            f"""cd /data/mysql
            (mysql -S /tmp/s.sock -e "INSERT INTO bank.big(t) VALUES {large}" >/dev/null 2>&1 &)
            python3 /tmp/assassin.py {name} $(cat /tmp/s.pid)"""
        )
        host.wait_dead()
        _transactions, ending = host.read(name)
        size = host.size(name)
        host.start()
        assert host.size(name) == ending["whole"], (size, ending)
        if ending["how"] == "torn":
            torn += 1
            assert size > ending["whole"]
            assert ending["unfinished"]
        if torn == 3:
            break
        host.sql("TRUNCATE bank.big")
    assert torn


def module(host: Path, *, check: bool = False, fails: bool = False, **options: Any) -> dict[str, Any]:
    """The module as a playbook runs it, on a copy of the data directory."""
    given = {"log_bin_index": f"{host}/mysql/binlog.index", "directory": f"{host}/kept", "cluster": "ledger"}
    result, printed = run_module("mysql_binlog_archive", {**given, **options}, check=check, fails=fails)
    return dict(result, shown=printed)


def test_the_module(host: Host, tmp_path: Path) -> None:
    host.sql("FLUSH BINARY LOGS")
    docker("cp", f"{host.name}:/data/mysql", str(tmp_path))
    server = host.sql("SELECT @@server_uuid").strip()
    asked = f"{server}:4-6:290-310:mytag:2"
    planned = module(tmp_path, gtids=asked, check=True)
    assert planned["changed"]
    assert not (tmp_path / "kept").exists()
    done = module(tmp_path, gtids=asked)
    assert done["changed"]
    assert (done["path"], done["found"], done["transaction_count"]) == (planned["path"], asked, 25)
    assert f"+found: {asked}" in done["shown"]
    assert module(tmp_path, gtids=asked)["changed"] is False
    lost = module(tmp_path, gtids=f"{asked},{server}:99999", fails=True)
    assert lost["code"] == "gtids_not_in_binlog"
    assert lost["evidence"]["missing"] == [{"gtids": f"{server}:99999", "why": "unknown_here"}]
    some = module(tmp_path, gtids=f"{asked},{server}:99999", allow_missing=True)
    assert (some["changed"], some["missing_gtids"]) == (True, f"{server}:99999")

    docker("cp", f"{done['path']}/transactions.binlog", f"{host.name}:/data/mysql/archive")
    kept = as_mysqlbinlog_says(host, "archive")
    assert [each[0] for each in kept] == [each["gtid"] for each in done["transactions"]]
    assert sorted(each[2] for each in kept) == sorted(each["end"] - each["start"] for each in done["transactions"])


def test_an_archive_can_be_replayed(host: Host, tmp_path: Path) -> None:
    """The evidence is whole: played into a server, the rows are there."""
    host.sql("FLUSH BINARY LOGS; CREATE TABLE bank.replayed(id INT PRIMARY KEY, v TEXT)")
    before = host.sql("SELECT @@GLOBAL.gtid_executed").replace("\\n", "").strip()
    host.sql(
        "INSERT INTO bank.replayed VALUES(1, 'plain'); SET SESSION binlog_transaction_compression=ON;"
        " SET gtid_next='AUTOMATIC:zipped'; INSERT INTO bank.replayed VALUES(2, REPEAT('z', 9000))"
    )
    errant = host.sql(f"SELECT GTID_SUBTRACT(@@GLOBAL.gtid_executed, '{before}')").replace("\\n", "").strip()
    docker("cp", f"{host.name}:/data/mysql", str(tmp_path))
    done = module(tmp_path, gtids=errant)
    assert done.get("transaction_count") == 2, done
    docker("cp", f"{done['path']}/transactions.binlog", f"{host.name}:/data/replay")
    host.sql("SET sql_log_bin=0; TRUNCATE bank.replayed")
    host.sh("mysqlbinlog --skip-gtids /data/replay | mysql -S /tmp/s.sock")
    assert host.sql("SELECT id, LENGTH(v) FROM bank.replayed").split() == ["1", "5", "2", "9000"]
