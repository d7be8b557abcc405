# SPDX-License-Identifier: BSD-2-Clause
"""What the manager's face (HTTP, command line, page) may ask of the manager, and the shapes of its answers.

``Desk`` is the whole of it: the face holds no state and decides nothing. Answers are JSON-able mappings; times are
seconds since the epoch, durations are in seconds unless a key ends in ``_ms``; what is not known is ``None``.

``status()``::

    manager   {version, host, pid, started_at, now, dry_run, clusters, members, tick_s,
               tick_late_s (how much later than due the last tick ended),
               tick_duration_s (from its questions to its last answer, or its deadline), cpu_s (of this process)}
    clusters  {name: {
        verdict      healthy | dead | dead_or_isolated | controller_cut | replication_cut | degraded | unknown
        reasons      [sentence]                 why this verdict
        since        when this verdict began
        action       none | waiting | acting | held      what the manager does about it
        held_by      [sentence]                 why it does not act, when it would (pause, maintenance, cooldown, ...)
        primary, primary_uuid, term, n, k
        semi_sync_clients        acknowledgers attached to the primary, as it says itself; None when it does not answer
        heartbeat_age_s          age of the newest heartbeat row that any member has shown: by the clock of that
                                 server when it answered (the primary's own if it can be had), from then on by ours
        paused       {by, reason, at, until} or None
        maintenance  {reason, from, until} or None
        heard_by     [names] the acknowledgers that heard the primary while it gives no answer here, or None
        cooldown_until
        members      {name: {address, zone, city, role (primary|replica|none), answer (ok|refused|timed_out|...),
                      answered_at, writable, receiver (ON|CONNECTING|OFF|""), source, lag_s, message,
                      acknowledges (registered to, and switched on; None for the primary, and without an answer),
                      out_of_service (why a person took it out, or "")}}
        last_recovery   an entry of recoveries(), or None; an operation on a member only while it runs
        updated_at }}

``recoveries()``: newest first::

    {id, cluster, at, ended_at, trigger (automatic|switchover|maintenance), verdict, reasons,
     outcome (running|promoted|refused|failed|yielded|superseded|would_act|done), old_primary, new_primary, term,
     zero_loss, run_id, outage_ms, phases [{name, start_ms, duration_ms}], refusal [sentence], next_step, journal,
     hooks [{name, when, ok, message, duration_ms}], acknowledged {by, at} or None}

An operation on a member (``maintenance``) ends as done, refused or failed, moves no primary, and has besides
``{member, operation (take_out|bring_back|repoint|start|stop), by, reason, changed, plan [sentence],
survives [sentence], notes [sentence]}``.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Protocol, Sequence


class Desk(Protocol):
    """Every method may raise ``HaError`` with ``unknown_cluster``, ``unknown_recovery`` or what is said below."""

    def status(self) -> Mapping[str, Any]: ...

    def recoveries(self, cluster: str = "", limit: int = 100) -> Sequence[Mapping[str, Any]]: ...

    def pause(self, cluster: str, by: str, reason: str, until: Optional[float]) -> Mapping[str, Any]:
        """No automatic action there until resumed, or until that time. An empty name means all clusters."""

    def resume(self, cluster: str, by: str) -> Mapping[str, Any]: ...

    def acknowledge(self, recovery: str, by: str) -> Mapping[str, Any]:
        """A person has seen it: ends its cooldown."""

    def switchover(self, cluster: str, to: str, by: str) -> Mapping[str, Any]:
        """A planned switchover, done when this returns: an entry of ``recoveries()``. ``to``: a member, or auto.

        :raises HaError: the refusal of the failover procedure, with its evidence and next step.
        """

    def maintain(self, cluster: str, member: str, operation: str, by: str, reason: str) -> Mapping[str, Any]:
        """An operation on one member, done when this returns: an entry of ``recoveries()``.

        :raises HaError: ``unknown_member``; its refusal, with all reasons, evidence and next step.
        """

    def explain(self, cluster: str) -> Mapping[str, Any]:
        """What the manager would do were the primary to die now, and what speaks against it: {cluster, verdict,
        reasons, would (sentence), plan [sentence], obstacles [{code, message, next_step}], durability [sentence]}."""
