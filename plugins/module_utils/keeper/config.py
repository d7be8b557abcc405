# SPDX-License-Identifier: BSD-2-Clause
"""The keeper's configuration file: one JSON object, every key known, every value of its type."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import stat
from pathlib import Path
from typing import Any, Mapping, Union

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


Kind = Union[type, tuple[type, ...]]

_TIMING = {field.name: float(field.default) for field in dataclasses.fields(lease.Timing)}  # type: ignore[arg-type]
_REQUIRED: Mapping[str, Kind] = {"addresses": list, "user": str, "password": str}
_OPTIONAL: Mapping[str, tuple[Kind, Any]] = {
    "host": (str, ""),
    "port": (int, 33062),
    "unix_socket": (str, ""),
    "ca": (str, ""),
    "status_file": (str, STATUS_PATH),
    "statement_deadline": ((int, float), 0.5),
    "heartbeat_deadline": ((int, float), 30.0),
    "self_fence": (bool, True),
    "spared_users": (list, ["lossless_admin", "lossless_monitor", "lossless_clone"]),
    "replication_user_prefix": (str, "lossless_repl_"),
    **{name: ((int, float), default) for name, default in _TIMING.items()},
}
_ADDRESS_KEYS: Mapping[str, Kind] = {"address": str, "interface": str}
_KIND_NAMES = {
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    (int, float): "a number",
}


def load(path: str) -> Config:
    """Read and check the file.

    :raises HaError: ``config_unreadable``, ``config_not_private``, ``config_invalid`` (with the line).
    """
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HaError(
            "config_unreadable",
            f"{path}: {error.strerror if isinstance(error, OSError) else error}",
            evidence={"path": path},
            next_step="Run the role vip: it writes this file.",
        ) from error
    if mode & 0o077:
        raise HaError(
            "config_not_private",
            f"{path} holds a password and others may read it (mode {mode:04o})",
            evidence={"path": path, "mode": f"{mode:04o}"},
            next_step=f"chmod 0600 {path}",
        )
    return parse(text, path)


def parse(text: str, path: str = PATH) -> Config:
    """The configuration in a text. Pure. Errors as ``load``; they never quote a value."""
    try:
        data = json.loads(text, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        raise _invalid(path, error.lineno, error.msg) from error
    except KeyError as error:
        key = str(error.args[0])
        raise _invalid(path, _line_of(text, key, last=True), f"the key {key!r} is there twice") from error
    if not isinstance(data, dict):
        raise _invalid(path, 1, "the file must hold one JSON object")
    kinds = {**_REQUIRED, **{key: kind for key, (kind, _default) in _OPTIONAL.items()}}
    _check(data, kinds, tuple(_REQUIRED), text, path)
    values = {**{key: default for key, (_kind, default) in _OPTIONAL.items()}, **data}
    if bool(values["host"]) == bool(values["unix_socket"]):
        raise _invalid(path, 1, "give one of host and unix_socket: that is where the local server is asked")
    timing = lease.Timing(**{name: float(values[name]) for name in _TIMING})
    for problem in lease.problems(timing):
        raise _invalid(path, _line_of(text, problem.split(" ", 1)[0]), problem)
    for name in ("statement_deadline", "heartbeat_deadline"):
        if values[name] <= 0:
            raise _invalid(path, _line_of(text, name), f"{name} must be greater than 0")
    for user in values["spared_users"]:
        if not isinstance(user, str) or not user:
            raise _invalid(path, _line_of(text, "spared_users"), "spared_users must be a list of account names")
    return Config(
        addresses=_addresses(values["addresses"], text, path),
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


def _addresses(entries: list[Any], text: str, path: str) -> tuple[address.Vip, ...]:
    line = _line_of(text, "addresses")
    if not entries:
        raise _invalid(path, line, "addresses is empty: there is nothing to keep")
    found: list[address.Vip] = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise _invalid(path, line, 'an entry of addresses is {"address": ..., "interface": ...}')
        _check(entry, _ADDRESS_KEYS, tuple(_ADDRESS_KEYS), text, path)
        try:
            plain, prefix = address.parse(entry["address"])
        except HaError as error:
            raise _invalid(path, _line_of(text, entry["address"], value=True), error.message) from error
        if plain in [vip.address for vip in found]:
            line = _line_of(text, entry["address"], value=True, last=True)
            raise _invalid(path, line, f"{plain} is there twice")
        found.append(address.Vip(plain, plain.max_prefixlen if prefix is None else prefix, entry["interface"]))
    return tuple(found)


def _check(data: Mapping[str, Any], kinds: Mapping[str, Kind], required: tuple[str, ...], text: str, path: str) -> None:
    for key in data:
        if key not in kinds:
            raise _invalid(path, _line_of(text, key), f"unknown key {key!r}; known are {', '.join(sorted(kinds))}")
    for key in required:
        if key not in data:
            raise _invalid(path, 1, f"the key {key!r} is missing")
    for key, value in data.items():
        kind = kinds[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise _invalid(path, _line_of(text, key), f"{key} must be {_KIND_NAMES[kind]}")
        if key in required and value == "":
            raise _invalid(path, _line_of(text, key), f"{key} is empty")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise KeyError(key)
        found[key] = value
    return found


def _line_of(text: str, word: str, *, value: bool = False, last: bool = False) -> int:
    """The line where a key (or a value) stands, 1 when it is not there."""
    pattern = re.escape(json.dumps(word)) + ("" if value else r"\s*:")
    matches = list(re.finditer(pattern, text))
    if not matches:
        return 1
    return text.count("\n", 0, matches[-1 if last else 0].start()) + 1


def _invalid(path: str, line: int, why: str) -> HaError:
    return HaError(
        "config_invalid",
        f"{path}, line {line}: {why}",
        evidence={"path": path, "line": line},
        next_step="Correct the variables of the role vip and run it again.",
    )
