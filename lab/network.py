"""Which addresses the lab uses: one /24 (and a ULA /64), a fixed place in it for every host."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from lab.errors import LabError

POOL = IPv4Network("10.213.0.0/16")
OFFSETS = {"control": 9, "db": 10, "app": 30}
"""Added to a host's number: control1 is .10, db1 .11 .. db9 .19, app1 .31."""
VIP_OFFSET = 100


def offset(host: str) -> int:
    """The last byte of a host's address, always the same for the same name."""
    kind = host.rstrip("0123456789")
    try:
        return OFFSETS[kind] + int(host.removeprefix(kind))
    except (KeyError, ValueError) as error:
        raise LabError(f"'{host}' is no host of the lab; see: make lab-status") from error


@dataclass(frozen=True)
class Addresses:
    """The lab's network, and the address of everything in it."""

    v4: IPv4Network
    v6: IPv6Network | None

    @property
    def gateway(self) -> IPv4Address:
        return self.v4[1]

    def host(self, host: str) -> IPv4Address:
        return self.v4[offset(host)]

    def host6(self, host: str) -> IPv6Address | None:
        return self.v6[offset(host)] if self.v6 else None

    def mac(self, host: str) -> str:
        """02:42 and the address, as Docker makes it too: it stays the same when a host comes back."""
        return "02:42:" + ":".join(f"{byte:02x}" for byte in self.host(host).packed)

    @property
    def vips(self) -> list[str]:
        """Addresses nobody has: the virtual ones."""
        found = [str(self.v4[VIP_OFFSET])]
        if self.v6:
            found.append(str(self.v6[VIP_OFFSET]))
        return found


def ula(name: str) -> IPv6Network:
    """A unique local /64 that belongs to a lab's name (RFC 4193: fd + 40 bits + subnet 1)."""
    digest = hashlib.sha256(name.encode()).digest()[:5]
    return IPv6Network((int.from_bytes(b"\xfd" + digest + b"\x00\x01" + bytes(8), "big"), 64))


def free_subnets(taken: Iterable[IPv4Network], pool: IPv4Network = POOL) -> list[IPv4Network]:
    """Every /24 of the pool that overlaps nothing taken, in order."""
    busy = list(taken)
    return [net for net in pool.subnets(new_prefix=24) if not any(net.overlaps(other) for other in busy)]


def wanted_subnet(text: str) -> IPv4Network:
    """LAB_SUBNET, checked."""
    try:
        net = IPv4Network(text)
    except ValueError as error:
        raise LabError(f"LAB_SUBNET={text}: not a network; write it like 10.213.7.0/24") from error
    if net.prefixlen > 24:
        raise LabError(f"LAB_SUBNET={text}: too small; a /24 is needed")
    return net


def routed(route_json: str) -> list[IPv4Network]:
    """Networks in the machine's own routing table (output of ``ip -j -4 route``)."""
    nets = []
    for route in json.loads(route_json or "[]"):
        if route.get("dst") not in (None, "default"):
            nets.append(ipaddress.IPv4Network(route["dst"], strict=False))
    return nets
