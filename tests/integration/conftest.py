# SPDX-License-Identifier: GPL-3.0-or-later
"""Scratch servers and the convergence under test. Needs a Docker engine and the lab's image (``make lab-up``)."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]
for _path in (str(_ROOT / "build" / "collections"), str(Path(__file__).parent)):
    if _path not in sys.path:
        sys.path.insert(0, _path)

import scratch  # noqa: E402
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.copy import CloneLogin  # noqa: E402
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.converge import (  # noqa: E402
    Report,
    converge,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.maintain import maintain  # noqa: E402
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.member import Request  # noqa: E402
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.procedure import Means  # noqa: E402
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.situation import Wish  # noqa: E402
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login  # noqa: E402
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member  # noqa: E402

CA = "/scratch/ca.pem"
MEANS = Means(
    scratch.REPLICATION_PASSWORD,
    CloneLogin(scratch.CLONE, scratch.CLONE_PASSWORD, CA),
    statement=10.0,
    connect=8.0,
    stall=10.0,
    clone_within=120.0,
    restart=60.0,
)


@pytest.fixture(scope="session")
def farm() -> Iterator[scratch.Farm]:
    if not shutil.which("docker") or not scratch.image():
        pytest.skip("no Docker engine with the lab's image: make lab-up")
    files = Path(tempfile.mkdtemp(prefix="replication-scratch-"))
    files.chmod(0o755)
    made = scratch.Farm(f"repl-scratch-{os.getpid()}", files)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(files)


class Cluster:
    """The servers of one test, and converging them."""

    def __init__(self, farm: scratch.Farm, servers: list[scratch.Server]) -> None:
        self.farm = farm
        self.servers = servers
        self.login = Login(scratch.ADMIN, scratch.ADMIN_PASSWORD, ca=str(farm.files / "ca.pem"))

    def members(self, servers: list[scratch.Server] | None = None, **per_name: dict[str, Any]) -> tuple[Member, ...]:
        return tuple(
            Member(s.name, s.address, zone=f"z{s.number}", city="one", **per_name.get(s.name, {}))
            for s in (self.servers if servers is None else servers)
        )

    def arguments(self, module: str, **more: Any) -> dict[str, Any]:
        """What a module is given to act on these servers."""
        given: dict[str, Any] = {
            "cluster": "scratch",
            "members": [s.as_member(zone=f"z{s.number}", city="one") for s in self.servers],
            "login_user": scratch.ADMIN,
            "login_password": scratch.ADMIN_PASSWORD,
            "ca_cert": str(self.farm.files / "ca.pem"),
        }
        if module in ("mysql_clone", "mysql_failover", "mysql_member", "mysql_replication"):
            given.update(replication_password=scratch.REPLICATION_PASSWORD, replication_ca=CA)
        if module in ("mysql_clone", "mysql_replication"):
            given.update(clone_password=scratch.CLONE_PASSWORD)
        return {**given, **more}

    def converge(self, servers: list[scratch.Server] | None = None, *, check: bool = False, **wish: Any) -> Report:
        members = wish.pop("members", None) or self.members(servers)
        return converge(members, self.login, Wish(members, ca=CA, **wish), MEANS, cluster="scratch", check_only=check)

    def maintain(self, operation: str, name: str, reason: str = "") -> Report:
        """An operation on one member; see ``replication/member.py``."""
        members = self.members()
        request, wish = Request(operation, name, reason), Wish(members, ca=CA)
        return maintain(members, self.login, request, wish, MEANS, cluster="scratch", connect_timeout=1.0)


@pytest.fixture(scope="session")
def new_cluster() -> type[Cluster]:
    """For fixtures that outlive a test."""
    return Cluster


@pytest.fixture
def fresh(farm: scratch.Farm) -> Any:
    """``fresh(3)``: a cluster of that many empty servers."""

    def make(count: int = 3, **options: Any) -> Cluster:
        return Cluster(farm, farm.fresh(count, **options))

    return make


_converged: dict[str, Any] = {}


@pytest.fixture
def lossless(farm: scratch.Farm) -> Cluster:
    """Three servers, converged; made again only when another test used the servers in between."""
    if _converged.get("layout") != farm.layout:
        _converged["cluster"] = Cluster(farm, farm.fresh(3))
        _converged["layout"] = farm.layout
        _converged["cluster"].converge()
    return _converged["cluster"]
