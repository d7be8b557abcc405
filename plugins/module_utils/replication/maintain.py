# SPDX-License-Identifier: BSD-2-Clause
"""One operation on one member from the outside. What the module and the manager call."""

from __future__ import annotations

import functools
from typing import Any, Sequence

from ..server.session import Login
from ..server.state import Member
from ..topology import durability
from . import member
from .converge import Report, converge
from .member import Request
from .procedure import Means
from .situation import Wish


def maintain(
    members: Sequence[Member],
    login: Login,
    request: Request,
    wish: Wish,
    means: Means,
    *,
    cluster: str,
    connect_timeout: float = 2.0,
    check_only: bool = False,
) -> Report:
    """Do it, under the cluster's lock, one step after the other, each decided on a fresh look.

    :param wish: how replicas log in at their source; see ``member.next_step``.
    :raises HaError: as ``converge.converge``.
    """
    return converge(
        members,
        login,
        wish,
        means,
        cluster=cluster,
        connect_timeout=connect_timeout,
        check_only=check_only,
        decide=functools.partial(member.next_step, request),
    )


def survives(report: Report) -> list[str]:
    """What the cluster survives after it, and what it can no longer bear, in sentences."""
    term, statement = report.after.term, report.durability
    found = durability.sentences(statement) if statement else []
    return found + (list(member.consequences(term)) if term else [])


def as_result(report: Report) -> dict[str, Any]:
    """The return values of ``mysql_member``."""
    term = report.after.term
    out = {m.name: m.out for m in term.members if m.server_uuid in term.out_of_service} if term else {}
    return {**report.as_result(), "out_of_service": out, "survives": survives(report)}
