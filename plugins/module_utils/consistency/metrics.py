# SPDX-License-Identifier: BSD-2-Clause
"""Prometheus metrics of one run's report, for the textfile collector of node_exporter. Pure.

Each run (``run`` in the labels) has a file of its own, and a file holds what its last run found and nothing else. What
is not known gives no sample: an absent sample can be alerted on, a zero that is none can not.

The number of series is bounded: up to ``EVERY`` tables each result has a line; beyond that only those that are no pass,
the gravest first and ``MOST`` at most. How many results have none is a sample of its own.
"""

from __future__ import annotations

from typing import Iterable, Iterator, Optional, Sequence

from ..plain_words import mapping, real
from .findings import GRAVITY, PASS
from .report_words import Fields, entries, gravity, passed, table_name

EVERY = 1000
"""Up to so many tables, each of them is listed."""
MOST = 5000
"""Results, and assertions, that are listed at most."""

Labels = tuple[tuple[str, str], ...]
Sample = tuple[Labels, Optional[float]]
Family = tuple[str, str, Iterable[Sample]]
"""Name, help, samples. All are gauges: a file that is written anew has no counters."""

_PREFIX = "mysql_ha_consistency_"


def render(report: Fields, run: str, last_passed: Optional[float]) -> str:
    """What a run found.

    :param last_passed: when a run of that name last ended with a pass, this one included, since the epoch; None: never.
    """
    base = _base(str(report.get("cluster")), run)
    return "".join(_family(*family) for family in _families(report, base, last_passed))


def render_failure(cluster: str, run: str, code: str, now: float, last_passed: Optional[float]) -> str:
    """A run that could not compare anything. No verdict of an earlier run is left standing.

    :param code: of the ``HaError`` that ended it.
    """
    base = _base(cluster, run)
    families: tuple[Family, ...] = (
        ("could_not_run", "Why the last run could not compare anything.", [((*base, ("code", code)), 1.0)]),
        ("passed", _PASSED, [(base, 0.0)]),
        ("last_run_timestamp_seconds", _LAST_RUN, [(base, now)]),
        ("last_passed_run_timestamp_seconds", _LAST_PASSED, [(base, last_passed)]),
    )
    return "".join(_family(*family) for family in families)


_PASSED = "1 when all that was to be compared was compared in the last run, and is the same."
_LAST_RUN = "When the last run began, since the epoch."
_LAST_PASSED = "When the last run that passed began, since the epoch."


def _families(report: Fields, base: Labels, last_passed: Optional[float]) -> Iterator[Family]:
    verdict = report.get("verdict")
    yield "passed", _PASSED, [(base, float(passed(report)))]
    yield (
        "verdict",
        "The verdict of the last run: 1 for the one that holds.",
        [((*base, ("verdict", each)), float(each == verdict)) for each in GRAVITY],
    )
    yield "finished", "1 when the last run came to its end.", [(base, float(report.get("finished") is True))]
    yield "last_run_timestamp_seconds", _LAST_RUN, [(base, real(report.get("started_at")))]
    yield "last_passed_run_timestamp_seconds", _LAST_PASSED, [(base, last_passed)]
    yield "duration_seconds", "How long the last run took.", [(base, real(report.get("seconds")))]
    yield from _counts(report, base)
    yield from _tables(report, base)
    yield from _assertions(report, base)
    yield (
        "replica_verdict",
        "A finding about a whole replica: the verdict that holds.",
        [
            ((*base, ("replica", str(entry.get("replica"))), *_said(entry)), 1.0)
            for entry in _listed(_grave_first(entries(report, "servers")))
        ],
    )


def _counts(report: Fields, base: Labels) -> Iterator[Family]:
    counts = mapping(report.get("counts"))
    for key, about in (
        ("tables", "Tables that were compared in the last run."),
        ("rows", "Rows that were compared in the last run."),
        ("rechecked", "Rows that were looked at again one by one."),
        ("differences", "Differences that were confirmed."),
    ):
        yield key, about, [(base, real(counts.get(key)))]
    by_verdict = mapping(counts.get("by_verdict"))
    yield (
        "results",
        "Results of the last run by verdict.",
        [((*base, ("verdict", each)), real(by_verdict.get(each, 0))) for each in GRAVITY] if by_verdict else [],
    )
    covered = [real(entry.get("covered")) for entry in entries(report, "tables")]
    known = [value for value in covered if value is not None]
    yield (
        "covered_ratio",
        "How much of the tables was compared, 0 to 1: the mean of all results.",
        [(base, sum(known) / len(known) if known else None)],
    )


def _tables(report: Fields, base: Labels) -> Iterator[Family]:
    every = entries(report, "tables")
    many = len({table_name(entry) for entry in every}) > EVERY
    wanted = [entry for entry in every if entry.get("verdict") != PASS] if many else list(every)
    listed = [(_table_labels(entry, base), entry) for entry in _listed(_grave_first(wanted))]
    yield (
        "table_passed",
        "1 when the table is the same on the replica, as far as the mode sees.",
        [(labels, float(entry.get("verdict") == PASS)) for labels, entry in listed],
    )
    yield (
        "table_verdict",
        "A table that is no pass: the verdict that holds, and its code.",
        [((*labels, *_said(entry)), 1.0) for labels, entry in listed if entry.get("verdict") != PASS],
    )
    for name, key, about in (
        ("table_differences", "difference_count", "Differences that were confirmed in the table."),
        ("table_rows", "rows", "Rows of the table that were compared."),
        ("table_rechecked", "rechecked", "Rows of the table that were looked at again one by one."),
        ("table_covered_ratio", "covered", "How much of the table was compared, 0 to 1."),
        ("table_duration_seconds", "seconds", "How long the table took."),
    ):
        yield name, about, [(labels, real(entry.get(key))) for labels, entry in listed]
    yield (
        "tables_not_listed",
        "Results of tables that have no line here, for there are too many.",
        [(base, float(len(every) - len(listed)))],
    )


def _assertions(report: Fields, base: Labels) -> Iterator[Family]:
    yield (
        "assertion_passed",
        "1 when the assertion holds on the server.",
        [
            (
                (
                    *base,
                    ("assertion", str(entry.get("name"))),
                    ("replica", str(entry.get("replica"))),
                    ("severity", str(entry.get("severity"))),
                ),
                float(entry.get("verdict") == PASS),
            )
            for entry in _listed(_grave_first(entries(report, "assertions")))
        ],
    )


def _grave_first(every: Iterable[Fields]) -> list[Fields]:
    return sorted(every, key=lambda entry: -gravity(entry.get("verdict")))


def _listed(every: Sequence[Fields]) -> Sequence[Fields]:
    return every[:MOST]


def _base(cluster: str, run: str) -> Labels:
    return (("cluster", cluster), ("run", run))


def _table_labels(entry: Fields, base: Labels) -> Labels:
    return (*base, *((key, str(entry.get(key))) for key in ("schema", "table", "replica", "mode")))


def _said(entry: Fields) -> Labels:
    return (("verdict", str(entry.get("verdict"))), ("code", str(entry.get("code") or "")))


# --- the format ------------------------------------------------------------------------------------------------------
def _family(name: str, about: str, samples: Iterable[Sample]) -> str:
    """A family with its head, or nothing when it has no sample. Of two samples with the same labels the first counts:
    one that is there twice makes the collector refuse the whole file."""
    lines: dict[str, str] = {}
    for labels, value in samples:
        if value is not None:
            lines.setdefault(_labels(labels), _value(value))
    if not lines:
        return ""
    full = f"{_PREFIX}{name}"
    body = "".join(f"{full}{labels} {value}\n" for labels, value in lines.items())
    return f"# HELP {full} {about}\n# TYPE {full} gauge\n{body}"


def _labels(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    """As the format wants it; what is no text in UTF-8 as escapes, for the collector refuses a file with such bytes."""
    sound = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return sound.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _value(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
