# SPDX-License-Identifier: BSD-2-Clause
"""Which members may be counted again, without anybody asking: deposed servers that came back by themselves. Pure.

A server that was replaced stands in the term row and does not count. Its own host brings it back: rewound where that
was needed, attached to the primary, compared. What is left is to register it, so that n is what it was. That is done
only for a member that nobody took out of service and that is to acknowledge by the configuration.
"""

from __future__ import annotations

from typing import Mapping, Sequence

from ..server.state import Member, TermRow
from .sample import Sample
from .verdict import Answer

FIRST, LONGEST = 2.0, 120.0
"""Seconds until it is tried again after it was refused; doubled each time up to the longest."""


def returned(term: TermRow, answers: Mapping[str, Answer], members: Sequence[Member]) -> tuple[str, ...]:
    """The members that follow the primary, are not counted, and are meant to be; by name."""
    wanted = {member.name for member in members if member.acknowledges}
    by_uuid = {member.server_uuid: member for member in term.members}
    found = []
    for name, answer in answers.items():
        if not isinstance(answer, Sample) or name not in wanted or answer.server_uuid == term.primary_uuid:
            continue
        entry = by_uuid.get(answer.server_uuid)
        if entry is None or entry.acknowledges or entry.out:
            continue
        if answer.attached_to(term.primary_uuid) and not answer.writable and not answer.offline:
            found.append(name)
    return tuple(sorted(found))


def pause(refused: int) -> float:
    """Seconds until the next attempt after so many that were refused."""
    return min(FIRST * 2.0 ** max(refused - 1, 0), LONGEST)
