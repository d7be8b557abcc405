# SPDX-License-Identifier: GPL-3.0-or-later
"""A report's files: whole or not at all, private, and only so many."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from pathlib import Path

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils import durable_file
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import report_file
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.report_file import Place
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from hypothesis import given
from hypothesis import strategies as st

from . import reports


@pytest.fixture()
def place(tmp_path: Path) -> Place:
    (tmp_path / "prom").mkdir()
    return Place(str(tmp_path / "a" / "reports"), "ledger", "whole", str(tmp_path / "prom"), keep=2)


def mode_of(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_everything_is_there_and_private_but_the_metrics(place: Place) -> None:
    report = reports.rich()
    old = os.umask(0)
    try:
        written = report_file.write(report, place)
    finally:
        os.umask(old)
    assert json.loads(Path(written.json).read_text()) == json.loads(json.dumps(report))
    assert "Not a pass" in Path(written.page).read_text(encoding="utf-8")
    assert "mysql_ha_consistency_passed" in Path(written.metrics).read_text()
    assert sorted(os.listdir(place.directory)) == [
        "ledger-whole-20261128T020005Z.html",
        "ledger-whole-20261128T020005Z.json",
        "ledger-whole.html",
        "ledger-whole.json",
    ]
    assert {mode_of(Path(place.directory, name)) for name in os.listdir(place.directory)} == {0o640}
    assert mode_of(place.directory) == 0o750
    assert mode_of(written.metrics) == 0o644 and written.metrics.endswith("/mysql_ha_consistency-ledger-whole.prom")
    assert os.listdir(place.metrics_directory) == ["mysql_ha_consistency-ledger-whole.prom"]


def test_a_hostile_report_can_be_written_and_read(place: Place) -> None:
    report = {**reports.hostile(), "cluster": "ledger"}
    written = report_file.write(report, place)
    assert json.loads(Path(written.json).read_text(encoding="ascii")) == json.loads(json.dumps(report))


def test_when_it_last_passed_outlives_a_run_that_did_not(place: Place) -> None:
    assert report_file.last_passed(place) is None
    report_file.write(reports.passing(started_at=100.0), place)
    report_file.write({**reports.rich(), "started_at": 200.0}, place)
    report_file.write(reports.passing(started_at=300.0, finished=False), place)
    assert report_file.last_passed(place) == 100.0
    told = Path(place.metrics_directory, "mysql_ha_consistency-ledger-whole.prom").read_text()
    assert 'last_passed_run_timestamp_seconds{cluster="ledger",run="whole"} 100\n' in told
    assert 'mysql_ha_consistency_passed{cluster="ledger",run="whole"} 0\n' in told


@pytest.mark.parametrize("damaged", ["", "{", '"x"', "NaN", "true"])
def test_a_damaged_memory_is_none(place: Place, damaged: str) -> None:
    os.makedirs(place.directory)
    Path(place.directory, "ledger-whole.passed").write_text(damaged)
    assert report_file.last_passed(place) is None


def test_only_the_last_reports_of_that_run_stay(place: Place) -> None:
    other = dataclasses.replace(place, run="recent")
    report_file.write(reports.passing(started_at=1.0), other)
    kept = Path(place.directory, "ledger-whole-19690101T000000Z.txt")
    kept.write_text("somebody's own")
    for day in range(5):
        report_file.write(reports.passing(started_at=reports.NOW + 86400 * day), place)
    assert sorted(name for name in os.listdir(place.directory) if "whole-" in name) == [
        kept.name,
        *(f"ledger-whole-2026120{day}T020005Z.{kind}" for day in (1, 2) for kind in ("html", "json")),
    ]
    assert len([name for name in os.listdir(place.directory) if "recent-" in name]) == 2
    newest = json.loads(Path(place.directory, "ledger-whole.json").read_text())
    assert newest["started_at"] == reports.NOW + 4 * 86400


def test_a_failure_replaces_the_metrics_and_no_report(place: Place) -> None:
    report_file.write(reports.passing(), place)
    page = Path(place.directory, "ledger-whole.html").read_text(encoding="utf-8")
    report_file.write_failure(HaError("connect_refused", "no"), reports.NOW + 60, place)
    told = Path(place.metrics_directory, "mysql_ha_consistency-ledger-whole.prom").read_text()
    assert 'code="connect_refused"} 1\n' in told and "table_passed" not in told
    assert f'last_passed_run_timestamp_seconds{{cluster="ledger",run="whole"}} {int(reports.NOW)}\n' in told
    assert Path(place.directory, "ledger-whole.html").read_text(encoding="utf-8") == page
    report_file.write_failure(HaError("x", "no"), 1.0, dataclasses.replace(place, metrics_directory=""))


def test_what_can_not_be_written_is_said_and_leaves_the_old_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    report_file.write(reports.passing(), place)
    before = {name: Path(place.directory, name).read_text(encoding="utf-8") for name in os.listdir(place.directory)}

    def full(_handle: int, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable_file, "_write", full)
    with pytest.raises(HaError) as caught:
        report_file.write({**reports.rich(), "started_at": reports.NOW}, place)
    assert caught.value.code == "report_unwritable" and "No space left" in caught.value.message
    for name, text in before.items():
        assert Path(place.directory, name).read_text(encoding="utf-8") == text


def no_room(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Nothing below that directory can be written any more."""
    replace = durable_file.replace

    def full(path: str, text: str, *, mode: int) -> durable_file.DurableFile:
        if path.startswith(where):
            raise OSError(28, "No space left on device", path)
        return replace(path, text, mode=mode)

    monkeypatch.setattr(durable_file, "replace", full)


def told(place: Place) -> str:
    return Path(place.metrics_directory, "mysql_ha_consistency-ledger-whole.prom").read_text()


def test_the_metrics_tell_the_verdict_of_a_report_that_can_not_be_written(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_file.write(reports.passing(), place)
    assert 'mysql_ha_consistency_passed{cluster="ledger",run="whole"} 1\n' in told(place)
    no_room(monkeypatch, place.directory)
    with pytest.raises(HaError) as caught:
        report_file.write(reports.rich(), place)
    assert caught.value.code == "report_unwritable"
    assert 'mysql_ha_consistency_passed{cluster="ledger",run="whole"} 0\n' in told(place)
    assert 'verdict{cluster="ledger",run="whole",verdict="different"} 1\n' in told(place)


def test_metrics_that_can_not_be_replaced_do_not_stay_and_the_report_is_written(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_file.write(reports.passing(), place)
    no_room(monkeypatch, place.metrics_directory)
    for _time in range(2):  # the second time there are none
        with pytest.raises(HaError) as caught:
            report_file.write(reports.rich(), place)
        assert caught.value.code == "report_unwritable" and caught.value.evidence["path"].endswith(".prom")
        assert os.listdir(place.metrics_directory) == []
        assert json.loads(Path(place.directory, "ledger-whole.json").read_text())["verdict"] == "different"
    with pytest.raises(HaError):
        report_file.write_failure(HaError("connect_refused", "no"), reports.NOW, place)


def test_a_memory_that_can_not_be_read_keeps_no_metrics_from_being_replaced(place: Place, tmp_path: Path) -> None:
    report_file.write(reports.passing(), place)
    memory = Path(place.directory, "ledger-whole.passed")
    memory.unlink()
    memory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HaError) as caught:
        report_file.write_failure(HaError("connect_refused", "no"), reports.NOW + 60, place)
    assert caught.value.code == "report_unwritable"
    assert 'code="connect_refused"} 1\n' in told(place) and "last_passed_run" not in told(place)
    with pytest.raises(HaError):
        report_file.write(reports.rich(), place)
    assert 'mysql_ha_consistency_passed{cluster="ledger",run="whole"} 0\n' in told(place)
    assert "table_passed" in told(place) and "last_passed_run" not in told(place)
    assert json.loads(Path(place.directory, "ledger-whole.json").read_text())["verdict"] == "different"


def test_a_link_in_the_place_of_a_file_leads_nowhere(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("1\n")
    os.makedirs(place.directory)
    os.symlink(target, Path(place.directory, "ledger-whole.json"))
    os.symlink(target, Path(place.directory, "ledger-whole.passed"))
    with pytest.raises(HaError):
        report_file.last_passed(place)
    report_file.write(reports.passing(), place)
    assert target.read_text() == "1\n" and not Path(place.directory, "ledger-whole.json").is_symlink()


def test_a_directory_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(HaError) as caught:
        report_file.write(reports.passing(), Place(str(tmp_path / "f"), "ledger"))
    assert caught.value.code == "report_unwritable"


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_two_clusters_never_share_a_file_and_none_leads_elsewhere(names: list[str]) -> None:
    one, other = (Place("/r", name).name for name in names)
    # Lone surrogates that Python and nobody else can tell from their escapes do not count.
    if names[0].encode("utf-8", "backslashreplace") != names[1].encode("utf-8", "backslashreplace"):
        assert one != other
    assert "/" not in one and not one.startswith(".") and one.isascii()


@pytest.mark.parametrize("run", ["", "a-b", "20261128T020005Z", "../x", "A", "a b"])
def test_the_name_of_a_run_is_a_word(run: str) -> None:
    with pytest.raises(HaError):
        report_file.write(reports.passing(), Place("/nowhere", "ledger", run))
