# SPDX-License-Identifier: BSD-2-Clause
"""A comparison's report in words, for its page, the journal and a playbook's output. Pure.

A report is the dict that ``run.run`` gives. What is missing in it or is not of its type is told as not known; what is
not known is never told as a pass.
"""

from __future__ import annotations

import dataclasses
import math
import unicodedata
from typing import Any, Iterable, Mapping, Sequence

from ..plain_words import mapping, real, sequence
from . import findings
from .assertions import CRITICAL
from .findings import DIFFERENT, ERROR, GRAVITY, LAGGING, PASS, SCHEMA_DIFFERS, SKIPPED, UNSTABLE

Fields = Mapping[str, Any]

LABELS: Mapping[str, str] = {
    PASS: "the same",
    SKIPPED: "not compared",
    LAGGING: "replica too late",
    UNSTABLE: "would not rest",
    ERROR: "could not be read",
    SCHEMA_DIFFERS: "another definition",
    DIFFERENT: "different",
}

SERVER, TABLE, ASSERTION = "server", "table", "assertion"
"""What a finding is about."""


@dataclasses.dataclass(frozen=True)
class Mode:
    """A mode for people: what it is called, what it finds, what it does not see."""

    title: str
    finds: str
    blind: str


MODES: Mapping[str, Mode] = {
    findings.RECENT_TIME: Mode(
        "recent by time",
        "Rows whose time column lies in the window since the last run, both ways.",
        "Rows whose time column was not set by the change; rows that were deleted long after they were last changed; "
        "tables without such a column, or without an index on it.",
    ),
    findings.RECENT_BINLOG: Mode(
        "recent by binary log",
        "Rows that the binary logs say were touched, whatever their columns hold.",
        "What was changed behind the binary log: with sql_log_bin=0, in files, by a faulty disk.",
    ),
    findings.WHOLE: Mode(
        "whole tables",
        "Every row and every column, by a digest of each range of the key.",
        "What is wrong on both sides alike. A change that comes after its range was read.",
    ),
    findings.SNAPSHOT: Mode(
        "snapshot",
        "Every row, both sides at exactly the same transaction.",
        "What is wrong on both sides alike. What happens after the snapshot. Tables that are changed (DDL) meanwhile.",
    ),
    findings.BUSINESS: Mode(
        "business assertions",
        "What the application's people say must hold, on both sides.",
        "Whatever no assertion says.",
    ),
}

MOST_LINES = 200
"""Findings that are told one a line; a report has all of them."""


# --- reading a report ------------------------------------------------------------------------------------------------
def whole(value: Any) -> int:
    """A count; 0 when it is not known."""
    number = real(value)
    return 0 if number is None else int(number)


def gravity(verdict: Any) -> int:
    """The greater, the worse. A verdict that is not known here is the worst."""
    return GRAVITY.index(verdict) if verdict in GRAVITY else len(GRAVITY)


def passed(report: Fields) -> bool:
    """Whether everything that was to be compared was compared, and is the same."""
    return report.get("verdict") == PASS and report.get("finished") is True


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is no pass.

    :param about: ``server``, ``table`` or ``assertion``; ``name``: of that; ``on``: the server.
    :param counts: whether it keeps the report from being a pass; an assertion that is not critical does not.
    :param likewise: of a server: results of its tables and assertions that are the same finding.
    :param entry: what the report holds of it.
    """

    about: str
    name: str
    on: str
    mode: str
    verdict: str
    code: str
    why: str
    next_step: str
    differences: int
    counts: bool
    entry: Fields = dataclasses.field(repr=False, compare=False)
    likewise: int = 0


def table_name(entry: Fields) -> str:
    return f"{entry.get('schema')}.{entry.get('table')}"


def entries(report: Fields, key: str) -> tuple[Fields, ...]:
    return tuple(mapping(entry) for entry in sequence(report.get(key)))


def found(report: Fields) -> tuple[Finding, ...]:
    """Everything that is no pass, the gravest first; servers before tables before assertions, then by name.

    What is said of a whole server is not said again of each of its tables and assertions.
    """
    servers = [_finding(SERVER, entry, str(entry.get("replica")), "") for entry in entries(report, "servers")]
    every = [
        _finding(TABLE, entry, table_name(entry), str(entry.get("mode") or "")) for entry in entries(report, "tables")
    ]
    every += [
        _finding(ASSERTION, entry, str(entry.get("name")), findings.BUSINESS) for entry in entries(report, "assertions")
    ]
    said = {(each.on, each.verdict, each.code): 0 for each in servers if each.code}
    left = []
    for each in every:
        if (each.on, each.verdict, each.code) in said:
            said[each.on, each.verdict, each.code] += 1
        else:
            left.append(each)
    servers = [dataclasses.replace(each, likewise=said.get((each.on, each.verdict, each.code), 0)) for each in servers]
    every = [*servers, *left]
    order = (SERVER, TABLE, ASSERTION)
    return tuple(
        sorted(
            (finding for finding in every if finding.verdict != PASS),
            key=lambda each: (
                not each.counts,
                -gravity(each.verdict),
                order.index(each.about),
                each.name,
                each.on,
                each.mode,
            ),
        )
    )


def _finding(about: str, entry: Fields, name: str, mode: str) -> Finding:
    count = whole(entry.get("difference_count")) or len(sequence(entry.get("differences")))
    code, why, step = (str(entry.get(key) or "") for key in ("code", "why", "next_step"))
    return Finding(
        about,
        name,
        str(entry.get("replica")),
        mode,
        str(entry.get("verdict")),
        code,
        why,
        step,
        count,
        about != ASSERTION or entry.get("severity", CRITICAL) == CRITICAL,
        entry,
    )


# --- sentences -------------------------------------------------------------------------------------------------------
def headline(report: Fields) -> str:
    """The whole report in one sentence."""
    every = [each for each in found(report) if each.counts]
    differing = [each for each in every if gravity(each.verdict) >= gravity(SCHEMA_DIFFERS)]
    if differing:
        return _differing(differing, report)
    if every:
        what = counted(len(every), "thing")
        return f"No difference was found, but {what} could not be compared. This is no pass."
    if passed(report):
        replicas = [str(name) for name in sequence(report.get("replicas"))]
        return (
            f"Everything compared is the same on {joined([str(report.get('primary')), *replicas])}.{_besides(report)}"
        )
    if report.get("verdict") == PASS:
        return "The same so far, but not everything was compared. This is no pass."
    return "Nothing was compared. This is no pass."


def _besides(report: Fields) -> str:
    """Assertions that do not count."""
    names = {each.name for each in found(report)}
    return f" {counted(len(names), 'assertion')} that is not critical does not hold or is not known." if names else ""


def _differing(differing: Sequence[Finding], report: Fields) -> str:
    copies = [each for each in differing if each.about != ASSERTION]
    said = []
    if copies:
        who = joined(sorted({each.on for each in copies}))
        verb = "is" if len({each.on for each in copies}) == 1 else "are"
        said.append(f"{who} {verb} not the same as the primary {report.get('primary')}: {_what(copies)}")
    broken = [each for each in differing if each.about == ASSERTION]
    if broken:
        names = len({each.name for each in broken})
        where = joined(sorted({each.on for each in broken}))
        said.append(f"{counted(names, 'assertion')} {'does' if names == 1 else 'do'} not hold on {where}")
    return "; ".join(said) + "."


def _what(copies: Sequence[Finding]) -> str:
    parts = []
    rows = [each for each in copies if each.about == TABLE and each.verdict != SCHEMA_DIFFERS]
    if rows:
        tables = counted(len({each.name for each in rows}), "table")
        # Two modes may have found the same row: the greater number is the one that is certain.
        most: dict[tuple[str, str], int] = {}
        for each in rows:
            most[each.name, each.on] = max(each.differences, most.get((each.name, each.on), 0))
        number = sum(most.values())
        parts.append(f"{counted(number, 'row')} in {tables}" if number else tables)
    shapes = {each.name for each in copies if each.about == TABLE and each.verdict == SCHEMA_DIFFERS}
    if shapes:
        parts.append(f"{counted(len(shapes), 'table')} with another definition")
    parts += sorted({each.code.replace("_", " ") or each.verdict for each in copies if each.about == SERVER})
    return ", ".join(parts)


def advice(report: Fields) -> str:
    """What a person does now; empty for a pass."""
    every = [each for each in found(report) if each.counts]
    differing = [each for each in every if gravity(each.verdict) >= gravity(SCHEMA_DIFFERS)]
    copies = sorted({each.on for each in differing if each.about != ASSERTION})
    if copies:
        return (
            f"Until this is explained, let nobody promote {joined(copies, 'or')}, nor restore from its backups. Find "
            "out who wrote there; then rebuild it from the primary (clone). Nothing was changed by this comparison."
        )
    if differing:
        return "Show the rows to those who own the assertion: the data are wrong, or the assertion is."
    if every:
        return every[0].next_step or "Mend what is named below, then compare again."
    return "" if passed(report) else "Compare again: it goes on where it ended."


def lines(report: Fields) -> tuple[str, ...]:
    """The headline, then one line for each finding, none of them with a value of a row."""
    every = found(report)
    told = [headline(report), *(line(each) for each in every[:MOST_LINES])]
    if len(every) > MOST_LINES:
        told.append(f"and {counted(len(every) - MOST_LINES, 'finding')} more, in the report")
    return tuple(one_line(each) for each in told)


def line(finding: Finding) -> str:
    """One finding: what, where, why, what to do."""
    if finding.about == SERVER:
        what = f"server {finding.on}"
    elif finding.about == ASSERTION:
        what = f"assertion {finding.name} on {finding.on}{'' if finding.counts else ' (does not count)'}"
    else:
        what = f"{finding.name} on {finding.on}{f' ({finding.mode})' if finding.mode else ''}"
    why = f": {reason(finding)}" if reason(finding) else ""
    code = f" [{finding.code}]" if finding.code else ""
    step = f" Next: {finding.next_step}" if finding.next_step else ""
    return f"{finding.verdict}: {what}{why}{code}{step}"


def reason(finding: Finding) -> str:
    """Why; of a server with how much it keeps from being compared."""
    if not finding.likewise:
        return finding.why
    return f"{finding.why} (so none of its {counted(finding.likewise, 'result')} could be had)"


def one_line(said: str) -> str:
    """Whatever it holds as one line that a terminal and a log only show: names of tables may hold anything."""
    return "".join(escape(each) if hidden(each) else each for each in said)


def hidden(character: str) -> bool:
    """Whether a reader would not see it, or see something else: control and format characters, spaces but the usual."""
    return character != " " and (
        unicodedata.category(character)[0] in "CZ" or character in "\u115f\u1160\u3164\uffa0\u2800"
    )


def escape(character: str) -> str:
    """As Python and JSON write it."""
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    number = ord(character)
    return short or (
        f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"
    )


# --- words and numbers -----------------------------------------------------------------------------------------------
def joined(names: Iterable[str], word: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    every = list(names)
    if len(every) < 2:
        return every[0] if every else "no server"
    return f"{', '.join(every[:-1])} {word} {every[-1]}"


def counted(number: Any, noun: str) -> str:
    """``1 row``, ``1,300 rows``."""
    value = whole(number)
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def duration(seconds: Any) -> str:
    """``0.4 s``, ``3 min 12 s``, ``5 h 3 min``; ``-`` when it is not known."""
    value = real(seconds)
    if value is None or value < 0:
        return "-"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def percent(part: Any) -> str:
    """0.9999 is no 100 %."""
    value = real(part)
    if value is None:
        return "-"
    if value >= 1:
        return "100 %"
    return f"{math.floor(max(value, 0) * 1000) / 10:.1f} %"
