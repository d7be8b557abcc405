"""Where the gates work: the files of the checkout, a copy of them that tools accept, and a way to run a tool."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
WORK = CHECKOUT / "build" / "gates"
# Caches: the virtual environments that ansible-test makes, and whatever Ansible keeps in its home.
HOME = WORK / "home"
TREE = WORK / "tree" / "ansible_collections" / "lossless" / "mysql_ha"
NAME = "lossless.mysql_ha"
# An ansible.cfg that says nothing: users do not have the one of this checkout.
NO_SETTINGS = WORK / "ansible.cfg"


def files() -> list[Path]:
    """What a clone of this checkout would hold, and new files that are not ignored; relative, sorted."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return sorted({Path(name) for name in listed if name and os.path.lexists(CHECKOUT / name)})


def make_tree() -> Path:
    """A real copy at a path that ends as ansible-test wants it. It follows no symbolic link to a collection."""
    shutil.rmtree(TREE, ignore_errors=True)
    for name in files():
        target = TREE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, target, follow_symlinks=False)
    # ansible-test asks git for the files. Without a repository of its own the copy would be an ignored folder of ours.
    subprocess.run(["git", "init", "-q", str(TREE)], check=True)
    return TREE


def tool(name: str) -> str:
    """A program of the virtual environment that runs the tests."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        pytest.fail(f"{name} is not in the virtual environment: is it in requirements-dev.txt?", pytrace=False)
    return str(path)


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path = CHECKOUT,
    environment: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> str:
    """Run a program of the virtual environment; what it says on both streams. The test fails with that if it fails."""
    arguments = [tool(str(command[0])), *map(str, command[1:])]
    done = subprocess.run(
        arguments,
        cwd=cwd,
        env=surroundings(environment or {}),
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}", pytrace=False)
    return done.stdout


def surroundings(additions: Mapping[str, str]) -> dict[str, str]:
    """The environment of a tool: ours, with the collection's copy as the only one, and Ansible's home under build."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHONPATH"))}
    environment.update(
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        ANSIBLE_COLLECTIONS_PATH=str(TREE.parents[2]),
        ANSIBLE_CONFIG=str(NO_SETTINGS),
        ANSIBLE_HOME=str(HOME / ".ansible"),
        ANSIBLE_NOCOLOR="1",
        NO_COLOR="1",
        TERM="dumb",
    )
    environment.update(additions)
    return environment
