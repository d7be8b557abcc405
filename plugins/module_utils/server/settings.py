# SPDX-License-Identifier: BSD-2-Clause
"""What every server carries, why, and how it differs from that: drift.

Two kinds: settings of the configuration file, the same on every member, are here. What depends on who is primary
(writability, semi-sync sides) is judged by ``topology/diagnose.py``. The file that ``roles/server`` writes is checked
against this list by a unit test, so neither can change alone.
"""

from __future__ import annotations

import dataclasses
from typing import Mapping, Optional

MAXIMUM_TIMEOUT_MS = 4294967295


@dataclasses.dataclass(frozen=True)
class Setting:
    """``safety``: a difference turns a proof into ``unproven`` for the reason given in ``why``."""

    name: str
    expected: str
    why: str
    safety: bool = True
    at_least: Optional[int] = None
    at_most: Optional[int] = None
    optional: bool = False

    def holds(self, actual: str) -> bool:
        if self.at_least is not None or self.at_most is not None:
            number = int(float(actual))
            return (self.at_least is None or number >= self.at_least) and (
                self.at_most is None or number <= self.at_most
            )
        return _same(actual, self.expected)


def _same(actual: str, expected: str) -> bool:
    words = {"1": "ON", "0": "OFF", "YES": "ON", "NO": "OFF"}
    left, right = actual.strip().upper(), expected.strip().upper()
    return left == right or words.get(left, left) == words.get(right, right)


SETTINGS: tuple[Setting, ...] = (
    Setting("gtid_mode", "ON", "every comparison of servers rests on GTIDs"),
    Setting("enforce_gtid_consistency", "ON", "statements that cannot carry a GTID must not run"),
    Setting("log_bin", "ON", "without a binary log there is nothing to replicate"),
    Setting("log_replica_updates", "ON", "a promoted replica must be able to serve what it received"),
    Setting("binlog_format", "ROW", "statements can have another effect on a replica", optional=True),
    Setting("binlog_row_image", "FULL", "comparing and undoing rows needs whole images", safety=False),
    Setting("binlog_row_metadata", "FULL", "reading rows from the binary log needs column names", safety=False),
    Setting("sync_binlog", "1", "a commit must survive the power loss of its server"),
    Setting("innodb_flush_log_at_trx_commit", "1", "two-phase commit is only as good as its fsyncs"),
    Setting("relay_log_recovery", "OFF", "what was acknowledged must not be thrown away at a restart"),
    Setting("replica_preserve_commit_order", "ON", "a replica must pass through the states of its source"),
    Setting("skip_replica_start", "ON", "a server that starts, starts harmless"),
    Setting("binlog_checksum", "CRC32", "damage on the way must be seen"),
    Setting("replica_net_timeout", "4", "a hung source must be noticed", safety=False, at_least=2, at_most=8),
    Setting("rpl_stop_replica_timeout", "2", "STOP REPLICA must not hang", safety=False, at_least=2, at_most=10),
)

SYNC_RELAY_LOG = Setting("sync_relay_log", "1", "an acknowledgement must survive the power loss of its replica")

# In mysqld-auto.cnf these override the file at the next start: a server would come up writable, or asynchronous.
MUST_NOT_PERSIST = (
    "read_only",
    "super_read_only",
    "offline_mode",
    "skip_replica_start",
    "relay_log_recovery",
    "rpl_semi_sync_source_enabled",
    "rpl_semi_sync_replica_enabled",
    "rpl_semi_sync_source_timeout",
    "rpl_semi_sync_source_wait_for_replica_count",
    "rpl_semi_sync_source_wait_no_replica",
    "rpl_semi_sync_source_wait_point",
)

NAMES: tuple[str, ...] = tuple(s.name for s in SETTINGS) + (
    SYNC_RELAY_LOG.name,
    "admin_port",
    "event_scheduler",
    "hostname",
    "port",
    "datadir",
    "lower_case_table_names",
)


@dataclasses.dataclass(frozen=True)
class Drift:
    """One difference between what a server carries and what it should. ``safety`` as in ``Setting``."""

    name: str
    expected: str
    actual: str
    why: str
    safety: bool


def drift(values: Mapping[str, str], acknowledgement: str = "disk") -> tuple[Drift, ...]:
    """Compare a server's ``settings`` with what is expected. Pure.

    :param acknowledgement: ``disk`` asks for sync_relay_log=1; ``memory`` leaves it free.
    """
    wanted = SETTINGS + ((SYNC_RELAY_LOG,) if acknowledgement == "disk" else ())
    found = []
    for setting in wanted:
        actual = values.get(setting.name)
        if actual is None:
            if not setting.optional:
                found.append(Drift(setting.name, setting.expected, "(absent)", setting.why, setting.safety))
        elif not setting.holds(actual):
            found.append(Drift(setting.name, setting.expected, actual, setting.why, setting.safety))
    for name in MUST_NOT_PERSIST:
        persisted = values.get(f"@persisted.{name}")
        if persisted is not None:
            why = "a persisted value overrides the configuration file at the next start"
            found.append(Drift(f"persisted {name}", "(not persisted)", persisted, why, True))
    return tuple(found)
