# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: Print text as it is
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Prints text with its lines, for tables. M(ansible.builtin.debug) prints it as JSON or YAML, quoted and indented.
  - Runs on the controller and needs no connection to the host.
options:
  text:
    description: The text.
    type: str
    required: true
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
seealso:
  - module: ansible.builtin.debug
"""

EXAMPLES = r"""
- name: Show a plan
  gpufleet.llm.show:
    text: "{{ planned.plan | gpufleet.llm.plan_table }}"
"""

RETURN = r"""#"""
