# SPDX-License-Identifier: BSD-2-Clause
"""Which tables, views and schemas a logged statement names. Pure.

No grammar: comments and texts are skipped, names are looked for where the statement's first words say that they stand.
Whoever asks learns when that does not tell; nothing is guessed.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence

from .statement_names import Named, name_at, names_at, part_at, tokens_of


class Unfit(Exception):
    """What was logged does not say what it concerns, or nothing that can be looked for; why, without values."""


_KIND_WITHIN = 20
"""Words in which a statement has said what it is about: CREATE ALGORITHM ... DEFINER ... SQL SECURITY ... VIEW."""


def objects_of(statement: Mapping[str, Any]) -> tuple[Named, ...]:
    """The tables, views and schemas whose definition a logged statement concerns.

    :raises Unfit: it concerns something else, or contents that it does not name.
    """
    tokens = list(tokens_of(str(statement["text"])))
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

    def behind_condition(self, place: int) -> int:
        """Of CREATE and DROP, the place behind IF NOT EXISTS."""
        while self.words[0] in ("CREATE", "DROP") and self.words[place : place + 1] in (["IF"], ["NOT"], ["EXISTS"]):
            place += 1
        return place

    def name(self, place: int) -> tuple[Optional[Named], int]:
        """The name at a place, and the place behind it."""
        return name_at(self.tokens, self.behind_condition(place), self._schema)

    def names(self, place: int, between: Sequence[str]) -> tuple[Named, ...]:
        """Names separated by one of these words, and nothing behind them."""
        return names_at(self.tokens, self.behind_condition(place), self._schema, between)


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
    schema = part_at(reader.tokens, reader.behind_condition(place))
    return (Named(schema, ""),) if schema else ()


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
