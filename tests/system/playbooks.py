# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a playbook of the collection on the lab, as ``make`` does, and reading its recap."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = Path(os.environ.get("LAB_STATE_DIR", "build/lab"))
STATE = STATE if STATE.is_absolute() else ROOT / STATE
BIN = Path(sys.executable).parent


def environment() -> dict[str, str]:
    """What the Makefile exports, also when pytest was started by hand."""
    return dict(
        os.environ,
        ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"),
        ANSIBLE_INVENTORY=str(STATE / "inventory" / "hosts.yml"),
        ANSIBLE_COLLECTIONS_PATH=str(ROOT / "build" / "collections"),
        ANSIBLE_NOCOLOR="1",
        PYTHONPATH=str(ROOT),
        PATH=f"{BIN}:{os.environ['PATH']}",
        MOLECULE_GLOB="molecule/*/molecule.yml",
        NO_COLOR="1",
    )


def run(*command: str, seconds: int = 1200) -> subprocess.CompletedProcess[str]:
    """Run a command of the virtual environment from the root of the checkout; both streams in ``stdout``."""
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )


def playbook(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("ansible-playbook", f"lossless.mysql_ha.{name}", *arguments)


def changed(output: str) -> dict[str, int]:
    """``changed=`` of each host in the recap."""
    return {host: int(count) for host, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", output, re.MULTILINE)}


def on_host(host: str, *command: str) -> str:
    """What a command prints inside a host of the lab, past the network; its errors are not of interest."""
    inner = shlex.join(command)
    done = run("python", "-m", "lab", "exec", host, "--", "sh", "-c", f"{inner} 2>/dev/null || true", seconds=60)
    assert done.returncode == 0, done.stdout
    return done.stdout


def end(output: str) -> str:
    """The part of an output that a person wants to see when it failed."""
    return output[-6000:]
