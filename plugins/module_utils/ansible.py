# SPDX-License-Identifier: BSD-2-Clause
"""The only file that imports ansible: arguments in, results and errors out.

A module is its documentation, an argument spec made of these parts, and one call of ``run``.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule

from .clone.copy import CloneLogin
from .errors import HaError
from .server.session import Login
from .server.state import Member

LOGIN_SPEC: dict[str, Any] = {
    "login_user": {"type": "str", "default": "lossless_admin"},
    "login_password": {"type": "str", "no_log": True},
    "ca_cert": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "connect_timeout": {"type": "float", "default": 2.0},
}

REPLICATION_SPEC: dict[str, Any] = {
    "replication_user_prefix": {"type": "str", "default": "lossless_repl_"},
    "replication_password": {"type": "str", "no_log": True},
    "replication_ca": {"type": "path", "default": "/etc/lossless-mysql-ha/tls/ca.pem"},
    "heartbeat_period": {"type": "float", "default": 0.5},
}

CLONE_SPEC: dict[str, Any] = {
    "clone_user": {"type": "str", "default": "lossless_clone"},
    "clone_password": {"type": "str", "no_log": True},
}

MEMBERS_SPEC: dict[str, Any] = {
    "cluster": {"type": "str", "default": "mysql"},
    "members": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 33062},
            "replication_port": {"type": "int", "default": 3306},
            "zone": {"type": "str", "default": ""},
            "city": {"type": "str", "default": ""},
            "priority": {"type": "int", "default": 100},
            "acknowledges": {"type": "bool", "default": True},
        },
    },
}

HANDED_OVER = frozenset({"under_way"})
"""Options in which a part of a long task hands over to the next (``plugin_utils/followed.py``): they hold keys of rows,
and values where they may be shown. ``no_log`` is not for them: it would mask the same keys in the result."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a module returns: whether it changed anything, its values, and a diff of short texts."""

    changed: bool
    values: Mapping[str, Any]
    before: str = ""
    after: str = ""


def login(params: Mapping[str, Any]) -> Login:
    """The login of ``LOGIN_SPEC``."""
    return Login(
        user=params["login_user"],
        password=params["login_password"] or "",
        ca=params["ca_cert"] or "",
        cert=params["client_cert"] or "",
        key=params["client_key"] or "",
    )


def second_login(params: Mapping[str, Any], which: str) -> Login:
    """Another account (``<which>_user``, ``<which>_password``) that is let in as the one of ``LOGIN_SPEC`` is."""
    return dataclasses.replace(login(params), user=params[f"{which}_user"], password=params[f"{which}_password"] or "")


def clone_login(params: Mapping[str, Any]) -> CloneLogin:
    """The login of ``CLONE_SPEC`` at a donor, which is verified as a source is (``REPLICATION_SPEC``)."""
    return CloneLogin(params["clone_user"], params["clone_password"] or "", params["replication_ca"] or "")


def members(params: Mapping[str, Any]) -> tuple[Member, ...]:
    """The members of ``MEMBERS_SPEC``.

    :raises HaError: ``no_members``, ``duplicate_member``.
    """
    given = params["members"]
    if not given:
        raise HaError(
            "no_members",
            "the list of members is empty",
            next_step="Give every server of the cluster; in the playbooks, check the host pattern mysql_ha_hosts.",
        )
    names = [entry["name"] for entry in given]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise HaError(
            "duplicate_member",
            f"members named twice: {', '.join(twice)}",
            evidence={"members": names},
            next_step="Give each server one entry and one name.",
        )
    return tuple(Member(**entry) for entry in given)


def member(params: Mapping[str, Any], name: str) -> Member:
    """The member of that name.

    :raises HaError: ``unknown_member``, and as ``members``.
    """
    every = members(params)
    for each in every:
        if each.name == name:
            return each
    raise HaError(
        "unknown_member",
        f"there is no member {name!r}",
        evidence={"members": [each.name for each in every]},
        next_step="Name one of the members.",
    )


class _Module(AnsibleModule):  # type: ignore[misc]  # ansible-core has no types
    """Says on its host (syslog, or the journal) what it was called with, but for ``HANDED_OVER``."""

    def log(self, msg: Any, log_args: Optional[Mapping[str, Any]] = None) -> None:
        """As AnsibleModule; ``log_args`` are the arguments that ``msg`` names, when it is about the call."""
        if log_args and not HANDED_OVER.isdisjoint(log_args):
            log_args = {name: value for name, value in log_args.items() if name not in HANDED_OVER}
            msg = " ".join(["Invoked with", *(f"{name}={value}" for name, value in log_args.items())])
        super().log(msg, log_args=log_args)


def run(
    spec: Mapping[str, Any],
    work: Callable[[Mapping[str, Any], bool, Callable[[str], None]], Outcome],
    *,
    required_if: Optional[list[Any]] = None,
    **relations: Any,
) -> None:
    """Parse the arguments, do the work, and end the module.

    :param work: called with the parameters, whether this is check mode, and a function that adds a warning.
    :param relations: further ones between the arguments, as ``AnsibleModule`` takes them.
    """
    module = _Module(argument_spec=dict(spec), supports_check_mode=True, required_if=required_if or [], **relations)
    try:
        outcome = work(module.params, module.check_mode, module.warn)
    except HaError as error:
        module.fail_json(**error.as_result())
        raise  # fail_json has ended the module; mypy can not know, ansible-core has no types
    result = dict(outcome.values, changed=outcome.changed)
    if module._diff and (outcome.before or outcome.after):
        result["diff"] = {"before": outcome.before, "after": outcome.after}
    module.exit_json(**result)


def topology_text(verdicts: Mapping[str, str]) -> str:
    """One server a line, for diffs."""
    return "".join(f"{name}: {verdict}\n" for name, verdict in sorted(verdicts.items()))
