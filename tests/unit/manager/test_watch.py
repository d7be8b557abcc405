# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop, with peers on loopback and a failover that only says that it was called."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.hands import ReplicationLogin
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.journal import Journal
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.plan import EMERGENCY, Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.procedure import Report
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import board, desk, service, watch
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.config import ClusterConfig, Config, Hook
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.history import History
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.policy import Rules, Window
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.verdict import Timing
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.watch import Manager
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member
from ansible_collections.lossless.mysql_ha.tests.unit.topology import situations

from .peer import Peer, columns, uuid_of
from .samples import manager_file

PATIENCE = 15.0
ROOT = Path(__file__).resolve().parents[3]

# A machine that does other things: what is late here is more generous than the defaults.
TIMING = Timing(late=5.0)


class Failover:
    """Called instead of the procedure. ``promote``: another server becomes primary in the peers' term."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.calls: list[tuple[float, Request, str]] = []
        self.ends: BaseException | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, config: ClusterConfig, request: Request, journal: str, run_id: str, silent: str) -> Report:
        self.calls.append((time.monotonic(), request, silent))
        assert self.go_on.wait(PATIENCE)
        if self.ends is not None:
            raise self.ends
        report = Report(run_id, request.mode, started_at=time.time())
        report.old_primary, report.new_primary, report.term = "db1", "db2", 3
        report.zero_loss, report.promoted_at = "proven", time.time()
        if request.mode == EMERGENCY:
            self.site.promote(2)
        return report


class Site:
    """One cluster of three peers, and its manager in a thread."""

    def __init__(self, place: Path, *, timing: Timing = TIMING, **rules: Any) -> None:
        self.place = place
        self.timing = timing
        self.peers = {n: Peer(columns(n)) for n in (1, 2, 3)}
        self.lines: list[str] = []
        self.failover = Failover(self)
        self.beat = 17
        self.beating = True
        self._end = threading.Event()
        self.config = Config(
            clusters=(self.cluster(**rules),),
            state_directory=str(place / "state"),
            journal_directory=str(place / "journal"),
        )
        self.manager: Manager
        self.history: History
        threading.Thread(target=self._heart, daemon=True).start()

    def cluster(self, name: str = "ledger", **rules: Any) -> ClusterConfig:
        members = tuple(Member(f"db{n}", "127.0.0.1", p.port, zone=f"z{n}") for n, p in self.peers.items())
        login, replication = Login("manager", "canary"), ReplicationLogin("repl_", "canary")
        return ClusterConfig(name, members, login, replication, timing=self.timing, rules=Rules(**rules))

    def _heart(self) -> None:
        """The heartbeat row advances and is received, while the primary lives and may."""
        while not self._end.wait(0.1):
            if self.beating:
                self.beat += 1
                for peer in self.peers.values():
                    peer.columns = {**peer.columns, "beat_sequence": str(self.beat), "relay_bytes": str(self.beat)}

    def change(self, number: int, **changes: str | None) -> None:
        self.peers[number].columns = {**self.peers[number].columns, **changes}

    def promote(self, number: int) -> None:
        for n, peer in self.peers.items():
            peer.columns = columns(n, primary=number, revision="4", term="3", beat_term="3")
        self.beating = True

    def kill(self) -> float:
        """mysqld of the primary is killed, and its replicas notice."""
        self.beating = False
        self.peers[1].close()
        for number in (2, 3):
            self.change(number, receiver="CONNECTING")
        return time.monotonic()

    def start(self) -> None:
        self.history = History(self.config.state_directory)
        self.manager = Manager(self.config, self.history, self._say, do=self.failover)
        self._thread = threading.Thread(target=self.manager.run, daemon=True)
        self._thread.start()

    def _say(self, priority: int, text: str) -> None:
        self.lines.append(f"<{priority}>{text}")

    def stop(self) -> None:
        self.manager.stop()
        self._thread.join(PATIENCE)
        self.manager.close()
        self.history.close()

    def end(self) -> None:
        self._end.set()
        if hasattr(self, "manager"):
            self.stop()
        for peer in self.peers.values():
            peer.close()

    def status(self) -> dict[str, Any]:
        return dict(self.manager.status()["clusters"]["ledger"])

    def until(self, done: Callable[[], Any], what: str) -> Any:
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            found = done()
            if found:
                return found
            time.sleep(0.005)
        raise AssertionError(f"{what}: not within {PATIENCE} s; {self.status()}; {self.lines}")

    def verdict(self, wanted: str) -> None:
        self.until(lambda: self.status()["verdict"] == wanted, wanted)

    def all_well(self) -> None:
        """Everybody has answered in one look, so it is known whose receivers were on the primary."""
        self.verdict("healthy")
        self.until(lambda: {m["answer"] for m in self.status()["members"].values()} == {"ok"}, "all answers")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.end()


def test_a_crash_wakes_the_manager_long_before_the_next_tick(tmp_path: Path) -> None:
    site = Site(tmp_path, timing=Timing(tick=10.0, silence=40.0, stall=40.0, late=5.0))
    try:
        site.start()
        site.all_well()
        # Attempts at a member are at least a second apart, and the first one was a moment ago.
        time.sleep(1.1)
        began = site.kill()
        site.until(lambda: site.failover.calls, "the failover")
        assert site.failover.calls[0][0] - began < 5.0, (
            "no faster than the next tick: the broken connection woke nobody"
        )
    finally:
        site.end()


def test_a_crash_is_acted_on_once(site: Site) -> None:
    site.start()
    site.all_well()
    site.kill()
    site.until(lambda: site.failover.calls, "the failover")
    _at, request, silent = site.failover.calls[0]
    assert (request.mode, silent, request.cut) == (EMERGENCY, "db1", False)
    site.until(lambda: site.manager.recoveries("ledger")[0]["outcome"] == "promoted", "its end")
    site.verdict("healthy")
    entry = site.manager.recoveries("ledger")[0]
    assert (entry["outcome"], entry["verdict"], entry["old_primary"], entry["new_primary"]) == (
        "promoted",
        "dead",
        "db1",
        "db2",
    )
    assert entry["outage_ms"] > 0
    time.sleep(0.7)
    assert len(site.failover.calls) == 1
    assert site.status()["primary"] == "db2" and site.status()["term"] == 3
    assert any("ledger: dead: db1 gives no answer (refused)" in line for line in site.lines), site.lines
    assert "canary" not in "".join(site.lines) + json.dumps(site.manager.status()) + json.dumps(entry)


def test_a_hang_is_acted_on_after_the_silence_with_what_was_heard(site: Site) -> None:
    site.start()
    site.all_well()
    site.beating = False
    site.peers[1].hold()
    began = time.monotonic()
    site.until(lambda: site.failover.calls, "the failover")
    at, request, silent = site.failover.calls[0]
    assert 1.8 < at - began < 6.0
    assert request.quiet == {uuid_of(2): 5, uuid_of(3): 5} and silent == "db1"


def test_a_cut_replication_is_acted_on_without_waiting_for_the_primary(site: Site) -> None:
    site.start()
    site.all_well()
    site.beating = False
    for number in (2, 3):
        site.change(number, receiver="CONNECTING")
    site.until(lambda: site.failover.calls, "the failover")
    _at, request, silent = site.failover.calls[0]
    assert request.cut and silent == ""


def test_paused_it_holds_and_says_why_and_resumed_it_acts(site: Site) -> None:
    site.start()
    site.all_well()
    site.manager.pause("", "ann", "upgrade", None)
    site.kill()
    site.until(lambda: site.status()["action"] == "held", "held")
    status = site.status()
    assert status["held_by"] == ["paused by ann: upgrade"] and status["paused"]["by"] == "ann"
    time.sleep(0.7)
    assert site.failover.calls == []
    site.manager.resume("ledger", "ann")
    site.until(lambda: site.failover.calls, "the failover")


def test_a_dry_run_says_it_once(tmp_path: Path) -> None:
    site = Site(tmp_path, dry_run=True)
    try:
        site.start()
        site.all_well()
        site.kill()
        entry = site.until(site.manager.recoveries, "an entry")[0]
        time.sleep(1.2)
        assert entry["outcome"] == "would_act" and len(site.manager.recoveries()) == 1
        assert site.failover.calls == []
    finally:
        site.end()


def test_what_can_not_be_written_down_is_not_done(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.start()
    site.all_well()
    site.history.unwritable = "no space"
    monkeypatch.setattr(site.history, "writable", lambda: False)
    site.kill()
    site.until(lambda: site.status()["action"] == "held", "held")
    assert "no space" in site.status()["held_by"][0]
    time.sleep(0.7)
    assert site.failover.calls == []


def test_an_interrupted_recovery_is_taken_up_at_the_next_start(site: Site) -> None:
    site.start()
    site.all_well()
    site.failover.go_on.clear()
    site.kill()
    site.until(lambda: site.failover.calls, "the failover")
    running = site.manager.recoveries()[0]
    assert running["outcome"] == "running" and site.status()["action"] == "acting"
    # As if it had been killed: the history keeps what was written, and nobody ends the entry.
    text = Path(site.history.path).read_text()
    site.failover.ends = HaError("killed", "as far as this test goes")
    site.failover.go_on.set()
    site.stop()
    Path(site.history.path).write_text(text)
    site.failover.ends = None
    site.failover.calls.clear()
    site.start()
    site.until(lambda: site.failover.calls, "the failover")
    site.until(lambda: site.manager.recoveries()[0]["outcome"] == "promoted", "its end")
    first, second = site.manager.recoveries()[1], site.manager.recoveries()[0]
    assert (first["id"], first["outcome"], first["codes"]) == (running["id"], "failed", ["interrupted"])
    assert running["id"] in second["reasons"][0]
    time.sleep(0.7)
    assert len(site.failover.calls) == 1


def leave_journal(site: Site, run_id: str = "run-1", alive: bool = False) -> Journal:
    """A module's run on this host that was killed, a while ago: it had frozen two receivers."""
    journal = Journal(site.config.journal_directory, "ledger", run_id)
    journal.acquire()
    journal.write("begin", request={}, old_primary="db1")
    journal.write("freeze", names=["db2", "db3"], old_primary="db1")
    if not alive:
        journal.release()
    os.utime(journal.path, (0, time.time() - 60))
    return journal


def test_a_run_of_a_module_that_was_interrupted_is_taken_up_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JOURNALS_EVERY", "JOURNALS_EVERY_WHEN_ILL"):
        monkeypatch.setattr(watch, name, 0.1)
    left = leave_journal(site)
    site.change(1, read_only="1")
    site.start()
    site.until(lambda: site.failover.calls, "the recovery")
    taken = site.until(lambda: [r for r in site.manager.recoveries() if r["ended_at"]], "its end")[0]
    assert left.run_id in taken["reasons"][0] and taken["old_primary"] == "db1"
    assert site.failover.calls[0][1].mode == EMERGENCY
    site.verdict("healthy")
    time.sleep(1.5)
    # The pretended failover leaves the journal as it is; a real one that was refused does, too.
    assert len(site.failover.calls) == 1


def test_a_cluster_that_looks_well_is_looked_at_too(site: Site) -> None:
    leave_journal(site)
    site.start()
    site.until(lambda: site.failover.calls, "the recovery")


@pytest.mark.parametrize("why", ["alive", "ended", "paused", "paused and run again", "another cluster", "cut off"])
def test_what_is_not_taken_up(site: Site, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "JOURNALS_EVERY_WHEN_ILL", 0.1)
    if why == "cut off":
        for number in (1, 2, 3):
            site.peers[number].close()
    else:
        site.change(1, read_only="1")
    journal = leave_journal(site, alive=why == "alive")
    if why == "ended":
        Path(journal.path).write_text('{"what": "end"}\n')
        os.utime(journal.path, (0, 0))
    elif why == "another cluster":
        os.rename(journal.directory, f"{journal.directory}-2")
    site.start()
    if why.startswith("paused"):
        site.manager.pause("", "ann", "maintenance", None)
    time.sleep(1.5)
    assert site.failover.calls == []
    if why == "paused":
        site.manager.resume("", "ann")
        site.until(lambda: site.failover.calls, "the recovery")
    elif why == "paused and run again":
        Path(journal.path).write_text('{"what": "end"}\n')
        site.manager.resume("", "ann")
        time.sleep(1.5)
        assert site.failover.calls == []
    journal.release()


def test_journals_that_would_stop_every_recovery_are_said_before_there_is_one(site: Site) -> None:
    with open(leave_journal(site).path, "a") as out:
        out.write("garbage\n")
    site.start()
    line = site.until(lambda: [line for line in site.lines if "no recovery will be done" in line], "the line")[0]
    assert "journal_damaged" in line or "is no record" in line


def test_only_one_recovery_of_a_cluster_at_a_time(site: Site) -> None:
    site.start()
    site.all_well()
    site.failover.go_on.clear()
    results: list[Any] = []
    other = threading.Thread(target=lambda: results.append(site.manager.switchover("ledger", "db2", "ann")))
    other.start()
    site.until(lambda: site.failover.calls, "the switchover")
    with pytest.raises(HaError) as caught:
        site.manager.switchover("ledger", "db3", "bob")
    assert caught.value.code == "recovery_running"
    site.kill()
    time.sleep(0.7)
    assert len(site.failover.calls) == 1, "a failover beside a switchover"
    site.failover.go_on.set()
    other.join(PATIENCE)
    assert results[0]["trigger"] == "switchover" and results[0]["outcome"] == "promoted"
    site.until(lambda: len(site.failover.calls) == 2, "the failover that was due")


def test_a_defect_in_a_recovery_ends_nothing_else(site: Site) -> None:
    site.failover.ends = ZeroDivisionError("a defect")
    site.start()
    site.all_well()
    site.kill()
    site.until(lambda: any("ZeroDivisionError" in line for line in site.lines), "its line")
    entry = site.until(lambda: [e for e in site.manager.recoveries() if e["outcome"] == "failed"], "its end")[0]
    assert entry["codes"] == ["defect"]
    assert site.status()["verdict"] in ("dead", "dead_or_isolated")


def test_hooks_after_a_recovery_do_not_hold_up_anything(tmp_path: Path) -> None:
    site = Site(tmp_path)
    slow = tmp_path / "slow"
    slow.write_text(f"#!/bin/sh\nwhile [ ! -e {tmp_path}/go ]; do sleep 0.05; done\n")
    slow.chmod(0o755)
    cluster = dataclasses.replace(site.config.clusters[0], after=(Hook("slow", (str(slow),), timeout=PATIENCE),))
    site.config = dataclasses.replace(site.config, clusters=(cluster,))
    try:
        site.start()
        site.all_well()
        site.kill()
        site.until(lambda: [e for e in site.manager.recoveries() if e["outcome"] == "promoted"], "its end")
        site.verdict("healthy")
        assert site.status()["action"] == "none" and site.manager.recoveries()[0]["hooks"] == []
        (tmp_path / "go").write_text("")
        site.until(lambda: site.manager.recoveries()[0]["hooks"], "the hook")
    finally:
        site.end()


def test_clusters_come_and_go_with_the_configuration(site: Site) -> None:
    site.start()
    site.all_well()
    logins = site.peers[1].logins
    second = dataclasses.replace(site.cluster("other"), members=site.config.clusters[0].members[:1])
    site.manager.reload(dataclasses.replace(site.config, clusters=(*site.config.clusters, second)))
    site.until(lambda: "other" in site.manager.status()["clusters"], "the second cluster")
    site.until(lambda: site.manager.status()["clusters"]["other"]["verdict"] == "healthy", "its verdict")
    assert site.peers[1].logins == logins + 1, "an unchanged cluster was connected to again"
    site.manager.reload(dataclasses.replace(site.config, clusters=(second,)))
    site.until(lambda: list(site.manager.status()["clusters"]) == ["other"], "the first one's end")
    with pytest.raises(HaError) as caught:
        site.manager.pause("ledger", "ann", "x", None)
    assert caught.value.code == "unknown_cluster"


def test_status_has_the_shape_that_the_face_was_promised(tmp_path: Path) -> None:
    now = time.time()
    site = Site(tmp_path, maintenance=(Window("disks", now - 60, now + 60),))
    try:
        site.start()
        site.all_well()
        status = site.manager.status()
        promised = (desk.__doc__ or "").partition("``recoveries()``")[0]
        assert set(status["manager"]) == {
            "version", "host", "pid", "started_at", "now", "dry_run", "clusters", "members", "tick_s", "tick_late_s",
            "tick_duration_s", "cpu_s",
        }  # fmt: skip
        cluster = status["clusters"]["ledger"]
        assert set(cluster) == {
            "verdict", "reasons", "since", "action", "held_by", "primary", "primary_uuid", "term", "n", "k", "paused",
            "maintenance", "cooldown_until", "members", "last_recovery", "updated_at", "semi_sync_clients",
            "heartbeat_age_s", "heard_by",
        }  # fmt: skip
        members = cluster["members"]
        assert set(members["db1"]) == {
            "address", "zone", "city", "role", "answer", "answered_at", "writable", "receiver", "source", "lag_s",
            "message", "acknowledges", "out_of_service",
        }  # fmt: skip
        for key in (*status["manager"], *cluster, *members["db1"]):
            assert re.search(rf"\b{key}\b", promised), f"{key} was not promised"
        assert [m["role"] for m in members.values()] == ["primary", "replica", "replica"]
        assert [m["acknowledges"] for m in members.values()] == [None, True, True]
        assert cluster["semi_sync_clients"] == 2 and 0.15 <= cluster["heartbeat_age_s"] < PATIENCE
        assert 0 < status["manager"]["tick_duration_s"] < PATIENCE
        assert (members["db2"]["source"], members["db2"]["lag_s"], members["db2"]["receiver"]) == ("db1", 0.0, "ON")
        assert abs(members["db1"]["answered_at"] - now) < 60
        assert (cluster["n"], cluster["k"], cluster["primary_uuid"]) == (2, 1, uuid_of(1))
        assert cluster["maintenance"] == {"reason": "disks", "from": now - 60, "until": now + 60}
        json.dumps(status)
    finally:
        site.end()


def test_explaining_is_asking_what_if() -> None:
    healthy = situations.healthy(situations.term(3, 1))
    config = ClusterConfig("ledger", healthy.members, Login("x"), ReplicationLogin("r", ""))
    view = board.View(config, watch.Watched(), watch.Verdict("healthy", ()), watch.Rest(), 0.0, 0.0)
    found = board.explain(view, healthy, ())
    assert found["would"] == "one of the acknowledgers would be promoted"
    assert found["plan"] and not found["obstacles"] and found["durability"]
    assert "paused" in board.explain(view, healthy, ("paused by ann",))["would"]
    alone = situations.healthy(situations.term(2, 1))
    left = board.explain(
        dataclasses.replace(view, config=dataclasses.replace(config, members=alone.members)), alone, ()
    )
    assert [o["code"] for o in left["obstacles"]] == ["too_few_acknowledgers_left"] and not left["plan"]
    broken = situations.replaced(healthy, situations.no_answer(3))
    refused = board.explain(view, broken, ())
    assert refused["would"].startswith("nothing would be promoted") and not refused["plan"]
    assert [o["code"] for o in refused["obstacles"]] == ["too_few_acknowledgers"]


def test_the_version_is_that_of_the_collection() -> None:
    assert f"version: {watch.VERSION}\n" in (ROOT / "galaxy.yml").read_text()


# --- the process -----------------------------------------------------------------------------------------------------
class Reloaded:
    def __init__(self) -> None:
        self.taken: list[Config] = []

    def reload(self, config: Config) -> None:
        self.taken.append(config)


def private(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def test_a_changed_file_is_taken_over_once_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "manager.json"
    private(path, json.dumps(manager_file()))
    lines: list[str] = []
    manager = Reloaded()
    current = service.config.load(str(path))
    reloader = service.Reloader(str(path), current, manager, lambda _p, text: lines.append(text))  # type: ignore[arg-type]
    reloader.look(False)
    reloader.look(True)
    assert manager.taken == [] and lines == []
    private(path, json.dumps(manager_file(tick=0.5, clusters=[])))
    reloader.look(False)
    reloader.look(False)
    assert manager.taken == [] and len(lines) == 1 and "the old settings stay" in lines[0] and "line 3" not in lines[0]
    private(path, json.dumps(manager_file(dry_run=True, listen_port=9000)))
    reloader.look(False)
    reloader.look(False)
    assert [c.dry_run for c in manager.taken] == [True]
    assert "listen_port: changed" in lines[1] and "after a restart" in lines[1]


def test_check_says_what_is_wrong_and_how_it_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "manager.json"
    private(path, json.dumps(manager_file()))
    assert service.main(["--config", str(path), "--check"]) == 0
    private(path, json.dumps(manager_file(nonsense=1)))
    assert service.main(["--config", str(path), "--check"]) == service.EXIT_CONFIG
    assert "line 1: unknown key 'nonsense'" in capsys.readouterr().err
    assert service.main(["--config", str(tmp_path / "none")]) == service.EXIT_CONFIG


def test_the_process_serves_reloads_and_ends(tmp_path: Path) -> None:
    """As systemd runs it: SIGHUP and SIGTERM, the face begun and ended."""
    import os
    import signal
    import subprocess
    import sys

    peer = Peer(columns(1))
    path = tmp_path / "manager.json"
    values = manager_file(state_directory=str(tmp_path / "state"), journal_directory=str(tmp_path / "journal"))
    values["clusters"][0]["members"] = [{"name": "db1", "host": "127.0.0.1", "port": peer.port}]
    values["clusters"][0]["ca"] = ""
    private(path, json.dumps(values))
    program = (
        "import sys\n"
        f"from {service.__name__} import main\n"
        "class Face:\n"
        "    def close(self): print('closed', flush=True)\n"
        "def serve(desk, config, say):\n"
        "    print('serving', len(desk.status()['clusters']), config.listen_port, flush=True)\n"
        "    return Face()\n"
        "sys.exit(main(sys.argv[1:], serve))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "build" / "collections")}
    with subprocess.Popen(
        [sys.executable, "-c", program, "--config", str(path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            seen = ""
            while "ledger: healthy" not in seen:
                line = process.stdout.readline()
                assert line, seen
                seen += line
                if "watching" in line:
                    continue
            values["clusters"].append({**values["clusters"][0], "name": "second"})
            private(path, json.dumps(values))
            process.send_signal(signal.SIGHUP)
            while "second: healthy" not in seen:
                line = process.stdout.readline()
                assert line, seen
                seen += line
            process.send_signal(signal.SIGTERM)
            seen += process.communicate(timeout=PATIENCE)[0]
        finally:
            process.kill()
            peer.close()
    assert process.returncode == 0, seen
    assert "serving 1 8306" in seen and "closed" in seen and "watching 1 clusters, 1 members" in seen
    assert "canary" not in seen
