#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: python_env_prune
short_description: Remove Python environments that nothing uses
version_added: 0.1.0
description:
  - Removes environments made by M(gpufleet.llm.python_env) that no file names any more, except the newest of them.
  - Environments that were not finished, and directories that are no environments, are left alone.
options:
  keep:
    description: How many unused environments stay, the newest.
    type: int
    default: 1
  path:
    description: The directory that the environments lie in.
    type: path
    required: true
  used_by:
    description: Patterns of files. An environment whose path stands in one of them is in use.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
author:
  - gpufleet.llm contributors (@gpufleet)
"""

EXAMPLES = r"""
- name: Remove versions that no unit starts, but the newest
  gpufleet.llm.python_env_prune:
    path: /opt/gpufleet/vllm
    used_by:
      - /etc/systemd/system/vllm-*.service
    keep: 1
"""

RETURN = r"""
removed:
  description: The environments that were removed.
  returned: success
  type: list
  elements: str
  sample: [/opt/gpufleet/vllm/0.31.0-cuda]
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
    from ansible_collections.gpufleet.llm.plugins.module_utils.software import prune
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.errors import GpufleetError
    from module_utils.software import prune

ARGUMENTS = {
    "keep": {"type": "int", "default": 1},
    "path": {"type": "path", "required": True},
    "used_by": {"type": "list", "elements": "str", "required": True},
}


def work(module: AnsibleModule) -> dict:
    options = module.params
    if options["keep"] < 0:
        raise GpufleetError("keep=%d: give 0 or more" % options["keep"])
    removed = prune.unused(options["path"], options["used_by"], options["keep"])
    if not module.check_mode:
        for path in removed:
            prune.remove(path)
    before = "".join("%s\n" % path for path in sorted(removed))
    return {"changed": bool(removed), "removed": removed, "diff": {"before": before, "after": ""}}


def main() -> None:
    run(work, ARGUMENTS, supports_check_mode=True)


if __name__ == "__main__":
    main()
