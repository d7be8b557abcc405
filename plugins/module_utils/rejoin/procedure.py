# SPDX-License-Identifier: BSD-2-Clause
"""Bringing a deposed server back, from its own host: what the module calls.

One run does as much as can be done now, and says what comes next; running again goes on from what is there.

* mysqld does not run: what waits in its log is cut off if it may be (``plan.py``), otherwise the log's end is kept.
  Then it has to be started: that is the caller's, who knows the service.
* mysqld runs, and has what the primary lacks: archived; then all its data are replaced by a clone. If a client may have
  been told OK for any of it, only once a person has given those transactions up, by name.
* mysqld runs, and has nothing extra: it follows, is registered, and acknowledges.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Callable, Optional, Sequence

from ..binlog import archive
from ..errors import HaError
from ..gtid import EMPTY, GtidSet
from ..refusal import Reason, Refusal
from ..replication import converge, member
from ..replication.converge import Report
from ..replication.plan import Decide
from ..replication.procedure import Means
from ..replication.situation import Wish
from ..server import schema
from ..server.read import read_state
from ..server.session import ConnectFailed, Login
from ..server.state import DIFFERENT, PENDING, REFUSED, TO_BE_CLONED, Member, ServerState
from ..topology.observe import Members
from . import peers, record, remains, rewind
from .announce import announce, row_of
from .plan import Nothing, Rewind, Successor, Way, plan_rewind, promised, surplus
from .remains import Place
from .rewind import Evidence
from .verdict import Patience, Replica, Unknown

STATEMENT_WITHIN = 10.0

AUTO, REWIND, CLONE = "auto", "rewind", "clone"
WAYS = (AUTO, REWIND, CLONE)

PRIMARY, START_NEEDED, REJOINED = "primary", "start_needed", "rejoined"
"""How a run ends: it is the primary; mysqld has to be started now; it is back."""


@dataclasses.dataclass(frozen=True)
class Request:
    """``name``: the returning server. ``given_up``: transactions that a person lets go although they may be somebody's.

    ``way``: ``rewind`` or ``clone`` refuse where it would be another one; ``auto`` takes what is possible.
    """

    name: str
    place: Place
    evidence: Evidence
    way: str = AUTO
    given_up: GtidSet = EMPTY
    patience: Patience = Patience()


@dataclasses.dataclass(frozen=True)
class Result:
    """``way``: how it comes back: ``none`` (nothing extra), ``rewind`` or ``clone``; ``why``: the reasons against a
    better one. ``steps``: what was done, or in check mode would be, in sentences."""

    changed: bool
    state: str
    way: str = "none"
    primary: str = ""
    surplus: GtidSet = EMPTY
    archive: str = ""
    why: tuple[Reason, ...] = ()
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_result(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "way": self.way,
            "primary": self.primary,
            "surplus": str(self.surplus),
            "transactions": len(self.surplus),
            "archive": self.archive,
            "why": [reason.as_result() for reason in self.why],
            "steps": list(self.steps),
        }


class Rejoin:
    """One run. ``say`` takes a line about what it waits for; ``now``: seconds since the epoch."""

    def __init__(
        self,
        members: Sequence[Member],
        login: Login,
        request: Request,
        wish: Wish,
        means: Means,
        *,
        check_only: bool,
        now: float,
        connect_timeout: float = 2.0,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._members = tuple(members)
        self._login = login
        self._request = request
        self._wish = wish
        self._means = means
        self._check_only = check_only
        self._now = now
        self._connect_timeout = connect_timeout
        self._say = say
        self._pool = Members(members, login, connect_within=connect_timeout)
        self._peers = Members([m for m in members if m.name != request.name], login, connect_within=connect_timeout)

    def run(self) -> Result:
        """
        :raises HaError: refused, with the reasons; or something failed: running again is safe.
        """
        self._pool.member(self._request.name)
        try:
            own = self._own_uuid()
            found = peers.ask(self._peers, own, self._request.patience, self._say)
            if isinstance(found, Unknown):
                raise Refusal((found.reason,)).as_error()
            if not isinstance(found, Replica):
                return Result(False, PRIMARY, primary=self._request.name)
            try:
                # Before what the primary has is read, or what arrives in between would look like surplus.
                state = read_state(self._pool.session(self._request.name), within=STATEMENT_WITHIN)
            except ConnectFailed as error:
                if error.kind != REFUSED:
                    raise
                return self._stopped(peers.successor(self._peers, found, own, within=STATEMENT_WITHIN))
            primary = read_state(self._peers.session(found.primary.name), within=STATEMENT_WITHIN)
            knows = peers.successor(
                self._peers, dataclasses.replace(found, primary=primary), own, within=STATEMENT_WITHIN
            )
            return self._running(state, own, knows)
        finally:
            self._peers.close()
            self._pool.close()

    def _own_uuid(self) -> str:
        """By its data directory, which is there whether it runs or not.

        :raises HaError: ``server_unknown``.
        """
        own = archive.server_uuid(self._request.place.data_directory)
        if not own:
            raise HaError(
                "server_unknown",
                f"{self._request.place.data_directory} has no auto.cnf",
                evidence={"path": self._request.place.data_directory},
                next_step="Run this on the host of the server that returns, as root, with its data directory.",
            )
        return own

    # --- mysqld does not run -----------------------------------------------------------------------------------------
    def _stopped(self, knows: Successor) -> Result:
        place = self._request.place
        if remains.ended_by_itself(place) is not False:
            return self._start_it(knows, ("mysqld ended by itself: nothing waits in its log",))
        left = remains.read(place, knows.executed)
        way: Way = plan_rewind(left, knows)
        if isinstance(way, Nothing):
            return self._start_it(knows, ("its log holds nothing that the primary lacks",))
        if isinstance(way, Rewind) and self._request.way != CLONE:
            return self._rewind(way, left.server_uuid, knows)
        reasons = way.reasons if isinstance(way, Refusal) else ()
        if self._request.way == REWIND:
            raise Refusal(reasons).as_error()
        line = f"keep the end of {left.tail.path} as it is"
        if not self._check_only:
            rewind.keep_end(place, self._request.evidence.records, left.server_uuid, self._say)
        return Result(not self._check_only, START_NEEDED, CLONE, knows.name, why=reasons, steps=(line,))

    def _start_it(self, knows: Successor, steps: tuple[str, ...]) -> Result:
        return Result(False, START_NEEDED, primary=knows.name, steps=steps)

    def _rewind(self, way: Rewind, own: str, knows: Successor) -> Result:
        steps = (
            f"archive {way.surplus}",
            f"cut {way.path} at {way.offset}: crash recovery rolls {len(way.surplus)} transactions back",
        )
        archived = ""
        if not self._check_only:
            done = rewind.rewind(
                way,
                own,
                self._request.place,
                self._request.evidence,
                now=self._now,
                announce=functools.partial(self._announce, knows.name),
            )
            archived = done.archive
        return Result(True, START_NEEDED, REWIND, knows.name, way.surplus, archived, steps=steps)

    def _announce(self, primary: str, made: record.Record) -> None:
        row = row_of(made, PENDING, "being rewound; not compared yet")
        announce(row, self._peers.member(primary), self._login)

    # --- mysqld runs -------------------------------------------------------------------------------------------------
    def _running(self, state: ServerState, own: str, knows: Successor) -> Result:
        if state.server_uuid != own:
            raise HaError(
                "another_server",
                f"{self._request.name} answers, and is not the server in {self._request.place.data_directory}",
                evidence={"answers": state.server_uuid, "data_directory": self._request.place.data_directory},
                next_step="Run this on the host of the server that returns.",
            )
        extra = surplus(state.executed, knows.executed, knows.server_uuid)
        if not extra:
            return self._back(own, knows)
        if self._request.way == REWIND:
            raise HaError(
                "already_started",
                f"{state.name} was started, and has committed {extra}: that can not be rewound any more",
                evidence={"member": state.name, "gtids": str(extra)},
                next_step="Let it be cloned (way: auto).",
            )
        why = tuple(promised(knows))
        request = self._request
        archived = rewind.archive_surplus(
            extra, request.place, request.evidence, now=self._now, apply=not self._check_only
        )
        if why and not extra <= request.given_up:
            raise _may_be_acknowledged(state.name, extra, archived, why)
        report = self._converge(knows, None, frozenset({state.name}))
        return self._result(report, CLONE, knows, extra, archived, why, f"archive {extra}")

    def _back(self, uuid: str, knows: Successor) -> Result:
        returned = schema.read_returns(self._peers.session(knows.name), within=STATEMENT_WITHIN)
        if returned.get(uuid) in (DIFFERENT, TO_BE_CLONED):
            # What only it had is archived: nothing is lost with its data.
            report = self._converge(knows, None, frozenset({self._request.name}))
            return self._result(report, CLONE, knows, EMPTY, "", ())
        own = next((m for m in knows.term.members if m.name == self._request.name), None)
        operation = member.REPOINT if own is not None and own.out else member.BRING_BACK
        decide = functools.partial(member.next_step, member.Request(operation, self._request.name))
        try:
            return self._result(self._converge(knows, decide, frozenset()), "none", knows, EMPTY, "", ())
        except HaError as error:
            reasons = error.evidence.get("reasons") or [{"code": error.code}]
            if all(reason["code"] != "member_is_empty" for reason in reasons):
                raise
        # A clone of it broke off: there is nothing left that could be lost.
        return self._result(self._converge(knows, None, frozenset()), CLONE, knows, EMPTY, "", ())

    def _converge(self, knows: Successor, decide: Optional[Decide], expendable: frozenset[str]) -> Report:
        """A clone needs all of convergence: it takes the server out of the row first, and chooses the donor."""
        term = knows.term
        wish = dataclasses.replace(
            self._wish, k=term.k, acknowledgement=term.acknowledgement, primary="", expendable=expendable
        )
        return converge.converge(
            self._members,
            self._login,
            wish,
            self._means,
            cluster=self._request.evidence.cluster,
            connect_timeout=self._connect_timeout,
            check_only=self._check_only,
            decide=decide,
        )

    def _result(
        self,
        report: Report,
        way: str,
        knows: Successor,
        extra: GtidSet,
        archived: str,
        why: tuple[Reason, ...],
        *before: str,
    ) -> Result:
        steps = (*before, *(str(step["sentence"]) for step in report.steps))
        return Result(report.changed, REJOINED, way, knows.name, extra, archived, why, steps, report.warnings)


def _may_be_acknowledged(name: str, extra: GtidSet, archived: str, why: tuple[Reason, ...]) -> HaError:
    return HaError(
        "may_be_acknowledged",
        f"refused: only {name} has {extra}, and clients may have been told OK: "
        + "; ".join(reason.message for reason in why),
        evidence={
            "member": name,
            "gtids": str(extra),
            "archive": archived,
            "reasons": [reason.as_result() for reason in why],
        },
        next_step=f"This may be data loss. Look at the rows in {archived or 'its binary logs'} with the business; then"
        " give these transactions up by name (given_up), and run again.",
    )
