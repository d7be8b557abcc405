# SPDX-License-Identifier: BSD-2-Clause
"""Deciding about a clone: from whom, whether it is needed, and everything that speaks against it, at once. Pure.

Who is cloned loses what it holds. So it must be neither the primary nor a registered acknowledger, take no writes, be
nobody's source, and be empty or given up by name. Who is a donor is slow meanwhile. So a replica is taken before the
primary, one that does not acknowledge before one that does, and an acknowledger only while k others acknowledge.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Collection, Iterator, Mapping, Optional, Sequence, Union

from ..gtid import EMPTY, GtidSet
from ..refusal import Reason, Refusal
from ..server.dialect import Dialect, version_tuple
from ..server.state import OFF, ON, Member, Observation, ServerState, TermRow
from ..topology.diagnose import errant, primary_of_record
from . import progress as clone_progress
from .progress import Progress, size

PACKET = 2 << 20
"""The least max_allowed_packet with which CLONE works."""
MARGIN, SPARE = 0.05, 128 << 20
"""What the recipient's disk has to have beyond the donor's data: a share, and bytes for the redo log and the rest."""

EQUAL = (
    "character_set_server",
    "collation_server",
    "character_set_filesystem",
    "innodb_page_size",
    "innodb_data_file_path",
    "lower_case_table_names",
    "version_compile_machine",
    "version_compile_os",
)
"""Variables in which donor and recipient must agree: CLONE checks most of them, the rest fail at the restart."""
LISTED = 20


@dataclasses.dataclass(frozen=True)
class CloneFacts:
    """What is asked of one server besides its state.

    ``variables``: those of ``EQUAL``, and max_allowed_packet, mysqlx_port, datadir. ``plugins``: the active ones.
    ``data``: bytes of its tablespaces. ``user_tables``: how many tables are not the system's and not ours.
    ``not_innodb``: tables that come empty. ``encrypted``: how many tablespaces. ``keyring``: one is at work.
    ``lends``: a clone for somebody else reads from it now. ``backup_locks``: who holds or waits for the backup lock.
    ``sources_of``: accounts of the replicas attached here. ``clone``: its last clone. ``running``: that clone is alive,
    and replaces its data; ``local_running``: it is alive, and fills a directory.
    ``may_clone``: our account holds CLONE_ADMIN. ``tls``: it speaks TLS where replicas connect.
    ``account``: what is wrong with the clone account here; empty when nothing is.
    ``free``: bytes left where its data lie, None when nobody could look.
    """

    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    plugins: frozenset[str] = frozenset()
    data: int = 0
    user_tables: int = 0
    not_innodb: tuple[str, ...] = ()
    encrypted: int = 0
    keyring: bool = False
    lends: bool = False
    backup_locks: tuple[str, ...] = ()
    sources_of: tuple[str, ...] = ()
    clone: Progress = Progress()
    running: bool = False
    local_running: bool = False
    may_clone: bool = True
    tls: bool = True
    account: str = ""
    free: Optional[int] = None

    @property
    def plugin_active(self) -> bool:
        return "clone" in self.plugins

    @property
    def wrecked(self) -> bool:
        return not self.running and was_wrecked(self.clone, self.user_tables)


def was_wrecked(clone: Progress, user_tables: int) -> bool:
    """A clone that did not end well has thrown away what was here; that gtid_executed goes too is promised nowhere.

    With tables it is none: whoever filled it since did so by other means.
    """
    return bool(clone.state) and clone.state != clone_progress.COMPLETED and clone.has_dropped and not user_tables


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is asked for. ``donor``: empty to have it chosen. ``expendable``: the recipient's data may go."""

    recipient: str
    donor: str = ""
    expendable: bool = False


@dataclasses.dataclass(frozen=True)
class Unchanged:
    """The recipient needs no clone, and why."""

    why: str


@dataclasses.dataclass(frozen=True)
class Running:
    """A clone is at work on the recipient already: it is waited for. ``donor``: its name; empty for a stranger."""

    donor: str


@dataclasses.dataclass(frozen=True)
class Ready:
    """To be done. ``wipes``: what is thrown away; empty for an empty server. ``passed_over``: other donors, and why."""

    donor: str
    wipes: str
    data: int
    warnings: tuple[str, ...] = ()
    passed_over: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def sentence(self, recipient: str) -> str:
        lost = f", throwing away {self.wipes} (it is named expendable)" if self.wipes else ""
        return f"clone {recipient} from {self.donor}, {size(self.data)}{lost}"


Verdict = Union[Unchanged, Running, Ready, Refusal]


# --- the donor -------------------------------------------------------------------------------------------------------
def donors_in_order(
    replicas: Sequence[ServerState], acknowledging: Collection[str], primary: ServerState, *, spare: bool
) -> list[ServerState]:
    """Replicas that can be a donor, best first.

    :param replicas: those attached to the primary.
    :param acknowledging: the names of those whose acknowledgements count now.
    :param spare: more of them acknowledge than have to.
    """
    fit = [
        s
        for s in replicas
        if (spare or s.name not in acknowledging)
        and s.applier
        and s.applier.state == ON
        and primary.purged <= s.executed
    ]
    return sorted(fit, key=lambda s: (s.name in acknowledging, len(primary.executed - s.executed), s.name))


def choose_donor(
    recipient: ServerState,
    replicas: Sequence[ServerState],
    primary: ServerState,
    *,
    clone_active: Collection[str],
) -> Union[ServerState, Reason]:
    """The donor: the first replica that can, the primary only when there is none.

    :param replicas: those that may be used, best first. The last acknowledger is not among them: a donor is slow.
    :param clone_active: the names of the servers whose clone plugin works.
    """
    if recipient.name not in clone_active:
        return Reason(
            "clone_plugin_missing",
            f"{recipient.name} has to be cloned and its clone plugin is not active",
            {"member": recipient.name},
            "Run the server role on that host: the plugin is loaded by the configuration file.",
        )
    dialect = Dialect(version_tuple(recipient.version))
    versions = {}
    for donor in (*replicas, primary):
        versions[donor.name] = donor.version
        if donor.name in clone_active and dialect.clone_compatible(version_tuple(donor.version)):
            return donor
    return Reason(
        "clone_not_possible",
        f"{recipient.name} has to be cloned and nobody can be its donor",
        {"member": recipient.name, "version": recipient.version, "donors": versions},
        "CLONE needs the clone plugin and the same release series on both: restore a backup there instead.",
    )


# --- the whole decision ----------------------------------------------------------------------------------------------
def decide(wanted: Wanted, observation: Observation, facts: Mapping[str, CloneFacts]) -> Verdict:
    """Whether and from whom the recipient is cloned; ``Refusal`` with every reason against it."""
    unknown = [
        _reason("unknown_member", f"there is no member {name!r}", "Name a member.", members=_names(observation))
        for name in (wanted.recipient, wanted.donor)
        if name and name not in _names(observation)
    ]
    silent = list(_silent(wanted, observation))
    if unknown or silent:
        return Refusal((*unknown, *silent))
    return _Look(wanted, observation, facts).verdict()


def _names(observation: Observation) -> list[str]:
    return sorted(m.name for m in observation.members)


def _reason(code: str, message: str, next_step: str, **evidence: Any) -> Reason:
    return Reason(code, message, evidence, next_step)


def _silent(wanted: Wanted, observation: Observation) -> Iterator[Reason]:
    for name in dict.fromkeys((wanted.recipient, wanted.donor)):
        quiet = observation.silent.get(name)
        if quiet is not None:
            yield _reason("member_does_not_answer", quiet.message, quiet.next_step, member=name, kind=quiet.kind)


class _Look:
    """One situation, taken apart. ``primary``: its state; None when nothing names one, or it gives no answer."""

    def __init__(self, wanted: Wanted, observation: Observation, facts: Mapping[str, CloneFacts]) -> None:
        self.wanted = wanted
        self.observation = observation
        self.facts = facts
        self.recipient = observation.states[wanted.recipient]
        self.own = facts[wanted.recipient]
        self.term: Optional[TermRow] = observation.term
        name, self.primary_uuid = primary_of_record(observation)
        self.primary = observation.states.get(name) if name else None
        self.primary_name = name or ""

    def verdict(self) -> Verdict:
        if self.own.running:
            return self._joined()
        fine = self._needs_none()
        if fine:
            return Unchanged(fine)
        against = tuple(self._against_recipient())
        found = {s.name: (*self._against_donor(s), *self._against_pair(s)) for s in self._candidates()}
        fit = next((name for name, reasons in found.items() if not reasons), "")
        worse = {name: "; ".join(r.message for r in reasons) for name, reasons in found.items() if reasons}
        if against or not fit:
            return Refusal((*against, *(() if fit else self._no_donor(found, worse))))
        donor = self.observation.states[fit]
        return Ready(fit, self._wipes(), self.facts[fit].data, tuple(self._warnings(donor)), worse)

    def _no_donor(self, found: Mapping[str, Sequence[Reason]], worse: Mapping[str, str]) -> Iterator[Reason]:
        """What has to be mended for the best one; and in a word for each of the others."""
        if not found:
            yield self._nobody()
            return
        best, *_others = found.values()
        yield from best
        if len(worse) > 1:
            yield _reason(
                "clone_not_possible",
                "nobody can be the donor: " + "; ".join(f"{name}: {why}" for name, why in worse.items()),
                "Mend what is named for one of them.",
                donors=dict(worse),
            )

    def _nobody(self) -> Reason:
        return _reason(
            "clone_not_possible",
            f"nobody can be the donor of {self.recipient.name}: no other member answers that may be one",
            "Bring another member back. With k of k acknowledgers left, none of them is a donor; the primary is, once"
            " it answers.",
            answering=sorted(self.observation.states),
        )

    # --- nothing to do -----------------------------------------------------------------------------------------------
    def _joined(self) -> Verdict:
        """A clone is at work there."""
        source = self.own.clone.source
        name = next((m.name for m in self.observation.members if source == f"{m.host}:{m.replication_port}"), "")
        if name and self.wanted.donor in ("", name):
            return Running(name)
        return Refusal(
            (
                _reason(
                    "clone_in_progress",
                    f"{self.recipient.name} is being cloned from {name or source or 'somewhere'}",
                    "Wait for it; or end it (KILL QUERY of the connection in the evidence, on that server).",
                    member=self.recipient.name,
                    source=source,
                    thread=self.own.clone.thread,
                ),
            )
        )

    def _needs_none(self) -> str:
        """Why the recipient needs no clone; empty when it does."""
        state, primary = self.recipient, self.primary
        if state.server_uuid == self.primary_uuid or self.own.wrecked:
            return ""
        if state.applier and state.applier.error_number and state.applier.state == OFF:
            return ""
        if primary is not None:
            if self._surplus(state) or primary.purged - state.received:
                return ""
            if state.receiver and state.receiver.state != OFF and self._follows(state):
                return f"{state.name} follows {primary.name} and lacks nothing that {primary.name} can not send"
        if not state.executed:
            return ""
        donors = [self.observation.states[self.wanted.donor]] if self.wanted.donor else self._others()
        if self.own.clone.state == clone_progress.COMPLETED and self._cloned_from(donors):
            return f"{state.name} was cloned from {self.own.clone.source} and lacks nothing that can not be sent"
        full = [s for s in donors if s.executed]
        covered = [s.name for s in full if s.executed <= state.executed]
        if covered and (self.wanted.donor or primary is not None or len(covered) == len(full)):
            return f"{state.name} holds everything that {covered[0]} holds"
        return ""

    def _follows(self, state: ServerState) -> bool:
        """By address, for a receiver that has not connected yet does not know whom it reached."""
        own = self._member(self.primary_name)
        seen = state.receiver
        return bool(seen and own and (seen.source_host, seen.source_port) == (own.host, own.replication_port))

    def _cloned_from(self, donors: Sequence[ServerState]) -> bool:
        """Its last clone came from one of these, and it can go on from there: nothing in between is purged."""
        for donor in donors:
            member = self._member(donor.name)
            if member and self.own.clone.source == f"{member.host}:{member.replication_port}":
                return not (donor.purged - self.recipient.executed)
        return False

    def _others(self) -> list[ServerState]:
        return [s for s in self.observation.states.values() if s.name != self.recipient.name]

    def _member(self, name: str) -> Optional[Member]:
        return next((m for m in self.observation.members if m.name == name), None)

    def _surplus(self, state: ServerState) -> GtidSet:
        """What this server has and the primary has not, received and not yet executed included."""
        primary = self.primary
        if primary is None:
            return EMPTY
        waiting = state.received - state.executed - primary.executed
        return errant(state, self.observation, primary, primary.server_uuid) | (
            waiting - waiting.of([primary.server_uuid])
        )

    # --- the recipient -----------------------------------------------------------------------------------------------
    def _wipes(self) -> str:
        """What a clone throws away; empty for an empty server, and where an earlier clone has done so already."""
        state = self.recipient
        if self.own.wrecked:
            return ""
        if state.executed:
            surplus = self._surplus(state)
            return f"{self.own.user_tables} tables and transactions {state.executed}" + (
                f", of which only it has {surplus}" if surplus else ""
            )
        return f"{self.own.user_tables} tables" if self.own.user_tables else ""

    def _against_recipient(self) -> Iterator[Reason]:
        state, own, name = self.recipient, self.own, self.recipient.name
        yield from self._plugin(name)
        if state.server_uuid == self.primary_uuid:
            yield _reason(
                "member_is_primary",
                f"{name} is the primary: its data are not thrown away",
                "Switch over first (mysql_failover, mode planned), then take it out of service.",
                member=name,
            )
        elif self.term and state.server_uuid in {m.server_uuid for m in self.term.acknowledgers}:
            yield _reason(
                "member_registered",
                f"{name} is registered as an acknowledger: what it holds may be the only copy",
                "Take it out of service first (mysql_member, state out_of_service); a convergence brings it back.",
                member=name,
                revision=self.term.revision,
            )
        # A wreck may still be open as it was for the clone that failed: for administrators only, and without data.
        if not state.super_read_only and not (own.wrecked and state.read_only):
            yield _reason(
                "server_is_writable",
                f"{name} is writable and will not be wiped",
                "Fence it (super_read_only=ON) once you know that it is not the primary, then run again.",
                member=name,
            )
        if state.semi_sync.replica_active:
            yield _reason(
                "still_acknowledges",
                f"{name} acknowledges: what it holds may be the only copy",
                "Run mysql_replication, or take it out of service (mysql_member): that ends it in the safe order.",
                member=name,
            )
        if own.sources_of:
            yield _reason(
                "is_a_source",
                f"{name} is the source of {len(own.sources_of)} replicas ({', '.join(sorted(set(own.sources_of)))})",
                "Let them follow the primary first (mysql_member, state repointed).",
                member=name,
                accounts=sorted(set(own.sources_of)),
            )
        wipes = self._wipes()
        if wipes and not self.wanted.expendable:
            yield _reason(
                "recipient_has_data",
                f"{name} holds {wipes}",
                self._way_out(),
                member=name,
                executed=str(state.executed),
                tables=own.user_tables,
                only_here=str(self._surplus(state)),
            )
        if not own.may_clone:
            yield _reason(
                "clone_privilege_missing",
                f"our account on {name} has no CLONE_ADMIN",
                "Run the server role there: the duty admin holds it.",
                member=name,
            )
        yield from self._packet(name)
        yield from self._locks(name, "CLONE would wait clone_ddl_timeout for it and then fail")

    def _way_out(self) -> str:
        primary, state = self.primary, self.recipient
        if primary is not None and state.executed and not (self._surplus(state) or primary.purged - state.received):
            return "It can follow as it is: mysql_replication attaches it. Or name it expendable if its data may go."
        return "Archive what only it has (mysql_binlog_archive), then name it expendable."

    def _plugin(self, name: str) -> Iterator[Reason]:
        if not self.facts[name].plugin_active:
            yield _reason(
                "clone_plugin_missing",
                f"the clone plugin of {name} is not active",
                "Run the server role on that host: the plugin is loaded by the configuration file.",
                member=name,
            )

    def _packet(self, name: str) -> Iterator[Reason]:
        packet = int(self.facts[name].variables.get("max_allowed_packet") or PACKET)
        if packet < PACKET:
            yield _reason(
                "max_allowed_packet_small",
                f"{name}: max_allowed_packet is {packet}, and CLONE needs {PACKET}",
                "Set it to at least 2M there, in the configuration file, too.",
                member=name,
                max_allowed_packet=packet,
            )

    def _locks(self, name: str, why: str) -> Iterator[Reason]:
        held = self.facts[name].backup_locks
        if held:
            yield _reason(
                "backup_lock_held",
                f"{name}: a DDL statement or a backup holds the backup lock ({'; '.join(held[:3])}), and {why}",
                "Wait for its end, or end it.",
                member=name,
                holders=list(held[:LISTED]),
            )

    # --- the donor ---------------------------------------------------------------------------------------------------
    def _candidates(self) -> list[ServerState]:
        """The one that was named; or all that may be used, best first, the primary last."""
        if self.wanted.donor:
            return [self.observation.states[self.wanted.donor]]
        primary = self.primary
        others = self._others()
        if primary is None:
            # Nothing names a primary: whoever holds everything that the others hold may be copied.
            return [s for s in others if s.executed and all(o.executed <= s.executed for o in others)]
        attached = [s for s in others if s.name != primary.name and self._attached(s)]
        acknowledging = self._acknowledging()
        replicas = donors_in_order(attached, acknowledging, primary, spare=len(acknowledging) > self._k)
        return replicas + ([primary] if primary.name != self.recipient.name else [])

    def _attached(self, state: ServerState) -> bool:
        seen = state.receiver
        return bool(seen and seen.state == ON and seen.source_uuid == self.primary_uuid)

    def _acknowledging(self) -> list[str]:
        """Names of the others whose acknowledgement counts and comes."""
        registered = {m.server_uuid for m in self.term.acknowledgers} if self.term else set()
        return [
            s.name
            for s in self._others()
            if s.server_uuid in registered
            and self._attached(s)
            and s.semi_sync.replica_enabled
            and s.semi_sync.replica_active
        ]

    @property
    def _k(self) -> int:
        waits = self.primary.semi_sync.wait_count if self.primary and self.primary.semi_sync.source_enabled else 0
        return max(self.term.k if self.term else 0, waits)

    def _against_donor(self, donor: ServerState) -> Iterator[Reason]:
        name, its = donor.name, self.facts[donor.name]
        if name == self.recipient.name:
            yield _reason("donor_is_recipient", f"{name} can not be its own donor", "Name another.", member=name)
            return
        yield from self._plugin(name)
        acknowledging = self._acknowledging()
        if name in acknowledging and len(acknowledging) <= self._k:
            yield _reason(
                "donor_is_last_acknowledger",
                f"only {len(acknowledging)} acknowledge and {self._k} have to: {name}, slow as a donor is, would slow"
                " every commit",
                "Leave the choice to the module: the primary is the donor then. Or bring another acknowledger back.",
                member=name,
                acknowledging=acknowledging,
                k=self._k,
            )
        surplus = self._surplus(donor) if name != self.primary_name else EMPTY
        if surplus:
            yield _reason(
                "errant_transactions",
                f"only {name} has {surplus}: a copy of it would have them, too",
                "Choose another donor.",
                member=name,
                gtids=str(surplus),
            )
        gap = self.primary.purged - donor.executed if self.primary and name != self.primary_name else EMPTY
        if gap:
            yield _reason(
                "purged_transactions_needed",
                f"{name} lacks {gap}, which {self.primary_name} no longer has: a copy of it could not follow",
                "Choose another donor.",
                member=name,
                gtids=str(gap),
            )
        if donor.applier and donor.applier.error_number and donor.applier.state == OFF:
            yield _reason(
                "applier_broken",
                f"{name}: the applier stopped ({donor.applier.error_number}): its data may differ",
                "Choose another donor.",
                member=name,
                errno=donor.applier.error_number,
            )
        if donor.fenced:
            yield _reason(
                "donor_offline", f"{name} is offline (fenced): the recipient is not let in", "Choose another donor."
            )
        if its.lends or its.running or its.local_running:
            yield _reason(
                "clone_in_progress",
                f"{name} is at work for another clone, and there is one at a time",
                "Wait for its end, or choose another donor.",
                member=name,
            )
        if its.wrecked:
            yield _reason(
                "clone_incomplete",
                f"{name} is what a failed clone left: it has no data",
                "Choose another donor.",
                member=name,
            )
        if its.not_innodb:
            shown = ", ".join(its.not_innodb[:LISTED])
            yield _reason(
                "tables_not_innodb",
                f"{name}: {len(its.not_innodb)} tables are not InnoDB and would come empty: {shown}",
                "Convert them (ALTER TABLE ... ENGINE=InnoDB).",
                member=name,
                tables=list(its.not_innodb),
                count=len(its.not_innodb),
            )
        if its.account:
            yield _reason(
                "clone_account_unfit",
                f"{name}: the clone account {its.account}",
                "Run the server role; it makes the account (duty clone) on every server.",
                member=name,
            )
        if not its.tls:
            yield _reason(
                "donor_without_tls",
                f"{name} speaks no TLS on its main port, and data are copied encrypted only",
                "Run the server role there: it makes certificates.",
                member=name,
            )
        member = self._member(name)
        if member and str(member.replication_port) == its.variables.get("mysqlx_port"):
            yield _reason(
                "donor_port_is_mysqlx",
                f"{name}: port {member.replication_port} is that of the X protocol",
                "Give the port of the classic protocol as replication_port.",
                member=name,
            )
        yield from self._packet(name)

    def _against_pair(self, donor: ServerState) -> Iterator[Reason]:
        name, own = self.recipient.name, self.own
        if donor.name == name:
            return
        its = self.facts[donor.name]
        if not Dialect(version_tuple(self.recipient.version)).clone_compatible(version_tuple(donor.version)):
            yield _reason(
                "versions_differ",
                f"{name} runs {self.recipient.version} and {donor.name} {donor.version}: not of one series (and before"
                " 8.0.37 the very same release is needed)",
                "Install the donor's release on the recipient, and upgrade it afterwards.",
                versions={name: self.recipient.version, donor.name: donor.version},
            )
        missing = sorted(its.plugins - own.plugins)
        if missing and own.plugins:
            yield _reason(
                "plugins_missing",
                f"{name} lacks plugins that {donor.name} has: {', '.join(missing)}",
                "Install them on the recipient (its configuration file loads them), then run again.",
                member=name,
                plugins=missing,
            )
        differing = {
            key: {name: own.variables.get(key, ""), donor.name: its.variables.get(key, "")}
            for key in EQUAL
            if own.variables.get(key, "") != its.variables.get(key, "")
        }
        if differing:
            told = "; ".join(f"{key} {', '.join(f'{n}: {v}' for n, v in of.items())}" for key, of in differing.items())
            yield _reason(
                "clone_settings_differ",
                f"{name} and {donor.name} differ where a copy has to agree: {told}",
                "Give the recipient the donor's values; page size, data file and case of names only when it is made.",
                settings=differing,
            )
        if its.encrypted and not own.keyring:
            yield _reason(
                "keyring_missing",
                f"{its.encrypted} tablespaces of {donor.name} are encrypted and {name} has no keyring at work",
                "Set up a keyring on the recipient, then run again.",
                member=name,
                encrypted=its.encrypted,
            )
        if own.free is not None and own.free < self.needed(donor):
            yield _reason(
                "disk_space_short",
                f"{name} has {size(own.free)} free and needs {size(self.needed(donor))} for the data of {donor.name}",
                "Make room in the file system of its data directory, then run again.",
                member=name,
                free=own.free,
                needed=self.needed(donor),
            )

    def needed(self, donor: ServerState) -> int:
        """Bytes that have to be free: the donor's data and a margin, less what is dropped on the recipient."""
        return max(int(self.facts[donor.name].data * (1 + MARGIN)) + SPARE - self.own.data, 0)

    def _warnings(self, donor: ServerState) -> Iterator[str]:
        if self.own.free is None:
            yield (
                f"the free space of {self.recipient.name} was not checked, for it is seen on its host only:"
                f" {size(self.needed(donor))} are needed"
            )
        if donor.name == self.primary_name:
            yield f"the donor is the primary, {donor.name}: no replica may be one"
        if self.primary is None:
            yield "nothing names a primary, or it does not answer: whether the donor has surplus is not known"
