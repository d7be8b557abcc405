# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module logs in at the servers: the documentation of LOGIN_SPEC in module_utils/ansible.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of C(LOGIN_SPEC)."""

    DOCUMENTATION = r"""
options:
  login_user:
    description:
      - The account that the module uses, the same on every server.
    type: str
    default: lossless_admin
  login_password:
    description:
      - The password of O(login_user).
    type: str
  ca_cert:
    description:
      - The file with the certificate of the authority that signed the servers' certificates, where the module runs.
      - With it every connection is encrypted and the server's certificate, including its name or address, is verified.
    type: path
  client_cert:
    description:
      - The file with a client certificate, where the module runs.
    type: path
  client_key:
    description:
      - The file with the key of O(client_cert), where the module runs.
    type: path
  connect_timeout:
    description:
      - How many seconds opening a connection and logging in may take.
    type: float
    default: 2.0
"""
