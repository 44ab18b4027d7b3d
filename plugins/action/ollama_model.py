# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module, and with progress_file a line every ten seconds that says how far it is."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.gpufleet.llm.plugins.plugin_utils import watched

LIMIT_S = 14400  # the module's default


class ActionModule(ActionBase):
    _supports_async = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments, task = self._task.args, self._task
        if task.async_val or task.check_mode or not arguments.get("progress_file"):
            return dict(result, **self._execute_module(task_vars=task_vars, wrap_async=task.async_val))
        try:
            limit_s = float(arguments.get("timeout") or LIMIT_S)
        except (TypeError, ValueError):
            limit_s = LIMIT_S  # the module says what is wrong with it
        return dict(result, **watched.run(self, task_vars, arguments["progress_file"], limit_s))
