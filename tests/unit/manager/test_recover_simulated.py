# SPDX-License-Identifier: GPL-3.0-or-later
"""The manager's recovery on a simulated cluster: killed at every boundary and started again, it converges."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.journal import Journal
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.plan import Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.procedure import Procedure, Report
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import config, policy
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.config import ClusterConfig
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.history import History
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.recover import Cause, Recovery
from ansible_collections.lossless.mysql_ha.tests.unit.failover.simulated import Cluster, Hands, Killed
from ansible_collections.lossless.mysql_ha.tests.unit.failover.test_procedure import (
    after_crash,
    after_replication_cut,
    check,
    check_cut,
    everybody_commits,
)

from .samples import cluster_file, manager_file

RUNS = iter(range(10**9))


def on(cluster: Cluster, **hands: Any) -> Callable[..., Report]:
    """The real procedure, with a simulated cluster behind its verbs."""

    def do(config: ClusterConfig, request: Request, journal: str, run_id: str, silent: str) -> Report:
        made = Hands(cluster, **hands)
        do.boundaries = made  # type: ignore[attr-defined]
        kept = Journal(journal, "ledger", f"run-{next(RUNS):09d}")
        return Procedure(made, cluster.members, request, kept).run()

    return do


@pytest.fixture
def settings() -> ClusterConfig:
    return config.parse(json.dumps(manager_file(clusters=[cluster_file(hooks=None)]))).clusters[0]


@pytest.mark.parametrize("what", ["crash", "replication cut"])
def test_a_manager_that_is_killed_anywhere_and_started_again_converges(
    tmp_path: Path, settings: ClusterConfig, what: str
) -> None:
    cut = what != "crash"
    make = after_replication_cut if cut else after_crash
    cause = Cause("replication_cut" if cut else "dead", ("x",), "db1", "uuid", 1, silent=not cut, cut=cut)
    counting = on(make())
    history = History(str(tmp_path / "count"))
    assert Recovery(settings, history, str(tmp_path / "j"), do=counting).automatic(cause)["outcome"] == "promoted"
    history.close()
    count = counting.boundaries.boundaries  # type: ignore[attr-defined]
    assert count > 10
    for place in range(count):
        cluster = make()
        state, journal = str(tmp_path / f"s{place}"), str(tmp_path / f"j{place}")
        history = History(state)
        with pytest.raises(Killed):
            do = on(cluster, kill_at=place, adversary=everybody_commits)
            Recovery(settings, history, journal, do=do).automatic(cause)
        assert history.entries()[0]["outcome"] == policy.RUNNING
        history.close()
        history = History(state)
        (interrupted,) = history.close_interrupted()
        assert interrupted["codes"] == ["interrupted"]
        entry = Recovery(settings, history, journal, do=on(cluster, adversary=everybody_commits)).automatic(cause)
        assert entry["outcome"] == "promoted" and entry["zero_loss"] == "proven", entry["refusal"]
        (check_cut if cut else check)(cluster, entry["new_primary"])
        history.close()
