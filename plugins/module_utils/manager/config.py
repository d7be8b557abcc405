# SPDX-License-Identifier: BSD-2-Clause
"""The manager's configuration: one private JSON file, checked as a whole before any of it is used.

``docs/manager.md`` lists every key. Passwords stand in the file, or in private files that it names.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from typing import Any, Mapping, Optional

from ..config_file import NUMBER, Document, Kind, Place, read_private
from ..failover.hands import ReplicationLogin
from ..failover.plan import NEVER, TO_REMAINING
from ..server.session import Login
from ..server.state import Member
from . import verdict
from .policy import Rules, Window
from .verdict import Cut, Timing

PATH = "/etc/lossless-mysql-ha/manager.json"
STATE_DIRECTORY = "/var/lib/lossless-mysql-ha/manager"
JOURNAL_DIRECTORY = "/var/lib/lossless-mysql-ha/journal"

_NEXT_STEP = "Correct the variables of the role manager and run it again; a manager that runs keeps its old settings."
_WRITES = "Run the role manager: it writes this file."


@dataclasses.dataclass(frozen=True)
class Hook:
    """What is told of a recovery, or asked before it. Either ``run`` (a program and its arguments, no shell) or ``url``
    (receives JSON by POST). ``must_succeed``: before a recovery, its failure prevents it."""

    name: str
    run: tuple[str, ...] = ()
    url: str = dataclasses.field(default="", repr=False)
    timeout: float = 10.0
    must_succeed: bool = False


@dataclasses.dataclass(frozen=True)
class ClusterConfig:
    """One cluster. ``never``: members that are never promoted. ``preferred_zone``: elected first."""

    name: str
    members: tuple[Member, ...]
    login: Login
    replication: ReplicationLogin
    timing: Timing = Timing()
    rules: Rules = Rules()
    cut: Cut = Cut()
    lower_k: str = NEVER
    acknowledgement: str = "disk"
    never: tuple[str, ...] = ()
    preferred_zone: str = ""
    before: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()
    stall_timeout: float = 10.0
    block_budget: float = 2.0
    effect_deadline: float = 1.5

    @property
    def candidates(self) -> tuple[Member, ...]:
        """The members with the preferred zone in their priorities."""
        if not self.preferred_zone:
            return self.members
        above = max(m.priority for m in self.members) - min(m.priority for m in self.members) + 1
        return tuple(
            dataclasses.replace(m, priority=m.priority + above) if m.zone == self.preferred_zone else m
            for m in self.members
        )


@dataclasses.dataclass(frozen=True)
class Config:
    """``token``: whoever has it may change things over HTTP; empty: nobody may. ``listen_socket``: the path of a Unix
    socket, or empty."""

    clusters: tuple[ClusterConfig, ...]
    listen_address: str = "127.0.0.1"
    listen_port: int = 8306
    listen_socket: str = "/run/lossless-mysql-ha-manager/manager.sock"
    token: str = dataclasses.field(default="", repr=False)
    state_directory: str = STATE_DIRECTORY
    journal_directory: str = JOURNAL_DIRECTORY
    dry_run: bool = False
    recoveries_at_once: int = 4
    tick: float = 0.5

    def cluster(self, name: str) -> Optional[ClusterConfig]:
        return next((c for c in self.clusters if c.name == name), None)


_TOP_REQUIRED: Mapping[str, Kind] = {"clusters": list}
_TOP_OPTIONAL: Mapping[str, tuple[Kind, Any]] = {
    "tick": (NUMBER, Timing.tick),
    "listen_address": (str, "127.0.0.1"),
    "listen_port": (int, 8306),
    "listen_socket": (str, "/run/lossless-mysql-ha-manager/manager.sock"),
    "token": (str, ""),
    "token_file": (str, ""),
    "state_directory": (str, STATE_DIRECTORY),
    "journal_directory": (str, JOURNAL_DIRECTORY),
    "dry_run": (bool, False),
    "recoveries_at_once": (int, 4),
}
_CLUSTER_REQUIRED: Mapping[str, Kind] = {"name": str, "members": list, "user": str, "replication": dict}
_CLUSTER_OPTIONAL: Mapping[str, tuple[Kind, Any]] = {
    "password": (str, ""),
    "password_file": (str, ""),
    "ca": (str, ""),
    "acknowledgement": (str, "disk"),
    "automatic": (bool, True),
    "rejoin": (bool, True),
    "dry_run": (bool, False),
    "thresholds": (dict, {}),
    "cooldown": (NUMBER, Rules.cooldown),
    "lower_k": (str, NEVER),
    "preferred_zone": (str, ""),
    "maintenance": (list, []),
    "hooks": (dict, {}),
    "replication_cut": (dict, {}),
    "stall_timeout": (NUMBER, 10.0),
    "block_budget": (NUMBER, 2.0),
    "effect_deadline": (NUMBER, 1.5),
}
_MEMBER_REQUIRED: Mapping[str, Kind] = {"name": str, "host": str}
_MEMBER_OPTIONAL: Mapping[str, tuple[Kind, Any]] = {
    "port": (int, 33062),
    "replication_port": (int, 3306),
    "zone": (str, ""),
    "city": (str, ""),
    "priority": (int, 100),
    "never": (bool, False),
    "acknowledges": (bool, True),
}
_REPLICATION_OPTIONAL: Mapping[str, tuple[Kind, Any]] = {
    "user_prefix": (str, "lossless_repl_"),
    "password": (str, ""),
    "password_file": (str, ""),
    "ca": (str, "/etc/lossless-mysql-ha/tls/ca.pem"),
    "heartbeat_period": (NUMBER, 0.5),
}
_THRESHOLDS: Mapping[str, tuple[Kind, Any]] = {
    field.name: (NUMBER, field.default) for field in dataclasses.fields(Timing) if field.name != "tick"
}
_CUT: Mapping[str, tuple[Kind, Any]] = {"act": (bool, True), "after": (NUMBER, Cut.after)}
_HOOKS: Mapping[str, tuple[Kind, Any]] = {"before": (list, []), "after": (list, [])}
_HOOK_REQUIRED: Mapping[str, Kind] = {"name": str}
_HOOK_OPTIONAL: Mapping[str, tuple[Kind, Any]] = {
    "run": (list, []),
    "url": (str, ""),
    "timeout": (NUMBER, 10.0),
    "must_succeed": (bool, False),
}
_WINDOW_REQUIRED: Mapping[str, Kind] = {"reason": str, "from": str, "until": str}
_WINDOW_OPTIONAL: Mapping[str, tuple[Kind, Any]] = {"days": (list, [])}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def load(path: str) -> Config:
    """Read and check the file, and the password files that it names.

    :raises HaError: ``config_unreadable``, ``config_not_private``, ``config_invalid`` with the line.
    """
    return parse(read_private(path, _WRITES), path)


def parse(text: str, path: str = PATH) -> Config:
    """The configuration in a text. Errors as ``load``; none of them quotes a secret."""
    document = Document(text, path, _NEXT_STEP)
    top = document.fields(document.data, (), _TOP_REQUIRED, _TOP_OPTIONAL)
    if not top["clusters"]:
        raise document.invalid(("clusters",), "clusters is empty: there is nothing to watch")
    if not 1 <= top["listen_port"] <= 65535:
        raise document.invalid(("listen_port",), "listen_port must be between 1 and 65535")
    if top["recoveries_at_once"] < 1:
        raise document.invalid(("recoveries_at_once",), "recoveries_at_once must be at least 1")
    clusters: list[ClusterConfig] = []
    for number, entry in enumerate(top["clusters"]):
        place = ("clusters", number)
        cluster = _cluster(document, place, entry, top)
        if cluster.name in [other.name for other in clusters]:
            raise document.invalid((*place, "name"), f"the cluster {cluster.name!r} is there twice")
        clusters.append(cluster)
    return Config(
        clusters=tuple(clusters),
        listen_address=top["listen_address"],
        listen_port=top["listen_port"],
        listen_socket=top["listen_socket"],
        token=_secret(document, (), top, "token"),
        state_directory=top["state_directory"],
        journal_directory=top["journal_directory"],
        dry_run=top["dry_run"],
        recoveries_at_once=top["recoveries_at_once"],
        tick=float(top["tick"]),
    )


def _cluster(document: Document, place: Place, entry: Any, top: Mapping[str, Any]) -> ClusterConfig:
    values = document.fields(entry, place, _CLUSTER_REQUIRED, _CLUSTER_OPTIONAL)
    timing = _timing(document, place, values, top)
    cut = document.fields(values["replication_cut"], (*place, "replication_cut"), {}, _CUT)
    if cut["after"] < timing.stall:
        raise document.invalid(
            (*place, "replication_cut", "after"), f"after must not be shorter than stall ({timing.stall:g} s)"
        )
    _one_of(document, place, values, "lower_k", (NEVER, TO_REMAINING))
    _one_of(document, place, values, "acknowledgement", ("disk", "memory"))
    for key in ("cooldown", "stall_timeout", "block_budget", "effect_deadline"):
        if values[key] < 0 or (key != "cooldown" and not values[key]):
            raise document.invalid((*place, key), f"{key} must be greater than 0")
    members, never = _members(document, place, values["members"])
    zones = {m.zone for m in members if m.zone}
    if values["preferred_zone"] and values["preferred_zone"] not in zones:
        raise document.invalid((*place, "preferred_zone"), "no member is in the preferred_zone")
    hooks = document.fields(values["hooks"], (*place, "hooks"), {}, _HOOKS)
    replication_place = (*place, "replication")
    replication = document.fields(values["replication"], replication_place, {}, _REPLICATION_OPTIONAL)
    return ClusterConfig(
        name=values["name"],
        members=members,
        login=Login(user=values["user"], password=_secret(document, place, values), ca=values["ca"]),
        replication=ReplicationLogin(
            replication["user_prefix"],
            _secret(document, replication_place, replication),
            replication["ca"],
            heartbeat_period=float(replication["heartbeat_period"]),
        ),
        timing=timing,
        rules=Rules(
            automatic=values["automatic"],
            cooldown=float(values["cooldown"]),
            act_on_cut=cut["act"],
            maintenance=_windows(document, (*place, "maintenance"), values["maintenance"]),
            dry_run=values["dry_run"] or top["dry_run"],
            rejoin=values["rejoin"],
        ),
        cut=Cut(float(cut["after"])),
        lower_k=values["lower_k"],
        acknowledgement=values["acknowledgement"],
        never=never,
        preferred_zone=values["preferred_zone"],
        before=_hooks(document, (*place, "hooks", "before"), hooks["before"]),
        after=_hooks(document, (*place, "hooks", "after"), hooks["after"]),
        stall_timeout=float(values["stall_timeout"]),
        block_budget=float(values["block_budget"]),
        effect_deadline=float(values["effect_deadline"]),
    )


def _timing(document: Document, place: Place, values: Mapping[str, Any], top: Mapping[str, Any]) -> Timing:
    where = (*place, "thresholds")
    thresholds = document.fields(values["thresholds"], where, {}, _THRESHOLDS)
    timing = Timing(tick=float(top["tick"]), **{key: float(value) for key, value in thresholds.items()})
    for problem in verdict.problems(timing):
        key = problem.split(" ", 1)[0]
        raise document.invalid(("tick",) if key == "tick" else (*where, key), problem)
    return timing


def _one_of(document: Document, place: Place, values: Mapping[str, Any], key: str, known: tuple[str, ...]) -> None:
    if values[key] not in known:
        raise document.invalid((*place, key), f"{key} must be one of {', '.join(known)}")


def _secret(document: Document, place: Place, values: Mapping[str, Any], key: str = "password") -> str:
    """The value, or the only line of the private file that is named instead of it."""
    path = values[f"{key}_file"]
    if not path:
        return str(values[key])
    if values[key]:
        raise document.invalid((*place, f"{key}_file"), f"give one of {key} and {key}_file")
    return read_private(path, _WRITES).rstrip("\n")


def _members(document: Document, place: Place, entries: list[Any]) -> tuple[tuple[Member, ...], tuple[str, ...]]:
    """The members, and the names of those that are never promoted."""
    where = (*place, "members")
    if not entries:
        raise document.invalid(where, "members is empty")
    members: list[Member] = []
    never = []
    for number, entry in enumerate(entries):
        single = (*where, number)
        values = document.fields(entry, single, _MEMBER_REQUIRED, _MEMBER_OPTIONAL)
        if values["name"] in [m.name for m in members]:
            raise document.invalid((*single, "name"), f"the member {values['name']!r} is there twice")
        for key in ("port", "replication_port"):
            if not 1 <= values[key] <= 65535:
                raise document.invalid((*single, key), f"{key} must be between 1 and 65535")
        if (values["host"], values["port"]) in [(m.host, m.port) for m in members]:
            raise document.invalid((*single, "host"), "two members have one address")
        if values.pop("never"):
            never.append(values["name"])
        members.append(Member(**values))
    if len(never) == len(members):
        raise document.invalid(where, "every member is never to be promoted: set automatic to false instead")
    return tuple(members), tuple(never)


def _hooks(document: Document, place: Place, entries: list[Any]) -> tuple[Hook, ...]:
    found = []
    for number, entry in enumerate(entries):
        single = (*place, number)
        values = document.fields(entry, single, _HOOK_REQUIRED, _HOOK_OPTIONAL)
        if bool(values["run"]) == bool(values["url"]):
            raise document.invalid(single, "a hook has one of run and url")
        for part, argument in enumerate(values["run"]):
            document.require_kind(argument, (*single, "run", part), str)
        if values["run"] and not values["run"][0].startswith("/"):
            raise document.invalid((*single, "run"), "run begins with the absolute path of a program")
        if values["url"] and not re.match(r"https?://[^\s]+$", values["url"]):
            raise document.invalid((*single, "url"), "url must begin with http:// or https://")
        if values["timeout"] <= 0:
            raise document.invalid((*single, "timeout"), "timeout must be greater than 0")
        found.append(
            Hook(values["name"], tuple(values["run"]), values["url"], float(values["timeout"]), values["must_succeed"])
        )
    return tuple(found)


def _windows(document: Document, place: Place, entries: list[Any]) -> tuple[Window, ...]:
    found = []
    for number, entry in enumerate(entries):
        single = (*place, number)
        values = document.fields(entry, single, _WINDOW_REQUIRED, _WINDOW_OPTIONAL)
        if not all(day in _DAYS for day in values["days"]):
            raise document.invalid((*single, "days"), f"days are {', '.join(_DAYS)}")
        weekly = bool(values["days"])
        times = []
        for key in ("from", "until"):
            at = _of_day(values[key]) if weekly else _moment(values[key])
            if at is None:
                form = "a time of day such as 22:00" if weekly else "a time in UTC such as 2026-11-21T22:00:00Z"
                raise document.invalid((*single, key), f"{key} must be {form}")
            times.append(at)
        if not weekly and times[1] <= times[0]:
            raise document.invalid((*single, "until"), "until must be after from")
        days = tuple(sorted({_DAYS.index(day) for day in values["days"]}))
        found.append(Window(values["reason"], times[0], times[1], days))
    return tuple(found)


def _of_day(text: str) -> Optional[float]:
    match = re.match(r"([01]\d|2[0-3]):([0-5]\d)$", text)
    return float(match.group(1)) * 3600 + float(match.group(2)) * 60 if match else None


def _moment(text: str) -> Optional[float]:
    try:
        read = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return None
    return read.replace(tzinfo=datetime.timezone.utc).timestamp()
