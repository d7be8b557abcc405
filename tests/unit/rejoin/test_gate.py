# SPDX-License-Identifier: GPL-3.0-or-later
"""The restart gate from its configuration to the log file, with peers that are values."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.refusal import Reason
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin import config, gate, peers, record
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.verdict import (
    Replica,
    StillPrimary,
    Unknown,
    Verdict,
)
from ansible_collections.lossless.mysql_ha.tests.unit.binlog.samples import UUID, content, whole
from ansible_collections.lossless.mysql_ha.tests.unit.rejoin.test_rewind_doing import LAST, successor
from ansible_collections.lossless.mysql_ha.tests.unit.topology.situations import primary, term

NEW = term(3, 1, primary=2)


@pytest.fixture(name="given")
def given_(tmp_path: Path) -> dict[str, Any]:
    data = tmp_path / "data"
    data.mkdir()
    (data / "binlog.000001").write_bytes(content("killed"))
    (data / "binlog.index").write_text("./binlog.000001\n")
    (data / "auto.cnf").write_text(f"[auto]\nserver-uuid={UUID}\n")
    (data / "ibdata1").write_bytes(b"\0" * 4096)
    return {
        "cluster": "ledger",
        "name": "db1",
        "members": [{"name": f"db{n}", "host": f"10.0.0.{n}"} for n in (1, 2, 3)],
        "user": "lossless_reconcile",
        "password": "reads",
        "keeper_user": "lossless_keeper",
        "keeper_password": "writes",
        "replication_user_prefix": "lossless_repl_",
        "replication_password": "follows",
        "data_directory": str(data),
        "log_bin_index": str(data / "binlog.index"),
        "archive_directory": str(tmp_path / "archive"),
        "record_directory": str(tmp_path / "rejoin"),
    }


def pass_through(
    given: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    found: Verdict,
    announced: Any = None,
    **knows: Any,
) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(peers, "ask", lambda *_given, **_how: found)
    known = successor()
    for name, value in knows.items():
        object.__setattr__(known, name, value)
    monkeypatch.setattr(peers, "successor", lambda *_given, **_how: known)
    if announced is None:
        announced = []
    monkeypatch.setattr(gate.telling, "announce", lambda row, primary, _login: announced.append((row, primary.name)))
    gate.pass_through(config.parse(json.dumps(given)), said.append, now=1.0, host="db1")
    return said


def log(given: dict[str, Any]) -> bytes:
    return Path(given["data_directory"], "binlog.000001").read_bytes()


def kept(given: dict[str, Any]) -> list[Path]:
    return sorted(Path(given["record_directory"]).glob("*.kept"))


def test_deposed_by_a_proven_promotion_it_is_rewound(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    said = pass_through(given, monkeypatch, Replica(NEW, primary(NEW, 2)))
    assert log(given) == content("killed")[: LAST.start]
    written = record.read(given["record_directory"])
    assert written is not None
    assert written.gtids == str(LAST.gtid)
    assert any("cut at" in line for line in said)


def test_the_primary_is_told_before_anything_is_cut(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    class Told(list[Any]):
        def append(self, told: Any) -> None:
            super().append((*told, log(given) == content("killed")))

    announced = Told()
    pass_through(given, monkeypatch, Replica(NEW, primary(NEW, 2)), announced)
    ((row, name, uncut),) = announced
    assert (row.state, row.gtids, name, uncut) == ("pending", str(LAST.gtid), "db2", True)


def test_a_primary_that_can_not_be_told_keeps_nobody_waiting(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fails:
        def append(self, _told: Any) -> None:
            raise HaError("deadline_exceeded", "db2: no answer within 5 s")

    said = pass_through(given, monkeypatch, Replica(NEW, primary(NEW, 2)), Fails())
    assert log(given) == content("killed")[: LAST.start]
    assert any("could not be told" in line for line in said)


def test_not_proven_nothing_is_cut_and_the_end_is_kept(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    said = pass_through(given, monkeypatch, Replica(NEW, primary(NEW, 2)), heartbeat=None)
    assert log(given) == content("killed")
    assert [path.read_bytes() for path in kept(given)] == [content("killed")]
    assert any("semi_sync_unobserved" in line for line in said)
    assert record.read(given["record_directory"]) is None


def test_nobody_to_ask_nothing_is_cut_and_the_end_is_kept(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Unknown(Reason("too_few_peers_answer", "0 of 2 peers answer", {}, "Bring them back."))
    for _time in range(2):
        said = pass_through(given, monkeypatch, found)
        assert log(given) == content("killed")
        assert len(kept(given)) == 1
    assert any("kept already" in line for line in said)


def test_still_the_primary_it_starts_as_it_is(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    said = pass_through(given, monkeypatch, StillPrimary(term(3, 1)))
    assert log(given) == content("killed")
    assert not kept(given)
    assert "acknowledged once the acknowledgers hold it" in said[-1]


def test_without_surplus_it_starts(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    everything = successor().executed
    for each in whole(content("killed")):
        assert each.gtid is not None
        everything = everything | each.gtid.as_set()
    said = pass_through(given, monkeypatch, Replica(NEW, primary(NEW, 2)), executed=everything, heartbeat=None)
    assert log(given) == content("killed")
    assert said[-1] == "this server has nothing that it lacks: start"


def test_after_a_clean_end_nobody_is_asked(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    Path(given["data_directory"], "binlog.000001").write_bytes(content("plain"))

    def ask(*_given: Any, **_how: Any) -> Verdict:
        raise AssertionError("nobody is asked")

    monkeypatch.setattr(peers, "ask", ask)
    said: list[str] = []
    gate.pass_through(config.parse(json.dumps(given)), said.append, now=1.0, host="db1")
    assert "ended by itself" in said[0]
    os.unlink(given["log_bin_index"])
    gate.pass_through(config.parse(json.dumps(given)), said.append, now=1.0, host="db1")
    assert "no binary log yet" in said[1]


def test_whatever_goes_wrong_mysqld_starts(given: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "rejoin.json"
    assert gate.main(["--config", str(path)]) == 0
    path.write_text(json.dumps({**given, "log_bin_index": str(tmp_path)}))
    path.chmod(0o600)
    assert gate.main(["--config", str(path)]) == 0
    path.write_text("{")
    assert gate.main(["--config", str(path)]) == 0
    assert "config_invalid" in capsys.readouterr().out
    assert gate.main(["--config", str(path), "--check"]) == 1


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "db9"}, "none of the members"),
    ({"members": [{"name": "db1", "host": "a"}, {"name": "db1", "host": "b"}]}, "the same name"),
    ({"settle": 40}, "settle"),
    ({"patience": -1, "settle": -2}, "negative"),
    ({"colour": "red"}, "unknown key"),
    ({"members": [{"host": "a"}]}, "name"),
]


@pytest.mark.parametrize(("change", "says"), WRONG, ids=[says for _change, says in WRONG])
def test_wrong_configuration_is_refused_with_its_line(change: dict[str, Any], says: str, given: dict[str, Any]) -> None:
    with pytest.raises(HaError) as error:
        config.parse(json.dumps({**given, **change}, indent=1))
    assert error.value.code == "config_invalid"
    assert says in error.value.message
    assert "line" in error.value.evidence


def test_secrets_are_not_shown(given: dict[str, Any]) -> None:
    shown = repr(config.parse(json.dumps(given)))
    assert not any(secret in shown for secret in ("reads", "writes", "follows"))
