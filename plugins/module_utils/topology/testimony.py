# SPDX-License-Identifier: BSD-2-Clause
"""What the primary said of its semi-sync before it went silent, and whether that was still fresh.

The heartbeat row is written by the primary and holds its own semi-sync state; it reaches the replicas like any other
transaction. So after the primary's death the survivors know whether it still waited for acknowledgements. A row that
is older than the last thing heard of the primary testifies nothing about the time in between: that is how a keeper
that stopped, or semi-sync that was switched off, is seen.

Freshness is measured twice, each time within one clock, so clocks that disagree do no harm:

* by the primary's clock: from the row's ``written_at`` to the commit time of the last transaction received;
* by the replica's clock: from the arrival of that last transaction to the last (replication) heartbeat heard.

Pure.
"""

from __future__ import annotations

import dataclasses
from typing import Optional, Sequence

from ..server.settings import MAXIMUM_TIMEOUT_MS
from ..server.state import Heartbeat, ServerState, TermRow

FRESH_WITHIN = 3.0
"""Seconds; six missed heartbeats of the keeper's default interval."""

SMALLEST_TIMEOUT_MS = 86_400_000
"""A day. Below that, semi-sync could have given up waiting by itself while nobody looked."""


@dataclasses.dataclass(frozen=True)
class Testimony:
    """``holds``: semi-sync had not degraded as far as was heard. ``reasons``: codes of what is wrong, none if it holds.

    ``gap_primary``/``gap_replica``: the two measured gaps, in seconds.
    """

    holds: bool
    reasons: tuple[str, ...]
    heartbeat: Optional[Heartbeat] = None
    heard_by: str = ""
    gap_primary: float = 0.0
    gap_replica: float = 0.0


def judge(
    term: TermRow, elected: ServerState, witnesses: Sequence[ServerState], *, fresh_within: float = FRESH_WITHIN
) -> Testimony:
    """Weigh the last heartbeat of the term's primary.

    :param elected: the server to be promoted, all it received applied, so that its heartbeat table is complete.
    :param witnesses: frozen servers; the freshness is taken from those that received as much as the elected one.
    """
    beat = next((b for b in elected.heartbeats if b.server_uuid == term.primary_uuid), None)
    if beat is None:
        return Testimony(False, ("semi_sync_unobserved",))
    reasons = list(degraded(term, beat))
    heard = [
        s
        for s in witnesses
        if s.receiver
        and s.receiver.source_uuid == term.primary_uuid
        and s.receiver.last_queued_at
        and elected.received <= s.received
    ]
    if not heard:
        return Testimony(False, (*reasons, "semi_sync_unobserved"), beat)
    gaps = []
    for witness in heard:
        receiver = witness.receiver
        if receiver is None:
            raise AssertionError("only a witness with a receiver is heard")
        gap_primary = receiver.last_queued_committed_at - beat.written_at
        gap_replica = max(receiver.last_heartbeat_at - receiver.last_queued_at, 0.0)
        gaps.append((max(gap_primary, gap_replica), gap_primary, gap_replica, witness.server_uuid))
    # Any witness that heard the primary long after the last row shows that the row was stale: the worst gap counts.
    worst, gap_primary, gap_replica, uuid = max(gaps)
    if worst > fresh_within:
        reasons.append("semi_sync_unobserved")
    return Testimony(not reasons, tuple(reasons), beat, uuid, round(gap_primary, 3), round(gap_replica, 3))


def degraded(term: TermRow, beat: Heartbeat) -> Sequence[str]:
    """What the row itself says against semi-sync: codes; none when it says nothing."""
    reasons = []
    if beat.term != term.term:
        reasons.append("semi_sync_testimony_of_another_term")
    if not beat.source_active:
        reasons.append("semi_sync_was_off")
    if beat.no_tx > term.no_tx_base:
        reasons.append("semi_sync_had_degraded")
    if beat.wait_count < term.k:
        reasons.append("semi_sync_waited_for_fewer")
    if beat.wait_point != "AFTER_SYNC":
        reasons.append("semi_sync_wait_point")
    if beat.timeout_ms < min(SMALLEST_TIMEOUT_MS, MAXIMUM_TIMEOUT_MS):
        reasons.append("semi_sync_time_out_too_short")
    if not beat.wait_no_replica:
        reasons.append("semi_sync_gives_up_without_replicas")
    if beat.clients > term.n:
        reasons.append("semi_sync_unregistered_acknowledger")
    return reasons
