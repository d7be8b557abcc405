"""The checkers that are our own: each finds what it is for, and leaves good samples alone."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from . import leaks, make_commands, pip_settings, role_specs, workshop

SPECS = """
argument_specs:
  main:
    short_description: A role
    description: [What it does]
    options:
      sample_port: {type: int, default: 3306, description: [Where]}
      sample_password: {type: str, no_log: true, required: true, description: [What]}
      sample_password_file: {type: path, description: [Where it lies]}
      sample_hosts: {type: list, elements: str, description: [Who]}
"""


def sample_role(root: Path, specs: str, defaults: str = "sample_port: 3306\n__sample_inner: 1\n") -> Path:
    role = root / "roles" / "sample"
    for name, text in {
        "tasks/main.yml": "[]",
        "tasks/drain.yml": "[]",
        "defaults/main.yml": defaults,
        "meta/argument_specs.yml": specs,
    }.items():
        (role / name).parent.mkdir(parents=True, exist_ok=True)
        (role / name).write_text(text)
    return role


def test_a_role_that_says_everything_passes(tmp_path: Path) -> None:
    assert list(role_specs.findings(sample_role(tmp_path, SPECS), frozenset())) == []


@pytest.mark.parametrize(
    ("good", "bad", "finding"),
    [
        ("    short_description: A role\n", "", "main: no short_description"),
        ("    description: [What it does]\n", "", "main: no description"),
        ("type: int, ", "", "sample_port: no type"),
        (", description: [Where]", "", "sample_port: no description"),
        ("no_log: true, ", "", "sample_password: reads like a secret"),
        ("elements: str, ", "", "sample_hosts: a list without elements"),
        ("default: 3306", "default: 3307", "promises 3307, the default is 3306"),
        ("sample_port:", "sample_gate:", "sample_port has a default, and is in no specification"),
        ("sample_port:", "sample_gate:", "sample_gate promises a default that defaults/main.yml does not give"),
        ("  main:", "  start:", "no specification of the entry point main"),
        ("  main:", "  start:", "there is no tasks/start.yml"),
    ],
)
def test_a_role_that_keeps_something_to_itself_is_found(tmp_path: Path, good: str, bad: str, finding: str) -> None:
    assert good in SPECS
    found = list(role_specs.findings(sample_role(tmp_path, SPECS.replace(good, bad)), frozenset()))
    assert any(finding in line for line in found), found


def test_a_role_without_specifications_is_found(tmp_path: Path) -> None:
    role = sample_role(tmp_path, SPECS)
    (role / "meta" / "argument_specs.yml").unlink()
    assert list(role_specs.findings(role, frozenset())) == ["sample: no meta/argument_specs.yml"]


def test_an_entry_point_that_a_playbook_uses_has_to_be_specified(tmp_path: Path) -> None:
    role = sample_role(tmp_path, SPECS)
    playbook = tmp_path / "playbooks" / "site.yml"
    playbook.parent.mkdir()
    playbook.write_text(
        "- hosts: all\n"
        "  vars: {secret: !vault abc}\n"
        "  tasks:\n"
        "    - block:\n"
        "        - ansible.builtin.include_role: {name: lossless.mysql_ha.sample, tasks_from: drain.yml}\n"
    )
    included = role_specs.entry_points(tmp_path)
    assert included == {"sample": frozenset({"drain"})}
    assert list(role_specs.findings(role, included["sample"])) == ["sample: no specification of the entry point drain"]


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAz1\n",
        "-----BEGIN PRIVATE KEY-----\nMIIEowIBAAKCAQEAz1\n",
        "token = 'ghp_" + "a1" * 18 + "'",
        "aws: AKIA" + "A1B2" * 4,
        "url: https://me:hunter2@example.com/",
        "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
        "path: /home/somebody/checkout",
        "open('/root/.cache/x')",
        "see /work/main/README.md",
        "pip install --find-links /opt/wheels",
        "https://mirror.of.mine.net/debian",
        "http://8.8.8.8/simple",
    ],
)
def test_a_leak_is_found(text: str) -> None:
    found = list(leaks.findings("roles/sample/files/x", f"one\n{text}\n"))
    assert len(found) == 1, found
    assert found[0].startswith("roles/sample/files/x:2: ")


@pytest.mark.parametrize(
    "text",
    [
        "https://docs.ansible.com/ansible/latest/",
        "http://127.0.0.1:8080/ https://10.1.2.3/ http://[::1]/ http://localhost:1/",
        "https://db1.example.com/ and https://galaxy.ansible.com.",
        "-----BEGIN CERTIFICATE-----\nMIIEowIBAAKCAQEAz1\n",
        "password: '{{ vault_password }}'",
        "f'https://{user}:{password}@{host}/'",
        "/var/lib/mysql /etc/lossless-mysql-ha /root build/home/x $HOME/home/x {{ role_path }}/home/x",
    ],
)
def test_what_everybody_may_see_is_no_leak(text: str) -> None:
    assert list(leaks.findings("README.md", text)) == []


def test_a_secret_is_not_repeated_in_the_finding() -> None:
    (found,) = leaks.findings("x", "https://me:hunter2@example.com/")
    assert "hunter2" not in found


MAKEFILE = "VENV := x\n.PHONY: demo\ndemo: lab ## show\n\techo\nlab-up:\n"


@pytest.mark.parametrize(
    "document",
    [
        "Run `make demo`, or `LAB_NAME=x make lab-up PYTEST_ARGS=-x`.",
        "```console\n$ make demo SCENARIO=primary_crash\n$ cd x && make lab-up   # make nothing\n```",
        "You can make anything of this; `makefile` and `cmake x` are no calls.",
    ],
)
def test_commands_that_are_there_pass(document: str) -> None:
    assert list(make_commands.findings("README.md", document, MAKEFILE)) == []


@pytest.mark.parametrize("document", ["`make dmeo`", "```\nmake dmeo\n```", "```sh\n$ cd x; make demo dmeo\n```"])
def test_a_command_that_is_not_there_is_found(document: str) -> None:
    (found,) = make_commands.findings("README.md", document, MAKEFILE)
    assert found == "README.md: make dmeo: the Makefile has no such target"


def test_pip_is_told_what_the_environment_says(tmp_path: Path) -> None:
    own = tmp_path / "own" / ".config" / "pip" / "pip.conf"
    own.parent.mkdir(parents=True)
    own.write_text("[global]\nindex-url = https://own.example/simple\ntimeout = 7\n")
    environment = {
        "HOME": str(tmp_path / "own"),
        "PIP_INDEX_URL": "https://index.example/simple?a=%20",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "https_proxy": "http://proxy.example:3128",
    }
    written = configparser.RawConfigParser()
    written.read(pip_settings.write_for(tmp_path / "other", environment))
    assert dict(written["global"]) == {
        "index-url": "https://index.example/simple?a=%20",
        "timeout": "7",
        "proxy": "http://proxy.example:3128",
    }


def test_a_tool_that_fails_fails_the_gate_with_what_it_printed(workplace: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="No such file or directory"):
        workshop.run(["yamllint", workplace / "is-not-there.yml"])
    with pytest.raises(pytest.fail.Exception, match=r"requirements-dev\.txt"):
        workshop.run(["no-such-tool"])
