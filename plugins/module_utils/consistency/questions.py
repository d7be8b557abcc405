# SPDX-License-Identifier: BSD-2-Clause
"""What is asked of one table, as SQL. Pure. The same is asked of both servers."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from ..binlog.statement_names import Named
from . import canonical
from .chunks import counted
from .layout import ColumnFacts, Layout
from .lookup import Lookup, Range, Statement, Unfit, predicate, quoted, within

Key = tuple[Any, ...]
Rows = Mapping[Key, str]
"""Rows by their key: the digest of all their columns."""


class Table:
    """One table: its name and what it is like, the same on both servers."""

    def __init__(self, named: Named, layout: Layout) -> None:
        self.named = named
        self.layout = layout
        self.columns = canonical.compared(layout)
        self.key = layout.key_columns

    def __str__(self) -> str:
        return f"{self.named.schema}.{self.named.table}"

    @property
    def _from(self) -> str:
        return f"FROM {quoted(self.named.schema)}.{quoted(self.named.table)}"

    # Ranges
    def _within(self, range_: Range) -> Statement:
        return within(self.layout, range_)

    def aggregate(self, range_: Range) -> Statement:
        """``number`` and ``digest`` of a range's rows."""
        condition, values = self._within(range_)
        return _statement(f"SELECT {canonical.aggregate(self.columns)} {self._from} WHERE {condition}", values)

    def rows_of(self, range_: Range, most: int) -> Statement:
        """Key and digest of each row of a range, ``most`` of them and one."""
        condition, values = self._within(range_)
        return _statement(f"{self._rows()} WHERE {condition} LIMIT {most + 1}", values)

    def boundary(self, after: Range, number: int) -> Statement:
        """The key of the row that stands ``number`` rows after the beginning of a range; no row: it has not so many."""
        condition, values = self._within(after)
        # With the table's name, for a column may be called like one of ours: k0.
        order = ", ".join(f"{quoted(self.named.table)}.{quoted(column.name)}" for column in self.key)
        sql = f"SELECT {canonical.key_values(self.key)} {self._from} WHERE {condition}"
        return _statement(f"{sql} ORDER BY {order} LIMIT 1 OFFSET {max(number, 1) - 1}", values)

    def edges(self) -> Statement:
        """The smallest and the greatest value ``least``, ``most`` of a key that is one column."""
        name = quoted(self.key[0].name)
        return _statement(f"SELECT MIN({name}) AS least, MAX({name}) AS most {self._from}", ())

    # Single rows
    def rows_at(self, keys: Sequence[Key], *, lock: bool = False, within: float = 0.0) -> Statement:
        """Key and digest of the rows with these keys.

        :param lock: nobody changes them until the transaction ends.
        :param within: seconds after which the server gives up, when they are fewer than the session's own.
        :raises Unfit: a key is not of the key's types.
        """
        condition, values = self._at(keys)
        sql = f"{self._rows()} WHERE {condition}" + (" FOR SHARE" if lock else "")
        if within > 0:
            sql = sql.replace("SELECT", f"SELECT /*+ MAX_EXECUTION_TIME({max(1, int(within * 1000))}) */", 1)
        return _statement(sql, values)

    def details_at(self, keys: Sequence[Key], *, reveal: bool) -> Statement:
        """Of each of these rows: its key; as text ``n0``, ``n1``; each column's digest ``d0``, ``d1``; and with
        ``reveal`` the beginning of its value, ``v0``, ``v1``."""
        condition, values = self._at(keys)
        shown = [canonical.key_values(self.key)]
        shown += canonical.shown_columns(self.key, "n")
        shown += [f"{canonical.column_digest(column)} AS d{place}" for place, column in enumerate(self.columns)]
        shown += canonical.shown_columns(self.columns if reveal else (), "v")
        return _statement(f"SELECT {', '.join(shown)} {self._from} WHERE {condition}", values)

    def _at(self, keys: Sequence[Key]) -> Statement:
        if counted(self.layout) and all(isinstance(key[0], int) for key in keys):
            # Far cheaper to parse and to plan than as many conditions.
            return f"{quoted(self.key[0].name)} IN ({', '.join(['%s'] * len(keys))})", tuple(key[0] for key in keys)
        return predicate(self.layout, [Lookup(self.layout.key, key) for key in keys], "=")

    def _rows(self) -> str:
        return f"SELECT {canonical.key_values(self.key)}, {canonical.digest(self.columns)} AS content {self._from}"

    def key_of(self, row: Mapping[str, Any]) -> Key:
        return canonical.key_of(self.key, row)

    def _row_key(self, row: Mapping[str, Any]) -> Key:
        return self.key_of(row)

    def read(self, rows: Sequence[Mapping[str, Any]]) -> Rows:
        """The answer to ``rows_of`` or ``rows_at``.

        :raises Unfit: two rows have the same key, which a unique key rules out: an index is damaged.
        """
        found: dict[Key, str] = {}
        for row in rows:
            key = self._row_key(row)
            if key in found:
                raise Unfit("two rows have the same key: its index is damaged")
            found[key] = str(row["content"])
        return found

    # Without a key: every row is its digest. Grouped by place, for a column may be called like one of ours: identity.
    def multiset(self, prefix: str = "") -> Statement:
        """``number``, ``digest`` and ``total`` of all rows, or of those whose digest begins so."""
        condition, values = self._beginning([prefix] if prefix else [])
        return _statement(f"SELECT {canonical.aggregate(self.columns, multiset=True)} {self._from}{condition}", values)

    def buckets(self, prefixes: Sequence[str], letters: int) -> Statement:
        """``number`` and ``total`` of the rows whose digests begin so, of all rows without a prefix, by the first
        letters of their digests, ``bucket``: by so many more than the prefixes have.

        :param prefixes: as long as each other, here and in ``digests``.
        """
        condition, values = self._beginning(prefixes)
        row = canonical.digest(self.columns)
        length = letters + (len(prefixes[0]) if prefixes else 0)
        return _statement(
            f"SELECT LEFT({row}, {length}) AS bucket, COUNT(*) AS number,"
            f" CAST(SUM(CAST(CONV(RIGHT({row}, 16), 16, 10) AS DECIMAL(20))) AS CHAR) AS total"
            f" {self._from}{condition} GROUP BY 1",
            values,
        )

    def digests(self, prefixes: Sequence[str], most: int) -> Statement:
        """``identity`` and how often, ``content``, of the different rows whose digests begin so, or are so: ``most`` of
        them and one."""
        condition, values = self._beginning(prefixes)
        row = canonical.digest(self.columns)
        return _statement(
            f"SELECT {row} AS identity, COUNT(*) AS content {self._from}{condition} GROUP BY 1 LIMIT {most + 1}",
            values,
        )

    def shown_with(self, identities: Sequence[str], most: int) -> Statement:
        """``identity`` and the beginnings ``v0``, ``v1`` of the values of the rows with these digests, ``most`` of
        them, equal rows each time."""
        row = canonical.digest(self.columns)
        shown = ", ".join([f"{row} AS identity", *canonical.shown_columns(self.columns, "v")])
        wanted = ", ".join(["%s"] * len(identities))
        return _statement(
            f"SELECT {shown} {self._from} WHERE {row} IN ({wanted}) LIMIT {most}",
            tuple(identities),
        )

    def _beginning(self, prefixes: Sequence[str]) -> Statement:
        if not prefixes:
            return "", ()
        wanted = ", ".join(["%s"] * len(prefixes))
        return f" WHERE LEFT({canonical.digest(self.columns)}, {len(prefixes[0])}) IN ({wanted})", tuple(prefixes)

    # What an answer means
    def key_text(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The key of a row of ``details_at``, for a person."""
        return {column.name: _text(row[f"n{place}"]) for place, column in enumerate(self.key)}

    def differing(self, there: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[ColumnFacts, ...]:
        """The columns in which two rows of ``details_at`` differ."""
        return tuple(
            column for place, column in enumerate(self.columns) if there.get(f"d{place}") != here.get(f"d{place}")
        )

    def values(self, row: Mapping[str, Any], columns: Sequence[ColumnFacts]) -> dict[str, Any]:
        """These columns' values in a row that was read with ``reveal``."""
        places = {column.name: place for place, column in enumerate(self.columns)}
        return {column.name: _text(row.get(f"v{places[column.name]}")) for column in columns}


def _text(value: Any) -> Any:
    return None if value is None else str(value)


def _statement(sql: str, values: tuple[Any, ...]) -> Statement:
    # Only beside bound values is a percent sign written twice.
    return sql if values else sql.replace("%%", "%"), values
