# SPDX-License-Identifier: GPL-3.0-or-later
"""roles/server against the code that judges its servers: what one says and the other does not is a failure here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible.plugins.filter.core import FilterModule
from ansible.plugins.test.core import TestModule as CoreTests
from ansible_collections.lossless.mysql_ha.plugins.module_utils.ansible import MEMBERS_SPEC
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin import config
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import local, settings

ROLE = Path(__file__).resolve().parents[3] / "roles" / "server"
VERSIONS = ("8.0.26", "8.0.36", "8.4.0", "9.7.4")
VALUES: dict[str, Any] = {
    "server_id": 181731339,
    "server_address": "10.213.0.11",
    "server_port": 3306,
    "server_bind_address": "*",
    "server_datadir": "/var/lib/mysql",
    "server_socket": "/run/mysqld/mysqld.sock",
    "server_admin_address": "10.213.0.11",
    "server_admin_port": 33062,
    "server_wait_for_replica_count": 1,
    "server_binlog_basename": "binlog",
    "server_relay_log_basename": "relay-bin",
    "server_binlog_retention": 604800,
    "server_acknowledgement": "disk",
    "server_replica_parallel_workers": 4,
    "server_require_secure_transport": False,
    "server_innodb_buffer_pool_size": "128M",
    "server_innodb_redo_log_capacity": "128M",
    "server_max_connections": 500,
    "server_settings": {},
    "server_python": "/usr/bin/python3",
    "server_stop_patience": 5,
    "server_stop_budget": 15,
    "server_stop_timeout": 600,
    "__server_tls_directory": "/etc/lossless-mysql-ha/tls",
}


GATE: dict[str, Any] = {
    "server_gate_patience": 30,
    "server_gate_settle": 3,
    "__server_rejoin_config": "/etc/lossless-mysql-ha/rejoin.json",
    "__server_rejoin_unit": "lossless-mysql-ha-rejoin",
}


def environment() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"), undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    # Ansible's own form of default() knows only its own kind of undefined.
    found.filters.update({k: v for k, v in FilterModule().filters().items() if k not in found.filters})
    found.tests.update(CoreTests().tests())
    return found


def variables() -> dict[str, Any]:
    loaded = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def render(name: str, **changes: Any) -> str:
    values = dict(VALUES, __server_version="9.7.4", **{k: v for k, v in variables().items() if "{" not in str(v)})
    return environment().get_template(name).render(**dict(values, **changes))


def options(**changes: Any) -> dict[str, str]:
    return local.parse_option_file(render("lossless.cnf.j2", **changes))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_file_says_what_every_server_must_carry(version: str) -> None:
    found = options(__server_version=version)
    for setting in (*settings.SETTINGS, settings.SYNC_RELAY_LOG):
        assert setting.name in found, setting.name
        value = found[setting.name]
        # log_bin holds a file name in the file, and ON in the server.
        assert setting.holds("ON" if setting.name == "log_bin" else value), f"{setting.name} = {value}"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_starts_starts_harmless(version: str) -> None:
    found = options(__server_version=version)
    expected = {
        "super_read_only": "ON",
        "read_only": "ON",
        "skip_replica_start": "ON",
        "rpl_semi_sync_source_enabled": "OFF",
        "rpl_semi_sync_replica_enabled": "OFF",
        "rpl_semi_sync_source_timeout": str(settings.MAXIMUM_TIMEOUT_MS),
        "rpl_semi_sync_source_wait_point": "AFTER_SYNC",
        "rpl_semi_sync_source_wait_no_replica": "ON",
        "rpl_semi_sync_source_wait_for_replica_count": "1",
        "relay_log_recovery": "OFF",
        "relay_log_purge": "ON",
        "innodb_doublewrite": "ON",
        "clone": "FORCE_PLUS_PERMANENT",
        "rpl_semi_sync_source": "FORCE_PLUS_PERMANENT",
        "rpl_semi_sync_replica": "FORCE_PLUS_PERMANENT",
    }
    assert {name: found.get(name) for name in expected} == expected


def test_the_admin_port_has_a_thread_of_its_own() -> None:
    found = options()
    assert (found["admin_address"], found["admin_port"]) == ("10.213.0.11", "33062")
    assert found["create_admin_listener_thread"] == "ON"


@pytest.mark.parametrize("prefix", ["", "admin_", "clone_"])
def test_every_way_in_has_the_same_certificate(prefix: str) -> None:
    found = options()
    for option, file in (("ssl_ca", "ca.pem"), ("ssl_cert", "cert.pem"), ("ssl_key", "key.pem")):
        assert found[prefix + option] == f"/etc/lossless-mysql-ha/tls/{file}"


def test_plugins_are_loaded_and_their_options_are_loose() -> None:
    text = render("lossless.cnf.j2")
    for library in ("semisync_source.so", "semisync_replica.so", "mysql_clone.so", "auth_socket.so"):
        assert f"plugin_load_add = {library}" in text
    # While the data directory is made no plugin is loaded, and an unknown option ends mysqld.
    assert not re.search(r"^(rpl_semi_sync|clone)", text, re.MULTILINE)


def test_an_acknowledgement_may_be_memory_only_by_name() -> None:
    assert options()["sync_relay_log"] == "1"
    assert options(server_acknowledgement="memory")["sync_relay_log"] != "1"


def test_options_that_the_version_does_not_know_are_left_out() -> None:
    assert "innodb_redo_log_capacity" not in options(__server_version="8.0.26")
    assert options(__server_version="8.0.26")["replica_parallel_type"] == "LOGICAL_CLOCK"
    assert "replica_parallel_type" not in options(__server_version="8.4.0")
    assert "innodb_redo_log_capacity" in options(__server_version="8.0.36")


def test_settings_of_the_users_own() -> None:
    found = options(server_settings={"long_query_time": 0.5, "slow_query_log": True, "event_scheduler": False})
    assert (found["long_query_time"], found["slow_query_log"], found["event_scheduler"]) == ("0.5", "ON", "OFF")


# --- what the user may not say ---------------------------------------------------------------------------------------


def forbidden(given: dict[str, Any]) -> str:
    tasks = yaml.safe_load((ROLE / "tasks" / "preflight.yml").read_text())
    expression = next(t for t in tasks if "touch no promise" in t["name"])["vars"]["__server_forbidden_settings"]
    values = variables()
    return (
        environment()
        .from_string(expression)
        .render(
            server_settings=given,
            __server_protected_settings=values["__server_protected_settings"],
            __server_setting_prefixes=values["__server_setting_prefixes"],
        )
        .strip()
    )


def bare(name: str) -> str:
    return re.sub(str(variables()["__server_setting_prefixes"]), "", name)


def test_nothing_that_a_promise_rests_on_may_be_overridden() -> None:
    names = {s.name for s in settings.SETTINGS} | {settings.SYNC_RELAY_LOG.name} | set(settings.MUST_NOT_PERSIST)
    names |= set(options(__server_version="8.0.26")) | set(options())
    for name in names:
        assert name in forbidden({name: 1}), name


@pytest.mark.parametrize(
    "name",
    [
        "sync-binlog",
        "loose_sync_binlog",
        "skip-log-bin",
        "disable_log_bin",
        "Super-Read-Only",
        "skip_networking",
        "skip-grant-tables",
        "loose-skip-replica-start",
        "maximum_max_connections",
        "replica_skip_errors",
        "rpl_semi_sync_master_timeout",
        "tls_version",
        "admin_tls_version",
        "ssl_capath",
        "init_file",
    ],
)
def test_another_spelling_of_it_neither(name: str) -> None:
    assert name in forbidden({name: 1})


@pytest.mark.parametrize("name", ["long_query_time", "innodb_io_capacity", "event_scheduler", "sql_mode"])
def test_the_rest_is_the_users(name: str) -> None:
    assert forbidden({name: 1}) == "[]"


# --- the unit, the names, the accounts -------------------------------------------------------------------------------


def test_the_stop_is_guarded_and_bounded() -> None:
    text = render("lossless.conf.j2")
    stop = next(line for line in text.splitlines() if line.startswith("ExecStop="))
    assert stop.startswith("ExecStop=+") and "server.stop_guard" in stop and "--pid ${MAINPID}" in stop
    assert "TimeoutStopSec=600" in text
    assert "Restart" not in text, "the packaged automatic restart stays as it is"


def test_the_gate_runs_before_each_start_and_prevents_none() -> None:
    lines = render("lossless.conf.j2", **GATE).splitlines()
    before = next(line for line in lines if line.startswith("ExecStartPre="))
    assert before.startswith("ExecStartPre=-+") and "rejoin.gate --config /etc/lossless-mysql-ha/rejoin.json" in before
    after = next(line for line in lines if line.startswith("ExecStartPost="))
    assert after == "ExecStartPost=-+/usr/bin/env systemctl --no-block start lossless-mysql-ha-rejoin.service"


def test_what_follows_a_start_is_tried_again_and_ends_with_the_server() -> None:
    text = render("rejoin.service.j2", __server_unit="mysql", **GATE)
    for line in ("BindsTo=mysql.service", "Restart=on-failure", "RestartPreventExitStatus=78", "Type=oneshot"):
        assert line in text.splitlines()


def test_the_gate_understands_its_file() -> None:
    secrets = {f"server_{name}_password": f"{name} secret" for name in ("reconcile", "keeper", "replication")}
    members = [{"name": f"db{n}", "host": f"10.0.0.{n}", "port": 33062, "replication_port": 3306} for n in (1, 2)]
    text = render(
        "rejoin.json.j2",
        inventory_hostname="db1",
        __server_members=members,
        __server_binlog_index="/var/lib/mysql/binlog.index",
        server_cluster="ledger",
        server_reconcile_user="lossless_reconcile",
        server_keeper_user="lossless_keeper",
        server_replication_user_prefix="lossless_repl_",
        server_archive_directory="/var/lib/lossless-mysql-ha/archive",
        **secrets,
        **GATE,
    )
    found = config.parse(text)
    assert [member.name for member in found.peers] == ["db2"]
    assert found.patience.whole == 30 and found.patience.settle == 3
    assert (found.login.password, found.keeper.password) == ("reconcile secret", "keeper secret")


def test_server_numbers_come_from_the_address_and_stay() -> None:
    expression = variables()["__server_ids"]
    hostvars = {
        "a": {"ansible_host": "10.213.0.11"},
        "b": {"ansible_host": "db-b.example", "mysql_ha_address": "10.213.0.12"},
        "c": {"ansible_host": "10.213.0.13", "mysql_ha_server_id": 7},
        "d": {"ansible_host": "db-d.example"},
    }
    found = environment().from_string(expression).render(server_hosts=list(hostvars), hostvars=hostvars)
    assert yaml.safe_load(found) == {"a": 181731339, "b": 181731340, "c": 7, "d": 0}


def test_the_certificate_carries_names_and_addresses() -> None:
    expression = variables()["__server_tls_san"]
    names = ["10.0.0.1", "fd00::1", "db1", "db1.example"]
    found = environment().from_string(expression).render(__server_tls_all_names=names)
    assert found == "IP:10.0.0.1,IP:fd00::1,DNS:db1,DNS:db1.example"


def test_the_certificates_of_clients_are_checked_for_the_virtual_address() -> None:
    assert "server_tls_virtual_addresses" in variables()["__server_tls_all_names"]


def test_every_server_has_an_account_for_every_duty_and_replica() -> None:
    duties = ("admin", "manager", "monitor", "reconcile", "keeper", "clone")
    prefix = {f"server_{d}_user": f"lossless_{d}" for d in duties}
    found = yaml.safe_load(
        environment()
        .from_string(variables()["__server_accounts"])
        .render(__server_ids={"a": 1, "b": 2}, server_replication_user_prefix="lossless_repl_", **prefix)
    )
    assert [f"{each['user']}:{each['duty']}" for each in found] == [
        "lossless_admin:admin",
        "lossless_manager:manager",
        "lossless_monitor:monitor",
        "lossless_reconcile:reconcile",
        "lossless_keeper:keeper",
        "lossless_clone:clone",
        "lossless_repl_1:replication",
        "lossless_repl_2:replication",
    ]


def restart_order(**states: dict[str, Any]) -> list[str]:
    tasks = yaml.safe_load((ROLE / "tasks" / "service.yml").read_text())
    expression = next(t for t in tasks if "restart what needs it" in t["name"])["vars"]["__server_restart_order"]
    hostvars = {name: {"__server_status": dict({"answers": True, "restart": True}, **s)} for name, s in states.items()}
    found = (
        environment()
        .from_string(expression)
        .render(ansible_play_hosts=list(states), hostvars=hostvars, server_restart_primary=False)
    )
    return list(yaml.safe_load(found))


def test_replicas_are_restarted_before_a_primary_and_a_serving_one_not_at_all() -> None:
    idle = {"role": "primary", "serving": False}
    replica = {"role": "replica", "serving": False}
    assert restart_order(a=idle, b=replica, c=replica) == ["b", "c", "a"]
    assert restart_order(a={"role": "primary", "serving": True}, b=replica) == ["b"]
    assert restart_order(a=dict(replica, restart=False), b=dict(replica, answers=False)) == []


def test_no_restart_is_left_to_a_handler() -> None:
    assert not (ROLE / "handlers").exists()
    for path in (ROLE / "tasks").glob("*.yml"):
        if path.name != "restart.yml":
            assert "restarted" not in re.sub(r"#.*|name:.*", "", path.read_text()), path.name


def test_the_members_of_the_playbooks_are_the_modules_members() -> None:
    playbooks = ROLE.parents[1] / "playbooks"
    text = yaml.safe_load((playbooks / "vars" / "members.yml").read_text())["mysql_ha_members"]
    found = yaml.safe_load(
        environment()
        .from_string(text)
        .render(
            query=lambda _plugin, _pattern: ["db1", "db2"],
            hostvars={
                "db1": {"ansible_host": "10.0.0.1", "zone": "a", "city": "one"},
                "db2": {"ansible_host": "x", "mysql_ha_address": "10.0.0.2", "mysql_ha_acknowledges": False},
            },
        )
    )
    assert found[0]["host"] == "10.0.0.1" and found[0]["zone"] == "a" and found[0]["port"] == 33062
    assert found[1]["host"] == "10.0.0.2" and found[1]["acknowledges"] is False
    assert set(found[0]) == set(MEMBERS_SPEC["members"]["options"])
