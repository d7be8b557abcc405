# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that a timer starts: exit codes, the journal, and what is written when."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import config, program
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.run import Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError

from . import reports
from .test_consistency_config import SECRET, settings


class Run:
    """Runs the program on a configuration of its own; keeps what it said."""

    def __init__(self, path: Path) -> None:
        (path / "prom").mkdir()
        self.path = path
        self.config = path / "whole.json"
        self.said: list[tuple[int, str]] = []
        self.write(report_directory=str(path / "reports"), metrics_directory=str(path / "prom"))

    def write(self, **changes: Any) -> None:
        self.config.write_text(json.dumps(settings(**changes)))
        self.config.chmod(0o600)

    def __call__(self, answer: Mapping[str, Any] | HaError, *arguments: str) -> int:
        def comparing(_settings: config.Config, now: float, _saying: Callable[[str], None]) -> Mapping[str, Any]:
            assert now == reports.NOW
            if isinstance(answer, HaError):
                raise answer
            return answer

        return program.main(
            ["--config", str(self.config), *arguments],
            comparing,
            lambda: reports.NOW,
            lambda priority, text: self.said.append((priority, text)),
        )

    @property
    def page(self) -> Path:
        return self.path / "reports" / "ledger-whole.html"

    @property
    def metrics(self) -> str:
        return (self.path / "prom" / "mysql_ha_consistency-ledger-whole.prom").read_text()


@pytest.fixture()
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_the_end_that_systemd_asks_for_lets_go_of_what_is_held(run: Run) -> None:
    """A snapshot holds a replica's applier: an end that nobody hears would leave it stopped."""
    let_go = []

    def comparing(_settings: config.Config, _now: float, _saying: Callable[[str], None]) -> Mapping[str, Any]:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([], 5.0)
        finally:
            let_go.append(True)
        raise AssertionError("nobody heard it")

    with pytest.raises(SystemExit) as ended:
        program.main(["--config", str(run.config)], comparing, lambda: reports.NOW, lambda priority, text: None)
    assert let_go == [True]
    assert ended.value.code == 128 + signal.SIGTERM


def test_a_pass_is_0_and_one_quiet_line(run: Run) -> None:
    assert run(reports.passing()) == 0
    assert run.said == [
        (program.INFO, "ledger: Everything compared is the same on db1, db2 and db3."),
        (program.INFO, f"report: {run.page}"),
    ]
    assert run.page.exists() and "passed{" in run.metrics


@pytest.mark.parametrize(
    "report",
    [
        reports.rich(),
        reports.passing(finished=False),
        reports.counted(reports.passing(tables=[], assertions=[])),
        reports.counted(reports.passing(tables=[reports.table(verdict="skipped")])),
        {},
    ],
)
def test_everything_else_is_1_and_has_a_report(run: Run, report: dict[str, Any]) -> None:
    assert run(report) == program.NO_PASS
    assert run.page.exists() and run.said[0][0] < program.INFO


def test_each_finding_is_a_line_of_its_own_weight(run: Run) -> None:
    run(reports.rich())
    said = {text.split(" ")[0]: priority for priority, text in run.said}
    assert said["different:"] == said["schema_differs:"] == program.ERROR
    assert said["lagging:"] == said["unstable:"] == said["skipped:"] == program.WARNING
    assert len(run.said) == 15


def test_nothing_can_write_lines_of_its_own_into_the_journal(run: Run) -> None:
    run(reports.hostile())
    assert all(len(text.splitlines()) == 1 for _priority, text in run.said)
    run(HaError("connect_refused", "a\n<0>b"))
    assert run.said[-1][1] == "a\\n<0>b [connect_refused]"


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        ("connect_refused", program.COULD_NOT_RUN),
        ("topology_no_answer", program.COULD_NOT_RUN),
        ("unknown_member", program.WRONG_CONFIG),
        ("state_unwritable", program.COULD_NOT_RUN),
        ("assertion_invalid", program.WRONG_CONFIG),
        ("config_invalid", program.WRONG_CONFIG),
    ],
)
def test_a_run_that_can_not_run_takes_the_old_verdict_back(run: Run, code: str, ended: int) -> None:
    assert run(reports.passing()) == 0
    assert run(HaError(code, "it does not work", next_step="Mend it.")) == ended
    assert run.said[-1] == (program.ERROR, f"it does not work [{code}] Next: Mend it.")
    assert f'code="{code}"' in run.metrics and "table_passed" not in run.metrics


def test_a_report_that_can_not_be_written_is_no_0(run: Run) -> None:
    (run.path / "reports").write_text("in the way")
    assert run(reports.passing()) == program.COULD_NOT_RUN
    assert run(reports.rich()) == program.NO_PASS
    assert "report_unwritable" in run.said[-1][1]
    assert run(HaError("connect_refused", "no")) == program.COULD_NOT_RUN


def test_the_metrics_say_what_was_found_though_the_report_can_not_be_written(run: Run) -> None:
    assert run(reports.passing()) == 0
    shutil.rmtree(run.path / "reports")
    (run.path / "reports").write_text("in the way")
    for answer, ended, found in (
        (reports.rich(), program.NO_PASS, 'verdict="different"} 1\n'),
        (HaError("connect_refused", "no"), program.COULD_NOT_RUN, 'code="connect_refused"} 1\n'),
    ):
        assert run(answer) == ended
        assert 'mysql_ha_consistency_passed{cluster="ledger",run="whole"} 0\n' in run.metrics
        assert found in run.metrics
        assert run.said[-1][0] == program.ERROR and "report_unwritable" in run.said[-1][1]


def test_check_only_looks_at_the_file(run: Run) -> None:
    assert run(HaError("never", "asked"), "--check") == 0
    assert not run.page.exists() and run.said == []
    run.write(modes=[])
    assert run(reports.passing(), "--check") == program.WRONG_CONFIG == run(reports.passing())
    assert not run.page.exists()
    assert all("config_invalid" in text and SECRET not in text for _priority, text in run.said)


def test_a_mistake_in_the_program_is_no_pass_either(run: Run) -> None:
    def broken(_settings: config.Config, _now: float, _saying: Callable[[str], None]) -> Mapping[str, Any]:
        raise KeyError("x")

    with pytest.raises(KeyError):
        program.main(["--config", str(run.config)], broken, lambda: reports.NOW, lambda _p, _t: None)


def test_the_request_is_what_the_file_says(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Request] = []

    def compared(request: Request, say: Callable[[str], None]) -> dict[str, Any]:
        seen.append(request)
        say("1 of 2: a.b")
        return reports.passing()

    monkeypatch.setattr(program.run, "run", compared)
    run.write(limits={"within": 60}, replicas=["db3"], exclude=["tmp"], admin_password="x", report_directory="/r")
    loaded = config.load(str(run.config))
    lines: list[str] = []
    assert program.compare(loaded, 5.0, lines.append)["verdict"] == "pass" and lines == ["1 of 2: a.b"]
    (request,) = seen
    assert (request.cluster, request.modes, request.now) == ("ledger", ("whole",), 5.0)
    assert (request.replicas, request.exclude, request.limits.within) == (("db3",), ("tmp",), 60)
    assert request.login == loaded.login and request.admin is loaded.admin is not None
    assert request.state_directory.endswith("/state/whole") and request.part == 0.0
    # Every field that the file has a say in comes from it.
    said = {field.name for field in dataclasses.fields(Request)} & {field.name for field in dataclasses.fields(loaded)}
    assert {name for name in said if getattr(request, name) != getattr(loaded, name)} == set()


def test_the_journal_reads_the_weight_of_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    program.say(program.ERROR, "different: a.b on db2")
    assert capsys.readouterr() == ("", "<3>different: a.b on db2\n")


def test_progress_is_told_once_in_a_while() -> None:
    lines: list[str] = []
    times = iter([0.0, 1.0, 59.0, 61.0, 62.0, 125.0])
    progress = program.Progress(lambda _priority, line: lines.append(line), lambda: next(times))
    for number in range(5):
        progress(str(number))
    assert lines == ["2", "4"]
