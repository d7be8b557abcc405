"""What a scenario is made of: frozen data. Hosts are named by their part in the run, moments as a range of seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

PRIMARY = "primary"
"""Who is primary when the run begins, whatever becomes of it."""
REPLICA_1, REPLICA_2 = "replica_1", "replica_2"
"""The replicas, in an order that the seed chooses."""
NEW = "new_primary"
"""Who was promoted in this run."""
CURRENT = "current_primary"
"""Who was promoted in this run, else who was primary when it began."""
ELECTED = "elected"
"""Who was elected by a failover that was killed before it had opened it."""
CONTROL, APPLICATION = "control", "application"

FAIL_OVER, REFUSE, NOTHING, EITHER, KILLED = "fail_over", "refuse", "nothing", "either", "killed"
"""Outcomes. ``nothing``: no attempt, or one that was refused. ``either``: promoted or refused, both are right.
``killed``: the acting process died, as it was meant to, and nobody has been promoted for it yet."""

EMERGENCY, PLANNED = "emergency", "planned"
MANAGER, PROCEDURE = "manager", "procedure"
"""Drivers: the service acts by itself, or the runner calls the procedure right after the fault."""


@dataclass(frozen=True)
class Inject:
    fault: str
    on: str = PRIMARY
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Heal:
    """Undo a fault on a host. ``driver``: only with this one."""

    fault: str
    on: str = PRIMARY
    driver: str = ""


@dataclass(frozen=True)
class Pause:
    """Something between ``low`` and ``high`` seconds."""

    low: float
    high: float


@dataclass(frozen=True)
class Act:
    """From here on a failover is due.

    :param points: fault points (``failover/faults.py``) at which the acting process is killed, one attempt each.
    :param actors: how many act at the same moment.
    :param finish: after the points, act until it is done.
    :param again: not needed when an attempt before this one has promoted somebody.
    """

    mode: str = EMERGENCY
    points: tuple[str, ...] = ()
    finish: bool = True
    actors: int = 1
    again: bool = False


@dataclass(frozen=True)
class Expect:
    """How what was due has to end. ``by_procedure``: where the procedure alone can not do what the manager does."""

    outcome: str
    within: float = 45.0
    by_procedure: str = ""

    def of(self, driver: str) -> str:
        return self.by_procedure if driver == PROCEDURE and self.by_procedure else self.outcome


@dataclass(frozen=True)
class Blocked:
    """Until nobody has acknowledged anything for so long: commits wait."""

    seconds: float = 0.4


@dataclass(frozen=True)
class Acknowledged:
    """Somebody acknowledges again, so many transactions after this moment."""

    by: str = PRIMARY
    count: int = 20
    within: float = 20.0


@dataclass(frozen=True)
class Answers:
    """A server answers."""

    on: str
    within: float = 60.0


@dataclass(frozen=True)
class Follow:
    """A replica that came back stopped follows again (START REPLICA), as somebody who looks after it would have it."""

    on: str


@dataclass(frozen=True)
class Fenced:
    """The old primary, awake again and reachable, takes no more writes: a manager's and the keepers' work."""

    on: str = PRIMARY
    within: float = 10.0
    driver: str = MANAGER


Step = Union[Inject, Heal, Pause, Act, Expect, Blocked, Acknowledged, Answers, Follow, Fenced]


@dataclass(frozen=True)
class Scenario:
    """One row of the matrix.

    :param number: in the research (section 3).
    :param needs: database hosts; k is 1.
    :param gate: one of the fourteen that a release may not fail.
    :param surplus: the old primary has to come back with transactions of its own, which are then archived.
    :param limits: what of the original can not be made in this lab, and why.
    """

    name: str
    number: int
    description: str
    steps: tuple[Step, ...]
    gate: bool = False
    needs: int = 3
    surplus: bool = False
    limits: str = ""

    def expected(self, driver: str) -> tuple[str, ...]:
        return tuple(step.of(driver) for step in self.steps if isinstance(step, Expect))
