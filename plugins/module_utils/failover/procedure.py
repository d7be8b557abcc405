# SPDX-License-Identifier: BSD-2-Clause
"""Carrying a failover out: observe, lock, decide, act, observe again.

The order is the safety argument (docs/safety.md): nothing is elected before enough acknowledgers are frozen, nothing is
promoted before the proof, nothing takes writes before it waits for acknowledgements, and the term row is the first
transaction of the new primary. Every phase can be interrupted; a second run sees what the first one left, takes what it
can no longer see from the journal, and arrives at the same end. ``tests/unit/failover`` interrupts it everywhere.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import Any, Iterator, Mapping, NoReturn, Optional, Protocol, Sequence

from ..errors import HaError, together
from ..gtid import GtidSet
from ..refusal import Reason, Refusal
from ..server.state import Member, Observation, ServerState, TermRow
from ..topology import diagnose as verdicts
from ..topology import proof as proofs
from ..topology.diagnose import Diagnosis, diagnose
from ..topology.proof import Proof
from ..topology.testimony import Testimony, judge
from . import plan
from .faults import reach
from .journal import BEGIN, END, TESTIMONY, Journal, Unfinished
from .plan import EMERGENCY, PLANNED, Elected, NextTerm, Request, Start

APPLY_SLICE = 0.5
"""Seconds of one wait for the applier; between two the locks are kept alive and progress is judged."""


LISTEN_EVERY = 0.1
"""Seconds between two looks at replicas that seem to be connected to a primary that does not answer: a crash shows as
soon as they have noticed it."""


LET_GO = 0.25
"""Seconds between the new term and turning off semi-sync on the old primary. That statement takes up to a second and
nobody can read a global variable there meanwhile; the keeper there, who looks all the time, has to see before that its
server is read-only, or it holds on to the address for as long."""


class Effects(Protocol):
    """The verbs of ``hands.Hands``."""

    def clock(self) -> float: ...
    def wall(self) -> float: ...
    def observe(self, names: Optional[Sequence[str]] = None) -> Observation: ...
    def wait(self, seconds: float) -> None: ...
    def blockers(self, name: str, older_than: float) -> list[dict[str, Any]]: ...
    def lock(self, names: Sequence[str], required: int, wait: float) -> list[str]: ...
    def keep_locks(self) -> None: ...
    def release_locks(self) -> None: ...
    def stop_receivers(self, names: Sequence[str]) -> dict[str, Optional[HaError]]: ...
    def start_receivers(self, names: Sequence[str]) -> dict[str, Optional[HaError]]: ...
    def start_appliers(self, names: Sequence[str]) -> dict[str, Optional[HaError]]: ...
    def applied(self, name: str, gtids: GtidSet, wait: float) -> tuple[bool, GtidSet, str]: ...

    def follow(
        self, states: Sequence[ServerState], target: Member, *, acknowledge: bool
    ) -> dict[str, Optional[HaError]]: ...

    def connected(self, names: Sequence[str], enough: Optional[int] = None) -> dict[str, Optional[HaError]]: ...
    def leave_source(self, state: ServerState) -> None: ...
    def arm(self, name: str, k: int) -> None: ...
    def fence(self, name: str) -> list[str]: ...
    def disarm(self, name: str) -> None: ...
    def open_writes(self, name: str) -> None: ...
    def close_writes(self, name: str, budget: float) -> None: ...
    def executed(self, name: str) -> GtidSet: ...
    def write_term(self, name: str, row: TermRow, wait: float) -> None: ...
    def testify(self, name: str, term: int) -> None: ...
    def enable_events(self, name: str) -> tuple[list[str], list[str]]: ...


@dataclasses.dataclass
class Report:
    """What a run has to say; grows while it runs. Times in ``phases``: milliseconds since the procedure began."""

    run_id: str
    mode: str
    started_at: float = 0.0
    changed: bool = False
    old_primary: str = ""
    old_primary_uuid: str = ""
    new_primary: str = ""
    new_primary_uuid: str = ""
    zero_loss: str = proofs.UNPROVEN
    proof: dict[str, Any] = dataclasses.field(default_factory=dict)
    term: int = 0
    n: int = 0
    k: int = 0
    promoted_at: float = 0.0
    accepted_by: str = ""
    resumed: str = ""
    ended_elsewhere: str = ""
    plan: list[str] = dataclasses.field(default_factory=list)
    phases: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    errant: dict[str, str] = dataclasses.field(default_factory=dict)
    events: list[str] = dataclasses.field(default_factory=list)
    journal: str = ""
    topology_before: dict[str, str] = dataclasses.field(default_factory=dict)
    topology_after: dict[str, str] = dataclasses.field(default_factory=dict)

    def as_result(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Refused(HaError):
    """The run ended with a refusal; what it had done was undone."""

    def __init__(self, refusal: Refusal, report: Report) -> None:
        error = refusal.as_error()
        evidence = dict(error.evidence, phases=report.phases, proof=report.proof, journal=report.journal)
        super().__init__(error.code, error.message, evidence=evidence, next_step=error.next_step)
        self.refusal = refusal


class Procedure:
    """One run on one cluster. Use once: ``Procedure(...).run()``."""

    def __init__(
        self,
        hands: Effects,
        members: Sequence[Member],
        request: Request,
        journal: Journal,
        *,
        acknowledgement: str = "disk",
        check_only: bool = False,
    ) -> None:
        self.hands = hands
        self.members = tuple(members)
        self.request = request
        self.journal = journal
        self.acknowledgement = acknowledgement
        self.check_only = check_only
        self.report = Report(journal.run_id, request.mode, accepted_by="")
        self._began = 0.0
        self._frozen: list[str] = []
        self._testified: Optional[Carried] = None

    # --- the two ways -----------------------------------------------------------------------------------------------
    def run(self) -> Report:
        """Do it.

        :returns: the report; ``changed`` is false when the wish was fulfilled already, or in check mode.
        :raises Refused: it may not be done; nothing is left half done.
        :raises HaError: it could not be done; the journal knows how far it came, and running again goes on from there.
        """
        self._began = self.hands.clock()
        self.report.started_at = self.hands.wall()
        if self.check_only:
            return self._check()
        self.journal.acquire()
        try:
            self.report.journal = self.journal.path
            return self._locked_here()
        finally:
            self.hands.release_locks()
            self.journal.release()

    def _check(self) -> Report:
        with self._phase("observe"):
            observation, diagnosis = self._look()
        if self._fulfilled(diagnosis):
            return self.report
        start = self._may_start(observation, diagnosis)
        self.report.plan = plan.sentences(start, observation)
        self.report.changed = True
        return self.report

    def _locked_here(self) -> Report:
        with self._phase("observe"):
            observation, diagnosis = self._look()
        taken_up: list[Unfinished] = []
        while True:
            unfinished = self.journal.unfinished()
            if unfinished is None:
                break
            self.report.resumed = unfinished.run_id
            settled = self._take_up(unfinished, observation, diagnosis)
            if settled:
                return settled
            taken_up.append(unfinished)
            observation, diagnosis = self._look()
        if self._fulfilled(diagnosis) or self._ended_elsewhere(taken_up, diagnosis):
            return self.report
        start = self._may_start(observation, diagnosis)
        self.report.plan = plan.sentences(start, observation)
        self.journal.write(
            BEGIN,
            request=dataclasses.asdict(self.request),
            old_primary=start.old_primary,
            term=start.term.term,
            plan=self.report.plan,
        )
        if self._testified is None:
            self._remember(start)
        with self._phase("lock"):
            self.hands.lock(start.acknowledgers, start.locks, self.request.lock_wait)
        if self.request.mode == EMERGENCY:
            return self._emergency(start, observation)
        return self._planned(start, observation, diagnosis)

    def _fulfilled(self, diagnosis: Diagnosis) -> bool:
        """Whether the primary asked for is the primary already, and takes writes."""
        alive = diagnosis.primary and diagnosis.servers[diagnosis.primary].verdict == verdicts.PRIMARY
        wished = self.request.primary == diagnosis.primary
        if alive and wished:
            self.report.new_primary = diagnosis.primary or ""
            self.report.new_primary_uuid = diagnosis.primary_uuid
            self.report.notes.append(f"{diagnosis.primary} is the primary already")
            return True
        return False

    def _ended_elsewhere(self, taken_up: Sequence[Unfinished], diagnosis: Diagnosis) -> bool:
        """Whether somebody else has brought what was interrupted to its end."""
        row = plan.ended_elsewhere(self.request, [run.term for run in taken_up], diagnosis)
        if row is None:
            return False
        self.report.ended_elsewhere = row.run_id
        self.report.new_primary, self.report.new_primary_uuid = diagnosis.primary or "", row.primary_uuid
        self.report.term, self.report.n, self.report.k = row.term, row.n, row.k
        self.report.zero_loss = row.proof
        self.report.notes.append(
            f"nothing left to do: {diagnosis.primary} was promoted in term {row.term} (run {row.run_id}) after what was"
            " interrupted here had begun"
        )
        return True

    def _may_start(self, observation: Observation, diagnosis: Diagnosis) -> Start:
        decision = plan.may_start(self.request, observation, diagnosis)
        if isinstance(decision, Refusal):
            self._refuse(decision)
        if self.request.mode == PLANNED:
            target = plan.choose_target(self.request, decision, observation, diagnosis)
            if isinstance(target, Refusal):
                self._refuse(target)
            decision = dataclasses.replace(decision, target=str(target))
        self.report.old_primary = decision.old_primary
        self.report.old_primary_uuid = decision.old_primary_uuid
        return decision

    # --- emergency ---------------------------------------------------------------------------------------------------
    def _emergency(self, start: Start, observation: Observation) -> Report:
        if start.needs_silence:
            with self._phase("silence"):
                self._wait_for_silence(start, observation)
        frozen = self._freeze(start)
        elected, evidence = self._elect_and_apply(start, frozen)
        return self._promote(start, frozen, elected, evidence)

    def _wait_for_silence(self, start: Start, before: Observation) -> None:
        """A hung host closes no connection: its replicas seem connected. Listen for longer than a heartbeat takes.

        A primary that has just died is still heard for a moment, while its replicas read what had reached them. It is
        not refused for having been heard, but for not falling silent: within one window, for one window.
        """
        names = [n for n in before.answers if n != start.old_primary]
        window = plan.silence_window(start, before)
        patience = silent_at = self.hands.clock() + window
        last = before
        while True:
            self.hands.wait(min(LISTEN_EVERY, max(silent_at - self.hands.clock(), 0.0)))
            after = self.hands.observe(names)
            if not verdicts.heard_by(after, start.old_primary_uuid):
                break
            now = self.hands.clock()
            heard = plan.silence(start, last, after)
            if heard and now >= patience:
                self._refuse(heard)
            if heard:
                last, silent_at = after, now + window
            elif now >= silent_at:
                break
        if start.old_primary in before.answers and not start.cut:
            alive = plan.silence(start, last, self.hands.observe([start.old_primary]))
            if alive:
                self._refuse(alive)

    def _freeze(self, start: Start) -> Observation:
        """Stop the receivers of all registered acknowledgers that answer, and see which are held."""
        with self._phase("freeze"):
            self.journal.write("freeze", names=list(start.acknowledgers), old_primary=start.old_primary)
            self._frozen = list(start.acknowledgers)
            for name, error in self.hands.stop_receivers(start.acknowledgers).items():
                if error:
                    self.report.notes.append(f"{name} was not frozen: {error.message}")
            for name, error in self.hands.start_appliers(start.acknowledgers).items():
                if error:
                    self.report.notes.append(f"{name}: {error.message}")
            self.hands.keep_locks()
            after = self.hands.observe(list(start.acknowledgers))
            refusal = plan.enough_held(start, after, self.request)
            if refusal:
                self._undo_freeze()
                self._refuse(refusal)
        return after

    def _undo_freeze(self) -> None:
        """Let the receivers run again, also those that were only connecting: nothing was promoted."""
        for name, error in self.hands.start_receivers(self._frozen).items():
            if error:
                self.report.notes.append(f"{name}: its receiver could not be started again: {error.message}")
        self._frozen = []

    def _elect_and_apply(self, start: Start, frozen: Observation) -> tuple[Elected, Evidence]:
        """Elect, wait until it has applied everything, gather the proof. The next equal one if an applier fails."""
        excluded: list[str] = []
        while True:
            with self._phase("elect"):
                elected = plan.elect(
                    self.request,
                    start,
                    plan.held(start, frozen),
                    self.members,
                    self._errant(frozen, start),
                    excluded=excluded,
                )
            if isinstance(elected, Refusal):
                self._undo_freeze()
                self._refuse(elected)
            with self._phase("apply"):
                failure = self._apply(elected)
            if not failure:
                break
            self.report.notes.append(f"{elected.name} can not apply what it received: {failure}")
            excluded.append(elected.name)
        return elected, self._prove(start, frozen, elected)

    def _errant(self, observation: Observation, start: Start) -> dict[str, GtidSet]:
        found = {}
        for server in plan.held(start, observation):
            surplus = verdicts.errant(server, observation, None, start.old_primary_uuid)
            # What a half-promoted server wrote itself is its own term row and events, not a stray transaction.
            if surplus and not server.writable:
                found[server.name] = surplus
        self.report.errant.update({name: str(gtids) for name, gtids in found.items()})
        return found

    def _apply(self, elected: Elected) -> str:
        """Wait while it makes progress. Returns why it can not, or the empty text."""
        best = -1
        deadline = self.hands.clock() + self.request.stall_timeout
        while True:
            done, executed, error = self.hands.applied(elected.name, elected.received, APPLY_SLICE)
            if done:
                return ""
            if error:
                return error
            if len(executed) > best:
                best = len(executed)
                deadline = self.hands.clock() + self.request.stall_timeout
            elif self.hands.clock() >= deadline:
                return f"no progress for {self.request.stall_timeout:g} s"
            self.hands.keep_locks()

    def _prove(self, start: Start, frozen: Observation, elected: Elected) -> Evidence:
        """Look once more at the elected server, applied, and weigh what was gathered."""
        now = self.hands.observe([elected.name]).states.get(elected.name)
        if now is None:
            raise HaError(
                "elected_lost",
                f"{elected.name} no longer answers",
                evidence={"member": elected.name},
                next_step="Run again: another server will be elected if enough are held.",
            )
        if now.term and now.term.revision > start.term.revision:
            # It lay unapplied in a relay log: who may acknowledge has changed, so all that was counted is void.
            self._undo_freeze()
            raise HaError(
                "term_changed",
                f"a newer term row came to light on {elected.name}: revision {now.term.revision}",
                evidence={"gone_by": start.term.revision, "seen": now.term.revision},
                next_step="Run again: it is applied now and will be gone by.",
            )
        # Applying may have taken long: who is held is asked again, so that the proof speaks of now.
        again = self.hands.observe([s.name for s in plan.held(start, frozen)])
        held = tuple(now if s.name == elected.name else s for s in plan.held(start, again))
        testimony = judge(start.term, now, held)
        if testimony.reasons == ("semi_sync_unobserved",) and self._testified:
            testimony = self._testified.for_this(start, now) or testimony
        facts = proofs.gather(start.term, now, held, testimony, at=self.hands.wall())
        proof = proofs.prove(start.term, now, held, testimony, facts)
        return Evidence(proof, now, held)

    # --- promotion, common to both ways ------------------------------------------------------------------------------
    def _promote(self, start: Start, frozen: Observation, elected: Elected, evidence: Evidence) -> Report:
        """Acknowledgers, semi-sync, writable, term row: in this order."""
        proof = evidence.proof
        self._state_proof(proof)
        refusal = plan.may_promote(proof, self.request)
        others = [
            s for s in frozen.states.values() if s.name != elected.name and not self._errant(frozen, start).get(s.name)
        ]
        following = [s.name for s in others if s.received <= elected.received]
        decision = self._next_term(start, elected, following, frozen.states, proof.zero_loss)
        if refusal is None and isinstance(decision, Refusal):
            refusal = decision
        if refusal:
            self._undo_freeze()
            self._refuse(refusal)
        if isinstance(decision, Refusal):
            raise AssertionError("a refusal of the next term was refused above")
        if proof.zero_loss != proofs.PROVEN:
            self.report.accepted_by = self.request.accept_data_loss
        self.report.notes += decision.notes
        self._write_promotion(start, elected, proof)
        return self._finish(start, elected, decision, evidence.elected, [s for s in others if s.name in following])

    def _next_term(
        self,
        start: Start,
        elected: Elected,
        following: Sequence[str],
        states: Mapping[str, ServerState],
        proof: str,
    ) -> NextTerm | Refusal:
        return plan.next_term(
            start,
            elected.name,
            elected.server_uuid,
            following,
            self.members,
            {name: state.server_uuid for name, state in states.items()},
            self.request,
            proof=proof,
            run_id=self.journal.run_id,
        )

    def _write_promotion(self, start: Start, elected: Elected, proof: Proof) -> None:
        """The point of no return: from here on a later run goes forward, with this evidence."""
        self.journal.write(
            "promote",
            elected=elected.name,
            elected_uuid=elected.server_uuid,
            received=str(elected.received),
            start=_start_as_record(start),
            zero_loss=proof.zero_loss,
            proof=proof.as_result(),
            accepted_by=self.report.accepted_by,
        )

    def _finish(
        self,
        start: Start,
        elected: Elected,
        decision: NextTerm,
        state: ServerState,
        followers: Sequence[ServerState],
    ) -> Report:
        """From the journal's ``promote`` record on: everything here may be done twice."""
        self.hands.keep_locks()
        target = self._member(elected.name)
        with self._phase("acknowledgers"):
            attached = self.hands.follow(followers, target, acknowledge=True) if followers else {}
            for name, error in attached.items():
                if error:
                    self.report.notes.append(f"{name} does not follow yet: {error.message}")
            behind = [name for name, error in attached.items() if not error]
            _require_behind(elected, decision.row, attached)
        with self._phase("arm"):
            self.hands.leave_source(state)
            self.hands.arm(elected.name, decision.row.k)
            # They have had the time of arming to connect; the first commit would wait for them in any case.
            _require_behind(elected, decision.row, self.hands.connected(behind, decision.row.k))
        if start.cut:
            with self._phase("fence"):
                self.hands.keep_locks()
                self._fence(start.old_primary)
        with self._phase("open"):
            self.hands.keep_locks()
            self.hands.open_writes(elected.name)
        with self._phase("term"):
            self.hands.write_term(elected.name, decision.row, self.request.stall_timeout)
        self.report.changed = True
        self.report.promoted_at = self.hands.wall()
        self._describe(decision.row, elected)
        return self._verified(elected, decision.row)

    def _fence(self, old_primary: str) -> None:
        """Let nobody in to the old primary, which answers, before another one opens. The last thing before that:
        whatever can fail has been done, and until then its clients can read there.

        That it fails stops nothing: it can acknowledge nothing, and its keeper fences it as soon as it hears of the
        new term.
        """
        try:
            left = self.hands.fence(old_primary)
        except HaError as error:
            self.report.notes.append(f"{old_primary} is not fenced: {error.message}")
        else:
            if left:
                who = ", ".join(left)
                self.report.notes.append(f"{old_primary} is fenced, and the sessions of {who} could not be ended there")

    def _describe(self, row: TermRow, elected: Elected) -> None:
        self.report.new_primary = elected.name
        self.report.new_primary_uuid = elected.server_uuid
        self.report.term, self.report.n, self.report.k = row.term, row.n, row.k

    def _verified(self, elected: Elected, row: TermRow) -> Report:
        """Events come home, and a last look says what the cluster is now."""
        with self._phase("verify"):
            self.report.events, failures = self.hands.enable_events(elected.name)
            self.report.notes += failures
            after = diagnose(self.hands.observe(), acknowledgement=row.acknowledgement)
            self.report.topology_after = {name: s.verdict for name, s in after.servers.items()}
            if after.primary != elected.name or after.servers[elected.name].verdict != verdicts.PRIMARY:
                raise HaError(
                    "not_primary_after_all",
                    f"{elected.name} was promoted and is {after.servers[elected.name].verdict} now",
                    evidence={"verdict": after.verdict, "reasons": list(after.reasons)},
                    next_step="Run again.",
                )
            self.report.errant.update({name: str(gtids) for name, gtids in after.errant.items()})
        self.journal.write(END, how="promoted", report=self.report.as_result())
        return self.report

    # --- planned -----------------------------------------------------------------------------------------------------
    def _planned(self, start: Start, observation: Observation, diagnosis: Diagnosis) -> Report:
        blockers = self.hands.blockers(start.old_primary, self.request.block_budget)
        refusal = plan.quick_enough(start, blockers)
        if refusal:
            self._refuse(refusal)
        states = observation.states
        target = states[start.target]
        ahead = plan.moved_ahead(start, observation, start.target)
        self.journal.write("switch", start=_start_as_record(start), ahead=list(ahead))
        try:
            with self._phase("prepare"):
                self._follow_all([states[n] for n in ahead], self._member(start.target))
                # A receiver that still has to connect would do so at the cost of the blocked time.
                _raise_first(self.hands.connected(ahead))
                self._catch_up(start, target)
            with self._phase("block"):
                self.hands.keep_locks()
                self.hands.close_writes(start.old_primary, self.request.block_budget)
            with self._phase("drain"):
                final = self.hands.executed(start.old_primary)
                self._drain(start, final)
                # The last moment at which all can be undone.
                self.hands.keep_locks()
        except HaError as error:
            left = self._roll_back(start, states, ahead)
            if left:
                error.evidence["not_undone"] = [failure.message for failure in left]
            raise
        elected = Elected(target.name, target.server_uuid, final, ("executed everything the old primary had",))
        return self._switch(start, elected, states, final, ahead)

    def _follow_all(self, states: Sequence[ServerState], target: Member) -> None:
        """:raises HaError: the first failure."""
        if states:
            _raise_first(self.hands.follow(states, target, acknowledge=True))

    def _catch_up(self, start: Start, target: ServerState) -> None:
        """Before writes are blocked, the target has executed all that it had been sent: what is left is short."""
        late = self.hands.executed(start.old_primary)
        elected = Elected(target.name, target.server_uuid, late, ())
        failure = self._apply(elected)
        if failure:
            raise HaError(
                "target_behind",
                f"{target.name} does not catch up: {failure}",
                evidence={"member": target.name},
                next_step="Nothing was changed. Wait until its lag is gone, or name another server.",
            )

    def _drain(self, start: Start, final: GtidSet) -> None:
        done, executed, error = self.hands.applied(start.target, final, self.request.block_budget)
        if not done:
            raise HaError(
                "target_behind",
                f"{start.target} did not execute the last transactions within {self.request.block_budget:g} s"
                + (f": {error}" if error else ""),
                evidence={"lacks": str(final - executed)},
                next_step="Writes go on at the old primary. Run again when it is less busy.",
            )

    def _roll_back(self, start: Start, states: Mapping[str, ServerState], ahead: Sequence[str]) -> list[HaError]:
        """Writes go on at the old primary, and everybody follows it again.

        :returns: what could not be undone. Then the journal has no end, and the next run undoes the rest.
        """
        left = self._open_again(start.old_primary)
        left += self._follow_again(start.old_primary, [states[n] for n in ahead])
        if left:
            self.journal.write("not undone", notes=self.report.notes)
        else:
            self.journal.write(END, how="rolled back", notes=self.report.notes)
        return left

    def _open_again(self, old_primary: str) -> list[HaError]:
        """Let the old primary take writes. A failure is noted and returned: it keeps nothing else from being tried."""
        try:
            self.hands.open_writes(old_primary)
        except HaError as error:
            self.report.notes.append(f"{old_primary} does not take writes again: {error.message}")
            return [error]
        return []

    def _follow_again(self, old_primary: str, servers: Sequence[ServerState]) -> list[HaError]:
        """Let these follow the old primary. Failures as in ``_open_again``."""
        if not servers:
            return []
        outcome = self.hands.follow(servers, self._member(old_primary), acknowledge=True)
        failed = {name: error for name, error in outcome.items() if error}
        for name, error in failed.items():
            self.report.notes.append(f"{name} does not follow {old_primary} again: {error.message}")
        return list(failed.values())

    def _switch(
        self,
        start: Start,
        elected: Elected,
        states: Mapping[str, ServerState],
        final: GtidSet,
        ahead: Sequence[str],
    ) -> Report:
        """Nothing is written any more and the target has everything: promote it, and turn the old primary around."""
        old = states.get(start.old_primary)
        following = [n for n in start.acknowledgers if n != elected.name]
        if old is not None:
            following.append(start.old_primary)
        proof = _planned_proof(start, elected, final, self.hands.wall())
        decision = self._next_term(start, elected, following, states, proof.zero_loss)
        if isinstance(decision, Refusal):
            left = self._roll_back(start, states, ahead)
            if left:
                # A refusal leaves nothing half done.
                raise together(left)
            self._refuse(decision)
        self._state_proof(proof)
        self._write_promotion(start, elected, proof)
        rest = [states[n] for n in following if n not in ahead and n != start.old_primary]
        turn = [old] if old is not None else []
        with self._phase("arm"):
            self.hands.leave_source(states[elected.name])
            self.hands.arm(elected.name, decision.row.k)
        # The old primary and whoever stayed with it follow before the term row, whose commit may need their
        # acknowledgement; the row is the first transaction they can acknowledge.
        early = len(ahead) < decision.row.k
        if early:
            self._turn_around(start, turn, rest, elected)
            behind = [n for n in following if n in states]
            _require_behind(elected, decision.row, self.hands.connected(behind, decision.row.k))
        with self._phase("open"):
            self.hands.keep_locks()
            self.hands.open_writes(elected.name)
        with self._phase("term"):
            self.hands.write_term(elected.name, decision.row, self.request.stall_timeout)
        self.report.changed = True
        self.report.promoted_at = self.hands.wall()
        self._describe(decision.row, elected)
        if not early:
            self._turn_around(start, turn, rest, elected, let_go=LET_GO)
        return self._verified(elected, decision.row)

    def _turn_around(
        self,
        start: Start,
        old: Sequence[ServerState],
        rest: Sequence[ServerState],
        elected: Elected,
        *,
        let_go: float = 0.0,
    ) -> None:
        with self._phase("demote"):
            if old and let_go:
                self.hands.wait(let_go)
            for state in old:
                self.hands.disarm(state.name)
            for name, error in self.hands.follow([*rest, *old], self._member(elected.name), acknowledge=True).items():
                if error:
                    self.report.notes.append(f"{name} does not follow yet: {error.message}")

    # --- taking up an interrupted run --------------------------------------------------------------------------------
    def _take_up(self, run: Unfinished, observation: Observation, diagnosis: Diagnosis) -> Optional[Report]:
        """Bring an interrupted run to an end: forward if its promotion had begun, back if not.

        The locks that this takes are kept: were they let go, another run could come between what that one left and
        what this one goes on with.

        :returns: the report, when that fulfils this run; None when this run starts from a clean state.
        """
        promote = run.last("promote")
        switch = run.last("switch")
        carried = run.last(TESTIMONY)
        if carried:
            self._carry(carried)
        if promote:
            return self._go_forward(run, promote, observation, diagnosis)
        names = _start_from_record(switch["start"]).acknowledgers if switch else run.stopped_receivers()
        self._lock_answering(names, observation)
        if switch:
            start = _start_from_record(switch["start"])
            old = observation.states.get(start.old_primary)
            if old and diagnosis.term and diagnosis.term.revision == start.term.revision:
                states = {n: s for n, s in observation.states.items() if n in switch["ahead"]}
                self._reopen(start, old, states)
        else:
            stopped = [n for n in run.stopped_receivers() if n in observation.states]
            if self._primary_answers(diagnosis):
                errors = self.hands.start_receivers(stopped)
                self.report.notes += [f"{n}: {e.message}" for n, e in errors.items() if e]
            else:
                # They stay frozen for this run to go on with; if it is refused, they run again.
                self._frozen = stopped
        self.journal.close_other(run, "undone")
        self.report.notes.append(f"run {run.run_id} had been interrupted before it promoted anything: undone")
        return None

    def _primary_answers(self, diagnosis: Diagnosis) -> bool:
        name = diagnosis.primary or ""
        return name in diagnosis.servers and diagnosis.servers[name].verdict in (
            verdicts.PRIMARY,
            verdicts.PRIMARY_READ_ONLY,
        )

    def _reopen(self, start: Start, old: ServerState, states: Mapping[str, ServerState]) -> None:
        """Undo an interrupted switchover whose promotion had not begun.

        :raises HaError: the old primary could not be opened. Who does not follow it again is noted.
        """
        reopen = not old.writable and old.semi_sync.source_enabled
        astray = [s for s in states.values() if not s.follows(start.old_primary_uuid)]
        failed = self._open_again(old.name) if reopen else []
        self._follow_again(old.name, astray)
        if failed:
            raise failed[0]
        if reopen:
            # While it took no writes its keeper could commit no heartbeat: the last one may be stale by now.
            self.hands.testify(old.name, start.term.term)

    def _go_forward(
        self, run: Unfinished, promote: Mapping[str, Any], observation: Observation, diagnosis: Diagnosis
    ) -> Optional[Report]:
        """The journal says whom to promote and on what proof. No second candidate while that one may have acted."""
        start = _start_from_record(promote["start"])
        elected = Elected(
            promote["elected"], promote["elected_uuid"], GtidSet.parse(promote["received"]), ("from the journal",)
        )
        self.report.old_primary, self.report.old_primary_uuid = start.old_primary, start.old_primary_uuid
        self.report.zero_loss, self.report.proof = promote["zero_loss"], dict(promote["proof"])
        self.report.accepted_by = promote["accepted_by"]
        term = diagnosis.term
        state = observation.states.get(elected.name)
        if state is not None and state.server_uuid != elected.server_uuid:
            state = None
        if term and term.revision > start.term.revision:
            begun = term.primary_uuid == elected.server_uuid and term.revision == start.term.revision + 1
            if begun and state is not None and state.writable:
                self._lock_answering(start.acknowledgers, observation)
                self._describe(term, elected)
                self._attach_rest(start, term, observation, elected)
                self.report.changed = True
                self.report.promoted_at = term.written_at
                report = self._verified(elected, term)
                self.journal.close_other(run, "finished by a later run")
                return report
            self.journal.close_other(run, f"term {term.term} is in force")
            return None
        self._lock_answering(start.acknowledgers, observation)
        old = observation.states.get(start.old_primary)
        if state is None or not self._still_holds(start, elected, state, old, observation):
            # What was proven then need not be so now: receivers may run again, the old primary may have worked on. So
            # begin again with a freeze. It fences the elected server, too, whose followers are acknowledgers of the old
            # term. Only what the old primary testified is kept, for those who heard it may have forgotten it.
            self._carry(
                {
                    "testimony": promote["proof"]["testimony"],
                    "received": promote["received"],
                    "revision": start.term.revision,
                    "old_primary_uuid": start.old_primary_uuid,
                }
            )
            if start.mode == PLANNED and old is not None:
                ahead = {n: s for n, s in observation.states.items() if n in start.acknowledgers}
                self._reopen(start, old, ahead)
            self._frozen = [n for n in start.acknowledgers if n in observation.states and start.mode == EMERGENCY]
            self.journal.close_other(run, f"{elected.name} had not begun to serve")
            self.report.notes.append(f"run {run.run_id} had begun to promote {elected.name}; begin again")
            return None
        followers = [
            s
            for s in observation.states.values()
            if s.name != elected.name
            and s.received <= elected.received | state.received
            and not s.writable
            and (s.name in start.acknowledgers or (start.mode == PLANNED and s.name == start.old_primary))
        ]
        for server in followers:
            if server.semi_sync.source_enabled:
                self.hands.disarm(server.name)
        following = [s.name for s in followers]
        decision = self._next_term(start, elected, following, observation.states, promote["zero_loss"])
        if isinstance(decision, Refusal):
            self._refuse(decision)
        self.journal.write("promote", **{k: v for k, v in promote.items() if k not in ("what", "at")})
        self.journal.close_other(run, f"taken up by {self.journal.run_id}")
        self.report.notes.append(f"took up run {run.run_id}, which had begun to promote {elected.name}")
        return self._finish(start, elected, decision, state, followers)

    def _still_holds(
        self,
        start: Start,
        elected: Elected,
        state: ServerState,
        old: Optional[ServerState],
        observation: Observation,
    ) -> bool:
        """Whether an interrupted promotion may simply go on.

        Planned: the old primary answers, takes no writes, and has nothing that the elected server lacks. Emergency: the
        elected server takes writes already, so it has left its source and its followers are made. When the replication
        alone was cut, the old primary may take writes as well, as long as it still can not acknowledge them.

        :raises Refused: it takes writes, and so does the old primary, or somebody received more of that one.
        """
        if start.mode == PLANNED and not state.writable:
            return old is not None and not old.writable and old.executed <= state.received
        if not state.writable:
            return False
        fenced = plan.still_fenced(start, elected, observation)
        beyond = {
            s.name: str(surplus)
            for s in observation.states.values()
            # What a fenced primary alone has was never acknowledged: it waited when it was closed, or died.
            if not (fenced and s.server_uuid == start.old_primary_uuid)
            and (surplus := (s.received - state.received).of([start.old_primary_uuid]))
        }
        if beyond or (old is not None and old.writable and not (fenced and start.cut)):
            self._refuse(
                Refusal(
                    (
                        Reason(
                            "topology_several_writable",
                            f"{elected.name} takes writes without a term, and {start.old_primary} went on meanwhile",
                            {"beyond": beyond, "journal": self.journal.path},
                            "Compare both servers by hand; restart mysqld on the one that is to give way.",
                        ),
                    )
                )
            )
        return True

    def _attach_rest(self, start: Start, term: TermRow, observation: Observation, elected: Elected) -> None:
        """Members of the new term that do not follow it yet; the promotion itself was done."""
        primary = observation.states.get(elected.name)
        if primary is None:
            return
        uuids = {m.server_uuid for m in term.acknowledgers}
        astray = [
            s
            for s in observation.states.values()
            if s.server_uuid in uuids and not s.follows(elected.server_uuid) and not s.writable
        ]
        for server in astray:
            if server.semi_sync.source_enabled:
                self.hands.disarm(server.name)
        if astray:
            self.hands.follow(astray, self._member(elected.name), acknowledge=True)

    # --- small things ------------------------------------------------------------------------------------------------
    def _look(self) -> tuple[Observation, Diagnosis]:
        observation = self.hands.observe()
        diagnosis = diagnose(observation, acknowledgement=self.acknowledgement)
        if not self.report.topology_before:
            self.report.topology_before = {name: s.verdict for name, s in diagnosis.servers.items()}
        return observation, diagnosis

    def _member(self, name: str) -> Member:
        return next(m for m in self.members if m.name == name)

    def _state_proof(self, proof: Proof) -> None:
        self.report.zero_loss = proof.zero_loss
        self.report.proof = proof.as_result()

    def _carry(self, record: Mapping[str, Any]) -> None:
        """Take over what an earlier run heard of the old primary; this run may be interrupted as well."""
        self._testified = Carried(
            proofs.testimony_from_result(record["testimony"]),
            GtidSet.parse(record["received"]),
            record["revision"],
            record["old_primary_uuid"],
        )
        self.journal.write(TESTIMONY, **{k: v for k, v in record.items() if k not in ("what", "at")})

    def _remember(self, start: Start) -> None:
        """Take over what the last run was told, if that was about the same primary, which is still to be replaced."""
        told = self.journal.testimony()
        about = (start.term.revision, start.old_primary_uuid)
        if told is not None and (told["revision"], told["old_primary_uuid"]) == about:
            self._carry(told)

    def _lock_answering(self, names: Sequence[str], observation: Observation) -> None:
        """Every one of these that answers: a run of another host that holds any of them is not disturbed."""
        answering = sorted(name for name in names if name in observation.states)
        if answering:
            self.hands.lock(answering, len(answering), self.request.lock_wait)

    def _refuse(self, refusal: Refusal) -> NoReturn:
        if self._frozen:
            self._undo_freeze()
        if self.journal.begun:
            self.journal.write(END, how="refused", reasons=[r.as_result() for r in refusal.reasons])
        raise Refused(refusal, self.report)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """Time a phase, and give a drill its fault points before and after it."""
        reach(f"{name}:before")
        began = self.hands.clock()
        try:
            yield
        finally:
            self.report.phases.append(
                {
                    "name": name,
                    "start_ms": round((began - self._began) * 1000, 1),
                    "duration_ms": round((self.hands.clock() - began) * 1000, 1),
                }
            )
        reach(f"{name}:after")


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The proof, the elected server as it was when proven, and the servers that were held."""

    proof: Proof
    elected: ServerState
    held: tuple[ServerState, ...]


def _planned_proof(start: Start, elected: Elected, final: GtidSet, at: float) -> Proof:
    """With the old primary alive and read-only, its own gtid_executed is all that was ever acknowledged."""
    fact = proofs.Fact("contains", start.old_primary_uuid, {"executed_by_old_primary": str(final)}, at)
    done = proofs.Fact("applied", elected.server_uuid, {"executed": str(elected.received)}, at)
    return Proof(
        zero_loss=proofs.PROVEN,
        n=start.term.n,
        k=start.term.k,
        required=start.required,
        frozen=(),
        facts=(fact, done),
        missing=(),
        testimony=Testimony(True, ()),
    )


@dataclasses.dataclass(frozen=True)
class Carried:
    """A testimony heard by an earlier run, and what it testifies about: nothing that was received later."""

    testimony: Testimony
    received: GtidSet
    revision: int
    old_primary_uuid: str

    def for_this(self, start: Start, elected: ServerState) -> Optional[Testimony]:
        same = self.revision == start.term.revision and self.old_primary_uuid == start.old_primary_uuid
        covered = elected.received.of([start.old_primary_uuid]) <= self.received
        return self.testimony if same and covered and self.testimony.heartbeat else None


def _require_behind(elected: Elected, row: TermRow, outcome: Mapping[str, Optional[HaError]]) -> None:
    """:raises HaError: ``too_few_followers``, with what is in the way for each."""
    ill = {name: error.message for name, error in outcome.items() if error}
    refusal = plan.enough_follow(elected, row, [name for name in outcome if name not in ill], ill)
    if refusal:
        raise refusal.as_error()


def _raise_first(outcome: Mapping[str, Optional[HaError]]) -> None:
    for error in outcome.values():
        if error:
            raise error


def _start_as_record(start: Start) -> dict[str, Any]:
    return dataclasses.asdict(start)


def _start_from_record(record: Mapping[str, Any]) -> Start:
    values: dict[str, Any] = dict(record)
    term = dict(values["term"])
    term["members"] = tuple(Member(**m) for m in term["members"])
    values["term"] = TermRow(**term)
    values["acknowledgers"] = tuple(values["acknowledgers"])
    values["needs_silence"] = tuple(values["needs_silence"])
    return Start(**values)
