# SPDX-License-Identifier: GPL-3.0-or-later
"""Which benchmarks are carried out, and how often."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import BENCHMARKS, chosen, main


def test_a_name_gets_what_was_asked_for() -> None:
    assert chosen(["group_replication", "manager_failover"], 20) == {"group_replication": 20, "manager_failover": 20}


def test_without_a_name_what_takes_long_is_short_or_left_out() -> None:
    found = chosen([], 20)
    assert "group_replication" not in found
    assert (found["manager_failover"], found["emergency_failover"], found["manager_clusters"]) == (3, 20, 1)
    assert set(found) | {"group_replication"} == set(BENCHMARKS)
    assert set(chosen([], 1).values()) == {1}


def test_those_that_fail_over_by_themselves_keep_the_manager_out() -> None:
    alone = {name for name, entry in BENCHMARKS.items() if entry.alone}
    assert alone == {"emergency_failover", "planned_switchover", "price_of_safety"}


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["manager_failure"])
    assert "there is no manager_failure" in capsys.readouterr().err
