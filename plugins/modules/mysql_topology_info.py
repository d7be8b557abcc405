#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the lossless.mysql_ha authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_topology_info
short_description: What a MySQL cluster is now, and what it would survive
version_added: 0.1.0
description:
  - Asks all members at once, under one deadline, and judges what they say.
  - >-
    Returns who is primary, the term in force, receivers and appliers, GTID sets received and executed, true lag,
    semi-sync on both sides, errant transactions, drift from what every server should carry, a verdict for the whole
    and for each server, and the durability statement: what may be lost with the primary and still be proven, per
    disaster level.
  - Reads only. A member that does not answer is part of the answer, not an error.
options:
  acknowledgement:
    description:
      - What the cluster is meant to promise while no term row says it; V(disk) expects C(sync_relay_log=1).
    type: str
    choices: [disk, memory]
    default: disk
  deadline:
    description:
      - Seconds after which a member counts as silent.
    type: float
    default: 2.0
extends_documentation_fragment:
  - lossless.mysql_ha.attributes.info_module
  - lossless.mysql_ha.attributes
  - lossless.mysql_ha.login
  - lossless.mysql_ha.members
notes:
  - "Grants: C(PROCESS), C(REPLICATION CLIENT), C(SERVICE_CONNECTION_ADMIN) on C(*.*), C(SELECT) on
    C(performance_schema.*) and C(lossless_ha.*): the account C(lossless_monitor)."
seealso:
  - module: lossless.mysql_ha.mysql_failover
  - module: lossless.mysql_ha.mysql_replication
author:
  - lossless.mysql_ha maintainers (@lossless)
"""

EXAMPLES = r"""
- name: See what the cluster is
  lossless.mysql_ha.mysql_topology_info:
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_user: lossless_monitor
    login_password: "{{ mysql_ha_monitor_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
  register: topology
  run_once: true

- name: Say it in a few lines
  ansible.builtin.debug:
    var: topology.summary

- name: Stop a change when the loss of a zone would lose data
  ansible.builtin.assert:
    that: (topology.durability.levels | selectattr('level', 'equalto', 'zone') | first).survived
"""

RETURN = r"""
verdict:
  description:
    - The whole in one word, V(lossless), V(lossless_at_risk), V(lossless_uncertain), V(asynchronous), V(blocked),
      V(primary_dead), V(primary_dead_uncertain), V(primary_unreachable_from_here), V(no_writes),
      V(several_writable), V(no_primary), V(fresh) or V(no_answer).
  returned: always
  type: str
  sample: lossless
reasons:
  description: Why it is not V(lossless), for a person.
  returned: always
  type: list
  elements: str
primary:
  description: The name of the primary of record, also when it is dead.
  returned: always
  type: str
  sample: db1
primary_uuid:
  description: The server UUID of the primary of record.
  returned: always
  type: str
term:
  description: The term row in force, with its members, C(k) and C(n).
  returned: always
  type: dict
durability:
  description: What the loss of the primary's host, zone and city means with this n and k.
  returned: when a term is in force
  type: dict
  sample:
    n: 2
    k: 1
    freeze_required: 2
    levels:
      - level: host
        lost_acknowledgers: []
        survived: true
servers:
  description:
    - Each member by name, with its verdict, reasons, GTID sets, receiver, applier, semi-sync, lag and drift.
    - C(lag_s) is null where it is not known, as when no keeper writes heartbeats.
    - A member that did not answer has C(kind), C(error), C(errno) and C(next_step) instead.
  returned: always
  type: dict
errant:
  description: GTID sets that only one server has, by the server's name.
  returned: always
  type: dict
summary:
  description: The same in a few lines.
  returned: always
  type: list
  elements: str
observed_at:
  description: When the members were asked, in seconds since the epoch.
  returned: always
  type: float
elapsed_ms:
  description: How long all answers together took.
  returned: always
  type: float
slowest_ms:
  description: How long the slowest single answer took.
  returned: always
  type: float
"""

from ansible_collections.lossless.mysql_ha.plugins.module_utils import ansible as glue
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.diagnose import diagnose
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.observe import Members
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.render import as_result

SPEC = dict(
    glue.LOGIN_SPEC,
    **glue.MEMBERS_SPEC,
    acknowledgement={"type": "str", "choices": ["disk", "memory"], "default": "disk"},
    deadline={"type": "float", "default": 2.0},
)


def look(params, check_mode, warn):
    """Observe, judge, and say it; the same in check mode."""
    pool = Members(glue.members(params), glue.login(params), connect_within=params["connect_timeout"])
    try:
        observation = pool.observe(within=params["deadline"])
    finally:
        pool.close()
    diagnosis = diagnose(observation, acknowledgement=params["acknowledgement"])
    return glue.Outcome(False, as_result(observation, diagnosis))


def main():
    glue.run(SPEC, look)


if __name__ == "__main__":
    main()
