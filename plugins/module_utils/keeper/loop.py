# SPDX-License-Identifier: BSD-2-Clause
"""The keeper's loop: look at the notes, decide for each address, act, say what happened.

Everything that touches the world is handed in (``World``), so the tests run it with a clock and a kernel of their own.
``step`` never waits for MySQL; what it does wait for is the ``ip`` command, with a deadline.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Callable, Optional, Protocol, Sequence

from ..errors import HaError
from . import fence, lease, status
from .address import Vip
from .fencing import Orders
from .heartbeat import Notes

ANNOUNCE_AT = (0.0, 0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds after taking an address at which it is announced: a lost frame must not leave anybody with the old place."""

PROBES = 3
"""How often the question is sent within ``probe_wait``."""

FAILED_AGAIN_AFTER = 0.5
"""Seconds until something that failed with an error is tried again; releasing is tried again at every tick."""

STATUS_EVERY = 1.0
RIVAL_REMEMBERED = 10.0
"""Seconds for which the status reports a conflict after the rival was last heard."""


class Kernel(Protocol):
    """The addresses on the interfaces (``address``)."""

    def present(self, vip: Vip, lifetime: int) -> None: ...

    def absent(self, vip: Vip) -> bool: ...

    def has(self, vip: Vip) -> bool: ...


class Link(Protocol):
    """The network as one address sees it (``neighbour.Wire``)."""

    def probe(self) -> None: ...

    def announce(self) -> None: ...

    def claims(self) -> tuple[str, ...]: ...

    def close(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class World:
    """``clock`` counts on while the host sleeps; ``wall`` is seconds since the epoch; ``link`` gives the link of an
    address, which opens itself when it is used; ``publish`` replaces the status file."""

    clock: Callable[[], float]
    wall: Callable[[], float]
    kernel: Kernel
    link: Callable[[Vip], Link]
    publish: Callable[[dict[str, Any]], None]
    say: Callable[[int, str], None]


class Watched:
    """One address and what was done about it."""

    def __init__(self, vip: Vip) -> None:
        self.vip = vip
        self.state = lease.AddressState()
        self.since = 0.0
        self.changed_because = "starting"
        self.changed_text = "the keeper starts"
        self.probes_due: list[float] = []
        self.announcements_due: list[float] = []
        self.not_before = -math.inf
        self.error = ""

    def update(self, **changes: Any) -> None:
        self.state = dataclasses.replace(self.state, **changes)


class Loop:
    """``begin`` once, then ``step`` whenever its time has come or something woke the process, ``end`` once."""

    def __init__(
        self,
        vips: Sequence[Vip],
        timing: lease.Timing,
        notes: Notes,
        world: World,
        orders: Optional[Orders] = None,
    ) -> None:
        """:param orders: to the threads of self-fencing; without them the address alone is kept."""
        self.watched = [Watched(vip) for vip in vips]
        self._timing = timing
        self._notes = notes
        self._world = world
        self._orders = orders
        self._stand: Optional[fence.Stand] = None
        self._decision = fence.Decision(fence.NOTHING, "starting", "the keeper starts")
        self._decided_at = 0.0
        self._stopping = False
        self._standing: Optional[tuple[str, str]] = None
        self._trouble: tuple[str, ...] = ()
        self._published_at = -math.inf
        self._news = True
        self._started_at = world.wall()

    def begin(self) -> None:
        """Hold nothing: an address that is left from before rests on no lease that we know of."""
        for watched in self.watched:
            if self._world.kernel.absent(watched.vip):
                self._world.say(status.WARNING, f"{watched.vip} was on {watched.vip.interface} at start: removed")

    def step(self) -> float:
        """Decide and act once. Returns the time of the next step."""
        now = self._world.clock()
        for watched in self.watched:
            self._listen(watched, now)
        facts = self._facts()
        self._notes.order(lease.heartbeat_term(facts, self._timing))
        for watched in self.watched:
            self._act(watched)
        facts = self._facts()
        self._fence(facts)
        self._tell(facts)
        return self._next(facts.now)

    def end(self) -> None:
        """Let go of everything."""
        self._stopping = True
        self._notes.order(None)
        for watched in self.watched:
            self._act(watched)
        facts = self._facts()
        self._fence(facts)
        self._tell(facts)

    def _facts(self) -> lease.Facts:
        """Everything known. The clock is read after the notes, so nothing in them can be from the future."""
        seen, beat, gone, _trouble = self._notes.read()
        return lease.Facts(now=self._world.clock(), seen=seen, beat=beat, gone=gone, stopping=self._stopping)

    def _fence(self, facts: lease.Facts) -> None:
        """Decide whether sessions end here, or the server is fenced; the threads do it."""
        orders = self._orders
        if orders is None:
            return
        self._stand = fence.stand(facts, self._timing, self._stand)
        decision = fence.decide(fence.Facts(facts, self._stand, orders.acknowledgers(), orders.heard()), self._timing)
        done = orders.done()
        orders.order(decision)
        before, self._decision = self._decision, decision
        if (before.action, before.code) == (decision.action, decision.code):
            return
        self._decided_at, self._news = self._world.wall(), True
        if decision.code == "contradiction":
            self._world.say(status.ERROR, decision.text)
        elif decision.action == fence.FENCE:
            self._world.say(status.ERROR, f"fencing the local server (offline_mode, super_read_only): {decision.text}")
        elif decision.action == fence.END_SESSIONS:
            self._world.say(status.WARNING, f"ending the sessions of applications: {decision.text}")
        elif before.action in (fence.FENCE, fence.END_SESSIONS):
            ended = f" ({done.ended} sessions were ended)" if done.ended else ""
            what = "sessions are left alone again" if decision.action == fence.NOTHING else "asking the peers"
            self._world.say(status.INFO, f"{what}{ended}: {decision.text}")

    def _listen(self, watched: Watched, now: float) -> None:
        """Note who else claims the address."""
        if not watched.state.held and watched.state.probe is None:
            return
        try:
            link = self._world.link(watched.vip)
            claims = link.claims()
            if watched.state.probe is not None:
                while watched.probes_due and watched.probes_due[0] <= now:
                    watched.probes_due.pop(0)
                    link.probe()
            if watched.state.held:
                announce = bool(watched.announcements_due) and watched.announcements_due[0] <= now
                while watched.announcements_due and watched.announcements_due[0] <= now:
                    watched.announcements_due.pop(0)
                if announce:
                    link.announce()
        except HaError as error:
            if watched.state.held:
                # Listening and announcing are a service to others: the lease alone decides about the address.
                self._report(watched, error)
            else:
                # What could not be asked was not answered: the probe is void.
                self._failed(watched, error, now)
                watched.update(probe=None)
            return
        if not claims:
            return
        mac = claims[-1]
        if watched.state.held:
            if watched.state.rival != mac or self._forgotten(watched, now):
                self._world.say(
                    status.WARNING, f"{watched.vip}: {mac} announces the address while we hold it (conflict)"
                )
            watched.update(rival_at=now, rival=mac)
            self._news = True
        elif watched.state.probe is not None and not watched.state.probe.stranger:
            since = watched.state.strange_since
            watched.update(
                probe=dataclasses.replace(watched.state.probe, stranger=mac),
                strange_since=now if since is None else since,
            )
            self._news = True

    def _act(self, watched: Watched) -> None:
        """Decide for one address on what is known this instant, and do it."""
        facts = self._facts()
        decision = lease.decide(facts, watched.state, self._timing)
        self._note(watched, decision)
        if decision.action == lease.RELEASE:
            self._release(watched, decision)
        elif decision.action == lease.NOTHING:
            watched.update(probe=None, strange_since=None)
            self._world.link(watched.vip).close()
        elif facts.now < watched.not_before:
            return
        elif decision.action == lease.PROBE:
            self._probe(watched, facts.now)
        elif decision.action in (lease.TAKE, lease.RENEW):
            self._hold(watched, decision, facts)

    def _probe(self, watched: Watched, now: float) -> None:
        strange_since = watched.state.strange_since
        if watched.state.probe is not None and not watched.state.probe.stranger:
            strange_since = None
        try:
            link = self._world.link(watched.vip)
            link.claims()  # what was said before the question is no answer to it
            link.probe()
        except HaError as error:
            watched.update(probe=None)
            self._failed(watched, error, now)
            return
        wait = self._timing.probe_wait
        watched.probes_due = [now + wait * number / PROBES for number in range(1, PROBES)]
        watched.update(probe=lease.Probe(now), strange_since=strange_since)

    def _hold(self, watched: Watched, decision: lease.Decision, facts: lease.Facts) -> None:
        """Add the address, or renew its lifetime in the kernel; then look again whether that was still right."""
        if facts.beat is None:
            raise AssertionError("nothing is taken or kept without a heartbeat")
        taking = decision.action == lease.TAKE
        try:
            if not taking and not self._world.kernel.has(watched.vip):
                self._lost(watched)
                return
            lifetime = lease.kernel_lifetime(self._world.clock(), facts.beat.sent_at, self._timing)
            # Before the call: whatever comes of it, this address has to be released again.
            watched.update(held=True, rests_on=facts.beat.sent_at)
            self._world.kernel.present(watched.vip, lifetime)
        except HaError as error:
            self._failed(watched, error, facts.now)
            if taking:
                self._release(watched, lease.Decision(lease.RELEASE, error.code, error.message))
            else:
                watched.update(rests_on=-math.inf)
            return
        watched.error = ""
        if taking:
            self._taken(watched, decision)
        # This process may have been stopped between the decision and the call.
        again = lease.decide(self._facts(), watched.state, self._timing)
        if again.action == lease.RELEASE:
            self._release(watched, again)

    def _taken(self, watched: Watched, decision: lease.Decision) -> None:
        now = self._world.clock()
        watched.announcements_due = [now + offset for offset in ANNOUNCE_AT]
        watched.update(probe=None, strange_since=None, rival_at=None, rival="")
        watched.since = self._world.wall()
        self._changed(watched, decision)
        # Announce before anything is written: clients wait for this.
        self._listen(watched, now)
        self._world.say(status.INFO, f"{watched.vip} taken on {watched.vip.interface}: {decision.text}")

    def _lost(self, watched: Watched) -> None:
        decision = lease.Decision(
            lease.RELEASE, "removed_by_others", f"somebody removed it from {watched.vip.interface} (`ip addr del`?)"
        )
        watched.update(held=False, probe=None, rival_at=None, rival="", strange_since=None)
        watched.since = self._world.wall()
        self._changed(watched, decision)
        self._world.say(status.WARNING, f"{watched.vip} is gone: {decision.text}; taking it again")

    def _release(self, watched: Watched, decision: lease.Decision) -> None:
        try:
            self._world.kernel.absent(watched.vip)
        except HaError as error:
            # It stays ``held``: the next tick tries again, and the kernel's own count goes on.
            self._failed(watched, error, self._world.clock())
            return
        watched.update(held=False, probe=None, rival_at=None, rival="", strange_since=None)
        watched.announcements_due = []
        self._world.link(watched.vip).close()
        watched.since = self._world.wall()
        self._changed(watched, decision)
        self._world.say(
            status.INFO if decision.code == "stopping" else status.WARNING,
            f"{watched.vip} let go on {watched.vip.interface}: {decision.text}",
        )

    def _changed(self, watched: Watched, decision: lease.Decision) -> None:
        watched.changed_because, watched.changed_text = decision.code, decision.text
        self._news = True

    def _report(self, watched: Watched, error: HaError) -> None:
        if watched.error != error.message:
            self._world.say(status.ERROR, f"{watched.vip}: {error}")
            self._news = True
        watched.error = error.message

    def _failed(self, watched: Watched, error: HaError, now: float) -> None:
        self._report(watched, error)
        watched.not_before = now + FAILED_AGAIN_AFTER

    def _note(self, watched: Watched, decision: lease.Decision) -> None:
        """Say a stranger's name when it appears and when it stays too long."""
        if decision.code in ("stranger", "stranger_stays") and decision.code != watched.changed_because:
            self._world.say(status.WARNING, f"{watched.vip} not taken: {decision.text}")
            self._changed(watched, decision)

    def _forgotten(self, watched: Watched, now: float) -> bool:
        at = watched.state.rival_at
        return at is None or not 0 <= now - at <= RIVAL_REMEMBERED

    def _tell(self, facts: lease.Facts) -> None:
        """Journal what changed in this host's standing, and publish the status when it is due."""
        mine = lease.claim(facts, self._timing)
        _seen, _beat, _gone, trouble = self._notes.read()
        if self._orders is not None:
            trouble += self._orders.trouble()
        standing = (mine.standing, mine.code)
        if standing != self._standing:
            # Taking and letting go have lines of their own.
            said = any(watched.changed_because == mine.code for watched in self.watched)
            if not said and mine.standing != lease.ENTITLED:
                self._world.say(status.INFO, f"{mine.standing}: {mine.text}")
            self._standing, self._news = standing, True
        for text in trouble:
            if text not in self._trouble:
                self._world.say(status.WARNING, text)
                self._news = True
        self._trouble = trouble
        since_published = facts.now - self._published_at
        if self._news or not 0 <= since_published < STATUS_EVERY:
            self._news, self._published_at = False, facts.now
            self._world.publish(self.status(facts, mine))

    def status(self, facts: lease.Facts, mine: lease.Claim) -> dict[str, Any]:
        """The status file's values. Documented in ``roles/vip/README.md``."""
        seen, beat = facts.seen, facts.beat
        addresses = {str(watched.vip): self._address_status(watched, facts.now) for watched in self.watched}
        return {
            "addresses": addresses,
            "conflict": any(entry["conflict"] for entry in addresses.values()),
            "fence": self._fence_status(seen),
            "heartbeat_sequence": beat.sequence if beat else None,
            "holding": bool(addresses) and all(entry["holding"] for entry in addresses.values()),
            "kernel_bound": self._timing.kernel_bound,
            "bound": self._timing.bound,
            "lease": self._timing.lease,
            "lease_age": round(facts.now - beat.sent_at, 3) if beat else None,
            "primary_uuid": seen.primary_uuid if seen else None,
            "reason": mine.text,
            "reason_code": mine.code,
            "server_uuid": seen.server_uuid if seen else None,
            "standing": mine.standing,
            "started_at": round(self._started_at, 3),
            "term": seen.term if seen else None,
            "trouble": list(self._trouble),
            "updated_at": round(self._world.wall(), 3),
            "writable": seen.writable if seen else None,
        }

    def _fence_status(self, seen: Optional[lease.Seen]) -> Optional[dict[str, Any]]:
        if self._orders is None:
            return None
        decision, done = self._decision, self._orders.done()
        newer = decision.deposed_by
        peers = {h.name: f"term {h.term}.{h.revision}, receiver {h.receiver}" for h in self._orders.heard()}
        return {
            "action": decision.action,
            "deposed_by": newer.name if newer else None,
            "deposed_in_term": newer.term if newer else None,
            "fenced": decision.action == fence.FENCE and bool(seen and seen.offline),
            "not_ended": list(done.refused),
            "peers": {**self._orders.silent(), **peers},
            "primary_uuid": newer.primary_uuid if newer else None,
            "proof": newer.proof if newer else None,
            "reason": decision.text,
            "reason_code": decision.code,
            "sessions_ended": done.ended,
            "since": round(self._decided_at, 3),
            "super_read_only": bool(seen and seen.super_read_only),
            "waits": done.waits,
        }

    def _address_status(self, watched: Watched, now: float) -> dict[str, Any]:
        state = watched.state
        conflict = ""
        if state.held and not self._forgotten(watched, now):
            conflict = state.rival
        elif state.probe is not None:
            conflict = state.probe.stranger
        return {
            "conflict": conflict,
            "error": watched.error,
            "holding": state.held,
            "interface": watched.vip.interface,
            "reason": watched.changed_text,
            "reason_code": watched.changed_because,
            "since": round(watched.since, 3),
        }

    def _next(self, now: float) -> float:
        """When to decide again: at the next tick, or before that for a probe, its end, or an announcement."""
        times = [now + self._timing.tick]
        for watched in self.watched:
            probe = watched.state.probe
            if probe is not None and probe.started_at + self._timing.probe_wait > now:
                times.append(probe.started_at + self._timing.probe_wait)
                times += watched.probes_due[:1]
            if watched.state.held:
                times += watched.announcements_due[:1]
        return min(times)
