# SPDX-License-Identifier: BSD-2-Clause
"""One failover from the outside: members, login and a request in, a report out. Module and manager call it."""

from __future__ import annotations

import os
import socket
import time
import uuid
from typing import Sequence

from ..errors import HaError
from ..server.session import Login
from ..server.state import Member
from ..topology.observe import Members
from .hands import LOCK_SECONDS, Hands, ReplicationLogin
from .journal import Journal
from .plan import Request
from .procedure import Procedure, Report


def new_run_id() -> str:
    """Sortable by time, and unique: ``20261121T031500.123Z-1f2e3d4c``."""
    now = time.time()
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z-{uuid.uuid4().hex[:8]}"


def fail_over(
    members: Sequence[Member],
    login: Login,
    replication: ReplicationLogin,
    request: Request,
    *,
    cluster: str,
    journal_directory: str,
    acknowledgement: str = "disk",
    check_only: bool = False,
    run_id: str = "",
    silent: str = "",
) -> Report:
    """Make the requested server primary, and prove what that cost.

    :param run_id: the name of this run in the journal and the term row; a new one by default.
    :param silent: a member that has given no answer for a while: the others do not wait for it long.
    :raises Refused: it may not be done; all reasons are given.
    :raises HaError: it could not be done; running again goes on from the journal.
    """
    run_id = run_id or new_run_id()
    pool = Members(
        members,
        login,
        settings={"wait_timeout": LOCK_SECONDS, "lock_wait_timeout": 1},
        connect_within=request.deadline,
        program=f"lossless.mysql_ha {run_id} on {socket.gethostname()} pid {os.getpid()}",
    )
    hands = Hands(pool, cluster, replication, deadline=request.deadline, silent=silent)
    journal = Journal(journal_directory, cluster, run_id)
    try:
        return Procedure(hands, members, request, journal, acknowledgement=acknowledgement, check_only=check_only).run()
    except HaError as error:
        error.evidence.setdefault("run_id", run_id)
        raise
    finally:
        pool.close()
