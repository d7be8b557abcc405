"""The collection as it is delivered: changelog, archive, and what is left of it in the strictest of homes."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from pathlib import Path

import yaml

from . import leaks
from .test_documentation import modules, nothing
from .workshop import CHECKOUT, NAME, WORK, files, run

# A certified collection has to work when these are all that is left of it.
KEPT = ("meta", "plugins", "roles", "playbooks")
# What is for people who work on the collection, not for those who use it.
NOT_DELIVERED = (
    ".",
    "Makefile",
    "ansible.cfg",
    "benchmarks/",
    "build/",
    "lab/",
    "molecule/",
    "mypy.ini",
    "requirements-dev.txt",
    "ruff.toml",
    "tests/",
)


def test_changelog_is_in_order(tree: Path) -> None:
    run(["antsibull-changelog", "lint"], cwd=tree)


def test_archive_holds_what_users_need_and_nothing_else(tree: Path, archive: Path) -> None:
    with tarfile.open(archive) as opened:
        held = {member.name for member in opened.getmembers() if not member.isdir()}
    unwanted = [name for name in sorted(held) if name.startswith(NOT_DELIVERED) or name.endswith((".pyc", ".tar.gz"))]
    wanted = {"README.md", "COPYING", "meta/runtime.yml", "meta/execution-environment.yml", "CHANGELOG.md"}
    wanted |= {
        str(path.relative_to(tree))
        for folder in KEPT
        for path in (tree / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    nothing(
        [f"{name}: delivered, but of no use to users" for name in unwanted]
        + [f"{name}: not delivered" for name in sorted(wanted - held)]
    )


def test_installed_and_reduced_it_still_works(installed: Path) -> None:
    """Only meta, plugins, roles and playbooks are kept: every module is documented, every playbook is understood."""
    whole = installed / "ansible_collections" / "lossless" / "mysql_ha"
    place = WORK / "reduced"
    shutil.rmtree(place, ignore_errors=True)
    reduced = place / "ansible_collections" / "lossless" / "mysql_ha"
    for folder in KEPT:
        shutil.copytree(whole / folder, reduced / folder)
    alone = {"ANSIBLE_COLLECTIONS_PATH": str(place), "ANSIBLE_LOCALHOST_WARNING": "False"}
    inventory = place / "hosts.yml"
    inventory.write_text("all:\n  hosts:\n    db1:\n")

    names = modules(reduced)
    assert names
    told = json.loads(run(["ansible-doc", "--type", "module", "--json", *names], cwd=place, environment=alone))
    assert sorted(told) == names
    playbooks = [f"{NAME}.{path.stem}" for path in sorted((reduced / "playbooks").glob("*.yml"))]
    assert playbooks
    run(["ansible-playbook", "--syntax-check", "--inventory", inventory, *playbooks], cwd=place, environment=alone)


def test_execution_environment_gets_what_the_modules_need() -> None:
    """The collection's own list, the one for an execution environment, and the pinned one name the same libraries."""
    described = yaml.safe_load((CHECKOUT / "meta" / "execution-environment.yml").read_text())["dependencies"]
    needed = _libraries(CHECKOUT / described["python"])
    assert (CHECKOUT / described["system"]).exists()
    assert needed == {"pymysql", "cryptography"}
    assert needed <= _libraries(CHECKOUT / "requirements.txt")


def _libraries(path: Path) -> set[str]:
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    return {re.split(r"[^\w.-]", line)[0].lower() for line in lines if line}


def test_nothing_is_committed_that_belongs_to_one_machine() -> None:
    found: list[str] = []
    for name in files():
        path = CHECKOUT / name
        if path.is_symlink():
            continue
        found += leaks.findings(str(name), path.read_bytes().decode("utf-8", "replace"))
    nothing(found)
