# SPDX-License-Identifier: BSD-2-Clause
"""The steps of convergence: one effect each, so that a run may be killed between any two of them.

A step names the server (``name``, ``server_uuid``) on which it acts; the doer checks on that very connection that it is
still that server. ``sentence`` is what a person reads.
"""

from __future__ import annotations

import dataclasses
from typing import Union

from ..gtid import GtidSet
from ..server.state import TermRow


@dataclasses.dataclass(frozen=True)
class OpenForAdministration:
    """super_read_only off, read_only on: our account may write, applications may not."""

    name: str
    server_uuid: str

    @property
    def sentence(self) -> str:
        return f"let only the administrator write on {self.name}"


@dataclasses.dataclass(frozen=True)
class CreateSchema:
    name: str
    server_uuid: str

    @property
    def sentence(self) -> str:
        return f"create the schema lossless_ha on {self.name}"


@dataclasses.dataclass(frozen=True)
class Disarm:
    """Source side off, on a server that is not the primary and where no client waits: ON blocks its applier."""

    name: str
    server_uuid: str

    @property
    def sentence(self) -> str:
        return f"switch the source side of semi-sync off on {self.name}: it is not the primary"


@dataclasses.dataclass(frozen=True)
class StopAcknowledging:
    """Replica side off, and the receiver restarted: a running one goes on acknowledging."""

    name: str
    server_uuid: str
    why: str
    restart: bool = True

    @property
    def sentence(self) -> str:
        return f"{self.name} stops acknowledging: {self.why}"


@dataclasses.dataclass(frozen=True)
class LockOut:
    """On the primary: lock replication accounts and end their dump threads. Only unclaimed accounts."""

    name: str
    server_uuid: str
    accounts: tuple[str, ...]
    members: tuple[str, ...]

    @property
    def sentence(self) -> str:
        return f"lock {', '.join(self.accounts)} on {self.name}, so that {', '.join(self.members)} cannot acknowledge"


@dataclasses.dataclass(frozen=True)
class Readmit:
    name: str
    server_uuid: str
    account: str
    member: str

    @property
    def sentence(self) -> str:
        return f"unlock {self.account} on {self.name}, so that {self.member} can follow"


@dataclasses.dataclass(frozen=True)
class Clone:
    """Replace all data of a server by a donor's. ``wipes``: what is thrown away for it, empty for an empty server."""

    name: str
    server_uuid: str
    donor: str
    donor_uuid: str
    donor_host: str
    donor_port: int
    wipes: str = ""

    @property
    def sentence(self) -> str:
        lost = f", throwing away {self.wipes} (it is named expendable)" if self.wipes else ""
        return f"clone {self.name} from {self.donor}{lost}"


@dataclasses.dataclass(frozen=True)
class Repoint:
    name: str
    server_uuid: str
    primary: str
    user: str
    acknowledge: bool
    why: str

    @property
    def sentence(self) -> str:
        return f"{self.name} follows {self.primary} as {self.user}: {self.why}"


@dataclasses.dataclass(frozen=True)
class GoOnline:
    """offline_mode off, on a fenced server that is read-only: a replica once it follows, the primary before anybody can
    follow it."""

    name: str
    server_uuid: str
    primary: str

    @property
    def sentence(self) -> str:
        why = "it is the primary" if self.name == self.primary else f"it follows {self.primary}"
        return f"lift the fence of {self.name} (offline_mode off): {why}"


@dataclasses.dataclass(frozen=True)
class StartThreads:
    name: str
    server_uuid: str
    what: str

    @property
    def sentence(self) -> str:
        return f"start the {self.what} on {self.name}"


@dataclasses.dataclass(frozen=True)
class StopThreads:
    """Applier and receiver off. ``clients``: how many acknowledgers must be attached to the primary, this one counted,
    so that its commits go on without it; 0 when nobody counts on it."""

    name: str
    server_uuid: str
    primary: str
    clients: int = 0

    @property
    def sentence(self) -> str:
        return f"stop the receiver and the applier on {self.name}"


@dataclasses.dataclass(frozen=True)
class WaitVerified:
    """It was rewound, and its own host compares it with the primary."""

    name: str
    server_uuid: str
    primary: str

    @property
    def sentence(self) -> str:
        return f"wait until {self.name}, which was rewound, is found equal to {self.primary}"


@dataclasses.dataclass(frozen=True)
class WaitConnected:
    name: str
    server_uuid: str
    primary: str

    @property
    def sentence(self) -> str:
        return f"wait until {self.name} is connected to {self.primary}"


@dataclasses.dataclass(frozen=True)
class WaitReceived:
    """Wait until a replica holds what the primary has executed now: before that its ACK only delays commits.

    ``applied``: until it has executed it, too: before that a failover to it would take as long.
    """

    name: str
    server_uuid: str
    primary: str
    gtids: GtidSet
    applied: bool = False

    @property
    def sentence(self) -> str:
        how = "applied" if self.applied else "received"
        return f"wait until {self.name} has {how} what {self.primary} has committed"


@dataclasses.dataclass(frozen=True)
class Acknowledge:
    """Replica side on, and the receiver restarted. Only for a registered server, or before anybody is registered."""

    name: str
    server_uuid: str

    @property
    def sentence(self) -> str:
        return f"{self.name} acknowledges"


@dataclasses.dataclass(frozen=True)
class Arm:
    """The whole source side on the primary: k, no time-out, AFTER_SYNC, and on."""

    name: str
    server_uuid: str
    k: int

    @property
    def sentence(self) -> str:
        return (
            f"{self.name} waits for {self.k} acknowledgement{'s' if self.k != 1 else ''}, AFTER_SYNC, without time-out"
        )


@dataclasses.dataclass(frozen=True)
class WriteTerm:
    """Append a term row, once the holders have received everything the primary has committed.

    ``row.no_tx_base`` is what was observed; the doer reads the counter before and after that wait, and writes only if
    it stood still. ``holders``: names; those of ``row`` that must hold everything.
    """

    name: str
    server_uuid: str
    row: TermRow
    holders: tuple[str, ...]
    what: str

    @property
    def sentence(self) -> str:
        return (
            f"once {', '.join(self.holders)} received all that {self.name} committed, write"
            f" term {self.row.term}.{self.row.revision}: {self.what}"
        )


@dataclasses.dataclass(frozen=True)
class AllowWrites:
    name: str
    server_uuid: str

    @property
    def sentence(self) -> str:
        return f"{self.name} takes writes"


Step = Union[
    OpenForAdministration,
    CreateSchema,
    Disarm,
    StopAcknowledging,
    LockOut,
    Readmit,
    Clone,
    Repoint,
    GoOnline,
    StartThreads,
    StopThreads,
    WaitConnected,
    WaitVerified,
    WaitReceived,
    Acknowledge,
    Arm,
    WriteTerm,
    AllowWrites,
]
