"""Python: style, form, types, and the oldest Python that the managed hosts have."""

from __future__ import annotations

import os
from pathlib import Path

from .workshop import CHECKOUT, run

ON_MANAGED_HOSTS = ("plugins", "roles")


def test_ruff_finds_nothing(workplace: Path) -> None:
    run(["ruff", "check", "--no-cache", "--output-format", "concise", "."])


def test_python_is_formatted(workplace: Path) -> None:
    run(["ruff", "format", "--no-cache", "--check", "."])


def test_types_are_strict(workplace: Path) -> None:
    run(["mypy", "--config-file", CHECKOUT / "mypy.ini"])


def test_types_of_benchmarks_and_drills_are_strict(tree: Path) -> None:
    """They import the collection by its name, and the drill's programs by bare names."""
    rooms = (str(tree.parents[2]), str(CHECKOUT / "roles" / "drill" / "files"))
    run(
        ["mypy", "--config-file", CHECKOUT / "mypy.ini", "--explicit-package-bases", "benchmarks", "drills"],
        environment={"MYPYPATH": os.pathsep.join(rooms)},
    )


def test_managed_hosts_need_no_more_than_python_3_9(workplace: Path) -> None:
    """Syntax and library alike, which is more than compiling with an old Python would tell."""
    run(["vermin", "--target=3.9-", "--violations", "--no-tips", *ON_MANAGED_HOSTS])
