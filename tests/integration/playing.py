# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules as Ansible runs them: by ansible-playbook with -vvv and --diff, on this machine or inside a container.

Each run is checked for what holds of all modules: no password that was given is in anything that was printed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = "localhost"
_ENDED = re.compile(r"^(?:ok|changed|fatal): \[[^]]+\](?P<failed>: FAILED!)? => ", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Call:
    """One run of one module. ``host``: the container that it runs in; without one it runs here."""

    module: str
    arguments: Mapping[str, Any]
    check: bool = False
    host: str = HERE


def play(*calls: Call) -> tuple[list[dict[str, Any]], str]:
    """Run modules one after the other, whether they fail or not.

    :returns: the result of each, with ``failed``, and everything that was printed.
    """
    with tempfile.TemporaryDirectory(prefix="play-") as directory:
        command = ["ansible-playbook", "-i", _inventory(calls, Path(directory)), "-vvv", "--diff"]
        book = Path(directory) / "play.json"
        book.write_text(json.dumps([_as_play(call) for call in calls]))
        done = subprocess.run(
            [*command, str(book)], capture_output=True, text=True, check=False, env=_environment(), cwd=ROOT
        )
    printed = done.stdout + done.stderr
    results = []
    for ended in _ENDED.finditer(done.stdout):
        result, _end = json.JSONDecoder().raw_decode(done.stdout, ended.end())
        results.append(dict(result, failed=ended["failed"] is not None))
    assert len(results) == len(calls), printed[-5000:]
    for secret in {secret for call in calls for secret in _secrets(call.arguments)}:
        for spelling in _spellings(secret):
            assert spelling not in printed, f"{printed.count(spelling)} times a password in what was printed"
    return results, printed


def run_module(
    module: str, arguments: Mapping[str, Any], *, check: bool = False, host: str = HERE, fails: bool = False
) -> tuple[dict[str, Any], str]:
    """One run, which fails or does not, as said; its result and what was printed."""
    (result,), printed = play(Call(module, arguments, check, host))
    assert result["failed"] == fails, result
    return result, printed


def _as_play(call: Call) -> dict[str, Any]:
    task = {f"lossless.mysql_ha.{call.module}": dict(call.arguments), "ignore_errors": True, "check_mode": call.check}
    return {"hosts": call.host, "gather_facts": False, "tasks": [task]}


def _inventory(calls: Sequence[Call], directory: Path) -> str:
    hosts = {}
    for name in {call.host for call in calls}:
        python = sys.executable
        if name != HERE:
            # With pipelining a module is piped into its interpreter, so this is all that it takes to get inside.
            wrapper = directory / name
            wrapper.write_text(f'#!/bin/sh\nexec docker exec -i {name} python3 "$@"\n')
            wrapper.chmod(0o755)
            python = str(wrapper)
        hosts[name] = {"ansible_connection": "local", "ansible_python_interpreter": python}
    inventory = directory / "hosts.yml"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    return str(inventory)


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PIPELINING": "1",
        "PATH": f"{ROOT / 'build' / 'venv' / 'bin'}:{os.environ['PATH']}",
    }


def _secrets(arguments: Mapping[str, Any]) -> Iterator[str]:
    for name, value in arguments.items():
        if name.endswith("password") and value:
            yield str(value)


def _spellings(secret: str) -> set[str]:
    """A secret as it is, and as JSON, Python and SQL write it."""
    sql = secret.replace("\\", "\\\\").replace("'", "\\'")
    return {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], sql, json.dumps(sql)[1:-1]}
