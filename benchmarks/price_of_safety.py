"""What an acknowledgement costs: throughput and commit latency of three ways to commit, side by side.

``async``: the primary waits for nobody, sync_relay_log=10000 as MySQL has it. ``memory``: AFTER_SYNC, the acknowledgers
write to their relay logs and do not fsync (sync_relay_log=10000). ``disk``: AFTER_SYNC, and every acknowledgement is on
the acknowledger's disk (sync_relay_log=1). Single-row INSERTs that commit by themselves, straight to the primary
(without semi-sync the keeper rightly lets the virtual address go).

The three are changed at run time, by SET GLOBAL, between short samples in the order ABCABC..., and put back at the end.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Session
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.observe import Members, in_parallel

from benchmarks.clients import CREATE, TABLE, Clients, Outcome
from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from benchmarks.figures import HIGHER, Series, percentile
from benchmarks.interleave import interleaved
from benchmarks.machine import Condition, Watch
from benchmarks.progress import say
from benchmarks.result import Result

NAME = "price_of_safety"
CLIENTS = (1, 8, 32)
SECONDS, QUICK_SECONDS = 3.0, 1.0
CLIENT_LIMIT = 0.5
"""Share of a core that the busiest client process may use; above that the figure may be the client's."""

_STATEMENT = 15.0
_CATCH_UP = 120.0
_SYNCS = (
    "SELECT COUNT_MISC AS number FROM performance_schema.file_summary_by_event_name"
    " WHERE EVENT_NAME = 'wait/io/file/sql/relaylog'"
)


@dataclass(frozen=True)
class Mode:
    """``sync_relay_log`` is of the acknowledgers: fsync after so many events; a commit is about five."""

    name: str
    semi_sync: bool
    sync_relay_log: int


MODES = (Mode("async", False, 10000), Mode("memory", True, 10000), Mode("disk", True, 1))


@dataclass
class _Measured:
    outcomes: list[Outcome]
    conditions: list[Condition]
    syncs: list[float]


class _Switch:
    """The primary and its acknowledgers, and the three settings of theirs that are changed."""

    def __init__(self, pool: Members, primary: str, replicas: Sequence[str]) -> None:
        self.primary = pool.session(primary)
        self.replicas = [pool.session(name) for name in replicas]

    def to(self, mode: Mode) -> None:
        """Nothing is under way any more, and from now on commits are made that way."""
        self.quiet()
        for replica in self.replicas:
            replica.execute("SET GLOBAL sync_relay_log = %s", (mode.sync_relay_log,), within=_STATEMENT)
        value = "ON" if mode.semi_sync else "OFF"
        self.primary.execute(f"SET GLOBAL rpl_semi_sync_source_enabled = {value}", within=_STATEMENT)
        ends = time.monotonic() + _STATEMENT
        while self._status("Rpl_semi_sync_source_status") != value:
            if time.monotonic() > ends:
                raise BenchmarkError(f"semi-sync did not become {value} on {self.primary.name}")
            time.sleep(0.05)

    def quiet(self) -> None:
        """Wait until every acknowledger has executed what the primary has."""
        row = self.primary.one("SELECT @@GLOBAL.gtid_executed AS gtids", within=_STATEMENT)
        gtids = str(GtidSet.parse(str(row["gtids"])))

        def caught_up(session: Session) -> bool:
            statement = "SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s) AS late"
            late = session.one(statement, (gtids, _CATCH_UP), within=_CATCH_UP + _STATEMENT)
            return not int(late["late"] or 0)

        work = {replica.name: (lambda replica=replica: caught_up(replica)) for replica in self.replicas}
        behind = [name for name, done in in_parallel(work, within=_CATCH_UP + _STATEMENT).items() if done is not True]
        if behind:
            raise BenchmarkError(f"{', '.join(behind)} did not catch up within {_CATCH_UP:g} s")

    def syncs(self) -> int:
        """Calls that are neither reads nor writes (mostly fsync) on the first acknowledger's relay log, so far."""
        return int(self.replicas[0].one(_SYNCS, within=_STATEMENT)["number"])

    def _status(self, name: str) -> str:
        row = self.primary.one(
            "SELECT VARIABLE_VALUE AS value FROM performance_schema.global_status WHERE VARIABLE_NAME = %s",
            (name,),
            within=_STATEMENT,
        )
        return str(row["value"])


def run(cluster: Cluster, runs: int, quick: bool) -> Sequence[Result]:
    cluster.mend()
    primary = cluster.primary()
    member = next(m for m in cluster.access.members if m.name == primary.name)
    others = [m.name for m in cluster.access.members if m.name != primary.name]
    seconds = QUICK_SECONDS if quick else SECONDS
    measured: dict[tuple[Mode, int], _Measured] = defaultdict(lambda: _Measured([], [], []))
    started_at = time.time()
    with _switched(cluster, primary.name, others) as switch:
        _create_table(cluster, member)
        for count in CLIENTS:
            with Clients(member.host, member.replication_port, cluster.access.writer, count) as clients:
                clients.insert(seconds)  # the first sample would pay for cold caches
                for number, mode in interleaved(MODES, runs):
                    switch.to(mode)
                    syncs = switch.syncs()
                    with Watch() as watch:
                        outcome = clients.insert(seconds)
                    one = measured[mode, count]
                    one.outcomes.append(outcome)
                    one.conditions.append(watch.condition)
                    one.syncs.append((switch.syncs() - syncs) / max(outcome.commits, 1))
                    say(
                        f"{NAME} {number + 1}/{runs} {mode.name} {count}: {outcome.throughput:.0f}/s,"
                        f" client {outcome.cpu:.0%} of a core"
                    )
    total = time.time() - started_at
    return [
        _result(mode, clients, one, primary.version, started_at, total) for (mode, clients), one in measured.items()
    ]


def _result(mode: Mode, clients: int, one: _Measured, version: str, started_at: float, total: float) -> Result:
    def latency(share: float) -> Series:
        return Series("ms", tuple(percentile(outcome.latencies, share) * 1000 for outcome in one.outcomes))

    busiest = max(outcome.cpu for outcome in one.outcomes)
    seconds = sum(outcome.seconds for outcome in one.outcomes) / len(one.outcomes)
    notes = [
        f"samples of {seconds:.1f} s, all modes and numbers of clients in one session of {total:.0f} s",
        f"busiest client process: {busiest:.0%} of a core",
    ]
    if busiest > CLIENT_LIMIT:
        notes.append("the client may have been the bottleneck")
    return Result(
        f"{NAME}_{mode.name}_{clients}",
        Series("commits/s", tuple(outcome.throughput for outcome in one.outcomes), HIGHER),
        one.conditions,
        version,
        phases={
            "latency_median": latency(0.5),
            "latency_p90": latency(0.9),
            "latency_p99": latency(0.99),
            "client_cpu": Series("cores", tuple(outcome.cpu for outcome in one.outcomes)),
            "relay_log_syncs_per_commit": Series("1", tuple(one.syncs)),
        },
        notes=notes,
        started_at=started_at,
    )


@contextmanager
def _switched(cluster: Cluster, primary: str, others: Sequence[str]) -> Iterator[_Switch]:
    """Settings may be changed inside; afterwards they are what they were, however it ends."""
    pool = Members(cluster.access.members, cluster.access.admin, connect_within=_STATEMENT)
    switch = _Switch(pool, primary, others)
    try:
        yield switch
    finally:
        pool.close()
        _put_back(cluster, primary, others)
        cluster.mend()
        cluster.hosts.run(primary, "mysql", "-e", f"DROP TABLE IF EXISTS {TABLE}")


def _put_back(cluster: Cluster, primary: str, others: Sequence[str]) -> None:
    """On new connections: the ones before may have been interrupted in the middle of a statement."""
    pool = Members(cluster.access.members, cluster.access.admin, connect_within=_STATEMENT)
    try:
        switch = _Switch(pool, primary, others)
        disk = cluster.access.acknowledgement == "disk"
        switch.to(Mode("as it was", True, 1 if disk else 10000))
    except HaError as error:
        raise BenchmarkError(f"settings could not be put back, run site.yml: {error}") from error
    finally:
        pool.close()


def _create_table(cluster: Cluster, primary: Member) -> None:
    """By the account that uses it."""
    session = Session.connect(
        primary.name, primary.host, primary.replication_port, cluster.access.writer, within=_STATEMENT
    )
    try:
        for statement in CREATE:
            session.execute(statement, within=_STATEMENT)
    finally:
        session.close()
