#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_state
short_description: Compare a host's container engines with what is asked for
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Internal to the roles P(gpufleet.llm.container_engine#role) and P(gpufleet.llm.nvidia_container_toolkit#role). It may change
    at any time.
  - Looks at the host with M(gpufleet.llm.container_host), refuses at once everything in O(wanted) that makes no sense there, and
    says what is not as it should be. Changes nothing.
options:
  role:
    description: Whose variables O(wanted) holds.
    type: str
    required: true
    choices: [container_engine, nvidia_container_toolkit]
  wanted:
    description: What the role's variables ask for.
    type: dict
    required: true
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
"""

EXAMPLES = r"""
- name: Look at the host, and compare it with what is asked for
  gpufleet.llm.container_state:
    role: container_engine
    wanted: "{{ _container_engine_wanted }}"
  register: __container_engine
"""

RETURN = r"""
due:
  description: Whether anything is not as it should be, and can be made so by this run.
  type: bool
  returned: success
state:
  description: The host as it shall be, and what of that is not so yet.
  type: dict
  returned: success
"""
