# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module of the collection says of itself in the same words."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes; a module overrides C(support) and C(details) where it differs."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and returns what would be done, without doing it.
    support: full
  diff_mode:
    description: Returns the state before and after as short texts when diff mode is on. No secret is in them.
    support: full
  idempotent:
    description: Run again with the same options it changes nothing and says so.
    support: full
  platform:
    description: Where the module can run.
    platforms: posix
    support: full
requirements:
  - Python 3.9 or later and PyMySQL 1.0.2 or later (with the C(cryptography) package) where the module runs
"""

    # Named before the attributes above in a module's list of fragments: what is named first counts.
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: It only reads, in check mode as ever.
  diff_mode:
    support: N/A
    details: It changes nothing.
  idempotent:
    support: full
    details: It changes nothing.
"""
