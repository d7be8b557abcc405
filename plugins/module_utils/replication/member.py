# SPDX-License-Identifier: BSD-2-Clause
"""Operations on one member: taken out of service, brought back, re-pointed, started, stopped. Pure.

Five plans that are made of the stages of convergence (``plan.py``) and keep its rules of order; the other members are
left as they are. The primary must answer and be as the term row says: what a cluster lacks besides is for convergence.

* *Taken out*: locked out on the primary, its dump thread gone, everything committed received by the acknowledgers that
  stay, then the row. So it need not answer. If it does, it stops acknowledging and may follow again.
* *Brought back*: it follows, has nothing that the primary has not, has caught up; the row counts it; it acknowledges.

No operation skips a transaction.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Iterator, Optional

from ..errors import defect
from ..refusal import Reason, Refusal
from ..server.state import OFF, Member, ServerState, TermRow
from ..topology.diagnose import lag
from . import refusals, steps
from .plan import LAG_ALLOWED, Decision, Look, Settled
from .situation import Primary, Situation, Wish, account_of, find_primary

TAKE_OUT, BRING_BACK, REPOINT, START, STOP = "take_out", "bring_back", "repoint", "start", "stop"
OPERATIONS = (TAKE_OUT, BRING_BACK, REPOINT, START, STOP)

CAUGHT_UP = 5.0
"""Seconds. A member that has applied all but these counts as caught up, whatever the number of transactions."""

_REASON = 180
"""Characters of a reason that the term row keeps."""

_CONVERGE = "Run mysql_replication (the playbook site) first: it makes the cluster what its term row says."


@dataclasses.dataclass(frozen=True)
class Request:
    """``operation``: one of ``OPERATIONS``. ``reason``: why it is taken out; a person reads it in the status."""

    operation: str
    member: str
    reason: str = ""

    @property
    def why(self) -> str:
        return self.reason[:_REASON] or "maintenance"


def next_step(request: Request, situation: Situation, wish: Wish) -> Decision:
    """As ``plan.next_step``. Of ``wish`` count the members and how replicas log in; the rest is as the row says."""
    known = _as_registered(request, situation, wish)
    primary = find_primary(situation, known)
    reasons = tuple(_unready(request, situation, known, primary))
    if reasons:
        return Refusal(reasons)
    if primary is None or situation.term is None:
        raise defect("an operation without a primary")
    look = _MemberLook(request, situation, known, primary)
    reasons = tuple(look.reasons())
    return Refusal(reasons) if reasons else look.decide()


def _as_registered(request: Request, situation: Situation, wish: Wish) -> Wish:
    """Every member that was looked at is wanted as the row has it; the one to be brought back as it is configured."""
    term = situation.term
    if term is None:
        return wish
    names = {m.name for m in term.acknowledgers}
    uuids = {m.server_uuid for m in term.acknowledgers}

    def counts(member: Member) -> bool:
        state = situation.state(member.name)
        return state.server_uuid in uuids if state else member.name in names

    members = tuple(
        m
        if m.name == request.member and request.operation == BRING_BACK
        else dataclasses.replace(m, acknowledges=counts(m))
        for m in situation.observation.members
    )
    return dataclasses.replace(
        wish, members=members, k=term.k, acknowledgement=term.acknowledgement, primary="", expendable=frozenset()
    )


def _reason(code: str, message: str, next_step: str, **evidence: Any) -> Reason:
    return Reason(code, message, evidence, next_step)


def _unready(request: Request, situation: Situation, wish: Wish, primary: Optional[Primary]) -> Iterator[Reason]:
    """What speaks against any operation, before the situation can be taken apart."""
    if request.member not in wish.names:
        yield _reason(
            "unknown_member", f"there is no member {request.member!r}", "Name a member.", members=sorted(wish.names)
        )
    if situation.term is None and situation.observation.states:
        yield _reason("acknowledgers_unknown", "there is no term row: nobody is registered to acknowledge", _CONVERGE)
    yield from refusals.of_primary(situation, wish, primary)


class _MemberLook(Look):
    """One situation, and one member of it. ``target``: its state; None while it does not answer."""

    def __init__(self, request: Request, situation: Situation, wish: Wish, primary: Primary) -> None:
        super().__init__(situation, wish, primary)
        self.request = request
        self.target = situation.state(request.member)
        if self.term is None:
            raise defect("no term row")
        self.row: TermRow = self.term
        self.entry: Optional[Member] = next((m for m in self.row.members if self._is_target(m)), None)

    def _is_target(self, member: Member) -> bool:
        if self.target is not None:
            return member.server_uuid == self.target.server_uuid
        return member.name == self.request.member

    @property
    def _entry(self) -> Member:
        if self.entry is None:
            raise defect("a member that is not in the row")
        return self.entry

    @property
    def _state(self) -> ServerState:
        if self.target is None:
            raise defect("a member without an answer")
        return self.target

    # --- what speaks against it --------------------------------------------------------------------------------------
    def reasons(self) -> Iterator[Reason]:
        """Every reason against this operation now; too few acknowledgers are found by the stages."""
        name, operation = self.request.member, self.request.operation
        yield from self._drifted()
        if name == self.primary.name:
            if operation != BRING_BACK:
                yield _reason(
                    "member_is_primary",
                    f"{name} is the primary: it can not be a replica at the same time",
                    "Switch over first (mysql_failover, mode planned).",
                    member=name,
                )
            return
        if self.entry is None:
            yield _reason(
                "member_not_registered",
                f"{name} is not in the term row: nothing counts on it",
                "Run mysql_replication (the playbook site): it seeds and registers new members.",
                member=name,
                registered=[m.name for m in self.row.members],
            )
        if self.target is None:
            if operation != TAKE_OUT:
                silent = self.situation.observation.silent[name]
                out = self.entry is not None and self.entry.out
                yield _reason(
                    "member_does_not_answer",
                    silent.message,
                    silent.next_step + ("" if out else " It can be taken out of service meanwhile."),
                    member=name,
                    kind=silent.kind,
                )
            return
        yield from self._unfit(self.target)

    def _drifted(self) -> Iterator[Reason]:
        own = self.primary
        found = []
        if not own.writable:
            found.append(f"{own.name} is read-only")
        if not self._is_armed() or own.semi_sync.wait_count < self._k:
            found.append(f"{own.name} does not wait for {self._k} acknowledgements, AFTER_SYNC and without time-out")
        found += [
            f"{s.name} acknowledges and is not registered"
            for s in self.others
            if s.name != self.request.member and self._acknowledging(s) and not self._may_acknowledge(s)
        ]
        if found:
            yield _reason("not_as_registered", "; ".join(found), _CONVERGE, primary=own.name, k=self._k)

    def _unfit(self, state: ServerState) -> Iterator[Reason]:
        operation = self.request.operation
        if operation == TAKE_OUT:
            seen, account = state.receiver, account_of(self.wish, state)
            if seen is not None and self._follows(state) and seen.user != account:
                yield _reason(
                    "login_not_its_own",
                    f"{state.name} follows as {seen.user}, not as {account}: it can not be locked out alone",
                    "Repoint it first: it then logs in as itself.",
                    member=state.name,
                    user=seen.user,
                )
        if operation in (TAKE_OUT, STOP):
            return
        found = list(refusals.of_replica(self.situation, self.wish, state, self.primary))
        if operation == START:
            # Whoever mended what had stopped the applier starts it; it says so if it stops again.
            found = [reason for reason in found if reason.code != "applier_broken"]
            astray = self._astray(state)
            if astray:
                yield _reason(
                    "not_following_primary", f"{state.name}: {astray}", "Repoint it: that starts it, too.", why=astray
                )
        else:
            member = self.wish.member(state.name)
            if member is not None:
                yield from refusals.of_server(self.situation, self.wish, member, state)
        yield from found
        empty = not state.executed and not (state.receiver and state.receiver.source_host)
        if empty or self.situation.facts_of(state.name).wrecked:
            yield _reason(
                "member_is_empty",
                f"{state.name} is empty",
                "Run mysql_replication (the playbook site): it clones new members.",
                member=state.name,
            )

    # --- the plans ---------------------------------------------------------------------------------------------------
    def decide(self) -> Decision:
        stages = {
            TAKE_OUT: (self._leave, self._quieten),
            BRING_BACK: (self._follow, self._catch_up_applied, self._enter, self._acknowledge_if_registered),
            REPOINT: (self._follow, self._acknowledge_if_registered),
            START: (self._run_again, self._acknowledge_if_registered),
            STOP: (self._stop,),
        }
        for stage in stages[self.request.operation]:
            decision = stage()
            if decision is not None:
                return decision
        return Settled(self.primary.name, tuple(self._warnings()))

    def _leave(self) -> Optional[Decision]:
        what = f"{self.request.member} out of service: {self.request.why}"
        stay = set(self.registered) - {self._entry.server_uuid}
        decision = self._without(stay, what)
        if decision is not None or self._entry.out:
            return decision
        return self._row(stay, self._k, what)

    def _quieten(self) -> Optional[Decision]:
        """It may follow again, once it is known that it does not acknowledge."""
        state = self.target
        if state is None:
            return None
        if state.semi_sync.replica_enabled or state.semi_sync.replica_active:
            return steps.StopAcknowledging(state.name, state.server_uuid, "it is out of service")
        account = account_of(self.wish, state)
        if self._is_locked(account):
            return self._readmit(state, account)
        receiver, applier = state.receiver, state.applier
        # Half of a restart of the receiver: who was stopped on purpose has its applier off, too.
        halfway = receiver and applier and receiver.state == OFF != applier.state and not self._astray(state)
        return self._started(state) if halfway else None

    def _follow(self) -> Optional[Decision]:
        if self.request.member == self.primary.name:
            return None
        state = self._state
        return (
            self._hygiene_of(state)
            or self._attach([state], last=True)
            or self._connect([state], 1)
            or self._lift_fences([state])
        )

    def _run_again(self) -> Optional[Decision]:
        state, account = self._state, account_of(self.wish, self._state)
        if self._is_locked(account):
            return self._hygiene_of(state) or self._readmit(state, account)
        return self._hygiene_of(state) or self._started(state) or self._connect([state], 1)

    def _catch_up_applied(self) -> Optional[Decision]:
        """Applied, too: an acknowledger that lags makes a failover to it as long."""
        if self.request.member == self.primary.name or self._entry.server_uuid in self.registered:
            return None
        state = self._state
        behind = lag(state, self.primary, self.primary.server_uuid)
        if len(self.primary.executed - state.executed) <= LAG_ALLOWED or (behind is not None and behind <= CAUGHT_UP):
            return None
        return steps.WaitReceived(state.name, state.server_uuid, self.primary.name, self.primary.executed, applied=True)

    def _enter(self) -> Optional[Decision]:
        what = f"{self.request.member} in service"
        if self.target in self.acknowledgers and self._entry.server_uuid not in self.registered:
            return self._with([self._state], what)
        return self._row(set(self.registered), self._k, what) if self._entry.out else None

    def _acknowledge_if_registered(self) -> Optional[Decision]:
        state = self.target
        return self._acknowledge([state]) if state is not None and state.server_uuid in self.registered else None

    def _stop(self) -> Optional[Decision]:
        state = self._state
        receiver, applier = state.receiver, state.applier
        if receiver is None or applier is None or receiver.state == applier.state == OFF:
            return None
        clients = 0
        if self._may_acknowledge(state) and receiver.state != OFF:
            needed = max(self._k, self.primary.semi_sync.wait_count)
            if len([s for s in self._active() if s is not state]) < needed:
                return self._too_few(
                    f"without {state.name} the primary, which waits for {needed}, would hold every commit",
                    "Bring another acknowledger back; then take this one out of service instead of stopping it.",
                )
            clients = needed + self._acknowledging(state)
        return steps.StopThreads(state.name, state.server_uuid, self.primary.name, clients)

    # --- overridden --------------------------------------------------------------------------------------------------
    def _to_be_cloned(self, state: ServerState) -> Optional[str]:
        """Nobody's data are replaced here."""
        return None

    def _unclaimed(self, stay: set[str]) -> tuple[str, ...]:
        """Whoever answers is locked out by its own account alone."""
        accounts = super()._unclaimed(stay)
        if self.target is None:
            return accounts
        own = account_of(self.wish, self.target)
        return tuple(account for account in accounts if account == own)

    def _members(self, uuids: set[str]) -> tuple[Member, ...]:
        """The row as it is, but for this member."""
        own = self._entry.server_uuid == self.primary.server_uuid
        changed = dataclasses.replace(
            self._entry,
            acknowledges=self._entry.acknowledges if own else self._entry.server_uuid in uuids,
            out=self.request.why if self.request.operation == TAKE_OUT else "",
        )
        return tuple(changed if m is self._entry else m for m in self.row.members)

    def _warnings(self) -> Iterator[str]:
        if self.request.operation != TAKE_OUT:
            return
        yield from consequences(self.row)
        if self.target is not None:
            return
        facts = self.situation.facts_of(self.primary.name)
        silent = sorted(m.name for m in self.row.acknowledgers if m.name in self.situation.observation.silent)
        if silent and any(facts.replication_accounts.values()):
            yield (
                f"{', '.join(silent)} did not answer either, so nobody knows which account is whose: it may be locked"
                " out, too, until it is repointed"
            )


def consequences(term: TermRow) -> Iterator[str]:
    """What a cluster with this row can no longer bear, besides what ``durability`` says of losing transactions."""
    n, k = term.n, term.k
    if n == k:
        yield f"the loss of one more acknowledger stops writes: {k} of {n} have to acknowledge"
    if n - 1 < k:
        only = "" if n == 1 else f", unless lower_k allows {n - 1}"
        yield f"no failover can be completed: a new primary would have {n - 1} acknowledgers and wait for {k}{only}"
