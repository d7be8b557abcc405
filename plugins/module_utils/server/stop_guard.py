# SPDX-License-Identifier: BSD-2-Clause
"""What has to happen before mysqld may be stopped cleanly, so that no commit is reported as OK that nobody holds.

A clean shutdown releases the commits that wait for their acknowledgement: they are committed in the engine, where
nothing can roll them back any more, and their clients, if they are still connected, read OK. The unit of mysqld
therefore runs this program first (``ExecStop=``). It lets the clean shutdown go on only when one of these is a
fact:

* no commit of this server waits for anybody: the source side of semi-sync is off;
* ``SET GLOBAL super_read_only = ON`` returned: it needs the commit lock, which every waiting commit holds (reference
  manual, "super_read_only"; seen in the lab: error 1205 while a commit waits), so none waits, and none can start.

Otherwise it gives the acknowledgements some time, then ends the sessions of applications (their outcome is unknown to
them, which is true) while the replicas stay connected, and at last kills mysqld: a killed server tells nobody OK. A
kill loses nothing that was acknowledged; what waited is found and removed when the server comes back.

Before a clean shutdown of a primary it takes it offline, which ends what replicas are connected by. The shutdown would
go on sending to them for ten seconds (seen on 9.7.4), in which nobody may take over; and by then the last testimony of
the primary is too old to prove anything by.

``decide`` is pure. ``python3 -m ...stop_guard --pid PID`` does it; it always ends, and ends with 0, so that the stop
goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import time
from typing import Callable, Optional, Sequence

from ..errors import HaError
from . import sessions
from .dialect import SUPER_READ_ONLY
from .session import Login, Session

LEAVE = "leave"
"""Nothing can be released by a clean shutdown: let it go on."""
CLOSE = "close"
"""Try to set super_read_only."""
END_SESSIONS = "end_sessions"
"""End the sessions of applications, then try again."""
KILL = "kill"
"""SIGKILL: the only way left that tells no client OK."""


@dataclasses.dataclass(frozen=True)
class Look:
    """What is known at one moment. ``answered``: the server could be asked just now; ``elapsed``: since it began."""

    answered: bool
    elapsed: float
    super_read_only: bool = False
    source_enabled: bool = True
    waiting: int = 0
    sessions_ended: bool = False


@dataclasses.dataclass(frozen=True)
class Budget:
    """Seconds. ``patience``: for acknowledgements to arrive; ``whole``: until mysqld is killed."""

    patience: float = 5.0
    whole: float = 15.0


def decide(look: Look, budget: Budget) -> str:
    """The next thing to do. Pure.

    Every path that ends in LEAVE has a fact that says that no commit waits; without one the end is KILL.
    """
    if look.answered:
        if not look.source_enabled:
            return LEAVE
        if look.super_read_only and look.waiting == 0:
            return LEAVE
    if look.elapsed >= budget.whole:
        return KILL
    if look.answered and look.elapsed >= budget.patience and not look.sessions_ended:
        return END_SESSIONS
    return CLOSE


_LOOK = f"""SELECT {SUPER_READ_ONLY} AS super_read_only,
    (SELECT COUNT(*) FROM performance_schema.global_variables WHERE VARIABLE_VALUE = 'ON' AND VARIABLE_NAME IN
        ('rpl_semi_sync_source_enabled', 'rpl_semi_sync_master_enabled')) AS source_enabled,
    (SELECT COALESCE(SUM(CAST(VARIABLE_VALUE AS UNSIGNED)), 0) FROM performance_schema.global_status
        WHERE VARIABLE_NAME IN
        ('Rpl_semi_sync_source_wait_sessions', 'Rpl_semi_sync_master_wait_sessions')) AS waiting"""


class Server:
    """The server to be stopped: asked through its socket, killed by its process id."""

    def __init__(self, login: Login, pid: int) -> None:
        self._login = login
        self._pid = pid
        self._session: Optional[Session] = None

    def running(self) -> bool:
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        return True

    def session(self) -> Session:
        if self._session is None or not self._session.usable:
            self._session = Session.connect(
                "this server", "localhost", 0, self._login, within=2.0, settings={"lock_wait_timeout": 1}
            )
        return self._session

    def look(self) -> Look:
        """:raises HaError: the server could not be asked."""
        row = self.session().one(_LOOK, within=2.0)
        return Look(
            answered=True,
            elapsed=0.0,
            super_read_only=bool(int(row["super_read_only"])),
            source_enabled=int(row["source_enabled"]) > 0,
            waiting=int(row["waiting"]),
        )

    def close(self) -> None:
        """:raises HaError: ``sql_error`` 1205 while a commit holds its lock."""
        self.session().execute("SET GLOBAL super_read_only = ON", within=3.0)

    def let_go(self) -> None:
        """Replicas see at once that it is gone. :raises HaError: it could not be taken offline."""
        self.session().execute("SET GLOBAL offline_mode = ON", within=2.0)

    def end_sessions(self) -> int:
        """:raises HaError: the server could not be asked."""
        found = sessions.clients(self.session(), within=2.0)
        return [sessions.end(self.session(), client.id, within=2.0) for client in found].count(sessions.ENDED)

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)


def guard(
    server: Server,
    budget: Budget,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Make the stop safe. Returns LEAVE or KILL, what was done at the end.

    :param say: writes one line for the journal.
    """
    started = clock()
    ended = False
    problem = ""
    while True:
        if not server.running():
            say("mysqld has ended already: nothing to do")
            return LEAVE
        try:
            look = dataclasses.replace(server.look(), elapsed=clock() - started, sessions_ended=ended)
        except HaError as error:
            look = Look(answered=False, elapsed=clock() - started, sessions_ended=ended)
            problem = f"the server could not be asked ({error.message})"
        todo = decide(look, budget)
        if todo == LEAVE:
            why = "super_read_only is on and no commit waits" if look.source_enabled else "semi-sync source side is off"
            say(f"clean stop: {why}")
            if look.source_enabled:
                _let_go(server, say)
            return LEAVE
        if todo == KILL:
            say(
                f"after {look.elapsed:.1f} s {problem or 'commits may still wait'}:"
                f" killing mysqld ({look.waiting} commit(s) seen waiting for an acknowledgement)."
                " A clean stop would tell their clients OK. Nothing that was acknowledged is lost; before this server"
                " is used again, let it rejoin (playbook rejoin or replication)."
            )
            server.kill()
            return KILL
        try:
            if todo == END_SESSIONS:
                say(
                    f"{look.waiting} commit(s) still wait for an acknowledgement after {look.elapsed:.1f} s:"
                    " ending the sessions of applications, whose outcome is unknown to them"
                )
                say(f"{server.end_sessions()} session(s) ended")
                ended = True
            elif look.answered:
                server.close()
        except HaError as error:
            problem = f"super_read_only could not be set ({error.message})"
        sleep(0.2)


def _let_go(server: Server, say: Callable[[str], None]) -> None:
    """The stop is safe without it, only slower."""
    try:
        server.let_go()
    except HaError as error:
        say(f"its replicas stay connected until the end of the shutdown: {error.message}")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="Make a stop of mysqld safe for commits that wait.")
    parser.add_argument("--socket", default="/run/mysqld/mysqld.sock")
    parser.add_argument("--user", default="root")
    parser.add_argument("--pid", default="", help="process id of mysqld; systemd gives $MAINPID")
    parser.add_argument("--patience", type=float, default=Budget.patience)
    parser.add_argument("--budget", type=float, default=Budget.whole)
    given = parser.parse_args(arguments)
    if not given.pid.isdigit() or int(given.pid) <= 1:
        _say("mysqld does not run: nothing to do")
        return 0
    server = Server(Login(given.user, unix_socket=given.socket), int(given.pid))
    guard(server, Budget(given.patience, given.budget), _say)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"lossless-mysql-ha stop guard: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
