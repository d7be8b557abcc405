# SPDX-License-Identifier: GPL-3.0-or-later
"""The group beside the cluster: its option file, its accounts, and when it is measured."""

from __future__ import annotations

import configparser

from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login

from benchmarks import group, group_replication, manager_failover
from benchmarks.figures import Series
from benchmarks.group import Server, accounts, configuration
from benchmarks.group_replication import BESIDE, VARIANTS, name_of, rounds_of_the_group, side_by_side
from benchmarks.manager_failover import KINDS
from benchmarks.result import Result

SERVERS = tuple(Server(f"db{number}", f"10.0.0.{number}") for number in (1, 2, 3))


def options(server: Server, **settings: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser()
    parser.read_string(configuration(server, SERVERS, settings))
    return parser["mysqld"]


def test_members_differ_in_what_has_to_differ_and_share_nothing_with_the_cluster() -> None:
    found = [options(server) for server in SERVERS]
    assert [one["server_id"] for one in found] == ["1", "2", "3"]
    assert [one["loose_group_replication_local_address"] for one in found] == [
        f"10.0.0.{number}:33361" for number in (1, 2, 3)
    ]
    assert {one["loose_group_replication_group_seeds"] for one in found} == {
        "10.0.0.1:33361,10.0.0.2:33361,10.0.0.3:33361"
    }
    assert {one["port"] for one in found} == {"33306"}
    assert all(one[name].startswith(group.PLACE) for one in found for name in ("datadir", "socket", "log_error"))


def test_the_defaults_are_the_defaults_and_what_is_tuned_is_in_the_file() -> None:
    assert "loose_group_replication_member_expel_timeout" not in options(SERVERS[0])
    tuned = VARIANTS[1].settings
    assert options(SERVERS[0], **tuned)["loose_group_replication_member_expel_timeout"] == "0"
    assert VARIANTS[0].settings == {}


def test_commits_cost_what_they_cost_in_the_cluster() -> None:
    found = options(SERVERS[0])
    assert (found["sync_binlog"], found["innodb_flush_log_at_trx_commit"]) == ("1", "1")


def test_accounts_are_in_no_binary_log() -> None:
    text = accounts(Login("drill", "one"), Login("recovery", "two"))
    assert text.startswith("SET SESSION sql_log_bin = 0;")
    assert "'drill'@'%' IDENTIFIED BY 'one'" in text and "SOURCE_PASSWORD = 'two'" in text


def test_the_group_is_measured_from_the_first_round_on_and_in_every_fourth() -> None:
    assert rounds_of_the_group(1) == [0]
    assert rounds_of_the_group(20) == [0, 4, 8, 12, 16]


def test_what_the_group_is_put_through_is_what_the_manager_is() -> None:
    assert set(BESIDE) <= {kind.name for kind in KINDS}
    assert name_of(VARIANTS[0], "manager_kill") == "group_default_kill"


def test_figures_of_one_fault_stand_together() -> None:
    names = [kind.name for kind in KINDS] + [name_of(variant, kind) for variant in VARIANTS for kind in BESIDE]
    ordered = side_by_side([Result(name, Series("s", (1.0,)), [], "9.7.4") for name in reversed(names)])
    assert [result.name for result in ordered][:3] == ["manager_kill", "group_default_kill", "group_tuned_kill"]
    assert sorted(result.name for result in ordered) == sorted(names)


def test_every_fault_of_the_manager_is_one_of_the_lab() -> None:
    from lab.faults import FAULTS

    assert {fault for kind in manager_failover.KINDS for fault in kind.faults} <= set(FAULTS)
    assert group_replication.ISOLATED in FAULTS
