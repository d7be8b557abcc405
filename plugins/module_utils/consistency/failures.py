# SPDX-License-Identifier: BSD-2-Clause
"""What an error says of the table over which it came."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import HaError
from ..server.session import StatementFailed
from . import findings
from .masked import masked


class Said(NamedTuple):
    """As ``findings.TableResult`` has them."""

    verdict: str
    code: str
    why: str
    next_step: str


CHANGED = Said(findings.UNSTABLE, "definition_changed", "its definition was changed while it was read", "Run again.")
DROPPED = Said(findings.PASS, "dropped_meanwhile", "it was dropped meanwhile on both", "")
AHEAD = Said(
    findings.UNSTABLE,
    "replica_ahead",
    "rows differ, but it has executed transactions that the primary has not, so it is not known which is right",
    "See whether the primary's commits wait for acknowledgements, or whether another server is the primary now; repair"
    " nothing; then run again.",
)
_CHANGED_SINCE = frozenset({1049, 1054, 1146, 1412})
"""No such database, column, table; its definition has changed: inside of a snapshot, that it was changed since."""
_WRONG_VALUE, _TOO_LARGE = 1411, "'larger than max_allowed_packet'"
"""The error that ``canonical`` provokes, and what it has a server quote in it."""


def said_of(error: Exception, *, exact: bool) -> Said:
    """:param error: ``HaError``; or that rows cannot be read (``lookup.Unfit``). ``exact``: inside of a snapshot."""
    if exact and isinstance(error, StatementFailed) and error.errno in _CHANGED_SINCE:
        return CHANGED
    if isinstance(error, StatementFailed):
        ours = error.errno == _WRONG_VALUE and _TOO_LARGE in error.message
        # A table's rows and keys are read: whatever else the server quotes may be of them.
        why = error.message if ours else masked(error.message, error.errno)
        return Said(findings.ERROR, error.code, why, error.next_step)
    if isinstance(error, HaError):
        return Said(findings.ERROR, error.code, error.message, error.next_step)
    return Said(findings.ERROR, "rows_unreadable", str(error), "Check the table (CHECK TABLE).")
