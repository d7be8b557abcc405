# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the effects can be seen without a server."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.hands import (
    SILENT_SECONDS,
    Hands,
    ReplicationLogin,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    TIMED_OUT,
    Member,
    NoAnswer,
    Observation,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.observe import Members

MEMBERS = tuple(Member(f"db{n}", f"10.0.0.{n}") for n in (1, 2, 3))


class Asked:
    """Stands in for ``Members``: who was asked, and for how long."""

    members = MEMBERS

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], float]] = []
        self._lock = threading.Lock()

    def observe(self, names: Sequence[str], *, within: float) -> Observation:
        with self._lock:
            self.asked.append((tuple(names), within))
        answers: dict[str, Any] = {name: NoAnswer(name, TIMED_OUT, "no answer") for name in names}
        return Observation(tuple(m for m in MEMBERS if m.name in names), answers)


def look(silent: str, names: Sequence[str] | None = None) -> tuple[Observation, list[tuple[tuple[str, ...], float]]]:
    asked = Asked()
    hands = Hands(cast(Members, asked), "ledger", ReplicationLogin("r", ""), deadline=1.5, silent=silent)
    return hands.observe(names), sorted(asked.asked)


def test_who_is_silent_is_asked_and_not_waited_for() -> None:
    seen, asked = look("db2")
    assert asked == [(("db1", "db3"), 1.5), (("db2",), SILENT_SECONDS)]
    assert [m.name for m in seen.members] == ["db1", "db2", "db3"] and set(seen.answers) == {"db1", "db2", "db3"}


def test_where_nobody_is_silent_everybody_is_asked_alike() -> None:
    assert look("")[1] == [(("db1", "db2", "db3"), 1.5)]
    assert look("db2", ["db1", "db3"])[1] == [(("db1", "db3"), 1.5)]
