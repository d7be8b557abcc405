# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers that a module works with: the documentation of MEMBERS_SPEC in module_utils/ansible.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of C(MEMBERS_SPEC)."""

    DOCUMENTATION = r"""
options:
  cluster:
    description:
      - The name of the cluster. Runs on the same name exclude each other.
    type: str
    default: mysql
  members:
    description:
      - Every server of the cluster.
      - The playbooks of this collection compute the list from the inventory, see C(playbooks/vars/members.yml).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - The name of the server in results and messages, usually its name in the inventory.
        type: str
        required: true
      host:
        description:
          - The address or name at which the module reaches the server. The server's certificate must carry it.
        type: str
        required: true
      port:
        description:
          - The port for the module's connections, usually the server's admin port.
        type: int
        default: 33062
      replication_port:
        description:
          - The port at which replicas and clients connect.
        type: int
        default: 3306
      zone:
        description:
          - The failure domain inside its city that the server stands in, for example a room or a power feed.
        type: str
        default: ""
      city:
        description:
          - The city that the server stands in.
        type: str
        default: ""
      priority:
        description:
          - Among servers that hold the same data, the one with the highest priority is preferred as primary.
        type: int
        default: 100
      acknowledges:
        description:
          - Whether the server's acknowledgement counts while it is a replica.
        type: bool
        default: true
attributes:
  action_group:
    description: Use C(group/lossless.mysql_ha.all) in C(module_defaults) to set the connection once.
    membership:
      - lossless.mysql_ha.all
    support: full
"""
