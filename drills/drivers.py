"""Who carries the failover out: the manager by itself, or the procedure, called by the runner right after the fault."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover import faults

from benchmarks import manager as service
from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from drills.errors import DrillError
from drills.steps import CONTROL, FAIL_OVER, KILLED, MANAGER, NOTHING, PLANNED, PROCEDURE, REFUSE, Act
from lab.config import CHECKOUT
from lab.errors import LabError

BY = "drills"
READY_SECONDS = 60.0
PATIENCE = 5
"""Attempts without a fault point after those that were killed."""
RETRIES, RETRY_AFTER = 2, 2.0
"""Attempts after one that did not promote where a promotion is due, and seconds before each."""
_LOOK_EVERY = 0.25
_NOT_DONE = ("running", "yielded", "superseded")
"""Outcomes of a recovery that is under way, or that somebody else carries out."""
_SECOND_LOOK = 5.0
"""Seconds for a manager to say what it did while another actor promoted."""


@dataclass(frozen=True)
class Done:
    """What came of what was due.

    :param outcome: fail_over, refuse, nothing or killed (``drills/steps.py``).
    :param report: the promotion's (``failover.procedure.Report``), when there was one.
    :param reasons: of a refusal or of having done nothing, as ``report_findings.sentences`` reads them.
    :param promotions: how many promoted; one at most is right.
    :param said: one sentence for each attempt.
    """

    outcome: str
    report: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[Mapping[str, Any], ...] = ()
    promotions: int = 0
    said: tuple[str, ...] = ()


class Driver(Protocol):
    name: str

    def ready(self, act: Act) -> None:
        """Have everything at hand that the next ``begin`` needs; before the fault."""

    def begin(self, act: Act) -> None: ...

    def end(self, within: float, awaited: str) -> Done:
        """Wait until what was begun has ended, or until it is clear that nothing will be done."""

    def close(self) -> None: ...


# --- the procedure ---------------------------------------------------------------------------------------------------


class Actor:
    """A process that waits for the order to act (``drills/actor.py``)."""

    def __init__(self, prefix: Sequence[str], errors: Path) -> None:
        with errors.open("a") as file:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "drills.actor"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                cwd=CHECKOUT,
            )
        self.order: dict[str, Any] = {}
        if self._says(first=True) != "ready\n":
            raise DrillError(f"the acting process did not begin; see {errors}")

    def _says(self, first: bool = False) -> str:
        if self.process.stdout is None:
            raise DrillError("the acting process has no output")
        return self.process.stdout.readline() if first else self.process.stdout.read()

    def go(self, mode: str, journal: Path, point: str) -> None:
        self.order = {"mode": mode, "journal": str(journal), "point": point}
        if self.process.stdin is None:
            raise DrillError("the acting process has no input")
        self.process.stdin.write(json.dumps(self.order) + "\n")
        self.process.stdin.close()

    def answer(self, within: float) -> dict[str, Any]:
        """:raises DrillError: it hangs, or died of something else than its fault point."""
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise DrillError(f"the failover had not ended after {within:.0f} s; it was killed") from error
        line = self._says()
        if self.process.returncode == -signal.SIGKILL and self.order["point"]:
            return {"killed": self.order["point"]}
        if self.process.returncode or not line:
            raise DrillError(f"the acting process ended with {self.process.returncode}")
        found: dict[str, Any] = json.loads(line)
        return found

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Procedure:
    """The failover procedure from the control host's place in the network."""

    name = PROCEDURE

    def __init__(self, cluster: Cluster, directory: Path, journals: Path) -> None:
        self._prefix = cluster.hosts.network_of(service.CONTROL_HOST)
        self._errors = directory / "actor.stderr"
        self._journals = journals
        self._idle: list[Actor] = []
        self._thread: threading.Thread | None = None
        self._answers: list[dict[str, Any]] = []
        self._failures: list[Exception] = []

    def ready(self, act: Act) -> None:
        while len(self._idle) < act.actors:
            self._idle.append(Actor(self._prefix, self._errors))

    def begin(self, act: Act) -> None:
        self.ready(act)
        self._answers, self._failures = [], []
        work = self._one_after_the_other if act.points else self._at_once
        self._thread = threading.Thread(target=self._guarded, args=(work, act), daemon=True)
        self._thread.start()

    def _guarded(self, work: Any, act: Act) -> None:
        try:
            work(act)
        except (DrillError, OSError, ValueError) as error:
            self._failures.append(error)

    def _at_once(self, act: Act) -> None:
        actors = [self._idle.pop() for _number in range(act.actors)]
        for number, actor in enumerate(actors):
            actor.go(act.mode, self._journals / f"control{number + 1}", "")
        self._answers += [actor.answer(READY_SECONDS) for actor in actors]

    def _one_after_the_other(self, act: Act) -> None:
        """Killed at each point in turn; then, if it has not been done by then, until it is."""
        for point in act.points:
            if "report" in self._attempt(act, point):
                return
        for _number in range(PATIENCE if act.finish else 0):
            if "report" in self._attempt(act, ""):
                return
            time.sleep(1.0)

    def _attempt(self, act: Act, point: str) -> dict[str, Any]:
        self.ready(act)
        actor = self._idle.pop()
        actor.go(act.mode, self._journals / "control1", point)
        spare = threading.Thread(target=self.ready, args=(act,), daemon=True)
        spare.start()
        self._answers.append(actor.answer(READY_SECONDS))
        spare.join()
        return self._answers[-1]

    def end(self, within: float, awaited: str) -> Done:
        """Where a promotion is due, what was not done is tried again, as the manager tries again; the outage tells."""
        answers: list[dict[str, Any]] = []
        attempt = 0
        while True:
            self._joined(within)
            answers += self._answers
            done = read_answers(answers)
            if done.outcome != REFUSE or awaited != FAIL_OVER or attempt == RETRIES:
                return done
            attempt += 1
            time.sleep(RETRY_AFTER)
            self.begin(Act())

    def _joined(self, within: float) -> None:
        if self._thread is None:
            raise DrillError("nothing was begun")
        self._thread.join(max(within, READY_SECONDS) + 5.0)
        if self._thread.is_alive():
            raise DrillError(f"the failover had not ended after {within:.0f} s")
        if self._failures:
            raise DrillError(str(self._failures[0]))

    def close(self) -> None:
        for actor in self._idle:
            actor.kill()
        self._idle.clear()


def read_answers(answers: Sequence[Mapping[str, Any]]) -> Done:
    """What several attempts came to: a promotion, else the last refusal, else killed."""
    reports = [answer["report"] for answer in answers if "report" in answer]
    errors = [answer["error"] for answer in answers if "error" in answer]
    said = tuple(_sentence(answer) for answer in answers)
    if reports:
        made = [report for report in reports if report.get("changed")]
        # One that found the work of another done has a report, too, and no proof of its own.
        return Done(FAIL_OVER, (made or reports)[-1], (), len(made), said)
    if errors:
        return Done(REFUSE, {}, _reasons(errors[-1]), 0, said)
    return Done(KILLED if answers else NOTHING, {}, (), 0, said)


def _sentence(answer: Mapping[str, Any]) -> str:
    if "report" in answer:
        return f"promoted {answer['report'].get('new_primary')} ({answer['report'].get('zero_loss')})"
    if "killed" in answer:
        return f"killed at {answer['killed']}"
    return f"{answer['error']['code']}: {answer['error']['message']}"


def _reasons(error: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    return tuple(error["evidence"].get("reasons") or [{"code": error["code"], "message": error["message"]}])


# --- the manager -----------------------------------------------------------------------------------------------------


class Manager:
    """The service on the control host acts by itself; here it is only asked what it saw and did.

    What it answers is described in ``module_utils/manager/desk.py``.
    """

    name = MANAGER

    def __init__(self, cluster: Cluster, beside: Procedure) -> None:
        """:param beside: the second actor, where two act at once."""
        self._cluster = cluster
        self._service = service.Manager(cluster, by=BY)
        self._beside = beside
        self._two = self._armed = False
        self._read: set[str] = set()
        self._known: set[str] = set()
        self._points: tuple[str, ...] = ()
        self._switchover: threading.Thread | None = None
        self._refused: list[str] = []

    @classmethod
    def deployed(cls, cluster: Cluster) -> bool:
        """Whether the service runs on the lab's control host."""
        try:
            return service.deployed(cluster)
        except LabError:
            return False

    def ready(self, act: Act) -> None:
        """Whatever an earlier run left must not hold it back, and is not taken for an answer to what comes.

        Looked at before the fault: a manager may have answered before ``begin``.
        """
        ended = [entry for entry in self._service.history() if entry["outcome"] != "running"]
        self._known = {entry["id"] for entry in ended}
        for entry in ended:
            if entry["acknowledged"] is None:
                self._service.acknowledge(entry)
        if act.actors > 1:
            self._beside.ready(Act())
        if act.points:
            self._arm(act.points[0])

    def begin(self, act: Act) -> None:
        if self._armed and not act.points:
            self._disarm()
        self._points = act.points
        self._refused = []
        self._two = act.actors > 1
        if self._two:
            self._beside.begin(Act())
        if act.mode == PLANNED:
            self._switchover = threading.Thread(target=self._switch, daemon=True)
            self._switchover.start()

    def _switch(self) -> None:
        try:
            said = self._service.switchover()
            if said.get("outcome") != "promoted":
                self._refused.append("; ".join(said.get("refusal") or ["refused"]))
        except BenchmarkError as error:
            self._refused.append(str(error))

    def _drop_in(self, text: str) -> None:
        directory = f"/run/systemd/system/{service.UNIT}.service.d"
        script = f"mkdir -p {directory} && printf '{text}' >{directory}/zz-drill.conf && systemctl daemon-reload"
        self._cluster.hosts.run(service.CONTROL_HOST, "sh", "-c", script)

    def _arm(self, point: str) -> None:
        self._armed = True
        self._drop_in(f"[Service]\\nRestart=no\\nEnvironment={faults.VARIABLE}={point}\\n")
        self._cluster.hosts.run(service.CONTROL_HOST, "systemctl", "restart", service.UNIT)

    def _disarm(self) -> None:
        self._armed = False
        self._drop_in("")
        self._cluster.hosts.run(service.CONTROL_HOST, "systemctl", "reset-failed", service.UNIT)
        self._cluster.hosts.run(service.CONTROL_HOST, "systemctl", "restart", service.UNIT)

    def end(self, within: float, awaited: str) -> Done:
        ends = time.monotonic() + within
        said: list[str] = []
        while self._points:
            if self.deployed(self._cluster):
                if time.monotonic() > ends:
                    break
                time.sleep(_LOOK_EVERY)
                continue
            said.append(f"killed at {self._points[0]}")
            self._points = self._points[1:]
            if self._points:
                self._arm(self._points[0])
            elif awaited == KILLED:
                # It stays down until the next ``begin``: nobody is to go on before the next fault.
                return Done(KILLED, said=tuple(said))
        if said or self._points:
            self._points = ()
            self._disarm()
        if self._two:
            return self._of_two(within)
        return self._watched(ends, awaited, said)

    def _of_two(self, within: float) -> Done:
        """The other one's answer, then what the manager did; together."""
        other = self._beside.end(within, FAIL_OVER)
        if other.outcome != FAIL_OVER:
            return self._watched(time.monotonic() + within, FAIL_OVER, list(other.said))
        own = self._watched(time.monotonic() + _SECOND_LOOK, NOTHING, [])
        report = other.report if other.promotions or not own.report else own.report
        return Done(FAIL_OVER, report, (), other.promotions + own.promotions, other.said + own.said)

    def _watched(self, ends: float, awaited: str, said: list[str]) -> Done:
        done = self._until(ends, awaited, said)
        self._known.update(self._read)
        return done

    def _until(self, ends: float, awaited: str, said: list[str]) -> Done:
        new: list[dict[str, Any]] = []
        self._read = set()
        while time.monotonic() < ends:
            try:
                history = self._service.history()
            except BenchmarkError:  # it is starting again
                time.sleep(_LOOK_EVERY)
                continue
            new = [e for e in history if e["id"] not in self._known and e["outcome"] not in _NOT_DONE]
            self._read = {entry["id"] for entry in new}
            promoted = [entry for entry in new if entry["outcome"] == "promoted"]
            if promoted and awaited != NOTHING:
                return Done(
                    FAIL_OVER, self._service.report_as_written(promoted[0]), (), len(promoted), tuple(said + _told(new))
                )
            if awaited == REFUSE and (new or self._refused):
                break
            time.sleep(_LOOK_EVERY)
        said += _told(new) + self._refused
        promoted = [entry for entry in new if entry["outcome"] == "promoted"]
        if promoted:
            return Done(FAIL_OVER, self._service.report_as_written(promoted[0]), (), len(promoted), tuple(said))
        if new or self._refused:
            sentences = [text for entry in new for text in entry["refusal"]] + self._refused
            return Done(REFUSE, {}, tuple({"message": text} for text in sentences or said), 0, tuple(said))
        seen = self._service.status()
        told = f"the manager did nothing; its verdict is {seen['verdict']}: {'; '.join(seen['reasons'])}"
        return Done(NOTHING, {}, ({"message": told},), 0, (told,))

    def close(self) -> None:
        """Nothing of a drill stays with the service."""
        self._beside.close()
        if self._armed:
            self._disarm()


def _told(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{entry['outcome']} after {entry['verdict']}: {'; '.join(entry['refusal'])}" for entry in entries]


def choose(wanted: str, cluster: Cluster, directory: Path, journals: Path) -> Driver:
    """:raises DrillError: the manager was asked for and does not run."""
    there = Manager.deployed(cluster)
    if wanted == MANAGER and not there:
        raise DrillError(f"no {service.UNIT} runs on {CONTROL}: deploy the role manager, or use DRIVER=procedure")
    procedure = Procedure(cluster, directory, journals)
    return procedure if wanted == PROCEDURE or not there else Manager(cluster, procedure)
