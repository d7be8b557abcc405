# SPDX-License-Identifier: BSD-2-Clause
"""Reading two servers so that the answers can be compared: the same session settings, a replica that caught up."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Optional

from ..errors import HaError
from ..server import dialect
from ..server.session import Session, StatementFailed
from .canonical import LARGEST_TEXT

_SETTINGS: Mapping[str, Any] = {
    "time_zone": "+00:00",
    "sql_mode": "ALLOW_INVALID_DATES",
    "transaction_isolation": "READ-COMMITTED",
    "sql_select_limit": (1 << 64) - 1,
    "innodb_lock_wait_timeout": 1,
    "lock_wait_timeout": 5,
}
"""No value may be read or compared otherwise on one of them: TIMESTAMP in UTC, zero and impossible dates as they are,
committed rows only, and all of them. Nobody is kept waiting by us. Where a server has the setting, keys that it made by
itself are shown besides."""
_LEAST_PACKET = 2 * LARGEST_TEXT
_KILLED_BEFORE = 0.9
"""The server ends a statement a little before the connection is given up."""


@contextmanager
def reading(session: Session, *, statement: float, settings: Optional[Mapping[str, Any]] = None) -> Iterator[None]:
    """As long as this lasts the session reads in one way; then its own settings are put back. A session of which that
    fails is closed: whoever used it next would read under settings that are not its own.

    :param statement: seconds after which the server ends a statement that reads.
    :param settings: besides those of every comparison, or instead of them.
    :raises HaError: ``packet_too_small``; the session is as it was.
    """
    wanted = _wanted(statement, settings, keys_hidden=_look(session, statement))
    shown = ", ".join(f"@@SESSION.{name} AS {name}" for name in wanted)
    before = session.one(f"SELECT {shown}", within=statement)
    _set(session, wanted, statement)
    try:
        yield
    finally:
        if session.usable:
            try:
                _set(session, {name: before[name] for name in wanted}, statement)
            except StatementFailed:
                session.close()


def prepare(session: Session, *, statement: float, settings: Optional[Mapping[str, Any]] = None) -> None:
    """As ``reading``, for a session that is closed afterwards: nothing is put back."""
    _set(session, _wanted(statement, settings, keys_hidden=_look(session, statement)), statement)


_LOOK = (
    "SELECT @@SESSION.max_allowed_packet AS packet, (SELECT COUNT(*) FROM performance_schema.session_variables"
    f" WHERE VARIABLE_NAME = '{dialect.SHOW_GENERATED_KEYS}') AS hidden"
)


def _look(session: Session, statement: float) -> bool:
    """Refuse small packets: a server shows a text that is larger as an empty one, and two of those are the same.

    :returns: whether this server may hide primary keys.
    """
    row = session.one(_LOOK, within=statement)
    packet = int(row["packet"])
    if packet < _LEAST_PACKET:
        raise HaError(
            "packet_too_small",
            f"{session.name}: a JSON text of more than max_allowed_packet ({packet} bytes) is shown as an empty one",
            evidence={"member": session.name, "max_allowed_packet": packet, "least": _LEAST_PACKET},
            next_step=f"SET GLOBAL max_allowed_packet = {_LEAST_PACKET} there, or more.",
        )
    return bool(row.get("hidden"))


def _wanted(statement: float, settings: Optional[Mapping[str, Any]], *, keys_hidden: bool) -> Mapping[str, Any]:
    shown = {dialect.SHOW_GENERATED_KEYS: 1} if keys_hidden else {}
    return {**_SETTINGS, **shown, "max_execution_time": int(statement * 1000 * _KILLED_BEFORE), **(settings or {})}


def _set(session: Session, settings: Mapping[str, Any], within: float) -> None:
    wanted = ", ".join(f"SESSION {name} = %s" for name in settings)
    session.execute(f"SET {wanted}", tuple(settings.values()), within=within)
