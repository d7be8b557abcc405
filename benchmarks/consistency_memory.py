"""A process that compares one table, and says how much memory it took: ``consistency.py`` starts it.

On standard input: how to get there, as JSON. On standard output: bytes at the start and at most, and what was found. It
is the kernel's high-water mark of this program alone (VmHWM): ``getrusage`` counts the process that forked it as well.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def high_water(status: str) -> int:
    """Bytes, from the text of /proc/self/status. Pure."""
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _now() -> int:
    return high_water(Path("/proc/self/status").read_text())


def main() -> None:
    began = _now()
    asked = json.load(sys.stdin)
    # Only now: what the collection itself takes is counted.
    from benchmarks.consistency_servers import Place, Servers, compare

    with Servers(Place.of(asked["primary"]), Place.of(asked["replica"]), asked["schema"]).open() as servers:
        result = compare(servers, asked["table"], servers.replica)
    found = {"verdict": result.verdict, "rows": result.rows, "why": result.why}
    json.dump({"began": began, "most": _now(), **found}, sys.stdout)


if __name__ == "__main__":
    main()
