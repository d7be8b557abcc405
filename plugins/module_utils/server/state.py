# SPDX-License-Identifier: BSD-2-Clause
"""What one server says of itself at one moment, as values.

``server/read.py`` fills these from a session; everything that decides takes them as input. Times are seconds since the
epoch by the clock that the field names; durations are seconds unless the name ends in ``_ms``.
"""

from __future__ import annotations

import dataclasses
from typing import Mapping, Optional, Union

from ..gtid import EMPTY, GtidSet

ON = "ON"
CONNECTING = "CONNECTING"
OFF = "OFF"


@dataclasses.dataclass(frozen=True)
class Member:
    """A server of the cluster, as configured or as registered in the term row.

    ``port`` is where the collection connects (the admin port); ``replication_port`` is where replicas and clients do.
    ``server_uuid`` is empty until the server was seen. ``acknowledges`` says that its ACK counts once it is a replica.
    ``out``: why a person took it out of service, empty while it is in service; only a term row says so.
    """

    name: str
    host: str
    port: int = 33062
    replication_port: int = 3306
    zone: str = ""
    city: str = ""
    priority: int = 100
    server_uuid: str = ""
    acknowledges: bool = True
    out: str = ""


@dataclasses.dataclass(frozen=True)
class Receiver:
    """The thread of a replica that fetches and acknowledges (default channel).

    ``state`` is ON, CONNECTING or OFF. ``retrieved`` is RECEIVED_TRANSACTION_SET. The three times come from two
    clocks: ``last_heartbeat_at`` and ``last_queued_at`` from this server's, ``last_queued_committed_at`` from the
    clock of the server where the transaction was committed first; 0.0 means never.
    """

    state: str
    source_host: str = ""
    source_port: int = 0
    source_uuid: str = ""
    user: str = ""
    retrieved: GtidSet = EMPTY
    auto_position: bool = False
    ssl: bool = False
    ssl_verify: bool = False
    connect_retry: int = 60
    heartbeat_period: float = 0.0
    heartbeats: int = 0
    last_heartbeat_at: float = 0.0
    last_queued_at: float = 0.0
    last_queued_committed_at: float = 0.0
    error_number: int = 0
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Applier:
    """The threads of a replica that execute what was received (default channel). ``delay`` in seconds."""

    state: str
    delay: int = 0
    error_number: int = 0
    error: str = ""
    filtered: bool = False


@dataclasses.dataclass(frozen=True)
class SemiSync:
    """Both sides of semi-synchronous replication. ``installed`` is false when the plugin of that side is missing."""

    source_installed: bool = False
    source_enabled: bool = False
    source_active: bool = False
    clients: int = 0
    wait_count: int = 0
    timeout_ms: int = 0
    wait_point: str = ""
    wait_no_replica: bool = False
    no_tx: int = 0
    yes_tx: int = 0
    wait_sessions: int = 0
    replica_installed: bool = False
    replica_enabled: bool = False
    replica_active: bool = False


@dataclasses.dataclass(frozen=True)
class TermRow:
    """The row of ``lossless_ha.term`` in force: who is primary, who may acknowledge, how many are waited for.

    ``no_tx_base`` is the primary's counter of unacknowledged commits that was proven harmless when it was armed.
    ``proof`` is ``proven`` or ``unproven``: how this term came about.
    """

    revision: int
    term: int
    primary_uuid: str
    members: tuple[Member, ...]
    k: int
    wait_point: str = "AFTER_SYNC"
    acknowledgement: str = "disk"
    no_tx_base: int = 0
    proof: str = "proven"
    run_id: str = ""
    reason: str = ""
    written_at: float = 0.0

    @property
    def acknowledgers(self) -> tuple[Member, ...]:
        """The members whose ACK counts in this term: registered, and not the primary itself."""
        return tuple(m for m in self.members if m.acknowledges and m.server_uuid != self.primary_uuid)

    @property
    def n(self) -> int:
        return len(self.acknowledgers)

    @property
    def out_of_service(self) -> Mapping[str, str]:
        """The servers that a person took out of service, by server_uuid, and why."""
        return {m.server_uuid: m.out for m in self.members if m.out and m.server_uuid != self.primary_uuid}


@dataclasses.dataclass(frozen=True)
class Heartbeat:
    """One row of ``lossless_ha.heartbeat``: what a primary said of itself in a commit. ``written_at`` by its clock."""

    server_uuid: str
    term: int
    sequence: int
    written_at: float
    source_active: bool
    no_tx: int
    wait_count: int
    wait_point: str
    timeout_ms: int
    clients: int
    wait_no_replica: bool


PENDING, VERIFIED, DIFFERENT, TO_BE_CLONED = "pending", "verified", "different", "to_be_cloned"


@dataclasses.dataclass(frozen=True)
class Rejoin:
    """A row of ``rejoin``: how a deposed server returned. Unless its newest row says ``verified``, it neither
    acknowledges nor is a candidate.

    :param state: ``pending`` (rewound, not yet compared), ``verified``, ``different`` (compared, and not the same) or
        ``to_be_cloned`` (not rewound).
    :param gtids: what only that server had; ``archive``: where its events are, on its own host.
    """

    server_uuid: str
    term: int
    state: str
    gtids: str
    archive: str
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class ServerState:
    """One server's answer. ``settings`` holds the raw values of the variables that ``server/settings.py`` asserts.

    ``clock`` is the server's NOW(6); ``asked_at``/``answered_at`` are the observer's monotonic clock around the
    reading, so that a value's age is known.
    """

    name: str
    server_uuid: str
    server_id: int
    version: str
    executed: GtidSet
    purged: GtidSet = EMPTY
    version_comment: str = ""
    read_only: bool = False
    super_read_only: bool = False
    """In force: see ``dialect.SUPER_READ_ONLY``."""
    offline_mode: bool = False
    uptime: int = 0
    clock: float = 0.0
    receiver: Optional[Receiver] = None
    applier: Optional[Applier] = None
    channels: tuple[str, ...] = ()
    semi_sync: SemiSync = SemiSync()
    term: Optional[TermRow] = None
    heartbeats: tuple[Heartbeat, ...] = ()
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    asked_at: float = 0.0
    answered_at: float = 0.0

    @property
    def writable(self) -> bool:
        """Not read-only. Offline, it takes writes of administrators alone: ``fenced``."""
        return not (self.read_only or self.super_read_only)

    @property
    def fenced(self) -> bool:
        """Offline: nobody but administrators gets in, and nobody can follow it."""
        return self.offline_mode

    @property
    def received(self) -> GtidSet:
        """Everything this server holds: executed, and received but not yet executed."""
        return self.executed | self.receiver.retrieved if self.receiver else self.executed

    @property
    def lacks_applied(self) -> GtidSet:
        """Received and not yet executed."""
        return self.receiver.retrieved - self.executed if self.receiver else EMPTY

    @property
    def other_channels(self) -> tuple[str, ...]:
        """Channels besides the default one. Nothing here reads what they receive, or whom they acknowledge it to."""
        return tuple(name for name in self.channels if name)

    def follows(self, server_uuid: str) -> bool:
        """Whether this server's receiver is attached, or tries to attach, to that server."""
        return bool(self.receiver and self.receiver.state != OFF and self.receiver.source_uuid == server_uuid)


REFUSED = "refused"
TIMED_OUT = "timed_out"
UNREACHABLE = "unreachable"
LOGIN_FAILED = "login_failed"
TLS_FAILED = "tls_failed"
NOT_SUPPORTED = "not_supported"
FAILED = "failed"

NEXT_STEP: Mapping[str, str] = {
    REFUSED: "Check that mysqld runs there and listens on the admin address and port.",
    TIMED_OUT: "The host or its network does not answer: check both; nothing was changed there.",
    UNREACHABLE: "Check the name, the address and the route.",
    LOGIN_FAILED: "Check the account, its password and the host it may connect from.",
    TLS_FAILED: "Check the certificate's dates and names and the CA file.",
    NOT_SUPPORTED: "Use MySQL 8.0.26 or later.",
    FAILED: "See the server's error log; it may have no connection left.",
}
"""What a person does about a server that did not answer, by the kind of its silence."""


@dataclasses.dataclass(frozen=True)
class NoAnswer:
    """A server that did not answer, and what is known of why.

    ``kind``: ``refused`` (the host answers, nothing listens), ``timed_out`` (hung, or cut off), ``unreachable`` (no
    route, unknown name), ``login_failed``, ``tls_failed``, ``not_supported`` (no MySQL this collection serves),
    ``failed`` (it answered with some other error).
    """

    name: str
    kind: str
    message: str
    errno: int = 0
    asked_at: float = 0.0
    answered_at: float = 0.0

    @property
    def alive(self) -> bool:
        """Something that speaks MySQL answered: this is no evidence of death."""
        return self.kind in (LOGIN_FAILED, TLS_FAILED, NOT_SUPPORTED, FAILED)

    @property
    def next_step(self) -> str:
        return NEXT_STEP[self.kind]


Answer = Union[ServerState, NoAnswer]


@dataclasses.dataclass(frozen=True)
class Observation:
    """All members, asked at once. ``started`` monotonic, ``wall`` epoch seconds, ``elapsed`` seconds."""

    members: tuple[Member, ...]
    answers: Mapping[str, Answer]
    started: float = 0.0
    wall: float = 0.0
    elapsed: float = 0.0

    @property
    def states(self) -> dict[str, ServerState]:
        return {name: answer for name, answer in self.answers.items() if isinstance(answer, ServerState)}

    @property
    def silent(self) -> dict[str, NoAnswer]:
        return {name: answer for name, answer in self.answers.items() if isinstance(answer, NoAnswer)}

    @property
    def next_step(self) -> str:
        """What a person does about the members that did not answer: each thing once."""
        return " ".join(dict.fromkeys(answer.next_step for answer in self.silent.values()))

    def by_uuid(self, server_uuid: str) -> Optional[ServerState]:
        return next((s for s in self.states.values() if s.server_uuid == server_uuid), None)

    def member(self, name: str) -> Member:
        return next(m for m in self.members if m.name == name)

    @property
    def term(self) -> Optional[TermRow]:
        """The newest term row that any server that answered holds."""
        rows = [s.term for s in self.states.values() if s.term]
        return max(rows, key=lambda row: (row.term, row.revision), default=None)
