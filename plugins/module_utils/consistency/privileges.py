# SPDX-License-Identifier: BSD-2-Clause
"""Whether the account sees every table: information_schema leaves out what it may not read, as if it were not there.

Judged from SHOW GRANTS, with the roles that are active. Source: the reference manual, "SHOW GRANTS Statement" and
"Privilege Restriction Using Partial Revokes" (a partial revoke is shown as a REVOKE).
"""

from __future__ import annotations

import re
from typing import Optional, Sequence

from ..server.session import Session
from .tables import SYSTEM

_GRANT = re.compile(r"GRANT (?P<what>.+?) ON (?P<where>\S+|`.*?`\.\S+) TO ", re.DOTALL)
_REVOKE = re.compile(r"REVOKE (?P<what>.+?) ON `(?P<schema>(?:[^`]|``)*)`\.\* FROM ", re.DOTALL)
_ROLE = re.compile(r"GRANT `.*` TO ", re.DOTALL)
_SCHEMA = re.compile(r"`(?P<schema>(?:[^`]|``)*)`\.\*")


def grants(session: Session, *, within: float) -> list[str]:
    """What SHOW GRANTS tells of this account, with the roles that are active.

    :raises StatementFailed: it could not be asked.
    """
    told = _told(session, "", within)
    if not any(_ROLE.match(line) for line in told):
        return told
    roles = str(session.one("SELECT CURRENT_ROLE() AS roles", within=within).get("roles") or "NONE")
    # The server has quoted the names that it shows.
    return told if roles == "NONE" else _told(session, f" USING {roles}", within)


def _told(session: Session, using: str, within: float) -> list[str]:
    rows = session.query(f"SHOW GRANTS FOR CURRENT_USER(){using}", within=within)
    return [str(value) for row in rows for value in row.values()]


def unseen(told: Sequence[str], include: Sequence[str], exclude: Sequence[str]) -> str:
    """What of the tables that are wanted this account may not read; empty: it reads them all. Pure.

    :param told: lines of SHOW GRANTS. ``include``, ``exclude``: the patterns ``schema.table`` of the run; of those that
        name a schema without wildcards it is enough to read that schema.
    """
    everywhere, schemas, revoked = False, set(), set()
    for line in told:
        grant = _GRANT.match(line)
        if grant and _reads(grant["what"]):
            within = _SCHEMA.fullmatch(grant["where"])
            everywhere |= grant["where"] == "*.*"
            if within:
                # As a pattern: what it may match besides its own name does not matter here.
                schemas.add(_name(within["schema"]).replace("\\_", "_").replace("\\%", "%"))
        revoke = _REVOKE.match(line)
        if revoke and _reads(revoke["what"]):
            revoked.add(_name(revoke["schema"]))
    wanted = [_whole_schema(pattern) for pattern in include]
    left_out = {_whole_schema(pattern, alone=True) for pattern in exclude}
    if everywhere:
        hidden = sorted(revoked - set(SYSTEM) - left_out)
        if include and None not in wanted:
            hidden = [schema for schema in hidden if schema in wanted]
        return f"the schemas {', '.join(hidden)}" if hidden else ""
    if not include or None in wanted:
        return "all schemas (SELECT ON *.*)"
    lacking = sorted({schema for schema in wanted if schema is not None and schema not in schemas})
    return f"the schemas {', '.join(lacking)}" if lacking else ""


def _reads(privileges: str) -> bool:
    """Whether SELECT is among them, of whole tables."""
    return any(each.strip().upper() in ("SELECT", "ALL PRIVILEGES", "ALL") for each in privileges.split(","))


def _name(quoted: str) -> str:
    return quoted.replace("``", "`")


def _whole_schema(pattern: str, *, alone: bool = False) -> Optional[str]:
    """The schema that a pattern names; None: it may name several. ``alone``: and all of it."""
    schema, dot, table = pattern.partition(".")
    if re.search(r"[*?\[]", schema) or (alone and dot and table != "*"):
        return None
    return schema
