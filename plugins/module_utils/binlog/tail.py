# SPDX-License-Identifier: BSD-2-Clause
"""The end of a binary log file, read backwards: everything after the last transaction that another server has.

A file may hold a gigabyte, its tail a hundred transactions. So the file is looked at from its end, in windows that grow
fourfold, for a transaction that the other server has; from there on every event is read and checked. What stands before
that place is not read. There a server logs in the order in which it commits, so its own transactions in front of one
that the other has are older than that one.
"""

from __future__ import annotations

import dataclasses
from typing import Callable, Optional

from ..gtid import EMPTY, GtidSet
from .events import Flag, Gtid
from .files import BinlogFile, Ending
from .transactions import Transaction

_FIRST_WINDOW = 1 << 16
_GROWTH = 4


@dataclasses.dataclass(frozen=True)
class Tail:
    """The end of one file.

    :param previous: what all earlier files held (PREVIOUS_GTIDS).
    :param begin: where reading began: at a transaction that the other server has, or at the file's first.
    :param transactions: every whole transaction from there on, in the order of the file.
    :param ending: how the file ends.
    """

    path: str
    previous: GtidSet
    begin: int
    transactions: tuple[Transaction, ...]
    ending: Ending


def read_tail(path: str, contains: Callable[[Gtid], bool]) -> Tail:
    """Read the end of a file.

    :param contains: whether the other server has a transaction.
    :raises HaError: ``binlog_unreadable``, ``binlog_encrypted``, ``binlog_not_a_binlog``.
    """
    with BinlogFile.open(path) as file:
        prelude = file.prelude()
        begin = _begin(file, prelude.end, contains)
        found = tuple(each for each in file.transactions(begin=begin) if each.complete)
        return Tail(path, prelude.previous_gtids or EMPTY, begin or prelude.end, found, file.ending)


def _begin(file: BinlogFile, first: int, contains: Callable[[Gtid], bool]) -> int:
    """0: at the file's beginning."""
    window = _FIRST_WINDOW
    while first and window < file.size - first:
        found = file.transaction_after(file.size - window)
        if found is not None and found[1] is not None and contains(found[1]):
            return found[0]
        window *= _GROWTH
    return 0


def in_use(path: str) -> Optional[bool]:
    """Whether the server that wrote this file had it open when it ended: it did not end by itself.

    :returns: None when the file does not say: it is torn in its first event.
    :raises HaError: as ``read_tail``.
    """
    with BinlogFile.open(path) as file:
        for event in file.events():
            return bool(event.header.flags & Flag.IN_USE)
    return None
