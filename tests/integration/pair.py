# SPDX-License-Identifier: GPL-3.0-or-later
"""A primary and its replica, by replication that is as plain as can be, with the account that compares them."""

from __future__ import annotations

import pymysql
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import accounts
from scratch import Server, grants

PASSWORD = "reconcile'canary\\%s"


class Pair:
    """``s1`` and its replica ``s2``."""

    def __init__(self, servers: list[Server]) -> None:
        self.primary, self.replica = servers

    def make(self, *tables: str) -> None:
        """:param tables: statements that make them."""
        account = accounts.Account("lossless_reconcile", "%", accounts.RECONCILE)
        quoted = pymysql.converters.escape_string(PASSWORD)
        self.primary.sql(
            "SET GLOBAL super_read_only = OFF",
            "SET GLOBAL read_only = OFF",
            f"CREATE USER {account.sql_name} IDENTIFIED BY '{quoted}' REQUIRE SSL",
            *(f"GRANT {what} ON {where} TO {account.sql_name}" for what, where in grants(account)),
            *tables,
        )
        self.replica.sql(
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{self.primary.address}', SOURCE_PORT=33062,"
            " SOURCE_USER='root', SOURCE_SSL=1, SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1",
            "START REPLICA",
            "SET GLOBAL super_read_only = OFF",
        )
        self.caught_up()

    def caught_up(self) -> None:
        executed = self.primary.value("@@GLOBAL.gtid_executed")
        assert self.replica.value(f"WAIT_FOR_EXECUTED_GTID_SET('{executed}', 20)") == 0

    def behind_its_back(self, *changes: str) -> None:
        """On the replica, and no log is told."""
        self.replica.sql("SET SESSION sql_log_bin = 0", "SET SESSION foreign_key_checks = 0", *changes)
