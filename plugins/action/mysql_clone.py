# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a clone is, on the screen while it runs; the copy itself goes on in the servers."""

from __future__ import annotations

from ansible_collections.lossless.mysql_ha.plugins.plugin_utils.followed import Followed


class ActionModule(Followed):
    """Calls the module until the clone has finished."""

    WORD = "clone"
    FIRST = ("passed_over", "diff")
    ADDED = ("plan", "warnings")
