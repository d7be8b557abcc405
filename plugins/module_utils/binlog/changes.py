# SPDX-License-Identifier: BSD-2-Clause
"""Row changes and statements of whole transactions, read out of a file."""

from __future__ import annotations

from typing import Iterator, NamedTuple, Optional

from . import events
from .events import GTID_KINDS, Kind
from .files import BinlogFile
from .rows import Decoder
from .rows_json import Item


def changes(file: BinlogFile, start: int, end: int, decoder: Optional[Decoder] = None) -> Iterator[Item]:
    """The row changes and statements of the transaction at these offsets (``Transaction.start`` and ``end``).

    :param decoder: one that has read other transactions, which saves making the plans of the same tables again.
    :raises HaError: what ``BinlogFile.contents`` and ``Decoder.feed`` raise.
    """
    decoder = decoder or Decoder()
    for kind, body, form in file.contents(start, end):
        yield from decoder.feed(kind, body, form)


class Located(NamedTuple):
    """A change or statement, and the transaction it is of; empty for an anonymous one."""

    gtid: str
    item: Item


def all_changes(file: BinlogFile) -> Iterator[Located]:
    """Those of every transaction of a file that ends whole, as an archive does."""
    decoder = Decoder()
    gtid = ""
    for kind, body, form in file.contents(len(events.MAGIC), file.size):
        if kind in GTID_KINDS:
            begin = events.decode_gtid_tagged(body) if kind == Kind.GTID_TAGGED else events.decode_gtid(body, kind)
            gtid = str(begin.gtid or "")
        for item in decoder.feed(kind, body, form):
            yield Located(gtid, item)
