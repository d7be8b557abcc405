# SPDX-License-Identifier: BSD-2-Clause
"""The collection's accounts: one for each duty, with the least grants that the duty needs.

Deciding is pure: ``grants_of``, ``difference``, ``route``. Doing: ``ensure`` makes one account what it should be on
one connection; ``converge`` finds out on the server itself how an account may be changed there without giving that
server a transaction of its own, and does it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from typing import Iterator, Optional, Sequence

from ..errors import HaError
from . import dialect
from .schema import SCHEMA
from .session import ConnectFailed, Login, Session, StatementFailed, identifier
from .state import LOGIN_FAILED

Grant = tuple[str, str]
"""(privileges, object), for example ("SELECT", "performance_schema.*")"""

ADMIN, MONITOR, KEEPER, CLONE, REPLICATION = "admin", "monitor", "keeper", "clone", "replication"
MANAGER, RECONCILE, DRILL = "manager", "reconcile", "drill"
DUTIES = (ADMIN, MANAGER, MONITOR, RECONCILE, KEEPER, CLONE, REPLICATION, DRILL)

SET_DEFINER = "{set definer}"
"""Stands for the privilege that ``Dialect.set_definer_privilege`` names."""

# What each privilege is for is documented in plugins/modules/mysql_account.py; a test keeps the two together.
_GRANTS: dict[str, tuple[Grant, ...]] = {
    ADMIN: (
        (
            "PROCESS, RELOAD, EVENT, SHOW VIEW, REPLICATION CLIENT, CREATE USER, REPLICATION_SLAVE_ADMIN"
            ", SYSTEM_VARIABLES_ADMIN, SESSION_VARIABLES_ADMIN, CONNECTION_ADMIN, SERVICE_CONNECTION_ADMIN"
            f", BACKUP_ADMIN, CLONE_ADMIN, {SET_DEFINER}",
            "*.*",
        ),
        ("SELECT", "performance_schema.*"),
        ("SELECT", "mysql.*"),
        ("ALL", f"{SCHEMA}.*"),
    ),
    MANAGER: (
        (
            "PROCESS, RELOAD, EVENT, REPLICATION CLIENT, CREATE USER, REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN"
            f", CONNECTION_ADMIN, SERVICE_CONNECTION_ADMIN, {SET_DEFINER}",
            "*.*",
        ),
        ("SELECT", "performance_schema.*"),
        ("SELECT (Host), SELECT (User), SELECT (account_locked)", "mysql.user"),
        ("SELECT", f"{SCHEMA}.*"),
        ("INSERT", f"{SCHEMA}.term"),
        ("INSERT, UPDATE", f"{SCHEMA}.heartbeat"),
    ),
    MONITOR: (
        ("PROCESS, REPLICATION CLIENT, SERVICE_CONNECTION_ADMIN", "*.*"),
        ("SELECT", "performance_schema.*"),
        ("SELECT", f"{SCHEMA}.*"),
    ),
    RECONCILE: (("SELECT, SHOW VIEW, PROCESS, REPLICATION CLIENT, SERVICE_CONNECTION_ADMIN", "*.*"),),
    KEEPER: (
        ("REPLICATION CLIENT, SERVICE_CONNECTION_ADMIN, CONNECTION_ADMIN, SYSTEM_VARIABLES_ADMIN", "*.*"),
        ("SELECT", "performance_schema.*"),
        ("SELECT", f"{SCHEMA}.*"),
        ("INSERT, UPDATE", f"{SCHEMA}.heartbeat"),
        ("INSERT, UPDATE", f"{SCHEMA}.rejoin"),
    ),
    CLONE: (("BACKUP_ADMIN", "*.*"),),
    REPLICATION: (("REPLICATION SLAVE", "*.*"),),
    DRILL: (("SELECT, INSERT, UPDATE, CREATE", "lossless_drill.*"),),
}


@dataclasses.dataclass(frozen=True)
class Account:
    """An account to be: ``duty`` decides its grants."""

    user: str
    host: str
    duty: str
    require_tls: bool = True

    @property
    def sql_name(self) -> str:
        return f"{identifier(self.user)}@{identifier(self.host)}"


def replication_user(prefix: str, server_id: int) -> str:
    """The name of one replica's own account: with an account each, one replica can be locked out alone."""
    return f"{prefix}{server_id}"


def grants_of(duty: str, names: dialect.Dialect) -> tuple[Grant, ...]:
    """The grants of a duty in this server's words."""
    return tuple(
        (privileges.replace(SET_DEFINER, names.set_definer_privilege), subject) for privileges, subject in _GRANTS[duty]
    )


_PRIVILEGE = re.compile(r"(?P<name>[^,(]+)(?:\((?P<columns>[^)]*)\))?")


def _privileges(grant: str) -> frozenset[str]:
    """One for each column: the server gathers them, ``SELECT (`Host`, `User`)``."""
    found = set()
    for part in _PRIVILEGE.finditer(grant):
        name = part["name"].strip().upper()
        columns = [f"{name} ({column.strip(' `').upper()})" for column in (part["columns"] or "").split(",") if column]
        found.update(columns or ([name] if name else []))
    return frozenset(found)


def _held(shown: Sequence[str]) -> dict[str, set[str]]:
    """What the lines of SHOW GRANTS say, by object. The server prints static and dynamic privileges on separate lines.

    Roles and proxies are of another form and not gathered.
    """
    held: dict[str, set[str]] = {}
    for line in shown:
        if not line.startswith("GRANT ") or " ON " not in line or " TO " not in line:
            continue
        privileges, rest = line[len("GRANT ") :].split(" ON ", 1)
        subject, whom = rest.rsplit(" TO ", 1)
        have = held.setdefault(subject.replace("`", "").lower(), set())
        have.update(_privileges(privileges))
        if "WITH GRANT OPTION" in whom:
            have.add("GRANT OPTION")
    return held


@dataclasses.dataclass(frozen=True)
class Difference:
    """What an account lacks and what it holds beyond its duty."""

    lacking: tuple[Grant, ...] = ()
    excess: tuple[Grant, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.lacking or self.excess)


def difference(wanted: Sequence[Grant], shown: Sequence[str]) -> Difference:
    """Compare the grants of a duty with the lines of SHOW GRANTS. Pure."""
    held = _held(shown)
    lacking, excess = [], []
    for privileges, subject in wanted:
        have = held.pop(subject.lower(), set())
        want = set(_privileges(privileges))
        if "ALL" in want:
            want = {"ALL PRIVILEGES"}
        missing = want - have
        if missing:
            lacking.append((privileges, subject))
        more = have - want - {"USAGE"}
        if more:
            excess.append((", ".join(sorted(more)), subject))
    for subject, have in held.items():
        more = have - {"USAGE", "PROXY"}
        if more:
            excess.append((", ".join(sorted(more)), subject))
    return Difference(tuple(lacking), tuple(excess))


# Errors that only an account whose password was right can get: no admin port for it, locked, offline, too many
# connections of its own. 3955 (blocked after wrong passwords) and 1040 (server full) come before the password counts.
_AFTER_PASSWORD = frozenset({1227, 3118, 3032, 1203, 1226, 1862})
_NOT_TRIED = frozenset({3955, 1040})


def password_works(host: str, port: int, account: Account, login: Login, *, within: float) -> bool:
    """Whether the account can log in with that password, tried for real.

    :raises ConnectFailed: when the server could not be asked.
    """
    try:
        Session.connect(account.user, host, port, login, within=within).close()
    except ConnectFailed as error:
        if error.errno in _AFTER_PASSWORD:
            return True
        if error.kind == LOGIN_FAILED and error.errno not in _NOT_TRIED:
            return False
        raise
    except StatementFailed as error:
        # Logged in, and thrown out at its first statement (an expired password, for example).
        if error.errno:
            return True
        raise
    return True


@dataclasses.dataclass(frozen=True)
class Finding:
    """How an account is, compared with how it should be."""

    exists: bool
    grants: Difference
    tls_differs: bool
    shown: tuple[str, ...] = ()

    def changes(self, set_password: bool) -> tuple[str, ...]:
        """What has to be done, for people; no secret in it."""
        if not self.exists:
            return ("create the account",)
        todo = ["set the password"] if set_password else []
        todo += ["change the TLS requirement"] if self.tls_differs else []
        todo += [f"grant {privileges} on {subject}" for privileges, subject in self.grants.lacking]
        todo += [f"revoke {privileges} on {subject}" for privileges, subject in self.grants.excess]
        return tuple(todo)


def look(session: Session, account: Account, *, within: float) -> Finding:
    """Read one account."""
    names = session.dialect or dialect.probe(session.version, {})
    exists = session.one(
        "SELECT ssl_type AS ssl_type FROM mysql.user WHERE User = %s AND Host = %s",
        (account.user, account.host),
        within=within,
    )
    shown: list[str] = []
    if exists:
        rows = session.query(f"SHOW GRANTS FOR {account.sql_name}", within=within)
        shown = [str(next(iter(row.values()))) for row in rows]
    return Finding(
        exists=bool(exists),
        grants=difference(grants_of(account.duty, names), shown),
        tls_differs=bool(exists) and bool(str(exists["ssl_type"])) != account.require_tls,
        shown=tuple(shown),
    )


def ensure(session: Session, account: Account, password: str, *, set_password: bool, dry: bool, within: float) -> bool:
    """Create the account, or mend its grants, its password and its TLS requirement.

    Every statement can be replayed where it was already executed: an account made without a transaction (see
    ``converge``) may meet the same statement again through replication.

    :param set_password: the password is known not to work (see ``password_works``).
    :returns: whether anything was, or in a dry run would be, changed.
    """
    finding = look(session, account, within=within)
    if not finding.changes(set_password):
        return False
    if not finding.exists and not password:
        raise HaError(
            "password_missing",
            f"no password was given for {account.user}",
            evidence={"user": account.user, "host": account.host},
            next_step="Set the password variable of that account, in a vault.",
        )
    if dry:
        return True
    requirement = "REQUIRE SSL" if account.require_tls else "REQUIRE NONE"
    name = account.sql_name
    # Beside a bound value a percent sign, as in the host '%', is written twice.
    escaped = name.replace("%", "%%")
    if not finding.exists:
        create = f"CREATE USER IF NOT EXISTS {escaped} IDENTIFIED BY %s {requirement}"
        session.execute(create, (password,), within=within, secret=True)
    if finding.exists and set_password:
        session.execute(f"ALTER USER {escaped} IDENTIFIED BY %s", (password,), within=within, secret=True)
    if finding.tls_differs:
        session.execute(f"ALTER USER {name} {requirement}", within=within)
    for privileges, subject in finding.grants.excess:
        session.execute(f"REVOKE {privileges} ON {_quoted(subject)} FROM {name}", within=within)
    for privileges, subject in finding.grants.lacking:
        if subject.endswith(".*"):
            session.execute(f"GRANT {privileges} ON {_quoted(subject)} TO {name}", within=within)
        else:
            # The server grants on a table that is not there yet only together with CREATE, which goes again. If this
            # stops in between, the next run finds CREATE in excess.
            session.execute(f"GRANT {privileges}, CREATE ON {_quoted(subject)} TO {name}", within=within)
            session.execute(f"REVOKE CREATE ON {_quoted(subject)} FROM {name}", within=within)
    return True


def _quoted(subject: str) -> str:
    schema, _dot, table = subject.partition(".")
    return ".".join(part if part == "*" else identifier(part) for part in (schema, table))


# --- how a change may be made on this server -------------------------------------------------------------------------

LOGGED = "primary"
"""Writable: the change is logged and replicates."""
UNLOGGED = "local"
"""Read-only and nobody's replica: made without the binary log, so that the server gets no transaction of its own."""
REPLICATED = "replication"
"""A replica: the change comes from its source; nothing may be changed here."""


def route(*, super_read_only: bool, follows: bool) -> str:
    """How an account may be changed on a server. Pure.

    A server that replicates changes only what its source changes, even if somebody made it writable.
    """
    if follows:
        return REPLICATED
    return UNLOGGED if super_read_only else LOGGED


@dataclasses.dataclass(frozen=True)
class Converged:
    """What ``converge`` did, or in a dry run would do."""

    changed: bool
    via: str
    changes: tuple[str, ...]
    before: str
    after: str


@dataclasses.dataclass(frozen=True)
class LoginTry:
    """Where and how an account's password is tried; without ``host`` at the address that the server listens on."""

    ca: str
    host: str = ""
    port: int = 0


def converge(
    local: Login, account: Account, password: str, trial: Optional[LoginTry], *, dry: bool, within: float
) -> Converged:
    """Make one account what it should be, from the database host itself.

    :param local: a login through the Unix socket that may do anything.
    :param trial: how to try the password; ``None`` leaves the password of an existing account alone.
    :raises HaError: ``password_missing``; ``left_writable`` when super_read_only could not be set again.
    """
    session = Session.connect("this server", "localhost", 0, local, within=within)
    try:
        facts = session.one(
            "SELECT @@GLOBAL.super_read_only AS super_read_only, @@GLOBAL.admin_address AS admin_address,"
            " @@GLOBAL.admin_port AS admin_port, @@GLOBAL.port AS port, (SELECT COUNT(*)"
            " FROM performance_schema.replication_connection_configuration WHERE HOST <> '') AS channels",
            within=within,
        )
        via = route(super_read_only=bool(int(facts["super_read_only"])), follows=int(facts["channels"]) > 0)
        finding = look(session, account, within=within)
        before = _describe(account, finding.shown) if finding.exists else ""
        if via == REPLICATED:
            return Converged(False, via, (), before, before)
        set_password = False
        if finding.exists and password and trial is not None:
            host = trial.host or str(facts["admin_address"] or "127.0.0.1")
            port = trial.port or int(facts["admin_port"] if facts["admin_address"] else facts["port"])
            attempt = Login(account.user, password, ca=trial.ca)
            set_password = not password_works(host, port, account, attempt, within=within)
        changes = finding.changes(set_password)
        if changes and via == UNLOGGED and not dry:
            with _without_transaction(session, local, within):
                ensure(session, account, password, set_password=set_password, dry=False, within=within)
        elif changes:
            ensure(session, account, password, set_password=set_password, dry=dry, within=within)
        names = session.dialect or dialect.probe(session.version, {})
        after = _describe(
            account, [f"GRANT {p} ON {s} TO {account.sql_name}" for p, s in grants_of(account.duty, names)]
        )
        if not finding.grants and finding.exists:
            after = before
        if set_password:
            after += "password: changed\n"
        return Converged(bool(changes), via, changes, before, after)
    finally:
        session.close()


def _describe(account: Account, grants: Sequence[str]) -> str:
    """An account as short text for a diff."""
    lines = [f"account: {account.user}@{account.host}", f"duty: {account.duty}"]
    return "\n".join(lines + sorted(grants)) + "\n"


@contextlib.contextmanager
def _without_transaction(session: Session, local: Login, within: float) -> Iterator[None]:
    """Let this session write on a read-only server, without the binary log, and close the door again whatever happens.

    Only super_read_only goes off; read_only stays ON, so that nobody without CONNECTION_ADMIN gets in meanwhile.
    """
    session.execute("SET SESSION sql_log_bin = 0", within=within)
    try:
        session.execute("SET GLOBAL read_only = ON", within=within)
        session.execute("SET GLOBAL super_read_only = OFF", within=within)
        yield
    finally:
        _close_door(session, local, within)


def _close_door(session: Session, local: Login, within: float) -> None:
    closer = session
    try:
        if not session.usable:
            closer = Session.connect("this server", "localhost", 0, local, within=within)
        closer.execute("SET GLOBAL super_read_only = ON", within=within)
        if closer.usable and closer is session:
            session.execute("SET SESSION sql_log_bin = 1", within=within)
    except HaError as error:
        raise HaError(
            "left_writable",
            f"super_read_only could not be set again: {error.message}",
            evidence=error.evidence,
            next_step="Run SET GLOBAL super_read_only=ON on that server at once, or restart it: it starts read-only.",
        ) from error
    finally:
        if closer is not session:
            closer.close()
