"""One run of one scenario: load, faults, the outcome, the way back, the verdict. Everything it saw is kept."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import ServerState

from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from benchmarks.hosts import KILLED
from benchmarks.machine import Watch
from benchmarks.program import Program
from benchmarks.progress import say
from benchmarks.writer import Writer
from drills import judge
from drills.drivers import Done, Driver
from drills.errors import DrillError
from drills.judge import Finding, Seen
from drills.plan import Plan
from drills.programs import checker, drill_common, findings, page, single
from drills.recovery import Returned, bring_back
from drills.steps import (
    APPLICATION,
    ELECTED,
    FAIL_OVER,
    NEW,
    PRIMARY,
    Acknowledged,
    Act,
    Answers,
    Blocked,
    Expect,
    Fenced,
    Follow,
    Heal,
    Inject,
    Pause,
    Step,
)
from lab import faults
from lab.errors import LabError

LEAST_BEFORE = 200
LOAD = {"connections": 6, "fresh_connections": 2, "pause_ms": 15, "read_timeout": 3.0}
ADDRESS_BOUND_MS = 3500
"""Two holders at most for so long: the lease, and two seconds where only the kernel ends it (roles/vip)."""
FENCE, CLIENTS = KILLED, "local_clients"
_LOOK_EVERY = 0.1
TROUBLE = (BenchmarkError, DrillError, HaError, LabError)


class Run:
    """``Run(...).go()``, once. ``directory`` is made anew."""

    def __init__(self, cluster: Cluster, driver: Driver, plan: Plan, directory: Path) -> None:
        self._cluster = cluster
        self._driver = driver
        self._plan = plan
        self._directory = directory
        self._injected: list[tuple[str, str]] = []
        self._seen: list[Seen] = []
        self._findings: list[Any] = []
        self._report: Mapping[str, Any] = {}
        self._reasons: tuple[Mapping[str, Any], ...] = ()
        self._fault_at: float | None = None
        self._new = ""
        self._elected = ""
        self._clients_on = ""

    # --- the whole ---------------------------------------------------------------------------------------------------
    def go(self) -> dict[str, Any]:
        """:returns: the result (``result`` below); a run that could not be done is a violation, too."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        (self._directory / "plan.json").write_text(json.dumps(self._plan.document(), indent=2) + "\n")
        began = time.monotonic()
        with Watch() as watch:
            try:
                report = self._whole()
            except TROUBLE as error:
                report = {"verdict": "fail", "reasons": [f"the run could not be done: {type(error).__name__}: {error}"]}
        (self._directory / "report.json").write_text(json.dumps(report, indent=2, default=str) + "\n")
        if "timeline" in report:
            (self._directory / "report.html").write_text(page.render(report))
        found = result(self._plan, self._seen, report)
        found["seconds"] = round(time.monotonic() - began, 1)
        found["condition"] = watch.condition.as_dict()
        found["directory"] = str(self._directory)
        return found

    def _whole(self) -> dict[str, Any]:
        began = time.time()
        old = self._cluster.primary()
        replicas = [member.name for member in self._cluster.access.members if member.name != old.name]
        self._old = old
        self._parts = self._plan.parts(old.name, replicas)
        prefix = self._cluster.hosts.network_of(self._parts[APPLICATION])
        observer = self._observer(prefix)
        writer = Writer(self._cluster.access, self._directory, prefix=("nice", "-n", "-5", *prefix), load=LOAD)
        self._writer = writer
        trouble: Exception | None = None
        if any(isinstance(step, Inject) and step.fault == CLIENTS for step in self._plan.steps):
            self._table_of_local_clients()
        observer.start()
        try:
            with writer:
                try:
                    writer.wait(old.server_uuid, LEAST_BEFORE, 60)
                    time.sleep(self._plan.settle)
                    self._steps()
                except TROUBLE as error:
                    trouble = error
            self._fence()
            self._heal_all()
            returned = bring_back(self._cluster, began)
        finally:
            # Also when somebody interrupts: nothing stays broken.
            self._heal_all()
            observer.stop()
            self._driver.close()
        if trouble is not None:
            self._findings.append(Finding("steps_done", False, f"{type(trouble).__name__}: {trouble}"))
        return self._judged(returned, observer)

    def _observer(self, prefix: tuple[str, ...]) -> Program:
        reach = self._cluster.access
        config = {
            "hosts": [{"name": m.name, "address": m.host, "port": m.replication_port} for m in reach.members],
            "addresses": [reach.address],
            "interface": "eth0",
            "user": reach.writer.user,
            "password": reach.writer.password,
            "tls_ca": reach.ca,
        }
        return Program("observer", self._directory, config, output="output", prefix=("nice", "-n", "-10", *prefix))

    # --- the steps ---------------------------------------------------------------------------------------------------
    def _steps(self) -> None:
        first = next((step for step in self._plan.steps if isinstance(step, Act)), None)
        if first is not None:
            self._driver.ready(first)
        for step in self._plan.steps:
            self._do(step)

    def _do(self, step: Step) -> None:
        if isinstance(step, Inject):
            self._inject(step)
        elif isinstance(step, Heal):
            self._heal(step.fault, self._host(step.on))
        elif isinstance(step, Pause):
            time.sleep(step.low)
        elif isinstance(step, Act):
            if not (step.again and self._report):
                self._driver.begin(step)
        elif isinstance(step, Expect):
            self._expect(step)
        elif isinstance(step, Blocked):
            self._until(
                lambda: time.time() - self._writer.last_acknowledgement() > step.seconds, 10.0, "no commit ends"
            )
        elif isinstance(step, Acknowledged):
            self._acknowledged(step)
        elif isinstance(step, Answers):
            name = self._host(step.on)
            self._until(lambda: self._state(name) is not None, step.within, f"{name} answers")
        elif isinstance(step, Follow):
            with self._cluster.session(self._host(step.on)) as session:
                session.execute("START REPLICA", within=10.0)
        elif isinstance(step, Fenced):
            self._fenced(step)

    def _host(self, part: str) -> str:
        if part == NEW:
            if not self._new:
                raise DrillError("nobody was promoted, so there is no new primary")
            return self._new
        if part == ELECTED:
            return self._elected_host()
        return self._parts[part]

    def _elected_host(self) -> str:
        """Who follows nobody any more, and is not the old primary: it was about to be opened."""
        if not self._elected:
            observation, _diagnosis = self._cluster.look()
            alone = [
                name
                for name, state in observation.states.items()
                if name != self._old.name and not (state.receiver and state.receiver.source_host)
            ]
            if len(alone) != 1:
                raise DrillError(f"it does not show who was elected: {', '.join(alone) or 'nobody'} follows nobody")
            self._elected = alone[0]
        return self._elected

    def _inject(self, step: Inject) -> None:
        host = self._host(step.on)
        options = dict(step.options)
        if "peer" in options:
            options["peer"] = self._host(options["peer"])
        if self._fault_at is None:
            self._fault_at = time.time()
        self._injected.append((step.fault, host))
        if step.fault == CLIENTS:
            self._clients_on = host
        self._cluster.hosts.inject(host, step.fault, options)

    def _heal(self, fault: str, host: str) -> None:
        self._cluster.hosts.heal(host, fault)
        if (fault, host) in self._injected:
            self._injected.remove((fault, host))

    def _expect(self, step: Expect) -> None:
        wanted = step.of(self._driver.name)
        if self._report and wanted == FAIL_OVER:
            # An attempt before this one, whose end was open, has done it.
            self._seen.append(Seen(wanted, FAIL_OVER, 0, ("by the attempt before",)))
            return
        done = self._driver.end(step.within, wanted)
        self._seen.append(Seen(wanted, done.outcome, done.promotions, done.said))
        self._note(done)

    def _note(self, done: Done) -> None:
        if done.outcome == FAIL_OVER:
            self._report = done.report
            self._new = str(done.report["new_primary"])
        elif done.reasons:
            self._reasons = done.reasons

    def _acknowledged(self, step: Acknowledged) -> None:
        if step.by == NEW and not self._new:
            return  # that nobody was promoted is said by the expectation
        old = step.by == PRIMARY or not self._new
        uuid = self._old.server_uuid if old else str(self._report["new_primary_uuid"])
        name = f"acknowledges_again_{step.by}"
        try:
            self._writer.wait(uuid, step.count, step.within, after=time.time())
            self._findings.append(Finding(name, True, f"{uuid} acknowledged {step.count} more"))
        except BenchmarkError as error:
            self._findings.append(Finding(name, False, str(error)))

    def _fenced(self, step: Fenced) -> None:
        name = self._host(step.on)

        def fenced() -> bool:
            state = self._state(name)
            return state is None or state.fenced or not state.writable

        try:
            self._until(fenced, step.within, f"{name} takes no more writes")
            self._findings.append(Finding("woken_primary_fenced", True, f"{name} takes no writes"))
        except DrillError as error:
            self._findings.append(Finding("woken_primary_fenced", False, str(error)))

    def _state(self, name: str) -> ServerState | None:
        observation, _diagnosis = self._cluster.look()
        return observation.states.get(name)

    def _until(self, condition: Any, within: float, what: str) -> None:
        ends = time.monotonic() + within
        while not condition():
            if time.monotonic() > ends:
                raise DrillError(f"{what}: not within {within:g} s")
            time.sleep(_LOOK_EVERY)

    # --- the way back ------------------------------------------------------------------------------------------------
    def _fence(self) -> None:
        """Before anything talks to it again: a deposed primary with waiting commits can not be closed by SQL."""
        hosts, old = self._cluster.hosts, self._old.name
        if self._report and hosts.runs(old) and (FENCE, old) not in self._injected and hosts.mysqld_runs(old):
            self._injected.append((FENCE, old))
            hosts.inject(old, FENCE)

    def _heal_all(self) -> None:
        """The last first. A fault that is still on is healed even where a step before had trouble."""
        for fault, host in reversed(self._injected):
            self._cluster.hosts.heal(host, fault)
        self._injected.clear()

    # --- the verdict -------------------------------------------------------------------------------------------------
    def _judged(self, returned: Returned, observer: Program) -> dict[str, Any]:
        promoted = bool(self._report)
        document = {
            "scenario": self._plan.scenario.name,
            "description": self._plan.scenario.description,
            "expectation": judge.expectation_of(promoted),
            "server_version": self._old.version,
            "fault": {"description": self._plan.scenario.name, "at": self._fault_at},
            "failover": {**self._report, "refused": False} if promoted else judge.refused(self._reasons),
            "rejoin": returned.of(self._old.name),
            "address_lease_ms": ADDRESS_BOUND_MS,
        }
        samples = single.read_samples(drill_common.read_json_lines(str(observer.lines_file)))
        waits = any(isinstance(step, Fenced) for step in self._plan.steps)
        limits = findings.Limits(
            judge.LIMITS.acknowledgements,
            judge.LIMITS.samples,
            judge.LIMITS.largest_hole_ms,
            judge.overlap_allowed(self._driver.name, waits, self._plan.out_of_reach),
        )
        drill = findings.Drill(document, self._checked(returned), samples, limits)
        extra = [
            judge.outcomes_as_expected(self._seen, self._plan.expected),
            judge.promoted_once(self._seen),
            judge.primary_was_seen(samples, self._old.name, self._fault_at),
            judge.errant_archived(returned.errant, returned.archives),
            judge.surplus_came_back(self._plan.scenario.surplus, promoted, returned.errant, self._old.name),
            judge.local_clients_lose_nothing(*self._local_clients(returned.primary)),
            *self._findings,
        ]
        return judge.verdict(drill, extra)

    def _table_of_local_clients(self) -> None:
        schema = faults.CLIENTS_TABLE.partition(".")[0]
        create = f"CREATE TABLE IF NOT EXISTS {faults.CLIENTS_TABLE} (id BIGINT PRIMARY KEY)"
        self._cluster.hosts.run(self._old.name, "mysql", "-e", f"CREATE DATABASE IF NOT EXISTS {schema}; {create}")

    def _local_clients(self, primary: str) -> tuple[list[int] | None, list[int]]:
        """What they were told, and what is there."""
        if not self._clients_on:
            return None, []
        hosts = self._cluster.hosts
        notes = hosts.run(self._clients_on, "sh", "-c", f"cat {faults.CLIENTS_NOTES} 2>/dev/null || true")
        rows = hosts.run(primary, "mysql", "-N", "-B", "-e", f"SELECT id FROM {faults.CLIENTS_TABLE}")
        return [int(line) for line in notes.split()], [int(line) for line in rows.split()]

    def _checked(self, returned: Returned) -> dict[str, Any]:
        reach = self._cluster.access
        document = {
            "writer_log": str(self._writer.program.lines_file),
            "output": str(self._directory / "checked.json"),
            "user": reach.writer.user,
            "password": reach.writer.password,
            "tls_ca": reach.ca,
            "old_primary_uuid": self._old.server_uuid,
            "new_primary_uuid": self._report.get("new_primary_uuid"),
            "fault_at": self._fault_at,
            "promoted_at": self._report.get("promoted_at"),
            "servers": [
                {
                    "name": m.name,
                    "address": m.host,
                    "port": m.replication_port,
                    "role": "primary" if m.name == returned.primary else "replica",
                }
                for m in reach.members
            ],
        }
        try:
            found: dict[str, Any] = checker.check(document)
        except (checker.CheckError, OSError) as error:
            raise DrillError(f"the rows could not be checked: {error}") from error
        (self._directory / "checked.json").write_text(json.dumps(found, indent=1))
        return found


def result(plan: Plan, seen: list[Seen], report: Mapping[str, Any]) -> dict[str, Any]:
    """What the matrix keeps of one run."""
    return {
        "scenario": plan.scenario.name,
        "seed": plan.seed,
        "driver": plan.driver,
        "expected": list(plan.expected),
        "outcome": [one.outcome for one in seen],
        "said": [text for one in seen for text in one.said],
        "acknowledged": report.get("acknowledged"),
        "unknown": report.get("unknown"),
        "lost": report.get("lost"),
        "outage_ms": report.get("write_outage_ms"),
        "zero_loss": report.get("zero_loss"),
        "phases": report.get("phases") or [],
        "invariants": report.get("invariants") or [],
        "violations": report["reasons"],
    }


def tell(found: Mapping[str, Any], again: str) -> None:
    """One line for a person who waits; when something was violated, what, and the command that replays it."""
    outage = "-" if found["outage_ms"] is None else f"{found['outage_ms']:.0f} ms"
    word = "VIOLATION" if found["violations"] else "pass"
    say(
        f"{found['scenario']}: {word}; {', then '.join(found['outcome']) or 'no outcome'}; lost {found['lost']} of "
        f"{found['acknowledged']}; outage {outage}; {found['seconds']} s; seed {found['seed']}"
    )
    if found["violations"]:
        for reason in found["violations"]:
            say(f"    {reason}")
        say(f"    kept in {found['directory']}; again: {again} DRIVER={found['driver']}")
