# SPDX-License-Identifier: GPL-3.0-or-later
"""Recent rows on simulated servers: what is found is what differs and has a recent date on either side."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import recent_time, whole
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import TableResult
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import Layout
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.lookup import Range
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Named, Table
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.recent_time import RecentByTime
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.time_column import TimeColumn
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.window import (
    SECOND,
    Activity,
    Policy,
    Transaction,
    Window,
    window,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import StatementFailed
from ansible_collections.lossless.mysql_ha.tests.unit.consistency.columns import column
from hypothesis import given
from hypothesis import strategies as st

LOW, HIGH = 1000, 1100
"""The window, in seconds."""
CHANGED = column("changed", "timestamp")
TABLE = Table(Named("bank", "ledger"), Layout((column("id"), column("v"), CHANGED), (("id",),)))
COLUMN = TimeColumn(CHANGED, "by_time", True)


class Stored(NamedTuple):
    date: int
    value: int


Rows = dict[int, Stored]


class Question(NamedTuple):
    """Stands for the SQL of a statement."""

    what: str
    detail: Any = None


class Recent:
    """``RecentTable`` for simulated servers. ``closed``: a mutant whose last range ends at the primary's last row."""

    closed = False

    def __init__(self, table: Table, column: TimeColumn, low: int, high: int) -> None:
        self.named, self.layout, self.edges = table.named, table.layout, (low // SECOND, high // SECOND)

    def aggregate(self, range_: Range) -> tuple[Any, Any]:
        return Question("aggregate", (self.edges, range_, self.closed)), ()

    def boundary(self, range_: Range, number: int) -> tuple[Any, Any]:
        return Question("boundary", (self.edges, range_, number)), ()

    def rows_of(self, range_: Range, most: int) -> tuple[Any, Any]:
        return Question("rows", (self.edges, range_)), ()

    def key_of(self, row: dict[str, Any]) -> Any:
        return row["at"]

    def read(self, rows: list[dict[str, Any]]) -> Any:
        return {(row["id"],): row["content"] for row in rows}


class Plain(Table):
    """The table by its own key."""

    def rows_at(self, keys: Any, *, lock: bool = False) -> tuple[Any, Any]:
        return Question("rows_at", [key[0] for key in keys]), ()

    def details_at(self, keys: Any, *, reveal: bool) -> tuple[Any, Any]:
        return Question("details_at", [key[0] for key in keys]), ()


class Server:
    """A simulated server. ``pending``: changes that it executes when somebody waits for them."""

    usable = True

    def __init__(self, name: str, rows: Rows, pending: Optional[Rows] = None, late: bool = False) -> None:
        self.name, self.rows, self.pending, self.late = name, dict(rows), dict(pending or {}), late
        self.writes: list[tuple[int, Optional[Stored]]] = []
        """Changes on the primary, one after each statement."""
        self.replica: Optional[Server] = None
        self.offset: Optional[int] = 0
        self.broken = False

    def _in(self, edges: tuple[int, int], range_: Range) -> list[tuple[tuple[str, int], int, Stored]]:
        found = []
        for key, row in self.rows.items():
            # Texts of the same length are in the order of their numbers.
            at = (f"2026-01-01 00:{(row.date - LOW) // 60 % 60:02}:{(row.date - LOW) % 60:02}", key)
            if edges[0] <= row.date < edges[1]:
                after = range_.after is None or at > range_.after
                if after and (range_.upto is None or at <= range_.upto):
                    found.append((at, key, row))
        return sorted(found)

    def query(self, sql: Any, values: Any = (), *, within: float) -> list[dict[str, Any]]:
        if self.broken:
            raise StatementFailed("connection_lost", "gone", evidence={"member": self.name})
        answer = self._answer(sql)
        if self.writes:
            key, row = self.writes.pop(0)
            self.set(key, row)
            if self.replica:
                self.replica.pending[key] = row  # type: ignore[assignment]
        return answer

    def set(self, key: int, row: Optional[Stored]) -> None:
        self.rows.pop(key, None)
        if row is not None:
            self.rows[key] = row

    def _answer(self, sql: Any) -> list[dict[str, Any]]:
        if isinstance(sql, str):
            if "gtid_executed" in sql:
                return [{"gtids": "00000001-0000-0000-0000-000000000000:1"}]
            if "WAIT_FOR" in sql:
                if not self.late:
                    for key, row in self.pending.items():
                        self.set(key, row)
                    self.pending.clear()
                return [{"late": int(self.late)}]
            if "TIMESTAMPDIFF" in sql:
                return [{"low": self.offset, "high": self.offset}]
            return []
        what, detail = sql
        if what == "aggregate":
            edges, range_, closed = detail
            rows = self._in(edges, range_) if not (closed and range_.upto is None and range_.after is not None) else []
            return [{"number": len(rows), "digest": str(sorted((key, row) for _at, key, row in rows))}]
        if what == "boundary":
            edges, range_, number = detail
            rows = self._in(edges, range_)
            return [{"at": rows[number - 1][0]}] if len(rows) >= number else []
        if what == "rows":
            return [{"id": key, "content": str(row)} for _at, key, row in self._in(*detail)]
        rows_at = [(key, self.rows[key]) for key in detail if key in self.rows]
        return [
            {"k0": key, "n0": key, "content": str(row), "d0": key, "d1": row.value, "d2": row.date}
            for key, row in rows_at
        ]

    def one(self, sql: Any, values: Any = (), *, within: float) -> dict[str, Any]:
        rows = self.query(sql, values, within=within)
        return rows[0] if rows else {}

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self.query(sql, values, within=within)


def a_window(low: int = LOW, high: int = HIGH) -> Window:
    policy = Policy(settle=0, skew=0, first=high - low, look_back=10 * (high - low))
    return window(None, Activity(high * SECOND), policy)


@contextlib.contextmanager
def simulated(closed: bool = False) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recent_time, "RecentTable", type("Recent", (Recent,), {"closed": closed}))
        patch.setattr(whole, "SMALL", 2)
        yield


def run(
    primary: Server,
    replica: Server,
    *,
    of: Optional[Window] = None,
    column: TimeColumn = COLUMN,
    rows: int = 5,
    kind: type[RecentByTime] = RecentByTime,
    **more: Any,
) -> TableResult:
    limits = whole.Limits(rows=rows, **more)
    table = Plain(TABLE.named, TABLE.layout)
    servers: Any = {replica.name: replica}
    asked: Any = primary
    found = kind(
        table, column, of or a_window(), asked, servers, limits, clock=lambda: 0.0, sleep=lambda _seconds: None
    ).run()
    return found[replica.name]


def keys(result: TableResult) -> dict[int, str]:
    return {int(each.key["id"] or 0): each.kind for each in result.differences}


DATES = st.integers(LOW - 20, HIGH + 20)
ROW = st.builds(Stored, DATES, st.integers(0, 1))
ROWS = st.dictionaries(st.integers(0, 20), ROW, max_size=15)


def recent(rows: Rows, key: int) -> bool:
    return key in rows and LOW <= rows[key].date < HIGH


@given(ROWS, ROWS, st.booleans(), st.integers(1, 6))
def test_what_differs_and_is_recent_on_either_side_is_found(there: Rows, here: Rows, alike: bool, rows: int) -> None:
    if alike:
        here = {**there, **dict(list(here.items())[:2])}
    wanted = {
        key: "missing" if key not in here else "extra" if key not in there else "value"
        for key in {*there, *here}
        if there.get(key) != here.get(key) and (recent(there, key) or recent(here, key))
    }
    with simulated():
        result = run(Server("p", there), Server("r", here), rows=rows)
    assert keys(result) == wanted and result.difference_count == len(wanted)
    assert result.verdict == ("different" if wanted else "pass") and result.mode == "recent_time"


@given(ROWS, st.lists(st.tuples(st.integers(0, 20), st.none() | ROW), max_size=40), st.integers(1, 6))
def test_rows_in_flight_are_no_difference(there: Rows, writes: list[Any], rows: int) -> None:
    """The replica lags by everything that nobody waited for."""
    primary, replica = Server("p", there), Server("r", {}, there)
    primary.writes, primary.replica = writes, replica
    with simulated():
        result = run(primary, replica, rows=rows)
    assert result.verdict in ("pass", "unstable") and not result.differences


FULL = {key: Stored(LOW + key, 0) for key in range(12)}


def test_an_update_that_was_lost_has_its_old_date_here() -> None:
    with simulated():
        result = run(Server("p", {**FULL, 3: Stored(LOW + 50, 1)}), Server("r", {**FULL, 3: Stored(LOW - 500, 0)}))
    assert keys(result) == {3: "value"} and result.differences[0].columns == ("v", "changed")


@pytest.mark.parametrize(("closed", "found"), [(False, {99: "extra"}), (True, {})])
def test_the_last_range_is_open_for_rows_that_only_the_replica_has(closed: bool, found: dict[int, str]) -> None:
    with simulated(closed):
        result = run(Server("p", FULL), Server("r", {**FULL, 99: Stored(LOW + 90, 1)}))
    assert keys(result) == found


def test_without_looking_again_rows_in_flight_would_differ() -> None:
    """The mutant: what the ranges say is believed."""

    class Believing(RecentByTime):
        def _small(self, replica: Any, range_: Any) -> None:
            question = self._table.aggregate(range_)
            if self._ask(self._primary, question) != self._ask(replica.session, question):
                replica.recheck.difference_count += 1

    rows = {key: Stored(LOW + key, 0) for key in range(6)}
    counts = []
    for kind in (RecentByTime, Believing):
        primary, replica = Server("p", rows), Server("r", rows)
        primary.replica = replica
        primary.writes = [(key % 6, Stored(LOW + key % 6, key)) for key in range(1, 30)]
        with simulated():
            counts.append(run(primary, replica, kind=kind).difference_count)
    assert counts[0] == 0 and counts[1] > 0


def test_a_replica_that_is_late_is_no_pass() -> None:
    with simulated():
        assert run(Server("p", FULL), Server("r", FULL, late=True)).verdict == "lagging"


def test_a_server_that_is_gone_is_an_error_and_the_result_says_the_window() -> None:
    broken = Server("r", FULL)
    broken.broken = True
    with simulated():
        result = run(Server("p", FULL), broken)
    assert result.verdict == "error" and "1970-01-01T00:16:40Z" in result.why and "blind to deletes" in result.why


def test_a_run_that_ends_early_says_how_far_it_came() -> None:
    with simulated():
        result = run(Server("p", FULL), Server("r", FULL), until=-1.0)
    assert (result.verdict, result.code, result.covered) == ("skipped", "not_finished", 0.0)


def test_a_window_that_was_cut_is_no_pass_but_tells_differences() -> None:
    policy = Policy(settle=0, skew=0, first=50, look_back=100)
    began = window(None, Activity(LOW * SECOND, None, (Transaction("t", 0),)), policy).remember(finished=True)
    cut = window(began, Activity(HIGH * SECOND, None, (Transaction("t", 0),)), policy)
    assert cut.cut
    with simulated():
        same = run(Server("p", FULL), Server("r", FULL), of=cut)
        other = run(Server("p", FULL), Server("r", {}), of=cut)
    assert (same.verdict, same.code) == ("skipped", "look_back_exceeded") and same.covered < 0.2
    assert other.verdict == "different"


ZONED = dataclasses.replace(COLUMN, facts=column("changed", "datetime"))


def test_a_datetime_is_looked_for_as_its_clock_showed_it() -> None:
    shifted = {key: Stored(row.date + 60, row.value) for key, row in FULL.items()}
    primary, replica = Server("p", shifted), Server("r", {**shifted, 5: Stored(LOW + 5 + 60, 1)})
    primary.offset = 60
    with simulated():
        assert keys(run(primary, replica, of=a_window(LOW, LOW + 20), column=ZONED)) == {5: "value"}
        assert run(primary, replica, of=a_window(LOW, LOW + 20)).verdict == "pass", "in UTC none of them is recent"


def test_a_zone_that_the_server_does_not_know_is_no_pass() -> None:
    primary = Server("p", FULL)
    primary.offset = None
    with simulated():
        result = run(primary, Server("r", {}), column=ZONED)
    assert (result.verdict, result.code) == ("error", "time_zone_unknown")
