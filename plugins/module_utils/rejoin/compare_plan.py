# SPDX-License-Identifier: BSD-2-Clause
"""What is asked of two servers to compare the rows that an archive names, and what the answers mean. Pure.

The servers are asked for digests, not for values: of each row that a predicate finds, the digest of its key and the
digest of all its columns; where a table has no key, the digest of all columns and how many rows have it. Either way an
answer is a mapping from an identity to what must be the same, and the two servers' mappings are compared. Nothing is
matched with the archive's own values: these only say where to look.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence

from ..binlog.rows_json import value_of
from ..consistency.canonical import column_digest, digest, shown_value
from ..consistency.layout import Layout
from ..consistency.lookup import Lookup, Statement, Unfit, predicate, quoted
from ..consistency.settle import Answer

MOST_GROUPS = 5000
"""Rows of a server's answer at most."""


# Where to look


def lookups(change: Mapping[str, Any], layout: Layout) -> list[Lookup]:
    """Where a row change of an archive says that rows are or were: as before it, and as after it.

    :raises Unfit: it names columns that the table does not have, or not enough of them.
    """
    before, after = change.get("before"), change.get("after")
    images = [image for image in (before, {**(before or {}), **after} if after else None) if image]
    if not images:
        raise Unfit("an archived row without its values")
    found: list[Lookup] = []
    for image in images:
        named = _by_name(image, layout)
        columns = layout.key or tuple(column.name for column in layout.columns if not column.generated)
        lacking = [name for name in columns if name not in named]
        if lacking:
            raise Unfit(f"archived rows do not hold {', '.join(lacking)}")
        lookup = Lookup(columns, tuple(value_of(named[name]) for name in columns))
        if lookup not in found:
            found.append(lookup)
    return found


def _by_name(image: Mapping[str, Any], layout: Layout) -> Mapping[str, Any]:
    """``@1`` is the first column: right as long as the table has as many as the log had."""
    if not all(re.fullmatch(r"@\d+", name) for name in image):
        return image
    if len(image) != len(layout.columns):
        raise Unfit(f"archived rows have {len(image)} columns without names, and the table has {len(layout.columns)}")
    return {column.name: image[f"@{place}"] for place, column in enumerate(layout.columns, 1)}


# What is asked


def rows_query(schema: str, table: str, layout: Layout, wanted: Sequence[Lookup]) -> Statement:
    """Answers ``identity`` and ``content`` of each row found; ``answer`` reads it.

    :raises Unfit: they cannot be looked for.
    """
    if layout.key:
        condition, values = predicate(layout, wanted, "=")
        shown = f"{digest(layout.key_columns)} AS identity, {digest(layout.columns)} AS content"
        return _select(shown, schema, table, condition, values)
    condition, values = predicate(layout, wanted, "<=>")
    shown = f"{digest(layout.columns)} AS identity, COUNT(*) AS content"
    return _select(shown, schema, table, f"{condition} GROUP BY 1", values)


def details_query(schema: str, table: str, layout: Layout, wanted: Sequence[Lookup], *, reveal: bool) -> Statement:
    """Answers of each row found ``identity``, the digest ``d0``, ``d1`` of each column, and with ``reveal`` also its
    beginning, ``v0``, ``v1``. Only for a table with a key."""
    condition, values = predicate(layout, wanted, "=")
    shown = [f"{digest(layout.key_columns)} AS identity"]
    shown += [f"{column_digest(column)} AS d{place}" for place, column in enumerate(layout.columns)]
    if reveal:
        shown += [f"{shown_value(column)} AS v{place}" for place, column in enumerate(layout.columns)]
    return _select(", ".join(shown), schema, table, condition, values)


def _select(shown: str, schema: str, table: str, condition: str, values: tuple[Any, ...]) -> Statement:
    sql = f"SELECT {shown} FROM {quoted(schema)}.{quoted(table)} WHERE {condition} LIMIT {MOST_GROUPS + 1}"
    return sql if values else sql.replace("%%", "%"), values


# What the answers mean


def answer(rows: Sequence[Mapping[str, Any]]) -> Answer:
    """:raises Unfit: too many rows, or one that the server could not make a digest of."""
    if len(rows) > MOST_GROUPS:
        raise Unfit(f"more than {MOST_GROUPS} rows answer")
    found = {}
    for row in rows:
        if row["identity"] is None or row["content"] is None:
            raise Unfit("a row is too large for its digest")
        found[str(row["identity"])] = str(row["content"])
    return found


# Statements

_TOKEN = re.compile(
    r"/\*!\d*|\*/|/\*.*?\*/|(?:--\s|#)[^\n]*|`(?:[^`]|``)*`|'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|[^\W\d][\w$]*|\d+|\S",
    re.DOTALL,
)
_SKIPPED = ("/*", "*/", "--", "#")
_KIND_WITHIN = 20
"""Words in which a statement has said what it is about: CREATE ALGORITHM ... DEFINER ... SQL SECURITY ... VIEW."""
_WORDS_BEFORE_NAME = frozenset({"IF", "NOT", "EXISTS", "TEMPORARY", "ONLINE", "OFFLINE", "IGNORE"})


class Named(NamedTuple):
    """An object that a statement names: ``table`` is empty for a whole schema."""

    schema: str
    table: str


def objects_of(statement: Mapping[str, Any]) -> tuple[Named, ...]:
    """The tables, views and schemas whose definition a logged statement concerns.

    :raises Unfit: it concerns something else, or contents that it does not name.
    """
    tokens = [token for token in _TOKEN.findall(str(statement["text"])) if not token.startswith(_SKIPPED)]
    words = [token.upper() for token in tokens]
    verb = str(statement["verb"]) or " ".join(word for word in words[:2] if word.isalpha())
    reader = _Reader(tokens, words, str(statement["schema"]))
    kind = next((word for word in words[1:_KIND_WITHIN] if word in _KINDS), "")
    found: tuple[Named, ...] = ()
    if words[:1] in (["CREATE"], ["ALTER"], ["DROP"], ["RENAME"]) and kind:
        found = _KINDS[kind](reader, words.index(kind) + 1)
    if not found:
        raise Unfit(f"what {verb or 'a statement without text'} did is not compared")
    return found


class _Reader:
    def __init__(self, tokens: Sequence[str], words: Sequence[str], schema: str) -> None:
        self.tokens, self.words, self._schema = tokens, words, schema

    def name(self, place: int) -> tuple[Optional[Named], int]:
        """The name at a place or behind IF EXISTS and the like, and the place behind it."""
        while place < len(self.words) and self.words[place] in _WORDS_BEFORE_NAME:
            place += 1
        first, place = self._part(place)
        if first is None:
            return None, place
        if self.words[place : place + 1] == ["."]:
            second, place = self._part(place + 1)
            return (Named(first, second) if second is not None else None), place
        return Named(self._schema, first), place

    def _part(self, place: int) -> tuple[Optional[str], int]:
        token = self.tokens[place] if place < len(self.tokens) else ""
        if token[:1] == "`":
            return token[1:-1].replace("``", "`"), place + 1
        if re.match(r"[^\W\d]", token):
            return token, place + 1
        return None, place

    def names(self, place: int, between: Sequence[str]) -> tuple[Named, ...]:
        """Names separated by one of these words."""
        found = []
        while True:
            named, place = self.name(place)
            if named is None:
                return ()
            found.append(named)
            if self.words[place : place + 1] and self.words[place] in between:
                place += 1
                continue
            return tuple(found)


def _tables(reader: _Reader, place: int) -> tuple[Named, ...]:
    if reader.words[0] == "DROP":
        return reader.names(place, (",",))
    if reader.words[0] == "RENAME":
        return reader.names(place, (",", "TO"))
    named, behind = reader.name(place)
    found = [named] if named else []
    if reader.words[0] == "ALTER":
        if {"PARTITION", "DISCARD", "IMPORT"} & set(reader.words[behind:]):
            raise Unfit("what ALTER TABLE did to partitions or files is not compared")
        for number, word in enumerate(reader.words[behind:], behind):
            following = reader.words[number + 1 : number + 2]
            if word == "RENAME" and following and following[0] not in ("COLUMN", "INDEX", "KEY"):
                other, _behind = reader.name(number + (2 if following[0] in ("TO", "AS") else 1))
                if other is None:
                    raise Unfit("what ALTER TABLE renamed is not compared")
                found.append(other)
    return tuple(found)


def _indexed(reader: _Reader, place: int) -> tuple[Named, ...]:
    place = reader.words.index("ON", place) + 1 if "ON" in reader.words[place:] else len(reader.words)
    named, _behind = reader.name(place)
    return (named,) if named else ()


def _schema(reader: _Reader, place: int) -> tuple[Named, ...]:
    named, _behind = reader.name(place)
    return (Named(named.table, ""),) if named else ()


_KINDS: Mapping[str, Callable[[_Reader, int], tuple[Named, ...]]] = {
    "TABLE": _tables,
    "TABLES": _tables,
    "VIEW": _tables,
    "INDEX": _indexed,
    "DATABASE": _schema,
    "SCHEMA": _schema,
    # These come before a word above that does not name what was made.
    "TRIGGER": lambda _reader, _place: (),
    "PROCEDURE": lambda _reader, _place: (),
    "FUNCTION": lambda _reader, _place: (),
    "EVENT": lambda _reader, _place: (),
    "USER": lambda _reader, _place: (),
    "ROLE": lambda _reader, _place: (),
    "SERVER": lambda _reader, _place: (),
    "TABLESPACE": lambda _reader, _place: (),
}

_AUTO_INCREMENT = re.compile(r" AUTO_INCREMENT=\d+")


def definition(shown: Optional[str]) -> Optional[str]:
    """What SHOW CREATE says, without the counter that differs by right."""
    return None if shown is None else _AUTO_INCREMENT.sub("", shown)
