# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames against bytes that were written down by hand from the RFCs (and agree with what tcpdump shows)."""

from __future__ import annotations

import ipaddress

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper import frames
from hypothesis import given
from hypothesis import strategies as st

from .bpf import run

MAC = bytes.fromhex("02420a00000b")
V4 = ipaddress.IPv4Address("10.0.0.100")
V6 = ipaddress.IPv6Address("fd00::64")


def test_an_arp_probe_names_no_sender() -> None:
    assert frames.probe(V4, MAC).hex() == (
        "ffffffffffff02420a00000b0806"  # to all, from us, ARP
        "0001080006040001"  # Ethernet, IPv4, request
        "02420a00000b00000000"  # our MAC, no address: nobody learns anything
        "0000000000000a000064"  # who has 10.0.0.100
    )


def test_an_arp_announcement_has_both_forms() -> None:
    request, reply = frames.announcements(V4, MAC)
    assert request.hex() == "ffffffffffff02420a00000b0806000108000604000102420a00000b0a0000640000000000000a000064"
    assert reply.hex() == "ffffffffffff02420a00000b0806000108000604000202420a00000b0a000064ffffffffffff0a000064"


def test_a_neighbour_solicitation_is_that_of_duplicate_address_detection() -> None:
    frame = frames.probe(V6, MAC)
    assert frame.hex() == (
        "3333ff00006402420a00000b86dd"  # to the solicited-node group's MAC
        "6000000000183aff"  # 24 bytes of ICMPv6, hop limit 255
        "00000000000000000000000000000000"  # from ::
        "ff0200000000000000000001ff000064"  # to ff02::1:ff00:64
        "87007cdf00000000"  # neighbour solicitation, checksum
        "fd000000000000000000000000000064"
    )


def test_a_neighbour_advertisement_overrides_what_was_known() -> None:
    (frame,) = frames.announcements(V6, MAC)
    assert frame[:14].hex() == "33330000000102420a00000b86dd"
    assert frame[14:54].hex() == "6000000000203aff" + V6.packed.hex() + "ff020000000000000000000000000001"
    assert frame[54:56].hex() == "8800"
    assert frame[58:].hex() == "20000000" + V6.packed.hex() + "0201" + MAC.hex()


@given(st.ip_addresses(v=6), st.binary(min_size=6, max_size=6))
def test_the_checksum_of_what_is_sent_verifies(address: ipaddress.IPv6Address, mac: bytes) -> None:
    for frame in (frames.probe(address, mac), *frames.announcements(address, mac)):
        length = int.from_bytes(frame[18:20], "big")
        assert len(frame) == 54 + length
        pseudo = frame[22:54] + length.to_bytes(4, "big") + (58).to_bytes(4, "big")
        assert frames.checksum(pseudo + frame[54:]) == 0


@given(st.ip_addresses(), st.binary(min_size=6, max_size=6))
def test_an_announcement_is_read_as_a_claim_and_a_probe_is_not(address: frames.Address, mac: bytes) -> None:
    for frame in frames.announcements(address, mac):
        expected = frames.Claimed(address, frames.mac_text(mac))
        if address.packed != bytes(4):
            assert frames.claimed(frame) == expected
            assert frames.claimed(frame + bytes(18)) == expected, "padded to the smallest frame"
    assert frames.claimed(frames.probe(address, mac)) is None
    assert frames.mac_bytes(frames.mac_text(mac)) == mac


def test_the_kernels_answer_to_a_duplicate_address_probe_is_a_claim() -> None:
    """Solicited flag unset, override set, link-layer option: as ndisc_send_na writes it."""
    (frame,) = frames.announcements(V6, MAC)
    without_option = frame[:78]
    assert frames.claimed(without_option) == frames.Claimed(V6, "02:42:0a:00:00:0b")


@given(st.binary(max_size=120))
def test_garbage_is_no_claim_and_no_crash(data: bytes) -> None:
    frames.claimed(data)
    frames.claimed(MAC + MAC + b"\x08\x06" + data)
    frames.claimed(MAC + MAC + b"\x86\xdd" + data)


def test_a_routed_advertisement_is_no_claim() -> None:
    (frame,) = frames.announcements(V6, MAC)
    assert frames.claimed(frame[:21] + b"\x40" + frame[22:]) is None


@pytest.mark.parametrize("address", [V4, V6], ids=["ipv4", "ipv6"])
def test_the_filter_passes_claims_to_this_address_only(address: frames.Address) -> None:
    program = frames.claims_filter(address)
    for frame in frames.announcements(address, MAC):
        assert run(program, frame)
    for frame in frames.announcements(address + 1, MAC):
        assert not run(program, frame)
    assert not run(program, frames.probe(address, MAC))
    assert not run(program, b"")
