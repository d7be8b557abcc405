# SPDX-License-Identifier: BSD-2-Clause
"""Whether a text is one statement that only reads, and whose result two servers can be compared by. Pure.

The text is cut into tokens as MySQL does it with the client character set utf8mb4 and neither ANSI_QUOTES nor
NO_BACKSLASH_ESCAPES in sql_mode (whoever runs it sets that). What the two could read in different ways is refused, not
guessed at: executable comments, dollar quotes, control characters, words that begin with a digit and are no number (of
``1.0for`` MySQL makes a number and FOR); and optimizer hints, which could lift the time-out. Words that make a read
lock or write are refused wherever they stand outside quotes, so a column of such a name needs backquotes.

Functions are an allow-list. A list of forbidden ones would be incomplete with the next version of MySQL, or with a
loadable function; and what is missing here is noticed at once, by a refusal that names it.

This is one of three guards: the statement also runs in a READ ONLY transaction, and the account can only read.
"""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple

LONGEST = 1 << 16
"""Characters of a statement."""

WORD, QUOTED, TEXT, SIGN = "word", "quoted", "text", "sign"

_BEGINNINGS = frozenset({"select", "with", "table", "values"})

_FORBIDDEN = {
    **dict.fromkeys(("into", "outfile", "dumpfile"), "a result may not be written anywhere"),
    **dict.fromkeys(("insert", "update", "delete", "call", "procedure"), "only reading is allowed"),
    "lock": "it may not lock rows",
    "high_priority": "it may not go before writes",
}

# What may stand before a parenthesis and is no function.
_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """
    all and any as array between by case columns cross cube distinct distinctrow div else except exists filter for force
    from group grouping having ignore in index inner intersect interval join key lateral left like limit member mod
    natural nested not of offset on or order outer over partition path recursive regexp return returning right rlike
    rollup row select sets some straight_join table then union use using values when where window with within xor
    bigint binary char character date datetime decimal dec double enum fixed float geometry int integer json mediumint
    national nchar numeric precision real signed smallint text time timestamp tinyint unsigned varbinary varchar year
        """,
    )
)

# What gives the same answer from the same rows, on every server and however often it is asked; and the time, which is
# held still for both sides (business.py). Not here on purpose: rand, uuid, sysdate, connection_id, user, version,
# any_value, json_arrayagg (whose order is chance), everything that waits, locks, or reads files or keys.
_FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        """
    abs acos asin atan atan2 ceil ceiling conv cos cot crc32 degrees exp floor format ln log log10 log2 mod pi pow power
    radians round sign sin sqrt tan truncate
    ascii bin bit_length char_length character_length concat concat_ws elt export_set field find_in_set from_base64
    hex instr lcase left length locate lower lpad ltrim make_set mid oct octet_length ord position quote repeat
    replace reverse right rpad rtrim soundex space strcmp substr substring substring_index to_base64 trim ucase unhex
    upper weight_string regexp_instr regexp_like regexp_replace regexp_substr
    adddate addtime convert_tz curdate current_date current_time current_timestamp curtime date_add date_format date_sub
    datediff day dayname dayofmonth dayofweek dayofyear extract from_days from_unixtime get_format hour last_day
    localtime localtimestamp makedate maketime microsecond minute month monthname now period_add period_diff quarter
    sec_to_time second str_to_date subdate subtime time_format time_to_sec timediff timestampadd timestampdiff to_days
    to_seconds unix_timestamp utc_date utc_time utc_timestamp week weekday weekofyear yearweek
    avg bit_and bit_or bit_xor count group_concat json_objectagg max min std stddev stddev_pop stddev_samp sum var_pop
    var_samp variance
    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number
    cast convert coalesce greatest if ifnull isnull least nullif collate charset collation coercibility
    json_array json_contains json_contains_path json_depth json_extract json_keys json_length json_object json_overlaps
    json_pretty json_quote json_search json_table json_type json_unquote json_valid json_value json_schema_valid
    json_array_append json_array_insert json_insert json_merge_patch json_merge_preserve json_remove json_replace
    json_set
    md5 sha sha1 sha2 bit_count inet_aton inet_ntoa inet6_aton inet6_ntoa is_ipv4 is_ipv6 is_uuid uuid_to_bin
    bin_to_uuid
    st_asbinary st_astext st_aswkb st_aswkt st_srid st_x st_y st_geometrytype st_isvalid
        """,
    )
)

_WORD = re.compile(r"[0-9A-Za-z_$\u0080-\U0010ffff]+")
_NUMBER = re.compile(r"0x[0-9A-Fa-f]+|0b[01]+|[0-9]+([eE][0-9]+)?")
"""What of a number is one word. The point and the sign of an exponent are signs of their own."""
_UP_TO_SIGN = re.compile(r"[0-9]+[eE]")
_SIGNED = re.compile(r"[+-][0-9]+(?![0-9A-Za-z_$\u0080-\U0010ffff])")
_SIGNS = frozenset("()+-*/%<>=!~^&|,.;")
# Control characters, and halves of characters, which no connection can send.
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class Token(NamedTuple):
    """``text`` of a word or a quoted name is in lower case, without its quotes; that of a text is empty."""

    kind: str
    text: str


class Unreadable(Exception):
    """The text can not be cut into tokens without guessing; the message says why."""


def tokens(sql: str) -> Iterator[Token]:
    """Cut a statement into tokens; comments and white space are none.

    :raises Unreadable: what MySQL could read in another way, or would not read at all.
    """
    if _NO_TEXT.search(sql):
        raise Unreadable("it has a control character")
    at = 0
    while at < len(sql):
        here = sql[at]
        if here in " \t\r\n":
            at += 1
        elif sql.startswith("/*", at):
            if sql[at + 2 : at + 3] in ("!", "+"):
                raise Unreadable("executable comments and optimizer hints (/*! and /*+) are not allowed")
            at = _after(sql, "*/", at + 2, "a comment does not end")
        elif here == "#" or (sql.startswith("--", at) and sql[at + 2 : at + 3] in ("", " ", "\t", "\r", "\n")):
            end = sql.find("\n", at)
            at = len(sql) if end < 0 else end + 1
        elif here in "'\"":
            at = _end_of_text(sql, at)
            yield Token(TEXT, "")
        elif here == "`":
            name, at = _quoted(sql, at)
            yield Token(QUOTED, name)
        elif here == "$":
            raise Unreadable("a word begins with $")
        elif here == "@":
            raise Unreadable("variables (@) are not allowed: they differ between servers")
        elif here in _SIGNS:
            yield Token(SIGN, here)
            at += 1
        else:
            word, at = _word(sql, at)
            yield Token(WORD, word)


def _word(sql: str, at: int) -> tuple[str, int]:
    """A name, a keyword, or what of a number is one word: its text in lower case, and where it ends."""
    found = _WORD.match(sql, at)
    if found is None:
        raise Unreadable(f"there is an unexpected {sql[at]!r}")
    word, end = found[0], found.end()
    # Of 1.5e-- without digits MySQL makes one minus, and no comment of what follows.
    number = _NUMBER.fullmatch(word) or (_UP_TO_SIGN.fullmatch(word) and _SIGNED.match(sql, end))
    if "0" <= word[0] <= "9" and not number:
        raise Unreadable(f"{word} begins with a digit and is no number (a name like that needs backquotes)")
    return word.lower(), end


def _after(sql: str, ending: str, start: int, otherwise: str) -> int:
    end = sql.find(ending, start)
    if end < 0:
        raise Unreadable(otherwise)
    return end + len(ending)


def _end_of_text(sql: str, at: int) -> int:
    quote, at = sql[at], at + 1
    while at < len(sql):
        if sql[at] == "\\":
            at += 2
        elif sql[at] != quote:
            at += 1
        elif sql[at + 1 : at + 2] == quote:
            at += 2
        else:
            return at + 1
    raise Unreadable("a text does not end")


def _quoted(sql: str, at: int) -> tuple[str, int]:
    found = re.compile(r"`((?:[^`]|``)*)`").match(sql, at)
    if found is None:
        raise Unreadable("a quoted name does not end")
    return found[1].replace("``", "`").lower(), found.end()


def problems(sql: str, *, comparable: bool) -> tuple[str, ...]:
    """Everything that is wrong with a statement; empty: it is one SELECT, WITH, TABLE or VALUES that only reads.

    :param comparable: its rows are compared with another server's, so that the same data has to give the same rows:
        ``LIMIT`` and ``GROUP_CONCAT`` then need an ``ORDER BY``.
    """
    if len(sql) > LONGEST:
        return (f"it is longer than {LONGEST} characters",)
    try:
        cut = list(tokens(sql))
    except Unreadable as error:
        return (str(error),)
    while cut and cut[-1] == (SIGN, ";"):
        cut.pop()
    if not cut:
        return ("it holds no statement",)
    found = [*_whole(cut), *_words(cut), *_calls(cut), *(_orders(cut) if comparable else ())]
    return tuple(dict.fromkeys(found))


def _whole(cut: list[Token]) -> Iterator[str]:
    if (SIGN, ";") in cut:
        yield "it holds more than one statement"
    first = next((token for token in cut if token != (SIGN, "(")), Token(SIGN, ""))
    if first.kind != WORD or first.text not in _BEGINNINGS:
        yield f"it does not begin with SELECT, WITH, TABLE or VALUES, but with {first.text or 'something else'!r}"
    depth = 0
    for token in cut:
        depth += {(SIGN, "("): 1, (SIGN, ")"): -1}.get(token, 0)
        if depth < 0:
            break
    if depth:
        yield "its parentheses do not match"


def _words(cut: list[Token]) -> Iterator[str]:
    for place, token in enumerate(cut):
        if token.kind != WORD:
            continue
        before, after = _at(cut, place - 1), _at(cut, place + 1)
        if token.text in _FORBIDDEN:
            yield f"{token.text.upper()}: {_FORBIDDEN[token.text]} (a name like that needs backquotes)"
        elif token.text == "share" and before != (SIGN, "."):
            yield "SHARE: it may not lock rows (a name like that needs backquotes)"
        elif token.text == "replace" and after != (SIGN, "("):
            yield "REPLACE: only reading is allowed (a name like that needs backquotes)"


def _calls(cut: list[Token]) -> Iterator[str]:
    """Functions that are not on the list. A quoted name before a parenthesis is called as well."""
    for place, token in enumerate(cut):
        if token.kind not in (WORD, QUOTED) or _at(cut, place + 1) != (SIGN, "("):
            continue
        before = _at(cut, place - 1)
        if before == (SIGN, "."):
            yield f"{_at(cut, place - 2).text}.{token.text}(): stored functions are not allowed"
        elif before == (SIGN, ")") or before == (WORD, "as") or _names_columns(cut, place):
            continue  # the alias of a subquery, a type, or a common table expression: with its columns or its length
        elif token.text not in _FUNCTIONS and (token.kind == QUOTED or token.text not in _KEYWORDS):
            yield f"{token.text}(): this function is not among those that are known to only read and to repeat"


def _names_columns(cut: list[Token], place: int) -> bool:
    """``name (a, b) AS (``, after WITH, RECURSIVE or a comma: no call."""
    if _at(cut, place - 1) not in ((WORD, "with"), (WORD, "recursive"), (SIGN, ",")):
        return False
    end = place + 2
    while _at(cut, end).kind in (WORD, QUOTED) or _at(cut, end) == (SIGN, ","):
        end += 1
    return _at(cut, end) == (SIGN, ")") and _at(cut, end + 1) == (WORD, "as") and _at(cut, end + 2) == (SIGN, "(")


def _orders(cut: list[Token]) -> Iterator[str]:
    """Which rows a LIMIT leaves, and how texts are joined, is chance without an order."""
    ordered = [False]
    joining = [False]
    for place, token in enumerate(cut):
        if token == (SIGN, "("):
            ordered.append(False)
            joining.append(_at(cut, place - 1).text == "group_concat")
        elif token == (SIGN, ")") and len(ordered) > 1:
            if joining.pop() and not ordered[-1]:
                yield "GROUP_CONCAT needs an ORDER BY inside: without one two servers may join in another order"
            ordered.pop()
        elif token == (WORD, "order"):
            ordered[-1] = True
        elif token == (WORD, "limit") and not ordered[-1]:
            yield "LIMIT needs an ORDER BY: without one two servers may keep other rows"


def _at(cut: list[Token], place: int) -> Token:
    return cut[place] if 0 <= place < len(cut) else Token(SIGN, "")
