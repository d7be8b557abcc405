# SPDX-License-Identifier: BSD-2-Clause
"""Addresses on this host's interfaces, through the ``ip`` command: read, add, renew, remove.

Reading parses ``ip -j``; what is run is built by pure functions. Used by the keeper and by the module ``mysql_vip``.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import subprocess
from typing import Any, Optional, Sequence, Union

from ..errors import HaError

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

FOREVER = 4294967295
"""What ``ip -j`` prints for a lifetime without end."""


@dataclasses.dataclass(frozen=True)
class Vip:
    """A virtual address: where it is to be. ``prefix`` is 32 or 128 for the address alone, without a network."""

    address: Address
    prefix: int
    interface: str

    @property
    def cidr(self) -> str:
        return f"{self.address}/{self.prefix}"

    def __str__(self) -> str:
        return str(self.address)


@dataclasses.dataclass(frozen=True)
class Assigned:
    """An address that an interface has. ``lifetime``: whole seconds left, ``None`` without end."""

    address: Address
    prefix: int
    lifetime: Optional[int] = None
    tentative: bool = False

    @property
    def network(self) -> Network:
        return ipaddress.ip_network(f"{self.address}/{self.prefix}", strict=False)


@dataclasses.dataclass(frozen=True)
class Link:
    """An interface. ``loopback`` ones and those that are down carry no virtual address."""

    name: str
    mac: str
    up: bool
    loopback: bool
    addresses: tuple[Assigned, ...]

    def find(self, address: Address) -> Optional[Assigned]:
        return next((found for found in self.addresses if found.address == address), None)


def parse(text: str) -> tuple[Address, Optional[int]]:
    """``10.0.0.1``, ``10.0.0.1/24``, ``fd00::1/64``: the address, and the prefix length if one is written.

    :raises HaError: ``bad_address``.
    """
    plain, slash, length = text.partition("/")
    try:
        address = ipaddress.ip_address(plain)
        prefix = int(length) if slash else None
    except ValueError as error:
        raise _bad_address(text, str(error)) from error
    if prefix is not None and not 0 < prefix <= address.max_prefixlen:
        raise _bad_address(text, f"a prefix length is 1 to {address.max_prefixlen}")
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        raise _bad_address(text, "this is no address of one host")
    return address, prefix


def _bad_address(text: str, why: str) -> HaError:
    return HaError(
        "bad_address",
        f"{text!r}: {why}",
        evidence={"address": text},
        next_step="Write it like 10.0.0.100, 10.0.0.100/24 or fd00::64.",
    )


def parse_links(text: str) -> tuple[Link, ...]:
    """The output of ``ip -j addr show``.

    :raises HaError: ``ip_not_understood``.
    """
    try:
        entries = json.loads(text or "[]")
        return tuple(_link(entry) for entry in entries if entry)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HaError(
            "ip_not_understood",
            f"the output of `ip -j addr show` was not understood: {error!r}",
            evidence={"output": text[:500]},
            next_step="Check `ip -V`: iproute2 4.13 or later writes JSON.",
        ) from error


def _link(entry: dict[str, Any]) -> Link:
    flags = entry["flags"]
    return Link(
        name=entry["ifname"],
        mac=entry.get("address", ""),
        up="UP" in flags,
        loopback="LOOPBACK" in flags,
        addresses=tuple(_assigned(info) for info in entry.get("addr_info", ()) if "local" in info),
    )


def _assigned(info: dict[str, Any]) -> Assigned:
    lifetime = info.get("valid_life_time", FOREVER)
    return Assigned(
        address=ipaddress.ip_address(info["local"]),
        prefix=int(info["prefixlen"]),
        lifetime=None if lifetime == FOREVER else int(lifetime),
        tentative=bool(info.get("tentative", False)),
    )


def choose_interface(links: Sequence[Link], address: Address) -> str:
    """The interface that has the address, or else the one whose network contains it. Pure.

    :raises HaError: ``no_interface``, ``several_interfaces``.
    """
    for link in links:
        if link.find(address):
            return link.name
    found = [
        link.name
        for link in links
        if link.up
        and not link.loopback
        and any(
            own.address.version == address.version and own.prefix < address.max_prefixlen and address in own.network
            for own in link.addresses
        )
    ]
    if len(found) == 1:
        return found[0]
    networks = {link.name: [str(own.network) for own in link.addresses] for link in links}
    if not found:
        raise HaError(
            "no_interface",
            f"{address} lies in no network of any interface of this host",
            evidence={"networks": networks},
            next_step="Check the address; if it is right, name the interface.",
        )
    raise HaError(
        "several_interfaces",
        f"{address} lies in a network of {', '.join(found)}",
        evidence={"networks": networks},
        next_step="Name the interface.",
    )


def require_network(links: Sequence[Link], vip: Vip) -> None:
    """Check that the interface is there, and reaches the address' network. Pure.

    :raises HaError: ``no_such_interface``, ``address_not_in_network``.
    """
    link = next((link for link in links if link.name == vip.interface), None)
    if link is None:
        raise HaError(
            "no_such_interface",
            f"there is no interface {vip.interface} on this host",
            evidence={"interfaces": [known.name for known in links]},
            next_step="Name one of the interfaces.",
        )
    networks = [own.network for own in link.addresses if own.address != vip.address]
    if not any(network.version == vip.address.version and vip.address in network for network in networks):
        raise HaError(
            "address_not_in_network",
            f"{vip} lies in no network of {vip.interface}: hosts there would not look for it",
            evidence={"networks": [str(network) for network in networks]},
            next_step="Check the address and the interface.",
        )


def stays_reachable(link: Link, vip: Vip) -> bool:
    """Whether the interface keeps an address of that family when this one goes. Pure.

    One that has the interface's network behind it is the host's own: an address alone, as a virtual one mostly is, does
    not take its place.
    """
    going = link.find(vip.address)
    own = going is not None and going.prefix < vip.address.max_prefixlen
    return any(
        other.address != vip.address
        and other.address.version == vip.address.version
        and not other.address.is_link_local
        and (not own or other.prefix < vip.address.max_prefixlen)
        for other in link.addresses
    )


def add_command(vip: Vip, lifetime: Optional[int]) -> tuple[str, ...]:
    """Add the address or renew its lifetime.

    IPv6: the address is ``deprecated`` from the start, so that this host's own connections (replication!) never use it
    as their source, which makes no difference to connections that come in; and without the kernel's duplicate address
    detection, which takes a second and was done before.
    """
    command = ["addr", "replace", vip.cidr, "dev", vip.interface]
    version6 = vip.address.version == 6
    if lifetime is not None:
        command += ["valid_lft", str(lifetime), "preferred_lft", "0" if version6 else str(lifetime)]
    elif version6:
        command += ["valid_lft", "forever", "preferred_lft", "0"]
    else:
        command += ["valid_lft", "forever", "preferred_lft", "forever"]
    return (*command, "nodad") if version6 else tuple(command)


def remove_command(interface: str, assigned: Assigned) -> tuple[str, ...]:
    return ("addr", "del", f"{assigned.address}/{assigned.prefix}", "dev", interface)


def run_ip(arguments: Sequence[str], *, within: float = 2.0) -> str:
    """Run ``ip`` and return what it wrote.

    :raises HaError: ``ip_missing``, ``ip_failed``, ``ip_hung``.
    """
    command = ["ip", *arguments]
    evidence = {"command": " ".join(command)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within, check=False)
    except FileNotFoundError as error:
        raise HaError(
            "ip_missing", "there is no `ip` command", evidence=evidence, next_step="Install iproute2 (iproute)."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise HaError(
            "ip_hung",
            f"`{' '.join(command)}` did not end within {within:g} s",
            evidence=evidence,
            next_step="Something in the kernel's network configuration hangs: see `dmesg`.",
        ) from error
    if done.returncode != 0:
        text = done.stderr.strip() or f"exit code {done.returncode}"
        raise HaError(
            "ip_failed",
            f"`{' '.join(command)}`: {text}",
            evidence=dict(evidence, rc=done.returncode),
            next_step="Check the interface, and that this runs with CAP_NET_ADMIN.",
        )
    return done.stdout


def links(interface: str = "") -> tuple[Link, ...]:
    """All interfaces of this host, or one."""
    return parse_links(run_ip(["-j", "addr", "show", *(["dev", interface] if interface else [])]))


def find(vip: Vip) -> Optional[Assigned]:
    """The address on its interface, with whatever prefix length; ``None`` when it is not there."""
    return next((found for link in links(vip.interface) if (found := link.find(vip.address))), None)


def present(vip: Vip, lifetime: Optional[int]) -> None:
    """Make the interface have the address for so many seconds from now, or without end."""
    run_ip(add_command(vip, lifetime))


def absent(vip: Vip) -> bool:
    """Take the address off the interface, with every prefix length it is there. Returns whether it was there.

    The connections that clients have through it are reset first, while resets can still leave from it.
    """
    was_there = False
    for link in links(vip.interface):
        for assigned in link.addresses:
            if assigned.address == vip.address:
                was_there = True
                end_connections(vip)
                _remove(vip.interface, assigned)
    return was_there


def end_connections(vip: Vip, *, within: float = 0.3) -> bool:
    """Reset the TCP connections through the address, so that neither side goes on waiting for the other.

    Without it a client waits for its retransmissions, and the server keeps the session with its transaction and its
    locks. A reset client knows as little of a commit under way as one whose server died: its outcome is unknown.

    :returns: whether the kernel was asked. It is a service to clients; the address goes in any case.
    """
    command = ["ss", "--kill", "--no-header", "--tcp", "src", str(vip.address)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=within, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _remove(interface: str, assigned: Assigned) -> None:
    try:
        run_ip(remove_command(interface, assigned))
    except HaError as error:
        # Its lifetime may have ended between the look and the removal.
        if error.code != "ip_failed" or "Cannot assign requested address" not in error.message:
            raise
