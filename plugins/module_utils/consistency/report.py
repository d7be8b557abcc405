# SPDX-License-Identifier: BSD-2-Clause
"""What a report says in a sentence, and as the failure of a play. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ..errors import HaError
from .assertions import CRITICAL
from .findings import DIFFERENT, PASS

_SHOWN = 5
_LONGEST = 200


def sentence(report: Mapping[str, Any]) -> str:
    """The whole report in a sentence."""
    counts = report["counts"]
    read = f"{counts['rows']} rows of {counts['tables']} tables"
    if report["assertions"]:
        read += f" and {len({each['name'] for each in report['assertions']})} assertions"
    read += f" on {', '.join(report['replicas'])}"
    if report["verdict"] == PASS:
        return f"{read}: the same as on {report['primary']}"
    # What is said of a whole server is not said again of each of its tables.
    said = {(each["replica"], each["code"]) for each in report["servers"]}
    tables = [each for each in report["tables"] if (each["replica"], each["code"]) not in said]
    asserted = [each for each in report["assertions"] if each["severity"] == CRITICAL]
    wrong = [_said(each) for each in (*report["servers"], *tables, *asserted) if each["verdict"] != PASS]
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    what = "NOT the same as" if report["verdict"] == DIFFERENT else "not known to be the same as"
    return f"{read}: {what} on {report['primary']}: {'; '.join(wrong[:_SHOWN])}{more}"


def _said(entry: Mapping[str, Any]) -> str:
    where = str(entry["replica"])
    if "table" in entry:
        where = f"{entry['schema']}.{entry['table']} on {where}"
    elif "expect" in entry:
        where = f"assertion {entry['name']!r} on {where}"
    why = entry["why"] if len(entry["why"]) <= _LONGEST else entry["why"][:_LONGEST] + "..."
    return f"{where}: {entry['verdict']} ({why})"


def failure(report: Mapping[str, Any]) -> Optional[HaError]:
    """None for a pass. Otherwise ``not_the_same``, or ``not_compared`` where no difference was found; the report is its
    evidence."""
    if report["verdict"] == PASS:
        return None
    wrong = [each for each in (*report["servers"], *report["tables"]) if each["verdict"] == report["verdict"]]
    return HaError(
        "not_the_same" if report["verdict"] == DIFFERENT else "not_compared",
        sentence(report),
        evidence={"report": dict(report)},
        next_step=next((each["next_step"] for each in wrong if each.get("next_step")), "See the report."),
    )
