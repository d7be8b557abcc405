# SPDX-License-Identifier: BSD-2-Clause
"""Ethernet frames that ask who has an address, and that say "I have it". Pure: bytes in, bytes out.

IPv4: RFC 826 (ARP), RFC 5227 (probe, announcement). IPv6: RFC 4861 (neighbour discovery), RFC 4862 (duplicate address
detection). The filters are classic BPF, so that the process wakes up for no other frame than a claim to its address.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import struct
from typing import Optional, Sequence, Union

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD

BROADCAST = b"\xff" * 6
ZERO_MAC = bytes(6)
ALL_NODES = ipaddress.IPv6Address("ff02::1")
UNSPECIFIED = ipaddress.IPv6Address("::")

_REQUEST, _REPLY = 1, 2
_NEIGHBOUR_SOLICITATION, _NEIGHBOUR_ADVERTISEMENT = 135, 136
_ICMPV6 = 58
_OVERRIDE = 0x20000000
_TARGET_LINK_LAYER_ADDRESS = 2

FilterProgram = tuple[tuple[int, int, int, int], ...]
"""Classic BPF: (code, jump if true, jump if false, constant) for each instruction."""

_LOAD_WORD, _LOAD_BYTE, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x30, 0x15, 0x06


@dataclasses.dataclass(frozen=True)
class Claimed:
    """A frame that says: ``address`` is at ``mac``."""

    address: Address
    mac: str


def mac_text(mac: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in mac)


def mac_bytes(text: str) -> bytes:
    return bytes(int(part, 16) for part in text.split(":"))


def probe(address: Address, mac: bytes) -> bytes:
    """The question "does anybody have this address?" that leaves no trace in anybody's table."""
    if isinstance(address, ipaddress.IPv4Address):
        return _arp(_REQUEST, BROADCAST, mac, bytes(4), ZERO_MAC, address.packed)
    group = solicited_node(address)
    message = struct.pack("!I", 0) + address.packed
    return _icmpv6(_NEIGHBOUR_SOLICITATION, mac, UNSPECIFIED, group, message)


def announcements(address: Address, mac: bytes) -> tuple[bytes, ...]:
    """Frames that make everybody who knows the address learn its new place.

    IPv4 in both forms, for some devices listen to requests only and some to replies only.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return (
            _arp(_REQUEST, BROADCAST, mac, address.packed, ZERO_MAC, address.packed),
            _arp(_REPLY, BROADCAST, mac, address.packed, BROADCAST, address.packed),
        )
    option = struct.pack("!BB", _TARGET_LINK_LAYER_ADDRESS, 1) + mac
    message = struct.pack("!I", _OVERRIDE) + address.packed + option
    return (_icmpv6(_NEIGHBOUR_ADVERTISEMENT, mac, address, ALL_NODES, message),)


def solicited_node(address: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    """The multicast group of everybody whose address ends in the same three bytes."""
    return ipaddress.IPv6Address(ipaddress.IPv6Address("ff02::1:ff00:0").packed[:13] + address.packed[13:])


def claimed(frame: bytes) -> Optional[Claimed]:
    """Who claims which address in this frame; ``None`` for any other frame, a damaged one too."""
    if len(frame) < 42:
        return None
    ethertype = int.from_bytes(frame[12:14], "big")
    if ethertype == ETHERTYPE_ARP:
        if frame[14:20] != b"\x00\x01\x08\x00\x06\x04" or frame[28:32] == bytes(4):
            return None
        return Claimed(ipaddress.IPv4Address(frame[28:32]), mac_text(frame[22:28]))
    if ethertype != ETHERTYPE_IPV6 or len(frame) < 78:
        return None
    # Hop limit 255: the frame comes from this link and was not routed here.
    if frame[20] != _ICMPV6 or frame[21] != 255 or frame[54] != _NEIGHBOUR_ADVERTISEMENT:
        return None
    mac = frame[6:12]
    options = frame[78:]
    while len(options) >= 8 and options[1]:
        if options[0] == _TARGET_LINK_LAYER_ADDRESS:
            mac = options[2:8]
            break
        options = options[options[1] * 8 :]
    return Claimed(ipaddress.IPv6Address(frame[62:78]), mac_text(mac))


def claims_filter(address: Address) -> FilterProgram:
    """A program that lets pass only frames in which somebody claims this address."""
    if isinstance(address, ipaddress.IPv4Address):
        tests = [(_LOAD_WORD, 28, int(address))]
    else:
        words = struct.unpack("!4I", address.packed)
        tests = [(_LOAD_BYTE, 20, _ICMPV6), (_LOAD_BYTE, 54, _NEIGHBOUR_ADVERTISEMENT)]
        tests += [(_LOAD_WORD, 62 + 4 * place, word) for place, word in enumerate(words)]
    return all_equal(tests)


def all_equal(tests: Sequence[tuple[int, int, int]]) -> FilterProgram:
    """A program that lets pass the frames in which every loaded value is the expected one: (load, offset, value)."""
    program: list[tuple[int, int, int, int]] = []
    for done, (load, offset, expected) in enumerate(tests):
        to_reject = 2 * (len(tests) - done - 1) + 1
        program += [(load, 0, 0, offset), (_JUMP_IF_EQUAL, 0, to_reject, expected)]
    return (*program, (_RETURN, 0, 0, 0xFFFF), (_RETURN, 0, 0, 0))


def ethertype(address: Address) -> int:
    return ETHERTYPE_ARP if isinstance(address, ipaddress.IPv4Address) else ETHERTYPE_IPV6


def _arp(operation: int, to: bytes, mac: bytes, sender: bytes, target_mac: bytes, target: bytes) -> bytes:
    header = to + mac + struct.pack("!H", ETHERTYPE_ARP)
    return header + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + sender + target_mac + target


def _icmpv6(kind: int, mac: bytes, source: ipaddress.IPv6Address, to: ipaddress.IPv6Address, message: bytes) -> bytes:
    """An Ethernet frame to a multicast group with one ICMPv6 message."""
    body = struct.pack("!BBH", kind, 0, 0) + message
    pseudo = source.packed + to.packed + struct.pack("!II", len(body), _ICMPV6)
    body = struct.pack("!BBH", kind, 0, checksum(pseudo + body)) + message
    ethernet = b"\x33\x33" + to.packed[12:] + mac + struct.pack("!H", ETHERTYPE_IPV6)
    header = struct.pack("!IHBB", 0x60000000, len(body), _ICMPV6, 255) + source.packed + to.packed
    return ethernet + header + body


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\x00"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
