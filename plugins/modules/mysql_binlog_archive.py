#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the lossless.mysql_ha authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_binlog_archive
short_description: Keep named transactions of a binary log as evidence
version_added: 0.1.0
description:
  - >-
    After a failover the old primary may hold transactions that no other server has. Before anything is done to it, this
    module takes their raw events out of its binary log and keeps them: as a binary log file that C(mysqlbinlog) reads,
    with a manifest that says what was asked, what was found where, what it touched, and what was not found and why; and
    decoded, as C(rows.jsonl), one JSON object for each row change or statement.
  - Runs on the database host and reads files only; mysqld may be running or not. The binary log is not changed.
  - An archive appears whole or not at all, is read back before it counts, and is never written over.
  - >-
    Only files whose PREVIOUS_GTIDS event says that they may hold the transactions are searched. A file torn by a crash
    is read as far as its transactions are whole. GTIDs with tags (MySQL 8.3 and later) are understood; compressed
    transactions are kept as they are, and looked into where there is C(libzstd.so.1) or Python 3.14.
  - >-
    Rows that cannot be decoded (a compressed transaction where nothing decompresses it, JSON logged as a difference,
    column types of before MySQL 5.6), or that the disk has no room for, keep no archive from being made: RV(rows)
    and the manifest name the transaction and the reason, and a warning says so. See the page on archives in the
    collection's documentation for the form of C(rows.jsonl).
options:
  gtids:
    description:
      - The transactions to archive, as a GTID set. With the empty set nothing is done.
    type: str
    required: true
  log_bin_index:
    description:
      - >-
        The index file of the binary log, as C(SELECT @@log_bin_index) shows it. The server may be down, so it is not
        asked; the default is right for a server with default paths.
    type: path
    default: /var/lib/mysql/binlog.index
  datadir:
    description:
      - >-
        The data directory: relative names in the index are relative to it, and C(auto.cnf) in it names the server.
        By default the directory of O(log_bin_index).
    type: path
  directory:
    description:
      - Each archive is a subdirectory of this directory. It is made, with mode 0700, if it is not there.
      - Must not be writable by others than its owner.
    type: path
    default: /var/lib/lossless-mysql-ha/archive
  cluster:
    description:
      - The cluster's name; it stands in the manifest and in the default O(name).
    type: str
    default: mysql
  name:
    description:
      - >-
        The archive's name. By default it is made from O(cluster), the server's UUID and O(gtids), so that the same
        request has the same name.
    type: str
  allow_missing:
    description:
      - Archive what there is, even if some of O(gtids) are not whole in the binary log.
    type: bool
    default: false
extends_documentation_fragment:
  - lossless.mysql_ha.attributes
notes:
  - "Needs no grant and no connection: it reads and writes files as root."
  - >-
    The archive holds rows of the business (directory 0700, files 0600). The module's result and the diff hold GTIDs,
    table names and numbers only. In C(rows.jsonl) statements that may say a password or its hash, and rows of tables
    like C(mysql.user), stand without their contents; the raw events have them.
  - >-
    Fails with the code C(gtids_not_in_binlog) and writes nothing when transactions are missing and O(allow_missing) is
    off. Other codes: C(archive_exists), C(archive_damaged), C(archive_busy), C(archive_directory_unsafe),
    C(archive_name_invalid), C(archive_unwritable), C(no_space), C(binlog_encrypted), C(binlog_unreadable),
    C(binlog_not_a_binlog), C(binlog_version_unsupported), C(binlog_index_unreadable), C(binlog_index_empty),
    C(gtid_set_invalid).
seealso:
  - module: lossless.mysql_ha.mysql_topology_info
  - module: lossless.mysql_ha.mysql_replication
author:
  - lossless.mysql_ha maintainers (@lossless)
"""

EXAMPLES = r"""
- name: Keep what only the old primary has
  lossless.mysql_ha.mysql_binlog_archive:
    cluster: ledger
    gtids: "{{ topology.errant.db1 }}"
  register: evidence
  become: true

- name: Name the tables that the business has to look at
  ansible.builtin.debug:
    msg: "{{ evidence.tables }}"

- name: Keep what is left of them, under a name of its own
  lossless.mysql_ha.mysql_binlog_archive:
    cluster: ledger
    gtids: 3e11fa47-71ca-11e1-9e33-c80aa9429562:101-103
    log_bin_index: /var/log/mysql/binlog.index
    datadir: /var/lib/mysql
    name: incident-2041
    allow_missing: true
  become: true
"""

RETURN = r"""
path:
  description: The archive's directory; empty when O(gtids) was empty.
  returned: always
  type: str
  sample: /var/lib/lossless-mysql-ha/archive/ledger-3e11fa47-0c6f7e1f5b0b7a11
manifest:
  description: The path of the manifest, a JSON file that has everything.
  returned: always
  type: str
  sample: /var/lib/lossless-mysql-ha/archive/ledger-3e11fa47-0c6f7e1f5b0b7a11/manifest.json
found:
  description: The GTID set that the archive holds.
  returned: always
  type: str
  sample: 3e11fa47-71ca-11e1-9e33-c80aa9429562:101
missing:
  description:
    - >-
      What was asked and is not in the archive, with the reason, V(incomplete) (the file ends before the transaction
      does, as after a crash), V(damaged), V(older_than_the_oldest_file), V(not_in_the_log) (executed, but not logged
      here) or V(unknown_here).
  returned: always
  type: list
  elements: dict
  sample:
    - gtids: 3e11fa47-71ca-11e1-9e33-c80aa9429562:102-103
      why: unknown_here
missing_gtids:
  description: The same as one GTID set.
  returned: always
  type: str
transactions:
  description:
    - >-
      The transactions, at most 500 of them (the manifest has all): GTID, times, tables with the number of row events,
      statements by their first words, how it ended, source file and offsets, SHA-256 of the raw events, and its number
      of lines in C(rows.jsonl) (-1 where they could not be decoded).
  returned: always
  type: list
  elements: dict
  sample:
    - gtid: 3e11fa47-71ca-11e1-9e33-c80aa9429562:101
      timestamp: 1795230509
      original_commit_timestamp: 1795230509818276
      immediate_commit_timestamp: 1795230509818276
      server_id: 7
      events: 5
      tables:
        - {schema: bank, table: entry, write: 1, update: 0, delete: 0}
      statements: []
      ends: xid
      xid: "51"
      compression: ""
      contents_known: true
      source: /var/lib/mysql/binlog.000002
      start: 199
      end: 514
      archive_start: 127
      sha256: 9c1185a5c5e9fc54612808977ee8f548b2258d31b2e9b0ad2c8a0ffb8a1a0d3a
      lines: 1
transaction_count:
  description: How many transactions the archive holds.
  returned: always
  type: int
  sample: 1
tables:
  description: All tables touched, with the number of row events of each kind.
  returned: always
  type: list
  elements: dict
  sample:
    - {schema: bank, table: entry, write: 1, update: 0, delete: 0}
size:
  description: Bytes of the archived binary log file; 0 in check mode when it is not there yet.
  returned: always
  type: int
  sample: 442
sha256:
  description: SHA-256 of the archived binary log file; empty in check mode when it is not there yet.
  returned: always
  type: str
rows:
  description:
    - >-
      What C(rows.jsonl) holds: its name (empty in check mode, and for an archive of before there were decoded rows),
      size and SHA-256, the number of row changes and of statements, and under C(undecoded) at most 500 of the
      transactions that have no line there, each with C(gtid), C(code) and C(why).
  returned: always
  type: dict
  sample:
    file: rows.jsonl
    size: 231
    sha256: 5b41362bc82b7f3d56edc5a306db22105707d01ff4819e26faef9724a2d406c9
    rows: 1
    statements: 0
    undecoded: []
server_uuid:
  description: The server whose binary log it is, as C(auto.cnf) says; empty when that is not there.
  returned: always
  type: str
  sample: 3e11fa47-71ca-11e1-9e33-c80aa9429562
"""

import socket
import time

from ansible_collections.lossless.mysql_ha.plugins.module_utils import ansible as glue
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.archive import Request, archive
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet

SPEC = {
    "gtids": {"type": "str", "required": True},
    "log_bin_index": {"type": "path", "default": "/var/lib/mysql/binlog.index"},
    "datadir": {"type": "path"},
    "directory": {"type": "path", "default": "/var/lib/lossless-mysql-ha/archive"},
    "cluster": {"type": "str", "default": "mysql"},
    "name": {"type": "str"},
    "allow_missing": {"type": "bool", "default": False},
}


def keep(params, check_mode, warn):
    """Archive them; in check mode do all but write."""
    request = Request(
        wanted=GtidSet.parse(params["gtids"]),
        index=params["log_bin_index"],
        directory=params["directory"],
        cluster=params["cluster"],
        name=params["name"] or "",
        data_directory=params["datadir"] or "",
        allow_missing=params["allow_missing"],
    )
    done = archive(request, apply=not check_mode, now=time.time(), host=socket.gethostname())
    undecoded = done.values["rows"]["undecoded"]
    if undecoded:
        warn(f"rows.jsonl lacks {len(undecoded)} transactions, the first because {undecoded[0]['why']}")
    return glue.Outcome(done.changed, done.values, done.before, done.after)


def main():
    glue.run(SPEC, keep)


if __name__ == "__main__":
    main()
