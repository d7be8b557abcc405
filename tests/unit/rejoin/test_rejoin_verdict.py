# SPDX-License-Identifier: GPL-3.0-or-later
"""What peers' answers say to a server that wants to start after a crash."""

from __future__ import annotations

import dataclasses
from typing import Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.verdict import (
    Again,
    Patience,
    Replica,
    StillPrimary,
    Unknown,
    Verdict,
    judge,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import (
    TIMED_OUT,
    Answer,
    NoAnswer,
    Observation,
    ServerState,
    TermRow,
)
from ansible_collections.lossless.mysql_ha.tests.unit.topology.situations import frozen, primary, replica, term, uuid

PATIENCE = Patience(whole=30, settle=3)
OLD = term(4, 1)
NEW = dataclasses.replace(term(4, 1, primary=2), term=2, revision=2)


def looked(*answers: Answer) -> Observation:
    return Observation((), {answer.name: answer for answer in answers})


def silent(number: int) -> NoAnswer:
    return NoAnswer(f"db{number}", TIMED_OUT, "no answer within 2 s")


def peer(number: int, row: Optional[TermRow] = OLD, **changes: object) -> ServerState:
    return replica(row or OLD, number, term=row, **changes)


def asked(*answers: Answer, waited: float = 10.0) -> Verdict:
    return judge(uuid(1), looked(*answers), waited=waited, patience=PATIENCE)


def test_a_promoted_server_that_answers_decides_at_once() -> None:
    new = primary(NEW, 2)
    assert asked(peer(3, NEW), new, silent(4), waited=0.0) == Replica(NEW, new)


def test_one_peer_that_knows_of_a_newer_term_is_enough_to_wait_for_its_primary() -> None:
    assert isinstance(asked(peer(3, NEW), peer(4), silent(2), waited=29), Again)
    end = asked(peer(3, NEW), peer(4), silent(2), waited=30)
    assert isinstance(end, Unknown)
    assert end.reason.code == "successor_does_not_answer"


def test_a_primary_that_has_not_its_own_row_yet_is_waited_for() -> None:
    assert isinstance(asked(peer(3, NEW), primary(OLD, 2)), Again)


def test_still_primary_when_all_but_one_say_so_and_a_while_has_passed() -> None:
    assert asked(peer(2), peer(3), silent(4)) == StillPrimary(OLD)
    assert isinstance(asked(peer(2), peer(3), peer(4), waited=2.9), Again)


@pytest.mark.parametrize("answers", [(), (peer(2),)])
def test_a_promotion_could_hide_behind_two_silent_peers(answers: tuple[Answer, ...]) -> None:
    missing = [silent(n) for n in (2, 3, 4)][len(answers) :]
    assert isinstance(asked(*answers, *missing), Again)
    end = asked(*answers, *missing, waited=31)
    assert isinstance(end, Unknown)
    assert end.reason.code == "too_few_peers_answer"
    assert end.reason.next_step


def test_a_lone_peer_has_to_answer() -> None:
    assert isinstance(asked(silent(2), waited=31), Unknown)
    assert asked(peer(2)) == StillPrimary(OLD)


def test_stopped_receivers_may_be_a_failover_at_work() -> None:
    stopped = frozen(OLD, 2)
    assert isinstance(asked(stopped, peer(3), peer(4)), Again)
    assert asked(stopped, peer(3), peer(4), waited=30) == StillPrimary(OLD)


def test_before_anything_is_promised_nothing_is_waited_for() -> None:
    assert asked(peer(2, None), peer(3, None), peer(4, None), waited=0.0) == StillPrimary(None)


def test_a_server_without_peers_waits_for_nobody() -> None:
    assert asked(waited=0.0) == StillPrimary(None)


def test_every_set_that_is_enough_shows_every_promotion() -> None:
    """A completed promotion is on two peers at least: whichever one peer is silent, one of the two is heard."""
    for holders in ((2, 3), (2, 4)):
        for missing in (2, 3, 4):
            states = [
                silent(n) if n == missing else (primary(NEW, n) if n == 2 else peer(n, NEW if n in holders else OLD))
                for n in (2, 3, 4)
            ]
            assert not isinstance(asked(*states), StillPrimary)
