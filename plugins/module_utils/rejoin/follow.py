# SPDX-License-Identifier: BSD-2-Clause
"""After mysqld has started: this server follows the primary again, if it may. If it was rewound, it is compared first.

Started by the server's unit (``ExecStartPost=``), as a unit of its own, so that it keeps nobody waiting and is tried
again while the peers do not answer. What it finds is one of these:

* it takes writes, or is the primary of the newest term: nothing to do here;
* it has transactions that the primary lacks: they are archived, and it stays alone, until it is cloned;
* it has none: it follows, by auto-position. It acknowledges if it is registered, which a deposed server is not.

A server that was rewound is then compared: it has nothing that the primary has not, and every row that the archived
tail names is the same on both. Until the primary's table ``rejoin`` says so it neither acknowledges nor is a candidate.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import socket
import sys
import time
from typing import Callable, Optional, Sequence

from ..errors import HaError
from ..fault_points import reach
from ..gtid import GtidSet
from ..replication import repoint
from ..server.accounts import replication_user
from ..server.read import read_state
from ..server.session import Login, Session
from ..server.state import DIFFERENT, ON, PENDING, TO_BE_CLONED, VERIFIED, Member, Rejoin, ServerState, TermRow
from ..topology.locks import Locks
from ..topology.observe import Members
from . import config, peers, record
from .announce import announce, row_of
from .compare import DIFFERENT as NOT_EQUAL
from .compare import EQUAL, UNKNOWN, compare
from .config import Config
from .plan import surplus
from .rewind import archive_surplus
from .verdict import Replica, Unknown, Verdict

STATEMENT_WITHIN = 10.0
CONNECTED_WITHIN = 30.0
CAUGHT_UP_WITHIN = 3600.0
LOCKED_WITHIN = 5
"""Short: whoever holds the lock may be waiting for this unit to look again."""
_CLONE_ENDS_BEFORE = 60.0
"""Seconds before a start in which a clone that ended may be what led to it, where the process can not be looked at."""
_START_TICKS = 19
"""The field ``starttime`` of /proc/PID/stat, counted from behind the command's name."""
EXIT_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h: the unit tries again."""

_VERDICTS = {EQUAL: VERIFIED, NOT_EQUAL: DIFFERENT, UNKNOWN: PENDING}

Say = Callable[[str], None]


class Returning:
    """One server that has started. ``own``: connections to itself through its socket, one of them with the lock."""

    def __init__(self, given: Config, say: Say, *, now: Callable[[], float], host: str) -> None:
        self._given = given
        self._say = say
        self._now = now
        self._host = host
        self._peers = Members(given.peers, given.login, connect_within=peers.LOOK_WITHIN)
        here = Login(given.root, unix_socket=given.socket)
        self._here = Members([Member(given.name, "localhost", 0)], here, connect_within=STATEMENT_WITHIN)

    def close(self) -> None:
        self._here.close()
        self._peers.close()

    @property
    def _session(self) -> Session:
        return self._here.session(self._given.name)

    def run(self) -> int:
        """:returns: the exit code: 0, or ``EXIT_AGAIN``."""
        state = read_state(self._session, within=STATEMENT_WITHIN)
        if state.writable:
            self._say("this server takes writes: nothing to do")
            return 0
        found = self._ask(state)
        if isinstance(found, Unknown):
            self._say(f"{found.reason.message}; asked again later")
            return EXIT_AGAIN
        if not isinstance(found, Replica):
            self._say("no other server is primary; mysql_replication makes this one writable once it is safe")
            return 0
        if not any(member.server_uuid == state.server_uuid for member in found.term.members):
            self._say("this server is not in the term row: mysql_replication seeds and registers new members")
            return 0
        if _just_cloned(self._session, state, self._given.place.data_directory):
            self._say("this server was cloned a moment ago: whoever did that lets it follow")
            return 0
        pending = self._pending(state)
        if pending is not None and _follows_already(state, found.primary.server_uuid, False):
            # A convergence has attached it, and holds the lock until it is verified.
            return 0 if self._verify(pending, found) else EXIT_AGAIN
        # A failover may be about to freeze it, or a convergence to clone it: what was seen before its lock is taken may
        # not be true any more.
        locks = Locks(self._here, self._given.cluster, within=STATEMENT_WITHIN)
        locks.take([self._given.name], 1, wait=LOCKED_WITHIN)
        try:
            again = self._ask(state)
            if not isinstance(again, Replica) or again.term != found.term:
                self._say("the primary changed meanwhile; looked at again")
                return EXIT_AGAIN
            pending = self._return(again)
        finally:
            locks.release()
        return 0 if pending is None or self._verify(pending, again) else EXIT_AGAIN

    def _ask(self, state: ServerState) -> Verdict:
        return peers.ask(self._peers, state.server_uuid, self._given.patience, self._say)

    def _return(self, found: Replica) -> Optional[record.Record]:
        """:returns: what it has to be compared for."""
        # What this server has is read before what the primary has, or what arrives in between would look like surplus.
        state = read_state(self._session, within=STATEMENT_WITHIN)
        primary = read_state(self._peers.session(found.primary.name), within=STATEMENT_WITHIN)
        extra = surplus(state.executed, primary.executed, primary.server_uuid)
        gap = primary.purged - state.received
        if extra:
            self._alone(state, found.term, primary, extra)
        elif gap:
            self._say(f"{primary.name} has no more binary logs of {gap}: this server has to be cloned (mysql_rejoin)")
        else:
            return self._follow(state, found.term, primary)
        return None

    # --- with surplus ------------------------------------------------------------------------------------------------
    def _alone(self, state: ServerState, term: TermRow, primary: ServerState, extra: GtidSet) -> None:
        given = self._given
        made = archive_surplus(extra, given.place, given.evidence(self._host), now=self._now())
        self._say(f"this server has {extra}, which the primary lacks: archived in {made}. It follows nobody")
        why = "mysqld has committed it; run mysql_rejoin (playbook rejoin), which clones this server"
        self._tell(Rejoin(state.server_uuid, term.term, TO_BE_CLONED, str(extra), made, why), primary)

    # --- without -----------------------------------------------------------------------------------------------------
    def _follow(self, state: ServerState, term: TermRow, primary: ServerState) -> Optional[record.Record]:
        pending = self._pending(state)
        if pending is not None:
            self._tell(row_of(pending, PENDING, "rewound; not compared yet"), primary)
        acknowledge = _is_registered(state, term) and pending is None
        if not _follows_already(state, primary.server_uuid, acknowledge):
            self._attach(state, primary, acknowledge=acknowledge)
        self._say(f"follows {primary.name}" + (", and acknowledges" if acknowledge else ""))
        return pending

    def _pending(self, state: ServerState) -> Optional[record.Record]:
        return still_pending(record.read(self._given.records), state.server_uuid, _cloned_at(self._session))

    def _attach(self, state: ServerState, primary: ServerState, *, acknowledge: bool) -> None:
        repoint.repoint(
            self._session,
            state,
            self._peers.member(primary.name),
            replication_user(self._given.prefix, state.server_id),
            self._given.password,
            ca=self._given.replication_ca,
            acknowledge=acknowledge,
            within=CONNECTED_WITHIN,
        )
        repoint.wait_connected(self._session, primary.server_uuid, within=CONNECTED_WITHIN)

    def _verify(self, pending: record.Record, found: Replica) -> bool:
        """Whether it could be judged. Without the lock: it may take its time, and nothing counts on this server yet."""
        reach("verify:before")
        primary = found.primary
        there = self._peers.session(primary.name)
        repoint.wait_executed(self._session, _executed(there), within=CAUGHT_UP_WITHIN)
        extra = surplus(_executed(self._session), _executed(there), primary.server_uuid)
        if extra:
            verdict, why = DIFFERENT, f"it has {extra}, which {primary.name} lacks"
        else:
            compared = compare(pending.archive, self._session, there)
            verdict, why = _VERDICTS[compared.verdict], compared.why
            if verdict == PENDING and compared.for_good:
                verdict = TO_BE_CLONED
        if verdict == PENDING:
            self._say(f"not known to be the same as {primary.name}: {why}; compared again later")
            self._tell(row_of(pending, PENDING, why), primary)
            return False
        if verdict == DIFFERENT:
            repoint.stop_receiver(self._session, within=STATEMENT_WITHIN)
            self._say(f"NOT the same as {primary.name}: {why}. It follows nobody; clone it (mysql_rejoin)")
        if verdict == TO_BE_CLONED:
            self._say(f"can not be compared with {primary.name}: {why}. It does not count; clone it (mysql_rejoin)")
        self._tell(row_of(pending, verdict, why), primary)
        record.write(dataclasses.replace(pending, state=verdict, why=why), self._given.records)
        if verdict == VERIFIED:
            self._say(f"verified: {why}. {pending.gtids} are undone; their events are in {pending.archive}")
        return True

    def _tell(self, row: Rejoin, primary: ServerState) -> None:
        """The primary's table says it to everybody."""
        announce(row, self._peers.member(primary.name), self._given.keeper, within=STATEMENT_WITHIN)


def _follows_already(state: ServerState, primary_uuid: str, acknowledge: bool) -> bool:
    """Somebody was faster. An acknowledger that reconnects is counted twice for a moment, so it is left alone."""
    applier = state.applier
    return (
        state.follows(primary_uuid)
        and applier is not None
        and applier.state == ON
        and state.semi_sync.replica_enabled == acknowledge
    )


def _is_registered(state: ServerState, term: TermRow) -> bool:
    return any(m.server_uuid == state.server_uuid for m in term.acknowledgers)


def still_pending(done: Optional[record.Record], server_uuid: str, cloned_at: float) -> Optional[record.Record]:
    """What a server was rewound for and not compared yet; nothing when all its data have been replaced since."""
    if done is None or not done.pending or done.server_uuid != server_uuid:
        return None
    return done if done.at > cloned_at else None


def _just_cloned(session: Session, state: ServerState, data_directory: str) -> bool:
    """Whether this start is the end of a clone: that is written down after the restart. A later start is none, however
    soon it comes."""
    row = session.one("SELECT @@GLOBAL.pid_file AS path", within=STATEMENT_WITHIN)
    began = _process_began(os.path.join(data_directory, str(row["path"])))
    return _cloned_at(session) >= (state.clock - state.uptime - _CLONE_ENDS_BEFORE if began is None else began)


def _process_began(pid_file: str) -> Optional[float]:
    """When the process that wrote this file began, in seconds since the epoch; None when that can not be seen."""
    try:
        with open(pid_file, encoding="ascii") as stream:
            pid = int(stream.read())
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            ticks = int(stream.read().rpartition(")")[2].split()[_START_TICKS])
    except (OSError, ValueError, IndexError):
        return None
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def _cloned_at(session: Session) -> float:
    """When this server last became a copy, in seconds since the epoch; 0: never."""
    row = session.one(
        "SELECT UNIX_TIMESTAMP(END_TIME) AS ended FROM performance_schema.clone_status"
        " WHERE STATE = 'Completed' AND DESTINATION = 'LOCAL INSTANCE'",
        within=STATEMENT_WITHIN,
    )
    return float(row["ended"] or 0) if row else 0.0


def _executed(session: Session) -> GtidSet:
    return GtidSet.parse(str(session.one("SELECT @@GLOBAL.gtid_executed AS gtids", within=STATEMENT_WITHIN)["gtids"]))


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="Let this server follow the primary again after a start.")
    parser.add_argument("--config", default=config.PATH)
    given = parser.parse_args(arguments)
    if not os.path.exists(given.config):
        _say(f"{given.config} is not there: nothing is done")
        return 0
    try:
        loaded = config.load(given.config)
    except HaError as error:
        _say(str(error))
        return 78
    returning = Returning(loaded, _say, now=time.time, host=socket.gethostname())
    try:
        return returning.run()
    except HaError as error:
        _say(str(error))
        return EXIT_AGAIN
    finally:
        returning.close()


def _say(line: str) -> None:
    sys.stdout.write(f"lossless-mysql-ha rejoin: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
