# SPDX-License-Identifier: BSD-2-Clause
"""What this version of MySQL calls things. Every difference between versions lives here.

The collection begins at 8.0.26, the first version with source/replica names for system variables, semi-sync plugins
and statements, so little is left that differs. What is left is probed, not looked up in a table of versions; the
recorded answers of ``tests/unit/server`` stand for the versions that the lab can not run.

Sources: MySQL reference manuals 8.0, 8.4, 9.x (replication statements, server variables, CLONE, utf8mb3).
"""

from __future__ import annotations

import dataclasses
import re
from typing import Mapping, Optional

OLDEST = (8, 0, 26)

SUPER_READ_ONLY = "(@@GLOBAL.super_read_only AND @@GLOBAL.read_only)"
"""Whether ``super_read_only`` is in force. While ``SET GLOBAL super_read_only = ON`` waits for commits the variable
says ON already, and read_only alone still tells the truth (seen on 9.7.4)."""

SHOW_GENERATED_KEYS = "show_gipk_in_create_table_and_information_schema"
"""The session's variable (from 8.0.30) without which a server hides the primary keys that it has made by itself."""


def version_tuple(version: str) -> tuple[int, ...]:
    """``"8.0.36-28-log"`` as ``(8, 0, 36)``; the empty tuple when there is no number."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return tuple(int(part) for part in match.groups()) if match else ()


def unsupported(version: str, comment: str) -> Optional[str]:
    """Why this server can not be served, or ``None``."""
    if "mariadb" in version.lower() or "mariadb" in comment.lower():
        return f"this is MariaDB ({version}), which replicates in its own way; the collection serves MySQL only"
    numbers = version_tuple(version)
    if not numbers:
        return f"the version {version!r} was not understood"
    if numbers < OLDEST:
        return f"this is MySQL {version}; the collection serves 8.0.26 and later"
    return None


def charset_name(name: str) -> str:
    """A character set's or a collation's name in information_schema, as the newer versions have it.

    Up to 8.0.28 the character set is ``utf8`` there, up to 8.0.29 a collation is ``utf8_bin``; later these are
    ``utf8mb3`` and ``utf8mb3_bin``. In statements every version knows the newer names, the older ones as aliases.
    """
    return f"utf8mb3{name[4:]}" if name == "utf8" or name.startswith("utf8_") else name


@dataclasses.dataclass(frozen=True)
class Dialect:
    """Names and statements of one server.

    ``semi_sync_generation``: ``source`` for rpl_semi_sync_source/replica, ``master`` for the old plugins, the empty
    string when no plugin is installed.
    """

    version: tuple[int, ...]
    semi_sync_generation: str = "source"

    @property
    def reset_binary_logs(self) -> str:
        return "RESET BINARY LOGS AND GTIDS" if self.version >= (8, 2, 0) else "RESET MASTER"

    @property
    def binary_log_status(self) -> str:
        return "SHOW BINARY LOG STATUS" if self.version >= (8, 2, 0) else "SHOW MASTER STATUS"

    @property
    def has_gtid_tags(self) -> bool:
        return self.version >= (8, 3, 0)

    @property
    def set_definer_privilege(self) -> str:
        """What it takes to keep another account as definer, as ALTER EVENT does (SET_USER_ID went with 8.4)."""
        return "SET_ANY_DEFINER" if self.version >= (8, 2, 0) else "SET_USER_ID"

    def semi_sync_variable(self, name: str) -> str:
        """The server's name for one of the new names, for example ``rpl_semi_sync_source_enabled``."""
        if self.semi_sync_generation != "master":
            return name
        return (
            name.replace("_no_replica", "_no_slave")
            .replace("_for_replica_count", "_for_slave_count")
            .replace("semi_sync_source", "semi_sync_master")
            .replace("semi_sync_replica", "semi_sync_slave")
        )

    def clone_compatible(self, donor: tuple[int, ...]) -> bool:
        """Whether CLONE from a donor of that version to a server of this one is documented to work.

        Reference manual, "Remote Cloning Prerequisites": same series from 8.4; within 8.0 from 8.0.37 on, before that
        the very same version.
        """
        if self.version[:2] != donor[:2]:
            return False
        if self.version[:2] == (8, 0) and min(self.version, donor) < (8, 0, 37):
            return self.version == donor
        return True


def probe(version: str, variables: Mapping[str, str]) -> Dialect:
    """The dialect of a server, from its version and the names among its variables."""
    names = variables.keys()
    generation = ""
    if any(name.startswith(("rpl_semi_sync_source_", "rpl_semi_sync_replica_")) for name in names):
        generation = "source"
    elif any(name.startswith(("rpl_semi_sync_master_", "rpl_semi_sync_slave_")) for name in names):
        generation = "master"
    return Dialect(version_tuple(version), generation)
