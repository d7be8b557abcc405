"""What crash recovery did, as the server's own error log says it, and what it left of the binary log. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from drills.two_phase.binlog import Scan

# "Successfully committed 2, rolled back 4 internal transaction(s)."; either may be missing. Failures follow, if any.
_ENGINE = re.compile(r"Crash recovery finished in InnoDB engine\. (.*)")
_FAILED = "Failed to "
_COMMITTED = re.compile(r"committed (\d+)")
_ROLLED_BACK = re.compile(r"rolled back (\d+)")
_TRIMMED = re.compile(r"size is (\d+), but recovered up to (\d+)")


@dataclass(frozen=True)
class Recovered:
    """``committed``: transactions that were prepared in the engine and stood in the binary log; ``rolled_back``: that
    were prepared and did not. ``trimmed``: bytes cut off the binary log. ``failed``: what it could not do, as it says.
    """

    committed: int = 0
    rolled_back: int = 0
    trimmed: int = 0
    failed: tuple[str, ...] = ()


def read_log(text: str) -> Recovered:
    """:param text: what was written into the error log since the server was killed."""
    trims = [(int(size), int(whole)) for size, whole in _TRIMMED.findall(text)]
    lines = [line.strip() for line in _ENGINE.findall(text)]
    done = " ".join(line.partition(_FAILED)[0] for line in lines)
    return Recovered(
        sum(map(int, _COMMITTED.findall(done))),
        sum(map(int, _ROLLED_BACK.findall(done))),
        sum(size - whole for size, whole in trims),
        tuple(line for line in lines if _FAILED in line),
    )


def left_wrong(before: Mapping[str, Scan], after: Mapping[str, Scan]) -> list[str]:
    """What recovery did to the binary log files that it may not do, as sentences: it cuts off what belongs to no whole
    transaction, all of it, and nothing else.

    :param before: the files as they were when the server was dead, by name; ``after``: when it was back.
    """
    found = []
    for name, dead in sorted(before.items()):
        alive = after.get(name)
        if alive is None:
            # One that was just being made may be taken back.
            found += [f"{name} is gone"] if dead.transactions else []
        elif alive.torn:
            found.append(f"{name} ends with {alive.torn} bytes of no whole transaction after recovery")
        elif (alive.transactions, alive.last_began) != (dead.transactions, dead.last_began):
            found.append(f"{name} had {dead.transactions} whole transactions, and {alive.transactions} after recovery")
    return found
