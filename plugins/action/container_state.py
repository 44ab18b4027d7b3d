# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at the host's container engines, and what follows from it: the comparison is made on the controller."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import container_engine, container_toolkit
from ansible_collections.gpufleet.llm.plugins.module_utils.report.words import plain

DEPLOYMENTS = {"container_engine": container_engine, "nvidia_container_toolkit": container_toolkit}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        spec = {
            "role": {"type": "str", "required": True, "choices": sorted(DEPLOYMENTS)},
            "wanted": {"type": "dict", "required": True},
        }
        _checked, arguments = self.validate_argument_spec(spec)
        wanted, deployment = plain(arguments["wanted"]), DEPLOYMENTS[arguments["role"]]
        look = self._execute_module(
            module_name="gpufleet.llm.container_host",
            module_args=deployment.look_for(wanted),
            task_vars=task_vars,
            wrap_async=False,
        )
        if look.get("failed"):
            raise AnsibleActionFail("container_host: %s" % look.get("msg"), result=look)
        state = deployment.follow(wanted, look)
        if state["problems"]:
            raise AnsibleActionFail("\n".join(state["problems"]))
        warnings = list(result.get("warnings") or []) + state["warnings"]
        return dict(result, changed=False, state=state, due=state["due"], warnings=warnings)
