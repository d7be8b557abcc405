# SPDX-License-Identifier: BSD-2-Clause
"""The words and names of a logged statement, as MySQL's own lexer reads them. Pure.

No grammar. A name that is not understood is none: never what a part of it seems to name.
"""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple, Optional, Sequence

_TOKEN = re.compile(
    r"/\*!(?:\d{5,6})?|\*/|/\*.*?(?:\*/|\Z)|(?:#|--(?=[\0- \x7f]|\Z))[^\n]*"
    r"|`[^`]*(?:``[^`]*)*(?:`|\Z)|'[^'\\]*(?:(?:\\.|'')[^'\\]*)*(?:'|\Z)|\"[^\"\\]*(?:(?:\\.|\"\")[^\"\\]*)*(?:\"|\Z)"
    r"|[\w$\x80-\U0010ffff]+|\S",
    re.ASCII | re.DOTALL,
)
"""Comments; what stands in quotes, to the end where that was cut off; words: ASCII letters, digits, ``_``, ``$`` and
everything beyond ASCII, blanks and signs too; signs."""
_WORD = re.compile(r"[\w$\x80-\U0010ffff]+", re.ASCII)


class Named(NamedTuple):
    """An object that a statement names: ``table`` is empty for a whole schema."""

    schema: str
    table: str


def tokens_of(text: str) -> Iterator[str]:
    """Words, what stands in quotes, and signs, one after the other; without comments, but with what stands in comments
    that the server executes."""
    place, executed = 0, False
    while True:
        found = _TOKEN.search(text, place)
        if found is None:
            return
        token, place = found[0], found.end()
        if token == "*/" and not executed:  # a product, and perhaps the beginning of a comment
            token, place = "*", place - 1
        if token.startswith("/*!") or token == "*/":
            executed = token != "*/"
        elif not token.startswith(("/*", "--", "#")):
            yield token


def name_at(tokens: Sequence[str], place: int, schema: str) -> tuple[Optional[Named], int]:
    """The table that is named at a place, and the place behind its name; none where that is not understood."""
    first = part_at(tokens, place)
    if tokens[place + 1 : place + 2] == ["."]:
        second = part_at(tokens, place + 2)
        return (Named(first, second) if first and second else None), place + 3
    # Digits alone are a name behind a point only.
    if not first or not schema or tokens[place].isdecimal():
        return None, place
    return Named(schema, first), place + 1


def part_at(tokens: Sequence[str], place: int) -> str:
    """A word, or a name in backticks; empty for anything else. What stands in double quotes may be a text."""
    token = tokens[place] if place < len(tokens) else ""
    if token[:1] == "`":
        return token[1:-1].replace("``", "`") if token[-1:] == "`" else ""
    return token if _WORD.fullmatch(token) else ""


def names_at(tokens: Sequence[str], place: int, schema: str, between: Sequence[str]) -> tuple[Named, ...]:
    """The tables named from a place on with one of these words between them, and nothing behind them; none where that
    is not understood to its end."""
    found = []
    while True:
        named, place = name_at(tokens, place, schema)
        if named is None:
            return ()
        found.append(named)
        word = tokens[place].upper() if place < len(tokens) else ""
        if word not in between:
            return tuple(found) if word in ("", ";", "RESTRICT", "CASCADE") else ()
        place += 1
