# SPDX-License-Identifier: GPL-3.0-or-later
"""When a stopped server may be rewound, and everything that forbids it, each for itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.events import Gtid
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.files import Ending
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.tail import Tail
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.transactions import Statement, Transaction
from ansible_collections.lossless.mysql_ha.plugins.module_utils.refusal import Refusal
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.plan import (
    Nothing,
    Remains,
    Rewind,
    Successor,
    Way,
    plan_rewind,
    surplus_of,
)
from ansible_collections.lossless.mysql_ha.tests.unit.topology.situations import beat, gtids, term, uuid
from hypothesis import given
from hypothesis import strategies as st

BEFORE = term(3, 1)
NOW_IN_FORCE = dataclasses.replace(term(3, 1, primary=2), term=2, revision=2)
LATER = dataclasses.replace(NOW_IN_FORCE, term=3, revision=3)
"""Proven itself, after a promotion that was not: what that one lost is lost."""
HAS = gtids("1:1-100,2:1-5")


def transaction(number: int, server: int = 1, **changes: Any) -> Transaction:
    made = Transaction(
        gtid=Gtid(uuid(server), "", number),
        start=1000 + number * 100,
        end=1100 + number * 100,
        timestamp=0,
        server_id=server,
        original_commit_timestamp=0,
        immediate_commit_timestamp=0,
        announced_length=100,
        events=5,
        tables=(),
        statements=(),
        ends="xid",
        complete=True,
        xid=str(number),
        compression="",
        contents_known=True,
    )
    return dataclasses.replace(made, **changes)


def remains(*transactions: Transaction, **changes: Any) -> Remains:
    """Of db1: its log ends with these; it has what db2 had, and two more."""
    found = transactions or (transaction(99), transaction(100), transaction(101), transaction(102))
    tail = Tail("/data/binlog.000007", gtids("1:1-90"), found[0].start, found, Ending("open", 20000, 20000, 20000))
    return Remains(uuid(1), dataclasses.replace(tail, **changes))


def successor(**changes: Any) -> Successor:
    known = Successor("db2", uuid(2), NOW_IN_FORCE, HAS, BEFORE, beat(BEFORE))
    return dataclasses.replace(known, **changes)


def codes(way: Way) -> tuple[str, ...]:
    assert isinstance(way, Refusal), way
    return way.codes


def test_the_cut_is_at_the_first_that_the_successor_lacks() -> None:
    way = plan_rewind(remains(), successor())
    assert isinstance(way, Rewind)
    assert way.offset == transaction(101).start
    assert way.surplus == gtids("1:101-102")
    assert [each.gtid for each in way.transactions] == [transaction(101).gtid, transaction(102).gtid]
    assert (way.successor_uuid, way.term) == (uuid(2), 2)


def test_nothing_extra_needs_no_proof() -> None:
    unproven = successor(term=dataclasses.replace(NOW_IN_FORCE, proof="unproven"), heartbeat=None)
    assert plan_rewind(remains(transaction(100)), unproven) == Nothing()


def test_what_came_from_the_successor_is_on_its_way_and_no_surplus() -> None:
    """A replica applies what it acknowledged before its source commits it."""
    assert plan_rewind(remains(transaction(100), transaction(6, server=2)), successor()) == Nothing()


def test_a_torn_end_is_no_obstacle() -> None:
    torn = remains(ending=Ending("torn", 20000, 20000, 20050, "half an event"))
    assert isinstance(plan_rewind(torn, successor()), Rewind)


def test_atomic_ddl_is_only_prepared_too() -> None:
    ddl = transaction(101, ends="query", statements=(Statement("shop", "CREATE TABLE"),))
    assert isinstance(plan_rewind(remains(transaction(100), ddl), successor()), Rewind)


REFUSED: list[tuple[str, Remains, Successor]] = [
    ("promotion_not_proven", remains(), successor(term=dataclasses.replace(NOW_IN_FORCE, proof="unproven"))),
    (
        "promotion_not_proven",
        remains(),
        successor(
            unproven=dataclasses.replace(NOW_IN_FORCE, proof="unproven"), term=dataclasses.replace(LATER, term=3)
        ),
    ),
    ("semi_sync_unobserved", remains(), successor(heartbeat=None)),
    ("semi_sync_unobserved", remains(), successor(before=None)),
    ("semi_sync_degraded", remains(), successor(heartbeat=beat(BEFORE, no_tx=1))),
    ("semi_sync_degraded", remains(), successor(heartbeat=beat(BEFORE, source_active=False))),
    ("semi_sync_degraded", remains(), successor(heartbeat=beat(BEFORE, wait_no_replica=False))),
    ("surplus_in_earlier_file", remains(previous=gtids("1:1-101")), successor()),
    ("surplus_in_earlier_file", remains(transaction(100), previous=gtids("1:1-101")), successor()),
    ("surplus_of_another_origin", remains(transaction(100), transaction(3, server=3)), successor()),
    ("surplus_of_another_origin", remains(previous=gtids("1:1-90,3:1-2")), successor()),
    ("surplus_not_at_the_end", remains(transaction(101), transaction(100, start=20000, end=20100)), successor()),
    ("not_only_prepared", remains(transaction(101, ends="commit", xid="")), successor()),
    ("not_only_prepared", remains(transaction(101, ends="query", xid="")), successor()),
    ("not_only_prepared", remains(transaction(101, ends="xa_prepare", xid="X'61',X'',1")), successor()),
    ("not_only_prepared", remains(transaction(101, ends="xa_commit", xid="X'61',X'',1")), successor()),
    ("not_only_prepared", remains(transaction(101, ends="incident", xid="")), successor()),
    ("contents_unknown", remains(transaction(101, ends="payload", xid="", contents_known=False)), successor()),
    ("binlog_damaged", remains(ending=Ending("damaged", 1, 1, 2, "broken; but good events follow")), successor()),
    ("settings_not_durable", dataclasses.replace(remains(), persisted={"sync_binlog": "0"}), successor()),
    (
        "settings_not_durable",
        dataclasses.replace(remains(), persisted={"innodb_flush_log_at_trx_commit": "2"}),
        successor(),
    ),
]


@pytest.mark.parametrize(("code", "left", "knows"), REFUSED, ids=[f"{n}-{r[0]}" for n, r in enumerate(REFUSED)])
def test_each_thing_alone_forbids_it(code: str, left: Remains, knows: Successor) -> None:
    assert code in codes(plan_rewind(left, knows))


def test_all_reasons_at_once() -> None:
    way = plan_rewind(
        dataclasses.replace(remains(transaction(101, xid="")), persisted={"sync_binlog": "0"}),
        successor(heartbeat=None),
    )
    assert set(codes(way)) == {"semi_sync_unobserved", "not_only_prepared", "settings_not_durable"}
    assert isinstance(way, Refusal)
    assert all(reason.message and reason.next_step for reason in way.reasons)


def test_harmless_persisted_settings_are_none_of_its_business() -> None:
    left = dataclasses.replace(remains(), persisted={"sync_binlog": "1", "max_connections": "7"})
    assert isinstance(plan_rewind(left, successor()), Rewind)


@given(
    data=st.data(),
    length=st.integers(1, 12),
)
def test_never_is_anything_cut_that_the_successor_has_nor_left_that_it_lacks(data: st.DataObject, length: int) -> None:
    """Whatever the order and the sets: a cut leaves exactly what the successor has, or it is refused."""
    numbers = data.draw(st.permutations(range(91, 91 + length)))
    has = data.draw(st.sets(st.sampled_from(range(91, 91 + length))))
    earlier = data.draw(st.sampled_from(["1:1-90", "1:1-92", "1:1-90,3:1"]))
    log = [transaction(n, start=i * 100, end=i * 100 + 100) for i, n in enumerate(numbers)]
    held = gtids("1:1-90") | gtids(",".join(f"1:{n}" for n in has))
    left = remains(*log, previous=gtids(earlier))
    way = plan_rewind(left, successor(executed=held))
    if isinstance(way, Nothing):
        assert not surplus_of(left, successor(executed=held))
    elif isinstance(way, Rewind):
        stays = [each for each in log if each.start < way.offset]
        goes = [each for each in log if each.start >= way.offset]
        assert goes
        assert all(each.gtid and each.gtid.as_set() <= held for each in stays)
        assert not any(each.gtid and each.gtid.as_set() <= held for each in goes)
        assert left.tail.previous <= held
