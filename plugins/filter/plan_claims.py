# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan takes from the others on its host."""

from __future__ import annotations

import typing as t

DOCUMENTATION = r"""
name: plan_claims
short_description: What a planned instance takes, for planning the next one on the same host
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Gives the entries for the option O(gpufleet.llm.vllm_plan#module:reserved). A plan that was refused takes nothing.
positional: name, unit
options:
  _input:
    description: The plan, as M(gpufleet.llm.vllm_plan) returns it in RV(gpufleet.llm.vllm_plan#module:plan).
    type: dict
    required: true
  name:
    description: Name of the instance.
    type: str
    required: true
  unit:
    description: Its systemd unit.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Plan a second instance beside the first
  gpufleet.llm.vllm_plan:
    hardware: "{{ gpu.hardware }}"
    model: "{{ known.model }}"
    reserved: "{{ first.plan | gpufleet.llm.plan_claims('chat', 'vllm-chat.service') }}"
"""

RETURN = r"""
_value:
  description: One entry per device; on a CPU host one.
  type: list
  elements: dict
"""


def plan_claims(plan: t.Mapping[str, t.Any], name: str, unit: str) -> t.List[t.Dict[str, t.Any]]:
    if plan["refusal"]:
        return []
    numbers = plan["numbers"]
    if plan["variant"] == "cpu":
        return [{"device": name, "bytes": numbers["requested_bytes"], "unit": unit}]
    return [{"device": device, "bytes": numbers["claimed_bytes_per_gpu"], "unit": unit} for device in plan["devices"]]


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[t.Dict[str, t.Any]]]]:
        return {"plan_claims": plan_claims}
