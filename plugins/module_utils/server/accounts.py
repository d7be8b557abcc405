# SPDX-License-Identifier: BSD-2-Clause
"""The collection's accounts: one for each duty, with the least grants that the duty needs.

Pure but for ``ensure``, which makes an account what it should be and says whether that changed anything.
"""

from __future__ import annotations

import dataclasses
from typing import Sequence

from ..errors import HaError
from .schema import SCHEMA
from .session import ConnectFailed, Login, Session, identifier
from .state import LOGIN_FAILED

Grant = tuple[str, str]
"""(privileges, object), for example ("SELECT", "performance_schema.*")"""

ADMIN, MONITOR, KEEPER, CLONE, REPLICATION = "admin", "monitor", "keeper", "clone", "replication"
DUTIES = (ADMIN, MONITOR, KEEPER, CLONE, REPLICATION)

_GRANTS: dict[str, tuple[Grant, ...]] = {
    # Switches roles, freezes, promotes, registers members, locks replication accounts out, seeds by clone. It reads
    # every schema, because finding tables without a primary key needs to see them; it can grant nothing.
    ADMIN: (
        (
            "SELECT, PROCESS, RELOAD, EVENT, REPLICATION CLIENT, CREATE USER, REPLICATION_SLAVE_ADMIN"
            ", SYSTEM_VARIABLES_ADMIN, SESSION_VARIABLES_ADMIN, CONNECTION_ADMIN, SERVICE_CONNECTION_ADMIN"
            ", BACKUP_ADMIN, CLONE_ADMIN",
            "*.*",
        ),
        ("ALL", f"{SCHEMA}.*"),
    ),
    MONITOR: (
        ("PROCESS, REPLICATION CLIENT, SERVICE_CONNECTION_ADMIN", "*.*"),
        ("SELECT", "performance_schema.*"),
        ("SELECT", f"{SCHEMA}.*"),
    ),
    KEEPER: (
        ("REPLICATION CLIENT, SERVICE_CONNECTION_ADMIN, CONNECTION_ADMIN", "*.*"),
        ("SELECT", "performance_schema.*"),
        ("SELECT", f"{SCHEMA}.*"),
        ("INSERT, UPDATE", f"{SCHEMA}.heartbeat"),
    ),
    CLONE: (("BACKUP_ADMIN", "*.*"),),
    REPLICATION: (("REPLICATION SLAVE", "*.*"),),
}


@dataclasses.dataclass(frozen=True)
class Account:
    """An account to be: ``duty`` decides its grants."""

    user: str
    host: str
    duty: str
    require_tls: bool = True

    @property
    def grants(self) -> tuple[Grant, ...]:
        return _GRANTS[self.duty]

    @property
    def sql_name(self) -> str:
        return f"{identifier(self.user)}@{identifier(self.host)}"


def replication_user(prefix: str, server_id: int) -> str:
    """The name of one replica's own account: with an account each, one replica can be locked out alone."""
    return f"{prefix}{server_id}"


def _privileges(grant: str) -> frozenset[str]:
    return frozenset(part.strip().upper() for part in grant.split(",") if part.strip())


def missing_grants(account: Account, shown: Sequence[str]) -> tuple[Grant, ...]:
    """Which grants of the duty are not among the lines of SHOW GRANTS. Pure.

    The server prints dynamic and static privileges on lines of their own, so privileges are gathered per object.
    """
    held: dict[str, set[str]] = {}
    for line in shown:
        if not line.startswith("GRANT ") or " ON " not in line or " TO " not in line:
            continue
        privileges, rest = line[len("GRANT ") :].split(" ON ", 1)
        subject = rest.rsplit(" TO ", 1)[0].replace("`", "").lower()
        held.setdefault(subject, set()).update(_privileges(privileges))
    lacking = []
    for privileges, subject in account.grants:
        have = held.get(subject.lower(), set())
        wanted = _privileges(privileges)
        if "ALL PRIVILEGES" in have or ("ALL" in wanted and "ALL PRIVILEGES" in have):
            continue
        if not wanted <= have:
            lacking.append((privileges, subject))
    return tuple(lacking)


def password_works(host: str, port: int, account: Account, login: Login, *, within: float) -> bool:
    """Whether the account can log in with that password, tried for real.

    :raises ConnectFailed: when the server could not be asked.
    """
    try:
        Session.connect(account.user, host, port, login, within=within).close()
    except ConnectFailed as error:
        # 3955: locked; the password was right. 1040/1203/1226: too many connections, after authentication.
        if error.errno in (3955, 1040, 1203, 1226):
            return True
        if error.kind == LOGIN_FAILED:
            return False
        raise
    return True


def ensure(session: Session, account: Account, password: str, *, set_password: bool, dry: bool, within: float) -> bool:
    """Create the account, or mend its grants, its password and its TLS requirement.

    :param set_password: the password is known not to work (see ``password_works``).
    :returns: whether anything was, or in a dry run would be, changed.
    """
    exists = session.one(
        "SELECT ssl_type AS ssl_type FROM mysql.user WHERE User = %s AND Host = %s",
        (account.user, account.host),
        within=within,
    )
    shown: list[str] = []
    if exists:
        rows = session.query(f"SHOW GRANTS FOR {account.sql_name}", within=within)
        shown = [str(next(iter(row.values()))) for row in rows]
    lacking = missing_grants(account, shown)
    tls_differs = bool(exists) and bool(str(exists["ssl_type"])) != account.require_tls
    changed = not exists or set_password or bool(lacking) or tls_differs
    if dry or not changed:
        return changed
    if not password:
        raise HaError(
            "password_missing",
            f"no password was given for {account.user}",
            next_step="Set the password variable of that account, in a vault.",
        )
    requirement = "REQUIRE SSL" if account.require_tls else "REQUIRE NONE"
    verb = "ALTER USER" if exists else "CREATE USER"
    session.execute(
        f"{verb} {account.sql_name} IDENTIFIED BY %s {requirement}", (password,), within=within, secret=True
    )
    for privileges, subject in lacking:
        session.execute(f"GRANT {privileges} ON {subject} TO {account.sql_name}", within=within)
    return True
