# SPDX-License-Identifier: BSD-2-Clause
"""Which table InnoDB means by a name. Pure.

``information_schema.INNODB_TABLES`` names tables as their files are named: ``schema/table``, a partition with ``#p#``
and more behind it, and what is no letter, digit or underscore as ``@``: with four hexadecimal digits, or with two
characters of a table of its own that no statement shows. Those two stand for any letter here, so it is rather one table
too many.
"""

from __future__ import annotations

import re
from typing import Iterable

from ..binlog.statement_names import Named

_PARTITION = re.compile("#p#.*", re.IGNORECASE | re.DOTALL)
_CODE = re.compile("[0-9a-f]{4}")


def meant(names: Iterable[str], tables: Iterable[Named]) -> set[Named]:
    """Those of ``tables`` that one of these names stands for."""
    patterns = [_pattern(name) for name in names]
    return {named for named in tables if any(pattern.fullmatch("/".join(named)) for pattern in patterns)}


def _pattern(name: str) -> re.Pattern[str]:
    first, *rest = _PARTITION.sub("", name).split("@")
    found = re.escape(first)
    for part in rest:
        either = [f".{re.escape(part[2:])}"]
        if _CODE.match(part):
            either.append(re.escape(chr(int(part[:4], 16)) + part[4:]))
        found += f"(?:{'|'.join(either)})"
    # A server may keep names in small letters only.
    return re.compile(found, re.IGNORECASE | re.DOTALL)
