# SPDX-License-Identifier: BSD-2-Clause
"""Which tables there are, and whether they are the same table on two servers."""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import Any, Iterable, Mapping, Optional, Sequence

from ..binlog.statement_names import Named
from ..server.session import Session
from .layout import COLUMNS, UNIQUE_KEYS, Layout, layout_of

SYSTEM = ("mysql", "information_schema", "performance_schema", "sys", "ndbinfo")
"""Schemas that belong to one server."""

_TABLES = (
    "SELECT TABLE_SCHEMA AS `schema`, TABLE_NAME AS `table`, ENGINE AS engine, TABLE_ROWS AS estimate"
    " FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE'"
    f" AND TABLE_SCHEMA NOT IN ({', '.join(['%s'] * len(SYSTEM))})"
)


INNODB = "InnoDB"


@dataclasses.dataclass(frozen=True)
class Listed:
    """A table as a server lists it. ``estimate``: rows, as the server estimates them."""

    named: Named
    engine: str
    estimate: int

    def and_there(self, other: Listed) -> Listed:
        """The table on two servers: the engine that is not InnoDB, if there is one, and the larger estimate."""
        engine = other.engine if self.engine == INNODB else self.engine
        return Listed(self.named, engine, max(self.estimate, other.estimate))


_IS_TABLE = "SELECT TABLE_TYPE AS kind FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"


def tables(session: Session, *, within: float) -> dict[Named, Listed]:
    """All tables that hold data of their own."""
    return {
        Named(row["schema"], row["table"]): Listed(
            Named(row["schema"], row["table"]), str(row["engine"] or ""), int(row["estimate"] or 0)
        )
        for row in session.query(_TABLES, SYSTEM, within=within)
    }


def chosen(named: Iterable[Named], include: Sequence[str], exclude: Sequence[str]) -> list[Named]:
    """Those that a pattern of ``include`` (none: every table) and none of ``exclude`` fits, in their order. Pure.

    A pattern is ``schema.table`` with ``*`` and ``?``; ``schema`` alone stands for all its tables.
    """
    return sorted(each for each in named if (not include or _fits(each, include)) and not _fits(each, exclude))


def idle(named: Iterable[Named], include: Sequence[str]) -> list[str]:
    """The patterns that no table fits: a misspelt one would leave its tables out, and nobody would know. Pure."""
    every = list(named)
    return [pattern for pattern in include if not any(_fits(each, [pattern]) for each in every)]


def _fits(each: Named, patterns: Sequence[str]) -> bool:
    whole = f"{each.schema}.{each.table}"
    for pattern in patterns:
        # A bracket stands for itself.
        wanted = (pattern if "." in pattern else f"{pattern}.*").replace("[", "[[]")
        if fnmatch.fnmatchcase(whole, wanted):
            return True
    return False


def layout(session: Session, named: Named, *, within: float) -> Optional[Layout]:
    """What the table is like there; None when there is none, or a view instead."""
    if session.one(_IS_TABLE, named, within=within).get("kind") != "BASE TABLE":
        return None
    columns: Sequence[Mapping[str, Any]] = session.query(COLUMNS, named, within=within)
    return layout_of(columns, session.query(UNIQUE_KEYS, named, within=within))
