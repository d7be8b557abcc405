# SPDX-License-Identifier: GPL-3.0-or-later
"""The threads of self-fencing, each of their steps alone, on servers that are made up."""

from __future__ import annotations

import dataclasses
import json
import threading
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper import fence, fencing
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.fence import Decision, Heard
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.fencing import (
    Asker,
    Fencer,
    Orders,
    Peer,
    Spared,
    read_peer,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import (
    ConnectFailed,
    Login,
    StatementFailed,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import Member

ME, OTHER = "aaaa", "bbbb"
CANARY = "k-canary"
END = Decision(fence.END_SESSIONS, "lease_expired", "no commit", 7, 9)
FENCE = Decision(fence.FENCE, "deposed", "deposed", 7, 9)
ASK = Decision(fence.ASK_PEERS, "no_lease", "no commit", 7, 9)
NOTHING = Decision(fence.NOTHING, "lease_young", "fine")
MEMBERS = [
    {"name": "db1", "host": "h1", "port": 33062, "server_uuid": ME.upper()},
    {"name": "db2", "host": "h2", "port": 33062, "server_uuid": OTHER.upper()},
    {"name": "db3", "host": "h3", "port": 33062, "server_uuid": "cccc", "acknowledges": False},
]
PEER = Member("db2", "h2", server_uuid=OTHER)
SPARED = Spared(frozenset({"lossless_keeper", "lossless_admin"}), "lossless_repl_")


class Server:
    """A session that answers from its fields, and notes what it was told."""

    def __init__(self) -> None:
        self.usable = True
        self.uuid, self.term, self.revision, self.primary = ME, 7, 9, ME
        self.read_only = self.super_read_only = self.offline = 0
        self.sessions = {11: "app", 12: "app", 13: "report"}
        self.errors: dict[str, StatementFailed] = {}
        self.said: list[str] = []
        self.after: Any = lambda sql: None
        self.receiver: Any = "ON"

    def query(self, sql: str, values: Any = (), *, within: float) -> list[dict[str, Any]]:
        assert within > 0
        if "performance_schema.threads" in sql:
            return [{"id": number, "user": user, "killed": 0} for number, user in self.sessions.items()]
        if "replication_connection_status" in sql:
            return [
                {
                    "server_uuid": self.uuid,
                    "revision": self.revision,
                    "term": self.term,
                    "primary_uuid": self.primary,
                    "proof": "proven",
                    "receiver": self.receiver,
                    "source_uuid": ME,
                }
            ]
        if "members" in sql:
            if "term" in self.errors:
                raise self.errors["term"]
            row = {
                "revision": self.revision,
                "term": self.term,
                "primary_uuid": self.primary,
                "k": 1,
                "written_at": 1.0,
            }
            extra = dict.fromkeys(("wait_point", "acknowledgement", "proof", "run_id", "reason"), "x")
            return [{**row, **extra, "no_tx_base": 0, "members": json.dumps(MEMBERS)}]
        return [
            {
                "server_uuid": self.uuid,
                "read_only": self.read_only,
                "super_read_only": self.super_read_only,
                "offline": self.offline,
                "term": self.term,
                "revision": self.revision,
                "primary_uuid": self.primary,
                "k": 1,
            }
        ]

    def one(self, sql: str, values: Any = (), *, within: float) -> dict[str, Any]:
        return self.query(sql, values, within=within)[0]

    def execute(self, sql: str, values: Any = (), *, within: float) -> None:
        self.said.append(sql)
        self.after(sql)
        for part, error in self.errors.items():
            if part in sql:
                raise error
        if "offline_mode" in sql:
            self.offline = 1
        if "super_read_only" in sql:
            self.super_read_only = 1

    def close(self) -> None:
        self.usable = False


def failed(errno: int) -> StatementFailed:
    return StatementFailed("sql_error", f"error {errno}", errno=errno)


@pytest.fixture
def orders() -> Orders:
    return Orders(lambda: None)


def fencer(orders: Orders, server: Server) -> Fencer:
    return Fencer(orders, lambda: server, lambda: 100.0, SPARED, deadline=0.5)


def obey(orders: Orders, server: Server, order: Decision) -> Fencer:
    worker = fencer(orders, server)
    orders.order(order)
    worker.obey(order)
    return worker


# --- ending sessions -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("user", "spared"),
    [
        ("app", False),
        ("root", False),
        ("lossless_repl", False),
        ("lossless_repl_3", True),
        ("lossless_keeper", True),
        ("lossless_admin", True),
    ],
)
def test_whose_sessions_end(user: str, spared: bool) -> None:
    assert SPARED.spares(user) is spared
    assert not Spared().spares("lossless_repl_3"), "an empty prefix is the prefix of everybody"


def test_sessions_of_applications_end_and_no_others(orders: Orders) -> None:
    server = Server()
    server.sessions[14], server.sessions[15] = "lossless_admin", "lossless_repl_2"
    obey(orders, server, END)
    assert server.said == ["KILL CONNECTION 11", "KILL CONNECTION 12", "KILL CONNECTION 13"]
    assert orders.done() == fencing.Done(ended=3)


def test_a_commit_that_waits_stays_in_the_list_and_is_counted_once(orders: Orders) -> None:
    server = Server()
    worker = obey(orders, server, END)
    server.sessions = {12: "app", 16: "app"}
    worker.obey(END)
    assert orders.done().ended == 4
    assert len(server.said) == 5, "it is ended again all the same: a number may be another session's"


def test_who_may_not_be_ended_is_named_and_who_is_gone_is_no_error(orders: Orders) -> None:
    server = Server()
    server.errors = {"KILL CONNECTION 11": failed(1094), "KILL CONNECTION 13": failed(1095)}
    obey(orders, server, END)
    assert orders.done() == fencing.Done(ended=1, refused=("report",))
    assert orders.trouble() == ()


def test_no_session_more_ends_once_the_lease_is_back(orders: Orders) -> None:
    server = Server()
    server.after = lambda sql: orders.order(NOTHING)
    obey(orders, server, END)
    assert server.said == ["KILL CONNECTION 11"]


@pytest.mark.parametrize("changes", [{"read_only": 1}, {"offline": 1}, {"revision": 10}, {"primary": OTHER}], ids=str)
def test_a_server_that_is_another_by_now_is_left_alone(orders: Orders, changes: dict[str, Any]) -> None:
    server = Server()
    for name, value in changes.items():
        setattr(server, name, value)
    obey(orders, server, END)
    assert server.said == []


def test_an_order_that_was_withdrawn_is_not_obeyed(orders: Orders) -> None:
    server = Server()
    worker = fencer(orders, server)
    orders.order(NOTHING)
    worker.obey(END)
    worker.obey(FENCE)
    assert server.said == []


# --- the fence -------------------------------------------------------------------------------------------------------
def test_the_fence_is_offline_first_and_then_read_only(orders: Orders) -> None:
    server = Server()
    worker = obey(orders, server, FENCE)
    assert server.said == ["SET GLOBAL offline_mode = ON", "SET GLOBAL super_read_only = ON"]
    worker.obey(FENCE)
    assert len(server.said) == 2, "done is done"
    assert orders.done().waits == ""


def test_a_commit_that_waits_keeps_it_from_being_read_only_and_it_is_tried_again(orders: Orders) -> None:
    server = Server()
    server.errors = {"super_read_only": failed(1205)}
    worker = obey(orders, server, FENCE)
    assert server.offline
    assert "restart mysqld" in orders.done().waits
    assert orders.trouble() == (orders.done().waits,)
    server.errors = {}
    worker.obey(FENCE)
    assert server.said == ["SET GLOBAL offline_mode = ON", *["SET GLOBAL super_read_only = ON"] * 2]
    assert orders.trouble() == ()


def test_nothing_ever_opens_a_server_or_touches_semi_sync(orders: Orders) -> None:
    server = Server()
    for order in (END, FENCE, ASK, END, NOTHING, FENCE):
        obey(orders, server, order)
    assert not [s for s in server.said if "OFF" in s or "semi_sync" in s]


def test_what_goes_wrong_is_said_and_forgotten_when_it_is_over(orders: Orders) -> None:
    server = Server()
    server.errors = {"offline_mode": StatementFailed("deadline_exceeded", "no answer within 0.5 s")}
    worker = obey(orders, server, FENCE)
    assert orders.trouble() == ("self-fencing: no answer within 0.5 s",)
    server.errors = {}
    worker.obey(FENCE)
    assert orders.trouble() == ()


def test_a_connection_is_there_before_it_is_needed(orders: Orders) -> None:
    opened = []
    worker = Fencer(orders, lambda: opened.append(1) or Server(), lambda: 0.0, SPARED, deadline=0.5)  # type: ignore
    worker.warm()
    worker.warm()
    assert opened == [1]
    assert orders.acknowledgers() == {OTHER}
    orders.order(ASK)
    question = orders.wait_for_question(0.0)
    assert question is not None
    assert [m.name for m in question[1]] == ["db2", "db3"], "everybody registered but ourselves"


def test_a_server_without_our_schema_has_no_peers(orders: Orders) -> None:
    server = Server()
    server.errors = {"term": failed(1146)}
    fencer(orders, server).warm()
    assert orders.acknowledgers() == frozenset()


@pytest.mark.parametrize("members", ["{", "[1]", '[{"name": "db2"}]'])
def test_a_term_row_made_by_hand_stops_no_thread(orders: Orders, monkeypatch: pytest.MonkeyPatch, members: str) -> None:
    monkeypatch.setattr(json, "dumps", lambda _members: members)
    worker = obey(orders, Server(), ASK)
    assert "is not one of ours" in orders.trouble()[0]
    monkeypatch.undo()
    worker.obey(ASK)
    assert orders.trouble() == ()
    assert orders.acknowledgers() == {OTHER}


# --- asking ----------------------------------------------------------------------------------------------------------
def test_what_a_peer_says() -> None:
    server = Server()
    server.uuid, server.primary, server.receiver = OTHER, OTHER, "CONNECTING"
    assert read_peer(server, PEER, 5.0, within=0.5) == Heard("db2", OTHER, 5.0, 7, 9, OTHER, "proven", "CONNECTING", ME)
    server.receiver = server.term = server.revision = server.primary = None
    found = read_peer(server, PEER, 5.0, within=0.5)
    assert (found.receiver, found.term, found.revision, found.primary_uuid) == ("OFF", 0, 0, "")


def test_another_server_at_that_address_is_not_believed() -> None:
    server = Server()
    server.uuid = "dddd"
    with pytest.raises(HaError) as caught:
        read_peer(server, PEER, 5.0, within=0.5)
    assert caught.value.code == "another_server"


def said(receiver: str, at: float, **more: Any) -> Heard:
    return Heard("db2", OTHER, at, receiver=receiver, **more)


def test_since_when_a_receiver_is_off(orders: Orders) -> None:
    orders.order(ASK)
    for receiver, at, since in (
        ("OFF", 10.0, 10.0),
        ("OFF", 11.0, 10.0),
        ("CONNECTING", 12.0, None),
        ("OFF", 13.0, 13.0),
        ("ON", 14.0, None),
    ):
        orders.put_heard(0, said(receiver, at))
        assert orders.heard()[0].off_since == since


def test_what_was_heard_is_forgotten_with_the_lease_and_late_answers_are_dropped(orders: Orders) -> None:
    orders.order(ASK)
    orders.put_heard(0, said("ON", 10.0))
    orders.put_silent(0, "db3", "timed out")
    orders.order(END)
    assert orders.heard() and orders.silent()
    orders.order(NOTHING)
    assert not orders.heard() and not orders.silent()
    orders.put_heard(0, said("ON", 11.0))
    orders.put_silent(0, "db3", "timed out")
    assert not orders.heard() and not orders.silent()
    orders.order(ASK)
    orders.put_heard(1, said("ON", 12.0))
    assert orders.heard()


def test_only_news_wakes_the_loop() -> None:
    woken = []
    orders = Orders(lambda: woken.append(1))
    orders.order(ASK)
    for answer in (said("ON", 1.0), said("ON", 2.0), said("OFF", 3.0), said("OFF", 4.0), said("OFF", 5.0, term=8)):
        orders.put_heard(0, answer)
    assert len(woken) == 3


def asked(monkeypatch: pytest.MonkeyPatch, connect: Any) -> tuple[Orders, list[Any]]:
    orders, logins = Orders(lambda: None), []

    def opened(name: str, host: str, port: int, login: Login, *, within: float) -> Server:
        logins.append((name, host, port, login))
        return connect(name)

    monkeypatch.setattr(fencing.Session, "connect", opened)
    orders.order(ASK)
    fencer(orders, Server()).obey(ASK)
    question = orders.wait_for_question(0.0)
    assert question is not None
    asker = Asker(orders, Login("lossless_keeper", CANARY, ca="/ca.pem"), lambda: 100.0, deadline=0.5)
    asker.ask(*question)
    return orders, logins


def test_all_peers_are_asked_and_who_is_silent_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(name: str) -> Server:
        if name == "db3":
            raise ConnectFailed("timed_out", "db3: timed out")
        server = Server()
        server.uuid, server.term, server.primary = OTHER, 8, OTHER
        return server

    orders, logins = asked(monkeypatch, connect)
    assert [(h.name, h.term, h.primary_uuid) for h in orders.heard()] == [("db2", 8, OTHER)]
    assert orders.silent() == {"db3": "db3: timed out"}
    assert sorted(login[:3] for login in logins) == [("db2", "h2", 33062), ("db3", "h3", 33062)]
    assert {login[3].unix_socket for login in logins} == {""}
    assert CANARY not in repr(logins)


def test_a_peer_that_hangs_is_not_asked_twice_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, attempts = threading.Event(), []

    def connect(*_arguments: Any, **_named: Any) -> Server:
        attempts.append(1)
        hangs.wait(5)
        raise ConnectFailed("timed_out", "timed out")

    monkeypatch.setattr(fencing.Session, "connect", connect)
    orders = Orders(lambda: None)
    peer = Peer(PEER, Login("k"), lambda: 0.0, 0.5)
    first = threading.Thread(target=peer.ask, args=(orders, 0))
    first.start()
    while not attempts:
        pass
    peer.ask(orders, 0)
    hangs.set()
    first.join()
    assert attempts == [1]


def test_the_fencer_has_work_while_something_is_to_be_done_or_read(orders: Orders) -> None:
    assert orders.wait_for_work(0.0) is None
    orders.order(ASK)
    assert orders.wait_for_work(0.0) == ASK, "its peers are not known yet"
    orders.put_row(ME, 9, ())
    assert orders.wait_for_work(0.0) is None
    for order in (END, FENCE):
        orders.order(order)
        assert orders.wait_for_work(0.0) == order
    orders.order(dataclasses.replace(FENCE, text="another text"))
    assert orders.stands(FENCE)
    orders.order(dataclasses.replace(FENCE, revision=10))
    assert not orders.stands(FENCE)
    orders.stop()
    assert orders.wait_for_work(0.0) is None
    assert orders.wait_for_question(0.0) is None
