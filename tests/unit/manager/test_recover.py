# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery and what it tells: every way it can end is in the history, and hooks prevent only what they must."""

from __future__ import annotations

import dataclasses
import http.server
import inspect
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover import run
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.plan import EMERGENCY, PLANNED, Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.procedure import Refused, Report
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import config, glance, recover
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.config import ClusterConfig, Hook
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.history import History
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.recover import Cause, Recovery
from ansible_collections.lossless.mysql_ha.plugins.module_utils.refusal import Reason, Refusal

from .samples import cluster_file, manager_file

CAUSE = Cause("dead", ("db1 gives no answer",), "db1", "uuid-1", 2, {"uuid-2": 7}, silent=True)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    made = History(str(tmp_path / "state"))
    yield made
    made.close()


@pytest.fixture
def cluster() -> ClusterConfig:
    found = config.parse(json.dumps(manager_file(clusters=[cluster_file(hooks=None, preferred_zone="b")])))
    return found.clusters[0]


class Procedure:
    """Stands in for the failover: what it was asked, and what it ends with."""

    def __init__(self, ends: HaError | None = None, ended_elsewhere: str = "") -> None:
        self.ends = ends
        self.ended_elsewhere = ended_elsewhere
        self.asked: list[tuple[Request, str, str, str]] = []

    def __call__(self, config: ClusterConfig, request: Request, journal: str, run_id: str, silent: str) -> Report:
        self.asked.append((request, journal, run_id, silent))
        if self.ends is not None:
            raise self.ends
        report = Report(run_id, request.mode, started_at=1000.0)
        report.old_primary = "" if self.ended_elsewhere else "db1"
        report.new_primary, report.term, report.ended_elsewhere = "db2", 3, self.ended_elsewhere
        report.zero_loss, report.promoted_at, report.journal = "proven", 1001.5, f"{journal}/x"
        report.phases = [{"name": "freeze", "start_ms": 1.0, "duration_ms": 2.0}]
        return report


def refusal() -> Refused:
    reasons = (Reason("too_few_acknowledgers", "one answers", {}, "bring one back"), Reason("other", "and more"))
    return Refused(Refusal(reasons), Report("r", EMERGENCY, phases=[{"name": "observe"}]))


def test_a_promotion_is_written_down(cluster: ClusterConfig, history: History) -> None:
    do = Procedure()
    entry = Recovery(cluster, history, "/journal", do=do).automatic(CAUSE, last_good=999.0)
    assert history.entries() == [entry]
    assert (entry["outcome"], entry["new_primary"], entry["term"], entry["zero_loss"]) == (
        "promoted",
        "db2",
        3,
        "proven",
    )
    assert (entry["outage_ms"], entry["verdict"], entry["run_id"]) == (2500.0, "dead", entry["id"])
    ((request, journal, run_id, silent),) = do.asked
    assert (request.mode, request.never, request.quiet, request.cut) == (EMERGENCY, ("db3",), {"uuid-2": 7}, False)
    assert (request.accept_data_loss, request.primary) == ("", "auto"), "it accepts no loss by itself"
    assert (journal, run_id, silent) == ("/journal", entry["id"], "db1")
    assert "canary" not in json.dumps(entry)


def test_a_cut_is_not_silent(cluster: ClusterConfig, history: History) -> None:
    do = Procedure()
    Recovery(cluster, history, "/journal", do=do).automatic(dataclasses.replace(CAUSE, silent=False, cut=True))
    assert do.asked[0][0].cut and do.asked[0][3] == ""


@pytest.mark.parametrize(
    ("ends", "outcome", "codes"),
    [
        (refusal(), "refused", ["too_few_acknowledgers", "other"]),
        (HaError("lock_lost", "gone", next_step="again"), "failed", ["lock_lost"]),
    ],
)
def test_how_else_it_ends_is_written_down(
    cluster: ClusterConfig, history: History, ends: HaError, outcome: str, codes: list[str]
) -> None:
    entry = Recovery(cluster, history, "/journal", do=Procedure(ends)).automatic(CAUSE)
    assert history.entries() == [entry]
    assert (entry["outcome"], entry["codes"]) == (outcome, codes)
    assert entry["refusal"] and entry["next_step"] and entry["ended_at"] >= entry["at"]
    (attempt,) = history.attempts("ledger")
    assert (attempt.old_primary_uuid, attempt.term, attempt.codes) == ("uuid-1", 2, tuple(codes))


def test_what_another_manager_has_ended_is_no_refusal_and_nobody_is_told(
    cluster: ClusterConfig, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(recover, "_tell", lambda hook, _facts: told.append(hook.name) or "")
    hooked = with_hooks(cluster, [], [Hook("after", run=("/bin/true",))])
    recovery = Recovery(hooked, history, "/journal", do=Procedure(ended_elsewhere="run-a"))
    entry = recovery.automatic(CAUSE)
    recovery.tell()
    assert (entry["outcome"], entry["new_primary"], entry["old_primary"]) == ("superseded", "db2", CAUSE.old_primary)
    assert (entry["refusal"], entry["codes"], told) == ([], [], [])
    assert not glance.is_open(entry)
    assert glance.result_said(entry) == "nothing left to do: another manager ended it"
    mutant = Recovery(hooked, history, "/journal", do=Procedure())
    assert glance.is_open(mutant.automatic(CAUSE))
    mutant.tell()
    assert told == ["after"]


def test_what_can_not_be_written_down_is_not_done(
    cluster: ClusterConfig, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: Any) -> None:
        raise HaError("history_unwritable", "full")

    monkeypatch.setattr(history, "begin", full)
    do = Procedure()
    entry = Recovery(cluster, history, "/journal", do=do).automatic(CAUSE)
    assert do.asked == [] and entry["outcome"] == "failed" and entry["codes"] == ["history_unwritable"]


def test_a_switchover_says_who_asked_and_raises_its_refusal(cluster: ClusterConfig, history: History) -> None:
    do = Procedure()
    entry = Recovery(cluster, history, "/journal", do=do).switchover("db2", "ann", CAUSE)
    assert (entry["trigger"], entry["outcome"], entry["reasons"]) == ("switchover", "promoted", ["asked for by ann"])
    assert (do.asked[0][0].mode, do.asked[0][0].primary) == (PLANNED, "db2")
    with pytest.raises(Refused):
        Recovery(cluster, history, "/journal", do=Procedure(refusal())).switchover("auto", "ann", CAUSE)
    assert history.entries()[0]["outcome"] == "refused"


def test_a_dry_run_is_only_said(cluster: ClusterConfig, history: History) -> None:
    said = recover.say(history, cluster, CAUSE, 5.0)
    assert history.entries() == [said] and (said["outcome"], said["ended_at"]) == ("would_act", 5.0)


# --- hooks -----------------------------------------------------------------------------------------------------------
def with_hooks(cluster: ClusterConfig, before: list[Hook], after: list[Hook]) -> ClusterConfig:
    return dataclasses.replace(cluster, before=tuple(before), after=tuple(after))


def script(place: Path, name: str, body: str) -> tuple[str, ...]:
    path = place / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return (str(path), "an argument; with $(no) meaning")


def test_programs_find_the_facts_in_their_environment_and_nothing_else(
    cluster: ClusterConfig, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "of the manager's own environment")
    told = tmp_path / "told"
    before = Hook("before", script(tmp_path, "one", f'env > {told}.before; printf %s "$1" > {told}.argument'))
    after = Hook("after", script(tmp_path, "two", f"env > {told}.after"))
    recovery = Recovery(with_hooks(cluster, [before], [after]), history, "/journal", do=Procedure())
    recovery.automatic(CAUSE)
    assert not Path(f"{told}.after").exists(), "those after a recovery are told apart"
    recovery.tell()
    first, last = Path(f"{told}.before").read_text(), Path(f"{told}.after").read_text()
    assert "LOSSLESS_MYSQL_HA_CLUSTER=ledger" in first and "LOSSLESS_MYSQL_HA_NEW_PRIMARY=\n" in first
    assert "LOSSLESS_MYSQL_HA_NEW_PRIMARY=db2" in last and "LOSSLESS_MYSQL_HA_OUTCOME=promoted" in last
    assert "CANARY" not in first and "canary" not in first + last
    assert Path(f"{told}.argument").read_text() == "an argument; with $(no) meaning"
    assert [(h["name"], h["when"], h["ok"]) for h in history.entries()[0]["hooks"]] == [
        ("before", "before", True),
        ("after", "after", True),
    ]


@pytest.mark.parametrize("must", [True, False])
@pytest.mark.parametrize(
    ("body", "says"),
    [("echo no; exit 3", "ended with 3: no"), ("sleep 30 & sleep 30", "did not end within")],
)
def test_a_hook_that_fails_prevents_only_what_it_must(
    cluster: ClusterConfig, history: History, tmp_path: Path, must: bool, body: str, says: str
) -> None:
    hook = Hook("veto", script(tmp_path, "veto", body), timeout=0.3, must_succeed=must)
    do = Procedure()
    began = time.monotonic()
    entry = Recovery(with_hooks(cluster, [hook], []), history, "/journal", do=do).automatic(CAUSE)
    assert time.monotonic() - began < 10
    assert bool(do.asked) != must
    assert entry["outcome"] == ("refused" if must else "promoted")
    assert says in entry["hooks"][0]["message"]
    if must:
        assert entry["codes"] == ["hook_failed"]


def test_a_program_that_is_not_there_is_a_failure(cluster: ClusterConfig, history: History) -> None:
    hook = Hook("gone", ("/no/such/program",))
    entry = Recovery(with_hooks(cluster, [hook], []), history, "/journal", do=Procedure()).automatic(CAUSE)
    assert entry["outcome"] == "promoted" and not entry["hooks"][0]["ok"]


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[Any], Callable[[int], None]]]:
    got: list[Any] = []
    status = [204]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.headers["Content-Type"], json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            return

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/canary-path", got, lambda number: status.__setitem__(0, number)
    server.shutdown()
    server.server_close()


def test_addresses_receive_json(cluster: ClusterConfig, history: History, receiver: Any) -> None:
    url, got, set_status = receiver
    recovery = Recovery(with_hooks(cluster, [], [Hook("awx", url=url)]), history, "/journal", do=Procedure())
    recovery.automatic(CAUSE)
    recovery.tell()
    ((kind, facts),) = got
    assert kind == "application/json"
    assert (facts["when"], facts["cluster"], facts["new_primary"]) == ("after", "ledger", "db2")
    set_status(500)
    recovery = Recovery(with_hooks(cluster, [], [Hook("awx", url=url)]), history, "/journal", do=Procedure(refusal()))
    recovery.automatic(CAUSE)
    recovery.tell()
    hook = history.entries()[0]["hooks"][0]
    assert (hook["ok"], hook["message"]) == (False, "answered 500")
    assert got[1][1]["outcome"] == "refused"


def test_a_refusal_that_repeats_itself_is_told_once(cluster: ClusterConfig, history: History, receiver: Any) -> None:
    url, got, _set_status = receiver
    config = with_hooks(cluster, [], [Hook("awx", url=url)])
    locked = HaError("locked", "by another")
    for ends in (refusal(), refusal(), refusal(), locked, refusal(), None, None):
        recovery = Recovery(config, history, "/journal", do=Procedure(ends))
        recovery.automatic(CAUSE)
        recovery.tell()
    assert [facts["outcome"] for _kind, facts in got] == ["refused", "refused", "promoted", "promoted"]


def test_the_failover_is_called_as_it_wants_to_be(cluster: ClusterConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = inspect.signature(run.fail_over)
    called: list[Any] = []
    monkeypatch.setattr(recover, "fail_over", lambda *a, **k: called.append(wanted.bind(*a, **k).arguments))
    recover.by_procedure(cluster, recover.request_for(cluster, CAUSE), "/journal", "run-1", "db1")
    (given,) = called
    assert (given["cluster"], given["journal_directory"], given["run_id"]) == ("ledger", "/journal", "run-1")
    assert (given["silent"], given["login"], given["replication"]) == ("db1", cluster.login, cluster.replication)
    assert {m.name: m.priority for m in given["members"]}["db2"] > 200, "without the preferred zone"


def test_an_address_where_nobody_is_costs_nothing_but_a_line(cluster: ClusterConfig, history: History) -> None:
    hook = Hook("awx", url="http://127.0.0.1:1/canary-path", timeout=1.0)
    recovery = Recovery(with_hooks(cluster, [], [hook]), history, "/journal", do=Procedure())
    assert recovery.automatic(CAUSE)["outcome"] == "promoted"
    recovery.tell()
    said = history.entries()[0]["hooks"][0]
    assert not said["ok"] and said["message"] and "canary" not in said["message"]
