# SPDX-License-Identifier: GPL-3.0-or-later
"""Columns and tables, as values."""

from __future__ import annotations

from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import ColumnFacts, Layout


def column(name: str, data_type: str = "int", **more: Any) -> ColumnFacts:
    """A column as a server would show it."""
    return ColumnFacts(name, data_type, str(more.pop("type", data_type)), **more)


KEYED = Layout((column("id", "bigint"), column("owner", "varchar", charset="utf8mb4")), (("id",),))
