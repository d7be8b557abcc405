# SPDX-License-Identifier: BSD-2-Clause
"""Which tables may have got other rows by a statement that the log holds as text. Pure.

Rows that a statement wrote (``binlog_format=STATEMENT``) are not in the log, and what it reached by triggers, views and
functions is not in its text. But its event names the schema of every table that it used, these included; so tables of
these schemas are what it reaches, and where the event does not tell them, everything is. A statement that changes
definitions reaches the tables that it names.
"""

from __future__ import annotations

from typing import NamedTuple

from ..binlog.charsets import UTF8, codec_of
from ..binlog.events import Query
from ..binlog.statement_objects import Named, Unfit, objects_of, words_of

STATEMENT, DDL = "statement", "ddl"


class Reach(NamedTuple):
    """What may have changed.

    :param why: ``statement`` or ``ddl``; empty where nothing may have.
    :param named: tables, and schemas (with an empty ``table``).
    :param everything: any table.
    :param verb: its first words, for whoever reads the result; never a value.
    """

    why: str
    named: tuple[Named, ...] = ()
    everything: bool = False
    verb: str = ""


NOTHING = Reach("")

_OF_TRANSACTIONS = frozenset({"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "XA"})
"""XA: who wrote its rows is seen at its XA_PREPARE event (``touched``)."""
_WRITES = frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE", "LOAD"})
_OF_DEFINITIONS = frozenset({"CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE"})
_WITHOUT_ROWS = frozenset(
    {"VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "USER", "ROLE", "SERVER", "TABLESPACE", "INSTANCE"}
)
"""What can be made or dropped and has no rows of its own."""
_HARMLESS = frozenset({"GRANT", "REVOKE", "FLUSH", "ANALYZE", "OPTIMIZE", "SET"})
_BEFORE_KIND = 20
_KINDS = _WITHOUT_ROWS | {"TABLE", "TABLES", "INDEX", "DATABASE", "SCHEMA"}
_AFTER_VERB = frozenset({"LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "QUICK", "IGNORE"})
_HEAD = 4096
"""Letters in which a statement says what it does."""
_MOST_TEXT = 1 << 20
"""Letters of a definition that is read; a longer one reaches everything."""


def reach_of(query: Query) -> Reach:
    """What a QUERY or EXECUTE_LOAD_QUERY event reaches."""
    head = words_of(query.text[:_HEAD])
    first = head[0].upper() if head else ""
    if first in _OF_TRANSACTIONS or first in _HARMLESS:
        return NOTHING
    if first in _WRITES:
        return _of_write(query, head)
    if first in _OF_DEFINITIONS:
        return _of_definition(query, head)
    return Reach(STATEMENT, (), True, _shown(first))


def _readable(query: Query) -> bool:
    """Whether the text's names and quotes are what they seem. In another character set than UTF-8 letters may be other
    ones, and even quotes; and what a backslash means in a text depends on the session's ``sql_mode``."""
    plain = query.text.isascii() or (query.client is not None and codec_of(query.client) == UTF8)
    return plain and "\\" not in query.text


def _shown(word: str) -> str:
    return word if word.isalpha() else ""


def _of_write(query: Query, tokens: list[str]) -> Reach:
    """The table that its first words name, for whoever reads the result; what counts are the schemas."""
    words = [token.upper() for token in tokens]
    verb = words[0]
    if not query.databases:
        return Reach(STATEMENT, (), True, verb)
    place = 1
    if verb == "LOAD":
        place = words.index("TABLE") + 1 if "TABLE" in words else len(words)
    while words[place : place + 1] and words[place] in _AFTER_VERB | {"INTO", "FROM"}:
        place += 1
    named = _name(tokens, place, query.schema)
    return Reach(STATEMENT, (*named, *(Named(schema, "") for schema in query.databases)), False, verb)


def _name(tokens: list[str], place: int, schema: str) -> tuple[Named, ...]:
    """The one at this place; none where none is."""
    parts = []
    while place < len(tokens):
        token = tokens[place]
        if token[0] == "`":
            parts.append(token[1:-1].replace("``", "`"))
        elif token[0].isalpha() or token[0] == "_":
            parts.append(token)
        else:
            break
        if tokens[place + 1 : place + 2] != ["."] or len(parts) == 2:
            break
        place += 2
    return (Named(*parts) if len(parts) == 2 else Named(schema, parts[0]),) if parts else ()


def _of_definition(query: Query, head: list[str]) -> Reach:
    first, *following = (token.upper() for token in head[:_BEFORE_KIND])
    kind = next((word for word in following if word in _KINDS), "")
    verb = f"{first} {kind}".strip()
    if kind in _WITHOUT_ROWS and first != "TRUNCATE":
        return NOTHING
    if len(query.text) > _MOST_TEXT or not _readable(query):
        return Reach(DDL, (), True, verb)
    tokens = words_of(query.text)
    words = [token.upper() for token in tokens]
    if first == "TRUNCATE":
        named = _name(tokens, 2 if words[1:2] == ["TABLE"] else 1, query.schema)
        return Reach(DDL, named, not named, "TRUNCATE")
    named = _objects(query)
    if not named and first == "ALTER" and kind == "TABLE":
        named = _altered(query, tokens, words)
    if first == "CREATE" and kind == "TABLE" and "SELECT" in words:
        # Logged as a whole, so its SELECT runs on each server; what that calls may write as well.
        if not query.databases:
            return Reach(STATEMENT, named, True, verb)
        return Reach(STATEMENT, (*named, *(Named(each, "") for each in query.databases)), not named, verb)
    return Reach(DDL, named, not named, verb)


def _objects(query: Query) -> tuple[Named, ...]:
    try:
        return objects_of({"schema": query.schema, "verb": "", "text": query.text})
    except Unfit:
        return ()


def _altered(query: Query, tokens: list[str], words: list[str]) -> tuple[Named, ...]:
    """ALTER TABLE of partitions or files: the table itself, and whatever follows WITH TABLE or RENAME."""
    found: list[Named] = []
    for place, word in enumerate(words):
        after = place + 1
        if word == "RENAME" and words[after : after + 1] and words[after] in ("TO", "AS", "="):
            after += 1
        elif word not in ("TABLE", "RENAME"):
            continue
        named = _name(tokens, after, query.schema)
        if not named:
            return ()
        found.extend(named)
    return tuple(found)
