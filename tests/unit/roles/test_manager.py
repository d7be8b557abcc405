# SPDX-License-Identifier: GPL-3.0-or-later
"""roles/manager, rendered by Ansible: the file that the manager reads, its unit, and the command line's wrapper."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import cli, client, config
from ansible_collections.lossless.mysql_ha.plugins.modules import mysql_failover

ROLE = Path(__file__).resolve().parents[3] / "roles" / "manager"
MEMBERS = [{"name": "db1", "host": "10.0.0.11", "port": 33062}, {"name": "db2", "host": "10.0.0.12", "port": 33062}]
INVENTORY: dict[str, Any] = {
    "mysql_ha_members": MEMBERS,
    "mysql_ha_manager_password": "canary-manager",
    "mysql_ha_replication_password": "canary-replication",
    "ansible_managed": "managed",
}


def rendered(template: str, family: str = "debian", **changes: Any) -> str:
    """A template with the role's own variables, as on a host of that family."""
    loader = DataLoader()
    loader.set_basedir(str(ROLE))
    variables: dict[str, Any] = {}
    for path in (ROLE / "defaults/main.yml", ROLE / "vars/main.yml", ROLE / f"vars/{family}.yml"):
        variables.update(loader.load_from_file(str(path), trusted_as_template=True))
    variables.update({**INVENTORY, **changes})
    text = loader.get_text_file_contents(str(ROLE / "templates" / template))
    found = Templar(loader=loader, variables=variables).template(trust_as_template(text))
    return found if isinstance(found, str) else json.dumps(found)


def settings(**changes: Any) -> Any:
    return json.loads(rendered("manager.json.j2", **changes))


def test_one_cluster_comes_from_the_inventory() -> None:
    found = settings(mysql_ha_cluster="ledger", mysql_ha_lower_k="to_remaining")
    assert found["clusters"] == [
        {
            "name": "ledger",
            "members": MEMBERS,
            "user": "lossless_manager",
            "password": "canary-manager",
            "ca": "/etc/lossless-mysql-ha/tls/ca.pem",
            "replication": {
                "user_prefix": "lossless_repl_",
                "password": "canary-replication",
                "ca": "/etc/lossless-mysql-ha/tls/ca.pem",
            },
            "acknowledgement": "disk",
            "lower_k": "to_remaining",
            "block_budget": 2.0,
        }
    ]
    assert (found["tick"], found["dry_run"], found["token"]) == (0.5, False, "")
    assert found["listen_address"] == "127.0.0.1" and found["listen_port"] == 8306


def test_many_clusters_say_only_what_is_their_own() -> None:
    clusters = [
        {"name": "a", "members": MEMBERS},
        {"name": "b", "members": MEMBERS, "user": "other", "replication": {"password": "b"}, "cooldown": 60},
    ]
    first, second = settings(manager_clusters=clusters, manager_cluster_defaults={"cooldown": 900})["clusters"]
    assert (first["user"], first["cooldown"], first["replication"]["password"]) == (
        "lossless_manager",
        900,
        "canary-replication",
    )
    assert (second["user"], second["cooldown"]) == ("other", 60)
    assert second["replication"] == {
        "user_prefix": "lossless_repl_",
        "password": "b",
        "ca": "/etc/lossless-mysql-ha/tls/ca.pem",
    }


def test_the_manager_reads_what_the_role_writes() -> None:
    """As it stands in the template, and with everything that an inventory may say."""
    members = [
        {**member, "replication_port": 3306, "zone": "a", "city": "one", "priority": 100, "acknowledges": True}
        for member in MEMBERS
    ]
    hooks = {"after": [{"name": "awx", "url": "https://awx.example.com/hook"}]}
    found = config.parse(
        rendered(
            "manager.json.j2",
            mysql_ha_members=members,
            manager_token="0123456789abcdef",
            manager_cluster_defaults={"cooldown": 900, "hooks": hooks},
        )
    )
    assert found.token == "0123456789abcdef" and found.listen_socket == client.SOCKET
    assert found.clusters[0].login.password == "canary-manager"
    assert found.clusters[0].rules.cooldown == 900 and found.clusters[0].after[0].name == "awx"
    assert [member.name for member in found.clusters[0].members] == ["db1", "db2"]


def test_every_setting_of_the_process_is_written_or_left_to_its_default_on_purpose() -> None:
    """A key that the manager learns is looked at here before it is forgotten in the role."""
    left = {"token_file"}
    assert set(settings()) == {*config._TOP_REQUIRED, *config._TOP_OPTIONAL} - left


def test_the_command_line_finds_the_socket_that_the_manager_is_given() -> None:
    assert settings()["listen_socket"] == client.SOCKET


def test_the_places_of_the_file_are_those_that_the_unit_makes() -> None:
    unit = rendered("manager.service.j2")
    found = settings()
    runtime = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("RuntimeDirectory=")]
    state = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("StateDirectory=")]
    assert found["listen_socket"].startswith(f"/run/{runtime[0]}/")
    assert found["state_directory"].startswith(f"/var/lib/{state[0]}/")
    # Everything else is read-only for it, and systemd does not start what is to write where nothing is.
    assert f"ReadWritePaths={found['journal_directory']}" in unit.splitlines()


@pytest.mark.parametrize("changes", [{}, {"mysql_ha_journal_directory": "/srv/journals"}])
def test_manager_and_modules_of_one_host_have_their_journals_in_one_place(changes: dict[str, str]) -> None:
    module = mysql_failover.SPEC["journal_directory"]["default"]
    assert module == config.JOURNAL_DIRECTORY
    expected = changes.get("mysql_ha_journal_directory", module)
    assert settings(**changes)["journal_directory"] == expected
    for book in ("failover.yml", "drill.yml"):
        text = (ROLE.parents[1] / "playbooks" / "tasks" / book).read_text()
        given = re.findall(r'journal_directory: "(.*)"', text)
        assert len(given) == 1 and "mysql_ha_journal_directory" in given[0] and module in given[0]


def test_the_place_of_the_journals_is_shared_before_the_manager_writes_there() -> None:
    tasks = yaml.safe_load((ROLE / "tasks/service.yml").read_text())
    mine = [t for t in tasks if t.get("ansible.builtin.file", {}).get("path") == "{{ manager_journal_directory }}"]
    made, mended = (t["ansible.builtin.file"] for t in mine)
    assert (made["owner"], made["group"], made["mode"]) == ("root", "{{ __manager_user }}", "02770")
    assert mended["recurse"] and mended["follow"] is False and mended["group"] == "{{ __manager_user }}"
    started = next(n for n, t in enumerate(tasks) if "started" in t["name"])
    assert tasks.index(mine[1]) < started


@pytest.mark.parametrize("family", ["debian", "redhat"])
def test_the_unit_runs_the_service_without_rights(family: str) -> None:
    facts = {"distribution_major_version": {"debian": "13", "redhat": "9"}[family]}
    unit = rendered("manager.service.j2", family, ansible_facts=facts).splitlines()
    for line in (
        "User=lossless-mysql-ha",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
        "Restart=on-failure",
        "RestartPreventExitStatus=78",
    ):
        assert line in unit
    start = next(line for line in unit if line.startswith("ExecStart="))
    assert start.endswith(
        " -m ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.service"
        " --config /etc/lossless-mysql-ha/manager.json"
    )
    assert start.startswith(f"ExecStart=/usr/bin/python3{'.11' if family == 'redhat' else ''} ")


def test_no_secret_is_outside_of_the_private_file() -> None:
    for name in ("manager.service.j2", "mysql-ha.j2"):
        assert "canary" not in rendered(name, manager_token="canary")


def test_the_wrapper_hands_everything_on(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$PYTHONPATH"\nfor one; do echo "[$one]"; done\n')
    python.chmod(0o755)
    wrapper = tmp_path / "mysql-ha"
    wrapper.write_text(rendered("mysql-ha.j2", manager_python=str(python)))
    wrapper.chmod(0o755)
    said = subprocess.run([wrapper, "pause", "a b", "--reason", "x'y"], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == [
        "/usr/lib/lossless-mysql-ha",
        "[-m]",
        f"[{cli.__name__}]",
        "[pause]",
        "[a b]",
        "[--reason]",
        "[x'y]",
    ]
