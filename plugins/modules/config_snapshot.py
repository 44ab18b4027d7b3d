#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: config_snapshot
short_description: Keep the configuration of a service that works, and go back to it
version_added: 0.1.0
description:
  - Keeps several files as one, with their owners and modes, in a single file that only root can read, and puts them back.
  - A file that does not exist is kept as missing, and removed when the others are put back.
options:
  about:
    description: Anything to return together with the snapshot, for instance the version that the files belong to. No secrets.
    type: dict
    default: {}
  files:
    description: The files, for O(state=saved) and O(state=compared).
    type: list
    elements: path
    default: []
  path:
    description: Where the snapshot is kept. Its directory has to exist.
    type: path
    required: true
  state:
    description:
      - With V(saved), the files are kept as they are now.
      - With V(restored), they become again what was kept, if anything was.
      - With V(compared), only RV(exists) and RV(differing) are returned.
    type: str
    choices: [compared, restored, saved]
    required: true
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: The files may hold secrets.
  idempotent:
    support: full
author:
  - gpufleet.llm contributors (@gpufleet)
"""

EXAMPLES = r"""
- name: Remember the configuration that works
  gpufleet.llm.config_snapshot:
    path: /var/lib/gpufleet/vllm/chat/proven.json
    files:
      - /etc/systemd/system/vllm-chat.service
      - /etc/gpufleet/vllm/chat.env
    about:
      version: 0.33.0
    state: saved

- name: Go back to it
  gpufleet.llm.config_snapshot:
    path: /var/lib/gpufleet/vllm/chat/proven.json
    state: restored
"""

RETURN = r"""
about:
  description: What was kept together with the files, in the snapshot as it was found.
  returned: success
  type: dict
  sample: {version: 0.33.0}
differing:
  description: The files that were not as in the snapshot.
  returned: success
  type: list
  elements: str
  sample: [/etc/systemd/system/vllm-chat.service]
exists:
  description: Whether there was a snapshot.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.services import snapshot
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.services import snapshot

ARGUMENTS = {
    "about": {"type": "dict", "default": {}},
    "files": {"type": "list", "elements": "path", "default": []},
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["compared", "restored", "saved"], "required": True},
}


def work(module: AnsibleModule) -> dict:
    options = module.params
    kept = snapshot.load(options["path"])
    differing = snapshot.differing(kept) if kept else []
    changed = False
    if options["state"] == "saved":
        now = snapshot.take(options["files"], options["about"])
        changed = now != kept
        if changed and not module.check_mode:
            snapshot.save(options["path"], now)
    elif options["state"] == "restored" and kept:
        changed = bool(differing)
        if changed and not module.check_mode:
            snapshot.restore(kept)
    return {
        "changed": changed,
        "exists": kept is not None,
        "differing": differing,
        "about": kept["about"] if kept else {},
    }


def main() -> None:
    run(work, ARGUMENTS, supports_check_mode=True, required_if=[("state", "saved", ["files"])])


if __name__ == "__main__":
    main()
