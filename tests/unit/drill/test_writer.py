# SPDX-License-Identifier: GPL-3.0-or-later
"""The writer: what it knows of a transaction after each way to end, and that it says exactly that, once, on disk."""

from __future__ import annotations

import io
import json
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import drill_common
import drill_mysql
import pymysql
import pytest
import writer

UUID = "11111111-aaaa-11ef-8000-000000000001"
SECRET = "pass-word"
LOST = pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")


def error(number: int, kind: type[pymysql.err.Error] = pymysql.err.OperationalError) -> pymysql.err.Error:
    return kind(number, f"error {number}")


@pytest.mark.parametrize("commit_sent", [False, True])
@pytest.mark.parametrize(
    ("failure", "after_commit"),
    [
        (error(1205), "failed"),
        (error(1213), "failed"),
        (error(1290), "failed"),
        (error(3101), "failed"),
        (error(1836), "unknown"),
        (error(1053), "unknown"),
        (error(1180), "unknown"),
        (error(1317), "unknown"),
        (error(3032), "unknown"),
        (error(3100), "unknown"),
        (error(1062, pymysql.err.IntegrityError), "unknown"),
        (error(2006), "unknown"),
        (LOST, "unknown"),
        (pymysql.err.InterfaceError(0, ""), "unknown"),
        (pymysql.err.InternalError("Packet sequence number wrong"), "unknown"),
        (TimeoutError("timed out"), "unknown"),
        (ConnectionResetError(104, "reset"), "unknown"),
        # An operating system's error number is not a server's: 1205 from elsewhere proves nothing.
        (OSError(1205, "no such thing"), "unknown"),
    ],
)
def test_classification_of_errors(commit_sent: bool, failure: BaseException, after_commit: str) -> None:
    assert writer.classify(commit_sent, failure) == (after_commit if commit_sent else "failed")


def test_only_an_answered_commit_is_acknowledged() -> None:
    assert writer.classify(True, None) == "acknowledged"
    assert writer.classify(False, None) == "failed"


class FakeSession:
    """A connection that follows a script: {step: exception or callable}, steps being begin, insert, update, commit."""

    def __init__(self, script: dict[str, Any] | None = None, uuid: str = UUID) -> None:
        self.script = script or {}
        self.open = True
        self.log: list[str] = []
        self.uuid = uuid

    def _step(self, name: str) -> None:
        self.log.append(name)
        action = self.script.get(name)
        if isinstance(action, BaseException):
            raise action
        if action is not None:
            action()

    def begin(self) -> None:
        self._step("begin")

    def commit(self) -> None:
        self._step("commit")

    def rollback(self) -> None:
        self._step("rollback")

    def close(self) -> None:
        self.log.append("close")
        self.open = False

    def cursor(self) -> FakeSession:
        return self

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def execute(self, statement: str, arguments: Any = ()) -> int:
        if statement.startswith(("INSERT", "UPDATE")):
            self._step(statement.split()[0].lower())
            self.arguments = arguments
        elif statement.startswith("SET"):
            self._step("set")
        return self.script.get("rows", 1)

    def executemany(self, statement: str, rows: Any) -> int:
        self._step("accounts")
        return len(rows)

    def fetchone(self) -> tuple[Any, ...]:
        return (self.uuid,)


class FakeLog:
    """Keeps lines, and tells the writer to stop after the n-th outcome."""

    def __init__(self, stop: threading.Event, outcomes: int) -> None:
        self.lines: list[dict[str, Any]] = []
        self._stop, self._left = stop, outcomes

    def put(self, line: dict[str, Any]) -> None:
        self.lines.append(json.loads(drill_common.json_line(line)))
        if line["type"] == "outcome":
            self._left -= 1
            if self._left <= 0:
                self._stop.set()

    def outcomes(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["type"] == "outcome"]


def settings(**changes: Any) -> writer.Settings:
    config = {
        "address": "192.0.2.10",
        "user": "drill",
        "password": SECRET,
        "log": "unused",
        "pause_ms": 0.1,
        **changes,
    }
    return writer.settings_from(config)


def run(sessions: list[Any], outcomes: int, fresh: bool = False) -> tuple[FakeLog, writer.Writer]:
    """Run one writer over sessions that it gets one after the other; an exception in their place fails to connect."""
    stop = threading.Event()
    log = FakeLog(stop, outcomes)
    offered = iter(sessions)

    def connect() -> Any:
        session = next(offered)
        if isinstance(session, BaseException):
            raise session
        return session

    loop = writer.Writer(3, 1, settings(), log, stop, connect, fresh)  # type: ignore[arg-type]
    loop.run()
    return log, loop


def test_a_good_connection_is_kept_and_each_transaction_gets_its_own_id() -> None:
    session = FakeSession()
    log, _loop = run([session], 3)
    first = drill_common.row_id(1, 3, 0)
    assert [line["id"] for line in log.outcomes()] == [first, first + 1, first + 2]
    assert {line["outcome"] for line in log.outcomes()} == {"acknowledged"}
    assert session.log == ["set", *["begin", "insert", "update", "commit"] * 3, "close"]
    line = log.outcomes()[0]
    assert line["server_uuid"] == UUID and line["error"] is None
    assert line["started"] <= line["commit_started"] <= line["ended"] and line["started_wall"] <= line["ended_wall"]


def test_a_connection_lost_during_commit_is_unknown_and_never_used_again() -> None:
    broken, good = FakeSession({"commit": LOST}), FakeSession(uuid="other")
    log, _loop = run([broken, good], 2)
    unknown, acknowledged = log.outcomes()
    assert (unknown["outcome"], unknown["error"]["number"]) == ("unknown", 2013)
    assert (acknowledged["outcome"], acknowledged["server_uuid"]) == ("acknowledged", "other")
    assert acknowledged["id"] == unknown["id"] + 1
    assert broken.log[-1] == "close" and "rollback" not in broken.log


@pytest.mark.parametrize("step", ["begin", "insert", "update"])
@pytest.mark.parametrize("number", [1053, 1290, 1836, 2013, 3032])
def test_an_error_before_commit_is_failed_and_leads_to_a_new_connection(step: str, number: int) -> None:
    broken = FakeSession({step: error(number)})
    log, _loop = run([broken, FakeSession()], 2)
    failed, acknowledged = log.outcomes()
    assert (failed["outcome"], failed["commit_started"], failed["error"]["number"]) == ("failed", None, number)
    assert acknowledged["outcome"] == "acknowledged"
    assert "commit" not in broken.log and broken.log[-1] == "close"


@pytest.mark.parametrize("step", ["insert", "commit"])
def test_a_deadlock_is_rolled_back_on_the_same_connection(step: str) -> None:
    raised = iter([error(1213)])

    def once() -> None:
        for failure in raised:
            raise failure

    session = FakeSession({step: once})
    log, _loop = run([session], 2)
    assert [line["outcome"] for line in log.outcomes()] == ["failed", "acknowledged"]
    assert session.log.count("rollback") == 1 and session.log.count("close") == 1


def test_a_deadlock_whose_rollback_fails_costs_the_connection() -> None:
    broken = FakeSession({"insert": error(1213), "rollback": LOST})
    log, _loop = run([broken, FakeSession()], 2)
    assert [line["outcome"] for line in log.outcomes()] == ["failed", "acknowledged"]
    assert broken.log[-1] == "close"


def test_a_missing_account_is_never_committed() -> None:
    broken = FakeSession({"rows": 0})
    log, _loop = run([broken, FakeSession()], 2)
    assert log.outcomes()[0]["outcome"] == "failed" and "commit" not in broken.log


def test_an_outage_is_logged_sampled_and_its_end_is_logged() -> None:
    refused = pymysql.err.OperationalError(2003, f"no route; {SECRET}")
    log, _loop = run([FakeSession({"commit": LOST}), refused, refused, refused, FakeSession()], 2)
    kinds = [line["type"] for line in log.lines]
    assert kinds[:3] == ["connected", "outcome", "no_connection"] and kinds[-2:] == ["connected", "outcome"]
    assert kinds.count("no_connection") < 3, "three attempts within a tenth of a second are one line, or two when slow"
    assert log.lines[2]["error"] == {"number": 2003, "text": "OperationalError: no route; ********"}


def test_a_session_that_dies_while_it_is_prepared_is_closed() -> None:
    broken = FakeSession({"set": LOST})
    log, _loop = run([broken, FakeSession()], 1)
    assert broken.log == ["set", "close"]
    assert [line["outcome"] for line in log.outcomes()] == ["acknowledged"]


def test_a_fresh_writer_connects_for_each_transaction() -> None:
    sessions = [FakeSession(), FakeSession(), FakeSession()]
    log, _loop = run(list(sessions), 3, fresh=True)
    assert [session.log.count("commit") for session in sessions] == [1, 1, 1]
    assert [session.log[-1] for session in sessions] == ["close"] * 3
    assert [line["type"] for line in log.lines].count("connected") == 1


def test_a_transaction_that_outlives_the_stop_is_unknown_and_logged_once() -> None:
    for step in ("insert", "commit"):
        stop, release = threading.Event(), threading.Event()
        log = FakeLog(stop, 99)
        session = FakeSession({step: release.wait})
        loop = writer.Writer(0, 1, settings(), log, stop, lambda s=session: s)  # type: ignore[arg-type,misc]
        thread = threading.Thread(target=loop.run)
        thread.start()
        while step not in session.log:
            stop.wait(0.001)
        stop.set()
        writer.stop_writers([loop], [thread], 0.05, log)  # type: ignore[arg-type]
        release.set()
        thread.join(5)
        assert [line["outcome"] for line in log.outcomes()] == ["unknown"], step


def test_preparing_is_repeated_until_the_server_is_writable() -> None:
    class Ready(FakeSession):
        def fetchone(self) -> tuple[Any, ...]:
            return (drill_common.row_id(4, 2, 17),)

    read_only, ready = FakeSession({"accounts": error(1290)}, uuid="0"), Ready()
    offered = iter([error(2003), read_only, ready])

    def connect() -> Any:
        session = next(offered)
        if isinstance(session, BaseException):
            raise session
        return session

    assert writer.prepare(settings(), connect, threading.Event()) == 5
    assert ready.log == ["accounts", "commit", "close"] and read_only.log[-1] == "close"


def test_preparing_gives_up_when_time_is_up() -> None:
    def connect() -> Any:
        raise LOST

    with pytest.raises(pymysql.err.OperationalError):
        writer.prepare(settings(prepare_timeout=0.05), connect, threading.Event())


def test_a_whole_run_is_on_disk_and_ends_with_a_summary(tmp_path: Path) -> None:
    path = tmp_path / "writer.jsonl"
    chosen = settings(log=str(path), run=9, duration=0.2, connections=2, fresh_connections=1)
    writer.write(chosen, threading.Event(), FakeSession)
    lines = list(drill_common.read_json_lines(str(path)))
    outcomes = [line for line in lines if line["type"] == "outcome"]
    assert lines[0]["type"] == "start" and lines[0]["run"] == 9
    assert lines[-1]["type"] == "summary" and lines[-1]["acknowledged"] == len(outcomes) > 10
    assert len({line["id"] for line in outcomes}) == len(outcomes)
    assert SECRET not in path.read_text()


def test_a_log_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "writer.jsonl"
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        writer.write(settings(log=str(path), duration=0.1), threading.Event(), FakeSession)
    assert path.read_text() == "precious"


class CountingFile(io.StringIO):
    """A file with a descriptor, so that it can be fsynced; `broken` raises on write."""

    def __init__(self, path: Path, broken: bool = False) -> None:
        super().__init__()
        self._real, self._broken = path.open("w"), broken

    def fileno(self) -> int:
        return self._real.fileno()

    def write(self, chunk: str) -> int:
        if self._broken:
            raise OSError(28, "No space left on device")
        return super().write(chunk)


OUTCOME = {"type": "outcome", "outcome": "acknowledged"}


def test_outcomes_are_counted_only_after_their_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    permitted, real = threading.Event(), os.fsync

    def slow(descriptor: int) -> None:
        permitted.wait(5)
        real(descriptor)

    monkeypatch.setattr(writer.os, "fsync", slow)
    log = writer.OutcomeLog(CountingFile(tmp_path / "log"), 0.005, threading.Event())
    log.start()
    log.put(dict(OUTCOME))
    assert log.counts["acknowledged"] == 0
    permitted.set()
    log.close(5)
    assert log.counts["acknowledged"] == 1


def test_lines_come_in_batches_no_later_than_the_flush_interval(tmp_path: Path) -> None:
    stop = threading.Event()
    file = CountingFile(tmp_path / "log")
    log = writer.OutcomeLog(file, 0.01, stop)
    log.start()
    for _attempt in range(50):
        log.put(dict(OUTCOME))
    deadline = time.monotonic() + 2
    while log.counts["acknowledged"] < 50 and time.monotonic() < deadline:
        stop.wait(0.002)
    assert log.counts["acknowledged"] == 50
    log.close(5)


def test_a_full_disk_stops_the_writer_and_is_told(tmp_path: Path) -> None:
    stop = threading.Event()
    log = writer.OutcomeLog(CountingFile(tmp_path / "log", broken=True), 0.005, stop)
    log.start()
    log.put(dict(OUTCOME))
    assert stop.wait(5)
    with pytest.raises(OSError, match="No space"):
        log.close(5)
    assert log.counts["acknowledged"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"address": ""},
        {"user": None},
        {"password": ""},
        {"connections": 0, "fresh_connections": 0},
        {"connections": 300},
        {"run": 0},
        {"run": 1 << 21},
        {"flush_interval_ms": 21},
        {"pause_ms": 0},
        {"read_timeout": -1},
        {"read_timeout": "5"},
        {"reed_timeout": 5},
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(drill_common.ConfigError):
        settings(**changes)


def test_a_configuration_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"password": SECRET}))
    path.chmod(0o640)
    with pytest.raises(drill_common.ConfigError) as caught:
        drill_common.load_config(str(path))
    assert SECRET not in str(caught.value)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert drill_common.load_config(str(path)) == {"password": SECRET}


def test_the_password_is_in_no_representation_and_no_error() -> None:
    access = drill_mysql.access_from({"user": "u", "password": SECRET})
    assert SECRET not in repr(access) and SECRET not in repr(settings())
    for failure in (OSError(f"x {SECRET}"), pymysql.err.OperationalError(1045, f"denied {SECRET}")):
        assert SECRET not in json.dumps(drill_mysql.error_document(failure, access))


@pytest.mark.parametrize("bad", [(0, 0, 0), (1 << 21, 0, 0), (1, 256, 0), (1, 0, 1 << 24), (1, -1, 0)])
def test_ids_do_not_overflow_into_each_other(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        drill_common.row_id(*bad)


def test_the_greatest_id_is_exact_in_every_json_reader() -> None:
    greatest = drill_common.row_id(drill_common.MAX_RUN, 255, drill_common.MAX_SEQUENCE)
    assert greatest < 1 << 53 and int(float(greatest)) == greatest
    low, high = drill_common.run_bounds(7)
    assert low <= drill_common.row_id(7, 0, 0) <= drill_common.row_id(7, 255, drill_common.MAX_SEQUENCE) <= high
    assert drill_common.run_bounds(8)[0] == high + 1


def test_entries_scatter_and_stay_within_the_columns() -> None:
    entries = [drill_common.entry_of(drill_common.row_id(5, 1, sequence), 64) for sequence in range(2000)]
    assert len({entry.account for entry in entries}) == 64
    assert all(drill_common.run_of(entry.account) == 5 for entry in entries)
    assert all(abs(entry.amount) < 400 and entry.amount == round(entry.amount, 2) for entry in entries)
