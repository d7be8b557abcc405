# SPDX-License-Identifier: BSD-2-Clause
"""Asking the other members on behalf of a server that returns."""

from __future__ import annotations

import time
from typing import Callable, Optional

from ..server import schema
from ..server.session import Session
from ..server.state import TermRow
from ..topology.observe import Members
from . import verdict
from .plan import Successor
from .verdict import Again, Patience, Replica, Verdict

LOOK_WITHIN = 2.0
LOOK_EVERY = 0.3


def ask(
    peers: Members,
    own_uuid: str,
    patience: Patience,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Verdict:
    """Look at the peers until they say enough, or until patience ends. ``say``: why it waits, each reason once."""
    started = clock()
    said = ""
    while True:
        heard = peers.observe(within=LOOK_WITHIN)
        found = verdict.judge(own_uuid, heard, waited=clock() - started, patience=patience)
        if not isinstance(found, Again):
            return found
        if found.why != said:
            said = found.why
            say(f"waiting: {said}")
        sleep(LOOK_EVERY)


_OWN_TERM = schema.SELECT_TERM.replace("ORDER BY", "WHERE primary_uuid = %s ORDER BY")


def successor(peers: Members, found: Replica, own_uuid: str, *, within: float) -> Successor:
    """What the primary has, and knows of the server that returns.

    :raises HaError: it could not be asked.
    """
    primary = found.primary
    session = peers.session(primary.name)
    return Successor(
        primary.name,
        primary.server_uuid,
        found.term,
        primary.executed,
        _term_of(session, own_uuid, within),
        next((beat for beat in primary.heartbeats if beat.server_uuid == own_uuid), None),
    )


def _term_of(session: Session, own_uuid: str, within: float) -> Optional[TermRow]:
    row = session.one(_OWN_TERM, (own_uuid,), within=within)
    return schema.term_from_row(row) if row else None
