# SPDX-License-Identifier: BSD-2-Clause
"""What a server says in an error, without what it quotes: that may be a value of a row, or a whole statement. Pure.

A report is sent to others, and a journal is read by many. What is left says what happened: the error's number, the
table, the transaction, the place in the log. What cannot be told from a value is not left.
"""

from __future__ import annotations

import re

# Errors whose message quotes names, and never a value of a row.
_NAMES_ONLY = frozenset({1044, 1046, 1049, 1052, 1054, 1055, 1140, 1142, 1143, 1146, 1222, 1248, 1305, 1356, 1370})
# Before anything that is quoted; empty or a word where a transaction has no GTID.
_TRANSACTION = re.compile(r"\A([^'\"]*failed executing transaction )'([\w:-]*)'")
# How an applier's message ends, behind whatever it quotes; it has an apostrophe of its own.
_APPLIERS_END = re.compile(
    r"(, Error_code: (MY-)?\d{1,6})?(; handler error (HA_ERR_\w+|<unknown>))?"
    r"(; the event's (source|master) log [\w./-]+, end_log_pos \d+)?\Z"
)
_QUOTE = re.compile(r"['\"]")


def masked(message: str, errno: int = 0) -> str:
    """The message, without all that stands from its first quote to what MySQL is known to end such a message with.

    From the first quote on, and not from quote to quote: a value may have quotes of its own, and a message that is
    cut off has no last one.

    :param errno: the error's number, which may stand in parentheses at the end; 0 for none. Messages of some quote
        names only, and are left as they are.
    """
    if errno in _NAMES_ONLY:
        return message
    number = f" ({errno})" if errno and message.endswith(f" ({errno})") else ""
    said = _TRANSACTION.sub(r"\1\2", message[: len(message) - len(number)], count=1)
    end = _APPLIERS_END.search(said)
    place = end.start() if end else len(said)
    quote = _QUOTE.search(said, 0, place)
    return (f"{said[: quote.start()]}'...'{said[place:]}" if quote else said) + number
