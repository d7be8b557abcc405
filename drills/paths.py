"""Where drills keep things."""

from __future__ import annotations

from benchmarks.paths import WORK
from lab.config import CHECKOUT

RESULTS = CHECKOUT / "build" / "drills"
"""report.json, report.html, and a directory for each run: <scenario>-<n>."""
JOURNALS = WORK / "drills-journal"
"""Of the control hosts that the procedure is called from: a run that was killed is taken up by the next one."""
