# SPDX-License-Identifier: BSD-2-Clause
"""Telling the primary's table ``rejoin`` how a returning server stands: it is what everybody else goes by.

Said first before the log is cut, so that there is no moment in which a rewound server looks like any other replica: a
convergence that meets it waits until it has been compared.
"""

from __future__ import annotations

from ..server import schema
from ..server.session import Login, Session
from ..server.state import Member, Rejoin
from . import record

CONNECT_WITHIN = 2.0
WITHIN = 5.0


def announce(row: Rejoin, primary: Member, login: Login, *, within: float = WITHIN) -> None:
    """Write the row on the primary. Its commit waits for acknowledgements like any other.

    :param login: an account of the duty ``keeper``, or one that may do more.
    :raises HaError: it was not written, or nobody knows.
    """
    session = Session.connect(primary.name, primary.host, primary.port, login, within=CONNECT_WITHIN)
    try:
        schema.write_rejoin(session, row, within=within)
    finally:
        session.close()


def row_of(done: record.Record, state: str, why: str) -> Rejoin:
    """The row that says of a rewound server how it stands."""
    return Rejoin(done.server_uuid, done.term, state, done.gtids, done.archive, why)
