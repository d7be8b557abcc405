#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the lossless.mysql_ha authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_rejoin
short_description: Bring a deposed primary back, with what only it has found, archived and undone
version_added: 0.1.0
description:
  - >-
    After a failover the old primary may hold transactions that no other server has, committed by its own crash
    recovery or waiting in its binary log. This module finds them, archives them, chooses a way back, and says why.
  - >-
    Nothing extra: it follows the primary by auto-position and is registered again.
  - >-
    Rewind: mysqld has not been started since it died, and what only it has still waits at the end of the last file of
    its binary log. That end is cut off, and crash recovery rolls the transactions back, whatever the size of the data.
    Only when the promotion was proven, semi-sync had not degraded, and every transaction that is cut was only
    prepared. Afterwards the service C(lossless-mysql-ha-rejoin) compares it with the primary.
  - >-
    Clone: when neither is possible. Everything on it is replaced by a copy of another server.
  - >-
    Transactions that a client may have been told OK for are never undone by themselves: the module archives them,
    stops, and names them. A person gives them up with O(given_up).
  - >-
    Runs on the host of the server that returns, as root: it reads files of the data directory. One run does what can be
    done now; V(start_needed) in RV(state) says that mysqld has to be started before the next one. The playbook
    C(rejoin) does all of it.
  - >-
    Until it is verified, the server neither acknowledges nor is a candidate.
options:
  name:
    description:
      - The server that returns, as it is called in O(members).
    type: str
    required: true
  way:
    description:
      - V(auto) takes the best way that is possible. V(rewind) and V(clone) allow only that one, besides having nothing
        extra.
    type: str
    choices: [auto, rewind, clone]
    default: auto
  given_up:
    description:
      - A GTID set. Transactions that a person gives up although a client may have been told OK for them.
    type: str
    default: ""
  datadir:
    description:
      - The data directory.
    type: path
    default: /var/lib/mysql
  log_bin_index:
    description:
      - The index file of the binary log, as C(SELECT @@log_bin_index) shows it.
    type: path
    default: /var/lib/mysql/binlog.index
  archive_directory:
    description:
      - Where transactions are archived before they are undone; see M(lossless.mysql_ha.mysql_binlog_archive).
    type: path
    default: /var/lib/lossless-mysql-ha/archive
  patience:
    description:
      - Seconds to wait for the peers' answers.
    type: float
    default: 30.0
  statement_timeout:
    description:
      - Seconds for one statement, or for looking at one server.
    type: float
    default: 15.0
  receiver_timeout:
    description:
      - Seconds for a replica to connect to its source, and for the comparison after a rewind.
    type: float
    default: 60.0
  stall_timeout:
    description:
      - Seconds without any progress after which a replica that should catch up counts as stuck.
    type: float
    default: 60.0
  clone_timeout:
    description:
      - Seconds for the copy of a clone.
    type: float
    default: 86400.0
  restart_timeout:
    description:
      - Seconds for a cloned server to come back.
    type: float
    default: 300.0
extends_documentation_fragment:
  - lossless.mysql_ha.attributes
  - lossless.mysql_ha.login
  - lossless.mysql_ha.members
  - lossless.mysql_ha.replication
  - lossless.mysql_ha.clone
notes:
  - "Grants: those of the account C(lossless_admin); see M(lossless.mysql_ha.mysql_account)."
  - In check mode it looks and decides, archives and cuts nothing, and returns what it would do.
  - >-
    Refuses with C(may_be_acknowledged) (the promotion was not proven, or semi-sync had degraded), C(already_started)
    (O(way=rewind), and mysqld has been started since), C(successor_does_not_answer), C(too_few_peers_answer),
    C(another_server), and with the reasons against a rewind when O(way=rewind).
  - The role server installs a restart gate, which does the same by itself before mysqld starts after a crash.
seealso:
  - module: lossless.mysql_ha.mysql_binlog_archive
  - module: lossless.mysql_ha.mysql_replication
  - module: lossless.mysql_ha.mysql_failover
author:
  - lossless.mysql_ha maintainers (@lossless)
"""

EXAMPLES = r"""
- name: Bring the old primary back
  lossless.mysql_ha.mysql_rejoin:
    name: "{{ inventory_hostname }}"
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_password: "{{ mysql_ha_admin_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
    replication_password: "{{ mysql_ha_replication_password }}"
    clone_password: "{{ mysql_ha_clone_password }}"
  become: true
  register: returned

- name: Give up what the business has looked at, and let it be cloned
  lossless.mysql_ha.mysql_rejoin:
    name: "{{ inventory_hostname }}"
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_password: "{{ mysql_ha_admin_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
    replication_password: "{{ mysql_ha_replication_password }}"
    clone_password: "{{ mysql_ha_clone_password }}"
    given_up: 3e11fa47-71ca-11e1-9e33-c80aa9429562:101
  become: true
"""

RETURN = r"""
state:
  description: >-
    V(rejoined), it follows and is registered; V(start_needed), mysqld has to be started, then run again; V(primary), no
    other server is primary, and there is nothing to come back to.
  returned: success
  type: str
  sample: start_needed
way:
  description: How it comes back, V(none) (nothing extra), V(rewind) or V(clone).
  returned: success
  type: str
  sample: rewind
primary:
  description: The server that it comes back to.
  returned: success
  type: str
  sample: db2
surplus:
  description: What only this server had, as a GTID set.
  returned: success
  type: str
  sample: 3e11fa47-71ca-11e1-9e33-c80aa9429562:101
transactions:
  description: How many transactions these are.
  returned: success
  type: int
  sample: 1
archive:
  description: The directory where they are archived; empty when there were none.
  returned: success
  type: str
  sample: /var/lib/lossless-mysql-ha/archive/ledger-3e11fa47-0c6f7e1f5b0b7a11
why:
  description: The reasons against a better way, each with C(code), C(message), C(evidence) and C(next_step).
  returned: success
  type: list
  elements: dict
  sample: []
steps:
  description: What was, or in check mode would be, done, in sentences.
  returned: success
  type: list
  elements: str
  sample: ["archive 3e11fa47-71ca-11e1-9e33-c80aa9429562:101"]
code:
  description: On failure, a stable identifier of the first reason.
  returned: failure
  type: str
  sample: may_be_acknowledged
evidence:
  description: On failure, what it rests on; on a refusal C(reasons) holds all reasons.
  returned: failure
  type: dict
next_step:
  description: On failure, what to do now.
  returned: failure
  type: str
"""

import socket
import time

from ansible_collections.lossless.mysql_ha.plugins.module_utils import ansible as glue
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.procedure import WAYS, Rejoin, Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.remains import Place
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.rewind import Evidence
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin.verdict import Patience
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.procedure import Means
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.situation import Wish

SPEC = dict(
    glue.LOGIN_SPEC,
    **glue.MEMBERS_SPEC,
    **glue.REPLICATION_SPEC,
    **glue.CLONE_SPEC,
    name={"type": "str", "required": True},
    way={"type": "str", "choices": list(WAYS), "default": "auto"},
    given_up={"type": "str", "default": ""},
    datadir={"type": "path", "default": "/var/lib/mysql"},
    log_bin_index={"type": "path", "default": "/var/lib/mysql/binlog.index"},
    archive_directory={"type": "path", "default": "/var/lib/lossless-mysql-ha/archive"},
    patience={"type": "float", "default": 30.0},
    statement_timeout={"type": "float", "default": 15.0},
    receiver_timeout={"type": "float", "default": 60.0},
    stall_timeout={"type": "float", "default": 60.0},
    clone_timeout={"type": "float", "default": 86400.0},
    restart_timeout={"type": "float", "default": 300.0},
)


def work(params, check_mode, warn):
    """One run; see ``rejoin/procedure.py``."""
    members = glue.members(params)
    ca = params["replication_ca"] or ""
    rejoin = Rejoin(
        members,
        glue.login(params),
        Request(
            params["name"],
            Place(params["datadir"], params["log_bin_index"]),
            Evidence(params["cluster"], socket.gethostname(), params["archive_directory"]),
            params["way"],
            GtidSet.parse(params["given_up"]),
            Patience(params["patience"], 0.0),
        ),
        Wish(
            members,
            user_prefix=params["replication_user_prefix"],
            ca=ca,
            heartbeat_period=params["heartbeat_period"],
        ),
        Means(
            params["replication_password"] or "",
            glue.clone_login(params),
            statement=params["statement_timeout"],
            connect=params["receiver_timeout"],
            stall=params["stall_timeout"],
            clone_within=params["clone_timeout"],
            restart=params["restart_timeout"],
        ),
        check_only=check_mode,
        now=time.time(),
        connect_timeout=params["connect_timeout"],
    )
    result = rejoin.run()
    for warning in result.warnings:
        warn(warning)
    return glue.Outcome(result.changed, result.as_result())


def main():
    glue.run(SPEC, work)


if __name__ == "__main__":
    main()
