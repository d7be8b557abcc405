# SPDX-License-Identifier: BSD-2-Clause
"""Where rows are: conditions that name single rows or a range of a key, with every value exact and bound. Pure."""

from __future__ import annotations

import decimal
import re
from typing import Any, NamedTuple, Optional, Sequence

from ..server.session import identifier
from .layout import BYTES, NAMED, NEVER_NAMED, REALS, TEXTS, TIMES, WHOLE, ColumnFacts, Layout

LARGEST_BOUND = 1 << 16
"""Bytes of a value that a predicate names; a larger one is left to the digest."""

Statement = tuple[str, tuple[Any, ...]]
"""SQL and the values bound to it."""


class Unfit(Exception):
    """Rows cannot be looked for in the table as it is; the message says why, without values."""


class Lookup(NamedTuple):
    """One row to look for: columns and values, in the order of the key, or of the table where there is none."""

    columns: tuple[str, ...]
    values: tuple[Any, ...]


def quoted(name: str) -> str:
    """Beside bound values a percent sign is written twice."""
    return identifier(name).replace("%", "%%")


def term(column: ColumnFacts, value: Any, operator: str) -> Optional[Statement]:
    """``column operator value``, exactly; None when that cannot be said of this type.

    :param operator: ``=``, ``<=>``, ``<``, ``<=``, ``>`` or ``>=``; only ``<=>`` finds NULL.
    :raises Unfit: the value is not of the column's type, or it is NULL, which the operator would never find.
    """
    name = quoted(column.name)
    kind = column.data_type
    plain = f"{name} {operator} %s"
    if value is None:
        if operator != "<=>":
            raise Unfit(f"no value for {column.name}, which is part of the key")
        return f"{name} {operator} NULL", ()
    if kind in NEVER_NAMED or (isinstance(value, (str, bytes)) and len(value) > LARGEST_BOUND):
        return None
    if isinstance(value, int):
        if kind in WHOLE or kind in NAMED:
            return plain, (value,)
        if kind in REALS:
            return plain, (float(value),)
    elif isinstance(value, float):
        if kind in REALS:
            return plain, (value,)
    elif isinstance(value, bytes):
        if kind in BYTES:
            return plain, (value,)
        if kind in TEXTS and re.fullmatch(r"\w+", column.charset) and re.fullmatch(r"\w+", column.collation):
            # With a collation of its own the server would refuse to compare it with the column; bytes that are no text
            # of this character set it would convert to NULL, which finds nothing: of this literal they are an error.
            return f"{name} {operator} _{column.charset} X%s COLLATE {column.collation}", (value.hex(),)
    elif isinstance(value, str):
        if kind in TIMES or kind in TEXTS or kind in NAMED:
            return plain, (value,)
        if kind == "decimal" and re.fullmatch(r"-?\d+(\.\d*)?", value):
            # As text it would be compared as a double.
            return plain, (decimal.Decimal(value),)
    raise Unfit(f"a value for {column.name} is not of its type ({column.type})")


def predicate(layout: Layout, wanted: Sequence[Lookup], operator: str) -> Statement:
    """A condition that holds for the rows of these lookups.

    :raises Unfit: one of them cannot be looked for.
    """
    facts = {column.name: column for column in layout.columns}
    parts: list[str] = []
    values: list[Any] = []
    for lookup in wanted:
        terms = []
        for name, value in zip(lookup.columns, lookup.values):
            said = term(facts[name], value, operator)
            if said is not None:
                terms.append(said[0])
                values.extend(said[1])
        if not terms:
            raise Unfit("no column by which its rows could be looked for")
        parts.append(f"({' AND '.join(terms)})")
    return " OR ".join(parts), tuple(values)


def fits(layout: Layout, lookup: Lookup) -> None:
    """:raises Unfit: the row cannot be looked for."""
    predicate(layout, [lookup], "<=>")


# Ranges of a key

Bound = Optional[tuple[Any, ...]]
"""Values of the key's columns; None: no bound."""


class Range(NamedTuple):
    """The rows whose key is greater than ``after`` and not greater than ``upto``, in the key's own order."""

    after: Bound
    upto: Bound


def within(layout: Layout, range_: Range) -> Statement:
    """The condition of a range; ``TRUE`` for everything.

    :raises Unfit: a bound is not of the key's types.
    """
    parts: list[str] = []
    values: list[Any] = []
    for bound, strict in ((range_.after, True), (range_.upto, False)):
        if bound is not None:
            sql, bound_values = _beyond(layout.key_columns, bound, strict)
            parts.append(sql)
            values += bound_values
    return " AND ".join(parts) or "TRUE", tuple(values)


def _beyond(columns: Sequence[ColumnFacts], bound: Sequence[Any], strict: bool) -> Statement:
    """Keys greater than the bound (``strict``), or not greater.

    For two columns: ``(a > x OR (a = x AND b > y))``. Of two such conditions the optimizer makes ranges of the whole
    key; of ``a >= x AND (a > x OR b > y)`` it makes one of the first column alone, which may be the same in all rows,
    and of row constructors none.
    """
    first, value = columns[0], bound[0]
    if len(columns) == 1:
        return _exact(first, value, ">" if strict else "<=")
    outer, outer_values = _exact(first, value, ">" if strict else "<")
    equal, equal_values = _exact(first, value, "=")
    rest, rest_values = _beyond(columns[1:], bound[1:], strict)
    return f"({outer} OR ({equal} AND {rest}))", (*outer_values, *equal_values, *rest_values)


def _exact(column: ColumnFacts, value: Any, operator: str) -> Statement:
    said = term(column, value, operator)
    if said is None:
        raise Unfit(f"{column.name} is too large to be a bound")
    return said
