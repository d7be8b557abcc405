# SPDX-License-Identifier: BSD-2-Clause
"""May this host hold the virtual address now? Pure: facts and the time go in, an action comes out.

The lease is one acknowledged commit: the primary's heartbeat row returned, so at the moment *before it was sent* k
acknowledgers still followed this server. A failover has to freeze n-k+1 of them first, after which no further heartbeat
can return. So the address is let go at the latest one lease after the freeze, whatever has hung meanwhile, and nobody
has to reach this host for that.

What ``decide`` guarantees, for any input (``tests/unit/keeper`` checks it, also against broken copies of itself):

1. the address is taken, kept or renewed only while an acknowledged heartbeat of this server, in the newest term known
   here, is at most one lease old, and this server was seen writable and named by that term at most one lease ago;
2. it is taken only after a probe that ended moments ago and that no stranger answered;
3. it is not taken on a lease that is overdue: a server that barely keeps up would take it and lose it in turns;
4. an address that is held without that is released by the next decision, an address that is not held is never released;
5. a clock that jumps makes evidence too old or puts it into the future: both count as no evidence.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Optional

NOTHING = "nothing"
PROBE = "probe"
WAIT = "wait"
TAKE = "take"
HOLD = "hold"
RENEW = "renew"
RELEASE = "release"

NOBODY = "nobody"
CANDIDATE = "candidate"
ENTITLED = "entitled"

KERNEL_LATENESS = 1.0
"""Seconds by which the kernel may be late in removing an address whose lifetime has ended.

net/ipv4/devinet.c and net/ipv6/addrconf.c look at lifetimes not more often than once a second. Measured: 0.4 s."""

SLOW_PROBE_EVERY = 0.5
"""Seconds between probes once a stranger has kept the address for longer than any keeper could."""


PROBE_COUNTS_FOR = 0.1
"""Seconds after its end for which a probe that nobody answered may still be taken for an answer: somebody may have
taken the address meanwhile, and a busy host may be late by some ticks."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """The durations that the lease rests on, in seconds.

    ``failover_notice``: the shortest silence of a primary after which anything may start to replace it.
    """

    tick: float = 0.02
    heartbeat_interval: float = 0.5
    lease: float = 1.5
    probe_wait: float = 0.03
    failover_notice: float = 2.0

    @property
    def bound(self) -> float:
        """How long after its last acknowledged heartbeat was sent a running keeper may still hold the address."""
        return self.lease + self.tick

    @property
    def kernel_bound(self) -> float:
        """The same for a keeper that was killed or frozen: the kernel counts whole seconds and may be late."""
        return self.lease + 1.0 + KERNEL_LATENESS

    @property
    def doubt_after(self) -> float:
        """A lease of this age is overdue: a heartbeat has been missed."""
        return 2 * self.heartbeat_interval


def problems(timing: Timing) -> tuple[str, ...]:
    """Why these durations do not fit together; none if they do.

    ``2 heartbeat_interval + tick <= lease``: one late heartbeat must not cost the address.
    ``lease + tick < failover_notice``: the old primary has let go before anybody promotes another.
    """
    found = []
    for field in dataclasses.fields(timing):
        value = getattr(timing, field.name)
        if not (math.isfinite(value) and value > 0):
            found.append(f"{field.name} is {value}: it must be a number of seconds greater than 0")
    if found:
        return tuple(found)
    if timing.tick > timing.heartbeat_interval:
        found.append(
            f"tick ({timing.tick} s) must not be longer than heartbeat_interval ({timing.heartbeat_interval} s)"
        )
    least = 2 * timing.heartbeat_interval + timing.tick
    if least > timing.lease:
        found.append(
            f"lease ({timing.lease} s) must be at least 2 heartbeat_interval + tick ({least:g} s),"
            " or one late heartbeat costs the address"
        )
    if timing.bound >= timing.failover_notice:
        found.append(
            f"lease + tick ({timing.bound:g} s) must be shorter than failover_notice ({timing.failover_notice} s),"
            " or a new primary is made before the old one has let go"
        )
    if timing.probe_wait > timing.lease - timing.heartbeat_interval:
        found.append(
            f"probe_wait ({timing.probe_wait} s) must not be longer than lease - heartbeat_interval"
            f" ({timing.lease - timing.heartbeat_interval:g} s), or a lease runs out while probing"
        )
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the local server last said of itself. ``asked_at``: our clock before the question was sent.

    ``writable``: neither read-only nor offline. ``term`` is ``None`` when there is no term row yet; ``k``, ``revision``
    and ``primary_uuid`` belong to that row.
    """

    asked_at: float
    server_uuid: str
    writable: bool
    term: Optional[int] = None
    revision: int = 0
    primary_uuid: str = ""
    k: int = 1
    sequence: int = 0
    offline: bool = False
    super_read_only: bool = False


@dataclasses.dataclass(frozen=True)
class Beat:
    """A heartbeat whose commit returned. ``sent_at``: our clock before the statement was sent.

    ``source_active`` and ``wait_count`` are what the row itself says: how many acknowledgements its commit waited for.
    """

    sent_at: float
    server_uuid: str
    term: int
    sequence: int = 0
    source_active: bool = True
    wait_count: int = 1

    def proves(self, k: int) -> bool:
        """Whether the return of this commit says that k acknowledgers follow."""
        return k == 0 or (self.source_active and self.wait_count >= k)


@dataclasses.dataclass(frozen=True)
class Facts:
    """Everything known at ``now``. ``gone``: the local server refuses connections since ``seen`` (why, as text)."""

    now: float
    seen: Optional[Seen] = None
    beat: Optional[Beat] = None
    gone: str = ""
    stopping: bool = False


@dataclasses.dataclass(frozen=True)
class Probe:
    """A question to the network whether somebody has the address. ``stranger``: the MAC that answered."""

    started_at: float
    stranger: str = ""


@dataclasses.dataclass(frozen=True)
class AddressState:
    """One virtual address on this host.

    ``rests_on``: ``Beat.sent_at`` of the heartbeat that the address' lifetime in the kernel was computed from.
    ``rival_at``: when another host last announced the address while we held it; ``strange_since``: since when every
    probe found a stranger.
    """

    held: bool = False
    rests_on: float = -math.inf
    probe: Optional[Probe] = None
    rival_at: Optional[float] = None
    rival: str = ""
    strange_since: Optional[float] = None


@dataclasses.dataclass(frozen=True)
class Claim:
    """``standing``: nobody, candidate (primary without a lease), entitled. ``code`` is stable, ``text`` for people."""

    standing: str
    code: str
    text: str


@dataclasses.dataclass(frozen=True)
class Decision:
    action: str
    code: str
    text: str


def _age(now: float, then: float, limit: float) -> Optional[float]:
    """How old evidence is, or ``None`` when it is older than the limit or lies in the future."""
    age = now - then
    return age if 0.0 <= age <= limit else None


def claim(facts: Facts, timing: Timing) -> Claim:
    """This host's claim to its addresses."""
    candidate = _candidate(facts, timing)
    if candidate.standing == NOBODY:
        return candidate
    seen, beat = facts.seen, facts.beat
    if seen is None:
        raise AssertionError("who stands for something was seen")
    if beat is None or beat.server_uuid != seen.server_uuid or beat.term != seen.term:
        return Claim(CANDIDATE, "no_lease", f"no heartbeat of term {seen.term} has been acknowledged yet")
    age = _age(facts.now, beat.sent_at, timing.lease)
    if age is None:
        since = facts.now - beat.sent_at
        return Claim(
            CANDIDATE,
            "lease_expired",
            f"no commit has been acknowledged for {since:.2f} s (lease {timing.lease:g} s):"
            " too few acknowledgers follow, or the server hangs",
        )
    if not beat.proves(seen.k):
        return Claim(
            CANDIDATE,
            "not_acknowledged",
            f"commits return without {seen.k} acknowledgement(s): semi-sync is"
            f" {'on' if beat.source_active else 'off'} and waits for {beat.wait_count}",
        )
    return Claim(
        ENTITLED,
        "lease_young",
        f"primary of term {seen.term}, heartbeat {beat.sequence} acknowledged, sent {age * 1000:.0f} ms ago",
    )


def _candidate(facts: Facts, timing: Timing) -> Claim:
    """Whether the local server is the writable primary of the newest term, by what it said a moment ago."""
    seen = facts.seen
    if facts.stopping:
        return Claim(NOBODY, "stopping", "the keeper stops")
    if facts.gone:
        return Claim(NOBODY, "server_gone", f"mysqld is gone: {facts.gone}")
    if seen is None:
        return Claim(NOBODY, "starting", "the local server has not answered yet")
    if _age(facts.now, seen.asked_at, timing.lease) is None:
        return Claim(
            NOBODY, "server_silent", f"the local server has not answered for {facts.now - seen.asked_at:.2f} s"
        )
    if seen.term is None:
        return Claim(NOBODY, "no_term", "the local server has no term row: replication is not set up")
    if seen.primary_uuid != seen.server_uuid:
        return Claim(NOBODY, "not_primary", f"term {seen.term} names another primary ({seen.primary_uuid})")
    if not seen.writable:
        return Claim(NOBODY, "read_only", "the local server is read-only or offline")
    return Claim(CANDIDATE, "primary", f"primary of term {seen.term}")


def heartbeat_term(facts: Facts, timing: Timing) -> Optional[int]:
    """The term to write heartbeats in, or ``None``: only the writable primary of the newest term writes them."""
    if _candidate(facts, timing).standing != CANDIDATE or facts.seen is None:
        return None
    return facts.seen.term


def decide(facts: Facts, address: AddressState, timing: Timing) -> Decision:
    """What to do about one address now. The table in ``roles/vip/README.md`` is this function."""
    mine = claim(facts, timing)
    if address.held:
        if mine.standing != ENTITLED or facts.beat is None:
            return Decision(RELEASE, mine.code, mine.text)
        rival = _rival(facts, address, timing)
        if rival:
            return Decision(RELEASE, "rival", rival)
        return Decision(RENEW if facts.beat.sent_at > address.rests_on else HOLD, mine.code, mine.text)
    if mine.standing == NOBODY:
        return Decision(NOTHING, mine.code, mine.text)
    probe = address.probe
    if mine.standing == CANDIDATE:
        # Once per claim, while the first heartbeat is under way: it saves the probe's time when the lease comes.
        return Decision(WAIT if probe else PROBE, mine.code, mine.text)
    if facts.beat is not None and facts.now - facts.beat.sent_at > timing.doubt_after:
        # Good enough to keep the address, not to take it: it would soon have to be let go again, to a rival too.
        return Decision(WAIT, "lease_overdue", f"{mine.text}: the next one is overdue")
    if probe is None:
        return Decision(PROBE, mine.code, mine.text)
    since = _age(facts.now, probe.started_at, math.inf)
    # Compared as ``loop`` computes when to look again: the same sum, or rounding would cost a tick.
    if since is not None and facts.now < probe.started_at + timing.probe_wait:
        return Decision(WAIT, mine.code, mine.text)
    if probe.stranger:
        text = f"{probe.stranger} answers for the address"
        if address.strange_since is not None and facts.now - address.strange_since > timing.kernel_bound:
            text += (
                f", longer than any keeper could hold it ({timing.kernel_bound:g} s):"
                " something else uses it, find that host"
            )
            if since is not None and since < SLOW_PROBE_EVERY:
                return Decision(WAIT, "stranger_stays", text)
            return Decision(PROBE, "stranger_stays", text)
        return Decision(PROBE, "stranger", text + "; waiting for it to let go")
    if since is None or since > timing.probe_wait + PROBE_COUNTS_FOR:
        return Decision(PROBE, mine.code, mine.text)
    return Decision(TAKE, mine.code, f"{mine.text}, nobody else answered")


def _rival(facts: Facts, address: AddressState, timing: Timing) -> str:
    """Why another host's announcement weighs more than our lease: it is newer, and our next heartbeat is overdue."""
    if facts.beat is None or address.rival_at is None or not address.rival_at > facts.beat.sent_at:
        return ""
    since = facts.now - facts.beat.sent_at
    if since <= timing.doubt_after:
        return ""
    return f"{address.rival} announced the address and our own heartbeat is overdue ({since:.2f} s)"


def kernel_lifetime(now: float, sent_at: float, timing: Timing) -> int:
    """Whole seconds to give the address in the kernel: never ends before the lease, at most a second after it."""
    return max(1, math.ceil(timing.lease - max(now - sent_at, 0.0)))
