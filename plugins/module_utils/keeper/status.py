# SPDX-License-Identifier: BSD-2-Clause
"""What the keeper tells others: its status file, its journal lines, and systemd."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, Mapping, Optional, TextIO

INFO, WARNING, ERROR = 6, 4, 3
"""Priorities as syslog counts them; journald reads them from the line's ``<6>``."""


class Journal:
    """One readable line for each thing that happened."""

    def __init__(self, out: Optional[TextIO] = None) -> None:
        self._out = out or sys.stderr

    def say(self, priority: int, text: str) -> None:
        self._out.write(f"<{priority}>{text}\n")
        self._out.flush()


def write(path: str, values: Mapping[str, Any]) -> None:
    """Replace the status file in one step: a reader sees the old one or the new one, whole."""
    target = Path(path)
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(json.dumps(values, indent=1, sort_keys=True) + "\n")
    os.replace(fresh, target)


def read(path: str) -> dict[str, Any]:
    """The status file's values; empty when there is none or it is not the keeper's."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def age(values: Mapping[str, Any]) -> Optional[float]:
    """Seconds since the status was written, ``None`` when it does not say, or says a time to come."""
    at = values.get("updated_at")
    if not isinstance(at, (int, float)):
        return None
    found = time.time() - at
    return found if found >= 0 else None


class Systemd:
    """``sd_notify`` by hand: one datagram to the socket that systemd names; nothing without one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._path = environ.get("NOTIFY_SOCKET", "")
        try:
            self._watchdog = int(environ.get("WATCHDOG_USEC", "0")) / 1e6
        except ValueError:
            self._watchdog = 0.0

    @property
    def watchdog_every(self) -> float:
        """Seconds between signs of life, 0.0 when nobody waits for them."""
        return self._watchdog / 3

    def notify(self, *lines: str) -> None:
        if not self._path:
            return
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            try:
                channel.sendto("\n".join(lines).encode(), address)
            except OSError:
                # systemd is restarting or busy: the next sign of life comes soon, and the address is what matters.
                return
