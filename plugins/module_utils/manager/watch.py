# SPDX-License-Identifier: BSD-2-Clause
"""The loop: asks every cluster in each tick, judges it, and begins what is to be done. Knows ``desk.Desk``.

One thread asks and judges. Recoveries run in threads of their own, hooks in others; whoever calls the desk does so from
further threads and finds values that are replaced as a whole, never changed.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import heapq
import itertools
import math
import os
import resource
import socket
import threading
import time
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

from ..errors import HaError
from ..failover.interrupted import Interrupted
from ..topology.observe import Members
from . import board, policy, verdict
from .board import View
from .config import ClusterConfig, Config
from .history import History
from .link import Links, Round, Target
from .maintenance import Asked, Maintain, Maintenance, by_plan
from .policy import Act, Rest, Situation
from .recover import Cause, FailOver, Recovery, by_procedure, say
from .verdict import Tick, Verdict, Watched

VERSION = "0.1.0"

INFO, WARNING, ERROR = 6, 4, 3
"""Priorities as syslog counts them."""

Say = Callable[[int, str], None]

EXTRA_APART = 0.02
"""Seconds between two looks at one cluster at least, whatever wakes it."""

SLOTS = 20
"""Clusters are asked in groups spread over a tick: not all at once, and not one wake-up for each."""

EXPLAIN_SECONDS = 2.0

JOURNALS_EVERY, JOURNALS_EVERY_WHEN_ILL = 60.0, 5.0
"""Seconds between two looks for a run of somebody else on this host that was interrupted. It leaves a cluster ill,
unless its promotion had been done."""

_QUIET = frozenset({verdict.HEALTHY, verdict.CONTROLLER_CUT})


class _Cluster:
    """What the loop keeps of one cluster."""

    def __init__(self, config: ClusterConfig, now: float, wall: float, due: float) -> None:
        self.config = config
        self.due = due
        self.asked_for = due
        self.extra: Optional[float] = None
        self.last_asked = -1.0
        self.good_at: Optional[float] = None
        self.resume: Optional[Mapping[str, Any]] = None
        self.journals_at = -math.inf
        self.journal_trouble = ""
        self.taken_up: set[str] = set()
        self.view = View(config, Watched(), Verdict(verdict.UNKNOWN, ("not looked yet",)), Rest(), wall, wall)

    def next_at(self) -> float:
        return self.due if self.extra is None else min(self.due, self.extra)


class Manager:
    """Watches the clusters of a configuration, and is what the face talks to.

    ``run`` until ``stop``; ``reload`` takes over a new configuration. ``do``, ``tend``, ``links`` and the clocks are
    arguments for tests.
    """

    def __init__(
        self,
        config: Config,
        history: History,
        say_line: Say,
        *,
        links: Optional[Links] = None,
        do: FailOver = by_procedure,
        tend: Maintain = by_plan,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._history = history
        self._say = say_line
        self._clock = clock
        self._wall = wall
        self._do = do
        self._tend = tend
        self._links = links or Links(clock=clock)
        self._interrupted = Interrupted(config.journal_directory, wall=wall)
        self._started_at = wall()
        self._tick_late = 0.0
        self._tick_took: Optional[float] = None
        self._clusters: dict[str, _Cluster] = {}
        self._timers: list[tuple[float, int, str]] = []
        self._count = itertools.count()
        self._guard = threading.Lock()
        self._running: set[str] = set()
        self._recoveries = concurrent.futures.ThreadPoolExecutor(config.recoveries_at_once, "recovery")
        self._hooks = concurrent.futures.ThreadPoolExecutor(2, "hooks")
        self._journals = concurrent.futures.ThreadPoolExecutor(1, "journals")
        self._ended: list[tuple[str, concurrent.futures.Future[Mapping[str, Any]]]] = []
        self._next_config: Optional[Config] = None
        self._stopped = False
        self._take_over(config)
        for entry in history.close_interrupted():
            if entry["trigger"] == policy.MAINTENANCE:
                what = f"{entry['operation']} of {entry['member']}"
                self._say(WARNING, f"{entry['cluster']}: {what} ({entry['id']}) was interrupted; ask for it again")
                continue
            self._say(WARNING, f"{entry['cluster']}: recovery {entry['id']} was interrupted; it is taken up")
            if entry["cluster"] in self._clusters:
                self._clusters[entry["cluster"]].resume = entry

    # --- the loop ----------------------------------------------------------------------------------------------------
    def run(self) -> None:
        """Until ``stop``."""
        while not self._stopped:
            self.step(self._clock() + 1.0)

    def step(self, until: float) -> None:
        """Ask who is due, and deal with what happens until the next one is, or until that time."""
        with self._guard:
            fresh, self._next_config = self._next_config, None
        if fresh is not None:
            self._take_over(fresh)
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            _when, _number, name = heapq.heappop(self._timers)
            cluster = self._clusters.get(name)
            # An entry of the heap may be out of date: the cluster itself says when it is due.
            if cluster is not None and cluster.next_at() <= now:
                self._ask(cluster, now)
        if self._timers:
            until = min(until, self._timers[0][0])
        for event in self._links.poll(until):
            cluster = self._clusters.get(event.cluster)
            if cluster is None:
                continue
            if isinstance(event, Round):
                self._on_round(cluster, event)
            else:
                self._look_at(cluster, self._clock())
        while self._ended:
            self._on_ended(*self._ended.pop(0))

    def stop(self) -> None:
        """From any thread, and from a signal."""
        self._stopped = True
        self._links.wake()

    def reload(self, config: Config) -> None:
        """Take over another configuration, soon. From any thread."""
        with self._guard:
            self._next_config = config
        self._links.wake()

    def close(self) -> None:
        """After ``run``. A recovery that runs is waited for, and so are its hooks."""
        self._recoveries.shutdown(wait=True)
        self._hooks.shutdown(wait=True)
        self._journals.shutdown(wait=True)
        self._links.close()
        while self._ended:
            self._on_ended(*self._ended.pop(0))

    def _take_over(self, config: Config) -> None:
        now, wall = self._clock(), self._wall()
        self._config = config
        for name in sorted(set(self._clusters) - {c.name for c in config.clusters}):
            self._links.set(name, ())
            self._say(INFO, f"{name}: not watched any more")
        clusters = {}
        for number, single in enumerate(config.clusters):
            self._links.set(single.name, [Target(m, single.login) for m in single.members])
            known = self._clusters.get(single.name)
            if known is None:
                # Give the first connections a moment.
                due = now + single.timing.tick * (0.5 + number % SLOTS / SLOTS)
                known = _Cluster(single, now, wall, due)
            elif known.config != single:
                known.config = single
                known.view = dataclasses.replace(known.view, config=single)
            clusters[single.name] = known
            self._at(known)
        self._clusters = clusters

    def _at(self, cluster: _Cluster) -> None:
        heapq.heappush(self._timers, (cluster.next_at(), next(self._count), cluster.config.name))

    def _look_at(self, cluster: _Cluster, when: float) -> None:
        """An extra tick, no later than then and not too soon after the last one."""
        when = max(when, cluster.last_asked + EXTRA_APART)
        if when < cluster.due and (cluster.extra is None or when < cluster.extra):
            cluster.extra = when
            self._at(cluster)

    def _ask(self, cluster: _Cluster, now: float) -> None:
        timing = cluster.config.timing
        if cluster.due <= now:
            cluster.asked_for = cluster.due
            # The grid stays what it is; what was slept through is left out.
            missed = int((now - cluster.due) / timing.tick)
            cluster.due += (missed + 1) * timing.tick
        else:
            cluster.asked_for = now if cluster.extra is None else cluster.extra
        cluster.extra = None
        cluster.last_asked = now
        if not self._links.ask(cluster.config.name, timing.deadline):
            # The last round is still under way: whatever woke us is looked at after it.
            self._look_at(cluster, now + 2 * EXTRA_APART)
        self._at(cluster)

    def _on_round(self, cluster: _Cluster, ended: Round) -> None:
        config = cluster.config
        timing = config.timing
        took = ended.ended_at - ended.asked_at
        lateness = max(ended.asked_at - cluster.asked_for, took - timing.deadline, 0.0)
        self._tick_late, self._tick_took = lateness, took
        tick = Tick(ended.asked_at, ended.ended_at, ended.answers, late=lateness > timing.late)
        watched = verdict.note(cluster.view.watched, tick)
        found = verdict.judge(watched, timing, config.cut)
        watched = verdict.settle(watched, found)
        now = self._wall()
        if found.verdict == verdict.HEALTHY:
            cluster.good_at = now
        decision = self._decide(cluster, found, watched, now)
        self._show(cluster, watched, found, decision, now)
        if found.look_again is not None:
            self._look_at(cluster, ended.asked_at + found.look_again)
        # One that is cut off does nothing, and this can wait.
        if cluster.resume is not None and watched.term is not None and found.verdict != verdict.CONTROLLER_CUT:
            self._take_up(cluster, found, watched, now)
        elif isinstance(decision, Act):
            self._act(cluster, decision, watched, found, now)
        else:
            self._look_at_journals(cluster, found, now)

    def _show(self, cluster: _Cluster, watched: Watched, found: Verdict, decision: policy.Decision, now: float) -> None:
        before = cluster.view
        changed = before.verdict.verdict != found.verdict
        since = now if changed else before.since
        cluster.view = View(cluster.config, watched, found, decision, since, now)
        if changed:
            level = INFO if found.verdict == verdict.HEALTHY else WARNING
            because = f": {'; '.join(found.reasons)}" if found.reasons else ""
            self._say(level, f"{cluster.config.name}: {found.verdict}{because}")
        for note in found.notes:
            if note not in before.verdict.notes:
                self._say(WARNING, f"{cluster.config.name}: {note}")
        if decision.action != before.decision.action and decision.action != policy.NONE:
            self._say(WARNING, f"{cluster.config.name}: {decision.action}: {'; '.join(decision.reasons)}")

    # --- deciding and doing ------------------------------------------------------------------------------------------
    def _decide(self, cluster: _Cluster, found: Verdict, watched: Watched, now: float) -> policy.Decision:
        quiet = found.verdict in _QUIET or (found.verdict == verdict.DEGRADED and not found.closed)
        if quiet and cluster.config.name not in self._running:
            return Rest()
        return policy.decide(found, cluster.config.rules, self._situation(cluster, watched), now)

    def _situation(self, cluster: _Cluster, watched: Watched) -> Situation:
        name = cluster.config.name
        writable = self._history.writable()
        return Situation(
            attempts=self._history.attempts(name),
            pause=self._history.pause_of(name),
            running=name in self._running,
            busy=len(self._running) >= self._config.recoveries_at_once,
            unwritable="" if writable else self._history.unwritable,
            term=watched.term.term if watched.term else 0,
        )

    def _act(self, cluster: _Cluster, act: Act, watched: Watched, found: Verdict, now: float) -> None:
        config = cluster.config
        # The primary answers, and not because it was found alive: a failover from it was begun and has to be ended.
        cut = found.verdict == verdict.REPLICATION_CUT or found.closed
        cause = Cause(
            verdict=found.verdict,
            reasons=found.reasons,
            old_primary=found.primary,
            old_primary_uuid=found.primary_uuid,
            term=watched.term.term if watched.term else 0,
            quiet=verdict.heard_before(watched, config.timing),
            silent=not cut,
            cut=cut,
        )
        if act.only_say:
            try:
                said = say(self._history, config, cause, now)
            except HaError as error:
                self._say(ERROR, f"{config.name}: {error}")
                return
            self._say(WARNING, f"{config.name}: dry run: would replace {found.primary} ({said['id']})")
            return
        self._begin(cluster, cause)

    def _take_up(self, cluster: _Cluster, found: Verdict, watched: Watched, now: float) -> None:
        """A run that an earlier manager, or a module, began: the procedure finds its journal and brings it to an end,
        forward if its promotion had begun, back if not. Once."""
        entry = cluster.resume or {}
        if self._standing_holds(cluster, now):
            return
        cluster.resume = None
        cluster.taken_up.add(str(entry.get("id")))
        cause = Cause(
            verdict=str(entry.get("verdict") or found.verdict),
            reasons=(f"takes up run {entry.get('id')}, which was interrupted",),
            old_primary=str(entry.get("old_primary") or found.primary),
            old_primary_uuid=str(entry.get("old_primary_uuid") or found.primary_uuid),
            term=int(entry.get("old_term") or (watched.term.term if watched.term else 0)),
            cut=entry.get("verdict") == verdict.REPLICATION_CUT and entry.get("trigger") == policy.AUTOMATIC,
        )
        self._begin(cluster, cause)

    def _look_at_journals(self, cluster: _Cluster, found: Verdict, now: float) -> None:
        """Whether a run on this host, of a person's module or of ours, was interrupted and is to be taken up. A dead
        primary is replaced anyway, by a run that takes it up. In a thread of its own: a disk may take its time."""
        if found.verdict not in (verdict.HEALTHY, verdict.DEGRADED):
            return
        every = JOURNALS_EVERY if found.verdict == verdict.HEALTHY else JOURNALS_EVERY_WHEN_ILL
        at = self._clock()
        if at - cluster.journals_at < every or self._standing_holds(cluster, now):
            return
        cluster.journals_at = at
        self._journals.submit(self._find_interrupted, cluster).add_done_callback(self._looked)

    def _looked(self, done: concurrent.futures.Future[None]) -> None:
        error = done.exception()
        if error is not None:
            self._say(ERROR, f"looking at the journals ended with {type(error).__name__}: {error}")

    def _find_interrupted(self, cluster: _Cluster) -> None:
        name = cluster.config.name
        try:
            left = self._interrupted.of(name)
        except HaError as error:
            if error.message != cluster.journal_trouble:
                self._say(ERROR, f"{name}: no recovery will be done: {error}")
            cluster.journal_trouble = error.message
            return
        cluster.journal_trouble = ""
        if left is None or left.run_id in cluster.taken_up or name in self._running:
            return
        self._say(WARNING, f"{name}: run {left.run_id} was interrupted; it is taken up")
        begin = left.last("begin") or {}
        cluster.resume = {"id": left.run_id, "old_primary": begin.get("old_primary")}
        self._links.wake()

    def _standing_holds(self, cluster: _Cluster, now: float) -> Sequence[str]:
        """What would keep the manager from acting, were the primary to die now."""
        watched = cluster.view.watched
        uuid = watched.term.primary_uuid if watched.term else ""
        death = Verdict(verdict.DEAD, (), cluster.view.verdict.primary, uuid)
        decided = policy.decide(death, cluster.config.rules, self._situation(cluster, watched), now)
        if isinstance(decided, Act):
            return ("dry run",) if decided.only_say else ()
        return decided.reasons

    def _begin(self, cluster: _Cluster, cause: Cause) -> None:
        config = cluster.config
        if not self._take(config.name):
            return
        self._say(WARNING, f"{config.name}: failing over from {cause.old_primary} ({cause.verdict})")
        recovery = self._recovery(config)
        future = self._recoveries.submit(recovery.automatic, cause, cluster.good_at)

        def hand_over(done: concurrent.futures.Future[Mapping[str, Any]]) -> None:
            self._ended.append((config.name, done))
            self._links.wake()

        future.add_done_callback(hand_over)
        future.add_done_callback(lambda _done: self._tell(recovery))

    def _recovery(self, config: ClusterConfig) -> Recovery:
        return Recovery(config, self._history, self._config.journal_directory, do=self._do, wall=self._wall)

    def _tell(self, recovery: Recovery) -> None:
        self._hooks.submit(recovery.tell)

    def _take(self, name: str) -> bool:
        """One recovery at a time for each cluster."""
        with self._guard:
            if name in self._running:
                return False
            self._running.add(name)
            return True

    def _on_ended(self, name: str, done: concurrent.futures.Future[Mapping[str, Any]]) -> None:
        with self._guard:
            self._running.discard(name)
        error = done.exception()
        if error is not None:
            # A defect: said, written down as far as that goes, and the other clusters are watched on.
            self._say(ERROR, f"{name}: the recovery ended with {type(error).__name__}: {error}")
            for entry in self._history.entries(name, 1):
                if entry["outcome"] == policy.RUNNING and self._history.writable():
                    self._history.change(
                        entry["id"],
                        outcome=policy.FAILED,
                        ended_at=self._wall(),
                        codes=["defect"],
                        refusal=[str(error)],
                    )
            return
        ended = done.result()
        if ended["outcome"] == policy.PROMOTED:
            self._say(
                WARNING, f"{name}: {ended['new_primary']} is primary in term {ended['term']} ({ended['zero_loss']})"
            )
        elif ended["outcome"] == policy.SUPERSEDED:
            self._say(INFO, f"{name}: nothing left to do: {'; '.join(ended['notes'])}")
        else:
            self._say(ERROR, f"{name}: {ended['outcome']}: {'; '.join(ended['refusal'])}")
        cluster = self._clusters.get(name)
        if cluster is not None:
            self._look_at(cluster, self._clock())

    # --- the desk ----------------------------------------------------------------------------------------------------
    def _cluster(self, name: str) -> _Cluster:
        found = self._clusters.get(name)
        if found is None:
            raise HaError(
                "unknown_cluster",
                f"there is no cluster {name!r}",
                evidence={"clusters": sorted(self._clusters)},
                next_step="Name one of the clusters of this manager.",
            )
        return found

    def status(self) -> Mapping[str, Any]:
        clusters = dict(self._clusters)
        used = resource.getrusage(resource.RUSAGE_SELF)
        now, monotonic = self._wall(), self._clock()
        return {
            "manager": {
                "version": VERSION,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "started_at": self._started_at,
                "now": now,
                "dry_run": self._config.dry_run,
                "clusters": len(clusters),
                "members": sum(len(c.config.members) for c in clusters.values()),
                "tick_s": self._config.tick,
                "tick_late_s": round(self._tick_late, 4),
                "tick_duration_s": round(self._tick_took, 4) if self._tick_took is not None else None,
                "cpu_s": round(used.ru_utime + used.ru_stime, 3),
            },
            "clusters": {name: self._status_of(cluster, now, monotonic) for name, cluster in clusters.items()},
        }

    def _status_of(self, cluster: _Cluster, now: float, monotonic: float) -> dict[str, Any]:
        name = cluster.config.name
        return board.cluster_status(
            cluster.view,
            self._history.pause_of(name),
            self._history.last(name),
            self._history.attempts(name),
            now,
            monotonic,
        )

    def recoveries(self, cluster: str = "", limit: int = 100) -> Sequence[Mapping[str, Any]]:
        if cluster:
            self._cluster(cluster)
        return self._history.entries(cluster, limit)

    def pause(self, cluster: str, by: str, reason: str, until: Optional[float]) -> Mapping[str, Any]:
        names = [self._cluster(cluster).config.name] if cluster else sorted(self._clusters)
        self._history.pause(names, by, reason, until)
        self._say(WARNING, f"{', '.join(names)}: paused by {by}: {reason}")
        return {"clusters": names, "by": by, "reason": reason, "until": until}

    def resume(self, cluster: str, by: str) -> Mapping[str, Any]:
        names = [self._cluster(cluster).config.name] if cluster else sorted(self._clusters)
        self._history.resume(cluster, by)
        self._say(INFO, f"{', '.join(names)}: resumed by {by}")
        return {"clusters": names, "by": by}

    def acknowledge(self, recovery: str, by: str) -> Mapping[str, Any]:
        entry = self._history.acknowledge(recovery, by)
        self._say(INFO, f"{entry['cluster']}: recovery {recovery} acknowledged by {by}")
        return entry

    def switchover(self, cluster: str, to: str, by: str) -> Mapping[str, Any]:
        known = self._cluster(cluster)
        recovery = self._recovery(known.config)
        with self._alone(known) as cause:
            self._say(WARNING, f"{cluster}: switchover to {to}, asked for by {by}")
            try:
                return recovery.switchover(to, by, cause)
            finally:
                self._tell(recovery)

    def maintain(self, cluster: str, member: str, operation: str, by: str, reason: str) -> Mapping[str, Any]:
        known = self._cluster(cluster)
        names = [m.name for m in known.config.members]
        if member not in names:
            raise HaError(
                "unknown_member",
                f"there is no member {member!r} in {cluster}",
                evidence={"members": names},
                next_step="Name one of the members.",
            )
        asked = Asked(member, operation, by, reason)
        with self._alone(known) as cause:
            self._say(WARNING, f"{cluster}: {operation} of {member}, asked for by {by}: {reason or 'no reason given'}")
            return Maintenance(known.config, self._history, do=self._tend, wall=self._wall).run(asked, cause)

    @contextlib.contextmanager
    def _alone(self, cluster: _Cluster) -> Iterator[Cause]:
        """Nothing else is done to this cluster meanwhile. How it is now, as the cause of what a person asked for.

        :raises HaError: ``recovery_running``.
        """
        name = cluster.config.name
        if not self._take(name):
            raise HaError(
                "recovery_running",
                f"a recovery of {name} is running",
                next_step="Wait for it to end, then look at its status.",
            )
        try:
            watched, verdict_now = cluster.view.watched, cluster.view.verdict
            yield Cause(
                verdict=verdict_now.verdict,
                old_primary=verdict_now.primary,
                old_primary_uuid=verdict_now.primary_uuid,
                term=watched.term.term if watched.term else 0,
            )
        finally:
            with self._guard:
                self._running.discard(name)

    def explain(self, cluster: str) -> Mapping[str, Any]:
        known = self._cluster(cluster)
        pool = Members(known.config.candidates, known.config.login, connect_within=EXPLAIN_SECONDS)
        try:
            observation = pool.observe(within=EXPLAIN_SECONDS)
        finally:
            pool.close()
        return board.explain(known.view, observation, self._standing_holds(known, self._wall()))
