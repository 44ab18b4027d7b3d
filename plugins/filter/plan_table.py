# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as a table for people."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.report import plan_table as report

DOCUMENTATION = r"""
name: plan_table
short_description: Print a plan for people
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Shows what a plan decides, where the memory of a GPU goes, the command or the environment that follows, and the
    reason of every decision.
  - For Ollama it shows each model by itself, with the bars of the GPU that it fills most, one bar for all that is
    taken of each other GPU, and those of the host's memory when the CPU computes too. C(Others) is what is not free
    for Ollama, C(Models above) what the models before it hold that stay loaded.
  - Nothing is drawn but plain ASCII. No line is longer than O(width), but for an option or a variable of a command
    that is, since those are made to be copied.
positional: hardware, model, width
options:
  _input:
    description:
      - The plan, as M(gpufleet.llm.vllm_plan) returns it in RV(gpufleet.llm.vllm_plan#module:plan), or
        M(gpufleet.llm.ollama_plan) in RV(gpufleet.llm.ollama_plan#module:plan).
    type: dict
    required: true
  hardware:
    description: The hardware facts that it was made from, for the heading.
    type: dict
  model:
    description:
      - The model facts that it was made from, for the heading.
      - A list of them is accepted for a plan of several models, whose quantizations the plan knows itself.
    type: raw
  width:
    description: Columns of the terminal, at least 60.
    type: int
    default: 100
seealso:
  - module: gpufleet.llm.show
  - plugin: gpufleet.llm.fleet_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ planned.plan | gpufleet.llm.plan_table(gpu.hardware, known.model) }}"

- name: Show a plan of Ollama as wide as the terminal
  gpufleet.llm.show:
    text: "{{ planned.plan | gpufleet.llm.plan_table(width=120) }}"
"""

RETURN = r"""
_value:
  description: The table, several lines.
  type: str
"""


def plan_table(plan, hardware=None, model=None, width=100):
    try:
        return report.plan_table(plan, hardware, model, int(width))
    except GpufleetError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self):
        return {"plan_table": plan_table}
