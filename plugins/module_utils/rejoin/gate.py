# SPDX-License-Identifier: BSD-2-Clause
"""The restart gate: runs before mysqld starts (``ExecStartPre=``), and decides what crash recovery may commit.

A server that did not end by itself may hold transactions that wait for an acknowledgement. Started as it is, crash
recovery commits them. If another server was promoted meanwhile nobody wants them, and once they are committed only a
clone takes them away. So the peers are asked first:

* another server is primary, proven, and this one has surplus: it is archived and cut off; mysqld starts without it;
* another one is primary and this one has nothing that it lacks: it starts;
* it is still the primary: it starts, read-only as its option file says; what it recovers counts as acknowledged only
  once k acknowledgers hold it, which convergence sees to before it takes writes;
* nobody to ask, or not proven: the end of the log is kept as it is, and mysqld starts, harmless.

It ends in bounded time and always with 0: a server that does not start helps nobody, and one that starts is read-only
and follows nobody. Each line goes to the journal.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from typing import Callable, Optional, Sequence

from ..binlog.archive import server_uuid
from ..errors import HaError
from ..fault_points import reach
from ..refusal import Refusal
from ..server.state import PENDING, Member
from ..topology.observe import Members
from . import announce as telling
from . import config, peers, record, remains, rewind
from .config import Config
from .plan import Nothing, Rewind, plan_rewind
from .verdict import Replica, StillPrimary, Unknown

STATEMENT_WITHIN = 5.0

Say = Callable[[str], None]


def pass_through(given: Config, say: Say, *, now: float, host: str) -> None:
    """Decide, and do what has to be done before mysqld starts.

    :raises HaError: it could not be done; mysqld may start all the same.
    """
    place = given.place
    clean = remains.ended_by_itself(place)
    if clean is None:
        say("there is no binary log yet: start")
        return
    if clean:
        say("mysqld ended by itself: nothing waits in its log; start")
        return
    own = server_uuid(place.data_directory)
    pool = Members(given.peers, given.login, connect_within=peers.LOOK_WITHIN)
    try:
        found = peers.ask(pool, own, given.patience, say)
        if isinstance(found, StillPrimary):
            _still_primary(found, say)
        elif isinstance(found, Replica):
            say(f"{found.primary.name} is primary in term {found.term.term} ({found.term.proof})")
            knows = peers.successor(pool, found, own, within=STATEMENT_WITHIN)
            way = plan_rewind(remains.read(place, knows.executed), knows)
            _go(way, given, own, pool.member(found.primary.name), say, now=now, host=host)
        elif isinstance(found, Unknown):
            say(f"{found.reason.message}: {found.reason.next_step}")
            rewind.keep_end(given.place, given.records, own, say)
    finally:
        pool.close()


def _still_primary(found: StillPrimary, say: Say) -> None:
    if found.term is None:
        say("no member has a term row: nothing is promised yet; start")
        return
    say(
        f"no other server is primary (term {found.term.term}): start, read-only; what is recovered counts as"
        " acknowledged once the acknowledgers hold it (mysql_replication)"
    )


def _go(way: object, given: Config, own: str, primary: Member, say: Say, *, now: float, host: str) -> None:
    def announce(made: record.Record) -> None:
        try:
            telling.announce(telling.row_of(made, PENDING, "being rewound; not compared yet"), primary, given.keeper)
        except HaError as error:
            # It says so itself once it has started.
            say(f"{primary.name} could not be told that this server is being rewound: {error.message}")

    if isinstance(way, Nothing):
        say("this server has nothing that it lacks: start")
    elif isinstance(way, Refusal):
        for reason in way.reasons:
            say(f"not rewound, {reason.code}: {reason.message}")
        rewind.keep_end(given.place, given.records, own, say)
        say(f"start, harmless. {way.reasons[0].next_step}")
    elif isinstance(way, Rewind):
        say(f"surplus: {way.surplus} ({len(way.surplus)} transactions that nobody was told OK for)")
        done = rewind.rewind(way, own, given.place, given.evidence(host), now=now, announce=announce, reach=reach)
        say(f"archived in {done.archive}; {done.size - done.offset} bytes kept in {done.kept}")
        say(f"{done.file} cut at {done.offset}: crash recovery rolls them back; start")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="Decide what crash recovery may commit, before mysqld starts.")
    parser.add_argument("--config", default=config.PATH)
    parser.add_argument("--check", action="store_true", help="only say whether the configuration is right")
    given = parser.parse_args(arguments)
    if given.check:
        return _check(given.config)
    if not os.path.exists(given.config):
        _say(f"{given.config} is not there: start")
        return 0
    try:
        pass_through(config.load(given.config), _say, now=time.time(), host=socket.gethostname())
    except HaError as error:
        _say(f"{error}; mysqld starts as it is, read-only")
    return 0


def _check(path: str) -> int:
    try:
        config.load(path)
    except HaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"lossless-mysql-ha restart gate: {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
