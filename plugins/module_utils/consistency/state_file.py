# SPDX-License-Identifier: BSD-2-Clause
"""Small JSON files that one run leaves for the next. What is not there is done again, which is never wrong; what
cannot be written is an error, for nobody would notice that every run begins anew.

``path`` is empty where nothing is to be kept.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Iterator, Mapping

from .. import durable_file
from ..errors import HaError


@contextlib.contextmanager
def alone(directory: str, cluster: str) -> Iterator[None]:
    """No other run of that cluster keeps its files in that directory meanwhile: they would take each other's place.

    :raises HaError: ``already_running``, ``state_unwritable``.
    """
    if not directory:
        yield
        return
    path = os.path.join(directory, f"{cluster}.lock")
    try:
        durable_file.make_directory(directory)
        # Everybody may read it, for a run by hand, as root, leaves it behind.
        handle = durable_file.lock_file(path, mode=0o644)
    except BlockingIOError as error:
        raise HaError(
            "already_running",
            f"another run of cluster {cluster} is at work with the state directory {directory}",
            evidence={"path": path},
            next_step="Wait until it has ended, or name another state directory.",
        ) from error
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield
    finally:
        os.close(handle)


def read(path: str) -> dict[str, Any]:
    """What was kept; nothing where there is no such file, or it cannot be understood."""
    try:
        with open(path, encoding="utf-8") as stream:
            kept = json.load(stream)
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def write(path: str, kept: Mapping[str, Any]) -> None:
    """All of it or nothing.

    :raises HaError: ``state_unwritable``.
    """
    if not path:
        return
    text = json.dumps(kept)
    try:
        durable_file.make_directory(os.path.dirname(path))
        durable_file.replace(path, text + "\n").close()
    except OSError as error:
        raise _unwritable(path, error) from error


def remove(path: str) -> None:
    """:raises HaError: ``state_unwritable``."""
    if not path:
        return
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: OSError) -> HaError:
    return HaError(
        "state_unwritable",
        f"cannot write {path}: {error.strerror or error}",
        evidence={"path": path, "errno": error.errno},
        next_step="Make room there, or name another state directory.",
    )
