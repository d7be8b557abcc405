# SPDX-License-Identifier: GPL-3.0-or-later
"""roles/consistency, rendered by Ansible: the files that the program reads, its unit and its timers."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import config, report_file
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.run import Limits
from ansible_collections.lossless.mysql_ha.plugins.modules import mysql_consistency

ROLE = Path(__file__).resolve().parents[3] / "roles" / "consistency"
MEMBERS = [
    {"name": name, "host": f"10.0.0.{number}", "port": 33062, "replication_port": 3306, "zone": "a", "city": "one"}
    for number, name in enumerate(("db1", "db2"), 11)
]
CANARY = "canary-reconcile"
INVENTORY: dict[str, Any] = {
    "mysql_ha_members": MEMBERS,
    "mysql_ha_reconcile_password": CANARY,
    "ansible_managed": "managed",
    "mysql_ha_cluster": "ledger",
}
RUNS = [
    {
        "name": "recent",
        "modes": ["recent_time"],
        "on_calendar": "*:0/10",
        "include": ["bank.*"],
        "limits": {"within": 480},
    },
    {"name": "whole", "modes": ["whole", "business"], "on_calendar": "*-*-* 02:30:00", "reveal": True},
]
ASSERTIONS = [{"name": "no negative balance", "sql": "SELECT id FROM bank.account", "expect": "zero_rows"}]


def templar(family: str = "debian", **changes: Any) -> tuple[DataLoader, Templar]:
    loader = DataLoader()
    loader.set_basedir(str(ROLE))
    variables: dict[str, Any] = {}
    for path in (ROLE / "defaults/main.yml", ROLE / "vars/main.yml", ROLE / f"vars/{family}.yml"):
        variables.update(loader.load_from_file(str(path), trusted_as_template=True))
    return loader, Templar(loader=loader, variables={**variables, **INVENTORY, **changes})


def rendered(template: str, item: str = "whole", family: str = "debian", **changes: Any) -> str:
    loader, found = templar(family, __consistency_item=item, **changes)
    text = loader.get_text_file_contents(str(ROLE / "templates" / template))
    result = found.template(trust_as_template(text))
    return result if isinstance(result, str) else json.dumps(result)


def parsed(item: str = "whole", **changes: Any) -> config.Config:
    return config.parse(rendered("consistency.json.j2", item, **changes), "/x")


def test_one_cluster_is_compared_every_night() -> None:
    found = parsed()
    assert (found.cluster, found.place.run, found.modes) == ("ledger", "whole", ("whole",))
    assert [member.name for member in found.members] == ["db1", "db2"]
    assert (found.login.user, found.login.password) == ("lossless_reconcile", CANARY)
    assert found.login.ca == "/etc/lossless-mysql-ha/tls/ca.pem" and not found.reveal
    assert found.limits == Limits() and found.admin is None
    assert "OnCalendar=*-*-* 02:30:00\n" in rendered("consistency.timer.j2")


def test_each_run_says_what_is_its_own() -> None:
    given = {
        "mysql_ha_consistency_runs": RUNS,
        "mysql_ha_consistency_assertions": ASSERTIONS,
        "mysql_ha_consistency_exclude": ["*.tmp_*"],
        "mysql_ha_consistency_limits": {"lock_timeout": 0, "within": 3600},
    }
    recent, whole = parsed("recent", **given), parsed("whole", **given)
    assert (recent.include, recent.exclude, recent.reveal) == (("bank.*",), ("*.tmp_*",), False)
    assert (recent.limits.within, recent.limits.lock, whole.limits.within) == (480, 0, 3600)
    assert recent.state_directory != whole.state_directory
    assert recent.assertions == () and len(whole.assertions) == 1 and whole.reveal
    assert "OnCalendar=*:0/10\n" in rendered("consistency.timer.j2", "recent", **given)


def test_the_admins_password_is_only_where_it_is_needed() -> None:
    runs = [*RUNS, {"name": "exact", "modes": ["snapshot"], "on_calendar": "monthly"}]
    given = {"mysql_ha_consistency_runs": runs, "mysql_ha_consistency_assertions": ASSERTIONS}
    given["mysql_ha_admin_password"] = "canary-admin"
    exact = parsed("exact", **given)
    assert exact.admin is not None and exact.admin.password == "canary-admin"
    assert "canary-admin" not in rendered("consistency.json.j2", "whole", **given)


def test_every_key_of_the_file_is_written_or_left_to_its_default_on_purpose() -> None:
    """A key that the program learns is looked at here before it is forgotten in the role."""
    left = {"password_file", "primary", "replicas", "assertions"}
    left |= {"admin_user", "admin_password", "admin_password_file"}
    # A run says these itself, if it looks at recent rows.
    left |= {"time_zone", "look_back", "first_window", "binlog_index"}
    assert set(json.loads(rendered("consistency.json.j2"))) == {*config._REQUIRED, *config._OPTIONAL} - left


def test_the_places_of_the_file_are_those_that_the_unit_makes() -> None:
    unit = rendered("consistency@.service.j2")
    assert "StateDirectory=lossless-mysql-ha-consistency\n" in unit and "ReadWritePaths" not in unit
    found = parsed()
    assert (found.state_directory, found.place.directory) == (
        f"{config.STATE_DIRECTORY}/whole",
        config.REPORT_DIRECTORY,
    )
    for path in (found.state_directory, found.place.directory):
        assert path.startswith("/var/lib/lossless-mysql-ha-consistency/")


def test_other_places_are_writable_too() -> None:
    elsewhere = {"mysql_ha_consistency_metrics_directory": "/srv/prom", "consistency_report_directory": "/srv/reports"}
    unit = rendered("consistency@.service.j2", **elsewhere)
    assert "ReadWritePaths=/srv/reports\n" in unit and "ReadWritePaths=/srv/prom\n" in unit
    assert parsed(**elsewhere).place.metrics_directory == "/srv/prom"


@pytest.mark.parametrize("family", ["debian", "redhat"])
def test_the_unit_runs_the_program_without_rights(family: str) -> None:
    facts = {"distribution_major_version": {"debian": "13", "redhat": "9"}[family]}
    unit = rendered("consistency@.service.j2", family=family, ansible_facts=facts).splitlines()
    for line in (
        "Type=oneshot",
        "User=lossless-mysql-consistency",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
    ):
        assert line in unit
    start = next(line for line in unit if line.startswith("ExecStart="))
    assert start.startswith(f"ExecStart=/usr/bin/python3{'.11' if family == 'redhat' else ''} -m ")
    assert start.endswith(f".consistency.program --config {config.DIRECTORY}/%i.json")
    assert not [line for line in unit if line.startswith("Restart")], "a run that was no pass is not repeated at once"


def test_it_is_as_hardened_as_the_manager() -> None:
    ours = set(rendered("consistency@.service.j2").splitlines())
    manager = (ROLE.parent / "manager/templates/manager.service.j2").read_text().splitlines()
    kinds = ("Cap", "Ambient", "NoNew", "Protect", "Private", "Restrict", "Lock", "SystemCall")
    wanted = {line for line in manager if line.startswith(kinds)}
    assert len(wanted) > 10 and wanted <= ours


def test_no_secret_is_outside_of_the_private_file() -> None:
    for name in ("consistency@.service.j2", "consistency.timer.j2"):
        assert CANARY not in rendered(name)
    tasks = yaml.safe_load((ROLE / "tasks/service.yml").read_text())
    (written,) = (t for t in tasks if t.get("ansible.builtin.template", {}).get("src") == "consistency.json.j2")
    assert written["ansible.builtin.template"]["mode"] == "0600" and written["diff"] is False
    (read,) = (t for t in tasks_of("check").values() if "ansible.builtin.slurp" in t)
    assert read["no_log"] is True
    assert CANARY not in str(variable("__consistency_installed", __consistency_read=there(whole=("ledger", ""))))
    # What a loop goes over is in its output.
    for name in ("check", "service", "preflight", "remove", "metrics"):
        for task in yaml.safe_load((ROLE / f"tasks/{name}.yml").read_text()):
            assert not re.search(r"consistency_runs|consistency_files(?!\.keys)|password", str(task.get("loop", "")))


def tasks_of(name: str) -> dict[str, Any]:
    return {task["name"]: task for task in yaml.safe_load((ROLE / f"tasks/{name}.yml").read_text())}


def evaluated(task: Any, key: str, **changes: Any) -> Any:
    """A value of a task, with its own variables."""
    _loader, found = templar(**changes)
    own = {name: trust_as_template(value) for name, value in task.get("vars", {}).items()}
    found.available_variables = {**found.available_variables, **own}
    value = task["vars"][key] if key in own else task[key]
    return found.template(trust_as_template(value))


def there(**metrics: tuple[str, str]) -> dict[str, Any]:
    """What check.yml registers: runs that are installed, with the cluster's name and the directory of the metrics."""
    results = []
    for name, (cluster, directory) in metrics.items():
        said = {"cluster": cluster, "run": name, "password": CANARY, "metrics_directory": directory}
        content = base64.b64encode(json.dumps(said).encode()).decode()
        results.append({"source": f"{config.DIRECTORY}/{name}.json", "content": content})
    return {"results": results}


def variable(name: str, **changes: Any) -> Any:
    _loader, found = templar(**changes)
    return found.template(trust_as_template(f"{{{{ {name} }}}}"))


def test_what_is_no_longer_in_the_list_is_stopped_and_its_configuration_removed() -> None:
    tasks = tasks_of("remove")
    stop, files = tasks["Remove | timers of runs that are no longer in the list"], tasks["Remove | their files"]
    installed = there(whole=("ledger", ""), old=("ledger", ""), half=("ledger", ""), theirs=("crm", ""))
    # half: a role that was interrupted here has removed its timer already.
    units = [f"/etc/systemd/system/lossless-mysql-ha-consistency@{name}.timer" for name in ("whole", "old", "theirs")]
    found = {"files": [{"path": path} for path in units]}
    gone = evaluated(stop, "loop", __consistency_found=found, __consistency_read=installed)
    assert gone == ["lossless-mysql-ha-consistency@old.timer"]
    stopped = {"results": [{"__consistency_item": name} for name in gone]}
    assert set(evaluated(files, "loop", __consistency_stopped=stopped, __consistency_read=installed)) == {
        "/etc/systemd/system/lossless-mysql-ha-consistency@old.timer",
        "/etc/lossless-mysql-ha/consistency/old.json",
        "/etc/lossless-mysql-ha/consistency/half.json",
    }
    nothing: dict[str, Any] = {"mysql_ha_consistency_runs": [], "__consistency_read": installed}
    assert len(evaluated(stop, "loop", __consistency_found=found, **nothing)) == 2
    # What is there is read before it is replaced, and metrics go before the file that knows them.
    assert list(tasks_of("main")) == ["Check what is there", "What is wanted", "What is no longer wanted"]
    assert list(tasks).index("Remove | their metrics") < list(tasks).index("Remove | their files")
    names = list(tasks_of("service"))
    assert names.index("Service | metrics that go somewhere else now") < names.index("Service | configurations")


def test_metrics_that_nobody_writes_any_more_are_removed() -> None:
    installed = there(whole=("ledger", "/srv/a"), old=("ledger", "/srv/a/"), plain=("ledger", ""), x=("crm", "/srv/a"))
    moved = tasks_of("service")["Service | metrics that go somewhere else now"]
    gone = tasks_of("remove")["Remove | their metrics"]
    whole = {"key": "whole", "value": "/srv/a/mysql_ha_consistency-ledger-whole.prom"}
    old = {"key": "old", "value": "/srv/a/mysql_ha_consistency-ledger-old.prom"}
    for directory, first in (("/srv/a", []), ("/srv/a/", []), ("/srv/b", [whole]), ("", [whole])):
        given = {"__consistency_read": installed, "mysql_ha_consistency_metrics_directory": directory}
        assert evaluated(moved, "__consistency_stale", **given) == first, directory
        assert evaluated(gone, "__consistency_stale", **given) == [old], directory
    for task in tasks_of("metrics").values():
        assert task["loop"] == "{{ __consistency_stale }}"


@pytest.mark.parametrize(
    "cluster", ["ledger", "Ledger-2_a.b", "a/b", "~", ".hidden", "../x", "a b", "50%", "Bücher", "a~+&"]
)
def test_the_file_of_the_metrics_is_the_one_that_the_program_writes(cluster: str) -> None:
    installed = there(old=(cluster, "/srv/prom"))
    found = variable("__consistency_left", __consistency_read=installed, mysql_ha_cluster=cluster)
    assert found == {"old": report_file._metrics_path(report_file.Place("/x", cluster, "old", "/srv/prom"))}


def test_runs_of_another_cluster_are_known_by_what_their_files_say() -> None:
    installed = there(whole=("crm", ""), recent=("ledger", ""), other=("shop", ""))
    assert variable("__consistency_others", __consistency_read=installed) == {"whole": "crm", "other": "shop"}
    # A run may say its cluster itself, as any key of its file.
    runs = [*RUNS, {"name": "other", "modes": ["whole"], "on_calendar": "daily", "cluster": "shop"}]
    given: dict[str, Any] = {"__consistency_read": installed, "mysql_ha_consistency_runs": runs}
    assert variable("__consistency_others", **given) == {"whole": "crm"}
    assert variable("__consistency_others", **given, mysql_ha_cluster="crm") == {"recent": "ledger"}
    # A file that says no cluster is nobody's.
    said = {"source": "/x/whole.json", "content": base64.b64encode(b"{}").decode()}
    assert variable("__consistency_others", __consistency_read={"results": [said]}) == {"whole": ""}


def test_the_playbook_gives_the_module_what_it_takes_and_every_limit() -> None:
    play = yaml.safe_load((ROLE.parents[1] / "playbooks/consistency.yml").read_text())[0]
    (task,) = (t for t in play["tasks"][0]["block"] if "lossless.mysql_ha.mysql_consistency" in t)
    given = task["lossless.mysql_ha.mysql_consistency"]
    assert set(given) <= set(mysql_consistency.SPEC)
    limits = {name for name, value in given.items() if "comparison_limits" in str(value)}
    assert limits == set(config.LIMITS) <= set(mysql_consistency.SPEC)
    for name in limits:
        assert given[name] == f"{{{{ comparison_limits.{name} | default(omit) }}}}"
    # The play tells and brings the report before it fails.
    assert given["fail_on_difference"] is False
    assert "ansible.builtin.assert" in play["tasks"][0]["block"][-1]


def test_limits_have_the_same_defaults_in_the_module_and_in_the_file() -> None:
    for name, field in config.LIMITS.items():
        assert mysql_consistency.SPEC[name]["default"] == getattr(Limits(), field), name
