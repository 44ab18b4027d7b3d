#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: unit_status
short_description: Say how a systemd service does, and whether it runs with its present configuration
version_added: 0.1.0
description:
  - Reads the state of a service from systemd.
  - A service is stale when it runs although one of its files was written after its main process started, or systemd itself
    has not read its unit file again. Restarting stale services, instead of restarting on change, finishes what a playbook
    began that was killed between writing a file and restarting.
options:
  files:
    description: Files that the service reads when it starts. One that does not exist is ignored.
    type: list
    elements: path
    default: []
  journal_lines:
    description: How many of the last journal lines to return.
    type: int
    default: 0
  unit:
    description: Name of the unit.
    type: str
    required: true
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
author:
  - gpufleet.llm contributors (@gpufleet)
"""

EXAMPLES = r"""
- name: Look whether the service has to be restarted
  gpufleet.llm.unit_status:
    unit: vllm-chat.service
    files:
      - /etc/systemd/system/vllm-chat.service
      - /etc/gpufleet/vllm/chat.env
  register: chat_status
"""

RETURN = r"""
status:
  description: State of the unit.
  returned: success
  type: dict
  contains:
    active:
      description: Whether the service is active.
      type: bool
      returned: always
    enabled:
      description: Whether it starts at boot.
      type: bool
      returned: always
    exit_status:
      description: Exit status or signal number of the last main process that ended.
      type: int
      returned: always
    journal:
      description: The last journal lines, oldest first.
      type: list
      elements: str
      returned: always
    loaded:
      description: Whether systemd knows the unit.
      type: bool
      returned: always
    main_pid:
      description: Process id of the main process; null when none runs.
      type: int
      returned: always
    n_restarts:
      description: How often systemd restarted the service by itself since it was last started by hand.
      type: int
      returned: always
    needs_daemon_reload:
      description: Whether the unit's files changed after systemd read them.
      type: bool
      returned: always
    newer_files:
      description: Those of O(files) that were written after the main process started.
      type: list
      elements: str
      returned: always
    result:
      description: How the last run of the service ended, in systemd's words.
      type: str
      returned: always
    running:
      description: Whether the service is active or on its way there.
      type: bool
      returned: always
    stale:
      description: Whether it runs with a configuration that is not the present one.
      type: bool
      returned: always
    started_at:
      description: When the main process started, in seconds since 1970; null when the service does not run.
      type: float
      returned: always
    state:
      description: Active state and sub state.
      type: str
      returned: always
    unit:
      description: Name of the unit.
      type: str
      returned: always
  sample: {unit: vllm-chat.service, active: true, stale: false, main_pid: 4711, n_restarts: 0}
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.services import systemd_unit
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.services import systemd_unit

ARGUMENTS = {
    "files": {"type": "list", "elements": "path", "default": []},
    "journal_lines": {"type": "int", "default": 0},
    "unit": {"type": "str", "required": True},
}


def work(module: AnsibleModule) -> dict:
    options = module.params
    return {
        "changed": False,
        "status": systemd_unit.status(options["unit"], options["files"], options["journal_lines"]),
    }


def main() -> None:
    run(work, ARGUMENTS, supports_check_mode=True)


if __name__ == "__main__":
    main()
