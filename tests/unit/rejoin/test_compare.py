# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing what an archive names, on servers that are dictionaries. The SQL itself is tried on real servers.

Every way in which the two can differ must be found: a comparison that cannot fail is worth nothing. The last tests take
the comparison's own parts away and show that it is then wrong.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import archive
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin import compare as room
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin import compare_plan as plan
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.compare import Comparison, Limits
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed

Rows = dict[int, str]
SETTINGS = {
    "time_zone": "SYSTEM", "sql_mode": "STRICT_TRANS_TABLES", "transaction_isolation": "REPEATABLE-READ",
    "max_execution_time": 0, "sql_select_limit": 10, "innodb_lock_wait_timeout": 50, "lock_wait_timeout": 31536000,
}  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Fake:
    """One server: tables with a key ``id`` and a column ``v``; or without a key, then ``id`` is the content itself."""

    def __init__(self, name: str, clock: Clock, tables: dict[str, Rows]) -> None:
        self.name = name
        self.usable = True
        self.clock = clock
        self.tables = {table: dict(rows) for table, rows in tables.items()}
        self.keyless: set[str] = set()
        self.types = {"id": "int", "v": "varchar(10)"}
        self.settings = dict(SETTINGS)
        self.packet = 64 << 20
        self.log: list[str] = []
        self.source: Fake | None = None
        self.executed = 0
        self.pending: list[tuple[str, int, str | None]] = []
        self.late = False
        self.before_reading: Callable[[], None] = lambda: None
        self.before_waiting: Callable[[], None] = lambda: None
        self.fails: dict[str, StatementFailed] = {}

    def commit(self, table: str, key: int, value: str | None) -> None:
        """On a primary: it is there, and the replica has it to do."""
        self.executed += 1
        self._set(table, key, value)

    def _set(self, table: str, key: int, value: str | None) -> None:
        self.tables[table].pop(key, None)
        if value is not None:
            self.tables[table][key] = value

    def one(self, sql: str, values: Any = (), *, within: float) -> dict[str, Any]:
        rows = self.query(sql, values, within=within)
        return rows[0] if rows else {}

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self.query(sql, values, within=within)

    def query(self, sql: str, values: Any = (), *, within: float) -> list[dict[str, Any]]:
        assert within > 0
        self.log.append(sql)
        self.clock.now += 0.001
        for part, error in self.fails.items():
            if part in sql:
                raise error
        if sql.startswith("SET "):
            self.settings.update(zip(re.findall(r"SESSION (\w+) =", sql), values, strict=True))
            return []
        if sql.startswith("SELECT @@SESSION.max_allowed_packet"):
            return [{"packet": self.packet}]
        if sql.startswith("SELECT @@SESSION"):
            return [dict(self.settings)]
        if sql.startswith("SELECT @@GLOBAL.gtid_executed"):
            return [{"gtids": str(self.executed)}]
        if "WAIT_FOR_EXECUTED_GTID_SET" in sql:
            assert self.source is not None
            self.before_waiting()
            if not self.late:
                for change in self.pending:
                    self._set(*change)
                self.pending.clear()
            return [{"late": int(self.late)}]
        if sql.startswith("SHOW CREATE"):
            return self._shown(sql)
        if "information_schema" in sql:
            return self._facts(sql, values[1])
        return self._rows(sql, values)

    def _shown(self, sql: str) -> list[dict[str, Any]]:
        table = re.findall(r"`(\w+)`", sql)[-1]
        if table not in self.tables:
            raise StatementFailed("sql_error", "no such table", errno=1146)
        return [{"Table": table, "Create Table": f"CREATE TABLE `{table}` {self.types} AUTO_INCREMENT={self.executed}"}]

    def _facts(self, sql: str, table: str) -> list[dict[str, Any]]:
        if table not in self.tables:
            return []
        if sql == room.UNIQUE_KEYS:
            key = {"name": "PRIMARY", "part": "id", "prefix": None, "nullable": ""}
            return [] if table in self.keyless else [key]
        return [
            {"name": name, "data_type": kind.partition("(")[0], "type": kind, "charset": "utf8mb4", "collation": "x",
             "nullable": "NO", "formula": ""}
            for name, kind in self.types.items()
        ]  # fmt: skip

    def _rows(self, sql: str, values: Any) -> list[dict[str, Any]]:
        self.before_reading()
        table = re.findall(r"FROM `bank`\.`(\w+)`", sql)[0]
        rows = self.tables[table]
        if table in self.keyless:
            wanted = set(zip(values[::2], values[1::2], strict=True))
            return [{"identity": f"{k}/{v}", "content": 1} for k, v in rows.items() if (k, v) in wanted]
        found = {key: rows[key] for key in values if key in rows}
        if " AS content" in sql:
            return [{"identity": f"key{key}", "content": value} for key, value in found.items()]
        return [
            {"identity": f"key{key}", "d0": str(key), "d1": value, "v0": str(key), "v1": value}
            for key, value in found.items()
        ]


def row(operation: str, before: Any, after: Any, table: str = "t") -> dict[str, Any]:
    def image(pair: Any) -> Any:
        return None if pair is None else {"id": pair[0], "v": pair[1]}

    return {"gtid": "u:1", "kind": "row", "schema": "bank", "table": table, "operation": operation,
            "key": {}, "before": image(before), "after": image(after)}  # fmt: skip


WRITTEN = row("write", None, (3, "surplus"))
UPDATED = row("update", (1, "a"), (1, "surplus"))
DELETED = row("delete", (2, "b"), None)
MOVED = row("update", (1, "a"), (5, "a"))
TAIL = [WRITTEN, UPDATED, DELETED]
DDL = {"gtid": "u:2", "kind": "statement", "schema": "bank", "verb": "ALTER TABLE", "text": "ALTER TABLE t ADD x INT"}


class Pair:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.clock = Clock()
        rows = {"t": {1: "a", 2: "b", 9: "z"}, "u": {1: "a"}}
        self.primary = Fake("primary", self.clock, rows)
        self.returning = Fake("returning", self.clock, rows)
        self.returning.source = self.primary

    def keyless(self) -> None:
        for server in (self.primary, self.returning):
            server.keyless.add("t")

    def goes_on(self, table: str, key: int, value: str | None) -> None:
        """The primary commits; the replica will, once it is waited for."""
        self.primary.commit(table, key, value)
        self.returning.pending.append((table, key, value))

    def compare(self, told: list[dict[str, Any]], undecoded: int = 0, **how: Any) -> Comparison:
        self.place.mkdir(exist_ok=True)
        lines = "".join(json.dumps(each) + "\n" for each in told).encode()
        (self.place / archive.ROWS_NAME).write_bytes(lines)
        (self.place / archive.LOG_NAME).write_bytes(b"log")
        manifest = {
            "format": 2, "cluster": "c", "server_uuid": "u", "asked": "", "found": "", "missing": [],
            "missing_gtids": "", "tables": [], "transactions": [],
            "archive": {"file": archive.LOG_NAME, "size": 3, "sha256": hashlib.sha256(b"log").hexdigest()},
            "rows": {"file": archive.ROWS_NAME, "size": len(lines), "sha256": hashlib.sha256(lines).hexdigest(),
                     "rows": 0, "statements": 0, "undecoded": [{"gtid": "u:9"}] * undecoded},
        }  # fmt: skip
        (self.place / archive.MANIFEST_NAME).write_text(json.dumps(manifest))
        how = {"clock": self.clock, "sleep": self.clock.sleep, **how}
        return room.compare(str(self.place), self.returning, self.primary, **how)  # type: ignore[arg-type]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path / "archive")


def test_a_tail_that_is_undone_is_equal(pair: Pair) -> None:
    found = pair.compare([*TAIL, MOVED, DDL])
    assert (found.verdict, found.differences, found.not_compared) == (room.EQUAL, (), {})
    assert (found.changes, found.statements, found.rows, found.found, found.tables) == (4, 1, 4, 2, 1)
    assert found.why == "4 rows of 1 tables and 1 statements compared, all the same"
    json.dumps(found.as_result())


def test_nothing_named_is_equal(pair: Pair) -> None:
    assert pair.compare([]).verdict == room.EQUAL


@pytest.mark.parametrize(
    ("spoil", "what", "columns"),
    [
        (lambda server: server.tables["t"].update({3: "surplus"}), "only_on_returning", ()),
        (lambda server: server.tables["t"].update({1: "surplus"}), "row", ("v",)),
        (lambda server: server.tables["t"].pop(2), "only_on_primary", ()),
        (lambda server: server.tables["t"].update({5: "a"}), "only_on_returning", ()),
        (lambda server: server.tables.pop("t"), "only_on_primary", ()),
        (lambda server: server.types.update(v="varchar(11)"), "columns", ("v",)),
        (lambda server: server.types.update(x="int"), "columns", ("x",)),
        (lambda server: server.keyless.add("t"), "keys", ()),
    ],
    ids=["insert", "update", "delete", "moved", "no table", "type", "column", "key"],
)
def test_whatever_is_left_of_the_tail_is_found(
    pair: Pair, spoil: Callable[[Fake], Any], what: str, columns: tuple[str, ...]
) -> None:
    spoil(pair.returning)
    found = pair.compare([*TAIL, MOVED])
    assert found.verdict == room.DIFFERENT
    assert [(each.schema, each.table, each.what, each.columns) for each in found.differences] == [
        ("bank", "t", what, columns)
    ]
    assert found.difference_count == 1 and "1 differences, the first in bank.t" in found.why


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows.update({3: "surplus"}),
        lambda rows: rows.update({1: "surplus"}),
        lambda rows: rows.pop(2),
    ],
)
def test_without_a_key_rows_are_counted(pair: Pair, spoil: Callable[[Rows], Any]) -> None:
    pair.keyless()
    assert pair.compare(TAIL).verdict == room.EQUAL
    spoil(pair.returning.tables["t"])
    found = pair.compare(TAIL)
    assert found.verdict == room.DIFFERENT and {each.what for each in found.differences} == {"count"}


def test_a_definition_that_differs(pair: Pair) -> None:
    pair.returning.types["x"] = "int"
    found = pair.compare([DDL])
    assert [(each.table, each.what) for each in found.differences] == [("t", "definition")]
    pair.returning.tables.pop("t")
    assert [each.what for each in pair.compare([DDL]).differences] == ["only_on_primary"]
    pair.primary.tables.pop("t")
    assert pair.compare([DDL]).verdict == room.EQUAL
    pair.returning.tables["t"] = {}
    assert [each.what for each in pair.compare([DDL]).differences] == ["only_on_returning"]


def test_the_counter_of_a_table_may_differ(pair: Pair) -> None:
    pair.primary.executed = 70
    assert pair.compare([DDL]).verdict == room.EQUAL


def test_no_value_is_shown_unless_asked_for(pair: Pair) -> None:
    pair.returning.tables["t"].update({1: "canary", 3: "canary"})
    masked = pair.compare(TAIL)
    assert "canary" not in repr(masked) and masked.difference_count == 2
    shown = pair.compare(TAIL, reveal=True)
    by_what = {each.what: each.values for each in shown.differences}
    assert by_what["row"] == {"v": {"primary": "a", "returning": "canary"}}
    assert by_what["only_on_returning"]["v"] == {"primary": None, "returning": "canary"}


@pytest.mark.parametrize("code", ["sql_error", "connection_lost"])
def test_a_difference_counts_without_its_details(pair: Pair, code: str) -> None:
    pair.returning.tables["t"][1] = "surplus"
    pair.returning.fails["AS d0"] = StatementFailed(code, "canary", errno=3024)
    found = pair.compare(TAIL)
    assert found.verdict == room.DIFFERENT and [each.columns for each in found.differences] == [()]


# A primary that goes on


def test_a_row_in_flight_is_waited_for(pair: Pair) -> None:
    """Between the two readings the primary changes the row, and the replica has it already: both are right."""
    left = [3]

    def meanwhile() -> None:
        if left[0]:
            left[0] -= 1
            pair.goes_on("t", 1, f"new{left[0]}")

    pair.returning.before_waiting = meanwhile
    found = pair.compare(TAIL)
    assert found.verdict == room.EQUAL and not left[0]


def test_a_row_that_never_rests_is_unknown(pair: Pair) -> None:
    counter = iter(range(1000))

    def busy() -> None:
        pair.primary.commit("t", 1, f"busy{next(counter)}")

    pair.primary.before_reading = busy
    found = pair.compare(TAIL)
    assert found.verdict == room.UNKNOWN
    assert found.not_compared == {"bank.t: rows that kept changing": 1}


def test_a_busy_row_hides_no_other(pair: Pair) -> None:
    counter = iter(range(1000))
    pair.primary.before_reading = lambda: pair.primary.commit("t", 1, f"busy{next(counter)}")
    pair.returning.tables["t"][3] = "surplus"
    found = pair.compare(TAIL)
    assert found.verdict == room.DIFFERENT and [each.what for each in found.differences] == ["only_on_returning"]


def test_the_replica_is_where_the_primary_was_before_it_is_read(pair: Pair) -> None:
    pair.goes_on("t", 2, "changed")
    assert pair.compare(TAIL).verdict == room.EQUAL
    there = [sql for sql in pair.primary.log if "AS content" in sql or "gtid_executed" in sql]
    here = [sql for sql in pair.returning.log if "AS content" in sql or "WAIT_FOR" in sql]
    assert "content" in there[-2] and "gtid_executed" in there[-1], "the rows first, then what was executed"
    assert "WAIT_FOR" in here[-2] and "content" in here[-1]


def test_a_replica_that_does_not_catch_up_is_unknown(pair: Pair) -> None:
    pair.returning.late = True
    found = pair.compare(TAIL)
    assert found.verdict == room.UNKNOWN and "did not catch up" in found.why


# What cannot be compared


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({**WRITTEN, "masked": True, "after": None}, "whose values are not archived"),
        ({**WRITTEN, "after": {"v": "a"}}, "do not hold id"),
        ({**WRITTEN, "after": {"id": "text", "v": "a"}}, "not of its type"),
        ({**DDL, "text": "UPDATE t SET v = 'canary'", "verb": "UPDATE T"}, "what UPDATE T did is not compared"),
        ({**DDL, "text": "", "verb": "CREATE USER"}, "what CREATE USER did is not compared"),
    ],
)
def test_what_is_not_compared_is_not_called_equal(pair: Pair, told: dict[str, Any], why: str) -> None:
    found = pair.compare([*TAIL, told])
    assert found.verdict == room.UNKNOWN and why in found.why and "canary" not in found.why
    pair.returning.tables["t"][1] = "surplus"
    assert pair.compare([*TAIL, told]).verdict == room.DIFFERENT, "and hides no difference"


@pytest.mark.parametrize("code", ["binlog_compressed", "rows_unreadable"])
def test_rows_that_cannot_be_read_on(pair: Pair, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Of an archive of format 1, which is decoded now; but bytes that are not those that were written are an error."""

    def told(*_archive: Any) -> Iterator[dict[str, Any]]:
        yield WRITTEN
        raise HaError(code, "no more")

    monkeypatch.setattr(archive, "objects", told)
    if code == "rows_unreadable":
        with pytest.raises(HaError, match=code):
            pair.compare(TAIL)
    else:
        found = pair.compare(TAIL)
        assert found.verdict == room.UNKNOWN and code in found.why
    assert pair.primary.settings == SETTINGS


def test_transactions_that_were_not_decoded(pair: Pair) -> None:
    found = pair.compare(TAIL, undecoded=2)
    assert found.verdict == room.UNKNOWN
    assert found.not_compared == {"transactions whose rows could not be decoded": 2}


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (StatementFailed("sql_error", "canary", errno=1142), "bank.t: error 1142 when it was read"),
        (StatementFailed("sql_error", "canary", errno=3024), "bank.t: took too long to read"),
        (StatementFailed("connection_lost", "canary"), "a server did not answer: connection_lost"),
    ],
)
@pytest.mark.parametrize("where", ["primary", "returning"])
def test_a_server_that_does_not_answer_is_unknown(pair: Pair, error: StatementFailed, why: str, where: str) -> None:
    getattr(pair, where).fails["AS content"] = error
    found = pair.compare([*TAIL, row("write", None, (1, "a"), "u")])
    assert found.verdict == room.UNKNOWN and why in found.not_compared and "canary" not in repr(found)


def test_the_deadline_holds(pair: Pair) -> None:
    told = [row("write", None, (number, "x")) for number in range(100_000)]
    found = pair.compare(told, limits=Limits(within=0.5))
    assert found.verdict == room.UNKNOWN and "not done within 0.5 s" in found.why
    assert found.seconds < 1


def test_a_server_that_may_show_nothing_of_a_text_is_unknown(pair: Pair) -> None:
    pair.returning.packet = 1 << 20
    found = pair.compare(TAIL)
    assert found.verdict == room.UNKNOWN and not found.for_good
    assert "max_allowed_packet" in next(iter(found.not_compared))


def test_the_sessions_get_their_settings_back(pair: Pair) -> None:
    pair.primary.fails["AS content"] = StatementFailed("sql_error", "", errno=1142)
    pair.compare(TAIL)
    for server in (pair.primary, pair.returning):
        assert server.settings == SETTINGS
        assert any(sql.startswith("SET SESSION time_zone") for sql in server.log)


# Many rows


def test_many_rows_go_in_batches_and_each_is_looked_for_once(pair: Pair) -> None:
    told = [row("write", None, (number % 1000, "x")) for number in range(5000)]
    found = pair.compare(told)
    assert found.rows == 1000 and found.changes == 5000
    assert sum("AS content" in sql for sql in pair.returning.log) == 1000 / room.KEYED_BATCH


def test_every_difference_counts_and_the_first_are_listed(pair: Pair) -> None:
    pair.returning.tables["t"].update(dict.fromkeys(range(1000, 1500), "x"))
    found = pair.compare([row("write", None, (number, "x")) for number in range(1000, 1500)])
    assert found.difference_count == 500 and len(found.differences) == room.MOST_LISTED


def test_many_tables_do_not_keep_all_their_rows_waiting(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_PENDING", 10)
    told = [row("write", None, (number, "x"), table) for number in range(100) for table in ("t", "u")]
    assert pair.compare(told).verdict == room.EQUAL
    assert sum("AS content" in sql for sql in pair.returning.log) > 20


def test_a_key_that_is_forgotten_is_only_looked_for_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_SEEN", 3)
    told = [row("write", None, (number % 10, "x")) for number in range(100)]
    assert pair.compare(told).verdict == room.EQUAL


# The comparison without one of its parts: each of these must be wrong where the whole is right.


def test_mutant_without_confirmation(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CONFIRMED_BY", 1)
    with pytest.raises(AssertionError):
        test_a_row_in_flight_is_waited_for(pair)


def test_mutant_that_waits_for_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room._Comparing, "_catch_up", lambda _self: None)
    pair.goes_on("t", 2, "changed")
    assert pair.compare(TAIL).verdict != room.EQUAL


def test_mutant_that_looks_only_at_what_was(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    real = plan.lookups
    pair.returning.tables["t"][5] = "a"
    assert pair.compare([MOVED]).verdict == room.DIFFERENT
    monkeypatch.setattr(plan, "lookups", lambda change, layout: real(change, layout)[:1])
    assert pair.compare([MOVED]).verdict == room.EQUAL


def test_mutant_that_takes_unfit_for_equal(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room._Comparing, "_lack", lambda *_arguments: None)
    with pytest.raises(AssertionError):
        test_what_is_not_compared_is_not_called_equal(pair, {**WRITTEN, "after": {"v": "a"}}, "do not hold id")


def test_mutant_that_sees_no_difference(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.Settling, "see", lambda self, there, _here: setattr(self, "open", {}))
    pair.returning.tables["t"][1] = "surplus"
    assert pair.compare(TAIL).verdict == room.EQUAL
