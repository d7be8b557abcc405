"""Two servers whose tables are compared, and the comparison itself: the code of ``mysql_consistency``, in-process."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.statement_names import Named
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import recheck, tables, whole
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.barrier import reading
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import TableResult
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.questions import Key, Table
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login, Session

from benchmarks.errors import BenchmarkError

STATEMENT = 1800.0
"""Seconds; the bare statement reads a whole table at once."""


@dataclasses.dataclass(frozen=True)
class Place:
    """One server. ``password`` is a secret."""

    name: str
    host: str
    port: int
    user: str
    password: str = dataclasses.field(repr=False)
    ca: str = ""

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Place:
        return cls(**found)

    def connect(self) -> Session:
        return Session.connect(
            self.name, self.host, self.port, Login(self.user, self.password, ca=self.ca), within=10.0
        )


class Servers:
    """``with Servers(...).open() as servers``: sessions that read as a comparison does.

    ``second`` is another session of the primary: as if it were a replica, so that one server does both servers' work.
    """

    def __init__(self, primary: Place, replica: Place, schema: str) -> None:
        self.places = primary, replica
        self.schema = schema

    @contextmanager
    def open(self) -> Iterator[Servers]:
        here, there = self.places
        sessions = [here.connect(), dataclasses.replace(here, name="the same").connect(), there.connect()]
        try:
            with ExitStack() as stack:
                for session in sessions:
                    stack.enter_context(reading(session, statement=STATEMENT))
                self.primary, self.second, self.replica = sessions
                yield self
        finally:
            for session in sessions:
                session.close()

    def table(self, name: str) -> Table:
        """
        :raises BenchmarkError: there is none.
        """
        named = Named(self.schema, name)
        layout = tables.layout(self.primary, named, within=STATEMENT)
        if layout is None:
            raise BenchmarkError(f"there is no table {name}")
        return Table(named, layout)

    def seconds(self, sql: str, values: Sequence[Any] = ()) -> float:
        """How long the primary takes for a statement."""
        return timed(lambda: self.primary.query(sql, values, within=STATEMENT))


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(servers: Servers, name: str, with_whom: Session) -> TableResult:
    """The whole table, on the primary and there, with the limits that a module's run has."""
    limits = whole.Limits()
    found = whole.WholeTable(servers.table(name), servers.primary, {"there": with_whom}, limits, reveal=True).run()
    return found["there"]


def look_again(servers: Servers, name: str, keys: Sequence[Key]) -> tuple[float, recheck.Recheck]:
    """Rows one by one, on the primary and the replica. Returns seconds too."""
    again = recheck.Recheck(servers.table(name), servers.primary, servers.replica, recheck.Limits(), reveal=False)

    def work() -> None:
        again.add(keys)
        again.flush()

    return timed(work), again
