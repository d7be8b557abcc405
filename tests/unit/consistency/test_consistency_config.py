# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a run: what is wrong is said with its line, and never with a value."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import config, findings
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.run import Limits
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError

SECRET = "canary-4711"


def settings(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "cluster": "ledger",
        "run": "whole",
        "members": [
            {"name": "db1", "host": "10.0.0.11"},
            {"name": "db2", "host": "10.0.0.12"},
            {"name": "db3", "host": "10.0.0.13", "port": 33063, "zone": "c"},
        ],
        "user": "lossless_reconcile",
        "password": SECRET,
        "modes": ["whole"],
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def parse(**changes: Any) -> config.Config:
    return config.parse(json.dumps(settings(**changes), indent=1), "/etc/x.json")


def test_what_is_not_given_has_its_default() -> None:
    found = parse()
    assert (found.cluster, found.place.run, found.modes, found.replicas) == ("ledger", "whole", ("whole",), ())
    assert [member.name for member in found.members] == ["db1", "db2", "db3"]
    assert (found.login.user, found.login.password) == ("lossless_reconcile", SECRET)
    assert found.limits == Limits() and found.admin is None
    assert found.state_directory == f"{config.STATE_DIRECTORY}/whole"
    assert SECRET not in repr(found)


def test_everything_can_be_given() -> None:
    assertion = {"name": "x", "sql": "SELECT id FROM bank.account WHERE balance < 0", "expect": "zero_rows"}
    found = parse(
        modes=[*findings.MODES],
        assertions=[assertion],
        primary="db1",
        replicas=["db3"],
        admin_password=f"{SECRET}-admin",
        include=["bank.*", "shop"],
        exclude=["bank.tmp_*"],
        time_column="changed_at",
        reveal=True,
        limits={"lock_timeout": 0, "within": 600, "listed": 0, "max_latency": 0.5},
        report_directory="/srv/reports",
        metrics_directory="/srv/prom",
        keep=7,
    )
    assert found.modes == findings.MODES and found.assertions == (assertion,)
    assert (found.primary, found.replicas, found.reveal) == ("db1", ("db3",), True)
    assert found.recent.time_column == "changed_at"
    assert (found.include, found.exclude) == (("bank.*", "shop"), ("bank.tmp_*",))
    assert found.limits == Limits(lock=0, within=600, listed=0, latency=0.5)
    assert found.admin is not None and (found.admin.user, found.admin.ca) == ("lossless_admin", found.login.ca)
    assert found.admin.password == f"{SECRET}-admin" and SECRET not in repr(found)
    assert (found.place.directory, found.place.metrics_directory, found.place.keep) == ("/srv/reports", "/srv/prom", 7)


def member(**changes: Any) -> Callable[[], list[dict[str, Any]]]:
    return lambda: [*settings()["members"], {"name": "db9", "host": "10.0.0.19", **changes}]


@pytest.mark.parametrize(
    ("changes", "line_of", "why"),
    [
        ({"run": "Whole"}, "run", "small letters"),
        ({"run": "a-b"}, "run", "small letters"),
        ({"cluster": ""}, "cluster", "empty"),
        ({"members": []}, "members", "fewer than two"),
        ({"members": settings()["members"][:1]}, "members", "fewer than two"),
        ({"members": member(name="db1")()}, "", "same name"),
        ({"members": member(host="10.0.0.11")()}, "", "one address"),
        ({"members": member(port=0)()}, "", "between 1 and 65535"),
        ({"members": member(port=True)()}, "", "whole number"),
        ({"members": member(password=SECRET)()}, "", "unknown key"),
        ({"modes": []}, "modes", "nothing would be compared"),
        ({"modes": [SECRET]}, "", "unknown mode"),
        ({"modes": ["whole", "whole"]}, "", "twice"),
        ({"modes": ["business"]}, "modes", "belong together"),
        ({"assertions": [{"name": SECRET}]}, "assertions", "belong together"),
        ({"assertions": [SECRET], "modes": ["business"]}, "", "object"),
        ({"primary": SECRET}, "primary", "none of the members"),
        ({"replicas": [SECRET]}, "", "none of the members"),
        ({"replicas": ["db2", "db2"]}, "", "twice"),
        ({"replicas": ["db1"], "primary": "db1"}, "", "with itself"),
        ({"include": [""]}, "", "schema.table"),
        ({"modes": ["snapshot"]}, "modes", "admin_password"),
        ({"admin_password": SECRET, "admin_password_file": "/x"}, "admin_password_file", "one of"),
        ({"exclude": [7]}, "", "text"),
        ({"limits": {"max_differences": 0}}, "", "greater than 0"),
        ({"limits": {"statement_timeout": -1}}, "", "greater than 0"),
        ({"limits": {"lock_timeout": -1}}, "", "greater than 0"),
        ({"limits": {"max_differences": 1.5}}, "", "whole number"),
        ({"limits": {"nonsense": 1}}, "", "unknown key"),
        ({"keep": -1}, "keep", "negative"),
        ({"report_directory": "reports"}, "report_directory", "absolute"),
        ({"state_directory": ""}, "state_directory", "empty"),
        ({"metrics_directory": "x"}, "metrics_directory", "absolute"),
        ({"password_file": "/x"}, "password_file", "one of"),
        ({"reveal": "yes"}, "reveal", "true or false"),
        ({"surprise": SECRET}, "surprise", "unknown key"),
        ({"user": None}, "", "missing"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_without_a_value(
    changes: dict[str, Any], line_of: str, why: str
) -> None:
    text = json.dumps(settings(**changes), indent=1)
    with pytest.raises(HaError) as caught:
        config.parse(text, "/etc/x.json")
    error = caught.value
    assert error.code == "config_invalid" and why in error.message and error.next_step
    assert SECRET not in str(error) + repr(error.evidence)
    if line_of:
        line = next(number for number, each in enumerate(text.splitlines(), 1) if f'"{line_of}"' in each)
        assert f"line {line}:" in error.message


def test_the_file_and_the_password_in_a_file_of_its_own_are_private(tmp_path: Path) -> None:
    secret, path = tmp_path / "secret", tmp_path / "whole.json"
    secret.write_text(f"{SECRET}\n")
    path.write_text(json.dumps(settings(password=None, password_file=str(secret))))
    path.chmod(0o600)
    for mode, code in ((0o640, "config_not_private"), (0o600, "")):
        secret.chmod(mode)
        if code:
            with pytest.raises(HaError) as caught:
                config.load(str(path))
            assert caught.value.code == code
        else:
            assert config.load(str(path)).login.password == SECRET
    path.chmod(0o644)
    with pytest.raises(HaError) as caught:
        config.load(str(path))
    assert caught.value.code == "config_not_private" and SECRET not in str(caught.value)
    with pytest.raises(HaError) as caught:
        config.load(str(tmp_path / "none.json"))
    assert caught.value.code == "config_unreadable"


def test_a_wrong_assertion_is_found_by_the_check_too() -> None:
    with pytest.raises(HaError) as caught:
        parse(modes=["business"], assertions=[{"name": "x", "sql": "DELETE FROM a.b", "expect": "equal"}])
    assert caught.value.code.startswith("assertion_")


def test_every_limit_of_a_run_can_be_given() -> None:
    """One that is added to the run is looked at here before it is forgotten."""
    assert set(config.LIMITS.values()) == {field.name for field in dataclasses.fields(Limits)}
