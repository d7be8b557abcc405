# SPDX-License-Identifier: BSD-2-Clause
"""Which modification dates a run compares, so that no row is left out however long its transaction took. Pure.

A row's date is the time at which the *statement* began that wrote it; the row is seen when its *transaction* commits,
which may be hours later. "The last five minutes" never see such a row. So each run remembers how early the dates can be
that are not committed yet, and the next run begins there.

**The invariant.** Whatever commits after a run read the activity of the primary has a date that is not before that
run's ``Memory.bound``. So with windows ``[low, high)`` where ``low <= min(bound, high)`` of the run before, each change
lies in a window that is read after its commit, or in one that is still to come. Why the bound holds:

* a statement that begins later has a later date than ``now``, which is read first;
* a statement at work is in the list of statements, with the time it began at: that is its rows' date;
* an open transaction has written rows already, with the dates of statements that are over. **Its own start is no bound
  for these.** Without BEGIN a transaction starts when its first statement gets at the table. One that had waited for
  four seconds for a metadata lock wrote a row with a date of four seconds before ``trx_started`` (measured on 9.7).
  What holds is: at the run before either the transaction had rows already, then it has the bound that it got there; or
  it had none, and all of its dates are of statements that were at work then, or began later: ``Memory.floor``.

A prepared XA transaction belongs to no session, and after a restart has a new start: as long as one is there that the
run before did not know, the bound stays where it was.

All times are microseconds since 1970 in UTC, by the primary's clock. What the invariant cannot cover, and ``skew`` is
for: a clock that is set back, or another primary's clock that is behind.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, NamedTuple, Optional

SECOND = 1_000_000
REMEMBERED = 1_000
"""Open transactions that are remembered one by one."""


class Transaction(NamedTuple):
    """An open transaction that has written rows.

    :param identity: the same as long as it is open, and of no other transaction, on any server.
    :param started: only a first run has to rely on it.
    :param detached: no session has it: its start may be that of the server.
    """

    identity: str
    started: int
    detached: bool = False


@dataclasses.dataclass(frozen=True)
class Activity:
    """What the primary is at, read in this order: ``now``; when the oldest ``statement`` at work began, None for none;
    the open ``transactions``."""

    now: int
    statement: Optional[int] = None
    transactions: tuple[Transaction, ...] = ()


LEAST = 60.0
"""Seconds that a run looks back at least: the newest rows are in flight, and left to the next one."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """Seconds. ``settle``: younger rows are left to the next run, for most of them are in flight. ``skew``: how far
    clocks may be apart, or set back. ``first``: how far back the first run looks, half of ``look_back`` at most.
    ``look_back``: how far any run looks at most."""

    settle: float = 2.0
    skew: float = 10.0
    first: float = 3600.0
    look_back: float = 86400.0


@dataclasses.dataclass(frozen=True)
class Memory:
    """What the next run has to know of this one.

    :param high: everything before it was compared, but for what was not committed.
    :param bound: no date of what was not committed is before it.
    :param floor: the same, of what had written nothing yet.
    :param open: the bounds of single transactions; ``whole``: all that were open are in it.
    """

    now: int
    high: int
    bound: int
    floor: int
    open: Mapping[str, int] = dataclasses.field(default_factory=dict)
    whole: bool = True

    def as_state(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {**dataclasses.asdict(self), "open": dict(self.open)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Memory:
        """:raises ValueError: it is not what ``as_state`` gave."""
        try:
            times = {name: int(state[name]) for name in ("now", "high", "bound", "floor")}
            known = {str(name): int(bound) for name, bound in state["open"].items()}
            return cls(open=known, whole=bool(state["whole"]), **times)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no memory of a window: {error}") from error


@dataclasses.dataclass(frozen=True)
class Window:
    """Dates ``low <= date < high``, both whole seconds.

    :param wanted: where it has to begin for the invariant; before ``low`` only if it is ``cut``.
    :param after: what to remember if everything in it was compared.
    :param base: what ``wanted`` is without the skew.
    """

    low: int
    high: int
    wanted: int
    after: Memory
    base: int

    @property
    def cut(self) -> bool:
        """It would have to begin further back than any run looks: it is no whole window, whatever it finds."""
        return self.wanted < self.low

    @property
    def covered(self) -> float:
        """How much of the window wanted this one is, 0 to 1."""
        return (self.high - self.low) / max(self.high - self.wanted, 1)

    def remember(self, *, finished: bool) -> Memory:
        """What the next run is to be given.

        :param finished: everything that was wanted was compared, and was the same. Otherwise the next window begins
            where this one does, so that a difference is told until it is gone, and nothing that was not compared is
            forgotten. When that gets beyond ``look_back``, the windows are cut, and no pass, until somebody has
            compared the whole table and begins anew.
        """
        return self.after if finished and not self.cut else dataclasses.replace(self.after, high=self.base)


def window(previous: Optional[Memory], activity: Activity, policy: Policy) -> Window:
    """The window of a run.

    :param previous: what the run before remembered; None for the first, which begins ``first`` seconds ago. What was
        committed before the first run with an earlier date is not looked at; of transactions that are open then, the
        start is taken for a bound.
    """
    now = activity.now
    furthest = now - _micro(policy.look_back)
    if previous is None:
        first = max(now - _micro(policy.first), now - _micro(policy.look_back) // 2)
        oldest = min([first, *(each.started for each in activity.transactions)])
        before = Memory(now, high=first, bound=first, floor=oldest)
    else:
        before = previous
    base = min(before.high, before.bound)
    if now < before.now - _micro(policy.skew):
        # Rows got dates that were compared before; nobody knows how early: the window is cut.
        base = min(base, furthest - SECOND)
    wanted = _second(base - (_micro(policy.skew) if previous else 0))
    low = max(wanted, _second(furthest))
    high = max(_second(now - _micro(policy.settle)), _second(before.high), low)
    return Window(low, high, wanted, _after(before, activity, high), base)


def _after(before: Memory, activity: Activity, high: int) -> Memory:
    floor = activity.now if activity.statement is None else min(activity.now, activity.statement)
    bounds = {}
    for transaction in activity.transactions:
        known = before.open.get(transaction.identity)
        if known is None:
            unknown = transaction.detached or not before.whole
            known = min(before.bound, before.floor) if unknown else before.floor
        bounds[transaction.identity] = known
    bound = min([floor, *bounds.values()])
    kept = dict(sorted(bounds.items(), key=lambda item: item[1])[:REMEMBERED])
    return Memory(activity.now, high, bound, floor, kept, len(kept) == len(bounds))


def _micro(seconds: float) -> int:
    return int(seconds * SECOND)


def _second(time: int) -> int:
    """A column without fractions holds the second that had begun."""
    return time // SECOND * SECOND
