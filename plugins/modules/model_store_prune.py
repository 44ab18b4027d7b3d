#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nothing uses, out of the store."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_store_prune
short_description: Remove models from the store that nothing uses
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Removes revisions that M(gpufleet.llm.model_download) brought, that no branch or tag is linked to any more, and that nothing
    uses. The newest O(keep) of each model stay.
  - A revision is in use when its commit, or a path that leads to it, stands in a text file under C(/etc) or
    C(/var/lib/gpufleet), which is where plans and the versions to go back to are, in a unit of systemd, a file of Quadlet, a
    crontab, a script or environment file that one of those starts or reads, the configuration of a container of Docker or
    Podman, also of a stopped one and of a user's, or a file of O(used_by). Of a file, the first MiB counts.
    So it is when a link there leads to it, or one in the store beside the model's own, or one that M(gpufleet.llm.model_mirror)
    published.
    It is in use as well when a process has a file of it open or mapped, works in it, has it mounted, or was started with its
    path, also as its container names that. A model whose lock is held is left alone.
  - A revision is moved away first and removed when a second look at the host finds it unused still. A run that was killed
    is finished by the next one.
  - What M(gpufleet.llm.model_download) did not bring, such as Ollama's store, is never removed. It counts for O(quota).
extends_documentation_fragment:
  - gpufleet.llm.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  store:
    description: The directory that holds all models.
    type: path
    default: /srv/models
  keep:
    description: How many unused revisions of each model stay, the newest. Only O(quota) removes those.
    type: int
    default: 1
  quota:
    description:
      - How much the store may take on the disk, in bytes or such as V(500G), which is 500 GiB.
      - When it takes more, unused revisions are removed although O(keep) would keep them, the oldest first, until it fits. When
        that is not enough, nothing is removed and the error says what holds the space.
    type: str
  in_use:
    description:
      - Absolute paths or patterns in the store that are in use, whoever uses them.
      - One that matches nothing in the store is refused.
    type: list
    elements: str
    default: []
  used_by:
    description: Patterns of more files, or directories of such, that name what is in use.
    type: list
    elements: str
    default: []
  models:
    description:
      - Remove these, and nothing else, as C(org/name) or C(kind/org/name), with C(@) and a revision for one of it.
      - A commit goes with the links to it. A branch or tag goes with its revision, unless another is linked to the same.
      - One that is in use is refused by name, and then nothing is removed. So is one whose branch, tag or directory is named, or
        the directory above that. One that is not there is fine.
    type: list
    elements: str
  unfinished_days:
    description:
      - After how many days without a new byte an unfinished download is removed.
    type: int
    default: 7
  shared:
    description:
      - Prune a store on a network file system, or one that C(/etc/exports) gives to other hosts, as well. What those use cannot
        be seen from this one, so O(in_use) has to name it.
    type: bool
    default: false
seealso:
  - module: gpufleet.llm.model_download
"""

EXAMPLES = r"""
- name: Remove what nothing uses, but the newest of each model
  gpufleet.llm.model_store_prune:

- name: Keep the store below 500 GiB
  gpufleet.llm.model_store_prune:
    quota: 500G

- name: Remove a model that is not wanted any more
  gpufleet.llm.model_store_prune:
    models: [Qwen/Qwen3-8B]
"""

RETURN = r"""
removed:
  description: What was removed, or would be, with C(path), C(bytes) that came free, and C(reason).
  type: list
  elements: dict
  returned: success
kept:
  description: The revisions and unfinished downloads that stay, with C(path) and C(reason).
  type: list
  elements: dict
  returned: success
freed_bytes:
  description: Bytes that came free on the disk. A file that another revision has too frees nothing.
  type: int
  returned: success
store_bytes:
  description: Bytes that the store takes on the disk afterwards, a file with several names counted once.
  type: int
  returned: success
over_bytes:
  description: By how much the store would still be over O(quota) without all that is unused.
  type: int
  returned: when O(quota) cannot be kept
in_use:
  description: What of O(models) is in use, and by whom.
  type: list
  elements: str
  returned: when one of O(models) is in use
msg:
  description: What was done in one line.
  type: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.deployment.store_prune import Wish
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
    from ansible_collections.gpufleet.llm.plugins.module_utils.services.declared import declared
    from ansible_collections.gpufleet.llm.plugins.module_utils.sizes import parse
    from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import prune
except ImportError:  # run alone, from a checkout that is not on the collections path
    import os
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.deployment.store_prune import Wish
    from module_utils.entry import run
    from module_utils.errors import GpufleetError
    from module_utils.services.declared import declared
    from module_utils.sizes import parse
    from module_utils.transfer import prune

ARGUMENTS = {
    "store": {"type": "path", "default": "/srv/models"},
    "keep": {"type": "int", "default": 1},
    "quota": {"type": "str"},
    "in_use": {"type": "list", "elements": "str", "default": []},
    "used_by": {"type": "list", "elements": "str", "default": []},
    "models": {"type": "list", "elements": "str"},
    "unfinished_days": {"type": "int", "default": 7},
    "shared": {"type": "bool", "default": False},
}


def work(module: AnsibleModule) -> dict:
    """Answer the arguments."""
    options = module.params
    for name in ("keep", "unfinished_days"):
        if options[name] < 0:
            raise GpufleetError("%s=%d: give 0 or more" % (name, options[name]))
    wish = Wish(
        keep=options["keep"],
        quota=parse(options["quota"], "quota") if options["quota"] else None,
        models=None if options["models"] is None else tuple(options["models"]),
        unfinished_s=options["unfinished_days"] * 86400,
    )
    places = prune.Places(declared() + tuple(options["used_by"]), options["in_use"])
    return prune.answer(options, wish, places, module.check_mode)


def main() -> None:
    """Run the module."""
    run(work, ARGUMENTS, supports_check_mode=True, mutually_exclusive=[["models", "quota"]])


if __name__ == "__main__":
    main()
