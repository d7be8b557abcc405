# SPDX-License-Identifier: BSD-2-Clause
"""Business assertions as people write them: their shape, and every mistake in them at once. Pure.

An assertion is a statement that only reads, and what is expected of its rows: the same on both sides, none at all, or
numbers that differ by a tolerance at most. Whoever reads the YAML or JSON hands in the list of mappings.
"""

from __future__ import annotations

import dataclasses
import decimal
import math
import re
from typing import Any, Iterator, Mapping, Optional

from ..refusal import Reason, Refusal
from . import read_only_sql

EQUAL, ZERO_ROWS, TOLERANCE = "equal", "zero_rows", "tolerance"
EXPECTATIONS = (EQUAL, ZERO_ROWS, TOLERANCE)

CRITICAL, WARNING, INFO = "critical", "warning", "info"
SEVERITIES = (CRITICAL, WARNING, INFO)

KEYS = ("name", "sql", "sql_primary", "sql_replica", "expect", "tolerance", "severity", "timeout", "max_rows")

LONGEST_NAME = 100
LONGEST_TIMEOUT = 3600
MOST_ROWS = 100_000
MOST_ASSERTIONS = 1000

_AMOUNT = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<percent>%?)")


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """By how much two numbers may differ; one of the two is set, and above zero.

    :param percent: of the primary's number.
    """

    absolute: Optional[decimal.Decimal] = None
    percent: Optional[decimal.Decimal] = None


@dataclasses.dataclass(frozen=True)
class Assertion:
    """One assertion, known to be sound.

    :param sql_primary: what runs on the primary; ``sql_replica``: on the replicas. Mostly the same.
    :param expect: one of ``EXPECTATIONS``; with ``TOLERANCE`` there is a ``tolerance``.
    :param timeout: seconds for the statement, each time it runs.
    :param max_rows: rows that are compared; an answer that has more is not.
    """

    name: str
    sql_primary: str
    sql_replica: str
    expect: str
    severity: str = CRITICAL
    timeout: float = 30.0
    max_rows: int = 1000
    tolerance: Optional[Tolerance] = None


def parse(listed: Any) -> tuple[Assertion, ...]:
    """The assertions of a list of mappings, in its order.

    :raises HaError: ``assertions_empty``, ``assertion_invalid``, ``assertion_not_a_read``; every problem is in the
        message, and as a reason in the evidence.
    """
    if not isinstance(listed, (list, tuple)) or not listed:
        raise Refusal.of((_empty(listed),)).as_error()
    reasons: list[Reason] = []
    found: list[Assertion] = []
    if len(listed) > MOST_ASSERTIONS:
        reasons.append(_reason("the list", "", f"more than {MOST_ASSERTIONS} assertions"))
    names: dict[str, int] = {}
    for number, entry in enumerate(listed[:MOST_ASSERTIONS], 1):
        label = _label(entry, number)
        if not isinstance(entry, Mapping):
            reasons.append(_reason(label, "", "it must be a mapping"))
            continue
        wrong = [*_problems(entry, label)]
        name = entry.get("name")
        if isinstance(name, str):
            first = names.setdefault(name.strip(), number)
            if first != number:
                wrong.append(_reason(label, "name", f"assertion number {first} has the same name"))
        reasons += wrong
        if not wrong:
            found.append(_assertion(entry))
    if reasons:
        raise Refusal.of(reasons).as_error()
    return tuple(found)


def _empty(listed: Any) -> Reason:
    what = "is empty" if isinstance(listed, (list, tuple)) else f"is not a list but {type(listed).__name__}"
    return Reason(
        "assertions_empty",
        f"the list of assertions {what}: nothing would be asserted, and that must not look like a pass",
        next_step="Give at least one assertion, or leave the mode business out.",
    )


def _label(entry: Any, number: int) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    if isinstance(name, str) and name.strip():
        return f"assertion {name.strip()[:LONGEST_NAME]!r}"
    return f"assertion number {number}"


def _reason(label: str, key: str, why: str) -> Reason:
    return Reason(
        "assertion_invalid",
        f"{label}: {f'{key}: ' if key else ''}{why}",
        {"assertion": label, "key": key},
        "Mend the assertions that are named; docs/consistency-assertions.md has each key.",
    )


def _not_a_read(label: str, key: str, why: str) -> Reason:
    return Reason(
        "assertion_not_a_read",
        f"{label}: {key}: {why}",
        {"assertion": label, "key": key},
        "Write one statement that only reads; docs/consistency-assertions.md says what it may hold.",
    )


def _problems(entry: Mapping[Any, Any], label: str) -> Iterator[Reason]:
    unknown = sorted(str(key) for key in entry if key not in KEYS)
    for key in unknown:
        yield _reason(label, key, f"unknown key; known are {', '.join(KEYS)}")
    for key, why in (
        ("name", _wrong_name(entry.get("name"))),
        ("expect", _wrong_choice(entry.get("expect"), EXPECTATIONS)),
        ("severity", _wrong_choice(entry.get("severity", CRITICAL), SEVERITIES)),
        ("timeout", _wrong_timeout(entry.get("timeout", 30))),
        ("max_rows", _wrong_max_rows(entry.get("max_rows", 1))),
        ("tolerance", _wrong_tolerance(entry)),
    ):
        if why:
            yield _reason(label, key, why)
    yield from _statements(entry, label)


def _statements(entry: Mapping[Any, Any], label: str) -> Iterator[Reason]:
    given = [key for key in ("sql", "sql_primary", "sql_replica") if key in entry]
    if given not in (["sql"], ["sql_primary", "sql_replica"]):
        yield _reason(label, "sql", "give either sql, or both sql_primary and sql_replica")
    for key in given:
        sql = entry[key]
        if not isinstance(sql, str):
            yield _reason(label, key, f"it must be a text, not {type(sql).__name__}")
        elif not sql.strip():
            yield _reason(label, key, "it is empty")
        else:
            for why in read_only_sql.problems(sql, comparable=entry.get("expect") != ZERO_ROWS):
                yield _not_a_read(label, key, why)


def _wrong_name(value: Any) -> str:
    if value is None:
        return "it is missing"
    if not isinstance(value, str):
        return f"it must be a text, not {type(value).__name__} (put it in quotes)"
    if not value.strip():
        return "it is empty"
    if len(value.strip()) > LONGEST_NAME:
        return f"it is longer than {LONGEST_NAME} characters"
    return "" if value.strip().isprintable() else "it has characters that can not be printed"


def _wrong_choice(value: Any, choices: tuple[str, ...]) -> str:
    if value is None:
        return f"it is missing; one of {', '.join(choices)}"
    if not isinstance(value, str) or value not in choices:
        return f"it must be one of {', '.join(choices)}"
    return ""


def _is_number(value: Any) -> bool:
    """YAML's yes is no number here."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _wrong_timeout(value: Any) -> str:
    if not _is_number(value) or not 0 < value <= LONGEST_TIMEOUT:
        return f"it must be a number of seconds above 0 and up to {LONGEST_TIMEOUT}"
    return ""


def _wrong_max_rows(value: Any) -> str:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_ROWS:
        return f"it must be a whole number from 1 to {MOST_ROWS}"
    return ""


def _wrong_tolerance(entry: Mapping[Any, Any]) -> str:
    if entry.get("expect") != TOLERANCE:
        return "it belongs to expect: tolerance" if "tolerance" in entry else ""
    if "tolerance" not in entry:
        return "it is missing: expect: tolerance needs one"
    return "" if _tolerance(entry["tolerance"]) else 'it must be a number above 0, or a percentage such as "0.5%"'


def _tolerance(value: Any) -> Optional[Tolerance]:
    """``5``, ``0.01``, ``"0.01"`` or ``"0.5%"``; ``None`` when it is none of these."""
    if _is_number(value):
        # What YAML read as 0.01 is meant to be 0.01, not the binary fraction next to it.
        amount = decimal.Decimal(repr(value)) if isinstance(value, int) or math.isfinite(value) else decimal.Decimal(0)
        return Tolerance(absolute=amount) if amount > 0 else None
    found = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or not decimal.Decimal(found["number"]):
        return None
    amount = decimal.Decimal(found["number"])
    return Tolerance(percent=amount) if found["percent"] else Tolerance(absolute=amount)


def _assertion(entry: Mapping[Any, Any]) -> Assertion:
    defaults = {field.name: field.default for field in dataclasses.fields(Assertion)}
    return Assertion(
        name=entry["name"].strip(),
        sql_primary=entry.get("sql", entry.get("sql_primary")).strip(),
        sql_replica=entry.get("sql", entry.get("sql_replica")).strip(),
        expect=entry["expect"],
        severity=entry.get("severity", CRITICAL),
        timeout=float(entry.get("timeout", defaults["timeout"])),
        max_rows=entry.get("max_rows", defaults["max_rows"]),
        tolerance=_tolerance(entry.get("tolerance")) if entry["expect"] == TOLERANCE else None,
    )
