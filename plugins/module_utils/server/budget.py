# SPDX-License-Identifier: BSD-2-Clause
"""One statement that is interrupted when it takes longer than a budget; and nothing but that statement.

KILL QUERY names a connection, not a statement. Sent a moment too late, it ends whatever that connection does next. So:

* it is sent, and its answer awaited, under a mutex that the end of the statement needs as well. Once the end is known
  no kill is sent, and the connection is not used again while one is on its way;
* it is sent again until the end is known: the first one may come before the statement has reached the server;
* a kill that reached the server in the very moment in which the statement ended may have left its mark there; an empty
  statement takes that;
* a kill whose answer did not come may still arrive: the connection is closed, so that it finds nobody;
* a statement whose answer did not come may still take effect: its connection is ended on the server.
"""

from __future__ import annotations

import threading
from typing import Callable

from .session import Session, StatementFailed

INTERRUPTED = 1317
"""The server's number for a statement that was killed."""

NO_SUCH_THREAD = 1094

AGAIN_EVERY = 0.05
"""Seconds between two kills. The first one may come before the statement has reached the server, and finds nobody."""


class _Watch:
    """Interrupts connection ``thread`` when the budget is over, unless ``end`` came first.

    ``sent``: whether a kill was sent. ``answered``: whether the server said that it was delivered, or that there is no
    such connection any more.
    """

    def __init__(self, thread: int, budget: float, killer: Session, within: float) -> None:
        self.sent = False
        self.answered = False
        self._target = thread
        self._budget = budget
        self._killer = killer
        self._within = within
        self._mutex = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="budget", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        pause = self._budget
        while not self._ended.wait(pause):
            if not self._interrupt():
                return
            pause = AGAIN_EVERY

    def _interrupt(self) -> bool:
        """Send one kill. False when no other is to follow."""
        with self._mutex:
            if self._ended.is_set():
                return False
            self.sent = True
            try:
                self._killer.execute(f"KILL QUERY {int(self._target)}", within=self._within)
                self.answered = True
            except StatementFailed as error:
                self.answered = error.errno == NO_SUCH_THREAD
                return False
        return True

    def end(self) -> None:
        """The statement has ended. Returns when no kill is on its way any more, or is known to have no answer."""
        with self._mutex:
            self._ended.set()
        self._thread.join()


def execute(session: Session, sql: str, *, budget: float, within: float, connect: Callable[[], Session]) -> None:
    """Run a statement whose rows do not matter, for ``budget`` seconds at most.

    :param within: seconds for each of the rest: for the kill, and for the statement to end after it.
    :param connect: opens another connection to the same server, to interrupt from. It is opened before the statement
        is sent: without it there is no budget.
    :raises ConnectFailed: by ``connect``; nothing was sent.
    :raises StatementFailed: as ``Session.query``; with ``errno`` ``INTERRUPTED`` when the budget was over. A statement
        that ended in the same moment has ended well.
    """
    killer = connect()
    try:
        thread = session.thread_id
        watch = _Watch(thread, budget, killer, within)
        try:
            session.execute(sql, within=budget + within)
        finally:
            watch.end()
            if not session.usable:
                _end_connection(killer, thread, within)
            elif watch.sent:
                _settle(session, watch.answered, within)
    finally:
        killer.close()


def _settle(session: Session, answered: bool, within: float) -> None:
    """After a kill was sent: what is done next on this connection is not hit by it."""
    if not answered:
        session.close()
        return
    try:
        session.execute("DO 0", within=within)
    except StatementFailed as error:
        if error.errno != INTERRUPTED:
            session.close()


def _end_connection(killer: Session, thread: int, within: float) -> None:
    """Its statement has no answer: it must not take effect later. Fails when the server does not answer here either."""
    if not killer.usable:
        return
    try:
        killer.execute(f"KILL CONNECTION {int(thread)}", within=within)
    except StatementFailed:
        killer.close()
