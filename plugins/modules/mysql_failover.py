#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the lossless.mysql_ha authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_failover
short_description: Make another server primary, and prove that nothing acknowledged was lost
version_added: 0.1.0
description:
  - >-
    V(planned): blocks writes on the healthy primary within a budget, waits until the target has everything, promotes
    it, and lets the old primary follow, all in one run. When it can not finish within its budget, writes go on where
    they were.
  - >-
    V(emergency): for a primary that is dead or cut off. Freezes enough of the registered acknowledgers that the old
    primary can acknowledge nothing more and that nothing acknowledged can be missing, elects the server that received
    most, waits until it has applied it, proves that, and promotes it.
  - When the proof is incomplete nothing is promoted, and all reasons are given. A person may override that by name.
  - Runs once, on a control host, and speaks the MySQL protocol to the members; it needs no SSH to them.
  - >-
    Every step is journalled before it is done. A run that was killed is taken up by the next one. Two runs at once
    never both act.
options:
  primary:
    description:
      - The server to be primary, by its name among O(members); V(auto) elects one.
    type: str
    default: auto
  mode:
    description:
      - V(planned) for a healthy primary, V(emergency) for a dead or isolated one. Each refuses the other's case.
    type: str
    required: true
    choices: [planned, emergency]
  accept_data_loss:
    description:
      - The name of the person who takes an unproven promotion upon themselves. It is written into the result, the
        journal and the term row, which then say V(unproven).
    type: str
    default: ''
  lower_k:
    description:
      - What to do when the new primary has fewer acknowledgers left than it has to wait for. V(never) refuses;
        V(to_remaining) waits for those that are left, and says so.
    type: str
    choices: [never, to_remaining]
    default: never
  block_budget:
    description:
      - Seconds for which a planned switchover may block writes before it gives up.
    type: float
    default: 2.0
  stall_timeout:
    description:
      - Seconds without any progress after which the applier of the elected server counts as stuck. There is no limit
        on the time it takes while it makes progress.
    type: float
    default: 10.0
  deadline:
    description:
      - Seconds for one step on one server.
    type: float
    default: 1.5
  lock_wait:
    description:
      - Seconds to wait for another run to end.
    type: float
    default: 0.0
  acknowledgement:
    description:
      - What the cluster is meant to promise while no term row says it.
    type: str
    choices: [disk, memory]
    default: disk
  journal_directory:
    description:
      - Where this host keeps its journals, one directory a cluster. It must survive a restart of the host.
      - On a host with a manager it is the manager's as well, so that each takes up what the other left. The role
        C(manager) shares it with the group C(lossless-mysql-ha); run the module as root or as a member of that group.
    type: path
    default: /var/lib/lossless-mysql-ha/journal
extends_documentation_fragment:
  - lossless.mysql_ha.attributes
  - lossless.mysql_ha.login
  - lossless.mysql_ha.members
  - lossless.mysql_ha.replication
notes:
  - "Grants: those of the account C(lossless_admin); see M(lossless.mysql_ha.mysql_account)."
  - In check mode it observes, decides as far as that is possible without freezing anything, and returns the plan.
seealso:
  - module: lossless.mysql_ha.mysql_topology_info
  - module: lossless.mysql_ha.mysql_replication
  - module: lossless.mysql_ha.mysql_vip
author:
  - lossless.mysql_ha maintainers (@lossless)
"""

EXAMPLES = r"""
- name: Switch over to db2
  lossless.mysql_ha.mysql_failover:
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_password: "{{ mysql_ha_admin_password }}"
    replication_password: "{{ mysql_ha_replication_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
    mode: planned
    primary: db2
  run_once: true

- name: The primary is dead
  lossless.mysql_ha.mysql_failover:
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_password: "{{ mysql_ha_admin_password }}"
    replication_password: "{{ mysql_ha_replication_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
    mode: emergency
  run_once: true
  register: failover
"""

RETURN = r"""
old_primary:
  description: The primary before.
  returned: when something was, or would be, done
  type: str
  sample: db1
new_primary:
  description: The primary now.
  returned: success
  type: str
  sample: db2
zero_loss:
  description: V(proven), or V(unproven) when a person accepted that.
  returned: success
  type: str
  sample: proven
proof:
  description: n, k, the servers frozen, how many were required, the testimony of the old primary, the facts with the
    server, the value and the time of each, and what is missing.
  returned: success
  type: dict
term:
  description: The number of the new term.
  returned: success
  type: int
n:
  description: How many servers may acknowledge in the new term.
  returned: success
  type: int
k:
  description: How many acknowledgements the new primary waits for.
  returned: success
  type: int
plan:
  description: What was, or in check mode would be, done.
  returned: always
  type: list
  elements: str
phases:
  description: What was done when, in milliseconds since the procedure began.
  returned: always
  type: list
  elements: dict
  sample: [{name: freeze, start_ms: 31.0, duration_ms: 12.4}]
promoted_at:
  description: When the term row was acknowledged, in seconds since the epoch.
  returned: success
  type: float
errant:
  description: GTID sets that only one server has, by its name.
  returned: success
  type: dict
notes:
  description: What else a person should know.
  returned: success
  type: list
  elements: str
ended_elsewhere:
  description:
    - The run that had promoted somebody after an interrupted run of this host had begun, so that nothing was left to do
      for an emergency failover to anybody; empty otherwise.
  returned: success
  type: str
run_id:
  description: The run, as in the journal and the term row.
  returned: success
  type: str
journal:
  description: The journal of this run, on the host that ran it.
  returned: success
  type: str
code:
  description: On failure, a stable identifier of the first reason.
  returned: failure
  type: str
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
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.hands import ReplicationLogin
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.plan import Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.run import fail_over

REQUEST_OPTIONS = (
    "mode",
    "primary",
    "accept_data_loss",
    "lower_k",
    "block_budget",
    "stall_timeout",
    "deadline",
    "lock_wait",
)

SPEC = dict(
    glue.LOGIN_SPEC,
    **glue.MEMBERS_SPEC,
    **glue.REPLICATION_SPEC,
    primary={"type": "str", "default": "auto"},
    mode={"type": "str", "required": True, "choices": ["planned", "emergency"]},
    accept_data_loss={"type": "str", "default": ""},
    lower_k={"type": "str", "choices": ["never", "to_remaining"], "default": "never"},
    block_budget={"type": "float", "default": 2.0},
    stall_timeout={"type": "float", "default": 10.0},
    deadline={"type": "float", "default": 1.5},
    lock_wait={"type": "float", "default": 0.0},
    acknowledgement={"type": "str", "choices": ["disk", "memory"], "default": "disk"},
    journal_directory={"type": "path", "default": "/var/lib/lossless-mysql-ha/journal"},
)


def work(params, check_mode, warn):
    """One failover; see ``failover/run.py``."""
    report = fail_over(
        glue.members(params),
        glue.login(params),
        ReplicationLogin(
            params["replication_user_prefix"],
            params["replication_password"] or "",
            params["replication_ca"],
            heartbeat_period=params["heartbeat_period"],
        ),
        Request(**{option: params[option] for option in REQUEST_OPTIONS}),
        cluster=params["cluster"],
        journal_directory=params["journal_directory"],
        acknowledgement=params["acknowledgement"],
        check_only=check_mode,
    )
    return glue.Outcome(
        report.changed,
        report.as_result(),
        before=glue.topology_text(report.topology_before),
        after=glue.topology_text(report.topology_after or report.topology_before),
    )


def main():
    glue.run(SPEC, work)


if __name__ == "__main__":
    main()
