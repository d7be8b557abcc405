#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: the lossless.mysql_ha authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mysql_vip
short_description: Add, remove or look for a virtual address, never fighting whoever has it
version_added: 0.1.0
description:
  - >-
    V(present): asks the network first whether anybody has the address (ARP probe, or neighbour solicitation as for
    duplicate address detection), refuses with that host's MAC when somebody answers, adds it otherwise, and announces
    it (gratuitous ARP in both forms, or unsolicited neighbour advertisement) for a second.
  - "V(absent): takes the address off the interface."
  - >-
    V(probed): changes nothing; returns in RV(answered_by) the MACs of all hosts that answer for the address, as seen
    from this host. Delegated to an application host and compared with RV(mac) of the holder it shows that those who
    use the address reach the right host, and only that one.
  - >-
    In normal life the keeper (role P(lossless.mysql_ha.vip#role)) moves the address with the primary, and this module
    is for looking. It does not change an address that the keeper of the host has in its configuration, unless O(force).
options:
  address:
    description:
      - The address, IPv4 or IPv6, alone or with a prefix length (V(10.0.0.100), V(10.0.0.100/24), V(fd00::64)).
      - Without a prefix length the address alone is added (/32, /128), and one that is there with any length will do.
    type: str
    required: true
  state:
    description:
      - What to do, see above.
    type: str
    choices: [present, absent, probed]
    default: present
  interface:
    description:
      - The interface. Without it, the one that has the address, or else the one whose network contains it.
    type: str
    default: ''
  lifetime:
    description:
      - Seconds after which the kernel removes the address by itself, for V(present). Without it the address stays.
      - An address that has at least half of its lifetime left is not renewed, and nothing is reported as changed.
    type: int
  probe_wait:
    description:
      - Seconds to wait for an answer to the probe, which is sent three times.
    type: float
    default: 0.5
  force:
    description:
      - Also change an address that the keeper of this host manages, or remove the last address of its kind.
      - >-
        It never overrides an answer to the probe. A keeper that runs undoes the change within a second; to take the
        address away from a host, stop its service C(lossless-mysql-ha-keeper) instead.
    type: bool
    default: false
  keeper_config:
    description:
      - The configuration file of the keeper on this host; it need not exist.
    type: path
    default: /etc/lossless-mysql-ha/keeper.json
extends_documentation_fragment:
  - lossless.mysql_ha.attributes
attributes:
  check_mode:
    details: The probe is sent in check mode, too, so that a refusal is foreseen; it changes nothing anywhere.
  platform:
    platforms: linux
requirements:
  - iproute2 4.13 or later (C(ip -j)), and root or C(CAP_NET_ADMIN) with C(CAP_NET_RAW)
notes:
  - "Grants: none, it speaks to no MySQL server."
  - IPv6 addresses are added as deprecated, so that the host's own connections do not take them as their source.
seealso:
  - module: lossless.mysql_ha.mysql_failover
author:
  - lossless.mysql_ha maintainers (@lossless)
"""

EXAMPLES = r"""
- name: See from the application host who has the address
  lossless.mysql_ha.mysql_vip:
    address: 10.0.0.100
    state: probed
  delegate_to: app1
  register: seen

- name: See what the primary's host says
  lossless.mysql_ha.mysql_vip:
    address: 10.0.0.100
    state: probed
  register: holder

- name: The application reaches the primary, and nobody else claims the address
  ansible.builtin.assert:
    that:
      - holder.held
      - seen.answered_by == [holder.mac]

- name: Give an address to a host without a keeper, for ten minutes
  lossless.mysql_ha.mysql_vip:
    address: 10.0.0.101/24
    interface: eth0
    lifetime: 600
"""

RETURN = r"""
address:
  description: The address, without prefix length.
  returned: success
  type: str
  sample: 10.0.0.100
interface:
  description: The interface, as given or as found.
  returned: success
  type: str
  sample: eth0
mac:
  description: The MAC of that interface.
  returned: success
  type: str
  sample: 02:42:0a:00:00:0b
held:
  description: Whether this host has the address now, or in check mode would have it.
  returned: success
  type: bool
lifetime:
  description: Seconds until the kernel removes it; none when it stays or is not there.
  returned: success
  type: int
answered_by:
  description:
    - The MACs of other hosts that answered the probe, each once. A host does not answer itself, so the holder's own
      list is empty unless somebody else claims the address too.
    - Empty for V(absent), and for V(present) when the address was there already, for then nobody is asked.
  returned: success
  type: list
  elements: str
  sample: ["02:42:0a:00:00:0b"]
code:
  description: On failure, a stable identifier, for example V(address_in_use) or V(address_managed_by_keeper).
  returned: failure
  type: str
evidence:
  description: On failure, what it rests on; for V(address_in_use) C(answered_by) holds the strangers' MACs.
  returned: failure
  type: dict
next_step:
  description: On failure, what to do now.
  returned: failure
  type: str
"""

from ansible_collections.lossless.mysql_ha.plugins.module_utils import ansible as glue
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.vip import Request, converge

SPEC = {
    "address": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "probed"], "default": "present"},
    "interface": {"type": "str", "default": ""},
    "lifetime": {"type": "int"},
    "probe_wait": {"type": "float", "default": 0.5},
    "force": {"type": "bool", "default": False},
    "keeper_config": {"type": "path", "default": "/etc/lossless-mysql-ha/keeper.json"},
}


def work(params, check_mode, warn):
    """See ``keeper/vip.py``."""
    result = converge(Request(dry=check_mode, **params))
    return glue.Outcome(result.changed, result.values, before=result.before, after=result.after)


def main():
    glue.run(SPEC, work)


if __name__ == "__main__":
    main()
