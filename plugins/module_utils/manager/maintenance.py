# SPDX-License-Identifier: BSD-2-Clause
"""Operations on one member that a person asked the manager for: done by the plans of ``replication/member.py``, in the
history as a recovery is. Nothing here is begun by the manager itself."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Callable, Mapping

from ..errors import HaError
from ..replication.converge import Report
from ..replication.maintain import maintain, survives
from ..replication.member import Request
from ..replication.procedure import Means
from ..replication.situation import Wish
from .config import ClusterConfig
from .history import History
from .policy import DONE, FAILED, MAINTENANCE, REFUSED, RUNNING
from .recover import Cause, entry, failure

STATEMENT_SECONDS = 5.0
CONNECT_SECONDS = 10.0
RECEIVE_SECONDS = 30.0
"""A failover of the cluster has to wait for an operation that is under way, so none of its waits is long: who has not
caught up by then goes on by itself, and is brought back by asking again."""

Maintain = Callable[[ClusterConfig, Request], Report]


def by_plan(config: ClusterConfig, request: Request) -> Report:
    """The operation itself."""
    login = config.replication
    return maintain(
        config.members,
        config.login,
        request,
        Wish(
            config.members,
            user_prefix=login.user_prefix,
            ca=login.ca,
            connect_retry=login.connect_retry,
            heartbeat_period=login.heartbeat_period,
        ),
        Means(
            login.password,
            statement=STATEMENT_SECONDS,
            connect=CONNECT_SECONDS,
            stall=config.stall_timeout,
            receive_within=RECEIVE_SECONDS,
        ),
        cluster=config.name,
        connect_timeout=config.effect_deadline,
    )


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a person asked for. ``operation``: see ``replication.member.OPERATIONS``."""

    member: str
    operation: str
    by: str
    reason: str = ""

    @property
    def request(self) -> Request:
        """Who asked for it stands in the term row, too."""
        return Request(self.operation, self.member, f"{self.reason or 'maintenance'} ({self.by})")


class Maintenance:
    """Operations on the members of one cluster."""

    def __init__(
        self,
        config: ClusterConfig,
        history: History,
        *,
        do: Maintain = by_plan,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._history = history
        self._do = do
        self._wall = wall

    def run(self, asked: Asked, cause: Cause) -> Mapping[str, Any]:
        """Do it, and write down what came of it.

        :param cause: how the cluster is.
        :raises HaError: its refusal or failure, which is in the history as well; ``history_unwritable``: not begun.
        """
        begun = {
            **entry(self._config, cause, MAINTENANCE, RUNNING, self._wall()),
            **dataclasses.asdict(asked),
            "changed": None,
            "plan": [],
            "survives": [],
            "notes": [],
        }
        self._history.begin(begun)
        try:
            report = self._do(self._config, asked.request)
        except HaError as error:
            # A refusal that was met on the way left something begun.
            refused = "reasons" in error.evidence and not error.evidence.get("steps")
            self._end(begun, failure(error, REFUSED if refused else FAILED))
            raise
        told = survives(report)
        done = {
            "outcome": DONE,
            "changed": report.changed,
            "term": report.after.term.term if report.after.term else None,
            "plan": [step["sentence"] for step in report.steps],
            "survives": told,
            "notes": [warning for warning in report.warnings if warning not in told],
        }
        return self._end(begun, done)

    def _end(self, begun: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
        ended = {**values, "ended_at": self._wall()}
        self._history.note(begun["id"], **ended)
        return {**begun, **ended}
