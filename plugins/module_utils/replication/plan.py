# SPDX-License-Identifier: BSD-2-Clause
"""Deciding how to converge: one step at a time, from what is seen now. Pure.

There is no memory between steps: whatever state a killed run left behind is a starting situation like any other. What
keeps that safe is the order in which steps may happen. The row in force claims: every acknowledged transaction is held
by k of its n acknowledgers, and with n-k+1 of them frozen fewer than k can still acknowledge. So

* an acknowledger is registered before its replica side is switched on;
* a registered one is taken out of the row only after its account is locked and its dump thread gone, and after k of
  the remaining hold everything;
* k is lowered in the row before it is lowered on the primary, and raised on the primary before it is raised in the row;
* the row is written when k of its acknowledgers hold everything the primary had committed. (Were a commit to slip in
  between: a server that holds the row holds everything before it in the binary log too, for it receives in that order.)
* the data of a registered acknowledger are never thrown away: it leaves the row first;
* the primary takes writes last: armed, registered, proven. Until then only the administrator's account writes;
* a fenced server (offline) is let go only while it is read-only: a replica when it follows the primary.
"""

from __future__ import annotations

import dataclasses
from typing import Callable, Iterable, Optional, Union

from ..clone.plan import choose_donor, donors_in_order
from ..errors import defect
from ..refusal import Reason, Refusal
from ..server.settings import MAXIMUM_TIMEOUT_MS
from ..server.state import CONNECTING, DIFFERENT, OFF, ON, PENDING, TO_BE_CLONED, Member, ServerState, TermRow
from . import refusals, steps
from .situation import Primary, Situation, Wish, account_of, find_primary, respecting
from .steps import Step

LAG_ALLOWED = 100
"""Transactions. An acknowledger that lacks more than these would hold commits up while it catches up."""

LOGIN_REFUSED = frozenset({1044, 1045, 1130, 1251, 2026, 3118})


@dataclasses.dataclass(frozen=True)
class Settled:
    """Nothing is left to do."""

    primary: str
    warnings: tuple[str, ...] = ()


Decision = Union[Step, Settled, Refusal]
Decide = Callable[[Situation, Wish], Decision]
"""``next_step``, or another plan on the same situation."""
_Stage = Callable[[], Optional[Decision]]


def next_step(situation: Situation, wish: Wish) -> Decision:
    """The one step to do now; ``Settled`` when there is none; ``Refusal`` with all reasons when it must not go on."""
    wish = respecting(wish, situation)
    primary = find_primary(situation, wish)
    reasons = refusals.find(situation, wish, primary)
    if reasons:
        return Refusal(reasons)
    if primary is None:
        raise defect("a step without a primary")
    return Look(situation, wish, primary).decide()


class Look:
    """One situation, taken apart. The stages of every plan are made of its methods."""

    def __init__(self, situation: Situation, wish: Wish, primary: Primary) -> None:
        self.situation = situation
        self.wish = wish
        state = situation.state(primary.name)
        own = wish.member(primary.name)
        if state is None or own is None:
            raise defect("a member without an answer")
        self.primary: ServerState = state
        self.own: Member = own
        self.term: Optional[TermRow] = situation.term
        self.registered: dict[str, Member] = {m.server_uuid: m for m in self.term.acknowledgers} if self.term else {}
        self.others: list[ServerState] = [
            s for s in situation.observation.states.values() if s.server_uuid != state.server_uuid
        ]
        wanted = {m.name: m for m in wish.members}
        self.replicas = [s for s in self.others if s.name in wanted]
        # Who was taken out of service is left as it is.
        self.served = [s for s in self.replicas if not wanted[s.name].out]
        self.acknowledgers = [s for s in self.replicas if wanted[s.name].acknowledges]

    def decide(self) -> Decision:
        stages = (self._lift_own_fence, self._hygiene, *(self._registered() if self.term else self._first()))
        for stage in stages:
            decision = stage()
            if decision is not None:
                return decision
        return Settled(self.primary.name, tuple(self._warnings()))

    def _first(self) -> tuple[_Stage, ...]:
        """Nobody is registered: everything in place first, then the first row."""
        return (
            lambda: self._attach(self.replicas),
            lambda: self._connect(self.replicas, len(self.replicas)),
            lambda: self._lift_fences(self.replicas),
            lambda: self._catch_up(self.acknowledgers),
            lambda: self._acknowledge(self.acknowledgers),
            self._own_schema,
            lambda: self._attach(self.replicas, last=True),
            lambda: self._arm(self.wish.k),
            lambda: self._row({s.server_uuid for s in self.acknowledgers}, self.wish.k, "the first registration"),
        )

    def _registered(self) -> tuple[_Stage, ...]:
        """A term row is in force: what it says is made true first, then it is changed towards the wish."""
        if self.term is None:
            raise defect("no term row")
        kept = [s for s in self.replicas if s.server_uuid in self.registered and not self._must_go(s)]
        return (
            self._restore_count,
            lambda: self._attach(kept),
            lambda: self._connect(kept, self._k),
            lambda: self._acknowledge(kept),
            lambda: self._arm(self._k),
            self._prove,
            self._open,
            self._lower_k,
            self._shrink,
            self._strangers,
            lambda: self._attach(self.served, last=True),
            lambda: self._connect(self.served, len(self.served)),
            lambda: self._lift_fences(self.served),
            self._grow,
            self._raise_k,
            self._describe,
        )

    @property
    def _k(self) -> int:
        if self.term is None:
            raise defect("no term row")
        return self.term.k

    # --- fences ------------------------------------------------------------------------------------------------------
    def _lift_own_fence(self) -> Optional[Decision]:
        """The primary first: while it is offline nobody can follow it. It is read-only, or it was refused before."""
        if self.primary.fenced:
            return steps.GoOnline(self.primary.name, self.primary.server_uuid, self.primary.name)
        return None

    def _lift_fences(self, states: Iterable[ServerState]) -> Optional[Decision]:
        """A server that was deposed serves nobody before it follows."""
        for state in states:
            if state.fenced and state.super_read_only and self._follows(state):
                return steps.GoOnline(state.name, state.server_uuid, self.primary.name)
        return None

    # --- each side only where it belongs -----------------------------------------------------------------------------
    def _hygiene(self) -> Optional[Decision]:
        own = self.primary
        if own.semi_sync.replica_enabled:
            return steps.StopAcknowledging(own.name, own.server_uuid, "it is the primary", restart=False)
        for state in self.others:
            decision = self._hygiene_of(state)
            if decision is not None:
                return decision
        return None

    def _hygiene_of(self, state: ServerState) -> Optional[Decision]:
        """A server that is not the primary: source side off, and replica side off unless it is registered."""
        semi = state.semi_sync
        if semi.source_enabled:
            return steps.Disarm(state.name, state.server_uuid)
        if (semi.replica_enabled or semi.replica_active) and not self._may_acknowledge(state):
            wanted = state.name in self.wish.names
            why = "it is not registered" if wanted else "it is no longer a member"
            return steps.StopAcknowledging(state.name, state.server_uuid, why, restart=wanted)
        return None

    def _may_acknowledge(self, state: ServerState) -> bool:
        return state.server_uuid in self.registered if self.term else state in self.acknowledgers

    def _own_schema(self) -> Optional[Decision]:
        if self.situation.facts_of(self.primary.name).own_schema:
            return None
        return self._administrable() or steps.CreateSchema(self.primary.name, self.primary.server_uuid)

    def _administrable(self) -> Optional[Decision]:
        if self.primary.super_read_only:
            return steps.OpenForAdministration(self.primary.name, self.primary.server_uuid)
        return None

    # --- following ---------------------------------------------------------------------------------------------------
    def _attach(self, states: Iterable[ServerState], *, last: bool = False) -> Optional[Decision]:
        """``last``: whoever is locked out can not be left for later."""
        for state in states:
            decision = self._attach_one(state, last)
            if decision is not None:
                return decision
        return None

    def _attach_one(self, state: ServerState, last: bool) -> Optional[Decision]:
        wipes = self._to_be_cloned(state)
        if wipes is not None:
            return self._clone(state, wipes)
        account = account_of(self.wish, state)
        if self._is_locked(account):
            return self._readmit(state, account) if last or self._commits() else None
        why = self._misled(state, account)
        if why:
            # Before anybody is registered the flag stays as it is; afterwards it is what the row says.
            acknowledge = state.server_uuid in self.registered if self.term else state.semi_sync.replica_enabled
            return steps.Repoint(state.name, state.server_uuid, self.primary.name, account, acknowledge, why)
        return self._started(state)

    def _started(self, state: ServerState) -> Optional[Decision]:
        if state.receiver is None or state.applier is None:
            raise defect("a replica without a channel")
        stopped = [
            what for what, part in (("receiver", state.receiver), ("applier", state.applier)) if part.state == OFF
        ]
        if stopped:
            return steps.StartThreads(state.name, state.server_uuid, " and the ".join(stopped))
        return None

    def _is_locked(self, account: str) -> bool:
        return bool(self.situation.facts_of(self.primary.name).replication_accounts.get(account))

    def _commits(self) -> bool:
        """Whether a commit on the primary would be acknowledged now, so that one of ours would not hang."""
        semi = self.primary.semi_sync
        return not semi.source_enabled or len(self._active()) >= semi.wait_count

    def _readmit(self, state: ServerState, account: str) -> Decision:
        """Only where its replica side is known to be off, or it is registered: hygiene has seen to that."""
        if not self._commits():
            return self._too_few(
                f"{state.name} is locked out, and unlocking it could not be acknowledged",
                "Bring the other acknowledgers back.",
            )
        opening = self._administrable()
        return opening or steps.Readmit(self.primary.name, self.primary.server_uuid, account, state.name)

    def _misled(self, state: ServerState, account: str) -> str:
        """Why the receiver has to be configured anew; empty when it is as it should be."""
        astray, seen = self._astray(state), state.receiver
        if astray or seen is None:
            return astray
        if seen.user != account:
            return f"it logs in as {seen.user or '(nobody)'}"
        if not seen.auto_position:
            return "it follows by file and position"
        if not seen.ssl or (self.wish.ca and not seen.ssl_verify):
            return "its connection is not verified TLS"
        if seen.connect_retry != self.wish.connect_retry:
            return f"it retries every {seen.connect_retry} s"
        if abs(seen.heartbeat_period - self.wish.heartbeat_period) > 0.001:
            return f"it asks for heartbeats every {seen.heartbeat_period:g} s"
        if seen.state != ON and seen.error_number in LOGIN_REFUSED:
            return f"its login is refused ({seen.error_number})"
        return ""

    def _astray(self, state: ServerState) -> str:
        """Why its source is not the primary; empty when it is."""
        seen = state.receiver
        if seen is None or state.applier is None or not seen.source_host:
            return "it has no source"
        if (seen.source_host, seen.source_port) != (self.own.host, self.own.replication_port):
            return f"it follows {seen.source_host}:{seen.source_port}"
        if seen.source_uuid and seen.source_uuid != self.primary.server_uuid and seen.state == ON:
            return f"it follows another server there ({seen.source_uuid})"
        return ""

    def _connect(self, states: list[ServerState], enough: int) -> Optional[Decision]:
        """Wait for receivers that still try, while fewer than enough are connected."""
        connected = [s for s in states if self._follows(s)]
        if len(connected) >= min(enough, len(states)):
            return None
        for state in states:
            locked = self._is_locked(account_of(self.wish, state))
            if state.receiver and state.receiver.state == CONNECTING and not locked:
                return steps.WaitConnected(state.name, state.server_uuid, self.primary.name)
        return None

    def _follows(self, state: ServerState) -> bool:
        seen = state.receiver
        return bool(seen and seen.state == ON and seen.source_uuid == self.primary.server_uuid)

    def _acknowledging(self, state: ServerState) -> bool:
        return self._follows(state) and state.semi_sync.replica_enabled and state.semi_sync.replica_active

    # --- seeding -----------------------------------------------------------------------------------------------------
    def _to_be_cloned(self, state: ServerState) -> Optional[str]:
        """What cloning this server would throw away (empty: nothing); ``None`` when it needs no clone.

        What is not expendable and would need it was refused before.
        """
        if self.situation.facts_of(state.name).wrecked:
            return ""
        surplus = refusals.errant(self.situation, state, self.primary)
        if surplus:
            return str(surplus)
        returned = self.situation.facts_of(self.primary.name).returns.get(state.server_uuid)
        if returned in (DIFFERENT, TO_BE_CLONED, PENDING) and state.name in self.wish.expendable:
            return "what a rewind left, which was not found equal to the primary"
        gap = self.primary.purged - state.received
        if state.applier and state.applier.error_number and state.applier.state == OFF:
            return "data on which its applier stopped"
        if gap:
            return f"data that lack {gap}" if state.executed else ""
        if not state.executed and not (state.receiver and state.receiver.source_host):
            # An empty server could replay all binary logs; but what was loaded without logging is in none of them.
            return "" if self.situation.facts_of(self.primary.name).user_tables else None
        return None

    def _must_go(self, state: ServerState) -> bool:
        """Registered, and to be wiped: it leaves the row first."""
        return self._to_be_cloned(state) is not None

    def _clone(self, state: ServerState, wipes: str) -> Decision:
        if state.server_uuid in self.registered:
            return self._too_few(
                f"{state.name} has to be cloned and cannot leave the row",
                "Add another acknowledger first: the last ones cannot be wiped.",
            )
        attached = [s for s in self.served if self._follows(s)]
        acknowledging = [s for s in attached if self._acknowledging(s) and s.server_uuid in self.registered]
        spare = self.term is None or len(acknowledging) > self._k
        donors = donors_in_order(
            [s for s in attached if s.name != state.name], {s.name for s in acknowledging}, self.primary, spare=spare
        )
        facts = self.situation.facts_of
        donor = choose_donor(
            state,
            donors,
            self.primary,
            clone_active={s.name for s in (state, self.primary, *donors) if facts(s.name).clone_active},
        )
        if isinstance(donor, Reason):
            if not wipes and not self.primary.purged:
                return self._replay(state)
            return Refusal((donor,))
        member = self.wish.member(donor.name)
        if member is None:
            raise defect("an unknown member")
        return steps.Clone(
            state.name,
            state.server_uuid,
            donor.name,
            donor.server_uuid,
            member.host,
            member.replication_port,
            wipes,
        )

    def _replay(self, state: ServerState) -> Decision:
        """An empty server that cannot be cloned, of a primary that still has all its binary logs."""
        account = account_of(self.wish, state)
        if self._is_locked(account):
            return self._readmit(state, account)
        return steps.Repoint(
            state.name,
            state.server_uuid,
            self.primary.name,
            account,
            False,
            "it is empty, cannot be cloned, and the primary still has all its binary logs",
        )

    # --- acknowledging -----------------------------------------------------------------------------------------------
    def _catch_up(self, states: Iterable[ServerState]) -> Optional[Decision]:
        for state in states:
            if len(self.primary.executed - state.received) > LAG_ALLOWED:
                return steps.WaitReceived(state.name, state.server_uuid, self.primary.name, self.primary.executed)
        return None

    def _acknowledge(self, states: Iterable[ServerState]) -> Optional[Decision]:
        for state in states:
            if self._follows(state) and not self._acknowledging(state):
                return steps.Acknowledge(state.name, state.server_uuid)
        return None

    def _active(self, uuids: Optional[Iterable[str]] = None) -> list[ServerState]:
        """Those that acknowledge now: of the given ones, of the registered, or of all wanted."""
        if uuids is None:
            uuids = self.registered.keys() if self.term else {s.server_uuid for s in self.acknowledgers}
        allowed = set(uuids)
        return [s for s in self.others if s.server_uuid in allowed and self._acknowledging(s)]

    def _is_armed(self) -> bool:
        semi = self.primary.semi_sync
        return (
            semi.source_enabled
            and semi.wait_point == "AFTER_SYNC"
            and semi.wait_no_replica
            and semi.timeout_ms >= MAXIMUM_TIMEOUT_MS
        )

    def _arm(self, k: int) -> Optional[Decision]:
        """At least k; a primary that waits for more is lowered elsewhere, after the row."""
        semi = self.primary.semi_sync
        if self._is_armed() and semi.wait_count >= k:
            return None
        if len(self._active()) < k:
            return self._too_few(
                f"{self.primary.name} cannot wait for {k} acknowledgements",
                "Bring the acknowledgers back: armed now, the primary would hold every commit.",
            )
        count = max(k, semi.wait_count) if semi.source_enabled else k
        return steps.Arm(self.primary.name, self.primary.server_uuid, count)

    def _restore_count(self) -> Optional[Decision]:
        """A primary that waits for fewer than the row claims is put right before anybody else may acknowledge it.

        Only a hand can have done that. Commits may wait until the acknowledgers are attached again, in the next steps.
        """
        semi = self.primary.semi_sync
        if not semi.source_enabled or semi.wait_count >= self._k:
            return None
        answering = [s for s in self.others if s.server_uuid in self.registered]
        if len(answering) < self._k:
            return self._too_few(
                f"{self.primary.name} waits for {semi.wait_count} acknowledgements, the row claims {self._k}",
                "Bring the acknowledgers back: what is acknowledged meanwhile is on fewer servers than claimed.",
            )
        return steps.Arm(self.primary.name, self.primary.server_uuid, self._k)

    def _too_few(self, what: str, next_step: str) -> Refusal:
        active = sorted(s.name for s in self._active())
        named = sorted(m.name for m in self.registered.values()) or sorted(s.name for s in self.acknowledgers)
        silent = {n: a.message for n, a in self.situation.observation.silent.items()}
        evidence = {"acknowledging": active, "registered": named, "silent": silent}
        return Refusal(
            (
                Reason(
                    "too_few_acknowledgers",
                    f"{what}: {len(active)} of {len(named)} acknowledge ({', '.join(active) or 'none'})",
                    evidence,
                    next_step,
                ),
            )
        )

    # --- the row -----------------------------------------------------------------------------------------------------
    def _prove(self) -> Optional[Decision]:
        """The row's counter of unacknowledged commits is not the primary's: something happened since it was written."""
        if self.term is None:
            raise defect("no term row")
        own = self.primary
        what = ""
        if self.term.written_at and self.term.written_at < own.clock - own.uptime:
            what = f"{own.name} was restarted"
        elif own.semi_sync.no_tx != self.term.no_tx_base:
            what = f"{own.name} counts {own.semi_sync.no_tx} unacknowledged commits, not {self.term.no_tx_base}"
        return self._row(set(self.registered), self._k, what) if what else None

    def _open(self) -> Optional[Decision]:
        if self.primary.writable:
            return None
        return steps.AllowWrites(self.primary.name, self.primary.server_uuid)

    def _lower_k(self) -> Optional[Decision]:
        if self.wish.k < self._k:
            what = f"wait for {self.wish.k} instead of {self._k}"
            return self._row(set(self.registered), self.wish.k, what)
        if self.primary.semi_sync.wait_count > max(self._k, self.wish.k):
            return steps.Arm(self.primary.name, self.primary.server_uuid, max(self._k, self.wish.k))
        return None

    def _shrink(self) -> Optional[Decision]:
        stay = {s.server_uuid for s in self.acknowledgers if s.server_uuid in self.registered and not self._must_go(s)}
        for uuid, member in self.registered.items():
            # Silent and wanted: it stays, unless the same name answers as another server.
            if member.name in self.situation.observation.silent and self._wants_acknowledger(member.name):
                stay.add(uuid)
        return self._without(stay, f"without {', '.join(m.name for u, m in self.registered.items() if u not in stay)}")

    def _without(self, stay: set[str], what: str) -> Optional[Decision]:
        """A row with only these of the registered acknowledgers. Who leaves can not acknowledge any more by then."""
        gone = [m for uuid, m in self.registered.items() if uuid not in stay]
        if not gone:
            return None
        if len(self._active(stay)) < self._k:
            return self._too_few(
                f"{', '.join(m.name for m in gone)} cannot leave: {self._k} of the others must hold everything",
                "Bring another acknowledger back, or add one, first. With k = n nobody can leave: lower k first.",
            )
        semi = self.primary.semi_sync
        if len(self._active(stay)) < semi.wait_count:
            # Raised and not yet in the row: the row claims k, so waiting for k keeps what it claims.
            return steps.Arm(self.primary.name, self.primary.server_uuid, self._k)
        names = tuple(m.name for m in gone)
        open_accounts = self._unclaimed(stay)
        if open_accounts:
            return steps.LockOut(self.primary.name, self.primary.server_uuid, open_accounts, names)
        return self._row(stay, self._k, what)

    def _wants_acknowledger(self, name: str) -> bool:
        member = self.wish.member(name)
        return bool(member and member.acknowledges)

    def _unclaimed(self, stay: set[str]) -> tuple[str, ...]:
        """Accounts by which a server that leaves could still be attached: all but those of the servers that stay, and
        of the primary, which will need it once it is a replica.

        The row does not say which account a silent server uses, so every account that nobody who answers claims is
        locked; it is unlocked again for the server that needs it.
        """
        claimed = {
            account_of(self.wish, s)
            for s in self.replicas
            if s.server_uuid in stay or s.server_uuid not in self.registered
        }
        claimed.add(account_of(self.wish, self.primary))
        replaced = {m.name for uuid, m in self.registered.items() if uuid not in stay}
        claimed -= {account_of(self.wish, s) for s in self.replicas if s.name in replaced and s.server_uuid not in stay}
        facts = self.situation.facts_of(self.primary.name)
        accounts = facts.replication_accounts
        return tuple(
            sorted(
                user
                for user, locked in accounts.items()
                if user not in claimed and (not locked or user in facts.dump_users)
            )
        )

    def _strangers(self) -> Optional[Decision]:
        """A server that nobody named follows with one of our accounts: it could acknowledge, and no row counts it."""
        if any(name in self.situation.observation.silent for name in self.wish.names):
            return None  # it could be the member that does not answer us
        attached = self.situation.facts_of(self.primary.name).dump_users
        accounts = tuple(user for user in self._unclaimed(set(self.registered)) if user in attached)
        if not accounts or not self._commits():
            return None
        return steps.LockOut(self.primary.name, self.primary.server_uuid, accounts, ("a server that is no member",))

    def _grow(self) -> Optional[Decision]:
        newcomers = [s for s in self.acknowledgers if s.server_uuid not in self.registered and self._follows(s)]
        if not newcomers:
            return None
        return self._with(newcomers, f"with {', '.join(s.name for s in newcomers)}")

    def _with(self, newcomers: list[ServerState], what: str) -> Optional[Decision]:
        """A row that counts these, too; they acknowledge afterwards."""
        returns = self.situation.facts_of(self.primary.name).returns
        for state in newcomers:
            if returns.get(state.server_uuid) == PENDING:
                return steps.WaitVerified(state.name, state.server_uuid, self.primary.name)
        late = self._catch_up(newcomers)
        if late is not None:
            return late
        uuids = set(self.registered) | {s.server_uuid for s in newcomers}
        return self._row(uuids, self._k, what, also=newcomers)

    def _raise_k(self) -> Optional[Decision]:
        if self.wish.k <= self._k:
            return None
        if self.primary.semi_sync.wait_count < self.wish.k:
            return self._arm(self.wish.k)
        return self._row(set(self.registered), self.wish.k, f"wait for {self.wish.k} instead of {self._k}")

    def _describe(self) -> Optional[Decision]:
        if self.term is None:
            raise defect("no term row")
        wanted = self._members(set(self.registered))
        if _comparable(wanted) != _comparable(self.term.members):
            return self._row(set(self.registered), self._k, "members' names, addresses or places")
        if self.term.acknowledgement != self.wish.acknowledgement:
            return self._row(set(self.registered), self._k, f"acknowledged on {self.wish.acknowledgement}")
        return None

    def _row(self, uuids: set[str], k: int, what: str, also: Iterable[ServerState] = ()) -> Decision:
        """A row with these acknowledgers. Its commit is acknowledged by as many as the primary waits for now."""
        active = self._active(uuids)
        holders = active + [s for s in also if s not in active]
        needed = max(k, self.primary.semi_sync.wait_count)
        if len(self._active()) < needed:
            return self._too_few(
                f"a change of the row ({what}) must be acknowledged by {needed}",
                "Bring the acknowledgers back: with fewer than k, the row that says so could not be acknowledged.",
            )
        opening = self._administrable()
        if opening is not None:
            return opening
        old = self.term
        row = TermRow(
            revision=old.revision + 1 if old else 1,
            term=old.term if old else 1,
            primary_uuid=self.primary.server_uuid,
            members=self._members(uuids),
            k=k,
            acknowledgement=self.wish.acknowledgement,
            no_tx_base=self.primary.semi_sync.no_tx,
            proof=old.proof if old else "proven",
            reason=what[:255],
        )
        return steps.WriteTerm(
            self.primary.name, self.primary.server_uuid, row, tuple(sorted(s.name for s in holders)), what
        )

    def _members(self, uuids: set[str]) -> tuple[Member, ...]:
        """The members of a row whose acknowledgers are these. Who is registered stays listed until it leaves."""
        observation = self.situation.observation
        rows: list[Member] = []
        for member in self.wish.members:
            state = observation.states.get(member.name)
            uuid = state.server_uuid if state else self._registered_uuid(member.name)
            if not uuid:
                continue
            own = uuid == self.primary.server_uuid
            rows.append(
                dataclasses.replace(
                    member, server_uuid=uuid, acknowledges=member.acknowledges if own else uuid in uuids
                )
            )
        listed = {m.server_uuid for m in rows}
        leaving = [m for uuid, m in self.registered.items() if uuid in uuids and uuid not in listed]
        names = {m.name for m in leaving}
        rows = [m for m in rows if m.name not in names or m.server_uuid in uuids]
        return tuple(rows + leaving)

    def _registered_uuid(self, name: str) -> str:
        members = self.term.members if self.term else ()
        return next((m.server_uuid for m in members if m.name == name), "")

    def _warnings(self) -> Iterable[str]:
        for member in self.wish.members:
            silent = self.situation.observation.silent.get(member.name)
            if silent:
                yield f"{member.name} does not answer and was left as it is: {silent.message}"
        for member in self.wish.members:
            if member.out:
                yield f"{member.name} is out of service ({member.out}) and was left as it is"
        for state in self.served:
            if state.receiver and state.receiver.state != ON:
                yield f"{state.name}: the receiver is {state.receiver.state}: {state.receiver.error or 'no error'}"


def _comparable(members: Iterable[Member]) -> frozenset[Member]:
    return frozenset(members)
