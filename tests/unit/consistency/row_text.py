# SPDX-License-Identifier: GPL-3.0-or-later
"""The text under a row's digest: a model of how a server builds it, and a parser that takes it apart.

The model builds the text from the same plan that the SQL is made of, as CONCAT_WS does.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Optional

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import canonical
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.canonical import plan
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import ColumnFacts

Values = Sequence[Optional[bytes]]
"""The bytes of each column's value. None: NULL."""


# The model of the server


@dataclasses.dataclass(frozen=True)
class Mutant:
    """What is left out of the text."""

    lengths: int = 0
    null_in_place: bool = False
    null_by_length: bool = False
    null_of_the_last: bool = False


def digest_of(value: bytes) -> bytes:
    return hashlib.sha256(value).hexdigest().encode()


def shows(one: ColumnFacts, form: str, value: Optional[bytes]) -> Optional[bytes]:
    if form in (canonical.WHOLE_VALUE, canonical.SHORT):
        long = form == canonical.SHORT and value is not None and len(value) > canonical.LARGEST_SHORT
        return digest_of(value or b"") if long else value
    if value is None:
        return b"-"
    if form == canonical.JSON_TEXT:
        return value if len(value) <= canonical.LARGEST_JSON else b"s" + digest_of(value)
    return digest_of(value) if form == canonical.DIGEST else value


def text(columns: Sequence[ColumnFacts], values: Values, mutant: Mutant = Mutant()) -> bytes:
    """CONCAT_WS(_binary'#', ...): what is NULL is left out."""
    planned = plan(columns)
    of = {one.name: value for one, value in zip(columns, values, strict=True)}
    fields = [shows(one, form, of[one.name]) for one, form in planned.shown]
    if mutant.null_in_place:
        fields = [field for (one, _), field in zip(planned.shown, fields, strict=True) if of[one.name] is not None]
    last = planned.last
    if last is not None:
        fields.append(of[last.name])
    for one in planned.lengths[mutant.lengths :]:
        value = of[one.name]
        absent = b"0" if mutant.null_by_length else b"-1"
        fields.append(absent if value is None else str(len(value)).encode())
    if last is not None and last.nullable and not mutant.null_of_the_last:
        fields.append(b"1" if of[last.name] is None else b"0")
    return b"#".join(field for field in fields if field is not None)


# The parser


class Parser:
    """What each column shows, from the text and the columns' types alone."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.first = True

    def from_the_right(self) -> bytes:
        self.said, _, field = self.said.rpartition(b"#")
        return field

    def from_the_left(self, size: Callable[[bytes], int]) -> bytes:
        if not self.first:
            assert self.said[:1] == b"#"
            self.said = self.said[1:]
        self.first = False
        end = size(self.said)
        field, self.said = self.said[:end], self.said[end:]
        return field


def parse(columns: Sequence[ColumnFacts], said: bytes) -> list[Optional[bytes]]:
    planned = plan(columns)
    parser = Parser(said)
    last = planned.last
    without_last = last is None or (last.nullable and parser.from_the_right() == b"1")
    lengths = {one.name: int(parser.from_the_right()) for one in reversed(planned.lengths)}
    found: dict[str, Optional[bytes]] = {}
    for one, form in planned.shown:
        length = lengths.get(one.name)
        if length == -1:
            found[one.name] = None
            continue
        field = parser.from_the_left(functools.partial(size, one, form, length))
        found[one.name] = None if length is None and one.nullable and field == b"-" else field
    if last is not None:
        found[last.name] = None if without_last else parser.from_the_left(len)
    assert parser.said == b""
    return [found[one.name] for one in columns]


def size(one: ColumnFacts, form: str, length: Optional[int], said: bytes) -> int:
    """Of the column that the text begins with."""
    if length is not None and not (form == canonical.SHORT and length > canonical.LARGEST_SHORT):
        return length
    if form == canonical.FIXED and not (one.nullable and said[:1] == b"-"):
        return one.octets if one.data_type == "binary" else canonical.POINT_BYTES
    if form == canonical.JSON_TEXT and said[:1] in (b'"', b"[", b"{"):
        return json.JSONDecoder().raw_decode(said.decode("latin-1"))[1]
    return said.index(b"#") if b"#" in said else len(said)
