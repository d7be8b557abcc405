"""The scenarios: what is broken, and how that has to end.

All with one primary and two replicas, k = 1: a failover is proven when *both* replicas are held, so losing a replica
together with the primary has to end in a refusal. Numbers are those of the research this follows (28 scenarios); what
comes after them was added here.
"""

from __future__ import annotations

from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.faults import POINTS

from drills.steps import (
    APPLICATION,
    CONTROL,
    CURRENT,
    EITHER,
    ELECTED,
    FAIL_OVER,
    KILLED,
    MANAGER,
    NEW,
    NOTHING,
    PLANNED,
    PRIMARY,
    REFUSE,
    REPLICA_1,
    REPLICA_2,
    Acknowledged,
    Act,
    Answers,
    Blocked,
    Expect,
    Fenced,
    Follow,
    Heal,
    Inject,
    Pause,
    Scenario,
    Step,
)

LOCAL_CLIENTS = Inject("local_clients")
"""After a cut: what they commit can reach nobody, so the old primary has it alone."""
KILL, HANG, GONE = "mysqld_kill_no_restart", "hang", "host_gone"
EMERGENCY_PHASES = ("observe", "lock", "freeze", "elect", "apply", "acknowledgers", "arm", "open", "term", "verify")
"""Phases of a failover after a crash, in their order. The others belong to a hang or to a planned switchover."""
EMERGENCY_POINTS = tuple(point for point in POINTS if point.partition(":")[0] in EMERGENCY_PHASES)
CUT_POINTS = ("freeze:after", "fence:before", "fence:after", "open:after")
FLAPS = 3


def _behind(replica: str) -> Inject:
    """From here on this replica receives nothing from the primary; everybody else reaches it."""
    return Inject("cut", on=PRIMARY, options={"peer": replica})


def _fails_over(*before: Step) -> tuple[Step, ...]:
    return (*before, Act(), Expect(FAIL_OVER), Acknowledged(NEW))


def _flaps() -> tuple[Step, ...]:
    once = (Inject("isolate_all"), Pause(0.5, 1.5), Heal("isolate_all"), Pause(0.5, 1.5))
    return once * FLAPS


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "primary_crash",
        1,
        "mysqld of the primary is killed and stays down",
        _fails_over(Inject(KILL)),
        gate=True,
    ),
    Scenario(
        "primary_crash_restarts",
        2,
        "mysqld of the primary is killed and systemd starts it again while the failover is under way",
        (Inject("mysqld_kill"), Pause(0.0, 1.0), Act(), Expect(EITHER)),
        gate=True,
    ),
    Scenario(
        "primary_hangs",
        3,
        "mysqld of the primary stands still (SIGSTOP) and wakes up after the promotion",
        (*_fails_over(Inject(HANG)), Heal(HANG, driver=MANAGER), Fenced()),
        gate=True,
    ),
    Scenario(
        "primary_isolated",
        4,
        "nothing reaches the primary's host or leaves it, until after the promotion; clients on it go on writing",
        (*_fails_over(Inject("isolate_all"), LOCAL_CLIENTS), Heal("isolate_all", driver=MANAGER), Fenced()),
        gate=True,
        surplus=True,
    ),
    Scenario(
        "replication_cut",
        5,
        "nothing between the primary and its replicas; applications and the controller reach all of them",
        (
            Inject("replication_cut"),
            Act(),
            # Called without ``Request.cut`` it deposes no primary that answers it; a manager has seen the cut.
            Expect(FAIL_OVER, by_procedure=REFUSE),
        ),
        gate=True,
    ),
    Scenario(
        "controller_cut_from_primary",
        6,
        "the controller does not reach the primary; everybody else does",
        (
            Inject("cut", on=PRIMARY, options={"peer": CONTROL}),
            Act(),
            Expect(NOTHING, within=6.0),
            Acknowledged(PRIMARY),
        ),
    ),
    Scenario(
        "controller_cut_from_all",
        7,
        "the controller reaches nobody for a while, and again in the middle of a failover",
        (
            Inject("isolate_all", on=CONTROL),
            Act(),
            Expect(NOTHING, within=4.0),
            Heal("isolate_all", on=CONTROL),
            Acknowledged(PRIMARY),
            Inject(KILL),
            Act(),
            Pause(0.0, 0.8),
            Inject("isolate_all", on=CONTROL),
            Pause(1.0, 3.0),
            Heal("isolate_all", on=CONTROL),
            Expect(EITHER),
            Act(again=True),
            Expect(FAIL_OVER),
            Acknowledged(NEW),
        ),
    ),
    Scenario(
        "only_acknowledger_hangs",
        8,
        "one replica is behind, the other, which alone acknowledged, hangs, the primary dies: refused until it wakes",
        (
            _behind(REPLICA_2),
            Pause(0.3, 1.0),
            Inject(HANG, on=REPLICA_1),
            Inject(KILL),
            Act(),
            Expect(REFUSE),
            Heal(HANG, on=REPLICA_1),
            Heal("cut"),
            Act(),
            Expect(FAIL_OVER),
            Acknowledged(NEW),
        ),
        gate=True,
    ),
    Scenario(
        "only_acknowledger_restarts",
        9,
        "the replica that alone acknowledged crashes with an unapplied relay log and comes back; then the primary dies",
        (
            _behind(REPLICA_2),
            Inject("applier_held", on=REPLICA_1),
            Pause(0.5, 1.5),
            Inject("mysqld_kill", on=REPLICA_1),
            Answers(REPLICA_1),
            Follow(REPLICA_1),
            Pause(0.1, 0.6),
            Inject(KILL),
            Heal("cut"),
            *_fails_over(),
        ),
        gate=True,
        limits="the replica is back when the primary dies; were it still starting, the failover would be refused "
        "(semi_sync_unobserved): it no longer knows when it last heard the primary",
    ),
    Scenario(
        "applier_stopped_by_error",
        10,
        "the applier of the replica that alone acknowledged stops with an error, then the primary dies: refused until "
        "the error is mended, and nothing that was received is thrown away",
        (
            _behind(REPLICA_2),
            Inject("applier_error", on=REPLICA_1),
            Pause(0.3, 1.0),
            Inject(KILL),
            Act(),
            Expect(REFUSE),
            Heal("applier_error", on=REPLICA_1),
            Heal("cut"),
            Act(),
            Expect(FAIL_OVER),
            Acknowledged(NEW),
        ),
        gate=True,
    ),
    Scenario(
        "most_received_is_late",
        11,
        "the replica that has received most applies late; the failover waits for it and never takes the other",
        (
            _behind(REPLICA_2),
            Inject("applier_held", on=REPLICA_1),
            Pause(1.0, 2.0),
            Inject(KILL),
            Heal("cut"),
            Act(),
            Pause(2.0, 5.0),
            Heal("applier_held", on=REPLICA_1),
            Expect(FAIL_OVER),
            Acknowledged(NEW),
        ),
        gate=True,
        limits="late by seconds rather than by 30 to 300 s: what is shown is the waiting, and a run has to stay short",
    ),
    Scenario(
        "other_replica_is_late",
        12,
        "a replica that has received as much as the other does not apply: that must not delay the failover",
        (
            Inject("applier_held", on=REPLICA_2),
            Pause(0.5, 1.0),
            Inject(KILL),
            Act(),
            Expect(FAIL_OVER),
            Heal("applier_held", on=REPLICA_2),
            Acknowledged(NEW),
        ),
        limits="with two acknowledgers and k = 1 both are needed, so the late one can not be one that hangs as well",
    ),
    Scenario(
        "semi_sync_off",
        13,
        "semi-sync is off for a while when the primary dies: the last testimony says so, and nothing can be proven",
        (Inject("semi_sync_off"), Pause(1.5, 2.5), Inject(KILL), Act(), Expect(REFUSE)),
    ),
    Scenario(
        "commits_wait_at_crash",
        14,
        "commits wait for their acknowledgement when mysqld is killed; they come back, are archived and removed",
        _fails_over(Inject("replication_cut"), LOCAL_CLIENTS, Blocked(), Inject(KILL)),
        gate=True,
        surplus=True,
    ),
    Scenario(
        "stopped_while_disconnected",
        15,
        "systemctl stop mysql on the primary while its replicas are cut off: no waiting commit may be told OK",
        _fails_over(Inject("replication_cut"), LOCAL_CLIENTS, Blocked(), Inject("mysqld_stop")),
        gate=True,
        surplus=True,
    ),
    Scenario(
        "switchover_while_commits_wait",
        16,
        "a planned switchover while commits wait is refused in its budget; the cut is then dealt with as any other",
        (
            Inject("replication_cut"),
            Blocked(),
            Act(PLANNED),
            Expect(REFUSE),
            Act(),
            Expect(FAIL_OVER, by_procedure=REFUSE),
            Heal("replication_cut"),
            Acknowledged(CURRENT),
        ),
    ),
    Scenario(
        "switchover_with_open_transaction",
        17,
        "a planned switchover while an application holds a transaction open: refused, and nothing has changed",
        (Inject("long_transaction"), Pause(3.2, 4.0), Act(PLANNED), Expect(REFUSE), Acknowledged(PRIMARY)),
    ),
    Scenario(
        "cascade",
        18,
        "the new primary dies two seconds after its promotion: one acknowledger is left of two, which proves nothing",
        (*_fails_over(Inject(KILL)), Pause(1.0, 2.0), Inject(KILL, on=NEW), Act(), Expect(REFUSE)),
    ),
    Scenario(
        "actor_killed",
        19,
        "whoever carries out the failover is killed at every boundary of its steps, and begins again",
        (Inject(KILL), Act(points=EMERGENCY_POINTS), Expect(FAIL_OVER, within=240.0), Acknowledged(NEW)),
        gate=True,
        limits="with REPEAT each run takes its share of the points; with one run all of them",
    ),
    Scenario(
        "two_actors",
        20,
        "two controllers act at the same moment: one proceeds at most, the other says why it does not",
        (
            Inject(KILL),
            Act(actors=2),
            # Each may get the lock of one member and refuse because of the other: then nobody has acted, and the next
            # attempt does.
            Expect(EITHER),
            Act(again=True),
            Expect(FAIL_OVER),
            Acknowledged(NEW),
        ),
        gate=True,
    ),
    Scenario(
        "elected_dies",
        21,
        "the elected server dies before it took its first write; refused while one acknowledger is left, then proceeds",
        (
            Inject(KILL),
            # Killed before it could open it: the moment of the elected server's death is then the runner's to choose.
            Act(points=("open:before",), finish=False),
            Expect(KILLED),
            Inject(KILL, on=ELECTED),
            Act(),
            Expect(REFUSE),
            Heal(KILL, on=ELECTED),
            Answers(ELECTED),
            Act(),
            Expect(FAIL_OVER),
            Acknowledged(NEW),
        ),
    ),
    Scenario(
        "old_host_returns_with_address",
        22,
        "the primary's host is gone, the new holder's announcement is lost, and the old host boots with the address "
        "still configured: two holders within the bound, one afterwards",
        (
            Inject("address_at_boot"),
            Inject("announcement_lost", on=APPLICATION),
            Inject(GONE),
            Act(),
            Expect(FAIL_OVER),
            Acknowledged(NEW),
            Heal("announcement_lost", on=APPLICATION),
            Heal(GONE),
            Pause(1.0, 2.0),
            Acknowledged(NEW),
        ),
        gate=True,
        limits="a bridge learns addresses by itself: the port that a real switch would have to move stays unseen",
    ),
    Scenario(
        "disk_full",
        23,
        "not a block is free for the primary's data: it is degraded, and whether to fail over is policy",
        (Inject("disk_full"), Act(), Expect(EITHER, within=15.0, by_procedure=REFUSE)),
        limits="a read-only file system is not made: remounting needs a privilege that the lab's hosts do not have",
    ),
    Scenario(
        "connections_exhausted",
        24,
        "max_connections is reached on the primary (error 1040): it lives, and nothing is done",
        (Inject("connections_exhausted"), Act(), Expect(NOTHING, within=6.0), Acknowledged(PRIMARY)),
    ),
    Scenario(
        "flapping",
        25,
        "the primary's network comes and goes three times: one failover at most, and no way to and fro",
        (*_flaps(), Act(), Expect(EITHER, within=10.0, by_procedure=NOTHING)),
        limits="three times about a second instead of six times five: a run has to stay short",
    ),
    Scenario(
        "errant_on_replica",
        26,
        "a replica has a transaction of its own when the primary dies: it is no candidate and no acknowledger, so with "
        "two of them nobody would acknowledge behind the other",
        (Inject("errant_transaction", on=REPLICA_1), Pause(0.3, 1.0), Inject(KILL), Act(), Expect(REFUSE)),
        limits="that the others proceed needs a third acknowledger",
    ),
    Scenario(
        "authentication_cache_cold",
        27,
        "the caches of caching_sha2_password are cold on both replicas when they are pointed at each other",
        _fails_over(
            Inject("authentication_cache_cold", on=REPLICA_1),
            Inject("authentication_cache_cold", on=REPLICA_2),
            Inject(KILL),
        ),
        limits="over TLS, which this collection always uses for replication; the case without TLS does not exist here",
    ),
    Scenario(
        "one_of_all_returns",
        28,
        "all servers die and only one comes back: it stays read-only until the others are there",
        (
            # The primary last: whoever watches is faster than the next of these.
            Inject(KILL, on=REPLICA_1),
            Inject(KILL, on=REPLICA_2),
            Inject(KILL),
            Heal(KILL, on=REPLICA_1),
            Answers(REPLICA_1),
            Act(),
            Expect(REFUSE),
        ),
        limits="the processes die, not the power: containers share a kernel, whose page cache survives, so this says "
        "nothing about fsync",
    ),
    Scenario(
        "actor_killed_while_cut",
        29,
        "only the replication is cut, and whoever acts is killed before and after the old primary is fenced",
        (
            Inject("replication_cut"),
            LOCAL_CLIENTS,
            Act(points=CUT_POINTS),
            Expect(FAIL_OVER, within=120.0, by_procedure=REFUSE),
        ),
    ),
)

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
GATE = tuple(scenario for scenario in SCENARIOS if scenario.gate)
