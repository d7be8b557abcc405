# SPDX-License-Identifier: GPL-3.0-or-later
"""The keeper's loop in a world of its own: its clock, its kernel (which counts lifetimes), its link."""

from __future__ import annotations

import ipaddress
import math
import random
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.address import Vip
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.fence import Heard
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.fencing import Orders
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.heartbeat import Notes
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.lease import Beat, Seen, Timing
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.loop import Loop, World
from hypothesis import given, settings
from hypothesis import strategies as st

TICK = Timing().tick

ME, OTHER = "me", "other"
VIP = Vip(ipaddress.ip_address("10.0.0.100"), 32, "eth0")
STRANGER = "02:00:00:00:00:99"


class Host:
    """Everything outside the loop. The server answers and acknowledges while it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.expires = -math.inf
        self.answers = self.acknowledges = self.writable = True
        self.primary, self.term, self.sequence = ME, 1, 0
        self.beat_at = -math.inf
        self.stranger_answers = False
        self.heard: list[str] = []
        self.sent: list[tuple[float, str]] = []
        self.journal: list[str] = []
        self.status: dict[str, Any] = {}
        self.broken = ""
        self.freeze_in_call = 0.0
        self.notes = Notes(lambda: None)
        world = World(
            clock=lambda: self.now,
            wall=lambda: self.now + 1e9,
            kernel=self,
            link=lambda vip: self,
            publish=lambda values: setattr(self, "status", values),
            say=lambda priority, text: self.journal.append(text),
        )
        self.offline = False
        self.orders = Orders(lambda: None)
        self.loop = Loop([VIP], Timing(), self.notes, world, self.orders)

    # the kernel
    @property
    def has_it(self) -> bool:
        return self.now < self.expires

    def present(self, vip: Vip, lifetime: int) -> None:
        self._fail()
        self.now += self.freeze_in_call
        self.expires = self.now + lifetime

    def absent(self, vip: Vip) -> bool:
        self._fail()
        had, self.expires = self.has_it, -math.inf
        return had

    def has(self, vip: Vip) -> bool:
        return self.has_it

    def _fail(self) -> None:
        if self.broken:
            raise HaError("ip_failed", self.broken)

    # the link
    def probe(self) -> None:
        self.sent.append((self.now, "probe"))
        if self.stranger_answers:
            self.heard.append(STRANGER)

    def announce(self) -> None:
        self.sent.append((self.now, "announce"))

    def claims(self) -> tuple[str, ...]:
        heard, self.heard = tuple(self.heard), []
        return heard

    def close(self) -> None:
        self.heard = []

    # the server and its two threads
    def look(self) -> None:
        if self.answers:
            writable = self.writable and not self.offline
            self.notes.put_seen(
                Seen(self.now, ME, writable, self.term, self.term, self.primary, 1, offline=self.offline)
            )
        ordered = self.notes.wait_for_order(0.0)
        due = self.now >= self.beat_at + 0.5
        if ordered is not None and self.answers and self.acknowledges and due:
            self.sequence += 1
            self.beat_at = self.now
            self.notes.put_beat(Beat(self.now, ME, ordered, self.sequence))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.look()
            self.now = max(self.loop.step(), self.now + 1e-4)

    def last_proof(self) -> float:
        return self.beat_at


@pytest.fixture
def host() -> Host:
    host = Host()
    host.loop.begin()
    return host


def test_a_new_primary_takes_the_address_within_a_tick_and_a_probe(host: Host) -> None:
    host.primary = OTHER
    host.run(1.0)
    assert not host.has_it
    host.primary, host.term = ME, 2
    promoted = host.now
    host.run(0.3)
    assert host.has_it
    taken = next(at for at, what in host.sent if what == "announce")
    assert taken - promoted <= TICK + 0.03 + TICK
    assert sum(what == "probe" for _at, what in host.sent) == 3


def test_it_announces_again_and_again_for_a_minute(host: Host) -> None:
    host.run(70)
    announced = [at for at, what in host.sent if what == "announce"]
    assert len(announced) == 10
    assert announced[-1] - announced[0] == pytest.approx(60, abs=0.1)


@pytest.mark.parametrize(
    ("change", "within"),
    [
        ({"writable": False}, 0.051),
        ({"primary": OTHER, "term": 2}, 0.051),
        ({"answers": False}, 1.56),
        ({"acknowledges": False}, 1.56),
    ],
    ids=["read-only", "deposed", "the server hangs", "nobody acknowledges"],
)
def test_it_lets_go_in_time(host: Host, change: dict[str, Any], within: float) -> None:
    host.run(3.0)
    assert host.has_it
    for name, value in change.items():
        setattr(host, name, value)
    changed = host.now
    while host.has_it:
        host.run(0.01)
        assert host.now - changed < within + TICK + 0.01
    assert host.status["holding"] is False
    assert any("let go" in line for line in host.journal)


def test_a_dead_mysqld_costs_the_address_at_once(host: Host) -> None:
    host.run(1.0)
    host.answers = False
    host.notes.put_gone("connection refused")
    host.loop.step()
    assert not host.has_it
    assert "mysqld is gone: connection refused" in host.journal[-1]


def test_at_start_and_at_stop_nothing_is_held() -> None:
    host = Host()
    host.expires = math.inf
    host.loop.begin()
    assert not host.has_it
    host.run(1.0)
    assert host.has_it
    host.loop.end()
    assert not host.has_it
    assert host.status["reason_code"] == "stopping"


def test_a_stranger_is_not_fought_and_the_address_is_taken_when_it_has_gone(host: Host) -> None:
    host.stranger_answers = True
    host.run(5.0)
    assert not host.has_it
    assert host.status["addresses"]["10.0.0.100"]["conflict"] == STRANGER
    assert host.status["conflict"]
    assert sum("not taken" in line for line in host.journal) == 2, "once at first, once when it stays too long"
    late = sum(what == "probe" for at, what in host.sent if at > 104.0)
    assert late <= 3 * 3, "no more than a probe of three frames each half second"
    host.stranger_answers = False
    host.run(1.0)
    assert host.has_it


def test_a_rival_is_reported_and_wins_only_when_our_lease_is_in_doubt(host: Host) -> None:
    host.run(1.0)
    host.heard.append(STRANGER)
    host.run(0.2)
    assert host.has_it
    assert host.status["conflict"]
    host.acknowledges = False
    host.run(0.6)
    host.heard.append(STRANGER)
    host.run(0.6)
    assert not host.has_it
    assert any("our own heartbeat is overdue" in line for line in host.journal)


def test_a_process_that_was_frozen_while_it_took_the_address_gives_it_back(host: Host) -> None:
    host.freeze_in_call = 2.0
    while not any("let go" in line for line in host.journal):
        host.run(0.05)
        assert host.now < 110
    assert not host.has_it


def test_a_frozen_keeper_lets_go_with_its_first_step(host: Host) -> None:
    host.run(1.0)
    host.expires = math.inf
    host.now += 60
    host.loop.step()
    assert not host.has_it


def test_what_can_not_be_removed_is_tried_again_at_every_tick(host: Host) -> None:
    host.run(1.0)
    host.writable, host.broken = False, "RTNETLINK answers: Operation not permitted"
    host.run(0.3)
    assert sum("Operation not permitted" in line for line in host.journal) == 1
    host.broken = ""
    host.run(TICK + 0.01)
    assert not host.has_it


def test_an_address_that_somebody_removed_is_probed_for_and_taken_again(host: Host) -> None:
    host.run(1.0)
    host.expires = -math.inf
    host.run(0.7)
    assert host.has_it
    assert any("somebody removed it" in line for line in host.journal)


def test_the_kernels_count_never_ends_while_the_lease_is_young(host: Host) -> None:
    for _turn in range(400):
        host.run(0.02)
        if host.loop.watched[0].state.held:
            assert host.has_it


# --- self-fencing ----------------------------------------------------------------------------------------------------
def until(host: Host, action: str, within: float = 5.0) -> float:
    """Run until that is decided; returns the seconds that took."""
    started = host.now
    while host.status.get("fence", {}).get("action") != action:
        assert host.now - started < within, host.status.get("fence")
        host.run(0.01)
    return host.now - started


def hear(host: Host, answer: Heard) -> None:
    question = host.orders.wait_for_question(0.0)
    assert question is not None
    host.orders.put_heard(question[0], answer)


def test_sessions_end_when_the_lease_runs_out_and_are_left_alone_when_it_is_back(host: Host) -> None:
    host.run(3.0)
    assert host.status["fence"]["action"] == "nothing"
    proof = host.last_proof()
    host.acknowledges = False
    until(host, "end_sessions")
    assert Timing().lease < host.now - proof <= Timing().bound + TICK
    assert not host.has_it
    assert host.orders.wait_for_work(0.0) is not None
    host.orders.put_done(host.loop._decision, 4, (), "")
    host.run(1.1)
    assert host.status["fence"]["sessions_ended"] == 4
    host.acknowledges = True
    until(host, "nothing")
    assert host.orders.wait_for_work(0.0) is None
    assert any("sessions are left alone again (4 sessions were ended)" in line for line in host.journal)
    assert host.status["fence"]["sessions_ended"] == 0


def test_a_keeper_that_starts_gives_the_first_heartbeat_one_lease(host: Host) -> None:
    host.acknowledges = False
    assert until(host, "ask_peers") < 0.1
    assert Timing().lease - 0.2 <= until(host, "end_sessions") <= Timing().lease + 2 * TICK


def test_a_primary_that_wakes_up_asks_first_and_is_fenced_as_soon_as_a_peer_says_so(host: Host) -> None:
    host.run(3.0)
    host.answers = False
    host.run(5.0)
    assert host.status["fence"]["reason_code"] == "server_silent"
    host.answers, host.acknowledges = True, False
    host.run(0.2)
    assert host.status["fence"]["action"] == "ask_peers"
    hear(host, Heard("db2", "2", host.now, 2, 2, OTHER))
    assert until(host, "fence") < 0.1
    assert not host.status["fence"]["fenced"]
    host.offline = True
    host.run(1.1)
    fence = host.status["fence"]
    assert (fence["fenced"], fence["deposed_by"], fence["deposed_in_term"]) == (True, "db2", 2)
    assert sum("fencing the local server" in line for line in host.journal) == 1
    host.offline, host.primary, host.term, host.writable = False, OTHER, 2, False
    host.run(0.2)
    assert host.status["fence"]["action"] == "nothing", "it follows: whoever brought it back has lifted the fence"


def test_an_impossible_lease_is_said_loudly_once(host: Host) -> None:
    host.run(1.0)
    host.acknowledges = False
    until(host, "end_sessions")
    hear(host, Heard("db2", "2", host.now, 2, 2, OTHER))
    host.acknowledges = True
    host.now += 1e-3
    host.look()
    host.loop.step()
    assert sum("somebody acknowledges a deposed primary" in line for line in host.journal) == 1
    host.run(1.0)
    assert host.status["fence"]["reason_code"] == "lease_young"


def test_at_the_stop_nothing_is_ordered_any_more(host: Host) -> None:
    host.acknowledges = False
    until(host, "end_sessions")
    host.loop.end()
    assert host.status["fence"]["reason_code"] == "stopping"
    assert host.orders.wait_for_work(0.0) is None


def test_without_self_fencing_only_the_address_goes() -> None:
    host = Host()
    host.loop._orders = None
    host.loop.begin()
    host.run(1.0)
    host.acknowledges = False
    host.run(3.0)
    assert not host.has_it
    assert host.status["fence"] is None


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.lists(st.floats(0.01, 3.0), min_size=3, max_size=12))
def test_whatever_happens_the_address_is_never_held_beyond_the_bound(seed: int, lasts: list[float]) -> None:
    """Servers that hang, lose acknowledgers, are deposed and come back, in any order, at any time."""
    chance = random.Random(seed)
    host = Host()
    host.loop.begin()
    for seconds in lasts:
        host.answers = chance.random() < 0.7
        host.acknowledges = chance.random() < 0.6
        host.writable = chance.random() < 0.8
        host.primary = chance.choice([ME, ME, OTHER])
        host.term += chance.random() < 0.3
        host.stranger_answers = chance.random() < 0.2
        until = host.now + seconds
        while host.now < until:
            host.run(0.02)
            if host.has_it:
                assert host.now - host.last_proof() <= Timing().bound + 0.02
