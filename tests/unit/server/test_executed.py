# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until a server has executed something: as long as was said, whatever limit its statements have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.executed import executed, wait_executed


class Asked:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.sql = ""
        self.values: Sequence[Any] = ()
        self.within = 0.0

    def one(self, sql: str, values: Sequence[Any] = (), *, within: float) -> dict[str, Any]:
        self.sql, self.values, self.within = sql, values, within
        return self.answer  # type: ignore[no-any-return]


def test_what_it_has_executed() -> None:
    assert executed(Asked({"gtids": "u:1-7"}), within=3.0) == "u:1-7"  # type: ignore[arg-type]


@pytest.mark.parametrize(("late", "found"), [(0, True), (1, False), (None, False)])
def test_whether_it_has(late: Any, found: bool) -> None:
    assert wait_executed(Asked({"late": late}), "u:1-7", patience=2.0, statement=1.0) is found  # type: ignore[arg-type]


@pytest.mark.parametrize("patience", [0.0, 0.2, 95.0, 1e9])
def test_the_server_ends_it_no_sooner_than_it_was_to_wait(patience: float) -> None:
    session = Asked({"late": 0})
    wait_executed(session, "u:1-7", patience=patience, statement=30.0)  # type: ignore[arg-type]
    hint = re.search(r"MAX_EXECUTION_TIME\((\d+)\)", session.sql)
    assert hint and 1 <= int(hint[1]) < 1 << 32, "0 stands for the session's own limit"
    assert int(hint[1]) >= min(patience * 1000, (1 << 32) - 1)
    gtids, seconds = session.values
    assert gtids == "u:1-7" and seconds > 0, "0 would wait without an end"
    assert session.within == patience + 30.0
