# SPDX-License-Identifier: BSD-2-Clause
"""What an error says of the table over which it came."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import HaError
from ..server.session import StatementFailed
from . import findings


class Said(NamedTuple):
    """As ``findings.TableResult`` has them."""

    verdict: str
    code: str
    why: str
    next_step: str


CHANGED = Said(findings.UNSTABLE, "definition_changed", "its definition was changed while it was read", "Run again.")
_CHANGED_SINCE = frozenset({1049, 1054, 1146, 1412})
"""No such database, column, table; its definition has changed: inside of a snapshot, that it was changed since."""


def said_of(error: Exception, *, exact: bool) -> Said:
    """:param error: ``HaError``; or that rows cannot be read (``lookup.Unfit``). ``exact``: inside of a snapshot."""
    if exact and isinstance(error, StatementFailed) and error.errno in _CHANGED_SINCE:
        return CHANGED
    if isinstance(error, HaError):
        return Said(findings.ERROR, error.code, error.message, error.next_step)
    return Said(findings.ERROR, "rows_unreadable", str(error), "Check the table (CHECK TABLE).")
