# SPDX-License-Identifier: BSD-2-Clause
"""Seeding a server by remote CLONE: its data are replaced by a donor's.

``clone`` does all of it and returns when the recipient is back and holds everything the donor held at the start. Its
parts may be called by different processes, one after the other: ``prepare``, ``Statement``, ``follow``, ``finish``. The
copy runs in the recipient's mysqld, and goes on without whoever asked for it.

Whether the recipient's data may go is decided by the caller (``clone_plan``); here it is only checked that the server
is the one that was meant, read-only, and that it does not acknowledge anything. How a clone ended is judged by what the
recipient says after its restart (``clone_status``) and by what it then holds, never by how the statement ended.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any, Callable, Mapping, Optional, Sequence, Union

from ..errors import HaError, defect
from ..gtid import GtidSet
from ..server.dialect import SUPER_READ_ONLY
from ..server.session import ConnectFailed, Session, StatementFailed
from . import progress as clone_progress
from .facts import is_alive, read_progress
from .progress import COMPLETED, FAILED, RUNNING, Meter, Progress

NO_SUPERVISOR = 3707
_GOING_DOWN = frozenset({1053, 1927})
"""Server shutdown in progress; this connection was killed."""
POLL_EVERY = 0.2
GRACE = 10.0
"""Seconds for a statement to show up in ``clone_status``, and for a clone that has lost its thread to be marked so."""


@dataclasses.dataclass(frozen=True)
class CloneLogin:
    """The donor's account for CLONE. ``ca``: on the recipient, empty for an encrypted and unverified connection."""

    user: str
    password: str = dataclasses.field(repr=False)
    ca: str = ""


@dataclasses.dataclass(frozen=True)
class Throttle:
    """``data``, ``network``: MiB a second, 0 without a limit. ``threads``: how many at most. None: as the server has
    it."""

    data: Optional[int] = None
    network: Optional[int] = None
    threads: Optional[int] = None

    @property
    def settings(self) -> dict[str, Union[int, str]]:
        found: dict[str, Union[int, str]] = {}
        if self.data is not None:
            found["clone_max_data_bandwidth"] = self.data
        if self.network is not None:
            found["clone_max_network_bandwidth"] = self.network
        if self.threads is not None:
            found["clone_max_concurrency"] = self.threads
        return found


@dataclasses.dataclass(frozen=True)
class Seen:
    """What has been seen of a clone so far, by all that followed it. Durations in seconds; ``at``: of the wall clock.

    ``lasted``: since it was first followed. ``away``: the recipient has given no answer for. ``dead``: no connection
    works on it for. ``still``: nothing has moved for, at ``data`` bytes. ``measured``: what the rate is counted over,
    ``measured_data``: from how many bytes on. ``handed_over``: everything is copied. ``unsupervised``: nothing restarts
    its mysqld.
    """

    at: float = 0.0
    lasted: float = 0.0
    away: float = 0.0
    dead: float = 0.0
    still: float = 0.0
    data: int = 0
    measured: float = 0.0
    measured_data: int = 0
    handed_over: bool = False
    unsupervised: bool = False


@dataclasses.dataclass(frozen=True)
class Begun:
    """A clone that was prepared: plain values, so that another process can follow it.

    ``before``: when the earlier clone there began, as the server says it. ``held``: what the donor held.
    ``settings``: what was changed for it, and is put back where no restart does that. ``opened``: the recipient's
    super_read_only was switched off for it.
    """

    donor: str
    before: str = ""
    held: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    opened: bool = True
    seen: Seen = Seen()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Begun:
        """From ``as_dict``."""
        return cls(**{**values, "seen": Seen(**values.get("seen", {}))})

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Cloned:
    """A clone that is done and verified. ``executed``, ``binlog_file``, ``binlog_position``: where the copy ends in the
    donor's binary log. ``session``: the connection after the restart. ``data``, ``network`` in bytes."""

    session: Session
    donor: str
    executed: GtidSet
    binlog_file: str
    binlog_position: int
    data: int
    network: int

    def as_result(self) -> dict[str, Any]:
        return {
            "gtid_executed": str(self.executed),
            "binlog_file": self.binlog_file,
            "binlog_position": self.binlog_position,
            "bytes": self.data,
            "network_bytes": self.network,
        }


class Statement:
    """A CLONE statement on a connection of its own. ``run`` returns when the server answered, or never will.

    ``error``: what ended it. Where a server is replaced and everything is well that is a lost connection, for it
    restarts under it.
    """

    def __init__(self, session: Session, sql: str, values: Sequence[Any], *, within: float) -> None:
        self._session = session
        self._sql = sql
        self._values = values
        self._within = within
        self.ended = False
        self.error: Optional[StatementFailed] = None

    def run(self) -> Statement:
        try:
            self._session.execute(self._sql, self._values, within=self._within, secret=True)
        except StatementFailed as error:
            self.error = error
        finally:
            self._session.close()
            self.ended = True
        return self

    def start(self) -> Statement:
        """In a thread, so that it can be looked at meanwhile. The copy outlives this process."""
        threading.Thread(target=self.run, name="clone", daemon=True).start()
        return self

    @property
    def unsupervised(self) -> bool:
        """Everything was copied, and mysqld went down for good, for nothing restarts it."""
        return self.error is not None and self.error.errno == NO_SUPERVISOR

    @property
    def refused(self) -> Optional[StatementFailed]:
        """The server's own error; a lost connection or a deadline says nothing about the clone."""
        if self.error is None or self.unsupervised or self.error.code in ("connection_lost", "deadline_exceeded"):
            return None
        return self.error


def from_donor(recipient: Session, address: tuple[str, int], login: CloneLogin, *, within: float) -> Statement:
    """The statement that replaces a server's data by those of the donor at that address."""
    host, port = address
    return Statement(
        recipient,
        "CLONE INSTANCE FROM %s@%s:%s IDENTIFIED BY %s REQUIRE SSL",
        (login.user, host, port, login.password),
        within=within,
    )


def clone(
    recipient: Session,
    recipient_uuid: str,
    donor: Session,
    donor_address: tuple[str, int],
    login: CloneLogin,
    *,
    reconnect: Callable[[], Session],
    statement_within: float,
    clone_within: float,
    restart_within: float,
    throttle: Throttle = Throttle(),
    progress: Optional[Callable[[], None]] = None,
) -> Cloned:
    """Replace the recipient's data by the donor's, wait for its restart, and leave it without a source.

    :param recipient: a connection to it, which this closes. Read-only, not acknowledging; its data may go.
    :param donor_address: host and port as the recipient reaches the donor.
    :param reconnect: opens a new connection to the recipient.
    :param progress: called while waiting for the restart; may raise to give up.
    :raises HaError: ``another_server``, ``server_is_writable``, ``still_acknowledges``, ``clone_failed``,
        ``no_supervisor``, ``not_back_after_clone``, ``clone_incomplete``, ``clone_timed_out``.
    """
    begun = prepare(recipient, recipient_uuid, donor, donor_address, login, throttle=throttle, within=statement_within)
    statement = from_donor(recipient, donor_address, login, within=clone_within).run()
    if statement.unsupervised:
        raise no_supervisor(recipient.name, begun.donor)
    session = follow(
        recipient.name,
        begun,
        reconnect,
        statement=statement,
        statement_within=statement_within,
        clone_within=clone_within,
        restart_within=restart_within,
        progress=progress,
    )
    if isinstance(session, Begun):
        raise defect("a clone that was to be followed to its end was left")
    return finish(session, begun, within=statement_within)


def prepare(
    recipient: Session,
    recipient_uuid: str,
    donor: Session,
    donor_address: tuple[str, int],
    login: CloneLogin,
    *,
    throttle: Throttle = Throttle(),
    within: float,
) -> Begun:
    """Everything before the statement: the guards once more, replication stopped, the donor allowed, the limits set.

    :raises HaError: ``another_server``, ``server_is_writable``, ``still_acknowledges``.
    """
    _guard(recipient, recipient_uuid, within)
    held = GtidSet.parse(str(donor.one("SELECT @@GLOBAL.gtid_executed AS gtids", within=within)["gtids"]))
    before = read_progress(recipient, within=within).began
    host, port = donor_address
    _stop_replication(recipient, within)
    recipient.execute("SET GLOBAL clone_valid_donor_list = %s", (f"{host}:{port}",), within=within)
    if login.ca:
        recipient.execute("SET GLOBAL clone_ssl_ca = %s", (login.ca,), within=within)
    settings = limit(recipient, throttle, within=within)
    # Dropping what is there is a write. read_only stays on, so only our account may; after the restart the
    # configuration file makes it read-only again.
    recipient.execute("SET GLOBAL read_only = ON", within=within)
    recipient.execute("SET GLOBAL super_read_only = OFF", within=within)
    return Begun(donor.name, before, str(held), settings)


def close_wreck(recipient: Session, *, within: float) -> None:
    """What a failed clone left may still be as it was opened for it: read_only, but not super_read_only.

    It has no data. Only for a server whose ``wrecked`` was seen; any other one that is open is refused by ``prepare``.
    """
    recipient.execute("SET GLOBAL super_read_only = ON", within=within)


def limit(session: Session, throttle: Throttle, *, within: float) -> dict[str, Any]:
    """Set the limits where the clone runs.

    :returns: what they were.
    """
    wanted = throttle.settings
    if throttle.threads is not None:
        # Otherwise it begins with few threads and adds to them: fewer than asked for, and never more.
        wanted["clone_autotune_concurrency"] = "ON"
    before = {name: session.one(f"SELECT @@GLOBAL.{name} AS value", within=within)["value"] for name in sorted(wanted)}
    put(session, wanted, within=within)
    return before


def put(session: Session, settings: Mapping[str, Any], *, within: float) -> None:
    for name, value in settings.items():
        if name not in _LIMITS:
            raise defect(f"{name} is no limit of a clone")
        session.execute(f"SET GLOBAL {name} = %s", (value,), within=within)


_LIMITS = frozenset(
    {
        "clone_max_data_bandwidth",
        "clone_max_network_bandwidth",
        "clone_max_concurrency",
        "clone_autotune_concurrency",
    }
)


def follow(
    name: str,
    begun: Begun,
    connect: Callable[[], Session],
    *,
    statement: Optional[Statement] = None,
    statement_within: float,
    clone_within: float,
    restart_within: float,
    leave: Optional[Callable[[Progress, float], bool]] = None,
    progress: Optional[Callable[[], None]] = None,
    say: Optional[Callable[[str, Progress], None]] = None,
) -> Union[Session, Begun]:
    """Follow a clone to its end: through lost connections, the restart, and a start by hand where nothing supervises.

    :param name: the recipient. :param connect: opens, or has, a connection to it.
    :param statement: when this process asked for it.
    :param leave: asked with what is seen and the seconds of this call; once it is true, what to go on with is returned.
    :param progress: called again and again; may raise to give up.
    :param say: takes a line for a person, and what it is made of.
    :returns: a connection to the recipient, whose clone says that it is complete.
    :raises HaError: ``clone_failed``, ``no_supervisor``, ``not_back_after_clone``, ``clone_timed_out``.
    """
    watch = _Watch(name, begun, statement, statement_within, clone_within, restart_within)
    session: Optional[Session] = None
    while True:
        if progress is not None:
            progress()
        now = time.monotonic()
        try:
            session = session if session is not None and session.usable else connect()
            seen = read_progress(session, within=statement_within)
            if watch.judge(session, seen, now):
                return session
        except ConnectFailed as error:
            session = None
            watch.away(error, now)
        except StatementFailed as error:
            # The server goes down under us, or is too busy to answer: the copy may well go on.
            if error.code not in ("connection_lost", "deadline_exceeded") and error.errno not in _GOING_DOWN:
                raise
            if session is not None:
                session.close()
            session = None
            watch.away(error, now)
        if say is not None:
            say(watch.line(now), watch.seen)
        now = time.monotonic()
        if leave is not None and leave(watch.seen, now - watch.started):
            if session is not None:
                session.close()
            return dataclasses.replace(begun, seen=watch.so_far(now))
        time.sleep(POLL_EVERY)


class _Watch:
    """What is known of a clone while it is followed. Moments are of this process's monotonic clock, also those that an
    earlier one has seen."""

    def __init__(
        self,
        name: str,
        begun: Begun,
        statement: Optional[Statement],
        statement_within: float,
        clone_within: float,
        restart_within: float,
    ) -> None:
        self.name = name
        self.begun = begun
        self.statement = statement
        self.within = statement_within
        self.clone_within = clone_within
        self.restart_within = restart_within
        self.started = time.monotonic()
        self.seen = Progress()
        earlier = begun.seen
        # Nobody looked between two processes: what was so at the end of the first is taken to be so until now.
        gap = max(time.time() - earlier.at, 0.0) if earlier.at else 0.0
        self._first = self.started - earlier.lasted - gap
        self._away_since = self.started - earlier.away - gap if earlier.away else None
        self._dead_since = self.started - earlier.dead - gap if earlier.dead else None
        self._handed_over = earlier.handed_over
        at = self.started - gap
        samples = ((at - earlier.measured, earlier.measured_data), (at, earlier.data))
        self.meter = Meter(samples, at - earlier.still) if earlier.data else Meter()

    def so_far(self, now: float) -> Seen:
        """For whoever goes on."""
        oldest = self.meter.oldest or (now, 0)
        return Seen(
            at=time.time(),
            lasted=now - self._first,
            away=now - self._away_since if self._away_since is not None else 0.0,
            dead=now - self._dead_since if self._dead_since is not None else 0.0,
            still=self.meter.still_for(now),
            measured=now - oldest[0],
            measured_data=oldest[1],
            data=self.seen.data or self.begun.seen.data,
            handed_over=self.handed_over,
            unsupervised=self.unsupervised,
        )

    @property
    def unsupervised(self) -> bool:
        return self.begun.seen.unsupervised or (self.statement is not None and self.statement.unsupervised)

    @property
    def handed_over(self) -> bool:
        return self._handed_over or self.seen.handed_over or self.unsupervised

    def judge(self, session: Session, seen: Progress, now: float) -> bool:
        """Whether it is complete.

        :raises HaError: it failed, or takes too long.
        """
        self._away_since = None
        ours = bool(seen.began) and seen.began != self.begun.before
        if ours:
            self.seen = seen
            self.meter.take(now, seen)
        refused = self.statement.refused if self.statement is not None and self.statement.ended else None
        if refused is not None or (ours and seen.state == FAILED):
            raise self._failed(session, seen if ours else Progress(), refused)
        if ours and seen.state == COMPLETED:
            return True
        alive = ours and seen.state == RUNNING and is_alive(session, seen, within=self.within)
        waits = self.statement is not None and not self.statement.ended
        if alive or waits:
            self._dead_since = None
        elif self._dead_since is None:
            self._dead_since = now
        elif now - self._dead_since > GRACE:
            raise self._failed(session, seen if ours else Progress(), None)
        if now - self._first > self.clone_within:
            raise HaError(
                "clone_timed_out",
                f"{self.name}: the clone from {self.begun.donor} takes longer than {self.clone_within:g} s; it goes on",
                evidence={"member": self.name, "clone": self.seen.as_result()},
                next_step="Run again to wait for it, with a higher clone_timeout; or end it (KILL QUERY of its"
                " connection on that server).",
            )
        return False

    def away(self, error: HaError, now: float) -> None:
        """No answer.

        :raises HaError: for too long.
        """
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since < self.restart_within:
            return
        if self.unsupervised:
            raise no_supervisor(self.name, self.begun.donor)
        raise HaError(
            "not_back_after_clone",
            f"{self.name} did not come back within {self.restart_within:g} s after it was cloned"
            if self.handed_over
            else f"{self.name} has not been heard for {self.restart_within:g} s while it is cloned; that may go on",
            evidence={"member": self.name, "last": error.message, "clone": self.seen.as_result()},
            next_step="Look at its service and error log; where nothing supervises mysqld, start it. Run again when it"
            " is up.",
        )

    def line(self, now: float) -> str:
        if self._away_since is not None:
            away = now - self._away_since
            return clone_progress.away_line(self.name, self.begun.donor, self.handed_over, away, self.unsupervised)
        return clone_progress.line(self.name, self.begun.donor, self.seen, self.meter.rate, self.meter.still_for(now))

    def _failed(self, session: Session, seen: Progress, refused: Optional[StatementFailed]) -> HaError:
        """Close what was opened for it; what is there now is said, not guessed."""
        if self.begun.opened:
            session.execute("SET GLOBAL super_read_only = ON", within=self.within)
        put(session, self.begun.settings, within=self.within)
        lost = seen.has_dropped
        number = refused.errno if refused is not None else seen.error_number
        why = seen.error or (refused.message if refused is not None else "it ended without a word: mysqld was killed")
        left = (
            "What it held was dropped for it: it is empty, and a clone may be tried again without naming it expendable."
            if lost
            else "What it holds was not touched."
        )
        if seen.could_not_drop:
            left = "It could not drop what it held, and some of that may be gone. A prepared XA transaction holds locks"
            left += " through every restart: see XA RECOVER there."
        return HaError(
            "clone_failed",
            f"{self.name}: the clone from {self.begun.donor} failed: {why}. {left}",
            evidence={
                "member": self.name,
                "donor": self.begun.donor,
                "errno": number,
                "dropped": lost,
                "clone": seen.as_result(),
            },
            next_step=_AFTER.get(number, "See the error logs of both servers; then run again."),
        )


_AFTER = {
    3862: "Check the donor and the link; then run again: the donor is chosen anew.",
    3868: "Check plugins, releases and settings of both; then run again.",
    3870: "Install the plugin that is named on the recipient; then run again.",
    3638: "Another clone is at work: wait for its end.",
    1045: "Check the clone account on the donor and its password.",
}


def no_supervisor(name: str, donor: str) -> HaError:
    return HaError(
        "no_supervisor",
        f"{name} was cloned and could not restart itself: nothing supervises its mysqld",
        evidence={"member": name, "errno": NO_SUPERVISOR, "donor": donor},
        next_step="Start mysqld there (it is shut down, its data are complete), then run again: the clone is verified"
        " then. Run it under systemd or set MYSQLD_PARENT_PID, as the packages do.",
    )


def finish(session: Session, begun: Begun, *, within: float) -> Cloned:
    """Verify what the recipient holds, and leave it without a source.

    :raises HaError: ``clone_incomplete``.
    """
    seen = read_progress(session, within=within)
    executed = GtidSet.parse(str(session.one("SELECT @@GLOBAL.gtid_executed AS gtids", within=within)["gtids"]))
    copied = GtidSet.parse(seen.executed)
    lacks = (GtidSet.parse(begun.held) | copied) - executed
    if seen.state != COMPLETED or lacks:
        raise HaError(
            "clone_incomplete",
            f"{session.name}: the clone from {begun.donor} did not bring everything",
            evidence={"member": session.name, "clone": seen.as_result(), "lacks": str(lacks)},
            next_step="See the recipient's error log, then run again.",
        )
    # The donor's replication settings came along, with its account. No relay log did: nothing can be lost here.
    session.execute("RESET REPLICA ALL FOR CHANNEL ''", within=within)
    return Cloned(session, begun.donor, copied, seen.binlog_file, seen.binlog_position, seen.data, seen.network)


def _guard(recipient: Session, server_uuid: str, within: float) -> None:
    row = recipient.one(
        f"SELECT @@GLOBAL.server_uuid AS server_uuid, {SUPER_READ_ONLY} AS super_read_only", within=within
    )
    if str(row["server_uuid"]).lower() != server_uuid:
        raise HaError(
            "another_server",
            f"{recipient.name}: another server answers than the one that was observed",
            evidence={"member": recipient.name, "expected": server_uuid, "seen": row["server_uuid"]},
            next_step="Run again.",
        )
    if not int(row["super_read_only"]):
        raise HaError(
            "server_is_writable",
            f"{recipient.name} is writable and will not be wiped",
            evidence={"member": recipient.name, "super_read_only": "OFF"},
            next_step="Fence it (super_read_only=ON) once you know that it is not the primary, then run again.",
        )
    acknowledging = recipient.query(
        "SELECT VARIABLE_VALUE AS value FROM performance_schema.global_status WHERE VARIABLE_NAME IN"
        " ('Rpl_semi_sync_replica_status', 'Rpl_semi_sync_slave_status') AND VARIABLE_VALUE = 'ON'",
        within=within,
    )
    if acknowledging:
        raise HaError(
            "still_acknowledges",
            f"{recipient.name} acknowledges and will not be wiped: what it holds may be the only copy",
            evidence={"member": recipient.name},
            next_step="Take it out of the term row first (mysql_replication does).",
        )


def _stop_replication(recipient: Session, within: float) -> None:
    """CLONE refuses while a channel is active; its data are about to go anyway."""
    if recipient.query("SHOW REPLICA STATUS", within=within):
        recipient.execute("STOP REPLICA", within=within)
