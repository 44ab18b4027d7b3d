#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the store of a host says of a model."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_record
short_description: What the store of a host says of a model
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Reads the record of a model that M(gpufleet.llm.model_download) brought, and fails when the model is not there or one of its
    files is missing or has another size. It hashes nothing and uses no network.
extends_documentation_fragment:
  - gpufleet.llm.attributes
  - gpufleet.llm.attributes.info
options:
  model:
    description: The model as C(org/name), or as C(kind/org/name) where the store has two of that name.
    type: str
    required: true
  revision:
    description: A branch, a tag or a commit.
    type: str
    default: main
  store:
    description: The directory that holds all models.
    type: path
    default: /srv/models
seealso:
  - module: gpufleet.llm.model_copy
"""

EXAMPLES = r"""
- name: Ask which commit the host has
  gpufleet.llm.model_record:
    model: Qwen/Qwen3-8B
  register: model
"""

RETURN = r"""
path:
  description: The directory of the revision.
  type: str
  returned: success
link:
  description: The link of the branch or tag. Null when a commit is asked for.
  type: str
  returned: success
revision:
  description: The commit, or the digest of a directory.
  type: str
  returned: success
files:
  description: How many files there are.
  type: int
  returned: success
bytes:
  description: Their size in bytes.
  type: int
  returned: success
listing_sha256:
  description: sha256 over path, size and hash of every file that the source listed.
  type: str
  returned: success
record:
  description: The content of C(gpufleet.json), see M(gpufleet.llm.model_download).
  type: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import copy
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.transfer import copy

ARGUMENTS = {
    "model": {"type": "str", "required": True},
    "revision": {"type": "str", "default": "main"},
    "store": {"type": "path", "default": "/srv/models"},
}


def work(module: AnsibleModule) -> dict:
    """Answer the arguments."""
    return copy.found(module.params["store"], module.params["model"], module.params["revision"])


def main() -> None:
    """Run the module."""
    run(work, ARGUMENTS, supports_check_mode=True)


if __name__ == "__main__":
    main()
