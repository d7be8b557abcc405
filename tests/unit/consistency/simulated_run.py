# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in memory for whole runs: a primary, replicas that apply, sessions that break, a run that is killed.

What is asked of a table's rows is not SQL but what it asks (``Asked``); everything else is the SQL that is sent.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Optional
from unittest import mock

from ansible_collections.lossless.mysql_ha.plugins.module_utils import durable_file
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import chunks, one_table, run, whole
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.lookup import Range, Statement
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Key, Named, Table
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import (
    ConnectFailed,
    Login,
    StatementFailed,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    OFF,
    ON,
    REFUSED,
    Applier,
    Member,
    NoAnswer,
    Receiver,
    ServerState,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology import observe
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.simulated_pair import serially

STATEMENT = 0.01
"""Seconds that a statement takes."""
LOGIN = Login("reader", "pass-reader-canary")
ADMIN = Login("admin", "pass-admin-canary")
COLUMNS = (
    {"name": "id", "data_type": "bigint", "type": "bigint", "charset": "", "collation": "", "nullable": "NO",
     "formula": "", "extra": "", "octets": 0},
    {"name": "c", "data_type": "varchar", "type": "varchar(40)", "charset": "utf8mb4", "collation": "utf8mb4_bin",
     "nullable": "YES", "formula": "", "extra": "", "octets": 160},
)  # fmt: skip
Rows = dict[int, str]


class Killed(BaseException):
    """The run's process is no more."""


class Asked(Table):
    """A table whose questions are what they ask: a word, the table, and arguments."""

    def _ask(self, word: str, *arguments: Any) -> Statement:
        return word, (self.named, *arguments)

    def aggregate(self, range_: Range) -> Statement:
        return self._ask("aggregate", range_)

    def rows_of(self, range_: Range, most: int) -> Statement:
        return self._ask("rows_of", range_, most)

    def boundary(self, after: Range, number: int) -> Statement:
        return self._ask("boundary", after, number)

    def edges(self) -> Statement:
        return self._ask("edges")

    def rows_at(self, keys: Sequence[Key], *, lock: bool = False, **_more: Any) -> Statement:
        return self._ask("rows_at", tuple(keys))

    def details_at(self, keys: Sequence[Key], *, reveal: bool) -> Statement:
        return self._ask("rows_at", tuple(keys))

    def multiset(self, prefix: str = "") -> Statement:
        return self._ask("aggregate", Range(None, None))

    def buckets(self, prefixes: Sequence[str], letters: int) -> Statement:
        return self._ask("buckets", tuple(prefixes), letters)

    def digests(self, prefixes: Sequence[str], most: int) -> Statement:
        return self._ask("digests", tuple(prefixes), most)

    def shown_with(self, identities: Sequence[str], most: int) -> Statement:
        return self._ask("shown_with", tuple(identities), most)


@dataclasses.dataclass
class Held:
    """A table on one server. Without a key its ``rows`` are numbered, and the numbers are no column's values."""

    rows: Rows
    keyed: bool = True
    columns: tuple[Mapping[str, Any], ...] = COLUMNS
    kind: str = "BASE TABLE"
    engine: str = "InnoDB"
    estimate: int = 0


def digest(values: Any) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()


class Node:
    """A server. :param errant: GTIDs of its own."""

    def __init__(self, world: World, name: str, number: int) -> None:
        self.world = world
        self.name = name
        self.uuid = f"{number:08x}-0000-0000-0000-000000000000"
        self.tables: dict[Named, Held] = {}
        self.done = 0
        self.applier = ON
        self.until: Optional[int] = None
        self.stops_after = 0
        """Looks at its threads until STOP has stopped the applier."""
        self.breaks = ""
        """What the applier says, which stops at once whenever it is started; empty: it goes on."""
        self.errant = ""
        self.started = 0.0
        self.grants = ["GRANT SELECT, PROCESS ON *.* TO `reader`@`%`"]
        self.filtered = False
        self.down = False
        self.packet = 64 << 20
        self.lock_refused = 0
        """So often the lock for all tables is not to be had."""
        self.locked_by: Optional[Sim] = None
        self.changed: set[Named] = set()
        """Tables whose definitions were changed since snapshots were opened."""
        self.exchanged: set[str] = set()
        """Tables, as InnoDB names them, that are others now."""
        self.long_statements = 0
        """So often a statement runs for long when it is asked for."""
        self.log: list[str] = []
        self.before: Callable[[str], None] = lambda sql: None

    @property
    def primary(self) -> bool:
        return self is self.world.primary

    def apply(self) -> None:
        if self.primary:
            self.done = len(self.world.committed)
        while self.applier == ON and self.done < len(self.world.committed):
            if self.until is None or self.done < self.until:
                self.change(self.world.committed[self.done])
                self.done += 1
            else:
                break
        if not self.primary and self.until is not None and self.done >= self.until:
            self.applier, self.until = OFF, None

    def change(self, change: tuple[Named, int, Optional[str]]) -> None:
        named, key, value = change
        rows = self.tables[named].rows if named in self.tables else {}
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value

    @property
    def executed(self) -> str:
        self.apply()
        own = f"{self.world.primary.uuid}:1-{self.done}" if self.done else ""
        return ",".join(part for part in (own, self.errant) if part)

    def state(self) -> ServerState:
        replica = not self.primary
        return ServerState(
            self.name,
            self.uuid,
            1,
            "9.7.4",
            GtidSet.parse(self.executed),
            read_only=replica,
            super_read_only=replica,
            receiver=Receiver(ON, source_uuid=self.world.primary.uuid) if replica else None,
            applier=Applier(self.applier, filtered=self.filtered) if replica else None,
            settings=self.world.settings,
            clock=self.started + 60,
            uptime=60,
        )


class Sim:
    """A session."""

    def __init__(self, node: Node, user: str) -> None:
        self.node = node
        self.name = node.name
        self.usable = True
        self.user = user
        self.snapshot: Optional[dict[Named, Held]] = None
        self.holds: set[Named] = set()
        """Tables whose definitions nobody can change, for this transaction has read them."""

    def close(self) -> None:
        """The server lets go of what the connection held."""
        self.usable = False
        self.snapshot = None
        self.holds.clear()
        if self.node.locked_by is self:
            self.node.world.unlock(self.node)

    def one(self, sql: str, values: Sequence[Any] = (), *, within: float) -> dict[str, Any]:
        rows = self.query(sql, values, within=within)
        return rows[0] if rows else {}

    def execute(self, sql: str, values: Sequence[Any] = (), *, within: float, secret: bool = False) -> None:
        self.query(sql, values, within=within)

    def query(self, sql: str, values: Sequence[Any] = (), *, within: float) -> list[Any]:
        assert within > 0
        world = self.node.world
        world.count += 1
        world.trace.append((self.name, sql))
        world.now += STATEMENT
        fault = world.faults.get(world.count)
        if world.killed or fault == "killed":
            world.killed = True
            raise Killed
        if fault == "dies":
            self.node.down = True
        if self.node.down or fault == "lost":
            self.close()
        if not self.usable:
            raise StatementFailed(
                "connection_lost", f"{self.name}: the connection broke", evidence={"member": self.name}, next_step="x"
            )
        self.node.log.append(sql)
        world.writer(world)
        self.node.before(sql)
        if fault == "error":
            raise StatementFailed("sql_error", f"{self.name}: no", errno=1290, evidence={"member": self.name})
        return self.answer(sql, values)

    def answer(self, sql: str, values: Sequence[Any]) -> list[Any]:
        node = self.node
        node.apply()
        if sql.startswith("SET "):
            return []
        if sql.startswith("SELECT @@SESSION.max_allowed_packet"):
            return [{"packet": node.packet}]
        if "WAIT_FOR_EXECUTED_GTID_SET" in sql:
            late = bool(GtidSet.parse(values[0]) - GtidSet.parse(node.executed))
            node.world.now += values[1] if late else 0
            return [{"late": int(late)}]
        if "replication_connection_configuration" in sql:
            return self._threads()
        if "gtid_executed AS executed" in sql:
            return [{"server_uuid": node.uuid, "executed": node.executed}]
        if "gtid_executed" in sql:
            return [{"gtids": node.executed}]
        if "performance_schema.processlist" in sql:
            node.long_statements -= 1
            return [{"number": int(node.long_statements >= 0)}]
        if "INNODB_TABLES" in sql:
            names = [f"{named.schema}/{named.table}" for named in node.tables]
            return [{"name": name, "id": 7 if name in node.exchanged else 1} for name in names]
        if sql.startswith("SHOW GRANTS"):
            return [{"Grants for reader@%": line} for line in node.grants]
        if "Threads_running" in sql:
            return [{"running": node.world.running}]
        if "REPLICA SQL_THREAD" in sql or ("TABLES" in sql and "information_schema" not in sql):
            return self._act(sql, values)
        if sql.startswith("START TRANSACTION"):
            self.snapshot = copy.deepcopy(node.tables)
            return []
        if sql == "ROLLBACK":
            self.snapshot = None
        if sql.startswith("ROLLBACK"):
            self.holds.clear()
        if sql.startswith(("ROLLBACK", "SAVEPOINT")):
            return []
        return self._schema(sql, values) if "information_schema" in sql else self._rows(sql, *values)

    def _threads(self) -> list[Any]:
        node = self.node
        if node.stops_after:
            node.stops_after -= 1
            if not node.stops_after:
                node.applier = OFF
        if node.primary:
            return []
        row = {"host": "p", "receiver": "ON", "applier": node.applier, "source_uuid": node.world.primary.uuid}
        broken = bool(node.breaks) and node.applier == OFF
        return [{**row, "applier_error": 1062 if broken else 0, "applier_message": node.breaks if broken else ""}]

    def _act(self, sql: str, values: Sequence[Any]) -> list[Any]:
        node = self.node
        assert self.user == ADMIN.user, f"{self.user} may not: {sql}"
        if sql.startswith("STOP REPLICA"):
            if node.world.slow_stop and node.applier == ON:
                node.stops_after, node.world.slow_stop = node.world.slow_stop, 0
            elif not node.stops_after:
                node.applier, node.until = OFF, None
        elif sql.startswith("START REPLICA"):
            if node.applier == OFF and not node.breaks:
                node.until = _number(values[0]) if values else None
                node.applier = ON
                node.apply()
        elif sql.startswith("FLUSH"):
            node.locked_by = self
            if node.lock_refused:
                # What it has got of it, it keeps.
                node.lock_refused -= 1
                raise StatementFailed("sql_error", "lock wait", errno=1205, evidence={"member": self.name})
            node.locked_by = self
        else:
            assert sql == "UNLOCK TABLES", sql
            node.world.unlock(node)
        return []

    # --- tables ---
    def _schema(self, sql: str, values: Sequence[Any]) -> list[Any]:
        tables = self.node.tables
        if "TABLE_NAME = %s" not in sql:
            return [
                {"schema": named.schema, "table": named.table, "engine": held.engine,
                 "estimate": held.estimate or len(held.rows)}
                for named, held in tables.items() if held.kind == "BASE TABLE"
            ]  # fmt: skip
        held = tables.get(Named(*values))
        if held is None:
            return []
        if "information_schema.COLUMNS" in sql:
            return [dict(column) for column in held.columns]
        if "information_schema.STATISTICS" in sql:
            return [{"name": "PRIMARY", "part": "id", "prefix": None, "nullable": ""}] if held.keyed else []
        return [{"kind": held.kind}]

    def _rows(self, word: str, named: Named, *arguments: Any) -> list[Any]:
        tables = self.node.tables if self.snapshot is None else self.snapshot
        held = tables.get(named)
        if held is None:
            raise StatementFailed("sql_error", "no such table", errno=1146, evidence={"member": self.name})
        if self.snapshot is not None:
            self.holds.add(named)
            if named in self.node.changed:
                raise StatementFailed("sql_error", "it has changed", errno=1412, evidence={"member": self.name})
        rows = held.rows if held.keyed else dict(enumerate(held.rows.values()))
        content = {key: digest((key, value) if held.keyed else value) for key, value in rows.items()}
        if word == "aggregate":
            inside = [content[key] for key in rows if _holds(arguments[0], key)]
            total = sum(int(each, 16) for each in inside)
            return [{"number": len(inside), "digest": f"{total:x}", "total": str(total)}]
        if word == "rows_of":
            found = [_row(key, rows[key]) for key in sorted(rows) if _holds(arguments[0], key)]
            return found[: arguments[1] + 1]
        if word == "boundary":
            keys = [key for key in sorted(rows) if _holds(arguments[0], key)]
            return [{"k0": keys[arguments[1] - 1]}] if len(keys) >= arguments[1] else []
        if word == "edges":
            return [{"least": min(rows, default=None), "most": max(rows, default=None)}]
        if word == "rows_at":
            return [_row(key, rows[key]) for (key,) in arguments[0] if key in rows]
        return self._bag(word, list(content.values()), rows, content, *arguments)

    def _bag(self, word: str, bag: list[str], rows: Rows, content: Mapping[int, str], *arguments: Any) -> list[Any]:
        prefixes, number = frozenset(arguments[0]), arguments[1]
        lengths = {len(prefix) for prefix in prefixes} or {0}
        assert len(lengths) == 1
        (length,) = lengths
        within = [each for each in bag if not prefixes or each[:length] in prefixes]
        if word == "buckets":
            parts: dict[str, list[str]] = {}
            for each in within:
                parts.setdefault(each[: length + number], []).append(each)
            return [
                {"bucket": first, "number": len(its), "total": str(sum(int(each, 16) for each in its))}
                for first, its in parts.items()
            ]
        if word == "digests":
            return [
                {"identity": each, "content": times} for each, times in sorted(collections.Counter(within).items())
            ][: number + 1]
        assert word == "shown_with", word
        wanted = [key for key in rows if content[key] in prefixes][:number]
        return [{"identity": content[key], "v0": str(key), "v1": rows[key]} for key in wanted]


def _number(gtids: str) -> int:
    return int(gtids.partition(":")[2].partition("-")[2])


def _holds(range_: Range, key: int) -> bool:
    return (range_.after is None or key > range_.after[0]) and (range_.upto is None or key <= range_.upto[0])


def _row(key: int, value: str) -> dict[str, Any]:
    return {"k0": key, "n0": str(key), "content": digest((key, value)), "d0": str(key), "d1": value,
            "v0": str(key), "v1": value}  # fmt: skip


class World:
    """A primary ``p`` and replicas ``r1``, ``r2``, which hold the same.

    :param faults: by the number of a statement: ``error``, ``lost``, ``dies`` (the server), ``killed`` (the run).
    """

    def __init__(self, tables: Mapping[str, Held], replicas: int = 2) -> None:
        self.now = 1000.0
        self.count = 0
        self.trace: list[tuple[str, str]] = []
        self.faults: dict[int, str] = {}
        self.killed = False
        self.running = 1
        self.settings: dict[str, str] = {}
        self.slow_stop = 0
        self.writer: Callable[[World], None] = lambda world: None
        self.committed: list[tuple[Named, int, Optional[str]]] = []
        self._waiting: list[tuple[Named, int, Optional[str]]] = []
        self.sessions: list[Sim] = []
        names = ["p", *(f"r{number}" for number in range(1, replicas + 1))]
        self.nodes = {name: Node(self, name, number) for number, name in enumerate(names, 1)}
        self.primary = self.nodes["p"]
        for node in self.nodes.values():
            node.tables = {Named("s", name): copy.deepcopy(held) for name, held in tables.items()}
        if tables:
            first = Named("s", next(iter(tables)))
            self.commit(first, 1, self.primary.tables[first].rows.get(1, "v1"))
        for node in self.nodes.values():
            node.apply()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def commit(self, named: Named, key: int, value: Optional[str]) -> None:
        """On the primary; waits while the lock for all tables is held."""
        change = (named, key, value)
        if self.primary.locked_by is not None:
            self._waiting.append(change)
            return
        self.committed.append(change)
        self.primary.change(change)

    def unlock(self, node: Node) -> None:
        node.locked_by = None
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            self.commit(*change)

    def held(self, node: str, table: str) -> Held:
        return self.nodes[node].tables[Named("s", table)]

    # What stands in for the pool's ways
    def connect(self, name: str, host: str, port: int, login: Login, **_more: Any) -> Sim:
        if self.killed:
            raise Killed
        if self.nodes[name].down:
            raise ConnectFailed(REFUSED, f"{name}: refused", evidence={"member": name}, next_step="Start it.")
        session = Sim(self.nodes[name], login.user)
        self.sessions.append(session)
        return session

    def read_state(self, session: Sim, *, within: float) -> ServerState:
        return session.node.state()

    def request(self, **asked: Any) -> run.Request:
        members = tuple(Member(name, name) for name in self.nodes)
        given = {"primary": "p", "now": self.now, "admin": ADMIN, **asked}
        return run.Request("simulated", members, LOGIN, **given)

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        with (
            mock.patch.object(observe.Session, "connect", self.connect),
            mock.patch.object(observe, "read_state", self.read_state),
            mock.patch.object(observe, "in_parallel", serially),
            mock.patch.object(whole, "in_parallel", serially),
            mock.patch.object(one_table, "Table", Asked),
            # Ranges of one row, and each is written down.
            mock.patch.object(chunks, "_GROWTH", 1.0),
            mock.patch.object(one_table, "_SAVE_EVERY", 0.0),
            # That files survive a power failure is tested elsewhere.
            mock.patch.object(durable_file.os, "fsync", lambda handle: None),
            mock.patch.object(durable_file.os, "fdatasync", lambda handle: None),
        ):
            yield

    def run(self, **asked: Any) -> dict[str, Any]:
        """One run of a process of its own."""
        self.killed = False
        with self.standing_in():
            try:
                return run.run(self.request(**asked), clock=self.clock, sleep=self.sleep)
            finally:
                for session in self.sessions:
                    session.close()


def keyed(*numbers: int) -> Held:
    """Rows so far apart that each is a range of its own."""
    return Held({number * 10_000: f"v{number}" for number in numbers})


def silent(name: str) -> NoAnswer:
    return NoAnswer(name, REFUSED, f"{name}: refused")


def verdicts(report: Mapping[str, Any]) -> dict[tuple[str, str], tuple[str, str]]:
    """By table and replica, verdict and code."""
    found = {(each["table"], each["replica"]): (each["verdict"], each["code"]) for each in report["tables"]}
    assert len(found) == len(report["tables"]), "a table is there twice"
    return found


def lasting(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report without what differs from one run to the next."""
    found = {name: value for name, value in report.items() if name not in ("seconds", "resumed", "started_at")}
    found["tables"] = [{name: value for name, value in each.items() if name != "seconds"} for each in report["tables"]]
    return found
