# SPDX-License-Identifier: GPL-3.0-or-later
"""The connections, against a peer that speaks the protocol on loopback, in the clear and with TLS."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import link
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.link import Links, Round, Target, Woken
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.sample import Sample, Silence
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    FAILED,
    LOGIN_FAILED,
    REFUSED,
    TIMED_OUT,
    TLS_FAILED,
    UNREACHABLE,
    Member,
)

from .peer import Peer, columns, uuid_of

PATIENCE = 10.0
"""Seconds for something that takes milliseconds, on a machine that does other things."""


class World:
    """Some peers, and the links to them."""

    def __init__(self) -> None:
        self.links = Links()
        self.peers: list[Peer] = []
        self.targets: list[Target] = []
        self.events: list[Any] = []

    def add(self, peer: Peer | int, login: Login | None = None, host: str = "127.0.0.1") -> None:
        port = peer if isinstance(peer, int) else peer.port
        if isinstance(peer, Peer):
            self.peers.append(peer)
        name = f"db{len(self.targets) + 1}"
        self.targets.append(Target(Member(name, host, port), login or Login("manager", "canary")))
        self.links.set("ledger", self.targets)

    def until(self, done: Callable[[], Any], what: str) -> Any:
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            found = done()
            if found:
                return found
            self.events += self.links.poll(time.monotonic() + 0.02)
        raise AssertionError(f"{what}: not within {PATIENCE} s; {self.events}")

    def connected(self, *names: str) -> None:
        def all_of_them() -> bool:
            return set(names) <= {e.member for e in self.events if isinstance(e, Woken) and e.why == "connected"}

        self.until(all_of_them, "connect")

    def tick(self, deadline: float = PATIENCE) -> dict[str, Any]:
        self.events = [e for e in self.events if not isinstance(e, Round)]
        assert self.links.ask("ledger", deadline)
        ended = self.until(lambda: next((e for e in self.events if isinstance(e, Round)), None), "the round")
        return dict(ended.answers)

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        self.links.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    place = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=peer"]
        + ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        + ["-keyout", str(place / "key.pem"), "-out", str(place / "ca.pem")],
        check=True,
        capture_output=True,
    )
    return place


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "ca.pem", certificate / "key.pem")
    return context


@pytest.fixture(params=["clear", "tls"])
def make(request: pytest.FixtureRequest, world: World) -> Callable[..., Peer]:
    """Make a peer and a link to it, in the clear or with verified TLS."""
    tls = None
    login = Login("manager", "canary")
    if request.param == "tls":
        place: Path = request.getfixturevalue("certificate")
        tls = server_side(place)
        login = Login("manager", "canary", ca=str(place / "ca.pem"))

    def made(number: int, **changes: Any) -> Peer:
        peer = Peer(columns(number, **changes), tls=tls)
        world.add(peer, login)
        return peer

    return made


def test_a_tick_asks_everybody_once_and_samples_say_what_was_answered(world: World, make: Callable[..., Peer]) -> None:
    peers = [make(1), make(2, relay_bytes="99", error="x" * 5000), make(3)]
    world.connected("db1", "db2", "db3")
    for count in range(1, 4):
        answers = world.tick()
        assert [type(a) for a in answers.values()] == [Sample] * 3
        assert [p.asked for p in peers] == [count] * 3
    primary, replica = answers["db1"], answers["db2"]
    assert (primary.server_uuid, primary.writable, primary.wait_sessions, primary.uptime) == (uuid_of(1), True, 1, 4242)
    assert (primary.clients, primary.no_tx, primary.source_active, primary.receiver) == (2, 0, True, "")
    assert primary.term is not None and (primary.term.n, primary.term.k, primary.term.revision) == (2, 1, 3)
    assert (replica.receiver, replica.source_uuid, replica.relay_bytes) == ("ON", uuid_of(1), 99)
    assert (replica.clients, replica.beat, len(replica.error)) == (None, (2, 17), 5000)
    peers[1].columns = columns(2, revision="4", k="2")
    changed = world.tick()["db2"]
    assert changed.term.k == 2 and changed.term is not replica.term
    assert world.tick()["db2"].term is changed.term, "the members are parsed in every tick"


def test_who_hangs_is_timed_out_and_its_late_answer_is_nobody_elses(world: World, make: Callable[..., Peer]) -> None:
    make(1)
    slow = make(2, heartbeats="1")
    world.connected("db1", "db2")
    world.tick()
    slow.hold()
    answers = world.tick(0.1)
    assert isinstance(answers["db1"], Sample)
    assert (answers["db2"].kind, answers["db2"].message) == (TIMED_OUT, "db2: no answer in time")
    again = world.tick(0.1)
    assert again["db2"].kind == TIMED_OUT, "it was asked again while it owed an answer"
    slow.columns = columns(2, heartbeats="2")
    asked = slow.asked
    slow.go_on()
    world.until(lambda: slow.asked == asked + 1, "the late answer")
    slow.columns = columns(2, heartbeats="3")
    ends = time.monotonic() + PATIENCE
    answer = world.tick()["db2"]
    while not isinstance(answer, Sample) and time.monotonic() < ends:
        answer = world.tick()["db2"]
    assert answer.heartbeats == 3
    assert slow.logins == 1


def test_a_connection_that_breaks_wakes_the_loop_and_shows_what_is_there_now(
    world: World, make: Callable[..., Peer]
) -> None:
    make(1)
    world.connected("db1")
    world.tick()
    world.events = []
    # Not within the same second as the last attempt: those are bounded.
    time.sleep(link.RETRY_SECONDS)
    began = time.monotonic()
    world.peers[0].close()
    world.until(lambda: [e for e in world.events if isinstance(e, Woken)], "the wake-up")
    noticed = time.monotonic() - began
    world.until(lambda: len([e for e in world.events if isinstance(e, Woken)]) > 1, "what is there now")
    assert noticed < 1.0
    silence = world.tick()["db1"]
    assert isinstance(silence, Silence)
    assert (silence.kind, silence.alive) == (REFUSED, False)


def test_a_break_in_the_middle_of_a_tick_is_its_answer(world: World, make: Callable[..., Peer]) -> None:
    make(1)
    make(2)
    world.connected("db1", "db2")
    world.peers[1].hold()
    assert world.links.ask("ledger", PATIENCE)
    world.peers[1].drop_connections()
    ended = world.until(lambda: next((e for e in world.events if isinstance(e, Round)), None), "the round")
    assert isinstance(ended.answers["db1"], Sample)
    assert ended.answers["db2"].kind == TIMED_OUT and "broke" in ended.answers["db2"].message


def test_it_connects_again(world: World, make: Callable[..., Peer]) -> None:
    peer = make(1)
    world.connected("db1")
    world.events = []
    peer.drop_connections()
    world.connected("db1")
    assert isinstance(world.tick()["db1"], Sample)
    assert peer.logins == 2


def test_attempts_are_bounded(world: World) -> None:
    peer = Peer(columns(1))
    peer.login_error = (1040, "Too many connections")
    world.add(peer)
    began = time.monotonic()
    world.until(lambda: peer.logins >= 3, "attempts")
    assert time.monotonic() - began > 1.5 * link.RETRY_SECONDS
    silence = world.tick()["db1"]
    assert (silence.kind, silence.errno, silence.alive) == (FAILED, 1040, True)


@pytest.mark.parametrize(
    ("errno", "kind"),
    [(1045, LOGIN_FAILED), (1040, FAILED)],
)
def test_who_answers_and_does_not_let_us_in_is_alive(world: World, errno: int, kind: str) -> None:
    peer = Peer(columns(1))
    peer.login_error = (errno, "no")
    world.add(peer)
    world.until(lambda: peer.logins, "a login")

    def said() -> Silence | None:
        silence = world.tick()["db1"]
        return silence if silence.kind != TIMED_OUT else None

    silence = world.until(said, "the failure")
    assert (silence.kind, silence.alive) == (kind, True)
    assert "canary" not in silence.message


def test_a_certificate_that_is_not_trusted_is_no_sign_of_death(world: World, certificate: Path, tmp_path: Path) -> None:
    other = tmp_path / "missing.pem"
    world.add(Peer(columns(1), tls=server_side(certificate)), Login("manager", "x", ca=str(other)))

    def said() -> Silence | None:
        silence = world.tick()["db1"]
        return silence if silence.kind != TIMED_OUT else None

    assert world.until(said, "the failure").kind == TLS_FAILED


def test_a_host_that_hangs_costs_no_worker_and_no_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "REACH_SECONDS", 0.3)
    used: list[str] = []
    world.links._log_in = lambda target, sock: used.append(target.member.name)  # type: ignore[assignment,return-value]
    for number in range(1, 2 * link.WORKERS + 1):
        hung = Peer(columns(number))
        hung.greets = False
        world.add(hung)
    world.links._log_in = link.log_in
    well = Peer(columns(99))
    world.add(well)
    world.connected(f"db{2 * link.WORKERS + 1}")
    assert used == []
    time.sleep(0.3)
    answers = world.tick(0.2)
    assert isinstance(answers[f"db{2 * link.WORKERS + 1}"], Sample)
    assert {a.kind for n, a in answers.items() if n != f"db{2 * link.WORKERS + 1}"} == {TIMED_OUT}


def test_a_name_that_is_not_known_is_said(world: World) -> None:
    world.add(1, host="no-such-host.invalid")

    def said() -> Silence | None:
        silence = world.tick()["db1"]
        return silence if silence.kind == UNREACHABLE else None

    assert world.until(said, "the failure")


def test_names_are_looked_up(world: World) -> None:
    peer = Peer(columns(1))
    world.add(peer, host="localhost")
    world.connected("db1")
    assert isinstance(world.tick()["db1"], Sample)


@pytest.mark.parametrize("errno", [1146, 1193])
def test_an_error_is_an_answer(world: World, errno: int) -> None:
    peer = Peer(columns(1))
    world.add(peer)
    world.connected("db1")
    peer.error = (errno, "no such thing")
    silence = world.tick()["db1"]
    assert (silence.kind, silence.errno, silence.alive) == (FAILED, errno, True)
    peer.error = None

    def well() -> bool:
        return isinstance(world.tick()["db1"], Sample)

    world.until(well, "an answer")
    assert peer.logins == (2 if errno == 1193 else 1), "after a plugin has come or gone, names are asked for again"


def test_what_came_while_this_process_was_away_counts(world: World) -> None:
    """The deadline is over when it wakes up; the answer has been there all the time."""
    world.add(Peer(columns(1)))
    world.connected("db1")
    assert world.links.ask("ledger", 0.05)
    time.sleep(0.5)
    ended = world.until(lambda: next((e for e in world.events if isinstance(e, Round)), None), "the round")
    assert isinstance(ended.answers["db1"], Sample)
    assert ended.ended_at - ended.asked_at > 0.4, "and that it was late can be seen"


def test_clusters_come_and_go(world: World) -> None:
    peer = Peer(columns(1))
    world.add(peer)
    world.connected("db1")
    world.links.set("ledger", [*world.targets, Target(Member("db2", "127.0.0.1", 1), Login("x"))])
    assert isinstance(world.tick()["db1"], Sample)
    assert peer.logins == 1, "an unchanged member was connected to again"
    world.links.ask("ledger", PATIENCE)
    world.links.set("ledger", [])
    assert world.links.ask("ledger", 1.0), "the round of a cluster that is gone is under way"


def test_an_answer_to_no_question_ends_the_connection(world: World) -> None:
    held: list[socket.socket] = []

    def log_in(target: Target, sock: socket.socket) -> link.Opened:
        ours, theirs = socket.socketpair()
        held.append(theirs)
        sock.close()
        return link.Opened(ours, b"question")

    world.links._log_in = log_in
    world.add(Peer(columns(1)))
    world.connected("db1")
    held[0].send(b"\x05\0\0\x01\xff\x53\x04no")
    world.events = []
    world.until(lambda: [e for e in world.events if isinstance(e, Woken) and e.why == "no"], "the end")
