"""What one manager process needs to watch many clusters: its share of one core, and its memory. No lab is needed.

    python -m benchmarks.manager_watch [--clusters 300] [--seconds 10] [--samples 3] [--clear] [--profile]

The manager is a process of its own with nothing but its loop; so is what it watches: three peers on loopback that speak
the protocol (``tests/unit/manager/peer.py``), with TLS, each standing for one member of every cluster. All members
answer in every tick and the primary's heartbeat goes on, so this is the price of a quiet site, which is what a manager
pays all day. What real servers spend on the answers is not in it.

One more cluster has peers of its own. When everything else has been measured its primary is killed: the time from then
to the failover's first step is the verdict's latency, with all the others being watched.
"""

from __future__ import annotations

import argparse
import cProfile
import dataclasses
import json
import pstats
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.hands import ReplicationLogin
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.config import ClusterConfig, Config
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.history import History
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.watch import Manager
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member
from ansible_collections.lossless.mysql_ha.tests.unit.manager.peer import Peer, columns

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Series
from benchmarks.machine import Condition, Watch
from benchmarks.manager import until_healthy
from benchmarks.progress import say
from benchmarks.result import Result, table

NAME = "manager_watch"
CLUSTERS, SECONDS, QUICK_SECONDS = 300, 10.0, 3.0
TARGET_CORE, TARGET_MIB = 70.0, 300.0
"""Percent of one core, and MiB of resident memory."""

PATIENCE = 120.0
SETTLE = 2.0
"""Seconds from the last connection that was made to what is measured: those are not what watching costs."""
_SPECIAL = "killed"


@dataclasses.dataclass(frozen=True)
class Measured:
    """Of one run. ``latency_ms``: from the death of a primary to the failover's first step."""

    core_percent: float
    mib: float
    cpu_ms_per_tick: float
    late_ms: float
    latency_ms: float


# --- the processes ---------------------------------------------------------------------------------------------------
class _Fast(Peer):
    """The answer is made once for each state: what a peer costs is not what is measured."""

    _made: tuple[int, bytes] = (0, b"")

    def _answer(self, sql: str) -> bytes:
        if not sql.startswith("SELECT @@GLOBAL.server_uuid"):
            return super()._answer(sql)
        values = self.columns
        if self._made[0] != id(values):
            self._made = (id(values), super()._answer(sql))
        return self._made[1]


def peers(certificate: str) -> None:
    """Six peers; their ports as a line of JSON. A line on standard input kills the primary of the special cluster."""
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(f"{certificate}/ca.pem", f"{certificate}/key.pem")
    made = [_Fast(columns(1 + n % 3), tls=tls) for n in range(6)]
    print(json.dumps([peer.port for peer in made]), flush=True)
    beating = set(range(6))

    def heart() -> None:
        beat = 17
        while True:
            time.sleep(0.5)
            beat += 1
            for number in list(beating):
                peer = made[number]
                peer.columns = {**peer.columns, "beat_sequence": str(beat), "relay_bytes": str(beat)}

    threading.Thread(target=heart, daemon=True).start()
    sys.stdin.readline()
    beating -= {3, 4, 5}
    at = time.monotonic()
    made[3].close()
    for number in (4, 5):
        made[number].columns = {**made[number].columns, "receiver": "CONNECTING"}
    print(at, flush=True)
    sys.stdin.readline()


def manager(clusters: int, seconds: float, ports: Sequence[int], ca: str, profile: bool) -> None:
    """Watch, measure, say it as a line of JSON; then wait for the death of the special cluster's primary."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    died: list[float] = []
    noticed = threading.Event()

    def fail_over(*_arguments: Any, **_more: Any) -> Any:
        died.append(time.monotonic())
        noticed.set()
        raise HaError("measured", "as far as this goes")

    login, replication = Login("manager", "x", ca=ca), ReplicationLogin("repl_", "x")

    def cluster(name: str, first: int) -> ClusterConfig:
        members = tuple(Member(f"db{n + 1}", "127.0.0.1", ports[first + n]) for n in range(3))
        return ClusterConfig(name, members, login, replication)

    configs = (*(cluster(f"c{number}", 0) for number in range(clusters)), cluster(_SPECIAL, 3))
    with tempfile.TemporaryDirectory() as state:
        history = History(state)
        watching = Manager(Config(configs, state_directory=state), history, lambda _priority, _text: None, do=fail_over)
        profiler = cProfile.Profile() if profile else None

        def loop() -> None:
            if profiler is not None:
                profiler.runcall(watching.run)
            else:
                watching.run()

        thread = threading.Thread(target=loop)
        thread.start()
        until_healthy(watching, len(configs), PATIENCE)
        time.sleep(SETTLE)
        print(json.dumps(cost(watching, seconds)), flush=True)
        noticed.wait(PATIENCE)
        print(json.dumps(died), flush=True)
        watching.stop()
        thread.join()
        watching.close()
        history.close()
        if profiler is not None:
            pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)


def cost(watching: Manager, seconds: float) -> dict[str, Any]:
    """What this process, which runs that manager, spends: ``cpu`` and ``took`` in seconds, ``mib`` resident, ``late``
    (the latest tick that was seen, in seconds), and the clusters that are ``unwell`` at the end."""
    late: list[float] = []
    before, began = _cpu(), time.monotonic()
    while time.monotonic() - began < seconds:
        time.sleep(0.25)
        late.append(watching._tick_late)
    spent, took = _cpu() - before, time.monotonic() - began
    unwell = [
        f"{name}: {cluster.view.verdict.verdict}: {'; '.join(cluster.view.verdict.reasons)}"
        for name, cluster in watching._clusters.items()
        if cluster.view.verdict.verdict != "healthy"
    ]
    return {"cpu": spent, "took": took, "mib": _resident(), "late": max(late), "unwell": unwell}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _resident() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1]) / 1024
    raise BenchmarkError("/proc/self/status has no line VmRSS")


# --- measuring -------------------------------------------------------------------------------------------------------
def measure(clusters: int, seconds: float, place: str, profile: bool = False) -> Measured:
    """One run. ``place``: a directory with ca.pem and key.pem, or empty for no TLS."""
    me = [sys.executable, "-m", f"benchmarks.{NAME}"]
    peers = [*me, "--be-peers", place]
    with subprocess.Popen(peers, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as others:
        try:
            ports = _line(others)
            given = [*me, "--be-manager", json.dumps(ports), "--clusters", str(clusters), "--seconds", str(seconds)]
            given += ["--ca", f"{place}/ca.pem" if place else "", *(["--profile"] if profile else [])]
            with subprocess.Popen(given, stdout=subprocess.PIPE, text=True) as process:
                try:
                    said = _line(process)
                    if said["unwell"]:
                        raise BenchmarkError(f"{len(said['unwell'])} clusters were not healthy: {said['unwell'][:5]}")
                    _kill(others)
                    killed_at = _line(others)
                    noticed = _line(process)
                finally:
                    process.wait(PATIENCE)
        finally:
            others.kill()
    ticks = said["took"] * 2 * (clusters + 1)
    return Measured(
        core_percent=100 * said["cpu"] / said["took"],
        mib=said["mib"],
        cpu_ms_per_tick=1000 * said["cpu"] / ticks,
        late_ms=1000 * said["late"],
        latency_ms=1000 * (noticed[0] - killed_at) if noticed else float("inf"),
    )


def _kill(others: subprocess.Popen[str]) -> None:
    if others.stdin is None:
        raise BenchmarkError("the peers can not be told anything")
    others.stdin.write("kill\n")
    others.stdin.flush()


def _line(process: subprocess.Popen[str]) -> Any:
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        raise BenchmarkError("a process of the benchmark has ended early; see its output above")
    return json.loads(line)


def certificate(place: Path) -> str:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=peer"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(place / "key.pem"), "-out", str(place / "ca.pem")],
        check=True,
        capture_output=True,
    )
    return str(place)


def results(clusters: int, seconds: float, samples: int, *, clear: bool = False, profile: bool = False) -> list[Result]:
    measured: list[Measured] = []
    conditions: list[Condition] = []
    started_at = time.time()
    with tempfile.TemporaryDirectory() as place:
        tls = "" if clear else certificate(Path(place))
        for _number in range(samples):
            with Watch() as watch:
                measured.append(measure(clusters, seconds, tls, profile))
            conditions.append(watch.condition)
            say(f"{NAME}: {measured[-1]}")
    notes = (
        f"{clusters} clusters of 3, two ticks a second, {seconds:g} s, {'in the clear' if clear else 'TLS'};"
        " peers on the same machine",
    )
    version = f"peers of the benchmark on {socket.gethostname()}"

    def result(name: str, unit: str, field: str, target: float | None, *others: tuple[str, str]) -> Result:
        series = Series(unit, tuple(getattr(m, field) for m in measured))
        phases = {other: Series(of, tuple(getattr(m, other) for m in measured)) for other, of in others}
        return Result(name, series, conditions, version, target, phases, notes, started_at)

    return [
        result(f"{NAME}_core", "%", "core_percent", TARGET_CORE, ("cpu_ms_per_tick", "ms"), ("late_ms", "ms")),
        result(f"{NAME}_memory", "MiB", "mib", TARGET_MIB),
        result(f"{NAME}_latency", "ms", "latency_ms", None),
    ]


def run(_cluster: Any, runs: int, quick: bool) -> Sequence[Result]:
    """As the other benchmarks are called; the lab's cluster has no part in it."""
    return results(CLUSTERS, QUICK_SECONDS if quick else SECONDS, min(runs, 5))


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--clusters", type=int, default=CLUSTERS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--clear", action="store_true", help="no TLS")
    parser.add_argument("--profile", action="store_true", help="where the time goes")
    parser.add_argument("--ca", default="", help=argparse.SUPPRESS)
    parser.add_argument("--be-peers", help=argparse.SUPPRESS)
    parser.add_argument("--be-manager", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be_peers is not None:
        peers(options.be_peers)
    elif options.be_manager is not None:
        manager(options.clusters, options.seconds, json.loads(options.be_manager), options.ca, options.profile)
    else:
        found = results(
            options.clusters, options.seconds, options.samples, clear=options.clear, profile=options.profile
        )
        print(table([result.as_dict() for result in found]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
