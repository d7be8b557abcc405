# SPDX-License-Identifier: BSD-2-Clause
"""The configuration of one run that a timer starts: one private JSON file, checked as a whole before any of it is used.

``docs/consistency.md`` lists every key. The password stands in the file, or in a private file that it names.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Mapping, Optional

from ..config_file import NUMBER, Document, Kind, read_private
from ..server.session import Login
from ..server.state import Member
from . import assertions, findings
from .recent import Wish
from .report_file import KEEP, RUN, Place
from .run import Limits
from .window import LEAST, Policy

DIRECTORY = "/etc/lossless-mysql-ha/consistency"
"""Of these files: one for each run, by its name."""
STATE_DIRECTORY = "/var/lib/lossless-mysql-ha-consistency/state"
REPORT_DIRECTORY = "/var/lib/lossless-mysql-ha-consistency/reports"

_NEXT_STEP = "Correct the variables of the role consistency and run it again."
_WRITES = "Run the role consistency: it writes this file."

LIMITS: Mapping[str, str] = {
    "statement_timeout": "statement",
    "catch_up_timeout": "catch_up",
    "within": "within",
    "lock_timeout": "lock",
    "max_threads_running": "threads_running",
    "max_latency": "latency",
    "max_differences": "differences",
    "listed": "listed",
    "max_rows_without_key": "rows_without_key",
}
"""The names of limits in the file, which are the module's, and in ``run.Limits``."""
_MUST_BE_POSITIVE = frozenset({"statement_timeout", "catch_up_timeout", "max_differences"})


@dataclasses.dataclass(frozen=True)
class Config:
    """What is compared, and where the report goes.

    :param assertions: as they are written, see docs/consistency-assertions.md; they have been checked.
    :param admin: for the mode ``snapshot``.
    """

    members: tuple[Member, ...]
    login: Login
    modes: tuple[str, ...]
    place: Place
    primary: str = ""
    replicas: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    recent: Wish = Wish()
    assertions: tuple[Mapping[str, Any], ...] = ()
    reveal: bool = False
    limits: Limits = Limits()
    admin: Optional[Login] = None
    state_directory: str = STATE_DIRECTORY

    @property
    def cluster(self) -> str:
        return self.place.cluster


_REQUIRED: Mapping[str, Kind] = {"cluster": str, "run": str, "members": list, "user": str, "modes": list}
_OPTIONAL: Mapping[str, tuple[Kind, Any]] = {
    "password": (str, ""),
    "password_file": (str, ""),
    "ca": (str, ""),
    "admin_user": (str, "lossless_admin"),
    "admin_password": (str, ""),
    "admin_password_file": (str, ""),
    "primary": (str, ""),
    "replicas": (list, []),
    "include": (list, []),
    "exclude": (list, []),
    "time_column": (str, ""),
    "time_zone": (str, ""),
    "look_back": (NUMBER, Policy.look_back),
    "first_window": (NUMBER, Policy.first),
    "binlog_index": (str, ""),
    "assertions": (list, []),
    "reveal": (bool, False),
    "limits": (dict, {}),
    "state_directory": (str, STATE_DIRECTORY),
    "report_directory": (str, REPORT_DIRECTORY),
    "metrics_directory": (str, ""),
    "keep": (int, KEEP),
}
_MEMBER_REQUIRED: Mapping[str, Kind] = {"name": str, "host": str}
_MEMBER_OPTIONAL: Mapping[str, tuple[Kind, Any]] = {
    "port": (int, 33062),
    "replication_port": (int, 3306),
    "zone": (str, ""),
    "city": (str, ""),
    "priority": (int, 100),
    "acknowledges": (bool, True),
}


def load(path: str) -> Config:
    """Read and check the file, and the password file that it names.

    :raises HaError: ``config_unreadable``, ``config_not_private``, ``config_invalid`` with the line; and those of
        ``assertions.parse``, which name what is wrong with an assertion.
    """
    return parse(read_private(path, _WRITES), path)


def parse(text: str, path: str) -> Config:
    """The configuration in a text. Errors as ``load``; none of them quotes a secret."""
    document = Document(text, path, _NEXT_STEP)
    values = document.fields(document.data, (), _REQUIRED, _OPTIONAL)
    if not RUN.fullmatch(values["run"]):
        raise document.invalid(
            ("run",), "run must be of small letters, digits and underscores, and begin with a letter"
        )
    if values["keep"] < 0:
        raise document.invalid(("keep",), "keep must not be negative")
    for key in ("look_back", "first_window"):
        if values[key] < LEAST:
            raise document.invalid((key,), f"{key} must be {LEAST:g} seconds at least")
    for key in ("state_directory", "report_directory", "metrics_directory", "binlog_index"):
        if values[key] and not values[key].startswith("/"):
            raise document.invalid((key,), f"{key} must be an absolute path")
    for key in ("state_directory", "report_directory"):
        if not values[key]:
            raise document.invalid((key,), f"{key} is empty")
    members = _members(document, values["members"])
    replicas = _names(document, values, members)
    modes = _modes(document, values)
    password = _password(document, values, "password")
    admin_password = _password(document, values, "admin_password")
    if findings.SNAPSHOT in modes and not admin_password:
        raise document.invalid(("modes",), "the mode snapshot needs admin_password: it stops an applier for a moment")
    login = Login(values["user"], password, ca=values["ca"])
    # Of each run its own: another question would make the run of this one begin anew.
    state_directory = os.path.join(values["state_directory"], values["run"])
    return Config(
        members=members,
        login=login,
        modes=modes,
        place=Place(
            values["report_directory"], values["cluster"], values["run"], values["metrics_directory"], values["keep"]
        ),
        primary=values["primary"],
        replicas=replicas,
        include=_patterns(document, values, "include"),
        exclude=_patterns(document, values, "exclude"),
        recent=Wish(
            values["time_column"],
            values["time_zone"],
            Policy(first=float(values["first_window"]), look_back=float(values["look_back"])),
            values["binlog_index"],
            float(values["first_window"]),
            state_directory,
        ),
        assertions=tuple(values["assertions"]),
        reveal=values["reveal"],
        limits=_limits(document, values["limits"]),
        state_directory=state_directory,
        admin=dataclasses.replace(login, user=values["admin_user"], password=admin_password)
        if admin_password
        else None,
    )


def _password(document: Document, values: Mapping[str, Any], key: str) -> str:
    """The value, or the only line of the private file that is named instead of it."""
    path = values[f"{key}_file"]
    if not path:
        return str(values[key])
    if values[key]:
        raise document.invalid((f"{key}_file",), f"give one of {key} and {key}_file")
    return read_private(path, _WRITES).rstrip("\n")


def _members(document: Document, entries: list[Any]) -> tuple[Member, ...]:
    if len(entries) < 2:
        raise document.invalid(("members",), "members has fewer than two servers: there is nothing to compare")
    found: list[Member] = []
    for number, entry in enumerate(entries):
        place = ("members", number)
        fields = document.fields(entry, place, _MEMBER_REQUIRED, _MEMBER_OPTIONAL)
        if fields["name"] in [member.name for member in found]:
            raise document.invalid((*place, "name"), "two members have the same name")
        for key in ("port", "replication_port"):
            if not 1 <= fields[key] <= 65535:
                raise document.invalid((*place, key), f"{key} must be between 1 and 65535")
        if (fields["host"], fields["port"]) in [(member.host, member.port) for member in found]:
            raise document.invalid(
                (*place, "host"), "two members have one address: a server would be compared with itself"
            )
        found.append(Member(**fields))
    return tuple(found)


def _names(document: Document, values: Mapping[str, Any], members: tuple[Member, ...]) -> tuple[str, ...]:
    """The replicas that are named."""
    names = [member.name for member in members]
    if values["primary"] and values["primary"] not in names:
        raise document.invalid(("primary",), "the primary is none of the members")
    for number, name in enumerate(values["replicas"]):
        place = ("replicas", number)
        document.require_kind(name, place, str)
        if name not in names:
            raise document.invalid(place, "this replica is none of the members")
        if name == values["primary"]:
            raise document.invalid(place, "the primary can not be compared with itself")
        if name in values["replicas"][:number]:
            raise document.invalid(place, "this replica is there twice")
    return tuple(values["replicas"])


def _modes(document: Document, values: Mapping[str, Any]) -> tuple[str, ...]:
    if not values["modes"]:
        raise document.invalid(("modes",), "modes is empty: nothing would be compared")
    for number, mode in enumerate(values["modes"]):
        place = ("modes", number)
        document.require_kind(mode, place, str)
        if mode not in findings.MODES:
            raise document.invalid(place, f"unknown mode; known are {', '.join(findings.MODES)}")
        if mode in values["modes"][:number]:
            raise document.invalid(place, "this mode is there twice")
    for number, entry in enumerate(values["assertions"]):
        document.require_kind(entry, ("assertions", number), dict)
    if (findings.BUSINESS in values["modes"]) != bool(values["assertions"]):
        raise document.invalid(
            ("assertions",) if values["assertions"] else ("modes",),
            "the mode business and assertions belong together: one of them is missing",
        )
    if values["assertions"]:
        assertions.parse(values["assertions"])
    return tuple(values["modes"])


def _patterns(document: Document, values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    for number, pattern in enumerate(values[key]):
        document.require_kind(pattern, (key, number), str)
        if not pattern:
            raise document.invalid((key, number), f"{key} takes schema.table with * and ?, or a schema's name")
    return tuple(values[key])


def _limits(document: Document, given: Any) -> Limits:
    defaults = {name: getattr(Limits(), field) for name, field in LIMITS.items()}
    kinds = {name: (int if isinstance(default, int) else NUMBER, default) for name, default in defaults.items()}
    values = document.fields(given, ("limits",), {}, kinds)
    for name, value in values.items():
        if value < 0 or (not value and name in _MUST_BE_POSITIVE):
            raise document.invalid(("limits", name), f"{name} must be greater than 0")
    return Limits(**{field: values[name] for name, field in LIMITS.items()})
