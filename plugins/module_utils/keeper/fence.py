# SPDX-License-Identifier: BSD-2-Clause
"""Must application sessions end here, must this server be fenced? Pure: facts and the time go in, an action comes out.

A primary without its lease can acknowledge nothing, so nothing that is done here keeps acknowledged transactions safe:
that was done by whoever froze the acknowledgers. What is decided here keeps applications from waiting for ever, and
from reading what is no longer true. So every step may be taken on little evidence, as long as it can be undone by
itself; what can not, needs proof. In order:

* ``END_SESSIONS`` undoes itself: clients connect again. It asks for no more than a lease that has run out.
* ``FENCE`` (offline_mode, then super_read_only) also throws out the dump threads, so nobody can ever acknowledge this
  server again, and the keeper never opens it: a failover, a convergence or a restart does. It needs a *deposition*: a
  registered peer that holds a newer term row, which names another primary. Term rows are only appended and replicated,
  so that fact never ceases to be true; and a newer term began with the freeze, so nobody acknowledges us any more.
* Receivers that are stopped (``frozen``) are no deposition. The failover that stopped them may be refused, and then
  starts them again: a primary that had gone offline meanwhile could not be acknowledged by them, and every write of the
  cluster would wait for a person. So it ends sessions, which costs nothing then.

What ``decide`` guarantees, for any input (``tests/unit/keeper`` checks it, also against broken copies of itself):

1. with a young lease nothing is done, whatever anybody says;
2. nothing is done to a server that does not answer, is read-only and not offline, or that its own newest term row does
   not name: the server that is being promoted is one of those, and so is a replica;
3. ``FENCE`` only when the newest row that a peer holds is newer than ours and names another server;
4. ``END_SESSIONS`` only when the server has stood as primary for one whole lease, so that a heartbeat had its chance;
5. there is no action that opens a server.
"""

from __future__ import annotations

import dataclasses
from typing import Optional

from ..server.state import OFF
from ..topology import durability
from . import lease

NOTHING = "nothing"
ASK_PEERS = "ask_peers"
END_SESSIONS = "end_sessions"
FENCE = "fence"

PEER_COUNTS_FOR = 3.0
"""Seconds for which what a peer said of its receiver counts; it is asked once a second."""

FROZEN_AFTER = 1.0
"""Seconds for which a receiver must have been seen stopped: shorter is one that is restarted."""

_NOT_OURS = frozenset({"stopping", "server_gone", "starting", "no_term", "not_primary"})
"""Reasons of ``lease.claim`` with which there is nothing to fence."""


@dataclasses.dataclass(frozen=True)
class Heard:
    """What one registered peer said last. ``asked_at``: our clock before the question was sent.

    ``term``, ``revision``, ``primary_uuid`` and ``proof`` are its newest term row; revision 0: it has none.
    ``receiver`` is ON, CONNECTING or OFF; ``source_uuid``: whom it follows; ``off_since``: since when every answer of
    it said OFF.
    """

    name: str
    server_uuid: str
    asked_at: float
    term: int = 0
    revision: int = 0
    primary_uuid: str = ""
    proof: str = ""
    receiver: str = OFF
    source_uuid: str = ""
    off_since: Optional[float] = None


@dataclasses.dataclass(frozen=True)
class Stand:
    """Since when the local server, answering and open, is the primary by its own newest term."""

    since: float
    server_uuid: str
    term: Optional[int]


@dataclasses.dataclass(frozen=True)
class Facts:
    """``local``: what the lease rests on. ``heard``: the last answer of each peer since the lease was lost.
    ``acknowledgers``: the server_uuids of those registered in the local server's newest term row."""

    local: lease.Facts
    stand: Optional[Stand] = None
    acknowledgers: frozenset[str] = frozenset()
    heard: tuple[Heard, ...] = ()


@dataclasses.dataclass(frozen=True)
class Decision:
    """``code`` is stable, ``text`` for people. ``term`` and ``revision``: our own row that this was decided on.
    ``deposed_by``: the peer whose row deposes us."""

    action: str
    code: str
    text: str
    term: int = 0
    revision: int = 0
    deposed_by: Optional[Heard] = None


def stand(local: lease.Facts, timing: lease.Timing, before: Optional[Stand]) -> Optional[Stand]:
    """Since when it stands, given what was known a moment ago."""
    if lease.claim(local, timing).standing == lease.NOBODY or local.seen is None:
        return None
    seen = local.seen
    if before is not None and (before.server_uuid, before.term) == (seen.server_uuid, seen.term):
        return before
    return Stand(local.now, seen.server_uuid, seen.term)


def decide(facts: Facts, timing: lease.Timing) -> Decision:
    """What to do now. The table in ``roles/vip/README.md`` is this function."""
    local = facts.local
    mine = lease.claim(local, timing)
    seen = local.seen
    if seen is None or mine.code in _NOT_OURS:
        return Decision(NOTHING, mine.code, mine.text)
    newer = _deposed_by(facts, seen)
    if mine.standing == lease.ENTITLED:
        # A row that was heard of after that heartbeat was sent contradicts nothing: the lease just has to run out.
        if newer is not None and local.beat is not None and newer.asked_at < local.beat.sent_at:
            return Decision(
                NOTHING,
                "contradiction",
                f"{_says(newer)}, and {mine.text}: somebody acknowledges a deposed primary",
                deposed_by=newer,
            )
        return Decision(NOTHING, mine.code, mine.text)
    open_primary = seen.term is not None and seen.primary_uuid == seen.server_uuid and (seen.writable or seen.offline)
    if not open_primary:
        return Decision(NOTHING, mine.code, mine.text)
    if mine.code == "server_silent":
        # Nothing can be done to it yet; whether it is deposed had better be known when it wakes up.
        return _about(seen, ASK_PEERS, mine.code, mine.text)
    if newer is not None:
        return _about(seen, FENCE, "deposed", f"deposed: {_says(newer)}", newer)
    if seen.offline:
        return _about(seen, ASK_PEERS, "offline", "the local server is offline, and no peer knows of a newer term")
    if mine.code == "not_acknowledged":
        # Nobody waits there: commits return. Somebody switched semi-sync off, and new sessions would do the same.
        return _about(seen, ASK_PEERS, mine.code, mine.text)
    if facts.stand is None or local.now - facts.stand.since < timing.lease:
        return _about(seen, ASK_PEERS, mine.code, f"{mine.text}; a heartbeat still has its chance")
    return _end_sessions(facts, mine, seen)


def _end_sessions(facts: Facts, mine: lease.Claim, seen: lease.Seen) -> Decision:
    """Why they end: what the peers say changes what a person does, not what is done."""
    now = facts.local.now
    fresh = [h for h in facts.heard if 0 <= now - h.asked_at <= PEER_COUNTS_FOR]
    if not fresh:
        return _about(seen, END_SESSIONS, "peers_silent", f"{mine.text}; no peer has answered")
    stopped = sorted(
        h.name
        for h in fresh
        if h.server_uuid in facts.acknowledgers and h.off_since is not None and now - h.off_since >= FROZEN_AFTER
    )
    count = len(facts.acknowledgers)
    if count and seen.k and len(stopped) >= durability.freeze_required(count, seen.k):
        return _about(
            seen,
            END_SESSIONS,
            "frozen",
            f"{mine.text}; {', '.join(stopped)} are stopped: a failover is under way, or stopped in the middle",
        )
    heard = ", ".join(f"{h.name}: {h.receiver}" for h in sorted(fresh, key=lambda h: h.name))
    return _about(seen, END_SESSIONS, mine.code, f"{mine.text}; receivers: {heard}")


def _about(seen: lease.Seen, action: str, code: str, text: str, deposed_by: Optional[Heard] = None) -> Decision:
    """A decision that rests on our own newest row, and is void when that is another one."""
    return Decision(action, code, text, seen.term or 0, seen.revision, deposed_by)


def _deposed_by(facts: Facts, seen: lease.Seen) -> Optional[Heard]:
    """The peer with the newest row, if that is newer than ours and names another primary."""
    newest = max(facts.heard, key=lambda h: (h.term, h.revision), default=None)
    if newest is None or (newest.term, newest.revision) <= (seen.term or 0, seen.revision):
        return None
    return newest if newest.primary_uuid not in ("", seen.server_uuid) else None


def _says(heard: Heard) -> str:
    return f"{heard.name} holds term {heard.term}.{heard.revision}, which names {heard.primary_uuid}"


def still_holds(decision: Decision, seen: lease.Seen) -> bool:
    """Whether the local server, asked again on the connection that acts, is still what the decision was about."""
    same_row = (seen.term, seen.revision) == (decision.term, decision.revision)
    if not same_row or seen.primary_uuid != seen.server_uuid:
        return False
    return seen.writable or (decision.action == FENCE and seen.offline)
