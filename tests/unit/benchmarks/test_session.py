# SPDX-License-Identifier: GPL-3.0-or-later
"""A session that is interrupted: one line, and everything put back before it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import session
from benchmarks.errors import BenchmarkError
from benchmarks.group_replication import GroupOutages
from benchmarks.manager_failover import KINDS, Outages
from benchmarks.result import Result
from tests.unit.benchmarks.test_manager_failover import Stage


class Cluster:
    """Is whole until something is measured on it, and after it was mended."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.hosts = self

    def heal(self) -> None:
        self.did.append("heal")

    def mend(self) -> None:
        self.did.append("mend")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    found = Cluster()
    monkeypatch.setattr(session.Cluster, "open", lambda: found)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    # Whoever started the tests in the background may have made them deaf to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_session_heals_mends_and_says_one_line(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    def benchmark(_cluster: Any) -> Iterator[Result]:
        os.kill(os.getpid(), number)
        yield from ()

    assert session.hold([benchmark]) == 130
    assert cluster.did == ["heal", "mend"]
    said = "".join(capsys.readouterr()).splitlines()
    assert len(said) == 1 and "interrupted; everything was put back" in said[0]


def test_a_session_that_ends_by_itself_heals_nothing(cluster: Cluster) -> None:
    assert session.hold([lambda _cluster: []]) == 0
    assert cluster.did == ["mend"]


def test_results_are_there_while_the_cluster_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    stage: Any = Stage(monkeypatch)
    outages, group = Outages(stage, 1, KINDS), GroupOutages(stage, stage, 1)

    def broken(_self: Any) -> Any:
        raise BenchmarkError("the cluster is lost")

    monkeypatch.setattr(Stage, "primary", broken)
    assert {result.server_version for result in [*outages.results(), *group.results()]} == {"9.7.4"}
