#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the lossless.mysql_ha authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_consistency
short_description: Compare the data of a primary and its replicas, row by row, without trusting replication
version_added: 0.1.0
description:
  - >-
    Reads the same rows on the primary and on each replica and compares them, whatever replication says. Nothing is
    written on any server, and nothing is repaired; it names every row that differs, and proposes what a person may do.
  - >-
    It never takes a row in flight for a difference. In each round the primary is read first, then the replica executes
    all that the primary had executed, then it is read. A difference counts when it was seen in several rounds in a row
    with the primary's row unchanged; a row that is written too often for that is compared under a short shared lock.
  - >-
    V(recent_time) in O(modes) compares the rows that carry a recent date, in a window that no long transaction escapes;
    it does not see deletes. V(recent_binlog) compares the rows that the binary log touched, read from its files without
    a query; what the log does not tell exactly is compared as a whole.
  - >-
    V(whole) compares whole tables by digests that the servers compute, range by range of a key, down to the rows. Two
    rows have the same digest only if all columns are the same, whatever they hold. V(snapshot) does that for one
    replica after the other in two snapshots at one GTID, for which its applier stands still for a moment, so that
    nothing is in flight. V(business) runs statements that the application's people wrote, on both sides.
  - >-
    Only V(pass) in RV(verdict) is a pass. A table that could not be compared is never one.
options:
  primary:
    description:
      - The member to compare with. Without it, the one that the cluster's term row names, else the only one that takes
        writes.
    type: str
    default: ""
  replicas:
    description:
      - The members to compare, by name. Without it, all others.
    type: list
    elements: str
    default: []
  modes:
    description:
      - What is compared.
    type: list
    elements: str
    choices: [recent_time, recent_binlog, whole, snapshot, business]
    default: [whole]
  admin_user:
    description:
      - For V(snapshot) in O(modes), an account that may hold the primary's commits for an instant, and stop a replica's
        applier for a moment.
    type: str
    default: lossless_admin
  admin_password:
    description:
      - Its password.
    type: str
  time_column:
    description:
      - For V(recent_time) in O(modes), the column that tells when a row was changed. Without it, it is detected, by
        C(ON UPDATE CURRENT_TIMESTAMP) or by its name (C(last_modify_date), C(updated_at) and the like).
    type: str
    default: ""
  time_zone:
    description:
      - The time zone of such a column of type DATETIME, V(+02:00) or a name that the server knows. Without it, the
        primary's own.
    type: str
    default: ""
  look_back:
    description:
      - For V(recent_time), seconds that a run looks back at most; 60 at least.
    type: float
    default: 86400.0
  first_window:
    description:
      - For V(recent_time) and V(recent_binlog), seconds that a first run looks back; 60 at least.
    type: float
    default: 3600.0
  binlog_index:
    description:
      - For V(recent_binlog), the index file of the primary's binary log (or of files that were copied from it), on the
        host that runs the module.
    type: path
    default: ""
  assertions:
    description:
      - >-
        For V(business) in O(modes): what the application's people know to be true of their data, each with C(name),
        C(sql) (one statement that reads; or C(sql_primary) and C(sql_replica)), C(expect) (V(equal) on both sides,
        V(zero_rows) on each, V(tolerance)), and if wanted C(tolerance), C(severity) (V(critical), V(warning), V(info)),
        C(timeout) in seconds, C(max_rows). Only critical ones count for RV(verdict).
    type: list
    elements: dict
    default: []
  include:
    description:
      - Patterns of tables, V(schema.table) with V(*) and V(?); a schema's name alone stands for all its tables. Without
        it, every table but those of the schemas that belong to one server (C(mysql), C(sys) and the like).
    type: list
    elements: str
    default: []
  exclude:
    description:
      - Patterns of tables that are left out.
    type: list
    elements: str
    default: []
  reveal:
    description:
      - Show the values of rows that differ. Without it, only their keys and the names of the columns that differ.
    type: bool
    default: false
  fail_on_difference:
    description:
      - Fail unless the verdict is V(pass).
    type: bool
    default: true
  state_directory:
    description:
      - A directory on the host that runs the module. A run that was cut off goes on from what is kept there.
      - One run of a cluster at a time; another one that names it meanwhile is refused.
    type: path
    default: ""
  report_directory:
    description:
      - A directory on the host that runs the module, for a report as JSON and as a page. The newest ones are
        C(CLUSTER-consistency.json) and C(.html); those of the last 50 runs stay, by when they began. Mode 0640.
    type: path
    default: ""
  statement_timeout:
    description:
      - Seconds for one statement.
    type: float
    default: 30.0
  catch_up_timeout:
    description:
      - Seconds for a replica to be where the primary was, each time.
    type: float
    default: 60.0
  within:
    description:
      - Seconds for the whole run; 0 for no limit. A run that ends for that says what it has covered.
    type: float
    default: 0.0
  lock_timeout:
    description:
      - Seconds for which a row that is written all the time may be locked (shared) on the primary; 0 for never.
    type: float
    default: 2.0
  max_threads_running:
    description:
      - Wait before each range as long as more threads than that are at work on a server; 0 for no bound.
    type: int
    default: 0
  max_latency:
    description:
      - Wait before each range as long as a server takes longer than so many seconds to answer; 0 for no bound.
    type: float
    default: 0.0
  max_differences:
    description:
      - A table in which so many rows differ is not read to its end.
    type: int
    default: 10000
  listed:
    description:
      - So many differing rows of each table are named.
    type: int
    default: 100
  max_rows_without_key:
    description:
      - A table without a usable key is read as a whole, if it has no more rows than that; otherwise it is skipped.
    type: int
    default: 1000000
  progress_every:
    description:
      - Seconds between two lines that say how far it is; V(0) for none. A table in which something is open yet is
        finished first.
    type: float
    default: 5.0
  pause_after:
    description:
      - Seconds after which the module returns where it is; V(0) for not before its end.
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
notes:
  - "Grants: those of the account C(lossless_reconcile); see M(lossless.mysql_ha.mysql_account)."
  - Reads only; the same in check mode. A snapshot stops the applier of the replica that is compared, and starts it.
  - >-
    A statement that changes the definition of a table waits until the range of rows that is being read there is done; a
    snapshot says then that the definition of that table was changed.
seealso:
  - module: lossless.mysql_ha.mysql_topology_info
  - module: lossless.mysql_ha.mysql_clone
author:
  - lossless.mysql_ha maintainers (@lossless)
"""

EXAMPLES = r"""
- name: Compare every table of every replica
  lossless.mysql_ha.mysql_consistency:
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_user: lossless_reconcile
    login_password: "{{ mysql_ha_reconcile_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem

- name: Compare one schema, gently, and show the values that differ
  lossless.mysql_ha.mysql_consistency:
    cluster: ledger
    members: "{{ mysql_ha_members }}"
    login_user: lossless_reconcile
    login_password: "{{ mysql_ha_reconcile_password }}"
    ca_cert: /etc/lossless-mysql-ha/tls/ca.pem
    include: [bank]
    max_threads_running: 20
    reveal: true
    report_directory: /srv/reports
    fail_on_difference: false
  register: compared
"""

RETURN = r"""
verdict:
  description: >-
    The worst of all verdicts. V(pass), V(skipped), V(lagging), V(unstable), V(error), V(schema_differs), V(different).
  returned: success
  type: str
  sample: pass
summary:
  description: >-
    The report in words: a sentence for all of it, then one for each finding, the gravest first. No value of a row is
    in it.
  returned: always, but while it has paused
  type: list
  elements: str
  sample: ["Everything compared is the same on db1, db2 and db3."]
files:
  description: Where the newest report is, as C(json) and as C(page).
  returned: when O(report_directory) is given, but while it has paused
  type: dict
  sample: {"json": "/srv/reports/ledger-consistency.json", "page": "/srv/reports/ledger-consistency.html"}
primary:
  description: The member that was compared with.
  returned: success
  type: str
  sample: db1
replicas:
  description: The members that were compared.
  returned: success
  type: list
  elements: str
  sample: [db2, db3]
servers:
  description: >-
    What was found of a whole replica, each with C(replica), C(verdict), C(code), C(why), C(next_step): transactions of
    its own, filters, an applier that stands still, no answer.
  returned: success
  type: list
  elements: dict
  sample: []
tables:
  description: >-
    One for each table, replica and mode: C(schema), C(table), C(replica), C(mode), C(verdict), C(code), C(why),
    C(next_step), C(rows) compared, C(rechecked), C(difference_count), C(differences) (the first of them, each with
    C(key), C(kind), C(columns), and the rows on both sides when O(reveal)), C(covered) from 0 to 1, C(seconds).
  returned: success
  type: list
  elements: dict
assertions:
  description: >-
    One for each assertion and server, with C(name), C(replica), C(side), C(verdict), C(severity), C(why), the number of
    rows, and the first C(differences).
  returned: success
  type: list
  elements: dict
  sample: []
repair:
  description: What a person may do, C(table), C(replica), C(way), C(rows), C(sql) to read, C(why). Nothing is run.
  returned: success
  type: list
  elements: dict
  sample: []
counts:
  description: C(tables), C(rows), C(rechecked), C(differences), and C(by_verdict).
  returned: success
  type: dict
progress:
  description: When it has paused, C(line) says how far it is.
  returned: always
  type: dict
  sample: {"line": ""}
under_way:
  description: When it has paused, what it needs to go on.
  returned: always
  type: dict
finished:
  description: Whether everything was compared; otherwise running again goes on, if there is a state directory.
  returned: success
  type: bool
  sample: true
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 12.4
evidence:
  description: >-
    On failure, what it rests on. Where something was compared, C(report) holds all that is returned otherwise.
  returned: failure
  type: dict
code:
  description: On failure, a stable identifier.
  returned: failure
  type: str
  sample: not_the_same
next_step:
  description: On failure, what to do now.
  returned: failure
  type: str
"""

import time

from ansible_collections.lossless.mysql_ha.plugins.module_utils import ansible as glue
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency import report_file
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.findings import MODES
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.recent import Wish
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.report import failure
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.report_words import lines
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.run import Limits, Request, run
from ansible_collections.lossless.mysql_ha.plugins.module_utils.consistency.window import Policy

SPEC = dict(
    glue.LOGIN_SPEC,
    **glue.MEMBERS_SPEC,
    primary={"type": "str", "default": ""},
    replicas={"type": "list", "elements": "str", "default": []},
    modes={"type": "list", "elements": "str", "choices": list(MODES), "default": ["whole"]},
    admin_user={"type": "str", "default": "lossless_admin"},
    admin_password={"type": "str", "no_log": True},
    time_column={"type": "str", "default": ""},
    time_zone={"type": "str", "default": ""},
    look_back={"type": "float", "default": 86400.0},
    first_window={"type": "float", "default": 3600.0},
    binlog_index={"type": "path", "default": ""},
    assertions={"type": "list", "elements": "dict", "default": []},
    include={"type": "list", "elements": "str", "default": []},
    exclude={"type": "list", "elements": "str", "default": []},
    reveal={"type": "bool", "default": False},
    fail_on_difference={"type": "bool", "default": True},
    state_directory={"type": "path", "default": ""},
    report_directory={"type": "path", "default": ""},
    statement_timeout={"type": "float", "default": 30.0},
    catch_up_timeout={"type": "float", "default": 60.0},
    within={"type": "float", "default": 0.0},
    lock_timeout={"type": "float", "default": 2.0},
    max_threads_running={"type": "int", "default": 0},
    max_latency={"type": "float", "default": 0.0},
    max_differences={"type": "int", "default": 10000},
    listed={"type": "int", "default": 100},
    max_rows_without_key={"type": "int", "default": 1000000, "no_log": False},
    progress_every={"type": "float", "default": 5.0},
    pause_after={"type": "float", "default": 0.0},
    under_way={"type": "dict"},
)


def compare(params, check_mode, warn):
    """One run; see ``consistency/run.py``. It reads only, so check mode is the same."""
    report = run(
        Request(
            params["cluster"],
            glue.members(params),
            glue.login(params),
            primary=params["primary"],
            replicas=tuple(params["replicas"]),
            modes=tuple(params["modes"]),
            recent=Wish(
                params["time_column"],
                params["time_zone"],
                Policy(first=params["first_window"], look_back=params["look_back"]),
                params["binlog_index"],
                params["first_window"],
                params["state_directory"],
            ),
            assertions=tuple(params["assertions"]),
            include=tuple(params["include"]),
            exclude=tuple(params["exclude"]),
            limits=Limits(
                statement=params["statement_timeout"],
                catch_up=params["catch_up_timeout"],
                within=params["within"],
                lock=params["lock_timeout"],
                threads_running=params["max_threads_running"],
                latency=params["max_latency"],
                differences=params["max_differences"],
                listed=params["listed"],
                rows_without_key=params["max_rows_without_key"],
            ),
            reveal=params["reveal"],
            state_directory=params["state_directory"],
            now=time.time(),
            connect_timeout=params["connect_timeout"],
            part=params["pause_after"],
            state=params["under_way"],
            admin=glue.second_login(params, "admin") if params["admin_password"] else None,
        )
    )
    if report["under_way"]:
        return glue.Outcome(False, report)
    told = {"summary": list(lines(report))}
    if params["report_directory"]:
        place = report_file.Place(params["report_directory"], params["cluster"])
        written = report_file.write(report, place)
        told["files"] = {"json": written.json, "page": written.page}
    error = failure(report)
    if error is not None and params["fail_on_difference"]:
        raise error
    return glue.Outcome(False, dict(report, **told))


def main():
    glue.run(SPEC, compare)


if __name__ == "__main__":
    main()
