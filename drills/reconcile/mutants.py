"""The comparison, broken on purpose, one way at a time: each has to be noticed by one of the cases.

Only what a case looks at is broken: that everything is put right again in the end is judged by the whole comparison.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest import mock

from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import (
    activity,
    canonical,
    multiset,
    one_table,
    preflight,
    recent,
    recheck,
    run,
    settle,
    snapshot,
    whole,
)
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet

Patch = tuple[Any, str, Any]
"""Of what, which attribute, and what is there instead."""

_LAST_IS_NULL = re.compile(r", ISNULL\(`[^`]+`\)")
_WAITS: tuple[ModuleType, ...] = (recheck, whole, multiset, one_table, run)
HELD = 5.0
"""Seconds for which a lock is held that may be held for two."""


@dataclass(frozen=True)
class Mutant:
    """``case``: that has to notice it. ``breaks``: checks that may be broken by it; one of them has to be."""

    said: str
    case: str
    breaks: frozenset[str]
    patches: Callable[[], list[Patch]]


def _at_once() -> list[Patch]:
    return [(module, "CONFIRMED_BY", 1) for module in (settle, recheck, multiset)]


def _no_barrier() -> list[Patch]:
    return [(module, "wait_executed", lambda *_asked, **_more: True) for module in _WAITS]


def _one_way() -> list[Patch]:
    original = settle.Settling.see

    def see(self: Any, there: Mapping[Any, str], here: Mapping[Any, str]) -> None:
        original(self, there, {identity: value for identity, value in here.items() if identity in there})

    return [(settle.Settling, "see", see)]


def _no_lengths() -> list[Patch]:
    original = canonical.plan
    return [(canonical, "plan", lambda columns: original(columns)._replace(lengths=()))]


def _no_nulls() -> list[Patch]:
    """NULL has the length of an empty text, and of the last column nothing is said."""
    original = canonical.text
    return [(canonical, "text", lambda columns: _LAST_IS_NULL.sub("", original(columns).replace(", -1)", ", 0)")))]


def _xor_alone() -> list[Patch]:
    original = canonical.aggregate

    def aggregate(columns: Any, *, multiset: bool = False) -> str:
        shown = original(columns, multiset=multiset)
        return shown.partition(", CAST(SUM(")[0] + ", '0' AS total" if multiset else shown

    return [(canonical, "aggregate", aggregate)]


def _reals_as_text() -> list[Patch]:
    return [(canonical, "REALS", frozenset())]


def _lock_kept() -> list[Patch]:
    original = recheck.Recheck._while_locked

    def while_locked(self: Any, key: Any) -> Any:
        found = original(self, key)
        time.sleep(HELD)
        return found

    # The server would end the transaction itself.
    return [(recheck.Recheck, "_while_locked", while_locked), (recheck, "_HELD_OVER", 2 * HELD)]


def _standstill_unseen() -> list[Patch]:
    return [(preflight, "_stopped", lambda *_states: None), *_no_barrier()]


def _no_watermark() -> list[Patch]:
    def unremembered(primary: Any, *, within: float, **more: Any) -> Any:
        found = activity.activity(primary, within=within, **more)
        return dataclasses.replace(found, statement=None, transactions=())

    return [(recent, "activity", unremembered)]


def _no_snapshot() -> list[Patch]:
    original = snapshot._open

    def read_on(primary: Any, *more: Any) -> str:
        gtids = original(primary, *more)
        primary.execute("ROLLBACK", within=10.0)
        primary.execute("SET SESSION transaction_isolation = 'READ-COMMITTED'", within=10.0)
        primary.execute("START TRANSACTION READ ONLY", within=10.0)
        return gtids

    return [(snapshot, "_open", read_on)]


def _deletes_unseen() -> list[Patch]:
    """Rows that were deleted are not looked at: as by a tool that takes from the log what is there yet."""
    original = recheck.Recheck._read

    def read(self: Any, session: Any, keys: Any) -> Any:
        found = original(self, session, keys)
        if session is self._primary:
            self._there = set(found)
            return found
        return {key: value for key, value in found.items() if key in self._there}

    return [(recheck.Recheck, "_read", read)]


_FALSE = frozenset({"nothing_else", "verdicts", "steady"})
MUTANTS: Mapping[str, Mutant] = {
    "confirmed_at_once": Mutant("a difference counts when it was seen once", "clean", _FALSE, _at_once),
    "no_barrier": Mutant(
        "the replica is read without waiting for it",
        "delayed",
        frozenset({"steady", "patient", "impatient"}),
        _no_barrier,
    ),
    "one_way": Mutant(
        "rows that only the replica has are not looked for", "planted", frozenset({"found", "verdicts"}), _one_way
    ),
    "no_lengths": Mutant(
        "a digest with a separator, and no lengths",
        "collisions",
        frozenset({"found", "verdicts"}),
        _no_lengths,
    ),
    "no_nulls": Mutant("a digest that leaves NULL out", "collisions", frozenset({"found", "verdicts"}), _no_nulls),
    "reals_as_text": Mutant(
        "FLOAT and DOUBLE as the text that is shown", "collisions", frozenset({"found"}), _reals_as_text
    ),
    "xor_alone": Mutant(
        "rows without a key by an exclusive or alone", "twins", frozenset({"found", "verdicts", "verdict"}), _xor_alone
    ),
    "standstill_unseen": Mutant(
        "an applier that stands still is not seen",
        "applier_stopped",
        _FALSE | {"servers", "verdict"},
        _standstill_unseen,
    ),
    "errant_unseen": Mutant(
        "transactions of its own are not looked for",
        "errant",
        frozenset({"servers"}),
        lambda: [(preflight, "errant", lambda *_states: GtidSet())],
    ),
    "lock_kept": Mutant(
        f"a row stays locked for {HELD:g} s", "hot", frozenset({"waited", "verdicts", "nothing_else"}), _lock_kept
    ),
    "in_flight": Mutant(
        "the first difference counts, and nobody waits for the replica",
        "paced",
        _FALSE,
        lambda: [*_at_once(), *_no_barrier()],
    ),
    "no_snapshot": Mutant(
        "the primary's part of the snapshot is none",
        "snapshot",
        frozenset({"found", "nothing_else", "verdicts"}),
        _no_snapshot,
    ),
    "no_watermark": Mutant(
        "transactions that are open are not remembered",
        "long_transaction",
        frozenset({"found", "verdicts", "verdict"}),
        _no_watermark,
    ),
    "one_way_by_time": Mutant(
        "only rows that the primary has are looked at", "recent", frozenset({"found", "verdicts"}), _one_way
    ),
    "deletes_unseen": Mutant(
        "rows that the primary has no more are not looked at",
        "touched",
        frozenset({"found", "verdicts"}),
        _deletes_unseen,
    ),
    "layouts_unseen": Mutant(
        "definitions are not compared",
        "schema",
        frozenset({"schema", "verdicts", "verdict"}),
        lambda: [(one_table, "layout_difference", lambda *_layouts: ("", ()))],
    ),
}


@contextmanager
def applied(name: str) -> Iterator[None]:
    """As long as this lasts the comparison is broken that way; not at all without a name."""
    with ExitStack() as stack:
        for target, attribute, value in MUTANTS[name].patches() if name else ():
            stack.enter_context(mock.patch.object(target, attribute, value))
        yield
