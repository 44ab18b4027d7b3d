#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_state
short_description: Compare an Ollama host with what is asked for, and plan
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Internal to the role P(gpufleet.llm.ollama#role). It may change at any time.
  - Refuses at once everything in O(wanted) that makes no sense, looks at the host with M(gpufleet.llm.ollama_host), plans
    for the models that are there, and says what is not as it should be. Changes nothing.
options:
  role:
    description: The role's paths and switches.
    type: dict
    required: true
  wanted:
    description: What the role's variables ask for.
    type: dict
    required: true
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
"""

EXAMPLES = r"""
- name: Look at the host, plan, and compare it with what is asked for
  gpufleet.llm.ollama_state:
    wanted: "{{ _ollama_wanted }}"
    role: "{{ _ollama_role }}"
  register: __ollama
"""

RETURN = r"""
due:
  description: Whether anything is not as it should be.
  type: bool
  returned: success
state:
  description: The host and its instances as they shall be, and what of that is not so yet.
  type: dict
  returned: success
"""
