"""One manager process that watches 300 clusters of real servers: what it needs, and how soon it is sure of a death.

``manager_watch`` has peers that stand in for servers; here each cluster is the lab's own, under 300 names, so three
servers answer 1800 questions a second, over 900 connections with TLS. The manager is a process of its own at the
control host's place in the network, in dry run: it writes down what it would do. The deployed one is paused.

Then the primary is killed (-9). The latency is from the end of its process, as systemd saw it, to each cluster's entry
in the history; measured with one cluster and with 300, in turn. With 300, *all* of them lose their primary at the same
moment, which is what no site ever sees but a lost room: ``first`` and ``median`` say how soon it was known at all,
``last`` how long the last of the 300 entries (each is on disk before the next) had to wait.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.config import Config
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.history import History
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.watch import Manager as Watching

from benchmarks import access, manager_watch, session
from benchmarks.cluster import Cluster
from benchmarks.collected import Collected
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Series, percentile
from benchmarks.interleave import interleaved
from benchmarks.manager import CONTROL_HOST, kept_out, never, until_healthy, watching
from benchmarks.result import Result
from lab import faults
from lab.config import CHECKOUT

NAME = "manager_clusters"
CLUSTERS, SECONDS, QUICK_SECONDS = 300, 10.0, 3.0
RUNS = 3
TARGET_CORE, TARGET_MIB = manager_watch.TARGET_CORE, manager_watch.TARGET_MIB
TICKS_A_SECOND = 2
_PATIENCE = 60.0
_ALL_SEEN = 30.0
"""Seconds after a death in which every cluster's entry has to be there."""


@dataclass(frozen=True)
class Measured:
    """Of one run. Latencies of each cluster, sorted, in milliseconds.

    ``primary_ms``, ``replica_ms``: processor time of a server for one question, its replication included. ``unwell``:
    clusters that were not healthy at the end of the measurement: their servers had no time for an answer.
    """

    core_percent: float
    mib: float
    cpu_ms_per_tick: float
    late_ms: float
    primary_ms: float
    replica_ms: float
    unwell: int
    latencies: tuple[float, ...]


# --- the manager's process -------------------------------------------------------------------------------------------
def watch(clusters: int, seconds: float) -> int:
    """Watch, say what it cost; after a line on standard input, wait for the deaths and say when they were seen."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    reach = access.known()
    configs = tuple(watching(reach, f"c{number + 1:03}") for number in range(clusters))
    with tempfile.TemporaryDirectory() as state:
        history = History(state)
        config = Config(configs, state_directory=state)
        manager = Watching(config, history, lambda _level, _text: None, do=never)
        thread = threading.Thread(target=manager.run)
        thread.start()
        try:
            until_healthy(manager, clusters, manager_watch.PATIENCE)
            time.sleep(manager_watch.SETTLE)
            print(json.dumps("well"), flush=True)
            print(json.dumps(manager_watch.cost(manager, seconds)), flush=True)
            sys.stdin.readline()
            ends = time.monotonic() + _ALL_SEEN
            while time.monotonic() < ends and len(history.entries(limit=clusters)) < clusters:
                time.sleep(0.1)
            entries = history.entries(limit=clusters + 1)
            print(json.dumps([[entry["at"], entry["outcome"], entry["verdict"]] for entry in entries]), flush=True)
        finally:
            manager.stop()
            thread.join()
            manager.close()
            history.close()
    return 0


# --- measuring -------------------------------------------------------------------------------------------------------
def latencies(entries: Sequence[Sequence[Any]], died_at: float, clusters: int) -> tuple[float, ...]:
    """From a death to each cluster's entry, sorted, in milliseconds.

    :raises BenchmarkError: some saw nothing, or something else than a death.
    """
    wrong = [f"{outcome} after {verdict}" for _at, outcome, verdict in entries if outcome != "would_act"]
    if wrong or len(entries) != clusters:
        raise BenchmarkError(f"{len(entries)} of {clusters} clusters have an entry; {'; '.join(wrong[:5])}")
    return tuple(sorted((at - died_at) * 1000 for at, _outcome, _verdict in entries))


def processor_time(stat: str) -> float:
    """User and system time of a process, in seconds, from the text of its /proc/PID/stat."""
    values = stat.rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


class Measurement:
    """``take`` with so many clusters, as often as wanted."""

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        self._cluster = cluster
        self._seconds = seconds
        self.measured: dict[int, list[Measured]] = {}

    def take(self, clusters: int) -> tuple[float, str]:
        """One run. Returns the share of a core, and a line for a person."""
        hosts, primary = self._cluster.hosts, self._cluster.primary().name
        with self._process(clusters) as process:
            _line(process)
            before = self._spent()
            cost = _line(process)
            servers = {name: spent - before[name] for name, spent in self._spent().items()}
            hosts.kill(primary)
            died_at = self._died_at(primary)
            if process.stdin is None:
                raise BenchmarkError("the watching process can not be told anything")
            process.stdin.write("killed\n")
            process.stdin.flush()
            seen = latencies(_line(process), died_at, clusters)
            process.wait(_PATIENCE)
        ticks = cost["took"] * TICKS_A_SECOND * clusters
        found = Measured(
            core_percent=100 * cost["cpu"] / cost["took"],
            mib=cost["mib"],
            cpu_ms_per_tick=1000 * cost["cpu"] / ticks,
            late_ms=1000 * cost["late"],
            primary_ms=1000 * servers.pop(primary) / ticks,
            replica_ms=1000 * max(servers.values()) / ticks,
            unwell=len(cost["unwell"]),
            latencies=seen,
        )
        self.measured.setdefault(clusters, []).append(found)
        said = f"{found.mib:.0f} MiB, {found.cpu_ms_per_tick:.3f} ms a tick, late {found.late_ms:.0f} ms, "
        said += f"servers {found.primary_ms:.2f} and {found.replica_ms:.2f} ms a question, {found.unwell} unwell, "
        said += f"death seen after {seen[0]:.0f} / {percentile(seen, 0.5):.0f} / {seen[-1]:.0f} ms"
        return found.core_percent, said

    @contextmanager
    def _process(self, clusters: int) -> Iterator[subprocess.Popen[str]]:
        prefix = ["nice", "-n", "-5", *self._cluster.hosts.network_of(CONTROL_HOST)]
        command = [*prefix, sys.executable, "-m", f"benchmarks.{NAME}", "--watch", str(clusters)]
        command += ["--seconds", str(self._seconds)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=CHECKOUT) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def _spent(self) -> dict[str, float]:
        """Processor time of each server so far, in seconds."""
        script = f"cat /proc/$(systemctl show -P MainPID {faults.UNIT})/stat"
        hosts = self._cluster.hosts
        return {m.name: processor_time(hosts.run(m.name, "sh", "-c", script)) for m in self._cluster.access.members}

    def _died_at(self, name: str) -> float:
        """When systemd saw mysqld end, in seconds since the epoch: hosts and this machine have one clock.

        The process is a zombie for some time before: its threads end one after the other.
        """
        ends = time.monotonic() + _PATIENCE
        command = ("systemctl", "show", "-P", "ExecMainExitTimestampMonotonic", faults.UNIT)
        while not int(at := self._cluster.hosts.run(name, *command)):
            if time.monotonic() > ends:
                raise BenchmarkError(f"systemd on {name} does not say when mysqld ended")
            time.sleep(0.1)
        return int(at) / 1e6 + time.time() - time.monotonic()


def _line(process: subprocess.Popen[str]) -> Any:
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        raise BenchmarkError("the watching process has ended early; see its output above")
    return json.loads(line)


def measure(cluster: Cluster, clusters: int, seconds: float, runs: int) -> list[Result]:
    measurement = Measurement(cluster, seconds)
    sizes = (1, clusters)
    collected = {size: Collected(f"{NAME}_{size}_core", "%", runs, _core_target(size, clusters)) for size in sizes}
    with kept_out(cluster):
        for _number, size in interleaved(sizes, runs):
            collected[size].take(functools.partial(measurement.take, size), cluster.mend)
    version = cluster.primary().version
    found: list[Result] = []
    for size, one in collected.items():
        of = measurement.measured[size]
        phases = {
            "cpu_ms_per_tick": Series("ms", tuple(m.cpu_ms_per_tick for m in of)),
            "late_ms": Series("ms", tuple(m.late_ms for m in of)),
            "primary_ms_per_question": Series("ms", tuple(m.primary_ms for m in of)),
            "replica_ms_per_question": Series("ms", tuple(m.replica_ms for m in of)),
            "unwell": Series("1", tuple(float(m.unwell) for m in of)),
        }
        one.notes.append(f"{size} clusters of 3, the same three servers, two ticks a second, {seconds:g} s, TLS")
        core = one.result(version, phases)
        mib = Series("MiB", tuple(m.mib for m in of))
        memory_target = None if core.target is None else TARGET_MIB
        memory = Result(
            f"{NAME}_{size}_memory", mib, one.conditions, version, memory_target, {}, one.notes, one.started_at
        )
        shares = {"first": 0.0, "p90": 0.9, "last": 1.0}
        spread = {n: Series("ms", tuple(percentile(m.latencies, share) for m in of)) for n, share in shares.items()}
        medians = Series("ms", tuple(percentile(m.latencies, 0.5) for m in of))
        latency = Result(
            f"{NAME}_{size}_latency", medians, one.conditions, version, None, spread, one.notes, one.started_at
        )
        found += [core, memory, latency]
    return found


def _core_target(size: int, clusters: int) -> float | None:
    return TARGET_CORE if size == clusters else None


def run(cluster: Cluster, runs: int, quick: bool) -> Sequence[Result]:
    return measure(cluster, CLUSTERS, QUICK_SECONDS if quick else SECONDS, min(runs, RUNS))


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--clusters", type=int, default=CLUSTERS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--watch", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch is not None:
        return watch(options.watch, options.seconds)
    return session.hold([lambda cluster: measure(cluster, options.clusters, options.seconds, options.runs)])


if __name__ == "__main__":
    sys.exit(main())
