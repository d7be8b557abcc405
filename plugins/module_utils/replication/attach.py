# SPDX-License-Identifier: BSD-2-Clause
"""Letting one server follow the primary that nobody counts on yet: just cloned, not registered. Pure.

It neither acknowledges nor becomes a candidate by this: its replica side stays off, and no row names it. A convergence
registers it, or ``mysql_member`` brings it back. The stages are those of a convergence (``plan.Look``).
"""

from __future__ import annotations

import functools
from typing import Optional

from ..errors import defect
from ..refusal import Refusal
from ..server.state import ServerState
from . import refusals
from .plan import Decide, Decision, Look, Settled
from .situation import Situation, Wish, find_primary


def attaching(name: str) -> Decide:
    """The plan that lets that member follow."""
    return functools.partial(next_step, name)


def next_step(name: str, situation: Situation, wish: Wish) -> Decision:
    """As ``plan.next_step``. Of ``wish`` count the members and how replicas log in."""
    primary = find_primary(situation, wish)
    reasons = list(refusals.of_primary(situation, wish, primary))
    state = situation.state(name)
    if state is None:
        raise defect("a member that was just cloned does not answer")
    if primary is None:
        return Refusal(tuple(reasons)) if reasons else Settled("")
    own = situation.state(primary.name)
    if not reasons and own is not None:
        reasons += refusals.of_replica(situation, wish, state, own)
    if reasons:
        return Refusal(tuple(reasons))
    return _AttachLook(situation, wish, primary).of(state)


class _AttachLook(Look):
    def of(self, state: ServerState) -> Decision:
        decision = (
            self._hygiene_of(state)
            or self._attach([state], last=True)
            or self._connect([state], 1)
            or self._lift_fences([state])
        )
        return decision or Settled(self.primary.name)

    def _to_be_cloned(self, state: ServerState) -> Optional[str]:
        """It was; nobody's data are replaced here."""
        return None
