# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, against a service on a unix socket with a made-up desk: its texts, its exit codes, its rights."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils import manager
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import cli, glance, terminal
from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import http as service
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.member import OPERATIONS
from hypothesis import given
from hypothesis import strategies as st

from .face_samples import EXPLAINED, HISTORY, NOW, STATES, FakeDesk, cluster, maintenance, many, member, status

PEN = terminal.Pen()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Session:
    """A desk, a service, and the commands that were run."""

    def __init__(self, path: Path, desk: FakeDesk) -> None:
        self.desk = desk
        self.path = str(path / "m.sock")
        self.server = service.serve(
            desk, address="127.0.0.1", socket_path=self.path, token="canary", say=lambda *_line: None
        )
        self.now = NOW
        self.out = ""
        self.err = ""

    def run(self, *arguments: str, environ: dict[str, str] | None = None, tty: bool = False) -> int:
        kind = Terminal if tty else io.StringIO
        world = cli.World(kind(), kind(), {"SUDO_USER": "anna"} if environ is None else environ, lambda: self.now)
        options = [] if "--socket" in arguments or "--url" in arguments else ["--socket", self.path]
        code = cli.main([*options, *arguments], world)
        self.out, self.err = world.out.getvalue(), world.err.getvalue()  # type: ignore[attr-defined]
        return code


@pytest.fixture(autouse=True)
def _ends_soon(monkeypatch: Any) -> None:
    monkeypatch.setattr(service, "POLL_S", 0.02)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    found = Session(tmp_path, FakeDesk({"ledger": STATES["healthy"], "orders": STATES["refused"]}))
    yield found
    found.server.close()


# --- texts -----------------------------------------------------------------------------------------------------------
def test_status_of_everything() -> None:
    found = {name: STATES[name] for name in ("healthy", "refused", "acting", "paused", "lagging")}
    assert terminal.status(status({**found, **many(6)}), PEN) == (
        """\
1 of 11 clusters needs a person
manager 0.2.0 on ha1, up 9 d, 33 members, a look every 0.5 s, 4 ms late

x refused  primary dead or isolated for 10 min, no action: held  term 4  n 2  k 1
  x db1    primary     timed out               one/a  no answer within 0.5 s
      db2  connecting  read-only 0.2 s behind  one/b
  x   db3  not known   timed out               one/c
    why  db1 gives no answer, and db3 neither.
         2026-01-31 03:02:04 UTC: db1 was not replaced: refused: nothing promoted, nobody has acknowledged it.
         Fewer acknowledgers answer than have to be held: 1 of 2. db3 is silent.
    next Bring back db3, then run mysql-ha explain.
    held The last recovery was refused, and nothing has changed since.
    run  mysql-ha explain refused
         mysql-ha ack r-42

> acting  primary dead or isolated for 3.1 s, failing over now  term 4  n 2  k 1
  x db1    primary  timed out               one/a  no answer within 0.5 s
  x   db2  stopped  read-only 0.2 s behind  one/b
  x   db3  stopped  read-only 0.2 s behind  one/c
    why  No change of heartbeat, queued GTID or relay position on 2 of 2 members in two ticks.
    last 2026-01-31 03:12:03 UTC: db1 is being replaced.

! lagging  degraded for 3 d  term 4  n 2  k 1
    db1    primary      writable                one/a
      db2  attached     read-only 5 min behind  one/b
  x   db3  follows db2  read-only 0.2 s behind  one/c  follows db2, which is not the primary
    why  The heartbeat row of db1 shows that its disk is full.
         db3 does not follow the primary: run site.yml.

= paused  healthy for 3 d, paused  term 4  n 2  k 1
    db1    primary   writable                one/a
      db2  attached  read-only 0.2 s behind  one/b
      db3  attached  read-only 0.2 s behind  one/c
    held Paused by anna until resumed: kernel upgrade.
    run  mysql-ha resume paused

. 7 well
    healthy  shop-001  shop-002  shop-003  shop-004  shop-005  shop-006
"""
    )


def test_status_of_one_that_is_well() -> None:
    assert terminal.status(status({"ledger": STATES["healthy"]}), PEN) == (
        """\
All is well
manager 0.2.0 on ha1, up 9 d, 3 members, a look every 0.5 s, 4 ms late

. ledger  healthy for 3 d  term 4  n 2  k 1
    db1    primary   writable                one/a
      db2  attached  read-only 0.2 s behind  one/b
      db3  attached  read-only 0.2 s behind  one/c
"""
    )


def test_status_of_hundreds_fits_on_a_screen() -> None:
    lines = terminal.status(status(many(300)), PEN).splitlines()
    assert len(lines) < 95 and max(len(line) for line in lines) <= 110


def test_a_late_manager_and_a_dry_run_are_said_first() -> None:
    lines = terminal.status(status({"a": STATES["healthy"]}, dry_run=True, tick_late_s=3.0), PEN).splitlines()
    assert lines[0] == "The manager is late: this may be history"
    assert lines[2] == "x Not in time: the last tick is 3.0 s late, and 1.0 s are allowed."
    assert lines[3] == "= Dry run: it says what it would do, and does nothing."


def test_history() -> None:
    assert terminal.history(HISTORY, PEN) == (
        """\
WHEN                     ID    CLUSTER   OUTCOME                    PRIMARY     ZERO LOSS  OUTAGE  ACKNOWLEDGED
2026-01-31 03:02:04 UTC  r-42  shop-007  refused: nothing promoted  db1         -          -       not yet
    why  Fewer acknowledgers answer than have to be held: 1 of 2. db3 is silent.
    next Bring back db3, then run mysql-ha explain.
2026-01-31 03:02:04 UTC  r-41  ledger    promoted                   db1 -> db2  proven     742 ms  not yet
2026-01-27 03:12:04 UTC  r-40  orders    promoted                   db1 -> db2  proven     96 ms   ben
2025-12-22 03:12:04 UTC  r-39  orders    failed on the way          db1         -          -       anna
    why  The lock is gone: its connection broke.
    next Run again.
"""
    )
    assert terminal.history([], PEN) == "No recovery and no switchover is recorded.\n"


def test_explained() -> None:
    assert terminal.explained(EXPLAINED, PEN) == (
        """\
ledger: healthy

Were the primary to die now
    db2 would become primary, about 0.7 s after db1 falls.
    1. Freeze db2 and db3 (n-k+1 = 2).
    2. Elect the most advanced of them.
    3. Promote it, and begin term 5.

What stands in the way
  ! db3 is 312 s behind. [too_few_acknowledgers]
    next Wait until it has caught up.

What may die
    The loss of one host loses nothing.
"""
    )


def test_clusters(session: Session) -> None:
    for entry in session.desk.said["clusters"].values():
        entry["updated_at"] = 4e9
    assert session.run("clusters") == 0
    assert session.out == (
        """\
   CLUSTER  STATE                                      FOR     PRIMARY  UP   TERM
x  orders   primary dead or isolated, no action: held  10 min  db1      1/3  4
.  ledger   healthy                                    3 d     db1      3/3  4
"""
    )


# --- exit codes ------------------------------------------------------------------------------------------------------
def test_the_exit_code_of_status_says_whether_somebody_should_look(session: Session) -> None:
    assert session.run("status") == 1
    session.desk.said["clusters"].pop("orders")
    assert session.run("status") == 0
    session.desk.said["clusters"]["ledger"]["paused"] = {"by": "anna", "reason": "x", "until": None}
    assert session.run("status") == 0
    session.desk.said["manager"]["tick_late_s"] = 60.0
    assert session.run("status") == 1


def test_status_of_one_cluster(session: Session) -> None:
    session.desk.said["clusters"]["ledger"]["updated_at"] = 4e9
    assert session.run("status", "ledger") == 0 and session.out.startswith(". ledger  healthy for ")
    assert session.run("status", "orders") == 1 and "x orders" in session.out
    assert session.run("status", "nope") == 1
    assert session.out == "" and session.err.startswith("x no cluster of that name is watched here: nope")


def test_a_name_may_hold_anything(session: Session) -> None:
    name = "orders/eu ?#%2F"
    session.desk.said["clusters"][name] = {**STATES["healthy"], "updated_at": 4e9}
    assert session.run("status", name) == 0 and session.out.startswith(f". {name}  healthy")
    assert session.run("resume", name) == 0 and session.desk.calls == [("resume", name, "anna")]


def test_no_manager_is_three(session: Session, tmp_path: Path) -> None:
    for where in (["--socket", str(tmp_path / "none.sock")], ["--url", "http://127.0.0.1:1"]):
        assert session.run(*where, "status") == 3
        assert "[manager_unreachable]" in session.err and "systemctl status" in session.err
    session.server.close()
    assert session.run("history") == 3
    assert session.run("history", "--json") == 3 and json.loads(session.out)["code"] == "manager_unreachable"


def test_who_answers_with_anything_else_is_no_manager(session: Session, monkeypatch: Any) -> None:
    from ansible_collections.lossless.mysql_ha.plugins.module_utils.manager import routes

    for status_code, body in ((200, b"<html>"), (502, b"bad gateway"), (500, b"[]"), (404, b"{}")):
        reply = routes.Reply(status_code, "text/html", body)
        monkeypatch.setattr(routes, "answer", lambda *_arguments, reply=reply: reply)
        assert session.run("status") == 3 and "is no manager" in session.err


def test_usage_is_two(session: Session, capsys: Any) -> None:
    for wrong in (
        [],
        ["sing"],
        ["pause", "ledger"],
        ["pause", "--reason", "x"],
        ["pause", "ledger", "--all", "--reason", "x"],
        ["pause", "ledger", "--reason", "x", "--for", "soon"],
        ["pause", "ledger", "--reason", "x", "--for", "0"],
        ["ack"],
        ["history", "--limit", "0"],
        ["--timeout", "0", "status"],
    ):
        with pytest.raises(SystemExit) as ended:
            session.run(*wrong)
        assert ended.value.code == 2, wrong
    assert session.run("--url", "ftp://localhost", "status") == 2
    assert session.run("--url", "http://localhost:port", "status") == 2
    assert "usage: mysql-ha" in capsys.readouterr().err
    assert session.desk.calls == []


def test_help_states_the_exit_codes(session: Session, capsys: Any) -> None:
    for arguments in (["--help"], ["status", "--help"], ["check-config", "--help"]):
        with pytest.raises(SystemExit) as ended:
            session.run(*arguments)
        assert ended.value.code == 0
        said = capsys.readouterr().out
        assert all(f"\n  {code}  " in said for code in range(4)), said


# --- changes ---------------------------------------------------------------------------------------------------------
def test_changes(session: Session) -> None:
    session.now = 4e9 - 7200
    assert session.run("pause", "ledger", "--reason", "disks", "--for", "2h") == 0
    assert session.out == "ledger: automatic failover is paused until 2096-10-02 07:06:40 UTC.\n"
    assert session.run("pause", "ledger", "--reason", "disks") == 0
    assert session.out == "ledger: automatic failover is paused until it is resumed.\n"
    assert session.run("pause", "--all", "--reason", "network") == 0
    assert session.run("resume", "ledger", "--by", "ben") == 0
    assert session.out == "ledger: automatic failover is on again.\n"
    assert session.run("resume", "--all") == 0
    assert session.run("ack", "r-41") == 0
    assert session.out == "r-41: acknowledged by anna.\n"
    assert session.run("switchover", "ledger") == 0
    assert session.out.splitlines()[0] == "ledger: 2026-01-31 03:02:04 UTC: db1 to db2, zero loss proven, outage 96 ms."
    assert session.run("member", "take-out", "ledger", "db3", "--reason", "new disk") == 0
    assert session.out == (
        """\
ledger: db3 taken out of service
    for  new disk (anna)
    did  lock lossless_repl_3 on db1, so that db3 cannot acknowledge
    now  k=1 of n=1 acknowledgements, on disk
"""
    )
    assert session.run("member", "bring-back", "ledger", "db3", "--by", "ben") == 0
    assert session.desk.calls == [
        ("pause", "ledger", "anna", "disks", 4e9),
        ("pause", "ledger", "anna", "disks", None),
        ("pause", "", "anna", "network", None),
        ("resume", "ledger", "ben"),
        ("resume", "", "anna"),
        ("ack", "r-41", "anna"),
        ("switchover", "ledger", "auto", "anna"),
        ("maintain", "ledger", "db3", "take_out", "anna", "new disk"),
        ("maintain", "ledger", "db3", "bring_back", "ben", ""),
    ]


def test_a_refusal_is_one_with_its_reason_and_what_to_do(session: Session) -> None:
    assert session.run("switchover", "ledger", "--to", "db3") == 1
    assert session.out == "" and session.err == (
        "x refused: db3 does not replicate soundly [target_not_healthy]\n    next Mend db3, or name another.\n"
    )


def test_a_member_operation_that_is_refused(session: Session) -> None:
    assert session.run("member", "stop", "ledger", "db1") == 1
    assert session.out == "" and session.err == (
        "x refused: db1 is the primary [member_is_primary]\n    next Switch over first.\n"
    )


def test_the_help_of_member_says_that_nothing_is_skipped(session: Session, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        session.run("member", "--help")
    said = capsys.readouterr().out
    assert "No operation skips a transaction." in said
    assert all(f"\n  {operation} " in said for operation in glance.OPERATIONS)


def test_the_operations_are_those_of_the_plans() -> None:
    assert tuple(glance.OPERATIONS.values()) == OPERATIONS


def test_operations_in_the_history_and_members_out_of_service() -> None:
    said = terminal.history([maintenance(), maintenance(outcome="refused", refusal=["It is the primary."])], PEN)
    assert said == (
        """\
WHEN                     ID    CLUSTER  OUTCOME                                PRIMARY  ZERO LOSS  OUTAGE  ACKNOWLEDGED
2026-01-31 03:02:04 UTC  r-60  ledger   db3 taken out of service               db1      -          -       -
    for  new disk (anna)
2026-01-31 03:02:04 UTC  r-60  ledger   db3 not taken out of service: refused  db1      -          -       -
    for  new disk (anna)
    why  It is the primary.
"""
    )
    members = {
        "db1": member(1),
        "db2": member(2, "db1"),
        "db3": member(3, "db1", answer="refused", out_of_service="x y"),
    }
    said = terminal.cluster({**cluster(members=members), "name": "ledger", "now": NOW}, PEN)
    assert "x  " not in said
    assert "refused out of service" in said and said.count("x y") == 2


def test_all_reasons_of_a_refusal_are_printed() -> None:
    reasons = [{"code": "a", "message": "first"}, {"code": "b", "message": "second"}]
    assert terminal.error("a", "refused: first; second", reasons, "Do it.", PEN) == (
        "x refused, for 2 reasons [a]\n    why  first [a]\n         second [b]\n    next Do it.\n"
    )


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"SUDO_USER": "anna", "LOGNAME": "root"}, "anna"),
        ({"LOGNAME": "ben", "USER": "x"}, "ben"),
        ({"USER": "cleo"}, "cleo"),
    ],
)
def test_who_asks_is_who_logged_in(session: Session, environ: dict[str, str], name: str) -> None:
    assert session.run("ack", "r-41", environ=environ) == 0
    assert session.desk.calls == [("ack", "r-41", name)]


def test_over_a_url_a_change_needs_the_token(session: Session, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{session.server.port}"
    token = tmp_path / "token"
    token.write_text("canary\n")
    token.chmod(0o600)
    assert session.run("--url", url, "status") == 1
    assert session.run("--url", url, "ack", "r-41") == 1 and "[token_missing]" in session.err
    assert session.run("--url", url + "/", "--token-file", str(token), "ack", "r-41") == 0
    token.chmod(0o640)
    assert session.run("--url", url, "--token-file", str(token), "ack", "r-41") == 2
    assert "[token_not_private]" in session.err and "canary" not in session.err
    for content in (b"", b"two\nlines", b"\xff"):
        token.write_bytes(content)
        token.chmod(0o600)
        assert session.run("--url", url, "--token-file", str(token), "ack", "r-41") == 2
        assert "[token_unreadable]" in session.err
    assert session.run("--url", url, "--token-file", str(tmp_path / "none"), "ack", "r-41") == 2


def test_json_is_what_the_manager_answers(session: Session) -> None:
    for arguments in (["status"], ["clusters"], ["history"], ["explain", "ledger"], ["status", "ledger"]):
        session.run(*arguments, "--json")
        assert session.err == "" and isinstance(json.loads(session.out), dict), arguments
    assert session.run("--json", "switchover", "ledger", "--to", "db3") == 1
    found = json.loads(session.out)
    assert found["code"] == "target_not_healthy" and found["next_step"]


def test_options_may_stand_before_and_after_the_command() -> None:
    parsed = cli.parser().parse_args(["--json", "--url", "http://a", "status", "--timeout", "3"])
    assert (parsed.json, parsed.url, parsed.timeout) == (True, "http://a", 3.0)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("30s", 30), ("15m", 900), ("2h", 7200), ("1d", 86400)])
def test_durations(text: str, seconds: float) -> None:
    assert cli._duration(text) == seconds


# --- colour, and what comes from elsewhere ---------------------------------------------------------------------------
def test_colour_is_for_terminals_that_want_it(session: Session) -> None:
    session.run("status", tty=True)
    assert "\x1b[" in session.out
    coloured = session.out
    session.run("status", tty=True, environ={"NO_COLOR": "1"})
    assert "\x1b[" not in session.out
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert plain == session.out, "colour adds nothing that is not said"
    session.run("status")
    assert "\x1b[" not in session.out


@given(st.text(), st.text())
def test_nothing_from_elsewhere_moves_the_cursor(name: str, message: str) -> None:
    found = {
        **STATES["refused"],
        "reasons": [message],
        "primary": name,
        "held_by": [message],
        "members": {name: member(1, message=message, answer=message, zone=message), "b": member(2, name)},
    }
    history = [{**HISTORY[0], "cluster": name, "refusal": [message], "next_step": message, "id": message}]
    for text in (
        terminal.status(status({name: found}, host=message), PEN),
        terminal.cluster({**found, "name": name, "now": NOW}, PEN),
        terminal.clusters([{"name": name, "headline": message}], NOW, PEN),
        terminal.history(history, PEN),
        terminal.recovery(history[0], PEN),
        terminal.explained({**EXPLAINED, "would": message, "plan": [message]}, PEN),
        terminal.error("x", message, [], message, PEN),
    ):
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        assert text.endswith("\n") and "\r" not in text


# --- check-config ----------------------------------------------------------------------------------------------------
def _fake_config(monkeypatch: Any, load: Any) -> None:
    fake = types.SimpleNamespace(PATH="/etc/somewhere.json", load=load)
    monkeypatch.setattr(manager, "config", fake, raising=False)


def test_check_config_needs_no_manager(session: Session, monkeypatch: Any) -> None:
    read = []

    def load(path: str) -> Any:
        read.append(path)
        return types.SimpleNamespace(clusters=(types.SimpleNamespace(name="ledger"),))

    _fake_config(monkeypatch, load)
    session.server.close()
    assert session.run("check-config", "/tmp/x.json") == 0 and session.out == "/tmp/x.json: valid, 1 cluster.\n"
    assert session.run("check-config", "--json") == 0 and json.loads(session.out)["clusters"] == ["ledger"]
    assert read == ["/tmp/x.json", "/etc/somewhere.json"]


def test_check_config_says_the_line(session: Session, monkeypatch: Any) -> None:
    def load(path: str) -> Any:
        raise HaError("config_invalid", f"{path}, line 7: unknown key 'tik'", next_step="Correct it.")

    _fake_config(monkeypatch, load)
    assert session.run("check-config", "/tmp/x.json") == 1
    assert session.err == "x /tmp/x.json, line 7: unknown key 'tik' [config_invalid]\n    next Correct it.\n"


# --- as a program ----------------------------------------------------------------------------------------------------
def test_as_a_program_it_ends_quietly_when_nobody_reads_on(session: Session) -> None:
    session.desk.said["clusters"] = {f"c{number}": STATES["refused"] for number in range(2000)}
    command = [sys.executable, "-m", cli.__name__, "--socket", session.path, "status"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        if process.stdout is None or process.stderr is None:
            raise AssertionError("pipes were asked for")
        assert process.stdout.readline().startswith(b"2000 of 2000")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 1, "it still says that somebody should look"
