# SPDX-License-Identifier: BSD-2-Clause
"""Asking the link who has an address, and telling it that we have it: raw sockets for ``frames``.

Nothing here waits unless its name says so, and then with a deadline.
"""

from __future__ import annotations

import ctypes
import select
import socket
import struct
import time
from pathlib import Path
from typing import Optional

from ..errors import HaError
from . import frames

_SO_ATTACH_FILTER = 26
_ARPHRD_ETHER = "1"
_NET = Path("/sys/class/net")


def own_macs(net: Path = _NET) -> frozenset[str]:
    """The MACs of all interfaces of this host: an answer from one of them is no stranger's."""
    found = set()
    for entry in net.iterdir():
        try:
            found.add((entry / "address").read_text().strip())
        except OSError:  # an interface that vanished meanwhile, or one without a MAC
            continue
    return frozenset(found)


def interface_mac(interface: str, net: Path = _NET) -> str:
    """The MAC of an Ethernet-like interface.

    :raises HaError: ``no_such_interface``, ``interface_without_neighbours``.
    """
    try:
        kind = (net / interface / "type").read_text().strip()
        mac = (net / interface / "address").read_text().strip()
    except OSError as error:
        raise HaError(
            "no_such_interface",
            f"there is no interface {interface} on this host",
            evidence={"interface": interface},
            next_step="Name an interface that `ip link` shows.",
        ) from error
    if kind != _ARPHRD_ETHER:
        raise HaError(
            "interface_without_neighbours",
            f"{interface} is no Ethernet-like interface: nobody can be asked who has an address there",
            evidence={"interface": interface, "type": kind},
            next_step="Name the interface that the applications' network is attached to.",
        )
    return mac


def open_packet_socket(interface: str, ethertype: int, program: frames.FilterProgram) -> socket.socket:
    """A raw socket that never blocks and that receives only the frames that pass the filter.

    :raises HaError: see ``interface_mac``; ``raw_socket_refused`` without CAP_NET_RAW; ``link_failed``.
    """
    interface_mac(interface)
    steps = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(steps, len(steps))
    # struct sock_fprog: a count and a pointer, aligned as the C compiler does.
    fprog = struct.pack("@HP", len(program), ctypes.addressof(buffer))
    try:
        # Protocol 0 receives nothing, so no frame slips in before the filter is there.
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    except OSError as error:
        raise HaError(
            "raw_socket_refused",
            f"no raw socket on {interface}: {error.strerror}",
            evidence={"interface": interface},
            next_step="Run as root, or with CAP_NET_RAW.",
        ) from error
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
        opened.bind((interface, ethertype))
    except OSError as error:
        opened.close()
        raise _wire_failed(interface, error) from error
    return opened


class Wire:
    """One address on one interface, as the link sees it.

    :raises HaError: see ``open_packet_socket``.
    """

    def __init__(self, interface: str, address: frames.Address) -> None:
        self.interface = interface
        self.address = address
        self._socket = open_packet_socket(interface, frames.ethertype(address), frames.claims_filter(address))

    @property
    def mac(self) -> str:
        """The interface's MAC now: a bond changes its own when it fails over."""
        return interface_mac(self.interface)

    def fileno(self) -> int:
        return self._socket.fileno()

    def probe(self) -> None:
        """Ask once. Answers come in ``claims``.

        :raises HaError: ``link_failed``.
        """
        self._send(frames.probe(self.address, frames.mac_bytes(self.mac)))

    def announce(self) -> None:
        """Say once that the address is here.

        :raises HaError: ``link_failed``.
        """
        for frame in frames.announcements(self.address, frames.mac_bytes(self.mac)):
            self._send(frame)

    def claims(self) -> tuple[str, ...]:
        """The MACs of other hosts that claimed the address since the last call, oldest first, each once.

        :raises HaError: ``link_failed``.
        """
        found: list[str] = []
        while True:
            try:
                frame = self._socket.recv(2048)
            except BlockingIOError:
                break
            except OSError as error:
                raise _wire_failed(self.interface, error) from error
            claim = frames.claimed(frame)
            if claim and claim.address == self.address and claim.mac not in found:
                found.append(claim.mac)
        return tuple(mac for mac in found if mac not in own_macs()) if found else ()

    def ask(self, within: float, *, times: int = 3, stop_at_first: bool = False) -> tuple[str, ...]:
        """Probe and wait for answers.

        :param within: seconds to wait in all.
        :returns: every MAC of another host that answered, or the first only.
        """
        started = time.monotonic()
        due = [started + within * number / times for number in range(times)]
        found: list[str] = []
        while True:
            now = time.monotonic()
            if due and now >= due[0]:
                due.pop(0)
                self.probe()
            until = min([*due, started + within]) - now
            if select.select([self], [], [], max(until, 0.0))[0]:
                found += [mac for mac in self.claims() if mac not in found]
                if found and stop_at_first:
                    return tuple(found)
            elif time.monotonic() >= started + within and not due:
                return tuple(found)

    def announce_for(self, offsets: tuple[float, ...]) -> tuple[str, ...]:
        """Announce at each offset (seconds from now) and listen between: returns rivals that announced it too."""
        started = time.monotonic()
        found: list[str] = []
        for offset in offsets:
            while True:
                left = started + offset - time.monotonic()
                if left <= 0 or not select.select([self], [], [], left)[0]:
                    break
                found += [mac for mac in self.claims() if mac not in found]
            self.announce()
        found += [mac for mac in self.claims() if mac not in found]
        return tuple(found)

    def _send(self, frame: bytes) -> None:
        try:
            self._socket.send(frame)
        except OSError as error:
            raise _wire_failed(self.interface, error) from error

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_details: object) -> Optional[bool]:
        self.close()
        return None


def _wire_failed(interface: str, error: OSError) -> HaError:
    return HaError(
        "link_failed",
        f"{interface}: {error.strerror or error}",
        evidence={"interface": interface, "errno": error.errno},
        next_step="Check that the interface is up.",
    )
