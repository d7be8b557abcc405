# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person gets wrong, and what they are told: one error, what it rests on, what to do; nothing was changed."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import scratch
from playing import Call, play

INFO, FAILOVER, REPLICATION = "mysql_topology_info", "mysql_failover", "mysql_replication"
MEMBER = "mysql_member"
EXPIRES = 3.0
"""Seconds; long enough for a server to take the certificate."""
QUICK: dict[str, dict[str, Any]] = {
    INFO: {"connect_timeout": 1.0, "deadline": 1.5},
    FAILOVER: {"deadline": 1.0, "mode": "planned"},
    REPLICATION: {"connect_timeout": 1.0},
    MEMBER: {"connect_timeout": 1.0, "name": "s3", "state": "out_of_service"},
}
MODES = {INFO: (False,), FAILOVER: (True, False), REPLICATION: (True, False), MEMBER: (True, False)}
"""Check mode or not. What mysql_topology_info does in check mode, its own test shows."""


@dataclasses.dataclass(frozen=True)
class Field:
    """What the cases are made of: a lossless cluster, a server without GTIDs, and two that are none of ours."""

    cluster: Any
    stray: scratch.Server
    mariadb: int
    old: int

    def with_member(self, **member: Any) -> dict[str, Any]:
        return {"members": [*self.cluster.arguments(INFO)["members"], member]}

    def with_pretender(self, port: int) -> dict[str, Any]:
        return self.with_member(name="other", host="127.0.0.1", port=port)

    @property
    def nowhere(self) -> list[dict[str, Any]]:
        """Members at addresses of the servers' network that nobody has."""
        return [{"name": f"s{number}", "host": self.cluster.farm.address(number + 90)} for number in (1, 2, 3)]


@dataclasses.dataclass(frozen=True)
class Case:
    """``codes``: what each module says; where mysql_topology_info does not fail, its verdict (empty: a lossless one).

    ``says``: in every message. ``advice``: a pattern in every next step. ``wears``: what certificate the primary shows.
    """

    name: str
    arguments: Callable[[Field], dict[str, Any]]
    codes: dict[str, str]
    says: tuple[str, ...]
    advice: str
    wears: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def everywhere(code: str) -> dict[str, str]:
    return dict.fromkeys((INFO, FAILOVER, REPLICATION, MEMBER), code)


SILENT = {
    INFO: "no_answer",
    FAILOVER: "topology_no_answer",
    REPLICATION: "member_does_not_answer",
    MEMBER: "member_does_not_answer",
}
NOT_LET_IN = {
    INFO: "primary_unreachable_from_here",
    FAILOVER: "not_lossless_primary_unreachable_from_here",
    REPLICATION: "primary_does_not_answer",
    MEMBER: "primary_does_not_answer",
}
STRANGER = {INFO: "", FAILOVER: "connect_not_supported", REPLICATION: "connect_not_supported"}

CASES = [
    Case(
        "unknown primary",
        lambda f: {"primary": "nobody"},
        {FAILOVER: "unknown_primary", REPLICATION: "unknown_primary"},
        ("'nobody'",),
        "Name one of the members",
    ),
    Case("unknown member", lambda f: {"name": "nobody"}, {MEMBER: "unknown_member"}, ("'nobody'",), "Name a member"),
    Case("empty member list", lambda f: {"members": []}, everywhere("no_members"), ("empty",), "mysql_ha_hosts"),
    Case(
        "wrong password",
        lambda f: {"login_password": "wrong'canary"},
        SILENT,
        ("Access denied", "s1 (", "s2 (", "s3 (", "1045"),
        "password",
    ),
    Case("unreachable members", lambda f: {"members": f.nowhere}, SILENT, ("s1 (", "s2 (", "s3 ("), "network|route"),
    Case("MariaDB", lambda f: f.with_pretender(f.mariadb), STRANGER, ("other", "MariaDB"), "Use MySQL 8.0.26"),
    Case("MySQL 5.7", lambda f: f.with_pretender(f.old), STRANGER, ("other", "MySQL 5.7.44"), "Use MySQL 8.0.26"),
    Case(
        "gtid_mode OFF",
        lambda f: f.with_member(name="s4", host=f.stray.address, zone="z4", city="one"),
        {INFO: "", REPLICATION: "settings_drift"},
        ("s4", "gtid_mode"),
        "Run the server role",
    ),
    Case("expired certificate", lambda f: {}, NOT_LET_IN, ("s1 (", "expired"), "certificate's dates", "-expired"),
    Case("certificate of another CA", lambda f: {}, NOT_LET_IN, ("s1 (", "certificate"), "the CA file", "-foreign"),
    Case(
        "expired certificate, taken for a death",
        lambda f: {},
        {FAILOVER: "primary_alive_no_login"},
        ("s1 (", "expired"),
        "It is not dead",
        "-expired",
        {"mode": "emergency"},
    ),
]


@contextlib.contextmanager
def pretender(version: str) -> Iterator[int]:
    """Greets as a server of that version does and hangs up: what it is has to be seen from the greeting. Its port."""
    greeting = b"\x0a" + version.encode() + b"\0" + bytes(4) + b"12345678\0" + b"\x05\xa2\x21\x02\0\x08\0\x15"
    greeting += bytes(10) + b"123456789012\0" + b"mysql_native_password\0"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            while True:
                try:
                    client = server.accept()[0]
                except OSError:
                    return
                with client, contextlib.suppress(OSError):
                    client.sendall(len(greeting).to_bytes(3, "little") + b"\0" + greeting)
                    client.recv(4096)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@contextlib.contextmanager
def worn(server: scratch.Server, label: str) -> Iterator[None]:
    """The server shows that certificate. It takes none that has expired: it takes one, which then expires."""
    if label == "-expired":
        server.farm.certify(server.number, label, seconds=EXPIRES)
        expires = time.monotonic() + EXPIRES
    with server.wearing(label) if label else contextlib.nullcontext():
        if label == "-expired":
            time.sleep(max(expires - time.monotonic(), 0))
        yield


@dataclasses.dataclass(frozen=True)
class Told:
    """What one module said; in check mode first, if it ever acts."""

    module: str
    results: list[dict[str, Any]]


_told: dict[str, list[Told]] = {}


@pytest.fixture
def told(lossless: Any, stray: scratch.Server, tmp_path: Path) -> dict[str, list[Told]]:
    """What all modules said in all cases: asked in one run for each certificate, for starting ansible takes longest."""
    if _told:
        return _told
    farm = lossless.farm
    farm.certify(1, "-foreign", authority=scratch.Authority("somebody else"))
    untouched = scratch.everything([*lossless.servers, stray])
    with pretender("5.5.5-10.11.6-MariaDB-0+deb12u1") as mariadb, pretender("5.7.44-log") as old:
        field = Field(lossless, stray, mariadb, old)
        for wears in ("", "-expired", "-foreign"):
            cases = [case for case in CASES if case.wears == wears]
            calls = []
            for case in cases:
                for module in case.codes:
                    journal = {"journal_directory": str(tmp_path / "journal")} if module == FAILOVER else {}
                    options = {**QUICK[module], **journal, **case.options, **case.arguments(field)}
                    given = lossless.arguments(module, **options)
                    calls += [Call(module, given, check) for check in MODES[module]]
            with worn(lossless.servers[0], wears):
                results = iter(play(*calls)[0])
            for case in cases:
                _told[case.name] = [Told(module, [next(results) for _mode in MODES[module]]) for module in case.codes]
    assert scratch.everything([*lossless.servers, stray]) == untouched, "something was changed"
    return _told


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_bad_input_is_one_clear_error_and_changes_nothing(told: dict[str, list[Told]], case: Case) -> None:
    assert [said.module for said in told[case.name]] == list(case.codes)
    for said in told[case.name]:
        for result in said.results:
            assert_clear(case, said.module, result)


def assert_clear(case: Case, module: str, result: dict[str, Any]) -> None:
    assert not result.get("changed")
    if module == INFO and not result["failed"]:
        assert_shown(case, result)
        return
    assert result["failed"], result
    assert (result["code"], module) == (case.codes[module], module), result
    for word in case.says:
        assert word in result["msg"], result
    assert re.search(case.advice, result["next_step"]), result
    assert "evidence" in result
    reasons = [reason["code"] for reason in result["evidence"].get("reasons", [])]
    # No keeper runs here: that a failover could not be proven now is a second truth, where the cluster was looked at.
    assert [code for code in reasons if code != "not_lossless_lossless_uncertain"] in ([], [result["code"]]), result


def assert_shown(case: Case, result: dict[str, Any]) -> None:
    """mysql_topology_info does not fail for what it sees: the silent, or the drifted, say the same."""
    expected = case.codes[INFO]
    assert result["verdict"] == expected or (not expected and result["verdict"].startswith("lossless")), result
    servers = result["servers"].values()
    shown = [s["error"] for s in servers if not s["answered"]]
    shown += [f"{name} {d['name']}" for name, s in result["servers"].items() for d in s.get("drift", [])]
    for word in case.says:
        assert any(word in text for text in shown), (word, result)
    advice = [s["next_step"] for s in servers if not s["answered"]]
    assert not advice or any(re.search(case.advice, text) for text in advice), advice
