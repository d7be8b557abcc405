# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults, their targets, one run of it and the way back; on a cluster that is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.procedure import Report

from benchmarks import manager_failover
from benchmarks.errors import BenchmarkError
from benchmarks.keeper import Taking
from benchmarks.manager_failover import KINDS, Outages


def test_targets_are_those_that_were_asked_for() -> None:
    assert {kind.name: (kind.median, kind.p90, kind.unit) for kind in KINDS} == {
        "manager_kill": (0.7, 1.2, "s"),
        "manager_host_gone": (3.0, 4.0, "s"),
        "manager_hang": (3.0, 4.0, "s"),
        "manager_isolated": (3.0, 4.0, "s"),
        "manager_replication_cut": (6.0, 8.0, "s"),
        "manager_switchover": (None, 150.0, "ms"),
    }


def test_of_a_host_that_is_gone_nothing_comes_any_more() -> None:
    gone = next(kind for kind in KINDS if kind.name == "manager_host_gone")
    assert gone.faults == ("isolate_all", "host_gone")


class Stage:
    """Hosts, cluster, manager and writer in one; ``did`` in order. Acknowledgements at 10 (old) and 10.4 (new)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.did: list[str] = []
        self.outcomes = ["promoted"]
        self.silent = False
        self.access = SimpleNamespace(cluster="lab")
        self.hosts: Any = self
        for name in ("Manager", "Writer"):
            monkeypatch.setattr(manager_failover, name, lambda *_rest, **_more: self)
        monkeypatch.setattr(manager_failover, "MOMENT", 0.0)

    # cluster
    def primary(self) -> Any:
        return SimpleNamespace(name="db1", server_uuid="old", version="9.7.4")

    def mend(self) -> None:
        self.did.append("mend")

    def address_taking(self, name: str, since: float) -> Taking:
        assert (name, since) == ("db2", 1010.1)
        return Taking(1010.25, 1010.3)

    # hosts
    def network_of(self, name: str) -> tuple[str, ...]:
        return (name,)

    def inject(self, name: str, fault: str) -> None:
        self.did.append(f"{fault} on {name}")

    def heal(self, name: str | None, fault: str) -> None:
        self.did.append(f"heal {fault} on {name or 'all'}")

    def kill(self, name: str) -> None:
        self.did.append(f"kill {name}")

    def runs(self, _name: str) -> bool:
        return True

    mysqld_runs = runs

    # manager
    def ready(self, primary: str) -> None:
        self.did.append(f"ready {primary}")

    def history(self) -> list[dict[str, str]]:
        return [{"id": "before"}]

    def ask(self, *command: str) -> None:
        self.did.append(" ".join(command))

    def since(self, known: list[str]) -> list[dict[str, Any]]:
        assert known == ["before"]
        entry = {"verdict": "dead", "refusal": ["too few"], "at": 1010.1, "ended_at": 1010.5}
        return [{**entry, "outcome": outcome} for outcome in self.outcomes]

    def report(self, _entry: Any) -> Report:
        return Report("run", "emergency", 1010.1, new_primary="db2", zero_loss="proven", promoted_at=1010.2)

    # writer
    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.did.append("end")

    def wait(self, _uuid: str, _count: int, _within: float) -> None: ...

    def acknowledged(self, _uuid: str) -> list[dict[str, float]]:
        return [{"ended": 9.0, "ended_wall": 1009.0}, {"ended": 10.0, "ended_wall": 1010.0}]

    def wait_elsewhere(self, uuid: str, _count: int, _within: float) -> list[dict[str, float]]:
        if self.silent:
            raise BenchmarkError("0 of 20 transactions")
        assert uuid == "old"
        return [{"ended": 10.4, "ended_wall": 1010.4}]


def kind_of(name: str) -> Any:
    return next(kind for kind in KINDS if kind.name == name)


def results(stage: Stage, name: str) -> Any:
    outages = Outages(stage, 1, [kind_of(name)])  # type: ignore[arg-type]
    outages.take(kind_of(name))
    return outages.results()[0]


def test_from_the_last_of_the_old_to_the_first_of_the_new_and_the_parts_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    result = results(stage, "manager_hang")
    assert result.series.samples == pytest.approx((0.4,))
    parts = ("verdict", "promoted", "noticed", "address", "client")
    assert sum(result.phases[name].samples[0] for name in parts) == pytest.approx(400, abs=0.01)
    assert result.notes == []


def test_the_deposed_primary_is_killed_before_anything_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    results(stage, "manager_isolated")
    assert stage.did == [
        "ready db1",
        "isolate_all on db1",
        "kill db1",
        "heal isolate_all on db1",
        "end",
        "heal isolate_all on all",
        "mend",
    ]


def test_a_switchover_is_asked_for_by_command_and_nobody_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    result = results(stage, "manager_switchover")
    assert result.series.samples == pytest.approx((400,)) and "verdict" not in result.phases
    assert stage.did == ["ready db1", "switchover lab --by benchmarks", "end", "mend"]


def test_what_was_refused_before_it_was_done_is_in_the_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.outcomes = ["refused", "promoted"]
    assert "refused after dead: ['too few']" in results(stage, "manager_hang").notes[0]


@pytest.mark.parametrize(("outcomes", "said"), [(["refused"], "0 promotions"), (["promoted"] * 2, "2 promotions")])
def test_anything_but_one_promotion_is_no_sample(
    monkeypatch: pytest.MonkeyPatch, outcomes: list[str], said: str
) -> None:
    stage = Stage(monkeypatch)
    stage.outcomes = outcomes
    with pytest.raises(BenchmarkError, match=said):
        results(stage, "manager_hang")


def test_a_failover_that_does_not_come_is_told_with_what_the_manager_did(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.silent, stage.outcomes = True, ["refused"]
    with pytest.raises(BenchmarkError, match=r"0 of 20 transactions; the manager: refused after dead"):
        results(stage, "manager_hang")
    assert stage.did[-2:] == ["heal hang on all", "mend"]
