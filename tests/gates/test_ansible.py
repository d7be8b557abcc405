"""YAML, roles, playbooks and modules, by the tools that Ansible's own houses use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from .pip_settings import write_for
from .workshop import HOME, TREE, run

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
# The file under which ansible-test 2.19 expects the bootstrap script that it would otherwise download.
BOOTSTRAP = HOME / ".ansible" / "test" / "cache" / "get_pip_24_2.py"


def test_yamllint_finds_nothing(tree: Path) -> None:
    run(["yamllint", "--strict", "--format", "parsable", "."], cwd=tree)


def test_ansible_lint_production_finds_nothing(tree: Path) -> None:
    run(
        [
            "ansible-lint",
            "--offline",
            "--profile",
            "production",
            "--strict",
            "--nocolor",
            "-q",
            "--format",
            "pep8",
        ],
        cwd=tree,
    )


@pytest.mark.timeout(900)
def test_sanity_finds_nothing(tree: Path) -> None:
    """Every test of ``ansible-test sanity``, with nothing ignored."""
    ignored = [path for path in (TREE / "tests" / "sanity").glob("ignore*.txt") if path.read_text().strip()]
    assert not ignored, f"sanity findings are ignored, not repaired: {ignored}"
    prepare_home()
    command = ["ansible-test", "sanity", "--local", "--python", PYTHON, "--color", "no"]
    # First its virtual environments, so that what pip says is not among the findings.
    run([*command, "--prime-venvs"], cwd=tree, environment={"HOME": str(HOME)})
    run(command, cwd=tree, environment={"HOME": str(HOME)})


def prepare_home() -> None:
    """Let ansible-test install what it needs from the same index as everybody here.

    It makes its virtual environments under HOME (which we keep), passes on no variable but HOME and PATH, and gets
    pip from a site of its own; Python brings pip along, so that needs no download.
    """
    BOOTSTRAP.parent.mkdir(parents=True, exist_ok=True)
    BOOTSTRAP.write_text(
        "import ensurepip\n\nif __name__ == '__main__':\n    ensurepip.bootstrap(upgrade=True, default_pip=True)\n"
    )
    write_for(HOME, os.environ)
