# SPDX-License-Identifier: BSD-2-Clause
"""One virtual address, moved by hand: what the module ``mysql_vip`` does."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Optional, Sequence

from ..errors import HaError
from . import address, config, neighbour, status
from .address import Assigned, Vip

PRESENT, ABSENT, PROBED = "present", "absent", "probed"

ANNOUNCE_AT = (0.0, 0.1, 0.3, 1.0)
"""Seconds after adding the address at which it is announced."""

_ALIVE_WITHIN = 5.0


@dataclasses.dataclass(frozen=True)
class Request:
    """See the options of ``mysql_vip``."""

    state: str
    address: str
    interface: str = ""
    lifetime: Optional[int] = None
    probe_wait: float = 0.5
    force: bool = False
    keeper_config: str = config.PATH
    dry: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
    """``before`` and ``after`` are one line each: where the address is on this host."""

    changed: bool
    before: str
    after: str
    values: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Managed:
    """A keeper on this host has the address in its configuration. ``holding`` by its status file."""

    running: bool
    holding: bool


def converge(request: Request) -> Result:
    """Bring the address to the state asked for, or only ask the network about it.

    :raises HaError: ``address_in_use``, ``address_managed_by_keeper``, ``would_cut_off_host``, and those of ``address``
        and ``neighbour``.
    """
    plain, prefix = address.parse(request.address)
    links = address.links()
    interface = request.interface or address.choose_interface(links, plain)
    vip = Vip(plain, plain.max_prefixlen if prefix is None else prefix, interface)
    there = next((link.find(plain) for link in links if link.name == interface), None)
    if request.state != ABSENT and there is None:
        address.require_network(links, vip)
    found: tuple[str, ...] = ()
    if request.state == PROBED or (request.state == PRESENT and there is None):
        with neighbour.Wire(vip.interface, plain) as wire:
            found = wire.ask(request.probe_wait)
    if request.state == PROBED:
        return _result(vip, there, there, found, changed=False)
    wanted = _wanted(request, vip, there, prefix)
    if wanted == there:
        return _result(vip, there, there, found, changed=False)
    if not request.force:
        _refuse_managed(request, vip, managed_by(request.keeper_config, vip))
    if request.state == ABSENT:
        link = next(link for link in links if link.name == interface)
        if not address.stays_reachable(link, vip) and not request.force:
            raise HaError(
                "would_cut_off_host",
                f"{vip} is the only address of its kind on {interface}: removing it may cut this host off",
                evidence={"interface": interface, "addresses": [str(own.address) for own in link.addresses]},
                next_step="Check the address. If it is right: force=true.",
            )
        if not request.dry:
            address.absent(vip)
        return _result(vip, there, None, found, changed=True)
    if found:
        raise HaError(
            "address_in_use",
            f"{vip} is not added to {interface}: {', '.join(found)} answers for it",
            evidence={"address": str(vip), "interface": interface, "answered_by": list(found)},
            next_step="Find the host with that MAC (on each host: `ip -br link`) and take the address off there first.",
        )
    if not request.dry:
        _add(vip, request.lifetime, there)
    return _result(vip, there, wanted, found, changed=True)


def _wanted(request: Request, vip: Vip, there: Optional[Assigned], prefix: Optional[int]) -> Optional[Assigned]:
    """The address as it should be; the very one that is there when that will do. Pure."""
    if request.state == ABSENT:
        return None
    wanted = Assigned(vip.address, vip.prefix, request.lifetime)
    if there is None or (prefix is not None and there.prefix != prefix):
        return wanted
    if request.lifetime is None:
        return there if there.lifetime is None else wanted
    # Renewed when half of it is over: a second run within that time changes nothing.
    fresh = there.lifetime is not None and request.lifetime / 2 <= there.lifetime <= request.lifetime
    return there if fresh else wanted


def _add(vip: Vip, lifetime: Optional[int], there: Optional[Assigned]) -> None:
    if there is not None and there.prefix != vip.prefix:
        address.absent(vip)
    address.present(vip, lifetime)
    if there is None:
        with neighbour.Wire(vip.interface, vip.address) as wire:
            wire.announce_for(ANNOUNCE_AT)


def managed_by(path: str, vip: Vip) -> Optional[Managed]:
    """Whether a keeper on this host has the address in its configuration. A file that can not be read manages all."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        entries: Sequence[dict[str, str]] = data["addresses"]
        kept = [address.parse(entry["address"])[0] for entry in entries]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HaError(
            "keeper_config_unreadable",
            f"{path} is there and could not be read, so it is not known which addresses the keeper moves: {error}",
            evidence={"path": path},
            next_step="Run as root; if the file is damaged, run the role vip. Or, knowing what you do, force=true.",
        ) from error
    if vip.address not in kept:
        return None
    said = status.read(str(data.get("status_file", config.STATUS_PATH)))
    age = status.age(said)
    entry = said.get("addresses", {}).get(str(vip), {})
    return Managed(running=age is not None and age < _ALIVE_WITHIN, holding=bool(entry.get("holding")))


def _refuse_managed(request: Request, vip: Vip, managed: Optional[Managed]) -> None:
    if managed is None:
        return
    unit = "lossless-mysql-ha-keeper"
    if managed.running:
        next_step = (
            "The address follows the primary: to move it, switch over (playbook switchover). To take it away from this"
            f" host now: `systemctl stop {unit}`, it lets go at once. force=true does not last: the keeper undoes it."
        )
    else:
        next_step = (
            f"The keeper does not run: see `systemctl status {unit}`. Starting it is the way back."
            " With force=true the address is changed by hand; the keeper removes it when it starts."
        )
    raise HaError(
        "address_managed_by_keeper",
        f"{vip} belongs to the keeper of this host, which is {'running' if managed.running else 'not running'}",
        evidence={
            "config": request.keeper_config,
            "keeper_running": managed.running,
            "keeper_holding": managed.holding,
        },
        next_step=next_step,
    )


def _result(
    vip: Vip, before: Optional[Assigned], after: Optional[Assigned], answered: tuple[str, ...], *, changed: bool
) -> Result:
    return Result(
        changed=changed,
        before=_line(vip, before),
        after=_line(vip, after),
        values={
            "address": str(vip),
            "interface": vip.interface,
            "mac": neighbour.interface_mac(vip.interface),
            "held": after is not None,
            "lifetime": after.lifetime if after else None,
            "answered_by": list(answered),
        },
    )


def _line(vip: Vip, assigned: Optional[Assigned]) -> str:
    if assigned is None:
        return f"{vip} not on {vip.interface}\n"
    ends = "" if assigned.lifetime is None else f" for {assigned.lifetime} s"
    return f"{assigned.address}/{assigned.prefix} on {vip.interface}{ends}\n"
