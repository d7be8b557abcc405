# SPDX-License-Identifier: GPL-3.0-or-later
"""Who needs a person, and the words for it. Each rule has a cluster that only it decides."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import glance
from hypothesis import given
from hypothesis import strategies as st

from .face_samples import HISTORY, NOW, STATES, cluster, maintenance, many, member, recovery, refused, status

SEEN = {"by": "anna", "at": NOW}


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (STATES["healthy"], "well"),
        (STATES["dead"], "acting"),
        (STATES["acting"], "acting"),
        (STATES["held"], "person"),
        (STATES["refused"], "person"),
        (STATES["paused"], "quiet"),
        (STATES["promoted"], "notice"),
        (STATES["replication_cut"], "acting"),
        (STATES["controller_cut"], "notice"),
        # Reached by somebody, or by nobody at all: it is the manager's own trouble.
        (cluster(verdict="controller_cut", heard_by=["db2"]), "notice"),
        ({**STATES["controller_cut"], "heard_by": []}, "notice"),
        (cluster(verdict="controller_cut", heard_by=[]), "person"),
        (STATES["lagging"], "notice"),
        (STATES["unknown"], "notice"),
        (STATES["would_act"], "notice"),
        (cluster(verdict="unknown", action="waiting"), "acting"),
        (cluster(verdict="dead", action="waiting", last_recovery=refused()), "person"),
        (cluster(verdict="dead", action="waiting", last_recovery=recovery(outcome="failed")), "person"),
        (cluster(verdict="dead", action="acting", last_recovery=refused()), "acting"),
        (cluster(verdict="dead", action="waiting", last_recovery=refused(acknowledged=SEEN)), "acting"),
        (cluster(verdict="dead", action="waiting", last_recovery=recovery(outcome="running")), "acting"),
        (cluster(verdict="dead", action="none"), "person"),
        (cluster(verdict="dead_or_isolated", action="none"), "person"),
        (cluster(verdict="replication_cut", action="none"), "person"),
        (cluster(verdict="something_new"), "notice"),
        (cluster(verdict=None), "notice"),
        (cluster(action="waiting"), "well"),
        (cluster(action="acting"), "acting"),
        (cluster(last_recovery=recovery(outcome="running")), "acting"),
        (cluster(maintenance={"reason": "disks", "from": NOW - 1, "until": NOW + 1}), "quiet"),
        (cluster(updated_at=NOW - 60), "notice"),
        (cluster(updated_at=NOW + 60), "well"),
        (cluster(updated_at=None), "well"),
        (cluster(last_recovery=recovery()), "notice"),
        (cluster(last_recovery=recovery(acknowledged=SEEN)), "well"),
        (cluster(last_recovery=recovery(trigger="switchover")), "well"),
        (cluster(last_recovery=refused(acknowledged=SEEN)), "well"),
        (cluster(members={"db1": member(1), "db2": member(2, "db1", answer="timed_out")}), "notice"),
        (cluster(members={"db1": member(1), "db2": member(2, "db1", receiver="")}), "notice"),
        (cluster(members={"db1": member(1), "db2": member(2, "db3")}), "notice"),
        (
            cluster(members={"db1": member(1), "db2": member(2, "db1", answer="refused", out_of_service="disk")}),
            "quiet",
        ),
        (cluster(members={"db1": member(1), "db2": member(2, "", receiver="", out_of_service="disk")}), "quiet"),
        (cluster(last_recovery=maintenance(outcome="running")), "acting"),
        (cluster(last_recovery=maintenance(outcome="refused")), "well"),
        ({}, "notice"),
    ],
)
def test_level(found: dict[str, Any], level: str) -> None:
    look = glance.look("ledger", found, NOW)
    assert look.level == level
    assert look.needs_attention == (level in ("person", "acting", "notice"))


@pytest.mark.parametrize(
    ("found", "doing"),
    [
        (cluster(last_recovery=recovery(outcome="running", trigger="switchover")), "switching over now"),
        (cluster(action="acting", last_recovery=maintenance(outcome="running")), "db3 is being taken out of service"),
        (cluster(members={"db1": member(1), "db2": member(2, "db1", out_of_service="disk")}), "db2 out of service"),
        (cluster(verdict="dead", action="waiting", last_recovery=recovery(outcome="running")), "failing over now"),
        (cluster(verdict="dead", action="waiting", last_recovery=refused()), "not replaced, will try again"),
        (cluster(verdict="dead", action="waiting"), "waiting to be sure"),
        (cluster(verdict="dead", action="held"), "no action: held"),
        (cluster(paused=SEEN, maintenance=SEEN), "paused, in maintenance"),
        (cluster(), ""),
    ],
)
def test_what_is_done_about_it(found: dict[str, Any], doing: str) -> None:
    assert glance.look("ledger", found, NOW).doing == doing


def test_what_holds_it_is_not_said_twice() -> None:
    found = cluster(verdict="unknown", action="waiting", reasons=["db1 is late."], held_by=["db1 is late.", "Wait."])
    assert glance.holds(found) == ("Wait.",)


def test_a_pause_hides_no_dead_primary() -> None:
    """Held is why nobody acts, not that nothing is wrong."""
    assert glance.look("a", {**STATES["dead"], "action": "held", "paused": SEEN}, NOW).level == "person"


def test_a_silent_member_of_a_paused_cluster_is_expected() -> None:
    members = {"db1": member(1), "db2": member(2, "db1", answer="refused")}
    assert glance.look("a", cluster(members=members, paused={"by": "anna"}), NOW).level == "quiet"


def test_what_was_refused_and_what_to_do_is_said_where_somebody_looks_first() -> None:
    look = glance.look("orders", STATES["refused"], NOW)
    assert "Fewer acknowledgers answer than have to be held: 1 of 2. db3 is silent." in look.why
    assert look.next_step == "Bring back db3, then run mysql-ha explain."
    assert look.commands == ("mysql-ha explain orders", "mysql-ha ack r-42")


def test_a_command_can_be_pasted_whatever_the_cluster_is_called() -> None:
    look = glance.look("a; rm -rf /", STATES["held"], NOW)
    assert look.commands == ("mysql-ha explain 'a; rm -rf /'", "mysql-ha resume 'a; rm -rf /'")


def test_the_most_urgent_come_first_and_numbers_count_as_numbers() -> None:
    found = {"b10": STATES["healthy"], "b2": STATES["healthy"], "z": STATES["refused"], "y": STATES["acting"]}
    assert [row.name for row in glance.rows(status(found), NOW)] == ["z", "y", "b2", "b10"]


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ({}, "No cluster is watched"),
        ({"a": STATES["healthy"]}, "All is well"),
        ({"a": STATES["paused"]}, "Well, and held back"),
        ({"a": STATES["refused"]}, "This cluster needs a person"),
        ({"a": STATES["acting"]}, "The manager is at work"),
        ({"a": STATES["lagging"]}, "Look when you can"),
        (many(6), "All 6 clusters are well"),
        (many(7), "1 of 7 clusters needs a person"),
        (many(300), "2 of 300 clusters need a person"),
        ({**many(6), "z": STATES["acting"]}, "The manager is at work on 1 of 7 clusters"),
        ({**many(6), "z": STATES["lagging"]}, "1 of 7 clusters wants a look"),
        ({**many(6), "z": STATES["paused"]}, "All 7 clusters are well, 1 held back"),
    ],
)
def test_summary(found: dict[str, Any], sentence: str) -> None:
    assert glance.summary(glance.rows(status(found), NOW)) == sentence


@pytest.mark.parametrize(
    ("of_member", "kind", "words"),
    [
        (member(2, "db1"), "on", "attached"),
        (member(2, "db1", receiver="CONNECTING"), "trying", "connecting"),
        (member(2, "db1", receiver="OFF"), "off", "stopped"),
        (member(2, "uuid-1", receiver="CONNECTING"), "trying", "connecting"),
        (member(2, "uuid-9"), "astray", "follows uuid-9"),
        (member(2, "db3"), "astray", "follows db3"),
        (member(2, ""), "none", "no source"),
        (member(2, "", answer="refused"), "none", "not known"),
    ],
)
def test_link(of_member: dict[str, Any], kind: str, words: str) -> None:
    found = {"primary": "db1", "primary_uuid": "uuid-1"}
    assert glance.link(of_member, found) == (kind, words)


def test_recovery_lines() -> None:
    assert glance.recovery_line(recovery()) == (
        "2026-01-31 03:02:04 UTC: db1 to db2, zero loss proven, outage 742 ms, nobody has acknowledged it."
    )
    assert glance.recovery_line(HISTORY[2]) == "2026-01-27 03:12:04 UTC: db1 to db2, zero loss proven, outage 96 ms."
    assert "db1 was not replaced: refused" in glance.recovery_line(refused())
    assert "db1 is being replaced." in glance.recovery_line(recovery(outcome="running"))


def test_nothing_is_said_to_be_well_when_nobody_looks() -> None:
    said = status({"a": STATES["healthy"]})
    assert glance.title(said, glance.rows(said, NOW), NOW) == "All is well"
    later = NOW + 5
    assert glance.title(said, glance.rows(said, later), later) == "The manager is late: this may be history"


# --- the health of the loop ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "later", "late"),
    [
        ({}, 0.0, False),
        ({"tick_late_s": 0.9}, 0.0, False),
        ({"tick_late_s": 1.1}, 0.0, True),
        ({"tick_s": 5.0, "tick_late_s": 9.0}, 0.0, False),
        # A loop that hangs says of itself what was true before.
        ({}, 1.2, False),
        ({}, 5.0, True),
        ({"tick_late_s": None}, 0.0, False),
    ],
)
def test_a_loop_that_is_late_or_stands_still_is_said_to_be(changes: Any, later: float, late: bool) -> None:
    assert bool(glance.trouble(status({"a": STATES["healthy"]}, **changes), NOW + later)) is late


def test_a_manager_that_has_not_ticked_yet_is_not_healthy() -> None:
    assert glance.trouble(status({}, tick_late_s=None), NOW) == "no tick has ended yet"


def test_one_cluster_that_is_not_looked_at_does_not_stop_the_loop() -> None:
    """The loop is judged by the newest; the old one is told at its cluster."""
    found = {"a": STATES["healthy"], "b": cluster(updated_at=NOW - 100)}
    assert glance.trouble(status(found), NOW) == ""
    assert glance.look("b", found["b"], NOW).level == "notice"


# --- words -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (9.96, "9 s"),
        (41, "41 s"),
        (119.9, "119 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (172800, "2 d"),
        (None, "-"),
        (float("nan"), "-"),
    ],
)
def test_seconds(value: Any, words: str) -> None:
    assert glance.seconds(value) == words


def test_milliseconds_and_counts() -> None:
    assert [glance.milliseconds(value) for value in (74.4, 1240, None)] == ["74 ms", "1.24 s", "-"]
    assert [glance.counted(value, "member") for value in (1, 3, None)] == ["1 member", "3 members", "- members"]


@given(st.sets(st.text()))
def test_every_name_has_a_place_in_the_order(names: set[str]) -> None:
    """Which is the same whatever order they come in."""
    there = sorted(names, key=glance.natural)
    back = there[::-1]
    back.sort(key=glance.natural)
    assert back == there


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(cluster())), _ANYTHING))
def test_a_cluster_of_any_shape_gets_a_level(changes: dict[str, Any]) -> None:
    """The face is the last to fall over: it is what somebody looks at when something is wrong."""
    look = glance.look("ledger", cluster(**changes), NOW)
    assert look.level in glance.LEVELS and look.headline


# --- operations on a member ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("found", "words"),
    [
        (maintenance(), "db3 taken out of service"),
        (maintenance(operation="bring_back"), "db3 brought back into service"),
        (maintenance(operation="repoint"), "db3 pointed at the primary"),
        (maintenance(operation="start", changed=False), "db3 started already"),
        (maintenance(operation="stop", outcome="refused"), "db3 not stopped: refused"),
        (maintenance(outcome="failed"), "db3 not taken out of service: failed on the way"),
        (maintenance(outcome="running"), "db3 is being taken out of service"),
        (recovery(), "promoted"),
    ],
)
def test_what_came_of_an_entry(found: dict[str, Any], words: str) -> None:
    assert glance.result_said(found) == words


def test_an_operation_says_who_asked_and_why_and_is_not_open() -> None:
    line = glance.recovery_line(maintenance())
    assert line == "2026-01-31 03:02:04 UTC: db3 taken out of service, new disk (anna)."
    assert not glance.is_open(maintenance(outcome="failed"))
    assert glance.asked_for(maintenance(reason="")) == "asked for by anna"


def test_who_is_out_of_service_is_said_with_what_that_means_and_how_to_end_it() -> None:
    found = cluster(n=1, members={"db1": member(1), "db2": member(2, "db1"), "db3": member(3, out_of_service="disk")})
    look = glance.look("the ledger", found, NOW)
    assert look.why == (
        "db3 is out of service: disk.",
        "Until then a new primary would have 0 acknowledgers and wait for 1: no failover.",
    )
    assert look.commands == ("mysql-ha member bring-back 'the ledger' db3",)
    assert len(glance.look("ledger", {**found, "n": 2}, NOW).why) == 1
