"""Where the benchmarks keep things."""

from __future__ import annotations

from lab.config import CHECKOUT

RESULTS = CHECKOUT / "build" / "bench"
WORK = RESULTS / "work"
"""Of one session: how to reach the cluster (with passwords, mode 0700), writers' logs, journals of failovers."""
