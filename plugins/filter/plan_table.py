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
  - Shows what a plan decides, where the memory of a GPU goes, the command that follows, and the reason of every
    decision.
  - Plain ASCII of at most 100 columns.
positional: hardware, model
options:
  _input:
    description: The plan, as M(gpufleet.llm.vllm_plan) returns it in RV(gpufleet.llm.vllm_plan#module:plan).
    type: dict
    required: true
  hardware:
    description: The hardware facts that it was made from, for the heading.
    type: dict
  model:
    description: The model facts that it was made from, for the heading.
    type: dict
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ planned.plan | gpufleet.llm.plan_table(gpu.hardware, known.model) }}"
"""

RETURN = r"""
_value:
  description: The table, several lines.
  type: str
"""


def plan_table(plan, hardware=None, model=None):
    try:
        return report.plan_table(plan, hardware, model)
    except GpufleetError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self):
        return {"plan_table": plan_table}
