# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP service on loopback and on a unix socket, before a made-up desk: routes, rights, limits, bad input."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import http as service
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import metrics, routes
from hypothesis import given
from hypothesis import strategies as st

from .face_samples import HISTORY, STATES, FakeDesk
from .test_metrics import parse
from .test_page import read

TOKEN = "canary-token"


class Running:
    """A service, and what it said."""

    def __init__(self, path: Path, desk: FakeDesk, **options: Any) -> None:
        self.desk = desk
        self.said: list[tuple[int, str]] = []
        self.path = str(path / "manager.sock")
        options = {"address": "127.0.0.1", "token": TOKEN, "socket_path": self.path, **options}
        self.server = service.serve(desk, say=lambda priority, text: self.said.append((priority, text)), **options)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        headers: Optional[dict[str, str]] = None,
        over_socket: bool = False,
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        if over_socket:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(10)
            connection.sock.connect(self.path)
        sent = dict(headers or {}, **({"Authorization": f"Bearer {token}"} if token else {}))
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, sent)
        response = connection.getresponse()
        answer = response.status, dict(response.getheaders()), response.read()
        connection.close()
        return answer

    def error(self, *arguments: Any, **options: Any) -> tuple[int, str]:
        """The status and the code of an error, whose form is checked."""
        code, headers, body = self.ask(*arguments, **options)
        found = json.loads(body)
        assert set(found) == {"code", "message", "evidence", "next_step"}
        assert found["message"] and found["next_step"]
        assert headers["Content-Type"].startswith("application/json")
        return code, found["code"]

    def raw(self, data: bytes, *, close: bool = True) -> bytes:
        """Send bytes as they are, and read until the service hangs up."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=10) as connection:
            connection.sendall(data)
            if close:
                with contextlib.suppress(OSError):  # it has answered and hung up already
                    connection.shutdown(socket.SHUT_WR)
            answer = b""
            while True:
                part = connection.recv(65536)
                if not part:
                    return answer
                answer += part


@pytest.fixture(autouse=True)
def _ends_soon(monkeypatch: Any) -> None:
    monkeypatch.setattr(service, "POLL_S", 0.02)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    desk = FakeDesk({"ledger": STATES["healthy"], "orders/eu": STATES["refused"]})
    _fresh(desk)
    found = Running(tmp_path, desk)
    yield found
    found.server.close()


def _fresh(desk: FakeDesk) -> None:
    """As if the loop ticked just now."""
    for entry in desk.said["clusters"].values():
        entry["updated_at"] = time.time()


# --- reading ---------------------------------------------------------------------------------------------------------
def test_status_is_what_the_desk_says(running: Running) -> None:
    code, _headers, body = running.ask("GET", "/api/status")
    assert code == 200 and json.loads(body) == running.desk.said


def test_clusters_are_listed_the_most_urgent_first(running: Running) -> None:
    found = json.loads(running.ask("GET", "/api/clusters")[2])["clusters"]
    assert [(entry["name"], entry["level"]) for entry in found] == [("orders/eu", "person"), ("ledger", "well")]
    assert found[0]["members"] == 3 and found[0]["members_answering"] == 1 and found[0]["needs_attention"]


def test_one_cluster_whatever_is_in_its_name(running: Running) -> None:
    code, _headers, body = running.ask("GET", "/api/clusters/orders%2Feu")
    found = json.loads(body)
    assert code == 200 and found["name"] == "orders/eu" and found["level"] == "person"
    assert found["members"] == running.desk.said["clusters"]["orders/eu"]["members"]
    assert running.error("GET", "/api/clusters/nope") == (404, "unknown_cluster")


def test_recoveries_by_cluster_and_number(running: Running) -> None:
    def ids(query: str) -> list[str]:
        return [entry["id"] for entry in json.loads(running.ask("GET", f"/api/recoveries{query}")[2])["recoveries"]]

    assert ids("") == [entry["id"] for entry in HISTORY]
    assert ids("?cluster=orders") == ["r-40", "r-39"]
    assert ids("?cluster=orders&limit=1") == ["r-40"]
    for limit in ("0", "-1", "x", "1001", "1e3", "%C2%B2", "9" * 5000):
        assert running.error("GET", f"/api/recoveries?limit={limit}") == (400, "request_invalid"), limit


def test_explain(running: Running) -> None:
    assert json.loads(running.ask("GET", "/api/explain/ledger")[2])["would"].startswith("db2 would become primary")
    assert running.error("GET", "/api/explain/nope") == (404, "unknown_cluster")


def test_strangers_can_not_multiply_the_questions_to_the_members(running: Running, monkeypatch: Any) -> None:
    asked = []
    explain = running.desk.explain
    monkeypatch.setattr(running.desk, "explain", lambda name: (asked.append(name), explain(name))[1])
    for _number in range(3):
        assert running.ask("GET", "/?cluster=ledger")[0] == 200
        assert running.ask("GET", "/api/explain/ledger")[0] == 200
    assert asked == ["ledger"]
    for _number in range(2):
        assert running.ask("GET", "/api/explain/ledger", over_socket=True)[0] == 200
    assert asked == ["ledger"] * 3, "the operator gets a fresh answer"
    for _number in range(2):
        assert running.error("GET", "/api/explain/nope") == (404, "unknown_cluster")
    assert asked == ["ledger"] * 3 + ["nope"] * 2, "an error is not kept"


def test_an_explanation_is_kept_for_its_time_and_not_across_a_clock_that_was_set_back() -> None:
    desk = FakeDesk()
    asked: list[str] = []
    desk.explain = lambda name: asked.append(name) or {"cluster": name}  # type: ignore[method-assign, func-returns-value]
    explainer = routes.Explainer(desk, 10.0)
    for now in (100.0, 109.0, 110.0, 50.0, 59.0):
        assert explainer.explain("ledger", now) == {"cluster": "ledger"}
    assert len(asked) == 3


def test_metrics_can_be_scraped(running: Running) -> None:
    code, headers, body = running.ask("GET", "/metrics")
    assert code == 200 and headers["Content-Type"] == metrics.CONTENT_TYPE
    assert "mysql_ha_cluster_verdict" in parse(body.decode())


def test_health_is_the_loop_s(running: Running) -> None:
    code, _headers, body = running.ask("GET", "/health")
    found = json.loads(body)
    assert code == 200 and (found["healthy"], found["clusters"], found["acting"]) == (True, 2, 0)
    assert found["started_at"] == running.desk.said["manager"]["started_at"]
    running.desk.said["clusters"]["ledger"]["action"] = "acting"
    assert json.loads(running.ask("GET", "/health")[2])["acting"] == 1
    running.desk.said["manager"]["tick_late_s"] = 7.5
    code, _headers, body = running.ask("GET", "/health")
    assert code == 503 and "7.5 s late" in json.loads(body)["reason"]
    running.desk.said["manager"]["tick_late_s"] = 0.0
    for entry in running.desk.said["clusters"].values():
        entry["updated_at"] = time.time() - 30
    assert running.ask("GET", "/health")[0] == 503


def test_the_page(running: Running) -> None:
    code, headers, body = running.ask("GET", "/")
    assert code == 200 and headers["Content-Type"] == routes.HTML
    assert "1 of 2 clusters needs a person" in read(body.decode()).said
    code, _headers, body = running.ask("GET", "/?cluster=ledger")
    assert code == 200 and "Were the primary to die now" in read(body.decode()).said
    code, _headers, body = running.ask("GET", "/?cluster=no%3Cb%3E")
    assert code == 404 and "No cluster no<b>" in read(body.decode()).said
    assert "1 of 2" in read(running.ask("GET", "/?find=led")[2].decode()).said


def test_a_cluster_that_can_not_be_explained_still_has_a_page(running: Running, monkeypatch: Any) -> None:
    def explain(_cluster: str) -> Any:
        raise HaError("connect_timed_out", "no answer from db1", next_step="Look at db1.")

    monkeypatch.setattr(running.desk, "explain", explain)
    code, _headers, body = running.ask("GET", "/?cluster=ledger")
    assert code == 200 and "This could not be worked out: no answer from db1" in read(body.decode()).said


def test_head_says_what_get_would_without_a_body(running: Running) -> None:
    code, headers, body = running.ask("HEAD", "/api/explain/ledger")
    assert (code, body) == (200, b"") and int(headers["Content-Length"]) > 100


def test_every_reply_carries_the_headers_that_keep_a_browser_honest(running: Running) -> None:
    for path in ("/", "/api/status", "/metrics", "/nope"):
        headers = running.ask("GET", path)[1]
        for name, value in routes.HEADERS.items():
            assert headers[name] == value
        assert headers["Cache-Control"] == "no-store" and headers["X-Content-Type-Options"] == "nosniff"
        assert not [name for name in headers if name.lower().startswith("access-control")]
        assert headers["Connection"] == "close" and "Python" not in headers["Server"]


# --- changing --------------------------------------------------------------------------------------------------------
def test_changes_reach_the_desk(running: Running) -> None:
    until = time.time() + 7200
    changes: list[tuple[str, Any]] = [
        ("/api/clusters/ledger/pause", {"by": "anna", "reason": "disks", "until": until}),
        ("/api/clusters/orders%2Feu/resume", {"by": "anna"}),
        ("/api/recoveries/r-41/ack", {"by": "ben"}),
        ("/api/clusters/ledger/switchover", {"by": "ben", "to": "db2"}),
        ("/api/clusters/ledger/switchover", {"by": "ben"}),
        ("/api/pause", {"by": "anna", "reason": "all of it"}),
        ("/api/resume", {"by": "anna"}),
        ("/api/clusters/ledger/members/db3/take-out", {"by": "anna", "reason": "new disk"}),
        ("/api/clusters/ledger/members/db%2F3/bring-back", {"by": "anna"}),
        ("/api/clusters/ledger/members/db3/repoint", {"by": "anna"}),
        ("/api/clusters/ledger/members/db3/start", {"by": "anna"}),
        ("/api/clusters/ledger/members/db3/stop", {"by": "anna"}),
    ]
    for path, body in changes:
        assert running.ask("POST", path, body, token=TOKEN)[0] == 200, path
    assert running.desk.calls == [
        ("pause", "ledger", "anna", "disks", until),
        ("resume", "orders/eu", "anna"),
        ("ack", "r-41", "ben"),
        ("switchover", "ledger", "db2", "ben"),
        ("switchover", "ledger", "auto", "ben"),
        ("pause", "", "anna", "all of it", None),
        ("resume", "", "anna"),
        ("maintain", "ledger", "db3", "take_out", "anna", "new disk"),
        ("maintain", "ledger", "db/3", "bring_back", "anna", ""),
        ("maintain", "ledger", "db3", "repoint", "anna", ""),
        ("maintain", "ledger", "db3", "start", "anna", ""),
        ("maintain", "ledger", "db3", "stop", "anna", ""),
    ]
    lines = [text for _priority, text in running.said]
    assert "HTTP: pause of 'ledger' by 'anna' over a token: done" in lines
    assert "HTTP: take-out of 'ledger/db3' by 'anna' over a token: done" in lines
    assert not [text for text in lines if TOKEN in text]


def test_a_refusal_comes_with_its_evidence(running: Running) -> None:
    code, _headers, body = running.ask("POST", "/api/clusters/ledger/switchover", {"by": "b", "to": "db3"}, token=TOKEN)
    found = json.loads(body)
    assert code == 409 and found["code"] == "target_not_healthy"
    assert found["evidence"]["reasons"][0]["message"] == "db3 does not replicate soundly"
    assert found["next_step"] == "Mend db3, or name another."


def test_what_is_not_there_can_not_be_changed(running: Running) -> None:
    wish = {"by": "anna", "reason": "x"}
    assert running.error("POST", "/api/clusters/nope/pause", wish, token=TOKEN) == (404, "unknown_cluster")
    assert running.error("POST", "/api/recoveries/r-0/ack", wish, token=TOKEN) == (404, "unknown_recovery")
    assert running.error("POST", "/api/clusters/ledger/members/db3/skip", wish, token=TOKEN) == (404, "not_found")
    assert running.error("POST", "/api/clusters/ledger/members/db1/stop", wish, token=TOKEN)[0] == 409


def test_without_the_token_nothing_changes(running: Running) -> None:
    path, wish = "/api/clusters/ledger/pause", {"by": "eve", "reason": "x"}
    assert running.error("POST", path, wish) == (401, "token_missing")
    for header in ("Basic abc", "Bearer", "Bearer ", TOKEN):
        assert running.error("POST", path, wish, headers={"Authorization": header}) == (401, "token_missing"), header
    for token in (TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\xe9"):
        assert running.error("POST", path, wish, token=token) == (401, "token_wrong"), token
    assert running.ask("POST", path, wish)[1]["WWW-Authenticate"].startswith("Bearer ")
    assert running.desk.calls == []
    assert (4, "HTTP: a change was asked for with a wrong token") in running.said


def test_without_a_configured_token_tcp_is_read_only(tmp_path: Path) -> None:
    running = Running(tmp_path, FakeDesk(), token="")
    try:
        wish = {"by": "eve", "reason": "x"}
        for token in ("", "None", " "):
            path = "/api/clusters/ledger/pause"
            assert running.error("POST", path, wish, token=token) == (403, "changes_not_allowed")
        assert running.ask("GET", "/api/status")[0] == 200
        assert running.ask("POST", "/api/clusters/ledger/pause", wish, over_socket=True)[0] == 200
        assert running.desk.calls == [("pause", "ledger", "eve", "x", None)]
    finally:
        running.server.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b"[" * 60000,
        {"by": ""},
        {"by": " "},
        {"by": 7, "reason": "x"},
        {"by": "a"},
        {"by": "a", "reason": ""},
        {"by": "a\nb", "reason": "x"},
        {"by": "a", "reason": "\x1b[2J"},
        {"by": "a" * 501, "reason": "x"},
        {"by": "a", "reason": "x", "until": 1},
        {"by": "a", "reason": "x", "until": "tomorrow"},
        {"by": "a", "reason": "x", "until": True},
        b'{"by": "a", "reason": "x", "until": NaN}',
        b'{"by": "a", "reason": "x", "until": 1e999}',
        {"by": "a", "reason": "x", "untill": 9999999999},
        {"by": "a", "reason": "x", "to": ["db1"]},
    ],
    ids=lambda body: repr(body)[:40],
)
def test_a_wish_that_is_not_understood_changes_nothing(running: Running, body: Any) -> None:
    path = "/api/clusters/ledger/pause"
    assert running.error("POST", path, body, token=TOKEN) == (400, "request_invalid")
    assert running.desk.calls == []


@given(st.binary(max_size=200) | st.text().map(lambda text: json.dumps({"by": text, "reason": text}).encode()))
def test_any_body_is_a_wish_or_is_refused(body: bytes) -> None:
    try:
        wish = routes.wish_of(body, 1000.0)
    except HaError as error:
        assert error.code == "request_invalid"
    else:
        assert wish.by and wish.by.isprintable() and wish.reason.isprintable()


# --- the unix socket -------------------------------------------------------------------------------------------------
def test_the_socket_is_for_its_owner_alone_and_needs_no_token(running: Running) -> None:
    mode = os.stat(running.path).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    wish = {"by": "root", "reason": "x"}
    assert running.ask("POST", "/api/clusters/ledger/pause", wish, over_socket=True)[0] == 200
    assert (6, "HTTP: pause of 'ledger' by 'root' over the socket: done") in running.said


def test_the_socket_is_private_from_its_first_moment(tmp_path: Path, monkeypatch: Any) -> None:
    """Not made first and closed to others afterwards."""
    modes = []
    listen = service._Bounded.server_activate

    def activate(self: Any) -> None:
        if self.trusted:
            modes.append(stat.S_IMODE(os.stat(self.server_address).st_mode))
        listen(self)

    monkeypatch.setattr(service._Bounded, "server_activate", activate)
    before = os.umask(0)
    try:
        Running(tmp_path, FakeDesk()).server.close()
        assert os.umask(0) == 0, "the umask is put back"
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_the_socket_of_a_dead_manager_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "manager.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    first = Running(tmp_path, FakeDesk())
    with pytest.raises(HaError) as refused:
        Running(tmp_path, FakeDesk())
    assert refused.value.code == "listen_failed" and "another manager" in refused.value.message
    assert first.ask("GET", "/api/status", over_socket=True)[0] == 200
    first.server.close()
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(HaError) as refused:
        Running(tmp_path, FakeDesk())
    assert refused.value.code == "listen_failed" and path.read_text() == "precious"


def test_closing_leaves_the_socket_of_a_successor(tmp_path: Path) -> None:
    first = Running(tmp_path, FakeDesk(), address="")
    os.unlink(first.path)
    second = Running(tmp_path, FakeDesk(), address="")
    first.server.close()
    assert os.path.exists(second.path)
    second.server.close()


def test_a_taken_port_is_said_and_leaves_nothing_behind(running: Running, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(HaError) as refused:
        Running(other, FakeDesk(), port=running.server.port)
    assert refused.value.code == "listen_failed" and not (other / "manager.sock").exists()


def test_closed_means_closed(tmp_path: Path) -> None:
    running = Running(tmp_path, FakeDesk())
    running.server.close()
    running.server.close()
    with pytest.raises(ConnectionRefusedError):
        running.ask("GET", "/api/status")


def test_ipv6(tmp_path: Path) -> None:
    try:
        running = Running(tmp_path, FakeDesk(), address="::1", socket_path="")
    except HaError:
        pytest.skip("no IPv6 here")
    with socket.create_connection(("::1", running.server.port), timeout=5) as connection:
        connection.sendall(b"GET /api/status HTTP/1.1\r\nHost: [::1]:8306\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    running.server.close()


# --- bad requests ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "[::2]:1"])
def test_another_name_for_loopback_is_refused(running: Running, host: str) -> None:
    assert running.error("GET", "/api/status", headers={"Host": host}) == (403, "host_not_allowed")
    wish = {"by": "eve", "reason": "x"}
    path = "/api/clusters/ledger/pause"
    assert running.error("POST", path, wish, token=TOKEN, headers={"Host": host}) == (403, "host_not_allowed")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9999", "[::1]:8306", "[::1]"])
def test_the_names_of_loopback_are_served(running: Running, host: str) -> None:
    assert running.ask("GET", "/api/status", headers={"Host": host})[0] == 200


def test_bound_to_more_than_loopback_any_name_is_served(tmp_path: Path) -> None:
    running = Running(tmp_path, FakeDesk(), address="0.0.0.0")
    try:
        assert running.ask("GET", "/api/status", headers={"Host": "ha1.example"})[0] == 200
    finally:
        running.server.close()


@pytest.mark.parametrize(
    "path", ["/nope", "/api", "/api/", "/api/status/", "/api/clusters/", "/api/clusters//pause", "/.."]
)
def test_what_is_not_there(running: Running, path: str) -> None:
    assert running.error("GET", path) == (404, "not_found")


def test_a_wrong_method_is_told_the_right_one(running: Running) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "MADEUP"):
        assert running.error(method, "/api/status", token=TOKEN) == (405, "method_not_allowed")
    for method in ("GET", "PUT", "DELETE"):
        assert running.error(method, "/api/clusters/ledger/pause", token=TOKEN) == (405, "method_not_allowed")
    assert running.ask("GET", "/api/clusters/ledger/pause")[1]["Allow"] == "POST"
    assert running.ask("PUT", "/api/status")[1]["Allow"] == "GET, HEAD"
    assert running.desk.calls == []


def test_a_body_has_a_limit(running: Running) -> None:
    path = "/api/clusters/ledger/pause"
    most = json.dumps({"by": "a", "reason": "x"}).encode().ljust(routes.BODY_LIMIT)
    assert running.ask("POST", path, most, token=TOKEN)[0] == 200
    assert running.error("POST", path, most + b" ", token=TOKEN) == (413, "request_too_large")
    assert running.error("POST", path, b"x" * 900_000, token=TOKEN) == (413, "request_too_large")
    huge = b"POST /api/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: %s\r\n\r\n"
    assert b" 413 " in running.raw(huge % (b"9" * 4000))
    assert running.desk.calls == [("pause", "ledger", "a", "x", None)]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST /api/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /api/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /api/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{}", 400),
        (b"POST /api/pause HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 413),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 70000 + b"\r\n\r\n", 413),
        (b"GET /?%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"&a=b" * 50), 400),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_a_request_that_is_none_is_told_so_in_json(running: Running, data: bytes, status: int) -> None:
    answer = running.raw(data)
    head, _empty, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert json.loads(body)["code"] in ("request_invalid", "request_too_large")
    assert running.ask("GET", "/health")[0] == 200


def test_who_says_nothing_is_not_answered(running: Running) -> None:
    assert running.raw(b"") == b""


# --- load ------------------------------------------------------------------------------------------------------------
def test_a_request_has_a_deadline_as_a_whole(tmp_path: Path) -> None:
    """Not for each byte: one that trickles would stay for ever."""
    running = Running(tmp_path, FakeDesk(), read_s=0.6)
    try:
        begun = time.monotonic()
        with socket.create_connection(("127.0.0.1", running.server.port), timeout=10) as slow:
            slow.settimeout(0.1)
            answer = b""
            while time.monotonic() - begun < 8 and not answer:
                try:
                    slow.sendall(b"G")
                    answer = slow.recv(1000)
                except TimeoutError:
                    continue
        assert answer.startswith(b"HTTP/1.1 408 "), answer
        assert 0.5 < time.monotonic() - begun < 4
    finally:
        running.server.close()


def test_when_all_threads_are_taken_it_says_so_and_the_operator_gets_in(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(service, "THREADS", 3)
    running = Running(tmp_path, FakeDesk(), read_s=30.0)
    try:
        idle = [socket.create_connection(("127.0.0.1", running.server.port), timeout=10) for _number in range(3)]
        before = threading.active_count()
        deadline = time.monotonic() + 20
        busy = b""
        while not busy and time.monotonic() < deadline:
            busy = running.raw(b"") if threading.active_count() >= before else b""
        assert busy.startswith(b"HTTP/1.1 503 ") and json.loads(busy.partition(b"\r\n\r\n")[2])["code"] == "too_busy"
        assert running.ask("GET", "/api/status", over_socket=True)[0] == 200
        for connection in idle:
            connection.close()
        deadline = time.monotonic() + 20
        while (status := running.ask("GET", "/api/status")[0]) == 503 and time.monotonic() < deadline:
            continue  # until the threads have noticed
        assert status == 200
    finally:
        running.server.close()


def test_threads_are_given_back(running: Running) -> None:
    for _number in range(3 * service.THREADS):
        assert running.ask("GET", "/api/recoveries")[0] == 200


def test_a_defect_of_the_desk_is_a_reply_and_a_line_and_costs_no_thread(running: Running, monkeypatch: Any) -> None:
    def status() -> Any:
        raise KeyError("secret words")

    monkeypatch.setattr(running.desk, "status", status)
    for _number in range(service.THREADS + 2):
        assert running.error("GET", "/api/status") == (500, "defect")
    priority, line = running.said[-1]
    assert priority == 3 and line.startswith("HTTP: a defect: KeyError at test_http.py:") and "secret" not in line


def test_an_answer_that_is_no_json_is_a_defect_and_not_half_an_answer(running: Running) -> None:
    running.desk.said["manager"]["tick_s"] = float("nan")
    assert running.error("GET", "/api/status") == (500, "defect")


def test_a_long_switchover_keeps_nobody_from_reading(running: Running, monkeypatch: Any) -> None:
    done = threading.Event()
    monkeypatch.setattr(running.desk, "switchover", lambda cluster, to, by: {"waited": done.wait(10)})
    found: list[Any] = []
    path = "/api/clusters/ledger/switchover"
    asking = threading.Thread(target=lambda: found.append(running.ask("POST", path, {"by": "a"}, token=TOKEN)))
    asking.start()
    assert running.ask("GET", "/api/status")[0] == 200
    done.set()
    asking.join(10)
    assert found[0][0] == 200 and json.loads(found[0][2]) == {"waited": True}


def test_the_token_is_in_no_representation() -> None:
    desk = FakeDesk()
    front = routes.Front(desk, TOKEN, True, lambda _priority, _text: None, routes.Explainer(desk, 1.0))
    assert TOKEN not in repr(front)
