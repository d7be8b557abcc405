# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a replica logs in at its source: the documentation of REPLICATION_SPEC in module_utils/ansible.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of C(REPLICATION_SPEC)."""

    DOCUMENTATION = r"""
options:
  replication_user_prefix:
    description:
      - The replicas' accounts are named by this and their server_id.
    type: str
    default: lossless_repl_
  replication_password:
    description:
      - The password of the replicas' accounts.
    type: str
  replication_ca:
    description:
      - The CA file on the replicas, by which they verify their source, and the donor of a clone. Empty for connections
        that are encrypted and not verified.
    type: path
    default: /etc/lossless-mysql-ha/tls/ca.pem
  heartbeat_period:
    description:
      - Seconds between the replication heartbeats that a replica asks of its source, between 0.1 and 1.
    type: float
    default: 0.5
"""
