# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers as a Compose file."""

from __future__ import annotations

import typing as t

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment import container_unit
from ansible_collections.gpufleet.llm.plugins.module_utils.report.words import plain

DOCUMENTATION = r"""
name: container_compose
short_description: Services as a Compose file states them
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns the services that P(gpufleet.llm.container_files#filter) makes units of, as a Compose file has them, for those who
    start them with C(docker compose). The same images, arguments, mounts and limits.
  - GPUs are CDI names under C(devices), which Docker Compose knows from 2.30 on (docker/compose#12184).
options:
  _input:
    description: The services.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Write a Compose file
  ansible.builtin.copy:
    content: "{{ services | gpufleet.llm.container_compose | to_nice_yaml(indent=2) }}"
    dest: /etc/gpufleet/vllm/compose.yml
    mode: "0644"
"""

RETURN = r"""
_value:
  description: What the file says, with C(services) and, where one is used, C(networks).
  type: dict
"""


def container_compose(services: t.Sequence[t.Mapping[str, t.Any]]) -> t.Dict[str, t.Any]:
    return container_unit.compose(plain(services))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"container_compose": container_compose}
