# SPDX-License-Identifier: GPL-3.0-or-later
"""Following a clone: judged by what the recipient says, through lost connections, a restart, and a start by hand."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone import copy as clone
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.copy import Begun, Statement, finish, follow
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.progress import Progress, Stage
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import ConnectFailed, StatementFailed

BEGUN = Begun("db2", before="yesterday", held="00000001-0000-0000-0000-000000000000:1-5")
EARLIER = Progress("Completed", "yesterday", "10.0.0.2:3306")
COPYING = Progress(
    "In Progress",
    "today",
    "10.0.0.2:3306",
    9,
    stages=(Stage("DROP DATA", "Completed"), Stage("FILE COPY", "In Progress")),
)
DONE = Progress(
    "Completed", "today", "10.0.0.2:3306", executed="00000001-0000-0000-0000-000000000000:1-7", binlog_file="b.7"
)
BROKEN = Progress("Failed", "today", error_number=3862, error="donor is gone", stages=COPYING.stages)
REFUSED = Progress("Failed", "today", error_number=3870, error="plugin x", stages=(Stage("DROP DATA", "Not Started"),))
LOST = StatementFailed("connection_lost", "gone")
AWAY = ConnectFailed("refused", "nobody listens")


class Session:
    name = "db4"
    usable = True

    def __init__(self, executed: str = "00000001-0000-0000-0000-000000000000:1-9") -> None:
        self.done: list[str] = []
        self.executed = executed

    def execute(self, sql: str, values: Any = (), *, within: float, secret: bool = False) -> None:
        self.done.append(sql % values if values else sql)

    def one(self, sql: str, values: Any = (), *, within: float) -> dict[str, Any]:
        return {"gtids": self.executed}

    def close(self) -> None:
        self.usable = False


class Story:
    """What the recipient says, look by look; the last one for ever. ``alive``: the connection that clones is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *says: Any, alive: bool = True) -> None:
        self.says = list(says)
        self.now = 0.0
        self.session = Session()
        self.lines: list[str] = []
        monkeypatch.setattr(clone.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(clone.time, "time", lambda: 1e9 + self.now)
        monkeypatch.setattr(clone.time, "sleep", self.sleep)
        monkeypatch.setattr(clone, "read_progress", lambda session, within: self.say())
        monkeypatch.setattr(clone, "is_alive", lambda session, seen, within: alive)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def say(self) -> Any:
        found = self.says[0] if len(self.says) == 1 else self.says.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def connect(self) -> Any:
        if isinstance(self.says[0], ConnectFailed):
            self.say()
        return self.session

    def follow(self, **options: Any) -> Any:
        given: dict[str, Any] = {"statement_within": 1.0, "clone_within": 1000.0, "restart_within": 60.0}
        return follow(
            "db4",
            options.pop("begun", BEGUN),
            self.connect,
            say=lambda text, seen: self.lines.append(text),
            **{**given, **options},
        )


def ended(error: StatementFailed | None) -> Statement:
    statement = Statement(Session(), "CLONE", (), within=1.0)  # type: ignore[arg-type]
    statement.ended, statement.error = True, error
    return statement


def test_it_is_followed_through_the_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    going_down = StatementFailed("sql_error", "Server shutdown in progress", errno=1053)
    story = Story(monkeypatch, EARLIER, COPYING, COPYING, going_down, LOST, AWAY, AWAY, DONE)
    assert story.follow() is story.session
    assert any("copying files" in text for text in story.lines) and any("no answer" in text for text in story.lines)


def test_a_lost_connection_of_ours_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, COPYING, AWAY, AWAY, COPYING, DONE)
    assert story.follow(statement=ended(LOST)) is story.session


def test_an_earlier_clone_that_was_complete_is_not_taken_for_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, EARLIER, alive=False)
    with pytest.raises(HaError) as caught:
        story.follow(statement=ended(LOST))
    assert caught.value.code == "clone_failed"


@pytest.mark.parametrize(("seen", "dropped"), [(BROKEN, True), (REFUSED, False)])
def test_a_failure_says_what_is_left_and_closes_what_was_opened(
    monkeypatch: pytest.MonkeyPatch, seen: Progress, dropped: bool
) -> None:
    story = Story(monkeypatch, COPYING, seen)
    begun = Begun("db2", "yesterday", settings={"clone_max_data_bandwidth": 0})
    with pytest.raises(HaError) as caught:
        story.follow(begun=begun)
    assert caught.value.code == "clone_failed" and seen.error in caught.value.message
    assert caught.value.evidence["dropped"] is dropped
    assert story.session.done == ["SET GLOBAL super_read_only = ON", "SET GLOBAL clone_max_data_bandwidth = 0"]


def test_a_donor_is_not_made_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, BROKEN)
    with pytest.raises(HaError):
        story.follow(begun=Begun("db2", opened=False))
    assert story.session.done == []


def test_the_servers_own_error_ends_it_before_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, EARLIER)
    busy = StatementFailed("sql_error", "db4: error 3638", errno=3638)
    with pytest.raises(HaError) as caught:
        story.follow(statement=ended(busy))
    assert caught.value.evidence["errno"] == 3638 and "Another clone" in caught.value.next_step


def test_a_clone_whose_thread_is_gone_is_no_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """mysqld was killed in the middle, and started again."""
    story = Story(monkeypatch, COPYING, AWAY, COPYING, alive=False)
    with pytest.raises(HaError) as caught:
        story.follow()
    assert caught.value.code == "clone_failed" and story.now > clone.GRACE


def test_where_nothing_supervises_it_is_waited_for_a_start_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    unsupervised = ended(StatementFailed("sql_error", "error 3707", errno=clone.NO_SUPERVISOR))
    story = Story(monkeypatch, COPYING, LOST, *[AWAY] * 20, DONE)
    assert story.follow(statement=unsupervised) is story.session
    assert any("start mysqld there now" in text for text in story.lines)
    story = Story(monkeypatch, COPYING, AWAY)
    with pytest.raises(HaError) as caught:
        story.follow(statement=unsupervised)
    assert caught.value.code == "no_supervisor" and "run again" in caught.value.next_step


def test_who_does_not_come_back_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, COPYING, AWAY)
    with pytest.raises(HaError) as caught:
        story.follow()
    assert caught.value.code == "not_back_after_clone" and 60 <= story.now < 70


def test_what_takes_too_long_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, COPYING)
    with pytest.raises(HaError) as caught:
        story.follow(clone_within=20.0)
    assert caught.value.code == "clone_timed_out" and "goes on" in caught.value.message


def test_it_may_be_left_and_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch, COPYING)
    left = story.follow(leave=lambda seen, seconds: seconds >= 5)
    assert isinstance(left, Begun) and left.seen.lasted >= 5 and left.seen.still >= 0
    again = Begun.of(json.loads(json.dumps(left.as_dict())))
    assert again == left
    story.says, story.session = [COPYING, DONE], Session()
    assert story.follow(begun=again) is story.session


def in_turns(story: Story, seconds: float = 5.0, **options: Any) -> list[Begun]:
    """Followed by one process after the other, as the action plugin does it, until it ends or raises."""
    begun: Any = BEGUN
    turns = []
    for _turn in range(1000):
        story.session = Session()
        begun = story.follow(begun=begun, leave=lambda seen, so_far: so_far >= seconds, **options)
        if not isinstance(begun, Begun):
            return turns
        turns.append(begun)
    raise AssertionError("no end")


def test_no_time_limit_begins_anew_with_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for says, alive, code, after in (
        ([COPYING, AWAY], True, "not_back_after_clone", 60),
        ([COPYING], True, "clone_timed_out", 100),
        ([COPYING], False, "clone_failed", clone.GRACE),
    ):
        story = Story(monkeypatch, *says, alive=alive)
        with pytest.raises(HaError) as caught:
            in_turns(story, clone_within=100.0)
        assert caught.value.code == code and after <= story.now < after + 12, (code, story.now)


def test_the_rate_counts_over_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes come in bursts: within one call of a second nothing may move."""
    at = [dataclasses.replace(COPYING, stages=(Stage("FILE COPY", "In Progress", 900, n * 100),)) for n in range(1, 9)]
    story = Story(monkeypatch, *[seen for seen in at for _look in range(6)], DONE)
    in_turns(story, 1.0)
    with_rate = [text for text in story.lines if "/s, about" in text]
    assert len(with_rate) > len(story.lines) // 2, story.lines


def test_what_stands_still_is_said_over_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage("FILE COPY", "In Progress", 100, 50)
    story = Story(monkeypatch, *[dataclasses.replace(COPYING, stages=(stage,))] * 100, DONE)
    in_turns(story)
    assert any("nothing has moved for 1" in text for text in story.lines), story.lines[-3:]


def test_who_is_told_to_give_up_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> None:
        raise HaError("lock_lost", "gone")

    with pytest.raises(HaError, match="gone"):
        Story(monkeypatch, COPYING).follow(progress=lost)


# --- what it holds ---------------------------------------------------------------------------------------------------
def holding(monkeypatch: pytest.MonkeyPatch, seen: Progress, executed: str) -> Iterator[Any]:
    monkeypatch.setattr(clone, "read_progress", lambda session, within: seen)
    session = Session(executed)
    yield session
    yield finish(session, BEGUN, within=1.0)  # type: ignore[arg-type]


def test_the_position_is_recorded_and_the_source_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    session, cloned = holding(monkeypatch, DONE, "00000001-0000-0000-0000-000000000000:1-9")
    assert cloned.as_result()["gtid_executed"] == DONE.executed and cloned.binlog_file == "b.7"
    assert session.done == ["RESET REPLICA ALL FOR CHANNEL ''"]


@pytest.mark.parametrize(
    ("seen", "executed"),
    [
        (DONE, "00000001-0000-0000-0000-000000000000:1-4"),  # less than the donor held at the start
        (DONE, "00000001-0000-0000-0000-000000000000:1-6"),  # less than the clone itself says
        (COPYING, "00000001-0000-0000-0000-000000000000:1-9"),
        (BROKEN, "00000001-0000-0000-0000-000000000000:1-9"),
    ],
)
def test_what_does_not_hold_everything_is_never_done(
    monkeypatch: pytest.MonkeyPatch, seen: Progress, executed: str
) -> None:
    with pytest.raises(HaError) as caught:
        list(holding(monkeypatch, seen, executed))
    assert caught.value.code == "clone_incomplete"


def test_no_password_is_in_what_a_statement_shows() -> None:
    statement = clone.from_donor(
        Session(),
        ("h", 3306),
        clone.CloneLogin("u", "canary"),
        within=1.0,  # type: ignore[arg-type]
    )
    assert "canary" not in repr(statement) + repr(clone.CloneLogin("u", "canary"))


def test_a_clone_that_could_not_drop_is_not_said_to_have_left_an_empty_server(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Progress("Failed", "today", error_number=1205, error="Lock wait", stages=(Stage("DROP DATA", "Failed"),))
    with pytest.raises(HaError) as caught:
        Story(monkeypatch, held).follow()
    assert "XA RECOVER" in caught.value.message and "it is empty" not in caught.value.message
    with pytest.raises(HaError) as caught:
        Story(monkeypatch, BROKEN).follow()
    assert "it is empty" in caught.value.message and "XA RECOVER" not in caught.value.message
