# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a keeper's journal."""

from __future__ import annotations

import json

from benchmarks.keeper import Taking, lines, taking

VIP = "10.213.1.100"


def journal(*entries: tuple[float, str]) -> str:
    return "\n".join(
        json.dumps({"__REALTIME_TIMESTAMP": str(round(at * 1e6)), "MESSAGE": text, "_BOOT_ID": "x"})
        for at, text in entries
    )


def test_the_first_taking_counts() -> None:
    text = journal(
        (1.0, "nobody: term 4 names another primary (u)"),
        (2.0, "candidate: no heartbeat of term 5 has been acknowledged yet"),
        (2.5, f"fd00::{VIP} taken on eth0: x"),
        (2.75, f"{VIP} taken on eth0: primary of term 5, heartbeat 214 acknowledged, sent 47 ms ago"),
        (4.0, f"{VIP} let go on eth0: no commit has been acknowledged for 1.51 s"),
        (4.25, "candidate: no commit has been acknowledged"),
        (4.5, f"{VIP} taken on eth0: primary of term 5"),
    )
    assert taking(lines(text), VIP) == Taking(2.0, 2.75)


def test_never_taken() -> None:
    assert taking(lines(journal((1.0, "candidate: x"))), VIP) is None
    assert taking(lines("-- No entries --\n"), VIP) is None


def test_a_keeper_that_was_a_candidate_before() -> None:
    assert taking(lines(journal((3.0, f"{VIP} taken on eth0: x"))), VIP) == Taking(3.0, 3.0)
