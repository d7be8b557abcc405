#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One account of the collection, with the grants of its duty."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_account
short_description: Makes an account that does one duty, with the least grants for it
version_added: 0.1.0
author: lossless.mysql_ha maintainers (@lossless-mysql-ha)
description:
  - Creates an account for one of the duties of this collection, or mends its grants, password and TLS requirement.
    Grants that the duty does not need are revoked.
  - Runs on the database host and logs in as a local account through the Unix socket.
  - The server's role decides how the change is made. On a writable server it is logged and replicates. On a read-only
    server that replicates from nobody (a new one) it is made without the binary log, so that the server gets no
    transaction of its own; C(super_read_only) is off for that moment, C(read_only) stays on. On a replica nothing is
    changed, for the account comes from its source.
  - An account's lock is left alone. Failover locks accounts out, and this module does not let them in again.
options:
  user:
    description:
      - The name of the account.
    type: str
    required: true
  host:
    description:
      - From where the account may connect.
    type: str
    default: "%"
  duty:
    description:
      - What the account is for, which decides its grants. The notes say what each grant is needed for.
    type: str
    required: true
    choices: [admin, manager, monitor, reconcile, keeper, clone, replication, drill]
  password:
    description:
      - The password. Whether an existing account has it is found out by logging in with it.
      - Without it the password of an existing account is left alone, and a missing account is an error.
    type: str
  require_tls:
    description:
      - Whether the account may connect with TLS only.
    type: bool
    default: true
  state:
    description:
      - The account is to be there. Removing accounts is left to a person.
    type: str
    choices: [present]
    default: present
  login_user:
    description:
      - The local account that the module uses.
    type: str
    default: root
  login_unix_socket:
    description:
      - The socket that the server listens on.
    type: path
    default: /run/mysqld/mysqld.sock
  ca_cert:
    description:
      - The file with the certificate of the authority that signed the server's certificate, on the database host.
        The password is tried over TLS.
    type: path
  check_host:
    description:
      - The address at which the password is tried. The default is the server's C(admin_address).
    type: str
  check_port:
    description:
      - The port at which the password is tried. The default is the server's C(admin_port).
    type: int
  timeout:
    description:
      - How many seconds one statement may take.
    type: float
    default: 10.0
extends_documentation_fragment:
  - lossless.mysql_ha.attributes
notes:
  - Each duty and what it needs the privileges for follows.
  - "V(admin): it switches roles, freezes, promotes, registers members and seeds by clone.
    SYSTEM_VARIABLES_ADMIN and CONNECTION_ADMIN set C(super_read_only), C(offline_mode) and the sides of semi-sync
    replication, write while C(read_only) is on, and end other sessions (C(KILL)); SERVICE_CONNECTION_ADMIN opens the
    admin port; REPLICATION_SLAVE_ADMIN is for C(STOP REPLICA) and C(CHANGE REPLICATION SOURCE); RELOAD for
    C(RESET REPLICA) and C(RESET BINARY LOGS AND GTIDS); REPLICATION CLIENT for C(SHOW REPLICA STATUS); PROCESS for the
    sessions of others; CREATE USER for C(ALTER USER ... ACCOUNT LOCK); SESSION_VARIABLES_ADMIN for C(sql_log_bin);
    EVENT with SET_ANY_DEFINER (SET_USER_ID before 8.2) enables events and keeps their definers; CLONE_ADMIN for
    C(CLONE INSTANCE) and BACKUP_ADMIN for the donor's side of it; SHOW VIEW shows the names and keys of all tables
    without a row of them; SELECT on C(performance_schema) and C(mysql) reads state and accounts; ALL on C(lossless_ha)
    for its own tables. C(GET_LOCK) needs nothing. It can read no application's rows and grant nothing."
  - "V(manager): what V(admin) needs for failing over and for M(lossless.mysql_ha.mysql_member), and for nothing else.
    SYSTEM_VARIABLES_ADMIN and CONNECTION_ADMIN set C(super_read_only), C(offline_mode) and the sides of semi-sync
    replication, write while C(read_only) is on, and end other sessions (C(KILL)): those of applications on a primary
    whose replication is cut, and the dump thread of a replica that is taken out; SERVICE_CONNECTION_ADMIN opens the
    admin port; REPLICATION_SLAVE_ADMIN is for C(STOP REPLICA) and C(CHANGE REPLICATION SOURCE); RELOAD for
    C(RESET REPLICA ALL); REPLICATION CLIENT for C(SHOW REPLICA STATUS); PROCESS for open transactions and the sessions
    of others; EVENT with SET_ANY_DEFINER (SET_USER_ID before 8.2) enables events, in whatever schema they are, and
    keeps their definers; CREATE USER is for C(ALTER USER ... ACCOUNT LOCK) on the account of a replica that is taken
    out, for which MySQL has no smaller privilege; SELECT (Host), SELECT (User) and SELECT (account_locked) on
    C(mysql.user) see whether it is locked, and no password's hash; SELECT on C(performance_schema) and C(lossless_ha)
    reads state; INSERT on C(lossless_ha.term) appends a term and can change none; INSERT and UPDATE on
    C(lossless_ha.heartbeat) write the first heartbeat of a term. It can not seed by clone, create tables, read an
    application's rows or grant. Guard its password like that of V(admin) all the same, for MySQL gives more with these:
    CREATE USER can give any account without C(SYSTEM_USER) another password, EVENT with a definer of its choice acts
    as such an account, and SYSTEM_VARIABLES_ADMIN includes the variables of a session, C(sql_log_bin) too."
  - "V(monitor): PROCESS and REPLICATION CLIENT with SELECT on C(performance_schema) and C(lossless_ha) read the
    state; SERVICE_CONNECTION_ADMIN opens the admin port, which answers when all other connections are taken."
  - "V(reconcile): SELECT on everything reads the rows that two servers are compared by, whatever table they are in, and
    the definitions of tables; SHOW VIEW those of views; PROCESS reads which transactions are open, prepared XA
    transactions too, so that a window of recent rows misses none; REPLICATION CLIENT reads who follows whom;
    SERVICE_CONNECTION_ADMIN opens the admin port. It can change
    nothing and end nobody's session. But it reads every application's rows, and in C(mysql) the hashes of passwords:
    guard its password like those rows."
  - "V(keeper): INSERT and UPDATE on C(lossless_ha.heartbeat) with SELECT on C(lossless_ha) write the heartbeat; on
    C(lossless_ha.rejoin) they write down how a server returned;
    REPLICATION CLIENT with SELECT on C(performance_schema) reads the state, who is connected, and what the peers'
    receivers do; SERVICE_CONNECTION_ADMIN opens the admin port; CONNECTION_ADMIN keeps it connected under
    C(offline_mode), and ends application sessions (C(KILL)) when the lease has run out; SYSTEM_VARIABLES_ADMIN with it
    sets C(offline_mode) and C(super_read_only) when it fences a deposed primary, and is used for nothing else."
  - "V(clone): BACKUP_ADMIN lets a new server copy the data from this one."
  - "V(replication): REPLICATION SLAVE lets one replica follow this server. Every replica has an account of its
    own, so that one can be locked out alone."
  - "V(drill): SELECT, INSERT, UPDATE and CREATE on C(lossless_drill) let the writer of a failover drill work, and its
    checker read."
  - An event whose definer holds SYSTEM_USER (as C(root) does) can only be enabled by an account that holds it too.
"""

EXAMPLES = r"""
- name: The account of the monitoring
  lossless.mysql_ha.mysql_account:
    user: lossless_monitor
    password: "{{ vault_mysql_monitor_password }}"
    duty: monitor
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem

- name: The account of one replica
  lossless.mysql_ha.mysql_account:
    user: "lossless_repl_{{ server_id }}"
    host: 10.0.0.%
    password: "{{ vault_mysql_replication_password }}"
    duty: replication
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
"""

RETURN = r"""
via:
  description:
    - How changes are made on this server. V(primary) means logged, V(local) without the binary log, V(replication) not
      here but by its source.
  type: str
  returned: success
  sample: primary
changes:
  description: What was, or in check mode would be, done.
  type: list
  elements: str
  returned: success
  sample: ["set the password"]
code:
  description: A stable name of what went wrong, for example V(password_missing) or V(left_writable).
  type: str
  returned: failure
  sample: password_missing
evidence:
  description: The facts that the message rests on.
  type: dict
  returned: failure
next_step:
  description: What a person does now.
  type: str
  returned: failure
"""

from typing import Any, Callable, Mapping

from ansible_collections.lossless.mysql_ha.plugins.module_utils.ansible import Outcome, run
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import accounts
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Login

SPEC: dict[str, Any] = {
    "user": {"type": "str", "required": True},
    "host": {"type": "str", "default": "%"},
    "duty": {
        "type": "str",
        "required": True,
        "choices": ["admin", "manager", "monitor", "reconcile", "keeper", "clone", "replication", "drill"],
    },
    "password": {"type": "str", "no_log": True},
    "require_tls": {"type": "bool", "default": True},
    "state": {"type": "str", "choices": ["present"], "default": "present"},
    "login_user": {"type": "str", "default": "root"},
    "login_unix_socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
    "ca_cert": {"type": "path"},
    "check_host": {"type": "str"},
    "check_port": {"type": "int"},
    "timeout": {"type": "float", "default": 10.0},
}


def work(params: Mapping[str, Any], check_mode: bool, warn: Callable[[str], None]) -> Outcome:
    done = accounts.converge(
        Login(params["login_user"], unix_socket=params["login_unix_socket"]),
        accounts.Account(params["user"], params["host"], params["duty"], params["require_tls"]),
        params["password"] or "",
        accounts.LoginTry(params["ca_cert"] or "", params["check_host"] or "", params["check_port"] or 0),
        dry=check_mode,
        within=params["timeout"],
    )
    return Outcome(done.changed, {"via": done.via, "changes": list(done.changes)}, done.before, done.after)


def main() -> None:
    run(SPEC, work)


if __name__ == "__main__":
    main()
