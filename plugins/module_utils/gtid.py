# SPDX-License-Identifier: BSD-2-Clause
"""Sets of global transaction identifiers, with tags.

A set maps an origin ``(server_uuid, tag)`` to disjoint, ascending, non-touching closed intervals. Everything else is
algebra on those: union, difference, intersection, containment. The text form is the one MySQL prints and accepts
(reference manual, "GTID Sets"): ``uuid:1-5:9,uuid2:3:sometag:1-4``; origins with a tag (8.3 and later) follow the
untagged intervals of their server. The empty tag is the ordinary, untagged origin.

Pure: no clock, no network. The integration tests compare it with ``GTID_SUBSET`` and ``GTID_SUBTRACT`` of a server.
"""

from __future__ import annotations

import re
from typing import Iterable, Iterator, Mapping

from .errors import HaError

Origin = tuple[str, str]
"""(server_uuid in lower case, tag in lower case or the empty string)"""
Interval = tuple[int, int]
"""(first, last), both included, 1 <= first <= last"""

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")
# Forty digits are out of range already; Python refuses to read thousands of them with an error of its own.
_INTERVAL = re.compile(r"([0-9]{1,40})(?:-([0-9]{1,40}))?")
_LAST_NUMBER = 2**63 - 2


def _bad(text: str, part: str, why: str) -> HaError:
    return HaError(
        "gtid_set_invalid",
        f"not a GTID set: {why}",
        evidence={"part": part[:200], "text": text[:200]},
        next_step="Give the set as MySQL prints it, for example in @@GLOBAL.gtid_executed.",
    )


def _normalise(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Sort, and merge what overlaps or touches."""
    merged: list[Interval] = []
    for first, last in sorted(intervals):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def _subtract(left: tuple[Interval, ...], right: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """What is in ``left`` and not in ``right``; both normalised. Linear in the number of intervals."""
    kept: list[Interval] = []
    position = 0
    for first, last in left:
        while position < len(right) and right[position][1] < first:
            position += 1
        look = position
        while look < len(right) and right[look][0] <= last:
            if right[look][0] > first:
                kept.append((first, right[look][0] - 1))
            first = max(first, right[look][1] + 1)
            look += 1
        if first <= last:
            kept.append((first, last))
    return tuple(kept)


class GtidSet:
    """An immutable set of GTIDs.

    Compare with ``==``, ``<=`` (contained in), ``<``, ``>=``, ``>``; combine with ``|``, ``-``, ``&``; ``len`` counts
    transactions; ``bool`` is false for the empty set; ``str`` is the text MySQL prints.
    """

    __slots__ = ("_hash", "_origins")

    def __init__(self, origins: Mapping[Origin, Iterable[Interval]] | None = None) -> None:
        cleaned = {origin: _normalise(intervals) for origin, intervals in (origins or {}).items()}
        self._origins: dict[Origin, tuple[Interval, ...]] = {
            origin: cleaned[origin] for origin in sorted(cleaned) if cleaned[origin]
        }
        self._hash: int | None = None

    @classmethod
    def parse(cls, text: str) -> GtidSet:
        """Read the text form. White space and newlines are ignored, as the server does; no text is the empty set.

        :raises HaError: ``gtid_set_invalid``.
        """
        origins: dict[Origin, list[Interval]] = {}
        for part in "".join(text.split()).lower().split(","):
            if not part:
                continue
            pieces = part.split(":")
            if not _UUID.fullmatch(pieces[0]):
                raise _bad(text, part, "does not begin with a server UUID")
            if len(pieces) == 1:
                raise _bad(text, part, "a server UUID without transaction numbers")
            plain = pieces[0].replace("-", "")
            uuid = "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))
            tag = ""
            numbers_expected = False
            for piece in pieces[1:]:
                interval = _INTERVAL.fullmatch(piece)
                if interval:
                    first = int(interval.group(1))
                    last = int(interval.group(2) or first)
                    if not 1 <= first <= _LAST_NUMBER or last > _LAST_NUMBER:
                        raise _bad(text, part, "a transaction number out of range")
                    # The server accepts a reversed interval as empty; so do we.
                    if first <= last:
                        origins.setdefault((uuid, tag), []).append((first, last))
                    numbers_expected = False
                elif _TAG.fullmatch(piece) and not numbers_expected:
                    tag = piece
                    numbers_expected = True
                else:
                    raise _bad(text, part, "neither an interval nor a tag")
            if numbers_expected:
                raise _bad(text, part, "a tag without transaction numbers")
        return cls(origins)

    def __str__(self) -> str:
        groups: list[str] = []
        current = ""
        for (uuid, tag), intervals in self._origins.items():
            numbers = ":".join(str(a) if a == b else f"{a}-{b}" for a, b in intervals)
            text = f"{tag}:{numbers}" if tag else numbers
            if uuid == current:
                groups[-1] += f":{text}"
            else:
                groups.append(f"{uuid}:{text}")
                current = uuid
        return ",".join(groups)

    def __repr__(self) -> str:
        return f"GtidSet.parse({str(self)!r})"

    def __bool__(self) -> bool:
        return bool(self._origins)

    def __len__(self) -> int:
        return sum(last - first + 1 for intervals in self._origins.values() for first, last in intervals)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GtidSet) and self._origins == other._origins

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(tuple(self._origins.items()))
        return self._hash

    def __or__(self, other: GtidSet) -> GtidSet:
        origins: dict[Origin, tuple[Interval, ...]] = dict(self._origins)
        for origin, intervals in other._origins.items():
            origins[origin] = origins.get(origin, ()) + intervals
        return GtidSet(origins)

    def __sub__(self, other: GtidSet) -> GtidSet:
        return GtidSet(
            {
                origin: _subtract(intervals, other._origins.get(origin, ()))
                for origin, intervals in self._origins.items()
            }
        )

    def __and__(self, other: GtidSet) -> GtidSet:
        return self - (self - other)

    def __le__(self, other: GtidSet) -> bool:
        return not self - other

    def __lt__(self, other: GtidSet) -> bool:
        return self <= other and self != other

    def __ge__(self, other: GtidSet) -> bool:
        return other <= self

    def __gt__(self, other: GtidSet) -> bool:
        return other < self

    def __iter__(self) -> Iterator[tuple[Origin, Interval]]:
        """Every interval with its origin, in text order."""
        for origin, intervals in self._origins.items():
            for interval in intervals:
                yield origin, interval

    @property
    def uuids(self) -> frozenset[str]:
        """The servers that transactions of this set come from."""
        return frozenset(uuid for uuid, _tag in self._origins)

    def of(self, uuids: Iterable[str]) -> GtidSet:
        """The part of the set that comes from these servers, whatever its tag."""
        wanted = {uuid.lower() for uuid in uuids}
        return GtidSet({origin: intervals for origin, intervals in self._origins.items() if origin[0] in wanted})


EMPTY = GtidSet()


def union(sets: Iterable[GtidSet]) -> GtidSet:
    """The union of any number of sets."""
    result = EMPTY
    for each in sets:
        result = result | each
    return result
