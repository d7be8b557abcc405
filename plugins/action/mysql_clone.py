# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a clone is, on the screen while it runs.

A module's output is its result, and that comes at its end. So the module returns every few seconds while the copy goes
on in the servers; this plugin prints the line that it returned and calls it again, until it is done. It decides
nothing. ``Display`` reaches the screen of ansible-playbook at once, and the output of an AWX job, which records it.
"""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Of the first call, for the last one tells only how it ended.
KEPT = ("passed_over", "diff")


class ActionModule(ActionBase):
    """Calls the module until it says that it has finished."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp=None, task_vars=None):
        """As every action plugin: the result of the task."""
        result = super().run(tmp, task_vars)
        wrap_async = self._task.async_val and not self._connection.has_native_async
        if wrap_async:
            result.update(self._execute_module(task_vars=task_vars, wrap_async=True))
            return result
        result.update(self._followed(task_vars))
        self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _followed(self, task_vars):
        arguments = dict(self._task.args)
        arguments["pause_after"] = self._every(arguments)
        result = self._execute_module(module_args=arguments, task_vars=task_vars)
        first, plan, warnings = result, list(result.get("plan", [])), list(result.get("warnings", []))
        while result.get("under_way") and not result.get("failed"):
            self._show(result, task_vars)
            result = self._execute_module(
                module_args={**arguments, "under_way": result["under_way"]}, task_vars=task_vars
            )
            plan += result.get("plan", [])
            warnings += result.get("warnings", [])
        if result is first:
            return result
        kept = {name: first[name] for name in KEPT if name in first}
        return {**result, **kept, "plan": plan, "warnings": warnings}

    @staticmethod
    def _every(arguments):
        """Seconds; what is no number is for the module to refuse."""
        try:
            return max(float(arguments.get("progress_every", 5.0)), 0.0)
        except (TypeError, ValueError):
            return 5.0

    def _show(self, result, task_vars):
        where = (task_vars or {}).get("inventory_hostname", "?")
        Display().display(f"clone: [{where}]: {result['progress']['line']}")
