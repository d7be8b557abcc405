# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a recipient logs in at its donor: the documentation of CLONE_SPEC in module_utils/ansible.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of C(CLONE_SPEC)."""

    DOCUMENTATION = r"""
options:
  clone_user:
    description:
      - The account by which a recipient clones from its donor.
    type: str
    default: lossless_clone
  clone_password:
    description:
      - The password of O(clone_user).
    type: str
"""
