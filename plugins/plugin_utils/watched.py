# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that takes minutes or hours, with a line every ten seconds that says how far it is.

It runs as a job in the background of the host, as C(async) has it, so that a lost connection does not end it.
"""

from __future__ import annotations

import shlex
import time
import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

SHOWN_EVERY_S = 10.0
_FIRST_PAUSE_S = 0.3
_SLACK_S = 600  # for a module that ends itself at its limit, and has to tidy up


class WatchedModule(ActionBase):
    """The module of the same name, watched when it is given a progress_file."""

    _supports_async = True
    LIMIT_S = 0.0  # of the module, where the task has no timeout
    SILENCE_S: t.Optional[float] = None  # of a progress_file that a living module writes to every second

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        arguments, task = self._task.args, self._task
        if task.async_val or task.check_mode or not arguments.get("progress_file"):
            return dict(result, **self._execute_module(task_vars=task_vars, wrap_async=task.async_val))
        return dict(result, **run(self, task_vars, arguments["progress_file"], self.limit_s(arguments), self.SILENCE_S))

    def limit_s(self, arguments: t.Mapping[str, t.Any]) -> float:
        """Seconds that the module takes at most."""
        return self.LIMIT_S


def run(
    action: ActionBase, task_vars: t.Mapping[str, t.Any], progress_file: str, limit_s: float, silence_s: t.Optional[float] = None
) -> t.Dict[str, t.Any]:
    """What the module of the task returned. ``progress_file`` holds the line to show; ``limit_s`` is the module's own limit."""
    # pylint: disable=protected-access  # it is what an action plugin is made of
    task = action._task
    task.async_val = int(limit_s) + _SLACK_S
    try:
        job = action._execute_module(task_vars=task_vars, wrap_async=True)
    finally:
        task.async_val = 0
    if job.get("failed") or "ansible_job_id" not in job:
        return job
    words = {"jid": job["ansible_job_id"], "_async_dir": action._remote_expand_user(action.get_shell_option("async_dir"))}
    began = shown = time.monotonic()
    pause = _FIRST_PAUSE_S
    while True:
        time.sleep(pause)
        pause = min(2 * pause, SHOWN_EVERY_S)
        answer = action._execute_module(module_name="ansible.legacy.async_status", module_args=words, task_vars=task_vars)
        if answer.get("finished") or answer.get("failed"):
            break
        now = time.monotonic()
        silent_s = 0.0
        if now - shown >= SHOWN_EVERY_S:
            shown = now
            silent_s = _show(action, progress_file, task_vars["inventory_hostname"])
        if now - began > limit_s + _SLACK_S or (silence_s is not None and silent_s > silence_s):
            return {
                "failed": True,
                "msg": "the job did not end in %d s and says nothing more: it was killed, or its host started anew. "
                "The next run goes on where it ended" % (now - began),
            }
    action._low_level_execute_command("rm -f -- " + shlex.quote(job["results_file"]))
    for name in ("ansible_job_id", "results_file", "started", "finished", "stdout", "stdout_lines", "stderr", "stderr_lines"):
        answer.pop(name, None)
    return answer


def _show(action: ActionBase, progress_file: str, host: str) -> float:
    """Show the last line; returns the seconds since it was written, by the host's own clock."""
    path = shlex.quote(progress_file)
    command = "tail -n 1 -- %s 2>/dev/null; echo; expr $(date +%%s) - $(stat -c %%Y -- %s)" % (path, path)
    # pylint: disable-next=protected-access
    line, _newline, age = action._low_level_execute_command(command)["stdout"].strip().rpartition("\n")
    if line.strip() and not action._task.no_log:  # pylint: disable=protected-access
        Display().display("%s: %s" % (host, line.strip()))
    return float(age) if line.strip() and age.strip().isdigit() else 0.0
