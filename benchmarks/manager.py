"""The manager on the lab's control host, asked through its command line. Shapes: ``module_utils/manager/desk.py``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.plan import Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.procedure import Report
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.config import ClusterConfig
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.policy import Rules
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.verdict import HEALTHY, Timing
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.watch import Manager as Watching

from benchmarks.access import Access
from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError

CONTROL_HOST, APPLICATION_HOST = "control1", "app1"
UNIT = "lossless-mysql-ha-manager"
BY = "benchmarks"
PROMOTED = "promoted"
READY_SECONDS = 60.0
_LOOK_AGAIN = 0.3


def never(config: ClusterConfig, request: Request, journal: str, run_id: str, silent: str) -> Report:
    """In the place of the failover, in a manager that only watches.

    :raises HaError: always.
    """
    raise HaError("only_watching", f"{config.name}: a benchmark's manager never acts")


def watching(reach: Access, name: str, tick: float = Timing.tick) -> ClusterConfig:
    """The lab's cluster under a name of its own, for a manager that says what it would do."""
    rules = Rules(dry_run=True)
    return ClusterConfig(name, reach.members, reach.admin, reach.replication, Timing(tick=tick), rules)


def until_healthy(watching: Watching, count: int, within: float) -> None:
    """Wait until a manager of this process has seen so many clusters well.

    :raises BenchmarkError: not within so many seconds.
    """
    ends = time.monotonic() + within
    while True:
        verdicts = [cluster.view.verdict for cluster in watching._clusters.values()]
        if sum(one.verdict == HEALTHY for one in verdicts) == count:
            return
        if time.monotonic() > ends:
            said = sorted({f"{one.verdict}: {'; '.join(one.reasons)}" for one in verdicts if one.verdict != HEALTHY})
            raise BenchmarkError(f"not all of {count} clusters are healthy after {within:g} s; {' | '.join(said[:3])}")
        time.sleep(_LOOK_AGAIN)


@contextmanager
def kept_out(cluster: Cluster) -> Iterator[None]:
    """A manager that is deployed does nothing meanwhile; where there is none, nothing is done."""
    if not deployed(cluster):
        yield
        return
    manager = Manager(cluster)
    manager.pause()
    try:
        yield
    finally:
        manager.resume()


def deployed(cluster: Cluster) -> bool:
    return cluster.hosts.run(CONTROL_HOST, "systemctl", "is-active", UNIT, check=False) == "active"


class Manager:
    """:raises BenchmarkError: from every method: no answer, or not in time. ``by``: who asks, in its history."""

    def __init__(self, cluster: Cluster, by: str = BY) -> None:
        self._cluster = cluster
        self._name = cluster.access.cluster
        self._by = by
        if not deployed(cluster):
            raise BenchmarkError(f"no {UNIT} runs on {CONTROL_HOST}: deploy the playbook lossless.mysql_ha.manager")

    def ask(self, *command: str) -> Any:
        """The exit status is not looked at: it says no more than that a cluster needs attention."""
        text = self._cluster.hosts.run(CONTROL_HOST, "mysql-ha", "--json", *command, check=False)
        try:
            return json.loads(text)
        except ValueError as error:
            raise BenchmarkError(f"mysql-ha {' '.join(command)}: {text[-300:]}") from error

    def history(self) -> list[dict[str, Any]]:
        """Newest first."""
        return list(self._answer("recoveries", "history", self._name, "--limit", "50"))

    def status(self) -> dict[str, Any]:
        return dict(self._answer("clusters", "status")[self._name])

    def _answer(self, key: str, *command: str) -> Any:
        said = self.ask(*command)
        if key not in said:
            raise BenchmarkError(f"mysql-ha {' '.join(command)}: {said.get('message') or said}")
        return said[key]

    def acknowledge(self, entry: Mapping[str, Any]) -> None:
        self.ask("ack", str(entry["id"]), "--by", self._by)

    def switchover(self) -> dict[str, Any]:
        """Its recovery, or why there is none."""
        return dict(self.ask("switchover", self._name, "--by", self._by))

    def pause(self) -> None:
        """Not for ever: a session that was killed can not resume it."""
        self.ask("pause", self._name, "--reason", "a benchmark fails over by itself", "--for", "2h", "--by", self._by)

    def resume(self) -> None:
        self.ask("resume", self._name, "--by", self._by)

    def ready(self, primary: str) -> None:
        """It sees that primary well, and nothing that was done before holds it back."""
        ends = time.monotonic() + READY_SECONDS
        while True:
            try:
                why = self._not_ready(primary)
            except BenchmarkError as error:
                why = str(error)  # it may just be starting
            if not why:
                return
            if time.monotonic() > ends:
                raise BenchmarkError(why)
            time.sleep(_LOOK_AGAIN)

    def _not_ready(self, primary: str) -> str:
        """Why not, or the empty text. What an earlier session left is taken away; what a person wants stays."""
        for entry in self.history():
            if entry["ended_at"] is not None and entry["acknowledged"] is None:
                self.acknowledge(entry)
        seen = self.status()
        paused = seen["paused"]
        if paused and paused["by"] == self._by:
            self.resume()
        if paused:
            return f"{paused['by']} has paused the manager ({paused['reason']}): resume it first"
        if seen["verdict"] == "healthy" and seen["primary"] == primary:
            return ""
        return f"the manager sees {seen['primary'] or 'no primary'} as {seen['verdict']}: {'; '.join(seen['reasons'])}"

    def since(self, known: Sequence[str]) -> list[dict[str, Any]]:
        """Recoveries that are not among those ids, oldest first; waits until none of them runs."""
        ends = time.monotonic() + READY_SECONDS
        while True:
            found = [entry for entry in self.history() if entry["id"] not in known]
            if all(entry["ended_at"] is not None for entry in found):
                return found[::-1]
            if time.monotonic() > ends:
                raise BenchmarkError(f"a recovery has not ended after {READY_SECONDS:g} s")
            time.sleep(_LOOK_AGAIN)

    def report(self, entry: Mapping[str, Any]) -> Report:
        """What the procedure said, out of its journal on the control host."""
        return Report(**self.report_as_written(entry))

    def report_as_written(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """``report``, of whatever version of the collection."""
        return reported(self._cluster.hosts.run(CONTROL_HOST, "cat", str(entry["journal"])))


def reported(journal: str) -> dict[str, Any]:
    """The report at the end of a failover's journal (JSON lines).

    :raises BenchmarkError: it does not say how it ended.
    """
    for line in reversed(journal.splitlines()):
        found = json.loads(line).get("report") if line else None
        if found:
            return dict(found)
    raise BenchmarkError("the journal does not say how the failover ended")
