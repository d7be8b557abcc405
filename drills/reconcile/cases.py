"""The cases, as data: what is planted, what goes on meanwhile, which modes compare, and what each has to say.

Another mode is one more name in ``modes`` of a case, and in the ``modes`` of what it has to find (``plants.Plant``).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import (
    BUSINESS,
    DIFFERENT,
    EXTRA,
    LAGGING,
    PASS,
    RECENT_BINLOG,
    RECENT_TIME,
    SCHEMA_DIFFERS,
    SKIPPED,
    SNAPSHOT,
    UNSTABLE,
    WHOLE,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.recent import Wish
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.run import Limits
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.window import Policy

from drills.comeback.judge import Check
from drills.reconcile import judge, plants
from drills.reconcile.plants import Plant
from drills.reconcile.stage import Stage
from drills.reconcile.tables import ACCOUNT, HOT, RESTLESS, SCHEMA, TABLES
from drills.reconcile.writers import CLIENTS, HAMMERS, HOT_PAUSE, PACED, STORM, Client, Writers, writing

ROUNDS = 20
LOCK = 2.0
MARGIN = 1.0
"""Seconds beyond the lock that a writer of this lab may take: a commit waits for a replica's acknowledgement, too."""
_LOCKS = 5
_HOT_COMPARISONS = 200
_IMPATIENCE = 0.25
_PATIENCE = 3.0
"""Of the delay."""
_WITHOUT_LOCK = 200
"""Updates of a hot row that nobody compares yet, to hold the longest against."""
_IN_FLIGHT = 30
"""So often rows that are written at a pace have to be caught in flight."""
_PACED_COMPARISONS = 2000
_LARGE = 20_000
"""Rows beside the hot one: reading them takes longer than there is between two of its updates."""
_TEN_MINUTES = 600.0
_ALL = tuple(table.name for table in TABLES)
_DATED = tuple(table.name for table in TABLES if table.dated)
_SMALL_POLICY = Policy(settle=1.0, skew=1.0)
_LONG_AGO = 8.0
"""Seconds for which a transaction is open before a run: more than ``settle`` and ``skew``."""
_AT_REST_OR_SLOW = tuple(f"{SCHEMA}.{name}" for name in _ALL if name not in RESTLESS)
_NEVER_AT_REST = tuple(f"{SCHEMA}.{name}" for name in sorted(RESTLESS))


@dataclass(frozen=True)
class Options:
    """``delay`` in seconds, ``minutes`` of ``delayed``; ``rounds`` of ``clean``."""

    delay: int = 30
    minutes: float = 60.0
    rounds: int = ROUNDS


@dataclass
class Round:
    """What came of a case so far."""

    checks: list[Check] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    turns: dict[str, int] = field(default_factory=dict)
    planted: Sequence[Plant] = ()
    facts: dict[str, Any] = field(default_factory=dict)


Go = Callable[[Stage, "Case", Options, Round], None]


@dataclass(frozen=True)
class Case:
    """``planted``: on the replica. ``assertions``, and the verdict that each has to have on the replica.

    ``more``: clients besides the ``usual`` ones. ``before``: statements on the primary before anybody writes.
    """

    said: str
    go: Go
    planted: Sequence[Plant] = ()
    modes: tuple[str, ...] = (WHOLE,)
    assertions: Sequence[Mapping[str, Any]] = ()
    asserted: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Client] = field(default_factory=dict)
    usual: Mapping[str, Client] = field(default_factory=lambda: CLIENTS)
    before: Sequence[str] = ()

    @property
    def clients(self) -> Mapping[str, Client]:
        """Who writes, by name."""
        return {**self.usual, **self.more}


def go(stage: Stage, name: str, options: Options) -> dict[str, Any]:
    """One case, on tables of its own.

    :returns: ``checks`` and ``facts``.
    """
    case = CASES[name]
    round_ = Round(planted=case.planted)
    try:
        stage.prepare([*case.before, *(statement for plant in case.planted for statement in plant.before)])
        case.go(stage, case, options, round_)
        stage.caught_up()
        round_.checks.append(judge.restored(stage.truth()))
    finally:
        stage.clean()
    return {"checks": round_.checks, "facts": _facts(stage, round_)}


# --- what goes on ----------------------------------------------------------------------------------------------------
@contextmanager
def _under_load(stage: Stage, case: Case, round_: Round, *, long: float = 20.0) -> Iterator[Writers]:
    """Everybody writes; afterwards it is judged whether they did."""
    with writing(stage.socket(stage.primary), case.clients, long=long) as writers:
        writers.until(case.clients)
        writers.mark()
        yield writers
        round_.turns = {name: told.turns for name, told in writers.mark().items()}
    round_.checks.append(judge.wrote(round_.turns, writers.errors, case.clients))


@contextmanager
def _planted(stage: Stage, planted: Sequence[Plant]) -> Iterator[None]:
    """On the replica, as long as this lasts."""
    done: list[Plant] = []
    try:
        for plant in planted:
            stage.behind_its_back(plant.do)
            done.append(plant)
        yield
    finally:
        for plant in reversed(done):
            stage.behind_its_back(plant.undo)


def _compared(stage: Stage, round_: Round, modes: Sequence[str] = (WHOLE,), **more: Any) -> dict[str, Any]:
    report = stage.compare(modes, **more)
    round_.reports.append(report)
    return report


def _restless(report: Mapping[str, Any]) -> dict[tuple[str, str], Sequence[str]]:
    """What may be said of tables that never rest."""
    return {(name, replica): (PASS, UNSTABLE) for name in RESTLESS for replica in report["replicas"]}


def _allowed(report: Mapping[str, Any], mode: str) -> dict[tuple[str, str], Sequence[str]]:
    """What may be said instead of a pass where nothing was planted."""
    if mode == SNAPSHOT:
        return {}  # what stands still is never restless
    if mode != RECENT_TIME:
        return _restless(report)
    return {(name, replica): (SKIPPED,) for name in set(_ALL) - set(_DATED) for replica in report["replicas"]}


# --- the cases -------------------------------------------------------------------------------------------------------
def _differences(stage: Stage, case: Case, _options: Options, round_: Round) -> None:
    with _under_load(stage, case, round_), _planted(stage, case.planted):
        index = stage.binlog_index if RECENT_BINLOG in case.modes else ""
        recent = Wish(binlog_index=index, binlog_within=0.0)  # the last file
        report = _compared(stage, round_, case.modes, assertions=case.assertions, recent=recent)
    round_.checks += _judged(stage, case, report)


def _judged(stage: Stage, case: Case, report: Mapping[str, Any]) -> list[Check]:
    checks = []
    for mode in case.modes:
        if mode == BUSINESS:
            checks.append(judge.assertions(report, stage.replica, case.asserted))
            continue
        wrong = {plant.table for plant in case.planted if mode in plant.modes}
        allowed = {**_allowed(report, mode), **{(table, stage.replica): (DIFFERENT,) for table in wrong}}
        checks += [
            judge.found(report, mode, stage.replica, case.planted),
            judge.nothing_else(report, mode, stage.replica, case.planted),
            judge.verdicts(report, mode, _ALL, allowed),
        ]
    return [*checks, judge.servers(report, ()), judge.verdict(report, DIFFERENT)]


def _long_transaction(stage: Stage, case: Case, _options: Options, round_: Round) -> None:
    """It is open while a run looks at what is recent, and committed afterwards; then its rows are lost on a replica."""
    with (
        tempfile.TemporaryDirectory() as directory,
        _under_load(stage, case, round_),
    ):
        how: dict[str, Any] = {
            "include": [f"{SCHEMA}.{name}" for name in _DATED],
            "recent": Wish(policy=_SMALL_POLICY),
            "state_directory": directory,
        }
        with stage.open_transaction(plants.OPEN):
            time.sleep(_LONG_AGO)
            before = _compared(stage, round_, case.modes, **how)
        stage.caught_up()
        with _planted(stage, case.planted):
            report = _compared(stage, round_, case.modes, **how)
    allowed = {(ACCOUNT.name, stage.replica): (DIFFERENT,)}
    round_.checks += [
        judge.verdicts(before, RECENT_TIME, _DATED, {}),
        judge.found(report, RECENT_TIME, stage.replica, case.planted),
        judge.nothing_else(report, RECENT_TIME, stage.replica, case.planted),
        judge.verdicts(report, RECENT_TIME, _DATED, allowed),
        judge.verdict(report, DIFFERENT),
    ]


def _delayed(stage: Stage, case: Case, options: Options, round_: Round) -> None:
    """Comparisons that do not wait long enough, that do, and of what never rests, in turn, until the time is over."""
    turns: Sequence[tuple[float, Sequence[str], list[dict[str, Any]]]] = (
        (options.delay * _IMPATIENCE, (SCHEMA,), []),
        (options.delay * _PATIENCE + 5.0, _AT_REST_OR_SLOW, []),
        (options.delay * _PATIENCE + 5.0, _NEVER_AT_REST, []),
    )
    long = min(_TEN_MINUTES, max(20.0, options.minutes * 60 / 3))
    with _under_load(stage, case, round_, long=long), stage.delayed(options.delay):
        ends = time.monotonic() + options.minutes * 60
        while True:
            for catch_up, include, reports in turns:
                limits = Limits(catch_up=catch_up, lock=LOCK)
                reports.append(_compared(stage, round_, case.modes, include=include, limits=limits))
            if time.monotonic() > ends:
                break
    hasty, waiting, _never = (reports for _catch_up, _include, reports in turns)
    round_.checks += [judge.steady(round_.reports), judge.impatient(hasty, stage.replica), judge.patient(waiting)]
    round_.facts["delay"] = options.delay


def _applier_stopped(stage: Stage, case: Case, _options: Options, round_: Round) -> None:
    with _under_load(stage, case, round_) as writers, stage.applier_stopped():
        # Where nothing can be compared it is over at once, before the slowest client has had its turn.
        writers.until(case.clients)
        report = _compared(stage, round_, case.modes)
    allowed = {**_restless(report), **{(table, stage.replica): (LAGGING,) for table in _ALL}}
    round_.checks += [
        judge.servers(report, [(stage.replica, LAGGING, "replica_stands_still")]),
        judge.nothing_else(report, WHOLE, stage.replica, ()),
        judge.verdicts(report, WHOLE, _ALL, allowed),
        judge.verdict(report, LAGGING, UNSTABLE),
    ]


_OWN = 2_000_000
_ERRANT = Plant(
    "a transaction of its own",
    ACCOUNT.name,
    EXTRA,
    (f"INSERT INTO {ACCOUNT.full_name} VALUES ({_OWN}, 'errant', 1, NULL, NOW(6))",),
    (),
    {"id": str(_OWN)},
)


def _errant(stage: Stage, case: Case, _options: Options, round_: Round) -> None:
    """A GTID is not taken back: the server is cloned, as ``rejoin`` does."""
    with _under_load(stage, case, round_):
        stage.behind_its_back(_ERRANT.do, logged=True)
        report = _compared(stage, round_, case.modes)
    allowed = {**_restless(report), (ACCOUNT.name, stage.replica): (DIFFERENT,)}
    round_.checks += [
        judge.servers(report, [(stage.replica, DIFFERENT, "errant_transactions")]),
        judge.found(report, WHOLE, stage.replica, case.planted),
        judge.nothing_else(report, WHOLE, stage.replica, case.planted),
        judge.verdicts(report, WHOLE, _ALL, allowed),
        judge.verdict(report, DIFFERENT),
    ]
    stage.clone()


def _hot(stage: Stage, case: Case, _options: Options, round_: Round) -> None:
    """A row that is updated up to 100 times a second, and some as fast as a client can. Between two updates there is
    time enough for a comparison that has bad luck a few times only; with one round in which a row may come to rest,
    those that do not are soon looked at under a lock, which their clients wait for."""
    limits = Limits(lock=LOCK)
    with _under_load(stage, case, round_) as writers:
        writers.until(("hot", *HAMMERS), turns=_WITHOUT_LOCK)
        before = writers.mark()
        first = _compared(stage, round_, case.modes, limits=limits)
        while len(stage.locks) < _LOCKS and len(round_.reports) < _HOT_COMPARISONS:
            _compared(stage, round_, case.modes, limits=limits, include=(HOT.full_name,), rounds=1)
        seconds = time.monotonic() - writers.began
        during = {name: writers.told[name] for name in ("hot", *HAMMERS)}
    longest = max(told.longest for told in during.values())
    round_.checks += [judge.steady(round_.reports), judge.servers(first, ())]
    allowed = {key: said for key, said in _restless(first).items() if key[0] != HOT.name}
    round_.checks.append(judge.verdicts(first, WHOLE, _ALL, allowed))
    round_.checks += [judge.verdicts(report, WHOLE, (HOT.name,), {}) for report in round_.reports[1:]]
    round_.checks += [
        judge.locked(stage.locks),
        judge.waited(longest, LOCK, MARGIN, sum(told.turns for told in during.values()), during["hot"].turns / seconds),
    ]
    round_.facts["hot"] = {
        "updates_a_second": {name: round(told.turns / seconds, 1) for name, told in during.items()},
        "longest_ms": {name: round(told.longest * 1000) for name, told in during.items()},
        "longest_ms_before": {name: round(before[name].longest * 1000) for name in during if name in before},
        "locks": len(stage.locks),
        "longest_lock_ms": round(max(stage.locks, default=0.0) * 1000),
    }


def _paced(stage: Stage, case: Case, _options: Options, round_: Round) -> None:
    """With the whole application at work a commit takes longer than such a row has, so only these are written. Compared
    until they were in flight often enough to be taken for a difference."""
    again = 0
    with _under_load(stage, case, round_) as writers:
        while again < _IN_FLIGHT and len(round_.reports) < _PACED_COMPARISONS:
            report = _compared(stage, round_, case.modes, limits=Limits(lock=LOCK), include=(HOT.full_name,))
            again += report["counts"]["rechecked"]
        seconds = time.monotonic() - writers.began
        a_second = {name: round(told.turns / seconds, 1) for name, told in writers.told.items()}
    round_.checks += [
        judge.steady(round_.reports),
        judge.paced(min(a_second.values()), 1 / HOT_PAUSE),
        judge.in_flight(again, _IN_FLIGHT),
    ]
    for report in round_.reports:
        round_.checks += [judge.verdicts(report, WHOLE, (HOT.name,), {}), judge.servers(report, ())]
    round_.facts["hot"] = {"updates_a_second": a_second, "locks": len(stage.locks)}


def _schema(stage: Stage, case: Case, _options: Options, round_: Round) -> None:
    done = []
    with _under_load(stage, case, round_):
        try:
            for shape in plants.SHAPED:
                stage.behind_its_back(shape.do)
                done.append(shape)
            report = _compared(stage, round_, case.modes)
        finally:
            for shape in reversed(done):
                stage.behind_its_back(shape.undo)
    tables = {shape.table for shape in plants.SHAPED}
    allowed = {**_restless(report), **{(table, stage.replica): (SCHEMA_DIFFERS,) for table in tables}}
    seen = {each["table"] for each in report["tables"] if each["verdict"] == SCHEMA_DIFFERS}
    round_.facts |= {"planted": len(tables), "found": len(tables & seen)}
    round_.checks += [
        judge.schema(report, WHOLE, stage.replica, plants.SHAPED),
        judge.nothing_else(report, WHOLE, stage.replica, (), schemas=tables),
        judge.verdicts(report, WHOLE, _ALL, allowed),
        judge.servers(report, ()),
        judge.verdict(report, SCHEMA_DIFFERS),
    ]


def _clean(stage: Stage, case: Case, options: Options, round_: Round) -> None:
    with _under_load(stage, case, round_):
        for _number in range(options.rounds):
            _compared(stage, round_, case.modes)
    round_.checks.append(judge.steady(round_.reports))
    for report in round_.reports:
        round_.checks += [
            judge.verdicts(report, WHOLE, _ALL, _restless(report)),
            judge.nothing_else(report, WHOLE, stage.replica, ()),
            judge.servers(report, ()),
        ]


_RESTING = f"FROM {ACCOUNT.full_name} WHERE id % 10 = 0"
CASES: Mapping[str, Case] = {
    "planted": Case(
        "UPDATE, DELETE and INSERT on a replica: one key, a key of strings, partitions, every type, no key; and what"
        " business asserts",
        _differences,
        plants.PLANTED,
        modes=(WHOLE, BUSINESS),
        assertions=(
            {"name": "sums of accounts at rest", "sql": f"SELECT COUNT(*), SUM(balance) {_RESTING}", "expect": "equal"},
            {
                "name": "no negative balance",
                "sql": f"SELECT id FROM {ACCOUNT.full_name} WHERE balance < 0",
                "expect": "zero_rows",
            },
        ),
        asserted={"sums of accounts at rest": DIFFERENT, "no negative balance": PASS},
    ),
    "collisions": Case(
        "pairs of rows that a checksum with a separator, a text or a collation takes for the same, one by one",
        _differences,
        plants.COLLISIONS,
    ),
    "twins": Case(
        "rows that are there twice, without a key: in an exclusive or they cancel each other",
        _differences,
        plants.TWINS,
    ),
    "snapshot": Case(
        "the same at exactly one transaction, while the primary goes on: hot rows pass, too",
        _differences,
        plants.PLANTED,
        modes=(SNAPSHOT,),
    ),
    "recent": Case(
        "rows with a date of a minute ago: changed, lost, added on a replica; by the mode recent_time, too",
        _differences,
        plants.RECENT,
        modes=(RECENT_TIME, WHOLE),
    ),
    "long_transaction": Case(
        "a transaction was open during a run of recent_time, and its rows are lost afterwards: their date is of before",
        _long_transaction,
        plants.LOST_LATER,
        modes=(RECENT_TIME,),
    ),
    "touched": Case(
        "a DELETE, an UPDATE and an INSERT were lost on a replica; by the mode recent_binlog, too",
        _differences,
        plants.TOUCHED,
        modes=(RECENT_BINLOG, WHOLE),
    ),
    "delayed": Case("a replica applies late in a storm of writes: no false difference", _delayed, more=STORM),
    "applier_stopped": Case("a replica receives and does not apply: it lags, the other one passes", _applier_stopped),
    "errant": Case(
        "a replica has a transaction of its own: said of the server and of its row; cloned afterwards",
        _errant,
        (_ERRANT,),
    ),
    "hot": Case(
        "rows that are updated without a pause, beside all the others: they pass, under a short lock",
        _hot,
        more=HAMMERS,
    ),
    "paced": Case(
        "rows that are updated 100 times a second, and nothing else: they pass, also when they were in flight",
        _paced,
        usual=PACED,
        before=(HOT.grow(_LARGE),),
    ),
    "schema": Case(
        "a column, a type, a collation, a key, a table are not the same on a replica: told with a code, others go on",
        _schema,
    ),
    "clean": Case("nothing is planted, in a storm of writes: nothing is reported, many times", _clean, more=STORM),
}


# --- for the report --------------------------------------------------------------------------------------------------
def _facts(stage: Stage, round_: Round) -> dict[str, Any]:
    reports = round_.reports
    seen = {each for report in reports for mode in report["modes"] for _where, each in judge.found_in(report, mode)}
    counts: dict[str, int] = {}
    for report in reports:
        for verdict, number in report["counts"]["by_verdict"].items():
            counts[verdict] = counts.get(verdict, 0) + number
    return {
        "primary": stage.primary,
        "replica": stage.replica,
        "others": stage.others,
        "comparisons": len(reports),
        "compared_in": round(sum(report["seconds"] for report in reports), 1),
        "rows": sum(report["counts"]["rows"] for report in reports),
        "rechecked": sum(report["counts"]["rechecked"] for report in reports),
        "verdicts": counts,
        "writes": sum(round_.turns.values()),
        "planted": len(round_.planted),
        "found": sum(plant.identity in seen for plant in round_.planted),
        "plants": [
            {"name": plant.name, "identity": judge.text(plant.identity), "found": plant.identity in seen}
            for plant in round_.planted
        ],
        "notable": [
            {key: each[key] for key in ("table", "replica", "mode", "verdict", "code", "why")}
            for each in (reports[-1]["tables"] if reports else ())
            if each["verdict"] != PASS
        ],
        **round_.facts,
    }
