"""Progress lines: what is being done, and how long the run has taken so far."""

from __future__ import annotations

import sys
import time

_STARTED = time.monotonic()


def say(message: str) -> None:
    """Print one progress line to stderr (stdout is for answers)."""
    print(f"[lab {time.monotonic() - _STARTED:6.1f}s] {message}", file=sys.stderr, flush=True)
