# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The package index that a host's pip uses."""

from __future__ import annotations

import typing as t

from ansible_collections.gpufleet.llm.plugins.module_utils.software import simple_index

DOCUMENTATION = r"""
name: pip_index
short_description: The package index that a host's pip uses
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Returns the index that C(pip config list) names, of its variables, its section C(install), or its section C(global). Where it
    names none, PyPI.
options:
  _input:
    description: What C(pip config list) printed.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the index
  ansible.builtin.debug:
    msg: "{{ listed.stdout | gpufleet.llm.pip_index }}"
"""

RETURN = r"""
_value:
  description: The address of the index.
  type: str
"""


def pip_index(listing: str) -> str:
    return simple_index.pip_index(listing)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., str]]:
        return {"pip_index": pip_index}
