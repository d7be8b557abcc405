# SPDX-License-Identifier: BSD-2-Clause
"""What ``roles/server`` asks of the server on its own host, through its socket: ``python3 -m ...local COMMAND``.

* ``status``: what the server is at this moment, whether its configuration file says something that only a restart
  brings, and how it differs from what every server must carry. Changes nothing.
* ``resume``: after the restart of a replica, replication again, and wait until it is back.
* ``reload-tls``: use the certificate files as they are now, without a restart.

Every command prints one JSON object. Deciding (``pending``, ``describe``) is pure.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any, Mapping, Optional, Sequence

from ..errors import HaError
from .read import read_state
from .session import ConnectFailed, Login, Session
from .settings import drift
from .state import ON, ServerState

PRIMARY, REPLICA, STANDALONE = "primary", "replica", "standalone"

# Given at run time, to the server whose turn it is; the file holds their harmless values.
RUNTIME = frozenset(
    {
        "read_only",
        "super_read_only",
        "offline_mode",
        "rpl_semi_sync_source_enabled",
        "rpl_semi_sync_replica_enabled",
        "rpl_semi_sync_source_wait_for_replica_count",
    }
)
# The variable of that name says something else than the option does.
_NOT_COMPARABLE = frozenset({"log_bin", "relay_log", "plugin_load_add", "user", "datadir"})

PLUGINS = ("rpl_semi_sync_source", "rpl_semi_sync_replica", "clone", "auth_socket")

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_WORDS = {"ON": "1", "TRUE": "1", "YES": "1", "OFF": "0", "FALSE": "0", "NO": "0"}


def parse_option_file(text: str) -> dict[str, str]:
    """The options of the [mysqld] section, names with underscores and without ``loose_``; the last one counts."""
    options: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        line = line.strip()
        if not line or line[0] in "#;!":
            continue
        if line.startswith("["):
            section = line.strip("[]").lower()
        elif section == "mysqld":
            name, _equals, value = line.partition("=")
            name = name.strip().replace("-", "_").lower()
            if name.startswith("loose_"):
                name = name[len("loose_") :]
            options[name] = value.strip().strip("'\"")
    return options


def normal(value: str) -> str:
    """A value in the one form in which the file's and the server's way of writing it are equal."""
    text = value.strip().upper()
    if text in _WORDS:
        return _WORDS[text]
    if text[-1:] in _UNITS and text[:-1].isdigit():
        return str(int(text[:-1]) * _UNITS[text[-1]])
    try:
        number = float(text)
    except ValueError:
        return value.strip()
    return str(int(number)) if number == int(number) else str(number)


def pending(options: Mapping[str, str], running: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Which options of the file the running server does not have. Pure.

    Options that are no variables, and variables that are given at run time, do not count.
    """
    found = {}
    for name, value in options.items():
        if name in RUNTIME or name in _NOT_COMPARABLE or name not in running:
            continue
        if normal(value) != normal(running[name]):
            found[name] = {"running": running[name], "file": value}
    return found


def describe(
    state: ServerState,
    *,
    options: Mapping[str, str],
    running: Mapping[str, str],
    plugins: Sequence[str],
    replicas: int,
    schemas: Sequence[str],
    file_changed_at: float,
    started_at: float,
    acknowledgement: str,
) -> dict[str, Any]:
    """The answer of ``status``. Pure.

    A restart is asked for only when the file is younger than the server: values that the server rounds would differ
    for ever.
    """
    differs = pending(options, running)
    missing = [name for name in PLUGINS if name not in plugins]
    role = REPLICA if state.channels else PRIMARY if not state.super_read_only else STANDALONE
    serving = not state.super_read_only and (replicas > 0 or state.semi_sync.source_enabled or bool(schemas))
    return {
        "answers": True,
        "version": state.version,
        "server_uuid": state.server_uuid,
        "role": role,
        "serving": serving,
        "replicas": replicas,
        "replicating": bool(state.receiver and state.receiver.state == ON),
        "acknowledging": state.semi_sync.replica_enabled,
        "databases": list(schemas),
        "gtid_executed": str(state.executed),
        "pending": differs,
        "missing_plugins": missing,
        "restart": bool(differs or missing) and file_changed_at > started_at,
        "drift": [
            {"name": d.name, "expected": d.expected, "actual": d.actual, "why": d.why, "safety": d.safety}
            for d in drift(state.settings, acknowledgement)
        ],
    }


_REPLICAS = (
    "SELECT COUNT(*) AS n FROM performance_schema.processlist WHERE COMMAND IN ('Binlog Dump', 'Binlog Dump GTID')"
)
_SCHEMAS = (
    "SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA"
    " WHERE SCHEMA_NAME NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', 'lossless_ha')"
)
_PLUGINS = "SELECT PLUGIN_NAME AS name FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE'"


def status(session: Session, config: str, acknowledgement: str, *, within: float) -> dict[str, Any]:
    """Read the server and its file."""
    state = read_state(session, within=within)
    running = {
        str(row["name"]).lower(): str(row["value"])
        for row in session.query(
            "SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value FROM performance_schema.global_variables",
            within=within,
        )
    }
    options: dict[str, str] = {}
    changed_at = 0.0
    if os.path.exists(config):
        with open(config, encoding="utf-8") as file:
            options = parse_option_file(file.read())
        changed_at = os.stat(config).st_mtime
    return describe(
        state,
        options=options,
        running=running,
        plugins=[str(row["name"]) for row in session.query(_PLUGINS, within=within)],
        replicas=int(session.one(_REPLICAS, within=within)["n"]),
        schemas=[str(row["name"]) for row in session.query(_SCHEMAS, within=within)],
        file_changed_at=changed_at,
        started_at=time.time() - state.uptime,
        acknowledgement=acknowledgement,
    )


def resume(session: Session, *, acknowledge: bool, within: float) -> dict[str, Any]:
    """Start replication and wait until receiver and applier run.

    :raises HaError: ``replication_not_back``.
    """
    if acknowledge:
        # Before the receiver connects: the source counts it as an acknowledger from the handshake on.
        session.execute("SET GLOBAL rpl_semi_sync_replica_enabled = ON", within=within)
    session.execute("START REPLICA", within=within)
    ends = time.monotonic() + within
    while True:
        state = read_state(session, within=within)
        receiver, applier = state.receiver, state.applier
        if receiver and applier and receiver.state == ON and applier.state == ON:
            return {"replicating": True, "acknowledging": state.semi_sync.replica_active}
        if time.monotonic() > ends:
            raise HaError(
                "replication_not_back",
                f"replication did not come back within {within:g} s",
                evidence={
                    "receiver": receiver.state if receiver else "none",
                    "receiver_error": receiver.error if receiver else "",
                    "applier": applier.state if applier else "none",
                    "applier_error": applier.error if applier else "",
                },
                next_step="Mend that first. No other server was restarted.",
            )
        time.sleep(0.2)


def reload_tls(session: Session, *, within: float) -> dict[str, Any]:
    """New connections get the certificate that lies there now; open ones stay as they are."""
    session.execute("ALTER INSTANCE RELOAD TLS", within=within)
    session.execute("ALTER INSTANCE RELOAD TLS FOR CHANNEL mysql_admin", within=within)
    return {"reloaded": True}


def _connect(login: Login, patience: float) -> Session:
    """The server, waiting for it while it starts."""
    ends = time.monotonic() + patience
    while True:
        try:
            return Session.connect("this server", "localhost", 0, login, within=5.0)
        except ConnectFailed:
            if time.monotonic() > ends:
                raise
            time.sleep(0.2)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="The server on this host.")
    parser.add_argument("command", choices=["status", "resume", "reload-tls"])
    parser.add_argument("--socket", default="/run/mysqld/mysqld.sock")
    parser.add_argument("--user", default="root")
    parser.add_argument("--config", default="")
    parser.add_argument("--acknowledgement", choices=["disk", "memory"], default="disk")
    parser.add_argument("--acknowledge", action="store_true")
    parser.add_argument("--within", type=float, default=30.0)
    given = parser.parse_args(arguments)
    login = Login(given.user, unix_socket=given.socket)
    try:
        session = _connect(login, 0.0 if given.command == "status" else given.within)
    except ConnectFailed as error:
        _say(dict(error.as_result(), answers=False, kind=error.kind))
        return 0 if given.command == "status" else 1
    try:
        if given.command == "status":
            answer = status(session, given.config, given.acknowledgement, within=given.within)
        elif given.command == "resume":
            answer = resume(session, acknowledge=given.acknowledge, within=given.within)
        else:
            answer = reload_tls(session, within=given.within)
    except HaError as error:
        _say(error.as_result())
        return 1
    finally:
        session.close()
    _say(answer)
    return 0


def _say(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
