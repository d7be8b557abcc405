#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the lossless.mysql_ha authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_clone
short_description: Make a server a verified copy of another one, by the clone plugin
version_added: 0.2.0
description:
  - >-
    With O(recipient), replaces the data of that member by a copy of a donor's, over the network, waits for its restart,
    and verifies what it then holds. With O(directory), copies a server into a directory on its own host and leaves a
    record of the position beside it.
  - >-
    Idempotent. A recipient that was cloned from that donor, follows the primary, or holds everything that the donor
    holds is left as it is; so is a directory that is a whole clone of that donor.
  - >-
    Looks at everything first and names all that speaks against it at once: releases, plugins, character sets, page
    size, disk space, tables that are not InnoDB, C(max_allowed_packet), running DDL, the clone account, TLS, and
    whether the recipient's data may go.
  - >-
    Refuses a recipient that is the primary, takes writes, is registered as an acknowledger, acknowledges, is somebody's
    source, or holds data and is not named in O(expendable).
  - >-
    Shows how far it is while it runs, as lines on the screen of C(ansible-playbook) and in the output of an AWX job.
  - >-
    A clone that broke is never reported as done. What it did not bring counts as not there, whatever C(gtid_executed)
    says. When the connection to the recipient is lost, the copy goes on in the servers and is followed again; a run
    that was killed is taken up by the next one.
  - >-
    The cluster's lock is held while it begins and while the server is attached, not while it copies: a failover remains
    possible meanwhile.
options:
  state:
    description:
      - There is one state.
    type: str
    choices: [cloned]
    default: cloned
  recipient:
    description:
      - The member whose data are replaced. The module runs on a control host, and needs no SSH to the servers.
      - Exactly one of O(recipient) and O(directory) is needed.
    type: str
  directory:
    description:
      - The directory to be made on the host of O(donor). The module has to run on that host, as root.
      - It must not be there, and its parent directory must; MySQL's user has to be able to write there.
    type: path
  donor:
    description:
      - The member that is copied. Needed with O(directory).
      - By default it is chosen. A replica that does not acknowledge comes first, then an acknowledger while more than
        C(k) acknowledge, the primary last.
    type: str
  expendable:
    description:
      - Names of members whose data may be thrown away. The recipient has to be among them unless it is empty.
      - Never implied. A named server that needs no clone is left as it is.
    type: list
    elements: str
    default: []
  replicate:
    description:
      - Let the recipient follow the primary afterwards. It does not acknowledge and is no candidate until
        M(lossless.mysql_ha.mysql_replication) registers it, or M(lossless.mysql_ha.mysql_member) brings it back.
    type: bool
    default: false
  data_bandwidth:
    description:
      - MiB a second that are copied at most; V(0) for no limit. By default as the server has it.
      - The limits are for this clone only.
    type: int
  network_bandwidth:
    description:
      - MiB a second over the network at most; V(0) for no limit. By default as the server has it.
    type: int
  threads:
    description:
      - How many threads copy at most. By default as the server has it.
    type: int
  free_bytes:
    description:
      - The bytes that are free where the recipient's data directory lies, as its host says (see the playbook
        C(add_replica)). The module itself sees them only on that host; a warning says so when they were not checked.
    type: int
  progress_every:
    description:
      - Seconds between two lines that say how far it is; V(0) for none.
    type: float
    default: 5.0
  connect_retry:
    description:
      - Seconds after which the replica tries again to reach its source.
    type: int
    default: 1
  statement_timeout:
    description:
      - Seconds for one statement, or for looking at one server.
    type: float
    default: 15.0
  receiver_timeout:
    description:
      - Seconds for the recipient to connect to its source.
    type: float
    default: 10.0
  stall_timeout:
    description:
      - Seconds without any progress after which applying what was received counts as stuck.
    type: float
    default: 60.0
  clone_timeout:
    description:
      - Seconds for the copy. After that the module fails, and the copy goes on; run again to wait for it.
    type: float
    default: 86400.0
  restart_timeout:
    description:
      - Seconds for the recipient to come back, after its restart or when it gives no answer. Where nothing supervises
        its mysqld, that is the time to start it by hand.
    type: float
    default: 300.0
  pause_after:
    description:
      - Seconds after which the module returns while the copy goes on; V(0) for not before its end.
      - It is between the action plugin and the module, and is set by the plugin.
    type: float
    default: 0.0
  under_way:
    description:
      - What the module returned when it paused, to go on from there. Likewise set by the plugin.
    type: dict
extends_documentation_fragment:
  - lossless.mysql_ha.attributes
  - lossless.mysql_ha.login
  - lossless.mysql_ha.members
  - lossless.mysql_ha.replication
  - lossless.mysql_ha.clone
notes:
  - "Grants: those of the account C(lossless_admin); see M(lossless.mysql_ha.mysql_account)."
  - >-
    In check mode it looks, names everything that speaks against it, and returns the plan with the donor that it would
    take.
  - >-
    The lines come from an action plugin of the same name, which lets the module return while the copy goes on and calls
    it again. With C(async) the module waits by itself, and there are none.
  - >-
    The exact position of a copy in a directory is known once a server was started on it: the record says which
    transactions it holds at least, and at most.
seealso:
  - module: lossless.mysql_ha.mysql_replication
  - module: lossless.mysql_ha.mysql_member
  - module: lossless.mysql_ha.mysql_binlog_archive
author:
  - lossless.mysql_ha maintainers (@lossless)
"""

EXAMPLES = r"""
- name: Make the new server db4 a copy of the best donor, and let it follow
  lossless.mysql_ha.mysql_clone:
    recipient: db4
    replicate: true
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_password: "{{ mysql_ha_admin_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
    clone_password: "{{ mysql_ha_clone_password }}"
    replication_password: "{{ mysql_ha_replication_password }}"
  run_once: true

- name: The same for a server whose data were archived and may go, gently
  lossless.mysql_ha.mysql_clone:
    recipient: db1
    expendable: [db1]
    donor: db3
    data_bandwidth: 100
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_password: "{{ mysql_ha_admin_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
    clone_password: "{{ mysql_ha_clone_password }}"
  run_once: true

- name: A copy of db3 on its own host
  lossless.mysql_ha.mysql_clone:
    donor: db3
    directory: /srv/copies/2026-11-27
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_password: "{{ mysql_ha_admin_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
  delegate_to: db3
  become: true
"""

RETURN = r"""
donor:
  description: The donor; empty when the recipient needed no clone.
  returned: success
  type: str
  sample: db3
why:
  description: With O(recipient), why no clone was needed; empty when one was.
  returned: success
  type: str
  sample: db4 follows db1 and lacks nothing that db1 can not send
finished:
  description: Always true with the action plugin, which does not return before.
  returned: success
  type: bool
plan:
  description: What was, or in check mode would be, done, in sentences.
  returned: success
  type: list
  elements: str
  sample: ["clone db4 from db3, 4.8 GiB", "db4 follows db1 as lossless_repl_4: it has no source"]
passed_over:
  description: With O(recipient), better donors that could not be used, and why.
  returned: success
  type: dict
  sample: {db2: "only db2 has 3e11fa47-71ca-11e1-9e33-c80aa9429562:101: a copy of it would have it, too"}
position:
  description: With O(recipient), where the copy ends in the donor's binary log, and how much was copied.
  returned: success
  type: dict
  sample:
    gtid_executed: 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-4711
    binlog_file: binlog.000007
    binlog_position: 1183
    bytes: 5153960755
    network_bytes: 5161201664
following:
  description: With O(recipient), whether it has a source now.
  returned: success
  type: bool
record:
  description: With O(directory), what stands in the record beside it (C(<directory>.clone.json)).
  returned: success
  type: dict
  sample:
    format: 1
    state: complete
    donor: db3
    donor_uuid: 3e11fa47-71ca-11e1-9e33-c80aa9429562
    gtid_at_least: 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-4700
    gtid_at_most: 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-4711
    files: 214
    bytes: 5153960755
progress:
  description: What the server says of the clone, and the last line that was shown.
  returned: success
  type: dict
  sample: {state: Completed, stage: RECOVERY, source: "192.0.2.13:3306", bytes: 5153960755, line: ""}
code:
  description: On failure, a stable identifier of the first reason.
  returned: failure
  type: str
  sample: recipient_has_data
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
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone import directory as clone_directory
from ansible_collections.lossless.mysql_ha.plugins.module_utils.clone.copy import Begun, Throttle
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication import seed
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.procedure import Means
from ansible_collections.lossless.mysql_ha.plugins.module_utils.replication.situation import Wish
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Session

SPEC = dict(
    glue.LOGIN_SPEC,
    **glue.MEMBERS_SPEC,
    **glue.REPLICATION_SPEC,
    **glue.CLONE_SPEC,
    state={"type": "str", "choices": ["cloned"], "default": "cloned"},
    recipient={"type": "str"},
    directory={"type": "path"},
    donor={"type": "str"},
    expendable={"type": "list", "elements": "str", "default": []},
    replicate={"type": "bool", "default": False},
    data_bandwidth={"type": "int"},
    network_bandwidth={"type": "int"},
    threads={"type": "int"},
    free_bytes={"type": "int"},
    progress_every={"type": "float", "default": 5.0},
    connect_retry={"type": "int", "default": 1},
    statement_timeout={"type": "float", "default": 15.0},
    receiver_timeout={"type": "float", "default": 10.0},
    stall_timeout={"type": "float", "default": 60.0},
    clone_timeout={"type": "float", "default": 86400.0},
    restart_timeout={"type": "float", "default": 300.0},
    pause_after={"type": "float", "default": 0.0},
    under_way={"type": "dict"},
)


def work(params, check_mode, warn):
    """One clone; see ``replication/seed.py`` and ``clone/directory.py``."""
    begun = Begun.of(params["under_way"]) if params["under_way"] else None
    throttle = Throttle(params["data_bandwidth"], params["network_bandwidth"], params["threads"])
    if params["directory"]:
        return _into_directory(params, throttle, begun, check_mode)
    members = glue.members(params)
    means = Means(
        params["replication_password"] or "",
        glue.clone_login(params),
        statement=params["statement_timeout"],
        connect=params["receiver_timeout"],
        stall=params["stall_timeout"],
        clone_within=params["clone_timeout"],
        restart=params["restart_timeout"],
    )
    report = seed.seed(
        members,
        glue.login(params),
        seed.Request(
            params["recipient"],
            params["donor"] or "",
            expendable=params["recipient"] in params["expendable"],
            replicate=params["replicate"],
            throttle=throttle,
            free=params["free_bytes"],
            pause_after=params["pause_after"],
            under_way=begun,
        ),
        Wish(
            members,
            user_prefix=params["replication_user_prefix"],
            ca=params["replication_ca"] or "",
            connect_retry=params["connect_retry"],
            heartbeat_period=params["heartbeat_period"],
        ),
        means,
        cluster=params["cluster"],
        connect_timeout=params["connect_timeout"],
        check_only=check_mode,
    )
    for warning in report.warnings:
        warn(warning)
    return glue.Outcome(report.changed, report.as_result(), before=report.before, after=report.after)


def _into_directory(params, throttle, begun, check_mode):
    member = glue.member(params, params["donor"])
    login = glue.login(params)

    def connect():
        return Session.connect(member.name, member.host, member.port, login, within=params["connect_timeout"])

    report = clone_directory.clone_into(
        connect,
        clone_directory.Request(
            params["directory"],
            params["clone_user"],
            throttle,
            within=params["statement_timeout"],
            clone_within=params["clone_timeout"],
            pause_after=params["pause_after"],
            under_way=begun,
        ),
        check_only=check_mode,
    )
    return glue.Outcome(report.changed, report.as_result(), before=report.before, after=report.after)


def main():
    glue.run(
        SPEC,
        work,
        mutually_exclusive=[["recipient", "directory"]],
        required_one_of=[["recipient", "directory"]],
        required_by={"directory": ["donor"]},
    )


if __name__ == "__main__":
    main()
