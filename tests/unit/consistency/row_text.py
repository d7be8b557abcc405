# SPDX-License-Identifier: GPL-3.0-or-later
"""The text under a row's digest: a model of how a server builds it, and a parser that takes it apart.

The model builds the text from the same plan that the SQL is made of, as CONCAT_WS does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Optional

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.canonical import Plan, plan
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.layout import (
    BYTES,
    GEOMETRIES,
    REALS,
    TEXTS,
    ColumnFacts,
)

Values = Sequence[Optional[bytes]]
"""What each column shows, but for those that go by a digest: what the digest is of. None: NULL."""

REAL = 21
"""Bytes of a point as ST_AsBinary gives it."""


# The model of the server


def shows(one: ColumnFacts, inline: bool, value: bytes) -> bytes:
    by_digest = one.data_type in GEOMETRIES | {"json", "vector"} or (one.data_type in TEXTS | BYTES and not inline)
    return hashlib.sha256(value).hexdigest().encode() if by_digest else value


def text(planned: Plan, values: Values, *, skip: bool = True) -> bytes:
    """CONCAT_WS(_binary'#' COLLATE `binary`, ...): what is NULL is left out."""
    of = {one.name: value for one, value in zip(planned.shown, values, strict=True)}
    fields: list[Optional[bytes]] = []
    for one in planned.shown:
        value = of[one.name]
        fields.append(None if value is None else shows(one, one in planned.inline, value))
    for one in planned.lengths:
        value = of[one.name]
        fields.append(None if value is None else str(len(value)).encode())
    for group in planned.nulls:
        fields.append(str(sum((of[one.name] is None) << place for place, one in enumerate(group))).encode())
    return b"#".join((field or b"") for field in fields if field is not None or not skip)


# The parser


def parse(columns: Sequence[ColumnFacts], said: bytes) -> list[Optional[bytes]]:
    """The columns, from the text and their types alone; those that go by a digest as their digest."""
    planned = plan(columns)

    def from_the_right() -> bytes:
        nonlocal said
        said, found, field = said.rpartition(b"#")
        return field if found else said + field

    absent = set()
    for group in reversed(planned.nulls):
        bits = int(from_the_right())
        absent |= {one.name for place, one in enumerate(group) if bits >> place & 1}
    there = [one for one in columns if one.name not in absent]
    lengths = {one.name: int(from_the_right()) for one in reversed(planned.lengths) if one.name not in absent}
    rest = [one for one in there if one in planned.inline and one.name not in lengths]
    assert len(rest) <= 1

    def size(one: ColumnFacts) -> Optional[int]:
        return REAL if one.data_type in REALS else lengths.get(one.name)

    found: dict[str, bytes] = {}
    middle = there.index(rest[0]) if rest else len(there)
    first = True
    for one in there[:middle]:
        if not first:
            assert said[:1] == b"#"
            said = said[1:]
        first = False
        long = size(one)
        if long is None:
            long = said.index(b"#") if b"#" in said else len(said)
        found[one.name], said = said[:long], said[long:]
    if rest and not first:
        assert said[:1] == b"#"
        said = said[1:]
    for one in reversed(there[middle + 1 :]):
        long = size(one)
        if long is None:
            long = len(said) - said.rindex(b"#") - 1
        cut = len(said) - long
        assert said[cut - 1 : cut] == b"#"
        found[one.name], said = said[cut:], said[: cut - 1]
    if rest:
        found[rest[0].name] = said
    else:
        assert not said
    return [found.get(one.name) for one in columns]
