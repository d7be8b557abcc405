"""The cluster under test: look at it, mend it, fail it over. In-process, as modules and manager do it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.plan import Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.procedure import Report
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.run import fail_over
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.config import STATUS_PATH
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.converge import converge
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.procedure import Means
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.situation import Wish
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Session
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Observation, ServerState
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.diagnose import (
    FENCED,
    LOSSLESS,
    WRITABLE_STRANGER,
    Diagnosis,
    diagnose,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.observe import Members

from benchmarks import access, keeper, writer
from benchmarks.access import Access
from benchmarks.errors import BenchmarkError
from benchmarks.hosts import KILLED, Hosts
from benchmarks.paths import WORK

MEND_SECONDS = 180.0
_VERIFIED_SECONDS = 60.0
"""A server that was rewound is compared in less."""
_LOOK_AGAIN = 0.5


class Cluster:
    """``Cluster.open()``: reachable and lossless."""

    def __init__(self, reach: Access, hosts: Hosts) -> None:
        self.access = reach
        self.hosts = hosts

    @classmethod
    def open(cls) -> Cluster:
        cluster = cls(access.read(), Hosts())
        writer.forget()
        cluster.mend()
        cluster._writer_account()
        return cluster

    # --- seeing ------------------------------------------------------------------------------------------------------
    def look(self) -> tuple[Observation, Diagnosis]:
        pool = Members(self.access.members, self.access.admin)
        try:
            observation = pool.observe(within=5.0)
        finally:
            pool.close()
        return observation, diagnose(observation, acknowledgement=self.access.acknowledgement)

    def not_acknowledging(self, observation: Observation) -> list[str]:
        """The members that should be registered and acknowledge, and do not: a cluster is lossless before all do.

        A server that comes back follows by itself, and is registered later.
        """
        term = observation.term
        registered = {member.server_uuid for member in term.members if member.acknowledges} if term else set()
        primary = term.primary_uuid if term else ""
        found = []
        for member in self.access.members:
            state = observation.states.get(member.name)
            counts = state is not None and (state.server_uuid == primary or state.semi_sync.replica_enabled)
            if member.acknowledges and not (counts and state is not None and state.server_uuid in registered):
                found.append(member.name)
        return found

    def primary(self) -> ServerState:
        """The primary of a lossless cluster.

        :raises BenchmarkError: the cluster is not lossless.
        """
        observation, diagnosis = self.look()
        if diagnosis.verdict != LOSSLESS or diagnosis.primary is None:
            raise BenchmarkError(f"the cluster is {diagnosis.verdict}: {'; '.join(diagnosis.reasons)}")
        return observation.states[diagnosis.primary]

    @contextmanager
    def session(self, name: str) -> Iterator[Session]:
        """The administrator's connection to one server."""
        pool = Members(self.access.members, self.access.admin)
        try:
            yield pool.session(name)
        finally:
            pool.close()

    def holds_address(self, name: str) -> bool:
        """Whether the keeper of that host holds the virtual address, by its status file."""
        status = json.loads(self.hosts.run(name, "sh", "-c", f"cat {STATUS_PATH} || echo {{}}"))
        entries: dict[str, dict[str, Any]] = status.get("addresses", {})
        return any(
            entry["holding"] for address, entry in entries.items() if address.partition("/")[0] == self.access.address
        )

    def address_taking(self, name: str, since: float) -> keeper.Taking | None:
        """How that host's keeper came to hold the virtual address, after a moment (seconds since the epoch)."""
        return keeper.taking(keeper.lines(self.hosts.run(name, *keeper.command(since))), self.access.address)

    # --- mending -----------------------------------------------------------------------------------------------------
    def mend(self) -> None:
        """Whatever state it is in: every server runs, follows, acknowledges; the address is held; lossless again.

        Servers with transactions of their own are cloned: this is a lab. So are those that were rewound and have not
        been verified for a while.

        :raises BenchmarkError: not within MEND_SECONDS.
        """
        self.hosts.revive()
        began = time.monotonic()
        ends = began + MEND_SECONDS
        why = ""
        while True:
            try:
                observation, diagnosis = self.look()
                missing = self.not_acknowledging(observation)
                lossless = diagnosis.verdict == LOSSLESS and not missing
                if lossless and diagnosis.primary and self.reached(diagnosis.primary):
                    return
                why = (
                    f"{diagnosis.verdict}: {'; '.join((*diagnosis.reasons, *(f'{m} not registered' for m in missing)))}"
                )
                self.fence_strangers(diagnosis)
                self._acknowledge_as_deployed(observation)
                hopeless = missing if time.monotonic() > began + _VERIFIED_SECONDS else []
                self.converge(frozenset(diagnosis.errant) | frozenset(hopeless) - {diagnosis.primary or ""})
            except HaError as error:
                why = str(error)
            if time.monotonic() > ends:
                raise BenchmarkError(f"the cluster is not lossless after {MEND_SECONDS:g} s: {why}")
            time.sleep(_LOOK_AGAIN)

    def fence_strangers(self, diagnosis: Diagnosis) -> None:
        """A deposed primary that woke up is killed, and comes back read-only.

        It takes writes that nobody acknowledges; or its keeper has fenced it, which only a restart undoes while commits
        wait.
        """
        for name, server in diagnosis.servers.items():
            if server.verdict in (WRITABLE_STRANGER, FENCED):
                self.hosts.kill(name)
                self.hosts.heal(name, KILLED)

    def converge(self, expendable: frozenset[str]) -> None:
        """Everybody follows and acknowledges again.

        :param expendable: servers whose own transactions may go: they are cloned.
        :raises HaError: not done; it may be tried again.
        """
        reach = self.access
        converge(
            reach.members,
            reach.admin,
            Wish(
                reach.members,
                k=reach.k,
                acknowledgement=reach.acknowledgement,
                expendable=expendable,
                user_prefix=reach.replication.user_prefix,
                ca=reach.replication.ca,
            ),
            Means(reach.replication.password, reach.clone, restart=120.0),
            cluster=reach.cluster,
        )

    def _acknowledge_as_deployed(self, observation: Observation) -> None:
        """An interrupted measurement may have left a server that acknowledges in memory, or on disk."""
        wanted = "1" if self.access.acknowledgement == "disk" else "10000"
        for name, state in observation.states.items():
            if state.settings.get("sync_relay_log", wanted) != wanted:
                with self.session(name) as session:
                    session.execute("SET GLOBAL sync_relay_log = %s", (int(wanted),), within=10.0)

    def reached(self, primary: str) -> bool:
        """Whether the virtual address is where it belongs; true for a cluster without one."""
        return not self.access.address or self.holds_address(primary)

    def end_applications(self) -> None:
        """End every connection that came through the virtual address, on all hosts: also those whose client is gone.

        A server does not notice that by itself when the address left it first.
        """
        for member in self.access.members:
            self.hosts.run(member.name, "ss", "-K", "src", self.access.address)

    def _writer_account(self) -> None:
        primary = self.primary()
        member = next(m for m in self.access.members if m.name == primary.name)
        try:
            Session.connect(primary.name, member.host, member.replication_port, self.access.writer, within=2.0).close()
        except HaError:
            access.play("account.yml", bench_primary=primary.name)

    # --- failing over ------------------------------------------------------------------------------------------------
    def fail_over(self, mode: str) -> Report:
        """The procedure, from this process, to whom it elects.

        :raises HaError: refused, or not done.
        """
        return fail_over(
            self.access.members,
            self.access.admin,
            self.access.replication,
            Request(mode),
            cluster=self.access.cluster,
            journal_directory=str(WORK / "journal"),
            acknowledgement=self.access.acknowledgement,
        )
