#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the lossless.mysql_ha authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_replication
short_description: Make the members one primary with replicas that acknowledge every commit
version_added: 0.1.0
description:
  - >-
    Finds out who is primary by looking at the servers, seeds empty ones by CLONE, lets the replicas follow by GTID
    auto-position, registers who may acknowledge in the term row, and switches each side of semi-synchronous
    replication on exactly where it belongs.
  - >-
    Converges from nothing, from a running asynchronous pair, from drift and from replicas that stopped; grows and
    shrinks the cluster, and changes how many acknowledgements are waited for. Writes go on meanwhile.
  - >-
    Says which disasters are survived without loss, and refuses when one that was asked for is not.
  - >-
    Throws no relay log away that was not applied, and no data but those of servers named in O(expendable).
  - >-
    Does not handle emergencies: when the primary of record does not answer, or several servers take writes, it refuses.
    See M(lossless.mysql_ha.mysql_failover).
  - Runs once, on a control host, and speaks the MySQL protocol to the members; it needs no SSH to them.
  - A run that was killed is taken up by the next one. Two runs at once exclude each other.
options:
  primary:
    description:
      - The server to be primary when nothing names one, that is, when all are new. By default the one with the highest
        priority, then the first.
      - It never moves a primary; M(lossless.mysql_ha.mysql_failover) does.
    type: str
    default: ''
  acknowledgements:
    description:
      - How many replicas must have a commit before it is acknowledged (k).
      - The loss of the primary together with C(k - 1) acknowledgers is survived without losing anything acknowledged.
    type: int
    default: 1
  acknowledgement:
    description:
      - What an acknowledgement means. V(disk) survives the power loss of the replica too (C(sync_relay_log=1), which
        the server role sets); V(memory) is faster.
    type: str
    choices: [disk, memory]
    default: disk
  survive:
    description:
      - What must be survivable without loss. The loss of the primary's host, zone or city is survived when
        O(acknowledgements) exceeds the number of acknowledgers inside it. Refused otherwise.
    type: list
    elements: str
    choices: [host, zone, city]
    default: [host]
  expendable:
    description:
      - Names of members whose data may be wiped and replaced by a clone if they can not follow as they are.
      - For a deposed server with transactions of its own, once those were archived. Never implied; a named server that
        can follow as it is, is left as it is.
    type: list
    elements: str
    default: []
  connect_retry:
    description:
      - Seconds after which a replica tries again to reach its source.
    type: int
    default: 1
  statement_timeout:
    description:
      - Seconds for one statement, or for looking at one server.
    type: float
    default: 15.0
  receiver_timeout:
    description:
      - Seconds for a replica to connect to its source.
    type: float
    default: 10.0
  stall_timeout:
    description:
      - Seconds without any progress after which a replica that should catch up counts as stuck. There is no limit on
        the time it takes while it makes progress.
    type: float
    default: 60.0
  clone_timeout:
    description:
      - Seconds for copying one server.
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
  - In check mode it looks, decides, and returns the whole plan as it is expected to go.
  - With C(k = n) no acknowledger can be replaced while it is away, because no change could be acknowledged by k.
seealso:
  - module: lossless.mysql_ha.mysql_failover
  - module: lossless.mysql_ha.mysql_topology_info
  - module: lossless.mysql_ha.mysql_account
author:
  - lossless.mysql_ha maintainers (@lossless)
"""

EXAMPLES = r"""
- name: One primary, replicas that acknowledge, the loss of a zone survived
  lossless.mysql_ha.mysql_replication:
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_password: "{{ mysql_ha_admin_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
    replication_password: "{{ mysql_ha_replication_password }}"
    clone_password: "{{ mysql_ha_clone_password }}"
    acknowledgements: 1
    survive: [host, zone]
  run_once: true

- name: The deposed db1 had transactions of its own; they were archived, its data may go
  lossless.mysql_ha.mysql_replication:
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_password: "{{ mysql_ha_admin_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
    replication_password: "{{ mysql_ha_replication_password }}"
    clone_password: "{{ mysql_ha_clone_password }}"
    expendable: [db1]
  run_once: true
"""

RETURN = r"""
primary:
  description: The primary.
  returned: success
  type: str
  sample: db1
primary_uuid:
  description: Its server_uuid, as the term row has it.
  returned: success
  type: str
term:
  description: The number of the term in force.
  returned: success
  type: int
  sample: 1
revision:
  description: The revision of the term row in force.
  returned: success
  type: int
  sample: 3
n:
  description: How many servers may acknowledge.
  returned: success
  type: int
  sample: 2
k:
  description: How many acknowledgements the primary waits for.
  returned: success
  type: int
  sample: 1
durability:
  description: What may be lost with the primary, and for host, zone and city whether its loss is survived without loss.
  returned: success
  type: dict
  sample:
    n: 2
    k: 1
    freeze_required: 2
    acknowledgement: disk
    levels: [{level: host, survived: true, lost_acknowledgers: [], k_required: 1, possible: true, may_be_lost: 0}]
plan:
  description: What was, or in check mode would be, done, in sentences.
  returned: success
  type: list
  elements: str
  sample: [db2 acknowledges]
steps:
  description: The same for machines, with the seconds each took. On failure, the steps done are in C(evidence.steps).
  returned: success
  type: list
  elements: dict
  sample: [{step: Acknowledge, member: db2, sentence: db2 acknowledges, seconds: 0.1}]
code:
  description: On failure, a stable identifier of the first reason.
  returned: failure
  type: str
  sample: tables_without_primary_key
evidence:
  description: On failure, what it rests on; on a refusal C(reasons) holds all reasons.
  returned: failure
  type: dict
next_step:
  description: On failure, what to do now.
  returned: failure
  type: str
"""

from ansible_collections.lossless.mysql_ha.plugins.module_utils import ansible as glue
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.converge import converge, text
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.procedure import Means
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.situation import Wish

SPEC = dict(
    glue.LOGIN_SPEC,
    **glue.MEMBERS_SPEC,
    **glue.REPLICATION_SPEC,
    **glue.CLONE_SPEC,
    primary={"type": "str", "default": ""},
    acknowledgements={"type": "int", "default": 1},
    acknowledgement={"type": "str", "choices": ["disk", "memory"], "default": "disk"},
    survive={"type": "list", "elements": "str", "choices": ["host", "zone", "city"], "default": ["host"]},
    expendable={"type": "list", "elements": "str", "default": []},
    connect_retry={"type": "int", "default": 1},
    statement_timeout={"type": "float", "default": 15.0},
    receiver_timeout={"type": "float", "default": 10.0},
    stall_timeout={"type": "float", "default": 60.0},
    clone_timeout={"type": "float", "default": 86400.0},
    restart_timeout={"type": "float", "default": 300.0},
)


def work(params, check_mode, warn):
    """One convergence; see ``replication/converge.py``."""
    members = glue.members(params)
    wish = Wish(
        members,
        k=params["acknowledgements"],
        acknowledgement=params["acknowledgement"],
        survive=tuple(params["survive"]),
        primary=params["primary"],
        expendable=frozenset(params["expendable"]),
        user_prefix=params["replication_user_prefix"],
        ca=params["replication_ca"] or "",
        connect_retry=params["connect_retry"],
        heartbeat_period=params["heartbeat_period"],
    )
    means = Means(
        params["replication_password"] or "",
        glue.clone_login(params),
        statement=params["statement_timeout"],
        connect=params["receiver_timeout"],
        stall=params["stall_timeout"],
        clone_within=params["clone_timeout"],
        restart=params["restart_timeout"],
    )
    report = converge(
        members,
        glue.login(params),
        wish,
        means,
        cluster=params["cluster"],
        connect_timeout=params["connect_timeout"],
        check_only=check_mode,
    )
    for warning in report.warnings:
        warn(warning)
    return glue.Outcome(
        report.changed,
        report.as_result(),
        before=text(report.before, wish),
        after=text(report.after, wish),
    )


def main():
    glue.run(SPEC, work)


if __name__ == "__main__":
    main()
