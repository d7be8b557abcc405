# SPDX-License-Identifier: GPL-3.0-or-later
"""What several attempts came to."""

from __future__ import annotations

from typing import Any

from drills.drivers import read_answers
from drills.steps import FAIL_OVER, KILLED, NOTHING, REFUSE


def promoted(changed: bool = True) -> dict[str, Any]:
    return {"report": {"new_primary": "db2", "zero_loss": "proven", "changed": changed}}


def refusal(code: str = "not_enough_frozen") -> dict[str, Any]:
    return {"error": {"code": code, "message": "1 of 2", "next_step": "", "evidence": {}}}


def test_a_promotion_counts_however_many_were_killed_before_it() -> None:
    done = read_answers([{"killed": "freeze:before"}, {"killed": "term:after"}, promoted()])
    assert (done.outcome, done.promotions) == (FAIL_OVER, 1)
    assert done.said == ("killed at freeze:before", "killed at term:after", "promoted db2 (proven)")


def test_two_that_promoted_are_counted_as_two() -> None:
    assert read_answers([promoted(), promoted()]).promotions == 2
    assert read_answers([promoted(), refusal("locked")]).promotions == 1


def test_one_that_found_it_done_has_promoted_nobody() -> None:
    done = read_answers([promoted(), promoted(changed=False)])
    assert done.promotions == 1
    assert done.report["changed"], "it has no proof of its own: the one that did it has"


def test_a_refusal_brings_all_its_reasons() -> None:
    assert read_answers([refusal()]).reasons == ({"code": "not_enough_frozen", "message": "1 of 2"},)
    several = refusal()
    several["error"]["evidence"] = {"reasons": [{"code": "a"}, {"code": "b"}]}
    done = read_answers([several])
    assert done.outcome == REFUSE and [reason["code"] for reason in done.reasons] == ["a", "b"]


def test_killed_and_nothing_are_told_apart() -> None:
    assert read_answers([{"killed": "open:before"}]).outcome == KILLED
    assert read_answers([]).outcome == NOTHING
