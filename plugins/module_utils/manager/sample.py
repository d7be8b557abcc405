# SPDX-License-Identifier: BSD-2-Clause
"""What a member said in one tick, or that it said nothing, as values. ``question.py`` makes them of the server's row.

Pure.
"""

from __future__ import annotations

import dataclasses
from typing import Optional

from ..server.state import FAILED, LOGIN_FAILED, NOT_SUPPORTED, ON, TLS_FAILED, TermRow


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a member said in one tick.

    ``asked_at`` and ``answered_at`` by the manager's monotonic clock: what is said here was true at some moment between
    them. ``clock`` is the server's own, in seconds since the epoch. ``term`` is None where there is no term row.
    ``beat_sequence`` is that of the primary's heartbeat row as this member has it; -1 when it has none.
    ``receiver`` is ON, CONNECTING or OFF, and empty where no replication is configured. The counters of the source side
    (``clients`` to ``no_tx``) and ``uptime`` are None where that side is off.
    """

    name: str
    asked_at: float
    answered_at: float
    server_uuid: str
    writable: bool
    offline: bool = False
    clock: float = 0.0
    term: Optional[TermRow] = None
    beat_term: int = 0
    beat_sequence: int = -1
    beat_written_at: float = 0.0
    receiver: str = ""
    source_uuid: str = ""
    heartbeats: int = 0
    last_queued: str = ""
    queueing: str = ""
    error_number: int = 0
    error: str = ""
    relay_bytes: int = 0
    source_enabled: bool = False
    wait_count: int = 0
    replica_enabled: bool = False
    source_active: bool = False
    clients: Optional[int] = None
    wait_sessions: Optional[int] = None
    no_tx: Optional[int] = None
    uptime: Optional[int] = None

    @property
    def progress(self) -> tuple[str, int, str, str, int]:
        """What changes whenever this member hears its source."""
        return (self.source_uuid, self.heartbeats, self.last_queued, self.queueing, self.relay_bytes)

    @property
    def beat(self) -> tuple[int, int]:
        """What changes whenever the primary has committed its heartbeat (on a replica: and it was applied)."""
        return (self.beat_term, self.beat_sequence)

    def attached_to(self, server_uuid: str) -> bool:
        """Whether the receiver believes to be connected to that server."""
        return self.receiver == ON and self.source_uuid == server_uuid


@dataclasses.dataclass(frozen=True)
class Silence:
    """A member that gave no sample in one tick. ``kind`` as in ``server/state.NoAnswer``; times monotonic."""

    name: str
    asked_at: float
    answered_at: float
    kind: str
    message: str
    errno: int = 0

    @property
    def alive(self) -> bool:
        """Something that speaks MySQL answered: this is no evidence of death."""
        return self.kind in (LOGIN_FAILED, TLS_FAILED, NOT_SUPPORTED, FAILED)
