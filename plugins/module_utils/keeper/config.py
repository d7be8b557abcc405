# SPDX-License-Identifier: BSD-2-Clause
"""The keeper's configuration file: one JSON object, every key known, every value of its type."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping

from ..config_file import NUMBER, Document, Kind, read_private
from ..errors import HaError
from ..server.session import Login
from . import address, lease
from .fencing import Spared

PATH = "/etc/lossless-mysql-ha/keeper.json"
STATUS_PATH = "/run/lossless-mysql-ha/keeper.json"


@dataclasses.dataclass(frozen=True)
class Config:
    """``statement_deadline`` is for the question of each tick; ``heartbeat_deadline`` for the heartbeat's commit.

    ``self_fence``: whether application sessions are ended without a lease, and a deposed server goes offline.
    ``spared``: whose sessions are none of an application.
    """

    addresses: tuple[address.Vip, ...]
    login: Login
    host: str
    port: int
    timing: lease.Timing
    statement_deadline: float
    heartbeat_deadline: float
    status_file: str
    self_fence: bool
    spared: Spared

    @property
    def peer_login(self) -> Login:
        """How the keeper logs in at other servers: with its own account, over the network."""
        return dataclasses.replace(self.login, unix_socket="")


_TIMING = {field.name: float(field.default) for field in dataclasses.fields(lease.Timing)}  # type: ignore[arg-type]
_REQUIRED: Mapping[str, Kind] = {"addresses": list, "user": str, "password": str}
_OPTIONAL: Mapping[str, tuple[Kind, Any]] = {
    "host": (str, ""),
    "port": (int, 33062),
    "unix_socket": (str, ""),
    "ca": (str, ""),
    "status_file": (str, STATUS_PATH),
    "statement_deadline": (NUMBER, 0.5),
    "heartbeat_deadline": (NUMBER, 30.0),
    "self_fence": (bool, True),
    "spared_users": (
        list,
        ["lossless_admin", "lossless_manager", "lossless_monitor", "lossless_reconcile", "lossless_clone"],
    ),
    "replication_user_prefix": (str, "lossless_repl_"),
    **{name: (NUMBER, default) for name, default in _TIMING.items()},
}
_ADDRESS_KEYS: Mapping[str, Kind] = {"address": str, "interface": str}


def load(path: str) -> Config:
    """Read and check the file.

    :raises HaError: ``config_unreadable``, ``config_not_private``, ``config_invalid`` (with the line).
    """
    return parse(read_private(path, "Run the role vip: it writes this file."), path)


def parse(text: str, path: str = PATH) -> Config:
    """The configuration in a text. Pure. Errors as ``load``; they never quote a value."""
    document = Document(text, path, "Correct the variables of the role vip and run it again.")
    values = document.fields(document.data, (), _REQUIRED, _OPTIONAL)
    if bool(values["host"]) == bool(values["unix_socket"]):
        raise document.invalid((), "give one of host and unix_socket: that is where the local server is asked")
    timing = lease.Timing(**{name: float(values[name]) for name in _TIMING})
    for problem in lease.problems(timing):
        raise document.invalid((problem.split(" ", 1)[0],), problem)
    for name in ("statement_deadline", "heartbeat_deadline"):
        if values[name] <= 0:
            raise document.invalid((name,), f"{name} must be greater than 0")
    for user in values["spared_users"]:
        if not isinstance(user, str) or not user:
            raise document.invalid(("spared_users",), "spared_users must be a list of account names")
    return Config(
        addresses=_addresses(document, values["addresses"]),
        login=Login(
            user=values["user"],
            password=values["password"],
            ca=values["ca"],
            unix_socket=values["unix_socket"],
        ),
        host=values["host"],
        port=values["port"],
        timing=timing,
        statement_deadline=float(values["statement_deadline"]),
        heartbeat_deadline=float(values["heartbeat_deadline"]),
        status_file=values["status_file"],
        self_fence=values["self_fence"],
        spared=Spared(frozenset({values["user"], *values["spared_users"]}), values["replication_user_prefix"]),
    )


def _addresses(document: Document, entries: list[Any]) -> tuple[address.Vip, ...]:
    if not entries:
        raise document.invalid(("addresses",), "addresses is empty: there is nothing to keep")
    found: list[address.Vip] = []
    for number, entry in enumerate(entries):
        place = ("addresses", number)
        if not isinstance(entry, dict):
            raise document.invalid(place, 'an entry of addresses is {"address": ..., "interface": ...}')
        document.fields(entry, place, _ADDRESS_KEYS, {})
        try:
            plain, prefix = address.parse(entry["address"])
        except HaError as error:
            raise document.invalid((*place, "address"), error.message) from error
        if plain in [vip.address for vip in found]:
            raise document.invalid((*place, "address"), f"{plain} is there twice")
        found.append(address.Vip(plain, plain.max_prefixlen if prefix is None else prefix, entry["interface"]))
    return tuple(found)
