#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the lossless.mysql_ha authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_member
short_description: Take one member out of service and bring it back, re-point, start or stop its replication
version_added: 0.1.0
description:
  - >-
    Acts on one member of a cluster whose primary answers and is as the term row says. The other members, k and the
    primary are left as they are.
  - >-
    Keeps n a fact. A member leaves the term row only when it can not acknowledge any more and the acknowledgers that
    stay have received everything that the primary committed; it enters the row before it acknowledges.
  - >-
    Says what the cluster survives then, and what it can no longer bear.
  - >-
    Skips nothing. There is no state that skips a transaction or throws away what was received.
  - Runs once, on a control host, and speaks the MySQL protocol to the members; it needs no SSH to them.
  - A run that was killed is taken up by the next one. It excludes every other run on the same cluster meanwhile.
options:
  name:
    description:
      - The member, as it is called in O(members).
    type: str
    required: true
  state:
    description:
      - V(out_of_service) takes it out for maintenance. It no longer acknowledges and is no candidate; n is smaller by
        one. It need not answer. If it does, it follows on. A convergence, a failover and the manager leave it out
        until it is brought back. Refused when fewer acknowledgers than k would remain.
      - V(in_service) brings it back. It follows the primary, has caught up, is counted in the term row, and
        acknowledges, in this order. Refused when it has transactions of its own.
      - V(repointed) lets it follow the primary when it follows nobody or another server. Nothing that it received is
        thrown away. Refused when it has transactions of its own.
      - V(started) starts receiver and applier of a replica that follows the primary, and lets it acknowledge when the
        term row counts it.
      - V(stopped) stops both. Refused for an acknowledger when fewer than k others acknowledge, since writes would
        wait.
    type: str
    choices: [in_service, out_of_service, repointed, started, stopped]
    required: true
  reason:
    description:
      - Why it is taken out of service, for whoever reads the status. It stands in the term row until the member is
        brought back; what a member was taken out for first is not replaced.
      - Used with O(state=out_of_service) only.
    type: str
    default: maintenance
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
      - Seconds for a replica to connect to its source, and for a thread to stop.
    type: float
    default: 10.0
  stall_timeout:
    description:
      - Seconds without any progress after which a replica that should catch up counts as stuck. There is no limit on
        the time it takes while it makes progress.
    type: float
    default: 60.0
extends_documentation_fragment:
  - lossless.mysql_ha.attributes
  - lossless.mysql_ha.login
  - lossless.mysql_ha.members
  - lossless.mysql_ha.replication
notes:
  - "Grants: those of the account C(lossless_admin); see M(lossless.mysql_ha.mysql_account)."
  - In check mode it looks, decides, and returns the whole plan as it is expected to go.
  - A member that can not be brought back as it is (transactions of its own, binary logs that the primary no longer has)
    is for M(lossless.mysql_ha.mysql_replication), which can clone it.
seealso:
  - module: lossless.mysql_ha.mysql_replication
  - module: lossless.mysql_ha.mysql_failover
  - module: lossless.mysql_ha.mysql_topology_info
author:
  - lossless.mysql_ha maintainers (@lossless)
"""

EXAMPLES = r"""
- name: Take db3 out for a new disk
  lossless.mysql_ha.mysql_member:
    name: db3
    state: out_of_service
    reason: new disk
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_password: "{{ mysql_ha_admin_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
    replication_password: "{{ mysql_ha_replication_password }}"
  run_once: true

- name: Bring it back once it has caught up
  lossless.mysql_ha.mysql_member:
    name: db3
    state: in_service
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_password: "{{ mysql_ha_admin_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
    replication_password: "{{ mysql_ha_replication_password }}"
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
  sample: 4
n:
  description: How many servers may acknowledge.
  returned: success
  type: int
  sample: 1
k:
  description: How many acknowledgements the primary waits for.
  returned: success
  type: int
  sample: 1
out_of_service:
  description: The members that are out of service, and why.
  returned: success
  type: dict
  sample: {db3: new disk}
durability:
  description: What may be lost with the primary, and for host, zone and city whether its loss is survived without loss.
  returned: success
  type: dict
  sample:
    n: 1
    k: 1
    freeze_required: 1
    acknowledgement: disk
    levels: [{level: host, survived: true, lost_acknowledgers: [], k_required: 1, possible: true, may_be_lost: 0}]
survives:
  description: The same in sentences, and what the cluster can no longer bear.
  returned: success
  type: list
  elements: str
  sample: ["k=1 of n=1 acknowledgements, on disk", "loss of the primary's host: survived without loss"]
plan:
  description: What was, or in check mode would be, done, in sentences.
  returned: success
  type: list
  elements: str
  sample: ["lock lossless_repl_3 on db1, so that db3 cannot acknowledge"]
steps:
  description: The same for machines, with the seconds each took. On failure, the steps done are in C(evidence.steps).
  returned: success
  type: list
  elements: dict
  sample: [{step: StopAcknowledging, member: db3, sentence: "db3 stops acknowledging", seconds: 0.1}]
code:
  description: On failure, a stable identifier of the first reason.
  returned: failure
  type: str
  sample: too_few_acknowledgers
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
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication import member
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.converge import text
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.maintain import as_result, maintain
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.procedure import Means
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.situation import Wish

OPERATIONS = {
    "in_service": member.BRING_BACK,
    "out_of_service": member.TAKE_OUT,
    "repointed": member.REPOINT,
    "started": member.START,
    "stopped": member.STOP,
}

SPEC = dict(
    glue.LOGIN_SPEC,
    **glue.MEMBERS_SPEC,
    **glue.REPLICATION_SPEC,
    name={"type": "str", "required": True},
    state={
        "type": "str",
        "choices": ["in_service", "out_of_service", "repointed", "started", "stopped"],
        "required": True,
    },
    reason={"type": "str", "default": "maintenance"},
    connect_retry={"type": "int", "default": 1},
    statement_timeout={"type": "float", "default": 15.0},
    receiver_timeout={"type": "float", "default": 10.0},
    stall_timeout={"type": "float", "default": 60.0},
)


def work(params, check_mode, warn):
    """One operation on one member; see ``replication/member.py``."""
    members = glue.members(params)
    wish = Wish(
        members,
        user_prefix=params["replication_user_prefix"],
        ca=params["replication_ca"] or "",
        connect_retry=params["connect_retry"],
        heartbeat_period=params["heartbeat_period"],
    )
    report = maintain(
        members,
        glue.login(params),
        member.Request(OPERATIONS[params["state"]], params["name"], params["reason"]),
        wish,
        Means(
            params["replication_password"] or "",
            statement=params["statement_timeout"],
            connect=params["receiver_timeout"],
            stall=params["stall_timeout"],
        ),
        cluster=params["cluster"],
        connect_timeout=params["connect_timeout"],
        check_only=check_mode,
    )
    for warning in report.warnings:
        warn(warning)
    return glue.Outcome(
        report.changed,
        as_result(report),
        before=text(report.before, wish),
        after=text(report.after, wish),
    )


def main():
    glue.run(SPEC, work)


if __name__ == "__main__":
    main()
