# SPDX-License-Identifier: BSD-2-Clause
"""What is known of a replica before its data are looked at. Pure: the servers' states in, findings out.

Each finding keeps the run from passing. Some say that nothing can be compared there; the others do not stop anything.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Iterator, Optional

from ..gtid import GtidSet
from ..server.state import ON, Answer, NoAnswer, ServerState
from . import findings
from .masked import masked


@dataclasses.dataclass(frozen=True)
class ServerFinding:
    """Something about a whole replica. ``stops``: its tables can not be compared, and get the same verdict."""

    replica: str
    verdict: str
    code: str
    why: str
    next_step: str
    stops: bool = False

    def as_result(self) -> dict[str, Any]:
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "stops"}


def look(primary: ServerState, name: str, replica: Answer, *, live: bool = True) -> tuple[ServerFinding, ...]:
    """What keeps this replica from being called the same as the primary, whatever its tables hold.

    :param live: tables are compared while both servers go on.
    """
    if isinstance(replica, NoAnswer):
        return (ServerFinding(name, findings.ERROR, "no_answer", replica.message, replica.next_step, stops=True),)
    return tuple(_of_a_replica(primary, name, replica, live))


def _of_a_replica(primary: ServerState, name: str, replica: ServerState, live: bool) -> Iterator[ServerFinding]:
    if replica.server_uuid == primary.server_uuid:
        # By another address, perhaps: every row would be the same.
        yield ServerFinding(
            name,
            findings.ERROR,
            "same_server",
            f"it is the same server as {primary.name}",
            "Correct its address.",
            stops=True,
        )
        return
    written = primary.settings.get("binlog_format", "ROW").upper()
    if live and written != "ROW":
        yield ServerFinding(
            name,
            findings.ERROR,
            "not_row_format",
            f"{primary.name} writes binlog_format={written}: a row that differs may look the same while it is changed",
            "Set binlog_format=ROW; or compare by snapshot.",
        )
    extra = errant(primary, replica)
    if extra:
        yield ServerFinding(
            name,
            findings.DIFFERENT,
            "errant_transactions",
            f"it has {extra}, which {primary.name} lacks",
            "Archive them (mysql_binlog_archive), look at their rows, and bring the server back (playbook rejoin).",
        )
    applier = replica.applier
    if applier is not None and applier.filtered:
        yield ServerFinding(
            name,
            findings.DIFFERENT,
            "replication_filters",
            "it applies only some of what it receives (replication filters)",
            "Take the filters away, and clone it: what they left out does not come back.",
        )
    stopped = _stopped(primary, replica)
    if stopped is not None:
        yield dataclasses.replace(stopped, replica=name)


def errant(primary: ServerState, replica: ServerState) -> GtidSet:
    """What only the replica has, but for what began on the primary: that was committed since the primary was asked."""
    extra = replica.executed - primary.executed
    return extra - extra.of([primary.server_uuid])


def _stopped(primary: ServerState, replica: ServerState) -> Optional[ServerFinding]:
    """It can not catch up, unless it has everything already (a restored instance that replicates from nobody)."""
    applier, receiver = replica.applier, replica.receiver
    behind = primary.executed - replica.executed
    if not behind:
        return None
    if receiver is None or not receiver.source_uuid:
        what = "it replicates from nobody"
        step = "Let it replicate from the primary; until then nothing of it can be compared."
    elif receiver.state != ON and receiver.source_uuid:
        what = "its receiver does not run"
        step = "See why (SHOW REPLICA STATUS), and start it."
    elif applier is None or applier.state != ON:
        said = f": {masked(applier.error)} ({applier.error_number})" if applier and applier.error else ""
        what = f"its applier does not run{said}"
        step = "See why its applier stopped; nothing is skipped."
    else:
        return None
    return ServerFinding("", findings.LAGGING, "replica_stands_still", f"{what}; it lacks {behind}", step, stops=True)
