# SPDX-License-Identifier: GPL-3.0-or-later
"""The observer: frames byte by byte, hosts that hang or vanish, and samples that keep their rhythm."""

from __future__ import annotations

import io
import ipaddress
import json
import struct
import threading
import time
from typing import Any

import drill_common
import observer
import pymysql
import pytest

MAC, PEER = bytes.fromhex("02005e000001"), bytes.fromhex("02005e000002")
SOURCE, TARGET = ipaddress.IPv4Address("192.0.2.1"), ipaddress.IPv4Address("192.0.2.10")
SOURCE6, TARGET6 = ipaddress.IPv6Address("fe80::1"), ipaddress.IPv6Address("2001:db8::ab:cdef")


def arp_reply(address: ipaddress.IPv4Address, mac: bytes, operation: int = 2) -> bytes:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + address.packed + MAC + SOURCE.packed
    return MAC + mac + b"\x08\x06" + body + bytes(18)


def advertisement(target: ipaddress.IPv6Address, mac: bytes, option: bytes, hops: int = 255) -> bytes:
    message = struct.pack("!BBHI", 136, 0, 0, 0x60000000) + target.packed + option
    header = struct.pack("!IHBB", 0x60000000, len(message), 58, hops) + target.packed + SOURCE6.packed
    return MAC + mac + b"\x86\xdd" + header + message


def test_an_arp_request_asks_everybody() -> None:
    frame = observer.arp_request(MAC, SOURCE, TARGET)
    assert frame.hex() == ("ffffffffffff02005e0000010806000108000604000102005e000001c0000201000000000000c000020a")


def test_arp_owners() -> None:
    assert observer.arp_owner(arp_reply(TARGET, PEER)) == (TARGET, "02:00:5e:00:00:02")
    assert observer.arp_owner(arp_reply(TARGET, PEER, operation=1)) is None
    assert observer.arp_owner(arp_reply(TARGET, PEER)[:41]) is None
    assert observer.arp_owner(advertisement(TARGET6, PEER, b"")) is None


def test_a_neighbour_solicitation_is_addressed_to_the_solicited_node_and_its_checksum_is_right() -> None:
    frame = observer.neighbour_solicitation(MAC, SOURCE6, TARGET6)
    assert frame[:14].hex() == "3333ffabcdef02005e00000186dd"
    assert ipaddress.IPv6Address(frame[38:54]) == ipaddress.IPv6Address("ff02::1:ffab:cdef")
    assert frame[21] == 255 and frame[54] == 135 and frame[62:78] == TARGET6.packed
    assert frame[78:] == b"\x01\x01" + MAC
    # Summed with its own checksum in place, a right message gives zero.
    assert observer.icmpv6_checksum(frame[22:38], frame[38:54], frame[54:]) == 0


def test_without_an_address_of_its_own_a_solicitation_names_no_link_layer_address() -> None:
    frame = observer.neighbour_solicitation(MAC, ipaddress.IPv6Address(0), TARGET6)
    assert len(frame) == 78
    assert observer.icmpv6_checksum(frame[22:38], frame[38:54], frame[54:]) == 0


def test_advertised_owners() -> None:
    other = b"\x0e\x01" + bytes(6)
    option = b"\x02\x01" + MAC
    assert observer.advertised_owner(advertisement(TARGET6, PEER, option)) == (TARGET6, "02:00:5e:00:00:01")
    assert observer.advertised_owner(advertisement(TARGET6, PEER, other + option)) == (TARGET6, "02:00:5e:00:00:01")
    assert observer.advertised_owner(advertisement(TARGET6, PEER, b"")) == (TARGET6, "02:00:5e:00:00:02")
    assert observer.advertised_owner(advertisement(TARGET6, PEER, option, hops=64)) is None
    assert observer.advertised_owner(advertisement(TARGET6, PEER, bytes(8))) == (TARGET6, "02:00:5e:00:00:02")
    assert observer.advertised_owner(arp_reply(TARGET, PEER) + bytes(60)) is None


@pytest.mark.parametrize(
    ("row", "writable"),
    [
        (("u", 0, 0, 0), True),
        (("u", 1, 0, 0), False),
        (("u", 1, 1, 0), False),
        (("u", 0, 0, 1), False),
    ],
)
def test_what_a_host_says(row: tuple[Any, ...], writable: bool) -> None:
    sample = observer.heard(row, 0.0012)
    assert (sample["reachable"], sample["writable"], sample["latency_ms"]) == (True, writable, 1.2)


class FakeHost:
    """A session whose answer can be held back or replaced by an error."""

    def __init__(self) -> None:
        self.open = True
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.failure: BaseException | None = None

    def cursor(self) -> FakeHost:
        return self

    def __enter__(self) -> FakeHost:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def close(self) -> None:
        self.open = False

    def execute(self, _statement: str) -> None:
        self.may_answer.wait(10)
        if self.failure is not None:
            raise self.failure

    def fetchone(self) -> tuple[Any, ...]:
        return "uuid", 0, 0, 0


def describe(error: BaseException) -> dict[str, Any]:
    return {"number": None, "text": str(error)}


def eventually(condition: Any, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.002)
    return bool(condition())


def test_a_hanging_host_delays_nobody_and_its_late_answer_counts_for_no_other_sample() -> None:
    stop, hanging, well = threading.Event(), FakeHost(), FakeHost()
    hanging.may_answer.clear()
    probes = [
        observer.HostProbe(name, lambda h=host: h, describe, stop)  # type: ignore[misc]
        for name, host in (("hanging", hanging), ("well", well))
    ]
    for probe in probes:
        probe.start()
    link = observer.Link("none", [])
    try:
        begun = time.monotonic()
        first = observer.take_sample(0, probes, link, 0.1, stop)
        assert time.monotonic() - begun < 0.5
        assert first["hosts"]["hanging"]["reachable"] is False and first["hosts"]["well"]["writable"] is True
        hanging.may_answer.set()
        assert eventually(lambda: probes[0].answer(0)["reachable"])
        assert probes[0].answer(1)["reachable"] is False, "an answer to tick 0 is none to tick 1"
        assert observer.take_sample(2, probes, link, 0.1, stop)["hosts"]["hanging"]["reachable"] is True
    finally:
        stop.set()


def test_a_vanished_host_is_reconnected_in_the_background() -> None:
    stop = threading.Event()
    broken, good = FakeHost(), FakeHost()
    broken.failure = pymysql.err.OperationalError(2013, "Lost connection")
    offered: list[Any] = [ConnectionRefusedError("refused"), broken, good]

    def connect() -> Any:
        session = offered.pop(0)
        if isinstance(session, BaseException):
            raise session
        return session

    probe = observer.HostProbe("db1", connect, describe, stop)
    probe.ask(0)
    probe.start()
    try:
        assert eventually(lambda: not offered)
        assert "2013" in probe.answer(0)["error"]["text"] and probe.answer(0)["reachable"] is False
        probe.ask(1)
        assert eventually(lambda: probe.answer(1)["reachable"])
        assert not broken.open
    finally:
        stop.set()


def settings(**changes: Any) -> observer.Settings:
    return observer.settings_from(
        {
            "hosts": [{"name": "a", "address": "192.0.2.1"}],
            "user": "u",
            "password": "p",
            "output": "unused",
            **changes,
        }
    )


def test_samples_keep_their_rhythm_and_the_file_ends_with_a_summary() -> None:
    file, stop = io.StringIO(), threading.Event()
    chosen = settings(interval_ms=20, deadline_ms=5, duration=0.3)
    observer.observe(chosen, file, stop, [], observer.Link("none", []))
    lines = [json.loads(text) for text in file.getvalue().splitlines()]
    samples = [line for line in lines if line["type"] == "sample"]
    assert lines[0]["type"] == "start" and lines[-1]["type"] == "summary"
    assert lines[-1]["samples"] == len(samples) and 8 <= len(samples) <= 16
    assert [one["tick"] for one in samples] == sorted({one["tick"] for one in samples})


@pytest.mark.parametrize(
    "changes",
    [
        {"hosts": []},
        {"hosts": [{"name": "a"}]},
        {"deadline_ms": 100},
        {"addresses": ["192.0.2.10"]},
        {"addresses": ["nowhere"], "interface": "eth0"},
        {"interval": 100},
        {"hosts": [{"name": "a", "address": "x"}, {"name": "a", "address": "y"}]},
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(drill_common.ConfigError):
        settings(**changes)
