# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host compares, and what it does with runs that it finds: the playbook consistency_service, run by Ansible.

The hosts are directories. What needs root (packages, units that are started) is left out; looking, refusing and
removing are the role's own tasks.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
LEFT_OUT = "- name: Stands in\n  ansible.builtin.file:\n    path: '{{ root }}/%s'\n    state: touch\n    mode: '0644'\n"
HOSTS = ("manager1", "manager2")
UNIT = "lossless-mysql-ha-consistency"


class Hosts:
    """Two hosts of the group mysql_manager; ``compares``: what lies on one of them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._collection()
        for name in HOSTS:
            for directory in ("configurations", "systemd", "metrics"):
                (place / name / directory).mkdir(parents=True)
        hosts = {name: {"root": str(place / name)} for name in HOSTS}
        database = {name: {"ansible_host": f"10.0.0.{n}"} for n, name in enumerate(("db1", "db2"), 11)}
        variables = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "mysql_ha_cluster": "ledger",
            "mysql_ha_reconcile_password": "canary-reconcile",
        }
        groups = {"mysql_manager": {"hosts": hosts}, "mysql": {"hosts": database}}
        (place / "inventory.json").write_text(json.dumps({"all": {"vars": variables, "children": groups}}))

    def _collection(self) -> None:
        ours = self.place / "ansible_collections/lossless/mysql_ha"
        for name in ("playbooks", "meta", "roles/consistency"):
            shutil.copytree(CHECKOUT / name, ours / name)
        playbook = ours / "playbooks/consistency_service.yml"
        playbook.write_text(playbook.read_text().replace("gather_facts: true", "gather_facts: false"))
        tasks = ours / "roles/consistency/tasks"
        for name in ("preflight", "service"):
            (tasks / f"{name}.yml").write_text(LEFT_OUT % name)
        for name in ("remove", "metrics"):
            text = (tasks / f"{name}.yml").read_text()
            text = text.replace("paths: /etc/systemd/system", "paths: '{{ root }}/systemd'")
            text = text.replace("'/etc/systemd/system/'", "root ~ '/systemd/'")
            text = text.replace("ansible.builtin.systemd_service:", "ansible.builtin.debug:")
            text = re.sub(r"^    (name|state: stopped|enabled).*\n", "", text, flags=re.MULTILINE)
            assert "/etc/" not in text and "state: stopped" not in text
            (tasks / f"{name}.yml").write_text(text)
        variables = ours / "roles/consistency/vars/main.yml"
        text = variables.read_text()
        assert "/etc/lossless-mysql-ha/consistency\n" in text
        variables.write_text(text.replace("/etc/lossless-mysql-ha/consistency\n", "'{{ root }}/configurations'\n"))
        server = ours / "roles/server/tasks"
        server.mkdir(parents=True)
        for name in ("ca_client", "library"):
            (server / f"{name}.yml").write_text(LEFT_OUT % name)

    def compares(self, host: str, run: str, cluster: str) -> None:
        root = self.place / host
        said = {"cluster": cluster, "run": run, "password": "canary-reconcile", "metrics_directory": f"{root}/metrics"}
        (root / f"configurations/{run}.json").write_text(json.dumps(said))
        (root / f"systemd/{UNIT}@{run}.timer").write_text("")
        (root / f"metrics/mysql_ha_consistency-{cluster}-{run}.prom").write_text("")

    def files(self, host: str) -> set[str]:
        root = self.place / host
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    def play(self, *arguments: str, fails: bool = False, **given: Any) -> str:
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.place / "inventory.json")]
        done = subprocess.run(
            [*command, "lossless.mysql_ha.consistency_service", "-v", "-e", json.dumps(given), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.place,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
                "ANSIBLE_COLLECTIONS_PATH": str(self.place),
                "ANSIBLE_HOME": str(self.place / "home"),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_PIPELINING": "1",
            },
        )
        printed = done.stdout + done.stderr
        assert (done.returncode != 0) is fails, printed
        assert "canary-reconcile" not in printed and "Y2FuYXJ5" not in printed, "a password in what was printed"
        return printed


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


def of(run: str, cluster: str) -> set[str]:
    return {
        f"configurations/{run}.json",
        f"systemd/{UNIT}@{run}.timer",
        f"metrics/mysql_ha_consistency-{cluster}-{run}.prom",
    }


INSTALLED = {"ca_client", "preflight", "library", "service"}


def test_the_first_host_compares_and_the_others_no_longer(hosts: Hosts) -> None:
    hosts.compares("manager1", "whole", "ledger")
    hosts.compares("manager1", "old", "ledger")
    hosts.compares("manager2", "whole", "ledger")
    hosts.compares("manager2", "theirs", "crm")
    hosts.play()
    # The old run's metrics go, too: they would say for ever that it passed.
    assert hosts.files("manager1") == of("whole", "ledger") | INSTALLED
    assert hosts.files("manager2") == of("theirs", "crm")


def test_a_limit_makes_no_other_host_the_first(hosts: Hosts) -> None:
    hosts.compares("manager2", "whole", "ledger")
    hosts.play("--limit", "manager2", "--check")
    assert hosts.files("manager2") == of("whole", "ledger")
    hosts.play("--limit", "manager2")
    assert hosts.files("manager1") == set() == hosts.files("manager2")


def test_a_host_that_compares_another_cluster_is_left_as_it_is(hosts: Hosts) -> None:
    hosts.compares("manager1", "whole", "crm")
    printed = hosts.play(fails=True)
    assert hosts.files("manager1") == of("whole", "crm")
    for word in ("compares another cluster than ledger", "whole.json of crm", "Nothing was changed", "=crm"):
        assert word in printed, word
    # What the message says to do.
    hosts.play(mysql_ha_cluster="crm", mysql_ha_consistency_runs=[])
    assert hosts.files("manager1") == {"ca_client"}
    hosts.play()
    assert hosts.files("manager1") == INSTALLED


def test_a_pattern_that_only_a_host_knows_is_refused(hosts: Hosts) -> None:
    """Otherwise nobody would compare, and nothing would say so."""
    hosts.compares("manager1", "whole", "ledger")
    inventory = hosts.place / "inventory.json"
    inventory.write_text(inventory.read_text().replace('"vars": {', '"vars": {"mysql_ha_manager_hosts": "mysql", '))
    printed = hosts.play(fails=True)
    assert "Give mysql_ha_manager_hosts with -e" in printed
    assert hosts.files("manager1") == of("whole", "ledger")
