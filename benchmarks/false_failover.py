"""Ten minutes of full load on both cores: does the manager fail over, and how far were its thresholds away?

    python -m benchmarks.false_failover [--minutes 10]

Load: twenty clients write through the virtual address from the application host, and as many processes as there are
cores only count. The service on the control host watches with what is deployed, and acts if it is sure of a death.

Beside it a second process stands at the same place in the network, with the same priority and the same code (links,
questions, ``verdict.note``, ``verdict.judge``), and never acts. It watches the cluster twice: with the manager's ticks,
which shows what a verdict compares with its threshold, and ten times a second, which shows the gaps themselves, those
that lie between two ticks as well (``standstill.py``).

``false_failover_*`` are ratios: the threshold over the 99.9th percentile, and 2 is asked for. Any failover, and any
verdict of death of either watcher, makes the command fail.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import verdict
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.config import Config
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.history import History
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.link import Round
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.verdict import Cut, Timing
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.watch import Manager as Watching

from benchmarks import access, session
from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from benchmarks.figures import HIGHER, Series, percentile
from benchmarks.machine import Condition, Watch
from benchmarks.manager import APPLICATION_HOST, CONTROL_HOST, UNIT, Manager, never, until_healthy, watching
from benchmarks.progress import say
from benchmarks.result import Result
from benchmarks.standstill import Seen
from benchmarks.writer import Writer
from lab.config import CHECKOUT

NAME = "false_failover"
MINUTES, SHORT_MINUTES, QUICK_MINUTES = 10.0, 1.0, 0.3
RATIO, SHARE = 2.0, 0.999
LOAD = {"connections": 16, "fresh_connections": 4, "pause_ms": 1}
FINE_TICK = 0.1
COARSE, FINE = "as_the_manager", "ten_a_second"
DEATHS = (verdict.DEAD, verdict.DEAD_OR_ISOLATED, verdict.REPLICATION_CUT)
_PATIENCE = 60.0
_NICE = "-5"
"""As the unit of the manager has it."""


# --- the second watcher ----------------------------------------------------------------------------------------------
class _Recorder(Watching):
    """Watches as the manager does, notes what it saw, and does nothing."""

    def __init__(self, config: Config, history: History) -> None:
        self.seen = {cluster.name: Seen() for cluster in config.clusters}
        self.noting = False
        super().__init__(config, history, lambda _priority, _text: None, do=never)

    def _on_round(self, cluster: Any, ended: Round) -> None:
        super()._on_round(cluster, ended)
        if self.noting:
            view = cluster.view
            self.seen[cluster.config.name].note(view.watched, view.verdict.verdict, self._tick_late)


def watcher() -> int:
    """Until a line comes on standard input; then what was seen, as a line of JSON."""
    reach = access.known()
    configs = (watching(reach, COARSE), watching(reach, FINE, FINE_TICK))
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    with tempfile.TemporaryDirectory() as state:
        history = History(state)
        recorder = _Recorder(Config(configs, state_directory=state), history)
        with contextlib.ExitStack() as stack:
            stack.callback(history.close)
            stack.callback(recorder.close)
            thread = threading.Thread(target=recorder.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(recorder.stop)
            until_healthy(recorder, len(configs), _PATIENCE)
            recorder.noting = True
            print("ready", flush=True)
            sys.stdin.readline()
            recorder.noting = False
            deaths = [entry["verdict"] for entry in history.entries()]
            print(json.dumps({"seen": {n: said(s) for n, s in recorder.seen.items()}, "deaths": deaths}), flush=True)
    return 0


def said(seen: Seen) -> dict[str, Any]:
    """What was seen, for ``quantities``."""
    return {
        "silence_counted": [value for one in seen.silence.values() for value in one.counted],
        "silence_gaps": [value for one in seen.silence.values() for value in one.gaps],
        "heartbeat_counted": seen.heartbeat.counted,
        "heartbeat_gaps": seen.heartbeat.gaps,
        "lateness": seen.lateness,
        "answers": seen.answers,
        "unanswered": seen.unanswered,
        "verdicts": seen.verdicts,
    }


# --- what it comes to ------------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class Quantity:
    """``samples`` and ``threshold`` in seconds. ``judged``: whether the ratio has a target."""

    name: str
    samples: Sequence[float]
    threshold: float
    of: str
    judged: bool = True

    @property
    def p999(self) -> float:
        return percentile(self.samples, SHARE)

    @property
    def ratio(self) -> float:
        return self.threshold / self.p999 if self.p999 > 0 else float("inf")


def quantities(seen: Mapping[str, Mapping[str, Any]]) -> list[Quantity]:
    """What is compared with which threshold, with the default ones. Quantities without a sample are left out."""
    timing, cut = Timing(), Cut()
    coarse, fine = seen[COARSE], seen[FINE]
    found = (
        Quantity("silence_counted", coarse["silence_counted"], timing.silence, "silence"),
        Quantity("silence_gaps", fine["silence_gaps"], timing.silence, "silence"),
        Quantity("heartbeat_counted", coarse["heartbeat_counted"], timing.stall, "stall"),
        Quantity("heartbeat_gaps", fine["heartbeat_gaps"], timing.stall, "stall"),
        Quantity("heartbeat_gaps_cut", fine["heartbeat_gaps"], cut.after, "replication_cut.after"),
        Quantity("lateness", coarse["lateness"], timing.late, "late"),
        Quantity("answers", coarse["answers"], timing.deadline, "deadline", judged=False),
    )
    return [one for one in found if one.samples]


def ratio_result(one: Quantity, condition: Condition, version: str, started_at: float, notes: Sequence[str]) -> Result:
    ratio = min(one.ratio, 1e6)
    ms = {"p999": one.p999, "p99": percentile(one.samples, 0.99), "median": percentile(one.samples, 0.5)}
    phases = {name: Series("ms", (value * 1000,)) for name, value in ms.items()}
    phases["worst"] = Series("ms", (max(one.samples) * 1000,))
    phases["threshold"] = Series("ms", (one.threshold * 1000,))
    phases["number"] = Series("1", (float(len(one.samples)),))
    return Result(
        f"{NAME}_{one.name}",
        Series("ratio", (ratio,), HIGHER),
        [condition],
        version,
        RATIO if one.judged else None,
        phases,
        [f"threshold {one.of}", *notes],
        started_at,
    )


def lines(found: Sequence[Quantity]) -> str:
    """The table of gaps and thresholds."""
    rows = [("quantity", "number", "p99.9", "worst", "threshold", "", "ratio")]
    for one in found:
        rows.append(
            (
                one.name,
                str(len(one.samples)),
                f"{one.p999 * 1000:.0f} ms",
                f"{max(one.samples) * 1000:.0f} ms",
                f"{one.threshold * 1000:.0f} ms",
                one.of,
                f"{one.ratio:.1f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


# --- measuring -------------------------------------------------------------------------------------------------------
@contextmanager
def _busy() -> Iterator[None]:
    """Every core has something else to do, all the time."""
    program = str(Path(__file__).with_name("burner.py"))
    burners = [subprocess.Popen([sys.executable, program]) for _core in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


@contextmanager
def _watched(cluster: Cluster) -> Iterator[subprocess.Popen[str]]:
    """The second watcher, which has seen everybody."""
    prefix = ["nice", "-n", _NICE, *cluster.hosts.network_of(CONTROL_HOST)]
    command = [*prefix, sys.executable, "-m", f"benchmarks.{NAME}", "--watch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise BenchmarkError("the second watcher did not begin; see its output above")
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _none = process.communicate("end\n", timeout=_PATIENCE)
    if not output:
        raise BenchmarkError("the second watcher said nothing; see its output above")
    found: dict[str, Any] = json.loads(output)
    return found


def measure(cluster: Cluster, minutes: float) -> list[Result]:
    manager = Manager(cluster)
    primary = cluster.primary()
    manager.ready(primary.name)
    known = [entry["id"] for entry in manager.history()]
    started_at = time.time()
    with contextlib.ExitStack() as stack:
        prefix = cluster.hosts.network_of(APPLICATION_HOST)
        writer = stack.enter_context(Writer(cluster.access, prefix=prefix, load=LOAD))
        writer.wait(primary.server_uuid, 200, 60)
        stack.enter_context(_busy())
        process = stack.enter_context(_watched(cluster))
        began, before = time.time(), len(writer.acknowledged(primary.server_uuid))
        with Watch() as watch:
            _until(writer, minutes)
        found = _ended(process)
        commits = len(writer.acknowledged(primary.server_uuid)) - before
    seen, entries = found["seen"], manager.since(known)
    journal = cluster.hosts.run(
        CONTROL_HOST, "journalctl", "--no-pager", "-o", "cat", "-u", UNIT, "--since", f"@{began:.0f}"
    )
    deaths = len(found["deaths"]) + len(entries)
    deaths += sum(number for one in seen.values() for word, number in one["verdicts"].items() if word in DEATHS)
    notes = [
        f"{minutes:g} minutes, {commits / watch.condition.seconds:.0f} commits/s, {watch.condition.busy:.0%} busy",
        f"verdicts of the second watcher: {seen[COARSE]['verdicts']}; ten times a second: {seen[FINE]['verdicts']}",
        f"answers that did not come in time: {seen[COARSE]['unanswered']} of {_asked(seen[COARSE])}",
        *(f"the manager's journal: {line}" for line in journal.splitlines()[:20]),
    ]
    for note in notes:
        say(f"{NAME}: {note}")
    every = quantities(seen)
    print(lines(every), flush=True)
    version = primary.version
    count = Result(
        f"{NAME}_deaths",
        Series("1", (float(deaths),)),
        [watch.condition],
        version,
        0.0,
        {},
        [*notes, *(f"{entry['outcome']} after {entry['verdict']}: {entry['reasons']}" for entry in entries)],
        started_at,
        must=True,
    )
    return [count, *(ratio_result(one, watch.condition, version, started_at, notes[:1]) for one in every)]


def _asked(seen: Mapping[str, Any]) -> int:
    return int(seen["unanswered"]) + len(seen["answers"])


def _until(writer: Writer, minutes: float) -> None:
    ends = time.monotonic() + minutes * 60
    told = time.monotonic()
    while time.monotonic() < ends:
        time.sleep(min(1.0, max(ends - time.monotonic(), 0.0)))
        if writer.program.ended:
            raise BenchmarkError(f"the writer has ended; its log is in {writer.program.directory}")
        if time.monotonic() - told > 60 and ends - time.monotonic() > 30:
            told = time.monotonic()
            say(f"{NAME}: {(ends - told) / 60:.0f} more minutes; load {os.getloadavg()[0]:.1f}")


def run(cluster: Cluster, runs: int, quick: bool) -> Sequence[Result]:
    """A short look; the whole is ``python -m benchmarks.false_failover``."""
    return measure(cluster, QUICK_MINUTES if quick else SHORT_MINUTES)


def main() -> int:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"default {MINUTES:g}")
    parser.add_argument("--watch", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch:
        return watcher()
    return session.hold([lambda cluster: measure(cluster, options.minutes)])


if __name__ == "__main__":
    sys.exit(main())
