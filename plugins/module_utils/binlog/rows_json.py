# SPDX-License-Identifier: BSD-2-Clause
"""How row changes and statements are written as JSON. Pure.

One object a line, in the order of the log:

* ``{"gtid", "kind": "row", "schema", "table", "operation", "key", "before", "after"}``. ``operation`` is ``write``,
  ``update`` or ``delete``; ``before`` and ``after`` are values by column name, or null; ``key`` the primary key of the
  row as it was (for a write, as it became), null where there is none or it is not known. Without
  ``binlog_row_metadata=FULL`` columns are named ``@1``, ``@2``, as mysqlbinlog does.
* ``{"gtid", "kind": "statement", "schema", "verb", "text"}``: DDL and whatever else is logged as text. ``text`` is
  empty when it may hold a password or its hash.

Values: null; whole numbers, BIT and YEAR as numbers; FLOAT and DOUBLE as the shortest number that reads back the same;
DECIMAL, dates and times (TIMESTAMP in UTC) and JSON as text; texts as text; bytes, and texts in a character set that is
not decoded, as ``{"base64": "..."}``. ENUM and SET are text, or numbers where the log does not tell the members, or in
such a character set. Rows of tables that hold passwords' hashes (``mysql.user`` and its like) have ``"masked": true``
and no images.
"""

from __future__ import annotations

import base64
import decimal
import json
from typing import Any, Callable, Union

from ..errors import HaError
from .events import malformed
from .rows import Change, Logged

ROW, STATEMENT = "row", "statement"
_SECRET_TABLES = frozenset(
    {
        ("mysql", "user"),
        ("mysql", "password_history"),
        ("mysql", "servers"),
        ("mysql", "slave_master_info"),
    }
)

Item = Union[Change, Logged]


def _value(value: Any) -> Any:
    """What JSON has no word for."""
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    return {"base64": base64.b64encode(value).decode()}


_encode: Callable[[Any], str] = json.JSONEncoder(default=_value, ensure_ascii=False, separators=(",", ":")).encode


def line_of(gtid: str, item: Item) -> bytes:
    """One line of ``rows.jsonl``.

    :raises HaError: ``binlog_event_malformed``: a text that is none.
    """
    if isinstance(item, Logged):
        held: dict[str, Any] = {"gtid": gtid, "kind": STATEMENT, **item._asdict()}
    else:
        table = item.table
        held = {
            "gtid": gtid,
            "kind": ROW,
            "schema": table.schema,
            "table": table.table,
            "operation": item.operation,
        }
        if (table.schema, table.table) in _SECRET_TABLES:
            held.update(masked=True, key=None, before=None, after=None)
        else:
            held.update(key=item.key, before=item.before, after=item.after)
    try:
        return _encode(held).encode() + b"\n"
    except UnicodeEncodeError as error:
        raise malformed("row event", f"a text that is none: {error.reason}") from error


def value_of(plain: Any) -> Any:
    """A value of ``rows.jsonl`` as Python has it: bytes again where they were bytes.

    :raises HaError: ``rows_unreadable``.
    """
    if isinstance(plain, dict):
        try:
            return base64.b64decode(plain["base64"], validate=True)
        except (KeyError, ValueError, TypeError) as error:
            raise HaError(
                "rows_unreadable",
                "a value in the archived rows is neither plain nor bytes",
                evidence={"why": str(error)},
                next_step="Check the archive's checksums; archive again from the binary log.",
            ) from error
    return plain
