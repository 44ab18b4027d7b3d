# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A placement as an inventory source."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning.placement import text as placement_text

DOCUMENTATION = r"""
name: placement_inventory
short_description: A placement as an inventory source
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Gives C(vllm_instances) to every host of the placement, and to all hosts the record that the next
    M(gpufleet.llm.placement_plan) takes as O(gpufleet.llm.placement_plan#module:previous), as the variable
    C(gpufleet_placement).
  - Written as YAML to a file, it is an inventory source to be used beside the one that names groups and addresses.
options:
  _input:
    description: The placement, as M(gpufleet.llm.placement_plan) returns it in
      RV(gpufleet.llm.placement_plan#module:placement).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Keep the placement
  ansible.builtin.copy:
    content: "{{ planned.placement | gpufleet.llm.placement_inventory | to_nice_yaml }}"
    dest: inventory/placement.yml
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The inventory.
  type: dict
"""


def placement_inventory(placement):
    try:
        return placement_text.inventory(placement)
    except GpufleetError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self):
        return {"placement_inventory": placement_inventory}
