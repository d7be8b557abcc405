# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples as they come; what failed is said and tried again, and does not go on for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from benchmarks.collected import Collected, told_at_the_end
from benchmarks.errors import BenchmarkError
from lab.errors import LabError


def outcomes(*values: float | Exception) -> Callable[[], tuple[float, str]]:
    left: Iterator[float | Exception] = iter(values)

    def once() -> tuple[float, str]:
        value = next(left)
        if isinstance(value, Exception):
            raise value
        return value, "said"

    return once


def test_a_failure_is_noted_and_the_sample_taken_again() -> None:
    one, whole = Collected("manager_kill", "s", 20), []
    once = outcomes(0.4, BenchmarkError("refused"), 0.6)
    for _number in range(2):
        one.take(once, lambda: whole.append(True))
    assert (one.samples, one.notes, len(one.conditions)) == ([0.4, 0.6], ["not counted: refused"], 2)
    assert len(whole) == 3


def test_more_than_a_quarter_of_failures_ends_it() -> None:
    one = Collected("manager_kill", "s", 4)
    with pytest.raises(LabError, match="second"):
        one.take(outcomes(BenchmarkError("first"), LabError("second"), 0.1), lambda: None)
    assert one.failures == 2 and not one.samples


def test_a_cluster_that_does_not_become_whole_costs_the_sample() -> None:
    one = Collected("manager_kill", "s", 8)
    trouble: list[Exception] = [BenchmarkError("not lossless")]

    def whole() -> None:
        if trouble:
            raise trouble.pop()

    one.take(outcomes(0.1, 0.2), whole)
    assert one.samples == [0.2]


@pytest.mark.parametrize("whole", [None, LabError("the fault could not be healed")])
def test_an_interruption_ends_it_after_everything_was_put_back_and_is_no_failed_sample(whole: Exception | None) -> None:
    one, done = Collected("manager_kill", "s", 8), []

    def interrupted() -> tuple[float, str]:
        raise KeyboardInterrupt

    def afterwards() -> None:
        done.append("afterwards")
        if whole:
            raise whole

    with pytest.raises(KeyboardInterrupt):
        one.take(interrupted, afterwards)
    assert (done, one.failures, one.notes) == (["afterwards"], 0, [])


def test_both_targets_count() -> None:
    one = Collected("manager_kill", "s", 2, target=1.2, target_median=0.7)
    one.samples += [0.8, 0.9]
    assert one.result("9.7.4").met is False
    one.samples[:] = [0.6, 1.1, 0.6]
    assert one.result("9.7.4").met is True
    one.samples[:] = [0.6, 1.3, 0.6]
    assert one.result("9.7.4").met is False


@pytest.mark.parametrize("trouble", [BenchmarkError("no more"), KeyboardInterrupt()])
def test_trouble_is_kept_until_what_there_is_was_written(trouble: BaseException) -> None:
    with told_at_the_end() as troubles:
        raise trouble
    assert troubles == [trouble]
    with told_at_the_end() as troubles:
        pass
    assert troubles == []


def test_an_interruption_is_not_said_as_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    with told_at_the_end():
        raise KeyboardInterrupt
    assert "KeyboardInterrupt" not in "".join(capsys.readouterr())
    with told_at_the_end():
        raise BenchmarkError("no more")
    assert "no more" in "".join(capsys.readouterr())
