# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions as they were seen in the wild, and what each calls things."""

from __future__ import annotations

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.dialect import (
    Dialect,
    charset_name,
    probe,
    unsupported,
    version_tuple,
)

GPL = "MySQL Community Server - GPL"


@pytest.mark.parametrize(
    ("version", "comment"),
    [
        ("8.0.26", GPL),
        ("8.0.36", GPL),
        ("8.0.36-28", "Percona Server (GPL), Release 28, Revision 47601f19"),
        ("8.0.36-28.1", "Percona XtraDB Cluster (GPL)"),
        ("8.0.40-0ubuntu0.22.04.1", "(Ubuntu)"),
        ("8.0.36-28-log", ""),
        ("8.4.3", GPL),
        ("8.4.3-commercial", "MySQL Enterprise Server - Commercial"),
        ("9.7.4", GPL),
        ("9.7.4-2", "(Debian)"),
        ("10.0.0", GPL),
    ],
)
def test_served_versions(version: str, comment: str) -> None:
    assert unsupported(version, comment) is None


@pytest.mark.parametrize(
    ("version", "comment", "why"),
    [
        ("8.0.25", GPL, "8.0.26"),
        ("8.0.25-15", "Percona Server (GPL), Release 15", "8.0.26"),
        ("8.0.4-rc-log", GPL, "8.0.26"),
        ("5.7.44", GPL, "8.0.26"),
        ("5.7.44-log", GPL, "8.0.26"),
        ("5.5.5-10.11.6-MariaDB", "Debian n/a", "MariaDB"),
        ("10.11.6-MariaDB-0+deb12u1", "Debian 12", "MariaDB"),
        ("11.4.2-MariaDB", "mariadb.org binary distribution", "MariaDB"),
        ("11.4.2", "mariadb.org binary distribution", "MariaDB"),
        ("", "", "not understood"),
        ("8.4", "", "not understood"),
        ("main", "", "not understood"),
    ],
)
def test_servers_that_are_not_served_say_why(version: str, comment: str, why: str) -> None:
    answer = unsupported(version, comment)
    assert answer is not None
    assert why in answer


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("utf8", "utf8mb3"),
        ("utf8_bin", "utf8mb3_bin"),
        ("utf8_general_mysql500_ci", "utf8mb3_general_mysql500_ci"),
        ("utf8mb3", "utf8mb3"),
        ("utf8mb3_bin", "utf8mb3_bin"),
        ("utf8mb4", "utf8mb4"),
        ("utf8mb4_0900_ai_ci", "utf8mb4_0900_ai_ci"),
        ("latin1", "latin1"),
        ("", ""),
    ],
)
def test_a_character_set_has_one_name(said: str, name: str) -> None:
    assert charset_name(said) == name


def test_version_numbers_are_numbers() -> None:
    assert version_tuple("8.0.36-28-log") == (8, 0, 36)
    assert version_tuple("8.0.9") < version_tuple("8.0.26") < version_tuple("8.0.100")
    assert version_tuple("nonsense") == ()


@pytest.mark.parametrize(
    ("version", "reset", "status", "tags"),
    [
        ("8.0.36", "RESET MASTER", "SHOW MASTER STATUS", False),
        ("8.1.0", "RESET MASTER", "SHOW MASTER STATUS", False),
        ("8.2.0", "RESET BINARY LOGS AND GTIDS", "SHOW BINARY LOG STATUS", False),
        ("8.3.0", "RESET BINARY LOGS AND GTIDS", "SHOW BINARY LOG STATUS", True),
        ("8.4.3", "RESET BINARY LOGS AND GTIDS", "SHOW BINARY LOG STATUS", True),
        ("9.7.4-2", "RESET BINARY LOGS AND GTIDS", "SHOW BINARY LOG STATUS", True),
    ],
)
def test_statements_by_version(version: str, reset: str, status: str, tags: bool) -> None:
    dialect = probe(version, {})
    assert (dialect.reset_binary_logs, dialect.binary_log_status, dialect.has_gtid_tags) == (reset, status, tags)


# Reference manual 8.0, "Semisynchronous Replication Installation and Configuration": the names before 8.0.26, which
# the old plugins (semisync_master.so, semisync_slave.so) keep.
OLD_NAMES = [
    ("rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled"),
    ("rpl_semi_sync_source_timeout", "rpl_semi_sync_master_timeout"),
    ("rpl_semi_sync_source_wait_for_replica_count", "rpl_semi_sync_master_wait_for_slave_count"),
    ("rpl_semi_sync_source_wait_no_replica", "rpl_semi_sync_master_wait_no_slave"),
    ("rpl_semi_sync_source_wait_point", "rpl_semi_sync_master_wait_point"),
    ("rpl_semi_sync_source_status", "rpl_semi_sync_master_status"),
    ("rpl_semi_sync_source_clients", "rpl_semi_sync_master_clients"),
    ("rpl_semi_sync_source_no_tx", "rpl_semi_sync_master_no_tx"),
    ("rpl_semi_sync_source_yes_tx", "rpl_semi_sync_master_yes_tx"),
    ("rpl_semi_sync_source_wait_sessions", "rpl_semi_sync_master_wait_sessions"),
    ("rpl_semi_sync_replica_enabled", "rpl_semi_sync_slave_enabled"),
    ("rpl_semi_sync_replica_status", "rpl_semi_sync_slave_status"),
]


@pytest.mark.parametrize(("new", "old"), OLD_NAMES)
def test_the_old_plugins_keep_their_names(new: str, old: str) -> None:
    assert Dialect((8, 0, 36), "master").semi_sync_variable(new) == old
    assert Dialect((8, 0, 36), "source").semi_sync_variable(new) == new
    assert Dialect((8, 0, 36), "").semi_sync_variable(new) == new


@pytest.mark.parametrize(
    ("names", "generation"),
    [
        ((), ""),
        (("gtid_mode", "read_only"), ""),
        (("rpl_semi_sync_source_enabled",), "source"),
        (("rpl_semi_sync_replica_enabled",), "source"),
        (("rpl_semi_sync_master_enabled",), "master"),
        (("rpl_semi_sync_slave_enabled",), "master"),
    ],
)
def test_the_generation_of_the_plugins_is_probed(names: tuple[str, ...], generation: str) -> None:
    dialect = probe("8.0.36", dict.fromkeys(names, "OFF"))
    assert (dialect.version, dialect.semi_sync_generation) == ((8, 0, 36), generation)


@pytest.mark.parametrize(
    ("recipient", "donor", "compatible"),
    # Reference manual, "Clone Plugin Limitations"
    [
        ("8.0.36", "8.0.36", True),
        ("8.0.36", "8.0.42", False),
        ("8.0.42", "8.0.36", False),
        ("8.0.26", "8.0.27", False),
        ("8.0.37", "8.0.42", True),
        ("8.0.42", "8.0.37", True),
        ("8.0.42", "8.4.3", False),
        ("8.4.3", "8.0.42", False),
        ("8.4.0", "8.4.7", True),
        ("8.4.7", "8.4.0", True),
        ("8.4.7", "9.7.4", False),
        ("9.6.0", "9.7.4", False),
        ("9.7.4", "9.7.1", True),
    ],
)
def test_clone_goes_where_the_manual_says(recipient: str, donor: str, compatible: bool) -> None:
    assert probe(recipient, {}).clone_compatible(version_tuple(donor)) is compatible


@pytest.mark.parametrize(
    ("version", "privilege"),
    [("8.0.36", "SET_USER_ID"), ("8.1.0", "SET_USER_ID"), ("8.2.0", "SET_ANY_DEFINER"), ("9.7.4", "SET_ANY_DEFINER")],
)
def test_the_privilege_to_keep_a_definer(version: str, privilege: str) -> None:
    assert probe(version, {}).set_definer_privilege == privilege
