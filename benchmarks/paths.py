"""Where the benchmarks keep things."""

from __future__ import annotations

from lab.config import CHECKOUT, load

RESULTS = CHECKOUT / "build" / "bench"
WORK = RESULTS / "work" / load().name
"""Of one lab: how to reach the cluster (with passwords, mode 0700), the last session's writers, and the journals of
failovers: a run that was killed is taken up by the next one, in that lab and in no other."""
