"""mysql_clone's copy beside a bare CLONE statement, in pairs: what it costs to follow it and to verify it.

One replica is taken out of service and cloned from the primary, again and again, in turn by the code of ``mysql_clone``
(``clone/copy.py``: prepare, the statement, following it on a connection of its own, verifying) and by the statement
alone. Both end when the server is back after its restart and says that the clone is complete. The figure is of
neighbours: how many bytes a second ours copies, over what the bare statement does.

    python -m benchmarks.clone --size 5000 --runs 10      # the issue's 5 GB
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone import copy as ours
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.facts import read_progress
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.progress import COMPLETED, FAILED, Progress
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.maintain import maintain
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.member import BRING_BACK, TAKE_OUT, Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.procedure import Means
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.situation import Wish
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Session
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member

from benchmarks import ballast, manager
from benchmarks import session as benchmark_session
from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from benchmarks.figures import HIGHER, Series
from benchmarks.interleave import interleaved
from benchmarks.machine import Condition, Watch
from benchmarks.progress import say
from benchmarks.result import Result

NAME = "clone"
MEGABYTES, QUICK_MEGABYTES = 400, 50
TARGET = 0.9
OURS, BARE = "ours", "bare"

_STATEMENT = 15.0
_CLONE = 3600.0
_BACK = 120.0
_LOOK = 0.05


@dataclass(frozen=True)
class _Sample:
    seconds: float
    data: int

    @property
    def rate(self) -> float:
        return self.data / self.seconds


def run(cluster: Cluster, runs: int, quick: bool) -> Sequence[Result]:
    return measure(cluster, runs, QUICK_MEGABYTES if quick else MEGABYTES)


def measure(cluster: Cluster, runs: int, megabytes: int) -> Sequence[Result]:
    cluster.mend()
    primary = cluster.primary()
    donor = next(m for m in cluster.access.members if m.name == primary.name)
    recipient = [m for m in cluster.access.members if m.name != primary.name][-1]
    found: dict[str, list[_Sample]] = {OURS: [], BARE: []}
    conditions: list[Condition] = []
    started_at = time.time()
    with manager.kept_out(cluster), ballast.gone_afterwards(cluster), _spared(cluster, recipient):
        ballast.fill(cluster, megabytes)
        pair = _Pair(cluster, recipient, donor)
        pair.bare()  # the first one would pay for cold caches
        for number, which in interleaved((BARE, OURS), runs):
            with Watch() as watch:
                sample = pair.ours() if which == OURS else pair.bare()
            conditions.append(watch.condition)
            found[which].append(sample)
            say(f"{NAME} {number + 1}/{runs} {which}: {sample.data >> 20} MiB in {sample.seconds:.2f} s")
    ratios = tuple(mine.rate / other.rate for mine, other in zip(found[OURS], found[BARE], strict=True))
    return [
        Result(
            NAME,
            Series("1", ratios, HIGHER),
            conditions,
            primary.version,
            target=TARGET,
            phases={
                f"{which}_{what}": series
                for which, samples in found.items()
                for what, series in (
                    ("seconds", Series("s", tuple(s.seconds for s in samples))),
                    ("mib_per_second", Series("MiB/s", tuple(s.rate / (1 << 20) for s in samples), HIGHER)),
                )
            },
            notes=[
                f"{found[OURS][-1].data >> 20} MiB copied each time, from {donor.name} to {recipient.name}",
                "seconds are from the first statement to the recipient's word, after its restart, that it is complete",
            ],
            started_at=started_at,
        )
    ]


class _Pair:
    """Both ways to clone the recipient from the donor."""

    def __init__(self, cluster: Cluster, recipient: Member, donor: Member) -> None:
        self._cluster = cluster
        self._recipient = recipient
        self._donor = donor
        self._address = (donor.host, donor.replication_port)

    def _connect(self, member: Member | None = None) -> Session:
        to = member or self._recipient
        return Session.connect(to.name, to.host, to.port, self._cluster.access.admin, within=_STATEMENT)

    def ours(self) -> _Sample:
        uuid, _before = self._quieted()
        session, donor = self._connect(), self._connect(self._donor)
        began = time.monotonic()
        begun = ours.prepare(session, uuid, donor, self._address, self._cluster.access.clone, within=_STATEMENT)
        statement = ours.from_donor(session, self._address, self._cluster.access.clone, within=_CLONE).start()
        lines: list[str] = []
        back = ours.follow(
            self._recipient.name,
            begun,
            self._connect,
            statement=statement,
            statement_within=_STATEMENT,
            clone_within=_CLONE,
            restart_within=_BACK,
            say=lambda line, _seen: lines.append(line),
        )
        if isinstance(back, ours.Begun):
            raise BenchmarkError("the clone was left before its end")
        cloned = ours.finish(back, begun, within=_STATEMENT)
        seconds = time.monotonic() - began
        back.close()
        donor.close()
        return _Sample(seconds, _copied(cloned.data))

    def bare(self) -> _Sample:
        _uuid, before = self._quieted()
        session = self._connect()
        login = self._cluster.access.clone
        host, port = self._address
        began = time.monotonic()
        session.execute("SET GLOBAL clone_valid_donor_list = %s", (f"{host}:{port}",), within=_STATEMENT)
        session.execute("SET GLOBAL clone_ssl_ca = %s", (login.ca,), within=_STATEMENT)
        session.execute("SET GLOBAL super_read_only = OFF", within=_STATEMENT)
        try:
            session.execute(
                "CLONE INSTANCE FROM %s@%s:%s IDENTIFIED BY %s REQUIRE SSL",
                (login.user, host, port, login.password),
                within=_CLONE,
                secret=True,
            )
        except HaError as error:
            if error.code != "connection_lost":
                raise
        progress = self._complete(before.began)
        return _Sample(time.monotonic() - began, _copied(progress.data))

    def _quieted(self) -> tuple[str, Progress]:
        """No source, read-only; its uuid, and its last clone."""
        session = self._connect()
        try:
            session.execute("STOP REPLICA", within=_STATEMENT)
            session.execute("RESET REPLICA ALL FOR CHANNEL ''", within=_STATEMENT)
            session.execute("SET GLOBAL super_read_only = ON", within=_STATEMENT)
            row = session.one("SELECT @@GLOBAL.server_uuid AS server_uuid", within=_STATEMENT)
            return str(row["server_uuid"]).lower(), read_progress(session, within=_STATEMENT)
        finally:
            session.close()

    def _complete(self, before: str) -> Progress:
        """Wait for the restart, by nothing but asking."""
        ends = time.monotonic() + _BACK
        while time.monotonic() < ends:
            try:
                session = self._connect()
                try:
                    progress = read_progress(session, within=_STATEMENT)
                finally:
                    session.close()
                if progress.state == FAILED:
                    raise BenchmarkError(f"the bare clone failed: {progress.error}")
                if progress.state == COMPLETED and progress.began != before:
                    return progress
            except HaError:
                """It restarts."""
            time.sleep(_LOOK)
        raise BenchmarkError(f"{self._recipient.name} did not come back within {_BACK:g} s")


def _copied(data: int) -> int:
    if data <= 0:
        raise BenchmarkError("nothing was copied")
    return data


@contextmanager
def _spared(cluster: Cluster, recipient: Member) -> Iterator[None]:
    """Nobody counts on the recipient inside; afterwards it is a member again, however it ends."""
    _maintain(cluster, TAKE_OUT, recipient)
    try:
        yield
    finally:
        _again(lambda: _maintain(cluster, BRING_BACK, recipient))


def _maintain(cluster: Cluster, operation: str, member: Member) -> None:
    reach = cluster.access
    maintain(
        reach.members,
        reach.admin,
        Request(operation, member.name, "benchmark of clone"),
        Wish(reach.members, user_prefix=reach.replication.user_prefix, ca=reach.replication.ca),
        Means(reach.replication.password, reach.clone),
        cluster=reach.cluster,
    )


def _again(work: Callable[[], None]) -> None:
    """It may just be restarting."""
    ends = time.monotonic() + _BACK
    while True:
        try:
            work()
            return
        except HaError:
            if time.monotonic() > ends:
                raise
        time.sleep(1.0)


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--size", type=int, default=MEGABYTES, help=f"megabytes of data (default {MEGABYTES})")
    parser.add_argument("--runs", type=int, default=5, help="pairs (default 5)")
    options = parser.parse_args()
    return benchmark_session.hold([lambda cluster: measure(cluster, options.runs, options.size)])


if __name__ == "__main__":
    sys.exit(main())
