# SPDX-License-Identifier: BSD-2-Clause
"""A report as the failure of a play. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ..errors import HaError
from .findings import DIFFERENT
from .report_words import advice, lines, passed

_SHOWN = 6


def failure(report: Mapping[str, Any]) -> Optional[HaError]:
    """None for a pass. Otherwise ``not_the_same``, or ``not_compared`` where no difference was found; the report is its
    evidence."""
    if passed(report):
        return None
    told = lines(report)
    more = (f"and {len(told) - _SHOWN} more lines, in the report",) if len(told) > _SHOWN else ()
    return HaError(
        "not_the_same" if report["verdict"] == DIFFERENT else "not_compared",
        " ".join((*told[:_SHOWN], *more)),
        evidence={"report": dict(report)},
        next_step=advice(report) or "Run again; it has not come to its end.",
    )
