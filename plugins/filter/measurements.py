# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a fleet measured, in one file."""

from __future__ import annotations

import json
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.planning import collected

DOCUMENTATION = r"""
name: measurements
short_description: Collect what the engines of a fleet measured
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Makes of the files that M(gpufleet.llm.vllm_measured) keeps on the hosts one content, for a file that
    M(gpufleet.llm.vllm_plan) takes as O(gpufleet.llm.vllm_plan#module:measured).
  - Of each configuration it has the least, the middle and the most that an engine took. It says nothing of the
    machines, their names, serial numbers or addresses.
  - The same measurements give the same text, in whatever order they come.
positional: known, hosts
options:
  _input:
    description:
      - By host what its engines measured, as a list or as a dictionary by the path of the file. Each is a dictionary,
        or the text of a file.
    type: dict
    required: true
  known:
    description:
      - The text of the file so far. What it says of configurations that no host has now is kept, and so are the least
        and the most of the others.
      - Anything but such a file is refused.
    type: str
    default: ""
  hosts:
    description: Whether every entry names its hosts.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Collect
  ansible.builtin.debug:
    msg: "{{ ({'gpu-01': [first.measured], 'gpu-02': [second.measured]} | gpufleet.llm.measurements).content }}"
"""

RETURN = r"""
_value:
  description: C(content), the text of the file, and C(notes), sentences that say what was found and what was left out.
  type: dict
"""


def measurements(found: t.Mapping[str, t.Any], known: str = "", hosts: bool = False) -> t.Dict[str, t.Any]:
    try:
        content, notes = collected.collect(found, known, hosts)
    except GpufleetError as error:
        raise AnsibleFilterError(str(error)) from error
    return {"content": json.dumps(content, indent=2, sort_keys=True) + "\n", "notes": notes}


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, t.Any]]]:
        return {"measurements": measurements}
