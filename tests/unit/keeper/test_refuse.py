# SPDX-License-Identifier: GPL-3.0-or-later
"""Resets against RFC 9293, byte by byte, and what must never be answered."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper import frames, refuse
from hypothesis import given
from hypothesis import strategies as st

from .bpf import run

CLIENT, HERE = bytes.fromhex("02420a00001f"), bytes.fromhex("02420a00000b")
V4, V6 = ipaddress.IPv4Address("10.0.0.100"), ipaddress.IPv6Address("fd00::64")
FROM4, FROM6 = ipaddress.IPv4Address("10.0.0.31"), ipaddress.IPv6Address("fd00::31")
SYN, ACK, RST, FIN, PUSH = 0x02, 0x10, 0x04, 0x01, 0x08
FAMILIES = pytest.mark.parametrize(("address", "client"), [(V4, FROM4), (V6, FROM6)], ids=["ipv4", "ipv6"])


def tcp(flags: int, *, sequence: int = 1000, acknowledged: int = 0, data: bytes = b"", options: bytes = b"") -> bytes:
    offset = 5 + len(options) // 4
    return (
        struct.pack("!HHIIBBHHH", 40000, 3306, sequence, acknowledged, offset << 4, flags, 64240, 0, 0) + options + data
    )


def frame(to: frames.Address, client: frames.Address, segment: bytes, *, protocol: int = 6, fragment: int = 0) -> bytes:
    if isinstance(to, ipaddress.IPv4Address):
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 7, fragment, 64, protocol, 0)
        return HERE + CLIENT + b"\x08\x00" + head + client.packed + to.packed + segment
    head = struct.pack("!IHBB", 0x60000000, len(segment), protocol, 64)
    return HERE + CLIENT + b"\x86\xdd" + head + client.packed + to.packed + segment


def answered(reply: bytes, address: frames.Address, client: frames.Address) -> tuple[int, int, int, int, int]:
    """Ports, sequence, acknowledgement and flags, after everything around them was checked."""
    assert reply[:12] == CLIENT + HERE
    if isinstance(address, ipaddress.IPv4Address):
        assert (reply[12:14], reply[26:34]) == (b"\x08\x00", address.packed + client.packed)
        assert frames.checksum(reply[14:34]) == 0
        assert int.from_bytes(reply[16:18], "big") == len(reply) - 14
        segment = reply[34:]
    else:
        assert (reply[12:14], reply[22:54]) == (b"\x86\xdd", address.packed + client.packed)
        assert int.from_bytes(reply[18:20], "big") == len(reply) - 54
        segment = reply[54:]
    assert frames.checksum(address.packed + client.packed + struct.pack("!II", len(segment), 6) + segment) == 0
    source, target, sequence, acknowledged, offset, flags, *_rest = struct.unpack("!HHIIBBHHH", segment)
    assert offset == 5 << 4
    return source, target, sequence, acknowledged, flags


@FAMILIES
def test_an_attempt_to_connect_is_refused_as_by_a_closed_port(address: frames.Address, client: frames.Address) -> None:
    reply = refuse.reset_for(frame(address, client, tcp(SYN, options=bytes(20))), address)
    assert reply is not None
    assert answered(reply, address, client) == (3306, 40000, 0, 1001, RST | ACK)


@FAMILIES
def test_a_connection_from_before_is_reset_where_it_stands(address: frames.Address, client: frames.Address) -> None:
    segment = tcp(ACK | PUSH, acknowledged=77, data=b"COMMIT")
    reply = refuse.reset_for(frame(address, client, segment), address)
    assert reply is not None
    assert answered(reply, address, client) == (3306, 40000, 77, 0, RST)


@FAMILIES
def test_data_that_was_cut_off_counts_as_if_it_were_there(address: frames.Address, client: frames.Address) -> None:
    whole = frame(address, client, tcp(FIN, sequence=2**32 - 2, data=bytes(3000)))
    reply = refuse.reset_for(whole[:2048], address)
    assert reply is not None
    assert answered(reply, address, client) == (3306, 40000, 0, 2999, RST | ACK)


@FAMILIES
@pytest.mark.parametrize("flags", [RST, RST | ACK, RST | SYN])
def test_a_reset_is_never_answered(address: frames.Address, client: frames.Address, flags: int) -> None:
    assert refuse.reset_for(frame(address, client, tcp(flags)), address) is None


@FAMILIES
def test_what_is_for_another_address_or_no_tcp_is_left_alone(address: frames.Address, client: frames.Address) -> None:
    assert refuse.reset_for(frame(address + 1, client, tcp(SYN)), address) is None
    assert refuse.reset_for(frame(address, client, tcp(SYN), protocol=17), address) is None
    assert refuse.reset_for(frame(address, client, tcp(SYN)[:19]), address) is None


@pytest.mark.parametrize("fragment", [0x2000, 0x0001, 0x1FFF])
def test_fragments_are_left_alone(fragment: int) -> None:
    assert refuse.reset_for(frame(V4, FROM4, tcp(SYN), fragment=fragment), V4) is None
    assert refuse.reset_for(frame(V4, FROM4, tcp(SYN), fragment=0x4000), V4) is not None, (
        "do not fragment is no fragment"
    )


@given(st.binary(max_size=120))
def test_garbage_is_no_crash(data: bytes) -> None:
    for address in (V4, V6):
        refuse.reset_for(data, address)
        for begin in (frame(address, FROM4 if address == V4 else FROM6, b"")[:34], b"\x45" * 14):
            refuse.reset_for(begin + data, address)


@FAMILIES
def test_the_filter_wakes_for_tcp_to_this_address_only(address: frames.Address, client: frames.Address) -> None:
    program = refuse.segments_filter(address)
    assert run(program, frame(address, client, tcp(SYN)))
    assert not run(program, frame(address + 1, client, tcp(SYN)))
    assert not run(program, frame(address, client, tcp(SYN), protocol=17))
    assert not run(program, b"")


def test_an_address_is_here_when_it_can_be_bound() -> None:
    assert refuse.is_here(ipaddress.ip_address("127.0.0.1"))
    assert not refuse.is_here(ipaddress.ip_address("192.0.2.1"))
    assert not refuse.is_here(ipaddress.ip_address("2001:db8::1"))
