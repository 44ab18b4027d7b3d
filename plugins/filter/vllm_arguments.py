# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings as the words of a vllm serve command line."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.arguments import render

DOCUMENTATION = r"""
name: vllm_arguments
short_description: Turn vLLM settings into the words of a command line
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Renders a dictionary of C(vllm serve) options as a list of words, sorted by option.
  - A boolean becomes C(--name) or C(--no-name), a dictionary one word of JSON, a list several words. Nothing is ever
    joined with
    an equals sign, and an empty value is refused, since vLLM reads both differently from what one expects.
positional: engine_version
options:
  _input:
    description: Settings by vLLM's names, with dashes or underscores, for example
      RV(gpufleet.llm.vllm_plan#module:plan.settings).
    type: dict
    required: true
  engine_version:
    description: Version of vLLM that will read the words. An option that it does not have is an error naming the
      replacement.
    type: str
    default: 0.33.0
"""

EXAMPLES = r"""
- name: Show the command line of a plan
  ansible.builtin.debug:
    msg: "{{ planned.plan.settings | gpufleet.llm.vllm_arguments(planned.plan.engine_version) | join(' ') }}"

# Gives ['--enforce-eager', '--speculative-config', '{"method":"ngram"}', '--tensor-parallel-size', '2']
- name: Render some settings
  ansible.builtin.set_fact:
    words: "{{ settings | gpufleet.llm.vllm_arguments('0.33.0') }}"
  vars:
    settings:
      tensor-parallel-size: 2
      enforce_eager: true
      speculative_config:
        method: ngram
"""

RETURN = r"""
_value:
  description: The words, to be passed after C(vllm serve MODEL).
  type: list
  elements: str
"""


def vllm_arguments(settings, engine_version=None):
    try:
        return render(settings, engine_version)
    except GpufleetError as error:
        raise AnsibleFilterError("vllm_arguments: %s" % error) from error


class FilterModule:
    def filters(self):
        return {"vllm_arguments": vllm_arguments}
