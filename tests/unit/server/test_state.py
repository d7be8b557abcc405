# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read off a server's state, an observation and a term row."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import EMPTY
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import state
from ansible_collections.lossless.mysql_ha.tests.unit.topology.situations import (
    bare,
    gtids,
    healthy,
    member,
    no_answer,
    observe,
    receiver,
    registered,
    replica,
    term,
    uuid,
)


@pytest.mark.parametrize(
    ("read_only", "super_read_only", "writable"),
    [(False, False, True), (True, False, False), (False, True, False), (True, True, False)],
)
def test_either_flag_takes_writability_away(read_only: bool, super_read_only: bool, writable: bool) -> None:
    assert bare(1, read_only=read_only, super_read_only=super_read_only).writable is writable


def test_received_is_what_is_executed_and_what_waits_to_be() -> None:
    server = replica(term(), 2, executed=gtids("1:1-90,2:1"), receiver=receiver(retrieved=gtids("1:80-100")))
    assert server.received == gtids("1:1-100,2:1")
    assert server.lacks_applied == gtids("1:91-100")


def test_a_server_without_a_source_received_what_it_executed() -> None:
    server = bare(1, executed=gtids("1:1-5"))
    assert (server.received, server.lacks_applied) == (gtids("1:1-5"), EMPTY)


@pytest.mark.parametrize(
    ("state_of_receiver", "follows"), [(state.ON, True), (state.CONNECTING, True), (state.OFF, False)]
)
def test_a_connecting_receiver_follows(state_of_receiver: str, follows: bool) -> None:
    server = replica(term(), 2, receiver=receiver(state=state_of_receiver))
    assert server.follows(uuid(1)) is follows
    assert not server.follows(uuid(3))
    assert not bare(1).follows(uuid(1))


def test_acknowledgers_are_the_registered_others() -> None:
    row = dataclasses.replace(
        term(4, 2), members=(registered(1), registered(2), registered(3, acknowledges=False), registered(4))
    )
    assert [m.name for m in row.acknowledgers] == ["db2", "db4"]
    assert row.n == 2
    assert [m.name for m in dataclasses.replace(row, primary_uuid=uuid(2)).acknowledgers] == ["db1", "db4"]


@pytest.mark.parametrize(
    ("kind", "alive"),
    [
        (state.REFUSED, False),
        (state.TIMED_OUT, False),
        (state.UNREACHABLE, False),
        (state.LOGIN_FAILED, True),
        (state.TLS_FAILED, True),
        (state.NOT_SUPPORTED, True),
        (state.FAILED, True),
    ],
)
def test_whoever_speaks_is_not_dead(kind: str, alive: bool) -> None:
    assert no_answer(1, kind).alive is alive


def test_an_observation_is_split_by_who_answered() -> None:
    seen = observe(bare(1), no_answer(2))
    assert list(seen.states) == ["db1"]
    assert list(seen.silent) == ["db2"]
    assert seen.by_uuid(uuid(1)) == bare(1)
    assert seen.by_uuid(uuid(2)) is None
    assert seen.member("db2") == member(2)
    assert seen.term is None


def test_the_term_in_force_is_the_newest() -> None:
    newest = term(term=3, revision=7)
    rows = [term(), newest, term(term=2, revision=6), None]
    seen = observe(*(bare(number, term=row) for number, row in enumerate(rows, 1)))
    assert seen.term == newest
    assert healthy(term()).term == term()
