# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at the host, and what follows from it: the comparison and the plan are made on the controller."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import ollama as deployment
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import ollama_service
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.report.words import plain


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        spec = {name: {"type": "dict", "required": True} for name in ("role", "wanted")}
        _checked, arguments = self.validate_argument_spec(spec)
        wanted, role = plain(arguments["wanted"]), plain(arguments["role"])
        service = ollama_service.read_service(wanted)
        self._refuse(service["problems"] + ollama_service.problems(service, role))
        try:
            look = self._ask("ollama_host", deployment.look_for(service, role), task_vars)
            state = deployment.follow(service, look, role)
            unreadable = []
            if state["unread"]:
                facts = {}
                for model in state["unread"]:
                    options = {"source": model["blob"], "manifest": model["manifest"], "manifest_config": model["config"]}
                    answer = self._answer("model_info", options, task_vars)
                    facts[model["digest"]] = answer.get("model")
                    if answer.get("failed"):
                        unreadable.append("%s is not planned for: %s" % (model["name"], answer.get("msg")))
                state = deployment.follow(service, look, role, facts)
        except GpufleetError as error:
            raise AnsibleActionFail(str(error)) from error
        self._refuse(state["problems"])
        warnings = list(result.get("warnings") or []) + service["warnings"] + state["warnings"] + unreadable
        return dict(result, changed=False, state=state, due=deployment.due_now(state), warnings=warnings)

    def _answer(self, module, options, task_vars):
        return self._execute_module(
            module_name="gpufleet.llm." + module, module_args=options, task_vars=task_vars, wrap_async=False
        )

    def _ask(self, module, options, task_vars):
        answer = self._answer(module, options, task_vars)
        if answer.get("failed"):
            raise AnsibleActionFail("%s: %s" % (module, answer.get("msg")), result=answer)
        return answer

    def _refuse(self, problems):
        if problems:
            raise AnsibleActionFail("\n".join(problems))
