# SPDX-License-Identifier: BSD-2-Clause
"""Asking the other members on behalf of a server that returns."""

from __future__ import annotations

import time
from typing import Any, Callable, Optional

from ..server import schema
from ..server.session import Session
from ..server.state import TermRow
from ..topology.observe import Members
from . import verdict
from .plan import PROVEN, Successor
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
    """Look at the peers until they say enough, or until patience ends. ``say``: why it waits, each reason once.

    Whom the newest term row registers is asked, too, and stays in ``peers``: this host's file may be older than a
    member.
    """
    started = clock()
    said = ""
    while True:
        heard = peers.observe(within=LOOK_WITHIN)
        if heard.term is not None and peers.add(m for m in heard.term.members if m.server_uuid != own_uuid):
            continue
        found = verdict.judge(own_uuid, heard, waited=clock() - started, patience=patience)
        if not isinstance(found, Again):
            return found
        if found.why != said:
            said = found.why
            say(f"waiting: {said}")
        sleep(LOOK_EVERY)


_OWN_TERM = schema.SELECT_TERM.replace("ORDER BY", "WHERE primary_uuid = %s ORDER BY")
_UNPROVEN = schema.SELECT_TERM.replace("ORDER BY revision DESC", "WHERE term > %s AND proof <> %s ORDER BY revision")


def successor(peers: Members, found: Replica, own_uuid: str, *, within: float) -> Successor:
    """What the primary has, and knows of the server that returns.

    :raises HaError: it could not be asked.
    """
    primary = found.primary
    session = peers.session(primary.name)
    before = _row(session, _OWN_TERM, (own_uuid,), within)
    return Successor(
        primary.name,
        primary.server_uuid,
        found.term,
        primary.executed,
        before,
        next((beat for beat in primary.heartbeats if beat.server_uuid == own_uuid), None),
        _row(session, _UNPROVEN, (before.term if before else 0, PROVEN), within),
    )


def _row(session: Session, select: str, values: tuple[Any, ...], within: float) -> Optional[TermRow]:
    row = session.one(select, values, within=within)
    return schema.term_from_row(row) if row else None
