# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plans of a fleet as a page for people."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
from ansible_collections.gpufleet.llm.plugins.module_utils.report import page
from ansible_collections.gpufleet.llm.plugins.module_utils.report.words import plain

DOCUMENTATION = r"""
name: plan_page
short_description: Write the plans of a fleet as an HTML page
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - One page that needs nothing else. It has no script and loads nothing, so it can be mailed and kept.
  - Shows for each model and each kind of host how the memory of the GPUs is filled, how many requests of each length
    fit at once, the reasons, the warnings, and what would make a refused model fit. The facts that the plans were made
    from stand at its end.
  - The same plans give the same page.
positional: title, note
options:
  _input:
    description: What P(gpufleet.llm.fleet_plan#filter) returned.
    type: dict
    required: true
  title:
    description: The heading.
    type: str
    default: Will it fit?
  note:
    description: Stands under the heading, a date for example.
    type: str
    default: ''
seealso:
  - plugin: gpufleet.llm.fleet_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Write the page on the controller
  ansible.builtin.copy:
    content: "{{ fleet | gpufleet.llm.plan_page(note='before the upgrade') }}"
    dest: /tmp/plans.html
    mode: "0644"
  delegate_to: localhost
"""

RETURN = r"""
_value:
  description: The page, HTML.
  type: str
"""


def plan_page(fleet, title="Will it fit?", note=""):
    try:
        return page.plan_page(plain(fleet), str(title), str(note))
    except GpufleetError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self):
        return {"plan_page": plan_page}
