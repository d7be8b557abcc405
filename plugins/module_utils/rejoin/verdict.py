# SPDX-License-Identifier: BSD-2-Clause
"""What the peers' answers say of a server that wants to start after it did not end by itself. Pure.

Every promotion that was completed stands in a term row that at least two servers hold besides the one that was
deposed: the new primary, and an acknowledger of it. So when all peers but one have answered, and none of them names
another primary, there is none. And because a failover may be about to begin just then, that is believed only after a
while: what crash recovery commits at a start can only be removed by a clone afterwards.
"""

from __future__ import annotations

import dataclasses
from typing import Optional, Union

from ..refusal import Reason
from ..server.state import OFF, Observation, ServerState, TermRow


@dataclasses.dataclass(frozen=True)
class Patience:
    """Seconds. ``whole``: until the server is started whatever is known. ``settle``: for a failover to show itself."""

    whole: float = 30.0
    settle: float = 3.0


@dataclasses.dataclass(frozen=True)
class Again:
    """Ask again: ``why`` nothing is decided yet."""

    why: str


@dataclasses.dataclass(frozen=True)
class StillPrimary:
    """Nobody was promoted instead. ``term``: None when no server has a term row, so nothing is promised yet."""

    term: Optional[TermRow]


@dataclasses.dataclass(frozen=True)
class Replica:
    """Another server is primary, and answers."""

    term: TermRow
    primary: ServerState


@dataclasses.dataclass(frozen=True)
class Unknown:
    """It could not be found out in time."""

    reason: Reason


Verdict = Union[Again, StillPrimary, Replica, Unknown]


def judge(own_uuid: str, heard: Observation, *, waited: float, patience: Patience) -> Verdict:
    """What the last look at the peers says.

    :param heard: the other members, without the server itself.
    :param waited: seconds since the first look.
    """
    term = heard.term
    states = heard.states
    if not heard.answers:
        return StillPrimary(None)  # it has no peers
    if term is not None and term.primary_uuid != own_uuid:
        primary = heard.by_uuid(term.primary_uuid)
        if primary is not None and primary.term == term:
            return Replica(term, primary)
        return _or_unknown(
            "successor_does_not_answer",
            f"the primary of term {term.term} does not answer",
            "Start it, or fail over; then run mysql_rejoin here.",
            heard,
            waited,
            patience,
        )
    enough = max(1, len(heard.answers) - 1)
    if len(states) < enough:
        return _or_unknown(
            "too_few_peers_answer",
            f"{len(states)} of {len(heard.answers)} peers answer, {enough} have to"
            + "".join(f"; {answer.message}" for answer in heard.silent.values()),
            f"{heard.next_step} Then run mysql_rejoin here.",
            heard,
            waited,
            patience,
        )
    frozen = sorted(s.name for s in states.values() if s.receiver and s.receiver.state == OFF)
    if term is not None and frozen:
        # Stopped receivers are a failover at work; they may as well be a replica under repair.
        return (
            Again(f"{', '.join(frozen)} do not receive: a failover may be at work")
            if (waited < patience.whole)
            else StillPrimary(term)
        )
    if term is not None and waited < patience.settle:
        return Again("no other primary yet; a failover may be about to begin")
    return StillPrimary(term)


def _or_unknown(
    code: str, message: str, next_step: str, heard: Observation, waited: float, patience: Patience
) -> Verdict:
    if waited < patience.whole:
        return Again(message)
    silent = {name: answer.message for name, answer in heard.silent.items()}
    return Unknown(
        Reason(
            code, f"{message} within {patience.whole:g} s", {"silent": silent, "waited": round(waited, 1)}, next_step
        )
    )
