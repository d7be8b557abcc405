# SPDX-License-Identifier: BSD-2-Clause
"""Doing a recovery: tell those who are to know before, fail over, tell those who are to know after, write it all down.

The failover is that of the module: the same procedure, journal and lock. Hooks are programs with arguments, without a
shell, that find the facts in their environment, or addresses that receive them as JSON. They are told facts and never a
secret.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any, Callable, Mapping, Optional, Protocol, Sequence

from ..errors import HaError
from ..failover.plan import EMERGENCY, PLANNED, Request
from ..failover.procedure import Refused, Report
from ..failover.run import fail_over, new_run_id
from .config import ClusterConfig, Hook
from .history import History
from .policy import AUTOMATIC, FAILED, OTHERS, PROMOTED, REFUSED, RUNNING, SUPERSEDED, SWITCHOVER, WOULD_ACT, YIELDED

BEFORE, AFTER = "before", "after"

_OUTPUT = 500
"""Characters of a hook's output that are kept."""


class FailOver(Protocol):
    """``failover.run.fail_over`` as it is called here."""

    def __call__(self, config: ClusterConfig, request: Request, journal: str, run_id: str, silent: str) -> Report: ...


def by_procedure(config: ClusterConfig, request: Request, journal: str, run_id: str, silent: str) -> Report:
    """The failover itself."""
    return fail_over(
        config.candidates,
        config.login,
        config.replication,
        request,
        cluster=config.name,
        journal_directory=journal,
        acknowledgement=config.acknowledgement,
        run_id=run_id,
        silent=silent,
    )


@dataclasses.dataclass(frozen=True)
class Cause:
    """Why: the verdict, and whom it is about. ``quiet``: see ``failover.plan.Request``. ``term``: the one in force.

    ``silent``: the primary gives no answer, so it is not waited for. ``cut``: it answers, and its replication is cut.
    """

    verdict: str = ""
    reasons: tuple[str, ...] = ()
    old_primary: str = ""
    old_primary_uuid: str = ""
    term: int = 0
    quiet: Mapping[str, int] = dataclasses.field(default_factory=dict)
    silent: bool = False
    cut: bool = False


def request_for(config: ClusterConfig, cause: Cause) -> Request:
    """An automatic failover never accepts a loss."""
    return Request(
        EMERGENCY,
        lower_k=config.lower_k,
        stall_timeout=config.stall_timeout,
        deadline=config.effect_deadline,
        never=config.never,
        quiet=dict(cause.quiet),
        cut=cause.cut,
    )


def entry(config: ClusterConfig, cause: Cause, trigger: str, outcome: str, at: float) -> dict[str, Any]:
    """A new entry of the history; see ``desk.recoveries()``. ``old_term`` is the one that was to be ended."""
    run_id = new_run_id()
    return {
        "id": run_id,
        "cluster": config.name,
        "at": at,
        "ended_at": at if outcome == WOULD_ACT else None,
        "trigger": trigger,
        "verdict": cause.verdict,
        "reasons": list(cause.reasons),
        "outcome": outcome,
        "old_primary": cause.old_primary,
        "old_primary_uuid": cause.old_primary_uuid,
        "old_term": cause.term,
        "new_primary": None,
        "term": None,
        "zero_loss": None,
        "run_id": run_id,
        "outage_ms": None,
        "phases": [],
        "refusal": [],
        "codes": [],
        "next_step": "",
        "journal": None,
        "hooks": [],
        "acknowledged": None,
    }


def say(history: History, config: ClusterConfig, cause: Cause, at: float) -> Mapping[str, Any]:
    """Dry run: write down what would be done."""
    said = entry(config, cause, AUTOMATIC, WOULD_ACT, at)
    history.begin(said)
    return said


class Recovery:
    """One recovery of one cluster. ``run`` works in a thread of its own."""

    def __init__(
        self,
        config: ClusterConfig,
        history: History,
        journal_directory: str,
        *,
        do: FailOver = by_procedure,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._history = history
        self._journal_directory = journal_directory
        self._do = do
        self._wall = wall
        self._entry: dict[str, Any] = {}

    def automatic(self, cause: Cause, last_good: Optional[float] = None) -> Mapping[str, Any]:
        """Fail over. Returns the entry as it ended; a refusal or a failure is in it.

        :param last_good: when (epoch) the primary was last seen well, for ``outage_ms``.
        """
        request = request_for(self._config, cause)
        silent = cause.old_primary if cause.silent else ""
        try:
            self._run(entry(self._config, cause, AUTOMATIC, RUNNING, self._wall()), request, silent, last_good)
        except HaError:
            return self._entry
        return self._entry

    def switchover(self, to: str, by: str, cause: Cause) -> Mapping[str, Any]:
        """A planned switchover.

        :raises HaError: the procedure's refusal or failure; it is in the history as well.
        """
        request = Request(
            PLANNED,
            primary=to,
            lower_k=self._config.lower_k,
            block_budget=self._config.block_budget,
            stall_timeout=self._config.stall_timeout,
            deadline=self._config.effect_deadline,
            never=self._config.never,
        )
        wanted = dataclasses.replace(cause, reasons=(f"asked for by {by}",))
        self._run(entry(self._config, wanted, SWITCHOVER, RUNNING, self._wall()), request, "", None)
        return self._entry

    def _run(self, begun: dict[str, Any], request: Request, silent: str, last_good: Optional[float]) -> None:
        self._entry = begun
        try:
            self._history.begin(begun)
        except HaError as error:
            # What can not be written down is not done.
            self._entry.update(failure(error, FAILED), ended_at=self._wall())
            raise
        try:
            self._hooks(BEFORE, self._config.before)
            report = self._do(self._config, request, self._journal_directory, begun["run_id"], silent)
        except HaError as error:
            refused = isinstance(error, Refused) or error.code == "hook_failed"
            yielded = error.code in OTHERS
            self._end(**failure(error, REFUSED if refused else YIELDED if yielded else FAILED))
            raise
        self._end(**_success(report, last_good))

    def _end(self, **values: Any) -> None:
        values["ended_at"] = self._wall()
        self._entry.update(values)
        self._history.note(self._entry["id"], **values, hooks=self._entry["hooks"])

    def tell(self) -> None:
        """The hooks after a recovery, unless another run did it. Apart, for nothing waits for them: another
        death may have to be dealt with."""
        done = self._entry.get("ended_at") is not None and self._entry["outcome"] not in (YIELDED, SUPERSEDED)
        if not done or not self._config.after or self._repeats():
            return
        self._hooks(AFTER, self._config.after)
        self._history.note(self._entry["id"], hooks=self._entry["hooks"])

    def _repeats(self) -> bool:
        """Whether the same was told already: an attempt that is refused again, for the same reasons."""
        if self._entry["outcome"] not in (REFUSED, FAILED):
            return False
        same = ("outcome", "codes", "trigger", "old_primary_uuid", "old_term")
        earlier = [e for e in self._history.entries(self._config.name, 2) if e["id"] != self._entry["id"]]
        return bool(earlier) and all(earlier[0][key] == self._entry[key] for key in same)

    def _hooks(self, when: str, hooks: Sequence[Hook]) -> None:
        """
        :raises HaError: ``hook_failed``: one that must succeed, before the failover, did not.
        """
        for hook in hooks:
            began = time.monotonic()
            message = _tell(hook, self._facts(when))
            result = {
                "name": hook.name,
                "when": when,
                "ok": not message,
                "message": message,
                "duration_ms": round((time.monotonic() - began) * 1000, 1),
            }
            self._entry["hooks"] = [*self._entry["hooks"], result]
            if message and hook.must_succeed and when == BEFORE:
                raise _hook_failed(hook, message)

    def _facts(self, when: str) -> dict[str, Any]:
        names = ("id", "cluster", "at", "trigger", "verdict", "reasons", "outcome", "old_primary", "new_primary")
        more = ("term", "zero_loss", "run_id", "refusal", "codes", "next_step", "journal")
        return {"when": when, **{name: self._entry[name] for name in (*names, *more)}}


def _hook_failed(hook: Hook, message: str) -> HaError:
    return HaError(
        "hook_failed",
        f"the hook {hook.name} must succeed before a failover, and did not: {message}",
        evidence={"hook": hook.name},
        next_step="Mend what the hook looks at, or the hook.",
    )


def _success(report: Report, last_good: Optional[float]) -> dict[str, Any]:
    began = last_good if last_good is not None else report.started_at
    return {
        "outcome": SUPERSEDED if report.ended_elsewhere else PROMOTED,
        # What was ended elsewhere was not begun here, so the report does not say from whom.
        **({} if report.ended_elsewhere else _from_whom(report)),
        "new_primary": report.new_primary,
        "term": report.term,
        "zero_loss": report.zero_loss,
        "outage_ms": round((report.promoted_at - began) * 1000, 1) if report.promoted_at else None,
        "phases": report.phases,
        "journal": report.journal,
        "notes": report.notes,
    }


def _from_whom(report: Report) -> dict[str, Any]:
    return {"old_primary": report.old_primary, "old_primary_uuid": report.old_primary_uuid}


def failure(error: HaError, outcome: str) -> dict[str, Any]:
    """What an entry of the history says of an error."""
    reasons = error.evidence.get("reasons") or [{"code": error.code, "message": error.message}]
    return {
        "outcome": outcome,
        "refusal": [str(reason["message"]) for reason in reasons],
        "codes": [str(reason["code"]) for reason in reasons],
        "next_step": error.next_step,
        "phases": error.evidence.get("phases") or [],
        "journal": error.evidence.get("journal"),
    }


# --- hooks -----------------------------------------------------------------------------------------------------------
def _tell(hook: Hook, facts: Mapping[str, Any]) -> str:
    """What went wrong, or the empty text."""
    return _run_program(hook, facts) if hook.run else _post(hook, facts)


def environment(facts: Mapping[str, Any]) -> dict[str, str]:
    """``LOSSLESS_MYSQL_HA_CLUSTER`` and so on; lists one a line; what is not known is empty. Nothing of our own."""
    found = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    for name, value in facts.items():
        text = "\n".join(map(str, value)) if isinstance(value, (list, tuple)) else "" if value is None else str(value)
        found[f"LOSSLESS_MYSQL_HA_{name.upper()}"] = text.replace("\0", "")
    return found


def _run_program(hook: Hook, facts: Mapping[str, Any]) -> str:
    try:
        # A session of its own, so that whatever it started ends with it.
        with subprocess.Popen(
            hook.run,
            env=environment(facts),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                output, _none = process.communicate(timeout=hook.timeout)
            except subprocess.TimeoutExpired:
                _end_group(process)
                return f"did not end within {hook.timeout:g} s"
    except OSError as error:
        return f"{hook.run[0]}: {error.strerror}"
    if process.returncode == 0:
        return ""
    said = output.decode("utf-8", "replace").strip()[-_OUTPUT:]
    return f"ended with {process.returncode}" + (f": {said}" if said else "")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    if process.stdout is not None:
        process.stdout.close()


def _post(hook: Hook, facts: Mapping[str, Any]) -> str:
    request = urllib.request.Request(
        hook.url,
        data=json.dumps(facts, default=str).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "lossless.mysql_ha"},
        method="POST",
    )
    try:
        with urllib.request.build_opener().open(request, timeout=hook.timeout) as answer:
            answer.read(_OUTPUT)
    except urllib.error.HTTPError as error:
        return f"answered {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        # The reason of a URLError may be a text; the address itself may hold a secret and is not quoted.
        return f"{type(error).__name__}: {getattr(error, 'strerror', None) or getattr(error, 'reason', '')}"
    return ""
