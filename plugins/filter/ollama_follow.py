# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.report.words import plain
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import ollama as deployment
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError

DOCUMENTATION = r"""
name: ollama_follow
short_description: What follows for a host from what is asked of Ollama and what it has
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Internal to the role P(gpufleet.llm.ollama#role). Compares what is wanted with one look at the host.
positional: look, role, facts
options:
  _input:
    description: The answer of P(gpufleet.llm.ollama_service#filter).
    type: dict
    required: true
  look:
    description: What M(gpufleet.llm.ollama_host) returned.
    type: dict
    required: true
  role:
    description: The role's paths and switches.
    type: dict
    required: true
  facts:
    description: Results of M(gpufleet.llm.model_info) in a loop over C(unread).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Work out what follows
  ansible.builtin.set_fact:
    _ollama: "{{ _ollama_service | gpufleet.llm.ollama_follow(__ollama_look, _ollama_role) }}"
"""

RETURN = r"""
_value:
  description: The host and its instances as they shall be, what of that is due, and C(problems) as sentences.
  type: dict
"""


def ollama_follow(service, look, role, facts=None):
    try:
        return deployment.follow(plain(service), plain(look), plain(role), {found['item']['digest']: found['model'] for found in plain(facts or [])})
    except GpufleetError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self):
        return {"ollama_follow": ollama_follow}
