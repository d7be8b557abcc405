# SPDX-License-Identifier: BSD-2-Clause
"""Runs business assertions on a primary and its replicas, and says what came of each on each.

In a round the primary is read in a READ ONLY snapshot, then its gtid_executed, then each replica executes all of that
(the barrier, which the caller hands in), and only then it is read, in a READ ONLY snapshot of its own. Where they
differ the primary is read once more, and ``assertion_verdict.Settling`` says whether that settles it.

Both sides read under the same settings, whatever the servers' own are: time zone UTC, one sql_mode, one collation; and
NOW() is held at one moment for all reads of an assertion, so that "the last day" is the same day everywhere.

A statement is ended by the server after the assertion's time-out (max_execution_time); the connection is given up a
little later, if the server did not do it. An assertion that fails on a side does not keep the others from running.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

from ..errors import HaError
from ..server.session import Session, StatementFailed
from . import assertion_verdict as judge
from .assertion_verdict import VERDICTS, Comparison, Repeated, Result, Settling, Verdict
from .assertions import ZERO_ROWS, Assertion
from .barrier import reading
from .failures import AHEAD
from .findings import DIFFERENT, ERROR, LAGGING, PASS, SKIPPED, UNSTABLE
from .masked import masked

Barrier = Callable[[str, str, float], bool]
"""``barrier(replica's name, GTID set, seconds)``: whether the replica has executed the set within that time."""
Ahead = Callable[[str, float], bool]
"""``ahead(replica's name, seconds)``: whether the primary has not executed within that time what the replica has."""

PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0)
"""Seconds before each round."""

# What would let two servers answer the same statement on the same rows with other results, besides what ``reading``
# sets; and a barrier that waits on this session is no statement of an assertion.
_SETTINGS: Mapping[str, Any] = {
    "max_execution_time": 0,
    "sql_mode": "ONLY_FULL_GROUP_BY",  # and so no ANSI_QUOTES, which read_only_sql rests on
    "transaction_isolation": "REPEATABLE-READ",  # only then a transaction has one snapshot
    "collation_connection": "utf8mb4_0900_ai_ci",
    "group_concat_max_len": 1 << 20,
    "div_precision_increment": 4,
    "default_week_format": 0,
    "lc_time_names": "en_US",
    "sql_auto_is_null": 0,
    "completion_type": "NO_CHAIN",  # a ROLLBACK ends the snapshot, and begins nothing
}
_SYNTAX = 1064
"""Its message quotes the statement: an assertion's, which has no value of a row."""
_NOTHING = Comparison(0)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds.

    :param within: for everything; what was not begun by then is skipped.
    :param catch_up: for a replica to be where the primary was, each time.
    :param grace: for what is no assertion's statement, and for the server to end a statement that takes too long.
    """

    within: float = 600.0
    catch_up: float = 30.0
    grace: float = 5.0


@dataclasses.dataclass(frozen=True)
class Report:
    """Every verdict: for each assertion one for each replica, and one for the primary where it was judged by itself."""

    verdicts: tuple[Verdict, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Only when there is something, and each of it passed."""
        return bool(self.verdicts) and all(each.verdict == PASS for each in self.verdicts)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each verdict."""
        return {word: sum(each.verdict == word for each in self.verdicts) for word in VERDICTS}

    def as_result(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "counts": self.counts,
            "seconds": self.seconds,
            "assertions": [each.as_result() for each in self.verdicts],
        }


class _TimeUp(Exception):
    """The time for everything is over; the message says which time that was."""


def run(
    assertions: Sequence[Assertion],
    primary: Session,
    replicas: Mapping[str, Session],
    barrier: Barrier,
    *,
    ahead: Ahead = lambda name, seconds: False,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    limits: Limits = Limits(),
    reveal: bool = False,
    salt: Optional[bytes] = None,
) -> Report:
    """Run the assertions one after the other.

    :param replicas: by name. The sessions, and the primary's, are the caller's own and idle; their settings are put
        back, and a session whose settings can not be put back is closed.
    :param barrier: outside of any transaction; it may use the replica's session. ``ahead``: it may use both.
    :param reveal: show values in the evidence and in errors; otherwise digests, counts and names of columns.
    :param salt: keys the digests; a new one for each run when it is not given.
    :returns: never raises for what a server answers: that is a verdict ``error``.
    """
    started = clock()
    if not limits.within > 0:
        raise ValueError("without time nothing can be asserted")
    key = secrets.token_bytes(16) if salt is None else salt
    runner = _Run(primary, dict(replicas), barrier, ahead, clock, sleep, limits, reveal, key, started)
    with ExitStack() as stack:
        for side in (runner.primary, *runner.replicas.values()):
            stack.enter_context(side.prepared())
        for assertion in assertions:
            runner.one(assertion)
    return Report(tuple(runner.verdicts), round(clock() - started, 3))


class _Side:
    """One server, and what became of preparing its session."""

    def __init__(self, name: str, session: Session, grace: float) -> None:
        self.name = name
        self.session = session
        self.failed: Optional[HaError] = None
        self._grace = grace

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """The session has the settings of a comparison meanwhile. One that can not have them fails when it is read."""
        with ExitStack() as stack:
            try:
                stack.enter_context(reading(self.session, statement=self._grace, settings=_SETTINGS))
                stack.callback(self._let_go)
            except HaError as error:
                self.failed = error
            yield

    def _let_go(self) -> None:
        """The clock goes on again."""
        if self.session.usable:
            try:
                self.session.execute("SET SESSION timestamp = DEFAULT", within=self._grace)
            except HaError:
                self.session.close()

    def _set(self, settings: Mapping[str, Any]) -> None:
        wanted = ", ".join(f"SESSION {name} = %s" for name in settings)
        self.session.execute(f"SET {wanted}", tuple(settings.values()), within=self._grace)

    def hold(self, moment: Optional[float]) -> None:
        """NOW() is that moment, in seconds since 1970, from now on."""
        if moment is None or self.failed or not self.session.usable:
            return
        # Without it statements with NOW() differ more often, and are read again: slower, never wrong. And a connection
        # that is gone is told by whoever reads next.
        with suppress(StatementFailed):
            self.session.execute("SET SESSION timestamp = %s", (moment,), within=self._grace)

    def read(self, sql: str, seconds: float, most: int) -> Result:
        """The statement's result, in a snapshot of its own.

        :raises HaError: as ``Session.query``, or what went wrong when the session was prepared.
        """
        if self.failed:
            raise self.failed
        self._set({"max_execution_time": max(1, int(seconds * 1000)), "lock_wait_timeout": max(1, math.ceil(seconds))})
        self.session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", within=self._grace)
        try:
            found = self.session.query_exact(sql, within=seconds + self._grace, most=most)
        finally:
            if self.session.usable:
                self.session.execute("ROLLBACK", within=self._grace)
                # A barrier that waits on this session is no statement of an assertion.
                self.session.execute("SET SESSION max_execution_time = 0", within=self._grace)
        return Result(found.columns, found.rows, found.more)

    def value(self, expression: str) -> str:
        if self.failed:
            raise self.failed
        return str(self.session.one(f"SELECT {expression} AS value", within=self._grace)["value"])


class _Run:
    def __init__(
        self,
        primary: Session,
        replicas: Mapping[str, Session],
        barrier: Barrier,
        ahead: Ahead,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        limits: Limits,
        reveal: bool,
        salt: bytes,
        started: float,
    ) -> None:
        self.primary = _Side(primary.name, primary, limits.grace)
        self.replicas = {name: _Side(name, session, limits.grace) for name, session in replicas.items()}
        self.verdicts: list[Verdict] = []
        self._barrier = barrier
        self._ahead = ahead
        self._clock = clock
        self._sleep = sleep
        self._limits = limits
        self._reveal = reveal
        self._salt = salt
        self._started = started

    def one(self, assertion: Assertion) -> None:
        """One assertion on all sides: each gets its verdict, whatever happens."""
        case = _Case(assertion, tuple(self.replicas))
        try:
            self._hold()
            for number, pause in enumerate(PAUSES):
                if pause:
                    self._pause(pause)
                if self._round(case, first=not number):
                    break
            else:
                case.leave(UNSTABLE)
        except _TimeUp as error:
            if not case.primary_told and (assertion.expect == ZERO_ROWS or not self.replicas):
                self._add(assertion, "primary", self.primary.name, SKIPPED, str(error))
            case.leave(SKIPPED, str(error))
        for name in self.replicas:
            self._tell(case, name)

    def _hold(self) -> None:
        """One moment for all reads of an assertion: what the primary calls now."""
        self._left()
        try:
            # A clock that was held before would say that moment again.
            if not self.primary.failed:
                self.primary.session.execute("SET SESSION timestamp = DEFAULT", within=self._limits.grace)
            moment: Optional[float] = float(self.primary.value("UNIX_TIMESTAMP(NOW(6))"))
        except HaError:
            moment = None  # reading it will say why
        for side in (self.primary, *self.replicas.values()):
            side.hold(moment)

    def _left(self) -> float:
        left = self._started + self._limits.within - self._clock()
        if left <= 0:
            raise _TimeUp(f"not done within {self._limits.within:g} s")
        return left

    def _pause(self, seconds: float) -> None:
        if self._left() <= seconds:
            raise _TimeUp(f"not done within {self._limits.within:g} s")
        self._sleep(seconds)

    def _read(self, side: _Side, sql: str, assertion: Assertion) -> Result:
        return side.read(sql, min(assertion.timeout, self._left()), assertion.max_rows)

    def _round(self, case: _Case, *, first: bool) -> bool:
        """True: nothing is open any more."""
        assertion = case.assertion
        try:
            before = self._read(self.primary, assertion.sql_primary, assertion)
            if first:
                self._judge_primary(case, before)
            executed = self.primary.value("@@GLOBAL.gtid_executed")
        except HaError as error:
            self._primary_failed(case, error)
            return True
        unsettled: dict[str, Result] = {}
        for name in case.open:
            seen = self._replica(case, name, executed)
            if seen is not None and not case.look(name, before, seen) and not self._is_ahead(case, name):
                unsettled[name] = seen
        if assertion.expect != ZERO_ROWS and unsettled:
            try:
                after = self._read(self.primary, assertion.sql_primary, assertion)
            except HaError as error:
                self._primary_failed(case, error)
                return True
            for name, seen in unsettled.items():
                case.confirm(name, before, seen, after)
        return not case.open

    def _judge_primary(self, case: _Case, result: Result) -> None:
        assertion = case.assertion
        if assertion.expect == ZERO_ROWS:
            found = judge.violations(result, on_primary=True)
            verdict = DIFFERENT if found.count else PASS
            why = judge.said(assertion, verdict, found)
            self._add(assertion, "primary", self.primary.name, verdict, why, found, 1, {"primary": len(result.rows)})
            case.primary_told = True
        elif not self.replicas:
            why = "there is no replica to compare with"
            self._add(assertion, "primary", self.primary.name, SKIPPED, why)
            case.primary_told = True

    def _primary_failed(self, case: _Case, error: HaError) -> None:
        message = self._message(error)
        if not case.primary_told:
            self._add(case.assertion, "primary", self.primary.name, ERROR, message, errno=_number(error))
        case.leave(SKIPPED, f"the primary could not be read: {message}")

    def _replica(self, case: _Case, name: str, executed: str) -> Optional[Result]:
        """The replica's result; ``None``: it has its verdict."""
        side = self.replicas[name]
        try:
            if side.failed:
                raise side.failed
            if not self._barrier(name, executed, min(self._limits.catch_up, self._left())):
                why = f"it has not executed what the primary had, within {self._limits.catch_up:g} s"
                case.settle(name, LAGGING, why)
                return None
            return self._read(side, case.assertion.sql_replica, case.assertion)
        except HaError as error:
            case.settle(name, ERROR, self._message(error), _number(error))
            return None

    def _is_ahead(self, case: _Case, name: str) -> bool:
        """Asked before the primary is read again: it shows by then what the replica has shown, or nobody knows."""
        try:
            if not self._ahead(name, min(self._limits.catch_up, self._left())):
                return False
            case.settle(name, UNSTABLE, AHEAD.why)
        except HaError as error:
            case.settle(name, ERROR, self._message(error), _number(error))
        return True

    # Saying

    def _message(self, error: HaError) -> str:
        """What went wrong; what stands in quotes may be a value of a row."""
        if self._reveal or _number(error) == _SYNTAX:
            return error.message
        return masked(error.message, _number(error))

    def _tell(self, case: _Case, name: str) -> None:
        end = case.ends[name]
        settling = case.settling[name]
        counted = end.verdict in (DIFFERENT, UNSTABLE)
        self._add(
            case.assertion,
            "replica",
            name,
            end.verdict,
            end.reason or judge.said(case.assertion, end.verdict, settling.comparison),
            settling.comparison if counted else _NOTHING,
            settling.rounds,
            case.rows.get(name),
            end.errno,
        )

    def _add(
        self,
        assertion: Assertion,
        side: str,
        member: str,
        verdict: str,
        reason: str,
        found: Comparison = _NOTHING,
        rounds: int = 0,
        rows: Optional[Mapping[str, int]] = None,
        errno: int = 0,
    ) -> None:
        evidence = tuple(judge.shown(each, reveal=self._reveal, salt=self._salt) for each in found.differences)
        self.verdicts.append(
            Verdict(
                assertion=assertion.name,
                expect=assertion.expect,
                severity=assertion.severity,
                side=side,
                member=member,
                verdict=verdict,
                reason=reason,
                rounds=rounds,
                rows=dict(rows or {}),
                count=found.count,
                evidence=evidence,
                errno=errno,
            )
        )


@dataclasses.dataclass(frozen=True)
class _End:
    verdict: str
    reason: str = ""
    errno: int = 0


class _Case:
    """One assertion while it runs: which replicas are open, and how each of the others ended."""

    def __init__(self, assertion: Assertion, names: Sequence[str]) -> None:
        self.assertion = assertion
        self.primary_told = False
        self.rows: dict[str, Mapping[str, int]] = {}
        self.ends: dict[str, _End] = {}
        expects_none = assertion.expect == ZERO_ROWS
        self.settling: dict[str, Any] = {
            name: Repeated(assertion) if expects_none else Settling(assertion) for name in names
        }

    @property
    def open(self) -> list[str]:
        return [name for name in self.settling if name not in self.ends]

    def settle(self, name: str, verdict: str, reason: str = "", errno: int = 0) -> None:
        self.ends[name] = _End(verdict, reason, errno)

    def look(self, name: str, before: Result, seen: Result) -> bool:
        """True: the replica has its verdict."""
        self.rows[name] = {"primary": len(before.rows), "replica": len(seen.rows)}
        each = self.settling[name]
        arguments = (seen,) if isinstance(each, Repeated) else (before, seen)
        return self._ended(name, each.look(*arguments))

    def confirm(self, name: str, before: Result, seen: Result, after: Result) -> None:
        self._ended(name, self.settling[name].confirm(before, seen, after))

    def _ended(self, name: str, settled: bool) -> bool:
        if settled:
            self.settle(name, self.settling[name].verdict)
        return settled

    def leave(self, verdict: str, reason: str = "") -> None:
        """What is open ends like that; what has differed already is said to have differed."""
        for name in self.open:
            if verdict == SKIPPED and self.settling[name].comparison.count:
                found = judge.said(self.assertion, UNSTABLE, self.settling[name].comparison)
                self.settle(name, UNSTABLE, f"{found}; {reason}")
            else:
                self.settle(name, verdict, reason)


def _number(error: HaError) -> int:
    return error.errno if isinstance(error, StatementFailed) else 0
