# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a run comes back as it was, or not at all."""

from __future__ import annotations

import dataclasses
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import run, state_file
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.checkpoint import (
    FORMAT,
    OLDEST,
    Checkpoint,
    Place,
    State,
    name_of,
    of_these_servers,
    question,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import (
    GRAVITY,
    Difference,
    TableResult,
    result_from,
    worst,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login
from hypothesis import given
from hypothesis import strategies as st

STATE = State(
    "asked", 900.0, {"a": {"verdict": "pass"}}, Place("t", "l", ["r1"], [5, {"hex": "00ff"}], 7), [{"way": "x"}],
    saved_at=1000.0,
)  # fmt: skip


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = Checkpoint(str(tmp_path / "new" / "directory"), "ledger")
    kept.save(STATE)
    assert kept.load("asked", 1001.0) == STATE
    (file,) = (tmp_path / "new" / "directory").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600, "it may hold values of rows"
    kept.forget()
    assert kept.load("asked", 1001.0) is None
    kept.forget()


@pytest.mark.parametrize(
    ("asked", "now"), [("other", 1001.0), ("asked", 999.0), ("asked", 1000.0 + OLDEST + 1)],
    ids=["another question", "from the future", "too old"],
)  # fmt: skip
def test_what_does_not_count_is_begun_anew(asked: str, now: float, tmp_path: Path) -> None:
    kept = Checkpoint(str(tmp_path), "ledger")
    kept.save(STATE)
    assert kept.load(asked, now) is None


def spoilt(**changes: Any) -> str:
    good = {"format": FORMAT, "question": "asked", "started_at": 900.0, "saved_at": 1000.0, "done": {}, "place": None}
    return json.dumps({**good, **changes})


FILES = {
    "empty": "", "half": spoilt()[:-9], "a list": "[5]", "a text": '"abc"', "a number": "5", "nothing": "null",
    "no fields": "{}",
    "another format": spoilt(format=FORMAT - 1), "no format": spoilt(format=None), "a field more": spoilt(more=1),
    "a place that is none": spoilt(place={"table": "t"}), "a place of text": spoilt(place="t"),
    "a time that is none": spoilt(started_at="yesterday"), "no text": "\udcff",
}  # fmt: skip


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_a_file_that_is_none_of_ours_is_begun_anew(text: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert Checkpoint(str(tmp_path), "ledger").load("asked", 1001.0) is None


def test_and_a_good_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "ledger.run.json").write_text(spoilt())
    assert Checkpoint(str(tmp_path), "ledger").load("asked", 1001.0) == State("asked", 900.0, saved_at=1000.0)


def test_without_a_directory_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = Checkpoint("", "ledger")
    kept.save(STATE)
    kept.forget()
    assert kept.load("asked", 1001.0) is None
    assert not list(tmp_path.iterdir())


def test_what_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HaError) as raised:
        Checkpoint(str(tmp_path / "file"), "ledger").save(STATE)
    assert raised.value.code == "state_unwritable"
    assert str(tmp_path / "file") in raised.value.message


def test_a_second_run_does_not_write_where_another_one_is_at_work(tmp_path: Path) -> None:
    directory = str(tmp_path / "made")
    with state_file.alone(directory, "ledger"):
        with pytest.raises(HaError) as raised, state_file.alone(directory, "ledger"):
            raise AssertionError("two at once")
        assert raised.value.code == "already_running" and directory in raised.value.message
        with state_file.alone(directory, "shop"), state_file.alone("", "ledger"):
            """Another cluster's files, and none at all."""
    with pytest.raises(ZeroDivisionError), state_file.alone(directory, "ledger"):
        raise ZeroDivisionError
    with state_file.alone(directory, "ledger"):
        """However it ended, it has ended."""


def test_a_run_of_the_same_directory_is_refused_before_it_asks_anybody(tmp_path: Path) -> None:
    request = run.Request("ledger", (), Login("nobody"), state_directory=str(tmp_path))
    with state_file.alone(str(tmp_path), "ledger"), pytest.raises(HaError) as raised:
        run.run(request)
    assert raised.value.code == "already_running"


def test_where_nobody_may_write_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HaError) as raised, state_file.alone(str(tmp_path / "file"), "ledger"):
        raise AssertionError("nothing is there")
    assert raised.value.code == "state_unwritable"


def test_a_run_that_goes_on_night_after_night_is_never_too_old() -> None:
    old = State("asked", 0.0, saved_at=10 * OLDEST)
    assert Checkpoint("", "ledger", old.as_kept()).load("asked", 99 * OLDEST) == old, "handed over from part to part"


def test_of_a_replica_that_was_started_since_nothing_counts() -> None:
    done = {name_of("whole", "s", "t", name): {} for name in ("r1", "r2")}
    plans = [{"replica": "r1"}, {"replica": "r2"}]
    state = State("asked", 0.0, done, Place("t", "l", ["r1", "r2"], [5], 7), plans, started={"p": 1.0, "r1": 2.0})
    assert of_these_servers(state, {"p": 1.9, "r1": 1.1}, "p") == dataclasses.replace(
        state, started={"p": 1.9, "r1": 1.1}
    )
    left = of_these_servers(state, {"p": 1.0, "r1": 900.0, "r2": 3.0}, "p")
    assert left is not None and left.place is None
    assert list(left.done) == [name_of("whole", "s", "t", "r2")] and left.repair == [{"replica": "r2"}]
    assert left.started == {"p": 1.0, "r1": 900.0, "r2": 3.0}
    assert of_these_servers(state, {"p": 900.0}, "p") is None


def test_a_question_is_all_of_it() -> None:
    asked = {"primary": "u", "modes": ["whole"], "include": ["a"], "limits": {"lock": 2.0}}
    first = question(**asked)
    assert first == question(**dict(reversed(asked.items())))
    for name, value in asked.items():
        assert first != question(**{**asked, name: [value, value]})


@given(st.lists(st.lists(st.text(max_size=5), min_size=4, max_size=4).map(tuple), unique=True, max_size=5))
def test_names_are_not_shared(parts: list[tuple[str, ...]]) -> None:
    assert len({name_of(*each) for each in parts}) == len(parts)


# --- results ---------------------------------------------------------------------------------------------------------
shown = st.none() | st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=9), max_size=3)
differences = st.builds(
    Difference,
    st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=9), max_size=3),
    st.sampled_from(["missing", "extra", "value", "count"]),
    st.lists(st.text(max_size=5), max_size=3).map(tuple),
    shown,
    shown,
    st.text(max_size=9),
)
results = st.builds(
    TableResult,
    *[st.text(max_size=5)] * 4,
    st.sampled_from(GRAVITY),
    *[st.text(max_size=9)] * 3,
    *[st.integers(0, 1 << 60)] * 3,
    st.lists(differences, max_size=3).map(tuple),
    st.floats(0, 1),
    st.floats(0, 1e6),
)


@given(results)
def test_a_result_comes_back_as_it_was(result: TableResult) -> None:
    assert result_from(json.loads(json.dumps(result.as_result()))) == result


@given(st.lists(st.sampled_from(GRAVITY)))
def test_only_pass_is_pass(verdicts: list[str]) -> None:
    assert (worst(verdicts) == "pass") == (bool(verdicts) and set(verdicts) == {"pass"})
    if "different" in verdicts:
        assert worst(verdicts) == "different"


def test_mutant_the_best_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert min(["pass", "error"], key=GRAVITY.index) == "pass" != worst(["pass", "error"])
