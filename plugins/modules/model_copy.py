#!/usr/bin/python
# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A model that another host has, verified and in this host's store."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_copy
short_description: Take a model that another host sent into the store
version_added: 0.1.0
author:
  - gpufleet.llm contributors (@gpufleet)
description:
  - Runs on the host that shall have the model. O(record) was read on the host that has it, by M(gpufleet.llm.model_record).
  - With O(state=prepared) it says whether files have to be sent, makes the directory that they shall arrive in, and keeps out of
    it what this host has already. Then something sends them, rsync as a rule. The playbook C(gpufleet.llm.copy_model) does all
    of it.
  - With O(state=present) every file is compared with O(record) by size and hash, the record that came along too. When one is
    wrong, nothing is put in place and all wrong ones are named. Otherwise they get owner and modes, their names in the store,
    and the link.
  - Can be killed at any time, and so can what sends the files.
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
  record:
    description: The record of the model on the other host.
    type: dict
    required: true
  host:
    description: The name of the other host, for messages.
    type: str
    required: true
  revision:
    description: The branch or tag to link, or the commit.
    type: str
    default: main
  listing_sha256:
    description:
      - What the list of all files, sizes and hashes must be, as M(gpufleet.llm.model_download) returned it on a host that is
        trusted.
        Without it, the other host's record is believed.
    type: str
  state:
    description: Whether to make room for the files, or to have the model.
    type: str
    choices: [prepared, present]
    default: present
  store:
    description: The directory that holds all models. Created when it is missing.
    type: path
    default: /srv/models
  owner:
    description: Owner of the files, a name or number. By default, whoever runs the module, usually root.
    type: str
  group:
    description: Group of the files, a name or number.
    type: str
  mode:
    description: Mode of the files, as an octal string.
    type: str
    default: "0644"
  directory_mode:
    description: Mode of the revision's directories, as an octal string.
    type: str
    default: "0755"
  max_workers:
    description: How many files are hashed at the same time.
    type: int
    default: 8
  lock_timeout:
    description: Seconds to wait for another process that works on the same model.
    type: int
    default: 7200
seealso:
  - module: gpufleet.llm.model_record
  - module: gpufleet.llm.model_download
"""

EXAMPLES = r"""
- name: Look at it where it is
  gpufleet.llm.model_record:
    model: Qwen/Qwen3-8B
  delegate_to: gpu-01
  register: model

- name: Make room
  gpufleet.llm.model_copy:
    record: "{{ model.record }}"
    host: gpu-01
    state: prepared
  register: room

- name: Send the files
  ansible.builtin.command:
    argv: [rsync, --times, --inplace, --size-only, --no-links, "--files-from={{ room.list }}", "--compare-dest={{ room.held }}",
           "models@gpu-01:{{ model.path }}/", "{{ room.arriving }}/"]
  when: room.missing_bytes > 0

- name: Have it
  gpufleet.llm.model_copy:
    record: "{{ model.record }}"
    host: gpu-01
"""

RETURN = r"""
path:
  description: The directory of the revision, to give to an engine.
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
arriving:
  description: The directory that the files have to be sent to.
  type: str
  returned: success
held:
  description: A directory with those that this host has already, verified.
  type: str
  returned: success
list:
  description:
    - A file with the paths of what has to be sent, the record among them, for C(rsync --files-from). O(state=prepared) writes it.
  type: str
  returned: success
missing:
  description: The paths of the model's files that have to be sent. With O(state=present), none.
  type: list
  elements: str
  returned: success
missing_bytes:
  description: How much has to be sent. With O(state=present), 0.
  type: int
  returned: success
msg:
  description: What was done in one line.
  type: str
  returned: always
files:
  description: The paths of the files that are wrong.
  type: list
  elements: str
  returned: when files are wrong
"""

import os

from ansible.module_utils.basic import AnsibleModule

try:
    from ansible_collections.gpufleet.llm.plugins.module_utils.entry import run
    from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError
    from ansible_collections.gpufleet.llm.plugins.module_utils.transfer import copy
    from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.permissions import Permissions, parse_mode
    from ansible_collections.gpufleet.llm.plugins.module_utils.transfer.source import Wish
except ImportError:  # run alone, from a checkout that is not on the collections path
    import sys

    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from module_utils.entry import run
    from module_utils.errors import GpufleetError
    from module_utils.transfer import copy
    from module_utils.transfer.permissions import Permissions, parse_mode
    from module_utils.transfer.source import Wish

ARGUMENTS = {
    "record": {"type": "dict", "required": True},
    "host": {"type": "str", "required": True},
    "revision": {"type": "str", "default": "main"},
    "listing_sha256": {"type": "str"},
    "state": {"type": "str", "choices": ["prepared", "present"], "default": "present"},
    "store": {"type": "path", "default": "/srv/models"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str", "default": "0644"},
    "directory_mode": {"type": "str", "default": "0755"},
    "max_workers": {"type": "int", "default": 8},
    "lock_timeout": {"type": "int", "default": 7200},
}
_RETURNED = ("changed", "path", "link", "revision", "arriving", "held", "list", "missing", "missing_bytes", "msg", "diff")


def work(module: AnsibleModule) -> dict:
    """Answer the arguments."""
    params = module.params
    if params["max_workers"] < 1 or params["lock_timeout"] < 0:
        raise GpufleetError("max_workers=%(max_workers)d, lock_timeout=%(lock_timeout)d: give positive numbers" % params)
    if not os.path.isabs(params["store"]):
        raise GpufleetError("store=%s: give an absolute path" % params["store"])
    wish = Wish(
        source="",
        store=params["store"],
        permissions=Permissions(
            params["owner"],
            params["group"],
            parse_mode(params["mode"], "mode"),
            parse_mode(params["directory_mode"], "directory_mode"),
        ),
        max_workers=params["max_workers"],
        lock_timeout_s=params["lock_timeout"],
        check_mode=module.check_mode,
        listing_sha256=params["listing_sha256"],
        say=module.log,
    )
    result = copy.copied(wish, params["record"], params["revision"], params["host"], params["state"] == "prepared")
    for warning in result.get("warnings", ()):
        module.warn(warning)
    return {key: result[key] for key in _RETURNED if key in result}


def main() -> None:
    """Run the module."""
    run(work, ARGUMENTS, supports_check_mode=True)


if __name__ == "__main__":
    main()
