# SPDX-License-Identifier: BSD-2-Clause
"""What a server has executed, and waiting until it has."""

from __future__ import annotations

from .session import Session

_LONGEST = 4_294_967_295
"""Milliseconds that a statement may be limited to."""


def executed(session: Session, *, within: float) -> str:
    """What a server has executed by now, as it writes it."""
    return str(session.one("SELECT @@GLOBAL.gtid_executed AS gtids", within=within)["gtids"])


def wait_executed(session: Session, gtids: str, *, patience: float, statement: float) -> bool:
    """Whether the server has executed all of these within ``patience`` seconds.

    ``statement``: seconds that an answer may take beyond that.
    """
    within = patience + statement
    # A session's limit, or a server's (max_execution_time), is for statements that read, and may be shorter than the
    # patience. 0 would not lift it: it stands for the session's (seen on 9.7).
    limit = min(max(int(within * 1000), 1), _LONGEST)
    late = session.one(
        f"SELECT /*+ MAX_EXECUTION_TIME({limit}) */ WAIT_FOR_EXECUTED_GTID_SET(%s, %s) AS late",
        (gtids, round(max(patience, 0.001), 3)),
        within=within,
    )["late"]
    return late is not None and not int(late)
