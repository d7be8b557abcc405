# SPDX-License-Identifier: BSD-2-Clause
"""The configuration file of the restart gate and of what follows it: one private JSON object."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping

from ..config_file import NUMBER, Document, Kind, read_private
from ..server.session import Login
from ..server.state import Member
from . import record
from .remains import Place
from .rewind import Evidence
from .verdict import Patience

PATH = "/etc/lossless-mysql-ha/rejoin.json"


@dataclasses.dataclass(frozen=True)
class Config:
    """``name``: this server among ``members``. ``login``: reads at its peers. ``keeper``: writes down there how it came
    back. ``socket``: of this server, for its ``root``.

    ``password``: of the replicas' accounts, whose names are ``prefix`` and their server_id.
    """

    cluster: str
    name: str
    members: tuple[Member, ...]
    login: Login
    keeper: Login
    socket: str
    root: str
    prefix: str
    password: str = dataclasses.field(repr=False)
    replication_ca: str
    place: Place
    archives: str
    records: str
    patience: Patience

    @property
    def peers(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.name != self.name)

    def evidence(self, host: str) -> Evidence:
        return Evidence(self.cluster, host, self.archives, self.records)


_REQUIRED: Mapping[str, Kind] = {
    "cluster": str,
    "name": str,
    "members": list,
    "user": str,
    "password": str,
    "keeper_user": str,
    "keeper_password": str,
    "replication_user_prefix": str,
    "replication_password": str,
    "data_directory": str,
    "log_bin_index": str,
}
_OPTIONAL: Mapping[str, tuple[Kind, Any]] = {
    "ca": (str, ""),
    "replication_ca": (str, ""),
    "unix_socket": (str, "/run/mysqld/mysqld.sock"),
    "root": (str, "root"),
    "archive_directory": (str, "/var/lib/lossless-mysql-ha/archive"),
    "record_directory": (str, record.DIRECTORY),
    "patience": (NUMBER, Patience.whole),
    "settle": (NUMBER, Patience.settle),
}
_MEMBER_REQUIRED: Mapping[str, Kind] = {"name": str, "host": str}
_MEMBER_OPTIONAL: Mapping[str, tuple[Kind, Any]] = {"port": (int, 33062), "replication_port": (int, 3306)}


def load(path: str = PATH) -> Config:
    """Read and check the file.

    :raises HaError: ``config_unreadable``, ``config_not_private``, ``config_invalid`` (with the line).
    """
    return parse(read_private(path, "Run the role server: it writes this file."), path)


def parse(text: str, path: str = PATH) -> Config:
    """The configuration in a text. Pure. Errors as ``load``; they never quote a value."""
    document = Document(text, path, "Correct the variables of the role server and run it again.")
    values = document.fields(document.data, (), _REQUIRED, _OPTIONAL)
    members = []
    for number, entry in enumerate(values["members"]):
        fields = document.fields(entry, ("members", number), _MEMBER_REQUIRED, _MEMBER_OPTIONAL)
        members.append(Member(**fields))
    names = [member.name for member in members]
    if len(set(names)) != len(names):
        raise document.invalid(("members",), "two members have the same name")
    if values["name"] not in names:
        raise document.invalid(("name",), "this server is none of the members")
    for key in ("patience", "settle"):
        if values[key] < 0:
            raise document.invalid((key,), f"{key} must not be negative")
    if values["settle"] > values["patience"]:
        raise document.invalid(("settle",), "settle must not be longer than patience")
    return Config(
        cluster=values["cluster"],
        name=values["name"],
        members=tuple(members),
        login=Login(values["user"], values["password"], ca=values["ca"]),
        keeper=Login(values["keeper_user"], values["keeper_password"], ca=values["ca"]),
        socket=values["unix_socket"],
        root=values["root"],
        prefix=values["replication_user_prefix"],
        password=values["replication_password"],
        replication_ca=values["replication_ca"],
        place=Place(values["data_directory"], values["log_bin_index"]),
        archives=values["archive_directory"],
        records=values["record_directory"],
        patience=Patience(float(values["patience"]), float(values["settle"])),
    )
