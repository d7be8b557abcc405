# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a long task is, on the screen while it runs.

A module's output is its result, and that comes at its end. So such a module returns every few seconds with what it
needs to go on (``under_way``) and a line for a person; this prints the line and calls it again, until it is done. It
decides nothing. ``Display`` reaches the screen of ansible-playbook at once, and the output of an AWX job, which records
it.
"""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class Followed(ActionBase):
    """Calls the module of the task until it says that it has finished.

    ``WORD`` begins each line. ``FIRST``: results of the first call that are kept, for the last one tells only how it
    ended; ``ADDED``: lists that each call adds to.
    """

    WORD = ""
    FIRST = ()
    ADDED = ("warnings",)
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
        first = result
        added = {name: list(result.get(name, [])) for name in self.ADDED}
        while result.get("under_way") and not result.get("failed"):
            self._show(result, task_vars)
            result = self._execute_module(
                module_args={**arguments, "under_way": result["under_way"]}, task_vars=task_vars
            )
            for name in self.ADDED:
                added[name] += result.get(name, [])
        if result is first:
            return result
        kept = {name: first[name] for name in self.FIRST if name in first}
        return {**result, **kept, **added}

    @staticmethod
    def _every(arguments):
        """Seconds; what is no number is for the module to refuse."""
        try:
            return max(float(arguments.get("progress_every", 5.0)), 0.0)
        except (TypeError, ValueError):
            return 5.0

    def _show(self, result, task_vars):
        where = (task_vars or {}).get("inventory_hostname", "?")
        Display().display(f"{self.WORD}: [{where}]: {result['progress']['line']}")
