# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which accelerators a service really uses."""

from __future__ import annotations

import typing as t

from ansible_collections.gpufleet.llm.plugins.module_utils.hardware.holders import held_names

DOCUMENTATION = r"""
name: devices_of_unit
short_description: The accelerators on which a systemd unit holds memory
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns every name, index or UUID, by which a plan may call an accelerator or MIG slice that a process of the unit uses.
options:
  _input:
    description: Hardware facts, as M(gpufleet.llm.gpu_info) returns them.
    type: dict
    required: true
  unit:
    description: Name of the unit.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show where an instance runs
  ansible.builtin.debug:
    msg: "{{ seen.hardware | gpufleet.llm.devices_of_unit('vllm-chat.service') }}"
"""

RETURN = r"""
_value:
  description: Indices (as text) and UUIDs.
  type: list
  elements: str
"""


def devices_of_unit(hardware: t.Mapping[str, t.Any], unit: str) -> t.List[str]:
    return held_names(hardware["accelerators"], lambda process: process.get("unit") == unit)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"devices_of_unit": devices_of_unit}
