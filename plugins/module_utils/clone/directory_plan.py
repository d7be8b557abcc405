# SPDX-License-Identifier: BSD-2-Clause
"""Deciding about a clone into a directory on the donor's own host. Pure.

Beside the data lies a record that says whose they are and where they end. A directory counts as a clone only with its
record, and only while it is as large as the record says: somebody may have started a server on it since.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Iterator, Mapping, Optional, Union

from ..refusal import Reason, Refusal
from ..server.state import ServerState
from .plan import LISTED, MARGIN, PACKET, SPARE, CloneFacts
from .progress import size

FORMAT = 1
BEGUN, COMPLETE = "begun", "complete"


@dataclasses.dataclass(frozen=True)
class Place:
    """What lies on this host.

    ``server_uuid``: of the data directory that the donor names; empty when it is not here. ``parent``: the directory
    that the new one is to be in is there. ``exists``: the new one is. ``record``: what lies beside it. ``files``,
    ``bytes``: what is in it. ``free``: bytes left there. ``inside``: it would lie in the donor's own data directory.
    """

    server_uuid: str = ""
    parent: bool = True
    exists: bool = False
    record: Optional[Mapping[str, Any]] = None
    files: int = 0
    bytes: int = 0
    free: int = 0
    inside: bool = False


@dataclasses.dataclass(frozen=True)
class Present:
    """The clone is there, whole, and of that donor."""

    record: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Make:
    """To be done."""

    data: int


@dataclasses.dataclass(frozen=True)
class Join:
    """It is being done: it is waited for."""


def decide(donor: ServerState, facts: CloneFacts, path: str, place: Place) -> Union[Present, Join, Make, Refusal]:
    """What to do about a clone of that server at that path; ``Refusal`` with every reason against it."""
    if place.server_uuid == donor.server_uuid and facts.local_running:
        begun = place.record is not None and place.record.get("state") == BEGUN
        if begun and place.record and place.record.get("donor_uuid") == donor.server_uuid:
            return Join()
    reasons = tuple(_against(donor, facts, path, place))
    if not reasons and place.exists and place.record is not None:
        return Present(place.record)
    return Refusal(reasons) if reasons else Make(facts.data)


def _against(donor: ServerState, facts: CloneFacts, path: str, place: Place) -> Iterator[Reason]:
    name = donor.name
    if place.server_uuid != donor.server_uuid:
        yield Reason(
            "not_on_donors_host",
            f"the data directory of {name} ({facts.variables.get('datadir', '?')}) is not on this host, or can not be"
            " read",
            {"member": name, "expected": donor.server_uuid, "seen": place.server_uuid},
            "Run this on the donor's host, as root (delegate_to, become): the copy and its record are files there.",
        )
    if not path.startswith("/"):
        yield Reason(
            "directory_not_absolute", f"{path} is no absolute path", {"directory": path}, "Give the whole path."
        )
    if place.exists:
        yield from _unlike(donor, path, place)
        return
    if place.inside:
        yield Reason(
            "directory_in_datadir",
            f"{path} lies in the data directory of {name}: the server would take it for a schema of its own",
            {"directory": path},
            "Choose a place outside of it.",
        )
    if not place.parent:
        yield Reason(
            "directory_parent_missing",
            f"the directory that {path} is to be in is not there",
            {"directory": path},
            "Make it; mysqld's user has to be able to write there (and AppArmor or SELinux to let it).",
        )
    if not facts.plugin_active:
        yield Reason(
            "clone_plugin_missing",
            f"the clone plugin of {name} is not active",
            {"member": name},
            "Run the server role on that host: the plugin is loaded by the configuration file.",
        )
    if facts.running or facts.lends or facts.local_running:
        yield Reason(
            "clone_in_progress",
            f"{name} is at work for another clone, and there is one at a time",
            {"member": name},
            "Wait for its end.",
        )
    packet = int(facts.variables.get("max_allowed_packet") or PACKET)
    if packet < PACKET:
        yield Reason(
            "max_allowed_packet_small",
            f"{name}: max_allowed_packet is {packet}, and CLONE needs {PACKET}",
            {"member": name, "max_allowed_packet": packet},
            "Set it to at least 2M there, in the configuration file, too.",
        )
    if facts.not_innodb:
        shown = ", ".join(facts.not_innodb[:LISTED])
        yield Reason(
            "tables_not_innodb",
            f"{name}: {len(facts.not_innodb)} tables are not InnoDB and would come empty: {shown}",
            {"member": name, "tables": list(facts.not_innodb), "count": len(facts.not_innodb)},
            "Convert them (ALTER TABLE ... ENGINE=InnoDB).",
        )
    if facts.wrecked:
        yield Reason(
            "clone_incomplete",
            f"{name} is what a failed clone left: it has no data",
            {"member": name},
            "Choose another donor.",
        )
    needed = int(facts.data * (1 + MARGIN)) + SPARE
    if place.parent and place.free < needed:
        yield Reason(
            "disk_space_short",
            f"{size(place.free)} are free where {path} is to be, and {size(needed)} are needed",
            {"free": place.free, "needed": needed},
            "Make room, or choose another file system.",
        )


def _unlike(donor: ServerState, path: str, place: Place) -> Iterator[Reason]:
    """A directory that is there and is not that clone, whole."""
    record = place.record
    evidence = {"directory": path, "record": dict(record) if record else None, "bytes": place.bytes}
    if record is None:
        yield Reason(
            "directory_not_a_clone",
            f"{path} is there, and no record beside it says that it is a clone",
            evidence,
            "Choose another directory; nothing is deleted here.",
        )
    elif record.get("state") != COMPLETE:
        yield Reason(
            "clone_unfinished",
            f"{path} is what a clone left that did not end",
            evidence,
            "Look at the donor's error log; delete the directory and its record by hand, then run again.",
        )
    elif record.get("donor_uuid") != donor.server_uuid:
        yield Reason(
            "directory_of_another_donor",
            f"{path} is a clone of {record.get('donor')} ({record.get('donor_uuid')}), not of {donor.name}",
            evidence,
            "Choose another directory.",
        )
    elif (record.get("files"), record.get("bytes")) != (place.files, place.bytes):
        yield Reason(
            "clone_changed",
            f"{path} is not as the clone was left: {place.files} files of {place.bytes} bytes, not"
            f" {record.get('files')} of {record.get('bytes')}",
            evidence,
            "A server was started on it, or files were touched: choose another directory.",
        )
