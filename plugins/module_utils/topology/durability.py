# SPDX-License-Identifier: BSD-2-Clause
"""How much may be lost, and how much must be held, so that no acknowledged transaction disappears.

n servers can acknowledge, k acknowledgements are waited for (AFTER_SYNC, no time-out). So an acknowledged transaction
is in at least k of the n relay logs.

Freeze means: the receiver is stopped, so the server can neither receive nor acknowledge more. With R of the n frozen:

*Revocation.* A commit needs k acknowledgements from the n - R that are not frozen. It can not get them exactly when
n - R < k, that is R >= n - k + 1. The old primary is then fenced without being touched.

*Containment.* A set of R and a set of k among n meet whenever R + k > n, that is R >= n - k + 1. So some frozen server
holds any given acknowledged transaction, and the union of what they hold contains all of them. One primary writes one
sequence, so the received sets are ordered and the most advanced server holds the union; the election checks that
instead of trusting it.

Both obligations have the same threshold: ``freeze_required``. Everything that asks "how many" asks this file.
Proof by exhaustion over small n and k: ``tests/unit/topology/test_durability.py``.
"""

from __future__ import annotations

import dataclasses
from typing import Iterable

from ..server.state import Member

LEVELS = ("host", "zone", "city")


def freeze_required(n: int, k: int) -> int:
    """How many acknowledgers must be frozen before anything is promoted.

    With k > n the primary could acknowledge nothing: zero frozen servers would prove that, yet at least one server
    has to be held to be promoted, so the answer is never less than 1.

    :raises ValueError: when n < 1 or k < 1: without an acknowledger, or without waiting, nothing can be proven.
    """
    if n < 1 or k < 1:
        raise ValueError(f"nothing can be proven with n={n}, k={k}")
    return max(n - k + 1, 1)


def locks_required(n: int, k: int) -> int:
    """How many acknowledgers' advisory locks keep two runs apart: enough to freeze, and more than half."""
    return max(freeze_required(n, k), n // 2 + 1)


@dataclasses.dataclass(frozen=True)
class LevelStatement:
    """What the loss of the primary's host, zone or city means.

    ``lost_acknowledgers``: those that go down with it. ``may_be_lost``: how many of the n may be lost with the primary
    and the rest still prove that nothing acknowledged is missing (k - 1). ``survived``: the first is at most the
    second. ``k_required``: the smallest k that would survive it; ``possible``: that k still leaves enough
    acknowledgers (k <= n) for writes before the loss.
    """

    level: str
    lost_acknowledgers: tuple[str, ...]
    may_be_lost: int
    survived: bool
    k_required: int
    possible: bool


@dataclasses.dataclass(frozen=True)
class DurabilityStatement:
    """The answer to "what may die": for k of n and the places of the members."""

    n: int
    k: int
    freeze_required: int
    may_be_lost_with_primary: int
    writes_continue_with: int
    acknowledgement: str
    levels: tuple[LevelStatement, ...]

    def level(self, name: str) -> LevelStatement:
        return next(statement for statement in self.levels if statement.level == name)


def sentences(statement: DurabilityStatement) -> list[str]:
    """The statement for a person."""
    lines = [f"k={statement.k} of n={statement.n} acknowledgements, on {statement.acknowledgement}"]
    for level in statement.levels:
        answer = "survived without loss" if level.survived else f"not survived (needs k={level.k_required})"
        lines.append(f"loss of the primary's {level.level}: {answer}")
    return lines


def _inside(level: str, primary: Member, acknowledgers: Iterable[Member]) -> tuple[str, ...]:
    """The acknowledgers that go down with the primary's host, zone or city.

    Places nest: a zone is named inside its city. An unnamed place is one place: who did not say that two servers are
    apart may not count on it.
    """
    if level == "host":
        return tuple(m.name for m in acknowledgers if m.host == primary.host)
    if level == "zone":
        return tuple(m.name for m in acknowledgers if (m.city, m.zone) == (primary.city, primary.zone))
    return tuple(m.name for m in acknowledgers if m.city == primary.city)


def state(
    primary: Member, acknowledgers: Iterable[Member], k: int, acknowledgement: str = "disk"
) -> DurabilityStatement:
    """What the cluster survives without loss, per disaster level.

    A level with a acknowledgers inside it is survived exactly when the n - a others still reach ``freeze_required``:
    n - a >= n - k + 1, that is k > a.
    """
    others = tuple(acknowledgers)
    n = len(others)
    required = freeze_required(n, k) if n and k else 0
    levels = []
    for level in LEVELS:
        inside = _inside(level, primary, others)
        k_required = len(inside) + 1
        levels.append(
            LevelStatement(
                level=level,
                lost_acknowledgers=inside,
                may_be_lost=max(min(k, n) - 1, 0),
                survived=bool(n and 1 <= k <= n and k > len(inside)),
                k_required=k_required,
                possible=k_required <= n,
            )
        )
    return DurabilityStatement(
        n=n,
        k=k,
        freeze_required=required,
        may_be_lost_with_primary=max(min(k, n) - 1, 0),
        writes_continue_with=k,
        acknowledgement=acknowledgement,
        levels=tuple(levels),
    )
