"""The working trees of the gates, each made once for a session."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import workshop


@pytest.fixture(scope="session")
def workplace() -> Iterator[Path]:
    """build/gates, for one session at a time: two in the same checkout would take each other's tree away."""
    workshop.WORK.mkdir(parents=True, exist_ok=True)
    with (workshop.WORK / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        workshop.NO_SETTINGS.write_text("[defaults]\n")
        yield workshop.WORK


@pytest.fixture(scope="session")
def tree(workplace: Path) -> Path:
    """A copy of the checkout as ``ansible_collections/lossless/mysql_ha``."""
    return workshop.make_tree()


@pytest.fixture(scope="session")
def archive(tree: Path) -> Path:
    """What ``ansible-galaxy collection build`` makes of the copy."""
    place = workshop.WORK / "archive"
    shutil.rmtree(place, ignore_errors=True)
    workshop.run(["ansible-galaxy", "collection", "build", tree, "--output-path", place])
    (built,) = place.glob("*.tar.gz")
    return built


@pytest.fixture(scope="session")
def installed(archive: Path) -> Path:
    """The archive, installed into an empty folder."""
    place = workshop.WORK / "installed"
    shutil.rmtree(place, ignore_errors=True)
    workshop.run(
        ["ansible-galaxy", "collection", "install", archive, "--collections-path", place, "--no-deps"],
        environment={"ANSIBLE_COLLECTIONS_PATH": str(place)},
    )
    return place
