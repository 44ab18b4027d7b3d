# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plans of a fleet as a table for people."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.report import fleet_table as report
from ansible_collections.gpufleet.llm.plugins.module_utils.report.words import plain

DOCUMENTATION = r"""
name: fleet_table
short_description: Print the plans of a fleet as one table
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - One row for each model and each kind of host, with verdict, tensor and pipeline parallel size, context, requests at
    once, tokens of the KV cache, headroom and the first reason.
  - Hosts with equal hardware and equal plans share a row. Hosts that could not be asked are listed with the reason.
  - Nothing is cut. What is too long for its column is wrapped, and a narrow table has more beneath its rows.
positional: width
options:
  _input:
    description: What P(gpufleet.llm.fleet_plan#filter) returned.
    type: dict
    required: true
  width:
    description: Columns of the terminal, at least 60.
    type: int
    default: 120
seealso:
  - plugin: gpufleet.llm.plan_page
    plugin_type: filter
  - plugin: gpufleet.llm.plan_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show all plans
  gpufleet.llm.show:
    text: "{{ fleet | gpufleet.llm.fleet_table(100) }}"
"""

RETURN = r"""
_value:
  description: The table, several lines.
  type: str
"""


def fleet_table(fleet, width=120):
    try:
        return report.fleet_table(plain(fleet), int(width))
    except GpufleetError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self):
        return {"fleet_table": fleet_table}
