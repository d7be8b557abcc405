# SPDX-License-Identifier: BSD-2-Clause
"""Which tables may have got other rows by a statement that the log holds as text. Pure.

Rows that a statement wrote (``binlog_format=STATEMENT``) are not in the log, and what it reached by triggers, views and
functions is not in its text. But its event names the schema of every table that it used, these included; so tables of
these schemas are what it reaches, and where the event does not tell them, everything is. A statement that changes
definitions reaches the tables that it names.

Names are read as MySQL's own lexer reads them. Where one is not understood, or a list of them not to its end,
everything is reached: never the table that a part of it seems to name.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

from ..binlog.charsets import UTF8, codec_of
from ..binlog.events import Query
from ..binlog.statement_names import Named, name_at, names_at, part_at, tokens_of

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
_TABLES, _SCHEMAS = ("TABLE", "TABLES"), ("DATABASE", "SCHEMA")
_KINDS = _WITHOUT_ROWS | {*_TABLES, *_SCHEMAS, "INDEX"}
_AFTER_VERB = frozenset({"LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "QUICK", "IGNORE"})
_HEAD = 4096
"""Letters in which a statement says what it does."""
_MOST_TEXT = 1 << 20
"""Letters of a definition that is read; a longer one reaches everything."""


def reach_of(query: Query) -> Reach:
    """What a QUERY or EXECUTE_LOAD_QUERY event reaches."""
    head = list(tokens_of(query.text[:_HEAD]))
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
    named, _behind = name_at(tokens, place, query.schema)
    schemas = (Named(schema, "") for schema in query.databases)
    return Reach(STATEMENT, (*((named,) if named else ()), *schemas), False, verb)


def _of_definition(query: Query, head: list[str]) -> Reach:
    first, *following = (token.upper() for token in head[:_BEFORE_KIND])
    kind = next((word for word in following if word in _KINDS), "")
    verb = f"{first} {kind}".strip()
    if kind in _WITHOUT_ROWS and first != "TRUNCATE":
        return NOTHING
    if len(query.text) > _MOST_TEXT or not _readable(query):
        return Reach(DDL, (), True, verb)
    definition = _Definition(list(tokens_of(query.text)), query.schema)
    if first == "TRUNCATE":
        named = definition.truncated()
        return Reach(DDL, named, not named, "TRUNCATE")
    named = definition.named(first, kind)
    if first == "CREATE" and kind == "TABLE" and definition.takes_rows:
        # Logged as a whole, so its SELECT runs on each server; what that calls may write as well.
        if not query.databases:
            return Reach(STATEMENT, named, True, verb)
        return Reach(STATEMENT, (*named, *(Named(each, "") for each in query.databases)), not named, verb)
    return Reach(DDL, named, not named, verb)


class _Definition:
    """A statement that changes definitions. What it names is nothing where it is not understood."""

    def __init__(self, tokens: Sequence[str], schema: str) -> None:
        self._tokens, self._schema = tokens, schema
        self._words = [token.upper() for token in tokens]

    @property
    def takes_rows(self) -> bool:
        """Whether a CREATE TABLE has a query: SELECT, TABLE or VALUES ROW (without ROW it is of partitions)."""
        words = self._words
        return "SELECT" in words or words.count("TABLE") > 1 or ("VALUES", "ROW") in zip(words, words[1:])

    def truncated(self) -> tuple[Named, ...]:
        return self._list(2 if self._words[1:2] == ["TABLE"] else 1, ())

    def named(self, first: str, kind: str) -> tuple[Named, ...]:
        """:param first: the first word; ``kind``: of what is defined."""
        if kind not in self._words:
            return ()
        place = self._words.index(kind) + 1
        while first in ("CREATE", "DROP") and self._words[place : place + 1] in (["IF"], ["NOT"], ["EXISTS"]):
            place += 1
        if kind in _SCHEMAS:
            schema = part_at(self._tokens, place)
            return (Named(schema, ""),) if schema else ()
        if first == "DROP" and kind in _TABLES:
            return self._list(place, (",",))
        if first == "RENAME" and kind in _TABLES:
            return self._list(place, (",", "TO"))
        if first == "ALTER" and kind in _TABLES:
            return self._altered(place)
        if kind == "INDEX":
            place = self._words.index("ON", place) + 1 if "ON" in self._words[place:] else len(self._words)
        named, _behind = name_at(self._tokens, place, self._schema)
        return (named,) if named else ()

    def _list(self, place: int, between: Sequence[str]) -> tuple[Named, ...]:
        return names_at(self._tokens, place, self._schema, between)

    def _altered(self, place: int) -> tuple[Named, ...]:
        """The table itself, what it is called afterwards, and whose rows a partition gets."""
        words = self._words
        places = [place]
        _named, behind = name_at(self._tokens, place, self._schema)
        for at in range(behind, len(words)):
            following = words[at + 1 : at + 2]
            if words[at] == "RENAME" and following not in (["COLUMN"], ["INDEX"], ["KEY"]):
                places.append(at + (2 if following in (["TO"], ["AS"], ["="]) else 1))
            elif words[at] == "WITH" and following == ["TABLE"]:
                places.append(at + 2)
        found = [named for named, _behind in (name_at(self._tokens, each, self._schema) for each in places) if named]
        return tuple(found) if len(found) == len(places) else ()
