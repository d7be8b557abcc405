# SPDX-License-Identifier: BSD-2-Clause
"""The two threads that talk to the local server, so that nothing else ever waits for it.

``Observer`` asks once a tick who the server thinks it is. ``Beater`` commits the heartbeat row while it is ordered to;
that commit may block for ever. Both leave what they learned in ``Notes``, where the loop finds it.
"""

from __future__ import annotations

import abc
import dataclasses
import threading
from typing import Any, Callable, Mapping, Optional

from ..errors import HaError
from ..server import schema
from ..server.dialect import SUPER_READ_ONLY
from ..server.session import ConnectFailed, Login, Session, StatementFailed
from ..server.state import REFUSED
from .lease import Beat, Seen

Clock = Callable[[], float]
Open = Callable[[], Session]

_SEEN = f"""SELECT LOWER(@@GLOBAL.server_uuid) AS server_uuid,
    @@GLOBAL.read_only AS read_only, {SUPER_READ_ONLY} AS super_read_only, @@GLOBAL.offline_mode AS offline,
    t.revision, t.term, LOWER(t.primary_uuid) AS primary_uuid, t.k,
    (SELECT h.sequence FROM {schema.SCHEMA}.heartbeat h WHERE h.server_uuid = @@GLOBAL.server_uuid) AS sequence
    FROM (SELECT 1) one LEFT JOIN
    (SELECT revision, term, primary_uuid, k FROM {schema.SCHEMA}.term ORDER BY revision DESC LIMIT 1) t ON TRUE"""
_SEEN_WITHOUT_SCHEMA = f"""SELECT LOWER(@@GLOBAL.server_uuid) AS server_uuid,
    @@GLOBAL.read_only AS read_only, {SUPER_READ_ONLY} AS super_read_only, @@GLOBAL.offline_mode AS offline"""
_OWN_BEAT = f"""SELECT LOWER(server_uuid) AS server_uuid, term, sequence, source_active, wait_count
    FROM {schema.SCHEMA}.heartbeat WHERE server_uuid = @@GLOBAL.server_uuid"""

NO_SUCH_THING = frozenset({1049, 1146})

# A second writer of the heartbeat row (after a deadline, the first one may still hang in the server) gives up soon.
SETTINGS = {"innodb_lock_wait_timeout": 1}

_WARM_EVERY = 5.0


class Notes:
    """What the threads know, for the loop to read, and the loop's order to the beater.

    :param wake: called after each note, from the thread that wrote it.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._condition = threading.Condition()
        self._seen: Optional[Seen] = None
        self._gone = ""
        self._beat: Optional[Beat] = None
        self._trouble: dict[str, str] = {}
        self._order: Optional[int] = None
        self._stopped = False

    def put_seen(self, seen: Seen) -> None:
        with self._condition:
            news = self._gone or self._seen is None or _changed(self._seen, seen)
            self._seen, self._gone = seen, ""
            self._trouble.pop("observer", None)
        if news:
            self._wake()

    def put_gone(self, why: str) -> None:
        with self._condition:
            news = not self._gone
            self._gone = why
        if news:
            self._wake()

    def put_beat(self, beat: Beat) -> None:
        with self._condition:
            self._beat = beat
            self._trouble.pop("heartbeat", None)
        self._wake()

    def put_trouble(self, who: str, text: str) -> None:
        with self._condition:
            self._trouble[who] = text

    def read(self) -> tuple[Optional[Seen], Optional[Beat], str, tuple[str, ...]]:
        """What was seen, the last heartbeat, why the server is gone, and what else goes wrong."""
        with self._condition:
            return self._seen, self._beat, self._gone, tuple(self._trouble.values())

    def order(self, term: Optional[int]) -> None:
        """Heartbeats in this term from now on, or none."""
        with self._condition:
            if term != self._order:
                self._order = term
                self._condition.notify_all()

    def stop(self) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    @property
    def stopped(self) -> bool:
        with self._condition:
            return self._stopped

    def wait_for_order(self, within: float) -> Optional[int]:
        """Wait until heartbeats are ordered. ``None``: not within that time, or all is to stop."""
        with self._condition:
            self._condition.wait_for(lambda: self._stopped or self._order is not None, within)
            return None if self._stopped else self._order

    def wait_for_change(self, of: Optional[int], within: float) -> None:
        """Wait until the order is another one, or the time is over, or all is to stop."""
        if within > 0:
            with self._condition:
                self._condition.wait_for(lambda: self._stopped or self._order != of, within)

    def wait_for_stop(self, within: float) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: self._stopped, max(within, 0.0))


def _changed(old: Seen, new: Seen) -> bool:
    """Whether anything but the time differs that the loop acts on."""
    aside: dict[str, Any] = {"asked_at": 0.0, "sequence": 0}
    return dataclasses.replace(old, **aside) != dataclasses.replace(new, **aside)


def opener(name: str, host: str, port: int, login: Login, within: float, settings: Mapping[str, Any]) -> Open:
    """How the threads connect."""
    return lambda: Session.connect(name, host, port, login, within=within, settings=settings)


class Worker(threading.Thread, abc.ABC):
    """A thread with one connection, which is replaced when it broke."""

    def __init__(self, name: str, open_session: Open, clock: Clock) -> None:
        # Daemon: a commit that blocks for ever must not keep the process alive.
        super().__init__(name=name, daemon=True)
        self._open = open_session
        self._clock = clock
        self._session: Optional[Session] = None

    def session(self) -> Session:
        if self._session is None or not self._session.usable:
            self._session = None
            self._session = self._open()
        return self._session


class Observer(Worker):
    """Asks the local server once a tick."""

    def __init__(self, notes: Notes, open_session: Open, clock: Clock, *, tick: float, deadline: float) -> None:
        super().__init__("observer", open_session, clock)
        self.notes = notes
        self._tick = tick
        self._deadline = deadline

    def run(self) -> None:
        while not self.notes.stopped:
            started = self._clock()
            again = self.ask()
            self.notes.wait_for_stop(0.0 if again else started + self._tick - self._clock())

    def ask(self) -> bool:
        """Ask once and note the answer. Returns whether to ask again at once: a connection that broke says little,
        the attempt to connect again says whether mysqld is there."""
        asked_at = self._clock()
        try:
            self.notes.put_seen(read_seen(self.session(), asked_at, within=self._deadline))
        except ConnectFailed as error:
            if error.kind == REFUSED or _socket_missing(error):
                self.notes.put_gone(error.message)
            else:
                self.notes.put_trouble("observer", error.message)
        except StatementFailed as error:
            self.notes.put_trouble("observer", error.message)
            return error.code == "connection_lost"
        except HaError as error:
            self.notes.put_trouble("observer", error.message)
        return False


def _socket_missing(error: ConnectFailed) -> bool:
    """mysqld removes its socket file when it stops, so a missing one is a refused connection."""
    seen: Optional[BaseException] = error
    while seen is not None:
        if isinstance(seen, FileNotFoundError):
            return True
        seen = getattr(seen, "original_exception", None) or seen.__cause__
    return False


def read_seen(session: Session, asked_at: float, *, within: float) -> Seen:
    """One look at the local server."""
    try:
        row = session.one(_SEEN, within=within)
    except StatementFailed as error:
        if error.errno not in NO_SUCH_THING:
            raise
        row = session.one(_SEEN_WITHOUT_SCHEMA, within=within)
    term = row.get("term")
    return Seen(
        asked_at=asked_at,
        server_uuid=str(row["server_uuid"]),
        writable=not (row["read_only"] or row["super_read_only"] or row["offline"]),
        term=None if term is None else int(term),
        revision=int(row.get("revision") or 0),
        primary_uuid=str(row.get("primary_uuid") or ""),
        k=int(row.get("k") or 0),
        sequence=int(row.get("sequence") or 0),
        offline=bool(row["offline"]),
        super_read_only=bool(row["super_read_only"]),
    )


class Beater(Worker):
    """Commits the heartbeat row while ordered to. The next one is due one interval after the last was sent."""

    def __init__(self, notes: Notes, open_session: Open, clock: Clock, *, interval: float, deadline: float) -> None:
        super().__init__("heartbeat", open_session, clock)
        self.notes = notes
        self._interval = interval
        self._deadline = deadline

    def run(self) -> None:
        while not self.notes.stopped:
            term = self.notes.wait_for_order(_WARM_EVERY)
            if term is None:
                self.warm()
                continue
            started = self._clock()
            if self.beat(term):
                # The warm connection was dead: one attempt with a new one, without waiting.
                self.beat(term)
            self.notes.wait_for_change(term, started + self._interval - self._clock())

    def warm(self) -> None:
        """Keep a connection open while there is nothing to write: the first heartbeat of a new primary is urgent."""
        try:
            self.session().execute("DO 0", within=1.0)
        except HaError:
            # No trouble of its own: the observer talks to the same server and reports what is wrong with it.
            self._session = None

    def beat(self, term: int) -> bool:
        """Commit one heartbeat and note that it returned. Returns whether the connection proved to be dead."""
        try:
            session = self.session()
            sent_at = self._clock()
            schema.write_heartbeat(session, term, within=self._deadline)
            row = session.one(_OWN_BEAT, within=self._deadline)
        except HaError as error:
            self.notes.put_trouble("heartbeat", error.message)
            return error.code == "connection_lost"
        self.notes.put_beat(
            Beat(
                sent_at=sent_at,
                server_uuid=str(row["server_uuid"]),
                term=int(row["term"]),
                sequence=int(row["sequence"]),
                source_active=bool(row["source_active"]),
                wait_count=int(row["wait_count"]),
            )
        )
        return False
