# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A unit's bounded wait for the device files of its GPUs."""

from __future__ import annotations

import typing as t

from ansible_collections.gpufleet.llm.plugins.module_utils.deployment.device_nodes import wait_words

DOCUMENTATION = r"""
name: device_wait
short_description: A command that waits, bounded, for device files
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns the words of a command for C(ExecStartPre=) of a unit. It ends when all files are there, and fails with a message
    when they are not in time. C(TimeoutStartSec=) of the unit must be longer.
positional: seconds
options:
  _input:
    description: Paths, as P(gpufleet.llm.device_nodes#filter) returns them.
    type: list
    elements: str
    required: true
  seconds:
    description: How long to wait.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Wait for the driver
  ansible.builtin.copy:
    content: |
      [Service]
      ExecStartPre={{ wait | map('gpufleet.llm.systemd_quote', command=true) | join(' ') }}
    dest: /etc/systemd/system/example.service.d/wait.conf
    mode: "0644"
  vars:
    wait: "{{ seen.hardware | gpufleet.llm.device_nodes | gpufleet.llm.device_wait(60) }}"
"""

RETURN = r"""
_value:
  description: The words, of which none is quoted yet.
  type: list
  elements: str
"""


def device_wait(files: t.Sequence[str], seconds: int) -> t.List[str]:
    return wait_words(files, int(seconds))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"device_wait": device_wait}
