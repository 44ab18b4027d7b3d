# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.gpufleet.llm.plugins.module_utils.report.words import plain
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import ollama as deployment
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.ollama import service

DOCUMENTATION = r"""
name: ollama_service
short_description: Check what is asked of Ollama on a host
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Internal to the role P(gpufleet.llm.ollama#role). Fills in every default of the instances and finds everything that
    makes no sense, at once and before anything is touched.
positional: role
options:
  _input:
    description: What the role's variables ask for.
    type: dict
    required: true
  role:
    description: The role's paths and switches.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Check
  ansible.builtin.assert:
    that: (_ollama_wanted | gpufleet.llm.ollama_service(_ollama_role)).problems | length == 0
"""

RETURN = r"""
_value:
  description:
    - C(instances) with every default, C(problems) and C(warnings) as sentences, and C(look), the options of
      M(gpufleet.llm.ollama_host) that answer what the role has to know. C(look) is missing when there are problems.
  type: dict
"""


def ollama_service(wanted, role):
    wanted, role = plain(wanted), plain(role)
    found = service.read_service(wanted)
    found["problems"] += deployment.problems(found, role)
    if not found["problems"]:
        found["look"] = deployment.look_for(found, role)
    return found


class FilterModule:
    def filters(self):
        return {"ollama_service": ollama_service}
