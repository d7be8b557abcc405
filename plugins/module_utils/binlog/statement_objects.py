# SPDX-License-Identifier: BSD-2-Clause
"""Which tables, views and schemas a logged statement names. Pure.

No grammar: comments and texts are skipped, names are looked for where the statement's first words say that they stand.
Whoever asks learns when that does not tell; nothing is guessed.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence


class Unfit(Exception):
    """What was logged does not say what it concerns, or nothing that can be looked for; why, without values."""


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


def words_of(text: str) -> list[str]:
    """Its words, names in backticks, texts and signs, one after the other; without comments, but with what stands in
    comments that the server executes."""
    return [token for token in _TOKEN.findall(text) if not token.startswith(_SKIPPED)]


def objects_of(statement: Mapping[str, Any]) -> tuple[Named, ...]:
    """The tables, views and schemas whose definition a logged statement concerns.

    :raises Unfit: it concerns something else, or contents that it does not name.
    """
    tokens = words_of(str(statement["text"]))
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
