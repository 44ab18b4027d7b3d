# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A placement as a table for people."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.placement import text as placement_text

DOCUMENTATION = r"""
name: placement_table
short_description: Print a placement for people
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Shows what has no place and what would help, which host serves what on which GPUs, and what moved.
  - Plain ASCII. Of a large fleet the first rows of each part.
options:
  _input:
    description: The placement, as M(gpufleet.llm.placement_plan) returns it in
      RV(gpufleet.llm.placement_plan#module:placement).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the placement
  ansible.builtin.debug:
    msg: "{{ planned.placement | gpufleet.llm.placement_table }}"
"""

RETURN = r"""
_value:
  description: The table, several lines.
  type: str
"""


def placement_table(placement):
    try:
        return placement_text.table(placement)
    except GpufleetError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self):
        return {"placement_table": placement_table}
