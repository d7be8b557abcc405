# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for what has to come true, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 60.0
"""Seconds. Not how fast anything is: only when to give up."""


def eventually(holds: Callable[[], Any], within: float = PATIENCE, what: str = "it") -> Any:
    """What ``holds`` returns as soon as that is true. ``what`` is said when it does not come true."""
    ends = time.monotonic() + within
    while not (found := holds()):
        assert time.monotonic() < ends, f"{what}: not true within {within:g} s"
        time.sleep(0.02)
    return found
