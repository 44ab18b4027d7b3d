# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The device files that an engine on this host's GPUs needs."""

from __future__ import annotations

import typing as t

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import device_nodes as nodes

DOCUMENTATION = r"""
name: device_nodes
short_description: The device files that an engine on the GPUs of a host needs
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns those that every engine opens, whichever card it uses. Cards of NVIDIA come before those of AMD.
options:
  _input:
    description: Hardware facts, as M(gpufleet.llm.gpu_info) returns them.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what has to be there
  ansible.builtin.debug:
    msg: "{{ seen.hardware | gpufleet.llm.device_nodes }}"
"""

RETURN = r"""
_value:
  description: Paths, none for a host without GPUs.
  type: list
  elements: str
  sample: [/dev/nvidiactl, /dev/nvidia-uvm]
"""


def device_nodes(hardware: t.Mapping[str, t.Any]) -> t.List[str]:
    vendors = [card["vendor"] for card in hardware["accelerators"]]
    vendor = next((name for name in ("nvidia", "amd") if name in vendors), "")
    return list(nodes.nodes(vendor, hardware.get("environment", "bare")))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"device_nodes": device_nodes}
