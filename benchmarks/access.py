"""How to reach the cluster: read by Ansible from its inventory and variables, so nothing is said twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.copy import CloneLogin
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.hands import ReplicationLogin
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member

from benchmarks.errors import BenchmarkError
from benchmarks.paths import WORK
from lab.config import CHECKOUT

_PLAYBOOK_SECONDS = 300
_DOCUMENT, _CA = WORK / "access.json", WORK / "ca.pem"


@dataclass(frozen=True)
class Access:
    """``address``: the virtual address; empty when the cluster has none. ``ca``: a file on this machine."""

    cluster: str
    members: tuple[Member, ...]
    address: str
    k: int
    acknowledgement: str
    ca: str
    admin: Login
    monitor: Login
    reconcile: Login
    writer: Login
    replication: ReplicationLogin
    clone: CloneLogin


def read() -> Access:
    """Ask Ansible.

    :raises BenchmarkError: it does not know, or the cluster is no lab: benchmarks kill, wipe and change servers.
    """
    WORK.mkdir(mode=0o700, parents=True, exist_ok=True)
    play("access.yml", bench_access=str(_DOCUMENT), bench_ca=str(_CA))
    return known()


def known() -> Access:
    """What Ansible said the last time, for other processes of the same session.

    :raises BenchmarkError: as ``read``.
    """
    try:
        found = json.loads(_DOCUMENT.read_text())
    except FileNotFoundError as error:
        raise BenchmarkError("nobody has asked Ansible yet how to reach the cluster") from error
    if not found["lab"]:
        raise BenchmarkError("the inventory is not a lab's (no lab_name): benchmarks kill servers")
    return _parse(found, _CA)


def _parse(found: dict[str, Any], ca: Path) -> Access:
    def login(who: str) -> Login:
        return Login(found[f"{who}_user"], found[f"{who}_password"], ca=str(ca))

    return Access(
        cluster=found["cluster"],
        members=tuple(Member(**member) for member in found["members"]),
        address=next(iter(found["addresses"]), ""),
        k=int(found["k"]),
        acknowledgement=found["acknowledgement"],
        ca=str(ca),
        admin=login("admin"),
        monitor=login("monitor"),
        reconcile=login("reconcile"),
        writer=login("writer"),
        replication=ReplicationLogin(
            found["replication_user_prefix"], found["replication_password"], found["replication_ca"]
        ),
        clone=CloneLogin(found["clone_user"], found["clone_password"], found["replication_ca"]),
    )


def play(playbook: str, **variables: str) -> None:
    """Run a playbook of this directory.

    :raises BenchmarkError: it failed.
    """
    command = [str(Path(sys.executable).with_name("ansible-playbook")), str(Path(__file__).with_name(playbook))]
    command += ["-e", json.dumps(variables)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=_PLAYBOOK_SECONDS, env=environment()
    )
    if done.returncode:
        raise BenchmarkError(f"{playbook} failed ({done.returncode}): {(done.stdout + done.stderr)[-800:]}")


def environment() -> dict[str, str]:
    """For a playbook: this checkout's collection and the lab's inventory, unless something else is said."""
    found = {"ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), **os.environ}
    found.setdefault("ANSIBLE_COLLECTIONS_PATH", str(CHECKOUT / "build" / "collections"))
    found.setdefault("ANSIBLE_INVENTORY", _inventory())
    return found


def _inventory() -> str:
    from lab.config import load

    return str(load().inventory)
