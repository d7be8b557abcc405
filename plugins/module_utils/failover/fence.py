# SPDX-License-Identifier: BSD-2-Clause
"""Closing an old primary that still answers, without telling one waiting client that its commit is done.

Its acknowledgers are frozen by now, so it can acknowledge nothing. What is left is that it takes writes, which hang,
and serves reads, which are no longer true. ``super_read_only`` alone does not come: it waits for the commits that wait.
And semi-sync can not simply go off: that would release them to their clients as if they had been acknowledged. Hence:

1. ``offline_mode``: sessions of applications end, and no new ones begin. It waits for nobody.
2. ``super_read_only`` is asked for. While it waits for those commits, no other write begins.
3. All other sessions are ended, too, but the collection's own. One whose commit waits goes on waiting with its
   connection shut, so nobody will hear how it ended.
4. Only when nobody is left who could hear it, and nothing can begin any more, semi-sync goes off. What waited is
   committed there now and nowhere else: surplus, to be archived and removed when the server comes back.

``next_step`` decides, pure; ``close`` does.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Callable, Optional

from ..errors import HaError
from ..replication import semi_sync
from ..server import budget as budgets
from ..server import sessions
from ..server.session import Session

WAIT, END_SESSIONS, DISARM, DONE = "wait", "end_sessions", "disarm", "done"

LOOK_EVERY = 0.02
"""Seconds between two looks, while somebody else's session ends or the flag comes."""

# The second is what a server says that has the first and still waits for commits.
_PENDING = ("Waiting for global read lock", "Waiting for commit lock")

_LOOK = """SELECT @@GLOBAL.super_read_only AS closed, SUBSTRING_INDEX(CURRENT_USER(), '@', 1) AS user,
    (SELECT COALESCE(MAX(PROCESSLIST_STATE), '') FROM performance_schema.threads WHERE PROCESSLIST_ID = %s) AS state"""


@dataclasses.dataclass(frozen=True)
class Look:
    """The old primary at one moment.

    ``pending``: ``super_read_only`` was asked for and waits, so that no write begins. ``alive``: sessions that are not
    the collection's own and whose clients can still hear an answer; ``unkillable``: those of them that this account may
    not end.
    """

    closed: bool
    pending: bool
    alive: frozenset[int] = frozenset()
    unkillable: frozenset[int] = frozenset()
    disarmed: bool = False


def next_step(look: Look) -> str:
    """What to do now.

    Semi-sync goes off only while no write can begin and no client is left to be told: neither can change between the
    look and the act, for who connects anew can only ask for a write that waits behind ``super_read_only``.
    """
    if look.closed:
        return DONE
    if look.alive - look.unkillable:
        return END_SESSIONS
    if look.pending and not look.alive and not look.disarmed:
        return DISARM
    return WAIT


def close(connect: Callable[[], Session], *, budget: float, within: float) -> str:
    """Take the server offline and make it read-only, in the order above.

    :param connect: opens a connection to it; three are used.
    :param budget: seconds for all of it.
    :param within: seconds for one statement.
    :returns: why it is not read-only in the end, though offline; empty when it is.
    :raises HaError: it could not even be taken offline.
    """
    ends = time.monotonic() + budget
    control = connect()
    try:
        control.execute("SET GLOBAL offline_mode = ON", within=within)
        closer = connect()
        try:
            return _close(control, closer, connect, ends, within)
        finally:
            closer.close()
    finally:
        control.close()


def _close(control: Session, closer: Session, connect: Callable[[], Session], ends: float, within: float) -> str:
    failed: list[HaError] = []

    def ask() -> None:
        try:
            # It has to go on waiting for as long as the other connection may act on that, and one statement longer.
            left = max(ends - time.monotonic(), 0.0) + within
            # In whole seconds, and longer than the budget, which ends it by a kill.
            closer.execute("SET SESSION lock_wait_timeout = %s", (int(left) + 2,), within=within)
            budgets.execute(closer, "SET GLOBAL super_read_only = ON", budget=left, within=within, connect=connect)
        except HaError as error:
            failed.append(error)

    thread = threading.Thread(target=ask, name="fence", daemon=True)
    thread.start()
    try:
        look = _until_closed(control, closer.thread_id, thread, ends, within)
    finally:
        thread.join(within * 4)
    if look is not None and look.closed:
        return ""
    if look is not None and look.unkillable:
        return f"sessions {', '.join(map(str, sorted(look.unkillable)))} can not be ended by this account"
    return failed[0].message if failed else "commits still wait there"


def _until_closed(
    control: Session, asking: int, thread: threading.Thread, ends: float, within: float
) -> Optional[Look]:
    """Look and act until it is closed, nobody asks for it any more, or the time is over; the last look."""
    unkillable: frozenset[int] = frozenset()
    disarmed = False
    while True:
        asked = thread.is_alive()
        look = _look(control, asking, unkillable, disarmed, within)
        step = next_step(look)
        if step == DONE or not asked or time.monotonic() >= ends:
            return look
        if step == END_SESSIONS:
            refused = [
                number
                for number in sorted(look.alive - unkillable)
                if sessions.end(control, number, within=within) == sessions.REFUSED
            ]
            unkillable |= frozenset(refused)
        elif step == DISARM:
            semi_sync.abandon(control, within=within)
            disarmed = True
        time.sleep(LOOK_EVERY)


def _look(control: Session, asking: int, unkillable: frozenset[int], disarmed: bool, within: float) -> Look:
    row = control.one(_LOOK, (asking,), within=within)
    # Who is there is asked after it is known whether a write can begin.
    alive = frozenset(
        client.id
        for client in sessions.clients(control, within=within)
        if not client.killed and client.user != str(row["user"])
    )
    return Look(
        closed=bool(int(row["closed"])),
        pending=str(row["state"]) in _PENDING,
        alive=alive,
        unkillable=unkillable & alive,
        disarmed=disarmed,
    )
