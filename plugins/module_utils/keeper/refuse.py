# SPDX-License-Identifier: BSD-2-Clause
"""Answering TCP to an address that has left this host: with a reset, as a closed port does.

Clients that know the old place of an address go on sending there until they hear of the new one. The kernel drops what
is for an address that it does not have, so each of them would wait for its own time-out, and one that has just begun to
connect for a whole second. A reset lets them try again at once. It says nothing about a commit under way: its outcome
is unknown, as with a server that died.

``reset_for`` and ``segments_filter`` are pure (RFC 9293, section 3.10.7.1; classic BPF); ``Door`` is the socket.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Optional

from .frames import Address, FilterProgram, all_equal, checksum
from .neighbour import open_packet_socket

_TCP = 6
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_LOAD_WORD, _LOAD_BYTE = 0x20, 0x30
_ETHERTYPE_IPV4, _ETHERTYPE_IPV6 = 0x0800, 0x86DD
_AT_ONCE = 256
"""Frames answered in one go; what is beyond that comes next, after the keeper has looked at its lease."""


def segments_filter(address: Address) -> FilterProgram:
    """A program that lets pass only TCP segments for this address."""
    if isinstance(address, ipaddress.IPv4Address):
        return all_equal([(_LOAD_BYTE, 23, _TCP), (_LOAD_WORD, 30, int(address))])
    words = struct.unpack("!4I", address.packed)
    return all_equal(
        [(_LOAD_BYTE, 20, _TCP), *((_LOAD_WORD, 38 + 4 * place, word) for place, word in enumerate(words))]
    )


def ethertype(address: Address) -> int:
    return _ETHERTYPE_IPV4 if isinstance(address, ipaddress.IPv4Address) else _ETHERTYPE_IPV6


def reset_for(frame: bytes, address: Address) -> Optional[bytes]:
    """The frame that refuses this one; ``None`` for anything but a TCP segment to the address, and for resets.

    The segment's data need not be there: the network card may have joined several segments into a large one.
    """
    network = frame[14:]
    if isinstance(address, ipaddress.IPv4Address):
        if len(network) < 20 or network[0] >> 4 != 4 or network[9] != _TCP or network[16:20] != address.packed:
            return None
        header = (network[0] & 0x0F) * 4
        fragment = int.from_bytes(network[6:8], "big")
        length = int.from_bytes(network[2:4], "big") - header
        if header < 20 or fragment & 0x3FFF:
            return None
        source = network[12:16]
    else:
        if len(network) < 40 or network[0] >> 4 != 6 or network[6] != _TCP or network[24:40] != address.packed:
            return None
        header, length = 40, int.from_bytes(network[4:6], "big")
        source = network[8:24]
    segment = network[header:]
    if min(len(segment), length) < 20 or segment[13] & _RST:
        return None
    reply = _reset(segment, length)
    pseudo = source + address.packed + struct.pack("!II", len(reply), _TCP)
    reply = reply[:16] + struct.pack("!H", checksum(pseudo + reply)) + reply[18:]
    ethernet = frame[6:12] + frame[0:6] + frame[12:14]
    if isinstance(address, ipaddress.IPv6Address):
        return ethernet + struct.pack("!IHBB", 0x60000000, len(reply), _TCP, 64) + address.packed + source + reply
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(reply), 0, 0x4000, 64, _TCP, 0) + address.packed + source
    return ethernet + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + reply


def _reset(segment: bytes, whole: int) -> bytes:
    """The TCP header of the answer, its checksum still zero. ``whole``: the segment's length, header and data."""
    source, target, sequence, acknowledged = struct.unpack("!HHII", segment[:12])
    flags = segment[13]
    if flags & _ACK:
        return struct.pack("!HHIIBBHHH", target, source, acknowledged, 0, 5 << 4, _RST, 0, 0, 0)
    length = max(whole - (segment[12] >> 4) * 4, 0) + bool(flags & _SYN) + bool(flags & _FIN)
    after = (sequence + length) & 0xFFFFFFFF
    return struct.pack("!HHIIBBHHH", target, source, 0, after, 5 << 4, _RST | _ACK, 0, 0, 0)


def is_here(address: Address) -> bool:
    """Whether this host has the address, whoever put it there. Where the kernel lets anybody bind anything: yes."""
    family = socket.AF_INET if isinstance(address, ipaddress.IPv4Address) else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as trial:
        try:
            trial.bind((str(address), 0))
        except OSError:
            return False
    return True


class Door:
    """Refuses for one address on one interface while it is open. Close it before the address comes here.

    :raises HaError: as ``neighbour.Wire``.
    """

    def __init__(self, interface: str, address: Address) -> None:
        self.address = address
        self._socket = open_packet_socket(interface, ethertype(address), segments_filter(address))

    def fileno(self) -> int:
        return self._socket.fileno()

    def answer(self) -> bool:
        """Refuse what has come. False when the address is here after all: then nothing may be refused any more."""
        for _frame in range(_AT_ONCE):
            try:
                frame, (_interface, _protocol, kind, *_rest) = self._socket.recvfrom(2048)
                reply = reset_for(frame, self.address) if kind == socket.PACKET_HOST else None
                if reply is None:
                    continue
                if is_here(self.address):
                    return False
                self._socket.send(reply)
            except BlockingIOError:
                return True
            except OSError:
                # The interface went down, or its queue is full: the client tries again, and so do we.
                return True
        return True

    def close(self) -> None:
        self._socket.close()
