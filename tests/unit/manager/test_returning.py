# SPDX-License-Identifier: GPL-3.0-or-later
"""Which members the manager registers again by itself, and which it leaves alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.returning import (
    FIRST,
    LONGEST,
    pause,
    returned,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager.sample import Sample, Silence
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import TermRow
from ansible_collections.lossless.mysql_ha.tests.unit.topology.situations import member, registered, uuid

MEMBERS = tuple(member(n) for n in (1, 2, 3))
DEPOSED = registered(1, acknowledges=False)
TERM = TermRow(2, 2, uuid(2), (DEPOSED, registered(2), registered(3)), 1)
BACK = Sample("db1", 0.0, 0.1, uuid(1), False, receiver="ON", source_uuid=uuid(2))
OTHERS = {
    "db2": Sample("db2", 0.0, 0.1, uuid(2), True),
    "db3": Sample("db3", 0.0, 0.1, uuid(3), False, receiver="ON", source_uuid=uuid(2)),
}


def found(answer: Any = BACK, term: TermRow = TERM, members: Any = MEMBERS) -> tuple[str, ...]:
    return returned(term, {"db1": answer, **OTHERS}, members)


def test_a_deposed_server_that_follows_is_counted_again() -> None:
    assert found() == ("db1",)


@pytest.mark.parametrize(
    "answer",
    [
        Silence("db1", 0.0, 0.1, "refused", "connection refused"),
        dataclasses.replace(BACK, receiver="CONNECTING"),
        dataclasses.replace(BACK, receiver="OFF"),
        dataclasses.replace(BACK, source_uuid=uuid(3)),
        dataclasses.replace(BACK, writable=True),
        dataclasses.replace(BACK, offline=True),
        dataclasses.replace(BACK, server_uuid=uuid(9)),
        dataclasses.replace(BACK, server_uuid=uuid(2)),
    ],
)
def test_one_that_is_not_back_is_left_alone(answer: Any) -> None:
    assert found(answer) == ()


@pytest.mark.parametrize(
    "entry", [registered(1), dataclasses.replace(DEPOSED, out="new disk"), registered(1, acknowledges=True)]
)
def test_who_counts_already_or_was_taken_out_is_left_alone(entry: Any) -> None:
    assert found(term=dataclasses.replace(TERM, members=(entry, *TERM.members[1:]))) == ()


def test_who_shall_not_acknowledge_is_left_alone() -> None:
    assert found(members=(member(1, acknowledges=False), *MEMBERS[1:])) == ()


def test_refused_it_is_tried_again_less_and_less_often() -> None:
    waits = [pause(n) for n in range(1, 12)]
    assert waits[0] == FIRST
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST
