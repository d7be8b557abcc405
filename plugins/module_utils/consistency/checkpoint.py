# SPDX-License-Identifier: BSD-2-Clause
"""Where a run stands, so that one that was cut off goes on instead of beginning again.

One small file, replaced as a whole after each table, and now and then within a large one. It only counts for the same
question: other tables, replicas or modes begin anew, and so does a run that was left lying for too long.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import Any, Mapping, Optional

from . import state_file

FORMAT = 3
OLDEST = 36 * 3600.0
"""Seconds for which an unfinished run may lie: one by a timer goes on the next night."""

_STARTED_WITHIN = 5.0
"""Seconds: a server counts for how long it runs in whole seconds, and its clock may be set."""


@dataclasses.dataclass
class Place:
    """How far a table was compared: up to the key ``after`` it was the same on all of ``replicas``.

    :param table: see ``name_of``. ``layout``: what the table was like, as a digest: another key has another order.
    :param rows: that were compared until there.
    """

    table: str
    layout: str
    replicas: list[str]
    after: list[Any]
    rows: int


@dataclasses.dataclass
class State:
    """:param question: what was asked, as a digest. ``done``: results, by ``name_of`` mode, schema, table and replica.

    :param place: within the table that was being compared.
    :param repair: the plans that belong to the results. ``line``: how far the run is, for a person.
    :param started: when each server was started, in seconds since the epoch by its own clock.
    :param executed: of the primary, the transactions that results of mode ``recent_binlog`` are about; empty: not known
        yet. ``saved_at``: when this was kept.
    """

    question: str
    started_at: float
    done: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    place: Optional[Place] = None
    repair: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    line: str = ""
    started: dict[str, float] = dataclasses.field(default_factory=dict)
    executed: str = ""
    saved_at: float = 0.0

    def as_kept(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {"format": FORMAT, **dataclasses.asdict(self)}


def state_from(kept: Mapping[str, Any]) -> Optional[State]:
    """A state of ``as_kept``, read again; None: it is of another version."""
    fields = {name: value for name, value in kept.items() if name not in ("format", "place")}
    place = kept.get("place")
    if kept.get("format") != FORMAT:
        return None
    try:
        state = State(**fields, place=Place(**place) if place else None)
        return dataclasses.replace(state, started_at=float(state.started_at), saved_at=float(state.saved_at))
    except (TypeError, ValueError):
        return None


def of_these_servers(state: State, started: Mapping[str, float], primary: str) -> Optional[State]:
    """What still counts of a state: nothing of a replica that was started since, for it may hold other data now, which
    were restored or cloned; None: so was the primary. Pure.

    :param started: when each server that answers was started, as ``State.started``.
    """
    anew = {name for name, at in started.items() if abs(state.started.get(name, at) - at) > _STARTED_WITHIN}
    if primary in anew:
        return None
    place = state.place if state.place and not anew & {*state.place.replicas} else None
    done = {name: each for name, each in state.done.items() if json.loads(name)[-1] not in anew}
    repair = [plan for plan in state.repair if plan["replica"] not in anew]
    return dataclasses.replace(state, place=place, done=done, repair=repair, started={**state.started, **started})


def name_of(*parts: str) -> str:
    """One name of several, which no others give: a schema's name may hold a dot."""
    return json.dumps(parts)


def question(**asked: Any) -> str:
    """A digest of what is asked."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


class Checkpoint:
    """The file of one cluster's runs; without a directory nothing is kept.

    :param handed: what the part of this run that came before has left, where a caller keeps it (``State.as_kept``).
    :raises HaError: ``state_unwritable``.
    """

    def __init__(self, directory: str, cluster: str, handed: Optional[Mapping[str, Any]] = None) -> None:
        self._handed = handed
        self._path = os.path.join(directory, f"{cluster}.run.json") if directory else ""

    def load(self, asked: str, now: float) -> Optional[State]:
        """What an earlier run, or part of one, of the same question left; None: begin anew."""
        # There may be none, or one of another version: everything is compared again, which is never wrong.
        state = state_from(self._handed or state_file.read(self._path))
        if state is None or state.question != asked:
            return None
        return state if self._handed or 0 <= now - state.saved_at <= OLDEST else None

    def save(self, state: State) -> None:
        state_file.write(self._path, state.as_kept())

    def forget(self) -> None:
        """The run is over."""
        state_file.remove(self._path)
