# SPDX-License-Identifier: BSD-2-Clause
"""When a difference between two servers that go on means something. Pure.

In each round the primary is read first, then the replica executes all that the primary had executed, then the replica
is read. A row that is equal once is settled. A difference counts once it was seen in so many rounds in a row between
all of which the primary's side was the same. ``CONFIRMED_BY`` are two rounds with an unchanged row before and after
them. One would not be enough, for a commit is visible a moment before its GTID is in gtid_executed. A row that goes
back and forth between two states (a flag, a key that is inserted and deleted) can look unchanged while it is not, in
each round with a chance of one in four: rows that are written meanwhile need more rounds.
"""

from __future__ import annotations

from typing import Generic, Hashable, Mapping, NamedTuple, Optional, TypeVar

CONFIRMED_BY = 3

Answer = Mapping[str, str]
"""What a server answered: by identity (of a row), what must be the same on both."""


class Open(NamedTuple):
    """An identity whose content differs: on the primary, on the replica, and how often in a row."""

    there: Optional[str]
    here: Optional[str]
    times: int


K = TypeVar("K", bound=Hashable)


class Settling(Generic[K]):
    """The identities of one batch, round by round."""

    def __init__(self, confirmed_by: int = 0) -> None:
        self._confirmed_by = confirmed_by or CONFIRMED_BY
        self.open: Optional[dict[K, Open]] = None

    def see(self, there: Mapping[K, str], here: Mapping[K, str]) -> None:
        """One round: the primary's answer, and the replica's of after it had caught up with that."""
        left = {}
        for identity in {*there, *here} if self.open is None else self.open:
            theirs, ours = there.get(identity), here.get(identity)
            if theirs != ours:
                earlier = (self.open or {}).get(identity)
                times = earlier.times + 1 if earlier and earlier.there == theirs else 1
                left[identity] = Open(theirs, ours, times)
        self.open = left

    @property
    def settled(self) -> bool:
        return self.open is not None and all(each.times >= self._confirmed_by for each in self.open.values())

    @property
    def different(self) -> dict[K, Open]:
        return {identity: each for identity, each in (self.open or {}).items() if each.times >= self._confirmed_by}

    @property
    def restless(self) -> dict[K, Open]:
        """Those that kept changing."""
        return {identity: each for identity, each in (self.open or {}).items() if each.times < self._confirmed_by}
